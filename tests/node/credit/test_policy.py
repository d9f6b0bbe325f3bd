"""Who is offered what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.credit.policy import (
    Offered,
    Policy,
    Refusal,
    Seller,
    break_even_apr,
    decide,
    grade_of,
)
from node.credit.repayment import repay
from tests.node.credit.support import COIN, DAY, START

POLICY = Policy()
GOOD = Seller(
    history_days=400,
    active_months=3,
    ads_30=100 * COIN,
    ads_90=120 * COIN,
    ads_season=None,
    lost_30=0,
    lost_before=0,
)


def offered(seller: Seller = GOOD, pd_bps: int = 100, **more: int) -> Offered:
    decision = decide(POLICY, seller, pd_bps, **more)
    assert isinstance(decision, Offered), decision
    return decision


def refused(seller: Seller = GOOD, pd_bps: int = 100) -> str:
    decision = decide(POLICY, seller, pd_bps)
    assert isinstance(decision, Refusal), decision
    assert decision.words.endswith(".")
    assert "{" not in decision.words
    return decision.code


@pytest.mark.parametrize(
    ("pd_bps", "grade", "limit", "apr"),
    [
        (0, "A", 6_000, 800),
        (199, "A", 6_000, 800),
        (200, "B", 4_500, 1_100),
        (399, "B", 4_500, 1_100),
        (400, "C", 3_000, 1_400),
        (799, "C", 3_000, 1_400),
        (800, "D", 1_500, 1_800),
        (1_199, "D", 1_500, 1_800),
    ],
)
def test_grades_set_limit_and_price(pd_bps: int, grade: str, limit: int, apr: int) -> None:
    """100 coin a day, the lower of the averages: a month is 3,000. The holdback of 270 days would
    repay 5,400 less its cost, which only binds grade A."""
    offer = offered(pd_bps=pd_bps)
    assert (offer.grade, offer.terms.apr_bps) == (grade, apr)
    by_holdback = 5_400 * COIN * 3_650_000 // (3_650_000 + 800 * 270) // COIN
    assert offer.terms.limit == min(limit, by_holdback if grade == "A" else limit) * COIN


def test_e_is_offered_nothing() -> None:
    assert grade_of(POLICY, 1_200) == "E"
    assert refused(pd_bps=1_200) == "grade"
    assert refused(pd_bps=10_000) == "grade"


@pytest.mark.parametrize(
    ("seller", "code"),
    [
        (replace(GOOD, frozen=True), "frozen"),
        (replace(GOOD, history_days=89), "history"),
        (replace(GOOD, active_months=2), "inactive"),
        (replace(GOOD, lost_30=3), "disputes"),
        (replace(GOOD, lost_30=5, lost_before=12), "disputes"),
        (replace(GOOD, owed=1), "owes"),
        (replace(GOOD, ads_30=COIN // 2), "too_small"),
        (replace(GOOD, ads_season=0), "too_small"),
    ],
)
def test_who_is_not_eligible_is_told_why(seller: Seller, code: str) -> None:
    assert refused(seller) == code


def test_lost_disputes_as_usual_are_no_spike() -> None:
    offered(replace(GOOD, lost_30=3, lost_before=15))
    offered(replace(GOOD, lost_30=2))


def test_the_lowest_average_counts() -> None:
    assert offered(replace(GOOD, ads_90=50 * COIN), 300).terms.limit == 2_250 * COIN
    assert offered(replace(GOOD, ads_season=10 * COIN), 300).terms.limit == 450 * COIN


def test_a_line_grows_with_what_was_repaid() -> None:
    assert offered(replace(GOOD, largest_repaid=300 * COIN)).terms.limit == 600 * COIN
    # Who has repaid nothing yet may begin with the least.
    assert offered(replace(GOOD, largest_repaid=0)).terms.limit == POLICY.least


def test_the_cap_binds_the_largest() -> None:
    huge = replace(GOOD, ads_30=10**6 * COIN, ads_90=10**6 * COIN)
    assert offered(huge).terms.limit == POLICY.most


def test_the_seller_s_holdback_counts() -> None:
    assert offered(holdback_bps=1_000).terms.limit < offered(holdback_bps=2_500).terms.limit
    assert offered(holdback_bps=1_000).terms.holdback_bps == 1_000
    with pytest.raises(ValueError, match="holdback is one of"):
        decide(POLICY, GOOD, 100, 1_200)
    with pytest.raises(ValueError, match="0 to 10000"):
        decide(POLICY, GOOD, 10_001)


def test_the_price_covers_funding_operations_and_the_expected_loss() -> None:
    # 3 % + 2 % + 1.25 x 4 % x 60 % = 8 %.
    assert break_even_apr(POLICY, 400) == 800
    assert break_even_apr(POLICY, 401) == 801
    dear = replace(POLICY, funding_bps=901)
    decision = decide(dear, GOOD, 100)
    assert isinstance(decision, Offered)
    assert decision.terms.apr_bps == 901 + 200 + 75
    # Above 20 % nothing is offered.
    decision = decide(dear, GOOD, 1_199)
    assert isinstance(decision, Refusal)
    assert decision.code == "price"


@pytest.mark.parametrize(
    "wrong",
    [
        {"grades": ()},
        {"holdback_bps": 5_000},
        {"least": 0},
        {"least": 10, "most": 5},
        {"horizon_days": 0},
        {"grades": tuple(reversed(POLICY.grades))},
    ],
)
def test_a_policy_that_could_lend_wrongly_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(POLICY, **wrong)  # type: ignore[arg-type]


@given(
    ads=st.integers(2 * COIN, 10_000 * COIN),
    pd_bps=st.integers(0, 1_199),
    holdback=st.sampled_from((1_000, 1_500, 2_000, 2_500)),
)
def test_present_sales_repay_a_limit_within_the_horizon(
    ads: int, pd_bps: int, holdback: int
) -> None:
    seller = replace(GOOD, ads_30=ads, ads_90=ads)
    decision = decide(POLICY, seller, pd_bps, holdback)
    if isinstance(decision, Refusal):
        assert decision.code == "too_small"
        return
    sales = [(START + day * DAY, ads) for day in range(1, POLICY.horizon_days + 1)]
    went = repay(decision.terms, START, sales, START + POLICY.horizon_days * DAY)
    assert went.paid_off_at is not None
    assert went.missed == 0
