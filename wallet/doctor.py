"""Everything that could be wrong with a wallet, looked at without a password and without writing.

Each check yields what it finds, also where all is well; what it cannot look at is a problem too.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import stat
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from wallet.abi import encode_call
from wallet.accounts import read_account, read_words
from wallet.addresses import keccak, parse_address
from wallet.config import Config
from wallet.contacts import Contacts
from wallet.errors import InvalidInput, WalletError
from wallet.files import read_json
from wallet.inspection import OpenTransaction, journal_path, read_damage, read_open, read_version
from wallet.journal import SCHEMA_VERSION
from wallet.keys import KeyFile, Keystore, check_cost
from wallet.network_check import ENDPOINT, Finding, check_network
from wallet.networks import Network, Networks
from wallet.rpc import Rpc

LEFTOVER_SECONDS = 60  # a temporary file this old is nobody's any more
MEMBERSHIP_SECONDS = 30 * 86_400  # how long before its end a membership is warned of

# What signing needs, by the name it is imported by, and the name it is installed by.
_PACKAGES = {
    "eth_account": "eth-account",
    "eth_keyfile": "eth-keyfile",
    "coincurve": "coincurve",
    "Crypto": "pycryptodome",
    "tomlkit": "tomlkit",
}


def diagnose(
    home: Path, now: float, network: str | None = None, timeout: float = 3.0
) -> Iterator[Finding]:
    """Yield everything that is found, as it is found. It raises nothing and writes nothing.

    Args:
        now: this machine's time, unix seconds.
        network: where the keys' standing is looked up; the default network without one.
        timeout: seconds to wait for each answer of an endpoint.
    """
    if home.is_dir():
        yield from _check_home(home, now, network, timeout)
    else:
        yield Finding("folder", "warning", f"{home} is not there yet", "wallet key new main")
    yield from _guarded("packages", check_packages())


def _check_home(home: Path, now: float, network: str | None, timeout: float) -> Iterator[Finding]:
    yield from _guarded("folder", check_permissions(home))
    yield from _guarded("leftovers", check_leftovers(home, now))
    yield from _guarded("config", check_config(home))
    yield from _guarded("keys", check_keys(home))
    yield from _guarded("contacts", check_contacts(home))
    yield from _guarded("statements", check_statements(home))
    answering = yield from check_networks(home, now, timeout)
    yield from _guarded("journal", check_journal(home, answering, timeout))
    yield from _guarded("member", check_standing(home, answering, network, timeout))


def _guarded(check: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """A check that cannot go on is a finding, whatever stops it: the others are still of use."""
    try:
        yield from findings
    except (WalletError, OSError) as error:
        yield Finding(check, "problem", str(error), "the rest of this check was not done")
    except Exception as error:
        yield Finding(
            check,
            "problem",
            f"this cannot be looked at: {error!r}",
            "the rest of this check was not done",
        )


# ---------------------------------------------------------------------------------- files


def check_permissions(home: Path) -> Iterator[Finding]:
    """Look who may read and change the wallet's files."""
    found = False
    for path in (home, *sorted(home.rglob("*"))):
        finding = None if path.is_symlink() else _check_permission(home, path)
        if finding is not None:
            found = True
            yield finding
    if not found:
        yield Finding("folder", "ok", f"{home} is its owner's alone")


def _check_permission(home: Path, path: Path) -> Finding | None:
    status = path.stat()
    folder = stat.S_ISDIR(status.st_mode)
    advice = f"chmod {'700' if folder else '600'} {shlex.quote(str(path))}"
    if status.st_uid != os.getuid():
        return Finding(
            "folder", "problem", f"{path} belongs to another user", "find out why before you go on"
        )
    if status.st_mode & 0o022:
        return Finding("folder", "problem", f"others may change {path}", advice)
    if not status.st_mode & 0o077:
        return None
    if path == home / "contacts.json" or (path.parent == home / "keys" and path.suffix == ".json"):
        message = f"others may read {path}, so it is not used"
        return Finding("folder", "problem", message, advice)
    return Finding("folder", "warning", f"others may read {path}", advice)


def check_leftovers(home: Path, now: float) -> Iterator[Finding]:
    """Look for files that commands left when they were killed."""
    found = [
        path
        for path in sorted(home.rglob("*.new"))
        if path.is_file() and path.stat().st_mtime < now - LEFTOVER_SECONDS
    ]
    for path in found:
        yield Finding(
            "leftovers",
            "warning",
            f"{path} was left by a command that was interrupted",
            f"rm {shlex.quote(str(path))}",
        )
    if not found:
        yield Finding("leftovers", "ok", "none")


