"""Network profiles: what a wallet was told to trust of a deployment manifest, one file each."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wallet.addresses import parse_address
from wallet.amounts import DECIMALS
from wallet.errors import AlreadyExists, InvalidInput, Refused, UnknownName
from wallet.files import (
    checked_name,
    private_folder,
    read_json,
    read_name,
    sync_folder,
    write_private,
)

if TYPE_CHECKING:
    from wallet.intents import Contract

MANIFEST_VERSION = 1
_HASH = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)


@dataclass(frozen=True)
class Network:
    """Where one network's contracts are, and how to reach them.

    Addresses are checksummed. `first_block` is the first block that can hold a log of the
    contracts. `credit_book` and `lender_pool` are None on a network without credit lines.
    """

    name: str
    chain_id: int
    genesis_hash: str
    rpc_url: str
    bridge_url: str | None
    coin: str
    escrow: str
    symbol: str
    operators: tuple[str, ...]  # the keys of the marketplace's own; () where it does not say
    first_block: int
    credit_book: str | None = None
    lender_pool: str | None = None

    @property
    def identity(self) -> str:
        """Which chain this is, apart from where it is reached: chain id and genesis hash."""
        return f"{self.chain_id}:{self.genesis_hash}"

    def contract(self, name: Contract) -> str:
        """The address of a contract. Raises Refused on a network without it."""
        address: str | None = getattr(self, name)
        if address is None:
            raise Refused(f"network {self.name!r} has no credit lines")
        return address

    @property
    def contracts(self) -> dict[Contract, str]:
        """The addresses of the contracts this network has."""
        names: tuple[Contract, ...] = ("coin", "escrow", "credit_book", "lender_pool")
        return {name: address for name in names if (address := getattr(self, name)) is not None}


def parse_manifest(name: str, manifest: Any, rpc_url: str | None = None) -> Network:
    """Read a deployment manifest strictly.

    Raises:
        InvalidInput: a field is missing or is not what it should be; the message names it.
    """

    def field(path: str, kind: type) -> Any:
        value = manifest
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InvalidInput(f"the manifest's {path} is {value!r}, not {kind.__name__}")
        return value

    if field("version", int) != MANIFEST_VERSION:
        raise InvalidInput(
            f"the manifest has version {manifest['version']}, this wallet reads {MANIFEST_VERSION}"
        )
    if field("coin.decimals", int) != DECIMALS:
        raise InvalidInput(
            f"the manifest's coin has {manifest['coin']['decimals']} decimals, "
            f"this wallet counts {DECIMALS}"
        )
    if not _HASH.fullmatch(field("genesis_hash", str)):
        raise InvalidInput(f"the manifest's genesis_hash is {manifest['genesis_hash']!r}")

    def contract(name: str) -> str | None:
        there = name in field("contracts", dict)
        return parse_address(field(f"contracts.{name}.address", str)) if there else None

    accounts = manifest.get("accounts") or {}
    bridge_url = manifest.get("bridge_url")
    return Network(
        name=name,
        chain_id=field("chain_id", int),
        genesis_hash=manifest["genesis_hash"].lower(),
        rpc_url=_web_url(rpc_url or field("rpc_url", str)),
        bridge_url=None if bridge_url is None else _web_url(field("bridge_url", str)),
        coin=parse_address(field("contracts.PlatformCoin.address", str)),
        escrow=parse_address(field("contracts.PurchaseEscrow.address", str)),
        symbol=field("coin.symbol", str),
        operators=tuple(
            parse_address(address)
            for account, address in accounts.items()
            if account.partition(":")[0] == "operator"
        ),
        first_block=field("contracts.PlatformCoin.block", int),
        credit_book=contract("CreditBook"),
        lender_pool=contract("LenderPool"),
    )


def _web_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"{url!r} is not an http or https URL")
    return url.rstrip("/")


class Networks:
    """The profiles in a wallet's home, and which one is used by default."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "networks"
        self._chosen = home / "network"

    def add(
        self, name: str, manifest: Any, rpc_url: str | None = None, replace: bool = False
    ) -> Network:
        """Store a manifest as a profile; the first one becomes the default.

        Raises:
            InvalidInput: the manifest is not one.
            AlreadyExists: there is a profile of that name, and `replace` was not asked for.
        """
        network = parse_manifest(checked_name(name, "network"), manifest, rpc_url)
        path = self._path(name)
        if path.exists() and not replace:
            raise AlreadyExists(f"there is a network {name!r} already; replace it with --replace")
        private_folder(self._folder)
        text = json.dumps(asdict(network), indent=2) + "\n"
        temporary = write_private(path.with_suffix(f".{os.getpid()}.new"), text)
        temporary.replace(path)
        if not self._chosen.exists():
            self.use(name)
        return network

    def get(self, name: str | None = None) -> Network:
        """Return a profile; the default one without a name.

        Raises:
            UnknownName: there is none of that name, or none at all.
        """
        name = name or self.chosen()
        if name is None and self.names():
            raise UnknownName(
                f"no default network: name one of {', '.join(self.names())} with --network, "
                "or choose it with `wallet network use`"
            )
        if name is None:
            raise UnknownName(
                "no network yet: `wallet network add NAME URL` stores one, "
                "as in `wallet network add plaza http://127.0.0.1:8400`"
            )
        path = self._path(checked_name(name, "network"))
        if not path.is_file():
            known = ", ".join(self.names()) or "none"
            raise UnknownName(f"no network {name!r} (there are: {known})")
        try:
            # Checked when it was added; checksums need not be computed for every command.
            return Network(**read_json(path))
        except TypeError as error:
            raise InvalidInput(f"{path} is not a network's profile: {error}") from error

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def chosen(self) -> str | None:
        return read_name(self._chosen)

    def use(self, name: str) -> None:
        """Make a profile the default. Raises UnknownName if there is none."""
        self.get(name)
        temporary = write_private(
            self._chosen.with_name(f".network.{os.urandom(8).hex()}.new"), name + "\n"
        )
        temporary.replace(self._chosen)

    def use_none(self) -> None:
        """Have no default network, until one is chosen or added."""
        self._chosen.unlink(missing_ok=True)

    def require_removable(self, name: str, with_unfinished: bool = False) -> Network:
        """Return the profile; raises as `remove`."""
        from wallet.inspection import read_open  # noqa: PLC0415  # seldom asked

        network = self.get(name)
        if with_unfinished:
            return network
        unfinished = [each for each in read_open(self._home) if each.network == network.identity]
        if unfinished:
            senders = ", ".join(sorted({each.sender for each in unfinished}))
            raise Refused(
                f"the journal has {len(unfinished)} unfinished on network {name!r}, of {senders}: "
                f"`wallet history --network {name}` says how they stand. "
                "Remove it all the same with --with-unfinished"
            )
        return network

    def remove(self, name: str, with_unfinished: bool = False) -> str | None:
        """Delete a profile, and return the default one then: none, or the only one that is left.

        The journal stays, and goes on where the same network is added again.

        Args:
            with_unfinished: delete it though the journal has unfinished transactions on it.

        Raises:
            UnknownName: there is no such profile.
            Refused: the journal has unfinished transactions on it.
            JournalError: nobody knows whether it has.
        """
        self.require_removable(name, with_unfinished)
        if self.chosen() == name:
            others = [other for other in self.names() if other != name]
            if len(others) == 1:
                self.use(others[0])
            else:
                self.use_none()
        self._path(name).unlink()
        sync_folder(self._folder)
        return self.chosen()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"
