"""Credit lines, reserve and lender pool, compared with the chain to the unit.

The book brings a line to the time of the call, and so do we, by the time it says it used: interest
is then compared as it is counted, in bps-seconds, where a difference of one second shows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from node.chain.codec import ContractCodec
from node.index.chain_reader import Contracts
from node.index.credit import TOTALS_ID, line_of
from node.index.credit_line import BPS_YEAR
from node.store.models import (
    CreditLine,
    CreditTotals,
    LedgerEntry,
    Lender,
    LineStatus,
    Member,
    PoolTotals,
)

_STATUSES = (None, *LineStatus)  # as ICreditBook.Status numbers them
# Transfers that the book and the pool did not ask for.
_GIFTS = ("transfer", "topup", "seizure")

# What chain and database say of a subject's quantity.
Compare = Callable[[str, str, Any, Any], None]
# Contract, function, arguments of each call; answers in their order.
Ask = Callable[[ContractCodec, str, Sequence[tuple[Any, ...]]], Awaitable[list[Any]]]


@dataclass(frozen=True)
class CreditFigures:
    """All lines and the pool in sum. Amounts are atomic units.

    Attributes:
        interest: owed by all lines at that block, rounded down.
        book_value: what lenders own in lines.
        share_price: coin that 10^12 shares (one coin at first) are worth.
    """

    principal: int
    interest: int
    reserve: int
    drawn: int
    principal_repaid: int
    interest_paid: int
    repaid_by_sales: int
    waived: int
    written_off: int
    recovered: int
    book_value: int
    pool_cash: int
    shares: int
    share_price: int


@dataclass(frozen=True)
class CreditBooks:
    """The database's side in one consistent read."""

    lines: dict[str, dict[str, Any]]
    totals: dict[str, Any]
    pool: dict[str, Any]
    lenders: dict[str, int]
    pool_cash: int
    book_gifts: int

    def interest(self, timestamp: int) -> int:
        """Owed by all lines at a time, in bps-seconds, by the totals."""
        totals = self.totals
        elapsed = timestamp - totals["domain_start"]
        return int(totals["accounted_interest"] + totals["issuance_rate"] * elapsed)

    def figures(self, timestamp: int) -> CreditFigures:
        totals, pool = self.totals, self.pool
        interest = self.interest(timestamp) // BPS_YEAR
        book_value = totals["principal"] + interest
        return CreditFigures(
            principal=totals["principal"],
            interest=interest,
            reserve=totals["reserve"],
            drawn=totals["drawn"],
            principal_repaid=totals["principal_repaid"],
            interest_paid=totals["interest_paid"],
            repaid_by_sales=totals["repaid_by_sales"],
            waived=totals["waived"],
            written_off=totals["principal_written_off"] + totals["interest_written_off"],
            recovered=totals["recovered_to_pool"] + totals["recovered_to_reserve"],
            book_value=book_value,
            pool_cash=self.pool_cash,
            shares=pool["shares"],
            share_price=assets_of(10**12, pool["shares"], self.pool_cash + book_value),
        )


def assets_of(shares: int, total_shares: int, total_assets: int) -> int:
    """What shares are worth, as the pool rounds it: ERC-4626 with 6 decimals of offset."""
    return shares * (total_assets + 1) // (total_shares + 10**6)


def read_credit(session: Session, contracts: Contracts) -> CreditBooks:
    """Read the database's side."""

    def one(model: type[CreditTotals] | type[PoolTotals]) -> dict[str, Any]:
        row = session.get(model, TOTALS_ID)
        names = [column.name for column in model.__table__.columns]
        return {name: 0 if row is None else getattr(row, name) for name in names}

    lines = CreditLine.__table__
    gifts = session.scalars(
        select(LedgerEntry.delta).where(
            LedgerEntry.address == contracts.book, LedgerEntry.kind.in_(_GIFTS)
        )
    )
    return CreditBooks(
        lines={row["seller"]: dict(row) for row in session.execute(select(lines)).mappings()},
        totals=one(CreditTotals),
        pool=one(PoolTotals),
        lenders=dict(session.execute(select(Lender.address, Lender.shares)).all()),
        pool_cash=session.scalar(select(Member.balance).where(Member.address == contracts.pool))
        or 0,
        book_gifts=sum(gifts),
    )


