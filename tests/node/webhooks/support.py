"""Webhooks for tests: a real receiver that checks every signature, and a deliverer stepped by hand
on a clock that only the test moves."""

from __future__ import annotations

import asyncio
import datetime
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from sqlalchemy.orm import Session
from standardwebhooks import Webhook, webhooks

from node.store import Store
from node.store.ids import Ids
from node.store.models import Event
from node.webhooks.addresses import lookup
from node.webhooks.deliverer import Deliverer
from node.webhooks.sender import Sender
from tests.node.bridge.support import SEED, Client, Desk

START = 1_700_000_000.0


class Clock:
    """Wall time, moved by the test alone; `standardwebhooks` reads it too."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def milliseconds(self) -> int:
        return int(self.now * 1000)

    def datetime_class(self) -> type[datetime.datetime]:
        clock = self

        class OnTheClock(datetime.datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime.datetime:
                return datetime.datetime.fromtimestamp(clock.now, tz)

        return OnTheClock


class Received:
    """One POST as it arrived, verified."""

    def __init__(self, headers: dict[str, str], event: dict[str, Any]) -> None:
        self.headers = headers
        self.id = headers["webhook-id"]
        self.event = event

    @property
    def resource(self) -> str:
        return str(self.event["resource_id"])

    @property
    def type(self) -> str:
        return str(self.event["type"])


Behaviour = Callable[[Received], Awaitable[web.StreamResponse | int]]


async def accept(_received: Received) -> int:
    return 204


class Receiver:
    """A shop's server. It accepts nothing that is not signed with its secret."""

    def __init__(self) -> None:
        self.secrets: list[str] = []
        self.received: list[Received] = []
        self.behave: Behaviour = accept
        self.at_once = self.most_at_once = 0
        self.elsewhere = 0  # requests to where redirects lead
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def start(self) -> None:
        """On the same port as before, if it was started before."""
        app = web.Application()
        app.router.add_post("/hook", self._hook)
        app.router.add_route("*", "/elsewhere", self._elsewhere)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def kill(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def of(self, resource: str) -> list[int]:
        """The seqs that arrived for a resource, in order of arrival."""
        return [each.event["seq"] for each in self.received if each.resource == resource]

    async def _hook(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        for secret in self.secrets:
            Webhook(secret).verify(body, headers)  # raises, and so answers 500, if it is not valid
        assert self.secrets
        assert headers["content-type"] == "application/json"
        received = Received(headers, orjson.loads(body))
        assert received.id == received.event["id"]
        self.received.append(received)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = await self.behave(received)
        finally:
            self.at_once -= 1
        return web.Response(status=answer) if isinstance(answer, int) else answer

    async def _elsewhere(self, _request: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response()


class Office:
    """A bridge, and deliverers on its database."""

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self.desk = desk
        self.clock = clock
        self.shop = desk.shop
        self._owners = itertools.count()
        self._events = itertools.count()
        self._deliverers: list[Deliverer] = []

    def deliverer(self, **changes: Any) -> Deliverer:
        """As a worker makes it at its start."""
        options: dict[str, Any] = {
            "store": self.desk.store,
            "seconds": 5.0,
            "networks": self.desk.settings.allowed_networks,
            "look_up": lookup,
            "random": lambda: 0.5,
            "concurrency": 8,
            "retention": self.desk.settings.webhook_retention,
            **changes,
        }
        made = Deliverer(
            options["store"],
            SEED,
            Sender(options["networks"], options["seconds"], options["look_up"]),
            owner=f"worker-{next(self._owners)}",
            clock=self.clock,
            random=options["random"],
            ids=Ids(self.clock.milliseconds),
            concurrency=options["concurrency"],
            retention=options["retention"],
        )
        self._deliverers.append(made)
        return made

    async def close(self) -> None:
        for deliverer in self._deliverers:
            await deliverer.close()

    async def kill(self, deliverer: Deliverer) -> None:
        """Its process is gone, with whatever it was posting."""
        self._deliverers.remove(deliverer)
        deliverer._forget()
        await deliverer._sender.close()

    async def settle(self, deliverer: Deliverer) -> None:
        """Work until there is nothing to do now; nothing of it waits for time to pass."""
        while await deliverer.round():
            await deliverer.settle()

    async def endpoint(
        self, receiver: Receiver, client: Client | None = None, **more: Any
    ) -> dict[str, Any]:
        endpoint = await (client or self.shop).ok(
            "/v1/webhook_endpoints", {"url": receiver.url, **more}
        )
        receiver.secrets = [endpoint["secret"]]
        return endpoint

    def tell(
        self,
        resource_id: str,
        event_type: str = "topup.succeeded",
        *,
        merchant_id: str | None = None,
        store: Store | None = None,
    ) -> int:
        """What the worker writes when something has happened; return its seq."""
        event = Event(
            id=f"evt_{resource_id}_{next(self._events)}",
            merchant_id=merchant_id or self.desk.merchant_id,
            type=event_type,
            resource_type=event_type.partition(".")[0],
            resource_id=resource_id,
            data={"status": "ünique", "amount": "1"},
            created_at=int(self.clock.now),
        )

        def write(session: Session) -> int:
            session.add(event)
            session.flush()
            return event.seq

        return (store or self.desk.store).write_now(write)

    async def deliveries(
        self, endpoint: dict[str, Any], client: Client | None = None, **query: Any
    ) -> list[dict[str, Any]]:
        """Oldest first."""
        answer = await (client or self.shop).get(
            f"/v1/webhook_endpoints/{endpoint['id']}/deliveries",
            params={"limit": 100, **query},
        )
        assert answer.status_code == 200, answer.text
        return list(reversed(answer.json()["data"]))


def patch_clock(monkeypatch: Any, clock: Clock) -> None:
    monkeypatch.setattr(webhooks, "datetime", clock.datetime_class())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (it happens in other tasks and processes)
            await asyncio.sleep(0.005)


def an_office(folder: Path, clock: Clock, **settings: Any) -> Office:
    values = {"webhook_networks": "127.0.0.0/8", **settings}
    return Office(Desk(folder, values, wall_milliseconds=clock.milliseconds), clock)
