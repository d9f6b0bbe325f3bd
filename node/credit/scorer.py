"""What a model says of sellers: a probability, points, and what cost each of them points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.credit.examples import Column, check_column, is_categorical
from node.credit.model import Bins, Model

Floats = NDArray[np.float64]

# 600 points stand for one default in 31 (odds of 30 to 1); 20 points more double the odds.
POINTS, ODDS, DOUBLING = 600.0, 30.0, 20.0
FACTOR = DOUBLING / math.log(2)
OFFSET = POINTS - FACTOR * math.log(ODDS)
NOTICEABLE = 1.0  # points; a reason that cost less is none


def default_probability(model: Model, columns: Mapping[str, Column]) -> Floats:
    """The calibrated probability of a default, of each row.

    Raises:
        ValueError: a feature is missing, of another type, of another length, or infinite.
    """
    return 1.0 / (1.0 + np.exp(-log_odds(model, columns)))


def points(model: Model, columns: Mapping[str, Column]) -> Floats:
    """The same on the scale of points: more is better. Raises ValueError as above."""
    return OFFSET - FACTOR * log_odds(model, columns)


def contributions(model: Model, columns: Mapping[str, Column]) -> Floats:
    """Points lost by each row (rows) to each feature (columns), against the average of the
    training. Raises ValueError as above."""
    parts = _parts(model, columns)[:, :-1]
    lost: Floats = FACTOR * model.calibration[1] * (parts - np.array(model.means))
    return lost


def top_reasons(lost: Floats, features: Sequence[str], most: int = 4) -> list[str]:
    """The features that cost most, the heaviest first, without those that cost next to nothing."""
    order = np.argsort(-lost, kind="stable")[:most]
    return [features[index] for index in order.tolist() if lost[index] >= NOTICEABLE]


def log_odds(model: Model, columns: Mapping[str, Column]) -> Floats:
    """Calibrated log-odds of a default. Raises ValueError as above."""
    raw = _parts(model, columns).sum(axis=1)
    intercept, slope = model.calibration
    calibrated: Floats = np.clip(intercept + slope * raw, -20.0, 20.0)
    return calibrated


def raw_parts(model: Model, columns: Mapping[str, Column]) -> Floats:
    """What each feature adds to the log-odds before calibration; the last column is the constant.
    Raises ValueError as above."""
    return _parts(model, columns)


def weight_of_evidence(bins: Bins, column: Column) -> Floats:
    """Of each row."""
    if bins.categories:
        known = {
            text: woe
            for texts, woe in zip(bins.categories, bins.woe, strict=True)
            for text in texts
        }
        return np.array([known.get(text, bins.unknown) for text in column], dtype=np.float64)
    part = np.searchsorted(bins.edges, column, side="right")
    return np.where(
        np.isnan(column), bins.unknown, np.array(bins.woe)[np.minimum(part, len(bins.woe) - 1)]
    )


def ordered(column: Column, order: Sequence[str]) -> Floats:
    """The place of each text in an order of risk; NaN for one never seen."""
    place = {text: float(index) for index, text in enumerate(order)}
    return np.array([place.get(text, math.nan) for text in column], dtype=np.float64)


def _parts(model: Model, columns: Mapping[str, Column]) -> Floats:
    checked = _checked(model, columns)
    if model.kind == "scorecard":
        parts = [
            weight * weight_of_evidence(model.bins[name], checked[name])
            for name, weight in zip(model.features, model.weights, strict=True)
        ]
        rows = len(parts[0])
        return np.column_stack([*parts, np.full(rows, model.intercept)])
    matrix = np.column_stack(
        [
            ordered(checked[name], model.orders[name]) if name in model.orders else checked[name]
            for name in model.features
        ]
    )
    if not len(matrix):
        return np.zeros((0, len(model.features) + 1))
    parts_of_trees: Floats = np.asarray(_booster(model.trees).predict(matrix, pred_contrib=True))
    return parts_of_trees


@lru_cache(maxsize=4)
def _booster(trees: str) -> Any:
    # A scorecard needs no such library.
    import lightgbm  # noqa: PLC0415

    return lightgbm.Booster(model_str=trees)


def _checked(model: Model, columns: Mapping[str, Column]) -> dict[str, Column]:
    missing = [name for name in model.features if name not in columns]
    if missing:
        raise ValueError(f"the model {model.version} needs {', '.join(missing)}")
    lengths = {len(columns[name]) for name in model.features}
    if len(lengths) != 1:
        raise ValueError("the columns have different lengths")
    for name in model.features:
        column = columns[name]
        check_column(name, column)
        texts = name in model.orders or bool(name in model.bins and model.bins[name].categories)
        if is_categorical(column) != texts:
            wanted, found = ("texts", "figures") if texts else ("figures", "texts")
            raise ValueError(f"{name} has {found}, and the model {model.version} needs {wanted}")
    return {name: columns[name] for name in model.features}
