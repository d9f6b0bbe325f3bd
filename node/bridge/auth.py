"""Who asks: API keys, their scopes, and the merchant they stand for."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from sqlalchemy import select
from sqlalchemy.orm import Session

from node.bridge.problems import Problem
from node.bridge.rows import table
from node.store import Store
from node.store.models import ApiKey, Merchant

# "credit": what sellers and lenders do; "desk": the platform's own part, offers and the reserve;
# "arbitrate": decisions on disputes; "scores": posting them; "x402": what a server that sells by
# the call asks; "operate": the outbox of all merchants together.
Scope = Literal[
    "read",
    "accounts",
    "money",
    "purchases",
    "arbitrate",
    "credit",
    "desk",
    "scores",
    "webhooks",
    "keys",
    "x402",
    "operate",
]
ALL_SCOPES: tuple[Scope, ...] = get_args(Scope)
# Of a key that nothing more was asked for: the last one reaches beyond its merchant.
MERCHANT_SCOPES: tuple[Scope, ...] = tuple(scope for scope in ALL_SCOPES if scope != "operate")
KEY_PREFIX = "plz_"

# How long a key revoked by another process still works here; one revoked here ends at once.
_CACHE_SECONDS = 2.0


@dataclass(frozen=True)
class Caller:
    """A valid API key and its merchant."""

    key_id: str
    scopes: frozenset[str]
    merchant_id: str
    merchant_name: str
    fee_bps: int
    dispute_window: int  # seconds


class KeyRing:
    """Finds the caller of an API key; callers are remembered for two seconds.

    Args:
        monotonic: seconds that only rise.
    """

    def __init__(self, store: Store, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._callers: dict[str, tuple[Caller, float]] = {}

    async def caller(self, secret: str) -> Caller | None:
        """Return whose key this is; None for one that is unknown or revoked."""
        digest = hash_of(secret)
        cached = self._callers.get(digest)
        if cached is not None and self._monotonic() < cached[1]:
            return cached[0]
        caller = await self._store.read(lambda session: _find(session, digest))
        if caller is None:
            self._callers.pop(digest, None)
        else:
            self._callers[digest] = (caller, self._monotonic() + _CACHE_SECONDS)
        return caller

    def forget(self, key_id: str) -> None:
        """To be called once a revocation is committed."""
        self._callers = {
            digest: cached for digest, cached in self._callers.items() if cached[0].key_id != key_id
        }


def hash_of(secret: str) -> str:
    """A key's only form at rest. It has 256 random bits, so a plain hash cannot be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def bearer_of(request: Request) -> str:
    """The key of a request that was let in."""
    return request.headers["Authorization"].partition(" ")[2].strip()


async def authenticate(request: Request, scope: Scope) -> Caller:
    """Return who sent a request, by its API key.

    Raises:
        Problem: unauthorized, scope_missing.
    """
    caller = None
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and (secret := secret.strip()).startswith(KEY_PREFIX):
        key_ring: KeyRing = request.app.state.context.key_ring
        caller = await key_ring.caller(secret)
    if caller is None:
        raise Problem(
            "unauthorized",
            "send a valid API key as `Authorization: Bearer plz_…`",
            headers={"WWW-Authenticate": "Bearer"},
        )
    request.state.merchant_id = caller.merchant_id  # for the access log
    if scope not in caller.scopes:
        have = ", ".join(sorted(caller.scopes)) or "none"
        raise Problem("scope_missing", f"needs the scope {scope!r}, the key has: {have}")
    return caller


class ByApiKey(HTTPBearer):
    """A dependency that needs an API key with a scope, and is documented as such. One in itself:
    FastAPI takes longer to go through a tree of them than they take.
    """

    def __init__(self, scope: Scope) -> None:
        super().__init__(scheme_name="api_key", description="An API key: `Bearer plz_…`")
        self._scope = scope


class _Requires(ByApiKey):
    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]
        return await authenticate(request, self._scope)


def requires(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """The dependency of a route that only callers with this scope may use."""
    return _Requires(scope)


def _find(session: Session, digest: str) -> Caller | None:
    keys, merchants = table(ApiKey), table(Merchant)
    row = session.execute(
        select(
            keys.c.id,
            keys.c.scopes,
            keys.c.merchant_id,
            merchants.c.name,
            merchants.c.fee_bps,
            merchants.c.dispute_window,
        )
        .join(merchants, merchants.c.id == keys.c.merchant_id)
        .where(keys.c.secret_hash == digest, keys.c.revoked_at.is_(None))
    ).one_or_none()
    if row is None:
        return None
    return Caller(
        key_id=row.id,
        scopes=frozenset(row.scopes),
        merchant_id=row.merchant_id,
        merchant_name=row.name,
        fee_bps=row.fee_bps,
        dispute_window=row.dispute_window,
    )


Reader = Annotated[Caller, Depends(requires("read"))]
X402Caller = Annotated[Caller, Depends(requires("x402"))]
WebhookHolder = Annotated[Caller, Depends(requires("webhooks"))]
KeyHolder = Annotated[Caller, Depends(requires("keys"))]
