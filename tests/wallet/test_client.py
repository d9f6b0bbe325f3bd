"""The library: plans, submission, signers that misbehave, and its silence."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from tests.wallet.chain import COIN, SELLER, Bridge, Platform, Proxy, lose
from tests.wallet.conftest import Home
from wallet import Coin, Confirmed, StillPending, Wallet
from wallet.errors import (
    IdempotencyConflict,
    InsufficientFunds,
    InvalidInput,
    WalletError,
    WouldRevert,
)


def test_a_transfer_from_plan_to_confirmation(
    platform: Platform, home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    to = platform.member().address
    with home.wallet() as wallet:
        plan = wallet.plan_transfer(to, Coin("12.50"))
        assert plan.simulation == "OK"
        assert plan.warnings == ()
        assert (plan.first_time, plan.nonce) == (True, 0)
        outcome = wallet.submit(plan, idempotency_key="o-8841").wait(timeout=30)
        assert isinstance(outcome, Confirmed)
        assert outcome.gas_used <= plan.gas
    assert platform.balance(to) == 12_500_000
    assert capfd.readouterr() == ("", ""), "the library prints nothing"


def test_a_plan_carries_its_key_and_takes_its_memo_as_text(platform: Platform, home: Home) -> None:
    to = platform.member().address
    with home.wallet() as w:
        plan = w.plan_transfer(to, Coin("12.50"), memo="order 8841", idempotency_key="o-8841")
        assert plan.intent["memo"] == "0x" + b"order 8841".ljust(32, b"\0").hex()
        assert w.plan_transfer(to, 1, memo=b"\x07" * 32).intent["memo"] == "0x" + "07" * 32
        assert plan.to_dict()["simulation"] == plan.simulation == "OK"
        sent = w.submit(plan)
        assert w.submit(plan).hash == sent.hash
        assert isinstance(sent.wait(timeout=30), Confirmed)
        found = w.find("o-8841")
        assert found is not None
        assert found.hash == sent.hash
        with pytest.raises(InvalidInput, match="34 bytes as UTF-8, at most 32 fit"):
            w.plan_transfer(to, 1, memo="é" * 17)
    assert platform.balance(to) == 12_500_000


def test_the_same_key_is_the_same_transaction_across_wallets(
    platform: Platform, home: Home
) -> None:
    to = platform.member().address
    hashes = set()
    for _ in range(3):
        with home.wallet() as wallet:
            sent = wallet.submit(wallet.plan_transfer(to, COIN), idempotency_key="once")
            assert isinstance(sent.wait(), Confirmed)
            hashes.add(sent.hash)
    assert len(hashes) == 1
    assert platform.balance(to) == COIN


def test_a_key_used_for_something_else_is_a_conflict(platform: Platform, home: Home) -> None:
    to = platform.member().address
    with home.wallet() as wallet:
        wallet.submit(wallet.plan_transfer(to, COIN), idempotency_key="k").wait()
        with pytest.raises(IdempotencyConflict):
            wallet.submit(wallet.plan_transfer(to, 2 * COIN), idempotency_key="k")


def test_without_a_key_every_submission_is_another(platform: Platform, home: Home) -> None:
    to = platform.member().address
    with home.wallet() as wallet:
        plan = wallet.plan_transfer(to, COIN)
        assert wallet.submit(plan).wait() != wallet.submit(plan).wait()
    assert platform.balance(to) == 2 * COIN


def test_the_journal_is_private_and_written_before_the_first_broadcast(
    platform: Platform, make_home: Callable[..., Home], proxy: Proxy
) -> None:
    home = make_home(rpc_url=proxy.url)
    path = home.path / "journal" / "journal.sqlite"
    found: list[tuple[str, str]] = []

    def look() -> None:
        with sqlite3.connect(path) as database:
            found.extend(database.execute("SELECT state, hex(raw) FROM transactions"))

    proxy.before["eth_sendRawTransaction"] = look
    with home.wallet() as wallet:
        wallet.submit(wallet.plan_transfer(platform.member().address, COIN)).wait()
    assert found[0] == ("signed", proxy.sent[0][2:].upper())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_timeout_leaves_it_open_and_asks_by_hash_later(
    platform: Platform, make_home: Callable[..., Home], proxy: Proxy
) -> None:
    home = make_home(rpc_url=proxy.url)
    to = platform.member().address
    with home.wallet() as wallet:
        plan = wallet.plan_transfer(to, COIN)
        proxy.before["eth_sendRawTransaction"] = lose
        sent = wallet.submit(plan)
        assert isinstance(sent.wait(timeout=0.2), StillPending)
        proxy.before.clear()
        (again,) = wallet.unfinished()
        assert again.hash == sent.hash
        assert isinstance(again.wait(), Confirmed)
        assert wallet.unfinished() == []
    assert len(set(proxy.sent)) == 1


def test_journals_of_other_chains_do_not_mix(platform: Platform, home: Home) -> None:
    with home.wallet() as wallet:
        plan = wallet.plan_transfer(platform.member().address, COIN)
        wallet.submit(plan, "k").wait()
    home.add_network(platform.manifest(genesis_hash="0x" + "11" * 32))
    with home.wallet() as wallet:
        assert wallet.find("k") is None


def test_what_cannot_be_planned(platform: Platform, home: Home) -> None:
    to = platform.member().address
    with home.wallet() as wallet:
        with pytest.raises(InvalidInput):
            wallet.plan_transfer(to, 0)
        with pytest.raises(InvalidInput):
            wallet.plan_transfer(wallet.address, COIN)
        with pytest.raises(InsufficientFunds):
            wallet.plan_transfer(to, 101 * COIN)


def test_what_only_the_contract_knows_is_a_decoded_revert(
    rewound: Platform, make_home: Callable[..., Home], proxy: Proxy
) -> None:
    home = make_home(rpc_url=proxy.url)
    to = rewound.member().address
    # Frozen after the wallet looked, before it simulates.
    freeze = rewound.coin.functions.freeze(to, b"\0" * 32)
    proxy.before["eth_estimateGas"] = lambda: rewound.send(freeze)
    with home.wallet() as wallet, pytest.raises(WouldRevert, match=f"{to.lower()} is frozen"):
        wallet.plan_transfer(to, COIN)


class Liar:
    """A signer that signs something else than it was asked to."""

    def __init__(self, account: Any, changes: Mapping[str, Any]) -> None:
        self._account, self._changes = account, changes

    @property
    def address(self) -> str:
        return str(self._account.address)

    def sign_transaction(self, fields: Mapping[str, Any]) -> bytes:
        signed = self._account.sign_transaction({**fields, **self._changes})
        return bytes(signed.raw_transaction)

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        message = {**typed_data["message"], **self._changes}
        signed = self._account.sign_typed_data(full_message={**typed_data, "message": message})
        return bytes(signed.signature)


@pytest.mark.parametrize(
    "changes",
    [{"nonce": 7}, {"gas": 1}, {"data": "0x"}, {"to": "0x" + "11" * 20}, {"chainId": 1}],
)
def test_a_signer_that_signs_another_transaction_is_caught(
    platform: Platform, home: Home, changes: dict[str, Any]
) -> None:
    with Wallet.open("plaza", signer=Liar(home.account, changes), home=home.path) as wallet:
        plan = wallet.plan_transfer(platform.member().address, COIN)
        with pytest.raises(WalletError, match="signer signed"):
            wallet.submit(plan)
        assert wallet.unfinished() == []


def test_a_signature_of_other_terms_is_caught(
    platform: Platform, home: Home, bridge: Bridge
) -> None:
    home.add_network(bridge.manifest)
    terms = platform.terms(home.account.address, platform.member(kinds=SELLER).address)
    bridge.requests["pur_0192test"] = platform.request(terms)
    liar = Liar(home.account, {"value": 1})
    with Wallet.open("plaza", signer=liar, home=home.path) as wallet:
        plan = wallet.plan_payment(wallet.payment_request("pur_0192test"))
        with pytest.raises(WalletError, match="the signature is one of"):
            wallet.submit(plan)


def test_a_transaction_of_another_key_is_caught(platform: Platform, home: Home) -> None:
    class Other(Liar):
        @property
        def address(self) -> str:
            return home.account.address

    signer = Other(Account.create(), {})
    with Wallet.open("plaza", signer=signer, home=home.path) as wallet:
        plan = wallet.plan_transfer(platform.member().address, COIN)
        with pytest.raises(WalletError, match="not signed by"):
            wallet.submit(plan)


def test_a_wallet_without_a_key_reads(platform: Platform, home: Home, tmp_path: Path) -> None:
    with Wallet.open("plaza", home=home.path) as wallet:
        assert wallet.account(home.account.address).units == 100 * COIN
        with pytest.raises(WalletError, match="without a key"):
            wallet.plan_transfer(platform.fee_receiver, COIN)
