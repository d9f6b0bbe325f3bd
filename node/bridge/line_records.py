"""What a credit line comes to: when what is to be repaid, and what was drawn, charged and repaid.

The plan is computed as the book computes dues, from the line as indexed. Statements are computed
from the record that the indexer keeps of each line, by calendar month in UTC; between two logs
interest runs at the rate after the earlier one, as on chain. Every statement adds up: opening,
plus what was drawn, charged and accrued, less what was repaid, waived and written off, is closing,
to the unit; and the closing of a month is the opening of the next.

The book takes fees of draws as interest. Here a payment of the two pays fees first, and a waiver
takes interest first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.context import Ctx
from node.bridge.credit import (
    find_own_line,
    line_now,
    newest_block,
    not_before_indexed,
    owed_of,
    past_due_of,
    status_of,
)
from node.bridge.pagination import Listed, ListQuery, page, row_number
from node.bridge.problems import Problem, documented
from node.bridge.rows import table
from node.bridge.values import Amount, Change, Output, Page, Time
from node.index.credit import line_id
from node.index.credit_line import BPS, BPS_YEAR, WINDOW
from node.store import models

router = APIRouter(prefix="/credit_lines", tags=["credit"])

_ENTRIES = table(models.CreditEntry)
_MOST_WINDOWS = 24  # a ninth of the principal falls due in each, so there are far fewer

# ---------------------------------------------------------------------------------- schemas


class PlannedPayment(Output):
    """The least payment for one window, if it is made in its last second and those before were."""

    opens: Time
    due: Time = Field(description="to be paid before, on the chain's clock")
    amount: Amount = Field(description="the least that leaves nothing of the window to pay")
    interest: Amount = Field(description="part of it, fees of draws included")
    principal: Amount = Field(description="the other part")
    principal_after: Amount
    holdback_bps: int
    net_sales: Amount = Field(
        description="sales after the marketplace's fee that repay the amount by the holdback"
    )


class Plan(Output):
    """The minimum schedule of a line, should nothing be drawn and nothing be paid before it is due.

    Sales repay by themselves, and what they repay is due no more.
    """

    credit_line: str
    account: str
    status: str
    payoff: Amount = Field(description="pays the line off now")
    past_due: Amount = Field(description="part of the payoff: to be paid at once")
    past_due_since: Time | None
    due_now: Amount = Field(description="pays what is past due and what the open window asks")
    holdback_bps: int = Field(description="share of a sale that repays, now")
    windows: list[PlannedPayment]
    total: Amount = Field(description="of all windows; of a defaulted line: all that is owed")
    as_of: Time = Field(description="the chain's time of all this")
    as_of_block: int

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "credit_line": "lin_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "account": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "status": "active",
                    "payoff": "1001000",
                    "past_due": "0",
                    "past_due_since": None,
                    "due_now": "1001000",
                    "holdback_bps": 1500,
                    "windows": [
                        {
                            "opens": "2026-01-31T09:15:00Z",
                            "due": "2026-04-01T09:15:00Z",
                            "amount": "1018083",
                            "interest": "18083",
                            "principal": "1000000",
                            "principal_after": "0",
                            "holdback_bps": 1500,
                            "net_sales": "6787220",
                        }
                    ],
                    "total": "1018083",
                    "as_of": "2026-02-10T09:15:00Z",
                    "as_of_block": 4711,
                }
            ]
        },
    )


class Owed(Output):
    principal: Amount
    fees: Amount
    interest: Amount = Field(description="rounded up")
    total: Amount


class Paid(Output):
    principal: Amount
    fees: Amount
    interest: Amount
    total: Amount
    by_sales: Amount = Field(description="part of the total")
    by_hand: Amount = Field(description="the rest")


class Cut(Output):
    principal: Amount
    fees: Amount
    interest: Amount
    total: Amount


_OWED = {"principal": "0", "fees": "0", "interest": "0", "total": "0"}
_EXAMPLE: dict[str, Any] = {
    "credit_line": "lin_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
    "account": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
    "period": "2026-02",
    "begins": "2026-02-01T00:00:00Z",
    "ends": "2026-03-01T00:00:00Z",
    "final": True,
    "opening": _OWED,
    "drawn": "120000000",
    "fees_charged": "600000",
    "interest_accrued": "100000",
    "repaid": {
        "principal": "30000000",
        "fees": "600000",
        "interest": "90000",
        "total": "30690000",
        "by_sales": "30690000",
        "by_hand": "0",
    },
    "waived": _OWED,
    "written_off": _OWED,
    "recovered": "0",
    "closing": {"principal": "90000000", "fees": "0", "interest": "10000", "total": "90010000"},
    "entries": 14,
    "as_of": "2026-03-01T00:00:00Z",
    "as_of_block": 4711,
}


class Statement(Output):
    """One calendar month of a line, in UTC."""

    credit_line: str
    account: str
    period: str = Field(description="year and month")
    begins: Time
    ends: Time = Field(description="not part of it")
    final: bool = Field(description="whether its end is past, so that it will not change")
    opening: Owed
    drawn: Amount
    fees_charged: Amount
    interest_accrued: Amount
    repaid: Paid
    waived: Cut
    written_off: Cut
    recovered: Amount = Field(description="of what was written off; no part of the sum")
    closing: Owed
    entries: int
    as_of: Time = Field(description="of `closing`: the end, or now")
    as_of_block: int

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})


class LineEntry(Output):
    """One log that changed what is owed."""

    id: int
    kind: Literal[
        "opened",
        "drawn",
        "repaid",
        "waived",
        "defaulted",
        "charged_off",
        "recovered",
        "carried",
    ] = Field(description="`carried`: the record begins with what was owed then")
    principal: Change
    fees: Change
    interest: Change = Field(description="paid, waived or written off; what accrues has no entry")
    recovered: Amount
    order_hash: str | None = Field(description="of the sale that repaid; null: by hand")
    principal_after: Amount
    fees_after: Amount
    interest_after: Amount = Field(description="without the fees, rounded up")
    tx_hash: str
    block_number: int
    block_time: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": 14,
                    "kind": "repaid",
                    "principal": "-29000000",
                    "fees": "0",
                    "interest": "-250000",
                    "recovered": "0",
                    "order_hash": "0x" + "9c" * 32,
                    "principal_after": "61000000",
                    "fees_after": "0",
                    "interest_after": "0",
                    "tx_hash": "0x" + "5f" * 32,
                    "block_number": 4711,
                    "block_time": "2026-02-10T09:15:00Z",
                }
            ]
        },
    )


class CsvResponse(Response):
    media_type = "text/csv"


# ----------------------------------------------------------------------------- service: the plan


def plan_of(session: Session, merchant_id: str, its_id: str, now: int) -> Plan:
    """Raises:
    Problem: not_found.
    """
    account, row = find_own_line(session, merchant_id, its_id)
    now = not_before_indexed(session, now)
    line = line_now(row, now)
    holdback = line.holdback_at(now)
    payoff = owed_of(row, line)
    plan = Plan(
        credit_line=its_id,
        account=account.id,
        status=status_of(row, line, now),
        payoff=payoff,
        past_due=past_due_of(row, line),
        past_due_since=line.past_due_since or None,
        due_now=line.due if line.window_end else payoff,
        holdback_bps=holdback,
        windows=[],
        total=0 if line.window_end else payoff,
        as_of=now,
        as_of_block=newest_block(session),
    )
    for _ in range(_MOST_WINDOWS):
        if not line.window_end:
            break
        due = line.window_end
        line.advance(max(line.accrued_at, due - 1))
        amount = line.due
        interest, principal = line.split(amount)
        line.pay(interest, principal)
        plan.windows.append(
            PlannedPayment(
                opens=due - WINDOW,
                due=due,
                amount=amount,
                interest=interest,
                principal=principal,
                principal_after=line.principal,
                holdback_bps=holdback,
                net_sales=-(-amount * BPS // holdback),
            )
        )
        plan.total += amount
        line.advance(due)
        holdback = line.holdback_at(due)
    return plan


# --------------------------------------------------------------------------- service: statements


@dataclass(frozen=True, slots=True)
class _Debt:
    """What is owed on a line at a time; interest without the fees, rounded up."""

    principal: int
    fees: int
    interest: int

    @classmethod
    def at(cls, entry: Row[Any] | None, time: int) -> _Debt:
        """What an entry has left, and the interest since."""
        if entry is None:
            return cls(0, 0, 0)
        since = max(time - entry.block_timestamp, 0)
        owed = -(-(entry.interest_after + entry.rate_after * since) // BPS_YEAR)
        return cls(entry.principal_after, entry.fees_after, owed - entry.fees_after)

    def show(self) -> Owed:
        total = self.principal + self.fees + self.interest
        return Owed(principal=self.principal, fees=self.fees, interest=self.interest, total=total)


def list_statements(
    session: Session, merchant_id: str, its_id: str, query: ListQuery, now: int
) -> Page[Statement]:
    """Raises:
    Problem: not_found, invalid_request.
    """
    statements = statements_of(session, merchant_id, its_id, now)
    if query.cursor is not None:
        before = _begin_of(query.cursor)
        statements = [one for one in statements if one.begins < before]
    newest_first = statements[::-1]
    shown = newest_first[: query.limit]
    has_more = len(newest_first) > query.limit
    return Page(data=shown, has_more=has_more, next_cursor=shown[-1].period if has_more else None)


def statements_of(session: Session, merchant_id: str, its_id: str, now: int) -> list[Statement]:
    """All of a line, oldest first: from the month of its first entry to that of now.

    Raises:
        Problem: not_found.
    """
    account, row = find_own_line(session, merchant_id, its_id)
    now, block = not_before_indexed(session, now), newest_block(session)
    entries = session.execute(
        select(_ENTRIES).where(_ENTRIES.c.seller == row.seller).order_by(_ENTRIES.c.id)
    ).all()
    if not entries:
        return []
    statements = []
    last: Row[Any] | None = None
    done = 0
    if entries[0].kind == "carried":
        last, done = entries[0], 1
    for begins, ends in _months(entries[0].block_timestamp, now):
        first = done
        while done < len(entries) and entries[done].block_timestamp < ends:
            done += 1
        within = entries[first:done]
        opening = _Debt.at(last, begins)
        last = within[-1] if within else last
        as_of = min(ends, now)
        statements.append(
            _statement(account.id, begins, ends, opening, within, _Debt.at(last, as_of), now, block)
        )
    return statements


def _statement(
    account_id: str,
    begins: int,
    ends: int,
    opening: _Debt,
    entries: Sequence[Row[Any]],
    closing: _Debt,
    now: int,
    block: int,
) -> Statement:
    repaid = [entry for entry in entries if entry.kind == "repaid"]
    drawn = [entry for entry in entries if entry.kind == "drawn"]
    by_sales = sum(
        -entry.principal - entry.fees - entry.interest for entry in repaid if entry.order_hash
    )
    paid = _cut(repaid)
    taken = sum(-entry.interest for entry in entries)
    return Statement(
        credit_line=line_id(account_id),
        account=account_id,
        period=_period(begins),
        begins=begins,
        ends=ends,
        final=ends <= now,
        opening=opening.show(),
        drawn=sum(entry.principal for entry in drawn),
        fees_charged=sum(entry.fees for entry in drawn),
        # What is owed is rounded up; so is, over any time, what has accrued.
        interest_accrued=closing.interest - opening.interest + taken,
        repaid=Paid(**paid.model_dump(), by_sales=by_sales, by_hand=paid.total - by_sales),
        waived=_cut(entry for entry in entries if entry.kind == "waived"),
        written_off=_cut(entry for entry in entries if entry.kind == "charged_off"),
        recovered=sum(entry.recovered for entry in entries),
        closing=closing.show(),
        entries=len(entries),
        as_of=min(ends, now),
        as_of_block=block,
    )


def _cut(entries: Iterable[Row[Any]]) -> Cut:
    principal = fees = interest = 0
    for entry in entries:
        principal -= entry.principal
        fees -= entry.fees
        interest -= entry.interest
    return Cut(principal=principal, fees=fees, interest=interest, total=principal + fees + interest)


def _months(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each month, from that of one time to that of another."""
    moment = datetime.fromtimestamp(first, UTC)
    year, month = moment.year, moment.month
    while True:
        begins = int(datetime(year, month, 1, tzinfo=UTC).timestamp())
        if begins > last:
            return
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        yield begins, int(datetime(year, month, 1, tzinfo=UTC).timestamp())


