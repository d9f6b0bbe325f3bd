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
from node.index.reconcile import ReconcileError, reconcile, remember

router = APIRouter(prefix="/reconciliation", tags=["operations"])


class Drift(Output):
    subject: str = Field(
        description="supply, escrow, credit, pool, an address, an order hash or a purchase id"
    )
    what: str
    actual: int | str | bool = Field(description="what the chain says")
    expected: int | str | bool = Field(description="what the database says")


class CreditFigures(Output):
    """All credit lines and the lender pool."""

    principal: str = Field(description="of all lines")
    interest: str = Field(description="owed by all lines, rounded down")
    reserve: str = Field(description="first-loss reserve")
    drawn: str
    principal_repaid: str
    interest_paid: str
    repaid_by_sales: str = Field(description="part of what was repaid or recovered")
    waived: str
    written_off: str
    recovered: str
    book_value: str = Field(description="what lenders own in lines")
    pool_cash: str
    shares: str
    share_price: str = Field(description="coin that 10^12 shares are worth")


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
    credit: CreditFigures
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
                    "credit": {
                        "principal": "9000000",
                        "interest": "12345",
                        "reserve": "1000000",
                        "drawn": "10000000",
                        "principal_repaid": "1000000",
                        "interest_paid": "2000",
                        "repaid_by_sales": "1002000",
                        "waived": "0",
                        "written_off": "0",
                        "recovered": "0",
                        "book_value": "9012345",
                        "pool_cash": "11002000",
                        "shares": "20000000000000",
                        "share_price": "1000717",
                    },
                    "drift": [],
                }
            ]
        },
    )


@router.get("", response_model=Reconciliation, responses=documented("chain_unavailable"))
async def get(context: Ctx, _caller: Reader) -> Response:
    """Compare every balance, order and total with the chain, at the newest block indexed.

    What it finds is kept for /health/ready and /metrics.
    """
    try:
        found = await reconcile(context.rpc, context.store, context.manifest)
    except (ReconcileError, RpcUnavailable) as error:
        raise Problem("chain_unavailable", f"nothing could be compared: {error}") from error
    now = context.wall_now()
    await context.writer.write(lambda session: remember(session, found, now))
    return answer(Reconciliation(**found.as_dict()))
