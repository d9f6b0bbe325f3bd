"""What every command shares: its flags, its settings, its ways to ask and to answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from wallet.addresses import parse_memo
from wallet.amounts import Coin
from wallet.cli.names import complete_keys, complete_networks
from wallet.errors import InvalidInput, PasswordError, UnknownName, WalletError
from wallet.files import default_home

if TYPE_CHECKING:
    from wallet.client import Wallet
    from wallet.contacts import Contacts, Party
    from wallet.keys import KeyFile, Keystore
    from wallet.networks import Networks
    from wallet.signer import KeystoreSigner


class Declined(WalletError):
    """The person said no."""

    code = "declined"


class ConfirmationRequired(WalletError):
    """Nobody is there to ask, and the flag that answers was not given."""

    code = "confirmation_required"


def clean(text: str) -> str:
    """Take out what could steer a terminal; names come from strangers."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def one_line(text: str, limit: int = 200) -> str:
    """As `clean`, for a stranger's text inside a line: it must not look like more lines."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return clean(text).replace("\n", "\N{REPLACEMENT CHARACTER}")


@dataclass
class Settings:
    """The flags given, and everything a command does towards the person that gave them."""

    key: str | None = None
    network: str | None = None
    home: Path | None = None
    json: bool = False
    yes: bool = False
    password_file: Path | None = None
    password_fd: int | None = None
    password_keyring: bool = False
    new_password_file: Path | None = None
    new_password_fd: int | None = None

    # ------------------------------------------------------------------- telling

    def say(self, text: str) -> None:
        """For the person: on stdout, unless stdout carries JSON."""
        click.echo(clean(text), err=self.json)

    def note(self, text: str) -> None:
        """Beside the point: always on stderr."""
        click.echo(clean(text), err=True)

    def answer(self, value: Any, text: str) -> None:
        """The command's one answer: as JSON, or as text."""
        if self.json:
            click.echo(json.dumps(value, indent=2))
        else:
            click.echo(clean(text))

    # -------------------------------------------------------------------- asking

    @property
    def on_terminal(self) -> bool:
        return sys.stdin.isatty() and sys.stderr.isatty()

    def require_answerable(self) -> None:
        """Raises ConfirmationRequired, or PasswordError, if nobody is there to answer."""
        if self.on_terminal:
            return
        if not self.yes:
            raise ConfirmationRequired("not on a terminal: confirm with --yes")
        if not self._password_sources():
            raise PasswordError(_NAME_SOURCE)

    def confirm(self, question: str) -> None:
        """Ask unless --yes was given. Raises Declined."""
        if not self.yes and not click.confirm(question, err=True):
            raise Declined("declined: nothing was sent")

    def password(self, key: str, new: bool = False) -> str:
        """Get a password from where the flags say, else from the terminal. Raises PasswordError."""
        if len(self._password_sources()) > 1:
            raise click.UsageError(f"give one of {' and '.join(self._password_sources())}")
        if self.password_keyring:
            from wallet.keyrings import read_password  # noqa: PLC0415

            return read_password(self.keystore().get(key).address)
        read = _read_password(self.password_file, self.password_fd, "--password-fd")
        return self._ask_password(key, new, _NAME_SOURCE) if read is None else read

    def new_password(self, key: str) -> str:
        """Get the password that replaces or joins one, by its own flags, else from the terminal.

        Raises:
            PasswordError: it cannot be got.
        """
        if self.new_password_file is not None and self.new_password_fd is not None:
            raise click.UsageError("give one of --new-password-file and --new-password-fd")
        read = _read_password(self.new_password_file, self.new_password_fd, "--new-password-fd")
        return self._ask_password(key, True, _NAME_NEW_SOURCE) if read is None else read

    @property
    def new_password_given(self) -> bool:
        return self.new_password_file is not None or self.new_password_fd is not None

    def _password_sources(self) -> list[str]:
        """The flags given that say where the password is."""
        flags = {
            "--password-file": self.password_file is not None,
            "--password-fd": self.password_fd is not None,
            "--password-keyring": self.password_keyring,
        }
        return [name for name, given in flags.items() if given]

    def _ask_password(self, key: str, new: bool, otherwise: str) -> str:
        if not self.on_terminal:
            raise PasswordError(otherwise)
        question = f"{'New password' if new else 'Password'} for {key}"
        answer: str = click.prompt(question, hide_input=True, err=True, confirmation_prompt=new)
        return answer

    # ------------------------------------------------------------------- finding

    @property
    def folder(self) -> Path:
        return self.home or default_home()

    def keystore(self) -> Keystore:
        from wallet.keys import Keystore  # noqa: PLC0415

        return Keystore(self.folder)

    def contacts(self) -> Contacts:
        from wallet.contacts import Contacts  # noqa: PLC0415

        return Contacts(self.folder)

    def networks(self) -> Networks:
        from wallet.networks import Networks  # noqa: PLC0415

        return Networks(self.folder)

    def key_file(self) -> KeyFile:
        """The key of --key, else the default one."""
        return self.keystore().get(self.key)

    def signer(self) -> KeystoreSigner:
        from wallet.signer import KeystoreSigner  # noqa: PLC0415

        name = self.key_file().name
        return KeystoreSigner(name, lambda: self.password(name), self.folder)

    def open_wallet(self, signer: KeystoreSigner | None = None) -> Wallet:
        from wallet.client import Wallet  # noqa: PLC0415

        return Wallet.open(self.network, signer=signer, home=self.folder)

    def find_address(self, name_or_address: str) -> tuple[str, str | None]:
        """Return the address, and the name if it is one of this wallet's own keys.

        Raises:
            click.BadParameter: as `find_party`.
        """
        party = self.find_party(name_or_address)
        return party.address, party.name if party.is_own else None

    def find_party(self, name_or_address: str) -> Party:
        """Return the address of a key, a contact or an address, and what it is called here.

        Raises:
            click.BadParameter: neither an address nor the name of a key or contact.
        """
        from wallet.contacts import find_party  # noqa: PLC0415

        try:
            return find_party(self.folder, name_or_address)
        except (InvalidInput, UnknownName) as error:
            raise click.BadParameter(str(error)) from error


