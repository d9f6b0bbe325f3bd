"""The lender pool: what lenders put in and take out, and the first-loss reserve before them.

Deposits and withdrawals are exactly once by what is signed, as draws and repayments are: an
EIP-3009 authorization, and an intent, each with a nonce that the reference of the request names.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import bindparam, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_active
from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.authorizations import Payment, authorization_for, intent_for
from node.bridge.context import Context, Ctx
from node.bridge.credit import (
    SIGNED_FOR,
    cash_of,
    not_before_indexed,
    pending,
    pool_of,
    refuse_taken_reference,
    totals_of,
)
from node.bridge.events import record
from node.bridge.funds import available, refuse_unless_available
from node.bridge.idempotency import CreditCommand, DeskCommand, Outcome
from node.bridge.operations import Call, queue, reference
from node.bridge.pagination import Listed, ListQuery, page
from node.bridge.problems import Problem, documented
from node.bridge.rows import add, find, owned, table
from node.bridge.values import (
    Amount,
    AmountIn,
    Input,
    Name,
    Output,
    Page,
    SharesIn,
    SignedAuthorization,
    SignedIntent,
    Time,
)
from node.index.credit_line import BPS_YEAR
from node.index.reconcile_credit import assets_of
from node.store import models
from node.store.models import MoveStatus, OperationStatus

router = APIRouter(prefix="/pool", tags=["credit"])

_LENDERS, _ACCOUNTS = table(models.Lender), table(models.Account)
_SHARES = select(_LENDERS.c.shares).where(_LENDERS.c.address == bindparam("its_address"))
_ONE_COINS_SHARES = 10**12
_ANY_ALLOWANCE = 2**256 - 1

# ---------------------------------------------------------------------------------- schemas


class DepositRequest(Input):
    account: str = Field(description="id of the lender's account")
    amount: AmountIn
    reference: Name = Field(description="of this deposit; counts once for the account")
    authorization: SignedAuthorization | None = Field(
        None, description="of an external lender; without it the refusal says what to sign"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "amount": "1000000000",
                    "reference": "fund 2026/1",
                }
            ]
        }
    )


class WithdrawalRequest(Input):
    account: str = Field(description="id of the lender's account")
    shares: SharesIn | None = Field(None, description="without it: all the account has")
    reference: Name = Field(description="of this withdrawal; counts once for the account")
    signed: SignedIntent | None = Field(
        None, description="of an external lender; without it the refusal says what to sign"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "shares": "250000000000000",
                    "reference": "fund 2026/1 out",
                }
            ]
        }
    )


class FundingRequest(Input):
    amount: AmountIn
    reference: Name = Field(description="of the money set aside; counts once")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"amount": "100000000", "reference": "board decision 2026-01"}]
        }
    )


class Pool(Output):
    """The lender pool and the credit lines it funds, as of the chain's time now."""

    total_assets: Amount = Field(description="what lenders own: cash and book value")
    cash: Amount = Field(description="coin at hand; the most that can be withdrawn or drawn")
    book_value: Amount = Field(description="principal, and interest earned, rounded down")
    shares: str
    share_price: Amount = Field(description="what 10^12 shares, one coin at first, are worth")
    deposited: Amount
    withdrawn: Amount
    principal: Amount = Field(description="of all lines")
    interest: Amount = Field(description="owed by all lines, rounded down")
    drawn: Amount = Field(description="this and the following: since the beginning")
    principal_repaid: Amount
    interest_paid: Amount
    repaid_by_sales: Amount
    waived: Amount
    written_off: Amount
    loss: Amount = Field(description="of the pool, not recovered yet")
    reserve: Amount = Field(description="first-loss reserve, not part of the pool")
    reserve_needed: Amount = Field(description="for the present principal")
    reserve_bps: int
    principal_cap: Amount
    line_cap: Amount
    draws_paused: bool
    as_of: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "total_assets": "1000271232",
                    "cash": "910000000",
                    "book_value": "90271232",
                    "shares": "1000000000000000",
                    "share_price": "1000271",
                    "deposited": "1000000000",
                    "withdrawn": "0",
                    "principal": "90000000",
                    "interest": "271232",
                    "drawn": "90000000",
                    "principal_repaid": "0",
                    "interest_paid": "0",
                    "repaid_by_sales": "0",
                    "waived": "0",
                    "written_off": "0",
                    "loss": "0",
                    "reserve": "100000000",
                    "reserve_needed": "9000000",
                    "reserve_bps": 1000,
                    "principal_cap": "10000000000000",
                    "line_cap": "50000000000",
                    "draws_paused": False,
                    "as_of": "2026-02-10T09:15:00Z",
                }
            ]
        },
    )


