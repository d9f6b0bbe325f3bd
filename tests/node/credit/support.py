"""Trade made up for tests of the lending desk."""

from __future__ import annotations

from random import Random
from typing import Any

import polars as pl

from node.credit.trade import COLUMNS, check_trade

DAY = 86_400
COIN = 10**6
START = 1_700_006_400  # 2023-11-15 00:00:00 UTC


def order(number: int, seller: str, day: float, coins: int, **more: Any) -> dict[str, Any]:
    """One order, paid out ten days after its purchase; `more` replaces columns."""
    bought = START + int(day * DAY)
    return {
        "order_id": f"order {number}",
        "seller": seller,
        "buyer": f"buyer {number}",
        "linked": False,
        "amount": coins * COIN,
        "net": coins * COIN,
        "purchased_at": bought,
        "ship_by": bought + 3 * DAY,
        "shipped_at": bought + DAY,
        "delivered_at": bought + 3 * DAY,
        "settled_at": bought + 10 * DAY,
        "canceled_at": None,
        "returned_at": None,
        "disputed_at": None,
        "lost_at": None,
        "review": 5,
        "reviewed_at": bought + 5 * DAY,
        **more,
    }


def trade_of(*orders: dict[str, Any]) -> pl.DataFrame:
    frame = pl.DataFrame(list(orders), schema=COLUMNS, orient="row")
    return check_trade(frame, START + 10_000 * DAY)


def generate_trade(sellers: int, days: int, seed: int) -> pl.DataFrame:
    """Sellers of all sizes. Those whose trade is about to fade sell unevenly, and are late before
    it does: there is something to learn."""
    random = Random(seed)
    orders = []
    number = 0
    for index in range(sellers):
        seller = f"seller {index:04d}"
        gap = random.choice((1.5, 2.5, 4.0))  # days between orders
        coins = random.choice((40, 90, 200))
        frail = random.random() < 0.4
        start = random.uniform(0, days * 0.3)
        fades = start + random.uniform(0.5, 1.0) * (days - start) if frail else days * 2
        day = start
        while day < days - 12:
            number += 1
            late = random.random() < (0.35 if frail else 0.05)
            buyer = f"buyer {random.randrange(max(int(60 / gap), 5))} of {index}"
            stars = random.choice((1, 3, 4) if late else (4, 5, 5))
            more = {"shipped_at": START + int((day + 6) * DAY)} if late else {}
            if late:
                more["delivered_at"] = START + int((day + 8) * DAY)
            orders.append(
                order(
                    number,
                    seller,
                    day,
                    max(int(coins * random.lognormvariate(0, 0.5)), 1),
                    buyer=buyer,
                    review=stars,
                    reviewed_at=START + int((day + 9) * DAY),
                    **more,
                )
            )
            slow = 8 if day > fades else 1
            day += random.expovariate(1 / (gap * slow))
    return trade_of(*orders)
