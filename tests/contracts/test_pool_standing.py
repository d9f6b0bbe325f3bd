"""Shares are bound as coin is: freezes, expiry and pauses, and what the limits then say."""

import pytest

from tests.contracts.credit import FOREVER
from tests.contracts.system import COIN, MEMBER_UNTIL

SHARES = 10**6


@pytest.fixture
def lender(lending):
    return lending.accounts.lender


@pytest.fixture(params=["frozen", "expelled"])
def bound(request, lending, lender):
    """The lender, with shares, may not move coin any more."""
    if request.param == "frozen":
        lending.freeze(lender)
    else:
        lending.expel(lender)
    return lender


def test_shares_pass_between_members(lending, lender):
    to = lending.accounts.buyer
    lending.pool_send(lender, "transfer", to.address, SHARES)
    assert lending.pool_call("balanceOf", to.address) == SHARES


def why(bound, lending):
    """The coin's own word for it."""
    member = lending.chain.call(lending.coin.functions.accountOf(bound.address))
    return "AccountIsFrozen" if member.frozen else "NotAMember"


@pytest.mark.parametrize("name", ["redeem", "withdraw"])
def test_who_may_not_move_coin_redeems_to_nobody(lending, bound, name):
    me, other = bound.address, lending.accounts.lender2.address
    lending.pool_refuses(bound, name, 1, me, me, error=why(bound, lending), account=me)
    lending.pool_refuses(bound, name, 1, other, me, error="NotInGoodStanding", account=me)


def test_nobody_redeems_for_who_may_not_move_coin(lending, lender):
    other = lending.accounts.lender2
    me, to = lender.address, other.address
    lending.pool_send(lender, "approve", to, FOREVER)
    lending.freeze(lender)
    for name in ("redeem", "withdraw"):
        lending.pool_refuses(other, name, 1, to, me, error="NotInGoodStanding", account=me)
        lending.pool_refuses(other, name, 1, me, me, error="AccountIsFrozen", account=me)
    lending.pool_refuses(
        other, "transferFrom", me, to, SHARES, error="NotInGoodStanding", account=me
    )


def test_a_frozen_owners_signed_redemption_is_refused(lending, lender):
    message = {"owner": lender.address, "shares": SHARES, "nonce": 0, "deadline": FOREVER}
    signature = lending.sign(lender, "Redemption", message)
    lending.freeze(lender)
    lending.pool_refuses(
        lending.accounts.stranger,
        "redeemWithSignature",
        *message.values(),
        signature,
        error="AccountIsFrozen",
    )


def test_shares_do_not_leave_who_may_not_move_coin(lending, bound):
    lending.pool_refuses(
        bound,
        "transfer",
        lending.accounts.lender2.address,
        SHARES,
        error="NotInGoodStanding",
        account=bound.address,
    )


def test_shares_do_not_come_to_who_may_not_move_coin(lending, lender):
    other = lending.accounts.lender2
    lending.freeze(other)
    for to in (other, lending.accounts.stranger):
        lending.pool_refuses(
            lender,
            "transfer",
            to.address,
            SHARES,
            error="NotInGoodStanding",
            account=to.address,
        )


@pytest.mark.parametrize(("name", "amount"), [("deposit", COIN), ("mint", COIN * SHARES)])
def test_nobody_deposits_for_who_may_not_move_coin(lending, lender, name, amount):
    other = lending.accounts.lender2
    lending.freeze(other)
    lending.pool_refuses(
        lender, name, amount, other.address, error="NotInGoodStanding", account=other.address
    )


def test_who_may_not_move_coin_deposits_nothing(lending, bound):
    for to in (bound, lending.accounts.lender2):
        lending.pool_refuses(
            bound, "deposit", COIN, to.address, error=why(bound, lending), account=bound.address
        )


def test_coin_of_the_pool_goes_to_no_stranger(lending, lender):
    stranger = lending.accounts.stranger.address
    lending.pool_refuses(
        lender, "withdraw", COIN, stranger, lender.address, error="NotAMember", account=stranger
    )


def test_standing_ends_at_the_second_membership_does(lending, lender):
    other = lending.accounts.lender2
    lending.chain.travel_to(MEMBER_UNTIL - 1)
    assert lending.pool_call("maxWithdraw", lender.address) > 0
    lending.pool_send(lender, "transfer", other.address, SHARES)
    lending.chain.travel_to(MEMBER_UNTIL + 1)
    assert lending.pool_call("maxWithdraw", lender.address) == 0
    lending.pool_refuses(
        lender,
        "transfer",
        other.address,
        SHARES,
        error="NotInGoodStanding",
        account=lender.address,
    )


def test_shares_come_back_with_good_standing(lending, lender):
    lending.freeze(lender)
    lending.coin_send(lending.accounts.compliance, "unfreeze", lender.address)
    lending.pool_send(lender, "withdraw", COIN, lender.address, lender.address)


# ------------------------------------------------------------------- limits and pauses


def limits(lending, account):
    names = ("maxDeposit", "maxMint", "maxWithdraw", "maxRedeem")
    return tuple(lending.pool_call(name, account.address) for name in names)


def test_limits_of_a_member(lending, lender):
    deposit, mint, withdraw, redeem = limits(lending, lender)
    assert (deposit, mint) == (FOREVER, FOREVER)
    assert withdraw == lending.cash()
    assert redeem == lending.pool_call("balanceOf", lender.address)
    assert limits(lending, lending.accounts.lender2) == (FOREVER, FOREVER, 0, 0)


def test_limits_of_who_may_not_move_coin_are_zero(lending, bound):
    assert limits(lending, bound) == (0, 0, 0, 0)
    assert limits(lending, lending.accounts.stranger) == (0, 0, 0, 0)


def test_limits_while_the_coin_is_paused_are_zero(lending, lender):
    lending.pause_coin()
    assert limits(lending, lender) == (0, 0, 0, 0)


def test_nothing_comes_or_goes_while_the_coin_is_paused(lending, lender):
    lending.pause_coin()
    me = lender.address
    for name, arguments in (
        ("deposit", (COIN, me)),
        ("mint", (COIN, me)),
        ("withdraw", (COIN, me, me)),
        ("redeem", (COIN, me, me)),
    ):
        lending.pool_refuses(lender, name, *arguments, error="CoinPaused")


def test_limits_and_previews_never_revert_however_the_pool_stands(lending, lender):
    previews = ("convertToShares", "convertToAssets", "previewDeposit", "previewMint")
    more = ("previewWithdraw", "previewRedeem")

    def all_answer():
        for account in (lender, lending.accounts.stranger, lending.pool):
            assert len(limits(lending, account)) == 4
        for name in previews + more:
            assert lending.pool_call(name, COIN) >= 0

    all_answer()
    lending.defaulted()
    lending.empty_pool()
    all_answer()
    lending.send(lending.accounts.servicer, "chargeOff", lending.seller.address)
    all_answer()
    lending.pause_coin()
    all_answer()
