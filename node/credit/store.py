"""Trade and lines out of the node's own database, of one merchant's sellers.

A seller is named by the id of its account. Times are those of the chain's blocks, and for what the
shop says of orders (reviews, cancellations, returns) the times it says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Select, and_, func, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session, aliased

from node.credit.features import LINE_COLUMNS
from node.credit.repayment import Terms, new_line
from node.credit.trade import COLUMNS, check_trade
from node.index.credit import line_of
from node.index.credit_line import Line
from node.store import models
from node.store.models import AccountStatus, DisputeState, FactKind, LineStatus

_ACCOUNTS = models.Account.__table__
_PURCHASES = models.Purchase.__table__
_ORDERS = models.EscrowOrder.__table__
_DISPUTES = models.Dispute.__table__
_FACTS = models.SalesFact.__table__
_LEDGER = models.LedgerEntry.__table__
_LINES = models.CreditLine.__table__
_ENTRIES = models.CreditEntry.__table__
_HOLDS = models.LineHold.__table__
_MEMBERS = models.Member.__table__
_BLOCKS = models.Block.__table__

_AT_ONCE = 400  # more parameters not every database takes
BPS = 10_000


class NoSuchSeller(Exception):
    """A name that is no seller's of this merchant; the message is for people."""


@dataclass(frozen=True, slots=True)
class SellerAccount:
    """A seller as the bridge knows it."""

    id: str
    reference: str | None
    address: str
    frozen: bool


def chain_now(session: Session) -> int:
    """The time of the newest block that is indexed: nothing here is later."""
    return session.scalar(select(func.max(_BLOCKS.c.timestamp))) or 0


def find_sellers(
    session: Session, merchant_id: str, accounts: Collection[str] | None = None
) -> list[SellerAccount]:
    """The sellers of a merchant, or those of the given ids.

    Raises:
        NoSuchSeller: one of the ids is no account of this merchant's.
    """
    statement = (
        select(
            _ACCOUNTS.c.id,
            _ACCOUNTS.c.reference,
            _ACCOUNTS.c.address,
            _ACCOUNTS.c.status,
            _MEMBERS.c.frozen,
        )
        .join(_MEMBERS, _MEMBERS.c.address == _ACCOUNTS.c.address, isouter=True)
        .where(_ACCOUNTS.c.merchant_id == merchant_id)
        .order_by(_ACCOUNTS.c.id)
    )
    rows = list(_by_parts(session, statement, _ACCOUNTS.c.id, accounts))
    if accounts is not None:
        found = {row.id for row in rows}
        for account in accounts:
            if account not in found:
                raise NoSuchSeller(f"there is no account {account!r} of this merchant")
    return [
        SellerAccount(
            row.id,
            row.reference,
            row.address,
            frozen=bool(row.frozen) or row.status != AccountStatus.ACTIVE,
        )
        for row in rows
    ]


def read_trade(
    session: Session, merchant_id: str, now: int, accounts: Collection[str] | None = None
) -> pl.DataFrame:
    """The trade of a merchant's sellers, checked.

    An order counts as settled when nothing of it is held any more: what is paid out in parts is
    trade once it is complete.

    Args:
        now: UTC seconds; later facts of the shop's are left for later.
        accounts: of these sellers alone.

    Raises:
        BadTrade: the database says what cannot be.
    """
    payer = aliased(models.Account)
    statement = (
        select(
            _PURCHASES.c.order_id,
            _PURCHASES.c.order_hash,
            _PURCHASES.c.payee_account_id,
            _PURCHASES.c.payer_account_id,
            _PURCHASES.c.amount,
            _PURCHASES.c.fee_bps,
            _PURCHASES.c.authorized_at,
            _PURCHASES.c.shipped_at,
            _PURCHASES.c.delivered_at,
            _PURCHASES.c.closed_at,
            _ORDERS.c.released,
            _ORDERS.c.fee,
            _ORDERS.c.refunded,
            _ORDERS.c.voided,
            _ORDERS.c.reclaimed,
            _DISPUTES.c.opened_at,
            _DISPUTES.c.closed_at.label("dispute_closed_at"),
            _DISPUTES.c.to_payer,
            _DISPUTES.c.to_seller,
            _ORDERS.c.dispute,
            _ACCOUNTS.c.address.label("seller_address"),
            payer.address.label("buyer_address"),
        )
        .join(_ORDERS, _ORDERS.c.order_hash == _PURCHASES.c.order_hash)
        .join(_ACCOUNTS, _ACCOUNTS.c.id == _PURCHASES.c.payee_account_id)
        .join(payer, payer.id == _PURCHASES.c.payer_account_id)
        .join(_DISPUTES, _DISPUTES.c.order_hash == _PURCHASES.c.order_hash, isouter=True)
        .where(
            _PURCHASES.c.merchant_id == merchant_id,
            _PURCHASES.c.authorized_at.is_not(None),
        )
        .order_by(_PURCHASES.c.id)
    )
    rows = list(_by_parts(session, statement, _PURCHASES.c.payee_account_id, accounts))
    facts = _facts(session, merchant_id, now, accounts)
    refunds = _refunds(session, rows)
    tied = _tied(session, {row.seller_address for row in rows})
    frame = pl.DataFrame(
        [_order(row, now, facts, refunds, tied) for row in rows], schema=COLUMNS, orient="row"
    )
    return check_trade(frame, now)


