"""The bridge and the chain as a marketplace of thousands of orders reaches them.

Requests go by `node.client`, which sends again what is safe. On top of that comes what is a
marketplace's own: what the chain makes of a request is read from the bridge's events, one reader
for all that wait, since holding a connection open per request costs both sides more; and
the chain's JSON-RPC.

Every POST carries an idempotency key that follows from what it is for, so sending it again is never
a second effect. While the node does not answer, everybody waits for the same recovery: the node is
back, and all it had been asked for before is settled, even what a chain that came back some blocks
behind has to do again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import aiohttp
import orjson

from node.client import AsyncClient, Call, Refused, Reply, Retries, Unreachable
from node.client.transport import AiohttpTransport

SETTLE_SECONDS = 180
EVENTS_POLL_SECONDS = 0.08
EVENTS_PAGE = 1000
# Without an event for so long, the resource itself is asked.
PATIENCE_SECONDS = 15.0
# A hitch that lasts longer is an outage: the node is waited for.
RETRIES = Retries(pauses=(0.05, 0.1, 0.25, 0.5), longest=2.0)
RECOVERY_POLL_SECONDS = 0.25
RPC_BATCH = 200
PAGE = 100

_UNSETTLED = ("queued", "submitted")
METHOD_NOT_FOUND = -32601


class NodeUnavailable(Exception):
    """The node did not come back in the time it was given."""


class RpcRefused(Exception):
    """The chain answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code


