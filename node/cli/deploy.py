"""`plaza deploy`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import (
    chain_option,
    configure_logging,
    data_option,
    json_option,
    read_settings,
    run_or_explain,
)
from node.cli.roles import ChainUnreachable, show

if TYPE_CHECKING:
    from node.chain.deployment import Manifest
    from node.chain.roles import Authority
    from node.settings import Settings


@click.command()
@data_option
@chain_option
@click.option("--rpc-port", type=int, default=None, help="JSON-RPC port.  [default: 8545]")
@click.option(
    "--genesis-time",
    type=int,
    default=None,
    help="Unix time of block 0 of a new local chain, which then keeps a time of its own.",
)
@click.option("--log-level", default="warning", show_default=True, help="debug, info or warning.")
@json_option
def deploy(data: Path, as_json: bool, **flags: Any) -> None:
    """Bring the contracts onto a chain, and say who may do what there.

    Looks before each step and sends only what is missing: run again, it goes on where it was
    interrupted, and sends nothing where all is there. Keys are those of the data folder (made at
    the first start); limits, caps and delays are the settings' (PLAZA_MINT_CAPACITY,
    PLAZA_CREDIT_LINE_CAP, PLAZA_GOVERNANCE_DELAY and so on) and are put on chain once.

    On "tester", whose chain ends with the command, it is a rehearsal: no manifest is kept.

    Exit 1 if the chain or what is on it is not what it should be; exit 3 if it does not answer
    (then run it again).

    \b
    Examples:
      plaza deploy --chain http://10.0.0.5:8545 --data /var/lib/plaza
      plaza deploy --chain anvil --json
      PLAZA_GOVERNANCE_DELAY=259200 plaza deploy --chain tester --data /tmp/rehearsal
    """
    from node.chain.engine import EngineError
    from node.chain.rpc import RpcError, RpcUnavailable

    settings = read_settings(data, flags)
    configure_logging(settings.log_level)
    try:
        authority, manifest = run_or_explain(_deploy(settings))
    except RpcUnavailable as error:
        raise ChainUnreachable(f"{error}. Run again to go on") from error
    except RpcError as error:
        raise click.ClickException(f"the chain refused: {error}") from error
    except click.ClickException as error:
        cause = error.__cause__
        if isinstance(cause, EngineError) and isinstance(cause.__cause__, RpcUnavailable):
            raise ChainUnreachable(error.message) from error
        raise
    show(authority, manifest, as_json=as_json)


async def _deploy(settings: Settings) -> tuple[Authority, Manifest]:
    import asyncio
    import time

    from filelock import FileLock, Timeout

    from node.chain.deployment import Manifest
    from node.chain.deployment import deploy as bring
    from node.chain.engine import open_engine
    from node.chain.roles import read_authority
    from node.up import UpError, open_seed

    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(settings.data / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UpError(
            f"a node is running on {settings.data}, and has deployed: see `plaza roles`"
        ) from None
    engine = open_engine(settings, time.time)
    try:
        seed = await asyncio.to_thread(open_seed, settings)
        bridge_url = settings.public_url or f"http://{settings.host}:{settings.port}"
        await engine.start()
        with tempfile.TemporaryDirectory() as scratch:
            if engine.name == "tester":
                settings = settings.model_copy(update={"data": Path(scratch)})
            elif settings.manifest_path.exists() and settings.public_url is None:
                bridge_url = Manifest.load(settings.manifest_path).bridge_url
            manifest = await bring(engine, seed, settings, bridge_url=bridge_url)
        await engine.save()
        addresses = {name: contract.address for name, contract in manifest.contracts.items()}
        first_block = manifest.contracts["AccessManager"].block
        authority = await read_authority(
            engine.rpc, addresses, manifest.accounts, first_block=first_block
        )
        return authority, manifest
    finally:
        await engine.stop()
        lock.release()
