"""The stream of events over a real server: nothing is missed or comes twice, and it ends well."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from fastapi import FastAPI

from node.bridge import events as events_module
from node.bridge import stream as stream_module
from node.bridge.serve import _Server
from node.store.models import Event
from tests.node.bridge.support import Client, Desk

_NUMBERS = itertools.count()


def tell(
    desk: Desk, event_type: str = "topup.succeeded", merchant_id: str | None = None, count: int = 1
) -> int:
    """What the worker writes; return the last seq."""

    def write(session: Any) -> int:
        for _ in range(count):
            event = Event(
                id=f"evt_{next(_NUMBERS)}",
                merchant_id=merchant_id or desk.merchant_id,
                type=event_type,
                resource_type=event_type.partition(".")[0],
                resource_id="top_1",
                data={"note": "line one\nline two ü"},
                created_at=1,
            )
            session.add(event)
            session.flush()
        return event.seq

    return desk.store.write_now(write)


class Served:
    """A running bridge."""

    def __init__(self, desk: Desk, app: FastAPI, server: _Server, url: str) -> None:
        self.desk = desk
        self.app = app
        self.server = server
        self.url = url

    @asynccontextmanager
    async def stream(
        self, secret: str | None = None, headers: Any = None, **query: Any
    ) -> AsyncIterator[Stream]:
        sent = {"Authorization": f"Bearer {secret or self.desk.shop_key.secret}", **(headers or {})}
        async with (
            httpx.AsyncClient(base_url=self.url, headers=sent, timeout=30) as http,
            http.stream("GET", "/v1/events/stream", params=query) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield Stream(answer)


class Stream:
    """One client's view, parsed as the standard says."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()
        self.comments: list[str] = []
        self.last_id: str | None = None

    async def next(self) -> dict[str, Any] | None:
        """The next event; None at the end of the stream."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self._lines:
                if line.startswith(":"):
                    self.comments.append(line)
                elif line:
                    name, _, value = line.partition(": ")
                    assert name not in fields
                    fields[name] = value
                elif "data" in fields:
                    event: dict[str, Any] = orjson.loads(fields["data"])
                    assert fields["event"] == event["type"]
                    assert fields["id"] == str(event["seq"])
                    self.last_id = fields["id"]
                    return event
                else:
                    fields.clear()
        return None

    async def begun(self) -> None:
        while not self.comments:
            line = await anext(self._lines)
            if line.startswith(":"):
                self.comments.append(line)

    async def seqs(self, count: int) -> list[int]:
        found = []
        for _ in range(count):
            event = await self.next()
            assert event is not None
            found.append(event["seq"])
        return found


@pytest.fixture
async def served(desk: Desk) -> AsyncIterator[Served]:
    app = desk.new_app()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")
        server = _Server(config, app.state.context)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        yield Served(desk, app, server, url)
        server._stop()
        await asyncio.wait_for(task, 10)


async def test_what_happened_after_a_seq_comes_first_and_then_what_happens(
    desk: Desk, served: Served
) -> None:
    before = [tell(desk) for _ in range(3)]
    async with served.stream(after=before[0]) as stream:
        assert await stream.seqs(2) == before[1:]
        new = tell(desk)
        event = await stream.next()
    assert event is not None
    assert event["seq"] == new
    assert event == (await desk.shop.get(f"/v1/events/{event['id']}")).json()


async def test_without_a_seq_it_begins_now(desk: Desk, served: Served) -> None:
    tell(desk)
    async with served.stream() as stream:
        await stream.begun()
        new = tell(desk)
        assert await stream.seqs(1) == [new]


async def test_the_last_event_id_continues_where_the_client_was(desk: Desk, served: Served) -> None:
    told = [tell(desk) for _ in range(5)]
    async with served.stream(after=0) as stream:
        assert await stream.seqs(2) == told[:2]
        last_id = stream.last_id
    # As a browser does it: the same address, with the header.
    async with served.stream(headers={"Last-Event-ID": str(last_id)}, after=0) as stream:
        assert await stream.seqs(3) == told[2:]


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 30, "²"])
async def test_a_last_event_id_that_is_none_is_refused(
    desk: Desk, shop: Client, last_id: str
) -> None:
    refused = await shop.get(
        "/v1/events/stream", headers={"Last-Event-ID": last_id.encode("utf-8")}
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert refused.json()["param"] == "Last-Event-ID"


@pytest.mark.parametrize("query", ["after=-1", "after=x", "types=all", "types=", "colour=red"])
async def test_a_query_that_cannot_be_understood_is_refused(shop: Client, query: str) -> None:
    refused = await shop.get(f"/v1/events/stream?{query}")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


async def test_a_stream_needs_a_key_that_may_read(desk: Desk, shop: Client) -> None:
    assert (await Client(desk.app, None).get("/v1/events/stream")).status_code == 401
    made = await shop.ok("/v1/api_keys", {"name": "x", "scopes": ["money"]})
    assert (await Client(desk.app, made["secret"]).get("/v1/events/stream")).status_code == 403


async def test_only_the_types_asked_for_come(desk: Desk, served: Served) -> None:
    async with served.stream(after=0, types="purchase.released,account.*") as stream:
        tell(desk)
        wanted = [tell(desk, "purchase.released"), tell(desk, "account.active")]
        tell(desk, "purchase.shipped")
        wanted.append(tell(desk, "purchase.released"))
        assert await stream.seqs(3) == wanted


async def test_each_merchant_sees_its_own(desk: Desk, served: Served) -> None:
    other = desk.new_key("Other shop")
    async with served.stream(after=0) as mine, served.stream(other.secret, after=0) as theirs:
        told: dict[str, list[int]] = {desk.merchant_id: [], other.merchant_id: []}
        for number in range(20):
            merchant_id = (desk.merchant_id, other.merchant_id)[number % 3 == 0]
            told[merchant_id].append(tell(desk, merchant_id=merchant_id))
        assert await mine.seqs(13) == told[desk.merchant_id]
        assert await theirs.seqs(7) == told[other.merchant_id]


async def test_between_list_and_stream_nothing_is_missed_and_nothing_comes_twice(
    desk: Desk, served: Served
) -> None:
    """Events happen all the while; each client lists, streams, drops, and streams on."""
    total = 400

    async def happen() -> None:
        for _ in range(total):
            await asyncio.to_thread(tell, desk)
            await asyncio.sleep(0.002)

    async def read(drop_every: int) -> list[int]:
        seen: list[int] = []
        after = 0
        part = (await desk.shop.get("/v1/events?after=0&limit=7")).json()
        seen += [event["seq"] for event in part["data"]]
        after = part["next_after"]
        while len(seen) < total:
            async with served.stream(after=after) as stream:
                for _ in range(min(drop_every, total - len(seen))):
                    event = await stream.next()
                    assert event is not None
                    seen.append(event["seq"])
            after = seen[-1]
        return seen

    happening = asyncio.create_task(happen())
    views = await asyncio.gather(*(read(n) for n in (9, 40, 171, 10_000)))
    await happening
    everything = [row.seq for row in sorted(desk.rows(Event), key=lambda row: row.seq)]
    assert len(everything) == total
    for view in views:
        assert view == everything


async def test_many_streams_cost_one_query_a_poll(desk: Desk, served: Served) -> None:
    store = served.app.state.context.store
    reads = 0
    real = store.read

    async def read(work: Any) -> Any:
        nonlocal reads
        reads += 1
        return await real(work)

    streams = 40
    async with contexts([served.stream(after=0) for _ in range(streams)]) as opened:
        await asyncio.gather(*(stream.begun() for stream in opened))
        await asyncio.sleep(0.2)
        store.read = read
        await asyncio.sleep(1)
        assert 5 <= reads <= 1 / stream_module._POLL_SECONDS + 5
        told = [tell(desk) for _ in range(5)]
        views = await asyncio.gather(*(stream.seqs(5) for stream in opened))
    assert views == [told] * streams
    await asyncio.sleep(0.3)
    reads = 0
    await asyncio.sleep(0.2)
    assert reads == 0  # nobody is there, so nothing is read
    store.read = real


@asynccontextmanager
async def contexts(managers: list[Any]) -> AsyncIterator[list[Any]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(manager) for manager in managers]


async def test_a_client_that_falls_behind_reads_the_rest_from_the_database(
    desk: Desk, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "_MOST_AHEAD", 10)
    monkeypatch.setattr(stream_module, "_PART", 30)
    async with served.stream(after=0) as stream:
        await stream.begun()
        await asyncio.sleep(0.1)
        last = await asyncio.to_thread(tell, desk, count=200)
        assert await stream.seqs(200) == list(range(last - 199, last + 1))


async def test_a_comment_comes_when_nothing_else_does(
    desk: Desk, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "PING_SECONDS", 0.05)
    async with served.stream(after=0) as stream:
        await asyncio.sleep(0.3)
        tell(desk)
        await stream.next()
    assert len(stream.comments) >= 3


async def test_when_the_bridge_stops_the_stream_ends_and_a_new_one_misses_nothing(
    desk: Desk, served: Served
) -> None:
    seq = tell(desk)
    async with served.stream(after=0) as stream, served.stream(after=0) as idle:
        assert await stream.seqs(1) == [seq]
        await idle.begun()
        served.server._stop()
        # The chunked body is ended: httpx would raise if the connection were cut.
        assert await stream.next() is None
        assert [event["seq"] async for event in rest_of(idle)] == [seq]


async def rest_of(stream: Stream) -> AsyncIterator[dict[str, Any]]:
    while (event := await stream.next()) is not None:
        yield event


async def test_the_stream_of_a_revoked_key_ends(
    desk: Desk, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "_CHECK_SECONDS", 0.05)
    made = await desk.shop.ok("/v1/api_keys", {"name": "x", "scopes": ["read"]})
    async with served.stream(made["secret"], after=0) as stream:
        await stream.begun()
        await desk.shop.ok(f"/v1/api_keys/{made['id']}/revoke")
        served.app.state.context.key_ring.forget(made["id"])  # or two seconds later
        assert await stream.next() is None


async def test_a_merchant_has_only_so_many_streams_and_gets_its_place_back(
    desk: Desk, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "MOST_STREAMS", 2)
    headers = {"Authorization": f"Bearer {desk.shop_key.secret}"}
    feed = served.app.state.context.feed
    async with httpx.AsyncClient(base_url=served.url, headers=headers) as http:
        async with served.stream(after=0) as first, served.stream(after=0) as second:
            await asyncio.gather(first.begun(), second.begun())
            while feed.count(desk.merchant_id) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            refused = await http.get("/v1/events/stream")
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        async with asyncio.timeout(10):
            while feed.count(desk.merchant_id):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_the_database_may_fail_for_a_while(
    desk: Desk, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "_PAUSE_SECONDS", 0.01)
    store = served.app.state.context.store
    real = store.read
    failed = 0

    async def fail(_work: Any) -> Any:
        nonlocal failed
        failed += 1
        raise RuntimeError("the disk is on holiday")

    async with served.stream(after=0) as stream:
        first = tell(desk)
        assert await stream.seqs(1) == [first]
        store.read = fail
        second = tell(desk)
        while failed < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        store.read = real
        assert await stream.seqs(1) == [second]
