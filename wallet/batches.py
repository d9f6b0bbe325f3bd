"""Many payments from one file: read, checked, and paid row by row, each row at most once.

A row's payment has an idempotency key made of the file's hash and the row's number. So whatever
is killed when, the same file finds every transaction it ever signed, and pays no row twice.

Each row is a transaction of its own, not a part of the coin's `transferMany`: one refused row would
undo all the others with it, and what is signed for a row could no longer be found by the row.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wallet.addresses import ZERO_ADDRESS, parse_memo
from wallet.amounts import Coin, format_units
from wallet.client import Sent, Wallet
from wallet.errors import (
    InsufficientFunds,
    InvalidInput,
    JournalError,
    NetworkError,
    Refused,
    RpcError,
    Superseded,
    WalletError,
    WouldRevert,
)
from wallet.journal import Entry
from wallet.plans import Confirmed, Outcome, Reverted

KEY = "batch:"
COLUMNS = ("to", "amount", "memo", "reference")
MAX_ROWS = 10_000
IN_FLIGHT = 16

OPEN = ("held", "signed")


@dataclass(frozen=True)
class Row:
    """One payment of a file. `number` counts from 1; `line` is where it stands in the file."""

    number: int
    line: int
    to: str
    amount: int
    memo: bytes | None
    reference: str

    def intent(self) -> dict[str, str]:
        """What its transaction has to say."""
        intent = {"kind": "transfer", "to": self.to, "amount": str(int(self.amount))}
        return intent if self.memo is None else {**intent, "memo": "0x" + self.memo.hex()}

    def to_json(self) -> dict[str, Any]:
        return {"row": self.number, "line": self.line, **self.intent(), "reference": self.reference}


@dataclass(frozen=True)
class Problem:
    """Why a file cannot be paid as it is. `line` is 0 for the file as a whole."""

    line: int
    text: str
    is_duplicate: bool = False


@dataclass(frozen=True)
class BatchFile:
    """A file as it was read. Rows that could not be read are among the problems alone."""

    path: Path
    file_hash: str
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]

    @property
    def total(self) -> int:
        return sum(row.amount for row in self.rows)


@dataclass(frozen=True)
class Result:
    """How a row stands.

    `status` is confirmed, reverted, pending (may still land), failed (was not sent, for `reason`),
    canceled (by `wallet tx cancel`), or unsent (the run stopped before it).
    `before` says that an earlier run did it.
    """

    row: Row
    status: str
    hash: str | None = None
    block: int | None = None
    reason: str | None = None
    before: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            **self.row.to_json(),
            "status": self.status,
            "hash": self.hash,
            "block": self.block,
            "reason": self.reason,
            "before": self.before,
        }


@dataclass
class Standing:
    """What the journal knows of a file: its rows that are done, under way, and still to be paid."""

    begun_at: int | None
    done: dict[int, Result] = field(default_factory=dict)
    open: list[tuple[Row, Entry]] = field(default_factory=list)
    ahead: list[tuple[Row, int]] = field(default_factory=list)  # with the attempt it would be


# ------------------------------------------------------------------------------- reading


def read_batch(path: Path, resolve: Callable[[str], str]) -> BatchFile:
    """Read a CSV file with the columns `to,amount[,memo][,reference]`, and all that is wrong in it.

    Args:
        resolve: returns the address of a name or address, or raises InvalidInput.

    Raises:
        InvalidInput: it is no CSV file in UTF-8 with these columns.
    """
    content = path.read_bytes()
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        records = [(start, record) for start, record in _numbered(reader) if record]
    except (csv.Error, ValueError) as error:
        raise InvalidInput(f"{path} is not CSV in UTF-8: {error}") from error
    if not records:
        raise InvalidInput(f"{path} is empty")
    columns = [name.strip() for name in records[0][1]]
    if len(set(columns)) != len(columns) or not {"to", "amount"} <= set(columns) <= set(COLUMNS):
        raise InvalidInput(
            f"{path} begins with {','.join(columns)[:80]!r}: its first line has to name the "
            "columns, to,amount and if wanted memo and reference"
        )
    if len(records) == 1:
        raise InvalidInput(f"{path} has no rows")
    if len(records) - 1 > MAX_ROWS:
        raise InvalidInput(f"{path} has {len(records) - 1} rows: at most {MAX_ROWS} in one file")
    rows: list[Row] = []
    problems: list[Problem] = []
    for number, (line, record) in enumerate(records[1:], start=1):
        if len(record) != len(columns):
            problems.append(
                Problem(
                    line,
                    f"has {len(record)} fields, the first line names {len(columns)} "
                    "(an amount is written with a point, as in 12.50)",
                )
            )
            continue
        row, wrong = _read_row(number, line, dict(zip(columns, record, strict=True)), resolve)
        problems += wrong
        if row is not None:
            rows.append(row)
    problems += _find_duplicates(rows)
    return BatchFile(
        path.resolve(),
        hashlib.sha256(content).hexdigest(),
        tuple(rows),
        tuple(sorted(problems, key=lambda problem: problem.line)),
    )


def _numbered(reader: Any) -> Iterable[tuple[int, list[str]]]:
    """The records of a file with the lines they begin at."""
    line = 1
    for record in reader:
        yield line, record
        line = reader.line_num + 1


def _read_row(
    number: int, line: int, values: dict[str, str], resolve: Callable[[str], str]
) -> tuple[Row | None, list[Problem]]:
    """One row, or all that is wrong with it."""
    wrong: list[Problem] = []

    def read(parse: Callable[[str], Any], text: str) -> Any:
        try:
            return parse(text)
        except InvalidInput as error:
            wrong.append(Problem(line, str(error)))
            return None

    to = read(resolve, values["to"])
    amount = read(Coin, values["amount"])
    memo_text = values.get("memo", "")
    memo = read(parse_memo, memo_text) if memo_text else None
    if amount == 0:
        wrong.append(Problem(line, "the amount is zero"))
    if wrong:
        return None, wrong
    return Row(number, line, to, amount, memo, values.get("reference", "")), []


def _find_duplicates(rows: list[Row]) -> list[Problem]:
    problems = []
    seen: dict[Any, int] = {}
    references: dict[str, int] = {}
    for row in rows:
        same = seen.setdefault((row.to, row.amount, row.memo, row.reference), row.line)
        if same != row.line:
            problems.append(Problem(row.line, f"pays the same as line {same}", is_duplicate=True))
        elif row.reference:
            first = references.setdefault(row.reference, row.line)
            if first != row.line:
                text = f"has the reference {row.reference!r}, as line {first} has"
                problems.append(Problem(row.line, text, is_duplicate=True))
    return problems


# ------------------------------------------------------------------------------ checking


def check_rows(wallet: Wallet, rows: Iterable[Row]) -> list[Problem]:
    """Ask the chain what stands in the way of these rows; sends nothing.

    Raises:
        WrongChain, NetworkError: it cannot be asked.
    """
    wallet.check_chain()
    rows = list(rows)
    sender = wallet.account()
    problems = []
    if wallet.is_paused():
        problems.append(Problem(0, "transfers of the coin are paused by the platform"))
    if sender.obstacle:
        problems.append(Problem(0, f"{sender.address} (this key) {sender.obstacle}"))
    unusual = {
        ZERO_ADDRESS: "is the zero address",
        wallet.network.coin: "is the coin's own contract",
        wallet.address: "is this key itself",
    }
    obstacles: dict[str, str | None] = {}
    for row in rows:
        if row.to not in obstacles:
            obstacles[row.to] = unusual.get(row.to) or wallet.account(row.to).obstacle
        obstacle = obstacles[row.to]
        if obstacle:
            problems.append(Problem(row.line, f"{row.to} {obstacle}"))
    total = sum(row.amount for row in rows)
    if total > sender.units:
        symbol = wallet.network.symbol
        problems.append(
            Problem(
                0,
                f"the rows come to {format_units(total)} {symbol}, the balance is "
                f"{format_units(sender.units)} {symbol}",
            )
        )
    return problems


def look_up(wallet: Wallet, batch: BatchFile) -> Standing:
    """Find out from the journal how the rows of a file stand.

    Raises:
        WalletError: the journal has another payment under the name of a row.
    """
    journal = wallet._journal_open()
    begun = [begun for begun in journal.batches() if begun.file_hash == batch.file_hash]
    standing = Standing(begun[0].begun_at if begun else None)
    entries = journal.find_all(f"{KEY}{batch.file_hash}:")
    for row in batch.rows:
        attempt, entry = 1, entries.get(_key(batch, row, 1))
        while (later := entries.get(_key(batch, row, attempt + 1))) is not None:
            attempt, entry = attempt + 1, later
        if entry is None:
            standing.ahead.append((row, 1))
            continue
        if entry.intent != row.intent():
            raise WalletError(
                f"the journal has {entry.intent} for line {row.line}, which says {row.intent()}"
            )
        if entry.state == "confirmed":
            standing.done[row.number] = Result(
                row, "confirmed", entry.hash, entry.block, before=True
            )
        elif entry.state in OPEN:
            standing.open.append((row, entry))
        elif _is_canceled(wallet, entry):
            standing.done[row.number] = _canceled(row, entry.hash, before=True)
        else:
            # It is known that it never moved anything, and never will.
            standing.ahead.append((row, attempt + 1))
    standing.open.sort(key=lambda pair: pair[1].nonce)
    return standing


def find_repeated(wallet: Wallet, batch: BatchFile, rows: Iterable[Row]) -> list[Problem]:
    """Say which of these rows another file paid, or is paying.

    Another file is an earlier version of this one if it lay at the same path: there a row is the
    same if it says the same. Elsewhere only an equal reference tells, since to pay the same people
    the same every month is what such files are for.
    """
    journal = wallet._journal_open()
    repeated: dict[int, Problem] = {}
    for begun in journal.batches():
        if begun.file_hash == batch.file_hash:
            continue
        entries = journal.find_all(f"{KEY}{begun.file_hash}:")
        live = {
            int(key.split(":")[2])
            for key, entry in entries.items()
            if entry.state in (*OPEN, "confirmed")
        }
        paid = [row for row in begun.rows if row["row"] in live]
        same_path = begun.path == str(batch.path)
        references = {row["reference"] for row in paid if row["reference"]}
        contents = [_identity(row) for row in paid] if same_path else []
        for row in rows:
            identity = _identity(row.to_json())
            if row.reference in references:
                text = f"the reference {row.reference!r} was paid from {begun.path}"
            elif identity in contents:
                contents.remove(identity)
                text = "was paid by an earlier version of this file"
            else:
                continue
            repeated[row.line] = Problem(row.line, text)
    return [repeated[line] for line in sorted(repeated)]


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["to"], row["amount"], row.get("memo"), row["reference"]


# -------------------------------------------------------------------------------- paying


def pay_batch(
    wallet: Wallet,
    batch: BatchFile,
    *,
    timeout: float = 30.0,
    in_flight: int = IN_FLIGHT,
    tell: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Pay what is not paid yet of a file, and return how every row stands.

    Several transactions are under way at a time, with consecutive nonces. None is signed before
    the endpoint has taken all before it, so that none ever waits for a nonce that is missing. The
    first that does not land in time stops the run; what was signed may still land, and is found
    again by the next run.

    Args:
        timeout: seconds to wait for one transaction.
        tell: is given every row's result as soon as it is known.

    Raises:
        Refused: a transaction that was signed into a file is in the way.
        JournalError: nothing can be written down, so nothing is sent.
        NetworkError, WrongChain: the chain cannot be asked at the beginning.
    """
    if any(not problem.is_duplicate for problem in batch.problems):
        raise InvalidInput(f"{batch.path} has problems: nothing of it is paid")
    wallet.check_chain()
    wallet.require_no_held()
    standing = look_up(wallet, batch)
    rows = [row.to_json() for row in batch.rows]
    journal, now = wallet._journal_open(), int(wallet._clock())
    journal.begin_batch(batch.file_hash, str(batch.path), rows, now)
    run = _Run(wallet, batch, timeout, in_flight, tell)
    for result in standing.done.values():
        run.note(result)
    for row, entry in standing.open:  # what an earlier run left comes first, by nonce
        run.launch(row, entry)
    for row, attempt in standing.ahead:
        run.pay(row, attempt)
    run.land_all()
    return [run.results[row.number] for row in batch.rows]


