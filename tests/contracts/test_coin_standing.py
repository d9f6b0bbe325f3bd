"""Every entry point that moves coin, with each party in each bad standing, and paused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from eth_account.signers.local import LocalAccount
from eth_utils import keccak
from web3.contract.contract import ContractFunction

from tests.contracts.chain import Reverted
from tests.contracts.conftest import BUYER, COIN, SELLER
from tests.contracts.signing import sign_cancel, sign_permit, sign_transfer

AMOUNT = 5 * COIN
NONCE = keccak(text="an authorization")
FOREVER = 2**256 - 1
MEMO = keccak(text="order A-1001")


@dataclass(frozen=True)
class Movement:
    """One entry point: how it is called, and which parties it has."""

    name: str
    call: Callable[[World], tuple[ContractFunction, LocalAccount]]
    sender: bool = True
    receiver: bool = True
    while_paused: bool = False

    def __str__(self) -> str:
        return self.name


class World:
    """A sender and a receiver in good standing, and a relayer that is no member."""

    def __init__(self, chain, coin, accounts):
        self.chain, self.coin, self.accounts = chain, coin, accounts
        self.functions = coin.functions
        self.sender, self.receiver = accounts.buyer, accounts.seller
        self.relayer = accounts.stranger
        self.until = chain.time + 1000
        self.admit(self.sender, BUYER)
        self.admit(self.receiver, SELLER)

    def do(self, function: ContractFunction, by: LocalAccount | None = None) -> None:
        self.chain.send(function, by=by or self.accounts.operator)

    def admit(self, member: LocalAccount, kinds: int, until: int | None = None) -> None:
        self.do(self.functions.admit(member.address, kinds, until or self.until))

    def approve(self) -> None:
        self.do(self.functions.approve(self.relayer.address, AMOUNT), by=self.sender)

    def authorization(self, *, receive: bool, packed: bool) -> ContractFunction:
        signature = sign_transfer(
            self.sender, self.coin, self.receiver.address, AMOUNT, NONCE, receive=receive
        )
        name = "receiveWithAuthorization" if receive else "transferWithAuthorization"
        terms = (self.sender.address, self.receiver.address, AMOUNT, 0, FOREVER, NONCE)
        last = [signature.packed] if packed else signature.vrs
        return self.functions[name](*terms, *last)

    def freeze(self, member: LocalAccount) -> None:
        self.do(self.functions.freeze(member.address, keccak(text="case 1")))


def transfer(world):
    return world.functions.transfer(world.receiver.address, AMOUNT), world.sender


def transfer_with_memo(world):
    return world.functions.transferWithMemo(world.receiver.address, AMOUNT, MEMO), world.sender


def transfer_many(world):
    return world.functions.transferMany([(world.receiver.address, AMOUNT, MEMO)]), world.sender


def transfer_from(world):
    world.approve()
    parties = (world.sender.address, world.receiver.address)
    return world.functions.transferFrom(*parties, AMOUNT), world.relayer


def transfer_from_with_memo(world):
    world.approve()
    parties = (world.sender.address, world.receiver.address)
    return world.functions.transferFromWithMemo(*parties, AMOUNT, MEMO), world.relayer


def transfer_with_authorization(world):
    return world.authorization(receive=False, packed=False), world.relayer


def transfer_with_authorization_bytes(world):
    return world.authorization(receive=False, packed=True), world.relayer


def receive_with_authorization(world):
    return world.authorization(receive=True, packed=False), world.receiver


def receive_with_authorization_bytes(world):
    return world.authorization(receive=True, packed=True), world.receiver


def mint(world):
    reference = keccak(text="bank statement 17")
    return world.functions.mint(world.receiver.address, AMOUNT, reference), world.accounts.treasury


def redeem(world):
    return world.functions.redeem(AMOUNT, keccak(text="payout 17")), world.sender


def seize(world):
    world.admit(world.accounts.buyer2, BUYER)
    world.do(world.functions.transfer(world.accounts.buyer2.address, AMOUNT), by=world.sender)
    world.freeze(world.accounts.buyer2)
    parties = (world.accounts.buyer2.address, world.receiver.address)
    reference = keccak(text="court order 17")
    return world.functions.seize(*parties, AMOUNT, reference), world.accounts.enforcer


MOVEMENTS = [
    Movement("transfer", transfer),
    Movement("transferWithMemo", transfer_with_memo),
    Movement("transferMany", transfer_many),
    Movement("transferFrom", transfer_from),
    Movement("transferFromWithMemo", transfer_from_with_memo),
    Movement("transferWithAuthorization(v,r,s)", transfer_with_authorization),
    Movement("transferWithAuthorization(bytes)", transfer_with_authorization_bytes),
    Movement("receiveWithAuthorization(v,r,s)", receive_with_authorization),
    Movement("receiveWithAuthorization(bytes)", receive_with_authorization_bytes),
    Movement("mint", mint, sender=False),
    Movement("redeem", redeem, receiver=False, while_paused=True),
    # Who is seized is frozen, by definition: see test_coin_membership.py.
    Movement("seize", seize, sender=False, while_paused=True),
]
WITH_PARTY = [
    pytest.param(movement, party, id=f"{movement}-{party}")
    for movement in MOVEMENTS
    for party in ("sender", "receiver")
    if getattr(movement, party)
]
every_movement = pytest.mark.parametrize("movement", MOVEMENTS, ids=str)
STILL_WHILE_PAUSED = [param for param in WITH_PARTY if param.values[0].while_paused]
every_party = pytest.mark.parametrize(("movement", "party"), WITH_PARTY)


@pytest.fixture
def world(chain, coin, accounts):
    return World(chain, coin, accounts)


@every_movement
def test_members_in_good_standing_move_coin(movement, world):
    function, by = movement.call(world)
    parties = (world.sender.address, world.receiver.address)
    before = [world.chain.call(world.functions.balanceOf(party)) for party in parties]
    world.do(function, by=by)
    after = [world.chain.call(world.functions.balanceOf(party)) for party in parties]
    assert after == [before[0] - AMOUNT * movement.sender, before[1] + AMOUNT * movement.receiver]


@every_party
def test_an_address_never_admitted_takes_no_part(movement, party, world):
    setattr(world, party, world.accounts.stranger)
    function, by = movement.call(world)
    stranger = world.accounts.stranger.address
    world.chain.reverts(function, by, "NotAMember", account=stranger, memberUntil=0)


@every_party
def test_an_expired_member_takes_no_part_from_the_very_second(movement, party, world):
    function, by = movement.call(world)
    member = getattr(world, party)
    until = world.chain.time + 100
    world.admit(member, BUYER, until)
    world.chain.travel_to(until - 1)
    world.chain.call(function, by=by)
    world.chain.travel_to(until)
    world.chain.reverts(function, by, "NotAMember", account=member.address, memberUntil=until)


@every_party
def test_an_expelled_member_takes_no_part(movement, party, world):
    function, by = movement.call(world)
    member = getattr(world, party)
    expelled_at = world.chain.time
    world.do(world.functions.expel(member.address))
    world.chain.reverts(function, by, "NotAMember", account=member.address, memberUntil=expelled_at)


@every_party
def test_a_frozen_member_takes_no_part_until_unfrozen(movement, party, world):
    function, by = movement.call(world)
    member = getattr(world, party)
    world.freeze(member)
    world.chain.reverts(function, by, "AccountIsFrozen", account=member.address)
    world.do(world.functions.unfreeze(member.address))
    world.chain.call(function, by=by)


@every_movement
def test_a_pause_stops_all_but_redemption_and_seizure(movement, world):
    function, by = movement.call(world)
    world.do(world.functions.pause())
    if movement.while_paused:
        world.chain.call(function, by=by)
    else:
        world.chain.reverts(function, by, "CoinPaused")
    world.do(world.functions.unpause())
    world.chain.call(function, by=by)


@pytest.mark.parametrize(("movement", "party"), STILL_WHILE_PAUSED)
@pytest.mark.parametrize("standing", ["unknown", "expired", "frozen"])
def test_no_pause_opens_a_door(movement, party, standing, world):
    """What goes on while paused still asks for the same standing."""
    if standing == "unknown":
        setattr(world, party, world.accounts.stranger)
    function, by = movement.call(world)
    member = getattr(world, party)
    if standing == "expired":
        world.do(world.functions.expel(member.address))
    if standing == "frozen":
        world.freeze(member)
    world.do(world.functions.pause())
    error = "AccountIsFrozen" if standing == "frozen" else "NotAMember"
    world.chain.reverts(function, by, error, account=member.address)


@pytest.mark.parametrize("call", [transfer_from, transfer_with_authorization])
def test_the_relayers_own_standing_is_never_asked(call, world):
    world.relayer = world.accounts.buyer2
    function, by = call(world)
    world.freeze(world.relayer)
    world.do(world.functions.expel(world.relayer.address))
    world.do(function, by=by)


def approve(world):
    return world.functions.approve(world.relayer.address, AMOUNT), world.sender


def permit(world):
    signature = sign_permit(world.sender, world.coin, world.relayer.address, AMOUNT, 0)
    terms = (world.sender.address, world.relayer.address, AMOUNT, FOREVER)
    return world.functions.permit(*terms, *signature.vrs), world.relayer


def cancel(world):
    signature = sign_cancel(world.sender, world.coin, NONCE)
    return (
        world.functions.cancelAuthorization(world.sender.address, NONCE, *signature.vrs),
        world.relayer,
    )


@pytest.mark.parametrize("call", [approve, permit, cancel])
@pytest.mark.parametrize("standing", ["unknown", "expired", "frozen", "paused"])
def test_what_moves_no_coin_asks_no_standing(call, standing, world):
    if standing == "unknown":
        world.sender = world.accounts.stranger
    if standing == "expired":
        world.do(world.functions.expel(world.sender.address))
    if standing == "frozen":
        world.freeze(world.sender)
    if standing == "paused":
        world.do(world.functions.pause())
    function, by = call(world)
    world.do(function, by=by)


def test_a_batch_with_one_bad_receiver_pays_nobody(world):
    payments = [
        (world.receiver.address, AMOUNT, MEMO),
        (world.accounts.stranger.address, AMOUNT, MEMO),
    ]
    balance = world.chain.call(world.functions.balanceOf(world.receiver.address))
    with pytest.raises(Reverted, match="NotAMember"):
        world.do(world.functions.transferMany(payments), by=world.sender)
    assert world.chain.call(world.functions.balanceOf(world.receiver.address)) == balance
