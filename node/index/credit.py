"""What the credit book and the lender pool say, written into the database.

A line's events bring it to their block's time first, as the book does, so interest and dues are
exact at every log; between logs `credit_line` tells what time has done to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session

from node.chain.codec import Event as Log
from node.index.chain_reader import Contracts, ReadBlock
from node.index.credit_line import BPS_YEAR, Line
from node.index.ledger import NO_ORDER, ZERO_ADDRESS
from node.index.rows import Rows, UndoLog, chunks
from node.store.models import (
    Account,
    CreditEntry,
    CreditLine,
    CreditOffer,
    CreditTotals,
    Draw,
    Lender,
    LineAction,
    LineStatus,
    MoveStatus,
    OfferStatus,
    PoolDeposit,
    PoolTotals,
    PoolWithdrawal,
    Repayment,
    ReserveFunding,
)

TOTALS_ID = 1
DAY = 86_400

_accounts: Table = Account.__table__  # type: ignore[assignment]
_actions: Table = LineAction.__table__  # type: ignore[assignment]
_credit_entries: Table = CreditEntry.__table__  # type: ignore[assignment]
_lenders: Table = Lender.__table__  # type: ignore[assignment]
_lines: Table = CreditLine.__table__  # type: ignore[assignment]
_offers: Table = CreditOffer.__table__  # type: ignore[assignment]
_pool_totals: Table = PoolTotals.__table__  # type: ignore[assignment]
_totals: Table = CreditTotals.__table__  # type: ignore[assignment]

LINE_FIELDS = tuple(field.name for field in fields(Line))
_LINE_TOTALS = (
    "drawn",
    "fees",
    "unpaid_fees",
    "principal_repaid",
    "interest_paid",
    "repaid_by_sales",
    "waived",
    "written_off",
    "recovered",
)
_LINE_TERMS = ("offer_hash", "limit", "draw_until", "draw_fee_bps", "agreed_holdback_bps")
_LOSSES = ("loss_to_pool", "loss_to_reserve")

# Resources that one log of their operation's transaction fulfils: the table, the log, and which of
# its arguments the resource takes.
_MOVES: dict[str, tuple[Table, str, dict[str, str]]] = {
    "draw.send": (Draw.__table__, "Drawn", {"fee": "fee"}),  # type: ignore[dict-item]
    "repayment.send": (Repayment.__table__, "Repaid", {}),  # type: ignore[dict-item]
    "pool_deposit.send": (PoolDeposit.__table__, "Deposit", {"shares": "shares"}),  # type: ignore[dict-item]
    "pool_withdrawal.send": (PoolWithdrawal.__table__, "Withdraw", {"amount": "assets"}),  # type: ignore[dict-item]
    "reserve_funding.fund": (ReserveFunding.__table__, "ReserveFunded", {}),  # type: ignore[dict-item]
    "line_action.limit": (_actions, "LimitLowered", {}),
    "line_action.close": (_actions, "LimitLowered", {}),
    "line_action.holdback": (_actions, "HoldbackSet", {}),
    "line_action.holiday": (_actions, "HolidayGranted", {}),
    "line_action.waive": (_actions, "InterestWaived", {"amount": "amount"}),
    "line_action.charge_off": (_actions, "LineChargedOff", {}),
}
_WRITTEN = {
    "draws": ("fee",),
    "repayments": ("paid", "interest_paid", "principal_paid"),
    "pool_deposits": ("shares",),
    "pool_withdrawals": ("amount",),
    "reserve_fundings": (),
    "line_actions": ("amount",),
}

# Block, cause, event type, the resource's id and merchant, data.
Tell = Callable[[ReadBlock, str, str, Mapping[str, Any], dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Carried:
    """The operation of ours that a transaction carried out."""

    kind: str
    resource_id: str


class CreditProjection:
    """The rows of credit and pool that a range of blocks changes."""

    def __init__(self, undo: UndoLog, contracts: Contracts, tell: Tell) -> None:
        self._contracts = contracts
        self._tell = tell
        self._lines = Rows(
            _lines,
            undo,
            key="seller",
            written=(*LINE_FIELDS, *_LINE_TERMS, *_LOSSES, *_LINE_TOTALS),
        )
        self._totals = Rows(
            _totals,
            undo,
            key="id",
            written=[column.name for column in _totals.columns if column.name != "id"],
        )
        self._pool = Rows(
            _pool_totals, undo, key="id", written=("shares", "deposited", "withdrawn")
        )
        self._lenders = Rows(_lenders, undo, key="address", written=("shares",))
        self._offers = Rows(
            _offers,
            undo,
            key="id",
            written=("status", "error", "accepted_at"),
            read=("merchant_id", "offer_hash"),
        )
        self._moves = {
            kind: Rows(
                table,
                undo,
                key="id",
                written=("status", "error", *_WRITTEN[table.name]),
                read=("merchant_id",),
            )
            for kind, (table, _, _) in _MOVES.items()
        }
        self._entries: list[dict[str, Any]] = []
        self._offer_by_hash: dict[str, dict[str, Any]] = {}
        self._accounts_at: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def rows(self) -> Iterable[Rows]:
        """Everything to be written."""
        return (
            self._lines,
            self._totals,
            self._pool,
            self._lenders,
            self._offers,
            *self._moves.values(),
        )

    def write_entries(self, session: Session) -> None:
        """Add what was noted of these blocks to the record of the lines."""
        if self._entries:
            session.execute(insert(_credit_entries), self._entries)

    def read(
        self, session: Session, blocks: Sequence[ReadBlock], carried: Mapping[str, Carried]
    ) -> None:
        """Read the rows that these blocks may change.

        Args:
            carried: operations of ours by transaction hash.
        """
        ours = (self._contracts.book, self._contracts.pool)
        events = [event for block in blocks for event in block.events if event.address in ours]
        if not events:
            return
        sellers: set[str] = set()
        holders: set[str] = set()
        offer_hashes: set[str] = set()
        for event in events:
            args = event.args
            if "seller" in args:
                sellers.add(args["seller"])
            if "offerHash" in args:
                offer_hashes.add(args["offerHash"])
            if event.name == "Transfer":
                holders.update((args["from"], args["to"]))
        self._lines.read(session, _lines.c.seller, sellers)
        self._lenders.read(session, _lenders.c.address, holders - {ZERO_ADDRESS})
        self._offers.read(session, _offers.c.offer_hash, offer_hashes)
        self._offer_by_hash = {row["offer_hash"]: row for row in self._offers.all()}
        for kind, rows in self._moves.items():
            ids = [one.resource_id for one in carried.values() if one.kind == kind]
            rows.read(session, rows.table.c.id, ids)
        for chunk in chunks(sorted(sellers)):
            found = session.execute(
                select(_accounts.c.id, _accounts.c.merchant_id, _accounts.c.address)
                .where(_accounts.c.address.in_(chunk))
                .order_by(_accounts.c.id)
            ).mappings()
            for row in found:
                self._accounts_at[row["address"]].append(dict(row))
        self._read_totals(session, blocks[0].number)

    def _read_totals(self, session: Session, block: int) -> None:
        self._totals.read(session, _totals.c.id, [TOTALS_ID])
        if self._totals.get(TOTALS_ID) is None:
            zeros = dict.fromkeys(self._totals.written, 0)
            self._totals.insert(block, TOTALS_ID, **{**zeros, "draws_paused": False})
        self._pool.read(session, _pool_totals.c.id, [TOTALS_ID])
        if self._pool.get(TOTALS_ID) is None:
            self._pool.insert(block, TOTALS_ID, **dict.fromkeys(self._pool.written, 0))

    # ------------------------------------------------------------------- what logs mean

    def apply(self, block: ReadBlock, event: Log, carried: Carried | None) -> None:
        """Write one log of the book or the pool.

        Args:
            carried: the operation of ours that its transaction carried out.
        """
        if event.address == self._contracts.pool:
            self._apply_pool(block, event)
        else:
            self._apply_book(block, event)
        if carried is not None and carried.kind in _MOVES:
            self._fulfil(block, event, carried)

    def _apply_pool(self, block: ReadBlock, event: Log) -> None:
        args = event.args
        pool = self._pool.get(TOTALS_ID)
        assert pool is not None
        match event.name:
            case "Transfer":
                shares = args["value"]
                if args["from"] == ZERO_ADDRESS:
                    self._pool.change(block.number, TOTALS_ID, shares=pool["shares"] + shares)
                else:
                    self._hold(block, args["from"], -shares)
                if args["to"] == ZERO_ADDRESS:
                    self._pool.change(block.number, TOTALS_ID, shares=pool["shares"] - shares)
                else:
                    self._hold(block, args["to"], shares)
            case "Deposit":
                deposited = pool["deposited"] + args["assets"]
                self._pool.change(block.number, TOTALS_ID, deposited=deposited)
            case "Withdraw":
                withdrawn = pool["withdrawn"] + args["assets"]
                self._pool.change(block.number, TOTALS_ID, withdrawn=withdrawn)

    def _hold(self, block: ReadBlock, address: str, delta: int) -> None:
        row = self._lenders.get(address)
        if row is None:
            self._lenders.insert(block.number, address, shares=delta)
        else:
            self._lenders.change(block.number, address, shares=row["shares"] + delta)

    def _apply_book(  # noqa: PLR0912, PLR0915 (one case per event)
        self, block: ReadBlock, event: Log
    ) -> None:
        args = event.args
        match event.name:
            case "OfferAccepted":
                self._accept(block, event)
            case "OfferRevoked":
                offer = self._offer_by_hash.get(args["offerHash"])
                if offer is not None:
                    # What its seller has declined stays so: this is how the chain hears of it.
                    declined = offer["status"] == OfferStatus.DECLINED
                    status = OfferStatus.DECLINED if declined else OfferStatus.REVOKED
                    self._offers.change(block.number, offer["id"], status=status, error=None)
                    data = {"status": status}
                    self._say(block, event, "credit_offer.revoked", offer, data)
            case "HoldbackSet":
                # The one event that leaves the line at its time: terms alone change.
                seller = args["seller"]
                self._lines.change(block.number, seller, holdback_bps=args["holdbackBps"])
                self._tell_line(block, event, "holdback_set", holdback_bps=args["holdbackBps"])
            case "LimitLowered":
                self._lines.change(block.number, args["seller"], limit=args["limit"])
                self._tell_line(block, event, "limit_lowered", limit=str(args["limit"]))
            case "Drawn":
                self._draw(block, event)
            case "Repaid":
                self._repay(block, event)
            case "Recovered":
                self._recover(block, event)
            case "LineDefaulted":
                self._save(block, event, self._line(block, args["seller"]))
                self._note(block, event, "defaulted")
                self._tell_line(block, event, "defaulted")
            case "LineClosed":
                self._tell_line(block, event, "closed")
            case "LineChargedOff":
                self._charge_off(block, event)
            case "HolidayGranted":
                line = self._line(block, args["seller"])
                line.postpone(args["duration"])
                self._save(block, event, line)
                self._tell_line(block, event, "holiday_granted", window_end=line.window_end)
            case "InterestWaived":
                line = self._line(block, args["seller"])
                before, owed = line.interest, line.interest_owed
                line.lower_interest(args["amount"])
                fees = max(args["amount"] - (owed - self._unpaid_fees(event)), 0)
                self._save(block, event, line, waived=args["amount"], unpaid_fees=-fees)
                self._note(block, event, "waived", fees=-fees, interest=fees - args["amount"])
                self._add(block, accounted_interest=line.interest - before, waived=args["amount"])
                self._tell_line(block, event, "interest_waived", amount=str(args["amount"]))
            case "CapsSet":
                self._totals.change(
                    block.number,
                    TOTALS_ID,
                    line_cap=args["lineCap"],
                    principal_cap=args["principalCap"],
                    reserve_bps=args["reserveBps"],
                )
            case "DrawsPaused" | "DrawsUnpaused":
                paused = event.name == "DrawsPaused"
                self._totals.change(block.number, TOTALS_ID, draws_paused=paused)
            case "ReserveFunded":
                self._add(block, reserve=args["amount"], reserve_funded=args["amount"])
            case "ReserveWithdrawn":
                self._add(block, reserve=-args["amount"], reserve_withdrawn=args["amount"])

    def _accept(self, block: ReadBlock, event: Log) -> None:
        args = event.args
        seller, terms = args["seller"], args["offer"]
        if self._lines.get(seller) is None:
            line = Line(LineStatus.ACTIVE, *[0] * (len(LINE_FIELDS) - 1))
            zeros = dict.fromkeys((*_LOSSES, *_LINE_TOTALS), 0)
            self._lines.insert(
                block.number,
                seller,
                **{name: getattr(line, name) for name in LINE_FIELDS},
                **dict.fromkeys(_LINE_TERMS, 0),
                **zeros,
                opened_at=block.timestamp,
            )
        line = self._line(block, seller)
        rate = line.rate
        line.status = LineStatus.ACTIVE
        line.apr_bps, line.holdback_bps = terms["aprBps"], terms["holdbackBps"]
        self._add(block, issuance_rate=line.rate - rate)
        self._save(block, event, line)
        self._lines.change(
            block.number,
            seller,
            offer_hash=args["offerHash"],
            limit=terms["limit"],
            draw_until=block.timestamp + terms["termDays"] * DAY,
            draw_fee_bps=terms["drawFeeBps"],
            agreed_holdback_bps=terms["holdbackBps"],
        )
        self._note(block, event, "opened")
        self._tell_line(block, event, "opened", limit=str(terms["limit"]))
        offer = self._offer_by_hash.get(args["offerHash"])
        if offer is not None:
            self._offers.change(
                block.number,
                offer["id"],
                status=OfferStatus.ACCEPTED,
                error=None,
                accepted_at=block.timestamp,
            )
            data = {"status": OfferStatus.ACCEPTED}
            self._say(block, event, "credit_offer.accepted", offer, data)

    def _draw(self, block: ReadBlock, event: Log) -> None:
        args = event.args
        amount, fee = args["amount"], args["fee"]
        line = self._line(block, args["seller"])
        rate = line.rate
        line.draw(amount, fee, block.timestamp)
        self._save(block, event, line, drawn=amount, fees=fee, unpaid_fees=fee)
        self._note(block, event, "drawn", principal=amount, fees=fee)
        self._add(
            block,
            principal=amount,
            issuance_rate=line.rate - rate,
            accounted_interest=fee * BPS_YEAR,
            drawn=amount,
            fees=fee,
        )
        self._tell_line(block, event, "drawn", amount=str(amount), fee=str(fee))

    def _repay(self, block: ReadBlock, event: Log) -> None:
        args = event.args
        interest, principal = args["interestPaid"], args["principalPaid"]
        line = self._line(block, args["seller"])
        rate, accrued = line.rate, line.interest
        line.pay(interest, principal)
        by_sale = interest + principal if args["orderHash"] != NO_ORDER else 0
        paid = {
            "interest_paid": interest,
            "principal_repaid": principal,
            "repaid_by_sales": by_sale,
        }
        fees = min(interest, self._unpaid_fees(event))
        self._save(block, event, line, unpaid_fees=-fees, **paid)
        self._note(
            block, event, "repaid", principal=-principal, fees=-fees, interest=fees - interest
        )
        self._add(
            block,
            principal=-principal,
            issuance_rate=line.rate - rate,
            accounted_interest=line.interest - accrued,
            **paid,
        )
        self._tell_line(
            block,
            event,
            "repaid",
            amount=str(interest + principal),
            order_hash=args["orderHash"] if by_sale else None,
        )

    def _recover(self, block: ReadBlock, event: Log) -> None:
        args = event.args
        seller = args["seller"]
        to_pool, to_reserve = args["toPool"], args["toReserve"]
        by_sale = to_pool + to_reserve if args["orderHash"] != NO_ORDER else 0
        row = self._lines.get(seller)
        assert row is not None
        self._lines.change(
            block.number,
            seller,
            loss_to_pool=row["loss_to_pool"] - to_pool,
            loss_to_reserve=row["loss_to_reserve"] - to_reserve,
            recovered=row["recovered"] + to_pool + to_reserve,
            repaid_by_sales=row["repaid_by_sales"] + by_sale,
        )
        self._add(
            block,
            reserve=to_reserve,
            recovered_to_pool=to_pool,
            recovered_to_reserve=to_reserve,
            repaid_by_sales=by_sale,
        )
        self._note(block, event, "recovered", recovered=to_pool + to_reserve)
        self._tell_line(block, event, "recovered", amount=str(to_pool + to_reserve))

    def _charge_off(self, block: ReadBlock, event: Log) -> None:
        args = event.args
        seller = args["seller"]
        line = self._line(block, seller)
        self._add(
            block,
            principal=-line.principal,
            accounted_interest=-line.interest,
            reserve=-args["fromReserve"],
            principal_written_off=args["principal"],
            interest_written_off=args["interest"],
            loss_of_reserve=args["fromReserve"],
            loss_of_pool=args["poolLoss"],
        )
        line.write_off()
        fees = self._unpaid_fees(event)
        written_off = args["principal"] + args["interest"]
        self._save(block, event, line, written_off=written_off, unpaid_fees=-fees)
        self._note(
            block,
            event,
            "charged_off",
            principal=-args["principal"],
            fees=-fees,
            interest=fees - args["interest"],
        )
        self._lines.change(
            block.number,
            seller,
            loss_to_pool=args["poolLoss"],
            loss_to_reserve=args["fromReserve"],
        )
        self._tell_line(block, event, "charged_off")

    # ------------------------------------------------------------------ lines and totals

    def _line(self, block: ReadBlock, seller: str) -> Line:
        """The line at the time of a block, as the book brings it up before anything else."""
        row = self._lines.get(seller)
        if row is None:
            raise ValueError(f"a log of the credit line of {seller}, which was never opened")
        line = line_of(row)
        rate = line.rate
        if line.advance(block.timestamp):
            self._add(block, issuance_rate=-rate)
        return line

    def _save(self, block: ReadBlock, event: Log, line: Line, **added: int) -> None:
        seller = event.args["seller"]
        row = self._lines.get(seller)
        assert row is not None
        values = {name: getattr(line, name) for name in LINE_FIELDS}
        totals = {name: row[name] + amount for name, amount in added.items()}
        self._lines.change(block.number, seller, **values, **totals)

    def _unpaid_fees(self, event: Log) -> int:
        row = self._lines.get(event.args["seller"])
        assert row is not None
        unpaid: int = row["unpaid_fees"]
        return unpaid

    def _note(self, block: ReadBlock, event: Log, kind: str, **changes: int) -> None:
        """Add to the record of a line what a log has changed, once the line is saved."""
        row = self._lines.get(event.args["seller"])
        assert row is not None
        order_hash = event.args.get("orderHash", NO_ORDER)
        self._entries.append(
            {
                "seller": row["seller"],
                "block_number": block.number,
                "block_timestamp": block.timestamp,
                "log_index": event.log_index,
                "tx_hash": event.transaction_hash,
                "kind": kind,
                "order_hash": None if order_hash == NO_ORDER else order_hash,
                **{"principal": 0, "fees": 0, "interest": 0, "recovered": 0, **changes},
                "principal_after": row["principal"],
                "fees_after": row["unpaid_fees"],
                "interest_after": row["interest"],
                "rate_after": line_of(row).rate,
            }
        )

    def _add(self, block: ReadBlock, **added: int) -> None:
        """Add to the totals, with their interest accounted up to the block."""
        row = self._totals.get(TOTALS_ID)
        assert row is not None
        earned = row["issuance_rate"] * (block.timestamp - row["domain_start"])
        added["accounted_interest"] = added.get("accounted_interest", 0) + earned
        values = {name: row[name] + amount for name, amount in added.items()}
        self._totals.change(block.number, TOTALS_ID, domain_start=block.timestamp, **values)

    # --------------------------------------------------------------------------- telling

    def _fulfil(self, block: ReadBlock, event: Log, carried: Carried) -> None:
        """A resource has come about by the log that its operation was for."""
        _, name, takes = _MOVES[carried.kind]
        rows = self._moves[carried.kind]
        row = rows.get(carried.resource_id)
        wanted = (name, "Recovered") if carried.kind == "repayment.send" else (name,)
        if row is None or event.name not in wanted:
            return
        args = event.args
        values = {column: args[argument] for column, argument in takes.items()}
        if event.name == "Repaid":
            interest, principal = args["interestPaid"], args["principalPaid"]
            values = {"interest_paid": interest, "principal_paid": principal}
            values["paid"] = interest + principal
        elif event.name == "Recovered":
            values = {"paid": args["toPool"] + args["toReserve"]}
        rows.change(block.number, row["id"], status=MoveStatus.SUCCEEDED, error=None, **values)
        data: dict[str, Any] = {"status": MoveStatus.SUCCEEDED}
        data |= {column: str(value) for column, value in values.items()}
        resource_type = carried.kind.partition(".")[0]
        self._say(block, event, f"{resource_type}.succeeded", row, data)

    def _tell_line(self, block: ReadBlock, event: Log, what: str, **data: Any) -> None:
        row = self._lines.get(event.args["seller"])
        assert row is not None
        for account in self._accounts_at[row["seller"]]:
            line = {"id": line_id(account["id"]), "merchant_id": account["merchant_id"]}
            told = {"status": row["status"], "principal": str(row["principal"]), **data}
            self._say(block, event, f"credit_line.{what}", line, told)

    def _say(
        self,
        block: ReadBlock,
        event: Log,
        event_type: str,
        row: Mapping[str, Any],
        data: dict[str, Any],
    ) -> None:
        self._tell(block, event.transaction_hash, event_type, row, data)


def line_of(row: Mapping[str, Any]) -> Line:
    """The line of a row, to be worked with."""
    values = {name: row[name] for name in LINE_FIELDS}
    return Line(**{**values, "status": LineStatus(row["status"])})


def line_id(account_id: str) -> str:
    """An account has one line at most: the ids say the same thing."""
    return "lin_" + account_id.partition("_")[2]
