"""Disputes: opened by the payer in time, decided by the arbiter in time, else for the payer."""

import pytest
from eth_utils import keccak

from tests.contracts.escrow import (
    AMOUNT,
    ARBITRATION_WINDOW,
    CLOSED,
    COMPLAINT,
    DAY,
    DELIVERED,
    DISPUTE_WINDOW,
    DISPUTED,
    MAX_FEE_BPS,
    MIN_FEE_BPS,
    NONE,
    Order,
)

EVIDENCE = keccak(text="a photograph of the parcel")
DECISION = keccak(text="decision 1")
REF = keccak(text="refund 1")


def fee_of(amount, bps=MAX_FEE_BPS):
    return amount * bps // 10_000


# ------------------------------------------------------------------------------ opening


def test_the_payer_disputes_what_is_held(market, accounts):
    terms = market.delivered()
    with market.moves():
        receipt = market.send(accounts.buyer, "dispute", terms, COMPLAINT)
    deadline = receipt.timestamp + ARBITRATION_WINDOW
    assert market.order(terms) == Order(AMOUNT, 0, deadline, DISPUTED)
    assert receipt.event(market.escrow, "DisputeOpened") == {
        "orderHash": market.hash(terms),
        "evidenceHash": COMPLAINT,
        "arbitrationDeadline": deadline,
    }


def test_the_arbitration_window_is_public(market, chain):
    window = chain.call(market.escrow.functions.ARBITRATION_WINDOW())
    assert window == ARBITRATION_WINDOW == 30 * DAY


def test_a_dispute_is_possible_until_the_window_ends_and_no_longer(market, chain, accounts):
    terms = market.delivered()
    deadline = market.order(terms).deadline
    chain.travel_to(deadline - 1)
    chain.call(market.function("dispute", terms, COMPLAINT), by=accounts.buyer)
    chain.travel_to(deadline)
    refusal = {"error": "DisputeWindowClosed", "disputeDeadline": deadline, "nowTime": deadline}
    market.refuses(accounts.buyer, "dispute", terms, COMPLAINT, **refusal)


def test_terms_without_a_window_leave_no_time_to_dispute(market, accounts):
    terms = market.delivered(disputeWindow=0)
    error = {"error": "DisputeWindowClosed"}
    market.refuses(accounts.buyer, "dispute", terms, COMPLAINT, **error)


@pytest.mark.parametrize("caller", ["seller", "operator", "arbiter", "stranger"])
def test_only_the_payer_disputes(market, accounts, caller):
    terms, by = market.delivered(), getattr(accounts, caller)
    market.refuses(by, "dispute", terms, COMPLAINT, error="NotAllowed", caller=by.address)


@pytest.mark.parametrize("state", ["terms", "authorized", "released", "disputed"])
def test_only_what_is_delivered_and_held_is_disputed(market, accounts, state):
    terms = getattr(market, state)()
    status = market.order(terms).status
    refusal = {"error": "WrongStatus", "orderHash": market.hash(terms), "actual": status}
    market.refuses(accounts.buyer, "dispute", terms, COMPLAINT, **refusal)


