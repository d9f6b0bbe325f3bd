"""wallet history and wallet balance: what the chain says, to the unit."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

from eth_account import Account

from tests.wallet.chain import COIN, DAY, SELLER, Bridge, Platform, rpc, serving
from tests.wallet.conftest import Home
from wallet import Wallet
from wallet.history import read_movements

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


def signed_total(found: list[dict[str, Any]]) -> int:
    signs = {"in": 1, "out": -1, "self": 0}
    return sum(signs[m["direction"]] * int(m["amount"]) for m in found)


def test_credit_is_named_for_what_it_is_and_adds_up(rewound: Platform, home: Home) -> None:
    platform, me = rewound, home.account.address
    platform.lend()
    platform.admit(me, SELLER)
    platform.line_of(home.account, drawn=90 * COIN)
    platform.travel(30 * DAY)
    terms = sold(platform, me)
    coin, pool = platform.coin.functions, platform.pool.functions
    platform.acting(me, coin.approve(platform.pool.address, 20 * COIN))
    platform.acting(me, pool.deposit(20 * COIN, me))
    platform.acting(me, pool.withdraw(5 * COIN, me, me))
    assert home.confirmed("credit", "repay", "10").code == 0
    platform.acting(me, coin.approve(platform.book.address, COIN))
    platform.acting(me, platform.book.functions.repay(me, COIN))
    platform.acting(me, coin.approve(platform.book.address, COIN))
    platform.acting(me, platform.book.functions.fundReserve(COIN))
    assert home.confirmed("credit", "repay", "all").code == 0

    found = movements(home)
    seen = [(m["kind"], m["direction"]) for m in found]
    assert seen == [
        ("returned", "in"),
        ("repayment", "out"),
        ("reserve", "out"),
        ("repayment", "out"),
        ("repayment", "out"),
        ("withdrawal", "in"),
        ("deposit", "out"),
        ("released", "in"),
        ("draw", "in"),
        ("top-up", "in"),
    ]
    assert signed_total(found) == platform.balance(me)
    released = found[7]
    net = 12_500_000 - 312_500
    assert (released["fee"], released["repayment"]) == ("312500", str(net * 15 // 100))
    assert int(released["amount"]) == net - net * 15 // 100
    assert released["party"] == terms["payer"]
    line = home.run("history", "--with", terms["payer"]).out
    assert "fee 0.3125  1.828125 to the credit line" in line
    assert len(line.splitlines()) == 1


def sold(platform: Platform, seller: str, amount: int = 12_500_000) -> dict[str, Any]:
    """A sale of the seller's, released to him by its buyer."""
    terms = held(platform, platform.member(amount).address, seller, amount)
    solidity = platform.solidity_terms(terms)
    platform.acting(terms["payer"], platform.escrow.functions.release(solidity, amount, 250))
    return terms


def held(platform: Platform, buyer: str, seller: str, amount: int = 12_500_000) -> dict[str, Any]:
    terms = platform.terms(buyer, seller)
    solidity = platform.solidity_terms(terms)
    approve = platform.coin.functions.approve(platform.escrow.address, amount)
    platform.acting(buyer, approve)
    platform.acting(buyer, platform.escrow.functions.authorize(solidity, amount))
    return terms


def test_disputes_claims_and_fees_are_named(rewound: Platform, home: Home) -> None:
    platform, me = rewound, home.account.address
    escrow, seller = platform.escrow.functions, platform.member(kinds=SELLER).address
    orders = [held(platform, me, seller) for _ in range(2)]
    for order in orders:
        solidity = platform.solidity_terms(order)
        platform.send(escrow.confirmDelivery(solidity), platform.operator)
        platform.acting(me, escrow.dispute(solidity, b"\x01" * 32))
    decided, expired = (platform.solidity_terms(order) for order in orders)
    platform.send(escrow.resolve(decided, 4_000_000, 250, b"\x02" * 32))
    platform.travel(31 * DAY)
    platform.send(escrow.expireDispute(expired))
    unclaimed = held(platform, me, seller)
    platform.send(platform.coin.functions.freeze(me, b"\0" * 32))
    platform.send(escrow.void(platform.solidity_terms(unclaimed), 12_500_000), platform.operator)
    platform.send(platform.coin.functions.unfreeze(me))
    platform.send(escrow.claim(me))

    found = movements(home)
    assert [(m["kind"], m["amount"]) for m in found] == [
        ("claimed", "12500000"),
        ("authorized", "12500000"),
        ("dispute-expired", "12500000"),
        ("dispute-decided", "4000000"),
        ("authorized", "12500000"),
        ("authorized", "12500000"),
        ("top-up", "100000000"),
    ]
    assert signed_total(found) == platform.balance(me)
    assert len(movements(home, "--with", seller)) == 5

    fee = 8_500_000 * 250 // 10_000
    with Wallet.open("plaza", home=home.path) as wallet:
        fees = list(read_movements(wallet.network, wallet._rpc, platform.fee_receiver))
        assert [(m.kind, m.amount, m.order_hash) for m in fees[:1]] == [
            ("fee", fee, platform.order_hash(orders[0]))
        ]


def test_a_table_for_spreadsheets_runs_nothing(platform: Platform, home: Home) -> None:
    other = platform.member(9 * COIN)
    home.add_key("other", other)
    for memo in ("=1+1", 'a "b", c', "@cmd"):
        assert home.confirmed("send", "other", "1", "--memo", memo).code == 0
    done = home.run("history", "--csv")
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["memo"] for row in rows] == ["'@cmd", 'a "b", c', "'=1+1", ""]
    assert [row["amount"] for row in rows] == ["-1.00", "-1.00", "-1.00", "100.00"]
    assert home.run("history", "--csv", "--json").code == 2


def test_an_endpoint_that_answers_for_few_blocks_gives_the_same(
    platform: Platform, home: Home
) -> None:
    other = platform.member()
    home.add_key("other", other)
    assert home.confirmed("send", "other", "1").code == 0
    rpc(platform.url, "anvil_mine", hex(500))
    assert home.confirmed("send", "other", "2").code == 0
    whole = movements(home)
    asked: list[int] = []

    def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        call = json.loads(body)
        if call["method"] == "eth_getLogs":
            first, last = (call["params"][0][name] for name in ("fromBlock", "toBlock"))
            head = int(rpc(platform.url, "eth_blockNumber"), 16)
            size = (head if last == "latest" else int(last, 16)) - int(first, 16) + 1
            if size > 150:
                error = {"code": -32005, "message": "query exceeds max block range 150"}
                refusal = {"jsonrpc": "2.0", "id": call["id"], "error": error}
                return 200, json.dumps(refusal).encode()
            asked.append(size)
        result = rpc(platform.url, call["method"], *call["params"])
        return 200, json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode()

    with serving(answer) as url:
        home.add_network(platform.manifest(), rpc_url=url)
        assert movements(home) == whole
    assert len(asked) > 10


def test_a_refusal_that_is_not_about_the_range_is_said(platform: Platform, home: Home) -> None:
    def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        call = json.loads(body)
        if call["method"] != "eth_getLogs":
            value = {"result": rpc(platform.url, call["method"], *call["params"])}
        else:
            value = {"error": {"code": -32000, "message": "logs are switched off"}}
        return 200, json.dumps({"jsonrpc": "2.0", "id": call["id"], **value}).encode()

    with serving(answer) as url:
        home.add_network(platform.manifest(), rpc_url=url)
        done = home.run("history", "--json")
    assert done.code == 1
    assert done.json["error"]["message"] == "eth_getLogs: logs are switched off"
