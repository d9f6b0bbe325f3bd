"""The anvil engine: a local development chain as a child process, its state in the data folder.

**State.** anvil can write its own state file (`--state`), but in place: a `kill -9` during that
write leaves an empty file and no other. So the node asks for the state (`anvil_dumpState`) whenever
blocks have advanced and replaces the file atomically. A dump costs more as the chain grows (about
0.3 s at 5,000 transactions, 2 s at 20,000), so the pause between two grows with it, and dumping
takes at most a twentieth of the time. After a crash the chain is as of the last snapshot.

**Life.** On Linux the child asks the kernel to be killed when the thread that started it dies
(PR_SET_PDEATHSIG), so even a `kill -9` of the node leaves no anvil behind. Start it from the
thread that lives as long as the node: the main thread. Elsewhere an anvil that outlived its node is
known by its pid file, and ended at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import structlog
from filelock import FileLock, Timeout

from node.chain.engine import BLOCK_GAS_LIMIT, ChainTimeError, Clock, EngineError
from node.chain.files import replace_file
from node.chain.processes import dies_with_us
from node.chain.rpc import HttpRpc, RpcError, RpcUnavailable

HOST = "127.0.0.1"
START_SECONDS = 120
DUMP_SECONDS = 300
STOP_SECONDS = 10
SNAPSHOT_SECONDS = 2.0
# Pause between snapshots, in durations of one snapshot: 19 pauses to one dump is 5 % of the time.
SNAPSHOT_PAUSES = 19
# States of this many blocks stay readable for calls "at block n". Without a limit anvil keeps 500
# in memory and writes the rest, over 1 GB in an afternoon, below the user's home.
KEPT_STATES = 256

log = structlog.get_logger(__name__)


def find_anvil(configured: Path | None = None) -> Path | None:
    """Return the anvil binary: the configured one, the npm package's, or one on the PATH.

    Raises:
        EngineError: one is configured, and it is not there.
    """
    if configured is not None:
        if not configured.is_file():
            raise EngineError(f"no anvil at {configured}, where the settings (PLAZA_ANVIL) name it")
        return _native(configured)
    package = Path(__file__).resolve().parents[2] / "node_modules" / ".bin" / "anvil"
    local = Path.cwd() / "node_modules" / ".bin" / "anvil"
    for candidate in (package, local, shutil.which("anvil")):
        if candidate is not None and Path(candidate).is_file():
            return _native(Path(candidate))
    return None


def _native(path: Path) -> Path:
    """The npm package's command is a script that starts the binary as a child of its own, which
    would outlive a killed script: take the binary beside it."""
    path = path.resolve()
    if path.suffix != ".mjs":
        return path
    binaries = sorted(path.parent.parent.glob("anvil-*/bin/anvil*"))
    return binaries[0] if binaries else path


class AnvilEngine:
    """anvil on this machine.

    Args:
        binary: the anvil program, as `find_anvil` gives it.
        folder: where the chain's state, its log and its pid stand.
        chain_id: EIP-155 chain id.
        port: TCP port of its JSON-RPC on 127.0.0.1; 0 takes any free one.
        genesis_time: unix time of block 0 of a new chain, which then runs in its own time; None
            for the wall clock's.
        clock: wall clock, unix seconds.
    """

    name = "anvil"
    can_travel = True

    def __init__(
        self,
        binary: Path,
        *,
        folder: Path,
        chain_id: int,
        port: int,
        genesis_time: int | None,
        clock: Clock,
    ) -> None:
        self.chain_id = chain_id
        self._binary = binary
        self._folder = folder
        self._state = folder / "state.json.gz"
        self._port = port
        self._genesis_time = genesis_time
        self._clock = clock
        self._lock = FileLock(folder / "lock")
        self._process: subprocess.Popen[bytes] | None = None
        self._rpc: HttpRpc | None = None
        self._dumping_rpc: HttpRpc | None = None
        self._birth: dict[str, Any] = {}
        self._saved_block = -1
        self._saving = asyncio.Lock()
        self._mining = asyncio.Lock()  # whoever holds mining
        self._snapshots: asyncio.Task[None] | None = None

    @property
    def rpc_url(self) -> str:
        return f"http://{HOST}:{self._port}"

    @property
    def rpc(self) -> HttpRpc:
        if self._rpc is None:
            raise EngineError("anvil is not started")
        return self._rpc

    @property
    def pid(self) -> int | None:
        """Process id of the running anvil."""
        return self._process.pid if self._process is not None else None

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self, not_before: int = 0) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise EngineError(
                f"another node is running the chain in {self._folder}: stop it first"
            ) from None
        try:
            await self._start(not_before)
        except BaseException:
            await self._end()
            raise

    async def stop(self) -> None:
        if self.alive():
            try:
                await self._empty_pool()
                await self.save()
            except (RpcError, RpcUnavailable, OSError) as error:
                log.error("the chain's last blocks are not saved", reason=str(error))
        await self._end()

    async def now(self) -> int:
        return await self._block_time("pending")

    async def set_time(self, timestamp: int) -> None:
        latest = await self._block_time("latest")
        if timestamp < latest:
            raise ChainTimeError(f"the latest block is of {latest}, later than {timestamp}")
        if not self._birth["own_time"]:
            self._birth["own_time"] = True
            self._write_birth()
        # A chain that came back some blocks behind started at a later time (`not_before`), below
        # which anvil refuses a block; its clock goes back first.
        await self.rpc.call("evm_setTime", timestamp)
        await self.rpc.call("evm_setNextBlockTimestamp", timestamp)

    @asynccontextmanager
    async def mining_held(self) -> AsyncIterator[None]:
        # Senders of many transactions want this for more than tidiness. anvil reads the sender's
        # nonce, then adds the transaction to its pool, and mines beside both: a transaction whose
        # predecessor is mined between the two waits for that predecessor for ever.
        async with self._mining:
            await self.rpc.call("evm_setAutomine", False)
            try:
                yield
            finally:
                await self.rpc.call("evm_setAutomine", True)

    async def forget_unmined(self, sender: str) -> None:
        await self.rpc.call("anvil_removePoolTransactions", sender)

    async def save(self) -> None:
        """Save the chain as it is now, unless no block came since it was last saved.

        Raises:
            RpcError, RpcUnavailable: anvil did not give its state.
            OSError: the state could not be written.
        """
        async with self._saving:
            if await self._block_number() == self._saved_block:
                return
            number, state = await self._dump()
            await asyncio.to_thread(replace_file, self._state, state)
            self._saved_block = number

    async def _start(self, not_before: int) -> None:
        self._end_orphan()
        self._read_birth()
        start_time, loaded = await asyncio.to_thread(self._prepare_state, not_before)
        self._port = _free_port(self._port)
        arguments = [
            str(self._binary),
            *("--host", HOST, "--port", str(self._port), "--chain-id", str(self.chain_id)),
            # Without the third, wallets are told to offer 1 gwei, which no member has.
            *("--base-fee", "0", "--gas-price", "0", "--disable-min-priority-fee"),
            *("--hardfork", "cancun", "--no-cors"),
            *("--gas-limit", str(BLOCK_GAS_LIMIT), "--accounts", "0"),
            *("--prune-history", str(KEPT_STATES), "--timestamp", str(start_time), "--quiet"),
            *(("--load-state", str(loaded)) if loaded else ()),
        ]
        with (self._folder / "anvil.log").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220 (starting takes milliseconds)
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in a terminal reaches the whole foreground group, and would end the chain
                # before its last blocks are saved.
                process_group=0,
                preexec_fn=dies_with_us(),  # noqa: PLW1509
            )
        identity = f"{self._process.pid} {_started_at(self._process.pid)}"
        (self._folder / "anvil.pid").write_text(identity, encoding="utf-8")
        self._rpc = HttpRpc(self.rpc_url)
        self._dumping_rpc = HttpRpc(self.rpc_url, timeout_seconds=DUMP_SECONDS)
        await self._wait_until_ready()
        if loaded:
            loaded.unlink()
            self._saved_block = await self._block_number()
        else:
            resume = max(not_before, self._wall_time())
            if resume > start_time:  # a chain that died before it was first saved
                await self.rpc.call("evm_setNextBlockTimestamp", resume)
        self._snapshots = asyncio.create_task(self._keep_saving())
        log.info("anvil started", url=self.rpc_url, block=await self._block_number())

    def _read_birth(self) -> None:
        """What the chain was born with: it makes the genesis block the same when the chain starts
        anew before its first snapshot."""
        path = self._folder / "chain.json"
        if not path.exists():
            if self._state.exists():
                raise EngineError(f"{self._state} is there, but {path} is not: which chain is it?")
            own_time = self._genesis_time is not None
            genesis_time = self._genesis_time if own_time else int(self._clock())
            self._birth = {
                "chain_id": self.chain_id,
                "genesis_time": genesis_time,
                "own_time": own_time,
            }
            self._write_birth()
        try:
            self._birth = orjson.loads(path.read_bytes())
            chain_id = self._birth["chain_id"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EngineError(f"{path} cannot be read: {error}") from error
        if chain_id != self.chain_id:
            raise EngineError(f"the chain in {self._folder} has id {chain_id}, not {self.chain_id}")

    def _write_birth(self) -> None:
        replace_file(self._folder / "chain.json", orjson.dumps(self._birth))

    def _prepare_state(self, not_before: int) -> tuple[int, Path | None]:
        """Return the time to start at, and the state unpacked for anvil if there is any.

        anvil takes its time from its arguments even when it loads a state, and would set blocks
        before the loaded ones.
        """
        if not self._state.exists():
            return self._birth["genesis_time"], None
        try:
            state = orjson.loads(gzip.decompress(self._state.read_bytes()))
            latest = int(state["block"]["timestamp"], 16)
            state["blocks"] = [block for block in state["blocks"] if self._is_ours(block)]
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise EngineError(f"the chain's state {self._state} cannot be read: {error}") from error
        unpacked = self._folder / "state.loading.json"
        unpacked.write_bytes(orjson.dumps(state))
        return max(latest, not_before, self._wall_time()), unpacked

    def _is_ours(self, block: dict[str, Any]) -> bool:
        """anvil makes a block 0 at every start, keeps it beside the loaded one, and dumps both: at
        a later start either might become the genesis."""
        header = block["header"]
        is_genesis = int(header["timestamp"], 16) == self._birth["genesis_time"]
        return is_genesis or int(header["number"], 16) > 0

    def _wall_time(self) -> int:
        """The least time of the next block by the wall clock. A chain in its own time has none: it
        goes on where it was, so that a pause of the node does not pass on the chain."""
        return 0 if self._birth["own_time"] else int(self._clock())

    async def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if not self.alive():
                raise EngineError(f"anvil did not start: {self._last_words()}")
            # A connection refused is the normal answer while it loads.
            with contextlib.suppress(RpcUnavailable):
                chain_id = int(await self.rpc.call("eth_chainId"), 16)
                if chain_id != self.chain_id:
                    raise EngineError(f"{self.rpc_url} is chain {chain_id}, not {self.chain_id}")
                return
            if time.monotonic() > deadline:
                raise EngineError(
                    f"anvil did not answer in {START_SECONDS} s: {self._last_words()}"
                )
            await asyncio.sleep(0.05)

    def _last_words(self) -> str:
        text = (self._folder / "anvil.log").read_text(encoding="utf-8", errors="replace").strip()
        return text[-500:] or "it said nothing"

    async def _keep_saving(self) -> None:
        pause = SNAPSHOT_SECONDS
        while self.alive():
            await asyncio.sleep(pause)
            started = time.monotonic()
            try:
                await self.save()
            except Exception:
                # Whatever it is, the next attempt may succeed; ending here would be silent.
                log.exception("the chain's state is not saved")
            pause = max(SNAPSHOT_SECONDS, SNAPSHOT_PAUSES * (time.monotonic() - started))

    async def _dump(self) -> tuple[int, bytes]:
        """Return the block number and state of one moment.

        anvil collects its blocks and its accounts one after the other, so a block mined between
        the two would be in only one of them. Mining is held while it does; what is sent meanwhile
        waits in the pool and is mined right after.
        """
        assert self._dumping_rpc is not None
        async with self.mining_held():
            while True:
                before = await self._block_number()
                state = await self._dumping_rpc.call("anvil_dumpState")
                if await self._block_number() == before:
                    return before, await asyncio.to_thread(bytes.fromhex, state[2:])

    async def _empty_pool(self) -> None:
        """Wait until what was accepted is mined, since a pool is not part of the state. One that
        waits for an earlier nonce is not waited for, nor a sender who never stops."""
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            pool = await self.rpc.call("txpool_status")
            if int(pool["pending"], 16) == 0:
                return
            await asyncio.sleep(0.02)

    async def _block_number(self) -> int:
        return int(await self.rpc.call("eth_blockNumber"), 16)

    async def _block_time(self, block: str) -> int:
        answer = await self.rpc.call("eth_getBlockByNumber", block, False)
        return int(answer["timestamp"], 16)

    async def _end(self) -> None:
        if self._snapshots is not None:
            self._snapshots.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._snapshots
            self._snapshots = None
        for rpc in (self._rpc, self._dumping_rpc):
            if rpc is not None:
                await rpc.close()
        self._rpc = self._dumping_rpc = None
        if self._process is not None:
            await asyncio.to_thread(_end_child, self._process)
            self._process = None
            (self._folder / "anvil.pid").unlink(missing_ok=True)
        self._lock.release()

    def _end_orphan(self) -> None:
        """End an anvil of an earlier node that died without it. We hold the folder's lock, so no
        node is using it; process id and start time together say that it is that very process."""
        path = self._folder / "anvil.pid"
        try:
            pid, started_at = path.read_text(encoding="utf-8").split(" ", 1)
        except FileNotFoundError:
            return
        if started_at and _started_at(int(pid)) == started_at:
            log.warning("ending an anvil left by an earlier run", pid=int(pid))
            os.kill(int(pid), signal.SIGKILL)
            deadline = time.monotonic() + STOP_SECONDS
            while _started_at(int(pid)) == started_at and time.monotonic() < deadline:
                time.sleep(0.02)
        path.unlink()


def _end_child(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port(port: int) -> int:
    """Return the port, or a free one for 0.

    Raises:
        EngineError: another program listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise EngineError(
                f"port {port} of {HOST} is in use by another program: end it, or choose another"
                f" port (PLAZA_RPC_PORT): {error.strerror}"
            ) from error
        return int(probe.getsockname()[1])


def _started_at(pid: int) -> str:
    """When a process started, in the kernel's or `ps`'s words; "" if there is none."""
    if sys.platform != "linux":
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    state, start_ticks = fields[0], fields[19]
    return "" if state == "Z" else start_ticks
