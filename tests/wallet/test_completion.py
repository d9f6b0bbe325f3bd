"""wallet completion: Tab in real shells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wallet.conftest import PASSWORD, WALLET
from tests.wallet.test_network import MANIFEST
from tests.wallet.test_terminal import terminal
from wallet import Keystore, Networks
from wallet.contacts import Contact, Contacts


@pytest.fixture
def home(keystore: Keystore, tmp_path: Path) -> Path:
    """A folder with keys and networks, and no chain anywhere."""
    for number, name in enumerate(("main", "market", "savings"), 1):
        keystore.create(name, bytes([number]) * 32, PASSWORD)
    for name in ("plaza", "plateau"):
        Networks(tmp_path / "home").add(name, MANIFEST)
    Contacts(tmp_path / "home").add(Contact("samuel", "0x" + "11" * 20))
    return tmp_path / "home"


def completions(line: str, home: Path | None = None, path: str | None = None) -> list[str]:
    """What bash's function would offer for the last word of a line, and that nothing is said."""
    words = line.split(" ")
    if home is not None:
        words[1:1] = ["--home", str(home)]
    done = subprocess.run(
        [WALLET],
        env={
            **os.environ,
            "_WALLET_COMPLETE": "bash_complete",
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return [reply.partition(",")[2] for reply in done.stdout.split()]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("wallet bal", ["balance"]),
        ("wallet co", ["contact", "config", "completion"]),
        ("wallet key v", ["verify-backup"]),
        ("wallet --key ", ["main", "market", "savings"]),
        ("wallet --key ma", ["main", "market"]),
        ("wallet balance --key sa", ["savings"]),
        ("wallet --network pla", ["plateau", "plaza"]),
        ("wallet key use m", ["main", "market"]),
        ("wallet key show s", ["savings"]),
        ("wallet key rm s", ["savings"]),
        ("wallet key export s", ["savings"]),
        ("wallet key passwd s", ["savings"]),
        ("wallet key verify-backup s", ["savings"]),
        ("wallet key new m", []),
        ("wallet network use plaz", ["plaza"]),
        ("wallet network show plaz", ["plaza"]),
        ("wallet network check plaz", ["plaza"]),
        ("wallet network rm plaz", ["plaza"]),
        ("wallet send sa", ["savings", "samuel"]),
        ("wallet send savings ", []),
        ("wallet balance main sa", ["savings", "samuel"]),
        ("wallet history --with sa", ["savings", "samuel"]),
        ("wallet credit repay --for sa", ["savings", "samuel"]),
        ("wallet verify --by sa", ["savings", "samuel"]),
        ("wallet tx build send sa", ["savings", "samuel"]),
        ("wallet request 5 --to sa", ["savings", "samuel"]),
        ("wallet qr show sa", ["savings", "samuel"]),
        ("wallet contact show s", ["samuel"]),
        ("wallet contact rename s", ["samuel"]),
        ("wallet contact rm s", ["samuel"]),
        ("wallet contact add s", []),
        ("wallet config set t", ["timeout"]),
        ("wallet config get ", ["key", "network", "timeout"]),
        ("wallet completion ", ["bash", "zsh", "fish"]),
        ("wallet --key nobody", []),
    ],
)
def test_commands_and_names_are_completed(home: Path, line: str, offered: list[str]) -> None:
    assert completions(line, home) == offered


def test_flags_are_completed(home: Path) -> None:
    assert set(completions("wallet send --allow", home)) == {
        "--allow-new-recipient",
        "--allow-unusual-recipient",
    }
    assert "--key" in completions("wallet --", home)


def test_all_verbs_are_offered(home: Path) -> None:
    help_text = subprocess.check_output([WALLET, "--help"], text=True)
    listed = re.findall(r"^  ([a-z]+)  ", help_text.partition("Commands:")[2], re.MULTILINE)
    assert completions("wallet ", home) == listed


