"""wallet key: make, import, show, back up and remove keys."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any, TextIO

import click

from wallet.cli.names import complete_keys
from wallet.cli.options import (
    Command,
    ConfirmationRequired,
    Declined,
    Settings,
    first_line,
    read_text,
)
from wallet.errors import AlreadyExists, InvalidInput, PasswordError, WalletError
from wallet.files import read_json, sync_folder, write_private
from wallet.keys import (
    MIN_PASSWORD,
    KeyFile,
    Origin,
    check_new_password,
    decrypt,
)

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)

mnemonic_file_option = click.option(
    "--mnemonic-file", type=click.File(encoding="utf-8"), help="A file of the words, - for stdin."
)
passphrase_option = click.option(
    "--passphrase", "ask_passphrase", is_flag=True, help="A BIP-39 passphrase belongs to the words."
)
passphrase_file_option = click.option(
    "--passphrase-file", type=_FILE, help="Read the BIP-39 passphrase from a file's first line."
)


@click.group("key")
def command() -> None:
    """Make, import, show, back up and remove keys."""


# -------------------------------------------------------------------------- making


@command.command(cls=Command, signs=True)
@click.argument("name")
@click.option(
    "--words",
    type=click.Choice(["12", "15", "18", "21", "24"]),
    default="24",
    show_default=True,
    help="How many words.",
)
@click.option(
    "--mnemonic-file",
    type=_NEW_FILE,
    help="Write the words into a new file instead of showing them. It is not encrypted.",
)
@click.option(
    "--random", "without_words", is_flag=True, help="No words: copies of the key's file are all."
)
@click.pass_obj
def new(
    settings: Settings, name: str, words: str, mnemonic_file: Path | None, without_words: bool
) -> None:
    """Make a new key NAME, encrypted with a password, and show the words that bring it back.

    The words are shown once and typed in again, and are not kept. Nobody can recover them, or the
    password.
    """
    if mnemonic_file is not None and without_words:
        raise click.UsageError("give one of --mnemonic-file and --random")
    settings.keystore().require_free(name)
    password = settings.password(name, new=True)
    check_new_password(password)
    if without_words:
        private_key = secrets.token_bytes(32)
        _store(settings, name, private_key, password, Origin("random"))
        return
    if mnemonic_file is None and not settings.on_terminal:
        raise ConfirmationRequired(
            "not on a terminal, so nobody can write the words down: "
            "give --mnemonic-file FILE, or --random for a key without words"
        )

    from wallet.cli.words import show_and_retype  # noqa: PLC0415
    from wallet.mnemonics import DEFAULT_PATH, derive_key, new_mnemonic  # noqa: PLC0415

    mnemonic = new_mnemonic(int(words))
    private_key = derive_key(mnemonic)
    verified_at = None
    # The backup before the key: no address is known before there is a way back to it.
    if mnemonic_file is not None:
        _write_words(mnemonic_file, mnemonic)
    else:
        show_and_retype(mnemonic)
        verified_at = int(time.time())
    origin = Origin("mnemonic", DEFAULT_PATH, backup_verified_at=verified_at)
    _store(settings, name, private_key, password, origin)


def _write_words(file: Path, mnemonic: str) -> None:
    try:
        write_private(file, mnemonic + "\n")
    except FileExistsError as error:
        raise AlreadyExists(f"{file} exists already") from error
    sync_folder(file.parent)
    if file.read_text(encoding="utf-8") != mnemonic + "\n":
        raise InvalidInput(f"{file} did not read back as it was written")


@command.command("import", cls=Command, signs=True, encrypts=True)
@click.argument("name")
@click.option("--keystore", type=_FILE, help="A keystore v3 file, kept with the same password.")
@click.option(
    "--private-key-file",
    type=click.File(encoding="utf-8"),
    help="A file of 64 hex digits, - for stdin.",
)
@click.option("--mnemonic", "ask_mnemonic", is_flag=True, help="Words (BIP-39), asked for.")
@mnemonic_file_option
@click.option("--path", metavar="PATH", help="Derivation path (default: m/44'/60'/0'/0/0).")
@passphrase_option
@passphrase_file_option
@click.pass_obj
def import_(
    settings: Settings,
    *,
    name: str,
    keystore: Path | None,
    private_key_file: TextIO | None,
    ask_mnemonic: bool,
    mnemonic_file: TextIO | None,
    path: str | None,
    ask_passphrase: bool,
    passphrase_file: Path | None,
) -> None:
    """Import a key as NAME: a keystore file, words or its hex digits (asked for without a flag)."""
    sources = (keystore, private_key_file, ask_mnemonic or None, mnemonic_file)
    if sum(source is not None for source in sources) > 1:
        raise click.UsageError(
            "give one of --keystore, --private-key-file, --mnemonic and --mnemonic-file"
        )
    by_words = ask_mnemonic or mnemonic_file is not None
    if not by_words and (path or ask_passphrase or passphrase_file):
        raise click.UsageError("--path and --passphrase belong to --mnemonic or --mnemonic-file")
    settings.keystore().require_free(name)
    if keystore is not None:
        password = settings.password(name)
        private_key = decrypt(read_json(keystore), password)
        too_short = len(password) < MIN_PASSWORD and settings.on_terminal
        if settings.new_password_given or too_short:
            password = settings.new_password(name)
        _store(settings, name, private_key, password, Origin("keystore"))
        return
    if by_words:
        private_key, origin = _read_words(
            settings, mnemonic_file, path, _passphrase(settings, ask_passphrase, passphrase_file)
        )
    else:
        private_key, origin = _read_digits(settings, private_key_file), Origin("private-key")
    _store(settings, name, private_key, settings.password(name, new=True), origin)


def _read_digits(settings: Settings, file: TextIO | None) -> bytes:
    if file is not None:
        digits = read_text(file, 1024).strip()
    elif settings.on_terminal:
        digits = click.prompt("Private key", hide_input=True, err=True)
    else:
        raise PasswordError(
            "not on a terminal: give --keystore, --private-key-file or --mnemonic-file"
        )
    try:
        return bytes.fromhex(digits.removeprefix("0x"))
    except ValueError:
        raise InvalidInput("the private key is not hex digits") from None


def _read_words(
    settings: Settings, file: TextIO | None, path: str | None, passphrase: str
) -> tuple[bytes, Origin]:
    from wallet.cli.words import ask_words  # noqa: PLC0415
    from wallet.mnemonics import DEFAULT_PATH, check_path, derive_key  # noqa: PLC0415

    path = check_path(path or DEFAULT_PATH)
    mnemonic = ask_words(settings) if file is None else read_text(file, 4096)
    private_key = derive_key(mnemonic, path, passphrase)
    return private_key, Origin("mnemonic", path, passphrase=bool(passphrase))


def _passphrase(settings: Settings, ask: bool, file: Path | None, twice: bool = True) -> str:
    """The BIP-39 passphrase; twice where a mistyped one would silently lead to another key."""
    if file is not None:
        return first_line(file.read_bytes())
    if not ask:
        return ""
    if not settings.on_terminal:
        raise PasswordError("not on a terminal: give the passphrase with --passphrase-file")
    answer: str = click.prompt(
        "BIP-39 passphrase", hide_input=True, err=True, confirmation_prompt=twice
    )
    return answer


def _store(
    settings: Settings, name: str, private_key: bytes, password: str, origin: Origin
) -> None:
    key = settings.keystore().create(name, private_key, password, origin)
    settings.answer(
        _as_json(settings, key),
        f"Key {key.name}: {key.address}\nEncrypted in {key.path}",
    )


# ------------------------------------------------------------------------- showing


@command.command("list", cls=Command)
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the keys; the default one is marked."""
    keystore = settings.keystore()
    keys = [keystore.get(name) for name in keystore.names()]
    chosen = keystore.chosen()
    width = max((len(key.name) for key in keys), default=0)
    lines = [
        f"{'*' if key.name == chosen else ' '} {key.name:<{width}}  {key.address}"
        + ("" if keystore.origin(key).backup_verified_at else "  (backup not verified)")
        for key in keys
    ]
    settings.answer(
        {"keys": [_as_json(settings, key) for key in keys]},
        "\n".join(lines) or "no key yet: make one with `wallet key new main`",
    )


