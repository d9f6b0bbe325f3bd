"""The loop that posts events to webhook endpoints.

Of all workers on a database one delivers: the one whose lease is in the row of `webhook_deliverer`.
Each of its transactions asks for that row first, so one that has lost the lease changes nothing any
more. A round:

1. What has come back is written down: done, to be tried again, or given up; and what waited behind
   it may go.
2. One look at the database: what is new, and what is due.
3. What is due is posted, by tasks that outlive the round: no transaction is open meanwhile. What an
   endpoint has no room for waits in memory until a POST to it has come back, or the next round.
4. New events become deliveries, in the transaction that moves the cursor past them.

A delivery is over only when its answer is in the database. So whatever dies whenever, it is posted
again, under the same webhook-id; and the next one of its resource has not gone before.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import orjson
import structlog
from sqlalchemy import Select, Table, bindparam, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.failpoints import reach
from node.keys import SealedSeed, SeedError
from node.store import Store
from node.store.events import event_values
from node.store.ids import Ids
from node.store.models import (
    DeliveryStatus,
    EndpointStatus,
    Event,
    WebhookDeliverer,
    WebhookDelivery,
    WebhookEndpoint,
)
from node.webhooks import queue
from node.webhooks.sender import Answer, Sender, signed_headers

HOUR = 3600
# Seconds from an attempt that failed to the next; there are as many attempts as numbers.
SCHEDULE = (0, 5, 300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
JITTER = 0.1  # a pause is longer by up to this share of it
LEASE_SECONDS = 10
ROUND_EVENTS = 500
MAX_IN_FLIGHT = 400  # to all endpoints
# Deliveries that are ready beside those under way, for each that may be: a round takes longer than
# a good receiver, and its POSTs need not wait for it.
AHEAD = 8
CLOSE_SECONDS = 2.0  # for what is under way when the worker stops
SWEEP_SECONDS = 60
SWEEP_ROWS = 1_000
# The cursor is moved past events that nobody wants only when they are as many: reading them again
# after a restart is cheaper than a commit for each.
_CURSOR_LAG = 5_000
_GONE = 410

log = structlog.get_logger(__name__)

_endpoints: Table = WebhookEndpoint.__table__  # type: ignore[assignment]
_deliveries: Table = WebhookDelivery.__table__  # type: ignore[assignment]
_events: Table = Event.__table__  # type: ignore[assignment]
_deliverer: Table = WebhookDeliverer.__table__  # type: ignore[assignment]


# Built once: to build a statement costs twice what it takes to run it.
_CHANGE = update(_deliveries).where(_deliveries.c.number == bindparam("its_number"))
_ENABLED = select(_endpoints).where(_endpoints.c.status == EndpointStatus.ENABLED)
_CURSOR = select(_deliverer.c.seq).where(_deliverer.c.id == 1)
_NEWS = (
    select(_events)
    .where(_events.c.seq > bindparam("after"))
    .order_by(_events.c.seq)
    .limit(ROUND_EVENTS)
)
_LEASE = select(_deliverer).where(_deliverer.c.id == 1).with_for_update()
_ATTEMPTED: Select[Any] = select(
    _deliveries.c.number,
    _deliveries.c.endpoint_id,
    _deliveries.c.resource_id,
    _deliveries.c.status,
    _deliveries.c.attempts,
    _deliveries.c.history,
).where(_deliveries.c.number.in_(bindparam("numbers", expanding=True)))


class _LeaseLost(Exception):
    """Another worker delivers now."""


class _Attempt(NamedTuple):
    """A POST that has come back."""

    number: int
    endpoint_id: str
    resource_id: str
    at: float
    milliseconds: int
    answer: Answer


class _Due(NamedTuple):
    """A delivery to be posted, with its event, and where to."""

    endpoint: Row[Any]
    row: Row[Any]


class _View(NamedTuple):
    """What a round finds in the database."""

    endpoints: list[Row[Any]]  # that are enabled
    after: int  # all before was handed out, or wanted by nobody
    events: list[Row[Any]]  # that are new
    due: list[tuple[Row[Any], list[Row[Any]]]]  # endpoints and what is due there


_NOTHING = _View([], 0, [], [])


class Deliverer:
    """Hands events out and posts them.

    Args:
        owner: this worker's name in the lease; another in every process.
        clock: wall clock, unix seconds.
        random: numbers from 0 to 1, for the jitter of pauses.
        concurrency: POSTs at once to one endpoint.
        retention: seconds for which finished deliveries are kept.
    """

    def __init__(
        self,
        store: Store,
        seed: SealedSeed,
        sender: Sender,
        *,
        owner: str,
        clock: Callable[[], float],
        random: Callable[[], float],
        ids: Ids,
        concurrency: int,
        retention: int,
    ) -> None:
        self._store = store
        self._sender = sender
        self._owner = owner
        self._clock = clock
        self._random = random
        self._ids = ids
        self._concurrency = concurrency
        self._retention = retention
        self.came_back = asyncio.Event()  # wakes the loop
        self._lease_until = 0.0
        self._seen = 0  # events up to here were looked at
        self._attempts: list[_Attempt] = []
        self._posting: dict[int, asyncio.Task[None]] = {}  # by number, until it is written down
        self._endpoint_of: dict[int, str] = {}
        self._ready: dict[str, deque[_Due]] = {}  # by endpoint; found due in the last round
        # Endpoints that gave no answer the last time: one POST at a time, so that many dead ones do
        # not keep the living waiting.
        self._silent: set[str] = set()
        self._unseal = lru_cache(maxsize=10_000)(seed.unseal)  # it takes a millisecond
        self._sweep_at = 0.0

    async def round(self) -> bool:
        """Do what there is to do now, and return whether there was anything. Waits for no POST."""
        try:
            if not await self._lead():
                return False
            worked = await self._write_down()
            known = Counter(self._endpoint_of.values())
            view = await self._store.read(partial(self._look, busy=self._busy(), known=known))
            reach("webhooks.events_read")
            worked = self._post(view) or worked
            worked = await self._hand_out(view) or worked
            worked = await self._replay(view) or worked
            return await self._sweep() or worked
        except _LeaseLost:
            log.warning("webhooks.lease_lost", owner=self._owner)
            self._forget()
            return False

    async def settle(self) -> None:
        """Wait until everything that is being posted has come back."""
        await asyncio.gather(*self._posting.values())

    async def close(self) -> None:
        """Write down what comes back soon, abandon the rest, and let another worker go on."""
        try:
            if self._lease_until:
                if self._posting:
                    await asyncio.wait(self._posting.values(), timeout=CLOSE_SECONDS)
                await self._write_down()
                await self._store.write(self._release)
        except _LeaseLost:
            pass
        finally:
            self._forget()
            await self._sender.close()

    # --------------------------------------------------------------------------- the lease

    async def _lead(self) -> bool:
        now = self._clock()
        if self._lease_until - now >= LEASE_SECONDS / 2:
            return True
        if not await self._store.read(self._may_lead):
            self._forget()
            return False
        leads = await self._store.write(self._take_lease)
        if leads:
            self._lease_until = now + LEASE_SECONDS
            reach("webhooks.leading")
        else:
            self._forget()
        return leads

    def _may_lead(self, session: Session) -> bool:
        """Nothing is written where there are no endpoints, or another worker leads."""
        if session.execute(select(_endpoints.c.id).limit(1)).first() is None:
            return False
        row = session.execute(select(_deliverer).where(_deliverer.c.id == 1)).one_or_none()
        return row is None or self._is_free(row)

    def _take_lease(self, session: Session) -> bool:
        now = self._clock()
        row = session.execute(_LEASE).one_or_none()
        if row is None:
            session.execute(insert(_deliverer).values(id=1, lease_until=0, seq=0))
        elif not self._is_free(row):
            return False
        session.execute(
            update(_deliverer).values(
                lease_owner=self._owner, lease_until=int((now + LEASE_SECONDS) * 1000)
            )
        )
        return True

    def _is_free(self, row: Row[Any]) -> bool:
        is_over = row.lease_until <= self._clock() * 1000
        return bool(row.lease_owner in (None, self._owner) or is_over)

    def _hold(self, session: Session) -> Row[Any]:
        """Begin a transaction of whoever leads. One whose lease ran out leads on until another
        takes it."""
        row = session.execute(_LEASE).one_or_none()
        if row is None or row.lease_owner != self._owner:
            raise _LeaseLost
        return row

    def _release(self, session: Session) -> None:
        self._hold(session)
        session.execute(update(_deliverer).values(lease_owner=None, lease_until=0))

    def _forget(self) -> None:
        for task in self._posting.values():
            task.cancel()
        self._posting.clear()
        self._endpoint_of.clear()
        self._ready.clear()
        self._attempts.clear()
        self._lease_until = 0.0
        self._seen = 0

    # ------------------------------------------------------------------- what has come back

    async def _write_down(self) -> bool:
        self.came_back.clear()
        attempts, self._attempts = self._attempts, []
        if not attempts:
            return False
        try:
            await self._store.write(lambda session: self._record(session, attempts))
            reach("webhooks.recorded")
        except _LeaseLost:
            raise
        except Exception:
            self._attempts = attempts + self._attempts  # they were made, whatever ails the database
            raise
        for attempt in attempts:
            self._posting.pop(attempt.number, None)
            self._endpoint_of.pop(attempt.number, None)
            if attempt.answer.status is None:
                self._silent.add(attempt.endpoint_id)
            else:
                self._silent.discard(attempt.endpoint_id)
        return True

    def _record(self, session: Session, attempts: list[_Attempt]) -> None:
        self._hold(session)
        now = self._clock()
        endpoints = {
            row.id: row for row in queue.lock(session, {each.endpoint_id for each in attempts})
        }
        numbers = [attempt.number for attempt in attempts]
        rows = {row.number: row for row in session.execute(_ATTEMPTED, {"numbers": numbers})}
        changes: list[dict[str, Any]] = []
        over: defaultdict[str, set[str]] = defaultdict(set)
        gone: set[str] = set()
        for attempt in attempts:
            row = rows.get(attempt.number)
            if row is None or row.status != DeliveryStatus.PENDING:
                continue  # it was canceled meanwhile
            change = self._after(row, attempt, now)
            changes.append({"its_number": row.number, **change})
            if change["status"] != DeliveryStatus.PENDING:
                over[row.endpoint_id].add(row.resource_id)
            if attempt.answer.status == _GONE:
                gone.add(row.endpoint_id)
        if changes:
            session.execute(_CHANGE, changes)
        for endpoint_id, resources in over.items():
            queue.let_next_go(session, endpoint_id, resources, now)
        for endpoint_id in sorted(gone):
            if endpoints[endpoint_id].status == EndpointStatus.ENABLED:
                self._disable(session, endpoints[endpoint_id], int(now))
        reach("webhooks.recording")

    def _after(self, row: Row[Any], attempt: _Attempt, now: float) -> dict[str, Any]:
        """The columns of a delivery after an attempt."""
        status, error = attempt.answer
        made = row.attempts + 1
        entry = {
            "at": int(attempt.at),
            "milliseconds": attempt.milliseconds,
            "response_status": status,
            "error": error,
        }
        values: dict[str, Any] = {
            "attempts": made,
            "response_status": status,
            "error": error,
            "history": [*row.history, entry][-len(SCHEDULE) :],
        }
        if status is not None and 200 <= status < 300:
            over = DeliveryStatus.SUCCEEDED
        elif status == _GONE or made >= len(SCHEDULE):
            over = DeliveryStatus.FAILED
        else:
            pause = SCHEDULE[made] * (1 + JITTER * self._random())
            next_attempt_at = int((now + pause) * 1000)
            again = {"next_attempt_at": next_attempt_at, "finished_at": None}
            return {**values, "status": row.status, **again}
        return {**values, "status": over, "next_attempt_at": None, "finished_at": int(now)}

    def _disable(self, session: Session, endpoint: Row[Any], now: int) -> None:
        reason = "it answered 410 Gone"
        session.execute(
            update(_endpoints)
            .where(_endpoints.c.id == endpoint.id)
            .values(status=EndpointStatus.DISABLED, disabled_reason=reason, updated_at=now)
        )
        session.execute(
            insert(_events).values(
                id=self._ids.new("evt"),
                merchant_id=endpoint.merchant_id,
                type="webhook_endpoint.disabled",
                resource_type="webhook_endpoint",
                resource_id=endpoint.id,
                data={"status": EndpointStatus.DISABLED, "url": endpoint.url, "reason": reason},
                created_at=now,
            )
        )

    # ------------------------------------------------------------------------- new events

    def _look(self, session: Session, busy: Counter[str], known: Counter[str]) -> _View:
        """Read what there is to do; `known` deliveries of an endpoint are under way, or have come
        back and are not written down yet."""
        endpoints = list(session.execute(_ENABLED).all())
        if not endpoints:
            return _NOTHING
        cursor = session.scalar(_CURSOR) or 0
        # Nobody wants what was before the first of them.
        after = max(cursor, min(endpoint.from_seq for endpoint in endpoints))
        events = session.execute(_NEWS, {"after": max(after, self._seen)}).all()
        return _View(
            endpoints, after, list(events), self._find_due(session, endpoints, busy, known)
        )

    async def _hand_out(self, view: _View) -> bool:
        if not view.events:
            return False
        last = view.events[-1].seq
        wanted_by = {
            endpoint.id
            for endpoint in view.endpoints
            if any(self._is_new_for(endpoint, event) for event in view.events)
        }
        if wanted_by or last - view.after >= _CURSOR_LAG:
            await self._store.write(
                lambda session: self._enqueue(session, wanted_by, view.events, last)
            )
            reach("webhooks.handed_out")
        self._seen = last
        return True

    @staticmethod
    def _is_new_for(endpoint: Row[Any], event: Row[Any]) -> bool:
        return bool(event.seq > endpoint.from_seq and queue.wants(endpoint, event))

    def _enqueue(
        self, session: Session, endpoint_ids: set[str], events: list[Row[Any]], last: int
    ) -> None:
        self._hold(session)
        now = self._clock()
        for endpoint in queue.lock(session, endpoint_ids):
            if endpoint.status == EndpointStatus.ENABLED:
                wanted = [event for event in events if self._is_new_for(endpoint, event)]
                queue.add(session, self._ids, endpoint, wanted, now)
        session.execute(update(_deliverer).values(seq=last))
        reach("webhooks.handing_out")

    async def _replay(self, view: _View) -> bool:
        replaying = [each.id for each in view.endpoints if each.replay_after is not None]
        for endpoint_id in replaying:
            await self._store.write(partial(self._replay_part, endpoint_id=endpoint_id))
        return bool(replaying)

    def _replay_part(self, session: Session, endpoint_id: str) -> None:
        """Queue the next part of a replay, in the transaction that remembers how far it is."""
        self._hold(session)
        (endpoint,) = queue.lock(session, {endpoint_id})
        if endpoint.replay_after is None or endpoint.status != EndpointStatus.ENABLED:
            return
        events = session.execute(
            select(_events)
            .where(
                _events.c.merchant_id == endpoint.merchant_id,
                _events.c.seq > endpoint.replay_after,
                _events.c.seq <= endpoint.replay_until,
            )
            .order_by(_events.c.seq)
            .limit(ROUND_EVENTS)
        ).all()
        wanted = [event for event in events if queue.wants(endpoint, event)]
        queue.add(session, self._ids, endpoint, wanted, self._clock())
        is_over = len(events) < ROUND_EVENTS
        session.execute(
            update(_endpoints)
            .where(_endpoints.c.id == endpoint_id)
            .values(
                replay_after=None if is_over else events[-1].seq,
                replay_until=None if is_over else endpoint.replay_until,
            )
        )

    # ----------------------------------------------------------------------------- posting

    def _find_due(
        self,
        session: Session,
        endpoints: list[Row[Any]],
        busy: Counter[str],
        known: Counter[str],
    ) -> list[tuple[Row[Any], list[Row[Any]]]]:
        now = self._clock()
        if busy.total() >= MAX_IN_FLIGHT:
            return []
        with_due = queue.endpoints_with_due(session, now)
        found = []
        for endpoint in endpoints:
            free = self._limit(endpoint.id) - busy[endpoint.id]
            if endpoint.id in with_due and free > 0:
                # The known ones are still due in the database: ask for as many more.
                limit = known[endpoint.id] + free + AHEAD * self._concurrency
                found.append((endpoint, queue.due(session, endpoint.id, now, limit)))
        return found

    def _post(self, view: _View) -> bool:
        self._ready.clear()
        busy = self._busy()
        left = MAX_IN_FLIGHT - busy.total()
        started = 0
        # Who has least under way comes first, so that nobody is left out when all is taken.
        for endpoint, rows in sorted(view.due, key=lambda pair: busy[pair[0].id]):
            fresh = deque(_Due(endpoint, row) for row in rows if row.number not in self._posting)
            self._ready[endpoint.id] = fresh
            free = min(left - started, self._limit(endpoint.id) - busy[endpoint.id])
            for _ in range(free):
                started += self._post_next(endpoint.id)
        return started > 0

    def _post_next(self, endpoint_id: str) -> bool:
        """Begin a POST that is ready, if there is one."""
        ready = self._ready.get(endpoint_id)
        if not ready or self._clock() >= self._lease_until:
            return False  # without the lease another may have posted these meanwhile
        endpoint, row = ready.popleft()
        self._endpoint_of[row.number] = endpoint_id
        self._posting[row.number] = asyncio.create_task(self._attempt(endpoint, row))
        return True

    def _busy(self) -> Counter[str]:
        """POSTs under way, by endpoint."""
        return Counter(
            self._endpoint_of[number] for number, task in self._posting.items() if not task.done()
        )

    def _limit(self, endpoint_id: str) -> int:
        return 1 if endpoint_id in self._silent else self._concurrency

    async def _attempt(self, endpoint: Row[Any], row: Row[Any]) -> None:
        at = self._clock()
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            body = orjson.dumps(event_values(row))
            headers = signed_headers(row.id, int(at), body.decode(), self._secrets(endpoint, at))
            reach("webhooks.posting")
            answer = await self._sender.post(endpoint.url, headers, body)
            reach("webhooks.posted")
        except SeedError as error:
            log.error("webhooks.secret", endpoint=endpoint.id, error=str(error))
            answer = Answer(None, "the signing secret cannot be opened: rotate it")
        except Exception as error:
            log.error("webhooks.attempt", endpoint=endpoint.id, exc_info=error)
            answer = Answer(None, f"not sent: {type(error).__name__}")
        milliseconds = round((loop.time() - started) * 1000)
        self._attempts.append(
            _Attempt(row.number, endpoint.id, row.resource_id, at, milliseconds, answer)
        )
        self.came_back.set()
        if answer.status in (None, _GONE):
            self._ready.pop(endpoint.id, None)  # the next round knows how to go on
        else:
            self._post_next(endpoint.id)

    def _secrets(self, endpoint: Row[Any], at: float) -> list[bytes]:
        """The new secret first, and the old one while it is valid."""
        sealed = [endpoint.secret]
        if endpoint.old_secret is not None and at < (endpoint.old_secret_until or 0):
            sealed.append(endpoint.old_secret)
        return [self._unseal(secret, endpoint.id) for secret in sealed]

    # ---------------------------------------------------------------------------- sweeping

    async def _sweep(self) -> bool:
        now = self._clock()
        if now < self._sweep_at:
            return False
        before = int(now) - self._retention

        def sweep(session: Session) -> int:
            self._hold(session)
            return queue.sweep(session, before, now, SWEEP_ROWS)

        swept = await self._store.write(sweep)
        if swept < SWEEP_ROWS:
            self._sweep_at = now + SWEEP_SECONDS
        return swept == SWEEP_ROWS
