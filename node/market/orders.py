"""Reads a marketplace's export in the file names and columns of Olist's public data set.

olist_orders_dataset        required: state and times of every order
olist_order_items_dataset   required: what was bought from whom, price and freight
olist_customers_dataset     optional: which buyer stands behind a customer_id
olist_sellers_dataset       optional: the sellers there are

Each as `.csv` or `.csv.gz`, UTF-8 with or without a byte order mark; other files and other columns
are not read. One real of price is one coin. Times are local and carry no zone: they are taken as
UTC.

What is wrong is never half-applied:
- A file that cannot be trusted as a whole is refused: missing, a column missing, not UTF-8, broken
  quoting (which can swallow rows unseen), a truncated or damaged archive.
- A bad row is reported with file and line, and the order it belongs to is skipped whole. So is an
  order with the same id as another, or with a gap in its item numbers, which run from 1: the gap
  shows an item that was lost together with its order id.
- A quirk of genuine data is kept and counted: a carrier date before the purchase or the approval
  (the later one counts), a delivery before the carrier date (likewise), a customer who is not in
  the customers file (the customer_id is then the buyer).

Which times an order needs, beside its purchase: "shipped" the carrier date, "delivered" the
delivery date. A state before delivery must not carry a delivery date.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, cast

ATOMIC_UNITS_PER_COIN = 10**6
DECIMALS = 6
MAX_AMOUNT = 2**96 - 1  # what the escrow can hold for one purchase
MAX_LINE_BYTES = 1 << 20

ORDERS = "olist_orders_dataset"
ITEMS = "olist_order_items_dataset"
CUSTOMERS = "olist_customers_dataset"
SELLERS = "olist_sellers_dataset"

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)
_AMOUNT = re.compile(r"(\d{1,30})(?:\.(\d+))?", re.ASCII)
_ITEM_NUMBER = re.compile(r"[1-9]\d{0,3}", re.ASCII)


class OrderStatus(StrEnum):
    """The states of the data set, in the order an order passes them."""

    CREATED = "created"
    APPROVED = "approved"
    PROCESSING = "processing"
    INVOICED = "invoiced"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELED = "canceled"
    UNAVAILABLE = "unavailable"


_ENDED_EARLY = (OrderStatus.CANCELED, OrderStatus.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of an order. Amounts in atomic units."""

    seller: str
    price: int
    freight: int


@dataclass(frozen=True, slots=True)
class Order:
    """One order as the export tells it. Times are UTC unix seconds."""

    order_id: str
    buyer: str
    status: OrderStatus
    purchased_at: int
    approved_at: int | None
    shipped_at: int | None  # handed to the carrier
    delivered_at: int | None
    items: tuple[Item, ...]

    def amounts_by_seller(self) -> dict[str, int]:
        """What each seller is due, price and freight, in the order the sellers appear."""
        amounts: dict[str, int] = {}
        for item in self.items:
            amounts[item.seller] = amounts.get(item.seller, 0) + item.price + item.freight
        return amounts


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was not used, and why. `line` is where the row begins in the file."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class OrderBook:
    """The orders to replay, by time of purchase, and what had to be left out.

    Attributes:
        source: where they come from, in words for people: "genuine files from …" or "generated …".
        quirks: what was kept although it looks odd, with how often.
    """

    orders: tuple[Order, ...]
    source: str
    generated: bool
    bad_rows: tuple[BadRow, ...] = ()
    quirks: dict[str, int] = field(default_factory=dict)

    def digest(self) -> str:
        """SHA-256 over every order: two books with the same digest replay the same."""
        digest = hashlib.sha256()
        for order in self.orders:
            digest.update(repr(order).encode())
        return digest.hexdigest()


class FileRefused(Exception):
    """A file that cannot be used as a whole.

    Attributes:
        file: its name.
        line: where reading stopped, or None if the file could not be opened at all.
    """

    def __init__(self, file: str, line: int | None, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}" if line else f"{file}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


def read_orders(folder: Path, limit: int | None = None) -> OrderBook:
    """Read an export.

    Args:
        folder: where its files are.
        limit: keep only the first so many good orders, by time of purchase.

    Raises:
        FileRefused: one of the files cannot be used.
    """
    reader = _Reader(folder)
    orders = sorted(reader.read(), key=lambda order: (order.purchased_at, order.order_id))[:limit]
    return OrderBook(
        orders=tuple(orders),
        source=f"genuine files from {folder}",
        generated=False,
        bad_rows=tuple(reader.bad_rows),
        quirks=reader.quirks(orders),
    )


