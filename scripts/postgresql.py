"""A PostgreSQL server of one's own, for tests and for the crash campaign.

It listens on a socket in a folder of its own and on no port, and is gone when the process ends. As
root it runs as the user `postgres`, since it refuses to run as root.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from node.store import migrate

_TEMPLATE = "template_plaza"
# What is killed here are the server's clients, never the machine: no commit has to wait for the
# disk. Everything else is as it is shipped.
_OPTIONS = "-c fsync=off -c listen_addresses= -c max_connections=200 -c shared_buffers=64MB"

_numbers = itertools.count()


class Server:
    """A PostgreSQL server with a migrated database to copy."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._user = "postgres" if os.geteuid() == 0 else None
        # Short: the path of a socket must fit 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="plaza-pg-"))
        if self._user:
            shutil.chown(self.folder, self._user)
        data = self.folder / "data"
        self._run("initdb", "-D", data, "-U", "plaza", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"{_OPTIONS} -k {self.folder}"
        self._run("pg_ctl", "-D", data, "-l", self.folder / "log", "-o", options, "-w", "start")
        atexit.register(self.stop)
        self.execute(f"CREATE DATABASE {_TEMPLATE}")
        migrate(self.url(_TEMPLATE))

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://plaza@/{name}?host={self.folder}"

    def execute(self, statement: str) -> None:
        """Outside of a transaction, on the server's own database."""
        where = f"host={self.folder} user=plaza dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]  # names made here

    def new_database(self, *, migrated: bool = True) -> str:
        """Its URL."""
        name = f"test_{next(_numbers)}"
        template = _TEMPLATE if migrated else "template1"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Whoever is still connected is cut off."""
        name = make_url(url).database
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        done = subprocess.run(
            command, user=self._user, cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"


def find_programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: Debian keeps them off the PATH."""
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    newest = sorted(versions, key=lambda folder: int(folder.parent.name.partition(".")[0]))
    found = [folder for folder in newest if (folder / "initdb").exists()]
    if found:
        return found[-1]
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None
