"""What is decided about a credit line: by the platform's risk staff, and by its seller.

The book has no way to suspend one line or to close it. A suspension is therefore the bridge's own
word: it neither signs nor relays draws on the line, which stops every managed seller; a seller with
a key of its own can still draw on chain, until its limit is lowered. A line is closed by lowering
its limit to nothing once nothing is owed; only a new offer opens it again.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import delete, func, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_account
from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.authorizations import intent_for
from node.bridge.context import Context, Ctx
from node.bridge.credit import (
    account_of_line,
    find_hold,
    find_own_line,
    line_now,
    not_before_indexed,
    owed_of,
    status_of,
)
from node.bridge.events import record
from node.bridge.idempotency import CreditCommand, DeskCommand, Outcome
from node.bridge.operations import Call, queue, reference
from node.bridge.pagination import Listed, ListQuery, page
from node.bridge.problems import Problem, documented
from node.bridge.rows import add, find, owned, table
from node.bridge.values import (
    AmountIn,
    AmountOrNothingIn,
    Input,
    Note,
    Output,
    Page,
    SignedIntent,
    Time,
)
from node.index.credit import line_id
from node.index.credit_line import Line
from node.settings import DAY
from node.store import models
from node.store.models import LineStatus, MoveStatus

router = APIRouter(prefix="/credit_lines", tags=["credit"])

_MOST_HOLDBACK_BPS = 2_500
_ACTIONS, _DRAWS, _HOLDS = table(models.LineAction), table(models.Draw), table(models.LineHold)
_ON_LIMIT = ("limit", "close")

# ---------------------------------------------------------------------------------- schemas


class ReasonRequest(Input):
    reason: Note = Field(description="kept here, not on chain")

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "sales have stopped, case 7"}]}
    )


class LimitRequest(ReasonRequest):
    limit: AmountOrNothingIn = Field(description="lower than it is; raised by a new offer alone")

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"limit": "100000000", "reason": "sales halved"}]}
    )


class HoldbackRequest(Input):
    holdback_bps: int = Field(
        ge=1,
        le=_MOST_HOLDBACK_BPS,
        description="share of each sale in 1/10,000, no lower than what was agreed on",
    )
    signed: SignedIntent | None = Field(
        default=None, description="of an external seller; without it the refusal says what to sign"
    )

    model_config = ConfigDict(json_schema_extra={"examples": [{"holdback_bps": 2000}]})


class HolidayRequest(ReasonRequest):
    days: int = Field(ge=1, le=180, description="by which the open window ends later")

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"days": 30, "reason": "flooded warehouse"}]}
    )


class WaiveRequest(ReasonRequest):
    amount: AmountIn | None = Field(None, description="without it: all interest owed now")

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"amount": "271233", "reason": "our mistake, case 8"}]}
    )


class LineAction(Output):
    id: str
    credit_line: str
    account: str
    kind: Literal[
        "suspend", "resume", "limit", "close", "holdback", "holiday", "waive", "charge_off"
    ]
    amount: str | None = Field(
        description="atomic units of a limit and of what is waived (known once done, where it was"
        " left open), 1/10,000 of a holdback, days of a holiday"
    )
    reason: str | None
    status: Literal["pending", "succeeded", "failed", "canceled"]
    error: str | None
    created_at: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "act_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "credit_line": "lin_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "account": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "kind": "limit",
                    "amount": "100000000",
                    "reason": "sales halved",
                    "status": "pending",
                    "error": None,
                    "created_at": "2026-02-01T09:15:00Z",
                }
            ]
        },
    )


# ---------------------------------------------------------------------- service: the desk's part


def suspend_line(
    session: Session, context: Context, merchant_id: str, its_id: str, request: ReasonRequest
) -> Outcome:
    """Draw nothing on a line from now on. What is on its way already goes on.

    Raises:
        Problem: not_found, invalid_state (suspended already).
    """
    account, _ = find_own_line(session, merchant_id, its_id)
    if find_hold(session, account.id) is not None:
        raise Problem(
            "invalid_state", f"the credit line {its_id} is suspended already", actual="suspended"
        )
    now = context.wall_now()
    add(
        session,
        models.LineHold,
        account_id=account.id,
        merchant_id=merchant_id,
        reason=request.reason,
        since=now,
    )
    return _decide_here(session, context, account, "suspend", "suspended", request.reason)


def resume_line(
    session: Session, context: Context, merchant_id: str, its_id: str, request: ReasonRequest
) -> Outcome:
    """Raises:
    Problem: not_found, invalid_state (not suspended).
    """
    account, _ = find_own_line(session, merchant_id, its_id)
    if find_hold(session, account.id) is None:
        raise Problem(
            "invalid_state", f"the credit line {its_id} is not suspended", actual="not suspended"
        )
    session.execute(delete(_HOLDS).where(_HOLDS.c.account_id == account.id))
    return _decide_here(session, context, account, "resume", "resumed", request.reason)


def lower_limit(
    session: Session, context: Context, merchant_id: str, its_id: str, request: LimitRequest
) -> Outcome:
    """Raises:
    Problem: not_found, amount_too_large (not lower than it is), operation_pending.
    """
    account, row = find_own_line(session, merchant_id, its_id)
    _refuse_under_way(session, account, *_ON_LIMIT)
    if request.limit >= row.limit:
        raise Problem(
            "amount_too_large",
            f"limit: {request.limit} is not below the {row.limit} of now; a new offer raises it",
            param="limit",
            limit=str(row.limit),
        )
    calldata = context.book.encode("lowerLimit", account.address, request.limit)
    return _queue(
        session, context, account, "limit", calldata, "risk", request.limit, request.reason
    )


def grant_holiday(
    session: Session,
    context: Context,
    merchant_id: str,
    its_id: str,
    request: HolidayRequest,
    now: int,
) -> Outcome:
    """Give a seller more time for the open window; interest goes on.

    Raises:
        Problem: not_found, invalid_state, nothing_owed, operation_pending.
    """
    account, row, line = _line_at(session, merchant_id, its_id, now)
    _refuse_under_way(session, account, "holiday")
    _refuse_unless(row, line, its_id, now, LineStatus.ACTIVE)
    if not line.window_end:
        raise Problem("nothing_owed", f"nothing is owed on the credit line {its_id}")
    calldata = context.book.encode("grantHoliday", account.address, request.days * DAY)
    return _queue(
        session, context, account, "holiday", calldata, "servicer", request.days, request.reason
    )


def waive_interest(
    session: Session,
    context: Context,
    merchant_id: str,
    its_id: str,
    request: WaiveRequest,
    now: int,
) -> Outcome:
    """Take interest, or what is owed as such, off a line, at the cost of the pool.

    Raises:
        Problem: not_found, invalid_state, nothing_owed, amount_too_large, operation_pending.
    """
    account, row, line = _line_at(session, merchant_id, its_id, now)
    _refuse_under_way(session, account, "waive")
    _refuse_unless(row, line, its_id, now, LineStatus.ACTIVE, LineStatus.DEFAULTED)
    if not line.interest_owed:
        raise Problem("nothing_owed", f"no interest is owed on the credit line {its_id}")
    amount = request.amount
    if amount is None:
        # With the interest of the time until it is in a block: no more than is owed is waived.
        line.advance(now + DAY)
        amount = line.interest_owed
    elif amount > line.interest_owed:
        raise Problem(
            "amount_too_large",
            f"amount: {amount} is more than the {line.interest_owed} of interest owed",
            param="amount",
            limit=str(line.interest_owed),
        )
    calldata = context.book.encode("waive", account.address, amount)
    return _queue(
        session, context, account, "waive", calldata, "servicer", request.amount, request.reason
    )


def charge_off(
    session: Session,
    context: Context,
    merchant_id: str,
    its_id: str,
    request: ReasonRequest,
    now: int,
) -> Outcome:
    """Write a defaulted line off: the reserve pays the pool, and what it lacks is the pool's loss.

    Raises:
        Problem: not_found, invalid_state (not defaulted), operation_pending.
    """
    account, row, line = _line_at(session, merchant_id, its_id, now)
    _refuse_under_way(session, account, "charge_off")
    _refuse_unless(row, line, its_id, now, LineStatus.DEFAULTED)
    calldata = context.book.encode("chargeOff", account.address)
    return _queue(
        session, context, account, "charge_off", calldata, "servicer", None, request.reason
    )


# -------------------------------------------------------------------- service: the seller's part


def close_line(
    session: Session,
    context: Context,
    merchant_id: str,
    its_id: str,
    request: ReasonRequest,
    now: int,
) -> Outcome:
    """Close a line on which nothing is owed, by lowering its limit to nothing.

    Raises:
        Problem: not_found, something_owed, invalid_state (closed already), operation_pending.
    """
    account, row, line = _line_at(session, merchant_id, its_id, now)
    _refuse_under_way(session, account, *_ON_LIMIT)
    _refuse_drawing(session, account)
    owed = owed_of(row, line)
    if owed:
        raise Problem(
            "something_owed",
            f"{owed} is owed on the credit line {its_id}; it is closed once that is paid",
            payoff=str(owed),
        )
    if not row.limit:
        raise Problem(
            "invalid_state", f"the credit line {its_id} is closed already", actual="closed"
        )
    calldata = context.book.encode("lowerLimit", account.address, 0)
    return _queue(session, context, account, "close", calldata, "risk", None, request.reason)


def set_holdback(
    session: Session,
    context: Context,
    merchant_id: str,
    its_id: str,
    request: HoldbackRequest,
    now: int,
) -> Outcome:
    """Repay by more, or again by less, of each sale, in the seller's right.

    Raises:
        Problem: not_found, invalid_request (below what was agreed on), operation_pending,
            signature_required, signature_invalid.
    """
    account, row = find_own_line(session, merchant_id, its_id)
    _refuse_under_way(session, account, "holdback")
    if request.holdback_bps < row.agreed_holdback_bps:
        raise Problem(
            "invalid_request",
            f"holdback_bps: {request.holdback_bps} is below the {row.agreed_holdback_bps} agreed",
            param="holdback_bps",
            least=row.agreed_holdback_bps,
        )
    # The next of the line: the same wish has the same nonce until it is fulfilled.
    done = session.scalar(
        select(func.count()).where(
            _ACTIONS.c.account_id == account.id,
            _ACTIONS.c.kind == "holdback",
            _ACTIONS.c.status == MoveStatus.SUCCEEDED,
        )
    )
    nonce, signed = intent_for(
        context,
        account,
        "Holdback",
        reference("plaza/holdback", account.id, str(done)),
        {"seller": account.address, "holdbackBps": request.holdback_bps},
        request.signed,
        now=now,
    )
    calldata = context.book.encode(
        "setHoldbackWithSignature",
        account.address,
        request.holdback_bps,
        nonce,
        signed.deadline,
        signed.signature,
    )
    amount = request.holdback_bps
    return _queue(session, context, account, "holdback", calldata, "operator", amount, None)


# --------------------------------------------------------------------------------- helpers


def _line_at(
    session: Session, merchant_id: str, its_id: str, now: int
) -> tuple[Row[Any], Row[Any], Line]:
    account, row = find_own_line(session, merchant_id, its_id)
    return account, row, line_now(row, not_before_indexed(session, now))


def _refuse_unless(row: Row[Any], line: Line, its_id: str, now: int, *statuses: LineStatus) -> None:
    if line.status not in statuses:
        actual = status_of(row, line, now)
        raise Problem(
            "invalid_state",
            f"the credit line {its_id} is {actual}, not {' or '.join(statuses)}",
            actual=actual,
        )


def _refuse_under_way(session: Session, account: Row[Any], *kinds: str) -> None:
    under_way = session.execute(
        owned(models.LineAction, account.merchant_id).where(
            _ACTIONS.c.account_id == account.id,
            _ACTIONS.c.kind.in_(kinds),
            _ACTIONS.c.status == MoveStatus.PENDING,
        )
    ).first()
    if under_way is not None:
        raise Problem(
            "operation_pending",
            f"{under_way.id} ({under_way.kind}) is on its way",
            retryable=True,
            resource_id=under_way.id,
        )


def _refuse_drawing(session: Session, account: Row[Any]) -> None:
    draw = session.execute(
        owned(models.Draw, account.merchant_id).where(
            _DRAWS.c.account_id == account.id, _DRAWS.c.status == MoveStatus.PENDING
        )
    ).first()
    if draw is not None:
        detail = f"the draw {draw.id} is on its way"
        raise Problem("operation_pending", detail, retryable=True, resource_id=draw.id)


def _decide_here(
    session: Session, context: Context, account: Row[Any], kind: str, told: str, reason: str
) -> Outcome:
    action_id = _add(session, context, account, kind, None, reason, MoveStatus.SUCCEEDED)
    data = {"status": told, "reason": reason}
    its_id = line_id(account.id)
    record(session, context, account.merchant_id, f"credit_line.{told}", its_id, data)
    return Outcome("line_action", action_id, status_code=200)


def _queue(
    session: Session,
    context: Context,
    account: Row[Any],
    kind: str,
    calldata: str,
    signer: str,
    amount: int | None,
    reason: str | None,
) -> Outcome:
    action_id = _add(session, context, account, kind, amount, reason, MoveStatus.PENDING)
    call = Call(
        kind=f"line_action.{kind}",
        ref=reference("plaza/line_action", action_id),
        signer=signer,
        to=context.book_address,
        calldata=calldata,
    )
    operation_id = queue(session, context, account.merchant_id, action_id, call)
    data = {"status": MoveStatus.PENDING, "kind": kind, "credit_line": line_id(account.id)}
    record(session, context, account.merchant_id, "line_action.created", action_id, data)
    return Outcome("line_action", action_id, [operation_id])


def _add(
    session: Session,
    context: Context,
    account: Row[Any],
    kind: str,
    amount: int | None,
    reason: str | None,
    status: MoveStatus,
) -> str:
    action_id = context.ids.new("act")
    add(
        session,
        models.LineAction,
        id=action_id,
        merchant_id=account.merchant_id,
        account_id=account.id,
        kind=kind,
        amount=amount,
        reason=reason,
        status=status,
        error=None,
        created_at=context.wall_now(),
    )
    return action_id


def show_action(session: Session, merchant_id: str, action_id: str) -> LineAction:
    return _show(find(session, models.LineAction, merchant_id, action_id, "line action"))


def list_actions(
    session: Session, merchant_id: str, its_id: str, query: ListQuery
) -> Page[LineAction]:
    account = find_account(session, merchant_id, account_of_line(its_id))
    statement = owned(models.LineAction, merchant_id).where(_ACTIONS.c.account_id == account.id)
    return page(session, statement, _ACTIONS.c.id, query, _show)


def _show(row: Row[Any]) -> LineAction:
    return LineAction(
        id=row.id,
        credit_line=line_id(row.account_id),
        account=row.account_id,
        kind=row.kind,
        amount=None if row.amount is None else str(row.amount),
        reason=row.reason,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
    )


# -------------------------------------------------------------------------------- endpoints


@router.post(
    "/{line_id}/suspend",
    response_model=LineAction,
    responses=documented("not_found", "invalid_state"),
)
async def suspend(line_id: str, body: ReasonRequest, command: DeskCommand) -> Response:
    """Draw nothing on the line until it is resumed. Sales go on repaying it."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        body,
        lambda session: suspend_line(session, context, merchant_id, line_id, body),
        lambda session, id_: show_action(session, merchant_id, id_),
    )


