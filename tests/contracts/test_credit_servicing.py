"""What servicer, risk admin, guardian, treasurer and steward may do to lines and to the book."""

import pytest

from tests.contracts.chain import ZERO_ADDRESS, Reverted
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
    INSTALLMENT,
    LIMIT,
    LINE_CAP,
    NONE,
    PRINCIPAL_CAP,
    RESERVE,
    RESERVE_BPS,
    WINDOW,
    accrued,
    rounded_up,
)
from tests.contracts.system import COIN, DAY

# Restricted function -> (role's holder, arguments for `seller`).
RESTRICTED = {
    "grantHoliday": ("servicer", (DAY,)),
    "waive": ("servicer", (1,)),
    "lowerLimit": ("risk", (1,)),
    "setCaps": ("risk", None),
    "pauseDraws": ("guardian", None),
    "unpauseDraws": ("guardian", None),
    "withdrawReserve": ("treasurer", (1,)),
    "setSalesSource": ("steward", (True,)),
}


def arguments_of(lending, name):
    _, rest = RESTRICTED[name]
    if name == "setCaps":
        return (1, 1, 1)
    return () if rest is None else (lending.seller.address, *rest)


@pytest.mark.parametrize("name", RESTRICTED)
def test_only_the_holder_of_the_role_may(lending, name):
    lending.drawn()
    if name == "unpauseDraws":
        lending.send(lending.accounts.guardian, "pauseDraws")
    holder = getattr(lending.accounts, RESTRICTED[name][0])
    arguments = arguments_of(lending, name)
    for account in lending.accounts.all():
        if account is not holder:
            lending.refuses(
                account,
                name,
                *arguments,
                error="AccessManagedUnauthorized",
                caller=account.address,
            )
    lending.send(holder, name, *arguments)


# ------------------------------------------------------------------------- holiday


def holiday(lending, duration):
    return lending.send(lending.accounts.servicer, "grantHoliday", lending.seller.address, duration)


def test_a_holiday_moves_the_due_date_and_interest_goes_on(lending):
    drawn_at = lending.drawn()
    receipt = holiday(lending, 30 * DAY)
    due = drawn_at + WINDOW + 30 * DAY
    assert receipt.event(lending.book, "HolidayGranted") == {
        "seller": lending.seller.address,
        "duration": 30 * DAY,
        "windowEnd": due,
    }
    lending.chain.travel_to(due - 1)
    assert lending.line().pastDueSince == 0
    lending.chain.travel_to(due)
    line = lending.line()
    assert (line.pastDueSince, line.windowEnd) == (due, due + WINDOW)
    assert line.interest == accrued(DRAW, APR, WINDOW + 30 * DAY)


def test_a_holiday_moves_the_days_past_due_too(lending):
    due = lending.drawn() + WINDOW
    lending.chain.travel_to(due + GRACE)
    assert lending.statement().delinquent
    holiday(lending, 20 * DAY)
    statement = lending.statement()
    assert (statement.delinquent, statement.pastDueSince) == (False, due + 20 * DAY)
    assert statement.windowEnd == due + WINDOW + 20 * DAY
    assert statement.pastDue == INSTALLMENT
    lending.chain.travel_to(due + 20 * DAY + DEFAULT_AFTER - 1)
    assert lending.statement().status == ACTIVE
    lending.chain.travel_to(due + 20 * DAY + DEFAULT_AFTER)
    assert lending.statement().status == DEFAULTED


@pytest.mark.parametrize("duration", [DAY, 180 * DAY])
def test_a_holiday_of_the_least_and_of_the_most(lending, duration):
    drawn_at = lending.drawn()
    holiday(lending, duration)
    assert lending.line().windowEnd == drawn_at + WINDOW + duration


@pytest.mark.parametrize("duration", [0, DAY - 1, 180 * DAY + 1, 2**40 - 1])
def test_a_holiday_too_short_or_too_long_is_refused(lending, duration):
    lending.drawn()
    lending.refuses(
        lending.accounts.servicer,
        "grantHoliday",
        lending.seller.address,
        duration,
        error="InvalidDuration",
        duration=duration,
        most=180 * DAY,
    )


