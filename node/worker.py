"""The worker: outbox, indexer, deadlines and webhooks as loops that never stop silently, and one
that compares the books with the chain.

Every error of a loop is logged, waited out with growing pauses, and shown in the worker's row,
which is refreshed several times a second while it lives. Two things end it: being told to, and a
chain that is not ours or went back beyond what can be taken back.

Several workers may run on one database. One leads: it indexes, sends again what is unmined, lets
deadlines fall due and compares the books. The others submit for the senders whose lease they get,
deliver webhooks if theirs is the lease, and stand by to lead.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable

import structlog

from node.chain.deployment import Manifest
from node.chain.engine import Engine
from node.chain.rpc import RpcError, RpcUnavailable
from node.index.chain_reader import InconsistentRead
from node.index.indexer import Indexer, WrongChain
from node.index.reconcile import ReconcileError, reconcile, remember
from node.index.rollback import RollbackTooDeep
from node.keys import SealedSeed
from node.leadership import HEARTBEAT_SECONDS, Leadership
from node.outbox import Broadcaster, Deadlines, Requests, Submitter
from node.settings import Settings
from node.store import Store
from node.store.ids import Ids
from node.webhooks.addresses import Lookup, lookup
from node.webhooks.deliverer import Deliverer
from node.webhooks.sender import Sender

SHORTEST_PAUSE = 0.01  # of a loop with nothing to do; doubled up to the longest
LONGEST_PAUSE = 0.1
LONGEST_DEADLINES_PAUSE = 1.0
LONGEST_REQUESTS_PAUSE = 0.25
LONGEST_OUTBOX_PAUSE = 0.025  # nobody wakes the outbox: the bridge may be another process
REST = 0.05  # between two rounds that had something to do: what comes meanwhile shares the next
FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 5.0

log = structlog.get_logger(__name__)


async def run_worker(
    engine: Engine,
    store: Store,
    seed: SealedSeed,
    manifest: Manifest,
    settings: Settings,
    stop: asyncio.Event,
    *,
    clock: Callable[[], float] = time.time,
    jitter: Callable[[], float] = random.random,
    look_up: Lookup = lookup,
) -> None:
    """Run the loops until `stop` is set.

    Args:
        engine: the running chain.
        clock: wall clock, unix seconds.
        jitter: numbers from 0 to 1, for the pauses between attempts of webhooks.
        look_up: addresses of a host name, for webhooks.

    Raises:
        WrongChain: the chain is not the manifest's.
        RollbackTooDeep: the chain went back further than can be taken back.
    """
    ids = Ids()
    owner = f"{socket.gethostname()[:30]}-{os.getpid()}-{secrets.token_hex(8)}"
    leadership = Leadership(store, owner, clock)
    indexer = Indexer(
        engine.rpc,
        store,
        manifest,
        finality_depth=settings.finality_depth,
        clock=clock,
        ids=ids,
    )
    broadcaster = Broadcaster(engine, store, clock=clock, ids=ids)
    submitter = Submitter(
        engine.rpc,
        store,
        seed,
        manifest.chain_id,
        broadcaster.send,
        owner=owner,
        clock=clock,
        ids=ids,
    )
    requests = Requests(engine, store, seed, manifest.chain_id, broadcaster, clock=clock)
    deadlines = Deadlines(store, manifest, clock=clock, ids=ids)
    chain_time = 0  # of the next block, as last seen
    deliverer = Deliverer(
        store,
        seed,
        Sender(settings.allowed_networks, settings.webhook_timeout, look_up),
        owner=owner,
        clock=clock,
        random=jitter,
        ids=ids,
        concurrency=settings.webhook_concurrency,
        retention=settings.webhook_retention,
    )
    sent = asyncio.Event()  # wakes the indexer: there will be a block

    follows = False  # the indexer knows where the database stands

    async def index() -> bool:
        nonlocal chain_time, follows
        if not leadership.leads:
            follows = False
            return False
        if not follows:
            await indexer.start()
            broadcaster.everything_is_due()  # what another worker signed and did not see mined
            follows = True
        found = await indexer.round()
        chain_time = found.head.next_time
        if found.rolled_back:
            broadcaster.everything_is_due()
        await leadership.found(found)
        return bool(found.applied) or found.rolled_back

    async def submit() -> bool:
        # First what is signed already: new operations may depend on it.
        worked = await broadcaster.resend_due() if leadership.leads else 0
        worked += await submitter.round()
        if leadership.leads and broadcaster.stuck:
            leadership.errors["nonces"] = "; ".join(broadcaster.stuck.values())
        else:
            leadership.errors.pop("nonces", None)
        if worked:
            sent.set()
        return bool(worked)

    async def carry_out_requests() -> bool:
        return leadership.leads and bool(await requests.round())

    async def fall_due() -> bool:
        return leadership.leads and bool(await deadlines.round(chain_time))

    await _start(indexer, leadership, stop)
    loops = [
        asyncio.create_task(_repeat("index", index, leadership, stop, wake=sent)),
        asyncio.create_task(
            _repeat("outbox", submit, leadership, stop, longest=LONGEST_OUTBOX_PAUSE)
        ),
        asyncio.create_task(
            _repeat(
                "requests", carry_out_requests, leadership, stop, longest=LONGEST_REQUESTS_PAUSE
            )
        ),
        asyncio.create_task(
            _repeat("deadlines", fall_due, leadership, stop, longest=LONGEST_DEADLINES_PAUSE)
        ),
        asyncio.create_task(
            _repeat("webhooks", deliverer.round, leadership, stop, wake=deliverer.came_back)
        ),
        asyncio.create_task(_keep_beating(leadership, stop)),
        asyncio.create_task(
            _keep_reconciling(
                engine, store, manifest, leadership, settings.reconcile_seconds, stop, clock
            )
        ),
    ]
    try:
        await asyncio.gather(*loops)
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await deliverer.close()
        await submitter.release_leases()
        await leadership.resign()


async def _start(indexer: Indexer, leadership: Leadership, stop: asyncio.Event) -> None:
    """Nothing is signed before the chain is known to be ours."""
    started = False

    async def start() -> bool:
        nonlocal started
        await indexer.start()
        started = True
        return True

    while not started and not stop.is_set():
        await _try("index", start, leadership, stop, FIRST_BACKOFF)


async def _repeat(
    name: str,
    work: Callable[[], Awaitable[bool]],
    leadership: Leadership,
    stop: asyncio.Event,
    *,
    wake: asyncio.Event | None = None,
    longest: float = LONGEST_PAUSE,
) -> None:
    """Do the work again soon while there is some, else after a pause or when woken."""
    pause, backoff = SHORTEST_PAUSE, FIRST_BACKOFF
    while not stop.is_set():
        busy = await _try(name, work, leadership, stop, backoff)
        if busy is None:
            backoff = min(2 * backoff, LONGEST_BACKOFF)
            continue
        backoff = FIRST_BACKOFF
        if busy:
            pause = SHORTEST_PAUSE
            await _wait(stop, REST)
            continue
        if await _wait(wake or stop, pause) and wake is not None:
            wake.clear()
            pause = SHORTEST_PAUSE
        else:
            pause = min(2 * pause, longest)


async def _try(
    name: str,
    work: Callable[[], Awaitable[bool]],
    leadership: Leadership,
    stop: asyncio.Event,
    backoff: float,
) -> bool | None:
    """Do the work once; None if it failed, after the error was told and a pause was made."""
    try:
        busy = await work()
    except (WrongChain, RollbackTooDeep) as error:
        leadership.errors[name] = str(error)
        await leadership.beat(now=True)
        raise
    except Exception as error:
        # Whatever it was, stopping would be worse: the next round starts from the database.
        expected = isinstance(error, RpcError | RpcUnavailable | InconsistentRead)
        log.warning("worker.error", loop=name, error=repr(error), exc_info=not expected)
        leadership.errors[name] = f"{type(error).__name__}: {error}"
        await _wait(stop, backoff)
        return None
    leadership.errors.pop(name, None)
    return busy


async def _keep_beating(leadership: Leadership, stop: asyncio.Event) -> None:
    """A loop of its own: a chain that does not answer must not make the worker look dead."""
    while not stop.is_set():
        try:
            await leadership.beat()
        except Exception as error:
            log.warning("worker.heartbeat", error=repr(error))
        await _wait(stop, HEARTBEAT_SECONDS / 2)


async def _keep_reconciling(
    engine: Engine,
    store: Store,
    manifest: Manifest,
    leadership: Leadership,
    seconds: int,
    stop: asyncio.Event,
    clock: Callable[[], float],
) -> None:
    """Compare database and chain now and then; what is found fails readiness until it is gone."""
    while seconds and not await _wait(stop, seconds):
        if not leadership.leads:
            continue
        try:
            found = await reconcile(engine.rpc, store, manifest)
            now = int(clock())
            await store.write(lambda session: remember(session, found, now))  # noqa: B023
        except (ReconcileError, RpcError, RpcUnavailable) as error:
            log.warning("reconcile.impossible", error=str(error))
        except Exception as error:
            log.warning("worker.error", loop="reconcile", error=repr(error), exc_info=True)
        else:
            if found.drift:
                log.error("reconcile.drift", count=len(found.drift), first=str(found.drift[0]))


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, but no longer than so many seconds; return whether it was set."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
