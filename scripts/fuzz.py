#!/usr/bin/env python3
"""Run very many random operations on all contracts, each compared with the model.

The actions and the model are those of tests/contracts/machine.py. A sequence begins with the system
set up, with coin, lenders and open lines, and ends by taking every held coin out without the
operator. A sequence that fails is cut down to fewer actions, printed, and can be run again.

Examples:
    scripts/fuzz.py                               200,000 actions on 2 processes
    scripts/fuzz.py --actions 5000 --seed 7       a short run, the same every time
    scripts/fuzz.py --replay '[["draw", 17]]'     run a failing sequence again, telling each call
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.contracts.driver import Mismatch
from tests.contracts.machine import Plaza, random_steps

Steps = list[tuple[str, int]]
SHRINK_SECONDS = 120

_plaza: Plaza  # of this process


@dataclass
class Sequence:
    """What one sequence did."""

    number: int
    actions: int
    calls: int
    rules: Counter[str]
    outcomes: Counter[tuple[str, str]]
    states: Counter[str]
    failure: str = ""
    journal: list[str] = field(default_factory=list)


def _begin() -> None:
    global _plaza  # noqa: PLW0603 (one system a process)
    _plaza = Plaza()


def _attempt(steps: Steps) -> str:
    """Run a sequence; why it failed, or nothing."""
    try:
        _plaza.run(steps)
    except Mismatch as mismatch:
        return str(mismatch)
    except Exception:
        # A fault of the model or of the driver is a failure too.
        return traceback.format_exc()
    return ""


def _run(task: tuple[int, int, int]) -> Sequence:
    seed, number, length = task
    for counter in (_plaza.rules, _plaza.outcomes, _plaza.states):
        counter.clear()
    calls = _plaza.calls
    failure = _attempt(sequence(seed, number, length))
    return Sequence(
        number,
        sum(_plaza.rules.values()),
        _plaza.calls - calls,
        Counter(_plaza.rules),
        Counter(_plaza.outcomes),
        Counter(_plaza.states),
        failure,
        list(_plaza.journal[-20:]) if failure else [],
    )


def sequence(seed: int, number: int, length: int) -> Steps:
    """The sequence of that number: the same for the same seed, whoever runs it."""
    return random_steps(Random(f"{seed}/{number}"), length)  # noqa: S311 (no secret)


def shrink(steps: Steps, seconds: float = SHRINK_SECONDS) -> Steps:
    """Leave out what the failure does not need, as long as there is time."""
    deadline = time.monotonic() + seconds
    size = max(1, len(steps) // 2)
    while time.monotonic() < deadline:
        start, shorter = 0, False
        while start < len(steps) and time.monotonic() < deadline:
            without = steps[:start] + steps[start + size :]
            if _attempt(without):
                steps, shorter = without, True
            else:
                start += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return steps


def _tasks(seed: int, actions: int, length: int) -> Iterator[tuple[int, int, int]]:
    for number in range((actions + length - 1) // length):
        yield seed, number, min(length, actions - number * length)


def _unseen(outcomes: Counter[tuple[str, str]]) -> dict[str, list[str]]:
    """Functions that change state and never went through, and errors that never came."""
    contracts = _plaza.system.contracts()
    functions = {
        item["name"]
        for contract in contracts.values()
        for item in contract.abi
        if item["type"] == "function" and item["stateMutability"] not in ("view", "pure")
    }
    errors = {
        item["name"]
        for contract in contracts.values()
        for item in contract.abi
        if item["type"] == "error"
    }
    done = {function for function, outcome in outcomes if outcome == "ok"}
    seen = {outcome for _, outcome in outcomes}
    return {"functions": sorted(functions - done), "errors": sorted(errors - seen)}


def _report(
    arguments: argparse.Namespace, done: list[Sequence], seconds: float
) -> dict[str, object]:
    rules: Counter[str] = Counter()
    outcomes: Counter[tuple[str, str]] = Counter()
    states: Counter[str] = Counter()
    for each in done:
        rules += each.rules
        outcomes += each.outcomes
        states += each.states
    functions: dict[str, dict[str, int]] = {}
    for (function, outcome), count in sorted(outcomes.items()):
        functions.setdefault(function, {})[outcome] = count
    actions = sum(rules.values())
    return {
        "seed": arguments.seed,
        "actions": actions,
        "calls": sum(each.calls for each in done),
        "succeeded": sum(n for (_, outcome), n in outcomes.items() if outcome == "ok"),
        "sequences": len(done),
        "seconds": round(seconds, 1),
        "actions_per_second": round(actions / seconds, 1),
        "violations": sum(bool(each.failure) for each in done),
        "rules": dict(rules.most_common()),
        "functions": functions,
        "states": dict(states.most_common()),
        "never": _unseen(outcomes),
    }


def _print(report: dict[str, object]) -> None:
    print(
        f"{report['actions']:,} actions ({report['calls']:,} transactions, "
        f"{report['succeeded']:,} went through) in {report['sequences']:,} sequences, "
        f"seed {report['seed']}: {report['violations']} violations\n"
        f"{report['seconds']} s, {report['actions_per_second']} actions/s\n"
    )
    functions = report["functions"]
    assert isinstance(functions, dict)
    print(f"{'function':<30} {'ok':>7} {'refused':>8}  most refused for")
    for function, outcomes in functions.items():
        refused = Counter({name: n for name, n in outcomes.items() if name != "ok"})
        reasons = ", ".join(f"{name} {n}" for name, n in refused.most_common(3))
        print(f"{function:<30} {outcomes.get('ok', 0):>7} {refused.total():>8}  {reasons}")
    for title in ("rules", "states"):
        counts = report[title]
        assert isinstance(counts, dict)
        print(f"\n{title}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    never = report["never"]
    assert isinstance(never, dict)
    print(f"\nfunctions never gone through: {', '.join(never['functions']) or 'none'}")
    print(f"errors never seen: {', '.join(never['errors']) or 'none'}")


def _failed(arguments: argparse.Namespace, failed: Sequence) -> dict[str, object]:
    """Cut the sequence down, and say what it is."""
    print(f"\nsequence {failed.number} failed: {failed.failure}", file=sys.stderr)
    print("\n".join(failed.journal), file=sys.stderr)
    length = arguments.length
    steps = sequence(arguments.seed, failed.number, length)
    print(f"shrinking {len(steps)} actions, at most {SHRINK_SECONDS} s", file=sys.stderr)
    steps = shrink(steps)
    reason = _attempt(steps)
    print(f"\n{len(steps)} actions do: {reason}", file=sys.stderr)
    print("\n".join(_plaza.journal), file=sys.stderr)
    print(f"\nscripts/fuzz.py --replay '{json.dumps(steps)}'", file=sys.stderr)
    return {"reason": reason, "steps": steps, "calls": list(_plaza.journal)}


def _replay(steps: Steps) -> int:
    reason = _attempt([(str(name), int(seed)) for name, seed in steps])
    print("\n".join(_plaza.journal))
    print(reason or "no violation")
    return 1 if reason else 0


def _progress(done: int, actions: int, started: float, told: float) -> float:
    """Say how far it is: at once on a terminal, else once a minute. Returns when it last was."""
    now, terminal = time.monotonic(), sys.stderr.isatty()
    if not terminal and now - told < 60:
        return told
    rate = done / (now - started)
    left = (actions - done) / rate
    line = f"{done:,} of {actions:,} actions, {rate:.0f} a second, {left:.0f} s left"
    print(f"\r{line}   " if terminal else line, end="" if terminal else "\n", file=sys.stderr)
    sys.stderr.flush()
    return now


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--actions", type=int, default=200_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all choices (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--length", type=int, default=150, help="actions a sequence (%(default)s)")
    parser.add_argument("--minutes", type=float, help="stop after so long, with what is done")
    parser.add_argument("--replay", type=json.loads, help="run this sequence again (JSON)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    arguments = parser.parse_args()

    _begin()  # forked workers take it over
    if arguments.replay is not None:
        return _replay(arguments.replay)

    started, done, failure = time.monotonic(), [], None
    told = started
    tasks = _tasks(arguments.seed, arguments.actions, arguments.length)
    actions = 0
    with multiprocessing.get_context("fork").Pool(arguments.workers) as pool:
        for each in pool.imap_unordered(_run, tasks):
            done.append(each)
            actions += each.actions
            told = _progress(actions, arguments.actions, started, told)
            if each.failure:
                failure = each
                break
            late = time.monotonic() - started > (arguments.minutes or 1e9) * 60
            if late:
                break
        pool.terminate()
    if sys.stderr.isatty():
        print(file=sys.stderr)
    report = _report(arguments, done, time.monotonic() - started)
    if failure:
        report["failure"] = _failed(arguments, failure)
    if arguments.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
