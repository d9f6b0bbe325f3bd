"""wallet on a real terminal: what it asks, and what answers do."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.wallet.chain import SELLER, Bridge, Platform
from tests.wallet.conftest import PASSWORD, WALLET, Home
from wallet import Keystore
from wallet.addresses import to_checksum
from wallet.contacts import Contact, Contacts
from wallet.files import read_json
from wallet.keys import decrypt
from wallet.mnemonics import derive_key


class Terminal:
    """A command on a pseudo-terminal, and the person before it."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self._pid, self._descriptor = pid, descriptor
        self.screen = ""
        self._read_to = 0
        self._status: int | None = None

    def expect(self, pattern: str) -> None:
        """Wait until the pattern shows up after all that was expected before."""
        while True:
            found = re.search(pattern, self.screen[self._read_to :])
            if found:
                self._read_to += found.end()
                return
            assert self._read(), f"{pattern!r} never came:\n{self.screen}"

    def type(self, line: str) -> None:
        os.write(self._descriptor, line.encode() + b"\n")

    def press(self, key: bytes) -> None:
        os.write(self._descriptor, key)

    def exit_code(self, pressing: bytes = b"") -> int:
        """Wait for the end; `pressing` a key again and again, as people do until it counts.

        (An interrupt that arrives as Python is about to read from the terminal waits for the next
        key.)
        """
        while self._read(timeout=1 if pressing else 60, pressing=pressing):
            pass
        self._status = os.waitpid(self._pid, 0)[1]
        return os.waitstatus_to_exitcode(self._status)

    def close(self) -> None:
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._descriptor)

    def _read(self, timeout: float = 60, pressing: bytes = b"") -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], timeout)
        try:
            if not ready and pressing:
                os.write(self._descriptor, pressing)
                return True
            text = os.read(self._descriptor, 65_536) if ready else b""
        except OSError:  # how Linux says that the other side is closed
            text = b""
        self.screen += text.decode()
        return bool(text)


@contextmanager
def terminal(*command: str) -> Iterator[Terminal]:
    pid, descriptor = pty.fork()
    if pid == 0:
        # A test run in the background of a shell ignores interrupts, and so would the command.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(command[0], command)  # the child never returns
    screen = Terminal(pid, descriptor)
    try:
        yield screen
    finally:
        screen.close()


def test_a_new_recipient_is_typed_confirmed_and_paid(platform: Platform, home: Home) -> None:
    to = platform.member().address
    with terminal(*home.command("send", to, "12.50", "--memo", "tea")) as screen:
        screen.expect(r"From     main .* balance 100\.00 → 87\.50 PLZ")
        screen.expect(re.escape(to) + r"  \(first payment to this address\)")
        screen.expect(r"Amount   12\.50 PLZ    Memo  tea \(public\)")
        screen.expect(r"Network  plaza \(chain 4242\)   Simulation  OK   Nonce  0")
        screen.expect("last 4 characters")
        screen.type(to[-4:])
        screen.expect(r"Send\? \[y/N\]")
        screen.type("y")
        screen.expect("Password for main")
        screen.type(PASSWORD)
        screen.expect(r"Sent 0x[0-9a-f]{64}")
        screen.expect(r"Confirmed in block \d+")
        assert screen.exit_code() == 0
        assert PASSWORD not in screen.screen
    assert platform.balance(to) == 12_500_000


def test_the_wrong_last_characters_send_nothing(platform: Platform, home: Home) -> None:
    to = platform.member().address
    with terminal(*home.command("send", to, "1")) as screen:
        screen.expect("last 4 characters")
        screen.type("zzzz")
        assert screen.exit_code() == 3
    assert platform.balance(to) == 0


def test_yes_does_not_answer_for_a_new_recipient(platform: Platform, home: Home) -> None:
    with terminal(*home.command("send", platform.member().address, "1", "--yes")) as screen:
        screen.expect("last 4 characters")
        assert screen.exit_code(pressing=b"\x03") == 3  # Ctrl-C


@pytest.mark.parametrize("answer", ["n", "", "no"])
def test_anything_but_yes_declines(platform: Platform, home: Home, answer: str) -> None:
    to = platform.member().address
    with terminal(*home.command("send", to, "1", "--allow-new-recipient")) as screen:
        screen.expect(r"Send\? \[y/N\]")
        screen.type(answer)
        assert screen.exit_code() == 3
    assert (platform.balance(to), platform.transaction_count(home.account.address)) == (0, 0)


