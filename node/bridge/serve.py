"""The bridge as a process of its own: `python -m node.bridge.serve`, settings from PLAZA_*.

Listens on the socket inherited as PLAZA_LISTEN_FD, else on the host and port of the settings.
PLAZA_BRIDGE_NUMBER tells it from other bridges of the same node, in the metrics.
SIGTERM and SIGINT end it: requests under way are answered, those that wait for the chain at once,
and streams of events end.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import structlog
import uvicorn

from node.bridge.app import create_app
from node.bridge.context import Context
from node.chain.deployment import Manifest
from node.chain.rpc import HttpRpc
from node.keys import SealedSeed
from node.settings import Settings
from node.store import Store

_STOP_SECONDS = 10


class _Server(uvicorn.Server):
    """Stops on a signal and returns; uvicorn's own would then raise the signal again."""

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self._context = context

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True
        self._context.waiters.stop()
        self._context.feed.stop()


async def serve(settings: Settings, seed: SealedSeed, sockets: list[socket.socket] | None) -> None:
    """Serve until a signal ends it. The database is migrated and the manifest written already."""
    store = Store(settings.store_url)
    manifest = Manifest.load(settings.manifest_path)
    rpc = HttpRpc(manifest.rpc_url)
    try:
        number = int(os.environ.get("PLAZA_BRIDGE_NUMBER", "0"))
        app = create_app(settings, store, manifest, seed, rpc, number=number)
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            log_config=None,  # ours is structlog, and the access log is the middleware's
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=65,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        await _Server(config, app.state.context).serve(sockets=sockets)
    finally:
        await rpc.close()
        store.close()


def main() -> None:
    settings = Settings()  # type: ignore[call-arg]  # every field has a default
    configure_logging(settings.log_level)
    inherited = os.environ.get("PLAZA_LISTEN_FD")
    sockets = None if inherited is None else [socket.socket(fileno=int(inherited))]
    passphrase = settings.passphrase_file or settings.data / "passphrase"
    seed = SealedSeed.open(
        settings.data / "seed.json", passphrase.read_text(encoding="utf-8").strip()
    )
    # What is loaded by now stays; looking through it again and again for garbage costs a tenth.
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(0.0005)
    uvicorn_loop = uvicorn.Config("", loop="uvloop").get_loop_factory()
    with asyncio.Runner(loop_factory=uvicorn_loop) as runner:
        runner.run(serve(settings, seed, sockets))


def configure_logging(level: str) -> None:
    """Lines of JSON on stderr, encoded by orjson: one is written for every request."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    main()
