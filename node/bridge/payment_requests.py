"""Payment requests: an amount for an account, payable by whoever has the link, with any tool.

A request is paid when the chain has one transfer to the payee of at least its amount, in time, that
names it: by its memo, or by its nonce where an EIP-3009 authorization pays. What names it and does
not pay it (too small, a second time, too late, after cancel) is in the payee's balance all the
same, and listed here. Whether it is in time is told by the block's own time.
"""

from __future__ import annotations

import re
from typing import Any, Literal, cast

from eth_utils.crypto import keccak
from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import ColumnElement, and_, bindparam, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_account, find_active
from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.authorizations import Payment, authorization_for, checked, unsigned
from node.bridge.context import Context, Ctx
from node.bridge.events import record
from node.bridge.funds import refuse_unless_available
from node.bridge.idempotency import MoneyCommand, Outcome
from node.bridge.operations import (
    Call,
    cancel_queued,
    queue,
    reference,
    refuse_if_pending,
    unsettled,
)
from node.bridge.pagination import Listed, ListQuery, page, row_number
from node.bridge.problems import Problem, documented, not_found
from node.bridge.qr import PngResponse, QrQuery, SvgResponse, png, svg
from node.bridge.rows import add, find, owned, table
from node.bridge.transfers import TRANSFER_BY_BYTES
from node.bridge.values import (
    Amount,
    AmountIn,
    Input,
    Name,
    Note,
    Output,
    Page,
    Party,
    SignedAuthorization,
    Time,
    TimeIn,
    rfc3339,
)
from node.settings import DAY
from node.store import models
from node.store.models import PaymentRequestStatus

router = APIRouter(prefix="/payment_requests", tags=["money in and out"])

DEFAULT_DAYS = 7
SHOWN_PAYMENTS = 20
PAY = "payment_request.pay"

_MEMO_BYTES = 32
_MEMO_HEX = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_NO_MEMO = "0x" + "00" * _MEMO_BYTES

_REQUESTS, _PAYMENTS = table(models.PaymentRequest), table(models.RequestPayment)
_FIND_PUBLIC = select(_REQUESTS).where(_REQUESTS.c.id == bindparam("its_id"))
_NEWEST_PAYMENTS = (
    select(_PAYMENTS)
    .where(_PAYMENTS.c.request_id == bindparam("its_id"))
    .order_by(_PAYMENTS.c.id.desc())
    .limit(SHOWN_PAYMENTS)
)

Status = Literal["open", "paid", "canceled", "expired"]

# ---------------------------------------------------------------------------------- schemas


class NewPaymentRequest(Input):
    payee: str = Field(description="account id")
    amount: AmountIn
    memo: Note | None = Field(
        None,
        description="public. On chain stand its UTF-8 bytes, or their keccak-256 where there are"
        " more than 32 (0x and 64 hex digits stand as they are). A payee has one request of a"
        " memo; without one, the request gets a memo of its own",
    )
    reference: Name | None = Field(None, description="what you call it; counts once")
    expires_at: TimeIn | None = Field(
        None, description="on the chain's clock; without it: in 7 days"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"payee": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b", "amount": "12500000"},
                {
                    "payee": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "amount": "12500000",
                    "memo": "invoice 2026-0117",
                    "reference": "2026-0117",
                    "expires_at": "2026-02-07T00:00:00Z",
                },
            ]
        }
    )


class PayRequest(Input):
    payer: Party
    authorization: SignedAuthorization | None = Field(
        None,
        description="EIP-3009 TransferWithAuthorization of a payer with a key of its own; without"
        " it the refusal has the `typed_data` to sign",
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"payer": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b"},
                {
                    "payer": "0x52908400098527886E0F7030069857D2E4169EE7",
                    "authorization": {
                        "signature": "0x" + "1b" * 65,
                        "valid_after": 0,
                        "valid_before": 1769936400,
                    },
                },
            ]
        }
    )


class PaymentRequestsQuery(ListQuery):
    status: Status | None = None
    payee: str | None = Field(None, max_length=64)
    reference: str | None = Field(None, max_length=120)


class PaidBy(Output):
    """The transfer that paid the request."""

    payer: str
    amount: Amount = Field(description="at least what was requested")
    tx_hash: str
    block_number: int
    block_time: Time


