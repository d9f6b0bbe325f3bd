"""What an address has and can still spend."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, func, literal, select, union_all
from sqlalchemy.orm import Session

from node.bridge.operations import is_unsettled
from node.bridge.problems import Problem
from node.bridge.rows import table
from node.store import models
from node.store.prepared import Prepared

_MEMBERS, _OPERATIONS = table(models.Member), table(models.Operation)
_ORDERS = table(models.EscrowOrder)
# Added up here, not in SQL: SQLite's own sums end at 64 bits.
_BALANCE_AND_DEBITS = Prepared(
    union_all(
        select(_MEMBERS.c.balance.label("amount"), literal(1).label("sign")).where(
            _MEMBERS.c.address == bindparam("its_address")
        ),
        select(_OPERATIONS.c.debit_amount, literal(-1)).where(
            _OPERATIONS.c.debit_address == bindparam("its_address"),
            is_unsettled(_OPERATIONS.c.status),
        ),
    )
)
_UNSETTLED_CREDITS = select(_OPERATIONS.c.credit_amount).where(
    _OPERATIONS.c.credit_address == bindparam("its_address"), is_unsettled(_OPERATIONS.c.status)
)
_HELD = select(_ORDERS.c.held).where(_ORDERS.c.payer == bindparam("its_address"))
_NEWEST_BLOCK = select(func.max(table(models.Block).c.number))


class Funds(NamedTuple):
    """Atomic units.

    Attributes:
        available: the indexed balance less what unsettled operations will take.
        held: in escrow for the address's purchases.
        pending: on its way in by unsettled operations.
        as_of_block: the newest block that balance and held are of.
    """

    available: int
    held: int
    pending: int
    as_of_block: int


def available(session: Session, address: str) -> int:
    rows = _BALANCE_AND_DEBITS.run(session, {"its_address": address})
    return sum(row.sign * row.amount for row in rows)


def refuse_unless_available(session: Session, address: str, needed: int) -> None:
    """Raises:
    Problem: insufficient_funds.
    """
    has = available(session, address)
    if has < needed:
        raise Problem(
            "insufficient_funds",
            f"{address} has {max(has, 0)} available, {needed} is needed",
            available=str(max(has, 0)),
            needed=str(needed),
        )


def funds_of(session: Session, address: str) -> Funds:
    which = {"its_address": address}
    credits = session.scalars(_UNSETTLED_CREDITS, which)
    held = session.scalars(_HELD, which)
    newest_block = session.scalar(_NEWEST_BLOCK)
    return Funds(
        # Coin may have left by a way that no operation of ours foresaw.
        available=max(available(session, address), 0),
        held=sum(held),
        pending=sum(credits),
        as_of_block=newest_block or 0,
    )
