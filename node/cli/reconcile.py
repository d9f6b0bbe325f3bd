"""`plaza reconcile`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import httpx

from node.cli.common import data_option, json_option, new_key, print_json
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
    if url is not None:
        if key_file is None:
            raise click.UsageError("--url needs --key-file")
        key = key_file.read_text(encoding="utf-8").strip()
    else:
        node = RunningNode.find(data)
        if node is None:
            raise click.ClickException(f"no node is running on {data}: start one with `plaza up`")
        url, key = node.bridge_url, new_key(data, merchant="Plaza", name="plaza reconcile").secret
    try:
        answer = httpx.get(
            f"{url}/v1/reconciliation", headers={"Authorization": f"Bearer {key}"}, timeout=600
        )
    except httpx.HTTPError as error:
        raise click.ClickException(f"{url} does not answer: {error}") from error
    if not answer.is_success:
        raise click.ClickException(f"{url} answered {answer.status_code}: {answer.text}")
    report = answer.json()
    if as_json:
        print_json(report)
    else:
        _print_reconciliation(report)
    sys.exit(0 if report["ok"] else 1)
