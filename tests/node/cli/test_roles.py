"""`plaza roles`: what it prints, and how it says that it cannot."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.chain.constitution import ENDLESS
from node.cli import main
from node.cli.roles import duration, moment
from tests.node.cli.conftest import Served


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["roles", *arguments])


def test_the_table_says_who_may_do_what_and_what_waits(served: Served) -> None:
    done = run("--data", str(served.data))
    assert done.exit_code == 0, done.output
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in done.output.splitlines()
        if line.startswith("│")
    ]
    assert ["PlatformCoin", "mint", "MINTER", "treasury", "-"] in rows
    assert ["PlatformCoin", "setMintLimit", "TREASURER", "admin", "1 d"] in rows
    assert ["PlatformCoin", "admitSystem", "STEWARD", "steward", "1 d"] in rows
    assert ["CreditBook", "setCaps", "CAPS", "risk", "1 d"] in rows
    assert ["CreditBook", "lowerLimit", "RISK", "risk", "-"] in rows
    assert ["PurchaseEscrow", "resolve", "ARBITER", "arbiter", "-"] in rows
    escrow = served.manifest.contracts["PurchaseEscrow"].address
    assert ["PurchaseEscrow", escrow, "no end", "yes"] in rows
    assert "transfer" not in done.output  # open to anyone


def test_json_has_addresses_and_seconds(served: Served) -> None:
    document = json.loads(run("--data", str(served.data), "--json").output)
    (rule,) = [rule for rule in document["rules"] if rule["function"] == "setSalesSource"]
    steward = served.manifest.accounts["steward"]
    assert rule["contract"] == "CreditBook"
    assert rule["address"] == served.manifest.contracts["CreditBook"].address
    assert [(one["name"], one["address"], one["delay"]) for one in rule["members"]] == [
        ("steward", steward, 86_400)
    ]
    assert document["roles"]["STEWARD"]["cancelled_by"] == "GUARDIAN"
    assert document["roles"]["STEWARD"]["pending_grant_delay"] == 86_400
    assert [one["sales_source"] for one in document["system_members"]] == [False, False, True]
    assert document["chain_id"] == 4242


def test_without_a_manifest_it_says_what_to_run(tmp_path: Path) -> None:
    done = run("--data", str(tmp_path))
    assert done.exit_code == 1
    assert "there is no manifest at" in done.output
    assert "plaza deploy" in done.output


def test_a_chain_that_does_not_answer_has_an_exit_code_of_its_own(served: Served) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run("--data", str(served.data), "--rpc", url)
    assert done.exit_code == 3
    assert f"no answer from {url}" in done.output


def test_another_chain_is_refused(served: Served) -> None:
    path = served.data / "network.json"
    other = json.loads(path.read_text()) | {"genesis_hash": "0x" + "00" * 32}
    path.write_text(json.dumps(other))
    done = run("--data", str(served.data))
    assert done.exit_code == 1
    assert f"{served.engine.rpc_url} is another chain" in done.output


def test_a_server_that_is_no_chain_is_said(served: Served) -> None:
    url = f"{served.engine.rpc_url}/elsewhere"
    done = run("--data", str(served.data), "--rpc", url)
    assert done.exit_code == 3
    assert "HTTP 404" in done.output


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "-"), (1, "1 s"), (60, "1 min"), (90_000, "1 d 1 h"), (86_399, "23 h 59 min 59 s")],
)
def test_durations_in_words(seconds: int, words: str) -> None:
    assert duration(seconds) == words


def test_moments_in_words() -> None:
    assert moment(1_500_000_000) == "2017-07-14 02:40:00Z"
    assert moment(ENDLESS) == "no end"
