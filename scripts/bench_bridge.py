#!/usr/bin/env python3
"""Measure purchases through the bridge end to end, beside what the chain itself carries.

Starts a node on anvil with a data folder of its own; managed buyers pay and release orders through
its bridge. A purchase is two requests, and is over when the feed of events says that its coin is
released. A webhook receiver beside it verifies what it is told. All processes share this machine:
the table says how much of its CPU each of them took.

Without --rate as many purchases as possible, so many under way at once. With --rate one is begun
every 1/rate seconds, and all latencies count from the time a request was due, so that a slow
answer does not hide those behind it.

Examples:
    scripts/bench_bridge.py
    scripts/bench_bridge.py --purchases 5000 --at-once 200 --json
    scripts/bench_bridge.py --rate 100 --seconds 60
    scripts/bench_bridge.py --soak 10 --rate 50
    scripts/bench_bridge.py --pages --rows 1000,1000000
    scripts/bench_bridge.py --profile bridges --purchases 1000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from node.chain.anvil import find_anvil
from node.cli.common import configure_logging
from scripts.bench_load import Plan, reconcile, run_load, run_node, top_costs
from scripts.bench_pages import bench_pages
from scripts.bench_replay import bench_raw_transfers

SAMPLES = 120  # of memory in a soak


def main() -> int:
    arguments = _parse()
    if find_anvil() is None:
        print("bench: no anvil binary here: run `make setup`", file=sys.stderr)
        return 1
    configure_logging("warning")
    with tempfile.TemporaryDirectory(prefix="plaza-bench-") as folder:
        if arguments.pages:
            rows = [int(number) for number in arguments.rows.split(",")]
            result = bench_pages(Path(folder), rows, arguments.database_url, _tell)
        else:
            result = bench_load(Path(folder), arguments)
    if arguments.json:
        print(json.dumps(result, indent=2))
    elif arguments.pages:
        show_pages(result)
    else:
        show_load(result)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--purchases", type=int, default=3000, help="of a closed loop (default 3000)")
    add("--at-once", type=int, default=200, help="purchases under way (default 200)")
    add("--rate", type=float, help="open loop: purchases begun in a second")
    add("--seconds", type=float, default=30, help="length of the open loop (default 30)")
    add("--soak", type=float, metavar="MINUTES", help="open loop that watches memory and drift")
    add("--buyers", type=int, default=100, help="managed accounts that pay (default 100)")
    add("--sellers", type=int, default=20, help="managed accounts that are paid (default 20)")
    add("--bridges", type=int, default=2, help="bridge processes (default 2)")
    add(
        "--webhooks",
        default="purchase.released",
        metavar="TYPES",
        help='event types the receiver is told, comma-separated; "" for no receiver'
        " (default purchase.released)",
    )
    add("--transfers", type=int, default=5000, help="raw transfers; 0: none (default 5000)")
    add("--profile", choices=("bridges", "worker"), help="say what these did with their CPU time")
    add("--top", type=int, default=40, help="lines of the profile (default 40)")
    add("--pages", action="store_true", help="time the pages of lists, short and long")
    add("--rows", default="1000,1000000", help="of the lists (default 1000,1000000)")
    add("--database-url", help="a PostgreSQL server's database to make the lists in, empty")
    add("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    if arguments.soak is not None and arguments.rate is None:
        parser.error("--soak needs --rate: about half of what the closed loop reached")
    return arguments


def bench_load(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One node and one run on it, then the raw chain by itself."""
    seconds = arguments.seconds if arguments.soak is None else 60 * arguments.soak
    count = arguments.purchases if arguments.rate is None else int(arguments.rate * seconds)
    plan = Plan(
        purchases=count,
        rate=arguments.rate,
        at_once=arguments.at_once,
        warm_up=min(200, count),
        buyers=arguments.buyers,
        sellers=arguments.sellers,
        webhooks=[name for name in arguments.webhooks.split(",") if name],
        sample_seconds=0 if arguments.soak is None else max(seconds / SAMPLES, 0.5),
        profiled=arguments.profile,
    )
    settings = {"webhook_networks": "127.0.0.0/8", "bridges": str(arguments.bridges)}
    with run_node(folder / "node", settings, arguments.profile) as node:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            measured = runner.run(run_load(node, plan, _tell))
        reconciled = reconcile(node.data)
    result = {"cores": os.cpu_count(), **measured, "reconciled": reconciled}
    if node.profiles is not None:
        result["profile"] = top_costs(node.profiles, arguments.top)
    if arguments.transfers:
        _tell(f"{arguments.transfers} raw transfers")
        raw_data = folder / "raw"
        raw_data.mkdir()
        raw = asyncio.run(bench_raw_transfers(raw_data, arguments.transfers))
        result["raw_transfers_per_second"] = round(raw, 1)
        # Each purchase moves coin twice: into escrow, and out of it.
        result["share_of_raw"] = round(2 * measured["purchases_per_second"] / raw, 3)
    return result


