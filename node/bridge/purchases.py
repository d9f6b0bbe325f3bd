"""Purchases: one order at one seller, paid through escrow.

The coin of a purchase stands in `escrow_orders`, by what the chain says. Whether an action is
possible is decided on that; the purchase's own status is for people, and for the shop's word that
the goods were shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import bindparam, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_account, find_active_pair, refuse_barred
from node.bridge.answers import answer
from node.bridge.auth import Caller, Reader
from node.bridge.authorizations import Payment, authorization_for, intent_for
from node.bridge.context import Context, Ctx
from node.bridge.credit import holdback_of
from node.bridge.events import record
from node.bridge.funds import refuse_unless_available
from node.bridge.idempotency import Outcome, PurchasesCommand
from node.bridge.operations import Call, queue, reference, refuse_if_pending
from node.bridge.pagination import Listed, ListQuery, page
from node.bridge.problems import Problem, documented, not_found
from node.bridge.rows import add, change, owned, table
from node.bridge.values import (
    MAX_TIME,
    Amount,
    AmountIn,
    Input,
    Name,
    Note,
    Output,
    Page,
    SignedAuthorization,
    SignedIntent,
    Time,
    rfc3339,
)
from node.chain.typed_data import order_hash as hash_of_terms
from node.chain.typed_data import refund_nonce
from node.keys import operator_name
from node.settings import DAY
from node.store import models
from node.store.models import DisputeState, OperationStatus, PurchaseStatus
from node.store.prepared import Prepared

router = APIRouter(prefix="/purchases", tags=["purchases"])

_MAX_SECONDS = 100 * 365 * DAY

_PURCHASES, _ORDERS = table(models.Purchase), table(models.EscrowOrder)
_OF_ORDER = ("held", "released", "fee", "repayment", "refunded", "voided", "reclaimed")
_NO_ORDER = dict.fromkeys((*_OF_ORDER, "dispute_deadline", "dispute"))
_FIND_ORDER = Prepared(
    owned(models.Purchase, bindparam("its_merchant")).where(
        _PURCHASES.c.order_id == bindparam("its_order")
    )
)
# A purchase and its escrow order in one row; the order's columns are None while there is none.
_WITH_ORDER = select(
    _PURCHASES,
    _ORDERS.c.dispute_deadline,
    _ORDERS.c.dispute,
    *(_ORDERS.c[name] for name in _OF_ORDER),
).outerjoin(_ORDERS, _ORDERS.c.order_hash == _PURCHASES.c.order_hash)
_BY_ID = _WITH_ORDER.where(_PURCHASES.c.id == bindparam("its_id"))
_FIND = Prepared(_BY_ID)
_FIND_OWN = Prepared(_BY_ID.where(_PURCHASES.c.merchant_id == bindparam("its_merchant")))

# ---------------------------------------------------------------------------------- schemas


class PurchaseRequest(Input):
    order_id: Name = Field(description="your order; there is one purchase of it")
    payer: str = Field(description="account id of the buyer")
    payee: str = Field(description="account id of the seller")
    amount: AmountIn
    fee_bps: int | None = Field(
        None, ge=0, le=10_000, description="in 1/10,000; without it: the merchant's"
    )
    dispute_window: int | None = Field(
        None, ge=0, le=2**32 - 1, description="seconds after delivery; without it: the merchant's"
    )
    authorize_within: int | None = Field(
        None, gt=0, le=_MAX_SECONDS, description="seconds from now, on the chain's clock"
    )
    reclaim_after: int | None = Field(
        None,
        gt=0,
        le=_MAX_SECONDS,
        description="seconds from now, from when the buyer may take back what was not delivered",
    )
    authorize: bool | None = Field(
        None, description="hold the coin at once; without it: if the node manages the payer's key"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "order_id": "A-1001",
                    "payer": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "payee": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "amount": "12500000",
                },
                {
                    "order_id": "A-1002",
                    "payer": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "payee": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "amount": "990000",
                    "fee_bps": 500,
                    "dispute_window": 172800,
                    "authorize_within": 3600,
                    "reclaim_after": 7776000,
                    "authorize": False,
                },
            ]
        }
    )


class AuthorizeRequest(Input):
    """Empty for a managed payer; the payer's own signature for an external one."""

    authorization: SignedAuthorization | None = Field(
        default=None, description="of an external payer; without it the refusal says what to sign"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {},
                {
                    "authorization": {
                        "signature": "0x" + "1b" * 65,
                        "valid_after": 0,
                        "valid_before": 1769936400,
                    }
                },
            ]
        }
    )


class ShipRequest(Input):
    tracking: Note | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"tracking": "DHL 00340434"}]})


class ReleaseRequest(Input):
    amount: AmountIn | None = Field(default=None, description="without it: all that is held")
    by: Literal["operator", "payer"] = Field(
        default="operator",
        description="the payer may release at any time, also in a dispute; the operator once the"
        " dispute window is over",
    )
    signed: SignedIntent | None = Field(
        default=None, description="of an external payer; without it the refusal says what to sign"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {},
                {"amount": "2500000"},
                {
                    "amount": "2500000",
                    "by": "payer",
                    "signed": {"signature": "0x" + "1b" * 65, "deadline": 1769936400},
                },
            ]
        }
    )


