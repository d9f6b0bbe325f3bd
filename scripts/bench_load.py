"""The load of scripts/bench_bridge.py: a node of its own, many buyers, and what they saw.

A purchase is two requests: POST /v1/purchases, which holds the coin of a managed buyer, and, once
the feed of events says that it is held, POST …/release in the buyer's name. It is over when the
feed says that it is released. Nothing is asked for twice, and no purchase is polled.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pstats
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, cast

import httptools
import orjson
from aiohttp import web
from standardwebhooks import Webhook
from yarl import URL

from node.cli.common import new_key
from node.up import RunningNode
from scripts.bench_replay import count_transactions, cpu_seconds, wait_for_node

STOP_SECONDS = 120
SETTLE_SECONDS = 120  # for what was asked for to come about, after the last request
FEED_SECONDS = 0.1
FEED_PAGE = 1000
TOP_UP = 10**12  # atomic units
PRICE = 1_000_000
MOST_CONNECTIONS = 512
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# Put in a process's path by --profile: CPU time of its threads, from the signal on.
_PROFILER = """\
import atexit, cProfile, itertools, os, signal, sys, threading, time

if os.environ["BENCH_PROFILE"] in sys.orig_argv:
    folder, numbers = os.path.dirname(__file__), itertools.count()

    def save(profile):
        profile.disable()
        profile.dump_stats(os.path.join(folder, f"{os.getpid()}-{next(numbers)}.prof"))

    def run_profiled(self, run=threading.Thread.run):
        profile = cProfile.Profile(time.thread_time)
        profile.enable()
        try:
            run(self)
        finally:
            save(profile)

    def begin(*_):
        main.enable()
        atexit.register(save, main)

    main = cProfile.Profile(time.thread_time)
    threading.Thread.run = run_profiled
    signal.signal(signal.SIGUSR1, begin)
