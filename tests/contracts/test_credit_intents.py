"""What members sign for others to send: the book's and the pool's intents, and their misuse."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.contracts.chain import CHAIN_ID, Reverted
from tests.contracts.credit import (
    DRAW,
    FOREVER,
    HOLDBACK,
    LIMIT,
)
from tests.contracts.system import COIN, DAY

KEY = 7 << 64  # the first nonce of a key of its own
FUNCTIONS = {
    "Acceptance": "acceptWithSignature",
    "Draw": "drawWithSignature",
    "Holdback": "setHoldbackWithSignature",
    "Redemption": "redeemWithSignature",
}


@dataclass(frozen=True)
class Intent:
    """One intent ready to be signed: by whom, what, and how it is sent."""

    lending: Any
    name: str  # of the signed struct
    signer: Any
    fields: dict[str, Any]  # without nonce and deadline
    leading: tuple[Any, ...]  # what the function takes before nonce, deadline, signature

    @property
    def contract(self):
        return self.lending.pool if self.name == "Redemption" else self.lending.book

    def signed(self, by=None, nonce=0, deadline=FOREVER, fields=None, **domain):
        """The call, with a signature over it."""
        message = {**self.fields, **(fields or {}), "nonce": nonce, "deadline": deadline}
        signature = self.lending.sign(by or self.signer, self.name, message, **domain)
        return self.call(nonce, deadline, signature)

    def call(self, nonce, deadline, signature):
        plain = [tuple(each) if hasattr(each, "_fields") else each for each in self.leading]
        function = self.contract.functions[FUNCTIONS[self.name]]
        return function(*plain, nonce, deadline, signature)

    def refused(self, call, error, **arguments):
        self.lending.chain.reverts(call, self.lending.accounts.stranger, error, **arguments)

    def send(self, call):
        return self.lending.chain.send(call, by=self.lending.accounts.stranger)


def acceptance(lending, signer, seller=None):
    offer = lending.offer(seller=seller or signer.address, nonce=99)
    return Intent(
        lending,
        "Acceptance",
        signer,
        {"offerHash": lending.hash(offer)},
        (offer, lending.sign_offer(offer)),
    )


def draw(lending, signer, seller=None):
    seller = seller or signer.address
    fields = {"seller": seller, "amount": COIN}
    return Intent(lending, "Draw", signer, fields, (seller, COIN))


def holdback(lending, signer, seller=None):
    seller = seller or signer.address
    fields = {"seller": seller, "holdbackBps": 2_000}
    return Intent(lending, "Holdback", signer, fields, (seller, 2_000))


def redemption(lending, signer, owner=None):
    owner = owner or signer.address
    fields = {"owner": owner, "shares": COIN}
    return Intent(lending, "Redemption", signer, fields, (owner, COIN))


MAKERS = {
    "Acceptance": acceptance,
    "Draw": draw,
    "Holdback": holdback,
    "Redemption": redemption,
}


@pytest.fixture(params=MAKERS)
def intent(request, lending):
    """Each intent, in a state where it would go through."""
    if request.param in ("Draw", "Holdback"):
        lending.accepted()
    signer = lending.accounts.lender if request.param == "Redemption" else lending.seller
    return MAKERS[request.param](lending, signer)


# ---------------------------------------------------------------- what they do


def test_a_signed_acceptance_opens_the_line(lending):
    intent = acceptance(lending, lending.seller)
    receipt = intent.send(intent.signed())
    assert receipt.event(lending.book, "OfferAccepted")["seller"] == lending.seller.address
    assert lending.terms().limit == LIMIT
    assert lending.call("nonces", lending.seller.address, 0) == 1


def test_a_signed_draw_pays_the_seller_whoever_sends_it(lending):
    lending.accepted()
    intent = draw(lending, lending.seller)
    with lending.moves(pool=-COIN, seller=COIN):
        receipt = intent.send(intent.signed())
    assert receipt.event(lending.book, "Drawn")["seller"] == lending.seller.address


def test_a_signed_holdback_is_set(lending):
    lending.accepted()
    intent = holdback(lending, lending.seller)
    intent.send(intent.signed())
    assert lending.line().holdbackBps == 2_000 > HOLDBACK


def test_a_signed_redemption_pays_the_owner_whoever_sends_it(lending):
    lending.drawn()
    shares = DRAW * 10**6
    lender = lending.accounts.lender
    intent = redemption(lending, lender)
    intent = Intent(
        lending, "Redemption", lender, {**intent.fields, "shares": shares}, (lender.address, shares)
    )
    call = intent.signed()
    assets = lending.chain.call(call, by=lending.accounts.stranger)
    assert assets == lending.pool_call("previewRedeem", shares)
    with lending.moves(pool=-assets, lender=assets):
        intent.send(call)


# ------------------------------------------------------------------- misuse of each


def test_an_intent_is_used_once(intent):
    call = intent.signed()
    intent.send(call)
    owner = intent.signer.address
    intent.refused(call, "InvalidAccountNonce", account=owner, currentNonce=1)


def test_an_intent_signed_by_another_key_is_refused(intent):
    call = intent.signed(by=intent.lending.accounts.seller2)
    intent.refused(call, "InvalidIntentSignature", signer=intent.signer.address)


@pytest.mark.parametrize("signature", [b"", b"\1" * 64, b"\0" * 65])
def test_a_malformed_signature_is_refused(intent, signature):
    intent.refused(intent.call(0, FOREVER, signature), "InvalidIntentSignature")


def test_an_intent_for_another_chain_is_refused(intent):
    intent.refused(intent.signed(chain_id=CHAIN_ID + 1), "InvalidIntentSignature")


def test_an_intent_for_another_contract_is_refused(intent):
    lending = intent.lending
    other = lending.book if intent.name == "Redemption" else lending.pool
    intent.refused(intent.signed(contract=other), "InvalidIntentSignature")
    intent.refused(intent.signed(name="Plaza Coin"), "InvalidIntentSignature")


def test_an_intent_expires_at_its_second(intent):
    now = intent.lending.chain.time
    intent.refused(intent.signed(deadline=now), "IntentExpired", deadline=now, nowTime=now)
    intent.refused(intent.signed(deadline=0), "IntentExpired", deadline=0, nowTime=now)


def test_an_intent_is_good_the_second_before_its_deadline(intent):
    intent.send(intent.signed(deadline=intent.lending.chain.time + 1))


def test_what_was_signed_is_what_is_done(intent):
    lending = intent.lending
    for name, value in intent.fields.items():
        if isinstance(value, int):
            other = value + 1
        else:
            other = lending.accounts.buyer.address if isinstance(value, str) else b"\2" * 32
        intent.refused(intent.signed(fields={name: other}), "InvalidIntentSignature")


def test_another_nonce_or_deadline_than_signed_is_refused(intent):
    signature = intent.lending.sign(
        intent.signer, intent.name, {**intent.fields, "nonce": 0, "deadline": FOREVER}
    )
    intent.refused(intent.call(0, FOREVER - 1, signature), "InvalidIntentSignature")
    intent.refused(intent.call(KEY, FOREVER, signature), "InvalidIntentSignature")


def test_nonces_of_a_key_come_in_order(intent):
    intent.refused(intent.signed(nonce=1), "InvalidAccountNonce", currentNonce=0)
    intent.refused(intent.signed(nonce=KEY + 1), "InvalidAccountNonce", currentNonce=KEY)


def test_keys_are_independent(intent):
    lending, owner = intent.lending, intent.signer
    nonces = intent.contract.functions.nonces
    lending.chain.send(intent.contract.functions.cancelIntents(0), by=owner)
    intent.send(intent.signed(nonce=KEY))
    assert lending.chain.call(nonces(owner.address, 7)) == KEY + 1
    assert lending.chain.call(nonces(owner.address, 0)) == 1


def test_canceled_intents_are_void(intent):
    lending, owner = intent.lending, intent.signer
    call = intent.signed()
    receipt = lending.chain.send(intent.contract.functions.cancelIntents(0), by=owner)
    assert receipt.event(intent.contract, "IntentsCanceled") == {
        "signer": owner.address,
        "nextNonce": 1,
    }
    intent.refused(call, "InvalidAccountNonce", account=owner.address, currentNonce=1)


def test_nobody_cancels_anothers_intents(intent):
    lending = intent.lending
    call = intent.contract.functions.cancelIntents(0)
    lending.chain.send(call, by=lending.accounts.stranger)
    intent.send(intent.signed())


@pytest.mark.parametrize("name", ["Draw", "Redemption"])
def test_an_intent_that_fails_may_be_sent_again(lending, name):
    lending.accepted()
    signer = lending.accounts.lender if name == "Redemption" else lending.seller
    intent = MAKERS[name](lending, signer)
    call = intent.signed()
    lending.pause_coin()
    with pytest.raises(Reverted):
        intent.send(call)
    lending.coin_send(lending.accounts.guardian, "unpause")
    intent.send(call)


# -------------------------------------------------- contract accounts (EIP-1271)


@pytest.fixture
def wallets(lending, test_contracts):
    """Two contract accounts of one owner, both sellers with lines, both with pool shares."""
    artifact = test_contracts["ContractWallet"]
    owner = lending.accounts.buyer2
    wallets = [lending.wallet_of(owner, artifact) for _ in range(2)]
    for wallet in wallets:
        lending.pool_send(lending.accounts.lender, "transfer", wallet, 10 * COIN)
    return owner, *wallets


def opened(lending, owner, wallet):
    intent = acceptance(lending, owner, seller=wallet)
    intent.send(intent.signed())


@pytest.mark.parametrize("name", MAKERS)
def test_a_contract_account_signs_by_its_owner(lending, wallets, name):
    owner, wallet, _ = wallets
    if name in ("Draw", "Holdback"):
        opened(lending, owner, wallet)
    intent = MAKERS[name](lending, owner, wallet)
    nonce = lending.chain.call(intent.contract.functions.nonces(wallet, 0))
    intent.refused(
        intent.signed(by=lending.seller, nonce=nonce), "InvalidIntentSignature", signer=wallet
    )
    intent.send(intent.signed(nonce=nonce))


@pytest.mark.parametrize("name", MAKERS)
def test_an_intent_of_one_wallet_cannot_be_replayed_for_its_owners_other(lending, wallets, name):
    owner, first, second = wallets
    if name in ("Draw", "Holdback"):
        opened(lending, owner, first)
        opened(lending, owner, second)
    one, other = (MAKERS[name](lending, owner, wallet) for wallet in (first, second))
    nonce = lending.chain.call(one.contract.functions.nonces(first, 0))
    signature = lending.sign(owner, name, {**one.fields, "nonce": nonce, "deadline": FOREVER})
    other.refused(other.call(nonce, FOREVER, signature), "InvalidIntentSignature", signer=second)
    one.send(one.call(nonce, FOREVER, signature))


def test_a_contract_seller_repays_by_its_owners_signature(lending, wallets):
    owner, wallet, _ = wallets
    opened(lending, owner, wallet)
    intent = draw(lending, owner, wallet)
    intent.send(intent.signed(nonce=1))
    arguments = list(
        lending.signed_repayment(owner, COIN // 2, b"\5" * 32, seller=wallet, from_=wallet)
    )
    arguments[2] = wallet
    receipt = lending.send(lending.accounts.stranger, "repayWithAuthorization", *arguments)
    assert receipt.event(lending.book, "Repaid")["payer"] == wallet


# ------------------------------------------------------- rules apply to signed forms too


def test_a_signed_acceptance_obeys_the_rules_of_offers(lending):
    intent = acceptance(lending, lending.seller)
    lending.send(lending.accounts.underwriter, "revokeOffer", intent.leading[0])
    intent.refused(intent.signed(), "OfferUsed")
    late = acceptance(lending, lending.seller)
    lending.chain.travel(DAY)
    late.refused(late.signed(), "OfferExpired")


def test_a_signed_draw_obeys_the_rules_of_draws(lending):
    lending.drawn(LIMIT)
    intent = draw(lending, lending.seller)
    intent.refused(intent.signed(), "InvalidAmount", amount=COIN, limit=0)


def test_a_signed_holdback_obeys_its_bounds(lending):
    lending.accepted(holdbackBps=2_001)
    intent = holdback(lending, lending.seller)
    intent.refused(intent.signed(), "InvalidHoldback", holdbackBps=2_000, least=2_001)


def test_a_signed_redemption_goes_no_further_than_the_cash(lending):
    lending.drawn()
    lending.empty_pool(leave=0)
    lender = lending.accounts.lender
    intent = redemption(lending, lender)
    intent.refused(
        intent.signed(), "ERC4626ExceededMaxRedeem", owner=lender.address, shares=COIN, max=0
    )
