"""Everything a campaign kills: a chain, a database, bridges, a worker, a receiver, each alone.

The chain is anvil, started by the campaign itself as `plaza up` starts it, with its snapshots: one
that is killed comes back some blocks behind. All others are processes of the nursery.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.bridge.api_keys import create_merchant_key
from node.chain.anvil import AnvilEngine, find_anvil
from node.chain.deployment import Manifest, deploy
from node.chain.files import replace_file
from node.keys import SealedSeed
from node.settings import Settings
from node.store import Store, migrate
from node.store.models import Block, Operation, OperationStatus, WorkerStatus
from scripts.crash.nursery import Child, Nursery
from scripts.crash.proxy import Faults, Proxy
from scripts.crash.record import Broken

YEAR = 365 * 86_400
# Operations with a signature that the node makes for managed accounts, valid for some days.
RUNNING_OUT = ("transfer.send", "purchase.refund", "purchase.dispute")
JUMP_SECONDS = 31 * 86_400  # past the end of every dispute that is open
READY_SECONDS = 60


class Victim:
    """A process of the stage that can be killed and started again.

    Attributes:
        armed: the failpoint its running process dies at, or None.
    """

    def __init__(
        self, nursery: Nursery, role: str, name: str, environment: dict[str, str], log: Path
    ) -> None:
        self.role = role
        self.name = name
        self._nursery = nursery
        self._environment = environment
        self._log = log
        self._child: Child | None = None
        self._killed_by_us = False
        self.armed: str | None = None
        self.starts = 0

    async def start(self, failpoint: str | None = None) -> None:
        """Start it; it must not run.

        Args:
            failpoint: "step:count", where it dies by itself.
        """
        environment = dict(self._environment)
        if failpoint is not None:
            environment["PLAZA_FAILPOINT"] = failpoint
        self.armed = failpoint
        self._killed_by_us = False
        self._child = await self._nursery.start(self.role, environment, self._log)
        self.starts += 1

    def kill(self) -> bool:
        """SIGKILL from outside; return whether it ran."""
        if self._child is None or not self._child.is_running():
            return False
        self._killed_by_us = True
        self._child.kill()
        return True

    async def keep(self) -> None:
        """Start it, unharmed, if it has ended or is about to."""
        assert self._child is not None
        if self._killed_by_us:
            await self._child.wait()
        if not self._child.is_running():
            await self.wait()
            await self.start()

    async def wait(self) -> bool:
        """Wait for its end; return whether it died at its failpoint, and not by us.

        Raises:
            Broken: it ended by itself.
        """
        assert self._child is not None
        code = await self._child.wait()
        if code != -signal.SIGKILL:
            words = self._log.read_text(encoding="utf-8", errors="replace")[-1500:]
            raise Broken("different", f"{self.name} ended by itself with {code}: {words}")
        if not self._killed_by_us and self.armed is None:
            raise Broken("different", f"{self.name} was killed by somebody else")
        return not self._killed_by_us


class Stage:
    """One node in parts, on a new data folder.

    Args:
        folder: for its data, logs and records.
        database_url: of an empty database; None: SQLite in the folder.
        bridges: how many bridge processes.
        faults: what happens between node and chain; None: nothing.
        sabotage: a way to break the node first (scripts/crash/sabotage.py).
    """

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str | None,
        bridges: int,
        faults: Faults | None,
        chance: random.Random,
        sabotage: str | None,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self._sabotage = sabotage
        ports = _free_ports(bridges + 1)
        self.bridge_urls = [f"http://127.0.0.1:{port}" for port in ports[:-1]]
        self._receiver_port = ports[-1]
        self.receiver_url = f"http://127.0.0.1:{ports[-1]}/hook"
        self.settings = Settings(
            data=self.data,
            database_url=database_url,
            rpc_port=0,
            membership_seconds=90 * YEAR,
            authorize_within=50 * YEAR,
            reclaim_after=60 * YEAR,
            default_dispute_window=0,
            webhook_networks="127.0.0.0/8",
            webhook_timeout=5.0,
            reconcile_seconds=0,
            log_level="warning",
        )
        self._nursery = Nursery(folder / "nursery.log")
        self._faults = faults
        self._chance = chance
        self.proxy: Proxy | None = None
        self._chain_lock = asyncio.Lock()
        self.chain_kills = 0

    async def open(self) -> None:
        """Make database, chain and contracts; no process of the node runs yet."""
        opening = asyncio.create_task(self._nursery.open())
        await asyncio.to_thread(migrate, self.settings.store_url)
        passphrase = secrets.token_urlsafe(16)
        (self.data / "passphrase").write_text(passphrase + "\n", encoding="utf-8")
        seed = SealedSeed.create(
            self.data / "seed.json", passphrase, secrets.token_bytes(32), scrypt_n=2
        )
        binary = find_anvil()
        if binary is None:
            raise SystemExit("crash campaign: no anvil binary here: run `make setup`")
        self.engine = AnvilEngine(
            binary,
            folder=self.data / "anvil",
            chain_id=self.settings.chain_id,
            port=0,
            genesis_time=None,
            clock=time.time,
        )
        await self.engine.start()
        await deploy(self.engine, seed, self.settings, bridge_url=self.bridge_urls[0])
        await self.engine.save()
        if self._faults is not None:
            self.proxy = Proxy(self.engine.rpc_url, self._faults, self._chance)
            await self.proxy.start()
            # What the node knows of the chain's address, it knows from its manifest.
            path = self.settings.manifest_path
            text = path.read_text(encoding="utf-8")
            replace_file(path, text.replace(self.engine.rpc_url, self.proxy.url).encode())
        self.manifest = Manifest.load(self.settings.manifest_path)
        self.store = Store(self.settings.store_url)
        key = self.store.write_now(
            lambda session: create_merchant_key(
                session, self.settings, merchant="Crash shop", name="campaign"
            )
        )
        self.api_key = key.secret
        await opening
        self.bridges = [
            self._victim("bridge", f"bridge-{number}", url)
            for number, url in enumerate(self.bridge_urls)
        ]
        self.worker = self._victim("worker", "worker", None)

    def add_receiver(self, secret: str) -> Victim:
        """The receiver of webhooks, which needs the secret of the endpoint."""
        environment = {
            "CRASH_SECRET": secret,
            "CRASH_PORT": str(self._receiver_port),
            "CRASH_INBOX": str(self.inbox),
        }
        log = self.folder / "receiver.log"
        self.receiver = Victim(self._nursery, "receiver", "receiver", environment, log)
        return self.receiver

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox.db"

    async def kill_chain(self) -> None:
        """SIGKILL anvil, and start it again from its last snapshot."""
        async with self._chain_lock:
            pid = self.engine.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            self.chain_kills += 1
            await self.engine.stop()
            newest = await self.store.read(
                lambda session: session.scalar(select(func.max(Block.timestamp)))
            )
            await self.engine.start(not_before=newest or 0)

    async def jump(self, seconds: float) -> bool:
        """Move the chain's time past the end of every open dispute, and keep the chain as it is
        then: nothing of before comes back after. Returns when the node knows the time.

        Args:
            seconds: to wait for what would run out by it, and for lost blocks to be made up for;
                nobody asks for more of it meanwhile. False if that does not end in time.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            async with self._chain_lock:
                if await self._nothing_runs_out():
                    await self._jump()
                    return True
            await asyncio.sleep(0.1)
        return False

    async def _jump(self) -> None:
        then = await self.engine.now() + JUMP_SECONDS
        await self.engine.set_time(then)
        await self.engine.rpc.call("evm_mine")
        await self.engine.save()
        # The bridges go by the worker's word, and sign what is valid for some days only.
        while await self.store.read(_chain_time) < then:  # noqa: ASYNC110 (of another process)
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)

    async def _nothing_runs_out(self) -> bool:
        """Whether all that is valid for some days is in blocks, and these are the chain's."""
        newest, open_ = await self.store.read(_find_running_out)
        block = await self.engine.rpc.call("eth_getBlockByNumber", hex(newest.number), False)
        return not open_ and block is not None and block["hash"] == newest.hash

    async def close(self) -> None:
        await self._nursery.close()
        if self.proxy is not None:
            await self.proxy.stop()
        await self.engine.stop()
        self.store.close()

    def _victim(self, role: str, name: str, url: str | None) -> Victim:
        environment = {
            f"PLAZA_{field.upper()}": str(value)
            for field, value in self.settings.model_dump().items()
            if value is not None
        }
        if url is not None:
            environment["PLAZA_PORT"] = url.rpartition(":")[2]
        if self._sabotage is not None:
            environment["CRASH_SABOTAGE"] = self._sabotage
        return Victim(self._nursery, role, name, environment, self.folder / f"{name}.log")


def _find_running_out(session: Session) -> tuple[Row[tuple[int, str]], int]:
    newest = session.execute(
        select(Block.number, Block.hash).order_by(Block.number.desc()).limit(1)
    ).one()
    open_ = session.scalar(
        select(func.count()).where(
            Operation.status.in_((OperationStatus.QUEUED, OperationStatus.SUBMITTED)),
            Operation.kind.in_(RUNNING_OUT),
        )
    )
    return newest, open_ or 0


def _chain_time(session: Session) -> int:
    return session.scalar(select(WorkerStatus.chain_time)) or 0


def _free_ports(count: int) -> Sequence[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
