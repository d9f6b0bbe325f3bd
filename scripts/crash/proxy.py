"""A proxy between node and chain that loses, doubles, delays, drops, garbles and lies, by the dice.

Real HTTP on both sides. What it does to a request is decided for the request as a whole, as a load
balancer or a bad network would; errors of single calls and the order of answers, inside a batch.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from eth_utils.crypto import keccak

LAGGING = {"eth_blockNumber", "eth_getBlockByNumber", "eth_getLogs"}
MOST_LAG = 4  # blocks
MOST_DELAY = 1.5  # seconds
_TRY_AGAIN = -32005  # "limit exceeded", as public endpoints say it


@dataclass(frozen=True)
class Faults:
    """Chances, from 0 to 1, that a request meets each fault.

    Attributes:
        lose: it is carried out, and the connection is cut before the answer.
        double: it is carried out twice, and answered the second time.
        delay: it waits for up to `MOST_DELAY` seconds.
        drop: sent transactions are answered with their hashes, and never passed on.
        lag: it is answered as of some blocks ago.
        fail: it is not carried out, and answered with HTTP 502.
        garble: it is carried out, and the answer is cut in the middle.
        item_error: one call of a batch is not carried out, and answered with an error.
        shuffle: the answers of a batch come in another order.
    """

    lose: float = 0.0
    double: float = 0.0
    delay: float = 0.0
    drop: float = 0.0
    lag: float = 0.0
    fail: float = 0.0
    garble: float = 0.0
    item_error: float = 0.0
    shuffle: float = 0.0

    @classmethod
    def of_a_bad_day(cls) -> Faults:
        """All of them, so that one request in six meets one."""
        return cls(
            lose=0.02,
            double=0.02,
            delay=0.03,
            drop=0.05,
            lag=0.02,
            fail=0.02,
            garble=0.01,
            item_error=0.01,
            shuffle=0.1,
        )


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes JSON-RPC on.

    Args:
        target: URL of the chain.

    Attributes:
        counts: how often each fault happened.
    """

    def __init__(self, target: str, faults: Faults, chance: random.Random) -> None:
        self.target = target
        self.faults = faults
        self._chance = chance
        self.counts: Counter[str] = Counter()
        self.url = ""
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=60),
            connector=aiohttp.TCPConnector(limit=64, keepalive_timeout=4),
        )
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self._runner is not None
        assert self._session is not None
        await self._runner.cleanup()
        await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        chosen = {
            field.name
            for field in fields(Faults)
            if self._chance.random() < getattr(self.faults, field.name)
        }
        if self._happens("delay", chosen):
            await asyncio.sleep(self._chance.uniform(0, MOST_DELAY))
        if self._happens("fail", chosen):
            return web.Response(status=502, text="bad gateway")
        is_batch = isinstance(body, list)
        try:
            answers = await self._answer(body if is_batch else [body], chosen, is_batch=is_batch)
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError):
            return web.Response(status=502, text="the chain does not answer")  # it is being killed
        if self._happens("lose", chosen):
            return self._cut(request)
        content = orjson.dumps(answers if is_batch else answers[0])
        if self._happens("garble", chosen):
            content = content[: len(content) // 2]
        return web.Response(body=content, content_type="application/json")

    def _happens(self, fault: str, chosen: set[str]) -> bool:
        if fault in chosen:
            self.counts[fault] += 1
        return fault in chosen

    @staticmethod
    def _cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _answer(
        self, calls: list[dict[str, Any]], chosen: set[str], *, is_batch: bool
    ) -> list[dict[str, Any]]:
        by_us: dict[Any, dict[str, Any]] = {}
        if "drop" in chosen:
            for call in calls:
                if call["method"] == "eth_sendRawTransaction":
                    self.counts["drop"] += 1
                    hash_ = "0x" + keccak(hexstr=call["params"][0]).hex()
                    by_us[call["id"]] = {"jsonrpc": "2.0", "id": call["id"], "result": hash_}
        if is_batch and self._happens("item_error", chosen):
            error = {"code": _TRY_AGAIN, "message": "too many requests"}
            number = self._chance.choice(calls)["id"]
            by_us[number] = {"jsonrpc": "2.0", "id": number, "error": error}
        passed = [call for call in calls if call["id"] not in by_us]
        lag = 0
        if "lag" in chosen and any(call["method"] in LAGGING for call in passed):
            self.counts["lag"] += 1
            lag = self._chance.randint(1, MOST_LAG)
        answers = await self._ask_lagging(passed, lag) if passed else []
        if passed and self._happens("double", chosen):
            answers = await self._ask_lagging(passed, lag)
        answers += by_us.values()
        if is_batch and len(answers) > 1 and self._happens("shuffle", chosen):
            self._chance.shuffle(answers)
        return answers

    async def _ask_lagging(self, calls: list[dict[str, Any]], lag: int) -> list[dict[str, Any]]:
        """Ask as of some blocks ago, where the question is one of those that go by blocks."""
        if not lag:
            return await self._ask(calls)
        asked = [{"jsonrpc": "2.0", "id": "head", "method": "eth_blockNumber", "params": []}]
        (answer,) = await self._ask(asked)
        head = max(0, int(answer["result"], 16) - lag)
        answers: dict[Any, dict[str, Any]] = {}
        changed = []
        for call in calls:
            method, params = call["method"], call["params"]
            if method == "eth_blockNumber":
                answers[call["id"]] = {"jsonrpc": "2.0", "id": call["id"], "result": hex(head)}
            elif method == "eth_getBlockByNumber" and _is_after(params[0], head):
                answers[call["id"]] = {"jsonrpc": "2.0", "id": call["id"], "result": None}
            elif method == "eth_getBlockByNumber" and params[0] in ("latest", "pending"):
                changed.append({**call, "params": [hex(head), *params[1:]]})
            elif method == "eth_getLogs" and _is_after(params[0].get("toBlock", "0x0"), head):
                changed.append({**call, "params": [{**params[0], "toBlock": hex(head)}]})
            else:
                changed.append(call)
        if changed:
            answers |= {answer["id"]: answer for answer in await self._ask(changed)}
        return [answers[call["id"]] for call in calls]

    async def _ask(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        assert self._session is not None
        headers = {"content-type": "application/json"}
        async with self._session.post(
            self.target, data=orjson.dumps(calls), headers=headers
        ) as response:
            answers: list[dict[str, Any]] = orjson.loads(await response.read())
        by_id = {answer["id"]: answer for answer in answers}
        return [by_id[call["id"]] for call in calls]


def _is_after(block: str, head: int) -> bool:
    return block.startswith("0x") and int(block, 16) > head
