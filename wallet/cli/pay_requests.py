"""What `wallet pay` does with requests to pay: URIs (EIP-681), and those of a bridge (prq_…)."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from wallet.amounts import format_units
from wallet.bridge_requests import RequestPlan
from wallet.cli.options import Settings, one_line
from wallet.cli.send import confirm_new_recipient, recipient_line, transfer
from wallet.cli.sending import PENDING, finish_earlier, preview, submit
from wallet.client import Wallet
from wallet.contacts import Party
from wallet.uris import read_transfer


def pay_uri(
    settings: Settings,
    uri: str,
    *,
    allow_new_recipient: bool,
    dry_run: bool,
    idempotency_key: str | None,
    timeout: float,
) -> int:
    """Pay what a URI asks for, as `wallet send` pays. Returns the exit code."""
    asked = read_transfer(settings.networks().get(settings.network), uri)
    return transfer(
        settings,
        settings.find_party(asked.to),
        asked.units,
        asked.memo,
        allow_new_recipient=allow_new_recipient,
        allow_unusual_recipient=False,
        dry_run=dry_run,
        idempotency_key=idempotency_key,
        timeout=timeout,
        warn=lambda wallet: _paid_before(wallet, asked.to, asked.memo),
    )


def _paid_before(wallet: Wallet, to: str, memo: bytes | None) -> list[str]:
    """A memo names what is paid; the same one again is mostly the same thing again."""
    if memo is None:
        return []
    return [
        f"this key paid {format_units(units)} to this address with this memo before, "
        f"in {transaction}"
        for transaction, units in wallet.payments_with_memo(to, memo)
    ]


def pay_bridge_request(
    settings: Settings,
    reference: str,
    *,
    relay: bool,
    allow_new_recipient: bool,
    dry_run: bool,
    timeout: float,
) -> int:
    """Pay a bridge's request by an authorization under its own nonce. Returns the exit code."""
    signer = settings.signer()
    with settings.open_wallet(signer) as wallet:
        request = wallet.bridge_request(reference)
        if not dry_run:
            wanted = {"kind": "authorized transfer", "nonce": "0x" + request.nonce.hex()}
            code = finish_earlier(settings, wallet, wanted, timeout)
            if code is not None:
                return code
            signer.prepare()
        plan = wallet.plan_request(request)
        party = settings.find_party(request.payee)
        preview(settings, plan, _lines(plan, party))
        if dry_run:
            settings.answer(plan.to_dict(), "Nothing was signed or sent.")
            return 0
        if plan.first_time and not party.is_own and not allow_new_recipient:
            confirm_new_recipient(settings, request.payee)
        settings.confirm("Pay?")
        if relay:
            return _relay(settings, wallet, plan, timeout)
        return submit(settings, wallet, plan, timeout)


def _relay(settings: Settings, wallet: Wallet, plan: RequestPlan, timeout: float) -> int:
    wallet.relay_request(plan, wallet.sign_intent(plan.authorization.intent))
    settings.say("Signed; the bridge has the signature")
    done = wallet.wait_until_paid(plan, timeout)
    request_id = plan.request.request_id
    settings.answer(
        {
            "status": "paid" if done else "pending",
            "request_id": request_id,
            "intent": dict(plan.intent),
            "network": wallet.network.name,
        },
        f"Paid: the coin took the authorization for {request_id}"
        if done
        else f"Still pending, and may still land: {request_id}. Pay it again and it is still once",
    )
    return 0 if done else PENDING


def _lines(plan: RequestPlan, party: Party) -> list[str]:
    request, intent = plan.request, plan.intent
    lines = [
        recipient_line(party, intent["to"], plan.earlier_payments, plan.first_time),
        f"Shop     {one_line(request.merchant)} (so says the bridge)",
        f"Amount   {format_units(int(intent['amount']))} {plan.network.symbol}",
        f"Request  {request.request_id}, payable until "
        f"{datetime.fromtimestamp(request.expires_at, UTC):%Y-%m-%d %H:%M:%S UTC}",
    ]
    if request.memo is not None:
        lines.append(f"For      {one_line(request.memo)} (so says the bridge)")
    return [*lines, f"Once     under the nonce {intent['nonce']}"]


def require_no_flags(**given: bool) -> None:
    """Raises UsageError for a flag that means nothing for what is paid."""
    for flag, is_given in given.items():
        if is_given:
            raise click.UsageError(
                f"--{flag.replace('_', '-')} means nothing for what is paid here"
            )
