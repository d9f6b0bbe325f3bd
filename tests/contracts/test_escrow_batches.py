"""Batches: several purchases in one call, where who fails is reported and undoes nobody else."""

import pytest
from eth_abi import decode, encode
from eth_utils import function_signature_to_4byte_selector, keccak

from tests.contracts.escrow import (
    AMOUNT,
    AUTHORIZED,
    CLOSED,
    COMPLAINT,
    MAX_FEE_BPS,
    MIN_FEE_BPS,
    NONE,
    TERMS_TYPE,
)
from tests.contracts.signing import sign_cancel

FEE = AMOUNT * MAX_FEE_BPS // 10_000
TERMS_TUPLE = "({})".format(",".join(member["type"] for member in TERMS_TYPE))


def purchase(market, terms, amount=AMOUNT, signed_amount=None):
    return tuple(terms), amount, *market.payment(terms, signed_amount or amount)


def several(market, count=3, **changes):
    return [market.terms(orderRef=bytes([number]) * 32, **changes) for number in range(count)]


def run(market, by, name, items):
    """(what it answers, receipt) of a batch."""
    answer = market.chain.call(market.function(name, items), by=by)
    return list(answer), market.send(by, name, items)


def failures(market, receipt):
    """(index, order hash, selector of the error) of each failed item."""
    events = receipt.events(market.escrow, "BatchItemFailed")
    return [(event["index"], event["orderHash"], event["reason"][:4]) for event in events]


def selector(error):
    return function_signature_to_4byte_selector(error)


# ---------------------------------------------------------------------------- authorize


def test_a_batch_authorizes_every_signed_purchase(market, accounts):
    orders = several(market)
    items = [purchase(market, terms) for terms in orders]
    with market.moves(buyer=-3 * AMOUNT, escrow=3 * AMOUNT):
        done, receipt = run(market, accounts.stranger, "authorizeMany", items)
    assert done == [True, True, True]
    assert [market.order(terms).status for terms in orders] == [AUTHORIZED] * 3
    announced = receipt.events(market.escrow, "PurchaseAuthorized")
    assert [event["orderHash"] for event in announced] == [market.hash(t) for t in orders]
    assert failures(market, receipt) == []


def test_a_purchase_that_fails_is_reported_and_undoes_no_other(market, accounts):
    orders = several(market)
    items = [purchase(market, terms) for terms in orders]
    items[1] = purchase(market, orders[1], signed_amount=AMOUNT - 1)
    with market.moves(buyer=-2 * AMOUNT, escrow=2 * AMOUNT):
        done, receipt = run(market, accounts.stranger, "authorizeMany", items)
    assert done == [True, False, True]
    assert [market.order(t).status for t in orders] == [AUTHORIZED, NONE, AUTHORIZED]
    (failed,) = receipt.events(market.escrow, "BatchItemFailed")
    assert (failed["index"], failed["orderHash"]) == (1, market.hash(orders[1]))
    error = selector("InvalidSignature(address)")
    assert failed["reason"] == error + encode(["address"], [accounts.buyer.address])


def test_each_failure_is_reported_with_its_own_reason(market, chain, accounts):
    orders = several(market, 5)
    orders[0] = orders[0]._replace(payee=accounts.buyer.address)
    orders[1] = orders[1]._replace(authorizeBefore=chain.time)
    items = [purchase(market, terms) for terms in orders]
    items[2] = purchase(market, orders[2], AMOUNT + 1)
    items[3] = (*items[3][:2], 0, chain.time, items[3][4])
    canceled = sign_cancel(accounts.buyer, market.coin, market.hash(orders[4]))
    cancel = market.coin.functions["cancelAuthorization(address,bytes32,bytes)"](
        accounts.buyer.address, market.hash(orders[4]), canceled.packed
    )
    chain.send(cancel, by=accounts.stranger)
    with market.moves():
        done, receipt = run(market, accounts.stranger, "authorizeMany", items)
    assert done == [False] * 5
    assert [reason for _, _, reason in failures(market, receipt)] == [
        selector("InvalidTerms(string)"),
        selector("AuthorizationWindowClosed(uint40,uint256)"),
        selector("InvalidAmount(uint256,uint256)"),
        selector("AuthorizationExpired(uint256,uint256)"),
        selector("AuthorizationAlreadyUsed(address,bytes32)"),
    ]


def test_one_order_twice_in_a_batch_is_paid_once(market, accounts):
    terms = market.terms()
    item = purchase(market, terms)
    with market.moves(buyer=-AMOUNT, escrow=AMOUNT):
        done, receipt = run(market, accounts.stranger, "authorizeMany", [item, item])
    assert done == [True, False]
    error = selector("WrongStatus(bytes32,uint8)")
    assert failures(market, receipt) == [(1, market.hash(terms), error)]


