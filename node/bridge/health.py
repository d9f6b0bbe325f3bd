"""Whether the node is alive, and whether it does its work. Public, outside /v1."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.context import Context, Ctx
from node.bridge.rows import table
from node.bridge.values import Output
from node.chain.rpc import RpcError, RpcUnavailable
from node.index.reconcile import LAST_ID
from node.store.models import LastReconciliation, Worker, WorkerStatus

router = APIRouter(prefix="/health", tags=["public"])

MAX_HEARTBEAT_AGE_SECONDS = 15
MAX_INDEX_LAG_BLOCKS = 50
_RPC_SECONDS = 3.0


class Live(Output):
    status: str

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"status": "ok"}]})


class WorkerHealth(Output):
    """One worker: the one that leads indexes; the others help, and stand by."""

    name: str
    leads: bool
    started_at: int
    heartbeat_age_seconds: float
    last_error: str | None


class Ready(Output):
    """`problems` is empty where the node is ready."""

    status: str
    problems: list[str]
    heartbeat_age_seconds: float | None = Field(description="of the worker that leads")
    head_block: int | None
    indexed_block: int | None
    chain_block: int | None
    conflicts: int | None
    drift: int | None = Field(
        description="differences the last comparison of database and chain found; null before one"
    )
    reconciled_block: int | None = Field(description="the block it was of")
    last_error: str | None = Field(description="of the worker that leads")
    workers: list[WorkerHealth] = Field(description="those heard of lately")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "status": "ok",
                    "problems": [],
                    "heartbeat_age_seconds": 0.2,
                    "head_block": 17,
                    "indexed_block": 17,
                    "chain_block": 17,
                    "conflicts": 0,
                    "drift": 0,
                    "reconciled_block": 12,
                    "last_error": None,
                    "workers": [
                        {
                            "name": "plaza-1-7311-09c2a51b3c0de4f2",
                            "leads": True,
                            "started_at": 1789100000,
                            "heartbeat_age_seconds": 0.1,
                            "last_error": None,
                        }
                    ],
                }
            ]
        },
    )


@router.get("/live", response_model=Live)
async def live() -> Response:
    """The bridge answers."""
    return answer(Live(status="ok"))


@router.get(
    "/ready",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Not ready; `problems` says why"}},
)
async def ready(context: Ctx) -> Response:
    """The whole node works: database, worker, index and chain, and the books agree."""
    problems: list[str] = []
    row = reconciled = None
    workers: Sequence[Row[Any]] = []
    try:
        row, reconciled, workers = await context.store.read(_standing)
    except SQLAlchemyError as error:
        problems.append(f"the database does not answer: {type(error).__name__}")
    block, trouble = await _chain_block(context)
    if trouble is not None:
        problems.append(trouble)
    now = context.wall_milliseconds()
    age = None if row is None else (now - row.heartbeat_at) / 1000
    problems += _worker_problems(row, age, block)
    if reconciled is not None and reconciled.differences:
        problems.append(
            f"database and chain differ in {reconciled.differences} places at block"
            f" {reconciled.block_number}: GET /v1/reconciliation names them"
        )
    shown = Ready(
        status="not ready" if problems else "ok",
        problems=problems,
        heartbeat_age_seconds=age,
        head_block=row.head_block if row else None,
        indexed_block=row.indexed_block if row else None,
        chain_block=block,
        conflicts=row.conflicts if row else None,
        drift=reconciled.differences if reconciled else None,
        reconciled_block=reconciled.block_number if reconciled else None,
        last_error=row.last_error if row else None,
        workers=[
            WorkerHealth(
                name=worker.name,
                leads=row is not None and row.leader == worker.name,
                started_at=worker.started_at,
                heartbeat_age_seconds=(now - worker.heartbeat_at) / 1000,
                last_error=worker.last_error,
            )
            for worker in workers
            if now - worker.heartbeat_at <= MAX_HEARTBEAT_AGE_SECONDS * 1000
        ],
    )
    return answer(shown, 503 if problems else 200)


def _worker_problems(row: Row[Any] | None, age: float | None, block: int | None) -> list[str]:
    if row is None or age is None:
        return ["no worker has run yet"]
    problems = []
    if age > MAX_HEARTBEAT_AGE_SECONDS:
        problems.append(f"the worker was last heard of {age:.0f} seconds ago")
    lag = max(row.head_block, block or 0) - row.indexed_block
    if lag > MAX_INDEX_LAG_BLOCKS:
        problems.append(f"the index is {lag} blocks behind the chain")
    if row.conflicts:
        problems.append(f"{row.conflicts} transactions are in conflict: people must look")
    return problems


async def _chain_block(context: Context) -> tuple[int | None, str | None]:
    try:
        number = await asyncio.wait_for(context.rpc.call("eth_blockNumber"), _RPC_SECONDS)
    except (RpcError, RpcUnavailable, TimeoutError) as error:
        return None, f"the chain does not answer: {error or 'too slow'}"
    return int(number, 16), None


def _standing(
    session: Session,
) -> tuple[Row[Any] | None, Row[Any] | None, Sequence[Row[Any]]]:
    """What the leading worker says of the node, the last reconciliation, and all workers."""
    status, reconciled, workers = (
        table(WorkerStatus),
        table(LastReconciliation),
        table(Worker),
    )
    return (
        session.execute(select(status).where(status.c.id == 1)).one_or_none(),
        session.execute(select(reconciled).where(reconciled.c.id == LAST_ID)).one_or_none(),
        session.execute(select(workers).order_by(workers.c.started_at, workers.c.name)).all(),
    )
