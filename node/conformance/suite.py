"""What a check is, what it works with, and how all of them are run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx

from node.client import Client, Forbidden, PlazaError, Refused, Unauthorized, Unreachable
from node.client.models import AccountRequest, PurchaseRequest, TopUpRequest

WAIT = 20  # seconds that the bridge may hold an answer
SETTLE_SECONDS = 90
ANSWER_SECONDS = 60


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Broken(Exception):
    """A rule is not kept; the message has the expected and the actual."""


class Skip(Exception):
    """A check cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, and how it is tried.

    Attributes:
        name: stays as it is from version to version.
        proves: what a deployment that passes does, in one sentence.
        words: of the specification.
    """

    name: str
    proves: str
    words: str
    work: Callable[[Shop], None]


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    proves: str
    words: str
    outcome: Outcome
    reason: str | None
    seconds: float


class Unusable(Exception):
    """There is nothing to check: no bridge answers, or it does not know the key."""


@dataclass
class Shop:
    """A merchant who tries the rules, with members, orders and references of its own making.

    Attributes:
        client: under the key to check with.
        other: under the key of another merchant; None without one.
        raw: for requests that no client would send; it knows the key.
        run: in every name that this run makes up.
        members: ids of all accounts made.
        put_in, taken_out, fees: atomic units, through top-ups, redemptions and releases.
    """

    url: str
    key: str
    run: str
    client: Client
    raw: httpx.Client
    other: Client | None = None
    members: list[str] = field(default_factory=list)
    put_in: int = 0
    taken_out: int = 0
    orders: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def new_name(self, what: str) -> str:
        """For a reference, an order or a key that nobody has."""
        return f"conformance-{self.run}-{what}-{next(self._numbers)}"

    def member(self, amount: int = 0) -> str:
        """The id of a new member, who has so many atomic units."""
        name = self.new_name("member")
        body = AccountRequest(reference=name, kinds=["buyer", "seller"])
        made = self.client.accounts.create(body, key=name, wait=WAIT)
        self.members.append(made.id)
        self.settle(made.id)
        status = self.client.accounts.get(made.id).status
        expect(status == "active", f"a new member is {status}, not active")
        if amount:
            self.top_up(made.id, amount)
        return made.id

    def top_up(self, account: str, amount: int) -> str:
        """The id of a top-up that has succeeded."""
        name = self.new_name("topup")
        body = TopUpRequest(account=account, amount=amount, reference=name)
        made = self.client.topups.create(body, key=name, wait=WAIT)
        self.settle(made.id)
        status = self.client.topups.get(made.id).status
        expect(status == "succeeded", f"a top-up is {status}, not succeeded")
        self.put_in += amount
        return made.id

    def order(self, payer: str, payee: str, amount: int) -> str:
        """The id of an authorized purchase, without a dispute window."""
        name = self.new_name("order")
        body = PurchaseRequest(
            order_id=name, payer=payer, payee=payee, amount=amount, dispute_window=0
        )
        made = self.client.purchases.create(body, key=name, wait=WAIT)
        self.orders.append(made.id)
        self.settle(made.id)
        status = self.client.purchases.get(made.id).status
        expect(status == "authorized", f"a purchase is {status}, not authorized")
        return made.id

    def settle(self, resource_id: str) -> None:
        """Wait until nothing is under way for a resource."""
        end = time.monotonic() + SETTLE_SECONDS
        while any(
            self.client.operations.list(resource_id=resource_id, status=status, limit=1).data
            for status in ("queued", "submitted")
        ):
            if time.monotonic() > end:
                raise Broken(f"{resource_id} is not settled after {SETTLE_SECONDS} s")
            time.sleep(0.1)

    def post(self, path: str, json: Any = None, *, key: str | None = None) -> httpx.Response:
        """A POST as it is, without another attempt. Raises: Skip, if the key lacks its scope."""
        headers = {} if key is None else {"Idempotency-Key": key}
        response = self.raw.post(path, json=json, headers=headers)
        if response.status_code == 403:
            raise Skip(f"the key may not do this: {response.json().get('detail')}")
        return response


def expect(holds: bool, otherwise: str) -> None:
    """Raises: Broken, if it does not hold."""
    if not holds:
        raise Broken(otherwise)


def expect_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem of a refusal (RFC 9457). Raises: Broken, if it is another answer."""
    what = f"{response.request.method} {response.request.url.path}"
    expect(
        response.status_code == status,
        f"{what}: {status} {code} is expected, the answer is {response.status_code}"
        f" {response.text[:200]}",
    )
    media_type = response.headers.get("content-type", "")
    expect(media_type == "application/problem+json", f"{what}: the media type is {media_type!r}")
    problem: dict[str, Any] = response.json()
    for name in ("type", "title", "status", "detail", "code", "retryable", "request_id"):
        expect(name in problem, f"{what}: the problem has no {name!r}")
    expect(problem["status"] == status, f"{what}: the problem's status is {problem['status']}")
    expect(problem["code"] == code, f"{what}: the code is {problem['code']!r}, not {code!r}")
    given = response.headers.get("x-request-id")
    expect(given == problem["request_id"], f"{what}: X-Request-Id is {given!r}")
    return problem


def run_checks(
    checks: Sequence[Check],
    url: str,
    key: str,
    other_key: str | None,
    run: str,
    tell: Callable[[Finding], None] = lambda finding: None,
) -> list[Finding]:
    """Run the checks one after the other.

    Args:
        other_key: of another merchant.
        run: letters and digits that no run before had.
        tell: told each finding as it is made.

    Raises:
        Unusable: no bridge answers at the URL, or the key is not known there.
    """
    headers = {"Authorization": f"Bearer {key}"}
    with (
        Client(url, key, limit=ANSWER_SECONDS) as client,
        httpx.Client(base_url=url, headers=headers, timeout=ANSWER_SECONDS) as raw,
    ):
        other = None if other_key is None else Client(url, other_key, limit=ANSWER_SECONDS)
        shop = Shop(url=url, key=key, run=run, client=client, raw=raw, other=other)
        try:
            client.health.live()
            client.events.list(limit=1)
            if other is not None:
                other.events.list(limit=1)
        except Unauthorized as error:
            raise Unusable(f"the bridge does not know a key: {error.detail}") from error
        except (Unreachable, ValueError) as error:
            raise Unusable(f"no bridge answers at {url}: {error}") from error
        except Forbidden as error:
            raise Unusable(f"a key needs at least the scope 'read': {error.detail}") from error
        except Refused as error:
            raise Unusable(f"the bridge at {url} refuses: {error}") from error
        findings = []
        try:
            for check in checks:
                finding = _run(check, shop)
                tell(finding)
                findings.append(finding)
        finally:
            if other is not None:
                other.close()
    return findings


def _run(check: Check, shop: Shop) -> Finding:
    started = time.monotonic()
    outcome, reason = Outcome.PASSED, None
    try:
        check.work(shop)
    except Skip as skip:
        outcome, reason = Outcome.SKIPPED, str(skip)
    except Forbidden as error:
        outcome, reason = Outcome.SKIPPED, f"the key may not do this: {error.detail}"
    except Broken as broken:
        outcome, reason = Outcome.FAILED, str(broken)
    except (PlazaError, httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        # An answer that is not at all as the rule expects it.
        outcome, reason = Outcome.FAILED, f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - started, 3)
    return Finding(check.name, check.proves, check.words, outcome, reason, seconds)
