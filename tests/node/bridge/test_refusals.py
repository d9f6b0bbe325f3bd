"""Bad input is refused in words, changes nothing, and is never a 500."""

from __future__ import annotations

from typing import Any

import pytest

from node.store.models import Account
from tests.node.bridge.support import CHAIN_NOW, COIN, DAY, Client, Desk

BAD_AMOUNTS: list[Any] = [
    "0", "-1", "+1", "1.0", "1e6", "0x10", "", " 1", "1 ", "01", "1_000", "١٢", "NaN",
    str(2**96), "9" * 400, 1, 1.5, True, None, ["1"], {},
]  # fmt: skip


@pytest.mark.parametrize("amount", BAD_AMOUNTS)
async def test_an_amount_is_a_string_of_positive_atomic_units(
    desk: Desk, shop: Client, amount: Any
) -> None:
    account = await desk.account()
    before = desk.counts()
    body = {"account": account["id"], "amount": amount, "reference": "bank 1"}
    answer = await shop.post("/v1/topups", body)
    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["param"]) == ("invalid_request", "amount")
    assert desk.counts() == before


async def test_the_largest_amount_is_taken(desk: Desk, shop: Client) -> None:
    account = await desk.account()
    body = {"account": account["id"], "amount": str(2**96 - 1), "reference": "bank 1"}
    assert (await shop.ok("/v1/topups", body))["amount"] == str(2**96 - 1)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/accounts", {"kinds": ["buyer"], "color": "red"}, "color"),
        ("/v1/accounts", {"kinds": []}, "kinds"),
        ("/v1/accounts", {"kinds": ["operator"]}, "kinds.0"),
        ("/v1/accounts", {"kinds": ["system"]}, "kinds.0"),
        ("/v1/accounts", {"kinds": "buyer"}, "kinds"),
        ("/v1/accounts", {}, "kinds"),
        ("/v1/accounts", [], "body"),
        ("/v1/accounts", "buyer", "body"),
        ("/v1/accounts", {"kinds": ["buyer"], "reference": ""}, "reference"),
        ("/v1/accounts", {"kinds": ["buyer"], "reference": "x" * 121}, "reference"),
        ("/v1/accounts", {"kinds": ["buyer"], "reference": "a\nb"}, "reference"),
        ("/v1/accounts", {"kinds": ["buyer"], "reference": "a\x00b"}, "reference"),
        ("/v1/topups", {"account": "a\x00b", "amount": "1", "reference": "r"}, "body"),
        ("/v1/accounts", {"kinds": ["buyer"], "address": "0x1234"}, "address"),
        ("/v1/accounts", {"kinds": ["buyer"], "address": "0x" + "0" * 40}, "address"),
        (
            "/v1/accounts",  # capitals that do not fit the checksum
            {"kinds": ["buyer"], "address": "0x52908400098527886e0F7030069857D2E4169EE7"},
            "address",
        ),
        ("/v1/accounts", {"kinds": ["buyer"], "member_until": 1900000000}, "member_until"),
        ("/v1/accounts", {"kinds": ["buyer"], "member_until": "2030-01-01"}, "member_until"),
        (
            "/v1/accounts",
            {"kinds": ["buyer"], "member_until": "2030-13-01T00:00:00Z"},
            "member_until",
        ),
        (
            "/v1/accounts",  # before the chain's time
            {"kinds": ["buyer"], "member_until": "2020-01-01T00:00:00Z"},
            "member_until",
        ),
        ("/v1/purchases", {"order_id": "A", "payer": "a", "payee": "b"}, "amount"),
        (
            "/v1/purchases",
            {"order_id": "A", "payer": "a", "payee": "b", "amount": "1", "fee_bps": 10_001},
            "fee_bps",
        ),
        (
            "/v1/purchases",
            {"order_id": "A", "payer": "a", "payee": "b", "amount": "1", "fee_bps": "5"},
            "fee_bps",
        ),
        (
            "/v1/purchases",
            {"order_id": "A", "payer": "a", "payee": "b", "amount": "1", "fee_bps": True},
            "fee_bps",
        ),
        (
            "/v1/purchases",
            {"order_id": "A", "payer": "a", "payee": "b", "amount": "1", "reclaim_after": -1},
            "reclaim_after",
        ),
        (
            "/v1/purchases",
            {"order_id": "A", "payer": "a", "payee": "b", "amount": "1", "dispute_window": 2**32},
            "dispute_window",
        ),
        (
            "/v1/purchases",
            {"order_id": "A", "payer": "acc_1", "payee": "acc_1", "amount": "1"},
            "payee",
        ),
        ("/v1/transfers", {"from": "a", "to": "b", "amount": "1"}, "to"),
        ("/v1/transfers", {"from": "a", "to": "0x" + "0" * 40, "amount": "1"}, "to"),
        ("/v1/api_keys", {"name": "x", "scopes": ["admin"]}, "scopes.0"),
        ("/v1/api_keys", {"name": "x", "scopes": []}, "scopes"),
    ],
)
async def test_a_body_that_is_not_valid_names_the_field(
    desk: Desk, shop: Client, path: str, body: Any, param: str
) -> None:
    before = desk.counts()
    answer = await shop.post(path, body)
    assert answer.status_code == 422, answer.text
    assert (answer.json()["code"], answer.json()["param"]) == ("invalid_request", param)
    assert desk.counts() == before


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"{'kinds': []}", 400, "malformed_json"),
        (b"\xff\xfe\x00", 400, "bad_request"),
        (b"[" * 30_000, 400, "malformed_json"),
        (b'{"kinds": ["buyer"], "reference": "\\ud800"}', 422, "invalid_request"),
        (b'{"kinds": ["buyer"], "member_until": ' + b"9" * 5000 + b"}", 400, "bad_request"),
        (b" " * 65_537, 413, "body_too_large"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    shop: Client, content: bytes, status: int, code: str
) -> None:
    answer = await shop.post(
        "/v1/accounts", content=content, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_a_body_without_a_declared_length_is_limited_too(shop: Client) -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b" " * 1024

    answer = await shop.post(
        "/v1/accounts", content=endless(), headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_only_json_is_taken(shop: Client) -> None:
    answer = await shop.post(
        "/v1/accounts", content=b"kinds=buyer", headers={"Content-Type": "text/plain"}
    )
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_an_unknown_path_and_a_wrong_method_are_problems(shop: Client) -> None:
    missing = await shop.get("/v1/nothing")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    wrong = await shop.request("DELETE", "/v1/topups")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "sort=asc", "status=nice"])
