"""What the features say of trade that is worked out by hand."""

from __future__ import annotations

from math import log1p
from random import Random
from typing import Any

import polars as pl
import pytest

from node.credit.features import FEATURES, LINE_COLUMNS, NAMES, compute_features
from tests.node.credit.support import COIN, DAY, START, generate_trade, order, trade_of

CUTOFF = START + 200 * DAY


def of(*orders: dict[str, Any], lines: pl.DataFrame | None = None) -> dict[str, Any]:
    frame = compute_features(trade_of(*orders), CUTOFF, lines)
    assert len(frame) == 1
    return frame.row(0, named=True)


def test_sales_count_when_they_are_paid_out() -> None:
    # Paid out on days 171 and 189 (within 30 days), 110 (within 90), 109, and 205 (not yet).
    row = of(
        order(1, "ana", 161, 10),
        order(2, "ana", 179, 20),
        order(3, "ana", 100, 40),
        order(4, "ana", 195, 80),
        order(5, "ana", 99, 160),
    )
    assert row["sales_30"] == pytest.approx(log1p(30), abs=1e-6)
    assert row["sales_90"] == pytest.approx(log1p(70), abs=1e-6)
    assert row["sales_365"] == pytest.approx(log1p(230), abs=1e-6)


def test_a_moment_on_the_edge_of_a_window_is_in_it() -> None:
    row = of(order(1, "ana", 160, 10), order(2, "ana", 159.99, 20))
    assert row["sales_30"] == pytest.approx(log1p(10), abs=1e-6)


def test_one_buyer_counts_for_thirty_percent_of_the_average() -> None:
    row = of(
        order(1, "ana", 180, 90, buyer="big"),
        order(2, "ana", 181, 10, buyer="small"),
    )
    # 100 coin; the big buyer counts 30 of its 90, the small one its 10.
    assert row["ads_30"] == 40 * COIN // 30
    assert row["top_buyer"] == pytest.approx(0.9)


def test_linked_returned_lost_and_unpaid_sales_are_no_sales() -> None:
    day = START + 188 * DAY
    row = of(
        order(1, "ana", 150, 10),
        order(2, "ana", 171, 10, linked=True),
        order(3, "ana", 172, 10, returned_at=day),
        order(4, "ana", 173, 10, disputed_at=day - DAY, lost_at=day),
        order(5, "ana", 174, 10, settled_at=None, canceled_at=day),
    )
    assert row["sales_30"] == 0
    assert row["sales_90"] == pytest.approx(log1p(10), abs=1e-6)
    assert row["returns"] == row["disputes"] == row["cancellations"] == pytest.approx(0.2)
    assert row["lost_30"] == 1


def test_weekly_figures() -> None:
    # The last thirteen weeks: one coin in each of the last two, nothing before.
    row = of(order(1, "ana", 178, 1), order(2, "ana", 185, 1))
    assert row["idle_weeks"] == 11
    # Slope of log(1 + sales) on the week by least squares: (5 + 6) log 2 / 182.
    assert row["trend"] == pytest.approx(11 * log1p(1) / 182, abs=1e-6)
    mean = 2 / 13
    assert row["variation"] == pytest.approx((2 / 13 - mean**2) ** 0.5 / mean, abs=1e-6)


def test_a_seller_without_a_sale_paid_out_has_idle_weeks_and_no_variation() -> None:
    row = of(order(1, "ana", 195, 10))
    assert row["idle_weeks"] == 13
    assert row["variation"] is None
    assert row["pace"] is None
    assert row["ads_30"] == row["ads_90"] == 0


def test_lateness_counts_what_is_overdue_and_not_shipped() -> None:
    row = of(
        order(1, "ana", 150, 10),
        order(2, "ana", 151, 10, shipped_at=START + 158 * DAY),  # promised for day 154
        order(3, "ana", 152, 10, shipped_at=None, delivered_at=None, settled_at=None),  # overdue
        order(4, "ana", 199, 10, shipped_at=None, delivered_at=None, settled_at=None),  # has time
        order(5, "ana", 153, 10, ship_by=None),  # nothing was promised
    )
    assert row["late_shipping"] == pytest.approx(2 / 3, abs=1e-6)


