"""What becomes of keys: where they came from, backups, new passwords, copies and their end."""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from tests.wallet.conftest import PASSWORD, WALLET, Finished
from tests.wallet.processes import run_forked
from tests.wallet.test_keys import ADDRESS, KEY
from wallet import Keystore, keys
from wallet.errors import (
    AlreadyExists,
    InvalidInput,
    PasswordError,
    Refused,
    UnknownName,
    WalletError,
)
from wallet.keys import Origin, decrypt
from wallet.mnemonics import check_mnemonic, check_path, derive_key, new_mnemonic

ANOTHER = "another password"
OTHER_KEY = b"\x01" * 32
# The mnemonic that development chains use, and the first account and the second of it.
WORDS = "test test test test test test test test test test test junk"
FIRST = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
SECOND = ADDRESS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "another").write_text(ANOTHER + "\n")
    (tmp_path / "words").write_text(WORDS + "\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    return tmp_path


def run(
    folder: Path, *arguments: str, password: str | None = "password", anew: bool = False
) -> Finished:
    """Run a command on the home in a folder, off a terminal.

    Args:
        anew: by an interpreter of its own, which looks where PYTHONPATH says.
    """
    given = ("--password-file", str(folder / password)) if password else ()
    words = [*arguments, *given, "--home", str(folder / "home")]
    if not anew:
        return Finished(*run_forked(words, cwd=folder))
    done = subprocess.run(
        [WALLET, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def files(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


# ---------------------------------------------------------------------------- mnemonics


def test_words_lead_to_the_accounts_they_lead_to_elsewhere() -> None:
    Account.enable_unaudited_hdwallet_features()
    assert Account.from_key(derive_key(WORDS)).address == FIRST
    assert Account.from_key(derive_key(WORDS, "m/44'/60'/0'/0/1")).address == SECOND
    assert derive_key(WORDS, passphrase="x") == Account.from_mnemonic(WORDS, "x").key


def test_words_may_be_spaced_and_cased_as_people_write_them() -> None:
    assert check_mnemonic("  Test test\ttest\ntest " + "TEST " * 7 + " junk\n") == WORDS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "these are 0"),
        (WORDS + " test", "these are 13"),
        (WORDS.replace("junk", "test"), "checksum"),
        (WORDS.replace("junk", "jun"), r"12 \('jun'\)"),  # eth-account would have guessed
        ("tost " + WORDS[5:], r"1 \('tost'\)"),
    ],
)
def test_words_that_are_no_mnemonic_are_refused_in_words(words: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        derive_key(words)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "m/",
        "44'/60'",
        "M/0",
        "m/-1",
        "m/0H",
        "m/01",
        "m/x",
        "m//0",
        f"m/{2**31}",
        "m" + "/0" * 17,
    ],
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="not a derivation path"):
        check_path(path)


def test_every_mnemonic_is_another_and_has_the_length_asked_for() -> None:
    for count in (12, 15, 18, 21, 24):
        assert len(new_mnemonic(count).split()) == count
    assert new_mnemonic() != new_mnemonic()
    with pytest.raises(InvalidInput, match="not 13"):
        new_mnemonic(13)


# ------------------------------------------------------------------------------- origin


def test_a_key_knows_where_it_came_from_and_whether_its_backup_was_tried(
    keystore: Keystore,
) -> None:
    key = keystore.create("main", KEY, PASSWORD, Origin("mnemonic", "m/44'/60'/0'/0/1"))
    assert keystore.origin(key).backup_verified_at is None
    with pytest.raises(WalletError, match="a backup of 0x"):
        keystore.note_backup(key, OTHER_KEY, now=1_790_000_000)
    keystore.note_backup(key, KEY, now=1_790_000_000)
    assert keystore.origin(key) == Origin(
        "mnemonic", "m/44'/60'/0'/0/1", False, 1_790_000_000, ADDRESS
    )
    note = key.path.with_suffix(".origin")
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert keystore.names() == ["main"], "the note is no key"


def test_a_note_left_by_another_key_is_not_believed(keystore: Keystore) -> None:
    key = keystore.create("main", KEY, PASSWORD, Origin("random"))
    keystore.note_backup(key, KEY, now=1_790_000_000)
    note = key.path.with_suffix(".origin").read_bytes()
    keystore.remove("main")
    key = keystore.create("main", OTHER_KEY, PASSWORD)
    key.path.with_suffix(".origin").write_bytes(note)
    assert keystore.origin(key) == Origin(address=key.address)


