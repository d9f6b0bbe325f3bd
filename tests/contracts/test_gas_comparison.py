"""The comparison that scripts/gas.py prints, and pins of what only it measures.

Operations of the coin and of the escrow alone are pinned in test_coin_gas and test_escrow_gas; here
are whole purchases, batches, credit and the pool, to 1 %.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from contracts import Artifact
from scripts import gas
from scripts.compile import SETTINGS, SOLC_VERSION, read_sources

GAS = {
    "release with fee, the credit book asked": 65_768,
    "release with fee and repayment of a line": 97_087,
    "whole purchase: authorize + release": 143_267,
    "whole purchase with confirmed delivery": 175_666,
    "release, of a batch of 10, each": 24_490,
    "release, signed, of a batch of 10, each": 55_524,
    "authorize, signed, of a batch of 10, each": 53_101,
    "accept an offer": 146_915,
    "draw, first": 84_921,
    "draw, on a line with debt": 68_535,
    "repay": 65_941,
    "repay, signed": 101_906,
    "deposit, later": 63_590,
    "deposit, later, signed": 92_663,
    "withdraw": 62_998,
}


@pytest.fixture(scope="module")
def ours() -> gas.Costs:
    return gas.measure_ours()


@pytest.fixture(scope="module")
def rows(ours, request) -> dict[str, gas.Row]:
    """The comparison by operation; the peers are compiled when they or the compiler changed."""
    inputs = json.dumps([SOLC_VERSION, SETTINGS, read_sources([gas.PEERS_UNIT])])
    key = f"plaza/peers-{hashlib.sha256(inputs.encode()).hexdigest()}"
    compiled = request.config.cache.get(key, None)
    if compiled is None:
        compiled = {name: vars(artifact) for name, artifact in gas.compile_peers().items()}
        request.config.cache.set(key, compiled)
    peers = {name: Artifact(**artifact) for name, artifact in compiled.items()}
    return {row.operation: row for row in gas.compare(ours, gas.measure_peers(peers))}


@pytest.mark.parametrize("operation", GAS)
def test_an_operation_costs_what_it_did(operation, ours):
    assert ours[operation].gas == pytest.approx(GAS[operation], rel=0.01)


def test_no_operation_costs_less_than_its_floor(ours):
    assert {operation.name for operation in gas.OPERATIONS} == set(ours)
    assert not {
        name: cost for name, cost in ours.items() if not 21_000 // 10 < cost.floor < cost.gas
    }


def test_the_floor_of_a_transfer_is_what_the_rules_say(rows):
    """Of nothing but a call, two slots that change and one log, so it can be counted by hand."""
    data = 4 * 16 + (20 * 16 + 12 * 4) + (3 * 16 + 29 * 4)  # selector, receiver, 1,000,000
    log = 4 * 375 + 32 * 8
    assert rows["transfer"].floor == 21_000 + data + 2 * 5_000 + log


def test_libraries_are_measured_where_they_have_the_operation(rows):
    of_openzeppelin = {name for name, row in rows.items() if row.openzeppelin}
    of_solady = {name for name, row in rows.items() if row.solady}
    authorized = {name for name in rows if name.startswith("transferWithAuthorization")}
    assert of_openzeppelin - of_solady == authorized
    assert of_solady == {
        "transfer",
        "transfer to an empty balance",
        "permit, later nonce, + transferFrom",
        "deposit, later",
        "withdraw",
    }


def test_membership_costs_less_than_two_cold_reads_over_the_leanest_library(rows):
    """Membership, expiry, freeze and pause, against a token without any of them."""
    plain = rows["transfer"]
    assert plain.plaza - min(plain.openzeppelin, plain.solady) < 2 * 2_100
    empty = rows["transfer to an empty balance"]
    assert empty.plaza < min(empty.openzeppelin, empty.solady)


def test_a_target_is_met_or_missed_by_what_the_table_says():
    cost = {operation.name: gas.Cost(1_000, 900) for operation in gas.OPERATIONS}
    cost["void"] = gas.Cost(42_010, 900)
    cost["reclaim"] = gas.Cost(41_990, 900)
    peers = {gas.SOLADY: {"void": gas.Cost(7, 7)}}
    lines = gas.as_markdown(gas.compare(cost, peers)).splitlines()
    assert (
        "| void | 900 | 42,010 | - | 7 | ≤ 42,000 | missed by 10 | commerce-payments 55,213 |"
        in lines
    )
    assert any(line.startswith("| reclaim |") and "| met by 10 |" in line for line in lines)
    assert len(lines) == 2 + len(gas.OPERATIONS)


def test_the_readme_shows_what_is_measured(rows):
    readme = (Path(gas.__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert gas.as_markdown(list(rows.values())) in readme
