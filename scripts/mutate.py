#!/usr/bin/env python3
"""Mutation testing of the contracts: would the tests notice if a line were wrong?

Makes small mistakes in a contract, one at a time (a comparison turned or moved by one, a check, a
write, an event or a modifier left out, + for -, arguments swapped, a constant or a rounding
changed), compiles each, and runs the contract's tests against it in a copy of the project. A mutant
is killed when a test fails or the tests do not end in time. One that compiles to the same code is
no mistake and is left out.

Survivors that are explained stand in contracts/mutants.toml: those marked `equivalent` behave as
the original in all that a caller can see, and do not count; the others count as survivors. An
explanation of a mutant that is no longer made, or is killed after all, is an error.

Mutants marked as `guard` of an invariant there break what keeps that invariant. With --guards those
are made, and only the stateful test of all contracts is run against each: it must fail.

Results are kept in build/mutation as they come, so a run that was stopped goes on where it was,
while a contract and its tests are the same. Exit code: 0 when at least 90 % are killed and the
explanations fit, else 1.

Examples:
    scripts/mutate.py                              160 mutants of escrow, credit book and pool
    scripts/mutate.py PurchaseEscrow --count 0     every mutant of one contract
    scripts/mutate.py --list --count 0             what would be made
    scripts/mutate.py --only 3f9a1c22              one again, by its id
    scripts/mutate.py --guards                     does each invariant's test fail when broken?
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `scripts`

from scripts.compile import (
    ARTIFACTS,
    NPM_SOLC,
    ROOT,
    SETTINGS,
    CompileError,
    project_contracts,
    read_sources,
)

EXPLANATIONS = ROOT / "contracts" / "mutants.toml"
JOURNALS = ROOT / "build" / "mutation"
NEEDED = 0.90  # of the mutants that are not equivalent

# Each contract or library that is mutated, the contract it is compiled into, and that one's tests.
HOSTS = {
    "PlatformCoin": "PlatformCoin",
    "AccountWordLib": "PlatformCoin",
    "PurchaseEscrow": "PurchaseEscrow",
    "OrderWordLib": "PurchaseEscrow",
    "Intents": "PurchaseEscrow",
    "CreditBook": "CreditBook",
    "LineLib": "CreditBook",
    "LenderPool": "LenderPool",
}
WHOLE = ["test_roles.py", "test_system*.py", "test_invariants*.py"]  # of all contracts together
TESTS = {
    "PlatformCoin": ["test_coin_*.py", *WHOLE],
    "PurchaseEscrow": ["test_escrow_*.py", "test_second_escrow.py", *WHOLE],
    "CreditBook": ["test_credit_*.py", *WHOLE],
    "LenderPool": ["test_pool_*.py", "test_credit_*.py", *WHOLE],
}
# What is mutated unless named: the contracts that hold money for others.
USUAL = [name for name, host in HOSTS.items() if host != "PlatformCoin"]
INVARIANTS = "tests/contracts/test_invariants.py"
# Pins of gas say nothing of behaviour, and would kill any mutant.
LEFT_OUT = ("_gas",)
# Slow, so they run when nothing else has noticed.
LAST = ("invariants", "properties")

# As shipped, but optimized for size: faster to compile, and nearer to the size limit than none.
MUTANT_SETTINGS = {
    "evmVersion": SETTINGS["evmVersion"],
    "viaIR": True,
    "optimizer": {"enabled": True, "runs": 1},
    # No hash of the sources, so that equal code is equal bytes.
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
}

Node = dict[str, Any]  # of the compiler's syntax tree


class MutationError(Exception):
    """The run cannot go on; the message is for people."""


# ------------------------------------------------------------------------------ mutants


@dataclass(frozen=True)
class Mutant:
    """One mistake: bytes `start`..`end` of the contract's file replaced.

    `key` names it by function, kind and text, so that an explanation outlives changes elsewhere.
    """

    contract: str
    function: str
    kind: str
    original: str
    mutated: str
    number: int  # among equal ones of the function, from 1
    line: int
    start: int
    end: int
    replacement: str

    @property
    def key(self) -> str:
        again = f" #{self.number}" if self.number > 1 else ""
        return (
            f"{self.contract}.{self.function}: {self.kind}: "
            f"{self.original} -> {self.mutated.removeprefix('{}') or '(nothing)'}{again}"
        )

    @property
    def id(self) -> str:
        return hashlib.sha256(self.key.encode()).hexdigest()[:8]

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.replacement.encode() + source[self.end :]

    def diff(self, source: bytes) -> str:
        lines = difflib.unified_diff(
            source.decode().splitlines(), self.apply(source).decode().splitlines(), n=0, lineterm=""
        )
        return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


@dataclass(frozen=True)
class Change:
    """A mutation of one node before it is numbered and named."""

    kind: str
    node: Node  # what is shown as original
    start: int
    end: int
    replacement: str


COMPARISONS = {
    "<": [("boundary", "<="), ("comparison", ">=")],
    "<=": [("boundary", "<"), ("comparison", ">")],
    ">": [("boundary", ">="), ("comparison", "<=")],
    ">=": [("boundary", ">"), ("comparison", "<")],
    "==": [("comparison", "!=")],
    "!=": [("comparison", "==")],
    "+": [("arithmetic", "-")],
    "-": [("arithmetic", "+")],
    "*": [("arithmetic", "/")],
    "/": [("arithmetic", "*")],
    "&&": [("logic", "||")],
    "||": [("logic", "&&")],
}
ASSIGNMENTS = {"+=": "-=", "-=": "+="}
MEMBERS = {"Ceil": ("rounding", "Floor"), "Floor": ("rounding", "Ceil")}
COMMUTATIVE = {"mulDiv", "min", "max"}  # in their first two arguments
FUNCTIONS = {"min": ("minimum", "max"), "max": ("minimum", "min")}


class Mutator:
    """Makes every mutant of one contract, from the compiler's syntax tree of its file."""

    def __init__(self, contract: str, source: bytes, tree: Node) -> None:
        self._contract, self._source, self._tree = contract, source, tree

    def mutants(self) -> list[Mutant]:
        """In the order of the file, without those that come to the same text."""
        definitions = [
            node
            for node in self._tree["nodes"]
            if node["nodeType"] == "ContractDefinition" and node["name"] == self._contract
        ]
        (definition,) = definitions
        made: list[Mutant] = []
        texts: set[bytes] = set()
        numbers: Counter[tuple[str, ...]] = Counter()
        for part in definition["nodes"]:
            name = part.get("name") or part.get("kind") or part["nodeType"]
            for change in sorted(self._changes(part), key=lambda change: change.start):
                original, mutated = self._describe(change)
                label = (name, change.kind, original, mutated)
                numbers[label] += 1
                mutant = Mutant(
                    contract=self._contract,
                    function=name,
                    kind=change.kind,
                    original=original,
                    mutated=mutated,
                    number=numbers[label],
                    line=self._source.count(b"\n", 0, change.start) + 1,
                    start=change.start,
                    end=change.end,
                    replacement=change.replacement,
                )
                text = mutant.apply(self._source)
                if text not in texts:
                    texts.add(text)
                    made.append(mutant)
        return made

    def _describe(self, change: Change) -> tuple[str, str]:
        """The node's text before and after, in one line each."""
        start, end = _span(change.node)
        before = self._source[start:end]
        after = before[: change.start - start] + change.replacement.encode()
        after += before[change.end - start :]
        return _one_line(before), _one_line(after)

    def _changes(self, node: Any) -> Iterator[Change]:
        if isinstance(node, list):
            for item in node:
                yield from self._changes(item)
            return
        if not isinstance(node, dict):
            return
        kind = node.get("nodeType")
        # What an error or an event says is no behaviour that others build on ... but whether an
        # event comes is.
        if kind == "EmitStatement":
            yield self._without("event removed", node)
            return
        if kind in {"RevertStatement", "InlineAssembly", "StructuredDocumentation"}:
            return
        handler = getattr(self, f"_of_{kind}", None)
        if handler is not None:
            yield from handler(node)
        for name, value in node.items():
            if name not in {"typeName", "typeDescriptions", "documentation", "parameters"}:
                yield from self._changes(value)

    # ------------------------------------------------------------------ by kind of node

    def _of_BinaryOperation(self, node: Node) -> Iterator[Change]:
        left, right = node["leftExpression"], node["rightExpression"]
        gap = _span(left)[1], _span(right)[0]
        at = self._source.index(node["operator"].encode(), *gap)
        for kind, replacement in COMPARISONS.get(node["operator"], []):
            yield Change(kind, node, at, at + len(node["operator"]), replacement)
        if node["operator"] == "/":
            up = f"(({self._text(left)}) + ({self._text(right)}) - 1) / ({self._text(right)})"
            yield Change("rounding", node, *_span(node), up)

    def _of_UnaryOperation(self, node: Node) -> Iterator[Change]:
        if node["operator"] == "!":
            start, _ = _span(node)
            yield Change("negation", node, start, start + 1, "")

    def _of_IfStatement(self, node: Node) -> Iterator[Change]:
        body = node["trueBody"]
        if body["nodeType"] == "Block" and len(body["statements"]) == 1:
            (body,) = body["statements"]
        if body["nodeType"] == "RevertStatement" and not node.get("falseBody"):
            yield self._without("check removed", node)
            return
        condition = node["condition"]
        for value in ("true", "false"):
            yield Change("branch", condition, *_span(condition), value)

    def _of_Conditional(self, node: Node) -> Iterator[Change]:
        yes, no = node["trueExpression"], node["falseExpression"]
        start, end = _span(yes)[0], _span(no)[1]
        between = self._source[_span(yes)[1] : _span(no)[0]].decode()
        yield Change("branch", node, start, end, self._text(no) + between + self._text(yes))

    def _of_ExpressionStatement(self, node: Node) -> Iterator[Change]:
        expression = node["expression"]
        names = {"Assignment": "write removed", "FunctionCall": "call removed"}
        if expression["nodeType"] == "UnaryOperation" and expression["operator"] == "delete":
            yield self._without("write removed", node)
        elif expression["nodeType"] in names:
            yield self._without(names[expression["nodeType"]], node)

    def _of_Assignment(self, node: Node) -> Iterator[Change]:
        if node["operator"] in ASSIGNMENTS:
            gap = _span(node["leftHandSide"])[1], _span(node["rightHandSide"])[0]
            at = self._source.index(node["operator"].encode(), *gap)
            replacement = ASSIGNMENTS[node["operator"]]
            yield Change("arithmetic", node, at, at + 2, replacement)

    def _of_FunctionCall(self, node: Node) -> Iterator[Change]:
        arguments, called = node["arguments"], node["expression"]
        pairs = list(pairwise(arguments)) if node["kind"] == "functionCall" else []
        if node["names"]:
            pairs = []
        elif called.get("memberName") in COMMUTATIVE:
            del pairs[:1]
        for first, second in pairs:
            if _type(first) == _type(second) and self._text(first) != self._text(second):
                between = self._source[_span(first)[1] : _span(second)[0]].decode()
                swapped = self._text(second) + between + self._text(first)
                yield Change("arguments swapped", node, _span(first)[0], _span(second)[1], swapped)
        if called["nodeType"] == "MemberAccess" and called["memberName"] == "ceilDiv":
            first, second = map(self._text, arguments)
            yield Change("rounding", node, *_span(node), f"(({first}) / ({second}))")
        if called["nodeType"] == "MemberAccess" and called["memberName"] in FUNCTIONS:
            kind, name = FUNCTIONS[called["memberName"]]
            end = _span(called)[1]
            yield Change(kind, node, end - 3, end, name)

    def _of_ModifierInvocation(self, node: Node) -> Iterator[Change]:
        if node.get("kind") == "modifierInvocation":
            yield self._without("modifier removed", node)

    def _of_MemberAccess(self, node: Node) -> Iterator[Change]:
        end = _span(node)[1]
        if node["memberName"] in MEMBERS:
            kind, name = MEMBERS[node["memberName"]]
            yield Change(kind, node, end - len(node["memberName"]), end, name)

    def _of_Literal(self, node: Node) -> Iterator[Change]:
        start, end = _span(node)
        if node["kind"] == "number":
            number = re.match(r"[0-9_]+(?![0-9a-fA-FxXeE_.])", self._text(node))
            if number:
                value = int(number[0].replace("_", "")) + 1
                yield Change("constant", node, start, start + number.end(), str(value))
        elif node["kind"] == "bool":
            yield Change(
                "constant", node, start, end, {"true": "false", "false": "true"}[node["value"]]
            )

    # -------------------------------------------------------------------------- texts

    def _without(self, kind: str, node: Node) -> Change:
        """The modifier gone, or an empty block for the statement: it may be the body of an if."""
        start, end = _span(node)
        if self._source[end : end + 1] == b";":
            end += 1
        modifier = node["nodeType"] == "ModifierInvocation"
        return Change(kind, node, start, end, "" if modifier else "{}")

    def _text(self, node: Node) -> str:
        start, end = _span(node)
        return self._source[start:end].decode()


