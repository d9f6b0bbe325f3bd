"""What waits together goes together, and who fails costs nobody else anything."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from node.chain.anvil import find_anvil
from node.chain.codec import ContractCodec
from node.index.credit import _MOVES
from node.outbox import batches, broadcast
from node.outbox.batches import find_batch_kinds
from node.store.models import (
    Account,
    AccountStatus,
    ChainTx,
    ChainTxOperation,
    ChainTxStatus,
    EscrowOrder,
    Event,
    Operation,
    OperationStatus,
    Purchase,
    PurchaseStatus,
    TxAttempt,
)
from tests.node.outbox.test_exactly_once import FAULTS, Faulty, attempts, refuse
from tests.node.platform import (
    BUYER,
    COIN,
    DISPUTE_WINDOW,
    MEMBER_UNTIL,
    SELLER,
    START,
    Platform,
    Shop,
    WithRpc,
    Worker,
    open_platform,
    word,
)

# EVM code of a wallet: returns what ERC-1271 wants to see; and INVALID.
TAKES_ANY_SIGNATURE = "0x631626ba7e60e01b60005260206000f3"
BURNS_ALL_GAS = "0xfe"
# The same: after it has burned all gas but 500,000; where more than 800,000 are left.
BURNS_MUCH_GAS = "0x5b5a6207a1201060005763" + TAKES_ANY_SIGNATURE[4:]
NEEDS_MUCH_GAS = "0x5a620c350010600e5760006000fd5b631626ba7e60e01b60005260206000f3"
DONE, FAILED = OperationStatus.DONE, OperationStatus.FAILED


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "RESEND_SECONDS", 0.0)
    monkeypatch.setattr(broadcast, "CHECK_SECONDS", 0.0)


@pytest.fixture
async def governed(tmp_path: Path) -> AsyncIterator[Platform]:
    """A platform whose steward acts at once."""
    async with open_platform(tmp_path, "tester", governance_delay=0) as platform:
        yield platform


async def nobody_hears(*_: object) -> None:
    """Stored and not broadcast: the worker dies right after its commit."""


async def parties(shop: Shop, worker: Worker, coin: int = 100) -> tuple[Account, Account]:
    buyer, seller = shop.account(BUYER), shop.account(SELLER)
    shop.top_up(buyer, coin * COIN)
    await worker.settle()
    return buyer, seller


def statuses(shop: Shop, operations: Sequence[Operation]) -> list[str]:
    return [shop.get(Operation, operation.id).status for operation in operations]


def transactions(shop: Shop) -> list[tuple[ChainTx, list[str]]]:
    """Every transaction signed, and the operations it carries out in their order."""

    def read(session: Session) -> list[tuple[ChainTx, list[str]]]:
        return [
            (
                chain_tx,
                list(
                    session.scalars(
                        select(ChainTxOperation.operation_id)
                        .where(ChainTxOperation.chain_tx_id == chain_tx.id)
                        .order_by(ChainTxOperation.position)
                    )
                ),
            )
            for chain_tx in session.scalars(select(ChainTx).order_by(ChainTx.id))
        ]

    return shop.store.read_now(read)


async def gas_used(platform: Platform, chain_tx: ChainTx) -> int:
    receipt = await platform.engine.rpc.call("eth_getTransactionReceipt", chain_tx.tx_hash)
    return int(receipt["gasUsed"], 16)


def operation_of(shop: Shop, resource: Any) -> Operation:
    return shop.store.read_now(
        lambda session: session.scalars(
            select(Operation).where(Operation.resource_id == resource.id).order_by(Operation.id)
        ).all()[-1]
    )


# ---------------------------------------------------------------------- putting them together


@pytest.mark.parametrize("count", [2, 3, 50])
def test_a_batch_put_together_out_of_calldata_is_what_the_codec_encodes(count: int) -> None:
    escrow, coin = ContractCodec("PurchaseEscrow"), ContractCodec("PlatformCoin")
    address = "0x" + "5f" * 20
    fields = next(entry for entry in escrow.abi if entry.get("name") == "release")["inputs"]
    names = [field["name"] for field in fields[0]["components"]]
    values = [address] * 4 + [COIN, 250, 300, START, START, DISPUTE_WINDOW]

    def terms(n: int) -> dict[str, Any]:
        return dict(zip(names, [*values, word(str(n))], strict=True))

    kinds = find_batch_kinds()
    signed = [(terms(n), n + 1, 0, START, b"\x07" * (65 + 40 * n)) for n in range(count)]
    calls = [escrow.encode("authorizeWithSignature", *item) for item in signed]
    assert all(kinds[calls[0][:10]].fits(call[10:]) for call in calls)
    assert kinds[calls[0][:10]].encode(calls) == escrow.encode("authorizeMany", signed)

    released = [(terms(n), n + 1, 250) for n in range(count)]
    calls = [escrow.encode("release", *item) for item in released]
    assert all(kinds[calls[0][:10]].fits(call[10:]) for call in calls)
    assert kinds[calls[0][:10]].encode(calls) == escrow.encode("releaseMany", released)

    confirmed = [(terms(n), n + 1, n << 64, START, b"\x07" * (65 + 40 * n)) for n in range(count)]
    calls = [escrow.encode("releaseWithSignature", *item) for item in confirmed]
    assert all(kinds[calls[0][:10]].fits(call[10:]) for call in calls)
    together = escrow.encode("releaseManyWithSignatures", confirmed)
    assert kinds[calls[0][:10]].encode(calls) == together

    accounts = [f"0x{n + 1:040x}" for n in range(count)]
    calls = [coin.encode("admit", account, 3, MEMBER_UNTIL) for account in accounts]
    assert len({kinds[calls[0][:10]].shared(call[10:]) for call in calls}) == 1
    assert kinds[calls[0][:10]].encode(calls) == coin.encode("admitMany", accounts, 3, MEMBER_UNTIL)


@pytest.mark.parametrize("function", ["authorizeWithSignature", "releaseWithSignature"])
def test_calldata_laid_out_in_another_way_goes_alone(function: str) -> None:
    """The signature elsewhere than right behind the words, or nothing there at all."""
    escrow = ContractCodec("PurchaseEscrow")
    kind = find_batch_kinds()[escrow.selector(function)]
    words, signature = [f"{n:064x}" for n in range(14)], [f"{65:064x}", *["07" * 32] * 3]
    assert kind.fits("".join([*words, f"{15 * 32:064x}", *signature]))
    assert not kind.fits("".join([*words, f"{16 * 32:064x}", f"{0:064x}", *signature]))
    assert not kind.fits("".join([*words, f"{15 * 32:064x}"]))


def test_a_batch_leaves_most_of_a_block_to_others() -> None:
    for kind in find_batch_kinds().values():
        assert kind.most(500_000_000) == batches.MAX_ITEMS
        assert kind.gas(kind.most(30_000_000)) <= 30_000_000 // batches.BLOCK_SHARE
        assert kind.most(400_000) < 2  # nothing goes together on a chain of tiny blocks


def test_no_operation_that_the_credit_projection_must_know_goes_in_batches() -> None:
    """A batch carries several operations, and credit asks which one a transaction carried out."""
    assert not set(_MOVES) & {"purchase.authorize", "purchase.release", "account.admit"}


# --------------------------------------------------------------------------- what goes together


async def test_a_backlog_of_payments_goes_in_one_transaction(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await parties(shop, worker)
    lone = shop.authorize(shop.purchase(buyer, seller, COIN))
    await worker.settle()
    purchases = [shop.purchase(buyer, seller, (n + 1) * COIN) for n in range(10)]
    operations = [shop.authorize(purchase) for purchase in purchases]
    assert await worker.submitter.round() == 10
    await worker.settle()

    (single, carried), (batch, together) = transactions(shop)[-2:]
    assert (carried, together) == ([lone.id], [operation.id for operation in operations])
    assert (batch.status, batch.succeeded) == (ChainTxStatus.MINED, True)
    assert await gas_used(platform, batch) < 7 * await gas_used(platform, single)
    for operation, purchase in zip(operations, purchases, strict=True):
        settled = shop.get(Operation, operation.id)
        assert (settled.status, settled.tx_hash) == (DONE, batch.tx_hash)
        assert settled.block_number == batch.block_number
        assert shop.get(Purchase, purchase.id).status == PurchaseStatus.AUTHORIZED
        assert shop.get(EscrowOrder, purchase.order_hash).held == purchase.amount
    told = shop.store.read_now(
        lambda session: session.execute(
            select(Event.resource_id, Event.data).where(Event.type == "purchase.authorized")
        ).all()
    )
    assert [(id_, data["amount"], data["tx_hash"]) for id_, data in told[1:]] == [
        (purchase.id, str(purchase.amount), batch.tx_hash) for purchase in purchases
    ]
    assert await platform.balance(buyer.address) == (100 - 1 - 55) * COIN


async def test_releases_and_admissions_go_together_too(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, *sellers = accounts = [shop.account() for _ in range(4)]
    other = shop.account(member_until=MEMBER_UNTIL + 1)  # until another time: alone
    shop.top_up(buyer, 10 * COIN)
    await worker.settle()
    carried = [operations for _, operations in transactions(shop)]
    admitted = [operation_of(shop, account).id for account in (*accounts, other)]
    assert carried[:2] == [admitted[:4], admitted[4:]]
    assert {shop.get(Account, one.id).status for one in accounts} == {AccountStatus.ACTIVE}

    purchases = [shop.purchase(buyer, seller, COIN) for seller in sellers]
    for act in (shop.authorize, shop.deliver):
        for purchase in purchases:
            act(purchase)
        await worker.settle()
    await platform.engine.set_time(await platform.engine.now() + DISPUTE_WINDOW)
    shop.top_up(buyer, COIN)
    await worker.settle()  # a block of that time
    releases = [shop.release(purchase, COIN) for purchase in purchases]
    await worker.settle()
    assert statuses(shop, releases) == [DONE] * 3
    assert transactions(shop)[-1][1] == [release.id for release in releases]
    for seller in sellers:
        assert await platform.balance(seller.address) == COIN - COIN * 250 // 10_000


async def test_confirmations_of_buyers_go_in_one_transaction(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    """Of several buyers, of goods delivered or not, in whole or in part; the operator's own
    releases go in another batch."""
    buyer, seller = await parties(shop, worker)
    other = shop.account(BUYER)
    shop.top_up(other, 100 * COIN)
    await worker.settle()
    purchases = [shop.purchase(one, seller, 2 * COIN) for one in [buyer, other] * 4]
    lone, *together, late, later = purchases
    for purchase in purchases:
        shop.authorize(purchase)
    await worker.settle()
    for purchase in (*together[:2], late, later):
        shop.deliver(purchase)
    await worker.settle()
    await platform.engine.set_time(await platform.engine.now() + DISPUTE_WINDOW)
    single = shop.confirm(lone, 2 * COIN)
    await worker.settle()

    amounts = [COIN, 2 * COIN, 2 * COIN, COIN, 2 * COIN]
    confirmed = [
        shop.confirm(purchase, amount) for purchase, amount in zip(together, amounts, strict=True)
    ]
    released = [shop.release(purchase, 2 * COIN) for purchase in (late, later)]
    assert await worker.submitter.round() == 7
    await worker.settle()
    assert statuses(shop, [*confirmed, *released]) == [DONE] * 7
    (alone, carried), (batch, items), (_, others) = transactions(shop)[-3:]
    assert carried == [single.id]
    assert items == [operation.id for operation in confirmed]
    assert others == [operation.id for operation in released]
    assert batch.succeeded
    assert await gas_used(platform, batch) < 4 * await gas_used(platform, alone)
    for purchase, amount in zip(together, amounts, strict=True):
        order = shop.get(EscrowOrder, purchase.order_hash)
        assert (order.held, order.released) == (2 * COIN - amount, amount)
    told = shop.store.read_now(
        lambda session: session.execute(
            select(Event.resource_id, Event.data).where(Event.type == "purchase.released")
        ).all()
    )
    by_batch = [(id_, data["amount"]) for id_, data in told if data["tx_hash"] == batch.tx_hash]
    assert by_batch == [
        (purchase.id, str(amount)) for purchase, amount in zip(together, amounts, strict=True)
    ]
    sold = 2 * COIN + sum(amounts) + 4 * COIN
    assert await platform.balance(seller.address) == sold - sold * 250 // 10_000


async def test_two_confirmations_of_one_purchase_follow_one_another(
    shop: Shop, worker: Worker
) -> None:
    buyer, seller = await parties(shop, worker)
    purchases = [shop.purchase(buyer, seller, 2 * COIN) for _ in range(2)]
    for purchase in purchases:
        shop.authorize(purchase)
    await worker.settle()
    first, second = purchases
    operations = [shop.confirm(one, COIN) for one in (first, second, first, second)]
    await worker.settle()
    assert statuses(shop, operations) == [DONE] * 4
    ids = [operation.id for operation in operations]
    assert [carried for _, carried in transactions(shop)[-2:]] == [ids[:2], ids[2:]]
    for purchase in purchases:
        assert shop.get(Purchase, purchase.id).status == PurchaseStatus.RELEASED


async def test_a_batch_is_no_larger_than_a_share_of_a_block_permits(
    shop: Shop, worker: Worker
) -> None:
    buyer, seller = await parties(shop, worker)
    worker.submitter._block_gas_limit = 4 * 1_300_000  # two payments and the gas to spare
    operations = [shop.authorize(shop.purchase(buyer, seller, COIN)) for _ in range(5)]
    await worker.settle()
    assert statuses(shop, operations) == [DONE] * 5
    assert [len(carried) for _, carried in transactions(shop)[-3:]] == [2, 2, 1]


async def test_no_release_overtakes_what_was_asked_before_it(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    """The shop gives a purchase back and thinks again: the first word counts, as without batches.
    A freeze comes before every release that was asked after it."""
    buyer, seller = await parties(shop, worker)
    other = shop.account(SELLER)
    purchases = [shop.purchase(buyer, seller, COIN) for _ in range(3)]
    purchases.append(shop.purchase(buyer, other, COIN))
    for act in (shop.authorize, shop.deliver):
        for purchase in purchases:
            act(purchase)
        await worker.settle()
    await platform.engine.set_time(await platform.engine.now() + DISPUTE_WINDOW)
    first = shop.release(purchases[0], COIN)
    void = shop.void(purchases[1], COIN)
    second, third = shop.release(purchases[1], COIN), shop.release(purchases[2], COIN)
    freeze = shop.act_on_account(other, "freeze")
    fourth = shop.release(purchases[3], COIN)
    await worker.settle()
    assert statuses(shop, [first, void, second, third, freeze, fourth]) == [
        *(DONE, DONE, FAILED),
        *(DONE, DONE, DONE),
    ]
    assert shop.get(Purchase, purchases[1].id).status == PurchaseStatus.VOIDED
    assert await platform.balance(other.address) == 0  # frozen: it may claim what it is paid


# --------------------------------------------------------------------------------- who fails


async def test_a_buyer_with_coin_for_one_of_two_purchases_pays_the_first(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await parties(shop, worker, coin=10)
    rich = shop.account(BUYER)
    shop.top_up(rich, 100 * COIN)
    await worker.settle()
    signed = len(transactions(shop))
    purchases = [shop.purchase(one, seller, 10 * COIN) for one in (buyer, rich, buyer, rich)]
    operations = [shop.authorize(purchase) for purchase in purchases]
    await worker.settle()
    assert statuses(shop, operations) == [DONE, DONE, FAILED, DONE]
    assert shop.get(Operation, operations[2].id).error_code == "ERC20InsufficientBalance"
    assert len(transactions(shop)) == signed + 1  # the one that failed took no nonce
    assert await platform.balance(buyer.address) == 0


async def test_an_item_that_fails_in_its_block_fails_alone_and_with_its_reason(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await parties(shop, worker)
    spender = shop.account(BUYER)
    shop.top_up(spender, COIN)
    await worker.settle()
    await worker.submitter.release_leases()
    silent = await platform.worker(broadcast=nobody_hears)
    purchases = [shop.purchase(one, seller, COIN) for one in (buyer, spender, buyer)]
    operations = [shop.authorize(purchase) for purchase in purchases]
    assert await silent.submitter.round() == 3
    spent = platform.coin.encode("transfer", seller.address, COIN)
    await platform.send(shop.signer(spender), platform.coin_address, spent)
    await silent.submitter.release_leases()
    await worker.settle()

    assert statuses(shop, operations) == [DONE, FAILED, DONE]
    failed = shop.get(Operation, operations[1].id)
    assert (failed.error_code, failed.alone) == ("ERC20InsufficientBalance", False)
    assert f"needed={COIN}" in (failed.error or "")
    purchase = shop.get(Purchase, purchases[1].id)
    assert (purchase.status, purchase.error) == (PurchaseStatus.CREATED, failed.error)
    chain_tx, _ = transactions(shop)[-1]
    assert chain_tx.succeeded
    events = shop.store.read_now(
        lambda session: session.scalars(
            select(Event).where(Event.type == "purchase.authorize_failed")
        ).all()
    )
    assert [event.resource_id for event in events] == [purchase.id]
    assert chain_tx.tx_hash in (events[0].cause or "")


async def test_a_confirmation_that_fails_in_its_block_fails_alone_and_pays_nobody(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    """A buyer cancels what it has signed while the batch is on its way."""
    buyer, seller = await parties(shop, worker)
    fickle = shop.account(BUYER)
    shop.top_up(fickle, 10 * COIN)
    await worker.settle()
    purchases = [shop.purchase(one, seller, COIN) for one in (buyer, fickle, buyer)]
    for purchase in purchases:
        shop.authorize(purchase)
    await worker.settle()
    await worker.submitter.release_leases()
    silent = await platform.worker(broadcast=nobody_hears)
    operations = [shop.confirm(purchase, COIN) for purchase in purchases]
    assert await silent.submitter.round() == 3
    nonce = int(operations[1].calldata[10 + 12 * 64 : 10 + 13 * 64], 16)
    cancel = platform.escrow.encode("cancelIntents", nonce >> 64)
    await platform.send(shop.signer(fickle), platform.escrow_address, cancel)
    await silent.submitter.release_leases()
    await worker.settle()

    assert statuses(shop, operations) == [DONE, FAILED, DONE]
    failed = shop.get(Operation, operations[1].id)
    assert (failed.error_code, failed.alone) == ("InvalidAccountNonce", False)
    assert transactions(shop)[-1][1] == [operation.id for operation in operations]
    purchase = shop.get(Purchase, purchases[1].id)
    assert (purchase.status, purchase.error) == (PurchaseStatus.AUTHORIZED, failed.error)
    assert shop.get(EscrowOrder, purchase.order_hash).held == COIN
    assert await platform.balance(seller.address) == 2 * (COIN - COIN * 250 // 10_000)


async def test_admissions_that_fail_together_are_asked_for_one_by_one(governed: Platform) -> None:
    platform, shop = governed, Shop(governed)
    silent = await platform.worker(broadcast=nobody_hears)
    accounts = [shop.account() for _ in range(3)]
    operations = [operation_of(shop, account) for account in accounts]
    assert await silent.submitter.round() == 3
    # The second one's address becomes one of the platform's contracts before the batch is mined.
    steward = platform.seed.platform("steward")
    system = platform.coin.encode("admitSystem", accounts[1].address, MEMBER_UNTIL)
    await platform.send(steward, platform.coin_address, system)
    await silent.submitter.release_leases()
    worker = await platform.worker()
    await worker.broadcaster.resend_due()
    await worker.index()
    assert statuses(shop, operations) == [OperationStatus.QUEUED] * 3
    assert all(shop.get(Operation, operation.id).alone for operation in operations)
    (batch, carried), *none = transactions(shop)
    assert (batch.succeeded, len(carried), none) == (False, 3, [])

    await worker.settle()
    assert statuses(shop, operations) == [DONE, FAILED, DONE]
    assert shop.get(Operation, operations[1].id).error_code == "SystemAccount"
    assert {shop.get(Account, account.id).status for account in accounts} == {"active"}
    assert [len(carried) for _, carried in transactions(shop)] == [3, 1, 1]


async def test_an_admission_that_would_fail_does_not_hold_up_the_others(
    governed: Platform,
) -> None:
    platform, shop = governed, Shop(governed)
    worker = await platform.worker()
    accounts = [shop.account() for _ in range(3)]
    steward = platform.seed.platform("steward")
    system = platform.coin.encode("admitSystem", accounts[1].address, MEMBER_UNTIL)
    await platform.send(steward, platform.coin_address, system)
    await worker.settle()
    assert statuses(shop, [operation_of(shop, account) for account in accounts]) == [
        DONE,
        FAILED,
        DONE,
    ]
    assert [len(carried) for _, carried in transactions(shop)] == [1, 1]


async def test_a_batch_without_the_gas_it_was_simulated_with_costs_its_operations_nothing(
    platform: Platform, shop: Shop, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the chain has changed since: whatever is left undone for want of gas goes alone."""
    buyer, seller = await parties(shop, worker)
    operations = [shop.authorize(shop.purchase(buyer, seller, COIN)) for _ in range(8)]
    sign = worker.submitter._sign

    def sign_with_less(calls: Any, *more: Any) -> Any:
        return sign([dataclasses.replace(call, gas=400_000) for call in calls], *more)

    monkeypatch.setattr(worker.submitter, "_sign", sign_with_less)
    assert await worker.submitter.round() == 8
    monkeypatch.undo()
    await worker.settle()
    assert statuses(shop, operations) == [DONE] * 8
    assert await platform.balance(buyer.address) == 92 * COIN
    alone = [operation.id for operation in operations if shop.get(Operation, operation.id).alone]
    assert alone
    assert [carried for _, carried in transactions(shop)][-len(alone) :] == [[one] for one in alone]


