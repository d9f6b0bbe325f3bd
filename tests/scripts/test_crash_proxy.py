"""Each fault of the proxy, on a real chain: it does what it says, and nothing else."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from node.chain.anvil import AnvilEngine, find_anvil
from node.chain.rpc import HttpRpc, RpcError, RpcUnavailable
from node.keys import SealedSeed
from scripts.crash import proxy as proxies
from scripts.crash.proxy import Faults, Proxy

pytestmark = [
    pytest.mark.anvil,
    pytest.mark.skipif(find_anvil() is None, reason="no anvil binary: run `make setup`"),
]
BLOCKS = 8


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[AnvilEngine]:
    """A chain of some blocks."""
    binary = find_anvil()
    assert binary is not None
    engine = AnvilEngine(
        binary, folder=tmp_path, chain_id=4242, port=0, genesis_time=None, clock=time.time
    )
    await engine.start()
    await engine.rpc.call("anvil_mine", hex(BLOCKS))
    yield engine
    await engine.stop()


@asynccontextmanager
async def through(chain: AnvilEngine, faults: Faults, seed: int = 1) -> AsyncIterator[Any]:
    """A proxy, and a connection of the node's kind to it."""
    proxy = Proxy(chain.rpc_url, faults, random.Random(seed))
    await proxy.start()
    rpc = HttpRpc(proxy.url, timeout_seconds=10)
    try:
        yield proxy, rpc
    finally:
        await rpc.close()
        await proxy.stop()


async def height(chain: AnvilEngine) -> int:
    return int(await chain.rpc.call("eth_blockNumber"), 16)


def a_transaction() -> tuple[str, str]:
    """Its bytes and its hash."""
    signed = (
        SealedSeed(b"\x05" * 32)
        .managed(0)
        .sign_transaction(
            {
                "chainId": 4242,
                "nonce": 0,
                "to": "0x" + "11" * 20,
                "data": "0x",
                "gas": 21_000,
                "maxFeePerGas": 0,
                "maxPriorityFeePerGas": 0,
            }
        )
    )
    return "0x" + signed.raw.hex(), signed.hash


async def test_without_faults_all_passes_as_it_is(chain: AnvilEngine) -> None:
    async with through(chain, Faults()) as (proxy, rpc):
        assert await rpc.call("eth_blockNumber") == hex(BLOCKS)
        numbers = [("eth_getBlockByNumber", [hex(n), False]) for n in range(4)]
        assert await rpc.batch(numbers) == await chain.rpc.batch(numbers)
        with pytest.raises(RpcError, match="not found"):
            await rpc.call("eth_noSuchMethod")
        assert not proxy.counts


@pytest.mark.parametrize(
    ("fault", "blocks"), [("lose", 1), ("garble", 1), ("fail", 0)], ids=["lose", "garble", "fail"]
)
async def test_an_answer_that_never_comes_says_nothing_of_what_was_done(
    chain: AnvilEngine, fault: str, blocks: int
) -> None:
    async with through(chain, Faults(**{fault: 1.0})) as (proxy, rpc):
        with pytest.raises(RpcUnavailable):
            await rpc.call("evm_mine")
        assert await height(chain) == BLOCKS + blocks
        assert proxy.counts == {fault: 1}


async def test_what_is_doubled_is_carried_out_twice(chain: AnvilEngine) -> None:
    async with through(chain, Faults(double=1.0)) as (_, rpc):
        await rpc.call("evm_mine")
        assert await height(chain) == BLOCKS + 2


async def test_what_is_dropped_is_answered_as_if_it_were_not(chain: AnvilEngine) -> None:
    raw, hash_ = a_transaction()
    async with through(chain, Faults(drop=1.0)) as (proxy, rpc):
        other, answer = await rpc.batch(
            [("eth_blockNumber", []), ("eth_sendRawTransaction", [raw])]
        )
        assert (int(other, 16), answer) == (BLOCKS, hash_)
        assert await rpc.call("eth_sendRawTransaction", raw) == hash_
        assert await chain.rpc.call("eth_getTransactionByHash", hash_) is None
        assert proxy.counts == {"drop": 2}
    assert await chain.rpc.call("eth_sendRawTransaction", raw) == hash_  # it was a good one


