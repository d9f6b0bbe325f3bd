"""Training: a scorecard of weights of evidence, and boosted trees to challenge it.

Scorecard: each figure is cut into parts by optbinning, with the risk monotone in it; each part has
its weight of evidence; a logistic regression weighs the figures against each other. N. Siddiqi,
Credit Risk Scorecards (2006), has the method and the scale of points.

Challenger: LightGBM's gradient boosted trees, monotone in each figure.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from optbinning import OptimalBinning
from sklearn.linear_model import LogisticRegression

from node.credit.examples import Column, Examples, is_categorical
from node.credit.model import Bins, Kind, Model
from node.credit.scorer import ordered, raw_parts, weight_of_evidence

Floats = NDArray[np.float64]

LEAST_ROWS, LEAST_BAD = 100, 20
LEAST_VALUE = 0.01  # information value, below which a figure tells nothing
_SMOOTHING = 0.5  # added to the counts of each part, so that none is empty


class TrainingError(Exception):
    """There is too little to learn from; the message is for people."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How a scorecard is made.

    Attributes:
        most_parts: of one figure.
        least_share: of the rows that each part has at least.
        strength: of the regression's penalty, inverse (sklearn's C).
    """

    most_parts: int = 8
    least_share: float = 0.05
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Growth:
    """How trees are grown; LightGBM's parameters of the same meaning."""

    rounds: int = 250
    learning_rate: float = 0.03
    leaves: int = 8
    least_rows: int = 20
    columns: float = 0.5
    rows: float = 0.8
    penalty: float = 5.0
    seeds: int = 1


def train_scorecard(
    examples: Examples, *, version: str, seed: int, trained_at: int, cut: Cut | None = None
) -> Model:
    """Train a scorecard; calibrate it afterwards on other examples.

    Args:
        trained_at: UTC seconds, for its card.

    Raises:
        TrainingError: too few examples, too few of an outcome, or no figure tells anything.
    """
    _enough(examples)
    cut = cut or Cut()
    bins = {name: _bins(name, column, examples, cut) for name, column in examples.columns.items()}
    names = [
        name
        for name in bins
        if _information(bins[name], examples.columns[name], examples.bad) >= LEAST_VALUE
    ]
    while True:
        if not names:
            raise TrainingError("no figure tells bad from good")
        matrix = np.column_stack(
            [weight_of_evidence(bins[name], examples.columns[name]) for name in names]
        )
        regression = LogisticRegression(C=cut.strength, max_iter=1_000, random_state=seed)
        regression.fit(matrix, examples.bad)
        weights = regression.coef_[0]
        # By the weights of evidence more is more risk: a weight below 0 says that a figure only
        # mends another's, in a way nobody could explain to a seller.
        wrong = int(np.argmin(weights))
        if weights[wrong] > 0:
            break
        del names[wrong]
    return Model(
        kind="scorecard",
        version=version,
        features=tuple(names),
        intercept=float(regression.intercept_[0]),
        weights=tuple(float(weight) for weight in weights),
        bins={name: bins[name] for name in names},
        trees="",
        orders={},
        calibration=(0.0, 1.0),
        means=tuple(float(mean) for mean in (matrix * weights).mean(axis=0)),
        card=_card("scorecard", examples, seed, trained_at),
    )


