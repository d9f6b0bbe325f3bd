"""Whole flows over HTTP, with the real worker on a real chain."""

from __future__ import annotations

import asyncio

from node.chain.typed_data import transfer_authorization_digest
from node.keys import LocalSigner
from tests.node.bridge.market import ALICE, FEE, PRICE, Market
from tests.node.bridge.support import COIN, DAY, Client


async def test_a_purchase_from_order_to_payout(market: Market) -> None:
    shop = market.shop
    buyer, seller = await market.member(topup=20 * COIN), await market.member("seller")
    purchase = await market.purchase(buyer, seller)
    assert (purchase["status"], purchase["held"]) == ("authorized", str(PRICE))
    balance = await market.balance(buyer)
    assert (balance["available"], balance["held"]) == (str(20 * COIN - PRICE), str(PRICE))
    shipped = await market.act(purchase, "ship", {"tracking": "DHL 1"})
    assert (shipped["status"], shipped["tracking"]) == ("shipped", "DHL 1")
    delivered = await market.act(purchase, "deliver")
    assert delivered["status"] == "delivered"

    early = await shop.post(f"/v1/purchases/{purchase['id']}/release")
    assert (early.status_code, early.json()["code"]) == (409, "dispute_window_open")
    assert early.json()["deadline"] == delivered["dispute_deadline"]
    await market.travel(7 * DAY)
    first = await market.act(purchase, "release", {"amount": "1000000"})
    assert (first["status"], first["released"]) == ("delivered", "1000000")
    released = await market.act(purchase, "release")
    assert (released["status"], released["held"]) == ("released", "0")
    assert released["released"] == str(PRICE)
    fee = 1_000_000 * 250 // 10_000 + (PRICE - 1_000_000) * 250 // 10_000
    assert released["fee"] == str(fee)

    payout = {"account": seller["id"], "amount": str(PRICE - fee), "reference": "payout 1"}
    redeemed = await shop.ok("/v1/redemptions", payout, wait=30)
    assert redeemed["status"] == "succeeded"
    assert (await market.balance(seller))["available"] == "0"
    totals = (await shop.get("/v1/purchases/totals")).json()
    assert totals["by_status"] == {"released": {"count": 1, "amount": str(PRICE)}}
    entries = (await shop.get(f"/v1/accounts/{seller['id']}/entries")).json()["data"]
    assert [entry["kind"] for entry in entries] == ["redemption", "release", "release"]
    events = (await shop.get("/v1/events")).json()["data"]
    of_purchase = [e["type"] for e in events if e["resource_id"] == purchase["id"]]
    assert of_purchase == [
        "purchase.created",
        "purchase.authorized",
        "purchase.shipped",
        "purchase.delivered",
        "purchase.released",
        "purchase.released",
    ]
    reconciled = (await shop.get("/v1/reconciliation")).json()
    assert (reconciled["ok"], reconciled["drift"]) == (True, [])
    ready = await shop.get("/health/ready")
    assert (ready.status_code, ready.json()["problems"]) == (200, [])


async def test_a_purchase_is_refunded_after_its_release(market: Market) -> None:
    buyer = await market.member(topup=PRICE)
    seller = await market.member("seller", topup=COIN)
    purchase = await market.delivered(buyer, seller)
    await market.act(purchase, "release")
    part = await market.act(purchase, "refund", {"amount": "5", "reference": "return 1"})
    assert (part["status"], part["refunded"]) == ("released", "5")
    again = await market.shop.post(
        f"/v1/purchases/{purchase['id']}/refund", {"amount": "5", "reference": "return 1"}
    )
    assert (again.status_code, again.json()["code"]) == (409, "reference_taken")
    whole = await market.act(purchase, "refund", {"reference": "return 2"})
    assert (whole["status"], whole["refunded"]) == ("refunded", str(PRICE))
    assert (await market.balance(buyer))["available"] == str(PRICE)
    assert (await market.balance(seller))["available"] == str(COIN - FEE)


async def test_a_purchase_is_voided(market: Market) -> None:
    buyer, seller = await market.member(topup=PRICE), await market.member("seller")
    purchase = await market.purchase(buyer, seller)
    part = await market.act(purchase, "void", {"amount": "5"})
    assert (part["status"], part["held"], part["voided"]) == ("authorized", str(PRICE - 5), "5")
    voided = await market.act(purchase, "void")
    assert (voided["status"], voided["voided"]) == ("voided", str(PRICE))
    assert (await market.balance(buyer))["available"] == str(PRICE)