def read_lines(session: Session, sellers: Sequence[SellerAccount], now: int) -> pl.DataFrame:
    """What became of the sellers' lines until now, as `features.LINE_COLUMNS`.

    Due dates are reckoned anew from what was drawn and paid; payment holidays are not in that
    record, so a due date that was postponed may count as missed.
    """
    by_address = {seller.address: seller for seller in sellers}
    addresses = list(by_address)
    lines = {
        row.seller: row for row in _by_parts(session, select(_LINES), _LINES.c.seller, addresses)
    }
    held = {
        row.account_id
        for row in _by_parts(
            session, select(_HOLDS), _HOLDS.c.account_id, [seller.id for seller in sellers]
        )
    }
    entries: dict[str, list[Row[Any]]] = {}
    statement = select(_ENTRIES).order_by(_ENTRIES.c.id)
    for entry in _by_parts(session, statement, _ENTRIES.c.seller, list(lines)):
        entries.setdefault(entry.seller, []).append(entry)
    found = []
    for address, row in lines.items():
        line = line_of(row._asdict())
        line.advance(max(now, line.accrued_at))
        met, missed, largest = _history(row, entries.get(address, []), now)
        owed = line.payoff or row.loss_to_pool + row.loss_to_reserve
        seller = by_address[address]
        found.append(
            {
                "seller": seller.id,
                "owed": owed,
                "windows_met": met,
                "windows_missed": missed,
                "largest_repaid": largest,
                "good_standing": (
                    line.status in (LineStatus.ACTIVE, LineStatus.CLOSED)
                    and not line.past_due_since
                    and not seller.frozen
                    and seller.id not in held
                ),
            }
        )
    return pl.DataFrame(found, schema=LINE_COLUMNS, orient="row")


@dataclass(frozen=True, slots=True)
class _Facts:
    """The earliest of each kind that stands, by order id; a review is the latest."""

    canceled: dict[str, int]
    returned: dict[str, int]
    reviews: dict[str, tuple[int, int]]


def _facts(
    session: Session, merchant_id: str, now: int, accounts: Collection[str] | None
) -> _Facts:
    statement = (
        select(_FACTS)
        .where(
            _FACTS.c.merchant_id == merchant_id,
            _FACTS.c.withdrawn.is_(False),
            _FACTS.c.occurred_at <= now,
        )
        .order_by(_FACTS.c.occurred_at.desc(), _FACTS.c.id.desc())
    )
    facts = _Facts({}, {}, {})
    for row in _by_parts(session, statement, _FACTS.c.seller_account_id, accounts):
        match row.kind:
            case FactKind.CANCELLATION:
                facts.canceled[row.order_id] = row.occurred_at
            case FactKind.RETURN:
                facts.returned[row.order_id] = row.occurred_at
            case FactKind.REVIEW:
                facts.reviews.setdefault(row.order_id, (row.score, row.occurred_at))
    return facts


def _refunds(session: Session, rows: Iterable[Row[Any]]) -> dict[str, int]:
    """When each refunded order was refunded first, by its hash."""
    hashes = [row.order_hash for row in rows if row.refunded]
    statement = (
        select(_LEDGER.c.ref, func.min(_LEDGER.c.block_timestamp).label("first"))
        .where(_LEDGER.c.kind == "refund")
        .group_by(_LEDGER.c.ref)
    )
    found = _by_parts(session, statement, _LEDGER.c.ref, hashes)
    return {row.ref: row.first for row in found}


