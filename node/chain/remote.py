"""The remote engine: a chain somebody else runs, reached by its JSON-RPC URL.

Where that is an anvil, its pool may stall as our own's would (see `mining_held` in
`node.chain.anvil`). Mining is not held there, since whoever held it might be killed before he let
go; a stalled sender is forgotten instead, and what it sent is sent again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from node.chain.engine import ChainTimeError, Clock, EngineError
from node.chain.rpc import HttpRpc, RpcError, RpcUnavailable


class RemoteEngine:
    """A chain at a JSON-RPC URL, such as a validator network.

    Args:
        url: its JSON-RPC.
        chain_id: the chain id it must have.
        clock: wall clock, unix seconds; a network's next block has about its time.
    """

    name = "remote"
    can_travel = False

    def __init__(self, url: str, chain_id: int, clock: Clock) -> None:
        self.chain_id = chain_id
        self._url = url
        self._clock = clock
        self._rpc = HttpRpc(url)
        self._connected = False
        self._is_anvil = False

    @property
    def rpc_url(self) -> str:
        return self._url

    @property
    def rpc(self) -> HttpRpc:
        return self._rpc

    def alive(self) -> bool:
        return self._connected

    async def start(self, not_before: int = 0) -> None:
        try:
            chain_id = int(await self._rpc.call("eth_chainId"), 16)
            if chain_id != self.chain_id:
                raise EngineError(f"{self._url} is chain {chain_id}, not {self.chain_id}")
            block = await self._rpc.call("eth_getBlockByNumber", "latest", False)
            base_fee = int(block.get("baseFeePerGas", "0x0"), 16)
            gas_price = int(await self._rpc.call("eth_gasPrice"), 16)
        except (RpcError, RpcUnavailable) as error:
            await self._rpc.close()
            raise EngineError(f"cannot use the chain at {self._url}: {error}") from error
        except EngineError:
            await self._rpc.close()
            raise
        if base_fee or gas_price:
            await self._rpc.close()
            raise EngineError(
                f"{self._url} asks for a gas price (base fee {base_fee}, suggested {gas_price}):"
                " members hold no native coin, so Plaza needs a chain that takes 0"
            )
        self._is_anvil = await self._ask_client()
        self._connected = True

    async def stop(self) -> None:
        self._connected = False
        await self._rpc.close()

    async def _ask_client(self) -> bool:
        """Whether it is an anvil; who does not say is none."""
        try:
            client = await self._rpc.call("web3_clientVersion")
        except (RpcError, RpcUnavailable):
            return False
        return str(client).lower().startswith("anvil")

    async def now(self) -> int:
        block = await self._rpc.call("eth_getBlockByNumber", "latest", False)
        return max(int(block["timestamp"], 16), int(self._clock()))

    async def save(self) -> None:
        pass

    @asynccontextmanager
    async def mining_held(self) -> AsyncIterator[None]:
        yield

    async def forget_unmined(self, sender: str) -> None:
        if self._is_anvil:
            await self._rpc.call("anvil_removePoolTransactions", sender)

    async def set_time(self, timestamp: int) -> None:
        raise ChainTimeError(
            f"the time of {self._url} is the network's own and cannot be set to {timestamp}"
        )
