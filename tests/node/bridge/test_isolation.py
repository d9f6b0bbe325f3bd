"""The wall between merchants, and the scopes of keys, on every route of the application.

One merchant has one of everything. What another one asks of it must be answered as if it were not
there: the same code, the same words, nothing listed, nothing changed. A new route fails here until
it has a case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import insert, select

from node.bridge.api_keys import create_merchant_key
from node.bridge.auth import ALL_SCOPES, hash_of
from node.index.credit import LINE_FIELDS, TOTALS_ID, line_id
from node.store.models import (
    Account,
    Base,
    CreditEntry,
    CreditLine,
    CreditOffer,
    CreditTotals,
    DeliveryStatus,
    Event,
    LedgerEntry,
    Lender,
    LineStatus,
    Member,
    PoolTotals,
    WebhookDelivery,
)
from tests.node.bridge.support import CHAIN_NOW, COIN, DAY, Client, Desk, openapi

# Who has the link may see it: that is what it is for.
PUBLIC = {
    ("GET", "/v1/network"),
    ("GET", "/v1/pay/{purchase_id}"),
    ("POST", "/v1/pay/{purchase_id}"),
    ("GET", "/v1/pay/requests/{request_id}"),
    ("POST", "/v1/pay/requests/{request_id}"),
    ("GET", "/v1/pay/requests/{request_id}/typed_data"),
    ("GET", "/v1/pay/requests/{request_id}/qr.svg"),
    ("GET", "/v1/pay/requests/{request_id}/qr.png"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/x402/supported"),
}
# The outbox of all merchants together, for the platform's staff: no key of a merchant gets in.
STAFF = {
    ("GET", "/v1/chain_transactions"),
    ("GET", "/v1/chain_transactions/{chain_tx_id}"),
    ("POST", "/v1/chain_transactions/{chain_tx_id}/rebroadcast"),
    ("POST", "/v1/chain_transactions/{chain_tx_id}/cancel"),
    ("POST", "/v1/chain_transactions/{chain_tx_id}/replace"),
    ("POST", "/v1/operations/{operation_id}/retry"),
}
# Refusals in the standard's own words: test_x402.py has their wall.
STANDARD = {("POST", "/x402/verify"), ("POST", "/x402/settle")}
# The network's own numbers, which name nobody.
OF_ALL = {("GET", "/v1/pool"), ("GET", "/v1/reconciliation")}
# Streams without end: test_stream.py has their wall (test_each_merchant_sees_its_own).
STREAMS = {("GET", "/v1/events/stream")}

REASON = {"reason": "x"}
SAID = {"text": "x"}
# What is sent to A's things, by the route.
BODIES: dict[str, Any] = {
    "/v1/accounts/{account_id}/membership": {"member_until": "2041-01-01T00:00:00Z"},
    "/v1/accounts/{account_id}/freeze": REASON,
    "/v1/accounts/{account_id}/expel": REASON,
    "/v1/payment_requests/{request_id}/pay": {"payer": "{own_account}"},
    "/v1/purchases/{purchase_id}/refund": {"reference": "x"},
    "/v1/purchases/{purchase_id}/disputes": SAID,
    "/v1/purchases/{purchase_id}/disputes/evidence": {"by": "operator", **SAID},
    "/v1/purchases/{purchase_id}/disputes/resolve": {"to_payer": "0", **SAID},
    "/v1/sales_facts/{fact_id}/corrections": {"score": 1, "reason": "x"},
    "/v1/credit_lines/{line_id}/draws": {"amount": "1", "reference": "x"},
    "/v1/credit_lines/{line_id}/repayments": {"amount": "1", "reference": "x"},
    "/v1/credit_lines/{line_id}/suspend": REASON,
    "/v1/credit_lines/{line_id}/resume": REASON,
    "/v1/credit_lines/{line_id}/limit": {"limit": "0", **REASON},
    "/v1/credit_lines/{line_id}/holiday": {"days": 1, **REASON},
    "/v1/credit_lines/{line_id}/waive": REASON,
    "/v1/credit_lines/{line_id}/charge_off": REASON,
    "/v1/credit_lines/{line_id}/close": REASON,
    "/v1/credit_lines/{line_id}/holdback": {"holdback_bps": 2_400},
    "/v1/webhook_endpoints/{endpoint_id}": {"description": "x"},
    "/v1/webhook_endpoints/{endpoint_id}/replay": {"after": 0},
}
# Bodies that name A's account; B's own things beside it are in braces, too.
OFFER = {"limit": "1", "apr_bps": 1, "holdback_bps": 1, "term_days": 1}
SCORE = {
    "value": "1",
    "grade": "A",
    "model_version": "1",
    "model_hash": "0x" + "11" * 32,
    "features_hash": "0x" + "11" * 32,
    "reasons": [],
    "cutoff": "2020-01-01T00:00:00Z",
    "valid_until": "2040-01-01T00:00:00Z",
}
ORDER = {"order_id": "B-1", "amount": "1"}
MOVE = {"account": "{account_id}", "amount": "1", "reference": "b"}
CREATIONS: dict[str, list[Any]] = {
    "/v1/topups": [MOVE],
    "/v1/redemptions": [MOVE],
    "/v1/transfers": [
        {"from": "{account_id}", "to": "{own_account}", "amount": "1"},
        {"from": "{own_account}", "to": "{account_id}", "amount": "1"},
    ],
    "/v1/payment_requests": [{"payee": "{account_id}", "amount": "1"}],
    "/v1/purchases": [
        {**ORDER, "payer": "{account_id}", "payee": "{own_account}"},
        {**ORDER, "payer": "{own_account}", "payee": "{account_id}"},
    ],
    "/v1/credit_lines/offers": [{"account": "{account_id}", **OFFER}],
    "/v1/scores": [{"account": "{account_id}", **SCORE}],
    "/v1/pool/deposits": [MOVE],
    "/v1/pool/withdrawals": [{"account": "{account_id}", "shares": "1", "reference": "b"}],
}
# These name nothing of another's.
NAMELESS = {"/v1/accounts", "/v1/pool/reserve", "/v1/webhook_endpoints", "/v1/api_keys"}
# Refused one by one inside of a 200.
IN_BATCHES = {"/v1/sales_facts"}


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    return [
        (method.upper(), path)
        for path, methods in openapi(app)["paths"].items()
        for method in methods
    ]


class Everything:
    """One of everything, of one merchant."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.ids: dict[str, str] = {}  # by the name of the path's parameter
        self.words: set[str] = set()  # that nobody else may read

    async def make(self) -> None:
        desk, shop, ids = self.desk, self.desk.shop, self.ids
        account = await desk.account(100 * COIN, kinds=["buyer", "seller"], reference="A's person")
        other = await desk.account(COIN, reference="A's other person")
        ids["account_id"] = account["id"]
        self._fund(account["address"])
        move = {"account": account["id"], "amount": "1", "reference": "A's reference"}
        ids["topup_id"] = (await shop.ok("/v1/topups", move))["id"]
        ids["redemption_id"] = (await shop.ok("/v1/redemptions", move))["id"]
        send = {"from": account["id"], "to": other["id"], "amount": "1", "memo": "A's memo"}
        ids["transfer_id"] = (await shop.ok("/v1/transfers", send))["id"]
        request = {"payee": account["id"], "amount": "1", "reference": "A's request"}
        ids["request_id"] = (await shop.ok("/v1/payment_requests", request))["id"]
        purchase = await desk.dispute()
        ids["purchase_id"] = purchase["id"]
        fact = {
            "kind": "review",
            "order_id": "A's order",
            "reference": "A's review",
            "seller": account["id"],
            "occurred_at": "2020-09-01T12:00:00Z",
            "score": 5,
        }
        facts = await shop.ok("/v1/sales_facts", {"facts": [fact]}, key=None)
        ids["fact_id"] = facts["data"][0]["id"]
        offer = {"account": account["id"], **OFFER}
        ids["offer_id"] = (await shop.ok("/v1/credit_lines/offers", offer))["id"]
        ids["line_id"] = line_id(account["id"])
        line = f"/v1/credit_lines/{ids['line_id']}"
        await shop.ok(f"{line}/draws", {"amount": "1", "reference": "A's draw"})
        await shop.ok(f"{line}/repayments", {"amount": "1", "reference": "A's repayment"})
        await shop.ok(f"{line}/suspend", {"reason": "A's suspicion"})
        await shop.ok("/v1/pool/deposits", {**move, "reference": "A's deposit"})
        out = {"account": account["id"], "shares": "1", "reference": "A's withdrawal"}
        await shop.ok("/v1/pool/withdrawals", out)
        await shop.ok("/v1/pool/reserve", {"amount": "1", "reference": "A's reserve"})
        score = {**SCORE, "account": account["id"], "model_version": "A's model"}
        ids["score_id"] = (await shop.ok("/v1/scores", score))["id"]
        hook = {"url": "https://a.example/hook", "description": "A's hook"}
        ids["endpoint_id"] = (await shop.ok("/v1/webhook_endpoints", hook))["id"]
        ids["key_id"] = (await shop.ok("/v1/api_keys", {"name": "A's key"}))["id"]
        ids["operation_id"] = desk.operations("topup.mint")[0].id
        ids["event_id"] = desk.rows(Event)[0].id
        ids["delivery_id"] = self._deliver()
        listed = (await shop.get("/v1/accounts?limit=100")).json()["data"]
        addresses = {account["address"] for account in listed}
        self.words = {*ids.values(), *addresses, desk.merchant_id, "A's", "a.example"}
        self.words |= {account["id"] for account in listed} | {purchase["order_hash"]}

    def _fund(self, seller: str) -> None:
        """A line with debt, shares of the pool, and what the indexer noted of them."""
        desk = self.desk
        names = [column.name for column in CreditTotals.__table__.columns if column.name != "id"]
        totals = dict.fromkeys(names, 0) | {
            "draws_paused": False,
            "domain_start": CHAIN_NOW,
            "reserve": 10 * COIN,
            "reserve_bps": 1_000,
            "line_cap": 50 * COIN,
            "principal_cap": 1_000 * COIN,
        }
        columns = [column.name for column in CreditLine.__table__.columns]
        assert set(LINE_FIELDS) <= set(columns)
        line = dict.fromkeys(columns, 0) | {
            "seller": seller,
            "status": LineStatus.ACTIVE,
            "principal": COIN,
            "accrued_at": CHAIN_NOW,
            "apr_bps": 1_000,
            "holdback_bps": 2_000,
            "agreed_holdback_bps": 2_000,
            "offer_hash": "0x" + "9c" * 32,
            "limit": 20 * COIN,
            "draw_until": CHAIN_NOW + 270 * DAY,
            "opened_at": CHAIN_NOW,
            "window_end": CHAIN_NOW + 60 * DAY,
            "installment": COIN // 9 + 1,
            "installment_due": COIN // 9 + 1,
        }
        of_block = {"block_number": 1, "log_index": 1, "tx_hash": "0x" + "5f" * 32}
        numbers = ("principal", "fees", "interest", "recovered", "fees_after", "interest_after")
        entry = {
            **of_block,
            **dict.fromkeys(numbers, 0),
            "seller": seller,
            "kind": "drawn",
            "block_timestamp": CHAIN_NOW,
            "principal": COIN,
            "principal_after": COIN,
            "rate_after": COIN * 1_000,
        }
        ledger = {
            **of_block,
            "address": seller,
            "block_timestamp": CHAIN_NOW,
            "delta": COIN,
            "balance_after": COIN,
            "counterparty": desk.manifest.contracts["LenderPool"].address,
            "kind": "draw",
        }

        def write(session: Any) -> None:
            session.execute(insert(CreditTotals), {"id": TOTALS_ID, **totals})
            session.execute(insert(CreditLine), line)
            session.execute(insert(CreditEntry), entry)
            session.execute(insert(LedgerEntry), ledger)
            session.add(Lender(address=seller, shares=10**12))
            session.add(PoolTotals(id=TOTALS_ID, shares=10**12, deposited=COIN, withdrawn=0))
            session.add(
                Member(
                    address=desk.manifest.contracts["LenderPool"].address,
                    balance=100 * COIN,
                    kinds=16,
                    member_until=CHAIN_NOW * 2,
                    frozen=False,
                )
            )

        desk.store.write_now(write)

    def _deliver(self) -> str:
        delivery = {
            "id": "whd_" + "a" * 32,
            "merchant_id": self.desk.merchant_id,
            "endpoint_id": self.ids["endpoint_id"],
            "event_seq": self.desk.rows(Event)[0].seq,
            "resource_id": self.ids["account_id"],
            "status": DeliveryStatus.SUCCEEDED,
            "attempts": 1,
            "created_at": 1,
            "finished_at": 1,
        }
        self.desk.store.write_now(lambda s: s.execute(insert(WebhookDelivery), delivery))
        return str(delivery["id"])


