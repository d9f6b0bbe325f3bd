"""What models are trained on: figures of sellers, and whether each repaid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]  # floats, NaN where unknown; or texts, None where unknown


@dataclass(frozen=True, slots=True)
class Examples:
    """Columns of equal length, and the outcome of each row.

    Attributes:
        bad: 1 where it was not repaid, 0 where it was.
        signs: +1 for a column of which more means less risk, -1 for more risk, 0 or left out where
            nothing is expected, and for categories.
        groups: which rows are of one seller; None where each is its own.
        times: UTC seconds at which each row was looked at; None where there is no order in time.

    Raises:
        ValueError: columns of other lengths, infinite figures, an outcome other than 0 and 1.
    """

    columns: Mapping[str, Column]
    bad: NDArray[np.int8]
    signs: Mapping[str, int] = field(default_factory=dict)
    groups: NDArray[Any] | None = None
    times: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError("examples have at least one column")
        if not np.isin(self.bad, (0, 1)).all():
            raise ValueError("an outcome is 0 (repaid) or 1 (not repaid)")
        for name, column in self.columns.items():
            check_column(name, column)
            _same_length(name, column, self.bad)
        for name, other in (("groups", self.groups), ("times", self.times)):
            if other is not None:
                _same_length(name, other, self.bad)
        for name, sign in self.signs.items():
            if sign not in (-1, 0, 1):
                raise ValueError(f"the sign of {name} is -1, 0 or 1, not {sign}")

    def __len__(self) -> int:
        return len(self.bad)

    def take(self, rows: NDArray[np.int64]) -> Examples:
        """The examples of these rows, in this order."""
        return Examples(
            {name: column[rows] for name, column in self.columns.items()},
            self.bad[rows],
            self.signs,
            None if self.groups is None else self.groups[rows],
            None if self.times is None else self.times[rows],
        )


def check_column(name: str, column: Column) -> None:
    """Raises:
    ValueError: neither floats nor texts, or an infinite figure.
    """
    if is_categorical(column):
        return
    if column.dtype.kind != "f":
        raise ValueError(f"the column {name} is of {column.dtype}, not of floats or texts")
    if np.isinf(column).any():
        raise ValueError(f"the column {name} has an infinite figure")


def is_categorical(column: Column) -> bool:
    return bool(column.dtype == object)


def _same_length(name: str, column: Column, bad: NDArray[np.int8]) -> None:
    if len(column) != len(bad):
        raise ValueError(f"{name} has {len(column)} rows, and there are {len(bad)} outcomes")
