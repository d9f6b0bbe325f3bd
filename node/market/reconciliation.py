"""Compares the orders with the bridge's books and with the chain, to the unit.

What is expected follows from the plan alone, that is from the orders and the terms. It is held
against every purchase and every account as the bridge tells them, against its totals, against the
coin contract itself at one block, and against the node's own comparison of database and chain.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from node.market import abi
from node.market.client import Node
from node.market.journal import Journal
from node.market.plan import Outcome, Plan, PlannedPurchase


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


def expected(plan: Plan) -> Expected:
    """Add up a plan."""
    sums = Expected()
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
    """

    block: int
    checked: int = 0
    differences: list[Difference] = field(default_factory=list)
    node: Mapping[str, Any] = field(default_factory=dict)

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
    sums = expected(plan)
    manifest = await node.network()
    result = Comparison(block=int(await node.rpc("eth_blockNumber"), 16))
    accounts = {account["reference"]: account async for account in node.pages("/v1/accounts")}
    await _compare_purchases(plan, node, accounts, result)
    _compare_totals(sums, await node.get("/v1/purchases/totals"), result)
    await _compare_accounts(sums, node, accounts, result)
    await _compare_chain(sums, node, result, manifest=manifest, accounts=accounts, journal=journal)
    result.node = await node.get("/v1/reconciliation")
    result.same("the node's reconciliation", "ok", True, result.node["ok"])
    return result


async def _compare_purchases(
    plan: Plan, node: Node, accounts: Mapping[str, Any], result: Comparison
) -> None:
    where = "purchases"
    found = {purchase["order_id"]: purchase async for purchase in node.pages("/v1/purchases")}
    for purchase in plan.purchases:
        actual = found.pop(purchase.order_id, None)
        if actual is None:
            result.same(where, purchase.order_id, purchase.outcome.value, "not there")
            continue
        for name, wanted in _purchase_figures(purchase, plan.terms.fee_bps, accounts).items():
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
    fee_receiver = manifest["accounts"]["fee_receiver"]
    known = [reference for reference in sums.balances if reference in accounts]
    calls = [
        abi.total_supply(coin),
        abi.balance_of(coin, escrow),
        abi.balance_of(coin, fee_receiver),
        *(abi.balance_of(coin, accounts[reference]["address"]) for reference in known),
    ]
    block = hex(result.block)
    words = await node.rpc_batch([("eth_call", [call, block]) for call in calls])
    supply, escrowed, fees, *balances = (abi.uint(word) for word in words)
    result.same(where, "supply", journal.supply + sums.topped_up, supply)
    result.same(where, "balance of the escrow", journal.escrowed + sums.held, escrowed)
    result.same(where, "balance of the fee receiver", journal.fees + sums.fees, fees)
    for reference, balance in zip(known, balances, strict=True):
        result.same(where, f"balance of {reference}", sums.balances[reference], balance)
