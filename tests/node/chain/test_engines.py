"""What every development chain does alike."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from node.chain.codec import ContractCodec
from node.chain.engine import ChainTimeError, Engine, EngineError, open_engine
from node.chain.rpc import HttpRpc, RpcError
from tests.node.chain.support import (
    START,
    latest_time,
    mined,
    raw_transaction,
    seed,
    send,
    settings_in,
)

# Creates a contract that answers the time of the block it is called in:
# TIMESTAMP PUSH0 MSTORE PUSH1 32 PUSH0 RETURN.
DEPLOY_CLOCK = "0x66425f5260205ff35f5260076019f3"


async def test_chain_id_and_gas_price_are_what_the_platform_needs(engine: Engine) -> None:
    assert await engine.rpc.call("eth_chainId") == "0x1092"
    assert await engine.rpc.call("eth_gasPrice") == "0x0"
    block = await engine.rpc.call("eth_getBlockByNumber", "latest", False)
    assert block["baseFeePerGas"] == "0x0"
    assert await engine.rpc.call("eth_accounts") == []


async def test_an_account_without_native_coin_can_transact(engine: Engine) -> None:
    signer = seed.managed(0)
    assert await engine.rpc.call("eth_getBalance", signer.address, "latest") == "0x0"
    receipt = await send(engine, signer)
    assert receipt["status"] == "0x1"
    assert receipt["effectiveGasPrice"] == "0x0"


async def test_base_fee_stays_zero_as_blocks_come(engine: Engine) -> None:
    for _ in range(3):
        await send(engine, seed.managed(0))
    block = await engine.rpc.call("eth_getBlockByNumber", "latest", False)
    assert block["baseFeePerGas"] == "0x0"


async def test_the_chain_starts_at_its_genesis_time_whatever_the_wall_clock(engine: Engine) -> None:
    genesis = await engine.rpc.call("eth_getBlockByNumber", "0x0", False)
    assert int(genesis["timestamp"], 16) == START
    assert START <= await engine.now() < START + 100


async def test_the_next_block_has_the_time_that_was_set(engine: Engine) -> None:
    await engine.set_time(START + 86_400)
    assert await engine.now() == START + 86_400
    await send(engine, seed.managed(0))
    assert await latest_time(engine) == START + 86_400


async def test_later_blocks_follow_on_from_the_time_that_was_set(engine: Engine) -> None:
    await engine.set_time(START + 86_400)
    await send(engine, seed.managed(0))
    await send(engine, seed.managed(0))
    assert START + 86_400 <= await latest_time(engine) < START + 86_500


async def test_time_does_not_go_back(engine: Engine) -> None:
    await engine.set_time(START + 1_000)
    await send(engine, seed.managed(0))
    with pytest.raises(ChainTimeError, match="later than"):
        await engine.set_time(START + 999)
    await engine.set_time(START + 1_000)
    await send(engine, seed.managed(0))
    assert await latest_time(engine) == START + 1_000


async def test_a_call_at_pending_sees_the_time_of_the_next_block(engine: Engine) -> None:
    receipt = await send(engine, seed.managed(0), to=None, data=DEPLOY_CLOCK)
    call = {"to": receipt["contractAddress"]}
    await engine.set_time(START + 5_000)
    pending = int(await engine.rpc.call("eth_call", call, "pending"), 16)
    latest = int(await engine.rpc.call("eth_call", call, "latest"), 16)
    assert pending == START + 5_000
    assert latest < START + 5_000


async def test_a_revert_carries_its_data(engine: Engine) -> None:
    codec = ContractCodec("AccessManager")
    admin, stranger = seed.platform("admin"), seed.managed(1)
    creation = codec.encode_constructor(admin.address)
    receipt = await send(engine, admin, to=None, data=creation, gas=5_000_000)
    call = {
        "from": stranger.address,
        "to": receipt["contractAddress"],
        "data": codec.encode("labelRole", 5, "GUARDIAN"),
    }
    for method in ("eth_call", "eth_estimateGas"):
        with pytest.raises(RpcError) as refused:
            await engine.rpc.call(method, call)
        assert refused.value.code == 3
        assert str(codec.decode_error(refused.value.data)) == (
            f"AccessManagerUnauthorizedAccount(msgsender={stranger.address}, roleId=0)"
        )


async def test_a_failed_transaction_is_mined_with_status_zero(engine: Engine) -> None:
    codec = ContractCodec("AccessManager")
    admin, stranger = seed.platform("admin"), seed.managed(1)
    creation = codec.encode_constructor(admin.address)
    manager = (await send(engine, admin, to=None, data=creation, gas=5_000_000))["contractAddress"]
    receipt = await send(
        engine, stranger, to=manager, data=codec.encode("labelRole", 5, "GUARDIAN")
    )
    assert receipt["status"] == "0x0"
    assert receipt["logs"] == []


async def test_an_estimate_is_enough_gas(engine: Engine) -> None:
    admin = seed.platform("admin")
    creation = ContractCodec("AccessManager").encode_constructor(admin.address)
    call = {"from": admin.address, "data": creation}
    estimate = int(await engine.rpc.call("eth_estimateGas", call), 16)
    receipt = await send(engine, admin, to=None, data=creation, gas=estimate)
    assert receipt["status"] == "0x1"
    assert estimate <= int(receipt["gasUsed"], 16) * 1.05


async def test_a_transaction_sent_again_after_it_was_mined_is_refused_as_too_low(
    engine: Engine,
) -> None:
    raw = raw_transaction(seed.managed(0), 0)
    first = await engine.rpc.call("eth_sendRawTransaction", raw)
    await mined(engine, first)
    with pytest.raises(RpcError, match="nonce too low"):
        await engine.rpc.call("eth_sendRawTransaction", raw)


async def test_a_transaction_waits_for_an_earlier_nonce(engine: Engine) -> None:
    signer = seed.managed(0)
    later = [raw_transaction(signer, nonce) for nonce in (2, 1)]
    hashes = [await engine.rpc.call("eth_sendRawTransaction", raw) for raw in later]
    assert await engine.rpc.call("eth_getTransactionReceipt", hashes[0]) is None
    waiting = await engine.rpc.call("eth_getTransactionByHash", hashes[0])
    assert waiting["blockNumber"] is None
    with pytest.raises(RpcError, match=r"already (known|imported)"):
        await engine.rpc.call("eth_sendRawTransaction", later[0])
    await engine.rpc.call("eth_sendRawTransaction", raw_transaction(signer, 0))
    assert (await mined(engine, hashes[0]))["status"] == "0x1"
    assert await engine.rpc.call("eth_getTransactionCount", signer.address, "pending") == "0x3"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chainId": 1}, "invalid chain id"),
        ({"gas": 20_000}, "intrinsic gas too low"),
        ({"value": 1}, r"(?i)insufficient funds"),
        ({"maxFeePerGas": 1, "maxPriorityFeePerGas": 1}, r"(?i)insufficient funds"),
    ],
)
async def test_a_transaction_that_cannot_be_mined_is_refused(
    engine: Engine, fields: dict[str, int], reason: str
) -> None:
    with pytest.raises(RpcError, match=reason):
        await engine.rpc.call(
            "eth_sendRawTransaction", raw_transaction(seed.managed(0), 0, **fields)
        )
    assert await engine.rpc.call("eth_blockNumber") == "0x0"


async def test_logs_are_found_by_address_and_topic(engine: Engine) -> None:
    codec = ContractCodec("AccessManager")
    admin = seed.platform("admin")
    creation = codec.encode_constructor(admin.address)
    manager = (await send(engine, admin, to=None, data=creation, gas=5_000_000))["contractAddress"]
    await send(engine, admin, to=manager, data=codec.encode("labelRole", 5, "GUARDIAN"))
    granted, labelled = codec.topic("RoleGranted"), codec.topic("RoleLabel")
    everything = {"fromBlock": "0x0", "toBlock": "latest"}

    async def names(**criteria: object) -> list[str]:
        logs = await engine.rpc.call("eth_getLogs", {**everything, **criteria})
        events = [codec.decode_log(log) for log in logs]
        return [event.name for event in events if event is not None]

    assert await names() == ["RoleGranted", "RoleLabel"]
    assert await names(address=manager, topics=[granted]) == ["RoleGranted"]
    assert await names(address=[manager, admin.address], topics=[[granted, labelled]]) == [
        "RoleGranted",
        "RoleLabel",
    ]
    assert await names(topics=[None, "0x" + "00" * 31 + "05"]) == ["RoleLabel"]
    assert await names(address=admin.address) == []
    assert await names(fromBlock="0x2", toBlock="0x2") == ["RoleLabel"]


async def test_other_processes_reach_the_same_chain(engine: Engine) -> None:
    await send(engine, seed.managed(0))
    outside = HttpRpc(engine.rpc_url)
    try:
        assert await outside.call("eth_blockNumber") == "0x1"
    finally:
        await outside.close()


async def test_an_engine_is_not_alive_once_stopped(engine: Engine) -> None:
    assert engine.alive()
    await engine.stop()
    assert not engine.alive()
    await engine.stop()


async def test_a_taken_port_is_said_plainly(engine: Engine, tmp_path: Path) -> None:
    port = int(engine.rpc_url.rpartition(":")[2])
    other = open_engine(
        settings_in(tmp_path / "other", chain=engine.name, rpc_port=port), time.time
    )
    with pytest.raises(EngineError, match=f"port {port} .* in use"):
        await other.start()
    assert not other.alive()


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no chain engine 'ganache'"):
        open_engine(settings_in(tmp_path, chain="ganache"), time.time)


def test_without_a_binary_auto_runs_on_the_tester(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("node.chain.anvil.find_anvil", lambda configured: None)
    assert open_engine(settings_in(tmp_path, chain="auto"), time.time).name == "tester"
    assert "no anvil binary found" in capsys.readouterr().out
    with pytest.raises(EngineError, match="make setup"):
        open_engine(settings_in(tmp_path, chain="anvil"), time.time)


def test_a_configured_binary_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="PLAZA_ANVIL"):
        open_engine(settings_in(tmp_path, chain="auto", anvil=tmp_path / "anvil"), time.time)
