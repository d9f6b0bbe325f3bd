"""Redemptions: coin to be burned for a payout of money."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_active
from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.context import Context, Ctx
from node.bridge.events import record
from node.bridge.funds import refuse_unless_available
from node.bridge.idempotency import MoneyCommand, Outcome
from node.bridge.moves import MovesQuery, cancel_move, list_moves, ref_of, refuse_taken_reference
from node.bridge.operations import Call, queue
from node.bridge.pagination import Listed
from node.bridge.problems import documented
from node.bridge.rows import add, find, table
from node.bridge.values import Amount, AmountIn, Input, Name, Output, Page, Time
from node.store import models
from node.store.models import MoveStatus

router = APIRouter(prefix="/redemptions", tags=["money in and out"])


class RedemptionRequest(Input):
    account: str = Field(description="id of the account whose coin is burned")
    amount: AmountIn
    reference: Name = Field(description="of the payout; counts once")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "amount": "12000000",
                    "reference": "payout 2026-02/12",
                }
            ]
        }
    )


class OwnersCall(Output):
    """The transaction that the owner of an external account sends itself."""

    to: str
    function: Literal["redeem(uint256,bytes32)"] = "redeem(uint256,bytes32)"
    amount: Amount
    ref: str
    data: str = Field(description="the call, encoded")


class Redemption(Output):
    id: str
    account: str
    amount: Amount
    reference: str
    ref: str = Field(description="the reference on chain")
    status: Literal["pending", "succeeded", "failed", "canceled"]
    error: str | None
    call: OwnersCall | None = Field(
        description="what the owner of an external account has to send; null for a managed one"
    )
    created_at: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "red_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "account": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "amount": "12000000",
                    "reference": "payout 2026-02/12",
                    "ref": "0x" + "7a" * 32,
                    "status": "pending",
                    "error": None,
                    "call": None,
                    "created_at": "2026-02-28T09:15:00Z",
                }
            ]
        },
    )


# ---------------------------------------------------------------------------------- service


def create_redemption(
    session: Session, context: Context, merchant_id: str, request: RedemptionRequest
) -> Outcome:
    """Burn a managed account's coin, or wait for the owner of an external one to do it.

    Raises:
        Problem: not_found, account_not_active, reference_taken, insufficient_funds.
    """
    account = find_active(session, merchant_id, request.account, "account")
    ref = ref_of(models.Redemption, merchant_id, request.reference)
    refuse_taken_reference(session, models.Redemption, ref, request.reference)
    refuse_unless_available(session, account.address, request.amount)
    redemption_id = context.ids.new("red")
    add(
        session,
        models.Redemption,
        id=redemption_id,
        merchant_id=merchant_id,
        account_id=account.id,
        amount=request.amount,
        reference=request.reference,
        ref=ref,
        status=MoveStatus.PENDING,
        error=None,
        created_at=context.wall_now(),
    )
    record(
        session,
        context,
        merchant_id,
        "redemption.created",
        redemption_id,
        {"status": MoveStatus.PENDING, "amount": str(request.amount), "account": account.id},
    )
    if account.managed_index is None:
        return Outcome("redemption", redemption_id)
    call = Call(
        kind="redemption.burn",
        ref=ref,
        signer=f"managed:{account.managed_index}",
        to=context.coin_address,
        calldata=context.coin.encode("redeem", request.amount, ref),
        debit=(account.address, request.amount),
    )
    operation_id = queue(session, context, merchant_id, redemption_id, call)
    return Outcome("redemption", redemption_id, [operation_id])


def cancel_redemption(
    session: Session, context: Context, merchant_id: str, redemption_id: str
) -> Outcome:
    """Raises:
    Problem: not_found, invalid_state.
    """
    redemption = find(session, models.Redemption, merchant_id, redemption_id, "redemption")
    managed = _managed_index(session, redemption) is not None
    return cancel_move(
        session,
        context,
        models.Redemption,
        merchant_id,
        redemption_id,
        "redemption.burn" if managed else None,
    )


def show_redemption(
    session: Session, context: Context, merchant_id: str, redemption_id: str
) -> Redemption:
    row = find(session, models.Redemption, merchant_id, redemption_id, "redemption")
    return _show(session, context, row)


def _show(session: Session, context: Context, row: Row[Any]) -> Redemption:
    call = None
    if _managed_index(session, row) is None:
        call = OwnersCall(
            to=context.coin_address,
            amount=row.amount,
            ref=row.ref,
            data=context.coin.encode("redeem", row.amount, row.ref),
        )
    return Redemption(
        id=row.id,
        account=row.account_id,
        amount=row.amount,
        reference=row.reference,
        ref=row.ref,
        status=row.status,
        error=row.error,
        call=call,
        created_at=row.created_at,
    )


def _managed_index(session: Session, redemption: Row[Any]) -> int | None:
    accounts = table(models.Account)
    index: int | None = session.scalar(
        select(accounts.c.managed_index).where(accounts.c.id == redemption.account_id)
    )
    return index


# -------------------------------------------------------------------------------- endpoints


@router.post(
    "",
    status_code=202,
    response_model=Redemption,
    responses=documented(
        "not_found", "account_not_active", "reference_taken", "insufficient_funds"
    ),
)
async def create(body: RedemptionRequest, command: MoneyCommand) -> Response:
    """Burn coin for a payout. Pay the money out when the redemption has succeeded, not before."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        body,
        lambda session: create_redemption(session, context, merchant_id, body),
        lambda session, id_: show_redemption(session, context, merchant_id, id_),
    )


@router.get("", response_model=Page[Redemption])
async def list_(context: Ctx, caller: Reader, query: Listed[MovesQuery]) -> Response:
    return answer(
        await context.store.read(
            lambda session: list_moves(
                session,
                models.Redemption,
                caller.merchant_id,
                query,
                lambda row: _show(session, context, row),
            )
        )
    )


@router.get("/{redemption_id}", response_model=Redemption, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, redemption_id: str) -> Response:
    return answer(
        await context.store.read(
            lambda session: show_redemption(session, context, caller.merchant_id, redemption_id)
        )
    )


@router.post(
    "/{redemption_id}/cancel",
    response_model=Redemption,
    responses=documented("not_found", "invalid_state"),
)
async def cancel(redemption_id: str, command: MoneyCommand) -> Response:
    """Take a redemption back, which is possible until its transaction is signed."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        None,
        lambda session: cancel_redemption(session, context, merchant_id, redemption_id),
        lambda session, id_: show_redemption(session, context, merchant_id, id_),
    )
