"""Processes of the node, started in milliseconds: forked from a parent that has imported it all.

Importing the bridge takes seconds of processor time, and a campaign starts it hundreds of times.
The parent (`python -m scripts.crash.nursery`) imports it once, opens nothing and starts no thread.
Each child has its own environment and log, runs the same `main` as a process started by hand, and
dies with the parent, which dies with the campaign.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import select
import signal
import sys
import traceback
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node.chain.processes import dies_with_us

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """A process of the nursery."""

    def __init__(self, pid: int, parent: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._parent = parent

    def is_running(self) -> bool:
        return not self.exit.done()

    def kill(self) -> None:
        """SIGKILL; nothing if it has ended already.

        By the parent, which alone knows whether the number is still the child's.
        """
        self._parent.write(json.dumps({"kill": self.pid}).encode() + b"\n")

    async def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        return await asyncio.shield(self.exit)


class Nursery:
    """The parent, as the campaign sees it."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._parent: Process | None = None
        self._children: dict[int, Child] = {}
        self._starting: asyncio.Queue[int] = asyncio.Queue()
        self._one = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        with self._log.open("ab") as log:
            self._parent = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "scripts.crash.nursery"),
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                preexec_fn=dies_with_us(),
                process_group=0,  # Ctrl-C is the campaign's to handle
            )
        self._reader = asyncio.create_task(self._read())

    async def start(self, role: str, environment: Mapping[str, str], log: Path) -> Child:
        """Start a process.

        Args:
            role: "bridge", "worker" or "receiver".
            environment: in addition to the campaign's.
        """
        assert self._parent is not None
        assert self._parent.stdin is not None
        order = {"role": role, "environment": dict(environment), "log": str(log)}
        async with self._one:
            self._parent.stdin.write(json.dumps(order).encode() + b"\n")
            pid = await self._starting.get()
        if pid == 0:
            raise RuntimeError(f"the nursery ended: see {self._log}")
        return self._children[pid]

    async def close(self) -> None:
        """End the parent, and all children with it."""
        if self._parent is not None and self._parent.returncode is None:
            self._parent.kill()
            await self._parent.wait()
        if self._reader is not None:
            await self._reader

    async def _read(self) -> None:
        assert self._parent is not None
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        async for line in self._parent.stdout:
            news = json.loads(line)
            if "exit" in news:
                self._children.pop(news["pid"]).exit.set_result(news["exit"])
            else:
                self._children[news["pid"]] = Child(news["pid"], self._parent.stdin)
                self._starting.put_nowait(news["pid"])
        self._starting.put_nowait(0)
        for child in self._children.values():
            child.exit.set_result(-signal.SIGKILL)


# ---------------------------------------------------------------------------------- the parent


def main() -> None:
    # What a bridge imports when it starts to serve is imported here as well.
    import uvicorn.lifespan.on  # noqa: PLC0415
    import uvicorn.protocols.http.httptools_impl  # noqa: F401, PLC0415
    import uvloop  # noqa: F401, PLC0415

    from scripts.crash import roles  # noqa: PLC0415

    gc.collect()
    gc.freeze()
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    orders = b""
    living: set[int] = set()
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        _reap(living)
        if 0 in ready:
            part = os.read(0, 65536)
            if not part:
                return
            *lines, orders = (orders + part).split(b"\n")
            for order in map(json.loads, lines):
                if "kill" not in order:
                    living.add(_bear(order, roles.MAINS, (wake, woken)))
                elif order["kill"] in living:  # running, or not reaped yet
                    os.kill(order["kill"], signal.SIGKILL)


def _reap(living: set[int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        living.discard(pid)
        _tell({"pid": pid, "exit": os.waitstatus_to_exitcode(status)})


def _bear(order: dict[str, Any], mains: Mapping[str, Any], pipe: tuple[int, int]) -> int:
    """Fork a child that runs its role; returns, in the parent alone, its number."""
    before = dies_with_us()
    pid = os.fork()
    if pid:
        _tell({"pid": pid})
        return pid
    code = 1
    try:
        if before is not None:
            before()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in pipe:
            os.close(descriptor)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.update(order["environment"])
        mains[order["role"]]()
        code = 0
    except BaseException:  # whatever it is, a child must never go on as a parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _tell(news: dict[str, int]) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")


if __name__ == "__main__":
    main()
