"""wallet sign: sign a message (EIP-191) or typed data (EIP-712)."""

from __future__ import annotations

import json
from typing import Any, TextIO

import click

from wallet.cli.options import Command, Settings, read_text
from wallet.networks import Network
from wallet.signatures import explain, message_digest, sign_message, sign_typed_data
from wallet.typed_data import MAX_TEXT, TypedData

typed_option = click.option(
    "--typed",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="EIP-712 typed data as JSON, - for stdin.",
)
message_option = click.option("--message", metavar="TEXT", help="A text, signed by EIP-191.")


@click.command("sign", cls=Command, signs=True)
@typed_option
@message_option
@click.option("--allow-other-chain", is_flag=True, help="Sign typed data for another chain.")
@click.pass_obj
def command(
    settings: Settings, typed: TextIO | None, message: str | None, allow_other_chain: bool
) -> None:
    """Sign a message or typed data, and send nothing.

    A signature can be worth as much as a transaction: what it would do to your coin is said as far
    as it can be read, and every value that is hashed is shown.
    """
    settings.require_answerable()
    subject = read_subject(typed, message)
    signer = settings.signer()
    value: dict[str, Any] = {"address": signer.address, "digest": "0x" + digest_of(subject).hex()}
    if isinstance(subject, TypedData):
        meaning = explain(subject, default_network(settings), signer.address, allow_other_chain)
        value |= {
            "kind": "typed_data",
            "primary_type": subject.primary_type,
            "moves_coin": meaning.moves,
            "warnings": list(meaning.warnings),
        }
        lines = [
            *subject.lines(),
            *([f"Means    {meaning.moves}"] if meaning.moves else []),
            *(f"Warning  {warning}" for warning in meaning.warnings),
        ]
    else:
        value["kind"] = "message"
        lines = [f"Message  {json.dumps(subject, ensure_ascii=False)}"]
    signer.prepare()
    settings.say("\n".join([f"From     {settings.key_file().name}     {signer.address}", *lines]))
    settings.confirm("Sign?")
    if isinstance(subject, TypedData):
        signature = sign_typed_data(signer, subject)
    else:
        signature = sign_message(signer, subject.encode())
    value["signature"] = "0x" + signature.hex()
    settings.answer(value, f"Signature 0x{signature.hex()}")


def read_subject(typed: TextIO | None, message: str | None) -> TypedData | str:
    """What is signed: typed data from a file, or a text."""
    if (typed is None) == (message is None):
        raise click.UsageError("give one of --typed and --message")
    if typed is not None:
        return TypedData.from_text(read_text(typed, MAX_TEXT + 1))
    try:
        (message or "").encode()
    except UnicodeEncodeError as error:
        raise click.UsageError("the message is not UTF-8 text") from error
    return message or ""


def digest_of(subject: TypedData | str) -> bytes:
    """The 32 bytes that are signed."""
    return subject.digest() if isinstance(subject, TypedData) else message_digest(subject.encode())


def default_network(settings: Settings) -> Network | None:
    """The network of --network, else the default one; None where none is stored."""
    networks = settings.networks()
    return networks.get(settings.network) if settings.network or networks.chosen() else None
