"""Release: the seller is paid, the fee taken, to the unit; by whom, when and how much."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.escrow import (
    AMOUNT,
    AUTHORIZED,
    CLOSED,
    DELIVERED,
    MAX_FEE_BPS,
    MIN_FEE_BPS,
    NONE,
    Order,
)

FEE = AMOUNT * MAX_FEE_BPS // 10_000


def test_the_operator_releases_after_the_dispute_window(market, accounts):
    terms = market.releasable()
    deadline = market.order(terms).deadline
    with market.moves(escrow=-AMOUNT, seller=AMOUNT - FEE, fee_receiver=FEE):
        receipt = market.send(accounts.operator, "release", terms, AMOUNT, MAX_FEE_BPS)
    assert market.order(terms) == Order(0, AMOUNT, deadline, CLOSED)
    assert receipt.event(market.escrow, "PurchaseReleased") == {
        "orderHash": market.hash(terms),
        "amount": AMOUNT,
        "fee": FEE,
        "repayment": 0,
        "paid": AMOUNT - FEE,
    }


@pytest.mark.parametrize("caller", ["operator", "seller", "fee_receiver", "stranger"])
def test_the_dispute_window_ends_at_its_deadline(market, chain, accounts, caller):
    terms = market.delivered()
    deadline = market.order(terms).deadline
    by = getattr(accounts, caller)
    call = ("release", terms, AMOUNT, MAX_FEE_BPS)
    chain.travel_to(deadline - 1)
    market.refuses(
        by,
        *call,
        error="DisputeWindowOpen",
        disputeDeadline=deadline,
        nowTime=deadline - 1,
    )
    # A call does not move the time on, so the very second of the deadline is next.
    chain.travel_to(deadline + 1)
    chain.call(market.function(*call), by=by)
    chain.travel_to(deadline)
    market.send(by, *call)


@pytest.mark.parametrize("caller", ["operator", "seller", "fee_receiver", "stranger"])
def test_what_is_not_delivered_only_the_payer_releases(market, chain, accounts, caller):
    terms = market.authorized()
    for moment in (chain.time, terms.reclaimAfter):
        chain.travel_to(moment)
        market.refuses(
            getattr(accounts, caller),
            "release",
            terms,
            AMOUNT,
            MAX_FEE_BPS,
            error="WrongStatus",
            orderHash=market.hash(terms),
            actual=AUTHORIZED,
        )


@pytest.mark.parametrize("state", ["authorized", "delivered", "releasable"])
def test_the_payer_releases_at_any_time(market, accounts, state):
    terms = getattr(market, state)()
    with market.moves(escrow=-AMOUNT, seller=AMOUNT - FEE, fee_receiver=FEE):
        market.send(accounts.buyer, "release", terms, AMOUNT, MAX_FEE_BPS)
    assert market.order(terms).status == CLOSED


@pytest.mark.parametrize("state", ["authorized", "releasable"])
def test_the_payer_may_release_a_part(market, accounts, state):
    terms = getattr(market, state)()
    before = market.order(terms)
    market.send(accounts.buyer, "release", terms, 1, MAX_FEE_BPS)
    after = before._replace(held=AMOUNT - 1, refundable=1)
    assert market.order(terms) == after


def test_parts_released_add_up_and_the_last_one_closes_the_order(market, accounts):
    terms = market.releasable()
    deadline = market.order(terms).deadline
    for part, fee_bps in ((AMOUNT // 2, MIN_FEE_BPS), (AMOUNT // 4, 200)):
        market.send(accounts.operator, "release", terms, part, fee_bps)
    rest = AMOUNT - AMOUNT // 2 - AMOUNT // 4
    assert market.order(terms) == Order(rest, AMOUNT - rest, deadline, DELIVERED)
    market.refuses(
        accounts.operator,
        "release",
        terms,
        rest + 1,
        MAX_FEE_BPS,
        error="InvalidAmount",
        amount=rest + 1,
        limit=rest,
    )
    market.send(accounts.stranger, "release", terms, rest, MAX_FEE_BPS)
    assert market.order(terms) == Order(0, AMOUNT, deadline, CLOSED)


@pytest.mark.parametrize("fee_bps", [MIN_FEE_BPS, MIN_FEE_BPS + 1, MAX_FEE_BPS])
def test_the_operator_takes_any_fee_within_the_signed_bounds(market, accounts, fee_bps):
    terms = market.releasable()
    fee = AMOUNT * fee_bps // 10_000
    with market.moves(escrow=-AMOUNT, seller=AMOUNT - fee, fee_receiver=fee):
        market.send(accounts.operator, "release", terms, AMOUNT, fee_bps)


@pytest.mark.parametrize("fee_bps", [0, MIN_FEE_BPS - 1, MAX_FEE_BPS + 1, 2**16 - 1])
def test_a_fee_out_of_the_signed_bounds_is_refused(market, accounts, fee_bps):
    terms = market.releasable()
    market.refuses(
        accounts.operator,
        "release",
        terms,
        AMOUNT,
        fee_bps,
        error="InvalidFee",
        feeBps=fee_bps,
        minFeeBps=MIN_FEE_BPS,
        maxFeeBps=MAX_FEE_BPS,
    )


@pytest.mark.parametrize("caller", ["buyer", "seller", "stranger"])
@pytest.mark.parametrize("fee_bps", [0, MIN_FEE_BPS, MAX_FEE_BPS - 1, MAX_FEE_BPS + 1])
def test_who_is_not_the_operator_names_the_highest_fee(market, accounts, caller, fee_bps):
    terms = market.releasable()
    market.refuses(
        getattr(accounts, caller),
        "release",
        terms,
        AMOUNT,
        fee_bps,
        error="InvalidFee",
        feeBps=fee_bps,
        minFeeBps=MAX_FEE_BPS,
        maxFeeBps=MAX_FEE_BPS,
    )


@pytest.mark.parametrize("caller", ["buyer", "operator", "stranger"])
@pytest.mark.parametrize("amount", [0, AMOUNT + 1, 2**96 + AMOUNT, 2**256 - 1])
def test_a_release_of_zero_or_more_than_is_held_is_refused(market, accounts, caller, amount):
    terms = market.releasable()
    market.refuses(
        getattr(accounts, caller),
        "release",
        terms,
        amount,
        MAX_FEE_BPS,
        error="InvalidAmount",
        amount=amount,
        limit=AMOUNT,
    )


@pytest.mark.parametrize("caller", ["seller", "fee_receiver", "stranger"])
@pytest.mark.parametrize("amount", [1, AMOUNT - 1])
def test_anyone_else_releases_all_or_nothing(market, accounts, caller, amount):
    terms = market.releasable()
    by = getattr(accounts, caller)
    call = ("release", terms, amount, MAX_FEE_BPS)
    market.refuses(by, *call, error="InvalidAmount", amount=amount, limit=AMOUNT)
    with market.moves(escrow=-AMOUNT, seller=AMOUNT - FEE, fee_receiver=FEE):
        market.send(by, "release", terms, AMOUNT, MAX_FEE_BPS)


def test_a_release_is_never_counted_twice(market, accounts):
    terms = market.released()
    for by in (accounts.buyer, accounts.operator, accounts.stranger):
        market.refuses(
            by,
            "release",
            terms,
            AMOUNT,
            MAX_FEE_BPS,
            error="WrongStatus",
            orderHash=market.hash(terms),
            actual=CLOSED,
        )


def test_an_order_never_authorized_cannot_be_released(market, accounts):
    terms = market.terms()
    for by in (accounts.buyer, accounts.operator, accounts.stranger):
        market.refuses(by, "release", terms, AMOUNT, MAX_FEE_BPS, error="WrongStatus", actual=NONE)


@pytest.mark.parametrize(("fee_bps", "moved"), [
    (0, {"seller": AMOUNT}),
    (10_000, {"fee_receiver": AMOUNT}),
])  # fmt: skip
def test_a_part_of_zero_moves_no_coin(market, accounts, fee_bps, moved):
    terms = market.releasable(minFeeBps=0, maxFeeBps=10_000)
    with market.moves(escrow=-AMOUNT, **moved):
        receipt = market.send(accounts.operator, "release", terms, AMOUNT, fee_bps)
    assert len(receipt.events(market.coin, "Transfer")) == 1


@pytest.mark.parametrize(("amount", "fee_bps", "fee"), [
    (1, 9_999, 0),
    (1, 10_000, 1),
    (39, 250, 0),
    (40, 250, 1),
    (79, 250, 1),
    (10_001, 9_999, 9_999),
])  # fmt: skip
def test_the_fee_is_rounded_down_to_the_unit(market, accounts, amount, fee_bps, fee):
    terms = market.releasable(amount, minFeeBps=0, maxFeeBps=10_000)
    receipt = market.send(accounts.operator, "release", terms, amount, fee_bps)
    released = receipt.event(market.escrow, "PurchaseReleased")
    assert (released["fee"], released["paid"]) == (fee, amount - fee)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    amount=st.integers(1, 10_000 * 10**6),
    share=st.integers(1, 10_000),
    bounds=st.tuples(*[st.integers(0, 10_000)] * 3).map(sorted),
)
def test_fee_and_paid_are_the_amount_to_the_unit(market, amount, share, bounds):
    """For any amount, part and fee within any bounds."""
    chain, accounts = market.chain, market.accounts
    least, fee_bps, most = bounds
    part = max(1, amount * share // 10_000)
    start = chain.snapshot()
    try:
        terms = market.releasable(
            amount, maxAmount=amount, minFeeBps=least, maxFeeBps=most, disputeWindow=0
        )
        fee = part * fee_bps // 10_000
        moved = {"seller": part - fee, "fee_receiver": fee, "escrow": -part}
        with market.moves(**{name: value for name, value in moved.items() if value}):
            receipt = market.send(accounts.operator, "release", terms, part, fee_bps)
        released = receipt.event(market.escrow, "PurchaseReleased")
        assert released["fee"] + released["repayment"] + released["paid"] == part
        assert part * least // 10_000 <= released["fee"] <= part * most // 10_000
    finally:
        chain.revert_to(start)


# ------------------------------------------------------------- receivers that cannot receive


def test_a_frozen_seller_blocks_nobody(market, chain, accounts):
    terms = market.releasable()
    market.freeze(accounts.seller)
    with market.moves(escrow=-FEE, fee_receiver=FEE):
        receipt = market.send(accounts.stranger, "release", terms, AMOUNT, MAX_FEE_BPS)
    assert receipt.event(market.escrow, "ClaimableCredited") == {
        "account": accounts.seller.address,
        "orderHash": market.hash(terms),
        "amount": AMOUNT - FEE,
    }
    assert market.claimable(accounts.seller) == AMOUNT - FEE
    assert market.order(terms).status == CLOSED


def test_an_expelled_fee_receiver_blocks_nobody(market, chain, accounts):
    terms = market.releasable()
    expel = market.coin.functions.expel(accounts.fee_receiver.address)
    chain.send(expel, by=accounts.operator)
    with market.moves(escrow=-(AMOUNT - FEE), seller=AMOUNT - FEE):
        market.send(accounts.operator, "release", terms, AMOUNT, MAX_FEE_BPS)
    assert market.claimable(accounts.fee_receiver) == FEE


def test_a_seller_that_never_was_a_member_is_credited(market, accounts):
    terms = market.releasable(payee=accounts.stranger.address)
    market.send(accounts.operator, "release", terms, AMOUNT, MAX_FEE_BPS)
    assert market.claimable(accounts.stranger) == AMOUNT - FEE


@pytest.mark.parametrize("frozen", [[], ["seller"], ["seller", "fee_receiver"]])
def test_a_pause_of_the_coin_reverts_a_release_and_credits_nobody(market, chain, accounts, frozen):
    terms = market.releasable()
    for name in frozen:
        market.freeze(getattr(accounts, name))
    market.pause()
    market.refuses(accounts.buyer, "release", terms, AMOUNT, MAX_FEE_BPS, error="CoinPaused")


def test_an_escrow_that_is_no_member_reverts_and_credits_nobody(market, chain, accounts):
    terms = market.releasable()
    chain.send(market.coin.functions.expelSystem(market.escrow.address), by=accounts.steward)
    market.refuses(
        accounts.stranger,
        "release",
        terms,
        AMOUNT,
        MAX_FEE_BPS,
        error="NotAMember",
        account=market.escrow.address,
    )
