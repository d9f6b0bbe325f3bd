"""Signed bytes go to the network, and go again until a block holds them.

An answer to a broadcast decides nothing: "already known", "nonce too low", "underpriced", no answer
at all. What counts is what the chain says of the transaction's hash; or of its hashes, where people
have asked for a replacement or a cancellation (node.outbox.requests). Only where the chain has used
the nonce and knows none of them, seen several times over, somebody else has signed with our key: a
*conflict*, that people must look at. Nothing is ever signed anew for an operation by itself.

**When the chain went back** (a development chain that came back from an older snapshot), nothing is
sent until the indexer has taken back the lost blocks: what followed from them would come before
them, and fail. Then the transactions that the lost blocks held are sent again, the same bytes in
the order of the lost blocks. On a chain whose time can be set, each is sent at the time of its lost
block, never backwards, so that deadlines hold as they did.

What this cannot bring back: transactions of others (wallets that acted on chain by themselves) in
the lost blocks, since the node never had their bytes. The rollback logs their hashes. What depended
on them may now fail, and is then reported as any failed operation is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Table, and_, select, update
from sqlalchemy.orm import Session

from node.chain.engine import ChainTimeError, Engine
from node.chain.rpc import Rpc, RpcError, RpcUnavailable
from node.failpoints import reach, reach_halfway
from node.store import Store
from node.store.carrying import carried_elsewhere
from node.store.failures import Failure, fail_operations
from node.store.ids import Ids
from node.store.models import (
    OWNER,
    Block,
    ChainTx,
    ChainTxOperation,
    ChainTxStatus,
    Operation,
    OperationStatus,
    Sender,
    TxAttempt,
)

RESEND_SECONDS = 3.0  # unmined for so long: the same bytes again
CHECK_SECONDS = 0.5  # between looks for what is due
CONFLICT_SIGHTINGS = 3  # how often in a row a nonce must be seen used by a stranger
REPLAY_WAIT_SECONDS = 5.0  # for one transaction of a lost block to be mined again

log = structlog.get_logger(__name__)

_BLOCKS: Table = Block.__table__  # type: ignore[assignment]
_INDEXED = select(_BLOCKS.c.number, _BLOCKS.c.hash).order_by(_BLOCKS.c.number.desc()).limit(1)


class Indexed(NamedTuple):
    """The newest block in the database; its hash is None while there is none."""

    number: int
    hash: str | None

    @classmethod
    def read(cls, session: Session) -> Indexed:
        row = session.execute(_INDEXED).one_or_none()
        return cls(-1, None) if row is None else cls(row.number, row.hash)

    async def is_on(self, rpc: Rpc) -> bool:
        """Whether the chain has it still.

        A chain that went back refuses what depends on its lost blocks. Until the indexer has taken
        these back, the operations they held look settled, and a refusal would look final.

        Raises:
            RpcUnavailable, RpcError: the chain does not say.
        """
        if self.hash is None:
            return True
        block = await rpc.call("eth_getBlockByNumber", hex(self.number), False)
        return block is not None and block["hash"] == self.hash


@dataclass(frozen=True, slots=True)
class Signed:
    """One stored transaction that no canonical block holds."""

    chain_tx_id: int
    sender: str
    nonce: int
    hash: str
    raw: str
    first_mined_at: int | None  # time of the lost block that held it
    hashes: tuple[str, ...]  # of all that was ever signed for this nonce; `hash` is what is sent
    by_owner: bool = False  # it came signed, by a key that is not the node's


class Broadcaster:
    """Sends stored bytes, again and again, and notices strangers.

    Args:
        clock: wall clock, unix seconds.
    """

    def __init__(
        self, engine: Engine, store: Store, *, clock: Callable[[], float], ids: Ids | None = None
    ) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._ids = ids or Ids()
        self._sent_at: dict[int, float] = {}
        self._sightings: dict[int, int] = {}
        self._checked_at = float("-inf")
        self._next_nonces: dict[str, int] = {}  # on chain, when last looked up
        # Senders whose next nonce on chain is one we neither hold nor ever signed: nothing of
        # theirs can be mined until people act.
        self.stuck: dict[str, str] = {}

    @property
    def _rpc(self) -> Rpc:
        return self._engine.rpc

    async def send(self, transactions: Sequence[Signed], indexed: Indexed) -> None:
        """Send in one batch, in this order. Whatever the answers, the indexer will tell.

        Args:
            indexed: what was indexed when it was decided to send them. Where the chain has lost
                that block since, nothing is sent; it is after the indexer has gone back.
        """
        await reach_halfway("outbox.half_sent", lambda half: self.send(half, indexed), transactions)
        now = time.monotonic()
        for transaction in transactions:
            self._sent_at[transaction.chain_tx_id] = now
        try:
            if not await indexed.is_on(self._rpc):
                log.info("outbox.chain_went_back", indexed_block=indexed.number)
                return
            async with self._engine.mining_held():
                reach("outbox.sending")
                answers = await self._rpc.batch(
                    [("eth_sendRawTransaction", [transaction.raw]) for transaction in transactions]
                )
        except (RpcUnavailable, RpcError) as error:
            log.warning(
                "outbox.broadcast_unknown", transactions=len(transactions), error=str(error)
            )
            return
        reach("outbox.sent")
        for transaction, answer in zip(transactions, answers, strict=True):
            if isinstance(answer, RpcError):
                log.info("outbox.broadcast_answer", tx=transaction.hash, answer=answer.message)

    def everything_is_due(self) -> None:
        """Forget what was sent: the chain went back."""
        self._sent_at.clear()
        self._sightings.clear()
        self._checked_at = float("-inf")

    async def resend_due(self) -> int:
        """Look up and send again what is unmined for too long; return how many were sent.

        At the start of a process that is everything signed and not mined.

        Raises:
            RpcUnavailable: the chain does not answer.
        """
        now = time.monotonic()
        if now - self._checked_at < CHECK_SECONDS:
            return 0
        is_first = self._checked_at == float("-inf")
        self._checked_at = now
        signed = set(await self._store.read(_read_signed_ids))
        self._sent_at = {key: at for key, at in self._sent_at.items() if key in signed}
        if not is_first:
            # What was never sent from here, another worker has just signed and is sending.
            self._sent_at = dict.fromkeys(signed, now) | self._sent_at
        self._sightings = {key: n for key, n in self._sightings.items() if key in signed}
        due = {
            key for key in signed if now - self._sent_at.get(key, float("-inf")) >= RESEND_SECONDS
        }
        if not due:
            self.stuck.clear()
            return 0
        transactions, indexed = await self._store.read(
            lambda session: (_read_signed(session), Indexed.read(session))
        )
        reach("outbox.resending")
        if not await indexed.is_on(self._rpc):
            log.info("outbox.chain_went_back", indexed_block=indexed.number)
            self.everything_is_due()
            return 0
        unmined = await self._look_up([t for t in transactions if t.chain_tx_id in due])
        reach("outbox.looked_up")
        replayed = [
            transaction for transaction in unmined if transaction.first_mined_at is not None
        ]
        stalled: set[str] = set()
        for transaction in replayed:
            if not await self._replay(transaction, indexed, transaction.sender not in stalled):
                stalled.add(transaction.sender)
            reach("outbox.replaying")
        others = [transaction for transaction in unmined if transaction.first_mined_at is None]
        if others:
            await self._forget_stuck(others)
            await self.send(others, indexed)
        if unmined:
            reach("outbox.resent")
            log.info("outbox.resent", transactions=len(unmined), of_lost_blocks=len(replayed))
        return len(unmined)

    async def _look_up(self, transactions: Sequence[Signed]) -> list[Signed]:
        """Return those in no block whose nonce is still free."""
        senders = sorted({transaction.sender for transaction in transactions})
        # Nonces first: if a nonce was used before, its transaction must be found afterwards.
        used = dict(
            zip(
                senders,
                [
                    int(answer, 16)
                    for answer in await self._ask(
                        [("eth_getTransactionCount", [sender, "latest"]) for sender in senders]
                    )
                ],
                strict=True,
            )
        )
        self._next_nonces = used
        asked = [(one.chain_tx_id, hash_) for one in transactions for hash_ in one.hashes]
        receipts = await self._ask([("eth_getTransactionReceipt", [hash_]) for _, hash_ in asked])
        mined = {
            chain_tx_id
            for (chain_tx_id, _), receipt in zip(asked, receipts, strict=True)
            if receipt is not None
        }
        now = time.monotonic()
        unmined: list[Signed] = []
        for transaction in transactions:
            key = transaction.chain_tx_id
            if key in mined or used[transaction.sender] <= transaction.nonce:
                self._sightings.pop(key, None)
                if key not in mined:
                    unmined.append(transaction)
                else:  # the indexer's to tell
                    self._sent_at[key] = now
                continue
            # A chain that goes back between the two questions looks the same, once.
            self._sightings[key] = self._sightings.get(key, 0) + 1
            if self._sightings[key] >= CONFLICT_SIGHTINGS:
                await self._conflict(transaction, used[transaction.sender])
        self._notice_stuck(unmined, used)
        return unmined

    async def _ask(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        answers = await self._rpc.batch(calls)
        for answer in answers:
            if isinstance(answer, RpcError):
                raise answer
        return answers

    async def _forget_stuck(self, transactions: Sequence[Signed]) -> None:
        """The next of a sender should have been mined long ago. A local chain may hold it for a
        predecessor that it has mined (see `mining_held`), and would answer "already known"."""
        for transaction in transactions:
            if self._next_nonces.get(transaction.sender) == transaction.nonce:
                with contextlib.suppress(RpcError):
                    await self._engine.forget_unmined(transaction.sender)
                self.everything_is_due()  # those behind it were forgotten too

    def _notice_stuck(self, unmined: Sequence[Signed], used: dict[str, int]) -> None:
        lowest: dict[str, int] = {}
        for transaction in unmined:
            if transaction.by_owner:
                continue  # the owner's to mend
            lowest[transaction.sender] = min(
                transaction.nonce, lowest.get(transaction.sender, transaction.nonce)
            )
        for sender, count in used.items():
            if lowest.get(sender, count) > count:
                problem = (
                    f"{sender} has used {count} nonces on chain, and our next is {lowest[sender]}"
                )
                if self.stuck.get(sender) != problem:
                    log.error("outbox.nonce_gap", sender=sender, used=count, ours=lowest[sender])
                self.stuck[sender] = problem
            else:
                self.stuck.pop(sender, None)

    async def _replay(self, transaction: Signed, indexed: Indexed, wait: bool) -> bool:
        """Send one transaction of a lost block at that block's time; return whether it was mined.

        One at a time: the order across senders is the order of the lost blocks, and no pool keeps
        that by itself.
        """
        if self._engine.can_travel and transaction.first_mined_at is not None:
            with contextlib.suppress(ChainTimeError):  # the chain is past it already
                await self._engine.set_time(transaction.first_mined_at)
        await self.send([transaction], indexed)
        deadline = time.monotonic() + REPLAY_WAIT_SECONDS
        while wait and time.monotonic() < deadline:
            if await self._rpc.call("eth_getTransactionReceipt", transaction.hash) is not None:
                return True
            await asyncio.sleep(0.005)
        log.warning("outbox.replay_unmined", tx=transaction.hash, nonce=transaction.nonce)
        return False

    async def _conflict(self, transaction: Signed, used: int) -> None:
        words = (
            f"{transaction.sender} has used nonce {transaction.nonce} on chain, and not for"
            f" {transaction.hash}: somebody else signs with this key"
        )
        now = int(self._clock())

        def write(session: Session) -> None:
            if transaction.by_owner:
                self._end_replaced(session, transaction, now)
                return
            session.execute(
                update(ChainTx)
                .where(
                    ChainTx.id == transaction.chain_tx_id, ChainTx.status == ChainTxStatus.SIGNED
                )
                .values(status=ChainTxStatus.CONFLICT)
            )
            theirs = session.scalars(
                select(ChainTxOperation.operation_id).where(
                    ChainTxOperation.chain_tx_id == transaction.chain_tx_id
                )
            ).all()
            lost = set(theirs) - carried_elsewhere(session, theirs)
            session.execute(
                update(Operation)
                .where(
                    Operation.id.in_(lost),
                    Operation.status == OperationStatus.SUBMITTED,
                )
                .values(
                    status=OperationStatus.CONFLICT,
                    error_code="conflict",
                    error=words,
                    updated_at=now,
                )
            )
            # What the stranger used is gone: later operations go on above it.
            session.execute(
                update(Sender)
                .where(Sender.address == transaction.sender, Sender.next_nonce < used)
                .values(next_nonce=used)
            )

        await self._store.write(write)
        if transaction.by_owner:
            log.info("outbox.replaced", sender=transaction.sender, nonce=transaction.nonce)
        else:
            log.error(
                "outbox.conflict",
                sender=transaction.sender,
                nonce=transaction.nonce,
                tx=transaction.hash,
            )

    def _end_replaced(self, session: Session, transaction: Signed, now: int) -> None:
        """Its owner has used the nonce for something else, which is nobody's business here."""
        operation = session.execute(
            select(Operation.id, Operation.status)
            .join(ChainTxOperation, ChainTxOperation.operation_id == Operation.id)
            .where(ChainTxOperation.chain_tx_id == transaction.chain_tx_id)
        ).one()
        session.execute(
            update(ChainTx)
            .where(ChainTx.id == transaction.chain_tx_id, ChainTx.status == ChainTxStatus.SIGNED)
            .values(status=ChainTxStatus.REPLACED)
        )
        if operation.status == OperationStatus.SUBMITTED:
            words = (
                f"{transaction.sender} has used the nonce {transaction.nonce} for another"
                " transaction"
            )
            failure = Failure(operation.id, "nonce_used", words, cause=operation.id)
            fail_operations(session, [failure], now, self._ids)