async def test_a_lagging_answer_is_consistent_and_some_blocks_old(chain: AnvilEngine) -> None:
    async with through(chain, Faults(lag=1.0)) as (_, rpc):
        for _ in range(20):
            number, latest, newest, logs = await rpc.batch(
                [
                    ("eth_blockNumber", []),
                    ("eth_getBlockByNumber", ["latest", False]),
                    ("eth_getBlockByNumber", [hex(BLOCKS), False]),
                    ("eth_getLogs", [{"fromBlock": "0x1", "toBlock": hex(BLOCKS)}]),
                ]
            )
            assert BLOCKS - proxies.MOST_LAG <= int(number, 16) < BLOCKS
            assert latest["number"] == number
            assert newest is None
            assert logs == []
        assert await rpc.call("eth_chainId") == hex(4242)  # nothing to be late about


async def test_a_lagging_answer_leaves_out_the_logs_of_later_blocks(chain: AnvilEngine) -> None:
    # PUSH1 0 PUSH1 0 LOG0: a contract whose code logs when it is called.
    logger = "0x" + "22" * 20
    await chain.rpc.call("anvil_setCode", logger, "0x60006000a000")
    seed = SealedSeed(b"\x05" * 32)
    call = {"chainId": 4242, "nonce": 0, "to": logger, "data": "0x", "gas": 100_000}
    signed = seed.managed(0).sign_transaction(
        {**call, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
    )
    await chain.rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
    criteria = {"fromBlock": "0x1", "toBlock": hex(BLOCKS + 1), "address": logger}
    while await height(chain) == BLOCKS:  # it is being mined
        pass
    assert len(await chain.rpc.call("eth_getLogs", criteria)) == 1
    async with through(chain, Faults(lag=1.0)) as (_, rpc):
        assert await rpc.call("eth_getLogs", criteria) == []


async def test_a_delay_is_waited_out(chain: AnvilEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "MOST_DELAY", 0.3)
    monkeypatch.setattr(random.Random, "uniform", lambda _self, _low, high: high)
    async with through(chain, Faults(delay=1.0)) as (_, rpc):
        started = time.monotonic()
        assert await rpc.call("eth_blockNumber") == hex(BLOCKS)
        assert time.monotonic() - started >= 0.3


async def test_one_call_of_a_batch_is_refused_and_not_carried_out(chain: AnvilEngine) -> None:
    async with through(chain, Faults(item_error=1.0)) as (_, rpc):
        answers = await rpc.batch([("evm_mine", [])] * 3)
        (refused,) = [answer for answer in answers if isinstance(answer, RpcError)]
        assert refused.code == -32005
        assert await height(chain) == BLOCKS + 2
        assert await rpc.call("eth_blockNumber") == hex(BLOCKS + 2)  # a single one never


async def test_answers_in_another_order_belong_to_the_same_calls(chain: AnvilEngine) -> None:
    calls = [
        {"jsonrpc": "2.0", "id": n, "method": "eth_getBlockByNumber", "params": [hex(n), False]}
        for n in range(BLOCKS)
    ]
    async with through(chain, Faults(shuffle=1.0)) as (proxy, rpc):
        async with aiohttp.ClientSession() as session, session.post(proxy.url, json=calls) as raw:
            order = [answer["id"] for answer in await raw.json()]
        assert sorted(order) == list(range(BLOCKS)) != order
        blocks = await rpc.batch([(call["method"], call["params"]) for call in calls])
        assert [int(block["number"], 16) for block in blocks] == list(range(BLOCKS))


async def test_the_dice_are_the_seeds(chain: AnvilEngine) -> None:
    async def counts(seed: int) -> Any:
        async with through(chain, Faults(fail=0.3, garble=0.3), seed) as (proxy, rpc):
            for _ in range(30):
                with suppress(RpcUnavailable):
                    await rpc.call("evm_setAutomine", True)
            return proxy.counts

    first, again, other = await counts(7), await counts(7), await counts(8)
    assert first == again != other
    assert first["fail"] > 0 < first["garble"]


async def test_a_chain_that_is_gone_is_a_bad_gateway(chain: AnvilEngine) -> None:
    async with through(chain, Faults()) as (_, rpc):
        await chain.stop()
        with pytest.raises(RpcUnavailable, match="502"):
            await rpc.call("eth_blockNumber")
