"""The API's own description is complete and true."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter
from jsonschema import Draft202012Validator

from node import bridge
from node.bridge.problems import CATALOGUE, MEDIA_TYPE
from tests.node.bridge.support import Client, Desk, openapi


@pytest.fixture
def document(desk: Desk) -> dict[str, Any]:
    return openapi(desk.app)


def routes(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            yield path, method, route


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    checked = 0
    for name, schema in document["components"]["schemas"].items():
        validator = Draft202012Validator({"components": document["components"], **schema})
        for example in schema.get("examples", ()):
            validator.validate(example)
            checked += 1
        assert "/$defs/" not in str(schema), name
    assert checked > 20


def test_every_request_and_answer_has_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def has_example(schema: dict[str, Any]) -> bool:
        if "$ref" not in schema:  # the body may be left out
            schema = next(part for part in schema["anyOf"] if "$ref" in part)
        name = schema["$ref"].rpartition("/")[2]
        of_list = schemas[name]["properties"].get("data", {}).get("items")
        return "examples" in schemas[name] or (of_list is not None and has_example(of_list))

    for path, method, route in routes(document):
        if "requestBody" in route:
            body = route["requestBody"]["content"]["application/json"]["schema"]
            assert has_example(body), (path, method)
        for status, response in route["responses"].items():
            if status.startswith("2"):
                if "text/event-stream" in response["content"]:
                    assert response["content"]["text/event-stream"]["example"], path
                    continue
                content = response["content"].get("application/json")
                if content is None:  # a picture, or a page
                    assert route["responses"][status]["content"]
                elif "example" not in content:
                    assert has_example(content["schema"]), path
                else:
                    schema = {"components": document["components"], **content["schema"]}
                    Draft202012Validator(schema).validate(content["example"])


def test_every_route_documents_its_errors(document: dict[str, Any]) -> None:
    for path, method, route in routes(document):
        statuses = set(route["responses"])
        assert {"422", "500", "503"} <= statuses, path
        if path.startswith("/v1") and not path.startswith(("/v1/pay", "/v1/network")):
            assert {"401", "403"} <= statuses, path
        if method == "post":
            assert {"400", "413", "415"} <= statuses, path
        for status, response in route["responses"].items():
            content = response["content"].get(MEDIA_TYPE)
            if status.startswith("2") or content is None:
                continue
            for code, example in content["examples"].items():
                assert CATALOGUE[code].status == int(status)
                schema = {"components": document["components"], **content["schema"]}
                Draft202012Validator(schema).validate(example["value"])


def test_every_code_of_the_catalogue_can_be_met(document: dict[str, Any]) -> None:
    documented = {
        code
        for _, _, route in routes(document)
        for response in route["responses"].values()
        for code in response["content"].get(MEDIA_TYPE, {"examples": {}})["examples"]
    }
    assert set(CATALOGUE) - documented == {"method_not_allowed"}  # of no route


async def test_the_document_is_served(shop: Client) -> None:
    answer = await shop.http.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.json()["info"]["title"] == "Plaza bridge"


def test_every_route_is_in_the_document_with_a_name_of_its_own(document: dict[str, Any]) -> None:
    documented = {(path, method.upper()) for path, method, _ in routes(document)}
    served = set()
    for module in pkgutil.iter_modules(bridge.__path__):
        names = vars(importlib.import_module(f"node.bridge.{module.name}"))
        for router in (one for one in names.values() if isinstance(one, APIRouter)):
            prefix = "" if module.name in ("health", "metrics", "x402") else "/v1"
            for route in router.routes:
                served |= {(prefix + route.path, method) for method in route.methods}
    assert served == documented
    names = [route["operationId"] for _, _, route in routes(document)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*", name) for name in names), (
        names
    )


def test_every_operation_says_what_it_is_and_how_it_is_refused(document: dict[str, Any]) -> None:
    for path, method, route in routes(document):
        assert route["tags"], path
        assert re.fullmatch(r"[A-Z][a-z0-9 ]+: [a-z ]+", route["summary"]), route["summary"]
        responses = route["responses"]
        for status, response in responses.items():
            assert response["description"], (path, status)
            assert "X-Request-Id" in response["headers"], (path, status)
        if "{" in path:
            assert "404" in responses, path
        if method == "post" and "202" in responses:
            assert responses["200"]["content"] == responses["202"]["content"], path
