"""`plaza conformance` against a node as it is started, and against ones that break a rule."""

from __future__ import annotations

import json
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from node.conformance.checks import CHECKS
from tests.end_to_end.running import PLAZA, RunningPlaza, running_plaza

CHECK_SECONDS = 240
_HOP = {"connection", "transfer-encoding", "content-length", "host", "date", "content-encoding"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlaza]:
    with running_plaza(tmp_path_factory.mktemp("node") / "data", "auto") as plaza:
        yield plaza


@pytest.fixture(scope="module")
def keys(node: RunningPlaza) -> tuple[str, str]:
    return node.api_key("Checked shop"), node.api_key("Other shop")


def check(*arguments: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [PLAZA, "conformance", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def outcomes(report: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {found["name"]: (found["outcome"], found["reason"]) for found in report["checks"]}


def test_a_node_as_it_is_started_keeps_every_rule(
    node: RunningPlaza, keys: tuple[str, str]
) -> None:
    code, report, _ = check("--target", node.bridge_url, "--key", keys[0], "--other-key", keys[1])
    assert outcomes(report) == {check.name: ("passed", None) for check in CHECKS}
    assert (code, report["failed"], report["skipped"]) == (0, 0, 0)


def test_what_a_key_may_not_do_is_skipped_with_the_reason(
    node: RunningPlaza, keys: tuple[str, str]
) -> None:
    headers = {"Authorization": f"Bearer {keys[0]}", "Idempotency-Key": uuid.uuid4().hex}
    made = httpx.post(
        f"{node.bridge_url}/v1/api_keys",
        json={"name": "reader", "scopes": ["read"]},
        headers=headers,
    )
    code, report, _ = check("--target", node.bridge_url, "--key", made.json()["secret"])
    found = outcomes(report)
    outcome, reason = found["purchase.whole-life"]
    assert (code, outcome) == (0, "skipped")
    assert "'accounts'" in (reason or "")
    assert found["http.method-not-allowed"][0] == "passed"
    assert found["ledger.conservation"] == ("skipped", "this run has moved no money")


def test_nothing_to_check_is_told_from_a_broken_rule(
    node: RunningPlaza, keys: tuple[str, str]
) -> None:
    code, _, words = check("--target", "http://127.0.0.1:9", "--key", keys[0])
    assert (code, "no bridge answers" in words) == (2, True)
    code, _, words = check("--target", node.bridge_url, "--key", "plz_" + "0" * 43)
    assert (code, "does not know a key" in words) == (2, True)
    code, _, words = check("--target", node.bridge_url, "--key", keys[0], "--only", "nonsense")
    assert (code, "no check begins" in words) == (2, True)


# ---------------------------------------------------------------------------- rules that break


def _forget_the_key(method: str, path: str, headers: dict[str, str]) -> None:
    if "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = uuid.uuid4().hex


def _no_allow(method: str, path: str, status: int, headers: dict[str, str], body: bytes) -> bytes:
    headers.pop("allow", None)
    return body


def _plain_refusals(
    method: str, path: str, status: int, headers: dict[str, str], body: bytes
) -> bytes:
    if status == 404:
        headers["content-type"] = "text/plain"
    return body


def _one_unit_more(
    method: str, path: str, status: int, headers: dict[str, str], body: bytes
) -> bytes:
    if not path.endswith("/balance"):
        return body
    balance = json.loads(body)
    balance["available"] = str(int(balance["available"]) + 1)
    return json.dumps(balance).encode()


def _never_waited(
    method: str, path: str, status: int, headers: dict[str, str], body: bytes
) -> bytes:
    headers.pop("preference-applied", None)
    return body


def _newest_first(
    method: str, path: str, status: int, headers: dict[str, str], body: bytes
) -> bytes:
    if not path.startswith("/v1/events"):
        return body
    page = json.loads(body)
    page["data"] = page["data"][::-1]
    return json.dumps(page).encode()


@pytest.mark.parametrize(
    ("before", "after", "broken"),
    [
        (_forget_the_key, None, "idempotency.same-request"),
        (_forget_the_key, None, "idempotency.other-request"),
        (None, _no_allow, "http.method-not-allowed"),
        (None, _plain_refusals, "http.not-found"),
        (None, _one_unit_more, "money.no-more-than-there-is"),
        (None, _never_waited, "wait.answers-when-settled"),
        (None, _newest_first, "events.order"),
    ],
)
def test_a_deployment_that_breaks_a_rule_is_found_out(
    node: RunningPlaza, keys: tuple[str, str], before: Any, after: Any, broken: str
) -> None:
    with breaking(node.bridge_url, before, after) as url:
        code, report, _ = check("--target", url, "--key", keys[0], "--only", broken)
    (outcome, reason), = outcomes(report).values()  # fmt: skip
    assert (code, outcome) == (1, "failed"), reason
    assert reason


def test_merchants_who_see_each_other_are_found_out(
    node: RunningPlaza, keys: tuple[str, str]
) -> None:
    def all_are_one(method: str, path: str, headers: dict[str, str]) -> None:
        headers["Authorization"] = f"Bearer {keys[0]}"

    with breaking(node.bridge_url, all_are_one, None) as url:
        arguments = ("--key", keys[0], "--other-key", keys[1], "--only", "isolation")
        code, report, _ = check("--target", url, *arguments)
    assert (code, report["failed"]) == (1, 1)


@contextmanager
def breaking(target: str, before: Any, after: Any) -> Iterator[str]:
    """The URL of a proxy that changes requests before, or answers after, the bridge."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {
                name.title(): value
                for name, value in self.headers.items()
                if name.lower() not in _HOP
            }
            if before is not None:
                before(self.command, self.path, headers)
            answer = httpx.request(
                self.command, target + self.path, headers=headers, content=content, timeout=60
            )
            body, told = answer.content, dict(answer.headers)
            if after is not None:
                path = self.path.partition("?")[0]
                body = after(self.command, path, answer.status_code, told, body)
            self.send_response(answer.status_code)
            for name, value in told.items():
                if name not in _HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _pass_on

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
