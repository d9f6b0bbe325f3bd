"""The constitution at work: who may call what, who must wait for it, and who can stop it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from web3.contract import Contract
from web3.contract.contract import ContractFunction

from node.chain.constitution import ADMIN_ROLE, ENDLESS, ROLES
from node.keys import PLATFORM_KEYS
from tests.contracts.chain import ZERO_ADDRESS, Chain, Reverted, selectors
from tests.contracts.founded import (
    constitution,
    deployed,
    found,
    later_escrow,
    operation,
    perform,
    schedule,
)
from tests.contracts.system import COIN, DAY, System

WEEK = 7 * DAY
GRANT_DELAYS_BEGIN = 5 * DAY  # AccessManager.minSetback
MINTER, REGISTRAR, GUARDIAN, STEWARD = (
    ROLES[name].id for name in ("MINTER", "REGISTRAR", "GUARDIAN", "STEWARD")
)


@pytest.fixture(scope="module")
def founded() -> System:
    return found()


@pytest.fixture
def system(founded: System) -> Iterator[System]:
    snapshot = founded.chain.snapshot()
    yield founded
    founded.chain.revert_to(snapshot)


@pytest.fixture
def chain(system: System) -> Chain:
    return system.chain


def contract_of(system: System, name: str) -> Contract:
    names = {"PlatformCoin": "coin", "CreditBook": "book", "PurchaseEscrow": "escrow"}
    contract: Contract = getattr(system, names[name])
    return contract


def empty(parameter: dict[str, Any]) -> Any:
    """A value of an ABI type, for calls that only come as far as the check of the caller."""
    kind: str = parameter["type"]
    if kind.endswith("[]"):
        return []
    if kind == "tuple":
        return tuple(empty(part) for part in parameter["components"])
    values = {"address": ZERO_ADDRESS, "bool": False, "bytes": b"", "string": ""}
    return values.get(kind, b"\0" * 32 if kind == "bytes32" else 0)


def empty_call(contract: Contract, name: str) -> ContractFunction:
    (abi,) = (item for item in contract.abi if item.get("name") == name)
    return contract.functions[name](*(empty(parameter) for parameter in abi["inputs"]))


def refusal(chain: Chain, function: ContractFunction, by: LocalAccount) -> str | None:
    """The AccessManager's reason against a call, if it has one."""
    try:
        chain.call(function, by=by)
    except Reverted as reverted:
        return reverted.name if reverted.name.startswith("AccessManage") else None
    return None


# ------------------------------------------------------------------------ who may call what

RESTRICTED = [
    (contract, function, label)
    for label, rule in ROLES.items()
    for contract, functions in rule.functions.items()
    for function in functions
]


@pytest.mark.parametrize(("contract", "function", "label"), RESTRICTED)
def test_a_function_is_its_role_holders_alone(
    system: System, contract: str, function: str, label: str
) -> None:
    rule = ROLES[label]
    call = empty_call(contract_of(system, contract), function)
    reasons = {
        name: refusal(system.chain, call, getattr(system.accounts, name)) for name in PLATFORM_KEYS
    }
    holder = reasons.pop(rule.holder)
    assert holder == (None if rule.delay is None else "AccessManagerNotScheduled")
    assert set(reasons.values()) == {"AccessManagedUnauthorized"}
    assert refusal(system.chain, call, system.accounts.stranger) == "AccessManagedUnauthorized"


def test_every_restricted_function_of_the_contracts_has_a_role(system: System) -> None:
    """Whoever is no role's holder is refused by the AccessManager exactly where a role is needed,
    so a restricted function that the constitution forgot would show here."""
    restricted = set()
    for name in ("PlatformCoin", "CreditBook", "PurchaseEscrow"):
        contract = contract_of(system, name)
        names = [item["name"] for item in contract.abi if item["type"] == "function"]
        for function in names:
            if names.count(function) > 1 or function == "setAuthority":
                continue
            call = empty_call(contract, function)
            if refusal(system.chain, call, system.accounts.stranger) is not None:
                restricted.add((name, function))
    assert restricted == {(contract, function) for contract, function, _ in RESTRICTED}


@pytest.mark.parametrize("label", [label for label, rule in ROLES.items() if rule.delay is None])
def test_who_stops_or_serves_does_not_wait(system: System, label: str) -> None:
    rule = ROLES[label]
    holder = getattr(system.accounts, rule.holder).address
    has_role = system.manager.functions.hasRole(rule.id, holder)
    assert system.chain.call(has_role) == (True, 0)


@pytest.mark.parametrize("label", ["TREASURER", "CAPS", "STEWARD"])
def test_who_can_do_lasting_harm_waits_and_the_guardian_may_cancel(
    system: System, label: str
) -> None:
    rule, manager = ROLES[label], system.manager.functions
    holder = getattr(system.accounts, rule.holder).address
    assert system.chain.call(manager.hasRole(rule.id, holder)) == (True, DAY)
    assert system.chain.call(manager.getRoleGuardian(rule.id)) == GUARDIAN


# --------------------------------------------------------------- the hot operator key


