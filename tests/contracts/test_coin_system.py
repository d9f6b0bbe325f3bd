"""Contracts of the platform: admitted by the steward, pulling signed payments, paying two at once.

A key stands in for the contract, so that it can call for itself.
"""

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
    SELLER,
    SYSTEM,
)
from tests.contracts.signing import sign_cancel, sign_permit, sign_transfer

FOREVER = 2**40 - 1
NONCE = keccak(text="order A-1001")
ENDLESS = 2**256 - 1
REASON = keccak(text="case 1")


@pytest.fixture
def system(platform, chain, accounts):
    """A system member with a key of its own: the stranger, admitted."""
    admit = platform.coin.functions.admitSystem(accounts.stranger.address, FOREVER)
    chain.send(admit, by=accounts.steward)
    return accounts.stranger


def balance(chain, coin, account):
    return chain.call(coin.functions.balanceOf(account.address))


def account_of(chain, coin, account):
    return tuple(chain.call(coin.functions.accountOf(account.address)))


# ---------------------------------------------------------------------------- admission


def test_the_steward_admits_and_renews_a_system_member(chain, coin, accounts):
    stranger = accounts.stranger
    for until in (MEMBER_UNTIL, FOREVER):
        admit = coin.functions.admitSystem(stranger.address, until)
        receipt = chain.send(admit, by=accounts.steward)
        expected = {"account": stranger.address, "kinds": SYSTEM, "memberUntil": until}
        assert receipt.event(coin, "MemberAdmitted") == expected
        assert account_of(chain, coin, stranger) == (0, until, SYSTEM, False)


def test_a_member_that_becomes_one_of_the_system_keeps_its_coin(chain, coin, accounts):
    admit = coin.functions.admitSystem(accounts.buyer.address, FOREVER)
    chain.send(admit, by=accounts.steward)
    assert account_of(chain, coin, accounts.buyer) == (BALANCE, FOREVER, SYSTEM, False)


def test_no_frozen_account_nor_zero_nor_one_of_the_past_joins_the_system(chain, coin, accounts):
    chain.send(coin.functions.freeze(accounts.buyer.address, REASON), by=accounts.operator)
    now = chain.time
    stranger = accounts.stranger.address
    for account, until, error, arguments in (
        (accounts.buyer.address, FOREVER, "AccountIsFrozen", {"account": accounts.buyer.address}),
        (ZERO_ADDRESS, FOREVER, "ERC20InvalidReceiver", {"receiver": ZERO_ADDRESS}),
        (stranger, now, "InvalidMemberUntil", {"memberUntil": now, "nowTime": now}),
    ):
        admit = coin.functions.admitSystem(account, until)
        chain.reverts(admit, accounts.steward, error, **arguments)


@pytest.mark.parametrize("kinds", [SYSTEM, SYSTEM | SELLER, 31])
def test_the_registrar_gives_nobody_the_rights_of_the_system(chain, coin, accounts, kinds):
    for account in (accounts.stranger.address, accounts.buyer.address):
        refusal = (accounts.operator, "SystemAccount")
        admit = coin.functions.admit(account, kinds, FOREVER)
        chain.reverts(admit, *refusal, account=account)
        many = coin.functions.admitMany([accounts.seller.address, account], kinds, FOREVER)
        chain.reverts(many, *refusal)


def test_the_registrar_neither_changes_nor_expels_a_system_member(chain, coin, accounts, system):
    address = system.address
    for kinds in (BUYER, SELLER, LENDER, OPERATOR):
        for call in (
            coin.functions.admit(address, kinds, FOREVER),
            coin.functions.admitMany([accounts.buyer.address, address], kinds, FOREVER),
        ):
            chain.reverts(call, accounts.operator, "SystemAccount", account=address)
    expel = coin.functions.expel(address)
    chain.reverts(expel, accounts.operator, "SystemAccount", account=address)


def test_the_steward_ends_a_system_membership_and_begins_it_again(chain, coin, accounts, system):
    chain.send(coin.functions.transfer(system.address, COIN), by=accounts.buyer)
    expel = coin.functions.expelSystem(system.address)
    receipt = chain.send(expel, by=accounts.steward)
    assert receipt.event(coin, "MemberExpelled") == {"account": system.address}
    assert account_of(chain, coin, system) == (COIN, receipt.timestamp, SYSTEM, False)
    transfer = coin.functions.transfer(accounts.buyer.address, COIN)
    chain.reverts(transfer, system, "NotAMember", account=system.address)
    chain.reverts(expel, accounts.steward, "NotAMember", memberUntil=receipt.timestamp)
    admit = coin.functions.admitSystem(system.address, FOREVER)
    chain.send(admit, by=accounts.steward)
    chain.send(transfer, by=system)


