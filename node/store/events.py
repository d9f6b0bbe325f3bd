"""An event as the outside gets it: in lists, in the stream and in webhooks alike.

Writers come one after the other (see `node.store.Store`), so events become visible in order of
`seq`: who has read up to one has read all there will ever be before it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.engine import Row


def event_values(row: Row[Any]) -> dict[str, Any]:
    """Plain values, for JSON."""
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
