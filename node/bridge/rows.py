"""Statements on the tables, as Core: whole ORM objects cost three times as much a request.

A statement that runs in every request is built once, with named parameters, and prepared: see
node.store.prepared.

`owned` is the one rule that keeps merchants apart: every read of a merchant's resource starts
from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from sqlalchemy import Select, Table, bindparam, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.bridge.problems import not_found
from node.store.models import Base
from node.store.prepared import Prepared


def table(model: type[Base]) -> Table:
    return cast(Table, model.__table__)


def add(session: Session, model: type[Base], **values: Any) -> None:
    """Insert one row; columns left out take the default of the model."""
    _insert(model, tuple(values)).run(session, values)


def owned(model: type[Base], merchant_id: Any) -> Select[Any]:
    """Select the rows of a model that belong to a merchant, and no others."""
    rows = table(model)
    return select(rows).where(rows.c.merchant_id == merchant_id)


def find(
    session: Session,
    model: type[Base],
    merchant_id: str,
    resource_id: str,
    what: str,
    param: str = "id",
) -> Row[Any]:
    """Return a merchant's row by id.

    Args:
        what: the resource in words, for the refusal.
        param: where the id was given.

    Raises:
        Problem: not_found, whether there is none or it belongs to another merchant.
    """
    which = {"its_merchant": merchant_id, "its_id": resource_id}
    row: Row[Any] | None = _find(model).one_or_none(session, which)
    if row is None:
        raise not_found(what, resource_id, param)
    return row


def change(
    session: Session, model: type[Base], resource_id: str, values: Mapping[str, Any]
) -> None:
    """Update one row that `find` has found."""
    _update(model, tuple(values)).run(session, {**values, "its_id": resource_id})


@cache
def _insert(model: type[Base], columns: tuple[str, ...]) -> Prepared:
    return Prepared(insert(table(model)), columns)


@cache
def _find(model: type[Base]) -> Prepared:
    statement = owned(model, bindparam("its_merchant"))
    return Prepared(statement.where(table(model).c.id == bindparam("its_id")))


@cache
def _update(model: type[Base], columns: tuple[str, ...]) -> Prepared:
    rows = table(model)
    return Prepared(update(rows).where(rows.c.id == bindparam("its_id")), columns)