async def test_a_buyer_with_its_own_key_pays_by_link_and_reclaims(market: Market) -> None:
    """What was never delivered comes back by the buyer's own transaction, and is seen."""
    buyer = await market.member(address=ALICE.address, topup=PRICE)
    seller = await market.member("seller")
    purchase = await market.purchase(buyer, seller)
    assert (purchase["status"], purchase["held"]) == ("created", "0")
    public = Client(market.shop.app, None)
    path = f"/v1/pay/{purchase['id']}"
    assert purchase["pay_url"].endswith(path)
    invoice = (await public.get(path)).json()
    assert (invoice["order_id"], invoice["merchant"]) == ("A-1", "Demo shop")
    assert (invoice["amount"], invoice["order_hash"]) == (str(PRICE), purchase["order_hash"])

    forged = market.sign_payment(invoice, LocalSigner(b"\x22" * 32))
    for wrong in (
        forged,
        {**market.sign_payment(invoice), "valid_before": 1},
        {**forged, "signature": "0x" + "00" * 65},
        {**forged, "signature": "0x" + "ff" * 65},
    ):
        refused = await public.post(path, wrong, key=None)
        assert (refused.status_code, refused.json()["code"]) == (422, "signature_invalid")
    signed = market.sign_payment(invoice)
    answers = await asyncio.gather(*(public.post(path, signed, key=None) for _ in range(5)))
    codes = {answer.json().get("code", answer.status_code) for answer in answers}
    assert codes <= {202, "invalid_state"}
    await public.get(path)
    paid = await market.shop.get(f"/v1/purchases/{purchase['id']}")
    while paid.json()["status"] == "created":
        await asyncio.sleep(0.02)
        paid = await market.shop.get(f"/v1/purchases/{purchase['id']}")
    assert (paid.json()["status"], paid.json()["held"]) == ("authorized", str(PRICE))
    late = await public.post(path, signed, key=None)
    assert (late.status_code, late.json()["actual"]) == (409, "authorized")
    operations = (await market.shop.get(f"/v1/operations?resource_id={purchase['id']}")).json()
    assert [row["kind"] for row in operations["data"]] == ["purchase.authorize"]
    one = (await market.shop.get(f"/v1/operations/{operations['data'][0]['id']}")).json()
    assert [attempt["tx_hash"] for attempt in one["attempts"]] == [one["tx_hash"]]

    await market.travel(120 * DAY)
    terms = {**invoice["terms"], "maxAmount": int(invoice["terms"]["maxAmount"])}
    call = market.platform.escrow.encode("reclaim", terms)
    await market.platform.send(ALICE, invoice["escrow"], call)
    reclaimed = paid
    while reclaimed.json()["status"] == "authorized":
        await asyncio.sleep(0.02)
        reclaimed = await market.shop.get(f"/v1/purchases/{purchase['id']}")
    assert (reclaimed.json()["status"], reclaimed.json()["reclaimed"]) == ("reclaimed", str(PRICE))


async def test_terms_that_have_expired_are_not_authorized(market: Market) -> None:
    buyer = await market.member(topup=PRICE)
    seller = await market.member("seller")
    purchase = await market.purchase(buyer, seller, authorize=False, authorize_within=60)
    await market.travel(61)
    answer = await market.shop.post(f"/v1/purchases/{purchase['id']}/authorize")
    assert (answer.status_code, answer.json()["code"]) == (409, "terms_expired")


async def test_an_authorization_that_failed_can_be_asked_for_again(market: Market) -> None:
    buyer = await market.member(topup=PRICE)
    seller = await market.member("seller")
    purchase = await market.purchase(buyer, seller, authorize=False)
    account = f"/v1/accounts/{buyer['id']}"
    # Not seen by the database yet, so the authorization is queued behind it.
    assert (await market.shop.post(f"{account}/freeze", {"reason": "case 7"})).status_code == 202
    failed = await market.act(purchase, "authorize")
    assert failed["status"] == "created"
    assert failed["error"].startswith("AccountIsFrozen")
    barred = await market.shop.post(f"/v1/purchases/{purchase['id']}/authorize")
    assert (barred.status_code, barred.json()["code"]) == (409, "account_not_active")
    assert (barred.json()["param"], barred.json()["actual"]) == ("payer", "frozen")
    assert (await market.balance(buyer))["available"] == str(PRICE)
    await market.shop.ok(f"{account}/unfreeze", wait=30)
    authorized = await market.act(purchase, "authorize")
    assert (authorized["status"], authorized["error"]) == ("authorized", None)
    late = await market.shop.post(f"/v1/purchases/{purchase['id']}/authorize")
    assert (late.status_code, late.json()["actual"]) == (409, "authorized")
    operations = (await market.shop.get(f"/v1/operations?resource_id={purchase['id']}")).json()
    assert [(row["attempt"], row["status"]) for row in operations["data"]] == [
        (2, "done"),
        (1, "failed"),
    ]


