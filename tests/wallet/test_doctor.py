"""wallet doctor: each thing that can be wrong, made wrong for real, found, and left as it is."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from tests.wallet.chain import COIN, Bridge, Platform, Proxy, free_port, lose
from tests.wallet.conftest import PASSWORD, Home
from tests.wallet.test_network import MANIFEST
from wallet import Keystore, Networks
from wallet.contacts import Contact, Contacts
from wallet.disputes import Statement, keep_statement
from wallet.doctor import (
    check_config,
    check_contacts,
    check_journal,
    check_keys,
    check_leftovers,
    check_packages,
    check_permissions,
    check_statements,
    diagnose,
    find_gaps,
)
from wallet.inspection import journal_path
from wallet.network_check import Finding

NEW = "--allow-new-recipient"


def bad(findings: Any) -> list[tuple[str, str, str | None]]:
    """Status, message and advice of all that is not well; there is always an advice."""
    found = [f for f in findings if f.status != "ok"]
    assert all(f.advice for f in found)
    return [(f.status, f.message, f.advice) for f in found]


def snapshot(folder: Path) -> dict[Path, tuple[Any, ...]]:
    """Everything in a folder that writing could change."""
    return {
        path: (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in (folder, *folder.rglob("*"))
    }


def doctor(home: Home, code: int, *arguments: str) -> list[dict[str, Any]]:
    """Run the command; its findings, after seeing that it changed nothing."""
    before = snapshot(home.path)
    done = home.run("doctor", "--json", *arguments)
    assert done.code == code, done.out + done.err
    assert (done.err, done.json["ok"]) == ("", code == 0)
    assert snapshot(home.path) == before
    findings: list[dict[str, Any]] = done.json["findings"]
    return findings


def messages(findings: list[dict[str, Any]], check: str, status: str) -> list[str]:
    return [f["message"] for f in findings if (f["check"], f["status"]) == (check, status)]


@pytest.fixture
def right(home: Home, bridge: Bridge, platform: Platform) -> Home:
    """A home with nothing wrong but that its key's backup was never tried."""
    home.add_network(bridge.manifest)
    platform.catch_up()
    home.path.chmod(0o700)
    return home


# ----------------------------------------------------------------------------- the whole


def test_a_wallet_in_order(right: Home) -> None:
    assert (
        right.confirmed("send", right.account.address, "1", "--allow-unusual-recipient").code == 0
    )
    copy = right.path.parent / "copy.json"
    new_password = ("--new-password-file", str(right.password_file))
    assert right.confirmed("key", "export", "main", str(copy), *new_password).code == 0
    assert right.confirmed("key", "verify-backup", "main", "--keystore", str(copy)).code == 0
    findings = doctor(right, 0)
    assert {f["status"] for f in findings} == {"ok"}
    assert {f["check"] for f in findings} >= {
        *("folder", "leftovers", "config", "keys", "backup", "statements", "endpoint", "clock"),
        *("manifest", "network", "journal", "member", "packages"),
    }
    assert "everything in it has ended" in messages(findings, "journal", "ok")
    done = right.run("doctor")
    assert done.code == 0
    assert done.out.endswith("no problems, no warnings\n")
    assert {line.split()[0] for line in done.out.splitlines()[:-1]} == {"OK"}


def test_a_warning_is_no_failure(right: Home) -> None:
    done = right.run("doctor")
    assert done.code == 0
    assert (
        "Warning  backup         main: never seen to open, so this may be the only copy\n"
        "                        → wallet key verify-backup main\n"
    ) in done.out
    assert done.out.endswith("no problems, 1 warning\n")


def test_no_wallet_at_all(tmp_path: Path) -> None:
    home = Home(tmp_path / "none", Account.create(), tmp_path / "password")
    done = home.run("doctor", "--json")
    assert (done.code, done.json["findings"][0]["advice"]) == (0, "wallet key new main")
    assert not home.path.exists()


def test_an_empty_folder(tmp_path: Path) -> None:
    found = list(diagnose(tmp_path, time.time()))
    tmp_path.chmod(0o700)
    assert {f.message for f in found if f.status == "warning"} >= {"no key yet", "no network yet"}
    assert not [f for f in found if f.status == "problem"]
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_breaks_down_does_not_hide_the_others(right: Home) -> None:
    (right.path / "key").write_bytes(b"\xff\xfe")
    findings = doctor(right, 1)
    assert any("cannot be read" in message for message in messages(findings, "keys", "problem"))
    assert messages(findings, "member", "ok")


