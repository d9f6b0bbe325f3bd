"""Offers: what accepting does, and everything that makes an offer worthless."""

import pytest
from eth_utils import keccak

from tests.contracts.chain import ZERO_ADDRESS
from tests.contracts.credit import (
    ACTIVE,
    APR,
    BPS_YEAR,
    CHARGED_OFF,
    CLOSED,
    DEFAULTED,
    DRAW,
    HOLDBACK,
    INSTALLMENT,
    LIMIT,
    LINE_CAP,
    NONE,
    TERM_DAYS,
    WINDOW,
    accrued,
    offer_hash,
)
from tests.contracts.system import COIN, DAY

UNDERWRITER_ROLE = 7


def refuses(lending, offer, error, by=None, signature=None, **arguments):
    signature = lending.sign_offer(offer) if signature is None else signature
    lending.refuses(by or lending.seller, "accept", offer, signature, error=error, **arguments)


# --------------------------------------------------------------------- accepting


def test_accepting_opens_a_line(lending):
    offer = lending.offer(drawFeeBps=25)
    receipt = lending.accept(offer)
    assert lending.line()._asdict() == {
        "principal": 0,
        "interest": 0,
        "accruedAt": 0,
        "status": ACTIVE,
        "hasDues": False,
        "windowEnd": 0,
        "pastDueSince": 0,
        "installment": 0,
        "installmentDue": 0,
        "holdbackBps": HOLDBACK,
        "aprBps": APR,
    }
    assert lending.terms()._asdict() == {
        "limit": LIMIT,
        "drawUntil": receipt.timestamp + TERM_DAYS * DAY,
        "drawFeeBps": 25,
        "agreedHoldbackBps": HOLDBACK,
    }
    assert lending.statement().available == LIMIT
    assert lending.call("offerUsed", lending.hash(offer))
    event = receipt.event(lending.book, "OfferAccepted")
    assert (event["seller"], event["offerHash"]) == (offer.seller, lending.hash(offer))
    assert dict(event["offer"]) == offer._asdict()


def test_a_seller_without_a_line_has_none(lending):
    statement = lending.statement(lending.accounts.seller3.address)
    assert statement.status == NONE
    assert set(statement[1:]) == {0}


def test_the_hash_of_an_offer_is_its_eip_712_hash(lending):
    offer = lending.offer(drawFeeBps=7, limit=2**72 - 1, nonce=2**256 - 1)
    assert lending.call("hashOffer", offer) == offer_hash(offer, lending.book.address)


@pytest.mark.parametrize("days", [1, 194, 195, 65_535])
def test_a_term_counts_in_days_however_long(lending, days):
    offer = lending.offer(termDays=days)
    accepted_at = lending.accept(offer).timestamp
    assert lending.terms().drawUntil == accepted_at + days * DAY


def test_the_highest_and_lowest_terms_are_allowed(lending):
    highest = {"aprBps": 2_000, "drawFeeBps": 1_000, "holdbackBps": 2_500}
    lending.accepted(limit=LINE_CAP, termDays=1, **highest)
    lending.accepted(limit=1, aprBps=0, drawFeeBps=0, holdbackBps=1, termDays=1)
    assert lending.terms().limit == 1


@pytest.mark.parametrize(
    ("change", "error", "arguments"),
    [
        ({"limit": 0}, "InvalidOffer", {"reason": "limit is zero"}),
        ({"limit": LINE_CAP + 1}, "InvalidLimit", {"limit": LINE_CAP + 1, "most": LINE_CAP}),
        ({"aprBps": 2_001}, "InvalidOffer", {"reason": "aprBps above 2000"}),
        ({"drawFeeBps": 1_001}, "InvalidOffer", {"reason": "drawFeeBps above 1000"}),
        ({"holdbackBps": 0}, "InvalidHoldback", {"holdbackBps": 0, "least": 1, "most": 2_500}),
        ({"holdbackBps": 2_501}, "InvalidHoldback", {"holdbackBps": 2_501, "most": 2_500}),
        ({"termDays": 0}, "InvalidOffer", {"reason": "termDays is zero"}),
    ],
)
def test_terms_outside_the_bounds_are_refused(lending, change, error, arguments):
    refuses(lending, lending.offer(**change), error, **arguments)


# ------------------------------------------------------------------- who and when


