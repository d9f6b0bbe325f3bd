"""Trade out of a marketplace's export in Olist's file names and columns.

Orders, items, buyers and sellers are read, checked and reported as for a replay
(`node.market.orders`). Added here: the promised shipping date of each seller's part of an order
(`shipping_limit_date`), reviews, and the sellers' states.

The export does not say when an order was canceled. It counts as canceled on the day it should have
arrived by: what a desk could not have known is not given to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from node.credit.trade import COLUMNS, check_trade
from node.market.orders import ITEMS, ORDERS, SELLERS, OrderStatus, read_orders

DAY = 86_400
SETTLED_AFTER = 7 * DAY  # of the delivery: the dispute window
REVIEWS = "olist_order_reviews_dataset"


@dataclass(frozen=True, slots=True)
class TradeFiles:
    """An export as trade, and what was left out of it, in words.

    Attributes:
        until: the last time of the data, UTC seconds.
    """

    trade: pl.DataFrame
    skipped: tuple[str, ...]
    until: int


def read_trade(folder: Path, fee_bps: int = 250) -> TradeFiles:
    """Read an export.

    Raises:
        FileRefused: a file cannot be used (`node.market.orders`).
        BadTrade: what it says cannot be.
    """
    book = read_orders(folder)
    promised = _shipping_limits(folder)
    expected = _expected_deliveries(folder)
    reviews = _reviews(folder)
    rows = []
    for order in book.orders:
        ended = order.status in (OrderStatus.CANCELED, OrderStatus.UNAVAILABLE)
        shipped = _not_before(order.purchased_at, order.shipped_at)
        delivered = _not_before(shipped or order.purchased_at, order.delivered_at)
        last = delivered or shipped or order.approved_at or order.purchased_at
        ended_at = max(last, order.purchased_at, expected.get(order.order_id) or 0)
        for seller, amount in order.amounts_by_seller().items():
            score, reviewed = reviews.get(order.order_id, (None, None))
            if reviewed is None or reviewed < order.purchased_at:
                score = reviewed = None
            settled = None if delivered is None else delivered + SETTLED_AFTER
            rows.append(
                {
                    "order_id": order.order_id,
                    "seller": seller,
                    "buyer": order.buyer,
                    "linked": False,  # the export says nothing of it
                    "amount": amount,
                    "net": amount - amount * fee_bps // 10_000,
                    "purchased_at": order.purchased_at,
                    "ship_by": promised.get((order.order_id, seller)),
                    "shipped_at": shipped,
                    "delivered_at": delivered,
                    "settled_at": settled,
                    "canceled_at": ended_at if ended and delivered is None else None,
                    "returned_at": max(ended_at, settled or 0) if ended and delivered else None,
                    "disputed_at": None,
                    "lost_at": None,
                    "review": score,
                    "reviewed_at": reviewed,
                }
            )
    frame = pl.DataFrame(rows, schema=COLUMNS)
    times = [name for name in COLUMNS if name.endswith("_at")]
    until = max((value for name in times if (value := frame[name].max()) is not None), default=0)
    assert isinstance(until, int)
    trade = check_trade(frame, until)
    return TradeFiles(trade, tuple(str(row) for row in book.bad_rows), until)


def read_regions(folder: Path) -> dict[str, str]:
    """The state of each seller; empty without a file of sellers."""
    path = _find(folder, SELLERS)
    if path is None:
        return {}
    frame = _read(path, ["seller_id", "seller_state"]).drop_nulls()
    return dict(frame.iter_rows())


def _not_before(earliest: int, time: int | None) -> int | None:
    return None if time is None else max(earliest, time)


def _find(folder: Path, name: str) -> Path | None:
    for end in (".csv", ".csv.gz"):
        if (path := folder / f"{name}{end}").exists():
            return path
    return None


def _read(path: Path, columns: list[str]) -> pl.DataFrame:
    """The columns as text; those that are not there, as nulls."""
    frame = pl.read_csv(path, infer_schema=False)
    return frame.select(
        pl.col(name) if name in frame.columns else pl.lit(None, pl.String).alias(name)
        for name in columns
    )


def _seconds(column: str) -> pl.Expr:
    """Local times, taken as UTC as the replay does; what cannot be read is unknown."""
    time = pl.col(column).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
    return time.dt.epoch("s").alias(column)


def _shipping_limits(folder: Path) -> dict[tuple[str, str], int]:
    path = _find(folder, ITEMS)
    if path is None:
        return {}
    frame = _read(path, ["order_id", "seller_id", "shipping_limit_date"])
    frame = frame.with_columns(_seconds("shipping_limit_date")).drop_nulls()
    # Of several items of one seller in one order, the last promise.
    latest = frame.group_by("order_id", "seller_id").agg(pl.col("shipping_limit_date").max())
    return {(order, seller): time for order, seller, time in latest.iter_rows()}


def _expected_deliveries(folder: Path) -> dict[str, int]:
    path = _find(folder, ORDERS)
    if path is None:
        return {}
    frame = _read(path, ["order_id", "order_estimated_delivery_date"])
    return dict(
        frame.with_columns(_seconds("order_estimated_delivery_date")).drop_nulls().iter_rows()
    )


def _reviews(folder: Path) -> dict[str, tuple[int, int]]:
    """Score and time of each order's first review that has both."""
    path = _find(folder, REVIEWS)
    if path is None:
        return {}
    frame = (
        _read(path, ["order_id", "review_score", "review_creation_date"])
        .with_columns(
            _seconds("review_creation_date"),
            pl.col("review_score").cast(pl.Int64, strict=False),
        )
        .drop_nulls()
        .filter(pl.col("review_score").is_between(1, 5))
        .sort("review_creation_date", "order_id", "review_score")
        .unique("order_id", keep="first", maintain_order=True)
    )
    return {order: (score, time) for order, score, time in frame.iter_rows()}
