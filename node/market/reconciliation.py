"""Compares the orders with the bridge's books and with the chain, to the unit.

What is expected follows from the plan alone, that is from the orders and the terms; for credit
lines also from the times of draws and sales on chain, as interest depends on them. It is held
against every purchase and every account as the bridge tells them, against its totals, against the
coin contract itself at one block, and against the node's own comparison of database and chain.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from node.market import abi
from node.market.client import Node
from node.market.credit import BPS_YEAR, CreditRecord, PlannedLine, pool_deposit
from node.market.journal import Journal
from node.market.plan import Outcome, Plan, PlannedPurchase
from node.market.replay import LENDER

SHARES_PER_UNIT = 10**6  # of the first deposit into the pool


@dataclass(slots=True)
class Expected:
    """What coin is where after a replay. Atomic units; accounts by reference ("buyer/…")."""

    topped_up: int = 0
    held: int = 0
    released: int = 0
    fees: int = 0
    refunded: int = 0
    voided: int = 0
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    amounts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    balances: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    held_for: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def expected(plan: Plan, record: CreditRecord | None = None, reserve: int = 0) -> Expected:
    """Add up a plan.

    Args:
        record: of its credit lines, as far as they came.
        reserve: what was minted for first losses.
    """
    sums = Expected()
    if plan.lines:
        sums.topped_up += pool_deposit(plan.lines) + reserve
        sums.balances[LENDER] += 0
    for name, line in () if record is None else record.lines.items():
        sums.balances[f"seller/{name}"] += line.drawn - line.by_sales - line.by_hand
    for purchase in plan.purchases:
        amount, fee = purchase.amount, purchase.fee
        buyer, seller = f"buyer/{purchase.buyer}", f"seller/{purchase.seller}"
        sums.counts[purchase.outcome] += 1
        sums.amounts[purchase.outcome] += amount
        sums.balances[buyer] += 0
        sums.balances[seller] += 0
        sums.topped_up += amount
        match purchase.outcome:
            case Outcome.AUTHORIZED | Outcome.SHIPPED:
                sums.held += amount
                sums.held_for[buyer] += amount
            case Outcome.RELEASED:
                sums.released += amount
                sums.fees += fee
                sums.balances[seller] += amount - fee
            case Outcome.VOIDED:
                sums.voided += amount
                sums.balances[buyer] += amount
            case Outcome.REFUNDED:
                # The seller got amount - fee, then the fee back, and paid back all of it.
                sums.topped_up += fee
                sums.released += amount
                sums.fees += fee
                sums.refunded += amount
                sums.balances[buyer] += amount
    return sums


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that is not what it should be."""

    where: str
    what: str
    expected: str
    actual: str


@dataclass(slots=True)
class Comparison:
    """The outcome of a reconciliation at one block.

    Attributes:
        checked: how many figures were compared.
        node: the node's own report, /v1/reconciliation.
        credit: the marketplace's own record of the credit lines.
        pool: the lender pool as the bridge tells it.
    """

    block: int
    checked: int = 0
    differences: list[Difference] = field(default_factory=list)
    node: Mapping[str, Any] = field(default_factory=dict)
    credit: CreditRecord = field(default_factory=CreditRecord)
    pool: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.differences

    def same(self, where: str, what: str, wanted: object, actual: object) -> None:
        """Compare one figure."""
        self.checked += 1
        if wanted != actual:
            self.differences.append(Difference(where, what, str(wanted), str(actual)))


