"""Bridges for tests: over a silent chain, and over a real one with a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.bridge.support import Client, Desk, empty_database


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy."""
    return empty_database(tmp_path_factory.mktemp("empty") / "plaza.db")


@pytest.fixture
def desk(tmp_path: Path, database: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, database)
    yield desk
    desk.close()


@pytest.fixture
def shop(desk: Desk) -> Client:
    """The merchant whose key the tests use."""
    return desk.shop
