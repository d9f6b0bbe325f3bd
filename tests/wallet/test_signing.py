"""Every type of the table signs as others sign it, and the contracts take what is signed."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from eth_account import Account
from eth_utils import to_checksum_address

from node.chain import typed_data
from tests.wallet.chain import CAST, CHAIN_ID, COIN, DAY, ROOT, SELLER, Platform
from tests.wallet.conftest import Home
from wallet.errors import InvalidInput, Refused
from wallet.intents import INTENTS, Intent, _type_text, lone_nonce, name_reference, signer_of

CONTRACT = to_checksum_address("0x" + "c0" * 20)
needs_cast = pytest.mark.skipif(not CAST.exists(), reason="cast is not installed (make setup)")


def some(kind: str, signer: str = "0x" + "11" * 20) -> Intent:
    """An intent with the largest number, and otherwise telling, value in each field."""
    members = INTENTS[kind].fields
    values: dict[str, Any] = {}
    for number, (name, type_) in enumerate(members, 1):
        match type_:
            case "address":
                values[name] = f"0x{number:040x}"
            case "bytes32":
                values[name] = bytes([number]) * 32
            case _:
                values[name] = 2 ** int(type_[4:]) - number
    if INTENTS[kind].signer:
        values[INTENTS[kind].signer or ""] = signer
    return Intent(kind, values)


@needs_cast
@pytest.mark.parametrize("kind", INTENTS)
def test_a_signature_is_byte_for_byte_that_of_cast(kind: str) -> None:
    account = Account.create()
    intent = some(kind, account.address)
    document = intent.typed_data(CHAIN_ID, CONTRACT)
    ours = bytes(Account.sign_typed_data(account.key, full_message=document).signature)
    command = [str(CAST), "wallet", "sign", "--private-key", account.key.to_0x_hex()]
    theirs = subprocess.run(
        [*command, "--data", json.dumps(document)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    assert "0x" + ours.hex() == theirs
    assert signer_of(intent.digest(CHAIN_ID, CONTRACT), ours) == account.address


@pytest.mark.parametrize("kind", typed_data._INTENTS)
def test_an_intent_is_the_one_the_bridge_expects(kind: str) -> None:
    intent = some(kind)
    message: Any = {
        name: "0x" + word.hex() if isinstance(word, bytes) else word
        for name, word in intent.message.items()
    }
    expected = typed_data.intent_json(
        chain_id=CHAIN_ID, contract=CONTRACT, kind=kind, message=message
    )
    assert intent.typed_data(CHAIN_ID, CONTRACT) == expected
    digest = typed_data.intent_digest(
        chain_id=CHAIN_ID, contract=CONTRACT, kind=kind, message=message
    )
    assert intent.digest(CHAIN_ID, CONTRACT) == digest
    assert Intent.from_json(expected, CHAIN_ID, {intent.contract: CONTRACT}) == intent


def test_no_type_of_the_bridge_is_missing() -> None:
    coins = {"TransferWithAuthorization", "ReceiveWithAuthorization"}
    assert {*typed_data._INTENTS, *coins} <= set(INTENTS)


def test_the_table_is_what_the_contracts_sources_hash() -> None:
    hashed = set()
    for source in (ROOT / "contracts").glob("*.sol"):
        for call in re.findall(r"keccak256\(\s*((?:\"[^\"]*\"\s*)+)\)", source.read_text()):
            hashed.add("".join(re.findall(r"\"([^\"]*)\"", call)))
    # The permit's is OpenZeppelin's; the terms are hashed, and never signed as such.
    hashed.add("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
    hashed = {text for text in hashed if "(" in text and not text.startswith("Terms(")}
    assert {_type_text(kind, type_.fields) for kind, type_ in INTENTS.items()} == hashed


def test_references_and_their_nonces_are_the_bridges() -> None:
    from node.bridge.operations import reference  # the whole bridge is loaded

    for words in (("plaza/dispute", "0x" + "ab" * 32), ("a",), ("ü" * 40, "", "x" * 32)):
        assert "0x" + name_reference(*words).hex() == reference(*words)
        nonce = typed_data.intent_nonce(reference(*words))
        assert lone_nonce(name_reference(*words)) == nonce


# --------------------------------------------------------------------- strict reading


def change(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(document))
    *steps, last = path.split("/")
    place: Any = changed
    for step in steps:
        place = place[step]
    place[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("message/amount", "no", "amount is 'no'"),
        ("message/amount", True, "amount is True"),
        ("message/amount", str(2**256), "not an unsigned number of 256 bits"),
        ("message/amount", -1, "amount is -1"),
        ("message/amount", 1.0, "amount is 1.0"),
        ("message/seller", "0x12", "not an address"),
        ("message/note", "more", "exactly the fields seller, amount, nonce, deadline"),
        ("types/Draw", [{"name": "seller", "type": "address"}], "the types are not those of Draw"),
        ("types/Other", [], "the types are not those of Draw"),
        ("primaryType", "Drawing", "'Drawing' is nothing this wallet signs"),
        ("primaryType", ["Draw"], "is nothing this wallet signs"),
        ("domain/chainId", 1, "Draw is for chainId 1, this network has 4242"),
        ("domain/name", "Plaza Coin", "Draw is for name Plaza Coin"),
        ("domain/verifyingContract", "0x" + "11" * 20, "Draw is for verifyingContract 0x1111"),
        ("domain/salt", "0x00", "the domain is not the one of Draw"),
        ("more", 1, "EIP-712 JSON has exactly the fields"),
    ],
)
def test_what_is_not_exactly_the_type_is_refused(path: str, value: Any, said: str) -> None:
    contracts: Any = {"credit_book": CONTRACT}
    good = some("Draw").typed_data(CHAIN_ID, CONTRACT)
    assert Intent.from_json(good, CHAIN_ID, contracts) == some("Draw")
    with pytest.raises(InvalidInput) as refused:
        Intent.from_json(change(good, path, value), CHAIN_ID, contracts)
    assert said in str(refused.value)


def test_an_intent_for_a_contract_the_network_lacks_is_refused() -> None:
    document = some("Draw").typed_data(CHAIN_ID, CONTRACT)
    with pytest.raises(InvalidInput, match="no contract that takes Draw"):
        Intent.from_json(document, CHAIN_ID, {"coin": CONTRACT})


def test_bytes_with_white_space_are_not_32_bytes() -> None:
    digits = "ab " * 21 + "a"
    with pytest.raises(InvalidInput, match="orderHash"):
        Intent("Reclaim", {"orderHash": "0x" + digits, "nonce": 0, "deadline": 1})


# ------------------------------------------------------------------ what contracts take


def test_an_intent_of_another_member_is_not_signed(platform: Platform, home: Home) -> None:
    intent = some("Draw", "0x" + "22" * 20)
    with home.wallet() as wallet, pytest.raises(Refused, match=r"for 0x2222.* to sign, this key"):
        wallet.sign_intent(intent)


def test_the_contracts_take_what_is_signed(rewound: Platform, home: Home) -> None:
    platform, me = rewound, home.account.address
    platform.lend()
    platform.admit(me, SELLER)
    soon, relayer = platform.now + DAY, platform.operator
    offered = platform.offer(me)
    offer_hash = platform.offer_hash(offered["offer"])
    once = {"deadline": soon}
    with home.wallet() as wallet:

        def signed(kind: str, **message: Any) -> bytes:
            return wallet.sign_intent(Intent(kind, message))

        acceptance = signed(
            "Acceptance", offerHash=offer_hash, nonce=lone_nonce(offer_hash), **once
        )
        draw = signed("Draw", seller=me, amount=5 * COIN, nonce=0, **once)
        holdback = signed("Holdback", seller=me, holdbackBps=2_000, nonce=1, **once)
        spender = platform.member().address
        permit = signed("Permit", owner=me, spender=spender, value=7, nonce=0, **once)
        cancel = signed("CancelAuthorization", authorizer=me, nonce=b"\x05" * 32)
        payment = {"to": spender, "value": COIN, "validAfter": 0, "validBefore": soon}
        transfer = signed(
            "TransferWithAuthorization", **{"from": me}, **payment, nonce=b"\x06" * 32
        )
    book, coin = platform.book.functions, platform.coin.functions
    solidity = platform.solidity_offer(offered["offer"])
    platform.send(
        book.acceptWithSignature(
            solidity, offered["signature"], lone_nonce(offer_hash), soon, acceptance
        ),
        relayer,
    )
    platform.send(book.drawWithSignature(me, 5 * COIN, 0, soon, draw), relayer)
    platform.send(book.setHoldbackWithSignature(me, 2_000, 1, soon, holdback), relayer)
    v, r, s = permit[64], permit[:32], permit[32:64]
    platform.send(coin.permit(me, spender, 7, soon, v, r, s), relayer)
    cancel_by = platform.coin.get_function_by_signature(
        "cancelAuthorization(address,bytes32,bytes)"
    )
    platform.send(cancel_by(me, b"\x05" * 32, cancel), relayer)
    transfer_by = platform.coin.get_function_by_signature(
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
    )
    platform.send(transfer_by(me, spender, COIN, 0, soon, b"\x06" * 32, transfer), relayer)
    assert platform.balance(me) == (100 + 5 - 1) * COIN
    assert platform.book.functions.statementOf(me).call()[-1] == 2_000


def test_orders_and_shares_are_signed_for_too(rewound: Platform, home: Home) -> None:
    platform, me = rewound, home.account.address
    lender = platform.lend()
    shares = 10**6 * COIN
    platform.send(platform.pool.functions.transfer(me, shares), lender)
    terms = platform.terms(me, platform.member(kinds=SELLER).address)
    order_hash = bytes.fromhex(platform.order_hash(terms)[2:])
    escrow, soon = platform.escrow.functions, platform.now + DAY
    solidity = platform.solidity_terms(terms)
    platform.acting(me, platform.coin.functions.approve(platform.escrow.address, 12_500_000))
    platform.acting(me, escrow.authorize(solidity, 12_500_000))
    with home.wallet() as wallet:

        def signed(kind: str, **message: Any) -> bytes:
            return wallet.sign_intent(Intent(kind, {**message, "deadline": soon}))

        release = signed("Release", orderHash=order_hash, amount=500_000, nonce=0)
        dispute = signed("Dispute", orderHash=order_hash, evidenceHash=b"\x01" * 32, nonce=1)
        evidence = signed(
            "Evidence", party=me, orderHash=order_hash, evidenceHash=b"\x02" * 32, nonce=2
        )
        redemption = signed("Redemption", owner=me, shares=shares, nonce=0)
        reclaim = signed("Reclaim", orderHash=order_hash, nonce=3)
    platform.send(escrow.releaseWithSignature(solidity, 500_000, 0, soon, release))
    platform.send(escrow.confirmDelivery(solidity), platform.operator)
    platform.send(escrow.disputeWithSignature(solidity, b"\x01" * 32, 1, soon, dispute))
    platform.send(escrow.submitEvidenceWithSignature(solidity, me, b"\x02" * 32, 2, soon, evidence))
    platform.send(platform.pool.functions.redeemWithSignature(me, shares, 0, soon, redemption))
    assert platform.order("0x" + order_hash.hex())[3] == 4
    # Only what is not delivered can be reclaimed; the signature itself is the right one.
    with pytest.raises(Exception, match="0x9d819744"):
        escrow.reclaimWithSignature(solidity, 3, soon, reclaim).call()
