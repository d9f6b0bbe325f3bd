"""Makes orders up: seeded, realistic in shape, and labelled as generated wherever they appear.

Prices are log-normal, sellers have a long tail, orders come by the hour of the day and the day of
the week, parcels take days and some are late, a few orders are canceled or never finished. The
shares and medians are round numbers close to those of marketplace exports; no row is copied.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from random import Random

from node.market.orders import (
    CUSTOMERS,
    ITEMS,
    ORDERS,
    SELLERS,
    Item,
    Order,
    OrderBook,
    OrderStatus,
    decimal_text,
    time_text,
)

DAY = 86_400
HOUR = 3_600
CENT = 10_000  # atomic units
FIRST_DAY = 1_735_689_600  # 2025-01-01 00:00:00 UTC, a Wednesday
ORDERS_PER_DAY = 25

# How busy each hour of the day and each day of the week is, beside the others.
HOUR_WEIGHTS = (3, 2, 1, 1, 1, 1, 2, 4, 7, 9, 11, 11, 10, 11, 11, 11, 11, 10, 10, 10, 11, 11, 9, 6)
WEEKDAY_WEIGHTS = (16, 16, 15, 15, 14, 11, 13)  # from Monday

STATUS_WEIGHTS = {
    OrderStatus.DELIVERED: 970,
    OrderStatus.SHIPPED: 11,
    OrderStatus.CANCELED: 9,
    OrderStatus.INVOICED: 4,
    OrderStatus.PROCESSING: 4,
    OrderStatus.UNAVAILABLE: 2,
}
SHARE_OF_CANCELED = {"after shipping": 0.15, "after delivery": 0.15}
SHARE_OF_RETURNING_BUYERS = 0.05
SHARE_OF_LATE_PARCELS = 0.08


def generate_orders(count: int, seed: int) -> OrderBook:
    """Make `count` orders; the same count and seed give the same orders."""
    generator = _Generator(Random(seed), seed, count)  # noqa: S311  (a model of shoppers, no secret)
    return OrderBook(
        orders=generator.orders(),
        source=f"generated orders (seed {seed})",
        generated=True,
    )


class _Generator:
    def __init__(self, random: Random, seed: int, count: int) -> None:
        self._random = random
        self._prefix = f"generated-{seed}"
        self._count = count
        self._days = min(max(count // ORDERS_PER_DAY, 14), 730)
        sellers = min(max(count // 16, 3), 1_800)
        self._sellers = [f"{self._prefix}-seller-{n:04d}" for n in range(1, sellers + 1)]
        # Zipf-like: the n-th seller sells 1/n of what the first does.
        self._seller_weights = list(accumulate(1 / n for n in range(1, sellers + 1)))
        self._buyers: list[str] = []

    def orders(self) -> tuple[Order, ...]:
        times = sorted(self._purchase_time() for _ in range(self._count))
        return tuple(self._order(number, time) for number, time in enumerate(times, 1))

    def _purchase_time(self) -> int:
        # 1970-01-01 was a Thursday, so Monday is day 4 of the epoch.
        weekdays = [WEEKDAY_WEIGHTS[(FIRST_DAY // DAY + day - 4) % 7] for day in range(7)]
        week = self._random.randrange((self._days + 6) // 7)
        day = self._random.choices(range(7), weekdays)[0]
        hour = self._random.choices(range(24), HOUR_WEIGHTS)[0]
        day_of_all = min(week * 7 + day, self._days - 1)
        return FIRST_DAY + day_of_all * DAY + hour * HOUR + self._random.randrange(HOUR)

    def _order(self, number: int, purchased_at: int) -> Order:
        random = self._random
        status = random.choices(list(STATUS_WEIGHTS), list(STATUS_WEIGHTS.values()))[0]
        approved_at = purchased_at + int(random.lognormvariate(7, 1.5))
        shipped_at: int | None = approved_at + int(random.lognormvariate(0.6, 0.7) * DAY)
        delivered_at: int | None = shipped_at + self._transit() if shipped_at else None
        if status is OrderStatus.SHIPPED:
            delivered_at = None
        elif status is OrderStatus.CANCELED:
            draw = random.random()
            if draw >= SHARE_OF_CANCELED["after delivery"]:
                delivered_at = None
            if draw >= sum(SHARE_OF_CANCELED.values()):
                shipped_at = None
        elif status is not OrderStatus.DELIVERED:
            shipped_at = delivered_at = None
        return Order(
            order_id=f"{self._prefix}-{number:06d}",
            buyer=self._buyer(),
            status=status,
            purchased_at=purchased_at,
            approved_at=approved_at,
            shipped_at=shipped_at,
            delivered_at=delivered_at,
            items=self._items(),
        )

    def _transit(self) -> int:
        days = self._random.lognormvariate(1.9, 0.5)
        if self._random.random() < SHARE_OF_LATE_PARCELS:
            days += self._random.lognormvariate(2, 0.6)
        return int(days * DAY)

    def _buyer(self) -> str:
        if self._buyers and self._random.random() < SHARE_OF_RETURNING_BUYERS:
            return self._random.choice(self._buyers)
        self._buyers.append(f"{self._prefix}-buyer-{len(self._buyers) + 1:06d}")
        return self._buyers[-1]

    def _seller(self) -> str:
        return self._random.choices(self._sellers, cum_weights=self._seller_weights)[0]

    def _items(self) -> tuple[Item, ...]:
        random = self._random
        count = random.choices((1, 2, 3), (88, 9, 3))[0]
        seller, price = self._seller(), self._price()
        items = [Item(seller, price, self._freight())]
        for _ in range(count - 1):
            if random.random() < 0.15:
                seller, price = self._seller(), self._price()
            items.append(Item(seller, price, self._freight()))
        return tuple(items)

    def _price(self) -> int:
        return max(int(self._random.lognormvariate(4.3, 0.95) * 100), 85) * CENT

    def _freight(self) -> int:
        if self._random.random() < 0.01:
            return 0
        return int(self._random.lognormvariate(2.85, 0.5) * 100) * CENT


def write_orders(orders: Sequence[Order], folder: Path, compressed: bool = False) -> None:
    """Write orders as the files that `read_orders` reads, with one customer_id per order."""
    _write(
        folder,
        ORDERS,
        compressed,
        [
            "order_id",
            "customer_id",
            "order_status",
            "order_purchase_timestamp",
            "order_approved_at",
            "order_delivered_carrier_date",
            "order_delivered_customer_date",
        ],
        [
            [
                order.order_id,
                f"customer-{number}",
                order.status.value,
                time_text(order.purchased_at),
                time_text(order.approved_at),
                time_text(order.shipped_at),
                time_text(order.delivered_at),
            ]
            for number, order in enumerate(orders, 1)
        ],
    )
    _write(
        folder,
        ITEMS,
        compressed,
        ["order_id", "order_item_id", "seller_id", "price", "freight_value"],
        [
            [
                order.order_id,
                str(number),
                item.seller,
                decimal_text(item.price),
                decimal_text(item.freight),
            ]
            for order in orders
            for number, item in enumerate(order.items, 1)
        ],
    )
    _write(
        folder,
        CUSTOMERS,
        compressed,
        ["customer_id", "customer_unique_id"],
        [[f"customer-{number}", order.buyer] for number, order in enumerate(orders, 1)],
    )
    sellers = sorted({item.seller for order in orders for item in order.items})
    _write(folder, SELLERS, compressed, ["seller_id"], [[seller] for seller in sellers])


def _write(
    folder: Path, name: str, compressed: bool, header: list[str], rows: list[list[str]]
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    data = text.getvalue().encode()
    if compressed:
        (folder / f"{name}.csv.gz").write_bytes(gzip.compress(data, mtime=0))
    else:
        (folder / f"{name}.csv").write_bytes(data)
