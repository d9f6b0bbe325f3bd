"""The main job: a marketplace's orders, driven through a running node and compared to the unit."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.anvil import find_anvil
from node.market.generate import generate_orders, write_orders
from node.market.orders import Item, Order, OrderStatus
from node.market.plan import Plan
from node.market.replay import DAY, ReplayError
from node.market.run import ReplayOptions, ReplayResult, prepare, run
from tests.end_to_end.running import RunningPlaza, running_plaza

OLIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "olist"


class Quiet:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ticks = 0
        self._awaited: dict[int, asyncio.Event] = defaultdict(asyncio.Event)

    def begin(self, purchases: int, done: int) -> None:
        pass

    def tick(self, simulated: int, done: int) -> None:
        self.ticks += 1
        self._awaited[self.ticks].set()

    async def until(self, tick: int) -> None:
        """Wait until so many ticks are finished."""
        await self._awaited[tick].wait()

    def say(self, line: str) -> None:
        self.lines.append(line)

    def end(self) -> None:
        pass


async def replay(
    plaza: RunningPlaza, plan: Plan, options: ReplayOptions, key: str, quiet: Quiet
) -> ReplayResult:
    return await run(
        plan,
        options,
        bridge_url=plaza.bridge_url,
        api_key=key,
        journal_path=plaza.data / "replay.json",
        reporter=quiet,
    )


def genesis(plan: Plan) -> int:
    first = plan.first_time()
    assert first is not None
    return first - DAY


def needs_anvil() -> None:
    if find_anvil() is None:
        pytest.skip("no anvil binary: run `make setup`")


def genuine_orders() -> Path:
    folder = Path(os.environ.get("PLAZA_ORDERS") or OLIST)
    if not folder.is_dir():
        pytest.skip("no genuine orders: set PLAZA_ORDERS to a folder with the Olist files")
    return folder


def order(number: int, status: OrderStatus, **changes: object) -> Order:
    """Ten orders a day; the rest as given."""
    return replace(
        Order(
            order_id=f"A-{number}",
            buyer=f"buyer-{number % 3}",
            status=status,
            purchased_at=1_700_000_000 + number * 8_640,
            approved_at=None,
            shipped_at=None,
            delivered_at=None,
            items=(Item("s1", 1_000_033 * (number + 1), 777),),
        ),
        **changes,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("chain", ["tester", pytest.param("anvil", marks=pytest.mark.anvil)])
async def test_generated_orders_go_through_with_no_drift(tmp_path: Path, chain: str) -> None:
    if chain == "anvil":
        needs_anvil()
    options = ReplayOptions(generate=100, seed=11, tick=7 * DAY)
    plan = prepare(options)
    quiet = Quiet()

    with running_plaza(tmp_path / "data", chain, genesis(plan)) as plaza:
        result = await replay(plaza, plan, options, plaza.api_key("shop"), quiet)

    assert result.document["reconciliation"]["differences"] == []
    assert result.document["errors"] == {}
    assert result.ok
    assert result.document["generated"] is True
    assert result.document["purchases"] == len(plan.purchases) >= 100
    assert quiet.lines == []


async def test_every_outcome_of_an_order_is_reached_and_bad_rows_cost_only_themselves(
    tmp_path: Path,
) -> None:
    later = {"shipped_at": 1_700_200_000, "delivered_at": 1_700_300_000}
    orders = [
        order(0, OrderStatus.CREATED),
        order(1, OrderStatus.SHIPPED, shipped_at=1_700_100_000),
        order(2, OrderStatus.DELIVERED, **later),
        order(3, OrderStatus.CANCELED),
        order(4, OrderStatus.CANCELED, **later),
        order(5, OrderStatus.DELIVERED, items=(Item("s1", 39, 0), Item("s2", 1, 0)), **later),
        order(6, OrderStatus.UNAVAILABLE, **later, items=(Item("s3", 39, 0),)),
    ]
    export = tmp_path / "export"
    export.mkdir()
    write_orders(orders, export)
    with (export / "olist_order_items_dataset.csv").open("a") as items:
        items.write("A-0,2,s1,-5,0\r\n")
    options = ReplayOptions(orders=export)
    plan = prepare(options)

    with running_plaza(tmp_path / "data", "tester", genesis(plan)) as plaza:
        result = await replay(plaza, plan, options, plaza.api_key("shop"), Quiet())

    assert result.document["reconciliation"]["differences"] == []
    assert result.ok
    counts = {name: total["count"] for name, total in result.document["by_state"].items()}
    assert counts == {"authorized": 0, "shipped": 1, "released": 3, "voided": 1, "refunded": 2}
    (bad,) = result.document["bad_rows"]
    assert (bad["file"], bad["line"]) == ("olist_order_items_dataset.csv", 10)


@pytest.mark.parametrize("chain", ["tester", pytest.param("anvil", marks=pytest.mark.anvil)])
async def test_credit_lines_are_drawn_repaid_out_of_sales_and_reckoned_to_the_unit(
    tmp_path: Path, chain: str
) -> None:
    if chain == "anvil":
        needs_anvil()
    options = ReplayOptions(generate=120, seed=3, tick=3 * DAY, credit=3)
    plan = prepare(options)
    quiet = Quiet()

    with running_plaza(tmp_path / "data", chain, genesis(plan)) as plaza:
        result = await replay(plaza, plan, options, plaza.api_key("shop"), quiet)

    assert result.document["reconciliation"]["differences"] == []
    assert result.document["errors"] == {}
    assert result.ok
    assert quiet.lines == []
    credit = result.document["credit"]
    assert credit["lines"] == 3
    by_sales, by_hand = int(credit["by_sales"]), int(credit["by_hand"])
    assert by_sales > 0
    paid = by_sales + by_hand - int(credit["interest_paid"])
    assert int(credit["drawn"]) == paid + int(credit["principal"])
    assert int(credit["pool"]["share_price"]) > 10**6
    report = result.document["reconciliation"]["node"]
    assert report["checked"]["lines"] == 3
    assert report["credit"]["repaid_by_sales"] == credit["by_sales"]


@pytest.mark.anvil
async def test_a_chain_whose_clock_is_later_shifts_the_replay(tmp_path: Path) -> None:
    needs_anvil()
    options = ReplayOptions(generate=12, seed=5)
    plan = prepare(options)
    quiet = Quiet()

    with running_plaza(tmp_path / "data", "anvil", genesis(plan) + 400 * DAY) as plaza:
        result = await replay(plaza, plan, options, plaza.api_key("shop"), quiet)

    assert result.ok
    assert any("later than the data" in line for line in quiet.lines)


@pytest.mark.anvil
async def test_a_merchant_in_use_is_refused_and_a_finished_replay_can_be_checked_again(
    tmp_path: Path,
) -> None:
    needs_anvil()
    options = ReplayOptions(generate=6, seed=5, tick=7 * DAY)
    plan = prepare(options)

    with running_plaza(tmp_path / "data", "anvil", genesis(plan)) as plaza:
        key = plaza.api_key("shop")
        assert (await replay(plaza, plan, options, key, Quiet())).ok

        with pytest.raises(ReplayError, match="accounts and purchases already"):
            await replay(plaza, plan, options, key, Quiet())

        again = await replay(plaza, plan, replace(options, resume=True), key, Quiet())
        assert again.ok
        assert again.document["run"]["purchases"] == 0


@pytest.mark.anvil
async def test_a_node_killed_in_the_middle_and_started_again_doubles_and_loses_nothing(
    tmp_path: Path,
) -> None:
    needs_anvil()
    options = ReplayOptions(generate=60, seed=21, tick=2 * DAY, wait_node=240, credit=3)
    plan = prepare(options)
    quiet = Quiet()

    with running_plaza(tmp_path / "data", "anvil", genesis(plan)) as plaza:
        running = asyncio.create_task(replay(plaza, plan, options, plaza.api_key("shop"), quiet))
        for after in (3, 8, 14):  # at 14, lines have been drawn on
            await asyncio.wait_for(quiet.until(after), 120)
            await asyncio.to_thread(plaza.kill)
            await asyncio.to_thread(plaza.start)
        result = await running

    assert result.document["reconciliation"]["differences"] == []
    assert result.document["errors"] == {}
    assert result.ok
    assert result.document["run"]["outages"] >= 1


@pytest.mark.anvil
async def test_a_replay_that_ended_halfway_is_resumed_without_doing_anything_twice(
    tmp_path: Path,
) -> None:
    needs_anvil()
    options = ReplayOptions(generate=60, seed=22, tick=2 * DAY, credit=3)
    plan = prepare(options)
    quiet = Quiet()

    with running_plaza(tmp_path / "data", "anvil", genesis(plan)) as plaza:
        key = plaza.api_key("shop")
        running = asyncio.create_task(replay(plaza, plan, options, key, quiet))
        await asyncio.wait_for(quiet.until(11), 120)
        await asyncio.sleep(0.05)  # into the twelfth, in which lines are opened
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        result = await replay(plaza, plan, replace(options, resume=True), key, Quiet())

    assert result.document["reconciliation"]["differences"] == []
    assert result.ok
    assert result.document["run"]["resumed"] is True


@pytest.mark.olist
@pytest.mark.anvil
async def test_a_hundred_genuine_orders_go_through_with_no_drift(tmp_path: Path) -> None:
    needs_anvil()
    folder = genuine_orders()
    options = ReplayOptions(orders=folder, limit=100, tick=7 * DAY)
    plan = prepare(options)

    with running_plaza(tmp_path / "data", "anvil", genesis(plan)) as plaza:
        result = await replay(plaza, plan, options, plaza.api_key("shop"), Quiet())

    assert result.document["reconciliation"]["differences"] == []
    assert result.ok
    assert result.document["orders"] == 100
    assert result.document["source"] == f"genuine files from {folder}"


def test_the_labels_of_generated_orders_survive_their_files(tmp_path: Path) -> None:
    write_orders(generate_orders(3, seed=9).orders, tmp_path)

    names = {purchase.order_id for purchase in prepare(ReplayOptions(orders=tmp_path)).purchases}
    assert all(name.startswith("generated-9-") for name in names)
