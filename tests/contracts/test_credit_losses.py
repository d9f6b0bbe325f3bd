"""Charge-off and recovery: the reserve bears a loss first, and is made good last."""

import pytest
from eth_utils import keccak

from tests.contracts.chain import ZERO_ADDRESS
from tests.contracts.credit import (
    ACTIVE,
    APR,
    CHARGED_OFF,
    CLOSED,
    DEFAULT_AFTER,
    DEFAULTED,
    DRAW,
    FOREVER,
    NONE,
    RESERVE,
    WINDOW,
    accrued,
    rounded_up,
)
from tests.contracts.system import COIN

INTEREST = rounded_up(accrued(DRAW, APR, WINDOW + DEFAULT_AFTER))
LOSS = DRAW + INTEREST
POOL_LOSS = LOSS - RESERVE
REF = keccak(text="recovery")


def charge_off(lending, by=None):
    return lending.send(by or lending.accounts.servicer, "chargeOff", lending.seller.address)


def repay(lending, amount):
    return lending.send(lending.seller, "repay", lending.seller.address, amount)


# ---------------------------------------------------------------------- charging off


def test_a_loss_takes_the_reserve_first(lending):
    lending.defaulted()
    with lending.moves(book=-RESERVE, pool=RESERVE):
        receipt = charge_off(lending)
    assert receipt.event(lending.book, "LineChargedOff") == {
        "seller": lending.seller.address,
        "principal": DRAW,
        "interest": INTEREST,
        "fromReserve": RESERVE,
        "poolLoss": POOL_LOSS,
    }
    assert tuple(lending.loss()) == (POOL_LOSS, RESERVE)
    line = lending.line()
    assert (line.status, line.principal, line.interest) == (CHARGED_OFF, 0, 0)
    totals = lending.totals()
    assert (totals.principal, totals.reserve, totals.accountedInterest) == (0, 0, 0)
    statement = lending.statement()
    assert statement.payoff == statement.pastDue == LOSS
    assert (statement.principal, statement.available) == (0, 0)


def test_a_loss_within_the_reserve_costs_lenders_nothing(lending):
    lending.send(lending.accounts.treasurer, "fundReserve", 2 * LOSS)
    lending.defaulted()
    price = lending.pool_call("convertToAssets", 10**12)
    with lending.moves(book=-LOSS, pool=LOSS):
        receipt = charge_off(lending)
    event = receipt.event(lending.book, "LineChargedOff")
    assert (event["fromReserve"], event["poolLoss"]) == (LOSS, 0)
    assert lending.totals().reserve == RESERVE + LOSS
    assert lending.pool_call("convertToAssets", 10**12) >= price


def test_without_a_reserve_the_loss_is_the_lenders(lending):
    lending.drawn()
    lending.send(lending.accounts.risk, "setCaps", DRAW, DRAW, 0)
    lending.send(lending.accounts.treasurer, "withdrawReserve", lending.seller.address, RESERVE)
    lending.chain.travel(WINDOW + DEFAULT_AFTER)
    with lending.moves():
        receipt = charge_off(lending)
    event = receipt.event(lending.book, "LineChargedOff")
    assert event["fromReserve"] == 0
    assert event["poolLoss"] == event["principal"] + event["interest"]
    assert lending.loss().toReserve == 0


def test_the_pools_assets_fall_by_the_recorded_loss(lending):
    lending.defaulted()
    before = lending.pool_call("totalAssets")
    charge_off(lending)
    # The book counts interest rounded down, the loss rounded up: a unit between them.
    assert before - lending.pool_call("totalAssets") in (POOL_LOSS, POOL_LOSS - 1)


def test_the_servicer_may_charge_off_at_once_and_others_may_not(lending):
    due = lending.defaulted() - DEFAULT_AFTER
    for other in (lending.accounts.stranger, lending.accounts.risk, lending.accounts.admin):
        lending.refuses(
            other,
            "chargeOff",
            lending.seller.address,
            error="NotPastDueLongEnough",
            pastDueSince=due,
        )
    charge_off(lending)


