"""What payer and payee sign and anyone sends: release, void, reclaim, dispute, evidence."""

import pytest
from eth_utils import keccak

from tests.contracts.escrow import (
    AMOUNT,
    AUTHORIZED,
    CLOSED,
    COMPLAINT,
    DISPUTED,
    FOREVER,
    MAX_FEE_BPS,
)

EVIDENCE = keccak(text="a photograph of the parcel")
FEE = AMOUNT * MAX_FEE_BPS // 10_000


class Signed:
    """An operation by intent: its EIP-712 type, who signs, and on which order."""

    def __init__(self, kind, function, signer, state, **members):
        self.kind, self.function, self.signer, self.state = kind, function, signer, state
        self.members = members

    def order(self, market, **changes):
        """An order on which it succeeds."""
        terms = getattr(market, self.state)(**changes)
        if self.kind == "Reclaim":
            market.chain.travel_to(max(market.chain.time, terms.reclaimAfter))
        return terms

    def message(self, market, terms):
        if self.kind == "Evidence":
            return {"party": getattr(market.accounts, self.signer).address, **self.members}
        return self.members

    def call(self, market, terms, signer=None, members=None, **intent):
        """(name, arguments) of the function, signed; `members` differ from what is signed."""
        message = self.message(market, terms)
        by = getattr(market.accounts, signer or self.signer)
        signed = market.intent(by, self.kind, terms, **message | intent)
        return self.function, terms, *(message | (members or {})).values(), *signed


OPERATIONS = {
    each.kind: each
    for each in (
        Signed("Release", "releaseWithSignature", "buyer", "authorized", amount=AMOUNT),
        Signed("Void", "voidWithSignature", "seller", "authorized", amount=AMOUNT),
        Signed("Reclaim", "reclaimWithSignature", "buyer", "authorized"),
        Signed("Dispute", "disputeWithSignature", "buyer", "delivered", evidenceHash=COMPLAINT),
        Signed(
            "Evidence",
            "submitEvidenceWithSignature",
            "buyer",
            "disputed",
            evidenceHash=EVIDENCE,
        ),
    )
}


@pytest.fixture(params=OPERATIONS)
def signed(request):
    return OPERATIONS[request.param]


def refuses(market, call, error, **arguments):
    market.refuses(market.accounts.stranger, *call, error=error, **arguments)


# ------------------------------------------------------------------- what each one does


def test_a_signed_release_pays_the_seller_at_the_highest_fee(market, accounts):
    release = OPERATIONS["Release"]
    terms = release.order(market)
    with market.moves(escrow=-AMOUNT, seller=AMOUNT - FEE, fee_receiver=FEE):
        receipt = market.send(accounts.stranger, *release.call(market, terms))
    assert receipt.event(market.escrow, "PurchaseReleased")["fee"] == FEE
    assert market.order(terms).status == CLOSED


def test_a_signed_release_of_a_part_keeps_the_rest(market, accounts):
    terms = market.authorized()
    intent = market.intent(accounts.buyer, "Release", terms, amount=400)
    with market.moves(escrow=-400, seller=390, fee_receiver=10):
        market.send(accounts.stranger, "releaseWithSignature", terms, 400, *intent)
    assert market.order(terms)[:2] == (AMOUNT - 400, 400)


def test_a_signed_void_pays_the_payer_back(market, accounts):
    void = OPERATIONS["Void"]
    terms = void.order(market)
    with market.moves(escrow=-AMOUNT, buyer=AMOUNT):
        receipt = market.send(accounts.stranger, *void.call(market, terms))
    assert receipt.event(market.escrow, "PurchaseVoided")["amount"] == AMOUNT


def test_a_signed_reclaim_pays_the_payer_back(market, accounts):
    reclaim = OPERATIONS["Reclaim"]
    terms = reclaim.order(market)
    with market.moves(escrow=-AMOUNT, buyer=AMOUNT):
        receipt = market.send(accounts.stranger, *reclaim.call(market, terms))
    assert receipt.event(market.escrow, "PurchaseReclaimed")["amount"] == AMOUNT


def test_a_signed_dispute_opens_it(market, accounts):
    dispute = OPERATIONS["Dispute"]
    terms = dispute.order(market)
    receipt = market.send(accounts.stranger, *dispute.call(market, terms))
    assert receipt.event(market.escrow, "DisputeOpened")["evidenceHash"] == COMPLAINT
    assert market.order(terms).status == DISPUTED


