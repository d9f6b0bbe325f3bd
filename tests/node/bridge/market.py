"""A shop on a running platform: the bridge over a real chain, with the real worker."""

from __future__ import annotations

from typing import Any

from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from node.chain.typed_data import receive_authorization_digest
from node.keys import LocalSigner
from tests.node.bridge.support import DAY, Client
from tests.node.platform import Platform

ALICE = LocalSigner(b"\x11" * 32)  # a member with a key of her own
PRICE = 12_345_678
FEE = PRICE * 250 // 10_000


def sign_typed_data(typed_data: dict[str, Any], signer: LocalSigner) -> dict[str, Any]:
    """What a wallet answers that knows EIP-712, and nothing of this marketplace: for an intent with
    a deadline, or for an authorization."""
    signable = encode_typed_data(full_message=typed_data)
    digest = keccak(b"\x19" + signable.version + signable.header + signable.body)
    signature = "0x" + signer.sign_hash(digest).hex()
    message = typed_data["message"]
    if "deadline" in message:
        return {"signature": signature, "deadline": int(message["deadline"])}
    return {
        "signature": signature,
        "valid_after": int(message["validAfter"]),
        "valid_before": int(message["validBefore"]),
    }


class Market:
    """A shop on a running platform."""

    def __init__(self, platform: Platform, shop: Client) -> None:
        self.platform = platform
        self.shop = shop
        self._orders = 0

    async def member(self, kind: str = "buyer", topup: int = 0, **more: Any) -> dict[str, Any]:
        account = await self.shop.ok("/v1/accounts", {"kinds": [kind], **more}, wait=30)
        assert account["status"] == "active"
        if topup:
            body = {"account": account["id"], "amount": str(topup), "reference": account["id"]}
            assert (await self.shop.ok("/v1/topups", body, wait=30))["status"] == "succeeded"
        return account

    async def purchase(self, buyer: Any, seller: Any, **more: Any) -> dict[str, Any]:
        self._orders += 1
        body = {
            "order_id": f"A-{self._orders}",
            "payer": buyer["id"],
            "payee": seller["id"],
            "amount": str(PRICE),
            **more,
        }
        return await self.shop.ok("/v1/purchases", body, wait=30)

    async def act(self, purchase: Any, action: str, body: Any = None) -> dict[str, Any]:
        return await self.shop.ok(f"/v1/purchases/{purchase['id']}/{action}", body, wait=30)

    async def delivered(self, buyer: Any, seller: Any) -> dict[str, Any]:
        """Delivered, and the dispute window over."""
        purchase = await self.purchase(buyer, seller)
        await self.act(purchase, "ship", {"tracking": "DHL 1"})
        delivered = await self.act(purchase, "deliver")
        assert delivered["status"] == "delivered"
        await self.travel(7 * DAY)
        return delivered

    async def in_window(self, buyer: Any, seller: Any) -> dict[str, Any]:
        """Delivered, and the dispute window open."""
        purchase = await self.purchase(buyer, seller)
        if purchase["status"] == "created":
            await self.pay(purchase)
        return await self.act(purchase, "deliver")

    async def pay(self, purchase: Any, signer: LocalSigner | None = None) -> None:
        """By an external buyer, at the purchase's public address."""
        public = Client(self.shop.app, None)
        path = f"/v1/pay/{purchase['id']}"
        signed = self.sign_payment((await public.get(path)).json(), signer or ALICE)
        paid = await public.post(path, signed, key=None, wait=30)
        assert paid.json()["status"] == "authorized"

    async def signed(
        self, purchase: Any, action: str, body: Any = None, signer: LocalSigner = ALICE
    ) -> dict[str, Any]:
        """An action of an external member: ask what to sign, sign just that, and send it again."""
        path = f"/v1/purchases/{purchase['id']}/{action}"
        unsigned = await self.shop.post(path, body)
        assert (unsigned.status_code, unsigned.json()["code"]) == (422, "signature_required")
        signed = sign_typed_data(unsigned.json()["typed_data"], signer)
        return await self.shop.ok(path, {**(body or {}), "signed": signed}, wait=30)

    async def travel(self, seconds: int) -> None:
        engine = self.platform.engine
        await engine.set_time(await engine.now() + seconds)

    async def reconcile(self) -> dict[str, Any]:
        """The node's own comparison of database and chain, without drift."""
        report: dict[str, Any] = (await self.shop.get("/v1/reconciliation")).json()
        assert report["drift"] == []
        assert report["ok"] is True
        return report

    async def balance(self, account: Any) -> dict[str, str]:
        balance: dict[str, str] = (
            await self.shop.get(f"/v1/accounts/{account['id']}/balance")
        ).json()
        return balance

    def sign_payment(self, invoice: Any, signer: LocalSigner = ALICE) -> dict[str, Any]:
        valid_before = invoice["terms"]["authorizeBefore"]
        digest = receive_authorization_digest(
            chain_id=invoice["chain_id"],
            coin=invoice["coin"],
            sender=invoice["terms"]["payer"],
            to=invoice["escrow"],
            value=int(invoice["amount"]),
            valid_after=0,
            valid_before=valid_before,
            nonce=invoice["order_hash"],
        )
        signature = "0x" + signer.sign_hash(digest).hex()
        return {"signature": signature, "valid_after": 0, "valid_before": valid_before}
