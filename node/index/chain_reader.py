"""A range of blocks, read from a chain that may move while it is read.

Headers and logs are separate answers, and a chain that goes back between the two (or a node behind
a load balancer that lags) could give the headers of one history and the logs of another. So every
header must name the one before it, every log the hash of its header, and a header whose bloom
filter names one of our contracts must have logs of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_utils.crypto import keccak

from node.chain.codec import ContractCodec, Event
from node.chain.deployment import Manifest
from node.chain.rpc import Rpc, RpcError

INDEXED_CONTRACTS = ("PlatformCoin", "PurchaseEscrow", "CreditBook", "LenderPool")
MAX_BLOCKS = 200  # headers and logs of so many fit one JSON-RPC batch


class InconsistentRead(Exception):
    """The answers do not belong to one history; reading again will tell."""


@dataclass(slots=True)
class ReadBlock:
    """One block as the projections need it; `events` in log order."""

    number: int
    hash: str
    parent_hash: str
    timestamp: int
    transactions: list[str]
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Head:
    """The chain at one moment."""

    number: int
    next_time: int  # of the block that would come next, unix seconds
    hash_at: str | None  # hash of the block asked for; None: the chain has no such block


@dataclass(frozen=True, slots=True)
class Contracts:
    """Where the contracts are whose events are read; checksummed addresses."""

    coin: str
    escrow: str
    book: str
    pool: str

    @classmethod
    def of(cls, manifest: Manifest) -> Contracts:
        return cls(*(manifest.contracts[name].address for name in INDEXED_CONTRACTS))


class ChainReader:
    """Reads blocks with the events of the indexed contracts."""

    def __init__(self, rpc: Rpc, contracts: Contracts) -> None:
        self._rpc = rpc
        addresses = (contracts.coin, contracts.escrow, contracts.book, contracts.pool)
        self._addresses = list(addresses)
        self._codecs = {
            address.lower(): ContractCodec(name)
            for address, name in zip(addresses, INDEXED_CONTRACTS, strict=True)
        }
        self._blooms = {address: _bloom(address) for address in self._codecs}

    async def head(self, number: int) -> Head:
        """Return where the chain is, and the hash of its block `number`."""
        latest, block = await self._ask(
            [
                ("eth_getBlockByNumber", ["latest", False]),
                ("eth_getBlockByNumber", [hex(number), False]),
            ]
        )
        newest = _read_header(latest)
        next_time = newest.timestamp
        if newest.number == number:
            # Somebody may have set the time of a development chain, or it just passes. Asked only
            # where nothing is new: some nodes build the pending block for it.
            (pending,) = await self._ask([("eth_getBlockByNumber", ["pending", False])])
            if pending is not None:
                next_time = int(pending["timestamp"], 16)
        return Head(newest.number, next_time, None if block is None else block["hash"])

    async def headers(self, numbers: Sequence[int]) -> list[ReadBlock | None]:
        """Return blocks without their events; None where the chain has none."""
        answers = await self._ask(
            [("eth_getBlockByNumber", [hex(number), False]) for number in numbers]
        )
        return [None if answer is None else _read_header(answer) for answer in answers]

    async def blocks(self, first: int, last: int, parent_hash: str) -> list[ReadBlock]:
        """Return the blocks `first` to `last`, whose parent has the hash given.

        Raises:
            InconsistentRead: the chain moved meanwhile.
            RpcError, RpcUnavailable: as the chain answered, or did not.
        """
        logs, *headers = await self._ask(
            [
                (
                    "eth_getLogs",
                    [
                        {
                            "fromBlock": hex(first),
                            "toBlock": hex(last),
                            "address": self._addresses,
                        }
                    ],
                ),
                *(
                    ("eth_getBlockByNumber", [hex(number), False])
                    for number in range(first, last + 1)
                ),
            ]
        )
        blocks: list[ReadBlock] = []
        for number, header in zip(range(first, last + 1), headers, strict=True):
            if header is None:
                raise InconsistentRead(f"block {number} is gone")
            block = _read_header(header)
            if block.parent_hash != parent_hash:
                raise InconsistentRead(
                    f"block {number} has parent {block.parent_hash}, not {parent_hash}"
                )
            parent_hash = block.hash
            blocks.append(block)
        seen: set[tuple[int, str]] = set()
        for log in sorted(
            logs, key=lambda log: (int(log["blockNumber"], 16), int(log["logIndex"], 16))
        ):
            address = log["address"].lower()
            block = blocks[int(log["blockNumber"], 16) - first]
            if log["blockHash"] != block.hash:
                raise InconsistentRead(
                    f"a log of block {block.number} is of {log['blockHash']}, not {block.hash}"
                )
            seen.add((block.number, address))
            event = self._codecs[address].decode_log(log)
            if event is not None:
                block.events.append(event)
        for block, header in zip(blocks, headers, strict=True):
            bloom = int(header["logsBloom"], 16)
            for address, bits in self._blooms.items():
                if bloom & bits == bits and (block.number, address) not in seen:
                    await self._check_no_logs(block, address)
        return blocks

    async def reverted(self, hashes: Sequence[str]) -> dict[str, bool]:
        """Return of each mined transaction whether it was reverted.

        Raises:
            InconsistentRead: one is not mined.
        """
        receipts = await self._ask([("eth_getTransactionReceipt", [hash_]) for hash_ in hashes])
        outcome: dict[str, bool] = {}
        for hash_, receipt in zip(hashes, receipts, strict=True):
            if receipt is None:
                raise InconsistentRead(f"transaction {hash_} of a block has no receipt")
            outcome[hash_] = int(receipt["status"], 16) == 0
        return outcome

    async def why_reverted(self, hashes: Sequence[str]) -> dict[str, RpcError | None]:
        """Run reverted transactions again, as calls on the state before their block.

        None where the call does not fail there (it failed for what came before it in its block), or
        the chain no longer has that state.
        """
        reasons: dict[str, RpcError | None] = {}
        for hash_ in hashes:
            transaction = await self._rpc.call("eth_getTransactionByHash", hash_)
            if transaction is None:
                raise InconsistentRead(f"transaction {hash_} of a block is gone")
            call = {
                "from": transaction["from"],
                "to": transaction["to"],
                "data": transaction["input"],
                "gas": transaction["gas"],
            }
            number = int(transaction["blockNumber"], 16)
            answers = await self._rpc.batch(
                [("eth_call", [call, hex(block)]) for block in (number - 1, number)]
            )
            reasons[hash_] = next(
                (
                    answer
                    for answer in answers
                    if isinstance(answer, RpcError) and answer.data is not None
                ),
                None,
            )
        return reasons

    async def _check_no_logs(self, block: ReadBlock, address: str) -> None:
        """A bloom filter may name a contract by chance; asking for that block alone settles it."""
        criteria = {"blockHash": block.hash, "address": address}
        if await self._rpc.call("eth_getLogs", criteria):
            raise InconsistentRead(f"logs of block {block.number} were left out")

    async def _ask(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        answers = await self._rpc.batch(calls)
        for answer in answers:
            if isinstance(answer, RpcError):
                raise answer
        return answers


def _read_header(header: dict[str, Any]) -> ReadBlock:
    return ReadBlock(
        number=int(header["number"], 16),
        hash=header["hash"],
        parent_hash=header["parentHash"],
        timestamp=int(header["timestamp"], 16),
        transactions=header["transactions"],
    )


def _bloom(address: str) -> int:
    """The three bits an address sets in a block's 2,048-bit logs bloom (Yellow Paper, 4.3.1)."""
    digest = keccak(hexstr=address)
    bits = 0
    for position in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[position : position + 2]) & 2047)
    return bits
