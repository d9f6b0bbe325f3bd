"""An advance repaid out of sales, by the contracts' arithmetic."""

from __future__ import annotations

from node.credit.repayment import Terms, fee_of, minimum_schedule, new_line, repay
from tests.node.credit.support import COIN, DAY, START

YEAR = 365 * DAY


def terms(limit: int = 1_000 * COIN, **more: int) -> Terms:
    return Terms(
        limit=limit,
        apr_bps=more.get("apr", 1_000),
        draw_fee_bps=more.get("fee", 0),
        holdback_bps=more.get("holdback", 2_000),
        term_days=270,
    )


def daily(coins: int, days: int) -> list[tuple[int, int]]:
    return [(START + day * DAY, coins * COIN) for day in range(1, days + 1)]


def test_one_sale_repays_with_the_interest_until_then() -> None:
    sales = [(START + 36 * DAY + DAY // 2, 10_000 * COIN)]
    went = repay(terms(), START, sales, START + 100 * DAY)
    # A tenth of a year at 10 % on 1,000 coin.
    assert went.cost == 10 * COIN
    assert went.repaid == 1_010 * COIN
    assert went.left == 0
    assert went.paid_off_at == START + 36 * DAY + DAY // 2
    assert went.missed == 0
    assert went.coin_seconds == 1_000 * COIN * YEAR // 10


def test_the_fee_is_owed_from_the_start_and_rounds_up() -> None:
    assert fee_of(terms(limit=1, fee=1)) == 1
    went = repay(terms(fee=50), START, [(START + 1, 10_000 * COIN)], START + DAY)
    assert went.cost >= 5 * COIN
    assert went.repaid == 1_000 * COIN + went.cost


def test_the_holdback_takes_its_share_of_each_sale() -> None:
    went = repay(terms(), START, daily(100, 30), START + 30 * DAY)
    assert went.repaid == 30 * 20 * COIN
    assert went.left == 1_000 * COIN - (went.repaid - went.cost)
    assert went.paid_off_at is None


def test_what_is_sold_before_the_draw_or_after_the_end_repays_nothing() -> None:
    sales = [(START, 10_000 * COIN), (START + 10 * DAY + 1, 10_000 * COIN)]
    went = repay(terms(), START, sales, START + 10 * DAY)
    assert went.repaid == 0
    assert went.left == 1_000 * COIN


def test_without_sales_due_dates_are_missed_and_the_line_defaults() -> None:
    went = repay(terms(), START, [], START + 120 * DAY)
    assert (went.missed, went.defaulted) == (2, False)
    # The first was due on day 60; 90 days past due is day 150.
    assert repay(terms(), START, [], START + 149 * DAY).defaulted is False
    assert repay(terms(), START, [], START + 150 * DAY).defaulted is True


def test_a_late_line_takes_a_larger_share() -> None:
    # A coin a day is too little for the first due date; from day 67 on it is one and a half.
    went = repay(terms(), START, daily(5, 90), START + 90 * DAY)
    assert went.repaid == 66 * COIN + 24 * 3 * COIN // 2


def test_less_sales_repay_less() -> None:
    full = repay(terms(), START, daily(50, 60), START + 60 * DAY)
    less = repay(terms(), START, daily(30, 60), START + 60 * DAY)
    assert less.repaid * 10 == full.repaid * 6


def test_the_minimum_is_nine_windows_that_leave_nothing() -> None:
    schedule = list(minimum_schedule(terms(limit=900 * COIN), START))
    assert [due for due, _, _ in schedule] == [START + 60 * DAY * n for n in range(1, 10)]
    assert [principal for _, principal, _ in schedule] == [100 * COIN] * 9
    # 60 days at 10 % on what is left.
    first = 900 * COIN * 1_000 * (60 * DAY - 1) // (10_000 * YEAR)
    assert 0 <= schedule[0][2] - first <= 1
    assert [interest for *_, interest in schedule] == sorted(
        (interest for *_, interest in schedule), reverse=True
    )


def test_paying_the_minimum_in_time_is_never_late() -> None:
    line = new_line(terms(), START)
    line.draw(1_000 * COIN, 0, START)
    for due, principal, interest in minimum_schedule(terms(), START):
        line.advance(due - 1)
        line.pay(interest, principal)
        line.advance(due)
        assert line.past_due_since == 0
    assert line.payoff == 0
