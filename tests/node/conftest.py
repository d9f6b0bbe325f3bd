"""A deployed chain and a migrated store for every test that asks for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.chain.anvil import find_anvil
from tests.node.platform import Platform, Shop, Worker, open_platform


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """On eth-tester."""
    async with open_platform(tmp_path, "tester") as platform:
        yield platform


@pytest.fixture
async def anvil_platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """On anvil."""
    if find_anvil() is None:
        pytest.skip("no anvil binary: run `make setup`")
    async with open_platform(tmp_path, "anvil") as platform:
        yield platform


@pytest.fixture
def shop(platform: Platform) -> Shop:
    return Shop(platform)


@pytest.fixture
async def worker(platform: Platform) -> Worker:
    return await platform.worker()
