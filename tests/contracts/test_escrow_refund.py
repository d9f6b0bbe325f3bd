"""Refund: released coin goes back to the payer, out of the seller's own balance."""

import pytest
from eth_utils import keccak

from tests.contracts.escrow import (
    AMOUNT,
    AUTHORIZED,
    CLOSED,
    MAX_FEE_BPS,
    NONE,
    refund_nonce,
)

REF, OTHER_REF = keccak(text="refund 1"), keccak(text="refund 2")


def test_the_sellers_own_transaction_refunds_the_buyer(market, accounts):
    terms = market.released()
    market.approve(accounts.seller, AMOUNT)
    before = market.order(terms)
    with market.moves(seller=-AMOUNT, buyer=AMOUNT):
        receipt = market.send(accounts.seller, "refund", terms, AMOUNT, REF)
    assert market.order(terms) == before._replace(refundable=0)
    assert receipt.event(market.escrow, "PurchaseRefunded") == {
        "orderHash": market.hash(terms),
        "amount": AMOUNT,
        "refundRef": REF,
    }


@pytest.mark.parametrize("relayer", ["operator", "buyer", "stranger"])
def test_anyone_relays_a_refund_signed_by_the_seller(market, accounts, relayer):
    terms = market.released()
    refund = market.signed_refund(terms, AMOUNT, REF)
    with market.moves(seller=-AMOUNT, buyer=AMOUNT):
        receipt = market.send(
            getattr(accounts, relayer), "refundWithSignature", terms, AMOUNT, REF, *refund
        )
    assert receipt.event(market.escrow, "PurchaseRefunded")["refundRef"] == REF
    assert market.order(terms).refundable == 0


@pytest.mark.parametrize("caller", ["buyer", "operator", "fee_receiver", "stranger"])
def test_nobody_can_spend_the_sellers_approval(market, accounts, caller):
    terms = market.released()
    market.approve(accounts.seller, AMOUNT)
    by = getattr(accounts, caller)
    market.refuses(by, "refund", terms, AMOUNT, REF, error="NotAllowed", caller=by.address)


@pytest.mark.parametrize("amount", [0, AMOUNT + 1, 2**96 + AMOUNT, 2**256 - 1])
def test_a_refund_of_zero_or_more_than_was_released_is_refused(market, accounts, amount):
    terms = market.released()
    market.approve(accounts.seller, 2**256 - 1)
    refund = market.signed_refund(terms, amount, REF)
    refused = {"error": "InvalidAmount", "amount": amount, "limit": AMOUNT}
    market.refuses(accounts.seller, "refund", terms, amount, REF, **refused)
    market.refuses(accounts.stranger, "refundWithSignature", terms, amount, REF, *refund, **refused)


def test_refunds_add_up_to_no_more_than_was_released(market, accounts):
    terms = market.released()
    first = AMOUNT // 3
    market.approve(accounts.seller, first)
    market.send(accounts.seller, "refund", terms, first, REF)
    rest = AMOUNT - first
    over = market.signed_refund(terms, rest + 1, OTHER_REF)
    market.refuses(
        accounts.operator,
        "refundWithSignature",
        terms,
        rest + 1,
        OTHER_REF,
        *over,
        error="InvalidAmount",
        amount=rest + 1,
        limit=rest,
    )
    refund = market.signed_refund(terms, rest, OTHER_REF)
    with market.moves(seller=-rest, buyer=rest):
        market.send(accounts.operator, "refundWithSignature", terms, rest, OTHER_REF, *refund)
    assert market.order(terms).refundable == 0


def test_a_signed_refund_is_used_once(market, accounts):
    terms = market.released()
    call = ("refundWithSignature", terms, 1, REF, *market.signed_refund(terms, 1, REF))
    market.send(accounts.stranger, *call)
    market.refuses(
        accounts.stranger,
        *call,
        error="AuthorizationAlreadyUsed",
        nonce=refund_nonce(market.hash(terms), REF),
    )


def test_the_signature_binds_order_amount_and_reference(market, accounts):
    terms = market.released()
    other = market.released(orderRef=keccak(text="another order"))
    refund = market.signed_refund(terms, AMOUNT, REF)
    for changed in ((other, AMOUNT, REF), (terms, AMOUNT - 1, REF), (terms, AMOUNT, OTHER_REF)):
        market.refuses(
            accounts.operator,
            "refundWithSignature",
            *changed,
            *refund,
            error="InvalidSignature",
            signer=accounts.seller.address,
        )


@pytest.mark.parametrize("signer", ["buyer", "operator"])
def test_only_the_sellers_signature_refunds(market, accounts, signer):
    terms = market.released()
    nonce = refund_nonce(market.hash(terms), REF)
    refund = market.sign(getattr(accounts, signer), AMOUNT, nonce, from_=accounts.seller.address)
    market.refuses(
        accounts.operator,
        "refundWithSignature",
        terms,
        AMOUNT,
        REF,
        *refund,
        error="InvalidSignature",
        signer=accounts.seller.address,
    )


