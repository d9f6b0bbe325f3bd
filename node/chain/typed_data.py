"""The EIP-712 messages of the contracts, hashed without asking a chain.

They say what `PlatformCoin`, `PurchaseEscrow`, `CreditBook` and `LenderPool` compute on chain;
tests compare the two. Values
are as in `node.chain.codec`: addresses and bytes32 as 0x-prefixed hex, numbers as int.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from eth_utils.crypto import keccak

from node.chain.words import encode

COIN_NAME = "Plaza Coin"
COIN_VERSION = "1"
ESCROW_NAME = "Plaza PurchaseEscrow"
ESCROW_VERSION = "1"
BOOK_NAME = "Plaza CreditBook"
BOOK_VERSION = "1"
POOL_NAME = "Plaza LenderPool"
POOL_VERSION = "1"

_DOMAIN_TYPEHASH = keccak(
    text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_AUTHORIZATION = {
    "from": "address",
    "to": "address",
    "value": "uint256",
    "validAfter": "uint256",
    "validBefore": "uint256",
    "nonce": "bytes32",
}
_FIELDS = ",".join(f"{type_} {name}" for name, type_ in _AUTHORIZATION.items())
_TRANSFER_TYPEHASH = keccak(text=f"TransferWithAuthorization({_FIELDS})")
_RECEIVE_TYPEHASH = keccak(text=f"ReceiveWithAuthorization({_FIELDS})")
_AUTHORIZATION_TYPES = ("bytes32", "address", "address", *["uint256"] * 3, "bytes32")

_TERMS = {
    "payer": "address",
    "payee": "address",
    "operator": "address",
    "feeReceiver": "address",
    "maxAmount": "uint96",
    "minFeeBps": "uint16",
    "maxFeeBps": "uint16",
    "authorizeBefore": "uint40",
    "reclaimAfter": "uint40",
    "disputeWindow": "uint32",
    "orderRef": "bytes32",
}
_TERMS_TYPEHASH = keccak(
    text=f"Terms({','.join(f'{kind} {name}' for name, kind in _TERMS.items())})"
)
_TERMS_TYPES = ("bytes32", *_TERMS.values())

_OFFER = {
    "seller": "address",
    "underwriter": "address",
    "limit": "uint72",
    "aprBps": "uint16",
    "drawFeeBps": "uint16",
    "holdbackBps": "uint16",
    "termDays": "uint16",
    "expires": "uint40",
    "disclosureHash": "bytes32",
    "modelHash": "bytes32",
    "nonce": "uint256",
}
_OFFER_TYPEHASH = keccak(
    text=f"Offer({','.join(f'{kind} {name}' for name, kind in _OFFER.items())})"
)
_OFFER_TYPES = ("bytes32", *_OFFER.values())
# What members sign for others to send, by primary type: the contract that takes it, and the fields
# before nonce and deadline.
_INTENTS = {
    "Release": ("PurchaseEscrow", {"orderHash": "bytes32", "amount": "uint256"}),
    "Void": ("PurchaseEscrow", {"orderHash": "bytes32", "amount": "uint256"}),
    "Reclaim": ("PurchaseEscrow", {"orderHash": "bytes32"}),
    "Dispute": ("PurchaseEscrow", {"orderHash": "bytes32", "evidenceHash": "bytes32"}),
    "Evidence": (
        "PurchaseEscrow",
        {"party": "address", "orderHash": "bytes32", "evidenceHash": "bytes32"},
    ),
    "Acceptance": ("CreditBook", {"offerHash": "bytes32"}),
    "Draw": ("CreditBook", {"seller": "address", "amount": "uint256"}),
    "Holdback": ("CreditBook", {"seller": "address", "holdbackBps": "uint16"}),
    "Redemption": ("LenderPool", {"owner": "address", "shares": "uint256"}),
}
_NAMES = {
    "PurchaseEscrow": (ESCROW_NAME, ESCROW_VERSION),
    "CreditBook": (BOOK_NAME, BOOK_VERSION),
    "LenderPool": (POOL_NAME, POOL_VERSION),
}
_DOMAIN = {
    "name": "string",
    "version": "string",
    "chainId": "uint256",
    "verifyingContract": "address",
}


def transfer_authorization_digest(
    *,
    chain_id: int,
    coin: str,
    sender: str,
    to: str,
    value: int,
    valid_after: int,
    valid_before: int,
    nonce: str,
) -> bytes:
    """Return what `sender` signs for the coin's EIP-3009 transferWithAuthorization."""
    values = (_TRANSFER_TYPEHASH, sender, to, value, valid_after, valid_before, _word(nonce))
    return _coin_digest(chain_id, coin, values)


