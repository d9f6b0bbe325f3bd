"""`plaza up` as its operator meets it: one process group that starts, refuses and stops cleanly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.running import PLAZA, RunningPlaza

REFUSED_SECONDS = 60


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningPlaza]:
    plaza = RunningPlaza(tmp_path / "data", "tester")
    plaza.start()
    yield plaza
    plaza.stop()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PLAZA, *arguments], capture_output=True, text=True, timeout=REFUSED_SECONDS, check=False
    )


def pids(data: Path) -> list[int]:
    node = json.loads((data / "node.json").read_text())
    return [node["pid"], *node["bridge_pids"]]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_second_node_on_the_same_folder_is_refused(node: RunningPlaza) -> None:
    second = run("up", "--data", str(node.data), "--chain", "tester", "--port", "0")
    assert second.returncode == 1
    assert "another node is running" in second.stderr


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = run("up", "--data", str(tmp_path / "data"), "--chain", "tester", "--port", port)
    assert refused.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in refused.stderr
    assert not (tmp_path / "data" / "seed.json").exists()


def test_status_and_reconcile_say_how_it_is(node: RunningPlaza, tmp_path: Path) -> None:
    deadline = time.monotonic() + REFUSED_SECONDS
    while (status := run("status", "--data", str(node.data), "--json")).returncode != 0:
        assert time.monotonic() < deadline, status.stdout + status.stderr
    assert json.loads(status.stdout)["ready"] is True
    reconciled = run("reconcile", "--data", str(node.data), "--json")
    assert reconciled.returncode == 0
    assert json.loads(reconciled.stdout)["ok"] is True
    nowhere = run("status", "--data", str(tmp_path / "nowhere"))
    assert nowhere.returncode == 1
    assert "no node is running" in nowhere.stderr


def test_every_bridge_process_answers_for_one_merchant(node: RunningPlaza) -> None:
    created = run("api-key", "create", "--data", str(node.data), "--merchant", "Shop", "--json")
    key = json.loads(created.stdout)["secret"]
    headers = {"Authorization": f"Bearer {key}"}
    for _ in range(8):  # each a connection of its own, so that both processes get some
        assert httpx.get(f"{node.bridge_url}/v1/accounts", headers=headers).json()["data"] == []


def test_a_part_that_dies_ends_the_whole_and_says_so(tmp_path: Path) -> None:
    plaza = RunningPlaza(tmp_path / "data", "tester")
    plaza.start()
    supervisor, bridge, other = pids(plaza.data)
    os.kill(bridge, signal.SIGKILL)
    deadline = time.monotonic() + REFUSED_SECONDS
    while any(map(runs, (supervisor, other))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(runs, (supervisor, other)))
    assert "the bridge ended by itself" in (plaza.data / "up.log").read_text()


def test_a_killed_supervisor_leaves_nothing_running(tmp_path: Path) -> None:
    plaza = RunningPlaza(tmp_path / "data", "tester")
    plaza.start()
    supervisor, *bridges = pids(plaza.data)
    os.kill(supervisor, signal.SIGKILL)
    deadline = time.monotonic() + REFUSED_SECONDS
    while any(map(runs, bridges)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(runs, bridges))
    assert run("status", "--data", str(plaza.data)).returncode == 1
