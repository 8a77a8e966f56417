"""The promises of the registry's index at full size; tests/test_registry_index.py proves them small in every run.

    python benchmarks/registry_proofs.py [--only NAME ...] [--scale X] [--out FILE]

Experiments: crowd (64 processes at once on 3,000 cards without an index: at most 3 times one build's work above what
64 processes cost whose index is there, no error, one answer), kills (50 kill -9 while an index is built and 200 while
it is refreshed, at random moments: each next answer is that of a new index, and nothing piles up), damage (16 kinds of
damage, 20 times each: right answers, but for flipped bits that SQLite does not notice, which are counted). Each stops
at the first broken promise. Results are merged into the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

import registrylab as lab  # noqa: E402 - needs the path
from registry_cards import Generated  # noqa: E402

from mshub_ssd.registry.index import discard  # noqa: E402

SEED = 13


def crowd(work: Path, count: int) -> dict[str, Any]:
    """Many processes at once."""
    root, home = work / "tree", work / "home"
    Generated(3000).write(root)
    for folder in (home, work / "one"):
        folder.mkdir(mode=0o700)
    alone, _ = lab.crowd(root, work / "one", 1)
    time.sleep(2.1)  # what has just been written is read once more
    lab.crowd(root, work / "one", 1)
    warm, _ = lab.crowd(root, work / "one", 1)
    begun = time.monotonic()
    cold, said = lab.crowd(root, home, count)
    seconds = time.monotonic() - begun
    again, later = lab.crowd(root, home, count)
    build = alone - warm
    found = {
        "processes": count,
        "one build, s of processor": round(build, 2),
        "all, index cold": round(cold, 2),
        "all, index warm": round(again, 2),
        "work, in builds": round((cold - again) / build, 2),
        "seconds": round(seconds, 1),
    }
    assert len(said | later) == 1, said | later
    assert cold - again <= 3 * build, found
    return found


def kills(work: Path, count: int) -> dict[str, Any]:
    """Processes that are killed at random moments."""
    root, home = work / "cards", work / "home"
    lab.write_cards(root, 200)
    home.mkdir(mode=0o700)
    lab.asked(root, home)
    few = max(1, count // 4)
    return {
        "while building": {"killed": few, "started": lab.kills(root, home, few, seed=SEED, cold=True)},
        "while refreshing": {"killed": count, "started": lab.kills(root, home, count, seed=SEED + 1, cold=False)},
        "left in the cache": len(list((home / "index").iterdir())),
    }


def damage(work: Path, count: int) -> dict[str, Any]:
    """Files that were damaged."""
    root, home = work / "cards", work / "home"
    lab.write_cards(root, 200)
    home.mkdir(mode=0o700)
    right = lab.asked(root, home)
    chance = random.Random(SEED)
    names = sorted(lab.damages(lab.index_file(home), chance))
    silent = 0
    for _ in range(count):
        for name in names:
            lab.damages(lab.index_file(home), chance)[name]()
            found = lab.asked(root, home)
            assert found == right or name == lab.BITS, name
            if found != right:
                silent += 1
                discard(lab.index_file(home).parent)
                lab.asked(root, home)
    return {"kinds": len(names), "damaged": count * len(names), f"{lab.BITS}, not noticed": f"{silent} of {count}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="an experiment's name")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "registry_proofs.json")
    options = parser.parse_args()
    report: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    report["command"] = "python benchmarks/registry_proofs.py"
    report["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    for run, size in ((crowd, 64), (kills, 200), (damage, 20)):
        if options.only and run.__name__ not in options.only:
            continue
        work = Path(tempfile.mkdtemp())
        try:
            report[run.__name__] = run(work, max(2, round(size * options.scale)))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        print(json.dumps({run.__name__: report[run.__name__]}), flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
