"""Requests to pay as text: the grammar of EIP-681, and which of them are for this network."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.addresses import to_checksum
from wallet.amounts import MAX_UNITS
from wallet.errors import InvalidInput
from wallet.networks import Network
from wallet.uris import (
    EthereumUri,
    TransferRequest,
    parse_number,
    parse_uri,
    read_transfer,
    write_transfer,
)

COIN = "0xde709f2102306220921060314715629080e2fb77"
TO = "0x27b1fdb04752bbc536007a920d24acb045561c26"
MEMO = "0x" + b"invoice 2026-0117".hex().ljust(64, "0")
NETWORK = Network(
    name="plaza",
    chain_id=4242,
    genesis_hash="0x" + "00" * 32,
    rpc_url="http://127.0.0.1:1",
    bridge_url=None,
    coin=COIN,
    escrow="0x" + "11" * 20,
    symbol="PLZ",
    operators=(),
    first_block=1,
)
TRANSFER = f"ethereum:{COIN}@4242/transfer?address={TO}&uint256=12500000"
WITH_MEMO = f"ethereum:{COIN}@4242/transferWithMemo?address={TO}&uint256=12500000&bytes32={MEMO}"

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: to_checksum("0x" + raw.hex()))
requests = st.builds(
    TransferRequest,
    to=addresses,
    units=st.integers(1, MAX_UNITS),
    memo=st.none() | st.binary(min_size=32, max_size=32),
)
networks = st.builds(
    lambda coin, chain_id: replace(NETWORK, coin=coin, chain_id=chain_id),
    addresses,
    st.integers(1, 2**64),
)


# ------------------------------------------------------------------------- the grammar


def test_the_example_of_a_native_payment() -> None:
    """2.014 of a coin with 18 decimals; its address is in no checksum, and is not judged here."""
    uri = parse_uri("ethereum:0xfb6916095ca1df60bb79Ce92ce3ea74c37c5d359?value=2.014e18")
    assert uri == EthereumUri(
        "0xfb6916095ca1df60bb79Ce92ce3ea74c37c5d359", None, None, (("value", "2.014e18"),)
    )
    assert parse_number(uri.parameters[0][1]) == 2_014_000_000_000_000_000


def test_the_example_of_a_token() -> None:
    """One indivisible unit of a token, to be asked of its contract."""
    uri = parse_uri(
        "ethereum:0x89205a3a3b2a69de6dbf7f01ed13b2108b2c43e7/transfer"
        "?address=0x8e23ee67d1332ad560396262c48ffbb01f93d052&uint256=1"
    )
    assert uri == EthereumUri(
        "0x89205a3a3b2a69de6dbf7f01ed13b2108b2c43e7",
        None,
        "transfer",
        (("address", "0x8e23ee67d1332ad560396262c48ffbb01f93d052"), ("uint256", "1")),
    )


def test_every_part_but_the_target_may_be_missing() -> None:
    assert parse_uri(f"ethereum:{TO}") == EthereumUri(TO, None, None, ())
    assert parse_uri(f"ethereum:{TO}@1") == EthereumUri(TO, 1, None, ())
    assert parse_uri(f"ethereum:{TO}/f") == EthereumUri(TO, None, "f", ())
    assert parse_uri(f"ETHEREUM:pay-{TO}@05?gas=1&gas=2") == EthereumUri(
        TO, 5, None, (("gas", "1"), ("gas", "2"))
    )
    assert parse_uri("ethereum:pay-doughnuts.eth@1").target == "doughnuts.eth"
    # Whatever stands before a dash is a part of a name, but for `pay-`.
    assert parse_uri("ethereum:shop-doughnuts.eth").target == "shop-doughnuts.eth"


def test_separators_in_text_are_percent_encoded() -> None:
    uri = parse_uri(f"ethereum:{TO}@1/say%2Fit?string=a%26b%3Dc%25%20%C3%A9")
    assert (uri.function, uri.parameters) == ("say/it", (("string", "a&b=c% é"),))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bitcoin:175tWpb8K1S7NmH4Zx6rewF9WQrcZv245W",
        "ethereum",
        "ethereum:",
        "ethereum:pay-",
        f"ethereum://{TO}",
        f" ethereum:{TO}",
        f"ethereum:{TO} ",
        f"ethereum:{TO}\n",
        f"ethereum:{TO}#now",
        f"ethereum:{TO}@",
        f"ethereum:{TO}@-1",
        f"ethereum:{TO}@0x1",
        f"ethereum:{TO}@1@2",
        f"ethereum:{TO}@\u0661",
        f"ethereum:{TO}/",
        f"ethereum:{TO}/a/b",
        f"ethereum:{TO}?",
        f"ethereum:{TO}?value",
        f"ethereum:{TO}?value=",
        f"ethereum:{TO}?=1",
        f"ethereum:{TO}?value=1&",
        f"ethereum:{TO}?value=1&&gas=1",
        f"ethereum:{TO}?value=1=2",
        f"ethereum:{TO}?value=1?gas=1",
        f"ethereum:{TO}?string=%",
        f"ethereum:{TO}?string=%4",
        f"ethereum:{TO}?string=%zz",
        f"ethereum:{TO}?string=%ff",
        f"ethereum:{TO}?string=%00",
        f"ethereum:{TO}?string=%1b%5b2J",
        f"ethereum:{TO}?string=é",
        f"ethereum:{TO[:-1]}",
        f"ethereum:{TO}0",
        "ethereum:0x",
        f"ethereum:{TO}?string={'x' * 2_000}",
    ],
)
def test_what_is_not_of_the_grammar(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_uri(text)


@given(st.text(max_size=60), st.sampled_from(["", "ethereum:", f"ethereum:{TO}", TRANSFER]))
def test_any_text_is_read_or_refused(text: str, start: str) -> None:
    for read in (parse_uri, lambda uri: read_transfer(NETWORK, uri)):
        with suppress(InvalidInput):
            read(start + text)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).filter(str.isprintable))
def test_encoded_text_comes_back(text: str) -> None:
    encoded = quote(text, safe="")
    uri = parse_uri(f"ethereum:{TO}/{encoded}?string={encoded}")
    assert (uri.function, uri.parameters) == (text, (("string", text),))


# -------------------------------------------------------------------------- its numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("1", 1),
        ("+12", 12),
        ("-12", -12),
        ("2.014e18", 2_014_000_000_000_000_000),
        ("12.5E6", 12_500_000),
        ("12.500000e6", 12_500_000),
        ("1e0", 1),
        ("1e006", 1_000_000),
        (".5e1", 5),
        ("1.0e1", 10),
        ("007", 7),
        ("1e77", 10**77),
    ],
)
def test_numbers(text: str, number: int) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "+",
            "-",
            ".",
            "e5",
            "1e",
            "1.e5",
            "1,5",
            "0x10",
            "1_0",
            " 1",
            "--1",
            "\u0663",
            "NaN",
        ),
        *("1.5", "1.0", "2.014e2", "1e-1", "1e+1", "1e1e1", "1e78", "1e99999999999"),
        *("9" * 79, "\u0663", "NaN"),
    ],
)
def test_what_is_no_whole_number(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_number(text)


@given(st.integers(-(10**70), 10**70), st.integers(0, 7))
def test_numbers_with_exponents_come_back(number: int, decimals: int) -> None:
    sign, digits = "-" if number < 0 else "", str(abs(number)).rjust(decimals + 1, "0")
    whole, part = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    assert parse_number(f"{sign}{whole}{'.' + part if part else ''}e{decimals}") == number


# ----------------------------------------------------------------------- for this network


def test_the_bridges_own_uris() -> None:
    assert read_transfer(NETWORK, TRANSFER) == TransferRequest(TO, 12_500_000)
    assert read_transfer(NETWORK, WITH_MEMO) == TransferRequest(
        TO, 12_500_000, bytes.fromhex(MEMO[2:])
    )
    assert write_transfer(NETWORK, TransferRequest(TO, 12_500_000)) == TRANSFER
    memo = TransferRequest(TO, 12_500_000, bytes.fromhex(MEMO[2:]))
    assert write_transfer(NETWORK, memo) == WITH_MEMO


def test_other_ways_to_write_the_same() -> None:
    for text in (
        TRANSFER.replace("ethereum:", "ethereum:pay-"),
        TRANSFER.replace("12500000", "12.5e6"),
        TRANSFER.replace("address", "%61ddress"),
        TRANSFER.replace(TO, to_checksum(TO)),
    ):
        assert read_transfer(NETWORK, text) == TransferRequest(TO, 12_500_000)


@given(networks, requests)
def test_what_is_written_is_read_again(network: Network, request: TransferRequest) -> None:
    assert read_transfer(network, write_transfer(network, request)) == request


@given(networks, networks, requests)
def test_what_is_written_for_another_network_is_refused(
    one: Network, other: Network, request: TransferRequest
) -> None:
    if (one.chain_id, one.coin) != (other.chain_id, other.coin):
        with pytest.raises(InvalidInput):
            read_transfer(other, write_transfer(one, request))


MIXED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ethereum:0xfb6916095ca1df60bb79Ce92ce3ea74c37c5d359?value=2.014e18", "native coin"),
        (f"ethereum:{COIN}@4242", "native coin"),
        (TRANSFER.replace("@4242", ""), "does not say on which chain"),
        (TRANSFER.replace("@4242", "@1"), "it is for chain 1, network 'plaza' is chain 4242"),
        (TRANSFER.replace(COIN, MIXED), f"for the contract {MIXED}, the coin of network 'plaza'"),
        (TRANSFER.replace(COIN, MIXED.replace("A", "a", 1)), "bad checksum"),
        (TRANSFER.replace(COIN, "coin.eth"), "'coin.eth' is a name"),
        (TRANSFER.replace(TO, "bob.eth"), "'bob.eth' is a name"),
        (TRANSFER.replace(TO, TO[:-1]), "is not an address"),
        (TRANSFER.replace(TO, MIXED.replace("A", "a", 1)), "bad checksum"),
        (TRANSFER.replace("/transfer?", "/approve?"), "it calls 'approve'"),
        (TRANSFER.replace("/transfer?", "/Transfer?"), "it calls 'Transfer'"),
        (TRANSFER.replace("/transfer?", "/transferWithMemo?"), "does not say the bytes32"),
        (TRANSFER.partition("?")[0], "does not say the address and the uint256 of transfer"),
        (TRANSFER + "&value=1", "native coin along"),
        (TRANSFER + "&gasPrice=1", "'gasPrice' is no parameter"),
        (TRANSFER + f"&bytes32={MEMO}", "'bytes32' is no parameter of transfer"),
        (TRANSFER + "&uint256=1", "it says uint256 2 times"),
        (TRANSFER + "&%75int256=1", "it says uint256 2 times"),
        (f"ethereum:{COIN}@4242/transfer?uint256=1&address={TO}", "is another function"),
        (TRANSFER.replace("12500000", "12.5"), "not a whole number"),
        (TRANSFER.replace("12500000", "0.0000001e6"), "not a whole number"),
        (TRANSFER.replace("12500000", "0"), "not above zero"),
        (TRANSFER.replace("12500000", "-5"), "not above zero"),
        (TRANSFER.replace("12500000", "0x5"), "is not a number"),
        (TRANSFER.replace("12500000", str(MAX_UNITS + 1)), "more than there can be"),
        (WITH_MEMO[:-1], "the memo is"),
        (WITH_MEMO.replace(MEMO, "hello"), "the memo is"),
    ],
)
def test_what_is_not_for_this_network_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read_transfer(NETWORK, text)
    assert message in str(raised.value)