def test_a_holiday_comes_too_late_for_a_line_in_default(lending):
    servicer, seller = lending.accounts.servicer, lending.seller.address
    call = ("grantHoliday", seller, DAY)
    lending.refuses(servicer, *call, error="WrongStatus", actual=NONE)
    lending.accepted()
    lending.refuses(servicer, *call, error="NothingOwed", seller=seller)
    drawn_at = lending.send(lending.seller, "draw", DRAW).timestamp
    lending.chain.travel_to(drawn_at + WINDOW + DEFAULT_AFTER)
    lending.refuses(servicer, *call, error="WrongStatus", actual=DEFAULTED)


# ---------------------------------------------------------------------------- waive


def waive(lending, amount):
    return lending.send(lending.accounts.servicer, "waive", lending.seller.address, amount)


def test_waiving_forgives_interest_only(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + DAY)
    before = lending.line().interest
    with lending.moves():
        receipt = waive(lending, COIN)
    assert receipt.event(lending.book, "InterestWaived") == {
        "seller": lending.seller.address,
        "amount": COIN,
    }
    line = lending.line()
    assert (line.principal, line.installmentDue) == (DRAW, INSTALLMENT)
    assert line.interest == before - COIN * BPS_YEAR + DRAW * APR
    assert lending.call("bookValue") == DRAW + line.interest // BPS_YEAR


def test_no_more_is_waived_than_is_owed(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + DAY)
    owed = rounded_up(accrued(DRAW, APR, DAY))
    call = lending.function("waive", lending.seller.address, FOREVER)
    assert lending.chain.call(call, by=lending.accounts.servicer) == owed
    receipt = lending.chain.send(call, by=lending.accounts.servicer)
    assert receipt.event(lending.book, "InterestWaived")["amount"] == owed
    line = lending.line()
    assert (line.principal, line.interest) == (DRAW, DRAW * APR)


def test_waiving_takes_off_past_dues_first_and_cures_when_nothing_else_is_past_due(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + WINDOW)
    lending.send(lending.seller, "repay", lending.seller.address, INSTALLMENT)
    lending.send(lending.seller, "repay", lending.seller.address, 1)
    lending.chain.travel_to(drawn_at + 2 * WINDOW)
    dues = lending.dues()
    assert dues.pastDueInterest > 0 < dues.pastDuePrincipal
    waive(lending, dues.pastDueInterest + COIN)
    after = lending.dues()
    assert (after.pastDueInterest, after.interestDue) == (0, dues.interestDue - COIN)
    assert after.pastDuePrincipal == dues.pastDuePrincipal
    assert lending.line().pastDueSince == drawn_at + 2 * WINDOW
    lending.send(lending.seller, "repay", lending.seller.address, after.pastDuePrincipal)
    assert lending.line().pastDueSince == 0


def test_waiving_the_last_interest_closes_a_line_in_default(lending):
    lending.defaulted()
    lending.send(lending.seller, "repay", lending.seller.address, DRAW)
    owed = lending.statement().interest
    receipt = waive(lending, owed)
    assert receipt.events(lending.book, "LineClosed") == [{"seller": lending.seller.address}]
    assert lending.line().status == CLOSED
    assert lending.call("bookValue") == 0


def test_waiving_all_interest_leaves_principal_in_default(lending):
    lending.defaulted()
    waive(lending, FOREVER)
    assert (lending.line().status, lending.statement().payoff) == (DEFAULTED, DRAW)


def test_there_must_be_interest_to_waive(lending):
    servicer, seller = lending.accounts.servicer, lending.seller.address
    lending.refuses(servicer, "waive", seller, 1, error="WrongStatus", actual=NONE)
    lending.accepted(aprBps=0)
    lending.refuses(servicer, "waive", seller, 1, error="NothingOwed", seller=seller)
    lending.send(lending.seller, "draw", DRAW)
    lending.refuses(servicer, "waive", seller, 1, error="NothingOwed", seller=seller)


def test_waiving_nothing_is_refused(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + DAY)
    lending.refuses(
        lending.accounts.servicer,
        "waive",
        lending.seller.address,
        0,
        error="InvalidAmount",
        amount=0,
        limit=lending.statement().interest,
    )


