"""Credit offers: what the platform's underwriter offers a seller, and the seller accepts.

An offer is signed here and lies in the database until it is accepted: only then does the chain hear
of it. Accepting opens the seller's credit line, or gives it new terms.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_account, find_active
from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.authorizations import intent_for
from node.bridge.context import Context, Ctx
from node.bridge.credit import find_line, line_now, not_before_indexed, totals_of
from node.bridge.events import record
from node.bridge.idempotency import CreditCommand, DeskCommand, Outcome
from node.bridge.operations import Call, queue, reference, refuse_if_pending
from node.bridge.pagination import Listed, ListQuery, page
from node.bridge.problems import Problem, documented, not_found
from node.bridge.rows import add, change, find, owned, table
from node.bridge.values import (
    MAX_TIME,
    Amount,
    AmountIn,
    Bytes32,
    Input,
    Note,
    Output,
    Page,
    SignedIntent,
    Time,
    rfc3339,
)
from node.chain.typed_data import offer_hash as hash_of_offer
from node.index.credit import line_id
from node.settings import DAY
from node.store import models
from node.store.models import LineStatus, OfferStatus

router = APIRouter(prefix="/credit_lines/offers", tags=["credit"])

_NOTHING = "0x" + "00" * 32
_MAX_LIMIT = 2**72 - 1
_ACCEPT_WITHIN = 30 * DAY


class OfferRequest(Input):
    account: str = Field(description="id of the seller's account")
    limit: AmountIn = Field(description="most principal")
    apr_bps: int = Field(ge=0, le=2_000, description="annual rate in 1/10,000")
    draw_fee_bps: int = Field(0, ge=0, le=1_000, description="fee on each draw in 1/10,000")
    holdback_bps: int = Field(
        ge=1, le=2_500, description="share of each sale that repays the line, in 1/10,000"
    )
    term_days: int = Field(ge=1, le=65_535, description="days from acceptance to draw in")
    accept_within: int = Field(
        _ACCEPT_WITHIN, gt=0, le=3_650 * DAY, description="seconds from now, on the chain's clock"
    )
    disclosure_hash: Bytes32 = Field(
        default=_NOTHING, description="of the disclosure the seller was shown"
    )
    model_hash: Bytes32 = Field(default=_NOTHING, description="of the scoring model")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "limit": "500000000",
                    "apr_bps": 1100,
                    "holdback_bps": 1500,
                    "term_days": 270,
                }
            ]
        }
    )


class AcceptRequest(Input):
    """Empty for a managed seller; the seller's own signature for an external one."""

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


class DeclineRequest(Input):
    reason: Note | None = Field(default=None, description="kept here, in the event")

    model_config = ConfigDict(
        json_schema_extra={"examples": [{}, {"reason": "the holdback is too high"}]}
    )


class OffersQuery(ListQuery):
    account: str | None = Field(None, max_length=64)
    status: OfferStatus | None = None


class Offer(Output):
    id: str
    account: str
    status: Literal["offered", "accepted", "declined", "revoked"]
    limit: Amount
    apr_bps: int
    draw_fee_bps: int
    holdback_bps: int
    term_days: int
    expires: Time = Field(description="can be accepted before, on the chain's clock")
    offer_hash: str
    underwriter: str
    signature: str = Field(description="the underwriter's")
    disclosure_hash: str
    model_hash: str
    credit_line: str = Field(description="id of the line it opens, or gives new terms")
    error: str | None = Field(description="of the last failed operation")
    created_at: Time
    accepted_at: Time | None = Field(description="by the chain's clock")
    declined_at: Time | None = Field(description="by its seller")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "off_01980ab2c3d97bbb8a9b0c1d2e3f4a5b",
                    "account": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "status": "offered",
                    "limit": "500000000",
                    "apr_bps": 1100,
                    "draw_fee_bps": 0,
                    "holdback_bps": 1500,
                    "term_days": 270,
                    "expires": "2026-03-02T09:15:00Z",
                    "offer_hash": "0x" + "9c" * 32,
                    "underwriter": "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
                    "signature": "0x" + "1b" * 65,
                    "disclosure_hash": _NOTHING,
                    "model_hash": _NOTHING,
                    "credit_line": "lin_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "error": None,
                    "created_at": "2026-01-31T09:15:00Z",
                    "accepted_at": None,
                    "declined_at": None,
                }
            ]
        },
    )


