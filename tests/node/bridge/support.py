"""A bridge for tests: the real application on a migrated store, asked over ASGI.

Every answer is held against the OpenAPI document: the status and the code must be documented for
the route, and the body must fit the schema.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from sqlalchemy import inspect, select, text, update
from sqlalchemy.orm import Session

from node.bridge.api_keys import MerchantKey, create_merchant_key
from node.bridge.app import create_app
from node.bridge.problems import MEDIA_TYPE, ProblemDetails
from node.chain.deployment import Manifest
from node.chain.rpc import HttpRpc, Rpc
from node.keys import SealedSeed
from node.settings import Settings
from node.store import Store
from node.store.models import (
    Account,
    AccountStatus,
    Base,
    Dispute,
    EscrowOrder,
    Event,
    IdempotencyKey,
    Member,
    Operation,
    Purchase,
    WorkerStatus,
)
from tests import databases

CHAIN_NOW = 1_600_000_000
DAY = 86_400
COIN = 10**6
SEED = SealedSeed(b"\x05" * 32)
NOBODY = "http://127.0.0.1:9"  # nothing listens there


def a_manifest() -> Manifest:
    """Of a chain that is not there: these tests look at what the bridge writes."""

    def contract(number: int) -> dict[str, Any]:
        return {"address": f"0x{number:040x}", "artifact_hash": "0x" + "ab" * 32, "block": 1}

    names = ("admin", "treasury", "operator", "enforcer", "fee_receiver", "underwriter")
    return Manifest.model_validate(
        {
            "version": 1,
            "network": "plaza",
            "chain_id": 4242,
            "genesis_hash": "0x" + "cd" * 32,
            "rpc_url": NOBODY,
            "bridge_url": "http://127.0.0.1:8400",
            "coin": {"name": "Plaza Coin", "symbol": "PLZ", "decimals": 6},
            "contracts": {
                "AccessManager": contract(0x1001),
                "PlatformCoin": contract(0x1002),
                "PurchaseEscrow": contract(0x1003),
                "CreditBook": contract(0x1004),
                "LenderPool": contract(0x1005),
            },
            "roles": {},
            "accounts": {name: SEED.platform(name).address for name in names},
        }
    )


class Client:
    """One caller of the bridge."""

    def __init__(self, app: FastAPI, secret: str | None) -> None:
        self.app = app
        self._numbers = itertools.count()
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://bridge",
            headers=headers,
            timeout=60,
        )

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def post(
        self,
        path: str,
        json: Any = None,
        *,
        key: str | None = "new",
        wait: int | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """POST with a new idempotency key, or the key given; None sends none."""
        sent = dict(headers or {})
        if key is not None:
            sent["Idempotency-Key"] = f"{id(self)}-{next(self._numbers)}" if key == "new" else key
        if wait is not None:
            sent["Prefer"] = f"wait={wait}"
        if json is not None:
            options["json"] = json
        return await self.request("POST", path, headers=sent, **options)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = await self.http.request(method, path, **options)
        check_documented(self.app, method, path.partition("?")[0], response)
        return response

    async def ok(self, path: str, json: Any = None, **options: Any) -> dict[str, Any]:
        """POST, expect success, return the resource."""
        response = await self.post(path, json, **options)
        assert response.is_success, response.text
        body: dict[str, Any] = response.json()
        return body


_DOCUMENTS: list[dict[str, Any]] = []


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document, which is the same for every bridge and takes a second to write."""
    if not _DOCUMENTS:
        _DOCUMENTS.append(app.openapi())
    return _DOCUMENTS[0]


def check_documented(app: FastAPI, method: str, path: str, response: httpx.Response) -> None:
    """The answer is one that the OpenAPI document announces."""
    assert response.headers["x-request-id"]
    route = _route_of(app, method, path)
    if response.headers["content-type"] == MEDIA_TYPE:
        problem = ProblemDetails.model_validate_json(response.content)
        assert problem.status == response.status_code
        assert problem.request_id == response.headers["x-request-id"]
        assert response.status_code != 500, response.text
        if route is None:
            assert problem.code in ("not_found", "method_not_allowed")
            return
        documented = openapi(app)["paths"][route][method.lower()]["responses"]
        content = documented[str(response.status_code)]["content"][MEDIA_TYPE]
        assert problem.code in content["examples"], (route, problem.code)
        return
    assert route is not None, path
    documented = openapi(app)["paths"][route][method.lower()]["responses"]
    assert str(response.status_code) in documented or response.status_code == 200
    schema = documented.get(str(response.status_code)) or next(
        value for status, value in documented.items() if status.startswith("2")
    )
    media_type = response.headers["content-type"].partition(";")[0]
    assert media_type in schema["content"], (route, media_type)
    if media_type == "application/json":
        _validate(app, schema["content"][media_type]["schema"], response)


def _validate(app: FastAPI, schema: dict[str, Any], response: httpx.Response) -> None:
    document = {"components": openapi(app)["components"], **schema}
    Draft202012Validator(document).validate(response.json())


def _route_of(app: FastAPI, method: str, path: str) -> str | None:
    best: str | None = None
    for template, methods in openapi(app)["paths"].items():
        parts, wanted = template.split("/"), path.split("/")
        if len(parts) != len(wanted) or method.lower() not in methods:
            continue
        fits = all(a == b or a.startswith("{") for a, b in zip(parts, wanted, strict=True))
        if fits and (best is None or "{" in best.rpartition("/")[2]):
            best = template
    return best


# ------------------------------------------------------------------- a bridge without a chain


