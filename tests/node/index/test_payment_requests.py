"""Payment requests as the indexer sees them: in time or not, and when the chain goes back."""

from __future__ import annotations

from typing import Any

import pytest

from node.index.rollback import roll_back
from node.store.models import (
    Account,
    Event,
    Operation,
    OperationStatus,
    PaymentOutcome,
    PaymentRequest,
    PaymentRequestStatus,
    RequestPayment,
)
from tests.node.index.support import projections
from tests.node.platform import (
    BUYER,
    COIN,
    DAY,
    SELLER,
    START,
    Platform,
    Shop,
    Worker,
    newest_block,
    word,
)


def a_request(shop: Shop, payee: Account, amount: int = COIN, **more: Any) -> PaymentRequest:
    request_id = shop.ids.new("prq")
    values: dict[str, Any] = {
        "id": request_id,
        "merchant_id": shop.merchant_id,
        "payee_account_id": payee.id,
        "payee_address": payee.address,
        "amount": amount,
        "memo_word": word(f"memo of {request_id}"),
        "nonce": word(request_id),
        "expires_at": START + 3000 * DAY,
        "status": PaymentRequestStatus.OPEN,
        "created_at": START,
    }
    request = PaymentRequest(**{**values, **more})
    shop.add(request)
    return request


async def pay(platform: Platform, shop: Shop, payer: Account, request: Any, amount: int) -> str:
    call = platform.coin.encode(
        "transferWithMemo", request.payee_address, amount, request.memo_word
    )
    return await platform.send(shop.signer(payer), platform.coin_address, call)


async def funded(shop: Shop, worker: Worker) -> tuple[Account, Account]:
    buyer, seller = shop.account(BUYER), shop.account(SELLER)
    shop.top_up(buyer, 100 * COIN)
    await worker.settle()
    return buyer, seller


def row_of(shop: Shop, request: PaymentRequest) -> PaymentRequest:
    found: PaymentRequest = shop.get(PaymentRequest, request.id)
    return found


def payments(platform: Platform) -> list[tuple[str, int]]:
    rows = projections(platform.store, ("request_payments",))["request_payments"]
    return [(row["outcome"], row["amount"]) for row in sorted(rows, key=lambda row: row["id"])]