_PAYMENT_EXAMPLE: dict[str, Any] = {
    "id": 3,
    "outcome": "paid",
    "payer": "0x52908400098527886E0F7030069857D2E4169EE7",
    "amount": "12500000",
    "tx_hash": "0x" + "5f" * 32,
    "block_number": 17,
    "block_time": "2026-01-31T09:16:00Z",
}
_EXAMPLE: dict[str, Any] = {
    "id": "prq_01980ab2c3d97bbb8a9b0c1d2e3f4a5b",
    "payee": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
    "payee_address": "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "amount": "12500000",
    "memo": "invoice 2026-0117",
    "memo_word": "0x" + b"invoice 2026-0117".hex().ljust(64, "0"),
    "nonce": "0x" + "3d" * 32,
    "reference": "2026-0117",
    "status": "paid",
    "error": None,
    "uri": None,
    "url": "http://127.0.0.1:8400/v1/pay/requests/prq_01980ab2c3d97bbb8a9b0c1d2e3f4a5b",
    "received": "12500000",
    "surplus": "0",
    "paid": {
        "payer": "0x52908400098527886E0F7030069857D2E4169EE7",
        "amount": "12500000",
        "tx_hash": "0x" + "5f" * 32,
        "block_number": 17,
        "block_time": "2026-01-31T09:16:00Z",
    },
    "expires_at": "2026-02-07T00:00:00Z",
    "created_at": "2026-01-31T09:15:00Z",
    "canceled_at": None,
}


class RequestPayment(Output):
    """A transfer that named the request; its coin is in the payee's balance, whatever it was."""

    id: int
    outcome: Literal["paid", "underpaid", "paid_again", "paid_late", "paid_after_cancel"]
    payer: str
    amount: Amount
    tx_hash: str
    block_number: int
    block_time: Time

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_PAYMENT_EXAMPLE]})


class PaymentRequest(Output):
    id: str
    payee: str
    payee_address: str
    amount: Amount
    memo: str | None
    memo_word: str = Field(description="the memo on chain, which names the request")
    nonce: str = Field(description="of an EIP-3009 authorization that pays it")
    reference: str | None
    status: Status
    error: str | None = Field(description="of the last failed operation, while it is not paid")
    uri: str | None = Field(description="for wallets (EIP-681), while it is open")
    url: str = Field(description="for browsers and wallets; public")
    received: Amount = Field(description="all coin that came with its memo or nonce")
    surplus: Amount = Field(description="of it what was not requested, or did not pay the request")
    paid: PaidBy | None
    expires_at: Time = Field(description="on the chain's clock")
    created_at: Time
    canceled_at: Time | None

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})


class PaymentRequestWithPayments(PaymentRequest):
    payments: list[RequestPayment] = Field(
        description=f"the newest {SHOWN_PAYMENTS} transfers that named it"
    )

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{**_EXAMPLE, "payments": [_PAYMENT_EXAMPLE]}]},
    )


# ---------------------------------------------------------------------------------- service


def create_payment_request(
    session: Session, context: Context, merchant_id: str, request: NewPaymentRequest, now: int
) -> Outcome:
    """Args:
        now: the chain's time.

    Raises:
        Problem: not_found, account_not_active, invalid_request, reference_taken, memo_taken.
    """
    payee = find_active(session, merchant_id, request.payee, "payee")
    request_id = context.ids.new("prq")
    nonce = reference("plaza/payment_request", request_id)
    memo_word = nonce if request.memo is None else word_of(request.memo)
    if request.expires_at is None:
        expires_at = now + DEFAULT_DAYS * DAY
    elif request.expires_at > now:
        expires_at = request.expires_at
    else:
        raise Problem(
            "invalid_request",
            f"expires_at: {rfc3339(request.expires_at)} is not after the chain's time, which is"
            f" {rfc3339(now)}",
            param="expires_at",
        )
    _refuse_taken_reference(session, merchant_id, request.reference)
    _refuse_taken_memo(session, merchant_id, payee.address, memo_word)
    add(
        session,
        models.PaymentRequest,
        id=request_id,
        merchant_id=merchant_id,
        payee_account_id=payee.id,
        payee_address=payee.address,
        amount=request.amount,
        memo=request.memo,
        memo_word=memo_word,
        nonce=nonce,
        reference=request.reference,
        expires_at=expires_at,
        status=PaymentRequestStatus.OPEN,
        error=None,
        created_at=context.wall_now(),
    )
    data = {
        "status": PaymentRequestStatus.OPEN,
        "amount": str(request.amount),
        "payee": payee.id,
        "reference": request.reference,
    }
    record(session, context, merchant_id, "payment_request.created", request_id, data)
    return Outcome("payment_request", request_id, status_code=201)


