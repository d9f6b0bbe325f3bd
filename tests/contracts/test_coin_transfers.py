"""Transfers: memos, batches, paying oneself, allowances; the same as OpenZeppelin's ERC-20."""

from __future__ import annotations

import random

import pytest
from eth_utils import keccak

from tests.contracts.chain import ZERO_ADDRESS, Reverted
from tests.contracts.conftest import BALANCE, COIN, MEMBER_UNTIL
from tests.contracts.signing import sign_permit

MEMO = keccak(text="order A-1001")
FOREVER = 2**256 - 1


def balances(chain, coin, *members):
    return [chain.call(coin.functions.balanceOf(member.address)) for member in members]


def test_the_coin_names_itself(chain, coin):
    call = chain.call
    assert call(coin.functions.name()) == "Plaza Coin"
    assert call(coin.functions.symbol()) == "PLZ"
    assert call(coin.functions.decimals()) == 6
    assert call(coin.functions.totalSupply()) == 2 * BALANCE


def test_a_memo_is_emitted_beside_the_transfer(chain, coin, accounts):
    buyer, seller = accounts.buyer, accounts.seller
    function = coin.functions.transferWithMemo(seller.address, COIN, MEMO)
    assert chain.call(function, by=buyer) is True
    receipt = chain.send(function, by=buyer)
    parties = {"from": buyer.address, "to": seller.address}
    assert receipt.event(coin, "Transfer") == {**parties, "value": COIN}
    assert receipt.event(coin, "TransferMemo") == {**parties, "amount": COIN, "memo": MEMO}


def test_a_spender_may_add_a_memo(chain, coin, accounts):
    buyer, seller, spender = accounts.buyer, accounts.seller, accounts.stranger
    chain.send(coin.functions.approve(spender.address, 3 * COIN), by=buyer)
    function = coin.functions.transferFromWithMemo(buyer.address, seller.address, 2 * COIN, MEMO)
    assert chain.call(function, by=spender) is True
    receipt = chain.send(function, by=spender)
    assert receipt.event(coin, "TransferMemo") == {
        "from": buyer.address,
        "to": seller.address,
        "amount": 2 * COIN,
        "memo": MEMO,
    }
    assert chain.call(coin.functions.allowance(buyer.address, spender.address)) == COIN
    short = {"spender": spender.address, "allowance": COIN, "needed": 2 * COIN}
    chain.reverts(function, spender, "ERC20InsufficientAllowance", **short)


def test_a_batch_pays_each_with_its_memo(chain, coin, accounts):
    receivers = [accounts.seller, accounts.seller2, accounts.seller, accounts.fee_receiver]
    payments = [
        (receiver.address, (index + 1) * COIN, keccak(text=f"order {index}"))
        for index, receiver in enumerate(receivers)
    ]
    function = coin.functions.transferMany(payments)
    assert chain.call(function, by=accounts.buyer) is True
    receipt = chain.send(function, by=accounts.buyer)
    transfers = [(e["to"], e["value"]) for e in receipt.events(coin, "Transfer")]
    memos = [(e["to"], e["amount"], e["memo"]) for e in receipt.events(coin, "TransferMemo")]
    assert transfers == [(to, amount) for to, amount, _ in payments]
    assert memos == payments
    paid = [accounts.buyer, accounts.seller, accounts.seller2, accounts.fee_receiver]
    expected = [BALANCE - 10 * COIN, BALANCE + 4 * COIN, 2 * COIN, 4 * COIN]
    assert balances(chain, coin, *paid) == expected


def test_a_batch_over_the_balance_pays_nobody(chain, coin, accounts):
    payments = [(accounts.seller.address, BALANCE, MEMO), (accounts.seller2.address, 1, MEMO)]
    lack = {"sender": accounts.buyer.address, "balance": 0, "needed": 1}
    function = coin.functions.transferMany(payments)
    chain.reverts(function, accounts.buyer, "ERC20InsufficientBalance", **lack)
    with pytest.raises(Reverted):
        chain.send(function, by=accounts.buyer)
    assert balances(chain, coin, accounts.buyer, accounts.seller) == [BALANCE, BALANCE]


def test_a_batch_may_be_empty(chain, coin, accounts):
    receipt = chain.send(coin.functions.transferMany([]), by=accounts.buyer)
    assert receipt.logs == []


@pytest.mark.parametrize("amount", [0, 1, BALANCE])
def test_paying_oneself_changes_nothing(amount, chain, coin, accounts):
    buyer = accounts.buyer
    before = chain.call(coin.functions.accountOf(buyer.address))
    receipt = chain.send(coin.functions.transfer(buyer.address, amount), by=buyer)
    paid = {"from": buyer.address, "to": buyer.address, "value": amount}
    assert receipt.event(coin, "Transfer") == paid
    assert chain.call(coin.functions.accountOf(buyer.address)) == before
    too_much = coin.functions.transfer(buyer.address, BALANCE + 1)
    chain.reverts(too_much, buyer, "ERC20InsufficientBalance", balance=BALANCE)


