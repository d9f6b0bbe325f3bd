"""Disputes: what is still held of a delivered purchase waits for the arbiter, or for a party to
give in.

What is said stays here and is shown in full; the chain has the keccak256 of its canonical form,
which anyone to whom the form is shown can compute again. Complaints and evidence that a party put
on chain by itself are shown with their hash alone.

A party gives in by `POST /v1/purchases/{id}/release` (payer) and `/void` (seller, operator), whole
or in part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from eth_utils.crypto import keccak
from fastapi import APIRouter
from pydantic import ConfigDict, Field, StringConstraints
from sqlalchemy import func, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_account
from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.authorizations import intent_for
from node.bridge.context import Context, Ctx
from node.bridge.credit import holdback_of
from node.bridge.idempotency import ArbitrateCommand, Outcome, PurchasesCommand
from node.bridge.operations import UNSETTLED, Call, reference, refuse_if_pending
from node.bridge.problems import Problem, documented
from node.bridge.purchases import (
    contract_terms,
    find_purchase,
    operator_of,
    part,
    queue_action,
    refuse_beside,
    wrong_state,
)
from node.bridge.rows import add, change, table
from node.bridge.values import (
    Amount,
    AmountOrNothingIn,
    Bytes32,
    Input,
    Note,
    Output,
    SignedIntent,
    Time,
    rfc3339,
)
from node.store import models
from node.store.models import DisputeState, StatementKind

router = APIRouter(prefix="/purchases", tags=["purchases"])

MOST_EVIDENCE = 100  # of one dispute, by way of the bridge
_MOST_OTHERS = 100  # shown of what came on chain by itself

_STATEMENTS, _OPERATIONS = table(models.Statement), table(models.Operation)
_DISPUTES, _LOGS = table(models.Dispute), table(models.EvidenceLog)

# ---------------------------------------------------------------------------------- schemas

_Text = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=4_000,
        # Line breaks and tabs, but no other control characters.
        pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+$",
    ),
]
_SIGNED: dict[str, Any] = {"signature": "0x" + "1b" * 65, "deadline": 1769936400}


class StatementRequest(Input):
    text: _Text
    reference: Note | None = Field(
        default=None, description="such as the case number, or the hash of a file"
    )
    salt: Bytes32 | None = Field(
        default=None, description="32 random bytes, so that nobody can guess the text by its hash"
    )


class DisputeRequest(StatementRequest):
    signed: SignedIntent | None = Field(
        default=None, description="of an external payer; without it the refusal says what to sign"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "The cup came broken.", "reference": "ticket 4711"},
                {"text": "The cup came broken.", "signed": _SIGNED},
            ]
        }
    )


class EvidenceRequest(StatementRequest):
    by: Literal["payer", "payee", "operator"]
    signed: SignedIntent | None = Field(
        default=None, description="of an external party; without it the refusal says what to sign"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"by": "payee", "text": "It left us whole.", "reference": "sha256:9f86d081…"},
                {"by": "payer", "text": "A photo of the parcel.", "signed": _SIGNED},
            ]
        }
    )


class ResolveRequest(StatementRequest):
    to_payer: AmountOrNothingIn = Field(
        description="of what is held; the rest is released to the seller"
    )
    fee_bps: int | None = Field(
        default=None,
        ge=0,
        le=10_000,
        description="of what is released, in 1/10,000, inside the signed bounds; without it: the"
        " purchase's",
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "to_payer": "4000000",
                    "text": "Packed badly, carried badly: shared.",
                    "reference": "case 12",
                }
            ]
        }
    )


class Evidence(Output):
    """A complaint or evidence; `keccak256(canonical)` is `hash`."""

    id: str | None = Field(description="null where it did not come by the bridge")
    kind: Literal["complaint", "evidence"]
    by: Literal["payer", "payee", "operator"]
    party: str = Field(description="address")
    status: Literal["pending", "succeeded", "failed"]
    text: str | None = Field(description="null, as all that is not on chain, where it did not")
    reference: str | None
    salt: str | None
    canonical: str | None = Field(description="what was hashed, as UTF-8")
    hash: str
    error: str | None
    tx_hash: str | None
    block_number: int | None
    submitted_at: Time | None = Field(description="by the chain's clock")


class Decision(Output):
    """The arbiter's decision; `keccak256(canonical)` is `hash`."""

    to_payer: Amount
    to_seller: Amount = Field(description="with the fee and what repays a credit line")
    text: str | None = Field(description="null where it did not come by the bridge")
    reference: str | None
    salt: str | None
    canonical: str | None
    hash: str


