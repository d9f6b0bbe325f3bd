"""Void: held coin goes back to the payer before it is released."""

import pytest

from tests.contracts.escrow import (
    AMOUNT,
    AUTHORIZED,
    CLOSED,
    DELIVERED,
    MAX_FEE_BPS,
    NONE,
    Order,
)


@pytest.mark.parametrize("caller", ["operator", "seller"])
@pytest.mark.parametrize("state", ["authorized", "delivered", "releasable"])
def test_operator_and_seller_may_void_all_that_is_held(market, accounts, state, caller):
    terms = getattr(market, state)()
    before = market.order(terms)
    with market.moves(escrow=-AMOUNT, buyer=AMOUNT):
        receipt = market.send(getattr(accounts, caller), "void", terms, AMOUNT)
    assert market.order(terms) == before._replace(held=0, status=CLOSED)
    assert receipt.event(market.escrow, "PurchaseVoided") == {
        "orderHash": market.hash(terms),
        "amount": AMOUNT,
    }


@pytest.mark.parametrize("caller", ["buyer", "fee_receiver", "stranger"])
def test_nobody_else_may_void(market, accounts, caller):
    terms = market.authorized()
    by = getattr(accounts, caller)
    market.refuses(by, "void", terms, AMOUNT, error="NotAllowed", caller=by.address)


@pytest.mark.parametrize(
    ("state", "status"), [("authorized", AUTHORIZED), ("delivered", DELIVERED)]
)
def test_a_void_of_a_part_keeps_the_order_open(market, accounts, state, status):
    terms = getattr(market, state)()
    part = AMOUNT // 3
    with market.moves(escrow=-part, buyer=part):
        market.send(accounts.seller, "void", terms, part)
    order = market.order(terms)
    assert (order.held, order.refundable, order.status) == (AMOUNT - part, 0, status)
    market.refuses(
        accounts.seller,
        "void",
        terms,
        AMOUNT - part + 1,
        error="InvalidAmount",
        amount=AMOUNT - part + 1,
        limit=AMOUNT - part,
    )
    market.send(accounts.operator, "void", terms, AMOUNT - part)
    assert market.order(terms).status == CLOSED


@pytest.mark.parametrize("amount", [0, AMOUNT + 1, 2**96 + AMOUNT, 2**256 - 1])
def test_a_void_of_zero_or_more_than_is_held_is_refused(market, accounts, amount):
    terms = market.authorized()
    market.refuses(
        accounts.operator,
        "void",
        terms,
        amount,
        error="InvalidAmount",
        amount=amount,
        limit=AMOUNT,
    )


def test_what_was_released_cannot_be_voided(market, accounts):
    terms = market.authorized()
    part = AMOUNT // 4
    market.send(accounts.buyer, "release", terms, part, MAX_FEE_BPS)
    market.refuses(
        accounts.seller,
        "void",
        terms,
        AMOUNT,
        error="InvalidAmount",
        amount=AMOUNT,
        limit=AMOUNT - part,
    )
    market.send(accounts.seller, "void", terms, AMOUNT - part)
    assert market.order(terms) == Order(0, part, 0, CLOSED)


def test_a_closed_order_cannot_be_voided(market, accounts):
    terms = market.authorized()
    market.send(accounts.operator, "void", terms, AMOUNT)
    market.refuses(
        accounts.operator,
        "void",
        terms,
        1,
        error="WrongStatus",
        orderHash=market.hash(terms),
        actual=CLOSED,
    )


def test_an_order_never_authorized_cannot_be_voided(market, accounts):
    market.refuses(accounts.seller, "void", market.terms(), 1, error="WrongStatus", actual=NONE)


def test_a_forged_seller_voids_nothing(market, accounts):
    market.authorized()
    forged = market.terms(payee=accounts.stranger.address)
    market.refuses(accounts.stranger, "void", forged, 1, error="WrongStatus", actual=NONE)


def test_a_void_to_a_frozen_buyer_is_kept_for_the_buyer(market, accounts):
    terms = market.authorized()
    market.freeze(accounts.buyer)
    with market.moves():
        receipt = market.send(accounts.seller, "void", terms, AMOUNT)
    assert receipt.event(market.escrow, "ClaimableCredited") == {
        "account": accounts.buyer.address,
        "orderHash": market.hash(terms),
        "amount": AMOUNT,
    }
    assert market.claimable(accounts.buyer) == AMOUNT
    assert market.order(terms).status == CLOSED


@pytest.mark.parametrize("buyer_is_frozen", [False, True])
def test_nothing_is_voided_while_the_coin_is_paused(market, accounts, buyer_is_frozen):
    terms = market.authorized()
    if buyer_is_frozen:
        market.freeze(accounts.buyer)
    market.pause()
    market.refuses(accounts.seller, "void", terms, AMOUNT, error="CoinPaused")
