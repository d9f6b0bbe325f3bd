"""The whole OpenAPI document, against the real bridge on a real chain, over real HTTP.

Whatever is asked, no answer is a 5xx or outside of what the document says of it: status, media
type, headers and body. Schemathesis makes most of the requests; what it cannot send, such as broken
JSON, is made here. PLAZA_FUZZ_EXAMPLES makes longer runs, with another seed each time.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from tests.node.bridge.serving import Served, served
from tests.node.bridge.support import COIN

LONG = "PLAZA_FUZZ_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("PLAZA_FUZZ_EXAMPLES", "2"))  # of each kind, for each operation
COVERAGE = 10_000 if LONG else 8  # of the cases that schemathesis derives from the document
SEED = secrets.randbits(64) if LONG else 20_261_123
REQUEST_SECONDS = 40
FOREVER = "/v1/events/stream"  # asked by `test_stream`: an answer to it has no end

load_all_checks()
CHECKED = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


# What a field may hold that nobody would think of, as JSON.
ODD = (
    '"\\ud800"', '"a\\u0000"', '"\\uffff"', '""', '"\\u0663"', '"12\\n"', f'"{"9" * 5_000}"',
    '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59-23:59"', f'"0x{"f" * 64}"',
    "1" + "0" * 400, "-1", "1.5", "1e999", "NaN", "18446744073709551616", "true", "null", "{}",
    '["\\ud800"]', "[" * 900 + "]" * 900,
)  # fmt: skip
# What a body may be instead of JSON, made of one that is right.
BROKEN: tuple[Callable[[bytes], bytes], ...] = (
    lambda body: body[:-1],
    lambda body: b"\xff" + body,
    lambda body: b"\xef\xbb\xbf" + body,
    lambda body: body.decode().encode("utf-16"),
    lambda body: body[:-1] + b',"\\ud800":1}',
    lambda body: b"[" * 20_000,
    lambda body: b'"\xed\xa0\x80"',
    lambda body: b"",
)
ODD_QUERY = (
    "%ff", "%ed%a0%80", "%00", "9" * 400, "-1", "18446744073709551616", "", "%0a", "%D9%A3", "1_0",
)  # fmt: skip
ODD_HEADERS = (b"", b"\xff", b"\xb2", b"wait=99999999999999999999", b"wait=-1", b"x" * 3_000)


@pytest.fixture(scope="module")
def known(bridge: Served) -> dict[str, str]:
    """Ids of what there is: requests with made-up ids get no further than a 404."""
    headers = {"Authorization": f"Bearer {bridge.shop.secret}", "Prefer": "wait=30"}
    numbers = itertools.count()
    with httpx.Client(base_url=bridge.url, headers=headers, timeout=60) as http:

        def make(path: str, body: Any = None) -> Any:
            key = {"Idempotency-Key": f"known-{next(numbers)}"}
            made = http.post(path, json=body, headers=key)
            assert made.is_success, made.text
            return made.json()

        buyer = make("/v1/accounts", {"kinds": ["buyer", "lender"]})["id"]
        seller = make("/v1/accounts", {"kinds": ["seller"]})["id"]
        topup = {"account": buyer, "amount": str(900 * COIN), "reference": "bank 1"}
        topup_id = make("/v1/topups", topup)["id"]
        order = {"order_id": "A-1", "payer": buyer, "payee": seller, "amount": str(COIN)}
        purchase = make("/v1/purchases", order)["id"]
        make(f"/v1/purchases/{purchase}/deliver")
        make(f"/v1/purchases/{purchase}/disputes", {"text": "It never came."})
        request = make("/v1/payment_requests", {"payee": seller, "amount": "5"})["id"]
        out = {"account": buyer, "amount": "5", "reference": "payout 1"}
        transfer = {"from": buyer, "to": seller, "amount": "1"}
        return {
            "account_id": buyer,
            "account": buyer,
            "payer": buyer,
            "payee": seller,
            "from": buyer,
            "to": seller,
            "seller": seller,
            "topup_id": topup_id,
            "redemption_id": make("/v1/redemptions", out)["id"],
            "transfer_id": make("/v1/transfers", transfer)["id"],
            "purchase_id": purchase,
            "request_id": request,
            "operation_id": http.get("/v1/operations").json()["data"][0]["id"],
            "event_id": http.get("/v1/events").json()["data"][0]["id"],
            "key_id": make("/v1/api_keys", {"name": "other", "scopes": ["read"]})["id"],
        }


def schema_of(document: Mapping[str, Any], known: Mapping[str, str]) -> Any:
    """Whose cases name what there is in two of three places where an id belongs."""
    schema = schemathesis.openapi.from_dict(dict(document))
    turn = itertools.count()

    def name_known(values: Any) -> Any:
        if isinstance(values, dict):
            for name in values:
                if name in known and next(turn) % 3:
                    values[name] = known[name]
        return values

    schema.hook("map_path_parameters")(lambda _context, values: name_known(values))
    schema.hook("map_query")(lambda _context, values: name_known(values))
    schema.hook("map_body")(lambda _context, values: name_known(values))
    return schema


def failures_of(schema: Any, url: str, key: str | None) -> tuple[list[str], int]:
    """Ask for every operation of the document; return what is wrong, and how much was asked."""
    failures: dict[tuple[str, str], str] = {}
    asked = 0
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def check(case: Any) -> None:
        nonlocal asked
        asked += 1
        try:
            response = case.call(base_url=url, headers=headers, timeout=REQUEST_SECONDS)
            case.validate_response(response, checks=CHECKED)
        except FailureGroup as group:
            for failure in group.exceptions:
                place = (case.operation.label, type(failure).__name__)
                failures.setdefault(place, f"{place}: {failure}\n{case.as_curl_command()}")

    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == FOREVER:
            continue
        cases = schema.iter_coverage_cases(
            operation,
            generation_modes=list(GenerationMode),
            generation_config=schema.config.generation,
        )
        for case in itertools.islice(cases, COVERAGE):
            check(case)
        for mode in GenerationMode:
            fuzz = _fuzz(operation.as_strategy(generation_mode=mode), check)
            with suppress(Unsatisfiable):  # it takes nothing that could be wrong
                fuzz()
    return list(failures.values()), asked


def _fuzz(cases: Any, check: Callable[[Any], None]) -> Callable[[], None]:
    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def run(case: Any) -> None:
        check(case)

    return run


@pytest.mark.timeout(0 if LONG else 400)
def test_every_answer_is_as_documented(bridge: Served, known: dict[str, str]) -> None:
    failures, asked = failures_of(schema_of(bridge.document, known), bridge.url, bridge.shop.secret)
    assert not failures, f"seed {SEED}\n" + "\n\n".join(failures)
    assert asked > 10 * len(bridge.document["paths"])


@pytest.mark.timeout(0 if LONG else 400)
def test_every_answer_to_strangers_is_as_documented(bridge: Served, known: dict[str, str]) -> None:
    failures, _ = failures_of(schema_of(bridge.document, known), bridge.url, None)
    assert not failures, f"seed {SEED}\n" + "\n\n".join(failures)


def test_a_document_that_is_wrong_is_found_out(bridge: Served) -> None:
    """By one route whose statuses, and one whose schema, are not what is answered."""
    document = deepcopy(bridge.document)
    live, network = document["paths"]["/health/live"]["get"], document["paths"]["/v1/network"]
    del live["responses"]["200"]
    schema = {"type": "object", "required": ["nothing"]}
    network["get"]["responses"]["200"]["content"]["application/json"]["schema"] = schema
    document["paths"] = {"/health/live": {"get": live}, "/v1/network": network}

    failures, _ = failures_of(schema_of(document, {}), bridge.url, None)

    found = "\n".join(failures)
    assert "UndefinedStatusCode" in found
    assert "JsonSchemaError" in found


def test_odd_values_are_refused_wherever_they_stand(bridge: Served, known: dict[str, str]) -> None:
    """Each field, parameter and header of each operation, one at a time."""
    numbers = itertools.count()
    wrong = []
    with httpx.Client(base_url=bridge.url, timeout=REQUEST_SECONDS) as http:
        for method, path, options in odd_requests(bridge.document, known):
            headers = {
                "Authorization": f"Bearer {bridge.shop.secret}",
                "Idempotency-Key": f"odd-{next(numbers)}",
                **options.pop("headers", {}),
            }
            response = http.request(method, path, headers=headers, **options)
            is_problem = response.headers["content-type"] == "application/problem+json"
            if response.status_code >= 500 or (response.status_code >= 400 and not is_problem):
                wrong.append(f"{response.status_code} {method} {path} {str(options)[:300]}")
    assert not wrong, "\n".join(wrong)


def odd_requests(document: Any, known: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    schemas = document["components"]["schemas"]
    for template, methods in document["paths"].items():
        for method, route in methods.items():
            if template == FOREVER:
                continue
            path = template
            for parameter in route.get("parameters", ()):
                if parameter["in"] == "path":
                    name = parameter["name"]
                    path = path.replace(f"{{{name}}}", known.get(name, f"xxx_{'0' * 32}"))
            yield from ((method, f"{path}{odd}", {}) for odd in ("%ff", "%00", "%0a", "%2F.."))
            for parameter in route.get("parameters", ()):
                name = parameter["name"]
                if parameter["in"] == "query":
                    yield from ((method, f"{path}?{name}={odd}", {}) for odd in ODD_QUERY)
                if parameter["in"] == "header":
                    yield from ((method, path, {"headers": {name: odd}}) for odd in ODD_HEADERS)
            if "requestBody" not in route:
                continue
            body = route["requestBody"]["content"]["application/json"]["schema"]
            reference = body.get("$ref") or body["anyOf"][0]["$ref"]
            example = schemas[reference.rpartition("/")[2]]["examples"][0]
            example.update({name: known[name] for name in example if name in known})
            headers = {"Content-Type": "application/json"}
            for content in odd_bodies(example):
                yield method, path, {"content": content, "headers": headers}


def odd_bodies(example: Any) -> Iterator[bytes]:
    """Each place holds a quarter of what is odd, another one than its neighbour."""
    step = 1 if LONG else 4
    for number, place in enumerate(_places(example)):
        text = json.dumps(_replaced(example, place))
        for odd in ODD[(number + len(text)) % step :: step]:
            yield text.replace('"HERE"', odd, 1).encode()
    yield from (broken(json.dumps(example).encode()) for broken in BROKEN)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*place, key))


def _replaced(value: Any, place: tuple[Any, ...]) -> Any:
    if not place:
        return "HERE"
    copied = value.copy()
    copied[place[0]] = _replaced(value[place[0]], place[1:])
    return copied


def test_a_stream_is_opened_or_refused_as_documented(bridge: Served) -> None:
    """What it sends once it is open is the subject of test_stream."""
    headers = {"Authorization": f"Bearer {bridge.shop.secret}"}
    asked: list[tuple[str, Mapping[str, Any], int]] = [("", {}, 401)]
    asked += [(f"?nonsense={odd}", headers, 422) for odd in ODD_QUERY]
    asked += [(f"?after={odd}", headers, 422) for odd in ("-1", "9" * 400, "x", "%ff")]
    asked += [("", {**headers, "Last-Event-ID": odd}, 422) for odd in ODD_HEADERS]
    asked += [("?after=0", headers, 200), ("", {**headers, "Last-Event-ID": "7"}, 200)]
    with httpx.Client(base_url=bridge.url, timeout=REQUEST_SECONDS) as http:
        for query, sent, status in asked:
            with http.stream("GET", FOREVER + query, headers=sent) as response:
                assert response.status_code == status, (query, sent)
                kind = "text/event-stream" if status == 200 else "application/problem+json"
                assert response.headers["content-type"].partition(";")[0] == kind
