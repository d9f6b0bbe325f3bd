"""The client has what the OpenAPI document has, no more and no less."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from node.client import AsyncClient, Client, models
from node.client.values import Page
from scripts import generate_client


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return generate_client.describe_bridge()


def test_what_is_committed_is_what_the_document_gives(document: dict[str, Any]) -> None:
    for name, text in generate_client.generate(document).items():
        committed = (generate_client.CLIENT / name).read_text(encoding="utf-8")
        assert committed == text, f"{name}: run scripts/generate_client.py"


def test_every_operation_can_be_called_in_both_clients(document: dict[str, Any]) -> None:
    blocking, asyncio = Client("http://127.0.0.1:9"), AsyncClient("http://127.0.0.1:9")
    called = 0
    for methods in document["paths"].values():
        for route in methods.values():
            if route["operationId"] == "events.stream":
                assert blocking.follow_events
                continue
            resource, _, action = route["operationId"].partition(".")
            of_both = [getattr(getattr(client, resource), action) for client in (blocking, asyncio)]
            assert inspect.iscoroutinefunction(of_both[1])
            ours, theirs = (inspect.signature(method).parameters for method in of_both)
            assert list(ours) == list(theirs)
            in_path = {p["name"] for p in route.get("parameters", ()) if p["in"] == "path"}
            in_query = {p["name"] for p in route.get("parameters", ()) if p["in"] == "query"}
            assert in_path | in_query <= set(ours)
            assert ("body" in ours) == ("requestBody" in route)
            called += 1
    assert called > 90


def test_every_schema_has_a_model_with_its_fields(document: dict[str, Any]) -> None:
    compared = 0
    for name, schema in document["components"]["schemas"].items():
        if name.startswith("Page_") or name == "ProblemDetails" or "enum" in schema:
            continue
        model = getattr(models, generate_client.Document(document).name(name))
        assert issubclass(model, BaseModel)
        fields = {
            field.serialization_alias or key: field for key, field in model.model_fields.items()
        }
        assert set(fields) == set(schema["properties"]), name
        required = {key for key, field in fields.items() if field.is_required()}
        assert required == set(schema.get("required", ())), name
        compared += 1
    assert compared > 80


def test_every_example_of_the_document_is_read_and_written_as_it_is(
    document: dict[str, Any],
) -> None:
    """Amounts become numbers and times moments, and go out again as they came."""
    names = generate_client.Document(document)
    seen = 0
    for name, schema in document["components"]["schemas"].items():
        if name.startswith("Page_") or name == "ProblemDetails":
            continue
        for example in schema.get("examples", ()):
            read = getattr(models, names.name(name)).model_validate(example)
            written = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
            assert written == example, name
            seen += 1
    assert seen > 60
    account = document["components"]["schemas"]["Account"]["examples"][0]
    page = Page[models.Account].model_validate(
        {"data": [account], "has_more": False, "next_cursor": None}
    )
    assert page.data[0].id == account["id"]


def test_it_stands_on_its_own() -> None:
    """Beside import-linter: no module of the node is even named in it."""
    for path in Path(generate_client.CLIENT).glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(("from node", "import node")):
                assert line.startswith("from node.client"), f"{path.name}: {line}"
