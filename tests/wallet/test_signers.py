"""Each signer gives what eth-account gives for the same key, or says why it cannot sign."""

from __future__ import annotations

import base64
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import coincurve
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wallet.chain import COIN, Platform
from tests.wallet.conftest import Home
from wallet import Confirmed, MnemonicSigner, Signer, TypedData, Wallet, WatchOnlySigner
from wallet.errors import CannotSign, InvalidInput, WalletError
from wallet.keys import address_of_key
from wallet.kms import (
    DigestSigner,
    address_of_public_key,
    aws_kms_signer,
    google_kms_signer,
    parse_der_signature,
)
from wallet.mnemonics import derive_key
from wallet.signatures import ORDER, sign_message, sign_typed_data
from wallet.testing import MemorySigner

KEY = bytes.fromhex("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")
WORDS = "test test test test test test test test test test test junk"
SECOND = "m/44'/60'/0'/0/1"  # leads to KEY

digests = st.binary(min_size=32, max_size=32)
private_keys = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))

TRANSACTION: dict[str, Any] = {
    "type": 2,
    "chainId": 4242,
    "nonce": 7,
    "to": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    "value": 0,
    "data": "0xa9059cbb",
    "gas": 60_000,
    "maxFeePerGas": 0,
    "maxPriorityFeePerGas": 0,
}
TYPED = TypedData.from_json(
    {
        "types": {
            "Order": [{"name": "number", "type": "uint32"}, {"name": "note", "type": "string"}]
        },
        "primaryType": "Order",
        "domain": {"name": "Shop", "chainId": 4242},
        "message": {"number": 8841, "note": "tea"},
    }
)


