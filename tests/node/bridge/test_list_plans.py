"""Every list goes through an index from its newest row on, with each of its filters: no scan of a
table, no sort, on SQLite and on PostgreSQL. So a page costs the same however long the list is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert

from node.bridge.api_keys import create_merchant_key
from node.bridge.auth import ALL_SCOPES
from node.store.ids import earliest_id
from node.store.models import CreditLine
from tests.node.bridge.support import Client, Desk

CURSOR = earliest_id("xxx", 2**47)
# The list, and the columns by which the index finds its rows; {…} are ids of what the desk made.
# "few": a key of one row or some, which may be sorted.
LISTS = [
    ("/v1/accounts", "merchant_id"),
    ("/v1/accounts?reference=customer-1", "few merchant_id reference"),
    ("/v1/accounts/{account}/entries", "address"),
    ("/v1/topups", "merchant_id"),
    ("/v1/topups?status=failed", "merchant_id status"),
    ("/v1/topups?reference=bank", "few merchant_id ref"),
    ("/v1/redemptions", "merchant_id"),
    ("/v1/redemptions?status=failed", "merchant_id status"),
    ("/v1/redemptions?reference=bank", "few merchant_id ref"),
    ("/v1/transfers", "merchant_id"),
    ("/v1/transfers?status=failed", "merchant_id status"),
    ("/v1/payment_requests", "merchant_id"),
    ("/v1/payment_requests?status=paid", "merchant_id status"),
    ("/v1/payment_requests?status=open", "merchant_id status"),
    ("/v1/payment_requests?payee={account}", "merchant_id payee_account_id"),
    ("/v1/payment_requests?reference=invoice", "few merchant_id reference"),
    ("/v1/payment_requests/{payment_request}/payments", "request_id"),
    ("/v1/purchases", "merchant_id"),
    ("/v1/purchases?status=voided", "merchant_id status"),
    ("/v1/purchases?order_id=A-1", "few merchant_id order_id"),
    ("/v1/purchases?order_id=A-1&status=voided", "few merchant_id order_id"),
    ("/v1/sales_facts", "merchant_id"),
    ("/v1/sales_facts?kind=review", "merchant_id kind"),
    ("/v1/sales_facts?seller={account}", "merchant_id seller_account_id"),
    ("/v1/sales_facts?order_id=A-1", "few merchant_id order_id"),
    ("/v1/credit_lines", "merchant_id"),
    ("/v1/credit_lines/{line}/draws", "merchant_id account_id"),
    ("/v1/credit_lines/{line}/repayments", "merchant_id account_id"),
    ("/v1/credit_lines/offers", "merchant_id"),
    ("/v1/credit_lines/offers?status=revoked", "merchant_id status"),
    ("/v1/credit_lines/offers?account={account}", "merchant_id account_id"),
    ("/v1/credit_lines/{line}/actions", "merchant_id account_id"),
    ("/v1/credit_lines/{line}/entries", "seller"),
    ("/v1/scores", "merchant_id"),
    ("/v1/scores?account={account}", "merchant_id account_id"),
    ("/v1/scores?grade=A", "merchant_id grade"),
    ("/v1/pool/positions", "merchant_id"),
    ("/v1/pool/deposits", "merchant_id"),
    ("/v1/pool/withdrawals", "merchant_id"),
    ("/v1/pool/reserve", "merchant_id"),
    ("/v1/operations", "merchant_id"),
    ("/v1/operations?status=failed", "merchant_id status"),
    ("/v1/operations?resource_id={account}", "few merchant_id resource_id"),
    ("/v1/operations?resource_id={account}&status=queued", "few merchant_id resource_id"),
    ("/v1/events", "merchant_id"),
    ("/v1/events?after=7", "merchant_id"),
    ("/v1/webhook_endpoints", "merchant_id"),
    ("/v1/webhook_endpoints/{endpoint}/deliveries", "endpoint_id"),
    ("/v1/webhook_endpoints/{endpoint}/deliveries?status=failed", "endpoint_id status"),
    ("/v1/webhook_endpoints/{endpoint}/deliveries?event=evt_1", "few endpoint_id event_seq"),
    ("/v1/api_keys", "merchant_id"),
    ("/v1/chain_transactions", ""),
    ("/v1/chain_transactions?status=conflict", "status"),
    ("/v1/chain_transactions?sender={address}", "sender"),
]
# Reckoned from all entries of one line.
RECKONED = {"/v1/credit_lines/{line_id}/statements"}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, {"webhook_networks": "127.0.0.0/8"})
    yield desk
    desk.close()


@pytest.fixture
async def ids(desk: Desk) -> dict[str, str]:
    account = await desk.account()
    line = {column.name: 0 for column in CreditLine.__table__.columns} | {
        "seller": account["address"],
        "status": "closed",
        "offer_hash": "0x",
    }
    desk.store.write_now(lambda session: session.execute(insert(CreditLine), line))
    payment = {"payee": account["id"], "amount": "5"}
    endpoint = await desk.shop.ok("/v1/webhook_endpoints", {"url": "http://127.0.0.1:9/"})
    return {
        "account": account["id"],
        "address": account["address"],
        "line": account["id"].replace("acc_", "lin_"),
        "payment_request": (await desk.shop.ok("/v1/payment_requests", payment))["id"],
        "endpoint": endpoint["id"],
    }


async def test_no_list_scans_or_sorts(desk: Desk, ids: dict[str, str]) -> None:
    key = desk.store.write_now(
        lambda session: create_merchant_key(
            session, desk.settings, merchant="Demo shop", name="all", scopes=ALL_SCOPES
        )
    )
    asks = Client(desk.app, key.secret)
    explain = _explain_sqlite if desk.store.is_sqlite else _explain_postgresql
    wrong = []
    for template, by in LISTS:
        path = template.format(**ids)
        cursors = [""]
        if not path.startswith("/v1/events"):
            number = re.search("(entries|payments|deliveries|chain_transactions)", path)
            cursors.append(f"{'&' if '?' in path else '?'}cursor={7 if number else CURSOR}")
        for cursor in cursors:
            with _statements(desk) as run:
                response = await asks.get(path + cursor)
            assert response.status_code == 200, response.text
            statement, parameters = run[-1]
            assert "LIMIT" in statement
            with desk.store._reader.connect() as connection:
                complaint, plan = explain(connection, statement, parameters, by.split())
                connection.rollback()
            if complaint:
                wrong.append(f"{template} {cursor}: {complaint}\n{plan}")
    assert not wrong, "\n".join(wrong)


async def test_every_list_and_filter_is_looked_at(desk: Desk) -> None:
    """Those of the OpenAPI document, but for times, which narrow a list of facts as it is read."""
    asked = set()
    for template, _ in LISTS:
        path, _, query = template.partition("?")
        asked.add(_shape(path))
        asked |= {f"{_shape(path)}?{part.partition('=')[0]}" for part in query.split("&") if part}
    known = {"limit", "cursor", "occurred_from", "occurred_before"}
    for path, methods in desk.app.openapi()["paths"].items():
        parameters = {one["name"] for one in methods.get("get", {}).get("parameters", ())}
        if "limit" in parameters and path not in RECKONED:
            assert _shape(path) in asked
            missing = {f"{_shape(path)}?{name}" for name in parameters - known} - asked
            path_parts = {f"{_shape(path)}?{name}" for name in re.findall(r"{(\w+)}", path)}
            assert missing <= path_parts | {f"{_shape(path)}?Last-Event-ID"}, missing


def _shape(path: str) -> str:
    return re.sub(r"{\w+}", "{}", path)


@contextmanager
def _statements(desk: Desk) -> Iterator[list[tuple[str, Any]]]:
    run: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "LIMIT" in statement:
            run.append((statement, parameters))

    event.listen(desk.store._reader, "before_cursor_execute", note)
    try:
        yield run
    finally:
        event.remove(desk.store._reader, "before_cursor_execute", note)


def _explain_sqlite(
    connection: Connection, statement: str, parameters: Any, by: list[str]
) -> tuple[str, str]:
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    steps = [row[3] for row in rows]
    plan = "\n".join(steps)
    if by and any(step.startswith("SCAN") for step in steps):  # else it is the primary key's order
        return "scans", plan
    few = "few" in by
    if "TEMP B-TREE" in plan and not few:
        return "sorts", plan
    found = re.findall(r"(\w+)=\?", plan if few else steps[0])
    return ("" if set(by) <= {"few", *found} else f"finds by {found}"), plan


def _explain_postgresql(
    connection: Connection, statement: str, parameters: Any, by: list[str]
) -> tuple[str, str]:
    """Tables are empty here, and reading all of nothing would be the cheapest plan. Which of two
    indexes finds fewer rows is known by statistics alone: that of a whole list is put away."""
    if len(by) > 1:
        (rows,) = re.findall(r"FROM (\w+)", statement)
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS ix_{rows}_list")
    for kind in ("seqscan", "bitmapscan", "sort"):
        connection.exec_driver_sql(f"SET LOCAL enable_{kind} = off")
    plan = "\n".join(
        row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
    )
    if "Seq Scan" in plan:
        return "scans", plan
    if "few" in by:
        return "", plan
    if "Sort" in plan:
        return "sorts", plan
    conditions = re.findall(r"Index Cond: (.*)", plan)
    found = re.findall(r"\(\(?(\w+)\)?(?:::text)? = ", conditions[0]) if conditions else []
    return ("" if set(by) <= set(found) else f"finds by {found}"), plan
