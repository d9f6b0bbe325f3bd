"""Credit lines and the pool in the database, whoever acted: what the chain says, to the unit."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import select

from node.index.credit import line_of
from node.index.credit_line import BPS_YEAR
from node.index.reconcile import Reconciliation, reconcile
from node.index.rollback import roll_back
from node.store.models import (
    CreditEntry,
    CreditLine,
    CreditTotals,
    Event,
    LedgerEntry,
    Lender,
    LineStatus,
    PoolTotals,
)
from tests.node.index.support import projections
from tests.node.lending import HOLDBACK_BPS, Lending
from tests.node.platform import (
    BUYER,
    COIN,
    DAY,
    FEE_BPS,
    Platform,
    Shop,
    Worker,
    newest_block,
)

CREDIT_TABLES = ("credit_lines", "credit_entries", "credit_totals", "pool_totals", "lenders")
CREDIT_TABLES += ("members",)


@pytest.fixture
def lending(platform: Platform, shop: Shop, worker: Worker) -> Lending:
    return Lending(platform, shop, worker)


async def reconciled(lending: Lending) -> Reconciliation:
    await lending.index()
    platform = lending.platform
    report = await reconcile(platform.engine.rpc, platform.store, platform.manifest)
    assert report.drift == []
    return report


def kinds(lending: Lending, address: str) -> list[tuple[str, int]]:
    """Kind and amount of what moved on an account, in order."""
    return lending.platform.store.read_now(
        lambda session: [
            (entry.kind, entry.delta)
            for entry in session.scalars(
                select(LedgerEntry).where(LedgerEntry.address == address).order_by(LedgerEntry.id)
            )
        ]
    )


def told(lending: Lending, prefix: str) -> list[str]:
    return lending.platform.store.read_now(
        lambda session: [
            event.type
            for event in session.scalars(select(Event).order_by(Event.seq))
            if event.type.startswith(prefix)
        ]
    )


async def test_what_wallets_do_alone_is_followed(lending: Lending, shop: Shop) -> None:
    lender = await lending.fund()
    seller = await lending.seller(drawFeeBps=100)
    buyer = shop.account(BUYER)
    shop.top_up(buyer, 50 * COIN)
    await lending.worker.settle()
    await lending.draw(seller, 9 * COIN)
    sold = await lending.sell(buyer, seller, 10 * COIN)
    await lending.approve(shop.signer(seller), lending.book_address)
    await lending.repay(seller, 2 * COIN)
    shares = 5 * COIN * 10**6
    redeem = lending.pool.encode("redeem", shares, lender.address, lender.address)
    await lending.platform.send(shop.signer(lender), lending.pool_address, redeem)
    report = await reconciled(lending)

    net = 10 * COIN - 10 * COIN * FEE_BPS // 10_000
    holdback = net * HOLDBACK_BPS // 10_000
    line = shop.get(CreditLine, seller.address)
    assert (line.status, line.drawn, line.fees) == ("active", 9 * COIN, 9 * COIN // 100)
    assert line.repaid_by_sales == holdback
    assert line.principal_repaid + line.interest_paid == holdback + 2 * COIN
    assert line.principal == 9 * COIN - line.principal_repaid
    assert kinds(lending, seller.address) == [
        ("draw", 9 * COIN),
        ("release", net - holdback),
        ("repayment", -2 * COIN),
    ]
    deposit, draw, sale, repayment, withdrawal = kinds(lending, lending.pool_address)
    assert (deposit, draw) == (("pool_deposit", 100 * COIN), ("draw", -9 * COIN))
    assert (sale, repayment) == (("repayment", holdback), ("repayment", 2 * COIN))
    assert withdrawal[0] == "pool_withdrawal"
    assert kinds(lending, lending.book_address) == [("reserve", 10 * COIN)]
    assert shop.get(Lender, lender.address).shares == 95 * COIN * 10**6
    pool = shop.get(PoolTotals, 1)
    assert (pool.deposited, pool.withdrawn) == (100 * COIN, -withdrawal[1])
    assert report.credit.reserve == 10 * COIN
    assert told(lending, "credit_line.") == [
        "credit_line.opened",
        "credit_line.drawn",
        "credit_line.repaid",
        "credit_line.repaid",
    ]
    assert sold.order_hash in {entry.ref for entry in shop_entries(lending, seller.address)}


def shop_entries(lending: Lending, address: str) -> list[Any]:
    return lending.platform.store.read_now(
        lambda session: list(
            session.scalars(select(LedgerEntry).where(LedgerEntry.address == address))
        )
    )


async def test_a_default_is_written_off_and_recovered_in_reverse(
    lending: Lending, shop: Shop
) -> None:
    await lending.fund(reserve=2 * COIN)
    seller = await lending.seller()
    buyer = shop.account(BUYER)
    shop.top_up(buyer, 200 * COIN)
    await lending.worker.settle()
    await lending.draw(seller, 9 * COIN)
    await lending.travel(60 + 89)
    await lending.touch(seller)
    await reconciled(lending)
    assert shop.get(CreditLine, seller.address).status == LineStatus.ACTIVE
    await lending.travel(1)
    await lending.touch(seller)
    await reconciled(lending)
    line = shop.get(CreditLine, seller.address)
    assert (line.status, line.window_end) == (LineStatus.DEFAULTED, 0)
    assert shop.get(CreditTotals, 1).issuance_rate == 0

    await lending.desk("servicer", "chargeOff", seller.address)
    report = await reconciled(lending)
    line = shop.get(CreditLine, seller.address)
    assert line.status == LineStatus.CHARGED_OFF
    assert (line.principal, line.interest, line.loss_to_reserve) == (0, 0, 2 * COIN)
    loss = line.written_off
    assert loss > 9 * COIN
    assert line.loss_to_pool == loss - 2 * COIN
    assert ("loss_cover", 2 * COIN) in kinds(lending, lending.pool_address)
    assert report.credit.reserve == 0

    for _ in range(4):
        await lending.sell(buyer, seller, 12 * COIN)
        await reconciled(lending)
    line = shop.get(CreditLine, seller.address)
    assert (line.loss_to_pool, line.loss_to_reserve) == (0, 0)
    assert line.recovered == line.repaid_by_sales == loss
    assert shop.get(CreditTotals, 1).reserve == 2 * COIN
    to_book = [delta for kind, delta in kinds(lending, lending.book_address) if kind == "recovery"]
    assert sum(to_book) == 2 * COIN
    assert [what for what in told(lending, "credit_line.") if "recovered" not in what] == [
        "credit_line.opened",
        "credit_line.drawn",
        "credit_line.defaulted",
        "credit_line.charged_off",
    ]


async def test_what_the_servicer_and_risk_do_is_followed(lending: Lending, shop: Shop) -> None:
    await lending.fund()
    seller = await lending.seller(coin=COIN)
    await lending.draw(seller, 9 * COIN)
    await lending.travel(61)
    await lending.desk("servicer", "grantHoliday", seller.address, 10 * DAY)
    await lending.desk("servicer", "waive", seller.address, 1_000)
    await lending.desk("risk", "lowerLimit", seller.address, 9 * COIN)
    await lending.tell_book(shop.signer(seller), "setHoldback", HOLDBACK_BPS + 100)
    await lending.desk("guardian", "pauseDraws")
    await reconciled(lending)
    line = shop.get(CreditLine, seller.address)
    assert (line.waived, line.limit, line.holdback_bps) == (1_000, 9 * COIN, HOLDBACK_BPS + 100)
    assert shop.get(CreditTotals, 1).draws_paused is True
    await lending.desk("guardian", "unpauseDraws")
    assert (await reconciled(lending)).credit.waived == 1_000
    assert shop.get(CreditTotals, 1).draws_paused is False


async def test_new_terms_change_the_rate_of_what_is_owed_from_then_on(
    lending: Lending, shop: Shop
) -> None:
    await lending.fund()
    seller = await lending.seller()
    await lending.draw(seller, 9 * COIN)
    await lending.travel(10)
    hash_ = await lending.accept(seller, aprBps=600, limit=30 * COIN, holdbackBps=1_000)
    await reconciled(lending)
    line = shop.get(CreditLine, seller.address)
    assert (line.apr_bps, line.limit, line.offer_hash) == (600, 30 * COIN, hash_)
    assert shop.get(CreditTotals, 1).issuance_rate == 9 * COIN * 600
    await lending.travel(10)
    await lending.draw(seller, COIN)
    await reconciled(lending)


async def check_split(lending: Lending, seller: Any, amount: int) -> None:
    """The book takes a payment as `Line.split` says it will."""
    await lending.index()
    before = lending.shop.get(CreditLine, seller.address)
    await lending.repay(seller, amount)
    await lending.index()
    after = lending.shop.get(CreditLine, seller.address)
    interest = after.interest_paid - before.interest_paid
    principal = after.principal_repaid - before.principal_repaid
    if interest + principal:
        line = line_of(vars(before))
        line.advance(after.accrued_at)
        assert line.split(min(amount, line.payoff)) == (interest, principal)


def check_record(lending: Lending, line: CreditLine) -> None:
    """The entries of a line are all that ever changed it, and its fees are part of its interest."""
    entries = lending.platform.store.read_now(
        lambda session: list(
            session.scalars(
                select(CreditEntry)
                .where(CreditEntry.seller == line.seller)
                .order_by(CreditEntry.id)
            )
        )
    )

    def changes(kind: str, *names: str) -> int:
        return sum(getattr(one, name) for one in entries for name in names if one.kind == kind)

    assert (changes("drawn", "principal"), changes("drawn", "fees")) == (line.drawn, line.fees)
    assert -changes("repaid", "principal") == line.principal_repaid
    assert -changes("repaid", "fees", "interest") == line.interest_paid
    assert -changes("waived", "fees", "interest") == line.waived
    assert -changes("charged_off", "principal", "fees", "interest") == line.written_off
    assert changes("recovered", "recovered") == line.recovered
    principal = fees = 0
    for entry in entries:
        principal, fees = principal + entry.principal, fees + entry.fees
        assert (entry.principal_after, entry.fees_after) == (principal, fees)
        assert 0 <= fees <= -(-entry.interest_after // BPS_YEAR)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_any_story_agrees_with_the_chain_to_the_unit(
    lending: Lending, shop: Shop, seed: int
) -> None:
    """Draws, sales, payments, holidays, waivers, defaults and write-offs, over years."""
    chance = random.Random(seed)
    await lending.fund(200 * COIN, 20 * COIN)
    sellers = [
        await lending.seller(coin=30 * COIN, aprBps=rate, drawFeeBps=fee)
        for rate, fee in ((2_000, 0), (731, 37), (0, 500))
    ]
    buyer = shop.account(BUYER)
    shop.top_up(buyer, 900 * COIN)
    await lending.worker.settle()
    for seller in sellers:
        await lending.approve(shop.signer(seller), lending.book_address)

    async def story(seller: Any) -> None:
        amount = chance.randrange(1, 4 * COIN)
        match chance.randrange(8):
            case 0 | 1:
                await lending.draw(seller, amount)
            case 2 | 3:
                await check_split(lending, seller, amount)
            case 4:
                await lending.sell(buyer, seller, amount)
            case 5:
                await lending.desk("servicer", "waive", seller.address, chance.randrange(1, 9_999))
            case 6:
                await lending.desk(
                    "servicer", "grantHoliday", seller.address, chance.randrange(DAY, 30 * DAY)
                )
            case 7:
                await lending.desk("servicer", "chargeOff", seller.address)

    for _ in range(28):
        # What the book refuses is mined as a failure, and changes nothing.
        await story(chance.choice(sellers))
        if chance.random() < 0.7:
            await lending.travel(chance.choice([0.01, 1, 13, 31, 67, 95]))
        await reconciled(lending)

    lines = [shop.get(CreditLine, seller.address) for seller in sellers]
    for line in lines:
        check_record(lending, line)
    assert sum(line.drawn for line in lines) > 0
    assert len({line.status for line in lines}) > 1


async def test_lost_blocks_are_taken_back_and_read_again(
    lending: Lending, shop: Shop, platform: Platform
) -> None:
    await lending.fund()
    seller = await lending.seller(coin=5 * COIN)
    await lending.approve(shop.signer(seller), lending.book_address)
    await lending.index()
    before = projections(platform.store, CREDIT_TABLES)
    block = platform.store.read_now(newest_block)
    await lending.draw(seller, 9 * COIN)
    await lending.travel(200)
    await lending.repay(seller, 3 * COIN)
    await lending.desk("servicer", "chargeOff", seller.address)
    await lending.index()
    after = projections(platform.store, CREDIT_TABLES)
    assert after != before

    platform.store.write_now(lambda session: roll_back(session, block, 0))
    assert projections(platform.store, CREDIT_TABLES) == before
    again = await platform.worker()
    await again.index()
    assert projections(platform.store, CREDIT_TABLES) == after


@pytest.mark.parametrize(
    ("table", "column", "found"),
    [
        (CreditLine, "principal", {"principal", "sum of principal", "interest", "sum of interest"}),
        (CreditLine, "interest", {"interest", "sum of interest"}),
        (CreditLine, "holdback_bps", {"holdback_bps"}),
        (CreditLine, "window_end", {"window_end"}),
        (CreditTotals, "reserve", {"reserve", "coin of the book"}),
        (CreditTotals, "issuance_rate", None),
        (PoolTotals, "shares", {"shares"}),
        (Lender, "shares", {"shares", "sum of shares"}),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", ""),
)
async def test_a_single_unit_of_difference_is_found(
    lending: Lending, shop: Shop, table: Any, column: str, found: set[str] | None
) -> None:
    lender = await lending.fund()
    seller = await lending.seller()
    await lending.draw(seller, 9 * COIN)
    await lending.travel(1)
    shop.top_up(seller, 1)  # a block of a later time
    await lending.worker.settle()
    await reconciled(lending)
    key = {CreditLine: seller.address, Lender: lender.address}.get(table, 1)

    def change(session: Any) -> None:
        row = session.get_one(table, key)
        setattr(row, column, getattr(row, column) + 1)

    platform = lending.platform
    platform.store.write_now(change)
    report = await reconcile(platform.engine.rpc, platform.store, platform.manifest)
    assert not report.ok
    whats = {drift.what for drift in report.drift}
    assert whats == found if found is not None else "issuanceRate" in whats
