"""`plaza bridge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import configure_logging, data_option, read_settings, run_or_explain

if TYPE_CHECKING:
    from node.chain.deployment import Manifest


@click.command()
@data_option
@click.option("--host", default=None, help="Address of the bridge.  [default: 127.0.0.1]")
@click.option("--port", type=int, default=None, help="Port of the bridge.  [default: 8400]")
@click.option("--bridges", type=int, default=None, help="Processes on that port.  [default: 2]")
@click.option("--log-level", default=None, help="debug, info, warning or error.  [default: info]")
def bridge(data: Path, **flags: Any) -> None:
    """Run the HTTP bridge alone, until Ctrl-C; `plaza worker` does the chain's work.

    For a node on several machines: each has the seed and the manifest that `plaza deploy` wrote,
    and PLAZA_DATABASE_URL names the PostgreSQL database they share.

    \b
    Examples:
      plaza bridge --data /var/lib/plaza --host 10.0.0.7 --port 8400
      PLAZA_DATABASE_URL=postgresql+psycopg://plaza@db.internal/plaza plaza bridge
    """
    from node.apart import run_bridge_alone

    settings = read_settings(data, flags)
    configure_logging(settings.log_level)

    def announce(url: str, manifest: Manifest) -> None:
        click.echo(f"The bridge is up: {url}   (API description: {url}/docs)")
        click.echo(f"  network   {manifest.network} (chain {manifest.chain_id})")
        click.echo("Stop with Ctrl-C.")

    run_or_explain(run_bridge_alone(settings, announce))
