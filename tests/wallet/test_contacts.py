"""Contacts: what they are called, what they can be taken for, and where their names are taken."""

from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from tests.wallet.chain import COIN, SELLER, Platform
from tests.wallet.conftest import FAST_SCRYPT, PASSWORD, Home
from wallet import Keystore
from wallet.addresses import ZERO_ADDRESS, to_checksum
from wallet.contacts import Contact, Contacts, find_party, is_confusable
from wallet.errors import AlreadyExists, InvalidInput, Refused, UnknownName

NEW = "--allow-new-recipient"
BOB = to_checksum("0x" + "b0" * 20)
EVE = to_checksum("0x" + "e1" * 20)


def like(address: str) -> str:
    """Another address that begins and ends as this one does."""
    middle = "".join("0" if digit != "0" else "1" for digit in address[6:-4])
    return to_checksum((address[:6] + middle + address[-4:]).lower())


@pytest.fixture
def contacts(tmp_path: Path) -> Contacts:
    return Contacts(tmp_path / "home")


# ------------------------------------------------------------------------ the library


def test_a_contact_is_kept_privately_and_found(contacts: Contacts, tmp_path: Path) -> None:
    contacts.add(Contact("bob", BOB.lower(), "the baker", 1_800_000_000))
    assert Contacts(tmp_path / "home").get("bob") == Contact("bob", BOB, "the baker", 1_800_000_000)
    file = tmp_path / "home" / "contacts.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((file.parent / ".contacts.lock").stat().st_mode) == 0o600
    assert sorted(path.name for path in file.parent.iterdir()) == [
        ".contacts.lock",
        "contacts.json",
    ]


def test_nothing_is_replaced_but_what_was_shown(contacts: Contacts) -> None:
    bob = contacts.add(Contact("bob", BOB))
    with pytest.raises(AlreadyExists, match=f"a contact 'bob' already, {BOB}"):
        contacts.add(Contact("bob", EVE))
    contacts.add(Contact("bob", EVE), replacing=bob)
    with pytest.raises(Refused, match="changed meanwhile"):
        contacts.add(Contact("bob", BOB), replacing=bob)
    contacts.remove("bob")
    with pytest.raises(Refused, match="changed meanwhile"):
        contacts.add(Contact("bob", BOB), replacing=Contact("bob", EVE))
    assert contacts.all() == []


def test_an_address_has_one_name(contacts: Contacts) -> None:
    contacts.add(Contact("bob", BOB))
    with pytest.raises(AlreadyExists, match="is your contact 'bob' already"):
        contacts.add(Contact("robert", BOB))


def test_a_contact_has_no_keys_name_and_no_keys_address(
    contacts: Contacts, keystore: Keystore
) -> None:
    key = keystore.create("main", b"\x01" * 32, PASSWORD)
    with pytest.raises(AlreadyExists, match="'main' is the name of a key"):
        contacts.add(Contact("main", BOB))
    with pytest.raises(AlreadyExists, match="is your own key 'main'"):
        contacts.add(Contact("me", key.address))
    contacts.add(Contact("bob", BOB))
    with pytest.raises(AlreadyExists, match="'main' is the name of a key"):
        contacts.rename("bob", "main")
    with pytest.raises(AlreadyExists, match=f"'bob' is the name of a contact, {BOB}"):
        keystore.create("bob", b"\x02" * 32, PASSWORD)
    assert keystore.names() == ["main"]


def test_a_contact_is_renamed_and_removed(contacts: Contacts) -> None:
    contacts.add(Contact("bob", BOB, "the baker", 7))
    contacts.add(Contact("eve", EVE))
    with pytest.raises(AlreadyExists, match="'eve' already"):
        contacts.rename("bob", "eve")
    assert contacts.rename("bob", "robert") == Contact("robert", BOB, "the baker", 7)
    with pytest.raises(UnknownName, match=r"no contact 'bob' \(there are: eve, robert\)"):
        contacts.get("bob")
    assert contacts.remove("robert").address == BOB
    for gone in (contacts.remove, contacts.get):
        with pytest.raises(UnknownName, match="no contact 'robert'"):
            gone("robert")
    with pytest.raises(UnknownName):
        contacts.rename("robert", "bob")