class VoidRequest(Input):
    amount: AmountIn | None = Field(default=None, description="without it: all that is held")
    by: Literal["operator", "payee"] = "operator"
    signed: SignedIntent | None = Field(
        default=None, description="of an external seller; without it the refusal says what to sign"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {},
                {"amount": "2500000"},
                {
                    "amount": "2500000",
                    "by": "payee",
                    "signed": {"signature": "0x" + "1b" * 65, "deadline": 1769936400},
                },
            ]
        }
    )


class ReclaimRequest(Input):
    """Empty for a managed payer; the payer's own signature for an external one."""

    signed: SignedIntent | None = Field(
        default=None, description="without it the refusal says what to sign"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {},
                {"signed": {"signature": "0x" + "1b" * 65, "deadline": 1769936400}},
            ]
        }
    )


class RefundRequest(Input):
    amount: AmountIn | None = Field(None, description="without it: all that can be refunded")
    reference: Name = Field(description="of this refund; counts once for the purchase")
    authorization: SignedAuthorization | None = Field(
        None, description="of an external seller; without it the refusal says what to sign"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"reference": "return 77"},
                {
                    "amount": "2500000",
                    "reference": "return 78",
                    "authorization": {
                        "signature": "0x" + "1b" * 65,
                        "valid_after": 0,
                        "valid_before": 1769936400,
                    },
                },
            ]
        }
    )


class PurchasesQuery(ListQuery):
    status: PurchaseStatus | None = None
    order_id: str | None = Field(None, max_length=120)


class Purchase(Output):
    id: str
    order_id: str
    payer: str
    payee: str
    amount: Amount
    fee_bps: int
    status: Literal[
        "created",
        "authorized",
        "shipped",
        "delivered",
        "released",
        "refunded",
        "voided",
        "reclaimed",
        "disputed",
        "resolved",
    ]
    error: str | None = Field(description="of the last failed operation")
    tracking: str | None
    order_hash: str
    pay_url: str | None = Field(description="where the buyer's wallet pays, while it can")
    held: Amount
    released: Amount
    fee: Amount = Field(description="part of what was released")
    repayment: Amount = Field(description="another part: to the seller's credit line")
    refunded: Amount
    voided: Amount
    reclaimed: Amount
    dispute_window: int = Field(description="seconds after delivery")
    authorize_before: Time
    reclaim_after: Time
    dispute_deadline: Time | None = Field(
        description="from then on it can be released; in a dispute: the end of its arbitration"
    )
    created_at: Time
    authorized_at: Time | None = Field(description="this and the following: by the chain's clock")
    shipped_at: Time | None
    delivered_at: Time | None
    closed_at: Time | None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "pur_01980ab2c3d97bbb8a9b0c1d2e3f4a5b",
                    "order_id": "A-1001",
                    "payer": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "payee": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "amount": "12500000",
                    "fee_bps": 250,
                    "status": "delivered",
                    "error": None,
                    "tracking": "DHL 00340434",
                    "order_hash": "0x" + "9c" * 32,
                    "pay_url": None,
                    "held": "12500000",
                    "released": "0",
                    "fee": "0",
                    "repayment": "0",
                    "refunded": "0",
                    "voided": "0",
                    "reclaimed": "0",
                    "dispute_window": 604800,
                    "authorize_before": "2026-02-07T09:15:00Z",
                    "reclaim_after": "2026-05-31T09:15:00Z",
                    "dispute_deadline": "2026-02-10T12:00:00Z",
                    "created_at": "2026-01-31T09:15:00Z",
                    "authorized_at": "2026-01-31T09:15:01Z",
                    "shipped_at": "2026-02-01T08:00:00Z",
                    "delivered_at": "2026-02-03T12:00:00Z",
                    "closed_at": None,
                }
            ]
        },
    )


class StatusTotal(Output):
    count: int
    amount: Amount


class Totals(Output):
    """All purchases of the merchant."""

    by_status: dict[str, StatusTotal]
    held: Amount
    released: Amount
    fee: Amount
    repayment: Amount
    refunded: Amount
    voided: Amount
    reclaimed: Amount

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "by_status": {"delivered": {"count": 1, "amount": "12500000"}},
                    "held": "12500000",
                    "released": "0",
                    "fee": "0",
                    "repayment": "0",
                    "refunded": "0",
                    "voided": "0",
                    "reclaimed": "0",
                }
            ]
        },
    )


# ------------------------------------------------------------------------ service: create, pay


