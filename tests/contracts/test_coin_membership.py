"""Admission, expulsion, freezing, seizure, pausing; and who may do it."""

from __future__ import annotations

import pytest
from eth_utils import keccak

from tests.contracts.chain import ZERO_ADDRESS
from tests.contracts.conftest import (
    BALANCE,
    BUYER,
    COIN,
    LENDER,
    MEMBER_UNTIL,
    OPERATOR,
    RESTRICTED,
    ROLE_IDS,
    SELLER,
    SYSTEM,
)

REASON = keccak(text="case 1")
REFERENCE = keccak(text="court order 1")
FOREVER = 2**40 - 1


@pytest.fixture
def do(chain, coin, accounts):
    """Send a function of the coin by whoever holds its role."""
    holders = {
        **dict.fromkeys(["admit", "admitMany", "expel", "freeze", "unfreeze"], accounts.operator),
        **dict.fromkeys(["pause", "unpause"], accounts.operator),
        **dict.fromkeys(["admitSystem", "expelSystem"], accounts.steward),
        "seize": accounts.enforcer,
        "setMintLimit": accounts.admin,
        "mint": accounts.treasury,
    }

    def send(name, *args, by=None):
        return chain.send(coin.functions[name](*args), by=by or holders[name])

    return send


@pytest.fixture
def system(accounts, do):
    """A platform contract's address: a system member holding 7 coin."""
    address = "0x" + "55" * 20
    do("admitSystem", address, FOREVER)
    do("transfer", address, 7 * COIN, by=accounts.buyer)
    return address


def account_of(chain, coin, address):
    return tuple(chain.call(coin.functions.accountOf(address)))


# ---------------------------------------------------------------------------- admission


def test_an_address_never_admitted_is_no_member(chain, coin, accounts):
    assert account_of(chain, coin, accounts.stranger.address) == (0, 0, 0, False)
    assert not chain.call(coin.functions.inGoodStanding(accounts.stranger.address))
    assert account_of(chain, coin, ZERO_ADDRESS) == (0, 0, 0, False)
    assert not chain.call(coin.functions.inGoodStanding(ZERO_ADDRESS))


@pytest.mark.parametrize("kinds", [BUYER, SELLER | LENDER, OPERATOR, 15])
def test_admission_records_kinds_and_expiry(kinds, chain, coin, accounts, do):
    until = chain.time + 1000
    receipt = do("admit", accounts.stranger.address, kinds, until)
    assert receipt.event(coin, "MemberAdmitted") == {
        "account": accounts.stranger.address,
        "kinds": kinds,
        "memberUntil": until,
    }
    assert account_of(chain, coin, accounts.stranger.address) == (0, until, kinds, False)
    chain.travel_to(until - 1)
    assert chain.call(coin.functions.inGoodStanding(accounts.stranger.address))
    chain.travel_to(until)
    assert not chain.call(coin.functions.inGoodStanding(accounts.stranger.address))


def test_many_are_admitted_at_once(chain, coin, accounts, do):
    addresses = ["0x" + digit * 40 for digit in "123"]
    receipt = do("admitMany", addresses, SELLER, FOREVER)
    assert [event["account"] for event in receipt.events(coin, "MemberAdmitted")] == addresses
    for address in addresses:
        assert account_of(chain, coin, address) == (0, FOREVER, SELLER, False)


def test_one_bad_address_admits_none(chain, coin, accounts):
    admission = coin.functions.admitMany([accounts.stranger.address, ZERO_ADDRESS], BUYER, FOREVER)
    chain.reverts(admission, accounts.operator, "ERC20InvalidReceiver", receiver=ZERO_ADDRESS)