class Names:
    async def look_up(self, _host: str, _port: int) -> list[str]:
        return ["93.184.215.14"]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, look_up=Names().look_up)
    yield desk
    desk.close()


@pytest.fixture
async def theirs(desk: Desk) -> Everything:
    everything = Everything(desk)
    await everything.make()
    return everything


def unknown(resource_id: str) -> str:
    """An id of the same form, of nothing."""
    prefix, _, rest = resource_id.partition("_")
    return f"{prefix}_{rest[:-4]}{'0000' if rest[-4:] != '0000' else '1111'}"


def fill(body: Any, ids: dict[str, str]) -> Any:
    text = re.sub(r'"\{(\w+)\}"', lambda match: json.dumps(ids[match[1]]), json.dumps(body))
    return json.loads(text)


def dump(desk: Desk, merchant_id: str) -> dict[str, list[Any]]:
    """Every row of a merchant, and every row that belongs to nobody."""

    def read(session: Any) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for table in Base.metadata.sorted_tables:
            statement = select(table)
            if "merchant_id" in table.columns:
                statement = statement.where(table.c.merchant_id == merchant_id)
            elif table.name == "merchants":
                statement = statement.where(table.c.id == merchant_id)
            found[table.name] = sorted(repr(row) for row in session.execute(statement))
        return found

    return desk.store.read_now(read)


