"""wallet send: pay an address, a contact or one of one's own keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import click

from wallet.amounts import format_units
from wallet.cli.names import complete_recipients
from wallet.cli.options import AMOUNT, MEMO, Command, ConfirmationRequired, Declined, Settings
from wallet.cli.sending import (
    dry_run_option,
    finish_earlier,
    idempotency_option,
    preview,
    submit,
    timeout_option,
)
from wallet.client import Wallet
from wallet.contacts import Party
from wallet.plans import Plan, memo_text


@click.command("send", cls=Command, signs=True)
@click.argument("to", shell_complete=complete_recipients)
@click.argument("amount", type=AMOUNT)
@click.option("--memo", type=MEMO, help="Public text of up to 32 bytes, or 0x and 64 hex digits.")
@click.option("--allow-new-recipient", is_flag=True, help="Pay an address never paid before.")
@click.option(
    "--allow-unusual-recipient",
    is_flag=True,
    help="Pay the zero address, the coin's contract or oneself.",
)
@dry_run_option
@idempotency_option
@timeout_option
@click.pass_obj
def command(
    settings: Settings,
    *,
    to: str,
    amount: int,
    memo: bytes | None,
    allow_new_recipient: bool,
    allow_unusual_recipient: bool,
    dry_run: bool,
    idempotency_key: str | None,
    timeout: float,
) -> int:
    """Send AMOUNT (as 12.50) to TO, an address or the name of a contact or of your own key."""
    if not dry_run:
        settings.require_answerable()
    return transfer(
        settings,
        settings.find_party(to),
        amount,
        memo,
        allow_new_recipient=allow_new_recipient,
        allow_unusual_recipient=allow_unusual_recipient,
        dry_run=dry_run,
        idempotency_key=idempotency_key,
        timeout=timeout,
    )


def transfer(
    settings: Settings,
    party: Party,
    amount: int,
    memo: bytes | None,
    *,
    allow_new_recipient: bool,
    allow_unusual_recipient: bool,
    dry_run: bool,
    idempotency_key: str | None,
    timeout: float,
    warn: Callable[[Wallet], list[str]] = lambda wallet: [],
) -> int:
    """Send `amount` atomic units; `warn` says what else the preview warns of.

    Returns:
        The exit code.
    """
    signer = settings.signer()
    with settings.open_wallet(signer) as wallet:
        if not dry_run:
            wanted = {
                "kind": "transfer",
                "to": party.address,
                "amount": str(int(amount)),
                "memo": None if memo is None else "0x" + memo.hex(),
            }
            code = finish_earlier(settings, wallet, wanted, timeout, idempotency_key)
            if code is not None:
                return code
            signer.prepare()
        plan = wallet.plan_transfer(party.address, amount, memo, allow_unusual_recipient)
        plan = replace(plan, warnings=(*plan.warnings, *warn(wallet)))
        preview(settings, plan, transfer_lines(plan, party))
        if dry_run:
            settings.answer(plan.to_dict(), "Nothing was signed or sent.")
            return 0
        if plan.first_time and not party.is_own and not allow_new_recipient:
            confirm_new_recipient(settings, party.address)
        settings.confirm("Send?")
        return submit(settings, wallet, plan, timeout, idempotency_key)


def transfer_lines(plan: Plan, party: Party) -> list[str]:
    """What a transfer does, from its own bytes; the name beside the address is this wallet's."""
    intent, symbol = plan.intent, plan.network.symbol
    memo = memo_text(intent)
    return [
        recipient_line(party, intent["to"], plan.earlier_payments, plan.first_time),
        f"Amount   {format_units(int(intent['amount']))} {symbol}"
        + (f"    Memo  {memo} (public)" if memo is not None else ""),
    ]


def recipient_line(party: Party, address: str, earlier_payments: int, first_time: bool) -> str:
    """Who gets it: always with the whole address, whatever it is called here."""
    known = f"{earlier_payments} earlier payment{'' if earlier_payments == 1 else 's'}"
    if party.is_own:
        known = "your own key"
    elif first_time:
        known = "first payment to this address"
    if party.name and not party.is_own:
        known = f"your contact, {known}"
    return f"To       {party.name + '     ' if party.name else ''}{address}  ({known})"


def confirm_new_recipient(settings: Settings, address: str) -> None:
    """Have the last characters typed. Raises ConfirmationRequired off a terminal, or Declined."""
    if not settings.on_terminal:
        raise ConfirmationRequired(
            f"{address} was never paid before: confirm with --allow-new-recipient"
        )
    typed = click.prompt(
        "First payment to this address. Type its last 4 characters from where you have it", err=True
    )
    if typed.strip().lower() != address[-4:].lower():
        raise Declined(f"{typed!r} is not how {address} ends: nothing was sent")
