"""Would these advances have been repaid? The desk, walked month by month over trade that happened.

There are no loans in a marketplace's export, so the question asked of it is one it can answer: had
this seller been given this advance on this day, would the holdback of the sales that really
followed have repaid it within the horizon?

Two things are measured, on the same walk:
- *The score*: of every eligible seller of every month, against whether a standard advance (half of
  what its holdback would repay in the horizon at present sales) would have been repaid.
- *The desk*: offers by the policy, one advance at a time for each seller, repaid by the sales that
  followed through the contracts' own arithmetic.

Each month's scores come from models trained on months whose outcome was known by then, and on
other sellers: out of time and out of seller. Between the last training month and the month scored
lies the whole horizon (the purge gap), as an outcome takes that long to be known.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from node.credit.assessment import columns_of, seller_of
from node.credit.examples import Examples
from node.credit.features import DAY, SIGNS, compute_features
from node.credit.model import Model
from node.credit.policy import BPS, Offered, Policy, Seller, decide, why_not_eligible
from node.credit.repayment import Repayment, Terms, repay
from node.credit.scorer import default_probability
from node.credit.training import TrainingError, calibrate, train_boosted, train_scorecard

Sales = Mapping[str, tuple[list[int], list[int]]]  # of a seller: times and net amounts, by time
Progress = Callable[[int, int, str], None]  # done, of how many, what
Floats = NDArray[np.float64]

KINDS = ("champion", "challenger")  # the scorecard and the boosted trees
YEAR = 365 * DAY


class BacktestError(Exception):
    """The trade does not allow a backtest; the message is for people."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How the walk is done.

    Attributes:
        folds: into which sellers are split; each is scored by models of the others.
        held_out: the part of the training examples, the latest, that calibrates.
        retrain_months: models serve so long before they are trained anew.
        least_bad: training examples that were not repaid, without which a month is not scored.
        shock_bps: of sales, what remains in the stressed run.
        standard_bps: of what the holdback would repay in the horizon, the standard advance.
    """

    folds: int = 3
    held_out: float = 0.25
    retrain_months: int = 2
    least_bad: int = 30
    shock_bps: int = 6_000
    standard_bps: int = 5_000
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Cases:
    """Every eligible seller of every month, with what became of its standard advance.

    Attributes:
        frame: `seller`, `cutoff`, the features, and what the rules look at.
        bad: 1 where the advance was not repaid within the horizon, 0 where it was, -1 where the
            data ends before that is known.
    """

    frame: pl.DataFrame
    bad: NDArray[np.int8]

    def known_by(self, time: int, policy: Policy) -> NDArray[np.bool_]:
        known = self.frame["cutoff"].to_numpy() + policy.horizon_days * DAY <= time
        return known & (self.bad >= 0)


@dataclass(frozen=True, slots=True)
class Advance:
    """One advance of the walk, and how it went: with the sales that were, and with the shock."""

    seller: str
    cutoff: int
    grade: str
    pd: float
    terms: Terms
    went: Repayment
    shocked: Repayment


@dataclass(slots=True)
class Walk:
    """The outcome of a walk.

    Attributes:
        scored: row of each case that was scored, with its probability by each kind of model and
            the naive score (trailing sales alone, negated: more sales, less risk).
        advances: by kind of model.
        refused: how many decisions ended in each refusal, by kind of model.
        skipped: months that could not be scored, with the reason.
    """

    cases: Cases
    scored: NDArray[np.int64]
    scores: dict[str, Floats]
    advances: dict[str, list[Advance]]
    refused: dict[str, dict[str, int]]
    skipped: dict[str, str] = field(default_factory=dict)


def walk_forward(
    trade: pl.DataFrame,
    until: int,
    policy: Policy,
    setting: Setting,
    progress: Progress | None = None,
) -> Walk:
    """Walk over all months of the trade.

    Args:
        trade: checked.
        until: the last moment of the data.

    Raises:
        BacktestError: the data is too short for a single month to be scored.
    """
    tell = progress or (lambda done, of, what: None)
    cutoffs = month_starts(trade, until)
    cases = collect_cases(trade, cutoffs, until, policy, setting, tell)
    sales = sales_of(trade)
    of_case = cases.frame["cutoff"].to_numpy()
    folds = np.array([fold_of(seller, setting) for seller in cases.frame["seller"]])
    scores: dict[str, Floats] = {kind: np.full(len(of_case), np.nan) for kind in KINDS}
    skipped: dict[str, str] = {}
    models: dict[int, tuple[Model, Model]] = {}
    served = setting.retrain_months
    months = [time for time in cutoffs if time + policy.horizon_days * DAY <= until]
    for number, time in enumerate(months, 1):
        tell(number, len(months), f"scoring {month_of(time)}")
        if served >= setting.retrain_months:
            try:
                models = _train_folds(cases, folds, time, policy, setting)
            except TrainingError as error:
                skipped[month_of(time)] = str(error)
                continue
            served = 0
        served += 1
        for fold, pair in models.items():
            rows = np.flatnonzero((of_case == time) & (folds == fold))
            if len(rows):
                columns = columns_of(cases.frame[rows.tolist()])
                for kind, model in zip(KINDS, pair, strict=True):
                    scores[kind][rows] = default_probability(model, columns)
    scored = np.flatnonzero(~np.isnan(scores["champion"]) & (cases.bad >= 0))
    if not len(scored):
        reasons = "; ".join(f"{month}: {reason}" for month, reason in skipped.items())
        raise BacktestError(
            f"no month of the data can be scored, with a horizon of {policy.horizon_days} days:"
            f" {reasons or 'the data is too short'}"
        )
    scores["naive"] = -cases.frame["ads_90"].to_numpy().astype(np.float64)
    walk = Walk(cases, scored, scores, {}, {}, skipped)
    for kind in KINDS:
        walk.advances[kind], walk.refused[kind] = _lend(
            cases, scored, scores[kind], sales, policy, setting
        )
    return walk


def collect_cases(
    trade: pl.DataFrame,
    cutoffs: Sequence[int],
    until: int,
    policy: Policy,
    setting: Setting,
    progress: Progress | None = None,
) -> Cases:
    """The eligible sellers of every month, and what became of a standard advance to each.

    Raises:
        BacktestError: in no month is anybody eligible.
    """
    sales = sales_of(trade)
    frames: list[pl.DataFrame] = []
    bad: list[int] = []
    for number, cutoff in enumerate(cutoffs, 1):
        if progress is not None:
            progress(number, len(cutoffs), f"features of {month_of(cutoff)}")
        frame = compute_features(trade, cutoff).with_columns(cutoff=pl.lit(cutoff, pl.Int64))
        kept = []
        for row in frame.iter_rows(named=True):
            seller = seller_of(row, cutoff)
            amount = standard_advance(seller, policy, setting)
            eligible = amount > 0 and why_not_eligible(policy, seller) is None
            kept.append(eligible)
            if eligible:
                bad.append(_outcome(row["seller"], amount, cutoff, until, sales, policy))
        frames.append(frame.filter(pl.Series(kept, dtype=pl.Boolean)))
    if not bad:
        raise BacktestError("in no month of the data is any seller eligible")
    return Cases(pl.concat(frames), np.array(bad, dtype=np.int8))


def standard_advance(seller: Seller, policy: Policy, setting: Setting) -> int:
    """Half of what the holdback of the horizon would repay at present sales, in atomic units."""
    repaid = policy.holdback_bps * seller.ads * policy.horizon_days // BPS
    return repaid * setting.standard_bps // BPS


def examples_of(cases: Cases, rows: NDArray[np.int64]) -> Examples:
    frame = cases.frame[rows.tolist()]
    return Examples(
        columns=columns_of(frame),
        bad=cases.bad[rows].astype(np.int8),
        signs=SIGNS,
        groups=frame["seller"].to_numpy(),
        times=frame["cutoff"].to_numpy(),
    )


def sales_of(trade: pl.DataFrame) -> Sales:
    """What was paid out to each seller, and when: all that a holdback is taken of."""
    paid = trade.filter(pl.col("settled_at").is_not_null()).sort("seller", "settled_at", "order_id")
    grouped = paid.group_by("seller", maintain_order=True).agg("settled_at", "net")
    return {seller: (times, nets) for seller, times, nets in grouped.iter_rows()}


def month_starts(trade: pl.DataFrame, until: int) -> list[int]:
    """The first moment of each month in which there is trade before it and time after it."""
    first = trade["purchased_at"].min()
    if first is None:
        raise BacktestError("there is no trade")
    assert isinstance(first, int)
    day = datetime.fromtimestamp(first, UTC)
    year, month = day.year, day.month
    starts: list[int] = []
    while True:
        month += 1
        if month == 13:
            year, month = year + 1, 1
        start = int(datetime(year, month, 1, tzinfo=UTC).timestamp())
        if start > until:
            return starts
        starts.append(start)


def month_of(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m")


def fold_of(seller: str, setting: Setting) -> int:
    """By a hash: a seller is in the same fold in every month, whoever else is there."""
    digest = hashlib.sha256(f"{setting.seed}/{seller}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % setting.folds


def train_pair(examples: Examples, setting: Setting, *, trained_at: int) -> tuple[Model, Model]:
    """Champion and challenger, trained on the earlier part and calibrated on the later.

    Raises:
        TrainingError: too few examples, or too few that were not repaid.
    """
    assert examples.times is not None
    bad = int(examples.bad.sum())
    if bad < setting.least_bad:
        raise TrainingError(
            f"{bad} of {len(examples.bad)} advances known by then were not repaid;"
            f" {setting.least_bad} are needed"
        )
    order = np.argsort(examples.times, kind="stable")
    kept = int(len(order) * (1 - setting.held_out))
    early, late = examples.take(order[:kept]), examples.take(order[kept:])
    version = f"{month_of(trained_at)}.{setting.seed}"
    pair = (
        train_scorecard(early, version=version, seed=setting.seed, trained_at=trained_at),
        train_boosted(early, version=version, seed=setting.seed, trained_at=trained_at),
    )
    return calibrate(pair[0], late), calibrate(pair[1], late)


def _train_folds(
    cases: Cases, folds: NDArray[np.int64], time: int, policy: Policy, setting: Setting
) -> dict[int, tuple[Model, Model]]:
    known = cases.known_by(time, policy)
    return {
        fold: train_pair(
            examples_of(cases, np.flatnonzero(known & (folds != fold))), setting, trained_at=time
        )
        for fold in range(setting.folds)
    }


def _outcome(
    seller: str,
    amount: int,
    cutoff: int,
    until: int,
    sales: Sales,
    policy: Policy,
) -> int:
    end = cutoff + policy.horizon_days * DAY
    if end > until:
        return -1
    apr = policy.grades[len(policy.grades) // 2].apr_bps
    terms = Terms(amount, apr, policy.draw_fee_bps, policy.holdback_bps, policy.term_days)
    went = repay(terms, cutoff, _following(sales, seller, cutoff, end), end)
    return int(went.paid_off_at is None)


def _following(
    sales: Sales, seller: str, after: int, until: int, share_bps: int = BPS
) -> Iterator[tuple[int, int]]:
    times, nets = sales.get(seller, ([], []))
    first, last = bisect_right(times, after), bisect_right(times, until)
    for time, net in zip(times[first:last], nets[first:last], strict=True):
        yield time, net * share_bps // BPS


def _lend(
    cases: Cases,
    scored: NDArray[np.int64],
    scores: Floats,
    sales: Sales,
    policy: Policy,
    setting: Setting,
) -> tuple[list[Advance], dict[str, int]]:
    """Offer by the policy, month by month; every seller takes what it is offered, at once."""
    busy_until: dict[str, int] = {}
    largest: dict[str, int] = {}
    advances: list[Advance] = []
    refused: dict[str, int] = {}
    frame = cases.frame
    for index in scored.tolist():  # by month, as they were collected
        row = frame.row(index, named=True)
        name, cutoff = row["seller"], row["cutoff"]
        if busy_until.get(name, 0) > cutoff:
            refused["owes"] = refused.get("owes", 0) + 1
            continue
        seller = seller_of(row, cutoff)
        if name in largest:
            seller = replace(seller, largest_repaid=largest[name])
        probability = float(scores[index])
        decision = decide(policy, seller, round(probability * BPS), policy.holdback_bps)
        if not isinstance(decision, Offered):
            refused[decision.code] = refused.get(decision.code, 0) + 1
            continue
        end = cutoff + policy.horizon_days * DAY
        went = repay(decision.terms, cutoff, _following(sales, name, cutoff, end), end)
        less = _following(sales, name, cutoff, end, setting.shock_bps)
        shocked = repay(decision.terms, cutoff, less, end)
        advances.append(
            Advance(name, cutoff, decision.grade, probability, decision.terms, went, shocked)
        )
        repaid = went.paid_off_at is not None
        # What the horizon did not repay is a loss here, and the seller is not lent to again.
        busy_until[name] = went.paid_off_at or 2**62
        largest[name] = max(largest.get(name, 0), decision.terms.limit if repaid else 0)
    return advances, refused
