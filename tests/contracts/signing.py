"""Signatures a member gives, made by eth-account's own EIP-712 encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from web3.contract import Contract

from tests.contracts.chain import CHAIN_ID

_TRANSFER_FIELDS = [
    ("from", "address"),
    ("to", "address"),
    ("value", "uint256"),
    ("validAfter", "uint256"),
    ("validBefore", "uint256"),
    ("nonce", "bytes32"),
]
TYPES = {
    "TransferWithAuthorization": _TRANSFER_FIELDS,
    "ReceiveWithAuthorization": _TRANSFER_FIELDS,
    "CancelAuthorization": [("authorizer", "address"), ("nonce", "bytes32")],
    "Permit": [
        ("owner", "address"),
        ("spender", "address"),
        ("value", "uint256"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    ],
}


@dataclass(frozen=True)
class Signature:
    v: int
    r: bytes
    s: bytes

    @property
    def vrs(self) -> tuple[int, bytes, bytes]:
        return self.v, self.r, self.s

    @property
    def packed(self) -> bytes:
        """65 bytes r, s, v: the form of the overloads that take `bytes signature`."""
        return self.r + self.s + bytes([self.v])


def sign_typed(
    signer: LocalAccount,
    contract: Contract,
    primary_type: str,
    message: dict[str, Any],
    *,
    types: dict[str, list[tuple[str, str]]] = TYPES,
    name: str = "Plaza Coin",
    chain_id: int = CHAIN_ID,
) -> Signature:
    """Sign an EIP-712 message for a contract's domain (version "1")."""
    fields = [{"name": field, "type": type_} for field, type_ in types[primary_type]]
    signed = signer.sign_typed_data(
        {"name": name, "version": "1", "chainId": chain_id, "verifyingContract": contract.address},
        {primary_type: fields},
        message,
    )
    return Signature(signed.v, signed.r.to_bytes(32), signed.s.to_bytes(32))


def sign_transfer(
    signer: LocalAccount,
    coin: Contract,
    to: str,
    value: int,
    nonce: bytes,
    *,
    from_: str | None = None,
    valid_after: int = 0,
    valid_before: int = 2**256 - 1,
    receive: bool = False,
    **domain: Any,
) -> Signature:
    """EIP-3009: TransferWithAuthorization, or ReceiveWithAuthorization with `receive`.

    `from_` is the signer's own address unless a contract account (EIP-1271) signs by this key.
    """
    message = {
        "from": from_ or signer.address,
        "to": to,
        "value": value,
        "validAfter": valid_after,
        "validBefore": valid_before,
        "nonce": nonce,
    }
    primary_type = "ReceiveWithAuthorization" if receive else "TransferWithAuthorization"
    return sign_typed(signer, coin, primary_type, message, **domain)


def sign_cancel(
    signer: LocalAccount, coin: Contract, nonce: bytes, *, authorizer: str | None = None
) -> Signature:
    """EIP-3009: CancelAuthorization."""
    message = {"authorizer": authorizer or signer.address, "nonce": nonce}
    return sign_typed(signer, coin, "CancelAuthorization", message)


def sign_permit(
    signer: LocalAccount,
    coin: Contract,
    spender: str,
    value: int,
    nonce: int,
    *,
    owner: str | None = None,
    deadline: int = 2**256 - 1,
    **domain: Any,
) -> Signature:
    """EIP-2612: Permit."""
    message = {
        "owner": owner or signer.address,
        "spender": spender,
        "value": value,
        "nonce": nonce,
        "deadline": deadline,
    }
    return sign_typed(signer, coin, "Permit", message, **domain)