def der(r: int, s: int) -> bytes:
    def integer(number: int) -> bytes:
        digits = number.to_bytes(number.bit_length() // 8 + 1, "big")
        return b"\x02" + bytes([len(digits)]) + digits

    both = integer(r) + integer(s)
    return b"\x30" + bytes([len(both)]) + both


class Module:
    """A secp256k1 key that signs digests as a hardware module does: in DER, with either s."""

    def __init__(self, private_key: bytes, upper: bool = False) -> None:
        self._key = coincurve.PrivateKey(private_key)
        self._upper = upper
        point = self._key.public_key.format(compressed=False)
        self.public_key = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200") + point

    def sign(self, digest: bytes) -> bytes:
        assert len(digest) == 32
        signature = self._key.sign_recoverable(digest, hasher=None)
        r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
        return der(r, ORDER - s if self._upper else s)

    def signer(self) -> DigestSigner:
        return DigestSigner(address_of_public_key(self.public_key), self.sign)


SIGNERS: dict[str, Callable[[], Signer]] = {
    "memory": lambda: MemorySigner(KEY),
    "mnemonic": lambda: MnemonicSigner(WORDS, SECOND),
    "service, lower s": lambda: Module(KEY).signer(),
    "service, upper s": lambda: Module(KEY, upper=True).signer(),
}


@pytest.mark.parametrize("kind", SIGNERS)
def test_every_signer_signs_what_eth_account_signs(kind: str) -> None:
    signer, account = SIGNERS[kind](), Account.from_key(KEY)
    assert signer.address == account.address
    assert (
        signer.sign_transaction(TRANSACTION)
        == account.sign_transaction(TRANSACTION).raw_transaction
    )
    assert sign_typed_data(signer, TYPED) == bytes(
        account.sign_typed_data(full_message=TYPED.to_json()).signature
    )
    for text in ("", "order 8841", "Bestätigt ✓"):
        expected = account.sign_message(encode_defunct(text=text)).signature
        assert sign_message(signer, text.encode()) == bytes(expected)


@pytest.mark.parametrize("kind", SIGNERS)
def test_every_signer_pays(platform: Platform, home: Home, kind: str) -> None:
    signer = SIGNERS[kind]()
    platform.admit(signer.address)
    platform.mint(signer.address, 2 * COIN)
    to = platform.member().address
    with Wallet.open("plaza", signer=signer, home=home.path) as wallet:
        outcome = wallet.submit(wallet.plan_transfer(to, COIN)).wait()
    assert isinstance(outcome, Confirmed)
    assert platform.balance(to) == COIN


def test_a_watched_address_plans_and_signs_nothing(platform: Platform, home: Home) -> None:
    watched = WatchOnlySigner(home.account.address.lower())
    assert watched.address == home.account.address
    with Wallet.open("plaza", signer=watched, home=home.path) as wallet:
        plan = wallet.plan_transfer(platform.member().address, COIN)
        with pytest.raises(CannotSign, match="only watched"):
            wallet.submit(plan)
        assert wallet.unfinished() == []
    for sign in (watched.sign_typed_data, watched.sign_message):
        with pytest.raises(CannotSign):
            sign({})  # type: ignore[operator]
    with pytest.raises(InvalidInput):
        WatchOnlySigner("0x12")


def test_a_signature_that_is_not_of_what_was_asked_is_refused() -> None:
    class Liar(MemorySigner):
        def sign_message(self, message: bytes) -> bytes:
            return super().sign_message(message + b"!")

        def sign_typed_data(self, typed_data: Any) -> bytes:
            return super().sign_typed_data({**typed_data, "message": {"number": 1, "note": "tea"}})

    liar = Liar()
    for sign in (lambda: sign_message(liar, b"x"), lambda: sign_typed_data(liar, TYPED)):
        with pytest.raises(WalletError, match="not of " + liar.address):
            sign()


def test_a_signer_in_memory_is_another_each_time() -> None:
    assert MemorySigner().address != MemorySigner().address
    with pytest.raises(InvalidInput):
        MemorySigner(b"\0" * 32)


def test_a_mnemonic_signer_is_that_of_its_path_and_passphrase() -> None:
    expected = address_of_key(derive_key(WORDS, SECOND, "open sesame"))
    assert MnemonicSigner(WORDS, SECOND, "open sesame").address == expected
    with pytest.raises(InvalidInput):
        MnemonicSigner(WORDS + " test")


# ------------------------------------------------------------------------- key services


@settings(deadline=None)
@given(private_keys, digests, st.booleans())
def test_what_a_module_signs_becomes_what_the_chain_takes(
    key: bytes, digest: bytes, upper: bool
) -> None:
    module = Module(key, upper)
    assert module.signer().address == address_of_key(key)
    signature = module.signer()._sign(digest)
    assert signature == bytes(Account.unsafe_sign_hash(digest, key).signature)
    assert int.from_bytes(signature[32:64], "big") <= ORDER // 2


def test_the_signature_of_another_key_is_refused() -> None:
    signer = DigestSigner(Account.create().address, Module(KEY).sign)
    with pytest.raises(CannotSign, match="not of " + signer.address):
        signer.sign_message(b"x")


@given(st.integers(1, ORDER - 1), st.integers(1, ORDER - 1))
def test_der_reads_back(r: int, s: int) -> None:
    assert parse_der_signature(der(r, s)) == (r, s)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"\x30",
        der(1, 2) + b"\0",
        der(1, 2)[:-1],
        der(1, 2)[:-3],
        b"\x31" + der(1, 2)[1:],
        der(0, 2),
        der(1, ORDER),
        der(ORDER + 1, 1),
        bytes.fromhex("3006020181020101"),  # negative
        bytes.fromhex("300702020001020101"),  # padded
        bytes.fromhex("30050200020101"),  # empty
        bytes.fromhex("3009020101020101020101"),  # a third number
        bytes.fromhex("3007030101020101"),
    ],
)
def test_what_is_not_strict_der_is_refused(signature: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a DER signature"):
        parse_der_signature(signature)


def test_a_public_key_of_another_curve_is_refused() -> None:
    key = Module(KEY).public_key
    other_curve = key.replace(bytes.fromhex("06052b8104000a"), bytes.fromhex("06052b81040022"))
    for wrong in (other_curve, key[:-1], key + b"\0", b""):
        with pytest.raises(InvalidInput, match="secp256k1"):
            address_of_public_key(wrong)


def test_a_client_of_aws_signs() -> None:
    """A client that answers as boto3's does to these very parameters."""

    class Client:
        module = Module(KEY, upper=True)

        def get_public_key(self, *, KeyId: str) -> dict[str, Any]:
            return {"KeyId": KeyId, "PublicKey": self.module.public_key}

        def sign(self, **parameters: Any) -> dict[str, Any]:
            assert parameters["MessageType"] == "DIGEST", "or the service hashes once more"
            assert parameters["SigningAlgorithm"] == "ECDSA_SHA_256"
            return {"Signature": self.module.sign(parameters["Message"])}

    signer = aws_kms_signer(Client(), "alias/wallet")
    assert sign_typed_data(signer, TYPED) == sign_typed_data(MemorySigner(KEY), TYPED)


def test_a_client_of_google_signs() -> None:
    class Client:
        module = Module(KEY, upper=True)

        def get_public_key(self, *, request: dict[str, Any]) -> SimpleNamespace:
            body = base64.encodebytes(self.module.public_key).decode()
            pem = f"-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----\n"
            return SimpleNamespace(name=request["name"], pem=pem)

        def asymmetric_sign(self, *, request: dict[str, Any]) -> SimpleNamespace:
            return SimpleNamespace(signature=self.module.sign(request["digest"]["sha256"]))

    signer = google_kms_signer(Client(), "projects/p/…/cryptoKeyVersions/1")
    assert sign_message(signer, b"x") == sign_message(MemorySigner(KEY), b"x")
