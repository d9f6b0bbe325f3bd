"""The two clients: the same calls, blocking and for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from node.client.calls import Call, Reply, Retries
from node.client.errors import Refused, Unreachable, refusal
from node.client.models import Event, Events
from node.client.resources import AsyncResources, Resources
from node.client.transport import (
    AsyncHttpxTransport,
    AsyncTransport,
    HttpxTransport,
    Lost,
    Transport,
)

Shape = TypeVar("Shape")
_EVENTS = 1000  # at once


class _Base:
    def __init__(self, url: str, api_key: str | None, retries: Retries | None, limit: float):
        self._url = url.rstrip("/")
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._retries = retries or Retries()
        self._limit = limit

    def _pieces(self, call: Call[Any]) -> tuple[str, str, dict[str, str], bytes | None, float]:
        headers = {**self._headers, **call.headers()} if call.method != "GET" else self._headers
        limit = self._limit + (call.wait or 0)
        return call.method, self._url + call.target(), headers, call.content(), limit

    def _pause(self, attempt: int, call: Call[Any], failure: Lost | Refused) -> float:
        """The seconds before another attempt. Raises what failed, if there is to be none."""
        refused = failure if isinstance(failure, Refused) else None
        pause = self._retries.pause(attempt, call, refused)
        if pause is None:
            if refused is not None:
                raise refused
            raise Unreachable(f"{call.method} {call.path}: {failure}") from failure
        return pause


class Client(_Base, Resources):
    """The bridge under one API key.

    Args:
        url: of the bridge.
        api_key: None for what is public.
        retries: when calls are sent again.
        limit: seconds for one attempt, beside what the call itself asks the bridge to wait.
        transport: by default httpx.
        sleep: for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        retries: Retries | None = None,
        limit: float = 30.0,
        transport: Transport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        _Base.__init__(self, url, api_key, retries, limit)
        Resources.__init__(self)
        self._transport = transport or HttpxTransport()
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def send(self, call: Call[Shape]) -> Shape:
        """Raises: Refused, Unreachable."""
        return self.exchange(call).read(call.shape)

    def exchange(self, call: Call[Any]) -> Reply:
        """Send until there is an answer that counts. Raises: Refused, Unreachable."""
        method, url, headers, content, limit = self._pieces(call)
        attempt = 0
        while True:
            failure: Lost | Refused
            try:
                reply = self._transport.send(method, url, headers, content, limit)
            except Lost as lost:
                failure = lost
            else:
                if reply.status < 400:
                    return reply
                failure = refusal(reply.status, reply.headers, reply.content)
            self._sleep(self._pause(attempt, call, failure))
            attempt += 1

    def follow_events(self, after: int = 0, poll: float = 1.0) -> Iterator[Event]:
        """Every event after a `seq`, for ever: to resume, give the `seq` of the last one handled.

        Args:
            poll: seconds between looks, while nothing happens.
        """
        while True:
            page = self.send(_events_after(after))
            yield from page.data
            after = page.next_after
            if not page.has_more:
                self._sleep(poll)


class AsyncClient(_Base, AsyncResources):
    """The same for asyncio. `aclose` it at the end, or use it with `async with`."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        retries: Retries | None = None,
        limit: float = 30.0,
        transport: AsyncTransport | None = None,
    ) -> None:
        _Base.__init__(self, url, api_key, retries, limit)
        AsyncResources.__init__(self)
        self._transport = transport or AsyncHttpxTransport()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._transport.close()

    async def send(self, call: Call[Shape]) -> Shape:
        """Raises: Refused, Unreachable."""
        return (await self.exchange(call)).read(call.shape)

    async def exchange(self, call: Call[Any]) -> Reply:
        """Send until there is an answer that counts. Raises: Refused, Unreachable."""
        method, url, headers, content, limit = self._pieces(call)
        attempt = 0
        while True:
            failure: Lost | Refused
            try:
                reply = await self._transport.send(method, url, headers, content, limit)
            except Lost as lost:
                failure = lost
            else:
                if reply.status < 400:
                    return reply
                failure = refusal(reply.status, reply.headers, reply.content)
            await asyncio.sleep(self._pause(attempt, call, failure))
            attempt += 1

    async def follow_events(self, after: int = 0, poll: float = 1.0) -> AsyncIterator[Event]:
        """Every event after a `seq`, for ever: to resume, give the `seq` of the last one handled.

        Args:
            poll: seconds between looks, while nothing happens.
        """
        while True:
            page = await self.send(_events_after(after))
            for event in page.data:
                yield event
            after = page.next_after
            if not page.has_more:
                await asyncio.sleep(poll)


def _events_after(seq: int) -> Call[Events]:
    return Call("GET", "/v1/events", Events, query={"after": seq, "limit": _EVENTS})