class Position(Output):
    account: str
    shares: str
    value: Amount = Field(description="in coin, now, rounded down")
    withdrawable: Amount = Field(description="part of it for which the pool has coin at hand")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "account": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "shares": "1000000000000000",
                    "value": "1000271232",
                    "withdrawable": "910000000",
                }
            ]
        },
    )


_DEPOSIT: dict[str, Any] = {
    "id": "dep_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
    "account": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
    "amount": "1000000000",
    "shares": "1000000000000000",
    "reference": "fund 2026/1",
    "status": "succeeded",
    "error": None,
    "created_at": "2026-01-31T09:15:00Z",
}


class Deposit(Output):
    id: str
    account: str
    amount: Amount
    shares: str | None = Field(description="known once deposited")
    reference: str
    status: Literal["pending", "succeeded", "failed", "canceled"]
    error: str | None
    created_at: Time

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_DEPOSIT]})


class Withdrawal(Output):
    id: str
    account: str
    shares: str
    amount: Amount | None = Field(description="known once withdrawn")
    reference: str
    status: Literal["pending", "succeeded", "failed", "canceled"]
    error: str | None
    created_at: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{**_DEPOSIT, "id": "wdr_01980ab2c3d07aaa8a9b0c1d2e3f4a5b"}]
        },
    )


class Funding(Output):
    id: str
    amount: Amount
    reference: str
    status: Literal["pending", "succeeded", "failed", "canceled"]
    error: str | None
    created_at: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "rsv_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "amount": "100000000",
                    "reference": "board decision 2026-01",
                    "status": "pending",
                    "error": None,
                    "created_at": "2026-01-31T09:15:00Z",
                }
            ]
        },
    )


# ---------------------------------------------------------------------------- service: lenders


def create_deposit(
    session: Session, context: Context, merchant_id: str, request: DepositRequest, now: int
) -> Outcome:
    """Put a lender's coin into the pool.

    Raises:
        Problem: not_found, account_not_active, reference_taken, insufficient_funds,
            signature_required, signature_invalid.
    """
    account = find_active(session, merchant_id, request.account, "account")
    refuse_taken_reference(session, models.PoolDeposit, merchant_id, request.reference, account.id)
    nonce = reference("plaza/pool_deposit", account.id, request.reference)
    payment = Payment(
        sender=account.address,
        to=context.pool_address,
        amount=request.amount,
        nonce=nonce,
        receive=True,
    )
    signed = authorization_for(
        context, account, payment, request.authorization, valid_before=now + SIGNED_FOR, now=now
    )
    refuse_unless_available(session, account.address, request.amount)
    deposit_id = context.ids.new("dep")
    add(
        session,
        models.PoolDeposit,
        id=deposit_id,
        merchant_id=merchant_id,
        account_id=account.id,
        amount=request.amount,
        shares=None,
        reference=request.reference,
        status=MoveStatus.PENDING,
        error=None,
        created_at=context.wall_now(),
    )
    call = Call(
        kind="pool_deposit.send",
        ref=nonce,
        signer="operator",
        to=context.pool_address,
        calldata=context.pool.encode(
            "depositWithAuthorization",
            account.address,
            request.amount,
            signed.valid_after,
            signed.valid_before,
            nonce,
            signed.signature,
        ),
        debit=(account.address, request.amount),
    )
    operation_id = queue(session, context, merchant_id, deposit_id, call)
    data = {"status": MoveStatus.PENDING, "amount": str(request.amount), "account": account.id}
    record(session, context, merchant_id, "pool_deposit.created", deposit_id, data)
    return Outcome("pool_deposit", deposit_id, [operation_id])


