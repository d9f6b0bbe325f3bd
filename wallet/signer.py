"""Who signs: a protocol, and the signer that opens a key of the keystore when it has to."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from wallet.files import default_home
from wallet.keys import Keystore


class Signer(Protocol):
    """Signs for one address. The caller checks what came back against what it asked for."""

    @property
    def address(self) -> str:
        """The signer's address, checksummed; never asks for anything."""

    def sign_transaction(self, fields: Mapping[str, Any]) -> bytes:
        """Sign an EIP-1559 transaction and return its raw bytes."""

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        """Sign EIP-712 typed data (types, primaryType, domain, message); 65 bytes, r s v."""


class KeystoreSigner:
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

    def sign_transaction(self, fields: Mapping[str, Any]) -> bytes:
        from eth_account import Account  # noqa: PLC0415  # only to sign

        return bytes(Account.sign_transaction(dict(fields), self.unlock()).raw_transaction)

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        from eth_account import Account  # noqa: PLC0415  # only to sign

        signed = Account.sign_typed_data(self.unlock(), full_message=dict(typed_data))
        return bytes(signed.signature)
