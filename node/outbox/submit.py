"""Queued operations are simulated, get their nonces, are signed and stored; then broadcast.

A round takes a window of the queue, the oldest first:

1. `eth_call` of each, from its own sender: a doomed operation burns no nonce. Where several of one
   kind wait, their batch is called instead (node.outbox.batches); those it could not do are called
   alone.
2. The survivors get consecutive nonces and are signed, a batch as one transaction.
3. One transaction stores nonces, bytes and hashes, if the senders are still ours and the operations
   still queued; otherwise nothing of the round is kept, and its bytes were never seen by anybody.
4. The stored bytes are broadcast.

**When a refusal is final.** An operation may depend on an earlier one that is not in a block yet
(a payment on its top-up). So a refusal counts only when no earlier operation, of anybody, was
unsettled when the operation was simulated, and the chain has all blocks we have indexed. Until then
the operation stays queued and is simulated again as blocks come in, for at most `PATIENCE_SECONDS`
after its first refusal. A refusal for being too early is waited out as long. Trouble with the
chain's JSON-RPC is no refusal at all.

**The order of the queue** is kept between operations on one resource, and around what changes an
account's standing: a batch never moves an operation ahead of these.

**Who signs.** Workers lead for a sender by the lease in its row of `senders`. The lease keeps two
workers out of each other's way; what makes a nonce unique is step 3, which takes the nonce only
from the value it was signed for.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Table, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from node.chain.codec import ContractCodec
from node.chain.rpc import Rpc, RpcError
from node.failpoints import reach
from node.keys import SealedSeed, SeedError, Signer
from node.outbox.batches import BatchKind, find_batch_kinds
from node.outbox.broadcast import Indexed, Signed
from node.store import Store
from node.store.failures import Failure, fail_operations
from node.store.ids import Ids
from node.store.models import (
    AttemptKind,
    ChainTx,
    ChainTxOperation,
    ChainTxStatus,
    Operation,
    OperationStatus,
    Sender,
    TxAttempt,
)

ROUND_SIZE = 200  # operations simulated, signed and sent at once
MAX_IN_FLIGHT = 1_000  # signed and unmined, per sender
LEASE_SECONDS = 5
PATIENCE_SECONDS = 60.0  # how long a refused operation may wait for earlier ones
RETRY_SECONDS = 0.5  # between simulations of a waiting operation while no block comes

# Gas costs nothing on this chain; the limits are several times what an operation needs, so that a
# member's smart-contract wallet may check its signature too.
GAS_LIMITS = {
    "account.admit": 200_000,
    "account.freeze": 200_000,
    "account.unfreeze": 200_000,
    "account.expel": 200_000,
    "topup.mint": 300_000,
    "redemption.burn": 300_000,
    "transfer.send": 1_000_000,
    "payment_request.pay": 1_000_000,
    "purchase.authorize": 1_000_000,
    "purchase.deliver": 300_000,
    # The escrow keeps 310,000 ready for the credit book, whether or not it needs them.
    "purchase.release": 900_000,
    "purchase.void": 500_000,
    "purchase.refund": 1_000_000,
    "purchase.reclaim": 500_000,
    "purchase.dispute": 300_000,
    "purchase.evidence": 300_000,
    "purchase.resolve": 1_200_000,
    "purchase.expire_dispute": 500_000,
    "credit_offer.accept": 1_000_000,
    "credit_offer.revoke": 200_000,
    "line_action.limit": 200_000,
    "line_action.close": 200_000,
    "line_action.holdback": 500_000,
    "line_action.holiday": 300_000,
    "line_action.waive": 300_000,
    "line_action.charge_off": 500_000,
    "draw.send": 1_000_000,
    "repayment.send": 1_000_000,
    "pool_deposit.send": 1_000_000,
    "pool_withdrawal.send": 1_000_000,
    "reserve_funding.mint": 300_000,
    "reserve_funding.approve": 200_000,
    "reserve_funding.fund": 300_000,
}
DEFAULT_GAS_LIMIT = 1_000_000

# Refusals that time alone can lift.
TOO_EARLY = {
    "DisputeWindowOpen",
    "ArbitrationOpen",
    "ReclaimTooEarly",
    "AuthorizationNotYetValid",
    "MintLimitExceeded",
}

log = structlog.get_logger(__name__)

_operations: Table = Operation.__table__  # type: ignore[assignment]
_chain_txs: Table = ChainTx.__table__  # type: ignore[assignment]
_carried: Table = ChainTxOperation.__table__  # type: ignore[assignment]
_attempts: Table = TxAttempt.__table__  # type: ignore[assignment]
_senders: Table = Sender.__table__  # type: ignore[assignment]

# Built once: to build a statement costs twice what it takes to run it.
_QUEUE = (
    select(
        _operations.c.id,
        _operations.c.kind,
        _operations.c.resource_id,
        _operations.c.signer,
        _operations.c.to_address,
        _operations.c.calldata,
        _operations.c.alone,
    )
    .where(_operations.c.status == OperationStatus.QUEUED)
    .order_by(_operations.c.id)
    .limit(bindparam("most"))
)
_FIRST_SUBMITTED = select(func.min(_operations.c.id)).where(
    _operations.c.status == OperationStatus.SUBMITTED
)
_IN_FLIGHT = (
    select(_chain_txs.c.sender, func.count())
    .where(_chain_txs.c.status == ChainTxStatus.SIGNED)
    .group_by(_chain_txs.c.sender)
)
_LANES = (
    select(
        _senders.c.address,
        _senders.c.next_nonce,
        _senders.c.lease_owner,
        _senders.c.lease_until,
    )
    .where(_senders.c.address.in_(bindparam("addresses", expanding=True)))
    .with_for_update()
)
_STILL_QUEUED = (
    select(_operations.c.id)
    .where(
        _operations.c.id.in_(bindparam("ids", expanding=True)),
        _operations.c.status == OperationStatus.QUEUED,
    )
    .with_for_update()
)
_SIGN = insert(_chain_txs).returning(_chain_txs.c.id, sort_by_parameter_order=True)
_SUBMIT = (
    update(_operations)
    .where(_operations.c.id == bindparam("_id"))
    .values(
        status=OperationStatus.SUBMITTED,
        tx_hash=bindparam("_hash"),
        updated_at=bindparam("_now"),
    )
)
_GO_ON = (
    update(_senders)
    .where(_senders.c.address == bindparam("_address"))
    .values(next_nonce=bindparam("_nonce"))
)


@dataclass(frozen=True, slots=True)
class _Queued:
    id: str
    kind: str
    resource_id: str
    signer: str
    to: str
    calldata: str
    alone: bool

    def call(self) -> _Call:
        gas = GAS_LIMITS.get(self.kind, DEFAULT_GAS_LIMIT)
        return _Call((self,), self.to, self.calldata, gas)


@dataclass(frozen=True, slots=True)
class _Call:
    """What a transaction does: one operation, or a batch of them in this order."""

    operations: tuple[_Queued, ...]
    to: str
    calldata: str
    gas: int


@dataclass(slots=True)
class _Group:
    """Operations that may go in one batch."""

    kind: BatchKind
    first: int  # where in the round
    operations: list[_Queued]

    def call(self, simulated: int) -> _Call:
        """Their batch, with the gas limit of the batch that was simulated."""
        calldata = self.kind.encode([operation.calldata for operation in self.operations])
        to = self.operations[0].to
        return _Call(tuple(self.operations), to, calldata, self.kind.gas(simulated))


@dataclass(frozen=True, slots=True)
class _Queue:
    """The window of the queue, and what decides whether a refusal is final."""

    operations: list[_Queued]
    first_submitted: str | None  # the earliest operation that is signed and in no block yet
    in_flight: dict[str, int]
    indexed: Indexed


@dataclass(slots=True)
class _Waiting:
    """An operation that was refused, perhaps only for now."""

    since: float
    asked_at: float
    indexed_block: int


@dataclass(slots=True)
class _Lane:
    """A sender this worker leads for."""

    next_nonce: int
    lease_until: float


@dataclass(frozen=True, slots=True)
class _Ready:
    call: _Call
    sender: str
    nonce: int
    hash: str
    raw: str


class Submitter:
    """Takes queued operations to signed bytes in the database, and hands these on.

    Args:
        broadcast: sends stored bytes to the network, unless it has lost what was indexed.
        owner: this worker's name in leases; another in every process.
        clock: wall clock, unix seconds.
    """

    def __init__(
        self,
        rpc: Rpc,
        store: Store,
        seed: SealedSeed,
        chain_id: int,
        broadcast: Callable[[Sequence[Signed], Indexed], Awaitable[None]],
        *,
        owner: str,
        clock: Callable[[], float],
        ids: Ids,
    ) -> None:
        self._rpc = rpc
        self._store = store
        self._seed = seed
        self._chain_id = chain_id
        self._broadcast = broadcast
        self._owner = owner
        self._clock = clock
        self._ids = ids
        self._codec = ContractCodec("PurchaseEscrow")
        self._lanes: dict[str, _Lane] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._batch_kinds = find_batch_kinds()
        self._block_gas_limit = 0  # of the chain; 0 before it was asked for

    async def round(self) -> int:
        """Carry the front of the queue on; return how many operations left the queue.

        Raises:
            RpcUnavailable: the chain does not answer; nothing was refused for that.
        """
        queue = await self._store.read(self._read_queue)
        reach("outbox.queue_read")
        due = [operation for operation in queue.operations if self._is_due(operation.id, queue)][
            :ROUND_SIZE
        ]
        if not due:
            return 0
        failures: list[Failure] = []
        signers = self._find_signers(due, failures)
        await self._lead({signer.address for signer in signers.values()})
        reach("outbox.leading")
        due = [
            operation
            for operation in due
            if operation.id in signers and signers[operation.id].address in self._lanes
        ]
        calls = await self._simulate(due, signers, queue, failures)
        reach("outbox.simulated")
        if failures and not await queue.indexed.is_on(self._rpc):
            log.info("outbox.chain_went_back", indexed_block=queue.indexed.number)
            return 0
        ready = self._sign(calls, signers, queue.in_flight)
        if not ready and not failures:
            return 0
        reach("outbox.signed")
        signed = await self._store.write(lambda session: self._commit(session, ready, failures))
        if signed is None:
            self._lanes.clear()
            log.warning("outbox.round_discarded", transactions=len(ready))
            return 0
        left = [operation.id for item in ready for operation in item.call.operations]
        left += [failure.operation_id for failure in failures]
        for operation_id in left:
            self._waiting.pop(operation_id, None)
        for failure in failures:
            log.info("outbox.refused", operation=failure.operation_id, error=failure.words)
        if signed:
            reach("outbox.stored")
            for item in ready:
                self._lanes[item.sender].next_nonce = item.nonce + 1
            await self._broadcast(signed, queue.indexed)
        return len(left)

    async def release_leases(self) -> None:
        """Let another worker take over at once."""

        def release(session: Session) -> None:
            session.execute(
                update(_senders)
                .where(_senders.c.lease_owner == self._owner)
                .values(lease_owner=None, lease_until=None)
            )

        self._lanes.clear()
        await self._store.write(release)

    # ------------------------------------------------------------------------- the queue

    def _read_queue(self, session: Session) -> _Queue:
        rows = session.execute(_QUEUE, {"most": ROUND_SIZE + len(self._waiting)}).all()
        if not rows:
            self._waiting.clear()
            return _Queue([], None, {}, Indexed(-1, None))
        first_submitted = session.scalar(_FIRST_SUBMITTED)
        in_flight = session.execute(_IN_FLIGHT).all()
        return _Queue(
            [_Queued(*row) for row in rows],
            first_submitted,
            dict(in_flight),
            Indexed.read(session),
        )

    def _is_due(self, operation_id: str, queue: _Queue) -> bool:
        waiting = self._waiting.get(operation_id)
        return (
            waiting is None
            or waiting.indexed_block != queue.indexed.number
            or time.monotonic() - waiting.asked_at >= RETRY_SECONDS
        )

    def _find_signers(
        self, operations: Sequence[_Queued], failures: list[Failure]
    ) -> dict[str, Signer]:
        signers: dict[str, Signer] = {}
        for operation in operations:
            try:
                signers[operation.id] = self._seed.signer(operation.signer)
            except (SeedError, ValueError) as error:
                failures.append(
                    Failure(operation.id, "UnknownSigner", str(error), cause=operation.id)
                )
        return signers

    # --------------------------------------------------------------------------- leading

    async def _lead(self, senders: set[str]) -> None:
        """Take or keep the lease of each sender; leave out those another worker leads for."""
        now = self._clock()
        stale = [
            sender
            for sender in sorted(senders)
            if sender not in self._lanes
            or self._lanes[sender].lease_until - now < LEASE_SECONDS / 2
        ]
        if not stale:
            return
        known = await self._store.read(
            lambda session: set(
                session.scalars(select(_senders.c.address).where(_senders.c.address.in_(stale)))
            )
        )
        first_nonces = await self._count_transactions([s for s in stale if s not in known])

        def lead(session: Session) -> dict[str, _Lane]:
            until = int(now) + LEASE_SECONDS
            lanes = {}
            for sender in stale:
                row = session.get(Sender, sender, with_for_update=True)
                if row is None:
                    row = Sender(address=sender, next_nonce=first_nonces[sender])
                    session.add(row)
                elif row.lease_owner not in (None, self._owner) and (row.lease_until or 0) > now:
                    continue
                row.lease_owner, row.lease_until = self._owner, until
                lanes[sender] = _Lane(row.next_nonce, until)
            return lanes

        lanes = await self._store.write(lead)
        for sender in stale:
            self._lanes.pop(sender, None)
        self._lanes.update(lanes)

    async def _count_transactions(self, senders: Sequence[str]) -> dict[str, int]:
        """The chain's word on nonces counts once: when a sender is seen for the first time."""
        if not senders:
            return {}
        answers = await self._rpc.batch(
            [
                ("eth_getTransactionCount", [sender, block])
                for sender in senders
                for block in ("pending", "latest")
            ]
        )
        counts = []
        for answer in answers:
            if isinstance(answer, RpcError):
                raise answer
            counts.append(int(answer, 16))
        return {
            sender: max(counts[2 * index : 2 * index + 2]) for index, sender in enumerate(senders)
        }

    # ------------------------------------------------------------------------ coalescing

    async def _coalesce(
        self, operations: Sequence[_Queued], signers: Mapping[str, Signer]
    ) -> list[_Group]:
        """Put together what may go in batches; who is left over goes alone."""
        open_: dict[tuple[str, ...], _Group] = {}
        groups: list[_Group] = []
        last_of: dict[str, int] = {}  # the last operation of each resource so far
        for position, operation in enumerate(operations):
            earlier = last_of.get(operation.resource_id, -1)
            last_of[operation.resource_id] = position
            kind = self._batch_kinds.get(operation.calldata[:10])
            if kind is None and operation.kind.startswith("account."):
                open_.clear()  # an account's standing changes here for all that follow
            arguments = operation.calldata[10:]
            if kind is None or operation.alone or not kind.fits(arguments):
                continue
            sender = signers[operation.id].address
            key = (kind.selector, sender, operation.to, kind.shared(arguments))
            group = open_.get(key)
            if (
                group is not None
                and earlier < group.first
                and len(group.operations) < (await self._most_items(kind))
            ):
                group.operations.append(operation)
                continue
            open_[key] = group = _Group(kind, position, [operation])
            groups.append(group)
        return [group for group in groups if len(group.operations) > 1]

    async def _most_items(self, kind: BatchKind) -> int:
        if not self._block_gas_limit:
            block = await self._rpc.call("eth_getBlockByNumber", "latest", False)
            self._block_gas_limit = int(block["gasLimit"], 16)
        return kind.most(self._block_gas_limit)

    # ------------------------------------------------------------------------ simulating

    async def _simulate(
        self,
        operations: Sequence[_Queued],
        signers: Mapping[str, Signer],
        queue: _Queue,
        failures: list[Failure],
    ) -> list[_Call]:
        """Return the calls that would succeed; add operations finally refused to the failures."""
        if not operations:
            return []
        batches, answers = await self._call_all(operations, signers, queue)
        # Whether a refusal is final is asked of the next block: deadlines go by its time, which may
        # be much later than the last block's.
        again = [
            operation
            for operation in operations
            if isinstance(answers[operation.id], RpcError)
            and (queue.first_submitted is None or operation.id < queue.first_submitted)
        ]
        if again:
            answers |= await self._call(again, signers, "pending")
        passed = self._judge(answers, queue, failures)
        calls: list[_Call] = []
        for operation in passed:
            batch = batches.get(operation.id)
            if batch is None:
                calls.append(operation.call())
            elif batch.operations[0] is operation:
                calls.append(batch)
        return calls

    def _judge(
        self, answers: Mapping[str, Any], queue: _Queue, failures: list[Failure]
    ) -> list[_Queued]:
        """Return whom the answers let pass; add those finally refused to the failures."""
        now = time.monotonic()
        refused_before = {failure.operation_id for failure in failures}
        passed: list[_Queued] = []
        # Walks the queue in order: true until something that may still change the chain was met.
        earlier_settled = True
        for operation in queue.operations:
            if queue.first_submitted is not None and queue.first_submitted < operation.id:
                earlier_settled = False
            if operation.id in refused_before:
                continue
            answer = answers.get(operation.id)
            if not isinstance(answer, RpcError):
                earlier_settled = False
                if answer is not None:
                    passed.append(operation)
                continue
            waiting = self._waiting.setdefault(operation.id, _Waiting(now, now, 0))
            waiting.asked_at, waiting.indexed_block = now, queue.indexed.number
            if not is_revert(answer):
                log.warning("outbox.not_simulated", operation=operation.id, error=str(answer))
                earlier_settled = False
                continue
            error = self._codec.decode_error(answer.data)
            settled = earlier_settled and error.name not in TOO_EARLY
            if settled or now - waiting.since >= PATIENCE_SECONDS:
                code = error.name if answer.data else "reverted"
                words = str(error) if answer.data else answer.message
                failures.append(Failure(operation.id, code, words, cause=operation.id))
            else:
                earlier_settled = False
        return passed

    async def _call_all(
        self, operations: Sequence[_Queued], signers: Mapping[str, Signer], queue: _Queue
    ) -> tuple[dict[str, _Call], dict[str, Any]]:
        """Call batches and single operations, and alone those of a batch that failed in it.

        Returns:
            The batches to sign, by the ids of their operations, and the answer to each operation;
            None to one that is to wait.
        """
        groups = await self._coalesce(operations, signers)
        batches, answers = await self._call_together(operations, groups, signers)
        crowded = {id_ for id_, answer in answers.items() if answer is None}
        alone = [one for one in operations if one.id not in answers or one.id in crowded]
        if alone:
            answers |= await self._call(alone, signers, "latest")
        now = time.monotonic()
        for id_ in crowded:
            # What is well alone, and not beside the others, may have to come after these: it is
            # asked again when they are mined. The second time it goes alone.
            if not isinstance(answers[id_], RpcError) and id_ not in self._waiting:
                self._waiting[id_] = _Waiting(now, now, queue.indexed.number)
                answers[id_] = None
        return batches, answers

    async def _call_together(
        self,
        operations: Sequence[_Queued],
        groups: Sequence[_Group],
        signers: Mapping[str, Signer],
    ) -> tuple[dict[str, _Call], dict[str, Any]]:
        """Call the batches, and in the same request who is in none.

        Returns:
            The batches to sign, by the ids of their operations, and what is known of operations:
            None of one that failed beside the others, nothing of one whose batch failed as a whole.
        """
        grouped = {operation.id for group in groups for operation in group.operations}
        single = [operation for operation in operations if operation.id not in grouped]
        together = [group.call(len(group.operations)) for group in groups]
        calls = [*together, *(operation.call() for operation in single)]
        found = await self._ask(calls, signers, "latest")
        answers: dict[str, Any] = {
            operation.id: answer
            for operation, answer in zip(single, found[len(together) :], strict=True)
        }
        batches: dict[str, _Call] = {}
        for group, call, answer in zip(groups, together, found, strict=False):
            size = len(call.operations)
            done = None if isinstance(answer, RpcError) else group.kind.read(answer, size)
            if done is None:
                continue  # each is called alone: that tells the one it was
            passed = [one for one, well in zip(call.operations, done, strict=True) if well]
            crowded = [one for one, well in zip(call.operations, done, strict=True) if not well]
            answers |= dict.fromkeys([operation.id for operation in crowded])
            if len(passed) < 2:
                continue
            # With the gas limit of the whole batch: what is left out uses none of it.
            batch = _Group(group.kind, group.first, passed).call(size) if crowded else call
            for operation in passed:
                batches[operation.id], answers[operation.id] = batch, "0x"
        return batches, answers

    async def _call(
        self, operations: Sequence[_Queued], signers: Mapping[str, Signer], block: str
    ) -> dict[str, Any | RpcError]:
        calls = [operation.call() for operation in operations]
        answers = await self._ask(calls, signers, block)
        return {operation.id: answer for operation, answer in zip(operations, answers, strict=True)}

    async def _ask(
        self, calls: Sequence[_Call], signers: Mapping[str, Signer], block: str
    ) -> list[Any | RpcError]:
        return await self._rpc.batch(
            [
                (
                    "eth_call",
                    [
                        {
                            "from": signers[call.operations[0].id].address,
                            "to": call.to,
                            "data": call.calldata,
                            "gas": hex(call.gas),
                        },
                        block,
                    ],
                )
                for call in calls
            ]
        )

    # --------------------------------------------------------------------------- signing

    def _sign(
        self,
        calls: Sequence[_Call],
        signers: Mapping[str, Signer],
        in_flight: Mapping[str, int],
    ) -> list[_Ready]:
        nonces = {sender: lane.next_nonce for sender, lane in self._lanes.items()}
        room = {sender: MAX_IN_FLIGHT - in_flight.get(sender, 0) for sender in nonces}
        ready: list[_Ready] = []
        for call in calls:
            signer = signers[call.operations[0].id]
            sender = signer.address
            if room[sender] <= 0:
                continue
            nonce = nonces[sender]
            nonces[sender] += 1
            room[sender] -= 1
            signed = signer.sign_transaction(
                {
                    "chainId": self._chain_id,
                    "nonce": nonce,
                    "to": call.to,
                    "data": call.calldata,
                    "gas": call.gas,
                    "maxFeePerGas": 0,
                    "maxPriorityFeePerGas": 0,
                }
            )
            ready.append(_Ready(call, sender, nonce, signed.hash, "0x" + signed.raw.hex()))
        return ready

    def _commit(
        self, session: Session, ready: Sequence[_Ready], failures: Sequence[Failure]
    ) -> list[Signed] | None:
        """Store the round; None, and nothing stored, if it no longer holds."""
        now = self._clock()
        next_nonces: dict[str, int] = {}
        first_nonces: dict[str, int] = {}
        for item in ready:
            first_nonces.setdefault(item.sender, item.nonce)
            next_nonces[item.sender] = item.nonce + 1
        rows = session.execute(_LANES, {"addresses": list(first_nonces)}).all()
        ours = {
            address
            for address, nonce, owner, until in rows
            if nonce == first_nonces[address] and owner == self._owner and until > now
        }
        wanted = [operation.id for item in ready for operation in item.call.operations]
        wanted += [failure.operation_id for failure in failures]
        queued = session.scalars(_STILL_QUEUED, {"ids": wanted}).all()
        if len(ours) != len(first_nonces) or len(queued) != len(wanted):
            return None  # another worker took over, or an operation was canceled meanwhile

        seconds = int(now)
        fail_operations(session, failures, seconds, self._ids)
        if not ready:
            return []
        chain_tx_ids = session.scalars(
            _SIGN,
            [
                {
                    "sender": item.sender,
                    "nonce": item.nonce,
                    "status": ChainTxStatus.SIGNED,
                    "tx_hash": item.hash,
                }
                for item in ready
            ],
        ).all()
        session.execute(
            insert(_carried),
            [
                {"chain_tx_id": chain_tx_id, "position": position, "operation_id": operation.id}
                for chain_tx_id, item in zip(chain_tx_ids, ready, strict=True)
                for position, operation in enumerate(item.call.operations)
            ],
        )
        session.execute(
            insert(_attempts),
            [
                {
                    "hash": item.hash,
                    "chain_tx_id": chain_tx_id,
                    "kind": AttemptKind.CALL,
                    "raw": item.raw,
                    "created_at": seconds,
                }
                for chain_tx_id, item in zip(chain_tx_ids, ready, strict=True)
            ],
        )
        session.execute(
            _SUBMIT,
            [
                {"_id": operation.id, "_hash": item.hash, "_now": seconds}
                for item in ready
                for operation in item.call.operations
            ],
        )
        session.execute(
            _GO_ON,
            [{"_address": sender, "_nonce": nonce} for sender, nonce in next_nonces.items()],
        )
        reach("outbox.storing")
        return [
            Signed(
                chain_tx_id=chain_tx_id,
                sender=item.sender,
                nonce=item.nonce,
                hash=item.hash,
                raw=item.raw,
                first_mined_at=None,
                hashes=(item.hash,),
            )
            for chain_tx_id, item in zip(chain_tx_ids, ready, strict=True)
        ]


def is_revert(error: RpcError) -> bool:
    """Whether the chain ran the call and it failed, as opposed to not having run it."""
    message = error.message.lower()
    return (
        error.code == 3
        or error.data is not None
        or "revert" in message
        or "out of gas" in message
        or "outofgas" in message
    )
