"""Operations: intentions to act on chain. Queued here, carried out by the worker's outbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from eth_utils.crypto import keccak
from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import ColumnElement, bindparam, func, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.context import Context, Ctx
from node.bridge.pagination import Listed, ListQuery, page
from node.bridge.problems import Problem, documented
from node.bridge.rows import add, find, owned, table
from node.bridge.values import Output, Page, Time
from node.chain.words import encode
from node.store import models
from node.store.models import OperationStatus
from node.store.prepared import Prepared

router = APIRouter(prefix="/operations", tags=["operations"])

# A conflict may still turn out to have happened: until people have looked, it is not settled.
UNSETTLED = (OperationStatus.QUEUED, OperationStatus.SUBMITTED, OperationStatus.CONFLICT)


def is_unsettled(status: ColumnElement[str]) -> ColumnElement[bool]:
    """As a condition. An `IN` would be written out anew each time it is run."""
    return or_(*(status == state for state in UNSETTLED))


_OPERATIONS = table(models.Operation)
_LAST_ATTEMPT = Prepared(
    select(func.max(_OPERATIONS.c.attempt).label("attempt")).where(
        _OPERATIONS.c.kind == bindparam("its_kind"), _OPERATIONS.c.ref == bindparam("its_ref")
    )
)
_UNSETTLED_OF = Prepared(
    select(_OPERATIONS.c.id, _OPERATIONS.c.kind, _OPERATIONS.c.status).where(
        _OPERATIONS.c.resource_type == bindparam("its_type"),
        _OPERATIONS.c.resource_id == bindparam("its_id"),
        is_unsettled(_OPERATIONS.c.status),
    )
)


class OperationsQuery(ListQuery):
    status: OperationStatus | None = None
    resource_id: str | None = Field(None, max_length=64)


class Attempt(Output):
    """A signed transaction, of this operation or of a batch it is in. The same bytes may be sent
    many times."""

    tx_hash: str
    kind: Literal["call", "replacement", "cancel"] = Field(
        description="the last two are for the same nonce, where the platform's staff asked for it"
    )
    sender: str
    nonce: int
    status: Literal["signed", "mined", "conflict", "resolved", "replaced"] = Field(
        description="of the nonce: of several attempts at one, one is mined"
    )
    block_number: int | None
    created_at: Time


_EXAMPLE: dict[str, Any] = {
    "id": "op_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
    "kind": "topup.mint",
    "resource_type": "topup",
    "resource_id": "top_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
    "status": "done",
    "signer": "treasury",
    "ref": "0x" + "7a" * 32,
    "attempt": 1,
    "error_code": None,
    "error": None,
    "tx_hash": "0x" + "5f" * 32,
    "block_number": 17,
    "created_at": "2026-01-31T09:15:00Z",
    "updated_at": "2026-01-31T09:15:01Z",
}


class Operation(Output):
    id: str
    kind: str = Field(description="what is to be done, such as `purchase.release`")
    resource_type: str
    resource_id: str
    status: Literal["queued", "submitted", "done", "failed", "canceled", "conflict"]
    signer: str
    ref: str = Field(description="what makes the action unique on chain")
    attempt: int = Field(description="1, and one more each time a failed one is asked for again")
    error_code: str | None
    error: str | None
    tx_hash: str | None
    block_number: int | None
    created_at: Time
    updated_at: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [_EXAMPLE]},
    )


class OperationWithAttempts(Operation):
    attempts: list[Attempt]

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    **_EXAMPLE,
                    "attempts": [
                        {
                            "tx_hash": "0x" + "5f" * 32,
                            "kind": "call",
                            "sender": "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
                            "nonce": 12,
                            "status": "mined",
                            "block_number": 17,
                            "created_at": "2026-01-31T09:15:00Z",
                        }
                    ],
                }
            ]
        },
    )


# ---------------------------------------------------------------------------------- service


@dataclass(frozen=True)
class Call:
    """A call to a contract, who signs it, and whose coin it moves.

    Attributes:
        kind: "resource.action", such as "topup.mint".
        ref: what the contract refuses to accept a second time.
        signer: "operator", "operator:<number>", "treasury", or "managed:<index>".
        debit: address and amount this takes, counted against what is available until it is settled.
        credit: address and amount this brings, shown as pending until it is settled.
    """

    kind: str
    ref: str
    signer: str
    to: str
    calldata: str
    debit: tuple[str, int] | None = None
    credit: tuple[str, int] | None = None


def reference(*words: str) -> str:
    """32 bytes that name something uniquely: keccak256(abi.encode(string, string, …))."""
    return "0x" + keccak(encode(["string"] * len(words), words)).hex()


def queue(
    session: Session,
    context: Context,
    merchant_id: str,
    resource_id: str,
    call: Call,
    *,
    is_first: bool = False,
) -> str:
    """Write the intention; the outbox finds it after the commit. Return the operation's id.

    Args:
        is_first: the call's ref is as new as its resource: there was no earlier attempt.
    """
    operation_id = context.ids.new("op")
    now = context.wall_now()
    which = {"its_kind": call.kind, "its_ref": call.ref}
    earlier = 0 if is_first else _LAST_ATTEMPT.run(session, which)[0].attempt or 0
    debit_address, debit_amount = call.debit or (None, 0)
    credit_address, credit_amount = call.credit or (None, 0)
    add(
        session,
        models.Operation,
        id=operation_id,
        merchant_id=merchant_id,
        kind=call.kind,
        ref=call.ref,
        attempt=earlier + 1,
        resource_type=call.kind.partition(".")[0],
        resource_id=resource_id,
        signer=call.signer,
        to_address=call.to,
        calldata=call.calldata,
        debit_address=debit_address,
        debit_amount=debit_amount,
        credit_address=credit_address,
        credit_amount=credit_amount,
        status=OperationStatus.QUEUED,
        alone=False,
        created_at=now,
        updated_at=now,
    )
    return operation_id


def unsettled(session: Session, resource_type: str, resource_id: str) -> list[Row[Any]]:
    """The operations of a resource (id, kind, status) that may still take effect."""
    which = {"its_type": resource_type, "its_id": resource_id}
    return _UNSETTLED_OF.run(session, which)


def refuse_if_pending(session: Session, kind: str, resource_id: str) -> None:
    """Refuse an action that is on its way already.

    Raises:
        Problem: operation_pending.
    """
    for operation in unsettled(session, kind.partition(".")[0], resource_id):
        if operation.kind == kind:
            raise Problem(
                "operation_pending",
                f"{kind} of {resource_id} is {operation.status}",
                retryable=True,
                operation_id=operation.id,
            )


def cancel_queued(session: Session, context: Context, kind: str, resource_id: str) -> None:
    """Cancel the operation of a resource, which is possible until the outbox has signed it.

    Raises:
        Problem: invalid_state, with the operation that is past canceling.
    """
    operations = table(models.Operation)
    canceled = session.execute(
        update(operations)
        .where(
            operations.c.resource_type == kind.partition(".")[0],
            operations.c.resource_id == resource_id,
            operations.c.kind == kind,
            operations.c.status == OperationStatus.QUEUED,
            operations.c.alone.is_(False),
        )
        .values(status=OperationStatus.CANCELED, updated_at=context.wall_now())
        .returning(operations.c.id)
    ).all()
    if not canceled:
        under_way = unsettled(session, kind.partition(".")[0], resource_id)
        raise Problem(
            "invalid_state",
            f"{resource_id} has been signed already and can no longer be canceled",
            actual=under_way[0].status if under_way else "settled",
            operation_id=under_way[0].id if under_way else None,
        )


def list_operations(session: Session, merchant_id: str, query: OperationsQuery) -> Page[Operation]:
    operations = table(models.Operation)
    statement = owned(models.Operation, merchant_id)
    if query.status is not None:
        statement = statement.where(operations.c.status == query.status)
    if query.resource_id is not None:
        statement = statement.where(operations.c.resource_id == query.resource_id)
    return page(session, statement, operations.c.id, query, lambda row: Operation(**_fields(row)))


def show_operation(session: Session, merchant_id: str, operation_id: str) -> OperationWithAttempts:
    row = find(session, models.Operation, merchant_id, operation_id, "operation")
    return show_attempts(session, row)


def show_attempts(session: Session, row: Row[Any]) -> OperationWithAttempts:
    """An operation, with all that was signed for it."""
    transactions, attempts = table(models.ChainTx), table(models.TxAttempt)
    carried = table(models.ChainTxOperation)
    signed = session.execute(
        select(
            attempts.c.hash,
            attempts.c.kind,
            attempts.c.created_at,
            transactions.c.sender,
            transactions.c.nonce,
            transactions.c.status,
            transactions.c.block_number,
        )
        .join(transactions, transactions.c.id == attempts.c.chain_tx_id)
        .join(carried, carried.c.chain_tx_id == transactions.c.id)
        .where(carried.c.operation_id == row.id)
        .order_by(attempts.c.created_at, attempts.c.hash)
    )
    return OperationWithAttempts(
        **_fields(row),
        attempts=[
            Attempt(
                tx_hash=attempt.hash,
                kind=attempt.kind,
                sender=attempt.sender,
                nonce=attempt.nonce,
                status=attempt.status,
                block_number=attempt.block_number,
                created_at=attempt.created_at,
            )
            for attempt in signed
        ],
    )


def _fields(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Operation.model_fields}


# -------------------------------------------------------------------------------- endpoints


@router.get("", response_model=Page[Operation])
async def list_(context: Ctx, caller: Reader, query: Listed[OperationsQuery]) -> Response:
    """What is to be done, is under way, or was done on chain; newest first."""
    return answer(
        await context.store.read(
            lambda session: list_operations(session, caller.merchant_id, query)
        )
    )


@router.get(
    "/{operation_id}", response_model=OperationWithAttempts, responses=documented("not_found")
)
async def get(context: Ctx, caller: Reader, operation_id: str) -> Response:
    """One operation, and the transactions signed for it."""
    return answer(
        await context.store.read(
            lambda session: show_operation(session, caller.merchant_id, operation_id)
        )
    )
