"""Errors as RFC 9457 problem details: every code the bridge answers with, in one catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

MEDIA_TYPE = "application/problem+json"


class _Kind(NamedTuple):
    status: int
    title: str
    retryable: bool = False


CATALOGUE: dict[str, _Kind] = {
    "malformed_json": _Kind(400, "The body is not JSON"),
    "idempotency_key_required": _Kind(400, "This request needs an Idempotency-Key header"),
    "idempotency_key_invalid": _Kind(400, "The Idempotency-Key is not 1-255 visible characters"),
    "bad_request": _Kind(400, "The request cannot be understood"),
    "unauthorized": _Kind(401, "No valid API key"),
    "scope_missing": _Kind(403, "The API key may not do this"),
    "not_found": _Kind(404, "There is no such resource"),
    "method_not_allowed": _Kind(405, "The resource does not know this method"),
    "account_not_active": _Kind(409, "The account is not an active member"),
    "address_taken": _Kind(409, "The address belongs to another account"),
    "arbitration_open": _Kind(409, "The arbitration is not over"),
    "arbitration_over": _Kind(409, "The time of the arbitration is over"),
    "dispute_window_closed": _Kind(409, "The dispute window is over"),
    "dispute_window_open": _Kind(409, "The dispute window is not over"),
    "invalid_state": _Kind(409, "The resource is not in a state that permits this"),
    "draws_paused": _Kind(409, "Draws are paused", retryable=True),
    "limit_reached": _Kind(409, "There are as many as there may be"),
    "line_not_in_good_standing": _Kind(409, "The credit line permits no draws now"),
    "line_suspended": _Kind(409, "Draws on the credit line are suspended"),
    "memo_taken": _Kind(409, "The payee has a payment request with this memo already"),
    "nonce_taken": _Kind(409, "The nonce is not the next of its account"),
    "not_enough_cash": _Kind(409, "The pool has less coin at hand than is needed", retryable=True),
    "nothing_owed": _Kind(409, "Nothing is owed on the credit line"),
    "offer_expired": _Kind(409, "The offer can no longer be accepted"),
    "operation_pending": _Kind(409, "The same action is on its way already"),
    "order_id_taken": _Kind(409, "There is a purchase of this order already"),
    "reclaim_too_early": _Kind(409, "The purchase cannot be reclaimed yet"),
    "reference_taken": _Kind(409, "The reference was used already"),
    "reserve_too_low": _Kind(409, "The first-loss reserve permits no more draws", retryable=True),
    "something_owed": _Kind(409, "Something is owed on the credit line"),
    "statement_taken": _Kind(409, "This was submitted already"),
    "too_much_evidence": _Kind(409, "The dispute takes no more evidence"),
    "terms_expired": _Kind(409, "The terms can no longer be authorized"),
    "body_too_large": _Kind(413, "The body is too large"),
    "unsupported_media_type": _Kind(415, "The body is not application/json"),
    "address_reserved": _Kind(422, "The address is the platform's own"),
    "amount_too_large": _Kind(422, "The amount is more than there is"),
    "idempotency_key_reused": _Kind(422, "The Idempotency-Key came with another request before"),
    "insufficient_funds": _Kind(422, "The account has less available than is needed"),
    "invalid_request": _Kind(422, "The request is not valid"),
    "signature_invalid": _Kind(422, "The signature is not the account's for this payment"),
    "signature_required": _Kind(422, "An external account signs for itself"),
    "transaction_invalid": _Kind(422, "The signed transaction does not do what is asked for"),
    "url_refused": _Kind(422, "Nothing may be delivered to this URL"),
    "too_many_streams": _Kind(429, "There are as many streams as there may be", retryable=True),
    "internal_error": _Kind(500, "Something went wrong on our side"),
    "chain_unavailable": _Kind(503, "The chain does not answer", retryable=True),
    "database_busy": _Kind(503, "The database is busy", retryable=True),
}


class Problem(Exception):
    """A refusal, answered as problem details.

    Args:
        code: a code of the catalogue, which gives status and title.
        detail: what is wrong with this request, with the actual and the expected value.
        param: the field, query parameter or header at fault.
        retryable: whether the same request may succeed later; None: as in the catalogue.
        operation_id: the operation in the way.
        headers: of the answer.
        more: further members of the answer, such as `available` and `needed`.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        param: str | None = None,
        retryable: bool | None = None,
        operation_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        kind = CATALOGUE[code]
        self.code = code
        self.status = kind.status
        self.title = kind.title
        self.detail = detail
        self.param = param
        self.retryable = kind.retryable if retryable is None else retryable
        self.operation_id = operation_id
        self.headers = dict(headers or {})
        self.more = more

    def response(self, request_id: str) -> Response:
        body: dict[str, Any] = {
            "type": f"urn:plaza:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "param": self.param,
            "retryable": self.retryable,
            "request_id": request_id,
            **self.more,
        }
        if self.operation_id is not None:
            body["operation_id"] = self.operation_id
        if self.retryable and self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.headers.setdefault("Retry-After", "1")
        return Response(orjson.dumps(body), self.status, self.headers, MEDIA_TYPE)


