"""From orders to what a marketplace does about them, and when.

One purchase per order and seller. What becomes of it follows from the order's state:

created, approved, processing, invoiced   paid, and left open            → authorized
shipped                                   paid, shipped, and left open   → shipped
delivered                                 … delivered, and released when → released
                                          its dispute window is over
canceled, unavailable, never delivered    … voided at the last time      → voided
                                          known of the order
canceled, unavailable, yet delivered      … released, then refunded; the → refunded
                                          marketplace returns its fee to
                                          the seller, who pays back all

Before each purchase, some ticks ahead, the buyer is topped up with exactly its amount. Accounts are
admitted before that. No step is earlier than the step before it, even where the export says so.

Some sellers may have a credit line beside that (node.market.credit).

Time passes in ticks. A step is done at the end of the tick in which it falls due: never earlier
than the data says, and less than a tick late. A dispute window starts on chain when the delivery is
confirmed, which is during the tick after that, so it is counted from the end of that next tick.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from node.market.credit import CreditStep, PlannedLine, plan_lines
from node.market.orders import Order, OrderBook, OrderStatus

BPS = 10_000
MAX_TICK = 14 * 86_400  # far within the time a purchase may be authorized in


class StepKind(StrEnum):
    """What the marketplace asks of the bridge for one purchase, in this order."""

    TOP_UP = "topup"
    PURCHASE = "purchase"  # created and authorized
    SHIP = "ship"
    DELIVER = "deliver"
    RELEASE = "release"
    VOID = "void"
    RETURN_FEE = "return_fee"  # a top-up of the seller
    REFUND = "refund"


class Outcome(StrEnum):
    """Where a purchase ends, in the bridge's words."""

    AUTHORIZED = "authorized"
    SHIPPED = "shipped"
    RELEASED = "released"
    VOIDED = "voided"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """The same for all purchases of a replay. Times in seconds.

    Attributes:
        credit: how many of the best sellers get a credit line.
    """

    tick: int
    fee_bps: int
    dispute_window: int
    credit: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a purchase: due at a time of the data, done at the end of a tick."""

    kind: StepKind
    due: int
    tick: int


@dataclass(frozen=True, slots=True)
class PlannedPurchase:
    """One order at one seller. Amounts in atomic units; the fee is rounded down."""

    order_id: str  # the export's id, and "/n" behind it for the n-th of several sellers
    buyer: str
    seller: str
    amount: int
    fee: int
    outcome: Outcome
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Tick:
    """All that is to be done at one moment of the simulated clock."""

    time: int
    buyers: list[str] = field(default_factory=list)  # who need to be members by now
    sellers: list[str] = field(default_factory=list)
    credit: list[tuple[PlannedLine, CreditStep]] = field(default_factory=list)  # done first
    work: list[tuple[PlannedPurchase, list[Step]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a replay does, by tick; ticks in which nothing is due are not there."""

    purchases: tuple[PlannedPurchase, ...]
    lines: tuple[PlannedLine, ...]
    ticks: tuple[Tick, ...]
    terms: PlanTerms
    book: OrderBook

    def first_time(self) -> int | None:
        """When the first tick is: a new chain should be a little older. None without orders."""
        return self.ticks[0].time if self.ticks else None

    def replay_id(self) -> str:
        """The same orders under the same terms have the same id."""
        text = f"{self.book.digest()} {self.terms}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_plan(book: OrderBook, terms: PlanTerms) -> Plan:
    """Lay out the replay of a book of orders.

    Raises:
        ValueError: a term is out of range.
    """
    if not 1 <= terms.tick <= MAX_TICK:
        raise ValueError(f"a tick takes 1 to {MAX_TICK} s, not {terms.tick}")
    if not 0 <= terms.fee_bps <= BPS:
        raise ValueError(f"the fee is 0 to {BPS} basis points, not {terms.fee_bps}")
    if terms.dispute_window < 0:
        raise ValueError(f"the dispute window is not negative: {terms.dispute_window}")
    if terms.credit < 0:
        raise ValueError(f"the number of credit lines is not negative: {terms.credit}")
    purchases = tuple(purchase for order in book.orders for purchase in _purchases(order, terms))
    lines = plan_lines(purchases, _released(purchases), terms.tick, terms.credit)
    return Plan(purchases, lines, _ticks(purchases, lines, terms.tick), terms, book)


