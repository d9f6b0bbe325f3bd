"""API keys, and the merchants they stand for. A key's secret is shown once and kept as a hash."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.auth import (
    ALL_SCOPES,
    KEY_PREFIX,
    MERCHANT_SCOPES,
    Caller,
    KeyHolder,
    Scope,
    hash_of,
)
from node.bridge.context import Context, Ctx
from node.bridge.idempotency import KeysCommand, Outcome
from node.bridge.pagination import Listed, ListQuery, page
from node.bridge.problems import Problem, documented
from node.bridge.rows import add, change, find, owned, table
from node.bridge.values import Input, Name, Output, Page, Time
from node.settings import Settings
from node.store import models
from node.store.ids import Ids

router = APIRouter(prefix="/api_keys", tags=["api keys"])


class ApiKeyRequest(Input):
    name: Name = Field(description="what the key is for")
    scopes: list[Scope] | None = Field(
        None,
        min_length=1,
        max_length=len(ALL_SCOPES),
        description="without it: those of the key that asks",
    )

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "bookkeeping", "scopes": ["read"]}]}
    )


class ApiKey(Output):
    id: str
    name: str
    prefix: str = Field(description="the first characters of the key, to tell keys apart")
    scopes: list[Scope]
    created_at: Time
    revoked_at: Time | None
    secret: str | None = Field(description="the key; only in the answer that created it")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "key_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "name": "bookkeeping",
                    "prefix": "plz_Yw3kQ8rT",
                    "scopes": ["read"],
                    "created_at": "2026-01-31T09:15:00Z",
                    "revoked_at": None,
                    "secret": None,
                }
            ]
        },
    )


# ---------------------------------------------------------------------------------- service


class MerchantKey(NamedTuple):
    merchant_id: str
    key_id: str
    secret: str


def new_secret() -> str:
    """A key of 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def create_merchant_key(
    session: Session,
    settings: Settings,
    *,
    merchant: str,
    name: str,
    ids: Ids | None = None,
    now: Callable[[], float] = time.time,
    make_secret: Callable[[], str] = new_secret,
    scopes: Sequence[Scope] = MERCHANT_SCOPES,
) -> MerchantKey:
    """Make a key for the merchant of this name, and the merchant if it is new."""
    ids = ids or Ids()
    merchants = table(models.Merchant)
    merchant_id = session.scalar(select(merchants.c.id).where(merchants.c.name == merchant))
    if merchant_id is None:
        merchant_id = ids.new("mer")
        add(
            session,
            models.Merchant,
            id=merchant_id,
            name=merchant,
            fee_bps=settings.default_fee_bps,
            dispute_window=settings.default_dispute_window,
            created_at=int(now()),
        )
    secret = make_secret()
    key_id = _add_key(session, ids.new("key"), merchant_id, name, scopes, secret, int(now()))
    return MerchantKey(merchant_id, key_id, secret)


def create_key(
    session: Session, context: Context, caller: Caller, request: ApiKeyRequest, secret: str
) -> Outcome:
    """Raises:
    Problem: scope_missing: a key gives no rights that it has not got itself.
    """
    scopes = request.scopes or [scope for scope in ALL_SCOPES if scope in caller.scopes]
    if beyond := sorted(set(scopes) - caller.scopes):
        raise Problem(
            "scope_missing",
            f"scopes: the key that asks has no {', '.join(beyond)} itself",
            param="scopes",
        )
    key_id = context.ids.new("key")
    _add_key(session, key_id, caller.merchant_id, request.name, scopes, secret, context.wall_now())
    return Outcome("api_key", key_id, status_code=201)


def revoke_key(session: Session, context: Context, merchant_id: str, key_id: str) -> Outcome:
    """Raises:
    Problem: not_found, invalid_state.
    """
    key = find(session, models.ApiKey, merchant_id, key_id, "API key")
    if key.revoked_at is not None:
        raise Problem("invalid_state", f"the key {key_id} is revoked already", actual="revoked")
    change(session, models.ApiKey, key_id, {"revoked_at": context.wall_now()})
    return Outcome("api_key", key_id, status_code=200)


def show_key(session: Session, merchant_id: str, key_id: str) -> ApiKey:
    return _show(find(session, models.ApiKey, merchant_id, key_id, "API key"))


def list_keys(session: Session, merchant_id: str, query: ListQuery) -> Page[ApiKey]:
    keys = table(models.ApiKey)
    return page(session, owned(models.ApiKey, merchant_id), keys.c.id, query, _show)


def _add_key(
    session: Session,
    key_id: str,
    merchant_id: str,
    name: str,
    scopes: Any,
    secret: str,
    now: int,
) -> str:
    add(
        session,
        models.ApiKey,
        id=key_id,
        merchant_id=merchant_id,
        name=name,
        prefix=secret[:12],
        secret_hash=hash_of(secret),
        scopes=list(dict.fromkeys(scopes)),
        created_at=now,
        revoked_at=None,
    )
    return key_id


def _show(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=row.scopes,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        secret=None,
    )


# -------------------------------------------------------------------------------- endpoints


@router.post("", status_code=201, response_model=ApiKey, responses=documented("scope_missing"))
async def create(body: ApiKeyRequest, command: KeysCommand) -> Response:
    """Make a key. The answer holds its secret, which is shown this once: not in a replay either."""
    context, caller = command.context, command.caller
    secret = context.new_secret()
    made_here = False

    def work(session: Session) -> Outcome:
        nonlocal made_here
        outcome = create_key(session, context, caller, body, secret)
        made_here = True
        return outcome

    def show(session: Session, key_id: str) -> ApiKey:
        key = show_key(session, caller.merchant_id, key_id)
        return key.model_copy(update={"secret": secret}) if made_here else key

    return await command.run(body, work, show)


@router.get("", response_model=Page[ApiKey])
async def list_(context: Ctx, caller: KeyHolder, query: Listed[ListQuery]) -> Response:
    return answer(
        await context.store.read(lambda session: list_keys(session, caller.merchant_id, query))
    )


@router.get("/{key_id}", response_model=ApiKey, responses=documented("not_found"))
async def get(context: Ctx, caller: KeyHolder, key_id: str) -> Response:
    return answer(
        await context.store.read(lambda session: show_key(session, caller.merchant_id, key_id))
    )


@router.post(
    "/{key_id}/revoke", response_model=ApiKey, responses=documented("not_found", "invalid_state")
)
async def revoke(key_id: str, command: KeysCommand) -> Response:
    """End a key: at once in this process, within two seconds in others."""
    context, merchant_id = command.context, command.caller.merchant_id
    revoked = await command.run(
        None,
        lambda session: revoke_key(session, context, merchant_id, key_id),
        lambda session, id_: show_key(session, merchant_id, id_),
    )
    context.key_ring.forget(key_id)
    return revoked
