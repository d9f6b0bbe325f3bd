"""What a transfer of coin was, read from the other logs of its transaction.

The escrow says what it is about to do before coin moves, one order after the other; so each of its
events announces the transfers that follow it, in order. The coin says what a transfer was right
after it (mint, redemption, seizure, memo), except for the nonce of an authorization, which comes
right before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from node.chain.codec import Event

ZERO_ADDRESS = "0x" + "00" * 20


@dataclass(slots=True)
class Move:
    """One transfer, named."""

    event: Event
    kind: str
    ref: str | None


def moves(  # noqa: PLR0912 (one case per event)
    events: Sequence[Event], escrow: str
) -> dict[int, Move]:
    """Name every transfer among the events of one transaction.

    Returns:
        The moves by log index.
    """
    found: dict[int, Move] = {}
    # (kind, order hash, whether the escrow receives, amount) of transfers announced.
    announced: deque[tuple[str, str | None, bool, int]] = deque()
    nonce: tuple[str, str] | None = None  # authorizer and nonce, for its next transfer
    last: Move | None = None
    for event in events:
        args = event.args
        match event.name:
            case "Transfer":
                kind, ref = "transfer", None
                incoming = args["to"] == escrow
                if (
                    announced
                    and escrow in (args["from"], args["to"])
                    and announced[0][2:] == (incoming, args["value"])
                ):
                    kind, ref, _, _ = announced.popleft()
                elif nonce is not None and nonce[0] == args["from"]:
                    ref = nonce[1]
                nonce = None
                last = found[event.log_index] = Move(event, kind, ref)
            case "AuthorizationUsed":
                nonce = (args["authorizer"], args["nonce"])
            case "Minted":
                _name(last, "topup", args["ref"], (ZERO_ADDRESS, args["to"], args["amount"]))
            case "Redeemed":
                parts = (args["account"], ZERO_ADDRESS, args["amount"])
                _name(last, "redemption", args["ref"], parts)
            case "Seized":
                _name(last, "seizure", args["ref"], (args["from"], args["to"], args["amount"]))
            case "TransferMemo":
                _name(last, "transfer", args["memo"], (args["from"], args["to"], args["amount"]))
            case "PurchaseAuthorized":
                announced.append(("authorize", args["orderHash"], True, args["amount"]))
            case "PurchaseReleased":
                for kind, amount in (("fee", args["fee"]), ("release", args["paid"])):
                    if amount:
                        announced.append((kind, args["orderHash"], False, amount))
            case "PurchaseVoided":
                announced.append(("void", args["orderHash"], False, args["amount"]))
            case "PurchaseRefunded":
                announced.append(("refund", args["orderHash"], True, args["amount"]))
                announced.append(("refund", args["orderHash"], False, args["amount"]))
            case "PurchaseReclaimed":
                announced.append(("reclaim", args["orderHash"], False, args["amount"]))
            case "ClaimableCredited":
                announced.popleft()  # its receiver could not take it: no transfer follows
            case "ClaimableWithdrawn":
                announced.append(("claim", None, False, args["amount"]))
    return found


def _name(move: Move | None, kind: str, ref: str, parts: tuple[str, str, int]) -> None:
    """The coin speaks of the transfer just before; anything else is no log of this coin."""
    args = {} if move is None else move.event.args
    if move is None or (args["from"], args["to"], args["value"]) != parts:
        raise ValueError(f"a {kind} of {parts} follows no such transfer, but {args}")
    move.kind, move.ref = kind, ref
