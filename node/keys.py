"""The node's keys: one sealed seed, and the signers derived from it.

Every key the platform holds comes from one 32-byte seed by BIP-32 (the seed is the BIP-32 seed as
it is, without BIP-39 words):

| path | keys |
|---|---|
| `m/44'/60'/0'/0/i` | the platform's, by their place in `PLATFORM_KEYS`: admin 0 to guardian 10 |
| `m/44'/60'/1'/0/i` | managed accounts of the marketplace's customers, by their index |
| `m/44'/60'/2'/0/i` | further operators, `operator:1` and so on: they share the load of purchases |

The platform's keys, and what each is for:

| i | name | signs |
|---|---|---|
| 0 | admin | the deployment; grants and revokes roles; mint limits |
| 1 | treasury | minting against money received |
| 2 | operator | admissions, freezes, purchases; relays customers' signatures |
| 3 | enforcer | seizures from frozen accounts |
| 4 | fee_receiver | nothing: receives the fees |
| 5 | underwriter | credit offers (off chain) |
| 6 | servicer | holidays, waivers and charge-offs of credit lines |
| 7 | risk | lower limits of credit lines, and the caps of all lines |
| 8 | arbiter | decisions on disputes |
| 9 | steward | which contracts are the platform's: system members, sales sources |
| 10 | guardian | pauses; cancels what others have scheduled |

The order is for good, since a key's path is its place: new names go to the end.

What the database has to keep secret (the signing secrets of webhooks) is sealed with a key that is
derived from the seed by HKDF, so a copy of the database alone gives none of it away.
The accounts are hardened siblings, so a key of one branch tells nothing of the other.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import coincurve
import orjson
import rlp
from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF
from eth_account.hdaccount.deterministic import HardNode, SoftNode, derive_child_key
from eth_account.messages import encode_typed_data
from eth_keyfile.keyfile import create_keyfile_json, decode_keyfile_json
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from node.settings import MAX_OPERATORS

PLATFORM_BRANCH = "m/44'/60'/0'/0"
MANAGED_BRANCH = "m/44'/60'/1'/0"
OPERATOR_BRANCH = "m/44'/60'/2'/0"
PLATFORM_KEYS = (
    "admin",
    "treasury",
    "operator",
    "enforcer",
    "fee_receiver",
    "underwriter",
    "servicer",
    "risk",
    "arbiter",
    "steward",
    "guardian",
)
SCRYPT_N = 262_144
SEED_BYTES = 32
NONCE_BYTES = 12  # of a sealed secret
_TAG_BYTES = 16

_TRANSACTION_FIELDS = frozenset(
    {"chainId", "nonce", "to", "value", "data", "gas", "maxFeePerGas", "maxPriorityFeePerGas"}
)


class SeedError(Exception):
    """The sealed seed cannot be made or opened; the message is for people."""


class SignedTransaction(NamedTuple):
    """The bytes to broadcast, and the transaction hash as 0x-prefixed hex."""

    raw: bytes
    hash: str


class Signer(Protocol):
    """Signs for one address. The key may be here, or in a KMS or HSM."""

    @property
    def address(self) -> str:
        """Checksummed address."""
        ...

    def sign_transaction(self, transaction: Mapping[str, Any]) -> SignedTransaction:
        """Sign an EIP-1559 transaction: chainId, nonce, gas, and to, value, data and fees if any.

        A missing `to` creates a contract; missing value, data and fees are zero.

        Raises:
            ValueError: a field is missing or unknown.
        """
        ...

    def sign_typed_data(
        self, domain: Mapping[str, Any], types: Mapping[str, Any], message: Mapping[str, Any]
    ) -> bytes:
        """Sign an EIP-712 message; 65 bytes r, s, v (27 or 28)."""
        ...

    def sign_hash(self, digest: bytes) -> bytes:
        """Sign 32 bytes as they are; 65 bytes r, s, v (27 or 28)."""
        ...


class LocalSigner:
    """A key in this process. On libsecp256k1: a signature takes some 50 microseconds."""

    def __init__(self, private_key: bytes) -> None:
        self._key = coincurve.PrivateKey(private_key)
        public_key = self._key.public_key.format(compressed=False)
        self.address = str(to_checksum_address(keccak(public_key[1:])[-20:]))

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"

    def sign_transaction(self, transaction: Mapping[str, Any]) -> SignedTransaction:
        # Encoded here rather than by eth_account, which takes ten times as long over its checks.
        if unknown := set(transaction) - _TRANSACTION_FIELDS:
            raise ValueError(f"an EIP-1559 transaction has no {', '.join(sorted(unknown))}")
        if missing := {"chainId", "nonce", "gas"} - set(transaction):
            raise ValueError(f"the transaction does not say its {', '.join(sorted(missing))}")
        fields = [
            transaction["chainId"],
            transaction["nonce"],
            transaction.get("maxPriorityFeePerGas", 0),
            transaction.get("maxFeePerGas", 0),
            transaction["gas"],
            _bytes(transaction.get("to") or b"", (0, 20)),
            transaction.get("value", 0),
            _bytes(transaction.get("data", b"")),
            [],
        ]
        signature = self.sign_hash(keccak(b"\x02" + rlp.encode(fields)))
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64])
        raw = b"\x02" + rlp.encode([*fields, signature[64] - 27, r, s])
        return SignedTransaction(raw, "0x" + keccak(raw).hex())

    def sign_typed_data(
        self, domain: Mapping[str, Any], types: Mapping[str, Any], message: Mapping[str, Any]
    ) -> bytes:
        signable = encode_typed_data(dict(domain), dict(types), dict(message))
        return self.sign_hash(keccak(b"\x19" + signable.version + signable.header + signable.body))

    def sign_hash(self, digest: bytes) -> bytes:
        if len(digest) != 32:
            raise ValueError(f"32 bytes are signed, not {len(digest)}")
        signature = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([signature[64] + 27])


def operator_name(number: int) -> str:
    """The name of an operator's key: the first has stood alone for long, and has no number."""
    return "operator" if number == 0 else f"operator:{number}"


