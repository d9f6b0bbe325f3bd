"""Passwords in the system's keyring (macOS Keychain, Secret Service, Windows), by `keyring`.

An entry is found by the service `plaza-wallet` and the key's address; it is put there with
keyring's own command, `keyring set plaza-wallet 0x…`. This wallet only reads.
"""

from __future__ import annotations

from wallet.errors import PasswordError

SERVICE = "plaza-wallet"


def read_password(address: str) -> str:
    """Return the password kept for a key.

    Raises:
        PasswordError: `keyring` is not installed, the keyring cannot be opened, or it has none.
    """
    try:
        import keyring  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise PasswordError("the keyring needs an extra: pip install 'plaza[keyring]'") from error
    try:
        password = keyring.get_password(SERVICE, address)
    except keyring.errors.KeyringError as error:
        raise PasswordError(f"the keyring cannot be read: {error}") from error
    if password is None:
        raise PasswordError(
            f"the keyring has no password for it: `keyring set {SERVICE} {address}` puts one there"
        )
    return password
