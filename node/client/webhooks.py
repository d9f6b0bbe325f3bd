"""Webhooks as a shop receives them (Standard Webhooks)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from standardwebhooks import Webhook, WebhookVerificationError

from node.client.errors import PlazaError
from node.client.models import Event


class ForgedWebhook(PlazaError):
    """The signature is none of the endpoint's secrets', or too old. Answer 4xx and do nothing."""


def read_webhook(secrets: str | Sequence[str], headers: Mapping[str, str], body: bytes) -> Event:
    """Return the event of a delivery whose signature is good.

    A delivery may come more than once: note the `id` or `seq` of those that are done.

    Args:
        secrets: `whsec_…` of the endpoint; the old and the new one while it changes.
        headers: of the request, in any case of letters.
        body: its exact bytes.

    Raises:
        ForgedWebhook: nobody who knows a secret signed it, or more than five minutes ago.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    reason = "no secret was given"
    for secret in (secrets,) if isinstance(secrets, str) else secrets:
        try:
            Webhook(secret).verify(body, lower)
        except WebhookVerificationError as error:
            reason = str(error)
        else:
            return Event.model_validate_json(body)
    raise ForgedWebhook(reason)
