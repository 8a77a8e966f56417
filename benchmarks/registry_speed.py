"""What lists, searches and single cards cost, from 1,000 cards to 1,000,000; docs/scale.md tells the figures.

    python benchmarks/registry_speed.py [FOLDER] [--only PART ...] [--rounds N] [--work FOLDER] [--out FILE]

Parts: `cold` (new processes of `mshub list`, `search` and `info` in turn with `python -c pass`, for trees of 3,000 and
100,000 generated cards and for FOLDER; the first index, and the refresh after one changed card), `sizes` (10³ to 10⁶
generated cards without files, through the index's own writing path: one process builds, another one asks), `kept` (one
card from a Hub that is kept) and `plot` (docs/scale.svg from what was measured). 100,000 files take 1 GB of the work
folder, 1,000,000 rows 3 GB and half an hour; all is removed at the end. Results are merged into the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from registry_cards import RARE, Generated

ROOT = Path(__file__).resolve().parents[1]
UID = "mindspore/1.7/ssdresnet50fpn_coco2017"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
PARTS = ("cold", "sizes", "kept", "plot")
# What counts as missed, in milliseconds above `python -c pass`, seconds, or megabytes.
LIMITS = {
    "3000 cards": {"command, ms": 120, "first index, s": 3.0},
    "100000 cards": {"command, ms": 200, "first index, s": 60.0, "refresh, s": 2.0},
    "1000000": {"one uid, ms": 5, "search page, ms": 100, "memory, MB": 200},
}


def spread(taken: Sequence[float], digits: int = 1) -> dict[str, float]:
    """Median and the slowest of 20."""
    return {
        "median": round(statistics.median(taken), digits),
        "p95": round(sorted(taken)[min(len(taken) - 1, int(len(taken) * 0.95))], digits),
    }


def milliseconds(call: Callable[[], object], count: int) -> dict[str, float]:
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        taken.append(1e3 * (time.perf_counter() - start))
    return spread(taken, 3)


def environment(work: Path, **more: str) -> dict[str, str]:
    """As an installed package has it: modules are compiled once, here into the work folder."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
    return {**kept, "PYTHONPATH": paths, "PYTHONPYCACHEPREFIX": str(work / "compiled"), **more}


def compiled(work: Path) -> None:
    """Compile the modules of all commands, and those of the helpers that read cards."""
    if not (work / "few").exists():
        Generated(1_100).write(work / "few")
    with tempfile.TemporaryDirectory(dir=work) as home:
        environ = environment(work, MSHUB_HOME=home, MSHUB_REGISTRY=str(work / "few"))
        for words in (["list"], ["search", "resnet"], ["info", Generated(1_100).uid(7)]):
            run(["-c", "from mshub_ssd.cli import main; main()", *words], environ)