async def test_confirmations_left_too_little_gas_for_the_credit_book_go_alone(
    platform: Platform, shop: Shop, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    buyer, seller = await parties(shop, worker)
    purchases = [shop.purchase(buyer, seller, COIN) for _ in range(6)]
    for purchase in purchases:
        shop.authorize(purchase)
    await worker.settle()
    operations = [shop.confirm(purchase, COIN) for purchase in purchases]
    sign = worker.submitter._sign

    def sign_with_less(calls: Any, *more: Any) -> Any:
        return sign([dataclasses.replace(call, gas=600_000) for call in calls], *more)

    monkeypatch.setattr(worker.submitter, "_sign", sign_with_less)
    assert await worker.submitter.round() == 6
    monkeypatch.undo()
    await worker.settle()
    assert statuses(shop, operations) == [DONE] * 6
    alone = [operation.id for operation in operations if shop.get(Operation, operation.id).alone]
    assert 0 < len(alone) < 6
    assert [carried for _, carried in transactions(shop)][-len(alone) :] == [[one] for one in alone]
    assert await platform.balance(seller.address) == 6 * (COIN - COIN * 250 // 10_000)


# ------------------------------------------------------------------------ crashes and strangers


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_whatever_happens_to_the_broadcast_of_batches_they_take_effect_once(
    platform: Platform, shop: Shop, fault: Any
) -> None:
    platform.wall_time = 1_000_000.0
    first = await platform.worker()
    buyer, seller = await parties(shop, first)
    platform.wall_time += 10
    faulty = Faulty(platform, fault)
    crashed = await platform.worker(engine=WithRpc(platform.engine, faulty))
    crashed.submitter._block_gas_limit = 4 * 1_300_000  # two in a batch
    operations = [shop.authorize(shop.purchase(buyer, seller, COIN)) for _ in range(6)]
    assert await crashed.submitter.round() == 6
    stored = attempts(shop)
    assert set(faulty.sent) <= set(stored.values())

    platform.wall_time += 10
    restarted = await platform.worker()
    await restarted.settle()
    assert attempts(shop) == stored
    assert statuses(shop, operations) == [DONE] * 6
    assert await platform.balance(buyer.address) == 94 * COIN


async def test_a_crash_inside_the_commit_of_a_batch_leaves_all_of_it_queued(
    platform: Platform, shop: Shop, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    buyer, seller = await parties(shop, worker)
    operations = [shop.authorize(shop.purchase(buyer, seller, COIN)) for _ in range(3)]
    commit = worker.submitter._commit

    def die(*arguments: Any) -> Any:
        commit(*arguments)
        raise SystemError("killed inside the transaction")

    monkeypatch.setattr(worker.submitter, "_commit", die)
    signed = len(transactions(shop))
    with pytest.raises(SystemError):
        await worker.submitter.round()
    assert statuses(shop, operations) == [OperationStatus.QUEUED] * 3
    assert len(transactions(shop)) == signed
    monkeypatch.undo()
    await worker.settle()
    assert statuses(shop, operations) == [DONE] * 3


async def test_an_operation_canceled_while_its_batch_is_simulated_is_not_in_it(
    platform: Platform, shop: Shop, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    buyer, seller = await parties(shop, worker)
    operations = [shop.authorize(shop.purchase(buyer, seller, COIN)) for _ in range(3)]
    sign = worker.submitter._sign

    def cancel(session: Session) -> None:
        session.execute(
            update(Operation)
            .where(Operation.id == operations[1].id)
            .values(status=OperationStatus.CANCELED)
        )

    def sign_late(*arguments: Any) -> Any:
        shop.store.write_now(cancel)
        return sign(*arguments)

    monkeypatch.setattr(worker.submitter, "_sign", sign_late)
    assert await worker.submitter.round() == 0
    monkeypatch.undo()
    await worker.settle()
    assert statuses(shop, operations) == [DONE, OperationStatus.CANCELED, DONE]
    assert transactions(shop)[-1][1] == [operations[0].id, operations[2].id]


async def test_the_conflict_of_a_batch_is_the_conflict_of_all_in_it(
    platform: Platform, shop: Shop
) -> None:
    platform.wall_time = 1_000_000.0
    buyer, seller = await parties(shop, await platform.worker())
    platform.wall_time += 10
    deaf = await platform.worker(engine=WithRpc(platform.engine, Faulty(platform, refuse)))
    operations = [shop.authorize(shop.purchase(buyer, seller, COIN)) for _ in range(3)]
    await deaf.submitter.round()
    operator = platform.seed.platform("operator")
    await platform.send(operator, platform.coin_address, platform.coin.encode("decimals"))
    platform.wall_time += 10
    restarted = await platform.worker()
    stored = attempts(shop)
    await restarted.settle()
    assert statuses(shop, operations) == [OperationStatus.CONFLICT] * 3
    assert attempts(shop) == stored
    assert transactions(shop)[-1][0].status == ChainTxStatus.CONFLICT


# ----------------------------------------------------------------------------------- rollbacks


@pytest.mark.anvil
@pytest.mark.skipif(find_anvil() is None, reason="no anvil binary: run `make setup`")
async def test_after_a_rollback_either_transaction_of_a_split_operation_may_do_it(
    anvil_platform: Platform,
) -> None:
    """A buyer's smart-contract wallet burns all gas of a batch, whose other payments then go alone.
    The chain goes back to where that wallet was well: the batch pays for all, the others fail."""
    platform, shop = anvil_platform, Shop(anvil_platform)
    first = await platform.worker()
    buyer, seller = await parties(shop, first)
    burner = shop.account(BUYER)
    shop.top_up(burner, 10 * COIN)
    await first.settle()
    await first.submitter.release_leases()
    silent = await platform.worker(broadcast=nobody_hears)
    rpc = platform.engine.rpc
    await rpc.call("anvil_setCode", burner.address, TAKES_ANY_SIGNATURE)
    purchases = [shop.purchase(one, seller, COIN) for one in (burner, buyer, buyer)]
    calldata = platform.escrow.encode(
        "authorizeWithSignature", purchases[0].terms, COIN, 0, MEMBER_UNTIL, b"\x01" * 65
    )
    operations = [
        shop._act(purchases[0], "authorize", purchases[0].order_hash, calldata),
        *(shop.authorize(purchase) for purchase in purchases[1:]),
    ]
    assert await silent.submitter.round() == 3
    await silent.submitter.release_leases()
    snapshot = await rpc.call("evm_snapshot")
    await rpc.call("anvil_setCode", burner.address, BURNS_ALL_GAS)
    worker = await platform.worker()
    await worker.settle()
    assert statuses(shop, operations) == [FAILED, DONE, DONE]
    assert [len(carried) for _, carried in transactions(shop)[-3:]] == [3, 1, 1]
    lone = [carried[0] for _, carried in transactions(shop)[-2:]]
    assert lone == [operations[1].id, operations[2].id]
    assert await platform.balance(buyer.address) == 98 * COIN
    stored = attempts(shop)

    assert await rpc.call("evm_revert", snapshot)
    await worker.index()
    assert statuses(shop, operations) == [OperationStatus.SUBMITTED] * 3
    await worker.submitter.release_leases()
    restarted = await platform.worker()
    await restarted.settle()
    await _until_all_mined(shop, restarted)

    batch, *others = [chain_tx for chain_tx, _ in transactions(shop)[-3:]]
    assert (batch.succeeded, [one.succeeded for one in others]) == (True, [False, False])
    assert statuses(shop, operations) == [DONE] * 3
    for operation, purchase in zip(operations, purchases, strict=True):
        settled = shop.get(Operation, operation.id)
        assert (settled.tx_hash, settled.error) == (batch.tx_hash, None)
        assert shop.get(Purchase, purchase.id).status == PurchaseStatus.AUTHORIZED
        assert shop.get(Purchase, purchase.id).error is None
    assert attempts(shop) == stored
    assert await platform.balance(buyer.address) == 98 * COIN
    assert await platform.balance(burner.address) == 9 * COIN


@pytest.mark.anvil
@pytest.mark.skipif(find_anvil() is None, reason="no anvil binary: run `make setup`")
async def test_a_wallet_that_burns_the_gas_of_a_batch_stops_no_confirmation_of_others(
    anvil_platform: Platform,
) -> None:
    """Nor is another wallet, short of gas for it, said to have refused its signature."""
    platform, shop = anvil_platform, Shop(anvil_platform)
    first = await platform.worker()
    buyer, seller = await parties(shop, first)
    burner, wallet = shop.account(BUYER), shop.account(BUYER)
    for account in (burner, wallet):
        shop.top_up(account, 10 * COIN)
    await first.settle()
    purchases = [shop.purchase(one, seller, COIN) for one in (burner, wallet, buyer)]
    for purchase in purchases:
        shop.authorize(purchase)
    await first.settle()
    await first.submitter.release_leases()
    silent = await platform.worker(broadcast=nobody_hears)
    rpc = platform.engine.rpc
    for account in (burner, wallet):
        await rpc.call("anvil_setCode", account.address, TAKES_ANY_SIGNATURE)
    operations = [shop.confirm(purchase, COIN) for purchase in purchases]
    assert await silent.submitter.round() == 3
    await silent.submitter.release_leases()
    await rpc.call("anvil_setCode", burner.address, BURNS_ALL_GAS)
    worker = await platform.worker()
    await worker.settle()

    assert statuses(shop, operations) == [FAILED, DONE, DONE]
    assert shop.get(Operation, operations[0].id).error_code == "InvalidIntentSignature"
    ids = [operation.id for operation in operations]
    assert [carried for _, carried in transactions(shop)[-3:]] == [ids, ids[1:2], ids[2:]]
    assert shop.get(EscrowOrder, purchases[0].order_hash).held == COIN
    assert await platform.balance(seller.address) == 2 * (COIN - COIN * 250 // 10_000)


@pytest.mark.anvil
@pytest.mark.skipif(find_anvil() is None, reason="no anvil binary: run `make setup`")
async def test_a_wallet_that_found_too_little_gas_in_a_batch_pays_alone(
    anvil_platform: Platform,
) -> None:
    """The one before it has used the gas. That it could not look at its signature is no "no"."""
    platform, shop = anvil_platform, Shop(anvil_platform)
    first = await platform.worker()
    buyer, seller = await parties(shop, first)
    burner, wallet = shop.account(BUYER), shop.account(BUYER)
    for account in (burner, wallet):
        shop.top_up(account, 10 * COIN)
    await first.settle()
    await first.submitter.release_leases()
    silent = await platform.worker(broadcast=nobody_hears)
    rpc = platform.engine.rpc
    for account in (burner, wallet):
        await rpc.call("anvil_setCode", account.address, TAKES_ANY_SIGNATURE)
    purchases = [shop.purchase(one, seller, COIN) for one in (burner, wallet, buyer)]
    operations = []
    for purchase in purchases[:2]:  # not by a key, so that the wallet is asked
        signed = (purchase.terms, COIN, 0, MEMBER_UNTIL, b"\x01" * 65)
        calldata = platform.escrow.encode("authorizeWithSignature", *signed)
        operations.append(shop._act(purchase, "authorize", purchase.order_hash, calldata))
    operations.append(shop.authorize(purchases[2]))
    assert await silent.submitter.round() == 3
    await silent.submitter.release_leases()
    await rpc.call("anvil_setCode", burner.address, BURNS_MUCH_GAS)
    await rpc.call("anvil_setCode", wallet.address, NEEDS_MUCH_GAS)
    worker = await platform.worker()
    await worker.settle()

    assert statuses(shop, operations) == [DONE, DONE, DONE]
    ids = [operation.id for operation in operations]
    assert [carried for _, carried in transactions(shop)[-2:]] == [ids, [ids[1]]]
    assert [shop.get(EscrowOrder, one.order_hash).held for one in purchases] == [COIN] * 3


async def _until_all_mined(shop: Shop, worker: Worker) -> None:
    """An operation may be done while another transaction of it is still on its way."""
    for _ in range(200):
        open_ = shop.store.read_now(
            lambda session: session.scalars(
                select(ChainTx.id).where(ChainTx.status == ChainTxStatus.SIGNED)
            ).all()
        )
        if not open_:
            return
        await worker.broadcaster.resend_due()
        await worker.index()
    raise AssertionError(f"transactions {open_} were not mined")


@pytest.mark.anvil
@pytest.mark.skipif(find_anvil() is None, reason="no anvil binary: run `make setup`")
async def test_a_batch_of_lost_blocks_returns_with_the_same_bytes_and_the_same_ends(
    anvil_platform: Platform,
) -> None:
    platform, shop = anvil_platform, Shop(anvil_platform)
    worker = await platform.worker()
    buyer, seller = await parties(shop, worker)
    poor = shop.account(BUYER)
    shop.top_up(poor, COIN)
    await worker.settle()
    snapshot = await platform.engine.rpc.call("evm_snapshot")
    drain = shop.transfer(poor, seller.address, COIN)
    purchases = [shop.purchase(one, seller, COIN) for one in (buyer, poor, buyer)]
    operations = [shop.authorize(purchase) for purchase in purchases]
    # All are simulated before any is mined: the transfer takes what the second would pay with.
    assert await worker.submitter.round() == 4
    await worker.settle()
    assert statuses(shop, operations) == [DONE, FAILED, DONE]
    assert operation_of(shop, drain).status == DONE
    told = shop.store.read_now(lambda session: session.scalars(select(Event.cause)).all())
    before = shop.store.read_now(lambda session: session.execute(select(TxAttempt.hash)).all())

    assert await platform.engine.rpc.call("evm_revert", snapshot)
    await worker.index()
    assert statuses(shop, operations) == [OperationStatus.SUBMITTED] * 3
    rolled_back = shop.get(Purchase, purchases[1].id)
    assert (rolled_back.status, rolled_back.error) == (PurchaseStatus.CREATED, None)
    await worker.settle()
    assert statuses(shop, operations) == [DONE, FAILED, DONE]
    assert shop.get(Operation, operations[1].id).error_code == "ERC20InsufficientBalance"
    assert shop.get(Purchase, purchases[1].id).error is not None
    assert (
        shop.store.read_now(lambda session: session.execute(select(TxAttempt.hash)).all()) == before
    )
    assert shop.store.read_now(lambda session: session.scalars(select(Event.cause)).all()) == told
