"""What is expected of a replay, added up by hand, and how it is told."""

from __future__ import annotations

import io
from dataclasses import replace

import orjson
from rich.console import Console

from node.market.orders import BadRow, Item, Order, OrderBook, OrderStatus
from node.market.plan import Plan, PlanTerms, make_plan
from node.market.reconciliation import Comparison, expected
from node.market.replay import Run
from node.market.summary import print_summary, summarise

DAY = 86_400
COIN = 10**6


def order(order_id: str, status: OrderStatus, price: int, delivered: bool = False) -> Order:
    return Order(
        order_id=order_id,
        buyer="ada",
        status=status,
        purchased_at=10 * DAY,
        approved_at=None,
        shipped_at=11 * DAY if status is OrderStatus.SHIPPED or delivered else None,
        delivered_at=12 * DAY if delivered else None,
        items=(Item("s1", price, 0),),
    )


def plan(generated: bool = False) -> Plan:
    orders = (
        order("open", OrderStatus.PROCESSING, 1_000_000),
        order("shipped", OrderStatus.SHIPPED, 2_000_000),
        order("released", OrderStatus.DELIVERED, 3_000_039, delivered=True),
        order("voided", OrderStatus.CANCELED, 5_000_000),
        order("refunded", OrderStatus.CANCELED, 7_000_000, delivered=True),
    )
    source = "generated orders (seed 1)" if generated else "genuine files from exports"
    bad = (BadRow("olist_orders_dataset.csv", 9, "order_id is not an id: '[x]'"),)
    book = OrderBook(orders, source, generated, bad, {"delivered before the carrier date": 2})
    return make_plan(book, PlanTerms(tick=DAY, fee_bps=250, dispute_window=7 * DAY))


def test_the_expected_coin_follows_from_the_orders_alone() -> None:
    sums = expected(plan())

    assert sums.held == 3_000_000
    assert sums.released == 10_000_039
    assert sums.fees == 75_000 + 175_000  # 75,000.975 rounded down
    assert sums.voided == 5_000_000
    assert sums.refunded == 7_000_000
    # Five payments, and the fee of the refund given back to the seller.
    assert sums.topped_up == 18_000_039 + 175_000
    assert sums.balances == {"buyer/ada": 12_000_000, "seller/s1": 3_000_039 - 75_000}
    assert sums.held_for == {"buyer/ada": 3_000_000}
    # Every coin topped up is somewhere.
    assert sums.topped_up == sum(sums.balances.values()) + sums.held + sums.fees
    assert sums.counts == {
        "authorized": 1,
        "shipped": 1,
        "released": 1,
        "voided": 1,
        "refunded": 1,
    }


def summary(generated: bool = False, wrong: bool = False) -> tuple[dict[str, object], str]:
    run = Run(resumed=False, seconds=2.0, purchases=5, ticks=4)
    run.latencies["purchase"] += [0.010, 0.020, 0.030]
    run.latencies["refund"] += [0.5]
    comparison = Comparison(block=77, node={"ok": True})
    comparison.same("chain at block 77", "supply", 18_175_039, 18_175_038 if wrong else 18_175_039)
    document = summarise(plan(generated), run, comparison)
    out = io.StringIO()
    print_summary(document, Console(file=out, width=160))
    return document, out.getvalue()


def test_the_document_is_json_with_exact_amounts() -> None:
    document, _ = summary()

    again = orjson.loads(orjson.dumps(document))
    assert again["coin"]["topped_up"] == "18175039"
    assert again["by_state"]["refunded"] == {"count": 1, "amount": "7000000"}
    assert again["run"]["purchases_per_second"] == 2.5
    assert again["run"]["steps"]["purchase"] == {
        "count": 3,
        "mean_ms": 20.0,
        "p50_ms": 20.0,
        "p95_ms": 29.0,
    }
    assert again["run"]["steps"]["refund"]["p95_ms"] == 500.0
    assert again["reconciliation"]["ok"] is True
    paid_by_day = sum(int(day["paid"]) for day in again["by_day"])
    assert paid_by_day == 18_000_039
    assert again["by_seller"] == [
        {
            "seller": "s1",
            "purchases": 5,
            "sold": "18000039",
            "received": "2925039",
            "fees": "75000",
            "holdback": "0",
        }
    ]
    assert again["credit"]["lines"] == 0


def test_the_text_says_where_the_orders_come_from() -> None:
    assert "genuine orders (genuine files from exports)" in summary()[1]
    assert "GENERATED orders, not real ones (generated orders (seed 1))" in summary(True)[1]


def test_the_text_names_what_was_skipped_and_what_was_kept() -> None:
    _, text = summary()

    assert "skipped  olist_orders_dataset.csv:9: order_id is not an id: '[x]'" in text
    assert "kept     2 orders: delivered before the carrier date" in text


def test_a_difference_is_listed_with_both_figures() -> None:
    document, text = summary(wrong=True)

    reconciliation = document["reconciliation"]
    assert isinstance(reconciliation, dict)
    assert reconciliation["ok"] is False
    assert reconciliation["differences"] == [
        {
            "where": "chain at block 77",
            "what": "supply",
            "expected": "18175039",
            "actual": "18175038",
        }
    ]
    assert "1 DIFFERENCES between input, bridge and chain" in text
    assert "agree to the unit" not in text


def test_credit_lines_are_told_by_our_own_record() -> None:
    delivered = tuple(order(f"A-{n}", OrderStatus.DELIVERED, COIN * n, True) for n in (1, 2, 3))
    late = replace(delivered[2], purchased_at=40 * DAY, shipped_at=41 * DAY, delivered_at=42 * DAY)
    book = OrderBook((*delivered[:2], late), "hand-made", False)
    made = make_plan(book, PlanTerms(tick=DAY, fee_bps=0, dispute_window=0, credit=1))
    (line,) = made.lines
    comparison = Comparison(block=7, node={"ok": True})
    own = comparison.credit.lines["s1"]
    own.draw(line.draw, line.fee, when=15 * DAY)
    holdback = own.sale("A-3", 3 * COIN, when=43 * DAY)
    names = ("cash", "book_value", "total_assets", "share_price", "reserve", "interest")
    comparison.pool = dict.fromkeys(names, "1000000")

    document = summarise(made, Run(resumed=False), comparison)

    credit = document["credit"]
    assert (credit["drawn"], credit["by_sales"]) == (str(line.draw), str(holdback))
    assert credit["by_line"][0]["principal"] == str(own.principal)
    (seller,) = document["by_seller"]
    assert seller["received"] == str(6 * COIN - holdback)
    out = io.StringIO()
    print_summary(document, Console(file=out, width=80))
    assert "1 credit lines" in out.getvalue()
    assert "repaid by holdback" in out.getvalue()
    assert "…" not in out.getvalue().partition("1 credit lines")[2].partition("By day")[0]
