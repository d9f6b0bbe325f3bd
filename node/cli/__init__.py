"""The `plaza` command: one file a verb."""

from __future__ import annotations

import click

from node.cli.api_key import api_key
from node.cli.bridge import bridge
from node.cli.conformance import conformance
from node.cli.deploy import deploy
from node.cli.govern import govern
from node.cli.passphrase import passphrase
from node.cli.reconcile import reconcile
from node.cli.replay import replay
from node.cli.roles import roles
from node.cli.status import status
from node.cli.up import up
from node.cli.worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="plaza")
def main() -> None:
    """Plaza: a marketplace's own coin, with escrowed purchases.

    \b
    Examples:
      plaza up                                  run chain, worker and bridge
      plaza roles                               who may do what on chain, and how long it waits
      plaza api-key create --merchant "My shop" a key for the bridge
      plaza replay --generate 1000              act as a marketplace, on generated orders
      plaza reconcile                           compare database and chain, to the unit
      plaza conformance --target URL --key KEY  check a running bridge through HTTP alone
    """


for command in (
    up,
    bridge,
    worker,
    deploy,
    roles,
    govern,
    api_key,
    passphrase,
    status,
    reconcile,
    replay,
    conformance,
):
    main.add_command(command)