def test_the_operator_can_neither_admit_nor_expel_a_contract_of_the_platform(
    system: System,
) -> None:
    chain, coin, operator = system.chain, system.coin.functions, system.accounts.operator
    manager = system.manager.functions
    stray = later_escrow(system).address
    for contract in (system.escrow, system.book, system.pool):
        for attempt in (
            coin.expel(contract.address),
            coin.admit(contract.address, 1, ENDLESS),
            coin.admitMany([contract.address], 8, ENDLESS),
            coin.freeze(contract.address, b"\0" * 32),
        ):
            chain.reverts(attempt, operator, "SystemAccount", account=contract.address)
    for kinds in (16, 17):
        chain.reverts(coin.admit(stray, kinds, ENDLESS), operator, "SystemAccount", account=stray)
    for attempt in (coin.admitSystem(stray, ENDLESS), coin.expelSystem(system.escrow.address)):
        chain.reverts(attempt, operator, "AccessManagedUnauthorized", caller=operator.address)
        for way in (manager.schedule(*operation(attempt), 0), manager.execute(*operation(attempt))):
            chain.reverts(way, operator, "AccessManagerUnauthorizedCall")


def test_the_operator_cannot_give_itself_a_role(system: System) -> None:
    operator = system.accounts.operator
    for role in (ADMIN_ROLE, STEWARD, MINTER):
        grant = system.manager.functions.grantRole(role, operator.address, 0)
        system.chain.reverts(grant, operator, "AccessManagerUnauthorizedAccount")


def test_the_guardian_cannot_stop_the_admin_from_taking_its_role(system: System) -> None:
    chain, accounts, manager = system.chain, system.accounts, system.manager.functions
    revoke = manager.revokeRole(GUARDIAN, accounts.guardian.address)
    schedule(system, revoke, accounts.admin)
    cancel = manager.cancel(accounts.admin.address, *operation(revoke))
    chain.reverts(cancel, accounts.guardian, "AccessManagerUnauthorizedCancel")
    chain.travel(DAY)
    chain.send(revoke, by=accounts.admin)
    assert chain.call(manager.hasRole(GUARDIAN, accounts.guardian.address)) == (False, 0)


# --------------------------------------------------------------------------- delays


def test_an_operation_waits_for_its_delay_to_the_second(system: System) -> None:
    chain, steward = system.chain, system.accounts.steward
    expel = system.coin.functions.expelSystem(system.escrow.address)
    chain.reverts(expel, steward, "AccessManagerNotScheduled")
    scheduled_at = schedule(system, expel, steward).timestamp
    chain.travel_to(scheduled_at + DAY - 1)
    chain.reverts(expel, steward, "AccessManagerNotReady")
    chain.travel_to(scheduled_at + DAY)
    chain.send(expel, by=steward)
    assert chain.call(system.coin.functions.inGoodStanding(system.escrow.address)) is False
    chain.reverts(expel, steward, "AccessManagerNotScheduled")  # it was for once


def test_an_operation_that_is_not_executed_expires_after_a_week(system: System) -> None:
    chain, steward = system.chain, system.accounts.steward
    expel = system.coin.functions.expelSystem(system.escrow.address)
    scheduled_at = schedule(system, expel, steward).timestamp
    chain.travel_to(scheduled_at + DAY + WEEK)
    chain.reverts(expel, steward, "AccessManagerExpired")


def test_a_call_that_differs_from_what_was_scheduled_is_refused(system: System) -> None:
    chain, admin, coin = system.chain, system.accounts.admin, system.coin.functions
    treasury = system.accounts.treasury.address
    schedule(system, coin.setMintLimit(treasury, COIN, 0), admin)
    chain.travel(DAY)
    more = coin.setMintLimit(treasury, COIN + 1, 0)
    chain.reverts(more, admin, "AccessManagerNotScheduled")


@pytest.mark.parametrize("label", ["TREASURER", "CAPS", "STEWARD"])
def test_the_guardian_cancels_and_a_stranger_does_not(system: System, label: str) -> None:
    chain, accounts, manager = system.chain, system.accounts, system.manager.functions
    holder = getattr(accounts, ROLES[label].holder)
    harm = {
        "TREASURER": system.coin.functions.setMintLimit(accounts.stranger.address, 10**30, 0),
        "CAPS": system.book.functions.setCaps(2**72 - 1, 2**72 - 1, 0),
        "STEWARD": system.coin.functions.admitSystem(accounts.stranger.address, ENDLESS),
    }[label]
    schedule(system, harm, holder)
    cancel = manager.cancel(holder.address, *operation(harm))
    for bystander in (accounts.stranger, accounts.operator, accounts.treasury):
        chain.reverts(cancel, bystander, "AccessManagerUnauthorizedCancel")
    chain.send(cancel, by=accounts.guardian)
    chain.travel(DAY)
    chain.reverts(harm, holder, "AccessManagerNotScheduled")


