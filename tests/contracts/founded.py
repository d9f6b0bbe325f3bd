"""The contracts under the constitution that a node's deployment puts in force, delays and all.

The other fixtures give every role to a hand of its own without delays, which suits tests of what
the functions do; this one is for tests of who may call them, and when.
"""

from __future__ import annotations

from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils import keccak
from hexbytes import HexBytes
from web3.contract import Contract
from web3.contract.contract import ContractFunction

from node.chain.constitution import founding_calls
from node.keys import PLATFORM_KEYS
from node.settings import Settings
from tests.contracts.chain import Chain, Receipt
from tests.contracts.system import (
    BUYER,
    COIN,
    LENDER,
    MEMBER_UNTIL,
    SELLER,
    START,
    Cast,
    System,
    deploy_credit,
)


def deployed() -> System:
    """The contracts of a deployment before its last step."""
    cast = Cast.derive()
    chain = Chain(cast.all(), START)
    manager = chain.deploy("AccessManager", cast.admin.address, by=cast.admin)
    coin = chain.deploy("PlatformCoin", manager.address, by=cast.admin)
    pool, book = deploy_credit(chain, manager, coin, cast.admin, nonce=2)
    escrow = chain.deploy(
        "PurchaseEscrow", coin.address, book.address, manager.address, by=cast.admin
    )
    return System(chain, cast, manager, coin, pool, book, escrow)


def constitution(system: System, **settings: Any) -> list[bytes]:
    """The calls that found this system; settings as of a node."""
    addresses = {
        "AccessManager": system.manager.address,
        "PlatformCoin": system.coin.address,
        "LenderPool": system.pool.address,
        "CreditBook": system.book.address,
        "PurchaseEscrow": system.escrow.address,
    }
    accounts = {name: getattr(system.accounts, name).address for name in PLATFORM_KEYS}
    return [bytes(HexBytes(c)) for c in founding_calls(Settings(**settings), addresses, accounts)]


def found(**settings: Any) -> System:
    """The contracts with the constitution in force, and nobody but the platform's own members."""
    system = deployed()
    calls = constitution(system, **settings)
    system.chain.send(system.manager.functions.multicall(calls), by=system.accounts.admin)
    return system


def populate(system: System) -> None:
    """Buyers, sellers and lenders, each with 100,000 coin."""
    chain, cast, coin = system.chain, system.accounts, system.coin
    for kinds, members in {
        BUYER: [cast.buyer, cast.buyer2],
        SELLER: [cast.seller, cast.seller2],
        LENDER: [cast.lender],
    }.items():
        addresses = [member.address for member in members]
        chain.send(coin.functions.admitMany(addresses, kinds, MEMBER_UNTIL), by=cast.operator)
        for address in addresses:
            reference = keccak(text=f"opening balance of {address}")
            mint = coin.functions.mint(address, 100_000 * COIN, reference)
            chain.send(mint, by=cast.treasury)


def operation(function: ContractFunction) -> tuple[str, bytes]:
    """Target and calldata, as the AccessManager's schedule, execute and cancel take them."""
    return function.address, bytes(HexBytes(function._encode_transaction_data()))


def schedule(system: System, function: ContractFunction, by: LocalAccount) -> Receipt:
    """Schedule an operation for as soon as its delay allows."""
    step = system.manager.functions.schedule(*operation(function), 0)
    return system.chain.send(step, by=by)


def perform(system: System, function: ContractFunction, by: LocalAccount, delay: int) -> Receipt:
    """Schedule an operation, wait, and execute it by calling the contract itself."""
    schedule(system, function, by)
    system.chain.travel(delay)
    return system.chain.send(function, by=by)


def later_escrow(system: System) -> Contract:
    """One more escrow of the same code, so far unknown to the rest."""
    arguments = (system.coin.address, system.book.address, system.manager.address)
    return system.chain.deploy("PurchaseEscrow", *arguments, by=system.accounts.admin)