def not_found(what: str, resource_id: str, param: str) -> Problem:
    """The one answer for what does not exist and for what belongs to another merchant."""
    return Problem("not_found", f"no {what} {resource_id!r}", param=param)


class ProblemDetails(BaseModel):
    """RFC 9457 problem details. Some problems carry further members, named in their examples."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`urn:plaza:problem:` and the code")
    title: str
    status: int
    detail: str
    code: str = Field(description="for programs to decide on")
    param: str | None = Field(description="the field, query parameter or header at fault")
    retryable: bool = Field(description="whether the same request may succeed later")
    request_id: str
    operation_id: str | None = Field(None, description="the operation in the way")


SCHEMA = {"$ref": "#/components/schemas/ProblemDetails"}


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI `responses` of a route that answers with these codes."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        kind = CATALOGUE[code]
        response = responses.setdefault(
            kind.status,
            {
                "description": HTTPStatus(kind.status).phrase,
                "content": {MEDIA_TYPE: {"schema": SCHEMA, "examples": {}}},
            },
        )
        response["content"][MEDIA_TYPE]["examples"][code] = {
            "summary": kind.title,
            "value": {
                "type": f"urn:plaza:problem:{code}",
                "title": kind.title,
                "status": kind.status,
                "detail": kind.title,
                "code": code,
                "param": None,
                "retryable": kind.retryable,
                "request_id": "req_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
            },
        }
    return responses


# ------------------------------------------------------------------ from the framework's errors


async def on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response(request.state.request_id)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """No such route, wrong method, a body the framework cannot read."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == HTTPStatus.NOT_FOUND:
        problem = Problem("not_found", f"there is nothing at {path}")
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{path} does not know {request.method}"
        headers = {"Allow": ", ".join(_methods_at(request))}
        problem = Problem("method_not_allowed", detail, headers=headers)
    else:
        problem = Problem("bad_request", str(error.detail))
    return problem.response(request.state.request_id)


def _methods_at(request: Request) -> list[str]:
    """All of them: the framework names only those of the first route that fits the path."""
    return [
        method
        for method in ("GET", "POST")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.router.routes
        )
    ]


async def on_validation_error(request: Request, error: Exception) -> Response:
    """The first thing wrong with a body or a query, by name; the input is not repeated."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        reason = f"{first['ctx']['error']} at character {first['loc'][-1]}"
        return Problem("malformed_json", reason).response(request.state.request_id)
    place = [str(part) for part in first["loc"][1:]]
    param = ".".join(place) or str(first["loc"][0])
    detail = f"{param}: {first['msg'].removeprefix('Value error, ')}"
    return Problem("invalid_request", detail, param=param).response(request.state.request_id)
