"""The credit book told of each sale: its share, and that nothing it does can stop the purchase."""

from enum import IntEnum

import pytest
from eth_abi import decode
from eth_utils import function_signature_to_4byte_selector, keccak

from tests.contracts.chain import ZERO_ADDRESS, Reverted
from tests.contracts.conftest import BUYER, MEMBER_UNTIL, SELLER
from tests.contracts.escrow import AMOUNT, CLOSED, FOREVER, MAX_FEE_BPS, Market

FEE = AMOUNT * MAX_FEE_BPS // 10_000
NET = AMOUNT - FEE
DECISION = keccak(text="decision 1")
REF = keccak(text="refund 1")
GAS_BEFORE_HOOK = 310_000


class Does(IntEnum):
    """What the credit book does, as TestSaleHook numbers it."""

    REPAY = 0
    ANSWER_NOTHING = 1
    ANSWER_ALL = 2
    ANSWER_MORE = 3
    ANSWER_TWO_WORDS = 4
    ANSWER_HALF_A_WORD = 5
    ANSWER_NO_WORD = 6
    ANSWER_AT_LENGTH = 7
    FAIL = 8
    FAIL_AT_LENGTH = 9
    PANIC = 10
    BURN_ALL_GAS = 11
    REENTER = 12
    LOOK_AROUND = 13
    NEED_ALL_ITS_GAS = 14


BROKEN = [
    Does.ANSWER_MORE,
    Does.ANSWER_TWO_WORDS,
    Does.ANSWER_HALF_A_WORD,
    Does.ANSWER_NO_WORD,
    Does.ANSWER_AT_LENGTH,
    Does.FAIL,
    Does.FAIL_AT_LENGTH,
    Does.PANIC,
    Does.BURN_ALL_GAS,
    Does.REENTER,
]


class LendingMarket(Market):
    """A market whose escrow tells a credit book; `lender` is the collector of repayments."""

    hook = None

    def book_does(self, behaviour, call=None):
        functions = self.hook.functions
        if call is not None:
            aim = functions.aim(self.escrow.address, call._encode_transaction_data())
            self.chain.send(aim, by=self.accounts.stranger)
        self.chain.send(functions.behave(behaviour), by=self.accounts.stranger)


@pytest.fixture
def lending(platform, chain, coin, accounts, test_contracts):
    """Deploys such a market for a given collector."""

    def deploy(collector=accounts.lender.address):
        hook = chain.deploy(test_contracts["TestSaleHook"], collector, by=accounts.stranger)
        market = LendingMarket(chain, accounts, coin, platform.deploy_escrow(hook.address))
        object.__setattr__(market, "hook", hook)
        return market

    return deploy


@pytest.fixture
def market(lending):
    return lending()


def release(market, terms, by="operator"):
    return market.send(getattr(market.accounts, by), "release", terms, AMOUNT, MAX_FEE_BPS)


def signed_release(market, terms, key=0, signer=None):
    """An item of releaseManyWithSignatures: all of it, by an intent of that key."""
    signed = {"amount": AMOUNT, "nonce": key << 64}
    intent = market.intent(signer or market.accounts.buyer, "Release", terms, **signed)
    return tuple(terms), AMOUNT, *intent


# ------------------------------------------------------------------------------ repayment


def test_the_books_share_goes_to_its_collector(market):
    terms = market.releasable()
    share = NET // 2
    with market.moves(escrow=-AMOUNT, fee_receiver=FEE, lender=share, seller=NET - share):
        receipt = release(market, terms)
    assert receipt.event(market.escrow, "PurchaseReleased") == {
        "orderHash": market.hash(terms),
        "amount": AMOUNT,
        "fee": FEE,
        "repayment": share,
        "paid": NET - share,
    }
    assert receipt.events(market.escrow, "SaleHookFailed") == []


def test_the_book_may_take_nothing_or_all_of_the_net(market):
    for number, (behaviour, share) in enumerate([(Does.ANSWER_NOTHING, 0), (Does.ANSWER_ALL, NET)]):
        terms = market.releasable(orderRef=number.to_bytes(32))
        market.book_does(behaviour)
        parts = {"fee_receiver": FEE, "lender": share, "seller": NET - share}
        with market.moves(escrow=-AMOUNT, **{name: part for name, part in parts.items() if part}):
            receipt = release(market, terms)
        assert receipt.events(market.escrow, "SaleHookFailed") == []


