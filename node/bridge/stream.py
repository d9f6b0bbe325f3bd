"""Events as they happen, for clients that keep a connection open (server-sent events).

One task reads what is new, for all streams of the process together; while there are none, nothing
is read. A stream first reads what it missed from the database, up to where the task was when the
stream joined it, and then takes what the task reads: so nothing is left out in between. One whose
client is too slow for that goes back to the database.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import orjson
import structlog
from sqlalchemy import bindparam, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from sse_starlette.event import ServerSentEvent

from node.bridge.problems import Problem
from node.bridge.rows import owned, table
from node.bridge.waiting import last_seq
from node.store import Store
from node.store.events import event_values
from node.store.models import Event
from node.webhooks.queue import type_matches

PING_SECONDS = 15
SEND_SECONDS = 60  # a client that takes nothing for so long is cut off
RETRY_MILLISECONDS = 2_000  # what clients are told to wait before they connect again
MOST_STREAMS = 100  # of one merchant, in one process
_POLL_SECONDS = 0.025
_CHECK_SECONDS = 5.0  # how often a stream asks whether its key is still valid
_PAUSE_SECONDS = 1.0  # after an error of the database
_PART = 500
_MOST_AHEAD = 1_000  # events that wait for one client before it has to read them again

_EVENTS = table(Event)
_NEWS = (
    select(_EVENTS).where(_EVENTS.c.seq > bindparam("seen")).order_by(_EVENTS.c.seq).limit(_PART)
)
_MISSED = (
    owned(Event, bindparam("its_merchant"))
    .where(_EVENTS.c.seq > bindparam("seen"), _EVENTS.c.seq <= bindparam("until"))
    .order_by(_EVENTS.c.seq)
    .limit(_PART)
)

log = structlog.get_logger(__name__)


class _Told(NamedTuple):
    """An event, ready to be sent."""

    seq: int
    type: str
    data: str


class _Place:
    """A stream's place in the feed: what it has not taken yet."""

    def __init__(self) -> None:
        self.position = 0  # all later events come to it
        self.waiting: deque[_Told] = deque()
        self.is_too_slow = False
        self.woken = asyncio.Event()

    def tell(self, event: _Told) -> None:
        if len(self.waiting) < _MOST_AHEAD:
            self.waiting.append(event)
        else:
            self.is_too_slow = True
        self.woken.set()


class Feed:
    """All streams of this process, and the one task that reads the events for them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: defaultdict[str, set[_Place]] = defaultdict(set)
        self._seen: int | None = None  # None: nobody reads
        self._watcher: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self.stopping = False

    def count(self, merchant_id: str) -> int:
        """The streams of a merchant."""
        return len(self._places.get(merchant_id, ()))

    async def join(self, merchant_id: str) -> _Place:
        """Take a place; `leave` must follow."""
        place = _Place()
        self._places[merchant_id].add(place)
        try:
            async with self._starting:
                if self._seen is None:
                    self._seen = await self._store.read(last_seq)
                if self._watcher is None:
                    self._watcher = asyncio.create_task(self._watch())
            # Nothing is awaited from here on, so every event after this one is told to it.
            place.position = self._seen
            place.waiting.clear()
            place.is_too_slow = False
        except BaseException:
            self.leave(merchant_id, place)
            raise
        return place

    def leave(self, merchant_id: str, place: _Place) -> None:
        self._places[merchant_id].discard(place)
        if not self._places[merchant_id]:
            del self._places[merchant_id]

    def stop(self) -> None:
        """End all streams: the process is about to end."""
        self.stopping = True
        for places in self._places.values():
            for place in places:
                place.woken.set()

    async def _watch(self) -> None:
        try:
            while self._places and not self.stopping:
                try:
                    news = await self._store.read(self._read_news)
                except Exception as error:
                    # All streams depend on this task: it goes on from where it is.
                    log.warning("cannot read events", error=repr(error))
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                for row in news:
                    self._seen = row.seq
                    if row.merchant_id in self._places:
                        event = _tell(row)
                        for place in self._places[row.merchant_id]:
                            place.tell(event)
                if len(news) < _PART:
                    await asyncio.sleep(_POLL_SECONDS)
        finally:
            self._watcher = self._seen = None

    def _read_news(self, session: Session) -> Sequence[Row[Any]]:
        return session.execute(_NEWS, {"seen": self._seen}).all()


async def stream_events(
    store: Store,
    feed: Feed,
    merchant_id: str,
    after: int | None,
    types: Sequence[str] | None,
    is_welcome: Callable[[], Awaitable[bool]],
) -> AsyncIterator[ServerSentEvent]:
    """Return a merchant's events after a `seq`, without end; None: after now.

    Args:
        types: as for `type_matches`; None: all.
        is_welcome: asked every few seconds; the stream ends when it says no.

    Raises:
        Problem: too_many_streams.
    """
    if feed.count(merchant_id) >= MOST_STREAMS:
        raise Problem("too_many_streams", f"there are {MOST_STREAMS} streams of this merchant here")
    if after is None:
        after = await store.read(last_seq)
    return _stream(store, feed, merchant_id, after, types, is_welcome)


async def _stream(
    store: Store,
    feed: Feed,
    merchant_id: str,
    last: int,
    types: Sequence[str] | None,
    is_welcome: Callable[[], Awaitable[bool]],
) -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(comment=f"after {last}", retry=RETRY_MILLISECONDS)
    check_at = time.monotonic() + _CHECK_SECONDS
    while not feed.stopping:
        place = await feed.join(merchant_id)
        try:
            async for event in _next_events(store, feed, merchant_id, last, place):
                if event is not None:
                    last = event.seq
                    if types is None or type_matches(event.type, types):
                        yield ServerSentEvent(event.data, event=event.type, id=str(event.seq))
                if time.monotonic() >= check_at:
                    if not await is_welcome():
                        return
                    check_at = time.monotonic() + _CHECK_SECONDS
        finally:
            feed.leave(merchant_id, place)


async def _next_events(
    store: Store, feed: Feed, merchant_id: str, last: int, place: _Place
) -> AsyncIterator[_Told | None]:
    """What was missed, then what the feed tells, until it is lost; None now and then."""
    position = last
    while position < place.position and not feed.stopping:
        values = {"its_merchant": merchant_id, "seen": position, "until": place.position}
        rows = await store.read(partial(_read_missed, values=values))
        for row in rows:
            yield _tell(row)
        position = rows[-1].seq if len(rows) == _PART else place.position
    while not feed.stopping:
        while place.waiting:
            event = place.waiting.popleft()
            if event.seq > last:  # it may have been read past the feed's position before
                yield event
        if place.is_too_slow:
            return
        yield None
        place.woken.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(place.woken.wait(), _CHECK_SECONDS)


def _read_missed(session: Session, values: dict[str, Any]) -> Sequence[Row[Any]]:
    return session.execute(_MISSED, values).all()


def _tell(row: Row[Any]) -> _Told:
    return _Told(row.seq, row.type, orjson.dumps(event_values(row)).decode())
