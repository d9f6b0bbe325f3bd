"""Credit lines: what a seller may draw, owes and pays.

A line is the chain's; its id follows from the seller's account, of which there is one line at most.
It is shown as of the chain's time now: interest accrues by the second, and windows close without
anybody's doing.

Draws and repayments are exactly once by what is signed: a draw is an intent with a nonce of its
own, a repayment an EIP-3009 authorization with a nonce of its own, both named by the reference of
the request; the contracts take each once, whoever relays it.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import or_, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_account, find_active
from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.authorizations import Payment, authorization_for, intent_for
from node.bridge.context import Context, Ctx
from node.bridge.credit import (
    SIGNED_FOR,
    account_of_line,
    find_hold,
    find_own_line,
    line_now,
    newest_block,
    not_before_indexed,
    owed_of,
    past_due_of,
    pending,
    refuse_taken_reference,
    status_of,
    totals_of,
)
from node.bridge.events import record
from node.bridge.funds import available, refuse_unless_available
from node.bridge.idempotency import CreditCommand, Outcome
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
    SignedAuthorization,
    SignedIntent,
    Time,
    rfc3339,
)
from node.chain.typed_data import repayment_nonce
from node.index.credit import line_id
from node.index.credit_line import BPS, Line
from node.settings import DAY
from node.store import models
from node.store.models import LineStatus, MoveStatus

router = APIRouter(prefix="/credit_lines", tags=["credit"])

_LINES, _ACCOUNTS = table(models.CreditLine), table(models.Account)
_OFFERS = table(models.CreditOffer)

# ---------------------------------------------------------------------------------- schemas


class DrawRequest(Input):
    amount: AmountIn
    reference: Name = Field(description="of this draw; counts once for the line")
    signed: SignedIntent | None = Field(
        default=None, description="of an external seller; without it the refusal says what to sign"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"amount": "120000000", "reference": "draw 2026-02"},
                {
                    "amount": "120000000",
                    "reference": "draw 2026-02",
                    "signed": {"signature": "0x" + "1b" * 65, "deadline": 1769936400},
                },
            ]
        }
    )


class RepaymentRequest(Input):
    amount: AmountIn | None = Field(
        default=None, description="what is not owed comes back; without it: all that is owed"
    )
    payer: str | None = Field(None, description="account id; without it the seller's own")
    reference: Name = Field(description="of this repayment; counts once for the line")
    authorization: SignedAuthorization | None = Field(
        default=None, description="of an external payer; without it the refusal says what to sign"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"reference": "paid off 2026-03"},
                {
                    "amount": "25000000",
                    "payer": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "reference": "guarantor 7",
                    "authorization": {
                        "signature": "0x" + "1b" * 65,
                        "valid_after": 0,
                        "valid_before": 1769936400,
                    },
                },
            ]
        }
    )


class Suspension(Output):
    since: Time
    reason: str


class CreditLine(Output):
    id: str
    account: str
    status: Literal["active", "delinquent", "defaulted", "closed", "charged_off"]
    limit: Amount
    available: Amount = Field(description="what may be drawn, as far as the line is concerned")
    apr_bps: int
    draw_fee_bps: int
    holdback_bps: int = Field(description="share of a sale now, with what delinquency adds")
    draw_until: Time
    principal: Amount
    interest: Amount = Field(description="owed, rounded up")
    payoff: Amount = Field(description="pays the line off now")
    past_due: Amount = Field(description="part of the payoff (everything, once defaulted)")
    past_due_since: Time | None
    due_in_window: Amount = Field(description="part of the payoff, to be paid by window_end")
    window_end: Time | None
    interest_bps_seconds: str = Field(
        description="the interest as it is counted: principal x basis points x seconds, of which"
        " 315,360,000,000 are one atomic unit; exact as of `as_of`"
    )
    drawn: Amount = Field(description="this and the following: since the line was opened")
    fees: Amount = Field(description="of draws; owed as interest")
    principal_repaid: Amount
    interest_paid: Amount
    repaid_by_sales: Amount = Field(description="part of what was repaid or recovered")
    waived: Amount
    written_off: Amount
    recovered: Amount
    offer_hash: str = Field(description="of the terms in force")
    suspended: Suspension | None = Field(description="while draws are: see `…/suspend`")
    opened_at: Time
    as_of: Time = Field(description="the chain's time of all this")
    as_of_block: int = Field(description="the newest block it was computed from")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "lin_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "account": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "status": "active",
                    "limit": "500000000",
                    "available": "410000000",
                    "apr_bps": 1100,
                    "draw_fee_bps": 0,
                    "holdback_bps": 1500,
                    "draw_until": "2026-10-28T09:15:00Z",
                    "principal": "90000000",
                    "interest": "271233",
                    "payoff": "90271233",
                    "past_due": "0",
                    "past_due_since": None,
                    "due_in_window": "13333334",
                    "window_end": "2026-04-01T09:15:00Z",
                    "interest_bps_seconds": "85536000000000000",
                    "drawn": "120000000",
                    "fees": "0",
                    "principal_repaid": "30000000",
                    "interest_paid": "100000",
                    "repaid_by_sales": "30100000",
                    "waived": "0",
                    "written_off": "0",
                    "recovered": "0",
                    "offer_hash": "0x" + "9c" * 32,
                    "suspended": None,
                    "opened_at": "2026-01-31T09:15:00Z",
                    "as_of": "2026-02-10T09:15:00Z",
                    "as_of_block": 4711,
                }
            ]
        },
    )


class Draw(Output):
    id: str
    credit_line: str
    account: str
    amount: Amount
    fee: Amount | None = Field(description="owed as interest; known once drawn")
    reference: str
    status: Literal["pending", "succeeded", "failed", "canceled"]
    error: str | None
    created_at: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "drw_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "credit_line": "lin_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "account": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "amount": "120000000",
                    "fee": None,
                    "reference": "draw 2026-02",
                    "status": "pending",
                    "error": None,
                    "created_at": "2026-02-01T09:15:00Z",
                }
            ]
        },
    )


class Repayment(Output):
    id: str
    credit_line: str
    account: str = Field(description="the seller's")
    payer: str
    amount: Amount = Field(description="taken from the payer; what is not owed comes back")
    paid: Amount | None = Field(description="what the line took; known once repaid")
    interest_paid: Amount | None
    principal_paid: Amount | None
    reference: str
    status: Literal["pending", "succeeded", "failed", "canceled"]
    error: str | None
    created_at: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "rep_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "credit_line": "lin_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "account": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "payer": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "amount": "90300000",
                    "paid": "90271233",
                    "interest_paid": "271233",
                    "principal_paid": "90000000",
                    "reference": "paid off 2026-03",
                    "status": "succeeded",
                    "error": None,
                    "created_at": "2026-03-01T09:15:00Z",
                }
            ]
        },
    )


# ------------------------------------------------------------------------------ service: draw


def create_draw(
    session: Session,
    context: Context,
    merchant_id: str,
    its_id: str,
    request: DrawRequest,
    now: int,
) -> Outcome:
    """Draw on a line, by the managed key or an external seller's signature.

    Raises:
        Problem: not_found, account_not_active, line_suspended, reference_taken,
            line_not_in_good_standing, amount_too_large, draws_paused, reserve_too_low,
            not_enough_cash, signature_required, signature_invalid.
    """
    account, row = find_own_line(session, merchant_id, its_id)
    find_active(session, merchant_id, account.id, "id")
    hold = find_hold(session, account.id)
    if hold is not None:
        raise Problem(
            "line_suspended",
            f"draws on the credit line {its_id} are suspended since {rfc3339(hold.since)}:"
            f" {hold.reason}",
            since=rfc3339(hold.since),
        )
    refuse_taken_reference(session, models.Draw, merchant_id, request.reference, account.id)
    now = not_before_indexed(session, now)
    line = line_now(row, now)
    _refuse_bad_standing(its_id, row, line, now)
    left = max(row.limit - line.principal, 0) - pending(session, models.Draw, "amount", account.id)
    if request.amount > left:
        raise Problem(
            "amount_too_large",
            f"amount: {request.amount} is more than the {max(left, 0)} that may be drawn",
            param="amount",
            limit=str(max(left, 0)),
        )
    _refuse_by_totals(session, context, request.amount)
    nonce, signed = intent_for(
        context,
        account,
        "Draw",
        reference("plaza/draw", account.id, request.reference),
        {"seller": account.address, "amount": request.amount},
        request.signed,
        now=now,
    )
    draw_id = context.ids.new("drw")
    add(
        session,
        models.Draw,
        id=draw_id,
        merchant_id=merchant_id,
        account_id=account.id,
        amount=request.amount,
        fee=None,
        reference=request.reference,
        status=MoveStatus.PENDING,
        error=None,
        created_at=context.wall_now(),
    )
    call = Call(
        kind="draw.send",
        ref=_nonce_ref(nonce),
        signer="operator",
        to=context.book_address,
        calldata=context.book.encode(
            "drawWithSignature",
            account.address,
            request.amount,
            nonce,
            signed.deadline,
            signed.signature,
        ),
        debit=(context.pool_address, request.amount),
        credit=(account.address, request.amount),
    )
    operation_id = queue(session, context, merchant_id, draw_id, call)
    data = {
        "status": MoveStatus.PENDING,
        "amount": str(request.amount),
        "credit_line": its_id,
    }
    record(session, context, merchant_id, "draw.created", draw_id, data)
    return Outcome("draw", draw_id, [operation_id])


def _refuse_bad_standing(its_id: str, row: Row[Any], line: Line, now: int) -> None:
    if line.status is not LineStatus.ACTIVE or line.past_due_since:
        raise Problem(
            "line_not_in_good_standing",
            f"the credit line {its_id} is {status_of(row, line, now)}, with"
            f" {past_due_of(row, line)} past due",
            actual=status_of(row, line, now),
            past_due=str(past_due_of(row, line)),
        )
    if now >= row.draw_until:
        raise Problem(
            "line_not_in_good_standing",
            f"the credit line {its_id} could be drawn on before {rfc3339(row.draw_until)}; it is"
            f" {rfc3339(now)} on the chain",
            actual=status_of(row, line, now),
            draw_until=rfc3339(row.draw_until),
        )


def _refuse_by_totals(session: Session, context: Context, amount: int) -> None:
    """What all lines together, their reserve and the pool's cash permit.

    What is on its way counts as done.
    """
    totals = totals_of(session)
    if totals["draws_paused"]:
        raise Problem("draws_paused", "draws are paused on all credit lines")
    cash = available(session, context.pool_address)
    on_its_way = pending(session, models.Draw, "amount")
    principal = totals["principal"] + on_its_way + amount
    if principal > totals["principal_cap"]:
        left = max(totals["principal_cap"] - totals["principal"] - on_its_way, 0)
        raise Problem(
            "amount_too_large",
            f"amount: {amount} is more than the {left} that the cap of all lines leaves",
            param="amount",
            limit=str(left),
        )
    needed = -(-principal * totals["reserve_bps"] // BPS)
    if totals["reserve"] < needed:
        raise Problem(
            "reserve_too_low",
            f"the first-loss reserve is {totals['reserve']}, and {needed} is needed for the draw",
            reserve=str(totals["reserve"]),
            needed=str(needed),
        )
    if cash < amount:
        raise Problem(
            "not_enough_cash",
            f"the pool has {max(cash, 0)} at hand, {amount} is needed",
            available=str(max(cash, 0)),
            needed=str(amount),
        )


# ----------------------------------------------------------------------------- service: repay


def create_repayment(
    session: Session,
    context: Context,
    merchant_id: str,
    its_id: str,
    request: RepaymentRequest,
    now: int,
) -> Outcome:
    """Pay on a line, by the managed key of the payer or an external payer's authorization.

    Raises:
        Problem: not_found, account_not_active, reference_taken, nothing_owed, insufficient_funds,
            invalid_request, signature_required, signature_invalid.
    """
    account, row = find_own_line(session, merchant_id, its_id)
    payer = find_active(session, merchant_id, request.payer or account.id, "payer")
    refuse_taken_reference(session, models.Repayment, merchant_id, request.reference, account.id)
    now = not_before_indexed(session, now)
    line = line_now(row, now)
    if not owed_of(row, line):
        raise Problem("nothing_owed", f"nothing is owed on the credit line {its_id}")
    value = request.amount
    if value is None:
        if payer.managed_index is None:
            raise Problem(
                "invalid_request",
                "amount: needed where the payer signs for it; what is not owed comes back",
                param="amount",
            )
        # With the interest of the time until it is in a block; the rest comes back.
        line.advance(now + DAY)
        value = owed_of(row, line)
    ref = reference("plaza/repayment", account.id, request.reference)
    payment = Payment(
        sender=payer.address,
        to=context.book_address,
        amount=value,
        nonce=repayment_nonce(account.address, ref),
        receive=True,
    )
    signed = authorization_for(
        context, payer, payment, request.authorization, valid_before=now + SIGNED_FOR, now=now
    )
    refuse_unless_available(session, payer.address, value)
    repayment_id = context.ids.new("rep")
    add(
        session,
        models.Repayment,
        id=repayment_id,
        merchant_id=merchant_id,
        account_id=account.id,
        payer_account_id=payer.id,
        amount=value,
        paid=None,
        interest_paid=None,
        principal_paid=None,
        reference=request.reference,
        status=MoveStatus.PENDING,
        error=None,
        created_at=context.wall_now(),
    )
    call = Call(
        kind="repayment.send",
        ref=payment.nonce,
        signer="operator",
        to=context.book_address,
        calldata=context.book.encode(
            "repayWithAuthorization",
            account.address,
            ref,
            payer.address,
            value,
            signed.valid_after,
            signed.valid_before,
            signed.signature,
        ),
        debit=(payer.address, value),
    )
    operation_id = queue(session, context, merchant_id, repayment_id, call)
    data = {"status": MoveStatus.PENDING, "amount": str(value), "credit_line": its_id}
    record(session, context, merchant_id, "repayment.created", repayment_id, data)
    return Outcome("repayment", repayment_id, [operation_id])


# ------------------------------------------------------------------------------ service: read


def show_line(session: Session, merchant_id: str, its_id: str, now: int) -> CreditLine:
    account, row = find_own_line(session, merchant_id, its_id)
    hold = find_hold(session, account.id)
    now, block = not_before_indexed(session, now), newest_block(session)
    return _show_line(row, account.id, hold, now, block)


def list_lines(session: Session, merchant_id: str, query: ListQuery, now: int) -> Page[CreditLine]:
    now, block = not_before_indexed(session, now), newest_block(session)
    statement = (
        select(_LINES, _ACCOUNTS.c.id)
        .join(_ACCOUNTS, _ACCOUNTS.c.address == _LINES.c.seller)
        .outerjoin(_OFFERS, _OFFERS.c.offer_hash == _LINES.c.offer_hash)
        .where(
            _ACCOUNTS.c.merchant_id == merchant_id,
            or_(_OFFERS.c.merchant_id.is_(None), _OFFERS.c.merchant_id == merchant_id),
        )
    )
    return page(
        session,
        statement,
        _ACCOUNTS.c.id,
        query,
        lambda row: _show_line(row, row.id, find_hold(session, row.id), now, block),
    )


def show_draw(session: Session, merchant_id: str, draw_id: str) -> Draw:
    return _show_draw(find(session, models.Draw, merchant_id, draw_id, "draw"))


def show_repayment(session: Session, merchant_id: str, repayment_id: str) -> Repayment:
    return _show_repayment(find(session, models.Repayment, merchant_id, repayment_id, "repayment"))


def list_draws(session: Session, merchant_id: str, its_id: str, query: ListQuery) -> Page[Draw]:
    account = find_account(session, merchant_id, account_of_line(its_id))
    draws = table(models.Draw)
    statement = owned(models.Draw, merchant_id).where(draws.c.account_id == account.id)
    return page(session, statement, draws.c.id, query, _show_draw)


def list_repayments(
    session: Session, merchant_id: str, its_id: str, query: ListQuery
) -> Page[Repayment]:
    account = find_account(session, merchant_id, account_of_line(its_id))
    repayments = table(models.Repayment)
    statement = owned(models.Repayment, merchant_id).where(repayments.c.account_id == account.id)
    return page(session, statement, repayments.c.id, query, _show_repayment)


def _nonce_ref(nonce: int) -> str:
    return f"0x{nonce:064x}"


def _show_line(
    row: Row[Any], account_id: str, hold: Row[Any] | None, now: int, block: int
) -> CreditLine:
    line = line_now(row, now)
    suspended = None
    if hold is not None:
        suspended = Suspension(since=hold.since, reason=hold.reason)
    may_draw = (
        not suspended
        and line.status is LineStatus.ACTIVE
        and not line.past_due_since
        and now < row.draw_until
    )
    return CreditLine(
        id=line_id(account_id),
        account=account_id,
        status=status_of(row, line, now),  # type: ignore[arg-type]
        limit=row.limit,
        available=max(row.limit - line.principal, 0) if may_draw else 0,
        apr_bps=line.apr_bps,
        draw_fee_bps=row.draw_fee_bps,
        holdback_bps=line.holdback_at(now),
        draw_until=row.draw_until,
        principal=line.principal,
        interest=line.interest_owed,
        payoff=owed_of(row, line),
        past_due=past_due_of(row, line),
        past_due_since=line.past_due_since or None,
        due_in_window=line.interest_due + line.installment_due,
        window_end=line.window_end or None,
        interest_bps_seconds=str(line.interest),
        **{name: getattr(row, name) for name in _TOTALS},
        offer_hash=row.offer_hash,
        suspended=suspended,
        opened_at=row.opened_at,
        as_of=now,
        as_of_block=block,
    )


_TOTALS = (
    "drawn",
    "fees",
    "principal_repaid",
    "interest_paid",
    "repaid_by_sales",
    "waived",
    "written_off",
    "recovered",
)


def _show_draw(row: Row[Any]) -> Draw:
    return Draw(
        id=row.id,
        credit_line=line_id(row.account_id),
        account=row.account_id,
        amount=row.amount,
        fee=row.fee,
        reference=row.reference,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
    )


def _show_repayment(row: Row[Any]) -> Repayment:
    return Repayment(
        id=row.id,
        credit_line=line_id(row.account_id),
        account=row.account_id,
        payer=row.payer_account_id,
        amount=row.amount,
        paid=row.paid,
        interest_paid=row.interest_paid,
        principal_paid=row.principal_paid,
        reference=row.reference,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
    )


# -------------------------------------------------------------------------------- endpoints


@router.get("", response_model=Page[CreditLine])
async def list_(context: Ctx, caller: Reader, query: Listed[ListQuery]) -> Response:
    """Lines of your sellers, as of now; newest account first."""
    now = await context.clock.now()
    return answer(
        await context.store.read(
            lambda session: list_lines(session, caller.merchant_id, query, now)
        )
    )


@router.get("/{line_id}", response_model=CreditLine, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, line_id: str) -> Response:
    """A line's statement, as of now: what is owed, what is due when, what may be drawn."""
    now = await context.clock.now()
    return answer(
        await context.store.read(
            lambda session: show_line(session, caller.merchant_id, line_id, now)
        )
    )


