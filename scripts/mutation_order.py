"""A pytest plugin of scripts/mutate.py: what the tests are like, and in which order they run.

MUTATION_CENSUS names a file to write: by test, how long it took and the words of its source.
MUTATION_ORDER names a file to read: the rank of each test, lowest first; others run last.

That a property fails is all a mutant needs to be killed: no time is spent on making the failing
example small.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

# Settings that tests make themselves later take what they leave open from here.
settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate])
settings.load_profile("mutation")

_census: dict[str, dict[str, Any]] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        source = inspect.getsource(item.function) if isinstance(item, pytest.Function) else ""
        words = set(re.findall(r"\w+", f"{source} {item.name}"))
        _census[item.nodeid] = {"seconds": 0.0, "words": sorted(words)}
    if order := os.environ.get("MUTATION_ORDER"):
        ranks: dict[str, int] = json.loads(Path(order).read_text())
        items.sort(key=lambda item: ranks.get(item.nodeid, len(ranks)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":  # setting up is mostly what all tests share
        _census[report.nodeid]["seconds"] = round(report.duration, 3)


def pytest_sessionfinish() -> None:
    if census := os.environ.get("MUTATION_CENSUS"):
        Path(census).write_text(json.dumps(_census))