@command.command(cls=Command)
@click.argument("name", required=False, shell_complete=complete_keys)
@click.pass_obj
def show(settings: Settings, name: str | None) -> None:
    """Show the address, file, origin and backup of the key NAME; never the key itself."""
    key = settings.keystore().get(name or settings.key)
    settings.answer(_as_json(settings, key), _as_text(settings, key))


@command.command(cls=Command)
@click.argument("name", shell_complete=complete_keys)
@click.pass_obj
def use(settings: Settings, name: str) -> None:
    """Use the key NAME from now on where none is named."""
    key = settings.keystore().use(name)
    settings.answer(_as_json(settings, key), _as_text(settings, key))


# ---------------------------------------------------------------------- backing up


@command.command(cls=Command, signs=True, encrypts=True)
@click.argument("name", shell_complete=complete_keys)
@click.argument("file", type=_NEW_FILE)
@click.pass_obj
def export(settings: Settings, name: str, file: Path) -> None:
    """Write the key NAME into a new keystore FILE, under a password of its own.

    There is no way to write a key that is not encrypted.
    """
    keystore = settings.keystore()
    key = keystore.get(name)
    password = settings.password(name)
    keystore.export(name, password, file, settings.new_password(file.name))
    settings.answer(
        {"name": key.name, "address": key.address, "path": str(file)},
        f"Key {key.name}: {key.address}\nEncrypted in {file}\n"
        f"Where it is kept, try it: wallet key verify-backup {name} --keystore {file.name}",
    )


