"""Webhook endpoints over HTTP: what can be asked for, by whom, and what is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.bridge import webhooks
from node.store.models import DeliveryStatus as Status
from node.store.models import Event, WebhookDelivery, WebhookEndpoint
from tests.node.bridge.support import SEED, Client, Desk

PATH = "/v1/webhook_endpoints"
URL = "https://shop.example/plaza"


class Names:
    """The names of the tests, instead of the world's."""

    def __init__(self) -> None:
        self.leads_to = {"shop.example": ["93.184.215.14"]}

    async def look_up(self, host: str, _port: int) -> list[str]:
        if host not in self.leads_to:
            raise OSError("Name or service not known")
        return self.leads_to[host]


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def desk(tmp_path: Path, names: Names) -> Iterator[Desk]:
    desk = Desk(tmp_path, look_up=names.look_up)
    yield desk
    desk.close()


async def made(shop: Client, **more: Any) -> dict[str, Any]:
    return await shop.ok(PATH, {"url": URL, **more})


def deliver(desk: Desk, endpoint: dict[str, Any], count: int) -> None:
    """What the deliverer has written: deliveries that are over."""

    def write(session: Any) -> None:
        for number in range(count):
            event = Event(
                id=f"evt_{number}",
                merchant_id=desk.merchant_id,
                type="topup.succeeded",
                resource_type="topup",
                resource_id="top_1",
                data={},
                created_at=1,
            )
            session.add(event)
            session.flush()
            session.add(
                WebhookDelivery(
                    id=f"whd_{number}",
                    merchant_id=desk.merchant_id,
                    endpoint_id=endpoint["id"],
                    event_seq=event.seq,
                    resource_id="top_1",
                    status=Status.FAILED if number % 2 else Status.SUCCEEDED,
                    attempts=1,
                    history=[{"at": 1, "milliseconds": 2, "response_status": 204, "error": None}],
                    created_at=1,
                    finished_at=1,
                )
            )

    desk.store.write_now(write)


async def test_the_secret_is_shown_once_and_kept_sealed(desk: Desk, shop: Client) -> None:
    first = await shop.post(PATH, {"url": URL}, key="k1")
    assert first.status_code == 201
    secret = first.json()["secret"]
    assert secret.startswith("whsec_")
    raw = base64.b64decode(secret.removeprefix("whsec_"))
    assert len(raw) == 32
    again = await shop.post(PATH, {"url": URL}, key="k1")
    assert again.json() == {**first.json(), "secret": None}
    assert again.headers["idempotency-replayed"] == "true"
    shown = await shop.get(f"{PATH}/{first.json()['id']}")
    assert shown.json()["secret"] is None
    (row,) = desk.rows(WebhookEndpoint)
    assert SEED.unseal(row.secret, row.id) == raw
    written = repr([vars(row) for model in (WebhookEndpoint, Event) for row in desk.rows(model)])
    for path in desk.settings.data.glob("plaza.db*"):
        written += path.read_bytes().decode("latin-1")
    assert row.id in written
    for form in (raw.decode("latin-1"), base64.b64encode(raw).decode().rstrip("="), raw.hex()):
        assert form not in written


async def test_two_secrets_are_never_alike_nor_are_their_seals(desk: Desk, shop: Client) -> None:
    secrets = {(await made(shop))["secret"] for _ in range(3)}
    assert len(secrets) == 3
    assert len({row.secret[:16] for row in desk.rows(WebhookEndpoint)}) == 3