def check_config(home: Path) -> Iterator[Finding]:
    """Look whether the settings can be read."""
    config = Config(home)
    try:
        config.read()
    except InvalidInput as error:
        yield Finding("config", "problem", str(error), "mend it with an editor, or delete it")
        return
    yield Finding("config", "ok", str(config.path) if config.path.exists() else "all as usual")


def check_statements(home: Path) -> Iterator[Finding]:
    """Look whether what was said in disputes is still what was hashed."""
    paths = sorted((home / "statements").glob("*"))
    broken = [path for path in paths if "0x" + keccak(path.read_bytes()).hex() != path.stem]
    for path in broken:
        yield Finding(
            "statements",
            "problem",
            f"{path} is not what its name is the hash of: an arbiter would not believe it",
            "put back a copy of it, if it is of a dispute that is still open",
        )
    if not broken:
        yield Finding("statements", "ok", f"{len(paths)} as they were hashed" if paths else "none")


# ----------------------------------------------------------------------------------- keys


def check_keys(home: Path) -> Iterator[Finding]:
    """Look whether each key's file can be one, and whether its backup was ever tried."""
    keystore = Keystore(home)
    names = keystore.names()
    owners: dict[str, str] = {}
    for name in names:
        try:
            key = keystore.get(name)
            _check_keystore(key.path)
        except WalletError as error:
            advice = "put back its backup: wallet key import NAME --keystore FILE"
            if "chmod" in str(error):
                advice = f"chmod 600 {shlex.quote(str(home / 'keys' / f'{name}.json'))}"
            yield Finding("keys", "problem", f"{name}: {error}", advice)
            continue
        yield Finding("keys", "ok", f"{name}: {key.address}")
        if key.address in owners:
            message = f"{name}: is the same key as {owners[key.address]}"
            yield Finding("keys", "warning", message, f"wallet key rm {name}")
        owners.setdefault(key.address, name)
        yield _check_backup(keystore, key)
    for path in sorted((home / "keys").glob("[!.]*.origin")):
        if path.stem not in names:
            message = f"{path} is about a key that is not here"
            yield Finding("backup", "warning", message, f"rm {shlex.quote(str(path))}")
    yield _check_default_key(keystore, names)


def check_contacts(home: Path) -> Iterator[Finding]:
    """Look whether the contacts can be read, and whether one is called like a key."""
    contacts, keys = Contacts(home).all(), set(Keystore(home).names())
    ambiguous = [contact.name for contact in contacts if contact.name in keys]
    for name in ambiguous:
        yield Finding(
            "contacts",
            "problem",
            f"a key and a contact are both called {name!r}, so neither is taken by that name",
            f"wallet contact rename {name} NEW_NAME",
        )
    if not ambiguous:
        yield Finding("contacts", "ok", str(len(contacts)) if contacts else "none")


def _check_keystore(path: Path) -> None:
    """Raises InvalidInput unless it looks like a keystore that some password opens."""
    content = read_json(path)
    check_cost(content)
    digits = str(content["address"]).removeprefix("0x")
    parse_address("0x" + digits)
    crypto = {str(name).lower(): value for name, value in content.items()}["crypto"]
    cipher = crypto.get("cipherparams")
    for name, length, value in (
        ("ciphertext", 32, crypto.get("ciphertext")),
        ("mac", 32, crypto.get("mac")),
        ("iv", 16, cipher.get("iv") if isinstance(cipher, dict) else None),
        ("salt", None, crypto["kdfparams"].get("salt")),
    ):
        if not _is_hex(value, length):
            raise InvalidInput(f"{path} is damaged: its {name} is not what it should be")


def _is_hex(value: Any, length: int | None) -> bool:
    try:
        decoded = bytes.fromhex(value.removeprefix("0x"))
    except (ValueError, AttributeError):
        return False
    return len(decoded) == length if length is not None else bool(decoded)


