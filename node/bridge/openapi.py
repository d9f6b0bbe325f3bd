"""What the OpenAPI document says beyond what the framework reads off the routes."""

from __future__ import annotations

from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel

from node.bridge.problems import MEDIA_TYPE, ProblemDetails, documented
from node.bridge.values import Input, Output

# What any route may answer with, besides what it documents itself.
_ALWAYS = ("internal_error", "database_busy", "invalid_request")
_WITH_KEY = ("unauthorized", "scope_missing")
_WITH_BODY = ("malformed_json", "bad_request", "body_too_large", "unsupported_media_type")
_WITH_IDEMPOTENCY = (
    "idempotency_key_required",
    "idempotency_key_invalid",
    "idempotency_key_reused",
    "chain_unavailable",
)
_HEADERS = {
    "X-Request-Id": "of this request, as in the log; the caller's own where it sent a fit one",
    "Idempotency-Replayed": "`true`: this Idempotency-Key and request came before",
    "Preference-Applied": "the `wait` that was honoured",
    "Retry-After": "seconds",
    "WWW-Authenticate": "`Bearer`",
}


def name_operation(route: APIRoute) -> str:
    """Such as "purchases.release": what clients call a route, so it stays as it is."""
    return f"{route.endpoint.__module__.rpartition('.')[2]}.{route.name.strip('_')}"


def complete(schema: dict[str, Any]) -> None:
    """Say of every route what all of its kind have in common."""
    schemas = schema["components"]["schemas"]
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
    _restore_examples(schemas)
    for path in schema["paths"].values():
        for method, route in path.items():
            _complete_route(method, route)
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form of a 422
        schemas.pop(name, None)


def _complete_route(method: str, route: dict[str, Any]) -> None:
    resource, _, action = route["operationId"].replace("_", " ").partition(".")
    route["summary"] = f"{resource.capitalize()}: {action}"
    codes = list(_ALWAYS)
    if "security" in route:
        codes += _WITH_KEY
    if method == "post":
        codes += _WITH_BODY
    parameters = {parameter["name"]: parameter for parameter in route.get("parameters", ())}
    if (key := parameters.get("Idempotency-Key")) is not None:
        key["required"] = True
        key["schema"] = {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"}
        codes += _WITH_IDEMPOTENCY
    responses = route["responses"]
    if "202" in responses and "Prefer" in parameters:
        settled = {"description": "Settled while it was waited for (`Prefer: wait=N`)"}
        responses["200"] = {**settled, "content": responses["202"]["content"]}
    for status, response in documented(*codes).items():
        _merge(responses, str(status), response)
    for status, response in responses.items():
        for example in response["content"].get(MEDIA_TYPE, {}).get("examples", {}).values():
            example["value"].setdefault("param", None)  # as in _restore_examples
        headers = ["X-Request-Id"]
        if key is not None and status.startswith("2"):
            headers.append("Idempotency-Replayed")
        if status == "200" and "202" in responses:
            headers.append("Preference-Applied")
        headers += {"503": ["Retry-After"], "401": ["WWW-Authenticate"]}.get(status, [])
        response["headers"] = {
            name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in headers
        }


def _restore_examples(schemas: dict[str, Any]) -> None:
    """FastAPI leaves every null out of its document, and so breaks examples that need one."""
    models: list[type[BaseModel]] = [*Input.__subclasses__(), *Output.__subclasses__()]
    while models:
        model = models.pop()
        models += model.__subclasses__()
        extra = model.model_config.get("json_schema_extra")
        if isinstance(extra, dict) and model.__name__ in schemas:
            schemas[model.__name__]["examples"] = extra["examples"]


def _merge(responses: dict[str, Any], status: str, more: dict[str, Any]) -> None:
    """Add documented problems to those a route documents with the same status."""
    content = responses.setdefault(status, more)["content"]
    if status == "422":
        content.pop("application/json", None)
    problems_ = content.setdefault(MEDIA_TYPE, more["content"][MEDIA_TYPE])
    problems_["examples"].update(more["content"][MEDIA_TYPE]["examples"])
