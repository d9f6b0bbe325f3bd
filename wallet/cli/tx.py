"""wallet tx: transactions in steps, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wallet.addresses import ZERO_ADDRESS
from wallet.amounts import format_units
from wallet.cli.names import complete_recipients
from wallet.cli.options import AMOUNT, MEMO, Command, ConfirmationRequired, Settings
from wallet.cli.send import confirm_new_recipient
from wallet.cli.sending import describe, report, timeout_option
from wallet.errors import AlreadyExists, InvalidInput, Superseded, WouldRevert
from wallet.plans import memo_text

if TYPE_CHECKING:
    from wallet.client import Sent, Wallet
    from wallet.networks import Network
    from wallet.transactions import SignedTransaction, Transaction

_HASH = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)

# What a pool does with two transactions of one nonce, where nobody can pay more than the other.
RACE = (
    "Whichever of the two a block takes first counts, and the other can never land. Nodes keep the "
    "one they have: a higher fee cannot win on this chain, where all fees are nothing. So this "
    "helps where the earlier one never arrived or was lost, and else it comes too late."
)

_existing = click.Path(exists=True, dir_okay=False, path_type=Path)
_out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Write it here; nothing is overwritten.",
)
_nonce_option = click.option(
    "--nonce", type=click.IntRange(min=0), help="The nonce to use (default: the next one)."
)
_undecoded_option = click.option(
    "--allow-undecoded",
    is_flag=True,
    help="Permit a call this wallet cannot put into words.",
)
_new_recipient_option = click.option(
    "--allow-new-recipient", is_flag=True, help="Pay an address never paid before."
)
_unusual_option = click.option(
    "--allow-unusual-recipient",
    is_flag=True,
    help="Pay the zero address, the coin's contract or oneself.",
)


@click.group("tx")
def command() -> None:
    """Build online, sign offline, broadcast later; follow, replace and cancel transactions."""


# ------------------------------------------------------------------------------ building


@command.group()
def build() -> None:
    """Write an unsigned transaction into a file, for `wallet tx sign`."""


@build.command("send", cls=Command)
@click.argument("to", shell_complete=complete_recipients)
@click.argument("amount", type=AMOUNT)
@click.option("--memo", type=MEMO, help="Public text of up to 32 bytes, or 0x and 64 hex digits.")
@_unusual_option
@_nonce_option
@_out_option
@click.pass_obj
def build_send(
    settings: Settings,
    *,
    to: str,
    amount: int,
    memo: bytes | None,
    allow_unusual_recipient: bool,
    nonce: int | None,
    out: Path,
) -> None:
    """A payment of AMOUNT to TO, as `wallet send` makes it."""
    from wallet.steps import to_transaction  # noqa: PLC0415

    _require_free(out)
    address, _ = settings.find_address(to)
    with settings.open_wallet(settings.signer()) as wallet:
        plan = wallet.plan_transfer(address, amount, memo, allow_unusual_recipient)
        _write_unsigned(settings, wallet, to_transaction(plan, nonce), out)


@build.command("confirm", cls=Command)
@click.argument("order")
@_nonce_option
@_out_option
@click.pass_obj
def build_confirm(settings: Settings, order: str, nonce: int | None, out: Path) -> None:
    """A release of ORDER to its seller, as `wallet purchase confirm` makes it."""
    _build_settlement(settings, order, "release", nonce, out)


@build.command("reclaim", cls=Command)
@click.argument("order")
@_nonce_option
@_out_option
@click.pass_obj
def build_reclaim(settings: Settings, order: str, nonce: int | None, out: Path) -> None:
    """A reclaim of ORDER, not delivered in time, as `wallet purchase reclaim` makes it."""
    _build_settlement(settings, order, "reclaim", nonce, out)


@build.command("call", cls=Command)
@click.option("--to", metavar="ADDRESS", required=True, help="The contract that is called.")
@click.option("--data", metavar="HEX", required=True, help="The call data, 0x and hex digits.")
@_undecoded_option
@_nonce_option
@_out_option
@click.pass_obj
def build_call_(
    settings: Settings, *, to: str, data: str, allow_undecoded: bool, nonce: int | None, out: Path
) -> None:
    """A call given as bytes, if this wallet can say what they do."""
    from wallet.addresses import parse_address  # noqa: PLC0415
    from wallet.steps import build_call  # noqa: PLC0415
    from wallet.transactions import Transaction, explain_or_show  # noqa: PLC0415

    _require_free(out)
    try:
        call = bytes.fromhex(data.removeprefix("0x"))
    except ValueError:
        raise click.BadParameter("--data is not 0x and hex digits") from None
    with settings.open_wallet(settings.signer()) as wallet:
        # Said before it is simulated: what cannot be read is not tried either.
        raw = Transaction(wallet.network.chain_id, wallet.address, 0, parse_address(to), call, 0)
        explain_or_show(wallet.network, raw, allow_undecoded)
        _write_unsigned(settings, wallet, build_call(wallet, to, call, nonce), out)


def _build_settlement(
    settings: Settings, order: str, kind: str, nonce: int | None, out: Path
) -> None:
    from wallet.steps import to_transaction  # noqa: PLC0415

    _require_free(out)
    with settings.open_wallet(settings.signer()) as wallet:
        purchase = wallet.purchase(order)
        release = kind == "release"
        plan = wallet.plan_release(purchase) if release else wallet.plan_reclaim(purchase)
        _write_unsigned(settings, wallet, to_transaction(plan, nonce), out)


def _write_unsigned(
    settings: Settings, wallet: Wallet, transaction: Transaction, out: Path
) -> None:
    from wallet.transactions import explain_or_show, write_unsigned  # noqa: PLC0415

    intent = explain_or_show(wallet.network, transaction, allow_undecoded=True)
    _preview(settings, wallet.network, transaction, intent)
    write_unsigned(out, wallet.network, transaction)
    settings.answer(
        {"file": str(out), "transaction": _as_json(transaction), "intent": intent},
        f"Unsigned, in {out}",
    )


@command.command(cls=Command)
@click.argument("file", type=_existing)
@click.pass_obj
def simulate(settings: Settings, file: Path) -> int:
    """Run a transaction's FILE on the chain as it is now; nothing is signed or sent."""
    from wallet.signer import WatchOnlySigner  # noqa: PLC0415
    from wallet.steps import simulate as run  # noqa: PLC0415

    network = settings.networks().get(settings.network)
    transaction, _, intent = _read(network, file)
    value: dict[str, Any] = {"transaction": _as_json(transaction), "intent": intent}
    _preview(settings, network, transaction, intent)
    with _open(settings, WatchOnlySigner(transaction.sender)) as wallet:
        try:
            problems = run(wallet, transaction)
        except WouldRevert as error:
            settings.answer(value | {"simulation": "reverted", "reason": str(error)}, str(error))
            return 6
    settings.answer(
        value | {"simulation": "OK", "problems": problems},
        "\n".join(["Simulation  OK", *(f"But         {problem}" for problem in problems)]),
    )
    return 1 if problems else 0


