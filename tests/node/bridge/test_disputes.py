"""Disputes over HTTP, with the real worker on a real chain."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from eth_utils.crypto import keccak

from node.keys import LocalSigner
from node.outbox.deadlines import Deadlines
from tests.node.bridge.market import ALICE, PRICE, Market, sign_typed_data
from tests.node.bridge.support import COIN, DAY
from tests.node.platform import word

BOB = LocalSigner(b"\x12" * 32)  # a seller with a key of its own


async def shown(market: Market, purchase: Any) -> dict[str, Any]:
    answer = await market.shop.get(f"/v1/purchases/{purchase['id']}/disputes")
    assert answer.status_code == 200, answer.text
    dispute: dict[str, Any] = answer.json()
    return dispute


async def until(market: Market, purchase: Any, status: str) -> dict[str, Any]:
    """The dispute, once the indexer has seen it in this state."""
    path = f"/v1/purchases/{purchase['id']}/disputes"
    for _ in range(1_500):
        answer = await market.shop.get(path)
        if answer.status_code == 200 and answer.json()["status"] == status:
            return await shown(market, purchase)
        await asyncio.sleep(0.02)
    raise AssertionError(f"the dispute is {answer.text}, not {status}")


def check(statement: dict[str, Any]) -> dict[str, Any]:
    """What is shown is what was hashed, by no code of the bridge."""
    assert "0x" + keccak(text=statement["canonical"]).hex() == statement["hash"]
    said: dict[str, Any] = json.loads(statement["canonical"])
    assert (said["text"], said["reference"]) == (statement["text"], statement["reference"])
    return said


async def event_types(market: Market, purchase: Any) -> list[str]:
    events = (await market.shop.get("/v1/events?limit=1000")).json()["data"]
    return [event["type"] for event in events if event["resource_id"] == purchase["id"]]


async def test_a_dispute_from_complaint_to_decision(market: Market) -> None:
    shop = market.shop
    buyer, seller = await market.member(topup=PRICE), await market.member("seller")
    purchase = await market.in_window(buyer, seller)
    path = f"/v1/purchases/{purchase['id']}/disputes"
    assert (await shop.get(path)).json()["code"] == "not_found"
    complaint = {"text": "The cup came broken.\n☕ “Scherben”", "reference": "ticket 4711"}
    opened = await shop.ok(path, complaint, wait=30)
    assert (opened["status"], opened["disputed"], opened["held"]) == (
        "open",
        str(PRICE),
        str(PRICE),
    )
    now = await shop.get(f"/v1/purchases/{purchase['id']}")
    assert (now.json()["status"], now.json()["dispute_deadline"]) == (
        "disputed",
        opened["deadline"],
    )
    (said,) = opened["evidence"]
    assert check(said)["order_hash"] == purchase["order_hash"]
    assert (said["kind"], said["by"], said["party"]) == ("complaint", "payer", buyer["address"])
    assert said["tx_hash"]

    salt = "0x" + "5a" * 32
    for by, more in (
        ("payee", {"salt": salt}),
        ("payer", {}),
        ("operator", {"reference": "x" * 200}),
    ):
        body = {"by": by, "text": f"What the {by} says", **more}
        await shop.ok(f"{path}/evidence", body, wait=30)
    for action in ("release", "void"):
        whole = {"amount": str(PRICE + 1), "by": {"release": "payer", "void": "payee"}[action]}
        refused = await shop.post(f"/v1/purchases/{purchase['id']}/{action}", whole)
        assert refused.json()["code"] == "amount_too_large"
    given_in = await market.act(purchase, "void", {"amount": "345678", "by": "payee"})
    assert (given_in["status"], given_in["voided"]) == ("disputed", "345678")

    decision = {"to_payer": "4000000", "text": "Packed badly: shared.", "reference": "case 12"}
    decided = await shop.ok(f"{path}/resolve", decision, wait=30)
    assert (decided["status"], decided["held"]) == ("decided", "0")
    assert (decided["to_payer"], decided["to_seller"]) == ("4345678", "8000000")
    verdict = decided["decision"]
    assert (verdict["to_payer"], verdict["to_seller"]) == ("4000000", "8000000")
    arbiter = market.platform.seed.platform("arbiter").address
    assert check(verdict)["party"] == arbiter
    assert decided["closed_at"] >= decided["opened_at"]
    assert [(e["kind"], e["by"], e["status"]) for e in decided["evidence"]] == [
        ("complaint", "payer", "succeeded"),
        ("evidence", "payee", "succeeded"),
        ("evidence", "payer", "succeeded"),
        ("evidence", "operator", "succeeded"),
    ]
    assert [check(e)["kind"] for e in decided["evidence"]][1:] == ["evidence"] * 3
    assert check(decided["evidence"][1])["salt"] == salt

    fee = 8_000_000 * 250 // 10_000
    assert (await market.balance(buyer))["available"] == "4345678"
    assert (await market.balance(seller))["available"] == str(8_000_000 - fee)
    assert (await event_types(market, purchase))[3:] == [
        "purchase.disputed",
        *["purchase.evidence_submitted"] * 3,
        "purchase.voided",
        "purchase.resolved",
        "purchase.voided",
        "purchase.released",
    ]
    events = (await shop.get("/v1/events?limit=1000")).json()["data"]
    data = {event["type"]: event["data"] for event in events}
    assert data["purchase.disputed"]["evidence_hash"] == said["hash"]
    assert data["purchase.disputed"]["dispute"] == "open"
    assert data["purchase.resolved"]["decision_hash"] == verdict["hash"]
    assert data["purchase.resolved"]["to_payer"] == "4000000"
    operations = (await shop.get(f"/v1/operations?resource_id={purchase['id']}")).json()["data"]
    assert {row["kind"]: row["signer"] for row in operations}["purchase.resolve"] == "arbiter"
    report = await market.reconcile()
    assert report["checked"]["disputes"] == 1
    over = await shop.post(f"{path}/evidence", {"by": "payer", "text": "Too late"})
    assert (over.status_code, over.json()["code"]) == (409, "invalid_state")


@pytest.mark.parametrize("to_payer", [0, PRICE])
async def test_all_may_go_to_one_side(market: Market, to_payer: int) -> None:
    buyer, seller = await market.member(topup=PRICE), await market.member("seller")
    purchase = await market.in_window(buyer, seller)
    await market.act(purchase, "disputes", {"text": "Never arrived."})
    body = {"to_payer": str(to_payer), "text": "So be it.", "fee_bps": 250}
    decided = await market.act(purchase, "disputes/resolve", body)
    assert (decided["to_payer"], decided["to_seller"]) == (str(to_payer), str(PRICE - to_payer))
    assert (await market.balance(buyer))["available"] == str(to_payer)
    if not to_payer:
        await market.act(purchase, "refund", {"amount": "5", "reference": "gesture"})
    await market.reconcile()


async def test_members_with_their_own_keys_dispute_and_give_in(market: Market) -> None:
    """Each signs exactly what the refusal says, and whoever relays it can do nothing else."""
    buyer = await market.member(address=ALICE.address, topup=PRICE)
    seller = await market.member("seller", address=BOB.address)
    purchase = await market.purchase(buyer, seller)
    await market.pay(purchase)
    early = await market.signed(purchase, "release", {"amount": "1000000", "by": "payer"})
    assert (early["status"], early["released"]) == ("authorized", "1000000")
    twice = await market.signed(purchase, "release", {"amount": "1000000", "by": "payer"})
    assert twice["released"] == "2000000"
    await market.act(purchase, "deliver")

    path = f"/v1/purchases/{purchase['id']}/disputes"
    body = {"text": "One of three is broken.", "salt": "0x" + "77" * 32}
    unsigned = (await market.shop.post(path, body)).json()
    assert (unsigned["code"], unsigned["param"]) == ("signature_required", "signed")
    assert unsigned["typed_data"]["primaryType"] == "Dispute"
    assert unsigned["typed_data"]["message"]["orderHash"] == purchase["order_hash"]
    opened = await market.signed(purchase, "disputes", body)
    assert (opened["status"], opened["disputed"]) == ("open", str(PRICE - 2_000_000))
    check(opened["evidence"][0])

    photo = {"by": "payee", "text": "They were whole when they left."}
    await market.signed(purchase, "disputes/evidence", photo, BOB)
    with_photo = await market.signed(
        purchase, "disputes/evidence", {"by": "payer", "text": "See the photo", "reference": "p 1"}
    )
    assert [e["party"] for e in with_photo["evidence"]] == [
        ALICE.address,
        BOB.address,
        ALICE.address,
    ]
    given = await market.signed(purchase, "void", {"amount": "4000000", "by": "payee"}, BOB)
    assert (given["status"], given["voided"]) == ("disputed", "4000000")
    rest = PRICE - 2_000_000 - 4_000_000
    given = await market.signed(purchase, "release", {"amount": "1", "by": "payer"})
    assert (given["status"], given["held"]) == ("disputed", str(rest - 1))
    done = await market.signed(purchase, "release", {"by": "payer"})
    assert (done["status"], done["held"]) == ("released", "0")
    settled = await shown(market, purchase)
    assert (settled["status"], settled["decision"]) == ("settled", None)
    assert (settled["to_payer"], settled["to_seller"]) == ("4000000", str(rest))
    assert settled["closed_at"] is not None
    await market.reconcile()


async def test_a_signature_for_one_thing_is_good_for_no_other(market: Market) -> None:
    buyer = await market.member(address=ALICE.address, topup=PRICE)
    seller = await market.member("seller", address=BOB.address)
    purchase = await market.in_window(buyer, seller)
    path = f"/v1/purchases/{purchase['id']}"

    async def typed_data(action: str, body: Any) -> Any:
        answer = await market.shop.post(f"{path}/{action}", body)
        return answer.json()["typed_data"]

    complaint = {"text": "Broken"}
    dispute = sign_typed_data(await typed_data("disputes", complaint), ALICE)
    release = await typed_data("release", {"amount": "5", "by": "payer"})
    for action, body, signed in (
        ("disputes", {"text": "Not what was signed"}, dispute),
        ("disputes", complaint, {**dispute, "deadline": dispute["deadline"] + 1}),
        ("disputes", complaint, {**dispute, "deadline": 1}),
        ("disputes", complaint, {**dispute, "signature": "0x" + "00" * 65}),
        ("release", {"amount": "6", "by": "payer"}, sign_typed_data(release, ALICE)),
        ("release", {"amount": "5", "by": "payer"}, sign_typed_data(release, BOB)),
        ("void", {"amount": "5", "by": "payee"}, dispute),
    ):
        answer = await market.shop.post(f"{path}/{action}", {**body, "signed": signed})
        assert (answer.status_code, answer.json()["code"]) == (422, "signature_invalid"), action
    opened = await market.shop.ok(f"{path}/disputes", {**complaint, "signed": dispute}, wait=30)
    assert opened["status"] == "open"


async def test_a_buyer_with_its_own_key_reclaims_by_signature(market: Market) -> None:
    buyer = await market.member(address=ALICE.address, topup=PRICE)
    seller = await market.member("seller")
    purchase = await market.purchase(buyer, seller)
    await market.pay(purchase)
    early = await market.shop.post(f"/v1/purchases/{purchase['id']}/reclaim")
    assert (early.status_code, early.json()["code"]) == (409, "reclaim_too_early")
    assert early.json()["reclaim_after"] == purchase["reclaim_after"]
    await market.travel(120 * DAY)
    reclaimed = await market.signed(purchase, "reclaim")
    assert (reclaimed["status"], reclaimed["reclaimed"]) == ("reclaimed", str(PRICE))
    assert (await market.balance(buyer))["available"] == str(PRICE)
    await market.reconcile()


async def test_a_managed_buyer_releases_early_and_reclaims_late(market: Market) -> None:
    buyer, seller = await market.member(topup=2 * PRICE), await market.member("seller")
    first, second = [await market.purchase(buyer, seller) for _ in range(2)]
    released = await market.act(first, "release", {"by": "payer"})
    assert (released["status"], released["released"]) == ("released", str(PRICE))
    await market.travel(120 * DAY)
    reclaimed = await market.act(second, "reclaim")
    assert (reclaimed["status"], reclaimed["reclaimed"]) == ("reclaimed", str(PRICE))
    await market.reconcile()


async def test_what_nobody_decides_goes_back_by_itself(market: Market) -> None:
    buyer, seller = await market.member(topup=PRICE), await market.member("seller")
    purchase = await market.in_window(buyer, seller)
    opened = await market.act(purchase, "disputes", {"text": "Never arrived."})
    early = await market.shop.post(f"/v1/purchases/{purchase['id']}/disputes/expire")
    assert (early.status_code, early.json()["code"]) == (409, "arbitration_open")
    assert early.json()["deadline"] == opened["deadline"]
    await market.travel(30 * DAY)
    defaulted = await until(market, purchase, "defaulted")
    assert (defaulted["to_payer"], defaulted["to_seller"]) == (str(PRICE), "0")
    assert (defaulted["held"], defaulted["decision"]) == ("0", None)
    assert (await market.balance(buyer))["available"] == str(PRICE)
    listed = await market.shop.get(f"/v1/operations?resource_id={purchase['id']}")
    kinds = [row["kind"] for row in listed.json()["data"]]
    assert kinds.count("purchase.expire_dispute") == 1
    again = await market.shop.post(f"/v1/purchases/{purchase['id']}/disputes/expire")
    assert (again.status_code, again.json()["code"]) == (409, "invalid_state")
    await market.reconcile()


async def test_whoever_is_first_may_end_what_was_not_decided(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asleep(_self: Deadlines, _chain_time: int) -> int:
        return 0

    monkeypatch.setattr(Deadlines, "round", asleep)
    buyer, seller = await market.member(topup=PRICE), await market.member("seller")
    purchase = await market.in_window(buyer, seller)
    await market.act(purchase, "disputes", {"text": "Never arrived."})
    await market.travel(30 * DAY)
    late = {"to_payer": "1", "text": "A day too late"}
    await asyncio.sleep(0.5)  # the worker notes the chain's time
    refused = await market.shop.post(f"/v1/purchases/{purchase['id']}/disputes/resolve", late)
    assert (refused.status_code, refused.json()["code"]) == (409, "arbitration_over")
    ended = await market.act(purchase, "disputes/expire")
    assert (ended["status"], ended["to_payer"]) == ("defaulted", str(PRICE))


async def test_what_did_not_come_by_the_bridge_is_shown_with_its_hash(market: Market) -> None:
    buyer = await market.member(address=ALICE.address, topup=PRICE)
    seller = await market.member("seller", address=BOB.address)
    purchase = await market.in_window(buyer, seller)
    escrow, send = market.platform.escrow, market.platform.send
    invoice = (await market.shop.get(f"/v1/pay/{purchase['id']}")).json()
    terms = {**invoice["terms"], "maxAmount": int(invoice["terms"]["maxAmount"])}

    await send(ALICE, invoice["escrow"], escrow.encode("dispute", terms, word("broken")))
    opened = await until(market, purchase, "open")
    (complaint,) = opened["evidence"]
    assert (complaint["hash"], complaint["by"]) == (word("broken"), "payer")
    assert [complaint[name] for name in ("id", "text", "reference", "canonical")] == [None] * 4

    by_bridge = await market.signed(
        purchase, "disputes/evidence", {"by": "payer", "text": "Look at the photo"}
    )
    mine = by_bridge["evidence"][1]
    # The seller repeats the buyer's hash as its own, and says the same thing twice.
    for hash_ in (mine["hash"], word("a receipt"), word("a receipt")):
        data = escrow.encode("submitEvidence", terms, hash_)
        await send(BOB, invoice["escrow"], data)
    dispute = await shown(market, purchase)
    while len(dispute["evidence"]) < 4:
        await asyncio.sleep(0.02)
        dispute = await shown(market, purchase)
    assert [(e["by"], e["hash"], e["text"]) for e in dispute["evidence"]] == [
        ("payer", word("broken"), None),
        ("payer", mine["hash"], "Look at the photo"),
        ("payee", mine["hash"], None),
        ("payee", word("a receipt"), None),
    ]
    arbiter = market.platform.seed.platform("arbiter")
    decide = escrow.encode("resolve", terms, COIN, 250, word("the ruling"))
    await send(arbiter, invoice["escrow"], decide, gas=1_500_000)
    decided = (await until(market, purchase, "decided"))["decision"]
    assert (decided["to_payer"], decided["to_seller"]) == (str(COIN), str(PRICE - COIN))
    assert (decided["hash"], decided["text"]) == (word("the ruling"), None)
    await market.reconcile()


async def test_a_dispute_that_the_chain_refuses_has_failed_and_may_be_tried_again(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the bridge's check and the block the window may close."""
    buyer, seller = await market.member(topup=PRICE), await market.member("seller")
    purchase = await market.in_window(buyer, seller)

    async def now() -> int:
        return await market.platform.engine.now() - 8 * DAY

    await market.travel(8 * DAY)
    clock = market.shop.app.state.context.clock
    monkeypatch.setattr(clock, "now", now)
    failed = await market.act(purchase, "disputes", {"text": "Broken"})
    assert (failed["status"], failed["evidence"][0]["status"]) == ("failed", "failed")
    assert failed["evidence"][0]["error"].startswith("DisputeWindowClosed")
    assert "purchase.dispute_failed" in await event_types(market, purchase)
    again = await market.act(purchase, "disputes", {"text": "Broken"})
    assert [e["status"] for e in again["evidence"]] == ["failed"]
    assert again["evidence"][0]["id"] == failed["evidence"][0]["id"]
    monkeypatch.undo()
    released = await market.act(purchase, "release")
    assert released["status"] == "released"
