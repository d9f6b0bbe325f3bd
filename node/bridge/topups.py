"""Top-ups: money the platform received, to be minted once as coin."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_active
from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.context import Context, Ctx
from node.bridge.events import record
from node.bridge.idempotency import MoneyCommand, Outcome
from node.bridge.moves import MovesQuery, cancel_move, list_moves, ref_of, refuse_taken_reference
from node.bridge.operations import Call, queue
from node.bridge.pagination import Listed
from node.bridge.problems import documented
from node.bridge.rows import add, find
from node.bridge.values import Amount, AmountIn, Input, Name, Output, Page, Time
from node.store import models
from node.store.models import MoveStatus

router = APIRouter(prefix="/topups", tags=["money in and out"])


class TopUpRequest(Input):
    account: str = Field(description="id of the account that gets the coin")
    amount: AmountIn
    reference: Name = Field(description="of the money received; counts once")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "amount": "50000000",
                    "reference": "bank transfer 2026-01-31/881",
                }
            ]
        }
    )


class TopUp(Output):
    id: str
    account: str
    amount: Amount
    reference: str
    ref: str = Field(description="the reference on chain")
    status: Literal["pending", "succeeded", "failed", "canceled"]
    error: str | None
    created_at: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "top_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "account": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "amount": "50000000",
                    "reference": "bank transfer 2026-01-31/881",
                    "ref": "0x" + "7a" * 32,
                    "status": "pending",
                    "error": None,
                    "created_at": "2026-01-31T09:15:00Z",
                }
            ]
        },
    )


# ---------------------------------------------------------------------------------- service


def create_topup(
    session: Session, context: Context, merchant_id: str, request: TopUpRequest
) -> Outcome:
    """Raises:
    Problem: not_found, account_not_active, reference_taken.
    """
    account = find_active(session, merchant_id, request.account, "account")
    ref = ref_of(models.TopUp, merchant_id, request.reference)
    refuse_taken_reference(session, models.TopUp, ref, request.reference)
    topup_id = context.ids.new("top")
    add(
        session,
        models.TopUp,
        id=topup_id,
        merchant_id=merchant_id,
        account_id=account.id,
        amount=request.amount,
        reference=request.reference,
        ref=ref,
        status=MoveStatus.PENDING,
        error=None,
        created_at=context.wall_now(),
    )
    call = Call(
        kind="topup.mint",
        ref=ref,
        signer="treasury",
        to=context.coin_address,
        calldata=context.coin.encode("mint", account.address, request.amount, ref),
        credit=(account.address, request.amount),
    )
    operation_id = queue(session, context, merchant_id, topup_id, call)
    record(
        session,
        context,
        merchant_id,
        "topup.created",
        topup_id,
        {"status": MoveStatus.PENDING, "amount": str(request.amount), "account": account.id},
    )
    return Outcome("topup", topup_id, [operation_id])


def show_topup(session: Session, merchant_id: str, topup_id: str) -> TopUp:
    return _show(find(session, models.TopUp, merchant_id, topup_id, "top-up"))


def _show(row: Row[Any]) -> TopUp:
    return TopUp(
        id=row.id,
        account=row.account_id,
        amount=row.amount,
        reference=row.reference,
        ref=row.ref,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
    )


# -------------------------------------------------------------------------------- endpoints


@router.post(
    "",
    status_code=202,
    response_model=TopUp,
    responses=documented("not_found", "account_not_active", "reference_taken"),
)
async def create(body: TopUpRequest, command: MoneyCommand) -> Response:
    """Mint coin against money received."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        body,
        lambda session: create_topup(session, context, merchant_id, body),
        lambda session, topup_id: show_topup(session, merchant_id, topup_id),
    )


@router.get("", response_model=Page[TopUp])
async def list_(context: Ctx, caller: Reader, query: Listed[MovesQuery]) -> Response:
    return answer(
        await context.store.read(
            lambda session: list_moves(session, models.TopUp, caller.merchant_id, query, _show)
        )
    )


@router.get("/{topup_id}", response_model=TopUp, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, topup_id: str) -> Response:
    return answer(
        await context.store.read(lambda session: show_topup(session, caller.merchant_id, topup_id))
    )


@router.post(
    "/{topup_id}/cancel",
    response_model=TopUp,
    responses=documented("not_found", "invalid_state"),
)
async def cancel(topup_id: str, command: MoneyCommand) -> Response:
    """Take a top-up back, which is possible until its transaction is signed."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        None,
        lambda session: cancel_move(
            session, context, models.TopUp, merchant_id, topup_id, "topup.mint"
        ),
        lambda session, topup_id: show_topup(session, merchant_id, topup_id),
    )
