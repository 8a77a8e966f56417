"""How many published cards give a network: every candidate is built in a process of its own, and run forward.

    python benchmarks/hub_loadability.py CARDS [--zoo CLONE] [--jobs N] [--time-limit S] [--limit N] --json OUT

CARDS is a folder of cards (publisher/version/name.md). Each is resolved as `mshub_ssd.load` does it. Networks of this
library and of installed packages are built; with a CLONE of the model zoo (bare or not), recipes of its cards are, too,
with consent and by the library's own doors: checked out at their commit, verified, imported in isolation and under the
guard. One that knows what goes in is run forward with numbers of that shape, within S seconds. A card constructs if one
of its candidates does, and runs if one does; whether a checkpoint fits is not asked, because none is fetched.

Recipes whose folder's code is the same at two commits are built once. What was built is kept beside OUT and taken up
again; `--fresh` forgets it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mshub_ssd import providers
from mshub_ssd.cards import Card, read_card
from mshub_ssd.errors import MshubError
from mshub_ssd.foreign import parse_repo_link
from mshub_ssd.providers import Recipe

_READ = re.compile(r"\.(py|ya?ml|json|txt|cfg|csv|npy|npz)$")


class Clone:
    """The clone, as far as it tells whether two commits have the same code in a folder."""

    def __init__(self, place: Path):
        self.place = place
        self._known: dict[str, dict[str, list[str]]] = {}

    def code(self, commit: str, path: str) -> str:
        """A short name of what code and configurations in a folder are at a commit."""
        if commit not in self._known:
            command = ["git", "-C", str(self.place), "ls-tree", "-r", commit]
            folders: dict[str, list[str]] = defaultdict(list)
            for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
                name = line.partition("\t")[2]
                if _READ.search(name):
                    folders["/".join(name.split("/")[:2])].append(line)
            self._known[commit] = folders
        lines = self._known[commit]["/".join(path.split("/")[:2])]
        own = [line for line in lines if f"\t{path}/" in line]
        return hashlib.sha256("\n".join(own).encode()).hexdigest()[:16]


def identity(recipe: Recipe, clone: Clone | None) -> str:
    """What tells recipes apart that need to be built each."""
    told: list[Any] = [recipe.level, recipe.key, dict(recipe.arguments), list(recipe.adapters)]
    if recipe.code is not None and recipe.call is not None:
        where = recipe.code.version
        if recipe.level == "repository" and clone is not None:
            where = clone.code(recipe.code.version, recipe.code.path)
        call = recipe.call
        told += [recipe.code.name, recipe.code.path, where, call.callable, list(call.args), dict(call.kwargs)]
        told += [list(call.argv), [[list(one.shape), one.type] for one in recipe.inputs]]
        told[1] = ""  # the same by another name is the same
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:20]


def build(uid: str, file: Path, number: int, repositories: str, home: Path) -> dict[str, Any]:
    """Build a card's candidate, in this process, and run it forward."""
    os.environ.setdefault("GLOG_v", "3")
    from mshub_ssd import settings
    from mshub_ssd.cpu import ensure_fast_cpu

    ensure_fast_cpu()
    recipe = providers.candidates(read_card(file, uid))[number]
    environ = {**os.environ, "MSHUB_HOME": str(home), "MSHUB_REPOSITORIES": repositories, "MSHUB_OFFLINE": "1"}
    network = providers.build_network(
        recipe, settings=settings.current(environ), initialised=True, trust_repo=True, uid=uid
    )
    told: dict[str, Any] = {"constructs": True, "parameters": len(list(network.get_parameters()))}
    print(json.dumps(told), flush=True)
    inputs = [(one.shape, one.type) for one in recipe.inputs] or _own_inputs(recipe, network)
    if not inputs:
        return {**told, "error": "inputs unknown"}
    import mindspore
    import numpy as np

    network.set_train(False)
    numbers = np.random.default_rng(0)
    arrays = []
    for shape, kind in inputs:
        data = numbers.random(shape, np.float32) if "float" in kind else np.zeros(shape, np.int64)
        kind = "float32" if kind == "float16" and "float32" in recipe.adapters else kind
        arrays.append(mindspore.Tensor(data, getattr(mindspore, "bool_" if kind == "bool" else kind)))
    network(*arrays)
    return {**told, "runs": True}


def _own_inputs(recipe: Recipe, network: Any) -> list[tuple[tuple[int, ...], str]]:
    """What this library's own networks take."""
    if recipe.level not in ("builtin", "user"):
        return []
    size = getattr(network, "image_size", None) or getattr(getattr(network, "config", None), "image_size", None) or 224
    height, width = (size, size) if isinstance(size, int) else size
    return [((1, 3, height, width), "float32")]


def in_process(command: list[str], limit: float, scratch: Path) -> dict[str, Any]:
    """Build in a process of its own; the last that it told."""
    started = time.monotonic()
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=limit, cwd=place, check=False, stdin=subprocess.DEVNULL
            )
            out, ended = done.stdout, f"ended with {done.returncode}"
        except subprocess.TimeoutExpired as error:
            out, ended = (error.stdout or b"").decode("utf-8", "replace"), "time limit"
    for line in out.splitlines():
        if line.startswith('{"'):
            told |= json.loads(line)
    if "runs" not in told and "error" not in told:
        told["error"] = ended
    return {**told, "seconds": round(time.monotonic() - started, 1)}


