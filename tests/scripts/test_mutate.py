"""Which mutants are made of a contract, which are chosen, and what a report counts."""

from __future__ import annotations

import pytest

from scripts import mutate
from scripts.mutate import Compiler, Explanation, Mutant, Mutator, Result, Trial

SOURCE = """// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

contract Till {
    error TooMuch(uint256 amount, uint256 limit);
    event Paid(uint256 amount);

    uint256 private constant LIMIT = 1_000;
    mapping(address => uint256) private _paid;

    modifier once() {
        _;
    }

    function pay(address from, address to, uint256 amount) external once {
        if (amount == 0 || amount > LIMIT) revert TooMuch(amount, LIMIT);
        _paid[from] += amount / 2;
        _move(from, to);
        emit Paid(amount);
    }

    function _move(address from, address to) private {
        if (!_known(to)) delete _paid[from];
    }

    function _known(address account) private view returns (bool) {
        return _paid[account] != 0 ? true : false;
    }
}
"""
UNIT = "contracts/Till.sol"


@pytest.fixture(scope="module")
def compiler():
    with Compiler() as running:
        yield running


@pytest.fixture(scope="module")
def mutants(compiler) -> list[Mutant]:
    settings = {"outputSelection": {UNIT: {"": ["ast"]}}}
    output = compiler.run({UNIT: {"content": SOURCE}}, settings)
    return Mutator("Till", SOURCE.encode(), output["sources"][UNIT]["ast"]).mutants()


def mutant(number: int, contract: str = "Till") -> Mutant:
    return Mutant(contract, "pay", "constant", "1", str(number), 1, 1, 0, 1, str(number))


def result(of: Mutant, status: str) -> Result:
    return Result(of.id, of.key, status, "", 1.0)


@pytest.mark.parametrize(
    "key",
    [
        "Till.LIMIT: constant: 1_000 -> 1001",
        "Till.pay: modifier removed: once -> (nothing)",
        "Till.pay: boundary: amount > LIMIT -> amount >= LIMIT",
        "Till.pay: comparison: amount > LIMIT -> amount <= LIMIT",
        "Till.pay: logic: amount == 0 || amount > LIMIT -> amount == 0 && amount > LIMIT",
        "Till.pay: arithmetic: _paid[from] += amount / 2 -> _paid[from] -= amount / 2",
        "Till.pay: arithmetic: amount / 2 -> amount * 2",
        "Till.pay: rounding: amount / 2 -> ((amount) + (2) - 1) / (2)",
        "Till.pay: write removed: _paid[from] += amount / 2 -> (nothing)",
        "Till.pay: call removed: _move(from, to) -> (nothing)",
        "Till.pay: arguments swapped: _move(from, to) -> _move(to, from)",
        "Till.pay: event removed: emit Paid(amount) -> (nothing)",
        "Till._move: negation: !_known(to) -> _known(to)",
        "Till._move: branch: !_known(to) -> true",
        "Till._move: write removed: delete _paid[from] -> (nothing)",
        "Till._known: branch: _paid[account] != 0 ? true : false"
        " -> _paid[account] != 0 ? false : true",
    ],
)
def test_each_kind_of_mistake_is_made_once(mutants, key):
    assert [one.key for one in mutants].count(key) == 1


def test_a_check_is_left_out_with_its_whole_statement(mutants):
    (check,) = (one for one in mutants if one.kind == "check removed")
    gone = "        if (amount == 0 || amount > LIMIT) revert TooMuch(amount, LIMIT);"
    assert check.apply(SOURCE.encode()).decode() == SOURCE.replace(gone, "        {}")
    assert check.line == SOURCE[: SOURCE.index(gone)].count("\n") + 1
    assert check.diff(SOURCE.encode()).splitlines()[1] == f"-{gone}"


def test_no_two_mutants_share_an_id_or_a_text(mutants):
    assert len({one.id for one in mutants}) == len(mutants)
    assert len({one.apply(SOURCE.encode()) for one in mutants}) == len(mutants)


def test_what_an_error_says_is_not_mutated(mutants):
    assert not [one for one in mutants if "revert" in one.original and one.kind != "check removed"]
    assert not [one for one in mutants if one.original.startswith("TooMuch")]