class Desk:
    """A bridge whose chain is silent: `stand` and its like write what the indexer would."""

    def __init__(self, folder: Path, settings: Any = None, **parts: Any) -> None:
        """With further settings, and parts of `create_app` other than the real ones."""
        database_url = databases.new_url(folder)
        self.settings = Settings(data=folder, database_url=database_url, **settings or {})
        self.parts = parts
        self.manifest = a_manifest()
        self.rpc: Rpc = HttpRpc(NOBODY)
        self.stores: list[Store] = []
        self.app = self.new_app()
        self.store = self.stores[0]
        self.shop_key = self.new_key("Demo shop")
        self.merchant_id = self.shop_key.merchant_id
        self.shop = Client(self.app, self.shop_key.secret)
        self.set_chain_time(CHAIN_NOW)

    def new_app(self) -> FastAPI:
        """Another process on the same database, or the same one after a restart."""
        store = Store(self.settings.store_url)
        self.stores.append(store)
        return create_app(self.settings, store, self.manifest, SEED, self.rpc, **self.parts)

    def new_key(self, merchant: str) -> MerchantKey:
        return self.store.write_now(
            lambda session: create_merchant_key(
                session, self.settings, merchant=merchant, name="test"
            )
        )

    def client_of(self, merchant: str) -> Client:
        return Client(self.app, self.new_key(merchant).secret)

    def close(self) -> None:
        for store in self.stores:
            store.close()

    # ------------------------------------------------------------------ what the worker says

    def set_chain_time(self, timestamp: int) -> None:
        now = time.time_ns() // 1_000_000
        values = {
            "heartbeat_at": now,
            "head_block": 7,
            "indexed_block": 7,
            "chain_time": timestamp,
            "chain_time_read_at": now,
            "conflicts": 0,
        }

        def write(session: Session) -> None:
            if session.get(WorkerStatus, 1) is None:
                session.add(WorkerStatus(id=1, **values))
            else:
                session.execute(update(WorkerStatus).values(**values))

        self.store.write_now(write)

    def settle(self, status: str = "done") -> None:
        """Every operation is over."""
        self.store.write_now(lambda s: s.execute(update(Operation).values(status=status)))

    def set(self, model: type[Base], key: str, **values: Any) -> None:
        statement = update(model).where(model.__table__.c.id == key).values(**values)
        self.store.write_now(lambda session: session.execute(statement))

    async def account(self, balance: int = 0, **more: Any) -> dict[str, Any]:
        """An active member with a balance."""
        account = await self.shop.ok("/v1/accounts", {"kinds": ["buyer"], **more})
        member = Member(
            address=account["address"],
            balance=balance,
            kinds=1,
            member_until=CHAIN_NOW + 3650 * DAY,
            frozen=False,
        )
        self.store.write_now(lambda session: session.add(member))
        self.set(Account, account["id"], status=AccountStatus.ACTIVE)
        self.settle()
        return account

    async def purchase(self, amount: int = 10 * COIN, **more: Any) -> dict[str, Any]:
        """Of a buyer who has twice the amount, not authorized yet."""
        buyer, seller = await self.account(2 * amount), await self.account()
        return await self.shop.ok(
            "/v1/purchases",
            {
                "order_id": f"A-{buyer['id']}",
                "payer": buyer["id"],
                "payee": seller["id"],
                "amount": str(amount),
                "authorize": False,
                **more,
            },
        )

    def hold(self, purchase: dict[str, Any], **totals: Any) -> None:
        """The purchase's coin is in escrow; further totals as the chain would have them."""
        row = self.store.read_now(lambda session: session.get_one(Purchase, purchase["id"]))
        order = EscrowOrder(
            order_hash=row.order_hash,
            payer=row.terms["payer"],
            payee=row.terms["payee"],
            authorized=row.amount,
            **{"held": row.amount, **totals},
        )
        self.store.write_now(lambda session: session.add(order))
        status = "delivered" if totals.get("dispute_deadline") else "authorized"
        if totals.get("held") == 0:
            status = "released" if totals.get("released") else "voided"
        self.set(Purchase, purchase["id"], status=status)
        self.settle()

    async def dispute(self, **totals: Any) -> dict[str, Any]:
        """A purchase with an open dispute of all that it holds."""
        purchase = await self.purchase()
        deadline = CHAIN_NOW + 30 * DAY
        self.hold(purchase, **{"dispute_deadline": deadline, "dispute": "open", **totals})
        self.set(Purchase, purchase["id"], status="disputed")
        dispute = Dispute(
            order_hash=purchase["order_hash"],
            opened_at=CHAIN_NOW,
            deadline=deadline,
            disputed=int(purchase["amount"]),
            to_payer=0,
            to_seller=0,
        )
        self.store.write_now(lambda session: session.add(dispute))
        return purchase

    # ------------------------------------------------------------------ what the bridge wrote

    def rows(self, model: type[Base]) -> list[Any]:
        by = inspect(model).primary_key
        return self.store.read_now(
            lambda session: list(session.scalars(select(model).order_by(*by)))
        )

    def operations(self, kind: str) -> list[Operation]:
        return [row for row in self.rows(Operation) if row.kind == kind]

    def counts(self) -> dict[str, int]:
        """Rows of everything that a request may add."""
        tables = ("accounts", "topups", "redemptions", "transfers", "purchases", "operations")
        tables += ("credit_offers", "draws", "repayments", "statements")
        tables += ("payment_requests", "sales_facts", "sales_fact_revisions", "scores")
        tables += ("line_actions", "line_holds")
        tables += ("pool_deposits", "pool_withdrawals", "reserve_fundings")
        more = (Event.__tablename__, IdempotencyKey.__tablename__, "api_keys")
        return self.store.read_now(
            lambda session: {
                name: session.scalar(text(f"SELECT count(*) FROM {name}"))
                for name in (*tables, *more)
            }
        )
