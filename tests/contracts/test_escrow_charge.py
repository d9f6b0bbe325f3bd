"""Charge: authorized and released at once, where the signed terms ask for no escrow."""

import pytest

from tests.contracts.escrow import (
    AMOUNT,
    AUTHORIZED,
    CLOSED,
    DAY,
    MAX_FEE_BPS,
    MIN_FEE_BPS,
    Order,
)


def charged(market, amount=AMOUNT, fee_bps=MAX_FEE_BPS):
    """Arguments of a charge that is right in everything."""
    terms = market.terms(disputeWindow=0)
    return "charge", terms, amount, fee_bps, *market.payment(terms, amount)


def test_a_charge_pays_the_seller_at_once(market, accounts):
    call = charged(market)
    terms = call[1]
    fee = AMOUNT * MAX_FEE_BPS // 10_000
    with market.moves(buyer=-AMOUNT, seller=AMOUNT - fee, fee_receiver=fee):
        receipt = market.send(accounts.operator, *call)
    assert market.order(terms) == Order(0, AMOUNT, 0, CLOSED)
    authorized = receipt.event(market.escrow, "PurchaseAuthorized")
    assert (authorized["orderHash"], authorized["amount"]) == (market.hash(terms), AMOUNT)
    assert receipt.event(market.escrow, "PurchaseReleased") == {
        "orderHash": market.hash(terms),
        "amount": AMOUNT,
        "fee": fee,
        "repayment": 0,
        "paid": AMOUNT - fee,
    }


def test_only_the_operator_may_charge(market, accounts):
    call = charged(market)
    for caller in (accounts.buyer, accounts.seller, accounts.fee_receiver, accounts.stranger):
        market.refuses(caller, *call, error="NotAllowed", caller=caller.address)


@pytest.mark.parametrize("window", [1, 7 * DAY])
def test_terms_that_ask_for_escrow_cannot_be_charged(market, accounts, window):
    terms = market.terms(disputeWindow=window)
    payment = market.payment(terms, AMOUNT)
    call = ("charge", terms, AMOUNT, MAX_FEE_BPS, *payment)
    market.refuses(accounts.operator, *call, error="ChargeNotAllowed", disputeWindow=window)


@pytest.mark.parametrize("fee_bps", [MIN_FEE_BPS, MAX_FEE_BPS])
def test_a_charge_takes_any_fee_within_the_signed_bounds(market, accounts, fee_bps):
    fee = AMOUNT * fee_bps // 10_000
    with market.moves(buyer=-AMOUNT, seller=AMOUNT - fee, fee_receiver=fee):
        market.send(accounts.operator, *charged(market, fee_bps=fee_bps))


@pytest.mark.parametrize("fee_bps", [0, MIN_FEE_BPS - 1, MAX_FEE_BPS + 1, 2**16 - 1])
def test_a_charge_with_a_fee_out_of_bounds_is_refused(market, accounts, fee_bps):
    market.refuses(
        accounts.operator,
        *charged(market, fee_bps=fee_bps),
        error="InvalidFee",
        feeBps=fee_bps,
        minFeeBps=MIN_FEE_BPS,
        maxFeeBps=MAX_FEE_BPS,
    )


@pytest.mark.parametrize("amount", [0, AMOUNT + 1])
def test_a_charge_of_zero_or_above_the_maximum_is_refused(market, accounts, amount):
    call = charged(market, amount)
    market.refuses(accounts.operator, *call, error="InvalidAmount", amount=amount, limit=AMOUNT)


def test_a_charge_needs_the_buyers_signature_over_its_amount(market, accounts):
    name, terms, amount, fee_bps, *payment = charged(market)
    call = (name, terms, amount - 1, fee_bps, *payment)
    market.refuses(
        accounts.operator, *call, error="InvalidSignature", signer=accounts.buyer.address
    )


def test_an_order_is_charged_at_most_once(market, accounts):
    call = charged(market)
    market.send(accounts.operator, *call)
    again = (*call[:2], AMOUNT // 2, MAX_FEE_BPS, *market.payment(call[1], AMOUNT // 2))
    for repeated in (call, again):
        market.refuses(
            accounts.operator,
            *repeated,
            error="WrongStatus",
            orderHash=market.hash(call[1]),
            actual=CLOSED,
        )


def test_a_charge_ends_at_authorize_before(market, chain, accounts):
    call = charged(market)
    deadline = call[1].authorizeBefore
    for now in (deadline, deadline + 1):
        chain.travel_to(now)
        market.refuses(
            accounts.operator,
            *call,
            error="AuthorizationWindowClosed",
            authorizeBefore=deadline,
            nowTime=now,
        )
    chain.travel_to(deadline - 1)
    market.send(accounts.operator, *call)


def test_a_charge_overtaken_by_an_authorization_still_reaches_the_seller(market, accounts):
    call = charged(market)
    terms = call[1]
    market.send(
        accounts.stranger,
        "authorizeWithSignature",
        terms,
        AMOUNT,
        *market.payment(terms, AMOUNT),
    )
    market.refuses(accounts.operator, *call, error="WrongStatus", actual=AUTHORIZED)
    fee = AMOUNT * MAX_FEE_BPS // 10_000
    with market.moves(seller=AMOUNT - fee, fee_receiver=fee, escrow=-AMOUNT):
        market.send(accounts.operator, "confirmDelivery", terms)
        market.send(accounts.operator, "release", terms, AMOUNT, MAX_FEE_BPS)


def test_a_charge_of_a_seller_that_cannot_receive_is_kept_for_it(market, chain, accounts):
    market.freeze(accounts.seller)
    fee = AMOUNT * MAX_FEE_BPS // 10_000
    with market.moves(buyer=-AMOUNT, escrow=AMOUNT - fee, fee_receiver=fee):
        market.send(accounts.operator, *charged(market))
    assert market.claimable(accounts.seller) == AMOUNT - fee
