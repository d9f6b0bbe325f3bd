"""The remote engine: a chain somebody else runs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from node.chain.engine import ChainTimeError, Engine, EngineError, open_engine
from node.chain.remote import RemoteEngine
from tests.node.chain.support import START, seed, send, settings_in


async def test_it_uses_the_chain_at_the_url(tester: Engine, tmp_path: Path) -> None:
    remote = open_engine(settings_in(tmp_path, chain=tester.rpc_url), time.time)
    assert remote.name == "remote"
    assert not remote.alive()
    await remote.start()
    try:
        assert remote.alive()
        assert remote.rpc_url == tester.rpc_url
        assert (await send(remote, seed.managed(0)))["status"] == "0x1"
        assert await tester.rpc.call("eth_blockNumber") == "0x1"
    finally:
        await remote.stop()
    assert not remote.alive()


async def test_the_next_block_is_of_the_wall_clock_or_the_latest_blocks_time(
    tester: Engine,
) -> None:
    for wall, expected in ((START + 5_000.5, START + 5_000), (START - 5_000.0, START)):
        remote = RemoteEngine(tester.rpc_url, 4242, lambda wall=wall: wall)
        await remote.start()
        assert await remote.now() == expected
        await remote.stop()


async def test_its_time_cannot_be_set(tester: Engine) -> None:
    remote = RemoteEngine(tester.rpc_url, 4242, time.time)
    assert not remote.can_travel
    with pytest.raises(ChainTimeError, match="network's own"):
        await remote.set_time(START)


async def test_another_chain_is_refused(tester: Engine) -> None:
    remote = RemoteEngine(tester.rpc_url, 1, time.time)
    with pytest.raises(EngineError, match="is chain 4242, not 1"):
        await remote.start()
    assert not remote.alive()


async def test_an_unreachable_chain_is_refused() -> None:
    with pytest.raises(EngineError, match="cannot use the chain at"):
        await RemoteEngine("http://127.0.0.1:1", 4242, time.time).start()


@pytest.fixture
async def priced() -> AsyncIterator[dict[str, Any]]:
    """A chain that wants to be paid, by what it answers."""
    answers: dict[str, Any] = {"eth_chainId": "0x1092"}

    async def handle(request: web.Request) -> web.Response:
        call = orjson.loads(await request.read())
        answer = {"jsonrpc": "2.0", "id": call["id"], "result": answers[call["method"]]}
        return web.Response(body=orjson.dumps(answer))

    application = web.Application()
    application.router.add_post("/", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    answers["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield answers
    await runner.cleanup()


@pytest.mark.parametrize(("base_fee", "gas_price"), [("0x7", "0x0"), ("0x0", "0x3b9aca00")])
async def test_a_chain_with_a_gas_price_is_refused(
    priced: dict[str, Any], base_fee: str, gas_price: str
) -> None:
    priced["eth_getBlockByNumber"] = {"timestamp": "0x1", "baseFeePerGas": base_fee}
    priced["eth_gasPrice"] = gas_price
    with pytest.raises(EngineError, match="asks for a gas price"):
        await RemoteEngine(priced["url"], 4242, time.time).start()