def _span(node: Node) -> tuple[int, int]:
    start, length, _ = map(int, node["src"].split(":"))
    return start, start + length


def _type(node: Node) -> str:
    """The type by which arguments may be confused: where a struct lies does not matter."""
    name = node["typeDescriptions"]["typeString"] or ""
    return "number" if name.startswith("int_const") else re.sub(r" (memory|calldata)$", "", name)


def _one_line(text: bytes) -> str:
    return " ".join(text.decode().split())


# ---------------------------------------------------------------------------- compiling


class Compiler:
    """A compiler process that is kept: starting the WebAssembly one takes longer than a mutant."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", NPM_SOLC, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def run(self, sources: dict[str, dict[str, str]], settings: dict[str, Any]) -> dict[str, Any]:
        """The compiler's output for standard JSON."""
        request = {"language": "Solidity", "sources": sources, "settings": settings}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise MutationError("the compiler ended; is npm's solc installed (make setup)?")
        output: dict[str, Any] = json.loads(answer)
        return output

    def code(self, subject: Subject, source: bytes) -> dict[str, str] | None:
        """Creation and runtime code of a contract with this text, or None if it is refused."""
        sources = {**subject.sources, subject.unit: {"content": source.decode()}}
        wanted = ["evm.bytecode.object", "evm.deployedBytecode.object"]
        selection = {subject.host_unit: {subject.host: wanted}}
        output = self.run(sources, {**MUTANT_SETTINGS, "outputSelection": selection})
        if any(error["severity"] == "error" for error in output.get("errors", [])):
            return None
        evm = output["contracts"][subject.host_unit][subject.host]["evm"]
        return {
            "bytecode": "0x" + evm["bytecode"]["object"],
            "runtime_bytecode": "0x" + evm["deployedBytecode"]["object"],
        }

    def mutants(self, subject: Subject) -> list[Mutant]:
        selection = {subject.unit: {"": ["ast"]}}
        output = self.run(subject.sources, {**MUTANT_SETTINGS, "outputSelection": selection})
        if subject.unit not in output.get("sources", {}):
            raise MutationError(f"{subject.unit} does not compile")
        tree = output["sources"][subject.unit]["ast"]
        return Mutator(subject.contract, subject.source, tree).mutants()


