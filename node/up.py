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
import socket
import subprocess
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

from node.chain.deployment import Manifest, deploy
from node.chain.engine import Engine, open_engine
from node.chain.files import replace_file
from node.chain.processes import dies_with_us
from node.keys import SealedSeed
from node.settings import Settings
from node.store import Store, migrate
from node.store.models import Block
from node.worker import run_worker

log = structlog.get_logger(__name__)

BRIDGE_STOP_SECONDS = 15


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


def open_seed(settings: Settings) -> SealedSeed:
    """Open the sealed seed of the data folder, or make one with a new passphrase at first start."""
    path = settings.data / "seed.json"
    passphrase_file = settings.passphrase_file or settings.data / "passphrase"
    if not path.exists() and not passphrase_file.exists() and settings.passphrase_file is None:
        # Convenience of one machine: whoever operates for real names a file outside the data
        # folder, so that a copy of the folder is worth nothing.
        settings.data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(passphrase_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    try:
        passphrase = passphrase_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UpError(f"the seed's passphrase cannot be read: {error}") from error
    if path.exists():
        return SealedSeed.open(path, passphrase)
    return SealedSeed.create(path, passphrase, secrets.token_bytes(32))


def prepare(settings: Settings) -> None:
    """Make the data folder, only ours to read, and bring the database to the newest schema."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    migrate(settings.store_url)


async def up(settings: Settings, on_ready: Callable[[RunningNode, Manifest], None]) -> None:
    """Run until SIGTERM or SIGINT, or until a part ends.

    Args:
        settings: of this node.
        on_ready: called once, when the bridge answers.

    Raises:
        UpError: another node runs on this data folder, a port is taken, or a part ended by itself.
        EngineError, DeploymentError: the chain cannot run, or is not the one of the manifest.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(settings.data / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UpError(f"another node is running on {settings.data}: stop it first") from None
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await _run(settings, stop, on_ready)
    finally:
        (settings.data / "node.json").unlink(missing_ok=True)
        lock.release()


async def _run(
    settings: Settings, stop: asyncio.Event, on_ready: Callable[[RunningNode, Manifest], None]
) -> None:
    listeners = _listen(settings.host, settings.port, settings.bridges)
    address: tuple[str, int] = listeners[0].getsockname()
    bridge_url = settings.public_url or f"http://{address[0]}:{address[1]}"
    prepare(settings)
    seed = await asyncio.to_thread(open_seed, settings)
    store = Store(settings.store_url)
    engine = open_engine(settings, clock=time.time)
    last_known = await store.read(lambda session: session.scalar(select(func.max(Block.timestamp))))
    await engine.start(not_before=last_known or 0)
    try:
        manifest = await deploy(engine, seed, settings, bridge_url=bridge_url)
        # A crash from here on finds the contracts where, and when, they were deployed.
        await engine.save()
        gc.collect()
        gc.freeze()  # see node.bridge.serve
        sys.setswitchinterval(0.0005)
        bridges = [
            _start_bridge(settings, listener, number) for number, listener in enumerate(listeners)
        ]
        try:
            await _serve(
                settings,
                engine,
                seed,
                store,
                manifest,
                bridges,
                address,
                bridge_url,
                stop,
                on_ready,
            )
        finally:
            await asyncio.gather(*(_stop_bridge(bridge) for bridge in bridges))
    finally:
        for listener in listeners:
            listener.close()
        await engine.stop()
        store.close()


async def _serve(
    settings: Settings,
    engine: Engine,
    seed: SealedSeed,
    store: Store,
    manifest: Manifest,
    bridges: list[subprocess.Popen[bytes]],
    address: tuple[str, int],
    bridge_url: str,
    stop: asyncio.Event,
    on_ready: Callable[[RunningNode, Manifest], None],
) -> None:
    worker = asyncio.create_task(run_worker(engine, store, seed, manifest, settings, stop))
    stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
    bridge_end = asyncio.create_task(_ended(lambda: _all_run(bridges)))
    chain_end = asyncio.create_task(_ended(engine.alive))
    parts: dict[asyncio.Task[Any], str] = {
        worker: "the worker",
        bridge_end: "the bridge",
        chain_end: "the chain",
    }
    try:
        if await _answers(address, bridges):
            node = RunningNode(
                pid=os.getpid(),
                bridge_pids=[bridge.pid for bridge in bridges],
                chain_pid=getattr(engine, "pid", None),
                bridge_url=bridge_url,
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


def _listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Bind the bridges' port here, so that a taken port is known before anything else starts.

    One socket for each bridge: from a shared one the first to wake would take most connections.
    """
    with socket.socket() as probe:  # the others would share the port with any program of ours
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(probe, host, port)
        port = probe.getsockname()[1]
    listeners = []
    for _ in range(count):
        listener = socket.socket()
        # The first for the next start: connections of this one may linger on the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _bind(listener, host, port)
        listener.set_inheritable(True)
        listeners.append(listener)
    return listeners


def _bind(listener: socket.socket, host: str, port: int) -> None:
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UpError(
            f"port {port} of {host} is in use: end the other program, or choose another port"
            f" (--port): {error.strerror}"
        ) from error


def _start_bridge(
    settings: Settings, listener: socket.socket, number: int
) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        **{
            f"PLAZA_{name.upper()}": str(value)
            for name, value in settings.model_dump().items()
            if value is not None
        },
        "PLAZA_LISTEN_FD": str(listener.fileno()),
        "PLAZA_BRIDGE_NUMBER": str(number),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "node.bridge.serve"],
        env=environment,
        stdin=subprocess.DEVNULL,
        pass_fds=(listener.fileno(),),
        # Ctrl-C in a terminal reaches the whole foreground group; the order of stopping is ours.
        process_group=0,
        preexec_fn=dies_with_us(),  # noqa: PLW1509
    )


async def _stop_bridge(bridge: subprocess.Popen[bytes]) -> None:
    if bridge.poll() is None:
        bridge.terminate()
    try:
        await asyncio.to_thread(bridge.wait, BRIDGE_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        bridge.kill()
        await asyncio.to_thread(bridge.wait)


async def _ended(is_running: Callable[[], bool]) -> None:
    """Return when a part has ended; the parts are processes, so there is nothing to await."""
    while is_running():  # noqa: ASYNC110
        await asyncio.sleep(0.2)


def _all_run(bridges: list[subprocess.Popen[bytes]]) -> bool:
    return all(bridge.poll() is None for bridge in bridges)


async def _answers(address: tuple[str, int], bridges: list[subprocess.Popen[bytes]]) -> bool:
    """Wait until a bridge serves; False when one ended instead."""
    while _all_run(bridges):
        try:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /health/live HTTP/1.0\r\nHost: localhost\r\n\r\n")
            status = await asyncio.wait_for(reader.readline(), timeout=30)
            writer.close()
            if b" 200 " in status:
                return True
        except (OSError, TimeoutError):
            pass
        await asyncio.sleep(0.05)
    return False


def _is_locked(data: Path) -> bool:
    probe = FileLock(data / "lock")
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return True
    probe.release()
    return False