def _tied(session: Session, sellers: Collection[str]) -> set[tuple[str, str]]:
    """Sellers and who they sent coin to, or got coin from, other than for an order."""
    statement = (
        select(_LEDGER.c.address, _LEDGER.c.counterparty)
        .where(_LEDGER.c.kind == "transfer")
        .distinct()
    )
    found = _by_parts(session, statement, _LEDGER.c.address, list(sellers))
    return {(row.address, row.counterparty) for row in found}


def _order(
    row: Row[Any],
    now: int,
    facts: _Facts,
    refunds: dict[str, int],
    tied: set[tuple[str, str]],
) -> dict[str, Any]:
    bought = row.authorized_at

    def since(time: int | None) -> int | None:
        """Facts of the shop's may be dated before the chain had the order."""
        return None if time is None else min(max(time, bought), now)

    settled = row.closed_at if row.released else None
    given_back = row.closed_at if row.voided + row.reclaimed and not row.released else None
    canceled = given_back or facts.canceled.get(row.order_id)
    returned = refunds.get(row.order_hash) or facts.returned.get(row.order_id)
    lost = (
        row.dispute is not None
        and row.dispute != DisputeState.OPEN
        and row.to_payer > row.to_seller
    )
    score, reviewed = facts.reviews.get(row.order_id, (None, None))
    pair = (row.seller_address, row.buyer_address)
    return {
        "order_id": row.order_id,
        "seller": row.payee_account_id,
        "buyer": row.payer_account_id,
        "linked": pair in tied or row.seller_address == row.buyer_address,
        "amount": row.amount,
        "net": row.released - row.fee
        if settled is not None
        else row.amount - row.amount * row.fee_bps // BPS,
        "purchased_at": bought,
        "ship_by": None,  # the chain knows of no promise
        "shipped_at": since(row.shipped_at),
        "delivered_at": row.delivered_at,
        "settled_at": settled,
        "canceled_at": since(canceled),
        "returned_at": since(returned),
        "disputed_at": row.opened_at,
        "lost_at": row.dispute_closed_at if lost else None,
        "review": score,
        "reviewed_at": since(reviewed),
    }


def _history(row: Row[Any], entries: Sequence[Row[Any]], now: int) -> tuple[int, int, int | None]:
    """Due dates met and missed, and the largest amount that was drawn and repaid in full."""
    line: Line | None = None
    met = missed = drawn = 0
    largest: int | None = None

    def pass_time(line: Line, time: int) -> None:
        nonlocal met, missed
        while line.window_end and time >= line.window_end:
            line.advance(line.window_end)
            late = line.past_due_principal or line.past_due_interest
            if late or line.status is LineStatus.DEFAULTED:
                missed += 1
            else:
                met += 1
        line.advance(time)

    for entry in entries:
        if line is None:
            line = _fresh(row, entry.block_timestamp)
        pass_time(line, entry.block_timestamp)
        if entry.kind == "drawn":
            line.draw(entry.principal, entry.fees, entry.block_timestamp)
            drawn += entry.principal
            largest = largest or 0
        elif entry.kind == "repaid":
            principal = min(abs(entry.principal), line.principal)
            interest = min(abs(entry.fees) + abs(entry.interest), line.interest_owed)
            line.pay(interest, principal)
        if drawn and entry.principal_after == 0 and entry.interest_after == 0:
            if entry.kind == "repaid":
                largest = max(largest or 0, drawn)
                met += 1  # what is paid off is paid before its due date
            drawn = 0
    if line is not None and row.status == LineStatus.ACTIVE:
        pass_time(line, max(now, line.accrued_at))
    return met, missed, largest


def _fresh(row: Row[Any], now: int) -> Line:
    terms = Terms(row.limit, row.apr_bps, row.draw_fee_bps, row.agreed_holdback_bps, term_days=0)
    return new_line(terms, now)


def _by_parts(
    session: Session, statement: Select[Any], column: Any, values: Collection[str] | None
) -> Iterable[Row[Any]]:
    """The rows of a statement whose column is one of the values; all of them for None."""
    if values is None:
        yield from session.execute(statement)
        return
    listed = list(values)
    for start in range(0, len(listed), _AT_ONCE):
        part = listed[start : start + _AT_ONCE]
        yield from session.execute(statement.where(and_(column.in_(part))))
