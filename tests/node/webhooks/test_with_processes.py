"""Webhooks as a node runs them: beside outbox and indexer, and by processes that are killed."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

from node.bridge.api_keys import create_merchant_key
from node.bridge.app import create_app
from node.worker import run_worker
from tests.node.bridge.support import Client, openapi
from tests.node.platform import COIN, open_platform
from tests.node.webhooks.support import Office, Received, Receiver, until

PROJECT = Path(__file__).parents[3]

_DELIVER = """
import asyncio, ipaddress, os, sys, time
from node.keys import SealedSeed
from node.store import Store
from node.store.ids import Ids
from node.webhooks.addresses import lookup
from node.webhooks.deliverer import Deliverer
from node.webhooks.sender import Sender

async def main(url, later):
    deliverer = Deliverer(
        Store(url),
        SealedSeed(bytes([5]) * 32),
        Sender((ipaddress.ip_network("127.0.0.0/8"),), 5.0, lookup),
        owner=str(os.getpid()),
        clock=lambda: time.time() + later,
        random=lambda: 0.0,
        ids=Ids(),
        concurrency=4,
        retention=86400,
    )
    while True:
        if not await deliverer.round():
            await asyncio.sleep(0.005)

asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""


async def test_killed_at_any_moment_and_started_again_all_arrives_in_order(
    office: Office, receiver: Receiver
) -> None:
    office.clock.now = time.time()
    await office.endpoint(receiver)
    told = {name: [office.tell(name) for _ in range(8)] for name in (f"top_{n}" for n in range(25))}
    expected = {seq for seqs in told.values() for seq in seqs}

    async def take_a_while(_received: Received) -> int:
        await asyncio.sleep(0.004)
        return 200

    receiver.behave = take_a_while
    chance = random.Random(7)
    kills = 0
    later = 0.0
    while not expected <= {each.event["seq"] for each in receiver.received} or kills < 3:
        assert kills < 60
        before = len(receiver.received)
        command = [sys.executable, "-c", _DELIVER, office.desk.settings.store_url, str(later)]
        process = subprocess.Popen(command, cwd=PROJECT)  # noqa: ASYNC220
        try:
            if kills < 3:
                await until(lambda before=before: len(receiver.received) > before)
                await asyncio.sleep(chance.uniform(0.0, 0.15))
            else:
                await until(lambda: expected <= {each.event["seq"] for each in receiver.received})
        finally:
            process.kill()
            process.wait()
        kills += 1
        later += 11  # the lease of the dead one runs out
        await asyncio.sleep(0.05)  # what it had sent arrives
    assert kills >= 3
    for name, seqs in told.items():
        arrived = receiver.of(name)
        assert sorted(set(arrived)) == seqs
        assert arrived == sorted(arrived)
    ids = {(each.event["seq"], each.id) for each in receiver.received}
    assert len(ids) == len(expected)


async def test_a_worker_posts_what_the_chain_has_done(tmp_path: Path, receiver: Receiver) -> None:
    async with open_platform(tmp_path, "tester", webhook_networks="127.0.0.0/8") as platform:
        parts = (platform.settings, platform.store, platform.manifest, platform.seed)
        app = create_app(*parts, platform.engine.rpc)
        openapi(app)
        key = platform.store.write_now(
            lambda session: create_merchant_key(
                session, platform.settings, merchant="Demo shop", name="test"
            )
        )
        shop = Client(app, key.secret)
        endpoint = await shop.ok("/v1/webhook_endpoints", {"url": receiver.url})
        receiver.secrets = [endpoint["secret"]]
        stop = asyncio.Event()
        worker = asyncio.create_task(
            run_worker(
                platform.engine,
                platform.store,
                platform.seed,
                platform.manifest,
                platform.settings,
                stop,
            )
        )
        account = await shop.ok("/v1/accounts", {"kinds": ["buyer"]}, wait=30)
        body = {"account": account["id"], "amount": str(COIN), "reference": "bank 1"}
        topup = await shop.ok("/v1/topups", body, wait=30)
        assert topup["status"] == "succeeded"
        events = (await shop.get("/v1/events")).json()["data"]
        await until(lambda: len(receiver.received) >= len(events))
        arrived = sorted((each.event for each in receiver.received), key=lambda each: each["seq"])
        assert arrived == events
        assert [each["type"] for each in events if each["resource_id"] == topup["id"]] == [
            "topup.created",
            "topup.succeeded",
        ]
        stop.set()
        await worker