def pay_payment_request(
    session: Session,
    context: Context,
    merchant_id: str,
    request_id: str,
    request: PayRequest,
    now: int,
) -> Outcome:
    """Queue a payment: signed here for a managed payer, by its owner for any other.

    Args:
        now: the chain's time.

    Raises:
        Problem: not_found, invalid_state, operation_pending, account_not_active, invalid_request,
            signature_required (with the typed data), signature_invalid, insufficient_funds.
    """
    row = _find_locked(session, merchant_id, request_id)
    account = _account_of(session, merchant_id, request.payer)
    address = request.payer if account is None else account.address
    refuse_unless_open(row, now)
    if address == row.payee_address:
        raise Problem("invalid_request", "payer: the payee cannot pay itself", param="payer")
    refuse_if_pending(session, PAY, row.id)
    given = request.authorization
    if account is not None and account.managed_index is not None:
        payment = payment_of(row, address)
        signed = authorization_for(
            context, account, payment, given, valid_before=row.expires_at, now=now
        )
    else:
        signed = signed_by_owner(context, row, address, given, now)
    return Outcome(
        "payment_request", row.id, [queue_payment(session, context, row, address, signed)]
    )


def cancel_payment_request(
    session: Session, context: Context, merchant_id: str, request_id: str, now: int
) -> Outcome:
    """Ask for the payment no longer. What the bridge has queued to pay it is canceled with it.

    Args:
        now: the chain's time.

    Raises:
        Problem: not_found, invalid_state (not open, or a payment was signed already).
    """
    row = _find_locked(session, merchant_id, request_id)
    refuse_unless_open(row, now)
    if unsettled(session, "payment_request", row.id):
        cancel_queued(session, context, PAY, row.id)
    session.execute(
        update(_REQUESTS)
        .where(_REQUESTS.c.id == row.id)
        .values(status=PaymentRequestStatus.CANCELED, canceled_at=context.wall_now())
    )
    data = {"status": PaymentRequestStatus.CANCELED, "amount": str(row.amount)}
    record(session, context, merchant_id, "payment_request.canceled", row.id, data)
    return Outcome("payment_request", row.id, status_code=200)


def show_payment_request(
    session: Session, context: Context, merchant_id: str, request_id: str, now: int
) -> PaymentRequestWithPayments:
    row = find(session, models.PaymentRequest, merchant_id, request_id, "payment request")
    payments = session.execute(_NEWEST_PAYMENTS, {"its_id": row.id})
    return PaymentRequestWithPayments(
        **_fields(context, row, now), payments=[_show_payment(payment) for payment in payments]
    )


def list_payment_requests(
    session: Session, context: Context, merchant_id: str, query: PaymentRequestsQuery, now: int
) -> Page[PaymentRequest]:
    statement = owned(models.PaymentRequest, merchant_id)
    if query.status is not None:
        statement = statement.where(_has_status(query.status, now))
    if query.payee is not None:
        statement = statement.where(_REQUESTS.c.payee_account_id == query.payee)
    if query.reference is not None:
        statement = statement.where(_REQUESTS.c.reference == query.reference)
    return page(
        session,
        statement,
        _REQUESTS.c.id,
        query,
        lambda row: PaymentRequest(**_fields(context, row, now)),
    )


def list_payments(
    session: Session, merchant_id: str, request_id: str, query: ListQuery
) -> Page[RequestPayment]:
    find(session, models.PaymentRequest, merchant_id, request_id, "payment request")
    statement = select(_PAYMENTS).where(_PAYMENTS.c.request_id == request_id)
    return page(session, statement, _PAYMENTS.c.id, query, _show_payment, parse_id=row_number)


