"""`plaza api-key`."""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.common import data_option, json_option, new_key, print_json


@click.group("api-key")
def api_key() -> None:
    """Keys with which shops use the bridge."""


@api_key.command("create")
@data_option
@click.option("--merchant", required=True, help="The shop; made when it is new.")
@click.option("--name", default="default", show_default=True, help="What the key is for.")
@click.option(
    "--operate",
    is_flag=True,
    help="For the platform's staff: the chain transactions of all merchants, too.",
)
@json_option
def api_key_create(data: Path, merchant: str, name: str, operate: bool, as_json: bool) -> None:
    """Make an API key, and its merchant when that is new. The key is shown this once.

    \b
    Examples:
      plaza api-key create --merchant "My shop"
      plaza api-key create --merchant "Platform staff" --operate
    """
    created = new_key(data, merchant=merchant, name=name, operate=operate)
    if as_json:
        print_json(
            {"merchant": created.merchant_id, "id": created.key_id, "secret": created.secret}
        )
    else:
        click.echo(f"merchant  {created.merchant_id}  {merchant}", err=True)
        click.echo("The key is not shown again:", err=True)
        click.echo(created.secret)
