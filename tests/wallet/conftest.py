"""One anvil with the platform's contracts for all tests of the wallet; each test has its own keys.

The command is run as people run it, as a process of its own (see `processes`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from tests.wallet.chain import (
    Bridge,
    Platform,
    Proxy,
    missing,
    running_anvil,
    running_bridge,
    running_proxy,
)
from tests.wallet.processes import run_forked
from wallet import Keystore, KeystoreSigner, Networks, Wallet

PASSWORD = "correct horse battery"
FAST_SCRYPT = 1024
WALLET = shutil.which("wallet", path=str(Path(sys.executable).parent)) or "wallet"


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    with running_anvil() as url:
        yield Platform(url)


@pytest.fixture
def rewound(platform: Platform) -> Iterator[Platform]:
    """The chain, put back as it was after the test: for pauses and travels in time."""
    snapshot = platform.web3.provider.make_request("evm_snapshot", [])["result"]
    yield platform
    platform.web3.provider.make_request("evm_revert", [snapshot])


@dataclass
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Home:
    """A wallet's folder with a key `main`, and the command run on it."""

    path: Path
    account: LocalAccount
    password_file: Path

    def add_key(self, name: str, account: LocalAccount) -> None:
        Keystore(self.path, scrypt_n=FAST_SCRYPT).create(name, bytes(account.key), PASSWORD)

    def add_network(self, manifest: dict[str, Any], rpc_url: str | None = None) -> None:
        Networks(self.path).add("plaza", manifest, rpc_url, replace=True)

    def signer(self) -> KeystoreSigner:
        return KeystoreSigner("main", lambda: PASSWORD, self.path)

    def wallet(self) -> Wallet:
        return Wallet.open("plaza", signer=self.signer(), home=self.path)

    def command(self, *arguments: str) -> list[str]:
        return [WALLET, *arguments, "--home", str(self.path)]

    def run(self, *arguments: str, **options: Any) -> Finished:
        """Run a command off a terminal."""
        environment = {**os.environ, "NO_COLOR": "1"}
        if not options:
            return Finished(*run_forked(self.command(*arguments)[1:], env=environment))
        done = subprocess.run(
            self.command(*arguments),
            stdin=options.pop("stdin", subprocess.DEVNULL),
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
            check=False,
            **options,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def confirmed(self, *arguments: str) -> Finished:
        """Run a command that signs, with everything it would ask for."""
        return self.run(*arguments, "--yes", "--password-file", str(self.password_file))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a confirmed command and do not wait for it."""
        return subprocess.Popen(
            self.command(*arguments, "--yes", "--password-file", str(self.password_file)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def make_home(platform: Platform, tmp_path: Path) -> Callable[..., Home]:
    """Make a wallet's folder whose key `main` is a funded member."""
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD + "\n")

    def make(units: int = 100_000_000, name: str = "home", rpc_url: str | None = None) -> Home:
        account = platform.member(units)
        home = Home(tmp_path / name, account, password_file)
        home.add_key("main", account)
        home.add_network(platform.manifest(), rpc_url)
        return home

    return make


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    """The keys of a home that knows no chain, quickly opened."""
    return Keystore(tmp_path / "home", scrypt_n=FAST_SCRYPT)


@pytest.fixture
def home(make_home: Callable[..., Home]) -> Home:
    return make_home()


@pytest.fixture
def bridge(platform: Platform) -> Iterator[Bridge]:
    with running_bridge(platform) as bridge:
        yield bridge


@pytest.fixture
def proxy(platform: Platform) -> Iterator[Proxy]:
    with running_proxy(platform.url) as proxy:
        yield proxy
