"""wallet credit: a seller's credit line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wallet.amounts import Coin, format_units
from wallet.cli.actions import act
from wallet.cli.names import complete_recipients
from wallet.cli.options import AMOUNT, Command, Settings
from wallet.cli.pay import percent, utc
from wallet.cli.sending import dry_run_option, idempotency_option, timeout_option
from wallet.client import Wallet
from wallet.errors import InvalidInput
from wallet.files import parse_json, read_json

if TYPE_CHECKING:
    from wallet.credit import CreditLine, SignedOffer
    from wallet.credit_actions import RepaymentPlan
    from wallet.plans import Plan

_WORDS = {
    "none": "none",
    "active": "active",
    "delinquent": "delinquent: past due for more than 7 days",
    "defaulted": "in default",
    "closed": "closed",
    "charged_off": "written off",
}


@click.group("credit")
def command() -> None:
    """Accept, draw on and repay a credit line."""


@command.command("list", cls=Command)
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the credit lines of all keys."""
    keystore = settings.keystore()
    names = (settings.key,) if settings.key else keystore.names()
    with settings.open_wallet() as wallet:
        wallet.check_chain()
        lines = {name: wallet.credit_line(keystore.get(name).address) for name in names}
    symbol = wallet.network.symbol
    open_ = {name: line for name, line in lines.items() if line.status != "none"}
    width = max(map(len, open_), default=0)
    settings.answer(
        {
            "network": wallet.network.name,
            "lines": [{"name": name, **_as_json(line)} for name, line in open_.items()],
        },
        "\n".join(
            f"{name:<{width}}  owed {format_units(line.payoff)} of "
            f"{format_units(line.limit)} {symbol}  {_WORDS[line.status]}" + _next_due(line, symbol)
            for name, line in open_.items()
        )
        or "no credit line",
    )


@command.command(cls=Command)
@click.argument("seller", required=False)
@click.pass_obj
def statement(settings: Settings, seller: str | None) -> None:
    """Show what is owed and due now, of the key or of SELLER (a name or address)."""
    name = seller or settings.key_file().name
    address = settings.find_address(name)[0]
    with settings.open_wallet() as wallet:
        wallet.check_chain()
        line = wallet.credit_line(address)
    settings.answer(
        {"network": wallet.network.name, **_as_json(line)},
        "\n".join(_statement_lines(line, wallet.network.symbol)),
    )


def _statement_lines(line: CreditLine, symbol: str) -> list[str]:
    if line.status == "none":
        return [f"{line.seller} has no credit line"]
    lines = [
        f"Seller   {line.seller}",
        f"Status   {_WORDS[line.status]}",
        f"Owed     {format_units(line.payoff)} {symbol}, "
        f"of it {format_units(line.interest)} interest",
    ]
    if line.past_due_since:
        lines.append(
            f"Past due {format_units(line.past_due)} {symbol} since {utc(line.past_due_since)}"
        )
    if line.window_end:
        lines.append(
            f"Due      {format_units(line.due_in_window)} {symbol} by "
            f"{utc(line.window_end)}, from sales or by hand"
        )
    lines += [
        f"Free     {format_units(line.available)} of {format_units(line.limit)} {symbol}, "
        f"until {utc(line.draw_until)}",
        f"Rate     {percent(line.apr_bps)} a year; {percent(line.draw_fee_bps)} of each draw",
        f"Holdback {percent(line.holdback_bps)} of each sale",
        f"As of    {utc(line.as_of_time)} (block {line.as_of_block}); interest runs on",
    ]
    return lines + ([f"Note     {line.obstacle}"] if line.obstacle else [])


def _next_due(line: CreditLine, symbol: str) -> str:
    if line.past_due_since:
        return f"  {format_units(line.past_due)} {symbol} past due since {utc(line.past_due_since)}"
    if not line.window_end:
        return ""
    return f"  {format_units(line.due_in_window)} {symbol} due by {utc(line.window_end)}"


def _as_json(line: CreditLine) -> dict[str, Any]:
    amounts = ("principal", "interest", "payoff", "past_due", "due_in_window", "available", "limit")
    numbers = ("window_end", "past_due_since", "holdback_bps", "agreed_holdback_bps", "apr_bps")
    more = ("draw_fee_bps", "draw_until", "as_of_block", "as_of_time")
    return {
        "seller": line.seller,
        "status": line.status,
        **{name: str(getattr(line, name)) for name in amounts},
        **{name: getattr(line, name) for name in (*numbers, *more)},
        "obstacle": line.obstacle,
    }


