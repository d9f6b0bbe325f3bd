"""x402: paid by the call, by clients that know nothing of this marketplace."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from x402 import x402ResourceServer
from x402.http import PaymentOption
from x402.http.middleware.fastapi import payment_middleware
from x402.http.types import RouteConfig
from x402.http.utils import decode_payment_required_header, decode_payment_response_header
from x402.mechanisms.evm.exact import ExactEvmServerScheme
from x402.schemas import AssetAmount, SettleResponse

from contracts import Artifact
from node.bridge.api_keys import create_merchant_key
from node.bridge.app import create_app
from node.keys import LocalSigner, SealedSeed
from node.store.models import Operation, OperationStatus, Transfer
from node.worker import run_worker
from scripts.compile import compile_sources
from tests.node.bridge.market import ALICE, Market
from tests.node.bridge.support import COIN, Client, Desk, openapi
from tests.node.bridge.till import (
    FAR,
    PRICE,
    LosesAnswers,
    Till,
    serving,
    shop_of,
    signed,
)
from tests.node.platform import (
    START,
    TRANSFER_WITH_AUTHORIZATION,
    Platform,
    open_platform,
    word,
)

PROJECT = Path(__file__).parents[3]
BOB = LocalSigner(b"\x33" * 32)
NONCE_USED = "invalid_exact_evm_nonce_already_used"
HIGHER_HALF = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@asynccontextmanager
async def open_till(market: Market) -> AsyncIterator[Till]:
    buyer = await market.member(topup=COIN, address=ALICE.address)
    seller = await market.member("seller")
    made = await market.shop.ok("/v1/api_keys", {"name": "till", "scopes": ["x402"]})
    async with serving(market.shop.app) as url:
        till = Till(market, url, made["secret"], buyer, seller)
        yield till
        await till.facilitator.aclose()


@pytest.fixture
async def till(market: Market) -> AsyncIterator[Till]:
    """A seller with a key for x402 alone, and Alice with one coin."""
    async with open_till(market) as till:
        yield till


@pytest.fixture
async def unmanned(tmp_path: Path) -> AsyncIterator[Till]:
    """The same, and its worker has stopped: `work` does what there is to do."""
    async with open_platform(tmp_path, "auto") as platform:
        parts = (platform.settings, platform.store, platform.manifest, platform.seed)
        app = create_app(*parts, platform.engine.rpc)
        openapi(app)
        key = platform.store.write_now(
            lambda session: create_merchant_key(
                session, platform.settings, merchant="Demo shop", name="test"
            )
        )
        stop = asyncio.Event()
        running = (platform.engine, platform.store, platform.seed, platform.manifest)
        worker = asyncio.create_task(run_worker(*running, platform.settings, stop))
        async with open_till(Market(platform, Client(app, key.secret))) as till:
            stop.set()
            await worker
            yield till


async def work(till: Till) -> None:
    await (await till.market.platform.worker()).settle()


async def until_sent(till: Till, status: str, seconds: float = 30) -> Operation:
    """The newest payment's operation, once it has this status."""
    store = till.market.platform.store
    newest = (
        select(Operation).where(Operation.kind == "transfer.send").order_by(Operation.id.desc())
    )
    for _ in range(int(seconds * 50)):
        operation = await store.read(lambda session: session.scalars(newest.limit(1)).first())
        if operation is not None and operation.status == status:
            return operation
        await asyncio.sleep(0.02)
    raise AssertionError(status)


# ------------------------------------------------------------------------- a shop that sells


async def test_an_unmodified_client_pays_for_a_call(till: Till) -> None:
    had = await till.balances()
    async with serving(shop_of(till.paywall())) as shop, till.client(shop) as http:
        assert (await http.get("/free")).json() == {"free": True}
        assert till.paid_with == []
        answer = await http.get("/scores/17?since=2026")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"seller": "17", "score": 712, "payer": ALICE.address}
    assert await till.balances() == (had[0] - PRICE, had[1] + PRICE)
    receipt = decode_payment_response_header(answer.headers["PAYMENT-RESPONSE"])
    assert (receipt.success, receipt.payer, receipt.amount) == (True, ALICE.address, str(PRICE))
    assert receipt.network == till.network
    (transfer,) = await till.transfers()
    assert transfer["status"] == "succeeded"
    assert transfer["from"] == till.buyer["id"]
    assert transfer["resource"] == f"{shop}/scores/17?since=2026"
    rpc = till.market.platform.engine.rpc
    mined = await rpc.call("eth_getTransactionReceipt", receipt.transaction)
    assert int(mined["status"], 16) == 1
    await till.market.reconcile()


