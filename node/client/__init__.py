"""A typed client of the bridge, for shops: `Client` blocks, `AsyncClient` is for asyncio.

    from node.client import Client, derive_key
    from node.client.models import AccountRequest

    with Client("http://127.0.0.1:8400", "plz_…") as plaza:
        buyer = plaza.accounts.create(AccountRequest(kinds=["buyer"]), key="admit-17", wait=10)
        for purchase in plaza.purchases.all(status="delivered"):
            plaza.purchases.release(purchase.id, key=derive_key("release", purchase.order_id))

Amounts are `int`s of atomic units, times are aware `datetime`s. It imports nothing of the node.
"""

from node.client.calls import Call, Reply, Retries, derive_key
from node.client.client import AsyncClient, Client
from node.client.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    PlazaError,
    Refused,
    ServerFailed,
    TooManyRequests,
    Unauthorized,
    Unprocessable,
    Unreachable,
)
from node.client.webhooks import ForgedWebhook, read_webhook

__all__ = [
    "AsyncClient",
    "BadRequest",
    "Call",
    "Client",
    "Conflict",
    "Forbidden",
    "ForgedWebhook",
    "NotFound",
    "PlazaError",
    "Refused",
    "Reply",
    "Retries",
    "ServerFailed",
    "TooManyRequests",
    "Unauthorized",
    "Unprocessable",
    "Unreachable",
    "derive_key",
    "read_webhook",
]
