"""The JSON-RPC client against servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web

from node.chain.rpc import MAX_BATCH, HttpRpc, RpcError, RpcUnavailable

Answer = Callable[[Any], Awaitable[web.StreamResponse] | web.StreamResponse]


class Server:
    """Answers what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: Answer = echo
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.asked.append(body)
        if self.answer is hang_up:
            assert request.transport is not None
            request.transport.abort()
        answer = self.answer(body)
        return answer if isinstance(answer, web.StreamResponse) else await answer


def result_of(call: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call["id"], "result": call["params"]}


def as_json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def echo(body: Any) -> web.Response:
    """The parameters, as the result."""
    return as_json(
        [result_of(call) for call in body] if isinstance(body, list) else result_of(body)
    )


def hang_up(body: Any) -> web.StreamResponse:
    """An answer that is lost: the connection is broken before it is sent."""
    return echo(body)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    application = web.Application(client_max_size=2**24)
    application.router.add_post("/", server.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def rpc(server: Server) -> AsyncIterator[HttpRpc]:
    rpc = HttpRpc(server.url, timeout_seconds=2)
    yield rpc
    await rpc.close()


def answers(error: Any) -> Answer:
    return lambda body: as_json({"jsonrpc": "2.0", "id": body["id"], "error": error})


async def test_a_call_returns_the_result(rpc: HttpRpc, server: Server) -> None:
    assert await rpc.call("eth_call", {"to": "0x1"}, "latest") == [{"to": "0x1"}, "latest"]
    assert server.asked[0]["jsonrpc"] == "2.0"


async def test_an_error_is_raised_with_its_code_and_revert_data(
    rpc: HttpRpc, server: Server
) -> None:
    server.answer = answers({"code": 3, "message": "execution reverted", "data": "0x1234"})
    with pytest.raises(RpcError) as refused:
        await rpc.call("eth_call")
    assert (refused.value.code, refused.value.message, refused.value.data) == (
        3,
        "execution reverted",
        "0x1234",
    )


@pytest.mark.parametrize(
    ("error", "data"),
    [
        ({"code": 3, "message": "m", "data": {"data": "0x12"}}, "0x12"),
        ({"code": -32000, "message": "m", "data": "Reverted by policy"}, None),
        ({"code": -32000, "message": "m"}, None),
    ],
)
async def test_revert_data_is_hex_or_nothing(
    rpc: HttpRpc, server: Server, error: Any, data: str | None
) -> None:
    server.answer = answers(error)
    with pytest.raises(RpcError) as refused:
        await rpc.call("eth_call")
    assert refused.value.data == data


async def test_an_error_of_http_with_a_json_rpc_body_is_the_chains_answer(
    rpc: HttpRpc, server: Server
) -> None:
    error = {"code": -32601, "message": "no such method"}
    server.answer = lambda body: web.Response(
        status=400, body=orjson.dumps({"jsonrpc": "2.0", "id": body["id"], "error": error})
    )
    with pytest.raises(RpcError, match="no such method"):
        await rpc.call("eth_nothing")


async def test_a_batch_is_answered_in_the_order_it_was_asked(rpc: HttpRpc, server: Server) -> None:
    server.answer = lambda body: as_json([result_of(call) for call in reversed(body)])
    assert await rpc.batch([("eth_call", [number]) for number in range(5)]) == [
        [number] for number in range(5)
    ]
    assert len(server.asked) == 1


async def test_one_failed_call_of_a_batch_is_an_error_in_its_place(
    rpc: HttpRpc, server: Server
) -> None:
    def second_fails(body: Any) -> web.Response:
        items = [result_of(call) for call in body]
        items[1] = {"id": body[1]["id"], "error": {"code": -32000, "message": "already known"}}
        return as_json(items)

    server.answer = second_fails
    first, second, third = await rpc.batch([("eth_sendRawTransaction", [n]) for n in range(3)])
    assert (first, third) == ([0], [2])
    assert isinstance(second, RpcError)
    assert second.message == "already known"


async def test_a_large_batch_is_split_and_stays_in_order(rpc: HttpRpc, server: Server) -> None:
    calls = [("eth_call", [number]) for number in range(MAX_BATCH * 2 + 1)]
    assert await rpc.batch(calls) == [[number] for number in range(len(calls))]
    assert [len(body) for body in server.asked] == [MAX_BATCH, MAX_BATCH, 1]


async def test_an_empty_batch_asks_nothing(rpc: HttpRpc, server: Server) -> None:
    assert await rpc.batch([]) == []
    assert server.asked == []


async def test_a_batch_with_an_answer_missing_has_an_unknown_outcome(
    rpc: HttpRpc, server: Server
) -> None:
    server.answer = lambda body: as_json([result_of(call) for call in body[1:]])
    with pytest.raises(RpcUnavailable, match="left 1 of 3 calls unanswered"):
        await rpc.batch([("eth_sendRawTransaction", [n]) for n in range(3)])


async def test_a_batch_refused_as_a_whole_has_an_unknown_outcome(
    rpc: HttpRpc, server: Server
) -> None:
    server.answer = lambda body: as_json({"id": None, "error": {"code": 1, "message": "too large"}})
    with pytest.raises(RpcUnavailable, match="too large"):
        await rpc.batch([("eth_call", [])])


@pytest.mark.parametrize("method", ["eth_sendRawTransaction", "evm_mine", "anvil_dumpState"])
async def test_a_send_whose_answer_is_lost_is_not_sent_again(
    rpc: HttpRpc, server: Server, method: str
) -> None:
    server.answer = hang_up
    with pytest.raises(RpcUnavailable):
        await rpc.call(method, "0x02")
    assert len(server.asked) == 1


async def test_a_read_whose_answer_is_lost_is_asked_again(rpc: HttpRpc, server: Server) -> None:
    def first_time_broken(body: Any) -> web.StreamResponse:
        if len(server.asked) == 1:
            return web.Response(status=503)
        return echo(body)

    server.answer = first_time_broken
    assert await rpc.call("eth_blockNumber") == []
    assert len(server.asked) == 2


async def test_a_batch_with_one_send_in_it_is_not_sent_again(rpc: HttpRpc, server: Server) -> None:
    server.answer = hang_up
    with pytest.raises(RpcUnavailable):
        await rpc.batch([("eth_blockNumber", []), ("eth_sendRawTransaction", ["0x02"])])
    assert len(server.asked) == 1


async def test_reads_are_not_asked_for_ever(rpc: HttpRpc, server: Server) -> None:
    server.answer = hang_up
    with pytest.raises(RpcUnavailable, match="no answer from"):
        await rpc.call("eth_blockNumber")
    assert len(server.asked) == 3


async def test_a_slow_answer_is_no_answer(server: Server) -> None:
    async def slowly(body: Any) -> web.Response:
        await asyncio.sleep(1)
        return echo(body)

    server.answer = slowly
    rpc = HttpRpc(server.url, timeout_seconds=0.1)
    try:
        with pytest.raises(RpcUnavailable):
            await rpc.call("eth_sendRawTransaction", "0x02")
    finally:
        await rpc.close()


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=502, text="Bad gateway"),
        web.Response(text="<html>"),
        web.Response(text="[]"),
        web.Response(text='{"jsonrpc": "2.0", "id": 1}'),
        web.Response(text="null"),
    ],
    ids=["gateway", "html", "list", "neither", "null"],
)
async def test_what_is_no_json_rpc_answer_has_an_unknown_outcome(
    rpc: HttpRpc, server: Server, answer: web.Response
) -> None:
    server.answer = lambda body: answer
    with pytest.raises(RpcUnavailable):
        await rpc.call("eth_sendRawTransaction", "0x02")


async def test_nobody_there_is_unavailable() -> None:
    rpc = HttpRpc("http://127.0.0.1:1")
    try:
        with pytest.raises(RpcUnavailable, match="no answer from"):
            await rpc.call("eth_chainId")
    finally:
        await rpc.close()


async def test_a_closed_client_can_be_used_again(rpc: HttpRpc) -> None:
    await rpc.call("eth_chainId")
    await rpc.close()
    assert await rpc.call("eth_chainId") == []