@pytest.mark.parametrize("amount", [1, 2, 3, 39, 40, 41, 12_345_679])
def test_fee_repayment_and_paid_are_the_amount_to_the_unit(market, accounts, amount):
    terms = market.authorized(amount)
    receipt = market.send(accounts.buyer, "release", terms, amount, MAX_FEE_BPS)
    split = receipt.event(market.escrow, "PurchaseReleased")
    assert split["fee"] == amount * MAX_FEE_BPS // 10_000
    assert split["repayment"] == (amount - split["fee"]) // 2
    assert split["fee"] + split["repayment"] + split["paid"] == amount


def test_the_book_is_not_asked_about_a_sale_of_nothing(market, accounts):
    market.book_does(Does.FAIL)
    terms = market.authorized(minFeeBps=10_000, maxFeeBps=10_000)
    with market.moves(escrow=-AMOUNT, fee_receiver=AMOUNT):
        receipt = market.send(accounts.buyer, "release", terms, AMOUNT, 10_000)
    assert receipt.events(market.escrow, "SaleHookFailed") == []


def test_every_way_to_pay_the_seller_tells_the_book(market, accounts):
    share = NET // 2
    parts = {"fee_receiver": FEE, "lender": share, "seller": NET - share}
    terms = market.terms(disputeWindow=0, orderRef=b"\1" * 32)
    with market.moves(buyer=-AMOUNT, **parts):
        payment = market.payment(terms, AMOUNT)
        market.send(accounts.operator, "charge", terms, AMOUNT, MAX_FEE_BPS, *payment)
    terms = market.authorized(orderRef=b"\2" * 32)
    with market.moves(escrow=-AMOUNT, **parts):
        intent = market.intent(accounts.buyer, "Release", terms, amount=AMOUNT)
        market.send(accounts.stranger, "releaseWithSignature", terms, AMOUNT, *intent)
    terms = market.disputed(orderRef=b"\3" * 32)
    with market.moves(escrow=-AMOUNT, **parts):
        market.send(accounts.arbiter, "resolve", terms, 0, MAX_FEE_BPS, DECISION)
    terms = market.releasable(orderRef=b"\4" * 32)
    with market.moves(escrow=-AMOUNT, **parts):
        market.send(accounts.stranger, "releaseMany", [(tuple(terms), AMOUNT, MAX_FEE_BPS)])
    terms = market.authorized(orderRef=b"\5" * 32)
    with market.moves(escrow=-AMOUNT, **parts):
        items = [signed_release(market, terms, key=1)]
        market.send(accounts.stranger, "releaseManyWithSignatures", items)


# ----------------------------------------------------------- nothing stops a purchase


@pytest.fixture(params=BROKEN, ids=lambda behaviour: behaviour.name.lower())
def broken(request, market, chain, accounts):
    """A market whose credit book is broken in one of all ways."""
    chain.send(market.coin.functions.approve(market.escrow.address, FOREVER), by=accounts.seller)
    market.book_does(request.param, market.function("claim", accounts.lender.address))
    return market


def test_a_broken_book_leaves_the_seller_paid_in_full(broken, accounts):
    terms = broken.releasable()
    with broken.moves(escrow=-AMOUNT, fee_receiver=FEE, seller=NET):
        receipt = release(broken, terms)
    assert receipt.event(broken.escrow, "SaleHookFailed") == {"orderHash": broken.hash(terms)}
    assert receipt.event(broken.escrow, "PurchaseReleased")["repayment"] == 0
    assert broken.order(terms).status == CLOSED


def test_a_broken_book_stops_neither_charge_nor_refund(broken, accounts):
    terms = broken.terms(disputeWindow=0)
    with broken.moves(buyer=-AMOUNT, fee_receiver=FEE, seller=NET):
        payment = broken.payment(terms, AMOUNT)
        broken.send(accounts.operator, "charge", terms, AMOUNT, MAX_FEE_BPS, *payment)
    with broken.moves(buyer=AMOUNT, seller=-AMOUNT):
        broken.send(accounts.seller, "refund", terms, AMOUNT, REF)


def test_a_broken_book_stops_neither_void_nor_reclaim(broken, chain, accounts):
    terms = broken.authorized()
    with broken.moves(escrow=-1, buyer=1):
        broken.send(accounts.operator, "void", terms, 1)
    chain.travel_to(terms.reclaimAfter)
    with broken.moves(escrow=1 - AMOUNT, buyer=AMOUNT - 1):
        broken.send(accounts.buyer, "reclaim", terms)


