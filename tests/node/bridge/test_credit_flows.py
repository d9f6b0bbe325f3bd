"""Credit lines over HTTP, with the real worker on a real chain."""

from __future__ import annotations

from typing import Any

import pytest

from tests.node.bridge.credit_desk import HOLDBACK_BPS, CreditDesk, open_credit_desk
from tests.node.bridge.market import ALICE, FEE, PRICE, Market, sign_typed_data
from tests.node.bridge.support import COIN, DAY

NET = PRICE - FEE
HOLDBACK = NET * HOLDBACK_BPS // 10_000
YEAR = 365 * DAY


@pytest.fixture
async def desk(market: Market) -> CreditDesk:
    return await open_credit_desk(market)


async def test_a_line_from_offer_to_payoff(desk: CreditDesk) -> None:
    market, shop = desk.market, desk.shop
    buyer, seller = await market.member(topup=20 * COIN), await market.member("seller")

    line = await desk.open_line(seller)
    assert (line["status"], line["available"], line["payoff"]) == ("active", str(20 * COIN), "0")
    drawn = await desk.draw(line, 9 * COIN)
    assert (drawn["credit_line"], drawn["fee"]) == (line["id"], "0")
    assert (await market.balance(seller))["available"] == str(9 * COIN)
    line = await desk.line(line["id"])
    assert (line["principal"], line["due_in_window"]) == (str(9 * COIN), str(COIN))

    sold = await market.delivered(buyer, seller)
    released = await market.act(sold, "release")
    assert (released["status"], released["repayment"]) == ("released", str(HOLDBACK))
    assert (await market.balance(seller))["available"] == str(9 * COIN + NET - HOLDBACK)
    entries = (await shop.get(f"/v1/accounts/{seller['id']}/entries")).json()["data"]
    assert [(entry["kind"], entry["amount"]) for entry in entries] == [
        ("release", str(NET - HOLDBACK)),
        ("draw", str(9 * COIN)),
    ]
    line = await desk.line(line["id"])
    assert line["repaid_by_sales"] == str(HOLDBACK)
    assert int(line["principal_repaid"]) + int(line["interest_paid"]) == HOLDBACK
    of_a_week = -(-9 * COIN * 1_000 * 7 * DAY // (10_000 * YEAR))
    assert of_a_week <= int(line["interest_paid"]) < HOLDBACK

    paid = await desk.repay(line)
    assert int(paid["paid"]) == int(paid["interest_paid"]) + int(paid["principal_paid"])
    line = await desk.line(line["id"])
    assert (line["principal"], line["interest"], line["payoff"]) == ("0", "0", "0")
    assert line["window_end"] is None
    total = int(line["principal_repaid"]) + int(line["interest_paid"])
    assert (await market.balance(seller))["available"] == str(9 * COIN + NET - total)
    again = await shop.post(f"/v1/credit_lines/{line['id']}/repayments", {"reference": "more"})
    assert (again.status_code, again.json()["code"]) == (409, "nothing_owed")

    pool = (await shop.get("/v1/pool")).json()
    assert pool["total_assets"] == str(100 * COIN + int(line["interest_paid"]))
    assert (pool["principal"], pool["reserve"]) == ("0", str(10 * COIN))
    withdrawal = {"account": desk.lender["id"], "reference": "out"}
    taken = await shop.ok("/v1/pool/withdrawals", withdrawal, wait=30)
    assert taken["status"] == "succeeded"
    # Rounded in favor of the pool, by a unit at most.
    assert 0 <= 100 * COIN + int(line["interest_paid"]) - int(taken["amount"]) <= 1
    report = await market.reconcile()
    assert report["checked"]["lines"] == 1
    assert report["credit"]["repaid_by_sales"] == str(HOLDBACK)


async def test_the_last_holdback_takes_no_more_than_is_owed(desk: CreditDesk) -> None:
    buyer, seller = await desk.market.member(topup=20 * COIN), await desk.market.member("seller")
    line = await desk.open_line(seller, apr_bps=0, draw_fee_bps=100)
    drawn = await desk.draw(line, COIN)
    assert drawn["fee"] == str(COIN // 100)
    assert HOLDBACK > COIN + COIN // 100

    sold = await desk.market.delivered(buyer, seller)
    released = await desk.market.act(sold, "release")

    assert released["repayment"] == str(COIN + COIN // 100)
    assert (await desk.line(line["id"]))["payoff"] == "0"
    await desk.market.reconcile()


async def test_a_line_goes_through_time_as_the_chain_says(desk: CreditDesk) -> None:
    """Window by window: grace, delinquency, cure, default, payment in full."""
    seller = await desk.market.member("seller", topup=5 * COIN)
    line = await desk.open_line(seller)
    await desk.draw(line, 9 * COIN)

    async def look(days: int) -> dict[str, Any]:
        await desk.market.travel(days * DAY)
        await desk.market.shop.ok(  # a block of the new time
            "/v1/topups",
            {"account": seller["id"], "amount": "1", "reference": f"{days} days"},
            wait=30,
        )
        await desk.market.reconcile()
        return await desk.line(line["id"])

    first = await look(59)
    assert (first["status"], first["past_due"], first["past_due_since"]) == ("active", "0", None)
    grace = await look(3)
    assert (grace["status"], grace["past_due"]) == ("active", str(COIN))
    assert (grace["available"], grace["holdback_bps"]) == ("0", HOLDBACK_BPS)
    refused = await desk.shop.post(
        f"/v1/credit_lines/{line['id']}/draws", {"amount": "1", "reference": "late"}
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "line_not_in_good_standing")
    late = await look(7)
    assert (late["status"], late["holdback_bps"]) == ("delinquent", HOLDBACK_BPS + 1_000)
    await desk.repay(line, amount=str(COIN))
    cured = await desk.line(line["id"])
    assert (cured["status"], cured["past_due"]) == ("active", "0")

    defaulted = await look(170)
    assert (defaulted["status"], defaulted["past_due"]) == ("defaulted", defaulted["payoff"])
    await desk.market.shop.ok(
        "/v1/topups",
        {"account": seller["id"], "amount": str(10 * COIN), "reference": "help"},
        wait=30,
    )
    await desk.repay(line, "all")
    closed = await desk.line(line["id"])
    assert (closed["status"], closed["payoff"]) == ("closed", "0")
    await desk.market.reconcile()


async def test_members_with_keys_of_their_own_sign_for_themselves(desk: CreditDesk) -> None:
    market, shop = desk.market, desk.shop
    alice = await market.member("seller", address=ALICE.address, topup=10 * COIN)

    async def signed(path: str, body: Any, where: str = "signed") -> dict[str, Any]:
        refused = await shop.post(path, body)
        assert (refused.status_code, refused.json()["code"]) == (422, "signature_required")
        assert refused.json()["param"] == where
        given = sign_typed_data(refused.json()["typed_data"], ALICE)
        return await shop.ok(path, {**body, where: given}, wait=30)

    offer = await desk.offer(alice)
    accepted = await signed(f"/v1/credit_lines/offers/{offer['id']}/accept", {})
    assert accepted["status"] == "accepted"
    line = f"/v1/credit_lines/{offer['credit_line']}"
    drawn = await signed(f"{line}/draws", {"amount": "5000000", "reference": "d1"})
    assert drawn["status"] == "succeeded"
    repaid = await signed(
        f"{line}/repayments", {"amount": "7000000", "reference": "r1"}, "authorization"
    )
    assert (repaid["status"], repaid["amount"]) == ("succeeded", "7000000")
    assert 5_000_000 <= int(repaid["paid"]) < 5_000_100
    unnamed = await shop.post(f"{line}/repayments", {"reference": "r2"})
    assert unnamed.json()["code"] == "nothing_owed"

    deposited = await signed(
        "/v1/pool/deposits",
        {"account": alice["id"], "amount": "2000000", "reference": "p1"},
        "authorization",
    )
    assert deposited["status"] == "succeeded"
    withdrawn = await signed(
        "/v1/pool/withdrawals",
        {"account": alice["id"], "shares": deposited["shares"], "reference": "w1"},
    )
    assert withdrawn["status"] == "succeeded"
    await market.reconcile()


async def test_a_reference_counts_once_and_a_lost_answer_costs_nothing(desk: CreditDesk) -> None:
    seller = await desk.market.member("seller")
    line = await desk.open_line(seller)
    path, body = f"/v1/credit_lines/{line['id']}/draws", {"amount": "1000000", "reference": "d"}
    first = await desk.shop.ok(path, body, key="draw-1", wait=30)
    again = await desk.shop.post(path, body, key="draw-1")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["id"] == first["id"]
    other = await desk.shop.post(path, body, key="draw-2")
    assert (other.status_code, other.json()["resource_id"]) == (409, first["id"])
    assert (await desk.line(line["id"]))["drawn"] == "1000000"


async def test_a_draw_that_the_chain_refuses_frees_its_reference(desk: CreditDesk) -> None:
    seller = await desk.market.member("seller")
    line = await desk.open_line(seller)
    frozen = f"/v1/accounts/{seller['id']}/freeze"
    path, body = f"/v1/credit_lines/{line['id']}/draws", {"amount": "1000000", "reference": "d"}
    # Not seen by the database yet, so the draw is queued behind it.
    assert (await desk.shop.post(frozen, {"reason": "case"})).status_code == 202
    failed = await desk.shop.ok(path, body, wait=30)
    assert (failed["status"], "AccountIsFrozen" in failed["error"]) == ("failed", True)
    await desk.shop.ok(f"/v1/accounts/{seller['id']}/unfreeze", wait=30)
    assert (await desk.shop.ok(path, body, wait=30))["status"] == "succeeded"
    await desk.market.reconcile()


async def test_what_a_decision_or_a_buyer_that_gives_in_pays_the_seller_repays_its_line(
    desk: CreditDesk,
) -> None:
    market = desk.market
    buyer = await market.member(address=ALICE.address, topup=2 * PRICE)
    seller = await market.member("seller")
    line = await desk.open_line(seller)
    await desk.draw(line, 9 * COIN)
    decided, given_in = [await market.in_window(buyer, seller) for _ in range(2)]
    for purchase in (decided, given_in):
        await market.signed(purchase, "disputes", {"text": "Broken"})
    body = {"to_payer": str(PRICE - 4 * COIN), "text": "Shared"}
    resolved = await market.act(decided, "disputes/resolve", body)
    assert (resolved["status"], resolved["to_seller"]) == ("decided", str(4 * COIN))
    shown = (await market.shop.get(f"/v1/purchases/{decided['id']}")).json()
    repaid = (4 * COIN - 100_000) * HOLDBACK_BPS // 10_000
    assert (shown["released"], shown["fee"], shown["repayment"]) == (
        str(4 * COIN),
        "100000",
        str(repaid),
    )
    released = await market.signed(given_in, "release", {"by": "payer"})
    assert (released["status"], released["repayment"]) == ("released", str(HOLDBACK))
    assert (await desk.line(line["id"]))["repaid_by_sales"] == str(repaid + HOLDBACK)
    await market.reconcile()
