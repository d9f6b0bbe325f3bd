"""The lists of scripts/bench_bridge.py --pages: what a page costs, in short and in long lists.

One node is deployed and stopped. Its database is filled with transfers, and with the events and the
ledger entries they would have left, up to each length in turn; each time its bridge alone is asked
for pages over HTTP.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, insert, select
from sqlalchemy.orm import Session

from node.bridge.api_keys import MerchantKey, create_merchant_key
from node.settings import Settings
from node.store import Store
from node.store.ids import Ids
from node.store.models import (
    Account,
    AccountStatus,
    Event,
    LedgerEntry,
    Member,
    MoveStatus,
    Transfer,
)
from scripts.bench_load import run_node

CHUNK = 10_000
TIMES = 40  # that each page is asked for
LIMIT = 20
START_SECONDS = 180
_FIRST_MILLISECOND = 1_700_000_000_000
_SENDER, _RECEIVER = "0x" + "A1" * 20, "0x" + "B2" * 20


@dataclass(frozen=True)
class _Asked:
    """A list, and the cursor of its first, its middle and its last page."""

    name: str
    path: str
    cursors: tuple[str, str, str]


def bench_pages(
    folder: Path, lengths: Sequence[int], database_url: str | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Milliseconds of pages, by list and length.

    Args:
        lengths: how many transfers the lists are to hold, in turn.
        database_url: of an empty PostgreSQL database; None: SQLite.
    """
    data = folder / "node"
    own = {} if database_url is None else {"database_url": database_url}
    with run_node(data, own):
        pass
    settings = Settings(data=data, **own)  # type: ignore[arg-type]
    store = Store(settings.store_url)
    try:
        key = store.write_now(
            lambda session: create_merchant_key(session, settings, merchant="Bench", name="bench")
        )
        account_id = store.write_now(lambda session: _add_account(session, key.merchant_id))
        found: dict[str, dict[str, dict[str, float]]] = {}
        for length in sorted(lengths):
            tell(f"{length:,} transfers")
            _fill(store, key.merchant_id, account_id, length)
            lists = store.read_now(lambda session: _lists(session, account_id))
            with _run_bridge(data, own) as port:
                for asked in lists:
                    pages = _time_pages(port, key, asked)
                    found.setdefault(asked.name, {})[str(length)] = pages
    finally:
        store.close()
    return {
        "database": "SQLite" if store.is_sqlite else "PostgreSQL",
        "rows": sorted(lengths),
        "page": LIMIT,
        "lists": [
            {"list": name, "milliseconds": by_length, "ratio": _ratio(list(by_length.values()))}
            for name, by_length in found.items()
        ],
    }


def _ratio(lengths: Sequence[dict[str, float]]) -> float:
    """The dearest page of the longest list by that of the shortest."""
    return round(max(lengths[-1].values()) / max(lengths[0].values()), 2)


def _add_account(session: Session, merchant_id: str) -> str:
    session.add(Member(address=_SENDER, balance=0, kinds=1, member_until=2**40, frozen=False))
    account = Account(
        id=Ids().new("acc"),
        merchant_id=merchant_id,
        reference=None,
        address=_SENDER,
        managed_index=None,
        kinds=1,
        member_until=2**40,
        status=AccountStatus.ACTIVE,
        error=None,
        created_at=_FIRST_MILLISECOND // 1000,
    )
    session.add(account)
    return account.id


def _fill(store: Store, merchant_id: str, account_id: str, length: int) -> None:
    """Add transfers until there are so many. One in a thousand failed."""
    there: int = store.read_now(
        lambda session: session.scalar(select(func.count()).select_from(Transfer)) or 0
    )
    numbers = iter(range(there, length))
    millisecond = _FIRST_MILLISECOND
    ids = Ids(lambda: millisecond)
    while True:
        transfers, events, entries = [], [], []
        for number in [next(numbers, None) for _ in range(CHUNK)]:
            if number is None:
                break
            millisecond = _FIRST_MILLISECOND + number
            transfer = _transfer(ids, merchant_id, account_id, number)
            transfers.append(transfer)
            events.append(_event(ids, transfer))
            entries.append(_entry(transfer, number))
        if not transfers:
            return
        chunk = ((Transfer, transfers), (Event, events), (LedgerEntry, entries))

        def write(session: Session, chunk: Any = chunk) -> None:
            for model, rows in chunk:
                rows_of: Table = model.__table__
                session.connection().execute(insert(rows_of), rows)

        store.write_now(write)


