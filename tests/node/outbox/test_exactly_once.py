"""A crash or a lost answer at every step between signing and mining: the same bytes, one effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import func, select

from node.chain.rpc import RpcUnavailable
from node.outbox import broadcast
from node.store.models import (
    Account,
    ChainTx,
    ChainTxStatus,
    Operation,
    OperationStatus,
    Sender,
    Supply,
    TopUp,
    TxAttempt,
)
from tests.node.platform import COIN, Platform, Shop, WithRpc


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "RESEND_SECONDS", 0.0)
    monkeypatch.setattr(broadcast, "CHECK_SECONDS", 0.0)


class Faulty:
    """The chain's JSON-RPC, with what happens to broadcasts in the tester's hands."""

    def __init__(self, platform: Platform, fault: Callable[..., Awaitable[Any]]) -> None:
        self._rpc = platform.engine.rpc
        self._fault = fault
        self.sent: list[str] = []

    async def call(self, method: str, *params: Any) -> Any:
        return await self._rpc.call(method, *params)

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        if calls[0][0] != "eth_sendRawTransaction":
            return await self._rpc.batch(calls)
        self.sent += [params[0] for _, params in calls]
        return await self._fault(self._rpc, calls)


async def refuse(_rpc: Any, _calls: Any) -> list[Any]:
    """Never accepted."""
    raise RpcUnavailable("connection refused")


async def lose_the_answer(rpc: Any, calls: Any) -> list[Any]:
    """Accepted, but nobody hears of it."""
    await rpc.batch(calls)
    raise RpcUnavailable("connection reset")


async def send_twice(rpc: Any, calls: Any) -> list[Any]:
    """Duplicated on the way: the second answer is what we see."""
    await rpc.batch(calls)
    return list(await rpc.batch(calls))


async def accept_half(rpc: Any, calls: Any) -> list[Any]:
    """Only every other one arrives."""
    await rpc.batch(calls[::2])
    raise RpcUnavailable("connection reset")


FAULTS = [refuse, lose_the_answer, send_twice, accept_half]


async def queued(platform: Platform, shop: Shop) -> list[TopUp]:
    account = shop.account()
    await (await platform.worker()).settle()
    return [shop.top_up(account, (n + 1) * COIN) for n in range(5)]


def attempts(shop: Shop) -> dict[str, str]:
    rows = shop.store.read_now(
        lambda session: session.execute(select(TxAttempt.hash, TxAttempt.raw)).all()
    )
    return dict(rows)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_whatever_happens_to_a_broadcast_a_restart_sends_the_same_bytes_to_one_effect(
    platform: Platform, shop: Shop, fault: Any
) -> None:
    platform.wall_time = 1_000_000.0
    top_ups = await queued(platform, shop)
    faulty = Faulty(platform, fault)
    platform.wall_time += 10
    crashed = await platform.worker(engine=WithRpc(platform.engine, faulty))
    assert await crashed.submitter.round() == 5
    stored = attempts(shop)
    assert set(faulty.sent) <= set(stored.values())

    platform.wall_time += 10  # the lease of the dead worker runs out
    restarted = await platform.worker()
    await restarted.settle()
    assert attempts(shop) == stored
    assert {shop.get(TopUp, top_up.id).status for top_up in top_ups} == {"succeeded"}
    assert (
        shop.get(Supply, 1).minted == 15 * COIN == await platform.balance(the_account(shop).address)
    )


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_the_same_worker_recovers_by_itself(
    platform: Platform, shop: Shop, fault: Any
) -> None:
    faults = iter([fault])

    async def once(rpc: Any, calls: Any) -> list[Any]:
        next_fault = next(faults, None)
        return list(await (next_fault(rpc, calls) if next_fault else rpc.batch(calls)))

    platform.wall_time = 1_000_000.0
    top_ups = await queued(platform, shop)
    platform.wall_time += 10
    worker = await platform.worker(engine=WithRpc(platform.engine, Faulty(platform, once)))
    await worker.settle()
    assert {shop.get(TopUp, top_up.id).status for top_up in top_ups} == {"succeeded"}
    assert shop.get(Supply, 1).minted == 15 * COIN
    assert len(attempts(shop)) == 6


async def test_a_crash_before_the_commit_leaves_the_nonce_free(
    platform: Platform, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.wall_time = 1_000_000.0
    await queued(platform, shop)
    platform.wall_time += 10
    crashed = await platform.worker()
    commit = crashed.submitter._commit

    def die(*arguments: Any) -> Any:
        commit(*arguments)
        raise SystemError("killed inside the transaction")

    monkeypatch.setattr(crashed.submitter, "_commit", die)
    with pytest.raises(SystemError):
        await crashed.submitter.round()
    assert len(attempts(shop)) == 1
    platform.wall_time += 10
    await (await platform.worker()).settle()
    assert shop.get(Supply, 1).minted == 15 * COIN


async def test_a_stranger_with_our_key_is_a_conflict_and_nothing_is_signed_again(
    platform: Platform, shop: Shop
) -> None:
    platform.wall_time = 1_000_000.0
    top_ups = await queued(platform, shop)
    treasury = platform.seed.platform("treasury")
    platform.wall_time += 10
    worker = await platform.worker(engine=WithRpc(platform.engine, Faulty(platform, refuse)))
    await worker.submitter.round()  # signs nonces 0 to 4
    await platform.send(treasury, platform.coin_address, platform.coin.encode("decimals"))
    platform.wall_time += 10
    restarted = await platform.worker()
    stored = attempts(shop)
    await restarted.settle()
    operations = shop.store.read_now(
        lambda session: [
            session.scalars(select(Operation).where(Operation.resource_id == top_up.id)).one()
            for top_up in top_ups
        ]
    )
    assert [operation.status for operation in operations] == [
        OperationStatus.CONFLICT,
        *[OperationStatus.DONE] * 4,
    ]
    assert "somebody else signs with this key" in (operations[0].error or "")
    assert attempts(shop) == stored
    assert shop.get(TopUp, top_ups[0].id).status == "pending"  # people must look

    later = shop.top_up(the_account(shop), COIN)
    await restarted.settle()
    assert shop.get(TopUp, later.id).status == "succeeded"
    conflicts = shop.store.read_now(
        lambda session: session.scalar(
            select(func.count()).where(ChainTx.status == ChainTxStatus.CONFLICT)
        )
    )
    assert conflicts == 1


def the_account(shop: Shop) -> Account:
    return shop.store.read_now(lambda session: session.scalars(select(Account)).one())


async def test_a_stranger_who_runs_ahead_costs_one_conflict_and_the_count_goes_on_above_him(
    platform: Platform, shop: Shop
) -> None:
    platform.wall_time = 1_000_000.0
    await queued(platform, shop)
    worker = await platform.worker()
    platform.wall_time += 10
    await worker.settle()
    treasury = platform.seed.platform("treasury")
    for _ in range(3):  # takes the nonces 5, 6 and 7
        await platform.send(treasury, platform.coin_address, platform.coin.encode("decimals"))
    lost = shop.top_up(the_account(shop), COIN)
    await worker.settle()
    good = shop.top_up(the_account(shop), COIN)
    await worker.settle()
    assert shop.get(TopUp, lost.id).status == "pending"
    assert shop.get(TopUp, good.id).status == "succeeded"
    assert shop.get(Sender, treasury.address).next_nonce == 9