class SealedSeed:
    """The seed, opened: gives the signers of the platform and of managed accounts.

    On disk it is an encrypted JSON file (keystore version 3, scrypt, AES-128-CTR), readable by its
    owner alone.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise SeedError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._managed = lru_cache(maxsize=65_536)(self._derive_managed)
        context = b"secrets in the database"
        self._sealing_key = cast(bytes, HKDF(seed, 32, b"plaza", SHA256, context=context))
        # The parents of all keys: five levels are derived once, one for each key.
        platform_branch = _derive_branch(seed, PLATFORM_BRANCH)
        self._managed_branch = _derive_branch(seed, MANAGED_BRANCH)
        self._platform = {
            name: _derive_child(platform_branch, index) for index, name in enumerate(PLATFORM_KEYS)
        }
        operator_branch = _derive_branch(seed, OPERATOR_BRANCH)
        self._platform |= {
            operator_name(number): _derive_child(operator_branch, number)
            for number in range(1, MAX_OPERATORS)
        }
        self._operator_names = {
            self._platform[operator_name(number)].address: operator_name(number)
            for number in range(MAX_OPERATORS)
        }

    def __repr__(self) -> str:
        return f"SealedSeed(admin={self._platform['admin'].address})"

    @classmethod
    def create(
        cls, path: Path, passphrase: str, entropy: bytes, *, scrypt_n: int = SCRYPT_N
    ) -> SealedSeed:
        """Seal a new seed into a file that does not exist yet, and return it opened.

        Args:
            entropy: the 32 bytes of the seed, from a cryptographic source.
            scrypt_n: cost of guessing the passphrase; the default takes 256 MB and about a second.

        Raises:
            SeedError: the file exists (it is never overwritten), or the entropy is not 32 bytes.
        """
        opened = cls(entropy)
        _create_private(path, _encrypt(entropy, passphrase, scrypt_n))
        return opened

    @classmethod
    def open(cls, path: Path, passphrase: str) -> SealedSeed:
        """Open a sealed seed.

        Raises:
            SeedError: there is no file, it is not a sealed seed, or the passphrase is wrong.
        """
        return cls(_decrypt(path, passphrase))

    @staticmethod
    def reseal(
        path: Path, passphrase: str, new_passphrase: str, *, scrypt_n: int = SCRYPT_N
    ) -> None:
        """Seal the seed of a file with another passphrase; all keys stay what they are.

        The file is replaced whole or not at all. Copies of the old one still open with the old
        passphrase.

        Raises:
            SeedError: as `open` does; the file is as it was.
        """
        seed = _decrypt(path, passphrase)
        resealed = _write_private(path, _encrypt(seed, new_passphrase, scrypt_n))
        try:
            if _decrypt(resealed, new_passphrase) != seed:
                raise SeedError(f"the seed of {path} was not sealed anew: it would not open again")
            os.replace(resealed, path)
        finally:
            resealed.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def platform(self, name: str) -> LocalSigner:
        """Return a signer of the platform.

        Args:
            name: one of `PLATFORM_KEYS`, or a further operator's, such as "operator:3".

        Raises:
            SeedError: there is no such key.
        """
        try:
            return self._platform[name]
        except KeyError:
            raise SeedError(f"no platform key {name!r}: {', '.join(PLATFORM_KEYS)}") from None

    def signer(self, name: str) -> LocalSigner:
        """Return the signer of an operation: a platform key's name, or "managed:<index>".

        Raises:
            SeedError, ValueError: there is no such key.
        """
        branch, _, index = name.partition(":")
        return self.managed(int(index)) if branch == "managed" else self.platform(name)

    def operator_at(self, address: str) -> str | None:
        """Return the name of the operator key with this address, however many are in use now."""
        return self._operator_names.get(address)

    def managed(self, index: int) -> LocalSigner:
        """Return the signer of the managed account `index` (from 0)."""
        return self._managed(index)

    def seal(self, secret: bytes, owner: str, nonce: bytes) -> str:
        """Encrypt a secret for the database (AES-256-GCM).

        Args:
            owner: whose secret it is, such as an endpoint's id: it opens under that name alone.
            nonce: 12 random bytes, never used before.
        """
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
        cipher = AES.new(self._sealing_key, AES.MODE_GCM, nonce=nonce, mac_len=_TAG_BYTES)
        cipher.update(owner.encode())
        encrypted, tag = cipher.encrypt_and_digest(secret)
        return base64.b64encode(nonce + tag + encrypted).decode()

    def unseal(self, sealed: str, owner: str) -> bytes:
        """Open what `seal` made.

        Raises:
            SeedError: it was sealed by another seed, for another owner, or was changed.
        """
        try:
            raw = base64.b64decode(sealed, validate=True)
            nonce, tag = raw[:NONCE_BYTES], raw[NONCE_BYTES : NONCE_BYTES + _TAG_BYTES]
            cipher = AES.new(self._sealing_key, AES.MODE_GCM, nonce=nonce, mac_len=_TAG_BYTES)
            cipher.update(owner.encode())
            return bytes(cipher.decrypt_and_verify(raw[NONCE_BYTES + _TAG_BYTES :], tag))
        except ValueError as error:
            raise SeedError(f"the secret of {owner} does not open with this seed") from error

    def _derive_managed(self, index: int) -> LocalSigner:
        if not 0 <= index < 2**31:
            raise SeedError(f"a managed account's index is from 0 to 2^31 - 1, not {index}")
        return _derive_child(self._managed_branch, index)


def _derive_branch(seed: bytes, path: str) -> tuple[bytes, bytes]:
    """Private key and chain code at a BIP-32 path below the seed."""
    digest = hmac.digest(b"Bitcoin seed", seed, "sha512")
    key, chain_code = digest[:32], digest[32:]
    for level in path.split("/")[1:]:
        node = HardNode(int(level[:-1])) if level.endswith("'") else SoftNode(int(level))
        key, chain_code = derive_child_key(key, chain_code, node)
    return key, chain_code


def _derive_child(branch: tuple[bytes, bytes], index: int) -> LocalSigner:
    key, _ = derive_child_key(*branch, SoftNode(index))
    return LocalSigner(key)


def _encrypt(seed: bytes, passphrase: str, scrypt_n: int) -> bytes:
    keyfile = create_keyfile_json(seed, passphrase.encode(), kdf="scrypt", iterations=scrypt_n)
    del keyfile["address"]  # of the seed taken as a key, which it is not
    return orjson.dumps(keyfile, option=orjson.OPT_INDENT_2)


def _decrypt(path: Path, passphrase: str) -> bytes:
    try:
        keyfile = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise SeedError(f"there is no sealed seed at {path}") from None
    except (OSError, ValueError) as error:
        raise SeedError(f"the sealed seed {path} cannot be read: {error}") from error
    try:
        return bytes(decode_keyfile_json(keyfile, passphrase.encode()))
    except ValueError as error:
        if "MAC" in str(error):
            raise SeedError(f"the passphrase of {path} is wrong, or the file was changed") from None
        raise SeedError(f"{path} is not a sealed seed: {error}") from error
    except (KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise SeedError(f"{path} is not a sealed seed: {error!r}") from error


def _create_private(path: Path, content: bytes) -> None:
    """Create a file for its owner's eyes, whole or not at all, never over another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _write_private(path, content)
    try:
        os.link(temporary, path)  # unlike a rename, refuses where a file stands
    except FileExistsError:
        raise SeedError(f"{path} exists already and is never overwritten") from None
    finally:
        temporary.unlink()
    _sync_folder(path.parent)


def _write_private(path: Path, content: bytes) -> Path:
    """Write a file for its owner's eyes beside `path`, as it will be there after a power cut."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink()
        raise
    return temporary


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk, too: a seed that only its file's bytes outlived is lost
    just the same."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bytes(value: str | bytes, lengths: tuple[int, ...] | None = None) -> bytes:
    raw = bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else value
    if lengths is not None and len(raw) not in lengths:
        raise ValueError(f"an address has 20 bytes, not {len(raw)}")
    return raw
