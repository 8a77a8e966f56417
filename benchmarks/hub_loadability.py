"""How many published cards give a network: candidates are built in a process of its own, and run forward.

    python benchmarks/hub_loadability.py CARDS [--zoo CLONE] [--jobs N] [--time-limit S] [--limit N]
        [--every-commit] --json OUT

CARDS is a folder of cards (publisher/version/name.md). Each is resolved as `mshub_ssd.load` does it. Networks of this
library and of installed packages are built; with a CLONE of the model zoo (bare or not), recipes of its cards are, too,
with consent and by the library's own doors: checked out at their commit, verified, imported in isolation and under the
guard. One that knows what goes in is run forward with numbers of that shape, within S seconds of the processor's time.
A card constructs if one of its candidates does, and runs if one does, so that of several the rest is left when one
runs; whether a checkpoint fits is not asked, because none is fetched.

A recipe is built once, at the commit of the first card that means it: that it gives the same parameters at all commits
that it names was seen when it was captured. With `--every-commit` it is built at each where code that it can read
differs. What was built is kept beside OUT and taken up again; `--fresh` forgets it.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import hashlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

from mshub_ssd import providers
from mshub_ssd.cards import Card, read_card
from mshub_ssd.errors import MshubError
from mshub_ssd.foreign import parse_repo_link
from mshub_ssd.providers import Recipe

_READ = re.compile(r"\.(py|ya?ml|json|txt|cfg|csv|npy|npz)$")


_UNPROVEN = 15.0
"""Most seconds to run a recipe in that never ran before: for the cause."""


class Clone:
    """The clone, as far as it tells whether two commits have the same code for a recipe."""

    def __init__(self, place: Path):
        self.place = place
        self._folders: dict[str, dict[str, dict[str, str]]] = {}
        self._imports: dict[str, set[str]] = {}
        command = ["git", "-C", str(place), "cat-file", "--batch"]
        self._blobs = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self) -> None:
        """End the process that reads files."""
        self._blobs.communicate()

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.place), *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8", "replace")

    def _text(self, blob: str) -> str:
        """What a file holds; nothing if the clone has it not."""
        assert self._blobs.stdin
        assert self._blobs.stdout
        self._blobs.stdin.write(f"{blob}\n".encode())
        self._blobs.stdin.flush()
        facts = self._blobs.stdout.readline().split()
        if len(facts) != 3:
            return ""
        return self._blobs.stdout.read(int(facts[2]) + 1).decode("utf-8", "replace")

    def _files(self, commit: str, path: str) -> dict[str, str]:
        """Code and configurations of a folder, by their names in it, with their hashes."""
        if commit not in self._folders:
            folders: dict[str, dict[str, str]] = defaultdict(dict)
            for line in self._git("ls-tree", "-r", commit).splitlines():
                facts, _, name = line.partition("\t")
                if _READ.search(name):
                    folders["/".join(name.split("/")[:2])][name] = facts.split()[2]
            self._folders[commit] = folders
        inside = self._folders[commit]["/".join(path.split("/")[:2])]
        return {name[len(path) + 1 :]: blob for name, blob in inside.items() if name.startswith(f"{path}/")}

    def code(self, commit: str, path: str, words: set[str]) -> str:
        """A short name of what a recipe reads of a folder at a commit: rather more than it does.

        Args:
            commit: The commit.
            path: The folder.
            words: The names of modules in the recipe; files called so, or so imported by them, count.
        """
        files = self._files(commit, path)
        taken: dict[str, str] = {}
        new = True
        while new:
            new = {
                name: blob
                for name, blob in files.items()
                if name.endswith(".py") and name not in taken and _words_of(name) <= words | {"__init__"}
            }
            taken |= new
            for blob in new.values():
                if blob not in self._imports:
                    self._imports[blob] = _imported(self._text(blob))
                words = words | self._imports[blob]
        if "*" in words:
            taken = files
        elif "open" in words:
            taken |= {name: blob for name, blob in files.items() if not name.endswith(".py")}
        return hashlib.sha256(repr(sorted(taken.items())).encode()).hexdigest()[:16]


def _words_of(file: str) -> set[str]:
    """The last word by which a file is imported."""
    parts = file[: -len(".py")].split("/")
    return {parts[-2] if parts[-1] == "__init__" and len(parts) > 1 else parts[-1]}


_IMPORTING = re.compile(r"import_module|__import__|\bexec\(|runpy")
_OPENING = re.compile(r"\bopen\(|np\.load|yaml|json")


def _imported(text: str) -> set[str]:
    """All words of a file's imports; `open` where it may read other files, `*` where only running it tells which."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return {"*"}
    words: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for name in [getattr(node, "module", None) or "", *(one.name for one in node.names)]:
                words.update(name.split("."))
    words.discard("*")
    if _OPENING.search(text):
        words.add("open")
    return words | {"*"} if _IMPORTING.search(text) else words


