"""Keys in a key management service or hardware module: it signs a digest, and keeps the key.

What such services return is ECDSA in ASN.1 DER, with `s` in either half and no recovery id. The
chain wants the lower half and the id, so both are worked out here, against the known address.

The service's client is the caller's own: `aws_kms_signer` takes one of boto3,
`google_kms_signer` one of google-cloud-kms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wallet.addresses import keccak, parse_address
from wallet.errors import CannotSign, InvalidInput
from wallet.intents import signer_of
from wallet.signatures import ORDER, message_digest
from wallet.typed_data import TypedData

# What precedes the 64 bytes of a public key on secp256k1 in DER: its kind, its curve, "0x04".
_KEY_PREFIX = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200") + b"\x04"


class DigestSigner:
    """Signs with a key that only ever sees 32-byte digests."""

    def __init__(self, address: str, sign_digest: Callable[[bytes], bytes]) -> None:
        """`sign_digest` returns a DER signature of exactly these 32 bytes, not of their hash.

        Raises:
            InvalidInput: it is no address.
        """
        self._address = parse_address(address)
        self._sign_digest = sign_digest

    @property
    def address(self) -> str:
        return self._address

    def sign_transaction(self, fields: Mapping[str, Any]) -> bytes:
        from eth_account.typed_transactions.typed_transaction import (  # noqa: PLC0415
            TypedTransaction,
        )

        digest = bytes(TypedTransaction.from_dict(dict(fields)).hash())
        signature = self._sign(digest)
        signed = {
            **fields,
            "r": int.from_bytes(signature[:32], "big"),
            "s": int.from_bytes(signature[32:64], "big"),
            "v": signature[64] - 27,
        }
        return bytes(TypedTransaction.from_dict(signed).encode())

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        return self._sign(TypedData.from_json(typed_data).digest())

    def sign_message(self, message: bytes) -> bytes:
        return self._sign(message_digest(message))

    def _sign(self, digest: bytes) -> bytes:
        """Sign a digest; 65 bytes, r s v, with the lower s.

        Raises:
            CannotSign: what came back is not a signature of the digest by this address.
        """
        r, s = parse_der_signature(self._sign_digest(digest))
        lower = min(s, ORDER - s)
        for recovery in (27, 28):
            signature = r.to_bytes(32, "big") + lower.to_bytes(32, "big") + bytes([recovery])
            if signer_of(digest, signature) == self._address:
                return signature
        raise CannotSign(f"the key service returned a signature that is not of {self._address}")


def aws_kms_signer(client: Any, key_id: str) -> DigestSigner:
    """Sign with a key of AWS KMS of the kind ECC_SECG_P256K1, by a client of boto3."""
    public_key = client.get_public_key(KeyId=key_id)["PublicKey"]

    def sign(digest: bytes) -> bytes:
        answer = client.sign(
            KeyId=key_id, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256"
        )
        return bytes(answer["Signature"])

    return DigestSigner(address_of_public_key(bytes(public_key)), sign)


def google_kms_signer(client: Any, key_version: str) -> DigestSigner:
    """Sign with a key version of Google Cloud KMS of the kind EC_SIGN_SECP256K1_SHA256.

    Args:
        client: a KeyManagementServiceClient.
        key_version: its whole name, projects/…/cryptoKeyVersions/1.
    """
    import base64  # noqa: PLC0415

    pem = client.get_public_key(request={"name": key_version}).pem
    body = "".join(line for line in pem.splitlines() if not line.startswith("-----"))

    def sign(digest: bytes) -> bytes:
        # The field is named after a hash of 32 bytes; the service does not care which.
        request = {"name": key_version, "digest": {"sha256": digest}}
        return bytes(client.asymmetric_sign(request=request).signature)

    return DigestSigner(address_of_public_key(base64.b64decode(body)), sign)


def address_of_public_key(der: bytes) -> str:
    """Return the address of a secp256k1 public key in DER (SubjectPublicKeyInfo).

    Raises:
        InvalidInput: it is another kind of key.
    """
    if not der.startswith(_KEY_PREFIX) or len(der) != len(_KEY_PREFIX) + 64:
        raise InvalidInput("the service's key is not an uncompressed public key on secp256k1")
    return parse_address("0x" + keccak(der[len(_KEY_PREFIX) :])[12:].hex())


def parse_der_signature(der: bytes) -> tuple[int, int]:
    """Return r and s of an ECDSA signature in strict DER.

    Raises:
        InvalidInput: it is not one, or r or s is out of range.
    """

    def integer(rest: bytes) -> tuple[int, bytes]:
        if len(rest) < 2 or rest[0] != 0x02 or not 0 < rest[1] <= min(33, len(rest) - 2):
            raise InvalidInput("not a DER signature")
        digits, rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        padded = len(digits) > 1 and digits[0] == 0 and digits[1] < 0x80
        number = int.from_bytes(digits, "big", signed=True)
        if padded or not 0 < number < ORDER:
            raise InvalidInput("not a DER signature: a number in it is out of range")
        return number, rest

    if len(der) < 2 or der[0] != 0x30 or der[1] != len(der) - 2:
        raise InvalidInput("not a DER signature")
    r, rest = integer(der[2:])
    s, rest = integer(rest)
    if rest:
        raise InvalidInput("not a DER signature: there is more behind it")
    return r, s
