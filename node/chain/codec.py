"""Contract calls, results, logs and errors: between Python values and the chain's hex.

In Python, addresses are checksummed strings, `bytes32` and `bytes` are 0x-prefixed hex, numbers are
`int`, structs are dicts by field name. Arguments may also give bytes as `bytes`, and structs as
sequences.

On eth_abi directly: web3.py's contract objects resolve and validate the ABI again on every call
and take some ten times as long, which the outbox and the indexer would feel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from eth_abi.abi import default_codec
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

import contracts
from node.chain.words import encode

PLATFORM_CONTRACTS = (
    "AccessManager",
    "PlatformCoin",
    "LenderPool",
    "CreditBook",
    "PurchaseEscrow",
)

_BUILT_IN_ERRORS: list[dict[str, Any]] = [
    {"type": "error", "name": "Error", "inputs": [{"name": "reason", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
]

_Convert = Callable[[Any], Any]


class CodecError(ValueError):
    """The ABI has no such element, or the values do not fit it; the message says which."""


@dataclass(frozen=True, slots=True)
class Event:
    """One decoded log and where it stands in the chain."""

    name: str
    args: dict[str, Any]
    address: str
    block_number: int
    block_hash: str
    transaction_hash: str
    transaction_index: int
    log_index: int


@dataclass(frozen=True, slots=True)
class ContractError:
    """A decoded revert; its words are `NotAMember(account=0x…, memberUntil=0)`.

    An error no contract of the platform declares is named by its selector, and a revert without
    data is named "reverted without a reason".
    """

    name: str
    args: dict[str, Any]

    def __str__(self) -> str:
        if not self.args:
            return self.name if self.name.startswith(("0x", "reverted")) else f"{self.name}()"
        return f"{self.name}({', '.join(f'{key}={value}' for key, value in self.args.items())})"


class _Fields:
    """The inputs or outputs of an ABI element as one tuple codec."""

    def __init__(self, parameters: Sequence[Mapping[str, Any]]) -> None:
        self.types = [_canonical(parameter) for parameter in parameters]
        self.names = [
            parameter["name"] or f"_{index}" for index, parameter in enumerate(parameters)
        ]
        self._inward = [_inward(parameter) for parameter in parameters]
        self._outward = [_outward(parameter) for parameter in parameters]

    def encode(self, values: Sequence[Any]) -> bytes:
        if len(values) != len(self.types):
            raise CodecError(f"takes {len(self.types)} arguments, was given {len(values)}")
        try:
            inner = [convert(value) for convert, value in zip(self._inward, values, strict=True)]
            return encode(self.types, inner)
        except (EncodingError, TypeError, KeyError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise CodecError(f"does not take {list(values)!r}: {reason}") from error

    def decode(self, data: bytes) -> list[Any]:
        values = default_codec.decode(self.types, data)
        return [convert(value) for convert, value in zip(self._outward, values, strict=True)]


class _EventFields:
    """An event's arguments: indexed ones in the topics, the others in the data.

    Almost every argument is a plain word or a struct of words, which is read straight from the hex:
    an indexer decodes several logs for every transaction, and eth_abi takes ten times as long.
    """

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.name: str = entry["name"]
        self.order = [parameter["name"] for parameter in entry["inputs"]]
        indexed = [parameter for parameter in entry["inputs"] if parameter["indexed"]]
        others = [parameter for parameter in entry["inputs"] if not parameter["indexed"]]
        # A topic holds only the hash of a value longer than a word.
        self.topics = [(p["name"], _word_reader(p) or _as_it_is) for p in indexed]
        readers = [_word_reader(parameter) for parameter in others]
        self.words = (
            [(p["name"], reader) for p, reader in zip(others, readers, strict=True) if reader]
            if all(readers)
            else None
        )
        self.data = _Fields(others)

    def decode(self, topics: Sequence[str], data: str) -> dict[str, Any]:
        if len(topics) != len(self.topics) + 1:
            raise CodecError(
                f"{self.name} has {len(self.topics)} indexed arguments, the log {len(topics) - 1}"
            )
        if self.words is None:
            found = dict(zip(self.data.names, self.data.decode(_to_bytes(data)), strict=True))
        else:
            words = iter([data[start : start + 64] for start in range(2, len(data), 64)])
            try:
                found = {name: read(words) for name, read in self.words}
            except (StopIteration, ValueError) as error:
                raise CodecError(f"{self.name} does not fit the data {data}") from error
            if next(words, None) is not None:
                raise CodecError(f"{self.name} is shorter than the data {data}")
        for (name, read), topic in zip(self.topics, topics[1:], strict=True):
            found[name] = read(iter((topic[2:],)))
        return {name: found[name] for name in self.order}


class ContractCodec:
    """Encodes calls to one contract and decodes what it answers, logs and reverts with.

    Args:
        contract: name of a compiled contract or interface, as for `contracts.load`.
    """

    def __init__(self, contract: str) -> None:
        self.contract = contract
        self.abi = contracts.load(contract).abi
        self._functions: dict[str, tuple[bytes, _Fields, _Fields]] = {}
        self._overloads: dict[str, list[str]] = {}
        self._constructor = _Fields([])
        self._events: dict[str, _EventFields] = {}
        self._topics: dict[str, str] = {}
        for entry in self.abi:
            if entry["type"] == "constructor":
                self._constructor = _Fields(entry["inputs"])
            elif entry["type"] == "function":
                signature = _signature(entry)
                function = (_selector(entry), _Fields(entry["inputs"]), _Fields(entry["outputs"]))
                self._functions[signature] = function
                self._overloads.setdefault(entry["name"], []).append(signature)
            elif entry["type"] == "event":
                topic = "0x" + keccak(text=_signature(entry)).hex()
                self._events[topic] = _EventFields(entry)
                self._topics[entry["name"]] = topic
        for name, signatures in self._overloads.items():
            if len(signatures) == 1:
                self._functions[name] = self._functions[signatures[0]]
        self._errors = _error_table(self.abi)

    def encode(self, function: str, *args: Any) -> str:
        """Return the calldata of a call.

        Args:
            function: its name, or its signature such as "permit(address,uint256)" where the name
                is overloaded.

        Raises:
            CodecError: no such function, an ambiguous name, or arguments that do not fit.
        """
        selector, inputs, _ = self._function(function)
        try:
            return "0x" + (selector + inputs.encode(args)).hex()
        except CodecError as error:
            raise CodecError(f"{self.contract}.{function} {error}") from error

    def encode_constructor(self, *args: Any) -> str:
        """Return the deployment bytecode with its constructor arguments."""
        try:
            return contracts.load(self.contract).bytecode + self._constructor.encode(args).hex()
        except CodecError as error:
            raise CodecError(f"the constructor of {self.contract} {error}") from error

    def selector(self, function: str) -> str:
        """Return the first four bytes of a function's calldata.

        Raises:
            CodecError: no such function, or an ambiguous name.
        """
        return "0x" + self._function(function)[0].hex()

    def changing_functions(self) -> dict[str, str]:
        """Return the selectors of all functions that may change state.

        They are by name, or by signature where the name is overloaded.
        """
        changing = [
            entry
            for entry in self.abi
            if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
        ]
        names = [entry["name"] for entry in changing]
        return {
            name if names.count(name) == 1 else _signature(entry): "0x" + _selector(entry).hex()
            for name, entry in zip(names, changing, strict=True)
        }

    def decode_result(self, function: str, data: str) -> Any:
        """Return what a call answered: one value alone, several as a tuple, none as None.

        Raises:
            CodecError: the data does not fit, as when there is no such contract at the address.
        """
        outputs = self._function(function)[2]
        try:
            values = outputs.decode(_to_bytes(data))
        except DecodingError as error:
            raise CodecError(
                f"{self.contract}.{function} did not answer with {outputs.types}: {data[:74]}"
            ) from error
        if len(values) == 1:
            return values[0]
        return tuple(values) or None

    def topic(self, event: str) -> str:
        """Return an event's first topic, for log filters.

        Raises:
            CodecError: no such event.
        """
        try:
            return self._topics[event]
        except KeyError:
            raise CodecError(f"{self.contract} has no event {event!r}") from None

    def decode_log(self, log: Mapping[str, Any]) -> Event | None:
        """Return the event of a mined log as `eth_getLogs` gives it; None if it is another's.

        Raises:
            CodecError: the log has this event's topic and yet does not fit it.
        """
        topics = log["topics"]
        fields = self._events.get(topics[0]) if topics else None
        if fields is None:
            return None
        try:
            args = fields.decode(topics, log["data"])
        except DecodingError as error:
            raise CodecError(f"a log does not fit event {fields.name}: {error}") from error
        return Event(
            name=fields.name,
            args=args,
            address=_checksum(log["address"]),
            block_number=int(log["blockNumber"], 16),
            block_hash=log["blockHash"],
            transaction_hash=log["transactionHash"],
            transaction_index=int(log["transactionIndex"], 16),
            log_index=int(log["logIndex"], 16),
        )

    def decode_error(self, data: str | None) -> ContractError:
        """Return the error a call reverted with; its `str()` is for people.

        The errors of the platform's other contracts are known too, since a revert passes from one
        contract up through another.
        """
        raw = _to_bytes(data or "0x")
        if not raw:
            return ContractError("reverted without a reason", {})
        known = self._errors.get(raw[:4]) or _platform_errors().get(raw[:4])
        if known is None:
            return ContractError("0x" + raw[:4].hex(), {"data": "0x" + raw[4:].hex()})
        name, fields = known
        try:
            values = fields.decode(raw[4:])
        except DecodingError:
            return ContractError("0x" + raw[:4].hex(), {"data": "0x" + raw[4:].hex()})
        return ContractError(name, dict(zip(fields.names, values, strict=True)))

    def _function(self, function: str) -> tuple[bytes, _Fields, _Fields]:
        found = self._functions.get(function)
        if found is not None:
            return found
        if overloads := self._overloads.get(function):
            raise CodecError(
                f"{self.contract}.{function} is overloaded; name one of {', '.join(overloads)}"
            )
        raise CodecError(f"{self.contract} has no function {function!r}")


def _canonical(parameter: Mapping[str, Any]) -> str:
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(_canonical(component) for component in parameter["components"])
    return f"({inner}){kind.removeprefix('tuple')}"


def _signature(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}({','.join(_canonical(parameter) for parameter in entry['inputs'])})"


def _selector(entry: Mapping[str, Any]) -> bytes:
    return keccak(text=_signature(entry))[:4]


def _word_reader(parameter: Mapping[str, Any]) -> Callable[[Iterator[str]], Any] | None:
    """How a value is read from the words (64 hex digits each) of a log, where words are all it is;
    None for what has a length of its own, or is seldom met."""
    kind: str = parameter["type"]
    if kind == "address":
        return lambda words: _checksum("0x" + next(words)[24:])
    if kind.startswith("bytes") and kind[5:].isdigit():
        digits = 2 * int(kind[5:])
        return lambda words: "0x" + next(words)[:digits]
    if kind.startswith("uint") and kind[4:].isdigit():
        return lambda words: int(next(words), 16)
    if kind == "bool":
        return lambda words: int(next(words), 16) != 0
    if kind == "tuple":
        fields = [
            (component["name"], _word_reader(component)) for component in parameter["components"]
        ]
        if all(read for _, read in fields):
            return lambda words: {name: read(words) for name, read in fields if read}
    return None


def _as_it_is(words: Iterator[str]) -> str:
    return "0x" + next(words)


def _error_table(abi: Sequence[Mapping[str, Any]]) -> dict[bytes, tuple[str, _Fields]]:
    entries = [*_BUILT_IN_ERRORS, *(entry for entry in abi if entry["type"] == "error")]
    return {_selector(entry): (entry["name"], _Fields(entry["inputs"])) for entry in entries}


@cache
def _platform_errors() -> dict[bytes, tuple[str, _Fields]]:
    return _error_table(
        [entry for name in PLATFORM_CONTRACTS for entry in contracts.load(name).abi]
    )


def _inward(parameter: Mapping[str, Any]) -> _Convert:
    """How a Python value becomes what eth_abi takes."""
    kind: str = parameter["type"]
    if kind.endswith("]"):
        element = _inward({**parameter, "type": kind[: kind.rindex("[")]})
        return lambda values: [element(value) for value in values]
    if kind == "tuple":
        fields = [(component["name"], _inward(component)) for component in parameter["components"]]
        return lambda value: _struct_to_tuple(fields, value)
    if kind.startswith("bytes"):
        size = int(kind[5:]) if len(kind) > 5 else None
        return lambda value: _sized(_to_bytes(value), size)
    return lambda value: value


def _outward(parameter: Mapping[str, Any]) -> _Convert:
    """How what eth_abi gives becomes a Python value."""
    kind: str = parameter["type"]
    if kind.endswith("]"):
        element = _outward({**parameter, "type": kind[: kind.rindex("[")]})
        return lambda values: [element(value) for value in values]
    if kind == "tuple":
        fields = [(component["name"], _outward(component)) for component in parameter["components"]]
        return lambda values: {
            name: convert(value) for (name, convert), value in zip(fields, values, strict=True)
        }
    if kind == "address":
        return _checksum
    if kind.startswith("bytes"):
        return lambda value: "0x" + value.hex()
    return lambda value: value


def _struct_to_tuple(fields: Sequence[tuple[str, _Convert]], value: Any) -> tuple[Any, ...]:
    if isinstance(value, Mapping):
        if len(value) != len(fields):
            raise CodecError(f"a struct of {[name for name, _ in fields]}, not of {list(value)}")
        return tuple(convert(value[name]) for name, convert in fields)
    return tuple(convert(item) for (_, convert), item in zip(fields, value, strict=True))


def _sized(value: bytes, size: int | None) -> bytes:
    # eth_abi pads what is too short, which would make another reference out of a wrong one.
    if size is not None and len(value) != size:
        raise CodecError(f"{size} bytes, not {len(value)}")
    return value


def _to_bytes(value: str | bytes) -> bytes:
    if isinstance(value, str):
        if not value.startswith("0x"):
            raise CodecError(f"hex starts with 0x: {value[:20]!r}")
        return bytes.fromhex(value[2:])
    return bytes(value)


@lru_cache(maxsize=65_536)
def _checksum(address: str) -> str:
    return to_checksum_address(address)
