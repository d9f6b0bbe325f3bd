"""Prepared statements say what SQLAlchemy says, with the same values and the same errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    bindparam,
    delete,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from node.bridge.rows import table
from node.store import Store
from node.store.models import ApiKey, EscrowOrder, Merchant
from node.store.prepared import Prepared
from tests import databases

HUGE = 2**100 + 1
MERCHANTS, KEYS, ORDERS = table(Merchant), table(ApiKey), table(EscrowOrder)
ADD_MERCHANT = Prepared(insert(MERCHANTS), MERCHANTS.c.keys())
A_MERCHANT = {"name": "Shop", "fee_bps": 250, "dispute_window": 60, "created_at": 2**40}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(databases.new_url(tmp_path))
    yield store
    store.close()


def test_what_is_inserted_is_read_as_by_sqlalchemy(store: Store) -> None:
    """Amounts beyond 64 bits, JSON, nothing, and the defaults of columns left out."""
    key = {
        "id": "key_1",
        "merchant_id": "mer_1",
        "name": "it's % :name ?",
        "prefix": "plz",
        "secret_hash": "aa",
        "scopes": ["read", "ünïcode"],
        "created_at": 1,
        "revoked_at": None,
    }
    order = {"order_hash": "0x1", "payer": "0xa", "payee": "0xb", "held": 1, "authorized": HUGE}

    def write(session: Session) -> None:
        ADD_MERCHANT.run(session, {"id": "mer_1", **A_MERCHANT})
        Prepared(insert(KEYS), tuple(key)).run(session, key)
        Prepared(insert(ORDERS), tuple(order)).run(session, order)

    store.write_now(write)

    def check(session: Session) -> None:
        for rows, its_key in ((MERCHANTS, "mer_1"), (KEYS, "key_1"), (ORDERS, "0x1")):
            (primary,) = rows.primary_key
            statement = select(rows).where(primary == bindparam("its_key"))
            prepared = Prepared(statement).one_or_none(session, {"its_key": its_key})
            plain = session.execute(statement, {"its_key": its_key}).one()
            assert prepared._asdict() == plain._asdict()
            assert [type(part) for part in prepared] == [type(part) for part in plain]

    store.read_now(check)
    found = store.read_now(lambda s: Prepared(select(ORDERS)).run(s, {}))
    assert (found[0].authorized, found[0].released, found[0].dispute_deadline) == (HUGE, 0, 0)


def test_a_statement_is_compiled_once_and_run_with_other_values(store: Store) -> None:
    def write(session: Session) -> None:
        for number in (1, 2, 3):
            ADD_MERCHANT.run(session, {"id": f"m{number}", **A_MERCHANT, "name": f"{number}"})

    store.write_now(write)
    by_name = Prepared(
        select(MERCHANTS.c.id, (MERCHANTS.c.fee_bps + literal(1)).label("more")).where(
            MERCHANTS.c.name == bindparam("its_name"), MERCHANTS.c.id != "m3"
        )
    )

    def read(session: Session) -> list[Any]:
        return [by_name.one_or_none(session, {"its_name": name}) for name in ("1", "2", "3", "4")]

    assert store.read_now(read) == [("m1", 251), ("m2", 251), None, None]
    assert store.read_now(lambda s: by_name.run(s, {"its_name": "2"})[0].more) == 251


def test_changes_and_deletions(store: Store) -> None:
    change = Prepared(
        update(MERCHANTS).where(MERCHANTS.c.id == bindparam("its_id")), ("fee_bps", "name")
    )
    remove = Prepared(delete(MERCHANTS).where(MERCHANTS.c.id == bindparam("its_id")))

    def write(session: Session) -> None:
        for each in ("m1", "m2"):
            ADD_MERCHANT.run(session, {"id": each, **A_MERCHANT, "name": each})
        assert change.run(session, {"fee_bps": 7, "name": "new", "its_id": "m1"}) == []
        remove.run(session, {"its_id": "m2"})

    store.write_now(write)
    rows = store.read_now(lambda s: [tuple(row) for row in s.execute(select(MERCHANTS))])
    assert rows == [("m1", "new", 7, 60, 2**40)]


def test_the_statement_is_of_the_transaction_it_runs_in(store: Store) -> None:
    """Rolled back with it, or with its savepoint."""

    def add(session: Session, merchant_id: str) -> None:
        ADD_MERCHANT.run(session, {"id": merchant_id, **A_MERCHANT, "name": merchant_id})

    def fail(session: Session) -> None:
        add(session, "lost")
        raise RuntimeError

    def half(session: Session) -> None:
        add(session, "kept")
        with pytest.raises(RuntimeError), session.begin_nested():
            fail(session)

    with pytest.raises(RuntimeError):
        store.write_now(fail)
    store.write_now(half)
    assert store.read_now(lambda s: list(s.scalars(select(MERCHANTS.c.id)))) == ["kept"]


def test_errors_are_those_of_sqlalchemy_without_the_values(store: Store) -> None:
    def twice(session: Session) -> None:
        for _ in range(2):
            ADD_MERCHANT.run(session, {"id": "secret-name", **A_MERCHANT})

    with pytest.raises(IntegrityError) as caught:
        store.write_now(twice)
    assert "INSERT INTO merchants" in str(caught.value)
    assert "[parameters" not in str(caught.value)

    store.write_now(lambda s: s.connection().exec_driver_sql("DROP TABLE escrow_orders"))
    with pytest.raises((OperationalError, ProgrammingError)):
        store.read_now(lambda s: Prepared(select(ORDERS)).run(s, {}))


def test_a_value_of_the_wrong_type_is_refused(store: Store) -> None:
    order = {"order_hash": "0x1", "payer": "0xa", "payee": "0xb", "held": 1, "authorized": 1.5}
    with pytest.raises(TypeError, match="an amount is an int"):
        store.write_now(lambda s: Prepared(insert(ORDERS), tuple(order)).run(s, order))


def test_a_value_that_is_missing_is_refused(store: Store) -> None:
    """Of a parameter, when it is run; of a column without a default, by the database."""
    find = Prepared(select(MERCHANTS).where(MERCHANTS.c.id == bindparam("its_id")))
    with pytest.raises(KeyError, match="its_id"):
        store.read_now(lambda s: find.run(s, {}))
    with pytest.raises(IntegrityError):
        store.write_now(lambda s: Prepared(insert(MERCHANTS), ("id",)).run(s, {"id": "x"}))


def test_defaults_that_are_computed_are_not_left_out_silently(store: Store) -> None:
    rows = Table("t", MetaData(), Column("a", Integer), Column("b", Integer, default=lambda: 1))
    with pytest.raises(TypeError, match=r"t\.b"):
        store.write_now(lambda s: Prepared(insert(rows), ("a",)).run(s, {"a": 1}))
