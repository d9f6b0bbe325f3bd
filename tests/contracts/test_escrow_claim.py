"""Claim: what a receiver could not receive waits for it; and what a stranger sends is nobody's."""

from tests.contracts.conftest import MEMBER_UNTIL, SELLER, START
from tests.contracts.escrow import AMOUNT, MAX_FEE_BPS

PAID = AMOUNT - AMOUNT * MAX_FEE_BPS // 10_000


def credit_the_seller(market):
    """A release to the seller while it was frozen; it is still frozen afterwards."""
    terms = market.releasable()
    market.freeze(market.accounts.seller)
    market.send(market.accounts.operator, "release", terms, AMOUNT, MAX_FEE_BPS)


def test_an_unfrozen_seller_claims_its_coin_once(market, accounts):
    credit_the_seller(market)
    market.unfreeze(accounts.seller)
    with market.moves(escrow=-PAID, seller=PAID):
        receipt = market.send(accounts.seller, "claim", accounts.seller.address)
    assert receipt.event(market.escrow, "ClaimableWithdrawn") == {
        "account": accounts.seller.address,
        "amount": PAID,
    }
    assert market.claimable(accounts.seller) == 0
    seller = accounts.seller.address
    market.refuses(accounts.seller, "claim", seller, error="NothingToClaim", account=seller)


def test_claim_answers_with_the_amount(market, chain, accounts):
    credit_the_seller(market)
    market.unfreeze(accounts.seller)
    assert chain.call(market.function("claim", accounts.seller.address), by=accounts.seller) == PAID


def test_credits_of_several_orders_are_claimed_together(market, accounts):
    market.freeze(accounts.seller)
    for ref in (b"\1" * 32, b"\2" * 32):
        terms = market.authorized(orderRef=ref)
        market.send(accounts.buyer, "release", terms, AMOUNT, MAX_FEE_BPS)
    market.unfreeze(accounts.seller)
    with market.moves(escrow=-2 * PAID, seller=2 * PAID):
        market.send(accounts.seller, "claim", accounts.seller.address)


def test_anyone_may_claim_for_an_account_and_the_coin_goes_there(market, accounts):
    credit_the_seller(market)
    market.unfreeze(accounts.seller)
    with market.moves(escrow=-PAID, seller=PAID):
        market.send(accounts.stranger, "claim", accounts.seller.address)


def test_nobody_claims_for_himself_what_is_anothers(market, accounts):
    credit_the_seller(market)
    for other in (accounts.buyer, accounts.operator, accounts.seller2, accounts.stranger):
        address = other.address
        market.refuses(other, "claim", address, error="NothingToClaim", account=address)


def test_who_is_still_frozen_keeps_its_claim(market, accounts):
    credit_the_seller(market)
    seller = accounts.seller.address
    for caller in (accounts.seller, accounts.stranger):
        market.refuses(caller, "claim", seller, error="AccountIsFrozen", account=seller)
    assert market.claimable(accounts.seller) == PAID


def test_who_became_a_member_claims(market, chain, accounts):
    terms = market.releasable(payee=accounts.stranger.address)
    market.send(accounts.operator, "release", terms, AMOUNT, MAX_FEE_BPS)
    stranger = accounts.stranger.address
    market.refuses(accounts.stranger, "claim", stranger, error="NotAMember", account=stranger)
    admit = market.coin.functions.admit(accounts.stranger.address, SELLER, MEMBER_UNTIL)
    chain.send(admit, by=accounts.operator)
    with market.moves(escrow=-PAID, stranger=PAID):
        market.send(accounts.stranger, "claim", accounts.stranger.address)


def test_membership_decides_between_payment_and_claim_to_the_second(market, chain, accounts):
    until = START + 100 * 86_400
    renew = market.coin.functions.admit(accounts.seller.address, SELLER, until)
    chain.send(renew, by=accounts.operator)
    terms = market.releasable()
    chain.travel_to(until - 1)
    with market.moves(escrow=-40, seller=39, fee_receiver=1):
        market.send(accounts.buyer, "release", terms, 40, MAX_FEE_BPS)
    assert chain.time == until
    with market.moves(escrow=-1, fee_receiver=1):
        market.send(accounts.buyer, "release", terms, 40, MAX_FEE_BPS)
    assert market.claimable(accounts.seller) == 39


def test_nothing_is_claimed_while_the_coin_is_paused(market, accounts):
    credit_the_seller(market)
    market.unfreeze(accounts.seller)
    market.pause()
    market.refuses(accounts.seller, "claim", accounts.seller.address, error="CoinPaused")


def test_coin_sent_by_a_stranger_is_nobodys_and_changes_nothing(market, chain, accounts):
    terms = market.authorized()
    gift = market.coin.functions.transfer(market.escrow.address, 1_000)
    with market.moves(seller=-1_000, escrow=1_000):
        chain.send(gift, by=accounts.seller)
    assert market.order(terms).held == AMOUNT
    for account in (accounts.seller, accounts.buyer, accounts.operator):
        market.refuses(account, "claim", account.address, error="NothingToClaim")
    over = {"error": "InvalidAmount", "amount": AMOUNT + 1, "limit": AMOUNT}
    market.refuses(accounts.buyer, "release", terms, AMOUNT + 1, MAX_FEE_BPS, **over)
    with market.moves(escrow=-AMOUNT, buyer=AMOUNT):
        market.send(accounts.operator, "void", terms, AMOUNT)
