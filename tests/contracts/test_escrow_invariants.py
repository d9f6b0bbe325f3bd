"""Any sequence of operations, honest or not, against a model in Python that knows every outcome.

After each step: the escrow's coin is what all orders hold, what all accounts may claim, and what
strangers gave; each order's parts add up; closed orders stay closed; everybody's balance is as the
model has it. In the end every held coin leaves without the operator.
"""

from dataclasses import dataclass, field

import pytest
from eth_utils import keccak
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.contracts.chain import Reverted
from tests.contracts.escrow import AUTHORIZED, CLOSED, DAY, DELIVERED, FOREVER, NONE, Order, Terms

MAX_AMOUNT = 1_000_003
FREEZABLE = ["buyer", "buyer2", "seller", "seller2", "fee_receiver"]

orders = st.integers(0, 3)
# Mostly one who has a part in the order, so that a good share of the attempts goes through.
callers = st.sampled_from(
    ["payer", "payer", "payer", "payee", "operator", "operator", "operator", "buyer2", "stranger"]
)
# As shares of what there is: nothing, dust, a part, all, and more than there is.
shares = st.sampled_from(["part", "part", "part", "all", "all", "one", "zero", "more"])
fees = st.sampled_from([250, 250, 250, 250, 175, 100, 99, 251])


class Refused(Exception):
    """The model expects this error."""


@dataclass
class Purchase:
    """One order as the model knows it."""

    terms: Terms
    payer: str
    payee: str
    status: int = NONE
    deadline: int = 0
    authorized: int = 0
    released: int = 0
    voided: int = 0
    refunded: int = 0

    def who(self, caller: str) -> str:
        """The account behind the part it plays in this order."""
        return {"payer": self.payer, "payee": self.payee}.get(caller, caller)

    @property
    def held(self) -> int:
        return self.authorized - self.released - self.voided

    @property
    def refundable(self) -> int:
        return self.released - self.refunded


