"""JSON documents that are known by their hash, such as what a seller was shown.

One document has one form: keys sorted by code point, no spaces, UTF-8. There are no fractions in
it, since they are written in more ways than one.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

_MOST = 2**53 - 1  # an integer that every reader of JSON reads exactly


def canonical(document: Any) -> bytes:
    """The one form of a document.

    Raises:
        ValueError: a fraction, an integer beyond 2^53, or what JSON does not have.
    """
    _check(document, "document")
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def hash_of(document: Any) -> str:
    """SHA-256 of the canonical form, as "0x" and 64 digits.

    Raises:
        ValueError: as `canonical`.
    """
    return "0x" + hashlib.sha256(canonical(document)).hexdigest()


def _check(value: Any, where: str) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError(f"{where} is no text: {value!r}")
        return
    if isinstance(value, int):
        if abs(value) > _MOST:
            raise ValueError(f"{where} is beyond 2^53: {value}; write it as text")
        return
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has a key that is no text: {key!r}")
            _check(part, f"{where}.{key}")
        return
    if isinstance(value, list):
        for index, part in enumerate(value):
            _check(part, f"{where}[{index}]")
        return
    raise ValueError(f"{where} is a {type(value).__name__}, which has no one form in JSON")
