"""What the credit resources have in common: lines and totals as indexed, and references."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.bridge.accounts import find_account
from node.bridge.problems import Problem, not_found
from node.bridge.rows import owned, table
from node.index.credit import TOTALS_ID, line_of
from node.index.credit_line import BPS, Line
from node.settings import DAY
from node.store import models
from node.store.models import LineStatus, MoveStatus
from node.store.prepared import Prepared

CreditMove = (
    type[models.Draw]
    | type[models.Repayment]
    | type[models.PoolDeposit]
    | type[models.PoolWithdrawal]
    | type[models.ReserveFunding]
)

# How long what a managed account signs here can be carried out. It may lie in the outbox of a node
# that is down meanwhile; it counts once in any case.
SIGNED_FOR = 30 * DAY

_LINES = table(models.CreditLine)
_MEMBERS = table(models.Member)
_CASH = select(_MEMBERS.c.balance).where(_MEMBERS.c.address == bindparam("its_address"))
_BLOCKS = table(models.Block)
_NEWEST_TIME = select(_BLOCKS.c.timestamp).order_by(_BLOCKS.c.number.desc()).limit(1)
_NEWEST_BLOCK = select(func.max(_BLOCKS.c.number))
_HOLDS = table(models.LineHold)
_FIND_HOLD = select(_HOLDS).where(_HOLDS.c.account_id == bindparam("its_account"))
_OFFERS = table(models.CreditOffer)
_OFFERED_BY = select(_OFFERS.c.merchant_id).where(_OFFERS.c.offer_hash == bindparam("its_offer"))
_FIND_LINE = Prepared(select(_LINES).where(_LINES.c.seller == bindparam("its_seller")))


def find_line(session: Session, seller: str) -> Row[Any] | None:
    """A seller's line as of its newest log."""
    row: Row[Any] | None = _FIND_LINE.one_or_none(session, {"its_seller": seller})
    return row


def line_now(row: Row[Any], now: int) -> Line:
    """The line of a row, brought to a time that is not before its newest log."""
    line = line_of(row._asdict())
    line.advance(now)
    return line


def account_of_line(line: str) -> str:
    """The id of the seller's account, which the line's id follows from.

    Raises:
        Problem: not_found.
    """
    prefix, _, rest = line.partition("_")
    if prefix != "lin":
        raise not_found("credit line", line, "id")
    return f"acc_{rest}"


def find_own_line(session: Session, merchant_id: str, line: str) -> tuple[Row[Any], Row[Any]]:
    """Return the seller's account, and its line as of its newest log.

    A seller with a key of its own may sell at several merchants: its line is that merchant's whose
    offer has opened it.

    Raises:
        Problem: not_found.
    """
    account = find_account(session, merchant_id, account_of_line(line))
    row = find_line(session, account.address)
    if row is None or session.scalar(_OFFERED_BY, {"its_offer": row.offer_hash}) not in (
        None,
        merchant_id,
    ):
        raise not_found("credit line", line, "id")
    return account, row


def find_hold(session: Session, account_id: str) -> Row[Any] | None:
    """Why the bridge draws nothing on an account's line; None where it may."""
    return session.execute(_FIND_HOLD, {"its_account": account_id}).one_or_none()


def owed_of(row: Row[Any], line: Line) -> int:
    """What pays a line off; once charged off, what there is to recover."""
    if line.status is LineStatus.CHARGED_OFF:
        return int(row.loss_to_pool + row.loss_to_reserve)
    return line.payoff


def past_due_of(row: Row[Any], line: Line) -> int:
    if line.status is LineStatus.ACTIVE:
        return line.past_due_interest + line.past_due_principal
    return owed_of(row, line)


def status_of(row: Row[Any], line: Line, now: int) -> str:
    """A line on which nothing is owed and nothing can be drawn is closed, though the book, which
    would take a new offer for it, calls it active."""
    if line.status is LineStatus.ACTIVE and not row.limit and not line.payoff:
        return str(LineStatus.CLOSED)
    return "delinquent" if line.delinquent(now) else str(line.status)


def newest_block(session: Session) -> int:
    """The block that all indexed state is of."""
    return session.scalar(_NEWEST_BLOCK) or 0


def not_before_indexed(session: Session, now: int) -> int:
    """The chain's time, no earlier than the newest indexed block: the clock's word may be a moment
    older, and what was just told of a line must not be looked at from before it."""
    return max(now, session.scalar(_NEWEST_TIME) or 0)


def totals_of(session: Session) -> dict[str, Any]:
    """The totals of all lines; zeros before the first log."""
    return _one(session, models.CreditTotals)


def pool_of(session: Session) -> dict[str, Any]:
    """The totals of the lender pool; zeros before the first log."""
    return _one(session, models.PoolTotals)


def _one(
    session: Session, model: type[models.CreditTotals] | type[models.PoolTotals]
) -> dict[str, Any]:
    rows = table(model)
    row = session.execute(select(rows).where(rows.c.id == TOTALS_ID)).mappings().one_or_none()
    return dict.fromkeys(rows.columns.keys(), 0) if row is None else dict(row)


def holdback_of(session: Session, seller: str, net: int, now: int) -> int:
    """What of a sale goes to the seller's line, as far as the line is known here."""
    row = find_line(session, seller)
    if row is None:
        return 0
    now = not_before_indexed(session, now)
    line = line_now(row, now)
    owed = line.payoff or row.loss_to_pool or row.loss_to_reserve
    return min(net * line.holdback_at(now) // BPS, owed)


def refuse_taken_reference(
    session: Session, model: CreditMove, merchant_id: str, reference: str, account_id: str | None
) -> None:
    """A reference stands for one intention of an account. One that failed is free again.

    Raises:
        Problem: reference_taken, naming the resource that has it.
    """
    moves = table(model)
    statement = owned(model, merchant_id).where(
        moves.c.reference == reference,
        moves.c.status.not_in((MoveStatus.FAILED, MoveStatus.CANCELED)),
    )
    if account_id is not None:
        statement = statement.where(moves.c.account_id == account_id)
    taken = session.execute(statement).one_or_none()
    if taken is not None:
        raise Problem(
            "reference_taken",
            f"{taken.id} ({taken.status}) has the reference {reference!r}",
            param="reference",
            resource_id=taken.id,
        )


def pending(session: Session, model: CreditMove, column: str, account_id: str | None = None) -> int:
    """The sum of a column over what was asked for and the chain has not done yet.

    Args:
        account_id: None for all accounts, of all merchants.
    """
    moves = table(model)
    statement = select(moves.c[column]).where(moves.c.status == MoveStatus.PENDING)
    if account_id is not None:
        statement = statement.where(moves.c.account_id == account_id)
    amounts: Iterable[int] = session.scalars(statement)
    return sum(amounts)


def cash_of(session: Session, pool: str) -> int:
    """The pool's coin, as indexed."""
    return session.scalar(_CASH, {"its_address": pool}) or 0
