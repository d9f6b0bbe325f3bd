"""Which operations other transactions have carried out, or may yet.

An operation may be in several transactions over time: one of a batch that failed as a whole, then
one alone; and after a rollback any of them may succeed. What one transaction did not do fails the
operation only if none of the others has done it, and none of them can any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Table, or_, select
from sqlalchemy.orm import Session

from node.store.models import ChainTx, ChainTxOperation, ChainTxStatus

_chain_txs: Table = ChainTx.__table__  # type: ignore[assignment]
_carried: Table = ChainTxOperation.__table__  # type: ignore[assignment]

_MOST_PARAMETERS = 500  # of one IN list


def carried_elsewhere(session: Session, operation_ids: Sequence[str]) -> set[str]:
    """Return those that a transaction has carried out, or that one on its way still may.

    Transactions whose own end is being written must be out of status "signed" already.
    """
    found: set[str] = set()
    for start in range(0, len(operation_ids), _MOST_PARAMETERS):
        found.update(
            session.scalars(
                select(_carried.c.operation_id)
                .join(_chain_txs, _chain_txs.c.id == _carried.c.chain_tx_id)
                .where(
                    _carried.c.operation_id.in_(operation_ids[start : start + _MOST_PARAMETERS]),
                    or_(
                        _carried.c.succeeded.is_(True),
                        _chain_txs.c.status == ChainTxStatus.SIGNED,
                    ),
                )
            )
        )
    return found
