"""A line's life by the clock: each bound a second before, at it, and a second after."""

import pytest

from tests.contracts.credit import (
    ACTIVE,
    APR,
    BPS_YEAR,
    CHARGED_OFF,
    CLOSED,
    DEFAULT_AFTER,
    DEFAULTED,
    DRAW,
    FOREVER,
    GRACE,
    HOLDBACK,
    INSTALLMENT,
    WINDOW,
    accrued,
    rounded_up,
)
from tests.contracts.system import COIN, DAY


def touch(lending):
    return lending.send(lending.accounts.stranger, "touch", lending.seller.address)


@pytest.fixture(params=["looked at", "touched"])
def see(request, lending):
    """Travel to a time; the line is the same whether it is only looked at or stored there."""

    def see(time):
        lending.chain.travel_to(time)
        seen = lending.line(), lending.dues(), lending.statement()
        if request.param == "touched":
            touch(lending)
        return seen

    return see


def test_a_window_ends_at_its_second(lending, see):
    drawn_at = lending.drawn()
    due = drawn_at + WINDOW
    line, dues, statement = see(due - 1)
    assert (line.windowEnd, line.pastDueSince, sum(dues)) == (due, 0, 0)
    assert (statement.pastDue, statement.dueInWindow) == (0, INSTALLMENT)
    for now in (due, due + 1):
        line, dues, statement = see(now)
        assert (line.windowEnd, line.pastDueSince) == (due + WINDOW, due)
        interest = accrued(DRAW, APR, WINDOW) // BPS_YEAR
        assert dues._asdict() == {
            "interestDue": interest,
            "pastDueInterest": 0,
            "pastDuePrincipal": INSTALLMENT,
        }
        assert line.hasDues
        assert statement.pastDue == INSTALLMENT
        assert statement.dueInWindow == interest + INSTALLMENT
        assert (statement.status, statement.delinquent) == (ACTIVE, False)


def test_a_window_that_was_paid_leaves_nothing_past_due(lending, see):
    drawn_at = lending.drawn()
    interest = lending.statement().interest
    lending.send(lending.seller, "repay", lending.seller.address, interest + INSTALLMENT)
    line, dues, statement = see(drawn_at + WINDOW)
    assert line.pastDueSince == 0
    assert (dues.pastDueInterest, dues.pastDuePrincipal, statement.pastDue) == (0, 0, 0)
    assert line.installmentDue == INSTALLMENT
    assert line.windowEnd == drawn_at + 2 * WINDOW


def test_one_unit_short_is_past_due(lending, see):
    drawn_at = lending.drawn()
    interest = lending.statement().interest
    lending.send(lending.seller, "repay", lending.seller.address, interest + INSTALLMENT - 1)
    line, dues, _ = see(drawn_at + WINDOW)
    assert (line.pastDueSince, dues.pastDuePrincipal) == (drawn_at + WINDOW, 1)


def test_interest_of_a_window_becomes_past_due_with_the_next(lending, see):
    drawn_at = lending.drawn()
    first = drawn_at + WINDOW
    lending.chain.travel_to(first)
    lending.send(lending.seller, "repay", lending.seller.address, INSTALLMENT)
    assert lending.line().pastDueSince == 0
    line, dues, _ = see(first + WINDOW - 1)
    assert (line.pastDueSince, dues.pastDueInterest) == (0, 0)
    line, dues, _ = see(first + WINDOW)
    assert line.pastDueSince == first + WINDOW
    assert dues.pastDueInterest == accrued(DRAW, APR, WINDOW) // BPS_YEAR
    assert dues.pastDuePrincipal == INSTALLMENT


def test_grace_ends_at_its_second(lending, see):
    due = lending.drawn() + WINDOW
    for now, delinquent, share in (
        (due + GRACE - 1, False, HOLDBACK),
        (due + GRACE, True, HOLDBACK + 1_000),
        (due + GRACE + 1, True, HOLDBACK + 1_000),
    ):
        _, _, statement = see(now)
        assert (statement.delinquent, statement.holdbackBps) == (delinquent, share)
        assert statement.status == ACTIVE


def test_default_comes_at_its_second(lending, see):
    drawn_at = lending.drawn()
    due = drawn_at + WINDOW
    line, _, statement = see(due + DEFAULT_AFTER - 1)
    assert (line.status, statement.delinquent) == (ACTIVE, True)
    line, dues, statement = see(due + DEFAULT_AFTER)
    assert (line.status, statement.delinquent) == (DEFAULTED, False)
    assert (line.pastDueSince, line.windowEnd, line.installmentDue) == (due, 0, 0)
    assert (sum(dues), line.hasDues) == (0, False)
    assert statement.pastDue == statement.payoff
    assert line.interest == accrued(DRAW, APR, WINDOW + DEFAULT_AFTER)


def test_the_first_touch_records_a_default(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + WINDOW + DEFAULT_AFTER - 1)
    assert touch(lending).events(lending.book, "LineDefaulted") == []
    receipt = touch(lending)
    interest = accrued(DRAW, APR, WINDOW + DEFAULT_AFTER)
    assert receipt.event(lending.book, "LineDefaulted") == {
        "seller": lending.seller.address,
        "pastDueSince": drawn_at + WINDOW,
        "principal": DRAW,
        "interest": rounded_up(interest),
    }
    assert touch(lending).logs == []
    totals = lending.totals()
    assert (totals.principal, totals.issuanceRate) == (DRAW, 0)


