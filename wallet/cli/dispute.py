"""wallet purchase dispute and evidence: what a party says of an order, and its hash on chain."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wallet.amounts import format_units
from wallet.cli.actions import act
from wallet.cli.options import Command, Settings
from wallet.cli.pay import utc
from wallet.cli.sending import dry_run_option, timeout_option
from wallet.errors import InvalidInput

if TYPE_CHECKING:
    from wallet.client import Wallet
    from wallet.disputes import Dispute, Statement
    from wallet.intents import Terms
    from wallet.plans import Plan
    from wallet.purchases import Purchase


def _statement_options(function: Any) -> Any:
    """The flags by which something is said."""
    options: list[Callable[[Any], Any]] = [
        click.argument("order"),
        click.option("--text", metavar="TEXT", help="What you say, up to 4000 characters."),
        click.option("--text-file", metavar="FILE", help="The same from a file, - for stdin."),
        click.option("--reference", metavar="TEXT", help="Such as a ticket or a file's hash."),
        click.option("--salt", metavar="HEX", help="32 random bytes: hides a guessable text."),
        click.option(
            "--sign-only", is_flag=True, help="Only sign: print what the shop hands the bridge."
        ),
        dry_run_option,
        timeout_option,
        click.pass_obj,
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command(cls=Command, signs=True)
@_statement_options
def dispute(settings: Settings, **flags: Any) -> int:
    """Dispute what is held of ORDER, once delivered: an arbiter decides, or a party gives in.

    The chain gets the hash of what you say; the text stays in this wallet, and the arbiter needs it
    from you. With --sign-only the shop's bridge gets text and signature, and shows it to him.
    """
    return _say(settings, "dispute", **flags)


@click.command(cls=Command, signs=True)
@_statement_options
def evidence(settings: Settings, **flags: Any) -> int:
    """Add evidence to the open dispute of ORDER, as its buyer, seller or operator."""
    return _say(settings, "evidence", **flags)


def _say(  # the flags
    settings: Settings,
    kind: str,
    *,
    order: str,
    text: str | None,
    text_file: str | None,
    reference: str | None,
    salt: str | None,
    sign_only: bool,
    dry_run: bool,
    timeout: float,
) -> int:
    from wallet.disputes import Statement  # noqa: PLC0415
    from wallet.intents import read_bytes32  # noqa: PLC0415

    words = _read_text(text, text_file)
    try:
        salt_bytes = None if salt is None else read_bytes32("--salt", salt)
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from error
    if not dry_run:
        settings.require_answerable()
    signer = settings.signer()
    with settings.open_wallet(signer) as wallet:
        purchase = wallet.purchase(order)
        statement = Statement(
            "complaint" if kind == "dispute" else "evidence",
            purchase.order_hash,
            wallet.address,
            words,
            reference,
            salt_bytes,
        )
        if sign_only and not dry_run:
            return _sign(settings, wallet, purchase, statement, order)
        wanted = {"kind": kind, "order_hash": "0x" + purchase.order_hash.hex()}
        if kind == "evidence":
            wanted["evidence_hash"] = "0x" + statement.hash().hex()
        make_plan = wallet.plan_dispute if kind == "dispute" else wallet.plan_evidence
        return act(
            settings,
            wallet,
            signer,
            wanted=wanted,
            make_plan=lambda: make_plan(purchase, statement),
            lines=lambda plan: _lines(plan, statement),
            question="Open the dispute?" if kind == "dispute" else "Submit it?",
            dry_run=dry_run,
            timeout=timeout,
            before_sending=lambda: _keep(settings, wallet, statement),
        )


def _read_text(text: str | None, file: str | None) -> str:
    if (text is None) == (file is None):
        raise click.UsageError("give one of --text and --text-file")
    if text is not None:
        return text
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(str(file)).read_bytes()
        return content.decode("utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read as text: {error}") from error


def _keep(settings: Settings, wallet: Wallet, statement: Statement) -> None:
    settings.note(f"What you say is kept in {wallet.keep(statement)}: the arbiter needs it")


def _lines(plan: Plan, statement: Statement) -> list[str]:
    intent = plan.intent
    lines = [f"Order    {intent['order_hash']}", f"Seller   {intent['to']}"]
    if intent["kind"] == "dispute":
        held = format_units(int(intent["amount"]))
        lines.append(f"Disputed {held} {plan.network.symbol}, all that the escrow holds")
    return [*lines, *_words(statement), f"Hash     {intent['evidence_hash']} (this goes on chain)"]


def _words(statement: Statement) -> list[str]:
    first, *more = statement.text.split("\n")
    lines = [f"Text     {first}", *(f"         {line}" for line in more)]
    return lines + ([f"Refers   {statement.reference}"] if statement.reference else [])


def _sign(
    settings: Settings, wallet: Wallet, purchase: Purchase, statement: Statement, order: str
) -> int:
    settings.say(
        "\n".join(
            [
                f"From     {settings.key_file().name}     {wallet.address}",
                f"Order    0x{purchase.order_hash.hex()}",
                *_words(statement),
            ]
        )
    )
    settings.confirm("Sign it for the bridge to send?")
    _keep(settings, wallet, statement)
    signature, deadline = wallet.sign_statement(purchase, statement)
    body: dict[str, Any] = {
        "text": statement.text,
        "reference": statement.reference,
        "salt": None if statement.salt is None else "0x" + statement.salt.hex(),
        "signed": {"signature": "0x" + signature.hex(), "deadline": deadline},
    }
    path = "disputes"
    if statement.kind == "evidence":
        path = "disputes/evidence"
        body["by"] = "payer" if wallet.address == purchase.terms.payer else "payee"
    value = {
        "status": "signed",
        "order_hash": "0x" + purchase.order_hash.hex(),
        "evidence_hash": "0x" + statement.hash().hex(),
        "path": f"/v1/purchases/{order}/{path}" if order.startswith("pur_") else None,
        "body": body,
    }
    settings.answer(
        value,
        "Signed; nothing was sent. The shop hands it to the bridge:\n"
        f"Signature {body['signed']['signature']}\nDeadline  {deadline}",
    )
    return 0


# ----------------------------------------------------------------------------------- show


_OUTCOMES = {
    "open": "open",
    "decided": "decided",
    "expired": "not decided in time: all went to the buyer",
    "settled": "settled: a party gave in",
}


def dispute_json(dispute: Dispute) -> dict[str, Any]:
    return {
        "status": dispute.outcome,
        "deadline": dispute.deadline,
        "to_payer": str(dispute.to_payer),
        "to_payee": str(dispute.to_payee),
        "statements": [
            {
                "kind": remark.kind,
                "party": remark.party,
                "hash": remark.hash,
                "block": remark.block,
                "text": remark.text,
            }
            for remark in dispute.remarks
        ],
    }


def dispute_lines(dispute: Dispute, terms: Terms, symbol: str) -> list[str]:
    roles = {terms.payer: "buyer", terms.payee: "seller"}
    until = f", the arbiter decides until {utc(dispute.deadline)}"
    lines = [f"Dispute  {_OUTCOMES[dispute.outcome]}" + (until * (dispute.outcome == "open"))]
    if dispute.outcome == "decided":
        lines[0] += (
            f": {format_units(dispute.to_payer)} {symbol} to the buyer, "
            f"{format_units(dispute.to_payee)} {symbol} to the seller before fee and holdback"
        )
    for remark in dispute.remarks:
        kept = remark.text or "(its text is not in this wallet)"
        lines.append(f"Says     {roles.get(remark.party, 'operator')}: {kept}  {remark.hash}")
    return lines
