"""What the wallet refuses, word for word, with its exit code; docs/wallet.md has the same table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from tests.wallet.chain import CHAIN_ID, COIN, DAY, SELLER, Bridge, Platform
from tests.wallet.conftest import Home
from tests.wallet.test_disputes import AMOUNT, paid
from wallet.addresses import to_checksum

NEW = "--allow-new-recipient"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "wallet.md"


def refusal(done: Any) -> tuple[int, str]:
    """The exit code and the whole message; the same on stderr, for people."""
    message = done.json["error"]["message"]
    assert f"wallet: {message}\n" in done.err
    return done.code, message


def send(home: Home, to: str, amount: str = "1", *flags: str) -> tuple[int, str]:
    return refusal(home.confirmed("send", to, amount, NEW, "--json", *flags))


def documented(code: int, message: str) -> None:
    """That the table in the documents has this message and code."""
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)` \| (\d) \|$", DOCS.read_text(), re.MULTILINE)
    assert {row: int(number) for row, number in rows}.get(_generic(message)) == code


def _generic(message: str) -> str:
    """The message with what differs from run to run taken out."""
    message = re.sub(r"0x[0-9a-fA-F]{40}", "0x…", message)
    message = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", message)
    return re.sub(r"http://[\w.:]+", "http://…", message)


def test_the_wrong_network(platform: Platform, home: Home) -> None:
    home.add_network(platform.manifest(chain_id=1))
    code, message = send(home, platform.fee_receiver)
    assert (code, message) == (
        1,
        f"{platform.url} serves chain {CHAIN_ID}, network 'plaza' is chain 1",
    )
    documented(code, message)


def test_no_member(platform: Platform, home: Home) -> None:
    stranger = Account.create().address
    code, message = send(home, stranger)
    assert (code, message) == (
        1,
        f"{stranger} (the recipient) is not a member of this network",
    )
    documented(code, message)


def test_a_frozen_key(platform: Platform, home: Home) -> None:
    to = platform.member().address
    platform.send(platform.coin.functions.freeze(home.account.address, b"\0" * 32))
    code, message = send(home, to)
    assert (code, message) == (1, f"{home.account.address} (this key) is frozen")
    documented(code, message)


def test_an_expired_membership(rewound: Platform, home: Home) -> None:
    rewound.travel(366 * DAY)
    code, message = send(home, rewound.fee_receiver)
    assert (code, message) == (
        1,
        f"{home.account.address} (this key) is no longer a member of this network: "
        "its membership has expired",
    )
    documented(code, message)


def test_too_little_coin(platform: Platform, home: Home) -> None:
    code, message = send(home, platform.member().address, "100.000001")
    assert (code, message) == (9, "the balance is 100.00 PLZ, 100.000001 is needed")
    documented(code, message)


def test_a_paused_coin(rewound: Platform, home: Home) -> None:
    to = rewound.member().address
    rewound.send(rewound.coin.functions.pause())
    code, message = send(home, to)
    assert (code, message) == (1, "transfers of the coin are paused by the platform")
    documented(code, message)


def test_a_purchase_released_already(rewound: Platform, home: Home) -> None:
    order = paid(rewound, home)
    release = rewound.escrow.functions.release(order["solidity"], AMOUNT, 250)
    rewound.acting(home.account.address, release)
    for verb in ("confirm", "reclaim"):
        code, message = refusal(home.confirmed("purchase", verb, order["hash"], "--json"))
        assert (code, message) == (1, "the escrow holds nothing for the order: it is closed")
    documented(code, message)


def test_a_line_in_default(rewound: Platform, home: Home) -> None:
    rewound.lend()
    rewound.admit(home.account.address, SELLER)
    rewound.line_of(home.account, drawn=90 * COIN, drawFeeBps=0, aprBps=0)
    rewound.travel(160 * DAY)
    code, message = refusal(home.confirmed("credit", "draw", "1", "--json"))
    assert (code, message) == (1, "the credit line is in default: all of 90.00 is due")
    documented(code, message)


def test_a_bad_checksum(home: Home) -> None:
    good = to_checksum("0x" + "ab" * 20)
    bad = good[:-1] + good[-1].swapcase()
    code, message = send(home, bad)
    assert code == 2
    assert message == (
        f"Invalid value: {bad} has a bad checksum: a digit or its case is wrong. "
        "Copy the address again (see wallet send --help)"
    )
    documented(code, message)


def test_a_poisoned_address(platform: Platform, home: Home) -> None:
    known = platform.member().address
    assert home.confirmed("send", known, "1", NEW).code == 0
    poison = known[:6] + "0" * 32 + known[-4:]
    poison = to_checksum(poison.lower())
    platform.admit(poison)
    done = home.run("send", poison, "1", "--dry-run", "--json")
    (warning,) = done.json["warnings"]
    assert warning == (
        f"{poison} begins and ends like {known}, which was paid before, and is another address"
    )
    assert f"Warning  {warning}" in done.err
    code, message = refusal(home.confirmed("send", poison, "1", "--json"))
    assert (code, message) == (
        5,
        f"{poison} was never paid before: confirm with --allow-new-recipient",
    )
    documented(code, message)
    assert platform.balance(poison) == 0


def test_a_contact_like_another(home: Home) -> None:
    add = ("contact", "add", "--json")
    known, other = (to_checksum("0x" + digits * 20) for digits in ("b0", "e1"))
    assert home.run(*add, "bob", known).code == 0
    code, message = refusal(home.run(*add, "b0b", other, "--yes"))
    assert (code, message) == (
        5,
        f"'b0b' can be taken for your contact 'bob', {known}: confirm with --allow-look-alike",
    )
    documented(code, message)
    code, message = refusal(home.run(*add, "bob", other))
    assert (code, message) == (
        1,
        f"there is a contact 'bob' already, {known}: replace it with --replace",
    )
    documented(code, message)


def test_a_request_that_is_over_or_for_another_chain(
    rewound: Platform, home: Home, bridge: Bridge
) -> None:
    home.add_network(bridge.manifest)
    request = rewound.payment_request(rewound.member().address)
    bridge.requests[request["id"]] = request
    foreign = request["uri"].replace(f"@{CHAIN_ID}", "@1")
    code, message = refusal(home.confirmed("pay", foreign, NEW, "--json"))
    assert (code, message) == (1, f"it is for chain 1, network 'plaza' is chain {CHAIN_ID}")
    documented(code, message)
    rewound.travel(2 * DAY)
    code, message = refusal(home.confirmed("pay", request["id"], NEW, "--json"))
    assert code == 1
    assert message.startswith("it could be paid until 20")
    documented(code, message)


def test_an_amount_with_a_comma(home: Home) -> None:
    code, message = send(home, "main", "1,50")
    assert (code, message) == (
        2,
        "Invalid value for 'AMOUNT': '1,50' is not an amount: write digits with a point for "
        "decimals, as in 12.50 (see wallet send --help)",
    )
    documented(code, message)


@pytest.mark.parametrize("flags", [("send", "main", "1"), ("credit", "draw", "1")])
def test_nobody_to_confirm(home: Home, flags: tuple[str, ...]) -> None:
    code, message = refusal(home.run(*flags, "--json"))
    assert (code, message) == (5, "not on a terminal: confirm with --yes")
    documented(code, message)
