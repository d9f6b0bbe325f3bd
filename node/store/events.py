"""An event as the outside gets it: in lists, in the stream and in webhooks alike.

Writers come one after the other (see `node.store.Store`), so events become visible in order of
`seq`: who has read up to one has read all there will ever be before it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy.engine import Row


def event_values(row: Row[Any]) -> dict[str, Any]:
    """Plain values, for JSON."""
    return {
        "id": row.id,
        "seq": row.seq,
        "type": row.type,
        "resource_type": row.resource_type,
        "resource_id": row.resource_id,
        "data": row.data,
        "created_at": _rfc3339(row.created_at),
    }


@lru_cache(maxsize=1024)
def _rfc3339(timestamp: int) -> str:
    """Many events share a second."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
