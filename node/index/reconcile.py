"""Chain and database compared at one block, to the unit.

The database says how far it has indexed; everything is then read from the chain at exactly that
block. What is compared:

    supply       totalSupply = minted - burned = the sum of all balances in the database
    members      balance, kinds, expiry and freeze of every address known
    escrow       its coin = all that is held + all that is claimable + what strangers gave it
    orders       held, refundable, deadline and status of every order
    disputes     of every disputed order: what was disputed went to one side or is still held
    claimables   of every address that was ever credited
    purchases    the status shown is the one its order has; what was never authorized has no order
    credit       every line, field by field, with its interest at that block; their totals, book
                 value and reserve; the pool's cash, total shares and every lender's shares
                 (node.index.reconcile_credit)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from node.chain.codec import ContractCodec
from node.chain.deployment import Manifest
from node.chain.rpc import Rpc, RpcError
from node.index.chain_reader import Contracts
from node.index.drift import Drift
from node.index.projections import SUPPLY_ID, purchase_status
from node.index.reconcile_credit import CreditBooks, CreditFigures, compare_credit, read_credit
from node.store import Store
from node.store.models import (
    Account,
    Block,
    Claimable,
    Dispute,
    DisputeState,
    EscrowOrder,
    LastReconciliation,
    LedgerEntry,
    Member,
    Purchase,
    Supply,
)

LAST_ID = 1
CALLS_PER_BATCH = 500
WAIT_SECONDS = 10.0  # for database and chain to meet

# Of IPurchaseEscrow.Status.
_AUTHORIZED, _DELIVERED, _CLOSED, _DISPUTED = 1, 2, 3, 4
_NO_ORDER = {"held": 0, "refundable": 0, "deadline": 0, "status": 0}
# Transfers into the escrow that belong to no order.
_GIFTS = ("transfer", "topup", "seizure")


class ReconcileError(Exception):
    """Chain and database could not be compared; the message is for people."""


@dataclass(frozen=True)
class Reconciliation:
    """What was compared at which block, and every difference. Amounts are atomic units."""

    block_number: int
    block_hash: str
    checked: dict[str, int]
    total_supply: int
    minted: int
    burned: int
    held: int
    claimable: int
    unattributed: int  # the escrow's coin that belongs to no order and nobody's claimable
    credit: CreditFigures
    drift: list[Drift] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.drift

    def as_dict(self) -> dict[str, Any]:
        """For JSON; amounts as decimal strings."""
        amounts = ("total_supply", "minted", "burned", "held", "claimable", "unattributed")
        values = asdict(self) | {name: str(getattr(self, name)) for name in amounts}
        values["credit"] = {name: str(value) for name, value in asdict(self.credit).items()}
        return {"ok": self.ok, **values}


@dataclass(frozen=True)
class _Books:
    """The database in one consistent read."""

    number: int
    hash: str
    timestamp: int
    members: dict[str, dict[str, Any]]
    orders: dict[str, dict[str, Any]]
    disputes: dict[str, dict[str, Any]]
    claimables: dict[str, int]
    purchases: list[tuple[str, str, str, int | None]]  # id, order hash, status, shipped at
    minted: int
    burned: int
    gifts: int
    credit: CreditBooks


async def reconcile(rpc: Rpc, store: Store, manifest: Manifest) -> Reconciliation:
    """Compare chain and database at the newest block that the database has indexed.

    Raises:
        ReconcileError: nothing is indexed yet, the chain does not have that block, or it no longer
            has the state of that block.
        RpcUnavailable: the chain does not answer.
    """
    contracts = Contracts.of(manifest)
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        books = await store.read(lambda session: _read_books(session, contracts))
        try:
            return await _Comparison(rpc, contracts, books).run()
        except ReconcileError:
            # The indexer may be about to roll back, or a busy chain to forget the block's state.
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)


def remember(session: Session, found: Reconciliation, now: int) -> None:
    """Keep what a comparison found, for readiness and metrics.

    Args:
        now: wall clock, unix seconds.
    """
    row = session.get(LastReconciliation, LAST_ID)
    if row is None:
        row = LastReconciliation(id=LAST_ID, block_number=0, differences=0, finished_at=0)
        session.add(row)
    row.block_number = found.block_number
    row.differences = len(found.drift)
    row.finished_at = now


class _Comparison:
    def __init__(self, rpc: Rpc, contracts: Contracts, books: _Books) -> None:
        self._rpc = rpc
        self._books = books
        self._contracts = contracts
        self._addresses = {
            "PlatformCoin": contracts.coin,
            "PurchaseEscrow": contracts.escrow,
            "CreditBook": contracts.book,
            "LenderPool": contracts.pool,
        }
        self._coin = ContractCodec("PlatformCoin")
        self._escrow = ContractCodec("PurchaseEscrow")
        self._drift: list[Drift] = []

    async def run(self) -> Reconciliation:
        books = self._books
        await self._check_canonical()
        (supply,) = await self._ask(self._coin, "totalSupply", [()])
        (escrow_coin,) = await self._ask(self._coin, "balanceOf", [(self._contracts.escrow,)])
        await self._check_members()
        await self._check_orders()
        await self._check_claimables()
        self._check_disputes()
        self._check_purchases()
        await compare_credit(
            books.credit, self._contracts, self._ask, self._compare, books.timestamp
        )
        await self._check_canonical()

        held = sum(order["held"] for order in books.orders.values())
        claimable = sum(books.claimables.values())
        balances = sum(member["balance"] for member in books.members.values())
        self._compare("supply", "minted - burned", supply, books.minted - books.burned)
        self._compare("supply", "sum of balances", supply, balances)
        self._compare("escrow", "coin", escrow_coin, held + claimable + books.gifts)
        return Reconciliation(
            block_number=books.number,
            block_hash=books.hash,
            checked={
                "members": len(books.members),
                "orders": len(books.orders),
                "disputes": len(books.disputes),
                "claimables": len(books.claimables),
                "purchases": len(books.purchases),
                "lines": len(books.credit.lines),
                "lenders": len(books.credit.lenders),
            },
            total_supply=supply,
            minted=books.minted,
            burned=books.burned,
            held=held,
            claimable=claimable,
            unattributed=escrow_coin - held - claimable,
            credit=books.credit.figures(books.timestamp),
            drift=self._drift,
        )

    async def _check_canonical(self) -> None:
        """Before and after: the answers in between are then of this block's history."""
        block = await self._rpc.call("eth_getBlockByNumber", hex(self._books.number), False)
        found = "not there" if block is None else block["hash"]
        if found != self._books.hash:
            raise ReconcileError(
                f"block {self._books.number} of the chain is {found}, the database has"
                f" {self._books.hash}: the chain went back, and is not indexed again yet"
            )

    async def _check_members(self) -> None:
        addresses = sorted(self._books.members)
        answers = await self._ask(self._coin, "accountOf", [(address,) for address in addresses])
        for address, actual in zip(addresses, answers, strict=True):
            member = self._books.members[address]
            expected = {
                "balance": member["balance"],
                "memberUntil": member["member_until"],
                "kinds": member["kinds"],
                "frozen": member["frozen"],
            }
            self._compare_all(address, actual, expected)

    async def _check_orders(self) -> None:
        hashes = sorted(
            self._books.orders.keys()
            | {order_hash for _, order_hash, _, _ in self._books.purchases}
        )
        answers = await self._ask(self._escrow, "orderOf", [(hash_,) for hash_ in hashes])
        for hash_, actual in zip(hashes, answers, strict=True):
            order = self._books.orders.get(hash_)
            self._compare_all(hash_, actual, _NO_ORDER if order is None else _order_word(order))
            if order is not None:
                parts = sum(order[part] for part in ("held", "released", "voided", "reclaimed"))
                self._compare(hash_, "parts of what was authorized", parts, order["authorized"])

    async def _check_claimables(self) -> None:
        addresses = sorted(self._books.claimables)
        answers = await self._ask(self._escrow, "claimable", [(address,) for address in addresses])
        for address, actual in zip(addresses, answers, strict=True):
            self._compare(address, "claimable", actual, self._books.claimables[address])

    def _check_disputes(self) -> None:
        """The orders were compared with the chain; a dispute must say what its order says."""
        for hash_, order in self._books.orders.items():
            dispute = self._books.disputes.get(hash_)
            self._compare(hash_, "disputed", order["dispute"] is not None, dispute is not None)
            if dispute is None:
                continue
            parts = order["held"] + dispute["to_payer"] + dispute["to_seller"]
            self._compare(hash_, "parts of what was disputed", parts, dispute["disputed"])
            deadline = order["dispute_deadline"]
            self._compare(hash_, "arbitration deadline", deadline, dispute["deadline"])
            is_open = order["dispute"] == DisputeState.OPEN
            self._compare(hash_, "dispute open", is_open, dispute["closed_at"] is None)

    def _check_purchases(self) -> None:
        """The orders were compared with the chain; a purchase must say what its order says."""
        for purchase_id, order_hash, status, shipped_at in self._books.purchases:
            order = self._books.orders.get(order_hash)
            self._compare(purchase_id, "status", str(purchase_status(order, shipped_at)), status)

    async def _ask(
        self,
        codec: ContractCodec,
        function: str,
        arguments: Sequence[tuple[Any, ...]],
    ) -> list[Any]:
        found = []
        for chunk in _chunks(arguments):
            calls = [
                (
                    "eth_call",
                    [
                        {
                            "to": self._addresses[codec.contract],
                            "data": codec.encode(function, *given),
                        },
                        hex(self._books.number),
                    ],
                )
                for given in chunk
            ]
            for answer in await self._rpc.batch(calls):
                if isinstance(answer, RpcError):
                    raise ReconcileError(
                        f"the chain does not tell its state at block {self._books.number}: {answer}"
                    ) from answer
                found.append(codec.decode_result(function, answer))
        return found

    def _compare_all(self, subject: str, actual: dict[str, Any], expected: dict[str, Any]) -> None:
        for what, value in expected.items():
            self._compare(subject, what, actual[what], value)

    def _compare(
        self, subject: str, what: str, actual: int | str | bool, expected: int | str | bool
    ) -> None:
        if actual != expected:
            self._drift.append(Drift(subject, what, actual, expected))


