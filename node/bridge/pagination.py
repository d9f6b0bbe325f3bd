"""Lists: newest first by id (ids rise with time), and continued after the last id of a part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Query as InQuery
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.bridge.problems import Problem
from node.bridge.values import Page, Query

Item = TypeVar("Item", bound=BaseModel)
Parameters = TypeVar("Parameters", bound=Query)

Listed = Annotated[Parameters, InQuery()]  # the query parameters of a list


def row_number(cursor: str) -> int:
    """The cursor of a list whose ids are numbers. Raises ValueError for what no database counts."""
    if not cursor.isascii() or not cursor.isdigit() or int(cursor) >= 2**63:
        raise ValueError(cursor)
    return int(cursor)


class ListQuery(Query):
    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=64, description="`next_cursor` of the part before")


def page(
    session: Session,
    statement: Select[Any],
    id_column: ColumnElement[Any],
    query: ListQuery,
    show: Callable[[Row[Any]], Item],
    parse_id: Callable[[str], Any] = str,
) -> Page[Item]:
    """Run a list's statement for one part. A cursor of no row simply starts below it.

    Raises:
        Problem: invalid_request, where `parse_id` raises ValueError for the cursor.
    """
    if query.cursor is not None:
        try:
            after = parse_id(query.cursor)
        except ValueError:
            detail = f"{query.cursor!r} is no cursor of this list"
            raise Problem("invalid_request", detail, param="cursor") from None
        statement = statement.where(id_column < after)
    rows = session.execute(statement.order_by(id_column.desc()).limit(query.limit + 1)).all()
    shown = rows[: query.limit]
    has_more = len(rows) > query.limit
    return Page(
        data=[show(row) for row in shown],
        has_more=has_more,
        next_cursor=str(getattr(shown[-1], id_column.key or "id")) if has_more else None,
    )
