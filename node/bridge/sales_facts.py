"""Sales facts: what the shop says about a seller's orders, for scoring.

A fact is named by kind, order and reference, so posting it again changes nothing. What turns out to
be wrong is corrected, and what was said before is kept: a score of last month must be able to say
what was known then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_account
from node.bridge.answers import answer
from node.bridge.auth import Caller, Reader, requires
from node.bridge.context import Context, Ctx
from node.bridge.idempotency import Outcome, PurchasesCommand
from node.bridge.pagination import Listed, ListQuery, page
from node.bridge.problems import Problem, documented, not_found
from node.bridge.rows import add, find, owned, table
from node.bridge.values import Input, Name, Note, Output, Page, Time, TimeIn, rfc3339
from node.settings import DAY
from node.store import models
from node.store.models import FactKind

router = APIRouter(prefix="/sales_facts", tags=["sales facts"])

MAX_FACTS = 1_000
_LOOKED_UP_AT_ONCE = 400  # more parameters not every database takes

_FACTS, _REVISIONS = table(models.SalesFact), table(models.SalesFactRevision)
_INSERT = insert(_FACTS)
_HISTORY = (
    select(_REVISIONS)
    .where(_REVISIONS.c.fact_id == bindparam("its_id"))
    .order_by(_REVISIONS.c.revision.desc())
)

Poster = Annotated[Caller, Depends(requires("purchases"))]
Kind = Literal["review", "cancellation", "return"]
Score = Annotated[int, Field(ge=1, le=5, description="of a review: 1 (worst) to 5")]

# ---------------------------------------------------------------------------------- schemas


class NewFact(Input):
    """What a fact says. `kind`, `order_id` and `reference` together name it."""

    kind: Kind
    order_id: Name
    reference: Name = Field(description="what you call the review, cancellation or return")
    seller: str = Field(description="account id")
    occurred_at: TimeIn
    score: Score | None = Field(None, description="required for a review, and for nothing else")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "review",
                    "order_id": "A-1001",
                    "reference": "review 71",
                    "seller": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "occurred_at": "2026-02-05T18:30:00Z",
                    "score": 5,
                },
                {
                    "kind": "return",
                    "order_id": "A-1001",
                    "reference": "return 77",
                    "seller": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "occurred_at": "2026-02-09T08:00:00Z",
                },
            ]
        }
    )

    @model_validator(mode="after")
    def _score_fits_kind(self) -> NewFact:
        if (self.score is None) == (self.kind == "review"):
            needs = "needs a score" if self.score is None else "has no score"
            raise ValueError(f"score: a {self.kind} {needs}")
        return self


class FactsRequest(Input):
    facts: list[Annotated[NewFact | dict[str, Any], Field(union_mode="left_to_right")]] = Field(
        min_length=1,
        max_length=MAX_FACTS,
        description="each is recorded or refused by itself",
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "facts": [
                        {
                            "kind": "cancellation",
                            "order_id": "A-1002",
                            "reference": "case 12",
                            "seller": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                            "occurred_at": "2026-02-05T18:30:00Z",
                        }
                    ]
                }
            ]
        }
    )


class Recorded(Output):
    """What became of one of the facts posted."""

    index: int = Field(description="its place in the request, from 0")
    status: Literal["created", "unchanged", "refused"]
    id: str | None
    code: str | None = Field(description="of a refused one, as in problems")
    param: str | None
    detail: str | None


class FactsRecorded(Output):
    created: int
    unchanged: int
    refused: int
    data: list[Recorded] = Field(description="in the order of the request")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "created": 1,
                    "unchanged": 0,
                    "refused": 1,
                    "data": [
                        {
                            "index": 0,
                            "status": "created",
                            "id": "fct_01980ab2c3d97bbb8a9b0c1d2e3f4a5b",
                            "code": None,
                            "param": None,
                            "detail": None,
                        },
                        {
                            "index": 1,
                            "status": "refused",
                            "id": None,
                            "code": "not_found",
                            "param": "seller",
                            "detail": "no account 'acc_1'",
                        },
                    ],
                }
            ]
        },
    )


class Correction(Input):
    """What is different now; what is left out stays."""

    reason: Note
    seller: str | None = Field(None, description="account id")
    occurred_at: TimeIn | None = None
    score: Score | None = None
    withdrawn: bool | None = Field(None, description="true: it never was so, and counts no more")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"reason": "the buyer changed the review", "score": 4},
                {"reason": "posted for the wrong order", "withdrawn": True},
            ]
        }
    )


class FactsQuery(ListQuery):
    seller: str | None = Field(None, max_length=64)
    kind: Kind | None = None
    order_id: str | None = Field(None, max_length=120)
    occurred_from: TimeIn | None = None
    occurred_before: TimeIn | None = None


_EXAMPLE: dict[str, Any] = {
    "id": "fct_01980ab2c3d97bbb8a9b0c1d2e3f4a5b",
    "kind": "review",
    "order_id": "A-1001",
    "reference": "review 71",
    "seller": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
    "occurred_at": "2026-02-05T18:30:00Z",
    "score": 4,
    "withdrawn": False,
    "revision": 2,
    "created_at": "2026-02-05T18:31:00Z",
    "updated_at": "2026-02-06T09:00:00Z",
}


class SalesFact(Output):
    id: str
    kind: Kind
    order_id: str
    reference: str
    seller: str
    occurred_at: Time
    score: int | None
    withdrawn: bool
    revision: int = Field(description="1, and one more with each correction")
    created_at: Time
    updated_at: Time

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})


class Revision(Output):
    """What a fact said until it was corrected."""

    revision: int
    seller: str
    occurred_at: Time
    score: int | None
    withdrawn: bool
    recorded_at: Time
    replaced_at: Time
    reason: str = Field(description="of the correction")


class SalesFactWithHistory(SalesFact):
    history: list[Revision] = Field(description="newest first")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    **_EXAMPLE,
                    "history": [
                        {
                            "revision": 1,
                            "seller": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                            "occurred_at": "2026-02-05T18:30:00Z",
                            "score": 2,
                            "withdrawn": False,
                            "recorded_at": "2026-02-05T18:31:00Z",
                            "replaced_at": "2026-02-06T09:00:00Z",
                            "reason": "the buyer changed the review",
                        }
                    ],
                }
            ]
        },
    )


# ---------------------------------------------------------------------------------- service


def record_facts(
    session: Session,
    context: Context,
    merchant_id: str,
    given: Sequence[NewFact | dict[str, Any]],
    now: int,
) -> FactsRecorded:
    """Record each fact that is new; none is in the way of another.

    Args:
        now: the chain's time; nothing is said of what is more than a day after it.
    """
    results: list[Recorded | None] = [None] * len(given)
    facts: dict[int, NewFact] = {}
    for index, item in enumerate(given):
        fact = item if isinstance(item, NewFact) else _what_is_wrong(index, item)
        if isinstance(fact, Recorded):
            results[index] = fact
        else:
            facts[index] = fact
    sellers = _sellers(session, merchant_id, facts.values())
    known = _known(session, merchant_id, facts.values())
    new: list[dict[str, Any]] = []
    wall_now = context.wall_now()
    for index, fact in facts.items():
        latest = rfc3339(now + DAY)
        if fact.seller not in sellers:
            gone = not_found("account", fact.seller, "seller")
            results[index] = _refused(index, gone.code, "seller", gone.detail)
        elif fact.occurred_at > now + DAY:
            detail = f"occurred_at: {rfc3339(fact.occurred_at)} is after {latest}"
            results[index] = _refused(index, "invalid_request", "occurred_at", detail)
        elif (same := known.get(_name(fact))) is not None:
            results[index] = _again(index, fact, same)
        else:
            row = {
                "id": context.ids.new("fct"),
                "merchant_id": merchant_id,
                "kind": fact.kind,
                "order_id": fact.order_id,
                "reference": fact.reference,
                **_content(fact),
                "withdrawn": False,
                "revision": 1,
                "created_at": wall_now,
                "updated_at": wall_now,
            }
            new.append(row)
            known[_name(fact)] = _Known(row["id"], [_content(fact)])
            results[index] = _result(index, "created", row["id"])
    if new:
        session.execute(_INSERT, new)
    data = [result for result in results if result is not None]
    counts = {
        status: sum(result.status == status for result in data)
        for status in ("created", "unchanged", "refused")
    }
    return FactsRecorded(**counts, data=data)


def correct_fact(
    session: Session,
    context: Context,
    merchant_id: str,
    fact_id: str,
    correction: Correction,
    now: int,
) -> Outcome:
    """Args:
        now: the chain's time.

    Raises:
        Problem: not_found, invalid_request (nothing would change, a score for what has none, or a
            time to come).
    """
    row = session.execute(
        owned(models.SalesFact, merchant_id).where(_FACTS.c.id == fact_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise not_found("sales fact", fact_id, "id")
    if correction.seller is not None:
        find_account(session, merchant_id, correction.seller, "seller")
    if correction.score is not None and row.kind != FactKind.REVIEW:
        raise Problem("invalid_request", f"score: a {row.kind} has no score", param="score")
    if correction.occurred_at is not None and correction.occurred_at > now + DAY:
        detail = f"occurred_at: {rfc3339(correction.occurred_at)} is after {rfc3339(now + DAY)}"
        raise Problem("invalid_request", detail, param="occurred_at")
    columns = {
        "seller_account_id": correction.seller,
        "occurred_at": correction.occurred_at,
        "score": correction.score,
        "withdrawn": correction.withdrawn,
    }
    changed = {
        name: value
        for name, value in columns.items()
        if value is not None and value != getattr(row, name)
    }
    if not changed:
        detail = f"{fact_id} says so already: a correction changes something"
        raise Problem("invalid_request", detail, param="body")
    wall_now = context.wall_now()
    add(
        session,
        models.SalesFactRevision,
        fact_id=row.id,
        revision=row.revision,
        **{name: getattr(row, name) for name in columns},
        recorded_at=row.updated_at,
        replaced_at=wall_now,
        reason=correction.reason,
    )
    session.execute(
        update(_FACTS)
        .where(_FACTS.c.id == row.id)
        .values(**changed, revision=row.revision + 1, updated_at=wall_now)
    )
    return Outcome("sales_fact", row.id, status_code=200)


def show_fact(session: Session, merchant_id: str, fact_id: str) -> SalesFactWithHistory:
    row = find(session, models.SalesFact, merchant_id, fact_id, "sales fact")
    history = session.execute(_HISTORY, {"its_id": row.id})
    return SalesFactWithHistory(**_fields(row), history=[_show_revision(one) for one in history])


def list_facts(session: Session, merchant_id: str, query: FactsQuery) -> Page[SalesFact]:
    statement = owned(models.SalesFact, merchant_id)
    if query.seller is not None:
        statement = statement.where(_FACTS.c.seller_account_id == query.seller)
    if query.kind is not None:
        statement = statement.where(_FACTS.c.kind == query.kind)
    if query.order_id is not None:
        statement = statement.where(_FACTS.c.order_id == query.order_id)
    if query.occurred_from is not None:
        statement = statement.where(_FACTS.c.occurred_at >= query.occurred_from)
    if query.occurred_before is not None:
        statement = statement.where(_FACTS.c.occurred_at < query.occurred_before)
    return page(session, statement, _FACTS.c.id, query, lambda row: SalesFact(**_fields(row)))


# --------------------------------------------------------------------------------- helpers


class _Known:
    """A fact that is recorded, and all it ever said."""

    def __init__(self, fact_id: str, contents: list[dict[str, Any]]) -> None:
        self.id = fact_id
        self.contents = contents


def _name(fact: NewFact) -> tuple[str, str, str]:
    return (fact.kind, fact.order_id, fact.reference)


def _content(fact: NewFact) -> dict[str, Any]:
    return {
        "seller_account_id": fact.seller,
        "occurred_at": fact.occurred_at,
        "score": fact.score,
    }


def _what_is_wrong(index: int, item: dict[str, Any]) -> NewFact | Recorded:
    """It did not fit the schema: say where."""
    try:
        return NewFact.model_validate(item)
    except ValidationError as error:
        first = error.errors()[0]
        words = first["msg"].removeprefix("Value error, ")
        place = ".".join(str(part) for part in first["loc"])
        param = place or words.partition(":")[0]
        detail = f"{place}: {words}" if place else words
        return _refused(index, "invalid_request", param, detail)


def _sellers(session: Session, merchant_id: str, facts: Any) -> set[str]:
    accounts = table(models.Account)
    found: set[str] = set()
    for chunk in _chunks(sorted({fact.seller for fact in facts})):
        found.update(
            session.scalars(
                select(accounts.c.id).where(
                    accounts.c.merchant_id == merchant_id, accounts.c.id.in_(chunk)
                )
            )
        )
    return found


def _known(session: Session, merchant_id: str, facts: Any) -> dict[tuple[str, str, str], _Known]:
    known: dict[tuple[str, str, str], _Known] = {}
    by_id: dict[str, _Known] = {}
    columns = ("seller_account_id", "occurred_at", "score")
    for chunk in _chunks(sorted({fact.order_id for fact in facts})):
        rows = session.execute(
            owned(models.SalesFact, merchant_id).where(_FACTS.c.order_id.in_(chunk))
        )
        for row in rows:
            one = _Known(row.id, [{name: getattr(row, name) for name in columns}])
            known[row.kind, row.order_id, row.reference] = one
            if row.revision > 1:
                by_id[row.id] = one
    for chunk in _chunks(sorted(by_id)):
        for row in session.execute(select(_REVISIONS).where(_REVISIONS.c.fact_id.in_(chunk))):
            by_id[row.fact_id].contents.append({name: getattr(row, name) for name in columns})
    return known


def _again(index: int, fact: NewFact, known: _Known) -> Recorded:
    """The same said again changes nothing, be it that it was corrected since."""
    if _content(fact) in known.contents:
        return _result(index, "unchanged", known.id)
    return _refused(
        index,
        "reference_taken",
        "reference",
        f"{known.id} is this {fact.kind} and says something else; correct it with"
        f" POST /v1/sales_facts/{known.id}/corrections",
        known.id,
    )


def _result(index: int, status: Literal["created", "unchanged"], fact_id: str) -> Recorded:
    return Recorded(index=index, status=status, id=fact_id, code=None, param=None, detail=None)


def _refused(
    index: int, code: str, param: str, detail: str, fact_id: str | None = None
) -> Recorded:
    return Recorded(
        index=index, status="refused", id=fact_id, code=code, param=param, detail=detail
    )


def _chunks(values: list[str]) -> list[list[str]]:
    return [
        values[start : start + _LOOKED_UP_AT_ONCE]
        for start in range(0, len(values), _LOOKED_UP_AT_ONCE)
    ]


def _fields(row: Row[Any]) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in SalesFact.model_fields if name != "seller"}
    return {"seller": row.seller_account_id, **values}


def _show_revision(row: Row[Any]) -> Revision:
    names = ("revision", "occurred_at", "score", "withdrawn", "recorded_at", "replaced_at")
    values = {name: getattr(row, name) for name in names}
    return Revision(seller=row.seller_account_id, reason=row.reason, **values)


# -------------------------------------------------------------------------------- endpoints


@router.post("", response_model=FactsRecorded, responses=documented("chain_unavailable"))
async def record(context: Ctx, caller: Poster, body: FactsRequest) -> Response:
    """Say what became of orders, up to 1,000 at once. Needs no idempotency key: a fact counts
    once, and one that is refused is in the way of no other."""
    now = await context.clock.now()
    return answer(
        await context.writer.write_again(
            lambda session: record_facts(session, context, caller.merchant_id, body.facts, now)
        )
    )


@router.get("", response_model=Page[SalesFact])
async def list_(context: Ctx, caller: Reader, query: Listed[FactsQuery]) -> Response:
    """The facts as they now stand, newest posted first."""
    return answer(
        await context.store.read(lambda session: list_facts(session, caller.merchant_id, query))
    )


@router.get("/{fact_id}", response_model=SalesFactWithHistory, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, fact_id: str) -> Response:
    """A fact, and what it said before its corrections."""
    return answer(
        await context.store.read(lambda session: show_fact(session, caller.merchant_id, fact_id))
    )


@router.post(
    "/{fact_id}/corrections",
    response_model=SalesFactWithHistory,
    responses=documented("not_found", "chain_unavailable"),
)
async def correct(fact_id: str, body: Correction, command: PurchasesCommand) -> Response:
    """Say it otherwise, or take it back."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: correct_fact(session, context, merchant_id, fact_id, body, now),
        lambda session, id_: show_fact(session, merchant_id, id_),
    )