@dataclass(frozen=True)
class Subject:
    """A contract or library under test, as it stood when the run began.

    `host` is the contract that is compiled and tested: itself, or one that uses it.
    """

    contract: str
    unit: str
    host: str
    host_unit: str
    sources: dict[str, dict[str, str]]

    @classmethod
    def read(cls, contract: str) -> Self:
        host = HOSTS[contract]
        host_unit = project_contracts()[host]
        sources = read_sources([host_unit])
        # The library of a type stands in the type's file.
        names = {contract, contract.removesuffix("Lib")}
        (unit,) = (unit for unit in sources if Path(unit).stem in names)
        return cls(contract, unit, host, host_unit, sources)

    @cached_property
    def source(self) -> bytes:
        return self.sources[self.unit]["content"].encode()


# ------------------------------------------------------------------------------ testing


@dataclass(frozen=True)
class Tree:
    """A copy of the project in which one worker replaces an artifact and runs tests."""

    folder: Path
    stop: threading.Event  # ends what runs

    @classmethod
    def of_project(cls, folder: Path, stop: threading.Event) -> Self:
        caches = shutil.ignore_patterns("__pycache__", ".*")
        for name in ("contracts", "scripts", "tests/contracts"):
            shutil.copytree(ROOT / name, folder / name, ignore=caches)
        shutil.copytree(ARTIFACTS, folder / "originals")
        shutil.copy(ROOT / "pyproject.toml", folder)
        (folder / "node_modules").symlink_to(ROOT / "node_modules")
        return cls(folder, stop)

    def copy(self, folder: Path) -> Tree:
        """With what the tests have compiled for themselves."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Tree(folder, self.stop)

    def install(self, contract: str, code: dict[str, str]) -> None:
        original = self.folder / "originals" / f"{contract}.json"
        artifact = json.loads(original.read_text())
        path = self.folder / "contracts" / "artifacts" / f"{contract}.json"
        path.write_text(json.dumps({**artifact, **code}))

    def restore(self, contract: str) -> None:
        self.install(contract, {})

    def pytest(
        self, files: Sequence[str], limit: float, **variables: str
    ) -> tuple[int | None, str]:
        """Exit code (None after `limit` seconds) and output of a run that ends at a failure."""
        # Else an example that killed one mutant would be the first to be tried on the next.
        shutil.rmtree(self.folder / ".hypothesis", ignore_errors=True)
        options = ["-x", "-q", "--no-header", "-p", "scripts.mutation_order"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *files],
            cwd=self.folder,
            env={**os.environ, **variables, "PYTHONPATH": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that all it started can be ended
        )
        until = time.monotonic() + limit
        while True:
            try:
                output, _ = process.communicate(timeout=1)
                return process.returncode, output
            except subprocess.TimeoutExpired:
                if self.stop.is_set() or time.monotonic() > until:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                    if self.stop.is_set():
                        raise MutationError("stopped") from None
                    return None, ""

    def census(self, files: Sequence[str]) -> list[Trial]:
        """All tests of these files, run once.

        Raises:
            MutationError: a test fails on the contracts as they are.
        """
        path = self.folder / "census.json"
        code, output = self.pytest(files, 3_600, MUTATION_CENSUS=str(path))
        if code != 0:
            raise MutationError(f"the tests fail without any mutation:\n{output[-2_000:]}")
        tests = json.loads(path.read_text())
        return [Trial(name, one["seconds"], frozenset(one["words"])) for name, one in tests.items()]

    def kill(self, tests: Sequence[Trial], limit: float) -> tuple[int | None, str]:
        """As `pytest`, of these tests in this order."""
        path = self.folder / "order.json"
        path.write_text(json.dumps({test.name: rank for rank, test in enumerate(tests)}))
        files = sorted({test.name.split("::")[0] for test in tests})
        return self.pytest(files, limit, MUTATION_ORDER=str(path))


@dataclass(frozen=True)
class Trial:
    """One test: pytest's name of it, how long it takes, and the words of its source."""

    name: str
    seconds: float
    words: frozenset[str]


