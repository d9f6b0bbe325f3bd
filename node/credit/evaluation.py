"""How good a score is: ranking, calibration, stability, each with what chance alone could do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Outcomes = NDArray[np.int8]
Metric = Callable[[Outcomes, Floats], float]

REPEATS = 1_000
_SMALL = 1e-4  # a share of 0 is taken as this, so that an index stays finite


def auc(bad: Outcomes, score: Floats) -> float:
    """The chance that a bad case scores above a good one, ties counting half (Mann-Whitney).

    NaN where there are none of either.
    """
    positives = int(bad.sum())
    negatives = len(bad) - positives
    if not positives or not negatives:
        return float("nan")
    _, places, counts = np.unique(score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[places]
    total = ranks[bad == 1].sum() - positives * (positives + 1) / 2
    return float(total / (positives * negatives))


def brier(bad: Outcomes, chance: Floats) -> float:
    """Mean squared error of the probabilities (G. Brier, 1950)."""
    return float(np.mean((chance - bad) ** 2))


def bootstrap_interval(
    metric: Metric,
    bad: Outcomes,
    score: Floats,
    *,
    groups: NDArray[Any] | None = None,
    repeats: int = REPEATS,
    seed: int = 1,
) -> tuple[float, float]:
    """95 % interval of a metric, by drawing cases, or whole groups of them, again and again."""
    values = [metric(bad[rows], score[rows]) for rows in _resample(len(bad), groups, repeats, seed)]
    return _interval(values)


def auc_difference(
    bad: Outcomes,
    challenger: Floats,
    champion: Floats,
    *,
    groups: NDArray[Any] | None = None,
    repeats: int = REPEATS,
    seed: int = 1,
) -> tuple[float, float, float]:
    """Challenger's AUC less the champion's, and its 95 % interval on the same draws."""
    values = [
        auc(bad[rows], challenger[rows]) - auc(bad[rows], champion[rows])
        for rows in _resample(len(bad), groups, repeats, seed)
    ]
    low, high = _interval(values)
    return auc(bad, challenger) - auc(bad, champion), low, high


def calibration_table(bad: Outcomes, chance: Floats, parts: int = 10) -> list[dict[str, float]]:
    """Cases by ascending probability in parts of equal size: what was said, and what came."""
    order = np.argsort(chance, kind="stable")
    return [
        {
            "cases": len(rows),
            "predicted": float(chance[rows].mean()),
            "observed": float(bad[rows].mean()),
        }
        for rows in np.array_split(order, parts)
        if len(rows)
    ]


def calibration_error(bad: Outcomes, chance: Floats, parts: int = 10) -> float:
    """Mean distance of what was said from what came, over the parts of `calibration_table`."""
    table = calibration_table(bad, chance, parts)
    total = sum(row["cases"] * abs(row["predicted"] - row["observed"]) for row in table)
    return float(total / max(len(bad), 1))


def stability(expected: Floats, actual: Floats) -> float:
    """Population stability index of two distributions over the same parts, as shares.

    The sum of (actual - expected) x ln(actual / expected), which is Jeffreys' divergence; below
    0.10 nothing has changed, above 0.25 it is another population (N. Siddiqi, 2006).
    """
    if len(expected) != len(actual):
        raise ValueError(f"{len(actual)} shares against {len(expected)} expected ones")
    was, now = np.maximum(expected, _SMALL), np.maximum(actual, _SMALL)
    return float(((now - was) * np.log(now / was)).sum())


def ratio_interval(
    parts: Floats, wholes: Floats, groups: NDArray[Any], repeats: int = REPEATS, seed: int = 1
) -> tuple[float, float]:
    """95 % interval of sum(parts) / sum(wholes), drawing whole groups."""
    names, places = np.unique(groups, return_inverse=True)
    part = np.bincount(places, weights=parts, minlength=len(names))
    whole = np.bincount(places, weights=wholes, minlength=len(names))
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(names), (repeats, len(names)))
    sums = whole[drawn].sum(axis=1)
    values = part[drawn].sum(axis=1) / np.where(sums == 0, np.nan, sums)
    return _interval(values.tolist())


def _resample(
    size: int, groups: NDArray[Any] | None, repeats: int, seed: int
) -> list[NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    if groups is None:
        return [random.integers(0, size, size) for _ in range(repeats)]
    _, places = np.unique(groups, return_inverse=True)
    order = np.argsort(places, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(places))[:-1])
    return [
        np.concatenate([members[index] for index in random.integers(0, len(members), len(members))])
        for _ in range(repeats)
    ]


def _interval(values: list[float]) -> tuple[float, float]:
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)
