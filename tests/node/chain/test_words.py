"""Our ABI encoding is eth_abi's, and refuses what eth_abi refuses."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import default_codec
from eth_abi.exceptions import EncodingError
from hypothesis import given
from hypothesis import strategies as st

from node.chain import words

ADDRESS = "0x52908400098527886E0F7030069857D2E4169EE7"
_OF_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    "uint8": st.integers(0, 2**8 - 1),
    "uint96": st.integers(0, 2**96 - 1),
    "uint256": st.integers(0, 2**256 - 1),
    "bytes32": st.binary(min_size=32, max_size=32),
    "bytes": st.binary(max_size=100),
    "string": st.text(max_size=40),
    "bool": st.booleans(),  # left to eth_abi
    "uint16[]": st.lists(st.integers(0, 2**16 - 1), max_size=3),
    "(address,uint40,bytes32)": st.tuples(
        st.just(ADDRESS), st.integers(0, 2**40 - 1), st.binary(min_size=32, max_size=32)
    ),
    "(uint8,bytes)": st.tuples(st.integers(0, 255), st.binary(max_size=40)),
    "((uint8,uint8),uint8)": st.tuples(st.just((1, 2)), st.integers(0, 255)),
}


@given(st.data())
def test_what_is_encoded_is_what_eth_abi_encodes(data: st.DataObject) -> None:
    types = data.draw(st.lists(st.sampled_from(sorted(_OF_TYPE)), max_size=6))
    values = [data.draw(_OF_TYPE[type_]) for type_ in types]
    assert words.encode(types, values) == default_codec.encode(types, values)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("uint8", 256),
        ("uint256", -1),
        ("uint256", True),
        ("uint256", "1"),
        ("address", "0x12"),
        ("address", 7),
        ("bytes32", bytes(33)),
        ("bytes32", "0x" + "00" * 32),
        ("bytes", "0x00"),
        ("string", b"text"),
        ("(uint8,uint8)", (1,)),
        ("(uint8,uint8)", (1, 256)),
        ("(uint8,uint8)", 1),
    ],
)
def test_what_does_not_fit_is_refused_as_by_eth_abi(type_: str, value: Any) -> None:
    with pytest.raises(EncodingError) as theirs:
        default_codec.encode([type_], [value])
    with pytest.raises(EncodingError) as ours:
        words.encode([type_], [value])
    assert str(ours.value) == str(theirs.value)


def test_a_value_too_many_is_refused() -> None:
    with pytest.raises(EncodingError):
        words.encode(["uint8"], [1, 2])
