"""The rules of the desk: who may be offered a line, how much, and at what price.

Everything here is configuration of the operator's (`Policy`), with the defaults that
docs/lending.md explains. Amounts are atomic units, rates 1/10,000; all arithmetic is in integers
and rounds against lending more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from node.credit.repayment import Terms

DAY = 86_400
BPS = 10_000
COIN = 10**6

GradeName = Literal["A", "B", "C", "D", "E"]


@dataclass(frozen=True, slots=True)
class Grade:
    """Of sellers whose 12-month probability of default is below `pd_below_bps`.

    Attributes:
        months_bps: the part of a month's average sales that a line may be, in 1/10,000.
    """

    name: GradeName
    pd_below_bps: int
    months_bps: int
    apr_bps: int


GRADES = (
    Grade("A", 200, 20_000, 800),
    Grade("B", 400, 15_000, 1_100),
    Grade("C", 800, 10_000, 1_400),
    Grade("D", 1_200, 5_000, 1_800),
)
HOLDBACKS = (1_000, 1_500, 2_000, 2_500)  # which a seller may choose from
LGD_BPS = 6_000  # of what is owed at a default, what is lost


@dataclass(frozen=True, slots=True)
class Policy:
    """How the desk lends.

    Attributes:
        horizon_days: sales of so many days must repay a line, T.
        term_days: in which an accepted line can be drawn on.
        most: of one line; the book has a cap of its own beside it.
        least: a line below this is not worth the seller's while.
        growth: a line is at most so many times the largest amount repaid before.
        funding_bps, operations_bps: what lent coin costs a year.
        most_apr_bps: above it, nothing is offered.
        months: of the last 30-day periods that must all have sales.
    """

    grades: tuple[Grade, ...] = GRADES
    horizon_days: int = 270
    term_days: int = 270
    holdback_bps: int = 2_000
    draw_fee_bps: int = 0
    most: int = 100_000 * COIN
    least: int = 50 * COIN
    growth: int = 2
    funding_bps: int = 300
    operations_bps: int = 200
    most_apr_bps: int = 2_000
    history_days: int = 90
    months: int = 3
    # Lost disputes of 30 days that are a spike: so many, and so many times the usual.
    spike_count: int = 3
    spike_times: int = 2
    version: str = field(default="policy 1", kw_only=True)

    def __post_init__(self) -> None:
        """Raises:
        ValueError: a rule that could lend wrongly.
        """
        if not self.grades or list(self.grades) != sorted(
            self.grades, key=lambda grade: grade.pd_below_bps
        ):
            raise ValueError("grades are in ascending order of their probability of default")
        if self.holdback_bps not in HOLDBACKS:
            raise ValueError(f"the holdback is one of {HOLDBACKS}, not {self.holdback_bps}")
        if not 1 <= self.horizon_days <= 3_650 or not 1 <= self.term_days <= 65_535:
            raise ValueError("horizon and term are days, of ten years at most")
        if not 0 < self.least <= self.most:
            raise ValueError("the least line is above 0, and no more than the most")


@dataclass(frozen=True, slots=True)
class Seller:
    """What the rules look at. Averages in atomic units a day; None where there is nothing to say.

    Attributes:
        largest_repaid: None before the first line; 0 while nothing of it was repaid.
        frozen: by the platform, or its line suspended, past due, defaulted or charged off.
    """

    history_days: int
    active_months: int
    ads_30: int
    ads_90: int
    ads_season: int | None
    lost_30: int
    lost_before: int
    owed: int = 0
    largest_repaid: int | None = None
    frozen: bool = False

    @property
    def ads(self) -> int:
        """The lowest of the averages: a good month does not make a line."""
        averages = [self.ads_30, self.ads_90]
        if self.ads_season is not None:
            averages.append(self.ads_season)
        return min(averages)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no offer: a code, and words for the seller."""

    code: str
    words: str


@dataclass(frozen=True, slots=True)
class Offered:
    grade: GradeName
    terms: Terms


