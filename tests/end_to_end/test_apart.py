"""The parts of a node as processes of their own, on one PostgreSQL database and one chain."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from node.chain.anvil import find_anvil
from node.chain.processes import dies_with_us
from tests import databases
from tests.end_to_end.running import PLAZA

START_SECONDS = 240
SETTLE_SECONDS = 240
COIN = 10**6

pytestmark = [pytest.mark.anvil, pytest.mark.timeout(600)]


@contextmanager
def started(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            preexec_fn=dies_with_us(),  # noqa: PLW1509
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            assert process.wait(60) in (0, -signal.SIGTERM), log.read_text()[-2000:]


def plaza(*arguments: str) -> str:
    """What the command prints; it must succeed."""
    done = subprocess.run(
        [PLAZA, *arguments], capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, condition: Callable[[], Any], seconds: float = START_SECONDS) -> Any:
    end = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except httpx.HTTPError:
            pass
        assert time.monotonic() < end, f"not within {seconds} seconds: {what}"
        time.sleep(0.1)


class Shop:
    """A merchant's back end, which asks one bridge after the other."""

    def __init__(self, urls: list[str], key: str) -> None:
        self._clients = [
            httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
            for url in urls
        ]
        self._count = 0

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        self._count += 1
        client = self._clients[self._count % len(self._clients)]
        headers = {"Idempotency-Key": f"request-{self._count}"} if method == "POST" else {}
        answer = client.request(method, path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def health(self) -> Any:
        return self._clients[0].get("/health/ready").json()

    def settled(self, path: str, status: str) -> bool:
        found = self.ask("GET", path)
        assert found["status"] in (status, "pending", "queued", "submitted"), found
        return bool(found["status"] == status)


def top_up(shop: Shop, account: Any, reference: str) -> Any:
    body = {"account": account["id"], "amount": str(10 * COIN), "reference": reference}
    return shop.ask("POST", "/v1/topups", body)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if databases.ON_POSTGRESQL:
        yield os.environ["PLAZA_DATABASE_URL"]
        return
    if databases.find_programs() is None:
        pytest.skip("no PostgreSQL programs: install Debian's package postgresql")
    url = databases.server().new_database()
    monkeypatch.setenv("PLAZA_DATABASE_URL", url)
    yield url
    databases.server().drop(url)


def test_two_bridges_and_two_workers_of_which_the_leading_one_is_killed(
    tmp_path: Path, database: str
) -> None:
    anvil = find_anvil()
    if anvil is None:
        pytest.skip("no anvil binary: run `make setup`")
    data = tmp_path / "data"
    log = tmp_path / "log"
    chain_port, ports = free_port(), (free_port(), free_port())
    rpc = f"http://127.0.0.1:{chain_port}"
    with ExitStack() as stack:
        options = ["--chain-id", "4242", "--base-fee", "0", "--gas-price", "0"]
        options += ["--disable-min-priority-fee", "--quiet"]
        options += ["--hardfork", "cancun", "--gas-limit", "500000000", "--accounts", "0"]
        stack.enter_context(started(log, str(anvil), "--port", str(chain_port), *options))
        until("the chain answers", lambda: httpx.post(rpc, json=_block_number()).is_success)
        plaza("deploy", "--data", str(data), "--chain", rpc)
        for port in ports:
            command = [PLAZA, "bridge", "--data", str(data), "--port", str(port), "--bridges", "1"]
            stack.enter_context(started(log, *command, "--log-level", "warning"))
        workers = [
            stack.enter_context(
                started(log, PLAZA, "worker", "--data", str(data), "--log-level", "info")
            )
            for _ in range(2)
        ]
        secret = plaza("api-key", "create", "--data", str(data), "--merchant", "Demo").strip()
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for url in urls:
            until(url, lambda url=url: httpx.get(f"{url}/health/live").is_success)
        shop = Shop(urls, secret)
        until("both workers are heard of", lambda: len(shop.health()["workers"]) == 2)
        leader = until("one leads", lambda: [w for w in shop.health()["workers"] if w["leads"]])
        assert len(leader) == 1

        buyers = [shop.ask("POST", "/v1/accounts", {"kinds": ["buyer"]}) for _ in range(6)]
        for buyer in buyers:
            path = f"/v1/accounts/{buyer['id']}"
            until(path, lambda path=path: shop.settled(path, "active"))
        topups = [top_up(shop, buyer, f"bank {n}") for n, buyer in enumerate(buyers)]
        for topup in topups:
            path = f"/v1/topups/{topup['id']}"
            until(path, lambda path=path: shop.settled(path, "succeeded"), SETTLE_SECONDS)
        (killed,) = (one for one in workers if f"-{one.pid}-" in leader[0]["name"])
        killed.kill()
        killed.wait()

        # Asked while nobody leads.
        transfers = [
            shop.ask(
                "POST",
                "/v1/transfers",
                {"from": payer["id"], "to": payee["id"], "amount": str(COIN)},
            )
            for payer in buyers
            for payee in buyers
            if payer is not payee
        ]
        topups = [top_up(shop, buyer, f"bank again {n}") for n, buyer in enumerate(buyers)]
        for topup in topups:
            path = f"/v1/topups/{topup['id']}"
            until(path, lambda path=path: shop.settled(path, "succeeded"), SETTLE_SECONDS)
        for transfer in transfers:
            path = f"/v1/transfers/{transfer['id']}"
            until(path, lambda path=path: shop.settled(path, "succeeded"), SETTLE_SECONDS)
        now_leads = [w["name"] for w in shop.health()["workers"] if w["leads"]]
        assert now_leads
        assert now_leads != [leader[0]["name"]]
        balances = [shop.ask("GET", f"/v1/accounts/{b['id']}/balance") for b in buyers]
        assert [balance["available"] for balance in balances] == [str(20 * COIN)] * 6

        key = tmp_path / "key"
        key.write_text(secret)
        url = urls[1]
        assert json.loads(plaza("reconcile", "--url", url, "--key-file", str(key), "--json"))["ok"]
        assert f"{now_leads[0]} leads" in plaza("status", "--url", url)


def test_a_part_without_a_deployment_is_refused(tmp_path: Path) -> None:
    for part in ("bridge", "worker"):
        refused = subprocess.run(
            [PLAZA, part, "--data", str(tmp_path / "none")],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        assert refused.returncode == 1
        assert "run `plaza deploy` first" in refused.stderr


def _block_number() -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
