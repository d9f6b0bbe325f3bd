"""Everything of the contracts that a member or a key of the platform signs, and its EIP-712 hash.

One table names every type. The hashes are computed here from the fields themselves, so what is
shown is what is hashed; a signature is accepted only if it is one of that hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from wallet.abi import WORD, encode_word
from wallet.addresses import keccak, parse_address
from wallet.errors import InvalidInput

Contract = Literal["coin", "escrow", "credit_book", "lender_pool"]

# Contract -> name and version of its EIP-712 domain.
DOMAINS: dict[Contract, tuple[str, str]] = {
    "coin": ("Plaza Coin", "1"),
    "escrow": ("Plaza PurchaseEscrow", "1"),
    "credit_book": ("Plaza CreditBook", "1"),
    "lender_pool": ("Plaza LenderPool", "1"),
}

_BYTES32 = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)

_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_DOMAIN_FIELDS = (
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
)
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
_TRANSFER_FIELDS = (
    ("from", "address"),
    ("to", "address"),
    ("value", "uint256"),
    ("validAfter", "uint256"),
    ("validBefore", "uint256"),
    ("nonce", "bytes32"),
)
_ONCE = (("nonce", "uint256"), ("deadline", "uint256"))
_AMOUNT_OF_ORDER = (("orderHash", "bytes32"), ("amount", "uint256"), *_ONCE)

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class IntentType:
    """One EIP-712 type: which contract takes it, its fields in order, and which names its signer.

    `signer` is None where the contract knows the signer from the order or the offer.
    """

    contract: Contract
    signer: str | None
    fields: Fields


# By primary type, as in the contracts. All members are single words.
INTENTS: dict[str, IntentType] = {
    "TransferWithAuthorization": IntentType("coin", "from", _TRANSFER_FIELDS),
    "ReceiveWithAuthorization": IntentType("coin", "from", _TRANSFER_FIELDS),
    "CancelAuthorization": IntentType(
        "coin", "authorizer", (("authorizer", "address"), ("nonce", "bytes32"))
    ),
    "Permit": IntentType(
        "coin",
        "owner",
        (("owner", "address"), ("spender", "address"), ("value", "uint256"), *_ONCE),
    ),
    "Release": IntentType("escrow", None, _AMOUNT_OF_ORDER),
    "Void": IntentType("escrow", None, _AMOUNT_OF_ORDER),
    "Reclaim": IntentType("escrow", None, (("orderHash", "bytes32"), *_ONCE)),
    "Dispute": IntentType(
        "escrow", None, (("orderHash", "bytes32"), ("evidenceHash", "bytes32"), *_ONCE)
    ),
    "Evidence": IntentType(
        "escrow",
        "party",
        (("party", "address"), ("orderHash", "bytes32"), ("evidenceHash", "bytes32"), *_ONCE),
    ),
    "Offer": IntentType(
        "credit_book",
        "underwriter",
        (
            ("seller", "address"),
            ("underwriter", "address"),
            ("limit", "uint72"),
            ("aprBps", "uint16"),
            ("drawFeeBps", "uint16"),
            ("holdbackBps", "uint16"),
            ("termDays", "uint16"),
            ("expires", "uint40"),
            ("disclosureHash", "bytes32"),
            ("modelHash", "bytes32"),
            ("nonce", "uint256"),
        ),
    ),
    "Acceptance": IntentType("credit_book", None, (("offerHash", "bytes32"), *_ONCE)),
    "Draw": IntentType(
        "credit_book", "seller", (("seller", "address"), ("amount", "uint256"), *_ONCE)
    ),
    "Holdback": IntentType(
        "credit_book", "seller", (("seller", "address"), ("holdbackBps", "uint16"), *_ONCE)
    ),
    "Redemption": IntentType(
        "lender_pool", "owner", (("owner", "address"), ("shares", "uint256"), *_ONCE)
    ),
}

Word = int | str | bytes


@dataclass(frozen=True)
class Intent:
    """Something to be signed: a type of INTENTS and exactly its fields, each of its type and range.

        Intent("Draw", {"seller": address, "amount": 5_000_000, "nonce": 0, "deadline": until})

    Numbers may be given as int or decimal text, 32 bytes as bytes or 0x hex. Kept are int, bytes
    and checksummed addresses.

    Raises:
        InvalidInput: no such type, or a field is missing, unknown or out of range.
    """

    kind: str
    message: Mapping[str, Word]

    def __post_init__(self) -> None:
        if self.kind not in INTENTS:
            raise InvalidInput(f"{self.kind!r} is nothing this wallet signs")
        members = INTENTS[self.kind].fields
        names = [name for name, _ in members]
        if not isinstance(self.message, Mapping) or set(self.message) != set(names):
            raise InvalidInput(f"{self.kind} must have exactly the fields {', '.join(names)}")
        read = {name: _read_field(name, kind, self.message[name]) for name, kind in members}
        object.__setattr__(self, "message", read)

    @classmethod
    def from_json(cls, value: Any, chain_id: int, contracts: Mapping[Contract, str]) -> Intent:
        """Read EIP-712 JSON strictly: a type of the table, field by field, at these contracts.

        Raises:
            InvalidInput: it is of another type, chain or contract, has fields that would not be
                hashed, or a value that is not of its type.
        """
        parts = {"types", "primaryType", "domain", "message"}
        if not isinstance(value, dict) or set(value) != parts:
            raise InvalidInput(f"EIP-712 JSON has exactly the fields {', '.join(sorted(parts))}")
        kind = value["primaryType"]
        if not isinstance(kind, str) or kind not in INTENTS:
            raise InvalidInput(f"{kind!r} is nothing this wallet signs")
        intent = cls(kind, value["message"])
        contract = contracts.get(INTENTS[kind].contract)
        if contract is None:
            raise InvalidInput(f"this network has no contract that takes {kind}")
        expected = intent.typed_data(chain_id, contract)
        # Who wrote it may leave the domain's own type out: it is the same for all.
        domain_type = {"EIP712Domain": expected["types"]["EIP712Domain"]}
        types = value["types"]
        if not isinstance(types, dict) or {**domain_type, **types} != expected["types"]:
            raise InvalidInput(f"the types are not those of {kind}: {types!r}")
        domain = value["domain"]
        if not isinstance(domain, dict) or set(domain) != set(expected["domain"]):
            raise InvalidInput(f"the domain is not the one of {kind}: {domain!r}")
        actual = {
            **domain,
            "chainId": read_uint("chainId", domain["chainId"], 256),
            "verifyingContract": _read_field(
                "verifyingContract", "address", domain["verifyingContract"]
            ),
        }
        for name, wanted in expected["domain"].items():
            if actual[name] != wanted:
                raise InvalidInput(
                    f"{kind} is for {name} {actual[name]}, this network has {wanted}"
                )
        return intent

    @property
    def contract(self) -> Contract:
        """Which contract takes it."""
        return INTENTS[self.kind].contract

    @property
    def signer(self) -> str | None:
        """The address that has to sign it; None where the message does not name it."""
        name = INTENTS[self.kind].signer
        return None if name is None else str(self.message[name])

    def words(self) -> list[Word]:
        """The fields in order, as the ABI lays them out."""
        return [self.message[name] for name, _ in INTENTS[self.kind].fields]

    def digest(self, chain_id: int, contract: str) -> bytes:
        """The 32 bytes that are signed."""
        type_text = _type_text(self.kind, INTENTS[self.kind].fields)
        return _hash_typed_data(DOMAINS[self.contract], chain_id, contract, type_text, self.words())

    def typed_data(self, chain_id: int, contract: str) -> dict[str, Any]:
        """The same as EIP-712 JSON, as signers take it: numbers as text, bytes as 0x hex."""
        name, version = DOMAINS[self.contract]
        types = {"EIP712Domain": _DOMAIN_FIELDS, self.kind: INTENTS[self.kind].fields}
        return {
            "types": {
                of: [{"name": field, "type": kind} for field, kind in members]
                for of, members in types.items()
            },
            "primaryType": self.kind,
            "domain": {
                "name": name,
                "version": version,
                "chainId": chain_id,
                "verifyingContract": contract,
            },
            "message": {
                field: "0x" + word.hex() if isinstance(word, bytes) else str(word)
                for field, word in self.message.items()
            },
        }


def lone_nonce(reference: bytes) -> int:
    """The nonce of an intent that waits for no other: the first of a key that 32 bytes name.

    A nonce is a key (upper 192 bits) and a counter from 0 (lower 64 bits); the bridge names what is
    done in the same way, so a signature made without it is one it can relay.
    """
    return int.from_bytes(reference[:24]) << 64


def name_reference(*words: str) -> bytes:
    """The 32 bytes by which the bridge names something: keccak256(abi.encode(string, …))."""
    heads, tails = b"", b""
    for word in words:
        encoded = word.encode("utf-8")
        heads += encode_word(len(words) * WORD + len(tails))
        tails += encode_word(len(encoded)) + encoded + b"\0" * (-len(encoded) % WORD)
    return keccak(heads + tails)


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
            DOMAINS["escrow"], chain_id, escrow, _type_text("Terms", _TERMS_FIELDS), self.words()
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
    kind: ClassVar[str] = "ReceiveWithAuthorization"

    @property
    def intent(self) -> Intent:
        """The same as an entry of the table."""
        names = (name for name, _ in _TRANSFER_FIELDS)
        values = (getattr(self, field.name) for field in fields(self))
        return Intent(self.kind, dict(zip(names, values, strict=True)))

    def digest(self, chain_id: int, coin: str) -> bytes:
        """The 32 bytes that are signed."""
        return self.intent.digest(chain_id, coin)

    def typed_data(self, chain_id: int, coin: str) -> dict[str, Any]:
        """The same as EIP-712 JSON, as signers take it."""
        return self.intent.typed_data(chain_id, coin)


@dataclass(frozen=True)
class TransferAuthorization(ReceiveAuthorization):
    """EIP-3009 TransferWithAuthorization: anyone may send it, once, inside the two times."""

    kind: ClassVar[str] = "TransferWithAuthorization"


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
    if kind == "bytes32" and isinstance(value, bytes) and len(value) == WORD:
        return value
    if kind == "bytes32" and isinstance(value, str):
        return read_bytes32(name, value)
    if kind.startswith("uint"):
        return read_uint(name, value, bits=int(kind[4:]))
    raise InvalidInput(f"{name} is {value!r}, not {kind}")


def read_bytes32(name: str, value: Any) -> bytes:
    """Read 0x and 64 hex digits. Raises InvalidInput."""
    if isinstance(value, str) and _BYTES32.fullmatch(value):
        return bytes.fromhex(value[2:])
    raise InvalidInput(f"{name} is {value!r}, not 32 bytes as 0x hex")


def read_uint(name: str, value: Any, bits: int) -> int:
    """Read an unsigned integer written as a number or as decimal digits. Raises InvalidInput."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 78:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**bits:
        raise InvalidInput(f"{name} is {value!r}, not an unsigned number of {bits} bits")
    return int(value)


def read_text(value: Mapping[str, Any], name: str) -> str:
    """Read a text field of a JSON object. Raises InvalidInput."""
    text = value.get(name)
    if not isinstance(text, str):
        raise InvalidInput(f"{name} is {text!r}, not text")
    return text
