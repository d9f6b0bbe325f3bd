"""The chain of the long runs executes what py-evm executes: same outputs, logs, errors and gas."""

from random import Random
from typing import Any

import pytest
from eth.vm.forks.cancun.computation import CancunComputation

from tests.contracts.chain import Chain
from tests.contracts.fastchain import Computation, FastChain, State
from tests.contracts.machine import Plaza, random_steps
from tests.contracts.system import START, Cast, deploy


def test_the_system_stands_as_on_a_whole_chain():
    cast = Cast.derive()
    chains = [Chain(cast.all(), START), FastChain(START)]
    seen = []
    for chain in chains:
        system = deploy(chain, cast)
        addresses = [contract.address for contract in system.contracts().values()]
        accounts = [chain.call(system.coin.functions.accountOf(each)) for each in addresses]
        totals = chain.call(system.book.functions.totals())
        seen.append((chain.time, addresses, accounts, totals))
    assert seen[0] == seen[1]


def test_the_loop_does_what_py_evm_does(monkeypatch):
    plaza = Plaza()
    # Cold and warm, through signatures, hooks and batches, refused or not.
    steps = random_steps(Random("loop"), 60)
    fast = _executed(plaza, steps)
    monkeypatch.setattr(State, "computation_class", CancunComputation)
    slow = _executed(plaza, steps)
    assert len(fast) > 40
    assert fast == slow


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("60015f55", "writes and stops at its end"),
        ("600435600a57005b60ff5f5260205ff3", "jumps over a jump destination that is data"),
        ("605b56", "jumps into the data of a push"),
        ("6003565b", "jumps to its end"),
        ("5b600056", "runs out of gas"),
        ("5b5f600056", "fills the stack"),
        ("600160ff1b60ff1c5f5260205ff3", "shifts"),
        ("60016101001b5f5260205ff3", "shifts all bits out"),
        ("6101001b5f5260205ff3", "shifts what is not there"),
        ("80", "copies what is not there"),
        ("60015f0360045f035f5260205ff3", "goes below zero"),
        ("62ffffff515f5260205ff3", "reads far memory"),
        ("fe", "is invalid"),
        ("5f35602035105f5260205ff3", "compares its calldata"),
        ("6020356001165f5260205ffd", "reverts with a word"),
    ],
)
def test_a_program_that_does_what_contracts_do_not(monkeypatch, code, what):
    outcomes = []
    for loop in (Computation, CancunComputation):
        monkeypatch.setattr(State, "computation_class", loop)
        chain = FastChain(START)
        address = b"\x11" * 20
        chain.accounts.codes[address] = bytes.fromhex(code)
        done = chain.execute(b"\x22" * 20, address, bytes(range(1, 65)), gas=100_000)
        outcomes.append((_outcome(done), chain.accounts.storage))
    assert outcomes[0] == outcomes[1], what


def _executed(plaza: Plaza, steps: list[tuple[str, int]]) -> list[Any]:
    """What each transaction of the sequence has done."""
    done = []
    execute = plaza.chain.execute

    def recording(*args: Any) -> Any:
        computation = execute(*args)
        done.append(_outcome(computation))
        return computation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plaza.chain, "execute", recording)
        plaza.run(steps)
    return done


def _outcome(computation: Any) -> tuple[Any, ...]:
    error = type(computation.error).__name__ if computation.is_error else ""
    logs = () if error else computation.get_log_entries()
    return error, bytes(computation.output), computation.get_gas_used(), logs