# ------------------------------------------------------------------------------- signing


@command.command(cls=Command, signs=True)
@click.argument("file", type=_existing)
@_undecoded_option
@_new_recipient_option
@_unusual_option
@_out_option
@click.pass_obj
def sign(
    settings: Settings,
    *,
    file: Path,
    allow_undecoded: bool,
    allow_new_recipient: bool,
    allow_unusual_recipient: bool,
    out: Path,
) -> None:
    """Sign a transaction's FILE, without a network.

    What it does is decoded from its bytes, whatever else the file says.
    """
    from wallet.steps import sign_offline, signed_before  # noqa: PLC0415
    from wallet.transactions import SignedTransaction, write_signed  # noqa: PLC0415

    settings.require_answerable()
    _require_free(out)
    signer = settings.signer()
    with _open(settings, signer) as wallet:
        transaction, read, intent = _read(wallet.network, file, allow_undecoded)
        if isinstance(read, SignedTransaction):
            raise InvalidInput(f"{file} is signed already")
        _preview(settings, wallet.network, transaction, intent)
        signed = signed_before(wallet, transaction)
        if signed is None:
            signer.prepare()
            _check_recipient(settings, wallet, intent, allow_new_recipient, allow_unusual_recipient)
            settings.confirm("Sign?")
            signed = sign_offline(wallet, transaction, intent)
        else:
            settings.note("Signed before: these are the same bytes")
        write_signed(out, wallet.network, signed)
    settings.answer(
        {
            "file": str(out),
            "hash": signed.hash,
            "transaction": _as_json(transaction),
            "intent": intent,
        },
        f"Signed {signed.hash}\nIn {out}: send it with `wallet tx broadcast {out}`",
    )


