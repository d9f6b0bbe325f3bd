"""The marketplace's own plan and record of credit lines, added up by hand."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from node.market.credit import (
    APR_BPS,
    BPS_YEAR,
    DRAW_FEE_BPS,
    HOLDBACK_BPS,
    CreditRecord,
    CreditStepKind,
    LineRecord,
    pool_deposit,
    reserve_needed,
)
from node.market.generate import generate_orders
from node.market.plan import Outcome, Plan, PlanTerms, StepKind, make_plan
from node.market.reconciliation import expected

DAY = 86_400
YEAR = 365 * DAY
OPEN, DRAW, REPAY = CreditStepKind.OPEN, CreditStepKind.DRAW, CreditStepKind.REPAY


def plan(count: int = 400, credit: int = 5, tick: int = DAY, seed: int = 1) -> Plan:
    terms = PlanTerms(tick=tick, fee_bps=250, dispute_window=7 * DAY, credit=credit)
    return make_plan(generate_orders(count, seed), terms)


def test_the_best_sellers_get_the_lines() -> None:
    made = plan()
    sold: dict[str, int] = {}
    for purchase in made.purchases:
        if purchase.outcome is Outcome.RELEASED:
            net = purchase.amount - purchase.fee
            sold[purchase.seller] = sold.get(purchase.seller, 0) + net
    best = sorted(sold, key=lambda name: -sold[name])[:5]
    assert [line.seller for line in made.lines] == best
    assert plan(credit=0).lines == ()


def test_with_lines_or_without_the_purchases_are_the_same() -> None:
    assert plan(credit=0).purchases == plan(credit=5).purchases
    assert plan(credit=0).replay_id() != plan(credit=5).replay_id()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(1, 10**6), tick=st.integers(1_800, 14 * DAY), count=st.integers(1, 200))
def test_every_draw_is_paid_off_before_its_due_date_and_before_the_next(
    seed: int, tick: int, count: int
) -> None:
    made = plan(count, 4, tick, seed)
    last = max(step.tick for purchase in made.purchases for step in purchase.steps)
    planned = {(line.seller, step) for line in made.lines for step in line.steps}
    ticked = [(line.seller, step) for tick_ in made.ticks for line, step in tick_.credit]
    assert planned == set(ticked)
    assert len(planned) == len(ticked)
    for line in made.lines:
        assert 0 < line.draw <= line.limit
        first_paid_out = min(
            step.tick
            for purchase in made.purchases
            if purchase.seller == line.seller and purchase.outcome is Outcome.RELEASED
            for step in purchase.steps
            if step.kind is StepKind.RELEASE
        )
        debt_since = None
        for step in line.steps:
            assert step.tick > first_paid_out
            assert step.tick <= last
            if step.kind is DRAW:
                assert debt_since is None
                debt_since = step.tick
            elif step.kind is REPAY:
                assert debt_since is not None
                assert (step.tick - debt_since + 1) * tick < 60 * DAY + tick
                debt_since = None
        kinds = [step.kind for step in line.steps]
        assert kinds[:2] in ([OPEN, DRAW], [])


def test_the_record_reckons_interest_holdback_and_payoff_to_the_unit() -> None:
    line = LineRecord()
    line.draw(9_000_000, 45_000, when=1_000)
    # A year of 11 %, exactly; the fee is owed at once.
    assert line.interest_at(1_000 + YEAR) == (990_000 + 45_000) * BPS_YEAR
    repaid = line.sale("A", 10_000_003, when=1_000 + YEAR)
    assert repaid == 2_000_000  # a fifth, rounded down
    assert (line.principal, line.interest, line.interest_paid) == (8_035_000, 0, 1_035_000)
    # A second more earns 0.0028 units, which are owed as one.
    assert line.pay_off(1_001 + YEAR) == 8_035_001
    assert (line.principal, line.interest, line.owed) == (0, 0, 0)
    assert (line.by_sales, line.by_hand, line.drawn) == (2_000_000, 8_035_001, 9_000_000)
    assert line.sale("B", 10_000_000, when=1_002 + YEAR) == 0


def test_the_last_holdback_is_what_is_owed() -> None:
    line = LineRecord()
    line.draw(1_000, 0, when=0)
    assert line.sale("A", 10**9, when=0) == 1_000
    assert line.holdbacks == {"A": 1_000}


def test_what_is_paid_interest_first_leaves_no_fraction_behind() -> None:
    """Paying a rounded-up unit settles the fraction it stands for, and no more."""
    line = LineRecord()
    line.draw(1_000_000, 0, when=0)
    line.sale("A", 5, when=1)
    assert (line.interest_paid, line.interest, line.principal) == (1, 0, 1_000_000)


def test_the_expected_coin_includes_the_lender_the_reserve_and_the_lines() -> None:
    made = plan(60, 2)
    line = made.lines[0]

    record = CreditRecord()
    own = record.lines[line.seller]
    own.draw(line.draw, line.fee, when=0)
    own.sale("A", line.draw, when=10)
    plain, sums = expected(plan(60, 0)), expected(made, record, reserve=77)
    seller = f"seller/{line.seller}"
    assert sums.balances[seller] - plain.balances[seller] == line.draw - own.by_sales
    assert sums.topped_up - plain.topped_up == pool_deposit(made.lines) + 77
    assert sums.balances["lender/pool"] == 0


def test_the_reserve_is_enough_for_all_draws_at_once() -> None:
    made = plan()
    drawn = sum(line.draw for line in made.lines)
    needed = reserve_needed(made.lines, 1_000)
    assert (needed - 1) * 10 < drawn <= needed * 10
    assert pool_deposit(made.lines) == 2 * drawn
    assert all(line.fee * 10_000 >= line.draw * DRAW_FEE_BPS for line in made.lines)
    assert APR_BPS <= 2_000
    assert HOLDBACK_BPS <= 2_500
