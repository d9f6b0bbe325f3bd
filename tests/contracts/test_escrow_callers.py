"""Who may do what, in one table; contract accounts; and a coin that calls back."""

from contextlib import suppress

import pytest
from eth_abi import decode
from eth_utils import function_signature_to_4byte_selector, keccak

from tests.contracts.chain import ZERO_ADDRESS, Reverted
from tests.contracts.escrow import (
    AMOUNT,
    AUTHORIZED,
    CLOSED,
    FOREVER,
    MAX_FEE_BPS,
    Market,
    refund_nonce,
)

REF = keccak(text="refund 1")
CALLERS = ["buyer", "seller", "operator", "fee_receiver", "stranger"]


def operations(market, terms):
    """Every operation on an order, as its arguments after the caller."""
    held, refundable = market.order(terms)[:2]
    fresh = market.terms(orderRef=keccak(text="a new order"), disputeWindow=0)
    payment = market.payment(fresh, AMOUNT)
    refund = market.signed_refund(terms, max(refundable, 1), REF)
    return {
        "authorize": (fresh, AMOUNT),
        "authorizeWithSignature": (fresh, AMOUNT, *payment),
        "charge": (fresh, AMOUNT, MAX_FEE_BPS, *payment),
        "confirmDelivery": (terms,),
        "release": (terms, max(held, 1), MAX_FEE_BPS),
        "void": (terms, max(held, 1)),
        "refund": (terms, max(refundable, 1), REF),
        "refundWithSignature": (terms, max(refundable, 1), REF, *refund),
        "reclaim": (terms,),
    }


# What may be done with a new order, and with one in that state once every deadline has passed.
ALLOWED = {
    "new": {
        "buyer": {"authorize", "authorizeWithSignature"},
        "seller": {"authorizeWithSignature"},
        "operator": {"authorizeWithSignature", "charge"},
        "fee_receiver": {"authorizeWithSignature"},
        "stranger": {"authorizeWithSignature"},
    },
    "authorized": {
        "buyer": {"release", "reclaim"},
        "seller": {"void"},
        "operator": {"confirmDelivery", "void"},
        "fee_receiver": set(),
        "stranger": set(),
    },
    "delivered": {
        "buyer": {"release"},
        "seller": {"release", "void"},
        "operator": {"release", "void"},
        "fee_receiver": {"release"},
        "stranger": {"release"},
    },
    "released": {
        "buyer": {"refundWithSignature"},
        "seller": {"refund", "refundWithSignature"},
        "operator": {"refundWithSignature"},
        "fee_receiver": {"refundWithSignature"},
        "stranger": {"refundWithSignature"},
    },
}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("state", ["authorized", "delivered", "released"])
def test_who_may_do_what(market, chain, accounts, state, caller):
    terms = getattr(market, state)()
    market.approve(accounts.buyer, FOREVER)
    market.approve(accounts.seller, FOREVER)
    chain.travel_to(max(chain.time, terms.reclaimAfter))
    allowed = set()
    for name, args in operations(market, terms).items():
        with suppress(Reverted):
            chain.call(market.function(name, *args), by=getattr(accounts, caller))
            allowed.add(name)
    assert allowed == ALLOWED["new"][caller] | ALLOWED[state][caller]


# ------------------------------------------------------------- contract accounts (EIP-1271)


def test_a_contract_account_pays_by_its_owners_signature(market, accounts, wallets):
    wallet = wallets[0]
    terms = market.terms(payer=wallet)
    payment = market.sign(accounts.buyer2, AMOUNT, market.hash(terms), from_=wallet)
    market.send(accounts.stranger, "authorizeWithSignature", terms, AMOUNT, *payment)
    assert market.order(terms).status == AUTHORIZED


def test_one_owners_signature_pays_from_one_account_alone(market, accounts, wallets):
    payer, other = wallets
    terms = market.terms(payer=payer)
    payment = market.sign(accounts.buyer2, AMOUNT, market.hash(terms), from_=payer)
    market.refuses(
        accounts.stranger,
        "authorizeWithSignature",
        market.terms(payer=other),
        AMOUNT,
        *payment,
        error="InvalidSignature",
        signer=other,
    )


def test_a_strangers_signature_moves_nothing_of_a_contract_account(market, accounts, wallets):
    terms = market.terms(payer=wallets[0])
    payment = market.sign(accounts.stranger, AMOUNT, market.hash(terms), from_=wallets[0])
    market.refuses(
        accounts.stranger,
        "authorizeWithSignature",
        terms,
        AMOUNT,
        *payment,
        error="InvalidSignature",
    )


def test_a_contract_account_refunds_by_its_owners_signature(market, accounts, wallets):
    terms = market.released(payee=wallets[0])
    nonce = refund_nonce(market.hash(terms), REF)
    refund = market.sign(accounts.buyer2, AMOUNT, nonce, from_=wallets[0])
    with market.moves(buyer=AMOUNT):
        market.send(accounts.operator, "refundWithSignature", terms, AMOUNT, REF, *refund)


