"""Passing means loading: cards with one mistake each; `benchmarks/card_mistakes.py` makes 2,000 of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("mindspore")

# Tests and benchmarks share their cards; both are in the source distribution.
sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

from card_mistakes import ENOUGH, MISTAKES, run

from mshub_ssd.networks import NETWORKS, argument_faults


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MSHUB_HOME", "MSHUB_REGISTRY", "MSHUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def test_what_validate_passes_loads_and_mistakes_are_told() -> None:
    outcomes, faults = run(100, seed=7)
    assert faults == []
    assert {name for name, one in outcomes.items() if one.made} == set(MISTAKES)
    must = [one for name, one in outcomes.items() if MISTAKES[name][1]]
    assert sum(one.told == one.made for one in must) >= ENOUGH * len(must)
    assert any(one.passed for one in outcomes.values()), "some mistakes do no harm"


@pytest.mark.parametrize("key", NETWORKS)
def test_arguments_are_judged_without_building(key: str) -> None:
    assert list(argument_faults(key, {})) == []
    (wrong,) = argument_faults(key, {"num_clases": 3})
    assert (wrong.argument, wrong.hint) == ("num_clases", "did you mean num_classes?")
    assert [fault.argument for fault in argument_faults(key, {"num_classes": True})] == ["num_classes"]
    assert [fault.argument for fault in argument_faults(key, {"num_classes": 5}, ["a"])] == ["classes"]
    assert (
        list(argument_faults(key, {"num_classes": 5}, ["a", "b", "c", "d", "e"][: 4 + (not NETWORKS[key].background)]))
        == []
    )