async def test_without_a_payment_the_answer_says_what_to_pay(till: Till) -> None:
    async with serving(shop_of(till.paywall())) as shop, httpx.AsyncClient() as http:
        answer = await http.get(f"{shop}/scores/17")
        garbage = await http.get(f"{shop}/scores/17", headers={"PAYMENT-SIGNATURE": "%%%"})
    assert (answer.status_code, garbage.status_code) == (402, 402)
    required = decode_payment_required_header(answer.headers["PAYMENT-REQUIRED"])
    assert required.resource.url == f"{shop}/scores/17"
    (wanted,) = required.accepts
    assert (wanted.scheme, wanted.network) == ("exact", till.network)
    assert (wanted.amount, wanted.asset, wanted.pay_to) == (str(PRICE), till.coin, till.pay_to)
    assert wanted.extra == {"name": "Plaza Coin", "version": "1"}
    refused = decode_payment_required_header(garbage.headers["PAYMENT-REQUIRED"])
    assert refused.error == "invalid_payload"


async def test_a_payment_is_good_for_its_own_request_alone(till: Till) -> None:
    clock = [time.time()]
    served: list[None] = []
    app = shop_of(till.paywall(clock=lambda: clock[0]), lambda: served.append(None))
    async with serving(app) as shop, till.client(shop) as http, httpx.AsyncClient() as replayer:
        first = await http.get("/scores/17")
        has = await till.balances()
        again = await replayer.get(f"{shop}/scores/17", headers=till.paid_with[0])
        other = await replayer.get(f"{shop}/scores/18", headers=till.paid_with[0])
        posted = await replayer.post(f"{shop}/comparisons", json=[17], headers=till.paid_with[0])
        clock[0] += 121
        late = await replayer.get(f"{shop}/scores/17", headers=till.paid_with[0])
    # An answer lost on the way: asked for again, and not paid for again.
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["PAYMENT-RESPONSE"] == first.headers["PAYMENT-RESPONSE"]
    assert len(served) == 2
    for refused in (other, posted):
        assert refused.status_code == 402
        receipt = decode_payment_response_header(refused.headers["PAYMENT-RESPONSE"])
        assert (receipt.success, receipt.error_reason) == (False, NONCE_USED)
    assert late.status_code == 402
    assert await till.balances() == has


async def test_a_payment_that_would_be_good_for_longer_is_not_taken(till: Till) -> None:
    """Else one payment would buy the same request for as long as its payer likes."""
    had = await till.balances()
    now = int(time.time())
    async with serving(shop_of(till.paywall())) as shop, httpx.AsyncClient(timeout=60) as http:
        for valid_before, status in ((now + 600, 402), (FAR, 402), (now + 60, 200)):
            payment = till.sign(valid_before=valid_before)["paymentPayload"]
            header = base64.b64encode(json.dumps(payment).encode()).decode()
            answer = await http.get(f"{shop}/scores/17", headers={"PAYMENT-SIGNATURE": header})
            assert answer.status_code == status, answer.text
            assert await till.balances() == (had if status == 402 else (had[0] - PRICE, PRICE))


async def test_a_post_is_paid_for_with_its_body(till: Till) -> None:
    async with serving(shop_of(till.paywall())) as shop, till.client(shop) as http:
        answer = await http.post("/comparisons", json=[17, 18])
        assert answer.json() == {"of": [17, 18], "paid": PRICE}
        async with httpx.AsyncClient(headers=till.paid_with[0]) as replayer:
            again = await replayer.post(f"{shop}/comparisons", content=answer.request.content)
            other = await replayer.post(f"{shop}/comparisons", json=[17, 19])
    assert (again.status_code, other.status_code) == (200, 402)


async def test_the_package_own_middleware_sells_through_the_bridge(till: Till) -> None:
    """A shop needs nothing of ours: the resource server of the standard's package will do."""
    price = AssetAmount(
        amount=str(PRICE), asset=till.coin, extra={"name": "Plaza Coin", "version": "1"}
    )
    option = PaymentOption(scheme="exact", pay_to=till.pay_to, price=price, network=till.network)
    server = x402ResourceServer(till.facilitator)
    server.register("eip155:*", ExactEvmServerScheme())
    app = FastAPI()

    @app.get("/scores/{seller}")
    async def score(seller: str) -> dict[str, str]:
        return {"seller": seller}

    routes = {"GET /scores/*": RouteConfig(accepts=option)}
    # It asks the bridge what is supported, and blocks meanwhile.
    app.middleware("http")(await asyncio.to_thread(payment_middleware, routes, server))
    had = await till.balances()
    async with serving(app) as shop, till.client(shop) as http, httpx.AsyncClient() as replayer:
        answer = await http.get("/scores/17")
        assert (answer.status_code, answer.json()) == (200, {"seller": "17"}), answer.headers
        receipt = decode_payment_response_header(answer.headers["PAYMENT-RESPONSE"])
        assert receipt.success
        replayed = await replayer.get(f"{shop}/scores/17", headers=till.paid_with[0])
    assert replayed.status_code == 402
    refused = decode_payment_required_header(replayed.headers["PAYMENT-REQUIRED"])
    assert refused.error == NONCE_USED
    assert await till.balances() == (had[0] - PRICE, had[1] + PRICE)


