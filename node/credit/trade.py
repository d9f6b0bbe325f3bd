"""The trade a desk looks at: one row per order and seller, with when each thing became known.

It comes from the node's own store (`node.credit.store`) or from a marketplace's files
(`node.credit.olist`). Everything that happened to an order has the time it happened at, so that the
trade can be cut to what was known at any moment (`as_known_at`): a score of the first of March has
seen nothing of the first of March or later.
"""

from __future__ import annotations

import polars as pl

# Amounts are atomic units, times UTC unix seconds.
COLUMNS: dict[str, pl.DataType] = {
    "order_id": pl.String(),
    "seller": pl.String(),
    "buyer": pl.String(),
    "linked": pl.Boolean(),  # the buyer is tied to the seller: no evidence of demand
    "amount": pl.Int64(),  # what the buyer pays
    "net": pl.Int64(),  # of it the seller's, after the marketplace's fee
    "purchased_at": pl.Int64(),
    "ship_by": pl.Int64(),  # promised; null where nothing was
    "shipped_at": pl.Int64(),
    "delivered_at": pl.Int64(),
    "settled_at": pl.Int64(),  # paid out to the seller
    "canceled_at": pl.Int64(),
    "returned_at": pl.Int64(),  # refunded, or a return reported
    "disputed_at": pl.Int64(),
    "lost_at": pl.Int64(),  # a dispute that went against the seller
    "review": pl.Int64(),  # 1 (worst) to 5
    "reviewed_at": pl.Int64(),
}
REQUIRED = ("order_id", "seller", "buyer", "linked", "amount", "net", "purchased_at")
# What happens to an order, each not before its purchase. `ship_by` is a promise, no event.
EVENTS = (
    "shipped_at",
    "delivered_at",
    "settled_at",
    "canceled_at",
    "returned_at",
    "disputed_at",
    "lost_at",
    "reviewed_at",
)
_MOST = 2**62  # sums of a seller's orders stay within 64 bits


class BadTrade(Exception):
    """Trade that cannot be judged; the message is for people and names the first offender."""


def empty_trade() -> pl.DataFrame:
    return pl.DataFrame(schema=COLUMNS)


def check_trade(frame: pl.DataFrame, now: int) -> pl.DataFrame:
    """Return the trade with its columns in order, or refuse it whole.

    Args:
        now: no event may be later.

    Raises:
        BadTrade: a column is missing or of another type, a value is missing, NaN, negative, in the
            future or before its order's purchase, or an order is there twice.
    """
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise BadTrade(f"the trade has no column {', '.join(missing)}")
    frame = frame.select(_typed(frame, name, kind) for name, kind in COLUMNS.items())
    for name in REQUIRED:
        _refuse(frame, pl.col(name).is_null(), f"{name} is missing")
    for name in ("order_id", "seller", "buyer"):
        _refuse(frame, pl.col(name) == "", f"{name} is empty")
    for name in ("amount", "net"):
        _refuse(frame, pl.col(name) < 0, f"{name} is negative", name)
        _refuse(frame, pl.col(name) > _MOST, f"{name} is above {_MOST}", name)
    _refuse(frame, pl.col("net") > pl.col("amount"), "net is more than the buyer paid", "net")
    _refuse(frame, pl.col("purchased_at") < 0, "purchased_at is before 1970", "purchased_at")
    for name in ("purchased_at", *EVENTS):
        _refuse(frame, pl.col(name) > now, f"{name} is in the future (after {now})", name)
    for name in EVENTS:
        too_early = pl.col(name) < pl.col("purchased_at")
        _refuse(frame, too_early, f"{name} is before the purchase", name)
    _refuse(frame, ~pl.col("review").is_between(1, 5), "review is not 1 to 5", "review")
    untimed = pl.col("review").is_null() != pl.col("reviewed_at").is_null()
    _refuse(frame, untimed, "review and reviewed_at: one is there without the other")
    twice = pl.struct("order_id", "seller").is_duplicated()
    _refuse(frame, twice, "the order is there twice for one seller")
    return frame


def as_known_at(trade: pl.DataFrame, cutoff: int) -> pl.DataFrame:
    """What was known before a moment: earlier purchases, without what happened at it or later."""
    known = trade.filter(pl.col("purchased_at") < cutoff)
    return known.with_columns(
        *(
            pl.when(pl.col(name) < cutoff).then(pl.col(name)).alias(name)
            for name in EVENTS
            if name != "reviewed_at"
        ),
        *(
            pl.when(pl.col("reviewed_at") < cutoff).then(pl.col(name)).alias(name)
            for name in ("review", "reviewed_at")
        ),
    )


def _typed(frame: pl.DataFrame, name: str, kind: pl.DataType) -> pl.Series:
    series = frame[name]
    if series.dtype == kind:
        return series
    if series.dtype == pl.Null and name not in REQUIRED:
        return series.cast(kind)
    if series.dtype.is_float():
        bad = series.is_nan() | series.is_infinite()
        where = "is not a number (NaN)" if bad.any() else "is of fractions: amounts and times"
        more = "" if bad.any() else " are integers of atomic units and of seconds"
        raise BadTrade(f"{name} {where}{more}")
    if kind == pl.Int64() and series.dtype.is_integer():
        try:
            return series.cast(kind)
        except pl.exceptions.InvalidOperationError:
            raise BadTrade(f"{name} has a value beyond 64 bits") from None
    raise BadTrade(f"{name} is of type {series.dtype}, not {kind}")


def _refuse(frame: pl.DataFrame, offends: pl.Expr, reason: str, shown: str | None = None) -> None:
    offenders = frame.filter(offends)
    if offenders.is_empty():
        return
    first = offenders.row(0, named=True)
    value = f" ({first[shown]})" if shown is not None else ""
    others = f", and {len(offenders) - 1} more" if len(offenders) > 1 else ""
    raise BadTrade(
        f"order {first['order_id']!r} of seller {first['seller']!r}: {reason}{value}{others}"
    )
