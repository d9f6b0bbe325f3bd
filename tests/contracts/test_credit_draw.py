"""Draws: what they do to the line and the coin, and everything that stands in their way."""

import pytest

from tests.contracts.credit import (
    APR,
    BPS_YEAR,
    CHARGED_OFF,
    CLOSED,
    DEFAULTED,
    DRAW,
    GRACE,
    INSTALLMENT,
    LIMIT,
    NONE,
    POOL_CASH,
    PRINCIPAL_CAP,
    RESERVE,
    RESERVE_BPS,
    WINDOW,
    accrued,
)
from tests.contracts.system import COIN, DAY


def refuses(lending, drawn, error, /, **arguments):
    lending.refuses(lending.seller, "draw", drawn, error=error, **arguments)


def set_caps(lending, principal_cap=PRINCIPAL_CAP, reserve_bps=RESERVE_BPS):
    lending.send(lending.accounts.risk, "setCaps", 10 * LIMIT, principal_cap, reserve_bps)


# ------------------------------------------------------------------ what it does


def test_a_draw_moves_coin_of_the_pool_to_the_seller(lending):
    lending.accepted()
    supply = lending.chain.call(lending.coin.functions.totalSupply())
    with lending.moves(pool=-DRAW, seller=DRAW):
        lending.send(lending.seller, "draw", DRAW)
    assert lending.chain.call(lending.coin.functions.totalSupply()) == supply


def test_the_first_draw_opens_a_window(lending):
    lending.accepted()
    receipt = lending.send(lending.seller, "draw", DRAW)
    assert receipt.event(lending.book, "Drawn") == {
        "seller": lending.seller.address,
        "amount": DRAW,
        "fee": 0,
        "principal": DRAW,
        "windowEnd": receipt.timestamp + WINDOW,
    }
    line = lending.line()
    assert (line.principal, line.windowEnd) == (DRAW, receipt.timestamp + WINDOW)
    assert (line.installment, line.installmentDue) == (INSTALLMENT, INSTALLMENT)
    assert (line.pastDueSince, line.hasDues) == (0, False)
    statement = lending.statement()
    assert (statement.principal, statement.available) == (DRAW, LIMIT - DRAW)
    assert (statement.dueInWindow, statement.pastDue) == (INSTALLMENT, 0)


def test_the_totals_count_a_draw(lending):
    drawn_at = lending.drawn(drawFeeBps=100)
    totals = lending.totals()
    assert (totals.principal, totals.issuanceRate) == (DRAW, DRAW * APR)
    fee = DRAW // 100
    elapsed = lending.chain.time - drawn_at
    value = DRAW + (fee * BPS_YEAR + accrued(DRAW, APR, elapsed)) // BPS_YEAR
    assert lending.call("bookValue") == value


