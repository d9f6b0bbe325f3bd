"""Write the generated part of the client, models.py and resources.py, from the OpenAPI document.

A test compares what is committed with what this writes, so run it whenever the API changes:

    python scripts/generate_client.py
"""

from __future__ import annotations

import argparse
import json
import keyword
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from node.bridge.app import create_app
from node.chain.deployment import Manifest
from node.chain.rpc import HttpRpc
from node.keys import SealedSeed
from node.settings import Settings
from node.store import Store

PROJECT = Path(__file__).resolve().parents[1]
CLIENT = PROJECT / "node" / "client"
REFERENCE = "#/components/schemas/"
_DIGITS = re.compile(r"\^\(?(0\|)?-?\(?(0\|)?-?\[1-9\]")  # patterns of amounts, changes and shares
_PAGE = re.compile(r"Page_(\w+?)_")
_BY_MODULE = re.compile(r"node__bridge__(\w+?)__(\w+)")  # where two modules have the same name
_HANDWRITTEN = {"ProblemDetails"}  # node.client.errors
# `events.stream` has no end: Client.follow_events reads the list instead.
_LEFT_OUT = {"events.stream"}
_OWN_HEADERS = {"Idempotency-Key", "Prefer"}

_HEAD = '''"""{title}

Written by scripts/generate_client.py from the OpenAPI document: change the bridge, not this file.
"""

from __future__ import annotations

'''


