"""The anvil engine's promises: its state outlives everything, and nothing of it is left running."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from node.chain import anvil as module
from node.chain.anvil import AnvilEngine, _free_port
from node.chain.codec import ContractCodec
from node.chain.deployment import deploy
from node.chain.engine import EngineError, open_engine
from node.chain.rpc import RpcError, RpcUnavailable
from tests.node.chain.support import (
    NO_ANVIL,
    START,
    has_anvil,
    latest_time,
    mined,
    raw_transaction,
    seed,
    send,
    settings_in,
)

pytestmark = [
    pytest.mark.anvil,
    pytest.mark.skipif(not has_anvil(), reason=NO_ANVIL),
]


def engine_in(folder: Path, **changes: object) -> AnvilEngine:
    engine = open_engine(settings_in(folder, chain="anvil", **changes), time.time)
    assert isinstance(engine, AnvilEngine)
    return engine


def kill(engine: AnvilEngine) -> None:
    assert engine._process is not None
    engine._process.kill()
    engine._process.wait()


async def killed(engine: AnvilEngine) -> None:
    """Kill the chain as the kernel would, and let its node notice."""
    kill(engine)
    await engine.stop()


async def test_blocks_receipts_logs_and_state_are_there_after_a_restart(tmp_path: Path) -> None:
    codec, admin = ContractCodec("AccessManager"), seed.platform("admin")
    engine = engine_in(tmp_path)
    await engine.start()
    creation = codec.encode_constructor(admin.address)
    receipt = await send(engine, admin, to=None, data=creation, gas=5_000_000)
    for _ in range(5):
        await send(engine, seed.managed(0))
    questions = [
        ("eth_getTransactionReceipt", [receipt["transactionHash"]]),
        ("eth_getTransactionByHash", [receipt["transactionHash"]]),
        ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "latest"}]),
        ("eth_getCode", [receipt["contractAddress"], "latest"]),
        ("eth_getTransactionCount", [seed.managed(0).address, "latest"]),
        *(("eth_getBlockByNumber", [hex(number), True]) for number in range(7)),
    ]
    before = await engine.rpc.batch(questions)
    await engine.stop()
    engine = engine_in(tmp_path)
    await engine.start()
    try:
        assert await engine.rpc.batch(questions) == before
        assert before[2], "the log of the creation"
    finally:
        await engine.stop()


async def test_a_clean_stop_keeps_what_was_accepted_just_before(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    await engine.start()
    hashes = [
        await engine.rpc.call("eth_sendRawTransaction", raw_transaction(seed.managed(0), nonce))
        for nonce in range(20)
    ]
    await engine.stop()
    engine = engine_in(tmp_path)
    await engine.start()
    try:
        for transaction_hash in hashes:
            assert (await mined(engine, transaction_hash))["status"] == "0x1"
    finally:
        await engine.stop()


@pytest.mark.parametrize("attempt", range(5))
async def test_a_chain_killed_at_any_moment_comes_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempt: int
) -> None:
    monkeypatch.setattr(module, "SNAPSHOT_SECONDS", 0.05)
    signer = seed.managed(0)
    engine = engine_in(tmp_path)
    await engine.start()
    moment = asyncio.create_task(asyncio.sleep(random.Random(attempt).uniform(0.2, 1.2)))
    nonce = 0
    while not moment.done():
        await engine.rpc.call("eth_sendRawTransaction", raw_transaction(signer, nonce))
        nonce += 1
    await killed(engine)

    engine = engine_in(tmp_path)
    await engine.start()
    try:
        height = int(await engine.rpc.call("eth_blockNumber"), 16)
        count = int(await engine.rpc.call("eth_getTransactionCount", signer.address, "latest"), 16)
        blocks = await engine.rpc.batch(
            [("eth_getBlockByNumber", [hex(number), False]) for number in range(height + 1)]
        )
        for parent, child in itertools.pairwise(blocks):
            assert child["parentHash"] == parent["hash"]
        # Accounts and blocks are of the same moment: every nonce used has its block and receipt.
        hashes = [transaction for block in blocks for transaction in block["transactions"]]
        assert len(hashes) == count
        receipts = await engine.rpc.batch([("eth_getTransactionReceipt", [h]) for h in hashes])
        assert all(receipt["status"] == "0x1" for receipt in receipts)
        # And it goes on: the signed bytes that were lost are taken again.
        await send(engine, signer)
    finally:
        await engine.stop()


async def test_a_chain_started_many_times_keeps_its_genesis(tmp_path: Path) -> None:
    seen = set()
    for day in range(6):
        engine = engine_in(tmp_path)
        await engine.start(not_before=START + day * 86_400)
        genesis = await engine.rpc.call("eth_getBlockByNumber", "0x0", False)
        seen.add((genesis["hash"], int(genesis["timestamp"], 16)))
        await engine.set_time(START + day * 86_400 + 1_000)
        await engine.rpc.call("evm_mine")
        await engine.stop()

    assert len(seen) == 1


async def test_a_chain_killed_before_its_first_snapshot_begins_the_same_chain_again(
    tmp_path: Path,
) -> None:
    engine = engine_in(tmp_path, genesis_time=None)
    await engine.start()
    genesis = await engine.rpc.call("eth_getBlockByNumber", "0x0", False)
    await send(engine, seed.managed(0))
    await killed(engine)
    engine = engine_in(tmp_path, genesis_time=None)
    await engine.start()
    try:
        again = await engine.rpc.call("eth_getBlockByNumber", "0x0", False)
        assert again["hash"] == genesis["hash"]
        assert await engine.rpc.call("eth_blockNumber") == "0x0"
    finally:
        await engine.stop()


async def test_a_deployment_lost_with_the_chain_is_made_again_at_the_same_addresses(
    tmp_path: Path,
) -> None:
    settings = settings_in(tmp_path, rpc_port=_free_port(0))
    manifests = []
    for _ in range(2):
        engine = engine_in(tmp_path, rpc_port=settings.rpc_port)
        await engine.start()
        assert await engine.rpc.call("eth_blockNumber") == "0x0"
        manifests.append(await deploy(engine, seed, settings, bridge_url="http://127.0.0.1:1"))
        await killed(engine)
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize("saved", [True, False])
async def test_time_goes_on_from_the_last_known_time(tmp_path: Path, saved: bool) -> None:
    engine = engine_in(tmp_path)
    await engine.start()
    await engine.set_time(START + 1_000)
    await send(engine, seed.managed(0))
    if saved:
        await engine.save()
    await killed(engine)
    # Blocks up to START + 5,000 were seen, and the chain came back without them.
    engine = engine_in(tmp_path)
    await engine.start(not_before=START + 5_000)
    try:
        assert START + 5_000 <= await engine.now() < START + 5_100
        await send(engine, seed.managed(0))
        assert await latest_time(engine) >= START + 5_000
    finally:
        await engine.stop()


async def test_a_pause_of_the_node_does_not_pass_on_a_chain_in_its_own_time(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    await engine.start()
    await engine.set_time(START + 1_000)
    await send(engine, seed.managed(0))
    await engine.stop()
    later = open_engine(settings_in(tmp_path, chain="anvil"), lambda: time.time() + 86_400)
    await later.start()
    try:
        assert START + 1_000 <= await later.now() < START + 1_100
    finally:
        await later.stop()


async def test_a_chain_in_real_time_comes_back_at_the_wall_clock(tmp_path: Path) -> None:
    engine = engine_in(tmp_path, genesis_time=None)
    await engine.start()
    await send(engine, seed.managed(0))
    await engine.stop()

    def tomorrow() -> float:
        return time.time() + 86_400

    engine_later = open_engine(settings_in(tmp_path, chain="anvil", genesis_time=None), tomorrow)
    await engine_later.start()
    try:
        assert abs(await engine_later.now() - tomorrow()) < 100
    finally:
        await engine_later.stop()


async def test_a_killed_anvil_is_not_alive_and_its_calls_have_no_known_outcome(
    tmp_path: Path,
) -> None:
    engine = engine_in(tmp_path)
    await engine.start()
    kill(engine)
    assert not engine.alive()
    with pytest.raises(RpcUnavailable):
        await engine.rpc.call("eth_blockNumber")
    await engine.stop()


async def test_saving_goes_on_while_transactions_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SNAPSHOT_SECONDS", 0.05)
    engine = engine_in(tmp_path)
    await engine.start()
    state = tmp_path / "anvil" / "state.json.gz"
    try:
        nonce = 0
        while not state.exists():
            await engine.rpc.call("eth_sendRawTransaction", raw_transaction(seed.managed(0), nonce))
            nonce += 1
            assert nonce < 10_000, "no snapshot came"
        saved = orjson.loads(gzip.decompress(state.read_bytes()))
        assert saved["best_block_number"] == int(saved["block"]["number"], 16)
        assert len(saved["blocks"]) == saved["best_block_number"] + 1
    finally:
        await engine.stop()


async def test_a_second_node_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    await engine.start()
    try:
        with pytest.raises(EngineError, match="another node is running"):
            await engine_in(tmp_path).start()
        assert await engine.rpc.call("eth_blockNumber") == "0x0"
    finally:
        await engine.stop()


async def test_a_folder_of_another_chain_id_is_refused(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    await engine.start()
    await engine.stop()
    with pytest.raises(EngineError, match="has id 4242, not 1337"):
        await engine_in(tmp_path, chain_id=1337).start()


async def test_a_damaged_state_is_refused_rather_than_replaced(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    await engine.start()
    await send(engine, seed.managed(0))
    await engine.stop()
    state = tmp_path / "anvil" / "state.json.gz"
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(EngineError, match="cannot be read"):
        await engine_in(tmp_path).start()
    assert state.stat().st_size == 200


async def test_an_anvil_that_cannot_start_says_why(tmp_path: Path) -> None:
    program = tmp_path / "anvil-that-fails"
    program.write_text("#!/bin/sh\necho no luck today >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(EngineError, match="no luck today"):
        await engine_in(tmp_path, anvil=program).start()


async def test_an_anvil_left_by_an_earlier_node_is_ended(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    await engine.start()
    orphan, folder = engine._process, tmp_path / "anvil"
    assert orphan is not None
    identity = (folder / "anvil.pid").read_text()
    engine._process = None  # the node is gone, and with it its lock; anvil is not
    await engine.stop()
    (folder / "anvil.pid").write_text(identity)

    successor = engine_in(tmp_path)
    await successor.start()
    try:
        assert orphan.wait(10) == -signal.SIGKILL
        assert successor.alive()
    finally:
        await successor.stop()


async def test_a_process_that_only_has_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    stranger = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=subprocess.PIPE
    )
    (tmp_path / "anvil").mkdir()
    (tmp_path / "anvil" / "anvil.pid").write_text(f"{stranger.pid} 1")
    engine = engine_in(tmp_path)
    await engine.start()
    await engine.stop()
    await stranger.communicate(b"\n")
    assert stranger.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the parent death signal is Linux's")
def test_no_anvil_outlives_a_node_that_is_killed(tmp_path: Path) -> None:
    node = f"""
