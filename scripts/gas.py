#!/usr/bin/env python3
"""What each operation costs, beside the libraries everybody knows: receipts' gasUsed, in one run.

Our contracts and the peers' (OpenZeppelin's and Solady's, from npm) are deployed on one chain in
this process, under Cancun's rules. Every operation is a transaction alone in its block, so all
slots and accounts are cold; accounts exist and hold coin unless the row says otherwise; what a
member signs is sent by a relayer. All are compiled by our compiler with our settings, those of
scripts/compile.py, so that the code is compared and not the compiler. Gas does not depend on
the machine: the figures are exact.

The floor of an operation is what any contract must pay to leave the same state and the same logs
behind, counted from our own transaction:
  21,000     for the transaction, 4 for each zero and 16 for each other byte of its calldata;
  5,000      for each slot that it changed (22,100 where the slot was empty before),
             less 4,800 for each slot that it emptied, at most a fifth of the whole;
  2,600      for each account, beside the one called, of which it changed slots;
  375        for each log and each of its topics, and 8 for each byte of its data;
  3,000      for each signature that it recovered.
Slots that are only read, and all computation, are left out.

Figures of production contracts were measured by others, each at the settings it ships.

Examples:
    scripts/gas.py                          the table
    scripts/gas.py --markdown               as it stands in the README
    scripts/gas.py --json | jq '.rows[0]'   for machines
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `scripts` and `tests`

from eth.abc import ComputationAPI
from eth.vm.state import BaseState
from eth_account.signers.local import LocalAccount
from eth_utils import keccak
from web3.contract import Contract

from contracts import Artifact, ArtifactNotFound
from scripts.compile import SETTINGS, SOLC_VERSION, CompileError, compile_sources
from tests.contracts.chain import GAS_LIMIT, ZERO_ADDRESS, Chain, Receipt
from tests.contracts.credit import INTENTS
from tests.contracts.escrow import AMOUNT, MAX_FEE_BPS, Market
from tests.contracts.signing import sign_permit, sign_transfer, sign_typed
from tests.contracts.system import COIN, DAY, START, Cast, System, deploy

# ------------------------------------------------------------------ what is compared

OURS, OPENZEPPELIN, SOLADY = "plaza", "openzeppelin", "solady"
PEERS_UNIT = "scripts/gas_sources/Peers.sol"
PEERS = (
    "OpenZeppelinCoin",
    "OpenZeppelinAuthorizationCoin",
    "OpenZeppelinKeyedCoin",
    "OpenZeppelinVault",
    "SoladyCoin",
    "SoladyVault",
)


@dataclass(frozen=True)
class Operation:
    """A row. `target` is our own; `published` says what others measured of production contracts."""

    name: str
    target: int | None = None
    published: str = ""


COIN_OPERATIONS = (
    Operation("transfer", 36_600, "USDC 45,071; PYUSD 48,488"),
    Operation("transfer to an empty balance", 51_589, "USDC 62,171; PYUSD 65,588"),
    Operation("transferWithAuthorization, random nonce", 66_000, "PYUSD 80,413; USDC 85,720"),
    Operation("transferWithAuthorization, packed nonce", 49_000),
    Operation("permit, later nonce, + transferFrom", 93_354, "USDC 124,851"),
)
ESCROW_OPERATIONS = (
    Operation("authorize, signed", 80_000, "commerce-payments 122,414 (on USDC 144,577)"),
    Operation("release with fee", 52_000, "commerce-payments 67,366 (80,960)"),
    Operation("release with fee, the credit book asked"),
    Operation("release with fee and repayment of a line", 95_000),
    Operation("charge with fee", 95_000, "commerce-payments 144,534 (171,791)"),
    Operation("void", 42_000, "commerce-payments 55,213"),
    Operation("reclaim", 42_000, "commerce-payments 55,305"),
    Operation("refund after release", 60_000, "commerce-payments 71,404"),
    Operation(
        "whole purchase: authorize + release",
        125_000,
        "commerce-payments 189,780 (225,537); Boson ≈ 633,000",
    ),
    Operation("whole purchase with confirmed delivery"),
    Operation("release, of a batch of 10, each", 25_000),
    Operation("release, signed, of a batch of 10, each"),
    Operation("authorize, signed, of a batch of 10, each", 60_000, "PYUSD signed batch 54,545"),
)
CREDIT_OPERATIONS = (
    Operation("accept an offer"),
    Operation("draw, first"),
    Operation("draw, on a line with debt", 66_000, "Wildcat 74,507; Morpho 83,928; Huma 263,889"),
    Operation("repay", 66_000, "Wildcat 66,646; Morpho 78,162; Huma 428,418"),
    Operation("repay, signed"),
)
POOL_OPERATIONS = (
    Operation("deposit, later", 62_000, "MetaMorpho 152,142"),
    Operation("deposit, later, signed"),
    Operation("withdraw", 62_000, "MetaMorpho 144,531"),
)
OPERATIONS = COIN_OPERATIONS + ESCROW_OPERATIONS + CREDIT_OPERATIONS + POOL_OPERATIONS


@dataclass(frozen=True)
class Cost:
    """Gas of one operation, and its floor by the rules of this file's head."""

    gas: int
    floor: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.gas + other.gas, self.floor + other.floor)

    def __floordiv__(self, count: int) -> Cost:
        return Cost(self.gas // count, self.floor // count)


Costs = dict[str, Cost]  # by operation
Trials = Mapping[str, Callable[[], Cost]]  # what prepares and measures an operation, by its name

# --------------------------------------------------------------------------- metering


@dataclass(frozen=True)
class MeteredReceipt(Receipt):
    floor: int

    @property
    def cost(self) -> Cost:
        return Cost(self.gas_used, self.floor)


class MeteredChain(Chain):
    """A chain whose receipts know the floor of their transaction."""

    def _execute(
        self, to: bytes, data: bytes, by: LocalAccount, gas: int = GAS_LIMIT
    ) -> MeteredReceipt:
        chain = self._backend.chain
        before: BaseState = chain.get_vm().state
        seen: list[ComputationAPI] = []
        apply = chain.apply_transaction

        def recording(transaction: Any) -> Any:
            result = apply(transaction)
            seen.append(result[2])
            return result

        with _written_slots() as written, patch.object(chain, "apply_transaction", recording):
            receipt = super()._execute(to, data, by, gas)
        after: BaseState = chain.get_vm().state
        changes = {
            (address, slot): (before.get_storage(address, slot), after.get_storage(address, slot))
            for address, slot in written
        }
        changed = {where: change for where, change in changes.items() if change[0] != change[1]}
        others = {address for address, _ in changed} - {to}
        total = (
            21_000
            + sum(16 if byte else 4 for byte in data)
            + sum(5_000 if old else 22_100 for old, _ in changed.values())
            + 2_600 * len(others)
            + sum(375 * (1 + len(log["topics"])) + 8 * len(log["data"]) for log in receipt.logs)
            + 3_000 * _recoveries(seen[0])
        )
        refund = 4_800 * sum(not new for _, new in changed.values())
        return MeteredReceipt(**vars(receipt), floor=total - min(refund, total // 5))


@contextmanager
def _written_slots() -> Iterator[set[tuple[bytes, int]]]:
    """The slots written meanwhile, whatever became of the write."""
    written: set[tuple[bytes, int]] = set()
    write = BaseState.set_storage

    def set_storage(state: BaseState, address: Any, slot: int, value: int) -> None:
        written.add((bytes(address), slot))
        write(state, address, slot, value)

    with patch.object(BaseState, "set_storage", set_storage):
        yield written


def _recoveries(computation: ComputationAPI) -> int:
    """How often ecrecover (the contract at address 1) was called."""
    own = computation.msg.code_address == bytes(19) + b"\1"
    return own + sum(_recoveries(child) for child in computation.children)


def _measure(chain: Chain, trials: Trials) -> Costs:
    """Each operation from the same state."""
    costs = {}
    for name, trial in trials.items():
        snapshot = chain.snapshot()
        costs[name] = trial()
        chain.revert_to(snapshot)
    return costs


# ------------------------------------------------------------------------------- coin


def _coin_trials(chain: MeteredChain, coin: Contract, cast: Cast) -> Trials:
    """Operations every ERC-20 with EIP-2612 has; buyer and seller hold coin, seller2 none."""
    functions, buyer, relayer = coin.functions, cast.buyer, cast.stranger

    def transfer(to: LocalAccount) -> Cost:
        return chain.send(functions.transfer(to.address, COIN), by=buyer).cost

    def permit_and_spend(nonce: int) -> Cost:
        deadline = chain.time + DAY
        terms = (buyer.address, relayer.address, COIN)
        signature = sign_permit(buyer, coin, *terms[1:], nonce, deadline=deadline)
        permit = functions.permit(*terms, deadline, *signature.vrs)
        spend = functions.transferFrom(buyer.address, cast.seller.address, COIN)
        return chain.send(permit, by=relayer).cost + chain.send(spend, by=relayer).cost

    def later_permit() -> Cost:
        permit_and_spend(0)
        return permit_and_spend(1)

    return {
        "transfer": lambda: transfer(cast.seller),
        "transfer to an empty balance": lambda: transfer(cast.seller2),
        "permit, later nonce, + transferFrom": later_permit,
    }


def _authorized_transfer(chain: MeteredChain, coin: Contract, cast: Cast, nonce: bytes) -> Cost:
    """EIP-3009, buyer to seller, sent by a relayer."""
    before = chain.time + DAY
    to = cast.seller.address
    signature = sign_transfer(cast.buyer, coin, to, COIN, nonce, valid_before=before)
    terms = (cast.buyer.address, to, COIN, 0, before, nonce)
    transfer = coin.functions.transferWithAuthorization(*terms, *signature.vrs)
    return chain.send(transfer, by=cast.stranger).cost


def _random_nonce(chain: MeteredChain, coin: Contract, cast: Cast) -> Trials:
    name = "transferWithAuthorization, random nonce"
    return {name: lambda: _authorized_transfer(chain, coin, cast, keccak(text="random"))}


def _packed_nonce(chain: MeteredChain, coin: Contract, cast: Cast) -> Trials:
    """Nonces that a wallet counts: the second one shares the storage word of the first."""

    def second() -> Cost:
        _authorized_transfer(chain, coin, cast, bytes(32))
        return _authorized_transfer(chain, coin, cast, (1).to_bytes(32))

    return {"transferWithAuthorization, packed nonce": second}


# ----------------------------------------------------------------------------- escrow


def _escrow_trials(market: Market) -> Trials:
    """An escrow without a credit book; it holds coin of other orders, and everybody has some."""
    cast, relayer = market.accounts, market.accounts.stranger
    operator, buyer, seller = cast.operator, cast.buyer, cast.seller

    def send(by: LocalAccount, name: str, *args: Any) -> Cost:
        receipt = market.send(by, name, *args)
        assert isinstance(receipt, MeteredReceipt)
        return receipt.cost

    def authorize() -> Cost:
        terms = market.terms()
        payment = market.payment(terms, AMOUNT)
        return send(relayer, "authorizeWithSignature", terms, AMOUNT, *payment)

    def release() -> Cost:
        return send(operator, "release", market.releasable(), AMOUNT, MAX_FEE_BPS)

    def charge() -> Cost:
        terms = market.terms(disputeWindow=0)
        payment = market.payment(terms, AMOUNT)
        return send(operator, "charge", terms, AMOUNT, MAX_FEE_BPS, *payment)

    def reclaim() -> Cost:
        terms = market.authorized()
        market.chain.travel_to(terms.reclaimAfter)
        return send(buyer, "reclaim", terms)

    def refund() -> Cost:
        terms = market.released()
        market.approve(seller, 2**256 - 1)
        return send(seller, "refund", terms, AMOUNT // 2, keccak(text="refund 1"))

    def purchase() -> Cost:
        terms = market.terms()
        payment = market.payment(terms, AMOUNT)
        authorized = send(relayer, "authorizeWithSignature", terms, AMOUNT, *payment)
        return authorized + send(buyer, "release", terms, AMOUNT, MAX_FEE_BPS)

    def delivered_purchase() -> Cost:
        terms = market.terms()
        payment = market.payment(terms, AMOUNT)
        authorized = send(relayer, "authorizeWithSignature", terms, AMOUNT, *payment)
        delivered = send(operator, "confirmDelivery", terms)
        market.chain.travel(terms.disputeWindow)
        return authorized + delivered + send(operator, "release", terms, AMOUNT, MAX_FEE_BPS)

    def orders() -> list[dict[str, Any]]:
        return [{"orderRef": keccak(text=f"order {number}")} for number in range(10)]

    def authorize_many() -> Cost:
        items = []
        for changes in orders():
            terms = market.terms(**changes)
            items.append((tuple(terms), AMOUNT, *market.payment(terms, AMOUNT)))
        return send(relayer, "authorizeMany", items) // len(items)

    def release_many() -> Cost:
        delivered = [market.delivered(**changes) for changes in orders()]
        market.chain.travel(delivered[0].disputeWindow)
        items = [(tuple(terms), AMOUNT, MAX_FEE_BPS) for terms in delivered]
        return send(operator, "releaseMany", items) // len(items)

    def release_many_signed() -> Cost:
        items = []
        for key, changes in enumerate(orders(), start=1):
            terms = market.authorized(**changes)
            signed: dict[str, int] = {"nonce": key << 64, "amount": AMOUNT}
            items.append((tuple(terms), AMOUNT, *market.intent(buyer, "Release", terms, **signed)))
        return send(relayer, "releaseManyWithSignatures", items) // len(items)

    return {
        "authorize, signed": authorize,
        "release with fee": release,
        "charge with fee": charge,
        "void": lambda: send(operator, "void", market.authorized(), AMOUNT),
        "reclaim": reclaim,
        "refund after release": refund,
        "whole purchase: authorize + release": purchase,
        "whole purchase with confirmed delivery": delivered_purchase,
        "release, of a batch of 10, each": release_many,
        "release, signed, of a batch of 10, each": release_many_signed,
        "authorize, signed, of a batch of 10, each": authorize_many,
    }


# ----------------------------------------------------------------------------- credit

LIMIT = 5_000 * COIN
DRAWN = 1_000 * COIN


def _accept(system: System) -> Cost:
    """The seller accepts an offer of LIMIT at 12 % a year, a tenth of each sale repaying."""
    cast, book = system.accounts, system.book
    offer = {
        "seller": cast.seller.address,
        "underwriter": cast.underwriter.address,
        "limit": LIMIT,
        "aprBps": 1_200,
        "drawFeeBps": 0,
        "holdbackBps": 1_000,
        "termDays": 365,
        "expires": system.chain.time + DAY,
        "disclosureHash": keccak(text="disclosure"),
        "modelHash": keccak(text="model"),
        "nonce": 1,
    }
    name = system.chain.call(book.functions.eip712Domain())[1]
    signature = sign_typed(cast.underwriter, book, "Offer", offer, types=INTENTS, name=name)
    accept = book.functions.accept(tuple(offer.values()), signature.packed)
    return _metered(system.chain.send(accept, by=cast.seller))


def _draw(system: System) -> Cost:
    draw = system.book.functions.draw(DRAWN)
    return _metered(system.chain.send(draw, by=system.accounts.seller))


def _owe(system: System) -> None:
    """Give the seller a line with debt, a day old."""
    _accept(system)
    _draw(system)
    system.chain.travel(DAY)


def _metered(receipt: Receipt) -> Cost:
    assert isinstance(receipt, MeteredReceipt)
    return receipt.cost


def _credit_trials(system: System, market: Market) -> Trials:
    """The whole system: the seller has no line until a trial gives it one."""
    chain, cast, coin, book = system.chain, system.accounts, system.coin, system.book

    def release() -> Cost:
        terms = market.releasable()
        return _metered(market.send(cast.operator, "release", terms, AMOUNT, MAX_FEE_BPS))

    def release_in_debt() -> Cost:
        _owe(system)
        return release()

    def draw_first() -> Cost:
        _accept(system)
        return _draw(system)

    def draw_more() -> Cost:
        _owe(system)
        return _draw(system)

    def repay() -> Cost:
        _owe(system)
        chain.send(coin.functions.approve(book.address, 2**256 - 1), by=cast.seller)
        payment = book.functions.repay(cast.seller.address, DRAWN // 2)
        return _metered(chain.send(payment, by=cast.seller))

    def repay_signed() -> Cost:
        _owe(system)
        seller, ref = cast.seller, keccak(text="repayment 1")
        nonce = bytes(chain.call(book.functions.repaymentNonce(seller.address, ref)))
        before = chain.time + DAY
        window = {"valid_before": before, "receive": True}
        signature = sign_transfer(seller, coin, book.address, DRAWN // 2, nonce, **window)
        terms = (seller.address, ref, seller.address, DRAWN // 2, 0, before)
        payment = book.functions.repayWithAuthorization(*terms, signature.packed)
        return _metered(chain.send(payment, by=cast.stranger))

    return {
        "release with fee, the credit book asked": release,
        "release with fee and repayment of a line": release_in_debt,
        "accept an offer": lambda: _accept(system),
        "draw, first": draw_first,
        "draw, on a line with debt": draw_more,
        "repay": repay,
        "repay, signed": repay_signed,
    }


# ------------------------------------------------------------------------------- pool


def _vault_trials(
    chain: MeteredChain, coin: Contract, vault: Contract, lender: LocalAccount
) -> Trials:
    """Operations every ERC-4626 has; the lender has approved it and holds shares."""
    functions = vault.functions
    deposit = functions.deposit(100 * COIN, lender.address)
    withdraw = functions.withdraw(100 * COIN, lender.address, lender.address)
    return {
        "deposit, later": lambda: chain.send(deposit, by=lender).cost,
        "withdraw": lambda: chain.send(withdraw, by=lender).cost,
    }


def _signed_deposit(system: System) -> Trials:
    def deposit() -> Cost:
        lender, pool, amount = system.accounts.lender, system.pool, 100 * COIN
        before, nonce = system.chain.time + DAY, keccak(text="deposit 1")
        window = {"valid_before": before, "receive": True}
        signature = sign_transfer(lender, system.coin, pool.address, amount, nonce, **window)
        terms = (lender.address, amount, 0, before, nonce)
        call = pool.functions.depositWithAuthorization(*terms, signature.packed)
        return _metered(system.chain.send(call, by=system.accounts.stranger))

    return {"deposit, later, signed": deposit}


def _open_vault(chain: Chain, coin: Contract, vault: Contract, lender: LocalAccount) -> None:
    chain.send(coin.functions.approve(vault.address, 2**256 - 1), by=lender)
    chain.send(vault.functions.deposit(100_000 * COIN, lender.address), by=lender)


# ---------------------------------------------------------------------------- measuring


def measure_ours() -> Costs:
    """Every operation of OPERATIONS, by the project's compiled contracts."""
    cast = Cast.derive()
    chain = MeteredChain(cast.all(), START)
    system = deploy(chain, cast)
    coin, book, pool = system.coin, system.book, system.pool
    balances = {
        cast.buyer: 10_000,
        cast.seller: 10_000,
        cast.lender: 200_000,
        cast.treasurer: 9_000,
    }
    for account, balance in balances.items():
        reference = keccak(text=f"opening balance of {account.address}")
        mint = coin.functions.mint(account.address, balance * COIN, reference)
        chain.send(mint, by=cast.treasury)
    _open_vault(chain, coin, pool, cast.lender)
    chain.send(book.functions.setCaps(LIMIT, 20 * LIMIT, 1_000), by=cast.risk)
    chain.send(coin.functions.approve(book.address, 2**256 - 1), by=cast.treasurer)
    chain.send(book.functions.fundReserve(9_000 * COIN), by=cast.treasurer)

    arguments = (coin.address, ZERO_ADDRESS, system.manager.address)
    plain = chain.deploy("PurchaseEscrow", *arguments, by=cast.admin)
    chain.send(coin.functions.admitSystem(plain.address, 2**40 - 1), by=cast.steward)
    for escrow in (plain, system.escrow):
        market = Market(chain, cast, coin, escrow)
        market.authorized(orderRef=keccak(text="kept"))
        market.released(orderRef=keccak(text="released before"))

    trials = {
        **_coin_trials(chain, coin, cast),
        **_random_nonce(chain, coin, cast),
        **_packed_nonce(chain, coin, cast),
        **_escrow_trials(Market(chain, cast, coin, plain)),
        **_credit_trials(system, Market(chain, cast, coin, system.escrow)),
        **_vault_trials(chain, coin, pool, cast.lender),
        **_signed_deposit(system),
    }
    return _measure(chain, trials)


def compile_peers() -> dict[str, Artifact]:
    """The peers by contract name.

    Raises:
        CompileError: their sources are not installed, or do not compile.
    """
    compiled = compile_sources(dict.fromkeys(PEERS, PEERS_UNIT))
    return {name: Artifact(**artifact) for name, artifact in compiled.items()}


def measure_peers(peers: Mapping[str, Artifact]) -> dict[str, Costs]:
    """The operations that each library has."""
    cast = Cast.derive()
    chain = MeteredChain(cast.all(), START)

    def coin(name: str) -> Contract:
        contract = chain.deploy(peers[name], by=cast.admin)
        for account in (cast.buyer, cast.seller, cast.lender):
            mint = contract.functions.mint(account.address, 200_000 * COIN)
            chain.send(mint, by=cast.admin)
        return contract

    def vault(name: str, asset: Contract) -> Contract:
        contract = chain.deploy(peers[name], asset.address, by=cast.admin)
        _open_vault(chain, asset, contract, cast.lender)
        return contract

    openzeppelin, solady = coin("OpenZeppelinCoin"), coin("SoladyCoin")
    unordered, keyed = coin("OpenZeppelinAuthorizationCoin"), coin("OpenZeppelinKeyedCoin")
    by_openzeppelin = {
        **_coin_trials(chain, openzeppelin, cast),
        **_random_nonce(chain, unordered, cast),
        **_packed_nonce(chain, keyed, cast),
        **_vault_trials(chain, openzeppelin, vault("OpenZeppelinVault", openzeppelin), cast.lender),
    }
    by_solady = {
        **_coin_trials(chain, solady, cast),
        **_vault_trials(chain, solady, vault("SoladyVault", solady), cast.lender),
    }
    return {OPENZEPPELIN: _measure(chain, by_openzeppelin), SOLADY: _measure(chain, by_solady)}


# ------------------------------------------------------------------------------ printing


@dataclass(frozen=True)
class Row:
    """One line of the comparison, in gas. `missed_by` is negative where the target is met."""

    operation: str
    floor: int
    plaza: int
    openzeppelin: int | None
    solady: int | None
    target: int | None
    missed_by: int | None
    published: str


def compare(ours: Costs, peers: Mapping[str, Costs]) -> list[Row]:
    """The rows of OPERATIONS, in its order."""

    def peer(library: str, operation: str) -> int | None:
        cost = peers.get(library, {}).get(operation)
        return cost.gas if cost else None

    return [
        Row(
            operation=operation.name,
            floor=ours[operation.name].floor,
            plaza=ours[operation.name].gas,
            openzeppelin=peer(OPENZEPPELIN, operation.name),
            solady=peer(SOLADY, operation.name),
            target=operation.target,
            missed_by=ours[operation.name].gas - operation.target if operation.target else None,
            published=operation.published,
        )
        for operation in OPERATIONS
    ]


HEAD = (
    "operation",
    "floor",
    "Plaza",
    "OpenZeppelin",
    "Solady",
    "target",
    "",
    "production contracts, as published",
)
NUMBERS = range(1, 6)  # columns that are set flush right


def _cells(row: Row) -> list[str]:
    def number(value: int | None, before: str = "") -> str:
        return "-" if value is None else f"{before}{value:,}"

    verdict = ""
    if row.missed_by is not None:
        verdict = (
            f"missed by {row.missed_by:,}" if row.missed_by > 0 else f"met by {-row.missed_by:,}"
        )
    return [
        row.operation,
        number(row.floor),
        number(row.plaza),
        number(row.openzeppelin),
        number(row.solady),
        number(row.target, "≤ "),
        verdict,
        row.published,
    ]


def as_text(rows: list[Row]) -> str:
    table = [list(HEAD), *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in table
    )


def as_markdown(rows: list[Row]) -> str:
    rule = ["--:" if column in NUMBERS else "---" for column in range(len(HEAD))]
    lines = [list(HEAD), rule, *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the comparison as JSON")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    arguments = parser.parse_args()
    try:
        rows = compare(measure_ours(), measure_peers(compile_peers()))
    except (ArtifactNotFound, CompileError) as error:
        print(f"gas: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        report = {"rules": "Cancun", "solc": SOLC_VERSION, "settings": SETTINGS}
        print(json.dumps({**report, "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        print(as_markdown(rows) if arguments.markdown else as_text(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