def test_files(host: str) -> list[str]:
    """A contract's test files below the project."""
    folder = ROOT / "tests" / "contracts"
    files = [file for pattern in TESTS[host] for file in sorted(folder.glob(pattern))]
    names = (file.relative_to(ROOT).as_posix() for file in files)
    return [name for name in names if not any(word in name for word in LEFT_OUT)]


def order_tests(tests: Sequence[Trial], functions: set[str]) -> list[Trial]:
    """Those that name one of the functions first, then the quickest; the slow files last."""

    def rank(test: Trial) -> tuple[bool, bool, float]:
        slow = any(word in test.name for word in LAST)
        return slow, test.words.isdisjoint(functions), test.seconds

    return sorted(tests, key=rank)


def callers(sources: dict[str, dict[str, str]], function: str) -> set[str]:
    """A function and all of the project's that come to call one of that name, by the text."""
    bodies: dict[str, str] = {}
    for unit, source in sources.items():
        if unit.startswith("contracts/"):
            parts = re.split(r"\bfunction (\w+)", source["content"])
            for name, body in zip(parts[1::2], parts[2::2], strict=True):
                bodies[name] = bodies.get(name, "") + body
    found, waiting = {function}, [function]
    while waiting:
        called = re.compile(rf"\b{waiting.pop()}\(")
        new = {name for name, body in bodies.items() if called.search(body)} - found
        found |= new
        waiting += new
    return found


