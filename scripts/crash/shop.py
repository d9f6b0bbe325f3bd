"""A marketplace under crashes: many clients, each with a buyer or two and a seller of its own.

A client that gets no answer sends the same request with the same key again, to whichever bridge
runs. Now and then it gives up instead, and does not know what became of its request. Refusals that
a crash explains (a chain that came back some blocks behind does not know yet what it knew) are
waited out; after `PATIENCE_SECONDS` they count as lost.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import orjson

from scripts.crash.record import Broken, Record

# Longer than all the time that a campaign moves its chain by.
DISPUTE_WINDOW = 20 * 365 * 86_400
PATIENCE_SECONDS = 120.0
WAIT_SECONDS = 3  # Prefer: wait
# A quarter of it still has a fee of whole atomic units, at 2.5 %.
UNIT = 1_600
THINK_SECONDS = 0.5  # at most, between two steps of a client
GIVE_UP = 0.3  # share of lost answers after which a client does not ask again, where it may

# What the node signs for managed accounts so that it is valid for some days only.
RUNNING_OUT = {"transfer", "purchase.refund", "purchase.dispute"}

# What was done is not done yet, or not again yet, on a chain that went back.
_LATER = {
    "account_not_active",
    "amount_too_large",
    "dispute_window_open",
    "insufficient_funds",
    "invalid_state",
    "operation_pending",
}
_UNSETTLED = {"queued", "submitted", "conflict"}
_TAKEN = {"reference_taken", "order_id_taken", "statement_taken", "idempotency_key_reused"}


class Shop:
    """The marketplace's side of HTTP.

    Args:
        bridges: URLs of bridges of the same node.
        name: goes into every key and reference.
    """

    def __init__(
        self, record: Record, bridges: Sequence[str], api_key: str, chance: random.Random, name: str
    ) -> None:
        self.record = record
        self.name = name
        self._bridges = bridges
        self._chance = chance
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=15, connect=5),
            connector=aiohttp.TCPConnector(limit=100),
        )
        self._numbers = itertools.count(1)
        self._calm = asyncio.Event()  # nothing that runs out is under way, or may begin
        self._calm.set()
        self._running_out = 0
        self._calming = asyncio.Lock()
        self.lost_answers = 0
        self.redelivered: set[str] = set()  # events asked for once more, out of their order
        self.stopping = False

    async def close(self) -> None:
        await self._session.close()

    def new_name(self, what: str) -> str:
        """A reference that nothing else has."""
        return f"{self.name}-{what}-{next(self._numbers)}"

    async def ask(
        self, kind: str, path: str, body: dict[str, Any], *, may_give_up: bool = False
    ) -> dict[str, Any] | None:
        """Ask until it is done; return the resource, or None if it was given up.

        Raises:
            Broken: it is doubled or lost.
        """
        if kind not in RUNNING_OUT:
            return await self._ask(kind, path, body, may_give_up)
        await self._calm.wait()
        self._running_out += 1
        try:
            return await self._ask(kind, path, body, may_give_up)
        finally:
            self._running_out -= 1

    @asynccontextmanager
    async def calm(self, seconds: float) -> AsyncIterator[bool]:
        """Within it no client asks for what runs out, so that the chain's time may be moved; False
        where some of it does not end in time."""
        async with self._calming:
            self._calm.clear()
            try:
                end = time.monotonic() + seconds
                while self._running_out and time.monotonic() < end:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                yield not self._running_out
            finally:
                self._calm.set()

    async def _ask(
        self, kind: str, path: str, body: dict[str, Any], may_give_up: bool
    ) -> dict[str, Any] | None:
        key = self.new_name(kind)
        self.record.intend(key, kind, path, body)
        patient_until: float | None = None
        while True:
            wait = WAIT_SECONDS if self._chance.random() < 0.8 else 0
            status, answer, replayed = await self._attempt(key, path, body, wait)
            if status is None or status == 503:
                known = status is None  # a 503 says that nothing was done
                if known and may_give_up and self._chance.random() < GIVE_UP:
                    self.record.abandon(key)
                    return None
                await asyncio.sleep(self._chance.uniform(0.05, 0.4))
                continue
            if status >= 400:
                code = str(answer.get("code"))
                self.record.refuse(key, code)
                if code in _TAKEN:
                    raise Broken("doubled", f"{key} was forgotten: {answer.get('detail')}")
                if code not in _LATER:
                    raise Broken("lost", f"{key} {path}: {status} {code}: {answer.get('detail')}")
                now = time.monotonic()
                patient_until = patient_until or now + PATIENCE_SECONDS
                if now > patient_until:
                    raise Broken(
                        "lost",
                        f"{key} {path} is refused for {PATIENCE_SECONDS:.0f} s:"
                        f" {code}: {answer.get('detail')}",
                    )
                await asyncio.sleep(0.5)
                continue
            resource_id = answer.get("id") or answer["purchase"]  # a dispute is its purchase's
            # What was asked before is answered as it was then: 202, settled or not.
            settled = status != 202 or (replayed and await self._is_settled(resource_id))
            self.record.answer(key, resource_id, replayed=replayed, settled=settled)
            if answer.get("error"):
                raise Broken("lost", f"{key}, {resource_id}: {answer['error']}")
            if settled:
                return answer
            await asyncio.sleep(0.0 if wait else 0.2)

    async def _is_settled(self, resource_id: str) -> bool:
        page = await self.get(f"/v1/operations?limit=100&resource_id={resource_id}")
        return all(operation["status"] not in _UNSETTLED for operation in page["data"])

    async def again(self, key: str, path: str, body: dict[str, Any]) -> None:
        """Ask for what was answered before; nothing may come of it.

        Raises:
            Broken: it is doubled.
        """
        while True:
            status, answer, replayed = await self._attempt(key, path, body, 0)
            if status is None or status == 503:
                await asyncio.sleep(0.2)
                continue
            if status >= 400:
                raise Broken("doubled", f"{key} was forgotten: {status} {answer.get('code')}")
            resource_id = answer.get("id") or answer["purchase"]
            self.record.answer(key, resource_id, replayed=replayed, settled=False)
            return

    async def get(self, path: str, bridge: int | None = None) -> Any:
        """Read something, from a bridge that runs."""
        for _ in range(200):
            url = self._bridges[bridge or 0] if bridge else self._chance.choice(self._bridges)
            try:
                async with self._session.get(url + path, headers=self._headers) as response:
                    content = await response.read()
                    if response.status == 200:
                        return orjson.loads(content)
                    if response.status != 503:
                        raise Broken(
                            "different", f"GET {path}: {response.status} {content[:300]!r}"
                        )
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(0.2)
        raise Broken("different", f"GET {path}: no answer")

    async def list_all(self, path: str) -> list[dict[str, Any]]:
        """All items of a list."""
        items: list[dict[str, Any]] = []
        cursor = ""
        mark = "&" if "?" in path else "?"
        while True:
            page = await self.get(f"{path}{mark}limit=100{cursor}")
            items += page["data"]
            if not page["has_more"]:
                return items
            cursor = f"&cursor={page['next_cursor']}"

    async def events_after(self, seq: int) -> list[dict[str, Any]]:
        """All events after one, oldest first."""
        events: list[dict[str, Any]] = []
        while True:
            page = await self.get(f"/v1/events?after={seq}&limit=1000")
            events += page["data"]
            seq = page["next_after"]
            if not page["has_more"]:
                return events

    async def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask for something that is no money and not recorded (webhooks); with patience."""
        key = self.new_name("setup")
        for _ in range(200):
            with suppress(aiohttp.ClientConnectorError):
                status, answer, _ = await self._send(key, path, body, 0)
                if status is not None and status < 400:
                    return answer
            await asyncio.sleep(0.2)
        raise Broken("different", f"POST {path}: no answer")

    async def _attempt(
        self, key: str, path: str, body: dict[str, Any], wait: int
    ) -> tuple[int | None, dict[str, Any], bool]:
        self.record.send(key)
        try:
            status, answer, replayed = await self._send(key, path, body, wait)
        except aiohttp.ClientConnectorError:  # nobody has got it
            return 503, {}, False
        if status is None:
            self.lost_answers += 1
            self.record.lose(key)
        elif status >= 500 and status != 503:
            raise Broken("different", f"{key} {path}: {status} {answer}")
        return status, answer, replayed

    async def _send(
        self, key: str, path: str, body: dict[str, Any] | None, wait: int
    ) -> tuple[int | None, dict[str, Any], bool]:
        headers = {**self._headers, "Idempotency-Key": key}
        if wait:
            headers["Prefer"] = f"wait={wait}"
        data = None if body is None else orjson.dumps(body)
        url = self._chance.choice(self._bridges) + path
        try:
            async with self._session.post(url, headers=headers, data=data) as response:
                answer = orjson.loads(await response.read())
                return response.status, answer, "Idempotency-Replayed" in response.headers
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None, {}, False