def run(arguments: Sequence[str], environ: dict[str, str]) -> float:
    """Seconds that a process takes."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environ, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def cold(root: Path, card: str, work: Path, rounds: int) -> dict[str, Any]:
    """New processes on a tree of cards."""
    home = work / "home"
    shutil.rmtree(home, ignore_errors=True)
    environ = environment(work, MSHUB_HOME=str(home), MSHUB_REGISTRY=str(root))
    mshub = ["-c", "from mshub_ssd.cli import main; main()"]  # what the installed script does
    page = [*mshub, "list", "--limit", "1000"]
    commands = {
        "pass": ["-c", "pass"],
        "list": page,
        "list --task": [*page, "--task", "object-detection"],
        "search": [*mshub, "search", "resnet", "--limit", "100"],
        "info": [*mshub, "info", card],
    }
    compiled(work)
    without = run(commands["pass"], environ)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    first = run(page, environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found: dict[str, Any] = {
        "first index, s": round(first - without, 2),
        "of it processor time of all processes, s": round(processor, 2),
        "disk, MB": round(sum(file.stat().st_size for file in home.rglob("*") if file.is_file()) / 1e6, 1),
    }
    time.sleep(2.1)  # a file that has just been written is read once more
    run(page, environ)
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            taken[name].append(1e3 * run(arguments, environ))
    bare = taken.pop("pass")
    found["pass, ms"] = spread(bare)
    for name, each in taken.items():
        found[f"{name}, ms above pass"] = spread([one - base for one, base in zip(each, bare, strict=True)])
    again = []
    file = root / f"{card}.md"
    text = file.read_bytes()
    for number in range(3):
        # A new file in its place is seen at once, whatever the size.
        new = file.with_name(".new")
        new.write_bytes(text + f"\nchanged {number}\n".encode())
        new.replace(file)
        again.append(run(page, environ) - without)
    file.write_bytes(text)
    found["refresh after one changed card, s"] = spread(again, 2)
    return found


def measured(count: int, home: Path, build: bool) -> dict[str, Any]:
    """In a process of its own: an index of so many generated cards is built, or asked."""
    from mshub_ssd.hub.judging import CardJudge
    from mshub_ssd.registry import Registry
    from mshub_ssd.registry.index import open_index

    source = Generated(count)
    begun = time.perf_counter()
    if build:
        open_index(source, [home], CardJudge())
        helpers = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "build, s": round(time.perf_counter() - begun, 1),
            "processor, s": round(time.process_time() + helpers.ru_utime + helpers.ru_stime, 1),
            "build memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "disk, MB": round(sum(file.stat().st_size for file in home.rglob("*") if file.is_file()) / 1e6, 1),
        }
    registry = Registry([source], [home], CardJudge())
    uid = source.uid(count // 2)
    rounds = 20
    found: dict[str, Any] = {
        "first question, ms": round(1e3 * _timed(lambda: registry.models(limit=1)), 1),
        "one uid, ms": milliseconds(lambda: registry.card(uid), 200),
        "list page, ms": milliseconds(lambda: registry.models(limit=100), rounds),
        "list --task page, ms": milliseconds(lambda: registry.models(task="object-detection", limit=100), 5),
        "families page, ms": milliseconds(lambda: registry.families(limit=100), 5),
        "search page, ms": milliseconds(lambda: registry.search(RARE, 100), rounds),
        "search page of half of all cards, ms": milliseconds(lambda: registry.search("coco2017", 100), 3),
        "cards with the rare word": sum(one.versions for one in registry.search(RARE)),
    }
    found["memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return found


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def sizes(work: Path, counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Each size is built by one process and asked by another."""
    for count in counts:
        found: dict[str, Any] = {}
        home = work / f"rows{count}"
        home.mkdir(mode=0o700)
        for step in ("build", "ask"):
            done = subprocess.run(
                [sys.executable, __file__, "--measure", step, str(count), str(home)],
                env=environment(work),
                stdout=subprocess.PIPE,
                check=True,
            )
            found |= json.loads(done.stdout)
        shutil.rmtree(home)
        yield {str(count): found}


def kept(work: Path) -> dict[str, Any]:
    """One card from a Hub that is kept: among the bundled ones, and among 10,000 others."""
    from mshub_ssd.hub import Hub, default_hub

    bundled = Hub(home=work / "kept")
    found = {
        "bundled: find a card": milliseconds(lambda: bundled.info(UID), 300),
        "bundled: through the module's function": milliseconds(lambda: default_hub().info(UID), 300),
        "bundled: find its path alone": milliseconds(lambda: bundled.registry.path(UID), 300),
    }
    cards = Generated(10_000)
    cards.write(work / "tree10000")
    hub = Hub(registry=work / "tree10000", home=work / "kept")
    found["10000 cards: find one of them"] = milliseconds(lambda: hub.info(cards.uid(9_999)), 300)
    return found


