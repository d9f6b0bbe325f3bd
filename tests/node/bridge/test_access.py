"""Keys, scopes, and the wall between merchants."""

from __future__ import annotations

import pytest

from node.store.models import ApiKey
from tests.node.bridge.support import COIN, Client, Desk


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer nonsense", "Bearer plz_unknown", "Basic cGx6", "plz_x"]
)
async def test_without_a_valid_key_nothing_is_said(desk: Desk, header: str | None) -> None:
    client = Client(desk.app, None)
    headers = {} if header is None else {"Authorization": header}
    answer = await client.get("/v1/accounts", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_key_does_only_what_its_scopes_allow(desk: Desk, shop: Client) -> None:
    account = await desk.account()
    made = await shop.ok("/v1/api_keys", {"name": "books", "scopes": ["read"]})
    reader = Client(desk.app, made["secret"])
    assert (await reader.get("/v1/accounts")).status_code == 200
    topup = {"account": account["id"], "amount": "1", "reference": "r"}
    for path, body, scope in (
        ("/v1/accounts", {"kinds": ["buyer"]}, "accounts"),
        ("/v1/topups", topup, "money"),
        ("/v1/purchases/pur_x/ship", {}, "purchases"),
        ("/v1/api_keys", {"name": "x"}, "keys"),
    ):
        answer = await reader.post(path, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
        assert scope in answer.json()["detail"]
    assert (await reader.get("/v1/api_keys")).status_code == 403


async def test_a_key_gives_no_rights_it_has_not_got(desk: Desk, shop: Client) -> None:
    made = await shop.ok("/v1/api_keys", {"name": "keys only", "scopes": ["keys"]})
    clerk = Client(desk.app, made["secret"])
    refused = await clerk.post("/v1/api_keys", {"name": "x", "scopes": ["keys", "money"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert (await clerk.ok("/v1/api_keys", {"name": "x"}))["scopes"] == ["keys"]


async def test_a_secret_is_shown_once_and_kept_as_a_hash(desk: Desk, shop: Client) -> None:
    first = await shop.post("/v1/api_keys", {"name": "x"}, key="k1")
    secret = first.json()["secret"]
    assert first.status_code == 201
    assert secret.startswith("plz_")
    again = await shop.post("/v1/api_keys", {"name": "x"}, key="k1")
    assert again.status_code == 201
    assert again.json() == {**first.json(), "secret": None}
    shown = await shop.get(f"/v1/api_keys/{first.json()['id']}")
    assert shown.json()["secret"] is None
    columns = [
        value for row in desk.rows(ApiKey) for value in vars(row).values() if value == secret
    ]
    assert columns == []


async def test_a_revoked_key_ends_at_once(desk: Desk, shop: Client) -> None:
    made = await shop.ok("/v1/api_keys", {"name": "x"})
    client = Client(desk.app, made["secret"])
    assert (await client.get("/v1/accounts")).status_code == 200
    revoked = await shop.post(f"/v1/api_keys/{made['id']}/revoke")
    assert revoked.status_code == 200
    assert revoked.json()["revoked_at"] is not None
    assert (await client.get("/v1/accounts")).status_code == 401
    again = await shop.post(f"/v1/api_keys/{made['id']}/revoke")
    assert (again.status_code, again.json()["code"]) == (409, "invalid_state")


async def test_another_merchants_resources_do_not_exist(desk: Desk, shop: Client) -> None:
    """By id, in lists, as an argument, and as the object of every action."""
    account = await desk.account(balance=COIN)
    other_account = await desk.account()
    move = {"account": account["id"], "amount": "1", "reference": "r"}
    topup = await shop.ok("/v1/topups", move)
    redemption = await shop.ok("/v1/redemptions", move)
    transfer = await shop.ok(
        "/v1/transfers", {"from": account["id"], "to": other_account["id"], "amount": "1"}
    )
    purchase = await desk.purchase()
    key = await shop.ok("/v1/api_keys", {"name": "x"})
    operation = desk.operations("topup.mint")[0]
    events = (await shop.get("/v1/events")).json()["data"]
    paths = {
        f"/v1/accounts/{account['id']}": ["", "/balance", "/entries"],
        f"/v1/topups/{topup['id']}": [""],
        f"/v1/redemptions/{redemption['id']}": [""],
        f"/v1/transfers/{transfer['id']}": [""],
        f"/v1/purchases/{purchase['id']}": [""],
        f"/v1/operations/{operation.id}": [""],
        f"/v1/events/{events[0]['id']}": [""],
        f"/v1/api_keys/{key['id']}": [""],
    }
    actions: dict[str, object] = {
        f"/v1/accounts/{account['id']}/freeze": {"reason": "x"},
        f"/v1/accounts/{account['id']}/unfreeze": None,
        f"/v1/accounts/{account['id']}/membership": {"member_until": "2031-01-01T00:00:00Z"},
        f"/v1/topups/{topup['id']}/cancel": None,
        f"/v1/redemptions/{redemption['id']}/cancel": None,
        f"/v1/purchases/{purchase['id']}/authorize": None,
        f"/v1/purchases/{purchase['id']}/ship": None,
        f"/v1/purchases/{purchase['id']}/deliver": None,
        f"/v1/purchases/{purchase['id']}/release": None,
        f"/v1/purchases/{purchase['id']}/void": None,
        f"/v1/purchases/{purchase['id']}/refund": {"reference": "x"},
        f"/v1/api_keys/{key['id']}/revoke": None,
        "/v1/topups": {**move, "reference": "other"},
        "/v1/redemptions": {**move, "reference": "other"},
        "/v1/transfers": {"from": account["id"], "to": account["address"], "amount": "1"},
        "/v1/purchases": {
            "order_id": "A-1", "payer": account["id"], "payee": other_account["id"], "amount": "1",
        },
    }  # fmt: skip
    stranger = desk.client_of("Other shop")
    before = desk.counts()
    for path, more in paths.items():
        for part in more:
            assert (await shop.get(path + part)).status_code == 200
            there = await stranger.get(path + part)
            nowhere = await stranger.get(path[:-1] + ("0" if path[-1] != "0" else "1") + part)
            assert (there.status_code, nowhere.status_code) == (404, 404)
            assert there.json()["code"] == nowhere.json()["code"] == "not_found"
    for path, body in actions.items():
        answer = await stranger.post(path, body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    for name in ("accounts", "topups", "redemptions", "transfers", "purchases", "operations"):
        assert (await stranger.get(f"/v1/{name}")).json()["data"] == []
    assert (await stranger.get("/v1/events")).json()["data"] == []
    assert (await stranger.get("/v1/purchases/totals")).json()["by_status"] == {}
    assert len((await stranger.get("/v1/api_keys")).json()["data"]) == 1
    assert desk.counts() == before


async def test_two_merchants_may_use_the_same_words(desk: Desk, shop: Client) -> None:
    stranger = desk.client_of("Other shop")
    body = {"kinds": ["buyer"], "reference": "customer-1"}
    mine, theirs = await shop.ok("/v1/accounts", body), await stranger.ok("/v1/accounts", body)
    assert mine["address"] != theirs["address"]
    found = (await stranger.get("/v1/accounts?reference=customer-1")).json()["data"]
    assert [account["id"] for account in found] == [theirs["id"]]
