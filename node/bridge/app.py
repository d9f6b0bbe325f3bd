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
from starlette.exceptions import HTTPException

from node.bridge import (
    accounts,
    api_keys,
    chain_transactions,
    credit_lines,
    credit_offers,
    disputes,
    events,
    health,
    line_actions,
    line_records,
    metrics,
    network,
    openapi,
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
    scores,
    topups,
    transfers,
    webhooks,
    x402,
)
from node.bridge.auth import KeyRing
from node.bridge.clock import ChainClock
from node.bridge.context import Context
from node.bridge.metrics import HttpMetrics, MetricsGuard
from node.bridge.middleware import Envelope
from node.bridge.problems import Problem
from node.bridge.stream import Feed
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
        rpc: asked for the chain's time and health, and what it would say to a payment by x402;
            what is to be done goes by the store.
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
        # Ours are /metrics and the log; looking for another provider costs each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        generate_unique_id_function=openapi.name_operation,
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
        line_actions,
        line_records,
        scores,
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
    app.include_router(chain_transactions.router, prefix="/v1")
    app.include_router(chain_transactions.operations_router, prefix="/v1")
    app.include_router(x402.router)  # at the paths that its clients know
    app.include_router(health.router)
    app.include_router(metrics.router)
    describe = app.openapi

    def describe_in_full() -> dict[str, Any]:
        if app.openapi_schema is None:
            openapi.complete(describe())
        return describe()

    app.openapi = describe_in_full  # type: ignore[method-assign]
    return app
