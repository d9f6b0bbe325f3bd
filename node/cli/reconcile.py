"""`plaza reconcile`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import httpx

from node.cli.common import data_option, json_option, print_json, read_settings
from node.up import RunningNode


@click.command()
@data_option
@click.option("--url", help="The bridge of a node elsewhere, instead of one on --data.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with an API key for --url.",
)
@json_option
def reconcile(data: Path, url: str | None, key_file: Path | None, as_json: bool) -> None:
    """Compare the database of a running node with its chain, to the unit. Exit 1 on drift.

    \b
    Examples:
      plaza reconcile
      plaza reconcile --url https://bridge.example.com --key-file key.txt --json
    """
    if url is None:
        report = _here(data)
    elif key_file is None:
        raise click.UsageError("--url needs --key-file")
    else:
        report = _elsewhere(url, key_file.read_text(encoding="utf-8").strip())
    if as_json:
        print_json(report)
    else:
        _print(report)
    sys.exit(0 if report["ok"] else 1)


def _here(data: Path) -> dict[str, Any]:
    """Read database and chain ourselves: no key is needed where the files are."""
    from node.chain.deployment import DeploymentError, Manifest
    from node.chain.rpc import HttpRpc, RpcUnavailable
    from node.index.reconcile import ReconcileError, remember
    from node.index.reconcile import reconcile as compare
    from node.store import Store

    if RunningNode.find(data) is None:
        raise click.ClickException(f"no node is running on {data}: start one with `plaza up`")
    settings = read_settings(data, {})

    async def run() -> dict[str, Any]:
        manifest = Manifest.load(settings.manifest_path)
        rpc, store = HttpRpc(manifest.rpc_url), Store(settings.store_url)
        try:
            found = await compare(rpc, store, manifest)
            now = int(time.time())
            await store.write(lambda session: remember(session, found, now))
            return found.as_dict()
        finally:
            await rpc.close()
            store.close()

    try:
        return asyncio.run(run())
    except (DeploymentError, ReconcileError, RpcUnavailable) as error:
        raise click.ClickException(str(error)) from error


def _elsewhere(url: str, key: str) -> dict[str, Any]:
    address = f"{url.rstrip('/')}/v1/reconciliation"
    try:
        answer = httpx.get(address, headers={"Authorization": f"Bearer {key}"}, timeout=600)
    except httpx.HTTPError as error:
        raise click.ClickException(f"{url} does not answer: {error}") from error
    if not answer.is_success:
        raise click.ClickException(f"{url} answered {answer.status_code}: {answer.text}")
    report: dict[str, Any] = answer.json()
    return report


def _print(report: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"Block {report['block_number']} ({report['block_hash']})")
    figures = Table("coin", "atomic units", title_justify="left")
    figures.columns[1].justify = "right"
    for name in ("minted", "burned", "total_supply", "held", "claimable", "unattributed"):
        figures.add_row(name.replace("_", " "), f"{int(report[name]):,}")
    console.print(figures)
    credit = Table("credit lines and lender pool", "atomic units", title_justify="left")
    credit.columns[1].justify = "right"
    for name, value in report["credit"].items():
        credit.add_row(name.replace("_", " "), f"{int(value):,}")
    console.print(credit)
    compared = ", ".join(f"{count:,} {what}" for what, count in report["checked"].items())
    console.print(f"Compared: {compared}")
    if not report["drift"]:
        console.print("[green]No drift: database and chain agree to the unit.[/green]")
        return
    drift = Table("subject", "what", "chain", "database", title="Drift", title_justify="left")
    for difference in report["drift"]:
        drift.add_row(*(str(difference[key]) for key in ("subject", "what", "actual", "expected")))
    console.print(drift)
    console.print(f"[red]{len(report['drift'])} differences between database and chain.[/red]")