def test_the_steward_expels_nobody_else(chain, coin, accounts):
    for account in (accounts.buyer.address, accounts.stranger.address):
        expel = coin.functions.expelSystem(account)
        chain.reverts(expel, accounts.steward, "NotASystemAccount", account=account)


# --------------------------------------------------------------------------------- pull


@pytest.fixture
def pull(coin, accounts, system):
    """A pull by `system` of a coin signed by the buyer; changed terms are not what was signed."""

    def call(signed_nonce=NONCE, valid_after=0, valid_before=ENDLESS, signature=None, **changes):
        signed = sign_transfer(
            accounts.buyer,
            coin,
            system.address,
            COIN,
            signed_nonce,
            valid_after=valid_after,
            valid_before=valid_before,
            receive=True,
        )
        terms = {
            "from": accounts.buyer.address,
            "value": COIN,
            "validAfter": valid_after,
            "validBefore": valid_before,
            "nonce": signed_nonce,
            **changes,
        }
        return coin.functions.pullWithAuthorization(*terms.values(), signature or signed.packed)

    return call


def test_a_pull_moves_the_signers_coin_to_the_caller(chain, coin, accounts, system, pull):
    receipt = chain.send(pull(), by=system)
    assert balance(chain, coin, system) == COIN
    assert balance(chain, coin, accounts.buyer) == BALANCE - COIN
    assert receipt.event(coin, "Transfer") == {
        "from": accounts.buyer.address,
        "to": system.address,
        "value": COIN,
    }
    assert len(receipt.logs) == 1


def test_a_pull_marks_no_nonce_so_the_caller_must_guard_it(chain, coin, accounts, system, pull):
    """As its documentation says; the escrow's word of an order is that guard."""
    chain.send(pull(), by=system)
    state = coin.functions.authorizationState(accounts.buyer.address, NONCE)
    assert not chain.call(state)
    chain.send(pull(), by=system)
    assert balance(chain, coin, system) == 2 * COIN


def test_only_system_members_pull(chain, coin, accounts, pull):
    for caller in (accounts.seller, accounts.operator, accounts.treasury, accounts.steward):
        chain.reverts(pull(), caller, "NotASystemAccount", account=caller.address)


def test_a_system_member_of_the_past_pulls_no_more(chain, coin, accounts, system, pull):
    now = chain.time + 100
    chain.send(coin.functions.admitSystem(system.address, now), by=accounts.steward)
    chain.travel_to(now - 1)
    chain.call(pull(), by=system)
    chain.travel_to(now)
    chain.reverts(pull(), system, "NotAMember", account=system.address, memberUntil=now)


def test_another_system_member_cannot_use_the_signature(chain, coin, accounts, pull):
    other = accounts.enforcer
    chain.send(coin.functions.admitSystem(other.address, FOREVER), by=accounts.steward)
    chain.reverts(pull(), other, "InvalidSignature", signer=accounts.buyer.address)


def test_a_pull_holds_strictly_inside_its_window(chain, system, pull):
    now = chain.time
    call = pull(valid_after=now)
    chain.reverts(call, system, "AuthorizationNotYetValid", validAfter=now, nowTime=now)
    call = pull(valid_before=now)
    chain.reverts(call, system, "AuthorizationExpired", validBefore=now, nowTime=now)
    chain.call(pull(valid_after=now - 1, valid_before=now + 1), by=system)


@pytest.mark.parametrize(
    "changes",
    [{"value": COIN + 1}, {"value": 0}, {"validBefore": 2**255}, {"nonce": keccak(text="2")}],
    ids=lambda changes: next(iter(changes)),
)
def test_no_signed_term_of_a_pull_can_be_changed(chain, accounts, system, pull, changes):
    chain.reverts(pull(**changes), system, "InvalidSignature", signer=accounts.buyer.address)


def test_a_pull_takes_from_the_signer_alone(chain, accounts, system, pull):
    victim = accounts.seller.address
    chain.reverts(pull(**{"from": victim}), system, "InvalidSignature", signer=victim)
    zero = pull(**{"from": ZERO_ADDRESS, "signature": b"\0" * 65})
    chain.reverts(zero, system, "InvalidSignature", signer=ZERO_ADDRESS)


def test_a_signed_transfer_to_anyone_else_cannot_be_pulled(chain, coin, accounts, system, pull):
    for receive, to in ((False, system.address), (True, accounts.seller.address)):
        signed = sign_transfer(accounts.buyer, coin, to, COIN, NONCE, receive=receive)
        call = pull(signature=signed.packed)
        chain.reverts(call, system, "InvalidSignature", signer=accounts.buyer.address)


