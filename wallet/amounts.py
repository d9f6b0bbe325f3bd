"""Amounts: decimal text at the edges, `int` atomic units (10^-6 coin) everywhere else."""

from __future__ import annotations

import re

from wallet.errors import InvalidInput

DECIMALS = 6
UNITS_PER_COIN = 10**DECIMALS
MAX_UNITS = 2**128 - 1  # a balance is a uint128

_PLAIN_DECIMAL = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)


class Coin(int):
    """An amount in atomic units, written as people write it: `Coin("12.50") == 12_500_000`.

    Raises:
        InvalidInput: the text is not a plain decimal number of at most 6 decimals. Commas, signs,
            exponents, hexadecimal and spaces are refused rather than guessed at.
    """

    def __new__(cls, text: str) -> Coin:
        if not isinstance(text, str):
            raise TypeError(f"an amount is decimal text, not {type(text).__name__}")
        match = _PLAIN_DECIMAL.fullmatch(text)
        if match is None:
            raise InvalidInput(
                f"{text!r} is not an amount: write digits with a point for decimals, as in 12.50"
            )
        whole, decimals = match[1], match[2] or ""
        if len(decimals) > DECIMALS:
            raise InvalidInput(f"{text!r} has {len(decimals)} decimals: the coin has {DECIMALS}")
        # A limit on length first: int() of a million digits is slow.
        too_long = len(whole) > len(str(MAX_UNITS))
        units = MAX_UNITS + 1 if too_long else int(whole + decimals.ljust(DECIMALS, "0"))
        if units > MAX_UNITS:
            raise InvalidInput(f"{text[:60]!r} is more than there can be of the coin")
        return super().__new__(cls, units)


def format_units(units: int) -> str:
    """Write atomic units as coin, with two to six decimals: 12_500_000 -> "12.50"."""
    sign = "-" if units < 0 else ""
    whole, rest = divmod(abs(units), UNITS_PER_COIN)
    decimals = f"{rest:0{DECIMALS}d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"
