"""The table of failpoints and the code agree, and a process dies where it is told to."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import timeit
from collections import Counter
from pathlib import Path

import pytest

from node import failpoints

PROJECT = Path(__file__).parents[2]


def reached_steps() -> Counter[str]:
    """Every step that the node's code names, with how often."""
    found: Counter[str] = Counter()
    for path in (PROJECT / "node").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = (
                call.func.id
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
                else ""
            )
            if name in ("reach", "reach_halfway") and path.name != "failpoints.py":
                step = call.args[0]
                assert isinstance(step, ast.Constant), f"{path}: a step is named in place"
                found[step.value] += 1
    return found


def run(code: str, failpoint: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PLAZA_FAILPOINT": failpoint}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_every_step_of_the_table_is_in_the_code_once_and_no_other_is():
    assert reached_steps() == dict.fromkeys(failpoints.STEPS, 1)


def test_a_process_dies_at_the_count_it_was_told():
    code = (
        "from node.failpoints import reach\n"
        "for n in range(9):\n"
        "    print(n, flush=True)\n"
        "    reach('outbox.signed')\n"
        "    reach('outbox.stored')\n"
    )
    died = run(code, "outbox.stored:3")
    assert died.returncode == -signal.SIGKILL
    assert died.stdout.split() == ["0", "1", "2"]
    assert run(code, "outbox.stored:10").returncode == 0
    assert run(code, "outbox.stored").stdout.split() == ["0"]


def test_halfway_means_that_the_first_half_was_sent():
    code = (
        "import asyncio\n"
        "from node.failpoints import reach_halfway\n"
        "async def send(items):\n"
        "    await reach_halfway('outbox.half_sent', send, items)\n"
        "    print(*items, flush=True)\n"
        "async def main():\n"
        "    await send([1])\n"
        "    await send([2, 3, 4, 5])\n"
        "asyncio.run(main())\n"
    )
    died = run(code, "outbox.half_sent")
    assert died.returncode == -signal.SIGKILL
    assert died.stdout.splitlines() == ["1", "2 3"]


@pytest.mark.parametrize(
    ("failpoint", "words"),
    [
        ("outbox.signd", "no failpoint 'outbox.signd'"),
        ("outbox.stored:0", "a number from 1, not '0'"),
        ("outbox.stored:x", "a number from 1, not 'x'"),
        ("", "no failpoint ''"),
    ],
)
def test_a_failpoint_that_is_none_is_refused_at_the_start(failpoint: str, words: str):
    refused = run("import node.failpoints", failpoint)
    assert refused.returncode == 1
    assert words in refused.stderr


def test_unarmed_a_step_costs_less_than_a_microsecond():
    assert failpoints._armed is None
    calls = 100_000
    best = min(timeit.repeat(lambda: failpoints.reach("outbox.stored"), number=calls, repeat=5))
    assert best / calls < 1e-6
