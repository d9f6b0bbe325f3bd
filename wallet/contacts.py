"""Contacts: names for other people's addresses, in one private file of the wallet's home.

A name is either a key's or a contact's, and an address has one name, so what a name stands for is
never a question. What can be taken for something else, a name or an address, is found here too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wallet.addresses import ZERO_ADDRESS, is_address, look_alike, parse_address
from wallet.errors import AlreadyExists, InvalidInput, Refused, UnknownName, WalletError
from wallet.files import checked_name, private_folder, read_json, sync_folder, write_private
from wallet.keys import Keystore

FILE_VERSION = 1
MAX_NOTE = 200  # characters
LOCK_SECONDS = 10.0  # how long another process may be writing

_FIELDS = {"address": str, "note": str, "added_at": int}

# What is read for something else at a glance. Letters first: "rn" may be spelled "r" and "n" only.
_LETTERS = str.maketrans({"1": "l", "i": "l", "0": "o", "5": "s", "8": "b", "-": "", "_": ""})
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))


@dataclass(frozen=True)
class Contact:
    """A name for an address. `added_at` is unix seconds; `note` is the owner's own, never sent."""

    name: str
    address: str
    note: str = ""
    added_at: int = 0


@dataclass(frozen=True)
class Party:
    """An address, and what it is called here: as one's own key, as a contact, or not at all."""

    address: str
    name: str | None = None
    is_own: bool = False

    @property
    def title(self) -> str:
        """As people call it, as in "your contact 'bob'"."""
        if self.name is None:
            return self.address
        return f"your {'own key' if self.is_own else 'contact'} {self.name!r}"