@pytest.mark.parametrize(
    "line",
    ["wallet --key ", "wallet network use ", "wallet send ", "wallet 'unclosed"],
)
def test_errors_are_never_shown(tmp_path: Path, line: str) -> None:
    assert completions(line, tmp_path / "none") == []
    broken = tmp_path / "broken"
    broken.write_text("a file, not a folder")
    assert completions(line, broken) == []


@pytest.mark.parametrize("line", ["wallet \\", "wallet nothing ", "wallet --nothing "])
def test_what_is_no_command_is_not_complained_of(tmp_path: Path, line: str) -> None:
    completions(line, tmp_path)


@pytest.mark.parametrize("lost", ["COMP_WORDS", "COMP_CWORD"])
def test_a_shell_that_says_nothing_gets_nothing(lost: str) -> None:
    given = {"COMP_WORDS": "wallet", "COMP_CWORD": "x"}
    del given[lost]
    environment = {**os.environ, "_WALLET_COMPLETE": "bash_complete", **given}
    done = subprocess.run(
        [WALLET], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_completing_names_loads_nothing_heavy(home: Path) -> None:
    code = (
        "import sys; from wallet.cli import main; main(); "
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    environment = {
        **os.environ,
        "_WALLET_COMPLETE": "bash_complete",
        "COMP_WORDS": f"wallet\n--home\n{home}\n--key\n",
        "COMP_CWORD": "4",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["plain,main", "plain,market", "plain,savings"]
    loaded = set(done.stderr.split())
    assert not loaded & {"eth_account", "eth_keys", "sqlite3", "http", "tomlkit", "Crypto", "rich"}


# ----------------------------------------------------------------------------- shells


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_for_the_shell(shell: str) -> None:
    done = subprocess.run(
        [WALLET, "completion", shell], capture_output=True, text=True, check=True, timeout=60
    )
    assert (f"_WALLET_COMPLETE={shell}_complete" in done.stdout, done.stderr) == (True, "")
    as_json = subprocess.check_output([WALLET, "completion", shell, "--json"], text=True)
    assert '"shell": "' + shell in as_json
    installed = shutil.which(shell)
    if installed is None:
        pytest.skip(f"{shell} is not installed: its script is made by click, and not run here")
    subprocess.run([installed, "-n"], input=done.stdout, text=True, check=True)


def test_another_shell_is_refused() -> None:
    done = subprocess.run(
        [WALLET, "completion", "tcsh"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.stderr) == (
        2,
        True,
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_tab_in_bash(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "completion.bash"
    script.write_bytes(subprocess.check_output([WALLET, "completion", "bash"]))
    monkeypatch.setenv("PATH", f"{Path(WALLET).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PS1", "ready> ")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    home.rename(tmp_path / "data" / "plaza-wallet")
    bash = str(shutil.which("bash"))
    with terminal(bash, "--norc", "--noprofile", "-i") as screen:
        screen.type(f"bind 'set bell-style none'; PS1='ready> '; source {script}")
        screen.expect("ready> $")
        screen.press(b"wallet key \t\t")
        for verb in ("export", "import", "list", "new", "passwd", "rm", "show", "use"):
            assert verb in offered(screen, verb)
        screen.press(b"\x15wallet --key \t\t")
        screen.expect("main +market +savings")
        screen.press(b"\x15wallet key show sav\t")
        screen.expect("wallet key show savings")
        screen.press(b"\x15wallet network use plaz\t\n")
        screen.expect("wallet network use plaza")
        screen.expect("Network  plaza")
        screen.press(b"\x15exit\n")
        assert screen.exit_code() == 0
        assert "Traceback" not in screen.screen


def offered(screen: object, verb: str) -> str:
    """Wait for a verb on the screen of bash's proposals; returns the screen."""
    from tests.wallet.test_terminal import Terminal

    assert isinstance(screen, Terminal)
    while verb not in screen.screen.partition("wallet key ")[2]:
        assert screen._read(), screen.screen
    return screen.screen
