"""Transactions as bytes and as files: read strictly, and said in words before anything is done.

A file holds what people should look at too, but nothing in it is believed: the intent is decoded
again from the call data, and the sender of a signed transaction is recovered from its signature.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wallet.abi import FUNCTIONS, WORD, function_called, words_of
from wallet.addresses import keccak, parse_address, to_checksum
from wallet.errors import InvalidInput, TermsMismatch, WalletError
from wallet.files import read_json, write_private
from wallet.intents import Contract, read_text, read_uint, signer_of
from wallet.networks import Network
from wallet.plans import decode_intent

FILE_VERSION = 1
UNSIGNED, SIGNED = "unsigned", "signed"

# Which contract a call is meant for; the same bytes sent elsewhere would do something else.
_CONTRACTS: Mapping[Contract, tuple[str, ...]] = {
    "coin": ("transfer", "transferWithMemo", "transferWithAuthorization"),
    "escrow": ("authorizeWithSignature", "release", "reclaim", "dispute", "submitEvidence"),
    "credit_book": ("accept", "draw", "setHoldback", "repayWithAuthorization"),
}
_CONTRACT_OF = {name: contract for contract, names in _CONTRACTS.items() for name in names}

_TYPE_2 = b"\x02"  # EIP-1559
_MAX_RAW = 128 * 1024  # what nodes take of one transaction
_RAW_HEX = re.compile(r"0x02[0-9a-f]+", re.ASCII)


@dataclass(frozen=True)
class Transaction:
    """What is signed. Everything costs nothing on this chain, and no value goes but coin."""

    chain_id: int
    sender: str
    nonce: int
    to: str
    data: bytes
    gas: int

    def fields(self) -> dict[str, Any]:
        """As signers take it."""
        return {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": self.nonce,
            "to": self.to,
            "value": 0,
            "data": "0x" + self.data.hex(),
            "gas": self.gas,
            "maxFeePerGas": 0,
            "maxPriorityFeePerGas": 0,
        }


@dataclass(frozen=True)
class SignedTransaction:
    """A transaction with its raw bytes; its sender is who signed them."""

    transaction: Transaction
    raw: bytes
    hash: str


# ------------------------------------------------------------------------------- meaning


def explain(network: Network, transaction: Transaction) -> dict[str, str] | None:
    """Say what a transaction does, from its own bytes; None if this wallet cannot.

    A call is only known if every byte of it is accounted for and it goes to the contract it is
    meant for.
    """
    if transaction.to == transaction.sender and not transaction.data:
        return {"kind": "cancellation", "to": transaction.to, "amount": "0"}
    function = function_called(transaction.data)
    if function not in _CONTRACT_OF or not _is_canonical(transaction.data):
        return None
    if transaction.to != network.contracts.get(_CONTRACT_OF[function]):
        return None
    try:
        return decode_intent(network, transaction.data)
    except WalletError:  # an address that is none
        return None


def explain_or_show(
    network: Network, transaction: Transaction, allow_undecoded: bool = False
) -> dict[str, str]:
    """As `explain`; what cannot be decoded is an intent that shows the bytes themselves.

    Raises:
        InvalidInput: it cannot be decoded, and that was not allowed.
    """
    intent = explain(network, transaction)
    if intent is not None:
        return intent
    if not allow_undecoded:
        raise InvalidInput(
            f"this wallet cannot say what 0x{transaction.data[:4].hex()}… "
            f"({len(transaction.data)} bytes) does at {transaction.to}: "
            "allow it with --allow-undecoded only if you know"
        )
    data = "0x" + transaction.data.hex()
    return {"kind": "undecoded call", "to": transaction.to, "amount": "0", "data": data}


def _is_canonical(data: bytes) -> bool:
    """Whether call data is exactly as long and as laid out as its function's arguments are."""
    function = function_called(data)
    signature = next(s for s in FUNCTIONS if s.split("(")[0] == function)
    types = re.findall(r"[a-z]+[0-9]*(?:\[\])?", signature.split("(", 1)[1])
    arguments, words = data[4:], words_of(data[4:])
    if "bytes" not in types:
        return len(arguments) == len(types) * WORD
    # One `bytes` at the end: its offset, then its length, then itself padded with zeros.
    head = len(types) * WORD
    if len(arguments) < head + WORD or words[len(types) - 1] != head:
        return False
    length = words[len(types)]
    tail = arguments[head + WORD :]
    padding = -length % WORD
    return len(tail) == length + padding and not any(tail[length:])