async def test_a_query_that_is_not_valid_is_refused(shop: Client, query: str) -> None:
    answer = await shop.get(f"/v1/topups?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["param"] == query.partition("=")[0]


async def test_a_cursor_of_another_list_is_refused(desk: Desk, shop: Client) -> None:
    account = await desk.account()
    answer = await shop.get(f"/v1/accounts/{account['id']}/entries?cursor=acc_1")
    assert (answer.status_code, answer.json()["param"]) == (422, "cursor")


async def test_a_request_id_is_echoed_or_made(shop: Client) -> None:
    given = await shop.get("/health/live", headers={"X-Request-Id": "my-id.1"})
    assert given.headers["x-request-id"] == "my-id.1"
    made = await shop.get("/health/live", headers={"X-Request-Id": "no spaces, please"})
    assert made.headers["x-request-id"].startswith("req_")


async def test_the_same_fiat_reference_is_refused_with_what_has_it(
    desk: Desk, shop: Client
) -> None:
    account = await desk.account(balance=COIN)
    body = {"account": account["id"], "amount": "5", "reference": "bank 1"}
    for path in ("/v1/topups", "/v1/redemptions"):
        first = await shop.ok(path, body)
        before = desk.counts()
        again = await shop.post(path, body)
        assert (again.status_code, again.json()["code"]) == (409, "reference_taken")
        assert again.json()["resource_id"] == first["id"]
        assert desk.counts() == before


async def test_the_same_order_is_refused_with_its_purchase(desk: Desk, shop: Client) -> None:
    first = await desk.purchase(order_id="A-1")
    before = desk.counts()
    body = {"order_id": "A-1", "payer": first["payer"], "payee": first["payee"], "amount": "7"}
    again = await shop.post("/v1/purchases", body)
    assert (again.status_code, again.json()["code"]) == (409, "order_id_taken")
    assert again.json()["purchase_id"] == first["id"]
    assert desk.counts() == before


async def test_a_taken_account_reference_and_address_are_refused(desk: Desk, shop: Client) -> None:
    address = "0x52908400098527886E0F7030069857D2E4169EE7"
    first = await shop.ok(
        "/v1/accounts", {"kinds": ["buyer"], "reference": "c-1", "address": address}
    )
    same_reference = await shop.post("/v1/accounts", {"kinds": ["buyer"], "reference": "c-1"})
    assert same_reference.json()["code"] == "reference_taken"
    same_address = await shop.post("/v1/accounts", {"kinds": ["seller"], "address": address})
    assert same_address.json()["code"] == "address_taken"
    for refused in (same_reference, same_address):
        assert refused.status_code == 409
        assert refused.json()["resource_id"] == first["id"]


async def test_the_platforms_addresses_are_nobodys_account(desk: Desk, shop: Client) -> None:
    managed = await shop.ok("/v1/accounts", {"kinds": ["buyer"]})
    reserved = [
        desk.manifest.accounts["treasury"],
        desk.manifest.contracts["PurchaseEscrow"].address,
    ]
    for address in reserved:
        answer = await shop.post("/v1/accounts", {"kinds": ["buyer"], "address": address})
        assert (answer.status_code, answer.json()["code"]) == (422, "address_reserved")
    other = desk.client_of("Other shop")
    answer = await other.post("/v1/accounts", {"kinds": ["buyer"], "address": managed["address"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "address_reserved")


async def test_what_is_not_there_cannot_be_spent(desk: Desk, shop: Client) -> None:
    poor, other = await desk.account(balance=COIN), await desk.account()
    over = str(COIN + 1)
    bodies: dict[str, dict[str, Any]] = {
        "/v1/redemptions": {"account": poor["id"], "amount": over, "reference": "r"},
        "/v1/transfers": {"from": poor["id"], "to": other["id"], "amount": over},
        "/v1/purchases": {
            "order_id": "A-1", "payer": poor["id"], "payee": other["id"], "amount": over,
        },
    }  # fmt: skip
    before = desk.counts()
    for path, body in bodies.items():
        answer = await shop.post(path, body)
        assert (answer.status_code, answer.json()["code"]) == (422, "insufficient_funds")
        assert (answer.json()["available"], answer.json()["needed"]) == (str(COIN), over)
    assert desk.counts() == before


async def test_coin_on_its_way_out_cannot_be_spent_again(desk: Desk, shop: Client) -> None:
    account, other = await desk.account(balance=COIN), await desk.account()
    body = {"from": account["id"], "to": other["id"], "amount": str(COIN)}
    await shop.ok("/v1/transfers", body)
    again = await shop.post("/v1/transfers", body)
    assert (again.json()["code"], again.json()["available"]) == ("insufficient_funds", "0")
    desk.settle("failed")
    assert (await shop.post("/v1/transfers", body)).status_code == 202


async def test_an_account_that_is_not_active_moves_nothing(desk: Desk, shop: Client) -> None:
    account, other = await desk.account(balance=COIN), await desk.account()
    for status in ("pending", "frozen", "expired", "failed"):
        desk.set(Account, account["id"], status=status)
        for path, body in (
            ("/v1/topups", {"account": account["id"], "amount": "1", "reference": "r"}),
            ("/v1/redemptions", {"account": account["id"], "amount": "1", "reference": "r"}),
            ("/v1/transfers", {"from": account["id"], "to": other["id"], "amount": "1"}),
            (
                "/v1/purchases",
                {
                    "order_id": "A",
                    "payer": other["id"],
                    "payee": account["id"],
                    "amount": "1",
                },
            ),
        ):
            answer = await shop.post(path, body)
            assert (answer.status_code, answer.json()["code"]) == (409, "account_not_active")
            assert answer.json()["actual"] == status
            assert answer.json()["retryable"] is (status == "pending")


async def test_coin_is_not_sent_to_a_contract_of_the_platform(desk: Desk, shop: Client) -> None:
    account = await desk.account(balance=COIN)
    escrow = desk.manifest.contracts["PurchaseEscrow"].address
    answer = await shop.post("/v1/transfers", {"from": account["id"], "to": escrow, "amount": "1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "address_reserved")


@pytest.mark.parametrize("action", ["ship", "deliver", "release", "void", "refund"])
async def test_a_purchase_that_is_not_paid_can_do_nothing(
    desk: Desk, shop: Client, action: str
) -> None:
    purchase = await desk.purchase()
    before = desk.counts()
    body = {"reference": "r"} if action == "refund" else None
    answer = await shop.post(f"/v1/purchases/{purchase['id']}/{action}", body)
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_state")
    assert (answer.json()["actual"], answer.json()["held"]) == ("created", "0")
    assert desk.counts() == before


async def test_actions_need_their_state(desk: Desk, shop: Client) -> None:
    async def code(purchase: dict[str, Any], action: str) -> str:
        body = {"reference": "r"} if action == "refund" else None
        answer = await shop.post(f"/v1/purchases/{purchase['id']}/{action}", body)
        return str(answer.json().get("code", answer.status_code))

    authorized = await desk.purchase()
    desk.hold(authorized)
    assert [await code(authorized, a) for a in ("release", "refund")] == ["invalid_state"] * 2
    delivered = await desk.purchase()
    desk.hold(delivered, dispute_deadline=CHAIN_NOW - 1)
    assert [await code(delivered, a) for a in ("ship", "deliver", "refund")] == [
        "invalid_state"
    ] * 3
    released = await desk.purchase()
    desk.hold(released, held=0, released=10 * COIN, dispute_deadline=CHAIN_NOW - 1)
    assert [await code(released, a) for a in ("deliver", "release", "void")] == [
        "invalid_state"
    ] * 3


async def test_a_release_waits_for_the_dispute_window(desk: Desk, shop: Client) -> None:
    """The chain is silent here, so the refusal cannot be given without asking it."""
    purchase = await desk.purchase()
    desk.hold(purchase, dispute_deadline=CHAIN_NOW + DAY)
    answer = await shop.post(f"/v1/purchases/{purchase['id']}/release")
    assert (answer.status_code, answer.json()["code"]) == (503, "chain_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert desk.operations("purchase.release") == []


async def test_an_action_on_its_way_is_not_asked_for_twice(desk: Desk, shop: Client) -> None:
    purchase = await desk.purchase()
    desk.hold(purchase)
    first = await shop.post(f"/v1/purchases/{purchase['id']}/deliver")
    assert first.status_code == 202
    again = await shop.post(f"/v1/purchases/{purchase['id']}/deliver")
    assert (again.status_code, again.json()["code"]) == (409, "operation_pending")
    operation = desk.operations("purchase.deliver")[0]
    assert again.json()["operation_id"] == operation.id
    desk.settle("failed")
    assert (await shop.post(f"/v1/purchases/{purchase['id']}/deliver")).status_code == 202
    assert [row.attempt for row in desk.operations("purchase.deliver")] == [1, 2]


async def test_no_more_is_released_voided_or_refunded_than_there_is(
    desk: Desk, shop: Client
) -> None:
    delivered = await desk.purchase(10)
    desk.hold(delivered, dispute_deadline=CHAIN_NOW - 1)
    released = await desk.purchase(10)
    desk.hold(released, held=0, released=10, refunded=4, dispute_deadline=CHAIN_NOW - 1)
    for purchase, action, limit in (
        (delivered, "release", "10"),
        (delivered, "void", "10"),
        (released, "refund", "6"),
    ):
        body = {"amount": "11", **({"reference": "r"} if action == "refund" else {})}
        answer = await shop.post(f"/v1/purchases/{purchase['id']}/{action}", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "amount_too_large")
        assert answer.json()["limit"] == limit


async def test_reclaim_cannot_come_before_the_authorization_ends(desk: Desk, shop: Client) -> None:
    buyer, seller = await desk.account(), await desk.account()
    body = {
        "order_id": "A-1",
        "payer": buyer["id"],
        "payee": seller["id"],
        "amount": "1",
        "authorize_within": 100,
        "reclaim_after": 99,
    }
    answer = await shop.post("/v1/purchases", body)
    assert (answer.status_code, answer.json()["param"]) == (422, "reclaim_after")


async def test_only_what_is_queued_can_be_canceled(desk: Desk, shop: Client) -> None:
    account = await desk.account(balance=COIN)
    for path, kind in (("topups", "topup.mint"), ("redemptions", "redemption.burn")):
        body = {"account": account["id"], "amount": "5", "reference": "r"}
        first = await shop.ok(f"/v1/{path}", body)
        canceled = await shop.post(f"/v1/{path}/{first['id']}/cancel")
        assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
        again = await shop.post(f"/v1/{path}/{first['id']}/cancel")
        assert (again.status_code, again.json()["actual"]) == (409, "canceled")
        # The reference is free again, and what comes next is another attempt at the same ref.
        second = await shop.ok(f"/v1/{path}", body)
        operations = desk.operations(kind)
        assert [(row.status, row.attempt) for row in operations] == [
            ("canceled", 1),
            ("queued", 2),
        ]
        assert operations[0].ref == operations[1].ref
        desk.set(type(operations[1]), operations[1].id, status="submitted")
        late = await shop.post(f"/v1/{path}/{second['id']}/cancel")
        assert (late.status_code, late.json()["code"]) == (409, "invalid_state")
        assert (late.json()["actual"], late.json()["operation_id"]) == (
            "submitted",
            operations[1].id,
        )


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/accounts/acc_%00", "path"),
        ("/v1/payment_requests?reference=a%00b", "query"),
        ("/v1/sales_facts?order_id=%00", "query"),
    ],
)
async def test_a_zero_byte_is_refused_before_a_database_sees_it(
    shop: Client, path: str, param: str
) -> None:
    answer = await shop.get(path)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["param"] == param


NASTY: list[Any] = [
    None, True, False, 0, -1, 5, 1.5, 1e308, 2**70, "", " ", "a\x00b", "a\nb", "x" * 300, "٣",
    "<b>",
    "9" * 400, "-1", "2020-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59",
    "acc_" + "0" * 32, "0x" + "0" * 40, "0x" + "f" * 64, "0x" + "f" * 130, [], [None], {}, {"a": 1},
]  # fmt: skip


async def test_whatever_stands_in_a_field_the_answer_is_a_documented_one(
    desk: Desk, shop: Client
) -> None:
    """The client checks it of every answer: status and code are of the route, and no 500."""
    seller, buyer = await desk.account(kinds=["seller"]), await desk.account(COIN)
    request = await shop.ok(
        "/v1/payment_requests", {"payee": seller["id"], "amount": str(2 * COIN)}
    )
    fact = {
        "kind": "review",
        "order_id": "A-1",
        "reference": "r 1",
        "seller": seller["id"],
        "occurred_at": "2020-09-01T12:00:00Z",
        "score": 5,
    }
    recorded = await shop.ok("/v1/sales_facts", {"facts": [fact]}, key=None)
    signed = {"signature": "0x" + "11" * 65, "valid_after": 0, "valid_before": CHAIN_NOW + DAY}
    address = "0x52908400098527886E0F7030069857D2E4169EE7"
    bodies: dict[str, dict[str, Any]] = {
        "/v1/payment_requests": {
            "payee": seller["id"],
            "amount": "1",
            "memo": "m",
            "reference": "r",
            "expires_at": "2020-10-01T00:00:00Z",
        },
        f"/v1/payment_requests/{request['id']}/pay": {
            "payer": buyer["id"],
            "authorization": signed,
        },
        f"/v1/pay/requests/{request['id']}": {"payer": address, **signed},
        "/v1/sales_facts": {"facts": [fact]},
        f"/v1/sales_facts/{recorded['data'][0]['id']}/corrections": {
            "reason": "x",
            "seller": seller["id"],
            "occurred_at": "2020-09-01T12:00:00Z",
            "score": 5,
            "withdrawn": False,
        },
    }
    statuses: set[int] = set()
    for path, body in bodies.items():
        for name in (*body, "another"):
            for nasty in NASTY:
                answer = await shop.post(path, {**body, name: nasty})
                statuses.add(answer.status_code)
        for nasty in NASTY:
            if nasty is not None:
                statuses.add((await shop.post(path, nasty)).status_code)
    for name in fact:
        for nasty in NASTY:
            answer = await shop.post("/v1/sales_facts", {"facts": [{**fact, name: nasty}]})
            statuses.add(answer.status_code)
    for name in signed:
        for nasty in NASTY:
            body = {"payer": address, "authorization": {**signed, name: nasty}}
            answer = await shop.post(f"/v1/payment_requests/{request['id']}/pay", body)
            statuses.add(answer.status_code)
    assert statuses <= {200, 201, 202, 404, 409, 422}
    assert desk.operations("payment_request.pay") == []
    for path in ("/v1/payment_requests", "/v1/sales_facts", "/v1/pay/requests/prq_1/typed_data"):
        for name in ("limit", "cursor", "status", "kind", "seller", "occurred_from", "payer", "x"):
            for nasty in NASTY:
                assert (await shop.get(path, params={name: str(nasty)})).status_code < 500
