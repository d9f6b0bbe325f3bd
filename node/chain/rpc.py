"""JSON-RPC to a chain: calls, batches, and what their failures mean for money.

Two failures are kept apart, because a caller that moves money must treat them differently: the
chain answered with an error (`RpcError`), or no answer arrived (`RpcUnavailable`) and what was sent
may or may not have taken effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp
import orjson

MAX_BATCH = 500
READ_ATTEMPTS = 3
RETRY_DELAY_SECONDS = 0.1


class RpcError(Exception):
    """The chain answered with an error.

    Attributes:
        code: JSON-RPC error code; 3 for a reverted call.
        message: the node's words.
        data: revert data as 0x-prefixed hex, or None if the error carries none.
    """

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message
        self.data = data


class RpcUnavailable(Exception):
    """No answer: the chain could not be reached, or its answer was lost.

    The outcome is unknown. A transaction that was being sent may have been accepted.
    """


class Rpc(Protocol):
    """A connection to a chain's JSON-RPC."""

    async def call(self, method: str, *params: Any) -> Any:
        """Return the result of one call.

        Raises:
            RpcError: the chain answered with an error.
            RpcUnavailable: no answer arrived; the outcome is unknown.
        """
        ...

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        """Return the results of several calls, in their order, sent together.

        A call the chain answered with an error has its `RpcError` in the list instead of a result.

        Raises:
            RpcUnavailable: an answer is missing; the outcome of every call is unknown.
        """
        ...

    async def close(self) -> None:
        """Give the connection's resources back."""
        ...


class HttpRpc:
    """JSON-RPC over HTTP, on connections that are kept open and reused.

    Args:
        url: address of the chain's JSON-RPC.
        timeout_seconds: how long one HTTP request may take in all.
    """

    def __init__(self, url: str, timeout_seconds: float = 30.0) -> None:
        self.url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None
        self._last_id = 0

    async def call(self, method: str, *params: Any) -> Any:
        answer = await self._exchange(self._request(method, params), [method])
        if not isinstance(answer, dict):
            raise RpcUnavailable(f"{self.url} answered {method} with something else than an object")
        outcome = _outcome(answer)
        if isinstance(outcome, RpcError):
            raise outcome
        return outcome

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        outcomes: list[Any | RpcError] = []
        for start in range(0, len(calls), MAX_BATCH):
            outcomes += await self._batch(calls[start : start + MAX_BATCH])
        return outcomes

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        requests = [self._request(method, params) for method, params in calls]
        answer = await self._exchange(requests, [method for method, _ in calls])
        if isinstance(answer, dict):
            # A server that refuses the batch as a whole answers with one error object.
            outcome = _outcome(answer)
            raise RpcUnavailable(f"{self.url} refused a batch of {len(calls)} calls: {outcome}")
        by_id = {item.get("id"): item for item in answer if isinstance(item, dict)}
        missing = [request["method"] for request in requests if request["id"] not in by_id]
        if missing:
            raise RpcUnavailable(f"{self.url} left {len(missing)} of {len(calls)} calls unanswered")
        return [_outcome(by_id[request["id"]]) for request in requests]

    def _request(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        self._last_id += 1
        return {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": list(params)}

    async def _exchange(self, body: Any, methods: Sequence[str]) -> Any:
        """Post a body; a request of reads alone is tried again, one that changes anything is not:
        a send whose answer was lost may have been accepted, and only its sender can tell."""
        attempts = READ_ATTEMPTS if all(map(_is_read, methods)) else 1
        content = orjson.dumps(body)
        for attempt in range(1, attempts + 1):
            try:
                return await self._post(content)
            except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
                if attempt == attempts or isinstance(error, TimeoutError):
                    reason = str(error) or type(error).__name__
                    raise RpcUnavailable(f"no answer from {self.url}: {reason}") from error
            await asyncio.sleep(RETRY_DELAY_SECONDS * attempt)
        raise AssertionError("unreachable")

    async def _post(self, content: bytes) -> Any:
        if self._session is None:
            # uvicorn closes idle connections after 5 s and others later; giving them up first
            # keeps a send from meeting a connection that the server is just closing.
            connector = aiohttp.TCPConnector(limit=64, keepalive_timeout=4)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        headers = {"content-type": "application/json"}
        async with self._session.post(self.url, data=content, headers=headers) as response:
            text = await response.read()
            try:
                return orjson.loads(text)
            except orjson.JSONDecodeError as error:
                if response.ok:
                    raise
                raise aiohttp.ClientError(f"HTTP {response.status} {response.reason}") from error


def _is_read(method: str) -> bool:
    return method.startswith(("eth_", "net_", "web3_")) and not method.startswith("eth_send")


def _outcome(answer: dict[str, Any]) -> Any | RpcError:
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            raise RpcUnavailable("a JSON-RPC answer holds neither a result nor an error")
        return answer["result"]
    if not isinstance(error, dict):
        return RpcError(-32603, str(error))
    return RpcError(
        int(error.get("code", -32603)), str(error.get("message", "")), _revert_data(error)
    )


def _revert_data(error: dict[str, Any]) -> str | None:
    data = error.get("data")
    if isinstance(data, dict):  # some nodes wrap it once more
        data = data.get("data")
    return data if isinstance(data, str) and data.startswith("0x") else None
