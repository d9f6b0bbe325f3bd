"""Each kind of operation, from its row to done, and what the chain's logs make of the resources."""

from __future__ import annotations

from node.store.models import Account, AccountStatus, Operation, OperationStatus, TopUp
from tests.node.platform import COIN, Platform, Shop, Worker


async def test_an_admitted_account_is_topped_up(
    platform: Platform, shop: Shop, worker: Worker
) -> None:
    account = shop.account()
    top_up = shop.top_up(account, 25 * COIN)
    await worker.settle()
    assert shop.get(Account, account.id).status == AccountStatus.ACTIVE
    assert shop.get(TopUp, top_up.id).status == "succeeded"
    assert await platform.balance(account.address) == 25 * COIN