def create_withdrawal(
    session: Session, context: Context, merchant_id: str, request: WithdrawalRequest, now: int
) -> Outcome:
    """Give a lender's shares back for coin, of which the pool must have enough at hand.

    Raises:
        Problem: not_found, account_not_active, reference_taken, amount_too_large, not_enough_cash,
            signature_required, signature_invalid.
    """
    account = find_active(session, merchant_id, request.account, "account")
    refuse_taken_reference(
        session, models.PoolWithdrawal, merchant_id, request.reference, account.id
    )
    held = session.scalar(_SHARES, {"its_address": account.address}) or 0
    left = held - pending(session, models.PoolWithdrawal, "shares", account.id)
    shares = left if request.shares is None else request.shares
    if shares > left or not shares:
        raise Problem(
            "amount_too_large",
            f"shares: {request.shares or 'any'} is more than the {left} the account has",
            param="shares",
            limit=str(left),
        )
    amount = assets_of(shares, *_worth(session, context, not_before_indexed(session, now)))
    cash = available(session, context.pool_address)
    if amount > cash:
        raise Problem(
            "not_enough_cash",
            f"the shares are worth {amount}, and the pool has {max(cash, 0)} at hand",
            available=str(max(cash, 0)),
            needed=str(amount),
        )
    nonce, signed = intent_for(
        context,
        account,
        "Redemption",
        reference("plaza/pool_withdrawal", account.id, request.reference),
        {"owner": account.address, "shares": shares},
        request.signed,
        now=now,
    )
    withdrawal_id = context.ids.new("wdr")
    add(
        session,
        models.PoolWithdrawal,
        id=withdrawal_id,
        merchant_id=merchant_id,
        account_id=account.id,
        shares=shares,
        amount=None,
        reference=request.reference,
        status=MoveStatus.PENDING,
        error=None,
        created_at=context.wall_now(),
    )
    call = Call(
        kind="pool_withdrawal.send",
        ref=f"0x{nonce:064x}",
        signer="operator",
        to=context.pool_address,
        calldata=context.pool.encode(
            "redeemWithSignature",
            account.address,
            shares,
            nonce,
            signed.deadline,
            signed.signature,
        ),
        debit=(context.pool_address, amount),
        credit=(account.address, amount),
    )
    operation_id = queue(session, context, merchant_id, withdrawal_id, call)
    data = {"status": MoveStatus.PENDING, "shares": str(shares), "account": account.id}
    record(session, context, merchant_id, "pool_withdrawal.created", withdrawal_id, data)
    return Outcome("pool_withdrawal", withdrawal_id, [operation_id])


# ---------------------------------------------------------------------------- service: reserve


def fund_reserve(
    session: Session, context: Context, merchant_id: str, request: FundingRequest
) -> Outcome:
    """Mint what the platform sets aside to the treasury, and have it put into the reserve.

    Three transactions of the treasury, in the order of its nonces. The mint counts once by its
    reference; the allowance is the same every time; and what is paid in was minted for it.

    Raises:
        Problem: reference_taken.
    """
    refuse_taken_reference(session, models.ReserveFunding, merchant_id, request.reference, None)
    funding_id = context.ids.new("rsv")
    treasury = context.manifest.accounts["treasury"]
    ref = reference("plaza/reserve_funding", merchant_id, request.reference)
    add(
        session,
        models.ReserveFunding,
        id=funding_id,
        merchant_id=merchant_id,
        amount=request.amount,
        reference=request.reference,
        status=MoveStatus.PENDING,
        error=None,
        created_at=context.wall_now(),
    )
    calls: tuple[tuple[str, str, str], ...] = (
        ("mint", context.coin_address, context.coin.encode("mint", treasury, request.amount, ref)),
        (
            "approve",
            context.coin_address,
            context.coin.encode("approve", context.book_address, _ANY_ALLOWANCE),
        ),
        ("fund", context.book_address, context.book.encode("fundReserve", request.amount)),
    )
    if _is_minted(session, ref):  # by an earlier try, whose coin is still the treasury's
        calls = calls[1:]
    operations = [
        queue(
            session,
            context,
            merchant_id,
            funding_id,
            Call(
                kind=f"reserve_funding.{step}",
                ref=ref,
                signer="treasury",
                to=to,
                calldata=calldata,
            ),
        )
        for step, to, calldata in calls
    ]
    data = {"status": MoveStatus.PENDING, "amount": str(request.amount)}
    record(session, context, merchant_id, "reserve_funding.created", funding_id, data)
    return Outcome("reserve_funding", funding_id, operations)


