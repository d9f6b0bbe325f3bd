"""What the escrow is told when it reports a sale."""

import pytest
from eth_utils import keccak

from tests.contracts.credit import (
    ACTIVE,
    APR,
    DRAW,
    FOREVER,
    GRACE,
    HOLDBACK,
    INSTALLMENT,
    WINDOW,
    accrued,
    rounded_up,
)
from tests.contracts.system import COIN, DAY

ORDER = keccak(text="order 1")
NET = 1_000 * COIN
SHARE = NET * HOLDBACK // 10_000


def test_a_sale_repays_the_agreed_share(lending):
    lending.drawn()
    with lending.moves(operator=-SHARE, pool=SHARE):
        receipt = lending.sale(NET, order=ORDER)
    interest = rounded_up(accrued(DRAW, APR, 1))
    assert receipt.event(lending.book, "Repaid") == {
        "seller": lending.seller.address,
        "payer": lending.accounts.operator.address,
        "orderHash": ORDER,
        "interestPaid": interest,
        "principalPaid": SHARE - interest,
        "principal": DRAW - SHARE + interest,
    }
    line = lending.line()
    assert line.principal == DRAW - SHARE + interest
    assert line.installmentDue == INSTALLMENT - SHARE + interest
    assert lending.totals().principal == line.principal


@pytest.mark.parametrize(("net", "share"), [(0, 0), (1, 0), (6, 0), (7, 1), (10_001, 1_500)])
def test_the_share_is_rounded_down(lending, net, share):
    lending.drawn()
    assert lending.repayment_of(net) == share


def test_a_sale_never_repays_more_than_the_payoff(lending):
    lending.drawn(COIN)
    lending.chain.travel(10 * DAY)
    payoff = lending.statement().payoff
    assert lending.repayment_of(NET) == payoff < SHARE
    with lending.moves(operator=-payoff, pool=payoff):
        lending.sale(NET)
    line = lending.line()
    assert (line.status, line.principal, line.interest, line.windowEnd) == (ACTIVE, 0, 0, 0)
    assert lending.repayment_of(NET) == 0


def test_a_seller_who_owes_nothing_keeps_his_sale(lending):
    assert lending.sale(NET).logs == []
    lending.accepted()
    assert lending.sale(NET).logs == []
    assert lending.repayment_of(FOREVER) == 0


def test_of_who_owes_nothing_anyone_may_report_sales_and_nothing_happens(lending):
    # The escrow reports every sale: most sellers' cost one look at their line.
    report = lending.function("onSale", lending.seller.address, ORDER, NET)
    assert lending.chain.call(report, by=lending.accounts.stranger) == 0


def test_only_a_sales_source_reports_sales_of_a_debtor(lending):
    lending.drawn()
    for other in (lending.accounts.stranger, lending.seller, lending.accounts.steward):
        lending.refuses(
            other,
            "onSale",
            lending.seller.address,
            ORDER,
            NET,
            error="NotASalesSource",
            caller=other.address,
        )


def test_a_source_dismissed_reports_no_more(lending):
    lending.drawn()
    source = lending.accounts.operator
    lending.send(lending.accounts.steward, "setSalesSource", source.address, False)
    lending.refuses(source, "onSale", lending.seller.address, ORDER, NET, error="NotASalesSource")


def test_the_escrow_is_a_sales_source_and_pays_the_pool(lending):
    assert lending.call("isSalesSource", lending.system.escrow.address)
    assert not lending.call("isSalesSource", lending.accounts.stranger.address)
    assert lending.call("collector") == lending.call("pool") == lending.pool.address


def test_delinquency_takes_ten_points_more_from_its_second(lending):
    due = lending.drawn() + WINDOW
    for now, share in (
        (due + GRACE - 1, HOLDBACK),
        (due + GRACE, HOLDBACK + 1_000),
        (due + GRACE + 1, HOLDBACK + 1_000),
    ):
        lending.chain.travel_to(now)
        assert lending.repayment_of(NET) == NET * share // 10_000


def test_the_holdback_of_a_delinquent_line_is_at_most_35_percent(lending):
    lending.drawn(holdbackBps=2_500)
    lending.chain.travel(WINDOW + GRACE)
    assert lending.statement().holdbackBps == 3_500
    assert lending.repayment_of(NET) == NET * 3_500 // 10_000


def test_default_and_charge_off_keep_the_higher_share(lending):
    lending.defaulted()
    assert lending.repayment_of(NET) == NET * (HOLDBACK + 1_000) // 10_000
    lending.send(lending.accounts.servicer, "chargeOff", lending.seller.address)
    assert lending.repayment_of(NET) == NET * (HOLDBACK + 1_000) // 10_000


def test_a_sale_that_cures_brings_the_share_back(lending):
    lending.delinquent()
    past_due = lending.statement().pastDue
    lending.sale(past_due * 10_000 // (HOLDBACK + 1_000))
    assert lending.statement().pastDue == 0
    assert lending.repayment_of(NET) == SHARE


def test_sales_are_repaid_while_draws_or_the_seller_are_stopped(lending):
    lending.drawn()
    lending.send(lending.accounts.guardian, "pauseDraws")
    lending.freeze(lending.seller)
    with lending.moves(operator=-SHARE, pool=SHARE):
        lending.sale(NET)


def test_a_sale_closes_a_line_in_default_that_it_repays(lending):
    lending.defaulted()
    receipt = lending.sale(100_000 * COIN)
    assert receipt.events(lending.book, "LineClosed") == [{"seller": lending.seller.address}]


def test_a_dust_sale_brings_the_line_up_to_date_and_repays_nothing(lending):
    drawn_at = lending.drawn()
    lending.chain.travel_to(drawn_at + WINDOW)
    receipt = lending.sale(1)
    assert receipt.events(lending.book, "Repaid") == []
    assert lending.line().pastDueSince == drawn_at + WINDOW


def test_a_net_beyond_all_coin_is_refused(lending):
    lending.drawn()
    lending.refuses(
        lending.accounts.operator,
        "onSale",
        lending.seller.address,
        ORDER,
        FOREVER,
        error="Panic",
        code=0x11,
    )
