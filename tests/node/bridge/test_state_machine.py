"""A shop that does anything in any order, over HTTP on a real chain, and must never miss a unit.

Hypothesis chooses the moves, good ones and bad ones; a model says what each must come to. After
every move each account has what the model says, and all that was put in is somewhere. At the end
the node's own comparison of database and chain finds no drift. PLAZA_MACHINE_EXAMPLES makes longer
runs, with other moves each time.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from node.client import Call, Client, Refused
from node.client.models import (
    AccountRequest,
    DisputeRequest,
    NewPaymentRequest,
    PayRequest,
    Purchase,
    PurchaseRequest,
    RedemptionRequest,
    RefundRequest,
    ReleaseRequest,
    ResolveRequest,
    ShipRequest,
    TopUpRequest,
    TransferRequest,
    VoidRequest,
)
from tests.node.bridge.serving import Served, served

LONG = "PLAZA_MACHINE_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("PLAZA_MACHINE_EXAMPLES", "5"))
MOVES = 60 if LONG else 36
WAIT = 30
FEE_BPS = 250
DAY = 86_400
MOST_TRAVELS = 3  # of eight days: a dispute that is open for thirty ends by itself
NOTICE_SECONDS = 0.6  # the bridge notices a jump of the chain's clock as late as half a second

amounts = st.integers(1, 3_000_000)
whose = st.integers(0, 1_000)
windows = st.sampled_from([0, 7 * DAY])
shares = st.sampled_from([1, 2, 3, 1_000])  # a half, a third; all; more than there is


@dataclass
class Order:
    """What the model knows of a purchase."""

    id: str
    payer: str
    payee: str
    amount: int
    window: int
    held: int
    released: int = 0
    refunded: int = 0
    voided: int = 0
    fee: int = 0
    is_delivered: bool = False
    is_window_over: bool = False
    is_disputed: bool = False
    was_disputed: bool = False


class AnyShop(RuleBasedStateMachine):
    bridge: ClassVar[Served]
    numbers: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        number = next(self.numbers)
        self.plaza = Client(self.bridge.url, self.bridge.new_key(f"Shop {number}").secret)
        self.names = (f"m{number}-{index}" for index in itertools.count())
        self.has: dict[str, int] = {}  # what each account has available
        self.orders: list[Order] = []
        self.requests: list[tuple[str, str, int]] = []  # open ones: id, payee, amount
        self.minted = self.burned = self.fees = self.travels = 0
        self.last: tuple[Call[bytes], str] | None = None  # an accepted POST, and what it made

    def teardown(self) -> None:
        try:
            report = self.plaza.reconciliation.get()
            assert (report.ok, report.drift) == (True, [])
        finally:
            self.plaza.close()

    # ---------------------------------------------------------------------------- helpers

    def account(self, index: int) -> str:
        return list(self.has)[index % len(self.has)]

    def another(self, account: str, index: int) -> str:
        others = [other for other in self.has if other != account]
        return others[index % len(others)]

    def order(self, index: int) -> Order:
        return self.orders[index % len(self.orders)]

    def does(self, path: str, body: Any = None) -> dict[str, Any]:
        """POST what must be accepted; return it as the chain has settled it."""
        call = Call("POST", path, bytes, body=body, key=next(self.names), wait=WAIT)
        reply = self.plaza.exchange(call)
        assert not reply.replayed
        assert reply.status in (200, 201), reply.content
        made: dict[str, Any] = reply.json()
        self.last = (call, made.get("id", made.get("purchase")))
        return made

    def refused(self, path: str, body: Any, *codes: str) -> None:
        """POST what must be refused, with one of these codes."""
        with pytest.raises(Refused) as caught:
            self.plaza.exchange(Call("POST", path, bytes, body=body, key=next(self.names)))
        assert caught.value.code in codes, caught.value

    def on(self, order: Order, action: str) -> str:
        return f"/v1/purchases/{order.id}/{action}"

    def part(self, share: int, whole: int) -> int | None:
        """A part of what there is; None for all; more than there is for a share of 1,000."""
        if share == 1:
            return None
        return whole + 1 if share == 1_000 else max(1, whole // share)

    # ------------------------------------------------------------------------ money in and out

    @initialize(window=windows)
    def begin(self, window: int) -> None:
        """A shop that has been open for a while."""
        for index in range(3):
            self.admit()
            self.top_up(index, 20_000_000, 1)
        for index, of_order in enumerate((window, 7 * DAY, 7 * DAY)):
            self.buy(index, index + 1, 1_234_567 + index, of_order)
        for index in range(2):
            self.deliver(index)

    @precondition(lambda self: len(self.has) < 4)
    @rule()
    def admit(self) -> None:
        made = self.does("/v1/accounts", AccountRequest(kinds=["buyer", "seller"]))
        assert made["status"] == "active"
        self.has[made["id"]] = 0

    @rule(index=whose, amount=amounts, copies=st.integers(1, 3))
    def top_up(self, index: int, amount: int, copies: int) -> None:
        """As many times at once as there are copies, under one key: it counts once."""
        account, name = self.account(index), next(self.names)
        body = TopUpRequest(account=account, amount=amount, reference=name)
        call = Call("POST", "/v1/topups", bytes, body=body, key=name, wait=WAIT)
        with ThreadPoolExecutor(copies) as threads:
            replies = list(threads.map(self.plaza.exchange, [call] * copies))
        assert {reply.json()["status"] for reply in replies} == {"succeeded"}
        assert len({reply.json()["id"] for reply in replies}) == 1
        assert sum(reply.replayed for reply in replies) == copies - 1
        self.has[account] += amount
        self.minted += amount
        self.refused("/v1/topups", body, "reference_taken")

    @rule(index=whose, share=shares)
    def redeem(self, index: int, share: int) -> None:
        account = self.account(index)
        amount = self.part(share, self.has[account]) or self.has[account] or 1
        body = RedemptionRequest(account=account, amount=amount, reference=next(self.names))
        if amount > self.has[account]:
            self.refused("/v1/redemptions", body, "insufficient_funds")
            return
        assert self.does("/v1/redemptions", body)["status"] == "succeeded"
        self.has[account] -= amount
        self.burned += amount

    @rule(of=whose, to=whose, share=shares)
    def transfer(self, of: int, to: int, share: int) -> None:
        payer, payee = self.account(of), self.another(self.account(of), to)
        amount = self.part(share, self.has[payer]) or self.has[payer] or 1
        body = TransferRequest(from_=payer, to=payee, amount=amount)
        if amount > self.has[payer]:
            self.refused("/v1/transfers", body, "insufficient_funds")
            return
        assert self.does("/v1/transfers", body)["status"] == "succeeded"
        self.has[payer] -= amount
        self.has[payee] += amount

    # -------------------------------------------------------------------------- payment requests

    @rule(index=whose, amount=amounts)
    def ask_for_payment(self, index: int, amount: int) -> None:
        payee = self.account(index)
        body = NewPaymentRequest(payee=payee, amount=amount)
        self.requests.append((self.does("/v1/payment_requests", body)["id"], payee, amount))

    @precondition(lambda self: self.requests)
    @rule(index=whose, of=whose, is_canceled=st.sampled_from([False, False, True]))
    def pay_or_cancel(self, index: int, of: int, is_canceled: bool) -> None:
        request = self.requests[index % len(self.requests)]
        request_id, payee, amount = request
        path, payer = f"/v1/payment_requests/{request_id}", self.another(payee, of)
        body = PayRequest(payer=payer)
        if is_canceled:
            assert self.does(f"{path}/cancel")["status"] == "canceled"
        elif amount > self.has[payer]:
            self.refused(f"{path}/pay", body, "insufficient_funds")
            return
        else:
            assert self.does(f"{path}/pay", body)["status"] == "paid"
            self.has[payer] -= amount
            self.has[payee] += amount
        self.requests.remove(request)
        self.refused(f"{path}/pay", body, "invalid_state")

    # ------------------------------------------------------------------------------- purchases

    @rule(of=whose, to=whose, amount=amounts, window=windows)
    def buy(self, of: int, to: int, amount: int, window: int) -> None:
        payer, payee = self.account(of), self.account(to)
        body = PurchaseRequest(
            order_id=next(self.names),
            payer=payer,
            payee=payee,
            amount=amount,
            dispute_window=window,
            fee_bps=FEE_BPS,
        )
        if payer == payee:
            self.refused("/v1/purchases", body, "invalid_request")
            return
        if amount > self.has[payer]:
            self.refused("/v1/purchases", body, "insufficient_funds")
            return
        made = self.does("/v1/purchases", body)
        assert made["status"] == "authorized"
        self.has[payer] -= amount
        self.orders.append(Order(made["id"], payer, payee, amount, window, held=amount))
        self.refused("/v1/purchases", body, "order_id_taken")

    @precondition(lambda self: self.orders)
    @rule(index=whose)
    def ship(self, index: int) -> None:
        """Shipping is no matter of money: whether it is accepted or not, nothing moves."""
        order = self.order(index)
        call = self.on(order, "ship")
        if order.held == order.amount and not order.is_delivered:
            shipped = self.plaza.purchases.get(order.id).shipped_at is not None
            body = ShipRequest(tracking="DHL 1")
            if shipped:
                self.refused(call, body, "invalid_state")
            else:
                assert self.does(call, body)["shipped_at"] is not None

    @precondition(lambda self: self.orders)
    @rule(index=whose)
    def deliver(self, index: int) -> None:
        order = self.order(index)
        if not order.held or order.is_delivered:
            self.refused(self.on(order, "deliver"), None, "invalid_state")
            return
        assert self.does(self.on(order, "deliver"))["delivered_at"] is not None
        order.is_delivered = True
        order.is_window_over = order.window == 0

    @precondition(lambda self: self.orders)
    @rule(index=whose, share=shares, by=st.sampled_from(["operator", "payer"]))
    def release(self, index: int, share: int, by: Any) -> None:
        order, path = self.order(index), self.on(self.order(index), "release")
        amount = self.part(share, order.held)
        body = ReleaseRequest(amount=amount, by=by) if amount else ReleaseRequest(by=by)
        if not order.held or (by == "operator" and (not order.is_delivered or order.is_disputed)):
            self.refused(path, body, "invalid_state")
        elif by == "operator" and not order.is_window_over:
            self.refused(path, body, "dispute_window_open")
        elif amount is not None and amount > order.held:
            self.refused(path, body, "amount_too_large")
        else:
            self.does(path, body)
            self._pay_out(order, amount or order.held)

    @precondition(lambda self: self.orders)
    @rule(index=whose, share=shares, by=st.sampled_from(["operator", "payee"]))
    def void(self, index: int, share: int, by: Any) -> None:
        order, path = self.order(index), self.on(self.order(index), "void")
        amount = self.part(share, order.held)
        body = VoidRequest(amount=amount, by=by) if amount else VoidRequest(by=by)
        if not order.held:
            self.refused(path, body, "invalid_state")
        elif amount is not None and amount > order.held:
            self.refused(path, body, "amount_too_large")
        else:
            self.does(path, body)
            self._give_back(order, amount or order.held)

    @precondition(lambda self: self.orders)
    @rule(index=whose, share=shares)
    def refund(self, index: int, share: int) -> None:
        order, path = self.order(index), self.on(self.order(index), "refund")
        refundable = order.released - order.refunded
        amount = self.part(share, refundable) or refundable
        body = RefundRequest(reference=next(self.names), amount=amount or 1)
        if not refundable:
            self.refused(path, body, "invalid_state")
        elif amount > refundable:
            self.refused(path, body, "amount_too_large")
        elif amount > self.has[order.payee]:
            self.refused(path, body, "insufficient_funds")
        else:
            self.does(path, body)
            order.refunded += amount
            self.has[order.payee] -= amount
            self.has[order.payer] += amount

    @precondition(lambda self: any(order.held for order in self.orders))
    @rule(index=whose)
    def dispute(self, index: int) -> None:
        orders = [order for order in self.orders if order.held]
        order = orders[index % len(orders)]
        body = DisputeRequest(text=f"Not as described: {next(self.names)}.")
        path = self.on(order, "disputes")
        if order.is_disputed or not order.is_delivered:
            self.refused(path, body, "invalid_state")
        elif order.is_window_over:
            self.refused(path, body, "dispute_window_closed")
        else:
            assert self.does(path, body)["status"] == "open"
            order.is_disputed = True

    @precondition(lambda self: any(order.is_disputed for order in self.orders))
    @rule(index=whose, share=st.integers(0, 4))
    def decide(self, index: int, share: int) -> None:
        orders = [order for order in self.orders if order.is_disputed]
        order = orders[index % len(orders)]
        path = self.on(order, "disputes/resolve")
        to_payer = order.held * share // 4
        too_much = ResolveRequest(text="Shared.", to_payer=order.held + 1)
        self.refused(path, too_much, "amount_too_large")
        body = ResolveRequest(text=f"Shared: {next(self.names)}.", to_payer=to_payer)
        assert self.does(path, body)["status"] == "decided"
        if to_payer:
            self._give_back(order, to_payer)
        if order.held:
            self._pay_out(order, order.held)

    def _pay_out(self, order: Order, amount: int) -> None:
        fee = amount * FEE_BPS // 10_000
        order.held -= amount
        order.released += amount
        order.fee += fee
        self.has[order.payee] += amount - fee
        self.fees += fee
        order.is_disputed = order.is_disputed and order.held > 0

    def _give_back(self, order: Order, amount: int) -> None:
        order.held -= amount
        order.voided += amount
        self.has[order.payer] += amount
        order.is_disputed = order.is_disputed and order.held > 0

    # ---------------------------------------------------------------------------- time, repeats

    @precondition(lambda self: self.travels < MOST_TRAVELS and self.orders)
    @rule()
    def let_windows_pass(self) -> None:
        """Payment requests run out by that as well."""
        self.bridge.travel(8 * DAY)
        time.sleep(NOTICE_SECONDS)
        self.travels += 1
        self.requests.clear()
        for order in self.orders:
            order.is_window_over = order.is_delivered

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat(self) -> None:
        """What was accepted before, with its key: it has no second effect."""
        assert self.last is not None
        call, made = self.last
        reply = self.plaza.exchange(call)
        assert reply.replayed
        assert reply.json().get("id", reply.json().get("purchase")) == made
        if call.body is None:  # another body would be ignored, and so be the same request
            return
        other = Call("POST", call.path, bytes, body={"text": "another"}, key=call.key)
        with pytest.raises(Refused) as caught:
            self.plaza.exchange(other)
        assert caught.value.code in ("idempotency_key_reused", "invalid_request")

    # -------------------------------------------------------------------------------- invariants

    @invariant()
    def every_account_has_what_the_model_says(self) -> None:
        for account, available in self.has.items():
            balance = self.plaza.accounts.get_balance(account)
            held = sum(order.held for order in self.orders if order.payer == account)
            assert (balance.available, balance.held) == (available, held), account
            assert balance.pending == 0

    @invariant()
    def no_unit_is_missing(self) -> None:
        held = sum(order.held for order in self.orders)
        assert sum(self.has.values()) + held + self.fees == self.minted - self.burned
        if not self.orders:
            return
        totals = self.plaza.purchases.totals()
        assert (totals.held, totals.fee) == (held, self.fees)
        assert totals.released == sum(order.released for order in self.orders)
        assert totals.refunded == sum(order.refunded for order in self.orders)

    @invariant()
    def every_purchase_adds_up(self) -> None:
        if not self.orders:
            return
        shown: dict[str, Purchase] = {p.id: p for p in self.plaza.purchases.all()}
        for order in self.orders:
            figures = shown[order.id]
            assert figures.held + figures.released + figures.voided == order.amount, figures
            assert (figures.held, figures.fee) == (order.held, order.fee)
            assert (figures.status == "disputed") == order.is_disputed


@pytest.mark.timeout(0 if LONG else 300)
def test_no_unit_is_lost_whatever_a_shop_does(tmp_path: Any) -> None:
    with served(tmp_path) as bridge:
        AnyShop.bridge = bridge
        run_state_machine_as_test(
            AnyShop,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=MOVES,
                derandomize=not LONG,
                database=None,
                deadline=None,
                phases=[Phase.generate] if not LONG else list(Phase),
                suppress_health_check=list(HealthCheck),
            ),
        )
