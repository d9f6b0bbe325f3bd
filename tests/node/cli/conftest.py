"""A chain for commands to reach over HTTP, with the contracts on it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.chain.deployment import Manifest, deploy
from node.chain.engine import Engine, open_engine
from tests.node.chain.support import seed, settings_in


class Served:
    """An eth-tester chain in a thread of its own, so that it answers while a command runs."""

    def __init__(self, folder: Path) -> None:
        self.data = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        settings = settings_in(folder, chain="tester")
        self.engine: Engine = open_engine(settings, time.time)
        self.run(self.engine.start)
        self.manifest: Manifest = self.run(
            lambda: deploy(self.engine, seed, settings, bridge_url="http://127.0.0.1:8400")
        )

    def run(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(60)

    def stop(self) -> None:
        self.run(self.engine.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.stop()
