"""Money in and out: minting by reference inside a limit, and redemption."""

from __future__ import annotations

import pytest
from eth_utils import keccak

from tests.contracts.chain import ZERO_ADDRESS, Reverted
from tests.contracts.conftest import BALANCE, COIN, ROLE_IDS

MAX_UINT128 = 2**128 - 1
REF = keccak(text="bank statement 1")
OTHER_REF = keccak(text="bank statement 2")


@pytest.fixture
def mint(chain, coin, accounts):
    """Mint to the buyer by the treasury."""
    count = iter(range(1000))

    def send(amount, *, by=accounts.treasury, to=accounts.buyer):
        reference = keccak(text=f"deposit {next(count)}")
        return chain.send(coin.functions.mint(to.address, amount, reference), by=by)

    return send


@pytest.fixture
def limit(chain, coin, accounts):
    """Set the limit of a minter, the treasury unless another is named."""

    def send(capacity, refill_per_second, minter=accounts.treasury):
        function = coin.functions.setMintLimit(minter.address, capacity, refill_per_second)
        return chain.send(function, by=accounts.admin)

    return send


@pytest.fixture
def available(chain, coin, accounts):
    def call(minter=accounts.treasury):
        return chain.call(coin.functions.mintLimitOf(minter.address))[2]

    return call


@pytest.fixture
def minter2(chain, manager, accounts):
    """A second minter, whose limit was never set."""
    grant = manager.functions.grantRole(ROLE_IDS["MINTER"], accounts.lender.address, 0)
    chain.send(grant, by=accounts.admin)
    return accounts.lender


# ------------------------------------------------------------------------------- minting


def test_minting_credits_the_receiver_and_the_supply(chain, coin, accounts):
    buyer = accounts.buyer.address
    receipt = chain.send(coin.functions.mint(buyer, COIN, REF), by=accounts.treasury)
    assert receipt.event(coin, "Transfer") == {"from": ZERO_ADDRESS, "to": buyer, "value": COIN}
    assert receipt.event(coin, "Minted") == {
        "minter": accounts.treasury.address,
        "to": buyer,
        "amount": COIN,
        "ref": REF,
    }
    assert chain.call(coin.functions.balanceOf(buyer)) == BALANCE + COIN
    assert chain.call(coin.functions.totalSupply()) == 2 * BALANCE + COIN


def test_a_mint_reference_works_once_whoever_mints(chain, coin, accounts, minter2, limit):
    limit(COIN, 0, minter=minter2)
    assert not chain.call(coin.functions.mintReferenceUsed(REF))
    chain.send(coin.functions.mint(accounts.buyer.address, 1, REF), by=accounts.treasury)
    assert chain.call(coin.functions.mintReferenceUsed(REF))
    for minter in (accounts.treasury, minter2):
        again = coin.functions.mint(accounts.seller.address, 2, REF)
        chain.reverts(again, minter, "ReferenceUsed", ref=REF)


def test_a_failed_mint_does_not_use_up_its_reference(chain, coin, accounts):
    with pytest.raises(Reverted, match="NotAMember"):
        chain.send(coin.functions.mint(accounts.stranger.address, 1, REF), by=accounts.treasury)
    chain.send(coin.functions.mint(accounts.buyer.address, 1, REF), by=accounts.treasury)


def test_nothing_cannot_be_minted_or_redeemed(chain, coin, accounts):
    nothing = coin.functions.mint(accounts.buyer.address, 0, REF)
    chain.reverts(nothing, accounts.treasury, "AmountIsZero")
    chain.reverts(coin.functions.redeem(0, REF), accounts.buyer, "AmountIsZero")


def test_nobody_mints_to_the_zero_address(chain, coin, accounts):
    function = coin.functions.mint(ZERO_ADDRESS, COIN, REF)
    chain.reverts(function, accounts.treasury, "ERC20InvalidReceiver", receiver=ZERO_ADDRESS)


# -------------------------------------------------------------------------- minters' limits


