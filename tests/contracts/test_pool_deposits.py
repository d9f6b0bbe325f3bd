"""Deposits and withdrawals of the lender pool (ERC-4626), by transaction and by signature."""

import pytest
from eth_utils import keccak

from tests.contracts.chain import ZERO_ADDRESS, Reverted
from tests.contracts.credit import BALANCE, DRAW, FOREVER, POOL_CASH, WINDOW
from tests.contracts.signing import sign_transfer
from tests.contracts.system import COIN, DAY

SHARES = 10**6  # of one atomic unit, before anything was earned
NONCE = keccak(text="deposit 1")


@pytest.fixture
def lender(lending):
    return lending.accounts.lender


@pytest.fixture
def earning(lending):
    """Half a year of interest and a fee: a share is worth more than it was paid."""
    lending.drawn(drawFeeBps=100)
    lending.chain.travel(WINDOW - DAY)
    lending.send(lending.seller, "repay", lending.seller.address, 200 * COIN)


def shares_of(lending, account):
    return lending.pool_call("balanceOf", account.address)


# ------------------------------------------------------------------------ what it is


def test_what_the_pool_says_of_itself(lending):
    assert lending.pool_call("name") == "Plaza Lender Pool"
    assert lending.pool_call("symbol") == "poolPLZ"
    assert lending.pool_call("decimals") == 12
    assert lending.pool_call("asset") == lending.coin.address
    assert lending.pool_call("creditBook") == lending.book.address
    assert lending.pool_call("cash") == POOL_CASH


@pytest.mark.parametrize("missing", ["coin", "book"])
def test_the_pool_is_not_deployed_without_coin_or_book(lending, missing):
    parts = {"coin": lending.coin.address, "book": lending.book.address}
    parts[missing] = lending.accounts.stranger.address if missing == "coin" else ZERO_ADDRESS
    with pytest.raises(Reverted, match="InvalidContract") as caught:
        lending.chain.deploy("LenderPool", *parts.values(), by=lending.accounts.admin)
    assert caught.value.arguments == {"given": parts[missing]}


# -------------------------------------------------------------------------- deposits


def test_the_first_coin_makes_a_million_shares_a_unit(lending, lender):
    assert shares_of(lending, lender) == POOL_CASH * SHARES
    assert lending.pool_call("totalSupply") == POOL_CASH * SHARES


def test_a_deposit_takes_coin_and_gives_shares(lending, lender):
    to = lending.accounts.lender2
    with lending.moves(lender=-COIN, pool=COIN):
        receipt = lending.pool_send(lender, "deposit", COIN, to.address)
    assert shares_of(lending, to) == COIN * SHARES
    assert receipt.event(lending.pool, "Deposit") == {
        "sender": lender.address,
        "owner": to.address,
        "assets": COIN,
        "shares": COIN * SHARES,
    }


def test_a_mint_takes_what_its_shares_cost_rounded_up(lending, lender):
    with lending.moves(lender=-COIN, pool=COIN):
        lending.pool_send(lender, "mint", COIN * SHARES, lender.address)
    with lending.moves(lender=-1, pool=1):
        lending.pool_send(lender, "mint", 1, lender.address)


@pytest.mark.parametrize("assets", [1, COIN + 1, 777_777_777])
def test_previews_of_deposits_are_exact_and_never_in_the_depositors_favour(
    lending, lender, earning, assets
):
    pool = lending.pool.functions
    before = lending.pool_call("convertToAssets", 10**18)
    shares = lending.pool_call("previewDeposit", assets)
    assert lending.chain.call(pool.deposit(assets, lender.address), by=lender) == shares
    assert lending.pool_call("previewRedeem", shares) <= assets
    cost = lending.pool_call("previewMint", shares + 1)
    assert lending.chain.call(pool.mint(shares + 1, lender.address), by=lender) == cost
    assert cost >= assets
    had = shares_of(lending, lender)
    lending.pool_send(lender, "deposit", assets, lender.address)
    assert shares_of(lending, lender) - had <= shares  # a second's interest came between
    assert lending.pool_call("convertToAssets", 10**18) >= before


def test_a_deposit_needs_coin_and_approval(lending, lender):
    seller2 = lending.accounts.seller2
    lending.pool_refuses(
        seller2, "deposit", COIN, seller2.address, error="ERC20InsufficientAllowance"
    )
    lending.pool_refuses(
        lender, "deposit", BALANCE, lender.address, error="ERC20InsufficientBalance"
    )


# ---------------------------------------------------------- deposits by signature


