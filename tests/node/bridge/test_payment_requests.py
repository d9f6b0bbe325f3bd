"""Payment requests: paid by whom and with what tool ever, and what is only nearly a payment."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree as ET

import pytest
from eth_account import Account as EthAccount
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from node.keys import LocalSigner
from node.store.models import Operation
from tests.node.bridge.market import ALICE, PRICE, Market
from tests.node.bridge.support import CHAIN_NOW, COIN, DAY, Client, Desk
from wallet import Keystore, KeystoreSigner, Wallet
from wallet.addresses import parse_memo
from wallet.bridge_requests import parse_bridge_request
from wallet.errors import Refused
from wallet.networks import parse_manifest

PATH = "/v1/payment_requests"
PUBLIC = "/v1/pay/requests"
CAST = Path(__file__).parents[3] / "node_modules/.bin/cast"
BOB = LocalSigner(b"\x33" * 32)


async def asked(market: Market, payee: Any, **more: Any) -> dict[str, Any]:
    body = {"payee": payee["id"], "amount": str(PRICE), **more}
    return await market.shop.ok(PATH, body)


async def shown(market: Market, request: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await market.shop.get(f"{PATH}/{request['id']}")).json()
    return found


async def until(market: Market, request: Any, **wanted: Any) -> dict[str, Any]:
    """The request, once the indexer has read what it waits for."""
    for _ in range(500):
        found = await shown(market, request)
        if all(found[name] == value for name, value in wanted.items()):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError((wanted, found))


async def send(
    market: Market, request: Any, amount: int, signer: LocalSigner = ALICE, memo: str = ""
) -> str:
    """As a wallet pays: a transaction of its own, past the bridge."""
    call = market.platform.coin.encode(
        "transferWithMemo", request["payee_address"], amount, memo or request["memo_word"]
    )
    return await market.platform.send(signer, market.platform.coin_address, call)


async def events_of(market: Market, request: Any) -> list[str]:
    events = (await market.shop.get("/v1/events?limit=1000")).json()["data"]
    return [event["type"] for event in events if event["resource_id"] == request["id"]]


def outcomes(request: dict[str, Any]) -> list[tuple[str, str]]:
    return [(payment["outcome"], payment["amount"]) for payment in request["payments"]]


# --------------------------------------------------------------------------------- on a chain


async def test_a_managed_payer_pays_once(market: Market) -> None:
    buyer, seller = await market.member(topup=2 * PRICE), await market.member("seller")
    request = await asked(market, seller, reference="2026-0117")
    assert (request["status"], request["received"], request["paid"]) == ("open", "0", None)
    path = f"{PATH}/{request['id']}/pay"
    paid = await market.shop.ok(path, {"payer": buyer["id"]}, key="pay-1", wait=30)
    assert (paid["status"], paid["received"], paid["surplus"]) == ("paid", str(PRICE), "0")
    assert (paid["paid"]["payer"], paid["paid"]["amount"]) == (buyer["address"], str(PRICE))
    assert (paid["uri"], outcomes(paid)) == (None, [("paid", str(PRICE))])
    again = await market.shop.post(path, {"payer": buyer["id"]}, key="pay-1")
    assert (again.json()["status"], again.headers["idempotency-replayed"]) == ("paid", "true")
    other = await market.shop.post(path, {"payer": buyer["id"]})
    assert (other.status_code, other.json()["actual"]) == (409, "paid")
    assert (await market.balance(buyer))["available"] == str(PRICE)
    assert (await market.balance(seller))["available"] == str(PRICE)
    entries = (await market.shop.get(f"/v1/accounts/{seller['id']}/entries")).json()["data"]
    assert [(entry["kind"], entry["ref"]) for entry in entries] == [("transfer", paid["nonce"])]
    canceled = await market.shop.post(f"{PATH}/{request['id']}/cancel")
    assert (canceled.status_code, canceled.json()["actual"]) == (409, "paid")
    assert await events_of(market, request) == ["payment_request.created", "payment_request.paid"]
    await market.reconcile()


async def test_a_wallet_pays_by_the_uri_alone(market: Market) -> None:
    """The call is made of nothing but what EIP-681 says of the parts of a URI."""
    await market.member(address=ALICE.address, topup=3 * PRICE)
    seller = await market.member("seller")
    request = await asked(market, seller, memo="invoice 2026-0117 ✓")
    uri = urlsplit(request["uri"])
    target, function = uri.path.split("/")
    address, chain_id = target.split("@")
    arguments = parse_qsl(uri.query, strict_parsing=True)
    assert (uri.scheme, int(chain_id)) == ("ethereum", market.platform.manifest.chain_id)
    signature = f"{function}({','.join(kind for kind, _ in arguments)})"
    data = keccak(text=signature)[:4] + b"".join(
        int(value, 0).to_bytes(32) for _, value in arguments
    )
    tx_hash = await market.platform.send(ALICE, address, "0x" + data.hex())
    paid = await until(market, request, status="paid")
    assert (paid["paid"]["tx_hash"], paid["paid"]["payer"]) == (tx_hash, ALICE.address)
    assert bytes.fromhex(paid["memo_word"][2:]).rstrip(b"\0").decode() == "invoice 2026-0117 ✓"
    public = (await Client(market.shop.app, None).get(f"{PUBLIC}/{request['id']}")).json()
    assert (public["status"], public["uri"], public["paid_tx"]) == ("paid", None, tx_hash)

    await send(market, request, 7)
    twice = await until(market, request, received=str(PRICE + 7))
    assert (twice["status"], twice["surplus"]) == ("paid", "7")
    assert twice["paid"] == paid["paid"]
    assert outcomes(twice) == [("paid_again", "7"), ("paid", str(PRICE))]
    listed = (await market.shop.get(f"{PATH}/{request['id']}/payments?limit=1")).json()
    assert (listed["data"], listed["has_more"]) == (twice["payments"][:1], True)
    rest = await market.shop.get(f"{PATH}/{request['id']}/payments?cursor={listed['next_cursor']}")
    assert rest.json()["data"] == twice["payments"][1:]
    assert (await market.balance(seller))["available"] == str(PRICE + 7)


async def test_a_payer_with_its_own_key_signs_and_the_bridge_sends(market: Market) -> None:
    """Through the shop, and by the public link; signed by another implementation of EIP-712."""
    alice = await market.member(address=ALICE.address, topup=2 * PRICE)
    seller = await market.member("seller")
    request = await asked(market, seller)
    path = f"{PATH}/{request['id']}/pay"
    unsigned = await market.shop.post(path, {"payer": alice["id"]})
    assert (unsigned.status_code, unsigned.json()["code"]) == (422, "signature_required")
    typed_data = unsigned.json()["typed_data"]

    def sign(data: Any, secret: bytes = b"\x11" * 32, **changed: Any) -> dict[str, Any]:
        data = {**data, "message": {**data["message"], **changed}}
        signed = EthAccount.sign_message(encode_typed_data(full_message=data), secret)
        return {
            "signature": "0x" + signed.signature.hex().removeprefix("0x"),
            "valid_after": int(data["message"]["validAfter"]),
            "valid_before": int(data["message"]["validBefore"]),
        }

    longer = int(typed_data["message"]["validBefore"]) + 1
    for wrong in (
        sign(typed_data, b"\x22" * 32),
        sign(typed_data, value=str(PRICE - 1)),
        sign(typed_data, validBefore=str(longer)),
        {**sign(typed_data), "valid_before": 1},
    ):
        refused = await market.shop.post(path, {"payer": alice["id"], "authorization": wrong})
        assert (refused.status_code, refused.json()["code"]) == (422, "signature_invalid")
    body = {"payer": ALICE.address, "authorization": sign(typed_data)}
    paid = await market.shop.ok(path, body, wait=30)
    assert (paid["status"], paid["paid"]["payer"]) == ("paid", ALICE.address)

    public = Client(market.shop.app, None)
    second = await asked(market, seller)
    link = urlsplit(second["url"]).path
    offered = await public.get(f"{link}/typed_data?payer={ALICE.address}")
    signature = sign(offered.json())
    forged = {**sign(offered.json(), b"\x22" * 32), "payer": ALICE.address}
    refused = await public.post(link, forged, key=None)
    assert (refused.status_code, refused.json()["code"]) == (422, "signature_invalid")
    relayed = {**signature, "payer": ALICE.address}
    answers = await asyncio.gather(
        *(public.post(link, relayed, key=None, wait=30) for _ in range(4))
    )
    assert {answer.json().get("status") for answer in answers} <= {"paid", 409}
    assert "paid" in {answer.json().get("status") for answer in answers}
    late = await public.post(link, relayed, key=None)
    assert (late.status_code, late.json()["actual"]) == (409, "paid")
    gone = await public.get(f"{link}/typed_data?payer={ALICE.address}")
    assert (gone.status_code, gone.json()["actual"]) == (409, "paid")
    assert outcomes(await shown(market, second)) == [("paid", str(PRICE))]
    assert (await market.balance(alice))["available"] == "0"


async def test_too_little_pays_nothing_and_is_not_lost(market: Market) -> None:
    await market.member(address=ALICE.address, topup=4 * PRICE)
    seller = await market.member("seller")
    request = await asked(market, seller)
    await send(market, request, PRICE - 1)
    short = await until(market, request, received=str(PRICE - 1))
    assert (short["status"], short["surplus"]) == ("open", str(PRICE - 1))
    assert (short["paid"], outcomes(short)) == (None, [("underpaid", str(PRICE - 1))])
    await send(market, request, 0)  # moves nothing, and says nothing
    await send(market, request, PRICE, memo="0x" + "77" * 32)  # names something else
    await send(market, request, PRICE + 5)
    paid = await until(market, request, status="paid")
    assert (paid["received"], paid["surplus"]) == (str(2 * PRICE + 4), str(PRICE + 4))
    assert outcomes(paid)[0] == ("paid", str(PRICE + 5))
    assert await events_of(market, request) == [
        "payment_request.created",
        "payment_request.underpaid",
        "payment_request.paid",
    ]
    await market.reconcile()


async def test_what_comes_after_cancel_or_expiry_pays_nothing_and_is_told(market: Market) -> None:
    buyer = await market.member(address=ALICE.address, topup=3 * PRICE)
    seller = await market.member("seller")
    canceled, expired = await asked(market, seller), await asked(market, seller)
    ended = await market.shop.ok(f"{PATH}/{canceled['id']}/cancel")
    assert (ended["status"], ended["uri"]) == ("canceled", None)
    assert ended["canceled_at"] is not None
    await send(market, canceled, PRICE)
    found = await until(market, canceled, received=str(PRICE))
    assert (found["status"], found["surplus"], found["paid"]) == ("canceled", str(PRICE), None)
    assert outcomes(found) == [("paid_after_cancel", str(PRICE))]

    await market.travel(7 * DAY)
    for _ in range(100):  # the worker notes the new time without a block
        found = await shown(market, expired)
        if found["status"] == "expired":
            break
        await asyncio.sleep(0.02)
    assert (found["status"], found["uri"]) == ("expired", None)
    assert await events_of(market, expired) == ["payment_request.created"]
    for status, wanted in (("open", []), ("expired", [expired]), ("canceled", [canceled])):
        listed = (await market.shop.get(f"{PATH}?status={status}")).json()["data"]
        assert [row["id"] for row in listed] == [row["id"] for row in wanted]
    refused = await market.shop.post(f"{PATH}/{expired['id']}/pay", {"payer": buyer["id"]})
    assert (refused.status_code, refused.json()["actual"]) == (409, "expired")
    await send(market, expired, PRICE)
    late = await until(market, expired, received=str(PRICE))
    assert (late["status"], outcomes(late)) == ("expired", [("paid_late", str(PRICE))])
    assert await events_of(market, expired) == [
        "payment_request.created",
        "payment_request.expired",
        "payment_request.paid_late",
    ]
    assert (await market.balance(seller))["available"] == str(2 * PRICE)


async def test_one_transaction_may_pay_many_and_nobody_pays_itself(market: Market) -> None:
    await market.member(address=ALICE.address, topup=5 * PRICE)
    bob = await market.member("seller", address=BOB.address, topup=PRICE)
    requests = [await asked(market, bob) for _ in range(2)]
    coin = market.platform.coin
    await send(market, requests[0], PRICE, signer=BOB)
    payments = [
        {"to": BOB.address, "amount": PRICE, "memo": requests[number]["memo_word"]}
        for number in (0, 1, 1)
    ]
    call = coin.encode("transferMany", payments)
    await market.platform.send(ALICE, market.platform.coin_address, call)
    first = await until(market, requests[0], status="paid")
    assert outcomes(first) == [("paid", str(PRICE))]  # of Alice alone
    second = await until(market, requests[1], status="paid")
    assert outcomes(second) == [("paid_again", str(PRICE)), ("paid", str(PRICE))]
    assert len(await events_of(market, requests[1])) == 3


async def test_the_wallet_pays_by_what_the_link_says(market: Market, tmp_path: Path) -> None:
    """The member's own library, which imports nothing of the node."""
    if market.platform.engine.name != "anvil":
        pytest.skip("no anvil: run `make setup`")
    await market.member(address=ALICE.address, topup=PRICE)
    seller = await market.member("seller")
    request = await asked(market, seller, memo="invoice of more than thirty-two bytes")
    public = Client(market.shop.app, None)
    terms = (await public.get(urlsplit(request["url"]).path)).json()
    engine, manifest = market.platform.engine, market.platform.manifest
    network = parse_manifest("plaza", manifest.model_dump(mode="json"), engine.rpc_url)
    assert (network.chain_id, network.coin) == (terms["chain_id"], terms["coin"])

    Keystore(tmp_path, scrypt_n=1024).create("alice", b"\x11" * 32, "password")
    signer = KeystoreSigner("alice", lambda: "password", tmp_path)

    def pay() -> object:
        with Wallet(network, tmp_path, signer) as wallet:
            memo = parse_memo(terms["memo_word"])
            plan = wallet.plan_transfer(terms["payee"], int(terms["amount"]), memo)
            return wallet.submit(plan).wait()

    await asyncio.to_thread(pay)
    paid = await until(market, request, status="paid")
    assert (paid["paid"]["payer"], paid["surplus"]) == (ALICE.address, "0")


