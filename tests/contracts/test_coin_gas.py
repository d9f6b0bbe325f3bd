"""What the coin's operations cost: receipts' gasUsed, exact on every machine.

A change of more than 1 % fails: a regression is to be explained, an improvement to be written down.
Accounts exist, their slots are cold, signed operations are relayed by a third party.
"""

from __future__ import annotations

import pytest
from eth_utils import keccak

from tests.contracts.conftest import COIN, START
from tests.contracts.signing import sign_permit, sign_transfer

VALID_BEFORE = START + 1_000_000
MEMO = keccak(text="order A-1001")

GAS = {
    "transfer": 36_905,
    "transfer to an empty balance": 36_905,
    "transferWithMemo": 39_563,
    "transferMany, per item of 10": 6_175,
    "transferWithAuthorization, random nonce": 67_364,
    "transferWithAuthorization, packed nonce": 49_880,
    "receiveWithAuthorization (bytes), random nonce": 67_588,
    "permit, later nonce": 57_659,
    "transferFrom, whole allowance": 37_345,
    "pullWithAuthorization": 45_768,
    "disburse to two": 45_014,
    "mint": 80_522,
    "redeem": 58_267,
    "admit, new": 60_003,
    "admitMany, per item of 10": 24_902,
    "admitSystem, new": 60_315,
}


@pytest.fixture
def measure(chain, coin, accounts):
    """Each operation of the table: does what it needs first, returns its gas."""
    functions = coin.functions
    buyer, seller, relayer = accounts.buyer, accounts.seller, accounts.stranger

    def gas(function, by):
        return chain.send(function, by=by).gas_used

    def authorization(number):
        nonce = number if isinstance(number, bytes) else number.to_bytes(32)
        signature = sign_transfer(
            buyer, coin, seller.address, COIN, nonce, valid_before=VALID_BEFORE
        )
        terms = (buyer.address, seller.address, COIN, 0, VALID_BEFORE, nonce)
        return gas(functions.transferWithAuthorization(*terms, *signature.vrs), relayer)

    def receive_authorization():
        nonce = keccak(text="random")
        window = {"valid_before": VALID_BEFORE, "receive": True}
        signature = sign_transfer(buyer, coin, seller.address, COIN, nonce, **window)
        terms = (buyer.address, seller.address, COIN, 0, VALID_BEFORE, nonce)
        return gas(functions.receiveWithAuthorization(*terms, signature.packed), seller)

    def pull():
        admit = functions.admitSystem(relayer.address, VALID_BEFORE)
        chain.send(admit, by=accounts.steward)
        nonce = keccak(text="random")
        window = {"valid_before": VALID_BEFORE, "receive": True}
        signature = sign_transfer(buyer, coin, relayer.address, COIN, nonce, **window)
        terms = (buyer.address, COIN, 0, VALID_BEFORE, nonce, signature.packed)
        return gas(functions.pullWithAuthorization(*terms), relayer)

    def permit(nonce):
        signature = sign_permit(buyer, coin, relayer.address, COIN, nonce, deadline=VALID_BEFORE)
        terms = (buyer.address, relayer.address, COIN, VALID_BEFORE)
        return gas(functions.permit(*terms, *signature.vrs), relayer)

    def transfer_from():
        return gas(functions.transferFrom(buyer.address, seller.address, COIN), relayer)

    def many(count):
        payments = [(accounts.seller.address, COIN, MEMO)] * count
        return gas(functions.transferMany(payments), buyer)

    def admit_many(first, count):
        addresses = ["0x" + f"{first + i:02d}" * 20 for i in range(count)]
        return gas(functions.admitMany(addresses, 1, VALID_BEFORE), accounts.operator)

    def packed_authorization():
        authorization(1)
        return authorization(2)

    def later_permit():
        permit(0)
        transfer_from()
        return permit(1)

    def permitted_transfer_from():
        permit(0)
        return transfer_from()

    by_name = {
        "transfer": lambda: gas(functions.transfer(seller.address, COIN), buyer),
        "transfer to an empty balance": lambda: gas(
            functions.transfer(accounts.seller2.address, COIN), buyer
        ),
        "transferWithMemo": lambda: gas(
            functions.transferWithMemo(seller.address, COIN, MEMO), buyer
        ),
        "transferMany, per item of 10": lambda: (many(11) - many(1)) // 10,
        "transferWithAuthorization, random nonce": lambda: authorization(keccak(text="random")),
        "transferWithAuthorization, packed nonce": packed_authorization,
        "receiveWithAuthorization (bytes), random nonce": receive_authorization,
        "permit, later nonce": later_permit,
        "transferFrom, whole allowance": permitted_transfer_from,
        "mint": lambda: gas(functions.mint(seller.address, COIN, MEMO), accounts.treasury),
        "redeem": lambda: gas(functions.redeem(COIN, MEMO), buyer),
        "admit, new": lambda: gas(
            functions.admit(relayer.address, 1, VALID_BEFORE), accounts.operator
        ),
        "pullWithAuthorization": pull,
        "disburse to two": lambda: gas(
            functions.disburse(
                seller.address, COIN, accounts.lender.address, COIN, buyer.address, 0
            ),
            buyer,
        ),
        "admitSystem, new": lambda: gas(
            functions.admitSystem(relayer.address, VALID_BEFORE), accounts.steward
        ),
        "admitMany, per item of 10": lambda: (admit_many(10, 11) - admit_many(30, 1)) // 10,
    }
    return lambda name: by_name[name]()


@pytest.mark.parametrize("operation", GAS)
def test_an_operation_costs_what_it_did(operation, measure):
    assert measure(operation) == pytest.approx(GAS[operation], rel=0.01)


def test_the_policy_costs_little_over_the_slot_of_the_pause(chain, coin, accounts, test_contracts):
    """Membership, expiry, freeze and pause against OpenZeppelin's ERC-20 without any of them."""
    plain = chain.deploy(test_contracts["ReferenceCoin"], by=accounts.stranger)
    for member in (accounts.buyer, accounts.seller):
        chain.send(plain.functions.mint(member.address, COIN * 100), by=accounts.stranger)
    ours, theirs = (
        chain.send(
            contract.functions.transfer(accounts.seller.address, COIN), by=accounts.buyer
        ).gas_used
        for contract in (coin, plain)
    )
    cold_slot = 2_100
    # Half of it: the compiler compares selectors one by one, and `transfer` is the 35th of ours.
    dispatch_and_policy = 650
    assert ours - theirs < cold_slot + dispatch_and_policy
