"""A trained model as one JSON file that is known by its hash.

The hash goes into offers, and so onto the chain: whoever has the file can tell that it is the very
model a seller was judged by, and judge it again.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import orjson

FORMAT = 1

Kind = Literal["scorecard", "boosted"]


class ModelRefused(Exception):
    """A file that is no model we can use; the message is for people."""


@dataclass(frozen=True, slots=True)
class Bins:
    """How one feature is cut, and the weight of evidence of each part.

    Attributes:
        edges: between the parts of a figure, ascending; a figure on an edge is in the upper part.
        categories: of a feature that is a text, the texts of each part.
        woe: of each part: log of its share of the bad over its share of the good, so more of it
            is more risk.
        unknown: of what is unknown, or a text never seen.
    """

    edges: tuple[float, ...]
    categories: tuple[tuple[str, ...], ...]
    woe: tuple[float, ...]
    unknown: float


@dataclass(frozen=True)
class Model:
    """A model.

    Attributes:
        features: which it looks at, in order.
        weights: of a scorecard, one a feature: of its weight of evidence in the log-odds of bad.
        bins: of a scorecard, by feature.
        trees: of boosted trees, LightGBM's own text.
        orders: of boosted trees, the texts of each feature that is a text, by ascending risk.
        calibration: intercept and slope that turn the model's log-odds into those of a default.
        means: what each feature adds to the log-odds on the average of the training.
        card: what it was trained on, when, how well it did, and what it is not for.
    """

    kind: Kind
    version: str
    features: tuple[str, ...]
    intercept: float
    weights: tuple[float, ...]
    bins: Mapping[str, Bins]
    trees: str
    orders: Mapping[str, tuple[str, ...]]
    calibration: tuple[float, float]
    means: tuple[float, ...]
    card: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": self.kind,
            "version": self.version,
            "features": list(self.features),
            "intercept": self.intercept,
            "weights": list(self.weights),
            "bins": {
                name: {
                    "edges": list(bins.edges),
                    "categories": [list(part) for part in bins.categories],
                    "woe": list(bins.woe),
                    "unknown": bins.unknown,
                }
                for name, bins in self.bins.items()
            },
            "trees": self.trees,
            "orders": {name: list(order) for name, order in self.orders.items()},
            "calibration": list(self.calibration),
            "means": list(self.means),
            "card": dict(self.card),
        }

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the document, keys sorted, without spaces; "0x" and 64 digits."""
        return _hash(self.document())

    def save(self, path: Path) -> None:
        """Write the model and its hash; a crash leaves the old file or the new one."""
        content = {"hash": self.hash, "model": self.document()}
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".new")
        with draft.open("wb") as file:
            file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    @classmethod
    def load(cls, path: Path, expected_hash: str | None = None) -> Model:
        """Read a model.

        Raises:
            ModelRefused: no such file, no model of this format, changed since it was written, or
                another than expected.
        """
        try:
            content = orjson.loads(path.read_bytes())
        except OSError as error:
            raise ModelRefused(f"{path} cannot be read: {error.strerror}") from None
        except orjson.JSONDecodeError as error:
            raise ModelRefused(f"{path} is not JSON: {error}") from None
        if not isinstance(content, dict) or set(content) != {"hash", "model"}:
            raise ModelRefused(f"{path} is no model: it needs `hash` and `model`, nothing else")
        document, said = content["model"], content["hash"]
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            found = document.get("format") if isinstance(document, dict) else document
            raise ModelRefused(f"{path} is of format {found!r}; this version reads format {FORMAT}")
        actual = _hash(document)
        if said != actual:
            raise ModelRefused(f"{path} was changed: it says {said}, and its hash is {actual}")
        if expected_hash is not None and expected_hash != actual:
            raise ModelRefused(f"{path} is another model: {actual}, not {expected_hash}")
        try:
            return _read(document)
        except _Wrong as wrong:
            raise ModelRefused(f"{path} is no model that can be used: {wrong}") from None


