"""How a request goes over the wire. All the rest of the client is the same for each of these.

httpx serves most; aiohttp takes a fraction of its processor time, which matters to who sends
thousands of requests beside a node on the same machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import aiohttp
import httpx

from node.client.calls import Reply


class Lost(Exception):
    """No answer came, or not all of it."""


class Transport(Protocol):
    def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, limit: float
    ) -> Reply:
        """Send once; `limit` in seconds. Raises: Lost."""
        ...

    def close(self) -> None: ...


class AsyncTransport(Protocol):
    async def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, limit: float
    ) -> Reply:
        """Send once; `limit` in seconds. Raises: Lost."""
        ...

    async def close(self) -> None: ...


class HttpxTransport:
    def __init__(self, http: httpx.Client | None = None) -> None:
        """With an httpx client of the caller's, which it closes at the end."""
        self._http = http or httpx.Client()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, limit: float
    ) -> Reply:
        try:
            response = self._http.request(
                method, url, headers=headers, content=content, timeout=limit
            )
        except httpx.TransportError as error:
            raise Lost(str(error) or type(error).__name__) from error
        return Reply(response.status_code, response.headers, response.content)

    def close(self) -> None:
        self._http.close()


class AsyncHttpxTransport:
    def __init__(self, http: httpx.AsyncClient | None = None) -> None:
        """With an httpx client of the caller's, which it closes at the end."""
        self._http = http or httpx.AsyncClient()

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, limit: float
    ) -> Reply:
        try:
            response = await self._http.request(
                method, url, headers=headers, content=content, timeout=limit
            )
        except httpx.TransportError as error:
            raise Lost(str(error) or type(error).__name__) from error
        return Reply(response.status_code, response.headers, response.content)

    async def close(self) -> None:
        await self._http.aclose()


class AiohttpTransport:
    """Over a session of the caller's, with its limits of time; it closes the session at the end."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, limit: float
    ) -> Reply:
        try:
            async with self._session.request(
                method, url, headers=headers, data=content
            ) as response:
                return Reply(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Lost(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        await self._session.close()