@pytest.mark.parametrize("party", ["buyer", "seller"])
def test_signed_evidence_is_the_partys(market, accounts, party):
    terms, by = market.disputed(), getattr(accounts, party)
    members = {"party": by.address, "evidenceHash": EVIDENCE}
    intent = market.intent(by, "Evidence", terms, **members)
    call = ("submitEvidenceWithSignature", terms, *members.values(), *intent)
    receipt = market.send(accounts.stranger, *call)
    assert receipt.event(market.escrow, "EvidenceSubmitted") == {
        "orderHash": market.hash(terms),
        **members,
    }


@pytest.mark.parametrize("party", ["operator", "arbiter", "stranger"])
def test_evidence_of_nobody_else_is_taken_by_signature(market, accounts, party):
    terms, by = market.disputed(), getattr(accounts, party)
    members = {"party": by.address, "evidenceHash": EVIDENCE}
    intent = market.intent(by, "Evidence", terms, **members)
    call = ("submitEvidenceWithSignature", terms, *members.values(), *intent)
    refuses(market, call, "NotAllowed", caller=by.address)


# ------------------------------------------------------ what holds for each of the five


def test_an_intent_is_used_once(signed, market, accounts):
    terms = signed.order(market)
    call = signed.call(market, terms)
    market.send(accounts.stranger, *call)
    signer = getattr(accounts, signed.signer).address
    refuses(market, call, "InvalidAccountNonce", account=signer, currentNonce=1)


def test_an_intent_is_valid_until_its_deadline_and_no_longer(signed, market, chain):
    terms = signed.order(market)
    now = chain.time
    chain.call(market.function(*signed.call(market, terms, deadline=now + 1)))
    late = signed.call(market, terms, deadline=now)
    refuses(market, late, "IntentExpired", deadline=now, nowTime=now)


@pytest.mark.parametrize("other", ["operator", "fee_receiver", "buyer2", "stranger"])
def test_only_the_right_party_signs_an_intent(signed, market, accounts, other):
    terms = signed.order(market)
    rightful = getattr(accounts, signed.signer).address
    for signer in (other, "seller" if signed.signer == "buyer" else "buyer"):
        call = signed.call(market, terms, signer=signer)
        refuses(market, call, "InvalidIntentSignature", signer=rightful)


def test_an_intent_for_another_chain_or_escrow_is_refused(signed, market, platform):
    other = platform.deploy_escrow()
    terms = signed.order(market)
    for domain in ({"chain_id": 1}, {"contract": other}, {"name": "Plaza Coin"}):
        call = signed.call(market, terms, domain=domain)
        refuses(market, call, "InvalidIntentSignature")


def test_an_intent_is_about_one_order_alone(signed, market):
    terms = signed.order(market)
    another = signed.order(market, orderRef=keccak(text="order A-1002"))
    call = signed.call(market, terms, orderHash=market.hash(another))
    refuses(market, call, "InvalidIntentSignature")


@pytest.mark.parametrize("kind", ["Release", "Void", "Dispute", "Evidence"])
def test_what_an_intent_says_cannot_be_changed(market, kind):
    signed = OPERATIONS[kind]
    terms = signed.order(market)
    member, value = next(iter(signed.members.items()))
    changed = value - 1 if member == "amount" else keccak(text="something else")
    call = signed.call(market, terms, members={member: changed})
    refuses(market, call, "InvalidIntentSignature")


def test_nonce_and_deadline_of_an_intent_cannot_be_changed(signed, market):
    terms = signed.order(market)
    *call, nonce, deadline, signature = signed.call(market, terms)
    assert (nonce, deadline) == (0, FOREVER)
    refuses(market, (*call, nonce, FOREVER - 1, signature), "InvalidIntentSignature")
    refuses(market, (*call, 1 << 64, deadline, signature), "InvalidIntentSignature")
    refuses(market, (*call, 1, deadline, signature), "InvalidAccountNonce")


def test_a_signature_that_is_none_is_refused(signed, market):
    terms = signed.order(market)
    *call, signature = signed.call(market, terms)
    for broken in (b"", signature[:64], signature + b"\0", b"\0" * 65):
        refuses(market, (*call, broken), "InvalidIntentSignature")


@pytest.mark.parametrize("kind", ["Release", "Void"])
@pytest.mark.parametrize("amount", [0, AMOUNT + 1, 2**256 - 1])
def test_an_intent_moves_no_more_than_is_held(market, kind, amount):
    signed = OPERATIONS[kind]
    terms = signed.order(market)
    call = signed.call(market, terms, amount=amount, members={"amount": amount})
    refuses(market, call, "InvalidAmount", amount=amount, limit=AMOUNT)


def test_an_intent_needs_the_order_in_its_state(signed, market):
    terms = market.released()
    refuses(market, signed.call(market, terms), "WrongStatus", actual=CLOSED)


# ------------------------------------------------------------------------------- nonces


