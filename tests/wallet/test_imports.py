"""What commands load: reading ones stay light, and the wallet stands alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.wallet.chain import Bridge, Platform
from tests.wallet.conftest import Home
from wallet.contacts import Contact, Contacts
from wallet.testing import MemorySigner

HEAVY = {"web3", "eth_account", "eth_keys", "eth_keyfile", "eth_abi", "pydantic", "rich", "httpx"}
REPORT = (
    "import sys; from wallet.cli import main; code = main(sys.argv[1:]); "
    "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr); sys.exit(code)"
)


def loaded_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


def wallet_modules(*arguments: str) -> set[str]:
    """The wallet's own modules that a command loads."""
    report = REPORT.replace("name.split('.')[0] for name", "name for name")
    done = subprocess.run(
        [sys.executable, "-c", report, *arguments], capture_output=True, text=True, check=True
    )
    names = done.stderr.splitlines()[-1].split()
    return {name.removeprefix("wallet.") for name in names if name.startswith("wallet.")}


def test_help_loads_nothing_but_the_command_line() -> None:
    loaded = loaded_by("--help")
    assert not loaded & (HEAVY | {"node", "Crypto", "http", "sqlite3", "contracts"})
    # What the help of everything takes: errors are said in it, and no command's module is there.
    assert wallet_modules("--help") <= {
        *("addresses", "amounts", "errors", "files", "cli", "cli.names", "cli.options"),
    }


@pytest.mark.parametrize(
    "command",
    [
        ["balance"],
        ["key", "list"],
        ["key", "show"],
        ["contact", "list"],
        ["contact", "show", "bob"],
        ["request", "5", "--to", "bob"],
        ["network", "list"],
        ["network", "show"],
        ["config", "list"],
        ["history"],
        ["credit", "list"],
        ["credit", "statement"],
    ],
)
def test_reading_commands_load_the_standard_library(
    platform: Platform, home: Home, command: list[str]
) -> None:
    Contacts(home.path).add(Contact("bob", platform.fee_receiver))
    loaded = loaded_by(*command, "--home", str(home.path))
    assert not loaded & (HEAVY | {"node", "coincurve", "filelock", "segno"})
    assert not loaded & {"asyncio", "tomlkit"}
    if command == ["balance"]:
        assert not loaded & {"Crypto", "contracts", "platformdirs", "sqlite3"}
        assert not wallet_modules(*command, "--home", str(home.path)) & {
            "client",
            "plans",
            "keyrings",
        }
    if command[0] in ("key", "network"):
        assert not loaded & {"http", "ssl", "sqlite3"}


def test_a_request_is_read_and_checked_without_a_signer(
    platform: Platform, home: Home, bridge: Bridge
) -> None:
    home.add_network(bridge.manifest)
    request = platform.payment_request(platform.member().address)
    bridge.requests[request["id"]] = request
    for command in (
        ["qr", "parse", request["uri"]],
        ["pay", request["uri"], "--dry-run"],
        ["pay", request["id"], "--dry-run"],
    ):
        loaded = loaded_by(*command, "--home", str(home.path))
        assert not loaded & (HEAVY | {"node", "coincurve", "filelock", "segno"})


def test_verifying_loads_no_signer(tmp_path: Path) -> None:
    signer = MemorySigner()
    signature = "0x" + signer.sign_message(b"order 8841").hex()
    loaded = loaded_by("verify", signature, "--message", "order 8841", "--home", str(tmp_path))
    assert not loaded & (HEAVY | {"node", "keyring"})


def test_a_dry_run_loads_no_signer(platform: Platform, home: Home) -> None:
    to = platform.member().address
    loaded = loaded_by("send", to, "1", "--dry-run", "--home", str(home.path))
    assert not loaded & (HEAVY | {"node"})


def test_the_library_is_used_without_the_command() -> None:
    code = "import wallet, sys; wallet.Wallet, wallet.Coin; assert 'click' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
