"""The comparison of database and chain, to the unit, over the whole platform."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.context import Ctx
from node.bridge.problems import Problem, documented
from node.bridge.values import Output
from node.chain.rpc import RpcUnavailable
from node.index.reconcile import ReconcileError, reconcile

router = APIRouter(prefix="/reconciliation", tags=["operations"])


class Drift(Output):
    subject: str = Field(description="supply, escrow, an address, an order hash or a purchase id")
    what: str
    actual: int | str | bool = Field(description="what the chain says")
    expected: int | str | bool = Field(description="what the database says")


class Reconciliation(Output):
    ok: bool = Field(description="no drift")
    block_number: int
    block_hash: str
    checked: dict[str, int] = Field(description="how much of what was compared")
    total_supply: str
    minted: str
    burned: str
    held: str
    claimable: str
    unattributed: str = Field(description="coin of the escrow that belongs to no order")
    drift: list[Drift]

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "ok": True,
                    "block_number": 17,
                    "block_hash": "0x" + "8d" * 32,
                    "checked": {"members": 4, "orders": 1},
                    "total_supply": "50000000",
                    "minted": "50000000",
                    "burned": "0",
                    "held": "12500000",
                    "claimable": "0",
                    "unattributed": "0",
                    "drift": [],
                }
            ]
        },
    )


@router.get("", response_model=Reconciliation, responses=documented("chain_unavailable"))
async def get(context: Ctx, _caller: Reader) -> Response:
    """Compare every balance, order and total with the chain, at the newest block indexed."""
    try:
        found = await reconcile(context.rpc, context.store, context.manifest)
    except (ReconcileError, RpcUnavailable) as error:
        raise Problem("chain_unavailable", f"nothing could be compared: {error}") from error
    return answer(Reconciliation(**found.as_dict()))
