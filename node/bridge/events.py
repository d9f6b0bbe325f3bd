"""What happened, in order: the bridge writes what was asked, the indexer what the chain did."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.context import Context, Ctx
from node.bridge.pagination import Listed
from node.bridge.problems import documented
from node.bridge.rows import add, find, owned, table
from node.bridge.values import Output, Query, Time, rfc3339
from node.store import models

router = APIRouter(prefix="/events", tags=["events"])


class EventsQuery(Query):
    after: int = Field(0, ge=0, le=2**63 - 1, description="the last `seq` that was read")
    limit: int = Field(100, ge=1, le=1000)


class Event(Output):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "evt_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "seq": 42,
                    "type": "topup.succeeded",
                    "resource_type": "topup",
                    "resource_id": "top_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "data": {
                        "status": "succeeded",
                        "amount": "50000000",
                        "block_number": 17,
                        "tx_hash": "0x" + "5f" * 32,
                    },
                    "created_at": "2026-01-31T09:15:00Z",
                }
            ]
        },
    )

    id: str
    seq: int = Field(description="rises with every event; gaps belong to other merchants")
    type: str
    resource_type: str
    resource_id: str
    data: dict[str, Any]
    created_at: Time


class Events(Output):
    """A part of the events, oldest first."""

    data: list[Event]
    has_more: bool
    next_after: int = Field(description="`after` of the next part")


# ---------------------------------------------------------------------------------- service


def record(
    session: Session,
    context: Context,
    merchant_id: str,
    event_type: str,
    resource_id: str,
    data: dict[str, Any],
) -> None:
    """Write an event of "resource.what", such as "purchase.shipped"."""
    add(
        session,
        models.Event,
        id=context.ids.new("evt"),
        merchant_id=merchant_id,
        type=event_type,
        resource_type=event_type.partition(".")[0],
        resource_id=resource_id,
        cause=None,
        data=data,
        created_at=context.wall_now(),
    )


def list_events(session: Session, merchant_id: str, query: EventsQuery) -> dict[str, Any]:
    """An `Events` as plain values: models would cost three times as much in the busiest list."""
    seq = table(models.Event).c.seq
    rows = session.execute(
        owned(models.Event, merchant_id)
        .where(seq > query.after)
        .order_by(seq)
        .limit(query.limit + 1)
    ).all()
    shown = rows[: query.limit]
    return {
        "data": [_values(row) for row in shown],
        "has_more": len(rows) > query.limit,
        "next_after": shown[-1].seq if shown else query.after,
    }


def show_event(session: Session, merchant_id: str, event_id: str) -> Event:
    row = find(session, models.Event, merchant_id, event_id, "event")
    return Event(**{**_values(row), "created_at": row.created_at})


def _values(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "seq": row.seq,
        "type": row.type,
        "resource_type": row.resource_type,
        "resource_id": row.resource_id,
        "data": row.data,
        "created_at": rfc3339(row.created_at),
    }


# -------------------------------------------------------------------------------- endpoints


@router.get("", response_model=Events)
async def list_(context: Ctx, caller: Reader, query: Listed[EventsQuery]) -> Response:
    """What happened after a `seq`, oldest first."""
    events = await context.store.read(
        lambda session: list_events(session, caller.merchant_id, query)
    )
    return Response(orjson.dumps(events), media_type="application/json")


@router.get("/{event_id}", response_model=Event, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, event_id: str) -> Response:
    return answer(
        await context.store.read(lambda session: show_event(session, caller.merchant_id, event_id))
    )