import asyncio, time
from pathlib import Path
from node.chain.engine import open_engine
from node.settings import Settings

async def main():
    settings = Settings(data=Path({str(tmp_path)!r}), chain="anvil", rpc_port=0)
    engine = open_engine(settings, time.time)
    await engine.start()
    print("pid", engine.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", node], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        line = next(line for line in child.stdout if line.startswith("pid "))
        child.kill()
    anvil = int(line.split()[1])
    for _ in range(500):
        if not _runs(anvil):
            break
        time.sleep(0.02)
    assert not _runs(anvil)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_what_is_sent_while_mining_is_held_is_mined_together_afterwards(
    tmp_path: Path,
) -> None:
    engine = engine_in(tmp_path)
    await engine.start()
    try:
        sender = seed.platform("operator")
        raws = [raw_transaction(sender, nonce) for nonce in range(20)]
        async with engine.mining_held():
            hashes = await engine.rpc.batch([("eth_sendRawTransaction", [raw]) for raw in raws])
            assert int(await engine.rpc.call("eth_blockNumber"), 16) == 0
        receipts = [await mined(engine, transaction) for transaction in hashes]
        assert {receipt["blockNumber"] for receipt in receipts} == {"0x1"}
    finally:
        await engine.stop()


async def test_a_transaction_stuck_behind_a_mined_predecessor_goes_through_when_sent_anew(
    tmp_path: Path,
) -> None:
    engine = engine_in(tmp_path)
    await engine.start()
    try:
        sender = seed.platform("operator")
        raw = raw_transaction(sender, 1)
        transaction = await engine.rpc.call("eth_sendRawTransaction", raw)
        # The pool now waits for nonce 0, and will not hear that it is used.
        await engine.rpc.call("anvil_setNonce", sender.address, "0x1")
        await engine.rpc.call("evm_mine")
        assert await engine.rpc.call("eth_getTransactionReceipt", transaction) is None
        with pytest.raises(RpcError, match="already"):
            await engine.rpc.call("eth_sendRawTransaction", raw)

        await engine.forget_unmined(sender.address)
        await engine.rpc.call("eth_sendRawTransaction", raw)
        assert (await mined(engine, transaction))["status"] == "0x1"
    finally:
        await engine.stop()
