#!/usr/bin/env python3
"""Static analysis of the contracts by Slither, and their sizes.

Every finding is either put right or explained in contracts/audit.toml, by detector and place: a
finding that is not explained, an explanation that fits no finding any more, and a contract above
24,576 bytes (EIP-170) are errors. Findings in libraries from npm are left to their authors.

Slither needs versions of web3 other than ours, so it lives in an environment of its own, which
`make audit` sets up (.make/slither, pinned by constraints-audit.txt). What it reads is compiled by
our compiler: it is handed over as a build of Hardhat, which Slither takes as it is.

Examples:
    scripts/audit.py                              sizes, and what is not explained
    scripts/audit.py --all                        every finding, with its explanation
    scripts/audit.py --json | jq .unexplained     for machines
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `scripts`

import solcx

from scripts.compile import (
    ARTIFACTS,
    MAX_RUNTIME_BYTES,
    ROOT,
    SETTINGS,
    SOLC_VERSION,
    CompileError,
    find_solc,
    project_contracts,
    read_sources,
)

SLITHER = ROOT / ".make" / "slither" / "bin" / "slither"
EXPLANATIONS = ROOT / "contracts" / "audit.toml"
# Slither works on the syntax trees; it is content without code, which takes long to make.
NO_CODE = {"object": "", "sourceMap": ""}


class AuditError(Exception):
    """The audit could not be made; the message is for people."""


@dataclass(frozen=True)
class Finding:
    """What Slither found: `place` is the function, variable or event ("CreditBook.repay")."""

    detector: str
    place: str
    impact: str
    confidence: str
    description: str

    @property
    def key(self) -> tuple[str, str]:
        return self.detector, self.place


# -------------------------------------------------------------------------- analysing


def analyse(slither: Path) -> list[Finding]:
    """Slither's findings in the project's own sources, in a fixed order.

    Raises:
        AuditError: Slither is not installed, or failed.
        CompileError: the contracts do not compile.
    """
    if not slither.is_file():
        raise AuditError(f"no Slither at {slither}: run `make audit`, which installs it")
    with tempfile.TemporaryDirectory() as folder:
        _write_build(Path(folder))
        command = [slither, ".", "--hardhat-ignore-compile", "--hardhat-artifacts-directory"]
        command += ["artifacts", "--filter-paths", "@openzeppelin", "--json", "report.json"]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        report = Path(folder) / "report.json"
        if not report.is_file():
            raise AuditError(f"Slither failed:\n{run.stderr[-2_000:]}")
        return read_report(json.loads(report.read_text()))


def _write_build(folder: Path) -> None:
    """A Hardhat project that is built already: every source by its name, and the build's record."""
    units = [unit for unit in project_contracts().values() if unit.startswith("contracts/")]
    sources = read_sources(units)
    for name, source in sources.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source["content"])
    wanted = {"": ["ast"], "*": ["abi", "userdoc", "devdoc"]}
    settings = {**SETTINGS, "outputSelection": {"*": wanted}}
    request = {"language": "Solidity", "sources": sources, "settings": settings}
    try:
        output = solcx.compile_standard(request, solc_binary=find_solc())
    except solcx.exceptions.SolcError as error:
        raise CompileError(str(error)) from error
    for unit in output["contracts"].values():
        for contract in unit.values():
            contract["evm"] = {"bytecode": NO_CODE, "deployedBytecode": NO_CODE}
    record = folder / "artifacts" / "build-info" / "plaza.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"solcVersion": SOLC_VERSION, "input": request, "output": output}))
    (folder / "hardhat.config.js").touch()


def read_report(report: Mapping[str, Any]) -> list[Finding]:
    """The findings of Slither's JSON report.

    Raises:
        AuditError: the report says that the analysis failed.
    """
    if not report["success"]:
        raise AuditError(f"Slither failed:\n{report['error']}")
    findings = [
        Finding(
            detector=found["check"],
            place=_place(found["elements"][0]),
            impact=found["impact"],
            confidence=found["confidence"],
            description=" ".join(found["description"].split()),
        )
        for found in report["results"].get("detectors", [])
    ]
    return sorted(findings, key=lambda finding: (*finding.key, finding.description))


