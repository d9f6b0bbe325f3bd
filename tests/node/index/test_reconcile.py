"""Chain and database agree to the unit, and any difference is found and named."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, update

from node.index.reconcile import Drift, ReconcileError, reconcile
from node.store.models import Account, Claimable, Dispute, EscrowOrder, Member, Purchase, Supply
from tests.node.platform import BUYER, COIN, SELLER, Platform, Shop, Worker, word


async def market(shop: Shop, worker: Worker) -> tuple[Account, Account, Purchase]:
    """An open purchase, a finished one, and a gift to the escrow."""
    buyer, seller = shop.account(BUYER), shop.account(SELLER)
    shop.top_up(buyer, 100 * COIN)
    open_, voided = shop.purchase(buyer, seller, 9 * COIN), shop.purchase(buyer, seller, COIN)
    shop.authorize(open_)
    shop.authorize(voided)
    await worker.settle()
    shop.void(voided, COIN)
    shop.purchase(buyer, seller, 5 * COIN)  # never authorized
    shop.redemption(buyer, 2 * COIN)
    shop.transfer(buyer, shop.platform.escrow_address, 7)
    await worker.settle()
    return buyer, seller, open_


async def test_an_untouched_market_has_no_drift(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    await market(shop, worker)
    report = await reconcile(platform.engine.rpc, platform.store, platform.manifest)
    assert report.drift == []
    assert report.ok
    assert (report.total_supply, report.minted, report.burned) == (
        98 * COIN,
        100 * COIN,
        2 * COIN,
    )
    assert (report.held, report.claimable, report.unattributed) == (9 * COIN, 0, 7)
    assert report.checked["orders"] == 2
    assert report.checked["purchases"] == 3
    assert report.checked["members"] >= 6  # escrow, operator, fee receiver, treasury, two accounts
    assert report.as_dict()["held"] == str(9 * COIN)


@pytest.mark.parametrize(
    ("model", "column", "value", "found"),
    [
        (Member, "balance", 1, {"balance", "sum of balances"}),
        (Member, "kinds", 31, {"kinds"}),
        (Member, "frozen", True, {"frozen"}),
        (EscrowOrder, "held", 8 * COIN, {"held", "coin", "parts of what was authorized"}),
        (EscrowOrder, "dispute_deadline", 5, {"deadline", "status"}),
        (Purchase, "status", "released", {"status"}),
        (Supply, "minted", 99 * COIN, {"minted - burned"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
async def test_an_injected_difference_is_found(
    platform: Platform,
    shop: Shop,
    worker: Worker,
    model: Any,
    column: str,
    value: Any,
    found: set[str],
) -> None:
    buyer, _, open_ = await market(shop, worker)
    key = {Member: buyer.address, EscrowOrder: open_.order_hash, Purchase: open_.id, Supply: 1}
    (primary,) = model.__table__.primary_key.columns
    platform.store.write_now(
        lambda session: session.execute(
            update(model).where(primary == key[model]).values({column: value})
        )
    )
    report = await reconcile(platform.engine.rpc, platform.store, platform.manifest)
    assert not report.ok
    assert {drift.what for drift in report.drift} == found


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("to_payer", 2, {"parts of what was disputed"}),
        ("disputed", 1, {"parts of what was disputed"}),
        ("deadline", 5, {"arbitration deadline"}),
        ("closed_at", 5, {"dispute open"}),
        (None, None, {"disputed"}),
    ],
)
async def test_a_dispute_that_is_not_its_orders_is_found(
    platform: Platform,
    shop: Shop,
    worker: Worker,
    column: str | None,
    value: int | None,
    found: set[str],
) -> None:
    _, _, purchase = await market(shop, worker)
    shop.deliver(purchase)
    await worker.settle()
    shop.dispute(purchase, word("a broken cup"))
    await worker.settle()
    report = await reconcile(platform.engine.rpc, platform.store, platform.manifest)
    assert (report.drift, report.checked["disputes"]) == ([], 1)
    statement: Any = delete(Dispute)
    if column is not None:
        statement = update(Dispute).values({column: value})
    platform.store.write_now(lambda session: session.execute(statement))
    report = await reconcile(platform.engine.rpc, platform.store, platform.manifest)
    assert {drift.what for drift in report.drift} == found


async def test_a_drift_names_what_the_chain_and_what_the_database_says(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    _, seller, _ = await market(shop, worker)
    shop.add(Claimable(address=seller.address, amount=3))
    report = await reconcile(platform.engine.rpc, platform.store, platform.manifest)
    assert Drift(seller.address, "claimable", actual=0, expected=3) in report.drift


async def test_blocks_not_indexed_yet_are_no_drift(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    """The comparison is at the indexed block, wherever the chain is by now."""
    buyer, seller, _ = await market(shop, worker)
    data = platform.coin.encode("transfer", seller.address, COIN)
    await platform.send(shop.signer(buyer), platform.coin_address, data)
    assert (await reconcile(platform.engine.rpc, platform.store, platform.manifest)).ok
    await worker.index()
    assert (await reconcile(platform.engine.rpc, platform.store, platform.manifest)).ok


async def test_a_database_of_another_history_is_not_compared(
    platform: Platform, shop: Shop, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from node.index import reconcile as module
    from node.store.models import Block

    monkeypatch.setattr(module, "WAIT_SECONDS", 0.0)
    await worker.index()
    platform.store.write_now(
        lambda session: session.execute(update(Block).values(hash=word("another history")))
    )
    with pytest.raises(ReconcileError, match="the chain went back"):
        await reconcile(platform.engine.rpc, platform.store, platform.manifest)