"""
_PROFILED = {"bridges": "node.bridge.serve", "worker": "node.cli"}


# ------------------------------------------------------------------------------------ the node


@dataclass
class BenchNode:
    """A running node and the processes it is made of."""

    data: Path
    running: RunningNode
    profiles: Path | None

    @property
    def pids(self) -> dict[str, list[int]]:
        return {
            "worker": [self.running.pid],
            "bridges": self.running.bridge_pids,
            "anvil": [self.running.chain_pid or 0],
        }


@contextmanager
def run_node(
    data: Path, settings: Mapping[str, str], profiled: str | None = None
) -> Iterator[BenchNode]:
    """A node on anvil with a data folder of its own, stopped at the end.

    Args:
        settings: of `node.settings`, as PLAZA_* without the prefix.
        profiled: "bridges" or "worker": `top_costs` tells what it did.
    """
    data.mkdir(parents=True)
    environment = {**os.environ, **{f"PLAZA_{k.upper()}": v for k, v in settings.items()}}
    profiles = None
    if profiled is not None:
        profiles = data / "profiles"
        profiles.mkdir()
        (profiles / "sitecustomize.py").write_text(_PROFILER)
        paths = [str(profiles), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        environment["BENCH_PROFILE"] = _PROFILED[profiled]
    up = [sys.executable, "-m", "node.cli", "up", "--data", str(data), "--chain", "anvil"]
    with (data / "node.log").open("wb") as log:
        supervisor = subprocess.Popen(
            [*up, "--port", "0", "--rpc-port", "0", "--log-level", "warning"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
        )
    try:
        yield BenchNode(data, wait_for_node(supervisor, data), profiles)
    finally:
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(STOP_SECONDS)


def begin_profile(node: BenchNode, profiled: str) -> None:
    for pid in node.pids[profiled]:
        os.kill(pid, signal.SIGUSR1)


def top_costs(profiles: Path, count: int) -> list[dict[str, Any]]:
    """The functions that took most CPU time by themselves, of all processes and threads."""
    files = sorted(str(path) for path in profiles.glob("*.prof"))
    if not files:
        return []
    stats: Any = pstats.Stats(*files)
    rows = [
        {
            "function": f"{name} ({_short(path)}:{line})",
            "calls": calls,
            "own_seconds": round(own, 3),
            "with_callees_seconds": round(total, 3),
        }
        for (path, line, name), (_, calls, own, total, _) in stats.stats.items()
    ]
    return sorted(rows, key=lambda row: -row["own_seconds"])[:count]


def _short(path: str) -> str:
    return "/".join(Path(path).parts[-2:])


def resident_bytes(pid: int) -> int:
    """Memory of one process (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


# -------------------------------------------------------------------------------------- the shop


class Refused(Exception):
    """The bridge answered a request with a problem."""


class _Connection(asyncio.Protocol):
    """HTTP/1.1 kept alive, one request at a time: a shop's own work is not what is measured."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of their own kind

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the bridge closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        assert self._answer is not None
        answer = (self._parser.get_status_code(), self._body)
        self._body = b""
        self._parser = httptools.HttpResponseParser(self)
        if not self._answer.done():
            self._answer.set_result(answer)

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Shop:
    """A merchant's back end over as many connections as it has requests under way.

    Raises:
        Refused, ConnectionError: by every request.
    """

    def __init__(self, url: str, api_key: str) -> None:
        self._host, self._port = URL(url).host or "", URL(url).port or 0
        self._common = (
            f"Host: {self._host}:{self._port}\r\nAuthorization: Bearer {api_key}\r\n"
            "Content-Type: application/json\r\n"
        )
        self._idle: deque[_Connection] = deque()
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)
        self._seen = 0
        self._outcomes: dict[str, asyncio.Future[str]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def get(self, path: str) -> Any:
        return orjson.loads(await self._send(f"GET {path} HTTP/1.1\r\n{self._common}\r\n".encode()))

    async def post(self, path: str, key: str, body: Mapping[str, Any] | None = None) -> Any:
        data = b"" if body is None else orjson.dumps(body)
        head = (
            f"POST {path} HTTP/1.1\r\n{self._common}Idempotency-Key: {key}\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        return orjson.loads(await self._send(head.encode() + data))

    async def _send(self, request: bytes) -> bytes:
        async with self._room:
            connection = await self._connection()
            try:
                status, content = await connection.exchange(request)
            finally:
                self._idle.append(connection)
        if status >= 400:
            with suppress(orjson.JSONDecodeError, KeyError):
                raise Refused(f"{status} {orjson.loads(content)['code']}")
            raise Refused(f"{status} {content[:100]!r}")
        return content

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(_Connection, self._host, self._port))[1]

    async def follow(self) -> None:
        """Read the events from now on; `outcome` answers from them."""
        page = {"has_more": True}
        while page["has_more"]:
            page = await self.get(f"/v1/events?after={self._seen}&limit={FEED_PAGE}")
            self._seen = page["next_after"]
        self._reader = asyncio.create_task(self._read_events())

    async def outcome(self, resource_id: str) -> str:
        """The type of the next event of a resource that tells what came of a request."""
        future = self._outcomes.setdefault(resource_id, self._new_future())
        try:
            return await asyncio.wait_for(asyncio.shield(future), SETTLE_SECONDS)
        finally:
            if self._outcomes.get(resource_id) is future:
                del self._outcomes[resource_id]

    async def _read_events(self) -> None:
        while True:
            page = await self.get(f"/v1/events?after={self._seen}&limit={FEED_PAGE}")
            self._seen = page["next_after"]
            for event in page["data"]:
                if not event["type"].endswith(".created"):
                    self._tell(event["resource_id"], event["type"])
            if not page["has_more"]:
                await asyncio.sleep(FEED_SECONDS)

    def _tell(self, resource_id: str, type_: str) -> None:
        future = self._outcomes.get(resource_id)
        if future is None or future.done():  # before the answer that names the resource was read
            future = self._outcomes[resource_id] = self._new_future()
        future.set_result(type_)

    @staticmethod
    def _new_future() -> asyncio.Future[str]:
        return asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        for connection in self._idle:
            connection.close()


# ------------------------------------------------------------------------------ the webhooks


class Receiver:
    """A shop's webhook receiver: a process of its own that verifies every signature."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_receive_webhooks, args=(theirs,), daemon=True)
        self._process.start()
        self.url = f"http://127.0.0.1:{self._pipe.recv()}/"

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def trust(self, secret: str) -> None:
        self._pipe.send(secret)
        self._pipe.recv()

    def finish(self) -> dict[str, Any]:
        """Milliseconds from event to receipt, and how many had a wrong signature."""
        self._pipe.send(None)
        received: dict[str, Any] = self._pipe.recv()
        self._process.join(10)
        return received


def _receive_webhooks(pipe: Pipe) -> None:
    asyncio.run(_serve_webhooks(pipe))


async def _serve_webhooks(pipe: Pipe) -> None:
    first_at: dict[str, float] = {}
    seen: Counter[str] = Counter()
    secrets: list[Webhook] = []

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        now = time.time()
        try:
            secrets[0].verify(body, dict(request.headers))
        except Exception:
            seen["refused"] += 1
            return web.Response(status=400)
        event_id = request.headers["webhook-id"]
        seen["repeated"] += event_id in first_at
        # An event's id holds the millisecond in which it was written.
        first_at.setdefault(event_id, now * 1000 - int(event_id.partition("_")[2][:12], 16))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    pipe.send(runner.addresses[0][1])
    while (secret := await asyncio.to_thread(pipe.recv)) is not None:
        secrets[:] = [Webhook(secret)]
        pipe.send(True)
    pipe.send({"milliseconds": list(first_at.values()), **seen})
    await runner.cleanup()


# ------------------------------------------------------------------------------------ the load


@dataclass
class Seen:
    """What the buyers saw; times in seconds."""

    acknowledged: list[float] = field(default_factory=list)
    authorized: list[float] = field(default_factory=list)  # from the first request
    released: list[float] = field(default_factory=list)  # from the first request
    ended_at: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Market:
    """The accounts of one run."""

    shop: Shop
    buyers: Sequence[str]
    sellers: Sequence[str]


async def open_market(shop: Shop, buyers: int, sellers: int) -> Market:
    """Managed accounts, and coin for the buyers."""
    kinds = ["buyer"] * buyers + ["seller"] * sellers
    accounts = await asyncio.gather(
        *(
            shop.post("/v1/accounts", f"account-{n}", {"kinds": [kind]})
            for n, kind in enumerate(kinds)
        )
    )
    await _until_settled(shop)
    ids = [account["id"] for account in accounts]
    await asyncio.gather(
        *(
            shop.post(
                "/v1/topups",
                f"topup-{id_}",
                {"account": id_, "amount": str(TOP_UP), "reference": f"bank {id_}"},
            )
            for id_ in ids[:buyers]
        )
    )
    await _until_settled(shop)
    return Market(shop, ids[:buyers], ids[buyers:])


async def _until_settled(shop: Shop) -> None:
    end = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end:
        pages = [
            await shop.get(f"/v1/operations?limit=1&status={status}")
            for status in ("queued", "submitted")
        ]
        if not any(page["data"] for page in pages):
            return
        await asyncio.sleep(0.1)
    raise SystemExit("bench: what was asked for beforehand is not settled")


async def buy(market: Market, number: int, due: float, seen: Seen) -> None:
    """One purchase, from the first request until it is released.

    Args:
        due: when the first request was to be sent (time.perf_counter); a client that is late
            counts as waiting.
    """
    shop = market.shop
    try:
        purchase = await shop.post(
            "/v1/purchases",
            f"buy-{number}",
            {
                "order_id": f"order {number}",
                "payer": market.buyers[number % len(market.buyers)],
                "payee": market.sellers[number % len(market.sellers)],
                "amount": str(PRICE + number % 1000),
            },
        )
        seen.acknowledged.append(time.perf_counter() - due)
        outcome = await shop.outcome(purchase["id"])
        told = time.perf_counter()
        if outcome != "purchase.authorized":
            seen.errors[outcome] += 1
            return
        seen.authorized.append(told - due)
        path = f"/v1/purchases/{purchase['id']}/release"
        await shop.post(path, f"release-{number}", {"by": "payer"})
        seen.acknowledged.append(time.perf_counter() - told)
        outcome = await shop.outcome(purchase["id"])
        ended = time.perf_counter()
        if outcome != "purchase.released":
            seen.errors[outcome] += 1
            return
        seen.released.append(ended - due)
        seen.ended_at.append(ended)
    except (Refused, ConnectionError, TimeoutError) as error:
        seen.errors[str(error) or type(error).__name__] += 1


async def buy_as_fast_as_possible(
    market: Market, first: int, count: int, at_once: int, seen: Seen
) -> None:
    """Closed loop: so many purchases under way, each followed by the next."""
    numbers = iter(range(first, first + count))

    async def customer() -> None:
        for number in numbers:
            await buy(market, number, time.perf_counter(), seen)

    await asyncio.gather(*(customer() for _ in range(min(at_once, count))))


async def buy_at_rate(market: Market, first: int, rate: float, count: int, seen: Seen) -> None:
    """Open loop: one every 1/rate seconds, whatever has become of those before."""
    start = time.perf_counter()
    tasks = []
    for number in range(count):
        due = start + number / rate
        pause = due - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(buy(market, first + number, due, seen)))
    await asyncio.gather(*tasks)


