"""Several operator keys: purchases are spread over them, and each stays with its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import select

from node.bridge.api_keys import create_merchant_key
from node.bridge.app import create_app
from node.chain.deployment import deploy
from node.keys import operator_name
from node.store.models import Operation, Purchase
from node.worker import run_worker
from tests.node.bridge.market import Market
from tests.node.bridge.support import SEED, Client, Desk
from tests.node.platform import open_platform

OPERATORS = 3


def names(count: int) -> set[str]:
    return {operator_name(number) for number in range(count)}


async def test_purchases_are_spread_over_the_operators_and_stay_with_theirs(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, {"operators": OPERATORS})
    for _ in range(8):
        await desk.purchase(authorize=True)
    authorizations = desk.operations("purchase.authorize")
    assert len({operation.signer for operation in authorizations}) > 1
    for operation in authorizations:
        terms = desk.store.read_now(
            lambda session, id_=operation.resource_id: session.get_one(Purchase, id_).terms
        )
        assert operation.signer == operator_name(int(terms["orderRef"], 16) % OPERATORS)
        assert terms["operator"] == SEED.platform(operation.signer).address
    assert {operation.signer for operation in desk.operations("account.admit")} == {"operator"}

    # With fewer keys in use, those of old purchases go on serving these.
    desk.settings = desk.settings.model_copy(update={"operators": 1})
    fewer = Client(desk.new_app(), desk.shop_key.secret)
    for operation in authorizations:
        purchase = (await fewer.get(f"/v1/purchases/{operation.resource_id}")).json()
        desk.hold(purchase)
        await fewer.ok(f"/v1/purchases/{purchase['id']}/deliver")
    kept = {row.resource_id: row.signer for row in desk.operations("purchase.deliver")}
    assert kept == {row.resource_id: row.signer for row in authorizations}
    desk.shop = fewer
    await desk.purchase(authorize=True)
    assert desk.operations("purchase.authorize")[-1].signer == "operator"
    desk.close()


async def test_a_second_operator_takes_a_purchase_all_the_way_without_any_right_on_chain(
    tmp_path: Path,
) -> None:
    async with open_platform(tmp_path, "auto") as platform:
        # The number is raised on a deployment that stands already, and lowered again.
        settings = platform.settings.model_copy(update={"operators": OPERATORS})
        before = platform.manifest
        platform.manifest = await deploy(
            platform.engine, platform.seed, settings, bridge_url=before.bridge_url
        )
        assert platform.manifest.contracts == before.contracts
        added = {name: platform.seed.platform(name).address for name in names(OPERATORS)}
        assert platform.manifest.accounts == {**before.accounts, **added}
        lowered = await deploy(
            platform.engine, platform.seed, platform.settings, bridge_url=before.bridge_url
        )
        assert lowered == platform.manifest

        app = create_app(
            settings, platform.store, platform.manifest, platform.seed, platform.engine.rpc
        )
        key = platform.store.write_now(
            lambda session: create_merchant_key(
                session, settings, merchant="Demo shop", name="test"
            )
        )
        stop = asyncio.Event()
        parts = (platform.engine, platform.store, platform.seed, platform.manifest)
        worker = asyncio.create_task(run_worker(*parts, settings, stop))
        market = Market(platform, Client(app, key.secret))
        buyer, seller = await market.member(topup=10**9), await market.member("seller")
        used: set[str] = set()
        while len(used) < 2:
            purchase = await market.delivered(buyer, seller)
            assert (await market.act(purchase, "release"))["status"] == "released"
            signers = set(
                platform.store.read_now(
                    lambda session, id_=purchase["id"]: session.scalars(
                        select(Operation.signer).where(Operation.resource_id == id_)
                    ).all()
                )
            )
            assert len(signers) == 1
            used |= signers
        stop.set()
        await worker