# ---------------------------------------------------------------------------------- service


def create_offer(
    session: Session, context: Context, merchant_id: str, request: OfferRequest, now: int
) -> Outcome:
    """Sign an offer with the underwriter's key.

    Raises:
        Problem: not_found, account_not_active, amount_too_large (above the cap of a line).
    """
    seller = find_active(session, merchant_id, request.account, "account")
    cap = min(totals_of(session)["line_cap"], _MAX_LIMIT)
    if request.limit > cap:
        detail = f"limit: {request.limit} is more than the {cap} a line may have"
        raise Problem("amount_too_large", detail, param="limit", limit=str(cap))
    underwriter = context.seed.platform("underwriter")
    offer_id = context.ids.new("off")
    offer: dict[str, Any] = {
        "seller": seller.address,
        "underwriter": underwriter.address,
        "limit": request.limit,
        "aprBps": request.apr_bps,
        "drawFeeBps": request.draw_fee_bps,
        "holdbackBps": request.holdback_bps,
        "termDays": request.term_days,
        "expires": min(now + request.accept_within, MAX_TIME),
        "disclosureHash": request.disclosure_hash,
        "modelHash": request.model_hash,
        "nonce": int(reference("plaza/credit_offer", offer_id), 16),
    }
    offer_hash = hash_of_offer(
        chain_id=context.manifest.chain_id, book=context.book_address, offer=offer
    )
    signature = underwriter.sign_hash(bytes.fromhex(offer_hash[2:]))
    add(
        session,
        models.CreditOffer,
        id=offer_id,
        merchant_id=merchant_id,
        account_id=seller.id,
        offer={**offer, "limit": str(offer["limit"]), "nonce": str(offer["nonce"])},
        offer_hash=offer_hash,
        signature="0x" + signature.hex(),
        status=OfferStatus.OFFERED,
        error=None,
        created_at=context.wall_now(),
        accepted_at=None,
        declined_at=None,
    )
    data = {"status": OfferStatus.OFFERED, "account": seller.id, "limit": str(request.limit)}
    record(session, context, merchant_id, "credit_offer.created", offer_id, data)
    return Outcome("credit_offer", offer_id, status_code=201)


def accept_offer(
    session: Session,
    context: Context,
    merchant_id: str,
    offer_id: str,
    request: AcceptRequest,
    now: int,
) -> Outcome:
    """Accept an offer for a managed seller, or by an external seller's signature.

    Raises:
        Problem: not_found, account_not_active, invalid_state, offer_expired, operation_pending,
            line_not_in_good_standing, signature_required, signature_invalid.
    """
    row = _find_open(session, merchant_id, offer_id)
    offer = contract_offer(row)
    if now >= offer["expires"]:
        raise Problem(
            "offer_expired",
            f"the credit offer {offer_id} could be accepted before {rfc3339(offer['expires'])};"
            f" it is {rfc3339(now)} on the chain",
            expires=rfc3339(offer["expires"]),
        )
    seller = find_active(session, merchant_id, row.account_id, "account")
    _refuse_bad_standing(session, seller.address, offer["aprBps"], now)
    fields = {"offerHash": row.offer_hash}
    nonce, signed = intent_for(
        context, seller, "Acceptance", row.offer_hash, fields, request.signed, now=now
    )
    call = Call(
        kind="credit_offer.accept",
        ref=row.offer_hash,
        signer="operator",
        to=context.book_address,
        calldata=context.book.encode(
            "acceptWithSignature", offer, row.signature, nonce, signed.deadline, signed.signature
        ),
    )
    if row.error is not None:
        change(session, models.CreditOffer, offer_id, {"error": None})
    return Outcome("credit_offer", offer_id, [queue(session, context, merchant_id, offer_id, call)])


