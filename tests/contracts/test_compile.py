"""The compiler driver: the same sources give the same artifacts, whichever compiler runs."""

from __future__ import annotations

import pytest

from contracts import load
from scripts.compile import (
    MAX_RUNTIME_BYTES,
    NPM_SOLC,
    SOLC_VERSION,
    compile_sources,
    find_solc,
    project_contracts,
)

COIN = {"PlatformCoin": "contracts/PlatformCoin.sol"}


@pytest.fixture(scope="module")
def by_npm():
    return compile_sources(COIN, NPM_SOLC)["PlatformCoin"]


def test_a_native_compiler_gives_the_same_artifact(by_npm):
    native = find_solc()
    if native == NPM_SOLC:
        pytest.skip(f"no native solc {SOLC_VERSION} here: only the WebAssembly compiler was tried")
    assert compile_sources(COIN, native)["PlatformCoin"] == by_npm


def test_compiling_again_alone_gives_the_installed_artifact(by_npm):
    """The hash depends on the contract's sources only, not on the run or what else it compiled."""
    assert load("PlatformCoin").hash == by_npm["hash"], "run `make build`"


@pytest.mark.parametrize("name", [n for n in project_contracts() if not n.startswith("I")])
def test_every_contract_can_be_deployed(name):
    size = (len(load(name).runtime_bytecode) - 2) // 2
    assert 0 < size <= MAX_RUNTIME_BYTES