def test_reviews_are_shrunk_towards_the_mean() -> None:
    row = of(order(1, "ana", 150, 10, review=1), order(2, "ana", 160, 10, review=2))
    assert row["review"] == pytest.approx((4.0 * 10 + 3) / 12, abs=1e-6)


def test_the_season_needs_a_year_and_a_quarter() -> None:
    row = of(order(1, "ana", 150, 10))
    assert row["season"] is None
    assert row["ads_season"] is None
    cutoff = START + 600 * DAY
    orders = [order(number, "ana", day, 10) for number, day in enumerate(range(10, 590, 5))]
    # A year before: less after that day than before it.
    kept = [o for o in orders if not START + 235 * DAY <= o["settled_at"] < START + 325 * DAY] + [
        order(999, "ana", 250, 10)
    ]
    frame = compute_features(trade_of(*kept), cutoff)
    row = frame.row(0, named=True)
    assert 0 < row["season"] < 0.2
    assert row["ads_season"] < row["ads_90"]


def test_repeat_buyers() -> None:
    row = of(
        order(1, "ana", 150, 10, buyer="x"),
        order(2, "ana", 160, 10, buyer="x"),
        order(3, "ana", 165, 10, buyer="y"),
    )
    assert row["repeat_buyers"] == pytest.approx(0.5)


def test_a_line_s_past() -> None:
    lines = pl.DataFrame(
        [
            {
                "seller": "ana",
                "owed": 50 * COIN,
                "windows_met": 3,
                "windows_missed": 1,
                "largest_repaid": 0,
                "good_standing": True,
            }
        ],
        schema=LINE_COLUMNS,
    )
    row = of(order(1, "ana", 150, 300), lines=lines)
    assert row["windows_met"] == pytest.approx(0.75)
    assert row["burden"] == pytest.approx(0.5)  # 50 against 100 a month
    assert of(order(1, "ana", 150, 300))["windows_met"] is None


def test_the_future_does_not_move_a_score() -> None:
    """All that happens at the cut-off or later may be anything else."""
    random = Random(7)
    trade = generate_trade(sellers=12, days=200, seed=3)
    cutoff = START + 120 * DAY
    before = compute_features(trade, cutoff)
    rows = []
    for row in trade.iter_rows(named=True):
        if row["purchased_at"] >= cutoff:
            if random.random() < 0.5:
                continue
            row |= {"net": random.randrange(row["amount"]), "seller": f"seller {random.random()}"}
        for name in ("shipped_at", "delivered_at", "settled_at", "reviewed_at"):
            if row[name] is not None and row[name] >= cutoff:
                row[name] = max(cutoff, row["purchased_at"]) + random.randrange(200 * DAY)
                if name == "reviewed_at":
                    row["review"] = random.randint(1, 5)
        if row["settled_at"] is None or row["settled_at"] >= cutoff:
            row["returned_at"] = max(cutoff, row["purchased_at"])
            row["lost_at"] = row["disputed_at"] = row["returned_at"]
        rows.append(row)
    random.shuffle(rows)
    after = compute_features(trade_of(*rows), cutoff)
    assert after.equals(before)
    # And it is the past that they follow from.
    assert not compute_features(trade, cutoff - DAY).equals(before)


def test_one_seller_alone_has_the_same_features_as_among_others() -> None:
    trade = generate_trade(sellers=8, days=150, seed=5)
    cutoff = START + 130 * DAY
    together = compute_features(trade, cutoff)
    for seller in together["seller"]:
        alone = compute_features(trade.filter(pl.col("seller") == seller), cutoff)
        assert alone.equals(together.filter(pl.col("seller") == seller))


def test_every_feature_is_there_in_order_and_finite() -> None:
    frame = compute_features(generate_trade(sellers=10, days=200, seed=1), START + 150 * DAY)
    assert frame.columns[: len(NAMES) + 1] == ["seller", *NAMES]
    for name in NAMES:
        assert frame[name].dtype == pl.Float64
        assert not frame[name].is_nan().any()
        assert not frame[name].is_infinite().any()
    assert len({feature.name for feature in FEATURES}) == len(FEATURES)