# --------------------------------------------------------------------------------- bytes


def decode_raw(raw: bytes) -> SignedTransaction:
    """Read the raw bytes of a signed EIP-1559 transaction.

    Raises:
        InvalidInput: they are something else, carry value, a fee or an access list, or are not
            written in the one canonical way.
    """
    items = _decode_list(raw)
    if items is None or len(items) != 12:
        raise InvalidInput("these are not the bytes of a signed transaction of this chain (type 2)")
    *payload, parity, r, s = items
    chain_id, nonce, tip, fee, gas, to, value, data, access_list = payload
    if access_list != [] or not all(isinstance(item, bytes) for item in (*payload[:8], parity)):
        raise InvalidInput("the transaction has an access list: this wallet makes none")
    numbers = [
        _number(name, item)
        for name, item in (
            ("chain id", chain_id),
            ("nonce", nonce),
            ("gas", gas),
            ("value", value),
            ("fee", fee),
            ("tip", tip),
            ("parity", parity),
            ("r", r),
            ("s", s),
        )
    ]
    if any(numbers[3:6]):
        raise InvalidInput(
            f"the transaction carries value {numbers[3]}, a fee of {numbers[4]} and a tip of "
            f"{numbers[5]}: on this chain all three are nothing"
        )
    if len(to) != 20:
        raise InvalidInput("the transaction makes a contract: this wallet sends none of that")
    if numbers[6] > 1 or any(not 0 < number < 2**256 for number in numbers[7:]):
        raise InvalidInput("the transaction's signature is none")
    digest = keccak(_TYPE_2 + _encode(payload))
    signature = b"".join(number.to_bytes(32, "big") for number in numbers[7:])
    sender = signer_of(digest, signature + bytes([27 + numbers[6]]))
    if sender is None:
        raise InvalidInput("the transaction's signature is none")
    return SignedTransaction(
        Transaction(
            chain_id=numbers[0],
            sender=sender,
            nonce=numbers[1],
            to=to_checksum("0x" + to.hex()),
            data=data,
            gas=numbers[2],
        ),
        raw,
        "0x" + keccak(raw).hex(),
    )


def _decode_list(raw: bytes) -> list[Any] | None:
    """The items of a type 2 transaction; None unless it is one, written canonically."""
    if raw[:1] != _TYPE_2 or len(raw) > _MAX_RAW:
        return None
    try:
        item, end = _decode(raw, 1, depth=0)
    except (IndexError, ValueError):
        return None
    # Encoded again and compared: a second way to write the same would have another hash.
    canonical = isinstance(item, list) and end == len(raw) and _encode(item) == raw[1:]
    return item if canonical else None