_NAME_SOURCE = "not on a terminal: give --password-file, --password-fd or --password-keyring"
_NAME_NEW_SOURCE = "not on a terminal: give --new-password-file or --new-password-fd"


def _read_password(file: Path | None, descriptor: int | None, flag: str) -> str | None:
    """The password in a file or behind a descriptor; None where neither was named."""
    if file is not None:
        return first_line(file.read_bytes())
    if descriptor is None:
        return None
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            return first_line(opened.read())
    except OSError as error:
        raise PasswordError(f"{flag} {descriptor} cannot be read: {error.strerror}") from error


def first_line(content: bytes) -> str:
    """The first line of a secret's file. Raises PasswordError."""
    try:
        return content.decode("utf-8").split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError as error:
        raise PasswordError("the password is not UTF-8 text") from error


def read_text(file: TextIO, limit: int) -> str:
    """Read what a file option named, up to a number of characters. Raises InvalidInput."""
    try:
        return file.read(limit)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file.name} is not UTF-8 text") from error


# ------------------------------------------------------------------------------- flags


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Flags may stand before or after the verb; the one that is given counts."""
    if value not in (None, False) and parameter.name:
        setattr(ctx.ensure_object(Settings), parameter.name, value)


def _option(*names: str, **attributes: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=_remember, **attributes)


def shared_options() -> list[click.Parameter]:
    """The flags of every command."""
    return [
        _option(
            "--key",
            metavar="NAME",
            help="Key to use (default: the first made).",
            shell_complete=complete_keys,
        ),
        _option(
            "--network",
            metavar="NAME",
            help="Network to use (see `wallet network list`).",
            shell_complete=complete_networks,
        ),
        _option("--home", type=click.Path(path_type=Path), metavar="DIR", help="Wallet's folder."),
        _option("--json", is_flag=True, help="JSON on stdout, everything else on stderr."),
        _option("--yes", is_flag=True, help="Answer yes to the confirmation."),
    ]


def password_options() -> list[click.Parameter]:
    """The flags of commands that open or make a key."""
    path = click.Path(exists=True, dir_okay=False, path_type=Path)
    return [
        _option("--password-file", type=path, help="Read the password from a file's first line."),
        _option("--password-fd", type=int, help="Read it from an open file descriptor."),
        _option("--password-keyring", is_flag=True, help="Read it from the system's keyring."),
    ]


def new_password_options() -> list[click.Parameter]:
    """The flags of commands that also give a key, or a copy of it, another password."""
    path = click.Path(exists=True, dir_okay=False, path_type=Path)
    return [
        _option("--new-password-file", type=path, help="Read the new password from a file."),
        _option("--new-password-fd", type=int, help="Read it from an open file descriptor."),
    ]


class Command(click.Command):
    """A command with the shared flags."""

    def __init__(
        self, *args: Any, signs: bool = False, encrypts: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            *(password_options() if signs else ()),
            *(new_password_options() if encrypts else ()),
            *shared_options(),
        ]


class _Parsed(click.ParamType[Any]):
    """A command line value read by one of the library's parsers."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except InvalidInput as error:
            self.fail(str(error), param, ctx)


AMOUNT = _Parsed("amount", Coin)
MEMO = _Parsed("memo", parse_memo)
