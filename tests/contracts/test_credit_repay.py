"""Payments: who may pay, in what order they count, and that no more is taken than is owed."""

import pytest
from eth_utils import keccak

from tests.contracts.credit import (
    ACTIVE,
    APR,
    BPS_YEAR,
    CLOSED,
    DEFAULT_AFTER,
    DEFAULTED,
    DRAW,
    FOREVER,
    INSTALLMENT,
    WINDOW,
    accrued,
    repayment_nonce,
    rounded_up,
)
from tests.contracts.system import COIN, DAY

REF = keccak(text="repayment 1")
NO_ORDER = b"\0" * 32


def repay(lending, amount, by=None, seller=None):
    seller = seller or lending.seller.address
    return lending.send(by or lending.seller, "repay", seller, amount)


def after_one_window(lending):
    """One window unpaid and past, the next one open, whose interest is due. Returns the draw."""
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + WINDOW + DAY)
    return drawn_at


def into_the_second(lending):
    """Two windows past: interest and principal are past due, more is due. Returns the draw."""
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + 2 * WINDOW + DAY)
    return drawn_at


# -------------------------------------------------------------------- what it does


def test_a_payment_goes_to_the_pool_interest_first(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + DAY)
    interest = rounded_up(accrued(DRAW, APR, DAY))
    with lending.moves(seller=-COIN * 100, pool=COIN * 100):
        receipt = repay(lending, COIN * 100)
    left = DRAW - (COIN * 100 - interest)
    assert receipt.event(lending.book, "Repaid") == {
        "seller": lending.seller.address,
        "payer": lending.seller.address,
        "orderHash": NO_ORDER,
        "interestPaid": interest,
        "principalPaid": DRAW - left,
        "principal": left,
    }
    line = lending.line()
    assert (line.principal, line.interest) == (left, left * APR)  # a second has passed
    assert line.installmentDue == INSTALLMENT - (DRAW - left)


def test_a_payment_below_the_interest_leaves_the_principal(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + DAY)
    receipt = repay(lending, 1)
    assert receipt.event(lending.book, "Repaid")["principalPaid"] == 0
    line = lending.line()
    assert line.principal == DRAW
    assert line.interest == accrued(DRAW, APR, DAY + 1) - BPS_YEAR
    assert line.installmentDue == INSTALLMENT


def test_the_totals_follow_a_payment(lending):
    lending.drawn(seller=lending.accounts.seller2.address)
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + DAY)
    repay(lending, COIN * 100)
    lines = [lending.line(), lending.line(lending.accounts.seller2.address)]
    totals = lending.totals()
    assert totals.principal == sum(line.principal for line in lines)
    assert totals.issuanceRate == sum(line.principal * APR for line in lines)
    interest = sum(line.interest for line in lines)
    assert lending.call("bookValue") == totals.principal + interest // BPS_YEAR


def test_the_return_value_is_what_was_taken(lending):
    lending.drawn()
    call = lending.function("repay", lending.seller.address, COIN)
    assert lending.chain.call(call, by=lending.seller) == COIN
    payoff = lending.statement().payoff
    call = lending.function("repay", lending.seller.address, FOREVER)
    assert lending.chain.call(call, by=lending.seller) == payoff


@pytest.mark.parametrize("extra", [0, 1, FOREVER - 20_000 * COIN])
def test_any_amount_from_the_payoff_up_repays_all_and_takes_no_more(lending, extra):
    lending.drawn()
    lending.chain.travel(10 * DAY)
    payoff = lending.statement().payoff
    with lending.moves(seller=-payoff, pool=payoff):
        repay(lending, payoff + extra)
    assert lending.line()._asdict() | {"accruedAt": 0} == {
        "principal": 0,
        "interest": 0,
        "accruedAt": 0,
        "status": ACTIVE,
        "hasDues": False,
        "windowEnd": 0,
        "pastDueSince": 0,
        "installment": 0,
        "installmentDue": 0,
        "holdbackBps": 1_500,
        "aprBps": APR,
    }
    totals = lending.totals()
    assert (totals.principal, totals.issuanceRate) == (0, 0)
    assert lending.call("bookValue") == 0


