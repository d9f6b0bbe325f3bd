"""The member's side of Plaza: keys, a client library, and the `wallet` command.

    from wallet import Coin, KeystoreSigner, Wallet

    with Wallet.open("plaza", signer=KeystoreSigner("main", password=ask)) as wallet:
        plan = wallet.plan_transfer(to, Coin("12.50"), memo="order 8841", idempotency_key="o-8841")
        outcome = wallet.submit(plan).wait(timeout=30)

Names are imported when they are used, so that a command loads no more than it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wallet.aio import AsyncWallet
    from wallet.amounts import Coin, format_units
    from wallet.bridge_requests import RequestPlan
    from wallet.client import Sent, Wallet
    from wallet.contacts import Contact, Contacts
    from wallet.credit_actions import RepaymentPlan
    from wallet.disputes import Statement
    from wallet.intents import Intent
    from wallet.keys import Keystore
    from wallet.networks import Networks
    from wallet.plans import Confirmed, PaymentPlan, Plan, Reverted, StillPending
    from wallet.signer import KeystoreSigner, MnemonicSigner, Signer, WatchOnlySigner
    from wallet.typed_data import TypedData

_HOMES = {
    "AsyncWallet": "aio",
    "Coin": "amounts",
    "format_units": "amounts",
    "RequestPlan": "bridge_requests",
    "Sent": "client",
    "Wallet": "client",
    "Contact": "contacts",
    "Contacts": "contacts",
    "RepaymentPlan": "credit_actions",
    "Statement": "disputes",
    "Intent": "intents",
    "Keystore": "keys",
    "Networks": "networks",
    "Confirmed": "plans",
    "PaymentPlan": "plans",
    "Plan": "plans",
    "Reverted": "plans",
    "StillPending": "plans",
    "KeystoreSigner": "signer",
    "MnemonicSigner": "signer",
    "Signer": "signer",
    "WatchOnlySigner": "signer",
    "TypedData": "typed_data",
}

__all__ = [
    "AsyncWallet",
    "Coin",
    "Confirmed",
    "Contact",
    "Contacts",
    "Intent",
    "Keystore",
    "KeystoreSigner",
    "MnemonicSigner",
    "Networks",
    "PaymentPlan",
    "Plan",
    "RepaymentPlan",
    "RequestPlan",
    "Reverted",
    "Sent",
    "Signer",
    "Statement",
    "StillPending",
    "TypedData",
    "Wallet",
    "WatchOnlySigner",
    "format_units",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