# ------------------------------------------------------------- what the public page shares


def find_public(session: Session, request_id: str, *, lock: bool = False) -> Row[Any]:
    """The same for whoever knows the id, which cannot be guessed: the buyer's wallet.

    Raises:
        Problem: not_found.
    """
    statement = _FIND_PUBLIC.with_for_update() if lock else _FIND_PUBLIC
    row = session.execute(statement, {"its_id": request_id}).one_or_none()
    if row is None:
        raise not_found("payment request", request_id, "id")
    return row


def status_at(row: Row[Any], now: int) -> Status:
    """What a request is at the chain's time `now`; the indexer writes its end with the next
    block."""
    if row.status == PaymentRequestStatus.OPEN and now >= row.expires_at:
        return "expired"
    return cast(Status, row.status)


def refuse_unless_open(row: Row[Any], now: int) -> None:
    """Raises:
    Problem: invalid_state.
    """
    status = status_at(row, now)
    if status != "open":
        detail = f"{row.id} is {status}; only what is open can be paid or canceled"
        raise Problem("invalid_state", detail, actual=status)


def payment_of(row: Row[Any], payer: str) -> Payment:
    return Payment(
        sender=payer, to=row.payee_address, amount=row.amount, nonce=row.nonce, receive=False
    )


def signed_by_owner(
    context: Context,
    row: Row[Any],
    payer: str,
    given: SignedAuthorization | None,
    now: int,
    *,
    within: str = "authorization.",
) -> SignedAuthorization:
    """Return the payer's authorization once it is sure that the coin will accept it.

    Args:
        within: where its fields are in the request, for `param`.

    Raises:
        Problem: signature_required (with the typed data), signature_invalid.
    """
    payment = payment_of(row, payer)
    if given is None:
        raise unsigned(payment.typed_data(context, row.expires_at), "authorization")
    if given.valid_before > row.expires_at:
        raise Problem(
            "signature_invalid",
            f"the authorization is valid before {given.valid_before}, which is longer than the"
            f" request: {row.expires_at}",
            param=f"{within}valid_before",
        )
    return checked(context, payment, given, now, within=within)


def queue_payment(
    session: Session, context: Context, row: Row[Any], payer: str, signed: SignedAuthorization
) -> str:
    """Return the id of the operation that pays a request.

    Raises:
        Problem: insufficient_funds.
    """
    refuse_unless_available(session, payer, row.amount)
    call = Call(
        kind=PAY,
        ref=row.nonce,
        signer="operator",
        to=context.coin_address,
        calldata=context.coin.encode(
            TRANSFER_BY_BYTES,
            payer,
            row.payee_address,
            row.amount,
            signed.valid_after,
            signed.valid_before,
            row.nonce,
            signed.signature,
        ),
        debit=(payer, row.amount),
        credit=(row.payee_address, row.amount),
    )
    return queue(session, context, row.merchant_id, row.id, call)


def uri_of(context: Context, row: Row[Any]) -> str:
    """The call that pays it, as EIP-681 has it. An expiry has no place in there."""
    return (
        f"ethereum:{context.coin_address}@{context.manifest.chain_id}/transferWithMemo"
        f"?address={row.payee_address}&uint256={row.amount}&bytes32={row.memo_word}"
    )


def url_of(context: Context, row: Row[Any]) -> str:
    base = context.settings.public_url or context.manifest.bridge_url
    return f"{base.rstrip('/')}/v1/pay/requests/{row.id}"


def text_of_qr(context: Context, row: Row[Any], query: QrQuery, now: int) -> str:
    """What a QR code says.

    Raises:
        Problem: invalid_state, for a wallet's code of a request that is not open.
    """
    if query.form == "url":
        return url_of(context, row)
    refuse_unless_open(row, now)
    return uri_of(context, row)


def word_of(memo: str) -> str:
    """The 32 bytes of a memo on chain.

    Raises:
        Problem: invalid_request, for the word of zeros, which every transfer without memo has.
    """
    if _MEMO_HEX.fullmatch(memo):
        if int(memo, 16) == 0:
            raise Problem("invalid_request", f"memo: {_NO_MEMO} names nothing", param="memo")
        return memo.lower()
    encoded = memo.encode()
    if len(encoded) > _MEMO_BYTES:
        encoded = keccak(encoded)
    return "0x" + encoded.ljust(_MEMO_BYTES, b"\0").hex()


