"""What members sign: EIP-3009 authorizations and the contracts' intents (EIP-712), made for managed
accounts, checked for external ones.

What an external account has to sign is told in one way for every request: 422 `signature_required`
with `typed_data`, the whole EIP-712 message, and `param`, the field in which its signature comes.

A wrong signature is refused here, before it costs an operation. Only keys can sign (65 bytes): the
EIP-1271 signature of a contract account is for the chain to judge, and such an account acts on
chain by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import coincurve
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from sqlalchemy.engine import Row

from node.bridge.context import Context
from node.bridge.credit import SIGNED_FOR
from node.bridge.problems import Problem
from node.bridge.values import SignedAuthorization, SignedIntent
from node.chain.typed_data import (
    authorization_json,
    contract_of,
    intent_digest,
    intent_json,
    intent_nonce,
    receive_authorization_digest,
    transfer_authorization_digest,
)
from node.settings import DAY

_SIGN_WITHIN = DAY  # the deadline proposed to an external account
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


@dataclass(frozen=True)
class Payment:
    """What an authorization is for.

    Attributes:
        receive: ReceiveWithAuthorization, which only `to` can use; else TransferWithAuthorization.
    """

    sender: str
    to: str
    amount: int
    nonce: str
    receive: bool

    def digest(self, context: Context, valid_after: int, valid_before: int) -> bytes:
        digest = receive_authorization_digest if self.receive else transfer_authorization_digest
        return digest(
            chain_id=context.manifest.chain_id,
            coin=context.coin_address,
            sender=self.sender,
            to=self.to,
            value=self.amount,
            valid_after=valid_after,
            valid_before=valid_before,
            nonce=self.nonce,
        )

    def typed_data(self, context: Context, valid_before: int) -> dict[str, Any]:
        """The same for a wallet, valid from now on."""
        return authorization_json(
            chain_id=context.manifest.chain_id,
            coin=context.coin_address,
            receive=self.receive,
            sender=self.sender,
            to=self.to,
            value=self.amount,
            valid_after=0,
            valid_before=valid_before,
            nonce=self.nonce,
        )


def authorization_for(
    context: Context,
    account: Row[Any],
    payment: Payment,
    given: SignedAuthorization | None,
    *,
    valid_before: int,
    now: int,
) -> SignedAuthorization:
    """Return the authorization of a payment by an account.

    Args:
        given: what came with the request; for an external account only.
        valid_before: of an authorization made here, or proposed to the owner.
        now: the chain's time.

    Raises:
        Problem: signature_required, signature_invalid, invalid_request.
    """
    if account.managed_index is None:
        if given is None:
            raise unsigned(payment.typed_data(context, valid_before), "authorization")
        return checked(context, payment, given, now)
    if given is not None:
        raise _managed(account, "authorization")
    signer = context.seed.managed(account.managed_index)
    signature = signer.sign_hash(payment.digest(context, 0, valid_before))
    return SignedAuthorization(
        signature="0x" + signature.hex(), valid_after=0, valid_before=valid_before
    )


def checked(
    context: Context,
    payment: Payment,
    given: SignedAuthorization,
    now: int,
    *,
    within: str = "authorization.",
) -> SignedAuthorization:
    """Return a member's own authorization once it is sure that the coin will accept it.

    Args:
        within: where its fields are in the request, for `param`.

    Raises:
        Problem: signature_invalid.
    """
    if not given.valid_after < now < given.valid_before:
        raise Problem(
            "signature_invalid",
            f"the authorization is valid between {given.valid_after} and {given.valid_before}, and"
            f" the chain's time is {now}",
            param=within + ("valid_after" if now <= given.valid_after else "valid_before"),
        )
    digest = payment.digest(context, given.valid_after, given.valid_before)
    signer = _signer_of(digest, bytes.fromhex(given.signature[2:]))
    if signer != payment.sender:
        raise Problem(
            "signature_invalid",
            f"the signature is {'nobody' if signer is None else signer}'s for this payment, not"
            f" {payment.sender}'s",
            param=f"{within}signature",
        )
    return given


def intent_for(
    context: Context,
    account: Row[Any],
    kind: str,
    ref: str,
    fields: Mapping[str, str | int],
    given: SignedIntent | None,
    *,
    now: int,
) -> tuple[int, SignedIntent]:
    """Return what a member wants a contract to do, signed, and its nonce.

    Args:
        kind: the primary type, which `node.chain.typed_data` knows.
        ref: names what is done: it has a nonce of its own, so the contract takes it once.
        fields: of the message, without nonce and deadline.
        given: what came with the request; for an external account only.
        now: the chain's time.

    Raises:
        Problem: signature_required (with what is to be signed), signature_invalid, invalid_request.
    """
    nonce = intent_nonce(ref)
    of: dict[str, Any] = {
        "chain_id": context.manifest.chain_id,
        "contract": context.manifest.contracts[contract_of(kind)].address,
        "kind": kind,
    }
    message: dict[str, Any] = {**fields, "nonce": nonce}
    if account.managed_index is not None:
        if given is not None:
            raise _managed(account, "signed")
        deadline = now + SIGNED_FOR
        signer = context.seed.managed(account.managed_index)
        digest = intent_digest(**of, message={**message, "deadline": deadline})
        signature = "0x" + signer.sign_hash(digest).hex()
        return nonce, SignedIntent(signature=signature, deadline=deadline)
    if given is None:
        # With a deadline that will do; its signer may take another one.
        message["deadline"] = now + _SIGN_WITHIN
        raise unsigned(intent_json(**of, message=message), "signed")
    if now >= given.deadline:
        raise Problem(
            "signature_invalid",
            f"the deadline of the signature is {given.deadline}, and the chain's time is {now}",
            param="signed.deadline",
        )
    digest = intent_digest(**of, message={**message, "deadline": given.deadline})
    owner = _signer_of(digest, bytes.fromhex(given.signature[2:]))
    if owner != account.address:
        raise Problem(
            "signature_invalid",
            f"the signature is {'nobody' if owner is None else owner}'s for this {kind}, not"
            f" {account.address}'s",
            param="signed.signature",
        )
    return nonce, given


def unsigned(typed_data: dict[str, Any], param: str) -> Problem:
    """The refusal that says what an owner has to sign, and where its signature comes."""
    return Problem(
        "signature_required",
        f"the account's owner has to sign `typed_data` (EIP-712); send the signature in {param!r}",
        param=param,
        typed_data=typed_data,
    )


def _managed(account: Row[Any], param: str) -> Problem:
    return Problem(
        "invalid_request",
        f"{param}: the key of the account {account.id} is managed by the node, which signs for it",
        param=param,
    )


def _signer_of(digest: bytes, signature: bytes) -> str | None:
    """The address that signed, or None where the coin would refuse the signature's form."""
    v = signature[64]
    if v not in (27, 28) or int.from_bytes(signature[32:64]) > _HALF_ORDER:
        return None
    try:
        key = coincurve.PublicKey.from_signature_and_message(
            signature[:64] + bytes([v - 27]), digest, hasher=None
        )
    except Exception:
        return None
    return str(to_checksum_address(keccak(key.format(compressed=False)[1:])[-20:]))
