"""What the platform's staff sees of the outbox, and asks of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from node.bridge.api_keys import create_merchant_key
from node.bridge.auth import ALL_SCOPES
from node.store import Store
from node.store.models import (
    ChainTx,
    ChainTxOperation,
    ChainTxStatus,
    Operation,
    OperationStatus,
    OutboxRequest,
    TxAttempt,
)
from tests.node.bridge.market import Market
from tests.node.bridge.support import CHAIN_NOW, Client, Desk

SENDER = "0x" + "11" * 20


def staff(desk: Desk) -> Client:
    """A key of the platform's own, whose merchant has nothing to do with the others."""
    key = desk.store.write_now(
        lambda session: create_merchant_key(
            session, desk.settings, merchant="Platform staff", name="staff", scopes=ALL_SCOPES
        )
    )
    return Client(desk.app, key.secret)


async def signed(
    desk: Desk, status: str = "signed", operation_status: str = "submitted", count: int = 1
) -> tuple[str, list[str]]:
    """A transaction as the outbox writes it; its id, and those of its operations."""
    for _ in range(count):
        await desk.shop.ok("/v1/accounts", {"kinds": ["buyer"]})
    ids = sorted(operation.id for operation in desk.rows(Operation))[-count:]
    for id_ in ids:
        desk.set(Operation, id_, status=operation_status)

    def write(session: Any) -> int:
        nonce = len(session.scalars(select(ChainTx.id)).all())
        hash_ = f"0x{nonce + 1:064x}"
        chain_tx = ChainTx(sender=SENDER, nonce=nonce, status=status, tx_hash=hash_)
        session.add(chain_tx)
        session.flush()
        attempt = TxAttempt(
            hash=hash_, chain_tx_id=chain_tx.id, raw="0x02", created_at=CHAIN_NOW, kind="call"
        )
        session.add(attempt)
        for position, id_ in enumerate(ids):
            session.add(
                ChainTxOperation(chain_tx_id=chain_tx.id, position=position, operation_id=id_)
            )
        return chain_tx.id

    return f"ctx_{desk.store.write_now(write)}", ids


async def test_transactions_are_listed_by_status_and_sender_and_shown_whole(desk: Desk) -> None:
    one, (first, second) = await signed(desk, count=2)
    two, _ = await signed(desk, status="mined", operation_status="done")
    client = staff(desk)
    listed = (await client.get("/v1/chain_transactions")).json()
    assert [row["id"] for row in listed["data"]] == [two, one]
    assert [row["operation_count"] for row in listed["data"]] == [1, 2]
    for query, expected in (
        ("status=signed", [one]),
        ("status=conflict", []),
        (f"sender={SENDER}", [two, one]),
        ("sender=0x" + "22" * 20, []),
    ):
        found = (await client.get(f"/v1/chain_transactions?{query}")).json()
        assert [row["id"] for row in found["data"]] == expected
    part = (await client.get("/v1/chain_transactions?limit=1")).json()
    assert (part["has_more"], part["data"][0]["id"]) == (True, two)
    rest = (await client.get(f"/v1/chain_transactions?cursor={part['next_cursor']}")).json()
    assert [row["id"] for row in rest["data"]] == [one]

    shown = (await client.get(f"/v1/chain_transactions/{one}")).json()
    assert [operation["id"] for operation in shown["operations"]] == [first, second]
    assert {operation["merchant_id"] for operation in shown["operations"]} == {desk.merchant_id}
    assert shown["attempts"] == [
        {"tx_hash": shown["tx_hash"], "kind": "call", "created_at": listed["data"][1]["created_at"]}
    ]
    assert shown["requests"] == []


