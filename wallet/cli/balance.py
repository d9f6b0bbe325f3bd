"""wallet balance: what keys and addresses hold."""

from __future__ import annotations

from contextlib import closing

import click

from wallet.accounts import check_chain, read_account
from wallet.amounts import format_units
from wallet.cli.names import complete_recipients
from wallet.cli.options import Command, Settings
from wallet.rpc import Rpc


@click.command("balance", cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME|ADDRESS]...", shell_complete=complete_recipients)
@click.pass_obj
def command(settings: Settings, names: tuple[str, ...]) -> None:
    """Show what keys (all of them without a NAME) or addresses hold."""
    if not names and settings.key:
        names = (settings.key,)
    network = settings.networks().get(settings.network)
    with closing(Rpc(network.rpc_url)) as rpc:
        wanted = [settings.find_party(name) for name in names or settings.keystore().names()]
        if not wanted:
            settings.keystore().get()  # says how to make the first key
        check_chain(network, rpc)
        accounts = [(party.name, read_account(network, rpc, party.address)) for party in wanted]
    symbol = network.symbol
    titles = [name or account.address for name, account in accounts]
    amounts = [format_units(account.units) for _, account in accounts]
    lines = [
        f"{title:<{max(map(len, titles))}}  {amount:>{max(map(len, amounts))}} {symbol}"
        + (f"  ({account.obstacle})" if account.obstacle else "")
        for title, amount, (_, account) in zip(titles, amounts, accounts, strict=True)
    ]
    settings.answer(
        {
            "network": network.name,
            "symbol": symbol,
            "balances": [
                {
                    "name": name,
                    "address": account.address,
                    "balance": str(account.units),
                    "kinds": list(account.kinds),
                    "member_until": account.member_until,
                    "frozen": account.frozen,
                    "in_good_standing": account.obstacle is None,
                    "as_of_block": account.as_of_block,
                }
                for name, account in accounts
            ],
        },
        "\n".join(lines),
    )