def test_a_wrong_password_ends_it(platform: Platform, home: Home) -> None:
    to = platform.member().address
    with terminal(*home.command("send", to, "1", "--allow-new-recipient", "--yes")) as screen:
        screen.expect("Password for main")
        screen.type("not the password")
        screen.expect("wrong password")
        assert screen.exit_code() == 4
    assert platform.balance(to) == 0


def test_an_address_that_looks_like_one_paid_before_is_warned_of(
    platform: Platform, home: Home
) -> None:
    known = platform.member().address
    assert home.confirmed("send", known, "1", "--allow-new-recipient").code == 0
    middle = "".join("0" if digit != "0" else "1" for digit in known[6:-4].lower())
    poison = platform.web3.to_checksum_address(known[:6].lower() + middle + known[-4:].lower())
    platform.admit(poison)
    with terminal(*home.command("send", poison, "1")) as screen:
        screen.expect(r"Warning  .* begins and ends like " + known)
        screen.expect("last 4 characters")
        screen.press(b"\x04")  # end of input
        assert screen.exit_code() == 3


def test_a_purchase_is_paid_and_confirmed(platform: Platform, home: Home, bridge: Bridge) -> None:
    home.add_network(bridge.manifest)
    seller = platform.member(kinds=SELLER).address
    bridge.requests["pur_1"] = platform.request(
        platform.terms(home.account.address, seller), purchase_id="pur_1"
    )
    with terminal(*home.command("pay", "pur_1")) as screen:
        screen.expect("Seller   " + seller)
        screen.expect(r"Pay\? \[y/N\]")
        screen.type("y")
        screen.expect("Password for main")
        screen.type(PASSWORD)
        screen.expect("Confirmed in block")
        assert screen.exit_code() == 0
    with terminal(*home.command("purchase", "confirm", "pur_1")) as screen:
        screen.expect(r"12\.1875 to the seller, 0\.3125 fee")
        screen.expect(r"Release to the seller\? \[y/N\]")
        screen.type("y")
        screen.expect("Password for main")
        screen.type(PASSWORD)
        screen.expect("Confirmed in block")
        assert screen.exit_code() == 0
    assert platform.balance(seller) == 12_187_500


