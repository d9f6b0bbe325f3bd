"""An operation that failed, told where it matters: to the operation, its resource, and outside.

Both ends of an operation's life come here: the outbox, whose simulation was refused, and the
indexer, which found its transaction reverted in a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, select, update
from sqlalchemy.orm import Session

from node.store.ids import Ids
from node.store.models import (
    Account,
    AccountStatus,
    CreditOffer,
    Draw,
    Event,
    LineAction,
    MoveStatus,
    Operation,
    OperationStatus,
    PaymentRequest,
    PoolDeposit,
    PoolWithdrawal,
    Purchase,
    Redemption,
    Repayment,
    ReserveFunding,
    TopUp,
    Transfer,
)

# Where a resource's row is, and the status in which a failed operation ends it. A purchase, an
# offer and a payment request only show the error: their status is the chain's.
_RESOURCES: dict[str, tuple[Table, str | None]] = {
    "account": (Account.__table__, AccountStatus.PENDING),  # type: ignore[dict-item]
    "topup": (TopUp.__table__, MoveStatus.PENDING),  # type: ignore[dict-item]
    "redemption": (Redemption.__table__, MoveStatus.PENDING),  # type: ignore[dict-item]
    "transfer": (Transfer.__table__, MoveStatus.PENDING),  # type: ignore[dict-item]
    "purchase": (Purchase.__table__, None),  # type: ignore[dict-item]
    "payment_request": (PaymentRequest.__table__, None),  # type: ignore[dict-item]
    "credit_offer": (CreditOffer.__table__, None),  # type: ignore[dict-item]
    "line_action": (LineAction.__table__, MoveStatus.PENDING),  # type: ignore[dict-item]
    "draw": (Draw.__table__, MoveStatus.PENDING),  # type: ignore[dict-item]
    "repayment": (Repayment.__table__, MoveStatus.PENDING),  # type: ignore[dict-item]
    "pool_deposit": (PoolDeposit.__table__, MoveStatus.PENDING),  # type: ignore[dict-item]
    "pool_withdrawal": (PoolWithdrawal.__table__, MoveStatus.PENDING),  # type: ignore[dict-item]
    "reserve_funding": (ReserveFunding.__table__, MoveStatus.PENDING),  # type: ignore[dict-item]
}
_FAILED = "failed"


@dataclass(frozen=True)
class Failure:
    """Why an operation failed.

    Attributes:
        code: the contract's error, such as "NotAMember", or a word of our own, such as "reverted".
        words: the same for people, with actual and expected values.
        cause: what makes telling it unique: the transaction hash, or the operation's id where
            there never was a transaction.
        status: how the operation ends; its resource is told the same either way.
    """

    operation_id: str
    code: str
    words: str
    cause: str
    status: OperationStatus = OperationStatus.FAILED


@dataclass(frozen=True)
class ResourceBefore:
    """What a resource's row said before a failure changed it, for those who can undo it."""

    table: str
    id: str
    columns: dict[str, Any]


def fail_operations(
    session: Session, failures: Sequence[Failure], now: int, ids: Ids
) -> list[ResourceBefore]:
    """Write the failures to operations, resources and events.

    Returns:
        The resources as they were.
    """
    by_id = {failure.operation_id: failure for failure in failures}
    rows = session.execute(
        select(
            Operation.id,
            Operation.merchant_id,
            Operation.kind,
            Operation.resource_type,
            Operation.resource_id,
        )
        .where(Operation.id.in_(by_id))
        .order_by(Operation.id)
    ).all()
    changed: list[ResourceBefore] = []
    for operation_id, merchant_id, kind, resource_type, resource_id in rows:
        failure = by_id[operation_id]
        session.execute(
            update(Operation)
            .where(Operation.id == operation_id)
            .values(
                status=failure.status,
                error_code=failure.code[:64],
                error=failure.words,
                updated_at=now,
            )
        )
        table, open_status = _RESOURCES[resource_type]
        before = session.execute(
            select(table.c.status, table.c.error).where(table.c.id == resource_id)
        ).one()
        ends = before.status == open_status
        status = _FAILED if ends else before.status
        session.execute(
            update(table)
            .where(table.c.id == resource_id)
            .values(status=status, error=failure.words)
        )
        changed.append(
            ResourceBefore(
                table.name, resource_id, {"status": before.status, "error": before.error}
            )
        )
        action = kind.partition(".")[2]
        event_type = f"{resource_type}.{_FAILED if ends else f'{action}_{_FAILED}'}"
        cause = f"{failure.cause}:{event_type}:{resource_id}"
        if session.scalar(select(Event.seq).where(Event.cause == cause)) is None:
            session.add(
                Event(
                    id=ids.new("evt"),
                    merchant_id=merchant_id,
                    type=event_type,
                    resource_type=resource_type,
                    resource_id=resource_id,
                    cause=cause,
                    data={
                        "status": status,
                        "operation_id": operation_id,
                        "error_code": failure.code,
                        "error": failure.words,
                    },
                    created_at=now,
                )
            )
    session.flush()
    return changed