@pytest.mark.parametrize(
    "note", ['{"colour": "blue"}', '{"backup_verified_at": "today"}', '{"kind": null}', "[]", "{"]
)
def test_a_broken_note_is_said_and_the_key_still_signs(keystore: Keystore, note: str) -> None:
    key = keystore.create("main", KEY, PASSWORD, Origin("random"))
    key.path.with_suffix(".origin").write_text(note)
    with pytest.raises(InvalidInput, match=r"main\.origin"):
        keystore.origin(key)
    assert keystore.unlock("main", PASSWORD) == KEY


# ------------------------------------------------------- copies, passwords, and the end


def test_an_exported_key_opens_with_its_new_password_alone(
    keystore: Keystore,
    tmp_path: Path,
) -> None:
    keystore.create("main", KEY, PASSWORD)
    old = os.umask(0)
    try:
        file = keystore.export("main", PASSWORD, tmp_path / "copy.json", ANOTHER)
    finally:
        os.umask(old)
    content = json.loads(file.read_text())
    assert decrypt(content, ANOTHER) == KEY
    assert bytes(Account.decrypt(content, ANOTHER)) == KEY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(PasswordError):
        decrypt(content, PASSWORD)


def test_an_export_replaces_nothing(keystore: Keystore, tmp_path: Path) -> None:
    keystore.create("main", KEY, PASSWORD)
    (tmp_path / "there").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("there", "link"):
        with pytest.raises(AlreadyExists):
            keystore.export("main", PASSWORD, tmp_path / name, ANOTHER)
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_changed_password_is_the_only_one(keystore: Keystore) -> None:
    key = keystore.create("main", KEY, PASSWORD, Origin("random"))
    assert keystore.change_password("main", PASSWORD, ANOTHER) == key
    assert keystore.unlock("main", ANOTHER) == KEY
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    for wrong, new in ((PASSWORD, "a third password"), (ANOTHER, "short")):
        with pytest.raises(PasswordError):
            keystore.change_password("main", wrong, new)
    assert keystore.unlock("main", ANOTHER) == KEY
    assert files(key.path.parent) == ["main.json", "main.origin"], "nothing else stays"


def test_a_key_without_a_tried_backup_is_not_removed(keystore: Keystore) -> None:
    key = keystore.create("main", KEY, PASSWORD)
    with pytest.raises(Refused, match="verify-backup"):
        keystore.remove("main")
    keystore.remove("main", without_backup=True)
    assert files(key.path.parent) == []
    assert keystore.chosen() is None
    with pytest.raises(UnknownName, match="no key yet"):
        keystore.get()


def test_no_other_key_takes_the_place_of_a_removed_default(keystore: Keystore) -> None:
    for name in ("main", "savings"):
        keystore.create(name, KEY, PASSWORD)
    keystore.remove("main", without_backup=True)
    with pytest.raises(UnknownName, match="no default key: name one of savings"):
        keystore.get()
    keystore.use("savings")
    assert keystore.get().name == "savings"
    with pytest.raises(UnknownName):
        keystore.use("main")


# ----------------------------------------------------------------------------- accidents


def steps_of(
    action: Callable[[], object], folder: Path, prepare: Callable[[], object]
) -> Iterator[int]:
    """Have an action killed before each of its touches of a folder, in turn, from the same start.

    Each time a process of its own dies by SIGKILL, and yields the number of the touch.
    """
    for step in itertools.count(1):
        shutil.rmtree(folder, ignore_errors=True)
        prepare()
        pid = os.fork()
        if pid == 0:
            touches = itertools.count(1)

            def watch(event: str, arguments: tuple[Any, ...]) -> None:
                touching = event in {"open", "os.rename", "os.link", "os.remove"}
                if touching and str(folder) in str(arguments[0]) and next(touches) == step:  # noqa: B023
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(watch)
            with suppress(BaseException):
                action()
            os._exit(0)
        if not os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
            assert step > 5, "it was never killed"
            return
        yield step


def test_killed_while_a_password_changes_the_key_opens_with_one_of_the_two(
    keystore: Keystore,
    tmp_path: Path,
) -> None:
    def start() -> None:
        keystore.create("main", KEY, PASSWORD)

    opened = set()
    for _ in steps_of(
        lambda: keystore.change_password("main", PASSWORD, ANOTHER), tmp_path / "home", start
    ):
        assert keystore.names() == ["main"]
        for password in (PASSWORD, ANOTHER):
            with suppress(PasswordError):
                assert keystore.unlock("main", password) == KEY
                opened.add(password)
                break
        else:
            pytest.fail("no password opens it")
        keystore.change_password("main", password, "a third password")
    assert opened == {PASSWORD, ANOTHER}, "killed before and after the file was replaced"