class Node:
    """One node: its bridge under a merchant's key, and the JSON-RPC its manifest names.

    Args:
        url: of the bridge.
        api_key: the merchant's.
        in_flight: how many requests may be under way at once.
        wait_seconds: how long a node that does not answer is waited for.
        on_outage: told once when the node stops answering.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        in_flight: int,
        wait_seconds: float,
        on_outage: Callable[[str], None],
    ) -> None:
        self._url = url
        self._api_key = api_key
        self._in_flight = asyncio.Semaphore(in_flight)
        self._limit = in_flight
        self._wait_seconds = wait_seconds
        self._on_outage = on_outage
        self._recovery: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._bridge: AsyncClient
        self._rpc_url = ""
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._outcomes: dict[str, Any] = {}  # the last event of a resource that nobody waited for
        self._seen_seq = 0
        self._reader: asyncio.Task[None] | None = None
        self.outages = 0

    async def __aenter__(self) -> Node:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._limit + 4, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=60, connect=10),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        transport = AiohttpTransport(self._session)
        self._bridge = AsyncClient(self._url, self._api_key, retries=RETRIES, transport=transport)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in (self._recovery, self._reader):
            if task is not None:
                task.cancel()
        await self._bridge.aclose()

    # ---------------------------------------------------------------------------- bridge

    async def post(
        self, path: str, key: str, body: Mapping[str, Any] | None, reached: Sequence[str]
    ) -> tuple[Any, float]:
        """Ask for something; return the resource once the chain has settled it, and the seconds
        that took.

        Args:
            reached: the statuses that say that what was asked for has come about.

        Raises:
            Refused: the bridge refuses; nothing was done.
            NodeUnavailable: the node went away and did not come back.
            TimeoutError: accepted, but not settled in SETTLE_SECONDS.
        """
        call: Call[bytes] = Call("POST", path, bytes, body=body, key=key)
        started = time.monotonic()
        async with self._in_flight:
            reply = await self._persist(call)
        resource = reply.json()
        if reply.status == 202:
            event = None if reply.replayed else await self._outcome(resource["id"])
            if event is not None and event["data"].get("status") in reached:
                resource["status"] = event["data"]["status"]
            else:  # asked before, not told in time, or failed: what has it come to?
                await self._until_settled(resource["id"])
                resource = (await self._persist(call)).json()
        return resource, time.monotonic() - started

    async def _outcome(self, resource_id: str) -> Any | None:
        """The event that settles what was just asked of a resource; None if none comes in time."""
        if resource_id in self._outcomes:
            return self._outcomes.pop(resource_id)
        self._waiting[resource_id] = asyncio.get_running_loop().create_future()
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._follow_events())
        try:
            return await asyncio.wait_for(self._waiting[resource_id], PATIENCE_SECONDS)
        except TimeoutError:
            return None
        finally:
            del self._waiting[resource_id]

    async def _follow_events(self) -> None:
        while self._waiting:
            await asyncio.sleep(EVENTS_POLL_SECONDS)
            try:
                await self._read_events()
            except (NodeUnavailable, Refused) as error:
                for future in self._waiting.values():
                    if not future.done():
                        future.set_exception(error)
                return

    async def _read_events(self) -> None:
        more = True
        while more:
            page = await self.get(f"/v1/events?after={self._seen_seq}&limit={EVENTS_PAGE}")
            for event in page["data"]:
                self._note(event)
            self._seen_seq, more = page["next_after"], page["has_more"]

    def _note(self, event: Mapping[str, Any]) -> None:
        if event["type"].endswith((".created", ".shipped", "_requested")):
            return  # what was asked, not what came of it
        waiting = self._waiting.get(event["resource_id"])
        if waiting is None:
            self._outcomes[event["resource_id"]] = event
        elif not waiting.done():
            waiting.set_result(event)

    async def get(self, path: str) -> Any:
        """Raises: Refused, NodeUnavailable."""
        return (await self._persist(Call("GET", path, bytes))).json()

    async def pages(self, path: str) -> AsyncIterator[Any]:
        """Everything in a list. Raises: Refused, NodeUnavailable."""
        cursor = ""
        while True:
            page = await self.get(f"{path}?limit={PAGE}{cursor}")
            for item in page["data"]:
                yield item
            if not page["has_more"]:
                return
            cursor = f"&cursor={page['next_cursor']}"

    async def _until_settled(self, resource_id: str) -> None:
        end = time.monotonic() + SETTLE_SECONDS
        while await self._unsettled(f"&resource_id={resource_id}"):
            if time.monotonic() > end:
                raise TimeoutError(f"{resource_id} is not settled after {SETTLE_SECONDS} s")
            await asyncio.sleep(0.1)

    async def _unsettled(self, which: str = "") -> bool:
        for status in _UNSETTLED:
            page = await self.get(f"/v1/operations?limit=1&status={status}{which}")
            if page["data"]:
                return True
        return False

    async def _persist(self, call: Call[Any]) -> Reply:
        """Send a request until there is an answer that counts."""
        while True:
            if self._recovery is not None:
                await asyncio.shield(self._recovery)
            try:
                return await self._bridge.exchange(call)
            except Unreachable as lost:
                await self._recover(str(lost))
            except Refused as refused:
                if not refused.retryable:
                    raise
                await self._recover(f"{call.method} {call.path}: {refused}")

    # -------------------------------------------------------------------------- recovery

    async def _recover(self, reason: str) -> None:
        if self._recovery is None:
            self._recovery = asyncio.create_task(self._wait_for_node(reason))
        await asyncio.shield(self._recovery)

    async def _wait_for_node(self, reason: str) -> None:
        self.outages += 1
        self._on_outage(reason)
        end = time.monotonic() + self._wait_seconds
        try:
            while not await self._is_back():
                if time.monotonic() > end:
                    raise NodeUnavailable(
                        f"the node did not answer for {self._wait_seconds:.0f} s: {reason}"
                    )
                await asyncio.sleep(RECOVERY_POLL_SECONDS)
        finally:
            self._recovery = None

    async def _is_back(self) -> bool:
        """Whether the node is ready and has nothing left to do: what rolled back is done again."""
        try:
            await self._ask("/health/ready")
            for status in _UNSETTLED:
                if (await self._ask(f"/v1/operations?limit=1&status={status}"))["data"]:
                    return False
            manifest = await self._ask("/v1/network")
        except Unreachable:
            return False
        except Refused as refused:
            if not refused.retryable:
                raise
            return False
        self._rpc_url = manifest["rpc_url"]
        return True

    async def _ask(self, path: str) -> Any:
        """As `get`, without waiting for the node. Raises: Refused, Unreachable."""
        return (await self._bridge.exchange(Call("GET", path, bytes))).json()

    # ----------------------------------------------------------------------------- chain

    async def network(self) -> Any:
        """The node's manifest; also where its JSON-RPC is found."""
        manifest = await self.get("/v1/network")
        self._rpc_url = manifest["rpc_url"]
        return manifest

    async def rpc(self, method: str, *params: Any) -> Any:
        """One JSON-RPC call. Raises: RpcRefused, NodeUnavailable."""
        (answer,) = await self.rpc_batch([(method, params)])
        return answer

    async def rpc_batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """JSON-RPC calls in order. Raises: RpcRefused for the first that fails, NodeUnavailable."""
        results: list[Any] = []
        for start in range(0, len(calls), RPC_BATCH):
            results += await self._rpc_exchange(calls[start : start + RPC_BATCH])
        return results

    async def _rpc_exchange(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        assert self._session is not None
        body = orjson.dumps(
            [
                {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
                for number, (method, params) in enumerate(calls)
            ]
        )
        headers = {"Content-Type": "application/json"}
        while True:
            try:
                async with self._session.post(
                    self._rpc_url, data=body, headers=headers
                ) as response:
                    answers = {a["id"]: a for a in orjson.loads(await response.read())}
                break
            except (aiohttp.ClientError, TimeoutError, OSError) as lost:
                await self._recover(f"JSON-RPC: {lost or type(lost).__name__}")
        results = []
        for number in range(len(calls)):
            error = answers[number].get("error")
            if error is not None:
                raise RpcRefused(int(error.get("code", 0)), str(error.get("message", "")))
            results.append(answers[number]["result"])
        return results
