"""Credit lines in a replay: what is drawn and repaid when, and the marketplace's own record of it.

The best sellers get a line each, a tick after their first sale was paid out. They draw, repay by a
share of every sale (the holdback), pay what is left by hand well before the first due date, and
draw again, for as long as they sell.

The record is kept apart from the node's: it takes the amounts from the plan and only the order and
the block times of events from the chain, and computes interest and holdback itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.market.plan import PlannedPurchase

DAY = 86_400
BPS = 10_000
BPS_YEAR = BPS * 365 * DAY  # principal x basis points x seconds that make one atomic unit
COIN = 10**6

APR_BPS = 1_100
DRAW_FEE_BPS = 50
HOLDBACK_BPS = 2_000
TERM_DAYS = 3_650
LIMIT_DAYS = 30  # of the seller's average sales
DRAWN_DAYS = 8  # of them: at a fifth of its sales, a seller repays in 40 days on average
LEAST_SPAN = 30 * DAY  # over which sales are averaged
REPAY_AFTER = 40 * DAY  # by hand; the first due date is 60 days after the draw
DRAW_EVERY = 60 * DAY


class CreditStepKind(StrEnum):
    """What is asked of the bridge for one line, in this order."""

    OPEN = "open_line"  # offered and accepted
    DRAW = "draw"
    REPAY = "repay"  # by hand, all that is left


@dataclass(frozen=True, slots=True)
class CreditStep:
    """One step of a line, done at the beginning of a tick; numbered by draw."""

    kind: CreditStepKind
    number: int
    tick: int


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """One seller's line. Amounts in atomic units; every draw is of the same amount."""

    seller: str
    limit: int
    draw: int
    steps: tuple[CreditStep, ...]

    @property
    def fee(self) -> int:
        """Of a draw, rounded up; owed as interest."""
        return -(-self.draw * DRAW_FEE_BPS // BPS)


def plan_lines(
    purchases: Sequence[PlannedPurchase],
    released: dict[str, list[tuple[int, int]]],
    tick: int,
    count: int,
) -> tuple[PlannedLine, ...]:
    """Lay out the lines of the `count` best sellers.

    Args:
        purchases: all of the plan.
        released: tick and net amount of each sale that the seller keeps, by seller.
        tick: seconds.
    """
    last_tick = max((step.tick for p in purchases for step in p.steps), default=0)
    by_sales = sorted(released, key=lambda name: (-sum(net for _, net in released[name]), name))
    first_purchase: dict[str, int] = {}
    for purchase in purchases:
        start = purchase.steps[0].due
        first_purchase[purchase.seller] = min(start, first_purchase.get(purchase.seller, start))
    lines = []
    for seller in by_sales[:count]:
        sales = released[seller]
        first, last = min(sales)[0], max(sales)[0]
        span = max(last * tick - first_purchase[seller], LEAST_SPAN)
        total = sum(net for _, net in sales)
        draw = max(total * DRAWN_DAYS * DAY // span, COIN)
        lines.append(
            PlannedLine(
                seller=seller,
                limit=max(total * LIMIT_DAYS * DAY // span, draw),
                draw=draw,
                steps=tuple(_steps(first + 1, last, last_tick, tick)),
            )
        )
    return tuple(lines)


def _steps(opened: int, last_sale: int, last_tick: int, tick: int) -> Iterable[CreditStep]:
    if opened > last_tick:
        return
    yield CreditStep(CreditStepKind.OPEN, 0, opened)
    repay_after = -(-REPAY_AFTER // tick)
    draw_every = max(-(-DRAW_EVERY // tick), repay_after + 1)
    for number, drawn in enumerate(range(opened, max(last_sale, opened + 1), draw_every), 1):
        yield CreditStep(CreditStepKind.DRAW, number, drawn)
        if drawn + repay_after > last_tick:
            return  # what is left stays owed
        yield CreditStep(CreditStepKind.REPAY, number, drawn + repay_after)


def pool_deposit(lines: Iterable[PlannedLine]) -> int:
    """What the lender puts in: twice what is ever drawn at once."""
    return 2 * sum(line.draw for line in lines)


def reserve_needed(lines: Iterable[PlannedLine], reserve_bps: int) -> int:
    """What the platform sets aside before the first draw."""
    return -(-sum(line.draw for line in lines) * reserve_bps // BPS)


# -------------------------------------------------------------------------------- the record


@dataclass(slots=True)
class LineRecord:
    """One line as the marketplace reckons it. Atomic units; interest in bps-seconds as of `at`."""

    principal: int = 0
    interest: int = 0
    at: int = 0
    drawn: int = 0
    by_sales: int = 0
    by_hand: int = 0
    interest_paid: int = 0
    holdbacks: dict[str, int] = field(default_factory=dict)  # by order id

    @property
    def owed(self) -> int:
        return self.principal + self.interest_owed

    @property
    def interest_owed(self) -> int:
        """In whole units, rounded up."""
        return -(-self.interest // BPS_YEAR)

    def interest_at(self, when: int) -> int:
        """In bps-seconds."""
        return self.interest + self.principal * APR_BPS * (when - self.at)

    def draw(self, amount: int, fee: int, when: int) -> None:
        self._accrue(when)
        self.principal += amount
        self.interest += fee * BPS_YEAR
        self.drawn += amount

    def sale(self, order_id: str, net: int, when: int) -> int:
        """Take the holdback of a sale, and return it."""
        self._accrue(when)
        repaid = min(net * HOLDBACK_BPS // BPS, self.owed)
        self._pay(repaid)
        self.by_sales += repaid
        self.holdbacks[order_id] = self.holdbacks.get(order_id, 0) + repaid
        return repaid

    def pay_off(self, when: int) -> int:
        """Take all that is owed, and return it."""
        self._accrue(when)
        repaid = self.owed
        self._pay(repaid)
        self.by_hand += repaid
        return repaid

    def _accrue(self, when: int) -> None:
        self.interest = self.interest_at(when)
        self.at = when

    def _pay(self, amount: int) -> None:
        interest = min(amount, self.interest_owed)
        self.interest -= min(self.interest, interest * BPS_YEAR)
        self.interest_paid += interest
        self.principal -= amount - interest


@dataclass(slots=True)
class CreditRecord:
    """All lines of a replay, by seller."""

    lines: dict[str, LineRecord] = field(default_factory=lambda: defaultdict(LineRecord))

    def total(self, name: str) -> int:
        return sum(getattr(line, name) for line in self.lines.values())

    def holdback(self, seller: str, order_id: str) -> int:
        line = self.lines.get(seller)
        return 0 if line is None else line.holdbacks.get(order_id, 0)
