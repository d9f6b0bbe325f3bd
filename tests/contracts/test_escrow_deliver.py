"""Confirm delivery: the operator's word opens the dispute window."""

import pytest

from tests.contracts.escrow import (
    AMOUNT,
    CLOSED,
    DELIVERED,
    DISPUTE_WINDOW,
    MAX_FEE_BPS,
    NONE,
    Order,
)


def test_delivery_opens_the_dispute_window(market, chain, accounts):
    terms = market.authorized()
    with market.moves():
        receipt = market.send(accounts.operator, "confirmDelivery", terms)
    deadline = receipt.timestamp + DISPUTE_WINDOW
    assert market.order(terms) == Order(AMOUNT, 0, deadline, DELIVERED)
    assert receipt.event(market.escrow, "DeliveryConfirmed") == {
        "orderHash": market.hash(terms),
        "disputeDeadline": deadline,
    }


def test_only_the_operator_may_confirm_delivery(market, accounts):
    terms = market.authorized()
    for caller in (accounts.buyer, accounts.seller, accounts.fee_receiver, accounts.stranger):
        market.refuses(caller, "confirmDelivery", terms, error="NotAllowed", caller=caller.address)


def test_another_operators_terms_confirm_nothing(market, accounts):
    market.authorized()
    forged = market.terms(operator=accounts.stranger.address)
    market.refuses(accounts.stranger, "confirmDelivery", forged, error="WrongStatus", actual=NONE)


def test_an_order_never_authorized_cannot_be_delivered(market, accounts):
    terms = market.terms()
    market.refuses(
        accounts.operator,
        "confirmDelivery",
        terms,
        error="WrongStatus",
        orderHash=market.hash(terms),
        actual=NONE,
    )


def test_delivery_is_confirmed_at_most_once(market, accounts):
    terms = market.delivered()
    market.refuses(
        accounts.operator, "confirmDelivery", terms, error="WrongStatus", actual=DELIVERED
    )


@pytest.mark.parametrize("ending", ["void", "release", "reclaim"])
def test_a_closed_order_cannot_be_delivered(market, chain, accounts, ending):
    terms = market.authorized()
    if ending == "void":
        market.send(accounts.operator, "void", terms, AMOUNT)
    elif ending == "release":
        market.send(accounts.buyer, "release", terms, AMOUNT, MAX_FEE_BPS)
    else:
        chain.travel_to(terms.reclaimAfter)
        market.send(accounts.buyer, "reclaim", terms)
    market.refuses(accounts.operator, "confirmDelivery", terms, error="WrongStatus", actual=CLOSED)


@pytest.mark.parametrize("late", [-1, 0, 1])
def test_a_late_delivery_counts_until_the_payer_has_reclaimed(market, chain, accounts, late):
    terms = market.authorized()
    chain.travel_to(terms.reclaimAfter + late)
    market.send(accounts.operator, "confirmDelivery", terms)
    market.refuses(accounts.buyer, "reclaim", terms, error="WrongStatus", actual=DELIVERED)
    # And the coin has a way out that needs neither the operator nor the payer.
    chain.travel_to(market.order(terms).deadline)
    market.send(accounts.stranger, "release", terms, AMOUNT, MAX_FEE_BPS)
    assert market.order(terms).status == CLOSED


def test_without_a_dispute_window_a_delivery_is_released_at_once(market, accounts):
    terms = market.delivered(disputeWindow=0)
    assert market.order(terms).deadline > 0
    market.send(accounts.operator, "release", terms, AMOUNT, MAX_FEE_BPS)


def test_the_rest_of_a_partly_released_order_is_delivered(market, accounts):
    terms = market.authorized()
    market.send(accounts.buyer, "release", terms, AMOUNT // 4, MAX_FEE_BPS)
    market.send(accounts.operator, "confirmDelivery", terms)
    order = market.order(terms)
    assert order[:2] == (AMOUNT - AMOUNT // 4, AMOUNT // 4)
    assert order.status == DELIVERED
