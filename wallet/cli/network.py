"""wallet network: which chains and contracts this wallet trusts."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from wallet.cli.names import complete_networks
from wallet.cli.options import Command, ConfirmationRequired, Declined, Settings
from wallet.errors import NetworkError
from wallet.files import read_json
from wallet.networks import Network, parse_manifest

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.group("network")
def command() -> None:
    """Add, choose, show, check and remove networks."""


@command.command(cls=Command)
@click.argument("name")
@click.argument("source", metavar="URL|FILE")
@click.option("--rpc", metavar="URL", help="Reach the chain here, whatever the manifest says.")
@click.option("--replace", is_flag=True, help="Replace the network of that name.")
@click.pass_obj
def add(settings: Settings, name: str, source: str, rpc: str | None, replace: bool) -> None:
    """Store a network's manifest under a NAME.

    From a bridge's URL (as http://127.0.0.1:8400) or from a manifest file. From then on the wallet
    believes this manifest and not what a bridge says: add it from where you trust it.
    """
    from wallet.accounts import check_chain  # noqa: PLC0415  # other verbs need no connection
    from wallet.rpc import Rpc, fetch_json  # noqa: PLC0415

    if source.startswith(("http://", "https://")):
        url = source.rstrip("/")
        if not url.endswith("/v1/network"):
            url += "/v1/network"
        if urlsplit(url).scheme == "http" and urlsplit(url).hostname not in _LOOPBACK:
            settings.note(f"{url} is not encrypted: anyone on the way can change the addresses")
        manifest = fetch_json(url)
    else:
        manifest = read_json(Path(source))
    try:
        network = parse_manifest(name, manifest, rpc)
        with closing(Rpc(network.rpc_url)) as endpoint:
            check_chain(network, endpoint)
    except NetworkError as error:
        settings.note(f"stored without comparing the chain: {error}")
    network = settings.networks().add(name, manifest, rpc, replace)
    settings.answer(_as_json(settings, network), _as_text(network))


@command.command("list", cls=Command)
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the networks; the one in use is marked."""
    networks = settings.networks()
    found = [networks.get(name) for name in networks.names()]
    width = max((len(network.name) for network in found), default=0)
    chosen = networks.chosen()
    lines = [
        f"{'*' if network.name == chosen else ' '} {network.name:<{width}}  "
        f"chain {network.chain_id}  {network.rpc_url}"
        for network in found
    ]
    settings.answer(
        {"networks": [_as_json(settings, network) for network in found]},
        "\n".join(lines) or "no network yet: `wallet network add NAME URL` stores one",
    )


@command.command(cls=Command)
@click.argument("name", shell_complete=complete_networks)
@click.pass_obj
def use(settings: Settings, name: str) -> None:
    """Use the network NAME from now on."""
    networks = settings.networks()
    networks.use(name)
    network = networks.get(name)
    settings.answer(_as_json(settings, network), _as_text(network))


@command.command(cls=Command)
@click.argument("name", required=False, shell_complete=complete_networks)
@click.pass_obj
def show(settings: Settings, name: str | None) -> None:
    """Show chain, addresses and endpoints of the network NAME, or of the one in use."""
    network = settings.networks().get(name or settings.network)
    settings.answer(_as_json(settings, network), _as_text(network))


@command.command(cls=Command)
@click.argument("name", required=False, shell_complete=complete_networks)
@click.pass_obj
def check(settings: Settings, name: str | None) -> int:
    """Compare a network, the default one without a NAME, with what is there now.

    Looks at the endpoint, the chain, the contracts, the bridge and its manifest, and the clock.
    Ends with 1 if something is wrong, with 7 if all that answers is right.

    \b
    Example:
      wallet network check plaza
    """
    from wallet.cli.findings import show_findings  # noqa: PLC0415
    from wallet.network_check import check_network  # noqa: PLC0415

    network = settings.networks().get(name or settings.network)
    found = show_findings(settings, check_network(network, time.time()), {"network": network.name})
    problems = [finding for finding in found if finding.status == "problem"]
    if not problems:
        return 0
    return 7 if all(finding.is_unreachable for finding in problems) else 1


@command.command(cls=Command)
@click.argument("name", shell_complete=complete_networks)
@click.option("--with-unfinished", is_flag=True, help="Though transactions on it are unfinished.")
@click.pass_obj
def rm(settings: Settings, name: str, with_unfinished: bool) -> None:
    """Remove the network NAME from this wallet. Keys and the journal stay.

    \b
    Example:
      wallet network rm test
    """
    if not settings.on_terminal and not settings.yes:
        raise ConfirmationRequired("not on a terminal: confirm with --yes")
    networks = settings.networks()
    network = networks.require_removable(name, with_unfinished)
    settings.say(
        f"{_as_text(network)}\nStays    the keys, and the journal of what was signed; "
        "what the chain has is the chain's"
    )
    if not settings.yes and not click.confirm("Remove it?", err=True):
        raise Declined("declined: nothing was removed")
    was_default = networks.chosen() == name
    default = networks.remove(name, with_unfinished)
    if was_default:
        settings.note(
            f"It was the default network: now that is {default}"
            if default
            else "It was the default network: choose another with `wallet network use`"
        )
    settings.answer({"name": name, "removed": True, "default": default}, f"Removed {name}")


def _as_text(network: Network) -> str:
    return (
        f"Network  {network.name} (chain {network.chain_id})\n"
        f"Chain    {network.rpc_url}\n"
        f"Bridge   {network.bridge_url or '-'}\n"
        f"Coin     {network.coin} ({network.symbol})\n"
        f"Escrow   {network.escrow}"
    )


def _as_json(settings: Settings, network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "chain_id": network.chain_id,
        "genesis_hash": network.genesis_hash,
        "rpc_url": network.rpc_url,
        "bridge_url": network.bridge_url,
        "coin": network.coin,
        "escrow": network.escrow,
        "symbol": network.symbol,
        "default": network.name == settings.networks().chosen(),
    }
