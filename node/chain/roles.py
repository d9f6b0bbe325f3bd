"""Who may do what, read from the chain.

The AccessManager answers for everything: one `multicall` of its getters, called and not sent, so
that all answers are of one block. Which accounts and contracts to ask about is known from the
deployment, and from events for those that were added later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import contracts
from node.chain.bytecode import is_code_of
from node.chain.codec import ContractCodec, Event
from node.chain.constitution import ADMIN_ROLE, ROLES, SYSTEM_MEMBERS
from node.chain.rpc import Rpc, RpcError

# Fewer blocks than this in one answer are not asked for: a refusal then has another reason.
LEAST_LOG_RANGE = 1_000

# What the AccessManager itself keeps for its admin.
_ADMIN_FUNCTIONS = (
    "labelRole",
    "grantRole",
    "revokeRole",
    "setRoleAdmin",
    "setRoleGuardian",
    "setGrantDelay",
    "setTargetFunctionRole",
    "setTargetAdminDelay",
    "setTargetClosed",
    "updateAuthority",
)


@dataclass(frozen=True, slots=True)
class Holder:
    """An account with a role. Times in unix seconds.

    Attributes:
        name: of the platform's account; None for any other.
        since: when the grant takes effect; it may lie ahead.
        delay: seconds its operations wait; from `pending_from` on (0: no change is pending) they
            wait `pending_delay`.
    """

    address: str
    name: str | None
    since: int
    delay: int
    pending_delay: int
    pending_from: int


@dataclass(frozen=True, slots=True)
class RoleState:
    """A role. `grant_delay` is what a new holder waits; pending as for `Holder.delay`."""

    id: int
    label: str
    admin: int
    guardian: int
    grant_delay: int
    pending_grant_delay: int
    pending_grant_from: int
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A function that needs a role. `function` may be words: what the contract asks inside."""

    contract: str
    address: str
    function: str
    selector: str | None
    role: int
    closed: bool


@dataclass(frozen=True, slots=True)
class SystemMember:
    """A contract of the platform, and whether the credit book takes its word on sales."""

    contract: str
    address: str
    member_until: int
    sales_source: bool


@dataclass(frozen=True, slots=True)
class Authority:
    """Who may do what at one block."""

    block: int
    time: int
    roles: Mapping[int, RoleState]
    rules: tuple[Rule, ...]
    system_members: tuple[SystemMember, ...]

    def effective(self, role: int) -> tuple[Holder, ...]:
        """The holders whose grant has taken effect."""
        return tuple(one for one in self.roles[role].holders if one.since <= self.time)


async def read_authority(
    rpc: Rpc, addresses: Mapping[str, str], accounts: Mapping[str, str], *, first_block: int
) -> Authority:
    """Read who may do what.

    Args:
        addresses: contract -> its address, of the deployed set.
        accounts: the platform's accounts by name.
        first_block: no event of the AccessManager is before it.

    Raises:
        RpcError, RpcUnavailable: the chain refused or did not answer.
    """
    return await _Reader(rpc, addresses, accounts).read(first_block)


