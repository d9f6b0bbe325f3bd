"""Disputes: what a party says, whose hash alone goes on chain, and what the chain tells of them.

A statement is hashed as the bridge does it: the keccak256 of its canonical form, JSON with sorted
keys and no white space (RFC 8785). Who is shown the form can check it against the chain; who loses
the text cannot make it again, so it is kept before its hash is sent.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wallet.abi import TOPICS, words_of
from wallet.addresses import keccak, to_checksum
from wallet.errors import InvalidInput
from wallet.files import private_folder, sync_folder, write_private
from wallet.logs import read_logs
from wallet.networks import Network
from wallet.rpc import Rpc

MAX_TEXT, MAX_REFERENCE = 4_000, 200

# Line breaks and tabs may stand in a text, but no other control characters.
_TEXT = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]+")
_REFERENCE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


@dataclass(frozen=True)
class Statement:
    """What a party says of an order: the complaint that opens a dispute, or evidence in one.

    `salt` is 32 random bytes, for a text that could be guessed from its hash.

    Raises:
        InvalidInput: the text or the reference is empty, too long or holds control characters.
    """

    kind: Literal["complaint", "evidence"]
    order_hash: bytes
    party: str
    text: str
    reference: str | None = None
    salt: bytes | None = None

    def __post_init__(self) -> None:
        if not self.text or len(self.text) > MAX_TEXT:
            raise InvalidInput(
                f"the text has {len(self.text)} characters, it can have 1 to {MAX_TEXT}"
            )
        if not _TEXT.fullmatch(self.text):
            raise InvalidInput("the text holds control characters")
        reference = self.reference
        if reference is None:
            return
        if len(reference) > MAX_REFERENCE or not _REFERENCE.fullmatch(reference):
            raise InvalidInput(
                f"the reference has 1 to {MAX_REFERENCE} characters, none of them control ones"
            )

    def canonical(self) -> str:
        """What is hashed. It names order and party, so it stands for no other."""
        fields = {
            "form": "plaza/statement/1",
            "kind": self.kind,
            "order_hash": "0x" + self.order_hash.hex(),
            "party": self.party,
            "reference": self.reference,
            "salt": None if self.salt is None else "0x" + self.salt.hex(),
            "text": self.text,
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    def hash(self) -> bytes:
        """The `evidenceHash` of the contract."""
        return keccak(self.canonical().encode())


@dataclass(frozen=True)
class Remark:
    """A statement as the chain has it; `text` where it was made here, and is still kept."""

    kind: str
    party: str
    hash: str
    block: int
    text: str | None


@dataclass(frozen=True)
class Dispute:
    """What the chain tells of a dispute.

    Attributes:
        deadline: until when the arbiter may decide, unix seconds.
        outcome: open, decided or expired (then the buyer got all that was held).
        to_payer, to_payee: of a decision, the latter before fee and holdback; else 0.
    """

    remarks: tuple[Remark, ...]
    deadline: int
    outcome: Literal["open", "decided", "expired", "settled"]
    to_payer: int
    to_payee: int


def read_dispute(
    network: Network, rpc: Rpc, home: Path, order_hash: bytes, payer: str, status: str
) -> Dispute | None:
    """Read the dispute of an order from the escrow's logs; None if there was none."""
    names = ("DisputeOpened", "EvidenceSubmitted", "DisputeResolved", "DisputeDefaulted")
    topics = [[TOPICS[name] for name in names], "0x" + order_hash.hex()]
    logs = read_logs(rpc, network.escrow, topics, network.first_block)
    if not logs:
        return None
    remarks: list[Remark] = []
    deadline = to_payer = to_payee = 0
    outcome: Literal["open", "decided", "expired", "settled"] = (
        "open" if status == "disputed" else "settled"
    )
    for log in sorted(
        logs, key=lambda log: (int(log["blockNumber"], 16), int(log["logIndex"], 16))
    ):
        topic, words = log["topics"][0], words_of(bytes.fromhex(log["data"][2:]))
        block = int(log["blockNumber"], 16)
        if topic == TOPICS["DisputeOpened"]:
            deadline, said = words[0], log["topics"][2]
            remarks.append(Remark("complaint", payer, said, block, kept_text(home, said)))
        elif topic == TOPICS["EvidenceSubmitted"]:
            party, said = to_checksum("0x" + log["topics"][2][-40:]), log["topics"][3]
            remarks.append(Remark("evidence", party, said, block, kept_text(home, said)))
        elif topic == TOPICS["DisputeResolved"]:
            outcome, (to_payer, to_payee) = "decided", words
        else:
            outcome, to_payer = "expired", words[0]
    return Dispute(tuple(remarks), deadline, outcome, to_payer, to_payee)


def keep_statement(home: Path, statement: Statement) -> Path:
    """Write a statement's canonical form down, durably, under its hash; return the file."""
    folder = private_folder(home / "statements")
    path = folder / f"0x{statement.hash().hex()}.json"
    try:
        write_private(path, statement.canonical())
        sync_folder(folder)
    except FileExistsError:
        if path.read_bytes() != statement.canonical().encode():
            # A crash can leave half a file: it is not what its name says, so nothing is lost.
            path.unlink()
            return keep_statement(home, statement)
    return path


def kept_text(home: Path, hash_: str) -> str | None:
    """The text of a statement that is kept here under its hash (0x hex), if it is."""
    try:
        content = (home / "statements" / f"{hash_}.json").read_bytes()
    except FileNotFoundError:
        return None
    if "0x" + keccak(content).hex() != hash_:
        return None
    text = json.loads(content)["text"]
    return str(text)
