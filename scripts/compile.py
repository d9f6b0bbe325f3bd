#!/usr/bin/env python3
"""Compile the Solidity contracts into contracts/artifacts/*.json.

Drives py-solc-x with a native solc of the pinned version where there is one (on the PATH or
installed by py-solc-x), else with the npm `solc` package: the same compiler as WebAssembly, so
both give the same bytecode and the same artifact hash.

Examples:
    scripts/compile.py                      compile when a source has changed
    scripts/compile.py --force --json       compile anyway; print names, hashes and sizes as JSON
    scripts/compile.py --solc /usr/bin/solc compile with this very compiler
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import solcx
import solcx.wrapper

ROOT = Path(__file__).resolve().parent.parent
ARTIFACTS = ROOT / "contracts" / "artifacts"
NODE_MODULES = ROOT / "node_modules"
NPM_SOLC = ROOT / "scripts" / "npm-solc"

SOLC_VERSION = "0.8.37"
SETTINGS: dict[str, Any] = {
    "evmVersion": "cancun",
    "viaIR": True,
    "optimizer": {"enabled": True, "runs": 1_000_000},
    "outputSelection": {
        "*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "metadata"]}
    },
}
PACKAGES = ("@openzeppelin/", "solady/")  # where npm's sources are named from
# Fewer runs make smaller code: at the default these would not fit into a contract.
OPTIMIZER_RUNS = {"CreditBook": 4_000}
# Deployed as they are, so compiled beside our own contracts.
LIBRARY_CONTRACTS = {"AccessManager": "@openzeppelin/contracts/access/manager/AccessManager.sol"}
MAX_RUNTIME_BYTES = 24_576  # EIP-170

_IMPORT = re.compile(r"^\s*import\b[^;]*?[\"']([^\"']+)[\"']\s*;", re.MULTILINE)


class CompileError(Exception):
    """The contracts could not be compiled; the message is for people."""


def find_solc() -> Path:
    """Return the compiler to use: a native solc of the pinned version, else the npm one.

    Raises:
        CompileError: neither is there.
    """
    candidates = [Path(found)] if (found := shutil.which("solc")) else []
    with suppress(solcx.exceptions.SolcNotInstalled):
        candidates.append(Path(solcx.install.get_executable(SOLC_VERSION)))
    for candidate in candidates:
        if str(solcx.wrapper.get_solc_version(candidate)) == SOLC_VERSION:
            return candidate
    if not (NODE_MODULES / "solc").is_dir() or not shutil.which("node"):
        raise CompileError(
            f"no solc {SOLC_VERSION}: run `make setup`, or put a native one on the PATH"
        )
    return NPM_SOLC


def read_sources(entry_points: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the standard-JSON `sources` of the entry points and all they import.

    Source units are named by their path below the project ("contracts/PlatformCoin.sol") or by
    package ("@openzeppelin/…"), never by a path of this machine, so the artifact hash is the same
    everywhere.

    Raises:
        CompileError: an import is not there.
    """
    sources: dict[str, dict[str, str]] = {}
    pending = sorted(entry_points, reverse=True)
    while pending:
        name = pending.pop()
        if name in sources:
            continue
        path = (NODE_MODULES if name.startswith(PACKAGES) else ROOT) / name
        if not path.is_file():
            raise CompileError(f"{name}: no such file at {path} (run `make setup` for packages)")
        text = path.read_text(encoding="utf-8")
        sources[name] = {"content": text}
        for target in _IMPORT.findall(text):
            relative = target.startswith(".")
            pending.append(
                os.path.normpath(os.path.join(os.path.dirname(name), target))
                if relative
                else target
            )
    return dict(sorted(sources.items()))


