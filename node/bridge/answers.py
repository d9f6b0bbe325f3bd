"""JSON answers, straight from pydantic's serializer."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from node.bridge.values import Output


def answer(
    shown: Output, status_code: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(shown.model_dump_json(by_alias=True), status_code, headers, "application/json")