@pytest.mark.parametrize(
    ("contact", "message"),
    [
        (Contact("Bob", BOB), "cannot name a contact"),
        (Contact("0xb0b", BOB), "cannot name a contact"),
        (Contact("bob", BOB[:-1]), "is not an address"),
        (Contact("bob", BOB[:-2] + BOB[-2:].swapcase()), "bad checksum"),
        (Contact("bob", ZERO_ADDRESS), "the zero address"),
        (Contact("bob", BOB, "x" * 201), "up to 200"),
        (Contact("bob", BOB, "two\nlines"), "one line"),
        (Contact("bob", BOB, "\x1b[2J"), "printable"),
    ],
)
def test_what_cannot_be_a_contact(contacts: Contacts, contact: Contact, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        contacts.add(contact)
    assert contacts.all() == []


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"version": 2, "contacts": {}}',
        '{"version": 1}',
        '{"version": 1, "contacts": {"bob": {"address": "0x1", "note": "", "added_at": 1}}}',
        '{"version": 1, "contacts": {"bob": {"address": 1, "note": "", "added_at": 1}}}',
        '{"version": 1, "contacts": {"bob": {"note": "", "added_at": 1}}}',
        '{"version": 1, "contacts": {"../b": {"address": "0x'
        + "b0" * 20
        + '", "note": "", "added_at": 1}}}',
    ],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(
    contacts: Contacts, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "home" / "contacts.json"
    file.parent.mkdir()
    file.touch(0o600)
    file.write_text(content)
    with pytest.raises(InvalidInput, match=r"contacts\.json|cannot name"):
        contacts.all()
    with pytest.raises(InvalidInput):
        contacts.add(Contact("eve", EVE))
    assert file.read_text() == content


def test_a_wrong_digit_in_the_file_is_noticed_before_it_is_paid(
    contacts: Contacts, tmp_path: Path
) -> None:
    contacts.add(Contact("bob", BOB))
    file = tmp_path / "home" / "contacts.json"
    file.write_text(file.read_text().replace(BOB, BOB[:-1] + "1"))
    with pytest.raises(InvalidInput, match="bad checksum"):
        find_party(tmp_path / "home", "bob")
    file.write_text(file.read_text().replace(BOB[:-1] + "1", "0x" + "c2" * 20))
    with pytest.raises(InvalidInput, match="not in its checksum"):
        find_party(tmp_path / "home", "bob")


def test_a_file_that_others_may_read_is_refused(contacts: Contacts, tmp_path: Path) -> None:
    contacts.add(Contact("bob", BOB))
    (tmp_path / "home" / "contacts.json").chmod(0o644)
    with pytest.raises(InvalidInput, match="chmod 600"):
        contacts.all()


def add_some(home: Path, start: int) -> None:
    for number in range(start, start + 10):
        Contacts(home).add(Contact(f"c{number}", to_checksum(f"0x{number:040x}")))


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=add_some, args=(tmp_path, start)) for start in (100, 200, 300)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(Contacts(tmp_path).all()) == 30


def test_a_name_of_two_things_is_not_guessed_at(
    contacts: Contacts, keystore: Keystore, tmp_path: Path
) -> None:
    keystore.create("main", b"\x01" * 32, PASSWORD)
    contacts.add(Contact("bob", BOB))
    file = tmp_path / "home" / "contacts.json"
    file.write_text(file.read_text().replace('"bob"', '"main"'))
    with pytest.raises(InvalidInput, match="both a key and a contact"):
        find_party(tmp_path / "home", "main")


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("alice", "alise"),
        ("alice", "alce"),
        ("alice", "allice"),
        ("alice", "alicee"),
        ("alice", "aliec"),
        ("alice", "a1ice"),
        ("alice", "ai1ce"),
        ("bob", "b0b"),
        ("bob-shop", "bobshop"),
        ("bob-shop", "bob_shop"),
        ("bob-shop", "b0b_sh0p"),
        ("marnie", "mamie"),
        ("eclair", "edair"),
        ("savvy", "sawy"),
        ("a-b-c", "abc"),
    ],
)
def test_names_that_can_be_taken_for_each_other(name: str, other: str) -> None:
    assert is_confusable(name, other)
    assert is_confusable(other, name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("alice", "alice"),
        ("alice", "bob"),
        ("alice", "alexis"),
        ("alice", "malices"),
        ("abcd", "badc"),
        ("ab", "ba1c"),
    ],
)
def test_names_that_cannot(name: str, other: str) -> None:
    assert not is_confusable(name, other)
    assert not is_confusable(other, name)


# ------------------------------------------------------------------------ the command


@pytest.fixture
def local(tmp_path: Path) -> Home:
    """A home with a key `main` that needs no chain."""
    home = Home(tmp_path / "local", Account.create(), tmp_path / "password")
    home.password_file.write_text(PASSWORD + "\n")
    home.add_key("main", home.account)
    return home


def add(home: Home, name: str, address: str, *flags: str) -> Any:
    return home.run("contact", "add", name, address, *flags, "--json")