async def test_a_lost_settlement_is_not_taken_for_an_unpaid_one(till: Till) -> None:
    had = await till.balances()
    bridge = httpx.AsyncClient(transport=LosesAnswers("/settle", 1), timeout=60)
    async with serving(shop_of(till.paywall(http=bridge))) as shop, till.client(shop) as http:
        lost = await http.get("/scores/17")
        assert (lost.status_code, lost.headers["Retry-After"]) == (503, "2")
        async with httpx.AsyncClient(headers=till.paid_with[0]) as same:
            answer = await same.get(f"{shop}/scores/17")
    await bridge.aclose()
    assert answer.status_code == 200
    assert await till.balances() == (had[0] - PRICE, had[1] + PRICE)


async def test_a_shop_whose_key_may_not_sell_asks_nobody_for_money(till: Till) -> None:
    made = await till.market.shop.ok("/v1/api_keys", {"name": "books", "scopes": ["read"]})
    paywall = till.paywall(key=made["secret"])
    had = await till.balances()
    async with serving(shop_of(paywall)) as shop, till.client(shop) as http:
        assert (await http.get("/scores/17")).status_code == 502
    await paywall.aclose()
    assert await till.balances() == had


async def test_a_buyer_without_enough_coin_gets_nothing(till: Till) -> None:
    served: list[None] = []
    poor = await till.market.member(topup=PRICE - 1, address=BOB.address)
    app = shop_of(till.paywall(), lambda: served.append(None))
    async with serving(app) as shop, till.client(shop, b"\x33" * 32) as http:
        answer = await http.get("/scores/17")
    assert answer.status_code == 402
    receipt = decode_payment_response_header(answer.headers["PAYMENT-RESPONSE"])
    assert (receipt.success, receipt.error_reason) == (False, "insufficient_funds")
    assert (served, await till.transfers()) == ([], [])
    assert (await till.market.balance(poor))["available"] == str(PRICE - 1)


# -------------------------------------------------------------------------- the facilitator


async def test_what_is_supported_is_public(till: Till) -> None:
    found = await asyncio.to_thread(till.facilitator.get_supported)
    (kind,) = found.kinds
    assert (kind.x402_version, kind.scheme, kind.network) == (2, "exact", till.network)
    assert kind.extra == {
        "name": "Plaza Coin",
        "version": "1",
        "asset": till.coin,
        "symbol": "PLZ",
        "decimals": 6,
    }
    assert found.signers == {"eip155:*": [till.market.platform.manifest.accounts["operator"]]}
    # The domain that clients sign for is the coin's own.
    platform = till.market.platform
    domain = await platform.call(platform.coin, "eip712Domain")
    assert list(domain[1:5]) == ["Plaza Coin", "1", platform.manifest.chain_id, till.coin]


async def test_it_settles_once_however_often_it_is_asked(till: Till) -> None:
    body = till.sign()
    had = await till.balances()
    assert (await till.verify(body)).is_valid
    assert await till.balances() == had
    at_once = await asyncio.gather(*(till.settle(body) for _ in range(8)))
    later = await till.settle(body)
    assert at_once == [later] * 8
    assert later.success
    assert await till.balances() == (had[0] - PRICE, had[1] + PRICE)
    assert len(await till.transfers()) == 1
    events = (await till.market.shop.get("/v1/events?limit=1000")).json()["data"]
    moved = [event for event in events if event["resource_type"] == "transfer"]
    assert [event["type"] for event in moved] == ["transfer.created", "transfer.succeeded"]
    assert moved[0]["data"]["resource"] == "http://shop.example/scores/17"
    after = await till.verify(body)
    assert (after.is_valid, after.invalid_reason) == (False, NONCE_USED)


