"""wallet send: pay an address or one of one's own keys."""

from __future__ import annotations

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
    """Send AMOUNT (as 12.50) to TO, an address or the name of one of your own keys."""
    if not dry_run:
        settings.require_answerable()
    address, own_name = settings.find_address(to)
    signer = settings.signer()
    with settings.open_wallet(signer) as wallet:
        if not dry_run:
            wanted = {
                "kind": "transfer",
                "to": address,
                "amount": str(int(amount)),
                "memo": None if memo is None else "0x" + memo.hex(),
            }
            code = finish_earlier(settings, wallet, wanted, timeout, idempotency_key)
            if code is not None:
                return code
            signer.prepare()
        plan = wallet.plan_transfer(address, amount, memo, allow_unusual_recipient)
        preview(settings, plan, _lines(plan, own_name))
        if dry_run:
            settings.answer(plan.to_dict(), "Nothing was signed or sent.")
            return 0
        if plan.first_time and own_name is None and not allow_new_recipient:
            confirm_new_recipient(settings, address)
        settings.confirm("Send?")
        return submit(settings, wallet, plan, timeout, idempotency_key)


def _lines(plan: Plan, own_name: str | None) -> list[str]:
    intent, symbol = plan.intent, plan.network.symbol
    memo = memo_text(intent)
    count = plan.earlier_payments
    known = f"{count} earlier payment{'' if count == 1 else 's'}"
    if own_name is not None:
        known = "your own key"
    elif plan.first_time:
        known = "first payment to this address"
    return [
        f"To       {own_name + '     ' if own_name else ''}{intent['to']}  ({known})",
        f"Amount   {format_units(int(intent['amount']))} {symbol}"
        + (f"    Memo  {memo} (public)" if memo is not None else ""),
    ]


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