@pytest.mark.parametrize("end", ["release", "void", "reclaim", "charge", "resolve"])
def test_a_payment_is_never_pulled_again_however_its_order_ended(market, chain, accounts, end):
    """The coin does not mark the nonce: the order's word alone must remember."""
    window = 0 if end == "charge" else 86_400
    edge = chain.time + 10 * 86_400
    # Both limits at one second: the payer reclaims just when no authorization is possible any more.
    terms = market.terms(authorizeBefore=edge, reclaimAfter=edge, disputeWindow=window)
    payment = market.payment(terms, AMOUNT)
    if end == "charge":
        market.send(accounts.operator, "charge", terms, AMOUNT, MAX_FEE_BPS, *payment)
    else:
        market.send(accounts.stranger, "authorizeWithSignature", terms, AMOUNT, *payment)
    match end:
        case "release":
            market.send(accounts.buyer, "release", terms, AMOUNT, MAX_FEE_BPS)
        case "void":
            market.send(accounts.seller, "void", terms, AMOUNT)
        case "reclaim":
            chain.travel_to(edge)
            market.send(accounts.buyer, "reclaim", terms)
        case "resolve":
            market.send(accounts.operator, "confirmDelivery", terms)
            market.send(accounts.buyer, "dispute", terms, COMPLAINT)
            decision = (AMOUNT, MAX_FEE_BPS, keccak(text="decision"))
            market.send(accounts.arbiter, "resolve", terms, *decision)
    assert market.order(terms).status == CLOSED
    error = "AuthorizationWindowClosed" if end == "reclaim" else "WrongStatus"
    signed = ("authorizeWithSignature", terms, AMOUNT, *payment)
    market.refuses(accounts.stranger, *signed, error=error)
    if end == "charge":
        charge = ("charge", terms, AMOUNT, MAX_FEE_BPS, *payment)
        market.refuses(accounts.operator, *charge, error=error)
    with market.moves():
        done, _ = run(market, accounts.stranger, "authorizeMany", [purchase(market, terms)])
    assert done == [False]


def test_a_payment_signed_for_an_order_paid_otherwise_is_never_pulled(market, accounts):
    terms = market.terms()
    item = purchase(market, terms)
    market.approve(accounts.buyer, AMOUNT)
    market.send(accounts.buyer, "authorize", terms, AMOUNT)
    with market.moves():
        done, _ = run(market, accounts.stranger, "authorizeMany", [item])
    assert done == [False]


def test_calldata_that_encodes_no_terms_fails_as_a_whole(market, chain, accounts, test_contracts):
    """Bits beyond a member's type are the relayer's mistake, and no failure of one purchase."""
    items = [purchase(market, terms) for terms in several(market, 2)]
    call = market.function("authorizeMany", items)._encode_transaction_data()
    payee = accounts.seller.address[2:].lower()
    meter = chain.deploy(test_contracts["GasMeter"], by=accounts.admin)
    for first_byte, moved in (("00", 2 * AMOUNT), ("01", 0)):
        head, _, tail = call.rpartition("00" * 12 + payee)
        data = bytes.fromhex((head + first_byte + "00" * 11 + payee + tail)[2:])
        forward = meter.functions.forward(market.escrow.address, data, 5_000_000)
        start = chain.snapshot()
        with market.moves(**({"buyer": -moved, "escrow": moved} if moved else {})):
            chain.send(forward, by=accounts.stranger)
        chain.revert_to(start)


# ------------------------------------------------------------------------------ release


def test_a_batch_releases_every_order(market, accounts):
    orders = [market.releasable(orderRef=bytes([number]) * 32) for number in range(3)]
    items = [(tuple(terms), AMOUNT, MAX_FEE_BPS) for terms in orders]
    with market.moves(escrow=-3 * AMOUNT, seller=3 * (AMOUNT - FEE), fee_receiver=3 * FEE):
        done, receipt = run(market, accounts.operator, "releaseMany", items)
    assert done == [True, True, True]
    assert [market.order(terms).status for terms in orders] == [CLOSED] * 3
    assert len(receipt.events(market.escrow, "PurchaseReleased")) == 3


