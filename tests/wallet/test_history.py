"""wallet history and wallet balance: what the chain says, to the unit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from eth_account import Account

from tests.wallet.chain import COIN, SELLER, Bridge, Platform
from tests.wallet.conftest import Home

NEW = "--allow-new-recipient"
ID = "pur_0192test"


def movements(home: Home, *flags: str) -> list[dict[str, Any]]:
    done = home.run("history", "--json", *flags)
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = done.json["movements"]
    return found


def test_every_movement_is_named_and_they_add_up_to_the_balance(
    rewound: Platform, home: Home, bridge: Bridge
) -> None:
    platform, me = rewound, home.account.address
    home.add_network(bridge.manifest)
    friend, seller = platform.member(50 * COIN), platform.member(kinds=SELLER)
    home.add_key("friend", friend)
    home.add_key("seller", seller)

    assert home.confirmed("send", "friend", "5", "--memo", "rent May").code == 0
    assert home.confirmed("send", "main", "8", "--key", "friend").code == 0
    order_hashes = []
    for _ in range(3):
        terms = platform.terms(me, seller.address)
        bridge.requests[ID] = platform.request(terms)
        order_hashes.append(bridge.requests[ID]["order_hash"])
        assert home.confirmed("pay", ID).code == 0
        solidity = platform.solidity_terms(terms)
    assert home.confirmed("purchase", "confirm", order_hashes[0]).code == 0
    platform.send(platform.escrow.functions.void(solidity, 2_500_000), platform.operator)

    newest_first = movements(home)
    seen = [(m["kind"], m["direction"], m["amount"], m["order_hash"]) for m in newest_first]
    assert seen == [
        ("voided", "in", "2500000", order_hashes[2]),
        ("authorized", "out", "12500000", order_hashes[2]),
        ("authorized", "out", "12500000", order_hashes[1]),
        ("authorized", "out", "12500000", order_hashes[0]),
        ("transfer", "in", "8000000", None),
        ("transfer", "out", "5000000", None),
        ("top-up", "in", "100000000", None),
    ]
    assert newest_first[5]["memo_text"] == "rent May"
    assert newest_first[5]["counterparty"] == friend.address
    signs = {"in": 1, "out": -1}
    total = sum(signs[m["direction"]] * int(m["amount"]) for m in newest_first)
    assert total == platform.balance(me)

    block = platform.web3.eth.get_block(newest_first[0]["block"])
    time = datetime.fromtimestamp(block["timestamp"], UTC)
    assert newest_first[0]["time"] == time.strftime("%Y-%m-%dT%H:%M:%SZ")

    (released,) = movements(home, "--key", "seller")
    assert (released["kind"], released["amount"]) == ("released", "12187500")
    assert released["order_hash"] == order_hashes[0]


def test_refunds_seizures_and_redemptions_are_named(rewound: Platform, home: Home) -> None:
    platform, me = rewound, home.account.address
    platform.web3.provider.make_request("anvil_impersonateAccount", [me])
    platform.send(platform.coin.functions.redeem(3 * COIN, b"\x01" * 32), me)
    platform.send(platform.coin.functions.freeze(me, b"\0" * 32))
    platform.send(platform.coin.functions.seize(me, platform.fee_receiver, 2 * COIN, b"\x02" * 32))
    seen = [(m["kind"], m["direction"], m["amount"]) for m in movements(home)]
    assert seen == [
        ("seizure", "out", "2000000"),
        ("redemption", "out", "3000000"),
        ("top-up", "in", "100000000"),
    ]


def test_equal_payments_in_one_transaction_keep_their_memos(platform: Platform, home: Home) -> None:
    payer = platform.member(10 * COIN).address
    platform.web3.provider.make_request("anvil_impersonateAccount", [payer])
    memos = [text.ljust(32, b"\0") for text in (b"a", b"b", b"c")]
    payments = [(home.account.address, COIN, memo) for memo in memos]
    platform.send(platform.coin.functions.transferMany(payments), payer)
    assert [m["memo_text"] for m in movements(home, "--in", "--limit", "3")] == ["c", "b", "a"]


def test_filters(platform: Platform, home: Home) -> None:
    other = platform.member(9 * COIN)
    home.add_key("other", other)
    assert home.confirmed("send", "other", "1", "--memo", "order 8841").code == 0
    assert home.confirmed("send", "other", "2").code == 0

    assert [m["amount"] for m in movements(home, "--out")] == ["2000000", "1000000"]
    assert [m["kind"] for m in movements(home, "--in")] == ["top-up"]
    assert [m["amount"] for m in movements(home, "--memo", "8841")] == ["1000000"]
    assert [m["amount"] for m in movements(home, "--limit", "1")] == ["2000000"]
    assert movements(home, "--since", "2999-01-01") == []
    assert len(movements(home, "--since", "2001-01-01")) == 3
    assert home.run("history", "--in", "--out").code == 2


def test_history_is_readable_too(platform: Platform, home: Home) -> None:
    to = platform.member().address
    assert home.confirmed("send", to, "1.5", "--memo", "tea", NEW).code == 0
    line = home.run("history", "--out").out.splitlines()[0]
    assert line.split()[2:] == ["-1.50", "PLZ", "transfer", to, "tea"]


def test_balances_of_keys_and_addresses(platform: Platform, home: Home) -> None:
    stranger = Account.create().address
    frozen = platform.member(3 * COIN)
    platform.send(platform.coin.functions.freeze(frozen.address, b"\0" * 32))
    home.add_key("frozen", frozen)

    balances = home.run("balance", "main", "frozen", stranger, "--json").json["balances"]
    assert [(b["name"], b["address"], b["balance"]) for b in balances] == [
        ("main", home.account.address, "100000000"),
        ("frozen", frozen.address, "3000000"),
        (None, stranger, "0"),
    ]
    assert [b["in_good_standing"] for b in balances] == [True, False, False]
    assert balances[0]["kinds"] == ["buyer"]

    text = home.run("balance").out
    assert "frozen    3.00 PLZ  (is frozen)" in text
    assert "main    100.00 PLZ" in text
