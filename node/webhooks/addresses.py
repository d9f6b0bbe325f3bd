"""Where webhooks may go: to the public internet by https, and to networks that are allowed by name.

A merchant chooses the URL, and the node posts to it from inside the operator's network; so whatever
is not a public address is refused, at creation for a clear answer, and again for the very address
of each connection, since a name may lead elsewhere by then.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from yarl import URL

Lookup = Callable[[str, int], Awaitable[list[str]]]
Networks = Sequence[IPv4Network | IPv6Network]

_LOOKUP_SECONDS = 5.0
# Threads of their own, and many: a name server that does not answer holds one for a while, and must
# not hold up the names of others.
_LOOKUP_THREADS = ThreadPoolExecutor(100, thread_name_prefix="lookup")
_PUBLIC_IPV6 = IPv6Network("2000::/3")
# Special ones that not every Python knows, and those that stand for others: 6to4 and Teredo carry
# an IPv4 address that their relay would connect to.
_NEVER = tuple(
    ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")
)


class RefusedUrl(ValueError):
    """Nothing may be posted there; the message says why."""


class RefusedAddress(OSError):
    """A connection that was not made, because of where it would have led."""


async def lookup(host: str, port: int) -> list[str]:
    """Return the addresses of a host name. Raises OSError."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOKUP_THREADS, ask)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def refusal(address: str, allowed: Networks, *, encrypted: bool) -> str | None:
    """Say why an address may not be connected to; None if it may.

    Args:
        allowed: networks that may be connected to although they are not public.
        encrypted: by https; plain http goes to allowed networks only.
    """
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return f"{address!r} is no IP address"
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id is not None:
            return f"{address} is an address of one link only"
        parsed = parsed.ipv4_mapped or parsed
    if any(parsed in network for network in allowed):
        return None
    is_public = (
        parsed.is_global
        and not parsed.is_multicast
        and not any(parsed in network for network in _NEVER)
        and (parsed.version == 4 or parsed in _PUBLIC_IPV6)
    )
    if not is_public:
        return f"{address} is not a public address"
    return None if encrypted else "plain http is not secret: use https"


def parse(url: str) -> URL:
    """Raises:
    RefusedUrl: it is not an http or https URL of a host, or holds a password.
    """
    try:
        parsed = URL(url)
        host, port = parsed.raw_host, parsed.port
    except ValueError as error:
        raise RefusedUrl(f"it is no URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not host or not port:
        raise RefusedUrl("it is not an http or https URL with a host")
    if parsed.raw_user is not None or parsed.raw_password is not None:
        raise RefusedUrl("it holds a user or password, which would be shown and logged")
    if "#" in url:
        raise RefusedUrl("it has a fragment, which is never sent")
    if any(character <= " " or character == "\x7f" for character in url):
        raise RefusedUrl("it has white space or control characters")
    return parsed


async def check(url: str, allowed: Networks, look_up: Lookup) -> None:
    """Look a URL's host up and check all its addresses.

    Raises:
        RefusedUrl: nothing may be posted there.
    """
    parsed = parse(url)
    host, port = parsed.raw_host, parsed.port
    assert host is not None
    assert port is not None
    try:
        addresses = [str(ip_address(host))]
    except ValueError:
        try:
            addresses = await asyncio.wait_for(look_up(host, port), _LOOKUP_SECONDS)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise RefusedUrl(f"the host {host} is not found: {error or 'no answer'}") from None
    for address in addresses:
        reason = refusal(address, allowed, encrypted=parsed.scheme == "https")
        if reason is not None:
            raise RefusedUrl(f"{host}: {reason}")
    if not addresses:
        raise RefusedUrl(f"the host {host} has no address")