class Customers:
    """One client of the shop: it does one thing after the other, with people of its own.

    Args:
        others: accounts that anybody may send coin to; each client adds its own.
    """

    def __init__(self, shop: Shop, chance: random.Random, others: list[str]) -> None:
        self._shop = shop
        self._chance = chance
        self._others = others
        self._buyers: list[str] = []
        self._sellers: list[str] = []
        self._coin: dict[str, int] = {}  # at least so much is there

    async def live(self) -> None:
        """Go on until the shop is stopping.

        Raises:
            Broken: something was doubled or lost.
        """
        while len(self._buyers) < 2:
            self._buyers.append(await self._open_account("buyer"))
        while not self._sellers:
            self._sellers.append(await self._open_account("seller"))
        lives = (
            (self._top_up, 10),
            (self._transfer, 20),
            (self._sell, 30),
            (self._give_back, 12),
            (self._redeem, 12),
            (self._quarrel, 4),
            (self._grow, 4),
        )
        while not self._shop.stopping:
            (life,) = self._chance.choices(
                [one for one, _ in lives], [weight for _, weight in lives]
            )
            await life()

    async def _think(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, THINK_SECONDS))

    def _amount(self) -> int:
        return 4 * UNIT * self._chance.randint(1, 2_000)

    async def _open_account(self, kind: str) -> str:
        body = {"kinds": [kind], "reference": self._shop.new_name(kind)}
        account = await self._shop.ask("account", "/v1/accounts", body)
        assert account is not None
        self._others.append(account["id"])
        self._coin[account["id"]] = 0
        return str(account["id"])

    async def _grow(self) -> None:
        people = self._chance.choice([self._buyers, self._sellers])
        people.append(await self._open_account("buyer" if people is self._buyers else "seller"))
        if len(people) > 4:
            people.pop(0)

    async def _top_up(self) -> None:
        account = self._chance.choice(self._buyers)
        await self._fund(account, self._amount(), may_give_up=True)

    async def _fund(self, account: str, amount: int, *, may_give_up: bool = False) -> None:
        body = {
            "account": account,
            "amount": str(amount),
            "reference": self._shop.new_name("bank"),
        }
        done = await self._shop.ask("topup", "/v1/topups", body, may_give_up=may_give_up)
        if done is not None:
            self._coin[account] += amount
        await self._think()

    async def _transfer(self) -> None:
        sender = await self._somebody_with(amount := self._amount())
        others = [one for one in self._others if one != sender]
        body = {
            "from": sender,
            "to": self._chance.choice(others),
            "amount": str(amount),
            "memo": self._shop.new_name("memo"),
        }
        self._coin[sender] -= amount
        await self._shop.ask("transfer", "/v1/transfers", body, may_give_up=True)
        await self._think()

    async def _somebody_with(self, amount: int) -> str:
        account = self._chance.choice(self._buyers)
        if self._coin[account] < amount:
            await self._fund(account, 4 * amount)
        return account

    async def _redeem(self) -> None:
        account = self._chance.choice(self._buyers + self._sellers)
        amount = self._coin[account] // 2
        if not amount:
            return
        body = {
            "account": account,
            "amount": str(amount),
            "reference": self._shop.new_name("payout"),
        }
        self._coin[account] -= amount
        await self._shop.ask("redemption", "/v1/redemptions", body)
        await self._think()

    async def _buy(self, *, dispute_window: int = 0) -> tuple[str, str, str, int]:
        """An authorized purchase: its path, who pays, who is paid, and how much."""
        buyer = await self._somebody_with(amount := self._amount())
        seller = self._chance.choice(self._sellers)
        at_once = self._chance.random() < 0.5
        body = {
            "order_id": self._shop.new_name("order"),
            "payer": buyer,
            "payee": seller,
            "amount": str(amount),
            "dispute_window": dispute_window,
            "authorize": at_once,
        }
        self._coin[buyer] -= amount
        purchase = await self._shop.ask("purchase", "/v1/purchases", body)
        assert purchase is not None
        path = f"/v1/purchases/{purchase['id']}"
        await self._think()
        if not at_once:
            await self._shop.ask("purchase.authorize", f"{path}/authorize", {})
            await self._think()
        return path, buyer, seller, amount

    async def _deliver(self, path: str) -> None:
        body = {"tracking": self._shop.new_name("parcel")}
        await self._shop.ask("purchase.ship", f"{path}/ship", body)
        await self._think()
        await self._shop.ask("purchase.deliver", f"{path}/deliver", {})
        await self._think()

    async def _sell(self) -> None:
        path, buyer, seller, amount = await self._buy()
        await self._deliver(path)
        halves = self._chance.random() < 0.5
        for part in (amount // 2, amount // 2) if halves else (amount,):
            body = {"amount": str(part)}
            await self._shop.ask("purchase.release", f"{path}/release", body)
            self._coin[seller] += part - part * 250 // 10_000
            await self._think()
        if self._chance.random() < 0.4:
            back = amount // 4
            if self._coin[seller] >= back:
                body = {"amount": str(back), "reference": self._shop.new_name("return")}
                self._coin[seller] -= back
                await self._shop.ask("purchase.refund", f"{path}/refund", body)
                self._coin[buyer] += back
                await self._think()

    async def _give_back(self) -> None:
        path, buyer, seller, amount = await self._buy()
        body = {"amount": str(amount // 2)}
        await self._shop.ask("purchase.void", f"{path}/void", body)
        self._coin[buyer] += amount // 2
        await self._think()
        if self._chance.random() < 0.5:
            await self._shop.ask("purchase.void", f"{path}/void", body)
            self._coin[buyer] += amount // 2
        else:
            await self._deliver(path)
            await self._shop.ask("purchase.release", f"{path}/release", body)
            part = amount // 2
            self._coin[seller] += part - part * 250 // 10_000

    async def _quarrel(self) -> None:
        """A dispute that nobody decides: the coin goes back when its time is over."""
        path, _, _, _ = await self._buy(dispute_window=DISPUTE_WINDOW)
        await self._deliver(path)
        body = {"text": self._shop.new_name("complaint")}
        await self._shop.ask("purchase.dispute", f"{path}/disputes", body)
        await self._think()
