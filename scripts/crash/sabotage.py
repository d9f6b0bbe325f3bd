"""Ways to break the node on purpose: a campaign that does not fail over them proves nothing.

forget-keys    the bridge stores no idempotency keys
sign-again     the worker, at its start, signs anew what was signed and not mined
tell-no-more   every twentieth webhook is taken for delivered without having been sent
pay-twice      every second top-up is queued twice, with another reference on chain
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from node.bridge import idempotency, topups
from node.bridge.operations import Call, queue, reference
from node.outbox.broadcast import Broadcaster
from node.store.models import (
    ChainTx,
    ChainTxOperation,
    ChainTxStatus,
    IdempotencyKey,
    Operation,
    TxAttempt,
)
from node.webhooks.sender import Answer, Sender


def forget_keys() -> None:
    add = idempotency.add

    def add_all_but_keys(session: Session, model: Any, **values: Any) -> None:
        if model is not IdempotencyKey:
            add(session, model, **values)

    idempotency.add = add_all_but_keys


def sign_again() -> None:
    resend_due = Broadcaster.resend_due

    def forget_signed(session: Session) -> None:
        signed = select(ChainTx.id).where(ChainTx.status == ChainTxStatus.SIGNED)
        operations = select(ChainTxOperation.operation_id).where(
            ChainTxOperation.chain_tx_id.in_(signed)
        )
        session.execute(
            update(Operation).where(Operation.id.in_(operations)).values(status="queued")
        )
        session.execute(delete(ChainTxOperation).where(ChainTxOperation.chain_tx_id.in_(signed)))
        session.execute(delete(TxAttempt).where(TxAttempt.chain_tx_id.in_(signed)))
        session.execute(delete(ChainTx).where(ChainTx.status == ChainTxStatus.SIGNED))

    async def forget_and_resend(self: Broadcaster) -> int:
        if not hasattr(self, "_forgot"):
            self._forgot = True  # type: ignore[attr-defined]
            await self._store.write(forget_signed)
        return await resend_due(self)

    Broadcaster.resend_due = forget_and_resend  # type: ignore[method-assign]


def tell_no_more() -> None:
    post = Sender.post
    numbers = itertools.count(1)

    async def post_most(self: Sender, *args: Any) -> Answer:
        if next(numbers) % 20 == 0:
            return Answer(204, None)
        return await post(self, *args)

    Sender.post = post_most  # type: ignore[method-assign]


def pay_twice() -> None:
    numbers = itertools.count(1)

    def queue_twice(
        session: Session, context: Any, merchant_id: str, resource_id: str, call: Call
    ) -> str:
        if next(numbers) % 2 == 0:
            again = replace(call, ref=reference("again", call.ref))
            data = context.coin.encode("mint", call.credit[0], call.credit[1], again.ref)
            again = replace(again, calldata=data)
            queue(session, context, merchant_id, resource_id, again)
        return queue(session, context, merchant_id, resource_id, call)

    topups.queue = queue_twice


WAYS: dict[str, Callable[[], None]] = {
    "forget-keys": forget_keys,
    "sign-again": sign_again,
    "tell-no-more": tell_no_more,
    "pay-twice": pay_twice,
}