def test_renewal_replaces_kinds_and_expiry_and_keeps_balance_and_freeze(chain, coin, accounts, do):
    buyer = accounts.buyer.address
    do("freeze", buyer, REASON)
    do("admit", buyer, BUYER | SELLER, MEMBER_UNTIL + 5)
    assert account_of(chain, coin, buyer) == (BALANCE, MEMBER_UNTIL + 5, BUYER | SELLER, True)
    do("unfreeze", buyer)
    do("admit", buyer, LENDER, MEMBER_UNTIL + 6)
    assert account_of(chain, coin, buyer) == (BALANCE, MEMBER_UNTIL + 6, LENDER, False)


@pytest.mark.parametrize("kinds", [0, 32, 128 | BUYER, 255])
def test_kinds_must_be_known(kinds, chain, coin, accounts):
    admission = coin.functions.admit(accounts.stranger.address, kinds, FOREVER)
    chain.reverts(admission, accounts.operator, "InvalidKinds", kinds=kinds)


def test_membership_must_end_in_the_future(chain, coin, accounts):
    now = chain.time
    for until in (0, now - 1, now):
        admission = coin.functions.admit(accounts.stranger.address, BUYER, until)
        chain.reverts(
            admission, accounts.operator, "InvalidMemberUntil", memberUntil=until, nowTime=now
        )
    chain.call(
        coin.functions.admit(accounts.stranger.address, BUYER, now + 1), by=accounts.operator
    )


def test_the_zero_address_is_never_a_member(chain, coin, accounts):
    admission = coin.functions.admit(ZERO_ADDRESS, BUYER, FOREVER)
    chain.reverts(admission, accounts.operator, "ERC20InvalidReceiver", receiver=ZERO_ADDRESS)


# -------------------------------------------------------------------- expulsion, freezing


def test_expulsion_ends_membership_at_once_and_leaves_the_balance(chain, coin, accounts, do):
    now = chain.time
    receipt = do("expel", accounts.buyer.address)
    assert receipt.event(coin, "MemberExpelled") == {"account": accounts.buyer.address}
    assert account_of(chain, coin, accounts.buyer.address) == (BALANCE, now, BUYER, False)
    assert not chain.call(coin.functions.inGoodStanding(accounts.buyer.address))
    do("admit", accounts.buyer.address, BUYER, FOREVER)
    do("transfer", accounts.seller.address, BALANCE, by=accounts.buyer)


def test_only_a_current_member_can_be_expelled(chain, coin, accounts, do):
    expel = coin.functions.expel
    stranger = accounts.stranger.address
    chain.reverts(expel(stranger), accounts.operator, "NotAMember", account=stranger)
    until = chain.time + 10
    do("admit", stranger, BUYER, until)
    chain.travel_to(until)
    chain.reverts(expel(stranger), accounts.operator, "NotAMember", memberUntil=until)


def test_freezing_is_recorded_with_its_reason(chain, coin, accounts, do):
    buyer = accounts.buyer.address
    assert do("freeze", buyer, REASON).event(coin, "AccountFrozen") == {
        "account": buyer,
        "reason": REASON,
    }
    assert account_of(chain, coin, buyer) == (BALANCE, MEMBER_UNTIL, BUYER, True)
    assert not chain.call(coin.functions.inGoodStanding(buyer))
    chain.reverts(
        coin.functions.freeze(buyer, REASON), accounts.operator, "AccountIsFrozen", account=buyer
    )
    assert do("unfreeze", buyer).event(coin, "AccountUnfrozen") == {"account": buyer}
    assert account_of(chain, coin, buyer) == (BALANCE, MEMBER_UNTIL, BUYER, False)
    assert chain.call(coin.functions.inGoodStanding(buyer))
    chain.reverts(
        coin.functions.unfreeze(buyer), accounts.operator, "AccountNotFrozen", account=buyer
    )


def test_an_address_never_admitted_cannot_be_frozen_or_unfrozen(chain, coin, accounts):
    stranger = accounts.stranger.address
    freeze, unfreeze = coin.functions.freeze(stranger, REASON), coin.functions.unfreeze(stranger)
    chain.reverts(freeze, accounts.operator, "NotAMember", account=stranger, memberUntil=0)
    chain.reverts(unfreeze, accounts.operator, "AccountNotFrozen", account=stranger)