def test_every_route_has_a_case(desk: Desk) -> None:
    """And none is missing in the document, where these tests look for them."""
    routes = set(routes_of(desk.app))
    served = {
        (method, included.include_context.prefix + route.path)
        for included in desk.app.routes
        if hasattr(included, "original_router")
        for route in included.original_router.routes
        for method in route.methods - {"HEAD"}
    }
    assert served == routes
    for method, path in routes - PUBLIC - OF_ALL - STREAMS - STAFF - STANDARD:
        if method == "POST" and "{" not in path:
            assert path in CREATIONS.keys() | NAMELESS | IN_BATCHES, path
        if method == "POST" and "{" in path:
            body = openapi(desk.app)["paths"][path]["post"].get("requestBody", {})
            assert path in BODIES or not body.get("required"), path
    known = {path for _, path in routes}
    assert known >= BODIES.keys() | CREATIONS.keys() | NAMELESS | IN_BATCHES
    assert routes >= PUBLIC | OF_ALL | STREAMS | STAFF | STANDARD


async def test_of_another_merchants_things_nothing_is_there(desk: Desk, theirs: Everything) -> None:
    """By id: as if there were no such id, word for word; and nothing is changed by asking."""
    stranger = desk.client_of("Other shop")
    own = await stranger.ok("/v1/accounts", {"kinds": ["buyer"]})
    desk.set(Account, own["id"], status="active")
    ids = {**theirs.ids, "own_account": own["id"]}
    nowhere = {**{name: unknown(one) for name, one in ids.items()}, "own_account": own["id"]}
    before = dump(desk, desk.merchant_id)
    asked = 0
    for method, path in routes_of(desk.app):
        if "{" not in path or (method, path) in PUBLIC | STAFF:
            continue
        body = fill(BODIES[path], ids) if path in BODIES else None
        there, not_there = path.format(**ids), path.format(**nowhere)
        if method == "GET":
            assert (await desk.shop.get(there)).status_code == 200, there
            answers = [await stranger.get(one) for one in (there, not_there)]
        else:
            answers = [await stranger.post(one, body) for one in (there, not_there)]
        problems = []
        for answer, used in zip(answers, (ids, nowhere), strict=True):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (path, answer)
            text = answer.text.replace(answer.json()["request_id"], "")
            for name, one in used.items():
                text = text.replace(one, f"<{name}>")
            problems.append(text)
        assert problems[0] == problems[1], path
        asked += 1
    assert asked > 60
    assert dump(desk, desk.merchant_id) == before


