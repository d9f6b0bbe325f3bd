"""What nobody has to ask for: disputes that were not decided in time go back to the payer.

The contract lets anyone end such a dispute. Here the worker does, for the purchases of this node's
merchants, so that no payer waits for somebody to remember.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Table, func, select
from sqlalchemy.orm import Session

from node.chain.codec import ContractCodec
from node.chain.deployment import Manifest
from node.failpoints import reach
from node.store import Store
from node.store.ids import Ids
from node.store.models import (
    Dispute,
    DisputeState,
    EscrowOrder,
    Operation,
    OperationStatus,
    Purchase,
)

KIND = "purchase.expire_dispute"
RETRY_SECONDS = 3_600  # after one that failed, as while the whole coin is paused
_MOST = 100  # queued at once

_disputes: Table = Dispute.__table__  # type: ignore[assignment]
_operations: Table = Operation.__table__  # type: ignore[assignment]
_orders: Table = EscrowOrder.__table__  # type: ignore[assignment]
_purchases: Table = Purchase.__table__  # type: ignore[assignment]


class Deadlines:
    """Queues what falls due.

    Args:
        clock: wall clock, unix seconds, for the rows' own times.
    """

    def __init__(
        self, store: Store, manifest: Manifest, *, clock: Callable[[], float], ids: Ids
    ) -> None:
        self._store = store
        self._escrow = manifest.contracts["PurchaseEscrow"].address
        self._clock = clock
        self._ids = ids
        self._codec = ContractCodec("PurchaseEscrow")

    async def round(self, chain_time: int) -> int:
        """Queue the end of every dispute whose time is over; return how many there were.

        Args:
            chain_time: of the next block, unix seconds.
        """
        if not await self._store.read(lambda session: self._find_due(session, chain_time)):
            return 0
        reach("deadlines.found")
        queued = await self._store.write(lambda session: self._queue(session, chain_time))
        reach("deadlines.queued")
        return queued

    def _find_due(self, session: Session, chain_time: int) -> list[str]:
        """Ids of purchases with a dispute that is due and not on its way to its end."""
        recently = int(self._clock()) - RETRY_SECONDS
        tried = (
            select(_operations.c.id)
            .where(
                _operations.c.kind == KIND,
                _operations.c.ref == _disputes.c.order_hash,
                (_operations.c.status != OperationStatus.FAILED)
                | (_operations.c.updated_at > recently),
            )
            .exists()
        )
        return list(
            session.scalars(
                select(_purchases.c.id)
                .join(_disputes, _disputes.c.order_hash == _purchases.c.order_hash)
                .join(_orders, _orders.c.order_hash == _disputes.c.order_hash)
                .where(
                    _disputes.c.closed_at.is_(None),
                    _disputes.c.deadline <= chain_time,
                    _orders.c.dispute == DisputeState.OPEN,
                    ~tried,
                )
                .order_by(_disputes.c.deadline, _purchases.c.id)
                .limit(_MOST)
            )
        )

    def _queue(self, session: Session, chain_time: int) -> int:
        # Asked again: another worker, or somebody by the bridge, may have been first.
        due = self._find_due(session, chain_time)
        rows = session.execute(
            select(_purchases, _orders.c.held, _orders.c.payer)
            .join(_orders, _orders.c.order_hash == _purchases.c.order_hash)
            .where(_purchases.c.id.in_(due))
            .with_for_update()
        ).all()
        now = int(self._clock())
        for row in rows:
            terms = {**row.terms, "maxAmount": int(row.terms["maxAmount"])}
            earlier = session.scalar(
                select(func.max(_operations.c.attempt)).where(
                    _operations.c.kind == KIND, _operations.c.ref == row.order_hash
                )
            )
            session.add(
                Operation(
                    id=self._ids.new("op"),
                    merchant_id=row.merchant_id,
                    kind=KIND,
                    ref=row.order_hash,
                    attempt=(earlier or 0) + 1,
                    resource_type="purchase",
                    resource_id=row.id,
                    signer="operator",
                    to_address=self._escrow,
                    calldata=self._codec.encode("expireDispute", terms),
                    credit_address=row.payer,
                    credit_amount=row.held,
                    status=OperationStatus.QUEUED,
                    created_at=now,
                    updated_at=now,
                )
            )
        reach("deadlines.queueing")
        return len(rows)
