"""wallet qr: draw QR codes, and say what a URI asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wallet.addresses import format_memo
from wallet.amounts import format_units
from wallet.cli.names import complete_recipients
from wallet.cli.options import Command, Settings
from wallet.contacts import Party
from wallet.networks import Network
from wallet.qr import check_picture, draw_code, write_picture
from wallet.uris import TransferRequest, is_uri, parse_uri, read_transfer

out_option = click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the code into a new FILE.svg or FILE.png.",
)


@click.group("qr")
def command() -> None:
    """Draw QR codes, and say what a URI asks for."""


@command.command(cls=Command)
@click.argument("text", metavar="TEXT|ADDRESS|NAME", shell_complete=complete_recipients)
@out_option
@click.pass_obj
def show(settings: Settings, text: str, out: Path | None) -> None:
    """Draw the code of an address, of the address of a NAME, or of a text with a colon in it.

    A request to pay (ethereum:…) is drawn only if it is written as one; whoever reads it decides
    what it is worth.
    """
    if is_uri(text):
        parse_uri(text)
    if ":" not in text:
        text = settings.find_party(text).address
    if out is not None:
        check_picture(out)
    show_code(settings, text, draw=out is None, out=out)
    settings.answer({"text": text, "file": out and str(out)}, text)


@command.command(cls=Command)
@click.argument("uri")
@click.pass_obj
def parse(settings: Settings, uri: str) -> None:
    """Say what a URI asks for, if it can be paid here; pays nothing and asks no network."""
    network = settings.networks().get(settings.network)
    asked = read_transfer(network, uri)
    party = settings.find_party(asked.to)
    settings.answer(
        asked_json(network, asked, party), "\n".join(asked_lines(network, asked, party))
    )


def show_code(settings: Settings, text: str, draw: bool, out: Path | None) -> None:
    """Draw a text's code for the person, write it into a file, or both."""
    if draw:
        settings.say(draw_code(text))
    if out is not None:
        write_picture(out, text)
        settings.note(f"The code is in {out}")


def asked_lines(network: Network, asked: TransferRequest, party: Party) -> list[str]:
    """What a request asks for, in words."""
    known = "your own key" if party.is_own else "your contact" if party.name else "no contact"
    memo = "" if asked.memo is None else f"    Memo  {format_memo(asked.memo)} (public)"
    return [
        f"To       {party.name + '     ' if party.name else ''}{asked.to}  ({known})",
        f"Amount   {format_units(asked.units)} {network.symbol}{memo}",
        f"Network  {network.name} (chain {network.chain_id})",
    ]


def asked_json(network: Network, asked: TransferRequest, party: Party) -> dict[str, Any]:
    """The same for programs; the amount in atomic units."""
    return {
        "network": network.name,
        "chain_id": network.chain_id,
        "coin": network.coin,
        "symbol": network.symbol,
        "to": asked.to,
        "name": party.name,
        "is_own_key": party.is_own,
        "amount": str(asked.units),
        "memo": None if asked.memo is None else "0x" + asked.memo.hex(),
        "memo_text": None if asked.memo is None else format_memo(asked.memo),
    }
