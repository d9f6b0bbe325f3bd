"""What a share is worth: it rises with interest, and falls by a recorded loss and nothing else."""

import pytest

from tests.contracts.credit import (
    APR,
    BPS_YEAR,
    DEFAULT_AFTER,
    DRAW,
    FOREVER,
    POOL_CASH,
    RESERVE,
    WINDOW,
    accrued,
)
from tests.contracts.system import COIN, DAY

SHARES = 10**6
MANY = 10**24  # shares, to tell small changes of their price


def price(lending):
    return lending.pool_call("convertToAssets", MANY)


def redeem_all(lending, *accounts):
    for account in accounts:
        shares = lending.pool_call("balanceOf", account.address)
        lending.pool_send(account, "redeem", shares, account.address, account.address)


def test_assets_are_cash_principal_and_interest(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + 10 * DAY)
    interest = accrued(DRAW, APR, 10 * DAY) // BPS_YEAR
    assert lending.cash() == POOL_CASH - DRAW
    assert lending.call("bookValue") == DRAW + interest
    assert lending.pool_call("totalAssets") == POOL_CASH + interest


def test_the_reserve_is_not_the_lenders(lending):
    before = lending.pool_call("totalAssets")
    lending.send(lending.accounts.treasurer, "fundReserve", COIN)
    assert lending.pool_call("totalAssets") == before


def test_interest_is_shared_by_those_who_were_there(lending):
    lending.drawn()
    lending.chain.travel(WINDOW - 1)
    newcomer = lending.accounts.lender2
    lending.pool_send(newcomer, "deposit", 10_000 * COIN, newcomer.address)
    worth = lending.pool_call("convertToAssets", lending.pool_call("balanceOf", newcomer.address))
    # Within a second's interest of what was put in: what was earned before is not the newcomer's.
    assert 0 <= worth - 10_000 * COIN <= accrued(DRAW, APR, 2) // BPS_YEAR


def test_a_share_never_falls_but_by_a_recorded_loss(lending):
    lender, seller = lending.accounts.lender, lending.seller
    servicer, treasurer = lending.accounts.servicer, lending.accounts.treasurer
    lending.send(lending.accounts.treasurer, "fundReserve", 100 * COIN)
    lending.accepted(drawFeeBps=100)
    steps = [
        lambda: lending.send(seller, "draw", DRAW),
        lambda: lending.chain.travel(DAY),
        lambda: lending.send(seller, "repay", seller.address, 7),
        lambda: lending.sale(333 * COIN + 1),
        lambda: lending.pool_send(lender, "deposit", 12_345, lender.address),
        lambda: lending.pool_send(lender, "withdraw", 54_321, lender.address, lender.address),
        lambda: lending.pool_send(lender, "redeem", 999_999_999, lender.address, lender.address),
        lambda: lending.pool_send(lender, "mint", 1_000_000_001, lender.address),
        lambda: lending.pool_send(lender, "transfer", seller.address, 10**15),
        lambda: lending.send(treasurer, "withdrawReserve", treasurer.address, COIN),
        lambda: lending.chain.travel(WINDOW),
        lambda: lending.send(seller, "touch", seller.address),
        lambda: lending.send(servicer, "grantHoliday", seller.address, DAY),
        lambda: lending.chain.travel(WINDOW + DEFAULT_AFTER),
        lambda: lending.send(seller, "touch", seller.address),
        lambda: lending.chain.travel(DAY),
        lambda: lending.send(seller, "repay", seller.address, COIN),
    ]
    for step in steps:
        before = price(lending)
        step()
        assert price(lending) >= before
    before = price(lending)
    lending.send(servicer, "chargeOff", seller.address)
    assert price(lending) < before


def test_a_waiver_is_a_loss_of_just_that(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + 10 * DAY)
    before = lending.pool_call("totalAssets")
    lending.send(lending.accounts.servicer, "waive", lending.seller.address, COIN)
    a_second = accrued(DRAW, APR, 1) // BPS_YEAR
    assert lending.pool_call("totalAssets") - (before - COIN) in (a_second, a_second + 1)


def test_a_recovery_is_the_lenders_again(lending):
    lending.charged_off()
    before, owed = lending.pool_call("totalAssets"), lending.loss().toPool
    lending.send(lending.seller, "repay", lending.seller.address, FOREVER)
    assert lending.pool_call("totalAssets") == before + owed
    assert lending.totals().reserve == RESERVE


def test_a_donation_is_shared_by_all_and_breaks_nothing(lending):
    lender, other = lending.accounts.lender, lending.accounts.lender2
    lending.pool_send(other, "deposit", POOL_CASH, other.address)
    lending.coin_send(lending.accounts.buyer, "transfer", lending.pool.address, 1_000 * COIN)
    for account in (lender, other):
        worth = lending.pool_call("maxWithdraw", account.address)
        assert POOL_CASH + 500 * COIN - worth in (0, 1)
    redeem_all(lending, lender, other)
    assert lending.cash() <= 2


@pytest.mark.parametrize("victim_puts_in", [1, COIN, 1_000 * COIN])
@pytest.mark.parametrize("donation", [COIN, 10_000 * COIN])
def test_inflating_the_first_deposit_costs_more_than_it_wins(lending, donation, victim_puts_in):
    attacker, victim = lending.accounts.lender, lending.accounts.lender2
    redeem_all(lending, attacker)
    assert lending.pool_call("totalSupply") == 0
    before = lending.balance(attacker)
    lending.pool_send(attacker, "deposit", 1, attacker.address)
    lending.coin_send(attacker, "transfer", lending.pool.address, donation)
    lending.pool_send(victim, "deposit", victim_puts_in, victim.address)
    worth = lending.pool_call("previewRedeem", lending.pool_call("balanceOf", victim.address))
    # The virtual shares own about half of the donation, the attacker's one unit the other half.
    assert victim_puts_in - worth <= victim_puts_in // 100 + donation // 10**6 + 1
    redeem_all(lending, attacker)
    lost = before - lending.balance(attacker)
    assert lost >= donation // 3 > victim_puts_in - worth


def test_a_donation_to_an_empty_pool_is_nobodys(lending):
    lender, other = lending.accounts.lender, lending.accounts.lender2
    redeem_all(lending, lender)
    lending.coin_send(lending.accounts.buyer, "transfer", lending.pool.address, COIN)
    lending.pool_send(other, "deposit", POOL_CASH, other.address)
    worth = lending.pool_call("maxWithdraw", other.address)
    assert POOL_CASH - 1 <= worth <= POOL_CASH + COIN
