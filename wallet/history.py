"""An account's history, read from the chain's logs: every movement of its coin, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from wallet.abi import TOPICS, encode_word, words_of
from wallet.addresses import ZERO_ADDRESS, to_checksum
from wallet.logs import read_logs
from wallet.networks import Network
from wallet.rpc import Rpc

# How many order hashes one eth_getLogs asks for at a time.
ORDERS_PER_QUERY = 500

Direction = Literal["in", "out", "self"]


@dataclass(frozen=True)
class Movement:
    """Coin that came, went, or was sent to oneself.

    `kind` is one of

    - transfer, top-up, redemption, seizure;
    - what the escrow did: authorized, released, voided, refunded, reclaimed, dispute-decided,
      dispute-expired, claimed (what could not be received before), fee (to who receives fees),
      escrow (anything else with it);
    - of a credit line: draw, repayment, returned (what a repayment did not need);
    - of the lenders' pool: deposit, withdrawal; of the first-loss reserve: reserve; credit
      (anything else with them).

    `time` is the block's. `party` is the other side of the order. Of a release, `fee` and
    `repayment` are what the marketplace and the seller's credit line got of it, in atomic units.
    """

    time: datetime
    block: int
    transaction: str
    kind: str
    direction: Direction
    amount: int
    counterparty: str
    memo: bytes | None
    order_hash: str | None
    party: str | None = None
    fee: int | None = None
    repayment: int | None = None


def read_movements(network: Network, rpc: Rpc, account: str) -> Iterator[Movement]:
    """Yield the movements of an account's coin, newest first; times are asked for as they come."""
    logs = _account_logs(network, rpc, account)
    transfers = [log for log in logs.values() if log["topics"][0] == TOPICS["Transfer"]]
    notes = _notes_by_transaction(logs)
    parties = _parties(account, logs)
    # Annotations are matched in the order things happened, so equal amounts find their own.
    movements = [
        _annotate(network, account, log, notes.get(log["transactionHash"], []))
        for log in sorted(transfers, key=_position)
    ]
    times: dict[str, datetime] = {}
    for log, fields in reversed(movements):
        block = log["blockNumber"]
        if block not in times:
            timestamp = log.get("blockTimestamp")  # newer endpoints say it with the log
            if timestamp is None:
                timestamp = rpc.call("eth_getBlockByNumber", block, False)["timestamp"]
            times[block] = datetime.fromtimestamp(int(timestamp, 16), UTC)
        fee = _fee_received(rpc, log) if fields["kind"] == "escrow" else {}
        yield Movement(
            time=times[block],
            block=int(block, 16),
            transaction=log["transactionHash"],
            party=parties.get(fields["order_hash"]),
            **{**fields, **fee},
        )


def earlier_recipients(network: Network, rpc: Rpc, account: str) -> dict[str, int]:
    """Count the payments this account made, by checksummed recipient.

    Transfers of nothing do not count: anyone can make one appear in anyone's history.
    """
    counts: dict[str, int] = {}
    topics = [TOPICS["Transfer"], _topic(account)]
    for log in _get_logs(network, rpc, network.coin, topics):
        if int(log["data"], 16):
            recipient = to_checksum("0x" + log["topics"][2][-40:])
            counts[recipient] = counts.get(recipient, 0) + 1
    return counts


