"""What is hashed is what is shown, and is what the contracts and others hash."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st

from tests.wallet.chain import CHAIN_ID, Platform
from wallet.errors import InvalidInput
from wallet.intents import ReceiveAuthorization, Terms, signer_of

TERMS_TYPE = {
    "Terms": [
        {"name": "payer", "type": "address"},
        {"name": "payee", "type": "address"},
        {"name": "operator", "type": "address"},
        {"name": "feeReceiver", "type": "address"},
        {"name": "maxAmount", "type": "uint96"},
        {"name": "minFeeBps", "type": "uint16"},
        {"name": "maxFeeBps", "type": "uint16"},
        {"name": "authorizeBefore", "type": "uint40"},
        {"name": "reclaimAfter", "type": "uint40"},
        {"name": "disputeWindow", "type": "uint32"},
        {"name": "orderRef", "type": "bytes32"},
    ]
}

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())


def uints(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


any_terms = st.fixed_dictionaries(
    {
        "payer": addresses,
        "payee": addresses,
        "operator": addresses,
        "feeReceiver": addresses,
        "maxAmount": uints(96).map(str),
        "minFeeBps": uints(16),
        "maxFeeBps": uints(16),
        "authorizeBefore": uints(40),
        "reclaimAfter": uints(40),
        "disputeWindow": uints(32),
        "orderRef": st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex()),
    }
)


def eip_712_digest(signable: Any) -> bytes:
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


@given(any_terms, addresses)
def test_the_order_hash_is_what_another_implementation_computes(
    terms: dict[str, Any], escrow: str
) -> None:
    domain = {
        "name": "Plaza PurchaseEscrow",
        "version": "1",
        "chainId": CHAIN_ID,
        "verifyingContract": escrow,
    }
    message = {**terms, "maxAmount": int(terms["maxAmount"])}
    message["orderRef"] = bytes.fromhex(terms["orderRef"][2:])
    expected = eip_712_digest(encode_typed_data(domain, TERMS_TYPE, message))
    assert Terms.from_json(terms).order_hash(CHAIN_ID, escrow) == expected


@given(addresses, addresses, addresses, uints(256), st.tuples(uints(256), uints(256)))
def test_the_authorization_is_what_a_signer_hashes(
    payer: str, to: str, coin: str, value: int, times: tuple[int, int]
) -> None:
    authorization = ReceiveAuthorization(payer, to, value, *times, b"\x07" * 32)
    signable = encode_typed_data(full_message=authorization.typed_data(CHAIN_ID, coin))
    assert authorization.digest(CHAIN_ID, coin) == eip_712_digest(signable)


def test_the_order_hash_is_the_escrows_own(platform: Platform) -> None:
    terms = platform.terms(Account.create().address, Account.create().address)
    computed = Terms.from_json(terms).order_hash(CHAIN_ID, platform.escrow.address)
    assert "0x" + computed.hex() == platform.order_hash(terms)


@given(any_terms)
def test_terms_read_back(terms: dict[str, Any]) -> None:
    read = Terms.from_json(terms)
    assert Terms.from_json(read.to_json()) == read
    assert {name: str(value).lower() for name, value in read.to_json().items()} == {
        name: str(value).lower() for name, value in terms.items()
    }


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"payer": "0x12"},
        {"payer": None},
        {"maxAmount": "-1"},
        {"maxAmount": "1.5"},
        {"maxAmount": "0x10"},
        {"maxAmount": str(2**96)},
        {"minFeeBps": True},
        {"minFeeBps": 65_536},
        {"authorizeBefore": 1.5},
        {"orderRef": "0x00"},
        {"orderRef": "0x" + "zz" * 32},
    ],
)
def test_terms_that_are_not_exactly_terms_are_refused(change: dict[str, Any]) -> None:
    good = {
        **dict.fromkeys(("payer", "payee", "operator", "feeReceiver"), "0x" + "11" * 20),
        **dict.fromkeys(("minFeeBps", "maxFeeBps", "authorizeBefore", "reclaimAfter"), 1),
        "maxAmount": "1",
        "disputeWindow": 1,
        "orderRef": "0x" + "00" * 32,
    }
    Terms.from_json(good)
    with pytest.raises(InvalidInput):
        Terms.from_json({**good, **change})


def test_a_missing_field_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Terms.from_json({"payer": "0x" + "11" * 20})


def test_a_signature_names_its_signer() -> None:
    account = Account.create()
    digest = keccak(b"anything")
    signature = bytes(account.unsafe_sign_hash(digest).signature)
    assert signer_of(digest, signature) == account.address
    assert signer_of(keccak(b"other"), signature) != account.address
    assert signer_of(digest, signature[:64]) is None
    assert signer_of(digest, signature[:64] + b"\x05") is None
