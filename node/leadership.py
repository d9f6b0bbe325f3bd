"""Which of the workers on one database leads, and how each of them is.

The leader is whoever is named in the one row of `worker_status`; refreshing that row is what keeps
the lead. A worker that finds another's name there, with a heartbeat younger than
`LEADER_SECONDS`, stands by and looks again with its next heartbeat.

Leading is a matter of not doing work twice, never of safety: clocks of two machines may differ, and
a leader may be paused for longer than its lead. What only one may write is guarded where it is
written (the indexer's newest block, a sender's next nonce, an endpoint's lease).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from sqlalchemy import Table, bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from node.index.indexer import Round
from node.store import Store
from node.store.models import ChainTx, ChainTxStatus, Worker, WorkerStatus

HEARTBEAT_SECONDS = 0.5
LEADER_SECONDS = 5  # without a heartbeat, until another takes over
FORGET_SECONDS = 86_400  # what a worker that was killed leaves behind

_STATUS_ID = 1
_NOTHING_KNOWN = dict.fromkeys(
    ("heartbeat_at", "head_block", "indexed_block", "chain_time", "chain_time_read_at"), 0
)

_status: Table = WorkerStatus.__table__  # type: ignore[assignment]
_workers: Table = Worker.__table__  # type: ignore[assignment]
_chain_txs: Table = ChainTx.__table__  # type: ignore[assignment]
# Built once, as they run several times a second.
_STATUS = select(_status.c.leader, _status.c.heartbeat_at).where(_status.c.id == _STATUS_ID)
_CHANGE_STATUS = update(_status).where(_status.c.id == _STATUS_ID)
_CHANGE_WORKER = (
    update(_workers)
    .where(_workers.c.name == bindparam("its_name"))
    .values(heartbeat_at=bindparam("_heartbeat"), last_error=bindparam("_error"))
    .returning(_workers.c.name)
)
_CONFLICTS = (
    select(func.count())
    .select_from(_chain_txs)
    .where(_chain_txs.c.status == ChainTxStatus.CONFLICT)
)

log = structlog.get_logger(__name__)


class Leadership:
    """One worker's rows in `workers` and, while it leads, in `worker_status`.

    Written at once when something is new, else as a heartbeat.

    Args:
        name: this worker's, another in every process.
        clock: wall clock, unix seconds.
    """

    def __init__(self, store: Store, name: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._name = name
        self._clock = clock
        self._started_at = int(clock())
        self._round: Round | None = None
        self._read_at = 0.0
        self._written_at = float("-inf")
        self._written_error: str | None = None
        self.leads = False
        self.errors: dict[str, str] = {}  # by loop

    async def found(self, found: Round) -> None:
        """Note where the chain is; its time may have been set by somebody."""
        now = self._clock()
        jumped = True
        if self._round is not None:
            expected = self._round.head.next_time + (now - self._read_at)
            jumped = abs(found.head.next_time - expected) > 1.5
        self._round, self._read_at = found, now
        await self.beat(now=jumped)

    async def beat(self, *, now: bool = False) -> None:
        """Write the rows if it is time to, or there is something new to say."""
        error = "; ".join(f"{loop}: {words}" for loop, words in sorted(self.errors.items())) or None
        is_due = time.monotonic() - self._written_at >= HEARTBEAT_SECONDS
        if not (now or is_due or self._written_error != error):
            return
        self._written_at, self._written_error = time.monotonic(), error
        found, read_at, heartbeat = self._round, self._read_at, self._clock()

        def write(session: Session) -> bool:
            milliseconds = int(heartbeat * 1000)
            self._write_worker(session, milliseconds, error)
            last = session.execute(_STATUS).one_or_none()
            if last is None:
                session.execute(insert(_status).values(id=_STATUS_ID, **_NOTHING_KNOWN))
            elif (
                last.leader not in (None, self._name)
                and last.heartbeat_at > milliseconds - LEADER_SECONDS * 1000
            ):
                return False
            if last is None or last.leader != self._name:
                forgotten = milliseconds - FORGET_SECONDS * 1000
                session.execute(delete(_workers).where(_workers.c.heartbeat_at < forgotten))
            values = {
                "leader": self._name,
                "heartbeat_at": milliseconds,
                "last_error": error,
                "conflicts": session.scalar(_CONFLICTS),
            }
            if found is not None:
                values |= {
                    "head_block": found.head.number,
                    "indexed_block": found.indexed,
                    "chain_time": found.head.next_time,
                    "chain_time_read_at": int(read_at * 1000),
                }
            session.execute(_CHANGE_STATUS, values)
            return True

        leads = await self._store.write(write)
        if leads != self.leads:
            self.leads = leads
            self._round = None  # of the time it led before
            log.info("worker.leads" if leads else "worker.stands_by", worker=self._name)

    async def resign(self) -> None:
        """Let another worker take over at once."""

        def write(session: Session) -> None:
            session.execute(
                update(_status).where(_status.c.leader == self._name).values(leader=None)
            )
            session.execute(delete(_workers).where(_workers.c.name == self._name))

        self.leads = False
        await self._store.write(write)

    def _write_worker(self, session: Session, milliseconds: int, error: str | None) -> None:
        values = {"its_name": self._name, "_heartbeat": milliseconds, "_error": error}
        if session.execute(_CHANGE_WORKER, values).one_or_none() is None:
            session.execute(
                insert(_workers).values(
                    name=self._name,
                    started_at=self._started_at,
                    heartbeat_at=milliseconds,
                    last_error=error,
                )
            )