@router.post(
    "/{line_id}/resume",
    response_model=LineAction,
    responses=documented("not_found", "invalid_state"),
)
async def resume(line_id: str, body: ReasonRequest, command: DeskCommand) -> Response:
    """Let a suspended line be drawn on again."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        body,
        lambda session: resume_line(session, context, merchant_id, line_id, body),
        lambda session, id_: show_action(session, merchant_id, id_),
    )


@router.post(
    "/{line_id}/limit",
    status_code=202,
    response_model=LineAction,
    responses=documented("not_found", "amount_too_large", "operation_pending"),
)
async def limit(line_id: str, body: LimitRequest, command: DeskCommand) -> Response:
    """Lower the limit on chain, for good: only a new offer raises it. Nothing falls due by it."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        body,
        lambda session: lower_limit(session, context, merchant_id, line_id, body),
        lambda session, id_: show_action(session, merchant_id, id_),
    )


@router.post(
    "/{line_id}/holiday",
    status_code=202,
    response_model=LineAction,
    responses=documented("not_found", "invalid_state", "nothing_owed", "operation_pending"),
)
async def holiday(line_id: str, body: HolidayRequest, command: DeskCommand) -> Response:
    """Let the open window end later. Interest goes on."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: grant_holiday(session, context, merchant_id, line_id, body, now),
        lambda session, id_: show_action(session, merchant_id, id_),
    )


@router.post(
    "/{line_id}/waive",
    status_code=202,
    response_model=LineAction,
    responses=documented(
        "not_found", "invalid_state", "nothing_owed", "amount_too_large", "operation_pending"
    ),
)
async def waive(line_id: str, body: WaiveRequest, command: DeskCommand) -> Response:
    """Take interest off the line, at the cost of the pool."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: waive_interest(session, context, merchant_id, line_id, body, now),
        lambda session, id_: show_action(session, merchant_id, id_),
    )


