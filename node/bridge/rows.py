"""Statements on the tables, as Core: whole ORM objects cost three times as much a request.

A statement that runs in every request is built once, with named parameters: building one anew
costs more than running it.

`owned` is the one rule that keeps merchants apart: every read of a merchant's resource starts
from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from sqlalchemy import Insert, Select, Table, Update, bindparam, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.bridge.problems import not_found
from node.store.models import Base


def table(model: type[Base]) -> Table:
    return cast(Table, model.__table__)


def add(session: Session, model: type[Base], **values: Any) -> None:
    """Insert one row; columns left out take the default of the model."""
    session.execute(_insert(model), values)


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
    row = session.execute(
        _find(model), {"its_merchant": merchant_id, "its_id": resource_id}
    ).one_or_none()
    if row is None:
        raise not_found(what, resource_id, param)
    return row


def change(
    session: Session, model: type[Base], resource_id: str, values: Mapping[str, Any]
) -> None:
    """Update one row that `find` has found."""
    session.execute(_update(model), {**values, "its_id": resource_id})


@cache
def _insert(model: type[Base]) -> Insert:
    return insert(table(model))


@cache
def _find(model: type[Base]) -> Select[Any]:
    statement = owned(model, bindparam("its_merchant"))
    return statement.where(table(model).c.id == bindparam("its_id"))


@cache
def _update(model: type[Base]) -> Update:
    rows = table(model)
    return update(rows).where(rows.c.id == bindparam("its_id"))
