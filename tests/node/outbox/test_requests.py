"""What people ask for when a transaction is stuck: whatever is mined decides, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select

from node.chain.anvil import find_anvil
from node.outbox import Requests, broadcast
from node.store.models import (
    ApiKey,
    AttemptKind,
    ChainTx,
    ChainTxStatus,
    Event,
    Operation,
    OperationStatus,
    OutboxAction,
    OutboxRequest,
    OutboxRequestStatus,
    Purchase,
    TopUp,
    TxAttempt,
)
from tests.node.outbox.test_batches import nobody_hears, operation_of, parties, statuses
from tests.node.outbox.test_exactly_once import Faulty, refuse
from tests.node.platform import BUYER, COIN, START, Platform, Shop, WithRpc, Worker

needs_anvil = pytest.mark.skipif(find_anvil() is None, reason="no anvil binary: run `make setup`")
DONE, CANCELED = OperationStatus.DONE, OperationStatus.CANCELED


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "RESEND_SECONDS", 0.0)
    monkeypatch.setattr(broadcast, "CHECK_SECONDS", 0.0)


def ask(shop: Shop, action: OutboxAction, **about: Any) -> OutboxRequest:
    """Write what the bridge writes."""
    key = ApiKey(
        id=shop.ids.new("key"),
        merchant_id=shop.merchant_id,
        name="staff",
        prefix="plz_",
        secret_hash=shop.ids.new("x"),
        scopes=["operate"],
        created_at=START,
    )
    request = OutboxRequest(
        id=shop.ids.new("req"),
        action=action,
        status=OutboxRequestStatus.PENDING,
        requested_by=key.id,
        created_at=START,
        **about,
    )
    shop.add(key, request)
    return request


def requests_of(platform: Platform, worker: Worker, engine: Any = None) -> Requests:
    return Requests(
        engine or platform.engine,
        platform.store,
        platform.seed,
        platform.manifest.chain_id,
        worker.broadcaster,
        clock=platform.clock,
    )


def newest(shop: Shop) -> ChainTx:
    return shop.store.read_now(
        lambda session: session.scalars(select(ChainTx).order_by(ChainTx.id.desc()).limit(1)).one()
    )


def attempts_of(shop: Shop, chain_tx: ChainTx) -> list[TxAttempt]:
    return shop.store.read_now(
        lambda session: list(
            session.scalars(select(TxAttempt).where(TxAttempt.chain_tx_id == chain_tx.id))
        )
    )


async def stuck(platform: Platform, shop: Shop, queue: Any) -> tuple[ChainTx, Any]:
    """Sign what `queue` queues, in a worker that dies before it is broadcast."""
    silent = await platform.worker(broadcast=nobody_hears)
    made = queue()
    await silent.submitter.round()
    await silent.submitter.release_leases()
    return newest(shop), made


async def test_a_cancellation_that_is_mined_ends_the_operation(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    account = shop.account(BUYER)
    await worker.settle()
    chain_tx, top_up = await stuck(platform, shop, lambda: shop.top_up(account, COIN))
    request = ask(shop, OutboxAction.CANCEL, chain_tx_id=chain_tx.id)
    assert await requests_of(platform, worker).round() == 1
    assert shop.get(OutboxRequest, request.id).status == OutboxRequestStatus.DONE
    assert operation_of(shop, top_up).status == OperationStatus.SUBMITTED  # the chain decides
    # The worker that stored the cancellation dies here; another sends it.
    restarted = await platform.worker()
    await restarted.settle()
    operation = operation_of(shop, top_up)
    assert (operation.status, operation.error_code) == (CANCELED, "canceled")
    failed = shop.get(TopUp, top_up.id)
    assert (failed.status, failed.error) == ("failed", operation.error)
    told = shop.store.read_now(
        lambda session: session.scalars(
            select(Event).where(Event.resource_id == top_up.id, Event.type == "topup.failed")
        ).one()
    )
    assert told.data["error_code"] == "canceled"
    call, cancel = attempts_of(shop, chain_tx)
    if call.kind != AttemptKind.CALL:
        call, cancel = cancel, call
    assert cancel.kind == AttemptKind.CANCEL
    settled = shop.get(ChainTx, chain_tx.id)
    assert (settled.status, settled.succeeded, settled.tx_hash) == ("mined", False, cancel.hash)

    again = shop.top_up(account, COIN)
    await restarted.settle()
    assert shop.get(TopUp, again.id).status == "succeeded"
    assert await platform.balance(account.address) == COIN


async def test_the_cancellation_of_a_batch_cancels_all_in_it(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await parties(shop, worker)
    purchases = [shop.purchase(buyer, seller, COIN) for _ in range(3)]
    await worker.submitter.release_leases()
    chain_tx, operations = await stuck(
        platform, shop, lambda: [shop.authorize(purchase) for purchase in purchases]
    )
    ask(shop, OutboxAction.CANCEL, chain_tx_id=chain_tx.id)
    await requests_of(platform, worker).round()
    await worker.settle()
    assert statuses(shop, operations) == [CANCELED] * 3
    assert all(shop.get(Purchase, purchase.id).error for purchase in purchases)
    assert await platform.balance(buyer.address) == 100 * COIN


async def test_a_call_that_is_faster_than_its_cancellation_is_done(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    account = shop.account(BUYER)
    await worker.settle()
    chain_tx, top_up = await stuck(platform, shop, lambda: shop.top_up(account, COIN))
    (call,) = attempts_of(shop, chain_tx)
    await platform.engine.rpc.call("eth_sendRawTransaction", call.raw)
    ask(shop, OutboxAction.CANCEL, chain_tx_id=chain_tx.id)
    await requests_of(platform, worker).round()
    await worker.settle()
    operation = operation_of(shop, top_up)
    assert (operation.status, operation.tx_hash) == (DONE, call.hash)
    assert shop.get(TopUp, top_up.id).status == "succeeded"
    assert shop.get(ChainTx, chain_tx.id).tx_hash == call.hash
    assert len(attempts_of(shop, chain_tx)) == 2
    assert await platform.balance(account.address) == COIN


async def test_a_replacement_is_the_same_call_with_another_gas_limit(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    account = shop.account(BUYER)
    await worker.settle()
    chain_tx, top_up = await stuck(platform, shop, lambda: shop.top_up(account, COIN))
    for gas_limit in (400_000, 500_000, 400_000):
        ask(shop, OutboxAction.REPLACE, chain_tx_id=chain_tx.id, gas_limit=gas_limit)
        await requests_of(platform, worker).round()
    await worker.settle()
    operation = operation_of(shop, top_up)
    kinds = {attempt.hash: attempt.kind for attempt in attempts_of(shop, chain_tx)}
    assert (operation.status, kinds[operation.tx_hash or ""]) == (DONE, AttemptKind.REPLACEMENT)
    assert len(kinds) == 3
    mined = await platform.engine.rpc.call("eth_getTransactionByHash", operation.tx_hash)
    assert int(mined["gas"], 16) == 400_000
    assert await platform.balance(account.address) == COIN


async def test_what_is_mined_is_past_all_asking(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    shop.account()
    await worker.settle()
    chain_tx = newest(shop)
    actions = (OutboxAction.CANCEL, OutboxAction.REBROADCAST, OutboxAction.REPLACE)
    asked = [ask(shop, action, chain_tx_id=chain_tx.id, gas_limit=300_000) for action in actions]
    assert await requests_of(platform, worker).round() == 3
    for request in asked:
        refused = shop.get(OutboxRequest, request.id)
        assert refused.status == OutboxRequestStatus.REFUSED
        assert "is mined" in (refused.answer or "")
    assert len(attempts_of(shop, chain_tx)) == 1
    assert await requests_of(platform, worker).round() == 0


async def test_a_rebroadcast_sends_at_once_what_was_sent_a_moment_ago(
    platform: Platform, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "RESEND_SECONDS", 3_600)
    faulty = Faulty(platform, refuse)
    worker = await platform.worker(engine=WithRpc(platform.engine, faulty))
    shop.account()
    await worker.submitter.round()
    assert await worker.broadcaster.resend_due() == 0
    assert len(faulty.sent) == 1
    ask(shop, OutboxAction.REBROADCAST, chain_tx_id=newest(shop).id)
    await requests_of(platform, worker).round()
    assert await worker.broadcaster.resend_due() == 1
    assert len(set(faulty.sent)) == 1 < len(faulty.sent)


@pytest.mark.anvil
@needs_anvil
async def test_a_pool_that_holds_the_earlier_bytes_lets_go_of_them(
    anvil_platform: Platform,
) -> None:
    platform, shop = anvil_platform, Shop(anvil_platform)
    worker = await platform.worker()
    account = shop.account(BUYER)
    await worker.settle()

    def queue() -> Sequence[TopUp]:
        return [shop.top_up(account, (n + 1) * COIN) for n in range(2)]

    chain_tx, (first, second) = await stuck(platform, shop, queue)
    # Anvil has the second transaction, which waits for the first one's nonce.
    (call,) = attempts_of(shop, chain_tx)
    await platform.engine.rpc.call("eth_sendRawTransaction", call.raw)
    ask(shop, OutboxAction.CANCEL, chain_tx_id=chain_tx.id)
    await requests_of(platform, worker).round()
    await worker.settle()
    assert operation_of(shop, first).status == DONE
    assert operation_of(shop, second).status == CANCELED
    assert await platform.balance(account.address) == COIN


@pytest.mark.anvil
@needs_anvil
async def test_after_a_rollback_what_was_mined_is_sent_again_and_not_what_was_newest(
    anvil_platform: Platform,
) -> None:
    platform, shop = anvil_platform, Shop(anvil_platform)
    worker = await platform.worker()
    account = shop.account(BUYER)
    await worker.settle()
    snapshot = await platform.engine.rpc.call("evm_snapshot")
    ends = {}
    for faster in (AttemptKind.CALL, AttemptKind.CANCEL):
        chain_tx, top_up = await stuck(platform, shop, lambda: shop.top_up(account, COIN))
        (call,) = attempts_of(shop, chain_tx)
        if faster == AttemptKind.CALL:
            await platform.engine.rpc.call("eth_sendRawTransaction", call.raw)
        ask(shop, OutboxAction.CANCEL, chain_tx_id=chain_tx.id)
        await requests_of(platform, worker).round()
        await worker.settle()
        ends[operation_of(shop, top_up).id] = top_up.id
    before = [shop.get(Operation, id_).status for id_ in ends]
    mined = [shop.get(Operation, id_).tx_hash for id_ in ends]
    assert before == [DONE, CANCELED]

    assert await platform.engine.rpc.call("evm_revert", snapshot)
    await worker.index()
    assert [shop.get(Operation, id_).status for id_ in ends] == ["submitted", "submitted"]
    assert [shop.get(TopUp, id_).status for id_ in ends.values()] == ["pending", "pending"]
    await worker.settle()
    assert [shop.get(Operation, id_).status for id_ in ends] == before
    assert [shop.get(Operation, id_).tx_hash for id_ in ends] == mined
    assert [shop.get(TopUp, id_).status for id_ in ends.values()] == ["succeeded", "failed"]
    assert await platform.balance(account.address) == COIN


# ------------------------------------------------------------------------------ after a conflict


async def test_an_operation_whose_nonce_a_stranger_took_is_done_once_people_say_so(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await parties(shop, worker)
    await worker.submitter.release_leases()
    purchases = [shop.purchase(buyer, seller, COIN) for _ in range(2)]
    chain_tx, operations = await stuck(
        platform, shop, lambda: [shop.authorize(purchase) for purchase in purchases]
    )
    requests = requests_of(platform, worker)
    too_early = ask(shop, OutboxAction.RETRY, operation_id=operations[0].id)
    await requests.round()  # the nonce is free: those bytes may still be mined
    assert "may still be mined" in (shop.get(OutboxRequest, too_early.id).answer or "")

    operator = platform.seed.platform("operator")
    await platform.send(operator, platform.coin_address, platform.coin.encode("decimals"))
    await worker.settle()
    assert statuses(shop, operations) == [OperationStatus.CONFLICT] * 2
    first, second = (
        ask(shop, OutboxAction.RETRY, operation_id=operation.id) for operation in operations
    )
    await requests.round()
    for request in (first, second):
        assert shop.get(OutboxRequest, request.id).status == OutboxRequestStatus.DONE
    assert shop.get(ChainTx, chain_tx.id).status == ChainTxStatus.RESOLVED
    again = ask(shop, OutboxAction.RETRY, operation_id=operations[0].id)
    await requests.round()
    assert "in conflict no more" in (shop.get(OutboxRequest, again.id).answer or "")
    await worker.settle()
    assert statuses(shop, operations) == [DONE, DONE]
    assert await platform.balance(buyer.address) == 98 * COIN


async def test_what_was_done_after_all_is_not_done_again(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    account = shop.account(BUYER)
    await worker.settle()
    chain_tx, top_up = await stuck(platform, shop, lambda: shop.top_up(account, COIN))
    operation = operation_of(shop, top_up)
    shop.store.write_now(
        lambda session: setattr(
            session.get_one(Operation, operation.id), "status", OperationStatus.CONFLICT
        )
    )
    (call,) = attempts_of(shop, chain_tx)
    await platform.engine.rpc.call("eth_sendRawTransaction", call.raw)
    request = ask(shop, OutboxAction.RETRY, operation_id=operation.id)
    await requests_of(platform, worker).round()
    assert "is in block" in (shop.get(OutboxRequest, request.id).answer or "")
    await worker.settle()
    assert operation_of(shop, top_up).status == DONE
    assert await platform.balance(account.address) == COIN


async def test_only_a_nonce_that_none_of_our_bytes_used_is_a_conflict(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    account = shop.account(BUYER)
    await worker.settle()
    chain_tx, top_up = await stuck(platform, shop, lambda: shop.top_up(account, COIN))
    ask(shop, OutboxAction.CANCEL, chain_tx_id=chain_tx.id)
    await requests_of(platform, worker).round()
    call = next(one for one in attempts_of(shop, chain_tx) if one.kind == AttemptKind.CALL)
    await platform.engine.rpc.call("eth_sendRawTransaction", call.raw)
    for _ in range(2 * broadcast.CONFLICT_SIGHTINGS):  # the indexer lags
        await worker.broadcaster.resend_due()
    assert operation_of(shop, top_up).status == OperationStatus.SUBMITTED
    await worker.settle()
    assert operation_of(shop, top_up).status == DONE