def test_what_was_written_off_cannot_be_waived(lending):
    lending.charged_off()
    lending.refuses(
        lending.accounts.servicer,
        "waive",
        lending.seller.address,
        1,
        error="WrongStatus",
        actual=CHARGED_OFF,
    )


# ------------------------------------------------------------------- limits and caps


def test_a_limit_is_lowered_and_only_lowered(lending):
    lending.drawn(COIN)
    risk, seller = lending.accounts.risk, lending.seller.address
    receipt = lending.send(risk, "lowerLimit", seller, 2 * COIN)
    assert receipt.event(lending.book, "LimitLowered") == {"seller": seller, "limit": 2 * COIN}
    assert lending.terms()._asdict() | {"drawUntil": 0} == {
        "limit": 2 * COIN,
        "drawUntil": 0,
        "drawFeeBps": 0,
        "agreedHoldbackBps": 1_500,
    }
    assert lending.statement().available == COIN
    for limit in (2 * COIN, 2 * COIN + 1, LIMIT):
        lending.refuses(
            risk, "lowerLimit", seller, limit, error="InvalidLimit", limit=limit, most=2 * COIN
        )


def test_a_limit_may_be_lowered_below_what_is_drawn(lending):
    lending.drawn()
    lending.send(lending.accounts.risk, "lowerLimit", lending.seller.address, 0)
    assert lending.statement().available == 0
    lending.refuses(lending.seller, "draw", 1, error="InvalidAmount", amount=1, limit=0)
    assert lending.line().principal == DRAW
    lending.send(lending.seller, "repay", lending.seller.address, FOREVER)


def test_a_line_that_is_none_has_no_limit_to_lower(lending):
    lending.refuses(
        lending.accounts.risk,
        "lowerLimit",
        lending.seller.address,
        0,
        error="InvalidLimit",
        limit=0,
        most=0,
    )


def test_caps_are_set_together(lending):
    risk = lending.accounts.risk
    receipt = lending.send(risk, "setCaps", 1, 2, 10_000)
    expected = {"lineCap": 1, "principalCap": 2, "reserveBps": 10_000}
    assert receipt.event(lending.book, "CapsSet") == expected
    totals = lending.totals()
    assert (lending.call("lineCap"), totals.principalCap, totals.reserveBps) == (1, 2, 10_000)
    assert totals.reserve == RESERVE


@pytest.mark.parametrize("caps", [(LINE_CAP, PRINCIPAL_CAP, 10_001), (LINE_CAP, 2**64, 0)])
def test_caps_out_of_bounds_are_refused(lending, caps):
    lending.refuses(lending.accounts.risk, "setCaps", *caps, error="InvalidCaps")


def test_a_draw_of_the_highest_cap_fits_the_books(lending):
    most = 2**64 - 1
    lending.send(lending.accounts.risk, "setCaps", 2**72 - 1, most, 0)
    lending.accepted(limit=2**72 - 1, aprBps=2_000, drawFeeBps=1_000)
    lending.refuses(lending.seller, "draw", most + 1, error="InvalidAmount", limit=most)
    # It fails for want of coin, when everything has been written.
    lending.refuses(lending.seller, "draw", most, error="ERC20InsufficientBalance")


def test_caps_lowered_leave_lines_as_they_are(lending):
    lending.drawn()
    lending.send(lending.accounts.risk, "setCaps", 0, 0, RESERVE_BPS)
    assert (lending.line().principal, lending.terms().limit) == (DRAW, LIMIT)
    lending.send(lending.seller, "repay", lending.seller.address, FOREVER)


# -------------------------------------------------------------------------- pauses


def test_draws_are_paused_and_unpaused_once(lending):
    guardian = lending.accounts.guardian
    lending.refuses(guardian, "unpauseDraws", error="DrawsAreNotPaused")
    receipt = lending.send(guardian, "pauseDraws")
    assert receipt.event(lending.book, "DrawsPaused") == {"account": guardian.address}
    assert lending.totals().drawsPaused
    lending.refuses(guardian, "pauseDraws", error="DrawsArePaused")
    receipt = lending.send(guardian, "unpauseDraws")
    assert receipt.event(lending.book, "DrawsUnpaused") == {"account": guardian.address}
    assert not lending.totals().drawsPaused


