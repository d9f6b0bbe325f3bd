"""What the desk and the seller decide about an offer and a credit line, on the real chain."""

from __future__ import annotations

from typing import Any

import pytest

from tests.node.bridge.credit_desk import CreditDesk, open_credit_desk
from tests.node.bridge.market import ALICE, Market, sign_typed_data
from tests.node.bridge.support import COIN, Client


@pytest.fixture
async def desk(market: Market) -> CreditDesk:
    return await open_credit_desk(market)


async def refused(desk: CreditDesk, path: str, body: Any, status: int, code: str) -> dict[str, Any]:
    answer = await desk.shop.post(path, body)
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    return problem


async def told(desk: CreditDesk, resource_id: str) -> list[str]:
    events = (await desk.shop.get("/v1/events?after=0&limit=1000")).json()["data"]
    return [event["type"] for event in events if event["resource_id"] == resource_id]


async def test_a_declined_offer_is_final_here_and_on_chain(desk: CreditDesk) -> None:
    market = desk.market
    seller = await market.member("seller", address=ALICE.address)
    offer = await desk.offer(seller)
    path = f"/v1/credit_lines/offers/{offer['id']}"
    declined = await desk.shop.ok(f"{path}/decline", {"reason": "too dear"}, wait=30)
    assert (declined["status"], declined["error"]) == ("declined", None)
    assert declined["declined_at"] is not None
    assert await told(desk, offer["id"]) == [
        "credit_offer.created",
        "credit_offer.declined",
        "credit_offer.revoked",
    ]
    for action in ("accept", "decline", "revoke"):
        again = await refused(desk, f"{path}/{action}", None, 409, "invalid_state")
        assert again["actual"] == "declined"
    rpc, book = market.platform.engine.rpc, market.platform.manifest.contracts["CreditBook"].address
    data = desk.shop.app.state.context.book.encode("offerUsed", offer["offer_hash"])
    assert int(await rpc.call("eth_call", {"to": book, "data": data}, "latest"), 16) == 1
    replaced = await desk.open_line(await market.member("seller"))
    assert replaced["status"] == "active"


async def test_the_desk_takes_an_offer_back(desk: CreditDesk) -> None:
    seller = await desk.market.member("seller")
    offer = await desk.offer(seller)
    path = f"/v1/credit_lines/offers/{offer['id']}"
    assert (await desk.shop.post(f"{path}/revoke")).status_code == 202
    late = await desk.shop.post(f"{path}/accept")
    assert late.status_code == 409
    assert late.json()["code"] in ("operation_pending", "invalid_state")
    await desk.tick()
    shown = (await desk.shop.get(path)).json()
    assert (shown["status"], shown["declined_at"]) == ("revoked", None)
    assert await told(desk, offer["id"]) == ["credit_offer.created", "credit_offer.revoked"]
    accepted = await desk.open_line(seller)
    newest = (await desk.shop.get("/v1/credit_lines/offers")).json()["data"][0]
    late = await desk.shop.post(f"/v1/credit_lines/offers/{newest['id']}/decline")
    assert (late.status_code, late.json()["actual"]) == (409, "accepted")
    assert accepted["status"] == "active"


async def test_a_suspended_line_is_not_drawn_on_until_it_is_resumed(desk: CreditDesk) -> None:
    seller = await desk.market.member("seller")
    line = await desk.open_line(seller)
    path = f"/v1/credit_lines/{line['id']}"
    draw = {"amount": "1000000", "reference": "d"}
    problem = await refused(desk, f"{path}/resume", {"reason": "x"}, 409, "invalid_state")
    assert problem["actual"] == "not suspended"
    done = await desk.act(line, "suspend", reason="sales have stopped")
    assert (done["kind"], done["status"]) == ("suspend", "succeeded")
    shown = await desk.line(line["id"])
    assert (shown["suspended"]["reason"], shown["available"]) == ("sales have stopped", "0")
    await refused(desk, f"{path}/draws", draw, 409, "line_suspended")
    await refused(desk, f"{path}/suspend", {"reason": "again"}, 409, "invalid_state")
    await desk.act(line, "resume", reason="sales are back")
    assert (await desk.line(line["id"]))["suspended"] is None
    await desk.draw(line, COIN)
    actions = (await desk.get(line, "actions"))["data"]
    assert [(one["kind"], one["reason"]) for one in actions] == [
        ("resume", "sales are back"),
        ("suspend", "sales have stopped"),
    ]
    events = await told(desk, line["id"])
    assert [
        event for event in events if (event.endswith("ed") and "sus" in event) or "res" in event
    ]
    assert {"credit_line.suspended", "credit_line.resumed"} <= set(events)