# ------------------------------------------------------------------------------- cells


def atomic_units(text: str) -> int:
    """Exact atomic units of a decimal number of coins.

    Raises:
        ValueError: empty, negative, not a plain decimal number, or finer than an atomic unit.
    """
    if not text:
        raise ValueError("is empty")
    if text.startswith("-"):
        raise ValueError(f"is negative: {text!r}")
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError(f"is not a decimal number: {text!r}")
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > DECIMALS:
        raise ValueError(f"has more than {DECIMALS} decimals: {text!r}")
    return int(whole) * ATOMIC_UNITS_PER_COIN + int(fraction.ljust(DECIMALS, "0"))


def decimal_text(amount: int) -> str:
    """The shortest decimal number of coins: 12500000 → "12.5"."""
    whole, fraction = divmod(amount, ATOMIC_UNITS_PER_COIN)
    return f"{whole}.{fraction:0{DECIMALS}d}".rstrip("0").rstrip(".")


def unix_time(text: str) -> int:
    """Unix seconds of "YYYY-MM-DD HH:MM:SS", taken as UTC.

    Raises:
        ValueError: another form, no such date, or before 1970.
    """
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError(f"is not a time like 2018-01-31 23:59:59: {text!r}")
    try:
        seconds = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise ValueError(f"is not a time: {text!r} ({error})") from None
    if seconds < 0:
        raise ValueError(f"is before 1970: {text!r}")
    return seconds


def time_text(seconds: int | None) -> str:
    """What `unix_time` reads; empty for None."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


# -------------------------------------------------------------------------------- rows


class _BadCell(Exception):
    """The row is not usable."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a file, addressed by column name. Reading a cell raises `_BadCell`."""

    line: int
    columns: dict[str, int]
    cells: list[str]

    def text(self, column: str) -> str:
        if len(self.cells) != len(self.columns):
            raise _BadCell(f"{len(self.cells)} columns where the header has {len(self.columns)}")
        return self.cells[self.columns[column]]

    def order_id(self) -> str:
        """Which order the row means, as far as a row that may be cut short tells."""
        position = self.columns["order_id"]
        return self.cells[position] if position < len(self.cells) else ""

    def identifier(self, column: str) -> str:
        text = self.text(column)
        if not _IDENTIFIER.fullmatch(text):
            raise _BadCell(f"{column} is not an id: {text!r}")
        return text

    def amount(self, column: str) -> int:
        try:
            return atomic_units(self.text(column))
        except ValueError as error:
            raise _BadCell(f"{column} {error}") from None

    def time(self, column: str) -> int | None:
        text = self.text(column)
        if not text:
            return None
        try:
            return unix_time(text)
        except ValueError as error:
            raise _BadCell(f"{column} {error}") from None


