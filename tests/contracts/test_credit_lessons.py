"""What audits of other lenders found, each as a test named after the finding."""

import pytest

from tests.contracts.credit import (
    ACTIVE,
    APR,
    BPS_YEAR,
    DRAW,
    FOREVER,
    GRACE,
    LIMIT,
    LINE_CAP,
    PRINCIPAL_CAP,
    RESERVE_BPS,
    WINDOW,
    accrued,
    rounded_up,
)
from tests.contracts.system import COIN, DAY


def test_dust_payments_do_not_round_interest_to_zero(lending):
    """A unit at a time, each before a whole unit has accrued, pays no less than all at once."""
    principal = 10_000  # accrues a unit in about nine hours
    drawn_at = lending.drawn(principal)
    paid = 0
    for hour in range(1, 25):
        lending.chain.travel_to(drawn_at + hour * 3_600)
        receipt = lending.send(lending.seller, "repay", lending.seller.address, 1)
        paid += receipt.event(lending.book, "Repaid")["interestPaid"]
    # A payment on principal needs all interest first, rounded up: so these paid no principal.
    assert (paid, lending.line().principal) == (24, principal)
    assert paid * BPS_YEAR >= accrued(principal, APR, DAY)


def test_a_dust_payment_takes_the_whole_unit_it_was_rounded_up_to(lending):
    lending.drawn(1)
    assert lending.statement().payoff == 2
    with lending.moves(seller=-2, pool=2):
        lending.send(lending.seller, "repay", lending.seller.address, FOREVER)


def test_poking_does_not_round_interest_to_zero(lending):
    """Touched every second, a line accrues to the bps-second what it does untouched."""
    poked, left = lending.seller.address, lending.accounts.seller2.address
    for seller in (poked, left):
        lending.accepted(seller=seller)
    first = lending.send(lending.seller, "draw", 3).timestamp
    second = lending.send(lending.accounts.seller2, "draw", 3).timestamp
    for _ in range(50):
        lending.send(lending.accounts.stranger, "touch", poked)
    now = lending.chain.time
    assert lending.line(poked).interest == accrued(3, APR, now - first)
    assert lending.line(left).interest == accrued(3, APR, now - second)
    assert lending.totals().issuanceRate == 6 * APR


@pytest.mark.parametrize("seconds", [0, 1, 11_087, WINDOW - 2, WINDOW, 2 * WINDOW + 1])
def test_repay_all_is_not_off_by_one(lending, seconds):
    lending.drawn(DRAW - 1)
    lending.chain.travel(seconds)
    payoff = lending.statement().payoff
    snapshot = lending.chain.snapshot()
    lending.send(lending.seller, "repay", lending.seller.address, payoff)
    line = lending.line()
    assert (line.principal, line.interest, line.windowEnd, line.hasDues) == (0, 0, 0, False)
    assert lending.call("bookValue") == 0
    lending.chain.revert_to(snapshot)
    lending.send(lending.seller, "repay", lending.seller.address, payoff - 1)
    assert lending.line().principal == 1


def test_a_changed_limit_does_not_skip_the_cap(lending):
    lending.drawn(COIN)
    too_much = lending.offer(limit=LINE_CAP + 1)
    signature = lending.sign_offer(too_much)
    lending.refuses(lending.seller, "accept", too_much, signature, error="InvalidLimit")
    # Signed under a higher cap, accepted under a lower one.
    offer = lending.offer(limit=LIMIT)
    lending.send(lending.accounts.risk, "setCaps", LIMIT - 1, PRINCIPAL_CAP, RESERVE_BPS)
    lending.refuses(
        lending.seller,
        "accept",
        offer,
        lending.sign_offer(offer),
        error="InvalidLimit",
        limit=LIMIT,
        most=LIMIT - 1,
    )
    # And a limit once granted never lets draws pass the cap of all lines.
    lending.send(lending.accounts.risk, "setCaps", LIMIT, 2 * COIN, RESERVE_BPS)
    lending.refuses(
        lending.seller, "draw", COIN + 1, error="InvalidAmount", amount=COIN + 1, limit=COIN
    )


def test_paying_a_line_off_does_not_unpause_it(lending):
    lending.drawn()
    lending.send(lending.accounts.guardian, "pauseDraws")
    lending.send(lending.seller, "repay", lending.seller.address, FOREVER)
    assert lending.totals().drawsPaused
    lending.refuses(lending.seller, "draw", COIN, error="DrawsArePaused")


def test_paying_a_line_off_does_not_restore_its_limit_or_term(lending):
    lending.drawn(termDays=1)
    lending.send(lending.accounts.risk, "lowerLimit", lending.seller.address, COIN)
    lending.chain.travel(DAY)
    terms = lending.terms()
    lending.send(lending.seller, "repay", lending.seller.address, FOREVER)
    assert lending.terms() == terms
    lending.refuses(lending.seller, "draw", 1, error="DrawTermOver")


def test_a_defaulted_line_paid_off_does_not_draw_again(lending):
    lending.defaulted()
    lending.send(lending.seller, "repay", lending.seller.address, FOREVER)
    lending.refuses(lending.seller, "draw", 1, error="WrongStatus")
    assert lending.statement().available == 0


def test_impairment_does_not_move_due_dates(lending):
    """Only a holiday moves a due date: no miss, cap, lower limit, waiver or touch does."""
    due = lending.drawn() + WINDOW
    lending.chain.travel_to(due + GRACE)
    seller = lending.seller.address
    steps = [
        (lending.accounts.stranger, "touch", seller),
        (lending.accounts.risk, "lowerLimit", seller, 0),
        (lending.accounts.risk, "setCaps", 0, 0, 0),
        (lending.accounts.guardian, "pauseDraws"),
        (lending.accounts.servicer, "waive", seller, 1),
        (lending.seller, "repay", seller, 1),
        (lending.seller, "setHoldback", 2_500),
    ]
    for by, name, *arguments in steps:
        lending.send(by, name, *arguments)
        line = lending.line()
        assert (line.windowEnd, line.pastDueSince) == (due + WINDOW, due), name
    lending.chain.travel_to(due + 90 * DAY - 1)
    assert lending.line().status == ACTIVE
    lending.chain.travel_to(due + 90 * DAY)
    lending.send(lending.accounts.stranger, "touch", seller)
    assert lending.line().pastDueSince == due


def test_expiry_is_the_first_second_that_is_too_late(lending):
    """`now >= expires` everywhere: an offer, an intent, and the term of draws."""
    now = lending.chain.time
    expired = lending.offer(expires=now)
    lending.refuses(
        lending.seller, "accept", expired, lending.sign_offer(expired), error="OfferExpired"
    )
    message = {"seller": lending.seller.address, "holdbackBps": 2_000, "nonce": 0, "deadline": now}
    signature = lending.sign(lending.seller, "Holdback", message)
    lending.refuses(
        lending.seller,
        "setHoldbackWithSignature",
        *message.values(),
        signature,
        error="IntentExpired",
    )
    lending.accepted(termDays=1)
    lending.chain.travel_to(lending.terms().drawUntil)
    lending.refuses(lending.seller, "draw", COIN, error="DrawTermOver")


def test_interest_is_rounded_up_once_and_only_when_paid(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + 7 * DAY + 13)
    exact = accrued(DRAW, APR, 7 * DAY + 13)
    assert exact % BPS_YEAR != 0
    assert lending.statement().interest == rounded_up(exact)
    assert lending.call("bookValue") == DRAW + exact // BPS_YEAR
