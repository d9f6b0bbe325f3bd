"""Chains of their own for every test."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.chain.engine import Engine, open_engine
from tests.node.chain.support import NO_ANVIL, has_anvil, settings_in


@pytest.fixture(params=["tester", pytest.param("anvil", marks=pytest.mark.anvil)])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """A started engine of each kind in turn."""
    if request.param == "anvil" and not has_anvil():
        pytest.skip(NO_ANVIL)
    engine = open_engine(settings_in(tmp_path, chain=request.param), time.time)
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
async def tester(tmp_path: Path) -> AsyncIterator[Engine]:
    engine = open_engine(settings_in(tmp_path, chain="tester"), time.time)
    await engine.start()
    yield engine
    await engine.stop()