def test_a_minter_without_a_limit_mints_nothing(chain, coin, accounts, minter2, available):
    assert available(minter2) == 0
    function = coin.functions.mint(accounts.buyer.address, 1, REF)
    chain.reverts(
        function, minter2, "MintLimitExceeded", minter=minter2.address, amount=1, available=0
    )


def test_a_new_minter_starts_with_a_full_allowance(
    chain, coin, accounts, minter2, limit, available
):
    receipt = limit(50 * COIN, 3, minter=minter2)
    assert receipt.event(coin, "MintLimitSet") == {
        "minter": minter2.address,
        "capacity": 50 * COIN,
        "refillPerSecond": 3,
    }
    found = chain.call(coin.functions.mintLimitOf(minter2.address))
    assert found == (50 * COIN, 3, 50 * COIN)


def test_a_mint_uses_the_allowance_to_the_unit(chain, coin, accounts, limit, mint):
    limit(100, 0)
    mint(99)
    over = coin.functions.mint(accounts.buyer.address, 2, REF)
    chain.reverts(over, accounts.treasury, "MintLimitExceeded", amount=2, available=1)
    mint(1)
    more = coin.functions.mint(accounts.buyer.address, 1, REF)
    chain.reverts(more, accounts.treasury, "MintLimitExceeded", amount=1, available=0)


def test_the_allowance_refills_by_the_second_up_to_its_capacity(chain, limit, mint, available):
    limit(100, 7)
    minted_at = mint(100).timestamp
    for seconds, expected in [(1, 7), (2, 14), (14, 98), (15, 100), (10**6, 100)]:
        chain.travel_to(minted_at + seconds)
        assert available() == expected
    mint(60)
    assert available() == 40 + 7


def test_seconds_not_minted_in_are_not_lost_between_two_mints(chain, limit, mint, available):
    limit(100, 1)
    start = mint(100).timestamp
    chain.travel_to(start + 10)
    mint(4)
    chain.travel_to(start + 20)
    assert available() == 16


def test_setting_a_limit_again_hands_out_no_second_allowance(limit, mint, available):
    limit(100, 0)
    mint(100)
    limit(100, 0)
    assert available() == 0
    limit(0, 0)
    limit(100, 0)
    assert available() == 0


def test_a_raised_limit_is_reached_by_refilling_at_the_new_rate(chain, limit, mint, available):
    limit(100, 1)
    mint(100)
    changed_at = limit(1000, 5).timestamp
    chain.travel_to(changed_at + 10)
    assert available() == 1 + 50  # the one second before the change at the old rate
    chain.travel_to(changed_at + 1000)
    assert available() == 1000


def test_a_lowered_limit_cuts_what_is_left(chain, coin, accounts, limit, available):
    limit(10, 0)
    assert available() == 10
    limit(0, 0)
    function = coin.functions.mint(accounts.buyer.address, 1, REF)
    chain.reverts(function, accounts.treasury, "MintLimitExceeded", amount=1, available=0)


def test_the_largest_limit_and_the_longest_wait_do_not_overflow(chain, limit, available):
    limit(MAX_UINT128, MAX_UINT128)
    chain.travel_to(2**40 - 2)
    assert available() == MAX_UINT128


def test_limits_are_each_minters_own(accounts, minter2, limit, mint, available):
    limit(70, 0)
    limit(100, 0, minter=minter2)
    mint(100, by=minter2)
    assert (available(), available(minter2)) == (70, 0)


def test_no_mint_takes_the_supply_or_a_balance_over_128_bits(
    chain, coin, accounts, limit, mint, available
):
    limit(MAX_UINT128, MAX_UINT128)
    chain.travel(1)
    room = MAX_UINT128 - 2 * BALANCE
    over = coin.functions.mint(accounts.buyer.address, room + 1, REF)
    chain.reverts(
        over, accounts.treasury, "SafeCastOverflowedUintDowncast", bits=128, value=MAX_UINT128 + 1
    )
    mint(room)
    assert chain.call(coin.functions.totalSupply()) == MAX_UINT128
    one_more = coin.functions.mint(accounts.seller.address, 1, REF)
    chain.reverts(one_more, accounts.treasury, "SafeCastOverflowedUintDowncast")

    all_of_it = chain.call(coin.functions.balanceOf(accounts.seller.address))
    transfer = coin.functions.transfer(accounts.buyer.address, all_of_it)
    chain.send(transfer, by=accounts.seller)
    standing = chain.call(coin.functions.accountOf(accounts.buyer.address))
    assert standing.balance == MAX_UINT128
    assert (standing.kinds, standing.frozen) == (1, False)