def test_intents_of_one_key_are_used_in_order_and_of_others_independently(market, chain, accounts):
    terms = market.authorized()

    def release(nonce):
        intent = market.intent(accounts.buyer, "Release", terms, amount=1, nonce=nonce)
        return "releaseWithSignature", terms, 1, *intent

    key = (2**192 - 1) << 64
    refuses(market, release(1), "InvalidAccountNonce", currentNonce=0)
    refuses(market, release(key + 1), "InvalidAccountNonce", currentNonce=key)
    for nonce in (key, 0, key + 1, 1):
        market.send(accounts.stranger, *release(nonce))
    nonces = market.escrow.functions["nonces(address,uint192)"]
    assert chain.call(nonces(accounts.buyer.address, 0)) == 2
    assert chain.call(nonces(accounts.buyer.address, key >> 64)) == key + 2
    assert chain.call(nonces(accounts.seller.address, 0)) == 0


@pytest.mark.parametrize("key", [0, 7])
def test_a_canceled_intent_is_void(market, accounts, key):
    terms = market.authorized()
    nonce = key << 64
    intent = market.intent(accounts.buyer, "Release", terms, amount=1, nonce=nonce)
    receipt = market.send(accounts.buyer, "cancelIntents", key)
    assert receipt.event(market.escrow, "IntentsCanceled") == {
        "signer": accounts.buyer.address,
        "nextNonce": nonce + 1,
    }
    call = ("releaseWithSignature", terms, 1, *intent)
    refuses(market, call, "InvalidAccountNonce", currentNonce=nonce + 1)
    intent = market.intent(accounts.buyer, "Release", terms, amount=1, nonce=nonce + 1)
    market.send(accounts.stranger, "releaseWithSignature", terms, 1, *intent)


def test_nobody_cancels_anothers_intents(market, accounts):
    terms = market.authorized()
    market.send(accounts.seller, "cancelIntents", 0)
    intent = market.intent(accounts.buyer, "Release", terms, amount=1)
    market.send(accounts.stranger, "releaseWithSignature", terms, 1, *intent)


def test_an_intent_that_failed_can_be_used_later(market, chain, accounts):
    terms = market.authorized()
    call = ("reclaimWithSignature", terms, *market.intent(accounts.buyer, "Reclaim", terms))
    refuses(market, call, "ReclaimTooEarly", reclaimAfter=terms.reclaimAfter)
    chain.travel_to(terms.reclaimAfter)
    with market.moves(escrow=-AMOUNT, buyer=AMOUNT):
        market.send(accounts.stranger, *call)


# ------------------------------------------------------------- contract accounts (EIP-1271)


def pays(market, wallet, **changes):
    """An authorized order of a contract account."""
    terms = market.terms(payer=wallet, **changes)
    payment = market.sign(market.accounts.buyer2, AMOUNT, market.hash(terms), from_=wallet)
    call = ("authorizeWithSignature", terms, AMOUNT, *payment)
    market.send(market.accounts.stranger, *call)
    return terms


def test_an_eip1271_intent_of_one_account_is_no_replay_for_its_owners_other(
    market, accounts, wallets
):
    first, second = (pays(market, wallet) for wallet in wallets)
    intent = market.intent(accounts.buyer2, "Release", first, amount=AMOUNT)
    for terms, error in ((second, "InvalidIntentSignature"), (first, None)):
        call = ("releaseWithSignature", terms, AMOUNT, *intent)
        if error:
            refuses(market, call, error, signer=terms.payer)
        else:
            market.send(accounts.stranger, *call)
    assert [market.order(terms).status for terms in (first, second)] == [CLOSED, AUTHORIZED]


def test_one_owners_evidence_as_payer_is_not_its_evidence_as_payee(market, accounts, wallets):
    payer, payee = wallets
    terms = pays(market, payer, payee=payee)
    market.send(accounts.operator, "confirmDelivery", terms)
    dispute = market.intent(accounts.buyer2, "Dispute", terms, evidenceHash=COMPLAINT)
    market.send(accounts.stranger, "disputeWithSignature", terms, COMPLAINT, *dispute)
    members = {"party": payer, "evidenceHash": EVIDENCE}
    intent = market.intent(accounts.buyer2, "Evidence", terms, nonce=1, **members)
    call = ("submitEvidenceWithSignature", terms)
    refuses(market, (*call, payee, EVIDENCE, *intent), "InvalidAccountNonce")
    intent = market.intent(accounts.buyer2, "Evidence", terms, nonce=1 << 64, **members)
    stolen = (*call, payee, EVIDENCE, *intent)
    refuses(market, stolen, "InvalidIntentSignature", signer=payee)
    market.send(accounts.stranger, *call, payer, EVIDENCE, *intent)