def test_a_refund_signed_for_another_chain_or_escrow_is_refused(market, platform, accounts):
    other = platform.deploy_escrow()
    terms = market.released()
    nonce = refund_nonce(market.hash(terms), REF)
    for domain in ({"chain_id": 1}, {"to": other.address}):
        refund = market.sign(accounts.seller, AMOUNT, nonce, **domain)
        market.refuses(
            accounts.operator,
            "refundWithSignature",
            terms,
            AMOUNT,
            REF,
            *refund,
            error="InvalidSignature",
        )


def test_a_refund_signature_expires_to_the_second(market, chain, accounts):
    terms = market.released()
    nonce = refund_nonce(market.hash(terms), REF)
    until = chain.time + 100
    refund = market.sign(accounts.seller, AMOUNT, nonce, valid_before=until)
    call = ("refundWithSignature", terms, AMOUNT, REF, *refund)
    chain.travel_to(until)
    market.refuses(accounts.operator, *call, error="AuthorizationExpired")
    chain.travel_to(until - 1)
    market.send(accounts.operator, *call)


@pytest.mark.parametrize("state", ["authorized", "releasable"])
def test_what_is_only_held_cannot_be_refunded(market, accounts, state):
    terms = getattr(market, state)()
    market.approve(accounts.seller, AMOUNT)
    market.refuses(
        accounts.seller, "refund", terms, 1, REF, error="InvalidAmount", amount=1, limit=0
    )


def test_a_part_released_may_be_refunded_while_the_rest_is_held(market, accounts):
    terms = market.authorized()
    market.send(accounts.buyer, "release", terms, 40, MAX_FEE_BPS)
    market.approve(accounts.seller, 40)
    market.send(accounts.seller, "refund", terms, 30, REF)
    order = market.order(terms)
    assert (order.held, order.refundable, order.status) == (AMOUNT - 40, 10, AUTHORIZED)


def test_a_charge_may_be_refunded(market, accounts):
    terms = market.terms(disputeWindow=0)
    payment = market.payment(terms, AMOUNT)
    market.send(accounts.operator, "charge", terms, AMOUNT, MAX_FEE_BPS, *payment)
    market.approve(accounts.seller, AMOUNT)
    with market.moves(seller=-AMOUNT, buyer=AMOUNT):
        market.send(accounts.seller, "refund", terms, AMOUNT, REF)
    assert market.order(terms).status == CLOSED


def test_an_order_never_authorized_cannot_be_refunded(market, accounts):
    terms = market.terms()
    refused = {"error": "WrongStatus", "orderHash": market.hash(terms), "actual": NONE}
    market.refuses(accounts.seller, "refund", terms, 1, REF, **refused)
    refund = market.signed_refund(terms, 1, REF)
    market.refuses(accounts.operator, "refundWithSignature", terms, 1, REF, *refund, **refused)


def test_a_refund_needs_the_sellers_approval_and_coin(market, chain, accounts):
    terms = market.released()
    market.refuses(
        accounts.seller, "refund", terms, AMOUNT, REF, error="ERC20InsufficientAllowance"
    )
    market.approve(accounts.seller, AMOUNT)
    everything = chain.call(market.coin.functions.balanceOf(accounts.seller.address))
    spend = market.coin.functions.transfer(accounts.seller2.address, everything)
    chain.send(spend, by=accounts.seller)
    market.refuses(accounts.seller, "refund", terms, AMOUNT, REF, error="ERC20InsufficientBalance")


@pytest.mark.parametrize("signed", [False, True])
def test_a_refund_to_a_frozen_buyer_is_kept_for_the_buyer(market, accounts, signed):
    terms = market.released()
    market.approve(accounts.seller, AMOUNT)
    refund = market.signed_refund(terms, AMOUNT, REF)
    market.freeze(accounts.buyer)
    with market.moves(seller=-AMOUNT, escrow=AMOUNT):
        if signed:
            market.send(accounts.operator, "refundWithSignature", terms, AMOUNT, REF, *refund)
        else:
            market.send(accounts.seller, "refund", terms, AMOUNT, REF)
    assert market.claimable(accounts.buyer) == AMOUNT


def test_a_frozen_seller_cannot_refund(market, accounts):
    terms = market.released()
    refund = market.signed_refund(terms, AMOUNT, REF)
    market.freeze(accounts.seller)
    market.refuses(
        accounts.operator,
        "refundWithSignature",
        terms,
        AMOUNT,
        REF,
        *refund,
        error="AccountIsFrozen",
        account=accounts.seller.address,
    )


def test_nothing_is_refunded_while_the_coin_is_paused(market, accounts):
    terms = market.released()
    refund = market.signed_refund(terms, AMOUNT, REF)
    market.freeze(accounts.buyer)
    market.pause()
    market.refuses(
        accounts.operator, "refundWithSignature", terms, AMOUNT, REF, *refund, error="CoinPaused"
    )
    assert market.order(terms).status == CLOSED
