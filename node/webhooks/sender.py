"""One POST of a webhook: signed, to a checked address, without redirects, within a time."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.typedefs import LooseHeaders
from standardwebhooks import Webhook

from node.webhooks.addresses import Lookup, Networks, RefusedAddress, refusal

_MAX_CONNECTIONS = 400  # more than the deliverer ever opens
_WORDS = 200  # of an error, in the database


class Answer(NamedTuple):
    """What came of a POST: a status, or an error in words."""

    status: int | None
    error: str | None


def signed_headers(
    message_id: str, timestamp: int, body: str, secrets: Sequence[bytes]
) -> dict[str, str]:
    """Return the Standard Webhooks headers, with one signature for each secret.

    Args:
        timestamp: of this attempt, unix seconds.
    """
    moment = datetime.fromtimestamp(timestamp, UTC)
    signatures = [Webhook(secret).sign(message_id, moment, body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


class Sender:
    """Posts webhooks. Nothing is kept between two of them: no connection, no cookie, no address.

    Args:
        allowed: networks that may be posted to although they are not public.
        seconds: from looking the name up to the head of the answer.
        look_up: addresses of a host name.
    """

    def __init__(self, allowed: Networks, seconds: float, look_up: Lookup) -> None:
        self._allowed = allowed
        self._seconds = seconds
        self._look_up = look_up
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def post(self, url: str, headers: LooseHeaders, body: bytes) -> Answer:
        """Post once. Whatever goes wrong is an answer too; only cancellation is raised."""
        try:
            session = self._session(url.partition(":")[0].lower())
            async with session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return Answer(response.status, None)  # its body is nobody's concern
        except TimeoutError:
            return Answer(None, f"no answer within {self._seconds:g} seconds")
        except aiohttp.ClientConnectorError as error:
            words = str(error.os_error) or type(error.os_error).__name__
            return Answer(None, f"no connection: {words}"[:_WORDS])
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, (str(error) or type(error).__name__)[:_WORDS])

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        if scheme not in self._sessions:
            encrypted = scheme == "https"

            def make_socket(address: tuple[Any, ...]) -> socket.socket:
                # The last moment before the connection, with the address that is connected to.
                family, kind, protocol, _, where = address
                reason = refusal(str(where[0]), self._allowed, encrypted=encrypted)
                if reason is not None:
                    raise RefusedAddress(reason)
                return socket.socket(family, kind, protocol)

            self._sessions[scheme] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_Resolver(self._look_up),
                    use_dns_cache=False,
                    force_close=True,
                    limit=_MAX_CONNECTIONS,
                    socket_factory=make_socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._seconds),
                headers={"Content-Type": "application/json", "User-Agent": "Plaza-Webhooks/1"},
                auto_decompress=False,
                trust_env=False,  # a proxy would resolve the name again
            )
        return self._sessions[scheme]


class _Resolver(AbstractResolver):
    def __init__(self, look_up: Lookup) -> None:
        self._look_up = look_up

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self._look_up(host, port)
        ]

    async def close(self) -> None:
        pass
