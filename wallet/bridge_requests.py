"""Payment requests of a bridge (prq_…): what a payee asks for, checked, and paid at most once.

One is paid by an EIP-3009 authorization under the request's own nonce. The nonce follows from the
request's name, the coin takes it from a payer once, and the bridge knows the payment by it: so
whatever is retried, relayed or sent by another way meanwhile, it moves coin once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wallet.abi import TOPICS, encode_call, encode_word
from wallet.addresses import MEMO_BYTES, ZERO_ADDRESS, keccak, parse_address, to_checksum
from wallet.amounts import DECIMALS, MAX_UNITS, format_units
from wallet.errors import InvalidInput, NetworkError, Refused, RpcError, TermsMismatch
from wallet.intents import (
    TransferAuthorization,
    name_reference,
    read_bytes32,
    read_text,
    read_uint,
)
from wallet.logs import read_logs
from wallet.networks import Network
from wallet.parts import WalletParts
from wallet.plans import decode_intent
from wallet.purchases import read_last_part
from wallet.rpc import Rpc, fetch_json, post_json
from wallet.uris import TransferRequest, read_transfer

STATUSES = ("open", "paid", "canceled", "expired")

_REQUEST_ID = re.compile(r"prq_[0-9A-Za-z_-]{1,64}", re.ASCII)
_MEMO_HEX = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@dataclass(frozen=True)
class BridgeRequest:
    """What a bridge says is to be paid, checked against the network's profile.

    `merchant`, `memo` and `status` are the bridge's words. `memo_word` is what the memo is on
    chain. `amount` is in atomic units, `expires_at` in unix seconds on the chain's clock.
    """

    url: str
    request_id: str
    merchant: str
    status: str
    payee: str
    amount: int
    memo: str | None
    memo_word: bytes
    nonce: bytes
    expires_at: int
    paid_tx: str | None


@dataclass(frozen=True)
class RequestPlan:
    """A payment of a request, checked and ready to be signed for.

    Its one signature is `authorization`; the transaction that carries it can only be built, and
    simulated, once it is signed.
    """

    network: Network
    request: BridgeRequest
    authorization: TransferAuthorization
    nonce: int
    balance: int
    balance_after: int
    warnings: tuple[str, ...] = ()
    earlier_payments: int = 0
    first_time: bool = False
    idempotency_key: str | None = None

    @property
    def contract(self) -> str:
        """The contract that is called."""
        return self.network.coin

    @property
    def sender(self) -> str:
        return self.authorization.payer

    @property
    def intent(self) -> Mapping[str, str]:
        """What it is for, decoded from the call data, in which only the signature is missing."""
        return decode_intent(self.network, self.call(bytes(65)))

    def call(self, signature: bytes) -> bytes:
        """The call data, once it is signed."""
        words = self.authorization.intent.words()
        return encode_call("transferWithAuthorization", *words, tail=signature)

    def signed_json(self, signature: bytes) -> dict[str, str | int]:
        """The signed authorization as the bridge takes it."""
        return {
            "payer": self.authorization.payer,
            "signature": "0x" + signature.hex(),
            "valid_after": self.authorization.valid_after,
            "valid_before": self.authorization.valid_before,
        }

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON, amounts as strings of atomic units."""
        return {
            "intent": dict(self.intent),
            "network": self.network.name,
            "chain_id": self.network.chain_id,
            "from": self.sender,
            "to": self.contract,
            "request_id": self.request.request_id,
            "merchant": self.request.merchant,
            "memo": self.request.memo,
            "valid_before": self.authorization.valid_before,
            "nonce": self.nonce,
            "balance": str(self.balance),
            "balance_after": str(self.balance_after),
            "warnings": list(self.warnings),
            "first_time_recipient": self.first_time,
        }


# ------------------------------------------------------------------------------- reading


def is_bridge_request(reference: str) -> bool:
    """Whether a text is the id of a request or the URL of one."""
    return _REQUEST_ID.fullmatch(read_last_part(reference)) is not None


def bridge_request_url(network: Network, reference: str) -> str:
    """Return the address of a request: a URL as it is, an id at the network's bridge.

    Raises:
        InvalidInput: it is neither, or the network has no bridge to ask.
    """
    if _REQUEST_ID.fullmatch(reference):
        if network.bridge_url is None:
            raise InvalidInput(f"network {network.name!r} names no bridge: give the whole URL")
        return f"{network.bridge_url}/v1/pay/requests/{reference}"
    if "://" in reference and is_bridge_request(reference):
        return reference
    raise InvalidInput(f"{reference!r} is neither a request's id (prq_…) nor the URL of one")