class Document:
    """The OpenAPI document, as far as the bridge's own goes: what it does not use is refused."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.schemas: dict[str, Any] = document["components"]["schemas"]
        self.operations = [
            Operation(self, path, method, route)
            for path, methods in document["paths"].items()
            for method, route in methods.items()
            if route["operationId"] not in _LEFT_OUT
        ]

    def name(self, schema_name: str) -> str:
        """What a schema is called in Python."""
        if page := _PAGE.fullmatch(schema_name):
            return f"Page[{self.name(page[1])}]"
        if by_module := _BY_MODULE.fullmatch(schema_name):
            return by_module[1].rstrip("s").capitalize() + by_module[2]
        return schema_name

    def type_of(self, schema: dict[str, Any], *, is_open: bool) -> str:  # noqa: PLR0911
        """The Python type of a schema; an open one takes words that it does not list."""
        if "$ref" in schema:
            return self.name(schema["$ref"].removeprefix(REFERENCE))
        if "anyOf" in schema:
            return " | ".join(self.type_of(part, is_open=is_open) for part in schema["anyOf"])
        words = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
        if words:
            literal = f"Literal[{', '.join(json.dumps(word) for word in words)}]"
            return f"Annotated[{literal}, SkipValidation]" if is_open else literal
        kind = schema.get("type")
        if kind == "string":
            if schema.get("format") == "date-time":
                return "Time"
            return "Amount" if _DIGITS.match(schema.get("pattern", "")) else "str"
        if kind == "array":
            return f"list[{self.type_of(schema['items'], is_open=is_open)}]"
        if kind == "object" and "properties" not in schema:
            more = schema.get("additionalProperties", True)
            inner = "Any" if more is True else self.type_of(more, is_open=is_open)
            return f"dict[str, {inner}]"
        simple = {"integer": "int", "boolean": "bool", "number": "float", "null": "None"}
        if kind in simple:
            return simple[kind]
        raise SystemExit(f"no Python type for {json.dumps(schema)[:300]}")

    def reached(self, roots: list[dict[str, Any]]) -> set[str]:
        """Names of all schemas that these refer to, directly or not."""
        found: set[str] = set()
        waiting = list(_references(roots))
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += _references(self.schemas[name])
        return found


class Operation:
    """One operation of the document, in the words of the client."""

    def __init__(self, document: Document, path: str, method: str, route: dict[str, Any]) -> None:
        self.path, self.method, self.route = path, method.upper(), route
        self.resource, _, action = route["operationId"].partition(".")
        self.action = f"{action}_" if keyword.iskeyword(action) else action
        parameters = route.get("parameters", [])
        self.in_path = [p["name"] for p in parameters if p["in"] == "path"]
        self.in_query = [p for p in parameters if p["in"] == "query"]
        headers = {p["name"] for p in parameters if p["in"] == "header"}
        self.takes_key = "Idempotency-Key" in headers
        self.takes_wait = "Prefer" in headers and "202" in route["responses"]
        self.body = (
            route.get("requestBody", {})
            .get("content", {})
            .get("application/json", {})
            .get("schema")
        )
        status = min(status for status in route["responses"] if status.startswith("2"))
        content = route["responses"][status]["content"]
        self.answer: dict[str, Any] | None = content.get("application/json", {}).get("schema")
        media_type = next(iter(content))
        if self.answer is not None:
            self.shape = document.type_of(self.answer, is_open=True)
        else:
            self.shape = "str" if media_type.startswith("text/") else "bytes"
        self.document = document

    def is_list(self) -> bool:
        return self.shape.startswith("Page[")

    def signature(self) -> list[str]:
        """The parameters of its method, after `self`."""
        words = [f"{name}: str" for name in self.in_path]
        if self.body is not None:
            kind = self.document.type_of(self.body, is_open=False)
            if not self.route["requestBody"].get("required", False) and "None" not in kind:
                kind += " | None"
            words.append(f"body: {kind}" + (" = None" if kind.endswith("None") else ""))
        named = []
        for parameter in self.in_query:
            kind = self.document.type_of(parameter["schema"], is_open=False)
            required = parameter.get("required", False)
            optional = kind if "None" in kind else f"{kind} | None"
            named.append(
                f"{_python(parameter['name'])}: {kind if required else f'{optional} = None'}"
            )
        if self.takes_key:
            named.append("key: str | None = None")
        if self.takes_wait:
            named.append("wait: int | None = None")
        return [*words, "*", *named] if named else words

    def call(self, *, of_all: bool = False) -> str:
        """The expression that makes its Call."""
        path = re.sub(r"{(\w+)}", r"{segment(\1)}", self.path)
        words = [f'"{self.method}"', f'f"{path}"' if self.in_path else f'"{path}"', self.shape]
        if self.body is not None:
            words.append("body=body")
        query = [
            f'"{p["name"]}": {_python(p["name"])}'
            for p in self.in_query
            if not (of_all and p["name"] in ("limit", "cursor"))
        ]
        query += ['"limit": MOST'] if of_all else []
        if query:
            words.append(f"query={{{', '.join(query)}}}")
        if self.takes_key:
            words.append("key=key or new_key()")
        if self.takes_wait:
            words.append("wait=wait")
        return f"Call({', '.join(words)})"


def write_models(document: Document) -> str:
    """The module of all bodies and answers."""
    asked = document.reached(
        [o.body for o in document.operations if o.body is not None]
        + [parameter["schema"] for o in document.operations for parameter in o.in_query]
    )
    answered = document.reached([o.answer for o in document.operations if o.answer is not None])
    lines = [
        _HEAD.format(title="What is asked, and what is answered."),
        "from typing import Annotated, Any, Literal\n\n",
        "from pydantic import Field, SkipValidation\n\n",
        "from node.client.values import Amount, Answer, Page, Request, Time\n\n",
    ]
    for name in sorted(document.schemas):
        if name in _HANDWRITTEN or _PAGE.fullmatch(name):
            continue
        if name not in asked | answered:
            raise SystemExit(f"no operation takes or gives {name}")
        schema = document.schemas[name]
        if "enum" in schema:
            words = ", ".join(json.dumps(word) for word in schema["enum"])
            literal = f"Literal[{words}]"
            is_open = name in answered
            value = f"Annotated[{literal}, SkipValidation]" if is_open else literal
            lines.append(f"{document.name(name)} = {value}\n")
            continue
        is_answer = name in answered
        base = "Answer" if is_answer else "Request"
        lines.append(f"\n\nclass {document.name(name)}({base}):\n")
        lines += _docstring(document.name(name), schema)
        lines += [f"    {line}\n" for line in _fields(document, schema, is_answer)]
        lines.append("\n")
    return "".join(lines)


def _fields(document: Document, schema: dict[str, Any], is_answer: bool) -> Iterator[str]:
    required = schema.get("required", [])
    if not schema["properties"]:
        yield "pass"
    for name, of_field in sorted(
        schema["properties"].items(), key=lambda item: item[0] not in required
    ):
        kind = document.type_of(of_field, is_open=is_answer)
        options = []
        if name != _python(name):  # not `alias`, which type checkers take for the parameter's name
            options = [f'validation_alias="{name}"', f'serialization_alias="{name}"']
        if name not in required:
            default = of_field.get("default")
            if isinstance(default, dict | list):
                options.append(f"default_factory={type(default).__name__}")
            else:
                if default is None and "None" not in kind:
                    kind += " | None"
                options.insert(0, f"default={_literal(default, kind)}")
        yield f"{_python(name)}: {kind}" + (f" = Field({', '.join(options)})" if options else "")


def _literal(value: Any, kind: str) -> str:
    if kind.startswith("Amount") and isinstance(value, str):
        return value
    return repr(value) if not isinstance(value, str) else json.dumps(value)


def _docstring(name: str, schema: dict[str, Any]) -> list[str]:
    about = " ".join(schema.get("description", "").split()) or _spaced(name)
    told = {
        _python(name): " ".join(part["description"].split())
        for name, part in schema["properties"].items()
        if "description" in part
    }
    lines = textwrap.wrap(about, 88)
    if told:
        lines += ["", "Attributes:"]
        for field, words in told.items():
            lines += textwrap.wrap(
                f"{field}: {words}", 88, initial_indent="    ", subsequent_indent="        "
            )
    text = "\n".join(f"    {line}".rstrip() for line in lines).lstrip()
    ending = "\n    " if len(lines) > 1 else ""
    return [f'    r"""{text}{ending}"""\n\n' if "\\" in text else f'    """{text}{ending}"""\n\n']


def write_resources(document: Document) -> str:
    """The module of all operations, blocking and for asyncio."""
    by_resource: dict[str, list[Operation]] = {}
    for operation in document.operations:
        by_resource.setdefault(operation.resource, []).append(operation)
    names = sorted(
        {
            word
            for operation in document.operations
            for word in re.findall(r"[A-Z]\w+", " ".join([operation.shape, *operation.signature()]))
            if word in {document.name(name) for name in document.schemas}
        }
    )
    lines = [
        _HEAD.format(title="The bridge's operations, by resource."),
        "from collections.abc import AsyncIterator, Iterator\n",
        "from typing import Literal, Protocol, TypeVar\n\n",
        "from node.client.calls import Call, new_key, segment\n",
        f"from node.client.models import {', '.join(names)}\n",
        "from node.client.values import Answer, Page, Time\n\n",
        _SENDERS,
    ]
    for prefix in ("", "Async"):
        for resource, operations in by_resource.items():
            lines.append(f"\n\nclass {prefix}{_camel(resource)}Api:\n")
            lines.append(f"    def __init__(self, sender: {prefix}Sender) -> None:\n")
            lines.append("        self._sender = sender\n")
            for operation in operations:
                lines += _method(operation, prefix)
                if operation.is_list():
                    lines += _iterator(operation, prefix)
        lines.append(f"\n\nclass {prefix}Resources:\n")
        lines.append(f'    """All of them, for {prefix or "blocking"} clients."""\n\n')
        lines.append(f"    def __init__(self: {prefix}Sender) -> None:\n")
        lines.pop()
        lines.append("    def __init__(self) -> None:\n")
        lines.append(f"        sender = cast({prefix}Sender, self)\n")
        for resource in by_resource:
            lines.append(f"        self.{resource} = {prefix}{_camel(resource)}Api(sender)\n")
    text = "".join(lines)
    return text.replace("Literal, Protocol, TypeVar", "Literal, Protocol, TypeVar, cast")


def _method(operation: Operation, prefix: str) -> list[str]:
    parameters = ", ".join(["self", *operation.signature()])
    about = _first_words(operation)
    start, hold = ("async def", "await ") if prefix else ("def", "")
    return [
        f"\n    {start} {operation.action}({parameters}) -> {operation.shape}:\n",
        f'        """{about}"""\n',
        f"        return {hold}self._sender.send({operation.call()})\n",
    ]


def _iterator(operation: Operation, prefix: str) -> list[str]:
    words = [w for w in operation.signature() if w.partition(":")[0] not in ("limit", "cursor")]
    if words[-1:] == ["*"]:
        words.pop()
    name = "all" if operation.action == "list" else f"all_{operation.action}"
    item = operation.shape.removeprefix("Page[").removesuffix("]")
    return [
        f"\n    def {name}({', '.join(['self', *words])}) -> {prefix}Iterator[{item}]:\n",
        '        """The same, through all pages."""\n',
        f"        return {'async_' if prefix else ''}pages"
        f"(self._sender, {operation.call(of_all=True)})\n",
    ]


def _first_words(operation: Operation) -> str:
    words = " ".join(operation.route.get("description", operation.route["summary"]).split())
    first = words.split(". ")[0].rstrip(".") + "."
    return textwrap.shorten(first, 84, placeholder=" …")


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            if key == "$ref":
                yield part.removeprefix(REFERENCE)
            elif key not in ("examples", "example"):
                yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


def _python(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: f" {found[1].lower()}", name) + "."


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


_SENDERS = """
MOST = 100  # of a page
Shape = TypeVar("Shape")
Item = TypeVar("Item", bound=Answer)


