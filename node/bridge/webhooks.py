"""Webhook endpoints: where a merchant's events are posted to, and what became of each.

The posting itself is the worker's (node.webhooks.deliverer). A secret is shown once, in the answer
that made it, and kept sealed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field, StringConstraints
from sqlalchemy import func, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.auth import WebhookHolder
from node.bridge.context import Context, Ctx
from node.bridge.events import Event, record, show_event
from node.bridge.idempotency import Command, Outcome, WebhooksCommand
from node.bridge.pagination import Listed, ListQuery, page
from node.bridge.problems import Problem, documented
from node.bridge.rows import add, change, find, owned, table
from node.bridge.values import Input, Note, Output, Page, Time
from node.bridge.waiting import last_seq
from node.keys import NONCE_BYTES
from node.settings import DAY
from node.store import models
from node.store.models import DeliveryStatus, EndpointStatus
from node.webhooks import queue
from node.webhooks.addresses import RefusedUrl, check

router = APIRouter(prefix="/webhook_endpoints", tags=["webhooks"])

MAX_ENDPOINTS = 50
SECRET_PREFIX = "whsec_"  # noqa: S105
_SECRET_BYTES = 32
_WHAT = "webhook endpoint"

Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000),
    Field(description="https, at a public address; others only where the operator allows them"),
]
EventType = Annotated[str, StringConstraints(max_length=40, pattern=r"^[a-z_]+\.([a-z_]+|\*)$")]
EventTypes = Annotated[
    list[EventType],
    Field(min_length=1, max_length=100, description='such as "purchase.released", "topup.*"'),
]


# ---------------------------------------------------------------------------------- schemas


class WebhookEndpointRequest(Input):
    url: Url
    event_types: EventTypes | None = Field(None, description="without it: all")
    description: Note | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"url": "https://shop.example/plaza"},
                {
                    "url": "https://shop.example/plaza",
                    "event_types": ["purchase.*", "topup.succeeded"],
                    "description": "orders",
                },
            ]
        }
    )


class WebhookEndpointUpdate(Input):
    """What is left out stays as it is."""

    url: Url | None = None
    event_types: EventTypes | None = Field(None, description="null: all")
    description: Note | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"event_types": None}, {"description": "all orders"}]}
    )


class RotateRequest(Input):
    overlap: int = Field(
        default=DAY,
        ge=0,
        le=7 * DAY,
        description="seconds for which the old secret signs too; without it: a day",
    )

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"overlap": 0}]})


class ReplayRequest(Input):
    after: int = Field(ge=0, le=2**63 - 1, description="the last `seq` not to be sent again")

    model_config = ConfigDict(json_schema_extra={"examples": [{"after": 41}]})


class DeliveriesQuery(ListQuery):
    status: DeliveryStatus | None = None
    event: str | None = Field(None, max_length=40, description="id of an event")


class Replay(Output):
    after: int = Field(description="what is to be queued yet begins after this `seq`")
    until: int


class WebhookEndpoint(Output):
    id: str
    url: str
    event_types: list[str] | None = Field(description="null: all")
    description: str | None
    status: EndpointStatus
    disabled_reason: str | None
    secret: str | None = Field(description="only in the answer that made it")
    old_secret_until: Time | None = Field(description="until then the old secret signs too")
    replay: Replay | None = Field(description="a replay that is not queued to its end yet")
    created_at: Time
    updated_at: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "whe_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "url": "https://shop.example/plaza",
                    "event_types": ["purchase.*", "topup.succeeded"],
                    "description": "orders",
                    "status": "enabled",
                    "disabled_reason": None,
                    "secret": None,
                    "old_secret_until": None,
                    "replay": None,
                    "created_at": "2026-01-31T09:15:00Z",
                    "updated_at": "2026-01-31T09:15:00Z",
                }
            ]
        },
    )


class Attempt(Output):
    at: Time
    milliseconds: int
    response_status: int | None = Field(description="null: there was no answer")
    error: str | None


class WebhookDelivery(Output):
    id: str
    webhook_endpoint: str
    event: str = Field(description="also the `webhook-id`")
    event_seq: int
    event_type: str
    resource_id: str
    status: DeliveryStatus = Field(
        description="waiting: behind an earlier one of the resource; failed: given up"
    )
    attempts: int
    response_status: int | None = Field(description="of the last attempt")
    error: str | None = Field(description="why the last attempt had no answer")
    next_attempt_at: Time | None
    history: list[Attempt]
    created_at: Time
    finished_at: Time | None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "whd_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "webhook_endpoint": "whe_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "event": "evt_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "event_seq": 42,
                    "event_type": "topup.succeeded",
                    "resource_id": "top_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "status": "pending",
                    "attempts": 1,
                    "response_status": 500,
                    "error": None,
                    "next_attempt_at": "2026-01-31T09:15:05Z",
                    "history": [
                        {
                            "at": "2026-01-31T09:15:00Z",
                            "milliseconds": 12,
                            "response_status": 500,
                            "error": None,
                        }
                    ],
                    "created_at": "2026-01-31T09:15:00Z",
                    "finished_at": None,
                }
            ]
        },
    )


# ------------------------------------------------------------------------ service: endpoints


def create_endpoint(
    session: Session,
    context: Context,
    merchant_id: str,
    request: WebhookEndpointRequest,
    secret: bytes,
) -> Outcome:
    """Raises:
    Problem: limit_reached.
    """
    endpoints = table(models.WebhookEndpoint)
    there_are = session.scalar(
        select(func.count()).where(
            endpoints.c.merchant_id == merchant_id, endpoints.c.status != EndpointStatus.DELETED
        )
    )
    if there_are is not None and there_are >= MAX_ENDPOINTS:
        raise Problem("limit_reached", f"there are {there_are} webhook endpoints: delete one first")
    endpoint_id = context.ids.new("whe")
    now = context.wall_now()
    add(
        session,
        models.WebhookEndpoint,
        id=endpoint_id,
        merchant_id=merchant_id,
        url=request.url,
        description=request.description,
        event_types=request.event_types,
        status=EndpointStatus.ENABLED,
        disabled_reason=None,
        secret=context.seed.seal(secret, endpoint_id, context.random_bytes(NONCE_BYTES)),
        old_secret=None,
        old_secret_until=None,
        from_seq=last_seq(session),
        replay_after=None,
        replay_until=None,
        created_at=now,
        updated_at=now,
    )
    return Outcome("webhook_endpoint", endpoint_id, status_code=201)


def update_endpoint(
    session: Session,
    context: Context,
    merchant_id: str,
    endpoint_id: str,
    request: WebhookEndpointUpdate,
) -> Outcome:
    """Raises:
    Problem: not_found.
    """
    _hold(session, merchant_id, endpoint_id)
    return _changed(session, context, endpoint_id, request.model_dump(exclude_unset=True))


def enable_endpoint(
    session: Session, context: Context, merchant_id: str, endpoint_id: str
) -> Outcome:
    """Go on with what is open; what happened meanwhile comes by a replay.

    Raises:
        Problem: not_found, invalid_state.
    """
    endpoint = _hold(session, merchant_id, endpoint_id)
    if endpoint.status == EndpointStatus.ENABLED:
        raise _wrong_state(endpoint, "disabled")
    values = {
        "status": EndpointStatus.ENABLED,
        "disabled_reason": None,
        "from_seq": last_seq(session),
    }
    return _changed(session, context, endpoint_id, values)


def disable_endpoint(
    session: Session, context: Context, merchant_id: str, endpoint_id: str
) -> Outcome:
    """Raises:
    Problem: not_found, invalid_state.
    """
    endpoint = _hold(session, merchant_id, endpoint_id)
    _refuse_unless_enabled(endpoint)
    values = {"status": EndpointStatus.DISABLED, "disabled_reason": "on request"}
    return _changed(session, context, endpoint_id, values)


def delete_endpoint(
    session: Session, context: Context, merchant_id: str, endpoint_id: str
) -> Outcome:
    """End an endpoint for good; its secrets are wiped, its deliveries kept for their time.

    Raises:
        Problem: not_found.
    """
    _hold(session, merchant_id, endpoint_id)
    queue.cancel(session, endpoint_id, context.wall_now())
    values = {
        "status": EndpointStatus.DELETED,
        "secret": "",
        "old_secret": None,
        "old_secret_until": None,
        "replay_after": None,
        "replay_until": None,
    }
    return _changed(session, context, endpoint_id, values)


def rotate_secret(
    session: Session,
    context: Context,
    merchant_id: str,
    endpoint_id: str,
    overlap: int,
    secret: bytes,
) -> Outcome:
    """Give an endpoint a new secret; the old one signs too for `overlap` seconds.

    Raises:
        Problem: not_found, invalid_state: there are two secrets already, and both were promised.
    """
    endpoint = _hold(session, merchant_id, endpoint_id)
    now = context.wall_now()
    if overlap and endpoint.old_secret is not None and endpoint.old_secret_until > now:
        raise Problem(
            "invalid_state",
            f"the secret before this one is valid for {endpoint.old_secret_until - now} more"
            " seconds; an `overlap` of 0 ends both at once",
            param="overlap",
        )
    sealed = context.seed.seal(secret, endpoint_id, context.random_bytes(NONCE_BYTES))
    values = {
        "secret": sealed,
        "old_secret": endpoint.secret if overlap else None,
        "old_secret_until": now + overlap if overlap else None,
    }
    return _changed(session, context, endpoint_id, values)


def send_test(session: Session, context: Context, merchant_id: str, endpoint_id: str) -> Outcome:
    """Record an event that goes to this endpoint, whatever types it wants.

    Raises:
        Problem: not_found, invalid_state.
    """
    endpoint = _hold(session, merchant_id, endpoint_id)
    _refuse_unless_enabled(endpoint)
    data = {"status": endpoint.status, "url": endpoint.url}
    event_id = record(session, context, merchant_id, queue.TEST, endpoint_id, data)
    return Outcome("event", event_id)


def replay(
    session: Session, context: Context, merchant_id: str, endpoint_id: str, after: int
) -> Outcome:
    """Have all events after a seq sent again, as far as the endpoint wants them.

    Raises:
        Problem: not_found, invalid_state.
    """
    endpoint = _hold(session, merchant_id, endpoint_id)
    _refuse_unless_enabled(endpoint)
    if endpoint.replay_after is not None:
        raise Problem(
            "invalid_state",
            f"another replay is under way, from {endpoint.replay_after} to {endpoint.replay_until}",
            retryable=True,
        )
    until = last_seq(session)
    values = {} if after >= until else {"replay_after": after, "replay_until": until}
    return _changed(session, context, endpoint_id, values, status_code=202)


def show_endpoint(session: Session, merchant_id: str, endpoint_id: str) -> WebhookEndpoint:
    """One that was deleted too: for the answer that deleted it."""
    return _show(find(session, models.WebhookEndpoint, merchant_id, endpoint_id, _WHAT))


def list_endpoints(session: Session, merchant_id: str, query: ListQuery) -> Page[WebhookEndpoint]:
    endpoints = table(models.WebhookEndpoint)
    rows = owned(models.WebhookEndpoint, merchant_id).where(
        endpoints.c.status != EndpointStatus.DELETED
    )
    return page(session, rows, endpoints.c.id, query, _show)


def _find(session: Session, merchant_id: str, endpoint_id: str) -> Row[Any]:
    endpoint = find(session, models.WebhookEndpoint, merchant_id, endpoint_id, _WHAT)
    if endpoint.status == EndpointStatus.DELETED:
        raise Problem("not_found", f"the {_WHAT} {endpoint_id!r} was deleted", param="id")
    return endpoint


def _hold(session: Session, merchant_id: str, endpoint_id: str) -> Row[Any]:
    """The endpoint, as it stays until the transaction ends."""
    _find(session, merchant_id, endpoint_id)
    queue.lock(session, {endpoint_id})
    return _find(session, merchant_id, endpoint_id)


def _refuse_unless_enabled(endpoint: Row[Any]) -> None:
    if endpoint.status != EndpointStatus.ENABLED:
        raise _wrong_state(endpoint, "enabled")


def _wrong_state(endpoint: Row[Any], expected: str) -> Problem:
    return Problem(
        "invalid_state",
        f"the {_WHAT} {endpoint.id} is {endpoint.status}, not {expected}",
        actual=endpoint.status,
    )


def _changed(
    session: Session,
    context: Context,
    endpoint_id: str,
    values: dict[str, Any],
    status_code: int = 200,
) -> Outcome:
    values = {**values, "updated_at": context.wall_now()}
    change(session, models.WebhookEndpoint, endpoint_id, values)
    return Outcome("webhook_endpoint", endpoint_id, status_code=status_code)


def _show(row: Row[Any]) -> WebhookEndpoint:
    is_replaying = row.replay_after is not None
    return WebhookEndpoint(
        id=row.id,
        url=row.url,
        event_types=row.event_types,
        description=row.description,
        status=row.status,
        disabled_reason=row.disabled_reason,
        secret=None,
        old_secret_until=row.old_secret_until,
        replay=Replay(after=row.replay_after, until=row.replay_until) if is_replaying else None,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


# ----------------------------------------------------------------------- service: deliveries


def redeliver(
    session: Session, context: Context, merchant_id: str, endpoint_id: str, delivery_id: str
) -> Outcome:
    """Send one that is over once more, as a new delivery; or one that pauses, at once.

    Raises:
        Problem: not_found, invalid_state: it waits for an earlier one, or the endpoint is disabled.
    """
    endpoint = _hold(session, merchant_id, endpoint_id)
    _refuse_unless_enabled(endpoint)
    delivery = _find_delivery(session, merchant_id, endpoint_id, delivery_id)
    now = context.wall_milliseconds() / 1000
    if delivery.status == DeliveryStatus.WAITING:
        raise Problem(
            "invalid_state",
            f"the delivery {delivery_id} waits for an earlier one of {delivery.about}",
            actual=delivery.status,
        )
    if delivery.status == DeliveryStatus.PENDING:
        deliveries = table(models.WebhookDelivery)
        session.execute(
            deliveries.update()
            .where(deliveries.c.number == delivery.number)
            .values(next_attempt_at=int(now * 1000))
        )
        return Outcome("webhook_delivery", delivery_id)
    event = find(session, models.Event, merchant_id, delivery.event_id, "event")
    (new_id,) = queue.add(session, context.ids, endpoint, [event], now)
    return Outcome("webhook_delivery", new_id)


def show_delivery(
    session: Session, merchant_id: str, endpoint_id: str, delivery_id: str
) -> WebhookDelivery:
    return _show_delivery(_find_delivery(session, merchant_id, endpoint_id, delivery_id))


def list_deliveries(
    session: Session, merchant_id: str, endpoint_id: str, query: DeliveriesQuery
) -> Page[WebhookDelivery]:
    """Raises:
    Problem: not_found, invalid_request: the cursor is none of this list.
    """
    _find(session, merchant_id, endpoint_id)
    deliveries, events = table(models.WebhookDelivery), table(models.Event)
    rows = _deliveries_of(merchant_id, endpoint_id)
    if query.status is not None:
        rows = rows.where(deliveries.c.status == query.status)
    if query.event is not None:
        rows = rows.where(events.c.id == query.event)
    return page(session, rows, deliveries.c.number, query, _show_delivery, int)


def _deliveries_of(merchant_id: str, endpoint_id: str) -> Any:
    deliveries, events = table(models.WebhookDelivery), table(models.Event)
    return (
        owned(models.WebhookDelivery, merchant_id)
        .add_columns(
            events.c.id.label("event_id"),
            events.c.type.label("event_type"),
            events.c.resource_id.label("about"),
        )
        .join(events, events.c.seq == deliveries.c.event_seq)
        .where(deliveries.c.endpoint_id == endpoint_id)
    )


def _find_delivery(
    session: Session, merchant_id: str, endpoint_id: str, delivery_id: str
) -> Row[Any]:
    rows = _deliveries_of(merchant_id, endpoint_id).where(
        table(models.WebhookDelivery).c.id == delivery_id
    )
    row: Row[Any] | None = session.execute(rows).one_or_none()
    if row is None:
        raise Problem("not_found", f"no delivery {delivery_id!r}", param="delivery_id")
    return row


def _show_delivery(row: Row[Any]) -> WebhookDelivery:
    return WebhookDelivery(
        id=row.id,
        webhook_endpoint=row.endpoint_id,
        event=row.event_id,
        event_seq=row.event_seq,
        event_type=row.event_type,
        resource_id=row.about,
        status=row.status,
        attempts=row.attempts,
        response_status=row.response_status,
        error=row.error,
        next_attempt_at=None if row.next_attempt_at is None else row.next_attempt_at // 1000,
        history=[Attempt(**entry) for entry in row.history],
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


# -------------------------------------------------------------------------------- endpoints


async def _url_problem(context: Context, url: str | None) -> Problem | None:
    """Why nothing may be posted to a URL. Looked up before the transaction, raised inside it: the
    same request again is answered even when the name no longer leads anywhere."""
    if url is None:
        return None
    try:
        await check(url, context.settings.allowed_networks, context.look_up)
    except RefusedUrl as error:
        return Problem("url_refused", f"url: {error}", param="url")
    return None


async def _run_with_secret(
    command: Command, body: Input | None, work: Callable[[Session, bytes], Outcome]
) -> Response:
    """Run `work(session, secret)`, and show the secret if it is the one that was kept: a replay
    makes another, which is forgotten."""
    context, merchant_id = command.context, command.caller.merchant_id
    secret = context.random_bytes(_SECRET_BYTES)

    def show(session: Session, endpoint_id: str) -> WebhookEndpoint:
        row = find(session, models.WebhookEndpoint, merchant_id, endpoint_id, _WHAT)
        shown = _show(row)
        if not row.secret or context.seed.unseal(row.secret, endpoint_id) != secret:
            return shown
        text = SECRET_PREFIX + base64.b64encode(secret).decode()
        return shown.model_copy(update={"secret": text})

    return await command.run(body, lambda session: work(session, secret), show)


async def _run(
    command: Command, body: Input | None, work: Callable[[Session], Outcome]
) -> Response:
    merchant_id = command.caller.merchant_id
    return await command.run(
        body,
        work,
        lambda session, endpoint_id: show_endpoint(session, merchant_id, endpoint_id),
    )


@router.post(
    "",
    status_code=201,
    response_model=WebhookEndpoint,
    responses=documented("url_refused", "limit_reached"),
)
async def create(body: WebhookEndpointRequest, command: WebhooksCommand) -> Response:
    """Have events posted to a URL, from now on. The answer holds the secret that signs them, which
    is shown this once: not in a replay either."""
    context, merchant_id = command.context, command.caller.merchant_id
    problem = await _url_problem(context, body.url)

    def work(session: Session, secret: bytes) -> Outcome:
        if problem is not None:
            raise problem
        return create_endpoint(session, context, merchant_id, body, secret)

    return await _run_with_secret(command, body, work)


@router.get("", response_model=Page[WebhookEndpoint])
async def list_(context: Ctx, caller: WebhookHolder, query: Listed[ListQuery]) -> Response:
    return answer(
        await context.store.read(lambda session: list_endpoints(session, caller.merchant_id, query))
    )


@router.get("/{endpoint_id}", response_model=WebhookEndpoint, responses=documented("not_found"))
async def get(context: Ctx, caller: WebhookHolder, endpoint_id: str) -> Response:
    def show(session: Session) -> WebhookEndpoint:
        return _show(_find(session, caller.merchant_id, endpoint_id))

    return answer(await context.store.read(show))


@router.post(
    "/{endpoint_id}",
    response_model=WebhookEndpoint,
    responses=documented("not_found", "url_refused"),
)
async def update(
    endpoint_id: str, body: WebhookEndpointUpdate, command: WebhooksCommand
) -> Response:
    """Change URL, event types or description; what is left out stays as it is."""
    context, merchant_id = command.context, command.caller.merchant_id
    if "url" in body.model_fields_set and body.url is None:
        raise Problem("invalid_request", "url: an endpoint has one", param="url")
    problem = await _url_problem(context, body.url)

    def work(session: Session) -> Outcome:
        outcome = update_endpoint(session, context, merchant_id, endpoint_id, body)
        if problem is not None:
            raise problem
        return outcome

    return await _run(command, body, work)


@router.post(
    "/{endpoint_id}/enable",
    response_model=WebhookEndpoint,
    responses=documented("not_found", "invalid_state"),
)
async def enable(endpoint_id: str, command: WebhooksCommand) -> Response:
    """Go on with what is open, and with what happens from now on."""
    context, caller = command.context, command.caller
    return await _run(
        command, None, lambda s: enable_endpoint(s, context, caller.merchant_id, endpoint_id)
    )


@router.post(
    "/{endpoint_id}/disable",
    response_model=WebhookEndpoint,
    responses=documented("not_found", "invalid_state"),
)
async def disable(endpoint_id: str, command: WebhooksCommand) -> Response:
    """Post nothing, and queue nothing new; what is open stays so."""
    context, caller = command.context, command.caller
    return await _run(
        command, None, lambda s: disable_endpoint(s, context, caller.merchant_id, endpoint_id)
    )


@router.post(
    "/{endpoint_id}/delete", response_model=WebhookEndpoint, responses=documented("not_found")
)
async def delete(endpoint_id: str, command: WebhooksCommand) -> Response:
    """End an endpoint for good. What is open is canceled."""
    context, caller = command.context, command.caller
    return await _run(
        command, None, lambda s: delete_endpoint(s, context, caller.merchant_id, endpoint_id)
    )


@router.post(
    "/{endpoint_id}/rotate_secret",
    response_model=WebhookEndpoint,
    responses=documented("not_found", "invalid_state"),
)
async def rotate(
    endpoint_id: str, command: WebhooksCommand, body: RotateRequest | None = None
) -> Response:
    """Make a new secret, shown this once. The old one signs too, for `overlap` seconds."""
    context, merchant_id = command.context, command.caller.merchant_id
    overlap = DAY if body is None else body.overlap
    return await _run_with_secret(
        command,
        body,
        lambda session, secret: rotate_secret(
            session, context, merchant_id, endpoint_id, overlap, secret
        ),
    )


@router.post(
    "/{endpoint_id}/test",
    status_code=202,
    response_model=Event,
    responses=documented("not_found", "invalid_state"),
)
async def test(endpoint_id: str, command: WebhooksCommand) -> Response:
    """Send an event `webhook_endpoint.test` to this endpoint alone; the answer is the event."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        None,
        lambda session: send_test(session, context, merchant_id, endpoint_id),
        lambda session, event_id: show_event(session, merchant_id, event_id),
    )