async def test_the_wallet_pays_requests_under_their_nonce(market: Market, tmp_path: Path) -> None:
    """By a transaction of its own, and by a signature that the bridge relays."""
    if market.platform.engine.name != "anvil":
        pytest.skip("no anvil: run `make setup`")
    await market.member(address=ALICE.address, topup=3 * PRICE)
    seller = await market.member("seller")
    memos: list[dict[str, Any]] = [{}, {"memo": "x"}, {"memo": "a" * 33}]
    requests = [await asked(market, seller, **memo) for memo in memos]
    public = Client(market.shop.app, None)
    paths = [urlsplit(request["url"]).path for request in requests]
    shown_ = [(await public.get(path)).json() for path in paths]
    engine, manifest = market.platform.engine, market.platform.manifest
    network = parse_manifest("plaza", manifest.model_dump(mode="json"), engine.rpc_url)
    Keystore(tmp_path, scrypt_n=1024).create("alice", b"\x11" * 32, "password")
    signer = KeystoreSigner("alice", lambda: "password", tmp_path)

    def pay(value: Any) -> None:
        with Wallet(network, tmp_path, signer) as wallet:
            request = parse_bridge_request(network, value["url"], value)
            wallet.submit(wallet.plan_request(request)).wait()
            with pytest.raises(Refused, match="paid already"):
                wallet.plan_request(request)

    def sign(value: Any) -> dict[str, Any]:
        with Wallet(network, tmp_path, signer) as wallet:
            plan = wallet.plan_request(parse_bridge_request(network, value["url"], value))
            signature = wallet.sign_intent(plan.authorization.intent)
            return plan.signed_json(signature)

    for value in shown_[:2]:
        await asyncio.to_thread(pay, value)
    body = await asyncio.to_thread(sign, shown_[2])
    assert (await public.ok(paths[2], body, key=None, wait=30))["status"] == "paid"
    for request in requests:
        paid = await until(market, request, status="paid")
        assert (paid["paid"]["payer"], paid["surplus"]) == (ALICE.address, "0")
        assert outcomes(paid) == [("paid", str(PRICE))]


