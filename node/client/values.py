"""How values of the API come in Python: amounts as `int`, times as aware `datetime`."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, PlainSerializer


def _whole(value: Any) -> Any:
    """Text of digits as a number; a float is no amount."""
    if isinstance(value, str):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("an amount is a whole number of atomic units")
    return value


# Atomic units: 12_500_000 is 12.5 coins. In JSON a string of digits.
Amount = Annotated[int, BeforeValidator(_whole), PlainSerializer(str, return_type=str)]
Time = AwareDatetime


class Request(BaseModel):
    """A request body. Fields that are left out are not sent."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True
    )


class Answer(BaseModel):
    """An answer. Fields and words that a later bridge adds do no harm."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, validate_by_name=True, validate_by_alias=True
    )


Item = TypeVar("Item", bound=Answer)


class Page(Answer, Generic[Item]):
    """A part of a list, newest first; `next_cursor` is None at the end."""

    data: list[Item]
    has_more: bool
    next_cursor: str | None
