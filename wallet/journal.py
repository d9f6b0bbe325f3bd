"""What was signed, written down before it is sent: one SQLite file, readable by its owner alone.

A row holds the intent, the raw bytes and their hash. It is committed before the first broadcast,
so whatever happens afterwards the same bytes can be sent again, and nothing has to be guessed.

Several rows may compete for one nonce, where one was signed to replace another. At most one of
them ever gets on chain, and when one is known to have, the others are settled with it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wallet.errors import JournalError

SCHEMA_VERSION = 2
LOCK_SECONDS = 10.0  # how long another process may keep it locked

# held        signed, its bytes given out in a file, and not sent from here: others may send it
# signed      sent or about to be; may be on chain or may still get there
# confirmed   on chain, succeeded
# reverted    on chain, failed
# superseded  another transaction used its nonce: can never get there
# refused     the endpoint refuses it as it is: can never get there
STATES = ("held", "signed", "confirmed", "reverted", "superseded", "refused")

_TRANSACTIONS = """
CREATE TABLE transactions (
    id              INTEGER PRIMARY KEY,
    network         TEXT NOT NULL,     -- chain id and genesis hash
    sender          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    intent          TEXT NOT NULL,     -- canonical JSON
    nonce           INTEGER NOT NULL,
    raw             BLOB NOT NULL,
    hash            TEXT NOT NULL,
    replaces        TEXT,              -- the hash of the one it competes with for the nonce
    state           TEXT NOT NULL CHECK (state IN
                    ('held', 'signed', 'confirmed', 'reverted', 'superseded', 'refused')),
    block           INTEGER,
    signed_at       INTEGER NOT NULL   -- unix seconds
) STRICT"""

# A replacement has the key of what it replaces; every other transaction has one of its own.
_REST = (
    "CREATE UNIQUE INDEX one_per_key"
    " ON transactions (network, sender, idempotency_key) WHERE replaces IS NULL",
    "CREATE UNIQUE INDEX one_unfinished_per_nonce ON transactions (network, sender, nonce)"
    " WHERE state IN ('held', 'signed') AND replaces IS NULL",
    "CREATE UNIQUE INDEX one_landed_per_nonce ON transactions (network, sender, nonce)"
    " WHERE state IN ('confirmed', 'reverted')",
    """
