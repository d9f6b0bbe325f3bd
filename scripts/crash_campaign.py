#!/usr/bin/env python3
"""Kill the node at every step under load, and compare to the unit that nothing is doubled or lost.

Runs a chain (anvil), bridges, a worker and a receiver of webhooks, each a process of its own, and a
marketplace of several clients that keeps its own durable record. Processes are told to SIGKILL
themselves at the steps of node/failpoints.py, one after the other, all evenly; others are killed at
random moments, the chain and the receiver too. Every so many kills the load stops, and chain,
database, record and webhooks are compared. The first difference ends the campaign with code 1,
names the thing, and keeps the folder. Ctrl-C ends the killing, compares, and reports.

Examples:
    scripts/crash_campaign.py --kills 500
    scripts/crash_campaign.py --database postgresql --kills 200 --seed 7
    scripts/crash_campaign.py --kills 100 --faults           # and a bad network to the chain
    scripts/crash_campaign.py --kills 0 --seconds 60 --faults   # the bad network alone
    scripts/crash_campaign.py --kills 40 --sabotage forget-keys # must fail
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from node.chain.anvil import find_anvil
from node.failpoints import STEPS
from scripts.crash import sabotage
from scripts.crash.compare import Verdict, compare, drain
from scripts.crash.proxy import Faults
from scripts.crash.record import Broken, Record
from scripts.crash.shop import Customers, Shop
from scripts.crash.stage import Stage, Victim
from scripts.postgresql import Server, find_programs

STEP_SECONDS = 30.0  # for a process to come to its step; without load nothing happens
STOP_SECONDS = 150.0  # for the clients to end what they are at
AGAIN = 40  # answered requests that are sent once more at every comparison
PROVOKE_SECONDS = 1.5  # from the start of a process to what brings it to a rare step
# Mean seconds between two kills at random, by what is killed.
AT_RANDOM = {"worker": 12.0, "bridge": 8.0, "receiver": 10.0, "chain": 20.0}

# Reached often: to die at the first would leave nothing in flight.
_MOST = {
    "store.begun": 30,
    "store.committing": 30,
    "store.committed": 30,
    "bridge.answered": 40,
    "outbox.queue_read": 40,
    "index.head_read": 40,
    "webhooks.events_read": 20,
}
_USUAL_MOST = {"bridge": 15, "worker": 5}
_ONCE = ("webhooks.leading", "outbox.re", "outbox.looked_up", "index.went", "index.roll", "deadl")
_NEED_A_LOST_BLOCK = ("index.went_back", "index.rolling_back", "index.rolled_back")
_NEED_A_LOST_BLOCK += ("outbox.replaying", "outbox.resending", "outbox.looked_up", "outbox.resent")


@dataclass
class Tally:
    """What happened at one step."""

    kills: int = 0
    missed: int = 0
    seconds: float = 0.0


@dataclass
class Result:
    """A campaign."""

    database: str
    seed: int
    faults: bool
    tallies: dict[tuple[str, str], Tally]
    at_random: Counter[str] = field(default_factory=Counter)
    comparisons: int = 0
    checked: int = 0
    doubled: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    seconds: float = 0.0
    killing_seconds: float = 0.0
    intentions: int = 0
    lost_answers: int = 0
    proxied: Counter[str] = field(default_factory=Counter)

    @property
    def at_steps(self) -> int:
        return sum(tally.kills for tally in self.tallies.values())

    @property
    def kills(self) -> int:
        return self.at_steps + self.at_random.total()

    @property
    def ok(self) -> bool:
        return not (self.doubled or self.lost or self.different)

    def add(self, verdict: Verdict) -> None:
        self.comparisons += 1
        self.checked += verdict.checked
        self.doubled += verdict.doubled
        self.lost += verdict.lost
        self.different += verdict.different

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "database": self.database,
            "seed": self.seed,
            "faults": self.faults,
            "kills": self.kills,
            "kills_at_steps": self.at_steps,
            "kills_at_random": dict(self.at_random),
            "kills_per_minute": round(self.kills / max(self.killing_seconds, 1) * 60, 1),
            "seconds": round(self.seconds, 1),
            "intentions": self.intentions,
            "lost_answers": self.lost_answers,
            "comparisons": self.comparisons,
            "figures_compared": self.checked,
            "doubled": self.doubled,
            "lost": self.lost,
            "different": self.different,
            "rpc_faults": dict(self.proxied),
            "steps": [
                {
                    "process": role,
                    "step": step,
                    "kills": tally.kills,
                    "not_reached": tally.missed,
                    "mean_seconds": round(tally.seconds / tally.kills, 2) if tally.kills else None,
                }
                for (role, step), tally in self.tallies.items()
            ],
        }


def steps_of(role: str) -> list[str]:
    """The steps of the table at which a bridge, or the worker, can die."""
    return [
        step
        for step in STEPS
        if step.startswith("store.") or step.startswith("bridge.") == (role == "bridge")
    ]


class Campaign:
    """Kills, and what goes on meanwhile.

    Args:
        kills: how many are wanted, at steps and at random.
        seconds: the load goes on for at least so long.
        check_every: kills between two comparisons.
        say: told of what happens.
    """

    def __init__(
        self,
        stage: Stage,
        result: Result,
        *,
        kills: int,
        seconds: float,
        check_every: int,
        clients: int,
        say: Any,
    ) -> None:
        self._stage = stage
        self._result = result
        self._kills = kills
        self._seconds = seconds
        self._check_every = check_every
        self._clients = clients
        self._say = say
        self._chance = random.Random(result.seed)  # noqa: S311 (no secret)
        self._pausing = asyncio.Event()
        self._interrupted = asyncio.Event()
        self._reports: defaultdict[str, int] = defaultdict(int)

    def stop(self) -> None:
        """Kill no more: compare, and come to an end."""
        self._interrupted.set()

    async def run(self) -> None:
        """Raises: Broken."""
        stage = self._stage
        record = Record(stage.folder / "record.db")
        shop = Shop(record, stage.bridge_urls, stage.api_key, self._chance, f"s{self._result.seed}")
        self._shop = shop
        started = time.monotonic()
        try:
            for bridge in stage.bridges:
                await bridge.start()
            await stage.worker.start()
            endpoint = await shop.post("/v1/webhook_endpoints", {"url": stage.receiver_url})
            first_seq = max((e["seq"] for e in await shop.events_after(0)), default=0)
            await stage.add_receiver(endpoint["secret"]).start()
            customers: list[Customers] = []
            others: list[str] = []
            for number in range(self._clients):
                own = random.Random(f"{self._result.seed}/{number}")  # noqa: S311
                customers.append(Customers(shop, own, others))
            while True:
                await self._spell(shop, customers, started)
                await self._check(shop, endpoint["id"], first_seq)
                enough = time.monotonic() - started >= self._seconds
                over = self._result.kills >= self._kills and enough
                if over or not self._result.ok or self._interrupted.is_set():
                    return
        finally:
            self._result.seconds = time.monotonic() - started
            self._result.intentions = record.count()
            self._result.lost_answers = shop.lost_answers
            if stage.proxy is not None:
                self._result.proxied = stage.proxy.counts
            await shop.close()
            record.close()

    # --------------------------------------------------------------------- a spell of killing

    async def _spell(self, shop: Shop, customers: list[Customers], started: float) -> None:
        """Load and kills, until it is time to compare; then everything runs again, unharmed."""
        stage = self._stage
        shop.stopping = False
        self._pausing.clear()
        before = self._result.kills
        began = time.monotonic()
        lives = [asyncio.create_task(customer.live()) for customer in customers]
        killers: list[asyncio.Task[None]] = []
        if self._kills:
            victims = [*stage.bridges, stage.worker]
            killers = [asyncio.create_task(self._keep_killing(victim)) for victim in victims]
            killers.append(asyncio.create_task(self._keep_up(stage.receiver)))
            killers += [
                asyncio.create_task(self._kill_at_random(what, mean))
                for what, mean in AT_RANDOM.items()
            ]
        try:
            while True:
                _raise_first(lives + killers)
                done = self._result.kills - before
                enough = time.monotonic() - started >= self._seconds
                if self._interrupted.is_set():
                    break
                if self._kills and (
                    done >= self._check_every or (self._result.kills >= self._kills and enough)
                ):
                    break
                if not self._kills and enough:
                    break
                await asyncio.sleep(0.2)
            self._pausing.set()
            await _all_of(killers, STEP_SECONDS)
            for victim in (*stage.bridges, stage.worker, stage.receiver):
                await victim.keep()  # it may have been killed at the last moment
            shop.stopping = True
            self._say(f"{self._result.kills} kills; the clients end what they are at")
            await _all_of(lives, STOP_SECONDS)
        finally:
            self._result.killing_seconds += time.monotonic() - began
            for task in lives + killers:
                task.cancel()
            await asyncio.gather(*lives, *killers, return_exceptions=True)

    async def _keep_killing(self, victim: Victim) -> None:
        """Let a process run into one step after the other, each time it is started anew."""
        if victim.kill():
            await victim.wait()
        while not self._pausing.is_set():
            step, tally = self._choose(victim.role)
            most = 1 if step.startswith(_ONCE) else _MOST.get(step, _USUAL_MOST[victim.role])
            began = time.monotonic()
            await victim.start(f"{step}:{self._chance.randint(1, most)}")
            ending = asyncio.create_task(victim.wait())
            provoking = asyncio.create_task(self._provoke(step))
            pausing = asyncio.create_task(self._pausing.wait())
            try:
                await asyncio.wait(
                    {ending, pausing}, timeout=STEP_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                provoking.cancel()
                pausing.cancel()
            if not ending.done():
                if not self._pausing.is_set():
                    tally.missed += 1
                    self._result.at_random[victim.role] += 1
                    self._say(f"{victim.name}: {step} was not reached")
                victim.kill()
                await ending
                continue
            if await ending:
                tally.kills += 1
                tally.seconds += time.monotonic() - began
                self._report()
            await asyncio.gather(provoking, return_exceptions=True)
        await victim.start()

    def _choose(self, role: str) -> tuple[str, Tally]:
        """The step that was tried least, by chance among equals."""
        tallies = {step: self._result.tallies[role, step] for step in steps_of(role)}
        least = min(tally.kills + tally.missed for tally in tallies.values())
        equals = [step for step, tally in tallies.items() if tally.kills + tally.missed == least]
        step = self._chance.choice(equals)
        return step, tallies[step]

    async def _provoke(self, step: str) -> None:
        """Bring about what leads to a rare step."""
        await asyncio.sleep(PROVOKE_SECONDS)
        if step.startswith("deadlines."):
            await asyncio.shield(asyncio.create_task(self._jump()))
        while step in _NEED_A_LOST_BLOCK:
            await self._kill_chain()
            await asyncio.sleep(4 * PROVOKE_SECONDS)

    async def _jump(self) -> None:
        """Move the chain past the end of all disputes; nothing under way may run out by it."""
        async with self._shop.calm(STEP_SECONDS) as is_calm:
            if is_calm:
                await self._stage.jump(STEP_SECONDS)

    async def _kill_at_random(self, what: str, mean_seconds: float) -> None:
        while True:
            pause = self._chance.expovariate(1 / mean_seconds)
            try:
                await asyncio.wait_for(self._pausing.wait(), pause)
                return
            except TimeoutError:
                pass
            if what == "chain":
                await self._kill_chain()
                continue
            victims = {"worker": [self._stage.worker], "receiver": [self._stage.receiver]}
            victim = self._chance.choice(victims.get(what, self._stage.bridges))
            if victim.kill():  # whoever keeps it running starts it again
                self._result.at_random[what] += 1
                self._report()

    async def _kill_chain(self) -> None:
        self._result.at_random["chain"] += 1
        await asyncio.shield(asyncio.create_task(self._stage.kill_chain()))
        self._report()

    async def _keep_up(self, victim: Victim) -> None:
        """Start a process again whenever it was killed."""
        while not self._pausing.is_set():
            ending = asyncio.create_task(victim.wait())
            pausing = asyncio.create_task(self._pausing.wait())
            await asyncio.wait({ending, pausing}, return_when=asyncio.FIRST_COMPLETED)
            pausing.cancel()
            if ending.done():
                await ending
                await victim.start()
            else:
                ending.cancel()

    def _report(self) -> None:
        kills = self._result.kills
        if kills // 25 != self._reports["kills"]:
            self._reports["kills"] = kills // 25
            self._say(f"{kills} kills of {self._kills}")

    # -------------------------------------------------------------------------- comparing

    async def _check(self, shop: Shop, endpoint: str, first_seq: int) -> None:
        await drain(self._stage, shop, endpoint, first_seq)
        answered = [one for one in shop.record.read() if one.resource_id is not None]
        for one in self._chance.sample(answered, min(AGAIN, len(answered))):
            await shop.again(one.key, one.path, one.body)
        verdict = await compare(self._stage, shop, first_seq)
        self._result.add(verdict)
        state = "equal" if verdict.ok else "DIFFERENT"
        self._say(f"{verdict.checked} figures compared: {state}")


def _raise_first(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled() and task.exception() is not None:
            task.result()


async def _all_of(tasks: list[asyncio.Task[None]], seconds: float) -> None:
    """Wait for all; the first that fails is raised at once.

    Raises:
        Broken: they do not end in time.
    """
    if not tasks:
        return
    done, pending = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    _raise_first(list(done))
    if pending:
        raise Broken("lost", f"{len(pending)} of {len(tasks)} did not end within {seconds:.0f} s")


async def run_campaign(
    folder: Path,
    *,
    database: str = "sqlite",
    database_url: str | None = None,
    seed: int = 1,
    kills: int = 500,
    seconds: float = 0.0,
    check_every: int = 100,
    clients: int = 8,
    bridges: int = 2,
    faults: Faults | None = None,
    broken_by: str | None = None,
    say: Any = lambda _words: None,
) -> Result:
    """Run a campaign in a new folder; its result tells whether anything was wrong."""
    roles = ("bridge", "worker")
    tallies = {(role, step): Tally() for role in roles for step in steps_of(role)}
    result = Result(database, seed, faults is not None, tallies)
    chance = random.Random(seed)  # noqa: S311
    stage = Stage(
        folder,
        database_url=database_url,
        bridges=bridges,
        faults=faults,
        chance=chance,
        sabotage=broken_by,
    )
    await stage.open()
    campaign = Campaign(
        stage,
        result,
        kills=kills,
        seconds=seconds,
        check_every=check_every,
        clients=clients,
        say=say,
    )
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, campaign.stop)
    try:
        await campaign.run()
    except Broken as broken:
        getattr(result, broken.how).append(broken.words)
    finally:
        await stage.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
    return result


def show(result: Result, console: Console) -> None:
    """The table of steps, and the outcome."""
    table = Table(title=f"Killed at each step ({result.database}, seed {result.seed})")
    for column in ("process", "step", "kills", "not reached", "mean s"):
        table.add_column(column, justify="left" if column in ("process", "step") else "right")
    for (role, step), tally in result.tallies.items():
        mean = f"{tally.seconds / tally.kills:.1f}" if tally.kills else ""
        table.add_row(role, step, str(tally.kills), str(tally.missed or ""), mean)
    for what, count in sorted(result.at_random.items()):
        table.add_row(what, "at random", str(count), "", "")
    console.print(table)
    figures = result.as_dict()
    console.print(
        f"{result.kills} kills ({result.at_steps} at steps),"
        f" {figures['kills_per_minute']} a minute;"
        f" {result.intentions} intentions, {result.lost_answers} answers lost;"
        f" {result.comparisons} comparisons of {result.checked} figures in all"
    )
    if result.proxied:
        console.print("faults: " + ", ".join(f"{k} {n}" for k, n in result.proxied.items()))
    different = f", {len(result.different)} different" if result.different else ""
    console.print(f"{len(result.doubled)} doubled, {len(result.lost)} lost{different}")
    for how in ("doubled", "lost", "different"):
        for words in getattr(result, how)[:20]:
            console.print(f"  {how}: {words}", style="red", markup=False)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--kills", type=int, default=500, help="how many (default 500; 0: none)")
    parser.add_argument("--seconds", type=float, default=0, help="go on for at least so long")
    parser.add_argument("--seed", type=int, default=1, help="of steps, choices and faults")
    parser.add_argument("--clients", type=int, default=8, help="of the marketplace (default 8)")
    parser.add_argument("--bridges", type=int, default=2, help="bridge processes (default 2)")
    parser.add_argument(
        "--check-every", type=int, default=100, help="kills between comparisons (default 100)"
    )
    parser.add_argument("--faults", action="store_true", help="a bad network to the chain as well")
    parser.add_argument("--sabotage", choices=sorted(sabotage.WAYS), help="break the node first")
    parser.add_argument("--folder", type=Path, help="new, for data and logs; it is kept")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    if find_anvil() is None:
        print("crash campaign: no anvil binary here: run `make setup`", file=sys.stderr)
        return 2
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="plaza-crash-"))
    started = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {words}", file=sys.stderr, flush=True)

    url = None
    if arguments.database == "postgresql":
        programs = find_programs()
        if programs is None:
            print("crash campaign: no PostgreSQL programs here", file=sys.stderr)
            return 2
        url = Server(programs).new_database()
    work: Coroutine[Any, Any, Result] = run_campaign(
        folder / "campaign",
        database=arguments.database,
        database_url=url,
        seed=arguments.seed,
        kills=arguments.kills,
        seconds=arguments.seconds,
        check_every=arguments.check_every,
        clients=arguments.clients,
        bridges=arguments.bridges,
        faults=Faults.of_a_bad_day() if arguments.faults else None,
        broken_by=arguments.sabotage,
        say=say,
    )
    result = asyncio.run(work)
    if arguments.json:
        print(json.dumps(result.as_dict(), indent=2))
    else:
        show(result, Console())
    if not result.ok:
        print(f"crash campaign: the folder is kept: {folder}", file=sys.stderr)
        return 1
    if arguments.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
