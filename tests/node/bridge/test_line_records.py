"""Plans and statements of credit lines, against what the chain really did."""

from __future__ import annotations

import csv
import io
import itertools
from typing import Any

import pytest

from tests.node.bridge.credit_desk import CreditDesk, open_credit_desk
from tests.node.bridge.market import Market
from tests.node.bridge.support import COIN, DAY

PARTS = ("principal", "fees", "interest", "total")


@pytest.fixture
async def desk(market: Market) -> CreditDesk:
    return await open_credit_desk(market)


def check(statement: Any) -> None:
    """It adds up, part by part."""
    for part in PARTS:
        added = {
            "principal": int(statement["drawn"]),
            "fees": int(statement["fees_charged"]),
            "interest": int(statement["interest_accrued"]),
        }
        added["total"] = sum(added.values())
        taken = sum(int(statement[name][part]) for name in ("repaid", "waived", "written_off"))
        opening, closing = int(statement["opening"][part]), int(statement["closing"][part])
        assert opening + added[part] - taken == closing, (statement["period"], part)
    repaid = statement["repaid"]
    assert int(repaid["by_sales"]) + int(repaid["by_hand"]) == int(repaid["total"])
    assert int(statement["interest_accrued"]) >= 0


async def test_statements_add_up_to_the_ledger_to_the_unit(desk: CreditDesk) -> None:
    market = desk.market
    buyer, seller = await market.member(topup=50 * COIN), await market.member("seller")
    line = await desk.open_line(seller, apr_bps=1_100, draw_fee_bps=50)
    await desk.draw(line, 9 * COIN)
    sold = await market.delivered(buyer, seller)
    released = await market.act(sold, "release")
    await desk.look(line, 35)
    await desk.repay(line, "one", amount="1500000")
    await desk.draw(line, 2 * COIN, "second")
    await desk.look(line, 40)
    await desk.act(line, "waive", amount="1000", reason="case 8")
    await desk.repay(line, "rest")
    await desk.look(line, 31)

    shown = (await desk.get(line, "statements"))["data"]
    assert len(shown) >= 4
    for newer, older in itertools.pairwise(shown):
        assert newer["opening"] == older["closing"]
        assert newer["begins"] == older["ends"]
    for statement in shown:
        check(statement)
    assert [one["final"] for one in shown] == [False] + [True] * (len(shown) - 1)
    assert {one["total"] for one in (shown[0]["closing"], shown[-1]["opening"])} == {"0"}

    def total(*path: str) -> int:
        amount = 0
        for statement in shown:
            value = statement
            for name in path:
                value = value[name]
            amount += int(value)
        return amount

    now = await desk.line(line["id"])
    assert total("drawn") == int(now["drawn"]) == 11 * COIN
    assert total("fees_charged") == int(now["fees"]) == total("repaid", "fees") == 55_000
    assert total("repaid", "principal") == int(now["principal_repaid"])
    interest = total("repaid", "interest") + total("repaid", "fees")
    assert interest == int(now["interest_paid"])
    assert total("waived", "total") == int(now["waived"]) == 1_000
    assert total("repaid", "by_sales") == int(now["repaid_by_sales"]) == int(released["repayment"])
    path = f"/v1/accounts/{seller['id']}/entries?limit=100"
    ledger = (await desk.shop.get(path)).json()["data"]
    drawn = [int(entry["amount"]) for entry in ledger if entry["kind"] == "draw"]
    others = sum(
        int(entry["amount"]) for entry in ledger if entry["kind"] not in ("draw", "release")
    )
    assert sum(drawn) == total("drawn")
    assert -others == total("repaid", "by_hand")

    entries = (await desk.get(line, "entries", limit=100))["data"]
    kinds = [entry["kind"] for entry in entries]
    assert kinds == ["repaid", "waived", "drawn", "repaid", "repaid", "drawn", "opened"]
    assert entries[4]["order_hash"] == sold["order_hash"]
    assert (entries[3]["order_hash"], entries[0]["principal_after"]) == (None, "0")
    part = await desk.get(line, "statements", limit=2)
    rest = await desk.get(line, "statements", limit=100, cursor=part["next_cursor"])
    assert part["data"] + rest["data"] == shown
    assert (part["has_more"], rest["has_more"]) == (True, False)
    wrong = await desk.shop.get(f"/v1/credit_lines/{line['id']}/statements?cursor=soon")
    assert (wrong.status_code, wrong.json()["param"]) == (422, "cursor")

    answer = await desk.shop.get(f"/v1/credit_lines/{line['id']}/statements.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["period"] for row in rows] == [one["period"] for one in reversed(shown)]
    assert sum(int(row["repaid_total"]) for row in rows) == total("repaid", "total")
    assert rows[-1]["closing_total"] == "0"
    await market.reconcile()


async def test_whoever_follows_the_plan_is_never_late_and_pays_off(desk: CreditDesk) -> None:
    """The chain agrees with every date and amount: without interest, to the unit."""
    seller = await desk.market.member("seller", topup=COIN)
    line = await desk.open_line(seller, apr_bps=0, draw_fee_bps=100)
    await desk.draw(line, 9 * COIN + 5)
    plan = await desk.get(line, "plan")
    windows = plan["windows"]
    assert len(windows) == 9
    assert sum(int(window["amount"]) for window in windows) == int(plan["total"])
    assert plan["total"] == plan["payoff"] == str(9 * COIN + 5 + 90_001)
    assert windows[0]["interest"] == "90001"
    assert windows[0]["net_sales"] == str(-(-int(windows[0]["amount"]) * 10_000 // 2_000))
    assert [window["opens"] for window in windows[1:]] == [window["due"] for window in windows[:-1]]

    for number, window in enumerate(windows):
        now = await desk.get(line, "plan")
        assert now["windows"][0] == window
        assert now["due_now"] == window["amount"]
        await desk.repay(line, f"window {number}", amount=window["amount"])
        shown = await desk.line(line["id"])
        assert (shown["due_in_window"], shown["principal"]) == ("0", window["principal_after"])
        late = await desk.look(line, 60)
        assert (late["status"], late["past_due"]) == ("active", "0")
    assert (await desk.get(line, "plan"))["windows"] == []
    assert (await desk.line(line["id"]))["payoff"] == "0"
    await desk.market.reconcile()


async def test_a_unit_less_than_the_plan_is_past_due(desk: CreditDesk) -> None:
    seller = await desk.market.member("seller", topup=COIN)
    line = await desk.open_line(seller, apr_bps=0, draw_fee_bps=100)
    await desk.draw(line, 9 * COIN)
    amount = int((await desk.get(line, "plan"))["due_now"])
    await desk.repay(line, amount=str(amount - 1))
    late = await desk.look(line, 61)
    assert (late["past_due"], late["available"]) == ("1", "0")
    plan = await desk.get(line, "plan")
    assert (plan["past_due"], plan["due_now"]) == ("1", str(COIN + 1))
    assert plan["past_due_since"] is not None
    delinquent = await desk.look(line, 8)
    assert delinquent["status"] == "delinquent"
    plan = await desk.get(line, "plan")
    assert (plan["status"], plan["holdback_bps"]) == ("delinquent", 3_000)
    assert [window["holdback_bps"] for window in plan["windows"][:2]] == [3_000, 2_000]


async def test_interest_is_planned_as_the_book_will_ask_for_it(desk: CreditDesk) -> None:
    seller = await desk.market.member("seller", topup=COIN)
    line = await desk.open_line(seller, apr_bps=1_000)
    await desk.draw(line, 9 * COIN)
    plan = await desk.get(line, "plan")
    first, second = plan["windows"][:2]
    assert int(first["interest"]) == -(-9 * COIN * 1_000 * (60 * DAY - 1) // (10_000 * 365 * DAY))
    await desk.market.travel(60 * DAY - 60)
    await desk.tick()
    paid = await desk.repay(line, amount=first["amount"])
    # A minute earlier than planned, which is two units of interest.
    assert 0 <= int(first["interest"]) - int(paid["interest_paid"]) <= 2
    assert (await desk.line(line["id"]))["due_in_window"] == "0"
    shown = await desk.look(line, 1)
    assert (shown["past_due"], shown["status"]) == ("0", "active")
    now = (await desk.get(line, "plan"))["windows"][0]
    assert (now["due"], abs(int(now["amount"]) - int(second["amount"])) <= 2) == (
        second["due"],
        True,
    )


async def test_a_defaulted_line_is_written_off_and_its_statement_says_so(desk: CreditDesk) -> None:
    market = desk.market
    buyer, seller = await market.member(topup=50 * COIN), await market.member("seller")
    line = await desk.open_line(seller, draw_fee_bps=100)
    await desk.draw(line, 9 * COIN)
    early = await desk.shop.post(
        f"/v1/credit_lines/{line['id']}/charge_off", {"reason": "too early"}
    )
    assert (early.status_code, early.json()["actual"]) == (409, "active")
    defaulted = await desk.look(line, 160)
    assert defaulted["status"] == "defaulted"
    plan = await desk.get(line, "plan")
    assert (plan["windows"], plan["due_now"], plan["total"]) == ([], *[defaulted["payoff"]] * 2)
    done = await desk.act(line, "charge_off", reason="case 11")
    assert (done["status"], done["kind"]) == ("succeeded", "charge_off")
    sold = await market.delivered(buyer, seller)
    released = await market.act(sold, "release")
    shown = (await desk.get(line, "statements"))["data"]
    for statement in shown:
        check(statement)
    line = await desk.line(line["id"])
    assert sum(int(one["written_off"]["total"]) for one in shown) == int(line["written_off"])
    assert shown[0]["recovered"] == line["recovered"] == released["repayment"]
    assert shown[0]["closing"]["total"] == "0"
    kinds = [entry["kind"] for entry in (await desk.get(line, "entries"))["data"]]
    assert kinds == ["recovered", "charged_off", "defaulted", "drawn", "opened"]
    await market.reconcile()