def signed_deposit(lending, signer, value=COIN, **changes):
    """Arguments of depositWithAuthorization."""
    after, before = changes.pop("valid_after", 0), changes.pop("valid_before", FOREVER)
    signature = sign_transfer(
        signer,
        lending.coin,
        changes.pop("to", lending.pool.address),
        value,
        NONCE,
        valid_after=after,
        valid_before=before,
        receive=True,
        **changes,
    )
    return signer.address, value, after, before, NONCE, signature.packed


def test_a_signed_deposit_gives_the_depositor_his_shares_whoever_sends_it(lending, earning):
    depositor = lending.accounts.buyer  # who has approved nothing to the pool
    arguments = signed_deposit(lending, depositor)
    shares = lending.pool_call("previewDeposit", COIN)
    call = lending.pool.functions.depositWithAuthorization(*arguments)
    assert lending.chain.call(call, by=lending.accounts.stranger) == shares
    with lending.moves(buyer=-COIN, pool=COIN):
        receipt = lending.chain.send(call, by=lending.accounts.stranger)
    assert shares_of(lending, depositor) == shares
    assert receipt.event(lending.pool, "Deposit") == {
        "sender": depositor.address,
        "owner": depositor.address,
        "assets": COIN,
        "shares": shares,
    }


def test_a_signed_deposit_is_used_once(lending):
    arguments = signed_deposit(lending, lending.accounts.buyer)
    lending.pool_send(lending.accounts.stranger, "depositWithAuthorization", *arguments)
    lending.pool_refuses(
        lending.accounts.stranger,
        "depositWithAuthorization",
        *arguments,
        error="AuthorizationAlreadyUsed",
    )


@pytest.mark.parametrize(
    "changes", [{"chain_id": 1}, {"to": "0x" + "11" * 20}, {"name": "Plaza LenderPool"}]
)
def test_a_deposit_signed_for_something_else_is_refused(lending, changes):
    arguments = signed_deposit(lending, lending.accounts.buyer, **changes)
    lending.pool_refuses(
        lending.accounts.stranger, "depositWithAuthorization", *arguments, error="InvalidSignature"
    )


def test_a_deposit_signed_by_another_key_is_refused(lending):
    arguments = signed_deposit(
        lending, lending.accounts.buyer, from_=lending.accounts.lender.address
    )
    lending.pool_refuses(
        lending.accounts.stranger,
        "depositWithAuthorization",
        lending.accounts.lender.address,
        *arguments[1:],
        error="InvalidSignature",
    )


def test_a_signed_deposit_expires_at_its_second(lending):
    now = lending.chain.time
    arguments = signed_deposit(lending, lending.accounts.buyer, valid_before=now)
    lending.pool_refuses(
        lending.accounts.stranger,
        "depositWithAuthorization",
        *arguments,
        error="AuthorizationExpired",
        validBefore=now,
        nowTime=now,
    )


# ---------------------------------------------------------------------- withdrawals


def test_a_withdrawal_pays_exactly_what_was_asked_for(lending, lender, earning):
    to = lending.accounts.buyer
    shares = lending.pool_call("previewWithdraw", COIN)
    had = shares_of(lending, lender)
    with lending.moves(pool=-COIN, buyer=COIN):
        receipt = lending.pool_send(lender, "withdraw", COIN, to.address, lender.address)
    burned = had - shares_of(lending, lender)
    assert burned == shares
    assert receipt.event(lending.pool, "Withdraw") == {
        "sender": lender.address,
        "receiver": to.address,
        "owner": lender.address,
        "assets": COIN,
        "shares": burned,
    }


def test_a_redemption_burns_exactly_the_shares(lending, lender, earning):
    shares = 12_345_678_901_234
    assets = lending.pool_call("previewRedeem", shares)
    had = shares_of(lending, lender)
    with lending.moves(pool=-assets, lender=assets):
        lending.pool_send(lender, "redeem", shares, lender.address, lender.address)
    assert had - shares_of(lending, lender) == shares


def test_everything_may_be_redeemed_when_nothing_is_lent(lending, lender):
    shares = shares_of(lending, lender)
    with lending.moves(pool=-POOL_CASH, lender=POOL_CASH):
        lending.pool_send(lender, "redeem", shares, lender.address, lender.address)
    assert lending.pool_call("totalSupply") == 0