def create_purchase(
    session: Session, context: Context, caller: Caller, request: PurchaseRequest, now: int
) -> Outcome:
    """Fix the terms of an order and, where the payer's key is managed, hold the coin.

    Args:
        now: the chain's time.

    Raises:
        Problem: order_id_taken, not_found, account_not_active, insufficient_funds, invalid_request.
    """
    _refuse_taken_order(session, caller.merchant_id, request.order_id)
    if request.payer == request.payee:
        raise Problem("invalid_request", "payee: the payer cannot be the payee", param="payee")
    payer, payee = find_active_pair(session, caller.merchant_id, request.payer, request.payee)
    managed = payer.managed_index is not None
    authorize = managed if request.authorize is None else request.authorize
    if authorize and not managed:
        raise Problem(
            "invalid_request",
            "authorize: an external payer signs for itself, at pay_url or with"
            " POST /v1/purchases/{id}/authorize",
            param="authorize",
        )
    terms = _terms(context, caller, request, payer.address, payee.address, now)
    order_hash = hash_of_terms(
        chain_id=context.manifest.chain_id, escrow=context.escrow_address, terms=terms
    )
    purchase_id = context.ids.new("pur")
    values = {
        "id": purchase_id,
        "merchant_id": caller.merchant_id,
        "order_id": request.order_id,
        "payer_account_id": payer.id,
        "payee_account_id": payee.id,
        "amount": request.amount,
        "fee_bps": terms["maxFeeBps"],
        "terms": {**terms, "maxAmount": str(terms["maxAmount"])},
        "order_hash": order_hash,
        "status": PurchaseStatus.CREATED,
        "tracking": None,
        "error": None,
        "created_at": context.wall_now(),
        "authorized_at": None,
        "shipped_at": None,
        "delivered_at": None,
        "closed_at": None,
    }
    add(session, models.Purchase, **values)
    shown = _show(context, SimpleNamespace(**values, **_NO_ORDER))
    record(
        session,
        context,
        caller.merchant_id,
        "purchase.created",
        purchase_id,
        {
            "status": PurchaseStatus.CREATED,
            "order_id": request.order_id,
            "amount": str(request.amount),
        },
    )
    if not authorize:
        return Outcome("purchase", purchase_id, status_code=201, shown=shown)
    operation_id = _queue_authorize(
        session,
        context,
        caller.merchant_id,
        purchase_id,
        payer,
        terms,
        order_hash,
        None,
        now,
        is_first=True,
    )
    return Outcome("purchase", purchase_id, [operation_id], shown=shown)


def _terms(
    context: Context,
    caller: Caller,
    request: PurchaseRequest,
    payer: str,
    payee: str,
    now: int,
) -> dict[str, Any]:
    settings = context.settings
    order_ref = reference("plaza/order", caller.merchant_id, request.order_id)
    fee_bps = caller.fee_bps if request.fee_bps is None else request.fee_bps
    window = caller.dispute_window if request.dispute_window is None else request.dispute_window
    authorize_before = now + (request.authorize_within or settings.authorize_within)
    reclaim_after = now + (request.reclaim_after or settings.reclaim_after)
    if authorize_before > reclaim_after:
        raise Problem(
            "invalid_request",
            f"reclaim_after: the buyer could reclaim at {rfc3339(reclaim_after)}, before the"
            f" authorization ends at {rfc3339(authorize_before)}",
            param="reclaim_after",
        )
    return {
        "payer": payer,
        "payee": payee,
        "operator": _operator_for(context, order_ref),
        "feeReceiver": context.manifest.accounts["fee_receiver"],
        "maxAmount": request.amount,
        "minFeeBps": fee_bps,
        "maxFeeBps": fee_bps,
        "authorizeBefore": min(authorize_before, MAX_TIME),
        "reclaimAfter": min(reclaim_after, MAX_TIME),
        "disputeWindow": window,
        "orderRef": order_ref,
    }


def _operator_for(context: Context, order_ref: str) -> str:
    """The address of the operator key that serves an order: the keys in use share them evenly."""
    number = int(order_ref, 16) % context.settings.operators
    return context.seed.platform(operator_name(number)).address


def operator_of(context: Context, terms: Mapping[str, Any]) -> str:
    """The name of the operator key that the terms of a purchase name, whether or not it is still
    given new ones. All that is done on a purchase goes through it, and so in the order asked."""
    return context.seed.operator_at(terms["operator"]) or "operator"


def authorize_purchase(
    session: Session,
    context: Context,
    purchase: Row[Any],
    given: SignedAuthorization | None,
    now: int,
) -> Outcome:
    """Hold the payer's coin, by its own signature or by that of its managed key.

    Args:
        purchase: as found by `find_purchase`, or by its id alone for the payer itself.

    Raises:
        Problem: invalid_state, operation_pending, terms_expired, account_not_active,
            signature_required, signature_invalid, insufficient_funds.
    """
    if purchase.status != PurchaseStatus.CREATED:
        raise wrong_state(purchase, "authorized")
    refuse_if_pending(session, "purchase.authorize", purchase.id)
    terms = contract_terms(purchase)
    if now >= terms["authorizeBefore"]:
        raise Problem(
            "terms_expired",
            f"the purchase {purchase.id} could be authorized before"
            f" {rfc3339(terms['authorizeBefore'])}; it is {rfc3339(now)} on the chain",
            authorize_before=rfc3339(terms["authorizeBefore"]),
        )
    payer = find_account(session, purchase.merchant_id, purchase.payer_account_id)
    refuse_barred(payer, "payer")
    operation_id = _queue_authorize(
        session,
        context,
        purchase.merchant_id,
        purchase.id,
        payer,
        terms,
        purchase.order_hash,
        given,
        now,
    )
    change(session, models.Purchase, purchase.id, {"error": None})
    return Outcome("purchase", purchase.id, [operation_id])


