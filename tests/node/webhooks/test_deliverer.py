"""Deliveries: signed, in order, again and again until they arrive, and nowhere else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import func, select
from standardwebhooks import Webhook, WebhookVerificationError

from node.store import Store
from node.store.models import DeliveryStatus, WebhookDeliverer, WebhookDelivery, WebhookEndpoint
from node.webhooks import deliverer as module
from node.webhooks.deliverer import JITTER, LEASE_SECONDS, SCHEDULE
from tests.node.webhooks.support import Clock, Office, Received, Receiver

DAY = 86_400


def in_database(office: Office) -> list[WebhookDelivery]:
    return sorted(office.desk.rows(WebhookDelivery), key=lambda row: row.number)


# ----------------------------------------------------------------------- what is delivered


async def test_each_event_arrives_once_signed_in_order_and_as_the_api_shows_it(
    office: Office, receiver: Receiver
) -> None:
    office.tell("top_before")
    endpoint = await office.endpoint(receiver)
    told = {name: [office.tell(name) for _ in range(3)] for name in ("top_a", "top_b")}
    await office.settle(office.deliverer())
    assert {name: receiver.of(name) for name in told} == told
    assert receiver.of("top_before") == []  # it was before the endpoint
    for each in receiver.received:
        assert (await office.shop.get(f"/v1/events/{each.id}")).json() == each.event
        assert each.headers["webhook-timestamp"] == str(int(office.clock.now))
        with pytest.raises(WebhookVerificationError):  # the check can fail
            Webhook(receiver.secrets[0]).verify("{}", each.headers)
    deliveries = await office.deliveries(endpoint)
    assert {(each["status"], each["attempts"]) for each in deliveries} == {("succeeded", 1)}
    assert {each["response_status"] for each in deliveries} == {204}


async def test_an_endpoint_gets_the_types_it_wants_and_nothing_of_other_merchants(
    office: Office, receiver: Receiver
) -> None:
    stranger = office.desk.new_key("Other shop")
    await office.endpoint(receiver, event_types=["purchase.released", "topup.*"])
    wanted = [office.tell("pur_1", "purchase.released"), office.tell("top_1", "topup.failed")]
    office.tell("pur_1", "purchase.shipped")
    office.tell("pur_2", "purchase.released", merchant_id=stranger.merchant_id)
    await office.settle(office.deliverer())
    assert [each.event["seq"] for each in receiver.received] == wanted


async def test_two_endpoints_each_get_their_own_with_their_own_secret(
    office: Office, receiver: Receiver
) -> None:
    other = Receiver()
    await other.start()
    stranger = office.desk.client_of("Other shop")
    await office.endpoint(receiver)
    theirs = await office.endpoint(other, stranger)
    office.tell("top_1")
    office.tell("top_2", merchant_id=_merchant_of(office, theirs["id"]))
    await office.settle(office.deliverer())
    assert [each.resource for each in receiver.received] == ["top_1"]
    assert [each.resource for each in other.received] == ["top_2"]
    await other.kill()


def _merchant_of(office: Office, endpoint_id: str) -> str:
    rows = office.desk.rows(WebhookEndpoint)
    return next(row.merchant_id for row in rows if row.id == endpoint_id)


async def test_a_test_goes_to_the_endpoint_it_tests_alone_whatever_it_wants(
    office: Office, receiver: Receiver
) -> None:
    other = Receiver()
    await other.start()
    await office.endpoint(other)
    endpoint = await office.endpoint(receiver, event_types=["purchase.released"])
    event = await office.shop.ok(f"/v1/webhook_endpoints/{endpoint['id']}/test")
    deliverer = office.deliverer()
    await office.settle(deliverer)
    assert [each.event for each in receiver.received] == [event]
    assert event["type"] == "webhook_endpoint.test"
    assert other.received == []
    await receiver.kill()
    path = f"/v1/webhook_endpoints/{endpoint['id']}/test"
    await office.shop.ok(path)
    await office.settle(deliverer)
    await receiver.start()
    second = await office.shop.ok(path)  # it does not wait for the one that failed
    await office.settle(deliverer)
    assert receiver.received[-1].event == second
    assert {each["resource_id"] for each in await office.deliveries(endpoint)} == {endpoint["id"]}
    await other.kill()


# ----------------------------------------------------------------------------- trying again


async def test_an_event_is_tried_at_the_stated_times_then_given_up_and_the_next_goes(
    office: Office, receiver: Receiver
) -> None:
    endpoint = await office.endpoint(receiver)
    poisoned, following = office.tell("top_1"), office.tell("top_1")

    async def refuse_the_first(received: Received) -> int:
        return 500 if received.event["seq"] == poisoned else 200

    receiver.behave = refuse_the_first
    deliverer = office.deliverer()
    assert SCHEDULE == (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    for number, pause in enumerate(SCHEDULE):
        longer = pause * (1 + JITTER * 0.5)
        if number:
            office.clock.now += longer - 0.1
            await office.settle(deliverer)
            assert receiver.of("top_1") == [poisoned] * number  # not a moment too early
            office.clock.now += 0.1
        await office.settle(deliverer)
        assert receiver.of("top_1")[: number + 1] == [poisoned] * (number + 1)
    assert receiver.of("top_1") == [poisoned] * 10 + [following]
    assert len({each.id for each in receiver.received[:10]}) == 1  # always the same webhook-id
    first, second = await office.deliveries(endpoint)
    assert (first["status"], first["attempts"], first["response_status"]) == ("failed", 10, 500)
    assert first["next_attempt_at"] is None
    assert [each["response_status"] for each in first["history"]] == [500] * 10
    assert (second["status"], second["attempts"]) == ("succeeded", 1)


async def test_pauses_are_longer_by_up_to_a_tenth_by_chance(
    office: Office, receiver: Receiver
) -> None:
    await office.endpoint(receiver)

    async def refuse(_received: Received) -> int:
        return 503

    receiver.behave = refuse
    chances = iter([0.0, 0.999])
    for resource in ("top_1", "top_2"):
        office.tell(resource)
    await office.settle(office.deliverer(random=lambda: next(chances), concurrency=1))
    pauses = [row.next_attempt_at / 1000 - office.clock.now for row in in_database(office)]
    assert pauses == pytest.approx([5.0, 5.4995], abs=0.002)


async def test_a_poisoned_event_holds_up_its_own_resource_and_no_other(
    office: Office, receiver: Receiver
) -> None:
    endpoint = await office.endpoint(receiver)

    async def refuse_one_resource(received: Received) -> int:
        return 500 if received.resource == "top_bad" else 200

    receiver.behave = refuse_one_resource
    bad = [office.tell("top_bad") for _ in range(3)]
    good = [office.tell("top_good") for _ in range(20)]
    deliverer = office.deliverer(concurrency=2)
    await office.settle(deliverer)
    assert receiver.of("top_good") == good
    assert receiver.of("top_bad") == bad[:1]
    assert [each["status"] for each in await office.deliveries(endpoint, status="waiting")] == [
        "waiting",
        "waiting",
    ]
    office.clock.now += 6

    async def accept_all(_received: Received) -> int:
        return 200

    receiver.behave = accept_all
    await office.settle(deliverer)
    assert receiver.of("top_bad") == [bad[0], *bad]


async def test_a_receiver_that_was_killed_gets_everything_when_it_is_back(
    office: Office, receiver: Receiver
) -> None:
    endpoint = await office.endpoint(receiver)
    await receiver.kill()
    told = [office.tell("top_1") for _ in range(3)]
    deliverer = office.deliverer()
    await office.settle(deliverer)
    first = (await office.deliveries(endpoint))[0]
    assert (first["status"], first["response_status"]) == ("pending", None)
    assert "no connection" in first["error"]
    await receiver.start()
    office.clock.now += 6
    await office.settle(deliverer)
    assert receiver.of("top_1") == told


async def test_a_receiver_that_hangs_is_given_up_in_time_and_holds_up_no_other_endpoint(
    office: Office, receiver: Receiver
) -> None:
    endpoint = await office.endpoint(receiver)
    for number in range(30):
        office.tell(f"top_{number}")
    release = asyncio.Event()

    async def hang(_received: Received) -> int:
        await release.wait()
        return 200

    receiver.behave = hang
    quick = Receiver()
    await quick.start()
    await office.endpoint(quick)
    seq = office.tell("top_x")
    deliverer = office.deliverer(seconds=2.0, concurrency=4)
    while receiver.at_once < 4 or not quick.received:  # without waiting for what hangs
        await deliverer.round()
        await asyncio.sleep(0.01)
    assert [each.event["seq"] for each in quick.received] == [seq]
    assert receiver.at_once == receiver.most_at_once == 4  # no more than allowed
    await deliverer.settle()
    await deliverer.round()
    timed_out = [each for each in await office.deliveries(endpoint) if each["attempts"]]
    assert {each["error"] for each in timed_out} == {"no answer within 2 seconds"}
    # It gave no answer, so from now on it is asked one at a time.
    receiver.most_at_once = 0
    release.set()
    await deliverer.settle()
    assert receiver.most_at_once <= 1
    await office.settle(deliverer)
    await quick.kill()


async def test_a_redirect_is_not_followed(office: Office, receiver: Receiver) -> None:
    endpoint = await office.endpoint(receiver)

    async def redirect(_received: Received) -> web.Response:
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    receiver.behave = redirect
    office.tell("top_1")
    await office.settle(office.deliverer())
    (delivery,) = await office.deliveries(endpoint)
    assert (delivery["status"], delivery["response_status"]) == ("pending", 307)
    assert receiver.elsewhere == 0


async def test_410_disables_the_endpoint_and_says_so_and_what_is_open_waits(
    office: Office, receiver: Receiver
) -> None:
    endpoint = await office.endpoint(receiver)

    async def gone(_received: Received) -> int:
        return 410

    receiver.behave = gone
    told = [office.tell("top_1") for _ in range(2)]
    deliverer = office.deliverer()
    await office.settle(deliverer)
    path = f"/v1/webhook_endpoints/{endpoint['id']}"
    shown = (await office.shop.get(path)).json()
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "it answered 410 Gone")
    events = (await office.shop.get("/v1/events")).json()["data"]
    assert (events[-1]["type"], events[-1]["resource_id"]) == (
        "webhook_endpoint.disabled",
        endpoint["id"],
    )
    office.tell("top_2")  # while it is disabled nothing is queued
    office.clock.now += DAY
    await office.settle(deliverer)
    assert receiver.of("top_1") == told[:1]
    first, second = await office.deliveries(endpoint)
    assert (first["status"], first["response_status"]) == ("failed", 410)
    assert second["status"] == "pending"

    async def accept_all(_received: Received) -> int:
        return 200

    receiver.behave = accept_all
    await office.shop.ok(f"{path}/enable")
    third = office.tell("top_3")
    await office.settle(deliverer)
    assert receiver.of("top_1") == told
    assert (receiver.of("top_2"), receiver.of("top_3")) == ([], [third])


# ---------------------------------------------------------------------------- by whose order


async def test_a_disabled_endpoint_gets_nothing_and_a_deleted_one_never_again(
    office: Office, receiver: Receiver
) -> None:
    endpoint = await office.endpoint(receiver)
    path = f"/v1/webhook_endpoints/{endpoint['id']}"
    deliverer = office.deliverer()
    await receiver.kill()
    seq = office.tell("top_1")
    await office.settle(deliverer)
    await receiver.start()
    await office.shop.ok(f"{path}/disable")
    office.clock.now += 6
    await office.settle(deliverer)
    assert receiver.received == []
    await office.shop.ok(f"{path}/enable")
    await office.settle(deliverer)
    assert receiver.of("top_1") == [seq]
    await receiver.kill()
    office.tell("top_2")
    await office.settle(deliverer)
    await receiver.start()
    assert (await office.shop.ok(f"{path}/delete"))["status"] == "deleted"
    office.clock.now += 6
    await office.settle(deliverer)
    assert receiver.of("top_2") == []
    assert in_database(office)[-1].status == DeliveryStatus.CANCELED


async def test_an_answer_that_comes_after_the_endpoint_was_deleted_changes_nothing(
    office: Office, receiver: Receiver
) -> None:
    endpoint = await office.endpoint(receiver)
    office.tell("top_1")
    arrived, answer = asyncio.Event(), asyncio.Event()

    async def wait(_received: Received) -> int:
        arrived.set()
        await answer.wait()
        return 200

    receiver.behave = wait
    deliverer = office.deliverer()
    while not arrived.is_set():
        await deliverer.round()
        await asyncio.sleep(0.01)
    await office.shop.ok(f"/v1/webhook_endpoints/{endpoint['id']}/delete")
    answer.set()
    await deliverer.settle()
    await office.settle(deliverer)
    assert in_database(office)[0].status == DeliveryStatus.CANCELED


async def test_after_a_rotation_both_secrets_sign_for_the_stated_time_then_the_new_one_alone(
    office: Office, receiver: Receiver
) -> None:
    endpoint = await office.endpoint(receiver)
    old = endpoint["secret"]
    path = f"/v1/webhook_endpoints/{endpoint['id']}"
    rotated = await office.shop.ok(f"{path}/rotate_secret", {"overlap": 3600})
    new = rotated["secret"]
    assert new != old
    receiver.secrets = [old, new]  # each delivery has to be good for both
    deliverer = office.deliverer()
    office.tell("top_1")
    await office.settle(deliverer)
    assert len(receiver.received[0].headers["webhook-signature"].split(" ")) == 2
    office.clock.now += 3600
    receiver.secrets = [new]
    office.tell("top_2")
    await office.settle(deliverer)
    last = receiver.received[-1]
    assert last.resource == "top_2"
    assert len(last.headers["webhook-signature"].split(" ")) == 1
    body = (await office.shop.get(f"/v1/events/{last.id}")).text
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(body, last.headers)
    at_once = await office.shop.ok(f"{path}/rotate_secret", {"overlap": 0})
    receiver.secrets = [at_once["secret"]]
    office.tell("top_3")
    await office.settle(deliverer)
    assert len(receiver.of("top_3")) == 1


async def test_a_replay_sends_all_again_in_parts_under_the_old_ids(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_EVENTS", 7)
    before = [office.tell(f"top_{number % 3}") for number in range(20)]
    endpoint = await office.endpoint(receiver, event_types=["topup.*"])
    office.tell("pur_1", "purchase.created")
    path = f"/v1/webhook_endpoints/{endpoint['id']}/replay"
    asked = await office.shop.post(path, {"after": before[4]})
    assert asked.status_code == 202
    assert asked.json()["replay"] == {"after": before[4], "until": before[-1] + 1}
    again = await office.shop.post(path, {"after": 0})
    assert (again.status_code, again.json()["code"]) == (409, "invalid_state")
    crashed = office.deliverer()
    await crashed.round()  # it queues a part, and is never heard of again
    await office.kill(crashed)
    office.clock.now += LEASE_SECONDS
    await office.settle(office.deliverer())
    arrived = [each.event["seq"] for each in receiver.received]
    assert sorted(set(arrived)) == before[5:]
    for name in ("top_0", "top_1", "top_2"):
        assert receiver.of(name) == sorted(receiver.of(name))
    assert (await office.shop.get(path.removesuffix("/replay"))).json()["replay"] is None


async def test_a_delivery_can_be_sent_once_more_and_one_that_pauses_at_once(
    office: Office, receiver: Receiver
) -> None:
    endpoint = await office.endpoint(receiver)
    path = f"/v1/webhook_endpoints/{endpoint['id']}/deliveries"
    deliverer = office.deliverer()
    seq = office.tell("top_1")
    await office.settle(deliverer)
    (delivery,) = await office.deliveries(endpoint)
    again = await office.shop.post(f"{path}/{delivery['id']}/redeliver", key="k1")
    assert again.status_code == 202
    assert again.json()["id"] != delivery["id"]
    replayed = await office.shop.post(f"{path}/{delivery['id']}/redeliver", key="k1")
    assert replayed.json()["id"] == again.json()["id"]
    await office.settle(deliverer)
    assert receiver.of("top_1") == [seq, seq]
    assert receiver.received[0].id == receiver.received[1].id

    await receiver.kill()
    office.tell("top_2")
    waits = office.tell("top_2")
    await office.settle(deliverer)
    await receiver.start()
    pausing, waiting = (await office.deliveries(endpoint))[-2:]
    at_once = await office.shop.ok(f"{path}/{pausing['id']}/redeliver")
    assert at_once["id"] == pausing["id"]
    refused = await office.shop.post(f"{path}/{waiting['id']}/redeliver")
    assert (refused.status_code, refused.json()["actual"]) == (409, "waiting")
    await office.settle(deliverer)
    assert receiver.of("top_2") == [waits - 1, waits]


# ------------------------------------------------------------------------ crashes and company


class Crash(BaseException):
    """The process is gone; nothing catches it."""


class Mortal:
    """A store whose process dies at one of its writes: before it commits, or right after."""

    def __init__(self, store: Store, at: int, *, after_commit: bool) -> None:
        self._store = store
        self._left = at
        self._after_commit = after_commit
        self.has_died = False

    def live_on(self) -> None:
        self._left = -1

    async def read(self, work: Any) -> Any:
        if self.has_died:
            raise Crash
        return await self._store.read(work)

    async def write(self, work: Any) -> Any:
        self._left -= 1
        if self.has_died:
            raise Crash
        if self._left == 0:
            self.has_died = True
            if self._after_commit:
                await self._store.write(work)
            raise Crash
        return await self._store.write(work)


@pytest.mark.parametrize("after_commit", [False, True])
async def test_dead_at_any_write_and_started_again_all_arrives_in_order_under_the_same_ids(
    office: Office, receiver: Receiver, after_commit: bool
) -> None:
    await office.endpoint(receiver)
    seen: dict[int, str] = {}
    deaths = 0
    for at in range(1, 40):
        receiver.received.clear()
        office.clock.now += LEASE_SECONDS + 1
        told = {
            name: [office.tell(name) for _ in range(2)] for name in (f"top_a{at}", f"top_b{at}")
        }
        mortal = Mortal(office.desk.store, at, after_commit=after_commit)
        dying = office.deliverer(store=mortal)
        try:
            await office.settle(dying)
        except Crash:
            await office.kill(dying)
            deaths += 1
        else:
            mortal.live_on()
            break
        office.clock.now += LEASE_SECONDS + 1
        await office.settle(office.deliverer())
        for name, seqs in told.items():
            arrived = receiver.of(name)
            assert set(arrived) == set(seqs), (at, name)
            assert arrived == sorted(arrived), (at, name)
        for each in receiver.received:
            assert seen.setdefault(each.event["seq"], each.id) == each.id
    assert deaths >= 4
    assert {row.status for row in in_database(office)} == {DeliveryStatus.SUCCEEDED}


async def test_of_two_deliverers_at_once_one_delivers_and_each_event_arrives_once(
    office: Office, receiver: Receiver
) -> None:
    await office.endpoint(receiver)
    stores = [Store(office.desk.settings.store_url) for _ in range(2)]
    deliverers = [office.deliverer(store=store) for store in stores]
    told = {f"top_{n}": [office.tell(f"top_{n}") for _ in range(5)] for n in range(10)}
    await asyncio.gather(*(office.settle(deliverer) for deliverer in deliverers))
    assert {name: receiver.of(name) for name in told} == told
    leading = office.desk.rows(WebhookDeliverer)[0].lease_owner
    seq = office.tell("top_x")
    standing_by = next(each for each in deliverers if each._owner != leading)
    assert not await standing_by.round()
    assert receiver.of("top_x") == []
    office.clock.now += LEASE_SECONDS  # the leader is not heard of any more
    await office.settle(standing_by)
    assert receiver.of("top_x") == [seq]
    for deliverer in deliverers:
        await deliverer.close()
    for store in stores:
        store.close()


async def test_one_that_lost_the_lease_while_posting_changes_nothing_any_more(
    office: Office, receiver: Receiver
) -> None:
    await office.endpoint(receiver)
    answer = asyncio.Event()

    async def wait(_received: Received) -> int:
        await answer.wait()
        return 500

    receiver.behave = wait
    office.tell("top_1")
    stalled = office.deliverer()
    while not receiver.received:
        await stalled.round()
        await asyncio.sleep(0.01)
    office.clock.now += LEASE_SECONDS

    async def refuse(_received: Received) -> int:
        return 503

    receiver.behave = refuse
    other = office.deliverer()
    await office.settle(other)
    answer.set()
    await stalled.settle()
    office.clock.now -= LEASE_SECONDS / 2  # its own clock still says that it leads
    await stalled.round()
    (row,) = in_database(office)
    assert (row.status, row.attempts, row.response_status) == ("pending", 1, 503)


async def test_an_orderly_stop_hands_over_at_once(office: Office, receiver: Receiver) -> None:
    await office.endpoint(receiver)
    first = office.deliverer()
    office.tell("top_1")
    while not first._posting:
        await first.round()
    await first.close()  # with a POST under way, which comes back soon
    (row,) = in_database(office)
    assert row.status == DeliveryStatus.SUCCEEDED
    second = office.deliverer()
    seq = office.tell("top_2")
    await office.settle(second)
    assert receiver.of("top_2") == [seq]


# ----------------------------------------------------------------------------------- economy


async def test_where_nobody_wants_events_nothing_is_written(
    office: Office, receiver: Receiver
) -> None:
    class Counting(Mortal):
        writes = 0

        async def write(self, work: Any) -> Any:
            self.writes += 1
            return await super().write(work)

    store = Counting(office.desk.store, -1, after_commit=False)
    deliverer = office.deliverer(store=store)
    for number in range(10):
        office.tell(f"top_{number}")
    await office.settle(deliverer)
    assert store.writes == 0
    await office.endpoint(receiver, event_types=["purchase.*"])
    await office.settle(deliverer)
    writes = store.writes
    for number in range(10):
        office.tell(f"top_{number}")
        await office.settle(deliverer)
    assert store.writes == writes
    seq = office.tell("pur_1", "purchase.created")
    await office.settle(deliverer)
    assert receiver.of("pur_1") == [seq]


async def test_finished_deliveries_are_kept_for_the_stated_time(
    office: Office, receiver: Receiver, clock: Clock
) -> None:
    endpoint = await office.endpoint(receiver)
    deliverer = office.deliverer(retention=10 * DAY)
    office.tell("top_1")
    await office.settle(deliverer)
    await receiver.kill()
    for _ in range(2):
        office.tell("top_2")
    await office.settle(deliverer)
    await office.shop.ok(f"/v1/webhook_endpoints/{endpoint['id']}/disable")
    clock.now += 10 * DAY - 60
    await office.settle(deliverer)
    assert len(in_database(office)) == 3
    clock.now += 120
    await office.settle(deliverer)
    assert in_database(office) == []
    await receiver.start()
    await office.shop.ok(f"/v1/webhook_endpoints/{endpoint['id']}/enable")
    seq = office.tell("top_2")
    await office.settle(deliverer)
    assert receiver.of("top_2") == [seq]


async def test_the_events_of_a_hundred_resources_arrive_in_order(
    office: Office, receiver: Receiver
) -> None:
    await office.endpoint(receiver)
    names = [f"top_{number}" for number in range(100)]
    told = {name: [office.tell(name) for _ in range(3)] for name in names}
    await office.settle(office.deliverer())
    assert {name: receiver.of(name) for name in names} == told
    count = office.desk.store.read_now(
        lambda session: session.scalar(select(func.count()).select_from(WebhookDelivery))
    )
    assert count == 300