def test_killed_while_a_key_is_made_it_is_whole_or_not_there(
    keystore: Keystore,
    tmp_path: Path,
) -> None:
    def make() -> object:
        return keystore.create("main", KEY, PASSWORD, Origin("random"))

    for _ in steps_of(make, tmp_path / "home", lambda: None):
        if keystore.names():
            assert keystore.unlock("main", PASSWORD) == KEY
            assert keystore.origin(keystore.get("main")).backup_verified_at is None
        else:
            make()


def test_killed_while_a_key_is_removed_it_can_be_removed_again(
    keystore: Keystore,
    tmp_path: Path,
) -> None:
    def start() -> None:
        key = keystore.create("main", KEY, PASSWORD, Origin("random"))
        keystore.note_backup(key, KEY, now=1)

    for _ in steps_of(lambda: keystore.remove("main"), tmp_path / "home", start):
        if keystore.names():
            assert keystore.unlock("main", PASSWORD) == KEY
            keystore.remove("main", without_backup=True)
        assert keystore.names() == []


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow beyond 100 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_on_a_full_disk_nothing_is_lost_and_nothing_half_is_left(
    keystore: Keystore, tmp_path: Path
) -> None:
    key = keystore.create("main", KEY, PASSWORD)
    for attempt in (
        lambda: keystore.change_password("main", PASSWORD, ANOTHER),
        lambda: keystore.export("main", PASSWORD, tmp_path / "copy", ANOTHER),
        lambda: keystore.create("other", OTHER_KEY, PASSWORD),
    ):
        with full_disk(), pytest.raises(OSError, match="too large"):
            attempt()
    assert files(key.path.parent) == ["main.json"]
    assert not (tmp_path / "copy").exists()
    assert keystore.unlock("main", PASSWORD) == KEY