# ------------------------------------------------------------------- who names an address


def test_no_caller_supplies_a_collector(market):
    """All that coin is taken with, or told to, is fixed at creation or part of what was signed.

    What else takes an address: whose claim is paid (to that account), who signed evidence (checked
    by signature), and an item's caller, which only the escrow itself may say.
    """
    named = {
        (function["name"], argument["name"])
        for function in market.escrow.abi
        if function["type"] == "function" and function["stateMutability"] not in ("view", "pure")
        for argument in function["inputs"]
        if argument["type"].startswith("address")
    }
    assert named == {
        ("claim", "account"),
        ("submitEvidenceWithSignature", "party"),
        ("releaseBatchItem", "caller"),
        ("setAuthority", "newAuthority"),
    }


# ------------------------------------------------------------------- a coin that calls back


@pytest.fixture
def hostile(chain, manager, accounts, test_contracts):
    """An escrow over a coin that calls back into it whenever it is asked to move."""
    coin = chain.deploy(test_contracts["HostileCoin"], by=accounts.admin)
    arguments = (coin.address, ZERO_ADDRESS, manager.address)
    escrow = chain.deploy("PurchaseEscrow", *arguments, by=accounts.admin)
    return Market(chain, accounts, coin, escrow)


BY = {
    "authorize": "buyer",
    "authorizeWithSignature": "stranger",
    "charge": "operator",
    "release": "operator",
    "void": "operator",
    "refund": "seller",
    "refundWithSignature": "stranger",
    "reclaim": "buyer",
}
STATE = {
    "release": "releasable",
    "void": "authorized",
    "refund": "released",
    "refundWithSignature": "released",
    "reclaim": "authorized",
}


@pytest.mark.parametrize("operation", BY)
def test_no_operation_can_be_entered_from_within_another(hostile, chain, accounts, operation):
    terms = getattr(hostile, STATE.get(operation, "authorized"))()
    if operation == "reclaim":
        chain.travel_to(terms.reclaimAfter)
    calls = operations(hostile, terms)
    start = chain.snapshot()
    # Of those that are refused at once, what they would be given does not matter.
    intent = (0, FOREVER, b"")
    attacks = {
        **calls,
        "claim": (accounts.seller.address,),
        "releaseWithSignature": (terms, 1, *intent),
        "voidWithSignature": (terms, 1, *intent),
        "reclaimWithSignature": (terms, *intent),
        "dispute": (terms, REF),
        "disputeWithSignature": (terms, REF, *intent),
        "submitEvidence": (terms, REF),
        "submitEvidenceWithSignature": (terms, accounts.buyer.address, REF, *intent),
        "resolve": (terms, 0, MAX_FEE_BPS, REF),
        "expireDispute": (terms,),
        "authorizeMany": ([],),
        "releaseMany": ([],),
        "releaseManyWithSignatures": ([],),
    }
    moving = {
        function["name"]
        for function in hostile.escrow.abi
        if function["type"] == "function" and function["stateMutability"] == "nonpayable"
    }
    # By the escrow itself, inside a batch.
    own = {"authorizeBatchItem", "releaseBatchItem", "releaseSignedBatchItem"}
    assert set(attacks) == moving - own - {"cancelIntents", "setAuthority"}
    for attack, arguments in attacks.items():
        data = hostile.function(attack, *arguments)._encode_transaction_data()
        arm = hostile.coin.functions.arm(hostile.escrow.address, data)
        chain.send(arm, by=accounts.stranger)
        hostile.send(getattr(accounts, BY[operation]), operation, *calls[operation])
        assert chain.call(hostile.coin.functions.attacks()) > 0
        answer = chain.call(hostile.coin.functions.answer())
        assert answer == function_signature_to_4byte_selector("ReentrancyGuardReentrantCall()")
        chain.revert_to(start)


@pytest.mark.parametrize(
    ("operation", "refundable"), [("release", AMOUNT), ("void", 0), ("refund", 0)]
)
def test_the_order_is_written_before_coin_moves(hostile, chain, accounts, operation, refundable):
    """Whoever looks during the transfer already sees the order as it will be."""
    terms = getattr(hostile, STATE[operation])()
    look = hostile.function("orderOf", hostile.hash(terms))._encode_transaction_data()
    chain.send(hostile.coin.functions.arm(hostile.escrow.address, look), by=accounts.stranger)
    hostile.send(
        getattr(accounts, BY[operation]), operation, *operations(hostile, terms)[operation]
    )
    seen = chain.call(hostile.coin.functions.seen())
    held, left, _, status = decode(["uint96", "uint96", "uint40", "uint8"], seen)
    assert (held, left, status) == (0, refundable, CLOSED)
