"""What the commands share: options, settings, logging, and how failures are said."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import structlog

from node.settings import Settings

if TYPE_CHECKING:
    from node.bridge.api_keys import MerchantKey

Result = TypeVar("Result")

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


def read_settings(data: Path, flags: dict[str, Any]) -> Settings:
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(data=data, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def configure_logging(level: str) -> None:
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


def run_or_explain(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine; what is wrong with the node or its surroundings is said in words."""
    from node.bridges import PortTaken
    from node.chain.deployment import DeploymentError
    from node.chain.engine import EngineError
    from node.keys import SeedError
    from node.up import UpError

    try:
        return asyncio.run(work)
    except (UpError, PortTaken, EngineError, DeploymentError, SeedError) as error:
        raise click.ClickException(str(error)) from error


def new_key(data: Path, *, merchant: str, name: str, operate: bool = False) -> MerchantKey:
    """Make an API key in the database of a data folder, whether or not a node runs on it.

    Args:
        operate: with the scope of the platform's staff.
    """
    from node.bridge.api_keys import create_merchant_key
    from node.bridge.auth import ALL_SCOPES, MERCHANT_SCOPES
    from node.store import Store
    from node.up import prepare

    settings = read_settings(data, {})
    prepare(settings)
    store = Store(settings.store_url)
    try:
        return store.write_now(
            lambda session: create_merchant_key(
                session,
                settings,
                merchant=merchant,
                name=name,
                scopes=ALL_SCOPES if operate else MERCHANT_SCOPES,
            )
        )
    finally:
        store.close()


def print_json(value: Any) -> None:
    import orjson

    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))
