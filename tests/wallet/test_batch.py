"""wallet batch: files that are wrong, files that are paid, and files that were begun before."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from eth_account import Account

from scripts.wallet_crash import run_campaign
from tests.wallet.chain import COIN, Platform, Proxy, lose
from tests.wallet.conftest import PASSWORD, Home
from tests.wallet.test_imports import HEAVY, loaded_by
from tests.wallet.test_terminal import terminal
from wallet.addresses import ZERO_ADDRESS, parse_address
from wallet.batches import pay_batch, read_batch
from wallet.errors import InvalidInput

NEW = "--allow-new-recipients"


def write(folder: Path, *lines: str, name: str = "pay.csv", head: str = "to,amount") -> Path:
    file = folder / name
    file.write_text("\n".join([head, *lines]) + "\n")
    return file


def paid_rows(home: Home) -> list[tuple[str, int, str]]:
    with sqlite3.connect(home.path / "journal" / "journal.sqlite") as database:
        return database.execute(
            "SELECT idempotency_key, nonce, state FROM transactions ORDER BY nonce, id"
        ).fetchall()


# ------------------------------------------------------------------------------- reading


def problems_of(file: Path) -> list[tuple[int, str]]:
    return [(problem.line, problem.text) for problem in read_batch(file, parse_address).problems]


def test_rows_are_read_with_the_lines_they_begin_at(tmp_path: Path) -> None:
    a, b = Account.create().address, Account.create().address
    file = write(
        tmp_path,
        f'{a},12.50,tea,"two\nlines"',
        "",
        f"{b.lower()},0.000001,,",
        head="to,amount,memo,reference",
    )
    batch = read_batch(file, parse_address)
    assert batch.problems == ()
    assert [(row.number, row.line, row.to, row.amount) for row in batch.rows] == [
        (1, 2, a, 12_500_000),
        (2, 5, b, 1),
    ]
    assert batch.rows[0].memo == b"tea".ljust(32, b"\0")
    assert batch.rows[0].reference == "two\nlines"
    assert batch.rows[1].memo is None
    assert batch.total == 12_500_001


def test_every_problem_of_every_row_is_found(tmp_path: Path) -> None:
    good = Account.create().address
    digit = next(i for i in range(2, 42) if good[i].isalpha())
    bad = good[:digit] + good[digit].swapcase() + good[digit + 1 :]
    file = write(
        tmp_path,
        f"{bad},1,",
        f"{good},1,50,",
        f'{good},"1,50",',
        f"{good},1e3,",
        f"{good},0,",
        f"nobody,0x10,{'é' * 17}",
        f"{good},2,rent",
        f"{good},2,rent",
        head="to,amount,memo",
    )
    found = problems_of(file)
    assert [line for line, _ in found] == [2, 3, 4, 5, 6, 7, 7, 7, 9]
    words = [
        "bad checksum",
        "has 4 fields, the first line names 3",
        "'1,50' is not an amount",
        "'1e3' is not an amount",
        "the amount is zero",
        "'nobody' is not an address",
        "'0x10' is not an amount",
        "takes 34 bytes",
        "pays the same as line 8",
    ]
    for (_, text), expected in zip(found, words, strict=True):
        assert expected in text


def test_a_reference_used_twice_is_a_problem(tmp_path: Path) -> None:
    to = Account.create().address
    file = write(
        tmp_path, f"{to},1,a", f"{to},2,a", f"{to},3,", f"{to},4,", head="to,amount,reference"
    )
    assert problems_of(file) == [(3, "has the reference 'a', as line 2 has")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("to,amount\n", "no rows"),
        ("0x11,1\n", "has to name the columns"),
        ("to,amount,note\na,1,b\n", "has to name the columns"),
        ("to,amount,to\na,1,b\n", "has to name the columns"),
        ('to,amount\n"a,1\n', "not CSV"),
        ("to,amount\n" + "a,1\n" * 10_001, "at most 10000"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "file.csv").write_text(text)
    with pytest.raises(InvalidInput, match=words):
        read_batch(tmp_path / "file.csv", parse_address)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes(b"to,amount\n\xff,1\n")
    with pytest.raises(InvalidInput, match="not CSV in UTF-8"):
        read_batch(tmp_path / "file.csv", parse_address)


# ------------------------------------------------------------------------------ checking


def test_check_asks_the_chain_about_every_row_and_sends_nothing(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    member, frozen = platform.member().address, platform.member().address
    platform.send(platform.coin.functions.freeze(frozen, b"\0" * 32))
    stranger = Account.create().address
    rows = (f"{member},99", f"{stranger},1", f"{frozen},1", "main,1", f"{ZERO_ADDRESS},1")
    file = write(tmp_path, *rows, f"{platform.coin.address},1", "nobody,1")
    done = home.run("batch", "check", str(file), "--json")
    assert done.code == 1, done.err
    assert [(problem["line"], problem["problem"]) for problem in done.json["problems"]] == [
        (None, "the rows come to 104.00 PLZ, the balance is 100.00 PLZ"),
        (3, f"{stranger} is not a member of this network"),
        (4, f"{frozen} is frozen"),
        (5, f"{home.account.address} is this key itself"),
        (6, f"{ZERO_ADDRESS} is the zero address"),
        (7, f"{platform.coin.address} is the coin's own contract"),
        (8, "no key 'nobody' (there are: main)"),
    ]
    assert platform.transaction_count(home.account.address) == 0
    shown = home.run("batch", "check", str(file))
    assert (shown.code, "Line 4: " in shown.out) == (1, True)
    refused = home.confirmed("batch", "pay", str(file), NEW, "--json")
    assert refused.code == 1
    assert "Line 8: no key" in refused.err
    assert platform.transaction_count(home.account.address) == 0


def test_check_finds_nothing_wrong_with_a_good_file(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    file = write(tmp_path, f"{platform.member().address},1", f"{platform.member().address},2.5")
    done = home.run("batch", "check", str(file))
    assert (done.code, done.out) == (0, "2 rows, 3.50 PLZ: no problem found\n")


# -------------------------------------------------------------------------------- paying


def test_a_file_is_paid_once(platform: Platform, home: Home, tmp_path: Path) -> None:
    a, b = platform.member().address, platform.member().address
    lines = [f"{a},1,tea,i-1", f"{b},2.5,,i-2", f"{a},0.000001,,i-3"]
    file = write(tmp_path, *lines, head="to,amount,memo,reference")
    done = home.confirmed("batch", "pay", str(file), NEW, "--json")
    assert done.code == 0, done.err
    assert (platform.balance(a), platform.balance(b)) == (1_000_001, 2_500_000)
    assert done.json["counts"] == {"confirmed": 3}
    assert done.json["paid"] == "3500001"
    assert [row["reference"] for row in done.json["rows"]] == ["i-1", "i-2", "i-3"]
    assert "To pay   3 rows to 2 recipients, 3.500001 PLZ in all" in done.err

    again = home.confirmed("batch", "pay", str(file), NEW, "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "refused")
    assert "was begun before: 3 rows of it are done" in again.err
    resumed = home.confirmed("batch", "pay", str(file), "--resume")
    assert resumed.code == 0, resumed.err
    rows = list(csv.DictReader(io.StringIO(resumed.out)))
    assert [(row["line"], row["status"]) for row in rows] == [
        ("2", "confirmed"),
        ("3", "confirmed"),
        ("4", "confirmed"),
    ]
    assert platform.transaction_count(home.account.address) == 3


def test_nobody_there_to_confirm(platform: Platform, home: Home, tmp_path: Path) -> None:
    file = write(tmp_path, f"{platform.member().address},1", f"{platform.member().address},1")
    pay = ("batch", "pay", str(file), "--json")
    assert home.run(*pay).code == 5
    assert home.run(*pay, "--yes").code == 4
    done = home.confirmed(*pay)
    assert done.code == 5
    assert "there are 2 new recipients: confirm with --allow-new-recipients" in done.err
    (tmp_path / "wrong").write_text("not the password\n")
    wrong = home.run(*pay, "--yes", NEW, "--password-file", str(tmp_path / "wrong"))
    assert wrong.code == 4
    # Nothing was begun by any of these.
    assert home.confirmed(*pay, NEW).code == 0


def test_a_changed_file_says_what_was_paid_before(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    a, b = platform.member().address, platform.member().address
    head = "to,amount,reference"
    file = write(tmp_path, f"{a},1,", f"{b},2,i-2", head=head)
    assert home.confirmed("batch", "pay", str(file), NEW).code == 0

    write(tmp_path, f"{a},1,", f"{b},2,i-2", f"{b},3,", head=head)
    check = home.run("batch", "check", str(file), "--json").json
    assert [row["line"] for row in check["repeated"]] == [2, 3]
    done = home.confirmed("batch", "pay", str(file), "--json")
    assert done.code == 5
    assert "Line 2: was paid by an earlier version of this file" in done.err
    assert "there are 2 rows paid before: confirm with --allow-repeated-rows" in done.err

    # Elsewhere the same people may be paid the same again, but not the same reference.
    other = write(tmp_path, f"{a},1,", f"{b},9,i-2", name="other.csv", head=head)
    check = home.run("batch", "check", str(other), "--json").json
    assert [row["line"] for row in check["repeated"]] == [3]
    assert platform.transaction_count(home.account.address) == 2
    assert home.confirmed("batch", "pay", str(file), "--allow-repeated-rows").code == 0
    assert platform.balance(a) == 2 * COIN


def test_a_row_that_fails_is_said_and_the_others_go_on(
    rewound: Platform, make_home: Callable[..., Home], proxy: Proxy, tmp_path: Path
) -> None:
    home = make_home(rpc_url=proxy.url)
    first, second, third, fourth = (rewound.member().address for _ in range(4))
    file = write(tmp_path, f"{first},1", f"{second},1", f"{third},1", f"{fourth},1")

    def freeze() -> None:
        # After the check: the second is frozen under its transaction, the third before its own.
        if len(proxy.sent) == 2:
            for address in (second, third):
                rewound.send(rewound.coin.functions.freeze(address, b"\0" * 32))

    proxy.before["eth_sendRawTransaction"] = freeze
    done = home.confirmed("batch", "pay", str(file), NEW, "--json")
    assert done.code == 1, done.err
    statuses = [(row["status"], row["reason"]) for row in done.json["rows"]]
    assert [status for status, _ in statuses] == ["confirmed", "reverted", "failed", "confirmed"]
    assert statuses[1][1] == f"{second.lower()} is frozen"
    assert statuses[2][1] == f"{third} (the recipient) is frozen"
    assert "Line 3 reverted" in done.err

    # What never moved anything is tried again, and nothing else.
    for address in (second, third):
        rewound.send(rewound.coin.functions.unfreeze(address))
    again = home.confirmed("batch", "pay", str(file), "--resume", NEW, "--json")
    assert again.code == 0, again.err
    assert [row["before"] for row in again.json["rows"]] == [True, False, False, True]
    assert [rewound.balance(to) for to in (first, second, third, fourth)] == [COIN] * 4


def test_what_does_not_land_stops_the_run_and_leaves_no_hole(
    platform: Platform, make_home: Callable[..., Home], proxy: Proxy, tmp_path: Path
) -> None:
    home = make_home(rpc_url=proxy.url)
    recipients = [platform.member().address for _ in range(4)]
    file = write(tmp_path, *(f"{to},1" for to in recipients))

    def break_off() -> None:
        if len(proxy.sent) >= 2:
            lose()

    proxy.before["eth_sendRawTransaction"] = break_off
    done = home.confirmed("batch", "pay", str(file), NEW, "--timeout", "0.3", "--json")
    assert done.code == 8, done.err
    statuses = [row["status"] for row in done.json["rows"]]
    assert statuses == ["confirmed", "pending", "unsent", "unsent"]
    # None was signed after the one that the endpoint never took.
    assert [nonce for _, nonce, _ in paid_rows(home)] == [0, 1]

    proxy.before.clear()
    again = home.confirmed("batch", "pay", str(file), "--resume", NEW, "--json")
    assert again.code == 0, again.err
    assert [platform.balance(to) for to in recipients] == [COIN] * 4
    assert platform.transaction_count(home.account.address) == 4


def test_many_are_in_flight_and_none_before_the_one_before_it_is_taken(
    rewound: Platform, home: Home, tmp_path: Path
) -> None:
    recipients = [rewound.member().address for _ in range(6)]
    batch = read_batch(write(tmp_path, *(f"{to},1" for to in recipients)), parse_address)
    rewound.web3.provider.make_request("evm_setAutomine", [False])
    waiting: list[int] = []

    def mine() -> None:
        for _ in range(100):
            pool = rewound.web3.provider.make_request("txpool_status", [])["result"]
            waiting.append(int(pool["pending"], 16))
            assert int(pool["queued"], 16) == 0, "what is queued waits for a nonce"
            if waiting[-1] >= 4 or sum(waiting[-3:]) == 3 * waiting[-1] > 0:
                rewound.web3.provider.make_request("evm_mine", [])
            if stop.wait(0.1):
                return

    stop = threading.Event()
    miner = threading.Thread(target=mine)
    miner.start()
    try:
        with home.wallet() as wallet:
            results = pay_batch(wallet, batch, in_flight=4)
    finally:
        stop.set()
        miner.join()
        rewound.web3.provider.make_request("evm_setAutomine", [True])
    assert [result.status for result in results] == ["confirmed"] * 6
    assert max(waiting) == 4
    assert [rewound.balance(to) for to in recipients] == [COIN] * 6


def test_a_nonce_used_elsewhere_fails_the_row_and_the_next_run_pays_it(
    platform: Platform, make_home: Callable[..., Home], proxy: Proxy, tmp_path: Path
) -> None:
    home = make_home(rpc_url=proxy.url)
    a, b = platform.member().address, platform.member().address
    batch = read_batch(write(tmp_path, f"{a},1", f"{b},1"), parse_address)

    def use_nonce() -> None:
        del proxy.before["eth_sendRawTransaction"]
        sender = home.account.address
        platform.web3.provider.make_request("anvil_impersonateAccount", [sender])
        platform.send(platform.coin.functions.transfer(platform.fee_receiver, 5), sender)

    proxy.before["eth_sendRawTransaction"] = use_nonce
    with home.wallet() as wallet:
        first, second = pay_batch(wallet, batch)
        assert (first.status, second.status) == ("failed", "confirmed")
        assert "another transaction used nonce 0" in str(first.reason)
        assert [result.status for result in pay_batch(wallet, batch)] == ["confirmed"] * 2
    assert (platform.balance(a), platform.balance(b)) == (COIN, COIN)


def test_a_canceled_row_is_not_paid_again_and_a_replaced_one_is_paid(
    platform: Platform, make_home: Callable[..., Home], proxy: Proxy, tmp_path: Path
) -> None:
    home = make_home(rpc_url=proxy.url)
    a, b = platform.member().address, platform.member().address
    for verb, name, status in (("cancel", "a.csv", "canceled"), ("replace", "b.csv", "confirmed")):
        file = write(tmp_path, f"{a if verb == 'cancel' else b},1", name=name)
        proxy.before["eth_sendRawTransaction"] = lose
        pay = ("batch", "pay", str(file), NEW, "--json")
        done = home.confirmed(*pay, "--timeout", "0")
        assert done.code == 8, done.err
        proxy.before.clear()
        assert home.confirmed("tx", verb, done.json["rows"][0]["hash"]).code == 0
        done = home.confirmed(*pay, "--resume")
        assert done.json["rows"][0]["status"] == status, done.err
    assert (platform.balance(a), platform.balance(b)) == (0, COIN)


def test_a_row_is_not_taken_for_a_payment_of_its_own(
    platform: Platform, make_home: Callable[..., Home], proxy: Proxy, tmp_path: Path
) -> None:
    home = make_home(rpc_url=proxy.url)
    to = platform.member().address
    file = write(tmp_path, f"{to},1")
    proxy.before["eth_sendRawTransaction"] = lose
    assert home.confirmed("batch", "pay", str(file), NEW, "--timeout", "0").code == 8
    proxy.before.clear()
    done = home.confirmed("send", to, "1", "--allow-new-recipient", "--json")
    assert (done.code, done.json["resumed"]) == (0, False), done.err
    assert platform.balance(to) == 2 * COIN
    name = ("--idempotency-key", "batch:mine")
    assert home.confirmed("send", to, "1", *name).code == 2


def test_two_that_pay_the_same_file_at_once_pay_it_once(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    recipients = [platform.member().address for _ in range(8)]
    file = write(tmp_path, *(f"{to},1" for to in recipients))
    pay = ("batch", "pay", str(file), "--resume", NEW, "--json")
    processes = [home.start(*pay) for _ in range(2)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert [code for _, code in ended] == [0, 0], ended
    assert [platform.balance(to) for to in recipients] == [COIN] * 8
    assert platform.transaction_count(home.account.address) == 8


def test_checking_loads_no_signer(platform: Platform, home: Home, tmp_path: Path) -> None:
    file = write(tmp_path, f"{platform.member().address},1")
    loaded = loaded_by("batch", "check", str(file), "--home", str(home.path))
    assert not loaded & (HEAVY | {"node"})


# -------------------------------------------------------------------------------- killed


def test_killed_again_and_again_every_row_is_paid_exactly_once(tmp_path: Path) -> None:
    report = run_campaign(tmp_path, kills=16, rows=30, seed=5)
    assert report.ok, [*report.doubled, *report.lost, *report.different]
    assert report.kills.total() == 16
    assert report.payments >= 30


def test_the_campaign_finds_what_a_wallet_without_a_journal_does(tmp_path: Path) -> None:
    report = run_campaign(tmp_path, kills=8, rows=10, seed=2, sabotage="forget")
    assert report.doubled


# ---------------------------------------------------------------------------- a terminal


def test_new_recipients_are_counted_typed_and_paid(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    a, b = platform.member().address, platform.member().address
    file = write(tmp_path, f"{a},1", f"{b},2", f"{a},3")
    with terminal(*home.command("batch", "pay", str(file))) as screen:
        screen.expect(r"To pay   3 rows to 2 recipients, 6\.00 PLZ in all")
        screen.expect(r"New      2 recipients were never paid before:")
        screen.expect(re.escape(a))
        screen.expect(re.escape(b))
        screen.expect("Type how many new recipients there are")
        screen.type("3")
        assert screen.exit_code() == 3
    with terminal(*home.command("batch", "pay", str(file))) as screen:
        screen.expect("Type how many new recipients there are")
        screen.type("2")
        screen.expect(r"Pay 3 rows\? \[y/N\]")
        screen.type("y")
        screen.expect("Password for main")
        screen.type(PASSWORD)
        screen.expect("3 of 3 paid")
        screen.expect(r"3 rows paid, 6\.00 PLZ")
        assert screen.exit_code() == 0
    assert (platform.balance(a), platform.balance(b)) == (4 * COIN, 2 * COIN)


def test_a_declined_file_is_not_begun(platform: Platform, home: Home, tmp_path: Path) -> None:
    file = write(tmp_path, f"{platform.member().address},1")
    for _ in range(2):
        with terminal(*home.command("batch", "pay", str(file), NEW)) as screen:
            screen.expect(r"Pay 1 row\? \[y/N\]")
            screen.type("n")
            assert screen.exit_code() == 3
    assert platform.transaction_count(home.account.address) == 0
