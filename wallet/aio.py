"""The wallet for asyncio.

    async with AsyncWallet.open("plaza", signer=signer) as wallet:
        plan = await wallet.run(Wallet.plan_transfer, to, Coin("12.50"), idempotency_key="o-8841")
        sent = await wallet.submit(plan)
        outcome = await sent.wait(timeout=30)

It is the same wallet, run on one thread of its own, so nothing of it blocks the event loop. Calls
of one wallet follow each other; many at once need as many wallets. A signer that asks for a
password asks on that thread. A call whose task is cancelled still runs to its end there, so cancel
nothing that moves coin, or give it an idempotency key and ask again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from wallet.bridge_requests import RequestPlan
from wallet.client import Sent, Wallet
from wallet.credit_actions import RepaymentPlan
from wallet.plans import Confirmed, Outcome, PaymentPlan, Plan, Reverted, StillPending
from wallet.signer import Signer

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_LONGEST_PAUSE = 1.0


class AsyncSent:
    """A transaction in the journal, as `Sent`."""

    def __init__(self, wallet: AsyncWallet, sent: Sent) -> None:
        self._wallet = wallet
        self._sent = sent

    @property
    def hash(self) -> str:
        return self._sent.hash

    async def look(self) -> Confirmed | Reverted | None:
        """Ask the chain by hash, once; None while it is not on chain. Raises as `Sent.look`."""
        return await self._wallet.run(lambda _: self._sent.look())

    async def wait(self, timeout: float = 30.0) -> Outcome:
        """Wait until it is on chain, as `Sent.wait`; between two questions the thread is free."""
        deadline = time.monotonic() + timeout
        pause = 0.02
        while True:
            outcome = await self._wallet.run(lambda _: self._sent.wait(timeout=0))
            remaining = deadline - time.monotonic()
            if not isinstance(outcome, StillPending) or remaining <= 0:
                return outcome
            await asyncio.sleep(min(pause, remaining))
            pause = min(pause * 1.5, _LONGEST_PAUSE)


class AsyncWallet:
    """One key on one network, for asyncio. Use it as an async context manager, or close it."""

    def __init__(self, open_wallet: Callable[[], Wallet]) -> None:
        """`open_wallet` is called on the wallet's own thread, when it is first needed."""
        self._open_wallet = open_wallet
        self._wallet: Wallet | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wallet")

    @classmethod
    def open(
        cls,
        network: str | None = None,
        *,
        signer: Signer | None = None,
        home: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncWallet:
        """Open the wallet on a stored network, as `Wallet.open`; what that raises, the first call
        raises."""
        return cls(partial(Wallet.open, network, signer=signer, home=home, clock=clock))

    async def __aenter__(self) -> AsyncWallet:
        try:
            await self.run(lambda _: None)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(
        self,
        method: Callable[Concatenate[Wallet, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call a method of Wallet, as in `await wallet.run(Wallet.plan_draw, units)`.

        Raises what the method does. One that yields (`Wallet.history`) is to be made a list of:
        `await wallet.run(lambda w: list(w.history()))`.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, lambda: method(self._opened(), *args, **kwargs)
        )

    async def submit(
        self,
        plan: Plan | PaymentPlan | RepaymentPlan | RequestPlan,
        idempotency_key: str | None = None,
    ) -> AsyncSent:
        """Sign, write into the journal, and only then send; as `Wallet.submit`."""
        return AsyncSent(self, await self.run(Wallet.submit, plan, idempotency_key))

    async def close(self) -> None:
        """Close the wallet and end its thread, once what runs there has ended."""

        def close() -> None:
            if self._wallet is not None:
                self._wallet.close()
                self._wallet = None

        await asyncio.get_running_loop().run_in_executor(self._thread, close)
        self._thread.shutdown(wait=False)

    def _opened(self) -> Wallet:
        if self._wallet is None:
            self._wallet = self._open_wallet()
        return self._wallet