def test_interest_stops_with_default(lending):
    lending.defaulted()
    owed, value = lending.statement().interest, lending.call("bookValue")
    lending.chain.travel(400 * DAY)
    assert lending.statement().interest == owed
    assert lending.call("bookValue") == value


def test_until_a_default_is_recorded_interest_goes_on(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + 2 * 365 * DAY)
    assert lending.statement().status == DEFAULTED
    assert lending.line().interest == accrued(DRAW, APR, 2 * 365 * DAY)
    touch(lending)
    assert lending.line().interest == accrued(DRAW, APR, 2 * 365 * DAY)


def test_a_line_without_debt_has_no_windows(lending):
    lending.accepted()
    lending.chain.travel(1000 * DAY)
    assert touch(lending).logs == []
    line = lending.line()
    assert (line.status, line.windowEnd, line.pastDueSince) == (ACTIVE, 0, 0)


def test_touching_nothing_does_nothing(lending):
    assert touch(lending).logs == []
    assert lending.line().status == 0


@pytest.mark.parametrize("windows", [1, 2])
def test_windows_missed_at_once_are_those_missed_one_by_one(lending, windows):
    drawn_at = lending.drawn()
    untouched = lending.chain.snapshot()
    now = drawn_at + windows * WINDOW + DAY
    lending.chain.travel_to(now)
    at_once = lending.line(), lending.dues()
    lending.chain.revert_to(untouched)
    for ended in range(1, windows + 1):
        lending.chain.travel_to(drawn_at + ended * WINDOW)
        touch(lending)
    lending.chain.travel_to(now)
    assert (lending.line(), lending.dues()) == at_once
    assert lending.line().pastDueSince == drawn_at + WINDOW


def test_paying_what_is_past_due_cures_without_moving_due_dates(lending):
    drawn_at = lending.delinquent()
    past_due = lending.statement().pastDue
    lending.send(lending.seller, "repay", lending.seller.address, past_due - 1)
    assert lending.statement().delinquent
    lending.send(lending.seller, "repay", lending.seller.address, 1)
    statement = lending.statement()
    assert (statement.delinquent, statement.pastDue, statement.pastDueSince) == (False, 0, 0)
    assert statement.holdbackBps == HOLDBACK
    assert statement.windowEnd == drawn_at + 2 * WINDOW
    assert statement.available > 0


def test_a_cure_in_the_last_second_prevents_default(lending):
    due = lending.drawn() + WINDOW
    lending.chain.travel_to(due + DEFAULT_AFTER - 1)
    past_due = lending.statement().pastDue
    lending.send(lending.seller, "repay", lending.seller.address, past_due)
    lending.chain.travel_to(due + DEFAULT_AFTER)
    statement = lending.statement()
    assert (statement.status, statement.pastDueSince) == (ACTIVE, 0)


def test_after_a_cure_the_days_past_due_count_anew(lending):
    due = lending.drawn() + WINDOW
    lending.chain.travel_to(due + 30 * DAY)
    lending.send(lending.seller, "repay", lending.seller.address, lending.statement().pastDue)
    second = due + WINDOW
    lending.chain.travel_to(second + DEFAULT_AFTER - 1)
    assert lending.statement().status == ACTIVE
    lending.chain.travel_to(second + DEFAULT_AFTER)
    assert lending.statement().status == DEFAULTED


def test_a_partly_paid_miss_still_counts_from_its_first_due_date(lending):
    due = lending.drawn() + WINDOW
    lending.chain.travel_to(due + 80 * DAY)
    lending.send(lending.seller, "repay", lending.seller.address, INSTALLMENT)
    assert lending.line().pastDueSince == due
    lending.chain.travel_to(due + DEFAULT_AFTER)
    assert lending.line().status == DEFAULTED


def test_a_defaulted_line_is_closed_by_being_repaid(lending):
    lending.defaulted()
    receipt = lending.send(lending.seller, "repay", lending.seller.address, FOREVER)
    assert receipt.events(lending.book, "LineClosed") == [{"seller": lending.seller.address}]
    line = lending.line()
    assert (line.status, line.principal, line.interest, line.pastDueSince) == (CLOSED, 0, 0, 0)
    lending.chain.travel(1000 * DAY)
    touch(lending)
    assert lending.line().status == CLOSED


def test_anyone_may_charge_off_from_the_180th_day_past_due(lending):
    due = lending.drawn() + WINDOW
    stranger, seller = lending.accounts.stranger, lending.seller.address
    after = due + 180 * DAY
    lending.chain.travel_to(after - 1)
    lending.refuses(
        stranger,
        "chargeOff",
        seller,
        error="NotPastDueLongEnough",
        pastDueSince=due,
        needed=180 * DAY,
        nowTime=after - 1,
    )
    lending.chain.travel_to(after)
    receipt = lending.send(stranger, "chargeOff", seller)
    # Nobody had touched the line: its default is found out by the same call.
    assert receipt.events(lending.book, "LineDefaulted")
    assert lending.line().status == CHARGED_OFF


def test_the_rate_may_be_nil_and_the_schedule_runs_all_the_same(lending, see):
    drawn_at = lending.drawn(9 * COIN, aprBps=0, drawFeeBps=0)
    line, dues, _ = see(drawn_at + 2 * WINDOW)
    assert (line.interest, tuple(dues)) == (0, (0, 0, 2 * COIN))
    assert line.pastDueSince == drawn_at + WINDOW
