"""How the bridge says that something is wrong: with itself, with the worker, with the chain."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlalchemy.orm import Session

from node.store import Store
from node.store.models import WorkerStatus
from tests.node.bridge.support import Client, Desk


async def problems(desk: Desk) -> list[str]:
    answer = await Client(desk.app, None).get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["status"] == "not ready"
    found: list[str] = answer.json()["problems"]
    return found


async def test_it_lives_without_worker_or_chain(desk: Desk) -> None:
    answer = await Client(desk.app, None).get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_it_is_not_ready_while_the_chain_is_silent(desk: Desk) -> None:
    assert [words.partition(":")[0] for words in await problems(desk)] == [
        "the chain does not answer"
    ]


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("heartbeat_at", 0, "the worker was last heard of"),
        ("head_block", 7 + 51, "the index is 51 blocks behind the chain"),
        ("conflicts", 2, "2 transactions are in conflict"),
    ],
)
async def test_it_is_not_ready_while_the_worker_is_in_trouble(
    desk: Desk, column: str, value: int, words: str
) -> None:
    desk.store.write_now(lambda s: s.execute(update(WorkerStatus).values({column: value})))
    assert any(problem.startswith(words) for problem in await problems(desk))


@contextmanager
def held(desk: Desk) -> Iterator[None]:
    """The writers' lock of the database, in somebody else's hands; it is waited for 0.1 s."""

    def wait_briefly(connection: Any, *_: Any) -> None:
        wait = "PRAGMA busy_timeout=100" if desk.store.is_sqlite else "SET lock_timeout = 100"
        connection.execute(wait)

    event.listen(desk.store._writer, "checkout", wait_briefly)
    if desk.store.is_sqlite:
        holder = sqlite3.connect(desk.settings.data / "plaza.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            holder.close()
        return
    other = Store(desk.settings.store_url)
    holding, done = threading.Event(), threading.Event()

    def hold(_: Session) -> None:
        holding.set()
        done.wait(timeout=30)

    thread = threading.Thread(target=other.write_now, args=(hold,))
    thread.start()
    assert holding.wait(timeout=10)
    try:
        yield
    finally:
        done.set()
        thread.join()
        other.close()


async def test_a_database_held_by_another_is_busy_not_broken(desk: Desk, shop: Client) -> None:
    assert (await shop.get("/v1/accounts")).status_code == 200  # the key is remembered
    with held(desk):
        answer = await shop.post("/v1/accounts", {"kinds": ["buyer"]}, key="k1")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_busy")
        assert answer.json()["retryable"] is True
        assert answer.headers["retry-after"] == "1"
    again = await shop.post("/v1/accounts", {"kinds": ["buyer"]}, key="k1")
    assert again.status_code == 202


async def test_what_nobody_foresaw_is_a_500_without_internals(
    desk: Desk, shop: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that is gone."""
    desk.store.write_now(lambda s: s.connection().exec_driver_sql("DROP TABLE topups"))
    answer = await shop.http.get("/v1/topups")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "topups" not in answer.text
    assert re.search("no such table|does not exist", capsys.readouterr().out)


async def test_the_log_names_no_secrets(
    desk: Desk, shop: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    await shop.ok("/v1/accounts", {"kinds": ["buyer"], "reference": "Jane Doe"}, key="secret-key")
    await shop.get("/v1/accounts?reference=Jane%20Doe")
    logged = capsys.readouterr().out
    assert "/v1/accounts" in logged
    assert desk.merchant_id in logged
    for secret in (desk.shop_key.secret, "Jane", "secret-key"):
        assert secret not in logged
