"""The wallet's settings: a few values that commands take where their flags do not say.

The default key and network are not in `config.toml`: each is a file of its own (`key`, `network`),
which `wallet key use` and `wallet network use` write too. So each setting is kept in one place.

No setting answers a confirmation or holds a secret, and a file that tries is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wallet.errors import InvalidInput, UnknownName
from wallet.files import private_folder, sync_folder, write_private
from wallet.keys import Keystore
from wallet.networks import Networks

FILE_NAME = "config.toml"
DEFAULT_TIMEOUT, MAX_TIMEOUT = 30, 86_400

# Setting -> what stands where nothing was set; None is nothing.
DEFAULTS: dict[str, float | None] = {"key": None, "network": None, "timeout": DEFAULT_TIMEOUT}
IN_FILE = ("timeout",)

_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?", re.ASCII)
_CONFIRMATION = re.compile(r"(yes|allow|without|with_unfinished|force)(_.*)?")
_SECRET = re.compile(r".*(password|passphrase|mnemonic|words|private_?key|secret|seed).*")
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)")


@dataclass(frozen=True)
class Setting:
    """A setting as it stands. `value` is None where nothing is set and nothing is the default."""

    name: str
    value: str | float | None
    is_default: bool


class Config:
    """The settings of a wallet's home."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.path = home / FILE_NAME

    def all(self) -> list[Setting]:
        """Every setting there is, in order.

        Raises:
            InvalidInput: the file was broken by hand.
        """
        return [self.get(name) for name in DEFAULTS]

    def get(self, name: str) -> Setting:
        """One setting.

        Raises:
            UnknownName: there is no such setting; the closest one is suggested.
            InvalidInput: it would answer a confirmation or hold a secret, or the file was broken.
        """
        check_name(name)
        found: str | float | None
        found = self.read().get(name) if name in IN_FILE else self._chooser(name).chosen()
        return Setting(name, DEFAULTS[name] if found is None else found, found is None)

    def set(self, name: str, text: str) -> Setting:
        """Set a value, as it is written on a command line; comments in the file stay.

        Raises:
            UnknownName: there is no such setting, key or network.
            InvalidInput: it cannot be the setting's value, or the file was broken by hand.
        """
        check_name(name)
        if name not in IN_FILE:
            self._chooser(name).use(text)
            return self.get(name)
        if not _NUMBER.fullmatch(text) or float(text) > MAX_TIMEOUT:
            raise InvalidInput(f"{name} is {text!r}, {_EXPECTED}")
        value = float(text) if "." in text else int(text)
        self._replace(lambda document: document.update({name: value}))
        return self.get(name)

    def unset(self, name: str) -> Setting:
        """Go back to the default of a setting. Raises as `get`."""
        check_name(name)
        if name not in IN_FILE:
            self._chooser(name).use_none()
        elif name in self.read():
            self._replace(lambda document: document.pop(name))
        return self.get(name)

    def timeout(self) -> float:
        """Seconds to wait until a transaction is on chain. Raises as `read`."""
        return self.read().get("timeout", DEFAULT_TIMEOUT)

    def read(self) -> dict[str, float]:
        """What the file sets; nothing where there is none.

        Raises:
            InvalidInput: the file was broken by hand; the message says where.
        """
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise InvalidInput(f"{self.path} cannot be read: {error.strerror}") from error
        return parse(raw, self.path)

    def _replace(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the file as people wrote it, and replace it by what was seen to read as meant."""
        import tomlkit  # noqa: PLC0415  # only to write

        if self.path.is_symlink():
            raise InvalidInput(f"{self.path} is a link: change {self.path.resolve()} by hand")
        wanted = self.read()
        change(wanted)
        document = tomlkit.parse(self.path.read_bytes() if self.path.exists() else b"")
        change(document)
        private_folder(self._home)
        temporary = self._home / f".config.{os.urandom(8).hex()}.new"
        try:
            write_private(temporary, tomlkit.dumps(document))
            if parse(temporary.read_bytes(), temporary) != wanted:
                raise InvalidInput(f"{self.path} would not read back as meant: change it by hand")
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(self._home)

    def _chooser(self, name: str) -> Keystore | Networks:
        return Keystore(self._home) if name == "key" else Networks(self._home)


_EXPECTED = f"not a number of seconds from 0 to {MAX_TIMEOUT}, as 60 or 2.5"


def parse(raw: bytes, path: Path) -> dict[str, float]:
    """Read the content of a settings file strictly; `path` is for the messages.

    Raises:
        InvalidInput: it is not TOML, or sets what there is not or what cannot be.
    """
    import tomllib  # noqa: PLC0415  # only where there is a file

    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _position(raw[: error.start].decode("utf-8"))
        raise InvalidInput(f"{path}, line {line}, column {column}: not UTF-8 text") from error
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers and depths beyond all bounds
        raise InvalidInput(_explain(str(error), text, path)) from error
    for name, value in document.items():
        try:
            check_name(name)
            if name not in IN_FILE:
                raise InvalidInput(f"the default {name} is chosen with `wallet {name} use`")
            # By its exact type: a bool is an int to Python.
            if type(value) not in (int, float) or not 0 <= value <= MAX_TIMEOUT:
                raise InvalidInput(f"{name} is {value!r}, {_EXPECTED}")
        except (InvalidInput, UnknownName) as error:
            raise InvalidInput(f"{path}{_place_of(name, text)}: {error}") from error
    return document


def check_name(name: str) -> None:
    """Raise UnknownName or InvalidInput, saying why, unless there is a setting of the name."""
    if name in DEFAULTS:
        return
    plain = name.lower().replace("-", "_")
    if _CONFIRMATION.fullmatch(plain):
        raise InvalidInput(
            f"{name!r} cannot be set: a confirmation is answered each time, never by a file"
        )
    if _SECRET.fullmatch(plain):
        raise InvalidInput(f"{name!r} cannot be set: this file never holds a secret")

    import difflib  # noqa: PLC0415  # only for those who mistyped

    close = difflib.get_close_matches(plain, DEFAULTS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(DEFAULTS)}"
    raise UnknownName(f"there is no setting {name!r}: {hint}")


def _explain(problem: str, text: str, path: Path) -> str:
    """A parser's complaint with the place in front; the end of the file is a place too."""
    found = _POSITION.search(problem)
    line, column = _position(text)
    if found is not None and found[1] is not None:
        line, column = int(found[1]), int(found[2])
    return f"{path}, line {line}, column {column}: {_POSITION.sub('', problem)}"


def _position(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what follows a text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _place_of(name: str, text: str) -> str:
    """Where a name is first set, as it is usually written."""
    written = rf"^[ \t]*(?:\[+[ \t]*)?[\"']?(?P<name>{re.escape(name)})(?![\w-])"
    found = re.search(written, text, re.MULTILINE)
    if found is None:
        return ""
    line, column = _position(text[: found.start("name")])
    return f", line {line}, column {column}"
