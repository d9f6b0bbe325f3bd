"""`Prefer: wait=N`: who is woken, when, and what time makes of it."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.orm import Session

from node.bridge.waiting import Waiters, last_seq, wait_seconds
from node.store.models import Event, TopUp
from tests.node.bridge.support import COIN, Client, Desk


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0),
        ("wait=5", 5),
        ("respond-async, wait=10", 10),
        ("wait = 7; foo", 7),
        ("WAIT=3", 3),
        ("wait=31", 30),
        ("wait=999999999", 30),
        ("wait=-1", 0),
        ("wait=soon", 0),
        ("await=9", 0),
        ("wait=1.5", 0),
    ],
)
def test_the_preference_is_read_as_in_rfc_7240(prefer: str | None, seconds: int) -> None:
    assert wait_seconds(prefer) == seconds


def tell(desk: Desk, resource_id: str, number: int) -> None:
    """What the worker writes when something has happened, from a process of its own."""

    def write(session: Session) -> None:
        session.add(
            Event(
                id=f"evt_{number}",
                merchant_id=desk.merchant_id,
                type="topup.succeeded",
                resource_type="topup",
                resource_id=resource_id,
                data={},
                created_at=0,
            )
        )

    desk.store.write_now(write)


async def test_an_answer_waits_until_the_operation_is_settled(desk: Desk, shop: Client) -> None:
    account = await desk.account()
    body = {"account": account["id"], "amount": str(COIN), "reference": "bank 1"}
    waiting = asyncio.create_task(shop.post("/v1/topups", body, key="k1", wait=30))
    while not (topups := desk.rows(TopUp)):  # noqa: ASYNC110 (as a worker looks)
        await asyncio.sleep(0.01)
    tell(desk, topups[0].id, 1)  # an event that settles nothing wakes nobody up for good
    await asyncio.sleep(0.1)
    assert not waiting.done()
    desk.set(TopUp, topups[0].id, status="succeeded")
    desk.settle()
    tell(desk, topups[0].id, 2)
    answer = await waiting
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["preference-applied"] == "wait=30"
    replay = await shop.post("/v1/topups", body, key="k1", wait=30)
    assert (replay.status_code, replay.json()["status"]) == (202, "succeeded")


async def test_when_the_time_is_up_the_answer_is_what_it_would_have_been(
    desk: Desk, shop: Client
) -> None:
    account = await desk.account()
    body = {"account": account["id"], "amount": str(COIN), "reference": "bank 1"}
    answer = await shop.post("/v1/topups", body, wait=1)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert "preference-applied" not in answer.headers


async def test_what_needs_no_chain_is_not_waited_for(desk: Desk, shop: Client) -> None:
    purchase = await desk.purchase()
    desk.hold(purchase)
    shipped = await shop.post(f"/v1/purchases/{purchase['id']}/ship", wait=30)
    assert (shipped.status_code, shipped.json()["status"]) == (200, "shipped")
    assert "preference-applied" not in shipped.headers


async def test_many_wait_with_one_watcher_and_none_without_waiters(desk: Desk) -> None:
    reads = 0
    store = desk.store

    class CountingStore:
        async def read(self, work: object) -> object:
            nonlocal reads
            reads += 1
            return await store.read(work)  # type: ignore[arg-type]

    waiters = Waiters(CountingStore())  # type: ignore[arg-type]
    after = store.read_now(last_seq)
    happened: set[str] = set()
    tasks = [
        asyncio.create_task(
            waiters.wait(name, after, lambda _, name=name: name if name in happened else None, 30)
        )
        for name in (f"top_{number}" for number in range(50))
    ]
    await asyncio.sleep(0.3)
    assert reads < 40  # one poll each 15 ms, not one for each that waits
    happened.update(f"top_{number}" for number in range(50))
    for number in range(50):
        tell(desk, f"top_{number}", number)
    assert await asyncio.gather(*tasks) == [f"top_{number}" for number in range(50)]
    await asyncio.sleep(0.1)
    seen = reads
    await asyncio.sleep(0.2)
    assert reads == seen


async def test_an_event_before_the_watcher_started_is_not_missed(desk: Desk) -> None:
    waiters = Waiters(desk.store)
    after = desk.store.read_now(last_seq)
    tell(desk, "top_1", 1)
    found = await asyncio.wait_for(waiters.wait("top_1", after, lambda _: "there", 30), 0.9)
    assert found == "there"


async def test_a_stopping_bridge_lets_everybody_answer(desk: Desk) -> None:
    waiters = Waiters(desk.store)
    waiting = asyncio.create_task(waiters.wait("top_1", 0, lambda _: None, 30))
    await asyncio.sleep(0.05)
    waiters.stop()
    assert await asyncio.wait_for(waiting, 5) is None