def _order_word(order: dict[str, Any]) -> dict[str, int]:
    """The word the escrow keeps for an order with these totals."""
    status = _CLOSED
    if order["held"]:
        status = _DELIVERED if order["dispute_deadline"] else _AUTHORIZED
        if order["dispute"] == DisputeState.OPEN:
            status = _DISPUTED
    return {
        "held": order["held"],
        "refundable": order["released"] - order["refunded"],
        "deadline": order["dispute_deadline"],
        "status": status,
    }


def _read_books(session: Session, contracts: Contracts) -> _Books:
    newest = session.execute(
        select(Block.number, Block.hash, Block.timestamp).order_by(Block.number.desc()).limit(1)
    ).first()
    if newest is None:
        raise ReconcileError("nothing is indexed yet")
    members = {
        row["address"]: dict(row)
        for row in session.execute(
            select(Member.address, Member.balance, Member.member_until, Member.kinds, Member.frozen)
        ).mappings()
    }
    for address in session.scalars(select(Account.address)):
        members.setdefault(address, {"balance": 0, "member_until": 0, "kinds": 0, "frozen": False})
    orders = {
        row["order_hash"]: dict(row)
        for row in session.execute(
            select(
                EscrowOrder.order_hash,
                EscrowOrder.authorized,
                EscrowOrder.held,
                EscrowOrder.released,
                EscrowOrder.refunded,
                EscrowOrder.voided,
                EscrowOrder.reclaimed,
                EscrowOrder.dispute_deadline,
                EscrowOrder.dispute,
            )
        ).mappings()
    }
    disputes = {
        row["order_hash"]: dict(row)
        for row in session.execute(
            select(
                Dispute.order_hash,
                Dispute.deadline,
                Dispute.disputed,
                Dispute.to_payer,
                Dispute.to_seller,
                Dispute.closed_at,
            )
        ).mappings()
    }
    claimables = dict(session.execute(select(Claimable.address, Claimable.amount)).all())
    purchases = [
        (row[0], row[1], row[2], row[3])
        for row in session.execute(
            select(Purchase.id, Purchase.order_hash, Purchase.status, Purchase.shipped_at)
        )
    ]
    supply = session.get(Supply, SUPPLY_ID)
    gifts = session.scalars(
        select(LedgerEntry.delta).where(
            LedgerEntry.address == contracts.escrow, LedgerEntry.kind.in_(_GIFTS)
        )
    )
    return _Books(
        number=newest.number,
        hash=newest.hash,
        timestamp=newest.timestamp,
        members=members,
        orders=orders,
        disputes=disputes,
        claimables=claimables,
        purchases=purchases,
        minted=supply.minted if supply else 0,
        burned=supply.burned if supply else 0,
        gifts=sum(gifts),
        credit=read_credit(session, contracts),
    )


def _chunks(values: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    for start in range(0, len(values), CALLS_PER_BATCH):
        yield values[start : start + CALLS_PER_BATCH]