def _purchases(order: Order, terms: PlanTerms) -> Iterator[PlannedPurchase]:
    outcome = _outcome(order)
    steps = tuple(_steps(order, outcome, terms))
    amounts = order.amounts_by_seller()
    for number, (seller, amount) in enumerate(amounts.items(), 1):
        fee = amount * terms.fee_bps // BPS
        yield PlannedPurchase(
            order_id=order.order_id if len(amounts) == 1 else f"{order.order_id}/{number}",
            buyer=order.buyer,
            seller=seller,
            amount=amount,
            fee=fee,
            outcome=outcome,
            # Nothing to return where the fee rounds to nothing.
            steps=steps if fee else tuple(s for s in steps if s.kind is not StepKind.RETURN_FEE),
        )


def _outcome(order: Order) -> Outcome:
    if order.status is OrderStatus.DELIVERED:
        return Outcome.RELEASED
    if order.status in (OrderStatus.CANCELED, OrderStatus.UNAVAILABLE):
        return Outcome.VOIDED if order.delivered_at is None else Outcome.REFUNDED
    if order.status is OrderStatus.SHIPPED:
        return Outcome.SHIPPED
    return Outcome.AUTHORIZED


def _steps(order: Order, outcome: Outcome, terms: PlanTerms) -> Iterator[Step]:
    def step(kind: StepKind, due: int) -> Step:
        return Step(kind, due, -(-due // terms.tick))

    now = order.purchased_at
    yield step(StepKind.TOP_UP, now)
    yield step(StepKind.PURCHASE, now)
    if order.shipped_at is not None and outcome is not Outcome.AUTHORIZED:
        now = max(now, order.shipped_at)
        yield step(StepKind.SHIP, now)
    if outcome is Outcome.VOIDED:
        yield step(StepKind.VOID, max(now, order.approved_at or 0))
    if order.delivered_at is not None:
        deliver = step(StepKind.DELIVER, max(now, order.delivered_at))
        yield deliver
        window_over = (deliver.tick + 1) * terms.tick + terms.dispute_window
        yield step(StepKind.RELEASE, window_over)
        if outcome is Outcome.REFUNDED:
            yield step(StepKind.RETURN_FEE, window_over)
            yield step(StepKind.REFUND, window_over)


def _released(purchases: tuple[PlannedPurchase, ...]) -> dict[str, list[tuple[int, int]]]:
    """Tick and net amount of each sale that its seller keeps, by seller."""
    released: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for purchase in purchases:
        if purchase.outcome is Outcome.RELEASED:
            net = purchase.amount - purchase.fee
            released[purchase.seller].append((purchase.steps[-1].tick, net))
    return released


def _ticks(
    purchases: tuple[PlannedPurchase, ...], lines: tuple[PlannedLine, ...], seconds: int
) -> tuple[Tick, ...]:
    ticks: dict[int, Tick] = {}
    buyers: dict[str, int] = {}
    sellers: dict[str, int] = {}
    for purchase in purchases:
        by_tick: dict[int, list[Step]] = defaultdict(list)
        for step in purchase.steps:
            by_tick[step.tick].append(step)
        for number, steps in by_tick.items():
            tick = ticks.setdefault(number, Tick(number * seconds))
            tick.work.append((purchase, steps))
        first = purchase.steps[0].tick
        buyers[purchase.buyer] = min(first, buyers.get(purchase.buyer, first))
        sellers[purchase.seller] = min(first, sellers.get(purchase.seller, first))
    for line in lines:
        for due in line.steps:
            tick = ticks.setdefault(due.tick, Tick(due.tick * seconds))
            tick.credit.append((line, due))
    for buyer, number in buyers.items():
        ticks[number].buyers.append(buyer)
    for seller, number in sellers.items():
        ticks[number].sellers.append(seller)
    return tuple(ticks[number] for number in sorted(ticks))
