"""wallet key: make, import and show keys."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import click

from wallet.cli.options import Command, Settings
from wallet.errors import InvalidInput, PasswordError
from wallet.files import read_json
from wallet.keys import KeyFile, decrypt


@click.group("key")
def command() -> None:
    """Make, import and show keys."""


@command.command(cls=Command, signs=True)
@click.argument("name")
@click.pass_obj
def new(settings: Settings, name: str) -> None:
    """Make a new key, encrypted with a password.

    The password cannot be recovered, and without it neither can the key: keep a copy of the file
    and of the password.
    """
    _store(settings, name, secrets.token_bytes(32), settings.password(name, new=True))


@command.command("import", cls=Command, signs=True)
@click.argument("name")
@click.option(
    "--keystore",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A keystore v3 file, opened and kept with the same password.",
)
@click.option("--private-key-file", type=click.File(), help="A file of 64 hex digits, - for stdin.")
@click.pass_obj
def import_(settings: Settings, name: str, keystore: Path | None, private_key_file: Any) -> None:
    """Import a key from a keystore file, or from its hex digits (asked for without a file)."""
    if keystore is not None and private_key_file is not None:
        raise click.UsageError("give one of --keystore and --private-key-file")
    if keystore is not None:
        password = settings.password(name)
        _store(settings, name, decrypt(read_json(keystore), password), password)
        return
    if private_key_file is not None:
        digits = private_key_file.read().strip()
    elif settings.on_terminal:
        digits = click.prompt("Private key", hide_input=True, err=True)
    else:
        raise PasswordError("not on a terminal: give --keystore or --private-key-file")
    try:
        private_key = bytes.fromhex(digits.removeprefix("0x"))
    except ValueError:
        raise InvalidInput("the private key is not hex digits") from None
    _store(settings, name, private_key, settings.password(name, new=True))


@command.command("list", cls=Command)
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the keys; the default one is marked."""
    keystore = settings.keystore()
    keys = [keystore.get(name) for name in keystore.names()]
    chosen = keystore.chosen()
    width = max((len(key.name) for key in keys), default=0)
    lines = [
        f"{'*' if key.name == chosen else ' '} {key.name:<{width}}  {key.address}" for key in keys
    ]
    settings.answer(
        {"keys": [_as_json(settings, key) for key in keys]},
        "\n".join(lines) or "no key yet: make one with `wallet key new main`",
    )


@command.command(cls=Command)
@click.argument("name", required=False)
@click.pass_obj
def show(settings: Settings, name: str | None) -> None:
    """Show a key's address and file; never the key itself."""
    key = settings.keystore().get(name or settings.key)
    settings.answer(
        _as_json(settings, key),
        f"Name     {key.name}\nAddress  {key.address}\nFile     {key.path}",
    )


def _store(settings: Settings, name: str, private_key: bytes, password: str) -> None:
    key = settings.keystore().create(name, private_key, password)
    settings.answer(
        _as_json(settings, key),
        f"Key {key.name}: {key.address}\nEncrypted in {key.path}",
    )


def _as_json(settings: Settings, key: KeyFile) -> dict[str, Any]:
    return {
        "name": key.name,
        "address": key.address,
        "path": str(key.path),
        "default": key.name == settings.keystore().chosen(),
    }