# ------------------------------------------------------------------------------ the run


@dataclass(frozen=True)
class Result:
    """What became of a mutant: killed, timeout, survived, equivalent (same code) or refused (by
    the compiler). `killer` is the test that failed."""

    id: str
    key: str
    status: str
    killer: str
    seconds: float


COUNTED = ("killed", "timeout", "survived")


class Campaign:
    """Mutants tried on several workers, with a journal."""

    def __init__(
        self,
        subjects: dict[str, Subject],
        mutants: list[Mutant],
        files: dict[str, list[str]],
        fresh: bool,
        workers: int,
    ) -> None:
        """`files`: the test files of each host."""
        self._subjects, self._mutants, self._workers = subjects, mutants, workers
        self._files = files
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._done: dict[str, Result] = {}
        self._journals: dict[str, Path] = {}
        for subject in subjects.values():
            journal = JOURNALS / f"{subject.host}-{self._digest(subject)}.jsonl"
            self._journals[subject.contract] = journal
            if fresh:
                journal.unlink(missing_ok=True)
            if journal.is_file():
                for line in journal.read_text().splitlines():
                    result = Result(**json.loads(line))
                    self._done[result.id] = result

    def _digest(self, subject: Subject) -> str:
        """Of what decides on a mutant: the contract, its tests, and what these use."""
        files = [ROOT / name for name in self._files[subject.host]]
        folder = ROOT / "tests" / "contracts"
        files += [file for file in folder.glob("*.py") if not file.name.startswith("test_")]
        files += (folder / "sources").glob("*.sol")
        texts = {file.name: file.read_text() for file in files}
        everything = json.dumps([MUTANT_SETTINGS, subject.sources, texts], sort_keys=True)
        return hashlib.sha256(everything.encode()).hexdigest()[:16]

    def so_far(self) -> list[Result]:
        """Of the mutants already tried, in their order."""
        return [self._done[mutant.id] for mutant in self._mutants if mutant.id in self._done]

    def run(self) -> list[Result]:
        """Try what has not been tried yet; results in the order of the mutants.

        Raises:
            MutationError: tests fail without a mutation, or cannot be run.
        """
        waiting: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
        for mutant in self._mutants:
            if mutant.id not in self._done:
                waiting.put(mutant)
        errors: list[Exception] = []
        if not waiting.empty():
            folder = JOURNALS / f"trees-{os.getpid()}"
            threads: list[threading.Thread] = []
            try:
                threads += (
                    threading.Thread(target=self._work, args=(tree, waiting, errors))
                    for tree in self._prepare(folder)
                )
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            except KeyboardInterrupt:
                self._stop.set()
                for thread in threads:
                    thread.join()
                raise
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        if errors:
            raise errors[0]
        return [self._done[mutant.id] for mutant in self._mutants]

    def _prepare(self, folder: Path) -> list[Tree]:
        """Copies of the project, and how long tests take on the contracts compiled as mutants are.

        Only what the untouched contract passes can tell anything of its mutants.
        """
        hosts = {subject.host: subject for subject in self._subjects.values()}
        first = Tree.of_project(folder / "0", self._stop)
        self._tests: dict[str, list[Trial]] = {}
        self._originals: dict[str, str] = {}
        with Compiler() as compiler:
            for host, subject in hosts.items():
                code = compiler.code(subject, subject.source)
                if code is None:
                    raise MutationError(f"{subject.host_unit} does not compile as mutants are")
                self._originals[host] = code["bytecode"]
                first.install(host, code)
        for host in hosts:
            files = self._files[host]
            _say(f"{host}: {len(files)} test files on the contract as it is")
            self._tests[host] = first.census(files)
            seconds = sum(test.seconds for test in self._tests[host])
            _say(f"{host}: {len(self._tests[host])} tests take {seconds:.0f} s")
        for host in hosts:
            first.restore(host)
        return [first, *(first.copy(folder / str(number)) for number in range(1, self._workers))]

    def _work(
        self, tree: Tree, waiting: queue.SimpleQueue[Mutant], errors: list[Exception]
    ) -> None:
        try:
            with Compiler() as compiler:
                while not self._stop.is_set():
                    try:
                        mutant = waiting.get_nowait()
                    except queue.Empty:
                        return
                    self._record(mutant, self._try(mutant, compiler, tree))
        except Exception as error:
            self._stop.set()
            errors.append(error)

    def _try(self, mutant: Mutant, compiler: Compiler, tree: Tree) -> Result:
        began = time.monotonic()
        subject = self._subjects[mutant.contract]
        status, killer = "survived", ""
        code = compiler.code(subject, mutant.apply(subject.source))
        if code is None:
            status = "refused"
        elif code["bytecode"] == self._originals[subject.host]:
            status = "equivalent"
        else:
            tree.install(subject.host, code)
            tests = self._tests[subject.host]
            limit = 60 + 4 * sum(test.seconds for test in tests)
            related = callers(subject.sources, mutant.function)
            exit_code, output = tree.kill(order_tests(tests, related), limit)
            tree.restore(subject.host)
            if exit_code is None:
                status = "timeout"
            elif exit_code == 1:
                found = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
                status, killer = "killed", found[1] if found else ""
            elif exit_code != 0:
                raise MutationError(f"pytest could not run:\n{output[-2_000:]}")
        return Result(mutant.id, mutant.key, status, killer, round(time.monotonic() - began, 1))

    def _record(self, mutant: Mutant, result: Result) -> None:
        with self._lock:
            self._done[result.id] = result
            JOURNALS.mkdir(parents=True, exist_ok=True)
            with self._journals[mutant.contract].open("a") as journal:
                journal.write(json.dumps(asdict(result)) + "\n")
            count = sum(other.id in self._done for other in self._mutants)
            _say(
                f"[{count}/{len(self._mutants)}] {result.status:<10} {result.seconds:5.1f} s  "
                f"{self._subjects[mutant.contract].unit}:{mutant.line} "
                f"{mutant.key.split(': ', 1)[1]}"
            )