def test_a_broken_book_stops_no_decision_of_a_dispute(broken, chain, accounts):
    terms = broken.disputed()
    half = AMOUNT // 2
    fee = half * MAX_FEE_BPS // 10_000
    with broken.moves(escrow=-AMOUNT, buyer=half, fee_receiver=fee, seller=half - fee):
        receipt = broken.send(accounts.arbiter, "resolve", terms, half, MAX_FEE_BPS, DECISION)
    assert receipt.event(broken.escrow, "SaleHookFailed") == {"orderHash": broken.hash(terms)}
    undecided = broken.disputed(orderRef=b"\1" * 32)
    chain.travel_to(broken.order(undecided).deadline)
    with broken.moves(escrow=-AMOUNT, buyer=AMOUNT):
        broken.send(accounts.stranger, "expireDispute", undecided)


# ------------------------------------------------------------------------- reentrancy


def test_the_book_can_enter_no_operation_while_it_is_told_of_a_sale(market, chain, accounts):
    """Else one release could be counted twice: reentrancy through a collector of the caller's."""
    other = market.releasable(orderRef=b"\1" * 32)
    terms = market.releasable()
    payment = market.payment(market.terms(orderRef=b"\2" * 32), AMOUNT)
    attacks = {
        "release": (terms, AMOUNT, MAX_FEE_BPS),
        "void": (other, AMOUNT),
        "authorizeWithSignature": (market.terms(orderRef=b"\2" * 32), AMOUNT, *payment),
        "claim": (accounts.seller.address,),
        "expireDispute": (other,),
        "releaseMany": ([(tuple(other), AMOUNT, MAX_FEE_BPS)],),
        "releaseManyWithSignatures": ([signed_release(market, other)],),
        "authorizeMany": ([],),
    }
    start = chain.snapshot()
    for name, arguments in attacks.items():
        market.book_does(Does.LOOK_AROUND, market.function(name, *arguments))
        release(market, terms)
        assert not chain.call(market.hook.functions.succeeded())
        expected = function_signature_to_4byte_selector("ReentrancyGuardReentrantCall()")
        assert chain.call(market.hook.functions.answer()) == expected
        chain.revert_to(start)


@pytest.mark.parametrize("batch", ["releaseMany", "releaseManyWithSignatures"])
@pytest.mark.parametrize(
    "item", ["releaseBatchItem", "releaseSignedBatchItem", "authorizeBatchItem"]
)
def test_the_book_cannot_enter_the_items_of_a_batch(market, chain, accounts, item, batch):
    other = market.releasable(orderRef=b"\1" * 32)
    fresh = market.terms(orderRef=b"\2" * 32)
    arguments = {
        "releaseBatchItem": ((tuple(other), AMOUNT, MAX_FEE_BPS), accounts.operator.address),
        "releaseSignedBatchItem": (signed_release(market, other, key=1),),
        "authorizeBatchItem": ((tuple(fresh), AMOUNT, *market.payment(fresh, AMOUNT)),),
    }[item]
    terms = market.releasable()
    market.book_does(Does.LOOK_AROUND, market.function(item, *arguments))
    plain, signed = (tuple(terms), AMOUNT, MAX_FEE_BPS), signed_release(market, terms)
    market.send(accounts.operator, batch, [plain if batch == "releaseMany" else signed])
    assert market.order(terms).status == CLOSED
    answer = chain.call(market.hook.functions.answer())
    assert answer[:4] == function_signature_to_4byte_selector("NotAllowed(address)")
    assert market.order(other).held == AMOUNT


def test_the_order_is_written_before_the_book_is_told(market, chain):
    terms = market.releasable()
    market.book_does(Does.LOOK_AROUND, market.function("orderOf", market.hash(terms)))
    release(market, terms)
    seen = chain.call(market.hook.functions.answer())
    held, refundable, _, status = decode(["uint96", "uint96", "uint40", "uint8"], seen)
    assert (held, refundable, status) == (0, AMOUNT, CLOSED)


# ------------------------------------------------------------------------------- gas


def test_no_amount_of_gas_keeps_the_book_short(market, chain):
    """The release reverts, or the book had all that it is promised."""
    market.book_does(Does.NEED_ALL_ITS_GAS)
    terms = market.releasable()
    call = market.function("release", terms, AMOUNT, MAX_FEE_BPS)
    start, ends = chain.snapshot(), []
    for gas in range(340_000, 440_000, 2_500):
        try:
            receipt = chain.send(call, by=market.accounts.stranger, gas=gas)
            failed = receipt.events(market.escrow, "SaleHookFailed")
            ends.append("SaleHookFailed" if failed else "released")
        except Reverted as reverted:
            ends.append(reverted.name or "out of gas")
        chain.revert_to(start)
    assert "InsufficientGas" in ends
    assert "released" in ends
    assert "SaleHookFailed" not in ends