def _check_backup(keystore: Keystore, key: KeyFile) -> Finding:
    note = key.path.with_suffix(".origin")
    advice = f"wallet key verify-backup {key.name}"
    try:
        origin = keystore.origin(key)
        if note.is_file() and read_json(note).get("address") != key.address:
            return Finding("backup", "warning", f"{key.name}: {note} is of another key", advice)
    except WalletError as error:
        return Finding("backup", "problem", f"{key.name}: {error}", f"rm {shlex.quote(str(note))}")
    if origin.backup_verified_at is None:
        message = f"{key.name}: never seen to open, so this may be the only copy"
        return Finding("backup", "warning", message, advice)
    return Finding("backup", "ok", f"{key.name}: verified {_day(origin.backup_verified_at)}")


def _check_default_key(keystore: Keystore, names: list[str]) -> Finding:
    chosen = keystore.chosen()
    if chosen in names:
        return Finding("keys", "ok", f"{chosen} is the default")
    if chosen is not None:
        message = f"the default key {chosen!r} is not here"
        return Finding("keys", "problem", message, "wallet key use NAME")
    if names:
        return Finding("keys", "warning", "no default key", f"wallet key use {names[0]}")
    return Finding("keys", "warning", "no key yet", "wallet key new main")


# ------------------------------------------------------------------------------- networks


def check_networks(
    home: Path, now: float, timeout: float
) -> Generator[Finding, None, list[Network]]:
    """Compare each network with what is there; returns those whose chain answers and is theirs."""
    networks = Networks(home)
    names, answering = networks.names(), []
    for name in names:
        try:
            network = networks.get(name)
        except WalletError as error:
            advice = f"store it anew: wallet network add {name} URL --replace"
            yield Finding("network", "problem", f"{name}: {error}", advice)
            continue
        seen = {}
        for found in check_network(network, now, timeout):
            seen[found.check] = found.status
            yield Finding(found.check, found.status, f"{name}: {found.message}", found.advice)
        if all(seen.get(check) == "ok" for check in (ENDPOINT, "chain id", "genesis", "coin")):
            answering.append(network)
    yield from _guarded("network", [_check_default_network(networks, names)])
    return answering


def _check_default_network(networks: Networks, names: list[str]) -> Finding:
    chosen = networks.chosen()
    if chosen in names:
        return Finding("network", "ok", f"{chosen} is the default")
    if chosen is not None:
        message = f"the default network {chosen!r} is not here"
        return Finding("network", "problem", message, "wallet network use NAME")
    if names:
        return Finding("network", "warning", "no default network", f"wallet network use {names[0]}")
    return Finding("network", "warning", "no network yet", "wallet network add NAME URL")


def check_standing(
    home: Path, answering: list[Network], name: str | None, timeout: float
) -> Iterator[Finding]:
    """Ask the chain whether each key may move coin."""
    name = name or Networks(home).chosen()
    network = next((each for each in answering if each.name == name), None)
    if network is None:
        return  # it was said why
    with closing(Rpc(network.rpc_url, timeout)) as rpc:
        if read_words(network, rpc, network.coin, encode_call("paused"))[0]:
            message = f"{name}: transfers of the coin are paused by the platform"
            yield Finding("member", "warning", message, "wait, or ask the marketplace")
        keystore = Keystore(home)
        for key_name in keystore.names():
            try:
                address = keystore.get(key_name).address
            except WalletError:
                continue  # found before
            yield _check_member(network, rpc, key_name, address)


def _check_member(network: Network, rpc: Rpc, key: str, address: str) -> Finding:
    account = read_account(network, rpc, address)
    who = f"{key}: {address}"
    if account.obstacle is not None:
        message = f"{who} {account.obstacle}"
        advice = f"ask the marketplace of {network.name}"
        # A new key is no member yet; what was one has lost something.
        if account.member_until:
            return Finding("member", "problem", message, advice)
        return Finding("member", "warning", message, advice)
    kinds = ", ".join(account.kinds)
    message = f"{who} is a member ({kinds}) until {_day(account.member_until)}"
    if account.member_until - account.as_of_time < MEMBERSHIP_SECONDS:
        return Finding("member", "warning", message, "ask the marketplace to renew it")
    return Finding("member", "ok", message)


# -------------------------------------------------------------------------------- journal