def _queue_authorize(
    session: Session,
    context: Context,
    merchant_id: str,
    purchase_id: str,
    payer: Row[Any],
    terms: dict[str, Any],
    order_hash: str,
    given: SignedAuthorization | None,
    now: int,
    *,
    is_first: bool = False,
) -> str:
    amount = terms["maxAmount"]
    signed = authorization_for(
        context,
        payer,
        payment_of(context, terms, order_hash),
        given,
        valid_before=terms["authorizeBefore"],
        now=now,
    )
    refuse_unless_available(session, payer.address, amount)
    call = Call(
        kind="purchase.authorize",
        ref=order_hash,
        signer=operator_of(context, terms),
        to=context.escrow_address,
        calldata=context.escrow.encode(
            "authorizeWithSignature",
            terms,
            amount,
            signed.valid_after,
            signed.valid_before,
            signed.signature,
        ),
        debit=(payer.address, amount),
    )
    return queue(session, context, merchant_id, purchase_id, call, is_first=is_first)


def payment_of(context: Context, terms: dict[str, Any], order_hash: str) -> Payment:
    """What the payer signs: the whole amount, bound to the terms by the order hash."""
    return Payment(
        sender=terms["payer"],
        to=context.escrow_address,
        amount=terms["maxAmount"],
        nonce=order_hash,
        receive=True,
    )


# ----------------------------------------------------------- service: what the shop does with it


def ship_purchase(
    session: Session,
    context: Context,
    merchant_id: str,
    purchase_id: str,
    request: ShipRequest,
    now: int,
) -> Outcome:
    """Note the shop's word that the goods are on their way. Moves no coin.

    Raises:
        Problem: not_found, invalid_state.
    """
    purchase = find_purchase(session, merchant_id, purchase_id)
    if purchase.status != PurchaseStatus.AUTHORIZED:
        raise wrong_state(purchase, "shipped")
    values = {"status": PurchaseStatus.SHIPPED, "shipped_at": now, "tracking": request.tracking}
    change(session, models.Purchase, purchase_id, values)
    data = {"status": PurchaseStatus.SHIPPED, "tracking": request.tracking}
    record(session, context, merchant_id, "purchase.shipped", purchase_id, data)
    return Outcome("purchase", purchase_id, status_code=200)


def deliver_purchase(
    session: Session, context: Context, merchant_id: str, purchase_id: str
) -> Outcome:
    """Confirm the delivery on chain, which opens the dispute window.

    Raises:
        Problem: not_found, invalid_state, operation_pending.
    """
    purchase = find_purchase(session, merchant_id, purchase_id)
    if not purchase.held or purchase.dispute_deadline:
        raise wrong_state(purchase, "delivered")
    call = Call(
        kind="purchase.deliver",
        ref=purchase.order_hash,
        signer=operator_of(context, purchase.terms),
        to=context.escrow_address,
        calldata=context.escrow.encode("confirmDelivery", contract_terms(purchase)),
    )
    return queue_action(session, context, purchase, call)


def release_purchase(
    session: Session,
    context: Context,
    merchant_id: str,
    purchase_id: str,
    request: ReleaseRequest,
    now: int,
) -> Outcome:
    """Pay the seller out of escrow: the payer whenever it wants to, also in a dispute; the operator
    once the dispute window of the delivery is over.

    Raises:
        Problem: not_found, invalid_state, dispute_window_open, amount_too_large, operation_pending,
            invalid_request, signature_required, signature_invalid.
    """
    purchase = find_purchase(session, merchant_id, purchase_id)
    by_payer = request.by == "payer"
    if not by_payer:
        _refuse_signature(request.signed, "payer")
        _refuse_early_release(purchase, now)
    if not purchase.held:
        raise wrong_state(purchase, "released")
    _refuse_beside_decision(session, purchase)
    refuse_if_pending(session, "purchase.release", purchase_id)
    amount = part(request.amount, purchase.held, "held")
    terms = contract_terms(purchase)
    net = amount - amount * purchase.fee_bps // 10_000
    ref = reference("plaza/release", purchase.order_hash, str(purchase.released))
    if by_payer:
        payer = find_account(session, merchant_id, purchase.payer_account_id)
        fields = {"orderHash": purchase.order_hash, "amount": amount}
        nonce, signed = intent_for(context, payer, "Release", ref, fields, request.signed, now=now)
        intent = (nonce, signed.deadline, signed.signature)
        calldata = context.escrow.encode("releaseWithSignature", terms, amount, *intent)
    else:
        calldata = context.escrow.encode("release", terms, amount, purchase.fee_bps)
    call = Call(
        kind="purchase.release",
        ref=ref,
        signer=operator_of(context, terms),
        to=context.escrow_address,
        calldata=calldata,
        credit=(terms["payee"], net - holdback_of(session, terms["payee"], net, now)),
    )
    outcome = queue_action(session, context, purchase, call, alone=False)  # looked at above
    shown = _show(context, purchase)
    shown.error = None
    return replace(outcome, shown=shown)