@pytest.mark.parametrize("amount", [1, 9, 10, DRAW - 1])
def test_the_installment_is_a_ninth_rounded_up(lending, amount):
    lending.drawn(amount)
    assert lending.line().installment == -(-amount // 9)
    assert lending.line().installmentDue == -(-amount // 9)


@pytest.mark.parametrize(("amount", "fee"), [(1, 1), (100, 1), (101, 2), (COIN, COIN // 100)])
def test_the_fee_of_a_draw_is_rounded_up_and_owed_as_interest(lending, amount, fee):
    lending.accepted(drawFeeBps=100, aprBps=0)
    with lending.moves(pool=-amount, seller=amount):
        receipt = lending.send(lending.seller, "draw", amount)
    assert receipt.event(lending.book, "Drawn")["fee"] == fee
    assert lending.line().interest == fee * BPS_YEAR
    assert lending.statement().payoff == amount + fee


def test_a_later_draw_adds_to_the_installment_of_the_open_window(lending):
    drawn_at = lending.drawn(DRAW // 2)
    lending.send(lending.seller, "repay", lending.seller.address, INSTALLMENT // 5)
    paid = DRAW // 2 - lending.line().principal
    later = lending.send(lending.seller, "draw", DRAW // 2)
    line = lending.line()
    assert line.principal == DRAW - paid
    assert line.windowEnd == drawn_at + WINDOW
    assert later.event(lending.book, "Drawn")["windowEnd"] == drawn_at + WINDOW
    assert line.installment == -(-(DRAW - paid) // 9)
    assert line.installmentDue == line.installment - paid


def test_a_later_draw_may_leave_the_window_settled(lending):
    lending.drawn(DRAW // 2)
    lending.send(lending.seller, "repay", lending.seller.address, DRAW // 4)
    assert lending.line().installmentDue == 0
    lending.send(lending.seller, "draw", 9)
    # The new ninth is less than the old one was.
    assert lending.line().installmentDue == 0


def test_a_line_paid_off_is_drawn_again_in_a_window_of_its_own(lending):
    lending.drawn()
    lending.chain.travel(10 * DAY)
    lending.send(lending.seller, "repay", lending.seller.address, 2 * DRAW)
    lending.chain.travel(10 * DAY)
    receipt = lending.send(lending.seller, "draw", DRAW)
    line = lending.line()
    assert line.windowEnd == receipt.timestamp + WINDOW
    assert line.interest == accrued(DRAW, APR, 1)


# -------------------------------------------------------------- limit, caps, reserve


def test_a_draw_goes_up_to_the_limit_and_no_further(lending):
    lending.accepted()
    refuses(lending, LIMIT + 1, "InvalidAmount", amount=LIMIT + 1, limit=LIMIT)
    lending.send(lending.seller, "draw", LIMIT)
    refuses(lending, 1, "InvalidAmount", amount=1, limit=0)


def test_a_draw_of_nothing_is_refused(lending):
    lending.accepted()
    refuses(lending, 0, "InvalidAmount", amount=0, limit=LIMIT)


def test_an_amount_beyond_any_limit_is_refused(lending):
    lending.accepted()
    refuses(lending, 2**256 - 1, "InvalidAmount", amount=2**256 - 1, limit=LIMIT)


def test_what_is_repaid_may_be_drawn_again(lending):
    lending.drawn(LIMIT)
    lending.send(lending.seller, "repay", lending.seller.address, DRAW)
    available = LIMIT - lending.line().principal
    assert lending.statement().available == available
    refuses(lending, available + 1, "InvalidAmount", limit=available)
    lending.send(lending.seller, "draw", available)
    assert lending.line().principal == LIMIT


def test_the_cap_holds_over_all_lines(lending):
    lending.drawn(seller=lending.accounts.seller2.address)
    lending.accepted()
    set_caps(lending, principal_cap=DRAW + COIN)
    refuses(lending, COIN + 1, "InvalidAmount", amount=COIN + 1, limit=COIN)
    lending.send(lending.seller, "draw", COIN)
    refuses(lending, 1, "InvalidAmount", amount=1, limit=0)
    set_caps(lending, principal_cap=DRAW)
    refuses(lending, 1, "InvalidAmount", amount=1, limit=0)


def test_a_reserve_exactly_enough_allows_a_draw_and_one_unit_less_does_not(lending):
    lending.accepted()
    set_caps(lending, reserve_bps=4_000)
    most = RESERVE * 10_000 // 4_000  # 5,000 coin
    refuses(lending, most + 1, "ReserveTooLow", reserve=RESERVE, needed=RESERVE + 1)
    lending.send(lending.seller, "draw", most)
    refuses(lending, 1, "ReserveTooLow", reserve=RESERVE, needed=RESERVE + 1)
    lending.send(lending.accounts.treasurer, "fundReserve", 1)
    lending.send(lending.seller, "draw", 2)  # four tenths of two, rounded up, are one


def test_no_reserve_is_needed_where_none_is_asked_for(lending):
    lending.accepted()
    set_caps(lending, reserve_bps=0)
    lending.send(lending.accounts.treasurer, "withdrawReserve", lending.seller.address, RESERVE)
    lending.send(lending.seller, "draw", LIMIT)


# --------------------------------------------------------------------------- when


def test_the_term_is_over_at_its_second(lending):
    lending.accepted()
    until = lending.terms().drawUntil
    lending.chain.travel_to(until)
    refuses(lending, COIN, "DrawTermOver", drawUntil=until, nowTime=until)
    assert lending.statement().available == 0


def test_the_second_before_the_term_is_over_draws(lending):
    lending.accepted()
    until = lending.terms().drawUntil
    lending.chain.travel_to(until - 1)
    assert lending.statement().available == LIMIT
    assert lending.send(lending.seller, "draw", COIN).timestamp == until - 1


def test_no_draw_from_the_second_a_window_ends_unpaid_grace_or_not(lending):
    drawn_at = lending.drawn(COIN)
    due = drawn_at + WINDOW
    lending.chain.travel_to(due - 1)
    assert lending.statement().available == LIMIT - COIN
    assert lending.chain.call(lending.function("draw", COIN), by=lending.seller) == ()
    for moment in (due, due + GRACE - 1, due + GRACE):
        lending.chain.travel_to(moment)
        refuses(lending, COIN, "PaymentPastDue", seller=lending.seller.address, since=due)
        assert lending.statement().available == 0


def test_a_cured_line_draws_again(lending):
    lending.delinquent()
    lending.send(lending.seller, "repay", lending.seller.address, lending.statement().pastDue)
    lending.send(lending.seller, "draw", COIN)
    assert lending.line().principal == DRAW - INSTALLMENT + COIN


def test_lines_that_are_not_active_draw_nothing(lending):
    refuses(lending, COIN, "WrongStatus", seller=lending.seller.address, actual=NONE)
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + 2 * WINDOW + 90 * DAY)
    # Nothing has touched the line since: the default is found out by the draw itself.
    refuses(lending, COIN, "WrongStatus", actual=DEFAULTED)
    lending.send(lending.seller, "repay", lending.seller.address, 2 * DRAW)
    refuses(lending, COIN, "WrongStatus", actual=CLOSED)


def test_a_charged_off_line_draws_nothing(lending):
    lending.charged_off()
    refuses(lending, COIN, "WrongStatus", actual=CHARGED_OFF)


# ----------------------------------------------------------------- pauses and cash


def test_a_pause_of_draws_stops_draws_only(lending):
    lending.drawn()
    guardian, treasurer = lending.accounts.guardian, lending.accounts.treasurer
    lending.send(guardian, "pauseDraws")
    refuses(lending, COIN, "DrawsArePaused")
    lending.send(lending.seller, "setHoldback", 2_000)
    lending.send(lending.seller, "repay", lending.seller.address, COIN)
    assert lending.repayment_of(COIN) == COIN // 5
    lending.sale(COIN)
    lending.accepted()
    lending.send(lending.accounts.stranger, "touch", lending.seller.address)
    lending.send(treasurer, "fundReserve", COIN)
    lending.send(lending.accounts.servicer, "waive", lending.seller.address, 1)
    lender = lending.accounts.lender
    lending.pool_send(lender, "withdraw", COIN, lender.address, lender.address)
    lending.send(guardian, "unpauseDraws")
    lending.send(lending.seller, "draw", COIN)


def test_a_pool_without_cash_lends_nothing(lending):
    lending.accepted()
    lending.empty_pool(leave=DRAW - 1)
    refuses(
        lending,
        DRAW,
        "ERC20InsufficientBalance",
        sender=lending.pool.address,
        balance=DRAW - 1,
        needed=DRAW,
    )
    assert lending.line().principal == 0
    lending.send(lending.seller, "draw", DRAW - 1)
    assert lending.cash() == 0


def test_a_seller_who_may_not_receive_draws_nothing(lending):
    lending.accepted()
    lending.freeze(lending.seller)
    refuses(lending, COIN, "AccountIsFrozen", account=lending.seller.address)


def test_nothing_is_drawn_while_the_coin_is_paused(lending):
    lending.accepted()
    lending.pause_coin()
    refuses(lending, COIN, "CoinPaused")


def test_a_draw_neither_gives_nor_takes_from_lenders(lending):
    lending.accepted(drawFeeBps=0)
    assert lending.pool_call("totalAssets") == POOL_CASH
    lending.send(lending.seller, "draw", DRAW)
    # One second's interest apart.
    assert lending.pool_call("totalAssets") == POOL_CASH + accrued(DRAW, APR, 1) // BPS_YEAR