def _is_minted(session: Session, ref: str) -> bool:
    operations = table(models.Operation)
    done = select(operations.c.id).where(
        operations.c.kind == "reserve_funding.mint",
        operations.c.ref == ref,
        operations.c.status == OperationStatus.DONE,
    )
    return session.scalar(done) is not None


# ------------------------------------------------------------------------------- service: read


def show_pool(session: Session, context: Context, now: int) -> Pool:
    now = not_before_indexed(session, now)
    totals, pool = totals_of(session), pool_of(session)
    shares, assets = _worth(session, context, now)
    cash = cash_of(session, context.pool_address)
    principal: int = totals["principal"]
    return Pool(
        total_assets=assets,
        cash=cash,
        book_value=assets - cash,
        shares=str(shares),
        share_price=assets_of(_ONE_COINS_SHARES, shares, assets),
        deposited=pool["deposited"],
        withdrawn=pool["withdrawn"],
        principal=principal,
        interest=assets - cash - principal,
        drawn=totals["drawn"],
        principal_repaid=totals["principal_repaid"],
        interest_paid=totals["interest_paid"],
        repaid_by_sales=totals["repaid_by_sales"],
        waived=totals["waived"],
        written_off=totals["principal_written_off"] + totals["interest_written_off"],
        loss=totals["loss_of_pool"] - totals["recovered_to_pool"],
        reserve=totals["reserve"],
        reserve_needed=-(-principal * totals["reserve_bps"] // 10_000),
        reserve_bps=totals["reserve_bps"],
        principal_cap=totals["principal_cap"],
        line_cap=totals["line_cap"],
        draws_paused=totals["draws_paused"],
        as_of=now,
    )


def list_positions(
    session: Session, context: Context, merchant_id: str, query: ListQuery, now: int
) -> Page[Position]:
    shares, assets = _worth(session, context, not_before_indexed(session, now))
    cash = max(available(session, context.pool_address), 0)

    def show(row: Row[Any]) -> Position:
        value = assets_of(row.shares, shares, assets)
        return Position(
            account=row.id, shares=str(row.shares), value=value, withdrawable=min(value, cash)
        )

    statement = (
        select(_LENDERS.c.shares, _ACCOUNTS.c.id)
        .join(_ACCOUNTS, _ACCOUNTS.c.address == _LENDERS.c.address)
        .where(_ACCOUNTS.c.merchant_id == merchant_id)
    )
    return page(session, statement, _ACCOUNTS.c.id, query, show)


def show_deposit(session: Session, merchant_id: str, deposit_id: str) -> Deposit:
    return _show_deposit(find(session, models.PoolDeposit, merchant_id, deposit_id, "deposit"))


def show_withdrawal(session: Session, merchant_id: str, withdrawal_id: str) -> Withdrawal:
    return _show_withdrawal(
        find(session, models.PoolWithdrawal, merchant_id, withdrawal_id, "withdrawal")
    )


def show_funding(session: Session, merchant_id: str, funding_id: str) -> Funding:
    return _show_funding(
        find(session, models.ReserveFunding, merchant_id, funding_id, "funding of the reserve")
    )


def _worth(session: Session, context: Context, now: int) -> tuple[int, int]:
    """All shares, and the assets they stand for at the chain's time."""
    totals = totals_of(session)
    elapsed = now - totals["domain_start"]
    interest = totals["accounted_interest"] + totals["issuance_rate"] * elapsed
    book_value = totals["principal"] + interest // BPS_YEAR
    return pool_of(session)["shares"], cash_of(session, context.pool_address) + book_value


def _show_deposit(row: Row[Any]) -> Deposit:
    return Deposit(
        id=row.id,
        account=row.account_id,
        amount=row.amount,
        shares=None if row.shares is None else str(row.shares),
        reference=row.reference,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
    )


def _show_withdrawal(row: Row[Any]) -> Withdrawal:
    return Withdrawal(
        id=row.id,
        account=row.account_id,
        shares=str(row.shares),
        amount=row.amount,
        reference=row.reference,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
    )


def _show_funding(row: Row[Any]) -> Funding:
    return Funding(
        id=row.id,
        amount=row.amount,
        reference=row.reference,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
    )


# -------------------------------------------------------------------------------- endpoints


@router.get("", response_model=Pool)
async def get(context: Ctx, caller: Reader) -> Response:
    """The pool, its reserve and all credit lines in sum, as of now."""
    now = await context.clock.now()
    return answer(await context.store.read(lambda session: show_pool(session, context, now)))


@router.get("/positions", response_model=Page[Position])
async def positions(context: Ctx, caller: Reader, query: Listed[ListQuery]) -> Response:
    """What your accounts have in the pool."""
    now = await context.clock.now()
    return answer(
        await context.store.read(
            lambda session: list_positions(session, context, caller.merchant_id, query, now)
        )
    )


@router.post(
    "/deposits",
    status_code=202,
    response_model=Deposit,
    responses=documented(
        "not_found",
        "account_not_active",
        "reference_taken",
        "insufficient_funds",
        "signature_required",
        "signature_invalid",
    ),
)
async def deposit(body: DepositRequest, command: CreditCommand) -> Response:
    """Put coin into the pool, for shares at their present price."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: create_deposit(session, context, merchant_id, body, now),
        lambda session, id_: show_deposit(session, merchant_id, id_),
    )


@router.get("/deposits", response_model=Page[Deposit])
async def deposits(context: Ctx, caller: Reader, query: Listed[ListQuery]) -> Response:
    rows = table(models.PoolDeposit)
    statement = owned(models.PoolDeposit, caller.merchant_id)
    return answer(
        await context.store.read(
            lambda session: page(session, statement, rows.c.id, query, _show_deposit)
        )
    )


@router.post(
    "/withdrawals",
    status_code=202,
    response_model=Withdrawal,
    responses=documented(
        "not_found",
        "account_not_active",
        "reference_taken",
        "amount_too_large",
        "not_enough_cash",
        "signature_required",
        "signature_invalid",
    ),
)
async def withdraw(body: WithdrawalRequest, command: CreditCommand) -> Response:
    """Give shares back for coin, at their present price."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: create_withdrawal(session, context, merchant_id, body, now),
        lambda session, id_: show_withdrawal(session, merchant_id, id_),
    )


@router.get("/withdrawals", response_model=Page[Withdrawal])
async def withdrawals(context: Ctx, caller: Reader, query: Listed[ListQuery]) -> Response:
    rows = table(models.PoolWithdrawal)
    statement = owned(models.PoolWithdrawal, caller.merchant_id)
    return answer(
        await context.store.read(
            lambda session: page(session, statement, rows.c.id, query, _show_withdrawal)
        )
    )


@router.post(
    "/reserve",
    status_code=202,
    response_model=Funding,
    responses=documented("reference_taken"),
)
async def fund(body: FundingRequest, command: DeskCommand) -> Response:
    """Set the platform's own money aside for first losses: it is minted, and paid in."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        body,
        lambda session: fund_reserve(session, context, merchant_id, body),
        lambda session, id_: show_funding(session, merchant_id, id_),
    )


@router.get("/reserve", response_model=Page[Funding])
async def fundings(context: Ctx, caller: Reader, query: Listed[ListQuery]) -> Response:
    """What was set aside for first losses."""
    rows = table(models.ReserveFunding)
    statement = owned(models.ReserveFunding, caller.merchant_id)
    return answer(
        await context.store.read(
            lambda session: page(session, statement, rows.c.id, query, _show_funding)
        )
    )