def _refuse_early_release(purchase: Row[Any], now: int) -> None:
    """What the escrow would refuse the operator, but not the payer."""
    disputed = purchase.dispute == DisputeState.OPEN
    if not purchase.held or not purchase.dispute_deadline or disputed:
        raise wrong_state(purchase, "released")
    if now < purchase.dispute_deadline:
        raise Problem(
            "dispute_window_open",
            f"the purchase {purchase.id} can be released from"
            f" {rfc3339(purchase.dispute_deadline)} on; it is {rfc3339(now)} on the chain",
            retryable=True,
            deadline=rfc3339(purchase.dispute_deadline),
        )


def void_purchase(
    session: Session,
    context: Context,
    merchant_id: str,
    purchase_id: str,
    request: VoidRequest,
    now: int,
) -> Outcome:
    """Give held coin back to the buyer, in the operator's right or in the seller's.

    Raises:
        Problem: not_found, invalid_state, amount_too_large, operation_pending, invalid_request,
            signature_required, signature_invalid.
    """
    purchase = find_purchase(session, merchant_id, purchase_id)
    if not purchase.held:
        raise wrong_state(purchase, "voided")
    _refuse_beside_decision(session, purchase)
    refuse_if_pending(session, "purchase.void", purchase_id)
    amount = part(request.amount, purchase.held, "held")
    terms = contract_terms(purchase)
    ref = reference("plaza/void", purchase.order_hash, str(purchase.voided))
    if request.by == "payee":
        payee = find_account(session, merchant_id, purchase.payee_account_id)
        fields = {"orderHash": purchase.order_hash, "amount": amount}
        nonce, signed = intent_for(context, payee, "Void", ref, fields, request.signed, now=now)
        intent = (nonce, signed.deadline, signed.signature)
        calldata = context.escrow.encode("voidWithSignature", terms, amount, *intent)
    else:
        _refuse_signature(request.signed, "payee")
        calldata = context.escrow.encode("void", terms, amount)
    call = Call(
        kind="purchase.void",
        ref=ref,
        signer=operator_of(context, terms),
        to=context.escrow_address,
        calldata=calldata,
        credit=(terms["payer"], amount),
    )
    return queue_action(session, context, purchase, call)


def reclaim_purchase(
    session: Session,
    context: Context,
    merchant_id: str,
    purchase_id: str,
    request: ReclaimRequest,
    now: int,
) -> Outcome:
    """Take all that is held back to the buyer, where delivery was not confirmed in time.

    Raises:
        Problem: not_found, invalid_state, reclaim_too_early, operation_pending, invalid_request,
            signature_required, signature_invalid.
    """
    purchase = find_purchase(session, merchant_id, purchase_id)
    if not purchase.held or purchase.dispute_deadline:
        raise wrong_state(purchase, "reclaimed")
    terms = contract_terms(purchase)
    if now < terms["reclaimAfter"]:
        raise Problem(
            "reclaim_too_early",
            f"the purchase {purchase_id} can be reclaimed from {rfc3339(terms['reclaimAfter'])}"
            f" on; it is {rfc3339(now)} on the chain",
            retryable=True,
            reclaim_after=rfc3339(terms["reclaimAfter"]),
        )
    refuse_if_pending(session, "purchase.reclaim", purchase_id)
    payer = find_account(session, merchant_id, purchase.payer_account_id)
    ref = reference("plaza/reclaim", purchase.order_hash)
    fields = {"orderHash": purchase.order_hash}
    nonce, signed = intent_for(context, payer, "Reclaim", ref, fields, request.signed, now=now)
    call = Call(
        kind="purchase.reclaim",
        ref=ref,
        signer=operator_of(context, terms),
        to=context.escrow_address,
        calldata=context.escrow.encode(
            "reclaimWithSignature", terms, nonce, signed.deadline, signed.signature
        ),
        credit=(terms["payer"], purchase.held),
    )
    return queue_action(session, context, purchase, call)


def _refuse_signature(given: SignedIntent | None, party: str) -> None:
    if given is not None:
        raise Problem(
            "invalid_request",
            f'signed: the operator signs nothing here; say `"by": "{party}"` to act in the'
            f" {party}'s right",
            param="signed",
        )


def _refuse_beside_decision(session: Session, purchase: Row[Any]) -> None:
    """A decision is on what was held when it was made: nothing may move in between."""
    if purchase.dispute == DisputeState.OPEN:
        refuse_beside(session, purchase, "purchase.resolve")


def refuse_beside(session: Session, purchase: Row[Any], *kinds: str) -> None:
    """Refuse an action while others of these kinds are on their way, and those until it is queued.

    Raises:
        Problem: operation_pending.
    """
    # Where writers are not queued (PostgreSQL), two that exclude each other must not both look
    # before either has written.
    session.execute(select(_PURCHASES.c.id).where(_PURCHASES.c.id == purchase.id).with_for_update())
    for kind in kinds:
        refuse_if_pending(session, kind, purchase.id)


