"""The journal: migrated whole or not at all, one winner per nonce, and plain about its troubles."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.wallet.chain import COIN, Platform
from tests.wallet.conftest import WALLET, Home
from wallet import journal as journal_module
from wallet.errors import JournalError
from wallet.journal import Journal, NonceTaken, NotReplaceable

NETWORK, SENDER = "4242:0xabc", "0x" + "11" * 20
INTENT = {"kind": "transfer", "to": "0x" + "22" * 20, "amount": "1"}

VERSION_1 = """
CREATE TABLE transactions (
    id              INTEGER PRIMARY KEY,
    network         TEXT NOT NULL,
    sender          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    intent          TEXT NOT NULL,
    nonce           INTEGER NOT NULL,
    raw             BLOB NOT NULL,
    hash            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN
                    ('signed', 'confirmed', 'reverted', 'superseded', 'refused')),
    block           INTEGER,
    signed_at       INTEGER NOT NULL,
    UNIQUE (network, sender, idempotency_key)
) STRICT;
CREATE UNIQUE INDEX one_unfinished_per_nonce
    ON transactions (network, sender, nonce) WHERE state = 'signed';
PRAGMA user_version = 1;
"""


def make_version_1(path: Path) -> None:
    """A journal as the first version left it; nonce 1 landed twice, on a chain that lost blocks."""
    rows = [
        (0, "confirmed", 5),
        (1, "reverted", 6),
        (1, "confirmed", 7),
        (2, "refused", None),
        (2, "signed", None),
    ]
    with sqlite3.connect(path) as database:
        database.executescript(VERSION_1)
        for id_, (nonce, state, block) in enumerate(rows, start=1):
            database.execute(
                "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(id_, NETWORK, SENDER, f"key {id_}", json.dumps(INTENT), nonce),
                    *(bytes([id_]), f"0x{id_:064x}", state, block, 1_800_000_000 + id_),
                ),
            )
    database.close()


def content(path: Path) -> list[Any]:
    database = sqlite3.connect(path)
    try:
        return [
            database.execute("PRAGMA user_version").fetchone(),
            sorted(database.execute("SELECT name FROM sqlite_master WHERE sql IS NOT NULL")),
            database.execute("SELECT * FROM transactions ORDER BY id").fetchall(),
        ]
    finally:
        database.close()


def opened(path: Path) -> Journal:
    return Journal(path, NETWORK, SENDER)


def add(journal: Journal, nonce: int, number: int, **changes: Any) -> str:
    hash_ = f"0x{number:064x}"
    journal.record(
        tail=journal.tail(),
        **{
            "idempotency_key": f"key {number}",
            "intent": INTENT,
            "nonce": nonce,
            "raw": bytes([number]),
            "transaction_hash": hash_,
            "now": 0,
            **changes,
        },
    )
    return hash_


def replace(journal: Journal, replaced: str, number: int) -> str:
    entry = journal.find_hash(replaced)
    assert entry is not None
    hash_ = f"0x{number:064x}"
    journal.record_replacement(
        entry,
        idempotency_key=entry.idempotency_key,
        intent=INTENT,
        raw=bytes([number]),
        transaction_hash=hash_,
        now=0,
    )
    return hash_


def states(journal: Journal, nonce: int) -> list[str]:
    return [entry.state for entry in journal.candidates(nonce)]


# ----------------------------------------------------------------------------- migration


def test_the_first_version_is_migrated_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    make_version_1(path)
    journal = opened(path)
    assert content(path)[0] == (2,)
    entries = [entry for nonce in range(3) for entry in journal.candidates(nonce)]
    assert [entry.hash for entry in entries] == [f"0x{id_:064x}" for id_ in range(1, 6)]
    assert [entry.raw for entry in entries] == [bytes([id_]) for id_ in range(1, 6)]
    assert [(entry.state, entry.block) for entry in entries] == [
        ("confirmed", 5),
        ("superseded", None),  # of the two that landed the later one counts
        ("confirmed", 7),
        ("refused", None),
        ("signed", None),
    ]
    assert all(entry.intent == INTENT and entry.replaces is None for entry in entries)
    found = journal.find("key 5")
    assert found is not None
    assert found.signed_at == 1_800_000_005
    assert journal.tail().taken == {2}


MIGRATE_AND_DIE = """
import os, signal, sqlite3, sys
from pathlib import Path
from wallet import journal

at, connect = int(sys.argv[2]), sqlite3.connect

class Dying(sqlite3.Connection):
    count = 0

    def execute(self, statement, *arguments):
        if self.in_transaction:
            self.count += 1
            if self.count == at:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(statement, *arguments)

