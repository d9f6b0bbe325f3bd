"""Authorize: the buyer's coin is held for exactly the terms the buyer agreed to."""

import pytest
from eth_abi import encode
from eth_utils import keccak
from hexbytes import HexBytes

from tests.contracts.escrow import (
    AMOUNT,
    AUTHORIZED,
    CLOSED,
    MAX_FEE_BPS,
    TERMS_TYPE,
    Order,
    order_hash,
    refund_nonce,
)
from tests.contracts.signing import sign_cancel

ZERO = "0x" + "00" * 20
TERMS_TUPLE = "({})".format(",".join(member["type"] for member in TERMS_TYPE))
TERMS_STRING = "Terms({})".format(",".join(f"{m['type']} {m['name']}" for m in TERMS_TYPE))


# ------------------------------------------------------------- by the payer's signature


def test_a_signed_payment_is_held_for_the_order(market, accounts):
    terms = market.terms()
    payment = market.payment(terms, AMOUNT)
    with market.moves(buyer=-AMOUNT, escrow=AMOUNT):
        receipt = market.send(accounts.stranger, "authorizeWithSignature", terms, AMOUNT, *payment)
    assert market.order(terms) == Order(AMOUNT, 0, 0, AUTHORIZED)
    assert receipt.event(market.escrow, "PurchaseAuthorized") == {
        "orderHash": market.hash(terms),
        "payer": accounts.buyer.address,
        "payee": accounts.seller.address,
        "amount": AMOUNT,
        "terms": terms._asdict(),
    }


def test_the_order_hash_is_the_eip712_hash_of_the_terms(market, chain):
    terms = market.terms()
    assert chain.call(market.function("hashTerms", terms)) == market.hash(terms)
    for field, changed in {
        "payer": terms.payee,
        "payee": terms.payer,
        "operator": terms.payee,
        "feeReceiver": terms.payee,
        "maxAmount": 2**96 - 1,
        "minFeeBps": 2**16 - 1,
        "maxFeeBps": 2**16 - 1,
        "authorizeBefore": 2**40 - 1,
        "reclaimAfter": 2**40 - 1,
        "disputeWindow": 2**32 - 1,
        "orderRef": b"\xff" * 32,
    }.items():
        other = terms._replace(**{field: changed})
        assert market.hash(other) != market.hash(terms)
        assert chain.call(market.function("hashTerms", other)) == market.hash(other)


def test_the_escrow_states_its_domain_and_coin(market, chain):
    domain = chain.call(market.function("eip712Domain"))
    assert domain[1:5] == ("Plaza PurchaseEscrow", "1", 4242, market.escrow.address)
    assert chain.call(market.function("coin")) == market.coin.address


def test_the_refund_nonce_is_the_hash_of_order_and_reference(market, chain):
    order, ref = keccak(text="order"), keccak(text="ref")
    assert chain.call(market.function("refundNonce", order, ref)) == refund_nonce(order, ref)


def test_a_part_of_the_maximum_may_be_authorized(market, accounts):
    terms = market.authorized(1)
    assert market.order(terms).held == 1


@pytest.mark.parametrize("amount", [0, AMOUNT + 1, 2**96 + AMOUNT, 2**256 - 1])
def test_an_amount_of_zero_or_above_the_maximum_is_refused(market, accounts, amount):
    terms = market.terms()
    for by, name, payment in (
        (accounts.stranger, "authorizeWithSignature", market.payment(terms, amount)),
        (accounts.buyer, "authorize", ()),
    ):
        market.refuses(
            by, name, terms, amount, *payment, error="InvalidAmount", amount=amount, limit=AMOUNT
        )


