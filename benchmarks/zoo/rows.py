"""Rows of a file of recipes: what was proved, for which cards, at which commits."""

from __future__ import annotations

import json
import platform
import re
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .cards import ZooCard
from .gathering import proved
from .trees import Zoo

FORMAT = 1
_CONFIG_WORDS = re.compile(r"config|default|gpu|ascend|cpu|eval|train|export|infer", re.IGNORECASE)


def rows_of(
    work: Path, zoo: Zoo, cards: dict[str, list[ZooCard]], repository: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The file's first line, and a row per recipe that the library builds."""
    rows = []
    for path in sorted(cards):
        file = work / (path.replace("/", "~") + ".json")
        if not file.exists():
            continue
        recipes = json.loads(file.read_text())["recipes"]
        recipes = [r for r in recipes if r.get("final", {}).get("branches") and r["parameters"]]
        models = list(dict.fromkeys(card.model for card in cards[path]))
        meant = distinct(recipes, models_of(recipes, models))
        new = [_row(path, recipe, names, zoo) for recipe, names in zip(recipes, meant, strict=True) if names]
        rows += [row for row in once(new) if row["commits"]]
    header = {
        "format": FORMAT,
        "repository": repository,
        "made_by": "benchmarks/capture_recipes.py",
        "made_with": {name: version(name) for name in ("mindspore", "numpy")} | {"python": platform.python_version()},
    }
    return header, rows


def _row(path: str, recipe: dict[str, Any], models: list[str], zoo: Zoo) -> dict[str, Any]:
    final = recipe["final"]
    branches = [
        branch
        for branch in zoo.commits
        if proved(recipe, branch) and recipe["proofs"][branch].get("same", branch) in final["branches"]
    ]
    call = {key: final["call"][key] for key in ("callable", "args", "kwargs", "argv") if final["call"].get(key)}
    source = recipe["sources"][0]
    row: dict[str, Any] = {"path": path, "models": models}
    row["commits"] = [zoo.commits[branch] for branch in branches]
    row["call"] = {"callable": call["callable"], "args": [], "kwargs": {}} | call
    row["inputs"] = final.get("runs") or recipe["inputs"] or []
    row["adapters"] = final["adapters"]
    row["proven"] = ["constructs", "runs"] if final.get("runs") else ["constructs"]
    row["parameters"], row["elements"], row["digest"] = recipe["parameters"], recipe["elements"], recipe["digest"]
    row["source"] = {
        key: source[key] for key in ("branch", "conf", "name", "script", "argv", "line", "note") if source.get(key)
    }
    return row


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def models_of(recipes: list[dict[str, Any]], models: list[str]) -> list[list[str]]:
    """For each recipe, the models that it may be: those that it is called by where a model has one, else all.

    Args:
        recipes: A folder's recipes, with `sources`.
        models: The models that cards of the folder name.
    """
    called: list[set[str]] = []
    for recipe in recipes:
        names = set()
        for source in recipe["sources"]:
            told = [source.get("name", ""), *source.get("models", ())]
            told += [_CONFIG_WORDS.sub("", Path(word).stem) for word in source.get("argv", [])[1:]]
            names |= {_plain(word) for word in told if word}
        called.append(names)
    meant: list[list[str]] = [[] for _ in recipes]
    for model in models:
        exact = [number for number, names in enumerate(called) if _plain(model) in names]
        for number in exact or range(len(recipes)):
            meant[number].append(model)
    # A recipe that no model means by its name is still a candidate of those that have none of that name.
    return [names or list(models) for names in meant]


# What is handed over to be loaded means the network; what an evaluation or training makes of it may be something else.
# One that runs comes before one that does not: networks that compare with labels are conf files' way, too.
_RANKS = {"conf": 0, "load": 1, "line": 1, "export": 2, "model": 3, "made": 4}


def distinct(recipes: list[dict[str, Any]], meant: list[list[str]]) -> list[list[str]]:
    """The models of each recipe without those that a better recipe with the same parameters is for.

    A checkpoint cannot tell two such recipes apart.
    """

    def rank(recipe: dict[str, Any]) -> tuple[bool, int, bool]:
        scripts = [source.get("script", "") for source in recipe["sources"]]
        idle = not recipe["final"].get("runs")
        return idle, _RANKS.get(recipe["how"], 9), all("train" in script for script in scripts)

    best: dict[tuple[str, str], tuple[bool, int, bool]] = {}
    for recipe, names in zip(recipes, meant, strict=True):
        for name in names:
            key = (recipe["digest"], name)
            best[key] = min(best.get(key, rank(recipe)), rank(recipe))
    return [
        [name for name in names if rank(recipe) == best[recipe["digest"], name]]
        for recipe, names in zip(recipes, meant, strict=True)
    ]


def once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A folder's rows, of which those that were captured later give way where an earlier one says the same.

    Scripts of different branches make a network with other words. Two of one branch that have the same parameters are
    both kept: they may compute different things.
    """
    for number, row in enumerate(rows):
        for earlier in rows[:number]:
            same = earlier["digest"] == row["digest"] and set(earlier["models"]) & set(row["models"])
            if same and earlier["source"]["branch"] != row["source"]["branch"]:
                row["commits"] = [commit for commit in row["commits"] if commit not in earlier["commits"]]
    return rows


def write(out: Path, header: dict[str, Any], rows: Iterable[dict[str, Any]]) -> None:
    """Write a file of recipes, a line each."""
    lines = [json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in [header, *rows]]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def summary(rows: Iterable[dict[str, Any]], cards: list[ZooCard]) -> str:
    """How many cards have a row for their folder and model, and how many one that runs."""
    states: dict[tuple[str, str], set[str]] = defaultdict(set)
    count = 0
    for row in rows:
        count += 1
        for model in row["models"]:
            states[row["path"], model].update(row["proven"])
    builds = sum("constructs" in states[card.path, card.model] for card in cards)
    runs = sum("runs" in states[card.path, card.model] for card in cards)
    return f"{count} rows; of {len(cards)} cards {builds} construct, {runs} run forward"