def test_moving_the_whole_balance_there_and_back_leaves_both_standings_alone(chain, coin, accounts):
    buyer, seller = accounts.buyer, accounts.seller
    chain.send(coin.functions.transfer(seller.address, BALANCE), by=buyer)
    account_of = coin.functions.accountOf
    buyers = tuple(chain.call(account_of(buyer.address)))
    sellers = tuple(chain.call(account_of(seller.address)))
    assert buyers == (0, MEMBER_UNTIL, 1, False)
    assert sellers == (2 * BALANCE, MEMBER_UNTIL, 2, False)
    chain.send(coin.functions.transfer(buyer.address, 2 * BALANCE), by=seller)
    assert balances(chain, coin, buyer, seller) == [2 * BALANCE, 0]


# ------------------------------------------------------- the same as OpenZeppelin's ERC-20

NAMES = ["buyer", "seller", "buyer2", "lender"]
PREFIXES = {"Transfer": ("from", "to", "value"), "Approval": ("owner", "spender", "value")}


@pytest.fixture
def reference(chain, coin, accounts, test_contracts):
    """OpenZeppelin's ERC-20 with the same opening balances as the coin."""
    contract = chain.deploy(test_contracts["ReferenceCoin"], by=accounts.stranger)
    for member in (accounts.buyer, accounts.seller):
        chain.send(contract.functions.mint(member.address, BALANCE), by=accounts.stranger)
    return contract


def outcome(chain, contract, name, arguments, by):
    """What one call did: its error, or what it returned and emitted, in order."""
    function = contract.functions[name](*arguments)
    try:
        returned = chain.call(function, by=by)
        receipt = chain.send(function, by=by)
    except Reverted as reverted:
        return reverted.name, reverted.arguments
    # Topics and data as they are: the same events, in the same order, byte for byte.
    return returned, [(log["topics"], log["data"]) for log in receipt.logs]


def state(chain, contract, members):
    functions, addresses = contract.functions, [member.address for member in members]
    return {
        "supply": chain.call(functions.totalSupply()),
        "balances": [chain.call(functions.balanceOf(address)) for address in addresses],
        "allowances": [
            chain.call(functions.allowance(owner, spender))
            for owner in addresses
            for spender in addresses
        ],
        "nonces": [chain.call(functions.nonces(address)) for address in addresses],
    }


def random_amount(dice, limit):
    return dice.choice([0, 1, limit, limit + 1, dice.randint(0, max(limit, 1)), FOREVER])


@pytest.mark.parametrize("seed", range(4))
def test_members_see_no_difference_to_openzeppelins_erc20(seed, chain, coin, reference, accounts):
    dice = random.Random(seed)
    members = [getattr(accounts, name) for name in NAMES]
    outcomes = set()
    for step in range(40):
        by, other, third = (dice.choice(members) for _ in range(3))
        balance = chain.call(coin.functions.balanceOf(by.address))
        allowance = chain.call(coin.functions.allowance(other.address, by.address))
        to = dice.choice([third.address] * 9 + [ZERO_ADDRESS])
        name = dice.choice(["transfer", "transferFrom", "approve", "permit"])
        signatures = [(), ()]
        if name == "transfer":
            terms = (to, random_amount(dice, balance))
        elif name == "transferFrom":
            terms = (other.address, to, random_amount(dice, allowance))
        elif name == "approve":
            terms = (to, random_amount(dice, BALANCE))
        else:
            amount = random_amount(dice, BALANCE)
            nonce = chain.call(coin.functions.nonces(by.address)) + dice.choice([0, 0, 0, 1])
            deadline = dice.choice([chain.time + 100, chain.time + 100, chain.time - 1])
            terms = (by.address, to, amount, deadline)
            signatures = [
                sign_permit(by, contract, to, amount, nonce, deadline=deadline).vrs
                for contract in (coin, reference)
            ]
        ours, theirs = (
            outcome(chain, contract, name, (*terms, *signature), by)
            for contract, signature in zip((coin, reference), signatures, strict=True)
        )
        if ours[0] == "ERC2612InvalidSigner":
            # A wrong signature recovers to some address, another one in each domain.
            assert theirs[0] == "ERC2612InvalidSigner"
        elif theirs[0] == "ERC20InvalidReceiver" and ours[0] == "ERC20InsufficientBalance":
            # Both are true; we look at the sender first.
            assert to == ZERO_ADDRESS
        else:
            assert ours == theirs, (name, by.address)
        outcomes.add((name, ours[0]))
        if step % 10 == 9:
            assert state(chain, coin, members) == state(chain, reference, members)
    # The walk was worth it: every operation both succeeded and failed somewhere.
    assert {(name, True) for name in ("transfer", "transferFrom", "approve")} <= outcomes
    assert any(error == "ERC20InsufficientBalance" for _, error in outcomes)


def test_an_endless_allowance_is_not_used_up(chain, coin, accounts):
    buyer, seller, spender = accounts.buyer, accounts.seller, accounts.stranger
    chain.send(coin.functions.approve(spender.address, FOREVER), by=buyer)
    chain.send(coin.functions.transferFrom(buyer.address, seller.address, COIN), by=spender)
    assert chain.call(coin.functions.allowance(buyer.address, spender.address)) == FOREVER
