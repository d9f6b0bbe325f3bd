"""The EIP-712 messages of the coin and the escrow, hashed without asking a chain.

They say what `PlatformCoin` and `PurchaseEscrow` compute on chain; tests compare the two. Values
are as in `node.chain.codec`: addresses and bytes32 as 0x-prefixed hex, numbers as int.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from eth_abi.abi import default_codec
from eth_utils.crypto import keccak

COIN_NAME = "Plaza Coin"
COIN_VERSION = "1"
ESCROW_NAME = "Plaza PurchaseEscrow"
ESCROW_VERSION = "1"

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
    struct_hash = keccak(default_codec.encode(_TERMS_TYPES, (_TERMS_TYPEHASH, *values)))
    domain = _domain_separator(ESCROW_NAME, ESCROW_VERSION, chain_id, escrow)
    return "0x" + _digest(domain, struct_hash).hex()


def refund_nonce(order_hash: str, refund_ref: str) -> str:
    """Return the EIP-3009 nonce that pays the refund `refund_ref` of an order, and no other."""
    return "0x" + keccak(_word(order_hash) + _word(refund_ref)).hex()


def _coin_digest(chain_id: int, coin: str, values: tuple[Any, ...]) -> bytes:
    struct_hash = keccak(default_codec.encode(_AUTHORIZATION_TYPES, values))
    return _digest(_domain_separator(COIN_NAME, COIN_VERSION, chain_id, coin), struct_hash)


@lru_cache(maxsize=64)
def _domain_separator(name: str, version: str, chain_id: int, contract: str) -> bytes:
    types = ("bytes32", "bytes32", "bytes32", "uint256", "address")
    values = (_DOMAIN_TYPEHASH, keccak(text=name), keccak(text=version), chain_id, contract)
    return keccak(default_codec.encode(types, values))


def _digest(domain_separator: bytes, struct_hash: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain_separator + struct_hash)


def _word(value: str) -> bytes:
    word = bytes.fromhex(value.removeprefix("0x"))
    if len(word) != 32:
        raise ValueError(f"32 bytes of hex, not {len(word)}: {value}")
    return word