def test_an_offer_expires_at_its_second(lending):
    offer = lending.offer(expires=lending.chain.time + 100)
    lending.chain.travel_to(offer.expires)
    refuses(lending, offer, "OfferExpired", expires=offer.expires, nowTime=offer.expires)


def test_an_offer_is_good_the_second_before_it_expires(lending):
    offer = lending.offer(expires=lending.chain.time + 100)
    lending.chain.travel_to(offer.expires - 1)
    assert lending.accept(offer).timestamp == offer.expires - 1


def test_only_its_seller_accepts_an_offer(lending):
    other = lending.accounts.seller2
    refuses(lending, lending.offer(), "NotAllowed", by=other, caller=other.address)


def test_an_offer_is_accepted_once(lending):
    offer = lending.accepted()
    refuses(lending, offer, "OfferUsed", offerHash=lending.hash(offer))


def test_offers_that_differ_only_in_their_nonce_are_two(lending):
    first = lending.accepted(nonce=1)
    second = lending.offer(nonce=2, expires=first.expires)
    lending.accept(second)
    assert lending.hash(first) != lending.hash(second)


def test_an_offer_signed_by_another_key_is_refused(lending):
    offer = lending.offer()
    forged = lending.sign_offer(offer, by=lending.accounts.risk)
    refuses(
        lending, offer, "InvalidOfferSignature", signature=forged, underwriter=offer.underwriter
    )


def test_an_offer_changed_after_signing_is_refused(lending):
    offer = lending.offer()
    signature = lending.sign_offer(offer)
    for name in set(offer._fields) - {"seller", "underwriter"}:
        value = getattr(offer, name)
        other = keccak(value) if isinstance(value, bytes) else value - 1 if value else 1
        changed = offer._replace(**{name: other})
        refuses(lending, changed, "InvalidOfferSignature", signature=signature)


@pytest.mark.parametrize("signature", [b"", b"\1" * 64, b"\0" * 65])
def test_a_malformed_signature_is_refused(lending, signature):
    refuses(lending, lending.offer(), "InvalidOfferSignature", signature=signature)


def test_an_offer_signed_for_another_book_or_chain_is_refused(lending):
    offer = lending.offer()
    for domain in ({"chain_id": 1}, {"contract": lending.pool}, {"name": "Plaza LenderPool"}):
        signature = lending.sign_offer(offer, **domain)
        refuses(lending, offer, "InvalidOfferSignature", signature=signature)


def test_an_offer_of_no_underwriter_is_refused(lending):
    servicer = lending.accounts.servicer
    offer = lending.offer(underwriter=servicer.address)
    signature = lending.sign_offer(offer, by=servicer)
    refuses(lending, offer, "NotAnUnderwriter", signature=signature, account=servicer.address)
    nobody = lending.offer(underwriter=ZERO_ADDRESS)
    refuses(lending, nobody, "NotAnUnderwriter", account=ZERO_ADDRESS)


def test_offers_of_a_dismissed_underwriter_are_refused(lending):
    offer = lending.offer()
    underwriter = lending.accounts.underwriter.address
    revoke = lending.system.manager.functions.revokeRole(UNDERWRITER_ROLE, underwriter)
    lending.chain.send(revoke, by=lending.accounts.admin)
    refuses(lending, offer, "NotAnUnderwriter", account=underwriter)


def test_an_underwriter_with_an_execution_delay_cannot_make_offers(lending):
    underwriter = lending.accounts.underwriter.address
    manager = lending.system.manager
    grant = manager.functions.grantRole(UNDERWRITER_ROLE, underwriter, DAY)
    lending.chain.send(grant, by=lending.accounts.admin)
    refuses(lending, lending.offer(), "NotAnUnderwriter", account=underwriter)


def test_a_contract_may_be_the_underwriter(lending, test_contracts):
    owner = lending.accounts.underwriter
    wallet = lending.wallet_of(owner, test_contracts["ContractWallet"])
    grant = lending.system.manager.functions.grantRole(UNDERWRITER_ROLE, wallet, 0)
    lending.chain.send(grant, by=lending.accounts.admin)
    offer = lending.offer(underwriter=wallet)
    refuses(
        lending,
        offer,
        "InvalidOfferSignature",
        signature=lending.sign_offer(offer, by=lending.accounts.risk),
    )
    lending.send(lending.seller, "accept", offer, lending.sign_offer(offer, by=owner))
    assert lending.line().status == ACTIVE


# ------------------------------------------------------------------------ revoking