def test_a_nonce_used_or_canceled_is_not_pulled(chain, coin, accounts, system, pull):
    buyer = accounts.buyer
    used, canceled = keccak(text="used"), keccak(text="canceled")
    signed = sign_transfer(buyer, coin, system.address, COIN, used, receive=True)
    terms = (buyer.address, system.address, COIN, 0, ENDLESS, used, signed.packed)
    receive = coin.functions.receiveWithAuthorization(*terms)
    chain.send(receive, by=system)
    cancel = sign_cancel(buyer, coin, canceled)
    function = coin.functions.cancelAuthorization(buyer.address, canceled, cancel.packed)
    chain.send(function, by=accounts.operator)
    for nonce in (used, canceled):
        refusal = {"authorizer": buyer.address, "nonce": nonce}
        chain.reverts(pull(signed_nonce=nonce), system, "AuthorizationAlreadyUsed", **refusal)


@pytest.mark.parametrize("obstacle", ["frozen", "expelled", "paused", "poor"])
def test_a_pull_asks_what_every_transfer_asks(chain, coin, accounts, system, pull, obstacle):
    buyer = accounts.buyer.address
    call, error = {
        "frozen": (coin.functions.freeze(buyer, REASON), "AccountIsFrozen"),
        "expelled": (coin.functions.expel(buyer), "NotAMember"),
        "paused": (coin.functions.pause(), "CoinPaused"),
        "poor": (coin.functions.transfer(system.address, BALANCE), "ERC20InsufficientBalance"),
    }[obstacle]
    chain.send(call, by=accounts.buyer if obstacle == "poor" else accounts.operator)
    chain.reverts(pull(), system, error)


def test_a_pull_from_a_contract_account_of_one_owner_is_no_replay_on_its_other(
    chain, coin, accounts, system, test_contracts, pull
):
    """EIP-1271: the signed message names the account, so it is good for that one alone."""
    wallets = []
    for _ in range(2):
        wallet = chain.deploy(
            test_contracts["ContractWallet"], accounts.lender.address, by=accounts.admin
        )
        admit = coin.functions.admit(wallet.address, BUYER, FOREVER)
        chain.send(admit, by=accounts.operator)
        chain.send(coin.functions.transfer(wallet.address, COIN), by=accounts.buyer)
        wallets.append(wallet.address)
    first, second = wallets
    signed = sign_transfer(
        accounts.lender, coin, system.address, COIN, NONCE, from_=first, receive=True
    )
    call = pull(**{"from": second, "signature": signed.packed})
    chain.reverts(call, system, "InvalidSignature", signer=second)
    chain.send(pull(**{"from": first, "signature": signed.packed}), by=system)
    assert balance(chain, coin, system) == COIN


# ------------------------------------------------------------------------------ disburse


@pytest.fixture
def disburse(coin, accounts):
    """A disbursement, to seller, lender and fee receiver if none is named."""

    def call(*amounts, first=None, second=None, third=None):
        parties = (first or accounts.seller, second or accounts.lender)
        parties = (*parties, third or accounts.fee_receiver)
        terms = zip(parties, (*amounts, 0, 0)[:3], strict=True)
        return coin.functions.disburse(
            *(part for to, amount in terms for part in (to.address, amount))
        )

    return call


def paid(chain, call, by):
    """What it answers; and it is sent."""
    answer = chain.call(call, by=by)
    return answer, chain.send(call, by=by)


def test_three_are_paid_at_once(chain, coin, accounts, disburse):
    fees = balance(chain, coin, accounts.fee_receiver)
    answer, receipt = paid(chain, disburse(3, 5, 7), accounts.buyer)
    assert answer == (True, True, True)
    assert balance(chain, coin, accounts.buyer) == BALANCE - 15
    assert balance(chain, coin, accounts.seller) == BALANCE + 3
    assert balance(chain, coin, accounts.lender) == 5
    assert balance(chain, coin, accounts.fee_receiver) == fees + 7
    buyer = accounts.buyer.address
    assert receipt.events(coin, "Transfer") == [
        {"from": buyer, "to": accounts.seller.address, "value": 3},
        {"from": buyer, "to": accounts.lender.address, "value": 5},
        {"from": buyer, "to": accounts.fee_receiver.address, "value": 7},
    ]


@pytest.mark.parametrize("obstacle", ["freeze", "expel"])
@pytest.mark.parametrize(
    "blocked",
    [
        ("seller",),
        ("lender",),
        ("fee_receiver",),
        ("seller", "lender"),
        ("lender", "fee_receiver"),
        ("seller", "lender", "fee_receiver"),
    ],
)
def test_a_receiver_that_may_not_receive_stops_not_the_other(
    chain, coin, accounts, disburse, obstacle, blocked
):
    for name in blocked:
        arguments = (REASON,) if obstacle == "freeze" else ()
        address = getattr(accounts, name).address
        chain.send(coin.functions[obstacle](address, *arguments), by=accounts.operator)
    parts = {"seller": 3, "lender": 5, "fee_receiver": 7}
    before = {name: balance(chain, coin, getattr(accounts, name)) for name in parts}
    answer, receipt = paid(chain, disburse(*parts.values()), accounts.buyer)
    assert answer == tuple(name not in blocked for name in parts)
    moved = {name: 0 if name in blocked else part for name, part in parts.items()}
    for name in parts:
        after = balance(chain, coin, getattr(accounts, name))
        assert after == before[name] + moved[name]
    assert balance(chain, coin, accounts.buyer) == BALANCE - sum(moved.values())
    assert len(receipt.events(coin, "Transfer")) == 3 - len(blocked)