async def test_a_settled_nonce_is_not_good_for_anything_else(till: Till) -> None:
    nonce = word("once")
    first = await till.settle(till.sign(nonce=nonce))
    assert first.success
    has = await till.balances()
    forged = till.sign(nonce=nonce)
    # Payer and nonce are public by now; a signature that is not the payer's shows nothing.
    forged["paymentPayload"]["payload"]["signature"] = till.sign(BOB)["paymentPayload"]["payload"][
        "signature"
    ]
    for other in (
        till.sign(nonce=nonce, amount=PRICE + 1),
        till.sign(nonce=nonce, resource="http://shop.example/scores/18"),
        till.sign(nonce=nonce, resource=None),
        till.sign(nonce=nonce, valid_after=1),
        forged,
    ):
        refused = await till.settle(other)
        assert (refused.success, refused.transaction) == (False, "")
        assert refused.error_reason == NONCE_USED
    assert await till.balances() == has


async def test_what_the_chain_would_refuse_is_refused_before(till: Till) -> None:
    high_s = till.sign()
    signature = bytes.fromhex(high_s["paymentPayload"]["payload"]["signature"][2:])
    turned = (HIGHER_HALF - int.from_bytes(signature[32:64])).to_bytes(32)
    v = bytes([27 + 28 - signature[64]])
    high_s["paymentPayload"]["payload"]["signature"] = "0x" + (signature[:32] + turned + v).hex()
    stranger = till.sign(BOB)
    cases = [
        (till.sign(valid_before=START), "invalid_exact_evm_payload_authorization_valid_before"),
        (till.sign(valid_after=2**39), "invalid_exact_evm_payload_authorization_valid_after"),
        (till.sign(amount=COIN + 1), "insufficient_funds"),
        (till.sign(BOB, sender=ALICE.address), "invalid_exact_evm_payload_signature"),
        (high_s, "invalid_exact_evm_payload_signature"),
        (stranger, "insufficient_funds"),  # no member, who has nothing
    ]
    await refused_everywhere(till, cases)
    await freeze(till, till.seller)
    await refused_everywhere(till, [(till.sign(), "invalid_transaction_state")])
    await unfreeze(till, till.seller)
    await freeze(till, till.buyer)
    await refused_everywhere(till, [(till.sign(), "invalid_transaction_state")])
    assert await till.transfers() == []
    await unfreeze(till, till.buyer)
    assert (await till.settle(till.sign())).success


async def freeze(till: Till, account: Any) -> None:
    path = f"/v1/accounts/{account['id']}/freeze"
    await till.market.shop.ok(path, {"reason": "case 7"}, wait=30)


async def unfreeze(till: Till, account: Any) -> None:
    await till.market.shop.ok(f"/v1/accounts/{account['id']}/unfreeze", wait=30)


async def refused_everywhere(till: Till, cases: list[tuple[dict[str, Any], str]]) -> None:
    had = await till.balances()
    for body, reason in cases:
        verified = await till.verify(body)
        assert (verified.is_valid, verified.invalid_reason) == (False, reason)
        assert verified.payer == body["paymentPayload"]["payload"]["authorization"]["from"]
        settled = await till.settle(body)
        assert (settled.success, settled.error_reason) == (False, reason)
        assert (settled.transaction, settled.network) == ("", till.network)
    assert await till.balances() == had


async def test_a_nonce_used_past_the_bridge_is_used(till: Till) -> None:
    await send_itself(till, till.sign(nonce=word("mine"), amount=1))
    await refused_everywhere(till, [(till.sign(nonce=word("mine")), NONCE_USED)])


async def send_itself(till: Till, body: dict[str, Any]) -> str:
    """What the payer signed, sent by the payer; return the hash."""
    platform = till.market.platform
    signed = body["paymentPayload"]["payload"]
    authorization = signed["authorization"]
    names = ("value", "validAfter", "validBefore")
    call = platform.coin.encode(
        TRANSFER_WITH_AUTHORIZATION,
        authorization["from"],
        authorization["to"],
        *(int(authorization[name]) for name in names),
        authorization["nonce"],
        signed["signature"],
    )
    return await platform.send(ALICE, platform.coin_address, call)


async def test_coin_on_its_way_out_is_not_available(unmanned: Till) -> None:
    """Alice has one coin, and nobody carries anything out."""
    settling = asyncio.create_task(unmanned.settle(unmanned.sign(amount=COIN - PRICE + 1)))
    await until_sent(unmanned, OperationStatus.QUEUED)
    second = unmanned.sign()
    verified = await unmanned.verify(second)
    assert (verified.is_valid, verified.invalid_reason) == (False, "insufficient_funds")
    assert (await unmanned.settle(second)).error_reason == "insufficient_funds"
    await work(unmanned)
    assert (await settling).success


