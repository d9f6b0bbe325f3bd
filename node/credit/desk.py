"""The desk at work: reads the node's database, and acts over the bridge like anybody else.

What is offered can be traced: each offer names a decision at the bridge, which keeps the model's
hash, the figures the model saw, the page that was shown, and who approved it. Offers within the
caps are made by the desk itself; what is above them, or all of it while the model drifts, waits for
a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy.orm import Session

from node.client import AsyncClient, Call
from node.credit.assessment import Assessment, NoHistory, assess, columns_of, make_disclosure
from node.credit.features import compute_features
from node.credit.model import Model
from node.credit.monitoring import Drift, NoReference, measure_drift
from node.credit.policy import BPS, COIN, Offered, Policy, refusal
from node.credit.repayment import Terms
from node.credit.store import (
    SellerAccount,
    chain_now,
    find_sellers,
    read_lines,
    read_trade,
)
from node.documents import hash_of
from node.store import Store

DAY = 86_400
VALID_FOR = 30 * DAY  # of a decision, on the chain's clock
_PAGE = 100


class DeskError(Exception):
    """What the desk will not do; the message is for people."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What the desk offers without a person. Amounts in atomic units.

    Attributes:
        line: no line above it.
        total: all lines of one run together.
        offers: of one run.
    """

    line: int = 10_000 * COIN
    total: int = 1_000_000 * COIN
    offers: int = 1_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """An offer that a person has to approve, and why."""

    assessment: Assessment
    reason: str


@dataclass(frozen=True, slots=True)
class Made:
    """A decision that the bridge keeps, and the offer that was made of it."""

    assessment: Assessment
    decision: str
    offer: str | None


@dataclass(slots=True)
class Run:
    """What a run of the desk came to.

    Attributes:
        refused: how many sellers are offered nothing, by reason.
    """

    cutoff: int
    judged: int
    drift: Drift | None
    made: list[Made] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Judged:
    """All sellers of a merchant at a moment.

    Attributes:
        drift: None where the model does not say what its sellers were like.
    """

    cutoff: int
    assessments: list[Assessment]
    sellers: dict[str, SellerAccount]
    drift: Drift | None


def judge(
    session: Session,
    merchant_id: str,
    model: Model,
    policy: Policy,
    *,
    cutoff: int | None = None,
    accounts: Sequence[str] | None = None,
    holdback_bps: int | None = None,
) -> Judged:
    """Judge a merchant's sellers by what the database knows.

    Args:
        cutoff: None for the chain's time.
        accounts: ids of accounts; None for all. Drift is measured over all only.

    Raises:
        NoSuchSeller: one of the accounts is not there.
        NoHistory: one of them has sold nothing.
        BadTrade: the database says what cannot be.
        DeskError: a cut-off in the future.
    """
    now = chain_now(session)
    cutoff = now if cutoff is None else cutoff
    if cutoff > now:
        raise DeskError(f"the cut-off {_moment(cutoff)} is in the future; it is {_moment(now)}")
    sellers = find_sellers(session, merchant_id, accounts)
    trade = read_trade(session, merchant_id, now, accounts)
    lines = read_lines(session, sellers, cutoff)
    assessments = assess(
        trade,
        cutoff,
        model,
        policy,
        lines=lines,
        frozen=frozenset(seller.id for seller in sellers if seller.frozen),
        sellers=accounts,
        holdback_bps=holdback_bps,
    )
    drift = None
    if accounts is None and assessments:
        drift = drift_of(model, trade, cutoff, lines)
    return Judged(cutoff, assessments, {seller.id: seller for seller in sellers}, drift)


def drift_of(model: Model, trade: pl.DataFrame, cutoff: int, lines: pl.DataFrame) -> Drift | None:
    """None where the model does not say what its sellers were like."""
    active = compute_features(trade, cutoff, lines).filter(pl.col("active_months") > 0)
    try:
        return measure_drift(model, columns_of(active))
    except NoReference:
        return None


@dataclass(frozen=True, slots=True)
class Allotment:
    """Who is offered what out of a sum, who waits for a person, and who gets nothing."""

    offered: list[Assessment]
    waiting: list[Waiting]
    refused: Counter[str]


def allot(judged: Judged, funds: int, caps: Caps, busy: frozenset[str] = frozenset()) -> Allotment:
    """Share out what there is to lend: the least risk first, each its limit or nothing.

    Args:
        funds: the most that all of it together may be, atomic units.
        busy: sellers that have an open offer already.
    """
    result = Allotment([], [], Counter())
    lent = 0
    for one in sorted(judged.assessments, key=lambda one: (one.pd_bps, one.seller)):
        if not isinstance(one.decision, Offered):
            result.refused[one.decision.code] += 1
            continue
        limit = one.decision.terms.limit
        if one.seller in busy:
            result.refused["offered"] += 1
        elif limit > funds - lent:
            result.refused["funds"] += 1
        elif (reason := _why_a_person(one, judged, caps, lent, len(result.offered))) is not None:
            result.waiting.append(Waiting(one, reason))
        else:
            lent += limit
            result.offered.append(one)
    return result


def _why_a_person(one: Assessment, judged: Judged, caps: Caps, lent: int, made: int) -> str | None:
    assert isinstance(one.decision, Offered)
    limit = one.decision.terms.limit
    if judged.drift is not None and judged.drift.stops:
        return f"the model has drifted ({judged.drift.words})"
    if limit > caps.line:
        return f"the line is above the cap of {_coins(caps.line)} coin"
    if lent + limit > caps.total:
        return f"with it, this run would be above the cap of {_coins(caps.total)} coin"
    if made >= caps.offers:
        return f"this run has made its {caps.offers} offers"
    return None


@dataclass(frozen=True, slots=True)
class Approver:
    """Who answers for a decision: the desk's own rules, or a person with a name.

    Attributes:
        reason: why; a person that decides otherwise than the rules must say.
    """

    kind: str
    name: str
    reason: str | None = None


AUTOMATIC = "automatic"
PERSON = "person"


def automatic(policy: Policy) -> Approver:
    return Approver(AUTOMATIC, policy.version)


def decision_of(
    assessment: Assessment,
    account: str,
    approver: Approver,
    *,
    now: int,
    override: bool = False,
) -> dict[str, Any]:
    """The decision as the bridge keeps it (POST /v1/credit_decisions)."""
    offered = isinstance(assessment.decision, Offered)
    terms = assessment.decision.terms if isinstance(assessment.decision, Offered) else _NO_TERMS
    document: dict[str, Any] = {
        "account": account,
        "outcome": "offer" if offered else "refusal",
        "pd_bps": assessment.pd_bps,
        "grade": assessment.grade,
        "limit": str(terms.limit),
        "apr_bps": terms.apr_bps,
        "draw_fee_bps": terms.draw_fee_bps,
        "holdback_bps": terms.holdback_bps,
        "term_days": terms.term_days,
        "reasons": [{"code": reason.code, "text": reason.text} for reason in assessment.reasons],
        "model_version": assessment.model_version,
        "model_hash": assessment.model_hash,
        "features": assessment.features,
        "features_hash": assessment.features_hash,
        "disclosure": None,
        "disclosure_hash": None,
        "approver": {"kind": approver.kind, "name": approver.name, "reason": approver.reason},
        "override": override,
        "cutoff": _moment(assessment.cutoff),
        "valid_until": _moment(now + VALID_FOR),
    }
    if offered:
        disclosure = make_disclosure(assessment, account, now)
        document |= {"disclosure": disclosure, "disclosure_hash": hash_of(disclosure)}
    return document


_NO_TERMS = Terms(limit=0, apr_bps=0, draw_fee_bps=0, holdback_bps=0, term_days=0)


class Desk:
    """The desk of one merchant.

    Args:
        store: the node's database, which is read.
        client: the bridge under a key of the merchant's with the scopes `read` and `desk`.
    """

    def __init__(
        self,
        store: Store,
        merchant_id: str,
        client: AsyncClient,
        model: Model,
        policy: Policy,
        caps: Caps | None = None,
    ) -> None:
        self._store = store
        self._merchant_id = merchant_id
        self._client = client
        self._model = model
        self._policy = policy
        self._caps = caps or Caps()

    async def judge(
        self,
        *,
        cutoff: int | None = None,
        accounts: Sequence[str] | None = None,
        holdback_bps: int | None = None,
    ) -> Judged:
        """As `judge`, on one state of the database."""
        return await self._store.read(
            lambda session: judge(
                session,
                self._merchant_id,
                self._model,
                self._policy,
                cutoff=cutoff,
                accounts=accounts,
                holdback_bps=holdback_bps,
            )
        )

    async def run(self, *, dry: bool = False) -> Run:
        """Judge all sellers, and offer within the caps.

        A run that was cut short is simply run again: who has an open offer is passed over.

        Args:
            dry: say what would be offered, and offer nothing.

        Raises:
            Refused, Unreachable: the bridge; what was offered before that stands.
        """
        judged = await self.judge()
        busy = await self._open_offers()
        funds = free_funds(await self._get("/v1/pool")) - sum(busy.values())
        allotment = allot(judged, funds, self._caps, frozenset(busy))
        run = Run(
            judged.cutoff,
            len(judged.assessments),
            judged.drift,
            waiting=allotment.waiting,
            refused=allotment.refused,
        )
        for one in allotment.offered:
            if dry:
                run.made.append(Made(one, "", None))
            else:
                run.made.append(await self._decide(one, automatic(self._policy)))
        return run

    async def approve(
        self, account: str, by: str, reason: str | None = None, holdback_bps: int | None = None
    ) -> Made:
        """Offer what the rules allow, on a person's word: above the caps, or despite drift.

        Raises:
            DeskError: the rules offer nothing; that takes an override.
            NoSuchSeller, NoHistory: there is nobody to offer to.
        """
        one = await self._assess_one(account, holdback_bps)
        if not isinstance(one.decision, Offered):
            raise DeskError(
                f"the rules offer nothing to {account}: {one.decision.words} An override would"
                " have to say why"
            )
        return await self._decide(one, Approver(PERSON, _named(by), reason))

    async def override(self, account: str, by: str, reason: str, terms: Terms | None) -> Made:
        """Decide otherwise than the rules: other terms, or none (`terms` is None).

        Raises:
            DeskError: without a reason, or it is just what the rules say.
        """
        if not reason.strip():
            raise DeskError("an override has a reason")
        one = await self._assess_one(account, None)
        if terms is None:
            if not isinstance(one.decision, Offered):
                raise DeskError(f"the rules offer nothing already: {one.decision.words}")
            changed = replace(one, decision=refusal(self._policy, "grade"))
        else:
            if isinstance(one.decision, Offered) and one.decision.terms == terms:
                raise DeskError("the rules offer just that already: approve it")
            changed = replace(one, decision=Offered(one.grade, terms))
        return await self._decide(changed, Approver(PERSON, _named(by), reason), override=True)

    async def _assess_one(self, account: str, holdback_bps: int | None) -> Assessment:
        judged = await self.judge(accounts=[account], holdback_bps=holdback_bps)
        if not judged.assessments:
            raise NoHistory(f"the seller {account!r} has sold nothing yet")
        return judged.assessments[0]

    async def _decide(self, one: Assessment, approver: Approver, *, override: bool = False) -> Made:
        now = await self._store.read(chain_now)
        body = decision_of(one, one.seller, approver, now=now, override=override)
        # By its content: sent again it is the same decision, and made of it the same offer.
        key = hash_of(body)[2:34]
        return Made(one, *await post_decision(self._client, body, key))

    async def _open_offers(self) -> dict[str, int]:
        """What is offered and not accepted yet, by account."""
        found: dict[str, int] = {}
        query: dict[str, Any] = {"status": "offered", "limit": _PAGE}
        while True:
            page = await self._get("/v1/credit_lines/offers", query)
            now = await self._store.read(chain_now)
            for offer in page["data"]:
                if _seconds(offer["expires"]) > now:
                    found[offer["account"]] = found.get(offer["account"], 0) + int(offer["limit"])
            if not page["has_more"]:
                return found
            query = {**query, "cursor": page["next_cursor"]}

    async def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        call: Call[bytes] = Call("GET", path, bytes, query=query)
        return (await self._client.exchange(call)).json()


async def post_decision(
    client: AsyncClient, body: Mapping[str, Any], key: str
) -> tuple[str, str | None]:
    """Have the bridge keep a decision, and sign the offer that follows from it.

    Returns:
        The ids of both; None for the offer of a refusal.

    Raises:
        Refused, Unreachable: the bridge. A decision without its offer harms nobody; the same
            key makes the offer of it.
    """
    call: Call[bytes] = Call(
        "POST", "/v1/credit_decisions", bytes, body=body, key=f"{key}:decision"
    )
    decision = (await client.exchange(call)).json()
    if body["outcome"] != "offer":
        return decision["id"], None
    offer_body = {"account": body["account"], "decision": decision["id"]}
    call = Call("POST", "/v1/credit_lines/offers", bytes, body=offer_body, key=f"{key}:offer")
    offer = (await client.exchange(call)).json()
    return decision["id"], offer["id"]


def free_funds(pool: Mapping[str, Any]) -> int:
    """What can be drawn in all: cash, what the cap leaves, and what the reserve is enough for."""
    principal = int(pool["principal"])
    free = [int(pool["cash"]), int(pool["principal_cap"]) - principal]
    if pool["reserve_bps"]:
        free.append(int(pool["reserve"]) * BPS // pool["reserve_bps"] - principal)
    return 0 if pool["draws_paused"] else max(min(free), 0)


def in_words(run: Run) -> Iterable[str]:
    """A run, line by line."""
    yield f"{run.judged} sellers judged by their trade before {_moment(run.cutoff)}."
    yield f"Drift: {'not known of this model' if run.drift is None else run.drift.words}."
    for reason, count in run.refused.most_common():
        yield f"{count} are offered nothing: {reason}."


def _named(by: str) -> str:
    if not by.strip():
        raise DeskError("who approves has a name")
    return by.strip()


def _coins(amount: int) -> str:
    return f"{amount // COIN:,}"


def _moment(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