# ---------------------------------------------------------------------------------- accept


@command.command(cls=Command, signs=True)
@click.argument("offer", metavar="FILE|URL")
@click.option("--sign-only", is_flag=True, help="Only sign: print what the shop hands the bridge.")
@dry_run_option
@timeout_option
@click.pass_obj
def accept(settings: Settings, offer: str, sign_only: bool, dry_run: bool, timeout: float) -> int:
    """Accept an offer: the bridge's JSON of it, in a FILE (- for stdin) or at a URL.

    Its hash is computed here from its terms, and its underwriter recovered from the signature and
    asked of the chain.
    """
    if not dry_run:
        settings.require_answerable()
    value = _read_offer(offer)
    signer = settings.signer()
    with settings.open_wallet(signer) as wallet:
        signed_offer = wallet.credit_offer(value)
        if sign_only and not dry_run:
            return _sign_acceptance(settings, wallet, signed_offer)
        offer_hash = "0x" + signed_offer.offer_hash.hex()
        return act(
            settings,
            wallet,
            signer,
            wanted={"kind": "acceptance", "offer_hash": offer_hash},
            make_plan=lambda: wallet.plan_accept(signed_offer),
            lines=lambda plan: _offer_lines(plan.network.symbol, signed_offer),
            question="Accept these terms?",
            dry_run=dry_run,
            timeout=timeout,
        )


def _read_offer(source: str) -> Any:
    if source.startswith(("http://", "https://")):
        from wallet.rpc import fetch_json  # noqa: PLC0415

        return fetch_json(source)
    return parse_json(sys.stdin.read(), "stdin") if source == "-" else read_json(Path(source))


def _sign_acceptance(settings: Settings, wallet: Wallet, offer: SignedOffer) -> int:
    wallet.check_offer(offer)
    lines = _offer_lines(wallet.network.symbol, offer)
    settings.say("\n".join([f"From     {settings.key_file().name}     {wallet.address}", *lines]))
    settings.confirm("Sign the acceptance of these terms?")
    signature, deadline = wallet.sign_acceptance(offer)
    body = {"signed": {"signature": "0x" + signature.hex(), "deadline": deadline}}
    settings.answer(
        {
            "status": "signed",
            "offer_hash": "0x" + offer.offer_hash.hex(),
            "path": offer.offer_id and f"/v1/credit_lines/offers/{offer.offer_id}/accept",
            "body": body,
        },
        f"Signed, valid until {utc(deadline)}; nothing was sent. The shop hands it to the bridge:\n"
        f"Signature {body['signed']['signature']}\nDeadline  {deadline}",
    )
    return 0


def _offer_lines(symbol: str, offer: SignedOffer) -> list[str]:
    terms = offer.intent.message
    holdback, fee = offer.number("holdbackBps"), offer.number("drawFeeBps")
    most = min(holdback + 1_000, 3_500)
    return [
        f"Limit    {format_units(offer.number('limit'))} {symbol}, to be drawn within "
        f"{offer.number('termDays')} days of accepting",
        f"Rate     {percent(offer.number('aprBps'))} a year: simple interest by the second on what "
        f"is drawn; {percent(fee)} of each draw, at once",
        f"Holdback {percent(holdback)} of each sale after the fee repays it, or more if you choose",
        "Minimum  every 60 days from the first draw: the interest by then, 1/9 of the principal",
        f"Past due 7 days of grace; then no draws, and {percent(most)} of each sale. After 90 days "
        "default: all is due. After 180 days it is written off, and still owed",
        f"By       {offer.underwriter}, an underwriter by the chain's word; until "
        f"{utc(offer.number('expires'))}",
        f"Shown    disclosure 0x{_hex(terms['disclosureHash'])}",
        f"Model    0x{_hex(terms['modelHash'])}",
        f"Offer    0x{offer.offer_hash.hex()}",
    ]


def _hex(word: int | str | bytes) -> str:
    assert isinstance(word, bytes)
    return word.hex()


# ---------------------------------------------------------------------- draw, repay, holdback


