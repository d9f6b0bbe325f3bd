#!/usr/bin/env python3
"""Time the wallet's reading commands beside Foundry's `cast`, in the same run, taking turns.

Starts a chain (anvil) with the platform's coin, and a wallet's folder with one key. Every command
runs as a process of its own, from its start to its end, as people run it; what it writes goes
nowhere. The wallet's figure for `send --dry-run` is that of a whole preview with its simulation.

Beside the time on the clock stands the processor's: on a busy machine it is the steadier one.

Examples:
    scripts/bench_wallet.py
    scripts/bench_wallet.py --rounds 50 --json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from node.chain.anvil import find_anvil
from scripts.wallet_crash import running_platform

ROOT = Path(__file__).resolve().parents[1]
BESIDE = {  # which of cast's commands does about what this one does
    "wallet --help": "cast --help",
    "wallet --version": "cast --version",
    "wallet balance": "cast call balanceOf",
}


def main() -> int:
    arguments = _parse()
    cast = find_cast()
    if find_anvil() is None or cast is None:
        print("no anvil or cast binary here: run `make setup`", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="plaza-bench-wallet-") as folder:
        result = bench(Path(folder), cast, arguments.rounds)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="of every command (default 20)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args()


def find_cast() -> Path | None:
    """Return the cast binary itself: the npm package's command is a script that starts it."""
    binaries = sorted((ROOT / "node_modules" / "@foundry-rs").glob("cast-*/bin/cast*"))
    found = binaries[0] if binaries else shutil.which("cast")
    return Path(found) if found else None


def bench(folder: Path, cast: Path, rounds: int) -> dict[str, Any]:
    """Run every command so many times, one after the other in turn."""
    wallet = [sys.executable, "-m", "wallet.cli"]
    script = shutil.which("wallet", path=str(Path(sys.executable).parent))
    if script is not None:
        wallet = [script]
    with running_platform(folder) as platform:
        home = ("--home", str(folder / "home"))
        rpc = ("--rpc-url", platform.url)
        commands = {
            "wallet --help": [*wallet, "--help"],
            "wallet --version": [*wallet, "--version"],
            "wallet balance": [*wallet, "balance", *home],
            "wallet key list": [*wallet, "key", "list", *home],
            "wallet network show": [*wallet, "network", "show", *home],
            "wallet history": [*wallet, "history", *home],
            "wallet batch --help": [*wallet, "batch", "--help"],
            "wallet send --dry-run": [
                *(*wallet, "send", platform.recipient, "1", "--dry-run", *home),
            ],
            "cast --help": [str(cast), "--help"],
            "cast --version": [str(cast), "--version"],
            "cast balance": [str(cast), "balance", platform.sender, *rpc],
            "cast call balanceOf": [
                *(str(cast), "call", platform.coin, "balanceOf(address)(uint256)"),
                *(platform.sender, *rpc),
            ],
            "python -c pass": [sys.executable, "-c", "pass"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        busy: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(rounds + 1):
            for name, command in commands.items():
                taken, processor = _time(command)
                if turn:  # the first fills the caches
                    seconds[name].append(taken)
                    busy[name].append(processor)
    medians = {name: 1000 * statistics.median(times) for name, times in seconds.items()}
    return {
        "rounds": rounds,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "milliseconds": {
            name: {
                "median": round(medians[name], 1),
                "fastest": round(1000 * min(times), 1),
                "slowest": round(1000 * max(times), 1),
                "processor": round(1000 * statistics.median(busy[name]), 1),
            }
            for name, times in seconds.items()
        },
        "ratios": {
            f"{ours} / {theirs}": round(medians[ours] / medians[theirs], 1)
            for ours, theirs in BESIDE.items()
        },
    }


def _time(command: list[str]) -> tuple[float, float]:
    """Run a command; the seconds it took on the clock, and of the processor."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with code {process.returncode}")
    return taken, usage.ru_utime + usage.ru_stime


def show(result: dict[str, Any]) -> None:
    table = Table(title=f"medians of {result['rounds']}, load {result['load']}")
    for title in ("command", "median", "fastest", "slowest", "processor"):
        table.add_column(title, justify="left" if title == "command" else "right")
    for name, times in result["milliseconds"].items():
        table.add_row(name, *(f"{value:.1f} ms" for value in times.values()))
    Console().print(table)
    for name, ratio in result["ratios"].items():
        print(f"{name:<42} {ratio}")


if __name__ == "__main__":
    sys.exit(main())