def test_contacts_are_added_listed_shown_renamed_and_removed(local: Home) -> None:
    assert local.run("contact", "list").out.startswith("no contact yet")
    done = add(local, "bob", BOB.lower(), "--note", "the baker")
    assert done.code == 0, done.err
    bob = done.json
    assert (bob["name"], bob["address"], bob["note"]) == ("bob", BOB, "the baker")
    assert local.run("contact", "list", "--json").json == {"contacts": [bob]}
    assert local.run("contact", "list").out == f"bob  {BOB}  the baker\n"
    assert local.run("contact", "show", "bob", "--json").json == bob
    assert (
        f"Address  {BOB}\nNote     the baker\nAdded    20"
        in local.run("contact", "show", "bob").out
    )
    assert local.run("contact", "rename", "bob", "robert", "--json").json == {
        **bob,
        "name": "robert",
    }
    done = local.run("contact", "rm", "robert", "--json")
    assert done.json == {**bob, "name": "robert", "deleted": True}
    assert local.run("contact", "list", "--json").json == {"contacts": []}


def test_what_is_refused_when_added(local: Home) -> None:
    add(local, "bob", BOB)
    for name, address, code, message in (
        ("bob", EVE, 1, f"there is a contact 'bob' already, {BOB}: replace it with --replace"),
        ("main", EVE, 1, "'main' is the name of a key"),
        ("baker", BOB, 1, f"{BOB} is your contact 'bob' already"),
        ("me", local.account.address, 1, "is your own key 'main'"),
        ("eve", EVE[:-2] + EVE[-2:].swapcase(), 2, "has a bad checksum"),
        ("eve", ZERO_ADDRESS, 2, "the zero address"),
        ("Eve", EVE, 2, "cannot name a contact"),
    ):
        done = add(local, name, address, "--allow-look-alike")
        assert done.code == code, (name, done.err)
        assert message in done.json["error"]["message"]
    for verb in (("show", "eve"), ("rm", "eve"), ("rename", "eve", "evelyn")):
        done = local.run("contact", *verb, "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "not_found")
    assert [contact.name for contact in Contacts(local.path).all()] == ["bob"]


def test_a_contact_is_replaced_only_when_both_addresses_were_shown(local: Home) -> None:
    add(local, "bob", BOB)
    done = add(local, "bob", EVE, "--replace")
    assert done.code == 5
    assert "--yes" in done.err
    assert f"Old      {BOB}\nNew      {EVE}\n" in done.err
    assert Contacts(local.path).get("bob").address == BOB
    assert add(local, "bob", EVE, "--replace", "--yes").code == 0
    assert Contacts(local.path).get("bob").address == EVE


def test_a_name_that_can_be_taken_for_another_is_asked_about(local: Home) -> None:
    add(local, "marnie", BOB)
    done = add(local, "mamie", EVE, "--yes")
    assert done.code == 5
    assert f"'mamie' can be taken for your contact 'marnie', {BOB}" in done.err
    assert "--allow-look-alike" in done.json["error"]["message"]
    done = add(local, "ma1n", EVE, "--yes")
    assert "'ma1n' can be taken for your own key 'main'" in done.err
    assert add(local, "mamie", EVE, "--allow-look-alike").code == 0
    done = local.run("contact", "rename", "mamie", "marn1e", "--json")
    assert (done.code, done.json["error"]["code"]) == (5, "confirmation_required")
    # Its own old name is none to be taken for.
    assert local.run("contact", "rename", "marnie", "marnies", "--json").code == 0


def test_an_address_that_can_be_taken_for_another_is_asked_about(local: Home) -> None:
    add(local, "bob", BOB)
    for name, other, title in (
        ("baker", BOB, "your contact 'bob'"),
        ("wallet", local.account.address, "your own key 'main'"),
    ):
        done = add(local, name, like(other), "--yes")
        assert done.code == 5
        assert f"{like(other)} begins and ends like {other}, {title}, and is" in done.err
    # The very poisoning: the contact's own address, swapped for one like it.
    assert add(local, "bob", like(BOB), "--replace", "--yes").code == 5
    assert add(local, "baker", like(BOB), "--allow-look-alike").code == 0


def test_a_key_does_not_take_a_contacts_name(local: Home, tmp_path: Path) -> None:
    add(local, "bob", BOB)
    digits = tmp_path / "digits"
    digits.write_text("02" * 32)
    for verb in (("new", "bob", "--random"), ("import", "bob", "--private-key-file", str(digits))):
        done = local.confirmed("key", *verb, "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "already_exists"), done.err
        assert "'bob' is the name of a contact" in done.err
    assert Keystore(local.path, scrypt_n=FAST_SCRYPT).names() == ["main"]


# ------------------------------------------------------------------------- in other commands


def test_a_contact_is_paid_by_name_and_is_new_until_then(platform: Platform, home: Home) -> None:
    bob = platform.member()
    add(home, "bob", bob.address)
    done = home.confirmed("send", "bob", "2")
    assert done.code == 5
    assert "--allow-new-recipient" in done.err
    first = f"To       bob     {bob.address}  (your contact, first payment to this address)"
    assert first in done.out
    assert home.confirmed("send", "bob", "2", NEW).code == 0
    again = home.confirmed("send", bob.address, "3")
    assert again.code == 0, again.err
    assert f"To       bob     {bob.address}  (your contact, 1 earlier payment)" in again.out
    assert platform.balance(bob.address) == 5 * COIN

    history = home.run("history", "--with", "bob", "--json").json["movements"]
    assert [(m["amount"], m["counterparty_name"]) for m in history] == [
        ("3000000", "bob"),
        ("2000000", "bob"),
    ]
    assert f"{bob.address} (bob)" in home.run("history").out
    assert home.run("balance", "bob").out == "bob  5.00 PLZ\n"


def test_an_unknown_name_says_which_there_are(platform: Platform, home: Home) -> None:
    add(home, "bob", BOB)
    done = home.confirmed("send", "rob", "1")
    assert done.code == 2
    assert "no key or contact 'rob' (keys: main; contacts: bob)" in done.err


def test_a_batch_pays_contacts_by_name(platform: Platform, home: Home, tmp_path: Path) -> None:
    bob = platform.member()
    add(home, "bob", bob.address)
    file = tmp_path / "pay.csv"
    file.write_text("to,amount\nbob,1.50\nmain2,1\n")
    done = home.run("batch", "check", str(file), "--json")
    (problem,) = done.json["problems"]
    assert problem["problem"] == "no key or contact 'main2' (keys: main; contacts: bob)"
    file.write_text("to,amount\nbob,1.50\n")
    done = home.confirmed("batch", "pay", str(file), "--allow-new-recipients", "--json")
    assert done.code == 0, done.err
    assert platform.balance(bob.address) == 1_500_000


def test_a_batch_warns_of_an_address_like_a_contacts(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    bob = platform.member()
    add(home, "bob", bob.address)
    platform.admit(like(bob.address))
    file = tmp_path / "pay.csv"
    file.write_text(f"to,amount\n{like(bob.address)},1.50\n")
    done = home.confirmed("batch", "pay", str(file))
    assert done.code == 5
    warning = f"Warning  {like(bob.address)} begins and ends like {bob.address}, your contact 'bob'"
    assert warning in done.err


def test_a_signature_by_a_contact(platform: Platform, home: Home) -> None:
    bob = platform.member()
    add(home, "bob", bob.address)
    home.add_key("other", platform.member())
    signed = home.confirmed("sign", "--message", "hello", "--json").json["signature"]
    done = home.run("verify", signed, "--message", "hello", "--by", "bob", "--json")
    assert (done.code, done.json["by"], done.json["valid"]) == (1, bob.address, False)


def test_a_contacts_credit_line_is_repaid(rewound: Platform, home: Home) -> None:
    rewound.lend()
    seller = rewound.member(kinds=SELLER)
    rewound.line_of(seller, drawn=50 * COIN)
    add(home, "seller", seller.address)
    done = home.confirmed("credit", "repay", "20", "--for", "seller", "--json")
    assert done.code == 0, done.err
    assert done.json["intent"]["to"] == seller.address
    statement = home.run("credit", "statement", "seller", "--json").json
    assert statement["seller"] == seller.address


def test_an_address_like_a_contacts_is_warned_of(platform: Platform, home: Home) -> None:
    bob, savings = platform.member(), platform.member()
    add(home, "bob", bob.address)
    home.add_key("savings", savings)
    for known, title in (
        (bob.address, "your contact 'bob'"),
        (savings.address, "your own key 'savings'"),
    ):
        platform.admit(like(known))
        (warning,) = home.run("send", like(known), "1", "--dry-run", "--json").json["warnings"]
        assert warning == (
            f"{like(known)} begins and ends like {known}, {title}, and is another address"
        )


def test_a_steps_preview_names_the_contact(platform: Platform, home: Home, tmp_path: Path) -> None:
    bob = platform.member()
    add(home, "bob", bob.address)
    out = tmp_path / "tx.json"
    built = home.run("tx", "build", "send", "bob", "1", "--out", str(out))
    assert f"To       bob     {bob.address}" in built.out
    assert json.loads(out.read_text())["intent"]["to"] == bob.address
    # Never paid before, so its last characters count offline too.
    done = home.confirmed("tx", "sign", str(out), "--out", str(tmp_path / "signed.json"))
    assert done.code == 5
    assert "--allow-new-recipient" in done.err