async def test_merchants_are_kept_apart(till: Till) -> None:
    market = till.market
    key = market.platform.store.write_now(
        lambda session: create_merchant_key(
            session, market.platform.settings, merchant="Other shop", name="test"
        )
    )
    other = Client(market.shop.app, key.secret)
    body = till.sign()
    for path in ("/x402/verify", "/x402/settle"):
        answer = (await other.post(path, body, key=None)).json()
        reason = answer.get("invalidReason") or answer["errorReason"]
        assert reason == "invalid_payment_requirements"
    assert (await till.settle(body)).success
    # Of a payment to another's account it learns no more than of one that there never was.
    for path in ("/x402/verify", "/x402/settle"):
        answer = (await other.post(path, body, key=None)).json()
        assert NONCE_USED in (answer.get("invalidReason"), answer.get("errorReason"))
    assert (await other.get("/v1/transfers")).json()["data"] == []
    nobody_here = till.sign(pay_to=BOB.address)
    assert (await till.verify(nobody_here)).invalid_reason == "invalid_payment_requirements"


async def test_a_payer_of_no_merchant_may_pay(till: Till) -> None:
    """A member that the shop does not know: its transfer has no account."""
    market = till.market
    key = market.platform.store.write_now(
        lambda session: create_merchant_key(
            session, market.platform.settings, merchant="Other shop", name="test"
        )
    )
    other = Market(market.platform, Client(market.shop.app, key.secret))
    await other.member(topup=PRICE, address=BOB.address)
    settled = await till.settle(till.sign(BOB))
    assert (settled.success, settled.payer) == (True, BOB.address)
    (transfer,) = await till.transfers()
    assert (transfer["from"], transfer["from_address"]) == (None, BOB.address)
    await market.reconcile()


async def test_a_smart_account_pays(till: Till, contract_wallet: Artifact) -> None:
    """Whose signature is for the chain to judge (EIP-1271)."""
    market, platform = till.market, till.market.platform
    data = contract_wallet.bytecode + ALICE.address[2:].lower().rjust(64, "0")
    wallet = await deploy(platform, data)
    wallet = (await market.member(topup=PRICE, address=wallet))["address"]
    await refused_everywhere(
        till,
        [(till.sign(BOB, sender=wallet), "invalid_exact_evm_payload_signature")],
    )
    settled = await till.settle(till.sign(ALICE, sender=wallet))
    assert (settled.success, settled.payer) == (True, wallet)
    assert await platform.balance(wallet) == 0


async def deploy(platform: Platform, data: str) -> str:
    rpc = platform.engine.rpc
    nonce = int(await rpc.call("eth_getTransactionCount", BOB.address, "latest"), 16)
    transaction = BOB.sign_transaction(
        {
            "chainId": platform.manifest.chain_id,
            "nonce": nonce,
            "data": data,
            "gas": 1_000_000,
        }
    )
    await rpc.call("eth_sendRawTransaction", "0x" + transaction.raw.hex())
    for _ in range(500):
        receipt = await rpc.call("eth_getTransactionReceipt", transaction.hash)
        if receipt is not None:
            assert int(receipt["status"], 16) == 1
            return str(receipt["contractAddress"])
        await asyncio.sleep(0.01)
    raise AssertionError("not mined")


@pytest.fixture(scope="session")
def contract_wallet() -> Artifact:
    compiled = compile_sources({"ContractWallet": "tests/contracts/sources/ContractWallet.sol"})
    return Artifact(**compiled["ContractWallet"])


# ------------------------------------------------------- what is not known, and what was lost


async def test_what_nobody_has_signed_in_time_is_called_back(unmanned: Till) -> None:
    """So the client may pay again, with another authorization."""
    had = await unmanned.balances()
    body = unmanned.sign(seconds=1)
    settled = await unmanned.settle(body)
    assert (settled.success, settled.error_reason) == (False, "unexpected_settle_error")
    assert settled.transaction == ""
    await work(unmanned)
    assert await unmanned.settle(body) == settled
    assert (await unmanned.verify(body)).invalid_reason == NONCE_USED
    (transfer,) = await unmanned.transfers()
    assert transfer["status"] == "canceled"
    assert await unmanned.balances() == had


async def test_what_is_on_its_way_is_pending_and_asked_for_again(unmanned: Till) -> None:
    had = await unmanned.balances()

    async def keep(*_: Any) -> None:
        """Signed, and not sent: the connection to the chain is broken."""

    worker = await unmanned.market.platform.worker(broadcast=keep)
    paywall = unmanned.paywall(valid_for=4)
    async with serving(shop_of(paywall)) as shop, unmanned.client(shop) as http:
        buying = asyncio.create_task(http.get("/scores/17"))
        await until_sent(unmanned, OperationStatus.QUEUED)
        await worker.submitter.round()
        answer = await buying
        assert answer.status_code == 503
        pending = decode_payment_response_header(answer.headers["PAYMENT-RESPONSE"])
        assert (pending.success, pending.error_reason) == (False, "settlement_pending")
        operation = await until_sent(unmanned, OperationStatus.SUBMITTED)
        assert pending.transaction == operation.tx_hash
        assert await unmanned.balances() == had
        await work(unmanned)
        async with httpx.AsyncClient(headers=unmanned.paid_with[0], timeout=60) as same:
            answer = await same.get(f"{shop}/scores/17")
        assert answer.status_code == 200, answer.text
    await paywall.aclose()
    receipt = decode_payment_response_header(answer.headers["PAYMENT-RESPONSE"])
    assert receipt.transaction == pending.transaction
    assert await unmanned.balances() == (had[0] - PRICE, had[1] + PRICE)


