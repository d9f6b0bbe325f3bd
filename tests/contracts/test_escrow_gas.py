"""What each operation costs, pinned: gas does not depend on the machine.

Existing accounts and cold slots, each operation a transaction of its own; the escrow and the fee
receiver have coin before. A change by more than 1 % is either a regression or worth writing down.
"""

import pytest
from eth_utils import keccak, to_checksum_address

from tests.contracts.conftest import BALANCE, MEMBER_UNTIL, SELLER
from tests.contracts.escrow import AMOUNT, COMPLAINT, FOREVER, MAX_FEE_BPS, Market

REF = keccak(text="refund 1")
GAS = {
    "authorize": 75_297,
    "authorizeWithSignature": 83_441,
    "charge": 100_381,
    "confirmDelivery": 32_410,
    "release": 59_827,
    "releaseWithSignature": 91_707,
    "void": 51_711,
    "voidWithSignature": 82_838,
    "refund": 59_599,
    "refundWithSignature": 89_011,
    "reclaim": 50_475,
    "reclaimWithSignature": 82_199,
    "dispute": 33_507,
    "submitEvidence": 30_411,
    "resolve": 86_701,
    "expireDispute": 51_170,
    "claim": 41_916,
}
# In a batch of 10, per item: a tenth of the transaction.
GAS_PER_ITEM = {
    "authorizeMany": 53_100,
    "releaseMany": 24_490,
    "releaseMany, of ten sellers": 28_811,
    "releaseManyWithSignatures": 55_519,
    "releaseManyWithSignatures, of ten sellers": 59_838,
}
# A release whose credit book (of a few lines: what the escrow itself adds) takes a half.
GAS_WITH_REPAYMENT = 72_522


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
        case "releaseWithSignature":
            terms = market.releasable()
            args = (AMOUNT, *market.intent(accounts.buyer, "Release", terms, amount=AMOUNT))
        case "voidWithSignature":
            terms = market.authorized()
            args = (AMOUNT, *market.intent(accounts.seller, "Void", terms, amount=AMOUNT))
        case "reclaimWithSignature":
            terms = market.authorized()
            args = market.intent(accounts.buyer, "Reclaim", terms)
            market.chain.travel_to(terms.reclaimAfter)
        case "dispute":
            caller, terms, args = accounts.buyer, market.delivered(), (COMPLAINT,)
        case "submitEvidence":
            caller, terms, args = accounts.buyer, market.disputed(), (COMPLAINT,)
        case "resolve":
            caller, terms = accounts.arbiter, market.disputed()
            args = (AMOUNT // 2, MAX_FEE_BPS, REF)
        case "expireDispute":
            terms = market.disputed()
            market.chain.travel_to(market.order(terms).deadline)
        case "claim":
            market.freeze(accounts.seller)
            market.released(orderRef=keccak(text="released to a frozen seller"))
            market.unfreeze(accounts.seller)
            return caller, (accounts.seller.address,)
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


def batch(market, operation, count):
    """The items of a batch that will all succeed."""
    name, _, of = operation.partition(", ")
    orders = []
    for number in range(count):
        changes = {"orderRef": keccak(text=f"{operation} {number}")}
        if of:
            # Members that hold coin already.
            changes["payee"] = to_checksum_address("0x" + f"{number + 10:02x}" * 20)
            admit = market.coin.functions.admit(changes["payee"], SELLER, MEMBER_UNTIL)
            market.chain.send(admit, by=market.accounts.operator)
            fund = market.coin.functions.transfer(changes["payee"], AMOUNT)
            market.chain.send(fund, by=market.accounts.seller)
        orders.append(changes)
    if name == "authorizeMany":
        purchases = [market.terms(**changes) for changes in orders]
        return name, [(tuple(terms), AMOUNT, *market.payment(terms, AMOUNT)) for terms in purchases]
    if name == "releaseManyWithSignatures":
        # A key of its own each, as the bridge signs: none waits for another.
        held = [market.authorized(**changes) for changes in orders]
        payer, signed = market.accounts.buyer, {"amount": AMOUNT}
        intents = [
            market.intent(payer, "Release", terms, nonce=key << 64, **signed)
            for key, terms in enumerate(held, start=1)
        ]
        return name, [
            (tuple(terms), AMOUNT, *intent) for terms, intent in zip(held, intents, strict=True)
        ]
    released = [market.releasable(**changes) for changes in orders]
    return name, [(tuple(terms), AMOUNT, MAX_FEE_BPS) for terms in released]


@pytest.mark.parametrize("operation", GAS_PER_ITEM)
def test_an_item_of_a_batch_of_ten_costs_what_it_did(market, accounts, operation):
    market.authorized(BALANCE // 10, maxAmount=BALANCE, orderRef=keccak(text="kept"))
    market.released(orderRef=keccak(text="released before"))
    name, items = batch(market, operation, 10)
    receipt = market.send(accounts.operator, name, items)
    assert receipt.events(market.escrow, "BatchItemFailed") == []
    assert receipt.gas_used / 10 == pytest.approx(GAS_PER_ITEM[operation], rel=0.01)


def test_a_release_with_a_repayment_costs_what_it_did(
    platform, chain, coin, accounts, test_contracts
):
    lender = accounts.lender
    chain.send(coin.functions.transfer(lender.address, AMOUNT), by=accounts.buyer)
    hook = chain.deploy(test_contracts["TestSaleHook"], lender.address, by=accounts.admin)
    market = Market(chain, accounts, coin, platform.deploy_escrow(hook.address))
    caller, arguments = prepared(market, "release")
    receipt = market.send(caller, "release", *arguments)
    assert receipt.event(market.escrow, "PurchaseReleased")["repayment"] > 0
    assert receipt.gas_used == pytest.approx(GAS_WITH_REPAYMENT, rel=0.01)


def test_a_whole_purchase_costs_no_more_than_its_parts(market, accounts):
    """Authorized by signature, released by the payer: two transactions."""
    prepared(market, "void")
    terms = market.terms(orderRef=keccak(text="measured"))
    payment = market.payment(terms, AMOUNT)
    authorized = market.send(accounts.operator, "authorizeWithSignature", terms, AMOUNT, *payment)
    released = market.send(accounts.buyer, "release", terms, AMOUNT, MAX_FEE_BPS)
    total = authorized.gas_used + released.gas_used
    assert total <= (GAS["authorizeWithSignature"] + GAS["release"]) * 1.01