@dataclass(frozen=True)
class Plan:
    """What one run is to do.

    Attributes:
        purchases: how many; in an open loop rate times seconds.
        rate: purchases a second of an open loop; None: as fast as possible.
        at_once: purchases under way in a closed loop.
        warm_up: purchases before anything is measured.
        webhooks: event types the receiver gets; empty: no endpoint.
        sample_seconds: how often memory is looked at; 0: never.
    """

    purchases: int
    rate: float | None
    at_once: int
    warm_up: int
    buyers: int
    sellers: int
    webhooks: Sequence[str]
    sample_seconds: float
    profiled: str | None


async def run_load(node: BenchNode, plan: Plan, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run the plan on a fresh node and return what was measured."""
    key = new_key(node.data, merchant="Bench", name="bench").secret
    shop = Shop(node.running.bridge_url, key)
    receiver = Receiver() if plan.webhooks else None
    try:
        tell(f"{plan.buyers} buyers, {plan.sellers} sellers")
        market = await open_market(shop, plan.buyers, plan.sellers)
        await shop.follow()
        if receiver is not None:
            endpoint = await shop.post(
                "/v1/webhook_endpoints",
                "endpoint",
                {"url": receiver.url, "event_types": list(plan.webhooks)},
            )
            receiver.trust(endpoint["secret"])
        await buy_as_fast_as_possible(market, 0, plan.warm_up, plan.at_once, Seen())
        return await _measure(node, plan, market, receiver, tell)
    finally:
        await shop.close()


async def _measure(
    node: BenchNode,
    plan: Plan,
    market: Market,
    receiver: Receiver | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    tell(f"{plan.purchases} purchases")
    pids = {**node.pids, "client": [os.getpid()]}
    if receiver is not None:
        pids["webhook receiver"] = [receiver.pid]
    if plan.profiled is not None:
        begin_profile(node, plan.profiled)
    seen = Seen()
    transactions = await count_transactions(node.running.rpc_url)
    before = {name: sum(map(cpu_seconds, ids)) for name, ids in pids.items()}
    memory = asyncio.create_task(_watch_memory(pids, plan.sample_seconds))
    started = time.perf_counter()
    load: Awaitable[None]
    if plan.rate is None:
        load = buy_as_fast_as_possible(market, plan.warm_up, plan.purchases, plan.at_once, seen)
    else:
        load = buy_at_rate(market, plan.warm_up, plan.rate, plan.purchases, seen)
    await load
    used = {name: sum(map(cpu_seconds, ids)) - before[name] for name, ids in pids.items()}
    seconds = max(seen.ended_at, default=time.perf_counter()) - started
    memory.cancel()
    transactions = await count_transactions(node.running.rpc_url) - transactions
    done = len(seen.released)
    result = {
        "mode": "closed loop" if plan.rate is None else f"open loop, {plan.rate:g} a second",
        "purchases": done,
        "seconds": round(seconds, 2),
        "purchases_per_second": round(done / seconds, 1),
        "errors": dict(seen.errors),
        "acknowledgement_ms": quantiles(seen.acknowledged),
        "authorized_ms": quantiles(seen.authorized),
        "released_ms": quantiles(seen.released),
        "chain_transactions": transactions,
        "actions_per_transaction": round(2 * done / max(transactions, 1), 1),
        "cpu_ms_per_purchase": {
            name: round(1000 * value / max(done, 1), 2) for name, value in used.items()
        },
        "cores_used": round(sum(used.values()) / seconds, 2),
    }
    if receiver is not None:
        result["webhooks"] = await _finish_webhooks(receiver, plan, done)
    if plan.sample_seconds:
        result["memory"] = await _memory_of(memory)
    return result


async def _finish_webhooks(receiver: Receiver, plan: Plan, done: int) -> dict[str, Any]:
    """Deliveries of the last events may still be under way."""
    await asyncio.sleep(3)
    found = await asyncio.to_thread(receiver.finish)
    milliseconds = [value / 1000 for value in found["milliseconds"]]
    return {
        "types": list(plan.webhooks),
        "received": len(milliseconds),
        "expected": (done + plan.warm_up) * len(plan.webhooks),
        "repeated": found.get("repeated", 0),
        "refused": found.get("refused", 0),
        "event_to_webhook_ms": quantiles(milliseconds),
    }


async def _watch_memory(
    pids: Mapping[str, Sequence[int]], seconds: float
) -> list[tuple[float, dict[str, int]]]:
    samples: list[tuple[float, dict[str, int]]] = []
    started = time.monotonic()
    with suppress(asyncio.CancelledError):
        while seconds:
            now = time.monotonic() - started
            sizes = {name: sum(map(resident_bytes, ids)) for name, ids in pids.items()}
            samples.append((now, sizes))
            await asyncio.sleep(seconds)
    return samples


async def _memory_of(watching: asyncio.Task[list[tuple[float, dict[str, int]]]]) -> dict[str, Any]:
    """MiB of each part at the start, at the end and at most, and the slope of the last two thirds,
    when caches are full."""
    samples = await watching
    late = samples[len(samples) // 3 :]
    report = {}
    for name in samples[0][1]:
        sizes = [sample[1][name] / 2**20 for sample in samples]
        slope = _slope([(at / 60, values[name] / 2**20) for at, values in late])
        report[name] = {
            "first_mib": round(sizes[0], 1),
            "last_mib": round(sizes[-1], 1),
            "most_mib": round(max(sizes), 1),
            "slope_mib_per_minute": round(slope, 3),
        }
    return report


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line through the points, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread:
        return 0.0
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds at the 50th, 95th and 99th hundredth, and the most."""
    if not seconds:
        return {}
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return round(1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1)

    return {"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1.0)}


def reconcile(data: Path) -> dict[str, Any]:
    """`plaza reconcile` of the running node."""
    done = subprocess.run(
        [sys.executable, "-m", "node.cli", "reconcile", "--data", str(data), "--json"],
        capture_output=True,
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"bench: cannot reconcile: {done.stderr.decode()[-500:]}") from None
    return {"ok": report["ok"], "differences": len(report["drift"]), "checked": report["checked"]}
