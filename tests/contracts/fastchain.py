"""A chain for long runs: py-evm's virtual machine over plain dictionaries.

The rules of execution are py-evm's own (Cancun); what is left out is everything around it:
blocks, headers, tries, receipts, signatures of transactions. And the operations that only move
words about (push, dup, swap, jump, add, compare ...) are done in one loop, instead of four calls
each. `test_fastchain.py` has both do the same, to the unit of gas.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from eth.db.atomic import AtomicDB
from eth.exceptions import Halt, InsufficientStack, InvalidJumpDestination
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun.computation import CancunComputation
from eth.vm.forks.cancun.state import CancunState
from eth.vm.forks.cancun.transaction_context import CancunTransactionContext
from eth.vm.logic.invalid import InvalidOpcode
from eth.vm.message import Message
from eth_account.signers.local import LocalAccount
from eth_utils import keccak, to_canonical_address, to_checksum_address
from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import ContractFunction

from tests.contracts.chain import BUILT_IN_ERRORS, CHAIN_ID, GAS_LIMIT, Chain, Receipt, _calldata
from tests.contracts.system import created_address

EMPTY_HASH = keccak(b"")
ZERO = b"\0" * 20


class Accounts:
    """What py-evm asks of an account database, with a log to take changes back.

    Nothing is ever deleted: no contract here destroys itself.
    """

    def __init__(self, *_: Any) -> None:
        self.storage: dict[tuple[bytes, int], int] = {}
        self.codes: dict[bytes, bytes] = {}
        self.nonces: dict[bytes, int] = {}
        self.balances: dict[bytes, int] = {}
        self.warm: dict[Any, bool] = {}
        self.transient: dict[tuple[bytes, int], bytes] = {}
        self.state_root = b""
        # Slots read, when asked for, and slots written: what tells a view that has to be looked at
        # again.
        self.reads: set[tuple[bytes, int]] | None = None
        self.writes: set[tuple[bytes, int]] = set()
        # The values before this transaction, of all slots it has written (EIP-2200 asks for them).
        self._originals: dict[tuple[bytes, int], int] = {}
        self._log: list[tuple[dict[Any, Any], Any, Any]] = []

    def _put(self, where: dict[Any, Any], key: Any, value: Any) -> None:
        self._log.append((where, key, where.get(key)))
        where[key] = value

    # -------------------------------------------------------------- taking back

    def record(self) -> int:
        return len(self._log)

    def discard(self, length: int) -> None:
        log = self._log
        while len(log) > length:
            where, key, old = log.pop()
            if old is None:
                del where[key]
            else:
                where[key] = old

    def lock_changes(self) -> None:
        """The transaction is over."""
        self._log.clear()
        self.transient.clear()
        self._originals.clear()
        self.warm.clear()

    # ------------------------------------------------------------------ storage

    def get_storage(self, address: bytes, slot: int, from_journal: bool = True) -> int:
        key = (address, slot)
        if self.reads is not None:
            self.reads.add(key)
        if not from_journal and key in self._originals:
            return self._originals[key]
        return self.storage.get(key, 0)

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        key = (address, slot)
        self._originals.setdefault(key, self.storage.get(key, 0))
        self.writes.add(key)
        self._put(self.storage, key, value)

    def is_storage_warm(self, address: bytes, slot: int) -> bool:
        return (address, slot) in self.warm

    def mark_storage_warm(self, address: bytes, slot: int) -> None:
        if (address, slot) not in self.warm:
            self._put(self.warm, (address, slot), True)

    def set_transient(self, key: tuple[bytes, int], value: bytes) -> None:
        self._put(self.transient, key, value)

    def is_address_warm(self, address: bytes) -> bool:
        return address in self.warm

    def mark_address_warm(self, address: bytes) -> None:
        if address not in self.warm:
            self._put(self.warm, address, True)

    # ----------------------------------------------------------------- accounts

    def get_balance(self, address: bytes) -> int:
        return self.balances.get(address, 0)

    def set_balance(self, address: bytes, balance: int) -> None:
        self._put(self.balances, address, balance)

    def get_nonce(self, address: bytes) -> int:
        return self.nonces.get(address, 0)

    def set_nonce(self, address: bytes, nonce: int) -> None:
        self._put(self.nonces, address, nonce)

    def increment_nonce(self, address: bytes) -> None:
        self.set_nonce(address, self.get_nonce(address) + 1)

    def get_code(self, address: bytes) -> bytes:
        return self.codes.get(address, b"")

    def set_code(self, address: bytes, code: bytes) -> None:
        self._put(self.codes, address, code)

    def get_code_hash(self, address: bytes) -> bytes:
        return keccak(self.get_code(address)) if address in self.codes else EMPTY_HASH

    def account_has_code_or_nonce(self, address: bytes) -> bool:
        return address in self.codes or self.get_nonce(address) != 0

    def account_exists(self, address: bytes) -> bool:
        return self.account_has_code_or_nonce(address) or self.get_balance(address) != 0

    def account_is_empty(self, address: bytes) -> bool:
        return not self.account_exists(address)

    def touch_account(self, address: bytes) -> None:
        pass


# What the loop below does itself. Each instruction is decoded once a contract.
(
    _OTHER, _PUSH, _DUP, _SWAP, _JUMPDEST, _JUMPI, _JUMP, _POP, _ADD, _AND, _EQ, _ISZERO, _SUB, _LT,
    _GT, _SHL, _SHR, _OR, _MSTORE, _MLOAD, _CALLDATALOAD,
) = range(21)  # fmt: skip
_KINDS = {
    0x01: _ADD, 0x03: _SUB, 0x10: _LT, 0x11: _GT, 0x14: _EQ, 0x15: _ISZERO, 0x16: _AND, 0x17: _OR,
    0x1B: _SHL, 0x1C: _SHR, 0x35: _CALLDATALOAD, 0x50: _POP, 0x51: _MLOAD, 0x52: _MSTORE,
    0x56: _JUMP, 0x57: _JUMPI, 0x5B: _JUMPDEST,
}  # fmt: skip
_OF_MEMORY, _JUMPS = (_MSTORE, _MLOAD), (_JUMPI, _JUMP)
_WORD = 2**256 - 1
_STACK_LIMIT = 1024
_PUSH0, _PUSH32, _DUP1, _DUP16, _SWAP1, _SWAP16, _STOP = 0x5F, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0x00

# (kind, argument, gas, position of the next one); None where the data of a push lies.
Instruction = tuple[int, int, int, int]


class Computation(CancunComputation):
    @classmethod
    def apply_computation(
        cls,
        state: Any,
        message: Any,
        transaction_context: Any,
        parent_computation: Any = None,
    ) -> Any:
        if message.is_create or message.code_address in cls._precompiles:
            return super().apply_computation(
                state, message, transaction_context, parent_computation
            )
        with cls(state, message, transaction_context) as computation:
            computation.contracts_created = (
                parent_computation.contracts_created if parent_computation else []
            )
            try:
                computation._execute(_decoded(message.code))
            except IndexError as error:
                raise InsufficientStack("The stack is empty") from error
        return computation

    def _execute(self, program: list[Instruction | None]) -> None:
        code, meter, memory = self.code, self._gas_meter, self._memory
        stack = self._stack.values
        data = self.msg.data
        opcodes = self.opcodes
        push, pop = stack.append, stack.pop
        gas, at, end = meter.gas_remaining, 0, len(program)
        to_int = int.from_bytes
        while True:
            instruction = program[at] if at < end else (_OTHER, _STOP, 0, at + 1)
            assert instruction is not None, "only jumps could land in the data of a push"
            kind, argument, cost, following = instruction
            if kind == _OTHER or cost > gas or len(stack) >= _STACK_LIMIT:
                # py-evm's own: it also says what is wrong.
                code.program_counter, meter.gas_remaining = at + 1, gas
                opcode = code[at] if at < end else _STOP
                operation = opcodes.get(opcode) or InvalidOpcode(opcode)
                try:
                    operation(computation=self)
                except Halt:
                    return
                at, gas = code.program_counter, meter.gas_remaining
                continue
            if kind in _OF_MEMORY:
                start = stack[-1]
                if type(start) is bytes:
                    start = to_int(start)
                if start + 32 > len(memory._bytes):  # grows, at a price
                    code.program_counter, meter.gas_remaining = at + 1, gas
                    opcodes[code[at]](computation=self)
                    at, gas = code.program_counter, meter.gas_remaining
                    continue
                pop()
                if kind == _MLOAD:
                    push(to_int(memory._bytes[start : start + 32]))
                else:
                    value = pop()
                    word = value.rjust(32, b"\0") if type(value) is bytes else value.to_bytes(32)
                    memory._bytes[start : start + 32] = word
                gas -= cost
                at = following
                continue
            gas -= cost
            at = following
            if kind == _PUSH:
                push(argument)
            elif kind == _DUP:
                push(stack[argument])
            elif kind == _SWAP:
                stack[-1], stack[argument] = stack[argument], stack[-1]
            elif kind == _JUMPDEST:
                pass
            elif kind == _POP:
                pop()
            elif kind in _JUMPS:
                target = pop()
                if type(target) is bytes:
                    target = to_int(target)
                if kind == _JUMPI:
                    condition = pop()
                    if type(condition) is bytes:
                        condition = to_int(condition)
                    if not condition:
                        continue
                landing = program[target] if target < end else None
                if landing is None or landing[0] != _JUMPDEST:
                    raise InvalidJumpDestination("Invalid Jump Destination")
                at = target
            else:
                left = pop()
                if type(left) is bytes:
                    left = to_int(left)
                if kind == _ISZERO:
                    push(0 if left else 1)
                    continue
                if kind == _CALLDATALOAD:
                    push(to_int(bytes(data[left : left + 32]).ljust(32, b"\0")))
                    continue
                right = pop()
                if type(right) is bytes:
                    right = to_int(right)
                if kind == _ADD:
                    push((left + right) & _WORD)
                elif kind == _AND:
                    push(left & right)
                elif kind == _EQ:
                    push(1 if left == right else 0)
                elif kind == _SUB:
                    push((left - right) & _WORD)
                elif kind == _LT:
                    push(1 if left < right else 0)
                elif kind == _GT:
                    push(1 if left > right else 0)
                elif kind == _SHL:
                    push((right << left) & _WORD if left < 256 else 0)
                elif kind == _SHR:
                    push(right >> left if left < 256 else 0)
                else:
                    push(left | right)


@cache
def _decoded(code: bytes) -> list[Instruction | None]:
    program: list[Instruction | None] = [None] * len(code)
    at = 0
    while at < len(code):
        opcode, following = code[at], at + 1
        kind, argument = _KINDS.get(opcode, _OTHER), 0
        if _PUSH0 <= opcode <= _PUSH32:
            size = opcode - _PUSH0
            following = at + 1 + size
            kind, argument = _PUSH, int.from_bytes(code[at + 1 : following].ljust(size, b"\0"))
        elif _DUP1 <= opcode <= _DUP16:
            kind, argument = _DUP, -(opcode - _DUP1 + 1)
        elif _SWAP1 <= opcode <= _SWAP16:
            kind, argument = _SWAP, -(opcode - _SWAP1 + 2)
        cost = CancunComputation.opcodes[opcode].gas_cost if kind != _OTHER else 0
        program[at] = (kind, argument, cost, following)
        at = following
    return program


class State(CancunState):
    computation_class = Computation
    account_db_class = Accounts  # type: ignore[assignment]
    timed = False  # whether the time was asked for

    @property
    def timestamp(self) -> int:
        self.timed = True
        time: int = self.execution_context.timestamp
        return time

    def set_system_contracts(self) -> None:
        pass

    def snapshot(self) -> int:  # type: ignore[override]
        return self._account_db.record()  # type: ignore[return-value]

    def revert(self, snapshot: int) -> None:  # type: ignore[override]
        self._account_db.discard(snapshot)  # type: ignore[arg-type]

    def commit(self, snapshot: int) -> None:  # type: ignore[override]
        pass

    def get_transient_storage(self, address: bytes, slot: int) -> bytes:
        value: bytes = self._account_db.transient.get((address, slot), b"")  # type: ignore
        return value

    def set_transient_storage(self, address: bytes, slot: int, value: bytes) -> None:
        self._account_db.set_transient((address, slot), value)  # type: ignore

    def clear_transient_storage(self) -> None:
        self._account_db.transient.clear()  # type: ignore


class FastChain(Chain):
    """Like `Chain`: one transaction at `time`, which then moves on by one second."""

    def __init__(self, time: int) -> None:
        self._context = ExecutionContext(
            coinbase=ZERO,
            timestamp=time,
            block_number=1,
            difficulty=0,
            mix_hash=b"\0" * 32,
            gas_limit=GAS_LIMIT,
            prev_hashes=(),
            chain_id=CHAIN_ID,
            base_fee_per_gas=0,
            excess_blob_gas=0,
        )
        self._state = State(AtomicDB(), self._context, b"")
        self.accounts: Accounts = self._state._account_db  # type: ignore[assignment]
        self._web3 = Web3()
        self._errors: dict[bytes, dict[str, Any]] = {}
        self._learn_errors(BUILT_IN_ERRORS)

    # ------------------------------------------------------------------- clock

    @property
    def time(self) -> int:
        time: int = self._context._timestamp
        return time

    def travel_to(self, timestamp: int) -> None:
        assert timestamp >= self.time, "time does not run backwards"
        self._context._timestamp = timestamp

    def snapshot(self) -> Any:
        accounts = self.accounts
        return self.time, dict(accounts.storage), dict(accounts.codes), dict(accounts.nonces)

    def revert_to(self, snapshot: Any) -> None:
        accounts = self.accounts
        self._context._timestamp, storage, codes, nonces = snapshot
        accounts.storage, accounts.codes, accounts.nonces = dict(storage), dict(codes), dict(nonces)

    # -------------------------------------------------------------- execution

    def execute(self, sender: bytes, to: bytes, data: bytes, gas: int = GAS_LIMIT) -> Any:
        """One transaction: py-evm's computation, with its output, error and logs."""
        computation = self._run(sender, to, data, gas)
        self.accounts.lock_changes()
        self._context._timestamp += 1
        return computation

    def look(self, to: bytes, data: bytes, sender: bytes = ZERO) -> Any:
        """What the call would do now; nothing stays of it."""
        start = self.accounts.record()
        computation = self._run(sender, to, data)
        self.accounts.discard(start)
        self.accounts.lock_changes()
        return computation

    def trace(self, to: bytes, data: bytes) -> tuple[Any, set[tuple[bytes, int]], bool]:
        """A look, the slots it read, and whether it read the time: what its output depends on."""
        self.accounts.reads, self._state.timed = set(), False
        computation = self.look(to, data)
        reads, self.accounts.reads = self.accounts.reads, None
        return computation, reads, self._state.timed

    def replace_code(self, address: bytes, code: bytes) -> bytes:
        """Put other code at an address; returns what was there."""
        was = self.accounts.codes[address]
        self.accounts.codes[address] = code
        return was

    def _run(self, sender: bytes, to: bytes, data: bytes, gas: int = GAS_LIMIT) -> Any:
        state = self._state
        context = CancunTransactionContext(gas_price=0, origin=sender)
        message = Message(
            gas=gas,
            to=to,
            sender=sender,
            value=0,
            data=data,
            code=state.get_code(to),
        )
        return state.computation_class.apply_message(state, message, context)

    # ----------------------------------------------------------- as Chain does

    def _execute(self, to: bytes, data: bytes, by: LocalAccount, gas: int = GAS_LIMIT) -> Receipt:
        sender, timestamp = to_canonical_address(by.address), self.time
        if not to:
            return self._create(sender, data)
        computation = self.execute(sender, to, data, gas)
        self._raise_if_failed(computation)
        logs = [
            {
                "address": to_checksum_address(address),
                "topics": [HexBytes(topic.to_bytes(32)) for topic in topics],
                "data": HexBytes(data),
                "blockNumber": 1,
                "blockHash": HexBytes(bytes(32)),
                "transactionHash": HexBytes(bytes(32)),
                "transactionIndex": 0,
                "logIndex": index,
            }
            for index, (address, topics, data) in enumerate(computation.get_log_entries())
        ]
        return Receipt(computation.get_gas_used(), timestamp, logs, None)

    def _create(self, sender: bytes, data: bytes) -> Receipt:
        state, timestamp = self._state, self.time
        nonce = state.get_nonce(sender)
        state.increment_nonce(sender)
        address = to_canonical_address(created_address("0x" + sender.hex(), nonce))
        message = Message(
            gas=GAS_LIMIT,
            to=b"",
            sender=sender,
            value=0,
            data=b"",
            code=data,
            create_address=address,
        )
        context = CancunTransactionContext(gas_price=0, origin=sender)
        computation = state.computation_class.apply_create_message(state, message, context)
        self.accounts.lock_changes()
        self._context._timestamp += 1
        self._raise_if_failed(computation)
        return Receipt(computation.get_gas_used(), timestamp, [], to_checksum_address(address))

    def _simulate(self, function: ContractFunction, by: LocalAccount | str) -> bytes:
        sender = to_canonical_address(by if isinstance(by, str) else by.address)
        to = to_canonical_address(function.address)
        computation = self.look(to, _calldata(function), sender)
        self._raise_if_failed(computation)
        return bytes(computation.output)
