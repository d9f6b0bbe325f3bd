"""What lost blocks said is taken back: a reorganisation, or a chain that came back behind.

Projections return to what they were at the last common block. The operations whose transactions the
lost blocks held are submitted again, their signed bytes and their old places kept, and the outbox
sends them again in the old order. Events stay: what was told was told, and the same log indexed
again tells nothing twice.

What cannot be brought back are transactions of others in the lost blocks: the node never had their
bytes. Their hashes are logged; whoever sent them must send them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Integer, Table, bindparam, delete, select, update
from sqlalchemy.orm import Session

from node.failpoints import reach
from node.index.projections import purchase_status
from node.index.rows import chunks
from node.store.models import (
    Base,
    Block,
    ChainTx,
    ChainTxOperation,
    ChainTxStatus,
    CreditEntry,
    EscrowOrder,
    EvidenceLog,
    LedgerEntry,
    Operation,
    OperationStatus,
    PaymentRequest,
    PaymentRequestStatus,
    Purchase,
    RequestPayment,
    UndoEntry,
)

# Blocks that can be taken back; older undo entries are dropped.
UNDO_BLOCKS = 50_000

log = structlog.get_logger(__name__)

_blocks: Table = Block.__table__  # type: ignore[assignment]
_carried: Table = ChainTxOperation.__table__  # type: ignore[assignment]
_chain_txs: Table = ChainTx.__table__  # type: ignore[assignment]
_credit_entries: Table = CreditEntry.__table__  # type: ignore[assignment]
_evidence_logs: Table = EvidenceLog.__table__  # type: ignore[assignment]
_ledger: Table = LedgerEntry.__table__  # type: ignore[assignment]
_operations: Table = Operation.__table__  # type: ignore[assignment]
_orders: Table = EscrowOrder.__table__  # type: ignore[assignment]
_purchases: Table = Purchase.__table__  # type: ignore[assignment]
_request_payments: Table = RequestPayment.__table__  # type: ignore[assignment]
_requests: Table = PaymentRequest.__table__  # type: ignore[assignment]
_undo_log: Table = UndoEntry.__table__  # type: ignore[assignment]


class RollbackTooDeep(Exception):
    """The chain went back further than the undo log reaches; the message is for people."""


@dataclass(frozen=True)
class Rollback:
    """What was taken back."""

    from_block: int
    to_block: int
    resent: int  # transactions of ours that will be sent again
    missing: list[str]  # hashes of others' transactions, which we cannot send again


def roll_back(session: Session, to_block: int, now: int) -> Rollback:
    """Take back every block above `to_block`.

    Raises:
        RollbackTooDeep: some of the undo entries needed are no longer kept.
    """
    lost = session.execute(
        select(_blocks.c.number, _blocks.c.others)
        .where(_blocks.c.number > to_block)
        .order_by(_blocks.c.number)
    ).all()
    newest = lost[-1].number if lost else to_block
    if newest - to_block > UNDO_BLOCKS:
        raise RollbackTooDeep(
            f"the chain went back from block {newest} to {to_block}, and only {UNDO_BLOCKS} blocks"
            " can be taken back: start over with a new database"
        )
    _restore(session, to_block)
    resent = session.scalars(
        select(_chain_txs.c.id).where(
            _chain_txs.c.status == ChainTxStatus.MINED, _chain_txs.c.block_number > to_block
        )
    ).all()
    for chunk in chunks(resent):
        # Block number, time and index stay: they say in which order, and when, to send again.
        session.execute(
            update(_chain_txs)
            .where(_chain_txs.c.id.in_(chunk))
            .values(status=ChainTxStatus.SIGNED, succeeded=None)
        )
        session.execute(
            update(_carried).where(_carried.c.chain_tx_id.in_(chunk)).values(succeeded=None)
        )
    for chunk in chunks(resent):
        # One that a transaction below has done stays done.
        kept = _carried.alias("kept")
        session.execute(
            update(_operations)
            .where(
                _operations.c.id.in_(
                    select(_carried.c.operation_id).where(_carried.c.chain_tx_id.in_(chunk))
                ),
                ~select(kept.c.position)
                .where(kept.c.operation_id == _operations.c.id, kept.c.succeeded.is_(True))
                .exists(),
            )
            .values(
                status=OperationStatus.SUBMITTED,
                block_number=None,
                error_code=None,
                error=None,
                updated_at=now,
            )
        )
    session.execute(delete(_ledger).where(_ledger.c.block_number > to_block))
    session.execute(delete(_credit_entries).where(_credit_entries.c.block_number > to_block))
    session.execute(delete(_evidence_logs).where(_evidence_logs.c.block_number > to_block))
    session.execute(delete(_request_payments).where(_request_payments.c.block_number > to_block))
    session.execute(delete(_blocks).where(_blocks.c.number > to_block))
    session.execute(delete(_undo_log).where(_undo_log.c.block_number > to_block))
    reach("index.rolling_back")
    return Rollback(
        from_block=newest,
        to_block=to_block,
        resent=len(resent),
        missing=[hash_ for _, others in lost for hash_ in others],
    )


def prune_undo_log(session: Session, newest: int) -> None:
    """Drop what no rollback reaches."""
    session.execute(delete(_undo_log).where(_undo_log.c.block_number < newest - UNDO_BLOCKS))


def _restore(session: Session, to_block: int) -> None:
    entries = session.execute(
        select(_undo_log.c.table_name, _undo_log.c.key, _undo_log.c.before)
        .where(_undo_log.c.block_number > to_block)
        .order_by(_undo_log.c.block_number.desc(), _undo_log.c.id.desc())
    )
    # Newest first, column by column: what stands in the end is the oldest word on each.
    before: dict[tuple[str, str], dict[str, Any] | None] = {}
    for table_name, key, columns in entries:
        if columns is None:
            before[table_name, key] = None
        else:
            before[table_name, key] = {**(before.get((table_name, key)) or {}), **columns}
    for (table_name, text), columns in before.items():
        table = Base.metadata.tables[table_name]
        (key_column,) = table.primary_key.columns
        key = int(text) if isinstance(key_column.type, Integer) else text
        if columns is None:
            session.execute(delete(table).where(key_column == key))
        else:
            session.execute(update(table).where(key_column == key).values(columns))
    _follow_orders(session, [key for name, key in before if name == _purchases.name])
    _keep_canceled(session, [key for name, key in before if name == _requests.name])


def _follow_orders(session: Session, purchase_ids: list[str]) -> None:
    """A purchase may have been shipped since the undo log last saw its status."""
    statuses = []
    for chunk in chunks(purchase_ids):
        rows = session.execute(
            select(_purchases.c.id.label("purchase_id"), _purchases.c.shipped_at, *_orders.c)
            .outerjoin(_orders, _orders.c.order_hash == _purchases.c.order_hash)
            .where(_purchases.c.id.in_(chunk))
        ).mappings()
        for row in rows:
            order = None if row["order_hash"] is None else {**row}
            status = purchase_status(order, row["shipped_at"])
            statuses.append({"_id": row["purchase_id"], "_status": status})
    if statuses:
        session.execute(
            update(_purchases)
            .where(_purchases.c.id == bindparam("_id"))
            .values(status=bindparam("_status")),
            statuses,
        )


def _keep_canceled(session: Session, request_ids: list[str]) -> None:
    """A payment request may have been canceled since the undo log last saw its status."""
    for chunk in chunks(request_ids):
        session.execute(
            update(_requests)
            .where(
                _requests.c.id.in_(chunk),
                _requests.c.canceled_at.is_not(None),
                _requests.c.status == PaymentRequestStatus.OPEN,
            )
            .values(status=PaymentRequestStatus.CANCELED)
        )
