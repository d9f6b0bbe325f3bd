"""Keys at rest: one Web3 Secret Storage (keystore v3) file per key. No unencrypted form exists.

Beside `main.json`, the keystore, lies `main.origin`: where the key came from, and when its backup
was last verified. It holds nothing secret, and a key without it is a key of unknown origin.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from wallet.addresses import to_checksum
from wallet.errors import (
    AlreadyExists,
    InvalidInput,
    PasswordError,
    Refused,
    UnknownName,
    WalletError,
)
from wallet.files import (
    checked_name,
    private_folder,
    read_json,
    read_name,
    sync_folder,
    write_private,
)

SCRYPT_N = 262_144
MIN_PASSWORD = 8

# What a file may ask of this machine before its password can be tried: twice the usual cost.
MAX_SCRYPT_MEMORY = 512 * 1024 * 1024
MAX_SCRYPT_WORK = 2**22
MAX_PBKDF2_ROUNDS = 10_000_000


@dataclass(frozen=True)
class Origin:
    """Where a key came from, and whether its backup was ever seen to open. Times: unix seconds.

    `kind` is mnemonic, random, keystore, private-key or unknown. `path` and `passphrase` say how a
    mnemonic leads to the key: the derivation path, and whether a passphrase belongs to it. The
    keystore notes the `address` of the key it is about.
    """

    kind: str = "unknown"
    path: str | None = None
    passphrase: bool = False
    backup_verified_at: int | None = None
    address: str = ""


@dataclass(frozen=True)
class KeyFile:
    """A key as it lies on disk: its name, its checksummed address, its file."""

    name: str
    address: str
    path: Path


class Keystore:
    """The keys in a wallet's home."""

    def __init__(self, home: Path, scrypt_n: int = SCRYPT_N) -> None:
        """`scrypt_n` is the cost of new files; lower it only where no money is."""
        self._home = home
        self._folder = home / "keys"
        self._scrypt_n = scrypt_n

    def create(
        self, name: str, private_key: bytes, password: str, origin: Origin | None = None
    ) -> KeyFile:
        """Encrypt a private key into a new file, read it back, and only then give it its name.

        Raises:
            InvalidInput: the name or the key cannot be one.
            PasswordError: the password has fewer than 8 characters.
            AlreadyExists: there is a key of that name; it is left as it is.
        """
        path = self._path(name)
        check_private_key(private_key)
        check_new_password(password)
        self.require_free(name)
        private_folder(self._folder)
        with self._written(private_key, password) as temporary:
            # A link, unlike a rename, never replaces what is there.
            try:
                os.link(temporary, path)
            except FileExistsError as error:
                raise AlreadyExists(f"there is a key {name!r} already") from error
        sync_folder(self._folder)
        if origin is not None:
            self._note_origin(name, replace(origin, address=address_of_key(private_key)))
        if self.chosen() is None:
            self.use(name)
        return self.get(name)

    def require_free(self, name: str) -> None:
        """Raises AlreadyExists if a key or contact has the name, InvalidInput if it can be none."""
        from wallet.contacts import Contacts  # noqa: PLC0415  # which looks at the keys

        if self._path(name).exists():
            raise AlreadyExists(f"there is a key {name!r} already")
        contact = Contacts(self._home).find(name)
        if contact is not None:
            raise AlreadyExists(f"{name!r} is the name of a contact, {contact.address}")

    @contextmanager
    def _written(self, private_key: bytes, password: str) -> Iterator[Path]:
        """Yield a new file that was seen to open; it is gone afterwards, unless moved."""
        temporary = self._folder / f".{os.urandom(8).hex()}.new"
        try:
            yield self._write_keystore(temporary, private_key, password)
        finally:
            temporary.unlink(missing_ok=True)

    def _write_keystore(self, file: Path, private_key: bytes, password: str) -> Path:
        """Write a keystore file, and open it again. Raises FileExistsError."""
        from eth_keyfile.keyfile import create_keyfile_json  # noqa: PLC0415  # takes a second to import

        content = create_keyfile_json(
            private_key, password.encode(), kdf="scrypt", iterations=self._scrypt_n
        )
        write_private(file, json.dumps(content, indent=2) + "\n")
        try:
            same = decrypt(read_json(file), password) == private_key
        except WalletError:
            same = False
        if not same:
            raise WalletError(f"{file} did not read back as it was written")
        return file

    def change_password(self, name: str, password: str, new_password: str) -> KeyFile:
        """Encrypt a key anew. The old file is replaced in one step by one that was seen to open.

        Raises:
            PasswordError: not the password, or the new one has fewer than 8 characters.
        """
        check_new_password(new_password)
        key = self.get(name)
        private_key = self.unlock(name, password)
        with self._written(private_key, new_password) as temporary:
            temporary.replace(key.path)
        sync_folder(self._folder)
        return self.get(name)

    def export(self, name: str, password: str, file: Path, new_password: str) -> Path:
        """Write a key into a keystore file elsewhere, under a password of its own.

        Raises:
            PasswordError: not the password, or the new one has fewer than 8 characters.
            AlreadyExists: there is a file of that name; it is left as it is.
        """
        check_new_password(new_password)
        if file.exists() or file.is_symlink():
            raise AlreadyExists(f"{file} exists already")
        private_key = self.unlock(name, password)
        # In place, not linked: where backups go, file systems often know no links.
        try:
            self._write_keystore(file, private_key, new_password)
        except FileExistsError as error:
            raise AlreadyExists(f"{file} exists already") from error
        except BaseException:
            file.unlink(missing_ok=True)  # half a copy is none
            raise
        sync_folder(file.parent)
        return file

    def require_removable(self, name: str, without_backup: bool = False) -> KeyFile:
        """Return the key; raises as `remove`."""
        key = self.get(name)
        if self.origin(key).backup_verified_at is None and not without_backup:
            raise Refused(
                f"the backup of {name!r} was never verified, so this may be the only copy: try it "
                f"with `wallet key verify-backup {name}`, or delete the key with --without-backup"
            )
        return key

    def remove(self, name: str, without_backup: bool = False) -> KeyFile:
        """Delete a key's file. If it was the default key, there is none until one is chosen.

        Args:
            without_backup: delete it though its backup was never verified.

        Raises:
            UnknownName: there is no such key.
            Refused: its backup was never verified.
        """
        key = self.require_removable(name, without_backup)
        if self.chosen() == name:
            (self._home / "key").unlink()
        # The key last: what is left after a power cut is a key that may be removed again.
        self._origin_path(name).unlink(missing_ok=True)
        sync_folder(self._folder)
        key.path.unlink()
        sync_folder(self._folder)
        return key

    def get(self, name: str | None = None) -> KeyFile:
        """Return a key; without a name the default one, the first that was made.

        Raises:
            UnknownName: there is none of that name, or none at all.
            InvalidInput: the file is not a keystore, or others may read it.
        """
        name = name or self.chosen()
        if name is None and self.names():
            raise UnknownName(
                f"no default key: name one of {', '.join(self.names())} with --key, "
                "or choose it with `wallet key use`"
            )
        if name is None:
            raise UnknownName("no key yet: make one with `wallet key new main`")
        path = self._path(name)
        if not path.is_file():
            known = ", ".join(self.names()) or "none"
            raise UnknownName(f"no key {name!r} (there are: {known})")
        if path.stat().st_mode & 0o077:
            raise InvalidInput(f"others may read {path}: close it with chmod 600")
        return KeyFile(name, _address_in(path), path)

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("[!.]*.json"))

    def chosen(self) -> str | None:
        return read_name(self._home / "key")

    def use(self, name: str) -> KeyFile:
        """Make a key the default. Raises UnknownName if there is none of that name."""
        key = self.get(name)
        temporary = write_private(self._home / f".key.{os.urandom(8).hex()}.new", name + "\n")
        temporary.replace(self._home / "key")
        return key

    def use_none(self) -> None:
        """Have no default key, until one is chosen or the first is made."""
        (self._home / "key").unlink(missing_ok=True)

    def origin(self, key: KeyFile) -> Origin:
        """Return where a key came from; unknown where nothing was noted of this very key.

        Raises:
            InvalidInput: the note is not one.
        """
        path = self._origin_path(key.name)
        if path.is_file():
            noted = _read_origin(path)
            if noted.address == key.address:  # not that of an earlier key of the name
                return noted
        return Origin(address=key.address)

    def note_backup(self, key: KeyFile, private_key: bytes, now: int) -> Origin:
        """Note that a backup was opened, if what was in it is this key. `now` is unix seconds.

        Raises:
            WalletError: the backup is of another key.
        """
        found = address_of_key(private_key)
        if found != key.address:
            raise WalletError(f"that is a backup of {found}, and {key.name!r} is {key.address}")
        origin = replace(self.origin(key), backup_verified_at=now)
        self._note_origin(key.name, origin)
        return origin

    def _note_origin(self, name: str, origin: Origin) -> None:
        text = json.dumps(asdict(origin), indent=2) + "\n"
        temporary = write_private(self._folder / f".{os.urandom(8).hex()}.new", text)
        temporary.replace(self._origin_path(name))
        sync_folder(self._folder)

    def unlock(self, name: str, password: str) -> bytes:
        """Return the private key.

        Raises:
            PasswordError: it is not the password.
            InvalidInput: the file is broken, or the key in it is not the address it names.
        """
        key = self.get(name)
        private_key = decrypt(read_json(key.path), password)
        actual = address_of_key(private_key)
        if actual != key.address:
            raise InvalidInput(f"{key.path} names {key.address} and holds the key of {actual}")
        return private_key

    def _path(self, name: str) -> Path:
        return self._folder / f"{checked_name(name, 'key')}.json"

    def _origin_path(self, name: str) -> Path:
        return self._path(name).with_suffix(".origin")