def _check_recipient(
    settings: Settings,
    wallet: Wallet,
    intent: Mapping[str, str],
    allow_new_recipient: bool,
    allow_unusual_recipient: bool,
) -> None:
    """What `wallet send` looks at, as far as it can be without a network."""
    # What another has signed for goes where they said, and is not this key's to lose.
    if intent["kind"] != "transfer" and intent.get("from") != wallet.address:
        return
    to, network = intent["to"], wallet.network
    unusual = (ZERO_ADDRESS, network.coin, wallet.address)
    if to in unusual and not allow_unusual_recipient:
        raise InvalidInput(f"{to} is the zero address, the coin's contract or the sender itself")
    paid = {
        entry.intent["to"]
        for entry in wallet._journal_open().confirmed()
        if entry.intent["kind"] == "transfer"
    }
    _, own_name = settings.find_address(to)
    if to not in paid and own_name is None and not allow_new_recipient:
        settings.note("This wallet's journal has no payment to this address.")
        confirm_new_recipient(settings, to)


# ------------------------------------------------------------------------------- sending


@command.command(cls=Command)
@click.argument("what", metavar="FILE|HASH")
@_undecoded_option
@timeout_option
@click.pass_obj
def broadcast(settings: Settings, what: str, allow_undecoded: bool, timeout: float) -> int:
    """Send a signed transaction: a FILE, or the HASH of one that was signed here.

    It may be another key's, signed elsewhere: it is shown first, and needs no password.
    """
    from wallet.signer import WatchOnlySigner  # noqa: PLC0415
    from wallet.steps import check_sendable, send_signed  # noqa: PLC0415

    _require_confirmable(settings)
    network = settings.networks().get(settings.network)
    transaction, signed, intent = _find_signed(settings, network, what, allow_undecoded)
    with _open(settings, WatchOnlySigner(transaction.sender)) as wallet:
        warnings = check_sendable(wallet, signed)
        _preview(settings, network, transaction, intent, warnings)
        settings.confirm("Broadcast?")
        sent = send_signed(wallet, signed)
        settings.say(f"Sent {sent.hash}")
        return report(settings, wallet, sent, sent.wait(timeout))


def _find_signed(
    settings: Settings, network: Network, what: str, allow_undecoded: bool
) -> tuple[Transaction, SignedTransaction, dict[str, str]]:
    from wallet.steps import find_open  # noqa: PLC0415
    from wallet.transactions import (  # noqa: PLC0415
        SignedTransaction,
        decode_raw,
        explain_or_show,
    )

    if _HASH.fullmatch(what):
        with _open(settings, settings.signer()) as wallet:
            signed = decode_raw(find_open(wallet, what.lower()).raw)
        intent = explain_or_show(network, signed.transaction, allow_undecoded)
        return signed.transaction, signed, intent
    if not Path(what).is_file():
        raise click.BadParameter(f"{what!r} is neither a file nor a hash", param_hint="FILE|HASH")
    transaction, read, intent = _read(network, Path(what), allow_undecoded)
    if not isinstance(read, SignedTransaction):
        raise InvalidInput(f"{what} is not signed yet: `wallet tx sign {what}`")
    return transaction, read, intent


# ------------------------------------------------------------------------------- following


