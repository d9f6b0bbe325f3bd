"""`Prefer: wait=N`: hold an answer until the chain has settled what the request asked for.

The worker may be another process, and what both share is the database. So while anybody waits, one
task reads the events that are new and wakes whoever waits for their resources; while nobody does,
nothing is read.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import structlog
from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from node.bridge.rows import table
from node.store import Store
from node.store.models import Event

MAX_WAIT_SECONDS = 30
_POLL_SECONDS = 0.015
# A waiter looks by itself as often as this: on PostgreSQL an event can become visible after a
# later one.
_LOOK_SECONDS = 1.0
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?\s*(?:$|[,;])", re.IGNORECASE)

_EVENTS = table(Event)
_LAST_SEQ = select(func.max(_EVENTS.c.seq))
_NEWS = (
    select(_EVENTS.c.seq, _EVENTS.c.resource_id)
    .where(_EVENTS.c.seq > bindparam("seen"))
    .order_by(_EVENTS.c.seq)
)

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


def wait_seconds(prefer: str | None) -> int:
    """The seconds of a Prefer header (RFC 7240), at most MAX_WAIT_SECONDS; 0 without any."""
    found = _WAIT.search(prefer) if prefer else None
    return min(int(found[1]), MAX_WAIT_SECONDS) if found else 0


def last_seq(session: Session) -> int:
    """The newest event's seq, read in the transaction that made what will be waited for."""
    return session.scalar(_LAST_SEQ) or 0


class Waiters:
    """All requests that wait, and the one task that watches the events for them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._seen_seq = 0
        self._watcher: asyncio.Task[None] | None = None
        self._stopping = False

    async def wait(
        self,
        resource_id: str,
        after_seq: int,
        look: Callable[[Session], Result | None],
        seconds: int,
    ) -> Result | None:
        """Return what `look` finds, as soon as it finds something; None when the time is up.

        Args:
            resource_id: `look` is called again when this resource has a new event.
            after_seq: `last_seq` when the wait was asked for: no later event is missed.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        woken = asyncio.Event()
        self._waiting[resource_id].add(woken)
        try:
            if self._watcher is None:
                self._seen_seq = after_seq
                self._watcher = asyncio.create_task(self._watch())
            elif self._seen_seq > after_seq:
                woken.set()  # its event may have passed before it was here
            while not self._stopping and (left := end - loop.time()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), min(left, _LOOK_SECONDS))
                woken.clear()
                found = await self._store.read(look)
                if found is not None:
                    return found
            return None
        finally:
            self._waiting[resource_id].discard(woken)
            if not self._waiting[resource_id]:
                del self._waiting[resource_id]

    def stop(self) -> None:
        """Let everybody answer now, with what there is: the process is about to end."""
        self._stopping = True
        for waiting in self._waiting.values():
            for woken in waiting:
                woken.set()

    async def _watch(self) -> None:
        try:
            while self._waiting and not self._stopping:
                try:
                    news = await self._store.read(self._news)
                except OperationalError as error:
                    log.warning("cannot read events", error=str(error))
                    news = []
                for seq, resource_id in news:
                    self._seen_seq = max(self._seen_seq, seq)
                    for woken in self._waiting.get(resource_id, ()):
                        woken.set()
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            self._watcher = None

    def _news(self, session: Session) -> list[tuple[int, str]]:
        rows = session.execute(_NEWS, {"seen": self._seen_seq})
        return [(row.seq, row.resource_id) for row in rows]
