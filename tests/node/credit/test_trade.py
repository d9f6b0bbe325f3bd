"""What of a trade is refused, and what is known when."""

from __future__ import annotations

import polars as pl
import pytest

from node.credit.trade import COLUMNS, BadTrade, as_known_at, check_trade, empty_trade
from tests.node.credit.support import COIN, DAY, START, order, trade_of

NOW = START + 100 * DAY


def one(**more: object) -> pl.DataFrame:
    return pl.DataFrame([order(1, "ana", 0, 10) | more], schema=COLUMNS, orient="row")


def test_trade_in_order_is_taken_as_it_is() -> None:
    frame = one()
    assert check_trade(frame, NOW).equals(frame)
    assert check_trade(empty_trade(), NOW).is_empty()


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_column_is_named(name: str) -> None:
    with pytest.raises(BadTrade, match=f"no column {name}"):
        check_trade(one().drop(name), NOW)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"amount": -1, "net": -1}, "amount is negative"),
        ({"net": 11 * COIN}, "net is more than the buyer paid"),
        ({"seller": None}, "seller is missing"),
        ({"seller": ""}, "seller is empty"),
        ({"linked": None}, "linked is missing"),
        ({"amount": 2**62 + 1}, "amount is above"),
        ({"purchased_at": -1}, "before 1970"),
        ({"purchased_at": NOW + 1}, "purchased_at is in the future"),
        ({"settled_at": NOW + 1}, "settled_at is in the future"),
        ({"shipped_at": START - 1}, "shipped_at is before the purchase"),
        ({"review": 6}, "review is not 1 to 5"),
        ({"review": None}, "one is there without the other"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_order(
    more: dict[str, object], words: str
) -> None:
    with pytest.raises(BadTrade, match=words) as refused:
        check_trade(one(**more), NOW)
    assert "'order 1'" in str(refused.value)


def test_numbers_that_are_none_are_refused() -> None:
    frame = one().with_columns(amount=pl.lit(float("nan")))
    with pytest.raises(BadTrade, match="amount is not a number"):
        check_trade(frame, NOW)


def test_fractions_of_an_atomic_unit_are_refused() -> None:
    with pytest.raises(BadTrade, match="amount is of fractions"):
        check_trade(one().with_columns(amount=pl.lit(1.5)), NOW)


def test_text_for_a_time_is_refused() -> None:
    with pytest.raises(BadTrade, match="purchased_at is of type String"):
        check_trade(one().with_columns(purchased_at=pl.lit("2023-11-15")), NOW)


def test_an_order_is_there_once_for_a_seller() -> None:
    with pytest.raises(BadTrade, match="there twice"):
        check_trade(pl.concat([one(), one()]), NOW)
    other = one().with_columns(seller=pl.lit("ben"))
    assert len(check_trade(pl.concat([one(), other]), NOW)) == 2


def test_what_happens_at_the_cutoff_or_later_is_not_known() -> None:
    trade = trade_of(order(1, "ana", 0, 10), order(2, "ana", 5, 10))
    known = as_known_at(trade, START + 5 * DAY)
    assert known["order_id"].to_list() == ["order 1"]
    assert known["shipped_at"].to_list() == [START + DAY]
    assert known["settled_at"].to_list() == [None]
    # The review came at the very cut-off.
    assert known["review"].to_list() == [None]
    assert as_known_at(trade, START + 5 * DAY + 1)["review"].to_list() == [5, None]