def identity(recipe: Recipe, clone: Clone | None = None) -> str:
    """What tells recipes apart that need to be built each; with a clone, also whether their commits' code differs."""
    told: list[Any] = [recipe.level, recipe.key, dict(recipe.arguments), list(recipe.adapters)]
    code, call = recipe.code, recipe.call
    if code is not None and call is not None:
        said = [call.callable, list(call.args), dict(call.kwargs), list(call.argv)]
        where = ""
        if recipe.level == "repository":
            where = _digest(code.path, code.version, json.dumps(said))
            if clone is not None:
                words = set(re.findall(r"\w+", json.dumps([*said, list(recipe.adapters)])))
                where = clone.code(code.version, code.path, words)
        told += [code.name, code.path, where, said, [[list(one.shape), one.type] for one in recipe.inputs]]
        told[1] = ""  # the same by another name is the same
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:20]


def _digest(path: str, commit: str, said: str) -> str:
    """The parameters that a call gives at a commit: the same call may mean another network elsewhere."""
    return next((digest for commits, call, digest in _rows().get(path, ()) if commit in commits and call == said), "")


@functools.cache
def _rows() -> dict[str, list[tuple[list[str], str, str]]]:
    found: dict[str, list[tuple[list[str], str, str]]] = defaultdict(list)
    text = (resources.files("mshub_ssd.providers") / "data" / "zoo.jsonl").read_text(encoding="utf-8")
    for row in [json.loads(line) for line in text.splitlines()[1:]]:
        call = row["call"]
        said = [call["callable"], call.get("args", []), call.get("kwargs", {}), call.get("argv", [])]
        found[row["path"]].append((row["commits"], json.dumps(said), row["digest"]))
    return found


def build(uid: str, file: Path, number: int, repositories: str, home: Path, out: TextIO) -> dict[str, Any]:
    """Build a card's candidate, in this process, tell so, and run it forward."""
    from mshub_ssd import settings

    recipe = providers.candidates(read_card(file, uid))[number]
    environ = {**os.environ, "MSHUB_HOME": str(home), "MSHUB_REPOSITORIES": repositories, "MSHUB_OFFLINE": "1"}
    network = providers.build_network(
        recipe, settings=settings.current(environ), initialised=True, trust_repo=True, uid=uid
    )
    told: dict[str, Any] = {"constructs": True, "parameters": len(list(network.get_parameters()))}
    print(json.dumps(told), file=out, flush=True)
    inputs = [(one.shape, one.type) for one in recipe.inputs] or _own_inputs(recipe, network)
    if not inputs:
        return {**told, "error": "inputs unknown"}
    import mindspore
    import numpy as np

    if recipe.level == "repository" and "runs" not in recipe.proven:  # it was tried for longer than here
        signal.setitimer(signal.ITIMER_PROF, min(_UNPROVEN, signal.getitimer(signal.ITIMER_PROF)[0]))
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


