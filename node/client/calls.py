"""Calls as values, without any network: what is sent, what comes back, and when to send again."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import orjson
from pydantic import BaseModel

from node.client.errors import Refused

Shape = TypeVar("Shape")


@dataclass(frozen=True, slots=True)
class Call(Generic[Shape]):
    """One request, and the shape of its answer.

    Attributes:
        path: escaped, without the query.
        shape: a model, `str` or `bytes`.
        body: a model or plain JSON values.
        query: parameters; those that are None are left out.
        key: the Idempotency-Key; None where the operation takes none.
        wait: seconds to hold the answer until the chain has settled the request (at most 30).
        safe: whether sending it twice has one effect.
    """

    method: str
    path: str
    shape: type[Shape]
    body: Any = None
    query: Mapping[str, Any] | None = None
    key: str | None = None
    wait: int | None = None
    safe: bool = True

    def target(self) -> str:
        """Path and query."""
        if not self.query:
            return self.path
        given = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in self.query.items()
            if value is not None
        }
        return f"{self.path}?{urlencode(given)}" if given else self.path

    def content(self) -> bytes | None:
        if self.body is None:
            return None
        if isinstance(self.body, BaseModel):
            return self.body.__pydantic_serializer__.to_json(
                self.body, by_alias=True, exclude_unset=True
            )
        return orjson.dumps(self.body)

    def headers(self) -> dict[str, str]:
        """Of this call alone."""
        headers = {}
        if self.key is not None:
            headers["Idempotency-Key"] = self.key
        if self.wait:
            headers["Prefer"] = f"wait={self.wait}"
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        return headers

    def after(self, cursor: str | None) -> Call[Shape]:
        """The call for the next part of a list."""
        return replace(self, query={**(self.query or {}), "cursor": cursor})


class Reply(NamedTuple):
    """An answer as it came. `headers` find names in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def replayed(self) -> bool:
        """Whether this Idempotency-Key and request came before."""
        return "Idempotency-Replayed" in self.headers

    def json(self) -> Any:
        return orjson.loads(self.content)

    def read(self, shape: type[Shape]) -> Shape:
        """The answer in the shape of its call. Raises ValueError if it has another."""
        if shape is bytes:
            return self.content  # type: ignore[return-value]
        if shape is str:
            return self.content.decode()  # type: ignore[return-value]
        assert issubclass(shape, BaseModel)
        return shape.__pydantic_validator__.validate_json(self.content)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Retries:
    """When a call is sent again: only what is safe, always the same bytes under the same key.

    Attributes:
        pauses: seconds before each further attempt; there are as many as there are pauses.
        longest: a `Retry-After` of more seconds is not waited for, but raised.
    """

    pauses: tuple[float, ...] = field(default=(0.1, 0.5, 2.0))
    longest: float = 30.0

    def pause(self, attempt: int, call: Call[Any], refused: Refused | None) -> float | None:
        """Return the seconds before another attempt after this one (from 0); None: no more.

        Args:
            refused: the answer; None if none came.
        """
        if attempt >= len(self.pauses) or not call.safe:
            return None
        if refused is None:
            return self.pauses[attempt]
        if not refused.retryable or (refused.retry_after or 0) > self.longest:
            return None
        return max(self.pauses[attempt], refused.retry_after or 0)


def new_key() -> str:
    """An Idempotency-Key for an intention that nobody will have again."""
    return uuid.uuid4().hex


def derive_key(*parts: str | int) -> str:
    """An Idempotency-Key that follows from what a request is for, such as ("release", "A-1001").

    The same parts give the same key after a crash as well, so the request can just be sent again.
    """
    canonical = orjson.dumps([str(part) for part in parts])
    return hashlib.sha256(canonical).hexdigest()[:40]


def segment(value: str) -> str:
    """Of a path."""
    return quote(value, safe="")