@command.command(cls=Command)
@click.argument("hash_", metavar="HASH")
@timeout_option
@click.pass_obj
def wait(settings: Settings, hash_: str, timeout: float) -> int:
    """Wait for the transaction HASH. What was sent from here is sent again where it was lost."""
    from wallet.signer import WatchOnlySigner  # noqa: PLC0415
    from wallet.steps import follow, look_for  # noqa: PLC0415

    with _open(settings, settings.signer()) as wallet:
        seen = look_for(wallet, _parse_hash(hash_))
    with _open(settings, WatchOnlySigner(seen.transaction.sender)) as wallet:
        sent = follow(wallet, seen)
        return report(settings, wallet, sent, sent.wait(timeout))


@command.command(cls=Command)
@click.argument("what", metavar="HASH|FILE")
@click.pass_obj
def show(settings: Settings, what: str) -> None:
    """Show what a transaction does and how it stands: a HASH, or a FILE without a network."""
    from wallet.steps import look_for  # noqa: PLC0415
    from wallet.transactions import SignedTransaction, explain_or_show  # noqa: PLC0415

    network = settings.networks().get(settings.network)
    if not _HASH.fullmatch(what) and Path(what).is_file():
        transaction, read, intent = _read(network, Path(what), allow_undecoded=True)
        signed = isinstance(read, SignedTransaction)
        value = {"transaction": _as_json(transaction), "intent": intent, "signed": signed}
        lines = _lines(settings, network, transaction, intent)
        if isinstance(read, SignedTransaction):
            value["hash"] = read.hash
            lines.append(f"Hash     {read.hash}")
        settings.answer(value, "\n".join([*lines, f"Signed   {'yes' if signed else 'no'}"]))
        return
    with _open(settings, settings.signer()) as wallet:
        seen = look_for(wallet, _parse_hash(what))
    intent = explain_or_show(network, seen.transaction, allow_undecoded=True)
    lines = _lines(settings, network, seen.transaction, intent)
    block = f" in block {seen.block}" if seen.block is not None else ""
    lines += [f"Hash     {seen.hash}", f"Chain    {seen.status}{block}"]
    lines.append(f"Journal  {seen.journal.state if seen.journal else 'not signed here'}")
    lines += [
        f"Rival    {rival.hash} ({rival.state}): {describe(rival.intent)}" for rival in seen.rivals
    ]
    settings.answer(
        {
            "hash": seen.hash,
            "transaction": _as_json(seen.transaction),
            "intent": intent,
            "status": seen.status,
            "block": seen.block,
            "journal": seen.journal.state if seen.journal else None,
            "rivals": [
                {"hash": rival.hash, "journal": rival.state, "intent": dict(rival.intent)}
                for rival in seen.rivals
            ],
        },
        "\n".join(lines),
    )


# -------------------------------------------------------------------------------- racing


@command.command("replace", cls=Command, signs=True)
@click.argument("hash_", metavar="HASH")
@click.option("--gas", type=click.IntRange(min=21_000), help="Gas limit (default: half more).")
@timeout_option
@click.pass_obj
def replace_(settings: Settings, hash_: str, gas: int | None, timeout: float) -> int:
    """Sign the same as HASH with the same nonce and more gas, and send that from now on."""
    return _race(settings, hash_, "replace", gas, timeout)


@command.command(cls=Command, signs=True)
@click.argument("hash_", metavar="HASH")
@timeout_option
@click.pass_obj
def cancel(settings: Settings, hash_: str, timeout: float) -> int:
    """Use the nonce of the transaction HASH for nothing, so that it can no longer land."""
    return _race(settings, hash_, "cancel", None, timeout)


def _race(settings: Settings, hash_: str, how: str, gas: int | None, timeout: float) -> int:
    from wallet.steps import cancellation, find_open, landed, more_gas, race  # noqa: PLC0415
    from wallet.transactions import explain_or_show  # noqa: PLC0415

    settings.require_answerable()
    signer = settings.signer()
    with _open(settings, signer) as wallet:
        wallet.check_chain()
        entry = find_open(wallet, _parse_hash(hash_))
        signer.prepare()
        rival = cancellation(entry) if how == "cancel" else more_gas(entry, gas)
        intent = explain_or_show(wallet.network, rival, allow_undecoded=True)
        settings.say(f"In place of {describe(entry.intent)}, {entry.hash}:")
        _preview(settings, wallet.network, rival, intent)
        settings.say(RACE)
        settings.confirm("Cancel it?" if how == "cancel" else "Replace it?")
        sent = race(wallet, entry, rival)
        settings.say(f"Sent {sent.hash}")
        try:
            return report(settings, wallet, sent, sent.wait(timeout))
        except Superseded:
            winner = landed(wallet, entry.nonce)
            if winner is None:
                raise
        return _report_loser(settings, wallet, winner, how)


