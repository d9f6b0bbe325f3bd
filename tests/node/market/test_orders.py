"""The reader against every kind of bad row, each named with its file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from node.market.orders import (
    FileRefused,
    Item,
    Order,
    OrderBook,
    OrderStatus,
    atomic_units,
    decimal_text,
    read_orders,
    time_text,
    unix_time,
)

ORDERS_HEADER = (
    "order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at,"
    "order_delivered_carrier_date,order_delivered_customer_date,order_estimated_delivery_date"
)
ITEMS_HEADER = "order_id,order_item_id,product_id,seller_id,shipping_limit_date,price,freight_value"
DELIVERED = "{},{},delivered,2024-03-01 10:00:00,2024-03-01 10:05:00,2024-03-02 09:00:00,{},"
GOOD_ORDER = DELIVERED.format("good", "c-good", "2024-03-05 15:00:00")
UNLISTED = "the customer_id is the buyer, no customers file knows it"
GOOD_ITEM = "good,1,p,s1,2024-03-04 00:00:00,10.50,2.25"


def write(
    folder: Path,
    orders: list[str],
    items: list[str],
    customers: list[str] | None = None,
    sellers: list[str] | None = None,
) -> None:
    """The files with a good order and its item on line 2, and the given rows from line 3."""
    files = {
        "olist_orders_dataset.csv": [ORDERS_HEADER, GOOD_ORDER, *orders],
        "olist_order_items_dataset.csv": [ITEMS_HEADER, GOOD_ITEM, *items],
    }
    if customers is not None:
        files["olist_customers_dataset.csv"] = ["customer_id,customer_unique_id", *customers]
    if sellers is not None:
        files["olist_sellers_dataset.csv"] = ["seller_id,seller_state", *sellers]
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def ids(book: OrderBook) -> list[str]:
    return [order.order_id for order in book.orders]


def reasons(book: OrderBook) -> list[str]:
    return [str(bad) for bad in book.bad_rows]


def test_an_order_is_read_with_its_items_to_the_unit(tmp_path: Path) -> None:
    items = ["good,2,p,s2,,0.1,0", "good,3,p,s1,,0.000001,1"]
    write(tmp_path, [], items, ["c-good,ada"], ["s1,SP", "s2,RJ"])

    book = read_orders(tmp_path)

    assert book.orders == (
        Order(
            order_id="good",
            buyer="ada",
            status=OrderStatus.DELIVERED,
            purchased_at=1_709_287_200,
            approved_at=1_709_287_500,
            shipped_at=1_709_370_000,
            delivered_at=1_709_650_800,
            items=(
                Item("s1", 10_500_000, 2_250_000),
                Item("s2", 100_000, 0),
                Item("s1", 1, 1_000_000),
            ),
        ),
    )
    assert book.orders[0].amounts_by_seller() == {"s1": 13_750_001, "s2": 100_000}
    assert book.bad_rows == ()
    assert book.quirks == {}
    assert book.source == f"genuine files from {tmp_path}"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("-1.00,2.25", "price is negative: '-1.00'"),
        ("1.00,-0.01", "freight_value is negative: '-0.01'"),
        (",2.25", "price is empty"),
        ("1.00,", "freight_value is empty"),
        ("nan,2.25", "price is not a decimal number: 'nan'"),
        ("inf,2.25", "price is not a decimal number: 'inf'"),
        ("1e3,2.25", "price is not a decimal number: '1e3'"),
        ("1_000,2.25", "price is not a decimal number: '1_000'"),
        (" 1,2.25", "price is not a decimal number: ' 1'"),
        ("१,2.25", "price is not a decimal number: '१'"),
        ("1.,2.25", "price is not a decimal number: '1.'"),
        ('"1,5",2.25', "price is not a decimal number: '1,5'"),
        ("1.0000001,2.25", "price has more than 6 decimals: '1.0000001'"),
    ],
)
def test_a_bad_price_skips_the_whole_order(tmp_path: Path, cells: str, reason: str) -> None:
    order = DELIVERED.format("bad", "c", "2024-03-05 15:00:00")
    write(tmp_path, [order], ["bad,1,p,s1,,5.00,1.00", f"bad,2,p,s1,,{cells}"])

    book = read_orders(tmp_path)

    assert ids(book) == ["good"]
    assert reasons(book) == [f"olist_order_items_dataset.csv:4: {reason}; order 'bad' is skipped"]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("ghost,1,p,s1,,1.00,1.00", "there is no such order; order 'ghost' is skipped"),
        ("good,1,p,s1,,1.00,1.00", "order_item_id 1 is there twice; order 'good' is skipped"),
        (
            "good,0,p,s1,,1.00,1.00",
            "order_item_id is not a number from 1: '0'; order 'good' is skipped",
        ),
        (
            "good,x,p,s1,,1.00,1.00",
            "order_item_id is not a number from 1: 'x'; order 'good' is skipped",
        ),
        ("good,2,p,,,1.00,1.00", "seller_id is not an id: ''; order 'good' is skipped"),
        ("good,2,p,a/b,,1.00,1.00", "seller_id is not an id: 'a/b'; order 'good' is skipped"),
        (
            "good,2,p,s9,,1.00,1.00",
            "seller_id s9 is not in the sellers file; order 'good' is skipped",
        ),
        ("good,2,p,s1,,1.00", "6 columns where the header has 7; order 'good' is skipped"),
        ("good,2,p,s1,,1.00,1.00,7", "8 columns where the header has 7; order 'good' is skipped"),
    ],
)
def test_a_bad_item_is_reported_and_its_order_skipped(
    tmp_path: Path, item: str, reason: str
) -> None:
    write(tmp_path, [], [item], sellers=["s1,SP"])

    book = read_orders(tmp_path)

    assert ids(book) == ([] if "'good'" in reason else ["good"])
    assert reasons(book) == [f"olist_order_items_dataset.csv:3: {reason}"]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (
            "bad,c,delivered,2024-03-05 10:00:00,,,2024-03-05 09:59:59,",
            "delivered (2024-03-05 09:59:59) before it was purchased (2024-03-05 10:00:00)",
        ),
        ("bad,c,lost,2024-03-01 10:00:00,,,,", "order_status is unknown: 'lost'"),
        ("bad,c,,2024-03-01 10:00:00,,,,", "order_status is unknown: ''"),
        ("bad,c,created,,,,,", "order_purchase_timestamp is empty"),
        (
            "bad,c,created,2024-02-30 10:00:00,,,,",
            "order_purchase_timestamp is not a time: '2024-02-30 10:00:00' "
            "(day is out of range for month)",
        ),
        (
            "bad,c,created,2024-03-01T10:00:00,,,,",
            "order_purchase_timestamp is not a time like 2018-01-31 23:59:59: "
            "'2024-03-01T10:00:00'",
        ),
        (
            "bad,c,created,1969-12-31 23:59:59,,,,",
            "order_purchase_timestamp is before 1970: '1969-12-31 23:59:59'",
        ),
        (
            "bad,c,delivered,2024-03-01 10:00:00,soon,,2024-03-05 10:00:00,",
            "order_approved_at is not a time like 2018-01-31 23:59:59: 'soon'",
        ),
        (
            "bad,c,shipped,2024-03-01 10:00:00,2024-03-01 10:00:00,,,",
            "the order is shipped, but order_delivered_carrier_date is empty",
        ),
        (
            "bad,c,delivered,2024-03-01 10:00:00,,2024-03-02 10:00:00,,",
            "the order is delivered, but order_delivered_customer_date is empty",
        ),
        (
            "bad,c,invoiced,2024-03-01 10:00:00,,,2024-03-05 10:00:00,",
            "the order is invoiced, but has a delivery date",
        ),
        (",c,created,2024-03-01 10:00:00,,,,", "order_id is not an id: ''"),
        ("bad/1,c,created,2024-03-01 10:00:00,,,,", "order_id is not an id: 'bad/1'"),
        ("bad,,created,2024-03-01 10:00:00,,,,", "customer_id is not an id: ''"),
        ("bad,c,created", "3 columns where the header has 8"),
        ("bad,c,created,2024-03-01 10:00:00,,,,,extra", "9 columns where the header has 8"),
    ],
)
def test_a_bad_order_is_reported_with_its_line(tmp_path: Path, order: str, reason: str) -> None:
    write(tmp_path, [order], [])

    book = read_orders(tmp_path)

    assert ids(book) == ["good"]
    assert reasons(book) == [f"olist_orders_dataset.csv:3: {reason}"]


def test_items_of_an_order_that_was_reported_are_not_reported_again(tmp_path: Path) -> None:
    write(tmp_path, ["bad,c,lost,2024-03-01 10:00:00,,,,"], ["bad,1,p,s1,,-1,nan"])

    book = read_orders(tmp_path)

    assert reasons(book) == ["olist_orders_dataset.csv:3: order_status is unknown: 'lost'"]


def test_of_two_orders_with_one_id_neither_is_used(tmp_path: Path) -> None:
    other = DELIVERED.format("good", "c-other", "2024-04-05 15:00:00")
    write(tmp_path, [other], [])

    book = read_orders(tmp_path)

    assert ids(book) == []
    assert reasons(book) == [
        "olist_orders_dataset.csv:3: order_id good is also on line 2; both are skipped"
    ]


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([], "has no items"),
        (["lone,1,p,s1,,1,1", "lone,3,p,s1,,1,1"], "has no item 2, but later ones"),
        (["lone,2,p,s1,,1,1"], "has no item 1, but later ones"),
        (["lone,1,p,s1,,0,0.00"], "costs nothing at seller s1"),
        (
            ["lone,1,p,s1,,79228162514264337593543.950335,0.000001"],
            "costs 79228162514264337593543.950336 at seller s1, more than the escrow can hold",
        ),
    ],
)
def test_an_order_that_cannot_be_paid_is_reported(
    tmp_path: Path, items: list[str], reason: str
) -> None:
    write(tmp_path, [DELIVERED.format("lone", "c", "2024-03-05 15:00:00")], items)

    book = read_orders(tmp_path)

    assert ids(book) == ["good"]
    assert reasons(book) == [f"olist_orders_dataset.csv:3: order lone {reason}"]


def test_a_row_of_several_lines_is_named_by_its_first(tmp_path: Path) -> None:
    order = DELIVERED.format('"two\nlines"', "c", "2024-03-05 15:00:00")
    after = "bad,c,lost,2024-03-01 10:00:00,,,,"
    write(tmp_path, [order, after], [])

    book = read_orders(tmp_path)

    assert reasons(book) == [
        "olist_orders_dataset.csv:3: order_id is not an id: 'two\\nlines'",
        "olist_orders_dataset.csv:5: order_status is unknown: 'lost'",
    ]


def test_a_customer_who_is_two_buyers_is_none(tmp_path: Path) -> None:
    write(tmp_path, [], [], ["c-good,ada", "c-good,eve"])

    book = read_orders(tmp_path)

    assert ids(book) == []
    assert reasons(book) == [
        "olist_customers_dataset.csv:3: customer_id c-good is given to another buyer",
        "olist_orders_dataset.csv:2: customer_id c-good belongs to several buyers",
    ]


def test_an_unknown_customer_is_the_buyer_and_this_is_said(tmp_path: Path) -> None:
    write(tmp_path, [], [], ["someone,ada"])

    book = read_orders(tmp_path)

    assert book.orders[0].buyer == "c-good"
    assert book.quirks == {UNLISTED: 1}


def test_without_a_customers_file_the_customer_id_is_the_buyer_and_this_is_said(
    tmp_path: Path,
) -> None:
    write(tmp_path, [], [])

    book = read_orders(tmp_path)

    assert book.orders[0].buyer == "c-good"
    assert book.quirks == {UNLISTED: 1}


def test_quirks_of_genuine_data_are_kept_and_counted(tmp_path: Path) -> None:
    write(
        tmp_path,
        [
            # carrier date before the approval; before the purchase; delivered before the carrier
            "q1,c,delivered,2024-03-01 10:00:00,2024-03-03 10:00:00,"
            "2024-03-02 10:00:00,2024-03-09 10:00:00,",
            "q2,c,shipped,2024-03-02 10:00:00,,2024-03-01 10:00:00,,",
            "q3,c,delivered,2024-03-01 10:00:00,,2024-03-09 10:00:00,2024-03-05 10:00:00,",
            "q4,c,delivered,2024-03-01 10:00:00,,,2024-03-05 10:00:00,",
        ],
        [f"q{n},1,p,s1,,1,1" for n in range(1, 5)],
        ["c,ada", "c-good,bob"],
    )

    book = read_orders(tmp_path)

    assert ids(book) == ["good", "q1", "q3", "q4", "q2"]
    assert book.bad_rows == ()
    assert book.quirks == {
        "carrier date before the approval": 1,
        "carrier date before the purchase": 1,
        "delivered before the carrier date": 1,
        "delivered without a carrier date": 1,
    }


def test_quirks_are_those_of_the_orders_that_are_kept(tmp_path: Path) -> None:
    order = "odd,c,delivered,2024-09-01 10:00:00,,,2024-09-05 10:00:00,"
    write(tmp_path, [order], ["odd,1,p,s1,,1,1"], ["c,ada", "c-good,bob"])

    assert read_orders(tmp_path).quirks == {"delivered without a carrier date": 1}
    assert read_orders(tmp_path, limit=1).quirks == {}


def test_the_limit_takes_the_first_orders_by_time(tmp_path: Path) -> None:
    write(
        tmp_path,
        ["late,c,created,2024-05-01 10:00:00,,,,", "early,c,created,2024-01-01 10:00:00,,,,"],
        ["late,1,p,s1,,1,1", "early,1,p,s1,,1,1"],
    )

    assert ids(read_orders(tmp_path, limit=2)) == ["early", "good"]


def test_compressed_files_with_a_byte_order_mark_and_quotes_read_the_same(tmp_path: Path) -> None:
    write(tmp_path, [], [])
    plain = read_orders(tmp_path)
    for path in list(tmp_path.iterdir()):
        lines = path.read_text(encoding="utf-8").splitlines()
        quoted = "\r\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines)
        path.with_suffix(".csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + quoted.encode()))
        path.unlink()

    assert read_orders(tmp_path).orders == plain.orders
    assert read_orders(tmp_path).digest() == plain.digest()


# ------------------------------------------------------------------------- refused files


def refusal(folder: Path) -> str:
    with pytest.raises(FileRefused) as refused:
        read_orders(folder)
    return str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"olist_orders_dataset.csv: neither it nor its .gz is in {tmp_path}"
    )


def test_a_file_there_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [], [])
    (tmp_path / "olist_orders_dataset.csv.gz").write_bytes(gzip.compress(b""))

    assert refusal(tmp_path) == (
        "olist_orders_dataset.csv: is there both plain and as .gz: remove one"
    )


def test_a_file_without_a_column_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [], [])
    path = tmp_path / "olist_order_items_dataset.csv"
    path.write_text("order_id,order_item_id,seller_id\ngood,1,s1\n", encoding="utf-8")

    assert refusal(tmp_path) == ("olist_order_items_dataset.csv:1: no column price, freight_value")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [], [], sellers=["s1,SP"])
    (tmp_path / "olist_sellers_dataset.csv").write_bytes(b"")

    assert refusal(tmp_path) == "olist_sellers_dataset.csv:1: no column seller_id"


def test_a_column_there_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [], [], sellers=["s1,SP"])
    (tmp_path / "olist_sellers_dataset.csv").write_text("seller_id,seller_id\na,b\n")

    assert refusal(tmp_path) == "olist_sellers_dataset.csv:1: two columns have the same name"


@pytest.mark.parametrize("broken", ['"open,c,created', 'x"y",c,created\n"a"b,c,created'])
def test_broken_quoting_is_refused_because_it_may_swallow_rows(tmp_path: Path, broken: str) -> None:
    write(tmp_path, [broken, GOOD_ORDER], [])

    assert "olist_orders_dataset.csv:4: broken CSV:" in refusal(tmp_path)


def test_a_truncated_archive_is_refused_with_the_line_it_reached(tmp_path: Path) -> None:
    write(tmp_path, [], [])
    path = tmp_path / "olist_orders_dataset.csv"
    whole = gzip.compress(path.read_bytes())
    path.unlink()
    (tmp_path / "olist_orders_dataset.csv.gz").write_bytes(whole[:-9])

    assert refusal(tmp_path).startswith("olist_orders_dataset.csv.gz:")
    assert refusal(tmp_path).endswith("the gzip archive ends too early")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [], [])
    path = tmp_path / "olist_orders_dataset.csv"
    whole = bytearray(gzip.compress(path.read_bytes()))
    path.unlink()
    whole[-8] ^= 1  # of its checksum
    (tmp_path / "olist_orders_dataset.csv.gz").write_bytes(bytes(whole))

    assert "the gzip archive is damaged" in refusal(tmp_path)


def test_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, [], [])
    path = tmp_path / "olist_orders_dataset.csv"
    path.write_bytes(path.read_bytes() + "São,c\n".encode("latin-1"))

    assert refusal(tmp_path).startswith("olist_orders_dataset.csv:3: not UTF-8")


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    write(tmp_path, ["x" * (1 << 20)], [])

    assert refusal(tmp_path) == "olist_orders_dataset.csv:3: a line of more than 1048576 bytes"


# --------------------------------------------------------------------------------- cells


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("12.5", 12_500_000),
        ("0.000001", 1),
        ("00.10", 100_000),
        ("6735.0", 6_735_000_000),
    ],
)
def test_amounts_are_exact(text: str, amount: int) -> None:
    assert atomic_units(text) == amount
    assert atomic_units(decimal_text(amount)) == amount


def test_times_are_taken_as_utc() -> None:
    assert unix_time("1970-01-02 00:00:01") == 86_401
    assert time_text(86_401) == "1970-01-02 00:00:01"
