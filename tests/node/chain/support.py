"""What the chain's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node.chain.anvil import find_anvil
from node.chain.engine import Engine
from node.keys import SealedSeed, Signer
from node.settings import Settings

START = 1_500_000_000
BINARIES = Path(__file__).resolve().parents[3] / "node_modules" / ".bin"

seed = SealedSeed(b"\x05" * 32)
NO_ANVIL = "no anvil binary: run `make setup`"


def has_anvil() -> bool:
    return find_anvil() is not None


def settings_in(folder: Path, **changes: Any) -> Settings:
    return Settings(**{"data": folder, "rpc_port": 0, "genesis_time": START, **changes})


def raw_transaction(signer: Signer, nonce: int, **fields: Any) -> str:
    signed = signer.sign_transaction(
        {"chainId": 4242, "nonce": nonce, "gas": 100_000, "to": "0x" + "22" * 20, **fields}
    )
    return "0x" + signed.raw.hex()


async def send(engine: Engine, signer: Signer, **fields: Any) -> dict[str, Any]:
    """Send the signer's next transaction and return its receipt."""
    count = await engine.rpc.call("eth_getTransactionCount", signer.address, "latest")
    raw = raw_transaction(signer, int(count, 16), **fields)
    return await mined(engine, await engine.rpc.call("eth_sendRawTransaction", raw))


async def mined(engine: Engine, transaction_hash: str) -> dict[str, Any]:
    """Return a receipt; anvil mines a moment after it has answered the send."""
    for _ in range(500):
        receipt = await engine.rpc.call("eth_getTransactionReceipt", transaction_hash)
        if receipt is not None:
            assert isinstance(receipt, dict)
            return receipt
        await asyncio.sleep(0.01)
    raise AssertionError(f"{transaction_hash} was not mined")


async def latest_time(engine: Engine) -> int:
    block = await engine.rpc.call("eth_getBlockByNumber", "latest", False)
    return int(block["timestamp"], 16)


def kinds(value: Any) -> Any:
    """The shape of a JSON value: keys and kinds, without the values themselves."""
    if isinstance(value, dict):
        return {key: kinds(inner) for key, inner in sorted(value.items())}
    if isinstance(value, str):
        return "hex" if value.startswith("0x") else "text"
    if isinstance(value, Sequence):
        return [kinds(inner) for inner in value]
    return type(value).__name__