async def test_a_limit_goes_down_and_a_paid_line_is_closed(desk: CreditDesk) -> None:
    seller = await desk.market.member("seller", topup=COIN)
    line = await desk.open_line(seller)
    path = f"/v1/credit_lines/{line['id']}"
    await desk.draw(line, 2 * COIN)
    same = {"limit": str(20 * COIN), "reason": "x"}
    problem = await refused(desk, f"{path}/limit", same, 422, "amount_too_large")
    assert problem["limit"] == str(20 * COIN)
    done = await desk.act(line, "limit", limit=str(3 * COIN), reason="sales halved")
    assert (done["status"], done["amount"]) == ("succeeded", str(3 * COIN))
    shown = await desk.line(line["id"])
    assert (shown["limit"], shown["available"]) == (str(3 * COIN), str(COIN))
    problem = await refused(desk, f"{path}/close", {"reason": "enough"}, 409, "something_owed")
    assert int(problem["payoff"]) >= 2 * COIN
    await desk.repay(line)
    done = await desk.act(line, "close", reason="enough")
    assert (done["status"], done["kind"]) == ("succeeded", "close")
    shown = await desk.line(line["id"])
    assert (shown["status"], shown["limit"], shown["available"]) == ("closed", "0", "0")
    await refused(desk, f"{path}/close", {"reason": "again"}, 409, "invalid_state")
    draw = {"amount": "1", "reference": "late"}
    await refused(desk, f"{path}/draws", draw, 422, "amount_too_large")
    assert (await desk.open_line(seller))["status"] == "active"
    await desk.market.reconcile()


async def test_an_external_seller_signs_its_holdback(desk: CreditDesk) -> None:
    alice = await desk.market.member("seller", address=ALICE.address)
    offer = await desk.offer(alice)
    accept = f"/v1/credit_lines/offers/{offer['id']}/accept"
    to_sign = await refused(desk, accept, {}, 422, "signature_required")
    signed = sign_typed_data(to_sign["typed_data"], ALICE)
    await desk.shop.ok(accept, {"signed": signed}, wait=30)
    path = f"/v1/credit_lines/{offer['credit_line']}"
    less = await refused(desk, f"{path}/holdback", {"holdback_bps": 1999}, 422, "invalid_request")
    assert less["least"] == 2_000
    more = {"holdback_bps": 2_400}
    problem = await refused(desk, f"{path}/holdback", more, 422, "signature_required")
    signed = sign_typed_data(problem["typed_data"], ALICE)
    other = {"holdback_bps": 2_500, "signed": signed}
    await refused(desk, f"{path}/holdback", other, 422, "signature_invalid")
    done = await desk.shop.ok(f"{path}/holdback", {**more, "signed": signed}, wait=30)
    assert (done["status"], done["amount"]) == ("succeeded", "2400")
    assert (await desk.line(offer["credit_line"]))["holdback_bps"] == 2_400
    await refused(desk, f"{path}/holdback", {**more, "signed": signed}, 422, "signature_invalid")


async def test_a_holiday_moves_the_due_date_and_a_waiver_takes_interest_off(
    desk: CreditDesk,
) -> None:
    seller = await desk.market.member("seller")
    line = await desk.open_line(seller, draw_fee_bps=100)
    path = f"/v1/credit_lines/{line['id']}"
    holiday = {"days": 30, "reason": "flood"}
    await refused(desk, f"{path}/holiday", holiday, 409, "nothing_owed")
    await refused(desk, f"{path}/waive", {"reason": "x"}, 409, "nothing_owed")
    await desk.draw(line, 9 * COIN)
    before = (await desk.get(line, "plan"))["windows"][0]["due"]
    done = await desk.act(line, "holiday", **holiday)
    assert (done["status"], done["amount"]) == ("succeeded", "30")
    after = (await desk.get(line, "plan"))["windows"][0]["due"]
    assert after > before
    late = await desk.look(line, 80)
    assert (late["past_due"], late["status"]) == ("0", "active")
    too_much = {"amount": str(9 * COIN), "reason": "x"}
    await refused(desk, f"{path}/waive", too_much, 422, "amount_too_large")
    done = await desk.act(line, "waive", reason="our mistake")
    assert done["status"] == "succeeded"
    assert int(done["amount"]) > 90_000
    shown = await desk.line(line["id"])
    assert (shown["interest"] in ("0", "1"), shown["waived"]) == (True, done["amount"])
    await desk.market.reconcile()


async def test_staff_and_sellers_need_scopes_of_their_own(desk: CreditDesk) -> None:
    line = await desk.open_line(await desk.market.member("seller"))
    path = f"/v1/credit_lines/{line['id']}"
    keys = {
        scope: Client(
            desk.shop.app,
            (await desk.shop.ok("/v1/api_keys", {"name": scope, "scopes": [scope]}))["secret"],
        )
        for scope in ("credit", "desk", "read")
    }
    for action, body, scope in (
        ("suspend", {"reason": "x"}, "desk"),
        ("resume", {"reason": "x"}, "desk"),
        ("limit", {"limit": "0", "reason": "x"}, "desk"),
        ("holiday", {"days": 1, "reason": "x"}, "desk"),
        ("waive", {"reason": "x"}, "desk"),
        ("charge_off", {"reason": "x"}, "desk"),
        ("close", {"reason": "x"}, "credit"),
        ("holdback", {"holdback_bps": 2000}, "credit"),
    ):
        for other in keys.keys() - {scope}:
            answer = await keys[other].post(f"{path}/{action}", body)
            assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
            assert repr(scope) in answer.json()["detail"]
    assert (await keys["read"].get(f"{path}/plan")).status_code == 200
    assert (await keys["desk"].get(f"{path}/plan")).status_code == 403