def test_the_rest_of_a_partly_released_order_is_disputed(market, accounts):
    terms = market.delivered()
    market.send(accounts.buyer, "release", terms, AMOUNT // 4, MAX_FEE_BPS)
    market.send(accounts.buyer, "dispute", terms, COMPLAINT)
    order = market.order(terms)
    assert (order.held, order.refundable) == (AMOUNT - AMOUNT // 4, AMOUNT // 4)
    market.send(accounts.arbiter, "resolve", terms, order.held, MAX_FEE_BPS, DECISION)
    assert market.order(terms)[:2] == (0, AMOUNT // 4)


# ------------------------------------------------------- while the arbiter has not decided


@pytest.mark.parametrize("caller", ["seller", "operator", "arbiter", "stranger"])
def test_nobody_but_the_payer_releases_what_is_disputed(market, chain, accounts, caller):
    terms = market.disputed()
    for moment in (chain.time, chain.time + DISPUTE_WINDOW, market.order(terms).deadline):
        chain.travel_to(moment)
        refusal = {"error": "WrongStatus", "actual": DISPUTED}
        by = getattr(accounts, caller)
        market.refuses(by, "release", terms, AMOUNT, MAX_FEE_BPS, **refusal)


def test_what_is_disputed_is_neither_reclaimed_nor_delivered_again(market, chain, accounts):
    terms = market.disputed()
    chain.travel_to(terms.reclaimAfter)
    refusal = {"error": "WrongStatus", "actual": DISPUTED}
    market.refuses(accounts.buyer, "reclaim", terms, **refusal)
    market.refuses(accounts.operator, "confirmDelivery", terms, **refusal)


def test_a_payer_that_gives_in_releases(market, accounts):
    terms = market.disputed()
    fee = fee_of(AMOUNT)
    with market.moves(escrow=-AMOUNT, seller=AMOUNT - fee, fee_receiver=fee):
        market.send(accounts.buyer, "release", terms, AMOUNT, MAX_FEE_BPS)
    assert market.order(terms).status == CLOSED


@pytest.mark.parametrize("caller", ["seller", "operator"])
def test_a_seller_that_gives_in_voids(market, accounts, caller):
    terms = market.disputed()
    with market.moves(escrow=-AMOUNT, buyer=AMOUNT):
        market.send(getattr(accounts, caller), "void", terms, AMOUNT)
    assert market.order(terms).status == CLOSED


def test_what_a_party_gives_in_part_leaves_the_rest_disputed(market, accounts):
    terms = market.disputed()
    deadline = market.order(terms).deadline
    market.send(accounts.buyer, "release", terms, 30, MAX_FEE_BPS)
    market.send(accounts.seller, "void", terms, 50)
    assert market.order(terms) == Order(AMOUNT - 80, 30, deadline, DISPUTED)
    with market.moves(escrow=80 - AMOUNT, buyer=AMOUNT - 80):
        market.send(accounts.arbiter, "resolve", terms, AMOUNT - 80, MAX_FEE_BPS, DECISION)


def test_a_refund_by_one_side_blocks_no_settlement_of_the_rest(market, accounts):
    terms = market.delivered()
    market.send(accounts.buyer, "release", terms, AMOUNT // 2, MAX_FEE_BPS)
    market.send(accounts.buyer, "dispute", terms, COMPLAINT)
    market.approve(accounts.seller, AMOUNT)
    with market.moves(seller=-AMOUNT // 2, buyer=AMOUNT // 2):
        market.send(accounts.seller, "refund", terms, AMOUNT // 2, REF)
    rest = AMOUNT // 2
    parts = {"seller": rest - fee_of(rest), "fee_receiver": fee_of(rest)}
    with market.moves(escrow=-rest, **parts):
        market.send(accounts.arbiter, "resolve", terms, 0, MAX_FEE_BPS, DECISION)


# ------------------------------------------------------------------------------ evidence


@pytest.mark.parametrize("party", ["buyer", "seller", "operator"])
def test_every_party_submits_evidence(market, accounts, party):
    terms, by = market.disputed(), getattr(accounts, party)
    before = market.order(terms)
    receipt = market.send(by, "submitEvidence", terms, EVIDENCE)
    assert receipt.event(market.escrow, "EvidenceSubmitted") == {
        "orderHash": market.hash(terms),
        "party": by.address,
        "evidenceHash": EVIDENCE,
    }
    assert market.order(terms) == before


@pytest.mark.parametrize("caller", ["arbiter", "fee_receiver", "stranger"])
def test_nobody_else_submits_evidence(market, accounts, caller):
    terms, by = market.disputed(), getattr(accounts, caller)
    market.refuses(by, "submitEvidence", terms, EVIDENCE, error="NotAllowed", caller=by.address)


def test_evidence_needs_an_open_dispute(market, chain, accounts):
    for state in ("authorized", "delivered", "released"):
        terms = getattr(market, state)(orderRef=keccak(text=state))
        market.refuses(accounts.buyer, "submitEvidence", terms, EVIDENCE, error="WrongStatus")
    terms = market.disputed()
    deadline = market.order(terms).deadline
    chain.travel_to(deadline - 1)
    chain.call(market.function("submitEvidence", terms, EVIDENCE), by=accounts.buyer)
    chain.travel_to(deadline)
    refusal = {"error": "ArbitrationOver", "arbitrationDeadline": deadline, "nowTime": deadline}
    market.refuses(accounts.buyer, "submitEvidence", terms, EVIDENCE, **refusal)


# ------------------------------------------------------------------------------- decision


@pytest.mark.parametrize("bps", [MIN_FEE_BPS, MAX_FEE_BPS])
@pytest.mark.parametrize("to_payer", [0, 1, 33_333_333, AMOUNT - 1, AMOUNT])
def test_a_decision_splits_what_is_held_to_the_unit(market, accounts, to_payer, bps):
    terms = market.disputed()
    deadline = market.order(terms).deadline
    released = AMOUNT - to_payer
    fee = fee_of(released, bps)
    parts = {"buyer": to_payer, "fee_receiver": fee, "seller": released - fee}
    with market.moves(escrow=-AMOUNT, **{name: part for name, part in parts.items() if part}):
        receipt = market.send(accounts.arbiter, "resolve", terms, to_payer, bps, DECISION)
    order = market.hash(terms)
    assert market.order(terms) == Order(0, released, deadline, CLOSED)
    assert receipt.event(market.escrow, "DisputeResolved") == {
        "orderHash": order,
        "toPayer": to_payer,
        "released": released,
        "decisionHash": DECISION,
    }
    voided = [{"orderHash": order, "amount": to_payer}] if to_payer else []
    assert receipt.events(market.escrow, "PurchaseVoided") == voided
    split = {"amount": released, "fee": fee, "repayment": 0, "paid": released - fee}
    expected = [{"orderHash": order, **split}] if released else []
    assert receipt.events(market.escrow, "PurchaseReleased") == expected


def test_what_a_decision_released_may_be_refunded(market, accounts):
    terms = market.disputed()
    market.send(accounts.arbiter, "resolve", terms, 0, MAX_FEE_BPS, DECISION)
    market.approve(accounts.seller, AMOUNT)
    with market.moves(seller=-AMOUNT, buyer=AMOUNT):
        market.send(accounts.seller, "refund", terms, AMOUNT, REF)


def test_a_decision_takes_place_before_its_deadline(market, chain, accounts):
    terms = market.disputed()
    deadline = market.order(terms).deadline
    decision = ("resolve", terms, AMOUNT, MAX_FEE_BPS, DECISION)
    chain.travel_to(deadline - 1)
    chain.call(market.function(*decision), by=accounts.arbiter)
    chain.travel_to(deadline)
    refusal = {"error": "ArbitrationOver", "arbitrationDeadline": deadline, "nowTime": deadline}
    market.refuses(accounts.arbiter, *decision, **refusal)


@pytest.mark.parametrize("caller", ["buyer", "seller", "operator", "admin", "stranger"])
def test_only_the_arbiter_decides(market, accounts, caller):
    terms, by = market.disputed(), getattr(accounts, caller)
    refusal = {"error": "AccessManagedUnauthorized", "caller": by.address}
    market.refuses(by, "resolve", terms, AMOUNT, MAX_FEE_BPS, DECISION, **refusal)


@pytest.mark.parametrize("bps", [0, MIN_FEE_BPS - 1, MAX_FEE_BPS + 1, 65_535])
def test_a_decision_keeps_the_signed_bounds_of_the_fee(market, accounts, bps):
    terms = market.disputed()
    bounds = {"feeBps": bps, "minFeeBps": MIN_FEE_BPS, "maxFeeBps": MAX_FEE_BPS}
    market.refuses(
        accounts.arbiter, "resolve", terms, 0, bps, DECISION, error="InvalidFee", **bounds
    )


@pytest.mark.parametrize("to_payer", [AMOUNT + 1, 2**96 + 1, 2**256 - 1])
def test_a_decision_gives_no_more_than_is_held(market, accounts, to_payer):
    terms = market.disputed()
    refusal = {"error": "InvalidAmount", "amount": to_payer, "limit": AMOUNT}
    market.refuses(accounts.arbiter, "resolve", terms, to_payer, MAX_FEE_BPS, DECISION, **refusal)


@pytest.mark.parametrize("state", ["terms", "authorized", "delivered", "released"])
def test_only_a_dispute_is_decided(market, accounts, state):
    terms = getattr(market, state)()
    refusal = {"error": "WrongStatus", "actual": market.order(terms).status}
    market.refuses(accounts.arbiter, "resolve", terms, 0, MAX_FEE_BPS, DECISION, **refusal)


def test_a_dispute_is_decided_once(market, accounts):
    terms = market.disputed()
    decision = ("resolve", terms, AMOUNT // 2, MAX_FEE_BPS, DECISION)
    market.send(accounts.arbiter, *decision)
    market.refuses(accounts.arbiter, *decision, error="WrongStatus", actual=CLOSED)


@pytest.mark.parametrize("frozen", ["buyer", "seller", "fee_receiver"])
def test_a_frozen_party_stops_no_decision_and_is_credited(market, accounts, frozen):
    terms = market.disputed()
    half = AMOUNT // 2
    parts = {"buyer": half, "fee_receiver": fee_of(half), "seller": half - fee_of(half)}
    kept = parts.pop(frozen)
    market.freeze(getattr(accounts, frozen))
    with market.moves(escrow=kept - AMOUNT, **parts):
        market.send(accounts.arbiter, "resolve", terms, half, MAX_FEE_BPS, DECISION)
    assert market.claimable(getattr(accounts, frozen)) == kept


# -------------------------------------------------------------------------------- default


def test_without_a_decision_in_time_anyone_returns_all_to_the_payer(market, chain, accounts):
    terms = market.disputed()
    deadline = market.order(terms).deadline
    chain.travel_to(deadline - 1)
    refusal = {"error": "ArbitrationOpen", "arbitrationDeadline": deadline, "nowTime": deadline - 1}
    market.refuses(accounts.stranger, "expireDispute", terms, **refusal)
    chain.travel_to(deadline)
    with market.moves(escrow=-AMOUNT, buyer=AMOUNT):
        receipt = market.send(accounts.stranger, "expireDispute", terms)
    expected = {"orderHash": market.hash(terms), "toPayer": AMOUNT}
    assert receipt.event(market.escrow, "DisputeDefaulted") == expected
    assert market.order(terms) == Order(0, 0, deadline, CLOSED)
    market.refuses(accounts.stranger, "expireDispute", terms, error="WrongStatus", actual=CLOSED)


def test_a_frozen_payer_claims_what_a_default_returned(market, chain, accounts):
    terms = market.disputed()
    market.freeze(accounts.buyer)
    chain.travel_to(market.order(terms).deadline)
    with market.moves():
        market.send(accounts.stranger, "expireDispute", terms)
    assert market.claimable(accounts.buyer) == AMOUNT


@pytest.mark.parametrize("state", ["terms", "authorized", "delivered", "released"])
def test_only_a_dispute_expires(market, accounts, state):
    terms = getattr(market, state)()
    status = market.order(terms).status
    assert status in (NONE, 1, DELIVERED, CLOSED)
    market.refuses(accounts.stranger, "expireDispute", terms, error="WrongStatus", actual=status)


@pytest.mark.parametrize("operation", ["resolve", "expireDispute"])
def test_no_dispute_ends_while_the_coin_is_paused(market, chain, accounts, operation):
    terms = market.disputed()
    arguments = (AMOUNT, MAX_FEE_BPS, DECISION) if operation == "resolve" else ()
    if operation == "expireDispute":
        chain.travel_to(market.order(terms).deadline)
    market.pause()
    market.refuses(accounts.arbiter, operation, terms, *arguments, error="CoinPaused")


def test_a_buyer_that_never_confirms_nor_disputes_holds_up_nobody(market, chain, accounts):
    terms = market.delivered()
    chain.travel_to(market.order(terms).deadline)
    fee = fee_of(AMOUNT)
    with market.moves(escrow=-AMOUNT, seller=AMOUNT - fee, fee_receiver=fee):
        market.send(accounts.stranger, "release", terms, AMOUNT, MAX_FEE_BPS)
