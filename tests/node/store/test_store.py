"""The database: migrations, transactions, and amounts of any size."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, Table, column, create_engine, insert, select, table
from sqlalchemy.exc import OperationalError, StatementError
from sqlalchemy.orm import Session

from node.store import Store, migrate
from node.store.ids import Ids
from node.store.models import (
    Base,
    ChainTx,
    ChainTxOperation,
    CreditEntry,
    CreditLine,
    Dispute,
    EscrowOrder,
    Merchant,
    Operation,
    Supply,
)

HUGE = 2**100 + 1


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'plaza.db'}"
    migrate(url)
    return url


def merchant(name: str) -> Merchant:
    return Merchant(id=name, name=name, fee_bps=250, dispute_window=60, created_at=1)


def test_the_migrations_lead_to_exactly_the_models(url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_migrating_again_changes_nothing_and_the_file_is_ours_alone(
    url: str, tmp_path: Path
) -> None:
    store = Store(url)
    store.write_now(lambda session: session.add(merchant("kept")))
    migrate(url)
    assert store.read_now(lambda session: session.get(Merchant, "kept")) is not None
    assert (tmp_path / "plaza.db").stat().st_mode & 0o077 == 0
    store.close()


def schema(url: str) -> list[tuple[Any, ...]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        tables = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master ORDER BY name")
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        found = [*map(tuple, tables), *map(tuple, version)]
    engine.dispose()
    return found


def test_a_migration_that_fails_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    """And may be tried again; five of them are wanted here, and the last fails."""
    url = f"sqlite:///{tmp_path / 'plaza.db'}"
    migrate(url, to="0005")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE workers (in_the_way INTEGER)")
    before = schema(url)
    with pytest.raises(OperationalError, match="workers already exists"):
        migrate(url)
    assert schema(url) == before
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE workers")
    engine.dispose()
    migrate(url)
    test_the_migrations_lead_to_exactly_the_models(url)


KILLED = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from node.store import migrate

@event.listens_for(Engine, "after_cursor_execute")
def kill(connection, cursor, statement, *_):
    if statement.strip().startswith("CREATE TABLE workers"):
        os.kill(os.getpid(), signal.SIGKILL)

migrate(sys.argv[1])
"""


