"""Drives a plan through a bridge, tick by tick, as a marketplace would.

At each tick the chain's clock is moved to the tick's time. Credit lines come first: opened, drawn
on, paid off. Then all that is due is done at once,
but the steps of one purchase strictly one after the other, each only when the chain has settled the
one before. When all of it is settled, the tick is finished. Whoever buys or sells for the first
time in the next tick is admitted in this one, so that nobody waits for it.

A chain whose clock is later than the data to begin with cannot go back: the whole replay is then
shifted by whole ticks, so that every interval stays as it is. On a chain whose clock is not ours
(a real network) everything is done in the order of the ticks without waiting for their times, and
the releases wait at the end, in real time, for the dispute window.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.client import Refused
from node.market import abi
from node.market.client import METHOD_NOT_FOUND, Node, NodeUnavailable, RpcRefused
from node.market.credit import (
    APR_BPS,
    DRAW_FEE_BPS,
    HOLDBACK_BPS,
    TERM_DAYS,
    CreditStep,
    CreditStepKind,
    PlannedLine,
    pool_deposit,
    reserve_needed,
)
from node.market.journal import Journal
from node.market.plan import Plan, PlannedPurchase, Step, StepKind, Tick
from node.market.progress import Reporter

DAY = 86_400
MAX_REAL_WAIT = 3_600  # seconds that a dispute window may hold up a replay in real time
LAST_ROUNDS = 3
# Members are admitted and buyers topped up so many ticks ahead, beside the ticks before, so that a
# purchase does not wait in its own.
TICKS_AHEAD = 3
REAL_POLL_SECONDS = 0.5
# The bridge notices a jump of the chain's clock this late at most. A seller's signature for a
# refund holds for a day from the time it knows: made for the time before, it may have run out.
NOTICE_SECONDS = 0.5
# A node that comes back after a crash may send what it had signed some ticks ago.
AUTHORIZE_WITHIN = 60 * DAY

# What a step leaves its resource in; when it is asked for again, a later step may have followed.
_REACHED = {
    StepKind.TOP_UP: ("succeeded",),
    StepKind.PURCHASE: ("authorized", "shipped", "delivered", "released", "refunded", "voided"),
    StepKind.SHIP: ("shipped", "delivered", "released", "refunded", "voided"),
    StepKind.DELIVER: ("delivered", "released", "refunded"),
    StepKind.RELEASE: ("released", "refunded"),
    StepKind.VOID: ("voided",),
    StepKind.RETURN_FEE: ("succeeded",),
    StepKind.REFUND: ("refunded",),
}


LENDER = "lender/pool"  # reference of the account that funds the lines

_Work = tuple[PlannedPurchase, Sequence[Step]]


class ReplayError(Exception):
    """The replay cannot start or go on; the message is for people."""


class _StepFailed(Exception):
    """A step was settled, but not as it should be."""


@dataclass(slots=True)
class Run:
    """What was seen while replaying.

    Attributes:
        seconds: of this run, without loading and reconciling.
        purchases: how many were made (or asked for again) in this run.
        latencies: seconds of every request, from sending it to its settlement, by action.
        errors: purchases and credit lines given up on, with the reason.
    """

    resumed: bool
    can_travel: bool = True
    seconds: float = 0.0
    purchases: int = 0
    outages: int = 0
    ticks: int = 0
    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, str] = field(default_factory=dict)


class Replay:
    """One replay of a plan on one node.

    Args:
        plan: what to do.
        node: where, entered already.
        journal_path: the file that says how far it has come.
        reporter: told how it goes.
    """

    def __init__(self, plan: Plan, node: Node, journal_path: Path, reporter: Reporter) -> None:
        self._plan = plan
        self._node = node
        self._path = journal_path
        self._report = reporter
        self._replay_id = plan.replay_id()
        self._accounts: dict[str, str] = {}
        self._purchases: dict[str, str] = {}
        self._admissions: dict[str, asyncio.Task[None]] = {}  # by account reference
        self._top_ups: dict[str, asyncio.Task[None]] = {}  # by order id
        self._lines: dict[str, str] = {}  # ids of credit lines, by account id
        self._found = 0
        self._postponed: dict[str, _Work] = {}
        self._releases_wait = False  # until the end, where the clock is not ours
        self._manifest: dict[str, Any] = {}
        self.run = Run(resumed=False)

    async def start(self, resume: bool) -> Journal:
        """Open the journal and learn what the node has of this replay.

        Raises:
            ReplayError: the merchant is in use already, or the chain's clock does not allow it.
            JournalError: there is nothing to resume, or it is another replay.
        """
        self.run.resumed = resume
        self._manifest = await self._node.network()
        self.run.can_travel = await self._can_travel()
        window = self._plan.terms.dispute_window
        self._releases_wait = window > 0 and not self.run.can_travel
        if not self.run.can_travel:
            if window > MAX_REAL_WAIT:
                raise ReplayError(
                    f"the clock of this chain cannot be moved, and a dispute window of {window} s"
                    f" would hold the replay up for so long: choose one of {MAX_REAL_WAIT} s or"
                    " less (--dispute-window)"
                )
            self._report.say(
                "The clock of this chain cannot be moved: orders follow each other without waiting"
                f" for their times, releases wait {window} s at the end."
            )
        async for account in self._node.pages("/v1/accounts"):
            self._found += 1
            if account["status"] == "active":
                self._accounts[account["reference"]] = account["id"]
        async for purchase in self._node.pages("/v1/purchases"):
            self._found += 1
            self._purchases[purchase["order_id"]] = purchase["id"]
        async for line in self._node.pages("/v1/credit_lines"):
            self._lines[line["account"]] = line["id"]
        if resume:
            journal = Journal.load(self._path, self._replay_id)
        else:
            journal = await self._new_journal()
        self.run.errors = journal.failed
        return journal

    async def go(self, journal: Journal) -> None:
        """Do what is left of the plan.

        Raises:
            NodeUnavailable: the node went away; the journal allows to resume.
            ReplayError: the chain's clock cannot be moved on.
        """
        by_id = {purchase.order_id: purchase for purchase in self._plan.purchases}
        done_until = -1 if journal.done_until is None else journal.done_until
        for order_id in journal.postponed:
            purchase = by_id[order_id]
            late = [step for step in purchase.steps if self._time(step) <= done_until]
            self._postponed[order_id] = (purchase, late)
        last_time = {p.order_id: self._time(p.steps[-1]) for p in self._plan.purchases}
        done = sum(1 for when in last_time.values() if when <= done_until)
        started = time.monotonic()
        self._report.begin(len(by_id), done)
        try:
            if self._plan.lines:
                await self._fund_pool(journal)
            ticks = [tick for tick in self._plan.ticks if tick.time > done_until]
            for number, tick in enumerate(ticks):
                await self._move_clock(journal, tick.time)
                if any(step.kind is StepKind.REFUND for _, steps in tick.work for step in steps):
                    await asyncio.sleep(NOTICE_SECONDS)
                for near in ticks[number : number + 1 + TICKS_AHEAD]:
                    self._prepare(near)
                await self._do_credit(tick)
                postponed = [] if self._releases_wait else self._take_postponed()
                await self._do([*postponed, *tick.work])
                done += sum(1 for p, steps in tick.work if steps[-1] is p.steps[-1])
                self._note(journal, tick.time)
                self._report.tick(tick.time, done - len(self._postponed))
                self.run.ticks += 1
            await self._do_postponed(journal)
        finally:
            ahead = [*self._admissions.values(), *self._top_ups.values()]
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)
            self.run.seconds = time.monotonic() - started
            self.run.outages = self._node.outages
            self._report.end()

    def _time(self, step: Step) -> int:
        return step.tick * self._plan.terms.tick

    def _note(self, journal: Journal, done_until: int) -> None:
        journal.done_until = done_until
        journal.postponed = sorted(self._postponed)
        journal.save(self._path)

    async def _new_journal(self) -> Journal:
        if self._found:
            raise ReplayError(
                f"this merchant has {self._found} accounts and purchases already, so its books"
                " could not be compared with the orders: resume that replay (--resume), or use the"
                " key of a new merchant"
            )
        coin = self._manifest["contracts"]["PlatformCoin"]["address"]
        escrow = self._manifest["contracts"]["PurchaseEscrow"]["address"]
        fee_receiver = self._manifest["accounts"]["fee_receiver"]
        pool = self._manifest["contracts"]["LenderPool"]["address"]
        book = self._manifest["contracts"]["CreditBook"]["address"]
        words = await self._node.rpc_batch(
            [
                ("eth_call", [call, "latest"])
                for call in (
                    abi.total_supply(coin),
                    *(
                        abi.balance_of(coin, account)
                        for account in (escrow, fee_receiver, pool, book)
                    ),
                )
            ]
        )
        supply, escrowed, fees, pooled, booked = (abi.uint(word) for word in words)
        reserve_bps = (await self._node.get("/v1/pool"))["reserve_bps"]
        journal = Journal(
            replay_id=self._replay_id,
            supply=supply,
            escrowed=escrowed,
            fees=fees,
            pool=pooled,
            book=booked,
            reserve=reserve_needed(self._plan.lines, reserve_bps),
        )
        journal.save(self._path)
        return journal

    # ----------------------------------------------------------------------------- clock

    async def _can_travel(self) -> bool:
        """Ask for a time the next block may have anyway, which only development chains answer."""
        try:
            await self._node.rpc("evm_setNextBlockTimestamp", await self._chain_now() + 1)
        except RpcRefused as refused:
            if refused.code == METHOD_NOT_FOUND:
                return False
            raise ReplayError(f"the chain's clock cannot be moved: {refused}") from refused
        return True

    async def _chain_now(self) -> int:
        block = await self._node.rpc("eth_getBlockByNumber", "pending", False)
        return int(block["timestamp"], 16)

    async def _move_clock(self, journal: Journal, when: int) -> None:
        """Have the chain at this time of the data, and the node know it."""
        if not self.run.can_travel:
            return
        now = await self._chain_now()
        late = now - (when + journal.shift)
        tick = self._plan.terms.tick
        if late > tick // 2:
            journal.shift += -(-late // tick) * tick
            self._report.say(
                f"The chain's clock is later than the data: they are {journal.shift // DAY} days"
                f" and {journal.shift % DAY} s apart from here on."
            )
        target = when + journal.shift
        if now < target:
            await self._travel(target)

    async def _travel(self, target: int) -> None:
        try:
            await self._node.rpc_batch([("evm_setNextBlockTimestamp", [target]), ("evm_mine", [])])
        except RpcRefused as refused:
            raise ReplayError(f"the chain's clock cannot be moved: {refused}") from refused
        await self._node.get("/health/ready")  # waits, if need be, until the node is well

    # ----------------------------------------------------------------------------- steps

    def _prepare(self, tick: Tick) -> None:
        """Begin to admit the members of a tick and to top its buyers up, unless begun before."""
        members = [("buyer", name) for name in tick.buyers]
        members += [("seller", name) for name in tick.sellers]
        for kind, name in members:
            reference = f"{kind}/{name}"
            if reference not in self._accounts and reference not in self._admissions:
                self._admissions[reference] = asyncio.create_task(self._admit(kind, name))
        for purchase, steps in tick.work:
            if steps[0].kind is StepKind.TOP_UP and purchase.order_id not in self._top_ups:
                self._top_ups[purchase.order_id] = asyncio.create_task(self._top_up(purchase))

    async def _do(self, work: Sequence[_Work]) -> None:
        """All that is due, at once; returns when all of it is settled."""
        try:
            async with asyncio.TaskGroup() as group:
                for purchase, steps in work:
                    group.create_task(self._do_purchase(purchase, steps))
        except* NodeUnavailable as unavailable:
            raise _first(unavailable) from None

    async def _admit(self, kind: str, name: str) -> None:
        reference = f"{kind}/{name}"
        body = {"reference": reference, "kinds": [kind]}
        try:
            reached = ("active",)
            account = await self._post(f"admit {kind}", "/v1/accounts", reference, body, reached)
            self._check(account, reached)
            self._accounts[reference] = account["id"]
        except (Refused, TimeoutError, _StepFailed) as error:
            self._report.say(f"{kind} {name} is not admitted: {error}")

    async def _top_up(self, purchase: PlannedPurchase) -> None:
        if (admission := self._admissions.get(f"buyer/{purchase.buyer}")) is not None:
            await admission
        await self._do_step(purchase, StepKind.TOP_UP)

    async def _do_purchase(self, purchase: PlannedPurchase, steps: Sequence[Step]) -> None:
        if purchase.order_id in self.run.errors:
            return
        if (admission := self._admissions.get(f"seller/{purchase.seller}")) is not None:
            await admission
        for number, step in enumerate(steps):
            if step.kind is StepKind.RELEASE and self._releases_wait:
                self._postponed[purchase.order_id] = (purchase, steps[number:])
                return
            try:
                if step.kind is StepKind.TOP_UP:
                    await self._top_ups[purchase.order_id]
                else:
                    await self._do_step(purchase, step.kind)
            except Refused as refused:
                if refused.code == "dispute_window_open":
                    self._postponed[purchase.order_id] = (purchase, steps[number:])
                else:
                    self._give_up(purchase, step.kind, str(refused))
                return
            except (TimeoutError, _StepFailed) as error:
                self._give_up(purchase, step.kind, str(error))
                return

    async def _do_step(self, purchase: PlannedPurchase, kind: StepKind) -> None:
        path, body = self._request(purchase, kind)
        resource = await self._post(kind, path, purchase.order_id, body, _REACHED[kind])
        self._check(resource, _REACHED[kind])
        if kind is StepKind.PURCHASE:
            self._purchases[purchase.order_id] = resource["id"]
            self.run.purchases += 1

    def _request(
        self, purchase: PlannedPurchase, kind: StepKind
    ) -> tuple[str, Mapping[str, Any] | None]:
        """Where the step is asked for, and how."""
        order_id = purchase.order_id
        if kind is StepKind.TOP_UP:
            return "/v1/topups", {
                "account": self._account("buyer", purchase.buyer),
                "amount": str(purchase.amount),
                "reference": f"payment/{order_id}",
            }
        if kind is StepKind.RETURN_FEE:
            return "/v1/topups", {
                "account": self._account("seller", purchase.seller),
                "amount": str(purchase.fee),
                "reference": f"fee/{order_id}",
            }
        if kind is StepKind.PURCHASE:
            terms = self._plan.terms
            return "/v1/purchases", {
                "order_id": order_id,
                "payer": self._account("buyer", purchase.buyer),
                "payee": self._account("seller", purchase.seller),
                "amount": str(purchase.amount),
                "fee_bps": terms.fee_bps,
                "dispute_window": terms.dispute_window,
                "authorize_within": AUTHORIZE_WITHIN,
            }
        path = f"/v1/purchases/{self._purchases[order_id]}/{kind}"
        if kind is StepKind.REFUND:
            return path, {"reference": "canceled"}
        return path, None if kind is StepKind.DELIVER else {}

    # ---------------------------------------------------------------------------- credit

    async def _fund_pool(self, journal: Journal) -> None:
        """A lender's coin for the lines, and the platform's reserve before it.

        Raises:
            ReplayError: it did not come about; no line could be drawn on.
        """
        amount = str(pool_deposit(self._plan.lines))
        body: dict[str, Any] = {"reference": LENDER, "kinds": ["lender"]}
        try:
            lender = await self._ask("admit lender", "/v1/accounts", LENDER, body, ("active",))
            account = self._accounts[LENDER] = lender["id"]
            body = {"account": account, "amount": amount, "reference": "lender's money"}
            await self._ask("lender's money", "/v1/topups", LENDER, body, ("succeeded",))
            body = {"account": account, "amount": amount, "reference": "replay"}
            await self._ask("deposit", "/v1/pool/deposits", LENDER, body, ("succeeded",))
            if journal.reserve:
                body = {"amount": str(journal.reserve), "reference": self._replay_id}
                await self._ask("reserve", "/v1/pool/reserve", LENDER, body, ("succeeded",))
        except (Refused, TimeoutError, _StepFailed) as error:
            raise ReplayError(f"the lender pool could not be funded: {error}") from error

    async def _do_credit(self, tick: Tick) -> None:
        """What is due on credit lines, those of different sellers at once."""
        due: dict[str, list[tuple[PlannedLine, CreditStep]]] = defaultdict(list)
        for line, step in tick.credit:
            due[line.seller].append((line, step))
        try:
            async with asyncio.TaskGroup() as group:
                for steps in due.values():
                    group.create_task(self._do_line(steps))
        except* NodeUnavailable as unavailable:
            raise _first(unavailable) from None

    async def _do_line(self, steps: Sequence[tuple[PlannedLine, CreditStep]]) -> None:
        for line, step in steps:
            name = f"credit line of {line.seller}"
            if name in self.run.errors or not self._is_possible(step):
                return
            try:
                await self._do_credit_step(line, step)
            except (Refused, TimeoutError, _StepFailed) as error:
                self.run.errors[name] = f"{step.kind} {step.number}: {error}"
                self._report.say(f"{name}: {step.kind} {step.number}: {error}")
                return

    def _is_possible(self, step: CreditStep) -> bool:
        """Where the clock is not ours all sales are paid out in the end: a line is drawn on once,
        and what they do not repay stays owed."""
        return self.run.can_travel or step.number <= (step.kind is not CreditStepKind.REPAY)

    async def _do_credit_step(self, line: PlannedLine, step: CreditStep) -> None:
        account = self._account("seller", line.seller)
        subject = f"{line.seller}/{step.number}"
        if step.kind is CreditStepKind.OPEN:
            offer = await self._ask(
                "offer",
                "/v1/credit_lines/offers",
                subject,
                {
                    "account": account,
                    "limit": str(line.limit),
                    "apr_bps": APR_BPS,
                    "draw_fee_bps": DRAW_FEE_BPS,
                    "holdback_bps": HOLDBACK_BPS,
                    "term_days": TERM_DAYS,
                },
                ("offered", "accepted"),
            )
            path = f"/v1/credit_lines/offers/{offer['id']}/accept"
            await self._ask("accept", path, subject, {}, ("accepted",))
            self._lines[account] = offer["credit_line"]
            return
        if account not in self._lines:
            raise _StepFailed("it was not opened")
        path = f"/v1/credit_lines/{self._lines[account]}"
        if step.kind is CreditStepKind.DRAW:
            body = {"amount": str(line.draw), "reference": f"draw {step.number}"}
            await self._ask("draw", f"{path}/draws", subject, body, ("succeeded",))
            return
        body = {"reference": f"paid off {step.number}"}
        try:
            await self._ask("repay", f"{path}/repayments", subject, body, ("succeeded",))
        except Refused as refused:
            if refused.code != "nothing_owed":  # the sales have repaid it
                raise

    async def _ask(
        self, action: str, path: str, subject: str, body: Any, reached: Sequence[str]
    ) -> Any:
        resource = await self._post(action, path, subject, body, reached)
        self._check(resource, reached)
        return resource

    def _account(self, kind: str, name: str) -> str:
        account = self._accounts.get(f"{kind}/{name}")
        if account is None:
            raise _StepFailed(f"{kind} {name} is not admitted")
        return account

    async def _post(
        self, action: str, path: str, subject: str, body: Any, reached: Sequence[str]
    ) -> Any:
        key = f"{self._replay_id}:{action.replace(' ', '-')}:{subject}"
        resource, seconds = await self._node.post(path, key, body, reached)
        self.run.latencies[action].append(seconds)
        return resource

    def _check(self, resource: Mapping[str, Any], reached: Sequence[str]) -> None:
        if resource["status"] not in reached:
            raise _StepFailed(
                f"{resource['id']} is {resource['status']}, not {reached[0]}:"
                f" {resource.get('error') or 'no reason is given'}"
            )

    def _give_up(self, purchase: PlannedPurchase, kind: StepKind, reason: str) -> None:
        self.run.errors[purchase.order_id] = f"{kind}: {reason}"
        self._report.say(f"order {purchase.order_id}: {kind}: {reason}")

    async def _do_postponed(self, journal: Journal) -> None:
        """Releases that met an open dispute window, when the chain's clock is past it."""
        self._releases_wait = False
        for _ in range(LAST_ROUNDS):
            if not self._postponed:
                return
            over = await self._chain_now() + self._plan.terms.dispute_window + 1
            if self.run.can_travel:
                await self._travel(over)
            else:
                self._report.say(
                    f"{len(self._postponed)} releases wait for the dispute window,"
                    f" {self._plan.terms.dispute_window} s."
                )
                await self._wait_for_chain_time(over)
            await self._do(self._take_postponed())
            assert journal.done_until is not None
            self._note(journal, journal.done_until)
        for purchase, steps in self._take_postponed():
            self._give_up(purchase, steps[0].kind, "its dispute window does not end")

    async def _wait_for_chain_time(self, when: int) -> None:
        while True:
            if await self._chain_now() >= when:
                return
            await asyncio.sleep(REAL_POLL_SECONDS)

    def _take_postponed(self) -> list[_Work]:
        taken = list(self._postponed.values())
        self._postponed = {}
        return taken


def _first(group: BaseExceptionGroup[NodeUnavailable]) -> NodeUnavailable:
    while True:
        error = group.exceptions[0]
        if isinstance(error, NodeUnavailable):
            return error
        group = error
