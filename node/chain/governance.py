"""Calls by a key of the platform that may have to wait: scheduled, executed, cancelled.

The AccessManager knows an operation by its caller, target and calldata. So the same words said
again find where it stands, and nothing needs to be remembered here. But it forgets what was
executed: the same words would then begin a second operation. Whoever lost the answer must look the
transaction up first, so its hash is told before it is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from node.chain.codec import ContractCodec
from node.chain.rpc import Rpc, RpcError
from node.keys import Signer

GAS = 3_000_000
RECEIPT_SECONDS = 120

# The AccessManager's words for an operation that would be allowed, had it been scheduled in time.
_TO_BE_SCHEDULED = ("AccessManagerNotScheduled(", "AccessManagerExpired(")


class GovernanceError(Exception):
    """The chain does not take the call, or not now; the message is for people."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where an operation stands.

    Attributes:
        state: "executed"; "scheduled" just now; "waiting", scheduled before; or "cancelled".
        ready_at: from when it can be executed, for a week; unix seconds, None if it need not wait.
        transaction: hash of what was sent; None if nothing was.
    """

    state: Literal["executed", "scheduled", "waiting", "cancelled"]
    ready_at: int | None
    transaction: str | None


class Governance:
    """The operations of one key.

    Args:
        manager: address of the AccessManager.
        tell: called with the hash of each transaction, before it is sent.
    """

    def __init__(
        self, rpc: Rpc, chain_id: int, manager: str, signer: Signer, tell: Callable[[str], None]
    ) -> None:
        self._rpc = rpc
        self._chain_id = chain_id
        self._manager = manager
        self._signer = signer
        self._tell = tell
        self._codec = ContractCodec("AccessManager")

    async def go_on(self, target: str, data: str) -> Outcome:
        """Take an operation one step further: schedule it, or execute it once it may be.

        Raises:
            GovernanceError: the key may not call this, or the contract refuses.
            RpcUnavailable: the chain did not answer. If a transaction was told, it may be mined.
        """
        ready_at = await self._ready_at(target, data)
        if ready_at is not None and ready_at > await self._now():
            return Outcome("waiting", ready_at, None)
        refusal = await self._refusal(target, data)
        if refusal is None:
            return Outcome("executed", ready_at, await self._send(target, data))
        if not refusal.startswith(_TO_BE_SCHEDULED):
            raise GovernanceError(f"refused: {refusal}")
        sent = await self._manage("schedule", target, data, 0)
        return Outcome("scheduled", await self._ready_at(target, data), sent)

    async def cancel(self, caller: str, target: str, data: str) -> Outcome:
        """Cancel what `caller` has scheduled: as itself, the role's guardian, or the admin.

        Raises:
            GovernanceError: nothing is scheduled, or this key may not cancel it.
            RpcUnavailable: the chain did not answer.
        """
        return Outcome("cancelled", None, await self._manage("cancel", caller, target, data))

    async def _manage(self, function: str, *arguments: Any) -> str:
        data = self._codec.encode(function, *arguments)
        refusal = await self._refusal(self._manager, data)
        if refusal is not None:
            raise GovernanceError(f"refused: {refusal}")
        return await self._send(self._manager, data)

    async def _ready_at(self, target: str, data: str) -> int | None:
        """When a scheduled operation can be executed; None if it is not scheduled, or expired."""
        operation = await self._read("hashOperation", self._signer.address, target, data)
        return await self._read("getSchedule", operation) or None

    async def _now(self) -> int:
        """Time of the next block: between blocks a local chain's latest one may be long ago."""
        block = await self._rpc.call("eth_getBlockByNumber", "pending", False)
        return int(block["timestamp"], 16)

    async def _read(self, function: str, *arguments: Any) -> Any:
        call = {"to": self._manager, "data": self._codec.encode(function, *arguments)}
        answer = await self._rpc.call("eth_call", call, "pending")
        return self._codec.decode_result(function, answer)

    async def _refusal(self, to: str, data: str) -> str | None:
        """Why a call of ours would fail in the next block; None if it would not."""
        call = {"from": self._signer.address, "to": to, "data": data}
        try:
            await self._rpc.call("eth_call", call, "pending")
        except RpcError as error:
            return str(self._codec.decode_error(error.data)) if error.data else error.message
        return None

    async def _send(self, to: str, data: str) -> str:
        address = self._signer.address
        nonce = int(await self._rpc.call("eth_getTransactionCount", address, "pending"), 16)
        fields = {"chainId": self._chain_id, "nonce": nonce, "gas": GAS, "to": to, "data": data}
        signed = self._signer.sign_transaction(fields)
        self._tell(signed.hash)
        await self._rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
        deadline = time.monotonic() + RECEIPT_SECONDS
        while True:
            receipt: Mapping[str, str] | None
            receipt = await self._rpc.call("eth_getTransactionReceipt", signed.hash)
            if receipt is not None:
                break
            if time.monotonic() > deadline:
                raise GovernanceError(
                    f"transaction {signed.hash} was sent and not mined in {RECEIPT_SECONDS} s"
                )
            await asyncio.sleep(0.05)
        if receipt["status"] != "0x1":
            raise GovernanceError(f"transaction {signed.hash} failed")
        return signed.hash
