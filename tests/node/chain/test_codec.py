"""Calls, results, logs and errors between Python values and hex."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from web3 import Web3

import contracts
from node.chain.codec import CodecError, ContractCodec

COIN = ContractCodec("PlatformCoin")
ESCROW = ContractCodec("PurchaseEscrow")

ALICE = "0x52908400098527886E0F7030069857D2E4169EE7"
BOB_CHECKSUMMED = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
BOB = BOB_CHECKSUMMED.lower()
WORD = "0x" + "ab" * 32
TERMS: dict[str, Any] = {
    "payer": ALICE,
    "payee": BOB_CHECKSUMMED,
    "operator": ALICE,
    "feeReceiver": ALICE,
    "maxAmount": 2**96 - 1,
    "minFeeBps": 1,
    "maxFeeBps": 10_000,
    "authorizeBefore": 2**40 - 1,
    "reclaimAfter": 5,
    "disputeWindow": 2**32 - 1,
    "orderRef": WORD,
}
TERMS_TUPLE = (*list(TERMS.values())[:-1], bytes.fromhex("ab" * 32))
TERMS_ABI = "(address,address,address,address,uint96,uint16,uint16,uint40,uint40,uint32,bytes32)"
WITH_SIGNATURE = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"


@pytest.mark.parametrize(
    ("contract", "function", "arguments"),
    [
        ("PlatformCoin", "mint", (ALICE, 5, WORD)),
        ("PlatformCoin", "admitMany", ([ALICE, BOB], 3, 9)),
        ("PlatformCoin", "transferMany", ([{"to": ALICE, "amount": 1, "memo": WORD}],)),
        ("PlatformCoin", WITH_SIGNATURE, (ALICE, BOB, 1, 2, 3, WORD, "0x" + "cd" * 65)),
        ("PlatformCoin", "pause", ()),
        ("PurchaseEscrow", "authorizeWithSignature", (TERMS, 1, 2, 3, b"\xcd" * 65)),
        ("PurchaseEscrow", "release", (TERMS, 1, 2)),
        ("AccessManager", "multicall", (["0x12", b"\x34\x56"],)),
    ],
)
def test_calls_are_encoded_as_web3_does(
    contract: str, function: str, arguments: tuple[Any, ...]
) -> None:
    web3 = Web3().eth.contract(abi=contracts.load(contract).abi)
    plain = [_plain(argument) for argument in arguments]
    assert ContractCodec(contract).encode(function, *arguments) == web3.encode_abi(function, plain)


def _plain(value: Any) -> Any:
    """The same value in web3's own terms."""
    if isinstance(value, dict):
        return tuple(_plain(inner) for inner in value.values())
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str) and len(value) == 42:
        return Web3.to_checksum_address(value)
    return value


def test_a_struct_may_be_given_as_a_sequence_or_by_name() -> None:
    assert ESCROW.encode("hashTerms", TERMS) == ESCROW.encode("hashTerms", TERMS_TUPLE)


def test_the_constructor_takes_its_arguments() -> None:
    bytecode = contracts.load("PurchaseEscrow").bytecode
    arguments = (ALICE, BOB, ALICE)
    encoded = encode(["address"] * 3, arguments).hex()
    assert ESCROW.encode_constructor(*arguments) == bytecode + encoded


def test_functions_that_change_state_are_known_with_their_selectors() -> None:
    selectors = COIN.changing_functions()
    assert selectors["mint"] == COIN.selector("mint")
    assert "balanceOf" not in selectors
    overloads = [name for name in selectors if name.startswith("transferWithAuthorization(")]
    assert len(overloads) == 2
    assert len(set(selectors.values())) == len(selectors)


@pytest.mark.parametrize(
    ("function", "arguments", "complaint"),
    [
        ("fly", (), "has no function 'fly'"),
        ("transferWithAuthorization", (), "is overloaded; name one of"),
        ("mint", (ALICE, 5), "takes 3 arguments, was given 2"),
        ("mint", (ALICE, -1, WORD), "does not take"),
        ("mint", (ALICE, 2**256, WORD), "does not take"),
        ("mint", (ALICE, 1.5, WORD), "does not take"),
        ("mint", (ALICE, "5", WORD), "does not take"),
        ("mint", ("0x1234", 5, WORD), "does not take"),
        ("mint", (ALICE, 5, "0xabcd"), "32 bytes, not 2"),
        ("mint", (ALICE, 5, "ab" * 32), "starts with 0x"),
        ("mint", (ALICE, 5, "0xzz"), "does not take"),
        ("transferMany", ([{"to": ALICE, "amount": 1}],), "a struct of"),
        ("transferMany", ([{"to": ALICE, "amount": 1, "note": WORD}],), "does not take"),
    ],
)
def test_what_does_not_fit_is_refused(
    function: str, arguments: tuple[Any, ...], complaint: str
) -> None:
    with pytest.raises(CodecError, match=complaint):
        COIN.encode(function, *arguments)


