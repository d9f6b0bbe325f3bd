"""wallet network check and rm: profiles against what is there, and without them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.wallet.chain import Bridge, Platform, Proxy, free_port, lose, serving
from tests.wallet.conftest import Home
from tests.wallet.test_network import MANIFEST
from tests.wallet.test_terminal import terminal
from wallet import Networks
from wallet.errors import JournalError, Refused, UnknownName
from wallet.inspection import journal_path, read_open
from wallet.network_check import Finding, check_network

NEW = "--allow-new-recipient"


@pytest.fixture
def right(home: Home, bridge: Bridge, platform: Platform) -> Home:
    """A home whose profile is the bridge's manifest."""
    home.add_network(bridge.manifest)
    platform.catch_up()
    return home


def change_profile(home: Home, **changes: Any) -> None:
    """Change a stored profile by hand."""
    path = home.path / "networks" / "plaza.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def check(home: Home, code: int) -> dict[str, list[dict[str, Any]]]:
    """Run the check; its findings by the name of the check, as JSON has them."""
    done = home.run("network", "check", "--json")
    assert done.code == code, done.out + done.err
    assert (done.json["network"], done.json["ok"], done.err) == ("plaza", code == 0, "")
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in done.json["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return found


def problems(found: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    return {
        name: finding["message"]
        for name, findings in found.items()
        for finding in findings
        if finding["status"] == "problem"
    }


def test_everything_right_is_said_line_by_line(platform: Platform, right: Home) -> None:
    done = right.run("network", "check", "plaza")
    assert done.code == 0, done.out
    lines = [line.split(None, 2) for line in done.out.splitlines()]
    assert [line[0] for line in lines[:-1]] == ["OK"] * (len(lines) - 1)
    assert platform.escrow.address in done.out
    assert done.out.endswith("no problems, no warnings\n")
    checks = list(check(right, 0))
    assert checks == [
        "endpoint",
        "chain id",
        "genesis",
        "coin",
        "escrow",
        "credit book",
        "lenders' pool",
        "symbol",
        "decimals",
        "clock",
        "bridge",
        "manifest",
    ]


def test_an_endpoint_that_is_not_there(right: Home) -> None:
    change_profile(right, rpc_url=f"http://127.0.0.1:{free_port()}", bridge_url=None)
    assert "no answer from" in problems(check(right, 7))["endpoint"]


def test_a_bridge_that_is_not_there(home: Home) -> None:
    found = check(home, 7)
    assert list(problems(found)) == ["bridge"]
    assert found["coin"][0]["status"] == "ok"


def test_what_is_wrong_counts_more_than_what_does_not_answer(home: Home) -> None:
    change_profile(home, symbol="XYZ")
    assert set(problems(check(home, 1))) == {"bridge", "symbol"}


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        ({"chain_id": 1}, "chain id", "the endpoint has 4242, the profile 1"),
        ({"genesis_hash": "0x" + "ab" * 32}, "genesis", "the profile 0x" + "ab" * 32),
        ({"coin": "0x" + "22" * 20}, "coin", "there is no contract at 0x" + "22" * 20),
        ({"escrow": "0x" + "22" * 20}, "escrow", "there is no contract at 0x" + "22" * 20),
        ({"credit_book": "0x" + "22" * 20}, "credit book", "there is no contract at"),
        ({"lender_pool": "0x" + "22" * 20}, "lenders' pool", "there is no contract at"),
        ({"symbol": "XYZ"}, "symbol", "the coin calls itself 'PLZ', the profile 'XYZ'"),
        ({"operators": ["0x" + "22" * 20]}, "manifest", "operators is "),
        ({"first_block": 7}, "manifest", "first_block is 1 by the bridge, and 7 as stored"),
        ({"coin": "0x22"}, "profile", "coin is '0x22': "),
        ({"escrow": None}, "profile", "escrow is None: not an address with its checksum"),
        ({"chain_id": "4242"}, "profile", "chain_id is '4242': not a number"),
        ({"rpc_url": "ftp://x"}, "profile", "rpc_url is 'ftp://x': "),
        ({"bridge_url": 7}, "profile", "bridge_url is 7: "),
        ({"operators": None}, "profile", "operators is None: not a list"),
    ],
)
def test_each_difference_is_a_problem_with_an_advice(
    right: Home, change: dict[str, Any], name: str, message: str
) -> None:
    change_profile(right, **change)
    found = check(right, 1)
    assert message in problems(found)[name]
    assert all(f["advice"] for fs in found.values() for f in fs if f["status"] == "problem")


