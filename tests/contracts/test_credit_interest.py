"""Interest and windows agree, to the bps-second, with an independent computation.

The model counts in fractions and closes window after window; the contract in integers, by a
closed form. Hypothesis chooses the schedules: draws, repayments, sales, holidays, waivers, and
times between them from a second to years.
"""

from fractions import Fraction
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.machine import Plaza
from tests.contracts.model import ACTIVE, BPS_YEAR, DAY, WINDOW, YEAR, Line

SELLER = "seller"

seconds = st.one_of(
    st.integers(0, 10),
    st.integers(0, 90 * DAY),
    st.sampled_from([WINDOW - 1, WINDOW, WINDOW + 1, 7 * DAY, 30 * DAY, 90 * DAY]),
    st.integers(0, 3 * YEAR),
)
steps = st.lists(
    st.tuples(
        seconds,
        st.sampled_from(["draw", "repay", "repay", "charge", "touch", "holiday", "waive"]),
        st.integers(0, 2**32),
    ),
    max_size=14,
)
several = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def plaza() -> Plaza:
    return Plaza()


@several
@given(schedule=steps)
def test_a_line_over_any_schedule_is_what_the_model_says(plaza, schedule):
    plaza.reset()
    for wait, what, seed in schedule:
        plaza.chain.travel(wait)
        plaza.compare(everything=True)  # every line, statement and sum, to the unit
        _do(plaza, what, Random(seed))
    plaza.compare(everything=True)


@several
@given(spans=st.lists(st.integers(1, 20 * DAY), min_size=1, max_size=12))
def test_touching_a_line_changes_nothing(plaza, spans):
    """accrue(a + b) = accrue(a), then accrue(b): until it defaults, when interest stops."""
    line = "line of seller"
    plaza.reset()
    start = plaza.save()
    for span in spans:
        plaza.chain.travel(span)
        plaza.touch(Random(0), SELLER)
    end = plaza.chain.time
    touched = plaza.look(line)

    plaza.restore(start)
    plaza.chain.travel_to(end)
    untouched = plaza.look(line)
    if untouched[3] == ACTIVE:
        assert touched[:2] == untouched[:2]
        assert plaza.views[line].pick(touched) == plaza.views[line].pick(untouched)
    else:
        # It stopped at the first touch after its default.
        assert touched[1] <= untouched[1]


@several
@given(principal=st.integers(1, 10**11), apr=st.integers(0, 2_000), span=st.integers(0, 3 * YEAR))
def test_interest_is_principal_times_rate_times_time(principal, apr, span):
    """The model itself, against the formula of simple interest."""
    line = Line(status=ACTIVE, principal=principal, apr=apr, window_end=WINDOW)
    line.touch(span)
    assert line.interest == Fraction(principal * apr * span, BPS_YEAR)


def _do(plaza: Plaza, what: str, r: Random) -> None:
    if what == "charge":
        plaza.charge(r)
    else:
        getattr(plaza, what)(r, SELLER)
