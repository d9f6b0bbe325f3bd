"""EIP-712 typed data: read strictly, shown, and hashed.

What people are shown has to be what is hashed. So every value is checked against its type before
anything else happens, what the types do not name is refused, and the hash is computed here from the
checked values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wallet.abi import WORD
from wallet.addresses import is_address, keccak, parse_address
from wallet.errors import InvalidInput

MAX_TEXT = 1024 * 1024
MAX_DEPTH = 32

Member = tuple[str, str]  # name and type, as the JSON has them
Types = Mapping[str, tuple[Member, ...]]

DOMAIN = "EIP712Domain"
_DOMAIN_MEMBERS = {
    "name": "string",
    "version": "string",
    "chainId": "uint256",
    "verifyingContract": "address",
    "salt": "bytes32",
}
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*", re.ASCII)
_ARRAY = re.compile(r"(.+)\[([1-9][0-9]{0,5})?\]", re.ASCII)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,77})|0x[0-9a-fA-F]{1,64}", re.ASCII)
_HEX = re.compile(r"0x([0-9a-fA-F]{2})*", re.ASCII)
_LIKE_PLAIN = re.compile(r"(bool|address|string|bytes|u?int)[0-9]*", re.ASCII)
_PLAIN = {
    "bool",
    "address",
    "string",
    "bytes",
    *(f"bytes{size}" for size in range(1, 33)),
    *(f"{sign}int{bits}" for sign in ("u", "") for bits in range(8, 257, 8)),
}


@dataclass(frozen=True)
class TypedData:
    """Typed data every value of which was found to be of its type.

    `types` holds those in use alone, the domain's among them. Values are int, bool, str, bytes,
    lists and dicts; addresses are checksummed.
    """

    types: Types
    primary_type: str
    domain: Mapping[str, Any]
    message: Mapping[str, Any]

    @classmethod
    def from_text(cls, text: str) -> TypedData:
        """Read the JSON of `eth_signTypedData_v4`.

        Raises:
            InvalidInput: it is not that, or as `from_json`.
        """
        if len(text) > MAX_TEXT:
            raise InvalidInput(f"typed data of more than {MAX_TEXT} characters")

        def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            names = [name for name, _ in pairs]
            if len(set(names)) < len(names):
                raise InvalidInput(f"a name is there twice among {', '.join(names)}")
            return dict(pairs)

        _check_depth(text)
        try:
            value = json.loads(text, object_pairs_hook=once)
        except ValueError as error:
            raise InvalidInput(f"not JSON: {error}") from error
        return cls.from_json(value)

    @classmethod
    def from_json(cls, value: Any) -> TypedData:
        """Check typed data: exactly the fields its types name, each of its type.

        Types that are not used are left out; without a type of the domain it is made of its fields.

        Raises:
            InvalidInput: something is missing, unknown or not of its type; the message says where.
        """
        wanted = ("types", "primaryType", "domain", "message")
        if not isinstance(value, Mapping) or sorted(value) != sorted(wanted):
            raise InvalidInput(f"typed data has exactly the fields {', '.join(wanted)}")
        types = _read_types(value["types"])
        if isinstance(value["domain"], Mapping) and DOMAIN not in types:
            named = tuple(
                member for member in _DOMAIN_MEMBERS.items() if member[0] in value["domain"]
            )
            types = {**types, DOMAIN: named}
        types = {DOMAIN: (), **types}
        _check_domain_type(types[DOMAIN])
        primary_type = value["primaryType"]
        if not isinstance(primary_type, str) or primary_type not in types:
            raise InvalidInput(f"primaryType is {primary_type!r}, which is not among the types")
        if primary_type == DOMAIN:
            raise InvalidInput(f"primaryType is {DOMAIN}: there is nothing in it to sign")
        used = {DOMAIN, *_types_in(types, primary_type)}
        types = {name: members for name, members in types.items() if name in used}
        return cls(
            types=types,
            primary_type=primary_type,
            domain=_read_struct(types, DOMAIN, value["domain"], "domain"),
            message=_read_struct(types, primary_type, value["message"], "message"),
        )

    def to_json(self) -> dict[str, Any]:
        """As signers take it: what was checked and nothing else, bytes as 0x hex."""
        return {
            "types": {
                name: [{"name": member, "type": kind} for member, kind in members]
                for name, members in self.types.items()
            },
            "primaryType": self.primary_type,
            "domain": _as_json(self.domain),
            "message": _as_json(self.message),
        }

    def digest(self) -> bytes:
        """The 32 bytes that are signed."""
        return keccak(
            b"\x19\x01"
            + _hash_struct(self.types, DOMAIN, self.domain)
            + _hash_struct(self.types, self.primary_type, self.message)
        )

    def lines(self) -> list[str]:
        """All that is hashed, a line for each value, for people."""
        return [
            "Domain",
            *_show(self.types, DOMAIN, self.domain, 1),
            self.primary_type,
            *_show(self.types, self.primary_type, self.message, 1),
        ]


# --------------------------------------------------------------------------------- reading


def _check_depth(text: str) -> None:
    """Raises InvalidInput for JSON so deep that the parser could overflow the stack, and crash."""
    depth = 0
    for mark in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark, 0)
        if depth > 2 * MAX_DEPTH:
            raise InvalidInput(f"JSON more than {2 * MAX_DEPTH} deep")


def _read_types(value: Any) -> Types:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"types is {value!r}, not an object")
    types: dict[str, tuple[Member, ...]] = {}
    for name, members in value.items():
        if not _IDENTIFIER.fullmatch(name) or _LIKE_PLAIN.fullmatch(name):
            raise InvalidInput(f"{name!r} cannot name a type")
        if not isinstance(members, list):
            raise InvalidInput(f"the type {name} is {members!r}, not a list of members")
        types[name] = tuple(_read_member(name, member) for member in members)
        names = [member for member, _ in types[name]]
        if len(set(names)) < len(names):
            raise InvalidInput(f"the type {name} has a member twice: {', '.join(names)}")
    for name, members in types.items():
        for member, kind in members:
            if _innermost(kind) not in _PLAIN | set(types):
                raise InvalidInput(f"{name}.{member} is of the type {kind!r}, which is not known")
    return types


def _read_member(name: str, member: Any) -> Member:
    if not isinstance(member, Mapping) or sorted(member) != ["name", "type"]:
        raise InvalidInput(f"a member of {name} is {member!r}, not a name and a type")
    if not isinstance(member["name"], str) or not _IDENTIFIER.fullmatch(member["name"]):
        raise InvalidInput(f"{member['name']!r} cannot name a member of {name}")
    if not isinstance(member["type"], str):
        raise InvalidInput(f"the type of {name}.{member['name']} is {member['type']!r}")
    return member["name"], member["type"]


def _check_domain_type(members: tuple[Member, ...]) -> None:
    if any(_DOMAIN_MEMBERS.get(name) != kind for name, kind in members):
        given = ", ".join(f"{kind} {name}" for name, kind in members)
        known = ", ".join(f"{kind} {name}" for name, kind in _DOMAIN_MEMBERS.items())
        raise InvalidInput(f"the domain is of {given}; it can be of {known}")


def _innermost(kind: str) -> str:
    """The type inside an array of arrays."""
    for _ in range(MAX_DEPTH):
        array = _ARRAY.fullmatch(kind)
        if array is None:
            return kind
        kind = array[1]
    raise InvalidInput(f"arrays more than {MAX_DEPTH} deep")


def _types_in(types: Types, name: str) -> list[str]:
    """A type and all that are in it, itself first and the others by name: as it is encoded."""
    found, waiting = {name}, [name]
    while waiting:
        inside = {_innermost(kind) for _, kind in types[waiting.pop()]} & set(types) - found
        found |= inside
        waiting += inside
    return [name, *sorted(found - {name})]


def _read_struct(types: Types, name: str, value: Any, where: str, depth: int = 0) -> dict[str, Any]:
    members = types[name]
    wanted = [member for member, _ in members]
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{where} is {value!r}, not {name}")
    missing = [member for member in wanted if member not in value]
    unknown = [repr(member) for member in value if member not in wanted]
    if missing or unknown:
        problem = " and ".join(
            [f"lacks {', '.join(missing)}"] * bool(missing)
            + [f"has {', '.join(unknown)}, which {name} does not know"] * bool(unknown)
        )
        raise InvalidInput(f"{where} {problem}")
    return {
        member: _read_value(types, kind, value[member], f"{where}.{member}", depth + 1)
        for member, kind in members
    }


def _read_value(types: Types, kind: str, value: Any, where: str, depth: int) -> Any:
    """Check a value against its type, and return it as what it is."""
    if depth > MAX_DEPTH:
        raise InvalidInput(f"{where} is more than {MAX_DEPTH} deep")
    if kind in types:
        return _read_struct(types, kind, value, where, depth)
    array = _ARRAY.fullmatch(kind)
    if array:
        if not isinstance(value, list) or (array[2] and len(value) != int(array[2])):
            raise InvalidInput(f"{where} is {_brief(value)}, not {kind}")
        return [
            _read_value(types, array[1], element, f"{where}[{at}]", depth + 1)
            for at, element in enumerate(value)
        ]
    read = _read_plain(kind, value)
    if read is None:
        raise InvalidInput(f"{where} is {_brief(value)}, not {kind}")
    return read


def _read_plain(kind: str, value: Any) -> Any:
    """Return a value of a type without parts; None if it is not of the type."""
    if kind == "bool":
        return value if isinstance(value, bool) else None
    if kind.startswith(("uint", "int")):
        return _read_integer(kind, value)
    if not isinstance(value, str):
        return None
    if kind == "address":
        return parse_address(value) if is_address(value) else None
    return _read_string(value) if kind == "string" else _read_bytes(kind, value)


def _read_string(value: str) -> str | None:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates, which has no bytes to be hashed
        return None
    return value


def _read_bytes(kind: str, value: str) -> bytes | None:
    size = kind.removeprefix("bytes")
    if not _HEX.fullmatch(value) or (size and len(value) != 2 + 2 * int(size)):
        return None
    return bytes.fromhex(value[2:])


def _read_integer(kind: str, value: Any) -> int | None:
    """A number, or its digits as text: JSON's numbers are not exact everywhere."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value, 16 if value.startswith("0x") else 10)
    if type(value) is not int:
        return None
    bits = int(kind.removeprefix("u").removeprefix("int"))
    low, high = (0, 2**bits) if kind[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return value if low <= value < high else None


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


# --------------------------------------------------------------------------------- hashing


def _hash_struct(types: Types, name: str, value: Mapping[str, Any]) -> bytes:
    text = "".join(
        f"{each}({','.join(f'{kind} {member}' for member, kind in types[each])})"
        for each in _types_in(types, name)
    )
    words = [_encode(types, kind, value[member]) for member, kind in types[name]]
    return keccak(keccak(text.encode()) + b"".join(words))


def _encode(types: Types, kind: str, value: Any) -> bytes:
    """One word for a checked value, as EIP-712 encodes it."""
    if kind in types:
        return _hash_struct(types, kind, value)
    array = _ARRAY.fullmatch(kind)
    if array:
        return keccak(b"".join(_encode(types, array[1], element) for element in value))
    match value:
        case bool() | int():
            return (int(value) % 2**256).to_bytes(WORD, "big")
        case str() if kind == "address":
            return bytes.fromhex(value[2:]).rjust(WORD, b"\0")
        case str():
            return keccak(value.encode())
        case _:
            return keccak(value) if kind == "bytes" else value.ljust(WORD, b"\0")


# --------------------------------------------------------------------------------- showing


def _as_json(value: Any) -> Any:
    match value:
        case bytes():
            return "0x" + value.hex()
        case Mapping():
            return {name: _as_json(inner) for name, inner in value.items()}
        case list():
            return [_as_json(inner) for inner in value]
        case _:
            return value


def _show(types: Types, kind: str, value: Any, depth: int) -> list[str]:
    """The lines of a struct or an array."""
    array = _ARRAY.fullmatch(kind)
    if array:
        parts = [(f"[{at}]", array[1], element) for at, element in enumerate(value)]
    else:
        parts = [(name, inner, value[name]) for name, inner in types[kind]]
    lines = []
    for name, inner, part in parts:
        indented = "  " * depth + name
        if inner in types or _ARRAY.fullmatch(inner):
            lines += [f"{indented} ({inner})", *_show(types, inner, part, depth + 1)]
        elif inner == "string":
            # In quotes and on one line, so that no text can look like another value.
            lines.append(f"{indented}: {json.dumps(part, ensure_ascii=False)}")
        else:
            shown = str(part).lower() if inner == "bool" else str(_as_json(part))
            lines.append(f"{indented}: {shown}")
    return lines