@dataclass
class Books:
    """The oracle: what the escrow's documentation says must happen."""

    balances: dict[str, int]
    claimable: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FREEZABLE, 0))
    frozen: set[str] = field(default_factory=set)
    paused: bool = False
    gifts: int = 0

    def require(self, condition: bool, error: str) -> None:
        if not condition:
            raise Refused(error)

    def pull(self, name: str, amount: int) -> None:
        self.require(not self.paused, "CoinPaused")
        self.require(name not in self.frozen, "AccountIsFrozen")
        self.require(amount <= self.balances[name], "ERC20InsufficientBalance")
        self.balances[name] -= amount
        self.balances["escrow"] += amount

    def pay(self, name: str, amount: int) -> None:
        if amount == 0:
            return
        self.require(not self.paused, "CoinPaused")
        if name in self.frozen:
            self.claimable[name] += amount
        else:
            self.balances["escrow"] -= amount
            self.balances[name] += amount

    def open(self, purchase: Purchase, amount: int, now: int) -> None:
        self.require(0 < amount <= purchase.terms.maxAmount, "InvalidAmount")
        self.require(now < purchase.terms.authorizeBefore, "AuthorizationWindowClosed")
        self.require(purchase.status == NONE, "WrongStatus")
        self.pull(purchase.payer, amount)
        purchase.status, purchase.authorized = AUTHORIZED, amount

    def charge(self, purchase: Purchase, caller: str, amount: int, fee_bps: int, now: int) -> None:
        terms = purchase.terms
        self.require(caller == "operator", "NotAllowed")
        self.require(terms.disputeWindow == 0, "ChargeNotAllowed")
        self.require(terms.minFeeBps <= fee_bps <= terms.maxFeeBps, "InvalidFee")
        self.open(purchase, amount, now)
        self.settle(purchase, amount, fee_bps)

    def deliver(self, purchase: Purchase, caller: str, now: int) -> None:
        self.require(caller == "operator", "NotAllowed")
        self.require(purchase.status == AUTHORIZED, "WrongStatus")
        purchase.status = DELIVERED
        purchase.deadline = now + purchase.terms.disputeWindow

    def release(self, purchase: Purchase, caller: str, amount: int, fee_bps: int, now: int) -> None:
        terms = purchase.terms
        self.require(purchase.status in (AUTHORIZED, DELIVERED), "WrongStatus")
        if caller != purchase.payer:
            self.require(purchase.status == DELIVERED, "WrongStatus")
            self.require(now >= purchase.deadline, "DisputeWindowOpen")
        least = terms.minFeeBps if caller == "operator" else terms.maxFeeBps
        self.require(least <= fee_bps <= terms.maxFeeBps, "InvalidFee")
        self.require(0 < amount <= purchase.held, "InvalidAmount")
        if caller not in (purchase.payer, "operator"):
            self.require(amount == purchase.held, "InvalidAmount")
        self.settle(purchase, amount, fee_bps)

    def settle(self, purchase: Purchase, amount: int, fee_bps: int) -> None:
        fee = amount * fee_bps // 10_000
        self.pay("fee_receiver", fee)
        self.pay(purchase.payee, amount - fee)
        purchase.released += amount
        if purchase.held == 0:
            purchase.status = CLOSED

    def void(self, purchase: Purchase, caller: str, amount: int) -> None:
        self.require(caller in ("operator", purchase.payee), "NotAllowed")
        self.require(purchase.status in (AUTHORIZED, DELIVERED), "WrongStatus")
        self.require(0 < amount <= purchase.held, "InvalidAmount")
        self.give_back(purchase, amount)

    def reclaim(self, purchase: Purchase, caller: str, now: int) -> None:
        self.require(caller == purchase.payer, "NotAllowed")
        self.require(purchase.status == AUTHORIZED, "WrongStatus")
        self.require(now >= purchase.terms.reclaimAfter, "ReclaimTooEarly")
        self.give_back(purchase, purchase.held)

    def give_back(self, purchase: Purchase, amount: int) -> None:
        self.pay(purchase.payer, amount)
        purchase.voided += amount
        if purchase.held == 0:
            purchase.status = CLOSED

    def refund(self, purchase: Purchase, amount: int) -> None:
        self.require(purchase.status != NONE, "WrongStatus")
        self.require(0 < amount <= purchase.refundable, "InvalidAmount")
        self.pull(purchase.payee, amount)
        self.pay(purchase.payer, amount)
        purchase.refunded += amount

    def claim(self, caller: str) -> None:
        self.require(self.claimable.get(caller, 0) > 0, "NothingToClaim")
        self.require(not self.paused, "CoinPaused")
        self.require(caller not in self.frozen, "AccountIsFrozen")
        self.balances["escrow"] -= self.claimable[caller]
        self.balances[caller] += self.claimable[caller]
        self.claimable[caller] = 0