def test_too_little_gas_for_the_book_reverts_with_what_is_needed(market, chain, accounts):
    terms = market.releasable()
    call = market.function("release", terms, AMOUNT, MAX_FEE_BPS)
    with pytest.raises(Exception, match="InsufficientGas") as raised:
        chain.send(call, by=accounts.stranger, gas=300_000)
    arguments = raised.value.arguments
    assert arguments["needed"] == GAS_BEFORE_HOOK
    assert arguments["left"] < GAS_BEFORE_HOOK
    assert market.order(terms).held == AMOUNT


def test_a_batch_short_of_gas_reports_the_item_and_does_not_starve_the_book(
    market, chain, accounts
):
    market.book_does(Does.NEED_ALL_ITS_GAS)
    first, second = (market.releasable(orderRef=bytes([number]) * 32) for number in (1, 2))
    items = [(tuple(terms), AMOUNT, MAX_FEE_BPS) for terms in (first, second)]
    call = market.function("releaseMany", items)
    receipt = chain.send(call, by=accounts.operator, gas=385_000)
    failed = receipt.event(market.escrow, "BatchItemFailed")
    assert (failed["index"], failed["orderHash"]) == (1, market.hash(second))
    expected = function_signature_to_4byte_selector("InsufficientGas(uint256,uint256)")
    assert failed["reason"][:4] == expected
    assert receipt.events(market.escrow, "SaleHookFailed") == []
    assert (market.order(first).held, market.order(second).held) == (0, AMOUNT)


def refusals(market, receipt):
    """(index, selector of the error) of each failed item of a batch."""
    events = receipt.events(market.escrow, "BatchItemFailed")
    return [(event["index"], event["reason"][:4]) for event in events]


def test_no_amount_of_gas_keeps_the_book_short_of_a_signed_release_in_a_batch(market, chain):
    """Each item fails, keeping its nonce, or the book had all that it is promised."""
    market.book_does(Does.NEED_ALL_ITS_GAS)
    orders = [market.authorized(orderRef=bytes([number]) * 32) for number in range(2)]
    items = [signed_release(market, terms, key) for key, terms in enumerate(orders)]
    call = market.function("releaseManyWithSignatures", items)
    nonces = market.escrow.functions["nonces(address,uint192)"]
    short = function_signature_to_4byte_selector("InsufficientGas(uint256,uint256)")
    start, ends = chain.snapshot(), set()
    for gas in range(340_000, 520_000, 2_500):
        try:
            receipt = chain.send(call, by=market.accounts.stranger, gas=gas)
            assert receipt.events(market.escrow, "SaleHookFailed") == []
            failed = refusals(market, receipt)
            assert {reason for _, reason in failed} <= {short}
            ends.add(tuple(index for index, _ in failed))
            for key, terms in enumerate(orders):
                left = AMOUNT if (key, short) in failed else 0
                used = chain.call(nonces(market.accounts.buyer.address, key)) - (key << 64)
                assert (market.order(terms).held, used) == (left, int(left == 0))
        except Reverted as reverted:
            ends.add(reverted.name or "out of gas")
        chain.revert_to(start)
    assert {(0, 1), (1,), ()} <= ends


@pytest.fixture
def wallet(market, chain, accounts, test_contracts):
    """A contract account (EIP-1271) with coin, whose check takes much gas."""
    wallet = chain.deploy(test_contracts["SlowWallet"], by=accounts.admin)
    admit = market.coin.functions.admit(wallet.address, BUYER, MEMBER_UNTIL)
    chain.send(admit, by=accounts.operator)
    chain.send(market.coin.functions.transfer(wallet.address, AMOUNT), by=accounts.buyer)
    return wallet.address


def test_a_contract_account_short_of_gas_in_a_batch_is_not_taken_for_one_that_refuses(
    market, chain, accounts, wallet
):
    """A broken book burns what it gets of the first item. The second is done, or is said to have
    had too little gas (that alone may be tried again as it is); never that its payer refused."""
    market.book_does(Does.BURN_ALL_GAS)
    first, second = market.authorized(), market.terms(payer=wallet, orderRef=b"\2" * 32)
    payment = market.sign(accounts.buyer, AMOUNT, market.hash(second), from_=wallet)
    market.send(accounts.stranger, "authorizeWithSignature", second, AMOUNT, *payment)
    items = [signed_release(market, terms) for terms in (first, second)]
    call = market.function("releaseManyWithSignatures", items)
    start, ends = chain.snapshot(), []
    for gas in range(535_000, 1_200_000, 10_000):
        failed = refusals(market, chain.send(call, by=accounts.stranger, gas=gas))
        ends.append(dict(failed).get(1, "done"))
        chain.revert_to(start)
    short = function_signature_to_4byte_selector("InsufficientGas(uint256,uint256)")
    assert set(ends) == {short, "done"}


