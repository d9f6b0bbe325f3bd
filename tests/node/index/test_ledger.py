"""Transfers get their names from the other logs of their transaction, whatever their order."""

from __future__ import annotations

from typing import Any

import pytest

from node.chain.codec import Event
from node.index.chain_reader import Contracts
from node.index.ledger import NO_ORDER, moves

COIN, ESCROW, BOOK, POOL = ("0x" + digit * 40 for digit in "abcd")
CONTRACTS = Contracts(COIN, ESCROW, BOOK, POOL)
BUYER, SELLER, FEES, LENDER = ("0x" + digit * 40 for digit in "1234")
ORDER, OTHER = "0x" + "01" * 32, "0x" + "02" * 32
PARTIES = {ORDER: (BUYER, SELLER), OTHER: (BUYER, LENDER)}


def named(*logs: tuple[str, str, dict[str, Any]]) -> list[tuple[str, str | None]]:
    """Kind and reference of each transfer of coin among logs (contract, event, arguments)."""
    events = [
        Event(name, args, address, 1, "0x0", "0x1", 0, index)
        for index, (address, name, args) in enumerate(logs)
    ]
    return [(move.kind, move.ref) for _, move in sorted(moves(events, CONTRACTS, PARTIES).items())]


def sent(sender: str, to: str, value: int) -> tuple[str, str, dict[str, Any]]:
    return COIN, "Transfer", {"from": sender, "to": to, "value": value}


def released(order: str, fee: int, repayment: int, paid: int) -> tuple[str, str, dict[str, Any]]:
    amounts = {"amount": fee + repayment + paid, "fee": fee, "repayment": repayment, "paid": paid}
    return ESCROW, "PurchaseReleased", {"orderHash": order, **amounts}


def credited(account: str, amount: int) -> tuple[str, str, dict[str, Any]]:
    args = {"account": account, "orderHash": ORDER, "amount": amount}
    return ESCROW, "ClaimableCredited", args


def test_a_release_is_fee_holdback_and_pay() -> None:
    assert named(
        released(ORDER, 2, 3, 5),
        sent(ESCROW, FEES, 2),
        sent(ESCROW, SELLER, 5),
        sent(ESCROW, POOL, 3),
    ) == [("fee", ORDER), ("release", ORDER), ("repayment", ORDER)]


def test_equal_parts_are_told_apart_by_who_gets_them() -> None:
    assert named(
        released(ORDER, 5, 5, 5),
        sent(ESCROW, POOL, 5),
        sent(ESCROW, SELLER, 5),
        sent(ESCROW, FEES, 5),
    ) == [("repayment", ORDER), ("release", ORDER), ("fee", ORDER)]


@pytest.mark.parametrize("frozen", [FEES, SELLER])
def test_a_part_that_waits_to_be_claimed_is_not_taken_for_the_other(frozen: str) -> None:
    """Fee and pay are equal, and one of the two cannot be paid out."""
    paid = SELLER if frozen == FEES else FEES
    kind = "release" if frozen == FEES else "fee"
    assert named(released(ORDER, 5, 0, 5), sent(ESCROW, paid, 5), credited(frozen, 5)) == [
        (kind, ORDER)
    ]


def test_a_decided_dispute_pays_back_and_out() -> None:
    assert named(
        (ESCROW, "PurchaseVoided", {"orderHash": ORDER, "amount": 4}),
        released(ORDER, 1, 0, 5),
        sent(ESCROW, FEES, 1),
        sent(ESCROW, SELLER, 5),
        sent(ESCROW, BUYER, 4),
    ) == [("fee", ORDER), ("release", ORDER), ("void", ORDER)]


def test_releases_of_one_batch_keep_their_orders() -> None:
    assert named(
        released(ORDER, 0, 0, 7),
        sent(ESCROW, SELLER, 7),
        released(OTHER, 0, 0, 7),
        sent(ESCROW, LENDER, 7),
    ) == [("release", ORDER), ("release", OTHER)]


def repaid(payer: str, order: str = NO_ORDER) -> tuple[str, str, dict[str, Any]]:
    return BOOK, "Repaid", {"seller": SELLER, "payer": payer, "orderHash": order}


def recovered(payer: str) -> tuple[str, str, dict[str, Any]]:
    return BOOK, "Recovered", {"seller": SELLER, "payer": payer, "orderHash": NO_ORDER}


@pytest.mark.parametrize(
    ("logs", "kinds"),
    [
        (
            [(BOOK, "Drawn", {"seller": SELLER, "amount": 9}), sent(POOL, SELLER, 9)],
            ["draw"],
        ),
        ([repaid(SELLER), sent(SELLER, POOL, 9)], ["repayment"]),
        (  # by authorization: through the book, and the rest back
            [
                sent(SELLER, BOOK, 9),
                repaid(SELLER),
                sent(BOOK, POOL, 7),
                sent(BOOK, SELLER, 2),
            ],
            ["repayment", "repayment", "repayment"],
        ),
        (
            [recovered(SELLER), sent(SELLER, POOL, 9), sent(SELLER, BOOK, 2)],
            ["recovery", "recovery"],
        ),
        (
            [
                recovered(ESCROW),
                sent(POOL, BOOK, 3),
                released(ORDER, 0, 3, 7),
                sent(ESCROW, SELLER, 7),
                sent(ESCROW, POOL, 3),
            ],
            ["recovery", "release", "repayment"],
        ),
        (
            [(BOOK, "LineChargedOff", {"seller": SELLER, "fromReserve": 4}), sent(BOOK, POOL, 4)],
            ["loss_cover"],
        ),
        (
            [
                sent(LENDER, POOL, 8),
                (POOL, "Transfer", {"from": LENDER, "to": BUYER, "value": 8}),  # of shares
                (POOL, "Deposit", {"sender": LENDER, "owner": LENDER, "assets": 8, "shares": 80}),
            ],
            ["pool_deposit"],
        ),
        (
            [
                sent(POOL, LENDER, 8),
                (POOL, "Withdraw", {"receiver": LENDER, "owner": LENDER, "assets": 8}),
            ],
            ["pool_withdrawal"],
        ),
        ([(BOOK, "ReserveFunded", {"from": FEES, "amount": 6}), sent(FEES, BOOK, 6)], ["reserve"]),
        (
            [(BOOK, "ReserveWithdrawn", {"to": FEES, "amount": 6}), sent(BOOK, FEES, 6)],
            ["reserve"],
        ),
        ([sent(SELLER, POOL, 9)], ["transfer"]),  # a gift: the pool says nothing
        ([sent(SELLER, BOOK, 9)], ["transfer"]),
        (
            [repaid(SELLER), sent(SELLER, POOL, 9), sent(BUYER, LENDER, 1)],
            ["repayment", "transfer"],
        ),
    ],
)
def test_what_book_and_pool_say_names_their_transfers(logs: Any, kinds: list[str]) -> None:
    assert [kind for kind, _ in named(*logs)] == kinds


def test_a_transfer_nobody_announced_is_a_gift() -> None:
    assert named(sent(BUYER, ESCROW, 5)) == [("transfer", None)]