# --------------------------------------------------------------------------------- files


def test_files_that_others_may_read_or_change(keystore: Keystore, tmp_path: Path) -> None:
    home = tmp_path / "home"
    key = keystore.create("main", b"\x01" * 32, PASSWORD).path
    Networks(home).add("plaza", MANIFEST)
    profile = home / "networks" / "plaza.json"
    assert bad(check_permissions(home)) == []
    key.chmod(0o640)
    profile.chmod(0o666)
    key.parent.chmod(0o755)
    assert bad(check_permissions(home)) == [
        ("warning", f"others may read {key.parent}", f"chmod 700 {key.parent}"),
        ("problem", f"others may read {key}, so it is not used", f"chmod 600 {key}"),
        ("problem", f"others may change {profile}", f"chmod 600 {profile}"),
    ]
    for _, _, command in bad(check_permissions(home)):
        subprocess.run(str(command), shell=True, check=True)
    assert bad(check_permissions(home)) == [], "the advice is the remedy"


def test_a_new_wallet_has_a_folder_of_its_own(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        Networks(tmp_path / "deep" / "home").add("plaza", MANIFEST)
    finally:
        os.umask(old)
    assert bad(check_permissions(tmp_path / "deep" / "home")) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_file_of_somebody_else(keystore: Keystore, tmp_path: Path) -> None:
    key = keystore.create("main", b"\x01" * 32, PASSWORD).path
    os.chown(key, 12_345, -1)
    ((status, message, _),) = bad(check_permissions(tmp_path / "home"))
    assert (status, message) == ("problem", f"{key} belongs to another user")


def test_what_interrupted_commands_left(keystore: Keystore, tmp_path: Path) -> None:
    home = tmp_path / "home"
    keystore.create("main", b"\x01" * 32, PASSWORD)
    left = home / "keys" / ".0123456789abcdef.new"
    left.write_text("half a key")
    now = left.stat().st_mtime
    assert bad(check_leftovers(home, now + 5)) == [], "a command may be writing it"
    assert bad(check_leftovers(home, now + 61)) == [
        ("warning", f"{left} was left by a command that was interrupted", f"rm {left}")
    ]


def test_a_broken_settings_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("yes = true\n")
    ((status, message, _),) = bad(check_config(tmp_path))
    assert status == "problem"
    assert "line 1, column 1: 'yes' cannot be set" in message


def test_a_statement_that_is_no_longer_what_was_hashed(tmp_path: Path) -> None:
    said = Statement("complaint", b"\x07" * 32, "0x" + "11" * 20, "The cup came broken.")
    path = keep_statement(tmp_path, said)
    assert bad(check_statements(tmp_path)) == []
    path.write_text(said.canonical().replace("cup", "pot"))
    ((status, message, _),) = bad(check_statements(tmp_path))
    assert (status, message.startswith(f"{path} is not what")) == ("problem", True)


# ---------------------------------------------------------------------------------- keys


def change_key(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    crypto = changes.pop("crypto", {})
    path.write_text(json.dumps({**content, **changes, "crypto": content["crypto"] | crypto}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "not a keystore v3 file"),
        ({"address": "12"}, "names no address"),
        ({"address": "7E5F4552091A69125d5DfCb7b8C2659029395BDF"}, "names no address"),
        ({"crypto": {"ciphertext": "00"}}, "is damaged: its ciphertext"),
        ({"crypto": {"ciphertext": None}}, "is damaged: its ciphertext"),
        ({"crypto": {"mac": "xy" * 32}}, "is damaged: its mac"),
        ({"crypto": {"cipherparams": "x"}}, "is damaged: its iv"),
        ({"crypto": {"kdfparams": {}}}, "dklen is None"),
    ],
)
def test_a_key_file_that_no_password_opens(
    keystore: Keystore, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    key = keystore.create("main", b"\x01" * 32, PASSWORD)
    if change.get("address", "").startswith("7E"):
        swapped = key.address[2:].swapcase()  # every letter of the wrong case
        change, message = {"address": swapped}, "bad checksum"
    change_key(key.path, **change)
    problems = [f for f in check_keys(tmp_path / "home") if f.status == "problem"]
    assert [message in f.message and f.message.startswith("main: ") for f in problems] == [True]
    assert problems[0].advice


def test_a_key_file_that_is_none(keystore: Keystore, tmp_path: Path) -> None:
    keystore.create("main", b"\x01" * 32, PASSWORD).path.write_text('{"version": 3,')
    ((status, message, _),) = bad(check_keys(tmp_path / "home"))
    assert (status, "cannot be read as JSON" in message) == ("problem", True)


def test_notes_of_origin_that_do_not_fit(keystore: Keystore, tmp_path: Path) -> None:
    home = tmp_path / "home"
    key = keystore.create("main", b"\x01" * 32, PASSWORD)
    keystore.note_backup(key, b"\x01" * 32, 1_795_000_000)
    assert bad(check_keys(home)) == []
    note = key.path.with_suffix(".origin")
    content = json.loads(note.read_text())
    note.write_text(json.dumps({**content, "address": "0x" + "22" * 20}))
    assert bad(check_keys(home)) == [
        ("warning", f"main: {note} is of another key", "wallet key verify-backup main")
    ]
    note.write_text(json.dumps({**content, "backup_verified_at": "yes"}))
    ((status, message, advice),) = bad(check_keys(home))
    assert (status, advice) == ("problem", f"rm {note}")
    assert "backup_verified_at is 'yes'" in message
    note.write_text(json.dumps(content))
    other = note.with_name("gone.origin")
    other.write_text("{}")
    assert bad(check_keys(home)) == [
        ("warning", f"{other} is about a key that is not here", f"rm {other}")
    ]


def test_the_same_key_twice_and_a_default_that_is_gone(keystore: Keystore, tmp_path: Path) -> None:
    for name in ("main", "copy"):
        keystore.create(name, b"\x01" * 32, PASSWORD)
    found = bad(check_keys(tmp_path / "home"))
    assert ("warning", "main: is the same key as copy", "wallet key rm main") in found
    keystore.use_none()
    assert ("warning", "no default key", "wallet key use copy") in bad(
        check_keys(tmp_path / "home")
    )
    (tmp_path / "home" / "key").write_text("lost\n")
    assert ("problem", "the default key 'lost' is not here", "wallet key use NAME") in bad(
        check_keys(tmp_path / "home")
    )


# ------------------------------------------------------------------------------- networks


def test_a_network_that_does_not_answer(right: Home, bridge: Bridge) -> None:
    Networks(right.path).add("far", bridge.manifest, f"http://127.0.0.1:{free_port()}")
    (right.path / "networks" / "odd.json").write_text("{}")
    (right.path / "networks" / "odd.json").chmod(0o600)
    findings = doctor(right, 1)
    (endpoint,) = messages(findings, "endpoint", "problem")
    assert endpoint.startswith("far: ")
    (odd,) = messages(findings, "network", "problem")
    assert odd.startswith("odd: ")
    assert messages(findings, "member", "ok"), "the default one is looked at all the same"
    assert not messages(doctor(right, 1, "--network", "far"), "member", "ok")


def test_a_default_network_that_is_gone(right: Home) -> None:
    (right.path / "network").write_text("lost\n")
    assert messages(doctor(right, 1), "network", "problem") == [
        "the default network 'lost' is not here"
    ]


def test_a_clock_that_is_wrong(right: Home, platform: Platform) -> None:
    now = platform.web3.eth.get_block("pending")["timestamp"]
    found = {f.check: f for f in diagnose(right.path, now - 100_000)}
    assert (found["clock"].status, found["clock"].message) == (
        "problem",
        "plaza: the chain's clock is 27 hours ahead of this machine's",
    )


def test_members_strangers_frozen_and_expired(rewound: Platform, right: Home) -> None:
    stranger, frozen, ending = Account.create(), rewound.member(), Account.create()
    rewound.admit(ending.address, days=5)
    rewound.send(rewound.coin.functions.freeze(frozen.address, b"\x01" * 32))
    for name, account in (("new", stranger), ("cold", frozen), ("ending", ending)):
        right.add_key(name, account)
    findings = doctor(right, 1)
    assert messages(findings, "member", "problem") == [f"cold: {frozen.address} is frozen"]
    warned = messages(findings, "member", "warning")
    assert warned[0].startswith(f"ending: {ending.address} is a member (buyer) until 20")
    assert warned[1:] == [f"new: {stranger.address} is not a member of this network"]
    (well,) = messages(findings, "member", "ok")
    assert well.startswith(f"main: {right.account.address} is a member (buyer) until ")
    rewound.send(rewound.coin.functions.pause())
    assert "plaza: transfers of the coin are paused by the platform" in messages(
        doctor(right, 1), "member", "warning"
    )


def test_a_membership_that_is_over(rewound: Platform, right: Home) -> None:
    rewound.travel(366 * 86_400)
    assert messages(doctor(right, 1), "member", "problem") == [
        f"main: {right.account.address} is no longer a member of this network: "
        "its membership has expired"
    ]


# -------------------------------------------------------------------------------- journal


def test_what_is_unfinished_is_said_with_what_finishes_it(
    platform: Platform, make_home: Callable[..., Home], proxy: Proxy, bridge: Bridge
) -> None:
    home = make_home()
    home.add_network(bridge.manifest, proxy.url)
    proxy.before["eth_sendRawTransaction"] = lose
    to = platform.member().address
    pay = ("send", to, "1", NEW, "--json")
    hash_ = home.confirmed(*pay, "--timeout", "0").json["hash"]
    (warning,) = [f for f in doctor(home, 0) if f["check"] == "journal" and f["status"] != "ok"]
    assert warning["message"].startswith(
        f"main on plaza: unfinished, and may still land: transfer {hash_}, nonce 0, 20"
    )
    assert warning["advice"] == (
        f"run the same command again, or wallet tx wait {hash_} --key main --network plaza"
    )
    del proxy.before["eth_sendRawTransaction"]
    assert home.run(*warning["advice"].split("or wallet ")[1].split()).code == 0
    assert "everything in it has ended" in messages(doctor(home, 0), "journal", "ok")


def test_what_ended_without_being_noted(platform: Platform, right: Home) -> None:
    with right.wallet() as wallet:
        sent = wallet.submit(wallet.plan_transfer(platform.member().address, COIN))
    platform.web3.eth.wait_for_transaction_receipt(sent.hash)
    (warning,) = [f for f in doctor(right, 0) if f["check"] == "journal" and f["status"] != "ok"]
    assert warning["message"] == "main on plaza: 1 ended, and how was not noted yet"
    assert warning["advice"] == "wallet history --key main --network plaza"
    assert right.run(*warning["advice"].split()[1:]).code == 0
    assert "everything in it has ended" in messages(doctor(right, 0), "journal", "ok")


def test_what_is_held_and_the_hole_before_it(
    platform: Platform, right: Home, tmp_path: Path
) -> None:
    to, unsigned, signed = platform.member().address, tmp_path / "tx.json", tmp_path / "signed.json"
    build = ("tx", "build", "send", to, "1", "--nonce", "2", "--out", str(unsigned))
    assert right.run(*build).code == 0
    done = right.confirmed("tx", "sign", str(unsigned), "--out", str(signed), NEW, "--json")
    hash_ = done.json["hash"]
    held, gap = [f for f in doctor(right, 0) if f["check"] == "journal" and f["status"] != "ok"]
    assert held["message"].startswith(
        f"main on plaza: signed into a file and not sent: transfer {hash_}, nonce 2, 20"
    )
    assert held["advice"] == (
        f"wallet tx broadcast {hash_} --key main --network plaza, or wallet tx cancel {hash_}"
    )
    assert gap["message"] == "main on plaza: nonce 0, 1 is free, and what comes after it waits"


def test_a_sender_and_a_network_that_are_no_longer_here(platform: Platform, right: Home) -> None:
    with right.wallet() as wallet:
        wallet._sign(wallet.plan_transfer(platform.fee_receiver, 1), "a key")
        identity = wallet.network.identity
    Networks(right.path).remove("plaza", with_unfinished=True)
    Keystore(right.path).remove("main", without_backup=True)
    ((status, message, _),) = bad(check_journal(right.path, [], 1))
    assert status == "warning"
    assert message.startswith(
        f"{right.account.address} on a network that is not stored here ({identity}): unfinished"
    )


def test_a_journal_of_a_newer_wallet(right: Home, platform: Platform) -> None:
    assert right.confirmed("send", platform.fee_receiver, "1", NEW).code == 0
    with sqlite3.connect(journal_path(right.path)) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    assert messages(doctor(right, 1), "journal", "problem") == [
        f"{journal_path(right.path)} has version 99, this wallet reads 2"
    ]


@pytest.mark.parametrize("at", [0, 100, 4_096 + 5, 8_192 + 8])
def test_a_damaged_journal(right: Home, platform: Platform, at: int) -> None:
    assert right.confirmed("send", platform.fee_receiver, "1", NEW).code == 0
    path = journal_path(right.path)
    content = bytearray(path.read_bytes())
    content[at : at + 64] = b"\xaa" * 64
    path.write_bytes(content)
    assert len(messages(doctor(right, 1), "journal", "problem")) == 1


def test_a_journal_whose_writer_was_killed(right: Home, platform: Platform) -> None:
    """SQLite would repair it when it is opened for writing; the doctor does not."""
    assert right.confirmed("send", platform.fee_receiver, "1", NEW).code == 0
    path = journal_path(right.path)
    code = (
        "import os, sqlite3, sys; d = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "d.execute('PRAGMA cache_size = 1'); d.execute('BEGIN IMMEDIATE'); "
        "d.execute('CREATE TABLE big AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
        "SELECT i + 1 FROM n LIMIT 9999) SELECT randomblob(100) AS x FROM n'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    hot = path.with_name(path.name + "-journal")
    assert hot.stat().st_size, "or this tests nothing"
    hot.chmod(0o600)
    (message,) = messages(doctor(right, 1), "journal", "problem")
    assert message.endswith(
        "a command was interrupted while it wrote; the next one that uses it puts it right"
    )
    assert right.run("history").code == 0
    assert not messages(doctor(right, 0), "journal", "problem")


@pytest.mark.parametrize(
    ("count", "taken", "free"),
    [(0, [], []), (0, [0, 1], []), (0, [1], [0]), (3, [1, 5, 7], [3, 4, 6]), (3, [1, 2], [])],
)
def test_gaps_are_what_later_nonces_wait_for(count: int, taken: list[int], free: list[int]) -> None:
    assert find_gaps(count, taken) == free


# ------------------------------------------------------------------------------- packages


def test_a_package_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bad(check_packages()) == []
    monkeypatch.setitem(sys.modules, "eth_account", None)
    ((status, message, advice),) = bad(check_packages())
    assert (status, advice) == ("problem", "pip install --force-reinstall eth-account")
    assert message.startswith("eth-account cannot be loaded: ")


def test_findings_are_of_three_kinds(right: Home) -> None:
    for finding in diagnose(right.path, time.time()):
        assert isinstance(finding, Finding)
        assert finding.status in ("ok", "warning", "problem")
        assert "\n" not in finding.message


# ------------------------------------------------------------------------------- contacts


def contacts_of(home: Home) -> list[Finding]:
    return list(check_contacts(home.path))


def test_contacts_are_counted_and_an_ambiguous_name_is_a_problem(home: Home) -> None:
    assert [found.message for found in contacts_of(home)] == ["none"]
    Contacts(home.path).add(Contact("bob", "0x" + "11" * 20))
    assert [(found.status, found.message) for found in contacts_of(home)] == [("ok", "1")]
    # As a key restored by hand would: no command makes it so.
    keys = home.path / "keys"
    (keys / "bob.json").write_bytes(next(keys.glob("*.json")).read_bytes())
    (keys / "bob.json").chmod(0o600)
    (found,) = contacts_of(home)
    assert found.status == "problem"
    assert found.advice == "wallet contact rename bob NEW_NAME"


@pytest.mark.parametrize("content", ["{", '{"version": 2}', '{"version": 1, "contacts": []}'])
def test_damaged_contacts_are_a_problem_and_nothing_else_stops(home: Home, content: str) -> None:
    path = home.path / "contacts.json"
    path.write_text(content)
    path.chmod(0o600)
    found = [finding for finding in diagnose(home.path, time.time()) if finding.check == "contacts"]
    assert [finding.status for finding in found] == ["problem"]
    assert "contacts" in found[0].message or "JSON" in found[0].message


def test_contacts_that_others_may_read_are_a_problem_with_its_command(home: Home) -> None:
    Contacts(home.path).add(Contact("bob", "0x" + "11" * 20))
    (home.path / "contacts.json").chmod(0o644)
    found = [finding for finding in diagnose(home.path, time.time()) if finding.check == "folder"]
    assert any(f.status == "problem" and "chmod 600" in (f.advice or "") for f in found)