async def test_it_is_listed_changed_disabled_enabled_and_deleted(desk: Desk, shop: Client) -> None:
    endpoints = [await made(shop, description=f"number {n}") for n in range(3)]
    path = f"{PATH}/{endpoints[0]['id']}"
    part = (await shop.get(f"{PATH}?limit=2")).json()
    assert [each["id"] for each in part["data"]] == [endpoints[2]["id"], endpoints[1]["id"]]
    rest = (await shop.get(f"{PATH}?limit=2&cursor={part['next_cursor']}")).json()
    assert [each["id"] for each in rest["data"]] == [endpoints[0]["id"]]
    assert rest["has_more"] is False

    changed = await shop.ok(path, {"event_types": ["purchase.*"], "url": f"{URL}/2"})
    assert (changed["event_types"], changed["url"]) == (["purchase.*"], f"{URL}/2")
    assert changed["description"] == "number 0"
    changed = await shop.ok(path, {"event_types": None, "description": None})
    assert (changed["event_types"], changed["description"]) == (None, None)
    assert changed["url"] == f"{URL}/2"

    assert (await shop.ok(f"{path}/disable"))["disabled_reason"] == "on request"
    for action, body in (("disable", None), ("test", None), ("replay", {"after": 0})):
        refused = await shop.post(f"{path}/{action}", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
        assert refused.json()["actual"] == "disabled"
    enabled = await shop.ok(f"{path}/enable")
    assert (enabled["status"], enabled["disabled_reason"]) == ("enabled", None)
    assert (await shop.post(f"{path}/enable")).status_code == 409

    deleted = await shop.post(f"{path}/delete", key="bye")
    assert (deleted.status_code, deleted.json()["status"]) == (200, "deleted")
    assert (await shop.post(f"{path}/delete", key="bye")).json() == deleted.json()
    assert (await shop.get(path)).status_code == 404
    assert (await shop.get(f"{path}/deliveries")).status_code == 404
    for action in ("", "/enable", "/disable", "/delete", "/test", "/rotate_secret"):
        gone = await shop.post(path + action, {} if action in ("", "/rotate_secret") else None)
        assert (gone.status_code, gone.json()["code"]) == (404, "not_found"), action
    assert len((await shop.get(PATH)).json()["data"]) == 2
    row = next(row for row in desk.rows(WebhookEndpoint) if row.id == endpoints[0]["id"])
    assert (row.secret, row.old_secret) == ("", None)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://shop.example/", "https"),
        ("https://127.0.0.1/", "not a public address"),
        ("https://[::1]:8443/", "not a public address"),
        ("https://169.254.169.254/latest/meta-data/", "not a public address"),
        ("https://inside.example/", "10.0.0.5 is not a public address"),
        ("https://nowhere.example/", "not found"),
        ("https://me:secret@shop.example/", "user or password"),
        ("ftp://shop.example/", "http"),
        ("shop.example", "http"),
    ],
)
async def test_a_url_that_leads_to_no_public_place_is_refused(
    desk: Desk, shop: Client, names: Names, url: str, why: str
) -> None:
    names.leads_to["inside.example"] = ["10.0.0.5"]
    endpoint = await made(shop)
    before = desk.counts()
    for path in (PATH, f"{PATH}/{endpoint['id']}"):
        refused = await shop.post(path, {"url": url})
        assert (refused.status_code, refused.json()["code"]) == (422, "url_refused"), path
        assert refused.json()["param"] == "url"
        assert why in refused.json()["detail"]
    assert desk.counts() == before
    assert len(desk.rows(WebhookEndpoint)) == 1


