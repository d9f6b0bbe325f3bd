"""The application: its parts, its routes, and how it describes itself."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from node.bridge import (
    accounts,
    api_keys,
    credit_lines,
    credit_offers,
    disputes,
    events,
    health,
    metrics,
    network,
    operations,
    pay,
    pay_requests,
    payment_requests,
    pool,
    problems,
    purchases,
    reconciliation,
    redemptions,
    sales_facts,
    topups,
    transfers,
    webhooks,
)
from node.bridge.auth import KeyRing
from node.bridge.clock import ChainClock
from node.bridge.context import Context
from node.bridge.metrics import HttpMetrics, MetricsGuard
from node.bridge.middleware import Envelope
from node.bridge.problems import MEDIA_TYPE, Problem, ProblemDetails, documented
from node.bridge.stream import Feed
from node.bridge.values import Input, Output
from node.bridge.waiting import Waiters
from node.bridge.writer import GroupWriter
from node.chain.codec import ContractCodec
from node.chain.deployment import Manifest
from node.chain.rpc import Rpc
from node.keys import SealedSeed
from node.settings import Settings
from node.store import Store
from node.store.ids import Ids
from node.webhooks.addresses import Lookup, lookup

_DESCRIPTION = """\
A marketplace's own coin, purchases paid through escrow, and credit lines repaid out of sales.

* **Amounts** are strings of atomic units (10^-6 coin), **times** RFC 3339 in UTC.
* Every POST needs an **Idempotency-Key**: the same key and request again has no second effect.
* Chain work is answered with **202** and the resource as it stands. `Prefer: wait=5` holds the
  answer until it is settled, or for 5 seconds. A resource changes when the chain has it in a block.
* Errors are `application/problem+json` (RFC 9457); decide on `code`.
"""
# What any route may answer with, besides what it documents itself.
_ALWAYS = ("internal_error", "database_busy", "invalid_request")
_WITH_KEY = ("unauthorized", "scope_missing")
_WITH_BODY = ("malformed_json", "bad_request", "body_too_large", "unsupported_media_type")
_WITH_IDEMPOTENCY = (
    "idempotency_key_required",
    "idempotency_key_invalid",
    "idempotency_key_reused",
    "chain_unavailable",
)


def create_app(
    settings: Settings,
    store: Store,
    manifest: Manifest,
    seed: SealedSeed,
    rpc: Rpc,
    *,
    wall_milliseconds: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    monotonic: Callable[[], float] = time.monotonic,
    new_secret: Callable[[], str] = api_keys.new_secret,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    look_up: Lookup = lookup,
    number: int = 0,
) -> FastAPI:
    """Return the bridge over a migrated store. It closes neither the store nor the RPC connection.

    Args:
        seed: signs for managed accounts.
        rpc: asked for the chain's time and health only; what is to be done goes by the store.
        wall_milliseconds: UTC unix time.
        random_bytes: from a cryptographic source.
        look_up: addresses of a host name.
        number: which of the node's bridge processes this is, from 0.
    """
    writer = GroupWriter(store)
    context = Context(
        settings=settings,
        store=store,
        writer=writer,
        manifest=manifest,
        seed=seed,
        rpc=rpc,
        ids=Ids(wall_milliseconds),
        wall_milliseconds=wall_milliseconds,
        new_secret=new_secret,
        random_bytes=random_bytes,
        look_up=look_up,
        clock=ChainClock(store, rpc, wall_milliseconds, monotonic),
        waiters=Waiters(store),
        feed=Feed(store),
        key_ring=KeyRing(store, monotonic),
        metrics=HttpMetrics(number, store, writer),
        metrics_guard=MetricsGuard(settings),
        coin=ContractCodec("PlatformCoin"),
        escrow=ContractCodec("PurchaseEscrow"),
        book=ContractCodec("CreditBook"),
        pool=ContractCodec("LenderPool"),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        context.waiters.stop()
        context.feed.stop()

    app = FastAPI(
        title="Plaza bridge",
        description=_DESCRIPTION,
        version=version("plaza"),
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.context = context
    app.add_middleware(Envelope, metrics=context.metrics)
    app.add_exception_handler(Problem, problems.on_problem)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    app.add_exception_handler(RequestValidationError, problems.on_validation_error)
    for resource in (
        purchases,  # these two are asked most, and routes are gone through one after the other
        events,
        accounts,
        topups,
        redemptions,
        transfers,
        payment_requests,
        disputes,
        sales_facts,
        credit_offers,  # before the lines, whose ids its path would be taken for
        credit_lines,
        pool,
        operations,
        webhooks,
        api_keys,
        reconciliation,
        network,
        pay_requests,
        pay,
    ):
        app.include_router(resource.router, prefix="/v1")
    app.include_router(health.router)
    app.include_router(metrics.router)
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(describe())
        return describe()

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _complete(schema: dict[str, Any]) -> None:
    """Say of every route what all of its kind have in common."""
    schemas = schema["components"]["schemas"]
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
    _restore_examples(schemas)
    for path in schema["paths"].values():
        for method, route in path.items():
            codes = list(_ALWAYS)
            if "security" in route:
                codes += _WITH_KEY
            if method == "post":
                codes += _WITH_BODY
            for parameter in route.get("parameters", ()):
                if parameter["name"] == "Idempotency-Key":
                    parameter["required"] = True
                    parameter["schema"] = {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"}
                    codes += _WITH_IDEMPOTENCY
            for status, response in documented(*codes).items():
                _merge(route["responses"], str(status), response)
            for response in route["responses"].values():
                for example in response["content"].get(MEDIA_TYPE, {}).get("examples", {}).values():
                    example["value"].setdefault("param", None)  # as in _restore_examples
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form of a 422
        schemas.pop(name, None)


def _restore_examples(schemas: dict[str, Any]) -> None:
    """FastAPI leaves every null out of its document, and so breaks examples that need one."""
    models: list[type[BaseModel]] = [*Input.__subclasses__(), *Output.__subclasses__()]
    while models:
        model = models.pop()
        models += model.__subclasses__()
        extra = model.model_config.get("json_schema_extra")
        if isinstance(extra, dict) and model.__name__ in schemas:
            schemas[model.__name__]["examples"] = extra["examples"]


def _merge(responses: dict[str, Any], status: str, more: dict[str, Any]) -> None:
    """Add documented problems to those a route documents with the same status."""
    content = responses.setdefault(status, more)["content"]
    if status == "422":
        content.pop("application/json", None)
    problems_ = content.setdefault(MEDIA_TYPE, more["content"][MEDIA_TYPE])
    problems_["examples"].update(more["content"][MEDIA_TYPE]["examples"])
