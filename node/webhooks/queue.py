"""Deliveries in the database: which event goes where, and which is next.

A delivery is *pending* when it may be attempted and *waiting* while an earlier one of the same
resource to the same endpoint is not over; who ends a delivery lets the next one go. So whoever adds
or ends deliveries of an endpoint holds its row (`lock`), and sees what others have added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import BindParameter, Table, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.store.ids import Ids
from node.store.models import (
    DeliveryStatus,
    EndpointStatus,
    Event,
    WebhookDelivery,
    WebhookEndpoint,
)

TEST = "webhook_endpoint.test"
OPEN = (DeliveryStatus.PENDING, DeliveryStatus.WAITING)

_endpoints: Table = WebhookEndpoint.__table__  # type: ignore[assignment]
_deliveries: Table = WebhookDelivery.__table__  # type: ignore[assignment]
_events: Table = Event.__table__  # type: ignore[assignment]


_now: BindParameter[int] = bindparam("its_now")  # milliseconds
_endpoint: BindParameter[str] = bindparam("its_endpoint")
_resources: BindParameter[str] = bindparam("its_resources", expanding=True)

# Built once: to build a statement costs twice what it takes to run it.
_LOCK = (
    select(_endpoints)
    .where(_endpoints.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(_endpoints.c.id)
    .with_for_update()
)
_BUSY = (
    select(_deliveries.c.resource_id)
    .where(
        _deliveries.c.endpoint_id == _endpoint,
        _deliveries.c.resource_id.in_(_resources),
        _deliveries.c.status.in_(OPEN),
    )
    .distinct()
)
_ADD = insert(_deliveries).returning(_deliveries.c.number, sort_by_parameter_order=True)
_FIRST = (
    select(func.min(_deliveries.c.number))
    .where(
        _deliveries.c.endpoint_id == _endpoint,
        _deliveries.c.resource_id.in_(_resources),
        _deliveries.c.status.in_(OPEN),
    )
    .group_by(_deliveries.c.resource_id)
)
_LET_GO = (
    update(_deliveries)
    .where(
        _deliveries.c.number.in_(bindparam("numbers", expanding=True)),
        _deliveries.c.status == DeliveryStatus.WAITING,
    )
    .values(status=DeliveryStatus.PENDING, next_attempt_at=_now)
)
_WITH_DUE = select(_endpoints.c.id).where(
    _endpoints.c.status == EndpointStatus.ENABLED,
    exists().where(
        _deliveries.c.endpoint_id == _endpoints.c.id,
        _deliveries.c.status == DeliveryStatus.PENDING,
        _deliveries.c.next_attempt_at <= _now,
    ),
)
_DUE = (
    select(_deliveries.c.number, _deliveries.c.id.label("delivery_id"), _deliveries.c.attempts)
    .add_columns(*_events.c)
    .join(_events, _events.c.seq == _deliveries.c.event_seq)
    .where(
        _deliveries.c.endpoint_id == _endpoint,
        _deliveries.c.status == DeliveryStatus.PENDING,
        _deliveries.c.next_attempt_at <= _now,
    )
    .order_by(_deliveries.c.next_attempt_at, _deliveries.c.number)
    .limit(bindparam("most"))
)


def lock(session: Session, endpoint_ids: Collection[str]) -> list[Row[Any]]:
    """Hold endpoints until the transaction ends, and return their rows as they then are."""
    return list(session.execute(_LOCK, {"ids": list(endpoint_ids)}).all())


def wants(endpoint: Row[Any], event: Row[Any]) -> bool:
    """Whether an event is for an endpoint. A test is for the endpoint it tests, and no other."""
    if event.merchant_id != endpoint.merchant_id:
        return False
    if event.type == TEST:
        return bool(event.resource_id == endpoint.id)
    return endpoint.event_types is None or type_matches(event.type, endpoint.event_types)


def type_matches(event_type: str, wanted: Iterable[str]) -> bool:
    """Whether a type is among those wanted, such as "purchase.released" or "purchase.*"."""
    of_resource = f"{event_type.partition('.')[0]}.*"
    return any(one in (event_type, of_resource) for one in wanted)


def add(
    session: Session, ids: Ids, endpoint: Row[Any], events: Sequence[Row[Any]], now: float
) -> list[str]:
    """Queue events for an endpoint that is locked, in their order; return the deliveries' ids.

    Args:
        now: unix seconds; those that need not wait are due at once.
    """
    if not events:
        return []
    resources = {_in_order_with(event) for event in events}
    which = {"its_endpoint": endpoint.id, "its_resources": list(resources)}
    busy = set(session.scalars(_BUSY, which))
    rows = []
    for event in events:
        resource_id = _in_order_with(event)
        is_next = resource_id not in busy
        busy.add(resource_id)
        rows.append(
            {
                "id": ids.new("whd"),
                "merchant_id": endpoint.merchant_id,
                "endpoint_id": endpoint.id,
                "event_seq": event.seq,
                "resource_id": resource_id,
                "status": DeliveryStatus.PENDING if is_next else DeliveryStatus.WAITING,
                "attempts": 0,
                "next_attempt_at": int(now * 1000) if is_next else None,
                "history": [],
                "created_at": int(now),
            }
        )
    # Sorted, whoever reads what this returns: their numbers must rise in this order.
    session.execute(_ADD, rows)
    return [str(row["id"]) for row in rows]


def _in_order_with(event: Row[Any]) -> str:
    """Tests stand alone: one that failed must not hold up the next."""
    return str(event.id if event.type == TEST else event.resource_id)


def let_next_go(
    session: Session, endpoint_id: str, resource_ids: Collection[str], now: float
) -> None:
    """Make the next delivery of each resource pending, if none is; the endpoint is locked."""
    which = {"its_endpoint": endpoint_id, "its_resources": list(resource_ids)}
    numbers = session.scalars(_FIRST, which).all()
    if numbers:
        session.execute(_LET_GO, {"numbers": numbers, "its_now": int(now * 1000)})


def endpoints_with_due(session: Session, now: float) -> set[str]:
    """Return the ids of the enabled endpoints that have something to be attempted."""
    return set(session.scalars(_WITH_DUE, {"its_now": int(now * 1000)}))


def due(session: Session, endpoint_id: str, now: float, limit: int) -> list[Row[Any]]:
    """Return what is to be attempted at an endpoint, longest due first, with the events."""
    which = {"its_endpoint": endpoint_id, "its_now": int(now * 1000), "most": limit}
    return list(session.execute(_DUE, which).all())


def cancel(session: Session, endpoint_id: str, now: float) -> None:
    """End all that is open at an endpoint; it is locked."""
    session.execute(
        update(_deliveries)
        .where(_deliveries.c.endpoint_id == endpoint_id, _deliveries.c.status.in_(OPEN))
        .values(status=DeliveryStatus.CANCELED, next_attempt_at=None, finished_at=int(now))
    )


def sweep(session: Session, before: int, now: float, limit: int) -> int:
    """Delete deliveries that were over before a time (unix seconds); return how many.

    Those that stay open because their endpoint is disabled go by when they were made.
    """
    columns = _deliveries.c
    numbers = list(
        session.scalars(select(columns.number).where(columns.finished_at < before).limit(limit))
    )
    is_disabled = exists().where(
        _endpoints.c.id == columns.endpoint_id, _endpoints.c.status == EndpointStatus.DISABLED
    )
    stale = session.execute(
        select(columns.number, columns.endpoint_id, columns.resource_id)
        .where(columns.status.in_(OPEN), columns.created_at < before, is_disabled)
        .order_by(columns.number)
        .limit(limit - len(numbers))
    ).all()
    lock(session, {row.endpoint_id for row in stale})
    numbers += [row.number for row in stale]
    session.execute(delete(_deliveries).where(columns.number.in_(numbers)))
    for endpoint_id in {row.endpoint_id for row in stale}:
        resources = {row.resource_id for row in stale if row.endpoint_id == endpoint_id}
        let_next_go(session, endpoint_id, resources, now)
    return len(numbers)
