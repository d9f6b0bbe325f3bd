"""Bridges for tests: over a silent chain, and over a real one with a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from node.bridge.api_keys import create_merchant_key
from node.bridge.app import create_app
from node.worker import run_worker
from tests.node.bridge.market import Market
from tests.node.bridge.support import Client, Desk, openapi
from tests.node.platform import open_platform


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def shop(desk: Desk) -> Client:
    """The merchant whose key the tests use."""
    return desk.shop


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    async with open_platform(tmp_path, "auto") as platform:
        app = create_app(
            platform.settings, platform.store, platform.manifest, platform.seed, platform.engine.rpc
        )
        openapi(app)
        key = platform.store.write_now(
            lambda session: create_merchant_key(
                session, platform.settings, merchant="Demo shop", name="test"
            )
        )
        stop = asyncio.Event()
        parts = (platform.engine, platform.store, platform.seed, platform.manifest)
        worker = asyncio.create_task(run_worker(*parts, platform.settings, stop))
        yield Market(platform, Client(app, key.secret))
        stop.set()
        await worker