def decline_offer(
    session: Session,
    context: Context,
    merchant_id: str,
    offer_id: str,
    request: DeclineRequest,
    now: int,
) -> Outcome:
    """Decline an offer for its seller, for good: at once here, and then on chain.

    The underwriter takes its signature back there, so that nobody can accept it by itself. No money
    moves by it, and the desk may offer anew; so a seller with a key of its own need not sign.

    Raises:
        Problem: not_found, invalid_state, operation_pending.
    """
    row = _find_open(session, merchant_id, offer_id)
    values = {"status": OfferStatus.DECLINED, "declined_at": now, "error": None}
    change(session, models.CreditOffer, offer_id, values)
    data = {"status": OfferStatus.DECLINED, "account": row.account_id, "reason": request.reason}
    record(session, context, merchant_id, "credit_offer.declined", offer_id, data)
    return _queue_revocation(session, context, row)


def revoke_offer(session: Session, context: Context, merchant_id: str, offer_id: str) -> Outcome:
    """Take an offer back for the platform. It is revoked once the chain has it.

    Raises:
        Problem: not_found, invalid_state, operation_pending.
    """
    row = _find_open(session, merchant_id, offer_id)
    if row.error is not None:
        change(session, models.CreditOffer, offer_id, {"error": None})
    return _queue_revocation(session, context, row)