def _decoded_lines(stream: IO[bytes], file: str) -> Iterator[str]:
    line = 0
    try:
        while raw := stream.readline(MAX_LINE_BYTES):
            line += 1
            if len(raw) == MAX_LINE_BYTES:
                raise FileRefused(file, line, f"a line of more than {MAX_LINE_BYTES} bytes")
            yield raw.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise FileRefused(file, line, f"not UTF-8: {error.reason}") from None
    except EOFError:
        raise FileRefused(file, line + 1, "the gzip archive ends too early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise FileRefused(file, line + 1, f"the gzip archive is damaged: {error}") from None
    except OSError as error:
        raise FileRefused(file, line + 1, f"cannot be read: {error}") from None


def _open(path: Path) -> IO[bytes]:
    try:
        if path.suffix == ".gz":
            return cast(IO[bytes], gzip.open(path))
        return path.open("rb")
    except OSError as error:
        raise FileRefused(path.name, None, f"cannot be opened: {error}") from None


def _rows(path: Path, required: tuple[str, ...]) -> Iterator[_Row]:
    """Every row that is not empty.

    Raises:
        FileRefused: the file cannot be trusted as a whole.
    """
    file = path.name
    with _open(path) as stream:
        # Strict: otherwise a stray quote would merge rows and nobody would know.
        reader = csv.reader(_decoded_lines(stream, file), strict=True)
        try:
            header = next(reader, [])
            columns = {name: index for index, name in enumerate(header)}
            missing = [name for name in required if name not in columns]
            if missing:
                raise FileRefused(file, 1, f"no column {', '.join(missing)}")
            if len(columns) != len(header):
                raise FileRefused(file, 1, "two columns have the same name")
            line = reader.line_num + 1
            for cells in reader:
                if cells:
                    yield _Row(line, columns, cells)
                line = reader.line_num + 1
        except csv.Error as error:
            raise FileRefused(file, reader.line_num, f"broken CSV: {error}") from None


# ------------------------------------------------------------------------------- files


@dataclass(slots=True)
class _Draft:
    """An order whose items are still being collected."""

    line: int
    order: Order
    items: dict[int, Item] = field(default_factory=dict)


class _Reader:
    def __init__(self, folder: Path) -> None:
        self.bad_rows: list[BadRow] = []
        self._folder = folder
        self._drafts: dict[str, _Draft] = {}
        self._first_lines: dict[str, int] = {}  # of every order id seen, good or bad
        self._spoiled: set[str] = set()
        self._unlisted: set[str] = set()  # orders whose customer is not in the customers file

    def read(self) -> Iterator[Order]:
        customers = self._read_customers()
        sellers = self._read_sellers()
        orders_file = self._find(ORDERS, required=True)
        assert orders_file is not None
        self._read_orders(orders_file, customers)
        self._read_items(sellers)
        for order_id, draft in self._drafts.items():
            if order_id in self._spoiled:
                continue
            reason = _why_incomplete(draft.items)
            if reason:
                self._report(orders_file, draft.line, f"order {order_id} {reason}")
                continue
            items = tuple(draft.items[number] for number in sorted(draft.items))
            order = replace(draft.order, items=items)
            reason = _why_not_payable(order)
            if reason:
                self._report(orders_file, draft.line, f"order {order_id} {reason}")
                continue
            yield order

    def _find(self, name: str, required: bool) -> Path | None:
        found = [
            path for end in (".csv", ".csv.gz") if (path := self._folder / f"{name}{end}").exists()
        ]
        if len(found) > 1:
            raise FileRefused(f"{name}.csv", None, "is there both plain and as .gz: remove one")
        if not found and required:
            raise FileRefused(f"{name}.csv", None, f"neither it nor its .gz is in {self._folder}")
        return found[0] if found else None

    def _report(self, path: Path, line: int, reason: str) -> None:
        self.bad_rows.append(BadRow(path.name, line, reason))

    def _read_customers(self) -> dict[str, str | None] | None:
        """customer_id → buyer; None for one that two rows give to different buyers."""
        path = self._find(CUSTOMERS, required=False)
        if path is None:
            return None
        buyers: dict[str, str | None] = {}
        for row in _rows(path, ("customer_id", "customer_unique_id")):
            try:
                customer = row.identifier("customer_id")
                buyer = row.identifier("customer_unique_id")
            except _BadCell as error:
                self._report(path, row.line, str(error))
                continue
            if buyers.setdefault(customer, buyer) != buyer:
                self._report(path, row.line, f"customer_id {customer} is given to another buyer")
                buyers[customer] = None
        return buyers

    def _read_sellers(self) -> set[str] | None:
        path = self._find(SELLERS, required=False)
        if path is None:
            return None
        sellers: set[str] = set()
        for row in _rows(path, ("seller_id",)):
            try:
                sellers.add(row.identifier("seller_id"))
            except _BadCell as error:
                self._report(path, row.line, str(error))
        return sellers

    def _read_orders(self, path: Path, customers: dict[str, str | None] | None) -> None:
        required = (
            "order_id",
            "customer_id",
            "order_status",
            "order_purchase_timestamp",
            "order_approved_at",
            "order_delivered_carrier_date",
            "order_delivered_customer_date",
        )
        for row in _rows(path, required):
            try:
                order_id = row.identifier("order_id")
                first = self._first_lines.setdefault(order_id, row.line)
                if first != row.line:
                    self._spoiled.add(order_id)
                    raise _BadCell(f"order_id {order_id} is also on line {first}; both are skipped")
                order = _order(row, order_id, self._buyer(row, order_id, customers))
            except _BadCell as error:
                self._report(path, row.line, str(error))
                continue
            self._drafts[order_id] = _Draft(row.line, order)

    def _buyer(self, row: _Row, order_id: str, customers: dict[str, str | None] | None) -> str:
        customer = row.identifier("customer_id")
        if customers is None or customer not in customers:
            self._unlisted.add(order_id)
            return customer
        buyer = customers[customer]
        if buyer is None:
            raise _BadCell(f"customer_id {customer} belongs to several buyers")
        return buyer

    def _read_items(self, sellers: set[str] | None) -> None:
        path = self._find(ITEMS, required=True)
        assert path is not None
        required = ("order_id", "order_item_id", "seller_id", "price", "freight_value")
        for row in _rows(path, required):
            try:
                self._read_item(row, sellers)
            except _BadCell as error:
                order_id = row.order_id()
                self._spoiled.add(order_id)
                self._report(path, row.line, f"{error}; order {order_id!r} is skipped")

    def _read_item(self, row: _Row, sellers: set[str] | None) -> None:
        order_id = row.text("order_id")
        if order_id not in self._first_lines:
            raise _BadCell("there is no such order")
        draft = self._drafts.get(order_id)
        if draft is None:
            return  # its order was reported already
        number = row.text("order_item_id")
        if not _ITEM_NUMBER.fullmatch(number):
            raise _BadCell(f"order_item_id is not a number from 1: {number!r}")
        if int(number) in draft.items:
            raise _BadCell(f"order_item_id {number} is there twice")
        seller = row.identifier("seller_id")
        if sellers is not None and seller not in sellers:
            raise _BadCell(f"seller_id {seller} is not in the sellers file")
        draft.items[int(number)] = Item(seller, row.amount("price"), row.amount("freight_value"))

    def quirks(self, orders: list[Order]) -> dict[str, int]:
        """What is odd about these orders, with how often."""
        counts: Counter[str] = Counter()
        for order in orders:
            if order.order_id in self._unlisted:
                counts["the customer_id is the buyer, no customers file knows it"] += 1
            counts.update(_oddities(order))
        return dict(counts)


def _oddities(order: Order) -> Iterator[str]:
    approved, shipped, delivered = order.approved_at, order.shipped_at, order.delivered_at
    if approved is not None and approved < order.purchased_at:
        yield "approved before the purchase"
    if shipped is not None and shipped < order.purchased_at:
        yield "carrier date before the purchase"
    elif shipped is not None and approved is not None and shipped < approved:
        yield "carrier date before the approval"
    if delivered is not None and shipped is not None and delivered < shipped:
        yield "delivered before the carrier date"
    if delivered is not None and shipped is None:
        yield "delivered without a carrier date"


def _order(row: _Row, order_id: str, buyer: str) -> Order:
    try:
        status = OrderStatus(row.text("order_status"))
    except ValueError:
        raise _BadCell(f"order_status is unknown: {row.text('order_status')!r}") from None
    purchased_at = row.time("order_purchase_timestamp")
    approved_at = row.time("order_approved_at")
    shipped_at = row.time("order_delivered_carrier_date")
    delivered_at = row.time("order_delivered_customer_date")
    if purchased_at is None:
        raise _BadCell("order_purchase_timestamp is empty")
    if status is OrderStatus.SHIPPED and shipped_at is None:
        raise _BadCell("the order is shipped, but order_delivered_carrier_date is empty")
    if status is OrderStatus.DELIVERED and delivered_at is None:
        raise _BadCell("the order is delivered, but order_delivered_customer_date is empty")
    if delivered_at is not None:
        if status not in (OrderStatus.DELIVERED, *_ENDED_EARLY):
            raise _BadCell(f"the order is {status}, but has a delivery date")
        if delivered_at < purchased_at:
            raise _BadCell(
                f"delivered ({time_text(delivered_at)}) before it was purchased "
                f"({time_text(purchased_at)})"
            )
    return Order(order_id, buyer, status, purchased_at, approved_at, shipped_at, delivered_at, ())


def _why_incomplete(items: dict[int, Item]) -> str:
    if not items:
        return "has no items"
    gap = next(number for number in range(1, len(items) + 2) if number not in items)
    return f"has no item {gap}, but later ones" if gap <= len(items) else ""


def _why_not_payable(order: Order) -> str:
    for seller, amount in order.amounts_by_seller().items():
        if amount == 0:
            return f"costs nothing at seller {seller}"
        if amount > MAX_AMOUNT:
            return f"costs {decimal_text(amount)} at seller {seller}, more than the escrow can hold"
    return ""