def test_a_release_that_fails_is_reported_and_undoes_no_other(market, accounts):
    orders = [market.releasable(orderRef=bytes([number]) * 32) for number in range(3)]
    orders[1] = market.authorized(orderRef=b"\7" * 32)
    items = [(tuple(terms), AMOUNT, MAX_FEE_BPS) for terms in orders]
    with market.moves(escrow=-2 * AMOUNT, seller=2 * (AMOUNT - FEE), fee_receiver=2 * FEE):
        done, receipt = run(market, accounts.operator, "releaseMany", items)
    assert done == [True, False, True]
    (failed,) = receipt.events(market.escrow, "BatchItemFailed")
    assert (failed["index"], failed["orderHash"]) == (1, market.hash(orders[1]))
    assert failed["reason"][:4] == selector("WrongStatus(bytes32,uint8)")
    arguments = decode(["bytes32", "uint8"], failed["reason"][4:])
    assert arguments == (market.hash(orders[1]), AUTHORIZED)


def test_a_batch_releases_in_the_callers_right(market, accounts):
    """The operator takes any fee in the bounds, the payer what is not delivered, others neither."""
    delivered = market.releasable()
    held = market.authorized(orderRef=b"\1" * 32)
    items = [(tuple(delivered), AMOUNT, MIN_FEE_BPS), (tuple(held), AMOUNT, MAX_FEE_BPS)]
    for caller, expected in (
        ("stranger", [False, False]),
        ("seller", [False, False]),
        ("operator", [True, False]),
        ("buyer", [False, True]),
    ):
        call = market.function("releaseMany", items)
        assert list(market.chain.call(call, by=getattr(accounts, caller))) == expected


def test_one_order_twice_in_a_batch_is_released_once(market, accounts):
    terms = market.releasable()
    item = (tuple(terms), AMOUNT, MAX_FEE_BPS)
    with market.moves(escrow=-AMOUNT, seller=AMOUNT - FEE, fee_receiver=FEE):
        done, _ = run(market, accounts.operator, "releaseMany", [item, item])
    assert done == [True, False]


def test_parts_of_one_order_are_released_in_one_batch(market, accounts):
    terms = market.releasable()
    items = [(tuple(terms), amount, MAX_FEE_BPS) for amount in (400, AMOUNT - 400)]
    with market.moves(escrow=-AMOUNT, seller=AMOUNT - FEE, fee_receiver=FEE):
        done, _ = run(market, accounts.operator, "releaseMany", items)
    assert done == [True, True]


def test_a_strangers_batch_cannot_split_a_release_into_dust_without_a_fee(market, accounts):
    terms = market.releasable()
    items = [(tuple(terms), 39, MAX_FEE_BPS)] * 2
    with market.moves():
        done, _ = run(market, accounts.stranger, "releaseMany", items)
    assert done == [False, False]


def test_a_frozen_seller_stops_no_batch(market, accounts):
    first = market.releasable(orderRef=b"\1" * 32)
    second = market.releasable(orderRef=b"\2" * 32, payee=accounts.seller2.address)
    market.freeze(accounts.seller)
    items = [(tuple(terms), AMOUNT, MAX_FEE_BPS) for terms in (first, second)]
    with market.moves(escrow=-AMOUNT - FEE, seller2=AMOUNT - FEE, fee_receiver=2 * FEE):
        done, _ = run(market, accounts.operator, "releaseMany", items)
    assert done == [True, True]
    assert market.claimable(accounts.seller) == AMOUNT - FEE


# ------------------------------------------------------------------------------- both


@pytest.mark.parametrize("name", ["authorizeMany", "releaseMany"])
def test_a_batch_of_none_does_nothing(market, accounts, name):
    with market.moves():
        done, receipt = run(market, accounts.stranger, name, [])
    assert (done, receipt.logs) == ([], [])


def test_while_the_coin_is_paused_every_item_fails_and_says_so(market, accounts):
    terms = market.releasable()
    fresh = market.terms(orderRef=keccak(text="fresh"))
    purchases = [purchase(market, fresh)]
    market.pause()
    error = selector("CoinPaused()")
    releases = [(tuple(terms), AMOUNT, MAX_FEE_BPS)]
    done, receipt = run(market, accounts.operator, "releaseMany", releases)
    assert (done, failures(market, receipt)) == ([False], [(0, market.hash(terms), error)])
    done, receipt = run(market, accounts.operator, "authorizeMany", purchases)
    assert (done, failures(market, receipt)) == ([False], [(0, market.hash(fresh), error)])


@pytest.mark.parametrize("caller", ["buyer", "operator", "arbiter", "admin"])
def test_an_item_is_the_batchs_own_to_call(market, accounts, caller):
    terms, by = market.releasable(), getattr(accounts, caller)
    refusal = {"error": "NotAllowed", "caller": by.address}
    item = (tuple(terms), AMOUNT, MAX_FEE_BPS)
    market.refuses(by, "releaseBatchItem", item, accounts.buyer.address, **refusal)
    fresh = market.terms(orderRef=keccak(text="fresh"))
    market.refuses(by, "authorizeBatchItem", purchase(market, fresh), **refusal)