def test_a_lowercase_address_is_not_what_was_stored(platform: Platform, right: Home) -> None:
    change_profile(right, coin=platform.coin.address.lower())
    assert "not an address with its checksum" in problems(check(right, 1))["profile"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chain_id": 7}, "chain_id is 7 by the bridge, and 4242 as stored"),
        ({"accounts": {}}, "operators is none by the bridge, and 0x"),
        ({"bridge_url": None}, "bridge_url is none by the bridge, and http://"),
        ({"version": 9}, "version"),
    ],
)
def test_a_bridge_that_says_something_else(
    right: Home, bridge: Bridge, change: dict[str, Any], message: str
) -> None:
    bridge.manifest.update(change)
    assert message in problems(check(right, 1))["manifest"]


def test_what_strangers_say_cannot_look_like_a_line_of_its_own(right: Home, bridge: Bridge) -> None:
    bridge.manifest["coin"]["symbol"] = "PLZ\nOK       escrow\x1b[2J"
    lines = right.run("network", "check").out.splitlines()
    assert sum(line.startswith("OK       escrow") for line in lines) == 1
    assert not any("\x1b" in line for line in lines)


def test_an_endpoint_of_ones_own_is_only_mentioned(
    platform: Platform, right: Home, bridge: Bridge, proxy: Proxy
) -> None:
    right.add_network(bridge.manifest, proxy.url)
    (manifest,) = check(right, 0)["manifest"]
    assert manifest["status"] == "warning"
    assert manifest["message"] == (
        f"rpc_url is {platform.url} by the bridge, and {proxy.url} as stored"
    )


def test_an_endpoint_that_breaks_down_in_the_middle(right: Home, proxy: Proxy) -> None:
    change_profile(right, rpc_url=proxy.url)
    proxy.before["eth_getCode"] = lose
    found = check(right, 1)
    assert set(problems(found)) == {"coin", "escrow", "credit book", "lenders' pool"}
    assert "no answer from" in problems(found)["coin"]
    assert found["symbol"][0]["status"] == "ok"


@pytest.mark.parametrize("result", [None, 7, "", "0x", "0xzz", [], {}, "0x" + "00" * 64])
def test_an_endpoint_that_talks_nonsense(right: Home, result: Any) -> None:
    def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        asked = json.loads(body)["method"]
        value = "0x1092" if asked == "eth_chainId" else result
        return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()

    with serving(answer) as url:
        change_profile(right, rpc_url=url)
        found = check(right, 1)
    assert set(problems(found)) >= {"symbol", "decimals", "clock"}
    assert "Traceback" not in str(found)


@pytest.mark.parametrize(
    ("offset", "status", "message"),
    [
        (0, "ok", "within 60 seconds of the chain's"),
        (-7_300, "problem", "the chain's clock is 2 hours ahead of this machine's"),
        (86_400 * 3 + 9, "warning", "the chain's last block is 3 days behind this machine's clock"),
    ],
)
def test_the_clocks_are_compared(
    platform: Platform, right: Home, offset: int, status: str, message: str
) -> None:
    block = platform.web3.eth.get_block("pending")
    found = check_network(Networks(right.path).get(), block["timestamp"] + offset)
    clock = next(finding for finding in found if finding.check == "clock")
    assert (clock.status, clock.message) == (status, message)


def test_only_what_does_not_answer_is_unreachable() -> None:
    assert Finding("bridge", "problem", "").is_unreachable
    assert not Finding("bridge", "ok", "").is_unreachable
    assert not Finding("coin", "problem", "").is_unreachable


def test_an_unknown_network_is_not_checked(right: Home) -> None:
    done = right.run("network", "check", "other", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "not_found")


# -------------------------------------------------------------------------------- rm


@pytest.fixture
def networks(tmp_path: Path) -> Networks:
    found = Networks(tmp_path / "home")
    for name in ("a", "b", "c"):
        found.add(name, MANIFEST)
    return found