def test_a_servicer_with_an_execution_delay_waits_as_everybody_does(lending):
    lending.defaulted()
    servicer = lending.accounts.servicer
    grant = lending.system.manager.functions.grantRole(8, servicer.address, 86_400)
    lending.chain.send(grant, by=lending.accounts.admin)
    lending.refuses(servicer, "chargeOff", lending.seller.address, error="NotPastDueLongEnough")


def test_only_a_line_in_default_is_charged_off(lending):
    servicer, seller = lending.accounts.servicer, lending.seller.address

    def refuses(status):
        lending.refuses(
            servicer, "chargeOff", seller, error="WrongStatus", seller=seller, actual=status
        )

    refuses(NONE)
    drawn_at = lending.drawn()
    refuses(ACTIVE)
    lending.chain.travel_to(drawn_at + WINDOW + DEFAULT_AFTER - 1)
    refuses(ACTIVE)
    lending.chain.travel_to(drawn_at + WINDOW + DEFAULT_AFTER)
    charge_off(lending)
    refuses(CHARGED_OFF)


def test_a_line_repaid_after_default_is_not_charged_off(lending):
    lending.defaulted()
    repay(lending, FOREVER)
    lending.refuses(
        lending.accounts.servicer,
        "chargeOff",
        lending.seller.address,
        error="WrongStatus",
        actual=CLOSED,
    )


# --------------------------------------------------------------- recovery by payments


def test_recovery_makes_good_the_pool_before_the_reserve(lending):
    lending.charged_off()
    with lending.moves(seller=-POOL_LOSS + 1, pool=POOL_LOSS - 1):
        receipt = repay(lending, POOL_LOSS - 1)
    assert receipt.event(lending.book, "Recovered") == {
        "seller": lending.seller.address,
        "payer": lending.seller.address,
        "orderHash": b"\0" * 32,
        "toPool": POOL_LOSS - 1,
        "toReserve": 0,
    }
    assert tuple(lending.loss()) == (1, RESERVE)
    with lending.moves(seller=-COIN, pool=1, book=COIN - 1):
        receipt = repay(lending, COIN)
    event = receipt.event(lending.book, "Recovered")
    assert (event["toPool"], event["toReserve"]) == (1, COIN - 1)
    assert tuple(lending.loss()) == (0, RESERVE - COIN + 1)
    assert lending.totals().reserve == COIN - 1


def test_no_more_is_recovered_than_was_written_off(lending):
    lending.charged_off()
    with lending.moves(seller=-LOSS, pool=POOL_LOSS, book=RESERVE):
        repay(lending, FOREVER)
    assert tuple(lending.loss()) == (0, 0)
    assert lending.totals().reserve == RESERVE
    assert lending.statement().payoff == 0
    assert lending.line().status == CHARGED_OFF
    seller = lending.seller.address
    lending.refuses(lending.seller, "repay", seller, 1, error="NothingOwed", seller=seller)


def test_a_charged_off_debt_bears_no_interest(lending):
    lending.charged_off()
    lending.chain.travel(1000 * 86_400)
    assert lending.statement().payoff == LOSS
    lending.refuses(
        lending.seller,
        "repay",
        lending.seller.address,
        0,
        error="InvalidAmount",
        amount=0,
        limit=LOSS,
    )


def test_a_signed_payment_recovers_too_and_the_rest_goes_back(lending):
    lending.charged_off()
    arguments = lending.signed_repayment(lending.accounts.buyer, LOSS + COIN, REF)
    stranger = lending.accounts.stranger
    with lending.moves(buyer=-LOSS, pool=POOL_LOSS, book=RESERVE):
        receipt = lending.send(stranger, "repayWithAuthorization", *arguments)
    assert receipt.event(lending.book, "Recovered")["payer"] == lending.accounts.buyer.address


