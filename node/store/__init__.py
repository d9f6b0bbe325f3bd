"""The node's database: SQLite by default, PostgreSQL when outgrown.

Work on the database is a plain function of a session, `def work(session) -> result`, that
`Store.read` and `Store.write` run as one transaction on a thread of the store's own. So a
transaction cannot wait for the network (there is nothing to await in it), it crosses to a thread
once and not once a statement, and its commit is durable before the caller goes on.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, Executable, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import QueuePool

from node.failpoints import reach

MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_MILLISECONDS = 30_000  # how long another process may hold SQLite's write lock
_THREADS = 4
_WRITERS = 0x706C617A61  # PostgreSQL's advisory lock of the writers of this database

Result = TypeVar("Result")


class ConnectionPool(NamedTuple):
    """How many connections there are, now and by use."""

    name: str
    in_use: Callable[[], int]
    idle: Callable[[], int]


class Store:
    """Transactions over one database.

    Args:
        url: a SQLAlchemy URL, "sqlite:///path/to/plaza.db" or "postgresql+psycopg://…".
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self._writer_lock: AbstractContextManager[None]
        self._read_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store-read")
        # What a statement was given are names and signatures: errors go into logs without them
        # (hide_parameters).
        if self.is_sqlite:
            self._reader = create_engine(url, pool_size=_THREADS, hide_parameters=True)
            # SQLite has one writer: one thread queues the writers of this process fairly, and a
            # lock on a file those of other processes. SQLite's own lock would do for safety, but
            # who finds it taken sleeps for up to 100 ms before looking again.
            self._writer = create_engine(url, pool_size=1, max_overflow=0, hide_parameters=True)
            self._write_threads = ThreadPoolExecutor(1, thread_name_prefix="store-write")
            self._writer_lock = _FileLock(f"{make_url(url).database}-lock")
            _set_up_sqlite(self._reader, begin="BEGIN")
            _set_up_sqlite(self._writer, begin="BEGIN IMMEDIATE")
        else:
            # Reads see one state, as they do on SQLite; the default would show each statement its
            # own. Writers come one after the other, as on SQLite, so that an event's `seq` is in
            # the order of commits: who reads up to a seq has read all that will ever be before it.
            self._reader = create_engine(
                url,
                pool_size=_THREADS,
                isolation_level="REPEATABLE READ",
                pool_pre_ping=True,
                hide_parameters=True,
            )
            self._writer = create_engine(
                url,
                pool_size=1,
                max_overflow=0,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args={"options": f"-c lock_timeout={_BUSY_MILLISECONDS}"},
            )
            self._write_threads = ThreadPoolExecutor(1, thread_name_prefix="store-write")
            self._writer_lock = nullcontext()

    @property
    def pools(self) -> list[ConnectionPool]:
        """The pools of connections, each once; they count as they are asked."""
        pools = {"reader": self._reader.pool, "writer": self._writer.pool}
        return [
            ConnectionPool(name, pool.checkedout, pool.checkedin)
            for name, pool in pools.items()
            if isinstance(pool, QueuePool)
        ]

    async def read(self, work: Callable[[Session], Result]) -> Result:
        """Run `work` on one consistent state; what it changes is not kept."""
        return await asyncio.get_running_loop().run_in_executor(
            self._read_threads, self.read_now, work
        )

    async def write(self, work: Callable[[Session], Result]) -> Result:
        """Run `work` as one transaction: committed when this returns, or not at all.

        Cancelling the caller does not undo the work: it may still commit.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._write_threads, self.write_now, work
        )

    def read_now(self, work: Callable[[Session], Result]) -> Result:
        """`read` for callers without an event loop (command line, tests)."""
        with _Session(self._reader, expire_on_commit=False) as session:
            return work(session)

    def write_now(self, work: Callable[[Session], Result]) -> Result:
        """`write` for callers without an event loop (command line, tests)."""
        with (
            self._writer_lock,
            _Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            if not self.is_sqlite:  # held until the transaction ends, however it ends
                session.connection().exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")
            reach("store.begun")
            result = work(session)
            session.flush()
            reach("store.committing")
        reach("store.committed")
        return result

    def close(self) -> None:
        """Wait for the work under way and close the connections."""
        self._write_threads.shutdown()
        self._read_threads.shutdown()
        self._writer.dispose()
        self._reader.dispose()
        if isinstance(self._writer_lock, _FileLock):
            self._writer_lock.close()


class _Session(Session):
    """Of one transaction. Statements on tables go straight to its connection: what a session of the
    ORM looks through before it finds them to be none of its own costs a third of each."""

    _its_connection: Connection | None = None

    def execute(self, statement: Executable, params: Any = None, **options: Any) -> Any:
        if options or _is_of_orm(statement):
            return super().execute(statement, params, **options)
        return self.connection().execute(statement, params)

    def scalar(self, statement: Executable, params: Any = None, **options: Any) -> Any:
        if options or _is_of_orm(statement):
            return super().scalar(statement, params, **options)
        return self.connection().execute(statement, params).scalar()

    def scalars(self, statement: Executable, params: Any = None, **options: Any) -> Any:
        if options or _is_of_orm(statement):
            return super().scalars(statement, params, **options)
        return self.connection().execute(statement, params).scalars()

    def connection(self, *arguments: Any, **options: Any) -> Connection:
        if self._its_connection is None or arguments or options:
            self._its_connection = super().connection(*arguments, **options)
        return self._its_connection

    def begin_nested(self) -> SessionTransaction:
        savepoint = super().begin_nested()
        super().connection()  # makes it now: else the first statement of the ORM would
        return savepoint


def _is_of_orm(statement: Executable) -> bool:
    """As `Session.execute` itself decides; SQLAlchemy has no public name for it."""
    return "compile_state_plugin" in getattr(statement, "_propagate_attrs", ())


class _FileLock(AbstractContextManager[None]):
    """One holder at a time, among threads and processes; the kernel wakes the next at once."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._threads = threading.Lock()

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        os.close(self._descriptor)