def test_anyone_may_pay_for_a_seller(lending):
    lending.drawn()
    with lending.moves(buyer=-COIN, pool=COIN):
        receipt = repay(lending, COIN, by=lending.accounts.buyer)
    assert receipt.event(lending.book, "Repaid")["payer"] == lending.accounts.buyer.address


def test_a_frozen_sellers_debt_may_be_paid_by_others(lending):
    lending.drawn()
    lending.freeze(lending.seller)
    lending.refuses(lending.seller, "repay", lending.seller.address, COIN, error="AccountIsFrozen")
    repay(lending, COIN, by=lending.accounts.buyer)
    assert lending.line().principal < DRAW


def test_nothing_owed_is_nothing_to_pay(lending):
    seller = lending.seller.address
    lending.refuses(lending.seller, "repay", seller, COIN, error="NothingOwed", seller=seller)
    lending.accepted()
    lending.refuses(lending.seller, "repay", seller, COIN, error="NothingOwed", seller=seller)


def test_a_payment_of_nothing_is_refused(lending):
    lending.drawn()
    payoff = lending.statement().payoff
    lending.refuses(
        lending.seller,
        "repay",
        lending.seller.address,
        0,
        error="InvalidAmount",
        amount=0,
        limit=payoff,
    )


def test_a_payment_needs_the_payers_coin_and_approval(lending):
    lending.drawn()
    lender2, seller2 = lending.accounts.lender2, lending.accounts.seller2
    lending.refuses(
        lender2, "repay", lending.seller.address, COIN, error="ERC20InsufficientAllowance"
    )
    lending.coin_send(seller2, "transfer", lender2.address, lending.balance(seller2))
    lending.refuses(
        seller2, "repay", lending.seller.address, COIN, error="ERC20InsufficientBalance"
    )


# ------------------------------------------------------------------- the waterfall


def test_the_first_window_asks_for_principal_only(lending):
    # When it opened no interest had accrued.
    drawn_at = after_one_window(lending)
    interest = accrued(DRAW, APR, WINDOW) // BPS_YEAR
    dues = lending.dues()
    assert tuple(dues) == (interest, 0, INSTALLMENT)
    statement = lending.statement()
    assert statement.pastDue == INSTALLMENT
    assert statement.dueInWindow == interest + INSTALLMENT
    assert statement.windowEnd == drawn_at + 2 * WINDOW


def test_past_due_principal_is_paid_before_interest_of_the_open_window(lending):
    after_one_window(lending)
    event = repay(lending, INSTALLMENT - 1).event(lending.book, "Repaid")
    assert (event["interestPaid"], event["principalPaid"]) == (0, INSTALLMENT - 1)
    assert lending.dues().pastDuePrincipal == 1
    assert lending.line().pastDueSince != 0
    event = repay(lending, 1).event(lending.book, "Repaid")
    assert (event["interestPaid"], event["principalPaid"]) == (0, 1)
    assert lending.line().pastDueSince == 0


def test_the_waterfall_step_by_step(lending):
    drawn_at = into_the_second(lending)
    late_interest = accrued(DRAW, APR, WINDOW) // BPS_YEAR
    due_interest = accrued(DRAW, APR, 2 * WINDOW) // BPS_YEAR - late_interest
    assert tuple(lending.dues()) == (due_interest, late_interest, 2 * INSTALLMENT)
    paid_to_date = lending.line().interest

    # 1. Past-due interest, all of it and not a unit of principal.
    event = repay(lending, late_interest - 1).event(lending.book, "Repaid")
    assert (event["interestPaid"], event["principalPaid"]) == (late_interest - 1, 0)
    assert tuple(lending.dues()) == (due_interest, 1, 2 * INSTALLMENT)

    # 2. Past-due principal: the open window's dues are untouched.
    event = repay(lending, 1 + 2 * INSTALLMENT).event(lending.book, "Repaid")
    assert (event["interestPaid"], event["principalPaid"]) == (1, 2 * INSTALLMENT)
    assert tuple(lending.dues()) == (due_interest, 0, 0)
    assert lending.line().installmentDue == INSTALLMENT
    assert lending.line().pastDueSince == 0
    assert lending.line().windowEnd == drawn_at + 3 * WINDOW

    # 3. Interest, the due and the running, before principal.
    owed = lending.statement().interest
    assert owed > due_interest
    event = repay(lending, owed - 1).event(lending.book, "Repaid")
    assert (event["interestPaid"], event["principalPaid"]) == (owed - 1, 0)
    assert tuple(lending.dues()) == (0, 0, 0)
    assert lending.line().installmentDue == INSTALLMENT

    # 4. Principal, which counts for the installment of the open window.
    owed = lending.statement().interest
    event = repay(lending, owed + 3 * COIN).event(lending.book, "Repaid")
    assert (event["interestPaid"], event["principalPaid"]) == (owed, 3 * COIN)
    assert lending.line().installmentDue == INSTALLMENT - 3 * COIN

    # 5. And what is left over stays with the payer.
    payoff = lending.statement().payoff
    with lending.moves(seller=-payoff, pool=payoff):
        repay(lending, FOREVER)
    assert paid_to_date > 0
    assert lending.statement().payoff == 0