def refund_purchase(
    session: Session,
    context: Context,
    merchant_id: str,
    purchase_id: str,
    request: RefundRequest,
    now: int,
) -> Outcome:
    """Pay released coin back to the buyer, out of the seller's account.

    Raises:
        Problem: not_found, invalid_state, amount_too_large, reference_taken, operation_pending,
            signature_required, signature_invalid, insufficient_funds.
    """
    purchase = find_purchase(session, merchant_id, purchase_id)
    refuse_if_pending(session, "purchase.refund", purchase_id)
    refund_ref = reference("plaza/refund", purchase_id, request.reference)
    nonce = refund_nonce(purchase.order_hash, refund_ref)
    _refuse_done_refund(session, purchase, nonce, request.reference)
    refundable = (purchase.released or 0) - (purchase.refunded or 0)
    if not refundable:
        raise wrong_state(purchase, "refunded")
    amount = part(request.amount, refundable, "released and not refunded")
    terms = contract_terms(purchase)
    payee = find_account(session, merchant_id, purchase.payee_account_id)
    refuse_barred(payee, "payee")
    payment = Payment(
        sender=payee.address, to=context.escrow_address, amount=amount, nonce=nonce, receive=True
    )
    signed = authorization_for(
        context, payee, payment, request.authorization, valid_before=now + DAY, now=now
    )
    refuse_unless_available(session, payee.address, amount)
    call = Call(
        kind="purchase.refund",
        ref=nonce,
        signer=operator_of(context, terms),
        to=context.escrow_address,
        calldata=context.escrow.encode(
            "refundWithSignature",
            terms,
            amount,
            refund_ref,
            signed.valid_after,
            signed.valid_before,
            signed.signature,
        ),
        debit=(payee.address, amount),
        credit=(terms["payer"], amount),
    )
    return queue_action(session, context, purchase, call)


def queue_action(
    session: Session,
    context: Context,
    purchase: Row[Any],
    call: Call,
    *,
    alone: bool = True,
) -> Outcome:
    """Queue a call on a purchase that `find_purchase` has found.

    Args:
        alone: refuse it while another of its kind is on its way.

    Raises:
        Problem: operation_pending.
    """
    if alone:
        refuse_if_pending(session, call.kind, purchase.id)
    if purchase.error is not None:
        change(session, models.Purchase, purchase.id, {"error": None})
    operation_id = queue(session, context, purchase.merchant_id, purchase.id, call)
    return Outcome("purchase", purchase.id, [operation_id])


def part(asked: int | None, limit: int, what: str, param: str = "amount") -> int:
    """The amount asked for, or all there is.

    Raises:
        Problem: amount_too_large.
    """
    if asked is None:
        return limit
    if asked > limit:
        detail = f"{param}: {asked} is more than the {limit} that is {what}"
        raise Problem("amount_too_large", detail, param=param, limit=str(limit))
    return asked


def _refuse_taken_order(session: Session, merchant_id: str, order_id: str) -> None:
    which = {"its_merchant": merchant_id, "its_order": order_id}
    taken = _FIND_ORDER.one_or_none(session, which)
    if taken is not None:
        raise Problem(
            "order_id_taken",
            f"the purchase {taken.id} ({taken.status}) is of the order {order_id!r}",
            param="order_id",
            purchase_id=taken.id,
        )


def _refuse_done_refund(
    session: Session, purchase: Row[Any], nonce: str, refund_reference: str
) -> None:
    operations = table(models.Operation)
    done = session.scalar(
        select(operations.c.id).where(
            operations.c.kind == "purchase.refund",
            operations.c.ref == nonce,
            operations.c.status == OperationStatus.DONE,
        )
    )
    if done is not None:
        raise Problem(
            "reference_taken",
            f"the refund {refund_reference!r} of the purchase {purchase.id} was made already",
            param="reference",
            resource_id=purchase.id,
            operation_id=done,
        )


def wrong_state(purchase: Row[Any], wanted: str) -> Problem:
    """The refusal of what the state of a purchase does not permit."""
    return Problem(
        "invalid_state",
        f"the purchase {purchase.id} is {purchase.status}, with {purchase.held or 0} held, and"
        f" cannot be {wanted}",
        actual=purchase.status,
        held=str(purchase.held or 0),
    )


# ------------------------------------------------------------------------------ service: read


def find_purchase(session: Session, merchant_id: str, purchase_id: str) -> Row[Any]:
    """Return a purchase and its escrow order in one row; the order's columns are None without one.

    Raises:
        Problem: not_found.
    """
    which = {"its_id": purchase_id, "its_merchant": merchant_id}
    return _found(_FIND_OWN.one_or_none(session, which), purchase_id)


def find_public_purchase(session: Session, purchase_id: str) -> Row[Any]:
    """The same for whoever knows the id, which cannot be guessed: the buyer's wallet.

    Raises:
        Problem: not_found.
    """
    return _found(_FIND.one_or_none(session, {"its_id": purchase_id}), purchase_id)


