"""The `wallet` command. Each verb's module is imported only when the verb is used.

Exit codes: 0 ok, 1 error, 2 usage, 3 declined, 4 password, 5 confirmation required, 6 reverted,
7 network, 8 pending (may still land), 9 insufficient funds.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

from wallet import errors
from wallet.cli.options import ConfirmationRequired, Declined, Settings, clean, shared_options

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMPLETION = "_WALLET_COMPLETE"  # how a shell says what it wants to be completed

EXIT_CODES: dict[type[BaseException], int] = {
    click.UsageError: 2,
    click.Abort: 3,
    Declined: 3,
    errors.PasswordError: 4,
    ConfirmationRequired: 5,
    errors.WouldRevert: 6,
    errors.NetworkError: 7,
    errors.InsufficientFunds: 9,
}

# Verb -> module and short help, so that the list of verbs needs none of the modules.
_VERBS = {
    "key": ("wallet.cli.key", "Make, import, back up and remove keys."),
    "contact": ("wallet.cli.contact", "Give names to the addresses of others."),
    "network": ("wallet.cli.network", "Add, choose, show, check and remove networks."),
    "balance": ("wallet.cli.balance", "Show what keys hold."),
    "send": ("wallet.cli.send", "Pay an address, a contact or one of your own keys."),
    "pay": ("wallet.cli.pay", "Pay a purchase into escrow, or a request to pay."),
    "request": ("wallet.cli.request", "Ask to be paid: a URI, and its QR code."),
    "qr": ("wallet.cli.qr", "Draw QR codes, and say what a URI asks for."),
    "purchase": ("wallet.cli.purchase", "Show, confirm, dispute or reclaim a purchase."),
    "credit": ("wallet.cli.credit", "Accept, draw on and repay a credit line."),
    "sign": ("wallet.cli.sign", "Sign a message or typed data."),
    "verify": ("wallet.cli.verify", "Say who signed a message or typed data."),
    "tx": ("wallet.cli.tx", "Sign offline, broadcast, follow, replace and cancel."),
    "batch": ("wallet.cli.batch", "Check and pay many rows of a file."),
    "history": ("wallet.cli.history", "Show what came and went."),
    "config": ("wallet.cli.config", "Show and set defaults."),
    "doctor": ("wallet.cli.doctor", "Say what is wrong, and what to do."),
    "completion": ("wallet.cli.completion", "Complete commands and names in a shell."),
}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command: click.Command = import_module(_VERBS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _VERBS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415

        verbs = [
            CompletionItem(name, help=text)
            for name, (_, text) in _VERBS.items()
            if name.startswith(incomplete)
        ]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=_Verbs, params=shared_options())
@click.version_option(package_name="plaza")
@click.pass_context
def root(ctx: click.Context) -> None:
    """Hold, send and receive Plaza Coin, and pay purchases into escrow."""
    ctx.ensure_object(Settings)


def exit_code_of(error: BaseException) -> int:
    """The exit code of an error: that of the nearest class in the table, else 1."""
    return next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the console script's entry point."""
    if os.environ.get(COMPLETION):
        return _complete()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = root.main(arguments, prog_name="wallet", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.Abort, click.ClickException, errors.WalletError, OSError) as error:
        code, message = _explain(error)
        if "--json" in arguments:
            click.echo(json.dumps({"error": {"code": code, "message": message}}))
        click.echo(clean(f"wallet: {message}"), err=True)
        return exit_code_of(error)


def _complete() -> int:
    """Answer a shell that wants words completed. Whatever is wrong, it is not said there."""
    try:
        root.main([], prog_name="wallet", complete_var=COMPLETION)
    except SystemExit:
        return 0
    except (Exception, KeyboardInterrupt):
        return 1


def _explain(error: BaseException) -> tuple[str, str]:
    """The error's code for programs and its message for people."""
    match error:
        case errors.WalletError():
            return error.code, str(error)
        case click.Abort():
            return "declined", "declined: nothing was sent"
        case click.UsageError():
            hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
            return "usage", error.format_message() + hint
        case click.ClickException():
            return "error", error.format_message()
        case _:
            return "error", str(error)
