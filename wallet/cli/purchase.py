"""wallet purchase: an order in escrow, from the buyer's side."""

from __future__ import annotations

from typing import Any

import click

from wallet.amounts import format_units
from wallet.cli.dispute import dispute, dispute_json, dispute_lines, evidence
from wallet.cli.options import Command, Settings
from wallet.cli.pay import percent, utc
from wallet.cli.sending import dry_run_option, finish_earlier, preview, submit, timeout_option
from wallet.client import Wallet
from wallet.plans import Plan
from wallet.purchases import Purchase


@click.group("purchase")
def command() -> None:
    """Show, confirm, dispute or reclaim a purchase.

    ORDER is a purchase id (pur_…) or URL of the bridge, or an order hash, which needs no bridge.
    """


command.add_command(dispute)
command.add_command(evidence)


@command.command(cls=Command)
@click.argument("order")
@click.pass_obj
def show(settings: Settings, order: str) -> None:
    """Show the terms of ORDER (a purchase's id, URL or order hash) and what the escrow holds."""
    with settings.open_wallet() as wallet:
        wallet.check_chain()
        purchase = wallet.purchase(order)
        argued = wallet.dispute(purchase)
    terms, state, symbol = purchase.terms, purchase.order, wallet.network.symbol
    deadline = f", until {utc(state.dispute_deadline)}" if state.dispute_deadline else ""
    settings.answer(
        {
            "order_hash": "0x" + purchase.order_hash.hex(),
            "status": state.status,
            "held": str(state.held),
            "refundable": str(state.refundable),
            "dispute_deadline": state.dispute_deadline,
            "dispute": None if argued is None else dispute_json(argued),
            "terms": terms.to_json(),
            "network": wallet.network.name,
        },
        f"Order    0x{purchase.order_hash.hex()}\n"
        f"Status   {state.status}{deadline}\n"
        f"Held     {format_units(state.held)} {symbol}\n"
        f"Released {format_units(state.refundable)} {symbol} (may still be refunded)\n"
        f"Buyer    {terms.payer}\n"
        f"Seller   {terms.payee}\n"
        f"Fee      {percent(terms.min_fee_bps)} to {percent(terms.max_fee_bps)}\n"
        f"Reclaim  from {utc(terms.reclaim_after)}, if delivery is not confirmed"
        + ("" if argued is None else "\n" + "\n".join(dispute_lines(argued, terms, symbol))),
    )


@command.command(cls=Command, signs=True)
@click.argument("order")
@dry_run_option
@timeout_option
@click.pass_obj
def confirm(settings: Settings, order: str, dry_run: bool, timeout: float) -> int:
    """Release everything held for ORDER to the seller: all is well. Cannot be undone."""
    return _settle(settings, order, "release", dry_run, timeout)


@command.command(cls=Command, signs=True)
@click.argument("order")
@dry_run_option
@timeout_option
@click.pass_obj
def reclaim(settings: Settings, order: str, dry_run: bool, timeout: float) -> int:
    """Take back everything held for ORDER, once the time for delivery is over."""
    return _settle(settings, order, "reclaim", dry_run, timeout)


def _settle(settings: Settings, order: str, kind: str, dry_run: bool, timeout: float) -> int:
    if not dry_run:
        settings.require_answerable()
    signer = settings.signer()
    with settings.open_wallet(signer) as wallet:
        purchase = wallet.purchase(order)
        if not dry_run:
            wanted = {"kind": kind, "order_hash": "0x" + purchase.order_hash.hex()}
            code = finish_earlier(settings, wallet, wanted, timeout)
            if code is not None:
                return code
            signer.prepare()
        plan = _plan(wallet, purchase, kind)
        preview(settings, plan, _lines(plan))
        if dry_run:
            settings.answer(plan.to_dict(), "Nothing was signed or sent.")
            return 0
        settings.confirm("Release to the seller?" if kind == "release" else "Reclaim?")
        return submit(settings, wallet, plan, timeout)


def _plan(wallet: Wallet, purchase: Purchase, kind: str) -> Plan:
    return wallet.plan_release(purchase) if kind == "release" else wallet.plan_reclaim(purchase)


def _lines(plan: Plan) -> list[str]:
    intent: dict[str, Any] = dict(plan.intent)
    amount, symbol = int(intent["amount"]), plan.network.symbol
    lines = [f"Order    {intent['order_hash']}", f"To       {intent['to']}"]
    if "fee" in intent:
        fee = int(intent["fee"])
        return [
            *lines,
            f"Amount   {format_units(amount)} {symbol}: {format_units(amount - fee)} to the "
            f"seller, {format_units(fee)} fee",
        ]
    return [*lines, f"Amount   {format_units(amount)} {symbol}, back to you"]
