"""From the queue to signed bytes: what is refused, what waits, and what nonces are taken."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from node.chain.rpc import RpcError, RpcUnavailable
from node.outbox import submit
from node.store.models import (
    Account,
    AccountStatus,
    ChainTx,
    MoveStatus,
    Operation,
    OperationStatus,
    Sender,
    Transfer,
)
from tests.node.platform import COIN, MEMBER_UNTIL, Platform, Shop, WithRpc, Worker


def operation_of(shop: Shop, resource: Any) -> Operation:
    return shop.store.read_now(
        lambda session: session.scalars(
            select(Operation).where(Operation.resource_id == resource.id).order_by(Operation.id)
        ).all()[-1]
    )


def signed(shop: Shop) -> list[ChainTx]:
    return shop.store.read_now(
        lambda session: list(session.scalars(select(ChainTx).order_by(ChainTx.id)))
    )


async def test_a_doomed_operation_fails_with_the_reason_and_burns_no_nonce(
    shop: Shop, worker: Worker
) -> None:
    account = shop.account()
    await worker.settle()
    transfer = shop.transfer(account, account.address, COIN)
    await worker.settle()
    operation = operation_of(shop, transfer)
    assert (operation.status, operation.error_code) == ("failed", "ERC20InsufficientBalance")
    assert f"needed={COIN}" in (operation.error or "")
    assert shop.get(Transfer, transfer.id).status == MoveStatus.FAILED
    assert len(signed(shop)) == 1  # the admission alone


async def test_an_operation_that_depends_on_an_earlier_one_waits_for_it(
    shop: Shop, worker: Worker
) -> None:
    """Admission, top-up and payment are queued together: each is refused until the one before."""
    buyer, seller = shop.account(), shop.account()
    shop.top_up(buyer, 10 * COIN)
    purchase = shop.purchase(buyer, seller, 10 * COIN)
    authorization = shop.authorize(purchase)
    assert await worker.submitter.round() == 2  # the admissions
    assert shop.get(Operation, authorization.id).status == OperationStatus.QUEUED
    await worker.settle()
    assert shop.get(Operation, authorization.id).status == OperationStatus.DONE


async def test_a_refusal_is_not_final_while_an_earlier_operation_is_unmined(
    platform: Platform, shop: Shop
) -> None:
    async def lose(*_: object) -> None: ...

    worker = await platform.worker(broadcast=lose)
    top_up = shop.top_up(shop.account(), COIN)
    for _ in range(3):
        await worker.submitter.round()
        await worker.index()
    assert operation_of(shop, top_up).status == OperationStatus.QUEUED


async def test_waiting_ends_with_patience(
    platform: Platform, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(*_: object) -> None: ...

    monkeypatch.setattr(submit, "PATIENCE_SECONDS", 0.0)
    worker = await platform.worker(broadcast=lose)
    account = shop.account()
    top_up = shop.top_up(account, COIN)
    await worker.submitter.round()
    await worker.submitter.round()
    assert operation_of(shop, top_up).error_code == "NotAMember"


async def test_a_deadline_is_judged_by_the_next_blocks_time(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    """The dispute window is over by the clock of the chain, though no block has come since."""
    buyer, seller = shop.account(), shop.account()
    shop.top_up(buyer, COIN)
    purchase = shop.purchase(buyer, seller, COIN)
    shop.authorize(purchase)
    shop.deliver(purchase)
    await worker.settle()
    release = shop.release(purchase, COIN)
    await worker.submitter.round()
    assert shop.get(Operation, release.id).status == OperationStatus.QUEUED  # too early: it waits
    await platform.engine.set_time(await platform.engine.now() + purchase.terms["disputeWindow"])
    await worker.settle()
    assert shop.get(Operation, release.id).status == OperationStatus.DONE


async def test_a_sender_starts_at_the_chains_nonce_and_counts_by_itself_from_there(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    operator = platform.seed.platform("operator")
    await platform.send(operator, platform.coin_address, platform.coin.encode("decimals"))
    for n in range(3):
        shop.account(member_until=MEMBER_UNTIL + n)  # so that they go one by one
    await worker.settle()
    assert [chain_tx.nonce for chain_tx in signed(shop)] == [1, 2, 3]
    assert shop.get(Sender, operator.address).next_nonce == 4


async def test_an_operation_canceled_while_it_is_simulated_leaves_no_gap(
    platform: Platform, shop: Shop
) -> None:
    first, second = shop.account(), shop.account()
    canceled = operation_of(shop, first).id

    class CancelMeanwhile:
        async def call(self, method: str, *params: Any) -> Any:
            return await platform.engine.rpc.call(method, *params)

        async def batch(self, calls: Any) -> Any:
            if calls[0][0] == "eth_call":
                shop.store.write_now(cancel)
            return await platform.engine.rpc.batch(calls)

    def cancel(session: Session) -> None:
        session.execute(
            update(Operation)
            .where(Operation.id == canceled)
            .values(status=OperationStatus.CANCELED)
        )

    worker = await platform.worker(engine=WithRpc(platform.engine, CancelMeanwhile()))  # type: ignore[arg-type]
    assert await worker.submitter.round() == 0
    await worker.settle()
    assert shop.get(Operation, canceled).status == OperationStatus.CANCELED
    assert shop.get(Account, second.id).status == AccountStatus.ACTIVE
    assert [chain_tx.nonce for chain_tx in signed(shop)] == [0]


async def test_two_workers_never_sign_for_one_sender_at_a_time(
    platform: Platform, shop: Shop
) -> None:
    platform.wall_time = 1_000_000.0
    one, two = await platform.worker(), await platform.worker()
    shop.account()
    assert await one.submitter.round() == 1
    shop.account()
    assert await two.submitter.round() == 0  # the other leads
    platform.wall_time += submit.LEASE_SECONDS + 1
    assert await two.submitter.round() == 1  # its lease ran out
    shop.account()
    assert await one.submitter.round() == 0
    await two.settle()
    assert [chain_tx.nonce for chain_tx in signed(shop)] == [0, 1, 2]


async def test_a_lease_given_up_is_taken_at_once(platform: Platform, shop: Shop) -> None:
    platform.wall_time = 1_000_000.0
    one, two = await platform.worker(), await platform.worker()
    shop.account()
    await one.submitter.round()
    await one.submitter.release_leases()
    shop.account()
    assert await two.submitter.round() == 1


@pytest.mark.parametrize(
    "trouble",
    [RpcUnavailable("no answer"), RpcError(-32005, "too many requests")],
    ids=["unreachable", "overloaded"],
)
async def test_trouble_with_the_chain_is_no_refusal(
    platform: Platform, shop: Shop, trouble: Exception
) -> None:
    class Troubled:
        well = False

        async def call(self, method: str, *params: Any) -> Any:
            return await platform.engine.rpc.call(method, *params)

        async def batch(self, calls: Any) -> Any:
            if self.well or calls[0][0] != "eth_call":
                return await platform.engine.rpc.batch(calls)
            if isinstance(trouble, RpcUnavailable):
                raise trouble
            return [trouble for _ in calls]

    rpc = Troubled()
    worker = await platform.worker(engine=WithRpc(platform.engine, rpc))  # type: ignore[arg-type]
    account = shop.account()
    for _ in range(2):
        with contextlib.suppress(RpcUnavailable):
            await worker.submitter.round()
    assert operation_of(shop, account).status == OperationStatus.QUEUED
    rpc.well = True
    await worker.settle()
    assert operation_of(shop, account).status == OperationStatus.DONE


async def test_an_operation_with_an_unknown_signer_does_not_hold_up_the_queue(
    shop: Shop, worker: Worker
) -> None:
    first, second = shop.account(), shop.account()

    def spoil(session: Session) -> None:
        session.execute(
            update(Operation).where(Operation.resource_id == first.id).values(signer="nobody")
        )

    shop.store.write_now(spoil)
    await worker.settle()
    assert operation_of(shop, first).error_code == "UnknownSigner"
    assert shop.get(Account, first.id).status == AccountStatus.FAILED
    assert shop.get(Account, second.id).status == AccountStatus.ACTIVE
