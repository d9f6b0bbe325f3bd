"""A market whose pool has coin to lend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.node.bridge.market import Market
from tests.node.bridge.support import COIN, DAY, Client

HOLDBACK_BPS = 2_000


@dataclass
class CreditDesk:
    """A market whose pool has coin to lend, and a reserve."""

    market: Market
    lender: dict[str, Any]
    _ticks: int = 0

    @property
    def shop(self) -> Client:
        return self.market.shop

    async def offer(self, seller: Any, **more: Any) -> dict[str, Any]:
        body = {
            "account": seller["id"],
            "limit": str(20 * COIN),
            "apr_bps": 1_000,
            "holdback_bps": HOLDBACK_BPS,
            "term_days": 270,
            **more,
        }
        return await self.shop.ok("/v1/credit_lines/offers", body)

    async def open_line(self, seller: Any, **more: Any) -> dict[str, Any]:
        """Offered and accepted."""
        offer = await self.offer(seller, **more)
        path = f"/v1/credit_lines/offers/{offer['id']}/accept"
        accepted = await self.shop.ok(path, wait=30)
        assert accepted["status"] == "accepted"
        return await self.line(offer["credit_line"])

    async def line(self, line_id: str) -> dict[str, Any]:
        line: dict[str, Any] = (await self.shop.get(f"/v1/credit_lines/{line_id}")).json()
        return line

    async def draw(self, line: Any, amount: int, reference: str = "first") -> dict[str, Any]:
        body = {"amount": str(amount), "reference": reference}
        drawn = await self.shop.ok(f"/v1/credit_lines/{line['id']}/draws", body, wait=30)
        assert drawn["status"] == "succeeded"
        return drawn

    async def repay(self, line: Any, reference: str = "by hand", **more: Any) -> dict[str, Any]:
        body = {"reference": reference, **more}
        paid = await self.shop.ok(f"/v1/credit_lines/{line['id']}/repayments", body, wait=30)
        assert paid["status"] == "succeeded"
        return paid

    async def look(self, line: Any, days: int) -> dict[str, Any]:
        """The line after some days, with a block of the new time."""
        await self.market.travel(days * DAY)
        await self.tick()
        return await self.line(line["id"])

    async def tick(self) -> None:
        """A block of now."""
        self._ticks += 1
        body = {"account": self.lender["id"], "amount": "1", "reference": f"tick {self._ticks}"}
        await self.shop.ok("/v1/topups", body, wait=30)
        # The bridge may remember for some seconds that it is earlier.
        await self.shop.app.state.context.clock.ask()

    async def get(self, line: Any, part: str, **query: Any) -> dict[str, Any]:
        found = await self.shop.get(f"/v1/credit_lines/{line['id']}/{part}", params=query)
        assert found.status_code == 200, found.text
        shown: dict[str, Any] = found.json()
        return shown

    async def act(self, line: Any, action: str, **body: Any) -> dict[str, Any]:
        return await self.shop.ok(f"/v1/credit_lines/{line['id']}/{action}", body, wait=30)


async def open_credit_desk(market: Market) -> CreditDesk:
    """With 100 coins of a lender, and a reserve of 10."""
    lender = await market.member("lender", topup=100 * COIN)
    funding = {"amount": str(10 * COIN), "reference": "board 1"}
    assert (await market.shop.ok("/v1/pool/reserve", funding, wait=30))["status"] == "succeeded"
    deposit = {"account": lender["id"], "amount": str(100 * COIN), "reference": "fund 1"}
    deposited = await market.shop.ok("/v1/pool/deposits", deposit, wait=30)
    assert (deposited["status"], deposited["shares"]) == ("succeeded", str(100 * COIN * 10**6))
    return CreditDesk(market, lender)
