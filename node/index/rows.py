"""Rows of one table in memory: read once for a range of blocks, changed log by log, written once.

The first change a block makes to a row is preceded by an entry in the undo log, with the columns
the indexer writes as they were.

Statements are built once for each table: to build one costs twice what it takes to run it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, Select, Table, Update, bindparam, insert, select, update
from sqlalchemy.orm import Session

_MOST_PARAMETERS = 500  # of one IN list


class UndoLog:
    """The undo entries of a range of blocks, in the order of the changes."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def add(self, block: int, table: str, key: str, before: dict[str, Any] | None) -> None:
        self.entries.append(
            {"block_number": block, "table_name": table, "key": key, "before": before}
        )


class Rows:
    """Some rows of one table.

    Args:
        key: name of the primary key column; values are strings, or an int for a one-row table.
        written: the columns the indexer writes.
        read: further columns to read.
    """

    def __init__(
        self,
        table: Table,
        undo: UndoLog,
        *,
        key: str,
        written: Sequence[str],
        read: Sequence[str] = (),
    ) -> None:
        self.table = table
        self._undo = undo
        self._key = table.c[key]
        self.written = tuple(written)
        self._columns = (key, *written, *read)
        self._rows: dict[Any, dict[str, Any]] = {}
        self._inserted: set[Any] = set()
        self._changed: set[Any] = set()
        self._undone: set[tuple[int, Any]] = set()

    def read(self, session: Session, column: Column[Any], values: Iterable[Any]) -> None:
        """Read the rows whose `column` is one of the values."""
        statement = _read_rows(self.table, self._columns, column.name)
        for chunk in chunks(sorted(set(values))):
            for row in session.execute(statement, {"_values": chunk}).mappings():
                self._rows[row[self._key.name]] = dict(row)

    def get(self, key: Any) -> dict[str, Any] | None:
        return self._rows.get(key)

    def all(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows.values())

    def change(self, block: int, key: Any, **values: Any) -> None:
        """Change columns of a row that is there."""
        row = self._rows[key]
        if all(row[name] == value for name, value in values.items()):
            return
        if (block, key) not in self._undone:
            self._undone.add((block, key))
            before = {name: row[name] for name in self.written}
            self._undo.add(block, self.table.name, str(key), before)
        row.update(values)
        if key not in self._inserted:
            self._changed.add(key)

    def insert(self, block: int, key: Any, **values: Any) -> None:
        """Add a row that is not there."""
        self._undone.add((block, key))
        self._undo.add(block, self.table.name, str(key), None)
        self._rows[key] = {self._key.name: key, **values}
        self._inserted.add(key)

    def write(self, session: Session) -> None:
        """Write what was inserted and changed."""
        if self._inserted:
            session.execute(insert(self.table), [self._rows[key] for key in self._inserted])
        if self._changed:
            session.execute(
                _change_rows(self.table, self._key.name, self.written),
                [
                    {
                        "_key": key,
                        **{f"_{name}": self._rows[key][name] for name in self.written},
                    }
                    for key in self._changed
                ],
            )
        self._inserted.clear()
        self._changed.clear()


@cache
def _read_rows(table: Table, columns: tuple[str, ...], column: str) -> Select[Any]:
    is_wanted = table.c[column].in_(bindparam("_values", expanding=True))
    return select(*(table.c[name] for name in columns)).where(is_wanted).with_for_update()


@cache
def _change_rows(table: Table, key: str, columns: tuple[str, ...]) -> Update:
    return (
        update(table)
        .where(table.c[key] == bindparam("_key"))
        .values({name: bindparam(f"_{name}") for name in columns})
    )


def chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Split what is to be looked up into lists every database takes."""
    for start in range(0, len(values), _MOST_PARAMETERS):
        yield values[start : start + _MOST_PARAMETERS]