def cause(error: str) -> str:
    """An error without what differs from card to card."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "…", error.splitlines()[0] if error else "")
    return re.sub(r"[\w./~-]*/[\w./~-]+|\d+", "…", text)[:120]


def resolve(folder: Path) -> dict[str, tuple[Path, Card | None, list[Recipe], str]]:
    """Every card of a folder: its file, candidates, and why there are none."""
    found: dict[str, tuple[Path, Card | None, list[Recipe], str]] = {}
    for file in sorted(folder.rglob("*.md")):
        uid = file.relative_to(folder).with_suffix("").as_posix()
        try:
            card = read_card(file, uid)
        except MshubError as error:
            found[uid] = (file, None, [], type(error).__name__)
            continue
        try:
            found[uid] = (file, card, providers.candidates(card), "")
        except MshubError as error:
            found[uid] = (file, card, [], type(error).__name__)
    return found


def family(card: Card | None) -> str:
    """Whose card it is: a repository of code, or nobody's."""
    link = parse_repo_link(card.repo_link or "") if card else None
    return link.repository if link else "none"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cards", type=Path)
    parser.add_argument("--zoo", type=Path, help="a clone of the model zoo")
    parser.add_argument("--repository", default="mindspore/models", help="what the clone is a clone of")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--time-limit", type=float, default=60)
    parser.add_argument("--limit", type=int, help="as many cards, evenly chosen")
    parser.add_argument("--fresh", action="store_true", help="forget what was built before")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.one:
        uid, number, repositories, home = told.one
        try:
            result = build(uid, told.cards / f"{uid}.md", int(number), repositories, Path(home))
        except Exception as error:  # noqa: BLE001 (whatever the code of others raises is a result)
            result = {"error": f"{type(error).__name__}: {error}"[:400]}
        print("\n" + json.dumps(result), flush=True)
        os._exit(0)
    started = time.monotonic()
    cards = resolve(told.cards)
    if told.limit and told.limit < len(cards):
        uids = sorted(cards)
        cards = {uids[n * len(uids) // told.limit]: cards[uids[n * len(uids) // told.limit]] for n in range(told.limit)}
    clone = Clone(told.zoo) if told.zoo else None
    kept = told.json.with_suffix(".kept.jsonl")
    if told.fresh:
        kept.unlink(missing_ok=True)
    built: dict[str, dict[str, Any]] = {}
    if kept.exists():
        built = {one["id"]: one for one in map(json.loads, kept.read_text().splitlines())}
    jobs: dict[str, tuple[str, int]] = {}
    for uid, (_, _, recipes, _) in cards.items():
        for number, recipe in enumerate(recipes):
            if recipe.level != "repository" or clone is not None:
                jobs.setdefault(identity(recipe, clone), (uid, number))
    todo = {key: job for key, job in jobs.items() if key not in built}
    print(f"{len(cards)} cards, {len(jobs)} networks, {len(todo)} of them to build", flush=True)
    repositories = f"{told.repository}={told.zoo.resolve()}" if told.zoo else ""
    with tempfile.TemporaryDirectory(prefix="loadability_") as place, ThreadPoolExecutor(told.jobs) as pool:
        scratch = Path(place)

        def one(key: str) -> None:
            uid, number = todo[key]
            command = [sys.executable, str(Path(__file__).resolve()), str(told.cards.resolve()), "--json", "-"]
            command += ["--one", uid, str(number), repositories, str(scratch / "home")]
            result = {"id": key, "uid": uid, **in_process(command, told.time_limit, scratch)}
            built[key] = result
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")

        for count, _ in enumerate(pool.map(one, todo), 1):
            if count % 50 == 0:
                print(f"{count} of {len(todo)}, {time.monotonic() - started:.0f} s", flush=True)
    report = account(cards, built, clone)
    report["settings"] = {"time_limit": told.time_limit, "zoo": told.zoo is not None, "limit": told.limit}
    told.json.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(report["counts"], indent=1))
    return 0


def account(
    cards: dict[str, tuple[Path, Card | None, list[Recipe], str]],
    built: dict[str, dict[str, Any]],
    clone: Clone | None,
) -> dict[str, Any]:
    """Counts and causes."""
    counts: Counter[str] = Counter({"cards": len(cards)})
    by_level: dict[str, Counter[str]] = defaultdict(Counter)
    fails: Counter[str] = Counter()
    stands: Counter[str] = Counter()
    rows = []
    for uid, (_, card, recipes, error) in sorted(cards.items()):
        results = [built[key] for recipe in recipes if (key := identity(recipe, clone)) in built]
        constructs = any(one.get("constructs") for one in results)
        runs = any(one.get("runs") for one in results)
        level = recipes[0].level if recipes else "none"
        errors = [one["error"] for one in results if one.get("error")]
        for name, holds in (("resolves", bool(recipes)), ("constructs", constructs), ("runs", runs)):
            counts[name] += holds
            by_level[level][name] += holds
        by_level[level]["cards"] += 1
        if not constructs:
            fails[f"{family(card)}: {error or cause(errors[0] if errors else 'not built')}"] += 1
        elif not runs:
            stands[cause(errors[0] if errors else "?")] += 1
        row = {"uid": uid, "level": level, "candidates": len(recipes), "constructs": constructs, "runs": runs}
        if errors and not runs:
            row["error"] = errors[0][:200]
        rows.append(row)
    total = max(1, counts["cards"])
    shares = {f"{name}_share": round(counts[name] / total, 3) for name in ("resolves", "constructs", "runs")}
    return {
        "counts": dict(counts) | shares | {"networks": len(built)},
        "levels": {level: dict(counter) for level, counter in by_level.items()},
        "causes": {"not_built": dict(fails.most_common(40)), "not_run": dict(stands.most_common(40))},
        "cards": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