def test_a_new_password_is_asked_twice(tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    with terminal(WALLET, "key", "new", "main", "--random", "--home", home) as screen:
        screen.expect("New password for main")
        screen.type(PASSWORD)
        screen.expect("Repeat")
        screen.type("something else")
        screen.expect("do not match")
        screen.expect("New password for main")
        screen.type(PASSWORD)
        screen.expect("Repeat")
        screen.type(PASSWORD)
        screen.expect("Key main: 0x")
        assert screen.exit_code() == 0
    assert len(Keystore(tmp_path / "home").unlock("main", PASSWORD)) == 32


def type_new_password(screen: Terminal, password: str = PASSWORD) -> None:
    screen.expect("New password for")
    screen.type(password)
    screen.expect("Repeat")
    screen.type(password)


def read_words(screen: Terminal) -> str:
    """The words on the screen, in the order of their numbers."""
    screen.expect("These 24 words are the key")
    screen.expect("Press Enter")
    shown = screen.screen.partition("shown this once")[2]
    words = {int(number): word for number, word in re.findall(r"(\d+) ([a-z]+)", shown)}
    assert sorted(words) == list(range(1, 25))
    return " ".join(words[number] for number in sorted(words))


ASIDE, BACK = re.escape("\x1b[?1049h"), re.escape("\x1b[2J\x1b[H\x1b[?1049l")


def test_words_are_shown_once_and_typed_again_before_there_is_a_key(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with terminal(WALLET, "key", "new", "main", "--home", str(home)) as screen:
        type_new_password(screen)
        screen.expect(ASIDE)
        words = read_words(screen)
        screen.type("")
        screen.expect(BACK)
        screen.expect(ASIDE)
        screen.expect("Type the 24 words")
        assert not home.exists(), "no key before its backup"
        wrong = words.split()
        wrong[6] = "zoo" if wrong[6] != "zoo" else "abandon"
        screen.type(" ".join(wrong))
        screen.expect(r"Not the same: 7\.")
        screen.type(" ".join(words.split()[:23]))
        screen.expect("there are 23 words")
        screen.type("  " + words.upper())
        screen.expect(BACK)
        screen.expect("Key main: 0x")
        assert screen.exit_code() == 0
    keystore = Keystore(home)
    assert keystore.unlock("main", PASSWORD) == derive_key(words)
    origin = keystore.origin(keystore.get("main"))
    assert origin.kind == "mnemonic"
    assert origin.backup_verified_at is not None
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert not [word for word in words.split() if len(word) > 7 and word.encode() in kept]


def test_words_that_are_never_typed_again_make_no_key(tmp_path: Path) -> None:
    with terminal(WALLET, "key", "new", "main", "--home", str(tmp_path / "home")) as screen:
        type_new_password(screen)
        read_words(screen)
        screen.type("")
        for _ in range(3):
            screen.expect("Type the 24 words")
            screen.type("I have them, believe me")
            screen.expect("Not the same")
        screen.expect("no key was made")
        assert screen.exit_code() == 3
    assert not (tmp_path / "home").exists()


def test_an_interrupt_leaves_no_words_on_the_screen(tmp_path: Path) -> None:
    with terminal(WALLET, "key", "new", "main", "--home", str(tmp_path / "home")) as screen:
        type_new_password(screen)
        read_words(screen)
        assert screen.exit_code(pressing=b"\x03") == 3
        assert screen.screen.rpartition("\x1b[?1049l")[0].endswith("\x1b[2J\x1b[H")
        assert "Press Enter" not in screen.screen.rpartition("\x1b[?1049l")[2]
    assert not (tmp_path / "home").exists()


WORDS = "test test test test test test test test test test test junk"


def test_words_and_a_passphrase_are_asked_for_and_asked_again_as_a_backup(tmp_path: Path) -> None:
    home = ("--home", str(tmp_path / "home"))
    new = terminal(WALLET, "key", "import", "main", "--mnemonic", "--passphrase", *home)
    with new as screen:
        screen.expect("BIP-39 passphrase")
        screen.type("open sesame")
        screen.expect("Repeat")
        screen.type("open sesame")
        screen.expect("Type the words")
        screen.type(WORDS)
        type_new_password(screen)
        screen.expect("Key main: 0x")
        assert screen.exit_code() == 0
        assert "sesame" not in screen.screen
    keystore = Keystore(tmp_path / "home")
    assert keystore.unlock("main", PASSWORD) == derive_key(WORDS, passphrase="open sesame")

    with terminal(WALLET, "key", "verify-backup", "main", *home) as screen:
        screen.expect("BIP-39 passphrase")
        screen.type("open sesame")
        screen.expect("Type the words")
        screen.type(WORDS)
        screen.expect("The backup brings back main")
        assert screen.exit_code() == 0
    assert keystore.origin(keystore.get("main")).backup_verified_at is not None


def test_a_password_is_changed_and_a_copy_gets_its_own(tmp_path: Path, keystore: Keystore) -> None:
    keystore.create("main", b"\x01" * 32, PASSWORD)
    home = ("--home", str(tmp_path / "home"))
    with terminal(WALLET, "key", "passwd", "main", *home) as screen:
        screen.expect("Password for main")
        screen.type(PASSWORD)
        type_new_password(screen, "another password")
        screen.expect("is changed")
        assert screen.exit_code() == 0
    assert keystore.unlock("main", "another password") == b"\x01" * 32
    with terminal(WALLET, "key", "export", "main", str(tmp_path / "copy"), *home) as screen:
        screen.expect("Password for main")
        screen.type("another password")
        screen.expect("New password for copy")
        screen.type("a third password")
        screen.expect("Repeat")
        screen.type("a third password")
        screen.expect("Encrypted in")
        assert screen.exit_code() == 0
    assert decrypt(read_json(tmp_path / "copy"), "a third password") == b"\x01" * 32


def test_a_key_is_removed_only_by_its_name_typed(tmp_path: Path, keystore: Keystore) -> None:
    keystore.create("main", b"\x01" * 32, PASSWORD)
    rm = (WALLET, "key", "rm", "main", "--without-backup", "--yes", "--home")
    for typed, code in (("y", 3), ("main", 0)):
        with terminal(*rm, str(tmp_path / "home")) as screen:
            screen.expect("Backup   not verified")
            screen.expect("Type the key's name")
            screen.type(typed)
            assert screen.exit_code() == code
        assert keystore.names() == ([] if typed == "main" else ["main"])


def test_what_is_signed_is_shown_and_confirmed(tmp_path: Path, keystore: Keystore) -> None:
    key = keystore.create("main", b"\x01" * 32, PASSWORD)
    sign = (WALLET, "sign", "--message", "I am\nhere", "--home", str(tmp_path / "home"))
    with terminal(*sign) as screen:
        screen.expect("From     main     " + key.address)
        screen.expect(re.escape('Message  "I am\\nhere"'))
        screen.expect(r"Sign\? \[y/N\]")
        screen.type("n")
        assert screen.exit_code() == 3
        assert "0x" not in screen.screen.partition("Message")[2]
    with terminal(*sign) as screen:
        screen.expect(r"Sign\? \[y/N\]")
        screen.type("y")
        screen.expect("Password for main")
        screen.type(PASSWORD)
        screen.expect("Signature 0x[0-9a-f]{130}")
        assert screen.exit_code() == 0


def test_a_private_key_is_asked_for_unseen(tmp_path: Path) -> None:
    digits = "ab" * 32
    with terminal(WALLET, "key", "import", "main", "--home", str(tmp_path / "home")) as screen:
        screen.expect("Private key")
        screen.type(digits)
        screen.expect("New password for main")
        screen.type(PASSWORD)
        screen.expect("Repeat")
        screen.type(PASSWORD)
        assert screen.exit_code() == 0
        assert digits not in screen.screen
    assert Keystore(tmp_path / "home").unlock("main", PASSWORD).hex() == digits


def test_a_contact_is_stored_and_replaced_after_looking(tmp_path: Path) -> None:
    bob, eve = (to_checksum("0x" + digits * 20) for digits in ("b0", "e1"))
    add = (WALLET, "contact", "add", "--home", str(tmp_path))
    contacts = Contacts(tmp_path)
    with terminal(*add, "bob", bob) as screen:
        assert screen.exit_code() == 0
    for answer, code in (("", 3), ("y", 0)):
        with terminal(*add, "b0b", eve, "--yes") as screen:
            screen.expect("Warning  'b0b' can be taken for your contact 'bob', " + bob)
            screen.expect(r"Store it all the same\? \[y/N\]")
            screen.type(answer)
            assert screen.exit_code() == code
        assert len(contacts.all()) == (2 if answer else 1)
    contacts.remove("b0b")
    for answer, code, address in (("n", 3, bob), ("y", 0, eve)):
        with terminal(*add, "bob", eve, "--replace") as screen:
            screen.expect(f"Old      {bob}\r\nNew      {eve}")
            screen.expect(r"Replace bob\? \[y/N\]")
            screen.type(answer)
            assert screen.exit_code() == code
        assert contacts.get("bob").address == address


def test_a_contact_never_paid_before_is_typed_too(platform: Platform, home: Home) -> None:
    to = platform.member().address
    Contacts(home.path).add(Contact("bob", to))
    with terminal(*home.command("send", "bob", "1")) as screen:
        screen.expect(f"To       bob     {to}  " + re.escape("(your contact, first payment"))
        screen.expect("last 4 characters")
        screen.type(to[-4:])
        screen.expect(r"Send\? \[y/N\]")
        screen.type("y")
        screen.expect("Password for main")
        screen.type(PASSWORD)
        screen.expect("Confirmed in block")
        assert screen.exit_code() == 0
    assert platform.balance(to) == 1_000_000


def test_a_request_is_paid_by_its_id(platform: Platform, home: Home, bridge: Bridge) -> None:
    home.add_network(bridge.manifest)
    to = platform.member().address
    request = platform.payment_request(to)
    bridge.requests[request["id"]] = request
    for typed, code in (("zzzz", 3), (to[-4:], 0)):
        with terminal(*home.command("pay", request["id"])) as screen:
            screen.expect(f"To       {to}  " + re.escape("(first payment to this address)"))
            screen.expect(re.escape("Shop     Demo shop (so says the bridge)"))
            screen.expect("last 4 characters")
            screen.type(typed)
            if code == 0:
                screen.expect(r"Pay\? \[y/N\]")
                screen.type("y")
                screen.expect("Password for main")
                screen.type(PASSWORD)
                screen.expect("Confirmed in block")
            assert screen.exit_code() == code
        assert platform.balance(to) == (0 if code else 12_500_000)


def test_a_uri_is_paid_after_the_same_questions(platform: Platform, home: Home) -> None:
    to = platform.member().address
    uri = f"ethereum:{platform.coin.address}@4242/transfer?address={to}&uint256=12500000"
    with terminal(*home.command("pay", uri)) as screen:
        screen.expect(f"To       {to}  " + re.escape("(first payment to this address)"))
        screen.expect("last 4 characters")
        screen.type(to[-4:])
        screen.expect(r"Send\? \[y/N\]")
        screen.type("y")
        screen.expect("Password for main")
        screen.type(PASSWORD)
        screen.expect("Confirmed in block")
        assert screen.exit_code() == 0
    assert platform.balance(to) == 12_500_000