def test_results_are_plain_values() -> None:
    word = encode(["uint128", "uint40", "uint8", "bool"], [7, 8, 3, True])
    assert COIN.decode_result("accountOf", "0x" + word.hex()) == {
        "balance": 7,
        "memberUntil": 8,
        "kinds": 3,
        "frozen": True,
    }
    several = encode(["uint128", "uint128", "uint256"], [1, 2, 3])
    assert COIN.decode_result("mintLimitOf", "0x" + several.hex()) == (1, 2, 3)
    assert (
        COIN.decode_result("authority", "0x" + encode(["address"], [BOB]).hex()) == BOB_CHECKSUMMED
    )
    assert COIN.decode_result("DOMAIN_SEPARATOR", WORD) == WORD
    assert (
        COIN.decode_result("name", "0x" + encode(["string"], ["Plaza Coin"]).hex()) == "Plaza Coin"
    )
    assert COIN.decode_result("pause", "0x") is None


def test_an_empty_answer_is_no_result() -> None:
    with pytest.raises(CodecError, match="did not answer with"):
        COIN.decode_result("totalSupply", "0x")


def log_of(topics: list[str], data: bytes) -> dict[str, Any]:
    return {
        "address": ALICE.lower(),
        "topics": topics,
        "data": "0x" + data.hex(),
        "blockNumber": "0x10",
        "blockHash": WORD,
        "transactionHash": WORD,
        "transactionIndex": "0x2",
        "logIndex": "0x3",
        "removed": False,
    }


def test_a_log_becomes_its_event() -> None:
    data = encode(["uint256", TERMS_ABI], [5, TERMS_TUPLE])
    topics = [ESCROW.topic("PurchaseAuthorized"), WORD, _topic(ALICE), _topic(BOB)]
    event = ESCROW.decode_log(log_of(topics, data))
    assert event is not None
    assert event.name == "PurchaseAuthorized"
    assert event.args == {
        "orderHash": WORD,
        "payer": ALICE,
        "payee": BOB_CHECKSUMMED,
        "amount": 5,
        "terms": TERMS,
    }
    assert list(event.args) == ["orderHash", "payer", "payee", "amount", "terms"]
    assert (event.address, event.block_number, event.block_hash) == (ALICE, 16, WORD)
    assert (event.transaction_hash, event.transaction_index, event.log_index) == (WORD, 2, 3)


def _topic(address: str) -> str:
    return "0x" + "00" * 12 + address[2:].lower()


def test_topics_are_the_hash_of_the_event() -> None:
    assert COIN.topic("Transfer") == "0x" + keccak(text="Transfer(address,address,uint256)").hex()
    with pytest.raises(CodecError, match="no event 'Nothing'"):
        COIN.topic("Nothing")


def test_logs_of_other_contracts_are_none_of_ours() -> None:
    assert ESCROW.decode_log(log_of([COIN.topic("Transfer"), WORD, WORD], b"")) is None
    assert ESCROW.decode_log(log_of([], b"")) is None


@pytest.mark.parametrize(
    ("topics", "data"), [([WORD], b"\x00" * 32), ([_topic(ALICE), _topic(BOB)], b"")]
)
def test_a_log_that_does_not_fit_its_event_is_an_error(topics: list[str], data: bytes) -> None:
    with pytest.raises(CodecError, match="Transfer"):
        COIN.decode_log(log_of([COIN.topic("Transfer"), *topics], data))


def revert_of(signature: str, types: list[str], values: list[Any]) -> str:
    return "0x" + (keccak(text=signature)[:4] + encode(types, values)).hex()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            revert_of("NotAMember(address,uint40)", ["address", "uint40"], [ALICE, 0]),
            f"NotAMember(account={ALICE}, memberUntil=0)",
        ),
        (revert_of("CoinPaused()", [], []), "CoinPaused()"),
        (revert_of("Error(string)", ["string"], ["no"]), "Error(reason=no)"),
        (revert_of("Panic(uint256)", ["uint256"], [17]), "Panic(code=17)"),
        ("0xdeadbeef01", "0xdeadbeef(data=0x01)"),
        ("0xde", "0xde(data=0x)"),
        ("0x", "reverted without a reason"),
        (None, "reverted without a reason"),
        # The right selector with too little behind it is no such error.
        (
            revert_of("NotAMember(address,uint40)", [], []),
            f"0x{keccak(text='NotAMember(address,uint40)')[:4].hex()}(data=0x)",
        ),
    ],
)
def test_errors_are_said_in_words(data: str | None, words: str) -> None:
    assert str(COIN.decode_error(data)) == words


def test_an_error_of_the_coin_is_known_when_it_comes_through_the_escrow() -> None:
    error = ESCROW.decode_error(
        revert_of("NotAMember(address,uint40)", ["address", "uint40"], [BOB, 12])
    )
    assert error.name == "NotAMember"
    assert error.args == {"account": BOB_CHECKSUMMED, "memberUntil": 12}
