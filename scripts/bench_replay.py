#!/usr/bin/env python3
"""Measure the replay end to end, beside what the chain itself carries in the same run.

Runs a node on anvil with a data folder of its own, replays orders through its bridge, and divides
the processor time among the processes. Then sends signed coin transfers straight to a second
anvil, in batches, without any of Plaza around it: the chain's raw rate, the limit of what could be
reached.

Examples:
    scripts/bench_replay.py --limit 2000
    scripts/bench_replay.py --orders ~/olist --limit 2000 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from node.chain.anvil import AnvilEngine, find_anvil
from node.chain.codec import ContractCodec
from node.chain.deployment import Manifest, deploy
from node.chain.rpc import HttpRpc
from node.cli.common import configure_logging
from node.keys import SealedSeed
from node.settings import Settings
from node.up import RunningNode

START_SECONDS = 180
RAW_BATCH = 200
RPC_BATCH = 1000
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--orders", type=Path, help="folder of genuine Olist files")
    parser.add_argument("--limit", type=int, default=2000, help="orders (default 2000)")
    parser.add_argument(
        "--tick", type=int, default=604_800, help="simulated seconds at once (default a week)"
    )
    parser.add_argument("--transfers", type=int, default=5000, help="raw transfers (default 5000)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    if find_anvil() is None:
        print("bench: no anvil binary here: run `make setup`", file=sys.stderr)
        return 1
    configure_logging("warning")
    with tempfile.TemporaryDirectory(prefix="plaza-bench-") as folder:
        replayed = bench_replay(
            Path(folder, "node"), arguments.orders, arguments.limit, arguments.tick
        )
        raw_data = Path(folder, "raw")
        raw_data.mkdir()
        raw = asyncio.run(bench_raw_transfers(raw_data, arguments.transfers))
    run = replayed["document"]["run"]
    result = {
        "cores": os.cpu_count(),
        "source": replayed["document"]["source"],
        "tick_seconds": replayed["document"]["terms"]["tick_seconds"],
        "purchases": run["purchases"],
        "purchases_per_second": run["purchases_per_second"],
        "chain_transactions": replayed["chain_transactions"],
        "transactions_per_second": round(replayed["chain_transactions"] / run["seconds"], 1),
        "raw_transfers_per_second": round(raw, 1),
        "share_of_raw": round(replayed["chain_transactions"] / run["seconds"] / raw, 3),
        "reconciled": replayed["document"]["reconciliation"]["ok"],
        "cpu_ms_per_purchase": replayed["cpu_ms_per_purchase"],
        "steps": run["steps"],
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    return 0


def bench_replay(data: Path, orders: Path | None, limit: int, tick: int) -> dict[str, Any]:
    """Replay on a node of its own; return the replay's document and where the time went."""
    source = ["--orders", str(orders)] if orders else ["--generate", str(limit)]
    source += ["--tick", str(tick)]
    plaza = [sys.executable, "-m", "node.cli"]
    data.mkdir()
    # Block 0 must be before the first order; every source of orders is later than 2010.
    up = [*plaza, "up", "--data", str(data), "--port", "0", "--rpc-port", "0", "--chain", "anvil"]
    with (data / "node.log").open("wb") as log:
        supervisor = subprocess.Popen(
            [*up, "--genesis-time", "1262304000", "--log-level", "warning"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        node = wait_for_node(supervisor, data)
        pids = {
            "worker": [node.pid],
            "bridges": node.bridge_pids,
            "anvil": [node.chain_pid or 0],
        }
        before = {name: sum(map(cpu_seconds, ids)) for name, ids in pids.items()}
        client = subprocess.Popen(
            [*plaza, "replay", *source, "--limit", str(limit), "--data", str(data), "--json"],
            stdout=subprocess.PIPE,
        )
        output, _ = client.communicate()
        if client.returncode:
            raise SystemExit(f"bench: the replay ended with {client.returncode}")
        used = {name: sum(map(cpu_seconds, ids)) - before[name] for name, ids in pids.items()}
        document = json.loads(output)
        transactions = asyncio.run(count_transactions(node.rpc_url))
    finally:
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(120)
    purchases = document["run"]["purchases"]
    return {
        "document": document,
        "chain_transactions": transactions,
        "cpu_ms_per_purchase": {
            name: round(seconds * 1000 / purchases, 1) for name, seconds in used.items()
        },
    }


async def bench_raw_transfers(data: Path, count: int) -> float:
    """Transfers per second of an anvil that is sent signed bytes in batches, all mined."""
    binary = find_anvil()
    assert binary is not None
    settings = Settings(data=data, rpc_port=0)
    seed = SealedSeed.create(data / "seed.json", "bench", os.urandom(32))
    engine = AnvilEngine(
        binary, folder=data / "anvil", chain_id=4242, port=0, genesis_time=None, clock=time.time
    )
    await engine.start()
    try:
        manifest = await deploy(engine, seed, settings, bridge_url="http://127.0.0.1")
        sender = seed.platform("operator")
        signed = _sign_transfers(manifest, seed, count)
        mint = signed.pop(0)
        await engine.rpc.call("eth_sendRawTransaction", mint)
        started = time.perf_counter()
        for first in range(0, count, RAW_BATCH):
            batch = signed[first : first + RAW_BATCH]
            # As the outbox sends: anvil's pool may else wait for a predecessor already mined.
            async with engine.mining_held():
                await engine.rpc.batch([("eth_sendRawTransaction", [raw]) for raw in batch])
        mined = 0
        while mined < count:  # anvil mines as it goes: this asks once or twice
            answer = await engine.rpc.call("eth_getTransactionCount", sender.address, "latest")
            mined = int(answer, 16)
        return count / (time.perf_counter() - started)
    finally:
        await engine.stop()


def _sign_transfers(manifest: Manifest, seed: SealedSeed, count: int) -> list[str]:
    """The mint to the operator by the treasury, then the operator's transfers, as raw hex."""
    coin, codec = manifest.contracts["PlatformCoin"].address, ContractCodec("PlatformCoin")
    treasury, sender = seed.platform("treasury"), seed.platform("operator")
    call = {"chainId": manifest.chain_id, "to": coin, "gas": 300_000}
    mint = codec.encode("mint", sender.address, count, "0x" + "11" * 32)
    transfer = codec.encode("transfer", manifest.accounts["fee_receiver"], 1)
    transactions = [(treasury, {**call, "nonce": 0, "data": mint})]
    transactions += [(sender, {**call, "nonce": nonce, "data": transfer}) for nonce in range(count)]
    return ["0x" + signer.sign_transaction(fields).raw.hex() for signer, fields in transactions]


async def count_transactions(rpc_url: str) -> int:
    """Blocks of a chain that mines each transaction at once: every one holds one, or none."""
    rpc = HttpRpc(rpc_url)
    try:
        head = int(await rpc.call("eth_blockNumber"), 16)
        calls = [("eth_getBlockTransactionCountByNumber", [hex(n)]) for n in range(1, head + 1)]
        total = 0
        for first in range(0, len(calls), RPC_BATCH):
            counts = await rpc.batch(calls[first : first + RPC_BATCH])
            total += sum(int(count, 16) for count in counts)
        return total
    finally:
        await rpc.close()


def wait_for_node(process: subprocess.Popen[bytes], data: Path) -> RunningNode:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        node = RunningNode.find(data)
        if node is not None:
            return node
        time.sleep(0.05)
    raise SystemExit(f"bench: the node did not start:\n{(data / 'node.log').read_text()[-2000:]}")


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def show(result: dict[str, Any]) -> None:
    console = Console()
    table = Table(title=f"Replay of {result['source']}, {result['cores']} cores")
    table.add_column("measure")
    table.add_column("value", justify="right")
    for name in (
        "purchases",
        "purchases_per_second",
        "transactions_per_second",
        "raw_transfers_per_second",
        "share_of_raw",
    ):
        table.add_row(name.replace("_", " "), f"{result[name]:,}")
    for process, milliseconds in result["cpu_ms_per_purchase"].items():
        table.add_row(f"CPU ms per purchase: {process}", f"{milliseconds:,}")
    console.print(table)
    console.print("reconciled to the unit" if result["reconciled"] else "[red]drift[/red]")


if __name__ == "__main__":
    sys.exit(main())
