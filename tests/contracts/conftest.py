"""The platform's contracts on a chain of their own: deployed once, put back after each test.

Tests use `chain`, `coin`, `manager` and `accounts`. Fixtures of a wider scope that deploy more on
top of it use `platform`, and see the same contracts and the same chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak
from web3.contract import Contract

from contracts import Artifact
from scripts.compile import ROOT, SETTINGS, SOLC_VERSION, compile_sources, read_sources
from tests.contracts.chain import Chain, selectors
from tests.contracts.escrow import Market

START = 1_800_000_000  # the chain's clock when a test begins is a little later
MEMBER_UNTIL = START + 365 * 86_400
COIN = 10**6  # one coin in atomic units
MINT_CAPACITY = 1_000_000 * COIN
MINT_REFILL_PER_SECOND = 10 * COIN
BALANCE = 10_000 * COIN  # of buyer and seller each

BUYER, SELLER, LENDER, OPERATOR, SYSTEM = 1, 2, 4, 8, 16

# Role -> (id, functions of the coin it may call).
ROLES = {
    "MINTER": (1, ["mint"]),
    "REGISTRAR": (2, ["admit", "admitMany", "expel"]),
    "COMPLIANCE": (3, ["freeze", "unfreeze"]),
    "ENFORCER": (4, ["seize"]),
    "GUARDIAN": (5, ["pause", "unpause"]),
    "TREASURER": (6, ["setMintLimit"]),
}


@dataclass(frozen=True)
class Accounts:
    """Keys derived from their names. All but `stranger` are members."""

    admin: LocalAccount  # ADMIN, TREASURER
    treasury: LocalAccount  # MINTER
    operator: LocalAccount  # REGISTRAR, COMPLIANCE, GUARDIAN
    enforcer: LocalAccount  # ENFORCER
    fee_receiver: LocalAccount
    buyer: LocalAccount
    seller: LocalAccount
    buyer2: LocalAccount
    seller2: LocalAccount
    lender: LocalAccount
    stranger: LocalAccount

    @classmethod
    def derive(cls) -> Accounts:
        names = [field.name for field in fields(cls)]
        return cls(*(Account.from_key(keccak(text=f"plaza test {name}")) for name in names))

    def all(self) -> list[LocalAccount]:
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class Platform:
    """What is deployed once: AccessManager with its roles, the coin with members and balances."""

    chain: Chain
    accounts: Accounts
    manager: Contract
    coin: Contract


@pytest.fixture(scope="session")
def accounts() -> Accounts:
    return Accounts.derive()


@pytest.fixture(scope="session")
def platform(accounts: Accounts) -> Platform:
    chain = Chain(accounts.all(), START)
    manager = chain.deploy("AccessManager", accounts.admin.address, by=accounts.admin)
    coin = chain.deploy("PlatformCoin", manager.address, by=accounts.admin)
    holders = {
        "MINTER": accounts.treasury,
        "REGISTRAR": accounts.operator,
        "COMPLIANCE": accounts.operator,
        "ENFORCER": accounts.enforcer,
        "GUARDIAN": accounts.operator,
        "TREASURER": accounts.admin,
    }
    for role, (role_id, names) in ROLES.items():
        for step in (
            manager.functions.labelRole(role_id, role),
            manager.functions.setTargetFunctionRole(coin.address, selectors(coin, names), role_id),
            manager.functions.grantRole(role_id, holders[role].address, 0),
        ):
            chain.send(step, by=accounts.admin)

    for kinds, members in {
        BUYER: [accounts.buyer, accounts.buyer2],
        SELLER: [accounts.seller, accounts.seller2],
        LENDER: [accounts.lender],
        OPERATOR: [accounts.operator, accounts.treasury, accounts.enforcer, accounts.fee_receiver],
    }.items():
        addresses = [member.address for member in members]
        chain.send(coin.functions.admitMany(addresses, kinds, MEMBER_UNTIL), by=accounts.operator)
    limit = (accounts.treasury.address, MINT_CAPACITY, MINT_REFILL_PER_SECOND)
    chain.send(coin.functions.setMintLimit(*limit), by=accounts.admin)
    for member in (accounts.buyer, accounts.seller):
        reference = keccak(text=f"opening balance of {member.address}")
        mint = coin.functions.mint(member.address, BALANCE, reference)
        chain.send(mint, by=accounts.treasury)
    return Platform(chain, accounts, manager, coin)


@pytest.fixture
def chain(platform: Platform) -> Iterator[Chain]:
    snapshot = platform.chain.snapshot()
    yield platform.chain
    platform.chain.revert_to(snapshot)


@pytest.fixture
def manager(platform: Platform, chain: Chain) -> Contract:
    return platform.manager


@pytest.fixture
def coin(platform: Platform, chain: Chain) -> Contract:
    return platform.coin


@pytest.fixture(scope="session")
def deployed_market(platform: Platform) -> Market:
    """The escrow, admitted as a system member."""
    chain, accounts, coin = platform.chain, platform.accounts, platform.coin
    escrow = chain.deploy("PurchaseEscrow", coin.address, by=accounts.admin)
    admit = coin.functions.admit(escrow.address, SYSTEM, MEMBER_UNTIL)
    chain.send(admit, by=accounts.operator)
    return Market(chain, accounts, coin, escrow)


@pytest.fixture
def market(deployed_market: Market, chain: Chain) -> Market:
    """Used by the escrow's tests, with `chain` and `accounts`."""
    return deployed_market


@pytest.fixture(scope="session")
def test_contracts(request: pytest.FixtureRequest) -> dict[str, Artifact]:
    """The contracts of `sources/`, compiled when one of them changed, by name."""
    units = {
        path.stem: path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests" / "contracts" / "sources").glob("*.sol"))
    }
    inputs = json.dumps([SOLC_VERSION, SETTINGS, read_sources(units.values())])
    key = f"plaza/sources-{hashlib.sha256(inputs.encode()).hexdigest()}"
    cache = request.config.cache
    assert cache is not None
    compiled: dict[str, dict[str, Any]] = cache.get(key, None) or compile_sources(units)
    cache.set(key, compiled)
    return {name: Artifact(**artifact) for name, artifact in compiled.items()}
