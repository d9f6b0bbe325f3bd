"""What the desk looks at: each seller's trade before a moment, as some twenty figures.

All of them follow from the trade as it was known before the cut-off (`as_known_at`), and from what
became of the seller's own credit line. A figure that cannot be known yet is missing, not zero: the
models have a bin of their own for that.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from node.credit.trade import as_known_at

DAY = 86_400
WEEK = 7 * DAY
COIN = 10**6
YEAR = 365 * DAY
WEEKS = 13  # over which trend, variation and idleness are taken
RATE_DAYS = 180  # over which cancellations, returns, disputes and lateness are counted
MOST_OF_A_BUYER = 30  # percent of a window's sales that count of any one buyer
# Reviews are shrunk towards this mean as if there were so many more of it (a Bayesian average).
REVIEW_MEAN, REVIEW_WEIGHT = 4.0, 10
DIGITS = 6  # of a feature, after the point


@dataclass(frozen=True, slots=True)
class Feature:
    """One figure.

    Attributes:
        sign: +1 where more of it means less risk, -1 where it means more, 0 where nothing is
            expected: models are monotonic in it.
        lost: why a seller loses points by it, in words it understands.
        shown: what it is, on the page of the data used.
    """

    name: str
    sign: int
    lost: str
    shown: str


FEATURES: tuple[Feature, ...] = (
    Feature("sales_30", +1, "Your sales of the last 30 days are low.", "log of sales, 30 days"),
    Feature("sales_90", +1, "Your sales of the last 90 days are low.", "log of sales, 90 days"),
    Feature("sales_365", +1, "Your sales of the last year are low.", "log of sales, 365 days"),
    Feature(
        "pace",
        +1,
        "Your sales of the last 30 days are below those of the last 90.",
        "sales a day, 30 days against 90",
    ),
    Feature("trend", +1, "Your weekly sales are falling.", "slope of log weekly sales"),
    Feature(
        "season",
        +1,
        "A year ago your sales fell at this time of the year.",
        "sales a year ago, next 90 days against last 90",
    ),
    Feature(
        "variation", -1, "Your weekly sales go up and down a lot.", "variation of weekly sales"
    ),
    Feature("idle_weeks", -1, "You had weeks without a sale.", "weeks without a sale, of 13"),
    Feature("orders", +1, "You had few orders in the last 90 days.", "log of orders, 90 days"),
    Feature(
        "repeat_buyers", +1, "Few of your buyers come back.", "share of buyers who bought again"
    ),
    Feature(
        "top_buyer", -1, "Much of your sales depends on one buyer.", "share of the largest buyer"
    ),
    Feature("cancellations", -1, "Many of your orders were canceled.", "share of orders canceled"),
    Feature("returns", -1, "Many of your orders were sent back.", "share of orders returned"),
    Feature("disputes", -1, "Many of your orders were disputed.", "share of orders disputed"),
    Feature(
        "late_shipping",
        -1,
        "Many of your orders were shipped late.",
        "share of orders shipped late",
    ),
    Feature("review", +1, "Your reviews are below other sellers'.", "mean review, shrunk"),
    Feature("tenure", +1, "You have sold here for a short time.", "log of days since first sale"),
    Feature(
        "windows_met",
        +1,
        "Payments of an earlier line came late, or there was no earlier line.",
        "share of due dates met",
    ),
    Feature("burden", -1, "You owe much already, for your sales.", "debt against sales, 30 days"),
)
NAMES = tuple(feature.name for feature in FEATURES)
SIGNS = {feature.name: feature.sign for feature in FEATURES}
BY_NAME = {feature.name: feature for feature in FEATURES}

# Beside the features, for limits and eligibility: atomic units a day, counts, seconds.
FACTS = (
    "ads_30",
    "ads_90",
    "ads_season",
    "first_sale",
    "active_months",
    "lost_30",
    "lost_before",
    "orders_180",
)

# What a line's past says; sellers without a line are not in it.
LINE_COLUMNS: dict[str, pl.DataType] = {
    "seller": pl.String(),
    "owed": pl.Int64(),  # atomic units, principal and interest
    "windows_met": pl.Int64(),
    "windows_missed": pl.Int64(),
    "largest_repaid": pl.Int64(),  # the largest amount drawn that was repaid in full
    "good_standing": pl.Boolean(),  # nothing past due, not suspended, frozen or charged off
}


def no_lines() -> pl.DataFrame:
    return pl.DataFrame(schema=LINE_COLUMNS)


def compute_features(
    trade: pl.DataFrame, cutoff: int, lines: pl.DataFrame | None = None
) -> pl.DataFrame:
    """One row a seller that sold anything before the cut-off, by seller.

    Args:
        trade: checked (`check_trade`); what is not known at the cut-off is left out here.
        cutoff: UTC unix seconds; nothing of this moment or later is looked at.
        lines: of the sellers that have or had one, as of the cut-off.

    Returns:
        `seller`, the features (floats, null where unknown), and FACTS.
    """
    known = as_known_at(trade, cutoff).with_columns(
        kept=pl.col("settled_at").is_not_null()
        & pl.col("returned_at").is_null()
        & pl.col("lost_at").is_null()
        & ~pl.col("linked"),
        age=cutoff - pl.col("settled_at"),
        order_age=cutoff - pl.col("purchased_at"),
    )
    sold = known.filter(pl.col("kept"))
    base = known.group_by("seller").agg(first_sale=pl.col("purchased_at").min())
    frame = (
        base.join(_averages(sold), on="seller", how="left")
        .join(_weekly(sold), on="seller", how="left")
        .join(_buyers(sold), on="seller", how="left")
        .join(_rates(known, cutoff), on="seller", how="left")
        .join(_line_figures(lines if lines is not None else no_lines()), on="seller", how="left")
    )
    zero = ("sold_30", "sold_90", "sold_365", "ads_30", "ads_90", "orders_90", "active_months")
    frame = frame.with_columns(
        *(pl.col(name).fill_null(0) for name in zero),
        idle_weeks=pl.col("idle_weeks").fill_null(float(WEEKS)),
    ).with_columns(
        sales_30=_log(pl.col("sold_30") / COIN),
        sales_90=_log(pl.col("sold_90") / COIN),
        sales_365=_log(pl.col("sold_365") / COIN),
        orders=_log(pl.col("orders_90").cast(pl.Float64)),
        pace=_share(pl.col("sold_30") * 3, pl.col("sold_90")),
        season=_share(pl.col("season_next"), pl.col("season_last")),
        tenure=_log((cutoff - pl.col("first_sale")) / DAY),
        # Of a seller who has nothing to pay with, a month's debt counts as against one coin of it.
        burden=pl.col("owed").fill_null(0) / pl.max_horizontal(pl.col("sold_90") / 3, COIN),
        ads_season=pl.when(pl.col("season_last") > 0).then(
            # Floats are exact enough for an average that only ever lowers a limit.
            (pl.col("ads_90") * (pl.col("season_next") / pl.col("season_last")))
            .floor()
            .cast(pl.Int64)
        ),
    )
    facts = [pl.col(name).cast(pl.Int64) for name in FACTS]
    # As many digits as are kept with a decision: who has them can score again, and gets the same.
    figures = [pl.col(name).cast(pl.Float64).round(DIGITS) for name in NAMES]
    return frame.select("seller", *figures, *facts).sort("seller")


def _averages(sold: pl.DataFrame) -> pl.DataFrame:
    """Sales by window, and the averages a limit is sized by: any one buyer counts for 30 % of a
    window at most."""

    def within(first: int, last: int) -> pl.Expr:
        """Settled in the days `last` to `first` before the cut-off."""
        return pl.col("age").is_between(first * DAY, last * DAY, closed="right")

    windows = {
        "sold_30": within(0, 30),
        "sold_90": within(0, 90),
        "sold_365": within(0, 365),
        # The 90 days before this day a year ago, and the 90 after.
        "season_last": within(365, 455),
        "season_next": within(275, 365),
    }
    by_buyer = sold.group_by("seller", "buyer").agg(
        **{name: pl.col("net").filter(window).sum() for name, window in windows.items()}
    )

    def capped(name: str, days: int) -> pl.Expr:
        most = pl.col(name).sum() * MOST_OF_A_BUYER // 100
        return (pl.min_horizontal(pl.col(name), most).sum() // days).alias(f"ads_{days}")

    sums = by_buyer.group_by("seller").agg(
        *(pl.col(name).sum() for name in windows),
        capped("sold_30", 30),
        capped("sold_90", 90),
    )
    months = (
        sold.filter(pl.col("age") <= 90 * DAY)
        .group_by("seller")
        .agg(
            active_months=((pl.col("age") - 1) // (30 * DAY)).n_unique(),
        )
    )
    first = sold.group_by("seller").agg(oldest=pl.col("age").max())
    return (
        sums.join(months, on="seller", how="left")
        .join(first, on="seller", how="left")
        .with_columns(
            # Only who sold all through that half year has a season to speak of.
            season_last=pl.when(pl.col("oldest") >= 455 * DAY).then(pl.col("season_last")),
        )
        .drop("oldest")
    )


def _weekly(sold: pl.DataFrame) -> pl.DataFrame:
    """Trend, variation and idle weeks of the last thirteen."""
    weeks = (
        sold.filter(pl.col("age") <= WEEKS * WEEK)
        # The oldest week is 0; a moment before the cut-off is in week 12.
        .with_columns(week=WEEKS - 1 - (pl.col("age") - 1) // WEEK)
        .group_by("seller", "week")
        .agg(coins=pl.col("net").sum() / COIN)
        .sort("seller", "week")  # sums of floats come out the same however rows were ordered
    )
    centre = (WEEKS - 1) / 2
    spread = sum((week - centre) ** 2 for week in range(WEEKS))
    mean = pl.col("coins").sum() / WEEKS
    squares = (pl.col("coins") ** 2).sum() / WEEKS
    return weeks.group_by("seller", maintain_order=True).agg(
        # Least squares of log(1 + sales) on the week; weeks without sales are log 1 = 0.
        trend=((pl.col("week") - centre) * pl.col("coins").log1p()).sum() / spread,
        variation=(squares - mean**2).clip(0).sqrt() / mean,
        idle_weeks=(WEEKS - pl.len()).cast(pl.Float64),
    )


def _buyers(sold: pl.DataFrame) -> pl.DataFrame:
    year = sold.filter(pl.col("age") <= YEAR)
    by_buyer = year.group_by("seller", "buyer").agg(
        bought=pl.col("net").sum(), times=pl.col("order_id").n_unique()
    )
    return by_buyer.group_by("seller").agg(
        repeat_buyers=(pl.col("times") > 1).sum() / pl.len(),
        top_buyer=_share(pl.col("bought").max(), pl.col("bought").sum()),
    )


def _rates(known: pl.DataFrame, cutoff: int) -> pl.DataFrame:
    recent = pl.col("order_age") <= RATE_DAYS * DAY
    counted = recent.sum()
    # Late: shipped after the promise, or not shipped though the promise is past.
    promised = recent & pl.col("ship_by").is_not_null() & pl.col("canceled_at").is_null()
    due = promised & (pl.col("shipped_at").is_not_null() | (pl.col("ship_by") < cutoff))
    late = due & (pl.col("shipped_at").fill_null(cutoff) > pl.col("ship_by"))

    def rate(column: str) -> pl.Expr:
        return _share((recent & pl.col(column).is_not_null()).sum(), counted)

    # Sums of whole stars: exact, whatever the order of the rows.
    stars, reviews = pl.col("review").sum(), pl.col("review").count()
    lost_30 = pl.col("lost_at") >= cutoff - 30 * DAY
    return known.group_by("seller").agg(
        cancellations=rate("canceled_at"),
        returns=rate("returned_at"),
        disputes=rate("disputed_at"),
        late_shipping=_share(late.sum(), due.sum()),
        review=pl.when(reviews > 0).then(
            (REVIEW_MEAN * REVIEW_WEIGHT + stars) / (REVIEW_WEIGHT + reviews)
        ),
        orders_90=(pl.col("order_age") <= 90 * DAY).sum(),
        orders_180=counted,
        lost_30=lost_30.sum(),
        lost_before=(
            pl.col("lost_at").is_between(cutoff - RATE_DAYS * DAY, cutoff - 30 * DAY, closed="left")
        ).sum(),
    )


def _line_figures(lines: pl.DataFrame) -> pl.DataFrame:
    closed = pl.col("windows_met") + pl.col("windows_missed")
    return lines.select("seller", "owed", windows_met=_share(pl.col("windows_met"), closed))


def _share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """Null where there is nothing to have a share of."""
    return pl.when(whole > 0).then(part / whole)


def _log(value: pl.Expr) -> pl.Expr:
    return value.log1p()