def show_load(result: dict[str, Any]) -> None:
    console = Console()
    table = Table(title=f"Purchases through the bridge, {result['mode']}, {result['cores']} cores")
    table.add_column("measure")
    table.add_column("value", justify="right")
    for name in (
        "purchases",
        "seconds",
        "purchases_per_second",
        "raw_transfers_per_second",
        "share_of_raw",
        "chain_transactions",
        "actions_per_transaction",
        "cores_used",
    ):
        if name in result:
            table.add_row(name.replace("_", " "), f"{result[name]:,}")
    latencies = {
        "acknowledgement": result["acknowledgement_ms"],
        "authorized": result["authorized_ms"],
        "released": result["released_ms"],
    }
    webhooks = result.get("webhooks")
    if webhooks:
        latencies["event to webhook"] = webhooks["event_to_webhook_ms"]
        table.add_row("webhooks", f"{webhooks['received']:,} of {webhooks['expected']:,}")
    for name, values in latencies.items():
        words = (
            " / ".join(f"{values[share]:,}" for share in ("p50", "p95", "p99")) if values else "-"
        )
        table.add_row(f"{name}, ms: p50 / p95 / p99", words)
    for process, milliseconds in result["cpu_ms_per_purchase"].items():
        table.add_row(f"CPU ms per purchase: {process}", f"{milliseconds:,}")
    for process, sizes in result.get("memory", {}).items():
        words = f"{sizes['first_mib']:,} → {sizes['last_mib']:,} ({sizes['slope_mib_per_minute']})"
        table.add_row(f"memory, MiB: {process} (a minute)", words)
    console.print(table)
    for error, count in result["errors"].items():
        console.print(f"[red]{count} of {error}[/red]")
    ok = result["reconciled"]["ok"]
    console.print("reconciled to the unit" if ok else "[red]drift[/red]")
    if "profile" in result:
        costs = Table("function", title="CPU time by function")
        for column in ("calls", "own s", "with callees s"):
            costs.add_column(column, justify="right")
        for row in result["profile"]:
            values = (row["calls"], row["own_seconds"], row["with_callees_seconds"])
            costs.add_row(row["function"], *(f"{value:,}" for value in values))
        console.print(costs)


def show_pages(result: dict[str, Any]) -> None:
    console = Console()
    table = Table("list", title=f"One page of 20, ms at the median, {result['database']}")
    for size in result["rows"]:
        table.add_column(f"{size:,} rows: first / middle / last", justify="right")
    table.add_column("longest ÷ shortest list", justify="right")
    for listed in result["lists"]:
        cells = [
            " / ".join(f"{milliseconds:g}" for milliseconds in pages.values())
            for pages in listed["milliseconds"].values()
        ]
        table.add_row(listed["list"], *cells, f"{listed['ratio']:g}")
    console.print(table)


def _tell(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
