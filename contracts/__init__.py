"""The compiled contracts: `contracts.load("PlatformCoin").abi`.

Artifacts are written by `scripts/compile.py` and packaged in the wheel. Standard library only, so
that the wallet's reading commands start fast.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


class ArtifactNotFound(LookupError):
    """No compiled contract of that name; the message says how to make it."""


@dataclass(frozen=True)
class Artifact:
    """One compiled contract.

    `bytecode` and `runtime_bytecode` are 0x-prefixed hex (empty, "0x", for an interface);
    `hash` is the SHA-256 of the other fields as canonical JSON, the same with a native and the
    WebAssembly compiler.
    """

    contract: str
    source: str
    compiler: str
    abi: list[dict[str, Any]]
    bytecode: str
    runtime_bytecode: str
    hash: str


@cache
def load(contract: str) -> Artifact:
    """Return the artifact of a contract by its name, such as "PlatformCoin".

    Raises:
        ArtifactNotFound: there is no such contract, or the contracts were not compiled yet.
    """
    file = resources.files(__name__) / "artifacts" / f"{contract}.json"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ArtifactNotFound(
            f"no compiled contract {contract!r}: run `make build` (scripts/compile.py) first"
        ) from error
    return Artifact(**json.loads(text))