def _account_logs(network: Network, rpc: Rpc, account: str) -> dict[tuple[int, int], Any]:
    """All logs that concern the account, by position: the coin's, and those of its orders."""
    me = _topic(account)
    moved = [TOPICS["Transfer"], TOPICS["TransferMemo"], TOPICS["Seized"]]
    found = [
        *_get_logs(network, rpc, network.coin, [moved, me]),
        *_get_logs(network, rpc, network.coin, [moved, None, me]),
    ]
    authorized = [
        *_get_logs(network, rpc, network.escrow, [TOPICS["PurchaseAuthorized"], None, me]),
        *_get_logs(network, rpc, network.escrow, [TOPICS["PurchaseAuthorized"], None, None, me]),
    ]
    orders = sorted({log["topics"][1] for log in authorized})
    settled = [TOPICS[f"Purchase{what}"] for what in _ESCROW_KINDS if what != "Authorized"]
    settled += [TOPICS["DisputeResolved"], TOPICS["DisputeDefaulted"]]
    for start in range(0, len(orders), ORDERS_PER_QUERY):
        some = orders[start : start + ORDERS_PER_QUERY]
        found += _get_logs(network, rpc, network.escrow, [settled, some])
    claimed = [TOPICS["ClaimableWithdrawn"], me]
    found += [*_get_logs(network, rpc, network.escrow, claimed), *_credit_logs(network, rpc, me)]
    return {_position(log): log for log in [*found, *authorized]}


def _credit_logs(network: Network, rpc: Rpc, me: str) -> list[Any]:
    """What the account drew, repaid, lent and got back."""
    found: list[Any] = []
    if network.credit_book is not None:
        own = [TOPICS[name] for name in ("Drawn", "ReserveFunded", "ReserveWithdrawn")]
        paid = [TOPICS[name] for name in ("Repaid", "Recovered")]
        found += _get_logs(network, rpc, network.credit_book, [own, me])
        found += _get_logs(network, rpc, network.credit_book, [paid, None, me])
    if network.lender_pool is not None:
        found += _get_logs(network, rpc, network.lender_pool, [TOPICS["Deposit"], me])
        found += _get_logs(network, rpc, network.lender_pool, [TOPICS["Withdraw"], None, me])
    return found


def _parties(account: str, logs: dict[tuple[int, int], Any]) -> dict[str | None, str]:
    """Who is on the other side of each order."""
    me, parties = _topic(account), {}
    for log in logs.values():
        if log["topics"][0] == TOPICS["PurchaseAuthorized"]:
            order_hash, payer, payee = log["topics"][1:4]
            parties[order_hash] = to_checksum("0x" + (payee if payer == me else payer)[-40:])
    return parties


def _fee_received(rpc: Rpc, transfer: Any) -> dict[str, Any]:
    """Who receives fees is in no log's index: the transaction of the transfer is looked at."""
    receipt = rpc.call("eth_getTransactionReceipt", transfer["transactionHash"])
    amount = int(transfer["data"], 16)
    for log in receipt["logs"]:
        same_contract = log["address"].lower()[-40:] == transfer["topics"][1][-40:]
        if not same_contract or log["topics"][0] != TOPICS["PurchaseReleased"]:
            continue
        if words_of(bytes.fromhex(log["data"][2:]))[1] == amount:
            return {"kind": "fee", "order_hash": log["topics"][1]}
    return {}


_ESCROW_KINDS = {
    "Authorized": "authorized",
    "Released": "released",
    "Voided": "voided",
    "Refunded": "refunded",
    "Reclaimed": "reclaimed",
}


def _notes_by_transaction(logs: dict[tuple[int, int], Any]) -> dict[str, list[Any]]:
    notes: dict[str, list[Any]] = {}
    for position in sorted(logs):
        log = logs[position]
        if log["topics"][0] != TOPICS["Transfer"]:
            notes.setdefault(log["transactionHash"], []).append(log)
    return notes


