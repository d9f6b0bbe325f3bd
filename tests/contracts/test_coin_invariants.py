"""Random life of the coin against a model in Python.

1. totalSupply = sum of balances = minted - burned, and never above what the limits allowed.
2. No balance of a frozen, expired or unknown account changes, but by seizure; system accounts
   cannot be seized.
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from eth_utils import keccak
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.contracts.chain import Reverted
from tests.contracts.conftest import BUYER, OPERATOR, SELLER, SYSTEM, Accounts, Platform
from tests.contracts.signing import sign_transfer

FOREVER = 2**256 - 1
CAPACITY, REFILL = 5_000, 3
PEOPLE = ["buyer", "seller", "buyer2", "seller2", "lender", "stranger"]

people = st.sampled_from(PEOPLE)
amounts = st.integers(0, 3_000)
short_times = st.integers(1, 60)


@dataclass
class Member:
    """The model of one account."""

    balance: int = 0
    until: int = 0
    kinds: int = 0
    frozen: bool = False

    def good(self, now: int) -> bool:
        return now < self.until and not self.frozen


class CoinLife(RuleBasedStateMachine):
    platform: Platform  # set by the test, as the machine is made by Hypothesis

    def __init__(self) -> None:
        super().__init__()
        self.chain, self.coin = self.platform.chain, self.platform.coin
        self.accounts: Accounts = self.platform.accounts
        self.snapshot = self.chain.snapshot()
        self.paused = False
        self.counter = 0
        self.model: dict[str, Member] = {}
        self.minted = self.burned = 0
        for name in PEOPLE:
            found = self.chain.call(self.coin.functions.accountOf(self.key(name).address))
            self.model[name] = Member(found.balance, found.memberUntil, found.kinds, found.frozen)
        self.minted = sum(member.balance for member in self.model.values())
        # A limit small enough to be met: the machine's own bucket beside the contract's.
        self.send("setMintLimit", self.accounts.treasury.address, 0, 0, by=self.accounts.admin)
        limit = (self.accounts.treasury.address, CAPACITY, REFILL)
        receipt = self.send("setMintLimit", *limit, by=self.accounts.admin)
        self.bucket, self.bucket_at = 0, receipt.timestamp
        self.minted_under_limit, self.limited_since = 0, receipt.timestamp

    def teardown(self) -> None:
        self.chain.revert_to(self.snapshot)

    def key(self, name: str) -> LocalAccount:
        account: LocalAccount = getattr(self.accounts, name)
        return account

    def fresh(self) -> bytes:
        self.counter += 1
        return keccak(text=f"reference {self.counter}")

    def send(self, name, *args, by):
        return self.chain.send(self.coin.functions[name](*args), by=by)

    def attempt(self, expected: bool, name: str, *args, by: LocalAccount) -> bool:
        """Send, and demand that it succeeds exactly when the model says so."""
        try:
            self.send(name, *args, by=by)
            reverted = None
        except Reverted as error:
            reverted = error
        assert (reverted is None) == expected, f"{name}{args}: {reverted}"
        return expected

    def may_move(self, sender: str, receiver: str, amount: int) -> bool:
        now, parties = self.chain.time, (self.model[sender], self.model[receiver])
        in_order = all(party.good(now) for party in parties)
        return not self.paused and in_order and amount <= parties[0].balance

    def move(self, sender: str, receiver: str, amount: int) -> None:
        self.model[sender].balance -= amount
        self.model[receiver].balance += amount

    # ------------------------------------------------------------------- rules

    @rule(sender=people, receiver=people, amount=amounts)
    def transfer(self, sender, receiver, amount):
        to = self.key(receiver).address
        expected = self.may_move(sender, receiver, amount)
        if self.attempt(expected, "transfer", to, amount, by=self.key(sender)):
            self.move(sender, receiver, amount)

    @rule(owner=people, spender=people, receiver=people, amount=amounts)
    def transfer_from(self, owner, spender, receiver, amount):
        self.send("approve", self.key(spender).address, amount, by=self.key(owner))
        parties = (self.key(owner).address, self.key(receiver).address)
        expected = self.may_move(owner, receiver, amount)
        by = self.key(spender)
        if self.attempt(expected, "transferFromWithMemo", *parties, amount, self.fresh(), by=by):
            self.move(owner, receiver, amount)

    @rule(sender=people, receiver=people, relayer=people, amount=amounts)
    def transfer_with_authorization(self, sender, receiver, relayer, amount):
        nonce, to = self.fresh(), self.key(receiver).address
        signature = sign_transfer(self.key(sender), self.coin, to, amount, nonce)
        terms = (self.key(sender).address, to, amount, 0, FOREVER, nonce, signature.packed)
        expected = self.may_move(sender, receiver, amount)
        by = self.key(relayer)
        if self.attempt(expected, "transferWithAuthorization", *terms, by=by):
            self.move(sender, receiver, amount)
            self.attempt(False, "transferWithAuthorization", *terms, by=by)

    @rule(sender=people, receivers=st.lists(people, max_size=3), amount=amounts)
    def transfer_many(self, sender, receivers, amount):
        now = self.chain.time
        parties = [self.model[name] for name in {sender, *receivers}]
        expected = not receivers or (
            not self.paused
            and all(party.good(now) for party in parties)
            and self.affords(sender, receivers, amount)
        )
        payments = [(self.key(name).address, amount, self.fresh()) for name in receivers]
        if self.attempt(expected, "transferMany", payments, by=self.key(sender)):
            for name in receivers:
                self.move(sender, name, amount)

    def affords(self, sender: str, receivers: list[str], amount: int) -> bool:
        left = self.model[sender].balance
        for receiver in receivers:
            if amount > left:
                return False
            left -= 0 if receiver == sender else amount
        return True

    @rule(receiver=people, amount=amounts)
    def mint(self, receiver, amount):
        now = self.chain.time
        available = min(CAPACITY, self.bucket + REFILL * (now - self.bucket_at))
        good = self.model[receiver].good(now) and not self.paused
        expected = good and 0 < amount <= available
        terms = (self.key(receiver).address, amount, self.fresh())
        if self.attempt(expected, "mint", *terms, by=self.accounts.treasury):
            self.bucket, self.bucket_at = available - amount, now
            self.minted += amount
            self.minted_under_limit += amount
            self.model[receiver].balance += amount

    @rule(sender=people, amount=amounts)
    def redeem(self, sender, amount):
        member = self.model[sender]
        expected = member.good(self.chain.time) and 0 < amount <= member.balance
        if self.attempt(expected, "redeem", amount, self.fresh(), by=self.key(sender)):
            member.balance -= amount
            self.burned += amount

    @rule(victim=people, receiver=people, amount=amounts)
    def seize(self, victim, receiver, amount):
        sender, taker = self.model[victim], self.model[receiver]
        expected = sender.frozen and taker.good(self.chain.time) and 0 < amount <= sender.balance
        terms = (self.key(victim).address, self.key(receiver).address, amount, self.fresh())
        if self.attempt(expected, "seize", *terms, by=self.accounts.enforcer):
            assert not sender.kinds & SYSTEM
            self.move(victim, receiver, amount)

    @rule(name=people, kinds=st.sampled_from([BUYER, SELLER, OPERATOR, SYSTEM]), for_=short_times)
    def admit(self, name, kinds, for_):
        member, until = self.model[name], self.chain.time + for_
        expected = not kinds & SYSTEM and not member.kinds & SYSTEM
        terms = (self.key(name).address, kinds, until)
        if self.attempt(expected, "admit", *terms, by=self.accounts.operator):
            member.kinds, member.until = kinds, until

    @rule(name=people, for_=short_times)
    def admit_system(self, name, for_):
        member, until = self.model[name], self.chain.time + for_
        terms = (self.key(name).address, until)
        if self.attempt(not member.frozen, "admitSystem", *terms, by=self.accounts.steward):
            member.kinds, member.until = SYSTEM, until

    @rule(name=people, system=st.booleans())
    def expel(self, name, system):
        member, now = self.model[name], self.chain.time
        function = "expelSystem" if system else "expel"
        by = self.accounts.steward if system else self.accounts.operator
        expected = system == bool(member.kinds & SYSTEM) and now < member.until
        if self.attempt(expected, function, self.key(name).address, by=by):
            member.until = now

    @rule(sender=people, payments=st.tuples(*[st.tuples(people, amounts)] * 3))
    def disburse(self, sender, payments):
        member, now = self.model[sender], self.chain.time
        total = sum(amount for _, amount in payments)
        expected = member.good(now) and total <= member.balance and not self.paused
        terms = [x for name, amount in payments for x in (self.key(name).address, amount)]
        paid = [not amount or self.model[name].good(now) for name, amount in payments]
        if expected:
            call = self.coin.functions.disburse(*terms)
            assert list(self.chain.call(call, by=self.key(sender))) == paid
        if self.attempt(expected, "disburse", *terms, by=self.key(sender)):
            for (name, amount), done in zip(payments, paid, strict=True):
                if done:
                    self.move(sender, name, amount)

    @rule(name=people)
    def freeze(self, name):
        member, terms = self.model[name], (self.key(name).address, self.fresh())
        expected = bool(member.kinds) and not member.kinds & SYSTEM and not member.frozen
        if self.attempt(expected, "freeze", *terms, by=self.accounts.operator):
            member.frozen = True

    @rule(name=people)
    def unfreeze(self, name):
        member, address = self.model[name], self.key(name).address
        if self.attempt(member.frozen, "unfreeze", address, by=self.accounts.operator):
            member.frozen = False

    @rule()
    def pause_or_unpause(self):
        self.send("unpause" if self.paused else "pause", by=self.accounts.operator)
        self.paused = not self.paused

    @rule(seconds=short_times)
    def wait(self, seconds):
        self.chain.travel(seconds)

    # -------------------------------------------------------------- invariants

    @invariant()
    def the_chain_is_as_the_model(self):
        """Equality with the model is invariant 2: the model changes nothing else."""
        for name, member in self.model.items():
            found = self.chain.call(self.coin.functions.accountOf(self.key(name).address))
            expected = (member.balance, member.until, member.kinds, member.frozen)
            assert tuple(found) == expected, name

    @invariant()
    def the_supply_is_the_sum_of_balances_and_what_was_minted_and_not_burned(self):
        supply = self.chain.call(self.coin.functions.totalSupply())
        assert supply == sum(member.balance for member in self.model.values())
        assert supply == self.minted - self.burned
        seconds = self.chain.time - self.limited_since
        assert self.minted_under_limit <= REFILL * seconds


def test_no_history_breaks_the_supply_or_moves_the_coin_of_members_in_bad_standing(platform):
    CoinLife.platform = platform
    run_state_machine_as_test(
        CoinLife,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
