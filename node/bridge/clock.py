"""The chain's clock as the bridge knows it.

Deadlines on chain count in block time, which on a development chain may be years from the wall
clock. The worker notes the chain's time in its status row, which is near enough to make terms with;
where a deadline decides, the chain itself is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.bridge.problems import Problem
from node.bridge.rows import table
from node.chain.rpc import Rpc, RpcError, RpcUnavailable
from node.store import Store
from node.store.models import WorkerStatus

_CACHE_SECONDS = 0.25
_TOO_EARLY = {"dispute_window_open", "arbitration_open", "reclaim_too_early"}

Result = TypeVar("Result")


class ChainClock:
    """Tells the time the next block would have, in unix seconds.

    Args:
        wall_milliseconds: UTC unix time.
        monotonic: seconds that only rise, for the age of what was read.
    """

    def __init__(
        self,
        store: Store,
        rpc: Rpc,
        wall_milliseconds: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._rpc = rpc
        self._wall_milliseconds = wall_milliseconds
        self._monotonic = monotonic
        self._reading = asyncio.Lock()  # many ask at once, and one reads for them
        self._read_at = float("-inf")
        self._ahead = 0  # of the wall clock, in milliseconds; negative where the chain is behind

    async def now(self) -> int:
        """The chain's time by the worker's word, or the chain's own where there is no worker yet.

        Raises:
            Problem: chain_unavailable.
        """
        if not self._is_fresh():
            async with self._reading:
                if not self._is_fresh():
                    status = await self._store.read(_worker_status)
                    if status is None:
                        return await self.ask()
                    self._set(status.chain_time * 1000 - status.chain_time_read_at)
        return (self._wall_milliseconds() + self._ahead) // 1000

    def _is_fresh(self) -> bool:
        return self._monotonic() - self._read_at <= _CACHE_SECONDS

    async def ask(self) -> int:
        """The chain's time by the chain's word.

        Raises:
            Problem: chain_unavailable.
        """
        try:
            block = await self._rpc.call("eth_getBlockByNumber", "pending", False)
        except (RpcError, RpcUnavailable) as error:
            raise Problem("chain_unavailable", f"the chain's time is not known: {error}") from error
        now = int(block["timestamp"], 16)
        self._set(now * 1000 - self._wall_milliseconds())
        return now

    async def past(self, work: Callable[[int], Awaitable[Result]]) -> Result:
        """Do work that is possible from some time on. Before it is refused as too early, the chain
        itself is asked: it may have jumped since the worker noted its time.

        Raises:
            Problem: of the work, or chain_unavailable.
        """
        noted = await self.now()
        try:
            return await work(noted)
        except Problem as problem:
            if problem.code not in _TOO_EARLY:
                raise
            now = await self.ask()
            if now <= noted:
                raise
        return await work(now)

    def _set(self, ahead: int) -> None:
        self._ahead = ahead
        self._read_at = self._monotonic()


def _worker_status(session: Session) -> Row[Any, Any] | None:
    rows = table(WorkerStatus)
    return session.execute(
        select(rows.c.chain_time, rows.c.chain_time_read_at).where(rows.c.id == 1)
    ).one_or_none()