@router.post(
    "/{line_id}/draws",
    status_code=202,
    response_model=Draw,
    responses=documented(
        "not_found",
        "account_not_active",
        "line_suspended",
        "reference_taken",
        "line_not_in_good_standing",
        "amount_too_large",
        "draws_paused",
        "reserve_too_low",
        "not_enough_cash",
        "signature_required",
        "signature_invalid",
    ),
)
async def draw(line_id: str, body: DrawRequest, command: CreditCommand) -> Response:
    """Draw coin out of the lender pool, to the seller's account."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: create_draw(session, context, merchant_id, line_id, body, now),
        lambda session, draw_id: show_draw(session, merchant_id, draw_id),
    )


@router.get("/{line_id}/draws", response_model=Page[Draw], responses=documented("not_found"))
async def draws(context: Ctx, caller: Reader, line_id: str, query: Listed[ListQuery]) -> Response:
    return answer(
        await context.store.read(
            lambda session: list_draws(session, caller.merchant_id, line_id, query)
        )
    )


@router.post(
    "/{line_id}/repayments",
    status_code=202,
    response_model=Repayment,
    responses=documented(
        "not_found",
        "account_not_active",
        "reference_taken",
        "nothing_owed",
        "insufficient_funds",
        "signature_required",
        "signature_invalid",
    ),
)
async def repay(line_id: str, body: RepaymentRequest, command: CreditCommand) -> Response:
    """Pay on a line by hand: past-due amounts first, then interest, then principal."""
    context, merchant_id = command.context, command.caller.merchant_id
    # All that is owed depends on the time to the second.
    now = await (context.clock.ask() if body.amount is None else context.clock.now())
    return await command.run(
        body,
        lambda session: create_repayment(session, context, merchant_id, line_id, body, now),
        lambda session, id_: show_repayment(session, merchant_id, id_),
    )


@router.get(
    "/{line_id}/repayments", response_model=Page[Repayment], responses=documented("not_found")
)
async def repayments(
    context: Ctx, caller: Reader, line_id: str, query: Listed[ListQuery]
) -> Response:
    """Repayments by hand; what sales repaid is in `repaid_by_sales` and on the purchases."""
    return answer(
        await context.store.read(
            lambda session: list_repayments(session, caller.merchant_id, line_id, query)
        )
    )
