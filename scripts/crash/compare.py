"""Four accounts of the same money, compared to the unit: chain, database, marketplace, webhooks.

What should be is reckoned from the marketplace's own record alone. Then, at one pinned block:

    every acknowledged intention exists exactly once, with the id that was told
    an intention without an answer exists at most once, and counts if it does
    nothing else exists
    chain (eth_call), bridge and record agree on supply, escrow, fees, every balance and purchase
    the database agrees with the chain in everything (node.index.reconcile)
    every operation is done, by one transaction that is mined, once; every key is kept
    every event arrived as a webhook, verified, as the bridge tells it, in order for its resource
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.index.reconcile import reconcile
from node.market import abi
from node.store.models import (
    ChainTx,
    ChainTxOperation,
    ChainTxStatus,
    Dispute,
    IdempotencyKey,
    Operation,
    OperationStatus,
    TxAttempt,
)
from scripts.crash.record import Asked, Broken
from scripts.crash.shop import Shop
from scripts.crash.stage import Stage

DRAIN_SECONDS = 180
REDELIVER_SECONDS = 4.0
FEE_BPS = 250
# What tells a resource from all others of its kind, in the request and in the list.
_NAMES = {
    "account": ("reference", "/v1/accounts"),
    "topup": ("reference", "/v1/topups"),
    "redemption": ("reference", "/v1/redemptions"),
    "transfer": ("memo", "/v1/transfers"),
    "purchase": ("order_id", "/v1/purchases"),
}


@dataclass
class Verdict:
    """What was compared, and all that is wrong."""

    checked: int = 0
    doubled: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.doubled or self.lost or self.different)

    def same(self, what: str, expected: object, actual: object) -> None:
        self.checked += 1
        if expected != actual:
            self.different.append(f"{what} is {actual}, and should be {expected}")

    def once(self, what: str, times: int, *, least: int = 1) -> None:
        """Something should be there once; with `least` 0, at most once."""
        self.checked += 1
        if times > 1:
            self.doubled.append(f"{what} is there {times} times")
        elif times < least:
            self.lost.append(f"{what} is not there")

    def words(self) -> Iterable[str]:
        for how in ("doubled", "lost", "different"):
            for one in getattr(self, how):
                yield f"{how}: {one}"


@dataclass
class Order:
    """A purchase as the record has it."""

    payer: str
    payee: str
    amount: int
    held: int = 0
    released: int = 0
    fee: int = 0
    voided: int = 0
    refunded: int = 0
    tracking: str | None = None
    disputed: bool = False


@dataclass
class Reckoned:
    """What the record makes of itself. Accounts and purchases by id."""

    supply: int = 0
    fees: int = 0
    balances: Counter[str] = field(default_factory=Counter)
    orders: dict[str, Order] = field(default_factory=dict)

    @property
    def held(self) -> int:
        return sum(order.held for order in self.orders.values())


async def drain(stage: Stage, shop: Shop, endpoint: str, first_seq: int) -> None:
    """Wait until nothing is on its way any more: no operation, no webhook.

    Raises:
        Broken: something does not get on.
    """
    end = time.monotonic() + DRAIN_SECONDS
    await _settle(stage, end)
    if not await stage.jump(DRAIN_SECONDS):  # then every dispute is over
        raise Broken("lost", f"after {DRAIN_SECONDS} s: lost blocks are not made up for")
    await _settle(stage, end, disputes_too=True)
    due = {event["id"] for event in await shop.events_after(first_seq)}
    path = f"/v1/webhook_endpoints/{endpoint}/deliveries"
    looked = 0.0
    while due - _arrived(stage) and time.monotonic() < end:  # if not all come, it is told below
        await asyncio.sleep(0.3)
        if time.monotonic() - looked < REDELIVER_SECONDS:
            continue
        looked = time.monotonic()
        for delivery in (await shop.get(f"{path}?limit=100&status=pending"))["data"]:
            if delivery["attempts"] > 1:  # it was refused twice, and pauses for minutes
                shop.redelivered.add(delivery["event"])  # it may have come by now, and comes again
                await shop.post(f"{path}/{delivery['id']}/redeliver")


async def _settle(stage: Stage, end: float, *, disputes_too: bool = False) -> None:
    while (left := await stage.store.read(_count_open)) or (
        disputes_too and await _disputes_left(stage)
    ):
        if time.monotonic() > end:
            raise Broken("lost", f"after {DRAIN_SECONDS} s without load: {left} are not settled")
        await asyncio.sleep(0.2)


def _arrived(stage: Stage) -> set[str]:
    inbox = sqlite3.connect(f"file:{stage.inbox}?mode=ro", uri=True)
    try:
        return {id_ for (id_,) in inbox.execute("SELECT id FROM received")}
    finally:
        inbox.close()


async def _disputes_left(stage: Stage) -> bool:
    """Disputes whose time is over, and whose end is not queued yet."""
    return bool(
        await stage.store.read(
            lambda session: session.scalar(
                select(func.count()).select_from(Dispute).where(Dispute.closed_at.is_(None))
            )
        )
    )


def _count_open(session: Session) -> int:
    statuses = (OperationStatus.QUEUED, OperationStatus.SUBMITTED)
    return session.scalar(select(func.count()).where(Operation.status.in_(statuses))) or 0


async def compare(stage: Stage, shop: Shop, first_seq: int) -> Verdict:
    """Compare everything. The load has stopped and is drained.

    Args:
        first_seq: webhooks are due for events after this one.
    """
    verdict = Verdict()
    asked = shop.record.read()
    listed = {kind: await shop.list_all(path) for kind, (_, path) in _NAMES.items()}
    there = _compare_existence(asked, listed, verdict)
    reckoned = reckon(asked, there)
    _compare_purchases(reckoned, listed["purchase"], verdict)
    await _compare_money(stage, shop, reckoned, listed["account"], verdict)
    await stage.store.read(lambda session: _compare_operations(session, asked, there, verdict))
    found = await reconcile(stage.engine.rpc, stage.store, stage.manifest)
    verdict.checked += sum(found.checked.values())
    verdict.different += [f"database and chain: {drift}" for drift in found.drift]
    events = await shop.events_after(first_seq)
    with contextlib.closing(sqlite3.connect(f"file:{stage.inbox}?mode=ro", uri=True)) as inbox:
        compare_webhooks(inbox, events, shop.redelivered, verdict)
    return verdict


def _compare_existence(
    asked: list[Asked], listed: Mapping[str, list[dict[str, Any]]], verdict: Verdict
) -> dict[str, str]:
    """Return, by key, the id of what every intention has made."""
    there: dict[str, str] = {}
    for kind, (name, _) in _NAMES.items():
        by_name: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for item in listed[kind]:
            by_name[item[name]].append(item)
        for one in asked:
            if one.kind != kind:
                continue
            found = by_name.pop(one.body[name], [])
            # A client that has died does not ask again either.
            least = 0 if one.resource_id is None else 1
            verdict.once(f"{kind} {one.body[name]}", len(found), least=least)
            if not found:
                continue
            there[one.key] = found[0]["id"]
            if one.resource_id is not None:
                verdict.same(f"id of {kind} {one.body[name]}", one.resource_id, found[0]["id"])
            if kind in ("topup", "redemption", "transfer"):
                verdict.same(f"status of {found[0]['id']}", "succeeded", found[0]["status"])
            if kind == "account":
                verdict.same(f"status of {found[0]['id']}", "active", found[0]["status"])
            else:
                verdict.same(f"amount of {found[0]['id']}", one.body["amount"], found[0]["amount"])
        for stranger, items in by_name.items():
            verdict.doubled.append(f"{kind} {stranger}: {len(items)} that nobody asked for")
    for one in asked:
        if one.kind not in _NAMES and one.resource_id is not None:
            there[one.key] = one.resource_id
    return there


def reckon(asked: Iterable[Asked], there: Mapping[str, str]) -> Reckoned:
    """What should be, by the intentions that have come about, in their order."""
    sums = Reckoned()
    for one in asked:
        if one.key in there:
            _reckon(one, there[one.key], sums)
    for order in sums.orders.values():
        if order.disputed:  # nobody decides: all that is held goes back
            sums.balances[order.payer] += order.held
            order.voided += order.held
            order.held = 0
    return sums


def _reckon(one: Asked, resource_id: str, sums: Reckoned) -> None:
    amount = int(one.body.get("amount", 0))
    match one.kind:
        case "account":
            sums.balances[resource_id] += 0
            return
        case "topup":
            sums.supply += amount
            sums.balances[one.body["account"]] += amount
            return
        case "redemption":
            sums.supply -= amount
            sums.balances[one.body["account"]] -= amount
            return
        case "transfer":
            sums.balances[one.body["from"]] -= amount
            sums.balances[one.body["to"]] += amount
            return
        case "purchase":
            sums.orders[resource_id] = Order(one.body["payer"], one.body["payee"], amount)
            if not one.body["authorize"]:
                return
    order = sums.orders[resource_id]
    match one.kind:
        case "purchase" | "purchase.authorize":
            order.held = order.amount
            sums.balances[order.payer] -= order.amount
        case "purchase.ship":
            order.tracking = one.body["tracking"]
        case "purchase.release":
            fee = amount * FEE_BPS // 10_000
            order.held -= amount
            order.released += amount
            order.fee += fee
            sums.fees += fee
            sums.balances[order.payee] += amount - fee
        case "purchase.void":
            order.held -= amount
            order.voided += amount
            sums.balances[order.payer] += amount
        case "purchase.refund":
            order.refunded += amount
            sums.balances[order.payee] -= amount
            sums.balances[order.payer] += amount
        case "purchase.dispute":
            order.disputed = True


def _compare_purchases(
    reckoned: Reckoned, purchases: list[dict[str, Any]], verdict: Verdict
) -> None:
    for purchase in purchases:
        order = reckoned.orders.get(purchase["id"])
        if order is None:
            continue  # told already
        for name in ("held", "released", "fee", "voided", "refunded"):
            what = f"{name} of {purchase['id']} ({purchase['order_id']})"
            verdict.same(what, str(getattr(order, name)), purchase[name])
        verdict.same(f"tracking of {purchase['id']}", order.tracking, purchase["tracking"])


async def _compare_money(
    stage: Stage,
    shop: Shop,
    reckoned: Reckoned,
    accounts: list[dict[str, Any]],
    verdict: Verdict,
) -> None:
    addresses = {account["id"]: account["address"] for account in accounts}
    contracts = stage.manifest.contracts
    coin = contracts["PlatformCoin"].address
    known = [account for account in reckoned.balances if account in addresses]
    verdict.same("accounts with money", sorted(reckoned.balances), sorted(known))
    calls = [
        abi.total_supply(coin),
        abi.balance_of(coin, contracts["PurchaseEscrow"].address),
        abi.balance_of(coin, stage.manifest.accounts["fee_receiver"]),
        *(abi.balance_of(coin, addresses[account]) for account in known),
    ]
    block = await stage.engine.rpc.call("eth_blockNumber")
    words = await stage.engine.rpc.batch([("eth_call", [call, block]) for call in calls])
    supply, escrow, fees, *balances = (abi.uint(word) for word in words)
    verdict.same("supply on chain", reckoned.supply, supply)
    verdict.same("coin in escrow on chain", reckoned.held, escrow)
    verdict.same("fees on chain", reckoned.fees, fees)
    for account, actual in zip(known, balances, strict=True):
        verdict.same(f"balance of {account} on chain", reckoned.balances[account], actual)
    for account in known:
        balance = await shop.get(f"/v1/accounts/{account}/balance")
        wanted = str(reckoned.balances[account])
        verdict.same(f"balance of {account} at the bridge", wanted, balance["available"])
        verdict.same(f"pending of {account}", "0", balance["pending"])


def _compare_operations(
    session: Session, asked: list[Asked], there: Mapping[str, str], verdict: Verdict
) -> None:
    operations = session.execute(
        select(Operation.id, Operation.kind, Operation.status, Operation.ref, Operation.error)
    ).all()
    for row in operations:
        verdict.checked += 1
        if row.status != OperationStatus.DONE:
            verdict.lost.append(f"operation {row.id} ({row.kind}) is {row.status}: {row.error}")
    for (kind, ref), times in Counter((row.kind, row.ref) for row in operations).items():
        verdict.once(f"operation {kind} {ref}", times)
    done_by = Counter(
        session.scalars(
            select(ChainTxOperation.operation_id)
            .join(ChainTx, ChainTx.id == ChainTxOperation.chain_tx_id)
            .where(ChainTx.status == ChainTxStatus.MINED, ChainTxOperation.succeeded.is_(True))
        )
    )
    for row in operations:
        verdict.once(f"what has done {row.id} ({row.kind})", done_by[row.id])
    transactions = session.scalar(select(func.count()).select_from(ChainTx))
    carrying = session.scalar(select(func.count(ChainTxOperation.chain_tx_id.distinct())))
    verdict.same("transactions that are for something", transactions, carrying)
    attempts = session.scalar(select(func.count()).select_from(TxAttempt))
    verdict.same("signed bytes", transactions, attempts)
    kept = dict(session.execute(select(IdempotencyKey.key, IdempotencyKey.resource_id)).all())
    for one in asked:
        if one.key in there:
            verdict.same(f"what the key {one.key} stands for", there[one.key], kept.get(one.key))
        elif one.key in kept:
            verdict.different.append(f"the key {one.key} stands for {kept[one.key]}, not there")


def compare_webhooks(
    inbox: sqlite3.Connection,
    events: list[dict[str, Any]],
    redelivered: Collection[str],
    verdict: Verdict,
) -> None:
    """Compare what a receiver has written down with the events.

    Args:
        redelivered: ids of events that were asked for once more: they may come again at any time.
    """
    received = [
        (id_, json.loads(body))
        for id_, body in inbox.execute("SELECT id, body FROM received ORDER BY number")
    ]
    refused = inbox.execute("SELECT id, reason FROM refused").fetchall()
    for id_, reason in refused:
        verdict.different.append(f"webhook {id_} could not be verified: {reason}")
    arrived = dict(received)
    for event in events:
        verdict.checked += 1
        if event["id"] not in arrived:
            verdict.lost.append(
                f"webhook of {event['id']} ({event['type']} of {event['resource_id']})"
            )
        else:
            verdict.same(f"webhook of {event['id']}", event, arrived[event["id"]])
    known = {event["id"] for event in events}
    for id_ in arrived.keys() - known:
        verdict.different.append(f"webhook {id_} is of no event")
    last: dict[str, int] = {}
    seen: set[str] = set()
    for id_, body in received:
        if id_ in seen and id_ in redelivered:
            continue
        seen.add(id_)
        if body["seq"] < last.get(body["resource_id"], 0):
            verdict.different.append(
                f"webhook {id_} of {body['resource_id']} came with seq {body['seq']}"
                f" after {last[body['resource_id']]}"
            )
        last[body["resource_id"]] = body["seq"]
