"""Chain engines: what every one offers, and which one a node runs.

| engine | what it is | state | time |
|---|---|---|---|
| `anvil` | local development chain, a child process | kept in the data folder | can be set |
| `tester` | eth-tester, inside this process | in memory: gone when it stops | can be set |
| `remote` | any JSON-RPC URL, such as a validator network | elsewhere | the network's own |

All have gas price 0 and EVM level Cancun.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from node.chain.rpc import Rpc
from node.settings import Settings

BLOCK_GAS_LIMIT = 500_000_000

# Unix time in seconds; what a wall clock or a simulation answers.
Clock = Callable[[], float]

log = structlog.get_logger(__name__)


class EngineError(Exception):
    """The chain cannot be started or is not the one expected; the message is for people."""


class ChainTimeError(EngineError):
    """The chain's time cannot be set so: it is a real network's, or would go back."""


class Engine(Protocol):
    """A running chain, and who started it."""

    name: str
    chain_id: int
    can_travel: bool

    @property
    def rpc_url(self) -> str:
        """Where other processes (wallet, cast, viem) reach the chain; known once started."""
        ...

    @property
    def rpc(self) -> Rpc:
        """The connection this process uses; usable once started."""
        ...

    async def start(self, not_before: int = 0) -> None:
        """Start the chain, or connect to it, and check that it is the chain expected.

        Args:
            not_before: the latest chain time the caller knows of. A local chain that comes back
                some blocks behind still goes on from this time or later.

        Raises:
            EngineError: it cannot be started or reached, or is another chain.
        """
        ...

    async def stop(self) -> None:
        """Stop what `start` started; nothing to do if it is not running."""
        ...

    def alive(self) -> bool:
        """Whether the chain is there, as far as is known without asking it."""
        ...

    async def now(self) -> int:
        """Return the time the next block would have, in unix seconds."""
        ...

    async def save(self) -> None:
        """Keep the chain as it is now, where this engine keeps one; it also does so by itself."""
        ...

    def mining_held(self) -> AbstractAsyncContextManager[None]:
        """Within it a local chain mines nothing: what is sent waits, and is mined together after.

        A chain of others takes no orders, and this does nothing there.
        """
        ...

    async def forget_unmined(self, sender: str) -> None:
        """Take a sender's transactions out of a local chain's pool, so that they can be sent again.

        A chain of others takes no orders, and this does nothing there.
        """
        ...

    async def set_time(self, timestamp: int) -> None:
        """Give the next block this time; later blocks follow on from it in real time.

        Raises:
            ChainTimeError: the latest block is later already, or the time of this chain is not
                ours to set (`can_travel` is False).
        """
        ...


def open_engine(settings: Settings, clock: Clock) -> Engine:
    """Return the engine the settings name, not yet started.

    "auto" takes anvil if its binary is there, else eth-tester, and the log says which and why.

    Raises:
        EngineError: anvil is asked for and there is no binary, or the name is no engine's.
    """
    # Imported here, when chosen: every engine imports this module, and py-evm takes a second.
    if settings.chain.startswith(("http://", "https://")):
        from node.chain.remote import RemoteEngine  # noqa: PLC0415

        return RemoteEngine(settings.chain, settings.chain_id, clock)
    if settings.chain not in ("auto", "anvil", "tester"):
        raise EngineError(
            f'no chain engine {settings.chain!r}: "auto", "anvil", "tester" or a JSON-RPC URL'
        )
    if settings.chain != "tester":
        from node.chain.anvil import AnvilEngine, find_anvil  # noqa: PLC0415

        binary = find_anvil(settings.anvil)
        if binary is not None:
            return AnvilEngine(
                binary,
                folder=settings.data / "anvil",
                chain_id=settings.chain_id,
                port=settings.rpc_port,
                genesis_time=settings.genesis_time,
                clock=clock,
            )
        if settings.chain == "anvil":
            raise EngineError(
                "no anvil binary: run `make setup`, put anvil on the PATH, or set PLAZA_ANVIL"
            )
        log.warning("no anvil binary found: running on eth-tester, slower and in memory only")
    from node.chain.tester import TesterEngine  # noqa: PLC0415

    return TesterEngine(
        chain_id=settings.chain_id,
        port=settings.rpc_port,
        genesis_time=settings.genesis_time,
        clock=clock,
    )
