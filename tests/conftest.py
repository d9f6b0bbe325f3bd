"""What all tests share: which database the node's parts run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import databases


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
