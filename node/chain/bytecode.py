"""What follows from a contract's bytecode and its deployer, without a chain."""

from __future__ import annotations

import re

import rlp
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak


def contract_address(deployer: str, nonce: int) -> str:
    """Return the address of the contract that a sender's transaction of this nonce creates."""
    creation = rlp.encode([bytes.fromhex(deployer[2:]), nonce])
    return str(to_checksum_address(keccak(creation)[-20:]))


def is_code_of(code: str, runtime_bytecode: str) -> bool:
    """Whether code on chain is a contract's, whatever its immutable values.

    The compiler leaves 32 zero bytes behind a PUSH32 (0x7f) where the constructor writes an
    immutable value.
    """
    parts = re.split(b"(?<=\x7f)\x00{32}", bytes.fromhex(runtime_bytecode[2:]))
    pattern = b".{32}".join(re.escape(part) for part in parts)
    return re.fullmatch(pattern, bytes.fromhex(code[2:]), re.DOTALL) is not None