async def test_another_merchants_things_cannot_be_named_in_a_body(
    desk: Desk, theirs: Everything
) -> None:
    stranger = desk.client_of("Other shop")
    own = await stranger.ok("/v1/accounts", {"kinds": ["buyer", "seller", "lender"]})
    desk.set(Account, own["id"], status="active")
    ids = {**theirs.ids, "own_account": own["id"]}
    nowhere = {"account_id": unknown(ids["account_id"]), "own_account": own["id"]}
    for path, bodies in CREATIONS.items():
        for body in bodies:
            answers = [await stranger.post(path, fill(body, used)) for used in (ids, nowhere)]
            problems = [{**answer.json(), "request_id": ""} for answer in answers]
            for problem, used in zip(problems, (ids, nowhere), strict=True):
                assert problem["code"] == "not_found", (path, problem)
                problem["detail"] = problem["detail"].replace(used["account_id"], "")
            assert problems[0] == problems[1], path
    fact = {
        "kind": "return",
        "order_id": "B-1",
        "reference": "b",
        "seller": ids["account_id"],
        "occurred_at": "2020-09-01T12:00:00Z",
    }
    facts = [fact, {**fact, "seller": nowhere["account_id"]}]
    told = (await stranger.ok("/v1/sales_facts", {"facts": facts}, key=None))["data"]
    assert [one["code"] for one in told] == ["not_found"] * 2
    paying = f"/v1/payment_requests/{theirs.ids['request_id']}/pay"
    mine = await stranger.ok("/v1/payment_requests", {"payee": own["id"], "amount": "1"})
    for payer in (ids["account_id"], nowhere["account_id"]):
        for path in (paying, f"/v1/payment_requests/{mine['id']}/pay"):
            refused = await stranger.post(path, {"payer": payer})
            assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


