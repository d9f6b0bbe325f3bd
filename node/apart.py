"""The node's parts as processes of their own, for more than one machine: bridge and worker.

Database and chain are all they share; the database is PostgreSQL where the parts are on several
machines. Each machine has the same sealed seed and manifest (`plaza deploy` writes them). Any
number of bridges and of workers may run, and each may end at any moment: what it had begun, another
goes on with.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable

from node.bridges import Bridges
from node.chain.deployment import Manifest
from node.chain.remote import RemoteEngine
from node.index.indexer import WrongChain
from node.index.rollback import RollbackTooDeep
from node.keys import SealedSeed
from node.settings import Settings
from node.store import Store
from node.up import UpError, open_seed, prepare, stop_on_signals
from node.worker import run_worker


async def run_bridge_alone(settings: Settings, on_ready: Callable[[str, Manifest], None]) -> None:
    """Run the bridge's processes until SIGTERM or SIGINT, or until one of them ends.

    Args:
        settings: of this node.
        on_ready: called once with the bridge's URL, when it answers.

    Raises:
        UpError: there is no manifest or no seed, or a process ended by itself.
        PortTaken: another program has the port.
        SeedError: the seed cannot be opened.
    """
    manifest, _ = await asyncio.to_thread(_open, settings)
    stop = stop_on_signals()
    bridges = Bridges(settings)
    try:
        bridges.start()
        if await bridges.answer():
            on_ready(bridges.url, manifest)
        while bridges.alive():
            if stop.is_set():
                return
            await asyncio.sleep(0.1)
        raise UpError("a bridge process ended by itself")
    finally:
        await bridges.stop()


async def run_worker_alone(settings: Settings, on_ready: Callable[[str, Manifest], None]) -> None:
    """Run one worker until SIGTERM or SIGINT.

    Args:
        settings: of this node; `chain` is a JSON-RPC URL, or "auto" for the manifest's.
        on_ready: called once with the chain's URL, when it answers.

    Raises:
        UpError: there is no manifest or no seed, the chain is none that processes can share, or
            it is another than the manifest's, or went back too far.
        EngineError: the chain does not answer, or has another id.
        SeedError: the seed cannot be opened.
    """
    manifest, seed = await asyncio.to_thread(_open, settings)
    url = manifest.rpc_url if settings.chain == "auto" else settings.chain
    if not url.startswith(("http://", "https://")):
        raise UpError(f"a worker by itself needs a chain's JSON-RPC URL, not {url!r} (--chain)")
    stop = stop_on_signals()
    engine = RemoteEngine(url, manifest.chain_id, time.time)
    await engine.start()
    store = Store(settings.store_url)
    try:
        gc.collect()
        gc.freeze()  # see node.bridge.serve
        on_ready(url, manifest)
        await run_worker(engine, store, seed, manifest, settings, stop)
    except (WrongChain, RollbackTooDeep) as error:
        raise UpError(str(error)) from error
    finally:
        store.close()
        await engine.stop()


def _open(settings: Settings) -> tuple[Manifest, SealedSeed]:
    if not settings.manifest_path.exists():
        raise UpError(f"no manifest at {settings.manifest_path}: run `plaza deploy` first")
    if not (settings.data / "seed.json").exists():
        raise UpError(f"there is no seed in {settings.data}: copy the one that `plaza deploy` made")
    seed = open_seed(settings)
    prepare(settings)
    return Manifest.load(settings.manifest_path), seed
