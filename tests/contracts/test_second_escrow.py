"""A new version of the escrow beside the first: brought in, used, and the first one retired.

The way is the one of docs/operating.md: the steward makes the new contract a system member and a
sales source, the admin gives the arbiter its `resolve`, each after the delay. Orders stay with the
escrow whose address was signed, so the first goes on until it holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from eth_utils import keccak
from web3.contract import Contract

from node.chain.constitution import ENDLESS, ROLES
from tests.contracts.chain import Chain, selectors
from tests.contracts.credit import Lending
from tests.contracts.escrow import AMOUNT, CLOSED, DISPUTED, MAX_FEE_BPS, Market, Terms
from tests.contracts.founded import found, later_escrow, perform, populate, schedule
from tests.contracts.system import COIN, DAY, System

FEE = AMOUNT * MAX_FEE_BPS // 10_000
NET = AMOUNT - FEE
HOLDBACK_BPS = 1_500
REPAID = NET * HOLDBACK_BPS // 10_000  # of a sale, by the seller's line


@dataclass(frozen=True)
class Two:
    """The system, and the markets of the first escrow and the second."""

    system: System
    first: Market
    second: Market
    lending: Lending

    @property
    def chain(self) -> Chain:
        return self.system.chain

    def coin_of(self, market: Market) -> int:
        balance_of = self.system.coin.functions.balanceOf(market.escrow.address)
        return int(self.chain.call(balance_of))

    def member(self, market: Market) -> bool:
        standing = self.system.coin.functions.inGoodStanding(market.escrow.address)
        return bool(self.chain.call(standing))


def market_of(system: System, escrow: Contract) -> Market:
    return Market(system.chain, system.accounts, system.coin, escrow)


@pytest.fixture(scope="module")
def founded() -> Two:
    """A seller with a line drawn, before the second escrow is known to anything."""
    system = found()
    populate(system)
    lending, cast = Lending(system), system.accounts
    for holder, spender in ((cast.lender, system.pool), (cast.buyer2, system.book)):
        lending.approve(holder, spender)
    lending.send(cast.buyer2, "fundReserve", 1_000 * COIN)
    lending.pool_send(cast.lender, "deposit", 20_000 * COIN, cast.lender.address)
    lending.drawn(holdbackBps=HOLDBACK_BPS)
    second = market_of(system, later_escrow(system))
    return Two(system, market_of(system, system.escrow), second, lending)


@pytest.fixture
def two(founded: Two) -> Iterator[Two]:
    snapshot = founded.chain.snapshot()
    yield founded
    founded.chain.revert_to(snapshot)


def bring_in(two: Two) -> None:
    """What steward and admin do for a new version, each operation after its delay."""
    system, cast = two.system, two.system.accounts
    new = two.second.escrow
    role = system.manager.functions.setTargetFunctionRole(
        new.address, selectors(new, ["resolve"]), ROLES["ARBITER"].id
    )
    admit = system.coin.functions.admitSystem(new.address, ENDLESS)
    source = system.book.functions.setSalesSource(new.address, True)
    for operation, by in ((admit, cast.steward), (source, cast.steward), (role, cast.admin)):
        schedule(system, operation, by)
    two.chain.travel(DAY)
    for operation, by in ((admit, cast.steward), (source, cast.steward), (role, cast.admin)):
        two.chain.send(operation, by=by)


def order(number: int) -> bytes:
    return keccak(text=f"order {number}")


def test_a_contract_that_was_not_brought_in_takes_no_coin(two: Two) -> None:
    terms = two.second.terms()
    payment = two.second.payment(terms, AMOUNT)
    two.second.refuses(
        two.system.accounts.operator,
        "authorizeWithSignature",
        terms,
        AMOUNT,
        *payment,
        error="NotASystemAccount",
        account=two.second.escrow.address,
    )


def test_a_member_that_is_no_sales_source_yet_sells_without_repaying(two: Two) -> None:
    """The order of the steps does no harm: until the book listens, sales are paid in full."""
    system = two.system
    admit = system.coin.functions.admitSystem(two.second.escrow.address, ENDLESS)
    perform(system, admit, system.accounts.steward, DAY)
    terms = two.second.releasable()
    operator = system.accounts.operator
    with two.second.moves(escrow=-AMOUNT, seller=NET, fee_receiver=FEE):
        two.second.send(operator, "release", terms, AMOUNT, MAX_FEE_BPS)


def test_purchases_run_on_both_and_sales_on_both_repay_the_line(two: Two) -> None:
    bring_in(two)
    operator = two.system.accounts.operator
    bought = [
        (two.first, two.first.delivered(orderRef=order(1))),
        (two.second, two.second.delivered(orderRef=order(2))),
    ]
    assert two.coin_of(two.first) == two.coin_of(two.second) == AMOUNT
    two.chain.travel(bought[0][1].disputeWindow)
    for market, terms in bought:
        payoff = two.lending.statement().payoff
        release = market.function("release", terms, AMOUNT, MAX_FEE_BPS)
        with two.lending.moves(seller=NET - REPAID, fee_receiver=FEE, pool=REPAID):
            receipt = two.chain.send(release, by=operator)
        repaid = receipt.event(two.system.book, "Repaid")
        assert repaid["payer"] == market.escrow.address
        assert repaid["orderHash"] == market.hash(terms)
        assert repaid["interestPaid"] + repaid["principalPaid"] == REPAID
        assert two.lending.statement().payoff < payoff
        assert market.order(terms).status == CLOSED
    assert two.coin_of(two.first) == two.coin_of(two.second) == 0


def test_a_signature_for_one_escrow_is_none_for_the_other(two: Two) -> None:
    bring_in(two)
    terms = two.first.terms()
    for_first = two.first.payment(terms, AMOUNT)
    two.second.refuses(
        two.system.accounts.operator,
        "authorizeWithSignature",
        terms,
        AMOUNT,
        *for_first,
        error="InvalidSignature",
    )
    two.first.send(
        two.system.accounts.operator, "authorizeWithSignature", terms, AMOUNT, *for_first
    )


def test_the_arbiter_decides_on_both(two: Two) -> None:
    bring_in(two)
    cast = two.system.accounts
    for number, market in enumerate((two.first, two.second)):
        terms = market.delivered(orderRef=order(number))
        market.send(cast.buyer, "dispute", terms, keccak(text="broken"))
        assert market.order(terms).status == DISPUTED
        market.send(cast.arbiter, "resolve", terms, AMOUNT, MAX_FEE_BPS, keccak(text="it was"))
        assert market.order(terms).status == CLOSED


# ------------------------------------------------------------------- retiring the first


def retire(two: Two) -> None:
    system, steward = two.system, two.system.accounts.steward
    address = two.first.escrow.address
    expel = system.coin.functions.expelSystem(address)
    deaf = system.book.functions.setSalesSource(address, False)
    for operation in (expel, deaf):
        schedule(system, operation, steward)
    two.chain.travel(DAY)
    for operation in (expel, deaf):
        two.chain.send(operation, by=steward)


def drained(two: Two) -> list[Terms]:
    """Orders of the first escrow, each ended in another way; it then holds nothing."""
    cast, first = two.system.accounts, two.first
    released = first.released(orderRef=order(1))
    voided = first.authorized(orderRef=order(2))
    first.send(cast.seller, "void", voided, AMOUNT)
    reclaimed = first.authorized(orderRef=order(3))
    two.chain.travel_to(reclaimed.reclaimAfter)
    first.send(cast.buyer, "reclaim", reclaimed)
    ended = [released, voided, reclaimed]
    assert [first.order(terms).status for terms in ended] == [CLOSED] * 3
    assert two.coin_of(first) == 0
    return ended


def test_the_first_is_retired_after_its_orders_are_drained(two: Two) -> None:
    bring_in(two)
    drained(two)
    retire(two)
    assert (two.member(two.first), two.member(two.second)) == (False, True)
    cast = two.system.accounts
    terms = two.first.terms(orderRef=order(9))
    payment = two.first.payment(terms, AMOUNT)
    two.first.refuses(
        cast.operator, "authorizeWithSignature", terms, AMOUNT, *payment, error="NotAMember"
    )
    terms = two.second.releasable(orderRef=order(9))
    release = two.second.function("release", terms, AMOUNT, MAX_FEE_BPS)
    with two.lending.moves(seller=NET - REPAID, fee_receiver=FEE, pool=REPAID):
        two.chain.send(release, by=cast.operator)


def test_an_escrow_that_was_not_drained_keeps_its_coin_until_it_is_admitted_again(
    two: Two,
) -> None:
    """So a mistake of the steward stops orders and loses nothing."""
    bring_in(two)
    terms = two.first.authorized()
    retire(two)
    cast, system = two.system.accounts, two.system
    two.chain.travel_to(terms.reclaimAfter)
    two.first.refuses(cast.buyer, "reclaim", terms, error="NotAMember")
    admit = system.coin.functions.admitSystem(two.first.escrow.address, ENDLESS)
    perform(system, admit, cast.steward, DAY)
    with two.first.moves(escrow=-AMOUNT, buyer=AMOUNT):
        two.first.send(cast.buyer, "reclaim", terms)


def test_after_its_retirement_a_refund_is_a_plain_transfer_with_the_order_as_its_memo(
    two: Two,
) -> None:
    """Refunds go through the escrow that counts them, and so only while it is a member. Later ones
    the seller pays to the buyer directly."""
    bring_in(two)
    released, *_ = drained(two)
    retire(two)
    cast, coin, first = two.system.accounts, two.system.coin, two.first
    ref = keccak(text="return 1")
    refund = first.signed_refund(released, AMOUNT, ref)
    first.refuses(
        cast.operator,
        "refundWithSignature",
        released,
        AMOUNT,
        ref,
        *refund,
        error="NotAMember",
    )
    memo = first.hash(released)
    pay = coin.functions.transferWithMemo(cast.buyer.address, AMOUNT, memo)
    with first.moves(seller=-AMOUNT, buyer=AMOUNT):
        receipt = two.chain.send(pay, by=cast.seller)
    assert receipt.event(coin, "TransferMemo")["memo"] == memo


def test_nothing_of_this_is_done_at_once_or_by_the_operator(two: Two) -> None:
    system, cast = two.system, two.system.accounts
    new = two.second.escrow.address
    for step in (
        system.coin.functions.admitSystem(new, ENDLESS),
        system.coin.functions.expelSystem(two.first.escrow.address),
        system.book.functions.setSalesSource(new, True),
    ):
        two.chain.reverts(step, cast.steward, "AccessManagerNotScheduled")
        two.chain.reverts(step, cast.operator, "AccessManagedUnauthorized")