async def reconcile(plan: Plan, node: Node, journal: Journal) -> Comparison:
    """Compare everything. Nobody else may use the node meanwhile.

    Raises:
        Refused, NodeUnavailable: the node does not answer.
    """
    manifest = await node.network()
    result = Comparison(block=int(await node.rpc("eth_blockNumber"), 16))
    accounts = {account["reference"]: account async for account in node.pages("/v1/accounts")}
    purchases = {purchase["order_id"]: purchase async for purchase in node.pages("/v1/purchases")}
    if plan.lines:
        result.credit = await _reckon_credit(plan, node, accounts, purchases, result)
    sums = expected(plan, result.credit, journal.reserve)
    _compare_purchases(plan, purchases, accounts, result)
    _compare_totals(sums, await node.get("/v1/purchases/totals"), result)
    await _compare_accounts(sums, node, accounts, result)
    await _compare_chain(
        plan, sums, node, result, manifest=manifest, accounts=accounts, journal=journal
    )
    if plan.lines:
        await _compare_credit(plan, node, result, accounts=accounts, journal=journal)
    result.node = await node.get("/v1/reconciliation")
    result.same("the node's reconciliation", "ok", True, result.node["ok"])
    return result


def _compare_purchases(
    plan: Plan,
    purchases: Mapping[str, Any],
    accounts: Mapping[str, Any],
    result: Comparison,
) -> None:
    where = "purchases"
    found = dict(purchases)
    for purchase in plan.purchases:
        actual = found.pop(purchase.order_id, None)
        if actual is None:
            result.same(where, purchase.order_id, purchase.outcome.value, "not there")
            continue
        figures = _purchase_figures(purchase, plan.terms.fee_bps, accounts)
        holdback = result.credit.holdback(purchase.seller, purchase.order_id)
        figures["repayment"] = str(holdback)
        for name, wanted in figures.items():
            result.same(where, f"{purchase.order_id} {name}", wanted, actual[name])
    for order_id, actual in found.items():
        result.same(where, order_id, "not there", actual["status"])


def _purchase_figures(
    purchase: PlannedPurchase, fee_bps: int, accounts: Mapping[str, Any]
) -> dict[str, object]:
    """The purchase as the bridge should tell it."""
    amount, outcome = purchase.amount, purchase.outcome
    is_open = outcome in (Outcome.AUTHORIZED, Outcome.SHIPPED)
    released = outcome in (Outcome.RELEASED, Outcome.REFUNDED)
    return {
        "status": outcome.value,
        "payer": accounts.get(f"buyer/{purchase.buyer}", {}).get("id"),
        "payee": accounts.get(f"seller/{purchase.seller}", {}).get("id"),
        "amount": str(amount),
        "fee_bps": fee_bps,
        "held": str(amount if is_open else 0),
        "released": str(amount if released else 0),
        "fee": str(purchase.fee if released else 0),
        "refunded": str(amount if outcome is Outcome.REFUNDED else 0),
        "voided": str(amount if outcome is Outcome.VOIDED else 0),
        "reclaimed": "0",
    }


def _compare_totals(sums: Expected, totals: Mapping[str, Any], result: Comparison) -> None:
    where = "totals of the purchases"
    for status in sums.counts.keys() | totals["by_status"].keys():
        actual = totals["by_status"].get(status, {"count": 0, "amount": "0"})
        result.same(where, f"{status} count", sums.counts.get(status, 0), actual["count"])
        result.same(where, f"{status} amount", str(sums.amounts.get(status, 0)), actual["amount"])
    figures = {
        "held": sums.held,
        "released": sums.released,
        "fee": sums.fees,
        "repayment": result.credit.total("by_sales"),
        "refunded": sums.refunded,
        "voided": sums.voided,
        "reclaimed": 0,
    }
    for name, figure in figures.items():
        result.same(where, name, str(figure), totals[name])


async def _compare_accounts(
    sums: Expected, node: Node, accounts: Mapping[str, Any], result: Comparison
) -> None:
    where = "accounts"
    for reference in accounts.keys() - sums.balances.keys():
        result.same(where, reference, "not there", accounts[reference]["status"])
    limit = asyncio.Semaphore(16)

    async def compare(reference: str) -> None:
        if reference not in accounts:
            result.same(where, reference, "active", "not there")
            return
        async with limit:
            balance = await node.get(f"/v1/accounts/{accounts[reference]['id']}/balance")
        wanted = str(sums.balances[reference])
        result.same(where, f"{reference} available", wanted, balance["available"])
        result.same(where, f"{reference} held", str(sums.held_for[reference]), balance["held"])
        result.same(where, f"{reference} pending", "0", balance["pending"])

    await asyncio.gather(*(compare(reference) for reference in sums.balances))


