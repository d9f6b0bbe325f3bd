"""The client against the real bridge on a real chain, and against answers that go astray."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from standardwebhooks import Webhook

from node.client import (
    AsyncClient,
    Call,
    Client,
    Conflict,
    ForgedWebhook,
    NotFound,
    Refused,
    Reply,
    Retries,
    ServerFailed,
    Unauthorized,
    Unprocessable,
    Unreachable,
    derive_key,
    read_webhook,
)
from node.client.models import (
    AccountRequest,
    PurchaseRequest,
    ReleaseRequest,
    TopUpRequest,
    TransferRequest,
)
from node.client.transport import AiohttpTransport, AsyncHttpxTransport, Lost
from tests.node.bridge.serving import Served, served
from tests.node.bridge.support import COIN

WAIT = 30


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def plaza(bridge: Served) -> Iterator[Client]:
    with Client(bridge.url, bridge.shop.secret) as client:
        yield client


def member(plaza: Client, *, topup: int = 0) -> str:
    made = plaza.accounts.create(AccountRequest(kinds=["buyer", "seller"]), wait=WAIT)
    assert made.status == "active"
    if topup:
        body = TopUpRequest(account=made.id, amount=topup, reference=made.id)
        assert plaza.topups.create(body, wait=WAIT).status == "succeeded"
    return made.id


# ---------------------------------------------------------------------------- the real bridge


def test_a_purchase_from_order_to_payout(plaza: Client) -> None:
    buyer, seller = member(plaza, topup=20 * COIN), member(plaza)
    order = PurchaseRequest(
        order_id="C-1", payer=buyer, payee=seller, amount=12_345_678, dispute_window=0
    )
    purchase = plaza.purchases.create(order, key=derive_key("order", "C-1"), wait=WAIT)
    assert (purchase.status, purchase.held) == ("authorized", 12_345_678)
    assert purchase.created_at.tzinfo == UTC
    assert plaza.purchases.deliver(purchase.id, wait=WAIT).status == "delivered"
    part = plaza.purchases.release(purchase.id, ReleaseRequest(amount=5), wait=WAIT)
    assert (part.status, part.released) == ("delivered", 5)
    assert plaza.purchases.release(purchase.id, wait=WAIT).status == "released"
    assert plaza.accounts.get_balance(buyer).available == 20 * COIN - 12_345_678
    assert [found.id for found in plaza.purchases.all(order_id="C-1")] == [purchase.id]


def test_a_field_with_the_name_of_a_keyword_goes_out_as_it_should(plaza: Client) -> None:
    sender, receiver = member(plaza, topup=COIN), member(plaza)
    body = TransferRequest(from_=sender, to=receiver, amount=7)
    sent = plaza.transfers.create(body, wait=WAIT)
    assert (sent.from_, sent.amount, sent.status) == (sender, 7, "succeeded")


def test_the_same_key_has_one_effect_and_another_request_with_it_is_refused(plaza: Client) -> None:
    account, key = member(plaza), derive_key("topup", 1)
    body = TopUpRequest(account=account, amount=5, reference="derived 1")
    first = plaza.topups.create(body, key=key, wait=WAIT)
    again = plaza.exchange(Call("POST", "/v1/topups", bytes, body=body, key=key))
    assert again.replayed
    assert again.json()["id"] == first.id
    with pytest.raises(Unprocessable, match="idempotency_key_reused"):
        plaza.topups.create(body.model_copy(update={"amount": 6}), key=key)
    assert plaza.accounts.get_balance(account).available == 5


def test_a_refusal_is_an_exception_that_says_all_of_it(plaza: Client, bridge: Served) -> None:
    account = member(plaza)
    with pytest.raises(Unprocessable) as caught:
        plaza.transfers.create(TransferRequest(from_=account, to=account, amount=5))
    assert caught.value.status == 422
    with pytest.raises(NotFound) as missing:
        plaza.purchases.get("pur_no/such?one")
    assert (missing.value.code, missing.value.retryable) == ("not_found", False)
    assert (missing.value.request_id or "").startswith("req_")
    body = TopUpRequest(account=account, amount=5, reference="taken 1")
    first = plaza.topups.create(body, wait=WAIT)
    with pytest.raises(Conflict) as taken:
        plaza.topups.create(body)
    assert (taken.value.code, taken.value.param) == ("reference_taken", "reference")
    assert taken.value.more["resource_id"] == first.id
    with Client(bridge.url) as stranger, pytest.raises(Unauthorized):
        stranger.accounts.list()


def test_every_page_of_a_list_is_read(plaza: Client) -> None:
    made = [plaza.accounts.create(AccountRequest(kinds=["buyer"])).id for _ in range(5)]
    page = plaza.accounts.list(limit=2)
    assert (len(page.data), page.has_more) == (2, True)
    assert [account.id for account in plaza.accounts.all()][:5] == made[::-1]


def test_events_are_followed_and_resumed_after_a_seq(plaza: Client) -> None:
    member(plaza, topup=3)
    first = list(itertools.islice(plaza.follow_events(), 4))
    assert [event.seq for event in first] == sorted(event.seq for event in first)
    resumed = next(plaza.follow_events(after=first[1].seq))
    assert resumed == first[2]


@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
async def test_the_same_for_asyncio(bridge: Served, transport: str) -> None:
    over = AsyncHttpxTransport() if transport == "httpx" else AiohttpTransport(
        aiohttp.ClientSession()
    )  # fmt: skip
    async with AsyncClient(bridge.url, bridge.shop.secret, transport=over) as plaza:
        made = await plaza.accounts.create(AccountRequest(kinds=["buyer"]), wait=WAIT)
        assert made.status == "active"
        assert (await plaza.accounts.get(made.id)).id == made.id
        newest = [account.id async for account in plaza.accounts.all()]
        assert newest[0] == made.id
        last = (await plaza.events.list(limit=1)).data[0]
        async for event in plaza.follow_events(after=last.seq - 1):
            assert event == last
            break
        with pytest.raises(NotFound):
            await plaza.accounts.get("acc_none")
        assert (await plaza.network.get()).coin.decimals == 6


# ------------------------------------------------------------------------ answers gone astray


class Astray:
    """A transport whose next answers are given; the last one stays."""

    def __init__(self, *answers: Reply | Lost) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, dict[str, str], bytes | None]] = []

    def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, limit: float
    ) -> Reply:
        self.sent.append((url, dict(headers), content))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Lost):
            raise answer
        return answer

    def close(self) -> None:
        pass


GOOD = Reply(200, {}, b'{"status":"ok"}')
LIVE = Call("GET", "/health/live", bytes)


def problem(status: int, *, retryable: bool, after: str | None = None) -> Reply:
    word = b"true" if retryable else b"false"
    body = b'{"code":"made_up","detail":"for the test","retryable":' + word + b"}"
    return Reply(status, {} if after is None else {"Retry-After": after}, body)


def asking(*answers: Reply | Lost, pauses: tuple[float, ...] = (1, 2)) -> tuple[
    Client, Astray, list[float]
]:  # fmt: skip
    transport, slept = Astray(*answers), list[float]()
    retries = Retries(pauses=pauses, longest=60)
    client = Client("http://x", "k", transport=transport, retries=retries, sleep=slept.append)
    return client, transport, slept


@pytest.mark.parametrize(
    "hitch", [Lost("reset"), problem(503, retryable=True), problem(409, retryable=True)]
)
def test_a_hitch_is_tried_again_with_the_same_bytes_and_key(hitch: Reply | Lost) -> None:
    client, transport, slept = asking(hitch, hitch, GOOD)
    body = TopUpRequest(account="acc_1", amount=5, reference="r")
    assert client.exchange(Call("POST", "/v1/topups", bytes, body=body, key="k1")) is GOOD
    assert transport.sent == [transport.sent[0]] * 3
    assert transport.sent[0][1]["Idempotency-Key"] == "k1"
    assert transport.sent[0][2] == b'{"account":"acc_1","amount":"5","reference":"r"}'
    assert slept == [1, 2]


def test_a_call_without_a_key_of_the_callers_keeps_its_own_over_all_attempts() -> None:
    client, transport, _ = asking(Lost("reset"), Lost("reset"), problem(422, retryable=False))
    for _ in range(2):
        with pytest.raises(Refused):
            client.topups.cancel("top_1")
        client._transport.answers.insert(0, Lost("reset"))  # type: ignore[attr-defined]
    keys = [headers["Idempotency-Key"] for _, headers, _ in transport.sent]
    assert len(keys) == 5
    assert len(set(keys)) == 2


def test_the_bridge_says_how_long_to_wait() -> None:
    client, _, slept = asking(problem(503, retryable=True, after="7"), GOOD)
    client.exchange(LIVE)
    assert slept == [7]
    date = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    client, _, slept = asking(problem(429, retryable=False, after=date), GOOD)
    client.exchange(LIVE)
    assert 25 < slept[0] <= 30
    client, _, slept = asking(problem(503, retryable=True, after="3600"))
    with pytest.raises(ServerFailed) as caught:
        client.exchange(LIVE)
    assert (caught.value.retry_after, slept) == (3600, [])


def test_what_does_not_pass_is_raised() -> None:
    client, transport, _ = asking(Lost("reset"))
    with pytest.raises(Unreachable, match="GET /health/live: reset"):
        client.exchange(LIVE)
    assert len(transport.sent) == 3
    client, transport, slept = asking(problem(422, retryable=False))
    with pytest.raises(Unprocessable):
        client.exchange(LIVE)
    assert (len(transport.sent), slept) == (1, [])
    client, transport, _ = asking(Lost("reset"))
    with pytest.raises(Unreachable):
        client.exchange(Call("POST", "/x", bytes, safe=False))
    assert len(transport.sent) == 1


def test_an_answer_of_a_proxy_is_told_as_such() -> None:
    client, _, _ = asking(Reply(502, {}, b"<html>Bad gateway"), pauses=())
    with pytest.raises(ServerFailed, match="502 unknown: <html>Bad gateway") as caught:
        client.exchange(LIVE)
    assert caught.value.retryable


def test_a_server_that_is_not_there_is_unreachable() -> None:
    client = Client("http://127.0.0.1:9", retries=Retries(pauses=()))
    with client, pytest.raises(Unreachable):
        client.health.live()


def test_an_answer_of_another_shape_is_not_taken_for_one() -> None:
    client, _, _ = asking(Reply(200, {}, b"{}"))
    with pytest.raises(ValueError, match="status"):
        client.health.live()


async def test_nothing_is_retried_that_was_cancelled() -> None:
    async with AsyncClient("http://127.0.0.1:9", retries=Retries(pauses=(60,))) as client:
        asking_ = asyncio.create_task(client.health.live())
        await asyncio.sleep(0.2)
        asking_.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking_


# ----------------------------------------------------------------------------------- webhooks


def test_a_webhook_is_read_when_its_signature_is_good() -> None:
    secret, other = "whsec_" + "QUJD" * 8, "whsec_" + "REVG" * 8
    body = (
        b'{"id":"evt_1","seq":7,"type":"topup.succeeded","resource_type":"topup",'
        b'"resource_id":"top_1","data":{"status":"succeeded"},"created_at":"2026-01-31T09:15:00Z"}'
    )
    now = datetime.now(UTC)
    headers = {
        "Webhook-Id": "evt_1",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": Webhook(secret).sign("evt_1", now, body.decode()),
    }
    event = read_webhook([other, secret], headers, body)
    assert (event.seq, event.data["status"]) == (7, "succeeded")
    with pytest.raises(ForgedWebhook):
        read_webhook(other, headers, body)
    with pytest.raises(ForgedWebhook):
        read_webhook(secret, headers, body.replace(b"succeeded", b"canceled_"))
    old = {**headers, "Webhook-Timestamp": str(int(now.timestamp()) - 3600)}
    with pytest.raises(ForgedWebhook):
        read_webhook(secret, old, body)
