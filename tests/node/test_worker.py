"""Both loops together, as a node runs them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from node.chain.rpc import RpcUnavailable
from node.index.indexer import WrongChain
from node.store.models import (
    Account,
    AccountStatus,
    LastReconciliation,
    Member,
    Sender,
    TopUp,
    WorkerStatus,
)
from node.worker import run_worker
from tests.node.platform import COIN, DAY, Platform, Shop, WithRpc, word


@asynccontextmanager
async def running(platform: Platform, engine: Any = None) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(
        run_worker(
            engine or platform.engine,
            platform.store,
            platform.seed,
            platform.manifest,
            platform.settings,
            stop,
        )
    )
    try:
        yield task
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.02)


def status(platform: Platform) -> WorkerStatus | None:
    return platform.store.read_now(lambda session: session.get(WorkerStatus, 1))


async def test_what_is_queued_gets_done_and_the_leases_are_given_back(
    platform: Platform, shop: Shop
) -> None:
    async with running(platform):
        account = shop.account()
        top_up = shop.top_up(account, COIN)
        await until(lambda: shop.get(TopUp, top_up.id).status == "succeeded")
    assert shop.get(Account, account.id).status == AccountStatus.ACTIVE
    treasury = platform.manifest.accounts["treasury"]
    assert shop.get(Sender, treasury).lease_owner is None


async def test_the_status_row_follows_the_chains_clock_when_somebody_sets_it(
    platform: Platform,
) -> None:
    async with running(platform):
        await until(lambda: status(platform) is not None)
        later = await platform.engine.now() + 30 * DAY
        await platform.engine.set_time(later)  # no block is mined for it
        await until(lambda: bool((row := status(platform)) and row.chain_time >= later))
        row = status(platform)
    assert row is not None
    assert row.last_error is None
    assert row.head_block == row.indexed_block > 0


async def test_a_chain_that_does_not_answer_shows_and_the_worker_goes_on_when_it_does(
    platform: Platform, shop: Shop
) -> None:
    class Gone:
        gone = False

        async def call(self, method: str, *params: Any) -> Any:
            return await platform.engine.rpc.call(method, *params)

        async def batch(self, calls: Any) -> Any:
            if self.gone:
                raise RpcUnavailable("connection refused")
            return await platform.engine.rpc.batch(calls)

    rpc = Gone()
    async with running(platform, WithRpc(platform.engine, rpc)):  # type: ignore[arg-type]
        await until(lambda: status(platform) is not None)
        rpc.gone = True
        await until(lambda: "refused" in (((row := status(platform)) and row.last_error) or ""))
        before = status(platform)
        account = shop.account()
        await until(lambda: status(platform).heartbeat_at > before.heartbeat_at)  # type: ignore[union-attr]
        rpc.gone = False
        await until(lambda: shop.get(Account, account.id).status == AccountStatus.ACTIVE)
        await until(lambda: (row := status(platform)) is not None and row.last_error is None)


async def test_a_worker_refuses_another_chain(platform: Platform) -> None:
    platform.manifest = platform.manifest.model_copy(update={"genesis_hash": word("another")})
    with pytest.raises(WrongChain):
        async with running(platform) as task:
            await task
    row = status(platform)
    assert row is not None
    assert "genesis" in (row.last_error or "")


async def test_the_books_are_compared_with_the_chain_now_and_then(
    platform: Platform, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    def last() -> LastReconciliation | None:
        return platform.store.read_now(lambda session: session.get(LastReconciliation, 1))

    platform.settings = platform.settings.model_copy(update={"reconcile_seconds": 1})
    async with running(platform):
        account = shop.account()
        top_up = shop.top_up(account, COIN)
        await until(lambda: shop.get(TopUp, top_up.id).status == "succeeded")
        await until(lambda: (found := last()) is not None and found.differences == 0)
        assert "reconcile.drift" not in capsys.readouterr().out

        def falsify(session: Any) -> None:
            session.get_one(Member, account.address).balance = 2 * COIN

        platform.store.write_now(falsify)
        await until(lambda: (found := last()) is not None and found.differences > 0)
        await asyncio.sleep(0.1)
    assert "reconcile.drift" in capsys.readouterr().out
