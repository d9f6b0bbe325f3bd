"""The marketplace's own record: what it asked of the node, and what it was told.

An SQLite file. What is about to be asked is in it before the request is sent, and an answer before
anybody acts on it. At the end it is what chain, database and webhooks are compared with.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE asked (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    body TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    refused TEXT,
    resource_id TEXT,
    replays INTEGER NOT NULL DEFAULT 0,
    settled INTEGER NOT NULL DEFAULT 0,
    abandoned INTEGER NOT NULL DEFAULT 0
)
"""


class Broken(Exception):
    """The node did what must never happen.

    Attributes:
        how: "doubled", "lost" or "different".
    """

    def __init__(self, how: str, words: str) -> None:
        super().__init__(f"{how}: {words}")
        self.how = how
        self.words = words


@dataclass(frozen=True, slots=True)
class Asked:
    """One intention.

    Attributes:
        kind: "topup", "purchase.release" and so on.
        attempts: requests sent for it, all with one key.
        lost: of these, how many were never answered.
        resource_id: of the first answer that was not a refusal; None: there was none.
        settled: whether an answer said that the chain has done it.
        abandoned: whether the marketplace gave up on it, not knowing what became of it.
    """

    number: int
    key: str
    kind: str
    path: str
    body: dict[str, Any]
    attempts: int
    lost: int
    refused: str | None
    resource_id: str | None
    replays: int
    settled: bool
    abandoned: bool


class Record:
    """The file, and the only writer of it."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=NORMAL")
        self._file.execute(_SCHEMA)

    def intend(self, key: str, kind: str, path: str, body: dict[str, Any]) -> None:
        """Before the first request."""
        self._file.execute(
            "INSERT INTO asked (key, kind, path, body) VALUES (?, ?, ?, ?)",
            (key, kind, path, json.dumps(body)),
        )

    def send(self, key: str) -> None:
        self._set(key, "attempts = attempts + 1")

    def lose(self, key: str) -> None:
        """No answer came."""
        self._set(key, "lost = lost + 1")

    def refuse(self, key: str, code: str) -> None:
        self._set(key, "refused = ?", code)

    def answer(self, key: str, resource_id: str, *, replayed: bool, settled: bool) -> None:
        """Note an answer that is no refusal.

        Raises:
            Broken: the same request was answered with something else before.
        """
        attempts, lost, before = self._file.execute(
            "SELECT attempts, lost, resource_id FROM asked WHERE key = ?", (key,)
        ).fetchone()
        if before not in (None, resource_id):
            raise Broken("doubled", f"{key} made {before}, and sent again {resource_id}")
        if before is not None and not replayed:
            raise Broken("doubled", f"{key} made {before}, and sent again was taken for new")
        if before is None and replayed and not lost:
            raise Broken("different", f"{key} was new, and {attempts} answers say it was not")
        self._set(
            key,
            "resource_id = ?, replays = replays + ?, settled = max(settled, ?)",
            resource_id,
            int(replayed),
            int(settled),
        )

    def abandon(self, key: str) -> None:
        """It may have happened, and may not; nobody will ask again."""
        self._set(key, "abandoned = 1")

    def read(self) -> list[Asked]:
        """All intentions, in the order in which they came up."""
        rows = self._file.execute("SELECT * FROM asked ORDER BY number").fetchall()
        return [
            Asked(*row[:4], json.loads(row[4]), *row[5:10], bool(row[10]), bool(row[11]))
            for row in rows
        ]

    def count(self) -> int:
        return int(self._file.execute("SELECT count(*) FROM asked").fetchone()[0])

    def close(self) -> None:
        self._file.close()

    def _set(self, key: str, what: str, *values: object) -> None:
        self._file.execute(f"UPDATE asked SET {what} WHERE key = ?", (*values, key))  # noqa: S608