# ------------------------------------------------------------------------- reserve


def test_anyone_may_fund_the_reserve(lending):
    with lending.moves(buyer=-COIN, book=COIN):
        receipt = lending.send(lending.accounts.buyer, "fundReserve", COIN)
    assert receipt.event(lending.book, "ReserveFunded") == {
        "from": lending.accounts.buyer.address,
        "amount": COIN,
    }
    assert lending.totals().reserve == RESERVE + COIN


def test_funding_the_reserve_needs_an_amount_and_the_coin(lending):
    buyer = lending.accounts.buyer
    lending.refuses(buyer, "fundReserve", 0, error="InvalidAmount", amount=0)
    lending.refuses(
        lending.accounts.lender, "fundReserve", COIN, error="ERC20InsufficientAllowance"
    )
    lending.refuses(buyer, "fundReserve", 2**72, error="SafeCastOverflowedUintDowncast")


def test_coin_sent_to_the_book_is_no_reserve(lending):
    lending.coin_send(lending.accounts.buyer, "transfer", lending.book.address, COIN)
    assert lending.totals().reserve == RESERVE
    lending.refuses(
        lending.accounts.treasurer,
        "withdrawReserve",
        lending.accounts.buyer.address,
        RESERVE + 1,
        error="InvalidAmount",
        limit=RESERVE,
    )


def test_the_reserve_is_withdrawn_down_to_what_principal_needs(lending):
    lending.drawn(DRAW + 1)
    needed = DRAW // 10 + 1
    treasurer, to = lending.accounts.treasurer, lending.accounts.fee_receiver
    free = RESERVE - needed
    for amount in (0, free + 1):
        lending.refuses(
            treasurer,
            "withdrawReserve",
            to.address,
            amount,
            error="InvalidAmount",
            amount=amount,
            limit=free,
        )
    with lending.moves(book=-free, fee_receiver=free):
        receipt = lending.send(treasurer, "withdrawReserve", to.address, free)
    assert receipt.event(lending.book, "ReserveWithdrawn") == {"to": to.address, "amount": free}
    assert lending.totals().reserve == needed


def test_a_reserve_too_small_is_not_withdrawn_from(lending):
    lending.drawn()
    lending.send(lending.accounts.risk, "setCaps", LINE_CAP, PRINCIPAL_CAP, 10_000)
    lending.refuses(
        lending.accounts.treasurer,
        "withdrawReserve",
        lending.seller.address,
        1,
        error="InvalidAmount",
        limit=0,
    )


# ------------------------------------------------------------------- sales sources


def test_the_steward_says_who_reports_sales(lending):
    steward, source = lending.accounts.steward, lending.accounts.buyer.address
    receipt = lending.send(steward, "setSalesSource", source, True)
    assert receipt.event(lending.book, "SalesSourceSet") == {"source": source, "allowed": True}
    assert lending.call("isSalesSource", source)
    lending.send(steward, "setSalesSource", source, False)
    assert not lending.call("isSalesSource", source)


# -------------------------------------------------------------- the contract itself


def test_what_the_book_says_of_itself(lending):
    assert lending.call("coin") == lending.coin.address
    assert lending.call("pool") == lending.pool.address
    assert lending.call("BPS_YEAR") == BPS_YEAR
    assert (lending.call("UNDERWRITER_ROLE"), lending.call("SERVICER_ROLE")) == (7, 8)
    assert lending.chain.call(lending.pool.functions.creditBook()) == lending.book.address


@pytest.mark.parametrize("missing", ["coin", "pool"])
def test_the_book_is_not_deployed_without_coin_or_pool(lending, missing):
    parts = {"coin": lending.coin.address, "pool": lending.pool.address}
    # An address without code is no coin; the pool may come later, but must have an address.
    parts[missing] = lending.accounts.stranger.address if missing == "coin" else ZERO_ADDRESS
    with pytest.raises(Reverted, match="InvalidContract") as caught:
        lending.chain.deploy(
            "CreditBook", *parts.values(), lending.system.manager.address, by=lending.accounts.admin
        )
    assert caught.value.arguments == {"given": parts[missing]}
