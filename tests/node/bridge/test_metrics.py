"""What Prometheus is told, and who may ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, text

from node.bridge.app import create_app
from node.store.ids import Ids, earliest_id
from node.store.models import Block, ChainTx, LastReconciliation, Operation
from tests.node.bridge.market import PRICE, Market
from tests.node.bridge.support import CHAIN_NOW, COIN, SEED, Client, Desk

Labels = tuple[tuple[str, str], ...]


async def scrape(app: Any, **options: Any) -> dict[tuple[str, Labels], float]:
    client = Client(app, None)
    answer = await client.get("/metrics", **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(answer.text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(name.startswith("plaza_") for name in names)
    assert all(family.documentation for family in families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: dict[tuple[str, Labels], float], name: str, **labels: str) -> float | None:
    return samples.get((f"plaza_{name}", tuple(sorted(labels.items()))))


def requests(samples: dict[tuple[str, Labels], float]) -> dict[tuple[str, str, str], float]:
    found = {}
    for (name, labels), count in samples.items():
        if name == "plaza_http_requests_total":
            of = dict(labels)
            found[of["method"], of["route"], of["status"]] = count
    return found


async def test_requests_are_counted_by_route_never_by_path(desk: Desk, shop: Client) -> None:
    account = await desk.account()
    for _ in range(3):
        await shop.get(f"/v1/accounts/{account['id']}")
    await shop.get("/v1/accounts/acc_none")
    await Client(desk.app, None).get("/v1/accounts")
    await shop.http.get("/v1/nowhere/at/all?x=secret")
    await shop.http.request("BREW", "/v1/accounts")
    await shop.http.put("/v1/accounts")
    await shop.get("/health/live")
    await shop.post("/v1/accounts", {"kinds": "x" * 100_000})  # refused before it is routed
    samples = await scrape(desk.app)
    assert requests(samples) == {
        ("POST", "/v1/accounts", "202"): 1,
        ("GET", "/v1/accounts/{account_id}", "200"): 3,
        ("GET", "/v1/accounts/{account_id}", "404"): 1,
        ("GET", "/v1/accounts", "401"): 1,
        ("GET", "none", "404"): 1,
        ("other", "/v1/accounts", "405"): 1,
        ("PUT", "/v1/accounts", "405"): 1,
        ("GET", "/health/live", "200"): 1,
        ("POST", "none", "413"): 1,
    }
    took = {"bridge": "0", "method": "GET", "route": "/v1/accounts/{account_id}"}
    assert value(samples, "http_request_seconds_count", **took) == 4
    assert 0 < (value(samples, "http_request_seconds_sum", **took) or 0) < 4
    assert value(samples, "http_requests_in_progress", bridge="0") == 1  # the scrape itself
    everything = str(samples)
    for word in (account["id"], "acc_none", "nowhere", "secret", "BREW", desk.merchant_id):
        assert word not in everything


async def test_every_route_has_a_template_of_its_own(desk: Desk) -> None:
    """Whatever the ids are, the label is the path of the OpenAPI document."""
    app = desk.new_app()
    client = Client(app, None)  # with a key, the stream of events would never end
    paths = app.openapi()["paths"]
    for path, methods in paths.items():
        for method in methods:
            await client.http.request(method.upper(), path.replace("{", "x").replace("}", ""))
    counted = requests(await scrape(app))
    assert {(method, route) for method, route, _ in counted} == {
        (method.upper(), path) for path, methods in paths.items() for method in methods
    }


async def test_each_process_counts_its_own(desk: Desk) -> None:
    second = create_app(
        desk.settings, desk.new_app().state.context.store, desk.manifest, SEED, desk.rpc, number=1
    )
    for app, count in ((desk.app, 2), (second, 3)):
        for _ in range(count):
            await Client(app, None).get("/health/live")
    for app, bridge, count in ((desk.app, "0", 2), (second, "1", 3)):
        labels = {"method": "GET", "route": "/health/live", "status": "200"}
        samples = await scrape(app)
        assert value(samples, "http_requests_total", bridge=bridge, **labels) == count


async def test_the_outbox_the_index_and_the_books_are_shown(desk: Desk, shop: Client) -> None:
    empty = await scrape(desk.app)
    assert value(empty, "chain_up") == 0
    assert value(empty, "database_up") == 1
    assert value(empty, "operations", state="queued") == 0
    assert value(empty, "operations_oldest_queued_seconds") == 0
    assert value(empty, "reconciliation_drift") is None

    account = await desk.account()
    body = {"account": account["id"], "amount": "1"}
    for number in range(6):
        await shop.ok("/v1/topups", {**body, "reference": f"r {number}"})
    ids = sorted(row.id for row in desk.operations("topup.mint"))
    statuses = ("queued", "submitted", "submitted", "failed", "conflict", "queued")
    for id_, status in zip(ids, statuses, strict=True):
        desk.set(Operation, id_, status=status)
    now = desk.app.state.context.wall_now()
    desk.set(Operation, ids[0], created_at=now - 90)
    old = Operation(
        id=Ids(lambda: (now - 7200) * 1000).new("op"),
        merchant_id=desk.merchant_id,
        kind="topup.mint",
        ref="0x0",
        resource_type="topup",
        resource_id="top_0",
        signer="treasury",
        to_address="0x0",
        calldata="0x",
        status="failed",
        created_at=now - 7200,
        updated_at=now - 7200,
    )
    signed = [
        ChainTx(sender="0x1", nonce=n, status=status, tx_hash=f"0x{n}")
        for n, status in ((1, "signed"), (2, "signed"), (3, "mined"))
    ]
    block = Block(number=7, hash="0x7", parent_hash="0x6", timestamp=CHAIN_NOW - 30)
    last = LastReconciliation(id=1, block_number=5, differences=2, finished_at=now - 60)
    desk.store.write_now(lambda session: session.add_all([old, *signed, block, last]))
    level = await scrape(desk.app)
    for state, count in (("queued", 2), ("submitted", 2), ("conflict", 1)):
        assert value(level, "operations", state=state) == count
    assert value(level, "operations_ended_last_hour", state="failed") == 1
    assert 90 <= (value(level, "operations_oldest_queued_seconds") or 0) < 120
    assert value(level, "outbox_signed") == 2
    assert value(level, "outbox_backlog") == 4
    assert value(level, "index_block") == 7
    assert (value(level, "index_lag_blocks"), value(level, "index_lag_seconds")) == (0, 0)
    assert value(level, "reconciliation_drift") == 2
    assert 60 <= (value(level, "reconciliation_age_seconds") or 0) < 90
    events = (await shop.get("/v1/events?limit=1000")).json()["data"]
    assert value(level, "event_seq") == events[-1]["seq"]
    assert (value(level, "worker_heartbeat_age_seconds") or 99) < 60

    desk.store.write_now(
        lambda s: s.connection().exec_driver_sql("UPDATE worker_status SET head_block = 12")
    )
    behind = await scrape(desk.app)
    assert value(behind, "index_lag_blocks") == 5
    assert 30 <= (value(behind, "index_lag_seconds") or 0) < 60


async def test_no_query_reads_a_whole_table(desk: Desk) -> None:
    """By the database's own plan of every statement of a scrape."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(desk.store._reader, "before_cursor_execute", note)
    await scrape(desk.app)
    event.remove(desk.store._reader, "before_cursor_execute", note)
    assert len(asked) >= 8

    explain = "EXPLAIN QUERY PLAN" if desk.store.is_sqlite else "EXPLAIN"

    def plans(session: Any) -> list[str]:
        if not desk.store.is_sqlite:  # where nothing is in a table, all of it is read soonest
            session.connection().exec_driver_sql("SET LOCAL enable_seqscan = off")
        return [
            str(row[-1])
            for statement, parameters in asked
            for row in session.connection().exec_driver_sql(f"{explain} {statement}", parameters)
        ]

    found = desk.store.read_now(plans)
    assert any("ix_operations_status_id" in step for step in found)
    scans = [step for step in found if step.startswith("SCAN") or "Seq Scan" in step]
    # The newest block: by the primary key, and one row of it.
    assert all("blocks" in step or "CONSTANT" in step for step in scans), scans


