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


# ----------------------------------------------------------------------- release, signed


def confirmation(market, terms, amount=AMOUNT, key=0, signer=None, **signed):
    """A release that the buyer has signed: the arguments of releaseWithSignature."""
    signed = {"amount": amount, "nonce": key << 64, **signed}
    signer = signer or market.accounts.buyer
    return tuple(terms), amount, *market.intent(signer, "Release", terms, **signed)


def unused(market, key, signer=None):
    """Whether the first intent of a key can still be used."""
    address = signer or market.accounts.buyer.address
    nonces = market.escrow.functions["nonces(address,uint192)"]
    return market.chain.call(nonces(address, key)) == key << 64


def wallet_order(market, wallet, **changes):
    """An order authorized by a contract account of `buyer2`."""
    terms = market.terms(payer=wallet, **changes)
    payment = market.sign(market.accounts.buyer2, AMOUNT, market.hash(terms), from_=wallet)
    stranger = market.accounts.stranger
    market.send(stranger, "authorizeWithSignature", terms, AMOUNT, *payment)
    return terms


def test_a_batch_releases_every_order_its_payer_has_signed_for(market, accounts):
    """Undelivered, delivered, disputed; all of it, or a part; relayed by anybody."""
    states = (market.authorized, market.delivered, market.disputed)
    orders = [state(orderRef=bytes([number]) * 32) for number, state in enumerate(states)]
    amounts = (AMOUNT, 400, AMOUNT)
    items = [
        confirmation(market, terms, amount, key)
        for key, (terms, amount) in enumerate(zip(orders, amounts, strict=True))
    ]
    released, fees = sum(amounts), 2 * FEE + 10
    with market.moves(escrow=-released, seller=released - fees, fee_receiver=fees):
        done, receipt = run(market, accounts.stranger, "releaseManyWithSignatures", items)
    assert done == [True, True, True]
    assert [market.order(terms).held for terms in orders] == [0, AMOUNT - 400, 0]
    announced = receipt.events(market.escrow, "PurchaseReleased")
    assert [(event["orderHash"], event["amount"], event["fee"]) for event in announced] == [
        (market.hash(terms), amount, amount * MAX_FEE_BPS // 10_000)
        for terms, amount in zip(orders, amounts, strict=True)
    ]
    assert failures(market, receipt) == []
    assert not any(unused(market, key) for key in range(3))


def test_a_batch_of_one_does_what_the_single_call_does(market, chain, accounts):
    terms = market.disputed()
    item = confirmation(market, terms)
    start, logs = chain.snapshot(), []
    for name, args in (("releaseWithSignature", item), ("releaseManyWithSignatures", ([item],))):
        with market.moves(escrow=-AMOUNT, seller=AMOUNT - FEE, fee_receiver=FEE):
            logs.append(market.send(accounts.stranger, name, *args).logs)
        order = market.order(terms)
        assert (order.held, order.refundable, order.status) == (0, AMOUNT, CLOSED)
        assert not unused(market, 0)
        chain.revert_to(start)
    told = [[(log["address"], log["topics"], log["data"]) for log in each] for each in logs]
    assert told[0] == told[1]


def test_each_signed_release_that_fails_is_reported_and_undoes_no_other(market, chain, accounts):
    orders = [market.authorized(orderRef=bytes([number]) * 32) for number in range(10)]
    orders[6] = market.terms(orderRef=b"\x66" * 32)  # nobody has paid
    orders[7] = market.released(orderRef=b"\x77" * 32)
    items = [confirmation(market, terms, key=key) for key, terms in enumerate(orders)]
    items[1] = confirmation(market, orders[1], key=1, signer=accounts.stranger)
    items[2] = confirmation(market, orders[2], key=2, deadline=chain.time)
    items[3] = (items[3][0], AMOUNT - 1, *items[3][2:])  # not what was signed
    items[4] = confirmation(market, orders[4], nonce=(4 << 64) + 1)
    items[5] = confirmation(market, orders[5], AMOUNT + 1, key=5)
    items[8] = (*items[8][:4], b"")
    with market.moves(escrow=-2 * AMOUNT, seller=2 * (AMOUNT - FEE), fee_receiver=2 * FEE):
        done, receipt = run(market, accounts.operator, "releaseManyWithSignatures", items)
    assert done == [True, *[False] * 8, True]
    invalid = selector("InvalidIntentSignature(address)")
    assert failures(market, receipt) == [
        (number, market.hash(orders[number]), error)
        for number, error in (
            (1, invalid),
            (2, selector("IntentExpired(uint256,uint256)")),
            (3, invalid),
            (4, selector("InvalidAccountNonce(address,uint256)")),
            (5, selector("InvalidAmount(uint256,uint256)")),
            (6, selector("WrongStatus(bytes32,uint8)")),
            (7, selector("WrongStatus(bytes32,uint8)")),
            (8, invalid),
        )
    ]
    assert [unused(market, key) for key in range(10)] == [False, *[True] * 8, False]
    assert {market.order(orders[number])[:2] for number in (1, 2, 3, 4, 5, 8)} == {(AMOUNT, 0)}
    # What failed for want of something else can be used later.
    market.send(accounts.stranger, "releaseWithSignature", *confirmation(market, orders[5], key=5))


def test_the_reason_of_a_signed_release_that_fails_is_the_single_calls(market, accounts):
    terms = market.authorized()
    item = confirmation(market, terms, AMOUNT + 1)
    _, receipt = run(market, accounts.stranger, "releaseManyWithSignatures", [item])
    error = selector("InvalidAmount(uint256,uint256)")
    assert receipt.event(market.escrow, "BatchItemFailed") == {
        "index": 0,
        "orderHash": market.hash(terms),
        "reason": error + encode(["uint256", "uint256"], [AMOUNT + 1, AMOUNT]),
    }
    market.refuses(accounts.stranger, "releaseWithSignature", *item, error="InvalidAmount")


def test_one_signature_twice_in_a_batch_is_used_once(market, accounts):
    """Also where the order would have coin for both."""
    terms = market.authorized()
    item = confirmation(market, terms, 400)
    with market.moves(escrow=-400, seller=390, fee_receiver=10):
        done, receipt = run(market, accounts.stranger, "releaseManyWithSignatures", [item, item])
    assert done == [True, False]
    error = selector("InvalidAccountNonce(address,uint256)")
    assert failures(market, receipt) == [(1, market.hash(terms), error)]
    with market.moves():
        done, _ = run(market, accounts.operator, "releaseManyWithSignatures", [item])
    assert done == [False]


def test_a_signature_used_alone_is_not_used_again_in_a_batch_nor_the_other_way(market, accounts):
    terms = market.authorized()
    first, second = (confirmation(market, terms, 400, key) for key in (1, 2))
    market.send(accounts.stranger, "releaseWithSignature", *first)
    with market.moves(escrow=-400, seller=390, fee_receiver=10):
        done, _ = run(market, accounts.stranger, "releaseManyWithSignatures", [first, second])
    assert done == [False, True]
    error = "InvalidAccountNonce"
    market.refuses(accounts.stranger, "releaseWithSignature", *second, error=error)


def test_parts_signed_one_after_another_are_released_in_that_order(market, accounts):
    """Intents of one key: a failed one keeps its nonce, and those behind it wait for it."""
    terms = market.authorized()
    parts = [confirmation(market, terms, amount, nonce=n) for n, amount in enumerate((400, 800))]
    with market.moves(escrow=-1200, seller=1170, fee_receiver=30):
        done, _ = run(market, accounts.stranger, "releaseManyWithSignatures", parts)
    assert done == [True, True]
    orders = [market.authorized(orderRef=bytes([number]) * 32) for number in (1, 2)]
    items = [confirmation(market, orders[0], AMOUNT + 1, nonce=2)]
    items.append(confirmation(market, orders[1], nonce=3))
    with market.moves():
        done, _ = run(market, accounts.stranger, "releaseManyWithSignatures", items)
    assert done == [False, False]


def test_whoever_relays_a_signed_release_has_no_right_of_its_own_in_it(market, accounts):
    """Neither does the operator choose the fee, nor does anybody release what it did not sign."""
    terms = market.releasable()
    for caller in (accounts.operator, accounts.buyer, accounts.seller, accounts.stranger):
        forged = confirmation(market, terms, signer=accounts.seller)
        call = market.function("releaseManyWithSignatures", [forged])
        assert list(market.chain.call(call, by=caller)) == [False]
        call = market.function("releaseManyWithSignatures", [confirmation(market, terms)])
        assert list(market.chain.call(call, by=caller)) == [True]
    with market.moves(escrow=-AMOUNT, seller=AMOUNT - FEE, fee_receiver=FEE):
        items = [confirmation(market, terms)]
        market.send(accounts.operator, "releaseManyWithSignatures", items)


def test_contract_accounts_sign_releases_of_a_batch_too(market, accounts, wallets):
    orders = [
        wallet_order(market, wallet, orderRef=bytes([number]) * 32)
        for number, wallet in enumerate(wallets)
    ]
    first, second = (confirmation(market, terms, signer=accounts.buyer2) for terms in orders)
    # The owner's signature for one account is none for its other one.
    replayed = (second[0], *first[1:])
    with market.moves(escrow=-AMOUNT, seller=AMOUNT - FEE, fee_receiver=FEE):
        items = [replayed, first]
        done, receipt = run(market, accounts.stranger, "releaseManyWithSignatures", items)
    assert done == [False, True]
    error = selector("InvalidIntentSignature(address)")
    assert failures(market, receipt) == [(0, market.hash(orders[1]), error)]
    assert unused(market, 0, wallets[1])


def test_a_frozen_seller_stops_no_batch_of_signed_releases(market, accounts):
    first = market.authorized(orderRef=b"\1" * 32)
    second = market.authorized(orderRef=b"\2" * 32, payee=accounts.seller2.address)
    market.freeze(accounts.seller)
    items = [confirmation(market, terms, key=key) for key, terms in enumerate((first, second))]
    with market.moves(escrow=-AMOUNT - FEE, seller2=AMOUNT - FEE, fee_receiver=2 * FEE):
        done, _ = run(market, accounts.stranger, "releaseManyWithSignatures", items)
    assert done == [True, True]
    assert market.claimable(accounts.seller) == AMOUNT - FEE


def test_signed_releases_in_calldata_that_encodes_no_terms_fail_as_a_whole(
    market, chain, accounts, test_contracts
):
    orders = [market.authorized(orderRef=bytes([number]) * 32) for number in (1, 2)]
    items = [confirmation(market, terms, key=key) for key, terms in enumerate(orders)]
    call = market.function("releaseManyWithSignatures", items)._encode_transaction_data()
    payee = accounts.seller.address[2:].lower()
    meter = chain.deploy(test_contracts["GasMeter"], by=accounts.admin)
    net = 2 * (AMOUNT - FEE)
    moves = {"escrow": -2 * AMOUNT, "seller": net, "fee_receiver": 2 * FEE}
    for first_byte, moved in (("00", moves), ("01", {})):
        head, _, tail = call.rpartition("00" * 12 + payee)
        data = bytes.fromhex((head + first_byte + "00" * 11 + payee + tail)[2:])
        forward = meter.functions.forward(market.escrow.address, data, 5_000_000)
        start = chain.snapshot()
        with market.moves(**moved):
            chain.send(forward, by=accounts.stranger)
        chain.revert_to(start)


# -------------------------------------------------------------------------------- all


MANY = ["authorizeMany", "releaseMany", "releaseManyWithSignatures"]


@pytest.mark.parametrize("name", MANY)
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
    confirmations = [confirmation(market, terms)]
    for name, items in (("releaseMany", releases), ("releaseManyWithSignatures", confirmations)):
        done, receipt = run(market, accounts.operator, name, items)
        assert (done, failures(market, receipt)) == ([False], [(0, market.hash(terms), error)])
    assert unused(market, 0)
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
    # Not even with the payer's signature: that is for the two functions that anybody may call.
    market.refuses(by, "releaseSignedBatchItem", confirmation(market, terms), **refusal)