def _annotate(
    network: Network, account: str, transfer: Any, notes: list[Any]
) -> tuple[Any, dict[str, Any]]:
    """Say what a transfer was, taking the log that explains it out of the transaction's notes."""
    sender, recipient = ("0x" + topic[-40:] for topic in transfer["topics"][1:3])
    amount = int(transfer["data"], 16)
    mine = account.lower()
    direction = "self" if sender == recipient else "out" if sender == mine else "in"
    other = recipient if sender == mine else sender
    fields: dict[str, Any] = {
        "kind": "transfer",
        "direction": direction,
        "amount": amount,
        "counterparty": to_checksum(other),
        "memo": None,
        "order_hash": None,
    }
    if other == ZERO_ADDRESS:
        fields["kind"] = "redemption" if direction == "out" else "top-up"
    elif other == network.escrow.lower():
        fields |= _take_escrow_note(notes, amount, direction)
    elif other in _lowered(network.credit_book, network.lender_pool):
        fields["kind"] = _take_credit_note(notes, amount, direction)
    else:
        for index, note in enumerate(notes):
            same_parties = note["topics"][1:3] == transfer["topics"][1:3]
            if same_parties and words_of(bytes.fromhex(note["data"][2:]))[0] == amount:
                if note["topics"][0] == TOPICS["Seized"]:
                    fields["kind"] = "seizure"
                else:
                    fields["memo"] = bytes.fromhex(note["topics"][3][2:])
                del notes[index]
                break
    return transfer, fields


def _take_escrow_note(notes: list[Any], amount: int, direction: str) -> dict[str, Any]:
    """Say which event of the escrow moved this amount in this direction, and use its log up."""
    for index, note in enumerate(notes):
        topic, words = note["topics"][0], words_of(bytes.fromhex(note["data"][2:]))
        if topic == TOPICS["ClaimableWithdrawn"] and words[0] == amount and direction == "in":
            del notes[index]
            return {"kind": "claimed"}
        if topic == TOPICS["DisputeDefaulted"] and words[0] == amount and direction == "in":
            del notes[index]
            return {"kind": "dispute-expired", "order_hash": note["topics"][1]}
        for what, kind in _ESCROW_KINDS.items():
            if topic != TOPICS[f"Purchase{what}"]:
                continue
            moved = words[3] if what == "Released" else words[0]
            outward = what == "Authorized" or (what == "Refunded" and direction == "out")
            if moved != amount or outward != (direction == "out"):
                continue
            del notes[index]
            order_hash = note["topics"][1]
            decision = [TOPICS["DisputeResolved"], order_hash]
            decided = any(other["topics"][:2] == decision for other in notes)
            shares = {"fee": words[1], "repayment": words[2]} if what == "Released" else {}
            return {
                "kind": "dispute-decided" if decided else kind,
                "order_hash": order_hash,
                **shares,
            }
    return {"kind": "escrow"}


def _take_credit_note(notes: list[Any], amount: int, direction: str) -> str:
    """Say what a transfer with the credit book or the pool was, and use its log up."""
    for index, note in enumerate(notes):
        topic, words = note["topics"][0], words_of(bytes.fromhex(note["data"][2:]))
        if topic in (TOPICS["Repaid"], TOPICS["Recovered"]):
            # Not used up: what was signed for goes out, and the rest of it comes back.
            if direction == "out" and amount >= words[0] + words[1]:
                return "repayment"
            if direction == "in":
                return "returned"
            if topic == TOPICS["Recovered"] and amount in words[:2]:
                return "repayment"  # in two transfers: to the pool, and to the reserve
        for name, kind, way in _CREDIT_KINDS:
            if topic == TOPICS[name] and way == direction and words[0] == amount:
                del notes[index]
                return kind
    return "credit"


_CREDIT_KINDS = (
    ("Drawn", "draw", "in"),
    ("Deposit", "deposit", "out"),
    ("Withdraw", "withdrawal", "in"),
    ("ReserveFunded", "reserve", "out"),
    ("ReserveWithdrawn", "reserve", "in"),
)


def _lowered(*addresses: str | None) -> list[str]:
    return [address.lower() for address in addresses if address is not None]


def _get_logs(network: Network, rpc: Rpc, address: str, topics: list[Any]) -> list[Any]:
    return read_logs(rpc, address, topics, network.first_block)


def _position(log: Any) -> tuple[int, int]:
    return int(log["blockNumber"], 16), int(log["logIndex"], 16)


def _topic(account: str) -> str:
    return "0x" + encode_word(account).hex()