def test_a_limit_is_lowered_at_once_and_caps_are_not(system: System) -> None:
    chain, risk, book = system.chain, system.accounts.risk, system.book.functions
    # As far as the book itself: there is no line to lower.
    chain.reverts(book.lowerLimit(risk.address, 0), risk, "InvalidLimit", most=0)
    chain.reverts(book.setCaps(1, 1, 0), risk, "AccessManagerNotScheduled")
    perform(system, book.setCaps(1, 2, 3), risk, DAY)
    totals = chain.call(book.totals())
    assert (totals.principalCap, totals.reserveBps, chain.call(book.lineCap())) == (2, 3, 1)


def test_mint_limits_wait_for_the_treasurer(system: System) -> None:
    coin, treasury = system.coin.functions, system.accounts.treasury.address
    perform(system, coin.setMintLimit(treasury, 5 * COIN, 0), system.accounts.admin, DAY)
    assert system.chain.call(coin.mintLimitOf(treasury))[0] == 5 * COIN


def test_what_the_admin_itself_does_waits(system: System) -> None:
    chain, accounts, manager = system.chain, system.accounts, system.manager.functions
    for step in (
        manager.grantRole(REGISTRAR, accounts.stranger.address, 0),
        manager.revokeRole(REGISTRAR, accounts.operator.address),
        manager.setTargetFunctionRole(
            system.coin.address, selectors(system.coin, ["mint"]), ADMIN_ROLE
        ),
        manager.setTargetClosed(system.coin.address, True),
        manager.updateAuthority(system.coin.address, accounts.stranger.address),
        manager.setRoleGuardian(STEWARD, ADMIN_ROLE),
    ):
        chain.reverts(step, accounts.admin, "AccessManagerNotScheduled")
    grant = manager.grantRole(REGISTRAR, accounts.stranger.address, 0)
    perform(system, grant, accounts.admin, DAY)
    assert chain.call(manager.hasRole(REGISTRAR, accounts.stranger.address)) == (True, 0)


def test_the_admin_frees_itself_of_its_delay_only_by_waiting_it_out(system: System) -> None:
    """Once for the operation, and once more until the shorter delay counts."""
    chain, admin, manager = system.chain, system.accounts.admin, system.manager.functions
    perform(system, manager.grantRole(ADMIN_ROLE, admin.address, 0), admin, DAY)
    assert chain.call(manager.hasRole(ADMIN_ROLE, admin.address)) == (True, DAY)
    chain.travel(DAY)
    assert chain.call(manager.hasRole(ADMIN_ROLE, admin.address)) == (True, 0)


def test_a_new_steward_waits_once_grant_delays_have_begun(system: System) -> None:
    """In the first five days the AccessManager lets no grant delay count: a node's deployment says
    when it will."""
    chain, accounts, manager = system.chain, system.accounts, system.manager.functions
    assert chain.call(manager.getRoleGrantDelay(STEWARD)) == 0
    chain.travel(GRANT_DELAYS_BEGIN)
    assert chain.call(manager.getRoleGrantDelay(STEWARD)) == DAY
    assert chain.call(manager.getRoleGrantDelay(REGISTRAR)) == 0
    grant = manager.grantRole(STEWARD, accounts.stranger.address, 0)
    granted_at = perform(system, grant, accounts.admin, DAY).timestamp
    chain.travel_to(granted_at + DAY - 1)
    assert chain.call(manager.hasRole(STEWARD, accounts.stranger.address)) == (False, 0)
    chain.travel_to(granted_at + DAY)
    assert chain.call(manager.hasRole(STEWARD, accounts.stranger.address)) == (True, 0)


# -------------------------------------------------------------------- the founding itself


def test_the_constitution_is_in_force_whole_or_not_at_all() -> None:
    system = deployed()
    chain, admin, manager = system.chain, system.accounts.admin, system.manager.functions
    calls = constitution(system)
    # The last call again, which has to wait by then.
    with pytest.raises(Reverted, match="AccessManagerNotScheduled"):
        chain.send(manager.multicall([*calls, calls[-1]]), by=admin)
    (mint,) = selectors(system.coin, ["mint"])
    assert chain.call(manager.getTargetFunctionRole(system.coin.address, mint)) == ADMIN_ROLE
    assert chain.call(manager.hasRole(ADMIN_ROLE, admin.address)) == (True, 0)
    for contract in (system.escrow, system.book, system.pool):
        assert chain.call(system.coin.functions.accountOf(contract.address)).kinds == 0
    chain.send(manager.multicall(calls), by=admin)
    assert chain.call(manager.hasRole(ADMIN_ROLE, admin.address)) == (True, DAY)


def test_delays_are_as_configured() -> None:
    system = found(governance_delay=0, treasurer_delay=3 * DAY, caps_delay=60)
    chain, accounts, manager = system.chain, system.accounts, system.manager.functions
    seen = {
        label: chain.call(
            manager.hasRole(ROLES[label].id, getattr(accounts, ROLES[label].holder).address)
        )[1]
        for label in ("STEWARD", "TREASURER", "CAPS")
    }
    assert seen == {"STEWARD": 0, "TREASURER": 3 * DAY, "CAPS": 60}
    chain.send(system.coin.functions.expelSystem(system.escrow.address), by=accounts.steward)
