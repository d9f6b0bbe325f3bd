"""`plaza replay`: the main job. Acts as a marketplace, on real or generated orders."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from node.cli.common import chain_option, data_option, json_option, new_key, print_json
from node.up import RunningNode

START_SECONDS = 180
STOP_SECONDS = 120
DAY = 86_400


@click.command()
@click.option(
    "--orders",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of genuine Olist files (.csv or .csv.gz).",
)
@click.option("--generate", type=click.IntRange(1), help="Make so many orders up instead.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the generated orders.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many orders, by time.")
@chain_option
@data_option
@click.option("--fresh", is_flag=True, help="Start over: remove the data folder first.")
@click.option("--resume", is_flag=True, help="Go on with a replay that was interrupted.")
@click.option("--merchant", default="Replay", show_default=True, help="The shop that acts.")
@click.option("--fee-bps", type=click.IntRange(0, 10_000), default=250, show_default=True)
@click.option(
    "--dispute-window",
    type=click.IntRange(0),
    default=7 * DAY,
    show_default=True,
    help="Seconds between delivery and release.",
)
@click.option(
    "--tick",
    type=click.IntRange(1, 14 * DAY),
    default=DAY,
    show_default=True,
    help="Seconds by which the simulated clock moves at once.",
)
@click.option(
    "--credit",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Open credit lines for so many of the best sellers.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 500),
    default=48,
    show_default=True,
    help="Most requests under way at once.",
)
@click.option(
    "--wait-node",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Seconds to wait for a node that stops answering.",
)
@json_option
def replay(
    orders: Path | None,
    generate: int | None,
    seed: int,
    limit: int | None,
    chain: str | None,
    data: Path,
    fresh: bool,
    resume: bool,
    merchant: str,
    fee_bps: int,
    dispute_window: int,
    tick: int,
    credit: int,
    in_flight: int,
    wait_node: float,
    as_json: bool,
) -> None:
    """Drive a marketplace's orders through the bridge, then reconcile to the unit.

    Uses the node that runs on the data folder, else runs one for as long as it takes. Exit 1 if an
    order failed, or input, database and chain differ by a single unit.

    \b
    Examples:
      plaza replay --generate 200
      plaza replay --generate 200 --credit 5
      plaza replay --orders ~/olist --limit 1000 --data build/replay --fresh
      plaza replay --orders ~/olist --limit 1000 --data build/replay --resume
    """
    from rich.console import Console

    from node.client import Refused
    from node.market.client import NodeUnavailable
    from node.market.journal import JournalError
    from node.market.orders import FileRefused
    from node.market.progress import reporter
    from node.market.replay import ReplayError
    from node.market.run import ReplayOptions, prepare, run
    from node.market.summary import print_summary

    if (orders is None) == (generate is None):
        raise click.UsageError("give either --orders DIR or --generate N")
    if fresh and resume:
        raise click.UsageError("--fresh and --resume exclude each other")
    options = ReplayOptions(
        orders=orders,
        generate=generate or 0,
        seed=seed,
        limit=limit,
        tick=tick,
        fee_bps=fee_bps,
        dispute_window=dispute_window,
        credit=credit,
        in_flight=in_flight,
        wait_node=wait_node,
        resume=resume,
    )
    try:
        plan = prepare(options)
        if fresh:
            _remove(data)
        first = min((purchase.steps[0].due for purchase in plan.purchases), default=None)
        genesis_time = None if first is None else first - first % DAY - DAY
        with _node(data, chain, genesis_time) as bridge_url:
            result = asyncio.run(
                run(
                    plan,
                    options,
                    bridge_url=bridge_url,
                    api_key=new_key(data, merchant=merchant, name="plaza replay").secret,
                    journal_path=data / "replay.json",
                    reporter=reporter(),
                )
            )
    except (FileRefused, JournalError, NodeUnavailable, Refused, ReplayError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json(result.document)
    else:
        print_summary(result.document, Console(width=None if sys.stdout.isatty() else 110))
        click.echo(f"\nTry next, with the chain and database of this replay in {data}:")
        click.echo(f"  plaza up --data {data}")
        click.echo(f"  plaza reconcile --data {data}          (from another terminal)")
        click.echo(f"  plaza api-key create --data {data} --merchant '{merchant}'")
    sys.exit(0 if result.ok else 1)


def _remove(data: Path) -> None:
    """Remove a node's data folder; anything else that stands there is not ours to remove."""
    if not data.exists() or not any(data.iterdir()):
        return
    if RunningNode.find(data) is not None:
        raise click.ClickException(f"a node is running on {data}: stop it before --fresh")
    if not (data / "seed.json").exists() and not (data / "lock").exists():
        raise click.ClickException(f"{data} is not a node's data folder: it is left alone")
    shutil.rmtree(data)


@contextmanager
def _node(data: Path, chain: str | None, genesis_time: int | None) -> Iterator[str]:
    """Give the bridge's URL of the node on a data folder, run for the occasion if need be."""
    running = RunningNode.find(data)
    if running is not None:
        yield running.bridge_url
        return
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    arguments = ["--data", str(data), "--port", "0", "--rpc-port", "0", "--log-level", "warning"]
    if chain is not None:
        arguments += ["--chain", chain]
    if genesis_time is not None:
        arguments += ["--genesis-time", str(max(genesis_time, 0))]
    click.echo("Starting a node for this replay.", err=True)
    with (data / "node.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "node.cli", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,  # Ctrl-C ends the replay; the node is then stopped by us, in order
        )
    try:
        yield _wait_until_up(process, data).bridge_url
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], data: Path) -> RunningNode:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        node = RunningNode.find(data)
        if node is not None and node.pid == process.pid:
            return node
        time.sleep(0.05)
    path = data / "node.log"
    words = path.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    raise click.ClickException(f"the node did not start; the end of {path}:\n{words}")
