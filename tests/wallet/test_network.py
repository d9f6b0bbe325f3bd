"""wallet network: the manifests a wallet trusts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.wallet.chain import Bridge, Platform, free_port
from tests.wallet.conftest import Home
from wallet.errors import InvalidInput
from wallet.networks import Networks, parse_manifest


def test_a_network_is_added_from_a_bridge(platform: Platform, home: Home, bridge: Bridge) -> None:
    for name, url in (("a", bridge.url), ("b", bridge.url + "/v1/network")):
        done = home.run("network", "add", name, url, "--json")
        assert done.code == 0, done.err
        assert done.json["escrow"] == platform.escrow.address
    listed = home.run("network", "list", "--json").json["networks"]
    assert [(n["name"], n["default"]) for n in listed] == [
        ("a", False),
        ("b", False),
        ("plaza", True),
    ]


def test_a_network_is_added_from_a_file_and_used(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "network.json").write_text(json.dumps(platform.manifest(rpc_url="http://x:1")))
    path = str(tmp_path / "network.json")
    assert home.run("network", "add", "file", path, "--rpc", platform.url).code == 0
    assert home.run("network", "use", "file").code == 0
    assert home.run("network", "show", "--json").json["rpc_url"] == platform.url
    assert home.run("balance").code == 0


def test_a_network_is_not_replaced_unasked(platform: Platform, home: Home, bridge: Bridge) -> None:
    assert home.run("network", "add", "plaza", bridge.url, "--json").json["error"]["code"] == (
        "already_exists"
    )
    assert home.run("network", "add", "plaza", bridge.url, "--replace").code == 0


def test_an_unreachable_chain_is_noted(platform: Platform, home: Home, tmp_path: Path) -> None:
    manifest = platform.manifest(rpc_url=f"http://127.0.0.1:{free_port()}")
    (tmp_path / "network.json").write_text(json.dumps(manifest))
    done = home.run("network", "add", "far", str(tmp_path / "network.json"))
    assert done.code == 0
    assert "without comparing" in done.err


def test_an_absent_bridge_is_a_network_error(home: Home) -> None:
    assert home.run("network", "add", "x", f"http://127.0.0.1:{free_port()}").code == 7


def test_an_unknown_network_is_said_with_those_there_are(home: Home) -> None:
    done = home.run("balance", "--network", "mainnet")
    assert done.code == 1
    assert "there are: plaza" in done.err


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"chain_id": "4242"},
        {"chain_id": True},
        {"genesis_hash": "0x12"},
        {"coin": {"symbol": "PLZ", "decimals": 18}},
        {"contracts": {}},
        {"rpc_url": "file:///etc/passwd"},
        {"bridge_url": "javascript:x"},
    ],
)
def test_a_manifest_is_read_strictly(platform: Platform, change: dict[str, Any]) -> None:
    parse_manifest("plaza", platform.manifest())
    with pytest.raises(InvalidInput):
        parse_manifest("plaza", platform.manifest(**change))


def test_what_is_not_a_manifest_is_refused() -> None:
    for value in (None, [], "x", 1):
        with pytest.raises(InvalidInput):
            parse_manifest("plaza", value)


MANIFEST: dict[str, Any] = {
    "version": 1,
    "network": "plaza",
    "chain_id": 4242,
    "genesis_hash": "0x" + "6c" * 32,
    "rpc_url": "http://127.0.0.1:8545",
    "bridge_url": "http://127.0.0.1:8400",
    "coin": {"name": "Plaza Coin", "symbol": "PLZ", "decimals": 6},
    "contracts": {
        "AccessManager": {"address": "0x" + "11" * 20, "artifact_hash": "0x00", "block": 1},
        "PlatformCoin": {"address": "0x" + "22" * 20, "artifact_hash": "0x00", "block": 2},
        "LenderPool": {"address": "0x" + "33" * 20, "artifact_hash": "0x00", "block": 3},
        "CreditBook": {"address": "0x" + "44" * 20, "artifact_hash": "0x00", "block": 4},
        "PurchaseEscrow": {"address": "0x" + "55" * 20, "artifact_hash": "0x00", "block": 5},
    },
    "roles": {"MINTER": {"id": 1, "members": [], "delays": {}, "functions": {}}},
    "accounts": {"operator": "0x" + "66" * 20, "steward": "0x" + "77" * 20},
}


def test_a_manifest_of_the_whole_set_is_read() -> None:
    """Fields this wallet has no use for do not stop it."""
    network = parse_manifest("plaza", MANIFEST)
    assert (network.coin, network.escrow) == ("0x" + "22" * 20, "0x" + "55" * 20)
    assert (network.lender_pool, network.credit_book) == ("0x" + "33" * 20, "0x" + "44" * 20)
    assert network.first_block == 2


def test_a_network_may_be_without_credit_lines() -> None:
    earlier = ("AccessManager", "PlatformCoin", "PurchaseEscrow")
    contracts = {name: MANIFEST["contracts"][name] for name in earlier}
    network = parse_manifest("plaza", {**MANIFEST, "contracts": contracts})
    assert (network.credit_book, network.lender_pool) == (None, None)


def test_a_credit_book_without_an_address_is_refused() -> None:
    contracts = {**MANIFEST["contracts"], "CreditBook": {"address": 7}}
    with pytest.raises(InvalidInput, match=r"contracts\.CreditBook\.address is 7"):
        parse_manifest("plaza", {**MANIFEST, "contracts": contracts})


def test_a_profile_stored_by_an_earlier_wallet_is_read(tmp_path: Path) -> None:
    networks = Networks(tmp_path)
    networks.add("plaza", MANIFEST)
    path = tmp_path / "networks" / "plaza.json"
    stored = json.loads(path.read_text())
    del stored["credit_book"], stored["lender_pool"]
    path.write_text(json.dumps(stored))
    assert networks.get("plaza").credit_book is None