def decrypt(content: dict[str, Any], password: str) -> bytes:
    """Open the content of a keystore v3 file, wherever it comes from.

    Raises:
        InvalidInput: it is no keystore v3, or asks for more memory or time than any honest one.
        PasswordError: it is not the password.
    """
    check_cost(content)

    from eth_keyfile.keyfile import decode_keyfile_json  # noqa: PLC0415  # takes a second to import

    try:
        private_key: bytes = decode_keyfile_json(content, password.encode())
    except ValueError as error:
        if "MAC mismatch" in str(error):
            raise PasswordError("wrong password") from error
        raise InvalidInput(f"not a keystore v3 file: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"not a keystore v3 file: {error!r}") from error
    check_private_key(private_key)
    return private_key


def check_cost(content: dict[str, Any]) -> None:
    """Bound what the key derivation of a file may cost.

    Raises:
        InvalidInput: it is no keystore v3, or its parameters are out of bounds.
    """
    folded = {str(key).lower(): value for key, value in content.items()}
    crypto = folded.get("crypto")
    parameters = crypto.get("kdfparams") if isinstance(crypto, dict) else None
    if folded.get("version") != 3 or not isinstance(crypto, dict):
        raise InvalidInput("not a keystore v3 file")
    if not isinstance(parameters, dict):
        raise InvalidInput("the keystore file has no kdfparams")

    def number(name: str) -> int:
        value = parameters.get(name)
        if type(value) is not int or value <= 0:
            raise InvalidInput(f"the keystore file's {name} is {value!r}")
        return value

    if number("dklen") != 32:
        raise InvalidInput(f"the keystore file's dklen is {parameters['dklen']}, not 32")
    match crypto.get("kdf"):
        case "scrypt":
            n, r, p = number("n"), number("r"), number("p")
            if n & (n - 1) or 128 * n * r > MAX_SCRYPT_MEMORY or n * r * p > MAX_SCRYPT_WORK:
                raise InvalidInput(
                    f"the keystore file's scrypt cost is out of bounds: {n=} {r=} {p=}"
                )
        case "pbkdf2":
            if number("c") > MAX_PBKDF2_ROUNDS:
                raise InvalidInput(
                    f"the keystore file's pbkdf2 cost is out of bounds: {number('c')}"
                )
        case other:
            raise InvalidInput(f"the keystore file's key derivation {other!r} is not known")


def address_of_key(private_key: bytes) -> str:
    """Return the checksummed address of a private key."""
    from eth_keys.datatypes import PrivateKey  # noqa: PLC0415

    return PrivateKey(private_key).public_key.to_checksum_address()


def check_new_password(password: str) -> None:
    """Raises PasswordError if it has fewer than 8 characters."""
    if len(password) < MIN_PASSWORD:
        raise PasswordError(f"the password has fewer than {MIN_PASSWORD} characters")


def check_private_key(private_key: bytes) -> None:
    """Raises InvalidInput unless these are 32 bytes inside the order of the curve."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    if len(private_key) != 32 or not 0 < int.from_bytes(private_key, "big") < order:
        raise InvalidInput("not a private key: 32 bytes inside the order of secp256k1")


def _read_origin(path: Path) -> Origin:
    content = read_json(path)
    expected = {field.name: type(field.default) for field in fields(Origin)}
    expected |= {"path": str, "backup_verified_at": int}
    for name, value in content.items():
        optional = value is None and name in ("path", "backup_verified_at")
        if not optional and type(value) is not expected.get(name):
            raise InvalidInput(f"{path} is not the note of a key's origin: {name} is {value!r}")
    return Origin(**content)


def _address_in(path: Path) -> str:
    """The address a file names; new files name it in its checksum, so nothing needs hashing."""
    digits = str(read_json(path).get("address", "")).removeprefix("0x")
    if len(digits) != 40 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
        raise InvalidInput(f"{path} names no address")
    address = "0x" + digits
    return to_checksum(address) if digits in (digits.lower(), digits.upper()) else address
