"""wallet request: ask to be paid."""

from __future__ import annotations

from pathlib import Path

import click

from wallet.addresses import ZERO_ADDRESS
from wallet.cli.names import complete_recipients
from wallet.cli.options import AMOUNT, MEMO, Command, Settings
from wallet.cli.qr import asked_json, asked_lines, out_option, show_code
from wallet.errors import InvalidInput
from wallet.qr import check_picture
from wallet.uris import TransferRequest, read_transfer, write_transfer


@click.command("request", cls=Command)
@click.argument("amount", type=AMOUNT)
@click.option("--memo", type=MEMO, help="Public text of up to 32 bytes, or 0x and 64 hex digits.")
@click.option(
    "--to",
    metavar="NAME|ADDRESS",
    help="Who is to be paid (default: the key).",
    shell_complete=complete_recipients,
)
@click.option("--qr", "draw", is_flag=True, help="Draw it as a QR code, too.")
@out_option
@click.pass_obj
def command(
    settings: Settings,
    *,
    amount: int,
    memo: bytes | None,
    to: str | None,
    draw: bool,
    out: Path | None,
) -> None:
    """Print a URI (EIP-681) that asks for AMOUNT (as 12.50), to be paid to the key.

    Nothing is sent, and no network is asked. A payer with this wallet uses `wallet pay URI`.
    """
    network = settings.networks().get(settings.network)
    if out is not None:
        check_picture(out)
    if amount == 0:
        raise InvalidInput("the amount is zero")
    party = settings.find_party(to or settings.key_file().name)
    if party.address in (ZERO_ADDRESS, network.coin, network.escrow):
        raise InvalidInput(f"{party.address} is nobody's: coin is not sent there")
    if not party.is_own:
        settings.note("It is not one of your own keys that is to be paid")
    uri = write_transfer(network, TransferRequest(party.address, int(amount), memo))
    # What is said about it is read from the very text that is given away.
    asked = read_transfer(network, uri)
    settings.note("\n".join(asked_lines(network, asked, party)))
    show_code(settings, uri, draw, out)
    settings.answer(
        {"uri": uri, **asked_json(network, asked, party), "file": out and str(out)}, uri
    )
