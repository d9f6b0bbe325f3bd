"""Requests to pay as text (EIP-681), for links and QR codes: read strictly, written in one way.

Reading has two steps. The first takes any request of the format's grammar apart; the second takes
those alone that ask for this network's coin, and says in words why it does not take another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from wallet.addresses import is_address, parse_address
from wallet.amounts import MAX_UNITS
from wallet.errors import InvalidInput
from wallet.intents import read_bytes32
from wallet.networks import Network

MAX_LENGTH = 2_000  # characters; a QR code holds no more of them than that
MAX_EXPONENT = 77  # of ten, in a number of 256 bits

_SCHEME = "ethereum:"
# A character as it is, or one as %XX; what separates the parts stands for itself only as %XX.
_STRING = r"(?:[A-Za-z0-9\-._~!$'()*+,;:\[\]]|%[0-9A-Fa-f]{2})+"
_URI = re.compile(
    rf"(?P<target>{_STRING})(?:@(?P<chain>[0-9]+))?(?:/(?P<function>{_STRING}))?"
    rf"(?:\?(?P<parameters>{_STRING}={_STRING}(?:&{_STRING}={_STRING})*))?",
    re.ASCII,
)
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)(?P<whole>[0-9]*)(?:\.(?P<decimals>[0-9]+))?(?:[eE](?P<exponent>[0-9]+))?",
    re.ASCII,
)
# In a name of ENS the first part is never 0x and hex digits: that is an address cut short.
_HEX = re.compile(r"0x[0-9a-fA-F]*", re.ASCII)

# Function -> the types of its arguments; their order is part of which function it is.
_FUNCTIONS = {
    "transfer": ("address", "uint256"),
    "transferWithMemo": ("address", "uint256", "bytes32"),
}


@dataclass(frozen=True)
class EthereumUri:
    """A request as EIP-681 writes it, taken apart; nothing in it is believed yet.

    `target` is 0x and 40 hex digits as they were written, or a name of ENS. `parameters` are in
    their order, with %XX decoded.
    """

    target: str
    chain_id: int | None
    function: str | None
    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TransferRequest:
    """A request to be paid `units` of the network's coin at an address; memo: 32 bytes or None."""

    to: str
    units: int
    memo: bytes | None = None


def is_uri(text: str) -> bool:
    """Whether a text says that it is a request in this format."""
    return text[: len(_SCHEME)].lower() == _SCHEME


def parse_uri(text: str) -> EthereumUri:
    """Take a request apart by the grammar of EIP-681.

    Raises:
        InvalidInput: it is not written in it.
    """
    if not is_uri(text):
        raise InvalidInput(f"{text[:60]!r} is not a request to pay: it begins with {_SCHEME}")
    if len(text) > MAX_LENGTH:
        raise InvalidInput(f"the request has {len(text)} characters, {MAX_LENGTH} at most are read")
    match = _URI.fullmatch(text[len(_SCHEME) :].removeprefix("pay-"))
    if match is None:
        raise InvalidInput(
            f"{text!r} is not written as {_SCHEME}ADDRESS@CHAIN/FUNCTION?NAME=VALUE&NAME=VALUE"
        )
    target = _decode(match["target"])
    if _HEX.fullmatch(target) and not is_address(target):
        raise InvalidInput(f"{target!r} is not an address: 0x and 40 hex digits")
    pairs = (pair.split("=") for pair in (match["parameters"] or "").split("&") if pair)
    return EthereumUri(
        target=target,
        chain_id=None if match["chain"] is None else int(match["chain"]),
        function=None if match["function"] is None else _decode(match["function"]),
        parameters=tuple((_decode(name), _decode(value)) for name, value in pairs),
    )


def parse_number(text: str) -> int:
    """Read a number as the format writes it, such as 2.014e18.

    Raises:
        InvalidInput: it is no number, not a whole one, or one that no 256 bits hold.
    """
    match = _NUMBER.fullmatch(text)
    digits = "" if match is None else match["whole"] + (match["decimals"] or "")
    if match is None or not digits:
        raise InvalidInput(f"{text[:60]!r} is not a number, such as 12500000 or 12.5e6")
    exponent_digits = (match["exponent"] or "0").lstrip("0") or "0"
    # Looked at as text first: a number of a million digits would take long to make.
    exponent = int(exponent_digits) if len(exponent_digits) <= 2 else MAX_EXPONENT + 1
    if exponent > MAX_EXPONENT or len(digits) > MAX_EXPONENT + 1:
        raise InvalidInput(f"the number {text[:60]!r} is too large")
    places = exponent - len(match["decimals"] or "")
    if places < 0:
        raise InvalidInput(f"{text!r} is not a whole number: its exponent is too small")
    number: int = int(digits) * 10**places
    return -number if match["sign"] == "-" else number


