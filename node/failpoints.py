"""Named steps between a request and its webhook, at which a process can be made to kill itself.

PLAZA_FAILPOINT="outbox.stored:3" in the environment of a process ends it by SIGKILL when it comes
to that step for the third time. So a test decides at which line a crash happens, and sees that
nothing is lost or doubled by it (scripts/crash_campaign.py goes through the whole table). Without
the variable a step costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

STEPS = {
    # The bridge: from a request to its answer.
    "bridge.request_read": "a POST and its body were read; nothing was asked of the database",
    "bridge.work_done": "resource, operation, event and key are written; nothing is committed",
    "bridge.group_committed": "one commit holds several requests; none of them knows",
    "bridge.committed": "the request is committed; nothing was answered",
    "bridge.waiting": "the request is committed, and its answer waits for the chain",
    "bridge.settled": "the chain has settled the request; its answer was not sent",
    "bridge.answered": "the answer was handed to the server; perhaps not all of it was sent",
    # Every transaction, of the bridge as of the worker.
    "store.begun": "a transaction is open; nothing was written",
    "store.committing": "all of a transaction is written; it is not committed",
    "store.committed": "a transaction is committed; who asked for it does not know",
    # The outbox: from the queue to the network.
    "outbox.queue_read": "the queue was read; nothing was asked of the chain",
    "outbox.leading": "the leases of the senders are taken; nothing was simulated",
    "outbox.simulated": "the chain has passed or refused the queue; nothing was signed",
    "outbox.signed": "transactions are signed, and known to nobody",
    "outbox.storing": "nonces and signed bytes are written; they are not committed",
    "outbox.stored": "signed bytes are committed; none was broadcast",
    "outbox.half_sent": "the first half of a batch was broadcast; the other half was not",
    "outbox.sending": "the chain holds its blocks for a batch; nothing of it was sent",
    "outbox.sent": "a batch is broadcast and answered; the answers were not looked at",
    "outbox.resending": "something is unmined for too long; it was not looked up",
    "outbox.looked_up": "the chain has told what it knows of the unmined; nothing was sent again",
    "outbox.replaying": "transactions of lost blocks were sent again, up to this one",
    "outbox.resent": "the unmined were sent again; that was not noted",
    # The indexer: from a block to what is true of a resource.
    "index.head_read": "the head of the chain is known; no block was read",
    "index.blocks_read": "blocks and their logs were read; nothing was written",
    "index.writing": "resources, ledger and events of blocks are written; they are not committed",
    "index.written": "blocks are committed; the indexer does not know that it has them",
    "index.went_back": "the chain is not the one indexed; where they part is not known",
    "index.rolling_back": "what lost blocks said is taken back; that is not committed",
    "index.rolled_back": "lost blocks are taken back; what they held was not sent again",
    # What falls due by itself.
    "deadlines.found": "disputes are over by time; nothing was queued",
    "deadlines.queueing": "the ends of disputes are queued; they are not committed",
    "deadlines.queued": "the ends of disputes are committed; nobody was told",
    # Webhooks: from an event to the receiver's answer.
    "webhooks.leading": "the lease is taken; nothing was looked at",
    "webhooks.events_read": "new events and what is due were read; nothing was posted",
    "webhooks.handing_out": "deliveries are written, and the cursor is moved; not committed",
    "webhooks.handed_out": "deliveries are committed; none was posted",
    "webhooks.posting": "a webhook is signed; it was not posted",
    "webhooks.posted": "a webhook is posted and answered; that is not written down",
    "webhooks.recording": "what came of posts is written, and the next may go; not committed",
    "webhooks.recorded": "what came of posts is committed; the deliverer does not know",
}

Item = TypeVar("Item")

_armed: str | None = None
_left = 0
_lock = threading.Lock()  # transactions run on threads


def reach(step: str) -> None:
    """Say that this process is at a step of the table; die there if it was told to."""
    if _armed == step and _is_last():
        _die()


async def reach_halfway(
    step: str, send: Callable[[Sequence[Item]], Awaitable[Any]], items: Sequence[Item]
) -> None:
    """`reach` for a step in the middle of sending: the first half is sent, then the process dies.

    Does nothing where there is nothing to halve.
    """
    if _armed == step and len(items) > 1 and _is_last():
        await send(items[: len(items) // 2])
        _die()


def arm(text: str) -> None:
    """Choose where this process dies: "step:count", or "step" for the first time.

    Raises:
        ValueError: no such step, or no such count.
    """
    global _armed, _left
    step, _, count = text.partition(":")
    if step not in STEPS:
        raise ValueError(f"no failpoint {step!r}: see the table in node/failpoints.py")
    if count and (not count.isascii() or not count.isdigit() or int(count) < 1):
        raise ValueError(f"a failpoint's count is a number from 1, not {count!r}")
    _armed, _left = step, int(count or 1)


def _is_last() -> bool:
    global _left  # noqa: PLW0603 (one process dies at one step)
    with _lock:
        _left -= 1
        return _left == 0


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if "PLAZA_FAILPOINT" in os.environ:
    arm(os.environ["PLAZA_FAILPOINT"])
