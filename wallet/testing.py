"""For the tests of programs that use this library."""

from __future__ import annotations

import secrets

from wallet.keys import address_of_key, check_private_key
from wallet.signer import LocalSigner


class MemorySigner(LocalSigner):
    """Signs with a key that lives in memory alone: a random one, or the one given.

    Never for money: whoever can read the process or the test has the key.
    """

    def __init__(self, private_key: bytes | None = None) -> None:
        """Raises InvalidInput if the bytes given are no private key."""
        self._private_key = secrets.token_bytes(32) if private_key is None else private_key
        check_private_key(self._private_key)
        self._address = address_of_key(self._private_key)

    @property
    def address(self) -> str:
        return self._address

    def unlock(self) -> bytes:
        return self._private_key
