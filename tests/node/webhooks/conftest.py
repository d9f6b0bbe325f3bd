"""An office with a bridge, a receiver and a clock for every test that asks for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.node.bridge.support import openapi
from tests.node.webhooks.support import Clock, Office, Receiver, an_office, patch_clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    patch_clock(monkeypatch, clock)
    return clock


@pytest.fixture
async def office(tmp_path: Path, clock: Clock) -> AsyncIterator[Office]:
    office = an_office(tmp_path, clock)
    openapi(office.desk.app)
    yield office
    await office.close()
    office.desk.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.kill()
