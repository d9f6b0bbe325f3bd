"""Compare a network's profile with what is there now: chain, contracts, bridge, clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

from wallet.abi import WORD, encode_call, words_of
from wallet.addresses import parse_address
from wallet.amounts import DECIMALS
from wallet.errors import InvalidInput, NetworkError, WalletError
from wallet.networks import Network, parse_manifest
from wallet.rpc import Rpc, fetch_json

MAX_SKEW = 60  # seconds between the chain's clock and this machine's that nobody has to mind

# What the checks of being there at all are called.
ENDPOINT, BRIDGE = "endpoint", "bridge"

_CONTRACTS = {
    "coin": "coin",
    "escrow": "escrow",
    "credit_book": "credit book",
    "lender_pool": "lenders' pool",
}


@dataclass(frozen=True)
class Finding:
    """What one check found. A warning can be lived with; `advice` is what to do."""

    check: str
    status: Literal["ok", "warning", "problem"]
    message: str
    advice: str | None = None

    @property
    def is_unreachable(self) -> bool:
        """Whether something does not answer, so that the rest is not known."""
        return self.status == "problem" and self.check in (ENDPOINT, BRIDGE)


def check_network(network: Network, now: float, timeout: float = 10.0) -> Iterator[Finding]:
    """Yield what is found, one by one as it is found. It raises nothing.

    Args:
        now: this machine's time, unix seconds.
        timeout: seconds to wait for each answer.
    """
    misfits = list(_check_profile(network))
    if misfits:
        yield from misfits
        return
    with closing(Rpc(network.rpc_url, timeout)) as rpc:
        yield from _check_chain(network, rpc, now)
    yield from _check_bridge(network, timeout)


def _check_profile(network: Network) -> Iterator[Finding]:
    """Profiles are checked when they are stored, and may have been changed by hand since."""
    advice = f"store it anew: wallet network add {network.name} URL --replace"
    numbers = ("chain_id", "first_block")
    for name, value in asdict(network).items():
        wrong = None
        if name in numbers and type(value) is not int:
            wrong = "not a number"
        elif name in ("coin", "escrow") or (name in _CONTRACTS and value is not None):
            wrong = _why_no_address(value)
        elif name in ("rpc_url", "bridge_url") and value is not None:
            wrong = _why_no_url(value)
        elif name in ("genesis_hash", "symbol") and not isinstance(value, str):
            wrong = "not a text"
        elif name == "operators" and not isinstance(value, (list, tuple)):
            wrong = "not a list"
        if wrong is not None:
            yield Finding("profile", "problem", f"{name} is {value!r}: {wrong}", advice)


def _why_no_address(value: Any) -> str | None:
    try:
        good = isinstance(value, str) and parse_address(value) == value
    except InvalidInput as error:
        return str(error)
    return None if good else "not an address with its checksum"


def _why_no_url(value: Any) -> str | None:
    try:
        Rpc(str(value)).close()
    except InvalidInput as error:
        return str(error)
    return None


# --------------------------------------------------------------------------------- chain


def _check_chain(network: Network, rpc: Rpc, now: float) -> Iterator[Finding]:
    try:
        chain_id = int(rpc.call("eth_chainId"), 16)
    except (WalletError, ValueError, TypeError) as error:
        what = str(error) if isinstance(error, WalletError) else "it answers with no chain id"
        yield Finding(
            ENDPOINT,
            "problem",
            f"{network.rpc_url}: {what}",
            "is the chain running, and this machine online? Another endpoint is named by "
            f"`wallet network add {network.name} URL --replace --rpc URL`",
        )
        return
    yield Finding(ENDPOINT, "ok", f"{network.rpc_url} answers")
    yield _compared("chain id", chain_id, network.chain_id)
    yield _tried("genesis", network, lambda: _check_genesis(network, rpc))
    for name, address in network.contracts.items():
        yield _tried(_CONTRACTS[name], network, partial(_check_code, rpc, address))
    yield _tried("symbol", network, lambda: _check_symbol(network, rpc))
    yield _tried("decimals", network, lambda: _check_decimals(network, rpc))
    yield _tried("clock", network, lambda: _check_clock(rpc, now))


def _compared(check: str, actual: object, expected: object) -> Finding:
    if actual == expected:
        return Finding(check, "ok", str(actual))
    return Finding(
        check,
        "problem",
        f"the endpoint has {actual}, the profile {expected}",
        "the endpoint serves another chain, or one that was begun anew: send nothing there",
    )


def _tried(check: str, network: Network, look: Callable[[], tuple[bool, str] | Finding]) -> Finding:
    """Run one check; an endpoint that fails in the middle, or answers nonsense, is its finding."""
    try:
        found = look()
    except WalletError as error:
        return Finding(check, "problem", str(error), "ask whoever runs the endpoint")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        what = f"{network.rpc_url} answers what cannot be read ({error!r})"
        return Finding(check, "problem", what, "ask whoever runs the endpoint")
    if isinstance(found, Finding):
        return replace(found, check=check)
    good, message = found
    if good:
        return Finding(check, "ok", message)
    advice = "the profile is of another chain, or of an earlier one: send nothing there"
    return Finding(check, "problem", message, advice)


def _check_genesis(network: Network, rpc: Rpc) -> Finding:
    block = rpc.call("eth_getBlockByNumber", "0x0", False)
    if block is None:
        return Finding(
            "genesis", "warning", "the endpoint does not have the first block", "ask another one"
        )
    return _compared("genesis", block["hash"].lower(), network.genesis_hash)


def _check_code(rpc: Rpc, address: str) -> tuple[bool, str]:
    there = len(rpc.call("eth_getCode", address, "latest")) > len("0x")
    return there, address if there else f"there is no contract at {address}"


def _check_symbol(network: Network, rpc: Rpc) -> tuple[bool, str]:
    answer = _call(rpc, network.coin, "symbol")
    length = words_of(answer)[1]
    symbol = answer[2 * WORD : 2 * WORD + length].decode()
    if symbol == network.symbol:
        return True, symbol
    return False, f"the coin calls itself {symbol!r}, the profile {network.symbol!r}"


def _check_decimals(network: Network, rpc: Rpc) -> tuple[bool, str]:
    decimals = words_of(_call(rpc, network.coin, "decimals"))[0]
    if decimals == DECIMALS:
        return True, str(decimals)
    return False, f"the coin has {decimals} decimals, this wallet counts {DECIMALS}"


def _call(rpc: Rpc, contract: str, function: str) -> bytes:
    data = "0x" + encode_call(function).hex()
    return bytes.fromhex(rpc.call("eth_call", {"to": contract, "data": data}, "latest")[2:])


def _check_clock(rpc: Rpc, now: float) -> Finding:
    block = rpc.call("eth_getBlockByNumber", "pending", False)
    if block is None:
        block = rpc.call("eth_getBlockByNumber", "latest", False)
    ahead = int(block["timestamp"], 16) - int(now)
    if ahead > MAX_SKEW:
        return Finding(
            "clock",
            "problem",
            f"the chain's clock is {_duration(ahead)} ahead of this machine's",
            "set this machine's clock, or ask whoever runs the chain",
        )
    if ahead < -MAX_SKEW:
        return Finding(
            "clock",
            "warning",
            f"the chain's last block is {_duration(-ahead)} behind this machine's clock",
            "nothing happened on the chain since, it stands still, or this clock is ahead",
        )
    return Finding("clock", "ok", f"within {MAX_SKEW} seconds of the chain's")


def _duration(seconds: int) -> str:
    for name, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {name}"
    return f"{seconds} seconds"


# -------------------------------------------------------------------------------- bridge


def _check_bridge(network: Network, timeout: float) -> Iterator[Finding]:
    if network.bridge_url is None:
        yield Finding(BRIDGE, "ok", "none: purchases are named by their order hash")
        return
    url = network.bridge_url + "/v1/network"
    try:
        manifest = fetch_json(url, timeout)
    except NetworkError as error:
        yield Finding(
            BRIDGE, "problem", str(error), "coin can be sent without it; ask the marketplace"
        )
        return
    yield Finding(BRIDGE, "ok", f"{network.bridge_url} answers")
    try:
        theirs = parse_manifest(network.name, manifest)
    except InvalidInput as error:
        yield Finding("manifest", "problem", str(error), "ask the marketplace")
        return
    differences = list(_compare(network, theirs))
    yield from differences
    if not differences:
        yield Finding("manifest", "ok", "the bridge's is the one that was stored")


def _compare(network: Network, theirs: Network) -> Iterator[Finding]:
    stored, said = asdict(network), asdict(theirs)
    # JSON has no tuples: a profile read from its file has a list there.
    stored["operators"], said["operators"] = list(network.operators), list(theirs.operators)
    for name, value in stored.items():
        if value == said[name]:
            continue
        message = f"{name} is {_shown(said[name])} by the bridge, and {_shown(value)} as stored"
        if name == "rpc_url":  # people choose their own, with --rpc
            yield Finding("manifest", "warning", message, "right if you chose it yourself")
            continue
        yield Finding(
            "manifest",
            "problem",
            message,
            "the stored one counts. If the marketplace has announced the change: "
            f"wallet network add {network.name} {network.bridge_url} --replace",
        )


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