def test_what_does_not_read_back_takes_nobodys_place(
    keystore: Keystore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that keeps something else than it was given."""
    key = keystore.create("main", KEY, PASSWORD)
    honest = keys.write_private

    def forget(path: Path, text: str) -> Path:
        digit = json.loads(text)["crypto"]["ciphertext"][0]
        start = f'"ciphertext": "{digit}'
        return honest(path, text.replace(start, start[:-1] + ("0" if digit != "0" else "1")))

    monkeypatch.setattr(keys, "write_private", forget)
    for attempt in (
        lambda: keystore.change_password("main", PASSWORD, ANOTHER),
        lambda: keystore.export("main", PASSWORD, tmp_path / "copy", ANOTHER),
        lambda: keystore.create("other", OTHER_KEY, PASSWORD),
    ):
        with pytest.raises(WalletError, match="did not read back"):
            attempt()
    assert files(key.path.parent) == ["main.json"]
    assert not (tmp_path / "copy").exists()
    assert keystore.unlock("main", PASSWORD) == KEY


# --------------------------------------------------------------------------- the command


def test_a_new_key_from_words_in_a_file_comes_back_from_them(folder: Path) -> None:
    made = run(folder, "key", "new", "main", "--mnemonic-file", "paper", "--json")
    assert made.code == 0, made.err
    paper = folder / "paper"
    assert stat.S_IMODE(paper.stat().st_mode) == 0o600
    assert len(paper.read_text().split()) == 24
    assert (made.json["origin"], made.json["backup_verified_at"]) == ("mnemonic", None)

    tried = run(folder, "key", "verify-backup", "main", "--mnemonic-file", "paper", "--json")
    assert tried.code == 0, tried.err
    assert tried.json["backup_verified_at"] > 1_700_000_000
    assert Account.from_key(derive_key(paper.read_text())).address == made.json["address"]
    assert "not verified" not in run(folder, "key", "list", password=None).out


def test_a_file_of_words_is_never_overwritten(folder: Path) -> None:
    done = run(folder, "key", "new", "main", "--mnemonic-file", "words", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "already_exists")
    assert (folder / "words").read_text() == WORDS + "\n"
    assert not (folder / "home" / "keys").exists()


def test_off_a_terminal_words_that_nobody_reads_are_not_made(folder: Path) -> None:
    done = run(folder, "key", "new", "main", "--json")
    assert (done.code, done.json["error"]["code"]) == (5, "confirmation_required")
    assert "--mnemonic-file" in done.err
    assert "--random" in done.err
    assert not (folder / "home" / "keys").exists()


def test_words_are_imported_with_path_and_passphrase(folder: Path) -> None:
    (folder / "secret").write_text("open sesame\n")
    done = run(
        folder,
        *("key", "import", "main", "--mnemonic-file", "words", "--json"),
        *("--path", "m/44'/60'/0'/0/1", "--passphrase-file", "secret"),
    )
    assert done.code == 0, done.err
    key = derive_key(WORDS, "m/44'/60'/0'/0/1", "open sesame")
    assert done.json["address"] == Account.from_key(key).address
    assert (done.json["derivation_path"], done.json["passphrase"]) == ("m/44'/60'/0'/0/1", True)
    assert "sesame" not in (folder / "home" / "keys" / "main.origin").read_text()

    tried = ("key", "verify-backup", "main", "--mnemonic-file", "words", "--json")
    without = run(folder, *tried)
    assert (without.code, without.json["error"]["code"]) == (4, "password")
    assert run(folder, *tried, "--passphrase-file", "secret").code == 0
    wrong = run(folder, *tried, "--passphrase-file", "another")
    assert wrong.code == 1
    assert "the passphrase is another" in wrong.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--mnemonic-file", "words", "--path", "m/x"], 1),
        (["--mnemonic-file", "password"], 1),
        (["--mnemonic"], 5),
        (["--path", "m/0"], 2),
        (["--mnemonic-file", "words", "--private-key-file", "words"], 2),
        (["--private-key-file", "words"], 1),
        (["--private-key-file", "binary"], 1),
        (["--mnemonic-file", "binary"], 1),
        (["--keystore", "binary"], 1),
        ([], 4),
    ],
)
def test_what_cannot_be_imported_is_refused(folder: Path, arguments: list[str], code: int) -> None:
    done = run(folder, "key", "import", "main", *arguments, "--json")
    assert done.code == code, done.err
    assert done.json["error"]["message"]
    assert not (folder / "home" / "keys").exists()


def test_a_key_that_is_there_is_said_before_anything_is_asked(
    folder: Path,
    keystore: Keystore,
) -> None:
    keystore.create("main", KEY, PASSWORD)
    for arguments in (["new", "main"], ["import", "main"]):
        assert run(folder, "key", *arguments, password=None).code == 1


def test_a_copy_is_exported_tried_and_the_key_removed(
    folder: Path,
    keystore: Keystore,
) -> None:
    keystore.create("main", KEY, PASSWORD)
    rm = ("key", "rm", "main", "--json")
    refused = run(folder, *rm, "--yes", password=None)
    assert (refused.code, refused.json["error"]["code"]) == (1, "refused")

    new = ("--new-password-file", str(folder / "another"))
    done = run(folder, "key", "export", "main", "copy.json", *new, "--json")
    assert done.code == 0, done.err
    assert KEY.hex() not in done.out + done.err + (folder / "copy.json").read_text()

    tried = ("key", "verify-backup", "main", "--json", "--keystore")
    own = run(folder, *tried, "home/keys/main.json")
    assert (own.code, own.json["error"]["code"]) == (1, "invalid_input")
    assert run(folder, *tried, "copy.json").code == 4, "the copy has a password of its own"
    assert run(folder, *tried, "copy.json", password="another").code == 0

    unasked = run(folder, *rm, password=None)
    assert (unasked.code, "--yes" in unasked.err) == (5, True)
    assert run(folder, *rm, "--yes", password=None).json["deleted"] is True
    assert Keystore(folder / "home").names() == []


def test_a_backup_of_another_key_is_none(folder: Path, keystore: Keystore) -> None:
    keystore.create("main", KEY, PASSWORD, Origin("mnemonic", "m/44'/60'/0'/0/1"))
    keystore.create("other", OTHER_KEY, PASSWORD)
    tried = ("key", "verify-backup", "other", "--json")
    done = run(folder, *tried, "--keystore", "home/keys/main.json")
    assert done.code == 1
    assert ADDRESS in done.err
    assert run(folder, *tried).code == 2, "it was not made from words"
    assert (
        run(folder, "key", "show", "other", "--json", password=None).json["backup_verified_at"]
        is None
    )


def test_a_password_is_changed_off_a_terminal(folder: Path, keystore: Keystore) -> None:
    keystore.create("main", KEY, PASSWORD)
    change = ("key", "passwd", "main", "--json")
    unsaid = run(folder, *change)
    assert (unsaid.code, "--new-password-file" in unsaid.err) == (4, True)
    new = ("--new-password-file", str(folder / "another"))
    assert run(folder, *change, *new, password="another").code == 4
    done = run(folder, *change, *new)
    assert done.code == 0, done.err
    assert keystore.unlock("main", ANOTHER) == KEY


def test_both_passwords_come_from_descriptors(folder: Path, keystore: Keystore) -> None:
    keystore.create("main", KEY, PASSWORD)
    ends = []
    for password in (PASSWORD, ANOTHER):
        reading, writing = os.pipe()
        os.write(writing, password.encode())
        os.close(writing)
        ends.append(reading)
    command = [WALLET, "key", "passwd", "main", "--home", str(folder / "home")]
    command += ["--password-fd", str(ends[0]), "--new-password-fd", str(ends[1])]
    subprocess.run(command, check=True, pass_fds=ends, stdin=subprocess.DEVNULL)
    assert keystore.unlock("main", ANOTHER) == KEY


def test_another_key_is_made_the_default(folder: Path, keystore: Keystore) -> None:
    for name in ("main", "savings"):
        keystore.create(name, KEY, PASSWORD)
    assert run(folder, "key", "use", "savings", "--json", password=None).json["default"] is True
    listed = run(folder, "key", "list", "--json", password=None).json["keys"]
    assert [key["default"] for key in listed] == [False, True]
    done = run(folder, "key", "rm", "savings", "--yes", "--without-backup", password=None)
    assert "wallet key use" in done.err


def test_a_foreign_keystore_with_a_short_password_gets_another(folder: Path) -> None:
    (folder / "short").write_text("foo\n")
    (folder / "foreign").write_text(json.dumps(Account.encrypt(KEY, "foo", "pbkdf2", 1000)))
    load = ("key", "import", "main", "--keystore", "foreign", "--json")
    assert run(folder, *load, password="short").code == 4
    done = run(folder, *load, "--new-password-file", "another", password="short")
    assert done.code == 0, done.err
    assert Keystore(folder / "home").unlock("main", ANOTHER) == KEY


# ------------------------------------------------------------------------------ keyring

KEYRING = """
import json, os
from keyring.backend import KeyringBackend

class Keyring(KeyringBackend):
    priority = 1
    path = os.path.join(os.path.dirname(__file__), "entries.json")

    def get_password(self, service, username):
        return json.load(open(self.path)).get(service + " " + username)

    def set_password(self, service, username, password):
        json.dump({service + " " + username: password}, open(self.path, "w"))
"""


def test_a_password_comes_from_the_keyring(
    folder: Path,
    keystore: Keystore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The real `keyring`, with a place of its own to keep things in."""
    keystore.create("main", KEY, PASSWORD)
    (folder / "kept").mkdir()
    (folder / "kept" / "kept_in_a_file.py").write_text(KEYRING)
    (folder / "kept" / "entries.json").write_text("{}")
    monkeypatch.setenv("PYTHONPATH", f"{folder / 'kept'}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "kept_in_a_file.Keyring")
    sign = ("sign", "--message", "hello", "--yes", "--password-keyring", "--json")

    nothing = run(folder, *sign, password=None, anew=True)
    assert (nothing.code, nothing.json["error"]["code"]) == (4, "password")
    assert f"keyring set plaza-wallet {ADDRESS}" in nothing.err
    subprocess.run(
        [sys.executable, "-m", "keyring", "set", "plaza-wallet", ADDRESS],
        input=PASSWORD,
        text=True,
        check=True,
    )
    done = run(folder, *sign, password=None, anew=True)
    assert done.code == 0, done.err
    assert done.json["address"] == ADDRESS
    assert run(folder, *sign).code == 2, "one source alone"


def test_without_the_extra_the_keyring_is_said_to_need_it(
    folder: Path, keystore: Keystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keystore.create("main", KEY, PASSWORD)
    (folder / "keyring.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{os.environ.get('PYTHONPATH', '')}")
    sign = ("sign", "--message", "hello", "--yes", "--password-keyring")
    done = run(folder, *sign, password=None, anew=True)
    assert (done.code, "plaza[keyring]" in done.err) == (4, True)