def test_an_order_is_authorized_at_most_once(market, accounts):
    terms = market.authorized(AMOUNT // 2)
    again = market.payment(terms, AMOUNT // 4)
    refused = {"error": "WrongStatus", "orderHash": market.hash(terms), "actual": AUTHORIZED}
    market.refuses(
        accounts.stranger, "authorizeWithSignature", terms, AMOUNT // 4, *again, **refused
    )
    market.refuses(accounts.buyer, "authorize", terms, AMOUNT // 4, **refused)


def test_a_closed_order_is_never_authorized_again(market, accounts):
    terms = market.authorized()
    market.send(accounts.seller, "void", terms, AMOUNT)
    payment = market.payment(terms, AMOUNT)
    refused = {"error": "WrongStatus", "orderHash": market.hash(terms), "actual": CLOSED}
    market.refuses(accounts.stranger, "authorizeWithSignature", terms, AMOUNT, *payment, **refused)
    market.approve(accounts.buyer, AMOUNT)
    market.refuses(accounts.buyer, "authorize", terms, AMOUNT, **refused)


def test_authorization_ends_at_authorize_before(market, chain, accounts):
    terms = market.terms()
    payment = market.payment(terms, AMOUNT)
    deadline = terms.authorizeBefore
    for now in (deadline, deadline + 1):
        chain.travel_to(now)
        closed = {
            "error": "AuthorizationWindowClosed",
            "authorizeBefore": deadline,
            "nowTime": now,
        }
        market.refuses(
            accounts.stranger, "authorizeWithSignature", terms, AMOUNT, *payment, **closed
        )
        market.refuses(accounts.buyer, "authorize", terms, AMOUNT, **closed)
    chain.travel_to(deadline - 1)
    market.send(accounts.stranger, "authorizeWithSignature", terms, AMOUNT, *payment)


@pytest.mark.parametrize("offset", [0, 1])
def test_a_payment_not_yet_valid_is_refused(market, chain, accounts, offset):
    terms = market.terms()
    valid_after = chain.time + offset
    payment = market.sign(accounts.buyer, AMOUNT, market.hash(terms), valid_after)
    call = ("authorizeWithSignature", terms, AMOUNT, *payment)
    market.refuses(accounts.stranger, *call, error="AuthorizationNotYetValid")
    chain.travel_to(valid_after + 1)
    market.send(accounts.stranger, *call)


def test_an_expired_payment_is_refused(market, chain, accounts):
    terms = market.terms()
    valid_before = chain.time + 100
    payment = market.sign(accounts.buyer, AMOUNT, market.hash(terms), valid_before=valid_before)
    call = ("authorizeWithSignature", terms, AMOUNT, *payment)
    chain.travel_to(valid_before)
    market.refuses(accounts.stranger, *call, error="AuthorizationExpired")
    chain.travel_to(valid_before - 1)
    market.send(accounts.stranger, *call)


# ---------------------------------------------------------- what the signature binds


@pytest.mark.parametrize(
    "change",
    [
        {"operator": "stranger"},
        {"feeReceiver": "stranger"},
        {"payee": "seller2"},
        {"payer": "buyer2"},
        {"maxAmount": AMOUNT + 1},
        {"minFeeBps": 0},
        {"maxFeeBps": 10_000},
        {"disputeWindow": 0},
        {"authorizeBefore": 1_900_000_000},
        {"reclaimAfter": 2_000_000_000},
        {"orderRef": b"\0" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_signature_binds_the_money_to_exactly_these_terms(market, accounts, change):
    payment = market.payment(market.terms(), AMOUNT)
    addresses = {
        field: getattr(accounts, value).address
        for field, value in change.items()
        if isinstance(value, str)
    }
    changed = market.terms(
        **{"reclaimAfter": 1_950_000_000, **change, **addresses}
        if "authorizeBefore" in change
        else {**change, **addresses}
    )
    market.refuses(
        accounts.operator,
        "authorizeWithSignature",
        changed,
        AMOUNT,
        *payment,
        error="InvalidSignature",
        signer=changed.payer,
    )


def test_the_signature_binds_the_amount(market, accounts):
    terms = market.terms()
    payment = market.payment(terms, AMOUNT - 1)
    market.refuses(
        accounts.operator,
        "authorizeWithSignature",
        terms,
        AMOUNT,
        *payment,
        error="InvalidSignature",
    )


def test_another_members_signature_is_refused(market, accounts):
    terms = market.terms()
    payment = market.sign(accounts.seller, AMOUNT, market.hash(terms), from_=accounts.buyer.address)
    market.refuses(
        accounts.operator,
        "authorizeWithSignature",
        terms,
        AMOUNT,
        *payment,
        error="InvalidSignature",
        signer=accounts.buyer.address,
    )


def test_a_signature_for_another_chain_is_refused(market, accounts):
    terms = market.terms()
    for nonce, domain in (
        (order_hash(terms, market.escrow.address, chain_id=1), {}),
        (market.hash(terms), {"chain_id": 1}),
    ):
        payment = market.sign(accounts.buyer, AMOUNT, nonce, **domain)
        market.refuses(
            accounts.operator,
            "authorizeWithSignature",
            terms,
            AMOUNT,
            *payment,
            error="InvalidSignature",
        )


def test_a_signature_for_another_escrow_is_refused(market, platform, chain, accounts):
    other = platform.deploy_escrow()
    terms = market.terms()
    payment = market.payment(terms, AMOUNT)
    function = other.functions.authorizeWithSignature(tuple(terms), AMOUNT, *payment)
    chain.reverts(function, accounts.stranger, "InvalidSignature", signer=accounts.buyer.address)
    # Nor can the other escrow be given the first one's signature under its own order hash.
    assert order_hash(terms, other.address) != market.hash(terms)


def test_nobody_but_the_escrow_can_spend_the_payment(market, chain, accounts):
    terms = market.terms()
    valid_after, valid_before, signature = market.payment(terms, AMOUNT)
    functions = market.coin.get_function_by_signature
    kinds = "(address,address,uint256,uint256,uint256,bytes32,bytes)"
    arguments = (
        accounts.buyer.address,
        market.escrow.address,
        AMOUNT,
        valid_after,
        valid_before,
        market.hash(terms),
        signature,
    )
    receive = functions(f"receiveWithAuthorization{kinds}")(*arguments)
    chain.reverts(receive, accounts.stranger, "CallerNotReceiver")
    transfer = functions(f"transferWithAuthorization{kinds}")(*arguments)
    chain.reverts(transfer, accounts.stranger, "InvalidSignature")


def test_a_canceled_payment_cannot_be_authorized(market, chain, accounts):
    terms = market.terms()
    payment = market.payment(terms, AMOUNT)
    cancel = sign_cancel(accounts.buyer, market.coin, market.hash(terms))
    kinds = "cancelAuthorization(address,bytes32,bytes)"
    function = market.coin.get_function_by_signature(kinds)
    chain.send(
        function(accounts.buyer.address, market.hash(terms), cancel.packed), by=accounts.stranger
    )
    market.refuses(
        accounts.stranger,
        "authorizeWithSignature",
        terms,
        AMOUNT,
        *payment,
        error="AuthorizationAlreadyUsed",
        nonce=market.hash(terms),
    )


# --------------------------------------------------------- by the payer's transaction


def test_the_payers_own_transaction_holds_approved_coin(market, accounts):
    terms = market.terms()
    market.approve(accounts.buyer, AMOUNT)
    with market.moves(buyer=-AMOUNT, escrow=AMOUNT):
        receipt = market.send(accounts.buyer, "authorize", terms, AMOUNT)
    assert market.order(terms) == Order(AMOUNT, 0, 0, AUTHORIZED)
    authorized = receipt.event(market.escrow, "PurchaseAuthorized")
    assert (authorized["amount"], authorized["terms"]) == (AMOUNT, terms._asdict())


def test_nobody_can_spend_the_payers_approval(market, accounts):
    terms = market.terms()
    market.approve(accounts.buyer, AMOUNT)
    for caller in (accounts.operator, accounts.seller, accounts.stranger):
        market.refuses(
            caller, "authorize", terms, AMOUNT, error="NotAllowed", caller=caller.address
        )


def test_the_payers_transaction_needs_an_approval(market, accounts):
    market.approve(accounts.buyer, AMOUNT - 1)
    market.refuses(
        accounts.buyer, "authorize", market.terms(), AMOUNT, error="ERC20InsufficientAllowance"
    )


def test_a_payer_without_the_coin_cannot_authorize(market, accounts):
    terms = market.terms(payer=accounts.buyer2.address)
    payment = market.sign(accounts.buyer2, AMOUNT, market.hash(terms))
    market.refuses(
        accounts.stranger,
        "authorizeWithSignature",
        terms,
        AMOUNT,
        *payment,
        error="ERC20InsufficientBalance",
    )


def test_a_frozen_buyer_cannot_authorize(market, chain, accounts):
    terms = market.terms()
    payment = market.payment(terms, AMOUNT)
    market.approve(accounts.buyer, AMOUNT)
    market.freeze(accounts.buyer)
    frozen = {"error": "AccountIsFrozen", "account": accounts.buyer.address}
    market.refuses(accounts.operator, "authorizeWithSignature", terms, AMOUNT, *payment, **frozen)
    market.refuses(accounts.buyer, "authorize", terms, AMOUNT, **frozen)


def test_nothing_is_authorized_while_the_coin_is_paused(market, chain, accounts):
    terms = market.terms()
    payment = market.payment(terms, AMOUNT)
    market.pause()
    market.refuses(
        accounts.operator, "authorizeWithSignature", terms, AMOUNT, *payment, error="CoinPaused"
    )


# ---------------------------------------------------------------------- invalid terms


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"payer": ZERO}, "payer is zero"),
        ({"payee": ZERO}, "payee is zero"),
        ({"operator": ZERO}, "operator is zero"),
        ({"feeReceiver": ZERO}, "feeReceiver is zero"),
        ({"payer": "escrow"}, "escrow is a party"),
        ({"payee": "escrow"}, "escrow is a party"),
        ({"operator": "escrow"}, "escrow is a party"),
        ({"feeReceiver": "escrow"}, "escrow is a party"),
        ({"payee": "buyer"}, "payer is payee"),
        ({"maxAmount": 0}, "maxAmount is zero"),
        ({"minFeeBps": 251, "maxFeeBps": 250}, "minFeeBps above maxFeeBps"),
        ({"maxFeeBps": 10_001}, "maxFeeBps above 10000"),
        ({"authorizeBefore": 1_900_000_001, "reclaimAfter": 1_900_000_000},
         "authorizeBefore after reclaimAfter"),
    ],
)  # fmt: skip
def test_invalid_terms_are_refused_with_the_reason(market, accounts, change, reason):
    addresses = {"escrow": market.escrow.address, "buyer": accounts.buyer.address}
    terms = market.terms(**{key: addresses.get(value, value) for key, value in change.items()})
    invalid = {"error": "InvalidTerms", "reason": reason}
    payment = market.payment(terms, AMOUNT)
    market.refuses(accounts.stranger, "authorizeWithSignature", terms, AMOUNT, *payment, **invalid)


def test_every_way_to_authorize_checks_the_terms(market, accounts):
    terms = market.terms(payee=ZERO, disputeWindow=0)
    invalid = {"error": "InvalidTerms", "reason": "payee is zero"}
    market.refuses(accounts.buyer, "authorize", terms, AMOUNT, **invalid)
    payment = market.payment(terms, AMOUNT)
    market.refuses(accounts.operator, "charge", terms, AMOUNT, MAX_FEE_BPS, *payment, **invalid)


def test_terms_at_their_limits_are_accepted(market, accounts):
    terms = market.authorized(
        maxAmount=2**96 - 1,
        minFeeBps=10_000,
        maxFeeBps=10_000,
        authorizeBefore=1_900_000_000,
        reclaimAfter=1_900_000_000,
        disputeWindow=2**32 - 1,
        feeReceiver=accounts.operator.address,
    )
    assert market.order(terms).status == AUTHORIZED


def test_an_escrow_needs_a_coin(market, chain, manager, accounts):
    arguments = (accounts.stranger.address, ZERO, manager.address)
    with pytest.raises(Exception, match="InvalidCoin") as raised:
        chain.deploy("PurchaseEscrow", *arguments, by=accounts.admin)
    assert raised.value.arguments == {"coin": accounts.stranger.address}


@pytest.mark.parametrize("word", [*range(10)])
def test_terms_with_bits_beyond_a_members_type_open_no_order(
    market, chain, accounts, test_contracts, word
):
    """Even where the payer signed their hash: no log could say what was agreed."""
    meter = chain.deploy(test_contracts["GasMeter"], by=accounts.admin)
    terms = market.terms()
    for bits, accepted in ((0, True), (1, False)):
        words = encode([TERMS_TUPLE], [tuple(terms)])
        dirty = bytearray(words)
        dirty[32 * word] |= bits
        struct_hash = keccak(keccak(text=TERMS_STRING) + dirty)
        domain = keccak(
            encode(
                ["bytes32", "bytes32", "bytes32", "uint256", "address"],
                [
                    keccak(
                        text="EIP712Domain(string name,string version,uint256 chainId,"
                        "address verifyingContract)"
                    ),
                    keccak(text="Plaza PurchaseEscrow"),
                    keccak(text="1"),
                    4242,
                    market.escrow.address,
                ],
            )
        )
        nonce = keccak(b"\x19\x01" + domain + struct_hash)
        payment = market.sign(accounts.buyer, AMOUNT, nonce)
        call = market.function("authorizeWithSignature", terms, AMOUNT, *payment)
        data = HexBytes(call._encode_transaction_data()).replace(words, bytes(dirty))
        forward = meter.functions.forward(market.escrow.address, data, 1_000_000)
        assert chain.call(forward) is accepted
