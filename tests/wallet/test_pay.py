"""wallet pay and wallet purchase, against a bridge on a socket and a real escrow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.wallet.chain import CHAIN_ID, DAY, SELLER, Bridge, Platform, free_port
from tests.wallet.conftest import Home

ID = "pur_0192test"
AMOUNT = 12_500_000


@pytest.fixture
def request_json(platform: Platform, home: Home, bridge: Bridge) -> dict[str, Any]:
    """A purchase this wallet is asked to pay."""
    home.add_network(bridge.manifest)
    terms = platform.terms(home.account.address, platform.member(kinds=SELLER).address)
    bridge.requests[ID] = platform.request(terms)
    return bridge.requests[ID]


def test_a_purchase_is_paid_into_escrow(
    platform: Platform, home: Home, request_json: dict[str, Any]
) -> None:
    done = home.confirmed("pay", ID, "--json")
    assert done.code == 0, done.err
    held, _, _, status = platform.order(request_json["order_hash"])
    assert (held, status) == (AMOUNT, 1)
    assert platform.balance(home.account.address) == 100_000_000 - AMOUNT
    assert done.json["intent"] == {
        "kind": "payment",
        "order_hash": request_json["order_hash"],
        "to": request_json["terms"]["payee"],
        "amount": str(AMOUNT),
    }


def test_the_preview_shows_what_the_buyer_agrees_to(
    platform: Platform, home: Home, request_json: dict[str, Any]
) -> None:
    done = home.run("pay", ID, "--dry-run")
    assert done.code == 0, done.err
    terms = request_json["terms"]
    for shown in (
        "Demo shop, order A-1001",
        terms["payee"],
        "12.50 PLZ",
        "1.00 % to 2.50 %",
        terms["feeReceiver"],
        terms["operator"],
        "7 days after confirming delivery",
        request_json["order_hash"],
    ):
        assert shown in done.out
    assert "Warning" not in done.out
    assert platform.order(request_json["order_hash"])[3] == 0


def test_the_whole_url_works_too(
    platform: Platform, home: Home, bridge: Bridge, request_json: dict[str, Any]
) -> None:
    done = home.confirmed("pay", f"{bridge.url}/v1/pay/{ID}")
    assert done.code == 0, done.err
    assert platform.order(request_json["order_hash"])[3] == 1


def test_paying_twice_is_refused(home: Home, request_json: dict[str, Any]) -> None:
    assert home.confirmed("pay", ID).code == 0
    again = home.confirmed("pay", ID, "--json")
    assert again.code == 1
    assert again.json["error"]["message"].startswith("the purchase is paid already")


def test_the_signature_may_be_handed_to_the_bridge(
    platform: Platform, home: Home, bridge: Bridge, request_json: dict[str, Any]
) -> None:
    def relay(request: dict[str, Any], body: dict[str, Any]) -> None:
        platform.send(
            platform.escrow.functions.authorizeWithSignature(
                platform.solidity_terms(request["terms"]),
                int(request["amount"]),
                body["valid_after"],
                body["valid_before"],
                body["signature"],
            ),
            platform.operator,
        )

    bridge.on_signature = relay
    done = home.confirmed("pay", ID, "--relay", "--json")
    assert done.code == 0, done.err
    assert done.json["status"] == "authorized"
    assert platform.order(request_json["order_hash"])[0] == AMOUNT
    assert platform.transaction_count(home.account.address) == 0
    (body,) = bridge.signatures
    assert (body["valid_after"], len(body["signature"])) == (0, 132)
    assert body["valid_before"] == request_json["terms"]["authorizeBefore"]


def test_a_relay_not_seen_on_chain_is_pending(home: Home, request_json: dict[str, Any]) -> None:
    done = home.confirmed("pay", ID, "--relay", "--timeout", "0.3", "--json")
    assert done.code == 8
    assert request_json["order_hash"] in done.err + done.out


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain_id", 1),
        ("escrow", "0x" + "11" * 20),
        ("coin", "0x" + "11" * 20),
        ("order_hash", "0x" + "11" * 32),
        ("amount", str(AMOUNT + 1)),
        ("amount", "0"),
        ("purchase_id", "pur_other"),
    ],
)
def test_what_the_bridge_says_is_not_believed(
    home: Home, request_json: dict[str, Any], field: str, value: Any
) -> None:
    request_json[field] = value
    done = home.confirmed("pay", ID, "--json")
    assert done.code == 1
    assert done.json["error"]["code"] == "terms_mismatch"


@pytest.mark.parametrize("field", ["payee", "operator", "feeReceiver"])
def test_other_terms_than_the_order_hash_are_refused(
    home: Home, request_json: dict[str, Any], field: str
) -> None:
    request_json["terms"][field] = "0x" + "11" * 20
    done = home.confirmed("pay", ID, "--json")
    assert done.json["error"]["code"] == "terms_mismatch"


def test_somebody_elses_purchase_is_refused(
    platform: Platform, home: Home, bridge: Bridge, request_json: dict[str, Any]
) -> None:
    buyer, seller = platform.member().address, platform.member(kinds=SELLER).address
    bridge.requests[ID] = platform.request(platform.terms(buyer, seller))
    done = home.confirmed("pay", ID, "--json")
    assert done.json["error"]["code"] == "terms_mismatch"
    assert buyer in done.err


def test_an_expired_request_is_refused(
    rewound: Platform, home: Home, request_json: dict[str, Any]
) -> None:
    rewound.web3.provider.make_request("evm_increaseTime", [DAY + 1])
    done = home.confirmed("pay", ID)
    assert done.code == 1
    assert "could be paid until" in done.err


def test_a_foreign_operator_is_warned_of(
    platform: Platform, home: Home, bridge: Bridge, request_json: dict[str, Any]
) -> None:
    stranger = platform.member().address
    terms = platform.terms(
        home.account.address, platform.member(kinds=SELLER).address, operator=stranger
    )
    bridge.requests[ID] = platform.request(terms)
    done = home.run("pay", ID, "--dry-run")
    assert f"Warning  the operator {stranger} is not this network's" in done.out


def test_too_little_coin_for_a_purchase(
    platform: Platform, make_home: Callable[..., Home], bridge: Bridge
) -> None:
    home = make_home(units=1)
    home.add_network(bridge.manifest)
    terms = platform.terms(home.account.address, platform.member(kinds=SELLER).address)
    bridge.requests[ID] = platform.request(terms)
    assert home.confirmed("pay", ID).code == 9


def test_names_cannot_steer_the_terminal(home: Home, request_json: dict[str, Any]) -> None:
    request_json["merchant"] = "\x1b[2Jgood\u202eshop\nAmount   0.01 PLZ"
    done = home.run("pay", ID, "--dry-run")
    assert done.code == 0
    assert "\nAmount   0.01" not in done.out
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out


def test_an_unknown_purchase_and_an_absent_bridge_are_network_errors(
    home: Home, bridge: Bridge, request_json: dict[str, Any]
) -> None:
    done = home.confirmed("pay", "pur_unknown")
    assert done.code == 7
    assert "no such purchase" in done.err
    assert home.confirmed("pay", f"http://127.0.0.1:{free_port()}/v1/pay/{ID}").code == 7


@pytest.mark.parametrize(
    "reference",
    ["A-1001", "pur_../network", "file:///etc/pur_x", "pur_", "http://[", "http://[/pur_x"],
)
def test_what_names_no_purchase_is_refused(
    home: Home, request_json: dict[str, Any], reference: str
) -> None:
    assert home.confirmed("pay", reference).code == 1


# ------------------------------------------------------------------ wallet purchase


@pytest.fixture
def paid(home: Home, request_json: dict[str, Any]) -> dict[str, Any]:
    assert home.confirmed("pay", ID).code == 0
    return request_json


def test_a_purchase_is_shown_by_id_and_by_order_hash(home: Home, paid: dict[str, Any]) -> None:
    by_id = home.run("purchase", "show", ID, "--json").json
    by_hash = home.run("purchase", "show", paid["order_hash"], "--json").json
    assert by_id == by_hash
    assert (by_id["status"], by_id["held"]) == ("authorized", str(AMOUNT))
    assert by_id["terms"] == paid["terms"]


def test_confirming_releases_everything_less_the_highest_fee(
    platform: Platform, home: Home, bridge: Bridge, paid: dict[str, Any]
) -> None:
    bridge.requests.clear()  # no bridge is needed for this
    fees = platform.balance(platform.fee_receiver)
    done = home.confirmed("purchase", "confirm", paid["order_hash"], "--json")
    assert done.code == 0, done.err
    fee = AMOUNT * 250 // 10_000
    assert platform.balance(paid["terms"]["payee"]) == AMOUNT - fee
    assert platform.balance(platform.fee_receiver) - fees == fee
    assert done.json["intent"]["fee"] == str(fee)
    assert "12.1875 to the seller, 0.3125 fee" in done.err

    again = home.confirmed("purchase", "confirm", paid["order_hash"])
    assert again.code == 1
    assert "holds nothing" in again.err


def test_confirming_somebody_elses_purchase_is_refused(
    platform: Platform, make_home: Callable[..., Home], paid: dict[str, Any]
) -> None:
    other = make_home(name="other")
    done = other.confirmed("purchase", "confirm", paid["order_hash"])
    assert done.code == 1
    assert "this key is" in done.err


def test_reclaiming_too_early_is_said_with_the_date(home: Home, paid: dict[str, Any]) -> None:
    done = home.confirmed("purchase", "reclaim", ID)
    assert done.code == 1
    assert "can be reclaimed from" in done.err


def test_what_is_never_delivered_is_reclaimed_without_the_operator(
    rewound: Platform, home: Home, paid: dict[str, Any]
) -> None:
    rewound.web3.provider.make_request("evm_increaseTime", [30 * DAY + 60])
    done = home.confirmed("purchase", "reclaim", ID, "--json")
    assert done.code == 0, done.err
    assert rewound.balance(home.account.address) == 100_000_000
    assert done.json["intent"]["amount"] == str(AMOUNT)


def test_what_was_delivered_cannot_be_reclaimed(
    rewound: Platform, home: Home, paid: dict[str, Any]
) -> None:
    terms = rewound.solidity_terms(paid["terms"])
    rewound.send(rewound.escrow.functions.confirmDelivery(terms), rewound.operator)
    done = home.confirmed("purchase", "reclaim", ID)
    assert done.code == 1
    assert "delivery was confirmed" in done.err


def test_an_order_nobody_paid_is_not_found(home: Home, request_json: dict[str, Any]) -> None:
    done = home.run("purchase", "show", request_json["order_hash"], "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "not_found")


def test_a_bridge_on_another_chain_is_noticed_when_added(
    home: Home, bridge: Bridge, platform: Platform
) -> None:
    bridge.manifest["chain_id"] = CHAIN_ID + 1
    done = home.run("network", "add", "other", bridge.url, "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "wrong_chain")
    assert "other" not in home.run("network", "list").out
