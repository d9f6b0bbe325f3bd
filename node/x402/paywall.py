"""A FastAPI dependency that lets a request in when it is paid for.

    paywall = Paywall(bridge_url, api_key, pay_to="0x…")

    @app.get("/scores/{seller}")
    async def score(seller: str, receipt: Annotated[Receipt, Depends(paywall.price(50_000))]): …

The coin has moved before the route runs. **One payment is good for one request**, by its method,
URL and body, since the bridge keeps what a payment was for; the same request may come again with it
for a minute after the authorization's end, so that an answer lost on the way is not paid for twice.
What is not known yet is never answered as unpaid: 503, and the same payment can be sent again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from fastapi import HTTPException, Request, Response

VERSION = 2
PENDING = "settlement_pending"
SIGNATURE = "PAYMENT-SIGNATURE"
REQUIRED = "PAYMENT-REQUIRED"
RESPONSE = "PAYMENT-RESPONSE"

# The bridge answers a settlement within 20 seconds, and once more as long where it failed.
_TIMEOUT_SECONDS = 60.0
_CLOCKS_DIFFER = 60  # seconds, between a client and this server


@dataclass(frozen=True)
class Receipt:
    """A payment that was made.

    Attributes:
        payer: its address.
        amount: atomic units.
        transaction: hash of the transaction that moved the coin.
    """

    payer: str
    amount: int
    transaction: str
    network: str


class Paywall:
    """What is paid to one account, through one bridge.

    Args:
        api_key: of the merchant, with the scope `x402`.
        pay_to: address of an account of the merchant.
        valid_for: seconds a client has from its signature to its payment.
        again_for: seconds after the end of an authorization in which the request it paid may be
            asked for again.
        http: to reach the bridge with; made here, and closed by `aclose`, without it.
        clock: wall clock, unix seconds.
    """

    def __init__(
        self,
        bridge_url: str,
        api_key: str,
        *,
        pay_to: str,
        valid_for: int = 60,
        again_for: int = 60,
        http: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = bridge_url.rstrip("/") + "/x402"
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._pay_to = pay_to
        self._valid_for = valid_for
        self._again_for = again_for
        self._http = http or httpx.AsyncClient(timeout=_TIMEOUT_SECONDS)
        self._owns_http = http is None
        self._clock = clock
        self._kind: dict[str, Any] | None = None

    async def aclose(self) -> None:
        if self._owns_http:
            await self._http.aclose()

    def price(
        self, amount: int, description: str | None = None
    ) -> Callable[[Request, Response], Awaitable[Receipt]]:
        """The dependency of a route that costs this much.

        Args:
            amount: atomic units for one request.
            description: of what is sold, for the buyer.

        Raises:
            ValueError: the amount is not positive.
        """
        if amount <= 0:
            raise ValueError(f"a price is at least one atomic unit, not {amount}")

        async def paid(request: Request, response: Response) -> Receipt:
            required = await self._required(request, amount, description)
            header = request.headers.get(SIGNATURE)
            if header is None:
                raise _unpaid(required, f"{SIGNATURE} header is required")
            payload = self._read(header, required)
            # The server's word on what is paid for, not the client's.
            payload["resource"] = {"url": await _purpose_of(request)}
            settled = await self._settle(payload, required["accepts"][0])
            if not settled["success"]:
                raise _unpaid(required, settled.get("errorReason", ""), settled)
            response.headers[RESPONSE] = _encode(settled)
            return Receipt(
                payer=settled["payer"],
                amount=amount,
                transaction=settled["transaction"],
                network=settled["network"],
            )

        return paid

    async def _required(
        self, request: Request, amount: int, description: str | None
    ) -> dict[str, Any]:
        kind = await self._supported()
        resource = {"url": str(request.url), "mimeType": "application/json"}
        if description is not None:
            resource["description"] = description
        return {
            "x402Version": VERSION,
            "resource": resource,
            "accepts": [
                {
                    "scheme": kind["scheme"],
                    "network": kind["network"],
                    "asset": kind["extra"]["asset"],
                    "amount": str(amount),
                    "payTo": self._pay_to,
                    "maxTimeoutSeconds": self._valid_for,
                    "extra": {
                        "name": kind["extra"]["name"],
                        "version": kind["extra"]["version"],
                    },
                }
            ],
        }

    async def _supported(self) -> dict[str, Any]:
        if self._kind is None:
            answer = await self._ask("GET", "/supported")
            self._kind = next(kind for kind in answer["kinds"] if kind["x402Version"] == VERSION)
        return self._kind

    def _read(self, header: str, required: dict[str, Any]) -> dict[str, Any]:
        """The payment a client sent; the bridge judges what is in it."""
        try:
            payload = orjson.loads(base64.b64decode(header, validate=True))
            valid_before = int(str(payload["payload"]["authorization"]["validBefore"]))
        except (binascii.Error, ValueError, KeyError, TypeError) as error:
            raise _unpaid(required, "invalid_payload") from error
        # One that is valid for longer than was asked for would be good again for as long.
        now = self._clock()
        newest = now + self._valid_for + _CLOCKS_DIFFER
        if not now - self._again_for < valid_before <= newest:
            raise _unpaid(required, "invalid_exact_evm_payload_authorization_valid_before")
        return dict(payload)

    async def _settle(self, payload: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
        """Ask until there is an answer, or it is plain that there will be none for now."""
        body = {"x402Version": VERSION, "paymentPayload": payload, "paymentRequirements": wanted}
        settled = await self._ask("POST", "/settle", orjson.dumps(body))
        if settled.get("errorReason") == PENDING:
            settled = await self._ask("POST", "/settle", orjson.dumps(body))
        if settled.get("errorReason") == PENDING:
            raise _not_known({RESPONSE: _encode(settled)})
        return settled

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """Raises:
        HTTPException: 503 where the bridge gave no answer, 502 where it refuses this server.
        """
        headers = {**self._headers, "Content-Type": "application/json"}
        try:
            answer = await self._http.request(
                method, self._url + path, content=body, headers=headers
            )
            if answer.status_code >= 500 or answer.status_code == 429:
                raise _not_known()
            if answer.status_code != 200:
                raise HTTPException(502, "payments are not set up: the bridge refuses this server")
            found: dict[str, Any] = orjson.loads(answer.content)
        except (httpx.TransportError, orjson.JSONDecodeError) as error:
            raise _not_known() from error
        return found


def _unpaid(
    required: dict[str, Any], error: str, settled: dict[str, Any] | None = None
) -> HTTPException:
    headers = {REQUIRED: _encode({**required, "error": error}), "Cache-Control": "no-store"}
    if settled is not None:
        headers[RESPONSE] = _encode(settled)
    return HTTPException(402, error, headers)


def _not_known(headers: dict[str, str] | None = None) -> HTTPException:
    detail = f"it is not known yet whether this was paid: send the same {SIGNATURE} again"
    return HTTPException(503, detail, {"Retry-After": "2", **(headers or {})})


async def _purpose_of(request: Request) -> str:
    """Names this request and no other; what is not a plain GET has its method and body in it."""
    url = str(request.url)
    if request.method == "GET":
        return url
    digest = hashlib.sha256(await request.body()).hexdigest()
    return f"{url}#{request.method}-{digest}"


def _encode(value: dict[str, Any]) -> str:
    return base64.b64encode(orjson.dumps(value)).decode()
