"""What a buyer signs: the terms of an order, and the EIP-3009 authorization bound to them.

The hashes are computed here from the fields themselves, so what is shown is what is hashed; a
signature is accepted only if it is one of that hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from wallet.abi import encode_word
from wallet.addresses import keccak, parse_address
from wallet.errors import InvalidInput

COIN_DOMAIN = ("Plaza Coin", "1")
ESCROW_DOMAIN = ("Plaza PurchaseEscrow", "1")

_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_TERMS_FIELDS = (
    ("payer", "address"),
    ("payee", "address"),
    ("operator", "address"),
    ("feeReceiver", "address"),
    ("maxAmount", "uint96"),
    ("minFeeBps", "uint16"),
    ("maxFeeBps", "uint16"),
    ("authorizeBefore", "uint40"),
    ("reclaimAfter", "uint40"),
    ("disputeWindow", "uint32"),
    ("orderRef", "bytes32"),
)
_RECEIVE_FIELDS = (
    ("from", "address"),
    ("to", "address"),
    ("value", "uint256"),
    ("validAfter", "uint256"),
    ("validBefore", "uint256"),
    ("nonce", "bytes32"),
)


@dataclass(frozen=True)
class Terms:
    """What a buyer agrees to, field by field as the escrow's `Terms`; times in unix seconds."""

    payer: str
    payee: str
    operator: str
    fee_receiver: str
    max_amount: int
    min_fee_bps: int
    max_fee_bps: int
    authorize_before: int
    reclaim_after: int
    dispute_window: int
    order_ref: bytes

    @classmethod
    def from_json(cls, value: Any) -> Terms:
        """Read terms strictly: exactly the known fields, each of its type and range.

        Raises:
            InvalidInput: anything is missing, unknown or out of range; the message names it.
        """
        names = [name for name, _ in _TERMS_FIELDS]
        if not isinstance(value, dict) or sorted(value) != sorted(names):
            raise InvalidInput(f"terms must have exactly the fields {', '.join(names)}")
        return cls(*(_read_field(name, kind, value[name]) for name, kind in _TERMS_FIELDS))

    @classmethod
    def from_words(cls, words: list[int]) -> Terms:
        """Read terms from the eleven words of their ABI encoding."""
        read: list[Any] = []
        for (_, kind), word in zip(_TERMS_FIELDS, words, strict=True):
            match kind:
                case "address":
                    read.append(parse_address(f"0x{word:040x}"))
                case "bytes32":
                    read.append(word.to_bytes(32, "big"))
                case _:
                    read.append(word)
        return cls(*read)

    def words(self) -> list[int | str | bytes]:
        """The eleven fields in order, as the ABI lays them out."""
        return [getattr(self, field.name) for field in fields(self)]

    def to_json(self) -> dict[str, str | int]:
        """As the bridge writes them: the amount as a string, times and fees as numbers."""
        named = dict(zip((name for name, _ in _TERMS_FIELDS), self.words(), strict=True))
        named["maxAmount"] = str(self.max_amount)
        named["orderRef"] = "0x" + self.order_ref.hex()
        return {name: word for name, word in named.items() if not isinstance(word, bytes)}

    def order_hash(self, chain_id: int, escrow: str) -> bytes:
        """EIP-712 hash of the terms at this chain and escrow: the identity of the order."""
        return _hash_typed_data(
            ESCROW_DOMAIN, chain_id, escrow, _type_text("Terms", _TERMS_FIELDS), self.words()
        )


@dataclass(frozen=True)
class ReceiveAuthorization:
    """EIP-3009 ReceiveWithAuthorization: only `to` may use it, once, inside the two times."""

    payer: str
    to: str
    value: int
    valid_after: int
    valid_before: int
    nonce: bytes

    def digest(self, chain_id: int, coin: str) -> bytes:
        """The 32 bytes that are signed."""
        return _hash_typed_data(
            COIN_DOMAIN,
            chain_id,
            coin,
            _type_text("ReceiveWithAuthorization", _RECEIVE_FIELDS),
            [self.payer, self.to, self.value, self.valid_after, self.valid_before, self.nonce],
        )

    def typed_data(self, chain_id: int, coin: str) -> dict[str, Any]:
        """The same as EIP-712 JSON, as signers take it."""
        name, version = COIN_DOMAIN
        return {
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                "ReceiveWithAuthorization": [
                    {"name": field, "type": kind} for field, kind in _RECEIVE_FIELDS
                ],
            },
            "primaryType": "ReceiveWithAuthorization",
            "domain": {
                "name": name,
                "version": version,
                "chainId": chain_id,
                "verifyingContract": coin,
            },
            "message": {
                "from": self.payer,
                "to": self.to,
                "value": self.value,
                "validAfter": self.valid_after,
                "validBefore": self.valid_before,
                "nonce": self.nonce,
            },
        }


def signer_of(digest: bytes, signature: bytes) -> str | None:
    """Return the address whose 65-byte signature of the digest this is; None if of none."""
    import coincurve  # noqa: PLC0415  # only after signing

    if len(signature) != 65 or signature[64] not in (27, 28):
        return None
    compact = signature[:64] + bytes([signature[64] - 27])
    try:
        public_key = coincurve.PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except ValueError:
        return None
    return parse_address("0x" + keccak(public_key.format(compressed=False)[1:])[12:].hex())


def _type_text(name: str, members: tuple[tuple[str, str], ...]) -> str:
    return f"{name}({','.join(f'{kind} {field}' for field, kind in members)})"


def _hash_typed_data(
    domain: tuple[str, str],
    chain_id: int,
    contract: str,
    type_text: str,
    words: list[int | str | bytes],
) -> bytes:
    """EIP-712 for structs whose members are all single words."""
    name, version = domain
    separator = keccak(
        keccak(_DOMAIN_TYPE.encode())
        + keccak(name.encode())
        + keccak(version.encode())
        + encode_word(chain_id)
        + encode_word(contract)
    )
    struct = keccak(keccak(type_text.encode()) + b"".join(encode_word(word) for word in words))
    return keccak(b"\x19\x01" + separator + struct)


def _read_field(name: str, kind: str, value: Any) -> Any:
    if kind == "address" and isinstance(value, str):
        return parse_address(value)
    if kind == "bytes32" and isinstance(value, str):
        return read_bytes32(name, value)
    if kind.startswith("uint"):
        return read_uint(name, value, bits=int(kind[4:]))
    raise InvalidInput(f"{name} is {value!r}, not {kind}")


def read_bytes32(name: str, value: Any) -> bytes:
    """Read 0x and 64 hex digits. Raises InvalidInput."""
    if isinstance(value, str) and len(value) == 66 and value.startswith("0x"):
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            pass
    raise InvalidInput(f"{name} is {value!r}, not 32 bytes as 0x hex")


def read_uint(name: str, value: Any, bits: int) -> int:
    """Read an unsigned integer written as a number or as decimal digits. Raises InvalidInput."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 78:
        value = int(value)
    if type(value) is not int or not 0 <= value < 2**bits:
        raise InvalidInput(f"{name} is {value!r}, not an unsigned number of {bits} bits")
    return value


def read_text(value: Mapping[str, Any], name: str) -> str:
    """Read a text field of a JSON object. Raises InvalidInput."""
    text = value.get(name)
    if not isinstance(text, str):
        raise InvalidInput(f"{name} is {text!r}, not text")
    return text
