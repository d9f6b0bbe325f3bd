"""Who may do what, as it is read from a chain on which things have changed since the deployment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from node.chain.codec import ContractCodec
from node.chain.constitution import ADMIN_ROLE, ENDLESS, ROLES
from node.chain.deployment import Manifest, deploy
from node.chain.engine import Engine
from node.chain.roles import Authority, read_authority
from node.chain.rpc import Rpc, RpcError
from tests.node.chain.support import seed, send, settings_in

DAY = 86_400
NEWCOMER = seed.managed(0).address


async def deployed(engine: Engine, folder: Path) -> Manifest:
    return await deploy(engine, seed, settings_in(folder), bridge_url="http://127.0.0.1:8400")


async def read(rpc: Rpc, manifest: Manifest) -> Authority:
    addresses = {name: contract.address for name, contract in manifest.contracts.items()}
    return await read_authority(rpc, addresses, manifest.accounts, first_block=1)


async def change(engine: Engine, manifest: Manifest, *steps: tuple[str, str, str]) -> None:
    """Have operations (who, address, data) wait for their day, and executed."""
    manager = ContractCodec("AccessManager")
    address = manifest.contracts["AccessManager"].address
    for who, target, data in steps:
        schedule = manager.encode("schedule", target, data, 0)
        receipt = await send(engine, seed.platform(who), to=address, data=schedule, gas=10**6)
        assert receipt["status"] == "0x1"
    await engine.set_time(await engine.now() + DAY)
    for who, target, data in steps:
        receipt = await send(engine, seed.platform(who), to=target, data=data, gas=10**6)
        assert receipt["status"] == "0x1"


def holders(authority: Authority, function: str) -> dict[str, int]:
    """Holder's name -> what it waits, of the role that a function needs."""
    (role,) = {rule.role for rule in authority.rules if rule.function == function}
    return {one.name or one.address: one.delay for one in authority.roles[role].holders}


async def test_what_the_constitution_says_is_read_from_the_chain(
    engine: Engine, tmp_path: Path
) -> None:
    manifest = await deployed(engine, tmp_path)
    authority = await read(engine.rpc, manifest)
    found = {
        (rule.contract, rule.function): authority.roles[rule.role].label
        for rule in authority.rules
        if rule.selector is not None
    }
    assert found == {
        (contract, function): label
        for label, rule in ROLES.items()
        for contract, functions in rule.functions.items()
        for function in functions
    }
    assert holders(authority, "mint") == {"treasury": 0}
    assert holders(authority, "admitSystem") == {"steward": DAY}
    assert holders(authority, "setMintLimit") == {"admin": DAY}
    assert holders(authority, "grantRole") == {"admin": DAY}
    assert holders(authority, "accept (its signed offers)") == {"underwriter": 0}
    assert holders(authority, "cancel operations of STEWARD") == {"guardian": 0}
    members = {member.contract: member for member in authority.system_members}
    assert list(members) == ["LenderPool", "CreditBook", "PurchaseEscrow"]
    assert {member.member_until for member in members.values()} == {ENDLESS}
    sources = {name for name, member in members.items() if member.sales_source}
    assert sources == {"PurchaseEscrow"}


async def test_a_grant_delay_is_told_before_it_has_begun(tester: Engine, tmp_path: Path) -> None:
    manifest = await deployed(tester, tmp_path)
    steward = (await read(tester.rpc, manifest)).roles[ROLES["STEWARD"].id]
    assert (steward.grant_delay, steward.pending_grant_delay) == (0, DAY)
    await tester.set_time(steward.pending_grant_from)
    await send(tester, seed.platform("operator"))
    steward = (await read(tester.rpc, manifest)).roles[ROLES["STEWARD"].id]
    assert (steward.grant_delay, steward.pending_grant_delay) == (DAY, 0)


async def test_later_grants_and_revocations_are_seen(engine: Engine, tmp_path: Path) -> None:
    manifest = await deployed(engine, tmp_path)
    manager, address = ContractCodec("AccessManager"), manifest.contracts["AccessManager"].address
    await change(
        engine,
        manifest,
        ("admin", address, manager.encode("grantRole", ROLES["MINTER"].id, NEWCOMER, 60)),
        ("admin", address, manager.encode("revokeRole", 2, manifest.accounts["operator"])),
        ("admin", address, manager.encode("grantRole", 77, NEWCOMER, 0)),
        ("admin", address, manager.encode("labelRole", 77, "AUDITOR")),
        ("admin", address, manager.encode("setRoleAdmin", 77, ROLES["STEWARD"].id)),
    )
    authority = await read(engine.rpc, manifest)
    assert holders(authority, "mint") == {"treasury": 0, NEWCOMER: 60}
    assert holders(authority, "admit") == {}
    assert authority.roles[77].label == "AUDITOR"
    assert holders(authority, "grantRole, revokeRole of AUDITOR") == {"steward": DAY}
    again = await deploy(engine, seed, settings_in(tmp_path), bridge_url=manifest.bridge_url)
    assert again.roles["MINTER"].members == [manifest.accounts["treasury"], NEWCOMER]
    assert again.roles["MINTER"].delays[NEWCOMER] == 60


