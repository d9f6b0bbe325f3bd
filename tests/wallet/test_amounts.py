"""Amounts: what is accepted, what is refused, and that nothing is lost in between."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet import Coin, format_units
from wallet.amounts import MAX_UNITS
from wallet.errors import InvalidInput

units = st.integers(0, MAX_UNITS)


@given(units)
def test_what_is_written_reads_back_to_the_unit(amount: int) -> None:
    assert Coin(format_units(amount)) == amount


@given(units)
def test_what_is_written_is_the_decimal_number(amount: int) -> None:
    assert Fraction(format_units(amount)) * 10**6 == amount


@given(st.integers(0, 10**9), st.text("0123456789", min_size=1, max_size=6))
def test_decimals_count_from_the_point(whole: int, decimals: str) -> None:
    assert Coin(f"{whole}.{decimals}") == Fraction(f"{whole}.{decimals}") * 10**6


@given(st.text())
def test_any_text_is_either_the_number_it_says_or_refused(text: str) -> None:
    try:
        amount = Coin(text)
    except InvalidInput:
        return
    assert Fraction(text) * 10**6 == amount


@pytest.mark.parametrize(
    "text",
    [
        *("1,50", "1e6", "0x10", "1.1234567", "-1", "+1", "1_0", " 1", "1 ", "1\n", "", ".", "1."),
        *(".1", "01", "00.5", "∞", "NaN", "inf", "٣", "1.٣", str(MAX_UNITS), "9" * 10_000),
    ],
)
def test_what_may_be_misread_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Coin(text)


def test_a_float_is_never_an_amount() -> None:
    with pytest.raises(TypeError):
        Coin(12.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0.00"), (1, "0.000001"), (12_500_000, "12.50"), (1_234_500, "1.2345"), (-5, "-0.000005")],
)
def test_amounts_are_shown_with_two_to_six_decimals(amount: int, text: str) -> None:
    assert format_units(amount) == text
