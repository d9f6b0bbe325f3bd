"""Helpers of the escrow's tests: build terms, hash them, sign payments.

Hashes are made by eth_account from the types as the documentation states them, independently of
the contract.
"""

from __future__ import annotations

from typing import NamedTuple

from eth_abi import encode
from eth_account.messages import SignableMessage, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils import keccak

from tests.contracts.chain import CHAIN_ID

DAY = 86_400
FOREVER = 2**256 - 1

TERMS_TYPE = (
    "address payer,address payee,address operator,address feeReceiver,uint96 maxAmount,"
    "uint16 minFeeBps,uint16 maxFeeBps,uint40 authorizeBefore,uint40 reclaimAfter,"
    "uint32 disputeWindow,bytes32 orderRef"
)
RECEIVE_TYPE = (
    "address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce"
)


class Status:
    """The status of an order, as the contract numbers it."""

    NONE, AUTHORIZED, DELIVERED, CLOSED = range(4)


class Terms(NamedTuple):
    """The terms of a purchase in the order of the contract's struct."""

    payer: str
    payee: str
    operator: str
    feeReceiver: str  # noqa: N815
    maxAmount: int  # noqa: N815
    minFeeBps: int  # noqa: N815
    maxFeeBps: int  # noqa: N815
    authorizeBefore: int  # noqa: N815
    reclaimAfter: int  # noqa: N815
    disputeWindow: int  # noqa: N815
    orderRef: bytes  # noqa: N815


def order_hash(terms: Terms, escrow: str, chain_id: int = CHAIN_ID) -> bytes:
    domain = _domain("Plaza PurchaseEscrow", escrow, chain_id)
    return _digest(_typed_data(domain, "Terms", TERMS_TYPE, terms._asdict()))


def refund_nonce(order: bytes, refund_ref: bytes) -> bytes:
    return keccak(encode(["bytes32", "bytes32"], [order, refund_ref]))


def sign_receive(
    signer: LocalAccount,
    coin: str,
    to: str,
    value: int,
    nonce: bytes,
    *,
    payer: str | None = None,
    valid_after: int = 0,
    valid_before: int = FOREVER,
    chain_id: int = CHAIN_ID,
) -> bytes:
    """Sign EIP-3009 ReceiveWithAuthorization for `payer` (by default the signer itself)."""
    message = {
        "from": payer or signer.address,
        "to": to,
        "value": value,
        "validAfter": valid_after,
        "validBefore": valid_before,
        "nonce": nonce,
    }
    domain = _domain("Plaza Coin", coin, chain_id)
    typed = _typed_data(domain, "ReceiveWithAuthorization", RECEIVE_TYPE, message)
    return bytes(signer.sign_message(typed).signature)


def _domain(name: str, contract: str, chain_id: int) -> dict[str, object]:
    return {"name": name, "version": "1", "chainId": chain_id, "verifyingContract": contract}


def _typed_data(
    domain: dict[str, object], name: str, fields: str, message: dict[str, object]
) -> SignableMessage:
    types = [
        {"type": kind, "name": field}
        for kind, field in (declared.split() for declared in fields.split(","))
    ]
    return encode_typed_data(domain, {name: types}, message)


def _digest(message: SignableMessage) -> bytes:
    return keccak(b"\x19" + message.version + message.header + message.body)
