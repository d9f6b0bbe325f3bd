"""The values of the API: how amounts, times, addresses and names come in and go out.

Amounts are decimal strings of atomic units, times RFC 3339 in UTC, in Python both are `int`.
Unknown fields are refused, and nothing is converted silently: a number is not an amount.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from eth_utils.address import is_checksum_address, to_checksum_address
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

MAX_AMOUNT = 2**96 - 1
MAX_TIME = 2**40 - 1  # the coin and the escrow keep times in 40 bits
_LAST_TIME = 253_402_300_799  # the last that RFC 3339 can write
KINDS = {"buyer": 1, "seller": 2, "lender": 4, "operator": 8, "system": 16}

_AMOUNT = re.compile(r"[1-9][0-9]{0,28}", re.ASCII)
_SHARES = re.compile(r"[1-9][0-9]{0,38}", re.ASCII)  # more than a pool of all coin would have
_HALF = re.compile("[\ud800-\udfff]")  # of a character beyond U+FFFF
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class Input(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="after")
    def _holds_text_alone(self) -> Self:
        """Where a field takes any text, such as an id: no database takes these as one."""
        for name, value in self.__dict__.items():
            for text in value if isinstance(value, list) else (value,):
                if not isinstance(text, str):
                    continue
                if "\0" in text:
                    raise ValueError(f"{name}: a text holds no zero byte")
                if _HALF.search(text):
                    raise ValueError(f"{name}: a text holds no half of a character (surrogate)")
        return self


class Query(BaseModel):
    """The query parameters of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Output(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid")


Data = TypeVar("Data", bound=BaseModel)


class Page(Output, Generic[Data]):
    """A part of a list, newest first."""

    data: list[Data]
    has_more: bool
    next_cursor: str | None = Field(description="`cursor` of the next part; null at the end")


def _parse_amount(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError('an amount is a string of atomic units, such as "12500000"')
    if not _AMOUNT.fullmatch(value) or int(value) > MAX_AMOUNT:
        raise ValueError(
            f"an amount is a whole number of atomic units from 1 to {MAX_AMOUNT}, in digits alone"
        )
    return int(value)


def _parse_amount_or_nothing(value: Any) -> int:
    return 0 if value == "0" else _parse_amount(value)


def _parse_time(value: Any) -> int:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError('a time is RFC 3339, such as "2030-01-31T00:00:00Z"')
    moment = datetime.fromisoformat(value).timestamp()
    if not 0 <= moment <= _LAST_TIME:
        raise ValueError("a time is from 1970 to the end of the year 9999, in UTC")
    return int(moment)


@lru_cache(10_000)
def rfc3339(seconds: int) -> str:
    """UTC unix seconds as RFC 3339, such as "2026-01-31T09:15:00Z"."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_address(value: str) -> str:
    """Return 40 hex digits after 0x as a checksummed address. Raises ValueError."""
    lower_or_upper = value[2:] in (value[2:].lower(), value[2:].upper())
    if not lower_or_upper and not is_checksum_address(value):
        raise ValueError("the capitals of the address do not fit its checksum (EIP-55)")
    if int(value, 16) == 0:
        raise ValueError("the zero address is nobody's")
    return str(to_checksum_address(value))


_AMOUNT_SCHEMA = {"type": "string", "pattern": "^[1-9][0-9]{0,28}$", "examples": ["12500000"]}
_AMOUNT_OR_NOTHING_SCHEMA = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,28})$"}
_TOTAL_SCHEMA = {"type": "string", "pattern": "^(0|[1-9][0-9]*)$", "examples": ["12500000"]}
_CHANGE_SCHEMA = {"type": "string", "pattern": "^(0|-?[1-9][0-9]*)$", "examples": ["-12500000"]}
_TIME_SCHEMA = {"type": "string", "format": "date-time", "examples": ["2026-01-31T09:15:00Z"]}


def _parse_shares(value: Any) -> int:
    if not isinstance(value, str) or not _SHARES.fullmatch(value):
        raise ValueError('shares are a string of whole units, such as "250000000000000"')
    return int(value)


_SHARES_SCHEMA = {"type": "string", "pattern": "^[1-9][0-9]{0,38}$", "examples": ["250000000000"]}

# In requests.
SharesIn = Annotated[int, BeforeValidator(_parse_shares), WithJsonSchema(_SHARES_SCHEMA)]
AmountIn = Annotated[int, BeforeValidator(_parse_amount), WithJsonSchema(_AMOUNT_SCHEMA)]
AmountOrNothingIn = Annotated[
    int, BeforeValidator(_parse_amount_or_nothing), WithJsonSchema(_AMOUNT_OR_NOTHING_SCHEMA)
]
TimeIn = Annotated[int, BeforeValidator(_parse_time), WithJsonSchema(_TIME_SCHEMA)]
Address = Annotated[
    str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$"), AfterValidator(parse_address)
]


def _parse_party(value: str) -> str:
    return parse_address(value) if value.startswith("0x") else value


Party = Annotated[
    str,
    StringConstraints(pattern=r"^(acc_[0-9a-f]{32}|0x[0-9a-fA-F]{40})$"),
    AfterValidator(_parse_party),
    Field(description="account id, or a member's address"),
]
Bytes32 = Annotated[
    str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{64}$"), AfterValidator(str.lower)
]
Signature = Annotated[
    str,
    StringConstraints(pattern=r"^0x[0-9a-fA-F]{130}$"),
    Field(description="65 bytes r, s, v (27 or 28) as hex"),
]
# What a shop calls its own things: printable, so that it survives every log and database.
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
]
Note = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
]
UnixTime = Annotated[int, Field(ge=0, le=2**53, description="unix seconds, as signed")]
Kind = Literal["buyer", "seller", "lender"]  # the others are the platform's own

# In answers.
Amount = Annotated[int, PlainSerializer(str, return_type=str), WithJsonSchema(_TOTAL_SCHEMA)]
Change = Annotated[int, PlainSerializer(str, return_type=str), WithJsonSchema(_CHANGE_SCHEMA)]
Time = Annotated[int, PlainSerializer(rfc3339, return_type=str), WithJsonSchema(_TIME_SCHEMA)]


class SignedAuthorization(Input):
    """An EIP-3009 authorization a member signed, as far as the request leaves it open."""

    signature: Signature
    valid_after: UnixTime = 0
    valid_before: UnixTime


class SignedIntent(Input):
    """An EIP-712 intent a member signed; what it says follows from the request."""

    signature: Signature
    deadline: UnixTime


def kind_bits(kinds: list[Kind]) -> int:
    return sum({KINDS[kind] for kind in kinds})


def kind_names(bits: int) -> list[str]:
    return [name for name, bit in KINDS.items() if bits & bit]
