"""A whole replay: load the orders, plan, drive the bridge, compare, summarise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.market.client import Node
from node.market.generate import generate_orders
from node.market.orders import OrderBook, read_orders
from node.market.plan import Plan, PlanTerms, make_plan
from node.market.progress import Reporter
from node.market.reconciliation import reconcile
from node.market.replay import DAY, Replay
from node.market.summary import summarise


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to replay, and how. Times in seconds.

    Attributes:
        orders: folder of a marketplace's files; None to generate orders.
        generate: how many orders to make up when there is no folder.
        limit: only the first so many orders, by time.
        tick: how far the simulated clock moves at once.
        credit: how many of the best sellers get a credit line.
        in_flight: how many requests may be under way at once.
        wait_node: how long to wait for a node that stops answering.
        resume: go on with the replay that the journal is of.
    """

    orders: Path | None = None
    generate: int = 1_000
    seed: int = 1
    limit: int | None = None
    tick: int = DAY
    fee_bps: int = 250
    dispute_window: int = 7 * DAY
    credit: int = 0
    in_flight: int = 48
    wait_node: float = 30.0
    resume: bool = False


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The outcome: `document` is all of it (see `summary`).

    Attributes:
        ok: every order went through, and input, bridge and chain agree to the unit.
    """

    ok: bool
    document: dict[str, Any]


def prepare(options: ReplayOptions) -> Plan:
    """Load the orders and lay out what to do with them.

    Raises:
        FileRefused: a file of the export cannot be used.
        ValueError: a term is out of range.
    """
    terms = PlanTerms(options.tick, options.fee_bps, options.dispute_window, options.credit)
    return make_plan(_book(options), terms)


def _book(options: ReplayOptions) -> OrderBook:
    if options.orders is not None:
        return read_orders(options.orders, options.limit)
    count = options.generate if options.limit is None else min(options.generate, options.limit)
    return generate_orders(count, options.seed)


async def run(
    plan: Plan,
    options: ReplayOptions,
    *,
    bridge_url: str,
    api_key: str,
    journal_path: Path,
    reporter: Reporter,
) -> ReplayResult:
    """Replay a plan on a node whose bridge answers, with the key of a merchant of its own.

    Raises:
        ReplayError: the merchant is in use, or the chain's clock does not allow it.
        JournalError: there is nothing to resume, or it is another replay.
        NodeUnavailable: the node went away; run again with `resume`.
        Refused: the bridge refused what is not about a single order, such as the API key.
    """
    async with Node(
        bridge_url,
        api_key,
        in_flight=options.in_flight,
        wait_seconds=options.wait_node,
        on_outage=lambda reason: reporter.say(f"Waiting for the node: {reason}"),
    ) as node:
        replay = Replay(plan, node, journal_path, reporter)
        journal = await replay.start(options.resume)
        await replay.go(journal)
        comparison = await reconcile(plan, node, journal)
    document = summarise(plan, replay.run, comparison)
    return ReplayResult(ok=comparison.ok and not replay.run.errors, document=document)