@router.post(
    "/{line_id}/charge_off",
    status_code=202,
    response_model=LineAction,
    responses=documented("not_found", "invalid_state", "operation_pending"),
)
async def write_off(line_id: str, body: ReasonRequest, command: DeskCommand) -> Response:
    """Write a defaulted line off. Its seller's sales go on to make the loss good."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: charge_off(session, context, merchant_id, line_id, body, now),
        lambda session, id_: show_action(session, merchant_id, id_),
    )


@router.post(
    "/{line_id}/close",
    status_code=202,
    response_model=LineAction,
    responses=documented("not_found", "something_owed", "invalid_state", "operation_pending"),
)
async def close(line_id: str, body: ReasonRequest, command: CreditCommand) -> Response:
    """Close a line on which nothing is owed. Only a new offer opens it again."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: close_line(session, context, merchant_id, line_id, body, now),
        lambda session, id_: show_action(session, merchant_id, id_),
    )


@router.post(
    "/{line_id}/holdback",
    status_code=202,
    response_model=LineAction,
    responses=documented(
        "not_found", "operation_pending", "signature_required", "signature_invalid"
    ),
)
async def holdback(line_id: str, body: HoldbackRequest, command: CreditCommand) -> Response:
    """Repay by more of each sale than was agreed on, or by that again: the seller's choice."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: set_holdback(session, context, merchant_id, line_id, body, now),
        lambda session, id_: show_action(session, merchant_id, id_),
    )


@router.get(
    "/{line_id}/actions", response_model=Page[LineAction], responses=documented("not_found")
)
async def actions(context: Ctx, caller: Reader, line_id: str, query: Listed[ListQuery]) -> Response:
    """What was decided about the line, by whom it concerns, and why."""
    return answer(
        await context.store.read(
            lambda session: list_actions(session, caller.merchant_id, line_id, query)
        )
    )
