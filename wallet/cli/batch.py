"""wallet batch: many payments from one file."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wallet.addresses import format_memo
from wallet.amounts import format_units
from wallet.cli.options import Command, ConfirmationRequired, Declined, Settings
from wallet.cli.sending import BATCH_KEY, EARLIER_TIMEOUT, PENDING, describe, timeout_option
from wallet.errors import InvalidInput, Refused, Superseded

if TYPE_CHECKING:
    from wallet.batches import BatchFile, Problem, Result, Row, Standing
    from wallet.client import Wallet

PROGRESS_EVERY = 25  # rows, off a terminal

_file_argument = click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE.csv"
)
_duplicates_option = click.option(
    "--allow-duplicates", is_flag=True, help="Permit rows that are the same, or references."
)


@click.group("batch")
def command() -> None:
    """Check and pay a CSV file of the columns to,amount[,memo][,reference].

    TO is an address or the name of a contact or of your own key. The reference is yours: it stays
    in the file and in the results, and does not go on chain.
    """


@command.command(cls=Command)
@_file_argument
@_duplicates_option
@click.pass_obj
def check(settings: Settings, file: Path, allow_duplicates: bool) -> int:
    """Say everything that is wrong with FILE; sends nothing."""
    from wallet.batches import check_rows, find_repeated, look_up  # noqa: PLC0415

    batch = _read(settings, file)
    problems = _relevant(batch.problems, allow_duplicates)
    with settings.open_wallet(settings.signer()) as wallet:
        standing = look_up(wallet, batch)
        ahead = [row for row, _ in standing.ahead]
        problems += check_rows(wallet, ahead)
        repeated = find_repeated(wallet, batch, ahead)
    problems.sort(key=lambda problem: problem.line)
    symbol = wallet.network.symbol
    settings.answer(
        {
            "file_hash": batch.file_hash,
            "rows": len(batch.rows),
            "total": str(batch.total),
            "paid": len(standing.done),
            "under_way": len(standing.open),
            "problems": [_problem_json(problem) for problem in problems],
            "repeated": [_problem_json(problem) for problem in repeated],
        },
        "\n".join(
            [
                *_problem_lines(problems),
                *_problem_lines(repeated, "Warning  "),
                f"{_rows(len(batch.rows))}, {format_units(batch.total)} {symbol}: "
                + (f"{len(problems)} problems" if problems else "no problem found"),
            ]
        ),
    )
    return 1 if problems else 0


@command.command(cls=Command, signs=True)
@_file_argument
@click.option("--resume", is_flag=True, help="Go on with a file that was begun before.")
@_duplicates_option
@click.option(
    "--allow-new-recipients", is_flag=True, help="Pay all the addresses never paid before."
)
@click.option(
    "--allow-repeated-rows",
    is_flag=True,
    help="Pay rows again that another file, or another version of this one, has paid.",
)
@timeout_option
@click.pass_obj
def pay(
    settings: Settings,
    *,
    file: Path,
    resume: bool,
    allow_duplicates: bool,
    allow_new_recipients: bool,
    allow_repeated_rows: bool,
    timeout: float,
) -> int:
    """Pay FILE row by row, every row at most once; results as CSV on stdout.

    A file that was interrupted goes on with --resume: rows that were paid are not paid again,
    whatever happened when.
    """
    from wallet.batches import find_repeated, look_up, pay_batch  # noqa: PLC0415

    settings.require_answerable()
    batch = _read(settings, file)
    _require_sound(_relevant(batch.problems, allow_duplicates))
    signer = settings.signer()
    with settings.open_wallet(signer) as wallet:
        _require_resume(look_up(wallet, batch), resume, file)
        signer.prepare()
        _finish_others(settings, wallet)
        standing = look_up(wallet, batch)
        ahead = [row for row, _ in standing.ahead]
        _check_money(settings, wallet, ahead, standing)
        repeated = find_repeated(wallet, batch, ahead)
        new, alike = _new_recipients(settings, wallet, ahead)
        _show_summary(settings, wallet, batch, standing, new, repeated, alike)
        if ahead or standing.open:
            _confirm_number(
                settings, allow_repeated_rows, repeated, "--allow-repeated-rows", "rows paid before"
            )
            _confirm_number(
                settings, allow_new_recipients, new, "--allow-new-recipients", "new recipients"
            )
            settings.confirm(f"Pay {_rows(len(ahead))}?")
            signer.unlock()  # before the file counts as begun
        progress = _Progress(settings, len(batch.rows))
        results = pay_batch(wallet, batch, timeout=timeout, tell=progress.note)
        progress.end()
    return _report(settings, wallet, batch, results)


# ------------------------------------------------------------------------------ checking


def _read(settings: Settings, file: Path) -> BatchFile:
    from wallet.batches import read_batch  # noqa: PLC0415

    known: dict[str, str] = {}

    def resolve(text: str) -> str:
        if text not in known:
            try:
                known[text], _ = settings.find_address(text)
            except click.BadParameter as error:
                raise InvalidInput(error.message) from error
        return known[text]

    return read_batch(file, resolve)


def _relevant(problems: tuple[Problem, ...], allow_duplicates: bool) -> list[Problem]:
    return [p for p in problems if not (p.is_duplicate and allow_duplicates)]


def _require_sound(problems: list[Problem]) -> None:
    if problems:
        raise InvalidInput(
            "\n".join([*_problem_lines(problems), "nothing of the file is paid as it is"])
        )


def _require_resume(standing: Standing, resume: bool, file: Path) -> None:
    if standing.begun_at is not None and not resume:
        raise Refused(
            f"{file} was begun before: {len(standing.done)} rows of it are done, "
            f"{len(standing.open)} under way, {len(standing.ahead)} not paid. "
            "Go on with --resume; no row is paid twice"
        )


def _check_money(settings: Settings, wallet: Wallet, ahead: list[Row], standing: Standing) -> None:
    """Refuse a file whose rows cannot be paid; of one under way, say which rows will not be."""
    from wallet.batches import check_rows  # noqa: PLC0415

    problems = check_rows(wallet, ahead)
    whole = [problem for problem in problems if problem.line == 0]
    if standing.begun_at is None or whole:
        _require_sound(problems)
    for line in _problem_lines(problems, "Warning  "):
        settings.note(line)


def _finish_others(settings: Settings, wallet: Wallet) -> None:
    """Send what other commands left unfinished, whose nonces come first."""
    for sent in wallet.unfinished():
        if sent.idempotency_key.startswith(BATCH_KEY):
            continue
        settings.note(f"Unfinished: {describe(sent.intent)}, {sent.hash}. It is sent again.")
        try:
            sent.wait(EARLIER_TIMEOUT)
        except Superseded as error:
            settings.note(str(error))


def _new_recipients(
    settings: Settings, wallet: Wallet, rows: list[Row]
) -> tuple[list[str], list[str]]:
    """The addresses never paid before, own keys not among them, in the order of the file.

    Returns:
        Them, and what is to be warned of: those that look like a known address.
    """
    paid = wallet.earlier_recipients()
    keystore = settings.keystore()
    own = {keystore.get(name).address for name in keystore.names()}
    new = list(dict.fromkeys(row.to for row in rows if row.to not in paid and row.to not in own))
    return new, [warning for to in new for warning in wallet.find_look_alikes(to, paid)]


# ---------------------------------------------------------------------------- confirming


def _show_summary(
    settings: Settings,
    wallet: Wallet,
    batch: BatchFile,
    standing: Standing,
    new: list[str],
    repeated: list[Problem],
    alike: list[str],
) -> None:
    ahead = [row for row, _ in standing.ahead]
    total, network = sum(row.amount for row in ahead), wallet.network
    balance = wallet.account().units
    lines = [
        f"From     {settings.key_file().name}     {wallet.address}   balance "
        f"{format_units(balance)} → {format_units(balance - total)} {network.symbol}",
        f"File     {batch.path.name}, {_rows(len(batch.rows))}, SHA-256 {batch.file_hash[:16]}…",
    ]
    if standing.begun_at is not None:
        lines.append(f"Begun    before: {len(standing.done)} done, {len(standing.open)} under way")
    recipients = len({row.to for row in ahead})
    lines += [
        f"To pay   {_rows(len(ahead))} to {recipients} recipients, "
        f"{format_units(total)} {network.symbol} in all",
        f"Network  {network.name} (chain {network.chain_id})",
    ]
    if new:
        lines += [f"New      {len(new)} recipients were never paid before:"]
        lines += [f"         {address}" for address in new]
    lines += _problem_lines(repeated, "Warning  ")
    lines += [f"Warning  {warning}" for warning in alike]
    # Standard output is for the results.
    settings.note("\n".join(lines))


def _confirm_number(
    settings: Settings, allowed: bool, what: list[Any], flag: str, name: str
) -> None:
    """Have the number of something typed, so that it is looked at."""
    if allowed or not what:
        return
    if not settings.on_terminal:
        raise ConfirmationRequired(f"there are {len(what)} {name}: confirm with {flag}")
    typed = click.prompt(f"Type how many {name} there are", err=True)
    if typed.strip() != str(len(what)):
        raise Declined(f"there are {len(what)} {name}, not {typed}: nothing was sent")


# ------------------------------------------------------------------------------ reporting


class _Progress:
    """How far it is, on stderr: one line that changes on a terminal, else one now and then."""

    def __init__(self, settings: Settings, rows: int) -> None:
        self._settings, self._rows = settings, rows
        self._counts: Counter[str] = Counter()

    def note(self, result: Result) -> None:
        self._counts[result.status] += 1
        count = self._counts.total()
        if self._settings.on_terminal:
            click.echo(f"\r{self._line()}", err=True, nl=False)
        elif count % PROGRESS_EVERY == 0 and not result.before:
            self._settings.note(self._line())
        if result.status in ("failed", "reverted"):
            start = "\n" if self._settings.on_terminal else ""
            self._settings.note(f"{start}Line {result.row.line} {result.status}: {result.reason}")

    def end(self) -> None:
        if self._settings.on_terminal:
            click.echo(err=True)

    def _line(self) -> str:
        others = [f", {n} {name}" for name, n in self._counts.items() if name != "confirmed"]
        return f"{self._counts['confirmed']} of {self._rows} paid" + "".join(others)


def _report(settings: Settings, wallet: Wallet, batch: BatchFile, results: list[Result]) -> int:
    counts = Counter(result.status for result in results)
    paid = sum(result.row.amount for result in results if result.status == "confirmed")
    settings.answer(
        {
            "file_hash": batch.file_hash,
            "network": wallet.network.name,
            "paid": str(paid),
            "counts": dict(counts),
            "rows": [result.to_json() for result in results],
        },
        _as_csv(results),
    )
    settings.note(
        f"{_rows(counts['confirmed'])} paid, {format_units(paid)} {wallet.network.symbol}"
        + "".join(f", {n} {name}" for name, n in sorted(counts.items()) if name != "confirmed")
    )
    if counts["pending"]:
        settings.note("What is pending may still land: go on with --resume.")
        return PENDING
    if counts["unsent"]:
        reason = next(result.reason for result in results if result.status == "unsent")
        settings.note(f"It stopped: {reason}. Go on with --resume.")
        return 7
    return 0 if counts["confirmed"] == len(results) else 1


def _as_csv(results: list[Result]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("line", "to", "amount", "memo", "reference", "status", "hash", "reason"))
    for result in results:
        row = result.row
        memo = "" if row.memo is None else format_memo(row.memo)
        shown = (row.line, row.to, format_units(row.amount), memo, row.reference)
        writer.writerow((*shown, result.status, result.hash or "", result.reason or ""))
    return text.getvalue().rstrip("\n")


def _problem_lines(problems: list[Problem], before: str = "") -> list[str]:
    return [
        before + (f"Line {problem.line}: " if problem.line else "") + problem.text
        for problem in problems
    ]


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line or None, "problem": problem.text}


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"