async def test_an_external_owner_authorizes_transfers_and_redeems_itself(market: Market) -> None:
    alice = await market.member(address=ALICE.address, topup=COIN)
    bob = await market.member()
    manifest = market.platform.manifest
    body = {"from": alice["id"], "to": bob["address"], "amount": "300000"}
    unsigned = await market.shop.post("/v1/transfers", body)
    assert (unsigned.status_code, unsigned.json()["code"]) == (422, "signature_required")
    values = {
        "sender": ALICE.address,
        "to": bob["address"],
        "value": 300_000,
        "valid_after": 0,
        "valid_before": 2_000_000_000,
        "nonce": "0x" + "77" * 32,
    }
    digest = transfer_authorization_digest(
        chain_id=manifest.chain_id, coin=market.platform.coin_address, **values
    )
    authorization = {
        "signature": "0x" + ALICE.sign_hash(digest).hex(),
        "valid_after": 0,
        "valid_before": 2_000_000_000,
        "nonce": values["nonce"],
    }
    sent = await market.shop.ok("/v1/transfers", {**body, "authorization": authorization}, wait=30)
    assert (sent["status"], sent["from"]) == ("succeeded", alice["id"])
    again = await market.shop.post("/v1/transfers", {**body, "authorization": authorization})
    assert (again.status_code, again.json()["code"]) == (409, "reference_taken")
    assert (await market.balance(bob))["available"] == "300000"

    payout = {"account": alice["id"], "amount": "700000", "reference": "payout 1"}
    redemption = await market.shop.ok("/v1/redemptions", payout, wait=30)
    assert redemption["status"] == "pending"
    call = redemption["call"]
    await market.platform.send(ALICE, call["to"], call["data"])
    while redemption["status"] == "pending":
        await asyncio.sleep(0.02)
        redemption = (await market.shop.get(f"/v1/redemptions/{redemption['id']}")).json()
    assert redemption["status"] == "succeeded"


async def test_a_frozen_account_is_seen_and_set_free(market: Market) -> None:
    buyer = await market.member(topup=COIN)
    path = f"/v1/accounts/{buyer['id']}"
    frozen = await market.shop.ok(f"{path}/freeze", {"reason": "case 7"}, wait=30)
    assert frozen["status"] == "frozen"
    twice = await market.shop.post(f"{path}/freeze", {"reason": "case 7"})
    assert (twice.status_code, twice.json()["actual"]) == (409, "frozen")
    assert (await market.shop.ok(f"{path}/unfreeze", wait=30))["status"] == "active"
    assert (await market.shop.post(f"{path}/unfreeze")).json()["code"] == "invalid_state"
    assert (await market.shop.ok(f"{path}/freeze", {"reason": "again"}, wait=30))["status"]
    renewed = await market.shop.ok(
        f"{path}/membership", {"kinds": ["seller"], "member_until": "2040-01-01T00:00:00Z"}, wait=30
    )
    assert (renewed["kinds"], renewed["member_until"]) == (["seller"], "2040-01-01T00:00:00Z")


async def test_an_expelled_member_keeps_its_coin_and_may_come_back(market: Market) -> None:
    buyer, friend = await market.member(topup=COIN), await market.member()
    path = f"/v1/accounts/{buyer['id']}"
    longer = {"member_until": "2041-01-01T00:00:00Z"}
    extended = await market.shop.ok(f"{path}/membership", longer, wait=30)
    assert (extended["status"], extended["member_until"]) == ("active", longer["member_until"])
    expelled = await market.shop.ok(f"{path}/expel", {"reason": "closed"}, wait=30)
    assert expelled["status"] == "expired"
    twice = await market.shop.post(f"{path}/expel", {"reason": "closed"})
    assert (twice.status_code, twice.json()["actual"]) == (409, "expired")
    assert (await market.balance(buyer))["available"] == str(COIN)
    for body, param in (
        ({"from": buyer["id"], "to": friend["id"], "amount": "1"}, "from"),
        ({"from": friend["id"], "to": buyer["id"], "amount": "1"}, "to"),
    ):
        barred = await market.shop.post("/v1/transfers", body)
        assert (barred.status_code, barred.json()["code"]) == (409, "account_not_active")
        assert (barred.json()["param"], barred.json()["actual"]) == (param, "expired")
    events = (await market.shop.get("/v1/events?after=0&limit=100")).json()["data"]
    told = [event["type"] for event in events if event["resource_id"] == buyer["id"]]
    assert told[-2:] == ["account.expulsion_requested", "account.expired"]
    back = await market.shop.ok(f"{path}/membership", longer, wait=30)
    assert (back["status"], back["kinds"]) == ("active", ["buyer"])
    spent = {"from": buyer["id"], "to": friend["id"], "amount": str(COIN)}
    assert (await market.shop.ok("/v1/transfers", spent, wait=30))["status"] == "succeeded"
    await market.reconcile()
