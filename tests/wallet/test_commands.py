"""Every command there is, whatever it does: its help, its flags, and its one JSON document."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tests.wallet.conftest import WALLET
from wallet.cli import main, root

SHARED = {"--key", "--network", "--home", "--json", "--yes"}
HASH = "0x" + "ab" * 32


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


COMMANDS = sorted(leaves(root))
every_command = pytest.mark.parametrize("path", COMMANDS, ids=[" ".join(path) for path in COMMANDS])


def command_at(path: tuple[str, ...]) -> click.Command:
    command: click.Command = root
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


def test_the_tree_is_walked() -> None:
    assert len(COMMANDS) > 40
    assert {("balance",), ("key", "new"), ("tx", "build", "send")} <= set(COMMANDS)


@every_command
def test_help_says_what_each_argument_is(path: tuple[str, ...]) -> None:
    """By its name in the text, or by an example."""
    command = command_at(path)
    text = command.help or ""
    assert text.split(".")[0], "there is a first sentence"
    if "Example" in text:
        return
    context = click.Context(command)
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            named = parameter.make_metavar(context).strip("[].").split("|")
            assert any(name.strip("[].{}").removesuffix(".csv") in text for name in named), (
                parameter.name
            )


@every_command
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    for parameter in command_at(path).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts


@every_command
def test_the_shared_flags_are_taken(path: tuple[str, ...]) -> None:
    taken = {flag for parameter in command_at(path).params for flag in parameter.opts}
    assert taken >= SHARED


@every_command
def test_wrong_usage_is_one_json_document(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path, "--no-such-flag", "--json"]) == 2
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert error["code"] == "usage"
    assert "--no-such-flag" in error["message"]
    assert err == f"wallet: {error['message']}\n"


VALUES = {
    "amount": "1",
    "hash_": HASH,
    "order": HASH,
    "name": "main",
    "names": "main",
    "purchase": "pur_1",
    "share": "17.5",
    "signature": "0x" + "11" * 65,
    "to": "0x" + "22" * 20,
    "data": "0xa9059cbb",
    "seller": "main",
    "value": "60",
    "text": "The cup came broken.",
    "message": "order 8841",
}


def filled(path: tuple[str, ...], folder: Path) -> list[str]:
    """A command with something plausible for all that it cannot be without."""
    file = folder / "file"
    file.write_text("{}")
    words = [*path]
    for parameter in command_at(path).params:
        is_argument = isinstance(parameter, click.Argument)
        if not (is_argument or parameter.required):
            continue
        kind: Any = parameter.type
        value = VALUES.get(str(parameter.name), str(file))
        if isinstance(kind, click.Choice):
            value = str(kind.choices[0])
        elif parameter.name in ("out",) or (isinstance(kind, click.Path) and not kind.exists):
            value = str(folder / "new")
        words += [value] if is_argument else [parameter.opts[0], value]
    return words


@every_command
@pytest.mark.parametrize("flags", [(), ("--yes",)], ids=["", "yes"])
def test_with_nothing_set_up_the_answer_is_one_json_document(
    path: tuple[str, ...],
    flags: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "home"
    code = main([*filled(path, tmp_path), "--json", "--home", str(home), *flags])
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert code in range(10)
    if "error" in answer:
        assert code != 0
        assert answer["error"].keys() == {"code", "message"}
        assert f"wallet: {answer['error']['message']}\n" in err
    else:
        assert code == 0, "what is not there makes nothing fail halfway"
    assert "Traceback" not in err


@every_command
def test_a_home_that_is_a_file_is_refused_in_words(
    path: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.write_text("not a folder")
    main([*filled(path, tmp_path), "--json", "--home", str(home), "--yes"])
    out, _ = capsys.readouterr()
    assert isinstance(json.loads(out), dict)
    assert home.read_text() == "not a folder"


BROKEN = [b"", b"\xff\xfe\x00", b"{", b"[]", b"null", b'{"address": 7}']


@pytest.mark.parametrize("content", BROKEN, ids=[repr(content[:16]) for content in BROKEN])
def test_files_broken_by_hand_are_refused_in_words(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("keys/main.json", "keys/main.origin", "networks/plaza.json", "config.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "key").write_bytes(b"main" if content else b"\xff")
    (tmp_path / "network").write_bytes(b"plaza" if content else b"\xff")
    (tmp_path / "scratch").mkdir()
    for path in COMMANDS:
        words = filled(path, tmp_path / "scratch")
        main([*words, "--json", "--home", str(tmp_path), "--yes"])
        out, err = capsys.readouterr()
        assert isinstance(json.loads(out), dict), path
        assert "Traceback" not in err, path


def test_files_too_deep_to_read_are_refused_in_words(tmp_path: Path) -> None:
    """In a process of its own: with a raised recursion limit the parser takes Python down."""
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "plaza.json").write_text("[" * 100_000)
    done = subprocess.run(
        [WALLET, "balance", "--network", "plaza", "--json", "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (1, "invalid_input")


def test_the_command_itself_says_the_same(tmp_path: Path) -> None:
    """The process, not only the function: exit code and streams."""
    done = subprocess.run(
        [WALLET, "balance", "--no-such-flag", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, list(json.loads(done.stdout))) == (2, ["error"])
    assert done.stderr.startswith("wallet: ")