def part_of(whole: int, share: str) -> int:
    return {"zero": 0, "one": 1, "part": whole // 3, "all": whole, "more": whole + 1}[share]


def machine(market, accounts):
    """The state machine over this market; a chain is too dear to build for each example."""
    chain, coin = market.chain, market.coin

    class Escrow(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            self.start = chain.snapshot()
            self.refunds = 0
            self.closed: set[int] = set()
            self.books = Books(market.balances())
            self.purchases = [
                Purchase(self.terms(ref, payer, payee, window), payer, payee)
                for ref, (payer, payee, window) in enumerate(
                    [
                        ("buyer", "seller", 10),
                        ("buyer", "seller2", 0),
                        ("buyer2", "seller", 0),
                        ("buyer2", "seller2", 3 * DAY),
                    ]
                )
            ]
            for number in (0, 3):
                self.authorize(number, "all", signed=True)

        def terms(self, ref: int, payer: str, payee: str, window: int) -> Terms:
            return market.terms(
                payer=getattr(accounts, payer).address,
                payee=getattr(accounts, payee).address,
                maxAmount=MAX_AMOUNT,
                disputeWindow=window,
                orderRef=keccak(text=f"order {ref}"),
            )

        def attempt(self, caller: str, name: str, *args, expect) -> None:
            """Let the model and the contract do the same, and compare the outcome.

            `expect` applies the operation to the model, which is put back if it refuses.
            """
            balances, claimable = dict(self.books.balances), dict(self.books.claimable)
            purchases = [Purchase(**vars(purchase)) for purchase in self.purchases]
            expected = seen = None
            try:
                expect()
            except Refused as refused:
                expected = str(refused)
                self.books.balances, self.books.claimable = balances, claimable
                self.purchases = purchases
            try:
                receipt = market.send(getattr(accounts, caller), name, *args)
            except Reverted as reverted:
                seen = reverted.name
            assert seen == expected, f"{name} by {caller}"
            if seen is None:
                for released in receipt.events(market.escrow, "PurchaseReleased"):
                    parts = released["fee"] + released["repayment"] + released["paid"]
                    assert parts == released["amount"]

        # ---------------------------------------------------------------- the orders

        @rule(number=orders, share=shares, signed=st.booleans())
        def authorize(self, number: int, share: str, signed: bool) -> None:
            purchase, amount = self.purchases[number], part_of(MAX_AMOUNT, share)
            terms, now, books = purchase.terms, chain.time, self.books
            if signed:
                payer = getattr(accounts, purchase.payer)
                payment = market.sign(payer, amount, market.hash(terms))
                call = ("stranger", "authorizeWithSignature", terms, amount, *payment)
            else:
                call = (purchase.payer, "authorize", terms, amount)
            self.attempt(*call, expect=lambda: books.open(purchase, amount, now))

        @rule(number=orders, caller=callers, share=shares, fee_bps=fees)
        def charge(self, number: int, caller: str, share: str, fee_bps: int) -> None:
            purchase, amount = self.purchases[number], part_of(MAX_AMOUNT, share)
            caller = purchase.who(caller)
            terms, now = purchase.terms, chain.time
            payer = getattr(accounts, purchase.payer)
            payment = market.sign(payer, amount, market.hash(terms))
            self.attempt(
                caller, "charge", terms, amount, fee_bps, *payment,
                expect=lambda: self.books.charge(purchase, caller, amount, fee_bps, now),
            )  # fmt: skip

        @rule(number=orders, caller=callers)
        def deliver(self, number: int, caller: str) -> None:
            purchase, now = self.purchases[number], chain.time
            caller = purchase.who(caller)
            self.attempt(
                caller, "confirmDelivery", purchase.terms,
                expect=lambda: self.books.deliver(purchase, caller, now),
            )  # fmt: skip

        @rule(number=orders, caller=callers, share=shares, fee_bps=fees)
        def release(self, number: int, caller: str, share: str, fee_bps: int) -> None:
            purchase, now = self.purchases[number], chain.time
            caller = purchase.who(caller)
            amount = part_of(purchase.held, share)
            self.attempt(
                caller, "release", purchase.terms, amount, fee_bps,
                expect=lambda: self.books.release(purchase, caller, amount, fee_bps, now),
            )  # fmt: skip

        @rule(number=orders, caller=callers, share=shares)
        def void(self, number: int, caller: str, share: str) -> None:
            purchase = self.purchases[number]
            caller = purchase.who(caller)
            amount = part_of(purchase.held, share)
            self.attempt(
                caller, "void", purchase.terms, amount,
                expect=lambda: self.books.void(purchase, caller, amount),
            )  # fmt: skip

        @rule(number=orders, share=shares, signed=st.booleans())
        def refund(self, number: int, share: str, signed: bool) -> None:
            purchase, books = self.purchases[number], self.books
            terms, amount = purchase.terms, part_of(purchase.refundable, share)
            self.refunds += 1
            ref = keccak(text=f"refund {self.refunds}")
            if signed:
                nonce = chain.call(market.function("refundNonce", market.hash(terms), ref))
                signature = market.sign(getattr(accounts, purchase.payee), amount, nonce)
                call = ("stranger", "refundWithSignature", terms, amount, ref, *signature)
            else:
                call = (purchase.payee, "refund", terms, amount, ref)
            self.attempt(*call, expect=lambda: books.refund(purchase, amount))

        @rule(number=orders, caller=callers)
        def reclaim(self, number: int, caller: str) -> None:
            purchase, now = self.purchases[number], chain.time
            caller = purchase.who(caller)
            self.attempt(
                caller, "reclaim", purchase.terms,
                expect=lambda: self.books.reclaim(purchase, caller, now),
            )  # fmt: skip

        @rule(name=st.sampled_from([*FREEZABLE, "stranger"]), unfrozen=st.booleans())
        def claim(self, name: str, unfrozen: bool) -> None:
            if unfrozen and name in self.books.frozen:
                self.freeze_or_unfreeze(name)
            address = getattr(accounts, name).address
            self.attempt("stranger", "claim", address, expect=lambda: self.books.claim(name))

        # ----------------------------------------------------------------- the world

        @rule(name=st.sampled_from(FREEZABLE))
        def freeze_or_unfreeze(self, name: str) -> None:
            if name in self.books.frozen:
                market.unfreeze(getattr(accounts, name))
            else:
                market.freeze(getattr(accounts, name))
            self.books.frozen ^= {name}

        @rule()
        def pause_or_unpause(self) -> None:
            functions = coin.functions
            toggle = functions.unpause() if self.books.paused else functions.pause()
            chain.send(toggle, by=accounts.operator)
            self.books.paused = not self.books.paused

        @rule(amount=st.integers(1, 1_000))
        def a_stranger_sends_coin(self, amount: int) -> None:
            if not self.books.paused:
                gift = coin.functions.transfer(market.escrow.address, amount)
                chain.send(gift, by=accounts.lender)
                self.books.balances["lender"] -= amount
                self.books.balances["escrow"] += amount
                self.books.gifts += amount

        @rule(
            number=orders,
            edge=st.sampled_from(["authorizeBefore", "reclaimAfter", "deadline", "deadline"]),
            offset=st.sampled_from([-1, 0, 1]),
        )
        def time_passes(self, number: int, edge: str, offset: int) -> None:
            purchase = self.purchases[number]
            at = purchase.deadline if edge == "deadline" else getattr(purchase.terms, edge)
            if at + offset > chain.time:
                chain.travel_to(at + offset)
            if self.books.paused:
                self.pause_or_unpause()

        # ------------------------------------------------- what holds after every step

        @invariant()
        def the_books_balance(self) -> None:
            held = 0
            for number, purchase in enumerate(self.purchases):
                order = market.order(purchase.terms)
                expected = (purchase.held, purchase.refundable, purchase.deadline, purchase.status)
                assert order == Order(*expected)
                assert order.held + purchase.released + purchase.voided == purchase.authorized
                assert purchase.authorized <= purchase.terms.maxAmount
                assert 0 <= purchase.refunded <= purchase.released
                if number in self.closed:
                    assert (order.status, order.held) == (CLOSED, 0)
                if order.status == CLOSED:
                    self.closed.add(number)
                held += order.held
            claimable = {name: market.claimable(getattr(accounts, name)) for name in FREEZABLE}
            balances = market.balances()
            assert claimable == self.books.claimable
            assert balances == self.books.balances
            assert balances["escrow"] == held + sum(claimable.values()) + self.books.gifts

        def teardown(self) -> None:
            if not hasattr(self, "books"):
                return
            try:
                self.every_coin_leaves_without_the_operator()
            finally:
                chain.revert_to(self.start)

        def every_coin_leaves_without_the_operator(self) -> None:
            if self.books.paused:
                chain.send(coin.functions.unpause(), by=accounts.operator)
            chain.travel_to(max(chain.time, *(p.terms.reclaimAfter for p in self.purchases)))
            chain.travel_to(max(chain.time, *(p.deadline for p in self.purchases)))
            for purchase in self.purchases:
                held, status = purchase.held, purchase.status
                if status == DELIVERED:
                    release = ("release", purchase.terms, held, purchase.terms.maxFeeBps)
                    market.send(accounts.stranger, *release)
                elif status == AUTHORIZED:
                    market.send(getattr(accounts, purchase.payer), "reclaim", purchase.terms)
            for name in FREEZABLE:
                account = getattr(accounts, name)
                if name in self.books.frozen:
                    market.unfreeze(account)
                if market.claimable(account):
                    market.send(accounts.stranger, "claim", account.address)
                assert market.claimable(account) == 0
            assert market.balances()["escrow"] == self.books.gifts

    return Escrow


@pytest.mark.timeout(240)
def test_any_sequence_of_operations_keeps_the_books(market, chain, accounts):
    for receiver in (accounts.buyer2, accounts.seller2, accounts.lender):
        fund = market.coin.functions.transfer(receiver.address, 3 * MAX_AMOUNT)
        chain.send(fund, by=accounts.buyer)
    for owner in (accounts.buyer, accounts.buyer2, accounts.seller, accounts.seller2):
        market.approve(owner, FOREVER)
    run_state_machine_as_test(
        machine(market, accounts),
        settings=settings(
            max_examples=14,
            stateful_step_count=30,
            deadline=None,
            # A failure is shown as it was found: shrinking takes longer than a test may.
            phases=[Phase.reuse, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