@command.command(cls=Command, signs=True)
@click.argument("amount", type=AMOUNT)
@dry_run_option
@idempotency_option
@timeout_option
@click.pass_obj
def draw(
    settings: Settings, amount: int, dry_run: bool, idempotency_key: str | None, timeout: float
) -> int:
    """Draw AMOUNT on the key's credit line."""
    if not dry_run:
        settings.require_answerable()
    signer = settings.signer()
    with settings.open_wallet(signer) as wallet:
        return act(
            settings,
            wallet,
            signer,
            wanted={"kind": "draw", "amount": str(int(amount))},
            make_plan=lambda: wallet.plan_draw(amount, idempotency_key=idempotency_key),
            lines=lambda plan: _draw_lines(plan, wallet.credit_line()),
            question="Draw?",
            dry_run=dry_run,
            timeout=timeout,
            idempotency_key=idempotency_key,
        )


def _draw_lines(plan: Plan, line: CreditLine) -> list[str]:
    units, symbol = int(plan.intent["amount"]), plan.network.symbol
    fee = line.draw_fee(units)
    owed = line.payoff + units + fee
    return [
        f"Draw     {format_units(units)} {symbol} from the lenders' pool",
        f"Cost     {format_units(fee)} {symbol} at once, and {percent(line.apr_bps)} a year",
        f"Owed     {format_units(line.payoff)} → {format_units(owed)} {symbol}, repaid by "
        f"{percent(line.holdback_bps)} of each sale",
    ]


class _AmountOrAll(click.ParamType[Any]):
    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "all" or not isinstance(value, str):
            return value
        try:
            return Coin(value)
        except InvalidInput as error:
            self.fail(str(error), param, ctx)


@command.command(cls=Command, signs=True)
@click.argument("amount", type=_AmountOrAll(), metavar="AMOUNT|all")
@click.option(
    "--for",
    "seller",
    metavar="SELLER",
    help="Repay another one's line (name, address).",
    shell_complete=complete_recipients,
)
@dry_run_option
@idempotency_option
@timeout_option
@click.pass_obj
def repay(
    settings: Settings,
    *,
    amount: int | str,
    seller: str | None,
    dry_run: bool,
    idempotency_key: str | None,
    timeout: float,
) -> int:
    """Repay AMOUNT, or all that is owed; what the line does not need comes back at once."""
    if not dry_run:
        settings.require_answerable()
    units = amount if isinstance(amount, int) else None
    signer = settings.signer()
    line_of = settings.find_address(seller)[0] if seller else signer.address
    wanted: dict[str, str | None] = {"kind": "repayment", "to": line_of, "meant": "all"}
    if units is not None:
        wanted |= {"meant": "amount", "amount": str(int(units))}
    with settings.open_wallet(signer) as wallet:
        return act(
            settings,
            wallet,
            signer,
            wanted=wanted,
            make_plan=lambda: wallet.plan_repay(
                units, seller=line_of, idempotency_key=idempotency_key
            ),
            lines=_repayment_lines,
            question="Repay?",
            dry_run=dry_run,
            timeout=timeout,
            idempotency_key=idempotency_key,
        )


def _repayment_lines(plan: RepaymentPlan) -> list[str]:
    amount, symbol = int(plan.intent["amount"]), plan.network.symbol
    more = amount - plan.owed
    back = f" ({format_units(more)} more than is owed now; the rest comes back)" if more > 0 else ""
    left = max(0, plan.owed - amount)
    return [
        f"Repay    {format_units(amount)} {symbol}{back}",
        f"Line of  {plan.intent['to']}",
        f"Owed     {format_units(plan.owed)} → {format_units(left)} {symbol}",
    ]


@command.command(cls=Command, signs=True)
@click.argument("share", metavar="PERCENT")
@dry_run_option
@timeout_option
@click.pass_obj
def holdback(settings: Settings, share: str, dry_run: bool, timeout: float) -> int:
    """Repay by PERCENT (as 17.5) of each sale: at least what was agreed, at most 25."""
    try:
        bps, rest = divmod(Coin(share), 10_000)
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from error
    if rest:
        raise click.BadParameter(f"{share!r} has more than two decimals")
    if not dry_run:
        settings.require_answerable()
    signer = settings.signer()
    with settings.open_wallet(signer) as wallet:
        return act(
            settings,
            wallet,
            signer,
            wanted={"kind": "holdback", "holdback_bps": str(bps)},
            make_plan=lambda: wallet.plan_holdback(bps),
            lines=lambda plan: [
                f"Holdback {percent(wallet.credit_line().holdback_bps)} → "
                f"{percent(int(plan.intent['holdback_bps']))} of each sale"
            ],
            question="Change it?",
            dry_run=dry_run,
            timeout=timeout,
        )
