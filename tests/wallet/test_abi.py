"""The hand-written selectors and topics are those of the compiled contracts."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi import encode
from eth_utils import keccak
from eth_utils.abi import collapse_if_tuple

import contracts
from wallet.abi import ERRORS, EVENTS, FUNCTIONS, TEXT_ERRORS, describe_revert, encode_call

CONTRACTS = ("PlatformCoin", "PurchaseEscrow", "CreditBook", "LenderPool")


def compiled(kind: str, *more: str) -> set[str]:
    return {
        f"{item['name']}({','.join(collapse_if_tuple(i) for i in item['inputs'])})"
        for name in (*CONTRACTS, *more)
        for item in contracts.load(name).abi
        if item["type"] == kind
    }


@pytest.mark.parametrize("signature", FUNCTIONS)
def test_functions_are_the_contracts_own(signature: str) -> None:
    assert signature in compiled("function", "AccessManager")
    assert FUNCTIONS[signature] == keccak(text=signature)[:4].hex()


@pytest.mark.parametrize("signature", EVENTS)
def test_events_are_the_contracts_own(signature: str) -> None:
    assert signature in compiled("event")
    assert EVENTS[signature] == keccak(text=signature).hex()


@pytest.mark.parametrize("signature", [*ERRORS, *TEXT_ERRORS])
def test_errors_are_the_contracts_own(signature: str) -> None:
    assert signature in compiled("error") | {"Error(string)"}
    selector = (ERRORS.get(signature) or TEXT_ERRORS[signature])[0]
    assert selector == keccak(text=signature)[:4].hex()


def test_every_error_of_the_contracts_can_be_said_in_words() -> None:
    assert compiled("error") <= {*ERRORS, *TEXT_ERRORS}


@pytest.mark.parametrize("signature", ERRORS)
def test_each_error_shows_all_its_arguments(signature: str) -> None:
    selector, _, shows = ERRORS[signature]
    types = signature.split("(")[1].rstrip(")").split(",") if shows else []
    assert len(types) == len(shows)
    data = "0x" + selector + "".join(f"{number:064x}" for number in range(1, len(shows) + 1))
    assert "unknown" not in describe_revert(data)


def revert_data(signature: str, types: list[str], values: list[Any]) -> str:
    return "0x" + (keccak(text=signature)[:4] + encode(types, values)).hex()


def test_reverts_are_said_in_words() -> None:
    account = "0x" + "ab" * 20
    assert describe_revert(
        revert_data("NotAMember(address,uint40)", ["address", "uint40"], [account, 1_800_000_000])
    ) == (f"{account} is not a member (member until: 2027-01-15 08:00:00 UTC)")
    assert describe_revert(
        revert_data(
            "ERC20InsufficientBalance(address,uint256,uint256)",
            ["address", "uint256", "uint256"],
            [account, 1_500_000, 2_000_000],
        )
    ) == (f"{account} holds 1.50, and 2.00 is needed")
    assert describe_revert(revert_data("Error(string)", ["string"], ["no luck"])) == "no luck"
    assert describe_revert("0xdeadbeef") == "an error unknown to this wallet: 0xdeadbeef"
    assert describe_revert(None) == "no reason given"


def test_a_tail_of_bytes_is_coded_as_the_abi_says() -> None:
    signature = bytes(range(65))
    words = [*["0x" + "11" * 20] * 4, 5, 6, 7, 8, 9, 10, b"\x0b" * 32, 12, 13, 14]
    types = ["address"] * 4 + ["uint256"] * 6 + ["bytes32"] + ["uint256"] * 3 + ["bytes"]
    call = encode_call("authorizeWithSignature", *words, tail=signature)
    assert call[4:] == encode(types, [*words, signature])
