"""Whole databases compared: every row the indexer writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Table, insert, select, update
from sqlalchemy.orm import Session

from node.store import Store
from node.store.models import (
    Account,
    Base,
    ChainTx,
    ChainTxOperation,
    ChainTxStatus,
    Event,
    MoveStatus,
    Operation,
    OperationStatus,
    Purchase,
    PurchaseStatus,
    Redemption,
    TopUp,
    Transfer,
    TxAttempt,
)
from tests.node.platform import Platform

PROJECTIONS = (
    "blocks",
    "members",
    "ledger_entries",
    "escrow_orders",
    "disputes",
    "evidence_logs",
    "claimables",
    "supply",
    "credit_lines",
    "credit_totals",
    "pool_totals",
    "lenders",
)
RESOURCES = ("accounts", "topups", "redemptions", "transfers", "purchases")
EXECUTION = ("operations", "chain_txs", "chain_tx_operations")
# Row numbers and wall-clock times say nothing of the chain.
_IGNORED = {
    "credit_entries": {"id"},
    "ledger_entries": {"id"},
    "evidence_logs": {"id"},
    "operations": {"updated_at"},
    "purchases": {"error"},  # of the last failed operation, which the chain may never have heard of
}


def projections(
    store: Store, tables: tuple[str, ...] = (*PROJECTIONS, *RESOURCES, *EXECUTION)
) -> dict[str, list[dict[str, Any]]]:
    """Every row of the tables, in an order of their own."""

    def read(session: Session) -> dict[str, list[dict[str, Any]]]:
        found = {}
        for name in tables:
            table = Base.metadata.tables[name]
            ignored = _IGNORED.get(name, set())
            rows = [
                {key: value for key, value in row.items() if key not in ignored}
                for row in session.execute(select(table)).mappings()
            ]
            found[name] = sorted(rows, key=repr)
        return found

    return store.read_now(read)


def told(store: Store) -> set[tuple[str, str, str]]:
    """What was told of the chain: type, resource and cause (not of what simulations refused)."""
    return store.read_now(
        lambda session: {
            (event.type, event.resource_id, event.cause or "")
            for event in session.scalars(
                select(Event).where(Event.cause.not_like("op\\_%", escape="\\"))
            )
        }
    )


def unindexed_copy(platform: Platform, source: Store, path: Path) -> Store:
    """A new database that knows what was asked for and signed, and nothing of the chain.

    What a simulation refused stays refused: the chain never heard of it.
    """
    store = platform.new_store(path)
    copied = ("merchants", *RESOURCES, *EXECUTION, "tx_attempts")

    def read(session: Session) -> dict[str, list[dict[str, Any]]]:
        return {
            name: [
                dict(row) for row in session.execute(select(Base.metadata.tables[name])).mappings()
            ]
            for name in copied
        }

    rows = source.read_now(read)

    def write(session: Session) -> None:
        for name in copied:
            if rows[name]:
                session.execute(insert(Base.metadata.tables[name]), rows[name])
        signed = select(ChainTxOperation.operation_id)
        session.execute(
            update(Operation)
            .where(Operation.id.in_(signed))
            .values(
                status=OperationStatus.SUBMITTED, block_number=None, error=None, error_code=None
            )
        )
        session.execute(
            update(ChainTx).values(
                status=ChainTxStatus.SIGNED,
                block_number=None,
                block_timestamp=None,
                transaction_index=None,
                succeeded=None,
            )
        )
        session.execute(update(ChainTxOperation).values(succeeded=None))
        refused = select(Operation.resource_id).where(Operation.id.not_in(signed))
        for model in (Account, TopUp, Redemption, Transfer):
            table: Table = model.__table__  # type: ignore[assignment]
            session.execute(
                update(table)
                .where(table.c.id.not_in(refused))
                .values(status=MoveStatus.PENDING, error=None)
            )
        session.execute(update(Purchase).where(Purchase.id.not_in(refused)).values(error=None))
        for purchase in session.scalars(select(Purchase)):
            purchase.status = PurchaseStatus.CREATED
            purchase.authorized_at = purchase.delivered_at = purchase.closed_at = None

    store.write_now(write)
    return store


def hashes(store: Store) -> dict[str, str]:
    """The transaction hash of every operation signed: one each, of its own or of its batch."""
    rows = store.read_now(
        lambda session: session.execute(
            select(ChainTxOperation.operation_id, TxAttempt.hash).join(
                TxAttempt, TxAttempt.chain_tx_id == ChainTxOperation.chain_tx_id
            )
        ).all()
    )
    assert len(rows) == len({operation_id for operation_id, _ in rows})
    return dict(rows)


def statuses(store: Store) -> dict[str, str]:
    """Status of every operation, by kind and reference."""
    return store.read_now(
        lambda session: {
            operation.id: operation.status for operation in session.scalars(select(Operation))
        }
    )
