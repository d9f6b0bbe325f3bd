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
@click.option("--url", default=None, help="Of a bridge that runs by itself (`plaza bridge`).")
@json_option
def status(data: Path, url: str | None, as_json: bool) -> None:
    """Say whether a node runs on a data folder, and how it is. Exit 1 if none does.

    \b
    Examples:
      plaza status
      plaza status --url http://10.0.0.7:8400 --json
    """
    node = None if url else RunningNode.find(data)
    if url is None:
        if node is None:
            raise click.ClickException(f"no node is running on {data}: start one with `plaza up`")
        url = node.bridge_url
    try:
        ready = httpx.get(f"{url.rstrip('/')}/health/ready", timeout=10)
        health = ready.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise click.ClickException(f"no bridge answers at {url}: {error}") from error
    if as_json:
        about = {"bridge_url": url} if node is None else node.model_dump()
        print_json({**about, "ready": ready.is_success, "health": health})
    else:
        click.echo(f"bridge    {url} ({'ready' if ready.is_success else 'not ready'})")
        if node is not None:
            click.echo(f"JSON-RPC  {node.rpc_url} ({node.chain})")
        workers = health.pop("workers", [])
        for name, value in health.items():
            click.echo(f"{name:<22}  {value}")
        for worker in workers:
            part = "leads" if worker["leads"] else "stands by"
            trouble = f": {worker['last_error']}" if worker["last_error"] else ""
            click.echo(f"worker                  {worker['name']} {part}{trouble}")
    sys.exit(0 if ready.is_success else 1)