def card_in_words(model: Model) -> str:
    """The model's card in Markdown."""
    lines = [f"# Model {model.version}", "", f"- kind: {model.kind}", f"- hash: `{model.hash}`"]
    lines.append(f"- features: {', '.join(model.features)}")
    for name, value in model.card.items():
        if name != "reference":  # the population, for machines
            lines.append(f"- {name.replace('_', ' ')}: {value}")
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------------------- reading


class _Wrong(Exception):
    pass


def _hash(document: Mapping[str, Any]) -> str:
    try:
        content = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as error:
        raise ModelRefused(f"the model cannot be written: {error}") from None
    return "0x" + hashlib.sha256(content).hexdigest()


_FIELDS = {
    "format",
    "kind",
    "version",
    "features",
    "intercept",
    "weights",
    "bins",
    "trees",
    "orders",
    "calibration",
    "means",
    "card",
}


def _read(document: Mapping[str, Any]) -> Model:
    _same("its fields", set(document), _FIELDS)
    kind = document["kind"]
    if kind not in ("scorecard", "boosted"):
        raise _Wrong(f"its kind is {kind!r}, not scorecard or boosted")
    features = _texts("features", document["features"])
    if not features or len(set(features)) != len(features):
        raise _Wrong("its features are none, or one is there twice")
    weights = _numbers("weights", document["weights"])
    means = _numbers("means", document["means"])
    calibration = _numbers("calibration", document["calibration"])
    if len(means) != len(features):
        raise _Wrong(f"it has {len(means)} means for {len(features)} features")
    if len(calibration) != 2 or calibration[1] <= 0:
        raise _Wrong("its calibration is an intercept and a slope above 0")
    bins = {name: _bins(name, part) for name, part in _table("bins", document["bins"]).items()}
    orders = {
        name: _texts(f"orders.{name}", part)
        for name, part in _table("orders", document["orders"]).items()
    }
    if kind == "scorecard":
        _same("the features of its bins", set(bins), set(features))
        if len(weights) != len(features):
            raise _Wrong(f"it has {len(weights)} weights for {len(features)} features")
    if not isinstance(document["trees"], str) or bool(document["trees"]) != (kind == "boosted"):
        raise _Wrong("boosted trees have trees, and a scorecard has none")
    if not isinstance(document["version"], str) or not 1 <= len(document["version"]) <= 120:
        raise _Wrong("its version is a text of 1 to 120 characters")
    return Model(
        kind=kind,
        version=document["version"],
        features=features,
        intercept=_number("intercept", document["intercept"]),
        weights=weights,
        bins=bins,
        trees=document["trees"],
        orders=orders,
        calibration=(calibration[0], calibration[1]),
        means=means,
        card=_table("card", document["card"]),
    )


def _bins(name: str, part: Any) -> Bins:
    table = _table(f"bins.{name}", part)
    _same(
        f"the fields of the bins of {name}", set(table), {"edges", "categories", "woe", "unknown"}
    )
    edges = _numbers(f"bins.{name}.edges", table["edges"])
    if any(low >= high for low, high in pairwise(edges)):
        raise _Wrong(f"the edges of {name} do not ascend: {list(edges)}")
    if not isinstance(table["categories"], list):
        raise _Wrong(f"the categories of {name} are not a list")
    categories = tuple(_texts(f"bins.{name}.categories", texts) for texts in table["categories"])
    woe = _numbers(f"bins.{name}.woe", table["woe"])
    parts = len(categories) if categories else len(edges) + 1
    if (categories and edges) or len(woe) != parts:
        raise _Wrong(f"{name} has {parts} parts and {len(woe)} weights of evidence")
    return Bins(edges, categories, woe, _number(f"bins.{name}.unknown", table["unknown"]))


def _same(what: str, found: set[str], wanted: set[str]) -> None:
    if missing := wanted - found:
        raise _Wrong(f"{what} lack {', '.join(sorted(missing))}")
    if more := found - wanted:
        raise _Wrong(f"{what} have {', '.join(sorted(more))} beside")


def _table(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"{what} is not an object")
    return value


def _texts(what: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise _Wrong(f"{what} is not a list of texts")
    return tuple(value)


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Wrong(f"{what} is not a number: {value!r}")
    return float(value)


def _numbers(what: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise _Wrong(f"{what} is not a list of numbers")
    return tuple(_number(what, part) for part in value)
