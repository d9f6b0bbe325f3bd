"""The `plaza` command."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import click
import structlog

from node.settings import Settings

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data"),
    show_default=True,
    envvar="PLAZA_DATA",
    help="Folder of chain state, database, keys and manifest.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
chain_option = click.option(
    "--chain",
    default=None,
    help='"auto" (anvil where it is installed, else eth-tester), "anvil", "tester", or the URL of'
    " any JSON-RPC.  [default: auto]",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="plaza")
def main() -> None:
    """Plaza: a marketplace's own coin, with escrowed purchases.

    \b
    Examples:
      plaza up                                  run chain, worker and bridge
      plaza api-key create --merchant "My shop" a key for the bridge
      plaza replay --generate 1000              act as a marketplace, on generated orders
      plaza reconcile                           compare database and chain, to the unit
    """


@main.command()
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

    settings = _settings(data, flags)
    _configure_logging(settings.log_level)

    def announce(node: RunningNode, manifest: Manifest) -> None:
        click.echo(f"Plaza is up on {settings.data}")
        click.echo(f"  network   {manifest.network} (chain {manifest.chain_id}, {node.chain})")
        click.echo(f"  JSON-RPC  {node.rpc_url}")
        click.echo(f"  bridge    {node.bridge_url}   (API description: {node.bridge_url}/docs)")
        click.echo(f"  manifest  {settings.manifest_path}")
        click.echo("Stop with Ctrl-C.")

    _run_or_explain(run(settings, announce))


@main.group("api-key")
def api_key() -> None:
    """Keys with which shops use the bridge."""


@api_key.command("create")
@data_option
@click.option("--merchant", required=True, help="The shop; made when it is new.")
@click.option("--name", default="default", show_default=True, help="What the key is for.")
@json_option
def api_key_create(data: Path, merchant: str, name: str, as_json: bool) -> None:
    """Make an API key, and its merchant when that is new. The key is shown this once.

    \b
    Example:
      plaza api-key create --merchant "My shop"
    """
    from node.bridge.api_keys import create_merchant_key
    from node.store import Store
    from node.up import prepare

    settings = _settings(data, {})
    prepare(settings)
    store = Store(settings.store_url)
    created = store.write_now(
        lambda session: create_merchant_key(session, settings, merchant=merchant, name=name)
    )
    store.close()
    if as_json:
        _print_json(
            {"merchant": created.merchant_id, "id": created.key_id, "secret": created.secret}
        )
    else:
        click.echo(f"merchant  {created.merchant_id}  {merchant}", err=True)
        click.echo("The key is not shown again:", err=True)
        click.echo(created.secret)


@main.command()
@data_option
@json_option
def status(data: Path, as_json: bool) -> None:
    """Say whether a node runs on a data folder, and how it is. Exit 1 if none does."""
    import httpx

    from node.up import RunningNode

    node = RunningNode.find(data)
    if node is None:
        raise click.ClickException(f"no node is running on {data}: start one with `plaza up`")
    ready = httpx.get(f"{node.bridge_url}/health/ready", timeout=10)
    if as_json:
        _print_json({**node.model_dump(), "ready": ready.is_success, "health": ready.json()})
    else:
        click.echo(f"bridge    {node.bridge_url} ({'ready' if ready.is_success else 'not ready'})")
        click.echo(f"JSON-RPC  {node.rpc_url} ({node.chain})")
        for name, value in ready.json().items():
            click.echo(f"{name:<22}  {value}")
    sys.exit(0 if ready.is_success else 1)


@main.command()
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
    import httpx

    from node.up import RunningNode

    if url is not None:
        if key_file is None:
            raise click.UsageError("--url needs --key-file")
        key = key_file.read_text(encoding="utf-8").strip()
    else:
        node = RunningNode.find(data)
        if node is None:
            raise click.ClickException(f"no node is running on {data}: start one with `plaza up`")
        url, key = node.bridge_url, _own_key(_settings(data, {}))
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
        _print_json(report)
    else:
        _print_reconciliation(report)
    sys.exit(0 if report["ok"] else 1)


def _settings(data: Path, flags: dict[str, Any]) -> Settings:
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(data=data, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _configure_logging(level: str) -> None:
    """Log lines on stderr: for people on a terminal, JSON otherwise."""
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _run_or_explain(work: Any) -> Any:
    """Run a coroutine; what is wrong with the node or its surroundings is said in words."""
    from node.chain.deployment import DeploymentError
    from node.chain.engine import EngineError
    from node.keys import SeedError
    from node.up import UpError

    try:
        return asyncio.run(work)
    except (UpError, EngineError, DeploymentError, SeedError) as error:
        raise click.ClickException(str(error)) from error


def _print_json(value: Any) -> None:
    import orjson

    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))