def test_every_mutant_compiles(compiler, mutants):
    settings = {"outputSelection": {"*": {"*": ["abi"]}}}
    for one in mutants:
        text = one.apply(SOURCE.encode()).decode()
        output = compiler.run({UNIT: {"content": text}}, settings)
        errors = [error for error in output.get("errors", []) if error["severity"] == "error"]
        assert not errors, (one.key, errors)


def test_a_seed_chooses_the_same_mutants_each_time_and_some_of_each_contract():
    many = [mutant(number, name) for name in ("Till", "Bank", "Tiny") for number in range(2, 60)]
    many = [one for one in many if one.contract != "Tiny" or one.mutated == "2"]
    chosen = mutate.choose(many, 20, seed=1)
    assert chosen == mutate.choose(many, 20, seed=1) != mutate.choose(many, 20, seed=2)
    assert {one.contract for one in chosen} == {"Till", "Bank", "Tiny"}
    assert mutate.choose(many, 0, seed=1) == many


def test_tests_that_name_the_function_run_first_and_slow_files_last():
    slow = Trial("test_invariants.py::test_all", 0.1, frozenset({"pay"}))
    other = Trial("test_till.py::test_other", 0.2, frozenset({"other"}))
    quick = Trial("test_till.py::test_quick", 0.3, frozenset({"pay"}))
    long = Trial("test_till.py::test_long", 9.0, frozenset({"pay"}))
    assert mutate.order_tests([slow, other, long, quick], {"pay"}) == [quick, long, other, slow]


def test_callers_are_found_through_other_functions():
    sources = {UNIT: {"content": SOURCE}, "@library/x.sol": {"content": "function x() { pay(); }"}}
    assert mutate.callers(sources, "_known") == {"_known", "_move", "pay"}


def test_only_equivalent_survivors_leave_the_count():
    one, two, three, four, five = (mutant(number) for number in range(2, 7))
    results = [
        result(one, "killed"),
        result(two, "timeout"),
        result(three, "survived"),
        result(four, "survived"),
        result(five, "equivalent"),
    ]
    explained = {
        three.key: Explanation(three.key, equivalent=True, reason="no caller can tell"),
        four.key: Explanation(four.key, equivalent=False, reason="accepted"),
    }
    tried = {each.id: each for each in (one, two, three, four, five)}
    made = {"Till": [one, two, three, four, five]}
    found = mutate.report(results, tried, explained, made, {"Till": UNIT})
    assert (found["killed"], found["counted"], found["rate"]) == (2, 3, 0.6667)
    assert [survivor["reason"] for survivor in found["survivors"]] == [
        "no caller can tell",
        "accepted",
    ]
    assert not found["explanations_without_mutant"] + found["explanations_of_killed"]


def test_explanations_that_fit_nothing_are_told():
    one = mutant(2)
    explained = {
        key: Explanation(key, equivalent=True, reason="was so once")
        for key in (one.key, "Till.gone: constant: 1 -> 2", "Elsewhere.pay: constant: 1 -> 2")
    }
    results = [result(one, "killed")]
    found = mutate.report(results, {one.id: one}, explained, {"Till": [one]}, {"Till": UNIT})
    assert found["explanations_of_killed"] == [one.key]
    assert found["explanations_without_mutant"] == ["Till.gone: constant: 1 -> 2"]


def test_what_was_tried_is_remembered_while_contract_and_tests_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(mutate, "JOURNALS", tmp_path)

    def campaign(source: str) -> mutate.Campaign:
        sources = {UNIT: {"content": source}}
        subjects = {"Till": mutate.Subject("Till", UNIT, "Till", UNIT, sources)}
        both = [mutant(1), mutant(2)]
        return mutate.Campaign(subjects, both, {"Till": []}, fresh=False, workers=1)

    tried = result(mutant(2), "killed")
    first = campaign(SOURCE)
    assert first.so_far() == []
    first._record(mutant(2), tried)
    assert campaign(SOURCE).so_far() == [tried]
    assert campaign(SOURCE + "\n").so_far() == []
