"""All contracts of the platform at work together: deployed, with every role in a hand of its own.

    system = deploy(Chain(cast.all(), START), Cast.derive())

The book and the pool name each other, so their addresses are predicted from the deployer's nonce.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak, to_canonical_address, to_checksum_address
from web3.contract import Contract

from tests.contracts.chain import Chain, selectors

DAY = 86_400
START = 1_800_000_000
COIN = 10**6  # one coin in atomic units
FOREVER = 2**40 - 1  # the contracts of the platform stay members
MEMBER_UNTIL = START + 5 * 365 * DAY
MINT_CAPACITY = 10_000_000 * COIN
MINT_REFILL_PER_SECOND = 10 * COIN

BUYER, SELLER, LENDER, OPERATOR = 1, 2, 4, 8

# Role -> (id, contract -> functions it may call). UNDERWRITER has none: the book asks who holds it.
ROLES: dict[str, tuple[int, dict[str, list[str]]]] = {
    "MINTER": (1, {"coin": ["mint"]}),
    "REGISTRAR": (2, {"coin": ["admit", "admitMany", "expel"]}),
    "COMPLIANCE": (3, {"coin": ["freeze", "unfreeze"]}),
    "ENFORCER": (4, {"coin": ["seize"]}),
    "GUARDIAN": (5, {"coin": ["pause", "unpause"], "book": ["pauseDraws", "unpauseDraws"]}),
    "TREASURER": (6, {"coin": ["setMintLimit"], "book": ["withdrawReserve"]}),
    "UNDERWRITER": (7, {}),
    "SERVICER": (8, {"book": ["grantHoliday", "waive"]}),
    "RISK": (9, {"book": ["lowerLimit"]}),
    "CAPS": (12, {"book": ["setCaps"]}),
    "ARBITER": (10, {"escrow": ["resolve"]}),
    "STEWARD": (11, {"coin": ["admitSystem", "expelSystem"], "book": ["setSalesSource"]}),
}


@dataclass(frozen=True)
class Cast:
    """Keys derived from their names. A hand for each role; all but `stranger` are members."""

    admin: LocalAccount
    treasury: LocalAccount  # MINTER
    registrar: LocalAccount
    compliance: LocalAccount
    enforcer: LocalAccount
    guardian: LocalAccount
    treasurer: LocalAccount
    underwriter: LocalAccount
    servicer: LocalAccount
    risk: LocalAccount  # RISK and CAPS
    arbiter: LocalAccount
    steward: LocalAccount
    operator: LocalAccount  # of the orders
    fee_receiver: LocalAccount
    buyer: LocalAccount
    buyer2: LocalAccount
    seller: LocalAccount
    seller2: LocalAccount
    seller3: LocalAccount
    lender: LocalAccount
    lender2: LocalAccount
    stranger: LocalAccount

    @classmethod
    def derive(cls) -> Cast:
        names = [field.name for field in fields(cls)]
        return cls(*(Account.from_key(keccak(text=f"plaza test {name}")) for name in names))

    def all(self) -> list[LocalAccount]:
        return [getattr(self, field.name) for field in fields(self)]

    def holder_of(self, role: str) -> LocalAccount:
        name = {"MINTER": "treasury", "CAPS": "risk"}.get(role, role.lower())
        account: LocalAccount = getattr(self, name)
        return account


@dataclass(frozen=True)
class System:
    """The contracts, the chain they are on and the accounts that use them."""

    chain: Chain
    accounts: Any
    manager: Contract
    coin: Contract
    pool: Contract
    book: Contract
    escrow: Contract

    def contracts(self) -> dict[str, Contract]:
        return {name: getattr(self, name) for name in ("coin", "pool", "book", "escrow")}


def deploy(chain: Chain, cast: Cast) -> System:
    """Contracts, roles, members and the minter's limit on a fresh chain; no coin yet."""
    manager = chain.deploy("AccessManager", cast.admin.address, by=cast.admin)
    coin = chain.deploy("PlatformCoin", manager.address, by=cast.admin)
    pool, book = deploy_credit(chain, manager, coin, cast.admin, nonce=2)
    escrow = chain.deploy(
        "PurchaseEscrow", coin.address, book.address, manager.address, by=cast.admin
    )
    system = System(chain, cast, manager, coin, pool, book, escrow)

    for role, (role_id, functions) in ROLES.items():
        chain.send(manager.functions.labelRole(role_id, role), by=cast.admin)
        holder = cast.holder_of(role).address
        chain.send(manager.functions.grantRole(role_id, holder, 0), by=cast.admin)
        for target, names in functions.items():
            contract = system.contracts()[target]
            step = manager.functions.setTargetFunctionRole(
                contract.address, selectors(contract, names), role_id
            )
            chain.send(step, by=cast.admin)

    for contract in (escrow, pool, book):
        admit = coin.functions.admitSystem(contract.address, FOREVER)
        chain.send(admit, by=cast.steward)
    chain.send(book.functions.setSalesSource(escrow.address, True), by=cast.steward)

    members = {
        BUYER: [cast.buyer, cast.buyer2],
        SELLER: [cast.seller, cast.seller2, cast.seller3],
        LENDER: [cast.lender, cast.lender2],
        OPERATOR: [
            account
            for account in cast.all()[: cast.all().index(cast.buyer)]
            if account is not cast.admin
        ],
    }
    for kinds, accounts in members.items():
        addresses = [account.address for account in accounts]
        admit = coin.functions.admitMany(addresses, kinds, MEMBER_UNTIL)
        chain.send(admit, by=cast.registrar)
    limit = (cast.treasury.address, MINT_CAPACITY, MINT_REFILL_PER_SECOND)
    chain.send(coin.functions.setMintLimit(*limit), by=cast.treasurer)
    return system


def deploy_credit(
    chain: Chain, manager: Contract, coin: Contract, by: LocalAccount, nonce: int
) -> tuple[Contract, Contract]:
    """The lender pool and the credit book, `nonce` being the deployer's next one."""
    book_address = created_address(by.address, nonce + 1)
    pool = chain.deploy("LenderPool", coin.address, book_address, by=by)
    book = chain.deploy("CreditBook", coin.address, pool.address, manager.address, by=by)
    assert book.address == book_address, "the deployer's nonce is not what it was said to be"
    return pool, book


def created_address(deployer: str, nonce: int) -> str:
    """Where `deployer` creates its contract of that nonce (below 128): keccak of their RLP."""
    assert nonce < 128
    encoded = bytes([0xD6, 0x94]) + to_canonical_address(deployer) + bytes([nonce or 0x80])
    return to_checksum_address(keccak(encoded)[12:])
