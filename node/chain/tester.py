"""The tester engine: eth-tester in this process, and its JSON-RPC for other processes.

Needs nothing but Python, so tests run on it; does some sixty transactions a second. The chain is in
memory only and is gone when the engine stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import orjson
import structlog
from aiohttp import web

from node.chain.engine import Clock, EngineError
from node.chain.rpc import RpcError
from node.chain.tester_chain import TesterChain

HOST = "127.0.0.1"
MAX_BODY_BYTES = 4 * 2**20
MAX_CALLS = 1_000

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603

log = structlog.get_logger(__name__)


class TesterRpc:
    """The in-process connection: what HTTP would answer, without HTTP.

    The chain runs in one thread of its own, so that executing a transaction does not hold up
    everything else in this process, and calls are taken one after the other.
    """

    def __init__(self, chain: TesterChain) -> None:
        self._chain = chain
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tester-chain")

    async def call(self, method: str, *params: Any) -> Any:
        return await self.run(self._chain.dispatch, method, params)

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        outcomes: list[Any | RpcError] = await self.run(self._dispatch_all, calls)
        return outcomes

    async def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def run(self, function: Any, *arguments: Any) -> Any:
        """Run something that uses the chain in the chain's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _dispatch_all(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        return [self._outcome(method, params) for method, params in calls]

    def _outcome(self, method: str, params: Sequence[Any]) -> Any | RpcError:
        try:
            return self._chain.dispatch(method, params)
        except RpcError as error:
            return error


class TesterEngine:
    """An eth-tester chain, served on 127.0.0.1.

    Args:
        chain_id: EIP-155 chain id.
        port: TCP port of its JSON-RPC; 0 takes any free one.
        genesis_time: unix time of block 0; None for the wall clock's.
        clock: wall clock, unix seconds.
    """

    name = "tester"
    can_travel = True

    def __init__(self, *, chain_id: int, port: int, genesis_time: int | None, clock: Clock) -> None:
        self.chain_id = chain_id
        self._port = port
        self._genesis_time = genesis_time
        self._clock = clock
        self._chain: TesterChain | None = None
        self._rpc: TesterRpc | None = None
        self._server: web.AppRunner | None = None

    @property
    def rpc_url(self) -> str:
        return f"http://{HOST}:{self._port}"

    @property
    def rpc(self) -> TesterRpc:
        if self._rpc is None:
            raise EngineError("the tester chain is not started")
        return self._rpc

    def alive(self) -> bool:
        return self._rpc is not None

    async def start(self, not_before: int = 0) -> None:
        genesis_time = int(self._clock()) if self._genesis_time is None else self._genesis_time
        self._chain = TesterChain(
            chain_id=self.chain_id, genesis_time=max(genesis_time, not_before), clock=self._clock
        )
        self._rpc = TesterRpc(self._chain)
        self._server = web.AppRunner(_application(self._rpc), access_log=None)
        try:
            await self._server.setup()
            site = web.TCPSite(self._server, HOST, self._port)
            await site.start()
        except OSError as error:
            await self.stop()
            raise EngineError(
                f"port {self._port} of {HOST} is in use by another program: end it, or choose"
                f" another port (PLAZA_RPC_PORT): {error.strerror}"
            ) from error
        self._port = self._server.addresses[0][1]
        log.warning(
            "eth-tester started: this chain is in memory only and is lost at the stop",
            url=self.rpc_url,
        )

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.cleanup()
            self._server = None
        if self._rpc is not None:
            await self._rpc.close()
            self._rpc = self._chain = None

    async def now(self) -> int:
        return int(await self.rpc.run(self._running_chain().next_time))

    async def save(self) -> None:
        pass

    @asynccontextmanager
    async def mining_held(self) -> AsyncIterator[None]:
        yield

    async def forget_unmined(self, sender: str) -> None:
        pass

    async def set_time(self, timestamp: int) -> None:
        await self.rpc.run(self._running_chain().set_next_time, timestamp)

    def _running_chain(self) -> TesterChain:
        if self._chain is None:
            raise EngineError("the tester chain is not started")
        return self._chain


def _application(rpc: TesterRpc) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(
            body=await _answer(rpc, await request.read()), content_type="application/json"
        )

    application = web.Application(client_max_size=MAX_BODY_BYTES)
    application.router.add_post("/", answer)
    return application


async def _answer(rpc: TesterRpc, body: bytes) -> bytes:
    """Return the JSON-RPC answer to a request or a batch of them."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return orjson.dumps(_failure(None, PARSE_ERROR, f"parse error: {error}"))
    if not isinstance(request, list):
        return orjson.dumps(await _answer_one(rpc, request))
    if not request:
        return orjson.dumps(_failure(None, INVALID_REQUEST, "empty batch"))
    if len(request) > MAX_CALLS:
        return orjson.dumps(
            _failure(None, INVALID_REQUEST, f"a batch has at most {MAX_CALLS} calls")
        )
    return orjson.dumps([await _answer_one(rpc, one) for one in request])


async def _answer_one(rpc: TesterRpc, request: Any) -> dict[str, Any]:
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _failure(None, INVALID_REQUEST, "invalid request")
    request_id, params = request.get("id"), request.get("params") or []
    if not isinstance(params, list):
        return _failure(request_id, INVALID_REQUEST, "params are a list")
    try:
        result = await rpc.call(request["method"], *params)
    except RpcError as error:
        return _failure(request_id, error.code, error.message, error.data)
    except Exception:
        # The caller gets an answer whatever happens; the cause is for our log.
        log.exception("the tester chain failed", method=request["method"])
        return _failure(request_id, INTERNAL_ERROR, "internal error")
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def _failure(request_id: Any, code: int, message: str, data: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": request_id, "error": error}
