"""What the wallet is about to do, and how it ended: plans, their intents, and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wallet.abi import encode_call, function_called, words_of
from wallet.addresses import format_memo, parse_address
from wallet.credit import decode_credit_call
from wallet.errors import WalletError
from wallet.intents import ReceiveAuthorization, Terms
from wallet.networks import Network
from wallet.purchases import BPS, PaymentRequest


@dataclass(frozen=True)
class Plan:
    """One transaction, checked and simulated, not yet signed.

    `intent` says what it is for, decoded from the very call data that will be signed. `nonce` is
    the expected one; all else is exact. Amounts are atomic units.
    """

    intent: Mapping[str, str]
    network: Network
    sender: str
    to: str
    data: bytes
    gas: int
    nonce: int
    balance: int
    balance_after: int
    warnings: tuple[str, ...] = ()
    simulation: str = "OK"
    earlier_payments: int = 0
    first_time: bool = False
    idempotency_key: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON, amounts as strings of atomic units."""
        return {
            "intent": dict(self.intent),
            "network": self.network.name,
            "chain_id": self.network.chain_id,
            "from": self.sender,
            "to": self.to,
            "data": "0x" + self.data.hex(),
            "gas": self.gas,
            "nonce": self.nonce,
            "balance": str(self.balance),
            "balance_after": str(self.balance_after),
            "warnings": list(self.warnings),
            "simulation": self.simulation,
            "first_time_recipient": self.first_time,
        }


@dataclass(frozen=True)
class PaymentPlan:
    """A purchase checked and ready to be signed for.

    The one signature is `authorization`; the transaction that carries it can only be built, and
    simulated, once it is signed.
    """

    intent: Mapping[str, str]
    network: Network
    request: PaymentRequest
    authorization: ReceiveAuthorization
    nonce: int
    balance: int
    balance_after: int
    warnings: tuple[str, ...] = ()
    idempotency_key: str | None = None

    @property
    def contract(self) -> str:
        """The contract that is called."""
        return self.network.escrow

    def call(self, signature: bytes) -> bytes:
        """The call data, once it is signed."""
        authorization = self.authorization
        return encode_call(
            "authorizeWithSignature",
            *self.request.terms.words(),
            authorization.value,
            authorization.valid_after,
            authorization.valid_before,
            tail=signature,
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON, amounts as strings of atomic units."""
        return {
            "intent": dict(self.intent),
            "network": self.network.name,
            "chain_id": self.network.chain_id,
            "from": self.authorization.payer,
            "to": self.network.escrow,
            "merchant": self.request.merchant,
            "order_id": self.request.order_id,
            "terms": self.request.terms.to_json(),
            "valid_before": self.authorization.valid_before,
            "nonce": self.nonce,
            "balance": str(self.balance),
            "balance_after": str(self.balance_after),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Confirmed:
    """On chain, and succeeded."""

    hash: str
    block: int
    gas_used: int


@dataclass(frozen=True)
class Reverted:
    """On chain, and failed: nothing moved."""

    hash: str
    block: int
    reason: str


@dataclass(frozen=True)
class StillPending:
    """Not on chain yet, and may still get there. `problem` is the endpoint's last complaint."""

    hash: str
    problem: str | None = None


Outcome = Confirmed | Reverted | StillPending


def decode_intent(network: Network, data: bytes, amount: int | None = None) -> dict[str, str]:
    """Say what call data does, reading nothing but the call data itself.

    Args:
        amount: what a reclaim gives back or a dispute is about, which the call data does not hold.

    Raises:
        WalletError: it is not one of the calls this wallet makes.
    """
    words = words_of(data[4:])
    match function_called(data):
        case "transfer" | "transferWithMemo" as function:
            intent = {
                "kind": "transfer",
                "to": parse_address(f"0x{words[0]:040x}"),
                "amount": str(words[1]),
            }
            if function == "transferWithMemo":
                intent["memo"] = f"0x{words[2]:064x}"
            return intent
        case "transferWithAuthorization":
            return {
                "kind": "authorized transfer",
                "from": parse_address(f"0x{words[0]:040x}"),
                "to": parse_address(f"0x{words[1]:040x}"),
                "amount": str(words[2]),
                "nonce": f"0x{words[5]:064x}",
            }
        case "authorizeWithSignature" | "release" | "reclaim" as function:
            terms = Terms.from_words(words[:11])
            order_hash = terms.order_hash(network.chain_id, network.escrow)
            if function == "reclaim":
                kind, moved, to = "reclaim", amount or 0, terms.payer
            else:
                kind = "release" if function == "release" else "payment"
                moved, to = words[11], terms.payee
            intent = {"kind": kind, "order_hash": "0x" + order_hash.hex(), "to": to}
            intent["amount"] = str(moved)
            if function == "release":
                intent["fee"] = str(moved * words[12] // BPS)
            return intent
        case "accept" | "draw" | "setHoldback" | "repayWithAuthorization" as function:
            return decode_credit_call(network, function, words)
        case "dispute" | "submitEvidence" as function:
            terms = Terms.from_words(words[:11])
            return {
                "kind": "dispute" if function == "dispute" else "evidence",
                "order_hash": "0x" + terms.order_hash(network.chain_id, network.escrow).hex(),
                "evidence_hash": f"0x{words[11]:064x}",
                "to": terms.payee,
                "amount": str(amount or 0),
            }
        case _:
            raise WalletError(f"this call data is none of the wallet's: 0x{data[:4].hex()}…")


def memo_text(intent: Mapping[str, str]) -> str | None:
    """The memo of an intent as people read it, None if it has none."""
    return format_memo(bytes.fromhex(intent["memo"][2:])) if "memo" in intent else None
