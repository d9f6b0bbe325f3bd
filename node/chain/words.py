"""ABI encoding of what almost every call and every signed message is made of: words, structs of
words, and strings of bytes or text between them.

eth_abi looks through all that its types could be, for each value again, and takes ten times as
long. It still says what is wrong with a value: whatever does not fit here at once goes to it, and
so do types that are seldom met.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from eth_abi.abi import default_codec

_WORD = 32


class _NotPlain(Exception):
    """Left to eth_abi, which refuses it or knows better."""


class _Writer(NamedTuple):
    """How values of one type are written.

    Attributes:
        size: bytes that it takes in the head.
        is_dynamic: it stands in the tail, and its place in the head.
    """

    write: Callable[[Any], bytes]
    size: int
    is_dynamic: bool


def encode(types: Sequence[str], values: Sequence[Any]) -> bytes:
    """What `eth_abi.encode` returns.

    Raises:
        eth_abi.exceptions.EncodingError: a value does not fit its type.
        TypeError, ValueError: there are not as many values as types, and the like.
    """
    writers = _writers(tuple(types))
    if writers is not None and len(values) == len(writers):
        try:
            return _write(writers, values)
        except _NotPlain:
            pass
    return default_codec.encode(types, values)


def _write(writers: Sequence[_Writer], values: Sequence[Any]) -> bytes:
    head, tail = [], b""
    tail_starts = sum(writer.size for writer in writers)
    for writer, value in zip(writers, values, strict=True):
        written = writer.write(value)
        if writer.is_dynamic:
            head.append((tail_starts + len(tail)).to_bytes(_WORD))
            tail += written
        else:
            head.append(written)
    return b"".join(head) + tail


@cache
def _writers(types: tuple[str, ...]) -> tuple[_Writer, ...] | None:
    writers = tuple(_writer(type_) for type_ in types)
    return None if None in writers else writers  # type: ignore[return-value]


def _writer(type_: str) -> _Writer | None:
    if type_.startswith("uint") and type_[4:].isdigit():
        return _Writer(_uint_writer(2 ** int(type_[4:])), _WORD, is_dynamic=False)
    if type_.startswith("(") and type_.endswith(")"):
        return _struct_writer(type_[1:-1])
    return _WRITERS.get(type_)


def _struct_writer(inner: str) -> _Writer | None:
    """Of a struct of words alone."""
    fields = _writers(tuple(inner.split(","))) if "(" not in inner else None
    if fields is None or any(field.is_dynamic for field in fields):
        return None
    count = len(fields)

    def write(value: Any) -> bytes:
        if not isinstance(value, tuple) or len(value) != count:
            raise _NotPlain
        return _write(fields, value)

    return _Writer(write, _WORD * count, is_dynamic=False)


def _uint_writer(end: int) -> Callable[[Any], bytes]:
    def write(value: Any) -> bytes:
        if type(value) is not int or not 0 <= value < end:  # a bool is an int, too
            raise _NotPlain
        return value.to_bytes(_WORD)

    return write


def _write_address(value: Any) -> bytes:
    if type(value) is not str:
        raise _NotPlain
    return _address_word(value)


@lru_cache(maxsize=65_536)
def _address_word(address: str) -> bytes:
    """Its checksum is looked at once."""
    return default_codec.encode(("address",), (address,))


def _write_bytes32(value: Any) -> bytes:
    if type(value) is not bytes or len(value) != _WORD:
        raise _NotPlain
    return value


def _write_bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise _NotPlain
    padding = -len(value) % _WORD
    return len(value).to_bytes(_WORD) + value + bytes(padding)


def _write_string(value: Any) -> bytes:
    if type(value) is not str:
        raise _NotPlain
    try:
        return _write_bytes(value.encode())
    except UnicodeEncodeError:
        raise _NotPlain from None


_WRITERS = {
    "address": _Writer(_write_address, _WORD, is_dynamic=False),
    "bytes32": _Writer(_write_bytes32, _WORD, is_dynamic=False),
    "bytes": _Writer(_write_bytes, _WORD, is_dynamic=True),
    "string": _Writer(_write_string, _WORD, is_dynamic=True),
}