def _report_loser(settings: Settings, wallet: Wallet, winner: Sent, how: str) -> int:
    settings.note(f"Too late: {winner.hash} landed, {describe(winner.intent)}")
    code = report(settings, wallet, winner, winner.wait(0))
    return code or (1 if how == "cancel" else 0)


# ------------------------------------------------------------------------------- showing


def _open(settings: Settings, signer: Any) -> Wallet:
    return settings.open_wallet(signer)


def _read(
    network: Network, file: Path, allow_undecoded: bool = True
) -> tuple[Transaction, Transaction | SignedTransaction, dict[str, str]]:
    """The transaction of a file, what was in the file, and what its bytes do."""
    from wallet.transactions import (  # noqa: PLC0415
        SignedTransaction,
        explain_or_show,
        read_transaction,
    )

    read = read_transaction(network, file)
    transaction = read.transaction if isinstance(read, SignedTransaction) else read
    return transaction, read, explain_or_show(network, transaction, allow_undecoded)


def _preview(
    settings: Settings,
    network: Network,
    transaction: Transaction,
    intent: Mapping[str, str],
    warnings: list[str] | None = None,
) -> None:
    lines = _lines(settings, network, transaction, intent)
    settings.say("\n".join([*lines, *(f"Warning  {warning}" for warning in warnings or ())]))


def _lines(
    settings: Settings, network: Network, transaction: Transaction, intent: Mapping[str, str]
) -> list[str]:
    """What a transaction does, from its bytes alone."""
    _, sender = settings.find_address(transaction.sender)
    lines = [f"From     {sender + '     ' if sender else ''}{transaction.sender}"]
    match intent["kind"]:
        case "cancellation":
            lines.append("Does     nothing but use up its nonce")
        case "undecoded call":
            lines += [f"To       {intent['to']}", f"Data     {intent['data']}"]
            lines.append("Warning  this wallet cannot say what it does")
        case kind:
            name = settings.find_party(intent["to"]).name
            memo = memo_text(intent)
            amount = f"{format_units(int(intent['amount']))} {network.symbol}"
            if kind == "reclaim":
                amount = "all that the escrow holds for the order, back to the buyer"
            lines += [f"Order    {intent['order_hash']}"] if "order_hash" in intent else []
            lines += [f"Payer    {intent['from']} (signed for)"] if "from" in intent else []
            lines.append(f"To       {name + '     ' if name else ''}{intent['to']}")
            lines.append(
                f"Amount   {amount}" + (f"    Memo  {memo} (public)" if memo is not None else "")
            )
    lines.append(
        f"Network  {network.name} (chain {transaction.chain_id})   Gas  {transaction.gas}   "
        f"Nonce  {transaction.nonce}"
    )
    return lines


def _as_json(transaction: Transaction) -> dict[str, Any]:
    return {
        "chain_id": transaction.chain_id,
        "from": transaction.sender,
        "nonce": transaction.nonce,
        "to": transaction.to,
        "data": "0x" + transaction.data.hex(),
        "gas": transaction.gas,
    }


def _parse_hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise click.BadParameter(f"{text!r} is not a transaction's hash: 0x and 64 hex digits")
    return text.lower()


def _require_free(out: Path) -> None:
    if out.exists():
        raise AlreadyExists(f"there is a file {out} already")


def _require_confirmable(settings: Settings) -> None:
    """As `require_answerable`, where no password is needed."""
    if not settings.on_terminal and not settings.yes:
        raise ConfirmationRequired("not on a terminal: confirm with --yes")