def train_boosted(
    examples: Examples, *, version: str, seed: int, trained_at: int, growth: Growth | None = None
) -> Model:
    """Train boosted trees; calibrate them afterwards on other examples.

    Raises:
        TrainingError: too few examples, or too few of an outcome.
    """
    _enough(examples)
    growth = growth or Growth()
    orders = {
        name: order_by_risk(column, examples.bad)
        for name, column in examples.columns.items()
        if is_categorical(column)
    }
    names = list(examples.columns)
    matrix = np.column_stack(
        [
            ordered(examples.columns[name], orders[name])
            if name in orders
            else examples.columns[name]
            for name in names
        ]
    )
    # LightGBM's sign is of the risk: +1 where it rises with the figure.
    constraints = [1 if name in orders else -examples.signs.get(name, 0) for name in names]
    parameters: dict[str, Any] = {
        "objective": "binary",
        "learning_rate": growth.learning_rate,
        "num_leaves": growth.leaves,
        "min_data_in_leaf": min(growth.least_rows, max(len(examples) // 20, 1)),
        "feature_fraction": growth.columns,
        "bagging_fraction": growth.rows,
        "bagging_freq": 1,
        "lambda_l2": growth.penalty,
        "monotone_constraints": constraints,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 2,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(matrix, label=examples.bad, feature_name=names, free_raw_data=False)
    booster = lightgbm.train(parameters, data, num_boost_round=growth.rounds)
    model = Model(
        kind="boosted",
        version=version,
        features=tuple(names),
        intercept=0.0,
        weights=(),
        bins={},
        trees=booster.model_to_string(),
        orders=orders,
        calibration=(0.0, 1.0),
        means=(0.0,) * len(names),
        card=_card("boosted", examples, seed, trained_at),
    )
    means = raw_parts(model, examples.columns)[:, :-1].mean(axis=0)
    return replace(model, means=tuple(float(mean) for mean in means))


def calibrate(model: Model, examples: Examples) -> Model:
    """Fit the model's log-odds to the outcomes of examples it was not trained on (J. Platt, 1999).

    With few bad among them only the level is fitted, and the slope left at 1.

    Raises:
        TrainingError: all of one outcome.
    """
    bad = int(examples.bad.sum())
    if bad in (0, len(examples)):
        raise TrainingError(
            f"{bad} of the {len(examples)} examples to calibrate by are bad: there is no level"
        )
    raw = raw_parts(model, examples.columns).sum(axis=1)
    few = bad < LEAST_BAD or len(examples) - bad < LEAST_BAD
    intercept, slope = _platt(raw, examples.bad, fit_slope=not few)
    if slope <= 0:  # the ranking is upside down here: believe the level alone
        intercept, slope = _platt(raw, examples.bad, fit_slope=False)
    return replace(model, calibration=(intercept, slope))


def order_by_risk(texts: Column, bad: NDArray[np.int8]) -> tuple[str, ...]:
    """The texts of a column by ascending share of bad, rare ones drawn towards the mean."""
    mean = float(bad.mean())
    weight = 10.0
    shares = {}
    for text in sorted({text for text in texts if text is not None}):
        rows = texts == text
        shares[text] = (float(bad[rows].sum()) + weight * mean) / (int(rows.sum()) + weight)
    return tuple(sorted(shares, key=lambda text: (shares[text], text)))


def _enough(examples: Examples) -> None:
    bad = int(examples.bad.sum())
    good = len(examples) - bad
    if len(examples) < LEAST_ROWS or min(bad, good) < LEAST_BAD:
        raise TrainingError(
            f"{len(examples)} examples, {bad} of them bad, are too few: {LEAST_ROWS} are needed,"
            f" with {LEAST_BAD} of each outcome"
        )


def _bins(name: str, column: Column, examples: Examples, cut: Cut) -> Bins:
    texts = is_categorical(column)
    known = np.array([text is not None for text in column]) if texts else ~np.isnan(column)
    trend = {1: "descending", -1: "ascending"}.get(examples.signs.get(name, 0), "auto")
    edges: tuple[float, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    if _varies(column[known], examples.bad[known]):
        binning = OptimalBinning(
            name=name,
            dtype="categorical" if texts else "numerical",
            max_n_bins=cut.most_parts,
            min_bin_size=cut.least_share,
            monotonic_trend=None if texts else trend,
            solver="cp",
            time_limit=10,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            binning.fit(column[known].astype(str) if texts else column[known], examples.bad[known])
        if texts:
            categories = tuple(tuple(sorted(str(text) for text in part)) for part in binning.splits)
        else:
            edges = tuple(float(edge) for edge in binning.splits)
    if texts and not categories:
        categories = (tuple(sorted({text for text in column if text is not None})),)
    parts = len(categories) if texts else len(edges) + 1
    draft = Bins(edges, categories, tuple(float(part) for part in range(parts)), -1.0)
    part = weight_of_evidence(draft, column).astype(int)
    woe = [_evidence(part == number, examples.bad) for number in range(parts)]
    unknown = _evidence(part == -1, examples.bad)
    return Bins(edges, categories, tuple(woe), unknown)


def _varies(column: Column, bad: NDArray[np.int8]) -> bool:
    return len(column) >= 2 and len(set(column.tolist())) > 1 and 0 < bad.sum() < len(bad)


def _evidence(rows: NDArray[np.bool_], bad: NDArray[np.int8]) -> float:
    """Nothing is known of a part with no rows: it is as the average."""
    if not rows.any():
        return 0.0
    all_bad, all_good = bad.sum(), len(bad) - bad.sum()
    these = bad[rows].sum()
    # A part's share of its own size is added to both sides: small parts stay near the average.
    share = all_bad / len(bad)
    in_bad = (these + 2 * _SMOOTHING * share) / all_bad
    in_good = (rows.sum() - these + 2 * _SMOOTHING * (1 - share)) / all_good
    return float(math.log(in_bad / in_good))


def _information(bins: Bins, column: Column, bad: NDArray[np.int8]) -> float:
    """Information value: the sum over parts of (share of bad - share of good) x evidence."""
    evidence = weight_of_evidence(bins, column)
    value = 0.0
    for level in np.unique(evidence):
        rows = evidence == level
        in_bad = bad[rows].sum() / bad.sum()
        in_good = (rows.sum() - bad[rows].sum()) / (len(bad) - bad.sum())
        value += (in_bad - in_good) * level
    return float(value)


def _platt(raw: Floats, bad: NDArray[np.int8], *, fit_slope: bool) -> tuple[float, float]:
    """Newton's method on the log-likelihood, with a slight pull of the slope towards 1."""
    intercept, slope = 0.0, 1.0
    pull = 1.0
    for _ in range(100):
        chance = 1.0 / (1.0 + np.exp(-np.clip(intercept + slope * raw, -30, 30)))
        weight = np.maximum(chance * (1 - chance), 1e-9)
        error = chance - bad
        if not fit_slope:
            step = error.sum() / weight.sum()
            intercept -= step
            if abs(step) < 1e-10:
                break
            continue
        gradient = np.array([error.sum(), (error * raw).sum() + pull * (slope - 1)])
        cross = (weight * raw).sum()
        hessian = np.array([[weight.sum(), cross], [cross, (weight * raw**2).sum() + pull]])
        change = np.linalg.solve(hessian, gradient)
        # Far from the optimum a whole step may overshoot.
        change *= min(1.0, 5.0 / max(float(np.abs(change).max()), 1e-12))
        intercept -= float(change[0])
        slope -= float(change[1])
        if float(np.abs(change).max()) < 1e-10:
            break
    return float(intercept), float(slope)


def _card(kind: Kind, examples: Examples, seed: int, trained_at: int) -> Mapping[str, Any]:
    card: dict[str, Any] = {
        "trained_at": datetime.fromtimestamp(trained_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "method": {
            "scorecard": "weights of evidence (optbinning) and logistic regression",
            "boosted": "monotone gradient boosted trees (LightGBM)",
        }[kind],
        "examples": len(examples),
        "bad": int(examples.bad.sum()),
        "seed": seed,
    }
    if examples.groups is not None:
        card["sellers"] = len(set(examples.groups.tolist()))
    return card
