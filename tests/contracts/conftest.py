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
from tests.contracts.chain import ZERO_ADDRESS, Chain, selectors
from tests.contracts.credit import Lending
from tests.contracts.escrow import AMOUNT, Market

START = 1_800_000_000  # the chain's clock when a test begins is a little later
MEMBER_UNTIL = START + 365 * 86_400
COIN = 10**6  # one coin in atomic units
MINT_CAPACITY = 1_000_000 * COIN
MINT_REFILL_PER_SECOND = 10 * COIN
BALANCE = 10_000 * COIN  # of buyer and seller each

BUYER, SELLER, LENDER, OPERATOR, SYSTEM = 1, 2, 4, 8, 16

# Role -> its id.
ROLE_IDS = {
    "ADMIN": 0,
    "MINTER": 1,
    "REGISTRAR": 2,
    "COMPLIANCE": 3,
    "ENFORCER": 4,
    "GUARDIAN": 5,
    "TREASURER": 6,
    "UNDERWRITER": 7,
    "SERVICER": 8,
    "RISK": 9,
    "ARBITER": 10,
    "STEWARD": 11,
    "CAPS": 12,
}
# Contract -> role -> the restricted functions it may call.
RESTRICTED = {
    "PlatformCoin": {
        "MINTER": ["mint"],
        "REGISTRAR": ["admit", "admitMany", "expel"],
        "COMPLIANCE": ["freeze", "unfreeze"],
        "ENFORCER": ["seize"],
        "GUARDIAN": ["pause", "unpause"],
        "TREASURER": ["setMintLimit"],
        "STEWARD": ["admitSystem", "expelSystem"],
    },
    "PurchaseEscrow": {"ARBITER": ["resolve"]},
    "CreditBook": {
        "GUARDIAN": ["pauseDraws", "unpauseDraws"],
        "TREASURER": ["withdrawReserve"],
        "SERVICER": ["grantHoliday", "waive"],
        "RISK": ["lowerLimit"],
        "CAPS": ["setCaps"],
        "STEWARD": ["setSalesSource"],
    },
}


@dataclass(frozen=True)
class Accounts:
    """Keys derived from their names. `stranger`, and who only decides, are no members."""

    admin: LocalAccount  # ADMIN, TREASURER
    underwriter: LocalAccount  # UNDERWRITER
    servicer: LocalAccount  # SERVICER
    risk: LocalAccount  # RISK and CAPS
    arbiter: LocalAccount  # ARBITER
    steward: LocalAccount  # STEWARD
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

    def restrict(self, contract: Contract, name: str) -> None:
        """Give the functions of a contract, `name` in RESTRICTED, to their roles."""
        for role, functions in RESTRICTED[name].items():
            chosen = selectors(contract, functions)
            target = (contract.address, chosen, ROLE_IDS[role])
            step = self.manager.functions.setTargetFunctionRole(*target)
            self.chain.send(step, by=self.accounts.admin)

    def admit_system(self, contract: Contract) -> None:
        """Make a contract a member that moves coin for the platform."""
        admit = self.coin.functions.admitSystem(contract.address, MEMBER_UNTIL)
        self.chain.send(admit, by=self.accounts.steward)

    def deploy_escrow(self, sale_hook: str = ZERO_ADDRESS) -> Contract:
        """One more escrow over the coin, admitted and with its arbiter."""
        arguments = (self.coin.address, sale_hook, self.manager.address)
        escrow = self.chain.deploy("PurchaseEscrow", *arguments, by=self.accounts.admin)
        self.restrict(escrow, "PurchaseEscrow")
        self.admit_system(escrow)
        return escrow


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
        "UNDERWRITER": accounts.underwriter,
        "SERVICER": accounts.servicer,
        "RISK": accounts.risk,
        "CAPS": accounts.risk,
        "ARBITER": accounts.arbiter,
        "STEWARD": accounts.steward,
    }
    for role, holder in holders.items():
        for step in (
            manager.functions.labelRole(ROLE_IDS[role], role),
            manager.functions.grantRole(ROLE_IDS[role], holder.address, 0),
        ):
            chain.send(step, by=accounts.admin)
    platform = Platform(chain, accounts, manager, coin)
    platform.restrict(coin, "PlatformCoin")

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
    return platform


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
    """The escrow without a credit book."""
    return Market(platform.chain, platform.accounts, platform.coin, platform.deploy_escrow())


@pytest.fixture
def market(deployed_market: Market, chain: Chain) -> Market:
    """Used by the escrow's tests, with `chain` and `accounts`."""
    return deployed_market


@pytest.fixture
def wallets(
    market: Market, chain: Chain, accounts: Accounts, test_contracts: dict[str, Artifact]
) -> list[str]:
    """Addresses of two contract accounts (EIP-1271) of one owner, `buyer2`, each with coin."""
    addresses = []
    for _ in range(2):
        wallet = chain.deploy(
            test_contracts["ContractWallet"], accounts.buyer2.address, by=accounts.admin
        )
        admit = market.coin.functions.admit(wallet.address, BUYER | SELLER, MEMBER_UNTIL)
        chain.send(admit, by=accounts.operator)
        fund = market.coin.functions.transfer(wallet.address, AMOUNT)
        chain.send(fund, by=accounts.buyer)
        addresses.append(wallet.address)
    return addresses


@pytest.fixture(scope="session")
def deployed_lending() -> Lending:
    return Lending.deploy()


@pytest.fixture
def lending(deployed_lending: Lending) -> Iterator[Lending]:
    """The whole system on a chain of its own; used by the tests of the book and the pool."""
    snapshot = deployed_lending.chain.snapshot()
    yield deployed_lending
    deployed_lending.chain.revert_to(snapshot)


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
