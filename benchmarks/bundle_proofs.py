"""2,000 damaged bundles: none is installed, and nothing is written outside the cache.

    python benchmarks/bundle_proofs.py [--count N] [--out FILE]

The tests do the same with 300 in every run.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import bundlelab  # noqa: E402 - needs the path


def main() -> None:
    logging.getLogger("mshub_ssd").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "bundles.json")
    options = parser.parse_args()
    begun = time.monotonic()
    found = bundlelab.hostile(options.count, seed=20)
    report = {
        "command": "python benchmarks/bundle_proofs.py",
        "python": platform.python_version(),
        **found,
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(report, indent=2))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
