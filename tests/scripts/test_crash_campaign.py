"""A short crash campaign finds nothing on a sound node, and does find what a broken one does."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from node.chain.anvil import find_anvil
from node.failpoints import STEPS
from scripts import crash_campaign
from scripts.crash import compare, shop
from scripts.crash.compare import Verdict, compare_webhooks, reckon
from scripts.crash.proxy import Faults
from scripts.crash.receiver import open_inbox
from scripts.crash.record import Broken, Record
from scripts.crash_campaign import Result, run_campaign, steps_of
from scripts.postgresql import find_programs
from tests import databases

needs_anvil = pytest.mark.skipif(find_anvil() is None, reason="no anvil binary: run `make setup`")


def explain(result: Result) -> str:
    return "\n".join([*result.doubled, *result.lost, *result.different])


# --------------------------------------------------------------------------------- real nodes


@pytest.mark.parametrize(
    "database",
    [
        "sqlite",
        pytest.param(
            "postgresql",
            marks=pytest.mark.skipif(
                find_programs() is None, reason="no PostgreSQL programs: install postgresql"
            ),
        ),
    ],
)
@pytest.mark.anvil
@needs_anvil
async def test_killed_here_and_there_nothing_is_doubled_and_nothing_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    # Mostly at steps, on a slow machine too.
    rarely = dict.fromkeys(crash_campaign.AT_RANDOM, 30.0)
    monkeypatch.setattr(crash_campaign, "AT_RANDOM", rarely)
    url = databases.server().new_database() if database == "postgresql" else None
    result = await run_campaign(
        tmp_path / "campaign",
        database=database,
        database_url=url,
        seed=11,
        kills=16,
        check_every=16,
        clients=6,
    )
    assert result.ok, explain(result)
    assert result.kills >= 16
    assert result.at_steps >= 1
    assert result.comparisons == 1
    assert result.intentions > 6
    assert result.checked > 100
    if url is not None:
        databases.server().drop(url)


@pytest.mark.anvil
@needs_anvil
async def test_a_bad_network_to_the_chain_doubles_and_loses_nothing(tmp_path: Path) -> None:
    result = await run_campaign(
        tmp_path / "campaign",
        seed=5,
        kills=0,
        seconds=15,
        clients=6,
        faults=Faults.of_a_bad_day(),
    )
    assert result.ok, explain(result)
    assert result.kills == 0
    assert result.proxied.total() > 5
    assert result.comparisons == 1


@pytest.mark.anvil
@needs_anvil
@pytest.mark.parametrize(
    ("broken_by", "kills", "words"),
    [
        ("pay-twice", 0, "supply on chain is"),
        ("forget-keys", 60, "was forgotten|was taken for new|sent again|stands for"),
        ("sign-again", 60, "operation|transaction|did not end|are not settled|refused for|Used"),
        ("tell-no-more", 0, "webhook of evt_"),
    ],
    ids=lambda value: value if isinstance(value, str) and "-" in value else "",
)
async def test_a_broken_node_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken_by: str, kills: int, words: str
) -> None:
    # Those die often whose death shows it.
    often = {"worker": 3.0, "bridge": 3.0, "receiver": 1.0, "chain": 1000.0}
    monkeypatch.setattr(crash_campaign, "AT_RANDOM", often)
    # What hangs is found out too, and need not hang for long here.
    monkeypatch.setattr(crash_campaign, "STOP_SECONDS", 30.0)
    monkeypatch.setattr(compare, "DRAIN_SECONDS", 30.0)
    monkeypatch.setattr(shop, "PATIENCE_SECONDS", 20.0)
    result = await run_campaign(
        tmp_path / "campaign",
        seed=3,
        kills=kills,
        seconds=0 if kills else 15,
        check_every=20,
        clients=6,
        broken_by=broken_by,
    )
    assert not result.ok
    assert re.search(words, explain(result)), explain(result)


# ------------------------------------------------------------------------------ its judgement


def test_every_step_of_the_table_is_somebodys():
    bridge, worker = steps_of("bridge"), steps_of("worker")
    assert set(bridge) | set(worker) == set(STEPS)
    assert set(bridge) & set(worker) == {step for step in STEPS if step.startswith("store.")}


@pytest.fixture
def record(tmp_path: Path) -> Record:
    made = Record(tmp_path / "record.db")
    made.intend("k1", "topup", "/v1/topups", {"account": "acc_1", "amount": "5", "reference": "b"})
    made.send("k1")
    return made


def test_one_key_stands_for_one_thing(record: Record):
    record.answer("k1", "top_1", replayed=False, settled=False)
    record.send("k1")
    record.answer("k1", "top_1", replayed=True, settled=True)
    with pytest.raises(Broken, match="doubled: k1 made top_1, and sent again top_2"):
        record.answer("k1", "top_2", replayed=False, settled=True)
    with pytest.raises(Broken, match="taken for new"):
        record.answer("k1", "top_1", replayed=False, settled=True)


def test_a_replay_needs_a_first_time(record: Record):
    with pytest.raises(Broken, match="say it was not"):
        record.answer("k1", "top_1", replayed=True, settled=True)
    record.lose("k1")
    record.answer("k1", "top_1", replayed=True, settled=True)
    assert record.read()[0].resource_id == "top_1"


def test_an_intention_is_on_disk_before_it_is_sent(record: Record, tmp_path: Path):
    rows = sqlite3.connect(tmp_path / "record.db").execute("SELECT key, attempts FROM asked")
    assert rows.fetchall() == [("k1", 1)]


def test_what_should_be_is_reckoned_from_the_record_alone(tmp_path: Path):
    record = Record(tmp_path / "r.db")

    def asked(kind: str, resource_id: str | None, **body: Any) -> str:
        key = f"k{record.count()}"
        record.intend(key, kind, "/", body)
        record.send(key)
        if resource_id is not None:
            record.answer(key, resource_id, replayed=False, settled=True)
        return key

    asked("account", "acc_b")
    asked("account", "acc_s")
    asked("topup", "top_1", account="acc_b", amount="100000")
    given_up = asked("topup", None, account="acc_b", amount="7")
    asked("topup", None, account="acc_b", amount="1000000")
    buy = {"payer": "acc_b", "payee": "acc_s", "amount": "80000"}
    asked("purchase", "pur_1", **buy, authorize=True)
    asked("purchase.release", "pur_1", amount="40000")
    asked("purchase.void", "pur_1", amount="10000")
    asked("purchase.refund", "pur_1", amount="5000")
    asked("redemption", "red_1", account="acc_s", amount="1000")
    asked("transfer", "trf_1", **{"from": "acc_b", "to": "acc_s"}, amount="2000")
    rows = record.read()
    there = {one.key: one.resource_id for one in rows if one.resource_id is not None}
    sums = reckon(rows, {**there, given_up: "top_2"})  # this one has come about, the other not
    assert sums.supply == 100_000 + 7 - 1000
    assert sums.fees == 1000
    assert sums.held == 30_000
    assert sums.balances == {
        "acc_b": 100_000 + 7 - 80_000 + 10_000 + 5000 - 2000,
        "acc_s": 39_000 - 5000 - 1000 + 2000,
    }
    asked("purchase.dispute", "pur_1")
    rows = record.read()
    there = {one.key: one.resource_id for one in rows if one.resource_id is not None}
    sums = reckon(rows, there)
    assert (sums.held, sums.orders["pur_1"].voided) == (0, 40_000)


def test_a_verdict_tells_doubled_from_lost():
    verdict = Verdict()
    verdict.once("a top-up", 1)
    verdict.once("one given up", 0, least=0)
    verdict.same("supply", 5, 5)
    assert verdict.ok
    verdict.once("a transfer", 2)
    verdict.once("a purchase", 0)
    verdict.once("one given up", 2, least=0)
    verdict.same("supply", 5, 6)
    assert verdict.checked == 7
    assert verdict.doubled == ["a transfer is there 2 times", "one given up is there 2 times"]
    assert verdict.lost == ["a purchase is not there"]
    assert verdict.different == ["supply is 6, and should be 5"]


def test_webhooks_come_at_least_once_verified_and_in_order(tmp_path: Path):
    events = [
        {"id": f"evt_{seq}", "seq": seq, "type": "topup.created", "resource_id": resource}
        for seq, resource in ((1, "top_1"), (2, "top_2"), (3, "top_1"), (4, "top_3"))
    ]
    inbox = open_inbox(tmp_path / "inbox.db")

    def judge(*seqs: int, redelivered: tuple[str, ...] = ()) -> list[str]:
        inbox.execute("DELETE FROM received")
        for seq in seqs:
            event = events[seq - 1]
            row = (event["id"], json.dumps(event))
            inbox.execute("INSERT INTO received (id, body) VALUES (?, ?)", row)
        verdict = Verdict()
        compare_webhooks(inbox, events, redelivered, verdict)
        return list(verdict.words())

    assert judge(1, 1, 2, 4, 3, 3) == []
    assert judge(1, 2, 3) == ["lost: webhook of evt_4 (topup.created of top_3)"]
    late = ["different: webhook evt_1 of top_1 came with seq 1 after 3"]
    assert judge(2, 3, 1, 4) == late
    assert judge(2, 3, 1, 4, redelivered=("evt_1",)) == late  # its first time
    assert judge(1, 2, 3, 1, 4) == late
    assert judge(1, 2, 3, 1, 4, redelivered=("evt_1",)) == []
    inbox.execute("INSERT INTO refused (id, reason) VALUES ('evt_9', 'no signature')")
    refused = "different: webhook evt_9 could not be verified: no signature"
    assert judge(1, 2, 3, 4) == [refused]
