"""An Ethereum chain in the test's own process, with free gas, Cancun rules and a clock of its own.

It drives eth-tester's py-evm backend without the RPC layers above it, which is several times faster
and shows revert data as it is.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from eth.abc import ComputationAPI
from eth.vm.forks.cancun import CancunVM
from eth.vm.spoof import SpoofTransaction
from eth_abi import decode
from eth_account.signers.local import LocalAccount
from eth_keys import keys
from eth_tester import PyEVMBackend
from eth_utils import to_canonical_address, to_checksum_address
from eth_utils.abi import collapse_if_tuple, function_abi_to_4byte_selector
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.contract.contract import ContractFunction
from web3.logs import DISCARD

import contracts
from contracts import Artifact

CHAIN_ID = 4242
GAS_LIMIT = 30_000_000
ZERO_ADDRESS = "0x" + "00" * 20
# What the compiler itself may revert with.
BUILT_IN_ERRORS = [
    {"type": "error", "name": "Error", "inputs": [{"name": "message", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
]


class Reverted(Exception):
    """A transaction or call reverted: `name` of the error and its arguments by name.

    `name` is "" when it reverted without data.
    """

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        super().__init__(f"{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})")
        self.name = name
        self.arguments = arguments


@dataclass(frozen=True)
class Receipt:
    """What one transaction did, alone in its block mined at `timestamp`."""

    gas_used: int
    timestamp: int
    logs: list[dict[str, Any]]
    contract_address: str | None

    def events(self, contract: Contract, name: str) -> list[dict[str, Any]]:
        """The arguments of every event of that name which `contract` emitted, in order."""
        return [
            dict(found["args"])
            for found in contract.events[name]().process_receipt(
                {"logs": [log for log in self.logs if log["address"] == contract.address]},
                errors=DISCARD,
            )
        ]

    def event(self, contract: Contract, name: str) -> dict[str, Any]:
        """The arguments of the only event of that name."""
        (arguments,) = self.events(contract, name)
        return arguments


class Chain:
    """One transaction a block. The next block, and every call until then, is at `time`.

    Sending moves `time` on by one second, as blocks must differ; calls and `reverts` do not.
    """

    def __init__(self, accounts: Iterable[LocalAccount], time: int) -> None:
        parameters = PyEVMBackend.generate_genesis_params({"gas_limit": GAS_LIMIT})
        # eth-tester accepts a zero base fee, and a time of ours, only behind its own merging.
        parameters["base_fee_per_gas"] = 0
        parameters["timestamp"] = time - 1
        empty = {"balance": 0, "nonce": 0, "code": b"", "storage": {}}
        state = {to_canonical_address(account.address): empty for account in accounts}
        self._backend = PyEVMBackend(parameters, state, ((0, CancunVM),))
        type(self._backend.chain).chain_id = CHAIN_ID
        self._web3 = Web3()
        self._errors: dict[bytes, dict[str, Any]] = {}
        self._learn_errors(BUILT_IN_ERRORS)
        self.travel_to(time)

    # ------------------------------------------------------------------- clock

    @property
    def time(self) -> int:
        """Timestamp of the next block."""
        timestamp: int = self._backend.chain.header.timestamp
        return timestamp

    def travel_to(self, timestamp: int) -> None:
        """Let the next block be at `timestamp`, which must lie after the last block."""
        chain = self._backend.chain
        assert timestamp > chain.get_canonical_head().timestamp, "time does not run backwards"
        chain.set_header_timestamp(timestamp)

    def travel(self, seconds: int) -> None:
        self.travel_to(self.time + seconds)

    def snapshot(self) -> tuple[bytes, int]:
        return self._backend.take_snapshot(), self.time

    def revert_to(self, snapshot: tuple[bytes, int]) -> None:
        block, time = snapshot
        self._backend.revert_to_snapshot(block)
        self.travel_to(time)

    # --------------------------------------------------------------- contracts

    def deploy(self, contract: str | Artifact, *args: Any, by: LocalAccount) -> Contract:
        """Deploy a contract of the project by its name ("PlatformCoin"), or any compiled one."""
        artifact = contracts.load(contract) if isinstance(contract, str) else contract
        factory = self._web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        creation = bytes(HexBytes(factory.constructor(*args).data_in_transaction))
        return self.at(artifact.abi, self._execute(b"", creation, by).contract_address)

    def at(self, abi: list[dict[str, Any]], address: str | None) -> Contract:
        """The contract at an address; its errors are decoded from now on."""
        self._learn_errors(abi)
        return self._web3.eth.contract(address=address, abi=abi)

    # ------------------------------------------------------- transactions, calls

    def send(self, function: ContractFunction, by: LocalAccount, gas: int = GAS_LIMIT) -> Receipt:
        """Execute in a block of its own at `time`, with so much gas.

        Raises:
            Reverted: it failed; the block is there all the same, and the time has moved on.
        """
        to = to_canonical_address(function.address)
        return self._execute(to, _calldata(function), by, gas)

    def call(self, function: ContractFunction, by: LocalAccount | str = ZERO_ADDRESS) -> Any:
        """What the function would return in the next block. Structs come as named tuples.

        Raises:
            Reverted: it would fail.
        """
        output = self._simulate(function, by)
        types = [collapse_if_tuple(item) for item in function.abi["outputs"]]
        values = [
            _named(item, value)
            for item, value in zip(function.abi["outputs"], decode(types, output), strict=True)
        ]
        return values[0] if len(values) == 1 else tuple(values)

    def reverts(
        self, function: ContractFunction, by: LocalAccount | str, error: str, **arguments: Any
    ) -> None:
        """Assert that the function would revert in the next block with exactly this error.

        `by` may be any address. Arguments left out are not compared.
        """
        with pytest.raises(Reverted) as caught:
            self._simulate(function, by)
        seen = {name: caught.value.arguments.get(name) for name in arguments}
        assert (caught.value.name, seen) == (error, arguments), str(caught.value)

    # ------------------------------------------------------------------ inside

    def _execute(self, to: bytes, data: bytes, by: LocalAccount, gas: int = GAS_LIMIT) -> Receipt:
        chain = self._backend.chain
        timestamp = self.time
        transaction = chain.create_unsigned_transaction(
            nonce=chain.get_vm().state.get_nonce(to_canonical_address(by.address)),
            gas_price=0,
            gas=gas,
            to=to,
            value=0,
            data=data,
        ).as_signed_transaction(keys.PrivateKey(bytes(by.key)), chain_id=CHAIN_ID)
        _, receipt, computation = chain.apply_transaction(transaction)
        block = chain.mine_block()
        self._raise_if_failed(computation)
        logs = [
            {
                "address": to_checksum_address(log.address),
                "topics": [HexBytes(topic.to_bytes(32)) for topic in log.topics],
                "data": HexBytes(log.data),
                "blockNumber": block.number,
                "blockHash": HexBytes(block.hash),
                "transactionHash": HexBytes(transaction.hash),
                "transactionIndex": 0,
                "logIndex": index,
            }
            for index, log in enumerate(receipt.logs)
        ]
        created = None if to else to_checksum_address(computation.msg.storage_address)
        return Receipt(receipt.gas_used, timestamp, logs, created)

    def _simulate(self, function: ContractFunction, by: LocalAccount | str) -> bytes:
        chain = self._backend.chain
        sender = to_canonical_address(by if isinstance(by, str) else by.address)
        state = chain.get_vm().state
        transaction = chain.create_unsigned_transaction(
            nonce=state.get_nonce(sender),
            gas_price=0,
            gas=GAS_LIMIT,
            to=to_canonical_address(function.address),
            value=0,
            data=_calldata(function),
        )
        # A virtual machine of its own, which is dropped: nothing is written back.
        computation = state.apply_transaction(SpoofTransaction(transaction, from_=sender))
        self._raise_if_failed(computation)
        return bytes(computation.output)

    def _raise_if_failed(self, computation: ComputationAPI) -> None:
        if not computation.is_error:
            return
        data = bytes(computation.output)
        if not data:
            raise Reverted("", {})
        error = self._errors.get(data[:4])
        if error is None:
            raise Reverted("0x" + data.hex(), {})
        types = [collapse_if_tuple(item) for item in error["inputs"]]
        values = decode(types, data[4:])
        arguments = {
            item["name"]: _named(item, value)
            for item, value in zip(error["inputs"], values, strict=True)
        }
        raise Reverted(error["name"], arguments)

    def _learn_errors(self, abi: list[dict[str, Any]]) -> None:
        self._errors |= {
            function_abi_to_4byte_selector(item): item for item in abi if item["type"] == "error"
        }


def selectors(contract: Contract, names: Iterable[str]) -> list[bytes]:
    """The 4-byte selectors of functions by their names, every overload of each."""
    wanted = set(names)
    functions = [item for item in contract.abi if item["type"] == "function"]
    return [function_abi_to_4byte_selector(item) for item in functions if item["name"] in wanted]


def _calldata(function: ContractFunction) -> bytes:
    return bytes(HexBytes(function._encode_transaction_data()))


def _named(item: dict[str, Any], value: Any) -> Any:
    """A decoded ABI value: addresses checksummed, structs as named tuples."""
    if item["type"].endswith("]"):
        inner = {**item, "type": item["type"][: item["type"].rindex("[")]}
        return [_named(inner, element) for element in value]
    if item["type"] == "tuple":
        names = [part["name"] for part in item["components"]]
        parts = [_named(part, each) for part, each in zip(item["components"], value, strict=True)]
        return namedtuple("Struct", names)(*parts)
    return to_checksum_address(value) if item["type"] == "address" else value