async def test_a_grant_that_is_yet_to_take_effect_is_told_apart(
    tester: Engine, tmp_path: Path
) -> None:
    manifest = await deployed(tester, tmp_path)
    await tester.set_time(await tester.now() + 6 * DAY)
    manager, address = ContractCodec("AccessManager"), manifest.contracts["AccessManager"].address
    grant = manager.encode("grantRole", ROLES["STEWARD"].id, NEWCOMER, 0)
    await change(tester, manifest, ("admin", address, grant))
    authority = await read(tester.rpc, manifest)
    role = ROLES["STEWARD"].id
    (newcomer,) = [one for one in authority.roles[role].holders if one.address == NEWCOMER]
    assert newcomer.since == authority.time + DAY
    assert [one.name for one in authority.effective(role)] == ["steward"]


async def test_a_second_escrow_is_found_with_its_roles(tester: Engine, tmp_path: Path) -> None:
    manifest = await deployed(tester, tmp_path)
    address = {name: contract.address for name, contract in manifest.contracts.items()}
    arguments = (address["PlatformCoin"], address["CreditBook"], address["AccessManager"])
    escrow, coin = ContractCodec("PurchaseEscrow"), ContractCodec("PlatformCoin")
    book, manager = ContractCodec("CreditBook"), ContractCodec("AccessManager")
    created = await send(
        tester,
        seed.platform("steward"),
        to=None,
        data=escrow.encode_constructor(*arguments),
        gas=10_000_000,
    )
    second = str(to_checksum_address(created["contractAddress"]))
    selectors = [escrow.selector("resolve")]
    role = manager.encode("setTargetFunctionRole", second, selectors, ROLES["ARBITER"].id)
    admission = coin.encode("admitSystem", second, ENDLESS)
    source = book.encode("setSalesSource", second, True)
    await change(
        tester,
        manifest,
        ("steward", address["PlatformCoin"], admission),
        ("steward", address["CreditBook"], source),
        ("admin", address["AccessManager"], role),
    )
    authority = await read(tester.rpc, manifest)
    name = f"PurchaseEscrow {second[:8]}"
    rules = {
        (rule.contract, rule.function): authority.roles[rule.role].label for rule in authority.rules
    }
    assert rules["PurchaseEscrow", "resolve"] == rules[name, "resolve"] == "ARBITER"
    sources = {one.address for one in authority.system_members if one.sales_source}
    assert sources == {address["PurchaseEscrow"], second}
    expulsion = coin.encode("expelSystem", address["PurchaseEscrow"])
    await change(tester, manifest, ("steward", address["PlatformCoin"], expulsion))
    authority = await read(tester.rpc, manifest)
    ended = {one.address for one in authority.system_members if one.member_until <= authority.time}
    assert ended == {address["PurchaseEscrow"]}


async def test_a_closed_contract_is_told(tester: Engine, tmp_path: Path) -> None:
    manifest = await deployed(tester, tmp_path)
    manager, address = ContractCodec("AccessManager"), manifest.contracts["AccessManager"].address
    coin = manifest.contracts["PlatformCoin"].address
    await change(
        tester, manifest, ("admin", address, manager.encode("setTargetClosed", coin, True))
    )
    authority = await read(tester.rpc, manifest)
    assert {rule.contract for rule in authority.rules if rule.closed} == {"PlatformCoin"}


class Forgetful:
    """A node that keeps, or answers for, only some logs."""

    def __init__(self, rpc: Rpc, *, most: int | None = None, first: int = 0) -> None:
        self._rpc, self._most, self._first = rpc, most, first
        self.asked = 0

    async def call(self, method: str, *params: Any) -> Any:
        if method != "eth_getLogs":
            return await self._rpc.call(method, *params)
        self.asked += 1
        (criteria,) = params
        first, last = int(criteria["fromBlock"], 16), int(criteria["toBlock"], 16)
        if self._most is not None and last - first >= self._most:
            raise RpcError(-32005, "too many blocks")
        logs = await self._rpc.call(method, criteria)
        return [log for log in logs if int(log["blockNumber"], 16) >= self._first]

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return await self._rpc.batch(calls)

    async def close(self) -> None:
        await self._rpc.close()


async def test_logs_are_asked_for_in_parts_where_a_node_refuses_many_blocks(
    tester: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.chain.roles.LEAST_LOG_RANGE", 1)
    manifest = await deployed(tester, tmp_path)
    careful = Forgetful(tester.rpc, most=2)
    assert await read(careful, manifest) == await read(tester.rpc, manifest)
    assert careful.asked > 4


async def test_a_refusal_of_few_blocks_is_not_taken_for_their_number(
    tester: Engine, tmp_path: Path
) -> None:
    manifest = await deployed(tester, tmp_path)
    with pytest.raises(RpcError, match="too many blocks"):
        await read(Forgetful(tester.rpc, most=0), manifest)


async def test_without_old_events_the_platforms_own_accounts_are_known_all_the_same(
    tester: Engine, tmp_path: Path
) -> None:
    manifest = await deployed(tester, tmp_path)
    whole = await read(tester.rpc, manifest)
    pruned = await read(Forgetful(tester.rpc, first=10**6), manifest)
    assert pruned.rules == whole.rules
    assert {role: state.holders for role, state in pruned.roles.items()} == {
        role: state.holders for role, state in whole.roles.items()
    }
    assert pruned.roles[ADMIN_ROLE].label == "ADMIN"
