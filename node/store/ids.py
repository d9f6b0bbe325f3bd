"""Resource ids: a prefix and a UUID version 7 (RFC 9562), so ids sort by creation."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable


class Ids:
    """Makes ids such as "pur_0192f5c2…": unguessable, and later ones sort later.

    Within one process ids of the same millisecond still rise: 12 bits count up (RFC 9562,
    section 6.2, method 1).

    Args:
        now_milliseconds: UTC unix time in milliseconds.
        random_bits: `random_bits(n)` returns an int of n random bits.
    """

    def __init__(
        self,
        now_milliseconds: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._now = now_milliseconds
        self._random_bits = random_bits
        self._last = 0
        self._counter = 0

    def new(self, prefix: str) -> str:
        millisecond = max(self._now(), self._last)
        if millisecond > self._last:
            self._counter = 0
        elif self._counter < 0xFFF:
            self._counter += 1
        else:  # 4,096 ids in one millisecond: borrow from the next
            millisecond, self._counter = millisecond + 1, 0
        self._last = millisecond
        fields = millisecond << 80 | 7 << 76 | self._counter << 64 | 2 << 62
        return f"{prefix}_{fields | self._random_bits(62):032x}"


def earliest_id(prefix: str, milliseconds: int) -> str:
    """An id before any that is made from a UTC unix time on, to look them up by."""
    return f"{prefix}_{max(milliseconds, 0) << 80:032x}"
