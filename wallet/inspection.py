"""The journal as a whole, of all keys and networks, read without changing a byte of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wallet.errors import JournalError
from wallet.journal import LOCK_SECONDS


@dataclass(frozen=True)
class OpenTransaction:
    """One that is not known to have ended. `network` is its identity; `signed_at` unix seconds.

    `held` says that its bytes were given out in a file and are not sent from here.
    """

    network: str
    sender: str
    nonce: int
    hash: str
    intent: dict[str, str]
    held: bool
    signed_at: int


def journal_path(home: Path) -> Path:
    return home / "journal" / "journal.sqlite"


def read_open(home: Path) -> list[OpenTransaction]:
    """What may still get on chain, by network, sender and nonce; nothing without a journal.

    Raises:
        JournalError: it cannot be read.
    """
    if not journal_path(home).exists():
        return []
    with _reading(journal_path(home)) as database:
        if not int(database.execute("PRAGMA user_version").fetchone()[0]):
            return []  # made, and nothing written yet
        rows = database.execute(
            "SELECT network, sender, nonce, hash, intent, state, signed_at FROM transactions "
            "WHERE state IN ('held', 'signed') ORDER BY network, sender, nonce, id"
        ).fetchall()
    return [
        OpenTransaction(
            network=network,
            sender=sender,
            nonce=nonce,
            hash=hash_,
            intent=json.loads(intent),
            held=state == "held",
            signed_at=signed_at,
        )
        for network, sender, nonce, hash_, intent, state, signed_at in rows
    ]


def read_version(home: Path) -> int:
    """The version of the journal's tables, 0 where nothing was written. Raises JournalError."""
    with _reading(journal_path(home)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def read_damage(home: Path) -> list[str]:
    """What SQLite finds wrong with the file, [] if nothing. Raises JournalError."""
    with _reading(journal_path(home)) as database:
        found = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
    return [] if found == ["ok"] else found


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database so that nothing can be written, not even to repair it."""
    try:
        database = sqlite3.connect(
            path.absolute().as_uri() + "?mode=ro", uri=True, timeout=LOCK_SECONDS
        )
        try:
            yield database
        finally:
            database.close()
    except (sqlite3.Error, ValueError) as error:
        what = str(error)
        if "readonly" in what:
            what = (
                "a command was interrupted while it wrote; the next one that uses it puts it right"
            )
        raise JournalError(f"the journal {path} cannot be read: {what}") from error
