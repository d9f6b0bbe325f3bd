"""Chain transactions, as the platform's staff sees them: of every merchant, and what to do with one
that is stuck.

This process does not speak to the chain. What is asked for is written down, and the worker's outbox
carries it out (node.outbox.requests); what comes of it, the chain decides.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import ConfigDict, Field
from sqlalchemy import func, or_, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.auth import Caller, requires
from node.bridge.context import Context, Ctx
from node.bridge.idempotency import Command, Outcome, command
from node.bridge.operations import OperationWithAttempts, show_attempts
from node.bridge.pagination import Listed, ListQuery, page
from node.bridge.problems import Problem, documented, not_found
from node.bridge.rows import add, table
from node.bridge.values import Address, Input, Output, Page, Time
from node.chain.engine import BLOCK_GAS_LIMIT
from node.store import models
from node.store.models import (
    ChainTxStatus,
    OperationStatus,
    OutboxAction,
    OutboxRequestStatus,
)

router = APIRouter(prefix="/chain_transactions", tags=["chain transactions"])
operations_router = APIRouter(prefix="/operations", tags=["operations"])

Operator = Annotated[Caller, Depends(requires("operate"))]
OperateCommand = Annotated[Command, Depends(command("operate"))]

LEAST_GAS = 21_000  # of any transaction
PREFIX = "ctx_"
_ID = re.compile(r"(?:ctx_)?([1-9][0-9]{0,17})")

_TRANSACTIONS, _ATTEMPTS = table(models.ChainTx), table(models.TxAttempt)
_CARRIED, _OPERATIONS = table(models.ChainTxOperation), table(models.Operation)
_REQUESTS = table(models.OutboxRequest)

_SHOWN = select(
    _TRANSACTIONS,
    select(func.min(_ATTEMPTS.c.created_at))
    .where(_ATTEMPTS.c.chain_tx_id == _TRANSACTIONS.c.id)
    .scalar_subquery()
    .label("created_at"),
    select(func.count())
    .where(_CARRIED.c.chain_tx_id == _TRANSACTIONS.c.id)
    .scalar_subquery()
    .label("operation_count"),
)


class ChainTransactionsQuery(ListQuery):
    status: ChainTxStatus | None = None
    sender: Address | None = None


class ReplaceRequest(Input):
    gas_limit: int = Field(
        ge=LEAST_GAS, le=BLOCK_GAS_LIMIT, description="of the new transaction, with the same call"
    )

    model_config = ConfigDict(json_schema_extra={"examples": [{"gas_limit": 2_000_000}]})


class CarriedOperation(Output):
    """An operation that the transaction carries out."""

    id: str
    merchant_id: str
    kind: str
    resource_type: str
    resource_id: str
    status: Literal["queued", "submitted", "done", "failed", "canceled", "conflict"]
    succeeded: bool | None = Field(description="in this transaction; null: in no block")


class SignedAttempt(Output):
    """Bytes signed for the nonce. Whichever is in a block counts."""

    tx_hash: str
    kind: Literal["call", "replacement", "cancel"]
    created_at: Time


class StaffRequest(Output):
    """What was asked for. `done` says that the outbox did its part, not what came of it."""

    id: str
    action: Literal["rebroadcast", "cancel", "replace", "retry"]
    operation_id: str | None = Field(description="that is to be tried again")
    gas_limit: int | None
    status: Literal["pending", "done", "refused"]
    answer: str | None = Field(description="why it was refused")
    requested_by: str = Field(description="the API key")
    created_at: Time
    finished_at: Time | None


_EXAMPLE: dict[str, Any] = {
    "id": "ctx_17",
    "sender": "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "nonce": 12,
    "status": "signed",
    "tx_hash": "0x" + "5f" * 32,
    "block_number": None,
    "succeeded": None,
    "operation_count": 1,
    "created_at": "2026-01-31T09:15:00Z",
}


class ChainTransaction(Output):
    id: str
    sender: str
    nonce: int
    status: Literal["signed", "mined", "conflict", "resolved", "replaced"] = Field(
        description="`conflict`: somebody else used the nonce; `resolved`: and people looked at it"
    )
    tx_hash: str = Field(description="of what is sent or, once it is mined, of what was")
    block_number: int | None = Field(
        description="the block that holds it, or held it before the chain went back"
    )
    succeeded: bool | None
    operation_count: int
    created_at: Time

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})


class ChainTransactionWithDetails(ChainTransaction):
    operations: list[CarriedOperation] = Field(description="in the order of the batch")
    attempts: list[SignedAttempt] = Field(description="oldest first")
    requests: list[StaffRequest] = Field(description="oldest first")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    **_EXAMPLE,
                    "operations": [
                        {
                            "id": "op_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                            "merchant_id": "mer_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                            "kind": "topup.mint",
                            "resource_type": "topup",
                            "resource_id": "top_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                            "status": "submitted",
                            "succeeded": None,
                        }
                    ],
                    "attempts": [
                        {
                            "tx_hash": "0x" + "5f" * 32,
                            "kind": "call",
                            "created_at": "2026-01-31T09:15:00Z",
                        }
                    ],
                    "requests": [
                        {
                            "id": "req_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                            "action": "rebroadcast",
                            "operation_id": None,
                            "gas_limit": None,
                            "status": "pending",
                            "answer": None,
                            "requested_by": "key_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                            "created_at": "2026-01-31T09:25:00Z",
                            "finished_at": None,
                        }
                    ],
                }
            ]
        },
    )


# ---------------------------------------------------------------------------------- service


def ask_outbox(
    session: Session,
    context: Context,
    caller: Caller,
    chain_tx_id: str,
    action: OutboxAction,
    gas_limit: int | None = None,
) -> Outcome:
    """Write down what the outbox is asked to do with a transaction.

    Raises:
        Problem: not_found, invalid_state, operation_pending.
    """
    row = _find(session, chain_tx_id, lock=True)
    if row.status != ChainTxStatus.SIGNED:
        raise Problem(
            "invalid_state",
            f"the transaction {chain_tx_id} is {row.status}: nothing of it waits to be mined",
            actual=row.status,
        )
    _refuse_if_asked(session, _REQUESTS.c.chain_tx_id == row.id, chain_tx_id)
    _add_request(session, context, caller, action, chain_tx_id=row.id, gas_limit=gas_limit)
    return Outcome("chain_transaction", _show_id(row))


def ask_for_retry(session: Session, context: Context, caller: Caller, operation_id: str) -> Outcome:
    """Write down that an operation in conflict is to be signed anew, for another nonce.

    Raises:
        Problem: not_found, invalid_state, operation_pending.
    """
    row = _find_operation(session, operation_id, lock=True)
    if row.status != OperationStatus.CONFLICT:
        raise Problem(
            "invalid_state",
            f"the operation {operation_id} is {row.status}, and not in conflict",
            actual=row.status,
            operation_id=operation_id,
        )
    _refuse_if_asked(session, _REQUESTS.c.operation_id == operation_id, operation_id)
    _add_request(session, context, caller, OutboxAction.RETRY, operation_id=operation_id)
    return Outcome("operation", operation_id)


def list_transactions(session: Session, query: ChainTransactionsQuery) -> Page[ChainTransaction]:
    statement = _SHOWN
    if query.status is not None:
        statement = statement.where(_TRANSACTIONS.c.status == query.status)
    if query.sender is not None:
        statement = statement.where(_TRANSACTIONS.c.sender == query.sender)
    return page(
        session,
        statement,
        _TRANSACTIONS.c.id,
        query,
        lambda row: ChainTransaction(**_fields(row)),
        parse_id=_parse_id,
    )


def show_transaction(session: Session, chain_tx_id: str) -> ChainTransactionWithDetails:
    row = _find(session, chain_tx_id)
    carried = session.execute(
        select(_OPERATIONS, _CARRIED.c.succeeded)
        .join(_CARRIED, _CARRIED.c.operation_id == _OPERATIONS.c.id)
        .where(_CARRIED.c.chain_tx_id == row.id)
        .order_by(_CARRIED.c.position)
    ).all()
    attempts = session.execute(
        select(_ATTEMPTS)
        .where(_ATTEMPTS.c.chain_tx_id == row.id)
        .order_by(_ATTEMPTS.c.created_at, _ATTEMPTS.c.kind, _ATTEMPTS.c.hash)
    )
    requests = session.execute(
        select(_REQUESTS)
        .where(
            or_(
                _REQUESTS.c.chain_tx_id == row.id,
                _REQUESTS.c.operation_id.in_([operation.id for operation in carried]),
            )
        )
        .order_by(_REQUESTS.c.id)
    )
    return ChainTransactionWithDetails(
        **_fields(row),
        operations=[
            CarriedOperation(**{name: getattr(one, name) for name in CarriedOperation.model_fields})
            for one in carried
        ],
        attempts=[
            SignedAttempt(tx_hash=one.hash, kind=one.kind, created_at=one.created_at)
            for one in attempts
        ],
        requests=[
            StaffRequest(**{name: getattr(one, name) for name in StaffRequest.model_fields})
            for one in requests
        ],
    )


def _parse_id(chain_tx_id: str) -> int:
    """The row's number, of an id or of a list's cursor. Raises ValueError."""
    match = _ID.fullmatch(chain_tx_id)
    if match is None:
        raise ValueError(chain_tx_id)
    return int(match[1])


def _find(session: Session, chain_tx_id: str, *, lock: bool = False) -> Row[Any]:
    try:
        number = _parse_id(chain_tx_id) if chain_tx_id.startswith(PREFIX) else 0
    except ValueError:
        number = 0
    if lock:
        session.execute(
            select(_TRANSACTIONS.c.id).where(_TRANSACTIONS.c.id == number).with_for_update()
        )
    row = session.execute(_SHOWN.where(_TRANSACTIONS.c.id == number)).one_or_none()
    if row is None:
        raise not_found("chain transaction", chain_tx_id, "id")
    return row


def _find_operation(session: Session, operation_id: str, *, lock: bool = False) -> Row[Any]:
    """Whose it is does not matter here."""
    statement = select(_OPERATIONS).where(_OPERATIONS.c.id == operation_id)
    row = session.execute(statement.with_for_update() if lock else statement).one_or_none()
    if row is None:
        raise not_found("operation", operation_id, "id")
    return row


def _refuse_if_asked(session: Session, which: Any, resource_id: str) -> None:
    asked = session.execute(
        select(_REQUESTS.c.action).where(which, _REQUESTS.c.status == OutboxRequestStatus.PENDING)
    ).first()
    if asked is not None:
        raise Problem(
            "operation_pending",
            f"{asked.action} of {resource_id} was asked for, and is about to be carried out",
            retryable=True,
        )


def _add_request(
    session: Session, context: Context, caller: Caller, action: OutboxAction, **about: Any
) -> None:
    add(
        session,
        models.OutboxRequest,
        id=context.ids.new("req"),
        action=action,
        **{"chain_tx_id": None, "operation_id": None, "gas_limit": None, **about},
        status=OutboxRequestStatus.PENDING,
        answer=None,
        requested_by=caller.key_id,
        created_at=context.wall_now(),
        finished_at=None,
    )


def _show_id(row: Row[Any]) -> str:
    return f"{PREFIX}{row.id}"


def _fields(row: Row[Any]) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in ChainTransaction.model_fields}
    return {**fields, "id": _show_id(row)}


def _show_operation(session: Session, operation_id: str) -> OperationWithAttempts:
    return show_attempts(session, _find_operation(session, operation_id))


# -------------------------------------------------------------------------------- endpoints


@router.get("", response_model=Page[ChainTransaction])
async def list_(context: Ctx, caller: Operator, query: Listed[ChainTransactionsQuery]) -> Response:
    """The transactions signed for all merchants, newest first."""
    return answer(await context.store.read(lambda session: list_transactions(session, query)))


@router.get(
    "/{chain_tx_id}",
    response_model=ChainTransactionWithDetails,
    responses=documented("not_found"),
)
async def get(context: Ctx, caller: Operator, chain_tx_id: str) -> Response:
    """One transaction: what it carries out, all that was signed for its nonce, what was asked."""
    return answer(await context.store.read(lambda session: show_transaction(session, chain_tx_id)))


_ACTION: dict[str, Any] = {
    "status_code": 202,
    "response_model": ChainTransactionWithDetails,
    "responses": documented("not_found", "invalid_state", "operation_pending"),
}


async def _ask(
    command: Command,
    chain_tx_id: str,
    action: OutboxAction,
    body: Input | None = None,
    gas_limit: int | None = None,
) -> Response:
    return await command.run(
        body,
        lambda session: ask_outbox(
            session, command.context, command.caller, chain_tx_id, action, gas_limit
        ),
        show_transaction,
    )


@router.post("/{chain_tx_id}/rebroadcast", **_ACTION)
async def rebroadcast(chain_tx_id: str, command: OperateCommand) -> Response:
    """Send the stored bytes again at once, instead of within seconds."""
    return await _ask(command, chain_tx_id, OutboxAction.REBROADCAST)


@router.post("/{chain_tx_id}/cancel", **_ACTION)
async def cancel(chain_tx_id: str, command: OperateCommand) -> Response:
    """Use the nonce up for nothing. The call may be faster; if it is not, its operations end as
    `canceled`."""
    return await _ask(command, chain_tx_id, OutboxAction.CANCEL)


@router.post("/{chain_tx_id}/replace", **_ACTION)
async def replace(chain_tx_id: str, body: ReplaceRequest, command: OperateCommand) -> Response:
    """Sign the same call for the same nonce with another gas limit. One of the two is mined."""
    return await _ask(command, chain_tx_id, OutboxAction.REPLACE, body, body.gas_limit)


@operations_router.post(
    "/{operation_id}/retry",
    status_code=202,
    response_model=OperationWithAttempts,
    responses=documented("not_found", "invalid_state", "operation_pending"),
)
async def retry(operation_id: str, command: OperateCommand) -> Response:
    """Sign an operation in conflict anew, for another nonce; of whichever merchant it is.

    The outbox looks first whether any bytes signed for it were mined, or still can be.
    """
    return await command.run(
        None,
        lambda session: ask_for_retry(session, command.context, command.caller, operation_id),
        _show_operation,
    )
