"""QR codes, as pictures."""

from __future__ import annotations

import asyncio
import io
from functools import lru_cache
from typing import Literal

import segno
from pydantic import Field
from starlette.responses import Response

from node.bridge.values import Query


class SvgResponse(Response):
    media_type = "image/svg+xml"


class PngResponse(Response):
    media_type = "image/png"


class QrQuery(Query):
    form: Literal["uri", "url"] = Field(
        "uri", description="`uri` for wallets (EIP-681), `url` for a phone's camera"
    )
    scale: int = Field(4, ge=1, le=16, description="pixels of a module")


async def svg(text: str, scale: int) -> Response:
    return await _picture(text, "svg", scale)


async def png(text: str, scale: int) -> Response:
    return await _picture(text, "png", scale)


async def _picture(text: str, kind: Literal["svg", "png"], scale: int) -> Response:
    # On a thread: a large one takes some milliseconds of pure Python.
    content = await asyncio.to_thread(_draw, text, kind, scale)
    response = SvgResponse if kind == "svg" else PngResponse
    return response(content, headers={"Cache-Control": "no-store"})


@lru_cache(maxsize=256)
def _code(text: str) -> segno.QRCode:
    """Finding the best mask is the slow part, and the same for every size and format."""
    return segno.make_qr(text, error="m")


def _draw(text: str, kind: str, scale: int) -> bytes:
    picture = io.BytesIO()
    _code(text).save(picture, kind=kind, scale=scale)
    return picture.getvalue()