sqlite3.connect = lambda *arguments, **options: connect(*arguments, factory=Dying, **options)
journal.Journal(Path(sys.argv[1]), "n", "s")
"""


def test_a_migration_killed_anywhere_is_made_whole_by_the_next_start(tmp_path: Path) -> None:
    before = tmp_path / "before.sqlite"
    make_version_1(before)
    untouched, kills = content(before), 0
    while True:
        path = tmp_path / f"killed-{kills}.sqlite"
        path.write_bytes(before.read_bytes())
        command = [sys.executable, "-c", MIGRATE_AND_DIE, str(path), str(kills + 1)]
        done = subprocess.run(command, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        assert content(path) == untouched, "nothing of it, where not all of it"
        assert [e.state for e in opened(path).candidates(2)] == ["refused", "signed"]
        kills += 1
    assert kills >= 8, "before every statement, and before the commit"


def test_a_journal_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    opened(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 3")
    with pytest.raises(JournalError, match="has version 3, this wallet reads 2"):
        opened(path)
    assert content(path)[0] == (3,)


# ------------------------------------------------------------------ one winner per nonce


@pytest.mark.parametrize("winner", [0, 1, 2])
def test_of_all_that_compete_for_a_nonce_one_is_settled_and_the_others_with_it(
    tmp_path: Path, winner: int
) -> None:
    journal = opened(tmp_path / "journal.sqlite")
    first = add(journal, 0, 1)
    hashes = [first, second := replace(journal, first, 2), replace(journal, second, 3)]
    assert states(journal, 0) == ["signed"] * 3
    assert [journal.is_to_be_sent(hash_) for hash_ in hashes] == [False, False, True]
    journal.finish(hashes[winner], "confirmed", 9)
    expected = ["superseded"] * 3
    expected[winner] = "confirmed"
    assert states(journal, 0) == expected
    counts = journal.find("key 1")
    assert counts is not None
    assert counts.hash == hashes[winner], "whichever landed is what the key stands for"
    # What was seen on chain is not forgotten for what somebody thought before.
    journal.finish(hashes[winner], "superseded")
    journal.finish(hashes[winner - 1], "refused")
    assert states(journal, 0) == expected
    # A block may be taken back, and another one come in its place.
    journal.finish(hashes[winner - 1], "reverted", 10)
    assert sorted(states(journal, 0)) == ["reverted", "superseded", "superseded"]


def test_what_has_ended_is_not_replaced(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.sqlite")
    first = add(journal, 0, 1)
    journal.finish(first, "confirmed", 1)
    with pytest.raises(NotReplaceable):
        replace(journal, first, 2)
    assert states(journal, 0) == ["confirmed"]


def test_the_same_replacement_is_recorded_once(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.sqlite")
    first = add(journal, 0, 1)
    assert replace(journal, first, 2) == replace(journal, first, 2)
    assert states(journal, 0) == ["signed", "signed"]


def test_a_nonce_is_held_by_a_file_as_by_what_is_sent(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.sqlite")
    held = add(journal, 4, 1, state="held")
    assert journal.tail().free_nonce(4) == 5
    with pytest.raises(NonceTaken):
        add(journal, 4, 2)
    assert not journal.is_to_be_sent(held)
    assert [entry.hash for entry in journal.held()] == [held]
    replace(journal, held, 3)
    assert journal.held() == [], "its nonce is in use"


def test_a_nonce_that_was_refused_for_good_is_used_before_those_after_it(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.sqlite")
    refused = add(journal, 3, 1)
    add(journal, 4, 2)
    assert journal.tail().free_nonce(3) == 5
    journal.finish(refused, "refused")
    assert journal.tail().free_nonce(3) == 3, "else 4 would wait for it for ever"


# ------------------------------------------------------------------------------ troubles


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    opened(tmp_path / "journal.sqlite").close()
    assert stat.S_IMODE((tmp_path / "journal.sqlite").stat().st_mode) == 0o600


def test_a_locked_journal_says_so_and_nothing_is_sent(
    platform: Platform, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "LOCK_SECONDS", 0.2)
    to = platform.member().address
    with home.wallet() as wallet:
        plan = wallet.plan_transfer(to, COIN)
        locker = sqlite3.connect(home.path / "journal" / "journal.sqlite", isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError, match="kept it locked"):
            wallet.submit(plan)
        locker.execute("ROLLBACK")
        locker.close()
    assert platform.transaction_count(home.account.address) == 0


def limited(bytes_: int) -> Callable[[], None]:
    """Let a process write no file beyond a size, as a full disk would."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    return limit


def test_a_full_disk_says_so_and_nothing_is_sent(platform: Platform, home: Home) -> None:
    to = platform.member().address
    home.run("history")  # the journal is there, and has no room for a row
    size = os.path.getsize(home.path / "journal" / "journal.sqlite")
    arguments = ("send", to, "1", "--allow-new-recipient", "--yes", "--json")
    password = ("--password-file", str(home.password_file))
    done = subprocess.run(
        [WALLET, *arguments, *password, "--home", str(home.path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited(size // 2),
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "journal"
    assert "the disk is full or failing" in done.stderr
    assert platform.transaction_count(home.account.address) == 0
    # With room again it is as if nothing had been.
    assert home.confirmed("send", to, "1", "--allow-new-recipient").code == 0


def test_a_broken_journal_says_so_and_nothing_is_sent(platform: Platform, home: Home) -> None:
    (home.path / "journal").mkdir()
    (home.path / "journal" / "journal.sqlite").write_text("this is not a database at all\n" * 99)
    done = home.confirmed("send", platform.fee_receiver, "1", "--allow-new-recipient", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "journal")
    assert "not a database" in done.err
    assert platform.transaction_count(home.account.address) == 0
