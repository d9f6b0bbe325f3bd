"""The two calls with which a marketplace looks at the coin itself, encoded by hand."""

from __future__ import annotations

_TOTAL_SUPPLY = "0x18160ddd"  # totalSupply()
_BALANCE_OF = "0x70a08231"  # balanceOf(address)


def total_supply(coin: str) -> dict[str, str]:
    """The `eth_call` object that asks a coin for its supply."""
    return {"to": coin, "data": _TOTAL_SUPPLY}


def balance_of(coin: str, account: str) -> dict[str, str]:
    """The `eth_call` object that asks a coin for the balance of an account."""
    return {"to": coin, "data": _BALANCE_OF + account.removeprefix("0x").lower().rjust(64, "0")}


def uint(word: str) -> int:
    """The number in an answer of one 32-byte word.

    Raises:
        ValueError: it is no such word, as from an address without a contract.
    """
    if len(word) != 66:
        raise ValueError(f"not one 32-byte word: {word!r}")
    return int(word, 16)