def compile_sources(
    entry_points: Mapping[str, str], solc: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Compile contracts and return their artifacts by contract name.

    Args:
        entry_points: contract name -> source unit that defines it.
        solc: the compiler; `find_solc()` by default.

    Raises:
        CompileError: the compiler refused the sources, or warned (warnings are errors here).
    """
    solc = solc or find_solc()
    default_runs = SETTINGS["optimizer"]["runs"]
    by_runs: dict[int, dict[str, str]] = {}
    for name, unit in entry_points.items():
        by_runs.setdefault(OPTIMIZER_RUNS.get(name, default_runs), {})[name] = unit
    artifacts: dict[str, dict[str, Any]] = {}
    for runs, units in by_runs.items():
        artifacts |= _compile(units, runs, solc)
    return dict(sorted(artifacts.items()))


def _compile(entry_points: Mapping[str, str], runs: int, solc: Path) -> dict[str, dict[str, Any]]:
    """Compile contracts that share a number of optimizer runs."""
    sources = read_sources(entry_points.values())
    settings = {**SETTINGS, "optimizer": {**SETTINGS["optimizer"], "runs": runs}}
    # Only what is asked for: other contracts among the sources may need other settings.
    selection: dict[str, dict[str, Any]] = {unit: {} for unit in entry_points.values()}
    for name, unit in entry_points.items():
        selection[unit][name] = SETTINGS["outputSelection"]["*"]["*"]
    settings["outputSelection"] = selection
    standard_input = {"language": "Solidity", "sources": sources, "settings": settings}
    try:
        output = solcx.compile_standard(standard_input, solc_binary=solc)
    except solcx.exceptions.SolcError as error:
        raise CompileError(str(error)) from error
    warnings = [
        message["formattedMessage"]
        for message in output.get("errors", [])
        if not message.get("sourceLocation", {}).get("file", "").startswith(PACKAGES)
    ]
    if warnings:
        raise CompileError("\n".join(warnings))
    return {
        name: _artifact(name, unit, output["contracts"][unit][name])
        for name, unit in sorted(entry_points.items())
    }


def _artifact(name: str, unit: str, compiled: Mapping[str, Any]) -> dict[str, Any]:
    metadata = json.loads(compiled["metadata"])
    artifact: dict[str, Any] = {
        "contract": name,
        "source": unit,
        "compiler": metadata["compiler"]["version"],
        "abi": compiled["abi"],
        "bytecode": "0x" + compiled["evm"]["bytecode"]["object"],
        "runtime_bytecode": "0x" + compiled["evm"]["deployedBytecode"]["object"],
    }
    canonical = json.dumps(artifact, sort_keys=True, separators=(",", ":"))
    artifact["hash"] = "0x" + hashlib.sha256(canonical.encode()).hexdigest()
    return artifact


def project_contracts() -> dict[str, str]:
    """Contract name -> source unit, for everything the platform deploys or others call."""
    own = [*(ROOT / "contracts").glob("*.sol"), *(ROOT / "contracts" / "interfaces").glob("*.sol")]
    named = {path.stem: path.relative_to(ROOT).as_posix() for path in own}
    return {**named, **LIBRARY_CONTRACTS}


def _input_digest() -> str:
    """Digest of everything the artifacts depend on, to skip a compilation that changes nothing."""
    sources = read_sources(project_contracts().values())
    content = json.dumps([SOLC_VERSION, SETTINGS, sources, Path(__file__).read_text()])
    return hashlib.sha256(content.encode()).hexdigest()


def _write(artifacts: Mapping[str, Mapping[str, Any]], out: Path, digest: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("*.json"):
        stale.unlink()
    for name, artifact in artifacts.items():
        text = json.dumps(artifact, indent=1) + "\n"
        (out / f"{name}.json").write_text(text, encoding="utf-8")
    (out / ".inputs").write_text(digest, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ARTIFACTS, help="folder for the artifacts")
    parser.add_argument("--solc", type=Path, help="compiler to use (default: native, else npm)")
    parser.add_argument("--force", action="store_true", help="compile even if nothing changed")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    try:
        digest = _input_digest()
        stamp = arguments.out / ".inputs"
        fresh = not arguments.force and stamp.is_file() and stamp.read_text() == digest
        if not fresh:
            _write(compile_sources(project_contracts(), arguments.solc), arguments.out, digest)
    except CompileError as error:
        print(f"compile: {error}", file=sys.stderr)
        return 1
    rows = []
    for path in sorted(arguments.out.glob("*.json")):
        artifact = json.loads(path.read_text())
        size = (len(artifact["runtime_bytecode"]) - 2) // 2
        rows.append({"contract": artifact["contract"], "hash": artifact["hash"], "bytes": size})
    if arguments.json:
        print(
            json.dumps({"compiled": not fresh, "solc": SOLC_VERSION, "contracts": rows}, indent=2)
        )
    else:
        print(f"{'unchanged' if fresh else 'compiled'}, solc {SOLC_VERSION}")
        for row in rows:
            if row["bytes"]:
                print(f"  {row['contract']:<18} {row['bytes']:>6} bytes  {row['hash'][:18]}…")
    oversized = [row["contract"] for row in rows if row["bytes"] > MAX_RUNTIME_BYTES]
    if oversized:
        print(f"compile: over {MAX_RUNTIME_BYTES} bytes: {', '.join(oversized)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