def migrate(url: str, to: str = "head") -> None:
    """Bring the database at `url` to the newest schema; changes nothing where it is there.

    All of it happens, or nothing: a process that is killed, or a statement that fails, leaves the
    schema as it was. Processes that start together may all ask for it: one works, the others wait.

    Args:
        to: an older revision, for tests of what comes after it.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        path = Path(parsed.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(parsed)
    if parsed.get_backend_name() == "sqlite":
        # As one transaction. The references are not checked meanwhile: a table that is made anew
        # under its old name takes its rows along.
        _begin_with(engine, "BEGIN IMMEDIATE", ["PRAGMA foreign_keys=OFF"])
    try:
        with engine.connect() as connection, _alone(connection):
            config.attributes["connection"] = connection
            command.upgrade(config, to)
    finally:
        engine.dispose()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold the lock of the writers for longer than a transaction."""
    url = connection.engine.url
    if url.get_backend_name() != "sqlite":
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_WRITERS})")
        connection.commit()
        yield  # the lock ends with the connection
    elif url.database:
        lock = _FileLock(f"{url.database}-lock")
        try:
            with lock:
                yield
        finally:
            lock.close()
    else:
        yield


def _set_up_sqlite(engine: Engine, begin: str) -> None:
    pragmas = [
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",  # a committed intention survives a power cut
        "PRAGMA foreign_keys=ON",
        f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}",
    ]
    _begin_with(engine, begin, pragmas)


def _begin_with(engine: Engine, begin: str, pragmas: list[str]) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        # The driver must not open transactions on its own, which it does not do for changes of the
        # schema: `begin_transaction` below does.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    # Not a listener to "begin": an engine that has one looks for more of them at every statement,
    # which costs a quarter of it.
    def begin_transaction(dbapi_connection: Any) -> None:
        dbapi_connection.execute(begin)

    engine.dialect.do_begin = begin_transaction  # type: ignore[method-assign]


if sqlite3.sqlite_version_info < (3, 35):  # RETURNING
    raise ImportError(f"SQLite 3.35 or newer is needed, not {sqlite3.sqlite_version}")