def fetch_bridge_request(network: Network, reference: str) -> BridgeRequest:
    """Fetch a request and check it against the profile; the bridge is not believed.

    Raises:
        InvalidInput: it is not a request to pay.
        TermsMismatch: it is for another chain or coin, or does not agree with itself: with its
            name, its memo or its URI.
        NetworkError: no answer from the bridge.
    """
    url = bridge_request_url(network, reference)
    return parse_bridge_request(network, url, fetch_json(url))


def parse_bridge_request(network: Network, url: str, value: Any) -> BridgeRequest:
    """Read and check the JSON of a request; raises as `fetch_bridge_request`."""
    if not isinstance(value, dict):
        raise InvalidInput(f"{url} does not describe a payment")
    request_id = read_text(value, "id")
    if read_last_part(url) != request_id:
        raise TermsMismatch(f"{url} answered with another request, {request_id!r}")
    _require_same("chain_id", read_uint("chain_id", value.get("chain_id"), 256), network.chain_id)
    _require_same("coin", parse_address(read_text(value, "coin")), network.coin)
    _require_same("symbol", read_text(value, "symbol"), network.symbol)
    _require_same("decimals", read_uint("decimals", value.get("decimals"), 8), DECIMALS)
    memo = None if value.get("memo") is None else read_text(value, "memo")
    request = BridgeRequest(
        url=url,
        request_id=request_id,
        merchant=read_text(value, "merchant"),
        status=read_text(value, "status"),
        payee=parse_address(read_text(value, "payee")),
        amount=read_uint("amount", value.get("amount"), 128),
        memo=memo,
        memo_word=read_bytes32("memo_word", value.get("memo_word")),
        nonce=read_bytes32("nonce", value.get("nonce")),
        expires_at=_read_time("expires_at", value.get("expires_at")),
        paid_tx=None if value.get("paid_tx") is None else read_text(value, "paid_tx"),
    )
    if request.status not in STATUSES:
        raise InvalidInput(f"the request is {request.status!r}, which this wallet does not know")
    if not 0 < request.amount <= MAX_UNITS:
        raise TermsMismatch(f"the request asks for {request.amount} units")
    # One name, one nonce: a bridge that forgets, or lies, cannot have the same paid again.
    _require_same("nonce", request.nonce, name_reference("plaza/payment_request", request_id))
    _require_same("memo_word", request.memo_word, request.nonce if memo is None else _word_of(memo))
    if request.status == "open":
        _require_same_uri(network, request, read_text(value, "uri"))
    return request


def _require_same(name: str, actual: object, wanted: object) -> None:
    if actual != wanted:
        shown = [
            f"0x{value.hex()}" if isinstance(value, bytes) else value for value in (actual, wanted)
        ]
        raise TermsMismatch(f"the request's {name} is {shown[0]}, it should be {shown[1]}")


def _require_same_uri(network: Network, request: BridgeRequest, uri: str) -> None:
    try:
        asked = read_transfer(network, uri)
    except InvalidInput as error:
        raise TermsMismatch(f"the request's URI: {error}") from error
    if asked != TransferRequest(request.payee, request.amount, request.memo_word):
        raise TermsMismatch(f"the request's URI asks for something else than the request: {uri}")


def _word_of(memo: str) -> bytes:
    """The 32 bytes of a memo as the bridge makes them: its UTF-8, or the hash of a longer one."""
    if _MEMO_HEX.fullmatch(memo):
        return bytes.fromhex(memo[2:])
    encoded = memo.encode("utf-8")
    return encoded.ljust(MEMO_BYTES, b"\0") if len(encoded) <= MEMO_BYTES else keccak(encoded)


def _read_time(name: str, value: Any) -> int:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise InvalidInput(f"{name} is {value!r}, not a time in UTC")
    try:
        return int(datetime.fromisoformat(value).timestamp())
    except ValueError as error:
        raise InvalidInput(f"{name} is {value!r}: {error}") from error


# ------------------------------------------------------------------------------- on chain


def find_payment(network: Network, rpc: Rpc, request: BridgeRequest) -> str | None:
    """Return the transaction that paid a request by its nonce, whoever paid; None if none did.

    Anyone can use the nonce for a transfer of their own, so the transfer itself is looked at.
    """
    topics = [TOPICS["AuthorizationUsed"], None, "0x" + request.nonce.hex()]
    for used in read_logs(rpc, network.coin, topics, network.first_block):
        receipt = rpc.call("eth_getTransactionReceipt", used["transactionHash"])
        following = int(used["logIndex"], 16) + 1
        for log in receipt["logs"]:
            if (
                int(log["logIndex"], 16) == following
                and log["address"].lower() == network.coin.lower()
                and log["topics"][0] == TOPICS["Transfer"]
                and log["topics"][1] == used["topics"][1]
                and to_checksum("0x" + log["topics"][2][-40:]) == request.payee
                and int(log["data"], 16) >= request.amount
            ):
                return str(used["transactionHash"])
    return None