def _found(row: Row[Any] | None, purchase_id: str) -> Row[Any]:
    if row is None:
        raise not_found("purchase", purchase_id, "id")
    return row


def contract_terms(purchase: Row[Any]) -> dict[str, Any]:
    """The terms as the escrow takes them."""
    return {**purchase.terms, "maxAmount": int(purchase.terms["maxAmount"])}


def show_purchase(
    session: Session, context: Context, merchant_id: str, purchase_id: str
) -> Purchase:
    return _show(context, find_purchase(session, merchant_id, purchase_id))


def list_purchases(
    session: Session, context: Context, merchant_id: str, query: PurchasesQuery
) -> Page[Purchase]:
    purchases = _PURCHASES
    statement = _WITH_ORDER.where(purchases.c.merchant_id == merchant_id)
    if query.status is not None:
        statement = statement.where(purchases.c.status == query.status)
    if query.order_id is not None:
        statement = statement.where(purchases.c.order_id == query.order_id)
    return page(session, statement, purchases.c.id, query, lambda row: _show(context, row))


def total_purchases(session: Session, merchant_id: str) -> Totals:
    """Added up here, not in SQL: SQLite's own sums end at 64 bits."""
    counts: dict[str, int] = {}
    amounts: dict[str, int] = {}
    sums = dict.fromkeys(_OF_ORDER, 0)
    rows = session.execute(
        select(_PURCHASES.c.status, _PURCHASES.c.amount, *(_ORDERS.c[name] for name in sums))
        .outerjoin(_ORDERS, _ORDERS.c.order_hash == _PURCHASES.c.order_hash)
        .where(_PURCHASES.c.merchant_id == merchant_id)
    )
    for status, amount, *parts in rows:
        counts[status] = counts.get(status, 0) + 1
        amounts[status] = amounts.get(status, 0) + amount
        for name, part in zip(sums, parts, strict=True):
            sums[name] += part or 0
    by_status = {
        status: StatusTotal(count=counts[status], amount=amounts[status]) for status in counts
    }
    return Totals(by_status=by_status, **sums)


def pay_url(context: Context, purchase_id: str) -> str:
    base = context.settings.public_url or context.manifest.bridge_url
    return f"{base.rstrip('/')}/v1/pay/{purchase_id}"


def _show(context: Context, row: Row[Any] | SimpleNamespace) -> Purchase:
    return Purchase(
        id=row.id,
        order_id=row.order_id,
        payer=row.payer_account_id,
        payee=row.payee_account_id,
        amount=row.amount,
        fee_bps=row.fee_bps,
        status=row.status,
        error=row.error,
        tracking=row.tracking,
        order_hash=row.order_hash,
        pay_url=pay_url(context, row.id) if row.status == PurchaseStatus.CREATED else None,
        held=row.held or 0,
        released=row.released or 0,
        fee=row.fee or 0,
        repayment=row.repayment or 0,
        refunded=row.refunded or 0,
        voided=row.voided or 0,
        reclaimed=row.reclaimed or 0,
        dispute_window=row.terms["disputeWindow"],
        authorize_before=row.terms["authorizeBefore"],
        reclaim_after=row.terms["reclaimAfter"],
        dispute_deadline=row.dispute_deadline or None,
        created_at=row.created_at,
        authorized_at=row.authorized_at,
        shipped_at=row.shipped_at,
        delivered_at=row.delivered_at,
        closed_at=row.closed_at,
    )


# -------------------------------------------------------------------------------- endpoints

# Where every field may be left out, so may the body.
_EMPTY_AUTHORIZE, _EMPTY_SHIP, _EMPTY_RECLAIM = AuthorizeRequest(), ShipRequest(), ReclaimRequest()
_RELEASE_ALL, _VOID_ALL = ReleaseRequest(), VoidRequest()


@router.post(
    "",
    status_code=202,
    response_model=Purchase,
    responses={
        201: {"model": Purchase, "description": "Created; nothing is to be done on chain yet"},
        **documented("not_found", "account_not_active", "order_id_taken", "insufficient_funds"),
    },
)
async def create(body: PurchaseRequest, command: PurchasesCommand) -> Response:
    """Open a purchase; 202 when the coin is being held, 201 when the buyer has to pay first."""
    context, caller = command.context, command.caller
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: create_purchase(session, context, caller, body, now),
        lambda session, id_: show_purchase(session, context, caller.merchant_id, id_),
    )


@router.get("", response_model=Page[Purchase])
async def list_(context: Ctx, caller: Reader, query: Listed[PurchasesQuery]) -> Response:
    return answer(
        await context.store.read(
            lambda session: list_purchases(session, context, caller.merchant_id, query)
        )
    )


@router.get("/totals", response_model=Totals)
async def totals(context: Ctx, caller: Reader) -> Response:
    """Purchases and coin by state."""
    return answer(
        await context.store.read(lambda session: total_purchases(session, caller.merchant_id))
    )


