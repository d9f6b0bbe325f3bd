"""The real bridge behind real HTTP, for tests that ask it as a stranger would.

Chain, worker and server run on a loop of their own in a thread, so that what asks may be blocking.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn

from node.bridge.api_keys import MerchantKey, create_merchant_key
from node.bridge.app import create_app
from node.worker import run_worker
from tests.node.platform import Platform, open_platform

START_SECONDS = 120
Result = TypeVar("Result")


class Served:
    """A running platform.

    Attributes:
        url: of the bridge, on this machine.
        document: its OpenAPI document, as it is served.
        shop: a key with all scopes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._error: BaseException | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.url = ""
        self.platform: Platform

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(START_SECONDS), "the platform did not start"
        if self._error is not None:
            raise self._error
        self.document: dict[str, Any] = httpx.get(f"{self.url}/openapi.json", timeout=60).json()
        self.shop = self.new_key("Demo shop")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_SECONDS)
        if self._error is not None:
            raise self._error

    def new_key(self, merchant: str) -> MerchantKey:
        """A key with all scopes, of this merchant."""
        platform = self.platform
        return platform.store.write_now(
            lambda session: create_merchant_key(
                session, platform.settings, merchant=merchant, name="test"
            )
        )

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """On the platform's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    def travel(self, seconds: int) -> None:
        engine = self.platform.engine

        async def move() -> None:
            await engine.set_time(await engine.now() + seconds)

        self.run(move())

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # told to whoever waits
            self._error = error
        finally:
            self._up.set()
            self._loop.close()

    async def _serve(self) -> None:
        async with open_platform(self._folder, "auto") as platform:
            self.platform = platform
            parts = (platform.engine, platform.store, platform.seed, platform.manifest)
            app = create_app(
                platform.settings, platform.store, platform.manifest, platform.seed,
                platform.engine.rpc,
            )  # fmt: skip
            config = uvicorn.Config(
                app, host="127.0.0.1", port=0, log_config=None, access_log=False, http="httptools"
            )
            server = uvicorn.Server(config)
            worker = asyncio.create_task(
                run_worker(*parts, platform.settings, self._stop), name="worker"
            )
            serving = asyncio.create_task(server._serve(), name="server")
            while not server.started:
                await asyncio.sleep(0.01)
                if serving.done():
                    serving.result()
            port = server.servers[0].sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            self._up.set()
            await self._stop.wait()
            app.state.context.waiters.stop()
            app.state.context.feed.stop()
            server.should_exit = True
            await serving
            await worker


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    running = Served(folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()