def _transfer(ids: Ids, merchant_id: str, account_id: str, number: int) -> dict[str, Any]:
    return {
        "id": ids.new("trf"),
        "merchant_id": merchant_id,
        "from_account_id": account_id,
        "from_address": _SENDER,
        "to_address": _RECEIVER,
        "amount": 1_000_000 + number,
        "memo": f"order {number}",
        "nonce": f"0x{number:064x}",
        "status": MoveStatus.FAILED if number % 1000 == 0 else MoveStatus.SUCCEEDED,
        "error": None,
        "created_at": (_FIRST_MILLISECOND + number) // 1000,
    }


def _event(ids: Ids, transfer: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.new("evt"),
        "merchant_id": transfer["merchant_id"],
        "type": f"transfer.{transfer['status']}",
        "resource_type": "transfer",
        "resource_id": transfer["id"],
        "cause": f"{transfer['nonce']}:transfer",
        "data": {"status": transfer["status"], "amount": str(transfer["amount"])},
        "created_at": transfer["created_at"],
    }


def _entry(transfer: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "block_number": number + 100,
        "block_timestamp": transfer["created_at"],
        "log_index": 0,
        "tx_hash": transfer["nonce"],
        "address": _SENDER,
        "delta": -transfer["amount"],
        "balance_after": 0,
        "counterparty": _RECEIVER,
        "kind": "transfer",
        "ref": transfer["nonce"],
    }


def _lists(session: Session, account_id: str) -> list[_Asked]:
    transfers: Table = Transfer.__table__  # type: ignore[assignment]
    entries: Table = LedgerEntry.__table__  # type: ignore[assignment]
    events: Table = Event.__table__  # type: ignore[assignment]

    def cursors(column: Any, *which: Any) -> tuple[str, str, str]:
        """None, that of the row in the middle, and that before the last page."""
        count = session.scalar(select(func.count()).select_from(column.table).where(*which)) or 0
        rows = select(column).where(*which).order_by(column.desc()).limit(1)
        middle = session.scalar(rows.offset(count // 2))
        last = session.scalar(rows.offset(max(count - LIMIT - 1, 0)))
        return "", f"&cursor={middle}", f"&cursor={last}"

    newest = session.scalar(select(func.max(events.c.seq))) or 0
    after = (f"&after={max(newest - LIMIT, 0)}", f"&after={newest // 2}", "&after=0")
    by_status = {
        status: cursors(transfers.c.id, transfers.c.status == status)
        for status in (MoveStatus.SUCCEEDED, MoveStatus.FAILED)
    }
    nothing = ("", "&cursor=trf_018c", "&cursor=trf_018b")
    return [
        _Asked("transfers", "/v1/transfers?", cursors(transfers.c.id)),
        *(
            _Asked(f"transfers, {status}", f"/v1/transfers?status={status}", found)
            for status, found in by_status.items()
        ),
        _Asked("transfers, canceled (none is)", "/v1/transfers?status=canceled", nothing),
        _Asked(
            "entries of an account", f"/v1/accounts/{account_id}/entries?", cursors(entries.c.id)
        ),
        _Asked("events", "/v1/events?", after),
    ]


@contextmanager
def _run_bridge(data: Path, own: dict[str, str]) -> Iterator[int]:
    """The bridge by itself, without a chain; its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.set_inheritable(True)
        port: int = listener.getsockname()[1]
        environment = {
            **os.environ,
            **{f"PLAZA_{name.upper()}": value for name, value in own.items()},
            "PLAZA_DATA": str(data),
            "PLAZA_LISTEN_FD": str(listener.fileno()),
            "PLAZA_LOG_LEVEL": "warning",
        }
        with (data / "bridge.log").open("wb") as log:
            bridge = subprocess.Popen(
                [sys.executable, "-m", "node.bridge.serve"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(listener.fileno(),),
            )
    try:
        _wait_for_bridge(bridge, port, data / "bridge.log")
        yield port
    finally:
        bridge.terminate()
        bridge.wait(START_SECONDS)


def _wait_for_bridge(bridge: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health/live")
            connection.getresponse().read()
            return
        except OSError:
            if time.monotonic() > end or bridge.poll() is not None:
                raise SystemExit(f"bench: no bridge:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.1)


def _time_pages(port: int, key: MerchantKey, asked: _Asked) -> dict[str, float]:
    """Milliseconds at the median of the first, the middle and the last page, asked for in turn."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {key.secret}"}
    took: dict[str, list[float]] = {"first": [], "middle": [], "last": []}
    for _ in range(TIMES):
        for (page, times), cursor in zip(took.items(), asked.cursors, strict=True):
            path = f"{asked.path}&limit={LIMIT}{cursor}".replace("?&", "?")
            started = time.perf_counter()
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            content = response.read()
            times.append(1000 * (time.perf_counter() - started))
            if response.status != 200:
                raise SystemExit(f"bench: {page} page of {path}: {json.loads(content)}")
    connection.close()
    return {page: round(statistics.median(times), 2) for page, times in took.items()}
