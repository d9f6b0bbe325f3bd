"""Whether a model still sees the sellers it was trained on, and how it treats groups of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from node.credit.evaluation import stability
from node.credit.features import NAMES
from node.credit.model import Model
from node.credit.scorer import points

Floats = NDArray[np.float64]

FINE, STOP = 0.10, 0.25  # of the population stability index
LEAST_SELLERS = 50  # below them an index says more of chance than of drift
_PARTS = 10


class NoReference(Exception):
    """A model that does not say what its sellers were like; the message is for people."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far today's sellers are from those the model knows.

    Attributes:
        score: population stability index of the score; None with too few sellers to tell.
        features: of each feature, likewise.
        verdict: "fine", "watch" (above 0.10), "stop" (above 0.25), or "unknown".
    """

    sellers: int
    score: float | None
    features: dict[str, float]
    verdict: str

    @property
    def stops(self) -> bool:
        """Nothing is offered without a person's approval. Drift of single features is only shown:
        what matters of it shows in the score."""
        return self.verdict == "stop"

    @property
    def words(self) -> str:
        if self.score is None:
            return (
                f"unknown: {self.sellers} sellers are too few to tell ({LEAST_SELLERS} are enough)"
            )
        return f"{self.verdict}: the score's population stability index is {self.score:.3f}"


def reference_of(model: Model, columns: Mapping[str, Floats]) -> dict[str, Any]:
    """What the sellers of a training were like, to be kept with the model."""
    values = {"": points(model, columns), **{name: columns[name] for name in NAMES}}
    return {
        "sellers": len(values[""]),
        "parts": {name: _parts(column) for name, column in values.items()},
    }


def measure_drift(model: Model, columns: Mapping[str, Floats]) -> Drift:
    """Compare sellers with those of the training.

    Raises:
        NoReference: the model's card does not say what they were like.
    """
    reference = model.card.get("reference")
    if not isinstance(reference, dict) or "parts" not in reference:
        raise NoReference(
            f"the model {model.version} does not say what its sellers were like: drift is unknown"
        )
    score = points(model, columns)
    sellers = len(score)
    if sellers < LEAST_SELLERS:
        return Drift(sellers, None, {}, "unknown")
    parts = reference["parts"]
    index = _stability(parts[""], score)
    features = {name: _stability(parts[name], columns[name]) for name in NAMES if name in parts}
    verdict = "fine" if index < FINE else "watch" if index <= STOP else "stop"
    return Drift(sellers, index, features, verdict)


def _parts(values: Floats) -> dict[str, Any]:
    """Edges that part the known values into tenths, and the share in each part; then the share
    that is unknown."""
    known = values[~np.isnan(values)]
    edges: list[float] = []
    if len(known):
        edges = np.unique(np.quantile(known, np.arange(1, _PARTS) / _PARTS)).tolist()
    return {"edges": edges, "shares": [float(share) for share in _shares(values, edges)]}


def _shares(values: Floats, edges: Sequence[float]) -> Floats:
    known = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    return np.append(counts, len(values) - len(known)) / max(len(values), 1)


def _stability(part: Mapping[str, Any], values: Floats) -> float:
    return stability(np.array(part["shares"]), _shares(values, part["edges"]))


# ----------------------------------------------------------------------------------- groups


def compare_groups(frame: pl.DataFrame, by: str) -> list[dict[str, Any]]:
    """How the desk treats groups of sellers, and whether it is right about each.

    Args:
        frame: one row a judged seller: `by`, `offered`, `pd`, and `bad` (null where unknown).

    Returns:
        Of each group its size, mean probability, share offered a line and that share against the
        best-treated group's, and the share that did not repay a standard advance.
    """
    groups = (
        frame.with_columns(pl.col(by).fill_null("unknown"))
        .group_by(by)
        .agg(
            sellers=pl.len(),
            mean_pd=pl.col("pd").mean(),
            offered=pl.col("offered").mean(),
            bad=pl.col("bad").mean(),
        )
        .sort(by)
    )
    best = groups["offered"].max()
    return [
        {
            "group": row[by],
            "judged": row["sellers"],
            "mean_pd": row["mean_pd"],
            "offered": row["offered"],
            "offered_against_best": row["offered"] / best if best else None,
            "not_repaid": row["bad"],
        }
        for row in groups.iter_rows(named=True)
    ]


def thirds(values: pl.Series, names: tuple[str, str, str]) -> pl.Series:
    """The third each value is in, by rank."""
    share = (values.rank("ordinal") - 1) * 3 // max(len(values), 1)
    return share.cast(pl.Int64).replace_strict(
        {0: names[0], 1: names[1], 2: names[2]}, return_dtype=pl.String
    )