def test_an_unfrozen_account_whose_membership_expired_stays_out(chain, coin, accounts, do):
    buyer = accounts.buyer.address
    do("freeze", buyer, REASON)
    do("expel", buyer)
    do("unfreeze", buyer)
    assert not chain.call(coin.functions.inGoodStanding(buyer))


# ------------------------------------------------------------------------ system members


def test_a_system_member_can_be_neither_frozen_nor_seized(chain, coin, accounts, do, system):
    freeze = coin.functions.freeze(system, REASON)
    chain.reverts(freeze, accounts.operator, "SystemAccount", account=system)
    seize = coin.functions.seize(system, accounts.treasury.address, COIN, REFERENCE)
    chain.reverts(seize, accounts.enforcer, "SystemAccount", account=system)
    do("expelSystem", system)
    chain.reverts(freeze, accounts.operator, "SystemAccount", account=system)
    chain.reverts(seize, accounts.enforcer, "SystemAccount", account=system)


def test_a_system_member_is_never_demoted_into_the_reach_of_seizure(
    chain, coin, accounts, do, system
):
    admit = coin.functions.admit
    chain.reverts(
        admit(system, SELLER, FOREVER), accounts.operator, "SystemAccount", account=system
    )
    do("expelSystem", system)
    chain.reverts(
        admit(system, SELLER, FOREVER), accounts.operator, "SystemAccount", account=system
    )
    do("admitSystem", system, FOREVER)
    assert account_of(chain, coin, system) == (7 * COIN, FOREVER, SYSTEM, False)


def test_a_frozen_account_is_never_promoted_out_of_the_reach_of_seizure(chain, coin, accounts, do):
    buyer = accounts.buyer.address
    do("freeze", buyer, REASON)
    admission = coin.functions.admitSystem(buyer, FOREVER)
    chain.reverts(admission, accounts.steward, "AccountIsFrozen", account=buyer)


# ------------------------------------------------------------------------------- seizure


def test_seizure_takes_a_frozen_accounts_coin(chain, coin, accounts, do):
    buyer, treasury = accounts.buyer.address, accounts.treasury.address
    do("freeze", buyer, REASON)
    receipt = do("seize", buyer, treasury, COIN, REFERENCE)
    assert receipt.event(coin, "Transfer") == {"from": buyer, "to": treasury, "value": COIN}
    assert receipt.event(coin, "Seized") == {
        "from": buyer,
        "to": treasury,
        "amount": COIN,
        "ref": REFERENCE,
    }
    assert account_of(chain, coin, buyer) == (BALANCE - COIN, MEMBER_UNTIL, BUYER, True)
    assert chain.call(coin.functions.balanceOf(treasury)) == COIN
    assert chain.call(coin.functions.totalSupply()) == 2 * BALANCE


def test_seizure_reaches_a_frozen_account_whose_membership_expired(chain, coin, accounts, do):
    buyer, treasury = accounts.buyer.address, accounts.treasury.address
    expelled_at = chain.time
    do("expel", buyer)
    do("freeze", buyer, REASON)
    do("seize", buyer, treasury, BALANCE, REFERENCE)
    assert account_of(chain, coin, buyer) == (0, expelled_at, BUYER, True)
    assert chain.call(coin.functions.balanceOf(treasury)) == BALANCE


def test_only_a_frozen_account_can_be_seized(chain, coin, accounts):
    for holder in (accounts.buyer.address, accounts.stranger.address):
        seize = coin.functions.seize(holder, accounts.treasury.address, COIN, REFERENCE)
        chain.reverts(seize, accounts.enforcer, "AccountNotFrozen", account=holder)