class Sender(Protocol):
    def send(self, call: Call[Shape]) -> Shape: ...


class AsyncSender(Protocol):
    async def send(self, call: Call[Shape]) -> Shape: ...


def pages(sender: Sender, call: Call[Page[Item]]) -> Iterator[Item]:
    while True:
        page = sender.send(call)
        yield from page.data
        if not page.has_more:
            return
        call = call.after(page.next_cursor)


async def async_pages(sender: AsyncSender, call: Call[Page[Item]]) -> AsyncIterator[Item]:
    while True:
        page = await sender.send(call)
        for item in page.data:
            yield item
        if not page.has_more:
            return
        call = call.after(page.next_cursor)
"""


def generate(openapi: dict[str, Any]) -> dict[str, str]:
    """Return the text of each generated file by its name."""
    document = Document(openapi)
    return {
        "models.py": _format(write_models(document)),
        "resources.py": _format(write_resources(document)),
    }


def _format(text: str) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    name = ["--stdin-filename", "node/client/generated.py"]
    for arguments in (
        [
            "check",
            "--select",
            "F401,I001",
            "--fix",
            "--quiet",
            "--stdin-filename",
            "node/client/x.py",
        ],
        ["format", *name],
    ):
        done = subprocess.run(
            [*ruff, *arguments, "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=PROJECT,
        )
        text = done.stdout
    return text


def describe_bridge() -> dict[str, Any]:
    """The document of this checkout's bridge, which needs neither chain nor database for that."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder))
        store = Store(f"sqlite:///{folder}/plaza.db")
        try:
            rpc = HttpRpc("http://127.0.0.1:9")
            seed = SealedSeed(b"\x05" * 32)
            app = create_app(settings, store, Manifest.model_construct(), seed, rpc)
            return app.openapi()
        finally:
            store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit 1 where a file is not current")
    arguments = parser.parse_args()
    stale = []
    for name, text in generate(describe_bridge()).items():
        path = CLIENT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not arguments.check:
                path.write_text(text, encoding="utf-8")
    print("stale: " + ", ".join(stale) if stale else "current")
    sys.exit(1 if stale and arguments.check else 0)


if __name__ == "__main__":
    main()