class _Run:
    """One run over a file: what is under way, oldest first, and what is known so far."""

    def __init__(
        self,
        wallet: Wallet,
        batch: BatchFile,
        timeout: float,
        in_flight: int,
        tell: Callable[[Result], None],
    ) -> None:
        self._wallet, self._batch = wallet, batch
        self._timeout, self._in_flight, self._tell = timeout, in_flight, tell
        # Who was paid before was asked about before; nothing here depends on it.
        self._earlier = {row.to: 1 for row in batch.rows}
        self._flying: deque[tuple[Row, Sent]] = deque()
        self._stopped: str | None = None
        self.results: dict[int, Result] = {}

    def note(self, result: Result) -> None:
        self.results[result.row.number] = result
        self._tell(result)

    def pay(self, row: Row, attempt: int) -> None:
        """Sign, write down and send a row, once there is room for it."""
        while len(self._flying) >= self._in_flight:
            self._land_one()
        if self._stopped is None:
            try:
                plan = self._wallet.plan_transfer(
                    row.to, row.amount, row.memo, earlier=self._earlier
                )
                entry = self._wallet._record(plan, _key(self._batch, row, attempt))
            except (NetworkError, RpcError, JournalError) as error:
                self._stopped = str(error)
            except (Refused, InsufficientFunds, WouldRevert, InvalidInput) as error:
                self.note(Result(row, "failed", reason=str(error)))
                return
            else:
                self.launch(row, entry)
                return
        self.note(Result(row, "unsent", reason=self._stopped))

    def launch(self, row: Row, entry: Entry) -> None:
        """Send a row's bytes; if the endpoint does not take them, wait until it does."""
        try:
            complaint = self._wallet._broadcast(entry)
        except Refused as error:  # its nonce is free again, so nothing waits for it
            self.note(Result(row, "failed", entry.hash, reason=str(error)))
            return
        self._flying.append((row, Sent(self._wallet, entry)))
        if complaint is not None:
            self.land_all()

    def land_all(self) -> None:
        while self._flying:
            self._land_one()

    def _land_one(self) -> None:
        row, sent = self._flying.popleft()
        try:
            # Once one does not land, those after it cannot either: they are looked at and left.
            outcome = sent.wait(self._timeout if self._stopped is None else 0)
        except Superseded as error:
            canceled = _is_canceled(self._wallet, sent._entry)
            failed = Result(row, "failed", sent.hash, reason=str(error))
            self.note(_canceled(row, sent.hash) if canceled else failed)
        except Refused as error:
            self.note(Result(row, "failed", sent.hash, reason=str(error)))
        else:
            self.note(_result(row, outcome))
            if self.results[row.number].status == "pending":
                self._stopped = self._stopped or f"line {row.line} is still pending"


def _result(row: Row, outcome: Outcome) -> Result:
    if isinstance(outcome, Confirmed):
        return Result(row, "confirmed", outcome.hash, outcome.block)
    if isinstance(outcome, Reverted):
        return Result(row, "reverted", outcome.hash, outcome.block, outcome.reason)
    return Result(row, "pending", outcome.hash, reason=outcome.problem)


def _canceled(row: Row, transaction_hash: str, before: bool = False) -> Result:
    reason = "it was canceled with `wallet tx cancel`: this file does not pay it any more"
    return Result(row, "canceled", transaction_hash, reason=reason, before=before)


def _is_canceled(wallet: Wallet, entry: Entry) -> bool:
    """Whether it lost its nonce to a cancellation signed here."""
    return any(
        rival.intent["kind"] == "cancellation" and rival.state == "confirmed"
        for rival in wallet._journal_open().candidates(entry.nonce)
    )


def _key(batch: BatchFile, row: Row, attempt: int) -> str:
    """A row's idempotency key. A later attempt is made only once the earlier can never land."""
    again = "" if attempt == 1 else f":{attempt}"
    return f"{KEY}{batch.file_hash}:{row.number}{again}"