def check_journal(home: Path, answering: list[Network], timeout: float) -> Iterator[Finding]:
    """Look whether the journal is sound, and what in it has not ended."""
    path = journal_path(home)
    if not path.exists():
        yield Finding("journal", "ok", "none yet: nothing was signed to be sent")
        return
    damage = read_damage(home)
    if damage:
        advice = "copy it somewhere safe before anything else, then put back a backup"
        yield Finding("journal", "problem", f"{path} is damaged: {damage[0]}", advice)
        return
    version = read_version(home)
    if version > SCHEMA_VERSION:
        message = f"{path} has version {version}, this wallet reads {SCHEMA_VERSION}"
        yield Finding("journal", "problem", message, "use the newer wallet that wrote it")
        return
    yield Finding("journal", "ok", f"{path} is sound (version {version})")
    unended = read_open(home)
    for scope in sorted({(each.network, each.sender) for each in unended}):
        mine = [each for each in unended if (each.network, each.sender) == scope]
        yield from _check_unended(home, answering, mine, timeout)
    if not unended:
        yield Finding("journal", "ok", "everything in it has ended")


def _check_unended(
    home: Path, answering: list[Network], unended: list[OpenTransaction], timeout: float
) -> Iterator[Finding]:
    """What one sender has signed on one network that is not known to have ended."""
    identity, sender = unended[0].network, unended[0].sender
    flags, where = _flags(home, identity, sender)
    network = next((each for each in answering if each.identity == identity), None)
    count = 0 if network is None else _transaction_count(network, sender, timeout)
    landed = [each for each in unended if each.nonce < count]
    if landed:
        yield Finding(
            "journal",
            "warning",
            f"{where}: {len(landed)} ended, and how was not noted yet",
            f"wallet history{flags}",
        )
    taken = {each.nonce for each in unended if each.nonce >= count}
    # Of several that compete for a nonce, one that is being sent decides.
    sending = {each.nonce for each in unended if not each.held}
    for each in unended:
        if each.nonce < count or (each.held and each.nonce in sending):
            continue
        what = f"{each.intent.get('kind')} {each.hash}, nonce {each.nonce}, {_day(each.signed_at)}"
        if each.held:
            message = f"{where}: signed into a file and not sent: {what}. What comes after it waits"
            advice = f"wallet tx broadcast {each.hash}{flags}, or wallet tx cancel {each.hash}"
        else:
            message = f"{where}: unfinished, and may still land: {what}"
            advice = f"run the same command again, or wallet tx wait {each.hash}{flags}"
        yield Finding("journal", "warning", message, advice)
    free = find_gaps(count, taken) if network is not None else []
    if free:
        yield Finding(
            "journal",
            "warning",
            f"{where}: nonce {', '.join(map(str, free))} is free, and what comes after it waits",
            "the next transaction takes it, whatever it is",
        )


def find_gaps(count: int, taken: Iterable[int]) -> list[int]:
    """The nonces that nothing was signed for, below one that something was.

    Args:
        count: how many nonces the chain counts as used.
    """
    taken = set(taken)
    return [nonce for nonce in range(count, max(taken, default=0)) if nonce not in taken]


def _flags(home: Path, identity: str, sender: str) -> tuple[str, str]:
    """How commands name a sender and a network, and how people do."""
    networks, keystore = Networks(home), Keystore(home)
    network = key = None
    for name in networks.names():
        try:
            if networks.get(name).identity == identity:
                network = network or name
        except WalletError:
            continue  # found before
    for name in keystore.names():
        try:
            if keystore.get(name).address == sender:
                key = key or name
        except WalletError:
            continue
    flags = (f" --key {key}" if key else "") + (f" --network {network}" if network else "")
    known = network or f"a network that is not stored here ({identity})"
    return flags, f"{key or sender} on {known}"


def _transaction_count(network: Network, sender: str, timeout: float) -> int:
    with closing(Rpc(network.rpc_url, timeout)) as rpc:
        return int(rpc.call("eth_getTransactionCount", sender, "latest"), 16)


# ------------------------------------------------------------------------------- packages


def check_packages() -> Iterator[Finding]:
    """Look whether what signing needs can be loaded."""
    loaded = [f"Python {platform.python_version()}"]
    for module, package in _PACKAGES.items():
        try:
            importlib.import_module(module)
            loaded.append(f"{package} {importlib.metadata.version(package)}")
        except Exception as error:  # a broken binary fails in ways of its own
            message = f"{package} cannot be loaded: {error}"
            advice = f"pip install --force-reinstall {package}"
            yield Finding("packages", "problem", message, advice)
    yield Finding("packages", "ok", ", ".join(loaded))
    has_keyring = importlib.util.find_spec("keyring") is not None
    missing = "keyring is not installed: only --password-keyring needs it"
    yield Finding("packages", "ok", "keyring is installed" if has_keyring else missing)


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
