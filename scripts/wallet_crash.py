#!/usr/bin/env python3
"""Kill the wallet while it pays, and compare to the unit that everything was paid exactly once.

Runs a chain (anvil) and the wallet's own command on it, each time as a process of its own (forked,
so that nothing is imported again). The process is ended by SIGKILL at one of four steps:

    signed     the transaction is signed and not in the journal yet
    recorded   it is in the journal and not sent yet
    sent       the endpoint has it, and its answer is lost
    asked      it is on chain, and the journal does not know yet

First `wallet send`: every payment is killed a few times and then run until it ends. Then `wallet
batch pay --resume` over a file: it is killed again and again, somewhere in it, until it ends. Then
the chain's logs are compared with what was to be paid; a difference ends with code 1.

Examples:
    scripts/wallet_crash.py
    scripts/wallet_crash.py --kills 1000 --rows 2000 --seed 7 --json
    scripts/wallet_crash.py --kills 20 --rows 50 --sabotage forget   # must fail
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import eth_account.typed_transactions.typed_transaction  # noqa: F401  # for the children
from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.contract import Contract

import contracts
import wallet.cli.batch  # for the children
import wallet.cli.send  # noqa: F401
from node.chain.anvil import find_anvil
from node.chain.processes import dies_with_us
from wallet import batches, cli, client, keys, networks, steps  # noqa: F401
from wallet.journal import Journal
from wallet.rpc import Rpc

STEPS = ("signed", "recorded", "sent", "asked")
PASSWORD = "only for the campaign"  # noqa: S105
CHAIN_ID = 4242
UNIT_LIMIT = 5_000_000
CHILD_SECONDS = 120
KILLS_PER_SEND = 3


@dataclass(frozen=True)
class Payment:
    """What has to be on chain exactly once. The memo tells it from all others."""

    to: str
    amount: int
    memo: str


@dataclass
class Report:
    """A campaign."""

    seed: int
    rows: int
    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    sends: int = 0
    files: int = 0
    payments: int = 0
    doubled: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not (self.doubled or self.lost or self.different)

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "seed": self.seed,
            "kills": self.kills.total(),
            "kills_by_step": dict(sorted(self.kills.items())),
            "runs": self.runs,
            "sends": self.sends,
            "files": self.files,
            "rows_per_file": self.rows,
            "payments_compared": self.payments,
            "doubled": self.doubled,
            "lost": self.lost,
            "different": self.different,
            "seconds": round(self.seconds, 1),
        }


def main() -> int:
    arguments = _parse()
    if find_anvil() is None:
        print("no anvil binary here: run `make setup`", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="plaza-wallet-crash-") as folder:
        report = run_campaign(
            Path(folder),
            kills=arguments.kills,
            rows=arguments.rows,
            seed=arguments.seed,
            sabotage=arguments.sabotage,
            tell=lambda text: print(text, file=sys.stderr, flush=True),
        )
    if arguments.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        for name, value in report.as_dict().items():
            print(f"{name:<18} {value}")
    return 0 if report.ok else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--kills", type=int, default=200, help="in all, half of them in batches (default 200)")
    add("--rows", type=int, default=500, help="of a batch's file (default 500)")
    add("--seed", type=int, default=1, help="of what is paid and killed (default 1)")
    add("--sabotage", choices=("forget",), help="lose the journal at every kill")
    add("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args()


def run_campaign(
    folder: Path,
    *,
    kills: int,
    rows: int,
    seed: int,
    sabotage: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Run a campaign on a chain of its own, in an empty folder."""
    began = time.monotonic()
    report = Report(seed, rows)
    with _running_anvil(folder / "anvil.log") as url:
        campaign = _Campaign(folder, url, random.Random(seed), report, sabotage, tell)  # noqa: S311
        gc.freeze()  # what the children share is not to be copied by their collector
        campaign.kill_sends(kills - kills // 2)
        campaign.kill_batches(kills, rows)
        campaign.compare()
        gc.unfreeze()
    report.seconds = time.monotonic() - began
    return report


class _Campaign:
    def __init__(
        self,
        folder: Path,
        url: str,
        rng: random.Random,
        report: Report,
        sabotage: str | None,
        tell: Callable[[str], None],
    ) -> None:
        self._folder, self._rng, self._report = folder, rng, report
        self._sabotage, self._tell = sabotage, tell
        self._web3 = Web3(HTTPProvider(url))
        self._admin = self._web3.eth.accounts[0]
        self._wanted: list[Payment] = []
        self.coin = self._deploy_contracts(url)
        self.sender = Account.from_key(rng.randbytes(32))
        self.recipients = [Account.from_key(rng.randbytes(32)).address for _ in range(25)]
        for address in (self.sender.address, *self.recipients):
            self._send(self.coin.functions.admit(address, 1, 2**39))
        self._given = 10**12
        self._send(self.coin.functions.mint(self.sender.address, self._given, b"\1" * 32))
        (folder / "password").write_text(PASSWORD + "\n")
        keystore = keys.Keystore(folder / "home", scrypt_n=1024)
        keystore.create("main", bytes(self.sender.key), PASSWORD)

    def _deploy_contracts(self, url: str) -> Contract:
        manager = self._deploy("AccessManager", self._admin)
        coin = self._deploy("PlatformCoin", manager.address)
        self._send(coin.functions.setMintLimit(self._admin, 10**15, 0))
        genesis = self._web3.eth.get_block(0)
        manifest = {
            "version": 1,
            "chain_id": CHAIN_ID,
            "genesis_hash": genesis["hash"].to_0x_hex(),
            "rpc_url": url,
            "coin": {"symbol": "PLZ", "decimals": 6},
            "contracts": {
                "PlatformCoin": {"address": coin.address, "block": 1},
                "PurchaseEscrow": {"address": manager.address, "block": 1},  # not used here
            },
        }
        networks.Networks(self._folder / "home").add("plaza", manifest)
        return coin

    def _deploy(self, name: str, *arguments: Any) -> Contract:
        artifact = contracts.load(name)
        factory = self._web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        receipt = self._wait(factory.constructor(*arguments).transact({"from": self._admin}))
        return self._web3.eth.contract(address=receipt["contractAddress"], abi=artifact.abi)

    def _send(self, call: Any) -> None:
        free = {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
        receipt = self._wait(call.transact({"from": self._admin, **free}))
        assert receipt["status"] == 1

    def _wait(self, sent: Any) -> Any:
        return self._web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.01)

    # -------------------------------------------------------------------- killing

    def kill_sends(self, kills: int) -> None:
        """Make payments with `wallet send`, each killed a few times, until so many kills."""
        while self._report.kills.total() < kills:
            number = self._report.sends = self._report.sends + 1
            payment = self._payment(f"send {number}")
            command = ["send", payment.to, _coin(payment.amount), "--memo", payment.memo]
            command.append("--allow-new-recipient")
            if number % 2:  # with a name, and without one
                command += ["--idempotency-key", payment.memo]
            left = min(self._rng.randint(1, KILLS_PER_SEND), kills - self._report.kills.total())
            code = -signal.SIGKILL
            while left and code == -signal.SIGKILL:
                code = self._run(command, self._rng.choice(STEPS), 1)
                left -= 1
            if code != 0:
                code = self._run(command)
            if code != 0:
                self._report.different.append(f"{payment.memo} ended with code {code}")
            self._say()

    def kill_batches(self, kills: int, rows: int) -> None:
        """Pay files with `wallet batch pay --resume`, killed until so many kills in all."""
        # So that about all kills fall into one file, one row after the other.
        far = max(1, 2 * rows // max(1, kills - self._report.kills.total()) - 1)
        while self._report.kills.total() < kills:
            self._report.files += 1
            file = self._write_file(rows)
            command = ["batch", "pay", str(file), "--resume", "--allow-new-recipients"]
            code = -signal.SIGKILL
            while code == -signal.SIGKILL and self._report.kills.total() < kills:
                code = self._run(command, self._rng.choice(STEPS), self._rng.randint(1, far))
                self._say()
            if code != 0:
                code = self._run(command)
            if code != 0:
                self._report.different.append(f"{file.name} ended with code {code}")

    def _write_file(self, rows: int) -> Path:
        file = self._folder / f"batch-{self._report.files}.csv"
        with file.open("w", newline="") as text:
            writer = csv.writer(text)
            writer.writerow(("to", "amount", "memo", "reference"))
            for row in range(1, rows + 1):
                payment = self._payment(f"batch {self._report.files} row {row}")
                writer.writerow((payment.to, _coin(payment.amount), payment.memo, payment.memo))
        return file

    def _payment(self, memo: str) -> Payment:
        to = self._rng.choice(self.recipients)
        payment = Payment(to, self._rng.randint(1, UNIT_LIMIT), memo)
        self._wanted.append(payment)
        return payment

    def _run(self, command: Sequence[str], step: str | None = None, at: int = 0) -> int:
        """Run the wallet once, to be killed when it is at a step the n-th time; its exit code."""
        flags = ("--yes", "--password-file", str(self._folder / "password"))
        arguments = [*command, *flags, "--home", str(self._folder / "home")]
        self._report.runs += 1
        code = run_child(arguments, self._folder / "log", step, at)
        if code == -signal.SIGKILL and step is not None:
            self._report.kills[f"{command[0]}.{step}"] += 1
            if self._sabotage == "forget":
                for file in (self._folder / "home" / "journal").iterdir():
                    file.unlink()
        return code

    def _say(self) -> None:
        kills = self._report.kills.total()
        if kills % 20 == 0 and kills:
            self._tell(f"{kills} kills, {self._report.runs} runs, {len(self._wanted)} payments")

    # ------------------------------------------------------------------ comparing

    def compare(self) -> None:
        """Compare the chain's logs and balances with what was to be paid."""
        report, found = self._report, Counter[Payment]()
        for log in self.coin.events.TransferMemo().get_logs(from_block=0):
            values = log["args"]
            assert values["from"] == self.sender.address
            memo = values["memo"].rstrip(b"\0").decode()
            found[Payment(values["to"], values["amount"], memo)] += 1
        for payment in self._wanted:
            count = found.pop(payment, 0)
            if count == 0:
                report.lost.append(f"{payment.memo} was never paid")
            elif count > 1:
                report.doubled.append(f"{payment.memo} was paid {count} times")
        report.different += [f"{payment} was not to be paid" for payment in found]
        report.payments = len(self._wanted)
        total = sum(payment.amount for payment in self._wanted)
        for address, wanted in [
            (self.sender.address, self._given - total),
            *((to, self._due(to)) for to in self.recipients),
        ]:
            actual = self.coin.functions.balanceOf(address).call()
            if actual != wanted:
                report.different.append(f"{address} holds {actual} units, not {wanted}")
        used = self._web3.eth.get_transaction_count(self.sender.address)
        if used != len(self._wanted):
            report.different.append(f"{used} nonces were used for {len(self._wanted)} payments")

    def _due(self, to: str) -> int:
        return sum(payment.amount for payment in self._wanted if payment.to == to)


def _coin(units: int) -> str:
    return f"{units // 10**6}.{units % 10**6:06d}"


# -------------------------------------------------------------------------------- children


def run_child(arguments: Sequence[str], log: Path, step: str | None, at: int) -> int:
    """Run the wallet's command in a forked process; its exit code, negative for a signal."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 70
    try:
        signal.alarm(CHILD_SECONDS)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "rw"[n > 0]) for n in range(3))
        if step is not None:
            die_at(step, at)
        code = cli.main(list(arguments))
    except BaseException:  # whatever it is, a child must never go on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def die_at(step: str, at: int) -> None:
    """Have this process kill itself when it comes to a step the n-th time."""
    seen = 0

    def come() -> None:
        nonlocal seen
        seen += 1
        if seen >= at:
            os.kill(os.getpid(), signal.SIGKILL)

    call, record = Rpc.call, Journal.record

    def watched_call(self: Rpc, method: str, *params: Any) -> Any:
        if (step, method) == ("recorded", "eth_sendRawTransaction"):
            come()
        result = call(self, method, *params)
        on_chain = method == "eth_getTransactionReceipt" and result is not None
        if (step, method) == ("sent", "eth_sendRawTransaction") or (step == "asked" and on_chain):
            come()
        return result

    def watched_record(self: Journal, **arguments: Any) -> Any:
        if step == "signed":
            come()
        return record(self, **arguments)

    Rpc.call = watched_call  # type: ignore[method-assign]
    Journal.record = watched_record  # type: ignore[method-assign]


@dataclass(frozen=True)
class Platform:
    """A chain with the coin, and a folder `home` whose key `main` holds some of it."""

    url: str
    coin: str
    sender: str
    recipient: str


@contextmanager
def running_platform(folder: Path) -> Iterator[Platform]:
    """Yield a platform as campaigns have it, for what else needs one."""
    report = Report(seed=1, rows=0)
    with _running_anvil(folder / "anvil.log") as url:
        rng = random.Random(report.seed)  # noqa: S311
        made = _Campaign(folder, url, rng, report, None, lambda text: None)
        yield Platform(url, made.coin.address, made.sender.address, made.recipients[0])


@contextmanager
def _running_anvil(log: Path) -> Iterator[str]:
    """Yield the URL of an anvil of its own, on a port that it chose itself."""
    anvil = find_anvil()
    assert anvil is not None
    command = [str(anvil), "--port", "0", "--chain-id", str(CHAIN_ID), "--accounts", "1"]
    command += ["--base-fee", "0", "--gas-price", "0", "--hardfork", "cancun"]
    with log.open("wb") as output:
        process = subprocess.Popen(  # this process has no other threads
            command,
            stdout=output,
            preexec_fn=dies_with_us(),  # noqa: PLW1509
        )
    try:
        while not (found := re.search(r"Listening on (\S+)", log.read_text())):
            if process.poll() is not None:
                raise RuntimeError("anvil ended before it listened")
            time.sleep(0.02)
        yield f"http://{found[1]}"
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
