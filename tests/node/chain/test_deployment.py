"""Deployment: what it puts on chain, and that interrupting or repeating it changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import contracts
from node.chain.bytecode import contract_address, is_code_of
from node.chain.codec import ContractCodec
from node.chain.constitution import ENDLESS
from node.chain.deployment import CONTRACTS, DeploymentError, Manifest, deploy
from node.chain.engine import Engine, open_engine
from node.chain.rpc import Rpc, RpcUnavailable
from node.keys import PLATFORM_KEYS, SealedSeed
from node.settings import Settings
from tests.node.chain.support import START, seed, send, settings_in

BRIDGE = "http://127.0.0.1:8400"
DAY = 86_400
WHOLE_SET = 6  # blocks: five contracts and the constitution


async def read(engine: Engine, manifest: Manifest, contract: str, function: str, *args: Any) -> Any:
    codec = ContractCodec(contract)
    call = {"to": manifest.contracts[contract].address, "data": codec.encode(function, *args)}
    return codec.decode_result(function, await engine.rpc.call("eth_call", call, "latest"))


async def height(engine: Engine) -> int:
    return int(await engine.rpc.call("eth_blockNumber"), 16)


async def test_the_manifest_says_what_is_on_the_chain(engine: Engine, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    manifest = await deploy(engine, seed, settings, bridge_url=BRIDGE)
    genesis = await engine.rpc.call("eth_getBlockByNumber", "0x0", False)
    assert manifest.genesis_hash == genesis["hash"]
    assert (manifest.chain_id, manifest.network) == (4242, "plaza")
    assert (manifest.rpc_url, manifest.bridge_url) == (engine.rpc_url, BRIDGE)
    assert manifest.coin.model_dump() == {"name": "Plaza Coin", "symbol": "PLZ", "decimals": 6}
    assert await read(engine, manifest, "PlatformCoin", "decimals") == manifest.coin.decimals
    for block, (name, contract) in enumerate(manifest.contracts.items(), start=1):
        code = await engine.rpc.call("eth_getCode", contract.address, "latest")
        assert is_code_of(code, contracts.load(name).runtime_bytecode)
        assert contract.artifact_hash == contracts.load(name).hash
        assert contract.block == block
    addresses = {name: contract.address for name, contract in manifest.contracts.items()}
    for contract, getter, other in (
        ("PlatformCoin", "authority", "AccessManager"),
        ("LenderPool", "asset", "PlatformCoin"),
        ("LenderPool", "creditBook", "CreditBook"),
        ("CreditBook", "coin", "PlatformCoin"),
        ("CreditBook", "pool", "LenderPool"),
        ("CreditBook", "authority", "AccessManager"),
        ("PurchaseEscrow", "coin", "PlatformCoin"),
        ("PurchaseEscrow", "saleHook", "CreditBook"),
        ("PurchaseEscrow", "authority", "AccessManager"),
    ):
        assert await read(engine, manifest, contract, getter) == addresses[other]
    assert Manifest.load(settings.manifest_path) == manifest


async def test_the_manifest_file_has_the_documented_shape(tester: Engine, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    await deploy(tester, seed, settings, bridge_url=BRIDGE)
    written = json.loads(settings.manifest_path.read_text())
    assert list(written) == [
        "version",
        "network",
        "chain_id",
        "genesis_hash",
        "rpc_url",
        "bridge_url",
        "coin",
        "contracts",
        "roles",
        "accounts",
    ]
    assert list(written["contracts"]) == [
        "AccessManager",
        "PlatformCoin",
        "LenderPool",
        "CreditBook",
        "PurchaseEscrow",
    ]
    treasury, risk = written["accounts"]["treasury"], written["accounts"]["risk"]
    assert written["roles"]["MINTER"] == {
        "id": 1,
        "members": [treasury],
        "delays": {treasury: 0},
        "functions": {"PlatformCoin": ["mint"]},
    }
    assert written["roles"]["CAPS"] == {
        "id": 12,
        "members": [risk],
        "delays": {risk: DAY},
        "functions": {"CreditBook": ["setCaps"]},
    }


async def test_the_constitution_is_in_force(engine: Engine, tmp_path: Path) -> None:
    settings = settings_in(
        tmp_path,
        mint_capacity=5_000_000,
        mint_refill_per_second=7,
        credit_line_cap=1_000,
        credit_principal_cap=20_000,
        credit_reserve_bps=500,
    )
    manifest = await deploy(engine, seed, settings, bridge_url=BRIDGE)
    accounts = manifest.accounts

    async def standing(address: str) -> tuple[int, int]:
        account = await read(engine, manifest, "PlatformCoin", "accountOf", address)
        return account["kinds"], account["memberUntil"]

    for name in ("LenderPool", "CreditBook", "PurchaseEscrow"):
        assert await standing(manifest.contracts[name].address) == (16, ENDLESS)
    for name in ("operator", "fee_receiver", "treasury"):
        assert await standing(accounts[name]) == (8, ENDLESS)
    limit = await read(engine, manifest, "PlatformCoin", "mintLimitOf", accounts["treasury"])
    assert limit == (5_000_000, 7, 5_000_000)
    assert await read(engine, manifest, "CreditBook", "lineCap") == 1_000
    totals = await read(engine, manifest, "CreditBook", "totals")
    assert (totals["principalCap"], totals["reserveBps"]) == (20_000, 500)
    escrow = manifest.contracts["PurchaseEscrow"].address
    assert await read(engine, manifest, "CreditBook", "isSalesSource", escrow) is True
    members = {name: role.members for name, role in manifest.roles.items()}
    assert members == {
        "ADMIN": [accounts["admin"]],
        "MINTER": [accounts["treasury"]],
        "REGISTRAR": [accounts["operator"]],
        "COMPLIANCE": [accounts["operator"]],
        "ENFORCER": [accounts["enforcer"]],
        "GUARDIAN": [accounts["guardian"]],
        "TREASURER": [accounts["admin"]],
        "UNDERWRITER": [accounts["underwriter"]],
        "SERVICER": [accounts["servicer"]],
        "RISK": [accounts["risk"]],
        "CAPS": [accounts["risk"]],
        "ARBITER": [accounts["arbiter"]],
        "STEWARD": [accounts["steward"]],
    }


@pytest.mark.parametrize(
    ("function", "arguments", "account"),
    [
        ("mint", ("{buyer}", 5, "0x" + "01" * 32), "treasury"),
        ("admit", ("{buyer}", 1, ENDLESS), "operator"),
        ("freeze", ("{buyer}", "0x" + "00" * 32), "operator"),
        ("pause", (), "guardian"),
    ],
)
async def test_only_the_account_with_the_role_may_call(
    tester: Engine, tmp_path: Path, function: str, arguments: Sequence[Any], account: str
) -> None:
    manifest = await deploy(tester, seed, settings_in(tmp_path), bridge_url=BRIDGE)
    coin, codec = manifest.contracts["PlatformCoin"].address, ContractCodec("PlatformCoin")
    buyer = seed.managed(0).address
    admission = codec.encode("admit", buyer, 1, ENDLESS)
    await send(tester, seed.platform("operator"), to=coin, data=admission)
    data = codec.encode(function, *(buyer if a == "{buyer}" else a for a in arguments))
    statuses = {
        name: (await send(tester, seed.platform(name), to=coin, data=data))["status"]
        for name in PLATFORM_KEYS
        if name != account
    }
    assert set(statuses.values()) == {"0x0"}
    assert (await send(tester, seed.platform(account), to=coin, data=data))["status"] == "0x1"


async def test_running_again_sends_nothing_and_writes_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path)
    manifest = await deploy(engine, seed, settings, bridge_url=BRIDGE)
    before = await height(engine), settings.manifest_path.stat().st_mtime_ns
    assert await deploy(engine, seed, settings, bridge_url=BRIDGE) == manifest
    assert (await height(engine), settings.manifest_path.stat().st_mtime_ns) == before


async def test_a_lost_manifest_is_written_again_from_the_chain(
    engine: Engine, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path)
    manifest = await deploy(engine, seed, settings, bridge_url=BRIDGE)
    settings.manifest_path.unlink()
    assert await deploy(engine, seed, settings, bridge_url=BRIDGE) == manifest
    assert await height(engine) == WHOLE_SET


async def test_a_change_of_url_is_written_and_sends_nothing(tester: Engine, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    await deploy(tester, seed, settings, bridge_url=BRIDGE)
    await deploy(tester, seed, settings, bridge_url="https://pay.example")
    assert Manifest.load(settings.manifest_path).bridge_url == "https://pay.example"
    assert await height(tester) == WHOLE_SET


class LosesAnswers:
    """A connection that breaks at the n-th send, before or after the chain has taken it."""

    def __init__(self, rpc: Rpc, sends: int, *, taken: bool) -> None:
        self._rpc, self._left, self._taken = rpc, sends, taken

    async def call(self, method: str, *params: Any) -> Any:
        if method == "eth_sendRawTransaction":
            self._left -= 1
            if self._left < 0:
                if self._taken:
                    await self._rpc.call(method, *params)
                raise RpcUnavailable("the connection broke")
        return await self._rpc.call(method, *params)

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return await self._rpc.batch(calls)

    async def close(self) -> None:
        await self._rpc.close()


class Broken:
    """An engine seen through a connection that breaks."""

    def __init__(self, engine: Engine, rpc: Rpc) -> None:
        self.rpc, self.chain_id, self.rpc_url = rpc, engine.chain_id, engine.rpc_url


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("step", range(len(CONTRACTS) + 1))
async def test_a_deployment_interrupted_at_any_step_is_resumed(
    engine: Engine, tmp_path: Path, step: int, taken: bool
) -> None:
    settings = settings_in(tmp_path)
    broken: Any = Broken(engine, LosesAnswers(engine.rpc, step, taken=taken))
    with pytest.raises(RpcUnavailable):
        await deploy(broken, seed, settings, bridge_url=BRIDGE)
    assert not settings.manifest_path.exists()
    manifest = await deploy(engine, seed, settings, bridge_url=BRIDGE)
    assert await height(engine) == WHOLE_SET
    assert [contract.block for contract in manifest.contracts.values()] == [1, 2, 3, 4, 5]
    assert manifest.roles["MINTER"].members == [manifest.accounts["treasury"]]


async def test_what_an_administrator_has_changed_is_not_put_back(
    tester: Engine, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path)
    manifest = await deploy(tester, seed, settings, bridge_url=BRIDGE)
    admin, accounts = seed.platform("admin"), manifest.accounts
    manager, coin = ContractCodec("AccessManager"), ContractCodec("PlatformCoin")
    address = manifest.contracts["AccessManager"].address
    changes = (
        (address, manager.encode("revokeRole", 2, accounts["operator"])),
        (
            manifest.contracts["PlatformCoin"].address,
            coin.encode("setMintLimit", accounts["treasury"], 0, 0),
        ),
    )
    for target, data in changes:
        schedule = manager.encode("schedule", target, data, 0)
        receipt = await send(tester, admin, to=address, data=schedule)
        assert receipt["status"] == "0x1"
    await tester.set_time(await tester.now() + DAY)
    for target, data in changes:
        assert (await send(tester, admin, to=target, data=data))["status"] == "0x1"
    again = await deploy(tester, seed, settings, bridge_url=BRIDGE)
    assert again.roles["REGISTRAR"].members == []
    limit = await read(tester, again, "PlatformCoin", "mintLimitOf", accounts["treasury"])
    assert limit == (0, 0, 0)
    assert await height(tester) == WHOLE_SET + 2 * len(changes)


async def test_a_manifest_of_another_chain_id_is_refused(tester: Engine, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    manifest = await deploy(tester, seed, settings, bridge_url=BRIDGE)
    manifest.model_copy(update={"chain_id": 1}).save(settings.manifest_path)
    with pytest.raises(DeploymentError, match="is of chain 1, this is chain 4242"):
        await deploy(tester, seed, settings, bridge_url=BRIDGE)


async def test_a_manifest_of_another_genesis_is_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    settings = settings_in(tmp_path, chain="tester")
    await _deploy_on_new_chain(settings)
    other = settings.model_copy(update={"genesis_time": START + 1})
    with pytest.raises(DeploymentError, match="of another chain with the same id"):
        await _deploy_on_new_chain(other)


async def _deploy_on_new_chain(settings: Settings) -> None:
    engine = open_engine(settings, time.time)
    await engine.start()
    try:
        await deploy(engine, seed, settings, bridge_url=BRIDGE)
    finally:
        assert await height(engine) in (0, WHOLE_SET)
        await engine.stop()


async def test_a_contract_of_another_set_at_the_address_is_refused(
    tester: Engine, tmp_path: Path
) -> None:
    """The code is that of the pool; what its constructor was given is not."""
    admin = seed.platform("admin")
    addresses = [contract_address(admin.address, nonce) for nonce in range(5)]
    stray = seed.managed(0).address
    for name, arguments in (
        ("AccessManager", (admin.address,)),
        ("PlatformCoin", (addresses[0],)),
        ("LenderPool", (addresses[1], stray)),
    ):
        data = ContractCodec(name).encode_constructor(*arguments)
        receipt = await send(tester, admin, to=None, data=data, gas=10_000_000)
        assert receipt["status"] == "0x1"
    with pytest.raises(DeploymentError, match=f"LenderPool at .* has {stray} as its creditBook"):
        await deploy(tester, seed, settings_in(tmp_path), bridge_url=BRIDGE)


async def test_other_code_at_the_address_is_refused(tester: Engine, tmp_path: Path) -> None:
    other = ContractCodec("PlatformCoin").encode_constructor("0x" + "11" * 20)
    await send(tester, seed.platform("admin"), to=None, data=other, gas=10_000_000)
    with pytest.raises(DeploymentError, match="is not that of AccessManager"):
        await deploy(tester, seed, settings_in(tmp_path), bridge_url=BRIDGE)


async def test_an_admin_key_used_for_something_else_is_refused(
    tester: Engine, tmp_path: Path
) -> None:
    await send(tester, seed.platform("admin"))
    with pytest.raises(DeploymentError, match="Its key must be of this network alone"):
        await deploy(tester, seed, settings_in(tmp_path), bridge_url=BRIDGE)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "cannot be used"),
        (b'{"version": 2}', "version"),
        (b'{"version": 1}', "chain_id"),
    ],
)
def test_a_manifest_that_is_not_understood_is_refused(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "network.json"
    path.write_bytes(content)
    with pytest.raises(DeploymentError, match=complaint):
        Manifest.load(path)


async def test_a_manifest_of_the_earlier_set_of_contracts_is_refused_in_words(
    tester: Engine, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path)
    await deploy(tester, seed, settings, bridge_url=BRIDGE)
    written = json.loads(settings.manifest_path.read_text())
    for name in ("LenderPool", "CreditBook"):
        del written["contracts"][name]
    settings.manifest_path.write_text(json.dumps(written))
    with pytest.raises(DeploymentError, match="earlier set of contracts, without LenderPool and"):
        await deploy(tester, seed, settings, bridge_url=BRIDGE)


async def test_a_manifest_with_fields_of_a_later_version_is_read(
    tester: Engine, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path)
    manifest = await deploy(tester, seed, settings, bridge_url=BRIDGE)
    written = json.loads(settings.manifest_path.read_text())
    written["added_later"] = {"anything": 1}
    written["roles"]["MINTER"]["added_later"] = 1
    settings.manifest_path.write_text(json.dumps(written))
    assert Manifest.load(settings.manifest_path) == manifest


def test_a_missing_manifest_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="no manifest at"):
        Manifest.load(tmp_path / "network.json")


async def test_addresses_follow_from_the_admin_alone(tester: Engine, tmp_path: Path) -> None:
    manifest = await deploy(tester, seed, settings_in(tmp_path), bridge_url=BRIDGE)
    admin = SealedSeed(b"\x05" * 32).platform("admin").address
    assert [contract.address for contract in manifest.contracts.values()] == [
        contract_address(admin, nonce) for nonce in range(5)
    ]


def test_code_is_recognised_whatever_its_immutables() -> None:
    compiled = "0x60017f" + "00" * 32 + "5b"
    assert is_code_of("0x60017f" + "ab" * 32 + "5b", compiled)
    assert not is_code_of("0x60027f" + "ab" * 32 + "5b", compiled)
    assert not is_code_of("0x60017f" + "ab" * 31 + "5b", compiled)
    assert not is_code_of("0x", compiled)
