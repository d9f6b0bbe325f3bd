"""What all tests share: which database the node's parts run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import databases

# Files that take a minute or more. They come first, so that no core waits at the end for one of
# them on the other (each file runs on one: `--dist loadfile`).
LONG = (
    "end_to_end/test_replay.py",
    "scripts/test_crash_campaign.py",
    "node/bridge/test_schemathesis.py",
    "end_to_end/test_conformance.py",
    "end_to_end/test_up.py",
    "contracts/test_coin_invariants.py",
    "contracts/test_invariants.py",
    "end_to_end/test_apart.py",
    "contracts/test_escrow_invariants.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((at for at, name in enumerate(LONG) if path.endswith(name)), len(LONG))

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With PLAZA_TEST_DATABASE=postgresql, each test of the node gets a database of its own.

    By the environment, so that the processes which a test starts use it too.
    """
    parts = request.path.parts
    if not databases.ON_POSTGRESQL or not {"node", "end_to_end"} & set(parts):
        yield
        return
    url = databases.server().new_database()
    monkeypatch.setenv("PLAZA_DATABASE_URL", url)
    yield
    databases.server().drop(url)
