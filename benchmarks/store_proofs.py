"""The store's promises at full size; the tests prove them small in every run.

    python benchmarks/store_proofs.py [--only NAME ...] [--scale X] [--out FILE]

Experiments: kills (1,000 kill -9 of a 64 MiB download at random moments), calls (a kill before each call into the
system), graphs (200 kill -9 while a graph of 64 MiB is written), interrupts (300 Ctrl-C), crowd (32 processes, 20
rounds, with locks and without), matrix (every fault, with and without a part, 1 and 3 mirrors), scripts (3,000
random ones), turmoil (fetching, killing, verifying, pruning and removing at once), flips (10,000 bits), hostile
(2,000 names). Each stops at the first broken promise. Results are merged into the file, so that experiments can be
run one by one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import storelab  # noqa: E402 - needs the path

from mshub_ssd.errors import WeakDigestWarning  # noqa: E402

SEED = 20


def matrix() -> dict[str, Any]:
    """All faults in all situations."""
    cases = [
        (name, part, mirrors) for name in storelab.FAULTS for part in ("none", "good", "bad") for mirrors in (1, 3)
    ]
    slowest, tally = 0.0, Counter[str]()
    for name, part, mirrors in cases:
        begun = time.monotonic()
        tally[storelab.matrix(name, part=part, mirrors=mirrors)] += 1
        slowest = max(slowest, time.monotonic() - begun)
    return {
        "faults": len(storelab.FAULTS),
        "cases": len(cases),
        "first call": dict(tally),
        "slowest, s": round(slowest, 2),
    }


def interrupts(rounds: int) -> dict[str, Any]:
    """Ctrl-C, after which nobody waits for a second."""
    found = storelab.interrupts(rounds, 16 << 20, seed=SEED)
    assert found["slowest end, s"] < 1
    return found


def experiments(scale: float) -> dict[str, Callable[[], dict[str, Any]]]:
    """Name → experiment."""

    def times(count: int) -> int:
        return max(2, round(count * scale))

    return {
        "kills": lambda: storelab.kills(times(1000), 64 << 20, seed=SEED),
        "calls": lambda: storelab.kills_at_calls(200_000),
        "graphs": lambda: storelab.graph_kills(times(200), 64 << 20, seed=SEED),
        "interrupts": lambda: interrupts(times(300)),
        "crowd, locks on": lambda: storelab.crowd(32, times(20), 16 << 20, locks=True),
        "crowd, locks off": lambda: storelab.crowd(32, times(20), 16 << 20, locks=False),
        "matrix": matrix,
        "scripts": lambda: storelab.scripts(times(3000), seed=SEED),
        "turmoil": lambda: storelab.turmoil(16, kills=times(1000), fetches=times(60_000), seed=SEED),
        "flips": lambda: storelab.flips(times(10_000), 100_000, seed=SEED),
        "hostile": lambda: storelab.hostile(times(2000), seed=SEED),
    }


def main() -> None:
    logging.getLogger("mshub_ssd").setLevel(logging.ERROR)  # tens of thousands of warnings otherwise
    warnings.simplefilter("ignore", WeakDigestWarning)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="an experiment's name, or its beginning")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "store.json")
    options = parser.parse_args()
    report: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    report["command"] = "python benchmarks/store_proofs.py"
    report["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    for name, run in experiments(options.scale).items():
        if options.only and not any(name.startswith(start) for start in options.only):
            continue
        begun = time.monotonic()
        found = {**run(), "python": platform.python_version(), "seconds": round(time.monotonic() - begun, 1)}
        report[name] = found
        print(json.dumps({name: found}), flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
