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

    `kind` is transfer, top-up, redemption, seizure, or what the escrow did: authorized, released,
    voided, refunded, reclaimed, escrow (anything else with it). `time` is the block's.
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


def read_movements(network: Network, rpc: Rpc, account: str) -> Iterator[Movement]:
    """Yield the movements of an account's coin, newest first; times are asked for as they come."""
    logs = _account_logs(network, rpc, account)
    transfers = [log for log in logs.values() if log["topics"][0] == TOPICS["Transfer"]]
    notes = _notes_by_transaction(logs)
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
        yield Movement(
            time=times[block], block=int(block, 16), transaction=log["transactionHash"], **fields
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
    for start in range(0, len(orders), ORDERS_PER_QUERY):
        some = orders[start : start + ORDERS_PER_QUERY]
        found += _get_logs(network, rpc, network.escrow, [settled, some])
    return {_position(log): log for log in [*found, *authorized]}


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
        fields["kind"] = "escrow"
        for index, note in enumerate(notes):
            kind, moved = _escrow_note(note, amount, direction)
            if kind is not None and moved:
                fields.update(kind=kind, order_hash=note["topics"][1])
                del notes[index]
                break
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


def _escrow_note(note: Any, amount: int, direction: str) -> tuple[str | None, bool]:
    """Which escrow event a log is, and whether it moved this amount in this direction."""
    for what, kind in _ESCROW_KINDS.items():
        if note["topics"][0] == TOPICS[f"Purchase{what}"]:
            words = words_of(bytes.fromhex(note["data"][2:]))
            moved = words[3] if what == "Released" else words[0]
            outward = what == "Authorized" or (what == "Refunded" and direction == "out")
            return kind, moved == amount and outward == (direction == "out")
    return None, False


def _get_logs(network: Network, rpc: Rpc, address: str, topics: list[Any]) -> list[Any]:
    return read_logs(rpc, address, topics, network.first_block)


def _position(log: Any) -> tuple[int, int]:
    return int(log["blockNumber"], 16), int(log["logIndex"], 16)


def _topic(account: str) -> str:
    return "0x" + encode_word(account).hex()
