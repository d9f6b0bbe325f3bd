"""The bridge as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from node.keys import SealedSeed
from tests.node.bridge.support import CHAIN_NOW, Desk

PROJECT = Path(__file__).parents[3]


async def test_it_serves_the_inherited_socket_and_ends_with_0_at_sigterm(desk: Desk) -> None:
    """A request that waits for the chain is answered before, and a stream ends as it should."""
    folder = desk.settings.data
    desk.manifest.save(desk.settings.manifest_path)
    (folder / "passphrase").write_text("open sesame\n")
    SealedSeed.create(folder / "seed.json", "open sesame", b"\x05" * 32, scrypt_n=1024)
    desk.set_chain_time(CHAIN_NOW)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.set_inheritable(True)
        number = str(listener.fileno())
        bridge = subprocess.Popen(  # noqa: ASYNC220 (handed over before anything is awaited)
            [sys.executable, "-m", "node.bridge.serve"],
            cwd=PROJECT,
            env={
                **os.environ,
                "PLAZA_DATA": str(folder),
                "PLAZA_DATABASE_URL": desk.settings.store_url,
                "PLAZA_LISTEN_FD": number,
            },
            stderr=subprocess.PIPE,
            pass_fds=(listener.fileno(),),
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        headers = {"Authorization": f"Bearer {desk.shop_key.secret}", "Idempotency-Key": "k1"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as http:
            assert (await http.get("/health/live")).json() == {"status": "ok"}
            waiting = asyncio.create_task(
                http.post("/v1/accounts", json={"kinds": ["buyer"]}, headers={"Prefer": "wait=30"})
            )
            streams = asyncio.Event()

            async def stream() -> list[str]:
                lines = []
                async with http.stream("GET", "/v1/events/stream?after=0") as events:
                    async for line in events.aiter_lines():  # raises if it is cut off
                        lines.append(line)
                        if line.startswith("data:"):
                            streams.set()
                return lines

            streaming = asyncio.create_task(stream())
            while not desk.operations("account.admit"):  # noqa: ASYNC110 (it is another process)
                await asyncio.sleep(0.02)
            await asyncio.wait_for(streams.wait(), 60)
            bridge.send_signal(signal.SIGTERM)
            answer = await waiting
            assert (answer.status_code, answer.json()["status"]) == (202, "pending")
            assert "event: account.created" in await streaming
        assert await asyncio.to_thread(bridge.wait, 30) == 0
    finally:
        if bridge.poll() is None:
            bridge.kill()
        _, logged = await asyncio.to_thread(bridge.communicate)
    assert b'"path":"/v1/accounts"' in logged
    assert desk.shop_key.secret.encode() not in logged
