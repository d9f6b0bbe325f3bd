"""The network as wallets need to know it: public."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from node.bridge.context import Ctx
from node.chain.deployment import Manifest

router = APIRouter(prefix="/network", tags=["public"])


@router.get("", response_model=Manifest)
async def get(context: Ctx) -> Response:
    """Chain id, JSON-RPC, contract addresses and roles: the manifest of the deployment."""
    return Response(context.manifest.model_dump_json(), media_type="application/json")
