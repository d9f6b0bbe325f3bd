"""What blocks say, written into the database: one transaction per range of blocks.

Whoever acted on chain, with an operation of ours or by a wallet alone, the same log has the same
effect. Statuses are computed from running totals, not stepped from one to the next, so they do not
depend on who did what or on how the blocks were cut into ranges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heappop, heappush
from itertools import groupby
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Table, bindparam, insert, select, update
from sqlalchemy.orm import Session

from node.chain.codec import ContractCodec
from node.chain.codec import Event as Log
from node.index.chain_reader import Contracts, ReadBlock
from node.index.credit import Carried, CreditProjection
from node.index.ledger import ZERO_ADDRESS, Move, moves
from node.index.payment_requests import PaymentRequestProjection
from node.index.rows import Rows, UndoLog, chunks
from node.store.carrying import carried_elsewhere
from node.store.failures import Failure, fail_operations
from node.store.ids import Ids
from node.store.models import (
    Account,
    AccountStatus,
    Block,
    ChainTx,
    ChainTxOperation,
    ChainTxStatus,
    Claimable,
    Dispute,
    DisputeState,
    EscrowOrder,
    Event,
    EvidenceLog,
    LedgerEntry,
    Member,
    MoveStatus,
    Operation,
    OperationStatus,
    Purchase,
    PurchaseStatus,
    Redemption,
    StatementKind,
    Supply,
    TopUp,
    Transfer,
    TxAttempt,
    UndoEntry,
)

log = structlog.get_logger(__name__)

_accounts: Table = Account.__table__  # type: ignore[assignment]
_carried: Table = ChainTxOperation.__table__  # type: ignore[assignment]
_blocks: Table = Block.__table__  # type: ignore[assignment]
_chain_txs: Table = ChainTx.__table__  # type: ignore[assignment]
_claimables: Table = Claimable.__table__  # type: ignore[assignment]
_disputes: Table = Dispute.__table__  # type: ignore[assignment]
_events: Table = Event.__table__  # type: ignore[assignment]
_evidence_logs: Table = EvidenceLog.__table__  # type: ignore[assignment]
_ledger: Table = LedgerEntry.__table__  # type: ignore[assignment]
_members: Table = Member.__table__  # type: ignore[assignment]
_operations: Table = Operation.__table__  # type: ignore[assignment]
_orders: Table = EscrowOrder.__table__  # type: ignore[assignment]
_purchases: Table = Purchase.__table__  # type: ignore[assignment]
_redemptions: Table = Redemption.__table__  # type: ignore[assignment]
_supply: Table = Supply.__table__  # type: ignore[assignment]
_topups: Table = TopUp.__table__  # type: ignore[assignment]
_transfers: Table = Transfer.__table__  # type: ignore[assignment]
_attempts: Table = TxAttempt.__table__  # type: ignore[assignment]
_undo_log: Table = UndoEntry.__table__  # type: ignore[assignment]

# Built once: see node.index.rows.
_OURS = (
    select(
        _attempts.c.hash,
        _attempts.c.chain_tx_id,
        _operations.c.id,
        _operations.c.kind,
        _operations.c.resource_id,
    )
    .join(_carried, _carried.c.chain_tx_id == _attempts.c.chain_tx_id)
    .join(_operations, _operations.c.id == _carried.c.operation_id)
    .where(_attempts.c.hash.in_(bindparam("hashes", expanding=True)))
    .order_by(_carried.c.chain_tx_id, _carried.c.position)
)
_ADDRESSES = select(_accounts.c.id, _accounts.c.address).where(
    _accounts.c.id.in_(bindparam("ids", expanding=True))
)
_TIME_OF = select(_blocks.c.timestamp).where(_blocks.c.number == bindparam("its_number"))
_LAPSING = (
    select(_members.c.member_until, _members.c.address)
    .where(
        _members.c.member_until > bindparam("before"),
        _members.c.member_until <= bindparam("last"),
    )
    .order_by(_members.c.member_until, _members.c.address)
)
_KNOWN_CAUSES = select(_events.c.cause).where(
    _events.c.cause.in_(bindparam("causes", expanding=True))
)
_MINE = (
    update(_chain_txs)
    .where(_chain_txs.c.id == bindparam("_id"))
    .values(
        status=ChainTxStatus.MINED,
        tx_hash=bindparam("_hash"),
        block_number=bindparam("_number"),
        block_timestamp=bindparam("_timestamp"),
        transaction_index=bindparam("_index"),
        succeeded=bindparam("_succeeded"),
    )
)
_CARRY = (
    update(_carried)
    .where(_carried.c.chain_tx_id == bindparam("_id"))
    .values(succeeded=bindparam("_succeeded"))
)
_FINISH = (
    update(_operations)
    .where(_operations.c.id == bindparam("_id"))
    .values(
        status=OperationStatus.DONE,
        error_code=None,
        error=None,
        tx_hash=bindparam("_hash"),
        block_number=bindparam("_number"),
        updated_at=bindparam("_now"),
    )
)

SUPPLY_ID = 1
RAW_TRANSFER = "transfer.send_raw"

_ORDER_TOTALS = (
    "authorized",
    "held",
    "released",
    "fee",
    "repayment",
    "voided",
    "refunded",
    "reclaimed",
)


@dataclass(frozen=True, slots=True)
class Reverted:
    """Why a transaction of ours did nothing in its block.

    Attributes:
        ends_as: what becomes of the operation that it was for alone.
    """

    code: str
    words: str
    ends_as: OperationStatus = OperationStatus.FAILED


CANCELED = Reverted(
    "canceled",
    "canceled by the platform's staff: its nonce was used for nothing",
    OperationStatus.CANCELED,
)


class _Operation(NamedTuple):
    """An operation that a transaction of ours carries out."""

    id: str
    kind: str
    resource_id: str


class _Ours(NamedTuple):
    """A transaction of ours: one operation, or a batch in its order."""

    chain_tx_id: int
    operations: list[_Operation]


class _Split(NamedTuple):
    """What a batch did not do for no fault of the operation's own: it is tried again, alone."""


