"""Requests that share a transaction keep a fate of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from node.bridge.rows import add
from node.bridge.writer import GroupWriter
from node.store.models import Merchant
from tests.node.bridge.support import COIN, Desk


class CountingStore:
    def __init__(self, desk: Desk) -> None:
        self._store = desk.store
        self.transactions = 0

    async def write(self, work: Callable[[Session], object]) -> object:
        self.transactions += 1
        return await self._store.write(work)


def a_merchant(name: str, error: Exception | None = None) -> Callable[[Session], str]:
    def work(session: Session) -> str:
        add(session, Merchant, id=name, name=name, fee_bps=0, dispute_window=0, created_at=0)
        if error is not None:
            raise error
        return name

    return work


async def test_what_one_refuses_takes_nothing_of_the_others_with_it(desk: Desk) -> None:
    store = CountingStore(desk)
    writer = GroupWriter(store)  # type: ignore[arg-type]
    refusal = ValueError("not this one")
    works = [a_merchant(f"m{n}", refusal if n in (3, 7) else None) for n in range(20)]
    works.append(a_merchant("m5"))  # there is one by then
    outcomes = await asyncio.gather(*map(writer.write, works), return_exceptions=True)
    assert [n for n in range(20) if outcomes[n] is refusal] == [3, 7]
    assert [n for n in range(20) if outcomes[n] == f"m{n}"] == [
        n for n in range(20) if n not in (3, 7)
    ]
    assert isinstance(outcomes[20], IntegrityError)
    assert store.transactions == 2  # together, and again apart
    count = desk.store.read_now(lambda s: s.scalar(select(func.count()).select_from(Merchant)))
    assert count == 18 + 1


async def test_a_lone_refusal_is_rolled_back(desk: Desk) -> None:
    writer = GroupWriter(desk.store)
    with pytest.raises(ValueError, match="not this one"):
        await writer.write(a_merchant("m1", ValueError("not this one")))
    assert [row.name for row in desk.rows(Merchant)] == ["Demo shop"]


async def test_a_commit_that_fails_is_told_to_all(desk: Desk) -> None:
    class Broken:
        async def write(self, work: Callable[[Session], object]) -> object:
            raise OSError("disk full")

    writer = GroupWriter(Broken())  # type: ignore[arg-type]
    works = [a_merchant(f"m{n}") for n in range(5)]
    outcomes = await asyncio.gather(*map(writer.write, works), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["disk full"] * 5


async def test_a_caller_that_went_away_does_not_disturb_the_others(desk: Desk) -> None:
    writer = GroupWriter(desk.store)
    tasks = [asyncio.create_task(writer.write(a_merchant(f"m{n}"))) for n in range(5)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [n for n in range(5) if outcomes[n] == f"m{n}"] == [0, 1, 3, 4]


async def test_coin_is_not_spent_twice_by_requests_of_one_transaction(desk: Desk) -> None:
    sender, receiver = await desk.account(balance=3 * COIN), await desk.account()
    body = {"from": sender["id"], "to": receiver["id"], "amount": str(COIN)}
    answers = await asyncio.gather(*(desk.shop.post("/v1/transfers", body) for _ in range(10)))
    codes = [answer.json().get("code") for answer in answers]
    assert codes.count(None) == 3
    assert codes.count("insufficient_funds") == 7
    assert len(desk.operations("transfer.send")) == 3