async def _compare_chain(
    plan: Plan,
    sums: Expected,
    node: Node,
    result: Comparison,
    *,
    manifest: Mapping[str, Any],
    accounts: Mapping[str, Any],
    journal: Journal,
) -> None:
    where = f"chain at block {result.block}"
    coin = manifest["contracts"]["PlatformCoin"]["address"]
    escrow = manifest["contracts"]["PurchaseEscrow"]["address"]
    pool = manifest["contracts"]["LenderPool"]["address"]
    book = manifest["contracts"]["CreditBook"]["address"]
    fee_receiver = manifest["accounts"]["fee_receiver"]
    known = [reference for reference in sums.balances if reference in accounts]
    calls = [
        abi.total_supply(coin),
        abi.balance_of(coin, escrow),
        abi.balance_of(coin, fee_receiver),
        abi.balance_of(coin, pool),
        abi.balance_of(coin, book),
        *(abi.balance_of(coin, accounts[reference]["address"]) for reference in known),
    ]
    block = hex(result.block)
    words = await node.rpc_batch([("eth_call", [call, block]) for call in calls])
    supply, escrowed, fees, pooled, booked, *balances = (abi.uint(word) for word in words)
    result.same(where, "supply", journal.supply + sums.topped_up, supply)
    result.same(where, "balance of the escrow", journal.escrowed + sums.held, escrowed)
    result.same(where, "balance of the fee receiver", journal.fees + sums.fees, fees)
    result.same(where, "balance of the pool", journal.pool + _pooled(plan, result), pooled)
    result.same(where, "balance of the credit book", journal.book + journal.reserve, booked)
    for reference, balance in zip(known, balances, strict=True):
        result.same(where, f"balance of {reference}", sums.balances[reference], balance)


# -------------------------------------------------------------------------------- credit lines


def _pooled(plan: Plan, result: Comparison) -> int:
    """What this replay has left in the pool."""
    credit = result.credit
    repaid = credit.total("by_sales") + credit.total("by_hand")
    return pool_deposit(plan.lines) + repaid - credit.total("drawn")


async def _reckon_credit(
    plan: Plan,
    node: Node,
    accounts: Mapping[str, Any],
    purchases: Mapping[str, Any],
    result: Comparison,
) -> CreditRecord:
    """Go through each seller's account in the order of the chain, and reckon its line ourselves.

    Of the entries only their order, their times and what they were about is believed; what each
    should have moved is reckoned, and compared.
    """
    record = CreditRecord()
    orders = {purchase["order_hash"]: order_id for order_id, purchase in purchases.items()}
    planned = {purchase.order_id: purchase for purchase in plan.purchases}
    for line in plan.lines:
        account = accounts.get(f"seller/{line.seller}")
        if account is None:
            result.same("credit lines", line.seller, "a seller with an account", "not there")
            continue
        entries = [entry async for entry in node.pages(f"/v1/accounts/{account['id']}/entries")]
        for moved in _movements(reversed(entries)):
            _reckon(line, moved, orders, planned, record, result)
    return record


@dataclass(frozen=True, slots=True)
class _Movement:
    """What one transaction moved on an account, of one kind."""

    kind: str
    ref: str | None
    amount: int
    when: int