async def test_a_repeated_request_is_answered_although_the_name_is_gone(
    shop: Client, names: Names
) -> None:
    first = await shop.post(PATH, {"url": URL}, key="k1")
    names.leads_to.clear()
    again = await shop.post(PATH, {"url": URL}, key="k1")
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": 5},
        {"url": ""},
        {"url": f"https://shop.example/{'x' * 2000}"},
        {"url": URL, "event_types": []},
        {"url": URL, "event_types": ["everything"]},
        {"url": URL, "event_types": ["Purchase.Released"]},
        {"url": URL, "event_types": ["*"]},
        {"url": URL, "description": "two\nlines"},
        {"url": URL, "secret": "whsec_mine"},
    ],
)
async def test_what_cannot_be_understood_is_refused(shop: Client, body: dict[str, Any]) -> None:
    refused = await shop.post(PATH, body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


async def test_an_endpoint_keeps_its_url(shop: Client) -> None:
    endpoint = await made(shop)
    refused = await shop.post(f"{PATH}/{endpoint['id']}", {"url": None})
    assert (refused.status_code, refused.json()["param"]) == (422, "url")


async def test_there_are_only_so_many(shop: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MAX_ENDPOINTS", 2)
    first = await made(shop)
    await made(shop)
    refused = await shop.post(PATH, {"url": URL})
    assert (refused.status_code, refused.json()["code"]) == (409, "limit_reached")
    await shop.ok(f"{PATH}/{first['id']}/delete")
    await made(shop)


async def test_a_secret_whose_time_was_promised_is_not_pushed_out(shop: Client) -> None:
    endpoint = await made(shop)
    path = f"{PATH}/{endpoint['id']}/rotate_secret"
    first = await shop.post(path, key="r1")
    assert first.json()["old_secret_until"] is not None
    replayed = await shop.post(path, key="r1")
    assert replayed.json() == {**first.json(), "secret": None}
    refused = await shop.post(path, {"overlap": 60})
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    at_once = await shop.ok(path, {"overlap": 0})
    assert at_once["old_secret_until"] is None
    assert len({endpoint["secret"], first.json()["secret"], at_once["secret"]}) == 3
    for overlap in (-1, 7 * 86_400 + 1, "60"):
        assert (await shop.post(path, {"overlap": overlap})).status_code == 422


async def test_deliveries_are_paged_and_filtered(desk: Desk, shop: Client) -> None:
    endpoint = await made(shop)
    deliver(desk, endpoint, 5)
    path = f"{PATH}/{endpoint['id']}/deliveries"
    part = (await shop.get(f"{path}?limit=3")).json()
    assert [each["event"] for each in part["data"]] == ["evt_4", "evt_3", "evt_2"]
    rest = (await shop.get(f"{path}?limit=3&cursor={part['next_cursor']}")).json()
    assert [each["event"] for each in rest["data"]] == ["evt_1", "evt_0"]
    failed = (await shop.get(f"{path}?status=failed")).json()["data"]
    assert [each["event"] for each in failed] == ["evt_3", "evt_1"]
    of_event = (await shop.get(f"{path}?event=evt_2")).json()["data"]
    assert [each["id"] for each in of_event] == ["whd_2"]
    shown = (await shop.get(f"{path}/whd_2")).json()
    assert shown == of_event[0]
    assert shown["history"][0]["response_status"] == 204
    for wrong in ("?status=lost", "?cursor=x", "?limit=0", "?color=red"):
        refused = await shop.get(path + wrong)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request"), wrong


async def test_the_scope_is_its_own(desk: Desk, shop: Client) -> None:
    endpoint = await made(shop)
    other = await shop.ok("/v1/api_keys", {"name": "x", "scopes": ["read", "money", "keys"]})
    client = Client(desk.app, other["secret"])
    path = f"{PATH}/{endpoint['id']}"
    for get in (PATH, path, f"{path}/deliveries", f"{path}/deliveries/whd_1"):
        answer = await client.get(get)
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), get
    for action, body in ACTIONS.items():
        answer = await client.post(path + action, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), action
        assert "webhooks" in answer.json()["detail"]
    alone = await shop.ok("/v1/api_keys", {"name": "x", "scopes": ["webhooks"]})
    assert (await Client(desk.app, alone["secret"]).get(PATH)).status_code == 200


ACTIONS: dict[str, Any] = {
    "": {"description": "x"},
    "/enable": None,
    "/disable": None,
    "/delete": None,
    "/rotate_secret": {},
    "/test": None,
    "/replay": {"after": 0},
    "/deliveries/whd_0/redeliver": None,
}


async def test_another_merchants_endpoints_do_not_exist(desk: Desk, shop: Client) -> None:
    endpoint = await made(shop)
    deliver(desk, endpoint, 1)
    stranger = desk.client_of("Other shop")
    own = await made(stranger)
    before = [vars(row) for row in desk.rows(WebhookEndpoint)]
    path = f"{PATH}/{endpoint['id']}"
    for get in ("", "/deliveries", "/deliveries/whd_0"):
        assert (await shop.get(path + get)).status_code == 200
        there = await stranger.get(path + get)
        assert (there.status_code, there.json()["code"]) == (404, "not_found")
    for action, body in ACTIONS.items():
        answer = await stranger.post(path + action, body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), action
    # Not by way of one's own endpoint either.
    sideways = f"{PATH}/{own['id']}/deliveries/whd_0"
    assert (await stranger.get(sideways)).status_code == 404
    assert (await stranger.post(f"{sideways}/redeliver")).status_code == 404
    assert [each["id"] for each in (await stranger.get(PATH)).json()["data"]] == [own["id"]]
    after = [vars(row) for row in desk.rows(WebhookEndpoint)]
    for old, new in zip(before, after, strict=True):
        old.pop("_sa_instance_state"), new.pop("_sa_instance_state")
        assert old == new
    assert len(desk.rows(WebhookDelivery)) == 1


async def test_a_test_is_an_event_like_others(shop: Client) -> None:
    endpoint = await made(shop)
    sent = await shop.post(f"{PATH}/{endpoint['id']}/test", key="t1")
    assert sent.status_code == 202
    assert (await shop.post(f"{PATH}/{endpoint['id']}/test", key="t1")).json() == sent.json()
    (event,) = (await shop.get("/v1/events")).json()["data"]
    assert event == sent.json()
    assert (event["type"], event["resource_id"]) == ("webhook_endpoint.test", endpoint["id"])
