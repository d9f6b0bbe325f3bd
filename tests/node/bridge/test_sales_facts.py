"""Sales facts: recorded once, each by itself, corrected with a history."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from node.bridge.sales_facts import MAX_FACTS
from node.store.models import SalesFact, SalesFactRevision
from tests.node.bridge.support import Client, Desk

PATH = "/v1/sales_facts"
WHEN = "2020-09-01T12:00:00Z"


async def a_seller(desk: Desk) -> str:
    return str((await desk.account(kinds=["seller"]))["id"])


def a_fact(seller: str, number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "kind": "review",
        "order_id": f"A-{number}",
        "reference": f"review {number}",
        "seller": seller,
        "occurred_at": WHEN,
        "score": 5,
        **more,
    }


async def post(client: Client, *facts: Any) -> dict[str, Any]:
    return await client.ok(PATH, {"facts": list(facts)}, key=None)


def without_score(fact: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**{name: value for name, value in fact.items() if name != "score"}, **more}


async def test_a_fact_counts_once(desk: Desk, shop: Client) -> None:
    seller = await a_seller(desk)
    kinds = [
        a_fact(seller),
        without_score(a_fact(seller), kind="return"),
        without_score(a_fact(seller), kind="cancellation"),
        a_fact(seller, reference="review 2"),
    ]
    first = await post(shop, *kinds, kinds[0])
    assert (first["created"], first["unchanged"], first["refused"]) == (4, 1, 0)
    ids = [result["id"] for result in first["data"]]
    assert (len(set(ids)), ids[4]) == (4, ids[0])
    again = await post(shop, *reversed(kinds))
    assert [result["status"] for result in again["data"]] == ["unchanged"] * 4
    assert [result["id"] for result in again["data"]] == ids[3::-1]
    assert len(desk.rows(SalesFact)) == 4
    other = await post(shop, a_fact(seller, score=1))
    assert other["data"][0] | {"detail": None} == {
        "index": 0,
        "status": "refused",
        "id": ids[0],
        "code": "reference_taken",
        "param": "reference",
        "detail": None,
    }
    assert (await shop.get(f"{PATH}/{ids[0]}")).json()["score"] == 5


async def test_one_that_is_wrong_is_in_nobodys_way(desk: Desk, shop: Client) -> None:
    seller = await a_seller(desk)
    good = a_fact(seller, 99)
    late = "2020-09-14T13:00:00Z"  # more than a day after the chain's time
    wrong: list[tuple[dict[str, Any], str, str]] = [
        (a_fact("acc_1"), "not_found", "seller"),
        (a_fact(seller, score=0), "invalid_request", "score"),
        (a_fact(seller, score=6), "invalid_request", "score"),
        (a_fact(seller, score="5"), "invalid_request", "score"),
        (a_fact(seller, score=4.5), "invalid_request", "score"),
        (without_score(a_fact(seller)), "invalid_request", "score"),
        (a_fact(seller, kind="return"), "invalid_request", "score"),
        (a_fact(seller, kind="rumour"), "invalid_request", "kind"),
        (a_fact(seller, order_id=""), "invalid_request", "order_id"),
        (a_fact(seller, reference="a\nb"), "invalid_request", "reference"),
        (a_fact(seller, reference="x" * 121), "invalid_request", "reference"),
        (a_fact(seller, occurred_at="yesterday"), "invalid_request", "occurred_at"),
        (a_fact(seller, occurred_at=late), "invalid_request", "occurred_at"),
        (a_fact(seller, text="lovely"), "invalid_request", "text"),
        ({}, "invalid_request", "kind"),
    ]
    answer = await post(shop, *(fact for fact, _, _ in wrong), good)
    found = [(result["code"], result["param"]) for result in answer["data"]]
    assert found == [*((code, param) for _, code, param in wrong), (None, None)]
    assert all(result["detail"] for result in answer["data"][:-1])
    assert [row.order_id for row in desk.rows(SalesFact)] == ["A-99"]
    assert (answer["created"], answer["refused"]) == (1, len(wrong))


@pytest.mark.parametrize("facts", [[], [5], ["x"], None, {}, [None], [{"kind": "review"}, []]])
async def test_what_is_no_list_of_facts_is_refused_as_a_whole(shop: Client, facts: Any) -> None:
    answer = await shop.post(PATH, {"facts": facts}, key=None)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["param"].startswith("facts")


async def test_a_thousand_at_once_and_not_one_more(desk: Desk, shop: Client) -> None:
    seller = await a_seller(desk)
    facts = [a_fact(seller, n, order_id=f"{n}-" + "ä" * 100) for n in range(MAX_FACTS)]
    answer = await post(shop, *facts)
    assert (answer["created"], len(answer["data"])) == (MAX_FACTS, MAX_FACTS)
    assert [result["index"] for result in answer["data"]] == list(range(MAX_FACTS))
    assert (await post(shop, *facts))["unchanged"] == MAX_FACTS
    assert len(desk.rows(SalesFact)) == MAX_FACTS
    more = await shop.post(PATH, {"facts": [*facts, a_fact(seller)]}, key=None)
    assert (more.status_code, more.json()["param"]) == (422, "facts")
    huge = await shop.post(PATH, {"facts": ["x" * 1024 * 1024]}, key=None)
    assert (huge.status_code, huge.json()["code"]) == (413, "body_too_large")
    elsewhere = await shop.post("/v1/accounts", {"reference": "x" * 100_000})
    assert elsewhere.status_code == 413


async def test_two_processes_that_post_the_same_record_it_once(desk: Desk) -> None:
    seller = await a_seller(desk)
    answers: list[dict[str, Any]] = []
    barrier = threading.Barrier(2)

    def ask(client: Client) -> None:
        async def run() -> None:
            for start in range(0, 50, 5):
                barrier.wait()
                facts = [a_fact(seller, n) for n in range(start, start + 5)]
                answers.append(await post(client, *facts))

        asyncio.run(run())

    clients = [Client(desk.new_app(), desk.shop_key.secret) for _ in range(2)]
    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert sum(answer["created"] for answer in answers) == 50
    assert sum(answer["unchanged"] for answer in answers) == 50
    assert len(desk.rows(SalesFact)) == 50


async def test_a_correction_keeps_what_was_said_before(desk: Desk, shop: Client) -> None:
    seller, other = await a_seller(desk), await a_seller(desk)
    fact_id = (await post(shop, a_fact(seller, score=2)))["data"][0]["id"]
    path = f"{PATH}/{fact_id}/corrections"
    changed = {"reason": "the buyer thought again", "score": 4, "seller": other}
    first = await shop.post(path, changed, key="c1")
    assert (first.status_code, first.json()["score"], first.json()["revision"]) == (200, 4, 2)
    again = await shop.post(path, changed, key="c1")
    assert again.headers["idempotency-replayed"] == "true"
    withdrawn = await shop.ok(path, {"reason": "never was", "withdrawn": True})
    assert (withdrawn["withdrawn"], withdrawn["revision"]) == (True, 3)
    assert [
        (old["revision"], old["score"], old["seller"], old["withdrawn"], old["reason"])
        for old in withdrawn["history"]
    ] == [(2, 4, other, False, "never was"), (1, 2, seller, False, "the buyer thought again")]
    assert withdrawn["history"][0]["recorded_at"] == withdrawn["history"][1]["replaced_at"]
    # A retry of the first post finds what it said, and brings nothing back.
    assert (await post(shop, a_fact(seller, score=2)))["data"][0]["status"] == "unchanged"
    assert (await shop.get(f"{PATH}/{fact_id}")).json() == withdrawn
    back = await shop.ok(path, {"reason": "it was after all", "withdrawn": False})
    assert (back["withdrawn"], len(back["history"])) == (False, 3)


async def test_a_correction_corrects_something(desk: Desk, shop: Client) -> None:
    seller = await a_seller(desk)
    recorded = await post(shop, a_fact(seller), without_score(a_fact(seller, 2), kind="return"))
    review, return_ = (result["id"] for result in recorded["data"])
    for fact_id, body, param in (
        (review, {"reason": "x"}, "body"),
        (review, {"reason": "x", "score": 5, "occurred_at": WHEN, "withdrawn": False}, "body"),
        (review, {"score": 4}, "reason"),
        (review, {"reason": "x", "score": 6}, "score"),
        (review, {"reason": "x", "kind": "return"}, "kind"),
        (review, {"reason": "x", "occurred_at": "2030-01-01T00:00:00Z"}, "occurred_at"),
        (return_, {"reason": "x", "score": 4}, "score"),
    ):
        answer = await shop.post(f"{PATH}/{fact_id}/corrections", body)
        assert (answer.status_code, answer.json()["param"]) == (422, param), body
    unknown = {"reason": "x", "seller": "acc_1"}
    answer = await shop.post(f"{PATH}/{review}/corrections", unknown)
    assert (answer.status_code, answer.json()["param"]) == (404, "seller")
    assert desk.rows(SalesFactRevision) == []


async def test_facts_are_listed_by_seller_and_time(desk: Desk, shop: Client) -> None:
    seller, other = await a_seller(desk), await a_seller(desk)
    times = [f"2020-08-{day:02}T00:00:00Z" for day in range(1, 6)]
    await post(shop, a_fact(other, 9))
    await post(shop, *(a_fact(seller, n, occurred_at=when) for n, when in enumerate(times)))
    await post(shop, without_score(a_fact(seller, 7), kind="return", occurred_at=times[2]))

    async def listed(query: str) -> list[str]:
        answer = await shop.get(f"{PATH}?{query}")
        return [fact["order_id"] for fact in answer.json()["data"]]

    assert await listed(f"seller={other}") == ["A-9"]
    mine = f"seller={seller}"
    assert await listed(mine) == ["A-7", "A-4", "A-3", "A-2", "A-1", "A-0"]
    between = f"{mine}&occurred_from={times[1]}&occurred_before={times[3]}"
    assert await listed(between) == ["A-7", "A-2", "A-1"]
    assert await listed(f"{between}&kind=return") == ["A-7"]
    assert await listed("order_id=A-3") == ["A-3"]
    first = (await shop.get(f"{PATH}?{mine}&limit=4")).json()
    assert await listed(f"{mine}&cursor={first['next_cursor']}") == ["A-1", "A-0"]
    assert (await shop.get(f"{PATH}?occurred_from=monday")).status_code == 422


async def test_another_merchants_facts_do_not_exist(desk: Desk, shop: Client) -> None:
    seller = await a_seller(desk)
    fact_id = (await post(shop, a_fact(seller)))["data"][0]["id"]
    stranger = desk.client_of("Other shop")
    assert (await post(stranger, a_fact(seller)))["data"][0]["code"] == "not_found"
    own = await stranger.ok("/v1/accounts", {"kinds": ["seller"]})
    assert (await post(stranger, a_fact(own["id"])))["created"] == 1
    assert (await stranger.get(f"{PATH}/{fact_id}")).status_code == 404
    path = f"{PATH}/{fact_id}/corrections"
    assert (await stranger.post(path, {"reason": "x", "score": 1})).status_code == 404
    listed = (await stranger.get(f"{PATH}?seller={seller}")).json()["data"]
    assert listed == []
    made = await shop.ok("/v1/api_keys", {"name": "books", "scopes": ["read"]})
    reader = Client(desk.app, made["secret"])
    assert (await reader.get(f"{PATH}/{fact_id}")).status_code == 200
    refused = await reader.post(PATH, {"facts": [a_fact(seller)]}, key=None)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
