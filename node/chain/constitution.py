"""The constitution: what is put in force when the contracts are new, as calls of the AccessManager.

Roles hold functions, accounts hold roles, and where a mistake is expensive the account's operations
wait: they are scheduled (`AccessManager.schedule`), everybody can see them, the guardian can cancel
them, and only after the delay can they be executed.

| who waits | because |
|---|---|
| admin | can give itself every role |
| steward | system members move coin by `pullWithAuthorization`, and nothing of theirs is seized |
| treasurer | mint limits bound what a stolen treasury key may make |
| caps | bound what a stolen underwriter key may lend |

What only stops or lowers does not wait: pauses, freezes, lower limits, the cancelling itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node.chain.codec import ContractCodec
from node.settings import Settings

OPERATOR_KIND = 8
# 9999-12-31T23:59:59Z: the platform's own memberships do not expire.
ENDLESS = 253_402_300_799

ADMIN_ROLE = 0

SYSTEM_MEMBERS = ("LenderPool", "CreditBook", "PurchaseEscrow")
OPERATOR_MEMBERS = ("operator", "fee_receiver", "treasury")


@dataclass(frozen=True)
class RoleRule:
    """One role as it is founded.

    Attributes:
        id: on the AccessManager.
        holder: the platform account that has it.
        functions: contract -> its functions that need the role.
        delay: the setting with the seconds that the holder's operations wait; None: they do not.
            Operations that wait can be cancelled by the guardian.
        delays_grants: whether a new holder waits for `grant_delay` before it has the role. The
            AccessManager lets such a rule begin 5 days after it was made.
        inside: contract -> what the contract itself asks the role for, in words.
    """

    id: int
    holder: str
    functions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    delay: str | None = None
    delays_grants: bool = False
    inside: Mapping[str, str] = field(default_factory=dict)


ROLES: dict[str, RoleRule] = {
    "MINTER": RoleRule(1, "treasury", {"PlatformCoin": ("mint",)}, delays_grants=True),
    "REGISTRAR": RoleRule(2, "operator", {"PlatformCoin": ("admit", "admitMany", "expel")}),
    "COMPLIANCE": RoleRule(3, "operator", {"PlatformCoin": ("freeze", "unfreeze")}),
    "ENFORCER": RoleRule(4, "enforcer", {"PlatformCoin": ("seize",)}),
    "GUARDIAN": RoleRule(
        5,
        "guardian",  # none of a running node's own keys, so that it can pause beside one
        {"PlatformCoin": ("pause", "unpause"), "CreditBook": ("pauseDraws", "unpauseDraws")},
    ),
    "TREASURER": RoleRule(
        6,
        "admin",
        {"PlatformCoin": ("setMintLimit",), "CreditBook": ("withdrawReserve",)},
        delay="treasurer_delay",
    ),
    "UNDERWRITER": RoleRule(
        7, "underwriter", inside={"CreditBook": "accept (its signed offers)"}, delays_grants=True
    ),
    "SERVICER": RoleRule(
        8,
        "servicer",
        {"CreditBook": ("grantHoliday", "waive")},
        inside={"CreditBook": "chargeOff (before 180 days past due)"},
    ),
    # Apart, because an account waits with all functions of a role or with none: a limit is lowered
    # at once.
    "RISK": RoleRule(9, "risk", {"CreditBook": ("lowerLimit",)}),
    "CAPS": RoleRule(12, "risk", {"CreditBook": ("setCaps",)}, delay="caps_delay"),
    "ARBITER": RoleRule(10, "arbiter", {"PurchaseEscrow": ("resolve",)}),
    "STEWARD": RoleRule(
        11,
        "steward",
        {"PlatformCoin": ("admitSystem", "expelSystem"), "CreditBook": ("setSalesSource",)},
        delay="governance_delay",
        delays_grants=True,
    ),
}
GUARDIAN_ROLE = ROLES["GUARDIAN"].id


def founding_calls(
    settings: Settings, addresses: Mapping[str, str], accounts: Mapping[str, str]
) -> list[str]:
    """Return the AccessManager's calls, to be made as one `multicall` by the admin.

    Args:
        settings: limits, caps and delays.
        addresses: contract -> its address.
        accounts: the platform's accounts by name.
    """
    manager = ContractCodec("AccessManager")
    codecs = {name: ContractCodec(name) for name in ("PlatformCoin", *SYSTEM_MEMBERS)}

    def execute(contract: str, function: str, *arguments: object) -> str:
        data = codecs[contract].encode(function, *arguments)
        return manager.encode("execute", addresses[contract], data)

    # While they have no role yet, the contracts' functions are the admin's.
    limit = (settings.mint_capacity, settings.mint_refill_per_second)
    caps = (settings.credit_line_cap, settings.credit_principal_cap, settings.credit_reserve_bps)
    operators = [accounts[name] for name in OPERATOR_MEMBERS]
    calls = [
        *(
            execute("PlatformCoin", "admitSystem", addresses[name], ENDLESS)
            for name in SYSTEM_MEMBERS
        ),
        execute("PlatformCoin", "admitMany", operators, OPERATOR_KIND, ENDLESS),
        execute("PlatformCoin", "setMintLimit", accounts["treasury"], *limit),
        execute("CreditBook", "setSalesSource", addresses["PurchaseEscrow"], True),
        execute("CreditBook", "setCaps", *caps),
    ]
    for label, rule in ROLES.items():
        calls.append(manager.encode("labelRole", rule.id, label))
        for contract, functions in rule.functions.items():
            selectors = [codecs[contract].selector(function) for function in functions]
            target = addresses[contract]
            calls.append(manager.encode("setTargetFunctionRole", target, selectors, rule.id))
        if rule.delay is not None:
            calls.append(manager.encode("setRoleGuardian", rule.id, GUARDIAN_ROLE))
        if rule.delays_grants:
            calls.append(manager.encode("setGrantDelay", rule.id, settings.grant_delay))
        delay = getattr(settings, rule.delay) if rule.delay else 0
        calls.append(manager.encode("grantRole", rule.id, accounts[rule.holder], delay))
    # The last call, since all before it are the admin's and would have to wait after it.
    admin_delay = settings.governance_delay
    calls.append(manager.encode("grantRole", ADMIN_ROLE, accounts["admin"], admin_delay))
    return calls
