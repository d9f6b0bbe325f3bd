"""The plan: what is done for each order, when, and for how much."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.market.generate import generate_orders
from node.market.orders import Item, Order, OrderBook, OrderStatus
from node.market.plan import Outcome, PlanTerms, StepKind, make_plan

HOUR = 3_600
DAY = 24 * HOUR
TERMS = PlanTerms(tick=DAY, fee_bps=250, dispute_window=7 * DAY)
NOON = DAY // 2

ORDER = Order(
    order_id="A-1",
    buyer="ada",
    status=OrderStatus.DELIVERED,
    purchased_at=10 * DAY + NOON,
    approved_at=10 * DAY + NOON + 60,
    shipped_at=12 * DAY,
    delivered_at=14 * DAY + NOON,
    items=(Item("s1", 10_000_001, 5_000_000),),
)


def book(*orders: Order) -> OrderBook:
    return OrderBook(orders, source="hand-made", generated=False)


def days(order: Order, terms: PlanTerms = TERMS) -> list[tuple[StepKind, int]]:
    """The steps of a one-seller order with the ticks in which they are done."""
    (purchase,) = make_plan(book(order), terms).purchases
    return [(step.kind, step.tick) for step in purchase.steps]


def test_a_delivered_order_is_paid_shipped_delivered_and_released_after_the_window() -> None:
    assert days(ORDER) == [
        (StepKind.TOP_UP, 11),
        (StepKind.PURCHASE, 11),
        (StepKind.SHIP, 12),  # a time on the edge of a tick belongs to it
        (StepKind.DELIVER, 15),
        # On chain the window opens during the tick after day 15, so it is over by day 23.
        (StepKind.RELEASE, 23),
    ]


@pytest.mark.parametrize(
    ("change", "outcome", "kinds"),
    [
        ({"status": OrderStatus.CREATED}, Outcome.AUTHORIZED, []),
        ({"status": OrderStatus.APPROVED}, Outcome.AUTHORIZED, []),
        ({"status": OrderStatus.PROCESSING}, Outcome.AUTHORIZED, []),
        ({"status": OrderStatus.INVOICED}, Outcome.AUTHORIZED, []),
        ({"status": OrderStatus.SHIPPED}, Outcome.SHIPPED, [StepKind.SHIP]),
        ({"status": OrderStatus.CANCELED}, Outcome.VOIDED, [StepKind.SHIP, StepKind.VOID]),
        (
            {"status": OrderStatus.UNAVAILABLE, "shipped_at": None},
            Outcome.VOIDED,
            [StepKind.VOID],
        ),
        (
            {"status": OrderStatus.CANCELED, "delivered_at": 14 * DAY},
            Outcome.REFUNDED,
            [
                StepKind.SHIP,
                StepKind.DELIVER,
                StepKind.RELEASE,
                StepKind.RETURN_FEE,
                StepKind.REFUND,
            ],
        ),
        (
            {"status": OrderStatus.DELIVERED, "delivered_at": 14 * DAY, "shipped_at": None},
            Outcome.RELEASED,
            [StepKind.DELIVER, StepKind.RELEASE],
        ),
    ],
)
def test_the_state_of_an_order_decides_what_becomes_of_it(
    change: dict[str, object], outcome: Outcome, kinds: list[StepKind]
) -> None:
    order = replace(ORDER, **{"delivered_at": None, **change})  # type: ignore[arg-type]

    (purchase,) = make_plan(book(order), TERMS).purchases

    assert purchase.outcome is outcome
    assert [step.kind for step in purchase.steps] == [StepKind.TOP_UP, StepKind.PURCHASE, *kinds]


def test_a_canceled_order_is_voided_at_the_last_time_known_of_it() -> None:
    canceled = replace(ORDER, status=OrderStatus.CANCELED, delivered_at=None)

    assert days(canceled)[-1] == (StepKind.VOID, 12)
    assert days(replace(canceled, shipped_at=None))[-1] == (StepKind.VOID, 11)
    late_approval = replace(canceled, approved_at=20 * DAY)
    assert days(late_approval)[-1] == (StepKind.VOID, 20)


def test_no_step_is_before_the_step_before_it_even_if_the_export_says_so() -> None:
    odd = replace(ORDER, shipped_at=9 * DAY, delivered_at=11 * DAY)
    assert days(odd)[2:4] == [(StepKind.SHIP, 11), (StepKind.DELIVER, 11)]

    odder = replace(ORDER, shipped_at=30 * DAY, delivered_at=14 * DAY)
    assert days(odder)[2:] == [
        (StepKind.SHIP, 30),
        (StepKind.DELIVER, 30),
        (StepKind.RELEASE, 38),
    ]


def test_an_order_at_several_sellers_is_one_purchase_at_each() -> None:
    order = replace(
        ORDER,
        items=(
            Item("s2", 1_000_000, 1),
            Item("s1", 3_333_333, 0),
            Item("s2", 2_000_000, 9),
        ),
    )

    purchases = make_plan(book(order), TERMS).purchases

    assert [(p.order_id, p.seller, p.amount, p.fee) for p in purchases] == [
        ("A-1/1", "s2", 3_000_010, 75_000),
        ("A-1/2", "s1", 3_333_333, 83_333),
    ]


def test_a_fee_that_rounds_to_nothing_is_not_returned() -> None:
    order = replace(ORDER, status=OrderStatus.CANCELED, items=(Item("s1", 39, 0),))

    (purchase,) = make_plan(book(order), TERMS).purchases

    assert purchase.fee == 0
    assert StepKind.RETURN_FEE not in [step.kind for step in purchase.steps]


def test_accounts_are_admitted_in_the_tick_of_their_first_purchase_and_once() -> None:
    later = replace(ORDER, order_id="A-0", purchased_at=20 * DAY, status=OrderStatus.CREATED)
    plan = make_plan(book(replace(later, delivered_at=None), ORDER), TERMS)

    admitted = {tick.time // DAY: (tick.buyers, tick.sellers) for tick in plan.ticks}
    assert admitted.pop(11) == (["ada"], ["s1"])
    assert all(members == ([], []) for members in admitted.values())


@pytest.mark.parametrize(
    "terms",
    [
        PlanTerms(tick=0, fee_bps=250, dispute_window=0),
        PlanTerms(tick=1, fee_bps=-1, dispute_window=0),
        PlanTerms(tick=1, fee_bps=10_001, dispute_window=0),
        PlanTerms(tick=1, fee_bps=0, dispute_window=-1),
    ],
)
def test_terms_out_of_range_are_refused(terms: PlanTerms) -> None:
    with pytest.raises(ValueError, match=r"not"):
        make_plan(book(ORDER), terms)


def test_the_replay_id_follows_orders_and_terms() -> None:
    plan = make_plan(book(ORDER), TERMS)

    assert plan.replay_id() == make_plan(book(ORDER), TERMS).replay_id()
    assert plan.replay_id() != make_plan(book(replace(ORDER, buyer="eve")), TERMS).replay_id()
    other_fee = PlanTerms(tick=DAY, fee_bps=251, dispute_window=7 * DAY)
    assert plan.replay_id() != make_plan(book(ORDER), other_fee).replay_id()


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 120),
    seed=st.integers(0, 2**32),
    tick=st.sampled_from([HOUR, 6 * HOUR, DAY, 7 * DAY, 12_345]),
    fee_bps=st.integers(0, 10_000),
    window=st.integers(0, 30 * DAY),
)
def test_every_step_is_planned_once_in_order_and_within_a_tick_of_its_time(
    count: int, seed: int, tick: int, fee_bps: int, window: int
) -> None:
    orders = generate_orders(count, seed)
    plan = make_plan(orders, PlanTerms(tick, fee_bps, window))

    # Ticks rise; replaying them in order gives each purchase its steps, all and in their order.
    times = [each.time for each in plan.ticks]
    assert times == sorted(set(times))
    done: dict[str, list[StepKind]] = {}
    admitted: set[tuple[str, str]] = set()
    delivered: dict[str, int] = {}
    for each in plan.ticks:
        for kind, names in (("buyer", each.buyers), ("seller", each.sellers)):
            for name in names:
                assert (kind, name) not in admitted
                admitted.add((kind, name))
        for purchase, steps in each.work:
            assert {("buyer", purchase.buyer), ("seller", purchase.seller)} <= admitted
            for step in steps:
                done.setdefault(purchase.order_id, []).append(step.kind)
                assert each.time - tick < step.due <= each.time
                if step.kind is StepKind.DELIVER:
                    delivered[purchase.order_id] = each.time
                if step.kind is StepKind.RELEASE:
                    # Over on chain for any block of the delivery's tick.
                    assert each.time >= delivered[purchase.order_id] + tick + window
    assert done == {p.order_id: [step.kind for step in p.steps] for p in plan.purchases}

    # Money is conserved: the purchases are worth what the orders cost.
    spent = sum(item.price + item.freight for order in orders.orders for item in order.items)
    assert sum(p.amount for p in plan.purchases) == spent
    assert all(0 <= p.fee <= p.amount for p in plan.purchases)
