"""Paying a purchase from a wallet: public, for whoever was given the purchase's id."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.authorizations import checked
from node.bridge.context import Context, Ctx
from node.bridge.operations import unsettled
from node.bridge.problems import documented
from node.bridge.purchases import (
    authorize_purchase,
    contract_terms,
    find_public_purchase,
    payment_of,
)
from node.bridge.relaying import Prefer, relayed
from node.bridge.rows import table
from node.bridge.values import Amount, Output, SignedAuthorization
from node.store import models

router = APIRouter(prefix="/pay", tags=["public"])


class Terms(Output):
    """What the buyer's signature binds the money to; named as in the contract."""

    payer: str
    payee: str
    operator: str
    feeReceiver: str
    maxAmount: str
    minFeeBps: int
    maxFeeBps: int
    authorizeBefore: int
    reclaimAfter: int
    disputeWindow: int
    orderRef: str


class Invoice(Output):
    """All that a wallet needs to check, show and sign a purchase."""

    purchase_id: str
    order_id: str
    merchant: str
    status: str
    chain_id: int
    escrow: str
    coin: str
    amount: Amount
    order_hash: str = Field(description="the EIP-712 hash of the terms, and the nonce to sign")
    terms: Terms

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "purchase_id": "pur_01980ab2c3d97bbb8a9b0c1d2e3f4a5b",
                    "order_id": "A-1001",
                    "merchant": "Demo shop",
                    "status": "created",
                    "chain_id": 4242,
                    "escrow": "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
                    "coin": "0xde709f2102306220921060314715629080e2fb77",
                    "amount": "12500000",
                    "order_hash": "0x" + "9c" * 32,
                    "terms": {
                        "payer": "0x52908400098527886E0F7030069857D2E4169EE7",
                        "payee": "0x27b1fdb04752bbc536007a920d24acb045561c26",
                        "operator": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
                        "feeReceiver": "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
                        "maxAmount": "12500000",
                        "minFeeBps": 250,
                        "maxFeeBps": 250,
                        "authorizeBefore": 1770455700,
                        "reclaimAfter": 1780218900,
                        "disputeWindow": 604800,
                        "orderRef": "0x" + "4e" * 32,
                    },
                }
            ]
        },
    )


class PurchasePayment(SignedAuthorization):
    """EIP-3009 ReceiveWithAuthorization from payer to escrow; its nonce is the order hash."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"signature": "0x" + "1b" * 65, "valid_after": 0, "valid_before": 1770455700}
            ]
        }
    )


# ---------------------------------------------------------------------------------- service


def pay(
    session: Session, context: Context, purchase_id: str, given: SignedAuthorization, now: int
) -> list[str]:
    """Queue the buyer's own payment; the same one sent again changes nothing.

    Returns:
        The operations that carry it out.

    Raises:
        Problem: as `authorize_purchase`, signature first: to others the state tells nothing.
    """
    purchase = find_public_purchase(session, purchase_id)
    payment = payment_of(context, contract_terms(purchase), purchase.order_hash)
    checked(context, payment, given, now, within="")
    under_way = [
        operation.id
        for operation in unsettled(session, "purchase", purchase_id)
        if operation.kind == "purchase.authorize"
    ]
    if under_way:
        return under_way
    return list(authorize_purchase(session, context, purchase, given, now).operations)


def show_invoice(session: Session, context: Context, purchase_id: str) -> Invoice:
    purchase = find_public_purchase(session, purchase_id)
    merchants = table(models.Merchant)
    name = session.scalar(select(merchants.c.name).where(merchants.c.id == purchase.merchant_id))
    return Invoice(
        purchase_id=purchase.id,
        order_id=purchase.order_id,
        merchant=name or "",
        status=purchase.status,
        chain_id=context.manifest.chain_id,
        escrow=context.escrow_address,
        coin=context.coin_address,
        amount=purchase.amount,
        order_hash=purchase.order_hash,
        terms=Terms(**purchase.terms),
    )


# -------------------------------------------------------------------------------- endpoints


@router.get("/{purchase_id}", response_model=Invoice, responses=documented("not_found"))
async def get(context: Ctx, purchase_id: str) -> Response:
    """What is to be paid, to whom, and on what terms."""
    return answer(
        await context.store.read(lambda session: show_invoice(session, context, purchase_id))
    )


@router.post(
    "/{purchase_id}",
    status_code=202,
    response_model=Invoice,
    responses=documented(
        "not_found",
        "invalid_state",
        "terms_expired",
        "account_not_active",
        "signature_invalid",
        "insufficient_funds",
        "chain_unavailable",
    ),
)
async def relay(
    context: Ctx,
    purchase_id: str,
    body: PurchasePayment,
    prefer: Prefer = None,
) -> Response:
    """Relay the buyer's signature. The signature itself makes this safe to send again."""
    # Guessed ids get no further than this.
    await context.store.read(lambda session: find_public_purchase(session, purchase_id))
    now = await context.clock.ask()
    return await relayed(
        context,
        ("purchase", purchase_id),
        lambda session: pay(session, context, purchase_id, body, now),
        lambda session: show_invoice(session, context, purchase_id),
        prefer,
    )
