"""What each operation costs, pinned: gas does not depend on the machine.

Existing accounts and cold slots, each operation a transaction of its own; the escrow and the fee
receiver have coin before. A change by more than 1 % is either a regression or worth writing down.
"""

import pytest
from eth_utils import keccak

from tests.contracts.conftest import BALANCE
from tests.contracts.escrow import AMOUNT, FOREVER, MAX_FEE_BPS

REF = keccak(text="refund 1")
GAS = {
    "authorize": 75_965,
    "authorizeWithSignature": 103_757,
    "charge": 122_451,
    "confirmDelivery": 32_685,
    "release": 61_529,
    "void": 51_321,
    "refund": 59_784,
    "refundWithSignature": 88_931,
    "reclaim": 50_668,
}


def prepared(market, operation):
    """(caller, arguments) of one operation that will succeed."""
    accounts = market.accounts
    # Nobody's balance, nor the escrow's, goes from or to zero in what is measured.
    market.authorized(BALANCE // 10, maxAmount=BALANCE, orderRef=keccak(text="kept"))
    market.released(orderRef=keccak(text="released before"))
    market.approve(accounts.buyer, FOREVER)
    market.approve(accounts.seller, FOREVER)
    caller, terms, args = accounts.operator, market.terms(), ()
    match operation:
        case "authorize":
            caller, args = accounts.buyer, (AMOUNT,)
        case "authorizeWithSignature":
            args = (AMOUNT, *market.payment(terms, AMOUNT))
        case "charge":
            terms = market.terms(disputeWindow=0)
            args = (AMOUNT, MAX_FEE_BPS, *market.payment(terms, AMOUNT))
        case "confirmDelivery":
            terms = market.authorized()
        case "release":
            terms, args = market.releasable(), (AMOUNT, MAX_FEE_BPS)
        case "void":
            terms, args = market.authorized(), (AMOUNT,)
        case "refund":
            caller, terms, args = accounts.seller, market.released(), (AMOUNT // 2, REF)
        case "refundWithSignature":
            terms = market.released()
            args = (AMOUNT // 2, REF, *market.signed_refund(terms, AMOUNT // 2, REF))
        case "reclaim":
            caller, terms = accounts.buyer, market.authorized()
            market.chain.travel_to(terms.reclaimAfter)
    return caller, (terms, *args)


@pytest.mark.parametrize("operation", GAS)
def test_an_operation_costs_what_it_did(market, operation):
    caller, args = prepared(market, operation)
    used = market.send(caller, operation, *args).gas_used
    assert used == pytest.approx(GAS[operation], rel=0.01)
