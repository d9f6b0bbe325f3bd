"""Keys at rest: one Web3 Secret Storage (keystore v3) file per key. No unencrypted form exists."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wallet.addresses import to_checksum
from wallet.errors import AlreadyExists, InvalidInput, PasswordError, UnknownName
from wallet.files import checked_name, private_folder, read_json, sync_folder, write_private

SCRYPT_N = 262_144
MIN_PASSWORD = 8

# What a file may ask of this machine before its password can be tried: twice the usual cost.
MAX_SCRYPT_MEMORY = 512 * 1024 * 1024
MAX_SCRYPT_WORK = 2**22
MAX_PBKDF2_ROUNDS = 10_000_000


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

    def create(self, name: str, private_key: bytes, password: str) -> KeyFile:
        """Encrypt a private key into a new file, read it back, and only then give it its name.

        Raises:
            InvalidInput: the name or the key cannot be one.
            PasswordError: the password has fewer than 8 characters.
            AlreadyExists: there is a key of that name; it is left as it is.
        """
        path = self._path(name)
        check_private_key(private_key)
        if len(password) < MIN_PASSWORD:
            raise PasswordError(f"the password has fewer than {MIN_PASSWORD} characters")
        if path.exists():
            raise AlreadyExists(f"there is a key {name!r} already")

        from eth_keyfile.keyfile import create_keyfile_json  # noqa: PLC0415  # takes a second to import

        content = create_keyfile_json(
            private_key, password.encode(), kdf="scrypt", iterations=self._scrypt_n
        )
        private_folder(self._folder)
        temporary = write_private(
            self._folder / f".{name}.{os.getpid()}.new", json.dumps(content, indent=2) + "\n"
        )
        try:
            if decrypt(read_json(temporary), password) != private_key:
                raise InvalidInput(f"{temporary} did not read back as it was written")
            # A link, unlike a rename, never replaces what is there.
            os.link(temporary, path)
        except FileExistsError as error:
            raise AlreadyExists(f"there is a key {name!r} already") from error
        finally:
            temporary.unlink()
        sync_folder(self._folder)
        if self.chosen() is None:
            write_private(self._home / "key", name + "\n")
        return self.get(name)

    def get(self, name: str | None = None) -> KeyFile:
        """Return a key; without a name the default one, the first that was made.

        Raises:
            UnknownName: there is none of that name, or none at all.
            InvalidInput: the file is not a keystore, or others may read it.
        """
        name = name or self.chosen()
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
        file = self._home / "key"
        return file.read_text(encoding="utf-8").strip() if file.is_file() else None

    def unlock(self, name: str, password: str) -> bytes:
        """Return the private key.

        Raises:
            PasswordError: it is not the password.
            InvalidInput: the file is broken, or the key in it is not the address it names.
        """
        key = self.get(name)
        private_key = decrypt(read_json(key.path), password)

        from eth_keys.datatypes import PrivateKey  # noqa: PLC0415

        actual = PrivateKey(private_key).public_key.to_checksum_address()
        if actual != key.address:
            raise InvalidInput(f"{key.path} names {key.address} and holds the key of {actual}")
        return private_key

    def _path(self, name: str) -> Path:
        return self._folder / f"{checked_name(name, 'key')}.json"


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


def check_private_key(private_key: bytes) -> None:
    """Raises InvalidInput unless these are 32 bytes inside the order of the curve."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    if len(private_key) != 32 or not 0 < int.from_bytes(private_key, "big") < order:
        raise InvalidInput("not a private key: 32 bytes inside the order of secp256k1")


def _address_in(path: Path) -> str:
    """The address a file names; new files name it in its checksum, so nothing needs hashing."""
    digits = str(read_json(path).get("address", "")).removeprefix("0x")
    if len(digits) != 40 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
        raise InvalidInput(f"{path} names no address")
    address = "0x" + digits
    return to_checksum(address) if digits in (digits.lower(), digits.upper()) else address
