"""What the replay's HTTP client does when a node stumbles: nothing lost, nothing sent anew.

The node here is a real HTTP server that stumbles on purpose.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from node.client import Refused, Retries
from node.market import client
from node.market.client import Node, NodeUnavailable


class StumblingNode:
    """Answers like a bridge; the next answers of a path can be made to fail.

    Attributes:
        failures: by path, what the next requests get: "drop", or an HTTP status.
        effects: idempotency keys and how often each came in.
        events: what /v1/events lists, in order of their seq from 1.
        replayed: whether posts are answered as replays.
        pending: how many looks at the operations find one under way.
    """

    def __init__(self) -> None:
        self.failures: dict[str, list[Any]] = {}
        self.effects: Counter[str] = Counter()
        self.pending = 0
        self.events: list[dict[str, Any]] = []
        self.status = 200
        self.replayed = False
        self.ready = True

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._stumble])
        app.router.add_post("/v1/things", self._post)
        app.router.add_get("/v1/operations", self._operations)
        app.router.add_get("/v1/events", self._events)
        app.router.add_get("/v1/network", self._network)
        app.router.add_get("/health/ready", self._health)
        app.router.add_get("/v1/things", self._list)
        return app

    @web.middleware
    async def _stumble(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.method == "POST":
            self.effects[request.headers["Idempotency-Key"]] += 1
        failures = self.failures.get(request.path, [])
        if failures:
            failure = failures.pop(0)
            if failure == "drop":
                assert request.transport is not None
                request.transport.close()
                raise asyncio.CancelledError
            status, retryable = failure
            problem = {"code": "made_up", "detail": "for the test", "retryable": retryable}
            return web.json_response(problem, status=status)
        response: web.StreamResponse = await handler(request)
        return response

    async def _post(self, request: web.Request) -> web.Response:
        headers = {"Idempotency-Replayed": "true"} if self.replayed else {}
        status = "made" if self.status == 200 else "asked"
        thing = {"id": "thing_1", "status": status}
        return web.json_response(thing, status=self.status, headers=headers)

    async def _events(self, request: web.Request) -> web.Response:
        after = int(request.query["after"])
        body = {"data": self.events[after:], "has_more": False, "next_after": len(self.events)}
        return web.json_response(body)

    async def _operations(self, request: web.Request) -> web.Response:
        self.pending -= 1
        return web.json_response({"data": ["one"] if self.pending >= 0 else []})

    async def _network(self, request: web.Request) -> web.Response:
        return web.json_response({"rpc_url": str(request.url.with_path("/rpc"))})

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({}, status=200 if self.ready else 503)

    async def _list(self, request: web.Request) -> web.Response:
        start = int(request.query.get("cursor", 0))
        data = list(range(start, min(start + 100, 250)))
        more = start + 100 < 250
        body = {"data": data, "has_more": more, "next_cursor": str(start + 100) if more else None}
        return web.json_response(body)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "RETRIES", Retries(pauses=(0.001,)))
    monkeypatch.setattr(client, "RECOVERY_POLL_SECONDS", 0.001)


@pytest.fixture
async def stumbling() -> AsyncIterator[tuple[StumblingNode, Node, list[str]]]:
    bridge, outages = StumblingNode(), list[str]()
    server = TestServer(bridge.application())
    await server.start_server()
    async with Node(str(server.make_url("/")), "key", 4, 0.2, outages.append) as node:
        yield bridge, node, outages
    await server.close()


Stumbling = tuple[StumblingNode, Node, list[str]]


@pytest.mark.parametrize("failure", ["drop", (503, True), (409, True), (429, False)])
async def test_a_passing_failure_is_tried_again_with_the_same_key(
    stumbling: Stumbling, failure: Any
) -> None:
    bridge, node, outages = stumbling
    bridge.failures["/v1/things"] = [failure]

    thing, _ = await node.post("/v1/things", "key-1", {}, ("made",))

    assert thing["id"] == "thing_1"
    assert bridge.effects == {"key-1": 2}
    assert outages == []


async def test_a_longer_failure_waits_until_the_node_is_back_and_has_nothing_left_to_do(
    stumbling: Stumbling,
) -> None:
    bridge, node, outages = stumbling
    bridge.failures["/v1/things"] = ["drop"] * 2
    bridge.failures["/health/ready"] = ["drop"] * 3
    bridge.pending = 3

    thing, _ = await node.post("/v1/things", "key-1", {}, ("made",))

    assert thing["id"] == "thing_1"
    assert bridge.effects == {"key-1": 3}
    assert bridge.pending < 0
    assert len(outages) == 1
    assert node.outages == 1


async def test_many_requests_share_one_wait_for_the_node(stumbling: Stumbling) -> None:
    bridge, node, outages = stumbling
    bridge.failures["/v1/things"] = ["drop"] * 8

    await asyncio.gather(*(node.post("/v1/things", f"key-{n}", {}, ("made",)) for n in range(4)))

    assert set(bridge.effects) == {"key-0", "key-1", "key-2", "key-3"}
    assert len(outages) == 1


async def test_a_node_that_stays_away_is_given_up(stumbling: Stumbling) -> None:
    bridge, node, _ = stumbling
    bridge.failures["/v1/things"] = ["drop"] * 2
    bridge.ready = False

    with pytest.raises(NodeUnavailable, match=r"did not answer for 0 s"):
        await node.post("/v1/things", "key-1", {}, ("made",))


async def test_a_refusal_is_told_and_not_tried_again(stumbling: Stumbling) -> None:
    bridge, node, _ = stumbling
    bridge.failures["/v1/things"] = [(422, False)]

    with pytest.raises(Refused, match=r"422 made_up: for the test"):
        await node.post("/v1/things", "key-1", {}, ("made",))

    assert bridge.effects == {"key-1": 1}


def event(kind: str, status: str) -> dict[str, Any]:
    return {"type": kind, "resource_id": "thing_1", "data": {"status": status}}


async def test_what_is_accepted_is_settled_by_its_event(stumbling: Stumbling) -> None:
    bridge, node, _ = stumbling
    bridge.status = 202
    bridge.events = [event("thing.created", "asked"), event("thing.made", "made")]

    thing, _ = await node.post("/v1/things", "key-1", {}, ("made",))

    assert thing["status"] == "made"
    assert bridge.effects == {"key-1": 1}


@pytest.mark.parametrize(
    "told", [[], [event("thing.make_failed", "asked")]], ids=["late", "failed"]
)
async def test_without_a_good_event_the_resource_is_asked_how_it_ended(
    stumbling: Stumbling, monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.05)
    bridge, node, _ = stumbling
    bridge.status, bridge.events, bridge.pending = 202, told, 2

    await node.post("/v1/things", "key-1", {}, ("made",))

    assert bridge.pending < 0
    assert bridge.effects == {"key-1": 2}


async def test_what_was_asked_before_is_awaited_by_its_operations(stumbling: Stumbling) -> None:
    """Its event may have been told to an earlier run."""
    bridge, node, _ = stumbling
    bridge.status, bridge.replayed, bridge.pending = 202, True, 2

    await node.post("/v1/things", "key-1", {}, ("made",))

    assert bridge.pending < 0
    assert bridge.effects == {"key-1": 2}


async def test_every_page_of_a_list_is_read(stumbling: Stumbling) -> None:
    _, node, _ = stumbling

    assert [item async for item in node.pages("/v1/things")] == list(range(250))