# --------------------------------------------------------------------------------- helpers


def _find_locked(session: Session, merchant_id: str, request_id: str) -> Row[Any]:
    """The indexer waits with a payment until what is decided here is committed."""
    row = session.execute(
        owned(models.PaymentRequest, merchant_id)
        .where(_REQUESTS.c.id == request_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise not_found("payment request", request_id, "id")
    return row


def _account_of(session: Session, merchant_id: str, payer: str) -> Row[Any] | None:
    """The payer as an account of the merchant; None for a member it does not know."""
    if not payer.startswith("0x"):
        return find_active(session, merchant_id, payer, "payer")
    accounts = table(models.Account)
    account_id = session.scalar(
        select(accounts.c.id).where(
            accounts.c.merchant_id == merchant_id, accounts.c.address == payer
        )
    )
    return None if account_id is None else find_account(session, merchant_id, account_id, "payer")


def _refuse_taken_reference(session: Session, merchant_id: str, given: str | None) -> None:
    if given is None:
        return
    taken = session.execute(
        owned(models.PaymentRequest, merchant_id).where(
            _REQUESTS.c.reference == given, _REQUESTS.c.canceled_at.is_(None)
        )
    ).one_or_none()
    if taken is not None:
        raise Problem(
            "reference_taken",
            f"{taken.id} ({taken.status}) has the reference {given!r}",
            param="reference",
            resource_id=taken.id,
        )


def _refuse_taken_memo(session: Session, merchant_id: str, payee: str, memo_word: str) -> None:
    """A memo names one request for good: coin that comes late must still be known for what it is.

    Another merchant may have the same payee; its request is not named.
    """
    taken = session.execute(
        select(_REQUESTS.c.id, _REQUESTS.c.merchant_id, _REQUESTS.c.status).where(
            _REQUESTS.c.memo_word == memo_word, _REQUESTS.c.payee_address == payee
        )
    ).one_or_none()
    if taken is not None:
        ours = taken.merchant_id == merchant_id
        named = f"{taken.id} ({taken.status})" if ours else "another request"
        raise Problem(
            "memo_taken",
            f"{named} to this payee has this memo",
            param="memo",
            resource_id=taken.id if ours else None,
        )


def _has_status(status: str, now: int) -> ColumnElement[bool]:
    """`status_at` as a condition."""
    # As a sum, so that SQLite does not take the index on times, whose rows it would have to sort.
    stored, expires_at = _REQUESTS.c.status, _REQUESTS.c.expires_at + 0
    if status == PaymentRequestStatus.OPEN:
        return and_(stored == status, expires_at > now)
    if status == PaymentRequestStatus.EXPIRED:
        ended = and_(stored == PaymentRequestStatus.OPEN, expires_at <= now)
        return or_(stored == status, ended)
    return stored == status


def _fields(context: Context, row: Row[Any], now: int) -> dict[str, Any]:
    status = status_at(row, now)
    paid = None
    if row.paid_tx is not None:
        paid = PaidBy(
            payer=row.paid_by,
            amount=row.paid_amount,
            tx_hash=row.paid_tx,
            block_number=row.paid_block,
            block_time=row.paid_at,
        )
    return {
        "id": row.id,
        "payee": row.payee_account_id,
        "payee_address": row.payee_address,
        "amount": row.amount,
        "memo": row.memo,
        "memo_word": row.memo_word,
        "nonce": row.nonce,
        "reference": row.reference,
        "status": status,
        "error": None if paid else row.error,
        "uri": uri_of(context, row) if status == "open" else None,
        "url": url_of(context, row),
        "received": row.received,
        "surplus": row.received - (row.amount if paid else 0),
        "paid": paid,
        "expires_at": row.expires_at,
        "created_at": row.created_at,
        "canceled_at": row.canceled_at,
    }


def _show_payment(row: Row[Any]) -> RequestPayment:
    return RequestPayment(
        id=row.id,
        outcome=row.outcome,
        payer=row.payer,
        amount=row.amount,
        tx_hash=row.tx_hash,
        block_number=row.block_number,
        block_time=row.block_timestamp,
    )


# -------------------------------------------------------------------------------- endpoints


@router.post(
    "",
    status_code=201,
    response_model=PaymentRequestWithPayments,
    responses=documented(
        "not_found", "account_not_active", "reference_taken", "memo_taken", "chain_unavailable"
    ),
)
async def create(body: NewPaymentRequest, command: MoneyCommand) -> Response:
    """Ask for a payment. Nothing moves until somebody pays."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: create_payment_request(session, context, merchant_id, body, now),
        lambda session, id_: show_payment_request(session, context, merchant_id, id_, now),
    )


@router.get("", response_model=Page[PaymentRequest], responses=documented("chain_unavailable"))
async def list_(context: Ctx, caller: Reader, query: Listed[PaymentRequestsQuery]) -> Response:
    now = await context.clock.now()
    return answer(
        await context.store.read(
            lambda session: list_payment_requests(session, context, caller.merchant_id, query, now)
        )
    )


@router.get(
    "/{request_id}",
    response_model=PaymentRequestWithPayments,
    responses=documented("not_found", "chain_unavailable"),
)
async def get(context: Ctx, caller: Reader, request_id: str) -> Response:
    """A payment request, and the newest transfers that named it."""
    now = await context.clock.now()
    return answer(
        await context.store.read(
            lambda session: show_payment_request(
                session, context, caller.merchant_id, request_id, now
            )
        )
    )


@router.get(
    "/{request_id}/payments",
    response_model=Page[RequestPayment],
    responses=documented("not_found"),
)
async def payments(
    context: Ctx, caller: Reader, request_id: str, query: Listed[ListQuery]
) -> Response:
    """Every transfer that named the request, newest first."""
    return answer(
        await context.store.read(
            lambda session: list_payments(session, caller.merchant_id, request_id, query)
        )
    )


@router.post(
    "/{request_id}/pay",
    status_code=202,
    response_model=PaymentRequestWithPayments,
    responses=documented(
        "not_found",
        "invalid_state",
        "operation_pending",
        "account_not_active",
        "signature_required",
        "signature_invalid",
        "insufficient_funds",
        "chain_unavailable",
    ),
)
async def pay(request_id: str, body: PayRequest, command: MoneyCommand) -> Response:
    """Pay from an account whose key the node manages, or with the owner's authorization."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: pay_payment_request(session, context, merchant_id, request_id, body, now),
        lambda session, id_: show_payment_request(session, context, merchant_id, id_, now),
    )


@router.post(
    "/{request_id}/cancel",
    response_model=PaymentRequestWithPayments,
    responses=documented("not_found", "invalid_state", "chain_unavailable"),
)
async def cancel(request_id: str, command: MoneyCommand) -> Response:
    """Ask for it no longer. A wallet may pay it all the same: that is told, and listed."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        None,
        lambda session: cancel_payment_request(session, context, merchant_id, request_id, now),
        lambda session, id_: show_payment_request(session, context, merchant_id, id_, now),
    )


@router.get(
    "/{request_id}/qr.svg",
    response_class=SvgResponse,
    responses=documented("not_found", "invalid_state", "chain_unavailable"),
)
async def qr_svg(context: Ctx, caller: Reader, request_id: str, query: Listed[QrQuery]) -> Response:
    """A QR code of `uri` or `url`."""
    return await svg(await _qr_text(context, caller.merchant_id, request_id, query), query.scale)


@router.get(
    "/{request_id}/qr.png",
    response_class=PngResponse,
    responses=documented("not_found", "invalid_state", "chain_unavailable"),
)
async def qr_png(context: Ctx, caller: Reader, request_id: str, query: Listed[QrQuery]) -> Response:
    """A QR code of `uri` or `url`."""
    return await png(await _qr_text(context, caller.merchant_id, request_id, query), query.scale)


async def _qr_text(context: Context, merchant_id: str, request_id: str, query: QrQuery) -> str:
    now = await context.clock.now()
    row = await context.store.read(
        lambda session: find(
            session, models.PaymentRequest, merchant_id, request_id, "payment request"
        )
    )
    return text_of_qr(context, row, query, now)