class Contacts:
    """The contacts in a wallet's home."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file = home / "contacts.json"

    # -------------------------------------------------------------------- reading

    def all(self) -> list[Contact]:
        """Return all contacts, by name.

        Raises:
            InvalidInput: the file is damaged, or others may read it.
        """
        if not self._file.exists():
            return []
        if self._file.stat().st_mode & 0o077:
            raise InvalidInput(f"others may read {self._file}: close it with chmod 600")
        content = read_json(self._file)
        if content.get("version") != FILE_VERSION:
            raise InvalidInput(
                f"{self._file} has version {content.get('version')!r}, "
                f"this wallet reads {FILE_VERSION}"
            )
        entries = content.get("contacts")
        if not isinstance(entries, dict):
            raise InvalidInput(f"{self._file} holds no contacts")
        return [self._read_entry(name, entries[name]) for name in sorted(entries)]

    def find(self, name: str) -> Contact | None:
        """Return the contact of a name, None if there is none.

        Raises:
            InvalidInput: the name cannot be one, or the file is damaged; the checksum of the
                address is looked at.
        """
        checked_name(name, "contact")
        found = next((contact for contact in self.all() if contact.name == name), None)
        if found is not None and parse_address(found.address) != found.address:
            raise InvalidInput(f"{self._file}: the address of {name!r} is not in its checksum")
        return found

    def get(self, name: str) -> Contact:
        """Return the contact of a name. Raises UnknownName, or as `find`."""
        found = self.find(name)
        if found is None:
            known = ", ".join(contact.name for contact in self.all()) or "none"
            raise UnknownName(f"no contact {name!r} (there are: {known})")
        return found

    # -------------------------------------------------------------------- changing

    def add(self, contact: Contact, replacing: Contact | None = None) -> Contact:
        """Store a contact.

        Args:
            replacing: the contact of that name as it was shown to who agreed to lose it.

        Raises:
            InvalidInput: name, address or note cannot be one, or the address is nobody's.
            AlreadyExists: there is a contact or key of that name, or the address has a name.
            Refused: the contact to be replaced is no longer what was shown.
        """
        contact = check_contact(contact)
        with self._changing() as contacts:
            self._require_no_key(contact)
            present = contacts.get(contact.name)
            if present != replacing:
                if replacing is None and present is not None:
                    raise AlreadyExists(
                        f"there is a contact {present.name!r} already, {present.address}: "
                        "replace it with --replace"
                    )
                raise Refused(f"the contact {contact.name!r} was changed meanwhile: look again")
            self._require_unnamed(contact, contacts)
            contacts[contact.name] = contact
        return contact

    def rename(self, name: str, new_name: str) -> Contact:
        """Give a contact another name.

        Raises:
            UnknownName: there is no such contact.
            InvalidInput, AlreadyExists: as `add`.
        """
        checked_name(new_name, "contact")
        with self._changing() as contacts:
            if name not in contacts:
                raise UnknownName(f"no contact {name!r}")
            old = contacts[name]
            renamed = Contact(new_name, old.address, old.note, old.added_at)
            self._require_no_key(renamed)
            if new_name in contacts:
                raise AlreadyExists(
                    f"there is a contact {new_name!r} already, {contacts[new_name].address}"
                )
            del contacts[name]
            contacts[new_name] = renamed
        return renamed

    def remove(self, name: str) -> Contact:
        """Forget a contact, and return it. Raises UnknownName."""
        with self._changing() as contacts:
            if name not in contacts:
                raise UnknownName(f"no contact {name!r}")
            return contacts.pop(name)

    def find_like_names(self, name: str, renamed: str | None = None) -> list[str]:
        """Say which names of keys and contacts a name could be taken for.

        Args:
            renamed: a contact that is not asked about, because it is to get the name.
        """
        return [
            f"{name!r} can be taken for {other.title}, {other.address}"
            for other in known_parties(self._home).values()
            if other.name is not None
            and (other.is_own or other.name != renamed)
            and is_confusable(name, other.name)
        ]

    def find_like_addresses(self, address: str) -> list[str]:
        """Say which addresses of keys and contacts have the same ends and are others."""
        return [
            f"{address} begins and ends like {other.address}, {other.title}, and is another address"
            for other in known_parties(self._home).values()
            if look_alike(address, other.address)
        ]

    # -------------------------------------------------------------------- helpers

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Contact]]:
        """Yield all contacts to change; nobody else writes meanwhile, and readers never wait."""
        from filelock import FileLock, Timeout  # noqa: PLC0415  # only to write

        private_folder(self._home)
        try:
            with FileLock(self._home / ".contacts.lock", timeout=LOCK_SECONDS, mode=0o600):
                contacts = {contact.name: contact for contact in self.all()}
                yield contacts
                self._write(contacts)
        except Timeout as error:
            raise WalletError(
                f"another program has kept {self._file} locked for {LOCK_SECONDS:g} seconds"
            ) from error

    def _write(self, contacts: Mapping[str, Contact]) -> None:
        entries = {}
        for name in sorted(contacts):
            entries[name] = asdict(contacts[name])
            del entries[name]["name"]
        text = json.dumps({"version": FILE_VERSION, "contacts": entries}, indent=2) + "\n"
        temporary = self._home / f".contacts.{os.urandom(8).hex()}.new"
        try:
            write_private(temporary, text).replace(self._file)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(self._home)

    def _read_entry(self, name: str, entry: Any) -> Contact:
        if not isinstance(entry, dict) or set(entry) != set(_FIELDS):
            raise InvalidInput(
                f"{self._file}: {name!r} must have exactly the fields {', '.join(_FIELDS)}"
            )
        for field, kind in _FIELDS.items():
            if type(entry[field]) is not kind:
                raise InvalidInput(f"{self._file}: the {field} of {name!r} is {entry[field]!r}")
        # The checksum is looked at by who uses the address; reading commands hash nothing.
        if not is_address(entry["address"]):
            raise InvalidInput(f"{self._file}: the address of {name!r} is {entry['address']!r}")
        return Contact(checked_name(name, "contact"), **entry)

    def _require_no_key(self, contact: Contact) -> None:
        keystore = Keystore(self._home)
        for name in keystore.names():
            if name == contact.name:
                raise AlreadyExists(f"{name!r} is the name of a key")
            if keystore.get(name).address == contact.address:
                raise AlreadyExists(f"{contact.address} is your own key {name!r}")

    def _require_unnamed(self, contact: Contact, contacts: Mapping[str, Contact]) -> None:
        for other in contacts.values():
            if other.address == contact.address and other.name != contact.name:
                raise AlreadyExists(
                    f"{contact.address} is your contact {other.name!r} already, and an address has "
                    "one name: change it with `wallet contact rename`"
                )


# ------------------------------------------------------------------------------- finding


def find_party(home: Path, name_or_address: str) -> Party:
    """Return the address that a name or an address stands for, and its name here.

    Raises:
        InvalidInput: neither a name nor an address; or, after changes by hand, a name of two.
        UnknownName: no key or contact has the name.
    """
    if is_address(name_or_address) or name_or_address.startswith("0x"):
        return name_party(home, parse_address(name_or_address))
    keystore, contacts = Keystore(home), Contacts(home)
    name = checked_name(name_or_address, "key or contact")
    contact, is_key = contacts.find(name), name in keystore.names()
    if contact is not None and is_key:
        raise InvalidInput(f"{name!r} names both a key and a contact: `wallet contact rename` it")
    if contact is not None:
        return Party(contact.address, name)
    if is_key or not contacts.all():
        return Party(keystore.get(name).address, name, is_own=True)
    raise UnknownName(
        f"no key or contact {name!r} (keys: {', '.join(keystore.names()) or 'none'}; "
        f"contacts: {', '.join(contact.name for contact in contacts.all())})"
    )


def name_party(home: Path, address: str) -> Party:
    """Return what a checksummed address is called here."""
    return known_parties(home).get(address, Party(address))


def known_parties(home: Path) -> dict[str, Party]:
    """Return all keys and contacts, by address."""
    keystore = Keystore(home)
    parties = [Party(contact.address, contact.name) for contact in Contacts(home).all()]
    parties += [Party(keystore.get(name).address, name, is_own=True) for name in keystore.names()]
    return {party.address: party for party in parties}


def check_contact(contact: Contact) -> Contact:
    """Return a contact with its address in its checksum.

    Raises:
        InvalidInput: the name, address or note cannot be one, or the address is nobody's.
    """
    checked_name(contact.name, "contact")
    address = parse_address(contact.address)
    if address == ZERO_ADDRESS:
        raise InvalidInput(f"{address} is the zero address: nobody has it")
    if len(contact.note) > MAX_NOTE or not contact.note.isprintable():
        raise InvalidInput(f"a note is one line of up to {MAX_NOTE} printable characters")
    return Contact(contact.name, address, contact.note, contact.added_at)


def is_confusable(name: str, other: str) -> bool:
    """Whether one name can be taken for another: one edit apart, or alike at a glance."""
    return name != other and (_appearance(name) == _appearance(other) or _one_edit(name, other))


def _appearance(name: str) -> str:
    name = name.translate(_LETTERS)
    for pair, looks_like in _PAIRS:
        name = name.replace(pair, looks_like)
    return name


def _one_edit(name: str, other: str) -> bool:
    """Whether a character too many, too few or wrong, or two swapped ones, are the difference."""
    short, long = sorted((name, other), key=len)
    start = 0
    while start < len(short) and short[start] == long[start]:
        start += 1
    if len(long) == len(short) + 1:
        return short[start:] == long[start + 1 :]
    if len(long) != len(short):
        return False
    swapped = short[start : start + 2] == long[start : start + 2][::-1]
    return short[start + 1 :] == long[start + 1 :] or (
        swapped and short[start + 2 :] == long[start + 2 :]
    )
