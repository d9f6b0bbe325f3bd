"""`plaza deploy` as an operator meets it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from node.chain.deployment import Manifest
from tests.end_to_end.running import PLAZA
from tests.node.chain.support import NO_ANVIL, has_anvil
from tests.node.cli.conftest import Served

SECONDS = 120


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    # A process of its own: the command configures logging for the whole of it.
    environment = {**os.environ, "PLAZA_RPC_PORT": "0", **settings}
    return subprocess.run(
        [PLAZA, "deploy", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment,
    )


def test_a_rehearsal_prints_the_rules_and_keeps_no_manifest(tmp_path: Path) -> None:
    done = run(
        "--chain", "tester", "--data", str(tmp_path), "--json", PLAZA_GOVERNANCE_DELAY="259200"
    )
    assert done.returncode == 0, done.stderr
    rules = {rule["function"]: rule for rule in json.loads(done.stdout)["rules"]}
    assert [member["delay"] for member in rules["admitSystem"]["members"]] == [259_200]
    assert [member["delay"] for member in rules["setCaps"]["members"]] == [86_400]
    assert not (tmp_path / "network.json").exists()
    assert (tmp_path / "seed.json").exists()


@pytest.mark.anvil
def test_a_second_run_finds_all_there(tmp_path: Path) -> None:
    if not has_anvil():
        pytest.skip(NO_ANVIL)
    first = run("--chain", "anvil", "--data", str(tmp_path), "--json")
    assert first.returncode == 0, first.stderr
    manifest = Manifest.load(tmp_path / "network.json")
    second = run("--chain", "anvil", "--data", str(tmp_path), "--json", "--log-level", "info")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout) == json.loads(first.stdout)
    assert "deploying" not in second.stderr
    assert Manifest.load(tmp_path / "network.json").contracts == manifest.contracts


def test_a_chain_of_others_is_deployed_on_with_the_keys_of_the_folder(
    served: Served, tmp_path: Path
) -> None:
    """Two networks may share a chain: addresses follow from the admin's key."""
    data = tmp_path / "other"
    done = run("--chain", served.engine.rpc_url, "--data", str(data))
    assert done.returncode == 0, done.stderr
    assert "STEWARD" in done.stdout
    manifest = Manifest.load(data / "network.json")
    assert manifest.rpc_url == served.engine.rpc_url
    assert manifest.contracts["PlatformCoin"].block == 8
    assert not set(manifest.accounts.values()) & set(served.manifest.accounts.values())


def test_a_chain_that_does_not_answer_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run("--chain", url, "--data", str(tmp_path))
    assert done.returncode == 3
    assert f"cannot use the chain at {url}" in done.stderr
    assert not (tmp_path / "network.json").exists()


def test_another_chain_id_is_refused(served: Served, tmp_path: Path) -> None:
    url = served.engine.rpc_url
    done = run("--chain", url, "--data", str(tmp_path / "other"), PLAZA_CHAIN_ID="7")
    assert done.returncode == 1
    assert f"{url} is chain 4242, not 7" in done.stderr


def test_the_manifest_of_another_chain_is_refused(served: Served, tmp_path: Path) -> None:
    path = served.data / "network.json"
    other = json.loads(path.read_text()) | {"genesis_hash": "0x" + "00" * 32}
    path.write_text(json.dumps(other))
    done = run("--chain", served.engine.rpc_url, "--data", str(served.data))
    assert done.returncode == 1
    assert "another chain with the same id" in done.stderr


def test_a_folder_with_a_running_node_is_left_to_it(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock"):
        done = run("--chain", "tester", "--data", str(tmp_path))
    assert done.returncode == 1
    assert "a node is running" in done.stderr
    assert not (tmp_path / "seed.json").exists()


def test_a_chain_that_is_none_is_refused(tmp_path: Path) -> None:
    done = run("--chain", "nonsense", "--data", str(tmp_path))
    assert done.returncode == 1
    assert "no chain engine 'nonsense'" in done.stderr