@pytest.mark.parametrize("assets", [1, COIN + 1, 777_777_777])
def test_previews_of_withdrawals_are_exact_and_never_in_the_lenders_favour(
    lending, lender, earning, assets
):
    pool = lending.pool.functions
    shares = lending.pool_call("previewWithdraw", assets)
    call = pool.withdraw(assets, lender.address, lender.address)
    assert lending.chain.call(call, by=lender) == shares
    assert shares >= lending.pool_call("previewDeposit", assets)
    call = pool.redeem(shares, lender.address, lender.address)
    assert lending.chain.call(call, by=lender) == lending.pool_call("previewRedeem", shares)
    assert lending.pool_call("previewRedeem", shares - 1) <= assets
    before = lending.pool_call("convertToAssets", 10**18)
    lending.pool_send(lender, "withdraw", assets, lender.address, lender.address)
    assert lending.pool_call("convertToAssets", 10**18) >= before


def test_another_withdraws_only_with_the_owners_allowance(lending, lender):
    other = lending.accounts.lender2
    call = ("withdraw", COIN, other.address, lender.address)
    lending.pool_refuses(other, *call, error="ERC20InsufficientAllowance", needed=COIN * SHARES)
    lending.pool_send(lender, "approve", other.address, COIN * SHARES)
    with lending.moves(pool=-COIN, lender2=COIN):
        lending.pool_send(other, *call)
    lending.pool_refuses(other, *call, error="ERC20InsufficientAllowance", allowance=0)
    lending.pool_refuses(
        other, "redeem", 1, other.address, lender.address, error="ERC20InsufficientAllowance"
    )


def test_no_more_is_withdrawn_than_ones_shares_are_worth(lending, lender):
    other = lending.accounts.lender2
    lending.pool_send(other, "deposit", COIN, other.address)
    lending.pool_refuses(
        other,
        "withdraw",
        COIN + 1,
        other.address,
        other.address,
        error="ERC4626ExceededMaxWithdraw",
        owner=other.address,
        assets=COIN + 1,
        max=COIN,
    )
    lending.pool_refuses(
        other,
        "redeem",
        COIN * SHARES + 1,
        other.address,
        other.address,
        error="ERC4626ExceededMaxRedeem",
        owner=other.address,
        shares=COIN * SHARES + 1,
        max=COIN * SHARES,
    )


def test_withdrawals_are_limited_to_the_cash(lending, lender):
    lending.drawn()
    cash = POOL_CASH - DRAW
    assert lending.pool_call("maxWithdraw", lender.address) == cash
    lending.pool_refuses(
        lender,
        "withdraw",
        cash + 1,
        lender.address,
        lender.address,
        error="ERC4626ExceededMaxWithdraw",
        assets=cash + 1,
        max=cash,
    )
    most = lending.pool_call("maxRedeem", lender.address)
    lending.pool_refuses(
        lender,
        "redeem",
        most + 2 * SHARES,
        lender.address,
        lender.address,
        error="ERC4626ExceededMaxRedeem",
        shares=most + 2 * SHARES,
        max=most,
    )
    with lending.moves(pool=-cash, lender=cash):
        lending.pool_send(lender, "withdraw", cash, lender.address, lender.address)
    assert lending.pool_call("maxRedeem", lender.address) == 0


def test_the_most_that_may_be_redeemed_is_redeemed(lending, lender, earning):
    most = lending.pool_call("maxRedeem", lender.address)
    assert 0 < most < shares_of(lending, lender)
    lending.pool_send(lender, "redeem", most, lender.address, lender.address)
    assert lending.cash() <= 1


def test_everything_may_be_redeemed_after_a_loss_too(lending, lender):
    lending.charged_off()
    most = lending.pool_call("maxRedeem", lender.address)
    assert most == shares_of(lending, lender)
    lending.pool_send(lender, "redeem", most, lender.address, lender.address)
    assert lending.cash() <= 1


def test_what_is_repaid_may_be_withdrawn(lending, lender):
    lending.drawn()
    lending.empty_pool()
    lending.send(lending.seller, "repay", lending.seller.address, COIN)
    assert lending.pool_call("maxWithdraw", lender.address) == COIN
    lending.pool_send(lender, "withdraw", COIN, lender.address, lender.address)


def test_deposits_and_withdrawals_of_nothing_move_nothing(lending, lender):
    before = shares_of(lending, lender)
    with lending.moves():
        lending.pool_send(lender, "deposit", 0, lender.address)
        lending.pool_send(lender, "withdraw", 0, lender.address, lender.address)
        lending.pool_send(lender, "redeem", 0, lender.address, lender.address)
        lending.pool_send(lender, "mint", 0, lender.address)
    assert shares_of(lending, lender) == before