def _decode(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    """Read one RLP item at a position; returns it and where it ends."""
    first = raw[at]
    if first < 0x80:
        return raw[at : at + 1], at + 1
    is_list, short = first >= 0xC0, first - (0xC0 if first >= 0xC0 else 0x80)
    start = at + 1
    if short > 55:
        start, length = start + short - 55, int.from_bytes(raw[start : start + short - 55], "big")
    else:
        length = short
    end = start + length
    if end > len(raw) or depth > 4:
        raise ValueError("beyond the end")
    if not is_list:
        return raw[start:end], end
    items = []
    while start < end:
        item, start = _decode(raw, start, depth + 1)
        items.append(item)
    if start != end:
        raise ValueError("an item goes beyond its list")
    return items, end


def _encode(item: Any) -> bytes:
    if isinstance(item, list):
        body, base = b"".join(_encode(inner) for inner in item), 0xC0
    else:
        body, base = item, 0x80
        if len(body) == 1 and body[0] < 0x80:
            return bytes(body)
    if len(body) <= 55:
        return bytes([base + len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(length)]) + length + body


def _number(name: str, item: bytes) -> int:
    if not isinstance(item, bytes) or len(item) > 32 or item[:1] == b"\0":
        raise InvalidInput(f"the transaction's {name} is not a number")
    return int.from_bytes(item, "big")


# --------------------------------------------------------------------------------- files


def write_unsigned(path: Path, network: Network, transaction: Transaction) -> Path:
    """Write a transaction for signing elsewhere. Raises FileExistsError."""
    content = {
        "plaza_transaction": UNSIGNED,
        "version": FILE_VERSION,
        "network": network.name,
        "chain_id": transaction.chain_id,
        "from": transaction.sender,
        "nonce": transaction.nonce,
        "to": transaction.to,
        "data": "0x" + transaction.data.hex(),
        "gas": transaction.gas,
        "intent": explain_or_show(network, transaction, allow_undecoded=True),
    }
    return write_private(path, json.dumps(content, indent=2) + "\n")


def write_signed(path: Path, network: Network, signed: SignedTransaction) -> Path:
    """Write the raw bytes of a signed transaction. Raises FileExistsError."""
    content = {
        "plaza_transaction": SIGNED,
        "version": FILE_VERSION,
        "network": network.name,
        "hash": signed.hash,
        "from": signed.transaction.sender,
        "nonce": signed.transaction.nonce,
        "intent": explain_or_show(network, signed.transaction, allow_undecoded=True),
        "raw": "0x" + signed.raw.hex(),
    }
    return write_private(path, json.dumps(content, indent=2) + "\n")


def read_transaction(network: Network, path: Path) -> Transaction | SignedTransaction:
    """Read a transaction's file strictly: one written by the two above, or 0x hex of raw bytes.

    Raises:
        InvalidInput: it is something else; the message names the field.
        TermsMismatch: it is for another chain, or does not say what its bytes do.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    if _RAW_HEX.fullmatch(text):
        content: dict[str, Any] = {"raw": text}
        read: Transaction | SignedTransaction = decode_raw(_bytes("raw", text))
    else:
        content = read_json(path)
        read = _read_content(path, content)
    transaction = read.transaction if isinstance(read, SignedTransaction) else read
    if transaction.chain_id != network.chain_id:
        raise TermsMismatch(
            f"{path} is for chain {transaction.chain_id}, network {network.name!r} is chain "
            f"{network.chain_id}"
        )
    said, does = content.get("intent"), explain_or_show(network, transaction, allow_undecoded=True)
    if said is not None and said != does:
        raise TermsMismatch(f"{path} says it is {said}, but its bytes are {does}")
    return read


_UNSIGNED_FIELDS = ("chain_id", "from", "nonce", "to", "data", "gas")
_SIGNED_FIELDS = ("hash", "from", "nonce", "raw")
_COMMON_FIELDS = ("plaza_transaction", "version", "network", "intent")


def _read_content(path: Path, content: Mapping[str, Any]) -> Transaction | SignedTransaction:
    kind = content.get("plaza_transaction")
    if kind not in (UNSIGNED, SIGNED):
        raise InvalidInput(f"{path} is not a transaction's file")
    if content.get("version") != FILE_VERSION:
        raise InvalidInput(
            f"{path} has version {content.get('version')!r}, this wallet reads {FILE_VERSION}"
        )
    own = _UNSIGNED_FIELDS if kind == UNSIGNED else _SIGNED_FIELDS
    wanted = sorted((*_COMMON_FIELDS, *own))
    if sorted(content) != wanted:
        raise InvalidInput(f"{path} must have exactly the fields {', '.join(wanted)}")
    sender = parse_address(read_text(content, "from"))
    nonce = read_uint("nonce", content["nonce"], 64)
    if kind == UNSIGNED:
        return Transaction(
            chain_id=read_uint("chain_id", content["chain_id"], 64),
            sender=sender,
            nonce=nonce,
            to=parse_address(read_text(content, "to")),
            data=_bytes("data", content["data"]),
            gas=read_uint("gas", content["gas"], 64),
        )
    signed = decode_raw(_bytes("raw", content["raw"]))
    actual = (signed.hash, signed.transaction.sender, signed.transaction.nonce)
    if actual != (content["hash"], sender, nonce):
        raise TermsMismatch(
            f"{path} says hash {content['hash']}, from {sender}, nonce {nonce}; "
            f"its bytes are hash {actual[0]}, from {actual[1]}, nonce {actual[2]}"
        )
    return signed


def _bytes(name: str, value: Any) -> bytes:
    """Read 0x and hex digits in lower case. Raises InvalidInput."""
    if isinstance(value, str) and re.fullmatch(r"0x(?:[0-9a-f]{2})*", value):
        return bytes.fromhex(value[2:])
    raise InvalidInput(f"{name} is not bytes as 0x hex: {str(value)[:60]!r}")