class Dispute(Output):
    purchase: str
    order_hash: str
    status: Literal["pending", "failed", "open", "decided", "defaulted", "settled"] = Field(
        description="pending: on its way to the chain; failed: it was refused there; defaulted: not"
        " decided in time, all went to the payer; settled: a party gave in"
    )
    error: str | None = Field(description="of the purchase's last failed operation")
    disputed: Amount = Field(description="what was held when it was opened")
    held: Amount = Field(description="what of it still is")
    to_payer: Amount
    to_seller: Amount = Field(description="with the fee and what repays a credit line")
    decision: Decision | None
    evidence: list[Evidence] = Field(description="the oldest first")
    more_evidence: bool = Field(
        description="whether more came on chain by itself than is shown here"
    )
    opened_at: Time | None = Field(description="this and the following: by the chain's clock")
    deadline: Time | None = Field(
        description="the arbiter decides before; from then on all can go back to the payer"
    )
    closed_at: Time | None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "purchase": "pur_01980ab2c3d97bbb8a9b0c1d2e3f4a5b",
                    "order_hash": "0x" + "9c" * 32,
                    "status": "decided",
                    "error": None,
                    "disputed": "12500000",
                    "held": "0",
                    "to_payer": "4000000",
                    "to_seller": "8500000",
                    "decision": {
                        "to_payer": "4000000",
                        "to_seller": "8500000",
                        "text": "Packed badly, carried badly: shared.",
                        "reference": "case 12",
                        "salt": None,
                        "canonical": '{"form":"plaza/statement/1",…}',
                        "hash": "0x" + "5e" * 32,
                    },
                    "evidence": [
                        {
                            "id": "sta_01980ab2c3d97bbb8a9b0c1d2e3f4a5b",
                            "kind": "complaint",
                            "by": "payer",
                            "party": "0x52908400098527886E0F7030069857D2E4169EE7",
                            "status": "succeeded",
                            "text": "The cup came broken.",
                            "reference": "ticket 4711",
                            "salt": None,
                            "canonical": '{"form":"plaza/statement/1",…}',
                            "hash": "0x" + "7a" * 32,
                            "error": None,
                            "tx_hash": "0x" + "5f" * 32,
                            "block_number": 17,
                            "submitted_at": "2026-02-04T09:15:00Z",
                        }
                    ],
                    "more_evidence": False,
                    "opened_at": "2026-02-04T09:15:00Z",
                    "deadline": "2026-03-06T09:15:00Z",
                    "closed_at": "2026-02-06T10:00:00Z",
                }
            ]
        },
    )


# ------------------------------------------------------------------------ service: what is said