def plot(found: dict[str, Any]) -> str:
    """Time and disk by the number of cards, both logarithmic, as SVG."""
    from math import log10

    lines = {
        "build, s": ("#b2182b", 1e3),
        "search page of half of all cards, ms": ("#ef8a62", 1),
        "families page, ms": ("#762a83", 1),
        "search page, ms": ("#2166ac", 1),
        "list page, ms": ("#1b7837", 1),
        "one uid, ms": ("#555555", 1),
    }
    wide, high, left, top = 560, 380, 70, 20

    def x(count: float) -> float:
        return left + (log10(count) - 3) / 3 * wide

    def y(ms: float) -> float:
        return top + high - (log10(max(ms, 0.1)) + 1) / 8 * high

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide + left + 30} {high + 60}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for power in range(3, 7):
        parts.append(f'<path d="M{x(10**power):.0f} {top}V{top + high}" stroke="#ddd"/>')
        parts.append(f'<text x="{x(10**power):.0f}" y="{top + high + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in range(-1, 8):
        label = f"{10**power:g} ms" if power < 3 else f"{10 ** (power - 3):,} s"
        parts.append(f'<path d="M{left} {y(10.0**power):.0f}H{left + wide}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y(10.0**power) + 4:.0f}" text-anchor="end">{label}</text>')
    for number, (name, (colour, factor)) in enumerate(lines.items()):
        points = []
        for count in SIZES:
            value = found.get(str(count), {}).get(name)
            if value is not None:
                ms = (value["median"] if isinstance(value, dict) else value) * factor
                points.append(f"{x(count):.1f},{y(ms):.1f}")
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        told = name.rpartition(",")[0]
        parts.append(f'<text x="{left + 10}" y="{top + 16 + 15 * number}" fill="{colour}">{told}</text>')
    parts.append(f'<text x="{left + wide / 2}" y="{top + high + 36}" text-anchor="middle">cards</text></svg>\n')
    return "\n".join(parts)


def missed(report: dict[str, Any]) -> list[str]:
    """What is above its limit."""
    found = []
    for name, limits in LIMITS.items():
        part = report.get("cold", {}).get(name) or report.get("sizes", {}).get(name) or {}
        for what, limit in limits.items():
            for key, value in part.items():
                fits = key.endswith("ms above pass") if what == "command, ms" else key.startswith(what.split(",")[0])
                median = value["median"] if isinstance(value, dict) else value
                if fits and median > limit and (what != "search page, ms" or key == what):
                    found.append(f"{name}: {key} is {median}, and not at most {limit}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="a folder of real cards")
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--trees", type=int, nargs="+", default=[3_000, 100_000], help="cards in the generated trees")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, choices=SIZES, help="cards without files")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--work", type=Path, help="where to write the cards")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "registry_speed.json")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        step, count, home = options.measure
        print(json.dumps(measured(int(count), Path(home), step == "build")))
        return 0
    report: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    report["machine"] = f"{system}, Python {platform.python_version()}"
    parts = options.only or PARTS
    work = Path(tempfile.mkdtemp(dir=options.work))

    def keep(name: str, found: dict[str, Any]) -> None:
        report[name] = {**report.get(name, {}), **found, "load": round(os.getloadavg()[0], 1)}
        print(json.dumps({name: found}), flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=2) + "\n")

    try:
        if "cold" in parts:
            for count in options.trees:
                cards = Generated(count)
                root = work / f"tree{count}"
                cards.write(root)
                keep("cold", {f"{count} cards": cold(root, cards.uid(count // 2), work, options.rounds)})
                shutil.rmtree(root)
            if options.folder:
                root = work / "real"
                shutil.copytree(options.folder, root)
                card = next(root.rglob("*.md")).relative_to(root).as_posix().removesuffix(".md")
                keep("cold", {"real cards": cold(root, card, work, options.rounds)})
        if "sizes" in parts:
            for found in sizes(work, options.sizes):
                keep("sizes", found)
        if "kept" in parts:
            keep("kept", kept(work))
        if "plot" in parts and "sizes" in report:
            (ROOT / "docs" / "scale.svg").write_text(plot(report["sizes"]), encoding="utf-8")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    told = missed(report)
    print("\n".join(told) or "nothing is above its limit")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
