"""What was signed, written down before it is sent: one SQLite file, readable by its owner alone.

A row holds the intent, the raw bytes and their hash. It is committed before the first broadcast,
so whatever happens afterwards the same bytes can be sent again, and nothing has to be guessed.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wallet.errors import WalletError

SCHEMA_VERSION = 1

# signed      sent or about to be; may be on chain or may still get there
# confirmed   on chain, succeeded
# reverted    on chain, failed
# superseded  another transaction used its nonce: can never get there
# refused     the endpoint refuses it as it is: can never get there
STATES = ("signed", "confirmed", "reverted", "superseded", "refused")

_SCHEMA = """
CREATE TABLE transactions (
    id              INTEGER PRIMARY KEY,
    network         TEXT NOT NULL,     -- chain id and genesis hash
    sender          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    intent          TEXT NOT NULL,     -- canonical JSON
    nonce           INTEGER NOT NULL,
    raw             BLOB NOT NULL,
    hash            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN
                    ('signed', 'confirmed', 'reverted', 'superseded', 'refused')),
    block           INTEGER,
    signed_at       INTEGER NOT NULL,  -- unix seconds
    UNIQUE (network, sender, idempotency_key)
) STRICT;
CREATE UNIQUE INDEX one_unfinished_per_nonce
    ON transactions (network, sender, nonce) WHERE state = 'signed';
"""


class NonceTaken(Exception):
    """Another process recorded a transaction with this nonce meanwhile."""


@dataclass(frozen=True)
class Tail:
    """The last row there is, and the nonce after all that may still get on chain."""

    last_id: int
    next_nonce: int


@dataclass(frozen=True)
class Entry:
    """One recorded transaction. `signed_at` is unix seconds."""

    hash: str
    idempotency_key: str
    intent: dict[str, str]
    nonce: int
    raw: bytes
    state: str
    block: int | None
    signed_at: int


class Journal:
    """The journal of one sender on one network."""

    def __init__(self, path: Path, network: str, sender: str) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._database = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA synchronous = FULL")
        self._create_schema()
        self._scope = (network, sender)

    def _create_schema(self) -> None:
        if self._version() == 0:
            self._database.execute("BEGIN IMMEDIATE")
            if self._version() == 0:  # nobody else was first
                for statement in _SCHEMA.split(";\n"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._database.execute("COMMIT")
        if self._version() != SCHEMA_VERSION:
            raise WalletError(
                f"the journal has version {self._version()}, this wallet reads {SCHEMA_VERSION}"
            )

    def _version(self) -> int:
        return int(self._database.execute("PRAGMA user_version").fetchone()[0])

    def tail(self) -> Tail:
        """How far the journal goes now. Read it before asking the chain for its count."""
        last, highest = self._database.execute(
            "SELECT max(id), max(nonce) FILTER (WHERE state = 'signed') "
            "FROM transactions WHERE network = ? AND sender = ?",
            self._scope,
        ).fetchone()
        return Tail(last or 0, 0 if highest is None else highest + 1)

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
    ) -> Entry:
        """Write a signed transaction down, durably; the first one with an idempotency key stays.

        Raises:
            NonceTaken: the journal went on since `tail`; take the nonce anew and sign again.
        """
        row = (
            *self._scope,
            idempotency_key,
            json.dumps(dict(intent), sort_keys=True),
            nonce,
            raw,
            transaction_hash,
            now,
        )
        try:
            added = self._database.execute(
                "INSERT INTO transactions (network, sender, idempotency_key, intent, nonce, raw, "
                "hash, state, signed_at) SELECT ?, ?, ?, ?, ?, ?, ?, 'signed', ? WHERE NOT EXISTS "
                "(SELECT 1 FROM transactions WHERE network = ? AND sender = ? AND id > ?)",
                (*row, *self._scope, tail.last_id),
            ).rowcount
        except sqlite3.IntegrityError:
            added = 0
        recorded = self.find(idempotency_key)
        if recorded is None:
            assert not added
            raise NonceTaken(nonce)
        return recorded

    def find(self, idempotency_key: str) -> Entry | None:
        """Return what was recorded under the key."""
        found = self._select("AND idempotency_key = ?", idempotency_key)
        return found[0] if found else None

    def unfinished(self) -> list[Entry]:
        """What may still get on chain, by nonce."""
        return self._select("AND state = 'signed'")

    def finish(self, transaction_hash: str, state: str, block: int | None = None) -> None:
        """Note how a transaction ended."""
        self._database.execute(
            "UPDATE transactions SET state = ?, block = ? WHERE hash = ?",
            (state, block, transaction_hash),
        )

    def _select(self, condition: str, *parameters: str) -> list[Entry]:
        rows = self._database.execute(
            f"SELECT * FROM transactions WHERE network = ? AND sender = ? {condition} "  # noqa: S608
            "ORDER BY nonce",
            (*self._scope, *parameters),
        )
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
            )
            for row in rows
        ]

    def close(self) -> None:
        self._database.close()