def choose(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """`count` of them (all if 0) in their order, each contract by its share; by the seed."""
    if not count or count >= len(mutants):
        return mutants
    chance = random.Random(seed)  # noqa: S311  # to choose, not to hide
    chosen: set[str] = set()
    by_contract: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        by_contract.setdefault(mutant.contract, []).append(mutant)
    for group in by_contract.values():
        share = max(1, round(count * len(group) / len(mutants)))
        chosen |= {mutant.id for mutant in chance.sample(group, min(share, len(group)))}
    return [mutant for mutant in mutants if mutant.id in chosen]


# ------------------------------------------------------------------------------ report


@dataclass(frozen=True)
class Explanation:
    """Of a survivor: why it is no fault of the tests, or why it is accepted."""

    mutant: str  # its key
    equivalent: bool
    reason: str


def read_explanations() -> dict[str, Explanation]:
    if not EXPLANATIONS.is_file():
        return {}
    entries = tomllib.loads(EXPLANATIONS.read_text(encoding="utf-8")).get("survivor", [])
    return {entry["mutant"]: Explanation(**entry) for entry in entries}


def report(
    results: list[Result],
    mutants: dict[str, Mutant],
    explained: dict[str, Explanation],
    possible: dict[str, list[Mutant]],
    units: dict[str, str],
) -> dict[str, Any]:
    """Counts, survivors with their explanations, and explanations that fit nothing.

    Args:
        mutants: those tried, by id.
        possible: every mutant that could be made, by contract.
        units: the file of each contract.
    """
    survived = [result for result in results if result.status == "survived"]
    equivalent = [
        result
        for result in survived
        if result.key in explained and explained[result.key].equivalent
    ]
    counted = sum(result.status in COUNTED for result in results) - len(equivalent)
    killed = sum(result.status in {"killed", "timeout"} for result in results)
    keys = {mutant.key for group in possible.values() for mutant in group}
    gone = [key for key in explained if key.split(".")[0] in possible and key not in keys]
    dead = [result.key for result in results if result.key in explained and result not in survived]
    return {
        "tried": len(results),
        "by_status": dict(sorted(Counter(result.status for result in results).items())),
        "explained_equivalent": len(equivalent),
        "counted": counted,
        "killed": killed,
        "rate": round(killed / counted, 4) if counted else 1.0,
        "needed": NEEDED,
        "survivors": [
            {
                "id": result.id,
                "at": f"{units[mutants[result.id].contract]}:{mutants[result.id].line}",
                "mutant": result.key,
                "equivalent": result in equivalent,
                "reason": explained[result.key].reason if result.key in explained else "",
            }
            for result in survived
        ],
        "explanations_without_mutant": gone,
        "explanations_of_killed": dead,
    }


def read_guards() -> dict[str, int]:
    """The number of the invariant that a mutant breaks, by the mutant's key."""
    entries = tomllib.loads(EXPLANATIONS.read_text(encoding="utf-8")).get("guard", [])
    return {entry["mutant"]: entry["invariant"] for entry in entries}


def _print_guards(results: list[Result], guards: dict[str, int], as_json: bool) -> int:
    rows = sorted(
        ({"invariant": guards[result.key], **asdict(result)} for result in results),
        key=lambda row: row["invariant"],
    )
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{row['invariant']:>2}  {row['status']:<9} {row['seconds']:>6} s  {row['key']}")
    return 0 if all(row["status"] in {"killed", "timeout"} for row in rows) else 1


def print_report(found: dict[str, Any], diffs: dict[str, str]) -> None:
    print(
        f"{found['tried']} mutants:", ", ".join(f"{n} {s}" for s, n in found["by_status"].items())
    )
    print(
        f"{found['killed']} of {found['counted']} killed that differ from the original: "
        f"{found['rate']:.1%} (needed: {found['needed']:.0%})"
    )
    for survivor in found["survivors"]:
        print(f"\nsurvived  {survivor['at']}  {survivor['id']}  {survivor['mutant']}")
        print(diffs[survivor["id"]])
        kind = "equivalent: " if survivor["equivalent"] else ""
        print(f"  {kind}{survivor['reason'] or 'NOT EXPLAINED'}")
    for key in found["explanations_without_mutant"]:
        print(f"\nexplained, but no such mutant is made: {key}")
    for key in found["explanations_of_killed"]:
        print(f"\nexplained as a survivor, but it is none: {key}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("contracts", nargs="*", metavar="CONTRACT", help=f"of {', '.join(HOSTS)}")
    parser.add_argument("--count", type=int, default=160, help="how many (160; 0: all)")
    parser.add_argument("--seed", type=int, default=1, help="which (1)")
    parser.add_argument("--only", metavar="ID", action="append", help="only this one (repeatable)")
    parser.add_argument("--guards", action="store_true", help="break what keeps each invariant")
    parser.add_argument("--workers", type=int, default=2, help="tests run at once (2)")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--list", action="store_true", help="print the mutants; run nothing")
    parser.add_argument("--so-far", action="store_true", help="report what was tried; run nothing")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    arguments = parser.parse_args()
    names = arguments.contracts or (list(HOSTS) if arguments.guards else USUAL)
    if unknown := set(names) - set(HOSTS):
        parser.error(f"no tests are known of {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: clean up
    try:
        return _main(arguments, names)
    except (CompileError, MutationError) as error:
        print(f"mutate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mutate: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _main(arguments: argparse.Namespace, names: list[str]) -> int:
    subjects = {name: Subject.read(name) for name in names}
    with Compiler() as compiler:
        possible = {name: compiler.mutants(subject) for name, subject in subjects.items()}
    everything = [mutant for group in possible.values() for mutant in group]
    guards = read_guards()
    if arguments.guards:
        chosen = [mutant for mutant in everything if mutant.key in guards]
        if gone := set(guards) - {mutant.key for mutant in everything}:
            raise MutationError(f"guards of which no mutant is made: {', '.join(sorted(gone))}")
    elif arguments.only:
        chosen = [mutant for mutant in everything if mutant.id in arguments.only]
    else:
        chosen = choose(everything, arguments.count, arguments.seed)
    diffs = {mutant.id: mutant.diff(subjects[mutant.contract].source) for mutant in chosen}
    if arguments.list:
        if arguments.json:
            print(json.dumps([{"id": mutant.id, **asdict(mutant)} for mutant in chosen], indent=2))
        else:
            for mutant in chosen:
                unit = subjects[mutant.contract].unit
                print(f"{mutant.id}  {unit}:{mutant.line}  {mutant.key}")
            print(f"{len(chosen)} of {len(everything)} mutants")
        return 0
    used = {mutant.contract: subjects[mutant.contract] for mutant in chosen}
    hosts = {subject.host for subject in used.values()}
    files = {host: [INVARIANTS] if arguments.guards else test_files(host) for host in hosts}
    campaign = Campaign(used, chosen, files, arguments.fresh, arguments.workers)
    results = campaign.so_far() if arguments.so_far else campaign.run()
    if arguments.guards:
        return _print_guards(results, guards, arguments.json)
    mutants = {mutant.id: mutant for mutant in chosen}
    units = {name: subject.unit for name, subject in subjects.items()}
    found = report(results, mutants, read_explanations(), possible, units)
    if arguments.json:
        print(json.dumps({**found, "results": [asdict(result) for result in results]}, indent=2))
    else:
        print_report(found, diffs)
    wrong = found["explanations_without_mutant"] or found["explanations_of_killed"]
    return 1 if wrong or found["rate"] < NEEDED else 0


if __name__ == "__main__":
    sys.exit(main())
