"""What happens when the wallet is killed, or the network loses what it says.

The proxy between wallet and chain stops the wallet at a known place; there it is killed by SIGKILL.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable

import pytest

from tests.wallet.chain import COIN, Bridge, Platform, Proxy, lose
from tests.wallet.conftest import Home

NEW = "--allow-new-recipient"


def kill_at(hooks: dict[str, Callable[[], None]], method: str) -> Callable[[Home, list[str]], None]:
    """Run a command and kill it when it is at this call; what it said there is lost."""
    reached, killed = threading.Event(), threading.Event()

    def stop() -> None:
        reached.set()
        killed.wait(60)
        lose()

    def run(home: Home, arguments: list[str]) -> None:
        hooks[method] = stop
        process: subprocess.Popen[str] = home.start(*arguments)
        try:
            assert reached.wait(60), process.communicate()
        finally:
            process.kill()
            process.communicate()
            killed.set()
            del hooks[method]

    return run


@pytest.fixture
def behind_proxy(make_home: Callable[..., Home], proxy: Proxy) -> Home:
    return make_home(rpc_url=proxy.url)


def test_killed_before_the_broadcast_the_same_bytes_are_sent_next_time(
    platform: Platform, behind_proxy: Home, proxy: Proxy
) -> None:
    to = platform.member().address
    send = ["send", to, "7", "--memo", "rent", NEW]
    for _ in range(3):
        kill_at(proxy.before, "eth_sendRawTransaction")(behind_proxy, send)
    assert platform.balance(to) == 0

    done = behind_proxy.confirmed(*send, "--json")
    assert done.code == 0, done.err
    assert done.json["resumed"] is True
    assert "Unfinished since" in done.err
    assert platform.balance(to) == 7 * COIN
    assert len(set(proxy.sent)) == 1, "every broadcast was of the same bytes"

    # Only now that the first is known to have ended does the command pay a second time.
    assert behind_proxy.confirmed(*send, "--json").json["resumed"] is False
    assert platform.balance(to) == 14 * COIN


def test_killed_between_broadcast_and_receipt_nothing_is_paid_twice(
    platform: Platform, behind_proxy: Home, proxy: Proxy
) -> None:
    to = platform.member().address
    send = ["send", to, "7", NEW]
    kill_at(proxy.after, "eth_sendRawTransaction")(behind_proxy, send)
    assert platform.balance(to) == 7 * COIN

    kill_at(proxy.after, "eth_getTransactionReceipt")(behind_proxy, send)
    done = behind_proxy.confirmed(*send, "--json")
    assert (done.code, done.json["resumed"]) == (0, True), done.err
    assert platform.balance(to) == 7 * COIN
    assert len(set(proxy.sent)) == 1


def test_history_says_what_is_unfinished_and_send_of_something_else_finishes_it(
    platform: Platform, behind_proxy: Home, proxy: Proxy
) -> None:
    first, second = platform.member().address, platform.member().address
    kill_at(proxy.before, "eth_sendRawTransaction")(behind_proxy, ["send", first, "1", NEW])

    history = behind_proxy.run("history", "--json")
    assert history.code == 0, history.err
    (unfinished,) = history.json["unfinished"]
    assert unfinished["intent"]["to"] == first
    assert "may still land" in history.err

    done = behind_proxy.confirmed("send", second, "2", NEW, "--json")
    assert (done.code, done.json["resumed"]) == (0, False), done.err
    assert (platform.balance(first), platform.balance(second)) == (1 * COIN, 2 * COIN)
    assert behind_proxy.run("history", "--json").json["unfinished"] == []


def test_history_settles_what_landed_meanwhile(
    platform: Platform, behind_proxy: Home, proxy: Proxy
) -> None:
    to = platform.member().address
    kill_at(proxy.after, "eth_sendRawTransaction")(behind_proxy, ["send", to, "1", NEW])
    history = behind_proxy.run("history", "--json").json
    assert history["unfinished"] == []
    assert [entry["counterparty"] for entry in history["movements"]][:1] == [to]


def test_a_lost_answer_to_the_broadcast_is_not_a_failure(
    platform: Platform, behind_proxy: Home, proxy: Proxy
) -> None:
    to = platform.member().address
    proxy.after["eth_sendRawTransaction"] = lose
    done = behind_proxy.confirmed("send", to, "1", NEW, "--json")
    assert (done.code, done.json["status"]) == (0, "confirmed"), done.err
    assert len(set(proxy.sent)) == 1


def test_a_broadcast_that_never_arrives_is_repeated_with_the_same_bytes(
    platform: Platform, behind_proxy: Home, proxy: Proxy
) -> None:
    to = platform.member().address

    def lose_three() -> None:
        if len(proxy.sent) <= 3:
            lose()

    proxy.before["eth_sendRawTransaction"] = lose_three
    done = behind_proxy.confirmed("send", to, "1", NEW, "--json")
    assert (done.code, done.json["status"]) == (0, "confirmed"), done.err
    assert len(proxy.sent) > 3
    assert len(set(proxy.sent)) == 1
    assert platform.balance(to) == 1 * COIN


def test_a_nonce_used_elsewhere_is_said_and_the_payment_is_planned_anew(
    platform: Platform, behind_proxy: Home, proxy: Proxy
) -> None:
    to = platform.member().address
    send = ["send", to, "7", NEW]
    kill_at(proxy.before, "eth_sendRawTransaction")(behind_proxy, send)
    # The same key, on another machine, sends something else with the nonce.
    platform.web3.provider.make_request("anvil_impersonateAccount", [behind_proxy.account.address])
    platform.send(platform.coin.functions.transfer(to, 1), behind_proxy.account.address)

    done = behind_proxy.confirmed(*send, "--json")
    assert (done.code, done.json["resumed"]) == (0, False), done.err
    assert "another transaction used nonce 0" in done.err
    assert platform.balance(to) == 7 * COIN + 1


def test_a_killed_purchase_payment_is_finished_and_not_repeated(
    platform: Platform, behind_proxy: Home, proxy: Proxy, bridge: Bridge
) -> None:
    behind_proxy.add_network(bridge.manifest, rpc_url=proxy.url)
    terms = platform.terms(behind_proxy.account.address, platform.member(kinds=2).address)
    request = platform.request(terms)
    bridge.requests["pur_0192test"] = request
    for hooks in (proxy.before, proxy.after):
        kill_at(hooks, "eth_sendRawTransaction")(behind_proxy, ["pay", "pur_0192test"])
    done = behind_proxy.confirmed("pay", "pur_0192test", "--json")
    assert (done.code, done.json["resumed"]) == (0, True), done.err
    assert platform.order(request["order_hash"])[0] == 12_500_000
    assert platform.balance(behind_proxy.account.address) == 87_500_000
    assert len(set(proxy.sent)) == 1


def test_a_killed_payment_of_a_request_is_finished_and_not_repeated(
    platform: Platform, behind_proxy: Home, proxy: Proxy, bridge: Bridge
) -> None:
    behind_proxy.add_network(bridge.manifest, rpc_url=proxy.url)
    request = platform.payment_request(platform.member().address)
    bridge.requests[request["id"]] = request
    pay = ["pay", request["id"], NEW]
    for hooks in (proxy.before, proxy.after):
        kill_at(hooks, "eth_sendRawTransaction")(behind_proxy, pay)
    done = behind_proxy.confirmed(*pay, "--json")
    assert (done.code, done.json["resumed"]) == (0, True), done.err
    assert platform.balance(request["payee"]) == 12_500_000
    assert platform.balance(behind_proxy.account.address) == 87_500_000
    assert len(set(proxy.sent)) == 1


def test_a_request_is_paid_once_though_the_journal_is_lost(
    platform: Platform, behind_proxy: Home, proxy: Proxy, bridge: Bridge
) -> None:
    behind_proxy.add_network(bridge.manifest, rpc_url=proxy.url)
    request = platform.payment_request(platform.member().address)
    bridge.requests[request["id"]] = request
    pay = ["pay", request["id"], NEW]
    kill_at(proxy.after, "eth_sendRawTransaction")(behind_proxy, pay)
    shutil.rmtree(behind_proxy.path / "journal")
    done = behind_proxy.confirmed(*pay, "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "refused")
    assert platform.balance(request["payee"]) == 12_500_000


def test_sends_at_the_same_time_take_different_nonces(platform: Platform, home: Home) -> None:
    recipients = [platform.member().address for _ in range(3)]
    processes = [
        home.start("send", to, "1", NEW, "--idempotency-key", to, "--json") for to in recipients
    ]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert [code for _, code in ended] == [0, 0, 0], ended
    assert [platform.balance(to) for to in recipients] == [COIN] * 3