def read_transfer(network: Network, text: str) -> TransferRequest:
    """Read a request to be paid the network's coin.

    Raises:
        InvalidInput: it is not a request in this format, or asks for something else: on another
            chain, of another coin, by another function, or without saying all that is needed.
    """
    uri = parse_uri(text)
    if not is_address(uri.target):
        raise InvalidInput(_no_names(uri.target))
    if uri.function is None:
        raise InvalidInput(
            "it asks for the chain's native coin, and this network has none: its coin "
            f"{network.symbol} is asked for with {network.coin}@{network.chain_id}/transfer"
        )
    if uri.chain_id is None:
        raise InvalidInput(
            f"it does not say on which chain, and this wallet does not guess: "
            f"network {network.name!r} is @{network.chain_id}"
        )
    if uri.chain_id != network.chain_id:
        raise InvalidInput(
            f"it is for chain {uri.chain_id}, network {network.name!r} is chain {network.chain_id}"
        )
    target = parse_address(uri.target)
    if target != network.coin:
        raise InvalidInput(
            f"it is for the contract {target}, the coin of network {network.name!r} is "
            f"{network.coin}"
        )
    values = _read_parameters(uri)
    if not is_address(values["address"]) and not _HEX.fullmatch(values["address"]):
        raise InvalidInput(_no_names(values["address"]))
    units = parse_number(values["uint256"])
    if units <= 0:
        raise InvalidInput(f"the amount {values['uint256']!r} is not above zero")
    if units > MAX_UNITS:
        raise InvalidInput(f"the amount {values['uint256']!r} is more than there can be")
    memo = values.get("bytes32")
    return TransferRequest(
        to=parse_address(values["address"]),
        units=units,
        memo=None if memo is None else read_bytes32("the memo", memo),
    )


def write_transfer(network: Network, request: TransferRequest) -> str:
    """Write a request to be paid the network's coin, as `read_transfer` reads it."""
    base = f"{_SCHEME}{network.coin}@{network.chain_id}"
    query = f"?address={request.to}&uint256={request.units}"
    if request.memo is None:
        return f"{base}/transfer{query}"
    return f"{base}/transferWithMemo{query}&bytes32=0x{request.memo.hex()}"


def _read_parameters(uri: EthereumUri) -> dict[str, str]:
    """The arguments of a known function, each there exactly once and in its order."""
    wanted = _FUNCTIONS.get(uri.function or "")
    if wanted is None:
        raise InvalidInput(
            f"it calls {uri.function!r}: this wallet pays by {' and '.join(_FUNCTIONS)} alone"
        )
    names = [name for name, _ in uri.parameters]
    for name in names:
        if name == "value":
            raise InvalidInput("it asks to send the native coin along, and this network has none")
        if name not in wanted:
            raise InvalidInput(f"{name!r} is no parameter of {uri.function} here")
        if names.count(name) > 1:
            raise InvalidInput(f"it says {name} {names.count(name)} times")
    missing = [name for name in wanted if name not in names]
    if missing:
        raise InvalidInput(f"it does not say the {' and the '.join(missing)} of {uri.function}")
    if tuple(names) != wanted:
        raise InvalidInput(
            f"{uri.function}({','.join(names)}) is another function than "
            f"{uri.function}({','.join(wanted)})"
        )
    return dict(uri.parameters)


def _no_names(name: str) -> str:
    return (
        f"{name!r} is a name, and this network has no register of names (ENS): "
        "ask for a request with the address in it"
    )


def _decode(text: str) -> str:
    """Decode %XX as UTF-8. Raises InvalidInput."""
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{text[:60]!r} is not UTF-8 text") from error
    if not decoded.isprintable():
        raise InvalidInput(f"{decoded[:60]!r} holds what cannot be shown")
    return decoded
