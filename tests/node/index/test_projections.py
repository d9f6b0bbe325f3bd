"""Each kind of operation, from its row to done, and what the chain's logs make of the resources."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from node.chain import typed_data
from node.index.reconcile import reconcile
from node.keys import LocalSigner
from node.store import Store
from node.store.models import (
    Account,
    AccountStatus,
    Claimable,
    Dispute,
    EscrowOrder,
    Event,
    EvidenceLog,
    LedgerEntry,
    Member,
    MoveStatus,
    Operation,
    OperationStatus,
    Purchase,
    PurchaseStatus,
    Redemption,
    Supply,
    TopUp,
    Transfer,
)
from tests.node.platform import (
    BUYER,
    COIN,
    DAY,
    DISPUTE_WINDOW,
    FEE_BPS,
    MEMBER_UNTIL,
    SELLER,
    START,
    Platform,
    Shop,
    Worker,
    word,
)


def event_types(store: Store, resource_id: str) -> list[str]:
    return store.read_now(
        lambda session: list(
            session.scalars(
                select(Event.type).where(Event.resource_id == resource_id).order_by(Event.seq)
            )
        )
    )


def ledger(store: Store, address: str) -> list[tuple[str, int, int, str | None]]:
    """Kind, delta, balance after and reference of each entry of an address."""
    return store.read_now(
        lambda session: [
            (entry.kind, entry.delta, entry.balance_after, entry.ref)
            for entry in session.scalars(
                select(LedgerEntry).where(LedgerEntry.address == address).order_by(LedgerEntry.id)
            )
        ]
    )


async def funded(shop: Shop, worker: Worker, amount: int = 100 * COIN) -> tuple[Account, Account]:
    """A buyer with coin and a seller without."""
    buyer, seller = shop.account(BUYER), shop.account(SELLER)
    shop.top_up(buyer, amount)
    await worker.settle()
    return buyer, seller


async def opened(
    shop: Shop, worker: Worker, buyer: Account, seller: Account, amount: int, **terms: Any
) -> Purchase:
    purchase = shop.purchase(buyer, seller, amount, **terms)
    shop.authorize(purchase)
    await worker.settle()
    return purchase


async def delivered(
    shop: Shop, worker: Worker, buyer: Account, seller: Account, amount: int
) -> Purchase:
    """A purchase whose dispute window is over."""
    purchase = await opened(shop, worker, buyer, seller, amount)
    shop.deliver(purchase)
    await worker.settle()
    engine = shop.platform.engine
    await engine.set_time(await engine.now() + DISPUTE_WINDOW)
    return purchase


# ------------------------------------------------------------------------------- membership


async def test_an_admission_makes_an_account_active(shop: Shop, worker: Worker) -> None:
    account = shop.account(BUYER)
    await worker.settle()
    assert shop.get(Account, account.id).status == AccountStatus.ACTIVE
    member = shop.get(Member, account.address)
    assert (member.kinds, member.member_until, member.balance) == (BUYER, MEMBER_UNTIL, 0)
    assert event_types(shop.store, account.id) == ["account.active"]


async def test_freeze_unfreeze_and_expel_are_followed(shop: Shop, worker: Worker) -> None:
    account = shop.account()
    await worker.settle()
    seen = []
    for action in ("freeze", "unfreeze", "expel"):
        shop.act_on_account(account, action)
        await worker.settle()
        seen.append(shop.get(Account, account.id).status)
    assert seen == [AccountStatus.FROZEN, AccountStatus.ACTIVE, AccountStatus.EXPIRED]
    assert event_types(shop.store, account.id) == [
        "account.active",
        "account.frozen",
        "account.unfrozen",
        "account.expired",
    ]


async def test_a_membership_that_runs_out_expires_the_account(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    account = shop.account(member_until=START + DAY)
    await worker.settle()
    await platform.engine.set_time(START + DAY)
    shop.account()  # any block
    await worker.settle()
    assert shop.get(Account, account.id).status == AccountStatus.EXPIRED
    assert event_types(shop.store, account.id) == ["account.active", "account.expired"]


# --------------------------------------------------------------------------- money in and out


async def test_a_top_up_is_minted_once_and_enters_the_ledger(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    account = shop.account()
    top_up = shop.top_up(account, 25 * COIN)
    await worker.settle()
    assert shop.get(TopUp, top_up.id).status == MoveStatus.SUCCEEDED
    assert ledger(shop.store, account.address) == [("topup", 25 * COIN, 25 * COIN, top_up.ref)]
    assert shop.get(Supply, 1).minted == 25 * COIN == await platform.balance(account.address)
    event = shop.store.read_now(
        lambda session: session.scalars(select(Event).where(Event.resource_id == top_up.id)).one()
    )
    assert event.type == "topup.succeeded"
    assert event.data["amount"] == str(25 * COIN)
    assert event.data["tx_hash"] in (event.cause or "")


async def test_a_redemption_is_sent_by_the_account_itself(shop: Shop, worker: Worker) -> None:
    buyer, _ = await funded(shop, worker)
    redemption = shop.redemption(buyer, 40 * COIN)
    await worker.settle()
    assert shop.get(Redemption, redemption.id).status == MoveStatus.SUCCEEDED
    assert ledger(shop.store, buyer.address)[-1] == (
        "redemption",
        -40 * COIN,
        60 * COIN,
        redemption.ref,
    )
    assert shop.get(Supply, 1).burned == 40 * COIN


async def test_a_transfer_names_both_sides(shop: Shop, worker: Worker) -> None:
    buyer, seller = await funded(shop, worker)
    transfer = shop.transfer(buyer, seller.address, 30 * COIN)
    await worker.settle()
    assert shop.get(Transfer, transfer.id).status == MoveStatus.SUCCEEDED
    assert ledger(shop.store, buyer.address)[-1] == (
        "transfer",
        -30 * COIN,
        70 * COIN,
        transfer.nonce,
    )
    assert ledger(shop.store, seller.address) == [
        ("transfer", 30 * COIN, 30 * COIN, transfer.nonce)
    ]


async def test_a_nonce_used_for_another_payment_does_not_fulfil_the_transfer(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    transfer = shop.transfer(buyer, seller.address, 30 * COIN)
    digest = typed_data.transfer_authorization_digest(
        chain_id=platform.manifest.chain_id,
        coin=platform.coin_address,
        sender=buyer.address,
        to=platform.manifest.accounts["treasury"],
        value=1,
        valid_after=0,
        valid_before=MEMBER_UNTIL,
        nonce=transfer.nonce,
    )
    data = platform.coin.encode(
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)",
        buyer.address,
        platform.manifest.accounts["treasury"],
        1,
        0,
        MEMBER_UNTIL,
        transfer.nonce,
        shop.signer(buyer).sign_hash(digest),
    )
    await platform.send(shop.signer(seller), platform.coin_address, data)
    await worker.settle()
    assert shop.get(Transfer, transfer.id).status == MoveStatus.FAILED
    assert "AuthorizationAlreadyUsed" in shop.get(Transfer, transfer.id).error
    assert event_types(shop.store, transfer.id) == ["transfer.failed"]


async def test_paying_oneself_is_one_entry_of_nothing(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, _ = await funded(shop, worker)
    data = platform.coin.encode("transfer", buyer.address, 5)
    await platform.send(shop.signer(buyer), platform.coin_address, data)
    await worker.index()
    assert ledger(shop.store, buyer.address)[-1] == ("transfer", 0, 100 * COIN, None)


async def test_a_memo_and_a_seizure_are_named_in_the_ledger(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    data = platform.coin.encode("transferWithMemo", seller.address, 3, word("invoice 7"))
    await platform.send(shop.signer(buyer), platform.coin_address, data)
    shop.act_on_account(buyer, "freeze")
    await worker.settle()
    treasury = platform.manifest.accounts["treasury"]
    data = platform.coin.encode("seize", buyer.address, treasury, 4, word("case 9"))
    await platform.send(platform.seed.platform("enforcer"), platform.coin_address, data)
    await worker.index()
    assert ledger(shop.store, seller.address)[-1][0::3] == ("transfer", word("invoice 7"))
    assert ledger(shop.store, treasury)[-1][0::3] == ("seizure", word("case 9"))


# --------------------------------------------------------------------------------- purchases


async def test_a_purchase_from_authorization_to_refund(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    amount = 10 * COIN + 1
    fee = amount * FEE_BPS // 10_000
    purchase = await delivered(shop, worker, buyer, seller, amount)
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.DELIVERED
    shop.release(purchase, amount)
    await worker.settle()
    row = shop.get(Purchase, purchase.id)
    assert row.status == PurchaseStatus.RELEASED
    assert None not in (row.authorized_at, row.delivered_at, row.closed_at)
    shop.refund(purchase, 4 * COIN)
    await worker.settle()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.RELEASED
    shop.top_up(seller, COIN)  # the fee is gone, and is paid back too
    await worker.settle()
    shop.refund(purchase, amount - 4 * COIN)
    await worker.settle()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.REFUNDED
    order = shop.get(EscrowOrder, purchase.order_hash)
    assert (order.authorized, order.held, order.released) == (amount, 0, amount)
    assert (order.fee, order.refunded, order.voided) == (fee, amount, 0)
    assert event_types(shop.store, purchase.id) == [
        "purchase.authorized",
        "purchase.delivered",
        "purchase.released",
        "purchase.refunded",
        "purchase.refunded",
    ]
    kinds = [entry[0] for entry in ledger(shop.store, platform.escrow_address)]
    assert kinds == ["authorize", "release", "fee", "refund", "refund", "refund", "refund"]
    assert ledger(shop.store, buyer.address)[1] == (
        "authorize",
        -amount,
        100 * COIN - amount,
        purchase.order_hash,
    )
    fees = platform.manifest.accounts["fee_receiver"]
    assert ledger(shop.store, fees) == [("fee", fee, fee, purchase.order_hash)]


async def test_a_purchase_shipped_before_its_authorization_is_seen_stays_shipped(
    shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    purchase = shop.purchase(buyer, seller, COIN)
    shop.authorize(purchase)
    shop.ship(purchase)
    await worker.settle()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.SHIPPED


async def test_a_purchase_voided_in_parts_is_voided_at_last(shop: Shop, worker: Worker) -> None:
    buyer, seller = await funded(shop, worker)
    purchase = await opened(shop, worker, buyer, seller, 10 * COIN)
    shop.void(purchase, 4 * COIN)
    await worker.settle()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.AUTHORIZED
    shop.void(purchase, 6 * COIN, so_far=4 * COIN)
    await worker.settle()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.VOIDED
    assert ledger(shop.store, buyer.address)[-1][:3] == ("void", 6 * COIN, 100 * COIN)


async def test_a_frozen_seller_is_paid_by_a_claimable_that_it_claims_later(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    purchase = await delivered(shop, worker, buyer, seller, 10 * COIN)
    shop.act_on_account(seller, "freeze")
    await worker.settle()
    shop.release(purchase, 10 * COIN)
    await worker.settle()
    net = 10 * COIN - 10 * COIN * FEE_BPS // 10_000
    assert shop.get(Claimable, seller.address).amount == net
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.RELEASED
    shop.act_on_account(seller, "unfreeze")
    await worker.settle()
    data = platform.escrow.encode("claim", seller.address)
    await platform.send(shop.signer(seller), platform.escrow_address, data)
    await worker.index()
    assert shop.get(Claimable, seller.address).amount == 0
    assert ledger(shop.store, seller.address) == [("claim", net, net, None)]


# --------------------------------------------------------------- people who act by themselves


async def test_a_buyer_who_authorizes_and_releases_by_its_own_wallet_is_followed(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    purchase = shop.purchase(buyer, seller, 10 * COIN)
    wallet: LocalSigner = shop.signer(buyer)
    approve = platform.coin.encode("approve", platform.escrow_address, 10 * COIN)
    await platform.send(wallet, platform.coin_address, approve)
    authorize = platform.escrow.encode("authorize", purchase.terms, 10 * COIN)
    await platform.send(wallet, platform.escrow_address, authorize)
    await worker.index()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.AUTHORIZED
    release = platform.escrow.encode("release", purchase.terms, 10 * COIN, FEE_BPS)
    await platform.send(wallet, platform.escrow_address, release)
    await worker.index()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.RELEASED
    assert event_types(shop.store, purchase.id) == ["purchase.authorized", "purchase.released"]


async def test_a_buyer_who_reclaims_is_followed(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    purchase = await opened(shop, worker, buyer, seller, 10 * COIN)
    await platform.engine.set_time(purchase.terms["reclaimAfter"])
    reclaim = platform.escrow.encode("reclaim", purchase.terms)
    await platform.send(shop.signer(buyer), platform.escrow_address, reclaim)
    await worker.index()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.RECLAIMED
    assert ledger(shop.store, buyer.address)[-1][:3] == ("reclaim", 10 * COIN, 100 * COIN)


async def test_orders_of_others_are_kept_without_a_purchase(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    terms = shop.purchase(buyer, seller, COIN).terms | {"orderRef": word("not ours")}
    wallet = shop.signer(buyer)
    approve = platform.coin.encode("approve", platform.escrow_address, COIN)
    await platform.send(wallet, platform.coin_address, approve)
    await platform.send(
        wallet, platform.escrow_address, platform.escrow.encode("authorize", terms, COIN)
    )
    await worker.index()
    order_hash = typed_data.order_hash(
        chain_id=platform.manifest.chain_id, escrow=platform.escrow_address, terms=terms
    )
    assert shop.get(EscrowOrder, order_hash).held == COIN


async def test_a_mint_by_hand_with_the_same_reference_fulfils_the_top_up(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, _ = await funded(shop, worker)
    top_up = shop.top_up(buyer, COIN)
    # Its operation would now be refused; the money came all the same.
    data = platform.coin.encode("mint", buyer.address, COIN, top_up.ref)
    await platform.send(platform.seed.platform("treasury"), platform.coin_address, data)
    await worker.settle()
    assert shop.get(TopUp, top_up.id).status == MoveStatus.SUCCEEDED
    assert await platform.balance(buyer.address) == 101 * COIN


# ---------------------------------------------------------------------------- failed on chain


async def test_a_transaction_that_reverts_fails_its_operation_with_the_reason(
    shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker, 10 * COIN)
    # Each is good alone; together they are more than the buyer has.
    first = shop.transfer(buyer, seller.address, 6 * COIN)
    second = shop.transfer(buyer, seller.address, 7 * COIN)
    await worker.settle()
    statuses = [shop.get(Transfer, transfer.id).status for transfer in (first, second)]
    assert statuses == [MoveStatus.SUCCEEDED, MoveStatus.FAILED]
    operation = shop.store.read_now(
        lambda session: session.scalars(
            select(Operation).where(Operation.resource_id == second.id)
        ).one()
    )
    assert operation.status == OperationStatus.FAILED
    assert operation.error_code == "ERC20InsufficientBalance"
    assert operation.block_number is not None
    assert event_types(shop.store, second.id) == ["transfer.failed"]


async def test_a_purchase_whose_action_failed_keeps_its_status_and_shows_the_error(
    shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    purchase = await opened(shop, worker, buyer, seller, COIN)
    shop.void(purchase, 2 * COIN)
    await worker.settle()
    row = shop.get(Purchase, purchase.id)
    assert row.status == PurchaseStatus.AUTHORIZED
    assert row.error.startswith("InvalidAmount(amount=2000000, limit=1000000")
    assert event_types(shop.store, purchase.id)[-1] == "purchase.void_failed"


async def test_finality_depth_keeps_the_newest_blocks_waiting(
    platform: Platform, shop: Shop
) -> None:
    worker = await platform.worker(finality_depth=2)
    account = shop.account()
    await worker.submitter.round()
    assert (await worker.indexer.round()).indexed < (await worker.indexer.round()).head.number
    for _ in range(2):
        await worker.indexer.round()
    assert shop.get(Account, account.id).status == AccountStatus.PENDING
    for _ in range(2):
        await platform.engine.rpc.call("evm_mine")
    await worker.indexer.round()
    assert shop.get(Account, account.id).status == AccountStatus.ACTIVE


# ------------------------------------------------------------------------------------ disputes


async def disputed(
    platform: Platform, shop: Shop, worker: Worker
) -> tuple[Account, Account, Purchase]:
    buyer, seller = await funded(shop, worker)
    purchase = shop.purchase(buyer, seller, 10 * COIN)
    shop.authorize(purchase)
    await worker.settle()
    shop.deliver(purchase)
    await worker.settle()
    data = platform.escrow.encode("dispute", purchase.terms, word("a broken cup"))
    await platform.send(shop.signer(buyer), platform.escrow_address, data)
    await worker.index()
    return buyer, seller, purchase


async def test_a_dispute_is_followed_to_its_decision(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller, purchase = await disputed(platform, shop, worker)
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.DISPUTED
    evidence = platform.escrow.encode("submitEvidence", purchase.terms, word("a photo"))
    await platform.send(shop.signer(seller), platform.escrow_address, evidence)
    decide = platform.escrow.encode(
        "resolve", purchase.terms, 4 * COIN, FEE_BPS, word("the decision")
    )
    arbiter = platform.seed.platform("arbiter")
    await platform.send(arbiter, platform.escrow_address, decide, gas=1_500_000)
    await worker.index()

    row = shop.get(Purchase, purchase.id)
    assert row.status == PurchaseStatus.RESOLVED
    order = shop.get(EscrowOrder, purchase.order_hash)
    assert (order.held, order.voided, order.released) == (0, 4 * COIN, 6 * COIN)
    dispute = shop.get(Dispute, purchase.order_hash)
    assert (dispute.disputed, dispute.to_payer, dispute.to_seller) == (
        10 * COIN,
        4 * COIN,
        6 * COIN,
    )
    assert (dispute.decided_to_payer, dispute.decided_to_seller) == (4 * COIN, 6 * COIN)
    assert dispute.decision_hash == word("the decision")
    assert dispute.deadline == dispute.opened_at + 30 * DAY == order.dispute_deadline
    assert dispute.closed_at >= dispute.opened_at
    logs = platform.store.read_now(
        lambda session: session.scalars(select(EvidenceLog).order_by(EvidenceLog.id)).all()
    )
    assert [(log.kind, log.party, log.hash, log.order_hash) for log in logs] == [
        ("complaint", buyer.address, word("a broken cup"), purchase.order_hash),
        ("evidence", seller.address, word("a photo"), purchase.order_hash),
    ]
    fee = 6 * COIN * FEE_BPS // 10_000
    assert ledger(platform.store, seller.address)[-1][:2] == ("release", 6 * COIN - fee)
    assert ledger(platform.store, buyer.address)[-1][:2] == ("void", 4 * COIN)
    assert event_types(platform.store, purchase.id)[-5:] == [
        "purchase.disputed",
        "purchase.evidence_submitted",
        "purchase.resolved",
        "purchase.voided",
        "purchase.released",
    ]
    assert (await reconcile(platform.engine.rpc, platform.store, platform.manifest)).drift == []


async def test_a_dispute_nobody_decides_gives_all_back(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller, purchase = await disputed(platform, shop, worker)
    await platform.engine.set_time(await platform.engine.now() + 31 * DAY)
    expire = platform.escrow.encode("expireDispute", purchase.terms)
    await platform.send(shop.signer(seller), platform.escrow_address, expire)
    await worker.index()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.RESOLVED
    order = shop.get(EscrowOrder, purchase.order_hash)
    assert (order.held, order.voided) == (0, 10 * COIN)
    dispute = shop.get(Dispute, purchase.order_hash)
    assert (dispute.to_payer, dispute.to_seller) == (10 * COIN, 0)
    assert (dispute.decision_hash, dispute.closed_at is None) == (None, False)
    assert ledger(platform.store, buyer.address)[-1][:2] == ("void", 10 * COIN)
    assert (await reconcile(platform.engine.rpc, platform.store, platform.manifest)).drift == []


async def test_a_party_that_gives_in_ends_a_dispute(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, _, purchase = await disputed(platform, shop, worker)
    shop.void(purchase, 4 * COIN)
    await worker.settle()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.DISPUTED
    dispute = shop.get(Dispute, purchase.order_hash)
    assert (dispute.to_payer, dispute.to_seller, dispute.closed_at) == (4 * COIN, 0, None)
    assert (await reconcile(platform.engine.rpc, platform.store, platform.manifest)).drift == []
    terms = purchase.terms
    give_in = platform.escrow.encode("release", terms, 6 * COIN, terms["maxFeeBps"])
    await platform.send(shop.signer(buyer), platform.escrow_address, give_in, gas=1_500_000)
    await worker.index()
    assert shop.get(Purchase, purchase.id).status == PurchaseStatus.RELEASED
    dispute = shop.get(Dispute, purchase.order_hash)
    assert (dispute.to_payer, dispute.to_seller) == (4 * COIN, 6 * COIN)
    assert (dispute.decision_hash, dispute.closed_at is None) == (None, False)
    assert (await reconcile(platform.engine.rpc, platform.store, platform.manifest)).drift == []


async def test_what_left_an_order_before_its_dispute_is_not_disputed(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    buyer, seller = await funded(shop, worker)
    purchase = await opened(shop, worker, buyer, seller, 10 * COIN)
    shop.deliver(purchase)
    await worker.settle()
    shop.void(purchase, COIN)
    shop.dispute(purchase, word("a broken cup"))
    await worker.settle()
    shop.void(purchase, COIN, so_far=COIN)
    shop.void(purchase, COIN, so_far=2 * COIN)  # in one range of blocks with the next
    await worker.settle()
    shop.resolve(purchase, 0, word("the decision"))
    await worker.settle()
    dispute = shop.get(Dispute, purchase.order_hash)
    assert (dispute.disputed, dispute.to_payer, dispute.to_seller) == (
        9 * COIN,
        2 * COIN,
        7 * COIN,
    )
    assert (dispute.decided_to_payer, dispute.decided_to_seller) == (0, 7 * COIN)
    assert (await reconcile(platform.engine.rpc, platform.store, platform.manifest)).drift == []