REFUSALS: Mapping[str, str] = {
    "frozen": "The account or its credit line is frozen, suspended or past due.",
    "history": "You have sold here for less than {history_days} days.",
    "inactive": "You did not sell in each of the last {months} months.",
    "disputes": "More disputes than usual went against you in the last 30 days.",
    "owes": "The present line is not repaid yet.",
    "grade": "By your sales here, the risk is above what we lend at.",
    "price": "By your sales here, the line would cost more than we ask of anybody.",
    "too_small": "By your present sales, the line would be smaller than the least we offer.",
    "funds": "There is no more coin to lend at present.",
}


def grade_of(policy: Policy, pd_bps: int) -> GradeName:
    """E is above all that lend."""
    for grade in policy.grades:
        if pd_bps < grade.pd_below_bps:
            return grade.name
    return "E"


def why_not_eligible(policy: Policy, seller: Seller) -> Refusal | None:
    """The first rule a seller does not meet, whatever its score."""
    if seller.frozen:
        return refusal(policy, "frozen")
    if seller.history_days < policy.history_days:
        return refusal(policy, "history")
    if seller.active_months < policy.months:
        return refusal(policy, "inactive")
    # 180 days are six times 30, of which five lie before.
    usual_5 = seller.lost_before * policy.spike_times
    if seller.lost_30 >= policy.spike_count and seller.lost_30 * 5 > usual_5:
        return refusal(policy, "disputes")
    if seller.owed:
        return refusal(policy, "owes")
    return None


def decide(
    policy: Policy, seller: Seller, pd_bps: int, holdback_bps: int | None = None
) -> Offered | Refusal:
    """What a seller is offered, or why nothing is.

    Args:
        pd_bps: 12-month probability of default in 1/10,000, by the model.
        holdback_bps: the seller's choice; None for the policy's.

    Raises:
        ValueError: such a holdback is not to be chosen, or no such probability.
    """
    holdback = policy.holdback_bps if holdback_bps is None else holdback_bps
    if holdback not in HOLDBACKS:
        raise ValueError(f"the holdback is one of {HOLDBACKS}, not {holdback}")
    if not 0 <= pd_bps <= BPS:
        raise ValueError(f"a probability is 0 to {BPS} in 1/10,000, not {pd_bps}")
    if (reason := why_not_eligible(policy, seller)) is not None:
        return reason
    grade = next((grade for grade in policy.grades if pd_bps < grade.pd_below_bps), None)
    if grade is None:
        return refusal(policy, "grade")
    apr = max(grade.apr_bps, break_even_apr(policy, pd_bps))
    if apr > policy.most_apr_bps:
        return refusal(policy, "price")
    limit = limit_of(policy, seller, grade, holdback, apr)
    if limit < policy.least:
        return refusal(policy, "too_small")
    terms = Terms(limit, apr, policy.draw_fee_bps, holdback, policy.term_days)
    return Offered(grade.name, terms)


def break_even_apr(policy: Policy, pd_bps: int) -> int:
    """What lending costs a year: funding, operations, and 1.25 times the expected loss; rounded
    up."""
    expected_loss = -(-5 * pd_bps * LGD_BPS // (4 * BPS))
    return policy.funding_bps + policy.operations_bps + expected_loss


def limit_of(policy: Policy, seller: Seller, grade: Grade, holdback_bps: int, apr_bps: int) -> int:
    """The most a seller may draw, to whole coin.

    The lowest of: the grade's part of a month's average sales; what the holdback of the horizon
    repays, cost included; twice the largest amount repaid, after the first line; the cap.
    """
    by_sales = grade.months_bps * 30 * seller.ads // BPS
    sales = seller.ads * policy.horizon_days
    # h·T·ADS / (1 + c), c being the fee and the interest of the whole horizon on all of it: more
    # than it will be, as principal falls meanwhile.
    year = 365
    cost = policy.draw_fee_bps * year + apr_bps * policy.horizon_days  # in 1/(10,000 x 365)
    by_holdback = holdback_bps * sales * year // (BPS * year + cost)
    limits = [by_sales, by_holdback, policy.most]
    if seller.largest_repaid is not None:
        limits.append(max(policy.growth * seller.largest_repaid, policy.least))
    return min(limits) // COIN * COIN


def refusal(policy: Policy, code: str) -> Refusal:
    words = REFUSALS[code].format(history_days=policy.history_days, months=policy.months)
    return Refusal(code, words)