def _find_open(session: Session, merchant_id: str, offer_id: str) -> Row[Any]:
    """Return an offer of which nothing has been made yet, and nothing is on its way."""
    # Where writers are not queued (PostgreSQL), who accepts and who declines must not both look
    # before either has written.
    row = session.execute(
        owned(models.CreditOffer, merchant_id)
        .where(table(models.CreditOffer).c.id == offer_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise not_found("credit offer", offer_id, "id")
    if row.status != OfferStatus.OFFERED:
        detail = f"the credit offer {offer_id} is {row.status} already"
        raise Problem("invalid_state", detail, actual=row.status)
    refuse_if_pending(session, "credit_offer.accept", offer_id)
    refuse_if_pending(session, "credit_offer.revoke", offer_id)
    return row


def _queue_revocation(session: Session, context: Context, row: Row[Any]) -> Outcome:
    call = Call(
        kind="credit_offer.revoke",
        ref=row.offer_hash,
        signer="underwriter",
        to=context.book_address,
        calldata=context.book.encode("revokeOffer", contract_offer(row)),
    )
    return Outcome("credit_offer", row.id, [queue(session, context, row.merchant_id, row.id, call)])


def _refuse_bad_standing(session: Session, seller: str, apr_bps: int, now: int) -> None:
    """What the credit book would refuse: bad debt, and a higher rate on what is owed."""
    row = find_line(session, seller)
    if row is None:
        return
    line = line_now(row, not_before_indexed(session, now))
    if line.status in (LineStatus.DEFAULTED, LineStatus.CHARGED_OFF) or line.past_due_since:
        raise Problem(
            "line_not_in_good_standing",
            f"the credit line of {seller} is {line.status}, with {line.payoff} owed, and takes no"
            " new terms while anything is past due",
            actual=line.status,
            payoff=str(line.payoff),
        )
    if line.window_end and apr_bps > line.apr_bps:
        raise Problem(
            "invalid_state",
            f"the offer's rate of {apr_bps} is above the {line.apr_bps} of what is owed on the"
            " credit line",
            actual=line.status,
            apr_bps=line.apr_bps,
        )


def contract_offer(row: Row[Any]) -> dict[str, Any]:
    """The offer as the credit book takes it."""
    return {**row.offer, "limit": int(row.offer["limit"]), "nonce": int(row.offer["nonce"])}


def show_offer(session: Session, merchant_id: str, offer_id: str) -> Offer:
    return _show(find(session, models.CreditOffer, merchant_id, offer_id, "credit offer"))


def list_offers(session: Session, merchant_id: str, query: OffersQuery) -> Page[Offer]:
    offers = table(models.CreditOffer)
    statement = owned(models.CreditOffer, merchant_id)
    if query.account is not None:
        find_account(session, merchant_id, query.account, "account")
        statement = statement.where(offers.c.account_id == query.account)
    if query.status is not None:
        statement = statement.where(offers.c.status == query.status)
    return page(session, statement, offers.c.id, query, _show)


def _show(row: Row[Any]) -> Offer:
    offer = contract_offer(row)
    return Offer(
        id=row.id,
        account=row.account_id,
        status=row.status,
        limit=offer["limit"],
        apr_bps=offer["aprBps"],
        draw_fee_bps=offer["drawFeeBps"],
        holdback_bps=offer["holdbackBps"],
        term_days=offer["termDays"],
        expires=offer["expires"],
        offer_hash=row.offer_hash,
        underwriter=offer["underwriter"],
        signature=row.signature,
        disclosure_hash=offer["disclosureHash"],
        model_hash=offer["modelHash"],
        credit_line=line_id(row.account_id),
        error=row.error,
        created_at=row.created_at,
        accepted_at=row.accepted_at,
        declined_at=row.declined_at,
    )


# -------------------------------------------------------------------------------- endpoints

_EMPTY, _NO_REASON = AcceptRequest(), DeclineRequest()


@router.post(
    "",
    status_code=201,
    response_model=Offer,
    responses=documented("not_found", "account_not_active", "amount_too_large"),
)
async def create(body: OfferRequest, command: DeskCommand) -> Response:
    """Offer a seller a credit line, signed by the underwriter. The chain is not asked."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: create_offer(session, context, merchant_id, body, now),
        lambda session, offer_id: show_offer(session, merchant_id, offer_id),
    )


@router.get("", response_model=Page[Offer], responses=documented("not_found"))
async def list_(context: Ctx, caller: Reader, query: Listed[OffersQuery]) -> Response:
    return answer(
        await context.store.read(lambda session: list_offers(session, caller.merchant_id, query))
    )


@router.get("/{offer_id}", response_model=Offer, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, offer_id: str) -> Response:
    return answer(
        await context.store.read(lambda session: show_offer(session, caller.merchant_id, offer_id))
    )


@router.post(
    "/{offer_id}/accept",
    status_code=202,
    response_model=Offer,
    responses=documented(
        "not_found",
        "account_not_active",
        "invalid_state",
        "offer_expired",
        "operation_pending",
        "line_not_in_good_standing",
        "signature_required",
        "signature_invalid",
    ),
)
async def accept(offer_id: str, command: CreditCommand, body: AcceptRequest = _EMPTY) -> Response:
    """Accept an offer for its seller, which opens the credit line or gives it new terms."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: accept_offer(session, context, merchant_id, offer_id, body, now),
        lambda session, id_: show_offer(session, merchant_id, id_),
    )


@router.post(
    "/{offer_id}/decline",
    status_code=202,
    response_model=Offer,
    responses=documented("not_found", "invalid_state", "operation_pending"),
)
async def decline(
    offer_id: str, command: CreditCommand, body: DeclineRequest = _NO_REASON
) -> Response:
    """Decline an offer for its seller, for good. On chain it is revoked."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: decline_offer(session, context, merchant_id, offer_id, body, now),
        lambda session, id_: show_offer(session, merchant_id, id_),
    )


@router.post(
    "/{offer_id}/revoke",
    status_code=202,
    response_model=Offer,
    responses=documented("not_found", "invalid_state", "operation_pending"),
)
async def revoke(offer_id: str, command: DeskCommand) -> Response:
    """Take an offer back that nobody has accepted yet."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        None,
        lambda session: revoke_offer(session, context, merchant_id, offer_id),
        lambda session, id_: show_offer(session, merchant_id, id_),
    )