def canonical_form(
    kind: str, order_hash: str, party: str, text: str, reference: str | None, salt: str | None
) -> str:
    """What is hashed: JSON with sorted keys and without white space between them (RFC 8785), whose
    values are strings or null. It names order and party, so it stands for no other."""
    fields = {
        "form": "plaza/statement/1",
        "kind": kind,
        "order_hash": order_hash,
        "party": party,
        "reference": reference,
        "salt": salt,
        "text": text,
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def hash_of_statement(canonical: str) -> str:
    return "0x" + keccak(canonical.encode()).hex()


def _statement(
    purchase: Row[Any], kind: StatementKind, party: str, said: StatementRequest
) -> dict[str, Any]:
    canonical = canonical_form(
        kind, purchase.order_hash, party, said.text, said.reference, said.salt
    )
    return {
        "kind": kind,
        "party": party,
        "text": said.text,
        "reference": said.reference,
        "salt": said.salt,
        "hash": hash_of_statement(canonical),
    }


def _known(session: Session, purchase: Row[Any], statement: Mapping[str, Any]) -> str | None:
    """The id of an equal statement that failed, which may be tried again.

    Raises:
        Problem: statement_taken, where it is on chain or on its way there.
    """
    row = session.execute(
        select(_STATEMENTS.c.id, _STATEMENTS.c.operation_id, _OPERATIONS.c.status.label("tried"))
        .join(_OPERATIONS, _OPERATIONS.c.id == _STATEMENTS.c.operation_id)
        .where(_STATEMENTS.c.purchase_id == purchase.id, _STATEMENTS.c.hash == statement["hash"])
    ).one_or_none()
    on_chain = session.scalar(
        select(_LOGS.c.id)
        .where(
            _LOGS.c.order_hash == purchase.order_hash,
            _LOGS.c.party == statement["party"],
            _LOGS.c.hash == statement["hash"],
        )
        .limit(1)
    )
    if on_chain is None and (row is None or row.tried not in UNSETTLED):
        return None if row is None else str(row.id)
    raise Problem(
        "statement_taken",
        f"{statement['party']} has submitted the same for the purchase {purchase.id} already:"
        f" {statement['hash']}",
        param="text",
        hash=statement["hash"],
        operation_id=None if row is None else row.operation_id,
    )


def _say(
    session: Session,
    context: Context,
    purchase: Row[Any],
    statement: Mapping[str, Any],
    known: str | None,
    outcome: Outcome,
) -> Outcome:
    """Keep what is said, with the operation that puts its hash on chain."""
    (operation_id,) = outcome.operations
    if known is not None:
        change(session, models.Statement, known, {"operation_id": operation_id})
        return outcome
    add(
        session,
        models.Statement,
        id=context.ids.new("sta"),
        merchant_id=purchase.merchant_id,
        purchase_id=purchase.id,
        **statement,
        operation_id=operation_id,
        created_at=context.wall_now(),
    )
    return outcome


# ------------------------------------------------------------------------- service: what is done


def open_dispute(
    session: Session,
    context: Context,
    merchant_id: str,
    purchase_id: str,
    request: DisputeRequest,
    now: int,
) -> Outcome:
    """Dispute what is held of a delivered purchase, for its payer.

    Raises:
        Problem: not_found, invalid_state, dispute_window_closed, operation_pending,
            signature_required, signature_invalid, invalid_request.
    """
    purchase = find_purchase(session, merchant_id, purchase_id)
    if not purchase.held or not purchase.dispute_deadline or purchase.dispute is not None:
        raise wrong_state(purchase, "disputed")
    if now >= purchase.dispute_deadline:
        raise Problem(
            "dispute_window_closed",
            f"the purchase {purchase_id} could be disputed before"
            f" {rfc3339(purchase.dispute_deadline)}; it is {rfc3339(now)} on the chain",
            deadline=rfc3339(purchase.dispute_deadline),
        )
    refuse_if_pending(session, "purchase.dispute", purchase_id)
    terms = contract_terms(purchase)
    payer = find_account(session, merchant_id, purchase.payer_account_id)
    statement = _statement(purchase, StatementKind.COMPLAINT, terms["payer"], request)
    known = _known(session, purchase, statement)
    ref = reference("plaza/dispute", purchase.order_hash)
    fields = {"orderHash": purchase.order_hash, "evidenceHash": statement["hash"]}
    nonce, signed = intent_for(context, payer, "Dispute", ref, fields, request.signed, now=now)
    call = Call(
        kind="purchase.dispute",
        ref=ref,
        signer=operator_of(context, terms),
        to=context.escrow_address,
        calldata=context.escrow.encode(
            "disputeWithSignature",
            terms,
            statement["hash"],
            nonce,
            signed.deadline,
            signed.signature,
        ),
    )
    outcome = queue_action(session, context, purchase, call)
    return _say(session, context, purchase, statement, known, outcome)


def submit_evidence(
    session: Session,
    context: Context,
    merchant_id: str,
    purchase_id: str,
    request: EvidenceRequest,
    now: int,
) -> Outcome:
    """Add a party's evidence to an open dispute.

    Raises:
        Problem: not_found, invalid_state, arbitration_over, statement_taken, too_much_evidence,
            signature_required, signature_invalid, invalid_request.
    """
    purchase = find_purchase(session, merchant_id, purchase_id)
    _refuse_unless_open(purchase, now, "supplied with evidence")
    terms = contract_terms(purchase)
    party = terms[request.by]
    statement = _statement(purchase, StatementKind.EVIDENCE, party, request)
    known = _known(session, purchase, statement)
    if known is None:
        _refuse_too_much(session, purchase_id)
    ref = reference("plaza/evidence", purchase.order_hash, statement["hash"])
    if request.by == "operator":
        if request.signed is not None:
            raise Problem(
                "invalid_request", "signed: the node signs for the operator", param="signed"
            )
        calldata = context.escrow.encode("submitEvidence", terms, statement["hash"])
    else:
        payer, payee = purchase.payer_account_id, purchase.payee_account_id
        account = find_account(session, merchant_id, payer if request.by == "payer" else payee)
        fields = {
            "party": party,
            "orderHash": purchase.order_hash,
            "evidenceHash": statement["hash"],
        }
        nonce, signed = intent_for(
            context, account, "Evidence", ref, fields, request.signed, now=now
        )
        calldata = context.escrow.encode(
            "submitEvidenceWithSignature",
            terms,
            party,
            statement["hash"],
            nonce,
            signed.deadline,
            signed.signature,
        )
    call = Call(
        kind="purchase.evidence",
        ref=ref,
        signer=operator_of(context, terms),
        to=context.escrow_address,
        calldata=calldata,
    )
    # Several parties may speak at once.
    outcome = queue_action(session, context, purchase, call, alone=False)
    return _say(session, context, purchase, statement, known, outcome)


def resolve_dispute(
    session: Session,
    context: Context,
    merchant_id: str,
    purchase_id: str,
    request: ResolveRequest,
    now: int,
) -> Outcome:
    """Decide a dispute with the arbiter's key.

    Raises:
        Problem: not_found, invalid_state, arbitration_over, operation_pending, amount_too_large,
            invalid_request.
    """
    purchase = find_purchase(session, merchant_id, purchase_id)
    _refuse_unless_open(purchase, now, "decided")
    # A decision is on what is held now, so nothing of it may be on its way.
    refuse_beside(session, purchase, "purchase.release", "purchase.void", "purchase.resolve")
    to_payer = 0
    if request.to_payer:
        to_payer = part(request.to_payer, purchase.held, "held", param="to_payer")
    terms = contract_terms(purchase)
    fee_bps = purchase.fee_bps if request.fee_bps is None else request.fee_bps
    if not terms["minFeeBps"] <= fee_bps <= terms["maxFeeBps"]:
        raise Problem(
            "invalid_request",
            f"fee_bps: {fee_bps} is not within the {terms['minFeeBps']} to {terms['maxFeeBps']}"
            " that the payer has signed",
            param="fee_bps",
        )
    arbiter = context.seed.platform("arbiter").address
    statement = _statement(purchase, StatementKind.DECISION, arbiter, request)
    known = _known(session, purchase, statement)
    released = purchase.held - to_payer
    net = released - released * fee_bps // 10_000
    paid = net - holdback_of(session, terms["payee"], net, now)
    call = Call(
        kind="purchase.resolve",
        ref=reference("plaza/resolve", purchase.order_hash),
        signer="arbiter",
        to=context.escrow_address,
        calldata=context.escrow.encode("resolve", terms, to_payer, fee_bps, statement["hash"]),
        # An operation has one: where both get something, the payer's is shown as pending.
        credit=(terms["payer"], to_payer) if to_payer else (terms["payee"], paid),
    )
    outcome = queue_action(session, context, purchase, call)
    return _say(session, context, purchase, statement, known, outcome)


def expire_dispute(
    session: Session, context: Context, merchant_id: str, purchase_id: str, now: int
) -> Outcome:
    """Give all that is held back to the payer, where the arbiter has not decided in time.

    Raises:
        Problem: not_found, invalid_state, arbitration_open, operation_pending.
    """
    purchase = find_purchase(session, merchant_id, purchase_id)
    if purchase.dispute != DisputeState.OPEN:
        raise wrong_state(purchase, "given back for want of a decision")
    if now < purchase.dispute_deadline:
        raise Problem(
            "arbitration_open",
            f"the arbiter can decide on the purchase {purchase_id} before"
            f" {rfc3339(purchase.dispute_deadline)}; it is {rfc3339(now)} on the chain",
            retryable=True,
            deadline=rfc3339(purchase.dispute_deadline),
        )
    terms = contract_terms(purchase)
    call = Call(
        kind="purchase.expire_dispute",
        ref=purchase.order_hash,  # as node.outbox.deadlines has it
        signer=operator_of(context, terms),
        to=context.escrow_address,
        calldata=context.escrow.encode("expireDispute", terms),
        credit=(terms["payer"], purchase.held),
    )
    return queue_action(session, context, purchase, call)


def _refuse_unless_open(purchase: Row[Any], now: int, wanted: str) -> None:
    if purchase.dispute != DisputeState.OPEN:
        raise wrong_state(purchase, wanted)
    if now >= purchase.dispute_deadline:
        raise Problem(
            "arbitration_over",
            f"the arbitration of the purchase {purchase.id} ended at"
            f" {rfc3339(purchase.dispute_deadline)}; it is {rfc3339(now)} on the chain",
            deadline=rfc3339(purchase.dispute_deadline),
        )


def _refuse_too_much(session: Session, purchase_id: str) -> None:
    count = session.scalar(
        select(func.count())
        .select_from(_STATEMENTS)
        .where(
            _STATEMENTS.c.purchase_id == purchase_id,
            _STATEMENTS.c.kind == StatementKind.EVIDENCE,
        )
    )
    if (count or 0) >= MOST_EVIDENCE:
        raise Problem(
            "too_much_evidence",
            f"the dispute of {purchase_id} has {count} pieces of evidence, and takes at most"
            f" {MOST_EVIDENCE} by the bridge",
            limit=MOST_EVIDENCE,
        )


# ------------------------------------------------------------------------------ service: read


def show_dispute(session: Session, merchant_id: str, purchase_id: str) -> Dispute:
    """Raises:
    Problem: not_found, also where the purchase was never disputed.
    """
    purchase = find_purchase(session, merchant_id, purchase_id)
    statements = session.execute(
        select(_STATEMENTS, _OPERATIONS.c.status.label("tried"), _OPERATIONS.c.error.label("error"))
        .join(_OPERATIONS, _OPERATIONS.c.id == _STATEMENTS.c.operation_id)
        .where(_STATEMENTS.c.purchase_id == purchase_id)
        .order_by(_STATEMENTS.c.id)
    ).all()
    dispute = session.execute(
        select(_DISPUTES).where(_DISPUTES.c.order_hash == purchase.order_hash)
    ).one_or_none()
    complaints = [row for row in statements if row.kind == StatementKind.COMPLAINT]
    if dispute is None and not complaints:
        raise Problem("not_found", f"the purchase {purchase_id} has no dispute", param="id")
    evidence, more = _evidence(session, purchase, statements)
    if dispute is None:
        pending = any(row.tried in UNSETTLED for row in complaints)
        return Dispute(
            purchase=purchase_id,
            order_hash=purchase.order_hash,
            status="pending" if pending else "failed",
            error=purchase.error,
            disputed=0,
            held=purchase.held or 0,
            to_payer=0,
            to_seller=0,
            decision=None,
            evidence=evidence,
            more_evidence=more,
            opened_at=None,
            deadline=None,
            closed_at=None,
        )
    return Dispute(
        purchase=purchase_id,
        order_hash=purchase.order_hash,
        status=purchase.dispute,
        error=purchase.error,
        disputed=dispute.disputed,
        held=purchase.held,
        to_payer=dispute.to_payer,
        to_seller=dispute.to_seller,
        decision=_decision(purchase, dispute, statements),
        evidence=evidence,
        more_evidence=more,
        opened_at=dispute.opened_at,
        deadline=dispute.deadline,
        closed_at=dispute.closed_at,
    )


def _evidence(
    session: Session, purchase: Row[Any], statements: Sequence[Row[Any]]
) -> tuple[list[Evidence], bool]:
    """What is on chain, the oldest first, and then what is not; and whether some is left out.

    Any party may write to the chain as much as it likes: what it repeats is shown once, and what
    did not come by the bridge as far as there is room.
    """
    said = {(row.party, row.hash): row for row in statements if row.kind != StatementKind.DECISION}
    hashes = [hash_ for _, hash_ in said]
    first = (
        select(func.min(_LOGS.c.id))
        .where(_LOGS.c.order_hash == purchase.order_hash)
        .group_by(_LOGS.c.party, _LOGS.c.hash)
    )
    logs = select(_LOGS).where(_LOGS.c.id.in_(first)).order_by(_LOGS.c.id)
    known = session.execute(logs.where(_LOGS.c.hash.in_(hashes))).all()
    others = session.execute(logs.where(_LOGS.c.hash.not_in(hashes)).limit(_MOST_OTHERS + 1)).all()
    more = len(others) > _MOST_OTHERS
    shown = []
    for row in sorted([*known, *others[:_MOST_OTHERS]], key=lambda row: row.id):
        statement = said.pop((row.party, row.hash), None)
        shown.append(_show_evidence(purchase, row, statement))
    shown += [_show_evidence(purchase, None, statement) for statement in said.values()]
    return shown, more


def _show_evidence(
    purchase: Row[Any], on_chain: Row[Any] | None, statement: Row[Any] | None
) -> Evidence:
    row = statement if on_chain is None else on_chain
    assert row is not None
    status: Literal["pending", "succeeded", "failed"] = "succeeded"
    if on_chain is None:
        status = "pending" if row.tried in UNSETTLED else "failed"
    return Evidence(
        id=None if statement is None else statement.id,
        kind=row.kind,
        by=_role(purchase, row.party),
        party=row.party,
        status=status,
        **_words(purchase, statement),
        hash=row.hash,
        error=row.error if status == "failed" else None,
        tx_hash=None if on_chain is None else on_chain.tx_hash,
        block_number=None if on_chain is None else on_chain.block_number,
        submitted_at=None if on_chain is None else on_chain.block_timestamp,
    )


def _decision(
    purchase: Row[Any], dispute: Row[Any], statements: Sequence[Row[Any]]
) -> Decision | None:
    if dispute.decision_hash is None:
        return None
    statement = next(
        (
            row
            for row in statements
            if (row.kind, row.hash) == (StatementKind.DECISION, dispute.decision_hash)
        ),
        None,
    )
    return Decision(
        to_payer=dispute.decided_to_payer,
        to_seller=dispute.decided_to_seller,
        **_words(purchase, statement),
        hash=dispute.decision_hash,
    )


def _words(purchase: Row[Any], statement: Row[Any] | None) -> dict[str, str | None]:
    if statement is None:
        return dict.fromkeys(("text", "reference", "salt", "canonical"))
    words = (statement.text, statement.reference, statement.salt)
    return {
        **dict(zip(("text", "reference", "salt"), words, strict=True)),
        "canonical": canonical_form(statement.kind, purchase.order_hash, statement.party, *words),
    }


def _role(purchase: Row[Any], party: str) -> Literal["payer", "payee", "operator"]:
    if party == purchase.terms["payer"]:
        return "payer"
    return "payee" if party == purchase.terms["payee"] else "operator"


# -------------------------------------------------------------------------------- endpoints


@router.post(
    "/{purchase_id}/disputes",
    status_code=202,
    response_model=Dispute,
    responses=documented(
        "not_found",
        "invalid_state",
        "dispute_window_closed",
        "operation_pending",
        "statement_taken",
        "signature_required",
        "signature_invalid",
    ),
)
async def open_(purchase_id: str, body: DisputeRequest, command: PurchasesCommand) -> Response:
    """Dispute what is held of a delivered purchase, for its payer, while the window is open."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: open_dispute(session, context, merchant_id, purchase_id, body, now),
        lambda session, id_: show_dispute(session, merchant_id, id_),
    )


@router.get("/{purchase_id}/disputes", response_model=Dispute, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, purchase_id: str) -> Response:
    """The dispute of a purchase: what was said, until when it can be decided, how it ended."""
    return answer(
        await context.store.read(
            lambda session: show_dispute(session, caller.merchant_id, purchase_id)
        )
    )


@router.post(
    "/{purchase_id}/disputes/evidence",
    status_code=202,
    response_model=Dispute,
    responses=documented(
        "not_found",
        "invalid_state",
        "arbitration_over",
        "statement_taken",
        "too_much_evidence",
        "signature_required",
        "signature_invalid",
    ),
)
async def evidence(purchase_id: str, body: EvidenceRequest, command: PurchasesCommand) -> Response:
    """Add evidence of payer, seller or operator to an open dispute."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: submit_evidence(session, context, merchant_id, purchase_id, body, now),
        lambda session, id_: show_dispute(session, merchant_id, id_),
    )


