"""Addresses, their EIP-55 checksum, and memos."""

from __future__ import annotations

import re

from wallet.errors import InvalidInput

ZERO_ADDRESS = "0x" + "00" * 20
MEMO_BYTES = 32

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_MEMO_HEX = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)


def keccak(data: bytes) -> bytes:
    """Keccak-256, loaded at first use: commands that hash nothing start without it."""
    from Crypto.Hash import keccak as implementation  # noqa: PLC0415

    return implementation.new(digest_bits=256, data=data).digest()


def to_checksum(address: str) -> str:
    """Return the address in EIP-55 mixed case. `address` is 0x and 40 hex digits in any case."""
    digits = address[2:].lower()
    hashed = keccak(digits.encode("ascii")).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit
        for digit, nibble in zip(digits, hashed, strict=False)
    )


def is_address(text: str) -> bool:
    """Whether the text has the shape of an address (the checksum is not looked at)."""
    return _ADDRESS.fullmatch(text) is not None


def parse_address(text: str) -> str:
    """Return the address in EIP-55 mixed case.

    Raises:
        InvalidInput: not 0x and 40 hex digits, or mixed case that is not its checksum. An address
            in one case carries no checksum and is accepted.
    """
    if not is_address(text):
        raise InvalidInput(f"{text!r} is not an address: 0x and 40 hex digits")
    digits = text[2:]
    checksummed = to_checksum(text)
    if text != checksummed and digits not in (digits.lower(), digits.upper()):
        raise InvalidInput(
            f"{text} has a bad checksum: a digit or its case is wrong. Copy the address again"
        )
    return checksummed


def look_alike(address: str, other: str) -> bool:
    """Whether two addresses differ and have the same ends, which are all that people compare."""
    return address != other and _ends(address) == _ends(other)


def _ends(address: str) -> tuple[str, str]:
    return address[2:6].lower(), address[-4:].lower()


def parse_memo(text: str) -> bytes:
    """Return a memo's 32 bytes: UTF-8 text padded with zeros, or 0x and 64 hex digits as they are.

    Raises:
        InvalidInput: the text takes more than 32 bytes, or holds a zero byte.
    """
    if _MEMO_HEX.fullmatch(text):
        return bytes.fromhex(text[2:])
    encoded = text.encode("utf-8")
    if len(encoded) > MEMO_BYTES:
        raise InvalidInput(
            f"the memo takes {len(encoded)} bytes as UTF-8, at most {MEMO_BYTES} fit"
        )
    if b"\0" in encoded:
        raise InvalidInput("the memo holds a zero byte")
    return encoded.ljust(MEMO_BYTES, b"\0")


def format_memo(memo: bytes) -> str:
    """Write a memo's 32 bytes as text where they are printable text, else as 0x hex."""
    try:
        text = memo.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    return text if text.isprintable() else "0x" + memo.hex()
