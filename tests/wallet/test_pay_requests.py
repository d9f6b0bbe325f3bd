"""wallet pay of URIs and of a bridge's requests: checked, previewed, and paid once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from web3.exceptions import ContractCustomError

from tests.wallet.chain import CHAIN_ID, COIN, DAY, Bridge, Platform, Proxy, free_port, lose
from tests.wallet.conftest import Home
from tests.wallet.test_contacts import like
from wallet import Confirmed
from wallet.addresses import ZERO_ADDRESS
from wallet.contacts import Contact, Contacts
from wallet.errors import WouldRevert

NEW = "--allow-new-recipient"
AMOUNT = 12_500_000
MEMO = "0x" + b"invoice 7".hex().ljust(64, "0")


def uri(platform: Platform, to: str, memo: str | None = None, amount: str = "12.5e6") -> str:
    function = "transfer" if memo is None else "transferWithMemo"
    end = "" if memo is None else f"&bytes32={memo}"
    coin = platform.coin.address
    return f"ethereum:{coin}@{CHAIN_ID}/{function}?address={to}&uint256={amount}{end}"


# ------------------------------------------------------------------------------ URIs


def test_a_uri_is_paid_as_send_pays(platform: Platform, home: Home) -> None:
    to = platform.member().address
    Contacts(home.path).add(Contact("baker", to))
    asked = uri(platform, to, MEMO)
    done = home.confirmed("pay", asked)
    assert done.code == 5
    assert f"To       baker     {to}  (your contact, first payment to this address)" in done.out
    assert "Amount   12.50 PLZ    Memo  invoice 7 (public)" in done.out
    done = home.confirmed("pay", asked, NEW, "--json")
    assert done.code == 0, done.err
    assert done.json["intent"] == {
        "kind": "transfer",
        "to": to,
        "amount": str(AMOUNT),
        "memo": MEMO,
    }
    assert platform.balance(to) == AMOUNT


def test_a_memo_paid_before_is_warned_of(platform: Platform, home: Home) -> None:
    to = platform.member().address
    assert home.run("pay", uri(platform, to, MEMO), "--dry-run", "--json").json["warnings"] == []
    paid = home.confirmed("pay", uri(platform, to, MEMO), NEW, "--json").json["hash"]
    (warning,) = home.run("pay", uri(platform, to, MEMO), "--dry-run", "--json").json["warnings"]
    assert warning == f"this key paid 12.50 to this address with this memo before, in {paid}"
    assert home.run("pay", uri(platform, to), "--dry-run", "--json").json["warnings"] == []


def test_a_uri_under_an_idempotency_key_is_paid_once(platform: Platform, home: Home) -> None:
    to = platform.member().address
    arguments = ("pay", uri(platform, to), NEW, "--idempotency-key", "invoice-7", "--json")
    first, second = home.confirmed(*arguments), home.confirmed(*arguments)
    assert first.json["hash"] == second.json["hash"]
    assert platform.balance(to) == AMOUNT


def test_the_rules_of_send_hold_for_uris(platform: Platform, home: Home) -> None:
    to = platform.member().address
    for asked, code, message in (
        (uri(platform, home.account.address), 1, "the sender itself"),
        (uri(platform, ZERO_ADDRESS), 1, "the zero address"),
        (uri(platform, platform.coin.address), 1, "the coin's own contract"),
        (uri(platform, "0x" + "ab" * 20), 1, "is not a member"),
        (uri(platform, to, amount="100000001"), 9, "the balance is 100.00 PLZ"),
        (uri(platform, to).replace("@4242", "@1"), 1, "it is for chain 1"),
        (uri(platform, to).replace("@4242", ""), 1, "does not say on which chain"),
        (uri(platform, to, amount="0.5"), 1, "not a whole number"),
        (uri(platform, "bob.eth"), 1, "'bob.eth' is a name"),
        (uri(platform, to).replace("/transfer?", "/burn?"), 1, "it calls 'burn'"),
        (f"ethereum:{to}?value=2.014e18", 1, "native coin"),
        ("ethereum:hello there", 1, "is not written as"),
    ):
        done = home.confirmed("pay", asked, NEW, "--json")
        assert done.code == code, (asked, done.err)
        assert message in done.json["error"]["message"]
    assert platform.balance(to) == 0


def test_a_look_alike_in_a_uri_is_warned_of(platform: Platform, home: Home) -> None:
    bob = platform.member().address
    Contacts(home.path).add(Contact("bob", bob))
    platform.admit(like(bob))
    done = home.run("pay", uri(platform, like(bob)), "--dry-run", "--json")
    assert f"begins and ends like {bob}, your contact 'bob'" in done.json["warnings"][0]


def test_flags_that_mean_nothing_are_usage_errors(platform: Platform, home: Home) -> None:
    for arguments in (
        (uri(platform, platform.fee_receiver), "--relay"),
        ("prq_1", "--idempotency-key", "x"),
        ("pur_1", "--idempotency-key", "x"),
        ("pur_1", NEW),
    ):
        done = home.confirmed("pay", *arguments, "--json")
        assert (done.code, done.json["error"]["code"]) == (2, "usage")


# ------------------------------------------------------------------ a bridge's requests


@pytest.fixture
def asked(platform: Platform, home: Home, bridge: Bridge) -> dict[str, Any]:
    """A request that this wallet has the link of."""
    home.add_network(bridge.manifest)
    request = platform.payment_request(platform.member().address)
    bridge.requests[request["id"]] = request
    return request


def test_a_request_is_paid_under_its_own_nonce(
    platform: Platform, home: Home, asked: dict[str, Any]
) -> None:
    done = home.confirmed("pay", asked["id"], NEW, "--json")
    assert done.code == 0, done.err
    assert platform.balance(asked["payee"]) == AMOUNT
    assert done.json["intent"] == {
        "kind": "authorized transfer",
        "from": home.account.address,
        "to": asked["payee"],
        "amount": str(AMOUNT),
        "nonce": asked["nonce"],
    }
    used = platform.coin.functions.authorizationState(home.account.address, asked["nonce"])
    assert used.call() is True
    function, arguments = platform.coin.decode_function_input(
        platform.web3.eth.get_transaction(done.json["hash"])["input"]
    )
    assert function.fn_name == "transferWithAuthorization"
    assert arguments["validAfter"] == 0
    expires = platform.web3.eth.get_block("latest")["timestamp"] + DAY
    assert abs(arguments["validBefore"] - expires) < 60


def test_its_transaction_is_said_in_words(home: Home, asked: dict[str, Any]) -> None:
    paid = home.confirmed("pay", asked["id"], NEW, "--json").json
    shown = home.run("tx", "show", paid["hash"])
    assert f"Payer    {home.account.address} (signed for)\nTo       {asked['payee']}" in shown.out
    assert home.run("tx", "show", paid["hash"], "--json").json["intent"] == paid["intent"]


def test_a_signed_payment_may_be_sent_in_steps_and_by_others(
    platform: Platform, home: Home, make_home: Callable[..., Home], asked: Any
) -> None:
    with home.wallet() as wallet:
        plan = wallet.plan_request(wallet.bridge_request(asked["id"]))
        data = "0x" + plan.call(wallet.sign_intent(plan.authorization.intent)).hex()
    other = make_home(name="other")
    for sender in (home, other):
        unsigned, signed = (str(sender.path / name) for name in ("unsigned", "signed"))
        call = ("--to", platform.coin.address, "--data", data)
        built = sender.run("tx", "build", "call", *call, "--out", unsigned, "--json")
        assert built.json["intent"] == dict(plan.intent), built.err
        done = sender.confirmed("tx", "sign", unsigned, "--out", signed)
        # A recipient that is new is typed by who pays, not by who only sends it.
        assert done.code == (5 if sender is home else 0), done.err
    assert other.run("tx", "broadcast", signed, "--yes").code == 0
    assert platform.balance(asked["payee"]) == AMOUNT
    assert platform.balance(home.account.address) == 100 * COIN - AMOUNT
    assert platform.balance(other.account.address) == 100 * COIN


def test_the_preview_says_who_says_what(
    platform: Platform, home: Home, asked: dict[str, Any]
) -> None:
    done = home.run("pay", asked["id"], "--dry-run")
    assert done.code == 0, done.err
    for line in (
        f"To       {asked['payee']}  (first payment to this address)",
        "Shop     Demo shop (so says the bridge)",
        "Amount   12.50 PLZ\n",
        f"Request  {asked['id']}, payable until 20",
        f"For      {asked['memo']} (so says the bridge)",
        f"Once     under the nonce {asked['nonce']}",
    ):
        assert line in done.out
    assert "Warning" not in done.out
    plan = home.run("pay", asked["id"], "--dry-run", "--json").json
    assert (plan["merchant"], plan["memo"]) == ("Demo shop", asked["memo"])
    assert plan["first_time_recipient"] is True
    assert platform.balance(asked["payee"]) == 0


def test_a_merchants_name_cannot_steer_the_terminal(home: Home, asked: dict[str, Any]) -> None:
    asked["merchant"] = "\x1b[2Jgood\u202eshop\nAmount   0.01 PLZ" + " " * 2_000 + "here"
    done = home.run("pay", asked["id"], "--dry-run")
    assert done.code == 0
    assert "\nAmount   12.50 PLZ\n" in done.out
    assert "\nAmount   0.01" not in done.out
    assert "here" not in done.out
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out


def test_the_url_works_too_and_a_foreign_one_is_warned_of(
    platform: Platform, home: Home, bridge: Bridge, asked: dict[str, Any]
) -> None:
    url = f"{bridge.url}/v1/pay/requests/{asked['id']}"
    assert home.run("pay", url, "--dry-run", "--json").json["warnings"] == []
    home.add_network(platform.manifest())  # names another bridge
    (warning,) = home.run("pay", url, "--dry-run", "--json").json["warnings"]
    assert warning == f"{url} is not at this network's bridge"


def test_a_payee_never_paid_before_has_to_be_allowed(
    platform: Platform, home: Home, asked: dict[str, Any]
) -> None:
    done = home.confirmed("pay", asked["id"], "--json")
    assert done.code == 5
    assert "--allow-new-recipient" in done.json["error"]["message"]
    assert platform.balance(asked["payee"]) == 0


def test_paying_again_is_refused_in_words(
    platform: Platform, home: Home, bridge: Bridge, asked: dict[str, Any]
) -> None:
    first = home.confirmed("pay", asked["id"], NEW, "--json").json["hash"]
    # The bridge has not noticed yet, or lies: the chain is asked.
    again = home.confirmed("pay", asked["id"], NEW, "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "refused")
    paid = f"the request {asked['id']} is paid already by {first}"
    assert again.json["error"]["message"] == paid
    asked |= {"status": "paid", "paid_tx": first, "uri": None}
    again = home.confirmed("pay", asked["id"], NEW, "--json")
    assert again.json["error"]["message"] == paid
    assert platform.balance(asked["payee"]) == AMOUNT


def test_another_key_does_not_pay_it_again(
    platform: Platform, home: Home, asked: dict[str, Any]
) -> None:
    assert home.confirmed("pay", asked["id"], NEW).code == 0
    home.add_key("other", platform.member(100 * COIN))
    again = home.confirmed("pay", asked["id"], NEW, "--key", "other", "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "refused")
    assert platform.balance(asked["payee"]) == AMOUNT


TYPES = {
    "TransferWithAuthorization": {
        "from": "address",
        "to": "address",
        "value": "uint256",
        "validAfter": "uint256",
        "validBefore": "uint256",
        "nonce": "bytes32",
    },
    "CancelAuthorization": {"authorizer": "address", "nonce": "bytes32"},
}


def sign(platform: Platform, account: LocalAccount, kind: str, message: dict[str, Any]) -> bytes:
    """A signature for the coin, made without the wallet."""
    typed = {
        "types": {kind: [{"name": name, "type": of} for name, of in TYPES[kind].items()]},
        "primaryType": kind,
        "domain": {
            "name": "Plaza Coin",
            "version": "1",
            "chainId": CHAIN_ID,
            "verifyingContract": platform.coin.address,
        },
        "message": message,
    }
    return bytes(account.sign_typed_data(full_message=typed).signature)


def test_a_stranger_that_uses_the_nonce_for_itself_has_paid_nothing(
    platform: Platform, home: Home, asked: dict[str, Any]
) -> None:
    stranger = platform.member(100 * COIN)
    elsewhere = {**asked, "payee": platform.fee_receiver}
    message = {
        "from": stranger.address,
        "to": platform.fee_receiver,
        "value": AMOUNT,
        "validAfter": 0,
        "validBefore": platform.now + DAY,
        "nonce": bytes.fromhex(asked["nonce"][2:]),
    }
    body = {
        "payer": stranger.address,
        "valid_after": 0,
        "valid_before": message["validBefore"],
        "signature": sign(platform, stranger, "TransferWithAuthorization", message),
    }
    platform.relay_transfer(elsewhere, body)
    assert home.confirmed("pay", asked["id"], NEW).code == 0
    assert platform.balance(asked["payee"]) == AMOUNT


def test_coin_that_came_with_the_memo_is_warned_of(
    platform: Platform, home: Home, asked: dict[str, Any]
) -> None:
    sent = home.confirmed("pay", asked["uri"], NEW, "--json").json["hash"]
    (warning,) = home.run("pay", asked["id"], "--dry-run", "--json").json["warnings"]
    assert warning.startswith(f"12.50 came to the payee with this memo before, in {sent}; ")


def test_the_signature_may_be_handed_to_the_bridge(
    platform: Platform, home: Home, bridge: Bridge, asked: dict[str, Any]
) -> None:
    bridge.on_signature = platform.relay_transfer
    done = home.confirmed("pay", asked["id"], "--relay", NEW, "--json")
    assert done.code == 0, done.err
    assert (done.json["status"], done.json["request_id"]) == ("paid", asked["id"])
    assert platform.balance(asked["payee"]) == AMOUNT
    assert platform.transaction_count(home.account.address) == 0
    (body,) = bridge.signatures
    assert sorted(body) == ["payer", "signature", "valid_after", "valid_before"]
    again = home.confirmed("pay", asked["id"], "--relay", NEW, "--json")
    assert again.json["error"]["code"] == "refused"


def test_what_was_handed_over_and_sent_too_pays_once(
    platform: Platform, home: Home, bridge: Bridge, asked: dict[str, Any]
) -> None:
    done = home.confirmed("pay", asked["id"], "--relay", NEW, "--timeout", "0.3", "--json")
    assert (done.code, done.json["status"]) == (8, "pending")
    assert asked["id"] in done.err + done.out
    assert home.confirmed("pay", asked["id"], NEW).code == 0
    with pytest.raises(ContractCustomError):
        platform.relay_transfer(asked, bridge.signatures[0])
    assert platform.balance(asked["payee"]) == AMOUNT


def test_two_that_pay_at_once_pay_once(platform: Platform, home: Home, asked: Any) -> None:
    with home.wallet() as one, home.wallet() as other:
        plans = [wallet.plan_request(wallet.bridge_request(asked["id"])) for wallet in (one, other)]
        # Both looked before either was on chain.
        platform.web3.provider.make_request("evm_setAutomine", [False])
        try:
            sent = one.submit(plans[0])
            with pytest.raises(WouldRevert, match="has used or canceled the authorization"):
                other.submit(plans[1])
            platform.web3.provider.make_request("evm_mine", [])
        finally:
            platform.web3.provider.make_request("evm_setAutomine", [True])
        assert isinstance(sent.wait(), Confirmed)
    assert platform.balance(asked["payee"]) == AMOUNT


def test_an_interrupted_payment_is_finished_and_not_made_again(
    platform: Platform, make_home: Callable[..., Home], bridge: Bridge, proxy: Proxy
) -> None:
    home = make_home()
    home.add_network(bridge.manifest, proxy.url)
    asked = platform.payment_request(platform.member().address)
    bridge.requests[asked["id"]] = asked
    proxy.before["eth_sendRawTransaction"] = lose
    done = home.confirmed("pay", asked["id"], NEW, "--timeout", "0.2", "--json")
    assert (done.code, done.json["status"]) == (8, "pending")
    assert "under the nonce" in home.run("history").err
    proxy.before.clear()
    again = home.confirmed("pay", asked["id"], NEW, "--json")
    assert (again.code, again.json["hash"]) == (0, done.json["hash"])
    assert again.json["resumed"] is True
    assert len(set(proxy.sent)) == 1
    assert platform.balance(asked["payee"]) == AMOUNT


OTHER = "0x" + "11" * 20


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"chain_id": 1}, "terms_mismatch"),
        ({"coin": OTHER}, "terms_mismatch"),
        ({"symbol": "ETH"}, "terms_mismatch"),
        ({"decimals": 18}, "terms_mismatch"),
        ({"id": "prq_other"}, "terms_mismatch"),
        ({"payee": OTHER}, "terms_mismatch"),
        ({"payee": "bob"}, "invalid_input"),
        ({"amount": "12500001"}, "terms_mismatch"),
        ({"amount": "0"}, "terms_mismatch"),
        ({"amount": "12.50"}, "invalid_input"),
        ({"memo": "another"}, "terms_mismatch"),
        ({"memo": None}, "terms_mismatch"),
        ({"memo_word": "0x" + "11" * 32}, "terms_mismatch"),
        ({"nonce": "0x" + "11" * 32}, "terms_mismatch"),
        ({"uri": None}, "invalid_input"),
        ({"uri": "ethereum:" + OTHER}, "terms_mismatch"),
        ({"expires_at": "soon"}, "invalid_input"),
        ({"expires_at": "2026-13-01T00:00:00Z"}, "invalid_input"),
        ({"status": "owed"}, "invalid_input"),
        ({"status": "canceled"}, "refused"),
        ({"status": "expired"}, "refused"),
        ({"status": "paid"}, "refused"),
    ],
)
def test_what_the_bridge_says_is_not_believed(
    platform: Platform, home: Home, bridge: Bridge, asked: Any, changes: Any, code: str
) -> None:
    bridge.requests[asked["id"]] = {**asked, **changes}
    done = home.confirmed("pay", asked["id"], NEW, "--json")
    assert done.code == 1
    assert done.json["error"]["code"] == code, done.err
    assert platform.balance(asked["payee"]) == 0


def test_a_request_without_a_memo_and_with_a_long_one(
    platform: Platform, home: Home, bridge: Bridge, asked: dict[str, Any]
) -> None:
    payee = platform.member().address
    plain = platform.payment_request(payee, memo=None)
    memo = "an invoice of more than thirty-two bytes"
    word = platform.web3.keccak(text=memo).to_0x_hex()
    long = platform.payment_request(payee, memo=memo, memo_word=word)
    coin = f"ethereum:{platform.coin.address}@{CHAIN_ID}/transferWithMemo"
    long["uri"] = f"{coin}?address={payee}&uint256={AMOUNT}&bytes32={word}"
    for request in (plain, long):
        bridge.requests[request["id"]] = request
        done = home.confirmed("pay", request["id"], NEW)
        assert done.code == 0, done.err
    assert platform.balance(payee) == 2 * AMOUNT


def test_an_expired_request_is_refused(
    rewound: Platform, home: Home, asked: dict[str, Any]
) -> None:
    rewound.web3.provider.make_request("evm_increaseTime", [DAY + 60])
    done = home.confirmed("pay", asked["id"], NEW)
    assert done.code == 1
    assert "it could be paid until" in done.err


def test_a_request_to_oneself_is_refused(platform: Platform, home: Home, bridge: Bridge) -> None:
    home.add_network(bridge.manifest)
    for payee in (home.account.address, platform.coin.address, ZERO_ADDRESS):
        request = platform.payment_request(payee)
        bridge.requests[request["id"]] = request
        done = home.confirmed("pay", request["id"], NEW, "--json")
        assert done.code == 1
        assert "coin is not sent there" in done.json["error"]["message"]


def test_a_canceled_authorization_is_refused(
    platform: Platform, home: Home, asked: dict[str, Any]
) -> None:
    nonce = bytes.fromhex(asked["nonce"][2:])
    message = {"authorizer": home.account.address, "nonce": nonce}
    signature = sign(platform, home.account, "CancelAuthorization", message)
    cancel = platform.coin.get_function_by_signature("cancelAuthorization(address,bytes32,bytes)")
    platform.send(cancel(home.account.address, nonce, signature), platform.operator)
    done = home.confirmed("pay", asked["id"], NEW, "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "refused")
    assert "used or canceled its authorization" in done.json["error"]["message"]


def test_no_bridge_is_a_network_error(home: Home, bridge: Bridge, asked: dict[str, Any]) -> None:
    assert home.confirmed("pay", "prq_unknown", NEW).code == 7
    gone = f"http://127.0.0.1:{free_port()}/v1/pay/requests/{asked['id']}"
    assert home.confirmed("pay", gone, NEW).code == 7


@pytest.mark.parametrize("reference", ["prq_../network", "file:///etc/prq_x", "prq_", "x/prq_x"])
def test_what_names_no_request_is_refused(
    home: Home, asked: dict[str, Any], reference: str
) -> None:
    done = home.confirmed("pay", reference)
    assert done.code == 1, done.err