def _movements(entries: Iterable[Mapping[str, Any]]) -> list[_Movement]:
    """Entries from the oldest on; a repayment and what comes back of it are one movement."""
    found: list[_Movement] = []
    last_tx = ""
    for entry in entries:
        when = int(datetime.fromisoformat(entry["block_time"]).timestamp())
        moved = _Movement(entry["kind"], entry["ref"], int(entry["amount"]), when)
        if moved.kind == "repayment" and entry["tx_hash"] == last_tx:
            before = found.pop()
            moved = replace(before, amount=before.amount + moved.amount)
        found.append(moved)
        last_tx = entry["tx_hash"]
    return found


def _reckon(
    line: PlannedLine,
    moved: _Movement,
    orders: Mapping[str, str],
    planned: Mapping[str, PlannedPurchase],
    record: CreditRecord,
    result: Comparison,
) -> None:
    own = record.lines[line.seller]
    if moved.kind == "draw":
        own.draw(line.draw, line.fee, moved.when)
        result.same("credit lines", f"draw of {line.seller}", line.draw, moved.amount)
    elif moved.kind == "release":
        order_id = orders.get(moved.ref or "", "")
        purchase = planned.get(order_id)
        if purchase is None:
            result.same("credit lines", f"sale of {line.seller}", "an order", moved.ref)
            return
        net = purchase.amount - purchase.fee
        holdback = own.sale(order_id, net, moved.when)
        result.same("credit lines", f"paid out of {order_id}", net - holdback, moved.amount)
    elif moved.kind == "repayment":
        paid = own.pay_off(moved.when)
        result.same("credit lines", f"payment of {line.seller}", -paid, moved.amount)


async def _compare_credit(
    plan: Plan,
    node: Node,
    result: Comparison,
    *,
    accounts: Mapping[str, Any],
    journal: Journal,
) -> None:
    """Our record against the lines and the pool as the bridge tells them."""
    where = "credit lines"
    found = {line["account"]: line async for line in node.pages("/v1/credit_lines")}
    for line in plan.lines:
        account = accounts.get(f"seller/{line.seller}", {}).get("id")
        actual = found.pop(account, None)
        own = result.credit.lines[line.seller]
        if actual is None:
            # None was opened where the orders end before the line begins.
            result.same(where, line.seller, 0, own.drawn)
            continue
        as_of = int(datetime.fromisoformat(actual["as_of"]).timestamp())
        figures = {
            "limit": str(line.limit),
            "principal": str(own.principal),
            "interest_bps_seconds": str(own.interest_at(as_of)),
            "drawn": str(own.drawn),
            "repaid_by_sales": str(own.by_sales),
            "interest_paid": str(own.interest_paid),
            "principal_repaid": str(own.by_sales + own.by_hand - own.interest_paid),
            "past_due": "0",
            "written_off": "0",
        }
        for name, wanted in figures.items():
            result.same(where, f"{line.seller} {name}", wanted, actual[name])
    for account, actual in found.items():
        result.same(where, account, "no line", actual["status"])
    result.pool = pool = await node.get("/v1/pool")
    cash = journal.pool + _pooled(plan, result)
    result.same("lender pool", "cash", str(cash), pool["cash"])
    if not journal.pool and not journal.book:  # else others have lines and shares in it too
        deposit = pool_deposit(plan.lines)
        credit = result.credit
        as_of = int(datetime.fromisoformat(pool["as_of"]).timestamp())
        interest = sum(own.interest_at(as_of) for own in credit.lines.values()) // BPS_YEAR
        assets = cash + credit.total("principal") + interest
        figures = {
            "principal": str(credit.total("principal")),
            "interest": str(interest),
            "total_assets": str(assets),
            "drawn": str(credit.total("drawn")),
            "repaid_by_sales": str(credit.total("by_sales")),
            "interest_paid": str(credit.total("interest_paid")),
            "deposited": str(deposit),
            "shares": str(deposit * SHARES_PER_UNIT),
            "reserve": str(journal.reserve),
            "loss": "0",
        }
        for name, wanted in figures.items():
            result.same("lender pool", name, wanted, pool[name])
