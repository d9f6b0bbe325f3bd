"""Scores: what the desk thinks of a seller's credit, and why, exactly as it was posted.

Scores and reasons stay here; only the hash of the model goes on chain, in an offer. A score is
never changed: the next one takes its place, and all of them can be read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field, StringConstraints
from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_account
from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.context import Context, Ctx
from node.bridge.events import record
from node.bridge.idempotency import Outcome, ScoresCommand
from node.bridge.pagination import Listed, ListQuery, page
from node.bridge.problems import Problem, documented
from node.bridge.rows import add, find, owned, table
from node.bridge.values import Bytes32, Input, Name, Output, Page, Time, TimeIn, rfc3339
from node.store import models

router = APIRouter(tags=["credit"])

_SCORES = table(models.Score)
_MOST_REASONS = 4

# ---------------------------------------------------------------------------------- schemas

Grade = Literal["A", "B", "C", "D", "E"]
# Digits, so that what was posted comes back as it was: no floating point in between.
Value = Annotated[str, StringConstraints(max_length=40, pattern=r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$")]


class ReasonIn(Input):
    code: Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z0-9_]+$")]
    text: Annotated[
        str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
    ] = Field(description="the reason, in words a seller understands")


_SCORE: dict[str, Any] = {
    "account": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
    "value": "612",
    "grade": "B",
    "model_version": "scorecard 3",
    "model_hash": "0x" + "4e" * 32,
    "features_hash": "0x" + "7a" * 32,
    "reasons": [{"code": "late_ship_rate", "text": "One order in nine was sent late."}],
    "cutoff": "2026-01-31T00:00:00Z",
    "valid_until": "2026-02-28T00:00:00Z",
}


class ScoreRequest(Input):
    account: str = Field(description="id of the seller's account")
    value: Value = Field(description="a decimal number, as digits")
    grade: Grade
    model_version: Name
    model_hash: Bytes32 = Field(description="of the model's artifact; goes into offers")
    features_hash: Bytes32 = Field(description="of what the model looked at")
    reasons: list[ReasonIn] = Field(
        max_length=_MOST_REASONS, description="the heaviest first; none for the best"
    )
    cutoff: TimeIn = Field(description="facts before this time were looked at, and no later ones")
    valid_until: TimeIn

    model_config = ConfigDict(json_schema_extra={"examples": [_SCORE]})


class ScoresQuery(ListQuery):
    account: str | None = Field(None, max_length=64)
    grade: Grade | None = None


class Reason(Output):
    code: str
    text: str


class Score(Output):
    id: str
    account: str
    value: str
    grade: Grade
    model_version: str
    model_hash: str
    features_hash: str
    reasons: list[Reason] = Field(description="as posted")
    cutoff: Time
    valid_until: Time
    valid: bool = Field(description="whether it is the newest of the account, and not outlived")
    created_at: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "scr_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    **_SCORE,
                    "valid": True,
                    "created_at": "2026-01-31T09:15:00Z",
                }
            ]
        },
    )


# ---------------------------------------------------------------------------------- service


def post_score(
    session: Session, context: Context, merchant_id: str, request: ScoreRequest
) -> Outcome:
    """Raises:
    Problem: not_found, invalid_request (valid before it begins, or already no more).
    """
    account = find_account(session, merchant_id, request.account, "account")
    now = context.wall_now()
    if request.cutoff > now:
        raise Problem(
            "invalid_request",
            f"cutoff: {rfc3339(request.cutoff)} is not past; it is {rfc3339(now)}",
            param="cutoff",
        )
    if request.valid_until <= now:
        raise Problem(
            "invalid_request",
            f"valid_until: {rfc3339(request.valid_until)} is past; it is {rfc3339(now)}",
            param="valid_until",
        )
    score_id = context.ids.new("scr")
    add(
        session,
        models.Score,
        id=score_id,
        merchant_id=merchant_id,
        account_id=account.id,
        value=request.value,
        grade=request.grade,
        model_version=request.model_version,
        model_hash=request.model_hash,
        features_hash=request.features_hash,
        reasons=[reason.model_dump() for reason in request.reasons],
        cutoff=request.cutoff,
        valid_until=request.valid_until,
        created_at=now,
    )
    data = {
        "account": account.id,
        "grade": request.grade,
        "model_hash": request.model_hash,
        "valid_until": rfc3339(request.valid_until),
    }
    record(session, context, merchant_id, "score.created", score_id, data)
    return Outcome("score", score_id, status_code=201)


def show_score(session: Session, merchant_id: str, score_id: str, now: int) -> Score:
    row = find(session, models.Score, merchant_id, score_id, "score")
    return _show(session, row, now)


def show_latest(session: Session, merchant_id: str, account_id: str, now: int) -> Score:
    """The newest of an account, whether it is still valid or not.

    Raises:
        Problem: not_found: no such account, or nothing was posted of it.
    """
    find_account(session, merchant_id, account_id)
    row = _newest(session, merchant_id, account_id)
    if row is None:
        raise Problem("not_found", f"no score of the account {account_id!r}", param="id")
    return _show(session, row, now)


def list_scores(session: Session, merchant_id: str, query: ScoresQuery, now: int) -> Page[Score]:
    statement = owned(models.Score, merchant_id)
    if query.account is not None:
        find_account(session, merchant_id, query.account, "account")
        statement = statement.where(_SCORES.c.account_id == query.account)
    if query.grade is not None:
        statement = statement.where(_SCORES.c.grade == query.grade)
    return page(session, statement, _SCORES.c.id, query, lambda row: _show(session, row, now))


def _newest(session: Session, merchant_id: str, account_id: str) -> Row[Any] | None:
    return session.execute(
        owned(models.Score, merchant_id)
        .where(_SCORES.c.account_id == account_id)
        .order_by(_SCORES.c.id.desc())
        .limit(1)
    ).one_or_none()


def _show(session: Session, row: Row[Any], now: int) -> Score:
    later = session.scalar(
        select(_SCORES.c.id)
        .where(_SCORES.c.account_id == row.account_id, _SCORES.c.id > row.id)
        .limit(1)
    )
    return Score(
        id=row.id,
        account=row.account_id,
        value=row.value,
        grade=row.grade,
        model_version=row.model_version,
        model_hash=row.model_hash,
        features_hash=row.features_hash,
        reasons=[Reason(**reason) for reason in row.reasons],
        cutoff=row.cutoff,
        valid_until=row.valid_until,
        valid=later is None and now < row.valid_until,
        created_at=row.created_at,
    )


# -------------------------------------------------------------------------------- endpoints


@router.post("/scores", status_code=201, response_model=Score, responses=documented("not_found"))
async def post(body: ScoreRequest, command: ScoresCommand) -> Response:
    """Say what a model thinks of a seller. It takes the place of what was said before."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        body,
        lambda session: post_score(session, context, merchant_id, body),
        lambda session, id_: show_score(session, merchant_id, id_, context.wall_now()),
    )


@router.get("/scores", response_model=Page[Score], responses=documented("not_found"))
async def list_(context: Ctx, caller: Reader, query: Listed[ScoresQuery]) -> Response:
    """All that was posted, newest first; of one account with `account`."""
    now = context.wall_now()
    return answer(
        await context.store.read(
            lambda session: list_scores(session, caller.merchant_id, query, now)
        )
    )


@router.get("/scores/{score_id}", response_model=Score, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, score_id: str) -> Response:
    now = context.wall_now()
    return answer(
        await context.store.read(
            lambda session: show_score(session, caller.merchant_id, score_id, now)
        )
    )


@router.get("/accounts/{account_id}/score", response_model=Score, responses=documented("not_found"))
async def latest(context: Ctx, caller: Reader, account_id: str) -> Response:
    """The newest score of an account."""
    now = context.wall_now()
    return answer(
        await context.store.read(
            lambda session: show_latest(session, caller.merchant_id, account_id, now)
        )
    )
