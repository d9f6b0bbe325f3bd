"""POSTs without a key: a member's signature passed on to the chain. The signature itself counts
once, so it is safe to send again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Header
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.context import Context
from node.bridge.operations import unsettled
from node.bridge.values import Output
from node.bridge.waiting import last_seq, wait_seconds

Prefer = Annotated[
    str | None,
    Header(alias="Prefer", description="`wait=N`: answer when it is settled, or after N seconds"),
]

Shown = TypeVar("Shown", bound=Output)


async def relayed(
    context: Context,
    resource: tuple[str, str],
    work: Callable[[Session], Sequence[str]],
    show: Callable[[Session], Shown],
    prefer: str | None,
) -> Response:
    """Queue what was signed, and answer with the resource, or when it is settled.

    Args:
        resource: type and id.
        work: returns the operations to wait for; runs in one transaction.
        prefer: the Prefer header.

    Raises:
        Problem: what `work` refuses.
    """
    resource_type, resource_id = resource
    seconds = wait_seconds(prefer)

    def write(session: Session) -> tuple[Sequence[str], int, Shown]:
        operations = work(session)
        return operations, last_seq(session), show(session)

    operations, seq, shown = await context.writer.write(write)
    if not seconds:
        return answer(shown, 202)

    def look(session: Session) -> Shown | None:
        open_operations = unsettled(session, resource_type, resource_id)
        if any(operation.id in operations for operation in open_operations):
            return None
        return show(session)

    settled = await context.waiters.wait(resource_id, seq, look, seconds)
    if settled is None:
        return answer(shown, 202)
    return answer(settled, 200, {"Preference-Applied": f"wait={seconds}"})