def receive_authorization_digest(
    *,
    chain_id: int,
    coin: str,
    sender: str,
    to: str,
    value: int,
    valid_after: int,
    valid_before: int,
    nonce: str,
) -> bytes:
    """Return what `sender` signs for the coin's EIP-3009 receiveWithAuthorization.

    A purchase is paid with `to` the escrow and `nonce` the order hash; a refund with `nonce` the
    refund nonce.
    """
    values = (_RECEIVE_TYPEHASH, sender, to, value, valid_after, valid_before, _word(nonce))
    return _coin_digest(chain_id, coin, values)


def order_hash(*, chain_id: int, escrow: str, terms: Mapping[str, Any]) -> str:
    """Return the order hash of the terms, as the escrow's `hashTerms` does.

    Raises:
        KeyError: a field of the terms is missing.
        eth_abi.exceptions.EncodingError: a value does not fit its type.
    """
    values = [terms[name] for name in _TERMS]
    values[-1] = _word(values[-1])
    struct_hash = keccak(encode(_TERMS_TYPES, (_TERMS_TYPEHASH, *values)))
    domain = _domain_separator(ESCROW_NAME, ESCROW_VERSION, chain_id, escrow)
    return "0x" + _digest(domain, struct_hash).hex()


def refund_nonce(order_hash: str, refund_ref: str) -> str:
    """Return the EIP-3009 nonce that pays the refund `refund_ref` of an order, and no other."""
    return "0x" + keccak(_word(order_hash) + _word(refund_ref)).hex()


def offer_hash(*, chain_id: int, book: str, offer: Mapping[str, Any]) -> str:
    """Return the hash of a credit offer, as the credit book's `hashOffer` does; it is also what
    the underwriter signs.

    Raises:
        KeyError: a field of the offer is missing.
        eth_abi.exceptions.EncodingError: a value does not fit its type.
    """
    values = [
        _word(offer[name]) if kind == "bytes32" else offer[name] for name, kind in _OFFER.items()
    ]
    struct_hash = keccak(encode(_OFFER_TYPES, (_OFFER_TYPEHASH, *values)))
    return "0x" + _digest(_book_domain(chain_id, book), struct_hash).hex()


def repayment_nonce(seller: str, ref: str) -> str:
    """Return the EIP-3009 nonce that pays the repayment `ref` of a seller's line, and no other."""
    return "0x" + keccak(encode(("address", "bytes32"), (seller, _word(ref)))).hex()


def intent_nonce(ref: str) -> int:
    """Return the nonce of an intent that stands alone: the first of a key that `ref` names.

    A nonce is a key (upper 192 bits) and a counter from 0 (lower 64 bits). With a key of its own an
    intent waits for no other, and the contract takes it once.
    """
    return int.from_bytes(_word(ref)[:24]) << 64


def contract_of(intent: str) -> str:
    """Return the contract that takes an intent of this primary type. Raises KeyError."""
    return _INTENTS[intent][0]


