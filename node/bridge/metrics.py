"""`GET /metrics` for Prometheus: what this process serves, and how the whole node stands.

HTTP figures are this process's own, told apart by the label `bridge`: several share one port, and a
scrape meets any of them. Figures of the node come from the database, the same from each process.

Labels have few values: route templates, never paths or ids. No query reads more than what is
unsettled, the last row of an index, or the last hour of one.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import bindparam, func, select
from sqlalchemy.engine import Row
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.responses import PlainTextResponse, Response

from node.bridge.problems import Problem, documented
from node.bridge.rows import table
from node.bridge.writer import GroupWriter
from node.chain.rpc import Rpc, RpcError, RpcUnavailable
from node.settings import Settings
from node.store import Store, models
from node.store.ids import earliest_id
from node.store.models import ChainTxStatus, OperationStatus

router = APIRouter(tags=["public"])

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asked for

_RPC_SECONDS = 3.0
_RECENT_SECONDS = 3600
# An answer may wait for the chain (`Prefer: wait`), so the last bounds are long.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
_OPEN_STATES = (OperationStatus.QUEUED, OperationStatus.SUBMITTED, OperationStatus.CONFLICT)
_RECENT_ENDS = (OperationStatus.FAILED, OperationStatus.CANCELED)
# What a proxy adds: with any of these, the peer's address says nothing of who asks.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")

_OPERATIONS, _CHAIN_TXS = table(models.Operation), table(models.ChainTx)
_BLOCKS, _EVENTS = table(models.Block), table(models.Event)
_WORKER, _RECONCILED = table(models.WorkerStatus), table(models.LastReconciliation)
# All by the indexes on (status, id); counting what is done would read the whole past.
_COUNT_OPEN = (
    select(_OPERATIONS.c.status, func.count())
    .where(_OPERATIONS.c.status.in_(_OPEN_STATES))
    .group_by(_OPERATIONS.c.status)
)
_COUNT_RECENT = (
    select(_OPERATIONS.c.status, func.count())
    .where(_OPERATIONS.c.status.in_(_RECENT_ENDS), _OPERATIONS.c.id >= bindparam("first"))
    .group_by(_OPERATIONS.c.status)
)
_OLDEST_QUEUED = (
    select(_OPERATIONS.c.created_at)
    .where(_OPERATIONS.c.status == OperationStatus.QUEUED)
    .order_by(_OPERATIONS.c.id)
    .limit(1)
)
_COUNT_SIGNED = select(func.count()).where(_CHAIN_TXS.c.status == ChainTxStatus.SIGNED)
_NEWEST_BLOCK = (
    select(_BLOCKS.c.number, _BLOCKS.c.timestamp).order_by(_BLOCKS.c.number.desc()).limit(1)
)
_LAST_SEQ = select(func.max(_EVENTS.c.seq))


class HttpMetrics:
    """What one bridge process counts, in a registry of its own.

    Args:
        bridge: which of the node's bridge processes this is, from 0.
    """

    def __init__(self, bridge: int, store: Store, writer: GroupWriter) -> None:
        self.registry = CollectorRegistry()
        self._bridge = str(bridge)
        self._series: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "plaza_http_requests_total",
            "Requests answered",
            ("bridge", "method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "plaza_http_request_seconds",
            "Time to answer, including waits that were asked for",
            ("bridge", "method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        in_progress = Gauge(
            "plaza_http_requests_in_progress",
            "Requests not answered yet",
            ("bridge",),
            registry=self.registry,
        )
        self.in_progress = in_progress.labels(self._bridge)
        waiting = Gauge(
            "plaza_database_writes_waiting",
            "Transactions that wait for the writer",
            ("bridge",),
            registry=self.registry,
        )
        waiting.labels(self._bridge).set_function(lambda: writer.waiting)
        connections = Gauge(
            "plaza_database_connections",
            "Connections of the pools, by use",
            ("bridge", "pool", "state"),
            registry=self.registry,
        )
        for pool in store.pools:
            for state, of in (("in_use", pool.in_use), ("idle", pool.idle)):
                connections.labels(self._bridge, pool.name, state).set_function(of)

    def answered(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """Count a request.

        Args:
            scope: of ASGI, after the application has routed it.
            status: what was answered; 0 if nothing was.
        """
        method = scope["method"] if scope["method"] in _METHODS else "other"
        which = (method, route_of(scope), str(status))
        series = self._series.get(which)
        if series is None:  # found by labels it costs several times as much
            series = self._series[which] = (
                self._requests.labels(self._bridge, *which),
                self._seconds.labels(self._bridge, *which[:2]),
            )
        requests, took = series
        requests.inc()
        took.observe(seconds)


def route_of(scope: Mapping[str, Any]) -> str:
    """The template of the route a request was for, such as "/v1/accounts/{account_id}"; "none"
    where there is none."""
    template: str | None = getattr(scope.get("route"), "path", None)
    if template is None:
        return "none"
    # A router included in another knows its own part of the path only.
    missing = scope["path"].count("/") - template.count("/")
    return "/".join(scope["path"].split("/")[: missing + 1]) + template


class MetricsGuard:
    """Who may read the metrics: whoever has the token, or, without one, this machine.

    Raises:
        ValueError: the token's file is empty.
    """

    def __init__(self, settings: Settings) -> None:
        self._on = settings.metrics
        self._token: bytes | None = None
        if settings.metrics_token_file is not None:
            self._token = settings.metrics_token_file.read_bytes().strip()
            if not self._token:
                raise ValueError(f"{settings.metrics_token_file} holds no token")

    def check(self, request: Request) -> None:
        """Raises:
        Problem: not_found (where it is off, or not for this machine), unauthorized.
        """
        if self._on and self._token is not None:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(given.strip().encode(), self._token)
            if scheme.lower() == "bearer" and same:
                return
            raise Problem(
                "unauthorized",
                "send the token of the metrics as `Authorization: Bearer …`",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not self._on or not _is_local(request):
            raise Problem("not_found", "there is nothing at /metrics")


def _is_local(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


# ------------------------------------------------------------------------------ the whole node


class _Figures(NamedTuple):
    """One consistent read of the database."""

    open: dict[str, int]
    recent: dict[str, int]
    oldest_queued_at: int | None
    signed: int
    newest_block: tuple[int, int] | None  # number and time
    last_seq: int
    worker: Row[Any] | None
    reconciled: Row[Any] | None


@dataclass(frozen=True)
class _Node(Collector):
    """The node at one moment, as families of gauges.

    Attributes:
        figures: None where the database does not answer.
        chain_block: None where the chain does not.
        now: wall clock, unix seconds.
    """

    figures: _Figures | None
    chain_block: int | None
    now: float

    def collect(self) -> Iterator[Metric]:
        yield _gauge("chain_up", "Whether the chain answers", self.chain_block is not None)
        yield _gauge("database_up", "Whether the database answers", self.figures is not None)
        if self.chain_block is not None:
            yield _gauge("chain_block", "Newest block by the chain's word", self.chain_block)
        if self.figures is not None:
            yield from self._operations(self.figures)
            yield from self._index(self.figures)
            yield from self._reconciliation(self.figures)

    def _operations(self, figures: _Figures) -> Iterator[Metric]:
        yield _by_state("operations", "Operations that are not settled", _OPEN_STATES, figures.open)
        yield _by_state(
            "operations_ended_last_hour",
            "Operations made in the last hour that failed or were canceled",
            _RECENT_ENDS,
            figures.recent,
        )
        queued_at = figures.oldest_queued_at
        age = 0.0 if queued_at is None else max(self.now - queued_at, 0.0)
        yield _gauge("operations_oldest_queued_seconds", "Age of the oldest not signed yet", age)
        backlog = figures.open.get(OperationStatus.QUEUED, 0) + figures.signed
        yield _gauge("outbox_backlog", "Operations to sign, and signed ones to mine", backlog)
        yield _gauge("outbox_signed", "Signed transactions that are not mined", figures.signed)
        yield _gauge("event_seq", "The newest event", figures.last_seq)

    def _index(self, figures: _Figures) -> Iterator[Metric]:
        if figures.newest_block is not None:
            number, timestamp = figures.newest_block
            yield _gauge("index_block", "Newest block indexed", number)
            yield _gauge("index_block_time", "Its time, unix seconds", timestamp)
        worker = figures.worker
        if worker is None:
            return
        heartbeat = self.now - worker.heartbeat_at / 1000
        yield _gauge("worker_heartbeat_age_seconds", "Since the worker was heard of", heartbeat)
        yield _gauge("transactions_in_conflict", "Transactions for people", worker.conflicts)
        if figures.newest_block is None:
            return
        number, timestamp = figures.newest_block
        lag = max(worker.head_block, self.chain_block or 0, number) - number
        chain_now = worker.chain_time + self.now - worker.chain_time_read_at / 1000
        # A chain that has no new block is not behind, however long ago its last one was.
        seconds = max(chain_now - timestamp, 0.0) if lag else 0.0
        yield _gauge("index_lag_blocks", "Blocks of the chain not indexed yet", lag)
        yield _gauge("index_lag_seconds", "How old the index is, by the chain's clock", seconds)

    def _reconciliation(self, figures: _Figures) -> Iterator[Metric]:
        last = figures.reconciled
        if last is None:
            return
        yield _gauge("reconciliation_drift", "Differences the last one found", last.differences)
        yield _gauge("reconciliation_block", "The block it was of", last.block_number)
        yield _gauge(
            "reconciliation_age_seconds", "Since it was made", max(self.now - last.finished_at, 0.0)
        )


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"plaza_{name}", words, value=value)


def _by_state(
    name: str, words: str, states: tuple[OperationStatus, ...], found: Mapping[str, int]
) -> Metric:
    """Every state, so that none disappears when there is nothing in it."""
    family = GaugeMetricFamily(f"plaza_{name}", words, labels=("state",))
    for state in states:
        family.add_metric((str(state),), found.get(state, 0))
    return family


def _read(session: Session, now: float) -> _Figures:
    first = earliest_id("op", int((now - _RECENT_SECONDS) * 1000))
    block = session.execute(_NEWEST_BLOCK).one_or_none()
    return _Figures(
        open=_counted(session.execute(_COUNT_OPEN)),
        recent=_counted(session.execute(_COUNT_RECENT, {"first": first})),
        oldest_queued_at=session.scalar(_OLDEST_QUEUED),
        signed=session.scalar(_COUNT_SIGNED) or 0,
        newest_block=None if block is None else (block.number, block.timestamp),
        last_seq=session.scalar(_LAST_SEQ) or 0,
        worker=session.execute(select(_WORKER).where(_WORKER.c.id == 1)).one_or_none(),
        reconciled=session.execute(select(_RECONCILED).where(_RECONCILED.c.id == 1)).one_or_none(),
    )


def _counted(rows: Iterable[Any]) -> dict[str, int]:
    return {row[0]: row[1] for row in rows}


async def _chain_block(rpc: Rpc) -> int | None:
    try:
        return int(await asyncio.wait_for(rpc.call("eth_blockNumber"), _RPC_SECONDS), 16)
    except (RpcError, RpcUnavailable, TimeoutError):
        return None


# -------------------------------------------------------------------------------- endpoints

_EXAMPLE = """\
# HELP plaza_http_requests_total Requests answered
# TYPE plaza_http_requests_total counter
plaza_http_requests_total{bridge="0",method="POST",route="/v1/topups",status="202"} 17.0
# HELP plaza_index_lag_blocks Blocks of the chain not indexed yet
# TYPE plaza_index_lag_blocks gauge
plaza_index_lag_blocks 0.0
"""


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={
        200: {"content": {"text/plain": {"example": _EXAMPLE}}},
        **documented("not_found", "unauthorized"),
    },
)
async def metrics(request: Request) -> Response:
    """For Prometheus. From this machine only, or with the token of the settings."""
    context = request.app.state.context  # by hand: the context is made of this module's parts
    context.metrics_guard.check(request)
    now = context.wall_milliseconds() / 1000
    chain = asyncio.create_task(_chain_block(context.rpc))
    figures = None
    with suppress(SQLAlchemyError):  # told by database_up
        figures = await context.store.read(lambda session: _read(session, now))
    node = _Node(figures, await chain, now)
    text = generate_latest(context.metrics.registry) + generate_latest(node)
    return Response(text, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
