"""What may go wrong, as exceptions: one for each kind of refusal, and one for no answer at all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

_PASSING = (429, 502, 503, 504)  # whoever answers so, the bridge or a proxy before it


class PlazaError(Exception):
    """All that the client raises of itself."""


class Unreachable(PlazaError):
    """No answer came. A POST may have been carried out: send it again with the same key."""


class Refused(PlazaError):
    """The bridge refused a request (RFC 9457).

    Attributes:
        status: of HTTP.
        code: to decide on, such as "insufficient_funds"; "unknown" where a proxy answered.
        detail: for people.
        param: the field, query parameter or header at fault.
        retryable: whether the same request may succeed later.
        request_id: to tell the operator.
        operation_id: the operation in the way.
        retry_after: seconds that the bridge asks to wait.
        more: further members of the problem, such as `deadline` or `to_sign`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retryable: bool = False,
        param: str | None = None,
        request_id: str | None = None,
        operation_id: str | None = None,
        retry_after: float | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.param = param
        self.retryable = retryable
        self.request_id = request_id
        self.operation_id = operation_id
        self.retry_after = retry_after
        self.more = dict(more or {})


class BadRequest(Refused):
    """400: not JSON, or no good Idempotency-Key."""


class Unauthorized(Refused):
    """401: no valid API key."""


class Forbidden(Refused):
    """403: the key lacks a scope."""


class NotFound(Refused):
    """404: there is none, or it is another merchant's."""


class Conflict(Refused):
    """409: the state of things does not permit it."""


class Unprocessable(Refused):
    """422: a field is wrong, too little money, or the key came with another request."""


class TooManyRequests(Refused):
    """429."""


class ServerFailed(Refused):
    """5xx."""


_BY_STATUS: dict[int, type[Refused]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Unprocessable,
    429: TooManyRequests,
}
_NAMED = ("status", "code", "detail", "param", "retryable", "request_id", "operation_id")
_LEFT_OUT = (*_NAMED, "type", "title")


def refusal(status: int, headers: Mapping[str, str], content: bytes) -> Refused:
    """The exception for an answer of 4xx or 5xx, whoever gave it."""
    kind = _BY_STATUS.get(status, ServerFailed if status >= 500 else Refused)
    retry_after = _seconds(headers.get("Retry-After"))
    passing = status in _PASSING
    try:
        problem = orjson.loads(content)
        return kind(
            status,
            str(problem["code"]),
            str(problem.get("detail", "")),
            retryable=passing or problem.get("retryable") is True,
            param=problem.get("param"),
            request_id=problem.get("request_id"),
            operation_id=problem.get("operation_id"),
            retry_after=retry_after,
            more={name: value for name, value in problem.items() if name not in _LEFT_OUT},
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        words = content[:200].decode("utf-8", "replace")
        return kind(status, "unknown", words, retryable=passing, retry_after=retry_after)


def _seconds(retry_after: str | None) -> float | None:
    """Of a Retry-After header: seconds, or a date (RFC 9110)."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment.tzinfo else None
