"""What members sign: EIP-3009 authorizations and the contracts' intents (EIP-712), made for managed
accounts, checked for external ones.

A wrong signature is refused here, before it costs an operation. Only keys can sign (65 bytes): the
EIP-1271 signature of a contract account is for the chain to judge, and such an account acts on
chain by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    intent_nonce,
    order_intent_digest,
    order_intent_json,
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
        valid_before: of an authorization made here.
        now: the chain's time.

    Raises:
        Problem: signature_required, signature_invalid, invalid_request.
    """
    if account.managed_index is None:
        return checked(context, payment, given, now)
    if given is not None:
        raise _managed(account)
    signer = context.seed.managed(account.managed_index)
    signature = signer.sign_hash(payment.digest(context, 0, valid_before))
    return SignedAuthorization(
        signature="0x" + signature.hex(), valid_after=0, valid_before=valid_before
    )


def checked(
    context: Context, payment: Payment, given: SignedAuthorization | None, now: int
) -> SignedAuthorization:
    """Return a member's own authorization once it is sure that the coin will accept it.

    Raises:
        Problem: signature_required (with what is to be signed), signature_invalid.
    """
    if given is None:
        kind = "ReceiveWithAuthorization" if payment.receive else "TransferWithAuthorization"
        raise Problem(
            "signature_required",
            f"{payment.sender} has to sign {kind} with these values (EIP-3009)",
            param="signature",
            to_sign={
                "primary_type": kind,
                "from": payment.sender,
                "to": payment.to,
                "value": str(payment.amount),
                "nonce": payment.nonce,
            },
        )
    if not given.valid_after < now < given.valid_before:
        raise Problem(
            "signature_invalid",
            f"the authorization is valid between {given.valid_after} and {given.valid_before}, and"
            f" the chain's time is {now}",
            param="valid_after" if now <= given.valid_after else "valid_before",
        )
    digest = payment.digest(context, given.valid_after, given.valid_before)
    signer = _signer_of(digest, bytes.fromhex(given.signature[2:]))
    if signer != payment.sender:
        raise Problem(
            "signature_invalid",
            f"the signature is {'nobody' if signer is None else signer}'s for this payment, not"
            f" {payment.sender}'s",
            param="signature",
        )
    return given


@dataclass(frozen=True)
class Intent:
    """What a member wants a contract to do.

    Attributes:
        kind: primary type of the EIP-712 message.
        signer: the member's address.
        message: what is signed, without the deadline; amounts as decimal strings.
        digest: the hash that is signed, by the deadline.
        typed_data: the whole message as EIP-712 JSON, by the deadline; None: not made.
    """

    kind: str
    signer: str
    message: Mapping[str, str]
    digest: Callable[[int], bytes]
    typed_data: Callable[[int], dict[str, Any]] | None = None


def intent_for(
    context: Context,
    account: Row[Any],
    intent: Intent,
    given: SignedIntent | None,
    *,
    deadline: int,
    now: int,
) -> SignedIntent:
    """Return an account's signed intent.

    Args:
        given: what came with the request; for an external account only.
        deadline: of an intent signed here; it is valid before that.
        now: the chain's time.

    Raises:
        Problem: signature_required (with what is to be signed), signature_invalid, invalid_request.
    """
    if account.managed_index is not None:
        if given is not None:
            raise _managed(account)
        signature = context.seed.managed(account.managed_index).sign_hash(intent.digest(deadline))
        return SignedIntent(signature="0x" + signature.hex(), deadline=deadline)
    if given is None:
        to_sign: dict[str, Any] = {"primary_type": intent.kind, **intent.message}
        if intent.typed_data is not None:
            # With a deadline that will do; its signer may take another one.
            to_sign["typed_data"] = intent.typed_data(deadline)
        raise Problem(
            "signature_required",
            f"{intent.signer} has to sign {intent.kind} with these values and a deadline (EIP-712)",
            param="signed",
            to_sign=to_sign,
        )
    if now >= given.deadline:
        raise Problem(
            "signature_invalid",
            f"the deadline of the signature is {given.deadline}, and the chain's time is {now}",
            param="signed.deadline",
        )
    signer = _signer_of(intent.digest(given.deadline), bytes.fromhex(given.signature[2:]))
    if signer != intent.signer:
        raise Problem(
            "signature_invalid",
            f"the signature is {'nobody' if signer is None else signer}'s for this {intent.kind},"
            f" not {intent.signer}'s",
            param="signed.signature",
        )
    return given


def order_intent_for(
    context: Context,
    account: Row[Any],
    kind: str,
    ref: str,
    fields: Mapping[str, str | int],
    given: SignedIntent | None,
    *,
    now: int,
) -> tuple[int, SignedIntent]:
    """Return what payer or payee wants the escrow to do with an order, signed, and its nonce.

    Args:
        kind: Release, Void, Reclaim, Dispute or Evidence.
        ref: names what is done: it has a nonce of its own, so the escrow takes it once.
        fields: of the message, without nonce and deadline.
        given: what came with the request; for an external account only.
        now: the chain's time.

    Raises:
        Problem: signature_required (with what is to be signed), signature_invalid, invalid_request.
    """
    nonce = intent_nonce(ref)
    chain_id, escrow = context.manifest.chain_id, context.escrow_address

    def digest(deadline: int) -> bytes:
        message = {**fields, "nonce": nonce, "deadline": deadline}
        return order_intent_digest(chain_id=chain_id, escrow=escrow, kind=kind, message=message)

    def typed_data(deadline: int) -> dict[str, Any]:
        message = {**fields, "nonce": nonce, "deadline": deadline}
        return order_intent_json(chain_id=chain_id, escrow=escrow, kind=kind, message=message)

    words = {name: str(value) for name, value in fields.items()} | {"nonce": str(nonce)}
    intent = Intent(kind, account.address, words, digest, typed_data)
    managed = account.managed_index is not None
    deadline = now + (SIGNED_FOR if managed else _SIGN_WITHIN)
    return nonce, intent_for(context, account, intent, given, deadline=deadline, now=now)


def _managed(account: Row[Any]) -> Problem:
    return Problem(
        "invalid_request",
        f"the key of the account {account.id} is managed by the node, which signs for it",
        param="signature",
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
