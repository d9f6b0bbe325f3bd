"""Reclaim: what was not delivered in time the payer takes back, without any operator."""

import pytest

from tests.contracts.escrow import (
    AMOUNT,
    CLOSED,
    DELIVERED,
    MAX_FEE_BPS,
    NONE,
    Order,
)


@pytest.mark.parametrize("late", [0, 1])
def test_the_payer_reclaims_from_reclaim_after_on(market, chain, accounts, late):
    terms = market.authorized()
    chain.travel_to(terms.reclaimAfter + late)
    with market.moves(escrow=-AMOUNT, buyer=AMOUNT):
        receipt = market.send(accounts.buyer, "reclaim", terms)
    assert market.order(terms) == Order(0, 0, 0, CLOSED)
    assert receipt.event(market.escrow, "PurchaseReclaimed") == {
        "orderHash": market.hash(terms),
        "amount": AMOUNT,
    }


def test_a_second_before_reclaim_after_is_too_early(market, chain, accounts):
    terms = market.authorized()
    chain.travel_to(terms.reclaimAfter - 1)
    market.refuses(
        accounts.buyer,
        "reclaim",
        terms,
        error="ReclaimTooEarly",
        reclaimAfter=terms.reclaimAfter,
        nowTime=terms.reclaimAfter - 1,
    )


@pytest.mark.parametrize("caller", ["operator", "seller", "fee_receiver", "stranger"])
def test_only_the_payer_reclaims(market, chain, accounts, caller):
    terms = market.authorized()
    chain.travel_to(terms.reclaimAfter)
    by = getattr(accounts, caller)
    market.refuses(by, "reclaim", terms, error="NotAllowed", caller=by.address)


def test_what_is_delivered_cannot_be_reclaimed(market, chain, accounts):
    terms = market.delivered()
    chain.travel_to(terms.reclaimAfter)
    market.refuses(
        accounts.buyer,
        "reclaim",
        terms,
        error="WrongStatus",
        orderHash=market.hash(terms),
        actual=DELIVERED,
    )


def test_what_was_reclaimed_cannot_be_reclaimed_or_released_again(market, chain, accounts):
    terms = market.authorized()
    chain.travel_to(terms.reclaimAfter)
    market.send(accounts.buyer, "reclaim", terms)
    for call in (("reclaim", terms), ("release", terms, AMOUNT, MAX_FEE_BPS)):
        market.refuses(accounts.buyer, *call, error="WrongStatus", actual=CLOSED)


def test_an_order_never_authorized_cannot_be_reclaimed(market, chain, accounts):
    terms = market.terms()
    chain.travel_to(terms.reclaimAfter)
    market.refuses(accounts.buyer, "reclaim", terms, error="WrongStatus", actual=NONE)


def test_the_payer_reclaims_only_what_is_still_held(market, chain, accounts):
    terms = market.authorized()
    market.send(accounts.buyer, "release", terms, AMOUNT // 2, MAX_FEE_BPS)
    market.send(accounts.seller, "void", terms, AMOUNT // 4)
    rest = AMOUNT - AMOUNT // 2 - AMOUNT // 4
    chain.travel_to(terms.reclaimAfter)
    with market.moves(escrow=-rest, buyer=rest):
        market.send(accounts.buyer, "reclaim", terms)
    assert market.order(terms) == Order(0, AMOUNT // 2, 0, CLOSED)


def test_a_reclaim_by_a_frozen_buyer_is_kept_for_the_buyer(market, chain, accounts):
    terms = market.authorized()
    market.freeze(accounts.buyer)
    chain.travel_to(terms.reclaimAfter)
    with market.moves():
        market.send(accounts.buyer, "reclaim", terms)
    assert market.claimable(accounts.buyer) == AMOUNT


@pytest.mark.parametrize("buyer_is_frozen", [False, True])
def test_nothing_is_reclaimed_while_the_coin_is_paused(market, chain, accounts, buyer_is_frozen):
    terms = market.authorized()
    if buyer_is_frozen:
        market.freeze(accounts.buyer)
    market.pause()
    chain.travel_to(terms.reclaimAfter)
    market.refuses(accounts.buyer, "reclaim", terms, error="CoinPaused")
