"""The EIP-712 messages of the contracts, hashed without asking a chain.

They say what `PlatformCoin`, `PurchaseEscrow`, `CreditBook` and `LenderPool` compute on chain;
tests compare the two. Values
are as in `node.chain.codec`: addresses and bytes32 as 0x-prefixed hex, numbers as int.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
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
_AUTHORIZATION_FIELDS = (
    "(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)
_TRANSFER_TYPEHASH = keccak(text="TransferWithAuthorization" + _AUTHORIZATION_FIELDS)
_RECEIVE_TYPEHASH = keccak(text="ReceiveWithAuthorization" + _AUTHORIZATION_FIELDS)
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
_ACCEPTANCE_TYPEHASH = keccak(text="Acceptance(bytes32 offerHash,uint256 nonce,uint256 deadline)")
_DRAW_TYPEHASH = keccak(text="Draw(address seller,uint256 amount,uint256 nonce,uint256 deadline)")
_REDEMPTION_TYPEHASH = keccak(
    text="Redemption(address owner,uint256 shares,uint256 nonce,uint256 deadline)"
)

# What payer and payee may sign for an order, by primary type.
_ORDER_INTENTS = {
    "Release": {"orderHash": "bytes32", "amount": "uint256"},
    "Void": {"orderHash": "bytes32", "amount": "uint256"},
    "Reclaim": {"orderHash": "bytes32"},
    "Dispute": {"orderHash": "bytes32", "evidenceHash": "bytes32"},
    "Evidence": {"party": "address", "orderHash": "bytes32", "evidenceHash": "bytes32"},
}
_NONCE_AND_DEADLINE = {"nonce": "uint256", "deadline": "uint256"}
_DOMAIN = {
    "name": "string",
    "version": "string",
    "chainId": "uint256",
    "verifyingContract": "address",
}

_MEMBER_INTENT_TYPES = ("bytes32", "address", "uint256", "uint256", "uint256")


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


def transfer_authorization_message(
    *,
    chain_id: int,
    coin: str,
    sender: str,
    to: str,
    value: int,
    valid_after: int,
    valid_before: int,
    nonce: str,
) -> dict[str, Any]:
    """Return the same as a wallet takes it (eth_signTypedData_v4); uint256 as decimal strings."""
    words = _AUTHORIZATION_FIELDS.strip("()").split(",")
    fields = [dict(zip(("type", "name"), word.split(" "), strict=True)) for word in words]
    domain = {"name": "string", "version": "string", "chainId": "uint256"}
    domain["verifyingContract"] = "address"
    return {
        "types": {
            "EIP712Domain": [{"type": type_, "name": name} for name, type_ in domain.items()],
            "TransferWithAuthorization": fields,
        },
        "primaryType": "TransferWithAuthorization",
        "domain": {
            "name": COIN_NAME,
            "version": COIN_VERSION,
            "chainId": chain_id,
            "verifyingContract": coin,
        },
        "message": {
            "from": sender,
            "to": to,
            "value": str(value),
            "validAfter": str(valid_after),
            "validBefore": str(valid_before),
            "nonce": nonce,
        },
    }


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


def acceptance_digest(
    *, chain_id: int, book: str, offer_hash: str, nonce: int, deadline: int
) -> bytes:
    """Return what a seller signs to accept a credit offer."""
    types = ("bytes32", "bytes32", "uint256", "uint256")
    values = (_ACCEPTANCE_TYPEHASH, _word(offer_hash), nonce, deadline)
    return _digest(_book_domain(chain_id, book), keccak(encode(types, values)))


def draw_digest(
    *, chain_id: int, book: str, seller: str, amount: int, nonce: int, deadline: int
) -> bytes:
    """Return what a seller signs to draw on its credit line."""
    values = (_DRAW_TYPEHASH, seller, amount, nonce, deadline)
    struct_hash = keccak(encode(_MEMBER_INTENT_TYPES, values))
    return _digest(_book_domain(chain_id, book), struct_hash)


def redemption_digest(
    *, chain_id: int, pool: str, owner: str, shares: int, nonce: int, deadline: int
) -> bytes:
    """Return what a lender signs to give shares of the pool back for coin."""
    values = (_REDEMPTION_TYPEHASH, owner, shares, nonce, deadline)
    struct_hash = keccak(encode(_MEMBER_INTENT_TYPES, values))
    return _digest(_domain_separator(POOL_NAME, POOL_VERSION, chain_id, pool), struct_hash)


def repayment_nonce(seller: str, ref: str) -> str:
    """Return the EIP-3009 nonce that pays the repayment `ref` of a seller's line, and no other."""
    return "0x" + keccak(encode(("address", "bytes32"), (seller, _word(ref)))).hex()


def intent_nonce(ref: str) -> int:
    """Return the nonce of an intent that stands alone: the first of a key that `ref` names.

    A nonce is a key (upper 192 bits) and a counter from 0 (lower 64 bits). With a key of its own an
    intent waits for no other, and the contract takes it once.
    """
    return int.from_bytes(_word(ref)[:24]) << 64


def order_intent_digest(
    *, chain_id: int, escrow: str, kind: str, message: Mapping[str, Any]
) -> bytes:
    """Return what payer or payee signs to act on an order: Release, Void, Reclaim, Dispute or
    Evidence.

    Args:
        message: the fields of the kind, with nonce and deadline.

    Raises:
        KeyError: there is no such kind, or a field is missing.
        eth_abi.exceptions.EncodingError: a value does not fit its type.
    """
    fields = _order_intent_fields(kind)
    text = f"{kind}({','.join(f'{type_} {name}' for name, type_ in fields.items())})"
    values = [
        _word(message[name]) if type_ == "bytes32" else message[name]
        for name, type_ in fields.items()
    ]
    struct = encode(("bytes32", *fields.values()), (keccak(text=text), *values))
    domain = _domain_separator(ESCROW_NAME, ESCROW_VERSION, chain_id, escrow)
    return _digest(domain, keccak(struct))


def order_intent_json(
    *, chain_id: int, escrow: str, kind: str, message: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the same as EIP-712 JSON, as wallets take it (`eth_signTypedData_v4`); numbers of the
    message as decimal strings.

    Raises:
        KeyError: there is no such kind, or a field is missing.
    """
    fields = _order_intent_fields(kind)
    types = {"EIP712Domain": _DOMAIN, kind: fields}
    return {
        "types": {
            name: [{"name": field, "type": type_} for field, type_ in members.items()]
            for name, members in types.items()
        },
        "primaryType": kind,
        "domain": {
            "name": ESCROW_NAME,
            "version": ESCROW_VERSION,
            "chainId": chain_id,
            "verifyingContract": escrow,
        },
        "message": {name: str(message[name]) for name in fields},
    }


def _order_intent_fields(kind: str) -> dict[str, str]:
    return {**_ORDER_INTENTS[kind], **_NONCE_AND_DEADLINE}


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