class _Reader:
    def __init__(self, rpc: Rpc, addresses: Mapping[str, str], accounts: Mapping[str, str]) -> None:
        self._rpc = rpc
        self._addresses = addresses
        self._accounts = accounts
        self._names = {address: name for name, address in accounts.items()}
        self._manager = ContractCodec("AccessManager")
        self._codecs = {name: ContractCodec(name) for name in ("PlatformCoin", "CreditBook")}

    async def read(self, first_block: int) -> Authority:
        head = await self._rpc.call("eth_getBlockByNumber", "latest", False)
        block = int(head["number"], 16)
        manager_events = await self._events(self._manager, first_block, block)
        sources = await self._events(
            self._codecs["CreditBook"], first_block, block, "SalesSourceSet"
        )
        targets = await self._targets(manager_events, sources, block)
        labels = {rule.id: label for label, rule in ROLES.items()}
        labels |= {e.args["roleId"]: e.args["label"] for e in _named(manager_events, "RoleLabel")}
        labels[ADMIN_ROLE] = "ADMIN"
        functions = [
            (name, address, function, selector)
            for address, (name, codec) in targets.items()
            for function, selector in codec.changing_functions().items()
        ]
        asked = await self._ask_manager(
            block,
            [
                *(("getTargetFunctionRole", (address, sel)) for _, address, _, sel in functions),
                *(("isTargetClosed", (address,)) for address in targets),
            ],
        )
        closed = dict(zip(targets, asked[len(functions) :], strict=True))
        rules = [
            Rule(name, address, function, selector, role, closed[address])
            for (name, address, function, selector), role in zip(functions, asked, strict=False)
            if role != ADMIN_ROLE
        ]
        ids = {*labels, *(rule.role for rule in rules)}
        ids |= {event.args["roleId"] for event in _named(manager_events, "RoleGranted")}
        roles = await self._roles(sorted(ids), labels, manager_events, block)
        return Authority(
            block=block,
            time=int(head["timestamp"], 16),
            roles=roles,
            rules=(*self._manager_rules(roles), *_in_order(rules, self._inside_rules())),
            system_members=await self._system_members(targets, block),
        )

    async def _roles(
        self, ids: list[int], labels: Mapping[int, str], events: list[Event], block: int
    ) -> dict[int, RoleState]:
        candidates = self._candidates(ids, _named(events, "RoleGranted"))
        getters = ("getRoleAdmin", "getRoleGuardian", "getRoleGrantDelay")
        about = await self._ask_manager(
            block, [(getter, (role,)) for role in ids for getter in getters]
        )
        pairs = [(role, account) for role in ids for account in candidates[role]]
        access = await self._ask_manager(block, [("getAccess", pair) for pair in pairs])
        holders: dict[int, list[Holder]] = {role: [] for role in ids}
        for (role, account), (since, delay, pending_delay, pending_from) in zip(
            pairs, access, strict=True
        ):
            if since:
                name = self._names.get(account)
                holders[role].append(
                    Holder(account, name, since, delay, pending_delay, pending_from)
                )
        # No getter tells of a grant delay that has not begun.
        changes = {e.args["roleId"]: e.args for e in _named(events, "RoleGrantDelayChanged")}
        roles = {}
        for index, role in enumerate(ids):
            admin, guardian, grant_delay = about[3 * index : 3 * index + 3]
            change = changes.get(role, {"delay": grant_delay, "since": 0})
            pending = change["delay"] != grant_delay
            roles[role] = RoleState(
                id=role,
                label=labels.get(role, f"role {role}"),
                admin=admin,
                guardian=guardian,
                grant_delay=grant_delay,
                pending_grant_delay=change["delay"] if pending else 0,
                pending_grant_from=change["since"] if pending else 0,
                holders=tuple(holders[role]),
            )
        return roles

    def _candidates(self, ids: list[int], granted: list[Event]) -> dict[int, list[str]]:
        """Who may have a role: in the order of the platform's accounts, then of the grants."""
        own = list(self._accounts.values())
        founder = (ADMIN_ROLE, self._accounts["admin"])
        if all((e.args["roleId"], e.args["account"]) != founder for e in granted):
            # The very first event is missing: this chain keeps only recent ones.
            recent = [e.args["account"] for e in granted]
            return {role: list(dict.fromkeys([*own, *recent])) for role in ids}
        candidates = {}
        for role in ids:
            found = dict.fromkeys(e.args["account"] for e in granted if e.args["roleId"] == role)
            candidates[role] = [a for a in own if a in found] + [a for a in found if a not in own]
        return candidates

    def _manager_rules(self, roles: Mapping[int, RoleState]) -> Iterable[Rule]:
        address = self._addresses["AccessManager"]

        def rule(function: str, role: int) -> Rule:
            return Rule("AccessManager", address, function, None, role, closed=False)

        for function in _ADMIN_FUNCTIONS:
            yield rule(function, ADMIN_ROLE)
        for role in roles.values():
            if role.admin != ADMIN_ROLE:
                yield rule(f"grantRole, revokeRole of {role.label}", role.admin)
        for role in roles.values():
            if role.guardian != ADMIN_ROLE:
                yield rule(f"cancel operations of {role.label}", role.guardian)

    def _inside_rules(self) -> list[Rule]:
        return [
            Rule(contract, self._addresses[contract], words, None, rule.id, closed=False)
            for rule in ROLES.values()
            for contract, words in rule.inside.items()
        ]

    async def _targets(
        self, events: list[Event], sources: list[Event], block: int
    ) -> dict[str, tuple[str, ContractCodec]]:
        """The contracts to ask about: those of the deployment, and those that came later."""
        names = {self._addresses[name]: name for name in ("PlatformCoin", *SYSTEM_MEMBERS)}
        targets = {address: (name, ContractCodec(name)) for address, name in names.items()}
        later = [
            *(event.args["target"] for event in _named(events, "TargetFunctionRoleUpdated")),
            *(event.args["source"] for event in sources),
        ]
        for address in dict.fromkeys(later):
            if address in targets or address == self._addresses["AccessManager"]:
                continue
            code = await self._rpc.call("eth_getCode", address, hex(block))
            for name in names.values():
                if is_code_of(code, contracts.load(name).runtime_bytecode):
                    targets[address] = (f"{name} {address[:8]}", ContractCodec(name))
        return targets

    async def _system_members(
        self, targets: Mapping[str, tuple[str, ContractCodec]], block: int
    ) -> tuple[SystemMember, ...]:
        members = []
        for address, (name, _) in targets.items():
            if address == self._addresses["PlatformCoin"]:
                continue
            account = await self._call("PlatformCoin", "accountOf", address, block=block)
            source = await self._call("CreditBook", "isSalesSource", address, block=block)
            if account["memberUntil"] or source:
                members.append(SystemMember(name, address, account["memberUntil"], source))
        return tuple(members)

    async def _call(self, contract: str, function: str, *arguments: Any, block: int) -> Any:
        codec = self._codecs[contract]
        call = {"to": self._addresses[contract], "data": codec.encode(function, *arguments)}
        return codec.decode_result(function, await self._rpc.call("eth_call", call, hex(block)))

    async def _ask_manager(
        self, block: int, questions: list[tuple[str, tuple[Any, ...]]]
    ) -> list[Any]:
        """Ask the AccessManager's getters, all in one call."""
        codec = self._manager
        calls = [codec.encode(getter, *arguments) for getter, arguments in questions]
        call = {
            "to": self._addresses["AccessManager"],
            "data": codec.encode("multicall", calls),
        }
        answers = codec.decode_result(
            "multicall", await self._rpc.call("eth_call", call, hex(block))
        )
        return [
            codec.decode_result(getter, answer)
            for (getter, _), answer in zip(questions, answers, strict=True)
        ]

    async def _events(
        self, codec: ContractCodec, first: int, last: int, *names: str
    ) -> list[Event]:
        """The events of a contract, in parts where a node refuses so many blocks at once."""
        criteria: dict[str, Any] = {
            "address": self._addresses[codec.contract],
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "topics": [[codec.topic(name) for name in names]] if names else [],
        }
        try:
            logs = await self._rpc.call("eth_getLogs", criteria)
        except RpcError:
            if last - first < LEAST_LOG_RANGE:
                raise
            middle = (first + last) // 2
            return [
                *await self._events(codec, first, middle, *names),
                *await self._events(codec, middle + 1, last, *names),
            ]
        return [event for log in logs if (event := codec.decode_log(log)) is not None]


def _named(events: list[Event], name: str) -> list[Event]:
    return [event for event in events if event.name == name]


def _in_order(rules: list[Rule], inside: list[Rule]) -> list[Rule]:
    """What a contract asks inside goes behind its other rules."""
    ordered = []
    for address in dict.fromkeys([*(rule.address for rule in rules)]):
        ordered += [rule for rule in (*rules, *inside) if rule.address == address]
    return ordered
