"""Generated orders: the same from the same seed, of every kind, and readable as files."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from node.market.generate import generate_orders, write_orders
from node.market.orders import OrderStatus, read_orders


def test_a_seed_gives_the_same_orders_again_and_another_seed_others() -> None:
    assert generate_orders(200, seed=7) == generate_orders(200, seed=7)
    assert generate_orders(200, seed=7).digest() != generate_orders(200, seed=8).digest()


def test_generated_orders_are_labelled_everywhere() -> None:
    book = generate_orders(50, seed=3)

    assert book.generated
    assert book.source == "generated orders (seed 3)"
    for order in book.orders:
        assert order.order_id.startswith("generated-3-")
        assert order.buyer.startswith("generated-3-buyer-")
        assert all(item.seller.startswith("generated-3-seller-") for item in order.items)


def test_generated_orders_look_like_a_marketplace() -> None:
    orders = generate_orders(2_000, seed=1).orders

    statuses = Counter(order.status for order in orders)
    assert 0.94 < statuses[OrderStatus.DELIVERED] / 2_000 < 0.99
    assert statuses.keys() >= {OrderStatus.SHIPPED, OrderStatus.CANCELED, OrderStatus.PROCESSING}
    assert any(o.status is OrderStatus.CANCELED and o.delivered_at is not None for o in orders)
    assert any(o.status is OrderStatus.CANCELED and o.shipped_at is None for o in orders)

    sellers = Counter(item.seller for order in orders for item in order.items)
    best = [count for _, count in sellers.most_common()]
    assert best[0] > 20 * best[len(best) // 2]
    assert {len(order.items) for order in orders} == {1, 2, 3}
    assert any(len(order.amounts_by_seller()) > 1 for order in orders)
    assert len({order.buyer for order in orders}) < 2_000

    prices = sorted(item.price for order in orders for item in order.items)
    assert prices[len(prices) // 2] < sum(prices) / len(prices)  # skewed, as prices are


@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 60), seed=st.integers(0, 2**32), compressed=st.booleans())
def test_written_and_read_again_the_orders_are_the_same(
    count: int, seed: int, compressed: bool
) -> None:
    book = generate_orders(count, seed)

    with tempfile.TemporaryDirectory() as folder:
        write_orders(book.orders, Path(folder), compressed)
        again = read_orders(Path(folder))

    assert again.orders == book.orders
    assert again.digest() == book.digest()
    assert again.bad_rows == ()
    assert again.quirks == {}
