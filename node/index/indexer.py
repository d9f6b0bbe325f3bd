"""The indexer's rounds: has the chain gone on, or back?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Table, func, select
from sqlalchemy.orm import Session

from node.chain.codec import ContractCodec
from node.chain.deployment import Manifest
from node.chain.rpc import Rpc
from node.failpoints import reach
from node.index.chain_reader import MAX_BLOCKS, ChainReader, Contracts, Head, ReadBlock
from node.index.projections import CANCELED, Reverted, apply_blocks
from node.index.rollback import Rollback, prune_undo_log, roll_back
from node.store import Store
from node.store.ids import Ids
from node.store.models import AttemptKind, Block, ChainTxOperation, TxAttempt

PRUNE_EVERY_BLOCKS = 10_000

_blocks: Table = Block.__table__  # type: ignore[assignment]
_NEWEST = (
    select(_blocks.c.number, _blocks.c.hash, _blocks.c.parent_hash, _blocks.c.timestamp)
    .order_by(_blocks.c.number.desc())
    .limit(1)
)

log = structlog.get_logger(__name__)


class WrongChain(Exception):
    """The JSON-RPC is not the chain of the manifest; the message is for people."""


@dataclass(frozen=True)
class Round:
    """What one round found.

    Attributes:
        head: the chain's newest block, and the time of the one after it.
        indexed: the newest block in the database.
        applied: how many blocks this round wrote.
        rolled_back: whether the chain had gone back.
    """

    head: Head
    indexed: int
    applied: int = 0
    rolled_back: bool = False


class Indexer:
    """Follows the chain, a range of blocks a round. The only writer of its tables.

    Where another indexer works on the same database, each writes only on top of the block it has
    seen there, so that nothing is written twice.

    Args:
        finality_depth: blocks to wait before a log counts.
        clock: wall clock, unix seconds.
    """

    def __init__(
        self,
        rpc: Rpc,
        store: Store,
        manifest: Manifest,
        *,
        finality_depth: int,
        clock: Callable[[], float],
        ids: Ids,
    ) -> None:
        self._rpc = rpc
        self._store = store
        self._manifest = manifest
        self._finality_depth = finality_depth
        self._clock = clock
        self._ids = ids
        self._contracts = Contracts.of(manifest)
        self._reader = ChainReader(rpc, self._contracts)
        self._codec = ContractCodec("PurchaseEscrow")
        self._last: ReadBlock | None = None  # the newest block in the database

    async def start(self) -> None:
        """Check that this is the manifest's chain, and find where the database stands.

        Raises:
            WrongChain: another chain id or genesis block, or a chain from before the deployment.
        """
        chain_id = int(await self._rpc.call("eth_chainId"), 16)
        if chain_id != self._manifest.chain_id:
            raise WrongChain(f"the chain has id {chain_id}, the manifest {self._manifest.chain_id}")
        genesis = await self._rpc.call("eth_getBlockByNumber", "0x0", False)
        if genesis["hash"] != self._manifest.genesis_hash:
            raise WrongChain(
                f"the chain's genesis block is {genesis['hash']},"
                f" the manifest's {self._manifest.genesis_hash}"
            )
        self._last = await self._store.read(_newest_block)
        if self._last is None:
            # The block before the first contract is where all histories of this chain meet.
            anchor = min(contract.block for contract in self._manifest.contracts.values()) - 1
            (block,) = await self._reader.headers([max(anchor, 0)])
            if block is None:
                raise WrongChain(
                    f"the chain has no block {anchor}, before which nothing was deployed"
                )
            await self._store.write(lambda session: _insert_anchor(session, block))
            self._last = block

    async def round(self) -> Round:
        """Look where the chain is, and write what is new or take back what is lost.

        Raises:
            InconsistentRead: the chain moved while it was read.
            RpcError, RpcUnavailable: as the chain answered, or did not.
            WrongChain: not even the first stored block is on it.
            RollbackTooDeep: it went back further than can be taken back.
        """
        last = self._last
        if last is None:
            raise RuntimeError("the indexer was not started")
        head = await self._reader.head(last.number)
        reach("index.head_read")
        if head.hash_at != last.hash:
            if not await self._roll_back(last):
                return await self._catch_up(head)
            return Round(head, self._last.number if self._last else 0, rolled_back=True)
        end = min(head.number - self._finality_depth, last.number + MAX_BLOCKS)
        if end <= last.number:
            return Round(head, last.number)
        blocks = await self._reader.blocks(last.number + 1, end, last.hash)
        reverted = await self._find_reverted(blocks)
        reach("index.blocks_read")

        def write(session: Session) -> bool:
            if not _stands_at(session, last):
                return False
            apply_blocks(
                session,
                blocks,
                reverted,
                contracts=self._contracts,
                now=int(self._clock()),
                ids=self._ids,
            )
            if end // PRUNE_EVERY_BLOCKS != last.number // PRUNE_EVERY_BLOCKS:
                prune_undo_log(session, end)
            reach("index.writing")
            return True

        if not await self._store.write(write):
            return await self._catch_up(head)
        reach("index.written")
        self._last = blocks[-1]
        return Round(head, end, applied=len(blocks))

    async def _find_reverted(self, blocks: Sequence[ReadBlock]) -> dict[str, Reverted]:
        """Our transactions in these blocks that failed, and why.

        Every operation of ours that succeeds emits a log, so only those without one are asked for.
        """
        silent: list[str] = []
        for block in blocks:
            told = {event.transaction_hash for event in block.events}
            silent += [hash_ for hash_ in block.transactions if hash_ not in told]
        if not silent:
            return {}
        ours = await self._store.read(lambda session: _count_operations(session, silent))
        # An empty call of the sender to itself, which people asked for, has no other log.
        found = {hash_: CANCELED for hash_, (_, kind) in ours.items() if kind == AttemptKind.CANCEL}
        ours = {hash_: one for hash_, one in ours.items() if hash_ not in found}
        if not ours:
            return found
        outcome = await self._reader.reverted(list(ours))
        # A batch that failed as a whole is split: its operations will tell, each alone.
        reasons = await self._reader.why_reverted(
            [hash_ for hash_, (operations, _) in ours.items() if outcome[hash_] and operations == 1]
        )
        for hash_ in ours:
            if not outcome[hash_]:
                # Its call went to an address without our contract: nothing has moved.
                log.error("index.no_effect", tx=hash_)
                found[hash_] = Reverted("no_effect", "mined with success, and without any effect")
            elif (reason := reasons.get(hash_)) is None:
                found[hash_] = Reverted("reverted", "reverted on chain")
            else:
                error = self._codec.decode_error(reason.data)
                found[hash_] = Reverted(error.name, str(error))
        return found

    async def _catch_up(self, head: Head) -> Round:
        """Another indexer has written meanwhile: go on from where the database stands."""
        self._last = await self._store.read(_newest_block)
        log.info("index.written_by_another", indexed=self._last.number if self._last else None)
        return Round(head, self._last.number if self._last else 0)

    async def _roll_back(self, last: ReadBlock) -> bool:
        reach("index.went_back")
        ancestor = await self._find_common_block(last.number)
        now = int(self._clock())

        def write(session: Session) -> Rollback | None:
            return roll_back(session, ancestor, now) if _stands_at(session, last) else None

        rollback = await self._store.write(write)
        reach("index.rolled_back")
        if rollback is None:
            return False
        self._last = await self._store.read(_newest_block)
        log.warning(
            "chain.rolled_back",
            from_block=rollback.from_block,
            to_block=rollback.to_block,
            transactions_to_send_again=rollback.resent,
            missing_transactions=rollback.missing,
        )
        return True

    async def _find_common_block(self, newest: int) -> int:
        """The newest stored block that the chain still has: below it all are common."""
        stored = await self._store.read(
            lambda session: dict(session.execute(select(Block.number, Block.hash)).all())
        )
        low, high = min(stored), newest  # `high` is not common
        (first,) = await self._reader.headers([low])
        if first is None or first.hash != stored[low]:
            raise WrongChain(
                f"the chain's block {low} is {first.hash if first else 'not there'},"
                f" not {stored[low]}, with which this database begins"
            )
        while high - low > 1:
            middle = (low + high) // 2
            (block,) = await self._reader.headers([middle])
            if block is not None and block.hash == stored[middle]:
                low = middle
            else:
                high = middle
        return low


def _count_operations(session: Session, hashes: Sequence[str]) -> dict[str, tuple[int, str]]:
    """How many operations each transaction carries out, of those that are ours; and its kind."""
    counted = (
        select(TxAttempt.hash, func.count(), TxAttempt.kind)
        .join(ChainTxOperation, ChainTxOperation.chain_tx_id == TxAttempt.chain_tx_id)
        .where(TxAttempt.hash.in_(hashes))
        .group_by(TxAttempt.hash, TxAttempt.kind)
    )
    return {hash_: (count, kind) for hash_, count, kind in session.execute(counted)}


def _newest_block(session: Session) -> ReadBlock | None:
    row = session.execute(_NEWEST).one_or_none()
    return None if row is None else ReadBlock(*row, [])


def _stands_at(session: Session, last: ReadBlock) -> bool:
    """Whether the database's newest block is still the one this indexer goes on from."""
    newest = _newest_block(session)
    return newest is not None and newest.hash == last.hash


def _insert_anchor(session: Session, block: ReadBlock) -> None:
    session.add(
        Block(
            number=block.number,
            hash=block.hash,
            parent_hash=block.parent_hash,
            timestamp=block.timestamp,
            others=[],
        )
    )
