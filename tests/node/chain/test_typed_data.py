"""Hashes made here equal those of eth_account and those the contracts make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_abi.exceptions import EncodingError
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from node.chain.codec import ContractCodec
from node.chain.deployment import deploy
from node.chain.engine import Engine
from node.chain.typed_data import (
    authorization_json,
    contract_of,
    intent_digest,
    intent_json,
    intent_nonce,
    offer_hash,
    order_hash,
    receive_authorization_digest,
    refund_nonce,
    repayment_nonce,
    transfer_authorization_digest,
)
from tests.node.chain.support import START, seed, send, settings_in

COIN = "0x" + "c0" * 20
ESCROW = "0x" + "e5" * 20

_addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
_words = st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex())


def _uint(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


_terms = st.fixed_dictionaries(
    {
        "payer": _addresses,
        "payee": _addresses,
        "operator": _addresses,
        "feeReceiver": _addresses,
        "maxAmount": _uint(96),
        "minFeeBps": _uint(16),
        "maxFeeBps": _uint(16),
        "authorizeBefore": _uint(40),
        "reclaimAfter": _uint(40),
        "disputeWindow": _uint(32),
        "orderRef": _words,
    }
)
TERMS_TYPE = [
    {"name": name, "type": kind}
    for name, kind in (
        ("payer", "address"),
        ("payee", "address"),
        ("operator", "address"),
        ("feeReceiver", "address"),
        ("maxAmount", "uint96"),
        ("minFeeBps", "uint16"),
        ("maxFeeBps", "uint16"),
        ("authorizeBefore", "uint40"),
        ("reclaimAfter", "uint40"),
        ("disputeWindow", "uint32"),
        ("orderRef", "bytes32"),
    )
]
AUTHORIZATION_TYPE = [
    {"name": name, "type": kind}
    for name, kind in (
        ("from", "address"),
        ("to", "address"),
        ("value", "uint256"),
        ("validAfter", "uint256"),
        ("validBefore", "uint256"),
        ("nonce", "bytes32"),
    )
]


def digest_of(
    name: str, contract: str, chain_id: int, kind: str, fields: Any, message: Any
) -> bytes:
    domain = {
        "name": name,
        "version": "1",
        "chainId": chain_id,
        "verifyingContract": contract,
    }
    signable = encode_typed_data(domain, {kind: fields}, message)
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


@given(terms=_terms, chain_id=_uint(64), escrow=_addresses)
def test_the_order_hash_is_the_typed_data_hash_of_the_terms(
    terms: dict[str, Any], chain_id: int, escrow: str
) -> None:
    expected = digest_of("Plaza PurchaseEscrow", escrow, chain_id, "Terms", TERMS_TYPE, terms)
    assert order_hash(chain_id=chain_id, escrow=escrow, terms=terms) == "0x" + expected.hex()


@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        ("TransferWithAuthorization", transfer_authorization_digest),
        ("ReceiveWithAuthorization", receive_authorization_digest),
    ],
)
@given(
    sender=_addresses,
    to=_addresses,
    value=_uint(256),
    after=_uint(64),
    before=_uint(64),
    nonce=_words,
)
def test_an_authorization_is_hashed_as_eip_3009_says(
    kind: str, digest: Any, sender: str, to: str, value: int, after: int, before: int, nonce: str
) -> None:
    message = {
        "from": sender,
        "to": to,
        "value": value,
        "validAfter": after,
        "validBefore": before,
        "nonce": nonce,
    }
    assert digest(
        chain_id=4242,
        coin=COIN,
        sender=sender,
        to=to,
        value=value,
        valid_after=after,
        valid_before=before,
        nonce=nonce,
    ) == digest_of("Plaza Coin", COIN, 4242, kind, AUTHORIZATION_TYPE, message)


TERMS: dict[str, Any] = {
    "payer": seed.managed(0).address,
    "payee": seed.managed(1).address,
    "operator": seed.platform("operator").address,
    "feeReceiver": seed.platform("fee_receiver").address,
    "maxAmount": 12_500_000,
    "minFeeBps": 250,
    "maxFeeBps": 250,
    "authorizeBefore": START + 7 * 86_400,
    "reclaimAfter": START + 120 * 86_400,
    "disputeWindow": 604_800,
    "orderRef": "0x" + "01" * 32,
}


async def test_the_contracts_make_the_same_hashes(tester: Engine, tmp_path: Path) -> None:
    manifest = await deploy(tester, seed, settings_in(tmp_path), bridge_url="http://127.0.0.1:1")
    escrow = manifest.contracts["PurchaseEscrow"].address
    codec = ContractCodec("PurchaseEscrow")

    async def ask(function: str, *arguments: Any) -> Any:
        call = {"to": escrow, "data": codec.encode(function, *arguments)}
        return codec.decode_result(function, await tester.rpc.call("eth_call", call, "latest"))

    expected = order_hash(chain_id=4242, escrow=escrow, terms=TERMS)
    assert await ask("hashTerms", TERMS) == expected
    refund = "0x" + "02" * 32
    assert await ask("refundNonce", expected, refund) == refund_nonce(expected, refund)


_offers = st.fixed_dictionaries(
    {
        "seller": _addresses,
        "underwriter": _addresses,
        "limit": _uint(72),
        "aprBps": _uint(16),
        "drawFeeBps": _uint(16),
        "holdbackBps": _uint(16),
        "termDays": _uint(16),
        "expires": _uint(40),
        "disclosureHash": _words,
        "modelHash": _words,
        "nonce": _uint(256),
    }
)
OFFER_TYPE = [
    {"name": name, "type": kind}
    for name, kind in (
        ("seller", "address"),
        ("underwriter", "address"),
        ("limit", "uint72"),
        ("aprBps", "uint16"),
        ("drawFeeBps", "uint16"),
        ("holdbackBps", "uint16"),
        ("termDays", "uint16"),
        ("expires", "uint40"),
        ("disclosureHash", "bytes32"),
        ("modelHash", "bytes32"),
        ("nonce", "uint256"),
    )
]


@given(offer=_offers, chain_id=_uint(64), book=_addresses)
def test_the_offer_hash_is_the_typed_data_hash_of_the_offer(
    offer: dict[str, Any], chain_id: int, book: str
) -> None:
    expected = digest_of("Plaza CreditBook", book, chain_id, "Offer", OFFER_TYPE, offer)
    assert offer_hash(chain_id=chain_id, book=book, offer=offer) == "0x" + expected.hex()


INTENTS = {
    "Release": ("PurchaseEscrow", {"orderHash": "bytes32", "amount": "uint256"}),
    "Void": ("PurchaseEscrow", {"orderHash": "bytes32", "amount": "uint256"}),
    "Reclaim": ("PurchaseEscrow", {"orderHash": "bytes32"}),
    "Dispute": ("PurchaseEscrow", {"orderHash": "bytes32", "evidenceHash": "bytes32"}),
    "Evidence": (
        "PurchaseEscrow",
        {"party": "address", "orderHash": "bytes32", "evidenceHash": "bytes32"},
    ),
    "Acceptance": ("CreditBook", {"offerHash": "bytes32"}),
    "Draw": ("CreditBook", {"seller": "address", "amount": "uint256"}),
    "Holdback": ("CreditBook", {"seller": "address", "holdbackBps": "uint16"}),
    "Redemption": ("LenderPool", {"owner": "address", "shares": "uint256"}),
}


@pytest.mark.parametrize("kind", INTENTS)
@given(
    word=_words,
    evidence=_words,
    member=_addresses,
    amount=_uint(256),
    bps=_uint(16),
    nonce=_uint(256),
    deadline=_uint(256),
)
def test_an_intent_is_hashed_as_a_wallet_hashes_its_json(
    kind: str,
    word: str,
    evidence: str,
    member: str,
    amount: int,
    bps: int,
    nonce: int,
    deadline: int,
) -> None:
    contract, types = INTENTS[kind]
    types = {**types, "nonce": "uint256", "deadline": "uint256"}
    values: dict[str, Any] = {"orderHash": word, "offerHash": word, "evidenceHash": evidence}
    values |= {"party": member, "seller": member, "owner": member, "amount": amount}
    values |= {"shares": amount, "holdbackBps": bps, "nonce": nonce, "deadline": deadline}
    message = {name: values[name] for name in types}
    place = {"chain_id": 4242, "contract": ESCROW}
    digest = intent_digest(kind=kind, message=message, **place)  # type: ignore[arg-type]
    fields = [{"name": name, "type": type_} for name, type_ in types.items()]
    assert contract_of(kind) == contract
    assert digest == digest_of(f"Plaza {contract}", ESCROW, 4242, kind, fields, message)
    assert digest == hash_of_json(intent_json(kind=kind, message=message, **place))  # type: ignore[arg-type]


@pytest.mark.parametrize("receive", [True, False])
@given(sender=_addresses, to=_addresses, value=_uint(256), before=_uint(256), nonce=_words)
def test_an_authorization_is_hashed_as_a_wallet_hashes_its_json(
    receive: bool, sender: str, to: str, value: int, before: int, nonce: str
) -> None:
    parts = {"sender": sender, "to": to, "value": value, "valid_after": 0, "nonce": nonce}
    parts |= {"chain_id": 4242, "coin": COIN, "valid_before": before}
    digest = receive_authorization_digest if receive else transfer_authorization_digest
    sent = authorization_json(receive=receive, **parts)  # type: ignore[arg-type]
    assert hash_of_json(sent) == digest(**parts)  # type: ignore[arg-type]


def hash_of_json(sent: dict[str, Any]) -> bytes:
    signable = encode_typed_data(full_message=json.loads(json.dumps(sent)))
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


def test_an_intent_of_no_kind_or_without_a_field_is_refused() -> None:
    with pytest.raises(KeyError, match="Steal"):
        intent_digest(chain_id=1, contract=ESCROW, kind="Steal", message={})
    with pytest.raises(KeyError, match="orderHash"):
        intent_json(chain_id=1, contract=ESCROW, kind="Void", message={"amount": 1})


def test_an_intents_nonce_is_the_first_of_its_own_key() -> None:
    assert intent_nonce("0x" + "ab" * 32) == int("ab" * 24 + "00" * 8, 16)


async def test_the_credit_book_makes_the_same_hashes(tester: Engine, tmp_path: Path) -> None:
    manifest = await deploy(tester, seed, settings_in(tmp_path), bridge_url="http://127.0.0.1:1")
    book, codec = manifest.contracts["CreditBook"].address, ContractCodec("CreditBook")

    async def ask(function: str, *arguments: Any) -> Any:
        call = {"to": book, "data": codec.encode(function, *arguments)}
        return codec.decode_result(function, await tester.rpc.call("eth_call", call, "latest"))

    offer = {
        "seller": seed.managed(0).address,
        "underwriter": seed.platform("underwriter").address,
        "limit": 500_000_000,
        "aprBps": 1_100,
        "drawFeeBps": 50,
        "holdbackBps": 1_500,
        "termDays": 270,
        "expires": START + 86_400,
        "disclosureHash": "0x" + "05" * 32,
        "modelHash": "0x" + "06" * 32,
        "nonce": 2**255 + 7,
    }
    expected = offer_hash(chain_id=4242, book=book, offer=offer)
    assert await ask("hashOffer", offer) == expected
    seller, ref = offer["seller"], "0x" + "07" * 32
    assert await ask("repaymentNonce", seller, ref) == repayment_nonce(seller, ref)


async def test_the_coin_takes_a_signature_over_the_digest(tester: Engine, tmp_path: Path) -> None:
    manifest = await deploy(tester, seed, settings_in(tmp_path), bridge_url="http://127.0.0.1:1")
    coin, codec = manifest.contracts["PlatformCoin"].address, ContractCodec("PlatformCoin")
    treasury, operator, buyer = (
        seed.platform("treasury"),
        seed.platform("operator"),
        seed.managed(0),
    )
    for signer, data in (
        (operator, codec.encode("admit", buyer.address, 1, START + 10**9)),
        (treasury, codec.encode("mint", buyer.address, 100, "0x" + "03" * 32)),
    ):
        assert (await send(tester, signer, to=coin, data=data))["status"] == "0x1"
    payment: dict[str, Any] = {
        "to": treasury.address,
        "value": 60,
        "valid_after": 0,
        "valid_before": START + 1_000,
        "nonce": "0x" + "04" * 32,
    }
    digest = transfer_authorization_digest(
        chain_id=4242, coin=coin, sender=buyer.address, **payment
    )
    data = codec.encode(
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)",
        buyer.address,
        *payment.values(),
        buyer.sign_hash(digest),
    )
    relayed = await send(tester, operator, to=coin, data=data, gas=200_000)
    assert relayed["status"] == "0x1"
    events = [codec.decode_log(log) for log in relayed["logs"]]
    moved = next(event.args for event in events if event is not None and event.name == "Transfer")
    assert moved == {"from": buyer.address, "to": treasury.address, "value": 60}


def test_terms_that_do_not_fit_are_refused() -> None:
    with pytest.raises(KeyError, match="payee"):
        order_hash(chain_id=1, escrow=ESCROW, terms={"payer": ESCROW})
    with pytest.raises(EncodingError):
        order_hash(chain_id=1, escrow=ESCROW, terms={**TERMS, "maxAmount": 2**96})
    with pytest.raises(ValueError, match="32 bytes of hex, not 1"):
        order_hash(chain_id=1, escrow=ESCROW, terms={**TERMS, "orderRef": "0x01"})