async def test_the_second_in_which_it_ends_is_too_late(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    """One transaction, so one block time, pays what ends in that second and what ends after it."""
    buyer, seller = await funded(shop, worker)
    end = await platform.engine.now() + DAY
    requests = [a_request(shop, seller, expires_at=expires) for expires in (end, end + 1)]
    await platform.engine.set_time(end)
    paid = [{"to": one.payee_address, "amount": COIN, "memo": one.memo_word} for one in requests]
    call = platform.coin.encode("transferMany", paid)
    hash_ = await platform.send(shop.signer(buyer), platform.coin_address, call)
    receipt = await platform.engine.rpc.call("eth_getTransactionReceipt", hash_)
    block = await platform.engine.rpc.call("eth_getBlockByNumber", receipt["blockNumber"], False)
    assert int(block["timestamp"], 16) == end
    await worker.index()
    ended, in_time = (row_of(shop, request) for request in requests)
    assert (ended.status, ended.received) == (PaymentRequestStatus.EXPIRED, COIN)
    assert (in_time.status, in_time.received) == (PaymentRequestStatus.PAID, COIN)
    assert payments(platform) == [(PaymentOutcome.PAID_LATE, COIN), (PaymentOutcome.PAID, COIN)]


async def test_what_is_queued_is_withdrawn_when_somebody_else_was_faster(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    request, other = a_request(shop, seller), a_request(shop, seller)
    queued = [
        shop.operation("payment_request.pay", one.nonce, one, "0x") for one in (request, other)
    ]
    shop.add(*queued)
    await pay(platform, shop, buyer, request, COIN - 1)
    await worker.index()
    assert shop.get(Operation, queued[0].id).status == OperationStatus.QUEUED
    await pay(platform, shop, buyer, request, COIN)
    await worker.index()
    statuses = [shop.get(Operation, operation.id).status for operation in queued]
    assert statuses == [OperationStatus.CANCELED, OperationStatus.QUEUED]


async def test_a_failed_payment_leaves_the_request_open(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    request = a_request(shop, seller)
    call = platform.coin.encode("transfer", seller.address, 1000 * COIN)  # the operator has none
    shop.add(shop.operation("payment_request.pay", request.nonce, request, call))
    await worker.settle()
    failed = row_of(shop, request)
    assert failed.status == PaymentRequestStatus.OPEN
    assert failed.error is not None
    await pay(platform, shop, buyer, request, COIN)
    await worker.index()
    paid = row_of(shop, request)
    assert (paid.status, paid.error, paid.paid_by) == ("paid", None, buyer.address)


@pytest.mark.anvil
async def test_a_chain_that_goes_back_takes_the_payment_back_but_not_the_cancel(
    anvil_platform: Platform,
) -> None:
    platform = anvil_platform
    shop = Shop(platform)
    worker = await platform.worker()
    buyer, seller = await funded(shop, worker)
    paid, short, late = (a_request(shop, seller) for _ in range(3))
    before = projections(platform.store, ("payment_requests", "request_payments"))
    rpc = platform.engine.rpc
    height = platform.store.read_now(newest_block)
    snapshot = await rpc.call("evm_snapshot")
    await pay(platform, shop, buyer, paid, 2 * COIN)
    await pay(platform, shop, buyer, paid, COIN)
    await pay(platform, shop, buyer, short, COIN - 1)
    await worker.index()
    outcomes = [PaymentOutcome.PAID, PaymentOutcome.PAID_AGAIN, PaymentOutcome.UNDERPAID]
    assert [outcome for outcome, _ in payments(platform)] == outcomes
    assert row_of(shop, paid).received == 3 * COIN

    def cancel(session: Any) -> None:
        row = session.get_one(PaymentRequest, short.id)
        row.status, row.canceled_at = PaymentRequestStatus.CANCELED, START

    shop.store.write_now(cancel)
    assert await rpc.call("evm_revert", snapshot)
    # Back by the books alone, as the indexer does once it has seen it.
    platform.store.write_now(lambda session: roll_back(session, height, START))
    after = projections(platform.store, ("payment_requests", "request_payments"))
    assert after["request_payments"] == []
    changed = [
        row
        for row, old in zip(
            sorted(after["payment_requests"], key=lambda row: str(row["id"])),
            sorted(before["payment_requests"], key=lambda row: str(row["id"])),
            strict=True,
        )
        if row != old
    ]
    assert [(row["id"], row["status"], row["received"]) for row in changed] == [
        (short.id, PaymentRequestStatus.CANCELED, 0)
    ]

    restarted = await platform.worker()
    await pay(platform, shop, buyer, short, COIN)
    await pay(platform, shop, buyer, late, COIN)
    await restarted.index()
    assert row_of(shop, paid).status == PaymentRequestStatus.OPEN
    assert row_of(shop, late).status == PaymentRequestStatus.PAID
    outcomes = [PaymentOutcome.PAID_AFTER_CANCEL, PaymentOutcome.PAID]
    assert [outcome for outcome, _ in payments(platform)] == outcomes


async def test_a_payment_indexed_again_is_told_once(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    request = a_request(shop, seller)
    height = platform.store.read_now(newest_block)
    await pay(platform, shop, buyer, request, COIN)
    await worker.index()
    platform.store.write_now(lambda session: roll_back(session, height, START))
    assert row_of(shop, request).status == PaymentRequestStatus.OPEN
    await (await platform.worker()).index()
    assert row_of(shop, request).status == PaymentRequestStatus.PAID
    told = platform.store.read_now(
        lambda session: [
            event.type for event in session.query(Event).filter(Event.resource_id == request.id)
        ]
    )
    assert told == ["payment_request.paid"]
    assert len(platform.store.read_now(lambda s: list(s.query(RequestPayment)))) == 1