async def compare_credit(
    books: CreditBooks, contracts: Contracts, ask: Ask, compare: Compare, timestamp: int
) -> None:
    """Compare everything of credit.

    Args:
        ask: calls at the block compared.
        compare: told of every quantity.
        timestamp: of that block.
    """
    book, pool, coin = (ContractCodec(n) for n in ("CreditBook", "LenderPool", "PlatformCoin"))
    await _compare_lines(books, book, ask, compare, timestamp)
    (totals,) = await ask(book, "totals", [()])
    (line_cap,) = await ask(book, "lineCap", [()])
    expected = books.totals
    same = {
        "principal": expected["principal"],
        "reserve": expected["reserve"],
        "principalCap": expected["principal_cap"],
        "issuanceRate": expected["issuance_rate"],
        "reserveBps": expected["reserve_bps"],
        "drawsPaused": bool(expected["draws_paused"]),
    }
    for what, value in same.items():
        compare("credit", what, totals[what], value)
    compare("credit", "lineCap", line_cap, expected["line_cap"])
    # The chain's interest is as of its own last update, which is no later than the block.
    elapsed = timestamp - totals["domainStart"]
    interest = totals["accountedInterest"] + totals["issuanceRate"] * elapsed
    compare("credit", "interest", interest, books.interest(timestamp))
    parts = expected["drawn"] - expected["principal_repaid"] - expected["principal_written_off"]
    compare("credit", "drawn - repaid - written off", expected["principal"], parts)

    (book_coin, pool_coin) = await ask(coin, "balanceOf", [(contracts.book,), (contracts.pool,)])
    compare("credit", "coin of the book", book_coin, expected["reserve"] + books.book_gifts)
    compare("pool", "cash", pool_coin, books.pool_cash)
    (shares,) = await ask(pool, "totalSupply", [()])
    compare("pool", "shares", shares, books.pool["shares"])
    compare("pool", "sum of shares", shares, sum(books.lenders.values()))
    (value,) = await ask(book, "bookValue", [()])
    figures = books.figures(timestamp)
    compare("credit", "book value", value, figures.book_value)
    (assets,) = await ask(pool, "totalAssets", [()])
    compare("pool", "total assets", assets, figures.book_value + books.pool_cash)
    lenders = sorted(books.lenders)
    held = await ask(pool, "balanceOf", [(address,) for address in lenders])
    for address, actual in zip(lenders, held, strict=True):
        compare(address, "shares", actual, books.lenders[address])


async def _compare_lines(
    books: CreditBooks, book: ContractCodec, ask: Ask, compare: Compare, timestamp: int
) -> None:
    sellers = sorted(books.lines)
    answers = await ask(book, "lineOf", [(seller,) for seller in sellers])
    principal = interest = 0
    for seller, (line, terms, dues, loss) in zip(sellers, answers, strict=True):
        row = books.lines[seller]
        expected = line_of(row)
        expected.advance(timestamp)
        values = asdict(expected)
        actual = {
            "status": _STATUSES[line["status"]],
            "principal": line["principal"],
            "interest": line["interest"],
            "accrued_at": line["accruedAt"],
            "apr_bps": line["aprBps"],
            "holdback_bps": line["holdbackBps"],
            "window_end": line["windowEnd"],
            "past_due_since": line["pastDueSince"],
            "installment": line["installment"],
            "installment_due": line["installmentDue"],
            "interest_due": dues["interestDue"],
            "past_due_interest": dues["pastDueInterest"],
            "past_due_principal": dues["pastDuePrincipal"],
        }
        for what, value in values.items():
            compare(seller, what, actual[what], value)
        terms_of = {
            "limit": terms["limit"],
            "draw_until": terms["drawUntil"],
            "draw_fee_bps": terms["drawFeeBps"],
            "agreed_holdback_bps": terms["agreedHoldbackBps"],
            "loss_to_pool": loss["toPool"],
            "loss_to_reserve": loss["toReserve"],
        }
        for what, value in terms_of.items():
            compare(seller, what, value, row[what])
        principal += expected.principal
        interest += expected.interest
    compare("credit", "sum of principal", books.totals["principal"], principal)
    # A line whose default nobody has recorded yet accrues on in both: the book stops it when it
    # is touched, as of then.
    compare("credit", "sum of interest", books.interest(timestamp), interest)
