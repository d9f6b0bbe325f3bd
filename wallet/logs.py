"""Reading logs of any age, also from endpoints that answer for few blocks at a time."""

from __future__ import annotations

from typing import Any

from wallet.errors import RpcError
from wallet.rpc import Rpc

# An endpoint that refuses fewer blocks than this has another reason.
LEAST_BLOCKS = 100


def read_logs(rpc: Rpc, address: str, topics: list[Any], first_block: int) -> list[Any]:
    """Read all logs of a contract with these topics, in order; in parts where it has to be.

    Raises:
        RpcError: the endpoint refuses however little is asked for.
        NetworkError: no answer.
    """
    about = {"address": address, "topics": topics}
    try:
        return _ask(rpc, {**about, "fromBlock": hex(first_block), "toBlock": "latest"})
    except RpcError as error:
        head = int(rpc.call("eth_blockNumber"), 16)
        if head - first_block < LEAST_BLOCKS:
            raise
        refused = error
    return _read_range(rpc, about, first_block, head, refused)


def _read_range(
    rpc: Rpc, about: dict[str, Any], first: int, last: int, refused: RpcError
) -> list[Any]:
    """Halve what was refused until it is answered; each half learns from the one before."""
    logs: list[Any] = []
    size = last - first + 1
    while first <= last:
        size = max(size, 1)
        upto = min(first + size - 1, last)
        try:
            logs += _ask(rpc, {**about, "fromBlock": hex(first), "toBlock": hex(upto)})
        except RpcError as error:
            if upto - first < LEAST_BLOCKS:
                raise error from refused
            size = (upto - first + 1) // 2
            continue
        first = upto + 1
    return logs


def _ask(rpc: Rpc, about: dict[str, Any]) -> list[Any]:
    logs: list[Any] = rpc.call("eth_getLogs", about)
    return logs