def intent_digest(*, chain_id: int, contract: str, kind: str, message: Mapping[str, Any]) -> bytes:
    """Return what a member signs for others to send.

    Args:
        contract: address of the contract that takes it.
        kind: the primary type: Release, Void, Reclaim, Dispute or Evidence of an order; Acceptance,
            Draw or Holdback of a credit line; Redemption of shares of the pool.
        message: the fields of the kind, with nonce and deadline.

    Raises:
        KeyError: there is no such kind, or a field is missing.
        eth_abi.exceptions.EncodingError: a value does not fit its type.
    """
    typehash, fields = _intent_type(kind)
    values = [
        _word(message[name]) if type_ == "bytes32" else message[name]
        for name, type_ in fields.items()
    ]
    struct = encode(("bytes32", *fields.values()), (typehash, *values))
    domain = _domain_separator(*_NAMES[contract_of(kind)], chain_id, contract)
    return _digest(domain, keccak(struct))


def intent_json(
    *, chain_id: int, contract: str, kind: str, message: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the same as EIP-712 JSON, as wallets take it (`eth_signTypedData_v4`); numbers of the
    message as decimal strings.

    Raises:
        KeyError: there is no such kind, or a field is missing.
    """
    _, fields = _intent_type(kind)
    return _json(_NAMES[contract_of(kind)], chain_id, contract, kind, fields, message)


def authorization_json(
    *,
    chain_id: int,
    coin: str,
    receive: bool,
    sender: str,
    to: str,
    value: int,
    valid_after: int,
    valid_before: int,
    nonce: str,
) -> dict[str, Any]:
    """Return an EIP-3009 authorization as EIP-712 JSON.

    Args:
        receive: ReceiveWithAuthorization, which only `to` can use; else TransferWithAuthorization.
    """
    kind = "ReceiveWithAuthorization" if receive else "TransferWithAuthorization"
    message = {
        "from": sender,
        "to": to,
        "value": value,
        "validAfter": valid_after,
        "validBefore": valid_before,
        "nonce": nonce,
    }
    return _json((COIN_NAME, COIN_VERSION), chain_id, coin, kind, _AUTHORIZATION, message)


def _json(
    name: tuple[str, str],
    chain_id: int,
    contract: str,
    kind: str,
    fields: Mapping[str, str],
    message: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "types": {
            of: [{"name": field, "type": type_} for field, type_ in members.items()]
            for of, members in {"EIP712Domain": _DOMAIN, kind: fields}.items()
        },
        "primaryType": kind,
        "domain": {
            "name": name[0],
            "version": name[1],
            "chainId": chain_id,
            "verifyingContract": contract,
        },
        "message": {field: str(message[field]) for field in fields},
    }


@cache
def _intent_type(kind: str) -> tuple[bytes, dict[str, str]]:
    """The type hash and all fields of an intent."""
    fields = {**_INTENTS[kind][1], "nonce": "uint256", "deadline": "uint256"}
    text = f"{kind}({','.join(f'{type_} {name}' for name, type_ in fields.items())})"
    return keccak(text=text), fields


def _book_domain(chain_id: int, book: str) -> bytes:
    return _domain_separator(BOOK_NAME, BOOK_VERSION, chain_id, book)


def _coin_digest(chain_id: int, coin: str, values: tuple[Any, ...]) -> bytes:
    struct_hash = keccak(encode(_AUTHORIZATION_TYPES, values))
    return _digest(_domain_separator(COIN_NAME, COIN_VERSION, chain_id, coin), struct_hash)


@lru_cache(maxsize=64)
def _domain_separator(name: str, version: str, chain_id: int, contract: str) -> bytes:
    types = ("bytes32", "bytes32", "bytes32", "uint256", "address")
    values = (_DOMAIN_TYPEHASH, keccak(text=name), keccak(text=version), chain_id, contract)
    return keccak(encode(types, values))


def _digest(domain_separator: bytes, struct_hash: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain_separator + struct_hash)


def _word(value: str) -> bytes:
    word = bytes.fromhex(value.removeprefix("0x"))
    if len(word) != 32:
        raise ValueError(f"32 bytes of hex, not {len(word)}: {value}")
    return word
