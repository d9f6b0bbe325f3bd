"""The way every transaction goes: finish what was left, preview, confirm, submit, report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from wallet.amounts import format_units
from wallet.bridge_requests import RequestPlan
from wallet.cli.options import Settings
from wallet.client import Sent, Wallet
from wallet.credit_actions import RepaymentPlan
from wallet.errors import IdempotencyConflict, Superseded
from wallet.plans import Confirmed, Outcome, PaymentPlan, Plan, Reverted, memo_text

PENDING, REVERTED = 8, 6
BATCH_KEY = "batch:"  # how the idempotency keys of a batch's rows begin

# How long an unfinished transaction of another intent may hold up the one that was asked for.
EARLIER_TIMEOUT = 3.0


def _own_name(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Keep people's names for payments apart from the journal's own."""
    if value is not None and value.startswith(BATCH_KEY):
        raise click.BadParameter(f"names that begin with {BATCH_KEY!r} are those of batches")
    return value


def _configured(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float:
    """The timeout given, else the one of `wallet config`."""
    if value is not None:
        return value
    from wallet.config import Config  # noqa: PLC0415  # only to wait

    return Config(ctx.ensure_object(Settings).folder).timeout()


timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    callback=_configured,
    help="Seconds to wait until it is on chain  [default: 30, or as in `wallet config`]",
)
idempotency_option = click.option(
    "--idempotency-key",
    metavar="TEXT",
    help="Name this payment: the same name never sends a second transaction.",
    callback=_own_name,
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Check, simulate and show; sign nothing."
)


def finish_earlier(
    settings: Settings,
    wallet: Wallet,
    wanted: Mapping[str, str | None],
    timeout: float,
    idempotency_key: str | None = None,
) -> int | None:
    """Send the same bytes of unfinished transactions again, before anything new is built.

    If one of them is what was asked for now, it is the answer: an interrupted command that is run
    again finishes its payment and does not make a second one.

    Args:
        wanted: the parts of an intent that say it is the same; None for a part it must not have.

    Returns:
        The exit code if the command is finished with that, else None.

    Raises:
        IdempotencyConflict: the idempotency key was used for something else.
    """
    if idempotency_key is not None:
        sent = wallet.find(idempotency_key)
        if sent is not None:
            if not _same(sent, wanted):
                raise IdempotencyConflict(
                    f"the idempotency key {idempotency_key!r} was used for {describe(sent.intent)}"
                )
            settings.note(f"Submitted before under {idempotency_key!r}: {sent.hash}")
            return report(settings, wallet, sent, sent.wait(timeout), resumed=True)
    for sent in wallet.unfinished():
        # A row of a batch is that row's payment, however much it is like this one.
        of_a_batch = sent.idempotency_key.startswith(BATCH_KEY)
        same = idempotency_key is None and not of_a_batch and _same(sent, wanted)
        signed_at = datetime.fromtimestamp(sent.signed_at, UTC)
        settings.note(
            f"Unfinished since {signed_at:%Y-%m-%d %H:%M:%S UTC}: {describe(sent.intent)}, "
            f"{sent.hash}. The same transaction is sent again."
        )
        try:
            outcome = sent.wait(timeout if same else EARLIER_TIMEOUT)
        except Superseded as error:
            settings.note(str(error))
            continue
        if same:
            settings.note("It is what was asked for now, so nothing else is sent.")
            return report(settings, wallet, sent, outcome, resumed=True)
        settings.note(_outcome_line(outcome))
    wallet.require_no_held()
    return None


def preview(
    settings: Settings, plan: Plan | PaymentPlan | RepaymentPlan | RequestPlan, lines: list[str]
) -> None:
    """Show what will be signed, and what there is to say about it."""
    network = plan.network
    simulation = f"   Simulation  {plan.simulation}" if isinstance(plan, Plan) else ""
    settings.say(
        "\n".join(
            [
                f"From     {settings.key_file().name}     {short(wallet_address(plan))}   balance "
                f"{format_units(plan.balance)} → {format_units(plan.balance_after)} "
                f"{network.symbol}",
                *lines,
                f"Network  {network.name} (chain {network.chain_id}){simulation}   "
                f"Nonce  {plan.nonce}",
                *(f"Warning  {warning}" for warning in plan.warnings),
            ]
        )
    )


def submit(
    settings: Settings,
    wallet: Wallet,
    plan: Plan | PaymentPlan | RepaymentPlan | RequestPlan,
    timeout: float,
    idempotency_key: str | None = None,
) -> int:
    """Submit a confirmed plan, wait, and report. Returns the exit code."""
    sent = wallet.submit(plan, idempotency_key)
    settings.say(f"Sent {sent.hash}")
    return report(settings, wallet, sent, sent.wait(timeout))


def report(
    settings: Settings, wallet: Wallet, sent: Sent, outcome: Outcome, resumed: bool = False
) -> int:
    """Answer with how a transaction ended, or that it has not. Returns the exit code."""
    value: dict[str, Any] = {
        "hash": sent.hash,
        "intent": dict(sent.intent),
        "network": wallet.network.name,
        "nonce": sent.nonce,
        "resumed": resumed,
    }
    if isinstance(outcome, Confirmed):
        value |= {"status": "confirmed", "block": outcome.block, "gas_used": outcome.gas_used}
        code = 0
    elif isinstance(outcome, Reverted):
        value |= {"status": "reverted", "block": outcome.block, "reason": outcome.reason}
        code = REVERTED
    else:
        value |= {"status": "pending", "problem": outcome.problem}
        code = PENDING
    settings.answer(value, _outcome_line(outcome))
    return code


_SENTENCES = {
    "authorized transfer": "payment of {amount} to {to} under the nonce {nonce}",
    "acceptance": "acceptance of a credit line of {amount}",
    "draw": "draw of {amount} on the credit line",
    "repayment": "repayment of {amount} on the credit line of {to}",
    "holdback": "holdback of {holdback_bps} basis points",
    "dispute": "dispute of {amount} with {to} for order {order_hash}",
    "evidence": "evidence for order {order_hash}",
}


def describe(intent: Mapping[str, str]) -> str:
    """One line of what a transaction is for."""
    if intent["kind"] == "cancellation":
        return "a cancellation, which moves nothing"
    amount = format_units(int(intent["amount"]))
    if intent["kind"] in _SENTENCES:
        return _SENTENCES[intent["kind"]].format(**{**intent, "amount": amount})
    memo = memo_text(intent)
    order = f" for order {intent['order_hash']}" if "order_hash" in intent else ""
    return f"{intent['kind']} of {amount} to {intent['to']}{order}" + (f" ({memo})" if memo else "")


def short(address: str) -> str:
    """An address to recognise one's own by; never shown where it is being chosen."""
    return f"{address[:6]}…{address[-4:]}"


def wallet_address(plan: Plan | PaymentPlan | RepaymentPlan | RequestPlan) -> str:
    return plan.authorization.payer if isinstance(plan, PaymentPlan) else plan.sender


def _same(sent: Sent, wanted: Mapping[str, str | None]) -> bool:
    return all(sent.intent.get(name) == value for name, value in wanted.items())


def _outcome_line(outcome: Outcome) -> str:
    if isinstance(outcome, Confirmed):
        return f"Confirmed in block {outcome.block}"
    if isinstance(outcome, Reverted):
        return f"Reverted in block {outcome.block}, nothing moved: {outcome.reason}"
    problem = f" (the endpoint says: {outcome.problem})" if outcome.problem else ""
    return f"Still pending, and may still land: {outcome.hash}{problem}"
