"""The wallet for asyncio: the same results, and a loop that goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from tests.wallet.chain import COIN, Platform, Proxy
from tests.wallet.conftest import Home
from wallet import AsyncWallet, Coin, Confirmed, StillPending, Wallet
from wallet.errors import InsufficientFunds, UnknownName


async def test_a_transfer_from_plan_to_confirmation(platform: Platform, home: Home) -> None:
    to = platform.member().address
    async with AsyncWallet.open("plaza", signer=home.signer(), home=home.path) as wallet:
        plan = await wallet.run(
            Wallet.plan_transfer, to, Coin("12.50"), memo="order 8841", idempotency_key="o-8841"
        )
        assert (plan.simulation, plan.warnings) == ("OK", ())
        sent = await wallet.submit(plan)
        assert isinstance(await sent.wait(timeout=30), Confirmed)
        assert isinstance(await sent.look(), Confirmed)
        again = await wallet.submit(plan)
        assert again.hash == sent.hash
        movements = await wallet.run(lambda w: list(w.history()))
        assert [m.amount for m in movements] == [12_500_000, 100 * COIN]
        with pytest.raises(InsufficientFunds):
            await wallet.run(Wallet.plan_transfer, to, Coin("88"))
    assert platform.balance(to) == 12_500_000


async def test_the_loop_goes_on_while_the_endpoint_is_silent(
    platform: Platform, make_home: Callable[..., Home], proxy: Proxy
) -> None:
    home = make_home(rpc_url=proxy.url)
    answered = threading.Event()
    proxy.before["eth_chainId"] = lambda: answered.wait(10) or None
    async with AsyncWallet.open("plaza", signer=home.signer(), home=home.path) as wallet:
        asked = asyncio.ensure_future(wallet.run(Wallet.check_chain))
        ticks = 0
        while ticks < 20:
            await asyncio.sleep(0.01)
            ticks += 1
        assert not asked.done()
        answered.set()
        await asked


async def test_waiting_leaves_the_thread_free_for_other_calls(
    rewound: Platform, home: Home
) -> None:
    to = rewound.member().address
    rewound.web3.provider.make_request("evm_setAutomine", [False])
    try:
        async with AsyncWallet.open("plaza", signer=home.signer(), home=home.path) as wallet:
            sent = await wallet.submit(await wallet.run(Wallet.plan_transfer, to, COIN))
            waiting = asyncio.ensure_future(sent.wait(timeout=3))
            started = time.monotonic()
            await wallet.run(Wallet.check_chain)
            assert time.monotonic() - started < 2
            assert not waiting.done()
            assert isinstance(await waiting, StillPending)
    finally:
        rewound.web3.provider.make_request("evm_setAutomine", [True])


async def test_what_opening_raises_is_raised_when_it_is_entered(home: Home) -> None:
    with pytest.raises(UnknownName):
        async with AsyncWallet.open("elsewhere", home=home.path):
            pass
    for _ in range(100):
        if not [t for t in threading.enumerate() if t.name.startswith("wallet_")]:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("its thread goes on")
