"""Recipes for a model zoo, captured from a clone in throw-away processes and proved by building them again.

    python benchmarks/capture_recipes.py CARDS ZOO --out FILE [--work FOLDER] [--only PATH ...] [--limit 60]

CARDS is a folder of cards (publisher/version/name.md), ZOO a clone of the repository that they name (bare or not, with
all branches). For each folder that cards name, conf files and export scripts are run, else evaluation scripts, with
the functions that load, export and evaluate intercepted: the network that is handed to them is taken down as the call
that made it. A recipe counts where a fresh process that knows nothing but the recipe and a copy of the folder builds a
network with the same parameters; then it is run forward with the inputs that the script told. It holds for another
branch where it was built, too, or where all files that building reads are the same.

The zoo's code is run, guarded against accidents (no writing outside its copy, no sockets, no processes). It is not
contained: run this in a machine that may be thrown away. Work is kept in FOLDER and taken up again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
os.environ.setdefault("GLOG_v", "3")

from zoo.cards import ZooCard, zoo_cards
from zoo.gathering import Folder, proved
from zoo.rows import rows_of, summary, write
from zoo.trees import Zoo

from mshub_ssd.foreign.commits import BRANCHES, commit_of

STAGES = ("lines", "capture", "variants", "prove", "write")


def commits(repository: Path, name: str, branches: set[str]) -> dict[str, str]:
    """The commits of branches: those that the library's table has, else where the clone has them now."""
    command = ["git", f"--git-dir={repository}", "for-each-ref", "--format=%(refname) %(objectname)"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {}
    for ref, commit in (line.split() for line in told.splitlines()):
        match = re.fullmatch(r"refs/(?:heads|remotes/origin)/(.+)", ref)
        if match and match[1] in branches:
            found[match[1]] = commit_of(name, match[1]) or commit
    return found


def work_on_lines(folder: Folder, cards: list[ZooCard], file: Path) -> None:
    """Take what was written down for a folder, at the latest branch that cards name where it holds."""
    wanted = {card.branch for card in cards}
    order = folder.order(wanted)
    for line in lines():
        known = len(folder.recipes)
        for branch in (b for b in order if b in wanted and line["path"] == folder.path):
            if folder.take_line(branch, line):
                for recipe in folder.recipes[known:]:
                    for other in order:
                        folder.prove(recipe, other, build=other in wanted)
                break
    folder.save(file)


def work_on(folder: Folder, cards: list[ZooCard], file: Path) -> None:
    """Capture and prove until every branch that cards name has a recipe, or nothing more comes."""
    models = list(dict.fromkeys(card.model for card in cards))
    wanted = {card.branch for card in cards}
    order = folder.order(wanted)
    tried: list[str] = []
    for branch in [b for b in order if b in wanted]:
        if any(proved(recipe, branch) for recipe in folder.recipes):
            continue
        if len(tried) >= 2 and not folder.recipes and branch != [b for b in order if b in wanted][-1]:
            continue  # neither of the latest two: perhaps the oldest
        tried.append(branch)
        folder.capture(branch, models)
        for recipe in folder.recipes:
            for other in order:
                if other not in recipe["proofs"]:
                    folder.prove(recipe, other, build=other in wanted)
        folder.save(file)
    folder.save(file)


def lines() -> list[dict[str, Any]]:
    """What is told by hand, because no script of the folder comes to its network."""
    text = (Path(__file__).parent / "zoo" / "lines.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines() if line]


def work_on_variants(folder: Folder, cards: list[ZooCard], file: Path) -> None:
    """Run export scripts with other configurations, at the latest branch that cards name."""
    wanted = {card.branch for card in cards}
    order = folder.order(wanted)
    for job in folder.variants(order[0]):
        if folder.capture_job(order[0], job):
            for other in order[1:]:
                folder.prove(folder.recipes[-1], other, build=other in wanted)
        folder.save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cards", type=Path)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "zoo_recipes_out")
    parser.add_argument("--repository", default="mindspore/models")
    parser.add_argument("--only", nargs="*", default=[], help="folders")
    parser.add_argument("--again", action="store_true", help="folders that have no recipe for some branch, too")
    parser.add_argument("--limit", type=float, default=60)
    parser.add_argument("--stage", choices=STAGES, nargs="*", default=STAGES)
    told = parser.parse_args()
    every = zoo_cards(told.cards, told.repository)
    cards: dict[str, list[ZooCard]] = defaultdict(list)
    for card in every:
        cards[card.path].append(card)
    branches = {card.branch for card in every} | set(BRANCHES.get(told.repository, ()))
    zoo = Zoo(told.zoo, commits(told.zoo, told.repository, branches))
    told.work.mkdir(parents=True, exist_ok=True)
    paths = told.only or sorted(cards, key=lambda path: (-len(cards[path]), path))
    if len(told.stage) > 1:  # each in a process of its own, for leniency cannot be taken back
        for stage in told.stage:
            command = [sys.executable, __file__, *sys.argv[1:], "--stage", stage]
            subprocess.run(command, check=True)
        return
    if "lines" in told.stage:
        written = {line["path"] for line in lines()}
        capture(told, zoo, cards, [path for path in paths if path in written], work_on_lines)
    if "capture" in told.stage:
        capture(told, zoo, cards, paths, work_on)
    if "variants" in told.stage:
        capture(told, zoo, cards, paths, work_on_variants)
    if "prove" in told.stage:
        prove(told, zoo, paths)
    if "write" in told.stage and told.out:
        header, rows = rows_of(told.work, zoo, cards, told.repository)
        write(told.out, header, rows)
        print(summary(rows, every))


def prove(told: argparse.Namespace, zoo: Zoo, paths: list[str]) -> None:
    """Let the library build what was captured, and run it forward."""
    from zoo.proving import Prover

    from mshub_ssd.foreign import adapters

    child = children(told.work, lenient=False)
    for number, path in enumerate(paths):
        file = place(told.work, path)
        if not file.exists():
            continue
        folder = Folder(zoo, path, Path(tempfile.mkdtemp(prefix="zoo_recipes_")), child, told.limit)
        folder.load(file)
        if told.again:
            for recipe in folder.recipes:
                if not recipe.get("final", {}).get("runs"):
                    recipe.pop("final", None)
        started = time.monotonic()
        try:
            new = Prover(folder, child, told.limit, adapters.describe()).work()
        finally:
            folder.close()
        if new:
            folder.save(file)
            states = [_state(recipe["final"]) for recipe in folder.recipes]
            print(
                f"{number + 1}/{len(paths)} {path}: {' | '.join(states)}, {time.monotonic() - started:.0f} s",
                flush=True,
            )


def _state(final: dict[str, Any]) -> str:
    if not final.get("branches"):
        return "fails: " + next(iter(final["errors"].values()), "?")[:150]
    errors = [error for told in final["branches"].values() for error in told.get("errors", [])]
    return f"{len(final['branches'])} built, " + ("runs" if final.get("runs") else f"not run: {errors[:1]}"[:150])


def place(work: Path, path: str) -> Path:
    """Where the work on a folder is kept."""
    return work / (path.replace("/", "~") + ".json")


def children(work: Path, lenient: bool = True) -> Any:
    """What runs jobs in processes of their own, which are copies of this one as it is made here."""
    from zoo import leniency, proving, running

    if lenient:
        leniency.install()
    else:
        leniency.quick_values()
    kinds = {"capture": running.capture, "replay": running.replay, "prove": proving.prove}

    def child(kind: str, folder: Path, job: dict[str, Any], limit: float) -> dict[str, Any]:
        return running.in_child(lambda: kinds[kind](folder, job), work / f"child{os.getpid()}.log", limit)

    return child


def capture(
    told: argparse.Namespace,
    zoo: Zoo,
    cards: dict[str, list[ZooCard]],
    paths: list[str],
    work: Callable[[Folder, list[ZooCard], Path], None],
) -> None:
    """Do a stage's work on every folder where it was not done."""
    child = children(told.work)
    stage = told.stage[0]
    for number, path in enumerate(paths):
        file = place(told.work, path)
        mark = file.with_suffix(f".{stage}")
        if (mark.exists() or (stage == "capture" and file.exists())) and stage != "lines" and not told.again:
            continue
        started = time.monotonic()
        scratch = Path(tempfile.mkdtemp(prefix="zoo_recipes_"))
        folder = Folder(zoo, path, scratch, child, told.limit)
        folder.load(file)
        try:
            work(folder, cards[path], file)
            mark.touch()
        finally:
            folder.close()
        wanted = {card.branch for card in cards[path]}
        covered = {b for b in wanted if any(proved(recipe, b) for recipe in folder.recipes)}
        print(
            f"{number + 1}/{len(paths)} {path}: {len(folder.recipes)} recipes, "
            f"{len(covered)} of {len(wanted)} branches, {len(cards[path])} cards, {time.monotonic() - started:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
