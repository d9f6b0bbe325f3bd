"""Paying a payment request from a wallet or a browser: public, for whoever was given its link."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse, Response

from node.bridge.answers import answer
from node.bridge.context import Context, Ctx
from node.bridge.operations import UNSETTLED
from node.bridge.pagination import Listed
from node.bridge.payment_requests import (
    PAY,
    Status,
    find_public,
    payment_of,
    queue_payment,
    refuse_unless_open,
    signed_by_owner,
    status_at,
    text_of_qr,
    uri_of,
    url_of,
)
from node.bridge.problems import Problem, documented
from node.bridge.qr import PngResponse, QrQuery, SvgResponse, png, svg
from node.bridge.relaying import Prefer, relayed
from node.bridge.rows import table
from node.bridge.values import Address, Amount, Output, Query, SignedAuthorization, Time, rfc3339
from node.store import models

router = APIRouter(prefix="/pay/requests", tags=["public"])

_REFRESH_SECONDS = 10
# The page runs no script, and shows no picture but its own.
_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"


class PublicPaymentRequest(Output):
    """All that a wallet needs to check, show and pay a payment request."""

    id: str
    merchant: str
    status: Status
    chain_id: int
    coin: str
    symbol: str
    decimals: int
    payee: str = Field(description="address")
    amount: Amount
    memo: str | None
    memo_word: str = Field(description="the memo of a transferWithMemo that pays it")
    nonce: str = Field(description="of an EIP-3009 authorization that pays it")
    uri: str | None = Field(description="EIP-681, while it is open")
    url: str
    expires_at: Time = Field(description="on the chain's clock")
    paid_tx: str | None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "prq_01980ab2c3d97bbb8a9b0c1d2e3f4a5b",
                    "merchant": "Demo shop",
                    "status": "open",
                    "chain_id": 4242,
                    "coin": "0xde709f2102306220921060314715629080e2fb77",
                    "symbol": "PLZ",
                    "decimals": 6,
                    "payee": "0x27b1fdb04752bbc536007a920d24acb045561c26",
                    "amount": "12500000",
                    "memo": "invoice 2026-0117",
                    "memo_word": "0x" + b"invoice 2026-0117".hex().ljust(64, "0"),
                    "nonce": "0x" + "3d" * 32,
                    "uri": "ethereum:0xde709f2102306220921060314715629080e2fb77@4242"
                    "/transferWithMemo?address=0x27b1fdb04752bbc536007a920d24acb045561c26"
                    "&uint256=12500000&bytes32=0x" + b"invoice 2026-0117".hex().ljust(64, "0"),
                    "url": "http://127.0.0.1:8400/v1/pay/requests"
                    "/prq_01980ab2c3d97bbb8a9b0c1d2e3f4a5b",
                    "expires_at": "2026-02-07T00:00:00Z",
                    "paid_tx": None,
                }
            ]
        },
    )


class RelayedPayment(SignedAuthorization):
    """EIP-3009 TransferWithAuthorization from payer to payee, as `typed_data` has it."""

    payer: Address

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "payer": "0x52908400098527886E0F7030069857D2E4169EE7",
                    "signature": "0x" + "1b" * 65,
                    "valid_after": 0,
                    "valid_before": 1770422400,
                }
            ]
        }
    )


class TypedDataQuery(Query):
    payer: Address


class TypedField(Output):
    name: str
    type: str


class TypedData(Output):
    """For eth_signTypedData_v4, as it is."""

    types: dict[str, list[TypedField]]
    primaryType: Literal["TransferWithAuthorization"]
    domain: dict[str, Any]
    message: dict[str, str]

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "types": {
                        "TransferWithAuthorization": [
                            {"name": "from", "type": "address"},
                            {"name": "to", "type": "address"},
                        ]
                    },
                    "primaryType": "TransferWithAuthorization",
                    "domain": {
                        "name": "Plaza Coin",
                        "version": "1",
                        "chainId": 4242,
                        "verifyingContract": "0xde709f2102306220921060314715629080e2fb77",
                    },
                    "message": {
                        "from": "0x52908400098527886E0F7030069857D2E4169EE7",
                        "to": "0x27b1fdb04752bbc536007a920d24acb045561c26",
                        "value": "12500000",
                        "validAfter": "0",
                        "validBefore": "1770422400",
                        "nonce": "0x" + "3d" * 32,
                    },
                }
            ]
        },
    )


# ---------------------------------------------------------------------------------- service


def relay_payment(
    session: Session, context: Context, request_id: str, given: RelayedPayment, now: int
) -> list[str]:
    """Queue the buyer's own payment; the same buyer's sent again changes nothing.

    Args:
        now: the chain's time.

    Returns:
        The operation that carries it out.

    Raises:
        Problem: not_found, invalid_state, signature_invalid, operation_pending (another's payment),
            insufficient_funds.
    """
    row = find_public(session, request_id, lock=True)
    refuse_unless_open(row, now)
    signed = signed_by_owner(context, row, given.payer, given, now, within="")
    operations = table(models.Operation)
    under_way = session.execute(
        select(operations.c.id, operations.c.debit_address).where(
            operations.c.resource_type == "payment_request",
            operations.c.resource_id == row.id,
            operations.c.kind == PAY,
            operations.c.status.in_(UNSETTLED),
        )
    ).first()
    if under_way is None:
        return [queue_payment(session, context, row, given.payer, signed)]
    if under_way.debit_address != given.payer:
        raise Problem(
            "operation_pending", f"somebody's payment of {row.id} is on its way", retryable=True
        )
    return [under_way.id]


def show_public(
    session: Session, context: Context, request_id: str, now: int
) -> PublicPaymentRequest:
    row = find_public(session, request_id)
    status = status_at(row, now)
    coin = context.manifest.coin
    return PublicPaymentRequest(
        id=row.id,
        merchant=_merchant_of(session, row),
        status=status,
        chain_id=context.manifest.chain_id,
        coin=context.coin_address,
        symbol=coin.symbol,
        decimals=coin.decimals,
        payee=row.payee_address,
        amount=row.amount,
        memo=row.memo,
        memo_word=row.memo_word,
        nonce=row.nonce,
        uri=uri_of(context, row) if status == "open" else None,
        url=url_of(context, row),
        expires_at=row.expires_at,
        paid_tx=row.paid_tx,
    )


def _merchant_of(session: Session, row: Row[Any]) -> str:
    merchants = table(models.Merchant)
    name = session.scalar(select(merchants.c.name).where(merchants.c.id == row.merchant_id))
    return name or ""


# ------------------------------------------------------------------------------- as a page


def page_of(shown: PublicPaymentRequest) -> str:
    """The request for a browser, without any script. It loads itself again while it is open."""
    unit = 10**shown.decimals
    part = f"{shown.amount % unit:0{shown.decimals}d}".rstrip("0").ljust(2, "0")
    amount = f"{shown.amount // unit:,}.{part} {shown.symbol}"
    lines = [("To", f"{shown.merchant}, {shown.payee}")]
    if shown.memo is not None:
        lines.append(("For", shown.memo))
    lines.append(("Status", shown.status))
    if shown.paid_tx is not None:
        lines.append(("Transaction", shown.paid_tx))
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines)
    refresh = ""
    if shown.uri is not None:
        refresh = f'<meta http-equiv="refresh" content="{_REFRESH_SECONDS}">'
        command = f"wallet send {shown.payee} {amount.split(maxsplit=1)[0].replace(',', '')}"
        body += (
            f"<dt>Until</dt><dd>{escape(rfc3339(shown.expires_at))}</dd></dl>"
            f'<p><img src="{escape(shown.id)}/qr.svg" alt="The same for a wallet\'s camera"></p>'
            f'<p><a href="{escape(shown.uri)}">Open in a wallet</a>, or pay by command:</p>'
            f"<pre>{escape(command)} --memo {escape(shown.memo_word)}</pre>"
        )
    else:
        body += "</dl>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">{refresh}'
        f"<title>{escape(amount)} to {escape(shown.merchant)}</title><style>"
        "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:2rem auto;padding:0 1rem}"
        "dt{color:#555}dd{margin:0 0 .6rem;overflow-wrap:anywhere}"
        "pre{white-space:pre-wrap;overflow-wrap:anywhere}img{max-width:100%}"
        f"</style></head><body><h1>{escape(amount)}</h1><dl>{body}</body></html>"
    )


def _wants_page(accept: str | None) -> bool:
    return accept is not None and "text/html" in accept and "application/json" not in accept


# -------------------------------------------------------------------------------- endpoints


@router.get(
    "/{request_id}",
    response_model=PublicPaymentRequest,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        **documented("not_found", "chain_unavailable"),
    },
)
async def get(
    context: Ctx,
    request_id: str,
    accept: Annotated[
        str | None, Header(description="`text/html`: the same as a page for people")
    ] = None,
) -> Response:
    """What is to be paid, to whom, and whether it was."""
    now = await context.clock.now()
    shown = await context.store.read(lambda session: show_public(session, context, request_id, now))
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    if not _wants_page(accept):
        return answer(shown, headers=headers)
    return HTMLResponse(page_of(shown), headers={**headers, "Content-Security-Policy": _POLICY})


@router.get(
    "/{request_id}/typed_data",
    response_model=TypedData,
    responses=documented("not_found", "invalid_state", "chain_unavailable"),
)
async def typed_data(context: Ctx, request_id: str, query: Listed[TypedDataQuery]) -> Response:
    """What a payer signs so that somebody else can send its payment."""
    now = await context.clock.now()
    row = await context.store.read(lambda session: find_public(session, request_id))
    refuse_unless_open(row, now)
    return answer(TypedData(**payment_of(row, query.payer).typed_data(context, row.expires_at)))


@router.post(
    "/{request_id}",
    status_code=202,
    response_model=PublicPaymentRequest,
    responses=documented(
        "not_found",
        "invalid_state",
        "operation_pending",
        "signature_invalid",
        "insufficient_funds",
        "chain_unavailable",
    ),
)
async def relay(
    context: Ctx, request_id: str, body: RelayedPayment, prefer: Prefer = None
) -> Response:
    """Relay the payer's signature. The signature itself makes this safe to send again."""
    # Guessed ids get no further than this.
    await context.store.read(lambda session: find_public(session, request_id))
    now = await context.clock.now()
    return await relayed(
        context,
        ("payment_request", request_id),
        lambda session: relay_payment(session, context, request_id, body, now),
        lambda session: show_public(session, context, request_id, now),
        prefer,
    )


@router.get(
    "/{request_id}/qr.svg",
    response_class=SvgResponse,
    responses=documented("not_found", "invalid_state", "chain_unavailable"),
)
async def qr_svg(context: Ctx, request_id: str, query: Listed[QrQuery]) -> Response:
    """A QR code of `uri` or `url`."""
    return await svg(await _qr_text(context, request_id, query), query.scale)


@router.get(
    "/{request_id}/qr.png",
    response_class=PngResponse,
    responses=documented("not_found", "invalid_state", "chain_unavailable"),
)
async def qr_png(context: Ctx, request_id: str, query: Listed[QrQuery]) -> Response:
    """A QR code of `uri` or `url`."""
    return await png(await _qr_text(context, request_id, query), query.scale)


async def _qr_text(context: Context, request_id: str, query: QrQuery) -> str:
    now = await context.clock.now()
    row = await context.store.read(lambda session: find_public(session, request_id))
    return text_of_qr(context, row, query, now)
