"""From a seller's trade to what it is offered, with all that explains it.

The figures a model looks at are kept as digits, and the model looks at those very digits: whoever
has them and the model's file can score again, and gets the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from node.credit.features import (
    BY_NAME,
    DAY,
    DIGITS,
    NAMES,
    compute_features,
    no_lines,
)
from node.credit.model import Model
from node.credit.policy import (
    BPS,
    COIN,
    HOLDBACKS,
    GradeName,
    Offered,
    Policy,
    Refusal,
    Seller,
    decide,
    grade_of,
)
from node.credit.repayment import Repayment, Terms, minimum_schedule, repay
from node.credit.scorer import contributions, default_probability, points, top_reasons
from node.documents import hash_of
from node.index.credit_line import GRACE, LATE_HOLDBACK_BPS, MAX_LATE_HOLDBACK_BPS, WINDOW

Floats = NDArray[np.float64]

MOST_REASONS = 4
SALES_PERCENTS = (100, 70, 40)  # of present sales, at which a payoff is foreseen
FORESEEN_DAYS = 9 * WINDOW // DAY  # until the last due date of the minimum schedule


class NoHistory(Exception):
    """A seller of which there is no trade before the cut-off; the message is for people."""


@dataclass(frozen=True, slots=True)
class Reason:
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the desk thinks of a seller.

    Attributes:
        pd_bps: 12-month probability of default in 1/10,000.
        score: the model's points, as digits.
        features: what the model looked at, as digits; None where unknown.
        reasons: what cost the seller most, the heaviest first.
    """

    seller: str
    cutoff: int
    model_version: str
    model_hash: str
    pd_bps: int
    score: str
    grade: GradeName
    features: dict[str, str | None]
    reasons: tuple[Reason, ...]
    rules: Seller
    decision: Offered | Refusal

    @property
    def features_hash(self) -> str:
        return hash_of(self.features)


