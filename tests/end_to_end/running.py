"""A whole node for tests: `plaza up` as a process of its own, on free ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PLAZA = str(Path(sys.executable).with_name("plaza"))
START_SECONDS = 120
STOP_SECONDS = 60


class RunningPlaza:
    """`plaza up` on a data folder. Started again, it goes on where it was.

    Args:
        data: its folder.
        chain: "tester" or "anvil".
        genesis_time: unix time of block 0 of a new chain; None for the wall clock's.
        port: of the bridge; 0 for any.
    """

    def __init__(
        self, data: Path, chain: str, genesis_time: int | None = None, port: int = 0
    ) -> None:
        self.data = data
        self.chain = chain
        self._genesis_time = genesis_time
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [PLAZA, "up", "--data", str(self.data), "--chain", self.chain]
        arguments += ["--port", str(self._port), "--rpc-port", "0", "--log-level", "warning"]
        if self._genesis_time is not None:
            arguments += ["--genesis-time", str(self._genesis_time)]
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "node.json").unlink(missing_ok=True)
        with (self.data / "up.log").open("ab") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while not (self.data / "node.json").exists():
            if self._process.poll() is not None or time.monotonic() > end:
                self._process.kill()
                raise RuntimeError(f"plaza up did not start: {self._words()}")
            time.sleep(0.05)
        self._port = int(self.bridge_url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """As a power cut would: no chance to save anything, chain and bridge included."""
        node = self._node()
        for pid in (node["pid"], *node["bridge_pids"], node["chain_pid"]):
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def stop(self) -> None:
        """As Ctrl-C would."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        code = self._process.wait(STOP_SECONDS)
        assert code == 0, f"plaza up ended with {code}: {self._words()}"

    @property
    def bridge_url(self) -> str:
        url: str = self._node()["bridge_url"]
        return url

    def api_key(self, merchant: str) -> str:
        """A key of a merchant, which is made when it is new."""
        made = subprocess.run(
            [PLAZA, "api-key", "create", "--data", str(self.data), "--merchant", merchant],
            check=True,
            capture_output=True,
            text=True,
        )
        return made.stdout.strip()

    def _node(self) -> Any:
        return json.loads((self.data / "node.json").read_bytes())

    def _words(self) -> str:
        return (self.data / "up.log").read_text(encoding="utf-8", errors="replace")[-2000:]


@contextmanager
def running_plaza(
    data: Path, chain: str, genesis_time: int | None = None
) -> Iterator[RunningPlaza]:
    plaza = RunningPlaza(data, chain, genesis_time)
    plaza.start()
    try:
        yield plaza
    finally:
        plaza.stop()