async def test_cast_pays_and_signs(market: Market) -> None:
    """Foundry's tool, which knows nothing of this node."""
    url = getattr(market.platform.engine, "rpc_url", None)
    if market.platform.engine.name != "anvil" or not CAST.exists():
        pytest.skip("no anvil or no cast: run `make setup`")
    await market.member(address=ALICE.address, topup=2 * PRICE)
    seller = await market.member("seller")
    request = await asked(market, seller, memo="by cast")

    async def cast(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            str(CAST), *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, error = await process.communicate()
        assert process.returncode == 0, error.decode()
        return out.decode().strip()

    key = ("--private-key", "0x" + "11" * 32)
    signature = "transferWithMemo(address,uint256,bytes32)"
    arguments = (request["payee_address"], request["amount"], request["memo_word"])
    sent = ("send", "--rpc-url", str(url), *key, "--gas-price", "0", "--priority-gas-price", "0")
    await cast(*sent, market.platform.coin_address, signature, *arguments)
    assert (await until(market, request, status="paid"))["paid"]["payer"] == ALICE.address

    signed = await asked(market, seller)
    link = urlsplit(signed["url"]).path
    public = Client(market.shop.app, None)
    data = (await public.get(f"{link}/typed_data?payer={ALICE.address}")).json()
    proof = await cast("wallet", "sign", *key, "--data", json.dumps(data))
    body = {
        "payer": ALICE.address,
        "signature": proof,
        "valid_before": int(data["message"]["validBefore"]),
    }
    assert (await public.ok(link, body, key=None, wait=30))["status"] == "paid"


# ------------------------------------------------------------------------------ without a chain


async def an_open_one(desk: Desk, **more: Any) -> dict[str, Any]:
    payee = await desk.account()
    return await desk.shop.ok(PATH, {"payee": payee["id"], "amount": "5000000", **more})


@pytest.mark.parametrize(
    ("memo", "word"),
    [
        ("x", b"x".hex()),
        ("ä" * 16, ("ä" * 16).encode().hex()),
        ("ä" * 16 + "b", keccak(("ä" * 16 + "b").encode()).hex()),
        ("0x" + "AB" * 32, "ab" * 32),
        ("0x" + "AB" * 31, keccak(("0x" + "AB" * 31).encode()).hex()),
    ],
)
async def test_a_memo_is_its_bytes_or_their_hash(desk: Desk, memo: str, word: str) -> None:
    request = await an_open_one(desk, memo=memo)
    assert (request["memo"], request["memo_word"]) == (memo, "0x" + word.ljust(64, "0"))
    assert request["memo_word"] != request["nonce"]
    assert f"bytes32={request['memo_word']}" in request["uri"]


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("amount", "0", "amount"),
        ("amount", 5, "amount"),
        ("memo", "", "memo"),
        ("memo", "x" * 201, "memo"),
        ("memo", "a\nb", "memo"),
        ("memo", "0x" + "00" * 32, "memo"),
        ("reference", "", "reference"),
        ("expires_at", "tomorrow", "expires_at"),
        ("expires_at", "2020-09-13T12:26:40Z", "expires_at"),  # the chain's time itself
        ("expires_at", "9999-12-31T00:00:00+00:00", None),
        ("payee", None, "payee"),
        ("color", "red", "color"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    desk: Desk, field: str, value: Any, param: str | None
) -> None:
    payee = await desk.account()
    body = {"payee": payee["id"], "amount": "1", field: value}
    before = desk.counts()
    answer = await desk.shop.post(PATH, body)
    if param is None:
        assert answer.status_code == 201  # far, but a time
        return
    assert (answer.status_code, answer.json()["param"]) == (422, param)
    assert desk.counts() == before


async def test_a_reference_and_a_memo_name_one_request(desk: Desk, shop: Client) -> None:
    payee = await desk.account()
    body = {"payee": payee["id"], "amount": "1", "reference": "r 1", "memo": "rent"}
    first = await shop.ok(PATH, body)
    taken = await shop.post(PATH, {**body, "memo": "other"})
    assert (taken.status_code, taken.json()["code"]) == (409, "reference_taken")
    assert taken.json()["resource_id"] == first["id"]
    same = await shop.post(PATH, {**body, "reference": "r 2"})
    assert (same.status_code, same.json()["code"]) == (409, "memo_taken")
    assert same.json()["resource_id"] == first["id"]
    await shop.ok(f"{PATH}/{first['id']}/cancel")
    # The reference is free again; the memo is not: it may still be paid.
    assert (await shop.post(PATH, {**body, "memo": "other"})).status_code == 201
    still = await shop.post(PATH, {**body, "reference": "r 3"})
    assert still.json()["code"] == "memo_taken"
    other = await desk.account()
    assert (await shop.post(PATH, {"payee": other["id"], "amount": "1", "memo": "rent"})).is_success


async def test_a_memo_of_another_merchants_request_is_not_told(desk: Desk, shop: Client) -> None:
    """Both may know the same member; the request of the one is nothing to the other."""
    address = "0x52908400098527886E0F7030069857D2E4169EE7"
    first = await desk.account(address=address)
    request = await shop.ok(PATH, {"payee": first["id"], "amount": "1", "memo": "rent"})
    stranger = desk.client_of("Other shop")
    account = await stranger.ok("/v1/accounts", {"kinds": ["buyer"], "address": address})
    desk.store.write_now(
        lambda session: session.connection().exec_driver_sql(
            f"UPDATE accounts SET status = 'active' WHERE id = '{account['id']}'"
        )
    )
    body = {"payee": account["id"], "amount": "1", "memo": "rent"}
    refused = await stranger.post(PATH, body)
    assert (refused.status_code, refused.json()["code"]) == (409, "memo_taken")
    assert request["id"] not in refused.text


async def test_another_merchants_request_does_not_exist(desk: Desk) -> None:
    request, payer = await an_open_one(desk), await desk.account(COIN)
    stranger = desk.client_of("Other shop")
    path = f"{PATH}/{request['id']}"
    for answer in (
        await stranger.get(path),
        await stranger.get(f"{path}/payments"),
        await stranger.get(f"{path}/qr.svg"),
        await stranger.get(f"{path}/qr.png"),
        await stranger.post(f"{path}/cancel"),
        await stranger.post(f"{path}/pay", {"payer": payer["id"]}),
        await stranger.post(PATH, {"payee": payer["id"], "amount": "1"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await stranger.get(PATH)).json()["data"] == []


async def test_paying_is_refused_for_good_reasons(desk: Desk, shop: Client) -> None:
    payee, payer = await desk.account(10 * COIN), await desk.account(COIN)
    request = await shop.ok(PATH, {"payee": payee["id"], "amount": str(2 * COIN)})
    path = f"{PATH}/{request['id']}/pay"
    signed = {"signature": "0x" + "11" * 65, "valid_before": CHAIN_NOW + DAY}
    for body, status, code in (
        ({"payer": payer["id"]}, 422, "insufficient_funds"),
        ({"payer": payee["id"]}, 422, "invalid_request"),
        ({"payer": payee["address"]}, 422, "invalid_request"),
        ({"payer": payer["id"], "authorization": signed}, 422, "invalid_request"),
        ({"payer": ALICE.address}, 422, "signature_required"),
        ({"payer": ALICE.address, "authorization": signed}, 422, "signature_invalid"),
        ({"payer": "acc_" + "0" * 32}, 404, "not_found"),
        ({"payer": "acc_1"}, 422, "invalid_request"),
        ({"payer": "0x" + "0" * 40}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ({"payer": payer["id"], "memo": "x"}, 422, "invalid_request"),
    ):
        answer = await shop.post(path, body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), body
    assert desk.operations("payment_request.pay") == []
    public = f"{PUBLIC}/{request['id']}"
    for body in ({"payer": ALICE.address}, {**signed, "payer": payer["id"]}, {**signed}):
        assert (await Client(desk.app, None).post(public, body, key=None)).status_code == 422


async def test_two_payments_are_not_on_their_way_at_once(desk: Desk, shop: Client) -> None:
    payee = await desk.account()
    payers = [await desk.account(COIN) for _ in range(2)]
    request = await shop.ok(PATH, {"payee": payee["id"], "amount": str(COIN)})
    path = f"{PATH}/{request['id']}/pay"
    first = await shop.post(path, {"payer": payers[0]["id"]})
    assert (first.status_code, first.json()["status"]) == (202, "open")
    for payer in payers:
        second = await shop.post(path, {"payer": payer["id"]})
        assert (second.status_code, second.json()["code"]) == (409, "operation_pending")
    (operation,) = desk.operations("payment_request.pay")
    assert second.json()["operation_id"] == operation.id
    assert (operation.debit_address, operation.credit_address) == (
        payers[0]["address"],
        payee["address"],
    )
    public = Client(desk.app, None)
    link = f"{PUBLIC}/{request['id']}"
    data = (await public.get(f"{link}/typed_data?payer={ALICE.address}")).json()
    signed = EthAccount.sign_message(encode_typed_data(full_message=data), b"\x11" * 32)
    body = {
        "payer": ALICE.address,
        "signature": "0x" + signed.signature.hex().removeprefix("0x"),
        "valid_before": int(data["message"]["validBefore"]),
    }
    third = await public.post(link, body, key=None)
    assert (third.status_code, third.json()["code"]) == (409, "operation_pending")
    assert operation.id not in third.text


async def test_canceling_takes_back_what_is_not_signed(desk: Desk, shop: Client) -> None:
    request = await an_open_one(desk)
    operation = Operation(
        id="op_1",
        merchant_id=desk.merchant_id,
        kind="payment_request.pay",
        ref=request["nonce"],
        resource_type="payment_request",
        resource_id=request["id"],
        signer="operator",
        to_address=request["payee_address"],
        calldata="0x",
        status="submitted",
        created_at=0,
        updated_at=0,
    )
    desk.store.write_now(lambda session: session.add(operation))
    refused = await shop.post(f"{PATH}/{request['id']}/cancel")
    assert (refused.status_code, refused.json()["operation_id"]) == (409, "op_1")
    desk.settle("queued")
    canceled = await shop.ok(f"{PATH}/{request['id']}/cancel")
    assert canceled["status"] == "canceled"
    assert [row.status for row in desk.operations("payment_request.pay")] == ["canceled"]
    twice = await shop.post(f"{PATH}/{request['id']}/cancel")
    assert (twice.status_code, twice.json()["actual"]) == (409, "canceled")


async def test_the_link_is_for_browsers_and_wallets_without_a_key(desk: Desk) -> None:
    request = await an_open_one(desk, memo="<script>alert(1)</script> & co")
    public = Client(desk.app, None)
    assert request["url"] == f"http://127.0.0.1:8400{PUBLIC}/{request['id']}"
    link = urlsplit(request["url"]).path
    terms = (await public.get(link)).json()
    assert (terms["amount"], terms["payee"]) == ("5000000", request["payee_address"])
    assert (terms["merchant"], terms["uri"]) == ("Demo shop", request["uri"])
    page = await public.get(link, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script>" not in page.text
    for words in ("5.00 PLZ", "Demo shop", request["payee_address"], "&lt;script&gt;", "open"):
        assert words in page.text
    assert request["uri"].replace("&", "&amp;") in page.text
    picture = re.search(r'<img src="([^"]+)"', page.text)
    assert picture is not None
    assert (await public.get(f"{PUBLIC}/{picture[1]}")).status_code == 200
    await desk.shop.ok(f"{PATH}/{request['id']}/cancel")
    page = await public.get(link, headers={"Accept": "text/html"})
    assert "canceled" in page.text
    assert "ethereum:" not in page.text
    unknown = await public.get(f"{PUBLIC}/prq_{'0' * 32}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


async def test_the_code_is_a_picture_of_the_uri_or_the_link(desk: Desk) -> None:
    request = await an_open_one(desk)
    public = Client(desk.app, None)
    for client, path in (
        (desk.shop, f"{PATH}/{request['id']}"),
        (public, f"{PUBLIC}/{request['id']}"),
    ):
        svg = await client.get(f"{path}/qr.svg")
        assert svg.headers["content-type"] == "image/svg+xml"
        root = ET.fromstring(svg.text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        png = await client.get(f"{path}/qr.png?scale=1")
        assert png.content.startswith(b"\x89PNG\r\n")
        width = int.from_bytes(png.content[16:20])
        twice = await client.get(f"{path}/qr.png?scale=2")
        assert int.from_bytes(twice.content[16:20]) == 2 * width
        assert (width - 8 - 17) % 4 == 0  # modules of a QR code, and its quiet zone
        link = await client.get(f"{path}/qr.png?scale=1&form=url")
        assert int.from_bytes(link.content[16:20]) < width
        for query in ("scale=0", "scale=17", "form=x", "size=4"):
            assert (await client.get(f"{path}/qr.svg?{query}")).status_code == 422
    await desk.shop.ok(f"{PATH}/{request['id']}/cancel")
    refused = await public.get(f"{PUBLIC}/{request['id']}/qr.svg")
    assert (refused.status_code, refused.json()["actual"]) == (409, "canceled")
    still = await public.get(f"{PUBLIC}/{request['id']}/qr.svg?form=url")
    assert still.status_code == 200


async def test_lists_are_filtered_and_paged(desk: Desk, shop: Client) -> None:
    payee = await desk.account()
    made = [
        (await shop.ok(PATH, {"payee": payee["id"], "amount": "1", "reference": f"r {n}"}))["id"]
        for n in range(3)
    ]
    await an_open_one(desk)
    first = (await shop.get(f"{PATH}?payee={payee['id']}&limit=2")).json()
    assert [row["id"] for row in first["data"]] == made[:0:-1]
    rest = (await shop.get(f"{PATH}?payee={payee['id']}&cursor={first['next_cursor']}")).json()
    assert [row["id"] for row in rest["data"]] == made[:1]
    named = (await shop.get(f"{PATH}?reference=r%201")).json()["data"]
    assert [row["id"] for row in named] == [made[1]]
    desk.set_chain_time(CHAIN_NOW + 8 * DAY)
    shop = Client(desk.new_app(), desk.shop_key.secret)  # which remembers no earlier time
    assert len((await shop.get(f"{PATH}?status=expired")).json()["data"]) == 4
    assert (await shop.get(f"{PATH}?status=open")).json()["data"] == []
    assert (await shop.get(f"{PATH}?status=unknown")).status_code == 422