@pytest.mark.parametrize("id_", ["ctx_0", "ctx_999", "17", "ctx_", "ctx_1x", "ctx_" + "9" * 40])
async def test_what_is_no_transaction_is_not_found(desk: Desk, id_: str) -> None:
    client = staff(desk)
    await signed(desk)
    found = await client.get(f"/v1/chain_transactions/{id_}")
    assert (found.status_code, found.json()["code"]) == (404, "not_found")
    for action, body in (("cancel", None), ("rebroadcast", None), ("replace", {"gas_limit": 9**6})):
        asked = await client.post(f"/v1/chain_transactions/{id_}/{action}", body)
        assert (asked.status_code, asked.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("cursor", ["x", "0", "-1", "9" * 30, "ctx_"])
async def test_a_cursor_of_another_list_is_refused(desk: Desk, cursor: str) -> None:
    refused = await staff(desk).get(f"/v1/chain_transactions?cursor={cursor}")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


async def test_a_merchants_key_sees_nothing_of_it(desk: Desk, shop: Client) -> None:
    id_, (operation,) = await signed(desk)
    path = f"/v1/chain_transactions/{id_}"
    answers = [
        await shop.get("/v1/chain_transactions"),
        await shop.get(path),
        *[await shop.post(f"{path}/{action}") for action in ("cancel", "rebroadcast")],
        await shop.post(f"{path}/replace", {"gas_limit": 100_000}),
        await shop.post(f"/v1/operations/{operation}/retry"),
    ]
    for refused in answers:
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    beyond = await shop.post("/v1/api_keys", {"name": "x", "scopes": ["operate"]})
    assert beyond.json()["code"] == "scope_missing"
    assert desk.rows(OutboxRequest) == []


async def test_what_is_asked_is_written_down_once_for_the_worker(desk: Desk) -> None:
    client = staff(desk)
    id_, _ = await signed(desk)
    path = f"/v1/chain_transactions/{id_}"
    asked = await client.post(f"{path}/replace", {"gas_limit": 2_000_000}, key="replace-1")
    again = await client.post(f"{path}/replace", {"gas_limit": 2_000_000}, key="replace-1")
    assert (asked.status_code, again.status_code) == (202, 202)
    assert asked.json() == again.json()
    (request,) = asked.json()["requests"]
    assert (request["action"], request["gas_limit"], request["status"]) == (
        "replace",
        2_000_000,
        "pending",
    )
    (row,) = desk.rows(OutboxRequest)
    assert (row.id, f"ctx_{row.chain_tx_id}") == (request["id"], id_)
    beside = await client.post(f"{path}/cancel")
    assert (beside.status_code, beside.json()["code"]) == (409, "operation_pending")
    assert beside.json()["retryable"] is True
    desk.set(OutboxRequest, row.id, status="refused", answer="no", finished_at=CHAIN_NOW)
    canceled = await client.ok(f"{path}/cancel")
    assert [request["status"] for request in canceled["requests"]] == ["refused", "pending"]
    assert canceled["requests"][0]["answer"] == "no"


@pytest.mark.parametrize("status", ["mined", "conflict", "resolved"])
async def test_what_does_not_wait_to_be_mined_is_left_alone(desk: Desk, status: str) -> None:
    client = staff(desk)
    id_, _ = await signed(desk, status=status)
    for action, body in (("cancel", None), ("rebroadcast", None), ("replace", {"gas_limit": 9**6})):
        refused = await client.post(f"/v1/chain_transactions/{id_}/{action}", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
        assert refused.json()["actual"] == status
    assert desk.rows(OutboxRequest) == []


@pytest.mark.parametrize("gas_limit", [0, -1, 20_999, 500_000_001, 1.5, "100000", None])
async def test_a_gas_limit_is_one_that_a_block_can_hold(desk: Desk, gas_limit: Any) -> None:
    client = staff(desk)
    id_, _ = await signed(desk)
    refused = await client.post(f"/v1/chain_transactions/{id_}/replace", {"gas_limit": gas_limit})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert refused.json()["param"] == "gas_limit"


async def test_only_an_operation_in_conflict_is_tried_again(desk: Desk) -> None:
    client = staff(desk)
    id_, (operation,) = await signed(desk)
    refused = await client.post(f"/v1/operations/{operation}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    missing = await client.post("/v1/operations/op_x/retry")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    desk.set(Operation, operation, status="conflict")
    asked = await client.post(f"/v1/operations/{operation}/retry")
    assert (asked.status_code, asked.json()["status"]) == (
        202,
        "conflict",
    )
    twice = await client.post(f"/v1/operations/{operation}/retry")
    assert (twice.status_code, twice.json()["code"]) == (409, "operation_pending")
    shown = (await client.get(f"/v1/chain_transactions/{id_}")).json()
    assert [(one["action"], one["operation_id"]) for one in shown["requests"]] == [
        ("retry", operation)
    ]


async def test_an_operation_that_was_signed_once_can_no_longer_be_canceled(
    desk: Desk, shop: Client
) -> None:
    """Queued again after a conflict: the bytes signed before are out in the world."""
    account = await desk.account()
    body = {"account": account["id"], "amount": "1", "reference": "r"}
    top_up = await shop.ok("/v1/topups", body)
    (operation,) = desk.operations("topup.mint")
    desk.set(Operation, operation.id, alone=True)
    refused = await shop.post(f"/v1/topups/{top_up['id']}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    desk.set(Operation, operation.id, alone=False)
    assert (await shop.post(f"/v1/topups/{top_up['id']}/cancel")).is_success


async def test_the_worker_carries_out_what_the_bridge_has_written(market: Market) -> None:
    """A stranger with the treasury's key takes a nonce; people look, and the top-up is made."""
    store: Store = market.platform.store
    client = Client(
        market.shop.app,
        store.write_now(
            lambda session: create_merchant_key(
                session,
                market.platform.settings,
                merchant="Platform staff",
                name="staff",
                scopes=ALL_SCOPES,
            )
        ).secret,
    )
    account = await market.member(topup=5)
    (mined,) = (await client.get("/v1/chain_transactions?status=mined&limit=1")).json()["data"]
    refused = await client.post(f"/v1/chain_transactions/{mined['id']}/cancel")
    assert refused.json()["code"] == "invalid_state"

    # What the broadcaster writes once it has seen the stranger several times.
    platform = market.platform
    treasury = platform.seed.platform("treasury")
    top_up = await market.shop.ok(
        "/v1/topups", {"account": account["id"], "amount": "7", "reference": "late"}
    )
    operation = store.read_now(
        lambda session: session.scalars(
            select(Operation).where(Operation.resource_id == top_up["id"])
        ).one()
    )
    await _until(store, operation.id, OperationStatus.DONE)

    def forget(session: Any) -> int:
        """As if all that was ever signed for it had been for a nonce that a stranger used."""
        row = session.get_one(Operation, operation.id)
        row.status = OperationStatus.CONFLICT
        carried = session.scalars(
            select(ChainTxOperation).where(ChainTxOperation.operation_id == operation.id)
        ).one()
        carried.succeeded = None
        chain_tx = session.get_one(ChainTx, carried.chain_tx_id)
        chain_tx.status = ChainTxStatus.CONFLICT
        return int(chain_tx.id)

    chain_tx_id = store.write_now(forget)
    await client.ok(f"/v1/operations/{operation.id}/retry")
    path = f"/v1/chain_transactions/ctx_{chain_tx_id}"
    for _ in range(400):
        (request,) = (await client.get(path)).json()["requests"]
        if request["status"] != "pending":
            break
        await asyncio.sleep(0.05)
    # It was mined after all: the worker has looked, and signs nothing a second time.
    assert request["status"] == "refused"
    assert "is in block" in request["answer"]
    assert treasury.address == (await client.get(path)).json()["sender"]
    assert await platform.balance(account["address"]) == 12


async def _until(store: Store, operation_id: str, status: str) -> None:
    for _ in range(400):
        found = store.read_now(lambda session: session.get_one(Operation, operation_id).status)
        if found == status:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{operation_id} is {found}, not {status}")