@command.command("verify-backup", cls=Command, signs=True)
@click.argument("name", shell_complete=complete_keys)
@click.option("--keystore", type=_FILE, help="A copy of the key's file, or an exported one.")
@mnemonic_file_option
@passphrase_file_option
@click.pass_obj
def verify_backup(
    settings: Settings,
    *,
    name: str,
    keystore: Path | None,
    mnemonic_file: TextIO | None,
    passphrase_file: Path | None,
) -> None:
    """See whether a backup brings the key NAME back: its words, asked for, or a keystore file."""
    if keystore is not None and mnemonic_file is not None:
        raise click.UsageError("give one of --keystore and --mnemonic-file")
    store = settings.keystore()
    key = store.get(name)
    origin = store.origin(key)
    if keystore is not None:
        if keystore.samefile(key.path):
            raise InvalidInput(f"{keystore} is the key's own file: give the copy")
        private_key = decrypt(read_json(keystore), settings.password(keystore.name))
    elif origin.kind == "mnemonic" or mnemonic_file is not None:
        passphrase = _passphrase(settings, origin.passphrase, passphrase_file, twice=False)
        private_key, _ = _read_words(settings, mnemonic_file, origin.path, passphrase)
    else:
        raise click.UsageError(f"{name!r} was not made from words: give --keystore, a copy of it")
    try:
        store.note_backup(key, private_key, int(time.time()))
    except WalletError as error:
        hint = ", or the passphrase is another" if origin.passphrase else ""
        raise WalletError(f"{error}{hint}") from error
    settings.answer(_as_json(settings, key), f"The backup brings back {key.name}: {key.address}")


@command.command(cls=Command, signs=True, encrypts=True)
@click.argument("name", shell_complete=complete_keys)
@click.pass_obj
def passwd(settings: Settings, name: str) -> None:
    """Change the password of the key NAME. Copies of its file keep the old one."""
    keystore = settings.keystore()
    keystore.get(name)
    password = settings.password(name)
    key = keystore.change_password(name, password, settings.new_password(name))
    settings.answer(_as_json(settings, key), f"The password of {name} is changed")


# ------------------------------------------------------------------------ removing


@command.command(cls=Command)
@click.argument("name", shell_complete=complete_keys)
@click.option("--without-backup", is_flag=True, help="Though its backup was never verified.")
@click.pass_obj
def rm(settings: Settings, name: str, without_backup: bool) -> None:
    """Delete the key NAME. Without a backup, what it holds is lost."""
    keystore = settings.keystore()
    key = keystore.require_removable(name, without_backup)
    if settings.on_terminal:
        settings.say(_as_text(settings, key))
        typed = click.prompt("Type the key's name to delete it", err=True)
        if typed != name:
            raise Declined(f"{typed!r} is not {name!r}: nothing was deleted")
    elif not settings.yes:
        raise ConfirmationRequired("not on a terminal: confirm with --yes")
    was_default = keystore.chosen() == name
    keystore.remove(name, without_backup)
    if was_default and keystore.names():
        settings.note("It was the default key: choose another with `wallet key use`")
    settings.answer(
        {"name": name, "address": key.address, "deleted": True}, f"Deleted {name}: {key.address}"
    )


def _as_text(settings: Settings, key: KeyFile) -> str:
    origin = settings.keystore().origin(key)
    made = f"{origin.kind} {origin.path}" if origin.path else origin.kind
    return (
        f"Name     {key.name}\nAddress  {key.address}\nFile     {key.path}\n"
        f"Origin   {made}{', with a passphrase' if origin.passphrase else ''}\n"
        f"Backup   {_backup(origin)}"
    )


def _backup(origin: Origin) -> str:
    if origin.backup_verified_at is None:
        return "not verified"
    verified = time.gmtime(origin.backup_verified_at)
    return time.strftime("verified %Y-%m-%d %H:%M:%S UTC", verified)


def _as_json(settings: Settings, key: KeyFile) -> dict[str, Any]:
    origin = settings.keystore().origin(key)
    return {
        "name": key.name,
        "address": key.address,
        "path": str(key.path),
        "default": key.name == settings.keystore().chosen(),
        "origin": origin.kind,
        "derivation_path": origin.path,
        "passphrase": origin.passphrase,
        "backup_verified_at": origin.backup_verified_at,
    }
