"""What top-ups and redemptions have in common: a fiat reference that counts once, and canceling."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from pydantic import Field
from sqlalchemy import Select, bindparam, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.bridge.context import Context
from node.bridge.events import record
from node.bridge.idempotency import Outcome
from node.bridge.operations import cancel_queued, reference
from node.bridge.pagination import ListQuery, page
from node.bridge.problems import Problem
from node.bridge.rows import change, find, owned, table
from node.bridge.values import Output, Page
from node.store import models
from node.store.models import MoveStatus

Move = type[models.TopUp] | type[models.Redemption]
Shown = TypeVar("Shown", bound=Output)


class MovesQuery(ListQuery):
    reference: str | None = Field(None, max_length=120)
    status: MoveStatus | None = None


def ref_of(model: Move, merchant_id: str, fiat_reference: str) -> str:
    """The reference on chain, which follows from the merchant's own."""
    return reference(f"plaza/{_resource_type(model)}", merchant_id, fiat_reference)


def refuse_taken_reference(session: Session, model: Move, ref: str, fiat_reference: str) -> None:
    """A fiat reference stands for one sum of money. One that failed or was canceled is free again.

    Raises:
        Problem: reference_taken, naming the resource that has it.
    """
    taken = session.execute(_find_taken(model), {"its_ref": ref}).one_or_none()
    if taken is not None:
        raise Problem(
            "reference_taken",
            f"{taken.id} ({taken.status}) has the reference {fiat_reference!r}",
            param="reference",
            resource_id=taken.id,
        )


def cancel_move(
    session: Session,
    context: Context,
    model: Move,
    merchant_id: str,
    move_id: str,
    operation_kind: str | None,
) -> Outcome:
    """Cancel a top-up or redemption together with its operation.

    Args:
        operation_kind: None where there is no operation, because the owner of an external account
            would have to send the transaction.

    Raises:
        Problem: not_found, invalid_state.
    """
    resource_type = _resource_type(model)
    move = find(session, model, merchant_id, move_id, resource_type)
    if move.status != MoveStatus.PENDING:
        detail = f"{move_id} is {move.status}; only what is pending can be canceled"
        raise Problem("invalid_state", detail, actual=move.status)
    if operation_kind is not None:
        cancel_queued(session, context, operation_kind, move_id)
    change(session, model, move_id, {"status": MoveStatus.CANCELED})
    data = {"status": MoveStatus.CANCELED, "amount": str(move.amount)}
    record(session, context, merchant_id, f"{resource_type}.canceled", move_id, data)
    return Outcome(resource_type, move_id, status_code=200)


def list_moves(
    session: Session,
    model: Move,
    merchant_id: str,
    query: MovesQuery,
    show: Callable[[Row[Any]], Shown],
) -> Page[Shown]:
    moves = table(model)
    statement = owned(model, merchant_id)
    if query.reference is not None:
        statement = statement.where(moves.c.ref == ref_of(model, merchant_id, query.reference))
    if query.status is not None:
        statement = statement.where(moves.c.status == query.status)
    return page(session, statement, moves.c.id, query, show)


def _resource_type(model: Move) -> str:
    return "topup" if model is models.TopUp else "redemption"


@cache
def _find_taken(model: Move) -> Select[Any]:
    moves = table(model)
    return select(moves.c.id, moves.c.status).where(
        moves.c.ref == bindparam("its_ref"),
        moves.c.status.not_in((MoveStatus.FAILED, MoveStatus.CANCELED)),
    )