async def test_lists_and_totals_show_a_merchant_its_own_alone(
    desk: Desk, theirs: Everything
) -> None:
    stranger = desk.client_of("Other shop")
    own = {("GET", "/v1/api_keys")}  # the key that asks
    # Filters that would tell of another's things, were they looked at beyond the wall.
    values = {
        "account": theirs.ids["account_id"],
        "seller": theirs.ids["account_id"],
        "payee": theirs.ids["account_id"],
        "resource_id": theirs.ids["account_id"],
        "reference": "A's reference",
        "order_id": "A's order",
    }
    for method, path in routes_of(desk.app):
        route = (method, path)
        if method != "GET" or "{" in path or route in PUBLIC | STREAMS | STAFF:
            continue
        answer = await stranger.get(path)
        if route in OF_ALL:
            assert answer.status_code in (200, 503)  # there is no chain here to compare with
        else:
            assert answer.status_code == 200, path
            mine = (await desk.shop.get(path)).json()
            if "data" in mine:
                assert mine["data"], path
                assert len(answer.json()["data"]) == (route in own), path
            else:
                assert mine != answer.json(), path
        texts = [answer.text]
        for parameter in openapi(desk.app)["paths"][path]["get"].get("parameters", ()):
            name = parameter["name"]
            if parameter["in"] == "query" and name in values:
                filtered = await stranger.get(path, params={name: values[name]})
                assert filtered.status_code in (200, 404), path
                if filtered.status_code == 200:
                    assert filtered.json()["data"] == [], (path, name)
        for word in theirs.words:
            assert all(word not in text for text in texts), (path, word)


async def test_a_line_is_the_merchants_whose_offer_has_opened_it(desk: Desk) -> None:
    """A seller with a key of its own may be a member at both."""
    stranger = desk.client_of("Other shop")
    seller = {"kinds": ["seller"], "address": "0x" + "5e" * 20}
    theirs, own = [await client.ok("/v1/accounts", seller) for client in (desk.shop, stranger)]
    assert theirs["address"] == own["address"]
    for account in (theirs, own):
        desk.set(Account, account["id"], status="active")
    Everything(desk)._fund("0x" + "11" * 20)  # the book is there
    await desk.shop.ok("/v1/credit_lines/offers", {"account": theirs["id"], **OFFER})
    line = {column.name: 0 for column in CreditLine.__table__.columns} | {
        "seller": theirs["address"],
        "status": LineStatus.ACTIVE,
        "offer_hash": desk.rows(CreditOffer)[0].offer_hash,
    }
    desk.store.write_now(lambda session: session.execute(insert(CreditLine), line))
    for client, account, there in ((desk.shop, theirs, True), (stranger, own, False)):
        path = f"/v1/credit_lines/{line_id(account['id'])}"
        listed = (await client.get("/v1/credit_lines")).json()["data"]
        assert [one["account"] for one in listed] == [account["id"]] * there
        assert (await client.get(path)).status_code == (200 if there else 404)
        suspended = await client.post(f"{path}/suspend", REASON)
        assert suspended.is_success == there, suspended.text
        assert there or suspended.json()["code"] == "not_found"


