"""What the bridge refuses about credit, in words, before it costs an operation."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from node.index.credit import LINE_FIELDS, TOTALS_ID, line_id
from node.index.credit_line import BPS_YEAR
from node.store.models import (
    Account,
    AccountStatus,
    CreditLine,
    CreditOffer,
    CreditTotals,
    Draw,
    Lender,
    LineStatus,
    Member,
    Operation,
    PoolTotals,
    ReserveFunding,
)
from tests.node.bridge.support import CHAIN_NOW, COIN, DAY, Client, Desk

TERMS = {"limit": str(20 * COIN), "apr_bps": 1_000, "holdback_bps": 2_000, "term_days": 270}


def fund(desk: Desk, *, cash: int = 100 * COIN, **totals: Any) -> None:
    """What the indexer would know of a funded pool."""
    values = {
        column.name: 0 for column in CreditTotals.__table__.columns if column.name != "id"
    } | {
        "draws_paused": False,
        "domain_start": CHAIN_NOW,
        "reserve": 10 * COIN,
        "reserve_bps": 1_000,
        "line_cap": 50 * COIN,
        "principal_cap": 1_000 * COIN,
        **totals,
    }
    pool = Member(
        address=desk.manifest.contracts["LenderPool"].address,
        balance=cash,
        kinds=16,
        member_until=CHAIN_NOW * 2,
        frozen=False,
    )

    def write(session: Any) -> None:
        session.execute(insert(CreditTotals), {"id": TOTALS_ID, **values})
        session.add(PoolTotals(id=TOTALS_ID, shares=cash * 10**6, deposited=cash, withdrawn=0))
        session.add(pool)

    desk.store.write_now(write)


async def seller_with_line(desk: Desk, **changes: Any) -> tuple[dict[str, Any], str]:
    """An account, and the path of its line."""
    account = await desk.account(50 * COIN, kinds=["seller"])
    columns = [column.name for column in CreditLine.__table__.columns]
    values = dict.fromkeys(columns, 0) | {
        "seller": account["address"],
        "status": LineStatus.ACTIVE,
        "accrued_at": CHAIN_NOW,
        "apr_bps": 1_000,
        "holdback_bps": 2_000,
        "offer_hash": "0x" + "9c" * 32,
        "limit": 20 * COIN,
        "draw_until": CHAIN_NOW + 270 * DAY,
        "agreed_holdback_bps": 2_000,
        "opened_at": CHAIN_NOW,
        **changes,
    }
    assert set(LINE_FIELDS) <= set(columns)
    desk.store.write_now(lambda session: session.execute(insert(CreditLine), values))
    return account, f"/v1/credit_lines/{line_id(account['id'])}"


def owing(principal: int, **more: Any) -> dict[str, Any]:
    """A line drawn on just now."""
    installment = -(-principal // 9)
    return {
        "principal": principal,
        "window_end": CHAIN_NOW + 60 * DAY,
        "installment": installment,
        "installment_due": installment,
        **more,
    }


async def refused(
    desk: Desk, path: str, body: Any, code: str, status: int = 409, **more: Any
) -> dict[str, Any]:
    """It is refused with this code, and nothing was written."""
    before = desk.counts()
    answer = await desk.shop.post(path, body)
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    for name, value in more.items():
        assert problem[name] == value
    assert desk.counts() == before
    return problem


# --------------------------------------------------------------------------------- offers


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"apr_bps": 2_001}, "apr_bps"),
        ({"draw_fee_bps": 1_001}, "draw_fee_bps"),
        ({"holdback_bps": 0}, "holdback_bps"),
        ({"holdback_bps": 2_501}, "holdback_bps"),
        ({"term_days": 0}, "term_days"),
        ({"limit": "0"}, "limit"),
        ({"accept_within": 0}, "accept_within"),
        ({"disclosure_hash": "0x12"}, "disclosure_hash"),
        ({"color": "red"}, "color"),
    ],
)
async def test_an_offer_outside_the_rules_is_refused(
    desk: Desk, change: dict[str, Any], param: str
) -> None:
    fund(desk)
    account = await desk.account(kinds=["seller"])
    body = {"account": account["id"], **TERMS, **change}
    await refused(desk, "/v1/credit_lines/offers", body, "invalid_request", 422, param=param)


async def test_an_offer_above_the_cap_of_a_line_is_refused(desk: Desk) -> None:
    fund(desk)
    account = await desk.account(kinds=["seller"])
    body = {"account": account["id"], **TERMS, "limit": str(50 * COIN + 1)}
    path = "/v1/credit_lines/offers"
    await refused(desk, path, body, "amount_too_large", 422, limit=str(50 * COIN))


async def test_an_offer_needs_the_desks_scope(desk: Desk, shop: Client) -> None:
    made = await shop.ok("/v1/api_keys", {"name": "till", "scopes": ["read", "credit"]})
    till = Client(desk.app, made["secret"])
    for path, body in (
        ("/v1/credit_lines/offers", {"account": "acc_1", **TERMS}),
        ("/v1/pool/reserve", {"amount": "1", "reference": "x"}),
    ):
        answer = await till.post(path, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
        assert "desk" in answer.json()["detail"]
    assert (await till.get("/v1/pool")).status_code == 200


async def offered(desk: Desk, account: Any, **more: Any) -> str:
    body = {"account": account["id"], **TERMS, **more}
    offer = await desk.shop.ok("/v1/credit_lines/offers", body)
    return f"/v1/credit_lines/offers/{offer['id']}/accept"


async def test_an_offer_is_accepted_once_and_in_time(desk: Desk) -> None:
    fund(desk)
    account = await desk.account(kinds=["seller"])
    path = await offered(desk, account, accept_within=DAY)
    accepting = await desk.shop.ok(path)
    assert accepting["status"] == "offered"
    await refused(desk, path, None, "operation_pending", retryable=True)
    desk.settle()
    desk.set(CreditOffer, accepting["id"], status="accepted")
    await refused(desk, path, None, "invalid_state", actual="accepted")
    desk.set(CreditOffer, accepting["id"], status="offered")
    desk.set_chain_time(CHAIN_NOW + 2 * DAY)
    later = desk.new_app()  # which has not read the time before
    client = Client(later, desk.shop_key.secret)
    answer = await client.post(path)
    assert (answer.status_code, answer.json()["code"]) == (409, "offer_expired")


async def test_an_offer_to_a_line_in_trouble_or_at_a_higher_rate_is_refused(desk: Desk) -> None:
    fund(desk)
    account, _ = await seller_with_line(desk, **owing(9 * COIN))
    dearer = await offered(desk, account, apr_bps=1_001)
    await refused(desk, dearer, None, "invalid_state", apr_bps=1_000)
    late, _ = await seller_with_line(
        desk, **owing(9 * COIN, past_due_since=CHAIN_NOW - DAY, past_due_principal=COIN)
    )
    path = await offered(desk, late)
    await refused(desk, path, None, "line_not_in_good_standing", actual="active")


# ----------------------------------------------------------------------------------- draws


@pytest.mark.parametrize(
    ("line", "totals", "amount", "code", "status"),
    [
        ({}, {}, 20 * COIN + 1, "amount_too_large", 422),
        (owing(15 * COIN), {}, 5 * COIN + 1, "amount_too_large", 422),
        (
            {"status": LineStatus.DEFAULTED, "principal": COIN},
            {},
            COIN,
            "line_not_in_good_standing",
            409,
        ),
        ({"status": LineStatus.CHARGED_OFF}, {}, COIN, "line_not_in_good_standing", 409),
        ({"status": LineStatus.CLOSED}, {}, COIN, "line_not_in_good_standing", 409),
        (
            owing(9 * COIN, past_due_since=CHAIN_NOW - DAY, past_due_principal=COIN),
            {},
            COIN,
            "line_not_in_good_standing",
            409,
        ),
        ({"draw_until": CHAIN_NOW - DAY}, {}, COIN, "line_not_in_good_standing", 409),
        ({}, {"draws_paused": True}, COIN, "draws_paused", 409),
        ({}, {"reserve": COIN - 1}, 10 * COIN, "reserve_too_low", 409),
        ({}, {"principal_cap": COIN}, COIN + 1, "amount_too_large", 422),
        ({}, {"cash": COIN}, COIN + 1, "not_enough_cash", 409),
    ],
)  # fmt: skip
async def test_a_draw_that_the_book_would_refuse_is_refused(
    desk: Desk, line: Any, totals: Any, amount: int, code: str, status: int
) -> None:
    fund(desk, **totals)
    _, path = await seller_with_line(desk, **line)
    body = {"amount": str(amount), "reference": "d1"}
    await refused(desk, f"{path}/draws", body, code, status)


async def test_draws_on_their_way_count_as_drawn(desk: Desk) -> None:
    fund(desk, cash=30 * COIN)
    _, path = await seller_with_line(desk)
    _, other = await seller_with_line(desk)
    first = {"amount": str(15 * COIN), "reference": "d1"}
    assert (await desk.shop.ok(f"{path}/draws", first))["status"] == "pending"
    again = {"amount": str(5 * COIN + 1), "reference": "d2"}
    await refused(desk, f"{path}/draws", again, "amount_too_large", 422, limit=str(5 * COIN))
    too_much = {"amount": str(15 * COIN + 1), "reference": "d1"}
    await refused(desk, f"{other}/draws", too_much, "not_enough_cash", available=str(15 * COIN))
    await refused(desk, f"{path}/draws", first, "reference_taken")
    (draw,) = desk.rows(Draw)
    desk.set(Draw, draw.id, status="failed")
    desk.settle("failed")
    assert (await desk.shop.ok(f"{path}/draws", first))["id"] != draw.id


# ------------------------------------------------------------------------------- repayments


async def test_a_repayment_needs_debt_coin_and_a_payer_of_ones_own(desk: Desk) -> None:
    fund(desk)
    _, free = await seller_with_line(desk)
    body = {"amount": "1", "reference": "r1"}
    await refused(desk, f"{free}/repayments", body, "nothing_owed")
    _, path = await seller_with_line(desk, **owing(9 * COIN))
    too_much = {"amount": str(50 * COIN + 1), "reference": "r1"}
    await refused(desk, f"{path}/repayments", too_much, "insufficient_funds", 422)
    stranger = {**body, "payer": "acc_" + "0" * 32}
    await refused(desk, f"{path}/repayments", stranger, "not_found", 404, param="payer")
    alice = await desk.account(address="0x52908400098527886E0F7030069857D2E4169EE7")
    by_alice = {**body, "payer": alice["id"]}
    problem = await refused(desk, f"{path}/repayments", by_alice, "signature_required", 422)
    message = problem["typed_data"]["message"]
    assert (problem["param"], message["value"]) == ("authorization", "1")
    assert message["to"] == desk.manifest.contracts["CreditBook"].address


async def test_a_charged_off_line_takes_what_is_to_be_recovered(desk: Desk) -> None:
    fund(desk)
    _, path = await seller_with_line(
        desk, status=LineStatus.CHARGED_OFF, loss_to_pool=3 * COIN, loss_to_reserve=2 * COIN
    )
    shown = (await desk.shop.get(path)).json()
    assert (shown["status"], shown["payoff"], shown["past_due"]) == (
        "charged_off",
        str(5 * COIN),
        str(5 * COIN),
    )
    body = {"amount": str(5 * COIN), "reference": "r1"}
    assert (await desk.shop.ok(f"{path}/repayments", body))["status"] == "pending"


# -------------------------------------------------------------------------------- the pool


async def test_a_deposit_needs_coin_and_a_withdrawal_shares_and_cash(desk: Desk) -> None:
    fund(desk, cash=10 * COIN)
    lender = await desk.account(COIN, kinds=["lender"])
    deposit = {"account": lender["id"], "amount": str(COIN + 1), "reference": "p1"}
    await refused(desk, "/v1/pool/deposits", deposit, "insufficient_funds", 422)
    path, body = "/v1/pool/withdrawals", {"account": lender["id"], "reference": "w1"}
    await refused(desk, path, body, "amount_too_large", 422, limit="0")
    desk.store.write_now(
        lambda session: session.add(Lender(address=lender["address"], shares=10**13))
    )
    await refused(
        desk, path, {**body, "shares": str(10**13 + 1)}, "amount_too_large", 422, limit=str(10**13)
    )
    for shares in ("0", "-1", "1.5", 7, ""):
        given = {**body, "shares": shares}
        await refused(desk, path, given, "invalid_request", 422, param="shares")
    taken = await desk.shop.ok(path, {**body, "shares": str(4 * 10**12)})
    assert taken["status"] == "pending"
    rest = {**body, "reference": "w2", "shares": str(6 * 10**12 + 1)}
    await refused(desk, path, rest, "amount_too_large", 422, limit=str(6 * 10**12))


async def test_a_withdrawal_beyond_the_cash_waits(desk: Desk) -> None:
    fund(desk, cash=10 * COIN, principal=90 * COIN)
    lender = await desk.account(kinds=["lender"])
    desk.store.write_now(
        lambda session: session.add(Lender(address=lender["address"], shares=10**13))
    )
    body = {"account": lender["id"], "reference": "w1"}
    await refused(desk, "/v1/pool/withdrawals", body, "not_enough_cash", retryable=True)


async def test_an_account_that_is_not_active_neither_draws_nor_lends(desk: Desk) -> None:
    fund(desk)
    account, path = await seller_with_line(desk)
    desk.set(Account, account["id"], status=AccountStatus.FROZEN)
    draw = {"amount": "1", "reference": "d1"}
    await refused(desk, f"{path}/draws", draw, "account_not_active", actual="frozen")
    deposit = {"account": account["id"], "amount": "1", "reference": "p1"}
    await refused(desk, "/v1/pool/deposits", deposit, "account_not_active")


async def test_a_funding_that_failed_after_its_mint_is_not_minted_again(desk: Desk) -> None:
    body = {"amount": "7", "reference": "board 1"}
    first = await desk.shop.ok("/v1/pool/reserve", body)
    await refused(desk, "/v1/pool/reserve", body, "reference_taken", resource_id=first["id"])
    for operation in desk.rows(Operation):
        minted = operation.kind == "reserve_funding.mint"
        desk.set(Operation, operation.id, status="done" if minted else "failed")
    desk.set(ReserveFunding, first["id"], status="failed")
    again = await desk.shop.ok("/v1/pool/reserve", body)
    kinds = [row.kind for row in desk.rows(Operation) if row.resource_id == again["id"]]
    assert sorted(kinds) == ["reserve_funding.approve", "reserve_funding.fund"]


# ------------------------------------------------------------------------------------ walls


async def test_lines_of_other_merchants_do_not_exist(desk: Desk) -> None:
    fund(desk)
    account, path = await seller_with_line(desk, **owing(COIN))
    accept = await offered(desk, account)
    stranger = desk.client_of("Another shop")
    for method, where, body in (
        ("GET", path, None),
        ("GET", f"{path}/draws", None),
        ("GET", f"{path}/repayments", None),
        ("GET", accept.removesuffix("/accept"), None),
        ("POST", accept, {}),
        ("POST", f"{path}/draws", {"amount": "1", "reference": "x"}),
        ("POST", f"{path}/repayments", {"amount": "1", "reference": "x"}),
        ("POST", "/v1/credit_lines/offers", {"account": account["id"], **TERMS}),
        ("POST", "/v1/pool/deposits", {"account": account["id"], "amount": "1", "reference": "x"}),
    ):
        answer = await (stranger.get(where) if method == "GET" else stranger.post(where, body))
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), where
    for listed in ("/v1/credit_lines", "/v1/credit_lines/offers", "/v1/pool/positions"):
        assert (await stranger.get(listed)).json()["data"] == []
    (line,) = (await desk.shop.get("/v1/credit_lines")).json()["data"]
    assert line["account"] == account["id"]


@pytest.mark.parametrize("its_id", ["lin_1", "acc_1", "lin_", "x", "lin_" + "0" * 32])
async def test_ids_of_no_line_are_not_found(desk: Desk, its_id: str) -> None:
    answer = await desk.shop.get(f"/v1/credit_lines/{its_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_an_account_without_a_line_has_none(desk: Desk) -> None:
    account = await desk.account(kinds=["seller"])
    answer = await desk.shop.get(f"/v1/credit_lines/{line_id(account['id'])}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_what_a_release_brings_is_pending_without_the_holdback(desk: Desk) -> None:
    fund(desk)
    seller, _ = await seller_with_line(desk, **owing(9 * COIN))
    buyer = await desk.account(20 * COIN)
    for number, (amount, brings) in enumerate(
        ((10 * COIN, 7_800_000), (20 * COIN, 19_500_000 - 3_900_000)), 1
    ):
        purchase = await desk.shop.ok(
            "/v1/purchases",
            {
                "order_id": f"A-{number}",
                "payer": buyer["id"],
                "payee": seller["id"],
                "amount": str(amount),
                "authorize": False,
            },
        )
        desk.hold(purchase, dispute_deadline=CHAIN_NOW - 1)
        await desk.shop.ok(f"/v1/purchases/{purchase['id']}/release")
        balance = (await desk.shop.get(f"/v1/accounts/{seller['id']}/balance")).json()
        assert balance["pending"] == str(brings)
        desk.settle()


async def test_a_line_is_shown_as_of_now(desk: Desk) -> None:
    """Interest to the second, and windows closed by time alone."""
    fund(desk)
    _, path = await seller_with_line(desk, **owing(9 * COIN))
    desk.set_chain_time(CHAIN_NOW + 61 * DAY)
    later = Client(desk.new_app(), desk.shop_key.secret)
    shown = (await later.get(path)).json()
    seconds = 61 * DAY
    owed = -(-9 * COIN * 1_000 * seconds // BPS_YEAR)
    assert owed <= int(shown["interest"]) <= owed + 10
    assert (shown["past_due"], shown["available"]) == (str(COIN), "0")
    assert shown["status"] == "active"  # in the days of grace