def test_a_process_killed_while_it_migrates_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'plaza.db'}"
    migrate(url, to="0005")
    before = schema(url)
    killed = subprocess.run([sys.executable, "-c", KILLED, url], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert schema(url) == before
    migrate(url)
    test_the_migrations_lead_to_exactly_the_models(url)


async def test_a_transaction_that_fails_leaves_nothing(url: str) -> None:
    store = Store(url)

    def half(session: Session) -> None:
        session.add(merchant("half"))
        session.flush()
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await store.write(half)
    assert await store.read(lambda session: session.get(Merchant, "half")) is None
    await store.write(lambda session: session.add(merchant("whole")))
    assert await store.read(lambda session: session.get(Merchant, "whole")) is not None
    store.close()


def test_amounts_are_exact_beyond_64_bits_and_never_floats(url: str) -> None:
    store = Store(url)
    store.write_now(lambda session: session.add(Supply(id=1, minted=HUGE, burned=0)))
    assert store.read_now(lambda session: session.scalar(select(Supply.minted))) == HUGE
    with pytest.raises(StatementError, match="an amount is an int"):
        store.write_now(lambda session: session.add(Supply(id=2, minted=1.5, burned=0)))
    store.close()


def test_disputes_indexed_before_they_had_a_table_are_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    migrate(url, to="0002")
    engine = create_engine(url)
    totals = {"released": 0, "voided": 0, "fee": 0, "repayment": 0, "refunded": 0, "reclaimed": 0}

    def order(name: str, held: int, dispute: str | None, **changes: int) -> dict[str, object]:
        return {
            "order_hash": name,
            "payer": "p",
            "payee": "s",
            "authorized": HUGE,
            "held": held,
            **totals,
            **changes,
            "dispute_deadline": 40 * 86_400,
            "dispute": dispute,
        }

    with engine.begin() as connection:
        connection.execute(
            insert(EscrowOrder),
            [
                order("open", HUGE - 4, "open", voided=4),
                order("decided", 0, "decided", voided=4, released=HUGE - 4),
                order("undisputed", HUGE, None),
            ],
        )
    migrate(url)
    with engine.connect() as connection:
        kept = {row.order_hash: row for row in connection.execute(select(Dispute))}
    engine.dispose()
    assert kept.keys() == {"open", "decided"}
    open_, decided = kept["open"], kept["decided"]
    assert (open_.disputed, open_.to_payer, open_.to_seller) == (HUGE - 4, 0, 0)
    assert (open_.opened_at, open_.deadline, open_.closed_at) == (864_000, 3_456_000, None)
    assert (decided.disputed, decided.to_payer, decided.to_seller) == (HUGE, 4, HUGE - 4)
    assert decided.closed_at is not None


def test_transactions_signed_before_there_were_batches_keep_their_operation(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    migrate(url, to="0005")
    engine = create_engine(url)
    operation = {
        "merchant_id": "m",
        "kind": "topup.mint",
        "attempt": 1,
        "resource_type": "topup",
        "resource_id": "t",
        "signer": "treasury",
        "to_address": "0x",
        "calldata": "0x",
        "debit_amount": "0",
        "credit_amount": "0",
        "created_at": 1,
        "updated_at": 1,
    }
    rows = {
        "merchants": [{"id": "m", "name": "m", "fee_bps": 1, "dispute_window": 1, "created_at": 1}],
        "operations": [
            {**operation, "id": "op_1", "ref": "a", "status": "done"},
            {**operation, "id": "op_2", "ref": "b", "status": "submitted"},
        ],
        "chain_txs": [
            {"id": 7, "operation_id": "op_1", "nonce": 0, "status": "mined", "succeeded": True},
            {"id": 8, "operation_id": "op_2", "nonce": 1, "status": "signed", "succeeded": None},
        ],
        "tx_attempts": [
            {"hash": "0x7", "chain_tx_id": 7, "raw": "0x", "created_at": 1},
            {"hash": "0x8", "chain_tx_id": 8, "raw": "0x", "created_at": 1},
        ],
    }
    with engine.begin() as connection:
        for name, some in rows.items():
            old = Table(name, MetaData(), autoload_with=connection)
            more = {"sender": "0xs"} if name == "chain_txs" else {}
            connection.execute(insert(old), [{**row, **more} for row in some])
    migrate(url)
    with engine.connect() as connection:
        carried = connection.execute(
            select(ChainTxOperation, ChainTx.tx_hash).join(ChainTx).order_by(ChainTx.id)
        ).all()
        alone = connection.execute(select(Operation.alone)).scalars().all()
    engine.dispose()
    assert [tuple(row) for row in carried] == [
        (7, 0, "op_1", True, "0x7"),
        (8, 0, "op_2", None, "0x8"),
    ]
    assert alone == [False, False]


def test_credit_lines_that_had_no_record_yet_begin_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    migrate(url, to="0005")
    engine = create_engine(url)
    columns = [column.name for column in CreditLine.__table__.columns]
    columns.remove("unpaid_fees")
    line = dict.fromkeys(columns, 0) | {
        "offer_hash": "o",
        "principal": HUGE,
        "interest": 7,
        "accrued_at": 864_000,
        "apr_bps": 1_100,
    }
    with engine.begin() as connection:
        old = table("credit_lines", *(column(name) for name in columns))
        connection.execute(
            insert(old),
            [
                {**line, "seller": seller, "status": status, "principal": str(HUGE)}
                for seller, status in (("a", "active"), ("d", "defaulted"))
            ],
        )
    migrate(url)
    with engine.connect() as connection:
        entries = connection.execute(select(CreditEntry.__table__)).all()
        fees = connection.scalars(select(CreditLine.unpaid_fees)).all()
    engine.dispose()
    assert [(one.seller, one.kind, one.principal_after) for one in entries] == [
        ("a", "carried", HUGE),
        ("d", "carried", HUGE),
    ]
    assert [one.rate_after for one in entries] == [HUGE * 1_100, 0]
    assert {(one.interest_after, one.block_timestamp) for one in entries} == {(7, 864_000)}
    assert fees == [0, 0]


_COUNT = """
import sys
from sqlalchemy import select
from node.store import Store
from node.store.models import Supply
store = Store(sys.argv[1])
def add_one(session):
    row = session.get(Supply, 1)
    row.minted += 1
for _ in range(100):
    store.write_now(add_one)
store.close()
"""


async def test_no_update_is_lost_among_processes_and_tasks(url: str) -> None:
    store = Store(url)
    store.write_now(lambda session: session.add(Supply(id=1, minted=0, burned=0)))
    command = [sys.executable, "-c", _COUNT, url]
    others = [subprocess.Popen(command) for _ in range(2)]  # noqa: ASYNC220

    def add_one(session: Session) -> None:
        row = session.get(Supply, 1)
        assert row is not None
        row.minted += 1

    await asyncio.gather(*(store.write(add_one) for _ in range(100)))
    assert [other.wait(60) for other in others] == [0, 0]
    assert store.read_now(lambda session: session.scalar(select(Supply.minted))) == 300
    store.close()


def test_ids_rise_even_within_a_millisecond_and_when_the_clock_goes_back() -> None:
    times = iter([5, 5, 5, 3, 6] + [6] * 5000)
    ids = Ids(now_milliseconds=lambda: next(times), random_bits=lambda bits: 0)
    made = [ids.new("pur") for _ in range(5005)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert made[0] == f"pur_{5 << 80 | 7 << 76 | 2 << 62:032x}"
