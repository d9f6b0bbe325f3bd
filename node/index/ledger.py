"""What a transfer of coin was, read from the other logs of its transaction.

The escrow says which transfers it makes (an event may come before its transfers or after them), the
credit book and the lender pool say what they did with whom, and the coin says what a transfer was
right after it (mint, redemption, seizure, memo), except for the nonce of an authorization, which
comes right before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.chain.codec import Event
from node.index.chain_reader import Contracts

ZERO_ADDRESS = "0x" + "00" * 20
NO_ORDER = "0x" + "00" * 32

# Payer and payee of an order.
Parties = tuple[str, str]


@dataclass(slots=True)
class Move:
    """One transfer, named."""

    event: Event
    kind: str
    ref: str | None


@dataclass(slots=True)
class _Announced:
    """A transfer the escrow makes. `other` pays it or is paid; None where that is not said."""

    kind: str
    ref: str | None
    other: str | None
    incoming: bool
    amount: int


def moves(
    events: Sequence[Event], contracts: Contracts, parties: Mapping[str, Parties]
) -> dict[int, Move]:
    """Name every transfer of coin among the events of one transaction.

    Args:
        parties: of the orders these events are of, as far as they were known before.

    Returns:
        The moves by log index.
    """
    found: dict[int, Move] = {}
    announced = _announced(events, contracts, parties)
    credit = [event for event in events if event.address in (contracts.book, contracts.pool)]
    nonce: tuple[str, str] | None = None  # authorizer and nonce, for its next transfer
    last: Move | None = None
    for event in events:
        if event.address != contracts.coin:
            continue
        args = event.args
        match event.name:
            case "Transfer":
                ref = nonce[1] if nonce is not None and nonce[0] == args["from"] else None
                last = found[event.log_index] = Move(event, "transfer", ref)
                nonce = None
                if contracts.escrow in (args["from"], args["to"]):
                    _name_escrowed(last, announced, contracts.escrow)
                elif credit:
                    last.kind = _credit_kind(args, credit, contracts)
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
    return found


# -------------------------------------------------------------------------------- the escrow


def _announced(
    events: Sequence[Event], contracts: Contracts, known: Mapping[str, Parties]
) -> list[_Announced]:
    """The transfers the escrow makes in a transaction, in the order of its events."""
    opened = {
        event.args["orderHash"]: (event.args["payer"], event.args["payee"])
        for event in events
        if event.name == "PurchaseAuthorized"
    }
    made: list[_Announced] = []
    credited: list[Event] = []
    for event in events:
        if event.address != contracts.escrow:
            continue
        args = event.args
        order: str | None = args.get("orderHash")
        payer, payee = opened.get(order or "") or known.get(order or "") or (None, None)
        match event.name:
            case "PurchaseAuthorized":
                made.append(_Announced("authorize", order, payer, True, args["amount"]))
            case "PurchaseReleased":
                made += [
                    _Announced("fee", order, None, False, args["fee"]),
                    _Announced("release", order, payee, False, args["paid"]),
                    _Announced("repayment", order, contracts.pool, False, args["repayment"]),
                ]
            case "PurchaseVoided":
                made.append(_Announced("void", order, payer, False, args["amount"]))
            case "PurchaseRefunded":
                made.append(_Announced("refund", order, payee, True, args["amount"]))
                made.append(_Announced("refund", order, payer, False, args["amount"]))
            case "PurchaseReclaimed":
                made.append(_Announced("reclaim", order, payer, False, args["amount"]))
            case "DisputeDefaulted":
                made.append(_Announced("void", order, payer, False, args["toPayer"]))
            case "ClaimableWithdrawn":
                made.append(_Announced("claim", None, args["account"], False, args["amount"]))
            case "ClaimableCredited":
                credited.append(event)
    made = [one for one in made if one.amount]
    for event in credited:  # its receiver could not take it: there is no transfer
        args = event.args
        _take(
            [one for one in made if one.ref == args["orderHash"]],
            made,
            (args["account"], False, args["amount"]),
        )
    return made


def _take(
    among: Sequence[_Announced], made: list[_Announced], which: tuple[str, bool, int]
) -> _Announced | None:
    """Remove and return the announced transfer with this other side, direction and amount."""
    other, incoming, amount = which
    fitting = [one for one in among if (one.incoming, one.amount) == (incoming, amount)]
    for wanted in (other, None):
        for one in fitting:
            if one.other == wanted:
                made.remove(one)
                return one
    return None


def _name_escrowed(move: Move, announced: list[_Announced], escrow: str) -> None:
    args = move.event.args
    incoming = args["to"] == escrow
    other = args["from"] if incoming else args["to"]
    one = _take(announced, announced, (other, incoming, args["value"]))
    if one is not None:
        move.kind, move.ref = one.kind, one.ref


# ------------------------------------------------------------------- credit book, lender pool


def _credit_kind(  # noqa: PLR0911 (one rule a line)
    args: Mapping[str, object], events: Sequence[Event], contracts: Contracts
) -> str:
    """What a transfer was in a transaction in which the credit book or the pool said something."""
    sender, receiver, value = args["from"], args["to"], args["value"]
    book, pool = contracts.book, contracts.pool

    def said(name: str, **wanted: object) -> bool:
        return any(
            event.name == name and all(event.args[key] == value for key, value in wanted.items())
            for event in events
        )

    if book not in (sender, receiver) and pool not in (sender, receiver):
        return "transfer"
    if sender == book and said("LineChargedOff", fromReserve=value):
        return "loss_cover"
    if sender == pool and said("Drawn", seller=receiver, amount=value):
        return "draw"
    if sender == pool and said("Withdraw", receiver=receiver, assets=value):
        return "pool_withdrawal"
    if receiver == pool and said("Deposit", sender=sender, assets=value):
        return "pool_deposit"
    if receiver == book and said("ReserveFunded", **{"from": sender, "amount": value}):
        return "reserve"
    if sender == book and said("ReserveWithdrawn", to=receiver, amount=value):
        return "reserve"
    # A payment, which may pass through the book, and what of it was not owed coming back.
    payer = receiver if sender == book and receiver != pool else sender
    if payer == book or (sender == pool and receiver == book):
        return "recovery" if said("Recovered") else "repayment"
    if said("Recovered", payer=payer):
        return "recovery"
    return "repayment" if said("Repaid", payer=payer) else "transfer"


def _name(move: Move | None, kind: str, ref: str, parts: tuple[str, str, int]) -> None:
    """The coin speaks of the transfer just before; anything else is no log of this coin."""
    args = {} if move is None else move.event.args
    if move is None or (args["from"], args["to"], args["value"]) != parts:
        raise ValueError(f"a {kind} of {parts} follows no such transfer, but {args}")
    move.kind, move.ref = kind, ref