class Nest:
    """A process that has MindSpore, and is copied for each network: what a copy does is gone with it.

    Args:
        cards: The folder of cards.
        repositories: Where code of repositories is, as `MSHUB_REPOSITORIES` has it.
        scratch: A folder for working folders and the hub's own.
        limit: Seconds of the processor for each network; of the clock, twenty times as many.
    """

    def __init__(self, cards: Path, repositories: str, scratch: Path, limit: float):
        self.limit = limit
        command = [sys.executable, str(Path(__file__).resolve()), str(cards.resolve()), "--json", "-"]
        command += ["--nest", repositories, str(scratch), "--time-limit", str(limit)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def build(self, uid: str, number: int) -> dict[str, Any]:
        """Build a card's candidate in a process of its own; what it told."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([uid, number]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            return {"error": f"the process that others are copied from ended with {self._process.wait()}"}
        return dict(json.loads(line))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def nest(cards: Path, repositories: str, scratch: Path, limit: float) -> None:
    """Read what to build, a line each; write what came of it, a line each."""
    os.environ.setdefault("GLOG_v", "3")
    from mshub_ssd.cpu import ensure_fast_cpu

    ensure_fast_cpu()
    import mindspore  # noqa: F401 (so that copies have it)

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        uid, number = json.loads(line)
        started = time.monotonic()
        told = _in_copy(uid, cards / f"{uid}.md", number, repositories, scratch, limit)
        print(json.dumps({**told, "seconds": round(time.monotonic() - started, 1)}), file=answers, flush=True)


def _in_copy(uid: str, file: Path, number: int, repositories: str, scratch: Path, limit: float) -> dict[str, Any]:
    """Build in a copy of this process; the last that it told."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        child = os.fork()
        if child == 0:
            os.setsid()
            os.close(reading)
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            os.chdir(place)
            signal.setitimer(signal.ITIMER_PROF, limit)
            signal.setitimer(signal.ITIMER_REAL, limit * 20)
            told = os.fdopen(writing, "w")
            try:
                result = build(uid, file, number, repositories, scratch / "home", told)
            except BaseException as error:  # noqa: BLE001 (whatever the code of others raises is a result)
                result = {"error": f"{type(error).__name__}: {error}"[:400]}
            print(json.dumps(result), file=told, flush=True)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as lines:
            known: dict[str, Any] = {}
            for line in lines:
                known |= json.loads(line)
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    if "runs" not in known and "error" not in known:
        late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM)
        known["error"] = "time limit" if late else f"ended with {status}"
    return known


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
    parser.add_argument("--every-commit", action="store_true", help="build a recipe for each state of its code")
    parser.add_argument("--fresh", action="store_true", help="forget what was built before")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--nest", nargs=2, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.nest:
        nest(told.cards, told.nest[0], Path(told.nest[1]), told.time_limit)
        return 0
    started = time.monotonic()
    cards = resolve(told.cards)
    if told.limit and told.limit < len(cards):
        uids = sorted(cards)
        cards = {uids[n * len(uids) // told.limit]: cards[uids[n * len(uids) // told.limit]] for n in range(told.limit)}
    clone = Clone(told.zoo) if told.zoo and told.every_commit else None
    kept = told.json.with_suffix(".kept.jsonl")
    if told.fresh:
        kept.unlink(missing_ok=True)
    built: dict[str, dict[str, Any]] = {}
    if kept.exists():
        built = {one["id"]: one for one in map(json.loads, kept.read_text().splitlines())}
    wanted: dict[str, list[tuple[str, int]]] = {}
    for uid, (_, _, recipes, _) in cards.items():
        built_ones = [(n, one) for n, one in enumerate(recipes) if one.level != "repository" or told.zoo]
        built_ones.sort(key=lambda pair: "runs" not in pair[1].proven)
        wanted[uid] = [(identity(recipe, clone), number) for number, recipe in built_ones]
    networks = {key for keys in wanted.values() for key, _ in keys}
    todo = {
        key
        for keys in wanted.values()
        if not any(built.get(key, {}).get("runs") for key, _ in keys)
        for key, _ in keys
        if key not in built
    }
    print(f"{len(cards)} cards, {len(networks)} networks, {len(todo)} of them to build", flush=True)
    repositories = f"{told.repository}={told.zoo.resolve()}" if told.zoo else ""
    with tempfile.TemporaryDirectory(prefix="loadability_") as place, ThreadPoolExecutor(told.jobs) as pool:
        nests = queue.SimpleQueue[Nest]()
        made = [Nest(told.cards, repositories, Path(place), told.time_limit) for _ in range(told.jobs if todo else 0)]
        for one_nest in made:
            nests.put(one_nest)
        locks: dict[str, threading.Lock] = {key: threading.Lock() for key in networks}

        def one(uid: str) -> None:
            for key, number in wanted[uid]:
                with locks[key]:  # another card may mean the same
                    if key not in built:
                        own = nests.get()
                        try:
                            built[key] = {"id": key, "uid": uid, **own.build(uid, number)}
                        finally:
                            nests.put(own)
                        with kept.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(built[key]) + "\n")
                if built[key].get("runs"):
                    return

        for count, _ in enumerate(pool.map(one, wanted), 1):
            if count % 50 == 0 and todo:
                print(f"{count} of {len(cards)} cards, {time.monotonic() - started:.0f} s", flush=True)
        for one_nest in made:
            one_nest.close()
    report = account(cards, built, clone)
    if clone:
        clone.close()
    report["settings"] = {
        "time_limit": told.time_limit,
        "zoo": told.zoo is not None,
        "limit": told.limit,
        "every_commit": told.every_commit,
    }
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
    seen: set[str] = set()
    rows = []
    for uid, (_, card, recipes, error) in sorted(cards.items()):
        keys = [key for recipe in recipes if (key := identity(recipe, clone)) in built]
        results = [built[key] for key in keys]
        seen.update(keys)
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
            row["error"] = errors[0].partition("\n")[0][:200]
        rows.append(row)
    total = max(1, counts["cards"])
    shares = {f"{name}_share": round(counts[name] / total, 3) for name in ("resolves", "constructs", "runs")}
    return {
        "counts": dict(counts) | shares | {"networks": len(seen)},
        "levels": {level: dict(counter) for level, counter in by_level.items()},
        "causes": {"not_built": dict(fails.most_common(40)), "not_run": dict(stands.most_common(40))},
        "cards": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
