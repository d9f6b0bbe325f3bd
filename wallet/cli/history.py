"""wallet history: what came and went, from the chain, and what is unfinished, from the journal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from wallet.addresses import format_memo
from wallet.amounts import format_units
from wallet.cli.names import complete_recipients
from wallet.cli.options import Command, Settings, clean
from wallet.cli.sending import describe
from wallet.client import Sent
from wallet.contacts import known_parties
from wallet.errors import Superseded
from wallet.history import Movement
from wallet.plans import Reverted

_SIGNS = {"in": "+", "out": "-", "self": "±"}


@click.command("history", cls=Command)
@click.option("--in", "incoming", is_flag=True, help="Only what came.")
@click.option("--out", "outgoing", is_flag=True, help="Only what went.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]),
    metavar="DATE",
    help="Only from then on, as 2026-01-31, in UTC.",
)
@click.option("--memo", metavar="TEXT", help="Only memos that contain the text.")
@click.option(
    "--with",
    "party",
    metavar="NAME|ADDRESS",
    help="Only with them, orders too.",
    shell_complete=complete_recipients,
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many (20; as a table, all).")
@click.option("--csv", "as_csv", is_flag=True, help="As a table, for spreadsheets.")
@click.pass_obj
def command(
    settings: Settings,
    *,
    incoming: bool,
    outgoing: bool,
    since: datetime | None,
    memo: str | None,
    party: str | None,
    limit: int | None,
    as_csv: bool,
) -> None:
    """Show the key's movements, newest first, with times in UTC; unfinished ones before them."""
    if incoming and outgoing:
        raise click.UsageError("give one of --in and --out")
    if as_csv and settings.json:
        raise click.UsageError("give one of --csv and --json")
    if limit is None and not as_csv:
        limit = 20
    address = settings.find_address(party)[0] if party else None
    wanted = {"in"} if incoming else {"out"} if outgoing else {"in", "out", "self"}
    start = since.replace(tzinfo=UTC) if since else None
    movements: list[Movement] = []
    with settings.open_wallet(settings.signer()) as wallet:
        wallet.check_chain()
        unfinished = _still_unfinished(settings, wallet.unfinished())
        for movement in wallet.history():
            if start and movement.time < start:
                break
            text = format_memo(movement.memo) if movement.memo else ""
            if address not in (None, movement.counterparty, movement.party):
                continue
            if movement.direction in wanted and (memo is None or memo in text):
                movements.append(movement)
                if len(movements) == limit:
                    break
    if as_csv:
        click.echo(_as_csv(movements), nl=False)
        return
    names = {address: party.name for address, party in known_parties(settings.folder).items()}
    settings.answer(
        {
            "network": wallet.network.name,
            "address": wallet.address,
            "movements": [_as_json(movement, names) for movement in movements],
            "unfinished": [
                {
                    "hash": sent.hash,
                    "intent": dict(sent.intent),
                    "nonce": sent.nonce,
                    "signed_at": sent.signed_at,
                }
                for sent in unfinished
            ],
        },
        "\n".join(_as_line(movement, wallet.network.symbol, names) for movement in movements)
        or "nothing yet",
    )


def _still_unfinished(settings: Settings, journaled: list[Sent]) -> list[Sent]:
    """Ask the chain about each, and say what is unfinished and how to finish it."""
    unfinished = []
    for sent in journaled:
        try:
            outcome = sent.look()
        except Superseded as error:
            settings.note(str(error))
            continue
        if isinstance(outcome, Reverted):
            settings.note(f"{sent.hash} was reverted: {outcome.reason} ({describe(sent.intent)})")
        elif outcome is None:
            unfinished.append(sent)
            settings.note(
                f"Unfinished, and may still land: {describe(sent.intent)}, {sent.hash}. "
                "Run the same command again to send the same transaction again."
            )
    return unfinished


def _as_json(movement: Movement, names: Mapping[str, str | None]) -> dict[str, Any]:
    return {
        "time": movement.time.isoformat().replace("+00:00", "Z"),
        "block": movement.block,
        "hash": movement.transaction,
        "kind": movement.kind,
        "direction": movement.direction,
        "amount": str(movement.amount),
        "counterparty": movement.counterparty,
        "counterparty_name": names.get(movement.counterparty),
        "memo": None if movement.memo is None else "0x" + movement.memo.hex(),
        "memo_text": None if movement.memo is None else format_memo(movement.memo),
        "order_hash": movement.order_hash,
        "party": movement.party,
        "fee": None if movement.fee is None else str(movement.fee),
        "repayment": None if movement.repayment is None else str(movement.repayment),
    }


def _as_csv(movements: list[Movement]) -> str:
    """The movements as a table: amounts signed and in coin, and no cell a spreadsheet would run."""
    import csv  # noqa: PLC0415
    import io  # noqa: PLC0415

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\r\n")
    names = ("time", "kind", "amount", "counterparty", "party", "memo", "order_hash")
    writer.writerow([*names, "fee", "repayment", "block", "hash"])
    for movement in movements:
        signed = {"in": 1, "out": -1, "self": 0}[movement.direction] * movement.amount
        memo = clean(format_memo(movement.memo)) if movement.memo else ""
        writer.writerow(
            [
                f"{movement.time:%Y-%m-%dT%H:%M:%SZ}",
                movement.kind,
                format_units(signed),
                movement.counterparty,
                movement.party or "",
                "'" + memo if memo[:1] in ("=", "+", "-", "@", "\t") and memo else memo,
                movement.order_hash or "",
                "" if movement.fee is None else format_units(movement.fee),
                "" if movement.repayment is None else format_units(movement.repayment),
                movement.block,
                movement.transaction,
            ]
        )
    return table.getvalue()


def _as_line(movement: Movement, symbol: str, names: Mapping[str, str | None]) -> str:
    name = names.get(movement.counterparty)
    amount = _SIGNS[movement.direction] + format_units(movement.amount)
    memo = f"  {format_memo(movement.memo)}" if movement.memo else ""
    order = f"  order {movement.order_hash[:10]}…" if movement.order_hash else ""
    shares = f"  fee {format_units(movement.fee)}" if movement.fee else ""
    if movement.repayment:
        shares += f"  {format_units(movement.repayment)} to the credit line"
    return (
        f"{movement.time:%Y-%m-%d %H:%M:%S}  {amount:>14} {symbol}  {movement.kind:<15}"
        f"  {movement.counterparty}{f' ({name})' if name else ''}{memo}{order}{shares}"
    )
