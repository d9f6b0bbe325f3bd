"""`plaza govern`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import data_option, json_option, print_json, read_settings, run_or_explain
from node.cli.roles import ChainUnreachable, moment
from node.keys import PLATFORM_KEYS
from node.settings import Settings
from node.up import RunningNode

if TYPE_CHECKING:
    from node.chain.codec import ContractCodec
    from node.chain.deployment import Manifest
    from node.chain.governance import Outcome

# A running node counts these keys' transactions itself.
_WORKER_KEYS = ("operator", "treasury")


@click.command()
@data_option
@click.option("--rpc", help="JSON-RPC of the chain, instead of the one the manifest names.")
@click.option(
    "--as",
    "key",
    required=True,
    type=click.Choice([name for name in PLATFORM_KEYS if name != "fee_receiver"]),
    help="The platform's key that calls.",
)
@click.option(
    "--cancel-of",
    "scheduler",
    type=click.Choice(PLATFORM_KEYS),
    help="Cancel the operation instead, which this key has scheduled.",
)
@json_option
@click.argument("contract")
@click.argument("function")
@click.argument("arguments", nargs=-1)
def govern(
    data: Path,
    rpc: str | None,
    key: str,
    scheduler: str | None,
    contract: str,
    function: str,
    arguments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Call a function that needs a role, and go through its delay.

    Where the role waits, the first call schedules the operation, and the same command again, after
    the delay and within a week, executes it. CONTRACT is a name of the manifest, or NAME@ADDRESS
    for a contract of that kind elsewhere. Numbers are atomic units and unix seconds; lists are JSON.

    The hash of a transaction is told, on stderr, before it is sent. If its answer is lost, look it
    up before repeating the command: what was executed would be scheduled a second time.

    `plaza roles` says who may call what. Exit 1 if the contract refuses; exit 3 if the chain does
    not answer.

    \b
    Examples:
      plaza govern --as admin PlatformCoin setMintLimit 0x52908400098527886E0F7030069857D2E4169EE7 5000000 0
      plaza govern --as risk CreditBook setCaps 50000000000 20000000000000 1000
      plaza govern --as admin --cancel-of risk CreditBook setCaps 50000000000 20000000000000 1000
      plaza govern --as servicer CreditBook grantHoliday 0x52908400098527886E0F7030069857D2E4169EE7 604800
    """  # noqa: E501 (a command is one line)
    from node.chain.codec import CodecError
    from node.chain.deployment import DeploymentError, Manifest
    from node.chain.governance import GovernanceError
    from node.chain.rpc import RpcError, RpcUnavailable

    settings = read_settings(data, {})
    if key in _WORKER_KEYS and RunningNode.find(data) is not None:
        raise click.ClickException(
            f"the node that runs on {data} uses the key {key} itself, and counts its transactions:"
            " stop it first"
        )
    try:
        manifest = Manifest.load(settings.manifest_path)
        codec, target = _contract(contract, manifest)
        calldata = codec.encode(function, *_parse(codec, function, arguments))
        outcome = run_or_explain(
            _govern(settings, manifest, rpc or manifest.rpc_url, key, scheduler, target, calldata)
        )
    except RpcUnavailable as error:
        raise ChainUnreachable(str(error)) from error
    except (CodecError, DeploymentError, GovernanceError, RpcError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        ready_at, transaction = outcome.ready_at, outcome.transaction
        print_json({"state": outcome.state, "ready_at": ready_at, "transaction": transaction})
    else:
        click.echo(_words(outcome, f"{contract}.{function}"))


async def _govern(
    settings: Settings,
    manifest: Manifest,
    url: str,
    key: str,
    scheduler: str | None,
    target: str,
    calldata: str,
) -> Outcome:
    from node.chain.deployment import check_same_chain
    from node.chain.governance import Governance
    from node.chain.rpc import HttpRpc
    from node.up import UpError, open_seed

    if not (settings.data / "seed.json").exists():
        raise UpError(f"there is no seed in {settings.data}: the platform's keys are elsewhere")
    seed = await asyncio.to_thread(open_seed, settings)
    rpc = HttpRpc(url)
    try:
        await check_same_chain(rpc, url, manifest)
        manager = manifest.contracts["AccessManager"].address
        governance = Governance(rpc, manifest.chain_id, manager, seed.platform(key), _tell)
        if scheduler is None:
            return await governance.go_on(target, calldata)
        return await governance.cancel(seed.platform(scheduler).address, target, calldata)
    finally:
        await rpc.close()


def _tell(transaction: str) -> None:
    click.echo(f"sending transaction {transaction}", err=True)


def _contract(words: str, manifest: Manifest) -> tuple[ContractCodec, str]:
    from eth_utils.address import is_address, to_checksum_address

    from node.chain.codec import ContractCodec

    name, _, address = words.partition("@")
    if name not in manifest.contracts:
        raise click.UsageError(f"no contract {name!r}: {', '.join(manifest.contracts)}")
    if address and not is_address(address):
        raise click.UsageError(f"{address!r} is no address")
    return ContractCodec(name), to_checksum_address(address or manifest.contracts[name].address)


def _parse(codec: ContractCodec, function: str, arguments: Sequence[str]) -> list[Any]:
    name = function.partition("(")[0]
    entries = [one for one in codec.abi if one["type"] == "function" and one["name"] == name]
    fitting = [entry for entry in entries if len(entry["inputs"]) == len(arguments)]
    if not fitting:
        return list(arguments)  # the codec says what it takes
    return [
        _value(parameter, argument)
        for parameter, argument in zip(fitting[0]["inputs"], arguments, strict=True)
    ]


def _value(parameter: Mapping[str, Any], text: str) -> Any:
    import json

    kind, name = parameter["type"], parameter["name"]
    try:
        if kind.endswith("]") or kind == "tuple":
            return json.loads(text)
        if kind.startswith(("uint", "int")):
            return int(text.replace("_", ""))
        if kind == "bool":
            return {"true": True, "false": False}[text]
    except (ValueError, KeyError):
        raise click.UsageError(f"{name} is {kind}, which {text!r} is not") from None
    return text


def _words(outcome: Outcome, call: str) -> str:
    when = moment(outcome.ready_at) if outcome.ready_at else ""
    return {
        "executed": f"{call} was executed: transaction {outcome.transaction}",
        "scheduled": f"{call} is scheduled: run the same command again from {when} on,"
        " within a week",
        "waiting": f"{call} is scheduled already, and can be executed from {when} on",
        "cancelled": f"{call} is cancelled: transaction {outcome.transaction}",
    }[outcome.state]
