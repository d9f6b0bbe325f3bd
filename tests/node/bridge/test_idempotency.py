"""One effect, however often a request arrives, wherever, and after whatever."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from node.bridge.api_keys import create_merchant_key
from node.bridge.auth import ALL_SCOPES
from node.store.models import TopUp
from tests.node.bridge.support import COIN, Client, Desk, openapi


async def a_topup(desk: Desk, reference: str = "bank 1") -> dict[str, str]:
    account = await desk.account()
    return {"account": account["id"], "amount": str(COIN), "reference": reference}


async def test_the_same_key_again_has_no_second_effect(desk: Desk, shop: Client) -> None:
    body = await a_topup(desk)
    first = await shop.post("/v1/topups", body, key="k1")
    before = desk.counts()
    again = await shop.post("/v1/topups", dict(reversed(body.items())), key="k1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert desk.counts() == before


async def test_a_replay_shows_the_resource_as_it_now_stands(desk: Desk, shop: Client) -> None:
    body = await a_topup(desk)
    first = (await shop.post("/v1/topups", body, key="k1")).json()
    desk.set(TopUp, first["id"], status="succeeded")
    again = await shop.post("/v1/topups", body, key="k1")
    assert again.status_code == 202
    assert again.json() == {**first, "status": "succeeded"}


async def test_the_same_key_at_once_has_one_effect(desk: Desk, shop: Client) -> None:
    body = await a_topup(desk)
    answers = await asyncio.gather(*(shop.post("/v1/topups", body, key="k1") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert len(desk.operations("topup.mint")) == 1


async def test_the_same_key_at_once_in_two_processes_has_one_effect(desk: Desk) -> None:
    """Two applications, each with a store and an event loop of its own, on one database."""
    body = await a_topup(desk)
    barrier = threading.Barrier(2)
    answers: list[httpx.Response] = []

    def ask(app_client: Client) -> None:
        async def run() -> None:
            for number in range(10):
                barrier.wait()
                key, one = f"k{number}", {**body, "reference": f"bank {number}"}
                answers.append(await app_client.post("/v1/topups", one, key=key))

        asyncio.run(run())

    clients = [Client(desk.new_app(), desk.shop_key.secret) for _ in range(2)]
    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert [answer.status_code for answer in answers] == [202] * 20
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 10
    assert len({answer.json()["id"] for answer in answers}) == 10
    assert len(desk.operations("topup.mint")) == 10


async def test_the_same_key_after_a_restart_has_no_second_effect(desk: Desk, shop: Client) -> None:
    body = await a_topup(desk)
    first = await shop.post("/v1/topups", body, key="k1")
    restarted = Client(desk.new_app(), desk.shop_key.secret)
    again = await restarted.post("/v1/topups", body, key="k1")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    assert len(desk.operations("topup.mint")) == 1


async def test_a_key_reused_for_another_request_is_refused(desk: Desk, shop: Client) -> None:
    body = await a_topup(desk)
    first = (await shop.post("/v1/topups", body, key="k1")).json()
    before = desk.counts()
    other_body = await shop.post("/v1/topups", {**body, "amount": "5"}, key="k1")
    other_path = await shop.post(f"/v1/topups/{first['id']}/cancel", key="k1")
    for refused in (other_body, other_path):
        assert refused.status_code == 422
        assert refused.json()["code"] == "idempotency_key_reused"
        assert refused.json()["resource_id"] == first["id"]
    assert desk.counts() == before


async def test_merchants_do_not_share_keys(desk: Desk, shop: Client) -> None:
    body = await a_topup(desk)
    await shop.post("/v1/topups", body, key="k1")
    other = desk.client_of("Other shop")
    answer = await other.post("/v1/accounts", {"kinds": ["buyer"]}, key="k1")
    assert answer.status_code == 202
    assert "idempotency-replayed" not in answer.headers


async def test_a_refused_request_keeps_no_key(desk: Desk, shop: Client) -> None:
    body = await a_topup(desk)
    refused = await shop.post("/v1/topups", {**body, "account": "acc_none"}, key="k1")
    assert refused.status_code == 404
    accepted = await shop.post("/v1/topups", body, key="k1")
    assert accepted.status_code == 202
    assert "idempotency-replayed" not in accepted.headers


async def test_a_key_is_required_of_everything_that_creates_or_moves(desk: Desk) -> None:
    key = desk.store.write_now(
        lambda session: create_merchant_key(
            session, desk.settings, merchant="Demo shop", name="all", scopes=ALL_SCOPES
        )
    )
    everybody = Client(desk.app, key.secret)
    paths = openapi(desk.app)["paths"]
    for path, methods in paths.items():
        counts_once = path == "/v1/sales_facts" or path.startswith("/v1/pay/")
        if "post" not in methods or counts_once or path.startswith("/x402/"):
            continue
        answer = await everybody.post(path.replace("{", "x").replace("}", ""), {}, key=None)
        assert answer.status_code == 400
        assert answer.json()["code"] == "idempotency_key_required", path
        header = next(p for p in methods["post"]["parameters"] if p["name"] == "Idempotency-Key")
        assert header["required"]


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ä".encode().decode("latin-1")])
async def test_a_key_is_1_to_255_visible_ascii_characters(
    desk: Desk, shop: Client, key: str
) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = await shop.request(
        "POST",
        "/v1/accounts",
        json={"kinds": ["buyer"]},
        headers=[*shop.http.headers.raw, *headers],
    )
    assert answer.status_code == 400
    assert answer.json()["code"] == "idempotency_key_invalid"


async def test_the_answer_comes_after_the_commit(desk: Desk) -> None:
    """At the moment the answer's first byte is sent, another connection reads what it tells of."""
    body = await a_topup(desk)
    seen: list[int] = []

    async def spied(scope: object, receive: object, send: object) -> None:
        async def spy(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                # A store of its own, so a connection of its own.
                seen.append(len(desk.operations("topup.mint")))
            await send(message)  # type: ignore[operator]

        await desk.app(scope, receive, spy)  # type: ignore[arg-type]

    transport = httpx.ASGITransport(spied)  # type: ignore[arg-type]
    headers = {"Authorization": f"Bearer {desk.shop_key.secret}", "Idempotency-Key": "k1"}
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge") as http:
        answer = await http.post("/v1/topups", json=body, headers=headers)
    assert answer.status_code == 202
    assert seen == [1]
