"""Any sequence of operations of all contracts, honest or not, at any time.

After each one everything the contracts tell is compared with a model that was written from their
interfaces, and the invariants of the design are checked under their numbers. `scripts/fuzz.py` does
the same for hours; what fails here is shrunk to the fewest actions that still fail.
"""

import json
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from scripts import fuzz
from tests.contracts.driver import Call, Mismatch
from tests.contracts.machine import ACTIONS, INVARIANTS, Plaza, random_steps
from tests.contracts.model import ACTIVE, DEFAULTED, YEAR, Line

_plaza: list[Plaza] = []  # made once: deploying takes longer than many actions


def plaza() -> Plaza:
    if not _plaza:
        _plaza.append(Plaza())
    return _plaza[0]


# An action as often as its weight says, give or take.
weighted = [name for name, weight in ACTIONS.items() for _ in range((weight + 2) // 4 + 1)]


class Platform(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.plaza = plaza()
        self.plaza.reset()

    @rule(action=st.sampled_from(weighted), seed=st.integers(0, 2**16))
    def act(self, action: str, seed: int) -> None:
        self.plaza.act(action, Random(seed))

    def teardown(self) -> None:
        if hasattr(self, "plaza"):
            self.plaza.every_coin_leaves()


for _name in INVARIANTS:
    setattr(Platform, _name, invariant()(lambda self, name=_name: getattr(self.plaza, name)()))


@pytest.mark.timeout(600)
def test_no_sequence_of_operations_parts_the_contracts_from_the_model():
    run_state_machine_as_test(
        Platform,
        settings=settings(
            max_examples=90,
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_sequence_reaches_what_it_is_meant_to_reach():
    """What keeps the test above honest: states and refusals are reached, not only asked for."""
    world = plaza()
    world.states.clear()
    world.outcomes.clear()
    for number in range(20):
        world.run(random_steps(Random(f"reach {number}"), 120))
    for state in ("line Active", "line in grace", "line Defaulted", "line ChargedOff"):
        assert world.states[state] > 0, state
    for state in ("order Authorized", "order Delivered", "order Disputed", "coin claimable"):
        assert world.states[state] > 0, state
    seen = {outcome for _, outcome in world.outcomes}
    assert {"ok", "InvalidIntentSignature", "IntentExpired", "InvalidAccountNonce"} <= seen
    assert {"InvalidSignature", "AuthorizationExpired", "AccessManagedUnauthorized"} <= seen
    assert {"MintLimitExceeded", "ReserveTooLow", "AccountIsFrozen", "NotAMember"} <= seen


def test_a_difference_in_any_balance_is_found():
    """The comparison itself: a model that is wrong by one unit does not pass."""
    world = plaza()
    world.reset()
    world.world.balances["buyer"] += 1
    with pytest.raises(Mismatch, match="coin of buyer"):
        world.compare()


def test_a_refusal_for_another_reason_is_found():
    world = plaza()
    world.reset()
    address = world.address["buyer"]

    def expect() -> None:
        world.world._need(False, "AccountIsFrozen")

    with pytest.raises(Mismatch, match="reverted with NotAMember"):
        world.do(Call("stranger", "coin", "transfer", (address, 10**30), expect))


def test_a_fault_of_interest_is_found():
    """A rate that is one basis point off shows within a day."""
    world = plaza()
    world.reset()
    line: Line = world.world.lines["seller"]
    assert line.status == ACTIVE
    line.apr += 1
    world.chain.travel(86_400)
    with pytest.raises(Mismatch):
        world.compare(everything=True)


def test_a_sequence_ends_where_another_begins():
    """Nothing of one sequence is left in the next."""
    world = plaza()
    world.reset()
    before = {name: view.words for name, view in world.views.items()}
    time = world.chain.time
    world.chain.travel(2 * YEAR)
    world.touch(Random(1), "seller")
    assert world.world.lines["seller"].status == DEFAULTED
    world.reset()
    assert world.chain.time == time
    world.compare(everything=True)
    assert {name: view.words for name, view in world.views.items()} == before


def test_a_long_run_reports_what_it_has_done(monkeypatch, capsys):
    command = "fuzz.py --actions 60 --length 30 --seed 3 --workers 1 --json"
    monkeypatch.setattr("sys.argv", command.split())
    assert fuzz.main() == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["actions"], report["sequences"], report["violations"]) == (60, 2, 0)
    assert report["calls"] >= report["succeeded"] > 0
    assert sum(report["rules"].values()) == 60


def test_a_failing_sequence_is_cut_down_to_what_fails(monkeypatch):
    """A sequence that fails by one of its actions alone is cut down to that one."""
    monkeypatch.setattr(fuzz, "_attempt", lambda steps: "fails" if ("seize", 7) in steps else "")
    steps = [*random_steps(Random("cut"), 20), ("seize", 7), *random_steps(Random("rest"), 20)]
    assert fuzz.shrink(steps) == [("seize", 7)]
