"""One difference between chain and database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Drift:
    """One difference.

    Attributes:
        subject: "supply", "escrow", "credit", "pool", or the address, order hash or purchase id
            concerned.
        what: the quantity, such as "balance" or "held".
        actual: what the chain says.
        expected: what the database says.
    """

    subject: str
    what: str
    actual: int | str | bool
    expected: int | str | bool
