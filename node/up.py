"""`plaza up`: chain, deployment, worker and bridge as one process group that stops cleanly.

The supervisor (this process) runs the chain engine and the worker, and the bridge as children that
share one port, so that HTTP and chain work do not share one interpreter. If any of them ends, all
end: whoever started us (a shell, systemd) sees it and starts us again, and nothing is lost by that.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from filelock import FileLock, Timeout
from pydantic import BaseModel
from sqlalchemy import func, select

from node.bridges import Bridges
from node.chain.deployment import Manifest, deploy
from node.chain.engine import Engine, open_engine
from node.chain.files import replace_file
from node.keys import SealedSeed
from node.settings import Settings
from node.store import Store, migrate
from node.store.models import Block
from node.worker import run_worker

log = structlog.get_logger(__name__)


class UpError(Exception):
    """The node cannot run; the message is for people."""


class RunningNode(BaseModel):
    """`<data>/node.json`: where the node that runs on this data folder is."""

    pid: int
    bridge_pids: list[int]
    chain_pid: int | None
    bridge_url: str
    rpc_url: str
    chain: str

    @classmethod
    def find(cls, data: Path) -> RunningNode | None:
        """The node running on a data folder, or None."""
        with suppress(OSError, ValueError):
            node = cls.model_validate_json((data / "node.json").read_bytes())
            if _is_locked(data):
                return node
        return None


def passphrase_file_of(settings: Settings) -> Path:
    return settings.passphrase_file or settings.data / "passphrase"


def read_passphrase(path: Path) -> str:
    """
    Raises:
        UpError: the file cannot be read, or nothing is in it.
    """
    try:
        passphrase = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UpError(f"the seed's passphrase cannot be read: {error}") from error
    if not passphrase:
        raise UpError(f"the seed's passphrase cannot be read: {path} is empty")
    return passphrase


def make_passphrase(path: Path) -> None:
    """Write 256 random bits into a new file for its owner's eyes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())


def open_seed(settings: Settings) -> SealedSeed:
    """Open the sealed seed of the data folder, or make one with a new passphrase at first start."""
    path = settings.data / "seed.json"
    passphrase_file = passphrase_file_of(settings)
    if not path.exists() and not passphrase_file.exists() and settings.passphrase_file is None:
        # Convenience of one machine: whoever operates for real names a file outside the data
        # folder, so that a copy of the folder is worth nothing.
        settings.data.mkdir(parents=True, exist_ok=True)
        make_passphrase(passphrase_file)
    passphrase = read_passphrase(passphrase_file)
    if path.exists():
        return SealedSeed.open(path, passphrase)
    return SealedSeed.create(path, passphrase, secrets.token_bytes(32))


def prepare(settings: Settings) -> None:
    """Make the data folder, only ours to read, and bring the database to the newest schema."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    migrate(settings.store_url)


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def up(settings: Settings, on_ready: Callable[[RunningNode, Manifest], None]) -> None:
    """Run until SIGTERM or SIGINT, or until a part ends.

    Args:
        settings: of this node.
        on_ready: called once, when the bridge answers.

    Raises:
        UpError: another node runs on this data folder, or a part ended by itself.
        PortTaken: another program has the bridge's port.
        EngineError, DeploymentError: the chain cannot run, or is not the one of the manifest.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(settings.data / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UpError(f"another node is running on {settings.data}: stop it first") from None
    try:
        await _run(settings, stop_on_signals(), on_ready)
    finally:
        (settings.data / "node.json").unlink(missing_ok=True)
        lock.release()


async def _run(
    settings: Settings, stop: asyncio.Event, on_ready: Callable[[RunningNode, Manifest], None]
) -> None:
    bridges = Bridges(settings)
    try:
        prepare(settings)
        seed = await asyncio.to_thread(open_seed, settings)
        store = Store(settings.store_url)
        try:
            await _run_chain(settings, seed, store, bridges, stop, on_ready)
        finally:
            store.close()
    finally:
        await bridges.stop()


async def _run_chain(
    settings: Settings,
    seed: SealedSeed,
    store: Store,
    bridges: Bridges,
    stop: asyncio.Event,
    on_ready: Callable[[RunningNode, Manifest], None],
) -> None:
    engine = open_engine(settings, clock=time.time)
    last_known = await store.read(lambda session: session.scalar(select(func.max(Block.timestamp))))
    await engine.start(not_before=last_known or 0)
    try:
        manifest = await deploy(engine, seed, settings, bridge_url=bridges.url)
        # A crash from here on finds the contracts where, and when, they were deployed.
        await engine.save()
        gc.collect()
        gc.freeze()  # see node.bridge.serve
        sys.setswitchinterval(0.0005)
        bridges.start()
        try:
            await _serve(settings, engine, seed, store, manifest, bridges, stop, on_ready)
        finally:
            await bridges.stop()
    finally:
        await engine.stop()


async def _serve(
    settings: Settings,
    engine: Engine,
    seed: SealedSeed,
    store: Store,
    manifest: Manifest,
    bridges: Bridges,
    stop: asyncio.Event,
    on_ready: Callable[[RunningNode, Manifest], None],
) -> None:
    worker = asyncio.create_task(run_worker(engine, store, seed, manifest, settings, stop))
    stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
    bridge_end = asyncio.create_task(_ended(bridges.alive))
    chain_end = asyncio.create_task(_ended(engine.alive))
    parts: dict[asyncio.Task[Any], str] = {
        worker: "the worker",
        bridge_end: "the bridge",
        chain_end: "the chain",
    }
    try:
        if await bridges.answer():
            node = RunningNode(
                pid=os.getpid(),
                bridge_pids=bridges.pids,
                chain_pid=getattr(engine, "pid", None),
                bridge_url=bridges.url,
                rpc_url=engine.rpc_url,
                chain=engine.name,
            )
            replace_file(settings.data / "node.json", node.model_dump_json().encode())
            on_ready(node, manifest)
        done, _ = await asyncio.wait({stopping, *parts}, return_when=asyncio.FIRST_COMPLETED)
        if stopping not in done:
            part = next(iter(done))
            error = None if part.cancelled() else part.exception()
            raise UpError(
                f"{parts[part]} ended by itself{f': {error}' if error else ''}"
            ) from error
        log.info("stopping")
    finally:
        stop.set()
        for task in (bridge_end, chain_end, stopping):
            task.cancel()
        # The worker finishes its round: what it has signed is stored, what it has not is queued.
        await asyncio.gather(worker, return_exceptions=True)


async def _ended(is_running: Callable[[], bool]) -> None:
    """Return when a part has ended; the parts are processes, so there is nothing to await."""
    while is_running():  # noqa: ASYNC110
        await asyncio.sleep(0.2)


def _is_locked(data: Path) -> bool:
    probe = FileLock(data / "lock")
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return True
    probe.release()
    return False
