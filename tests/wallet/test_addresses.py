"""EIP-55 and memos."""

from __future__ import annotations

import pytest
from eth_utils import to_checksum_address
from hypothesis import assume, given
from hypothesis import strategies as st

from wallet.addresses import format_memo, parse_address, parse_memo, to_checksum
from wallet.errors import InvalidInput

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())

# The examples of EIP-55.
EIP_55 = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


@pytest.mark.parametrize("address", EIP_55)
def test_the_examples_of_eip_55_are_accepted(address: str) -> None:
    assert parse_address(address) == address
    assert to_checksum(address.lower()) == address


@given(addresses)
def test_checksums_are_those_of_another_implementation(address: str) -> None:
    assert to_checksum(address) == to_checksum_address(address)


@given(addresses, st.integers(2, 41))
def test_one_letter_in_the_wrong_case_is_refused(address: str, position: int) -> None:
    good = to_checksum(address)
    bad = good[:position] + good[position].swapcase() + good[position + 1 :]
    digits = bad[2:]
    assume(bad != good and digits not in (digits.lower(), digits.upper()))
    with pytest.raises(InvalidInput, match="checksum"):
        parse_address(bad)


@given(addresses)
def test_one_case_carries_no_checksum_and_is_accepted(address: str) -> None:
    assert parse_address(address) == parse_address("0x" + address[2:].upper())


@pytest.mark.parametrize("text", ["", "0x", "0x12", "0X" + "0" * 40, "0x" + "g" * 40, "a" * 42])
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_address(text)


# At most 32 bytes, as no character takes more than 4.
@given(st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=8))
def test_a_memo_reads_back(text: str) -> None:
    assume(text.isprintable())
    assert format_memo(parse_memo(text)) == text
    assert len(parse_memo(text)) == 32


def test_a_memo_is_never_cut() -> None:
    assert parse_memo("x" * 32) == b"x" * 32
    with pytest.raises(InvalidInput, match="33 bytes"):
        parse_memo("x" * 33)


def test_32_bytes_of_hex_are_taken_as_they_are() -> None:
    assert parse_memo("0x" + "c3" * 32) == b"\xc3" * 32
    assert format_memo(b"\xc3" * 32) == "0x" + "c3" * 32


def test_a_memo_that_could_steer_a_terminal_is_shown_as_hex() -> None:
    assert format_memo(b"\x1b[2J".ljust(32, b"\0")).startswith("0x1b5b324a")
