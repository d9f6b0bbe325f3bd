"""wallet tx: in steps, offline and on, and races for a nonce."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.wallet.chain import COIN, SELLER, Bridge, Platform, Proxy, free_port, lose
from tests.wallet.conftest import PASSWORD, Home
from tests.wallet.test_crash import kill_at
from tests.wallet.test_imports import HEAVY, loaded_by
from tests.wallet.test_terminal import terminal

NEW = "--allow-new-recipient"

# The command, in a process that dies of its first socket.
OFFLINE = """
import sys

def forbid(event, arguments):
    if event.startswith("socket."):
        raise SystemExit(f"a socket was opened: {event} {arguments}")

sys.addaudithook(forbid)
from wallet.cli import main
sys.exit(main(sys.argv[1:]))
"""


def offline(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    flags = ("--yes", "--password-file", str(home.password_file), "--home", str(home.path))
    return subprocess.run(
        [sys.executable, "-c", OFFLINE, *arguments, *flags],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def built(home: Home, folder: Path, to: str, amount: str = "1", *flags: str) -> Path:
    file = folder / f"unsigned-{len(list(folder.iterdir()))}.json"
    done = home.run("tx", "build", "send", to, amount, "--out", str(file), *flags, "--json")
    assert done.code == 0, done.err
    return file


def signed(home: Home, unsigned: Path, *flags: str) -> Path:
    file = unsigned.with_name(f"signed-{unsigned.name}")
    done = home.confirmed("tx", "sign", str(unsigned), NEW, "--out", str(file), *flags, "--json")
    assert done.code == 0, done.err
    return file


def journal_states(home: Home) -> list[tuple[int, str, str]]:
    with home.wallet() as wallet:
        entries = [
            entry for nonce in range(10) for entry in wallet._journal_open().candidates(nonce)
        ]
    return [(entry.nonce, entry.intent["kind"], entry.state) for entry in entries]


@contextmanager
def mining_stopped(platform: Platform) -> Iterator[None]:
    platform.web3.provider.make_request("evm_setAutomine", [False])
    try:
        yield
    finally:
        platform.web3.provider.make_request("evm_setAutomine", [True])


def mine(platform: Platform) -> None:
    platform.web3.provider.make_request("evm_mine", [])


# ------------------------------------------------------------------------------- in steps


def test_a_payment_in_steps(platform: Platform, home: Home, tmp_path: Path) -> None:
    to = platform.member().address
    unsigned = tmp_path / "unsigned.json"
    flags = ("--memo", "rent", "--out", str(unsigned), "--json")
    done = home.run("tx", "build", "send", to, "12.50", *flags)
    assert done.code == 0, done.err
    assert stat.S_IMODE(unsigned.stat().st_mode) == 0o600
    content = json.loads(unsigned.read_text())
    assert content["chain_id"] == 4242
    assert content["intent"]["amount"] == "12500000"
    function, arguments = platform.coin.decode_function_input(content["data"])
    assert (function.fn_name, arguments["to"]) == ("transferWithMemo", to)

    simulated = home.run("tx", "simulate", str(unsigned), "--json")
    assert (simulated.code, simulated.json["simulation"]) == (0, "OK"), simulated.err

    raw = tmp_path / "signed.json"
    done = home.confirmed("tx", "sign", str(unsigned), NEW, "--out", str(raw), "--json")
    assert done.code == 0, done.err
    assert f"To       {to}" in done.err
    assert "Amount   12.50 PLZ    Memo  rent (public)" in done.err
    assert stat.S_IMODE(raw.stat().st_mode) == 0o600
    assert platform.balance(to) == 0
    assert json.loads(raw.read_text())["hash"] == done.json["hash"]

    sent = home.run("tx", "broadcast", str(raw), "--yes", "--json")
    assert (sent.code, sent.json["status"]) == (0, "confirmed"), sent.err
    assert sent.json["hash"] == done.json["hash"]
    assert platform.balance(to) == 12_500_000

    again = home.run("tx", "broadcast", str(raw), "--yes", "--json")
    assert (again.code, again.json["hash"]) == (0, sent.json["hash"])
    assert platform.balance(to) == 12_500_000


def test_signing_opens_no_socket(platform: Platform, home: Home, tmp_path: Path) -> None:
    unsigned = built(home, tmp_path, platform.member().address)
    done = offline(home, "tx", "sign", str(unsigned), NEW, "--out", str(tmp_path / "signed"))
    assert done.returncode == 0, done.stderr
    # The same watch does see a command that asks the chain.
    done = offline(home, "tx", "replace", json.loads((tmp_path / "signed").read_text())["hash"])
    assert "a socket was opened" in done.stderr


def test_what_is_signed_is_in_the_journal_before_the_file_is_there(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    unsigned = built(home, tmp_path, platform.member().address)
    missing = tmp_path / "no-such-folder" / "signed.json"
    done = home.confirmed("tx", "sign", str(unsigned), NEW, "--out", str(missing), "--json")
    assert done.code == 1
    assert journal_states(home) == [(0, "transfer", "held")]
    # The same bytes are given out again, without another signature.
    raw = json.loads(signed(home, unsigned).read_text())["raw"]
    with home.wallet() as wallet:
        (entry,) = wallet._journal_open().held()
    assert "0x" + entry.raw.hex() == raw


def test_a_nonce_is_signed_for_once(platform: Platform, home: Home, tmp_path: Path) -> None:
    first = built(home, tmp_path, platform.member().address)
    second = built(home, tmp_path, platform.member().address, "2")
    assert json.loads(first.read_text())["nonce"] == json.loads(second.read_text())["nonce"] == 0
    signed(home, first)
    done = home.confirmed("tx", "sign", str(second), NEW, "--out", str(tmp_path / "b"), "--json")
    assert done.code == 1
    assert "nonce 0 is signed for already" in done.err
    assert not (tmp_path / "b").exists()
    assert json.loads(built(home, tmp_path, platform.member().address).read_text())["nonce"] == 1


def test_what_is_held_is_not_sent_by_another_command_and_stands_in_its_way(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    to = platform.member().address
    file = signed(home, built(home, tmp_path, to))
    other = platform.member().address
    done = home.confirmed("send", other, "1", NEW, "--json")
    assert done.code == 1
    assert "nonce 0 is taken by 0x" in done.err
    assert (platform.balance(to), platform.balance(other)) == (0, 0)
    assert home.run("tx", "broadcast", str(file), "--yes").code == 0
    assert home.confirmed("send", other, "1", NEW).code == 0
    assert (platform.balance(to), platform.balance(other)) == (COIN, COIN)


def test_held_transactions_are_sent_in_the_order_of_their_nonces(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    to = platform.member().address
    first = signed(home, built(home, tmp_path, to))
    second = signed(home, built(home, tmp_path, to, "2"))
    early = home.run("tx", "broadcast", str(second), "--yes", "--json")
    assert early.code == 1
    assert "nonce 0 is taken by" in early.err
    hash_ = json.loads(first.read_text())["hash"]
    assert home.run("tx", "broadcast", hash_, "--yes").code == 0
    assert home.run("tx", "broadcast", str(second), "--yes").code == 0
    assert platform.balance(to) == 3 * COIN


class NeedsNoPassword(Home):
    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments, "--yes"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def test_killed_while_broadcasting_the_same_bytes_are_sent(
    platform: Platform, make_home: Callable[..., Home], proxy: Proxy, tmp_path: Path
) -> None:
    home = make_home(rpc_url=proxy.url)
    to = platform.member().address
    files = tmp_path / "files"
    files.mkdir()
    file = signed(home, built(home, files, to))
    unlocked = NeedsNoPassword(home.path, home.account, home.password_file)
    kill_at(proxy.before, "eth_sendRawTransaction")(unlocked, ["tx", "broadcast", str(file)])
    assert journal_states(home) == [(0, "transfer", "signed")]
    kill_at(proxy.after, "eth_sendRawTransaction")(unlocked, ["tx", "broadcast", str(file)])
    done = home.run("tx", "broadcast", str(file), "--yes", "--json")
    assert done.code == 0, done.err
    assert len(set(proxy.sent)) == 1
    assert platform.balance(to) == COIN


def test_another_keys_transaction_is_shown_and_sent_without_a_password(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    other = platform.member(5 * COIN)
    data = platform.coin.encode_abi("transfer", [home.account.address, 3 * COIN])
    raw = other.sign_transaction(
        {
            "type": 2,
            "chainId": 4242,
            "nonce": 0,
            "to": platform.coin.address,
            "value": 0,
            "data": data,
            "gas": 100_000,
            "maxFeePerGas": 0,
            "maxPriorityFeePerGas": 0,
        }
    ).raw_transaction
    file = tmp_path / "raw.txt"
    file.write_text(raw.to_0x_hex() + "\n")
    done = home.run("tx", "broadcast", str(file), "--yes", "--json")
    assert done.code == 0, done.err
    assert f"From     {other.address}" in done.err
    assert f"To       main     {home.account.address}" in done.err
    assert platform.balance(home.account.address) == 103 * COIN
    waited = home.run("tx", "wait", done.json["hash"], "--json")
    assert (waited.code, waited.json["status"]) == (0, "confirmed"), waited.err


def test_showing_and_following_load_no_signer(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    sent = home.confirmed("send", platform.member().address, "1", NEW, "--json").json["hash"]
    for verb in ("show", "wait"):
        loaded = loaded_by("tx", verb, sent, "--home", str(home.path))
        assert not loaded & (HEAVY | {"node"}), verb


# ----------------------------------------------------------------------- what is refused


def change(file: Path, **changes: Any) -> Path:
    content = {**json.loads(file.read_text()), **changes}
    changed = file.with_name(f"changed-{len(list(file.parent.iterdir()))}")
    changed.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return changed


def test_a_file_that_does_not_say_what_its_bytes_do_is_refused(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    to, other = platform.member().address, platform.member().address
    file = built(home, tmp_path, to)
    content = json.loads(file.read_text())
    lies: list[tuple[dict[str, Any], str]] = [
        ({"intent": {**content["intent"], "to": other}}, "but its bytes are"),
        ({"chain_id": 1}, "is for chain 1"),
        ({"version": 2}, "version 2"),
        ({"gas": None}, "exactly the fields"),
        ({"fee": 1}, "exactly the fields"),
        ({"from": other}, "'s to sign, this key is"),
        ({"nonce": "0x0"}, "not an unsigned number"),
        ({"data": content["data"] + "00"}, "but its bytes are"),
    ]
    for changes, words in lies:
        for command in (["sign", NEW, "--out", str(tmp_path / "never")], ["show"]):
            arguments = ("tx", command[0], str(change(file, **changes)), *command[1:], "--json")
            done = home.confirmed(*arguments) if command[0] == "sign" else home.run(*arguments)
            if words not in done.err:
                assert command == ["show"]
                assert changes == {"from": other}, (changes, done.err)
                continue
            assert done.code == 1, (changes, done.err)
    assert not (tmp_path / "never").exists()
    assert journal_states(home) == []


def test_a_call_nobody_can_read_needs_a_flag_at_every_step(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    spender = platform.member().address
    data = platform.coin.encode_abi("approve", [spender, 5])
    arguments = ("tx", "build", "call", "--to", platform.coin.address, "--data", data)
    file = tmp_path / "call.json"
    refused = home.run(*arguments, "--out", str(file), "--json")
    assert refused.code == 1
    assert "cannot say what 0x095ea7b3" in refused.err
    assert not file.exists()
    assert home.run(*arguments, "--out", str(file), "--allow-undecoded", "--json").code == 0

    sign = ("tx", "sign", str(file), "--out", str(tmp_path / "signed.json"), "--json")
    assert home.confirmed(*sign).code == 1
    done = home.confirmed(*sign, "--allow-undecoded")
    assert done.code == 0, done.err
    assert f"Data     {data}" in done.err
    assert "Warning  this wallet cannot say what it does" in done.err
    broadcast = ("tx", "broadcast", str(tmp_path / "signed.json"), "--yes", "--json")
    assert home.run(*broadcast).code == 1
    assert home.run(*broadcast, "--allow-undecoded").code == 0
    assert platform.coin.functions.allowance(home.account.address, spender).call() == 5


def test_a_call_the_wallet_knows_is_decoded_only_at_its_contract_and_byte_by_byte(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    to = platform.member().address
    data = platform.coin.encode_abi("transfer", [to, 7])
    build = ("tx", "build", "call", "--json", "--out")
    done = home.run(*build, str(tmp_path / "a"), "--to", platform.coin.address, "--data", data)
    assert done.json["intent"] == {"kind": "transfer", "to": to, "amount": "7"}
    for target, call in ((platform.escrow.address, data), (platform.coin.address, data + "00")):
        done = home.run(*build, str(tmp_path / "b"), "--to", target, "--data", call)
        assert done.code == 1
        assert "cannot say" in done.err


def test_a_simulation_says_why_it_would_fail(rewound: Platform, home: Home, tmp_path: Path) -> None:
    to = rewound.member().address
    file = built(home, tmp_path, to)
    late = home.run("tx", "simulate", str(change(file, nonce=5)), "--json")
    assert (late.code, late.json["simulation"]) == (1, "OK")
    assert "nonce 5 has to wait" in late.json["problems"][0]
    assert "gas limit is 21000" in home.run("tx", "simulate", str(change(file, gas=21_000))).out
    rewound.send(rewound.coin.functions.freeze(to, b"\0" * 32))
    done = home.run("tx", "simulate", str(file), "--json")
    assert (done.code, done.json["simulation"]) == (6, "reverted")
    assert "is frozen" in done.json["reason"]


def test_unusual_and_new_recipients_are_asked_about_when_signing(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    out = ("--out", str(tmp_path / "signed"), "--json")
    new = home.confirmed("tx", "sign", str(built(home, tmp_path, platform.member().address)), *out)
    assert new.code == 5
    assert NEW in new.err
    oneself = built(home, tmp_path, "main", "1", "--allow-unusual-recipient")
    assert home.confirmed("tx", "sign", str(oneself), *out).code == 1
    assert home.confirmed("tx", "sign", str(oneself), *out, "--allow-unusual-recipient").code == 0


def test_nobody_there_to_confirm(platform: Platform, home: Home, tmp_path: Path) -> None:
    unsigned = built(home, tmp_path, platform.member().address)
    out = ("--out", str(tmp_path / "out"))
    assert home.run("tx", "sign", str(unsigned), *out).code == 5
    assert home.run("tx", "sign", str(unsigned), *out, "--yes").code == 4
    file = signed(home, unsigned)
    done = home.run("tx", "broadcast", str(file), "--json")
    assert (done.code, done.json["error"]["code"]) == (5, "confirmation_required")
    for verb in ("replace", "cancel"):
        assert home.run("tx", verb, json.loads(file.read_text())["hash"]).code == 5


def test_nothing_is_overwritten(platform: Platform, home: Home, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    to = platform.member().address
    done = home.run("tx", "build", "send", to, "1", "--out", str(tmp_path / "there"), "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "already_exists")
    unsigned = built(home, tmp_path, to)
    sign = ("tx", "sign", str(unsigned), NEW, "--out", str(tmp_path / "there"), "--json")
    assert home.confirmed(*sign).code == 1
    assert journal_states(home) == []
    assert (tmp_path / "there").read_text() == "mine"


def test_what_is_no_transaction(platform: Platform, home: Home, tmp_path: Path) -> None:
    for name, text in (("a", "{}"), ("b", "0x02"), ("c", "0x02c0"), ("d", "nonsense"), ("e", "[]")):
        (tmp_path / name).write_text(text)
        done = home.run("tx", "show", str(tmp_path / name), "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "invalid_input"), text
    assert home.run("tx", "show", "0x12", "--json").code == 2
    assert home.run("tx", "broadcast", "nowhere", "--yes", "--json").code == 2
    unknown = home.run("tx", "wait", "0x" + "11" * 32, "--json")
    assert (unknown.code, unknown.json["error"]["code"]) == (1, "not_found")


def test_no_endpoint_is_a_network_error(platform: Platform, home: Home, tmp_path: Path) -> None:
    file = signed(home, built(home, tmp_path, platform.member().address))
    home.add_network(platform.manifest(), rpc_url=f"http://127.0.0.1:{free_port()}")
    assert home.run("tx", "broadcast", str(file), "--yes", "--json").code == 7
    assert journal_states(home) == [(0, "transfer", "held")]
    assert home.run("tx", "show", str(file), "--json").json["signed"] is True


# ------------------------------------------------------------------------- settlements


def test_a_purchase_is_confirmed_in_steps(
    platform: Platform, home: Home, bridge: Bridge, tmp_path: Path
) -> None:
    home.add_network(bridge.manifest)
    seller = platform.member(kinds=SELLER).address
    terms = platform.terms(home.account.address, seller)
    bridge.requests["pur_0192test"] = request = platform.request(terms)
    assert home.confirmed("pay", "pur_0192test").code == 0
    file = tmp_path / "confirm.json"
    done = home.run("tx", "build", "confirm", request["order_hash"], "--out", str(file), "--json")
    assert done.code == 0, done.err
    done = home.confirmed("tx", "sign", str(file), "--out", str(tmp_path / "signed"), "--json")
    assert done.code == 0, done.err
    assert f"Order    {request['order_hash']}" in done.err
    assert home.run("tx", "broadcast", str(tmp_path / "signed"), "--yes").code == 0
    assert platform.balance(seller) == 12_187_500


# -------------------------------------------------------------------------------- races


def start_and_leave(home: Home, to: str, amount: str = "1") -> str:
    done = home.confirmed("send", to, amount, NEW, "--timeout", "0.2", "--json")
    assert done.code == 8, done.err
    return str(done.json["hash"])


def drop(platform: Platform, transaction_hash: str) -> None:
    platform.web3.provider.make_request("anvil_dropTransaction", [transaction_hash])


def test_a_lost_transaction_is_cancelled(rewound: Platform, home: Home) -> None:
    to = rewound.member().address
    with mining_stopped(rewound):
        lost = start_and_leave(home, to)
        drop(rewound, lost)
        done = home.confirmed("tx", "cancel", lost, "--timeout", "0.2", "--json")
        assert done.code == 8, done.err
        assert "Whichever of the two a block takes first counts" in done.err
        assert "nothing but use up its nonce" in done.err
        mine(rewound)
    done = home.run("tx", "wait", done.json["hash"], "--json")
    assert (done.code, done.json["status"]) == (0, "confirmed"), done.err
    assert rewound.balance(to) == 0
    assert journal_states(home) == [
        (0, "transfer", "superseded"),
        (0, "cancellation", "confirmed"),
    ]
    shown = home.run("tx", "show", lost, "--json").json
    assert (shown["journal"], shown["rivals"][0]["journal"]) == ("superseded", "confirmed")


def test_a_cancellation_that_comes_too_late_is_said(rewound: Platform, home: Home) -> None:
    to = rewound.member().address
    with mining_stopped(rewound):
        first = start_and_leave(home, to)
        # The pool has the first one, and keeps it.
        done = home.confirmed("tx", "cancel", first, "--timeout", "0.2", "--json")
        assert done.code == 8, done.err
        assert "underpriced" in done.json["problem"]
        assert [state for _, _, state in journal_states(home)] == ["signed", "signed"]
        mine(rewound)
    late = home.run("tx", "wait", done.json["hash"], "--json")
    assert late.code == 1
    assert first in late.err
    assert [state for _, _, state in journal_states(home)] == ["confirmed", "superseded"]
    assert rewound.balance(to) == COIN
    ended = home.confirmed("tx", "cancel", first, "--json")
    assert ended.code == 1
    assert "has ended: it is confirmed" in ended.err


def test_a_replacement_pays_once_and_stands_for_the_same_key(rewound: Platform, home: Home) -> None:
    to = rewound.member().address
    send = ("send", to, "1", NEW, "--idempotency-key", "rent", "--timeout", "0.2", "--json")
    with mining_stopped(rewound):
        first = home.confirmed(*send)
        assert first.code == 8
        lost = first.json["hash"]
        drop(rewound, lost)
        gas = home.run("tx", "show", lost, "--json").json["transaction"]["gas"]
        few = home.confirmed("tx", "replace", lost, "--gas", str(gas), "--json")
        assert few.code == 1
        assert "is not more" in few.err

        done = home.confirmed("tx", "replace", lost, "--timeout", "0.2", "--json")
        assert (done.code, done.json["status"]) == (8, "pending"), done.err
        mine(rewound)
    again = home.confirmed(*send)
    assert (again.code, again.json["hash"]) == (0, done.json["hash"]), again.err
    assert rewound.balance(to) == COIN
    assert [state for _, _, state in journal_states(home)] == ["superseded", "confirmed"]


def test_what_is_replaced_is_not_sent_again(
    platform: Platform, make_home: Callable[..., Home], proxy: Proxy
) -> None:
    home = make_home(rpc_url=proxy.url)
    to = platform.member().address
    kill_at(proxy.before, "eth_sendRawTransaction")(home, ["send", to, "1", NEW])
    with home.wallet() as wallet:
        (lost,) = wallet.unfinished()
    before = len(proxy.sent)
    proxy.before["eth_sendRawTransaction"] = lose  # the cancellation does not arrive yet
    done = home.confirmed("tx", "cancel", lost.hash, "--timeout", "0.3", "--json")
    assert done.code == 8, done.err
    proxy.before.clear()
    assert home.confirmed("send", platform.member().address, "2", NEW).code == 0
    assert proxy.sent[0] not in proxy.sent[before:]
    assert platform.balance(to) == 0
    assert [state for _, _, state in journal_states(home)][:2] == ["superseded", "confirmed"]


def test_a_held_transaction_is_given_up(platform: Platform, home: Home, tmp_path: Path) -> None:
    to = platform.member().address
    file = signed(home, built(home, tmp_path, to))
    hash_ = json.loads(file.read_text())["hash"]
    assert home.confirmed("tx", "cancel", hash_).code == 0
    refused = home.run("tx", "broadcast", str(file), "--yes", "--json")
    assert refused.code == 1
    assert "can never land" in refused.err
    assert home.confirmed("send", to, "1", NEW).code == 0
    assert platform.balance(to) == COIN


# ---------------------------------------------------------------------------- a terminal


def test_a_new_recipient_is_typed_when_signing(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    to = platform.member().address
    unsigned, out = built(home, tmp_path, to), tmp_path / "signed.json"
    with terminal(*home.command("tx", "sign", str(unsigned), "--out", str(out))) as screen:
        screen.expect(re.escape(f"To       {to}"))
        screen.expect("last 4 characters")
        screen.type(to[-4:])
        screen.expect(r"Sign\? \[y/N\]")
        screen.type("y")
        screen.expect("Password for main")
        screen.type(PASSWORD)
        screen.expect(r"Signed 0x[0-9a-f]{64}")
        assert screen.exit_code() == 0
    with terminal(*home.command("tx", "broadcast", str(out))) as screen:
        screen.expect(re.escape(f"To       {to}"))
        screen.expect(r"Broadcast\? \[y/N\]")
        screen.type("n")
        assert screen.exit_code() == 3
    assert platform.balance(to) == 0
    with terminal(*home.command("tx", "broadcast", str(out))) as screen:
        screen.expect(r"Broadcast\? \[y/N\]")
        screen.type("y")
        screen.expect("Confirmed in block")
        assert screen.exit_code() == 0
    assert platform.balance(to) == COIN


def test_a_cancellation_is_confirmed(platform: Platform, home: Home, tmp_path: Path) -> None:
    file = signed(home, built(home, tmp_path, platform.member().address))
    hash_ = json.loads(file.read_text())["hash"]
    with terminal(*home.command("tx", "cancel", hash_)) as screen:
        screen.expect("In place of transfer of 1.00")
        screen.expect(r"Cancel it\? \[y/N\]")
        screen.type("n")
        assert screen.exit_code() == 3
    assert journal_states(home) == [(0, "transfer", "held")]
