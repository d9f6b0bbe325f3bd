"""A seller's credit line: what an underwriter offers, what is owed, and what calls about it say.

Rates and shares are in basis points (1/10,000), amounts in atomic units, times in unix seconds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wallet.abi import encode_call, words_of
from wallet.addresses import keccak, parse_address
from wallet.amounts import format_units
from wallet.errors import InvalidInput, Refused, TermsMismatch
from wallet.intents import (
    INTENTS,
    Intent,
    name_reference,
    read_bytes32,
    read_text,
    signer_of,
)
from wallet.networks import Network
from wallet.rpc import Rpc

BPS = 10_000
DAY = 86_400
MAX_HOLDBACK_BPS = 2_500
# Simple interest, actual/365: so many basis points times seconds are one atomic unit a unit.
BPS_YEAR = BPS * 365 * DAY

LINE_STATUSES = ("none", "active", "defaulted", "closed", "charged_off")

_OFFER_ID = re.compile(r"off_[0-9a-f]{32}", re.ASCII)
# What the bridge calls the fields of an offer that the chain knows.
_BRIDGE_FIELDS = {
    "limit": "limit",
    "aprBps": "apr_bps",
    "drawFeeBps": "draw_fee_bps",
    "holdbackBps": "holdback_bps",
    "termDays": "term_days",
    "disclosureHash": "disclosure_hash",
    "modelHash": "model_hash",
    "underwriter": "underwriter",
}


@dataclass(frozen=True)
class SignedOffer:
    """An offer of a credit line, hashed here, with its underwriter's signature, checked here.

    `offer_id` is the bridge's, where it came from one.
    """

    intent: Intent
    offer_hash: bytes
    signature: bytes
    offer_id: str | None = None

    @property
    def seller(self) -> str:
        return str(self.intent.message["seller"])

    @property
    def underwriter(self) -> str:
        return str(self.intent.message["underwriter"])

    def number(self, field: str) -> int:
        """One of the numbers, by its name in the contract: limit, aprBps, termDays, …"""
        value = self.intent.message[field]
        assert isinstance(value, int)
        return value


def parse_offer(network: Network, seller: str, value: Any) -> SignedOffer:
    """Read an offer strictly: the bridge's JSON of it, or `{"offer": {…}, "signature"}`.

    The bridge's form names neither seller nor nonce: the seller is the key that is asked, and the
    nonce follows from the offer's id. Its offer hash tells whether that is so.

    Raises:
        InvalidInput: it is not an offer.
        TermsMismatch: its hash is not that of its terms, it is for another seller, or its
            underwriter has not signed it.
        Refused: the bridge says that it was accepted, declined or taken back.
    """
    if not isinstance(value, dict):
        raise InvalidInput("an offer is a JSON object")
    offer_id = None
    if "offer" in value:
        if not set(value) <= {"offer", "signature", "offer_hash"}:
            raise InvalidInput("an offer's file has exactly offer, signature and offer_hash")
        message = value["offer"]
    else:
        offer_id, message = _read_bridge_offer(seller, value)
    intent = Intent("Offer", message)
    offer_hash = intent.digest(network.chain_id, network.contract("credit_book"))
    if intent.message["seller"] != seller:
        raise TermsMismatch(f"the offer is for {intent.message['seller']!s}, this key is {seller}")
    if offer_id is not None or "offer_hash" in value:
        named = read_bytes32("offer_hash", value.get("offer_hash"))
        if named != offer_hash:
            raise TermsMismatch(
                f"the offer is named 0x{named.hex()}, its terms for {seller} hash to "
                f"0x{offer_hash.hex()}: it was changed, or is for another seller or network"
            )
    signature = _read_signature(value.get("signature"))
    signed_by = signer_of(offer_hash, signature)
    if signed_by != intent.signer:
        raise TermsMismatch(
            f"the offer is not signed by its underwriter {intent.signer}, but by "
            f"{signed_by or 'nobody'}"
        )
    return SignedOffer(intent, offer_hash, signature, offer_id)


def _read_bridge_offer(seller: str, value: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    missing = {*_BRIDGE_FIELDS.values(), "id", "expires", "status", "offer_hash"} - set(value)
    if missing:
        raise InvalidInput(f"this is not an offer: it has no {', '.join(sorted(missing))}")
    offer_id = read_text(value, "id")
    if not _OFFER_ID.fullmatch(offer_id):
        raise InvalidInput(f"id is {offer_id!r}, not the id of an offer (off_…)")
    if value["status"] != "offered":
        raise Refused(f"the offer {offer_id} is {value['status']} already, so says the bridge")
    message = {name: value[theirs] for name, theirs in _BRIDGE_FIELDS.items()}
    message |= {
        "seller": seller,
        "expires": _read_time("expires", value["expires"]),
        "nonce": int.from_bytes(name_reference("plaza/credit_offer", offer_id)),
    }
    return offer_id, message


def _read_time(name: str, value: Any) -> int:
    try:
        return int(datetime.strptime(value, "%Y-%m-%dT%H:%M:%S%z").timestamp())
    except (TypeError, ValueError):
        raise InvalidInput(f"{name} is {value!r}, not a time as 2026-01-31T09:15:00Z") from None


def _read_signature(value: Any) -> bytes:
    if isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{130}", value, re.ASCII):
        return bytes.fromhex(value[2:])
    raise InvalidInput(f"signature is {value!r}, not 65 bytes as 0x hex")


# --------------------------------------------------------------------------- what is owed


@dataclass(frozen=True)
class CreditLine:
    """A seller's line as it is at one block.

    Attributes:
        status: none, active, delinquent, defaulted, closed or charged_off.
        payoff: what pays it off then: principal and interest, rounded up.
        past_due: part of it that is past due since `past_due_since` (0: nothing is).
        due_in_window: part of it to be paid by `window_end`; 0 without debt.
        available: what may be drawn, as far as the line is concerned.
        holdback_bps: share of each sale, with what delinquency adds.
    """

    seller: str
    status: str
    window_end: int
    past_due_since: int
    principal: int
    interest: int
    payoff: int
    past_due: int
    due_in_window: int
    available: int
    holdback_bps: int
    apr_bps: int
    limit: int
    draw_until: int
    draw_fee_bps: int
    agreed_holdback_bps: int
    as_of_block: int
    as_of_time: int

    def payoff_by(self, time: int) -> int:
        """The most that pays it off at a later time, in atomic units."""
        accrues = self.status in ("active", "delinquent")
        seconds = max(0, time - self.as_of_time) if accrues else 0
        return self.payoff + -(-self.principal * self.apr_bps * seconds // BPS_YEAR)

    def draw_fee(self, units: int) -> int:
        """What a draw costs at once, owed as interest; rounded up."""
        return -(-units * self.draw_fee_bps // BPS)

    @property
    def obstacle(self) -> str | None:
        """Why the line may not be drawn on, in words; None if it may."""
        owed = format_units(self.payoff)
        by_status = {
            "none": "there is no credit line: an offer has to be accepted first",
            "defaulted": f"the credit line is in default: all of {owed} is due",
            "closed": "the credit line was closed after a default: it takes a new offer",
            "charged_off": f"the credit line was written off; {owed} is still owed",
        }
        if self.status in by_status:
            return by_status[self.status]
        if self.past_due_since:
            return (
                f"{format_units(self.past_due)} is past due since {_utc(self.past_due_since)}: "
                "that has to be paid first"
            )
        if self.as_of_time >= self.draw_until:
            return f"the credit line could be drawn on until {_utc(self.draw_until)}"
        return None


@dataclass(frozen=True)
class Lending:
    """What bounds the draws of all lines together."""

    principal: int
    principal_cap: int
    reserve: int
    reserve_bps: int
    draws_paused: bool
    pool_cash: int

    def obstacle(self, units: int) -> str | None:
        """Why so much may not be drawn by anyone, in words; None if it may."""
        drawn = self.principal + units
        needed = -(-drawn * self.reserve_bps // BPS)
        if self.draws_paused:
            return "draws are paused by the platform"
        if drawn > self.principal_cap:
            free = max(0, self.principal_cap - self.principal)
            return f"all credit lines together may take {format_units(free)} more"
        if self.reserve < needed:
            return (
                f"the platform's first-loss reserve is {format_units(self.reserve)}, and "
                f"{format_units(needed)} is needed for this draw"
            )
        if self.pool_cash < units:
            return f"the lenders' pool has {format_units(self.pool_cash)} to lend now"
        return None


def read_line(network: Network, rpc: Rpc, seller: str) -> CreditLine:
    """Read a seller's line as it is at the latest block.

    Raises:
        Refused: the network has no credit lines.
    """
    book = network.contract("credit_book")
    block = rpc.call("eth_getBlockByNumber", "latest", False)

    def read(function: str) -> list[int]:
        data = "0x" + encode_call(function, seller).hex()
        result = rpc.call("eth_call", {"to": book, "data": data}, block["number"])
        return words_of(bytes.fromhex(result[2:]))

    statement, stored = read("statementOf"), read("lineOf")
    status = "delinquent" if statement[1] else LINE_STATUSES[statement[0]]
    # As the two structs lie: the statement after its first two, then rate and terms of the line.
    return CreditLine(
        seller,
        status,
        *statement[2:11],
        *stored[10:15],
        *(int(block[name], 16) for name in ("number", "timestamp")),
    )


# ---------------------------------------------------------------------------- what calls say


def repayment_nonce(seller: str, reference: bytes) -> bytes:
    """The nonce by which an EIP-3009 authorization pays this repayment, and no other."""
    return keccak(bytes(12) + bytes.fromhex(seller[2:]) + reference)


def repayment_reference(seed: bytes, everything: bool) -> bytes:
    """32 bytes that name a repayment; the last one says whether all was meant."""
    return keccak(seed)[:31] + bytes([everything])


def decode_credit_call(network: Network, function: str, words: list[int]) -> dict[str, str]:
    """Say what a call of the credit book does, reading nothing but its arguments."""
    book = network.contract("credit_book")
    match function:
        case "accept":
            offer = _offer_of(words)
            offer_hash = offer.digest(network.chain_id, book)
            return {
                "kind": "acceptance",
                "offer_hash": "0x" + offer_hash.hex(),
                "to": book,
                "amount": str(offer.message["limit"]),
            }
        case "draw":
            return {"kind": "draw", "to": book, "amount": str(words[0])}
        case "setHoldback":
            return {"kind": "holdback", "to": book, "amount": "0", "holdback_bps": str(words[0])}
        case _:
            return {
                "kind": "repayment",
                "to": parse_address(f"0x{words[0]:040x}"),
                "amount": str(words[3]),
                "meant": "all" if words[1] & 0xFF else "amount",
            }


def _offer_of(words: list[int]) -> Intent:
    message: dict[str, int | str | bytes] = {}
    for (name, kind), word in zip(INTENTS["Offer"].fields, words, strict=False):
        match kind:
            case "address":
                message[name] = f"0x{word:040x}"
            case "bytes32":
                message[name] = word.to_bytes(32, "big")
            case _:
                message[name] = word
    return Intent("Offer", message)


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
