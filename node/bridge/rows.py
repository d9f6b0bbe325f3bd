"""Statements on the tables, as Core: whole ORM objects cost three times as much a request.

`owned` is the one rule that keeps merchants apart: every read of a merchant's resource starts
from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import Select, Table, Update, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.bridge.problems import not_found
from node.store.models import Base


def table(model: type[Base]) -> Table:
    return cast(Table, model.__table__)


def add(session: Session, model: type[Base], **values: Any) -> None:
    """Insert one row; columns left out take the default of the model."""
    session.execute(insert(table(model)), values)


def owned(model: type[Base], merchant_id: str) -> Select[Any]:
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
    statement = owned(model, merchant_id).where(table(model).c.id == resource_id)
    row = session.execute(statement).one_or_none()
    if row is None:
        raise not_found(what, resource_id, param)
    return row


def change(model: type[Base], resource_id: str, values: Mapping[str, Any]) -> Update:
    """Update one row that `find` has found; more conditions may be added."""
    rows = table(model)
    return update(rows).where(rows.c.id == resource_id).values(**values)
