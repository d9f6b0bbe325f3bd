"""The few functions, events and errors of the contracts a wallet needs, coded by hand.

A general ABI library takes longer to import than a balance takes to read. Selectors and topics are
written out, and a test compares each with the compiled contracts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from wallet.amounts import format_units

WORD = 32

_TERMS = "(address,address,address,address,uint96,uint16,uint16,uint40,uint40,uint32,bytes32)"

# ----------------------------------------------------------------------------- functions

FUNCTIONS = {
    "transfer(address,uint256)": "a9059cbb",
    "transferWithMemo(address,uint256,bytes32)": "95777d59",
    "accountOf(address)": "8086b8ba",
    "paused()": "5c975abb",
    "authorizationState(address,bytes32)": "e94a0102",
    f"authorizeWithSignature({_TERMS},uint256,uint256,uint256,bytes)": "e87c7a7a",
    f"release({_TERMS},uint256,uint16)": "0cde7e82",
    f"reclaim({_TERMS})": "00953848",
    "orderOf(bytes32)": "d5a014e5",
}
_BY_NAME = {signature.split("(")[0]: bytes.fromhex(s) for signature, s in FUNCTIONS.items()}


def encode_call(function: str, *words: int | str | bytes, tail: bytes | None = None) -> bytes:
    """Encode a call of one of FUNCTIONS, by its name.

    Args:
        words: the static arguments in order, structs laid out flat.
        tail: the value of a last argument of type `bytes`, where the function has one.
    """
    head = [encode_word(word) for word in words]
    if tail is not None:
        head.append(encode_word((len(head) + 1) * WORD))
        head.append(encode_word(len(tail)))
        head.append(tail + b"\0" * (-len(tail) % WORD))
    return _BY_NAME[function] + b"".join(head)


def encode_word(value: int | str | bytes) -> bytes:
    """Encode an unsigned integer, an address (0x text) or 32 bytes as one word."""
    if isinstance(value, bytes):
        if len(value) != WORD:
            raise ValueError(f"a word is {WORD} bytes, not {len(value)}")
        return value
    number = int(value, 16) if isinstance(value, str) else value
    return number.to_bytes(WORD, "big")


def words_of(data: bytes) -> list[int]:
    """Split call results, log data or arguments into words as unsigned integers."""
    return [int.from_bytes(data[i : i + WORD], "big") for i in range(0, len(data), WORD)]


def address_of(word: int) -> str:
    """Return a word as an address in lower case."""
    return f"0x{word:040x}"


def function_called(data: bytes) -> str | None:
    """Return the name of the function that call data calls, None for one not among FUNCTIONS."""
    return next((name for name, selector in _BY_NAME.items() if data[:4] == selector), None)


# -------------------------------------------------------------------------------- events

EVENTS = {
    "Transfer(address,address,uint256)": (
        "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    ),
    "TransferMemo(address,address,uint256,bytes32)": (
        "7475acb6762bdaff204a5b230ca82e0d88a1835c58877c23ebbbf4afa4e7a57a"
    ),
    "Seized(address,address,uint256,bytes32)": (
        "b610dacff924ead5b27fc940d53d2416b6f4fc23529c92255f0f74f710364c59"
    ),
    f"PurchaseAuthorized(bytes32,address,address,uint256,{_TERMS})": (
        "afd1c703ae07ba94515370db3912331fe851dab986b89805bf4f9a1b765f141f"
    ),
    "PurchaseReleased(bytes32,uint256,uint256,uint256,uint256)": (
        "042e10973f148ee499a6687e4c87fa620f3d3a646bfb7c6ce1d52b3508de3a25"
    ),
    "PurchaseVoided(bytes32,uint256)": (
        "eb2ab34d90bf92ef4da0c2d7dadca60ad4461f9e8637a22ec62f24766039c111"
    ),
    "PurchaseRefunded(bytes32,uint256,bytes32)": (
        "55f0532ad7e18509a5a22cecd57c80a5f88c0a4533702597f5c7ddf4e5e75b48"
    ),
    "PurchaseReclaimed(bytes32,uint256)": (
        "b51ccb6ccdf2751e35425b8a5d3c431dd56daf002695c969ae5f2e9e9e960ea8"
    ),
}
TOPICS = {signature.split("(")[0]: "0x" + topic for signature, topic in EVENTS.items()}


# -------------------------------------------------------------------------------- errors


def _coin(word: int) -> str:
    return format_units(word)


def _time(word: int) -> str:
    if word == 0:
        return "never"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(word))
    except (OverflowError, ValueError, OSError):
        return str(word)


_STATUS = ("not authorized", "authorized", "delivered", "closed")


def _status(word: int) -> str:
    return _STATUS[word] if word < len(_STATUS) else str(word)


def _bytes32(word: int) -> str:
    return f"0x{word:064x}"


_Show = Callable[[int], str]

# Signature -> selector, what people read, and how each argument is written.
ERRORS: dict[str, tuple[str, str, Sequence[_Show]]] = {
    "NotAMember(address,uint40)": (
        "127eb1da",
        "{0} is not a member (member until: {1})",
        (address_of, _time),
    ),
    "AccountIsFrozen(address)": ("cf8eb597", "{0} is frozen", (address_of,)),
    "CoinPaused()": ("bf95b913", "transfers of the coin are paused", ()),
    "AuthorizationNotYetValid(uint256,uint256)": (
        "498ff9a2",
        "the signature is valid only after {0}; it is {1}",
        (_time, _time),
    ),
    "AuthorizationExpired(uint256,uint256)": (
        "b3fcd33e",
        "the signature expired at {0}; it is {1}",
        (_time, _time),
    ),
    "AuthorizationAlreadyUsed(address,bytes32)": (
        "d309466d",
        "{0} has used or canceled the authorization {1}",
        (address_of, _bytes32),
    ),
    "InvalidSignature(address)": ("d855c4f4", "not the signature of {0}", (address_of,)),
    "CallerNotReceiver(address,address)": (
        "efaf5c14",
        "only {1} may use this authorization, not {0}",
        (address_of, address_of),
    ),
    "AmountIsZero()": ("43ad20fc", "the amount is zero", ()),
    "InvalidAmount(uint256,uint256)": (
        "7c83fcf0",
        "the amount {0} is not between 0 and {1}",
        (_coin, _coin),
    ),
    "InvalidFee(uint16,uint16,uint16)": (
        "7fd9470b",
        "the fee of {0}/10000 is not between {1} and {2}",
        (str, str, str),
    ),
    "WrongStatus(bytes32,uint8)": ("9d819744", "the order {0} is {1}", (_bytes32, _status)),
    "AuthorizationWindowClosed(uint40,uint256)": (
        "72462690",
        "the order could be paid before {0}; it is {1}",
        (_time, _time),
    ),
    "DisputeWindowOpen(uint40,uint256)": (
        "51282931",
        "the dispute window is open until {0}; it is {1}",
        (_time, _time),
    ),
    "ReclaimTooEarly(uint40,uint256)": (
        "ac142c38",
        "the money can be reclaimed from {0} on; it is {1}",
        (_time, _time),
    ),
    "NotAllowed(address)": ("fa5cd00f", "{0} may not do this with the order", (address_of,)),
    "ERC20InsufficientBalance(address,uint256,uint256)": (
        "e450d38c",
        "{0} holds {1}, and {2} is needed",
        (address_of, _coin, _coin),
    ),
    "ERC20InvalidReceiver(address)": ("ec442f05", "{0} cannot receive coin", (address_of,)),
}
# Errors that carry one text: Solidity's own and the escrow's.
TEXT_ERRORS = {
    "Error(string)": ("08c379a0", "{0}"),
    "InvalidTerms(string)": ("f191a031", "the terms are invalid: {0}"),
}


def describe_revert(data: str | None) -> str:
    """Say in words why a contract reverted, from the revert data (0x hex, or None for none)."""
    raw = bytes.fromhex(data[2:]) if data else b""
    if not raw:
        return "no reason given"
    selector, arguments = raw[:4].hex(), raw[4:]
    words = words_of(arguments)
    for known, template, shows in ERRORS.values():
        if known == selector and len(words) >= len(shows):
            return template.format(*(show(word) for show, word in zip(shows, words, strict=False)))
    for known, template in TEXT_ERRORS.values():
        if known == selector and len(words) >= 2:
            text = arguments[2 * WORD : 2 * WORD + words[1]]
            return template.format(text.decode("utf-8", "replace"))
    return f"an error unknown to this wallet: {data}"
