"""`plaza roles`, and the tables of who may do what."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import data_option, json_option, print_json, read_settings

if TYPE_CHECKING:
    from rich.console import Console

    from node.chain.deployment import Manifest
    from node.chain.roles import Authority, Holder, RoleState

CHAIN_UNREACHABLE = 3

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class ChainUnreachable(click.ClickException):
    """The chain does not answer; trying again later may do."""

    exit_code = CHAIN_UNREACHABLE


@click.command()
@data_option
@click.option("--rpc", help="JSON-RPC of the chain, instead of the one the manifest names.")
@json_option
def roles(data: Path, rpc: str | None, as_json: bool) -> None:
    """Say who may do what on chain, and how long it waits.

    Reads the chain, not the manifest, which only tells where the contracts are. What is open to
    anyone, or to the parties of a purchase or a credit line, is not listed.

    Exit 1 if nothing was deployed from the data folder, or the chain is another one; exit 3 if the
    chain does not answer.

    \b
    Examples:
      plaza roles
      plaza roles --data /var/lib/plaza --rpc http://10.0.0.5:8545
      plaza roles --json | jq '.rules[] | select(.role == "STEWARD")'
    """
    from node.chain.deployment import DeploymentError, Manifest
    from node.chain.rpc import RpcError, RpcUnavailable

    try:
        manifest = Manifest.load(read_settings(data, {}).manifest_path)
    except DeploymentError as error:
        raise click.ClickException(f"{error}. `plaza deploy` or `plaza up` deploys") from error
    url = rpc or manifest.rpc_url
    try:
        authority = asyncio.run(_read(manifest, url))
    except RpcUnavailable as error:
        raise ChainUnreachable(
            f"{error}. A local chain runs with its node (`plaza up`); --rpc names another JSON-RPC"
        ) from error
    except DeploymentError as error:
        raise click.ClickException(str(error)) from error
    except RpcError as error:
        raise click.ClickException(f"{url} refused: {error}") from error
    show(authority, manifest, as_json=as_json)


async def _read(manifest: Manifest, url: str) -> Authority:
    from node.chain.deployment import check_same_chain
    from node.chain.roles import read_authority
    from node.chain.rpc import HttpRpc

    rpc = HttpRpc(url)
    try:
        await check_same_chain(rpc, url, manifest)
        return await read_authority(
            rpc,
            {name: contract.address for name, contract in manifest.contracts.items()},
            manifest.accounts,
            first_block=manifest.contracts["AccessManager"].block,
        )
    finally:
        await rpc.close()


def show(authority: Authority, manifest: Manifest, *, as_json: bool) -> None:
    """Print who may do what, as tables or as JSON."""
    if as_json:
        print_json(document(authority, manifest))
    else:
        print_tables(authority, manifest)


def document(authority: Authority, manifest: Manifest) -> dict[str, Any]:
    """What `--json` prints; times and delays in seconds."""

    def members(role: int) -> list[dict[str, Any]]:
        return [
            {
                "name": holder.name,
                "address": holder.address,
                "since": holder.since,
                "delay": holder.delay,
                "pending_delay": holder.pending_delay if holder.pending_from else None,
                "pending_from": holder.pending_from or None,
            }
            for holder in authority.roles[role].holders
        ]

    def label(role: int) -> str:
        return authority.roles[role].label

    return {
        "network": manifest.network,
        "chain_id": manifest.chain_id,
        "block": authority.block,
        "time": authority.time,
        "rules": [
            {
                "contract": rule.contract,
                "address": rule.address,
                "function": rule.function,
                "selector": rule.selector,
                "role": label(rule.role),
                "closed": rule.closed,
                "members": members(rule.role),
            }
            for rule in authority.rules
        ],
        "roles": {
            role.label: {
                "id": role.id,
                "granted_by": label(role.admin),
                "cancelled_by": label(role.guardian),
                "grant_delay": role.grant_delay,
                "pending_grant_delay": role.pending_grant_delay
                if role.pending_grant_from
                else None,
                "pending_grant_from": role.pending_grant_from or None,
                "members": members(role.id),
            }
            for role in authority.roles.values()
        },
        "system_members": [
            {
                "contract": member.contract,
                "address": member.address,
                "member_until": member.member_until,
                "sales_source": member.sales_source,
            }
            for member in authority.system_members
        ],
    }


def print_tables(authority: Authority, manifest: Manifest) -> None:
    import sys

    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(
        f"Network {manifest.network} (chain {manifest.chain_id}),"
        f" block {authority.block:,} of {moment(authority.time)}"
    )
    _print_rules(console, authority)
    _print_roles(console, authority)
    _print_system_members(console, authority)


def _print_rules(console: Console, authority: Authority) -> None:
    from rich.table import Table

    table = Table("contract", "function", "role", "who", "waits", title_justify="left")
    groups: dict[tuple[str, int], list[str]] = {}
    for rule in authority.rules:
        words = f"{rule.function} (closed)" if rule.closed else rule.function
        groups.setdefault((rule.contract, rule.role), []).append(words)
    contract = None
    for (name, role), functions in groups.items():
        if contract not in (None, name):
            table.add_section()
        contract = name
        state = authority.roles[role]
        who = "\n".join(_name(holder, authority.time) for holder in state.holders) or "nobody"
        waits = "\n".join(_wait(holder) for holder in state.holders)
        table.add_row(name, "\n".join(functions), state.label, who, waits)
    console.print(table)


def _print_roles(console: Console, authority: Authority) -> None:
    """Only the roles that are not plainly the admin's to give at once."""
    from rich.table import Table

    table = Table("role", "given by", "cancelled by", "a new holder waits", title_justify="left")
    for role in authority.roles.values():
        special = (role.admin, role.guardian, role.grant_delay, role.pending_grant_from)
        if any(special):
            table.add_row(
                role.label,
                authority.roles[role.admin].label,
                authority.roles[role.guardian].label,
                _grant_wait(role),
            )
    if table.row_count:
        console.print(table)


def _print_system_members(console: Console, authority: Authority) -> None:
    from rich.table import Table

    table = Table("system member", "address", "until", "reports sales", title_justify="left")
    for member in authority.system_members:
        ended = member.member_until <= authority.time
        until = "ended" if ended else moment(member.member_until)
        table.add_row(
            member.contract, member.address, until, "yes" if member.sales_source else "no"
        )
    console.print(table)


def _name(holder: Holder, now: int) -> str:
    name = holder.name or holder.address
    return name if holder.since <= now else f"{name} (from {moment(holder.since)})"


def _wait(holder: Holder) -> str:
    words = duration(holder.delay)
    if holder.pending_from:
        words += f" ({duration(holder.pending_delay)} from {moment(holder.pending_from)})"
    return words


def _grant_wait(role: RoleState) -> str:
    words = duration(role.grant_delay)
    if role.pending_grant_from:
        words += f" ({duration(role.pending_grant_delay)} from {moment(role.pending_grant_from)})"
    return words


def duration(seconds: int) -> str:
    """Seconds in words: 0 is "-", 90_000 is "1 d 1 h"."""
    parts = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "-"


def moment(timestamp: int) -> str:
    """A time of the chain in words; the platform's own memberships have no end."""
    from node.chain.constitution import ENDLESS

    if timestamp >= ENDLESS:
        return "no end"
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
