"""Around every request: its id, the limit of its body, the access log, and the last resort."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError, OperationalError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.bridge.metrics import HttpMetrics
from node.bridge.problems import Problem
from node.failpoints import reach

MAX_BODY_BYTES = 64 * 1024
_LARGER_BODIES = {"/v1/sales_facts": 1024 * 1024}  # what comes a thousand at once

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# Keys and webhook secrets, which somebody may paste where an id belongs.
_SECRET = re.compile(r"(plz_|whsec_)[^/]*")

log = structlog.get_logger("plaza.access")


class Envelope:
    """Pure ASGI, so that it costs a request some microseconds.

    The access log names the route and the merchant, never headers, queries or bodies: they hold
    keys and what customers are called.
    """

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id"))
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        self._metrics.in_progress.inc()
        try:
            try:
                _refuse_zero_bytes(scope)
                limited = await _read_body(scope, headers, receive)
                await self._app(scope, limited, send_with_id)
                reach("bridge.answered")
            except Exception as error:
                problem = _last_resort(error, request_id)
                if status:  # the answer is on its way: nothing can be put in its place
                    raise
                await problem.response(request_id)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.in_progress.dec()
            self._metrics.answered(scope, status, seconds)
            log.info(
                "request",
                method=scope["method"],
                path=_SECRET.sub(r"\1…", scope["path"]),
                status=status,
                milliseconds=round(seconds * 1000, 1),
                request_id=request_id,
                merchant_id=state.get("merchant_id"),
            )


def _request_id(given: bytes | None) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return f"req_{secrets.token_hex(16)}"


def _refuse_zero_bytes(scope: Scope) -> None:
    """PostgreSQL takes none in text, and no id or name has one; bodies are checked by their models.

    Raises:
        Problem: invalid_request.
    """
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        where = "path" if "\0" in scope["path"] else "query"
        raise Problem("invalid_request", f"the {where} holds a zero byte", param=where)


async def _read_body(scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Receive:
    """Read the whole body before the work begins, as far as the limit.

    Raises:
        Problem: body_too_large, unsupported_media_type.
    """
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return receive
    limit = _LARGER_BODIES.get(scope["path"], MAX_BODY_BYTES)
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or int(declared[:20]) > limit:
        raise _too_large(limit)
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise _too_large(limit)
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if body and media_type != b"application/json":
        raise Problem(
            "unsupported_media_type",
            f"the Content-Type is {media_type.decode('latin-1')!r}, not application/json",
            param="Content-Type",
        )
    delivered = False

    async def replay() -> Message:
        nonlocal delivered
        if delivered:
            return await receive()
        delivered = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _too_large(limit: int) -> Problem:
    return Problem("body_too_large", f"a body has at most {limit} bytes")


def _last_resort(error: Exception, request_id: str) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, OperationalError) and _is_busy(error):
        log.warning("database busy", request_id=request_id, error=str(error.orig))
        return Problem("database_busy", "nothing was done; send the same request again shortly")
    log.error("request failed", request_id=request_id, exc_info=error)
    return Problem(
        "internal_error",
        f"tell us the request id {request_id}; whether anything was done shows in"
        " the resource, or by sending the same request with the same Idempotency-Key again",
    )


def _is_busy(error: DBAPIError) -> bool:
    words = str(error.orig).lower()
    return any(
        word in words
        for word in ("locked", "busy", "deadlock", "lock timeout", "could not serialize")
    )