@router.post(
    "/{endpoint_id}/replay",
    status_code=202,
    response_model=WebhookEndpoint,
    responses=documented("not_found", "invalid_state"),
)
async def replay_(endpoint_id: str, body: ReplayRequest, command: WebhooksCommand) -> Response:
    """Send all events after a `seq` once more, under their old `webhook-id`s."""
    context, caller = command.context, command.caller
    return await _run(
        command, body, lambda s: replay(s, context, caller.merchant_id, endpoint_id, body.after)
    )


@router.get(
    "/{endpoint_id}/deliveries",
    response_model=Page[WebhookDelivery],
    responses=documented("not_found"),
)
async def deliveries(
    context: Ctx, caller: WebhookHolder, endpoint_id: str, query: Listed[DeliveriesQuery]
) -> Response:
    """What was posted and what will be, newest first; finished ones are kept for a time."""
    return answer(
        await context.store.read(
            lambda session: list_deliveries(session, caller.merchant_id, endpoint_id, query)
        )
    )


@router.get(
    "/{endpoint_id}/deliveries/{delivery_id}",
    response_model=WebhookDelivery,
    responses=documented("not_found"),
)
async def get_delivery(
    context: Ctx, caller: WebhookHolder, endpoint_id: str, delivery_id: str
) -> Response:
    def show(session: Session) -> WebhookDelivery:
        _find(session, caller.merchant_id, endpoint_id)
        return show_delivery(session, caller.merchant_id, endpoint_id, delivery_id)

    return answer(await context.store.read(show))


@router.post(
    "/{endpoint_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=WebhookDelivery,
    responses=documented("not_found", "invalid_state"),
)
async def redeliver_(endpoint_id: str, delivery_id: str, command: WebhooksCommand) -> Response:
    """Send it once more, under its old `webhook-id`: at once, or behind what is open for the same
    resource."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        None,
        lambda session: redeliver(session, context, merchant_id, endpoint_id, delivery_id),
        lambda session, id_: show_delivery(session, merchant_id, endpoint_id, id_),
    )