def test_a_stranger_and_the_zero_address_are_not_paid(chain, coin, accounts):
    for receiver in (accounts.stranger.address, ZERO_ADDRESS):
        call = coin.functions.disburse(receiver, 3, receiver, 5, receiver, 7)
        answer, receipt = paid(chain, call, accounts.buyer)
        assert (answer, receipt.logs) == ((False, False, False), [])
        assert balance(chain, coin, accounts.buyer) == BALANCE


def test_nothing_counts_as_paid_and_touches_nobody(chain, coin, accounts, disburse):
    call = disburse(0, 0, 0, first=accounts.stranger)
    answer, receipt = paid(chain, call, accounts.buyer)
    assert (answer, receipt.logs) == ((True, True, True), [])
    answer, _ = paid(chain, disburse(0, 5, first=accounts.stranger), accounts.buyer)
    assert answer == (True, True, True)
    assert balance(chain, coin, accounts.lender) == 5


def test_paying_oneself_or_one_receiver_twice_keeps_the_sum(chain, coin, accounts, disburse):
    buyer, seller = accounts.buyer, accounts.seller
    paid(chain, disburse(3, 5, 7, first=buyer, second=buyer, third=buyer), buyer)
    assert balance(chain, coin, buyer) == BALANCE
    paid(chain, disburse(3, 1, 4, second=seller, third=seller), buyer)
    assert balance(chain, coin, seller) == BALANCE + 8
    paid(chain, disburse(3, BALANCE - 11, first=buyer, second=seller), buyer)
    assert (balance(chain, coin, buyer), balance(chain, coin, seller)) == (3, 2 * BALANCE - 3)


@pytest.mark.parametrize(
    ("amounts", "error"),
    [
        ((BALANCE, 1), "ERC20InsufficientBalance"),
        ((1, 1, BALANCE - 1), "ERC20InsufficientBalance"),
        ((0, BALANCE + 1), "ERC20InsufficientBalance"),
        ((2**128, 0), "ERC20InsufficientBalance"),
        ((2**256 - 1, 1), "Panic"),
        ((0, 2**255, 2**255), "Panic"),
    ],
)
def test_nobody_disburses_more_than_it_has(chain, accounts, disburse, amounts, error):
    chain.reverts(disburse(*amounts), accounts.buyer, error)


def test_all_of_a_balance_can_be_disbursed(chain, coin, accounts, disburse):
    paid(chain, disburse(BALANCE - 3, 1, 2), accounts.buyer)
    assert balance(chain, coin, accounts.buyer) == 0


@pytest.mark.parametrize("amounts", [(3, 5, 7), (0, 5), (3,), (0, 0, 0)])
def test_a_pause_stops_a_disbursement(chain, coin, accounts, disburse, amounts):
    chain.send(coin.functions.pause(), by=accounts.operator)
    chain.reverts(disburse(*amounts), accounts.buyer, "CoinPaused")


def test_who_is_frozen_expelled_or_no_member_disburses_nothing(chain, coin, accounts, disburse):
    address = accounts.stranger.address
    chain.reverts(disburse(0, 0), accounts.stranger, "NotAMember", account=address)
    chain.send(coin.functions.freeze(accounts.buyer.address, REASON), by=accounts.operator)
    chain.send(coin.functions.expel(accounts.seller.address), by=accounts.operator)
    chain.reverts(disburse(3, 5), accounts.buyer, "AccountIsFrozen")
    chain.reverts(disburse(3, 5), accounts.seller, "NotAMember")


# --------------------------------------------------------------- permits, run ahead of


def test_who_runs_ahead_with_a_permit_stops_no_payment(chain, coin, accounts):
    """The permit is used up, and the allowance stands: what it was signed for goes on."""
    buyer, spender = accounts.buyer, accounts.seller
    signed = sign_permit(buyer, coin, spender.address, COIN, nonce=0)
    permit = coin.functions.permit(buyer.address, spender.address, COIN, ENDLESS, *signed.vrs)
    chain.send(permit, by=accounts.stranger)
    chain.reverts(permit, spender, "ERC2612InvalidSigner")
    take = coin.functions.transferFrom(buyer.address, spender.address, COIN)
    chain.send(take, by=spender)
    assert balance(chain, coin, spender) == BALANCE + COIN