# ------------------------------------------------------------------ recovery by sales


def test_sales_recover_the_pools_part_first(lending):
    lending.charged_off()
    share = 2_500  # of 15 and 10 points more
    net = 100 * COIN
    with lending.moves(operator=-net * share // 10_000, pool=net * share // 10_000):
        receipt = lending.sale(net, order=REF)
    assert receipt.event(lending.book, "Recovered") == {
        "seller": lending.seller.address,
        "payer": lending.accounts.operator.address,
        "orderHash": REF,
        "toPool": net * share // 10_000,
        "toReserve": 0,
    }


def test_a_sale_pays_the_pool_or_the_reserve_not_both(lending):
    lending.charged_off()
    repay(lending, POOL_LOSS - 1)
    # What would go to the reserve waits for the next sale.
    assert lending.repayment_of(100 * COIN) == 1
    with lending.moves(operator=-1, pool=1):
        lending.sale(100 * COIN)
    assert tuple(lending.loss()) == (0, RESERVE)


def test_the_reserves_part_of_a_sale_passes_through_the_pool(lending):
    lending.charged_off()
    repay(lending, POOL_LOSS)
    with lending.moves(operator=-25 * COIN, book=25 * COIN):
        receipt = lending.sale(100 * COIN)
    event = receipt.event(lending.book, "Recovered")
    assert (event["toPool"], event["toReserve"]) == (0, 25 * COIN)
    assert lending.totals().reserve == 25 * COIN
    with lending.moves(operator=-RESERVE + 25 * COIN, book=RESERVE - 25 * COIN):
        lending.sale(100 * RESERVE)
    assert tuple(lending.loss()) == (0, 0)
    assert lending.repayment_of(100 * COIN) == 0


@pytest.mark.parametrize(("cash", "repayment"), [(25 * COIN - 1, 0), (25 * COIN, 25 * COIN)])
def test_a_pool_without_cash_passes_nothing_on_and_the_sale_goes_through(lending, cash, repayment):
    lending.charged_off()
    repay(lending, POOL_LOSS)
    lending.empty_pool(leave=cash)
    with lending.moves(**({"operator": -repayment, "book": repayment} if repayment else {})):
        receipt = lending.sale(100 * COIN)
    assert len(receipt.events(lending.book, "Recovered")) == bool(repayment)
    assert lending.loss().toReserve == RESERVE - repayment


def test_a_pool_without_cash_takes_its_own_part(lending):
    lending.charged_off()
    lending.empty_pool()
    with lending.moves(operator=-25 * COIN, pool=25 * COIN):
        lending.sale(100 * COIN)
    assert lending.loss().toPool == POOL_LOSS - 25 * COIN


def test_a_sale_of_nothing_recovers_nothing(lending):
    lending.charged_off()
    assert lending.sale(0).logs == []
    repay(lending, POOL_LOSS)
    assert lending.sale(0).logs == []


def test_the_reserve_recovered_may_be_lent_against_again(lending):
    lending.charged_off()
    other = lending.accounts.seller2
    lending.accepted(seller=other.address)
    lending.refuses(other, "draw", 10, error="ReserveTooLow", reserve=0, needed=1)
    repay(lending, POOL_LOSS + 1)
    lending.send(other, "draw", 10)


def test_a_default_found_out_by_a_sale_repays_principal_first(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + WINDOW + DEFAULT_AFTER)
    receipt = lending.sale(100 * COIN)
    assert receipt.events(lending.book, "LineDefaulted")
    event = receipt.event(lending.book, "Repaid")
    assert (event["interestPaid"], event["principalPaid"]) == (0, 25 * COIN)
    assert lending.line().status == DEFAULTED


def test_nobody_has_a_loss_who_was_not_charged_off(lending):
    assert tuple(lending.loss(ZERO_ADDRESS)) == (0, 0)
    lending.defaulted()
    assert tuple(lending.loss()) == (0, 0)
