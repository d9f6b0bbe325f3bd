"""A dispute that nobody decided goes back to the payer without anybody asking."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from node.outbox.deadlines import KIND, RETRY_SECONDS, Deadlines
from node.store.ids import Ids
from node.store.models import Dispute, Operation, Purchase, PurchaseStatus
from tests.node.platform import BUYER, COIN, DAY, SELLER, Platform, Shop, Worker, word


def deadlines_of(platform: Platform) -> Deadlines:
    return Deadlines(platform.store, platform.manifest, clock=platform.clock, ids=Ids())


async def disputed(shop: Shop, worker: Worker, count: int = 1) -> list[Purchase]:
    buyer, seller = shop.account(BUYER), shop.account(SELLER)
    shop.top_up(buyer, 100 * COIN)
    await worker.settle()
    purchases = [shop.purchase(buyer, seller, 10 * COIN) for _ in range(count)]
    for action in (shop.authorize, shop.deliver, lambda p: shop.dispute(p, word("broken"))):
        for purchase in purchases:
            action(purchase)
        await worker.settle()
    return purchases


def ends(platform: Platform) -> list[Any]:
    return platform.store.read_now(
        lambda session: list(
            session.scalars(select(Operation).where(Operation.kind == KIND).order_by(Operation.id))
        )
    )


async def test_what_is_due_is_queued_once_and_ends(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    over, settled = await disputed(shop, worker, 2)
    shop.void(settled, 10 * COIN)
    await worker.settle()
    deadlines, other = deadlines_of(platform), deadlines_of(platform)
    deadline = shop.get(Dispute, over.order_hash).deadline
    assert await deadlines.round(deadline - 1) == 0
    await platform.engine.set_time(deadline)
    assert await deadlines.round(deadline) == 1
    assert await other.round(deadline) == 0  # another worker
    await worker.settle()
    assert shop.get(Purchase, over.id).status == PurchaseStatus.RESOLVED
    assert shop.get(Dispute, over.order_hash).to_payer == 10 * COIN
    assert await deadlines.round(deadline + DAY) == 0
    (operation,) = ends(platform)
    assert (operation.ref, operation.resource_id) == (over.order_hash, over.id)
    assert (operation.credit_address, operation.credit_amount) == (
        over.terms["payer"],
        10 * COIN,
    )


async def test_a_try_that_failed_is_made_again_after_an_hour(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    (purchase,) = await disputed(shop, worker)
    deadlines = deadlines_of(platform)
    deadline = shop.get(Dispute, purchase.order_hash).deadline
    await platform.engine.set_time(deadline)
    guardian = platform.seed.platform("guardian")
    await platform.send(guardian, platform.coin_address, platform.coin.encode("pause"))
    assert await deadlines.round(deadline) == 1
    await worker.settle()
    (failed,) = ends(platform)
    assert (failed.status, failed.error_code) == ("failed", "CoinPaused")
    assert await deadlines.round(deadline) == 0
    await platform.send(guardian, platform.coin_address, platform.coin.encode("unpause"))
    platform.store.write_now(
        lambda session: session.execute(
            update(Operation)
            .where(Operation.id == failed.id)
            .values(updated_at=failed.updated_at - RETRY_SECONDS)
        )
    )
    assert await deadlines.round(deadline) == 1
    await worker.settle()
    assert [(row.attempt, row.status) for row in ends(platform)] == [(1, "failed"), (2, "done")]
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.RESOLVED


async def test_the_dispute_of_an_order_of_nobody_here_is_left_to_others(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    (purchase,) = await disputed(shop, worker)
    platform.store.write_now(
        lambda session: session.execute(
            update(Purchase).where(Purchase.id == purchase.id).values(order_hash=word("other"))
        )
    )
    deadline = shop.get(Dispute, purchase.order_hash).deadline
    assert await deadlines_of(platform).round(deadline + DAY) == 0
