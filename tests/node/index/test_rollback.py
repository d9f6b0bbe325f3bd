"""The chain goes back: projections follow, and our own transactions return as they were."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from structlog.testing import capture_logs

from node.chain.anvil import AnvilEngine, find_anvil
from node.chain.engine import open_engine
from node.index.indexer import WrongChain
from node.index.rollback import roll_back
from node.store import Store
from node.store.models import (
    Account,
    AccountStatus,
    Block,
    ChainTx,
    MoveStatus,
    Operation,
    OperationStatus,
    Purchase,
    PurchaseStatus,
    TopUp,
    UndoEntry,
)
from tests.node.index.support import hashes, projections, statuses, told, unindexed_copy
from tests.node.platform import (
    BUYER,
    COIN,
    DISPUTE_WINDOW,
    SELLER,
    START,
    Platform,
    Shop,
    Worker,
    newest_block,
    open_platform,
    word,
)

pytestmark = pytest.mark.anvil


async def first_half(platform: Platform, shop: Shop, worker: Worker) -> tuple[Account, Account]:
    buyer, seller = shop.account(BUYER), shop.account(SELLER)
    shop.top_up(buyer, 100 * COIN)
    await worker.settle()
    return buyer, seller


async def second_half(
    platform: Platform, shop: Shop, worker: Worker, buyer: Account, seller: Account
) -> list[Purchase]:
    """Purchases in every state, a transfer that fails on chain, and an operation refused."""
    purchases = [shop.purchase(buyer, seller, (10 + n) * COIN) for n in range(5)]
    for purchase in purchases:
        shop.authorize(purchase)
    await worker.settle()
    shop.ship(purchases[0])
    for purchase in (*purchases[:3], purchases[4]):
        shop.deliver(purchase)
    await worker.settle()
    shop.dispute(purchases[4], word("a broken cup"))
    await worker.settle()
    shop.evidence(purchases[4], seller, word("a receipt"))
    shop.void(purchases[4], 4 * COIN)
    await worker.settle()
    await platform.engine.set_time(await platform.engine.now() + DISPUTE_WINDOW)
    shop.release(purchases[1], 11 * COIN)
    shop.release(purchases[2], 5 * COIN)
    shop.void(purchases[3], 13 * COIN)
    shop.resolve(purchases[4], 6 * COIN, word("the decision"))
    await worker.settle()
    shop.act_on_account(seller, "freeze")
    await worker.settle()
    shop.release(purchases[2], 7 * COIN, so_far=5 * COIN)
    shop.release(purchases[0], 99 * COIN)  # refused: more than is held
    await worker.settle()
    shop.redemption(buyer, 3 * COIN)
    shop.transfer(buyer, platform.manifest.accounts["treasury"], 40 * COIN)
    shop.transfer(buyer, platform.manifest.accounts["treasury"], 35 * COIN)  # too much by then
    await worker.settle()
    return purchases


async def chain_time(platform: Platform) -> int:
    block = await platform.engine.rpc.call("eth_getBlockByNumber", "latest", False)
    return int(block["timestamp"], 16)


def same_but_for_blocks(store: Store) -> dict[str, object]:
    """Everything about money and statuses: a chain mined again may cut its blocks otherwise."""
    tables = projections(
        store, ("members", "escrow_orders", "claimables", "supply", "topups", "redemptions")
    )
    tables |= projections(store, ("disputes",))
    tables |= projections(store, ("transfers",))
    purchases = store.read_now(
        lambda session: sorted(session.execute(select(Purchase.id, Purchase.status)).all())
    )
    return {**tables, "purchases": purchases, "operations": statuses(store)}


async def test_a_chain_that_lost_blocks_gets_the_same_bytes_again_at_the_same_times(
    anvil_platform: Platform, tmp_path: Path
) -> None:
    platform = anvil_platform
    shop = Shop(platform)
    worker = await platform.worker()
    buyer, seller = await first_half(platform, shop, worker)
    rpc = platform.engine.rpc
    snapshot = await rpc.call("evm_snapshot")
    await second_half(platform, shop, worker, buyer, seller)
    before, signed, events = (
        same_but_for_blocks(platform.store),
        hashes(platform.store),
        told(platform.store),
    )
    deadlines = {row["dispute_deadline"] for row in projections(platform.store)["escrow_orders"]}
    assert len(deadlines) > 1
    lost = platform.store.read_now(newest_block)

    assert await rpc.call("evm_revert", snapshot)
    assert int(await rpc.call("eth_blockNumber"), 16) < lost
    restarted = await platform.worker()  # a new process, which knows only the database
    with capture_logs() as logs:
        await restarted.index()
    assert [entry for entry in logs if entry["event"] == "chain.rolled_back"]
    rolled_back = unindexed_copy(platform, platform.store, tmp_path / "rolled_back.db")
    expected = await platform.worker(store=rolled_back)
    await expected.index()
    for table in (
        "members",
        "ledger_entries",
        "escrow_orders",
        "disputes",
        "evidence_logs",
        "supply",
        "topups",
    ):
        assert projections(platform.store)[table] == projections(rolled_back)[table]
    rolled_back.close()

    await restarted.settle()
    assert same_but_for_blocks(platform.store) == before
    assert hashes(platform.store) == signed
    assert told(platform.store) == events

    fresh = unindexed_copy(platform, platform.store, tmp_path / "fresh.db")
    await (await platform.worker(store=fresh)).index()
    assert projections(fresh) == projections(platform.store)
    fresh.close()


async def test_a_chain_that_comes_back_from_its_first_snapshot_is_rebuilt_from_the_stored_bytes(
    tmp_path: Path,
) -> None:
    """The node starts it at the latest time it knows of, and each lost block had an earlier one."""
    if find_anvil() is None:
        pytest.skip("no anvil binary: run `make setup`")
    async with open_platform(tmp_path, "anvil") as platform:
        assert isinstance(platform.engine, AnvilEngine)
        await platform.engine.save()
        state = tmp_path / "anvil" / "state.json.gz"
        first = state.read_bytes()
        shop = Shop(platform)
        worker = await platform.worker()
        buyer, seller = await first_half(platform, shop, worker)
        await second_half(platform, shop, worker, buyer, seller)
        before, signed = same_but_for_blocks(platform.store), hashes(platform.store)
        latest = platform.store.read_now(lambda s: s.scalar(select(func.max(Block.timestamp))))
        await platform.engine.stop()
        state.write_bytes(first)

        platform.engine = open_engine(platform.settings, platform.clock)
        await platform.engine.start(not_before=latest or 0)
        restarted = await platform.worker()
        await restarted.settle()
        assert same_but_for_blocks(platform.store) == before
        assert hashes(platform.store) == signed


async def test_nothing_is_refused_for_what_only_lost_blocks_would_have_allowed(
    anvil_platform: Platform,
) -> None:
    """A restarted outbox may be asked before the indexer has noticed that the chain went back."""
    platform = anvil_platform
    shop = Shop(platform)
    worker = await platform.worker()
    await first_half(platform, shop, worker)
    snapshot = await platform.engine.rpc.call("evm_snapshot")
    newcomer = shop.account(BUYER)
    await worker.settle()
    await platform.engine.rpc.call("evm_revert", snapshot)
    top_up = shop.top_up(newcomer, COIN)

    await worker.submitter.release_leases()
    restarted = await platform.worker()
    assert await restarted.submitter.round() == 0
    assert shop.get(TopUp, top_up.id).status == MoveStatus.PENDING
    await restarted.settle()

    assert shop.get(TopUp, top_up.id).status == MoveStatus.SUCCEEDED
    assert await platform.balance(newcomer.address) == COIN


async def unheard(*_: object) -> None:
    """Stored and not broadcast: the worker dies right after its commit."""


@pytest.mark.parametrize("first", ["sent by the worker that signed it", "sent again by the next"])
async def test_nothing_is_sent_to_a_chain_that_has_lost_what_it_depends_on(
    anvil_platform: Platform, first: str
) -> None:
    """It would be mined before the lost top-up, and fail for good."""
    platform, shop = anvil_platform, Shop(anvil_platform)
    worker = await platform.worker()
    buyer, seller = shop.account(BUYER), shop.account(SELLER)
    await worker.settle()
    snapshot = await platform.engine.rpc.call("evm_snapshot")
    shop.top_up(buyer, 10 * COIN)
    await worker.settle()
    await worker.submitter.release_leases()
    purchase = shop.purchase(buyer, seller, 10 * COIN)
    authorization = shop.authorize(purchase)

    async def lose_blocks(signed: Any = (), indexed: Any = None) -> None:
        await platform.engine.rpc.call("evm_revert", snapshot)
        if signed:
            await worker.broadcaster.send(signed, indexed)

    dying = await platform.worker(broadcast=unheard if "again" in first else lose_blocks)
    await dying.submitter.round()
    await dying.submitter.release_leases()
    if "again" in first:
        await lose_blocks()
    worker = await platform.worker()
    assert await worker.broadcaster.resend_due() == 0
    assert await worker.submitter.round() == 0
    await worker.settle()
    assert shop.get(Operation, authorization.id).status == OperationStatus.DONE
    assert await platform.balance(buyer.address) == 0


async def test_what_others_sent_into_lost_blocks_is_named(anvil_platform: Platform) -> None:
    platform = anvil_platform
    shop = Shop(platform)
    worker = await platform.worker()
    buyer, seller = await first_half(platform, shop, worker)
    rpc = platform.engine.rpc
    snapshot = await rpc.call("evm_snapshot")
    data = platform.coin.encode("transfer", seller.address, 7 * COIN)
    stranger = await platform.send(shop.signer(buyer), platform.coin_address, data)
    shop.top_up(buyer, COIN)
    await worker.settle()
    await rpc.call("evm_revert", snapshot)
    with capture_logs() as logs:
        await worker.settle()
    (entry,) = [entry for entry in logs if entry["event"] == "chain.rolled_back"]
    assert entry["missing_transactions"] == [stranger]
    assert entry["transactions_to_send_again"] == 1
    assert await platform.balance(buyer.address) == 101 * COIN


async def test_a_purchase_shipped_meanwhile_stays_shipped_through_a_rollback(
    anvil_platform: Platform,
) -> None:
    platform = anvil_platform
    shop = Shop(platform)
    worker = await platform.worker()
    buyer, seller = await first_half(platform, shop, worker)
    purchase = shop.purchase(buyer, seller, COIN)
    shop.authorize(purchase)
    await worker.settle()
    snapshot = await platform.engine.rpc.call("evm_snapshot")
    shop.deliver(purchase)
    await worker.settle()
    shop.ship(purchase)
    await platform.engine.rpc.call("evm_revert", snapshot)
    await worker.indexer.round()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.SHIPPED
    await worker.settle()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.DELIVERED


async def test_another_genesis_is_refused(platform: Platform) -> None:
    platform.manifest = platform.manifest.model_copy(update={"genesis_hash": word("another")})
    with pytest.raises(WrongChain, match="genesis"):
        await platform.worker()


async def test_another_chain_id_is_refused(platform: Platform) -> None:
    platform.manifest = platform.manifest.model_copy(update={"chain_id": 1})
    with pytest.raises(WrongChain, match="has id 4242, the manifest 1"):
        await platform.worker()


def test_however_the_chain_is_cut_into_rounds_and_rolled_back_the_result_is_the_same(
    tmp_path: Path,
) -> None:
    """Index a history in random ranges with random rollbacks: always as if in one go."""

    async def build() -> tuple[Platform, Worker]:
        shop = Shop(platform)
        worker = await platform.worker()
        lapsing = shop.account(member_until=START + 2 * DISPUTE_WINDOW)
        shop.account(member_until=START + 3 * DISPUTE_WINDOW)
        buyer, seller = await first_half(platform, shop, worker)
        await second_half(platform, shop, worker, buyer, seller)
        await platform.engine.set_time(START + 4 * DISPUTE_WINDOW)
        shop.account()
        await worker.settle()
        assert shop.get(Account, lapsing.id).status == AccountStatus.EXPIRED
        return platform, worker

    with asyncio.Runner() as runner:
        context = open_platform(tmp_path, "tester")
        platform = runner.run(context.__aenter__())
        runner.run(build())
        last = platform.store.read_now(newest_block)
        expected = projections(platform.store)
        events = told(platform.store)
        number = 0

        # A counterexample is short as it is, and each costs a database: no shrinking.
        @settings(max_examples=12, deadline=None, phases=[Phase.generate])
        @given(
            steps=st.lists(
                st.tuples(st.integers(1, last), st.integers(0, last)), min_size=1, max_size=6
            )
        )
        def check(steps: list[tuple[int, int]]) -> None:
            nonlocal number
            number += 1
            store = unindexed_copy(platform, platform.store, tmp_path / f"copy-{number}.db")
            try:
                runner.run(index_in_steps(platform, store, steps))
                assert projections(store) == expected
                assert told(store) == events
            finally:
                store.close()

        check()
        runner.run(context.__aexit__(None, None, None))


async def index_in_steps(platform: Platform, store: Store, steps: list[tuple[int, int]]) -> None:
    """Each step indexes up to so many blocks, and then takes back all above a block."""
    for most, back_to in steps:
        worker = await platform.worker(store=store)
        head = (await worker.indexer.round()).head.number
        depth = max(0, head - store.read_now(newest_block) - most)
        worker = await platform.worker(store=store, finality_depth=depth)
        await worker.indexer.round()
        newest = store.read_now(newest_block)
        target = min(back_to, newest)
        store.write_now(partial(roll_back, to_block=target, now=START))
    await (await platform.worker(store=store)).index()
    signed = store.read_now(
        lambda session: session.scalars(select(ChainTx).where(ChainTx.status != "mined")).all()
    )
    assert signed == []
    assert store.read_now(lambda session: session.scalar(select(func.count(UndoEntry.id))))
