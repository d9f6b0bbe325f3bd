"""Reading events so that none is missed: up to where no earlier one can still appear.

On SQLite, which has one writer, events become visible in order of `seq`. On PostgreSQL a
transaction takes its `seq` before it commits, so a later one may be visible first, and who reads on
from that would never see the earlier. There, a trigger on the table makes each transaction that
inserts events say, until it ends, from where on it does so: it holds a shared advisory lock whose
key is the last `seq` before its own. Nobody waits for these locks; readers look at them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.store.models import Event

# Keys of advisory locks are 64 bits: 24 of "PLZ", 40 of a seq.
_TAG = int.from_bytes(b"PLZ")

TRIGGER = (
    f"""
    CREATE FUNCTION plaza_events_begin() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(
            ({_TAG}::bigint << 40) | (last_value - 1 + is_called::int)
        ) FROM events_seq_seq;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER plaza_events_begin BEFORE INSERT ON events
    FOR EACH STATEMENT EXECUTE FUNCTION plaza_events_begin()
    """,
)

_SEQ = Event.__table__.c.seq
_LAST_VISIBLE = select(func.max(_SEQ))
_LAST_TAKEN = text("SELECT last_value - 1 + is_called::int FROM events_seq_seq")
_FIRST_OPEN = text(
    f"""
    SELECT min((classid::bigint & 255) << 32 | objid::bigint) FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 8 = {_TAG}
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """  # noqa: S608 (a constant)
)


def settled_seq(session: Session) -> int:
    """Return the `seq` up to which every event there will ever be is there; 0 for none.

    To be called before the events are read, in the same transaction.
    """
    if session.get_bind().dialect.name != "postgresql":
        return session.scalar(_LAST_VISIBLE) or 0
    # In this order: what is taken after the first look is beyond it, and what was taken before is
    # visible to the reader's next statement, or has its lock seen by the second look.
    last_taken: int = session.scalar(_LAST_TAKEN) or 0
    first_open: int | None = session.scalar(_FIRST_OPEN)
    return last_taken if first_open is None else min(last_taken, first_open)


def event_values(row: Row[Any]) -> dict[str, Any]:
    """An event as the outside gets it: in lists, in the stream and in webhooks alike."""
    created_at = datetime.fromtimestamp(row.created_at, UTC)
    return {
        "id": row.id,
        "seq": row.seq,
        "type": row.type,
        "resource_type": row.resource_type,
        "resource_id": row.resource_id,
        "data": row.data,
        "created_at": created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