CREATE TABLE batches (
    id        INTEGER PRIMARY KEY,
    network   TEXT NOT NULL,
    sender    TEXT NOT NULL,
    file_hash TEXT NOT NULL,    -- SHA-256 of the file, in hex
    path      TEXT NOT NULL,
    rows      TEXT NOT NULL,    -- JSON: what each row of the file pays
    begun_at  INTEGER NOT NULL, -- unix seconds
    UNIQUE (network, sender, file_hash)
) STRICT""",
)

# From version 0 (an empty file) and 1. In version 1 no transaction replaced another.
_STEPS = {
    0: (_TRANSACTIONS, *_REST),
    1: (
        "DROP INDEX one_unfinished_per_nonce",
        "ALTER TABLE transactions RENAME TO transactions_1",
        _TRANSACTIONS,
        "INSERT INTO transactions SELECT id, network, sender, idempotency_key, intent, nonce, raw,"
        " hash, NULL, state, block, signed_at FROM transactions_1",
        # A chain that lost blocks may have left two; the later one is what was found last.
        "UPDATE transactions SET state = 'superseded', block = NULL"
        " WHERE state IN ('confirmed', 'reverted') AND EXISTS (SELECT 1 FROM transactions AS later"
        " WHERE later.network = transactions.network AND later.sender = transactions.sender"
        " AND later.nonce = transactions.nonce AND later.state IN ('confirmed', 'reverted')"
        " AND later.id > transactions.id)",
        "DROP TABLE transactions_1",
        *_REST,
    ),
}


class NonceTaken(Exception):
    """Another process recorded a transaction with this nonce meanwhile."""


class NotReplaceable(Exception):
    """What was to be replaced has ended meanwhile."""


@dataclass(frozen=True)
class Tail:
    """The last row there is, and the nonces of all that may still get on chain."""

    last_id: int
    taken: frozenset[int]

    def free_nonce(self, count: int) -> int:
        """The first nonce that is free, where the chain counts so many used ones.

        Not simply the one after the last: what the chain refused for good left a hole, and all
        that comes after a hole waits for it.
        """
        while count in self.taken:
            count += 1
        return count


@dataclass(frozen=True)
class Entry:
    """One recorded transaction. `signed_at` is unix seconds.

    `replaces` is the hash of the one it competes with for the nonce, None if it was the first.
    """

    hash: str
    idempotency_key: str
    intent: dict[str, str]
    nonce: int
    raw: bytes
    state: str
    block: int | None
    signed_at: int
    replaces: str | None = None


@dataclass(frozen=True)
class Begun:
    """A batch file whose payment began. `begun_at` is unix seconds; `rows` is as it was given."""

    file_hash: str
    path: str
    rows: list[dict[str, Any]]
    begun_at: int


class Journal:
    """The journal of one sender on one network. Every method may raise JournalError."""

    def __init__(self, path: Path, network: str, sender: str) -> None:
        self._path = path
        self._scope = (network, sender)
        with self._explained():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
            self._database.row_factory = sqlite3.Row
            self._database.execute("PRAGMA synchronous = FULL")
            self._bring_up_to_date()

    def _bring_up_to_date(self) -> None:
        """Create or migrate the tables, all of it or nothing of it."""
        if self._version() in _STEPS:
            with self._transaction():
                # Asked again: another process may have been first.
                for statement in _STEPS.get(self._version(), ()):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        if self._version() != SCHEMA_VERSION:
            raise JournalError(
                f"the journal {self._path} has version {self._version()}, this wallet reads "
                f"{SCHEMA_VERSION}: use the newer wallet that wrote it"
            )

    def _version(self) -> int:
        return int(self._database.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say in words what keeps the file from being read or written."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            what = str(error)
            if "locked" in what:
                what = f"another program has kept it locked for {LOCK_SECONDS:g} seconds"
            elif "full" in what or "disk I/O" in what:
                what = f"the disk is full or failing ({what})"
            raise JournalError(f"the journal {self._path} cannot be used: {what}") from error

    def tail(self) -> Tail:
        """How far the journal goes now. Read it before asking the chain for its count."""
        with self._explained():
            last, nonces = self._database.execute(
                "SELECT max(id), group_concat(nonce) FILTER (WHERE state IN ('held', 'signed')) "
                "FROM transactions WHERE network = ? AND sender = ?",
                self._scope,
            ).fetchone()
        return Tail(last or 0, frozenset(map(int, nonces.split(","))) if nonces else frozenset())

    def record(
        self,
        *,
        tail: Tail,
        idempotency_key: str,
        intent: Mapping[str, str],
        nonce: int,
        raw: bytes,
        transaction_hash: str,
        now: int,
        state: str = "signed",
    ) -> Entry:
        """Write a signed transaction down, durably; the first one with an idempotency key stays.

        Args:
            state: "signed" if it is about to be sent, "held" if its bytes are given out in a file.

        Raises:
            NonceTaken: the journal went on since `tail`; take the nonce anew and sign again.
            JournalError: it cannot be written, and so must not be sent.
        """
        row = (*self._scope, idempotency_key, _canonical(intent), nonce, raw, transaction_hash)
        added = 0
        # The key or the nonce may be taken: then nothing is added.
        with self._explained(), suppress(sqlite3.IntegrityError):
            added = self._database.execute(
                "INSERT INTO transactions (network, sender, idempotency_key, intent, nonce, "
                "raw, hash, state, signed_at) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? "
                "WHERE NOT EXISTS "
                "(SELECT 1 FROM transactions WHERE network = ? AND sender = ? AND id > ?)",
                (*row, state, now, *self._scope, tail.last_id),
            ).rowcount
        recorded = self.find(idempotency_key)
        if recorded is None:
            assert not added
            raise NonceTaken(nonce)
        return recorded

    def record_replacement(
        self,
        replaced: Entry,
        *,
        idempotency_key: str,
        intent: Mapping[str, str],
        raw: bytes,
        transaction_hash: str,
        now: int,
    ) -> Entry:
        """Write down a transaction that competes with another for its nonce, durably.

        Raises:
            NotReplaceable: the other one, or one that competes with it, has ended meanwhile.
            JournalError: it cannot be written, and so must not be sent.
        """
        nonce = (*self._scope, replaced.nonce)
        with self._explained(), self._transaction():
            landed = self._database.execute(
                "SELECT 1 FROM transactions WHERE network = ? AND sender = ? AND nonce = ? "
                "AND state IN ('confirmed', 'reverted')",
                nonce,
            ).fetchone()
            known = self._database.execute(
                "SELECT hash FROM transactions WHERE network = ? AND sender = ? AND nonce = ? "
                "AND state IN ('held', 'signed')",
                nonce,
            ).fetchall()
            hashes = [row["hash"] for row in known]
            if landed or replaced.hash not in hashes:
                raise NotReplaceable(replaced.hash)
            if transaction_hash not in hashes:
                self._database.execute(
                    "INSERT INTO transactions (network, sender, idempotency_key, intent, nonce, "
                    "raw, hash, replaces, state, signed_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'signed', ?)",
                    (
                        *self._scope,
                        idempotency_key,
                        _canonical(intent),
                        replaced.nonce,
                        raw,
                        transaction_hash,
                        replaced.hash,
                        now,
                    ),
                )
        recorded = self.find_hash(transaction_hash)
        assert recorded is not None
        return recorded

    def find(self, idempotency_key: str) -> Entry | None:
        """Return what was recorded under the key: of several, what landed, else the latest."""
        return _that_counts(self._select("AND idempotency_key = ?", idempotency_key))

    def find_all(self, prefix: str) -> dict[str, Entry]:
        """Return what was recorded under keys that begin so, by key."""
        found: dict[str, list[Entry]] = {}
        for entry in self._select("AND substr(idempotency_key, 1, ?) = ?", len(prefix), prefix):
            found.setdefault(entry.idempotency_key, []).append(entry)
        return {key: counts for key, all_ in found.items() if (counts := _that_counts(all_))}

    def find_hash(self, transaction_hash: str) -> Entry | None:
        """Return the transaction of a hash."""
        return _that_counts(self._select("AND hash = ?", transaction_hash.lower()))

    def candidates(self, nonce: int) -> list[Entry]:
        """Return all that was ever signed for a nonce, in the order it was."""
        return self._select("AND nonce = ?", nonce)

    def unfinished(self) -> list[Entry]:
        """What is being sent and may still get on chain, by nonce."""
        return self._select("AND state = 'signed'")

    def held(self) -> list[Entry]:
        """What was signed into files, not sent from here, and may still get on chain, by nonce.

        What is being replaced is not among them: its nonce is in use.
        """
        return self._select(
            "AND state = 'held' AND hash NOT IN (SELECT replaces FROM transactions "
            "WHERE replaces IS NOT NULL AND state = 'signed')"
        )

    def confirmed(self) -> list[Entry]:
        """What is on chain and succeeded, by nonce."""
        return self._select("AND state = 'confirmed'")

    def is_to_be_sent(self, transaction_hash: str) -> bool:
        """Whether its bytes are this wallet's to send: not held, ended, or itself replaced."""
        return bool(
            self._select(
                "AND hash = ? AND state = 'signed' AND NOT EXISTS (SELECT 1 FROM transactions "
                "AS later WHERE later.replaces = transactions.hash AND later.state = 'signed')",
                transaction_hash,
            )
        )

    def release(self, transaction_hash: str) -> None:
        """Note that what was held is about to be sent."""
        with self._explained():
            self._database.execute(
                "UPDATE transactions SET state = 'signed' "
                "WHERE network = ? AND sender = ? AND hash = ? AND state = 'held'",
                (*self._scope, transaction_hash),
            )

    def finish(self, transaction_hash: str, state: str, block: int | None = None) -> None:
        """Note how a transaction ended, and with it all that competed for its nonce.

        What was seen on chain stays so until something else is seen there under its nonce.
        """
        with self._explained(), self._transaction():
            row = self._database.execute(
                "SELECT id, nonce FROM transactions WHERE network = ? AND sender = ? AND hash = ? "
                "ORDER BY state IN ('held', 'signed') DESC, id DESC LIMIT 1",
                (*self._scope, transaction_hash),
            ).fetchone()
            if row is None:
                return
            if state in ("confirmed", "reverted"):
                self._database.execute(
                    "UPDATE transactions SET state = 'superseded', block = NULL WHERE network = ? "
                    "AND sender = ? AND nonce = ? AND id != ? "
                    "AND state IN ('held', 'signed', 'confirmed', 'reverted')",
                    (*self._scope, row["nonce"], row["id"]),
                )
            self._database.execute(
                "UPDATE transactions SET state = ?, block = ? WHERE id = ? "
                "AND (state IN ('held', 'signed') OR ? IN ('confirmed', 'reverted'))",
                (state, block, row["id"], state),
            )

    # -------------------------------------------------------------------- batches

    def begin_batch(self, file_hash: str, path: str, rows: list[dict[str, Any]], now: int) -> None:
        """Note that a batch file is about to be paid; nothing if it was noted before."""
        with self._explained():
            self._database.execute(
                "INSERT OR IGNORE INTO batches (network, sender, file_hash, path, rows, begun_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (*self._scope, file_hash, path, json.dumps(rows), now),
            )

    def batches(self) -> list[Begun]:
        """The batch files that were begun, in that order."""
        with self._explained():
            rows = self._database.execute(
                "SELECT * FROM batches WHERE network = ? AND sender = ? ORDER BY id", self._scope
            ).fetchall()
        return [
            Begun(row["file_hash"], row["path"], json.loads(row["rows"]), row["begun_at"])
            for row in rows
        ]

    def _select(self, condition: str, *parameters: str | int) -> list[Entry]:
        with self._explained():
            rows = self._database.execute(
                f"SELECT * FROM transactions WHERE network = ? AND sender = ? {condition} "  # noqa: S608
                "ORDER BY nonce, id",
                (*self._scope, *parameters),
            ).fetchall()
        return [
            Entry(
                hash=row["hash"],
                idempotency_key=row["idempotency_key"],
                intent=json.loads(row["intent"]),
                nonce=row["nonce"],
                raw=row["raw"],
                state=row["state"],
                block=row["block"],
                signed_at=row["signed_at"],
                replaces=row["replaces"],
            )
            for row in rows
        ]

    def close(self) -> None:
        self._database.close()


def _that_counts(entries: list[Entry]) -> Entry | None:
    """Of several under one key or hash: what landed, else what may still, else the latest."""
    for states in (("confirmed", "reverted"), ("held", "signed")):
        found = [entry for entry in entries if entry.state in states]
        if found:
            return found[-1]
    return entries[-1] if entries else None


def _canonical(intent: Mapping[str, str]) -> str:
    return json.dumps(dict(intent), sort_keys=True)
