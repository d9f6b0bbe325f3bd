"""wallet config: what is kept, where, and what a file may never say."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.wallet.chain import Platform, Proxy, lose
from tests.wallet.conftest import PASSWORD, Home
from tests.wallet.processes import run_forked
from tests.wallet.test_network import MANIFEST
from wallet import Keystore, Networks
from wallet.config import Config
from wallet.errors import InvalidInput, UnknownName


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "home")


def written(config: Config, text: str | bytes) -> Config:
    config.path.parent.mkdir(exist_ok=True)
    config.path.write_bytes(text.encode() if isinstance(text, str) else text)
    return config


def run(config: Config, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = ["config", *arguments, "--home", str(config.path.parent)]
    code, out, err = run_forked(words)
    return subprocess.CompletedProcess(words, code, out, err)


def refused(config: Config, *arguments: str) -> tuple[int, str]:
    done = run(config, *arguments, "--json")
    message = json.loads(done.stdout)["error"]["message"]
    assert done.stderr == f"wallet: {message}\n"
    return done.returncode, message


# --------------------------------------------------------------------------- setting


def test_nothing_set_is_the_defaults(config: Config) -> None:
    found = {setting.name: (setting.value, setting.is_default) for setting in config.all()}
    assert found == {"key": (None, True), "network": (None, True), "timeout": (30, True)}
    assert not config.path.parent.exists(), "looking makes nothing"


def test_what_is_set_is_got_and_unset(config: Config) -> None:
    assert config.set("timeout", "2.5").value == 2.5
    assert (config.timeout(), config.get("timeout").is_default) == (2.5, False)
    assert config.unset("timeout").value == 30
    assert config.unset("timeout").is_default, "twice is once"
    assert config.read() == {}


def test_the_file_is_for_its_owner_alone(config: Config) -> None:
    old = os.umask(0)
    try:
        config.set("timeout", "60")
    finally:
        os.umask(old)
    assert stat.S_IMODE(config.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.path.parent.stat().st_mode) == 0o700
    assert list(config.path.parent.iterdir()) == [config.path], "no temporary file stays"


def test_comments_and_order_survive(config: Config) -> None:
    text = "# mine\n\n# as slow as the office's line\n'timeout' = 45 # seconds\n# end\n"
    written(config, text)
    config.set("timeout", "60")
    assert config.path.read_text() == text.replace("45", "60")
    config.unset("timeout")
    assert "# mine" in config.path.read_text()
    assert "# end" in config.path.read_text()


def test_a_crash_while_it_is_replaced_leaves_the_old_file(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.set("timeout", "60")

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        config.set("timeout", "61")
    assert config.timeout() == 60
    assert list(config.path.parent.iterdir()) == [config.path]


def test_readers_see_one_value_or_the_other_while_it_changes(config: Config) -> None:
    config.set("timeout", "1")
    seen, over = set[float](), threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.add(config.timeout())

    reader = threading.Thread(target=read)
    reader.start()
    for value in ("2", "1") * 20:
        config.set("timeout", value)
    over.set()
    reader.join()
    assert seen <= {1, 2}


def test_a_link_is_not_replaced(config: Config, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("timeout = 5\n")
    config.path.parent.mkdir()
    config.path.symlink_to(tmp_path / "mine.toml")
    with pytest.raises(InvalidInput, match=r"is a link: change .*mine\.toml by hand"):
        config.set("timeout", "6")
    assert config.timeout() == 5


# ------------------------------------------------------------ the one place of each


def test_key_and_network_are_the_ones_of_use(config: Config, keystore: Keystore) -> None:
    home = config.path.parent
    for number, name in enumerate(("main", "shop"), 1):
        keystore.create(name, bytes([number]) * 32, PASSWORD)
        Networks(home).add(name, MANIFEST)
    config.set("key", "shop")
    config.set("network", "shop")
    assert (keystore.chosen(), Networks(home).chosen()) == ("shop", "shop")
    keystore.use("main")
    Networks(home).use("main")
    assert (config.get("key").value, config.get("network").value) == ("main", "main")
    assert not config.path.exists(), "neither is kept twice"
    config.unset("key")
    config.unset("network")
    assert (keystore.chosen(), Networks(home).chosen()) == (None, None)
    with pytest.raises(UnknownName, match="no default network: name one of main, shop"):
        Networks(home).get()
    with pytest.raises(UnknownName, match="no default key: name one of main, shop"):
        keystore.get()


@pytest.mark.parametrize("name", ["key", "network"])
def test_what_is_not_there_cannot_be_the_default(config: Config, name: str) -> None:
    with pytest.raises(UnknownName, match=f"no {name} 'nobody'"):
        config.set(name, "nobody")
    assert config.get(name).value is None


# -------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timeout = = 3\n", r"line 1, column 11: Invalid value"),
        ("\n\ntimeout 3\n", r"line 3, column 9: Expected '=' after a key"),
        ("timeout = 3\ntimeout = 4\n", r"line 2, column 12: Cannot overwrite a value"),
        ("timeout = [", r"line 1, column 12: Invalid value"),
        (b"# caf\xe9\n", r"line 1, column 6: not UTF-8 text"),
        ("timeout = " + "9" * 5_000, "line 1, column 5011: "),
        ("# of mine\ntimeout = '30'\n", r"line 2, column 1: timeout is '30', not a number of sec"),
        ("timeout = true\n", r"line 1, column 1: timeout is True, not a number of seconds from 0"),
        ("timeout = -1\n", r"timeout is -1, not a number"),
        ("timeout = nan\n", r"timeout is nan, not a number"),
        ("timeout = inf\n", r"timeout is inf, not a number"),
        ("  timeuot = 3\n", r"line 1, column 3: there is no setting 'timeuot': did you mean 'time"),
        ("[send]\nx = 1\n", r"line 1, column 2: there is no setting 'send'"),
        ("colour = 1\n", r"there is no setting 'colour': there are key, network, timeout"),
        ("key = 'main'\n", r"line 1, column 1: the default key is chosen with `wallet key use`"),
        ("yes = true\n", r"'yes' cannot be set: a confirmation is answered each time"),
        ("allow-new-recipient = true\n", r"a confirmation is answered each time, never by a file"),
        ("without_backup = true\n", r"a confirmation is answered each time, never by a file"),
        ("password = 'x'\n", r"'password' cannot be set: this file never holds a secret"),
        ("password_file = 'x'\n", r"this file never holds a secret"),
        ("new-password-file = 'x'\n", r"this file never holds a secret"),
        ("private-key = 'x'\n", r"this file never holds a secret"),
    ],
)
def test_a_file_broken_by_hand_is_refused_where_it_is_broken(
    config: Config, text: str | bytes, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message) as refusal:
        written(config, text).read()
    assert str(config.path) in str(refusal.value)
    before = config.path.read_bytes()
    for change in (lambda: config.set("timeout", "5"), lambda: config.unset("timeout")):
        with pytest.raises(InvalidInput, match=message):
            change()
    assert config.path.read_bytes() == before


@pytest.mark.parametrize(
    "value", ["", "1m", "-1", "1e3", "nan", "inf", "86401", "0x10", "1,5", "\u0661"]
)
def test_what_is_no_timeout_is_refused(config: Config, value: str) -> None:
    with pytest.raises(InvalidInput, match="not a number of seconds from 0 to 86400"):
        config.set("timeout", value)
    assert not config.path.exists()


@pytest.mark.parametrize(
    "name", ["yes", "Yes", "allow_new_recipient", "allow-undecoded", "with-unfinished"]
)
def test_no_setting_answers_a_confirmation(config: Config, name: str) -> None:
    code, message = refused(config, "set", name, "true")
    assert code == 1
    assert message == (
        f"{name!r} cannot be set: a confirmation is answered each time, never by a file"
    )
    assert not config.path.exists()


@pytest.mark.parametrize("name", ["password", "password-file", "mnemonic", "private_key"])
def test_no_setting_holds_a_secret(config: Config, name: str) -> None:
    code, message = refused(config, "set", name, "x")
    assert (code, message) == (1, f"{name!r} cannot be set: this file never holds a secret")
    assert not config.path.exists()


@pytest.mark.parametrize("verb", [("get",), ("set",), ("unset",)])
def test_an_unknown_setting_is_refused_with_the_closest(
    config: Config, verb: tuple[str, ...]
) -> None:
    value = ("5",) if verb == ("set",) else ()
    code, message = refused(config, *verb, "timout", *value)
    assert (code, message) == (1, "there is no setting 'timout': did you mean 'timeout'?")


# ------------------------------------------------------------------------ the command


def test_the_commands_show_what_they_did(config: Config) -> None:
    assert run(config, "set", "timeout", "60").stdout == "timeout  60\n"
    assert run(config, "get", "timeout").stdout == "60\n"
    assert run(config, "list").stdout == "key      -\nnetwork  -\ntimeout  60\n"
    assert run(config, "unset", "timeout").stdout == "timeout  30\n"
    assert run(config, "list").stdout.endswith("timeout  30  (default)\n")
    assert run(config, "path").stdout == f"{config.path}\n"


def test_the_commands_answer_in_json(config: Config) -> None:
    answers: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (("set", "timeout", "2.5"), {"name": "timeout", "value": 2.5, "default": False}),
        (("get", "timeout"), {"name": "timeout", "value": 2.5, "default": False}),
        (("unset", "timeout"), {"name": "timeout", "value": 30, "default": True}),
        (("path",), {"path": str(config.path), "exists": True}),
    ]
    for arguments, answer in answers:
        done = run(config, *arguments, "--json")
        assert (done.returncode, done.stderr, json.loads(done.stdout)) == (0, "", answer)
    listed = json.loads(run(config, "list", "--json").stdout)
    assert listed["path"] == str(config.path)
    assert [setting["name"] for setting in listed["settings"]] == ["key", "network", "timeout"]


def test_what_has_no_value_is_an_error_to_get(config: Config) -> None:
    code, message = refused(config, "get", "network")
    assert (code, message) == (
        1,
        "no default network is set: `wallet network use NAME` sets it",
    )


def test_reading_loads_no_writer(config: Config) -> None:
    config.set("timeout", "60")
    code = (
        "import sys; from wallet.cli import main; main(sys.argv[1:]); "
        "print(*(name for name in ('tomlkit', 'tomllib') if name in sys.modules), file=sys.stderr)"
    )
    for arguments, loaded in ((["config", "list"], "tomllib"), (["key", "list"], "")):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--home", str(config.path.parent)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr.strip() == loaded


# ------------------------------------------------------------------------ what it does


def test_the_timeout_is_how_long_commands_wait(
    platform: Platform, make_home: Any, proxy: Proxy
) -> None:
    home: Home = make_home(rpc_url=proxy.url)
    proxy.before["eth_sendRawTransaction"] = lose
    to = platform.member().address
    pay = ("send", to, "1", "--allow-new-recipient", "--json")
    Config(home.path).set("timeout", "0")
    done = home.confirmed(*pay)
    assert (done.code, done.json["status"]) == (8, "pending")
    del proxy.before["eth_sendRawTransaction"]
    assert home.confirmed(*pay, "--timeout", "30").json["status"] == "confirmed"


def test_a_broken_file_sends_nothing(platform: Platform, home: Home) -> None:
    written(Config(home.path), "yes = true\n")
    done = home.confirmed("send", platform.fee_receiver, "1", "--allow-new-recipient", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "invalid_input")
    assert "a confirmation is answered each time" in done.err
    assert platform.transaction_count(home.account.address) == 0
    assert home.run("balance").code == 0, "what waits for nothing does not read it"
