"""wallet verify: say who signed a message or typed data."""

from __future__ import annotations

from typing import TextIO

import click

from wallet.cli.names import complete_recipients
from wallet.cli.options import Command, Settings
from wallet.cli.sign import (
    default_network,
    digest_of,
    message_option,
    read_subject,
    typed_option,
)
from wallet.signatures import recover_signer


@click.command("verify", cls=Command)
@click.argument("signature")
@typed_option
@message_option
@click.option(
    "--by",
    metavar="NAME|ADDRESS",
    help="Who is to have signed it.",
    shell_complete=complete_recipients,
)
@click.pass_obj
def command(
    settings: Settings, signature: str, typed: TextIO | None, message: str | None, by: str | None
) -> int:
    """Say who made a SIGNATURE of a message or typed data; with --by, whether it was them.

    If somebody else did, and there is a contract at the address, the contract is asked (EIP-1271).
    Ends with 0 if the signature is valid, with 1 if it is not.
    """
    raw = _read_signature(signature)
    digest = digest_of(read_subject(typed, message))
    wanted = None if by is None else settings.find_address(by)[0]
    found = recover_signer(digest, raw)
    valid, how = found is not None and wanted in (None, found), "key"
    if not valid and wanted is not None:
        if default_network(settings) is None:
            settings.note("no network is stored, so no contract was asked about the signature")
        else:
            with settings.open_wallet() as wallet:
                accepted = wallet.is_signed_by_contract(wanted, digest, raw)
            if accepted is not None:
                valid, how = accepted, "contract"
    signer = wanted if valid and how == "contract" else found
    settings.answer(
        {
            "valid": valid,
            "signer": signer,
            "by": wanted,
            "method": how,
            "digest": "0x" + digest.hex(),
        },
        _sentence(valid, signer, wanted, how),
    )
    return 0 if valid else 1


def _sentence(valid: bool, signer: str | None, wanted: str | None, how: str) -> str:
    if valid:
        return f"Signed by {signer}" + (", says its contract" if how == "contract" else "")
    if how == "contract":
        return f"Not signed by {wanted}, says its contract"
    if signer is None:
        return "Not signed by anyone: it is not a signature of this"
    return f"Not signed by {wanted}, but by {signer}, if this is what was signed"


def _read_signature(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if not text.startswith("0x") or not raw:
        raise click.BadParameter(f"{text[:20]!r} is not a signature: 0x and hex digits")
    return raw
