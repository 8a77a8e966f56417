"""The file of recipes for the model zoo: every row keeps the grammar, and names commits and adapters that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import pytest

from mshub_ssd import foreign
from mshub_ssd.foreign import adapters
from mshub_ssd.foreign.commits import BRANCHES
from mshub_ssd.foreign.links import plain_path

REPOSITORY = "mindspore/models"
KEYS = {
    "path", "models", "commits", "call", "inputs", "adapters", "proven", "parameters", "elements", "digest", "source",
}  # fmt: skip
OPTIONAL = {"sizes"}
PLACE = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@cache
def lines() -> list[dict[str, Any]]:
    file = resources.files("mshub_ssd.providers") / "data" / "zoo.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def rows() -> list[dict[str, Any]]:
    return lines()[1:]


def told(row: dict[str, Any]) -> str:
    return f"{row.get('path')} {row.get('models')} {row.get('call', {}).get('callable')}"


def test_the_first_line_tells_the_format_and_what_made_it() -> None:
    header = lines()[0]
    assert header["format"] == 1
    assert header["repository"] == REPOSITORY
    assert header["made_by"] == "benchmarks/capture_recipes.py"
    assert set(header["made_with"]) == {"mindspore", "numpy", "python"}


def test_every_row_has_the_fields_and_no_other() -> None:
    for row in rows():
        assert set(row) - OPTIONAL == KEYS, told(row)
        assert plain_path(row["path"]), told(row)
        assert row["models"], told(row)
        assert row["proven"] in (["constructs"], ["constructs", "runs"]), told(row)
        assert row["parameters"] > 0, told(row)
        assert row["elements"] > 0, told(row)
        assert re.fullmatch(r"[0-9a-f]{16}", row["digest"]), told(row)
        assert row["source"].keys() <= {"branch", "conf", "name", "script", "argv", "line", "note"}, told(row)
        assert row["source"]["branch"] in BRANCHES[REPOSITORY], told(row)


def test_rows_that_run_say_with_what() -> None:
    for row in rows():
        if "runs" in row["proven"]:
            assert row["inputs"], told(row)
        for one in row["inputs"]:
            assert set(one) == {"shape", "type"}, told(row)
            assert all(isinstance(side, int) and side >= 0 for side in one["shape"]), told(row)


def test_commits_are_of_the_table_of_branches() -> None:
    known = set(BRANCHES[REPOSITORY].values())
    for row in rows():
        assert row["commits"], told(row)
        assert set(row["commits"]) <= known, told(row)
        assert len(set(row["commits"])) == len(row["commits"]), told(row)


def test_adapters_exist() -> None:
    for names in {tuple(row["adapters"]) for row in rows()}:
        adapters.surroundings(names)  # an unknown one is an error


def test_no_two_rows_say_the_same() -> None:
    keys = [json.dumps([row["path"], row["call"], row["digest"], row["adapters"]], sort_keys=True) for row in rows()]
    assert len(set(keys)) == len(keys)


def calls(value: Any, row: dict[str, Any]) -> Iterator[str]:
    """The places that an argument names; its form is checked on the way."""
    if value is None or isinstance(value, bool | int | float | str):
        return
    if isinstance(value, list):
        for item in value:
            yield from calls(item, row)
        return
    assert isinstance(value, dict), told(row)
    kinds = set(value)
    if kinds == {"call"}:
        yield from of_call(value["call"], row)
    elif kinds == {"name"}:
        yield value["name"]
    elif "object" in kinds:
        assert kinds <= {"object", "of"}, told(row)
        if "of" in value:
            yield value["of"]
        for item in value["object"].values():
            yield from calls(item, row)
    elif kinds == {"tuple"}:
        yield from calls(value["tuple"], row)
    elif kinds == {"items"}:
        for key, item in value["items"]:
            yield from calls(key, row)
            yield from calls(item, row)
    elif kinds == {"dict"}:
        for item in value["dict"].values():
            yield from calls(item, row)
    elif kinds == {"dtype"}:
        assert re.fullmatch(r"[a-z]+\d*", value["dtype"]), told(row)
    else:
        assert kinds == {"tensor"}, told(row)
        assert set(value["tensor"]) == {"shape", "type", "value"}, told(row)


def of_call(call: dict[str, Any], row: dict[str, Any]) -> Iterator[str]:
    assert {"callable", "args", "kwargs"} <= set(call) <= {"callable", "args", "kwargs", "argv"}, told(row)
    assert all(isinstance(word, str) for word in call.get("argv", [])), told(row)
    yield call["callable"]
    for value in (*call["args"], *call["kwargs"].values()):
        yield from calls(value, row)


def test_calls_keep_the_grammar() -> None:
    for row in rows():
        for place in of_call(row["call"], row):
            assert PLACE.fullmatch(place), (told(row), place)


# What a recipe may name outside of the code: constructors of values, nothing that acts.
HARMLESS = {"builtins:float", "numpy:full", "numpy:array", "functools:partial", "easydict:EasyDict"}


def test_nothing_is_called_but_the_code_and_what_makes_values() -> None:
    for row in rows():
        for place in of_call(row["call"], row):
            module = place.partition(":")[0].partition(".")[0]
            if module in ("builtins", "os", "sys", "subprocess", "shutil", "functools", "importlib", "socket"):
                assert place in HARMLESS or re.fullmatch(r"builtins:(int|str|bool|dict|list)", place), (
                    told(row),
                    place,
                )


def test_no_row_tells_of_the_machine_that_made_it() -> None:
    for row in rows():
        text = json.dumps(row)
        assert not re.search(r'"/(tmp|root|home/(?!work|ma-user))[^"]*zoo_recipes', text), told(row)
        assert "zoo_recipes" not in text, told(row)


@pytest.mark.parametrize(
    ("path", "model"),
    [("official/cv/resnet", "resnet50"), ("research/cv/stpm", "stpm"), ("official/cv/deeplabv3", "deeplab_v3_s8")],
)
def test_well_known_models_have_rows(path: str, model: str) -> None:
    found = [row for row in rows() if row["path"] == path and model in row["models"]]
    assert found
    assert foreign.commit_of(REPOSITORY, "r1.9") in {commit for row in found for commit in row["commits"]}
