"""What a request handler works with: made once by `create_app`, held by the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from node.bridge.auth import KeyRing
from node.bridge.clock import ChainClock
from node.bridge.metrics import HttpMetrics, MetricsGuard
from node.bridge.stream import Feed
from node.bridge.waiting import Waiters
from node.bridge.writer import GroupWriter
from node.chain.codec import ContractCodec
from node.chain.deployment import Manifest
from node.chain.rpc import Rpc
from node.keys import SealedSeed
from node.settings import Settings
from node.store import Store
from node.store.ids import Ids
from node.webhooks.addresses import Lookup


@dataclass(frozen=True)
class Context:
    """The parts of the node a handler may use, and its sources of time and randomness."""

    settings: Settings
    store: Store  # to read from
    writer: GroupWriter
    manifest: Manifest
    seed: SealedSeed  # for the signatures of managed accounts
    rpc: Rpc
    ids: Ids
    wall_milliseconds: Callable[[], int]  # UTC unix time
    new_secret: Callable[[], str]
    random_bytes: Callable[[int], bytes]
    look_up: Lookup  # addresses of a host, for webhooks
    clock: ChainClock
    waiters: Waiters
    feed: Feed
    key_ring: KeyRing
    metrics: HttpMetrics
    metrics_guard: MetricsGuard
    coin: ContractCodec
    escrow: ContractCodec
    book: ContractCodec
    pool: ContractCodec

    def wall_now(self) -> int:
        """UTC unix seconds, for `created_at` and its like; deadlines are the chain clock's."""
        return self.wall_milliseconds() // 1000

    @property
    def coin_address(self) -> str:
        return self.manifest.contracts["PlatformCoin"].address

    @property
    def escrow_address(self) -> str:
        return self.manifest.contracts["PurchaseEscrow"].address

    @property
    def book_address(self) -> str:
        return self.manifest.contracts["CreditBook"].address

    @property
    def pool_address(self) -> str:
        return self.manifest.contracts["LenderPool"].address


def context_of(request: Request) -> Context:
    return cast(Context, request.app.state.context)


async def _context(request: Request) -> Context:
    return context_of(request)


Ctx = Annotated[Context, Depends(_context)]