@router.post(
    "/{purchase_id}/disputes/resolve",
    status_code=202,
    response_model=Dispute,
    responses=documented(
        "not_found",
        "invalid_state",
        "arbitration_over",
        "operation_pending",
        "statement_taken",
        "amount_too_large",
    ),
)
async def resolve(purchase_id: str, body: ResolveRequest, command: ArbitrateCommand) -> Response:
    """Decide a dispute, signed by the platform's arbiter. Needs the scope `arbitrate`."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: resolve_dispute(session, context, merchant_id, purchase_id, body, now),
        lambda session, id_: show_dispute(session, merchant_id, id_),
    )


@router.post(
    "/{purchase_id}/disputes/expire",
    status_code=202,
    response_model=Dispute,
    responses=documented("not_found", "invalid_state", "arbitration_open", "operation_pending"),
)
async def expire(purchase_id: str, command: PurchasesCommand) -> Response:
    """Give all back to the payer where no decision came in time. The worker does so by itself."""
    context, merchant_id = command.context, command.caller.merchant_id

    async def at(now: int) -> Response:
        return await command.run(
            None,
            lambda session: expire_dispute(session, context, merchant_id, purchase_id, now),
            lambda session, id_: show_dispute(session, merchant_id, id_),
        )

    return await context.clock.past(at)
