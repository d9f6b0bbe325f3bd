"""What the processes of a campaign do: bridge, worker, and the receiver of webhooks.

The bridge is `node.bridge.serve`, as it is. The worker is `node.worker.run_worker` on a chain that
somebody else runs. CRASH_SABOTAGE names a way to break them first (scripts/crash/sabotage.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from node import failpoints
from node.bridge import serve
from node.chain.deployment import Manifest
from node.chain.engine import ChainTimeError, EngineError
from node.chain.remote import RemoteEngine
from node.chain.rpc import RpcError
from node.keys import SealedSeed
from node.outbox import submit
from node.settings import Settings
from node.store import Store
from node.webhooks import deliverer
from node.worker import run_worker
from scripts.crash import receiver, sabotage

# A worker that was killed holds its leases until they run out. Here the next one comes at once, and
# most of a campaign would be waiting for them.
LEASE_SECONDS = 2


def run_bridge() -> None:
    _prepare()
    serve.main()


def run_the_worker() -> None:
    _prepare()
    submit.LEASE_SECONDS = LEASE_SECONDS
    deliverer.LEASE_SECONDS = LEASE_SECONDS
    settings = Settings()  # type: ignore[call-arg]  # every field has a default
    serve.configure_logging(settings.log_level)
    sys.setswitchinterval(0.0005)
    asyncio.run(_work(settings))


MAINS = {"bridge": run_bridge, "worker": run_the_worker, "receiver": receiver.main}


def _prepare() -> None:
    if "PLAZA_FAILPOINT" in os.environ:  # the module was imported before this process was born
        failpoints.arm(os.environ["PLAZA_FAILPOINT"])
    if "CRASH_SABOTAGE" in os.environ:
        sabotage.WAYS[os.environ["CRASH_SABOTAGE"]]()


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    passphrase = (settings.data / "passphrase").read_text(encoding="utf-8").strip()
    seed = SealedSeed.open(settings.data / "seed.json", passphrase)
    manifest = Manifest.load(settings.manifest_path)
    store = Store(settings.store_url)
    engine = SharedAnvil(manifest.rpc_url, manifest.chain_id, time.time)
    while True:
        try:
            await engine.start()
            break
        except EngineError:  # it is being started again itself
            await asyncio.sleep(0.1)
    try:
        await run_worker(engine, store, seed, manifest, settings, stop)
    finally:
        await engine.stop()
        store.close()


class SharedAnvil(RemoteEngine):
    """An anvil that another process started. It takes orders from anybody, and its pool needs them
    (see `node.chain.anvil`)."""

    name = "anvil"
    can_travel = True

    def __init__(self, url: str, chain_id: int, clock: submit.Callable[[], float]) -> None:
        super().__init__(url, chain_id, clock)
        self._mining = asyncio.Lock()

    @asynccontextmanager
    async def mining_held(self) -> AsyncIterator[None]:
        async with self._mining:
            await self.rpc.call("evm_setAutomine", False)
            try:
                yield
            finally:
                with suppress(RpcError):
                    await self.rpc.call("evm_setAutomine", True)

    async def set_time(self, timestamp: int) -> None:
        latest = await self.rpc.call("eth_getBlockByNumber", "latest", False)
        if timestamp < int(latest["timestamp"], 16):
            raise ChainTimeError(f"the latest block is later than {timestamp}")
        await self.rpc.call("evm_setTime", timestamp)
        await self.rpc.call("evm_setNextBlockTimestamp", timestamp)

    async def forget_unmined(self, sender: str) -> None:
        await self.rpc.call("anvil_removePoolTransactions", sender)