def test_a_revoked_offer_cannot_be_accepted(lending):
    offer = lending.offer()
    receipt = lending.send(lending.accounts.underwriter, "revokeOffer", offer)
    assert receipt.event(lending.book, "OfferRevoked") == {
        "underwriter": offer.underwriter,
        "offerHash": lending.hash(offer),
    }
    assert lending.call("offerUsed", lending.hash(offer))
    refuses(lending, offer, "OfferUsed", offerHash=lending.hash(offer))


def test_only_its_underwriter_revokes_an_offer(lending):
    for other in (lending.seller, lending.accounts.risk):
        lending.refuses(
            other, "revokeOffer", lending.offer(), error="NotAllowed", caller=other.address
        )


def test_an_offer_used_before_cannot_be_revoked(lending):
    offer = lending.accepted()
    lending.refuses(
        lending.accounts.underwriter,
        "revokeOffer",
        offer,
        error="OfferUsed",
        offerHash=lending.hash(offer),
    )


# ------------------------------------------------------------------------- renewal


def test_new_terms_leave_the_debt_and_its_due_dates_as_they_are(lending):
    drawn_at = lending.drawn(drawFeeBps=100)
    lending.chain.travel_to(drawn_at + WINDOW - DAY)
    offer = lending.offer(limit=LIMIT // 2, aprBps=500, holdbackBps=2_000, termDays=30)
    renewed_at = lending.accept(offer).timestamp
    line = lending.line()
    assert (line.principal, line.windowEnd) == (DRAW, drawn_at + WINDOW)
    assert (line.installment, line.installmentDue) == (INSTALLMENT, INSTALLMENT)
    assert (line.aprBps, line.holdbackBps) == (500, 2_000)
    # A second at the new rate has passed since; all before was at the old one.
    fee = DRAW // 100
    assert line.interest == (
        accrued(DRAW, APR, renewed_at - drawn_at) + accrued(DRAW, 500, 1) + fee * BPS_YEAR
    )
    assert lending.totals().issuanceRate == DRAW * 500
    assert lending.terms().limit == LIMIT // 2
    assert lending.statement().available == 0


def test_the_rate_never_rises_on_a_drawn_balance(lending):
    lending.drawn()
    refuses(lending, lending.offer(aprBps=APR + 1), "RateAboveCurrent", aprBps=APR + 1, current=APR)
    lending.accepted(aprBps=APR)
    assert lending.line().aprBps == APR


def test_the_rate_may_rise_when_nothing_is_owed(lending):
    lending.drawn()
    lending.send(lending.seller, "repay", lending.seller.address, 2 * DRAW)
    lending.accepted(aprBps=2_000)
    assert lending.line().aprBps == 2_000
    assert lending.totals().issuanceRate == 0


def test_the_rate_does_not_rise_while_one_unit_is_owed(lending):
    lending.drawn()
    lending.send(lending.seller, "repay", lending.seller.address, lending.statement().payoff - 1)
    assert lending.line().principal == 1
    refuses(lending, lending.offer(aprBps=APR + 1), "RateAboveCurrent", current=APR)


def test_no_new_terms_while_a_payment_is_past_due(lending):
    drawn_at = lending.drawn()
    due = drawn_at + WINDOW
    lending.chain.travel_to(due - 1)
    signature_offer = lending.offer()
    lending.chain.travel_to(due)
    refuses(lending, signature_offer, "PaymentPastDue", seller=lending.seller.address, since=due)
    lending.send(lending.seller, "repay", lending.seller.address, lending.statement().pastDue)
    lending.accept(signature_offer)


def test_no_new_terms_for_a_line_in_default(lending):
    lending.defaulted()
    refuses(lending, lending.offer(), "WrongStatus", actual=DEFAULTED)


def test_a_charged_off_line_never_opens_again(lending):
    lending.charged_off()
    refuses(lending, lending.offer(), "WrongStatus", actual=CHARGED_OFF)
    lending.send(lending.seller, "repay", lending.seller.address, 2 * DRAW)
    refuses(lending, lending.offer(), "WrongStatus", actual=CHARGED_OFF)


def test_a_closed_line_opens_again_with_a_new_offer(lending):
    lending.defaulted()
    lending.send(lending.seller, "repay", lending.seller.address, 2 * DRAW)
    assert lending.line().status == CLOSED
    lending.accepted(aprBps=2_000)
    assert lending.line().status == ACTIVE
    lending.send(lending.seller, "draw", COIN)
    assert lending.line().principal == COIN
