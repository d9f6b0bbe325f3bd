"""Scores: kept as they were posted, the newest counts, and who may post and read them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from node.bridge.values import rfc3339
from node.store.models import Event, Score
from tests.node.bridge.support import DAY, Client, Desk

NOW = int(time.time())
REASONS = [
    {"code": "late_ship_rate", "text": "One order in nine was sent late."},
    {"code": "sales_slope", "text": "Deine Umsätze fallen: 12 % weniger als im März 📉"},
]


def a_score(account: Any, **more: Any) -> dict[str, Any]:
    return {
        "account": account["id"],
        "value": "612.50",
        "grade": "B",
        "model_version": "scorecard 3",
        "model_hash": "0x" + "4e" * 32,
        "features_hash": "0x" + "7a" * 32,
        "reasons": REASONS,
        "cutoff": rfc3339(NOW - DAY),
        "valid_until": rfc3339(NOW + 30 * DAY),
        **more,
    }


async def test_a_score_comes_back_as_it_was_posted(desk: Desk, shop: Client) -> None:
    seller = await desk.account(kinds=["seller"])
    posted = await shop.post("/v1/scores", a_score(seller), key="s1")
    assert posted.status_code == 201
    body = posted.json()
    assert {name: body[name] for name in a_score(seller)} == a_score(seller)
    assert body["valid"] is True
    again = await shop.post("/v1/scores", a_score(seller), key="s1")
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (body, "true")
    assert len(desk.rows(Score)) == 1
    for path in (f"/v1/scores/{body['id']}", f"/v1/accounts/{seller['id']}/score"):
        assert (await shop.get(path)).json() == body
    (event,) = [row for row in desk.rows(Event) if row.type == "score.created"]
    assert (event.resource_id, event.data["grade"]) == (body["id"], "B")
    assert "reasons" not in event.data


async def test_the_newest_counts_while_it_is_valid(desk: Desk, shop: Client) -> None:
    seller, other = await desk.account(), await desk.account()
    path = f"/v1/accounts/{seller['id']}/score"
    nothing = await shop.get(path)
    assert (nothing.status_code, nothing.json()["code"]) == (404, "not_found")
    first = await shop.ok("/v1/scores", a_score(seller))
    second = await shop.ok("/v1/scores", a_score(seller, grade="D", reasons=[]))
    await shop.ok("/v1/scores", a_score(other, grade="A"))
    assert (await shop.get(path)).json() == second
    assert (await shop.get(f"/v1/scores/{first['id']}")).json() == {**first, "valid": False}
    desk.set(Score, second["id"], valid_until=NOW - 1)
    assert (await shop.get(path)).json()["valid"] is False
    history = (await shop.get(f"/v1/scores?account={seller['id']}")).json()
    assert [(one["grade"], one["valid"]) for one in history["data"]] == [("D", False), ("B", False)]
    assert [one["grade"] for one in (await shop.get("/v1/scores?grade=A")).json()["data"]] == ["A"]
    part = (await shop.get("/v1/scores?limit=2")).json()
    rest = (await shop.get(f"/v1/scores?limit=2&cursor={part['next_cursor']}")).json()
    assert (len(part["data"]), len(rest["data"]), rest["has_more"]) == (2, 1, False)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"value": 612.5}, "value"),
        ({"value": "0612"}, "value"),
        ({"value": "1e3"}, "value"),
        ({"grade": "F"}, "grade"),
        ({"model_hash": "0x12"}, "model_hash"),
        ({"reasons": REASONS * 3}, "reasons"),
        ({"reasons": [{"code": "Late", "text": "x"}]}, "reasons.0.code"),
        ({"reasons": [{"code": "late", "text": "x", "weight": 3}]}, "reasons.0.weight"),
        ({"reasons": [{"code": "late", "text": "a\x00b"}]}, "reasons.0.text"),
        ({"cutoff": rfc3339(NOW + DAY)}, "cutoff"),
        ({"valid_until": rfc3339(NOW - DAY)}, "valid_until"),
        ({"account": "acc_" + "0" * 32}, "account"),
    ],
)
async def test_what_is_no_score_is_refused(
    desk: Desk, shop: Client, wrong: dict[str, Any], param: str
) -> None:
    seller = await desk.account()
    refused = await shop.post("/v1/scores", {**a_score(seller), **wrong})
    assert refused.status_code in (404, 422)
    assert refused.json()["param"] == param
    assert desk.rows(Score) == []


async def test_posting_needs_a_scope_of_its_own(desk: Desk, shop: Client) -> None:
    seller = await desk.account()
    made = await shop.ok("/v1/api_keys", {"name": "desk", "scopes": ["desk", "credit", "read"]})
    clerk = Client(desk.app, made["secret"])
    refused = await clerk.post("/v1/scores", a_score(seller))
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    made = await shop.ok("/v1/api_keys", {"name": "model", "scopes": ["scores"]})
    model = Client(desk.app, made["secret"])
    await model.ok("/v1/scores", a_score(seller))
    assert (await model.get(f"/v1/accounts/{seller['id']}/score")).status_code == 403
    assert (await clerk.get(f"/v1/accounts/{seller['id']}/score")).status_code == 200