def test_a_payment_beyond_the_installment_leaves_nothing_due(lending):
    lending.drawn()
    repay(lending, 2 * INSTALLMENT)
    line = lending.line()
    assert line.installmentDue == 0
    assert line.installment == INSTALLMENT  # of the next window, as long as nothing is drawn


def test_the_last_installment_is_what_principal_is_left(lending):
    drawn_at = lending.drawn()
    repay(lending, DRAW - INSTALLMENT // 2)
    left = lending.line().principal
    lending.chain.travel_to(drawn_at + WINDOW)
    assert lending.line().installmentDue == left < INSTALLMENT


def test_past_due_principal_may_be_all_of_it_and_leave_interest_alone(lending):
    drawn_at = lending.drawn()
    repay(lending, DRAW - INSTALLMENT // 2)
    left = lending.line().principal
    lending.chain.travel_to(drawn_at + 2 * WINDOW)
    late = lending.dues().pastDueInterest
    assert lending.dues().pastDuePrincipal == left
    event = repay(lending, late + left).event(lending.book, "Repaid")
    assert (event["interestPaid"], event["principalPaid"], event["principal"]) == (late, left, 0)
    owed, interest = lending.statement().payoff, lending.line().interest
    assert owed == rounded_up(interest) > 0
    # Nothing accrues on interest; it falls due with its window, and a sale still repays it.
    lending.chain.travel_to(drawn_at + 3 * WINDOW)
    assert lending.line().interest == interest
    assert lending.statement().pastDue == interest // BPS_YEAR
    assert lending.line().pastDueSince == drawn_at + 3 * WINDOW
    assert lending.repayment_of(DRAW) == owed
    repay(lending, FOREVER)
    assert lending.line().windowEnd == 0
    assert lending.call("bookValue") == 0


def test_in_default_principal_is_paid_first(lending):
    lending.defaulted()
    interest = lending.statement().interest
    event = repay(lending, DRAW - 1).event(lending.book, "Repaid")
    assert (event["interestPaid"], event["principalPaid"]) == (0, DRAW - 1)
    event = repay(lending, 2).event(lending.book, "Repaid")
    assert (event["interestPaid"], event["principalPaid"]) == (1, 1)
    assert lending.statement().payoff == interest - 1
    receipt = repay(lending, FOREVER)
    assert receipt.event(lending.book, "Repaid")["interestPaid"] == interest - 1
    assert receipt.events(lending.book, "LineClosed") == [{"seller": lending.seller.address}]
    assert lending.line().status == CLOSED


def test_a_payment_finds_a_default_out(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + WINDOW + DEFAULT_AFTER)
    receipt = repay(lending, COIN)
    assert receipt.events(lending.book, "LineDefaulted")
    assert receipt.event(lending.book, "Repaid")["principalPaid"] == COIN
    assert lending.line().status == DEFAULTED


def test_a_line_in_good_standing_is_not_closed_by_being_paid_off(lending):
    lending.drawn()
    receipt = repay(lending, FOREVER)
    assert receipt.events(lending.book, "LineClosed") == []
    lending.send(lending.seller, "draw", COIN)


# --------------------------------------------------- by the payer's signature (EIP-3009)


def test_a_signed_repayment_may_be_relayed_by_anyone(lending):
    lending.drawn()
    arguments = lending.signed_repayment(lending.seller, COIN, REF)
    with lending.moves(seller=-COIN, pool=COIN):
        receipt = lending.send(lending.accounts.stranger, "repayWithAuthorization", *arguments)
    event = receipt.event(lending.book, "Repaid")
    assert event["payer"] == lending.seller.address
    assert event["interestPaid"] + event["principalPaid"] == COIN


def test_somebody_else_may_sign_a_repayment(lending):
    lending.drawn()
    arguments = lending.signed_repayment(lending.accounts.buyer, COIN, REF)
    with lending.moves(buyer=-COIN, pool=COIN):
        receipt = lending.send(lending.accounts.stranger, "repayWithAuthorization", *arguments)
    assert receipt.event(lending.book, "Repaid")["payer"] == lending.accounts.buyer.address


def test_what_a_line_does_not_need_goes_back(lending):
    lending.drawn()
    payoff = lending.statement().payoff
    arguments = lending.signed_repayment(lending.accounts.buyer, 2 * DRAW, REF)
    call = lending.function("repayWithAuthorization", *arguments)
    assert lending.chain.call(call, by=lending.accounts.stranger) == payoff
    with lending.moves(buyer=-payoff, pool=payoff):
        lending.chain.send(call, by=lending.accounts.stranger)


def test_the_nonce_of_a_repayment_is_documented(lending):
    seller = lending.seller.address
    assert lending.call("repaymentNonce", seller, REF) == repayment_nonce(seller, REF)


def test_a_signed_repayment_is_used_once(lending):
    lending.drawn()
    arguments = lending.signed_repayment(lending.seller, COIN, REF)
    stranger = lending.accounts.stranger
    lending.send(stranger, "repayWithAuthorization", *arguments)
    lending.refuses(
        stranger, "repayWithAuthorization", *arguments, error="AuthorizationAlreadyUsed"
    )


def test_a_repayment_signed_for_one_line_pays_no_other(lending):
    lending.drawn()
    other = lending.accounts.seller2
    lending.drawn(seller=other.address)
    _, *rest = lending.signed_repayment(lending.accounts.buyer, COIN, REF)
    lending.refuses(
        lending.accounts.stranger,
        "repayWithAuthorization",
        other.address,
        *rest,
        error="InvalidSignature",
    )


@pytest.mark.parametrize(
    "changes",
    [{"chain_id": 1}, {"nonce": REF}, {"name": "Plaza CreditBook"}, {"to": "0x" + "11" * 20}],
)
def test_a_repayment_signed_for_something_else_is_refused(lending, changes):
    lending.drawn()
    arguments = lending.signed_repayment(lending.seller, COIN, REF, **changes)
    lending.refuses(
        lending.accounts.stranger, "repayWithAuthorization", *arguments, error="InvalidSignature"
    )


def test_a_signed_repayment_expires_at_its_second(lending):
    lending.drawn()
    until = lending.chain.time + 100
    arguments = lending.signed_repayment(lending.seller, COIN, REF, valid_before=until)
    lending.chain.travel_to(until)
    stranger = lending.accounts.stranger
    lending.refuses(stranger, "repayWithAuthorization", *arguments, error="AuthorizationExpired")


def test_a_signed_repayment_of_nothing_owed_leaves_the_signature_unused(lending):
    lending.accepted()
    arguments = lending.signed_repayment(lending.seller, COIN, REF)
    stranger = lending.accounts.stranger
    lending.refuses(stranger, "repayWithAuthorization", *arguments, error="NothingOwed")
    lending.send(lending.seller, "draw", COIN)
    lending.send(stranger, "repayWithAuthorization", *arguments)


def test_a_signed_repayment_of_nothing_is_refused(lending):
    lending.drawn()
    arguments = lending.signed_repayment(lending.seller, 0, REF)
    lending.refuses(
        lending.accounts.stranger, "repayWithAuthorization", *arguments, error="InvalidAmount"
    )