def _read_signed_ids(session: Session) -> list[int]:
    return list(session.scalars(select(ChainTx.id).where(ChainTx.status == ChainTxStatus.SIGNED)))


def _read_signed(session: Session) -> list[Signed]:
    """Unmined transactions: those of lost blocks first, in their order, then by age."""
    rows = session.execute(
        select(
            ChainTx.id,
            ChainTx.sender,
            ChainTx.nonce,
            TxAttempt.hash,
            TxAttempt.raw,
            ChainTx.block_timestamp,
            (Operation.signer == OWNER).label("by_owner"),
        )
        .join(TxAttempt, TxAttempt.hash == ChainTx.tx_hash)
        .join(
            ChainTxOperation,
            and_(ChainTxOperation.chain_tx_id == ChainTx.id, ChainTxOperation.position == 0),
        )
        .join(Operation, Operation.id == ChainTxOperation.operation_id)
        .where(ChainTx.status == ChainTxStatus.SIGNED)
        .order_by(
            ChainTx.block_number.is_(None),
            ChainTx.block_number,
            ChainTx.transaction_index,
            ChainTx.id,
        )
    ).all()
    others = session.execute(
        select(TxAttempt.chain_tx_id, TxAttempt.hash)
        .join(ChainTx, ChainTx.id == TxAttempt.chain_tx_id)
        .where(ChainTx.status == ChainTxStatus.SIGNED, TxAttempt.hash != ChainTx.tx_hash)
    ).all()
    hashes: dict[int, list[str]] = {}
    for chain_tx_id, hash_ in others:
        hashes.setdefault(chain_tx_id, []).append(hash_)
    return [
        Signed(*row[:-1], hashes=(row.hash, *hashes.get(row.id, ())), by_owner=row.by_owner)
        for row in rows
    ]
