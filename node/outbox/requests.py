"""What the platform's staff asks for, where a transaction is stuck or its nonce was taken.

rebroadcast   the stored bytes go out again at once
cancel        an empty call of the sender to itself, with the same nonce
replace       the same call with another gas limit, with the same nonce
retry         an operation in conflict is queued again, to be signed for another nonce

Here too bytes are stored before anybody sees them, and an answer decides nothing: of all that was
signed for a nonce the one in a block counts. So asking for a cancellation is no cancellation; the
call may be faster.

No fee can be offered on this chain, where all gas is free: a pool that holds the earlier bytes may
refuse the later ones as underpriced until it has dropped these. A local chain is told to forget
them; others are asked again every few seconds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import rlp
import structlog
from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from node.chain.engine import Engine
from node.chain.rpc import RpcError
from node.keys import SealedSeed, SeedError, SignedTransaction
from node.outbox.broadcast import Broadcaster
from node.store import Store
from node.store.models import (
    OWNER,
    AttemptKind,
    ChainTx,
    ChainTxOperation,
    ChainTxStatus,
    Operation,
    OperationStatus,
    OutboxAction,
    OutboxRequest,
    OutboxRequestStatus,
    TxAttempt,
)

CANCEL_GAS = 21_000  # what a call of nothing costs

log = structlog.get_logger(__name__)


class _Refused(Exception):
    """The request cannot be carried out; the message is for people."""


class Requests:
    """Carries out what is asked of the outbox, one request after the other.

    Args:
        clock: wall clock, unix seconds.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        seed: SealedSeed,
        chain_id: int,
        broadcaster: Broadcaster,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._store = store
        self._seed = seed
        self._chain_id = chain_id
        self._broadcaster = broadcaster
        self._clock = clock

    async def round(self) -> int:
        """Carry out what is pending; return how many requests that were.

        Raises:
            RpcError, RpcUnavailable: as the chain answered, or did not. What is pending stays so.
        """
        pending = await self._store.read(_read_pending)
        for request in pending:
            try:
                await self._carry_out(request)
            except _Refused as refusal:
                await self._store.write(
                    partial(self._finish, request_id=request.id, refusal=str(refusal))
                )
                log.warning("outbox.request_refused", request=request.id, reason=str(refusal))
            else:
                log.info(
                    "outbox.request_done",
                    request=request.id,
                    action=request.action,
                    chain_tx=request.chain_tx_id,
                    operation=request.operation_id,
                )
        return len(pending)

    async def _carry_out(self, request: Row[Any]) -> None:
        if request.action == OutboxAction.RETRY:
            await self._retry(request)
            return
        transaction = await self._store.read(
            lambda session: _read_transaction(session, request.chain_tx_id)
        )
        _refuse_unless_signed(transaction.status)
        if request.action == OutboxAction.REBROADCAST:
            await self._store.write(lambda session: self._finish(session, request.id))
        else:
            signed, kind = self._sign(request, transaction)
            await self._store.write(
                lambda session: self._attempt(session, request, transaction, signed, kind)
            )
        with contextlib.suppress(RpcError):
            await self._engine.forget_unmined(transaction.sender)
        self._broadcaster.everything_is_due()

    # ---------------------------------------------------------------- another try at a nonce

    def _sign(
        self, request: Row[Any], transaction: Row[Any]
    ) -> tuple[SignedTransaction, AttemptKind]:
        if transaction.signer == OWNER:
            raise _Refused(
                "the transaction came signed by its owner, who alone can use its nonce otherwise"
            )
        try:
            signer = self._seed.signer(transaction.signer)
        except (SeedError, ValueError) as error:
            raise _Refused(str(error)) from error
        fields = {
            "chainId": self._chain_id,
            "nonce": transaction.nonce,
            "maxFeePerGas": 0,
            "maxPriorityFeePerGas": 0,
        }
        if request.action == OutboxAction.CANCEL:
            nothing = {**fields, "to": signer.address, "gas": CANCEL_GAS}
            return signer.sign_transaction(nothing), AttemptKind.CANCEL
        to, calldata = _call_of(transaction.raw)
        call = {**fields, "to": to, "data": calldata, "gas": request.gas_limit}
        return signer.sign_transaction(call), AttemptKind.REPLACEMENT

    def _attempt(
        self,
        session: Session,
        request: Row[Any],
        transaction: Row[Any],
        signed: SignedTransaction,
        kind: AttemptKind,
    ) -> None:
        """Store the bytes, and that they are what is sent from now on.

        Raises:
            _Refused: the transaction was mined meanwhile.
        """
        status = session.scalar(
            select(ChainTx.status).where(ChainTx.id == transaction.id).with_for_update()
        )
        _refuse_unless_signed(str(status))
        if not self._finish(session, request.id):
            return  # another worker has
        # The same bytes may have been asked for before: signatures hold no randomness.
        if session.get(TxAttempt, signed.hash) is None:
            session.add(
                TxAttempt(
                    hash=signed.hash,
                    chain_tx_id=transaction.id,
                    kind=kind,
                    raw="0x" + signed.raw.hex(),
                    created_at=int(self._clock()),
                )
            )
            session.flush()
        session.execute(
            update(ChainTx).where(ChainTx.id == transaction.id).values(tx_hash=signed.hash)
        )

    # -------------------------------------------------------------------- after a conflict

    async def _retry(self, request: Row[Any]) -> None:
        """Queue an operation in conflict once more, after a look whether it was not done after all.

        Raises:
            _Refused: it was, or still can be.
        """
        operation_id = request.operation_id
        attempts = await self._store.read(lambda session: _read_attempts(session, operation_id))
        receipts = await self._ask(
            [("eth_getTransactionReceipt", [attempt.hash]) for attempt in attempts]
        )
        for attempt, receipt in zip(attempts, receipts, strict=True):
            if receipt is not None:
                raise _Refused(
                    f"{attempt.hash} is in block {int(receipt['blockNumber'], 16)}: what it did is"
                    " told when that block is indexed"
                )
        nonces = {(attempt.sender, attempt.nonce) for attempt in attempts}
        senders = sorted({sender for sender, _ in nonces})
        counts = await self._ask(
            [("eth_getTransactionCount", [sender, "latest"]) for sender in senders]
        )
        used = {sender: int(count, 16) for sender, count in zip(senders, counts, strict=True)}
        for sender, nonce in nonces:
            if used[sender] <= nonce:
                raise _Refused(
                    f"{sender} has used {used[sender]} nonces on chain, and so not {nonce}: the"
                    " bytes signed for it may still be mined"
                )
        await self._store.write(lambda session: self._queue_again(session, request))

    def _queue_again(self, session: Session, request: Row[Any]) -> None:
        now = int(self._clock())
        queued = session.scalar(
            update(Operation)
            .where(
                Operation.id == request.operation_id, Operation.status == OperationStatus.CONFLICT
            )
            .values(
                status=OperationStatus.QUEUED,
                alone=True,
                error_code=None,
                error=None,
                updated_at=now,
            )
            .returning(Operation.id)
        )
        if queued is None:
            raise _Refused(f"{request.operation_id} is in conflict no more")
        self._finish(session, request.id)
        # A transaction has been looked at when all its operations have been.
        theirs = select(ChainTxOperation.chain_tx_id).where(
            ChainTxOperation.operation_id == request.operation_id
        )
        open_ = (
            select(ChainTxOperation.position)
            .join(Operation, Operation.id == ChainTxOperation.operation_id)
            .where(
                ChainTxOperation.chain_tx_id == ChainTx.id,
                Operation.status == OperationStatus.CONFLICT,
            )
        )
        session.execute(
            update(ChainTx)
            .where(
                ChainTx.id.in_(theirs),
                ChainTx.status == ChainTxStatus.CONFLICT,
                ~open_.exists(),
            )
            .values(status=ChainTxStatus.RESOLVED)
        )

    async def _ask(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        answers = await self._engine.rpc.batch(calls)
        for answer in answers:
            if isinstance(answer, RpcError):
                raise answer
        return answers

    def _finish(self, session: Session, request_id: str, refusal: str | None = None) -> bool:
        """Close a request; False if it was closed before."""
        status = OutboxRequestStatus.DONE if refusal is None else OutboxRequestStatus.REFUSED
        closed = session.scalar(
            update(OutboxRequest)
            .where(
                OutboxRequest.id == request_id, OutboxRequest.status == OutboxRequestStatus.PENDING
            )
            .values(status=status, answer=refusal, finished_at=int(self._clock()))
            .returning(OutboxRequest.id)
        )
        return closed is not None


def _refuse_unless_signed(status: str) -> None:
    if status != ChainTxStatus.SIGNED:
        raise _Refused(f"the transaction is {status}, and nothing waits to be mined")


def _call_of(raw: str) -> tuple[bytes, bytes]:
    """Where a signed EIP-1559 transaction goes, and its calldata."""
    fields: list[bytes] = rlp.decode(bytes.fromhex(raw[2:])[1:])
    return fields[5], fields[7]


def _read_pending(session: Session) -> list[Row[Any]]:
    requests = OutboxRequest.__table__
    return list(
        session.execute(
            select(requests)
            .where(requests.c.status == OutboxRequestStatus.PENDING)
            .order_by(requests.c.id)
        )
    )


def _read_transaction(session: Session, chain_tx_id: int) -> Row[Any]:
    """The transaction, who signs it, and the bytes of its call."""
    found = session.execute(
        select(
            ChainTx.id,
            ChainTx.sender,
            ChainTx.nonce,
            ChainTx.status,
            Operation.signer,
            TxAttempt.raw,
        )
        .join(ChainTxOperation, ChainTxOperation.chain_tx_id == ChainTx.id)
        .join(Operation, Operation.id == ChainTxOperation.operation_id)
        .join(TxAttempt, TxAttempt.chain_tx_id == ChainTx.id)
        .where(
            ChainTx.id == chain_tx_id,
            ChainTxOperation.position == 0,
            TxAttempt.kind == AttemptKind.CALL,
        )
    ).one()
    return cast("Row[Any]", found)


def _read_attempts(session: Session, operation_id: str) -> list[Row[Any]]:
    """All that was ever signed for an operation."""
    return list(
        session.execute(
            select(TxAttempt.hash, ChainTx.sender, ChainTx.nonce)
            .join(ChainTx, ChainTx.id == TxAttempt.chain_tx_id)
            .join(ChainTxOperation, ChainTxOperation.chain_tx_id == ChainTx.id)
            .where(ChainTxOperation.operation_id == operation_id)
        )
    )
