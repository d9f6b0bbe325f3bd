"""`plaza up`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from node.cli.common import (
    chain_option,
    configure_logging,
    data_option,
    read_settings,
    run_or_explain,
)


@click.command()
@data_option
@chain_option
@click.option("--host", default=None, help="Address of the bridge.  [default: 127.0.0.1]")
@click.option("--port", type=int, default=None, help="Port of the bridge.  [default: 8400]")
@click.option("--rpc-port", type=int, default=None, help="JSON-RPC port.  [default: 8545]")
@click.option(
    "--genesis-time",
    type=int,
    default=None,
    help="Unix time of block 0 of a new local chain, which then keeps a time of its own.",
)
@click.option(
    "--operators",
    type=int,
    default=None,
    help="Operator keys that share the purchases.  [default: 1]",
)
@click.option("--log-level", default=None, help="debug, info, warning or error.  [default: info]")
def up(data: Path, **flags: Any) -> None:
    """Run a node: chain, deployment, worker and bridge, until Ctrl-C.

    \b
    Examples:
      plaza up
      plaza up --data /var/lib/plaza --port 8080
      plaza up --chain http://10.0.0.5:8545
    """
    from node.chain.deployment import Manifest
    from node.up import RunningNode
    from node.up import up as run

    settings = read_settings(data, flags)
    configure_logging(settings.log_level)

    def announce(node: RunningNode, manifest: Manifest) -> None:
        click.echo(f"Plaza is up on {settings.data}")
        click.echo(f"  network   {manifest.network} (chain {manifest.chain_id}, {node.chain})")
        click.echo(f"  JSON-RPC  {node.rpc_url}")
        click.echo(f"  bridge    {node.bridge_url}   (API description: {node.bridge_url}/docs)")
        click.echo(f"  manifest  {settings.manifest_path}")
        click.echo("Stop with Ctrl-C.")

    run_or_explain(run(settings, announce))
