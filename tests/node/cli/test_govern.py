"""`plaza govern`: operations of the platform's keys, with their delays, by the same words twice."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from node.chain.codec import ContractCodec
from node.chain.constitution import ENDLESS
from node.chain.rpc import HttpRpc, RpcUnavailable
from node.cli import main
from node.keys import SealedSeed
from tests.node.chain.support import send
from tests.node.cli.conftest import Served

DAY = 86_400
STRANGER = "0x52908400098527886E0F7030069857D2E4169EE7"


@pytest.fixture
def platform(served: Served) -> Served:
    """The chain, and its keys in the data folder."""
    SealedSeed.create(served.data / "seed.json", "words", b"\x05" * 32, scrypt_n=2)
    (served.data / "passphrase").write_text("words\n")
    return served


def run(platform: Served, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["govern", "--data", str(platform.data), *arguments])


def said(platform: Served, *arguments: str) -> dict[str, Any]:
    done = run(platform, "--json", *arguments)
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def wait(platform: Served, until: int) -> None:
    platform.run(lambda: platform.engine.set_time(until))


def read(platform: Served, contract: str, function: str, *arguments: Any) -> Any:
    codec = ContractCodec(contract)
    address = platform.manifest.contracts[contract].address
    call = {"to": address, "data": codec.encode(function, *arguments)}
    answer = platform.run(lambda: platform.engine.rpc.call("eth_call", call, "latest"))
    return codec.decode_result(function, answer)


def test_an_operation_is_scheduled_waited_for_and_executed_by_the_same_words(
    platform: Served,
) -> None:
    words = ("--as", "risk", "CreditBook", "setCaps", "1", "20_000", "500")
    scheduled = said(platform, *words)
    assert scheduled["state"] == "scheduled"
    assert scheduled["transaction"].startswith("0x")
    ready_at = scheduled["ready_at"]
    assert said(platform, *words) == {"state": "waiting", "ready_at": ready_at, "transaction": None}
    assert read(platform, "CreditBook", "lineCap") != 1
    wait(platform, ready_at)
    assert said(platform, *words)["state"] == "executed"
    assert read(platform, "CreditBook", "lineCap") == 1
    assert read(platform, "CreditBook", "totals")["principalCap"] == 20_000
    assert said(platform, *words)["state"] == "scheduled"  # anew: it was executed once


def test_an_operation_that_expired_is_scheduled_anew(platform: Served) -> None:
    words = ("--as", "risk", "CreditBook", "setCaps", "1", "1", "0")
    first = said(platform, *words)["ready_at"]
    wait(platform, first + 7 * DAY)
    again = said(platform, *words)
    assert again["state"] == "scheduled"
    assert again["ready_at"] > first


def test_what_need_not_wait_is_done_at_once(platform: Served) -> None:
    assert said(platform, "--as", "guardian", "CreditBook", "pauseDraws")["state"] == "executed"
    assert read(platform, "CreditBook", "totals")["drawsPaused"] is True


def test_the_guardian_cancels(platform: Served) -> None:
    operation = ("PlatformCoin", "admitSystem", STRANGER, str(ENDLESS))
    ready_at = said(platform, "--as", "steward", *operation)["ready_at"]
    cancel = ("--cancel-of", "steward", *operation)
    refused = run(platform, "--as", "servicer", *cancel)
    assert refused.exit_code == 1
    assert "AccessManagerUnauthorizedCancel" in refused.output
    assert said(platform, "--as", "guardian", *cancel)["state"] == "cancelled"
    wait(platform, ready_at)
    assert said(platform, "--as", "steward", *operation)["state"] == "scheduled"
    kinds = read(platform, "PlatformCoin", "accountOf", STRANGER)["kinds"]
    assert kinds == 0


def test_roles_are_granted_by_the_admin_with_selectors_as_json(platform: Served) -> None:
    selector = ContractCodec("PurchaseEscrow").selector("resolve")
    words = ("--as", "admin", "AccessManager", "setTargetFunctionRole", STRANGER)
    words = (*words, json.dumps([selector]), "10")
    wait(platform, said(platform, *words)["ready_at"])
    assert said(platform, *words)["state"] == "executed"
    assert read(platform, "AccessManager", "getTargetFunctionRole", STRANGER, selector) == 10


def test_a_contract_elsewhere_is_named_with_its_address(platform: Served) -> None:
    manager = platform.manifest.contracts["AccessManager"].address
    creation = ContractCodec("PlatformCoin").encode_constructor(manager)
    seed = SealedSeed(b"\x05" * 32)
    receipt = platform.run(
        lambda: send(
            platform.engine, seed.platform("steward"), to=None, data=creation, gas=10_000_000
        )
    )
    other = f"PlatformCoin@{receipt['contractAddress']}"
    # Its functions have no role yet, and so are the admin's.
    assert said(platform, "--as", "admin", other, "pause")["state"] == "scheduled"
    refused = run(platform, "--as", "operator", other, "pause")
    assert refused.exit_code == 1
    assert "AccessManagedUnauthorized" in refused.output


def test_a_key_without_the_role_is_refused_in_words(platform: Served) -> None:
    done = run(platform, "--as", "servicer", "CreditBook", "setCaps", "1", "1", "0")
    assert done.exit_code == 1
    assert "refused: AccessManagedUnauthorized(caller=" in done.output


@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        (("Escrow", "resolve"), "no contract 'Escrow': AccessManager, PlatformCoin", 2),
        (("PlatformCoin@0x12", "pause"), "'0x12' is no address", 2),
        (("PlatformCoin", "fly"), "no function 'fly'", 1),
        (("PlatformCoin", "setMintLimit", STRANGER), "takes 3 arguments, was given 1", 1),
        (("PlatformCoin", "setMintLimit", STRANGER, "much", "0"), "which 'much' is not", 2),
        (("CreditBook", "setSalesSource", STRANGER, "yes"), "allowed is bool, which 'yes'", 2),
    ],
)
def test_words_that_are_no_call_are_refused_before_anything_is_sent(
    platform: Served, words: tuple[str, ...], complaint: str, code: int
) -> None:
    done = run(platform, "--as", "admin", *words)
    assert (done.exit_code, complaint in done.output) == (code, True), done.output


def test_keys_that_a_running_node_counts_are_left_to_it(platform: Served) -> None:
    node = {
        "pid": 1,
        "bridge_pids": [],
        "chain_pid": None,
        "bridge_url": "http://127.0.0.1:1",
        "rpc_url": platform.engine.rpc_url,
        "chain": "tester",
    }
    (platform.data / "node.json").write_text(json.dumps(node))
    with FileLock(platform.data / "lock"):
        refused = run(platform, "--as", "operator", "CreditBook", "pauseDraws")
        assert refused.exit_code == 1
        assert "uses the key operator itself" in refused.output
        words = ("--as", "risk", "CreditBook", "setCaps", "1", "1", "0")
        assert said(platform, *words)["state"] == "scheduled"
        pause = ("--as", "guardian", "CreditBook", "pauseDraws")
        assert said(platform, *pause)["state"] == "executed"


def test_a_transaction_is_told_before_its_answer_can_be_lost(
    platform: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain executes it and falls silent; who repeats the command must know."""
    answered = HttpRpc.call

    async def call(self: HttpRpc, method: str, *params: Any) -> Any:
        answer = await answered(self, method, *params)
        if method == "eth_sendRawTransaction":
            raise RpcUnavailable("the connection was cut")
        return answer

    monkeypatch.setattr(HttpRpc, "call", call)
    done = run(platform, "--as", "guardian", "CreditBook", "pauseDraws")
    monkeypatch.undo()
    assert done.exit_code == 3
    told = re.search(r"^sending transaction (0x[0-9a-f]{64})$", done.stderr, re.MULTILINE)
    assert told, done.stderr
    rpc = platform.engine.rpc
    receipt = platform.run(lambda: rpc.call("eth_getTransactionReceipt", told[1]))
    assert receipt["status"] == "0x1"
    assert read(platform, "CreditBook", "totals")["drawsPaused"] is True


def test_without_keys_it_says_so(served: Served) -> None:
    done = run(served, "--as", "operator", "CreditBook", "pauseDraws")
    assert done.exit_code == 1
    assert "there is no seed" in done.output


def test_without_a_manifest_it_says_so(tmp_path: Path) -> None:
    arguments = ["govern", "--data", str(tmp_path), "--as", "risk", "CreditBook", "pauseDraws"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "there is no manifest" in done.output
