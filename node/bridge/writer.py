"""Group commit: requests that arrive while the disk is busy share the next transaction.

A commit waits for the disk several times as long as a request computes, and SQLite has one writer
for all processes. Each request still has its own fate: where one is refused, all run again, each in
a savepoint, and the refused one takes nothing of the others with it. (Savepoints for all from the
start cost a sixth of the time, and refusals are few.) All are answered after the commit they share.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from node.failpoints import reach
from node.store import Store

_MOST_AT_ONCE = 64  # so that the worker gets its turn at the database
_TRIES = 3

Result = TypeVar("Result")


class _Waiting(NamedTuple):
    work: Callable[[Session], Any]
    answer: asyncio.Future[Any]


class GroupWriter:
    """`Store.write` for many callers of one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many transactions wait for those before them."""
        return len(self._waiting)

    async def write(self, work: Callable[[Session], Result]) -> Result:
        """Run `work` in a transaction: committed when this returns, or not at all.

        Cancelling the caller does not undo the work: it may still commit.
        """
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(work, answer))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await answer

    async def write_again(self, work: Callable[[Session], Result]) -> Result:
        """`write` for work that looks before it inserts.

        Where writers are not queued (PostgreSQL), the later of two that insert the same meets the
        other's rows only on insert. It is run again, and then finds them by its checks.
        """
        for _ in range(_TRIES - 1):
            try:
                return await self.write(work)
            except IntegrityError:
                continue
        return await self.write(work)

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), _MOST_AT_ONCE)
                await self._write_group([self._waiting.popleft() for _ in range(count)])
        finally:
            self._writing = None

    async def _write_group(self, group: list[_Waiting]) -> None:
        outcomes: list[Any]
        try:
            outcomes = await self._store.write(lambda session: [one.work(session) for one in group])
            reach("bridge.group_committed")
        except Exception as error:
            outcomes = [_Refused(error)] if len(group) == 1 else await self._write_apart(group)
        for one, outcome in zip(group, outcomes, strict=True):
            if one.answer.cancelled():
                continue
            if isinstance(outcome, _Refused):
                one.answer.set_exception(outcome.error)
            else:
                one.answer.set_result(outcome)

    async def _write_apart(self, group: list[_Waiting]) -> list[Any]:
        try:
            return await self._store.write(
                lambda session: [_attempt(session, one.work) for one in group]
            )
        except Exception as error:
            return [_Refused(error)] * len(group)


class _Refused(NamedTuple):
    error: Exception


def _attempt(session: Session, work: Callable[[Session], Result]) -> Result | _Refused:
    try:
        with session.begin_nested():
            return work(session)
    except Exception as error:
        return _Refused(error)