def find_memo_payments(
    network: Network, rpc: Rpc, to: str, memo: bytes, payer: str | None = None
) -> list[tuple[str, int]]:
    """Return the transactions that brought coin to an address with a memo, and how much."""
    payer_topic = None if payer is None else "0x" + encode_word(payer).hex()
    topics = [TOPICS["TransferMemo"], payer_topic, "0x" + encode_word(to).hex(), "0x" + memo.hex()]
    logs = read_logs(rpc, network.coin, topics, network.first_block)
    return [(str(log["transactionHash"]), int(log["data"], 16)) for log in logs]


class RequestActions(WalletParts):
    """The part of `Wallet` that is about requests to pay."""

    def bridge_request(self, reference: str) -> BridgeRequest:
        """Fetch and check a bridge's request; raises as `bridge_requests.fetch_bridge_request`."""
        return fetch_bridge_request(self.network, reference)

    def payments_with_memo(
        self, to: str, memo: bytes, *, of_anyone: bool = False
    ) -> list[tuple[str, int]]:
        """Return the transactions of this key that paid an address with a memo, and how much."""
        payer = None if of_anyone else self.address
        return find_memo_payments(self.network, self._rpc, to, memo, payer)

    def plan_request(
        self, request: BridgeRequest, *, idempotency_key: str | None = None
    ) -> RequestPlan:
        """Plan to pay a bridge's request.

        Raises:
            InvalidInput: it is to be paid to the zero address, the coin's contract or oneself.
            Refused: it is paid already, canceled or over, or a rule forbids it now.
            InsufficientFunds: the balance does not cover it.
        """
        unusual = {
            ZERO_ADDRESS: "the zero address",
            self.network.coin: "the coin's own contract",
            self.address: "the sender itself",
        }
        if request.payee in unusual:
            raise InvalidInput(
                f"{request.payee} is {unusual[request.payee]}: coin is not sent there"
            )
        self.check_chain()
        self._require_payable(request)
        sender = self._check_standing(request.amount, request.payee)
        earlier = self.earlier_recipients()
        warnings = self.find_look_alikes(request.payee, earlier)
        warnings += [
            f"{format_units(units)} came to the payee with this memo before, in {transaction}; "
            "the bridge says that the request is open all the same"
            for transaction, units in self.payments_with_memo(
                request.payee, request.memo_word, of_anyone=True
            )
        ]
        if self.network.bridge_url and not request.url.startswith(self.network.bridge_url + "/"):
            warnings.append(f"{request.url} is not at this network's bridge")
        return RequestPlan(
            network=self.network,
            request=request,
            authorization=TransferAuthorization(
                payer=self.address,
                to=request.payee,
                value=request.amount,
                valid_after=0,
                # From then on it would be no payment of the request any more.
                valid_before=request.expires_at,
                nonce=request.nonce,
            ),
            nonce=self._next_nonce(),
            balance=sender.units,
            balance_after=sender.units - request.amount,
            warnings=tuple(warnings),
            earlier_payments=earlier.get(request.payee, 0),
            first_time=request.payee not in earlier,
            idempotency_key=idempotency_key,
        )

    def _require_payable(self, request: BridgeRequest) -> None:
        """Say in words why a request is not to be paid; the chain is asked, not only the bridge."""
        if request.status == "paid":
            by = f" by {request.paid_tx}" if request.paid_tx else ""
            raise Refused(f"the request {request.request_id} is paid already{by}")
        if request.status != "open":
            raise Refused(f"the request {request.request_id} is {request.status}")
        now = self._next_block_time()
        if now >= request.expires_at:
            raise Refused(f"it could be paid until {_utc(request.expires_at)}, it is {_utc(now)}")
        paid = find_payment(self.network, self._rpc, request)
        if paid is not None:
            raise Refused(f"the request {request.request_id} is paid already by {paid}")
        if self.is_authorization_used(request.nonce):
            raise Refused(
                f"this key has used or canceled its authorization for {request.request_id}"
            )

    def is_authorization_used(self, nonce: bytes) -> bool:
        """Whether the signer's authorization (EIP-3009) of a nonce was used or canceled."""
        data = encode_call("authorizationState", self.address, nonce)
        return bool(self._read(self.network.coin, data)[0])

    def relay_request(self, plan: RequestPlan, signature: bytes) -> None:
        """Hand a signed payment of a request to its bridge, which sends it.

        Raises:
            NetworkError: the bridge did not take it; it may be handed over again.
        """
        post_json(plan.request.url, plan.signed_json(signature))

    def wait_until_paid(self, plan: RequestPlan, timeout: float = 30.0) -> bool:
        """Wait until the coin has used the authorization of a request; whether it has by then."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                if self.is_authorization_used(plan.request.nonce):
                    return True
            except (NetworkError, RpcError):
                pass  # asked again until the time is over
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