def _period(begins: int) -> str:
    return datetime.fromtimestamp(begins, UTC).strftime("%Y-%m")


def _begin_of(cursor: str) -> int:
    try:
        moment = datetime.strptime(cursor, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        detail = f"{cursor!r} is no cursor of this list"
        raise Problem("invalid_request", detail, param="cursor") from None
    return int(moment.timestamp())


def list_entries(
    session: Session, merchant_id: str, its_id: str, query: ListQuery
) -> Page[LineEntry]:
    """Raises:
    Problem: not_found, invalid_request.
    """
    _, row = find_own_line(session, merchant_id, its_id)
    statement = select(_ENTRIES).where(_ENTRIES.c.seller == row.seller)
    return page(session, statement, _ENTRIES.c.id, query, _show_entry, parse_id=row_number)


def _show_entry(row: Row[Any]) -> LineEntry:
    return LineEntry(
        id=row.id,
        kind=row.kind,
        principal=row.principal,
        fees=row.fees,
        interest=row.interest,
        recovered=row.recovered,
        order_hash=row.order_hash,
        principal_after=row.principal_after,
        fees_after=row.fees_after,
        interest_after=_Debt.at(row, row.block_timestamp).interest,
        tx_hash=row.tx_hash,
        block_number=row.block_number,
        block_time=row.block_timestamp,
    )


def _csv_of(statements: Sequence[Statement]) -> str:
    """One row for each month, oldest first; amounts in atomic units, times in RFC 3339."""
    file = io.StringIO()
    table_ = csv.DictWriter(file, [name for name, _ in _cells_of(_EXAMPLE)])
    table_.writeheader()
    for one in statements:
        table_.writerow(dict(_cells_of(one.model_dump(mode="json"))))
    return file.getvalue()


def _cells_of(fields: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _cells_of(value, f"{name}_")
        else:
            yield within + name, str(value).lower() if isinstance(value, bool) else value


# -------------------------------------------------------------------------------- endpoints


@router.get("/{line_id}/plan", response_model=Plan, responses=documented("not_found"))
async def plan(context: Ctx, caller: Reader, line_id: str) -> Response:
    """What is to be repaid by when, and the sales that would do it, as of now."""
    now = await context.clock.now()
    return answer(
        await context.store.read(lambda session: plan_of(session, caller.merchant_id, line_id, now))
    )


@router.get(
    "/{line_id}/statements", response_model=Page[Statement], responses=documented("not_found")
)
async def statements(
    context: Ctx, caller: Reader, line_id: str, query: Listed[ListQuery]
) -> Response:
    """What was owed, drawn, charged and repaid month by month, newest first."""
    now = await context.clock.now()
    return answer(
        await context.store.read(
            lambda session: list_statements(session, caller.merchant_id, line_id, query, now)
        )
    )


@router.get(
    "/{line_id}/statements.csv", response_class=CsvResponse, responses=documented("not_found")
)
async def statements_csv(context: Ctx, caller: Reader, line_id: str) -> Response:
    """All statements as a table, oldest first."""
    now = await context.clock.now()
    found = await context.store.read(
        lambda session: statements_of(session, caller.merchant_id, line_id, now)
    )
    return CsvResponse(_csv_of(found), headers={"Cache-Control": "no-store"})


@router.get("/{line_id}/entries", response_model=Page[LineEntry], responses=documented("not_found"))
async def entries(context: Ctx, caller: Reader, line_id: str, query: Listed[ListQuery]) -> Response:
    """The line's ledger: every log that changed what is owed, newest first."""
    return answer(
        await context.store.read(
            lambda session: list_entries(session, caller.merchant_id, line_id, query)
        )
    )
