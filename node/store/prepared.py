"""Statements that run in every request, compiled once.

SQLAlchemy writes the SQL and knows how values go in and come out; what it does beside that at each
run (parameters, contexts and results for whatever a statement could be) takes five times as long as
SQLite needs for one row by its key. Here a statement is compiled for its dialect, once, and then
goes to the driver as it is.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ClauseElement, Column, Dialect, Insert, UpdateBase
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

_Process = Callable[[Any], Any]


class Prepared:
    """One statement; `run` it in any session.

    Args:
        statement: a select, insert, update or delete on tables (not on ORM classes), with named
            parameters and without any that expands into a list.
        columns: of an insert or update: the columns it gets values for when it is run.
    """

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._compiled: dict[str, _Compiled] = {}  # by dialect

    def run(self, session: Session, values: Mapping[str, Any]) -> list[Any]:
        """Execute it, and return its rows as named tuples; none where it selects nothing.

        Raises:
            sqlalchemy.exc.DBAPIError: as SQLAlchemy would have raised it.
        """
        connection = session.connection()
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = _compile(self._statement, self._columns, dialect)
            self._compiled[dialect.name] = compiled
        parameters = compiled.parameters(values)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(compiled.sql, parameters)
            return compiled.rows(cursor) if compiled.selects else []
        except dialect.loaded_dbapi.Error as error:
            raise DBAPIError.instance(
                compiled.sql,
                None,
                error,
                dialect.loaded_dbapi.Error,
                hide_parameters=True,
                dialect=dialect,
            ) from error
        finally:
            cursor.close()

    def one_or_none(self, session: Session, values: Mapping[str, Any]) -> Any:
        """Execute a select of a row by a unique key; None where there is none."""
        rows = self.run(session, values)
        return rows[0] if rows else None


class _Parameter(NamedTuple):
    name: str
    process: _Process | None
    value: Any  # where it is fixed
    is_fixed: bool


class _Compiled:
    def __init__(
        self,
        sql: str,
        parameters: list[_Parameter],
        names: list[str],
        types: list[TypeEngine[Any]],
        dialect: Dialect,
        *,
        is_positional: bool,
    ) -> None:
        self.sql = sql
        self.selects = bool(names)
        self._parameters = parameters
        self._is_positional = is_positional
        self._row: Any = namedtuple("Row", names)  # type: ignore[misc]
        self._types = types
        self._dialect = dialect
        self._processes: list[tuple[int, _Process]] | None = None

    def parameters(self, values: Mapping[str, Any]) -> Any:
        given = [
            each.value
            if each.is_fixed
            else values[each.name]
            if each.process is None
            else each.process(values[each.name])
            for each in self._parameters
        ]
        if self._is_positional:
            return given
        return {each.name: value for each, value in zip(self._parameters, given, strict=True)}

    def rows(self, cursor: Any) -> list[Any]:
        found = cursor.fetchall()
        if not found:
            return []
        if self._processes is None:  # what comes out depends on what the driver says it is
            self._processes = [
                (at, process)
                for at, (type_, described) in enumerate(
                    zip(self._types, cursor.description, strict=True)
                )
                if (process := self._result_processor(type_, described[1])) is not None
            ]
        if not self._processes:
            return [self._row._make(row) for row in found]
        rows = []
        for row in found:
            values = list(row)
            for at, process in self._processes:
                values[at] = process(values[at])
            rows.append(self._row._make(values))
        return rows

    def _result_processor(self, type_: TypeEngine[Any], described: Any) -> _Process | None:
        return type_.dialect_impl(self._dialect).result_processor(self._dialect, described)


def _compile(
    statement: ClauseElement, columns: Sequence[str] | None, dialect: Dialect
) -> _Compiled:
    inserted: Any = None
    if isinstance(statement, Insert):
        inserted = statement.table
        statement = statement.inline()  # no key is asked back
    compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
    parameters = []
    for name in compiled.positiontup if compiled.positional else compiled.params:
        bind = compiled.binds[name]
        process = bind.type.dialect_impl(dialect).bind_processor(dialect)
        value = None
        if not bind.required:
            is_left_out = inserted is not None and bind.value is None
            value = _default(inserted.c[name]) if is_left_out else bind.value
            value = value if process is None else process(value)
        parameters.append(_Parameter(name, process, value, is_fixed=not bind.required))
    selected: Sequence[Any] = ()
    if not isinstance(statement, UpdateBase):
        selected = list(statement.selected_columns)  # type: ignore[attr-defined]
    return _Compiled(
        str(compiled),
        parameters,
        [column.key for column in selected],
        [column.type for column in selected],
        dialect,
        is_positional=compiled.positional,
    )


def _default(column: Column[Any]) -> Any:
    """Of a column that an insert leaves out."""
    default: Any = column.default
    if default is None or not default.is_scalar:
        raise TypeError(f"{column} wants a value")
    return default.arg