_SPLIT = _Split()
# Of an item that its batch left too little gas. One that ran out of it has no reason at all; and to
# the coin, a contract account that could not look at its signature is one that does not know it.
_SHORT_OF_GAS = ("InsufficientGas", "InvalidSignature")


def apply_blocks(
    session: Session,
    blocks: Sequence[ReadBlock],
    reverted: Mapping[str, Reverted],
    *,
    contracts: Contracts,
    now: int,
    ids: Ids,
) -> None:
    """Write blocks that follow on the newest stored one.

    Args:
        reverted: the transactions of ours among them that failed.
        now: wall clock, unix seconds, for the rows' own times.
    """
    # A failure is written right after its block, so that the undo log keeps the order of changes.
    start = 0
    for end, block in enumerate(blocks, start=1):
        if end == len(blocks) or _may_fail(block, reverted):
            part = blocks[start:end]
            _Range(session, part, reverted, contracts=contracts, now=now, ids=ids).apply()
            start = end


def _may_fail(block: ReadBlock, reverted: Mapping[str, Reverted]) -> bool:
    return not reverted.keys().isdisjoint(block.transactions) or any(
        event.name == "BatchItemFailed" for event in block.events
    )


class _Range:
    """The projections of consecutive blocks, of which only the last may hold an operation of ours
    that failed."""

    def __init__(
        self,
        session: Session,
        blocks: Sequence[ReadBlock],
        reverted: Mapping[str, Reverted],
        *,
        contracts: Contracts,
        now: int,
        ids: Ids,
    ) -> None:
        self._session = session
        self._blocks = blocks
        self._reverted = reverted
        self._contracts = contracts
        self._now = now
        self._ids = ids
        self._undo = undo = UndoLog()
        self._entries: list[dict[str, Any]] = []
        self._evidence: list[dict[str, Any]] = []
        self._told: dict[str, dict[str, Any]] = {}  # events by cause

        self._members = Rows(
            _members,
            undo,
            key="address",
            written=("balance", "kinds", "member_until", "frozen"),
        )
        self._orders = Rows(
            _orders,
            undo,
            key="order_hash",
            written=(*_ORDER_TOTALS, "dispute_deadline", "dispute"),
            read=("payer", "payee"),
        )
        self._disputes = Rows(
            _disputes,
            undo,
            key="order_hash",
            written=(
                "to_payer",
                "to_seller",
                "decision_hash",
                "decided_to_payer",
                "decided_to_seller",
                "closed_at",
            ),
        )
        self._claimables = Rows(_claimables, undo, key="address", written=("amount",))
        self._supply = Rows(_supply, undo, key="id", written=("minted", "burned"))
        self._accounts = Rows(
            _accounts,
            undo,
            key="id",
            written=("status", "error"),
            read=("merchant_id", "address"),
        )
        self._purchases = Rows(
            _purchases,
            undo,
            key="id",
            written=("status", "error", "authorized_at", "delivered_at", "closed_at"),
            read=("merchant_id", "order_hash", "shipped_at"),
        )
        moved = ("status", "error", "amount")
        of_account = ("merchant_id", "account_id", "ref", "created_at")
        self._topups = Rows(_topups, undo, key="id", written=moved, read=of_account)
        self._redemptions = Rows(_redemptions, undo, key="id", written=moved, read=of_account)
        self._transfers = Rows(
            _transfers,
            undo,
            key="id",
            written=("status", "error"),
            read=("merchant_id", "from_address", "to_address", "amount", "nonce"),
        )
        self._credit = CreditProjection(undo, contracts, self._tell)
        self._payment_requests = PaymentRequestProjection(undo, self._tell)
        self._accounts_at: dict[str, list[str]] = defaultdict(list)
        self._by_ref: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self._transfer_by_nonce: dict[tuple[str, str], dict[str, Any]] = {}
        self._purchase_by_order: dict[str, dict[str, Any]] = {}
        self._lapsing: list[tuple[int, str]] = []

    def apply(self) -> None:
        ours = self._find_ours()
        # No kind of operation that goes in batches needs to be known for its logs to be understood.
        carried = {
            hash_: Carried(one.operations[0].kind, one.operations[0].resource_id)
            for hash_, one in ours.items()
            if len(one.operations) == 1 and hash_ not in self._reverted
        }
        self._read(carried)
        self._credit.read(self._session, self._blocks, carried)
        self._payment_requests.read(self._session, self._blocks)
        for block in self._blocks:
            self._lapse(block)
            self._payment_requests.expire(block)
            for _, grouped in groupby(block.events, key=lambda event: event.transaction_index):
                events = list(grouped)
                self._apply_transaction(block, events, carried.get(events[0].transaction_hash))
        self._write(ours)
        self._settle(ours)

    # -------------------------------------------------------------------------- reading

    def _find_ours(self) -> dict[str, _Ours]:
        """Each transaction that is ours, by hash."""
        hashes = [hash_ for block in self._blocks for hash_ in block.transactions]
        ours: dict[str, _Ours] = {}
        for chunk in chunks(hashes):
            rows = self._session.execute(_OURS, {"hashes": chunk})
            for hash_, chain_tx_id, *operation in rows:
                one = ours.setdefault(hash_, _Ours(chain_tx_id, []))
                one.operations.append(_Operation(*operation))
        return ours

    def _read(self, carried: Mapping[str, Carried]) -> None:
        session = self._session
        addresses: set[str] = set()
        order_hashes: set[str] = set()
        refs: set[str] = set()
        nonces: set[str] = set()
        standing: set[str] = set()  # addresses whose accounts may change status
        receivers: set[str] = set()  # of claimable coin
        credit = (self._contracts.book, self._contracts.pool)
        for event in (event for block in self._blocks for event in block.events):
            if event.address in credit:
                continue
            args = event.args
            addresses.update(args[name] for name in ("from", "to", "account") if name in args)
            if "orderHash" in args:
                order_hashes.add(args["orderHash"])
            if event.name in ("Minted", "Redeemed"):
                refs.add(args["ref"])
            elif event.name == "AuthorizationUsed":
                nonces.add(args["nonce"])
            elif event.name.startswith(("Member", "Account")):
                standing.add(args["account"])
            elif event.name.startswith("Claimable"):
                receivers.add(args["account"])
        self._lapsing = self._find_lapsing()
        lapsing = {address for _, address in self._lapsing}
        self._members.read(session, _members.c.address, (addresses | lapsing) - {ZERO_ADDRESS})
        self._accounts.read(session, _accounts.c.address, standing | lapsing)
        for account in self._accounts.all():
            self._accounts_at[account["address"]].append(account["id"])
        self._orders.read(session, _orders.c.order_hash, order_hashes)
        disputed = [order["order_hash"] for order in self._orders.all() if order["dispute"]]
        self._disputes.read(session, _disputes.c.order_hash, disputed)
        self._purchases.read(session, _purchases.c.order_hash, order_hashes)
        self._purchase_by_order = {row["order_hash"]: row for row in self._purchases.all()}
        self._claimables.read(session, _claimables.c.address, receivers)
        self._read_referenced(refs)
        # A transfer by its owner's own transaction is named by that.
        nonces.update(hash_ for hash_, one in carried.items() if one.kind == RAW_TRANSFER)
        self._transfers.read(session, _transfers.c.nonce, nonces)
        self._transfer_by_nonce = {
            (row["from_address"], row["nonce"]): row for row in self._transfers.all()
        }
        self._supply.read(session, _supply.c.id, [SUPPLY_ID])
        if self._supply.get(SUPPLY_ID) is None:
            self._supply.insert(self._blocks[0].number, SUPPLY_ID, minted=0, burned=0)

    def _read_referenced(self, refs: Iterable[str]) -> None:
        """Top-ups and redemptions by reference and address of their account."""
        for rows in (self._topups, self._redemptions):
            rows.read(self._session, rows.table.c.ref, refs)
            account_ids = sorted({row["account_id"] for row in rows.all()})
            address_of: dict[str, str] = {}
            for chunk in chunks(account_ids):
                found = self._session.execute(_ADDRESSES, {"ids": chunk})
                address_of.update((id_, address) for id_, address in found)
            for row in rows.all():
                key = (row["ref"], address_of[row["account_id"]])
                self._by_ref[key].append({"rows": rows, **row})

    def _find_lapsing(self) -> list[tuple[int, str]]:
        """Memberships that end by time alone within the range, as a heap by their end."""
        before = self._session.scalar(_TIME_OF, {"its_number": self._blocks[0].number - 1})
        last = self._blocks[-1].timestamp
        if before is None or before == last:
            return []
        rows = self._session.execute(_LAPSING, {"before": before, "last": last})
        return [(until, address) for until, address in rows]

    # ------------------------------------------------------------------- what logs mean

    def _apply_transaction(  # noqa: PLR0912, PLR0915 (one case per event)
        self, block: ReadBlock, events: Sequence[Log], carried: Carried | None
    ) -> None:
        parties = {
            hash_: (order["payer"], order["payee"])
            for event in events
            if (hash_ := event.args.get("orderHash"))
            and (order := self._orders.get(hash_)) is not None
        }
        named = moves(events, self._contracts, parties)
        for event in events:
            if event.address in (self._contracts.book, self._contracts.pool):
                self._credit.apply(block, event, carried)
                continue
            args = event.args
            match event.name:
                case "Transfer":
                    self._move(block, named[event.log_index])
                    if carried is not None and carried.kind == RAW_TRANSFER:
                        self._fulfil_raw_transfer(block, event)
                case "MemberAdmitted":
                    self._set_member(
                        block,
                        event,
                        kinds=args["kinds"],
                        member_until=args["memberUntil"],
                    )
                    heappush(self._lapsing, (args["memberUntil"], args["account"]))
                case "MemberExpelled":
                    self._set_member(block, event, member_until=block.timestamp)
                case "AccountFrozen":
                    self._set_member(block, event, frozen=True)
                case "AccountUnfrozen":
                    self._set_member(block, event, frozen=False)
                case "Minted":
                    self._fulfil(block, event, "topup", args["to"])
                case "Redeemed":
                    self._fulfil(block, event, "redemption", args["account"])
                case "AuthorizationUsed":
                    self._fulfil_transfer(block, event, named)
                    self._payment_requests.apply_authorization(block, event, named)
                case "TransferMemo":
                    self._payment_requests.apply_memo(block, event)
                case "PurchaseAuthorized":
                    self._open_order(block, event)
                case "DeliveryConfirmed":
                    self._change_order(
                        block, event, "delivered", dispute_deadline=args["disputeDeadline"]
                    )
                case "PurchaseReleased":
                    self._move_held(
                        block,
                        event,
                        "released",
                        released=args["amount"],
                        fee=args["fee"],
                        repayment=args["repayment"],
                    )
                case "PurchaseVoided":
                    self._move_held(block, event, "voided", voided=args["amount"])
                case "PurchaseReclaimed":
                    self._move_held(block, event, "reclaimed", reclaimed=args["amount"])
                case "PurchaseRefunded":
                    order = self._order(event)
                    self._change_order(
                        block, event, "refunded", refunded=order["refunded"] + args["amount"]
                    )
                case "DisputeOpened":
                    self._open_dispute(block, event)
                case "DisputeResolved":
                    self._decide(block, event)
                case "DisputeDefaulted":
                    order = self._order(event)
                    self._count_in_dispute(block, event, to_payer=args["toPayer"])
                    self._change_order(
                        block,
                        event,
                        "resolved",
                        dispute=DisputeState.DEFAULTED,
                        held=order["held"] - args["toPayer"],
                        voided=order["voided"] + args["toPayer"],
                    )
                case "EvidenceSubmitted":
                    self._note_evidence(block, event, StatementKind.EVIDENCE, args["party"])
                    self._tell_of_order(block, event, "evidence_submitted")
                case "SaleHookFailed":
                    log.warning("index.sale_hook_failed", order=args["orderHash"])
                    self._tell_of_order(block, event, "holdback_failed")
                case "ClaimableCredited":
                    self._claim(block, args["account"], args["amount"])
                case "ClaimableWithdrawn":
                    self._claim(block, args["account"], -args["amount"])

    def _move(self, block: ReadBlock, move: Move) -> None:
        event = move.event
        sender, receiver = event.args["from"], event.args["to"]
        amount = event.args["value"]
        supply = self._supply.get(SUPPLY_ID)
        assert supply is not None
        if sender == ZERO_ADDRESS:
            self._supply.change(block.number, SUPPLY_ID, minted=supply["minted"] + amount)
        if receiver == ZERO_ADDRESS:
            self._supply.change(block.number, SUPPLY_ID, burned=supply["burned"] + amount)
        sides = [(sender, -amount, receiver), (receiver, amount, sender)]
        if sender == receiver:
            sides = [(sender, 0, receiver)]
        for address, delta, counterparty in sides:
            if address == ZERO_ADDRESS:
                continue
            balance = self._member(block, address)["balance"] + delta
            self._members.change(block.number, address, balance=balance)
            self._entries.append(
                {
                    "block_number": block.number,
                    "block_timestamp": block.timestamp,
                    "log_index": event.log_index,
                    "tx_hash": event.transaction_hash,
                    "address": address,
                    "delta": delta,
                    "balance_after": balance,
                    "counterparty": counterparty,
                    "kind": move.kind,
                    "ref": move.ref,
                }
            )

    def _member(self, block: ReadBlock, address: str) -> dict[str, Any]:
        if self._members.get(address) is None:
            self._members.insert(
                block.number, address, balance=0, kinds=0, member_until=0, frozen=False
            )
        member = self._members.get(address)
        assert member is not None
        return member

    def _set_member(self, block: ReadBlock, event: Log, **values: Any) -> None:
        address = event.args["account"]
        member = self._member(block, address)
        self._members.change(block.number, address, **values)
        status = account_status(member, block.timestamp)
        event_type = {
            "MemberAdmitted": f"account.{status}",
            "MemberExpelled": "account.expired",
            "AccountFrozen": "account.frozen",
            "AccountUnfrozen": "account.unfrozen",
        }[event.name]
        for account_id in self._accounts_at[address]:
            self._accounts.change(block.number, account_id, status=status, error=None)
            row = self._accounts.get(account_id)
            assert row is not None
            data = {"status": status, "member_until": member["member_until"]}
            self._tell(block, event.transaction_hash, event_type, row, data)

    def _lapse(self, block: ReadBlock) -> None:
        """Memberships whose time ran out before this block."""
        while self._lapsing and self._lapsing[0][0] <= block.timestamp:
            until, address = heappop(self._lapsing)
            member = self._members.get(address)
            if member is None or member["member_until"] != until:
                continue  # renewed or ended meanwhile
            for account_id in self._accounts_at[address]:
                row = self._accounts.get(account_id)
                assert row is not None
                status = account_status(member, block.timestamp)
                if row["status"] == status:
                    continue
                self._accounts.change(block.number, account_id, status=status)
                if status == AccountStatus.EXPIRED:
                    data = {"status": status, "member_until": until}
                    self._tell(block, f"until {until}", "account.expired", row, data)

    def _fulfil(self, block: ReadBlock, event: Log, resource_type: str, address: str) -> None:
        """A top-up or a redemption has happened, for the amount the chain says."""
        rows = self._topups if resource_type == "topup" else self._redemptions
        found = [
            row
            for entry in self._by_ref[event.args["ref"], address]
            if entry["rows"] is rows and (row := rows.get(entry["id"])) is not None
        ]
        if not found:
            return
        # A failed try leaves its reference to the next one.
        row = max(
            found,
            key=lambda row: (row["status"] == MoveStatus.PENDING, row["created_at"], row["id"]),
        )
        amount = event.args["amount"]
        if row["amount"] != amount:
            log.warning("index.amount_differs", id=row["id"], asked=row["amount"], chain=amount)
        rows.change(block.number, row["id"], status=MoveStatus.SUCCEEDED, error=None, amount=amount)
        data = {"status": MoveStatus.SUCCEEDED, "amount": str(amount)}
        self._tell(block, event.transaction_hash, f"{resource_type}.succeeded", row, data)

    def _fulfil_transfer(self, block: ReadBlock, event: Log, named: Mapping[int, Move]) -> None:
        row = self._transfer_by_nonce.get((event.args["authorizer"], event.args["nonce"]))
        if row is None:
            return
        move = named.get(event.log_index + 1)
        if move is None or (move.event.args["to"], move.event.args["value"]) != (
            row["to_address"],
            row["amount"],
        ):
            return  # its owner used the nonce for something else
        self._transfers.change(block.number, row["id"], status=MoveStatus.SUCCEEDED, error=None)
        data = {"status": MoveStatus.SUCCEEDED, "amount": str(row["amount"])}
        self._tell(block, event.transaction_hash, "transfer.succeeded", row, data)

    def _fulfil_raw_transfer(self, block: ReadBlock, event: Log) -> None:
        """Its bytes were looked at when it came: the one move of coin in it is the transfer."""
        row = self._transfer_by_nonce[event.args["from"], event.transaction_hash]
        self._transfers.change(block.number, row["id"], status=MoveStatus.SUCCEEDED, error=None)
        data = {"status": MoveStatus.SUCCEEDED, "amount": str(row["amount"])}
        self._tell(block, event.transaction_hash, "transfer.succeeded", row, data)

    # ------------------------------------------------------------------------- purchases

    def _order(self, event: Log) -> dict[str, Any]:
        order = self._orders.get(event.args["orderHash"])
        if order is None:
            raise ValueError(f"{event.name} of an order never authorized: {event.args}")
        return order

    def _open_order(self, block: ReadBlock, event: Log) -> None:
        args = event.args
        self._orders.insert(
            block.number,
            args["orderHash"],
            payer=args["payer"],
            payee=args["payee"],
            authorized=args["amount"],
            held=args["amount"],
            released=0,
            fee=0,
            repayment=0,
            voided=0,
            refunded=0,
            reclaimed=0,
            dispute_deadline=0,
            dispute=None,
        )
        self._follow(block, event, "authorized")

    def _move_held(self, block: ReadBlock, event: Log, action: str, **added: int) -> None:
        order = self._order(event)
        values: dict[str, Any] = {name: order[name] + amount for name, amount in added.items()}
        values["held"] = order["held"] - event.args["amount"]
        if order["dispute"] == DisputeState.OPEN and not values["held"]:
            values["dispute"] = DisputeState.SETTLED  # unless a decision is told of after this
        released, voided = added.get("released", 0), added.get("voided", 0)
        self._count_in_dispute(block, event, to_payer=voided, to_seller=released)
        self._change_order(block, event, action, **values)

    def _change_order(self, block: ReadBlock, event: Log, action: str, **values: Any) -> None:
        self._order(event)
        self._orders.change(block.number, event.args["orderHash"], **values)
        self._follow(block, event, action)

    def _follow(self, block: ReadBlock, event: Log, action: str) -> None:
        """The purchase of an order, if it is one of ours, follows its order."""
        row = self._purchase_by_order.get(event.args["orderHash"])
        if row is None:
            return
        order = self._order(event)
        status = purchase_status(order, row["shipped_at"])
        values: dict[str, Any] = {"status": status, "error": None}
        if action == "authorized":
            values["authorized_at"] = block.timestamp
        elif action == "delivered":
            values["delivered_at"] = block.timestamp
        if order["held"] == 0 and row["closed_at"] is None:
            values["closed_at"] = block.timestamp
        self._purchases.change(block.number, row["id"], **values)
        data: dict[str, Any] = {"status": status}
        for name in ("amount", "fee"):
            if name in event.args:
                data[name] = str(event.args[name])
        for name in ("held", "released", "repayment", "voided", "refunded"):
            data[name] = str(order[name])
        if action in ("delivered", "disputed"):
            data["dispute_deadline"] = order["dispute_deadline"]
        if order["dispute"] is not None:
            data["dispute"] = order["dispute"]
        if event.name == "DisputeOpened":
            data["evidence_hash"] = event.args["evidenceHash"]
        elif event.name in ("DisputeResolved", "DisputeDefaulted"):
            data["to_payer"] = str(event.args["toPayer"])
            data["to_seller"] = str(event.args.get("released", 0))
            data["decision_hash"] = event.args.get("decisionHash")
        self._tell(block, event.transaction_hash, f"purchase.{action}", row, data)

    def _tell_of_order(self, block: ReadBlock, event: Log, what: str) -> None:
        """Something about a purchase that leaves its books as they are."""
        row = self._purchase_by_order.get(event.args["orderHash"])
        if row is not None:
            data = {"status": row["status"], "order_hash": event.args["orderHash"]}
            if "evidenceHash" in event.args:
                data |= {"party": event.args["party"], "evidence_hash": event.args["evidenceHash"]}
            self._tell(block, event.transaction_hash, f"purchase.{what}", row, data)

    # -------------------------------------------------------------------------- disputes

    def _open_dispute(self, block: ReadBlock, event: Log) -> None:
        args, order = event.args, self._order(event)
        self._disputes.insert(
            block.number,
            args["orderHash"],
            opened_at=block.timestamp,
            deadline=args["arbitrationDeadline"],
            disputed=order["held"],
            to_payer=0,
            to_seller=0,
            decision_hash=None,
            decided_to_payer=None,
            decided_to_seller=None,
            closed_at=None,
        )
        self._note_evidence(block, event, StatementKind.COMPLAINT, order["payer"])
        self._change_order(
            block,
            event,
            "disputed",
            dispute=DisputeState.OPEN,
            dispute_deadline=args["arbitrationDeadline"],
        )

    def _decide(self, block: ReadBlock, event: Log) -> None:
        """The decision itself; the logs of what it moves come next."""
        self._disputes.change(
            block.number,
            event.args["orderHash"],
            decision_hash=event.args["decisionHash"],
            decided_to_payer=event.args["toPayer"],
            decided_to_seller=event.args["released"],
        )
        self._change_order(block, event, "resolved", dispute=DisputeState.DECIDED)

    def _count_in_dispute(
        self, block: ReadBlock, event: Log, *, to_payer: int, to_seller: int = 0
    ) -> None:
        """Coin that leaves an order whose dispute was opened."""
        order_hash = event.args["orderHash"]
        dispute = self._disputes.get(order_hash)
        if dispute is None:
            return
        values = {
            "to_payer": dispute["to_payer"] + to_payer,
            "to_seller": dispute["to_seller"] + to_seller,
        }
        if self._order(event)["held"] == to_payer + to_seller:
            values["closed_at"] = block.timestamp
        self._disputes.change(block.number, order_hash, **values)

    def _note_evidence(self, block: ReadBlock, event: Log, kind: StatementKind, party: str) -> None:
        self._evidence.append(
            {
                "block_number": block.number,
                "block_timestamp": block.timestamp,
                "log_index": event.log_index,
                "tx_hash": event.transaction_hash,
                "order_hash": event.args["orderHash"],
                "party": party,
                "kind": kind,
                "hash": event.args["evidenceHash"],
            }
        )

    def _claim(self, block: ReadBlock, address: str, delta: int) -> None:
        row = self._claimables.get(address)
        if row is None:
            self._claimables.insert(block.number, address, amount=delta)
        else:
            self._claimables.change(block.number, address, amount=row["amount"] + delta)

    # --------------------------------------------------------------------------- writing

    def _tell(
        self,
        block: ReadBlock,
        cause: str,
        event_type: str,
        row: Mapping[str, Any],
        data: dict[str, Any],
    ) -> None:
        resource_id = row["id"]
        unique = f"{cause}:{event_type}:{resource_id}"
        repeated = 1
        while unique in self._told:  # a batch may do the same thing twice to one resource
            repeated += 1
            unique = f"{cause}:{event_type}:{resource_id}:{repeated}"
        tx_hash = cause if cause.startswith("0x") else None
        self._told[unique] = {
            "id": self._ids.new("evt"),
            "merchant_id": row["merchant_id"],
            "type": event_type,
            "resource_type": event_type.partition(".")[0],
            "resource_id": resource_id,
            "cause": unique,
            "data": {**data, "block_number": block.number, "tx_hash": tx_hash},
            "created_at": self._now,
        }

    def _write(self, ours: Mapping[str, _Ours]) -> None:
        session = self._session
        session.execute(
            insert(_blocks),
            [
                {
                    "number": block.number,
                    "hash": block.hash,
                    "parent_hash": block.parent_hash,
                    "timestamp": block.timestamp,
                    "others": [hash_ for hash_ in block.transactions if hash_ not in ours],
                }
                for block in self._blocks
            ],
        )
        for rows in (
            self._members,
            self._orders,
            self._disputes,
            self._claimables,
            self._supply,
            self._accounts,
            self._purchases,
            self._topups,
            self._redemptions,
            self._transfers,
            *self._credit.rows(),
        ):
            rows.write(session)
        self._credit.write_entries(session)
        self._payment_requests.write(session, self._now)
        if self._entries:
            session.execute(insert(_ledger), self._entries)
        if self._evidence:
            session.execute(insert(_evidence_logs), self._evidence)
        known: set[str] = set()
        for chunk in chunks(list(self._told)):
            known.update(session.scalars(_KNOWN_CAUSES, {"causes": chunk}))
        untold = [event for cause, event in self._told.items() if cause not in known]
        if untold:
            session.execute(insert(_events), untold)

    def _settle(self, ours: Mapping[str, _Ours]) -> None:
        """Our transactions of these blocks are mined, and their operations done, failed or, where
        a batch failed as a whole, queued again."""
        mined: list[dict[str, Any]] = []
        undone: list[dict[str, Any]] = []  # items of batches that succeeded
        done: dict[str, dict[str, Any]] = {}  # by operation
        failed: dict[str, Failure | _Split] = {}
        places: dict[str, dict[str, Any]] = {}  # where these failed
        for block in self._blocks:
            items = self._failed_items(block, ours)
            for index, hash_ in enumerate(block.transactions):
                one = ours.get(hash_)
                if one is None:
                    continue
                reverted = self._reverted.get(hash_)
                mined.append(
                    {
                        "_id": one.chain_tx_id,
                        "_hash": hash_,
                        "_number": block.number,
                        "_timestamp": block.timestamp,
                        "_index": index,
                        "_succeeded": reverted is None,
                    }
                )
                for position, operation in enumerate(one.operations):
                    failure = items.get((hash_, position))
                    if failure is not None:
                        undone.append({"_id": one.chain_tx_id, "_position": position})
                    elif reverted is not None:
                        failure = _why_undone(one, operation, reverted, hash_)
                    place = {"_id": operation.id, "_number": block.number, "_hash": hash_}
                    if failure is None:
                        done[operation.id] = {**place, "_now": self._now}
                    else:
                        places[operation.id] = place
                        failed[operation.id] = failure
        if not mined:
            self._write_undo_log()
            return
        session = self._session
        session.execute(_MINE, mined)
        session.execute(
            _CARRY,
            [{"_id": row["_id"], "_succeeded": row["_succeeded"]} for row in mined],
        )
        if undone:
            session.execute(
                update(_carried)
                .where(
                    _carried.c.chain_tx_id == bindparam("_id"),
                    _carried.c.position == bindparam("_position"),
                )
                .values(succeeded=False),
                undone,
            )
        if done:
            session.execute(_FINISH, list(done.values()))
        if failed:
            self._fail(failed, places)
        self._write_undo_log()

    def _failed_items(
        self, block: ReadBlock, ours: Mapping[str, _Ours]
    ) -> dict[tuple[str, int], Failure | _Split]:
        """What the batches among our transactions could not do, by hash and position."""
        found: dict[tuple[str, int], Failure | _Split] = {}
        for event in block.events:
            if event.name != "BatchItemFailed" or event.address != self._contracts.escrow:
                continue
            one = ours.get(event.transaction_hash)
            if one is None:
                continue
            position, reason = event.args["index"], event.args["reason"]
            error = _codec().decode_error(reason)
            result: Failure | _Split = _SPLIT
            if reason != "0x" and error.name not in _SHORT_OF_GAS:
                operation_id = one.operations[position].id
                cause = event.transaction_hash
                result = Failure(operation_id, error.name, str(error), cause=cause)
            found[event.transaction_hash, position] = result
        return found

    def _fail(
        self, failed: Mapping[str, Failure | _Split], places: Mapping[str, dict[str, Any]]
    ) -> None:
        """Operations that a transaction did not do, unless another has done it or still may."""
        settled_elsewhere = carried_elsewhere(self._session, list(failed))
        left = {key: why for key, why in failed.items() if key not in settled_elsewhere}
        failures = [why for why in left.values() if isinstance(why, Failure)]
        last = self._blocks[-1].number
        if failures:
            self._session.execute(
                update(_operations)
                .where(_operations.c.id == bindparam("_id"))
                .values(block_number=bindparam("_number"), tx_hash=bindparam("_hash")),
                [places[failure.operation_id] for failure in failures],
            )
        for before in fail_operations(self._session, failures, self._now, self._ids):
            self._undo.add(last, before.table, before.id, before.columns)
        split = [key for key, why in left.items() if isinstance(why, _Split)]
        for chunk in chunks(split):
            self._session.execute(
                update(_operations)
                .where(_operations.c.id.in_(chunk))
                .values(status=OperationStatus.QUEUED, alone=True, updated_at=self._now)
            )
        if split:
            log.info("index.batch_split", operations=len(split))

    def _write_undo_log(self) -> None:
        if self._undo.entries:
            self._session.execute(insert(_undo_log), self._undo.entries)


