"""`plaza worker`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import configure_logging, data_option, read_settings, run_or_explain

if TYPE_CHECKING:
    from node.chain.deployment import Manifest


@click.command()
@data_option
@click.option("--chain", default=None, help="JSON-RPC URL.  [default: the manifest's]")
@click.option("--log-level", default=None, help="debug, info, warning or error.  [default: info]")
def worker(data: Path, **flags: Any) -> None:
    """Run one worker alone, until Ctrl-C: outbox, indexer, deadlines and webhooks.

    Run two or more on one PostgreSQL database (PLAZA_DATABASE_URL), so that one goes on where
    another ends: one leads, the others share the sending and stand by. `plaza status` names them.

    \b
    Examples:
      plaza worker --data /var/lib/plaza --chain http://10.0.0.5:8545
      PLAZA_DATABASE_URL=postgresql+psycopg://plaza@db.internal/plaza plaza worker
    """
    from node.apart import run_worker_alone

    settings = read_settings(data, flags)
    configure_logging(settings.log_level)

    def announce(url: str, manifest: Manifest) -> None:
        click.echo(f"A worker is up on {url} ({manifest.network}, chain {manifest.chain_id}).")
        click.echo("Stop with Ctrl-C.")

    run_or_explain(run_worker_alone(settings, announce))
