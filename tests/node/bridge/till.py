"""A shop that sells by the call over x402: its server, its till at a real bridge over real HTTP,
and buyers that pay with the unmodified `x402` package."""

from __future__ import annotations

import asyncio
import copy
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from eth_account import Account as EthAccount
from fastapi import Depends, FastAPI, Request
from x402 import x402Client, x402ClientConfig
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.clients import x402HttpxClient
from x402.http.facilitator_client_base import CreateHeadersAuthProvider
from x402.http.utils import encode_payment_signature_header
from x402.mechanisms.evm.exact import ExactEvmScheme
from x402.schemas import PaymentPayload, PaymentRequirements, SettleResponse, VerifyResponse

from node.chain.typed_data import transfer_authorization_digest
from node.keys import LocalSigner
from node.x402 import Paywall, Receipt
from tests.node.bridge.market import ALICE, Market
from tests.node.platform import word

ALICE_KEY = b"\x11" * 32
PRICE = 50_000
FAR = 2**40  # valid before

_numbers = itertools.count()


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """Serve on loopback; yields the URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(app, log_config=None, access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


def signed(
    chain_id: int,
    coin: str,
    payer: LocalSigner,
    pay_to: str,
    *,
    amount: int = PRICE,
    resource: str | None = "http://shop.example/scores/17",
    nonce: str | None = None,
    valid_after: int = 0,
    valid_before: int = FAR,
    sender: str | None = None,
    seconds: int = 60,
) -> dict[str, Any]:
    """The body of verify and settle, signed by hand.

    Args:
        sender: an account whose owner signs for it.
        seconds: how long the server waits.
    """
    nonce = nonce or word(f"x402 {next(_numbers)}")
    sender = sender or payer.address
    digest = transfer_authorization_digest(
        chain_id=chain_id,
        coin=coin,
        sender=sender,
        to=pay_to,
        value=amount,
        valid_after=valid_after,
        valid_before=valid_before,
        nonce=nonce,
    )
    requirements = {
        "scheme": "exact",
        "network": f"eip155:{chain_id}",
        "amount": str(amount),
        "asset": coin,
        "payTo": pay_to,
        "maxTimeoutSeconds": seconds,
        "extra": {"name": "Plaza Coin", "version": "1"},
    }
    payload: dict[str, Any] = {
        "x402Version": 2,
        "accepted": copy.deepcopy(requirements),
        "payload": {
            "signature": "0x" + payer.sign_hash(digest).hex(),
            "authorization": {
                "from": sender,
                "to": pay_to,
                "value": str(amount),
                "validAfter": str(valid_after),
                "validBefore": str(valid_before),
                "nonce": nonce,
            },
        },
    }
    if resource is not None:
        payload["resource"] = {"url": resource}
    return {"x402Version": 2, "paymentPayload": payload, "paymentRequirements": requirements}


class Till:
    """A seller's way to be paid, with a key that may do nothing else, and a buyer with coin.

    Attributes:
        buyer: an external account of Alice.
        paid_with: the PAYMENT-SIGNATURE headers that buyers made, oldest first.
    """

    def __init__(self, market: Market, bridge_url: str, key: str, buyer: Any, seller: Any) -> None:
        self.market = market
        self.bridge_url = bridge_url
        self.key = key
        self.buyer = buyer
        self.seller = seller
        self.paid_with: list[dict[str, str]] = []
        headers = {"Authorization": f"Bearer {key}"}
        self.facilitator = HTTPFacilitatorClient(
            FacilitatorConfig(
                url=f"{bridge_url}/x402",
                auth_provider=CreateHeadersAuthProvider(
                    lambda: {"verify": headers, "settle": headers}
                ),
            )
        )

    @property
    def pay_to(self) -> str:
        return str(self.seller["address"])

    @property
    def coin(self) -> str:
        return self.market.platform.coin_address

    @property
    def network(self) -> str:
        return f"eip155:{self.market.platform.manifest.chain_id}"

    def sign(self, payer: LocalSigner = ALICE, **more: Any) -> dict[str, Any]:
        values = {"pay_to": self.pay_to, **more}
        return signed(self.market.platform.manifest.chain_id, self.coin, payer, **values)

    async def verify(self, body: dict[str, Any]) -> VerifyResponse:
        return await self.facilitator.verify(*parsed(body))

    async def settle(self, body: dict[str, Any]) -> SettleResponse:
        return await self.facilitator.settle(*parsed(body))

    async def balances(self) -> tuple[int, int]:
        """Of buyer and seller, by the chain."""
        platform = self.market.platform
        return (
            await platform.balance(self.buyer["address"]),
            await platform.balance(self.pay_to),
        )

    async def transfers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.market.shop.get("/v1/transfers")).json()["data"]
        return found

    def client(self, shop_url: str, key: bytes = ALICE_KEY) -> x402HttpxClient:
        """The package's own client, which may spend Plaza Coin."""
        allowed = {"network": self.network, "asset": self.coin, "max_amount_per_payment": "100000"}
        client = x402Client.from_config(
            x402ClientConfig(schemes=[], spend_controls={"allowed_assets": [allowed]})
        )
        client.register("eip155:*", ExactEvmScheme(EthAccount.from_key(key)))

        def note(context: Any) -> None:
            header = encode_payment_signature_header(context.payment_payload)
            self.paid_with.append({"PAYMENT-SIGNATURE": header})

        client.on_after_payment_creation(note)
        return x402HttpxClient(client, base_url=shop_url, timeout=60)

    def paywall(self, **more: Any) -> Paywall:
        return Paywall(self.bridge_url, more.pop("key", self.key), pay_to=self.pay_to, **more)


def parsed(body: dict[str, Any]) -> tuple[PaymentPayload, PaymentRequirements]:
    return (
        PaymentPayload.model_validate(body["paymentPayload"]),
        PaymentRequirements.model_validate(body["paymentRequirements"]),
    )


def shop_of(paywall: Paywall, on_score: Callable[[], None] = lambda: None) -> FastAPI:
    """A shop's own server, which sells what it knows of its sellers."""
    app = FastAPI()
    score_price = Depends(paywall.price(PRICE, "The score of a seller, as it is now"))

    @app.get("/scores/{seller}")
    async def score(seller: str, receipt: Receipt = score_price) -> dict[str, Any]:
        on_score()
        return {"seller": seller, "score": 712, "payer": receipt.payer}

    @app.post("/comparisons")
    async def compare(request: Request, receipt: Receipt = score_price) -> dict[str, Any]:
        return {"of": await request.json(), "paid": receipt.amount}

    @app.get("/free")
    async def free() -> dict[str, bool]:
        return {"free": True}

    return app


class LosesAnswers(httpx.AsyncBaseTransport):
    """A real connection whose first answers to a path do not arrive."""

    def __init__(self, path: str, times: int) -> None:
        self._real = httpx.AsyncHTTPTransport()
        self._path = path
        self._left = times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._real.handle_async_request(request)
        if request.url.path.endswith(self._path) and self._left:
            self._left -= 1
            await answer.aread()
            raise httpx.ReadTimeout("the answer is lost", request=request)
        return answer

    async def aclose(self) -> None:
        await self._real.aclose()
