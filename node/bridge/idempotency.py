"""A POST and its idempotency key: one effect, however often and wherever it arrives.

The key is stored in the transaction that makes the effect, so either both exist or neither. A
request that is refused stores none. Two at once: the database lets one write first, and the other
finds its key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar, cast

from fastapi import Depends, Header, Request
from sqlalchemy import bindparam
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.auth import ByApiKey, Caller, Scope, authenticate
from node.bridge.context import Context, context_of
from node.bridge.operations import unsettled
from node.bridge.problems import Problem
from node.bridge.rows import add, owned, table
from node.bridge.values import Input, Output
from node.bridge.waiting import last_seq, wait_seconds
from node.failpoints import reach
from node.store.models import IdempotencyKey
from node.store.prepared import Prepared

_FIND_KEY = Prepared(
    owned(IdempotencyKey, bindparam("its_merchant")).where(
        table(IdempotencyKey).c.key == bindparam("its_key")
    )
)
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")

Shown = TypeVar("Shown", bound=Output)


@dataclass(frozen=True)
class Outcome:
    """What a service function did."""

    resource_type: str
    resource_id: str
    operations: Sequence[str] = ()  # ids of those it queued
    status_code: int = 202
    shown: Output | None = None  # the resource, where it need not be read for the answer


@dataclass(frozen=True)
class _Done(Generic[Shown]):
    outcome: Outcome
    shown: Shown
    replayed: bool
    last_seq: int


@dataclass(frozen=True)
class Command:
    """One authenticated POST with its idempotency key."""

    context: Context
    caller: Caller
    method: str
    path: str
    key: str
    wait_seconds: int

    async def run(
        self,
        body: Input | None,
        work: Callable[[Session], Outcome],
        show: Callable[[Session, str], Shown],
    ) -> Response:
        """Do the work once for this key, and answer with the resource as it now stands.

        Args:
            work: checks, and inserts resource, operations and events. Runs in one transaction
                together with the key.
            show: the resource, by its id.

        Raises:
            Problem: idempotency_key_reused, or what `work` refuses.
        """
        reach("bridge.request_read")
        request_hash = self._hash(body)
        done = await self.context.writer.write_again(
            lambda session: self._once(session, request_hash, work, show)
        )
        reach("bridge.committed")
        headers = {"Idempotency-Replayed": "true"} if done.replayed else {}
        if self.wait_seconds and done.outcome.operations:
            return await self._wait(done, show, headers)
        return answer(done.shown, done.outcome.status_code, headers)

    def _hash(self, body: Input | None) -> str:
        """Of the meaning, not of the bytes: order of fields and white space do not matter."""
        fields = None if body is None else body.model_dump(mode="json", exclude_unset=True)
        canonical = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(f"{self.method} {self.path}\n{canonical}".encode()).hexdigest()

    def _once(
        self,
        session: Session,
        request_hash: str,
        work: Callable[[Session], Outcome],
        show: Callable[[Session, str], Shown],
    ) -> _Done[Shown]:
        known = self._known(session, request_hash)
        if known is None:
            outcome = work(session)
            add(
                session,
                IdempotencyKey,
                merchant_id=self.caller.merchant_id,
                key=self.key,
                request_hash=request_hash,
                status_code=outcome.status_code,
                resource_type=outcome.resource_type,
                resource_id=outcome.resource_id,
                created_at=self.context.wall_now(),
            )
            reach("bridge.work_done")
        else:
            outcome = known
        shown = cast(Shown | None, outcome.shown)  # of the type of the route's `show`
        return _Done(
            outcome,
            show(session, outcome.resource_id) if shown is None else shown,
            replayed=known is not None,
            last_seq=last_seq(session) if self.wait_seconds else 0,
        )

    def _known(self, session: Session, request_hash: str) -> Outcome | None:
        which = {"its_merchant": self.caller.merchant_id, "its_key": self.key}
        row = _FIND_KEY.one_or_none(session, which)
        if row is None:
            return None
        if row.request_hash != request_hash:
            raise Problem(
                "idempotency_key_reused",
                f"the key {self.key!r} came with another request, which made"
                f" {row.resource_type} {row.resource_id}",
                param="Idempotency-Key",
                resource_id=row.resource_id,
            )
        waiting_for = unsettled(session, row.resource_type, row.resource_id)
        operations = [operation.id for operation in waiting_for]
        return Outcome(row.resource_type, row.resource_id, operations, row.status_code)

    async def _wait(
        self, done: _Done[Shown], show: Callable[[Session, str], Shown], headers: dict[str, str]
    ) -> Response:
        resource_id = done.outcome.resource_id
        waits_for = set(done.outcome.operations)

        def look(session: Session) -> Shown | None:
            open_operations = unsettled(session, done.outcome.resource_type, resource_id)
            if any(operation.id in waits_for for operation in open_operations):
                return None
            return show(session, resource_id)

        reach("bridge.waiting")
        settled = await self.context.waiters.wait(
            resource_id, done.last_seq, look, self.wait_seconds
        )
        if settled is None:
            shown = await self.context.store.read(lambda session: show(session, resource_id))
            return answer(shown, done.outcome.status_code, headers)
        reach("bridge.settled")
        return answer(settled, 200, {**headers, "Preference-Applied": f"wait={self.wait_seconds}"})


class _Accepts(ByApiKey):
    async def __call__(  # type: ignore[override]
        self,
        request: Request,
        idempotency_key: Annotated[
            str | None,
            Header(
                alias="Idempotency-Key",
                description="1-255 visible ASCII characters, new for each new intention",
            ),
        ] = None,
        prefer: Annotated[
            str | None,
            Header(
                alias="Prefer",
                description="`wait=N`: answer when it is settled, or after N (0-30) seconds",
            ),
        ] = None,
    ) -> Command:
        caller = await authenticate(request, self._scope)
        if idempotency_key is None:
            raise Problem(
                "idempotency_key_required",
                "send an Idempotency-Key header: the same one when you repeat this request, a new"
                " one for a new intention",
                param="Idempotency-Key",
            )
        if not _VISIBLE_ASCII.fullmatch(idempotency_key):
            raise Problem(
                "idempotency_key_invalid",
                f"the key has {len(idempotency_key)} characters; 1-255 visible ASCII are allowed",
                param="Idempotency-Key",
            )
        return Command(
            context=context_of(request),
            caller=caller,
            method=request.method,
            path=request.scope["path"],
            key=idempotency_key,
            wait_seconds=wait_seconds(prefer),
        )


def command(scope: Scope) -> Callable[..., Awaitable[Command]]:
    """The dependency of a POST route that needs this scope."""
    return _Accepts(scope)


AccountsCommand = Annotated[Command, Depends(command("accounts"))]
MoneyCommand = Annotated[Command, Depends(command("money"))]
PurchasesCommand = Annotated[Command, Depends(command("purchases"))]
ArbitrateCommand = Annotated[Command, Depends(command("arbitrate"))]
CreditCommand = Annotated[Command, Depends(command("credit"))]
DeskCommand = Annotated[Command, Depends(command("desk"))]
ScoresCommand = Annotated[Command, Depends(command("scores"))]
WebhooksCommand = Annotated[Command, Depends(command("webhooks"))]
KeysCommand = Annotated[Command, Depends(command("keys"))]