async def test_staffs_routes_are_closed_to_merchants(desk: Desk, theirs: Everything) -> None:
    """To a merchant's own things too, and a key of a merchant cannot make one for staff."""
    ids = {**theirs.ids, "chain_tx_id": "1"}
    for method, path in STAFF:
        answer = await desk.shop.http.request(method, path.format(**ids))
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), path
    made = await desk.shop.post("/v1/api_keys", {"name": "x", "scopes": ["operate"]})
    assert (made.status_code, made.json()["code"]) == (403, "scope_missing")


async def test_every_route_asks_for_one_scope(desk: Desk) -> None:
    """A key without it is refused before anything else is looked at."""
    holders = {}
    for scope in ALL_SCOPES:
        key = desk.store.write_now(
            lambda session, scope=scope: create_merchant_key(
                session, desk.settings, merchant="Demo shop", name=scope, scopes=[scope]
            )
        )
        holders[scope] = Client(desk.app, key.secret)
    nobody = Client(desk.app, None)
    of_scope: dict[str, set[str]] = {scope: set() for scope in ALL_SCOPES}
    for method, path in routes_of(desk.app):
        if (method, path) in PUBLIC:
            continue
        url = re.sub(r"\{\w+\}", "x", path)
        assert (await nobody.http.request(method, url)).status_code == 401, path
        allowed = []
        for scope, client in holders.items():
            if (method, path) in STREAMS and scope == "read":
                allowed.append(scope)
                continue
            answer = await client.http.request(method, url)
            if answer.status_code != 403:
                allowed.append(scope)
                continue
            problem = answer.json()
            assert problem["code"] == "scope_missing"
            assert scope in problem["detail"]
        assert len(allowed) == 1, (path, allowed)
        assert method == "GET" or allowed != ["read"], path
        of_scope[allowed[0]].add(f"{method} {path}")
    assert all(of_scope.values())
    # Whose hands the platform's own part of credit is in.
    assert {path for path in of_scope["desk"] if "credit_lines" in path} == {
        "POST /v1/credit_lines/offers",
        "POST /v1/credit_lines/offers/{offer_id}/revoke",
        *(
            f"POST /v1/credit_lines/{{line_id}}/{action}"
            for action in ("suspend", "resume", "limit", "holiday", "waive", "charge_off")
        ),
    }
    assert of_scope["scores"] == {"POST /v1/scores"}
    assert of_scope["operate"] == {f"{method} {path}" for method, path in STAFF}
    assert of_scope["x402"] == {f"{method} {path}" for method, path in STANDARD}
    assert of_scope["arbitrate"] == {"POST /v1/purchases/{purchase_id}/disputes/resolve"}


async def test_no_key_stands_in_the_database(desk: Desk) -> None:
    """In no column of any table, nor in any file of the database; only its hash does."""
    made = await desk.shop.ok("/v1/api_keys", {"name": "books", "scopes": ["read"]}, key="k")
    await desk.shop.ok("/v1/api_keys", {"name": "books", "scopes": ["read"]}, key="k")
    await Client(desk.app, made["secret"]).get("/v1/accounts")

    def read(session: Any) -> str:
        tables = Base.metadata.sorted_tables
        return repr([[tuple(row) for row in session.execute(select(table))] for table in tables])

    written = desk.store.read_now(read)
    for path in desk.settings.data.glob("plaza.db*"):
        written += path.read_bytes().decode("latin-1")
    for secret in (made["secret"], desk.shop_key.secret):
        assert secret not in written
        assert secret.removeprefix("plz_")[12:] not in written
        assert hash_of(secret) in written
