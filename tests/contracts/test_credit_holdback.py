"""The seller's own choice of the holdback."""

import pytest

from tests.contracts.credit import DRAW, HOLDBACK, NONE
from tests.contracts.system import COIN

MOST = 2_500


def test_a_seller_chooses_a_share_of_his_sales(lending):
    lending.drawn()
    receipt = lending.send(lending.seller, "setHoldback", 2_000)
    assert receipt.event(lending.book, "HoldbackSet") == {
        "seller": lending.seller.address,
        "holdbackBps": 2_000,
    }
    assert lending.line().holdbackBps == lending.statement().holdbackBps == 2_000
    assert lending.repayment_of(100 * COIN) == 20 * COIN
    assert lending.terms().agreedHoldbackBps == HOLDBACK


@pytest.mark.parametrize("chosen", [HOLDBACK, MOST])
def test_the_bounds_themselves_may_be_chosen(lending, chosen):
    lending.accepted()
    lending.send(lending.seller, "setHoldback", chosen)
    assert lending.line().holdbackBps == chosen


@pytest.mark.parametrize("chosen", [0, HOLDBACK - 1, MOST + 1])
def test_a_share_outside_the_bounds_is_refused(lending, chosen):
    lending.accepted()
    lending.refuses(
        lending.seller,
        "setHoldback",
        chosen,
        error="InvalidHoldback",
        holdbackBps=chosen,
        least=HOLDBACK,
        most=MOST,
    )


def test_a_share_raised_once_may_be_lowered_to_what_was_agreed(lending):
    lending.accepted()
    lending.send(lending.seller, "setHoldback", MOST)
    lending.send(lending.seller, "setHoldback", HOLDBACK)
    assert lending.line().holdbackBps == HOLDBACK


def test_who_has_no_line_has_no_holdback(lending):
    lending.refuses(
        lending.seller,
        "setHoldback",
        HOLDBACK,
        error="WrongStatus",
        seller=lending.seller.address,
        actual=NONE,
    )


def test_a_new_offer_sets_the_share_anew(lending):
    lending.accepted()
    lending.send(lending.seller, "setHoldback", MOST)
    lending.accepted(holdbackBps=500)
    assert lending.line().holdbackBps == 500
    lending.send(lending.seller, "setHoldback", 500)


def test_changing_the_share_changes_nothing_else(lending):
    lending.drawn()
    before = lending.line()
    lending.send(lending.seller, "setHoldback", 2_000)
    after = lending.line()
    assert after.interest - before.interest == DRAW * after.aprBps  # a second later
    assert after._replace(accruedAt=0, interest=0, holdbackBps=0) == before._replace(
        accruedAt=0, interest=0, holdbackBps=0
    )
