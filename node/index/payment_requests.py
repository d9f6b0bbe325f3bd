"""Which transfers paid which payment requests.

A transfer names a request by its memo, or by the nonce of the authorization it was made with.
Whether it pays the request follows from the request's own terms and the block's time; a transfer
that does not (too small, too late, a second one) has still moved coin, so it is kept and told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop
from typing import Any

from sqlalchemy import Table, bindparam, insert, select, update
from sqlalchemy.orm import Session

from node.chain.codec import Event as Log
from node.index.chain_reader import ReadBlock
from node.index.credit import Tell
from node.index.ledger import Move
from node.index.rows import Rows, UndoLog, chunks
from node.store.models import (
    Operation,
    OperationStatus,
    PaymentOutcome,
    PaymentRequest,
    PaymentRequestStatus,
    RequestPayment,
)

_operations: Table = Operation.__table__  # type: ignore[assignment]
_requests: Table = PaymentRequest.__table__  # type: ignore[assignment]
_payments: Table = RequestPayment.__table__  # type: ignore[assignment]

_EXPIRING = select(_requests.c.expires_at, _requests.c.id).where(
    _requests.c.status == PaymentRequestStatus.OPEN, _requests.c.expires_at <= bindparam("until")
)


class PaymentRequestProjection:
    """The payment requests that a range of blocks changes."""

    def __init__(self, undo: UndoLog, tell: Tell) -> None:
        self._tell = tell
        self._payments: list[dict[str, Any]] = []
        self._paid: list[str] = []
        self._by_memo: dict[tuple[str, str], str] = {}
        self._by_nonce: dict[str, str] = {}
        self._expiring: list[tuple[int, str]] = []
        self.rows = Rows(
            _requests,
            undo,
            key="id",
            written=(
                "status",
                "error",
                "received",
                "paid_amount",
                "paid_by",
                "paid_tx",
                "paid_block",
                "paid_at",
            ),
            read=(
                "merchant_id",
                "payee_address",
                "amount",
                "memo_word",
                "nonce",
                "expires_at",
                "canceled_at",
            ),
        )

    def read(self, session: Session, blocks: Sequence[ReadBlock]) -> None:
        """Find the requests that these blocks name, and those whose time ends in them."""
        events = [event for block in blocks for event in block.events]
        memos = {event.args["memo"] for event in events if event.name == "TransferMemo"}
        nonces = {event.args["nonce"] for event in events if event.name == "AuthorizationUsed"}
        self._expiring = [
            (expires_at, request_id)
            for expires_at, request_id in session.execute(
                _EXPIRING, {"until": blocks[-1].timestamp}
            )
        ]
        heapify(self._expiring)
        self.rows.read(session, _requests.c.memo_word, memos)
        self.rows.read(session, _requests.c.nonce, nonces)
        self.rows.read(session, _requests.c.id, [request_id for _, request_id in self._expiring])
        for row in self.rows.all():
            self._by_memo[row["payee_address"], row["memo_word"]] = row["id"]
            self._by_nonce[row["nonce"]] = row["id"]

    def expire(self, block: ReadBlock) -> None:
        """Requests whose time ran out before this block."""
        while self._expiring and self._expiring[0][0] <= block.timestamp:
            expires_at, request_id = heappop(self._expiring)
            row = self.rows.get(request_id)
            if row is None or row["status"] != PaymentRequestStatus.OPEN:
                continue  # paid or canceled meanwhile
            self.rows.change(block.number, request_id, status=PaymentRequestStatus.EXPIRED)
            data = {"status": PaymentRequestStatus.EXPIRED, "amount": str(row["amount"])}
            self._tell(block, f"until {expires_at}", "payment_request.expired", row, data)

    def apply_memo(self, block: ReadBlock, event: Log) -> None:
        """A TransferMemo: the coin says it of the transfer just before."""
        args = event.args
        request_id = self._by_memo.get((args["to"], args["memo"]))
        if request_id is not None:
            self._receive(block, event, request_id, args["from"], args["amount"])

    def apply_authorization(self, block: ReadBlock, event: Log, named: Mapping[int, Move]) -> None:
        """An AuthorizationUsed: the coin says it of the transfer just after."""
        request_id = self._by_nonce.get(event.args["nonce"])
        move = named.get(event.log_index + 1)
        row = None if request_id is None else self.rows.get(request_id)
        if row is None or move is None:
            return
        args = move.event.args
        if (args["from"], args["to"]) == (event.args["authorizer"], row["payee_address"]):
            self._receive(block, move.event, row["id"], args["from"], args["value"])

    def write(self, session: Session, now: int) -> None:
        """Write the requests and what came in for them.

        Args:
            now: wall clock, unix seconds.
        """
        self.rows.write(session)
        if self._payments:
            session.execute(insert(_payments), self._payments)
        # Somebody else was faster: what the bridge has not signed yet would pay a second time.
        for chunk in chunks(self._paid):
            session.execute(
                update(_operations)
                .where(
                    _operations.c.resource_type == "payment_request",
                    _operations.c.resource_id.in_(chunk),
                    _operations.c.status == OperationStatus.QUEUED,
                )
                .values(status=OperationStatus.CANCELED, updated_at=now)
            )

    def _receive(
        self, block: ReadBlock, event: Log, request_id: str, payer: str, amount: int
    ) -> None:
        row = self.rows.get(request_id)
        assert row is not None
        if amount == 0 or payer == row["payee_address"]:
            return  # no coin came in
        outcome = _outcome(row, block.timestamp, amount)
        values: dict[str, Any] = {"received": row["received"] + amount}
        if outcome == PaymentOutcome.PAID:
            values |= {
                "status": PaymentRequestStatus.PAID,
                "error": None,
                "paid_amount": amount,
                "paid_by": payer,
                "paid_tx": event.transaction_hash,
                "paid_block": block.number,
                "paid_at": block.timestamp,
            }
            self._paid.append(request_id)
        self.rows.change(block.number, request_id, **values)
        self._payments.append(
            {
                "request_id": request_id,
                "block_number": block.number,
                "block_timestamp": block.timestamp,
                "log_index": event.log_index,
                "tx_hash": event.transaction_hash,
                "payer": payer,
                "amount": amount,
                "outcome": outcome,
            }
        )
        data = {
            "status": row["status"],
            "amount": str(amount),
            "requested": str(row["amount"]),
            "payer": payer,
        }
        self._tell(block, event.transaction_hash, f"payment_request.{outcome}", row, data)


def _outcome(row: Mapping[str, Any], timestamp: int, amount: int) -> PaymentOutcome:
    """What a transfer in a block of this time is to a request as it stood before."""
    if row["status"] == PaymentRequestStatus.PAID:
        return PaymentOutcome.PAID_AGAIN
    if row["canceled_at"] is not None:
        return PaymentOutcome.PAID_AFTER_CANCEL
    if timestamp >= row["expires_at"]:
        return PaymentOutcome.PAID_LATE
    return PaymentOutcome.PAID if amount >= row["amount"] else PaymentOutcome.UNDERPAID
