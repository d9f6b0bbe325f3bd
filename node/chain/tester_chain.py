"""The eth-tester chain and its JSON-RPC methods, as geth answers them.

Execution is py-evm's, set up by eth-tester. Every transaction is mined at once in a block of its
own. What was mined is kept as the JSON that is asked for, so blocks, receipts and logs are
dictionary look-ups; eth-tester's own RPC layer walks all blocks for one receipt.

Not safe for threads: one thread at a time may use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rlp
from eth.abc import BlockHeaderAPI, ComputationAPI, SignedTransactionAPI, StateAPI
from eth.exceptions import Revert
from eth.vm.forks.cancun import CancunVM
from eth.vm.spoof import SpoofTransaction
from eth_tester.backends.pyevm.main import PyEVMBackend, setup_tester_chain
from eth_typing import Address
from eth_utils.exceptions import ValidationError as ExecutionRefused
from rlp.exceptions import RLPException

from node.chain.engine import BLOCK_GAS_LIMIT, ChainTimeError, Clock
from node.chain.rpc import RpcError

CLIENT_VERSION = "plaza-tester/1"
MAX_WAITING = 1024  # transactions held because an earlier nonce of their sender is missing
_FEE_HISTORY_BLOCKS = 1024
_ESTIMATE_TOLERANCE = 0.015  # as geth's: an estimate may be this much too high

_NO_HASH = "0x" + "00" * 32
_NO_BLOOM = "0x" + "00" * 256
_EMPTY_LIST_ROOT = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
REJECTED = -32000
REVERTED = 3


class _DevelopmentVM(CancunVM):
    """Cancun, where blocks may share a second: the chain makes its own blocks and imports none, and
    one block a second would have time run ahead of the clock under load."""

    @classmethod
    def validate_header(cls, header: BlockHeaderAPI, parent_header: BlockHeaderAPI) -> None:
        pass


class TesterChain:
    """A development chain in memory, and `dispatch` to ask it by JSON-RPC method.

    Args:
        chain_id: EIP-155 chain id.
        genesis_time: unix time of block 0.
        clock: wall clock; chain time runs with it.
    """

    def __init__(self, *, chain_id: int, genesis_time: int, clock: Clock) -> None:
        self.chain_id = chain_id
        self._clock = clock
        self._offset = genesis_time - clock()
        self._exact_time: int | None = None
        parameters = PyEVMBackend.generate_genesis_params(
            {"timestamp": genesis_time, "gas_limit": BLOCK_GAS_LIMIT}
        )
        # Refused as an override, and without it the base fee starts at 1 gwei.
        parameters["base_fee_per_gas"] = 0
        _, self._chain = setup_tester_chain(
            parameters, {}, num_accounts=1, vm_configuration=((0, _DevelopmentVM),)
        )
        self._chain.chain_id = chain_id
        self._headers: list[BlockHeaderAPI] = []
        self._blocks: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}
        self._transactions: dict[str, dict[str, Any]] = {}
        self._receipts: dict[str, dict[str, Any]] = {}
        self._logs: list[list[dict[str, Any]]] = []
        self._waiting: dict[tuple[bytes, int], SignedTransactionAPI] = {}
        self._keep_block(self._chain.get_canonical_block_by_number(0))
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_blockNumber": self._block_number,
            "eth_call": self._call,
            "eth_chainId": lambda: hex(self.chain_id),
            "eth_accounts": lambda: [],
            "eth_estimateGas": self._estimate_gas,
            "eth_feeHistory": self._fee_history,
            "eth_gasPrice": lambda: "0x0",
            "eth_getBalance": self._get_balance,
            "eth_getBlockByHash": self._get_block_by_hash,
            "eth_getBlockByNumber": self._get_block_by_number,
            "eth_getCode": self._get_code,
            "eth_getLogs": self._get_logs,
            "eth_getStorageAt": self._get_storage_at,
            "eth_getTransactionByHash": self._get_transaction_by_hash,
            "eth_getTransactionCount": self._get_transaction_count,
            "eth_getTransactionReceipt": self._get_transaction_receipt,
            "eth_maxPriorityFeePerGas": lambda: "0x0",
            "eth_sendRawTransaction": self._send_raw_transaction,
            "eth_syncing": lambda: False,
            "evm_mine": self._evm_mine,
            "evm_setNextBlockTimestamp": self._evm_set_next_block_timestamp,
            "net_version": lambda: str(self.chain_id),
            "web3_clientVersion": lambda: CLIENT_VERSION,
        }

    def dispatch(self, method: str, params: Sequence[Any]) -> Any:
        """Return the result of a JSON-RPC method as plain JSON values.

        Raises:
            RpcError: the method or its parameters are wrong, or the chain refuses.
        """
        handler = self._methods.get(method)
        if handler is None:
            raise RpcError(METHOD_NOT_FOUND, f"the method {method} does not exist/is not available")
        try:
            return handler(*params)
        except _BadParameter as error:
            raise RpcError(INVALID_PARAMS, f"{method}: {error}") from error
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                # Raised by the call itself: too few or too many parameters.
                raise RpcError(INVALID_PARAMS, f"{method}: wrong number of parameters") from error
            raise

    # ------------------------------------------------------------------ time

    def next_time(self) -> int:
        """Return the time the next block would have."""
        latest = int(self._headers[-1].timestamp)
        if self._exact_time is not None:
            return max(latest, self._exact_time)
        return max(latest, int(self._clock() + self._offset))

    def set_next_time(self, timestamp: int) -> None:
        """Give the next block this time; later blocks follow on from it in real time.

        Raises:
            ChainTimeError: the latest block is later already.
        """
        latest = self._headers[-1].timestamp
        if timestamp < latest:
            raise ChainTimeError(f"the latest block is of {latest}, later than {timestamp}")
        self._exact_time = timestamp

    # ---------------------------------------------------------------- mining

    def _mine(self, transaction: SignedTransactionAPI | None = None) -> None:
        timestamp = self.next_time()
        self._chain.set_header_timestamp(timestamp)
        result, receipts, computations = self._chain.mine_all([transaction] if transaction else [])
        if self._exact_time is not None:
            self._offset = timestamp - self._clock()
            self._exact_time = None
        self._keep_block(result.imported_block)
        if transaction is not None:
            self._keep_transaction(transaction, receipts[0], computations[0])

    def _keep_block(self, block: Any) -> None:
        """Store a mined block as the JSON it will be asked for."""
        self._headers.append(block.header)
        self._blocks.append(_block_json(block))
        self._numbers[_hex(block.hash)] = len(self._blocks) - 1
        self._logs.append([])

    def _keep_transaction(
        self, transaction: SignedTransactionAPI, receipt: Any, computation: ComputationAPI
    ) -> None:
        """Store the only transaction of the latest block, its receipt and its logs."""
        block = self._blocks[-1]
        place = {
            "blockHash": block["hash"],
            "blockNumber": block["number"],
            "transactionIndex": "0x0",
        }
        transaction_hash = _hex(transaction.hash)
        mined = {"blockTimestamp": block["timestamp"]}
        logs = [
            {
                "address": _hex(log.address),
                "topics": [_hex(topic.to_bytes(32)) for topic in log.topics],
                "data": _hex(log.data),
                "transactionHash": transaction_hash,
                "logIndex": hex(index),
                "removed": False,
                **place,
                **mined,
            }
            for index, log in enumerate(receipt.logs)
        ]
        self._logs[-1] = logs
        self._transactions[transaction_hash] = {**_transaction_json(transaction), **place, **mined}
        created = None if transaction.to else _hex(computation.msg.storage_address)
        self._receipts[transaction_hash] = {
            "type": hex(_type_of(transaction)),
            "status": "0x1" if receipt.state_root == b"\x01" else "0x0",
            "cumulativeGasUsed": hex(receipt.gas_used),
            "logs": logs,
            "logsBloom": _hex(receipt.bloom.to_bytes(256)),
            "transactionHash": transaction_hash,
            "gasUsed": hex(receipt.gas_used),
            "effectiveGasPrice": hex(_price_of(transaction)),
            "blobGasPrice": "0x1",
            "from": _hex(transaction.sender),
            "to": _hex(transaction.to) if transaction.to else None,
            "contractAddress": created,
            **place,
        }

    # -------------------------------------------------------------- sending

    def _send_raw_transaction(self, raw: Any) -> str:
        transaction = self._decode(_data(raw, "raw transaction"))
        sender, nonce = transaction.sender, transaction.nonce
        transaction_hash = _hex(transaction.hash)
        waiting = self._waiting.get((sender, nonce))
        if waiting is not None:
            raise RpcError(
                REJECTED,
                "already known"
                if waiting.hash == transaction.hash
                else "replacement transaction underpriced",
            )
        expected = self._state_at(self._headers[-1]).get_nonce(sender)
        if nonce < expected:
            raise RpcError(
                REJECTED,
                f"nonce too low: address {_hex(sender)}, tx: {nonce} state: {expected}",
            )
        self._check(transaction)
        if nonce > expected:
            if len(self._waiting) >= MAX_WAITING:
                raise RpcError(REJECTED, "txpool is full")
            self._waiting[sender, nonce] = transaction
            return transaction_hash
        self._mine_or_refuse(transaction)
        while follower := self._waiting.pop((sender, nonce := nonce + 1), None):
            self._mine_or_refuse(follower)
        return transaction_hash

    def _decode(self, raw: bytes) -> SignedTransactionAPI:
        # A legacy transaction is an RLP list, whose first byte is 0xc0 or more.
        if not raw or (raw[0] < 0xC0 and raw[0] not in (1, 2)):
            raise RpcError(REJECTED, "transaction type not supported")
        try:
            transaction: SignedTransactionAPI = self._chain.get_transaction_builder().decode(raw)
            transaction.check_signature_validity()
        except (RLPException, ExecutionRefused, ValueError, TypeError) as error:
            raise RpcError(REJECTED, f"the transaction cannot be decoded: {error}") from error
        if transaction.chain_id != self.chain_id:
            raise RpcError(
                REJECTED,
                f"invalid chain id for signer: have {transaction.chain_id} want {self.chain_id}",
            )
        return transaction

    def _check(self, transaction: SignedTransactionAPI) -> None:
        if transaction.gas > BLOCK_GAS_LIMIT:
            raise RpcError(REJECTED, "exceeds block gas limit")
        if transaction.gas < transaction.intrinsic_gas:
            raise RpcError(
                REJECTED,
                f"intrinsic gas too low: gas {transaction.gas}, minimum needed"
                f" {transaction.intrinsic_gas}",
            )
        balance = self._state_at(self._headers[-1]).get_balance(transaction.sender)
        cost = transaction.value + transaction.gas * _price_of(transaction)
        if cost > balance:
            raise RpcError(
                REJECTED,
                "insufficient funds for gas * price + value:"
                f" address {_hex(transaction.sender)} have {balance} want {cost}",
            )

    def _mine_or_refuse(self, transaction: SignedTransactionAPI) -> None:
        try:
            self._mine(transaction)
        except ExecutionRefused as error:
            raise RpcError(REJECTED, str(error)) from error

    # ------------------------------------------------------------ execution

    def _call(self, call: Any, block: Any = "latest") -> str:
        header = self._header(block)
        state = self._state_at(header)
        computation = self._execute(state, _Call(call), None)
        _raise_if_failed(computation)
        return _hex(computation.output)

    def _estimate_gas(self, call: Any, block: Any = "pending") -> str:
        request = _Call(call)
        state = self._state_at(self._header(block))
        highest = request.gas or BLOCK_GAS_LIMIT
        computation = self._execute(state, request, highest)
        _raise_if_failed(computation)
        used = highest - computation.get_gas_remaining()
        # A call keeps back 1/64 of its gas, and a transfer of value adds a stipend of 2,300: with
        # this much more than was used, most calls succeed and the search ends at once.
        likely = (used + 2_300) * 64 // 63
        lowest = used - 1
        if likely < highest:
            if self._execute(state, request, likely).is_error:
                lowest = likely
            else:
                highest = likely
        while highest - lowest > max(1, int(highest * _ESTIMATE_TOLERANCE)):
            middle = (highest + lowest) // 2
            if self._execute(state, request, middle).is_error:
                lowest = middle
            else:
                highest = middle
        return hex(highest)

    def _execute(self, state: StateAPI, call: _Call, gas: int | None) -> ComputationAPI:
        """Run a call as a transaction that leaves no trace."""
        unsigned = self._chain.get_transaction_builder().new_unsigned_dynamic_fee_transaction(
            chain_id=self.chain_id,
            nonce=state.get_nonce(call.sender),
            max_priority_fee_per_gas=0,
            max_fee_per_gas=0,
            gas=gas or call.gas or BLOCK_GAS_LIMIT,
            to=call.to,
            value=call.value,
            data=call.data,
            access_list=(),
        )
        spoofed: Any = SpoofTransaction(unsigned, from_=call.sender)
        snapshot = state.snapshot()
        try:
            return state.apply_transaction(spoofed)
        except ExecutionRefused as error:
            raise RpcError(REJECTED, str(error)) from error
        finally:
            state.revert(snapshot)

    def _state_at(self, header: BlockHeaderAPI) -> StateAPI:
        state: StateAPI = self._chain.get_vm(header).state
        return state

    # ---------------------------------------------------------------- state

    def _get_balance(self, address: Any, block: Any = "latest") -> str:
        return hex(self._state_at(self._header(block)).get_balance(_address(address)))

    def _get_code(self, address: Any, block: Any = "latest") -> str:
        return _hex(self._state_at(self._header(block)).get_code(_address(address)))

    def _get_storage_at(self, address: Any, slot: Any, block: Any = "latest") -> str:
        position = int.from_bytes(_data(slot, "slot", odd=True))
        if position >= 2**256:
            raise _BadParameter("a storage slot has at most 32 bytes")
        value = self._state_at(self._header(block)).get_storage(_address(address), position)
        return _hex(value.to_bytes(32))

    def _get_transaction_count(self, address: Any, block: Any = "latest") -> str:
        # Mined as they come, so the pending count is the latest one.
        return hex(self._state_at(self._header(block)).get_nonce(_address(address)))

    # --------------------------------------------------------------- blocks

    def _block_number(self) -> str:
        return hex(len(self._blocks) - 1)

    def _get_block_by_number(self, block: Any, full: Any = False) -> dict[str, Any] | None:
        if block == "pending":
            return self._pending_block()
        number = self._number(block)
        if number >= len(self._blocks):
            return None
        return self._filled(self._blocks[number], full)

    def _get_block_by_hash(self, block_hash: Any, full: Any = False) -> dict[str, Any] | None:
        number = self._numbers.get(_hash(block_hash))
        return None if number is None else self._filled(self._blocks[number], full)

    def _filled(self, block: dict[str, Any], full: Any) -> dict[str, Any]:
        if not isinstance(full, bool):
            raise _BadParameter("whether to give full transactions is true or false")
        if not full:
            return block
        return {**block, "transactions": [self._transactions[h] for h in block["transactions"]]}

    def _pending_block(self) -> dict[str, Any]:
        parent = self._blocks[-1]
        return {
            **parent,
            "hash": None,
            "nonce": None,
            "miner": None,
            "parentHash": parent["hash"],
            "number": hex(len(self._blocks)),
            "timestamp": hex(self.next_time()),
            "gasUsed": "0x0",
            "logsBloom": _NO_BLOOM,
            "stateRoot": _NO_HASH,
            "transactionsRoot": _EMPTY_LIST_ROOT,
            "receiptsRoot": _EMPTY_LIST_ROOT,
            "transactions": [],
        }

    def _get_transaction_by_hash(self, transaction_hash: Any) -> dict[str, Any] | None:
        wanted = _hash(transaction_hash)
        if wanted in self._transactions:
            return self._transactions[wanted]
        for transaction in self._waiting.values():
            if _hex(transaction.hash) == wanted:
                nowhere = dict.fromkeys(("blockHash", "blockNumber", "transactionIndex"))
                return {**_transaction_json(transaction), **nowhere}
        return None

    def _get_transaction_receipt(self, transaction_hash: Any) -> dict[str, Any] | None:
        return self._receipts.get(_hash(transaction_hash))

    def _get_logs(self, criteria: Any) -> list[dict[str, Any]]:
        if not isinstance(criteria, Mapping):
            raise _BadParameter("a log filter is an object")
        latest = len(self._blocks) - 1
        if criteria.get("blockHash") is not None:
            number = self._numbers.get(_hash(criteria["blockHash"]))
            if number is None:
                raise RpcError(REJECTED, "unknown block")
            first = last = number
        else:
            first = self._number(criteria.get("fromBlock") or "latest")
            last = min(self._number(criteria.get("toBlock") or "latest"), latest)
            if first > last and first <= latest:
                raise RpcError(INVALID_PARAMS, f"invalid block range: {first} to {last}")
        address = criteria.get("address") or []
        addresses = [address] if isinstance(address, str) else _list(address, "address")
        wanted = {_hex(_address(one)) for one in addresses}
        topics = [
            _topic_choices(choice) for choice in _list(criteria.get("topics") or [], "topics")
        ]
        return [
            log
            for logs in self._logs[first : last + 1]
            for log in logs
            if (not wanted or log["address"] in wanted)
            and len(log["topics"]) >= len(topics)
            and all(
                choice is None or log["topics"][index] in choice
                for index, choice in enumerate(topics)
            )
        ]

    def _fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
        wanted = count if isinstance(count, int) else _quantity(count, "block count")
        last = min(self._number(newest), len(self._blocks) - 1)
        first = max(0, last + 1 - min(wanted, _FEE_HISTORY_BLOCKS))
        headers = self._headers[first : last + 1]
        history: dict[str, Any] = {
            "oldestBlock": hex(first),
            "baseFeePerGas": ["0x0"] * (len(headers) + 1),
            "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
            "baseFeePerBlobGas": ["0x1"] * (len(headers) + 1),
            "blobGasUsedRatio": [0.0] * len(headers),
        }
        if percentiles:
            rewards = ["0x0"] * len(_list(percentiles, "percentiles"))
            history["reward"] = [rewards for _ in headers]
        return history

    # ----------------------------------------------------------- development

    def _evm_mine(self) -> str:
        self._mine()
        return "0x0"

    def _evm_set_next_block_timestamp(self, timestamp: Any) -> None:
        value = timestamp if isinstance(timestamp, int) else _quantity(timestamp, "timestamp")
        try:
            self.set_next_time(value)
        except ChainTimeError as error:
            raise _BadParameter(str(error)) from error

    # ------------------------------------------------------ block parameters

    def _header(self, block: Any) -> BlockHeaderAPI:
        """The block a call or a look at the state is made at; "pending" has the next block's time,
        others their own."""
        if block == "pending":
            pending: BlockHeaderAPI = self._chain.header.copy(timestamp=self.next_time())
            return pending
        number = self._number(block)
        if number >= len(self._headers):
            raise RpcError(REJECTED, "header not found")
        return self._headers[number]

    def _number(self, block: Any) -> int:
        if isinstance(block, Mapping):  # EIP-1898
            if "blockHash" in block:
                number = self._numbers.get(_hash(block["blockHash"]))
                if number is None:
                    raise RpcError(REJECTED, "header for hash not found")
                return number
            return _quantity(block.get("blockNumber"), "block number")
        if block in ("latest", "safe", "finalized", "pending"):
            return len(self._blocks) - 1
        if block == "earliest":
            return 0
        return _quantity(block, "block number")


class _BadParameter(ValueError):
    """A JSON-RPC parameter is not what it must be."""


class _Call:
    """The transaction object of eth_call and eth_estimateGas. Fees are not asked for."""

    def __init__(self, call: Any) -> None:
        if not isinstance(call, Mapping):
            raise _BadParameter("a call is an object")
        data = call.get("input") or call.get("data") or "0x"
        self.sender = _address(call.get("from") or "0x" + "00" * 20)
        self.to = _address(call["to"]) if call.get("to") else Address(b"")
        self.data = _data(data, "data")
        self.value = _quantity(call.get("value") or "0x0", "value")
        self.gas = min(_quantity(call.get("gas") or "0x0", "gas"), BLOCK_GAS_LIMIT)


def _raise_if_failed(computation: ComputationAPI) -> None:
    if not computation.is_error:
        return
    error = computation.error
    if isinstance(error, Revert):
        raise RpcError(REVERTED, "execution reverted", _hex(computation.output))
    raise RpcError(REJECTED, f"{type(error).__name__}: {error}")


def _block_json(block: Any) -> dict[str, Any]:
    header = block.header
    return {
        "hash": _hex(block.hash),
        "parentHash": _hex(header.parent_hash),
        "sha3Uncles": _hex(header.uncles_hash),
        "miner": _hex(header.coinbase),
        "stateRoot": _hex(header.state_root),
        "transactionsRoot": _hex(header.transaction_root),
        "receiptsRoot": _hex(header.receipt_root),
        "logsBloom": _hex(header.bloom.to_bytes(256)),
        "difficulty": hex(header.difficulty),
        "totalDifficulty": "0x0",
        "number": hex(block.number),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "timestamp": hex(header.timestamp),
        "extraData": _hex(header.extra_data),
        "mixHash": _hex(header.mix_hash),
        "nonce": _hex(header.nonce),
        "baseFeePerGas": hex(header.base_fee_per_gas),
        "withdrawalsRoot": _hex(header.withdrawals_root),
        "blobGasUsed": hex(header.blob_gas_used),
        "excessBlobGas": hex(header.excess_blob_gas),
        "parentBeaconBlockRoot": _hex(header.parent_beacon_block_root),
        "size": hex(len(rlp.encode(block))),
        "uncles": [],
        "withdrawals": [],
        "transactions": [_hex(transaction.hash) for transaction in block.transactions],
    }


def _transaction_json(transaction: Any) -> dict[str, Any]:
    kind = _type_of(transaction)
    fields: dict[str, Any] = {
        "type": hex(kind),
        "chainId": hex(transaction.chain_id),
        "nonce": hex(transaction.nonce),
        "gas": hex(transaction.gas),
        "to": _hex(transaction.to) if transaction.to else None,
        "value": hex(transaction.value),
        "input": _hex(transaction.data),
        "r": hex(transaction.r),
        "s": hex(transaction.s),
        "hash": _hex(transaction.hash),
        "from": _hex(transaction.sender),
        "gasPrice": hex(_price_of(transaction)),
    }
    if kind == 0:
        return {**fields, "v": hex(transaction.v)}
    fields["v"] = fields["yParity"] = hex(transaction.y_parity)
    fields["accessList"] = [
        {"address": _hex(address), "storageKeys": [_hex(key.to_bytes(32)) for key in keys]}
        for address, keys in transaction.access_list
    ]
    if kind == 2:
        fields["maxFeePerGas"] = hex(transaction.max_fee_per_gas)
        fields["maxPriorityFeePerGas"] = hex(transaction.max_priority_fee_per_gas)
    return fields


def _type_of(transaction: Any) -> int:
    return int(getattr(transaction, "type_id", None) or 0)  # None for a legacy transaction


def _price_of(transaction: Any) -> int:
    """What a unit of gas costs the sender; the base fee is zero."""
    if _type_of(transaction) == 2:
        return min(int(transaction.max_fee_per_gas), int(transaction.max_priority_fee_per_gas))
    return int(transaction.gas_price)


def _topic_choices(choice: Any) -> frozenset[str] | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        return frozenset([_hash(choice)])
    if isinstance(choice, list):
        return frozenset(map(_hash, choice)) or None
    raise _BadParameter("a topic is a hash, a list of hashes, or null")


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _BadParameter(f"{what} is a list, not {value!r}")
    return value


def _quantity(value: Any, what: str) -> int:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise _BadParameter(f"{what} is hex with 0x, not {value!r}")
    try:
        number = int(value, 16)
    except ValueError:
        raise _BadParameter(f"{what} is hex with 0x, not {value!r}") from None
    if number >= 2**256:
        raise _BadParameter(f"{what} is beyond 256 bits")
    return number


def _data(value: Any, what: str, *, odd: bool = False) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise _BadParameter(f"{what} is hex with 0x")
    digits = value[2:]
    if odd and len(digits) % 2:
        digits = "0" + digits
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise _BadParameter(f"{what} is not hex") from None


def _address(value: Any) -> Address:
    address = _data(value, "address")
    if len(address) != 20:
        raise _BadParameter(f"an address has 20 bytes, not {len(address)}")
    return Address(address)


def _hash(value: Any) -> str:
    word = _data(value, "hash")
    if len(word) != 32:
        raise _BadParameter(f"a hash has 32 bytes, not {len(word)}")
    return _hex(word)