async def test_the_pools_are_shown(desk: Desk) -> None:
    await desk.account()
    samples = await scrape(desk.app)
    assert [pool.name for pool in desk.store.pools] == ["reader", "writer"]
    for pool in ("reader", "writer"):
        of = {"bridge": "0", "pool": pool}
        assert value(samples, "database_connections", **of, state="in_use") == 0
        assert (value(samples, "database_connections", **of, state="idle") or 0) >= 1
    held = desk.store._reader.connect()
    samples = await scrape(desk.app)
    held.close()
    assert value(samples, "database_connections", bridge="0", pool="reader", state="in_use") == 1
    assert value(samples, "database_writes_waiting", bridge="0") == 0


async def test_a_database_that_is_broken_is_told_and_not_a_500(desk: Desk) -> None:
    desk.store.write_now(lambda session: session.execute(text("DROP TABLE worker_status")))
    samples = await scrape(desk.app)
    assert value(samples, "database_up") == 0
    assert value(samples, "operations", state="queued") is None
    assert value(samples, "http_requests_in_progress", bridge="0") == 1


# ------------------------------------------------------------------------------- who may ask


async def ask(app: Any, peer: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, client=(peer, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge") as http:
        return await http.get("/metrics", headers=headers)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1"])
async def test_this_machine_may_ask(desk: Desk, peer: str) -> None:
    assert (await ask(desk.app, peer)).status_code == 200


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("10.0.0.7", {}),
        ("::ffff:10.0.0.7", {}),
        ("2001:db8::1", {}),
        ("localhost.example.com", {}),
        ("", {}),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}),  # a proxy of this machine passed it on
        ("127.0.0.1", {"Forwarded": "for=10.0.0.7"}),
        ("10.0.0.7", {"Authorization": "Bearer "}),
    ],
)
async def test_others_find_nothing(desk: Desk, peer: str, headers: dict[str, str]) -> None:
    answer = await ask(desk.app, peer, **headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    keyed = await ask(desk.app, "10.0.0.7", Authorization=f"Bearer {desk.shop_key.secret}")
    assert keyed.status_code == 404


def with_settings(desk: Desk, **changes: Any) -> Any:
    settings = desk.settings.model_copy(update=changes)
    store = desk.new_app().state.context.store
    return create_app(settings, store, desk.manifest, SEED, desk.rpc)


async def test_with_a_token_it_is_the_token_that_counts(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret-token\n")
    app = with_settings(desk, metrics_token_file=file)
    for peer in ("127.0.0.1", "10.0.0.7"):
        assert (await ask(app, peer, Authorization="Bearer s3cret-token")).status_code == 200
        for wrong in ("", "Bearer", "Bearer s3cret", "Basic s3cret-token", "Bearer ä"):
            headers = {"Authorization": wrong} if wrong.isascii() else {}
            answer = await ask(app, peer, **headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    off = with_settings(desk, metrics=False, metrics_token_file=file)
    assert (await ask(off, "127.0.0.1", Authorization="Bearer s3cret-token")).status_code == 404
    file.write_text("\n")
    with pytest.raises(ValueError, match="holds no token"):
        with_settings(desk, metrics_token_file=file)


def test_ids_are_found_by_their_time() -> None:
    ids = Ids(lambda: 1_700_000_000_000)
    made = ids.new("op")
    assert earliest_id("op", 1_700_000_000_000) <= made < earliest_id("op", 1_700_000_000_001)
    assert earliest_id("op", -5) == "op_" + "0" * 32


# --------------------------------------------------------------------------- with a real chain


async def test_a_running_node_says_how_it_stands(market: Market) -> None:
    buyer, seller = await market.member(topup=2 * PRICE), await market.member("seller")
    await market.purchase(buyer, seller)
    before = await scrape(market.shop.app)
    assert (value(before, "chain_up"), value(before, "index_lag_blocks")) == (1, 0)
    assert value(before, "chain_block") == value(before, "index_block")
    assert (value(before, "outbox_backlog"), value(before, "outbox_signed")) == (0, 0)
    assert value(before, "reconciliation_drift") is None
    report = await market.reconcile()
    after = await scrape(market.shop.app)
    assert value(after, "reconciliation_drift") == 0
    assert value(after, "reconciliation_block") == report["block_number"]
    assert (value(after, "reconciliation_age_seconds") or 0) < 60

    # A balance that the chain does not have: it is found, told, and the node is not ready.
    wrong = {"amount": str(COIN), "address": buyer["address"]}
    market.platform.store.write_now(
        lambda session: session.execute(
            text("UPDATE members SET balance = :amount WHERE address = :address"), wrong
        )
    )
    assert (await market.shop.get("/health/ready")).status_code == 200
    found = (await market.shop.get("/v1/reconciliation")).json()["drift"]
    assert len(found) == value(await scrape(market.shop.app), "reconciliation_drift") > 0
    ready = await market.shop.get("/health/ready")
    assert (ready.status_code, ready.json()["drift"]) == (503, len(found))
    assert any("differ in" in problem for problem in ready.json()["problems"])
