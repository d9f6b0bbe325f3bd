"""The databases that tests run on: SQLite files, or databases of a PostgreSQL server of their own.

PLAZA_TEST_DATABASE chooses: "sqlite" (the default) or "postgresql". The server is made and started
when the first test asks for it (scripts/postgresql.py).
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from node.store import migrate
from scripts.postgresql import Server, find_programs

ON_POSTGRESQL = os.environ.get("PLAZA_TEST_DATABASE", "sqlite") == "postgresql"


def new_url(folder: Path) -> str:
    """Of a new, migrated database: in the folder, or on the server."""
    if ON_POSTGRESQL:
        return server().new_database()
    path = folder / "plaza.db"
    shutil.copy(_migrated_file(), path)
    return f"sqlite:///{path}"


@cache
def _migrated_file() -> Path:
    """A SQLite file to copy, since copying is quicker than migrating."""
    folder = tempfile.TemporaryDirectory(prefix="plaza-sqlite-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "plaza.db"
    migrate(f"sqlite:///{path}")
    return path


@cache
def server() -> Server:
    """The server of this process."""
    programs = find_programs()
    if programs is None:
        raise RuntimeError("no PostgreSQL programs: install Debian's package postgresql")
    return Server(programs)