@pytest.mark.parametrize("amount", [2**128, 2**128 + 1, 2**255, 2**256 - 1])
def test_amounts_over_128_bits_are_never_cut_to_size(amount, chain, coin, accounts):
    buyer, seller = accounts.buyer, accounts.seller
    chain.send(coin.functions.approve(seller.address, 2**256 - 1), by=buyer)
    lack = {"sender": buyer.address, "balance": BALANCE, "needed": amount}
    for function, by in [
        (coin.functions.transfer(seller.address, amount), buyer),
        (coin.functions.transferFrom(buyer.address, seller.address, amount), seller),
        (coin.functions.redeem(amount, REF), buyer),
    ]:
        chain.reverts(function, by, "ERC20InsufficientBalance", **lack)
    mint = coin.functions.mint(buyer.address, amount, REF)
    chain.reverts(mint, accounts.treasury, "MintLimitExceeded", amount=amount)


# ---------------------------------------------------------------------------- redemption


def test_redemption_burns_the_callers_coin(chain, coin, accounts):
    buyer = accounts.buyer.address
    receipt = chain.send(coin.functions.redeem(COIN, REF), by=accounts.buyer)
    assert receipt.event(coin, "Transfer") == {"from": buyer, "to": ZERO_ADDRESS, "value": COIN}
    assert receipt.event(coin, "Redeemed") == {"account": buyer, "amount": COIN, "ref": REF}
    assert chain.call(coin.functions.balanceOf(buyer)) == BALANCE - COIN
    assert chain.call(coin.functions.totalSupply()) == 2 * BALANCE - COIN


def test_a_redemption_reference_works_once_for_each_member(chain, coin, accounts):
    used = coin.functions.redemptionReferenceUsed
    chain.send(coin.functions.redeem(1, REF), by=accounts.buyer)
    assert chain.call(used(accounts.buyer.address, REF))
    assert not chain.call(used(accounts.seller.address, REF))
    assert not chain.call(used(accounts.buyer.address, OTHER_REF))
    chain.reverts(coin.functions.redeem(1, REF), accounts.buyer, "ReferenceUsed", ref=REF)
    chain.send(coin.functions.redeem(1, REF), by=accounts.seller)
    chain.send(coin.functions.redeem(1, OTHER_REF), by=accounts.buyer)


def test_mint_redemption_and_seizure_references_do_not_meet(chain, coin, accounts):
    chain.send(coin.functions.mint(accounts.buyer.address, 1, REF), by=accounts.treasury)
    chain.send(coin.functions.redeem(1, REF), by=accounts.buyer)
    chain.send(coin.functions.freeze(accounts.buyer.address, REF), by=accounts.operator)
    seize = coin.functions.seize(accounts.buyer.address, accounts.treasury.address, 1, REF)
    chain.send(seize, by=accounts.enforcer)


def test_nobody_redeems_more_than_the_balance(chain, coin, accounts):
    lack = {"sender": accounts.buyer.address, "balance": BALANCE, "needed": BALANCE + 1}
    function = coin.functions.redeem(BALANCE + 1, REF)
    chain.reverts(function, accounts.buyer, "ERC20InsufficientBalance", **lack)
    chain.send(coin.functions.redeem(BALANCE, REF), by=accounts.buyer)
    standing = chain.call(coin.functions.accountOf(accounts.buyer.address))
    assert (standing.balance, standing.kinds) == (0, 1)


def test_redemption_frees_no_mint_allowance(chain, coin, accounts, limit, mint, available):
    limit(100, 0)
    mint(100)
    chain.send(coin.functions.redeem(100, REF), by=accounts.buyer)
    assert available() == 0