def _place(element: Mapping[str, Any]) -> str:
    """The names from the contract down; of a statement, those of its function."""
    names: list[str] = []
    part: Mapping[str, Any] | None = element
    while part:
        if part["type"] != "node":
            names.insert(0, part["name"])
        part = part.get("type_specific_fields", {}).get("parent")
    return ".".join(names)


# ------------------------------------------------------------------------- explaining


def read_explanations(text: str) -> dict[tuple[str, str], str]:
    """Reason by detector and place.

    Raises:
        AuditError: an entry lacks something, or one place is explained twice.
    """
    reasons: dict[tuple[str, str], str] = {}
    for entry in tomllib.loads(text).get("finding", []):
        if not (entry.get("detector") and entry.get("places") and entry.get("reason")):
            raise AuditError(f"an explanation needs detector, places and reason: {entry}")
        for place in entry["places"]:
            key = entry["detector"], place
            if key in reasons:
                raise AuditError(f"explained twice: {key[0]} at {place}")
            reasons[key] = entry["reason"]
    return reasons


def unexplained(
    findings: Iterable[Finding], reasons: Mapping[tuple[str, str], str]
) -> list[Finding]:
    return [finding for finding in findings if finding.key not in reasons]


def outdated(
    findings: Iterable[Finding], reasons: Mapping[tuple[str, str], str]
) -> list[tuple[str, str]]:
    """Explanations that fit no finding."""
    return sorted(set(reasons) - {finding.key for finding in findings})


# ----------------------------------------------------------------------------- sizes


def sizes() -> dict[str, int]:
    """Bytes of runtime code of each of the project's own contracts, as compiled to be deployed.

    Raises:
        AuditError: the contracts are not compiled.
    """
    found = {}
    for path in sorted(ARTIFACTS.glob("*.json")):
        artifact = json.loads(path.read_text())
        size = (len(artifact["runtime_bytecode"]) - 2) // 2
        if size and artifact["source"].startswith("contracts/"):
            found[artifact["contract"]] = size
    if not found:
        raise AuditError("no compiled contracts: run `make build` first")
    return found


# ---------------------------------------------------------------------------- printing


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="print explained findings too")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--slither", type=Path, default=SLITHER, help="the program to run")
    arguments = parser.parse_args()
    try:
        by_contract = sizes()
        findings = analyse(arguments.slither)
        reasons = read_explanations(EXPLANATIONS.read_text(encoding="utf-8"))
    except (AuditError, CompileError) as error:
        print(f"audit: {error}", file=sys.stderr)
        return 1
    new, old = unexplained(findings, reasons), outdated(findings, reasons)
    oversized = [name for name, size in by_contract.items() if size > MAX_RUNTIME_BYTES]
    if arguments.json:
        report = {
            "sizes": by_contract,
            "limit": MAX_RUNTIME_BYTES,
            "findings": [
                {**asdict(finding), "reason": reasons.get(finding.key)} for finding in findings
            ],
            "unexplained": [asdict(finding) for finding in new],
            "outdated": [{"detector": detector, "place": place} for detector, place in old],
        }
        print(json.dumps(report, indent=2))
    else:
        for name, size in by_contract.items():
            left = MAX_RUNTIME_BYTES - size
            print(f"{name:<16} {size:>6,} bytes  {left:>6,} left")
        impacts = Counter(finding.impact for finding in findings)
        counts = ", ".join(f"{count} {impact.lower()}" for impact, count in impacts.items())
        print(f"{len(findings)} findings ({counts}), {len(new)} not explained")
        for finding in findings if arguments.all else new:
            print(f"\n{finding.impact} {finding.detector} at {finding.place}")
            print(f"  {finding.description}")
            if reason := reasons.get(finding.key):
                print(f"  explained: {reason}")
        for detector, place in old:
            print(f"\nexplained, but not found any more: {detector} at {place}")
        for name in oversized:
            print(f"\ntoo large to be deployed: {name}")
    return 1 if new or old or oversized else 0


if __name__ == "__main__":
    sys.exit(main())