def test_a_seizure_reference_works_once(chain, coin, accounts, do):
    buyer, treasury = accounts.buyer.address, accounts.treasury.address
    do("freeze", buyer, REASON)
    do("seize", buyer, treasury, COIN, REFERENCE)
    again = coin.functions.seize(buyer, treasury, COIN, REFERENCE)
    chain.reverts(again, accounts.enforcer, "ReferenceUsed", ref=REFERENCE)


def test_seizure_can_neither_mint_nor_burn_nor_take_nothing_nor_too_much(chain, coin, accounts, do):
    buyer, treasury = accounts.buyer.address, accounts.treasury.address
    do("freeze", buyer, REASON)
    for parties, amount, error, arguments in [
        ((ZERO_ADDRESS, treasury), COIN, "AccountNotFrozen", {"account": ZERO_ADDRESS}),
        ((buyer, ZERO_ADDRESS), COIN, "ERC20InvalidReceiver", {"receiver": ZERO_ADDRESS}),
        ((buyer, treasury), 0, "AmountIsZero", {}),
        (
            (buyer, treasury),
            BALANCE + 1,
            "ERC20InsufficientBalance",
            {"sender": buyer, "balance": BALANCE, "needed": BALANCE + 1},
        ),
        ((buyer, buyer), COIN, "AccountIsFrozen", {"account": buyer}),
    ]:
        seize = coin.functions.seize(*parties, amount, REFERENCE)
        chain.reverts(seize, accounts.enforcer, error, **arguments)


# ---------------------------------------------------------------------------- pause, roles


def test_pausing_is_announced_and_not_repeated(chain, coin, accounts, do):
    chain.reverts(coin.functions.unpause(), accounts.operator, "CoinNotPaused")
    assert do("pause").event(coin, "Paused") == {"account": accounts.operator.address}
    assert chain.call(coin.functions.paused())
    chain.reverts(coin.functions.pause(), accounts.operator, "CoinPaused")
    assert do("unpause").event(coin, "Unpaused") == {"account": accounts.operator.address}
    assert not chain.call(coin.functions.paused())


def test_membership_is_administered_while_paused(accounts, do):
    do("pause")
    do("admit", accounts.stranger.address, BUYER, FOREVER)
    do("freeze", accounts.stranger.address, REASON)
    do("unfreeze", accounts.stranger.address)
    do("expel", accounts.stranger.address)
    do("setMintLimit", accounts.treasury.address, COIN, 0)


CALLS = {
    "mint": lambda a: (a.buyer.address, COIN, REFERENCE),
    "admit": lambda a: (a.stranger.address, BUYER, FOREVER),
    "admitMany": lambda a: ([a.stranger.address], BUYER, FOREVER),
    "expel": lambda a: (a.buyer.address,),
    "freeze": lambda a: (a.buyer.address, REASON),
    "unfreeze": lambda a: (a.buyer.address,),
    "seize": lambda a: (a.buyer.address, a.treasury.address, COIN, REFERENCE),
    "pause": lambda a: (),
    "unpause": lambda a: (),
    "setMintLimit": lambda a: (a.treasury.address, COIN, 0),
    "admitSystem": lambda a: (a.stranger.address, FOREVER),
    "expelSystem": lambda a: (a.stranger.address,),
}
ROLE_OF = {name: role for role, names in RESTRICTED["PlatformCoin"].items() for name in names}


def test_every_role_is_tried():
    assert set(CALLS) == set(ROLE_OF)


@pytest.mark.parametrize("name", CALLS)
def test_each_function_is_its_roles_alone(name, chain, coin, manager, accounts):
    function = coin.functions[name](*CALLS[name](accounts))
    role_id = ROLE_IDS[ROLE_OF[name]]
    for account in accounts.all():
        is_holder, _ = chain.call(manager.functions.hasRole(role_id, account.address))
        if not is_holder:
            chain.reverts(function, account, "AccessManagedUnauthorized", caller=account.address)
