"""What happened, in order: the bridge writes what was asked, the indexer what the chain did."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Request
from pydantic import ConfigDict, Field
from sqlalchemy import Integer, bindparam
from sqlalchemy.orm import Session
from sse_starlette.sse import EventSourceResponse
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.auth import Reader, bearer_of
from node.bridge.context import Context, Ctx
from node.bridge.pagination import Listed
from node.bridge.problems import Problem, documented
from node.bridge.rows import add, find, owned, table
from node.bridge.stream import PING_SECONDS, SEND_SECONDS, stream_events
from node.bridge.values import Output, Query, Time
from node.store import models
from node.store.events import event_values

router = APIRouter(prefix="/events", tags=["events"])

_EVENTS = table(models.Event)
_LIST = (
    owned(models.Event, bindparam("its_merchant"))
    .where(_EVENTS.c.seq > bindparam("after"))
    .order_by(_EVENTS.c.seq)
    .limit(bindparam("count", type_=Integer))
)


class EventsQuery(Query):
    after: int = Field(0, ge=0, le=2**63 - 1, description="the last `seq` that was read")
    limit: int = Field(100, ge=1, le=1000)


class StreamQuery(Query):
    after: int | None = Field(
        None,
        ge=0,
        le=2**63 - 1,
        description="the last `seq` that was read; without it: from now on",
    )
    types: str | None = Field(
        None,
        max_length=1000,
        pattern=r"^[a-z_]+\.([a-z_]+|\*)(,[a-z_]+\.([a-z_]+|\*))*$",
        description='comma-separated, such as "purchase.released,topup.*"; without it: all',
    )


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
) -> str:
    """Write an event of "resource.what", such as "purchase.shipped", and return its id."""
    event_id = context.ids.new("evt")
    add(
        session,
        models.Event,
        id=event_id,
        merchant_id=merchant_id,
        type=event_type,
        resource_type=event_type.partition(".")[0],
        resource_id=resource_id,
        cause=None,
        data=data,
        created_at=context.wall_now(),
    )
    return event_id


def list_events(session: Session, merchant_id: str, query: EventsQuery) -> dict[str, Any]:
    """An `Events` as plain values: models would cost three times as much in the busiest list."""
    which = {"its_merchant": merchant_id, "after": query.after, "count": query.limit + 1}
    rows = session.execute(_LIST, which).all()
    shown = rows[: query.limit]
    return {
        "data": [event_values(row) for row in shown],
        "has_more": len(rows) > query.limit,
        "next_after": shown[-1].seq if shown else query.after,
    }


def show_event(session: Session, merchant_id: str, event_id: str) -> Event:
    row = find(session, models.Event, merchant_id, event_id, "event")
    return Event(**{**event_values(row), "created_at": row.created_at})


# -------------------------------------------------------------------------------- endpoints


@router.get("", response_model=Events)
async def list_(context: Ctx, caller: Reader, query: Listed[EventsQuery]) -> Response:
    """What happened after a `seq`, oldest first."""
    events = await context.store.read(
        lambda session: list_events(session, caller.merchant_id, query)
    )
    return Response(orjson.dumps(events), media_type="application/json")


@router.get(
    "/stream",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "Server-sent events: `id` is the `seq`, `event` the type, `data` the"
            " event as elsewhere",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": "id: 42\r\nevent: topup.succeeded\r\n"
                    'data: {"id":"evt_01980ab2c3d47e5f8a9b0c1d2e3f4a5b","seq":42,…}\r\n\r\n',
                }
            },
        },
        **documented("too_many_streams"),
    },
)
async def stream(
    request: Request,
    context: Ctx,
    caller: Reader,
    query: Listed[StreamQuery],
    last_event_id: Annotated[
        str | None,
        Header(alias="Last-Event-ID", description="the last `id` that was read; before `after`"),
    ] = None,
) -> EventSourceResponse:
    """What happens, as it happens, oldest first; and before that what happened after a `seq`.

    A comment comes every 15 seconds. The stream ends when the bridge stops, or the key is revoked:
    connect again with the last `id`.
    """
    after = query.after
    if last_event_id is not None:
        if not (last_event_id.isascii() and last_event_id.isdigit()) or len(last_event_id) > 18:
            raise Problem(
                "invalid_request",
                f"Last-Event-ID: {last_event_id[:40]!r} is no `seq` of an event",
                param="Last-Event-ID",
            )
        after = int(last_event_id)
    secret = bearer_of(request)

    async def is_welcome() -> bool:
        return await context.key_ring.caller(secret) is not None

    events = await stream_events(
        context.store,
        context.feed,
        caller.merchant_id,
        after,
        None if query.types is None else query.types.split(","),
        is_welcome,
    )
    return EventSourceResponse(events, ping=PING_SECONDS, send_timeout=SEND_SECONDS)


@router.get("/{event_id}", response_model=Event, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, event_id: str) -> Response:
    return answer(
        await context.store.read(lambda session: show_event(session, caller.merchant_id, event_id))
    )
