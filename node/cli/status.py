"""`plaza status`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import httpx

from node.cli.common import data_option, json_option, print_json
from node.up import RunningNode


@click.command()
@data_option
@json_option
def status(data: Path, as_json: bool) -> None:
    """Say whether a node runs on a data folder, and how it is. Exit 1 if none does."""
    node = RunningNode.find(data)
    if node is None:
        raise click.ClickException(f"no node is running on {data}: start one with `plaza up`")
    ready = httpx.get(f"{node.bridge_url}/health/ready", timeout=10)
    if as_json:
        print_json({**node.model_dump(), "ready": ready.is_success, "health": ready.json()})
    else:
        click.echo(f"bridge    {node.bridge_url} ({'ready' if ready.is_success else 'not ready'})")
        click.echo(f"JSON-RPC  {node.rpc_url} ({node.chain})")
        for name, value in ready.json().items():
            click.echo(f"{name:<22}  {value}")
    sys.exit(0 if ready.is_success else 1)
