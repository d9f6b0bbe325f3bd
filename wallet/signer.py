"""Who signs: a protocol, and the signers whose key is in this process when it signs.

Keys that never leave a device or service sign through `wallet.kms`.
"""

from __future__ import annotations

import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

from wallet.addresses import parse_address
from wallet.errors import CannotSign
from wallet.files import default_home
from wallet.keys import Keystore, address_of_key
from wallet.mnemonics import DEFAULT_PATH, derive_key


class Signer(Protocol):
    """Signs for one address. The caller checks what came back against what it asked for."""

    @property
    def address(self) -> str:
        """The signer's address, checksummed; never asks for anything."""

    def sign_transaction(self, fields: Mapping[str, Any]) -> bytes:
        """Sign an EIP-1559 transaction and return its raw bytes."""

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        """Sign EIP-712 typed data (types, primaryType, domain, message); 65 bytes, r s v."""

    def sign_message(self, message: bytes) -> bytes:
        """Sign a message as EIP-191 has it for people (version E); 65 bytes, r s v."""


class LocalSigner(ABC):
    """Signs with a private key that is in memory while it signs."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The signer's address, checksummed."""

    @abstractmethod
    def unlock(self) -> bytes:
        """Return the private key, asking for what opens it."""

    def sign_transaction(self, fields: Mapping[str, Any]) -> bytes:
        from eth_account import Account  # noqa: PLC0415  # only to sign

        return bytes(Account.sign_transaction(dict(fields), self.unlock()).raw_transaction)

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        from eth_account import Account  # noqa: PLC0415  # only to sign

        signed = Account.sign_typed_data(self.unlock(), full_message=dict(typed_data))
        return bytes(signed.signature)

    def sign_message(self, message: bytes) -> bytes:
        from eth_account import Account  # noqa: PLC0415  # only to sign
        from eth_account.messages import encode_defunct  # noqa: PLC0415

        return bytes(Account.sign_message(encode_defunct(message), self.unlock()).signature)


class KeystoreSigner(LocalSigner):
    """Signs with a key of the keystore; asks for its password once, when first needed."""

    def __init__(self, name: str, password: Callable[[], str], home: Path | None = None) -> None:
        """Raises UnknownName if there is no such key."""
        self._keystore = Keystore(home or default_home())
        self._key = self._keystore.get(name)
        self._ask_password = password
        self._private_key: bytes | None = None

    @property
    def address(self) -> str:
        return self._key.address

    def prepare(self) -> None:
        """Start loading what signing needs, in the background: it takes most of a second."""
        # Not a daemon: an interpreter that ends in the middle of an import may never end.
        threading.Thread(target=importlib.import_module, args=("eth_account",)).start()

    def unlock(self) -> bytes:
        """Ask for the password and open the key, once. Raises PasswordError."""
        if self._private_key is None:
            self._private_key = self._keystore.unlock(self._key.name, self._ask_password())
        return self._private_key


class MnemonicSigner(LocalSigner):
    """Signs with the key that words and a path lead to; the words are not kept."""

    def __init__(self, mnemonic: str, path: str = DEFAULT_PATH, passphrase: str = "") -> None:
        """Raises InvalidInput if the words are no mnemonic, or the path is none."""
        self._private_key = derive_key(mnemonic, path, passphrase)
        self._address = address_of_key(self._private_key)

    @property
    def address(self) -> str:
        return self._address

    def unlock(self) -> bytes:
        return self._private_key


class WatchOnlySigner:
    """Stands for an address whose key is elsewhere: everything can be planned, nothing signed."""

    def __init__(self, address: str) -> None:
        """Raises InvalidInput if it is no address."""
        self._address = parse_address(address)

    @property
    def address(self) -> str:
        return self._address

    def sign_transaction(self, fields: Mapping[str, Any]) -> NoReturn:
        self._refuse()

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> NoReturn:
        self._refuse()

    def sign_message(self, message: bytes) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise CannotSign(f"{self._address} is only watched here: its key is elsewhere")
