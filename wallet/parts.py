"""What `Wallet` lends to the modules that plan for it: typed once, implemented in `client`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wallet.accounts import Account
    from wallet.intents import Intent
    from wallet.networks import Network
    from wallet.plans import Plan
    from wallet.purchases import Purchase
    from wallet.rpc import Rpc


class WalletParts:
    """A base of `Wallet`; nothing here runs."""

    if TYPE_CHECKING:
        network: Network
        _rpc: Rpc
        _home: Path
        _clock: Callable[[], float]

        @property
        def address(self) -> str: ...

        def check_chain(self) -> None: ...
        def account(self, address: str | None = None) -> Account: ...
        def earlier_recipients(self) -> dict[str, int]: ...
        def find_look_alikes(self, to: str, earlier: Mapping[str, int]) -> list[str]: ...
        def sign_intent(self, intent: Intent) -> bytes: ...
        def _read(self, contract: str, data: bytes, block: str = "latest") -> list[int]: ...
        def _check_standing(self, units: int, recipient: str | None = None) -> Account: ...
        def _next_block_time(self) -> int: ...
        def _next_nonce(self) -> int: ...
        def _plan(
            self,
            to: str,
            data: bytes,
            *,
            balance: int,
            balance_after: int,
            warnings: list[str] | None = None,
            amount: int | None = None,
            earlier_payments: int = 0,
            first_time: bool = False,
            idempotency_key: str | None = None,
        ) -> Plan: ...
        def _check_holding(self, purchase: Purchase) -> None: ...