def assess(
    trade: pl.DataFrame,
    cutoff: int,
    model: Model,
    policy: Policy,
    *,
    lines: pl.DataFrame | None = None,
    frozen: frozenset[str] = frozenset(),
    sellers: Sequence[str] | None = None,
    holdback_bps: int | None = None,
) -> list[Assessment]:
    """Judge sellers by their trade before a moment.

    Args:
        trade: checked.
        lines: `features.LINE_COLUMNS`, of sellers that have or had one.
        frozen: sellers that nothing may be offered to.
        sellers: these alone; None for all that have sold anything.
        holdback_bps: the sellers' choice; None for the policy's.

    Raises:
        NoHistory: one of `sellers` has sold nothing before the cut-off.
        ValueError: the model needs features that there are not.
    """
    lines = no_lines() if lines is None else lines
    frame = compute_features(trade, cutoff, lines)
    if sellers is not None:
        known = set(frame["seller"])
        for name in sellers:
            if name not in known:
                moment = datetime.fromtimestamp(cutoff, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                raise NoHistory(f"the seller {name!r} has sold nothing before {moment}")
        frame = frame.filter(pl.col("seller").is_in(list(sellers)))
    if frame.is_empty():
        return []
    columns = columns_of(frame)
    chances = default_probability(model, columns)
    values = points(model, columns)
    lost = contributions(model, columns)
    past = {row["seller"]: row for row in lines.iter_rows(named=True)}
    found = []
    for index, row in enumerate(frame.iter_rows(named=True)):
        name = row["seller"]
        rules = seller_of(row, cutoff, past.get(name))
        if name in frozen:
            rules = replace(rules, frozen=True)
        pd_bps = min(max(round(float(chances[index]) * BPS), 0), BPS)
        found.append(
            Assessment(
                seller=name,
                cutoff=cutoff,
                model_version=model.version,
                model_hash=model.hash,
                pd_bps=pd_bps,
                score=f"{float(values[index]):.2f}",
                grade=grade_of(policy, pd_bps),
                features=digits_of(row),
                reasons=tuple(
                    Reason(code, BY_NAME[code].lost)
                    for code in top_reasons(lost[index], model.features, MOST_REASONS)
                ),
                rules=rules,
                decision=decide(policy, rules, pd_bps, holdback_bps),
            )
        )
    return found


def columns_of(frame: pl.DataFrame) -> dict[str, Floats]:
    """The features as the models take them: floats, NaN where unknown."""
    return {name: frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in NAMES}


def digits_of(row: Mapping[str, Any]) -> dict[str, str | None]:
    """A row's features as decimal digits, which are read back as the very same floats."""
    return {name: None if row[name] is None else _digits(row[name]) for name in NAMES}


def columns_of_digits(features: Mapping[str, str | None]) -> dict[str, Floats]:
    """What `digits_of` made, for scoring again.

    Raises:
        ValueError: a feature is missing, or is no number.
    """
    missing = [name for name in NAMES if name not in features]
    if missing:
        raise ValueError(f"there is no feature {', '.join(missing)}")
    columns = {}
    for name in NAMES:
        text = features[name]
        try:
            value = float("nan") if text is None else float(text)
        except ValueError:
            raise ValueError(f"the feature {name} is no number: {text!r}") from None
        if text is not None and not np.isfinite(value):
            raise ValueError(f"the feature {name} is no number: {text!r}")
        columns[name] = np.array([value])
    return columns


def seller_of(row: Mapping[str, Any], cutoff: int, line: Mapping[str, Any] | None = None) -> Seller:
    """What the rules look at, out of a row of features and the past of its line."""

    def count(name: str) -> int:
        return row[name] or 0

    return Seller(
        history_days=(cutoff - count("first_sale")) // DAY,
        active_months=count("active_months"),
        ads_30=count("ads_30"),
        ads_90=count("ads_90"),
        ads_season=row["ads_season"],
        lost_30=count("lost_30"),
        lost_before=count("lost_before"),
        owed=0 if line is None else line["owed"],
        largest_repaid=None if line is None else line["largest_repaid"],
        frozen=line is not None and not line["good_standing"],
    )


# ------------------------------------------------------------------------------- disclosure


def foresee(terms: Terms, daily_sales: int, percent: int) -> Repayment:
    """How the whole limit, drawn today, would be repaid by a share of present sales."""
    sales = ((day * DAY, daily_sales * percent // 100) for day in range(1, FORESEEN_DAYS + 1))
    return repay(terms, 0, sales, FORESEEN_DAYS * DAY)


def make_disclosure(assessment: Assessment, account: str, drawn_at: int) -> dict[str, Any]:
    """The one page that a seller sees before it accepts.

    Args:
        account: the seller's id at the bridge.
        drawn_at: the moment that dates are counted from, UTC seconds.

    Raises:
        ValueError: there is no offer to disclose.
    """
    if not isinstance(assessment.decision, Offered):
        raise ValueError("a refusal has nothing to disclose")
    terms, daily = assessment.decision.terms, assessment.rules.ads
    foreseen = {percent: foresee(terms, daily, percent) for percent in SALES_PERCENTS}
    payoff = [
        {
            "sales_percent": percent,
            "days": None if went.paid_off_at is None else went.paid_off_at // DAY,
            "date": None if went.paid_off_at is None else _day(drawn_at + went.paid_off_at),
            "cost": None if went.paid_off_at is None else str(went.cost),
        }
        for percent, went in foreseen.items()
    ]
    minimum = list(minimum_schedule(terms, 0))
    present = foreseen[SALES_PERCENTS[0]]
    # Where present sales do not repay it in time, the seller pays by the schedule.
    cost = present.cost if present.paid_off_at is not None else sum(due[2] for due in minimum)
    late = min(terms.holdback_bps + LATE_HOLDBACK_BPS, MAX_LATE_HOLDBACK_BPS)
    return {
        "version": 1,
        "account": account,
        "limit": str(terms.limit),
        "apr_bps": terms.apr_bps,
        "draw_fee_bps": terms.draw_fee_bps,
        "holdback_bps": terms.holdback_bps,
        "late_holdback_bps": late,
        "term_days": terms.term_days,
        # Rounded up: a cost is never shown lower than it is.
        "cost_per_1000": str(-(-cost * 1_000 * COIN // terms.limit)),
        "payoff": payoff,
        "minimum": [
            {"due": _day(drawn_at + due), "principal": str(principal), "interest": str(interest)}
            for due, principal, interest in minimum
        ],
        "on_a_miss": [
            f"What is not paid on its due date is past due. {GRACE // DAY} days later"
            f" {late / 100:g} % instead of {terms.holdback_bps / 100:g} % of each sale goes to the"
            " line until it is paid, and nothing new can be drawn.",
            "There is no late fee and no higher rate; interest goes on as before.",
            "90 days after a due date that was missed, the whole line is due. Sales go on to"
            " repay it. Nothing but your sales here, and what you pay yourself, is taken for it.",
        ],
        "reasons": [{"code": reason.code, "text": reason.text} for reason in assessment.reasons],
        "data_used": _data_used(assessment),
        "appeal": (
            "Ask the marketplace's support for a person to look at this decision. You will get an"
            " answer with its reasons, and what was wrong in the data will be corrected."
        ),
        "model_hash": assessment.model_hash,
        "features_hash": assessment.features_hash,
        "cutoff": _time(assessment.cutoff),
    }


def choices(assessment: Assessment, policy: Policy) -> list[Offered]:
    """What a seller would be offered with each holdback it may choose."""
    offers = (
        decide(policy, assessment.rules, assessment.pd_bps, holdback) for holdback in HOLDBACKS
    )
    return [offer for offer in offers if isinstance(offer, Offered)]


def _data_used(assessment: Assessment) -> list[dict[str, str]]:
    rules = assessment.rules
    used = [
        {"name": "sales a day, last 30 days", "value": f"{_coins(rules.ads_30)} coin"},
        {"name": "sales a day, last 90 days", "value": f"{_coins(rules.ads_90)} coin"},
    ]
    for name, digits in assessment.features.items():
        value = "not known yet" if digits is None else digits.rstrip("0").rstrip(".")
        used.append({"name": BY_NAME[name].shown, "value": value or "0"})
    return used


def _digits(value: float) -> str:
    text = f"{value:.{DIGITS}f}"
    return text[1:] if float(text) == 0 and text.startswith("-") else text


def _coins(amount: int) -> str:
    whole, fraction = divmod(amount, COIN)
    return f"{whole:,}.{fraction // 10_000:02d}"


def _day(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")


def _time(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
