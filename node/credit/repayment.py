"""What becomes of an advance: the contracts' own arithmetic run over sales.

For the backtest, over the sales that really followed; for the disclosure, over present sales as
they are, or as they would be when they fall.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from node.index.credit_line import BPS, Line
from node.store.models import LineStatus

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Terms:
    """Of an advance. `limit` in atomic units, rates in 1/10,000."""

    limit: int
    apr_bps: int
    draw_fee_bps: int
    holdback_bps: int
    term_days: int


@dataclass(frozen=True, slots=True)
class Repayment:
    """How an advance went, all of the limit drawn at once.

    Attributes:
        repaid: atomic units of principal and cost together.
        cost: interest and fee, of it paid.
        left: principal not repaid at the end.
        paid_off_at: when nothing was owed any more; None if that did not come.
        missed: due dates with something left to pay.
        defaulted: 90 days past due.
        coin_seconds: the integral of the principal over time, which a yield is taken on.
    """

    repaid: int
    cost: int
    left: int
    paid_off_at: int | None
    missed: int
    defaulted: bool
    coin_seconds: int


def repay(terms: Terms, drawn_at: int, sales: Iterable[tuple[int, int]], until: int) -> Repayment:
    """Draw the whole limit at once, and repay it by holdback alone.

    Args:
        sales: time and net amount of each sale paid out, by time; those up to the draw and after
            `until` are left out.
        until: when to stop and look.
    """
    line = new_line(terms, drawn_at)
    line.draw(terms.limit, fee_of(terms), drawn_at)
    repaid = cost = missed = coin_seconds = 0
    at, paid_off_at = drawn_at, None
    for time, net in sales:
        if time <= drawn_at or time > until:
            continue
        missed += _advance(line, time)
        coin_seconds += line.principal * (time - at)
        at = time
        payment = min(net * line.holdback_at(time) // BPS, line.payoff)
        interest, principal = line.split(payment)
        line.pay(interest, principal)
        repaid += payment
        cost += interest
        if line.payoff == 0:
            paid_off_at = time
            break
    if paid_off_at is None:
        missed += _advance(line, until)
        coin_seconds += line.principal * (until - at)
    return Repayment(
        repaid=repaid,
        cost=cost,
        left=line.principal,
        paid_off_at=paid_off_at,
        missed=missed,
        defaulted=line.status is LineStatus.DEFAULTED,
        coin_seconds=coin_seconds,
    )


def minimum_schedule(terms: Terms, drawn_at: int) -> Iterator[tuple[int, int, int]]:
    """Due date, principal and interest of each window, if nothing but that is ever paid."""
    line = new_line(terms, drawn_at)
    line.draw(terms.limit, fee_of(terms), drawn_at)
    while line.window_end:
        due = line.window_end
        # What is owed a moment before the due date, and so paid in time.
        line.advance(due - 1)
        interest, principal = line.interest_owed, min(line.installment_due, line.principal)
        line.pay(interest, principal)
        yield due, principal, interest
        if line.window_end == due:
            line.advance(due)


def new_line(terms: Terms, now: int) -> Line:
    return Line(
        status=LineStatus.ACTIVE,
        principal=0,
        interest=0,
        accrued_at=now,
        apr_bps=terms.apr_bps,
        holdback_bps=terms.holdback_bps,
        window_end=0,
        past_due_since=0,
        installment=0,
        installment_due=0,
        interest_due=0,
        past_due_interest=0,
        past_due_principal=0,
    )


def fee_of(terms: Terms) -> int:
    """Of drawing the whole limit, rounded up as the contract does."""
    return -(-terms.limit * terms.draw_fee_bps // BPS)


def _advance(line: Line, time: int) -> int:
    """Bring a line to a time; return how many due dates passed with something left to pay."""
    missed = 0
    while line.window_end and time >= line.window_end:
        due = line.window_end
        line.advance(due)
        missed += bool(line.past_due_interest or line.past_due_principal) or (
            line.status is LineStatus.DEFAULTED
        )
    line.advance(time)
    return missed
