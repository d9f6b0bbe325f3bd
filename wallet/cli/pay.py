"""wallet pay: pay a purchase into escrow, or a request to an address."""

from __future__ import annotations

import time

import click

from wallet.amounts import format_units
from wallet.bridge_requests import is_bridge_request
from wallet.cli.options import Command, Settings, one_line
from wallet.cli.pay_requests import pay_bridge_request, pay_uri, require_no_flags
from wallet.cli.sending import (
    PENDING,
    dry_run_option,
    finish_earlier,
    idempotency_option,
    preview,
    submit,
    timeout_option,
)
from wallet.client import Wallet
from wallet.plans import PaymentPlan
from wallet.uris import is_uri


@click.command("pay", cls=Command, signs=True)
@click.argument("what", metavar="URI|URL|PURCHASE|REQUEST")
@click.option("--relay", is_flag=True, help="Only sign: the bridge sends the transaction.")
@click.option("--allow-new-recipient", is_flag=True, help="Pay an address never paid before.")
@dry_run_option
@idempotency_option
@timeout_option
@click.pass_obj
def command(
    settings: Settings,
    *,
    what: str,
    relay: bool,
    allow_new_recipient: bool,
    dry_run: bool,
    idempotency_key: str | None,
    timeout: float,
) -> int:
    """Pay a purchase, a request to pay, or what a URI asks for.

    A purchase (pur_… or its URL): the money is held by the escrow, for this order alone. A bridge's
    request (prq_… or its URL) and a URI (ethereum:…, EIP-681) are paid to an address at once.

    What the bridge says is checked against the stored network: the order hash of a purchase is
    computed here from its terms, the nonce of a request from its name.
    """
    if not dry_run:
        settings.require_answerable()
    if is_uri(what):
        require_no_flags(relay=relay)
        return pay_uri(
            settings,
            what,
            allow_new_recipient=allow_new_recipient,
            dry_run=dry_run,
            idempotency_key=idempotency_key,
            timeout=timeout,
        )
    require_no_flags(idempotency_key=idempotency_key is not None)
    if is_bridge_request(what):
        return pay_bridge_request(
            settings,
            what,
            relay=relay,
            allow_new_recipient=allow_new_recipient,
            dry_run=dry_run,
            timeout=timeout,
        )
    require_no_flags(allow_new_recipient=allow_new_recipient)
    return _pay_purchase(settings, what, relay, dry_run, timeout)


def _pay_purchase(
    settings: Settings, purchase: str, relay: bool, dry_run: bool, timeout: float
) -> int:
    signer = settings.signer()
    with settings.open_wallet(signer) as wallet:
        request = wallet.payment_request(purchase)
        if not dry_run:
            wanted = {"kind": "payment", "order_hash": "0x" + request.order_hash.hex()}
            code = finish_earlier(settings, wallet, wanted, timeout)
            if code is not None:
                return code
            signer.prepare()
        plan = wallet.plan_payment(request)
        preview(settings, plan, _lines(plan))
        if dry_run:
            settings.answer(plan.to_dict(), "Nothing was signed or sent.")
            return 0
        settings.confirm("Pay?")
        if relay:
            return _relay(settings, wallet, plan, timeout)
        return submit(settings, wallet, plan, timeout)


def _relay(settings: Settings, wallet: Wallet, plan: PaymentPlan, timeout: float) -> int:
    wallet.relay(plan, wallet.sign_payment(plan))
    settings.say("Signed; the bridge has the signature")
    done = wallet.wait_until_authorized(plan, timeout)
    order_hash = plan.intent["order_hash"]
    settings.answer(
        {
            "status": "authorized" if done else "pending",
            "order_hash": order_hash,
            "purchase_id": plan.request.purchase_id,
            "intent": dict(plan.intent),
            "network": wallet.network.name,
        },
        f"Authorized: the escrow holds the money for order {order_hash}"
        if done
        else f"Still pending, and may still land: order {order_hash}",
    )
    return 0 if done else PENDING


def _lines(plan: PaymentPlan) -> list[str]:
    request, terms, symbol = plan.request, plan.request.terms, plan.network.symbol
    return [
        f"To       {one_line(request.merchant)}, order {one_line(request.order_id)} "
        "(so says the bridge)",
        f"Seller   {terms.payee}",
        f"Amount   {format_units(plan.authorization.value)} {symbol}, held by the escrow "
        f"{plan.network.escrow}",
        f"Fee      {percent(terms.min_fee_bps)} to {percent(terms.max_fee_bps)}, "
        f"paid by the seller to {terms.fee_receiver}",
        f"Operator {terms.operator} may release to the seller, {duration(terms.dispute_window)} "
        "after confirming delivery",
        f"Until    {utc(terms.authorize_before)} (payable), {utc(terms.reclaim_after)} "
        "(then you may take back what was not delivered)",
        f"Order    {plan.intent['order_hash']}",
    ]


def percent(bps: int) -> str:
    """Basis points as people read them."""
    return f"{bps // 100}.{bps % 100:02d} %"


def duration(seconds: int) -> str:
    """Seconds as days, hours, minutes and seconds, as many as are needed."""
    parts = []
    for name, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    return " ".join(parts) or "at once"


def utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