def test_what_was_the_default_leaves_none_or_the_only_other(networks: Networks) -> None:
    assert networks.remove("b") == "a", "not the default: nothing changes"
    networks.add("b", MANIFEST)
    assert networks.remove("a") is None, "two are left, and nobody chose between them"
    networks.use("b")
    assert networks.remove("b") == "c"
    assert networks.remove("c") is None
    assert networks.names() == []
    with pytest.raises(UnknownName, match="no network yet"):
        networks.get()
    with pytest.raises(UnknownName, match="no network 'c'"):
        networks.remove("c")


def test_a_removed_network_is_confirmed_and_the_rest_stays(home: Home) -> None:
    before = {p: p.read_bytes() for p in (home.path / "keys").iterdir()}
    with terminal(*home.command("network", "rm", "plaza")) as screen:
        screen.expect("Network  plaza")
        screen.expect("Stays    the keys, and the journal")
        screen.expect(r"Remove it\? \[y/N\]")
        screen.type("n")
        screen.expect("declined: nothing was removed")
        assert screen.exit_code() == 3
    assert Networks(home.path).names() == ["plaza"]
    with terminal(*home.command("network", "rm", "plaza")) as screen:
        screen.expect(r"Remove it\? \[y/N\]")
        screen.type("y")
        screen.expect("choose another with")
        screen.expect("Removed plaza")
        assert screen.exit_code() == 0
    assert Networks(home.path).names() == []
    assert {p: p.read_bytes() for p in (home.path / "keys").iterdir()} == before


def test_off_a_terminal_the_flag_is_named(home: Home) -> None:
    done = home.run("network", "rm", "plaza", "--json")
    assert (done.code, done.json["error"]["message"]) == (
        5,
        "not on a terminal: confirm with --yes",
    )
    assert Networks(home.path).names() == ["plaza"]


def test_the_answer_in_json(home: Home, bridge: Bridge) -> None:
    Networks(home.path).add("other", bridge.manifest)
    done = home.run("network", "rm", "plaza", "--yes", "--json")
    assert (done.code, done.json) == (0, {"name": "plaza", "removed": True, "default": "other"})
    assert "It was the default network: now that is other" in done.err
    assert home.run("network", "rm", "plaza", "--yes", "--json").json["error"]["code"] == (
        "not_found"
    )


def test_unfinished_transactions_keep_their_network(
    platform: Platform, make_home: Callable[..., Home], proxy: Proxy
) -> None:
    home = make_home(rpc_url=proxy.url)
    proxy.before["eth_sendRawTransaction"] = lose
    to = platform.member().address
    pay = ("send", to, "1", NEW)
    assert home.confirmed(*pay, "--timeout", "0").code == 8
    journal = journal_path(home.path).read_bytes()
    done = home.run("network", "rm", "plaza", "--yes", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "refused")
    assert done.json["error"]["message"] == (
        f"the journal has 1 unfinished on network 'plaza', of {home.account.address}: "
        "`wallet history --network plaza` says how they stand. "
        "Remove it all the same with --with-unfinished"
    )
    assert home.run("network", "rm", "plaza", "--yes", "--with-unfinished").code == 0
    assert journal_path(home.path).read_bytes() == journal

    # Added again, and the same command finishes the same transaction.
    del proxy.before["eth_sendRawTransaction"]
    home.add_network(platform.manifest(), proxy.url)
    done = home.confirmed(*pay, "--json")
    assert (done.code, done.json["resumed"]) == (0, True)
    assert platform.balance(to) == 1_000_000
    assert home.run("network", "rm", "plaza", "--yes").code == 0


def test_a_journal_nobody_can_read_keeps_its_networks(home: Home) -> None:
    path = journal_path(home.path)
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5_000)
    with pytest.raises(JournalError, match="cannot be read"):
        Networks(home.path).remove("plaza")
    assert Networks(home.path).names() == ["plaza"]
    assert Networks(home.path).remove("plaza", with_unfinished=True) is None


def test_transactions_of_another_network_are_its_own(platform: Platform, home: Home) -> None:
    assert read_open(home.path) == []
    Networks(home.path).add("other", MANIFEST)
    with home.wallet() as wallet:
        plan = wallet.plan_transfer(platform.fee_receiver, 1)
        wallet._sign(plan, "a key")
    (unfinished,) = read_open(home.path)
    assert (unfinished.sender, unfinished.nonce, unfinished.held) == (
        home.account.address,
        0,
        False,
    )
    assert Networks(home.path).remove("other") == "plaza"
    with pytest.raises(Refused):
        Networks(home.path).remove("plaza")
