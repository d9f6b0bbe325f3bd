"""The checks, in the order they are run. Each stands alone; the last ones add up what all moved."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from node.client import Client, NotFound
from node.client.models import RedemptionRequest, RefundRequest, TransferRequest, VoidRequest
from node.conformance.suite import (
    ANSWER_SECONDS,
    WAIT,
    Broken,
    Check,
    Shop,
    Skip,
    expect,
    expect_problem,
)

SMALL = 1_000  # atomic units: a thousandth of a coin
AT_ONCE = 6

CHECKS: list[Check] = []


def check(name: str, proves: str, words: str) -> Callable[[Callable[[Shop], None]], None]:
    def add(work: Callable[[Shop], None]) -> None:
        CHECKS.append(Check(name, proves, words, work))

    return add


def _raw_topup(shop: Shop, account: str) -> dict[str, Any]:
    return {"account": account, "amount": str(SMALL), "reference": shop.new_name("bank")}


def _settled_topups(shop: Shop, resource_id: str) -> None:
    shop.settle(resource_id)
    status = shop.client.topups.get(resource_id).status
    expect(status == "succeeded", f"the top-up {resource_id} is {status}, not succeeded")
    shop.put_in += SMALL


# ------------------------------------------------------------------------------- HTTP details


@check(
    "http.not-found",
    "What does not exist is a 404 problem, for routes and for resources.",
    "every bad input gets a clear problem+json",
)
def _(shop: Shop) -> None:
    expect_problem(shop.raw.get("/v1/nothing-of-this-name"), 404, "not_found")
    expect_problem(shop.raw.get("/v1/purchases/pur_" + "0" * 32), 404, "not_found")


@check(
    "http.method-not-allowed",
    "A method that a route does not know is a 405 problem that names those it knows.",
    "405 with Allow (RFC 9110)",
)
def _(shop: Shop) -> None:
    refused = shop.raw.put("/v1/accounts", json={})
    expect_problem(refused, 405, "method_not_allowed")
    allowed = {word.strip() for word in refused.headers.get("allow", "").split(",")}
    expect({"GET", "POST"} <= allowed, f"Allow is {sorted(allowed)}, not GET and POST")


@check(
    "http.media-type",
    "A body that is not declared as JSON is a 415 problem.",
    "bodies are application/json",
)
def _(shop: Shop) -> None:
    headers = {"Content-Type": "text/plain", "Idempotency-Key": shop.new_name("media")}
    refused = shop.raw.post("/v1/accounts", content=b"{}", headers=headers)
    expect_problem(refused, 415, "unsupported_media_type")


@check(
    "http.body-too-large",
    "A body beyond the limit is a 413 problem.",
    "a body has at most 64 KiB",
)
def _(shop: Shop) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": shop.new_name("large")}
    body = b'{"reference": "' + b"x" * 70_000 + b'"}'
    expect_problem(
        shop.raw.post("/v1/accounts", content=body, headers=headers), 413, "body_too_large"
    )


@check(
    "http.malformed-json",
    "A body that is no JSON is a 400 problem; no input is ever a 500.",
    "never a bare 500 for bad input",
)
def _(shop: Shop) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": shop.new_name("json")}
    refused = shop.raw.post("/v1/accounts", content=b'{"kinds": [', headers=headers)
    expect_problem(refused, 400, "malformed_json")


@check(
    "problems.name-the-field",
    "A field that is wrong, or unknown, is a 422 problem whose `param` names it.",
    "`param`: the field, query parameter or header at fault",
)
def _(shop: Shop) -> None:
    body = {"account": "acc_x", "amount": 5, "reference": "r"}
    problem = expect_problem(
        shop.post("/v1/topups", body, key=shop.new_name("bad")), 422, "invalid_request"
    )
    expect(problem["param"] == "amount", f"param is {problem['param']!r}, not 'amount'")
    more = {**body, "amount": "5", "nonsense": 1}
    problem = expect_problem(
        shop.post("/v1/topups", more, key=shop.new_name("bad")), 422, "invalid_request"
    )
    expect(problem["param"] == "nonsense", f"param is {problem['param']!r}, not 'nonsense'")
    problem = expect_problem(shop.raw.get("/v1/accounts?limit=0"), 422, "invalid_request")
    expect(problem["param"] == "limit", f"param is {problem['param']!r}, not 'limit'")


@check(
    "auth.no-key",
    "Without a valid API key there is a 401 problem, and how to authenticate.",
    "401 with WWW-Authenticate (RFC 9110)",
)
def _(shop: Shop) -> None:
    for headers in ({}, {"Authorization": "Bearer plz_" + "0" * 43}):
        refused = httpx.get(f"{shop.url}/v1/accounts", headers=headers, timeout=ANSWER_SECONDS)
        expect_problem(refused, 401, "unauthorized")
        scheme = refused.headers.get("www-authenticate", "")
        expect(scheme.startswith("Bearer"), f"WWW-Authenticate is {scheme!r}, not Bearer")


# -------------------------------------------------------------------------------- idempotency


@check(
    "idempotency.required",
    "A POST without an Idempotency-Key is refused with 400, and does nothing.",
    "Idempotency-Key is required on every POST that moves money",
)
def _(shop: Shop) -> None:
    account = shop.member()
    body = _raw_topup(shop, account)
    expect_problem(shop.post("/v1/topups", body), 400, "idempotency_key_required")
    found = shop.client.topups.list(reference=body["reference"]).data
    expect(not found, "the refused top-up is listed")


@check(
    "idempotency.same-request",
    "The same request with the same key is answered with the same resource, and has one effect.",
    "same hash: the resource as it now stands, original status code, Idempotency-Replayed: true",
)
def _(shop: Shop) -> None:
    account = shop.member()
    body, key = _raw_topup(shop, account), shop.new_name("same")
    first = shop.post("/v1/topups", body, key=key)
    _expect_accepted(first)
    again = shop.post("/v1/topups", dict(reversed(body.items())), key=key)
    _expect_accepted(again)
    expect(first.json()["id"] == again.json()["id"], "the second request made another top-up")
    expect(
        first.status_code == again.status_code,
        f"the first was answered {first.status_code}, the second {again.status_code}",
    )
    replayed = again.headers.get("idempotency-replayed")
    expect(replayed == "true", f"Idempotency-Replayed is {replayed!r}, not 'true'")
    _settled_topups(shop, first.json()["id"])
    available = shop.client.accounts.get_balance(account).available
    expect(available == SMALL, f"{SMALL} were topped up, the account has {available}")


@check(
    "idempotency.other-request",
    "Another request with a key that was used is refused with 422, and does nothing.",
    "other hash: 422",
)
def _(shop: Shop) -> None:
    account = shop.member()
    body, key = _raw_topup(shop, account), shop.new_name("other")
    first = shop.post("/v1/topups", body, key=key)
    _expect_accepted(first)
    _settled_topups(shop, first.json()["id"])
    other = {**body, "amount": str(SMALL + 1)}
    expect_problem(shop.post("/v1/topups", other, key=key), 422, "idempotency_key_reused")
    available = shop.client.accounts.get_balance(account).available
    expect(available == SMALL, f"{SMALL} were topped up, the account has {available}")


@check(
    "idempotency.concurrent",
    f"The same request {AT_ONCE} times at once has one effect.",
    "row (merchant, key) unique, inserted in the same transaction as the resource",
)
def _(shop: Shop) -> None:
    account = shop.member()
    body, key = _raw_topup(shop, account), shop.new_name("concurrent")
    with ThreadPoolExecutor(AT_ONCE) as threads:
        asked = [threads.submit(shop.post, "/v1/topups", body, key=key) for _ in range(AT_ONCE)]
        answers = [future.result() for future in asked]
    made = set()
    for answer in answers:
        if answer.status_code == 409:  # still in flight
            continue
        _expect_accepted(answer)
        made.add(answer.json()["id"])
    expect(len(made) == 1, f"{AT_ONCE} requests with one key made {len(made)} top-ups")
    _settled_topups(shop, made.pop())
    available = shop.client.accounts.get_balance(account).available
    expect(available == SMALL, f"{SMALL} were topped up, the account has {available}")


def _expect_accepted(response: httpx.Response) -> None:
    expect(
        response.status_code in (200, 201, 202),
        f"POST {response.request.url.path} was answered {response.status_code}:"
        f" {response.text[:200]}",
    )


# ------------------------------------------------------------------------ business uniqueness


@check(
    "uniqueness.fiat-reference",
    "A fiat reference counts once, whatever the key; the refusal names what has it.",
    "business uniqueness (order_id, fiat reference) holds beside the keys",
)
def _(shop: Shop) -> None:
    account = shop.member()
    body = _raw_topup(shop, account)
    first = shop.post("/v1/topups", body, key=shop.new_name("fiat"))
    _expect_accepted(first)
    second = shop.post("/v1/topups", body, key=shop.new_name("fiat"))
    problem = expect_problem(second, 409, "reference_taken")
    named = problem.get("resource_id")
    expect(named == first.json()["id"], f"resource_id is {named!r}, not {first.json()['id']!r}")
    _settled_topups(shop, first.json()["id"])


@check(
    "uniqueness.order-id",
    "There is one purchase of an order id, whatever the key.",
    "create (unique merchant + order_id)",
)
def _(shop: Shop) -> None:
    buyer, seller = shop.member(2 * SMALL), shop.member()
    purchase = shop.client.purchases.get(shop.order(buyer, seller, SMALL))
    body = {
        "order_id": purchase.order_id, "payer": buyer, "payee": seller, "amount": str(SMALL),
    }  # fmt: skip
    second = shop.post("/v1/purchases", body, key=shop.new_name("order"))
    expect_problem(second, 409, "order_id_taken")
    available = shop.client.accounts.get_balance(buyer).available
    expect(available == SMALL, f"{SMALL} should be left to the buyer, it has {available}")


# -------------------------------------------------------------------------------------- money


@check(
    "purchase.whole-life",
    "A purchase is held in escrow, delivered, released in part and whole, and refunded, to the"
    " unit.",
    "authorized, shipped, delivered, released; held + released + refunded add up",
)
def _(shop: Shop) -> None:
    buyer, seller = shop.member(10 * SMALL), shop.member(SMALL)
    purchases = shop.client.purchases
    purchase = shop.order(buyer, seller, 10 * SMALL)
    held = shop.client.accounts.get_balance(buyer)
    expect(
        (held.available, held.held) == (0, 10 * SMALL),
        f"after the authorization {10 * SMALL} should be held and 0 available: {held}",
    )
    purchases.deliver(purchase, key=shop.new_name("deliver"), wait=WAIT)
    shop.settle(purchase)
    purchases.release(purchase, key=shop.new_name("release"), wait=WAIT)
    shop.settle(purchase)
    released = purchases.get(purchase)
    expect(
        (released.status, released.held, released.released) == ("released", 0, 10 * SMALL),
        f"it is {released.status} with {released.held} held and {released.released} released",
    )
    refund = RefundRequest(amount=SMALL, reference=shop.new_name("return"))
    purchases.refund(purchase, refund, key=shop.new_name("refund"), wait=WAIT)
    shop.settle(purchase)
    refunded = purchases.get(purchase).refunded
    expect(refunded == SMALL, f"{SMALL} were refunded, the purchase says {refunded}")
    available = shop.client.accounts.get_balance(seller).available
    due = SMALL + 10 * SMALL - released.fee - released.repayment - SMALL
    expect(available == due, f"the seller should have {due}, it has {available}")


@check(
    "purchase.void",
    "What is voided before a release comes back to the buyer, in part and whole.",
    "void gives held coin back before a release",
)
def _(shop: Shop) -> None:
    buyer, seller = shop.member(5 * SMALL), shop.member()
    purchase = shop.order(buyer, seller, 5 * SMALL)
    body = VoidRequest(amount=SMALL)
    shop.client.purchases.void(purchase, body, key=shop.new_name("void"), wait=WAIT)
    shop.settle(purchase)
    shop.client.purchases.void(purchase, key=shop.new_name("void"), wait=WAIT)
    shop.settle(purchase)
    voided = shop.client.purchases.get(purchase)
    expect(
        (voided.status, voided.voided) == ("voided", 5 * SMALL),
        f"it is {voided.status} with {voided.voided} voided",
    )
    available = shop.client.accounts.get_balance(buyer).available
    expect(available == 5 * SMALL, f"the buyer should have {5 * SMALL} again, it has {available}")
    again = shop.post(f"/v1/purchases/{purchase}/void", {}, key=shop.new_name("void"))
    expect_problem(again, 409, "invalid_state")


@check(
    "money.no-more-than-there-is",
    "Nobody spends more than is available: a 422 problem, and nothing moves.",
    "insufficient_funds",
)
def _(shop: Shop) -> None:
    poor, payee = shop.member(SMALL), shop.member()
    body = {"from": poor, "to": payee, "amount": str(SMALL + 1)}
    refused = shop.post("/v1/transfers", body, key=shop.new_name("transfer"))
    expect_problem(refused, 422, "insufficient_funds")
    available = shop.client.accounts.get_balance(poor).available
    expect(available == SMALL, f"the payer had {SMALL}, it has {available}")


@check(
    "money.no-double-spending",
    f"{AT_ONCE} transfers of all there is, at once: exactly one goes through.",
    "nothing happens twice",
)
def _(shop: Shop) -> None:
    payer, payee = shop.member(SMALL), shop.member()
    body = {"from": payer, "to": payee, "amount": str(SMALL)}
    keys = [shop.new_name("race") for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda key: shop.post("/v1/transfers", body, key=key), keys))
    accepted = [answer for answer in answers if answer.is_success]
    for answer in accepted:
        shop.settle(answer.json()["id"])
    for answer in answers:
        if not answer.is_success:
            expect_problem(answer, 422, "insufficient_funds")
    received = shop.client.accounts.get_balance(payee).available
    expect(received == SMALL, f"the payee should have {SMALL}, it has {received}")
    expect(len(accepted) == 1, f"{len(accepted)} of {AT_ONCE} transfers were accepted, not 1")


@check(
    "money.out",
    "A redemption burns what it pays out, and each payout reference counts once.",
    "burn, then payout",
)
def _(shop: Shop) -> None:
    account = shop.member(3 * SMALL)
    body = RedemptionRequest(account=account, amount=SMALL, reference=shop.new_name("payout"))
    made = shop.client.redemptions.create(body, key=shop.new_name("redeem"), wait=WAIT)
    shop.settle(made.id)
    status = shop.client.redemptions.get(made.id).status
    expect(status == "succeeded", f"the redemption is {status}, not succeeded")
    shop.taken_out += SMALL
    again = shop.post("/v1/redemptions", body.model_dump(mode="json"), key=shop.new_name("redeem"))
    expect_problem(again, 409, "reference_taken")
    available = shop.client.accounts.get_balance(account).available
    expect(available == 2 * SMALL, f"the account should have {2 * SMALL}, it has {available}")


# ---------------------------------------------------------------------- waiting, lists, events


@check(
    "wait.answers-when-settled",
    "`Prefer: wait` holds the answer until the request is settled, and says so.",
    "Prefer: wait=5 holds the answer until final or 5 s",
)
def _(shop: Shop) -> None:
    account = shop.member(SMALL)
    body = {"from": account, "to": shop.member(), "amount": "1"}
    headers = {"Idempotency-Key": shop.new_name("wait"), "Prefer": f"wait={WAIT}"}
    answer = shop.raw.post("/v1/transfers", json=body, headers=headers)
    _expect_accepted(answer)
    if answer.status_code == 202:
        raise Skip(f"the chain took more than {WAIT} s")
    applied = answer.headers.get("preference-applied")
    expect(applied == f"wait={WAIT}", f"Preference-Applied is {applied!r}")
    status = answer.json()["status"]
    expect(status == "succeeded", f"the settled transfer is {status}, not succeeded")


@check(
    "lists.pages",
    "Pages of a list are newest first, without a gap and without anything twice.",
    "{data, has_more, next_cursor} on (created_at, id)",
)
def _(shop: Shop) -> None:
    made = [shop.member() for _ in range(3)]
    seen: list[str] = []
    cursor: str | None = None
    while made[0] not in seen:  # others may make members meanwhile
        page = shop.client.accounts.list(limit=1, cursor=cursor)
        seen += [account.id for account in page.data]
        cursor = page.next_cursor
        expect(page.has_more or made[0] in seen, f"the list ends without {made[0]}")
        expect(len(page.data) == 1, f"a page of one has {len(page.data)}")
    expect(len(set(seen)) == len(seen), "a member is listed twice")
    ours = [account for account in seen if account in made]
    expect(ours == made[::-1], f"pages of one gave {ours}, made were {made}")
    expect_problem(shop.raw.get("/v1/accounts?limit=101"), 422, "invalid_request")


@check(
    "events.order",
    "Events rise in `seq`, each once, and say how a resource went from asked to settled.",
    "monotonic seq; list after=",
)
def _(shop: Shop) -> None:
    last = after = _newest_seq(shop)
    topup = shop.top_up(shop.member(), SMALL)
    kinds: list[str] = []
    while True:
        page = shop.client.events.list(after=after, limit=1000)
        for event in page.data:
            expect(event.seq > last, f"the seq {event.seq} comes after {last}")
            last = event.seq
            if event.resource_id == topup:
                kinds.append(event.type)
        after = page.next_after
        if not page.has_more:
            break
    wanted = ["topup.created", "topup.succeeded"]
    expect(kinds == wanted, f"the events of a top-up are {kinds}, not {wanted}")


def _newest_seq(shop: Shop) -> int:
    """By halving, since there may be millions of events before."""

    def is_before(seq: int) -> bool:
        return bool(shop.client.events.list(after=seq, limit=1).data)

    above = 1
    while is_before(above):
        above *= 2
    below = above // 2
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if is_before(middle) else (below, middle)
    return above


# ----------------------------------------------------------------------------------- isolation


@check(
    "isolation.between-merchants",
    "What belongs to one merchant does not exist for another: not by id, in lists or in events.",
    "what belongs to another merchant does not exist (404)",
)
def _(shop: Shop) -> None:
    if shop.other is None:
        raise Skip("it takes a key of another merchant: --other-key")
    account = shop.member(SMALL)
    topup = shop.client.topups.list(limit=1).data[0].id
    looks: list[Callable[[Client], object]] = [
        lambda other: other.accounts.get(account),
        lambda other: other.accounts.get_balance(account),
        lambda other: other.topups.get(topup),
    ]
    for look in looks:
        try:
            look(shop.other)
        except NotFound:
            continue
        raise Broken(f"another merchant is shown {account} or its top-up")
    try:
        body = TransferRequest(from_=account, to=shop.member(), amount=1)
        shop.other.transfers.create(body, key=shop.new_name("theft"))
    except NotFound:
        pass
    else:
        raise Broken("another merchant may spend the account's coin")
    listed = [other.id for other in shop.other.accounts.list(limit=100).data]
    expect(account not in listed, f"another merchant's list has {account}")


# -------------------------------------------------------------------------------- the reckoning


@check(
    "ledger.conservation",
    "All that this run put in is with its members, in escrow, taken as a fee or paid out.",
    "supply = sum of the ledger; money is conserved to the unit",
)
def _(shop: Shop) -> None:
    if not shop.put_in:
        raise Skip("this run has moved no money")
    for order in shop.orders:
        shop.settle(order)
    balances = [shop.client.accounts.get_balance(account) for account in shop.members]
    orders = [shop.client.purchases.get(order) for order in shop.orders]
    available = sum(balance.available for balance in balances)
    held = sum(order.held for order in orders)
    fees = sum(order.fee for order in orders)
    repaid = sum(order.repayment for order in orders)
    accounted = available + held + fees + repaid + shop.taken_out
    expect(
        accounted == shop.put_in,
        f"{shop.put_in} were put in, and {accounted} are accounted for: {available} available,"
        f" {held} held, {fees} fees, {repaid} repaid, {shop.taken_out} paid out",
    )


@check(
    "ledger.reconciled",
    "The node itself finds no difference between its books and the chain.",
    "drift is a metric and fails readiness",
)
def _(shop: Shop) -> None:
    report = shop.client.reconciliation.get()
    expect(report.ok is not False, f"the node reports drift: {report.drift}")
