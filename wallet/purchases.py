"""Purchases as a buyer sees them: what the bridge asks to be paid, and what the escrow holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from wallet.abi import TOPICS, encode_call, words_of
from wallet.addresses import parse_address
from wallet.errors import InvalidInput, TermsMismatch, UnknownName
from wallet.intents import Terms, read_bytes32, read_text, read_uint
from wallet.logs import read_logs
from wallet.networks import Network
from wallet.rpc import Rpc, fetch_json

STATUSES = ("none", "authorized", "delivered", "closed", "disputed")
BPS = 10_000

_PURCHASE_ID = re.compile(r"pur_[0-9A-Za-z_-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class PaymentRequest:
    """What a bridge asks a buyer to pay, verified against the network's profile.

    `merchant`, `order_id` and `status` are the bridge's words; everything else was checked.
    """

    url: str
    purchase_id: str
    order_id: str
    merchant: str
    status: str
    amount: int
    order_hash: bytes
    terms: Terms


@dataclass(frozen=True)
class Order:
    """What the escrow holds for an order.

    `dispute_deadline` is unix seconds: until when it can be disputed, in a dispute until when it is
    decided; 0 before delivery.
    """

    held: int
    refundable: int
    dispute_deadline: int
    status: str


@dataclass(frozen=True)
class Purchase:
    """An order as it stands: its terms, and what the escrow holds for it."""

    order_hash: bytes
    terms: Terms
    order: Order


def request_url(network: Network, reference: str) -> str:
    """Return the address of a payment request: a URL as it is, a purchase id at the bridge.

    Raises:
        InvalidInput: it is neither, or the network has no bridge to ask.
    """
    if _PURCHASE_ID.fullmatch(reference):
        if network.bridge_url is None:
            raise InvalidInput(f"network {network.name!r} names no bridge: give the whole URL")
        return f"{network.bridge_url}/v1/pay/{reference}"
    if _PURCHASE_ID.fullmatch(read_last_part(reference)):
        return reference
    raise InvalidInput(f"{reference!r} is neither a purchase id (pur_…) nor the URL of one")


def read_last_part(url: str) -> str:
    """Return what a URL's path ends in; `urlsplit` would raise for some texts that are no URL."""
    return re.split("[?#]", url, maxsplit=1)[0].rpartition("/")[2]


def fetch_request(network: Network, reference: str) -> PaymentRequest:
    """Fetch a payment request and check it against the profile; the bridge is not believed.

    Raises:
        InvalidInput: it is not a payment request.
        TermsMismatch: it is for another chain, escrow or coin, or its order hash is not the hash of
            its terms, or it asks for more than its terms allow.
        NetworkError: no answer from the bridge.
    """
    url = request_url(network, reference)
    return parse_request(network, url, fetch_json(url))


def parse_request(network: Network, url: str, value: Any) -> PaymentRequest:
    """Read and check the JSON of a payment request; raises as `fetch_request`."""
    if not isinstance(value, dict):
        raise InvalidInput(f"{url} does not describe a payment")
    purchase_id = read_text(value, "purchase_id")
    if read_last_part(url) != purchase_id:
        raise TermsMismatch(f"{url} answered with another purchase, {purchase_id!r}")
    expected: dict[str, Any] = {
        "chain_id": network.chain_id,
        "escrow": network.escrow,
        "coin": network.coin,
    }
    actual = {
        "chain_id": read_uint("chain_id", value.get("chain_id"), 256),
        "escrow": parse_address(read_text(value, "escrow")),
        "coin": parse_address(read_text(value, "coin")),
    }
    for name, wanted in expected.items():
        if actual[name] != wanted:
            raise TermsMismatch(
                f"the payment's {name} is {actual[name]}, network {network.name!r} has {wanted}"
            )
    terms = Terms.from_json(value.get("terms"))
    order_hash = read_bytes32("order_hash", value.get("order_hash"))
    computed = terms.order_hash(network.chain_id, network.escrow)
    if order_hash != computed:
        raise TermsMismatch(
            f"the order is named 0x{order_hash.hex()}, its terms hash to 0x{computed.hex()}"
        )
    amount = read_uint("amount", value.get("amount"), 96)
    if not 0 < amount <= terms.max_amount:
        raise TermsMismatch(
            f"the payment asks for {amount} units, its terms allow 1 to {terms.max_amount}"
        )
    if not terms.min_fee_bps <= terms.max_fee_bps <= BPS:
        raise TermsMismatch(f"the fee bounds are {terms.min_fee_bps} to {terms.max_fee_bps} bps")
    return PaymentRequest(
        url=url,
        purchase_id=purchase_id,
        order_id=read_text(value, "order_id"),
        merchant=read_text(value, "merchant"),
        status=read_text(value, "status"),
        amount=amount,
        order_hash=order_hash,
        terms=terms,
    )


def find_terms(network: Network, rpc: Rpc, reference: str) -> tuple[Terms, bytes]:
    """Return the terms and hash of an order named by purchase id, URL or order hash.

    An order hash is looked up in the escrow's own log, so no bridge is needed.

    Raises:
        UnknownName: nothing was authorized under the order hash.
        InvalidInput, TermsMismatch, NetworkError: as `fetch_request`.
    """
    if not reference.startswith("0x"):
        request = fetch_request(network, reference)
        return request.terms, request.order_hash
    order_hash = read_bytes32("the order hash", reference)
    topics = [TOPICS["PurchaseAuthorized"], "0x" + order_hash.hex()]
    logs = read_logs(rpc, network.escrow, topics, network.first_block)
    if not logs:
        raise UnknownName(f"no purchase was authorized under the order hash {reference}")
    terms = Terms.from_words(words_of(bytes.fromhex(logs[0]["data"][2:]))[1:])
    computed = terms.order_hash(network.chain_id, network.escrow)
    if computed != order_hash:
        raise TermsMismatch(f"the log's terms hash to 0x{computed.hex()}, not to {reference}")
    return terms, order_hash


def read_order(network: Network, rpc: Rpc, order_hash: bytes) -> Order:
    """Read what the escrow holds for an order now."""
    data = encode_call("orderOf", order_hash)
    result = rpc.call("eth_call", {"to": network.escrow, "data": "0x" + data.hex()}, "latest")
    held, refundable, deadline, status = words_of(bytes.fromhex(result[2:]))
    return Order(held, refundable, deadline, STATUSES[status])
