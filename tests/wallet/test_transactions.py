"""Raw transactions are read as eth_account writes them, and in no other way."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from eth_abi import encode
from eth_account import Account
from eth_utils import keccak

from wallet.abi import FUNCTIONS
from wallet.errors import InvalidInput
from wallet.intents import Terms
from wallet.networks import Network
from wallet.transactions import Transaction, decode_raw, explain

SIGNER = Account.from_key(b"\x01" * 32)
TO = Account.from_key(b"\x02" * 32).address
COIN, ESCROW, BOOK = (Account.from_key(bytes([n]) * 32).address for n in (3, 4, 5))
NETWORK = Network(
    "plaza", 4242, "0x00", "http://x", None, COIN, ESCROW, "PLZ", (), 0, credit_book=BOOK
)


def sign(**changes: Any) -> bytes:
    fields = {
        "type": 2,
        "chainId": 4242,
        "nonce": 0,
        "to": TO,
        "value": 0,
        "data": "0x",
        "gas": 21_000,
        "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0,
        **changes,
    }
    return bytes(SIGNER.sign_transaction(fields).raw_transaction)


@pytest.mark.parametrize("nonce", [0, 1, 127, 128, 255, 256, 2**32])
@pytest.mark.parametrize("size", [0, 1, 55, 56, 68, 255, 256, 70_000])
def test_what_eth_account_signs_is_read(nonce: int, size: int) -> None:
    data = bytes([0x05]) * size
    raw = sign(nonce=nonce, data="0x" + data.hex(), gas=30_000_000)
    signed = decode_raw(raw)
    assert signed.transaction == Transaction(4242, SIGNER.address, nonce, TO, data, 30_000_000)
    assert signed.hash == "0x" + keccak(raw).hex()
    # And signed again, it is the same bytes.
    again = SIGNER.sign_transaction(signed.transaction.fields())
    assert bytes(again.raw_transaction) == raw


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 1},
        {"maxFeePerGas": 1},
        {"maxFeePerGas": 2, "maxPriorityFeePerGas": 1},
        {"to": ""},
        {"accessList": [{"address": TO, "storageKeys": []}]},
    ],
)
def test_what_this_chain_has_no_use_for_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        decode_raw(sign(**changes))


def test_another_type_is_refused() -> None:
    legacy = {"nonce": 0, "to": TO, "value": 0, "data": "0x", "gas": 21_000, "gasPrice": 0}
    raw = SIGNER.sign_transaction({**legacy, "chainId": 4242}).raw_transaction
    with pytest.raises(InvalidInput):
        decode_raw(bytes(raw))


def test_a_changed_byte_is_never_the_same_signer_and_a_cut_one_is_nothing() -> None:
    raw = sign(nonce=7, data="0x" + "05" * 68)
    for at in range(len(raw)):
        for change in (0x01, 0x80):
            changed = bytes([*raw[:at], raw[at] ^ change, *raw[at + 1 :]])
            with suppress(InvalidInput):
                assert decode_raw(changed).transaction.sender != SIGNER.address, at
    for length in range(len(raw)):
        with pytest.raises(InvalidInput):
            decode_raw(raw[:length])
    with pytest.raises(InvalidInput):
        decode_raw(raw + b"\0")


# ------------------------------------------------------------------------------- meaning


def call(signature: str, types: list[str], values: list[Any]) -> bytes:
    return bytes.fromhex(FUNCTIONS[signature]) + encode(types, values)


def explained(to: str, data: bytes) -> dict[str, str] | None:
    return explain(NETWORK, Transaction(4242, SIGNER.address, 0, to, data, 1))


def test_calls_are_known_only_where_they_belong_and_to_the_last_byte() -> None:
    transfer = call("transfer(address,uint256)", ["address", "uint256"], [TO, 5])
    assert explained(COIN, transfer) == {"kind": "transfer", "to": TO, "amount": "5"}
    assert explained(ESCROW, transfer) is None
    for changed in (
        transfer[:-1],
        transfer + b"\0",
        transfer + b"\0" * 32,
        transfer[:4],
        b"",
        b"\1",
    ):
        assert explained(COIN, changed) is None
    dirty = bytearray(transfer)
    dirty[4] = 1  # above the 20 bytes of the address
    assert explained(COIN, bytes(dirty)) is None
    reading = call("accountOf(address)", ["address"], [TO])
    assert explained(COIN, reading) is None


def test_a_payment_of_a_purchase_is_known_with_its_signature_laid_out_as_it_must_be() -> None:
    terms = Terms(TO, TO, TO, TO, 9, 1, 2, 3, 4, 5, b"\7" * 32)
    signature = next(name for name in FUNCTIONS if name.startswith("authorizeWithSignature"))
    types = ["address"] * 4 + ["uint256"] * 6 + ["bytes32"] + ["uint256"] * 3 + ["bytes"]
    good = call(signature, types, [*terms.words(), 8, 0, 9, b"\1" * 65])
    intent = explained(ESCROW, good)
    assert intent is not None
    assert (intent["kind"], intent["amount"]) == ("payment", "8")
    assert explained(ESCROW, good[:-1] + b"\1") is None, "the padding says something"
    assert explained(ESCROW, good + b"\0" * 32) is None
    offset = 4 + 14 * 32 + 31
    moved = good[:offset] + bytes([good[offset] ^ 0x20]) + good[offset + 1 :]
    assert explained(ESCROW, moved) is None


def test_calls_of_the_credit_book_and_of_disputes_are_known_at_their_contracts_alone() -> None:
    named = {signature.split("(")[0]: signature for signature in FUNCTIONS}
    draw = call(named["draw"], ["uint256"], [7])
    holdback = call(named["setHoldback"], ["uint16"], [1500])
    types = ["address", "bytes32", "address", *["uint256"] * 3, "bytes"]
    repay = call(named["repayWithAuthorization"], types, [TO, b"\0" * 32, TO, 8, 0, 9, b"\1" * 65])
    types = ["address", "address", *["uint256"] * 6, *["bytes32"] * 2, "uint256", "bytes"]
    offer = [TO, TO, 9, 1, 2, 3, 4, 5, b"\1" * 32, b"\2" * 32, 6]
    accept = call(named["accept"], types, [*offer, b"\1" * 65])
    types = ["address"] * 4 + ["uint256"] * 6 + ["bytes32"] * 2
    terms = Terms(TO, TO, TO, TO, 9, 1, 2, 3, 4, 5, b"\7" * 32)
    dispute = call(named["dispute"], types, [*terms.words(), b"\6" * 32])
    for contract, data, kind in (
        (BOOK, draw, "draw"),
        (BOOK, holdback, "holdback"),
        (BOOK, repay, "repayment"),
        (BOOK, accept, "acceptance"),
        (ESCROW, dispute, "dispute"),
    ):
        intent = explained(contract, data)
        assert intent is not None
        assert intent["kind"] == kind
        assert all(explained(other, data) is None for other in {COIN, ESCROW, BOOK} - {contract})
        assert explained(contract, data + b"\0" * 32) is None
    for data in (accept, repay):
        dirty = bytearray(data)
        dirty[4] = 1  # above the 20 bytes of an address
        assert explained(BOOK, bytes(dirty)) is None
    without = replace(NETWORK, credit_book=None)
    assert explain(without, Transaction(4242, SIGNER.address, 0, BOOK, draw, 1)) is None


def test_the_empty_transaction_to_oneself_is_a_cancellation_and_no_other_is() -> None:
    own = {"kind": "cancellation", "to": SIGNER.address, "amount": "0"}
    assert explained(SIGNER.address, b"") == own
    assert explained(TO, b"") is None
    assert explained(SIGNER.address, b"\0") is None