async def test_what_is_on_its_way_still_verifies(unmanned: Till) -> None:
    """A server that always verifies first must be able to ask for the outcome."""
    body = unmanned.sign()
    settling = asyncio.create_task(unmanned.settle(body))
    await until_sent(unmanned, OperationStatus.QUEUED)
    assert (await unmanned.verify(body)).is_valid
    other = unmanned.sign(
        nonce=body["paymentPayload"]["payload"]["authorization"]["nonce"], resource="http://a/b"
    )
    assert (await unmanned.verify(other)).invalid_reason == NONCE_USED
    await work(unmanned)
    assert (await settling).success


async def test_a_payment_its_payer_sent_itself_is_no_failure(unmanned: Till) -> None:
    """The outbox is refused, since the nonce is used, before the indexer has read by whom."""
    had = await unmanned.balances()
    settling = asyncio.create_task(unmanned.settle(body := unmanned.sign()))
    await until_sent(unmanned, OperationStatus.QUEUED)
    sent = await send_itself(unmanned, body)
    worker = await unmanned.market.platform.worker()
    await worker.submitter.round()
    operation = await until_sent(unmanned, OperationStatus.FAILED)
    assert operation.error_code == "AuthorizationAlreadyUsed"
    await asyncio.sleep(1.2)
    assert not settling.done()
    await worker.index()
    settled = await settling
    assert (settled.success, settled.transaction) == (True, sent)
    assert await unmanned.settle(body) == settled
    assert await unmanned.balances() == (had[0] - PRICE, had[1] + PRICE)


async def test_what_the_outbox_is_refused_is_told_in_the_standards_words(unmanned: Till) -> None:
    """The payer has spent its coin elsewhere between the check and the transaction."""
    platform = unmanned.market.platform
    settling = asyncio.create_task(unmanned.settle(body := unmanned.sign()))
    await until_sent(unmanned, OperationStatus.QUEUED)
    call = platform.coin.encode("transfer", unmanned.pay_to, COIN)
    await platform.send(ALICE, platform.coin_address, call)
    await work(unmanned)
    settled = await settling
    assert (settled.success, settled.error_reason) == (False, "insufficient_funds")
    assert "ERC20InsufficientBalance" in (settled.error_message or "")
    assert await unmanned.settle(body) == settled