def test_without_a_book_a_signed_release_in_a_batch_needs_no_gas_for_it(
    platform, chain, accounts, coin
):
    market = Market(chain, accounts, coin, platform.deploy_escrow())
    items = [signed_release(market, market.authorized())]
    call = market.function("releaseManyWithSignatures", items)
    with market.moves(escrow=-AMOUNT, fee_receiver=FEE, seller=NET):
        chain.send(call, by=accounts.stranger, gas=150_000)


def test_without_a_book_a_release_needs_no_gas_for_it(platform, chain, accounts, coin):
    market = Market(chain, accounts, coin, platform.deploy_escrow())
    terms = market.releasable()
    call = market.function("release", terms, AMOUNT, MAX_FEE_BPS)
    with market.moves(escrow=-AMOUNT, fee_receiver=FEE, seller=NET):
        chain.send(call, by=accounts.stranger, gas=100_000)


# ------------------------------------------------------------------ parties in two parts


@pytest.mark.parametrize("party", ["payee", "feeReceiver", "payer", "operator"])
def test_a_party_that_is_the_collector_too_gets_both_parts(lending, accounts, party):
    usual = {"payee": "seller", "feeReceiver": "fee_receiver", "payer": "buyer"}
    name = usual.get(party, "operator")
    market = lending(getattr(accounts, name).address)
    terms = market.releasable()
    parts = {"seller": NET - NET // 2, "fee_receiver": FEE}
    parts[name] = parts.get(name, 0) + NET // 2
    with market.moves(escrow=-AMOUNT, **parts):
        release(market, terms)


def test_a_seller_that_is_the_book_itself_is_credited(market, chain):
    """It is no member of the coin, so its part waits for it."""
    terms = market.releasable(payee=market.hook.address)
    with market.moves(escrow=NET - NET // 2 - AMOUNT, fee_receiver=FEE, lender=NET // 2):
        release(market, terms)
    claimable = market.escrow.functions.claimable(market.hook.address)
    assert chain.call(claimable) == NET - NET // 2


def test_a_collector_that_cannot_receive_blocks_nobody(lending, chain, accounts):
    market = lending(accounts.stranger.address)
    terms = market.releasable()
    with market.moves(escrow=NET // 2 - AMOUNT, fee_receiver=FEE, seller=NET - NET // 2):
        receipt = release(market, terms)
    assert receipt.event(market.escrow, "ClaimableCredited") == {
        "account": accounts.stranger.address,
        "orderHash": market.hash(terms),
        "amount": NET // 2,
    }
    admit = market.coin.functions.admit(accounts.stranger.address, SELLER, MEMBER_UNTIL)
    chain.send(admit, by=accounts.operator)
    with market.moves(escrow=-(NET // 2), stranger=NET // 2):
        market.send(accounts.buyer2, "claim", accounts.stranger.address)


def test_a_frozen_seller_keeps_nothing_from_the_book(market, accounts):
    terms = market.releasable()
    market.freeze(accounts.seller)
    with market.moves(escrow=NET - NET // 2 - AMOUNT, fee_receiver=FEE, lender=NET // 2):
        release(market, terms)
    assert market.claimable(accounts.seller) == NET - NET // 2


# ------------------------------------------------------------------------- construction


def test_the_escrow_names_its_book(market, platform, chain):
    assert chain.call(market.escrow.functions.saleHook()) == market.hook.address
    plain = platform.deploy_escrow()
    assert chain.call(plain.functions.saleHook()) == ZERO_ADDRESS


def test_a_book_without_a_collector_or_without_code_is_refused(
    platform, chain, coin, accounts, test_contracts
):
    hook = chain.deploy(test_contracts["TestSaleHook"], ZERO_ADDRESS, by=accounts.stranger)
    for address in (hook.address, accounts.stranger.address):
        with pytest.raises(Exception, match="InvalidSaleHook") as raised:
            platform.deploy_escrow(address)
        assert raised.value.arguments == {"saleHook": address}


def test_a_book_whose_collector_is_the_escrow_is_refused(
    platform, chain, coin, accounts, test_contracts
):
    """Coin paid to the escrow itself would belong to no order."""
    start = chain.snapshot()
    next_address = platform.deploy_escrow().address
    chain.revert_to(start)
    hook = chain.deploy(test_contracts["TestSaleHook"], next_address, by=accounts.stranger)
    with pytest.raises(Exception, match="InvalidSaleHook") as raised:
        platform.deploy_escrow(hook.address)
    assert raised.value.arguments == {"saleHook": hook.address}
