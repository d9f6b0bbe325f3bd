"""The network as wallets need to know it: public."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from node.bridge.context import Ctx
from node.chain.deployment import Manifest

router = APIRouter(prefix="/network", tags=["public"])

_EXAMPLE = {
    "version": 1,
    "network": "plaza",
    "chain_id": 4242,
    "genesis_hash": "0x" + "6c" * 32,
    "rpc_url": "http://127.0.0.1:8545",
    "bridge_url": "http://127.0.0.1:8400",
    "coin": {"name": "Plaza Coin", "symbol": "PLZ", "decimals": 6},
    "contracts": {
        "PlatformCoin": {
            "address": "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
            "artifact_hash": "0x" + "99" * 32,
            "block": 2,
        }
    },
    "roles": {"MINTER": {"id": 1, "members": ["0x52908400098527886E0F7030069857D2E4169EE7"]}},
    "accounts": {"treasury": "0x52908400098527886E0F7030069857D2E4169EE7"},
}


@router.get(
    "",
    response_model=Manifest,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
async def get(context: Ctx) -> Response:
    """Chain id, JSON-RPC, contract addresses and roles: the manifest of the deployment."""
    return Response(context.manifest.model_dump_json(), media_type="application/json")