@asynccontextmanager
async def bridge_process(till: Till) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    """A bridge as `plaza up` starts it, on the same database and chain."""
    platform = till.market.platform
    folder = platform.settings.data
    platform.manifest.save(platform.settings.manifest_path)
    (folder / "passphrase").write_text("open sesame\n")
    if not (folder / "seed.json").exists():
        SealedSeed.create(folder / "seed.json", "open sesame", b"\x05" * 32, scrypt_n=1024)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.set_inheritable(True)
        environment = {
            "PLAZA_DATA": str(folder),
            "PLAZA_DATABASE_URL": platform.settings.store_url,
            "PLAZA_LISTEN_FD": str(listener.fileno()),
        }
        process = subprocess.Popen(  # noqa: ASYNC220 (handed over before anything is awaited)
            [sys.executable, "-m", "node.bridge.serve"],
            cwd=PROJECT,
            env={**os.environ, **environment},
            stderr=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield process, url
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def test_a_bridge_killed_while_it_settles_has_lost_nothing(unmanned: Till) -> None:
    had = await unmanned.balances()
    body = unmanned.sign()
    headers = {"Authorization": f"Bearer {unmanned.key}"}
    async with httpx.AsyncClient(headers=headers, timeout=180) as http:
        async with bridge_process(unmanned) as (process, url):
            settling = asyncio.create_task(http.post(f"{url}/x402/settle", json=body))
            await until_sent(unmanned, OperationStatus.QUEUED, seconds=150)
            process.kill()
            with pytest.raises(httpx.TransportError):
                await settling
        assert await unmanned.balances() == had
        async with bridge_process(unmanned) as (_, url):
            again = asyncio.create_task(http.post(f"{url}/x402/settle", json=body))
            await work(unmanned)
            settled = SettleResponse.model_validate((await again).json())
            once_more = await http.post(f"{url}/x402/settle", json=body)
    assert settled.success
    assert SettleResponse.model_validate(once_more.json()) == settled
    assert await unmanned.balances() == (had[0] - PRICE, had[1] + PRICE)
    assert len(await unmanned.transfers()) == 1


# --------------------------------------------------------------------- what is not a payment


def on_desk(desk: Desk, **more: Any) -> dict[str, Any]:
    """For an account that the merchant does not have: no chain is asked."""
    coin = desk.manifest.contracts["PlatformCoin"].address
    return signed(desk.manifest.chain_id, coin, ALICE, BOB.address, **more)


def changed(body: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """With another value at a dotted place; `...` takes it away."""
    found = copy.deepcopy(body)
    *above, last = place.split(".")
    holder = found
    for name in above:
        holder = holder[name]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return found


PAYLOAD, WANTED = "paymentPayload", "paymentRequirements"
SIGNED = f"{PAYLOAD}.payload"
AUTHORIZED = f"{SIGNED}.authorization"


WRONG: list[tuple[str, Any, str]] = [
    ("x402Version", 1, "invalid_x402_version"),
    (f"{PAYLOAD}.x402Version", 1, "invalid_x402_version"),
    (f"{PAYLOAD}.x402Version", "2", "invalid_x402_version"),
    (f"{WANTED}.scheme", "upto", "unsupported_scheme"),
    (f"{WANTED}.network", "eip155:1", "invalid_network"),
    (f"{WANTED}.network", "solana:mainnet", "invalid_network"),
    (f"{WANTED}.network", 4242, "invalid_payment_requirements"),
    (f"{WANTED}.asset", BOB.address, "invalid_payment_requirements"),
    (f"{WANTED}.asset", "USDC", "invalid_payment_requirements"),
    (f"{WANTED}.payTo", "merchant", "invalid_payment_requirements"),
    (f"{WANTED}.amount", "0", "invalid_payment_requirements"),
    (f"{WANTED}.amount", "0.05", "invalid_payment_requirements"),
    (f"{WANTED}.amount", 50_000, "invalid_payment_requirements"),
    (f"{WANTED}.amount", str(10**40), "invalid_payment_requirements"),
    (f"{WANTED}.maxTimeoutSeconds", 0, "invalid_payment_requirements"),
    (f"{WANTED}.maxTimeoutSeconds", 10**30, "invalid_payment_requirements"),
    (f"{WANTED}.extra", ..., "missing_eip712_domain"),
    (f"{WANTED}.extra.version", ..., "missing_eip712_domain"),
    (f"{WANTED}.extra.name", "USDC", "invalid_exact_evm_token_name_mismatch"),
    (f"{WANTED}.extra.version", "2", "invalid_exact_evm_token_version_mismatch"),
    (f"{WANTED}.extra.assetTransferMethod", "permit2", "invalid_payment_requirements"),
    (f"{PAYLOAD}.accepted", ..., "invalid_payload"),
    (f"{PAYLOAD}.accepted.amount", "49999", "invalid_payload"),
    (f"{PAYLOAD}.accepted.network", "eip155:1", "invalid_payload"),
    (f"{PAYLOAD}.accepted.payTo", ALICE.address, "invalid_payload"),
    (SIGNED, {"permit2Authorization": {}, "signature": "0x"}, "invalid_payload"),
    (f"{SIGNED}.signature", ..., "invalid_payload"),
    (f"{SIGNED}.signature", "0x" + "1b" * 64, "invalid_payload"),
    (f"{SIGNED}.signature", "0x" + "1b" * 1001, "invalid_payload"),
    (f"{AUTHORIZED}.value", "49999", "invalid_exact_evm_payload_authorization_value"),
    (f"{AUTHORIZED}.value", "50001", "invalid_exact_evm_payload_authorization_value"),
    (f"{AUTHORIZED}.value", str(2**256), "invalid_payload"),
    (f"{AUTHORIZED}.value", "-1", "invalid_payload"),
    (f"{AUTHORIZED}.to", ALICE.address, "invalid_exact_evm_payload_recipient_mismatch"),
    (f"{AUTHORIZED}.from", BOB.address, "invalid_payload"),
    (f"{AUTHORIZED}.from", "0x" + "00" * 20, "invalid_payload"),
    (f"{AUTHORIZED}.validBefore", "9" * 79, "invalid_payload"),
    (f"{AUTHORIZED}.validAfter", 0, "invalid_payload"),
    (f"{AUTHORIZED}.nonce", "0x01", "invalid_payload"),
    (f"{PAYLOAD}.resource", {"url": "http://shop.example/a b"}, "invalid_payload"),
    (f"{PAYLOAD}.resource", {"url": "http://shop.example/" + "a" * 2000}, "invalid_payload"),
    # What is right is not: BOB is no account of this merchant.
    ("x402Version", 2, "invalid_payment_requirements"),
    ("x402Version", ..., "invalid_payment_requirements"),
    (f"{PAYLOAD}.resource", ..., "invalid_payment_requirements"),
    (f"{AUTHORIZED}.validBefore", str(2**256 - 1), "invalid_payment_requirements"),
]


async def test_it_says_in_the_standards_words_what_is_wrong(desk: Desk) -> None:
    for place, value, reason in WRONG:
        body = changed(on_desk(desk), place, value)
        verified = await desk.shop.post("/x402/verify", body, key=None)
        assert verified.status_code == 200, (place, value)
        shown = verified.json()
        assert (shown["isValid"], shown["invalidReason"]) == (False, reason), (place, value)
        settled = await desk.shop.post("/x402/settle", body, key=None)
        assert settled.status_code == 200, (place, value)
        answer = SettleResponse.model_validate(settled.json())
        assert (answer.success, answer.error_reason, answer.transaction) == (False, reason, "")
    assert desk.rows(Transfer) == []


async def test_a_payment_of_version_1_is_refused_in_its_shape(desk: Desk) -> None:
    authorization = on_desk(desk)["paymentPayload"]["payload"]
    body = {
        "x402Version": 1,
        "paymentPayload": {
            "x402Version": 1,
            "scheme": "exact",
            "network": "base-sepolia",
            "payload": authorization,
        },
        "paymentRequirements": {"scheme": "exact", "maxAmountRequired": "50000"},
    }
    answer = await desk.shop.post("/x402/verify", body, key=None)
    assert answer.json()["invalidReason"] == "invalid_x402_version"


STRANGE = (
    None, True, 0, -1, 10**100, 1e308, "", "x" * 5000, "\ud800", "\0", "٣", [], {}, [[]], ...
)  # fmt: skip


IS_JSON = {"Content-Type": "application/json"}


async def test_nothing_strange_is_taken_or_breaks_it(desk: Desk) -> None:
    body = on_desk(desk)
    asked = 0
    for place in places(body):
        for value in STRANGE:
            strange = json.dumps(changed(body, place, value))
            answer = await desk.shop.request(
                "POST", "/x402/settle", content=strange, headers=IS_JSON
            )
            asked += 1
            assert answer.status_code in (200, 422), (place, value, answer.text)
            assert answer.status_code == 422 or not answer.json()["success"], (place, value)
    assert asked > 350
    for raw in (b"", b"[]", b"null", b"{", b"[" * 60_000, b'"x402"', b'{"paymentPayload": {}}'):
        answer = await desk.shop.request("POST", "/x402/settle", content=raw, headers=IS_JSON)
        assert answer.status_code in (400, 422), raw[:20]
    assert desk.rows(Transfer) == []


def places(value: dict[str, Any], above: str = "") -> list[str]:
    found = []
    for name, below in value.items():
        found.append(above + name)
        if isinstance(below, dict):
            found += places(below, f"{above}{name}.")
    return found


async def test_only_a_key_for_it_may_ask(desk: Desk) -> None:
    body = on_desk(desk)
    made = await desk.shop.ok("/v1/api_keys", {"name": "books", "scopes": ["read", "money"]})
    for path in ("/x402/verify", "/x402/settle"):
        nobody = await Client(desk.app, None).post(path, body, key=None)
        assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthorized")
        books = await Client(desk.app, made["secret"]).post(path, body, key=None)
        assert (books.status_code, books.json()["code"]) == (403, "scope_missing")
    assert (await Client(desk.app, None).get("/x402/supported")).status_code == 200


async def test_without_the_chain_nothing_is_said_or_kept(desk: Desk) -> None:
    """An account of the merchant and a payer with coin, by the books; the chain is silent."""
    seller = await desk.account()
    await desk.account(COIN, address=ALICE.address)
    body = on_desk(desk)
    for place in (f"{WANTED}.payTo", f"{PAYLOAD}.accepted.payTo", f"{AUTHORIZED}.to"):
        body = changed(body, place, seller["address"])
    for path in ("/x402/verify", "/x402/settle"):
        answer = await desk.shop.post(path, body, key=None)
        assert (answer.status_code, answer.json()["code"]) == (503, "chain_unavailable")
    assert desk.rows(Transfer) == []
    await desk.rpc.close()