@router.get("/{purchase_id}", response_model=Purchase, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, purchase_id: str) -> Response:
    return answer(
        await context.store.read(
            lambda session: show_purchase(session, context, caller.merchant_id, purchase_id)
        )
    )


@router.post(
    "/{purchase_id}/authorize",
    status_code=202,
    response_model=Purchase,
    responses=documented(
        "not_found",
        "invalid_state",
        "operation_pending",
        "terms_expired",
        "account_not_active",
        "signature_required",
        "signature_invalid",
        "insufficient_funds",
    ),
)
async def authorize(
    purchase_id: str, command: PurchasesCommand, body: AuthorizeRequest = _EMPTY_AUTHORIZE
) -> Response:
    """Hold the buyer's coin: again after a failure, or by an external buyer's signature."""
    context, merchant_id = command.context, command.caller.merchant_id
    given = body.authorization
    await context.store.read(lambda session: find_purchase(session, merchant_id, purchase_id))
    now = await context.clock.ask()
    return await command.run(
        body,
        lambda session: authorize_purchase(
            session, context, find_purchase(session, merchant_id, purchase_id), given, now
        ),
        lambda session, id_: show_purchase(session, context, merchant_id, id_),
    )


@router.post(
    "/{purchase_id}/ship",
    response_model=Purchase,
    responses=documented("not_found", "invalid_state"),
)
async def ship(
    purchase_id: str, command: PurchasesCommand, body: ShipRequest = _EMPTY_SHIP
) -> Response:
    """Note that the goods are on their way. Moves no coin."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: ship_purchase(session, context, merchant_id, purchase_id, body, now),
        lambda session, id_: show_purchase(session, context, merchant_id, id_),
    )


@router.post(
    "/{purchase_id}/deliver",
    status_code=202,
    response_model=Purchase,
    responses=documented("not_found", "invalid_state", "operation_pending"),
)
async def deliver(purchase_id: str, command: PurchasesCommand) -> Response:
    """Confirm the delivery, which opens the dispute window."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        None,
        lambda session: deliver_purchase(session, context, merchant_id, purchase_id),
        lambda session, id_: show_purchase(session, context, merchant_id, id_),
    )


@router.post(
    "/{purchase_id}/release",
    status_code=202,
    response_model=Purchase,
    responses=documented(
        "not_found",
        "invalid_state",
        "dispute_window_open",
        "operation_pending",
        "amount_too_large",
        "signature_required",
        "signature_invalid",
    ),
)
async def release(
    purchase_id: str, command: PurchasesCommand, body: ReleaseRequest = _RELEASE_ALL
) -> Response:
    """Pay the seller: once the dispute window is over, or whenever the payer wants to."""
    context, merchant_id = command.context, command.caller.merchant_id

    async def at(now: int) -> Response:
        return await command.run(
            body,
            lambda session: release_purchase(session, context, merchant_id, purchase_id, body, now),
            lambda session, id_: show_purchase(session, context, merchant_id, id_),
        )

    return await context.clock.past(at)


@router.post(
    "/{purchase_id}/void",
    status_code=202,
    response_model=Purchase,
    responses=documented(
        "not_found",
        "invalid_state",
        "operation_pending",
        "amount_too_large",
        "signature_required",
        "signature_invalid",
    ),
)
async def void(
    purchase_id: str, command: PurchasesCommand, body: VoidRequest = _VOID_ALL
) -> Response:
    """Give held coin back to the buyer, also in a dispute."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: void_purchase(session, context, merchant_id, purchase_id, body, now),
        lambda session, id_: show_purchase(session, context, merchant_id, id_),
    )


@router.post(
    "/{purchase_id}/reclaim",
    status_code=202,
    response_model=Purchase,
    responses=documented(
        "not_found",
        "invalid_state",
        "reclaim_too_early",
        "operation_pending",
        "signature_required",
        "signature_invalid",
    ),
)
async def reclaim(
    purchase_id: str, command: PurchasesCommand, body: ReclaimRequest = _EMPTY_RECLAIM
) -> Response:
    """Take back what was not delivered in time, for the buyer."""
    context, merchant_id = command.context, command.caller.merchant_id

    async def at(now: int) -> Response:
        return await command.run(
            body,
            lambda session: reclaim_purchase(session, context, merchant_id, purchase_id, body, now),
            lambda session, id_: show_purchase(session, context, merchant_id, id_),
        )

    return await context.clock.past(at)


@router.post(
    "/{purchase_id}/refund",
    status_code=202,
    response_model=Purchase,
    responses=documented(
        "not_found",
        "invalid_state",
        "operation_pending",
        "reference_taken",
        "amount_too_large",
        "account_not_active",
        "insufficient_funds",
        "signature_required",
        "signature_invalid",
    ),
)
async def refund(purchase_id: str, body: RefundRequest, command: PurchasesCommand) -> Response:
    """Pay the buyer back out of the seller's account, after a release."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: refund_purchase(session, context, merchant_id, purchase_id, body, now),
        lambda session, id_: show_purchase(session, context, merchant_id, id_),
    )