def _why_undone(
    one: _Ours, operation: _Operation, reverted: Reverted, hash_: str
) -> Failure | _Split:
    if len(one.operations) > 1 and reverted is not CANCELED:
        return _SPLIT
    code, words, status = reverted.code, reverted.words, reverted.ends_as
    return Failure(operation.id, code, words, cause=hash_, status=status)


@cache
def _codec() -> ContractCodec:
    return ContractCodec("PurchaseEscrow")


def account_status(member: Mapping[str, Any], timestamp: int) -> AccountStatus:
    """What an account is at a block time, by its standing in the coin."""
    if timestamp >= member["member_until"]:
        return AccountStatus.EXPIRED
    return AccountStatus.FROZEN if member["frozen"] else AccountStatus.ACTIVE


def purchase_status(  # noqa: PLR0911 (one rule a line)
    order: Mapping[str, Any] | None, shipped_at: int | None
) -> PurchaseStatus:
    """What a purchase is, by its order's totals and the shop's word on shipping."""
    if order is None:
        return PurchaseStatus.CREATED
    if order["dispute"] in (DisputeState.DECIDED, DisputeState.DEFAULTED):
        return PurchaseStatus.RESOLVED
    if order["held"]:
        if order["dispute"] == DisputeState.OPEN:
            return PurchaseStatus.DISPUTED
        if order["dispute_deadline"]:
            return PurchaseStatus.DELIVERED
        return PurchaseStatus.AUTHORIZED if shipped_at is None else PurchaseStatus.SHIPPED
    if order["reclaimed"]:
        return PurchaseStatus.RECLAIMED
    if not order["released"]:
        return PurchaseStatus.VOIDED
    if order["refunded"] == order["released"]:
        return PurchaseStatus.REFUNDED
    return PurchaseStatus.RELEASED
