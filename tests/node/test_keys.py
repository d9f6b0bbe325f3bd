"""The sealed seed, and what its signers sign."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from node.keys import PLATFORM_KEYS, LocalSigner, SealedSeed, SeedError

SEED = bytes(range(32))
# Its platform keys 4 and 9 by another implementation, viem's HDKey.
FEE_RECEIVER = "0xFB6Fcd1b1a44070Ac4a642E50Ae7f009eACb62A7"
STEWARD = "0xf653e3cd2fC460C7CF0C03CCf26Da92E627fC18D"
CHEAP = 2  # scrypt's cost, where the test is not about it


def test_a_sealed_seed_gives_the_same_signers_again(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "seed.json"
    created = SealedSeed.create(path, "correct horse", SEED, scrypt_n=CHEAP)
    opened = SealedSeed.open(path, "correct horse")
    for name in PLATFORM_KEYS:
        assert opened.platform(name).address == created.platform(name).address
    assert opened.managed(7).address == created.managed(7).address


def test_the_seed_is_sealed_with_the_strong_scrypt_by_default(tmp_path: Path) -> None:
    path = tmp_path / "seed.json"
    SealedSeed.create(path, "pass", SEED)
    written = json.loads(path.read_text())
    assert written["crypto"]["kdfparams"]["n"] == 262_144
    assert written["version"] == 3
    assert "address" not in written


def test_the_file_is_for_its_owner_alone_and_holds_no_seed(tmp_path: Path) -> None:
    path = tmp_path / "seed.json"
    SealedSeed.create(path, "pass", SEED, scrypt_n=CHEAP)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SEED.hex() not in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["seed.json"]


def test_a_seed_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "seed.json"
    SealedSeed.create(path, "pass", SEED, scrypt_n=CHEAP)
    before = path.read_bytes()
    with pytest.raises(SeedError, match="never overwritten"):
        SealedSeed.create(path, "pass", b"\x07" * 32, scrypt_n=CHEAP)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["seed.json"]


def test_a_wrong_passphrase_is_said_plainly(tmp_path: Path) -> None:
    path = tmp_path / "seed.json"
    SealedSeed.create(path, "pass", SEED, scrypt_n=CHEAP)
    with pytest.raises(SeedError, match=r"passphrase of .* is wrong"):
        SealedSeed.open(path, "word")


def test_a_changed_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "seed.json"
    SealedSeed.create(path, "pass", SEED, scrypt_n=CHEAP)
    written = json.loads(path.read_text())
    text = written["crypto"]["ciphertext"]
    written["crypto"]["ciphertext"] = ("0" if text[0] != "0" else "1") + text[1:]
    path.write_text(json.dumps(written))
    with pytest.raises(SeedError, match="the file was changed"):
        SealedSeed.open(path, "pass")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b'{"version": 9, "crypto": {}}',
        b'{"version": 3}',
        b'{"version": 3, "crypto": {"kdf": "none"}}',
    ],
)
def test_what_is_not_a_sealed_seed_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "seed.json"
    path.write_bytes(content)
    with pytest.raises(SeedError, match=r"not a sealed seed|cannot be read"):
        SealedSeed.open(path, "pass")


def test_a_missing_seed_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="there is no sealed seed at"):
        SealedSeed.open(tmp_path / "seed.json", "pass")


def test_a_seed_has_32_bytes(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="32 bytes, not 31"):
        SealedSeed.create(tmp_path / "seed.json", "pass", bytes(31))
    assert list(tmp_path.iterdir()) == []


def test_keys_are_those_of_bip32() -> None:
    # Derived from the same 32 bytes with another implementation, viem's HDKey.
    opened = SealedSeed(SEED)
    assert opened.platform("admin").address == "0x919538116b4F25f1CE01429fd9Ed7964556bf565"
    assert opened.managed(5).address == "0xb788033372a4F4fc9769c92f46a1B1D44703d183"


def test_new_keys_are_at_the_end_so_that_the_old_ones_stay_where_they_are() -> None:
    assert PLATFORM_KEYS[:5] == ("admin", "treasury", "operator", "enforcer", "fee_receiver")
    assert PLATFORM_KEYS[5:] == (
        "underwriter", "servicer", "risk", "arbiter", "steward", "guardian",
    )  # fmt: skip
    opened = SealedSeed(SEED)
    assert opened.platform("fee_receiver").address == FEE_RECEIVER
    assert opened.platform("steward").address == STEWARD


def test_every_key_is_another() -> None:
    opened = SealedSeed(SEED)
    addresses = [opened.platform(name).address for name in PLATFORM_KEYS]
    addresses += [opened.managed(index).address for index in range(5)]
    assert len(set(addresses)) == len(addresses)


def test_a_managed_signer_is_derived_once() -> None:
    opened = SealedSeed(SEED)
    assert opened.managed(3) is opened.managed(3)


@pytest.mark.parametrize("index", [-1, 2**31])
def test_an_index_outside_bip32_is_refused(index: int) -> None:
    with pytest.raises(SeedError, match="index is from 0"):
        SealedSeed(SEED).managed(index)


def test_an_unknown_platform_key_is_refused() -> None:
    with pytest.raises(SeedError, match="no platform key 'root': admin, treasury"):
        SealedSeed(SEED).platform("root")


def test_nothing_secret_is_shown() -> None:
    key = bytes.fromhex("11" * 32)
    for shown in (repr(LocalSigner(key)), str(LocalSigner(key))):
        assert "11" * 16 not in shown
    assert SEED.hex()[:16] not in repr(SealedSeed(SEED))


@pytest.mark.parametrize(
    "fields",
    [
        {"to": "0x" + "ab" * 20, "data": "0x1234", "value": 5, "nonce": 0},
        {"to": "0x" + "ab" * 20, "nonce": 2**40},
        {"data": b"\x60\x00" * 300, "nonce": 1, "maxFeePerGas": 7, "maxPriorityFeePerGas": 3},
        {"to": None, "data": "0x00", "nonce": 128},
    ],
)
def test_a_transaction_is_signed_byte_for_byte_as_eth_account_does(fields: dict[str, Any]) -> None:
    account = Account.from_key(b"\x11" * 32)
    transaction = {"chainId": 4242, "gas": 100_000, **fields}
    full = {"value": 0, "data": "0x", "maxFeePerGas": 0, "maxPriorityFeePerGas": 0, **transaction}
    if full.get("to") is None:
        full.pop("to", None)
    else:
        full["to"] = bytes.fromhex(full["to"][2:])
    expected = account.sign_transaction(full)
    signed = LocalSigner(b"\x11" * 32).sign_transaction(transaction)
    assert signed.raw == expected.raw_transaction
    assert signed.hash == "0x" + expected.hash.hex()
    assert Account.recover_transaction(signed.raw) == account.address


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"gasPrice": 0}, "has no gasPrice"),
        ({"from": "0x" + "ab" * 20}, "has no from"),
        ({"to": "0xabcd"}, "20 bytes, not 2"),
        ({"nonce": None}, "does not say its nonce"),
    ],
)
def test_a_transaction_that_says_too_much_or_too_little_is_not_signed(
    fields: dict[str, Any], complaint: str
) -> None:
    transaction = {"chainId": 4242, "gas": 100_000, "nonce": 0, **fields}
    transaction = {key: value for key, value in transaction.items() if value is not None}
    with pytest.raises(ValueError, match=complaint):
        LocalSigner(b"\x11" * 32).sign_transaction(transaction)


def test_typed_data_is_signed_as_eth_account_does() -> None:
    domain = {"name": "Plaza Coin", "version": "1", "chainId": 4242}
    types = {"Mail": [{"name": "to", "type": "address"}, {"name": "text", "type": "string"}]}
    message = {"to": "0x" + "ab" * 20, "text": "hello"}
    expected = Account.sign_message(
        encode_typed_data(domain, types, message), private_key=b"\x11" * 32
    )
    assert LocalSigner(b"\x11" * 32).sign_typed_data(domain, types, message) == expected.signature


def test_a_signature_names_its_signer_and_has_a_low_s() -> None:
    signer = LocalSigner(b"\x11" * 32)
    half_order = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
    for number in range(20):
        digest = number.to_bytes(32)
        signature = signer.sign_hash(digest)
        assert signature[64] in (27, 28)
        assert int.from_bytes(signature[32:64]) <= half_order
        assert Account._recover_hash(digest, signature=signature) == signer.address


def test_only_32_bytes_are_signed() -> None:
    with pytest.raises(ValueError, match="32 bytes are signed, not 31"):
        LocalSigner(b"\x11" * 32).sign_hash(bytes(31))


def test_a_sealed_secret_opens_with_this_seed_for_its_owner_and_unchanged() -> None:
    seed, other = SealedSeed(SEED), SealedSeed(SEED[::-1])
    sealed = seed.seal(b"secret", "whe_1", b"n" * 12)
    assert SealedSeed(SEED).unseal(sealed, "whe_1") == b"secret"
    assert "secret" not in sealed
    assert seed.seal(b"secret", "whe_1", b"m" * 12)[:8] != sealed[:8]
    changed = sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:]
    for opener, text, owner in (
        (other, sealed, "whe_1"),
        (seed, sealed, "whe_2"),
        (seed, changed, "whe_1"),
        (seed, "", "whe_1"),
        (seed, "not base64!", "whe_1"),
    ):
        with pytest.raises(SeedError, match="does not open"):
            opener.unseal(text, owner)
    with pytest.raises(ValueError, match="12 bytes"):
        seed.seal(b"secret", "whe_1", b"short")
