"""Whether a search finds what people hope to find.

    python benchmarks/search_quality.py FOLDER [--queries FILE] [--record NAME]

`tests/data/search_queries.json` holds queries and the families that whoever types them hopes to see among the first
three, written down by a reader of a sample of 400 published cards before there was a search. FOLDER is such a sample:
a registry of cards, `publisher/version/name.md`. Where nothing is wanted, nothing may be found, and the nearest must be
offered. `tests/data/search_queries_blind.json` was written down later, from the names of the cards alone, and committed
before it was run, and so was `tests/data/search_queries_third.json`, by somebody who did not know how
the search works: what their first runs gave stands in results/search_quality.json. Prints every miss, and exits with 1
where fewer than 95 % are right.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mshub_ssd.registry import Registry  # noqa: E402 - needs the path

FIRST = 3
LEAST = 0.95


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=Path, default=ROOT / "tests" / "data" / "search_queries.json")
    parser.add_argument("--record", metavar="NAME", help="keep the outcome in the results under this name")
    options = parser.parse_args()
    registry = Registry([options.folder])
    known = {shown.family for shown in registry.families()}
    rows = json.loads(options.queries.read_text(encoding="utf-8"))
    right, missed = 0, []
    for row in rows:
        want = {family for family in known for name in row["want"] if family == name or family.endswith(f"/{name}")}
        if len(want) < len(row["want"]):
            print(f"{row['query']}: not in this folder: {len(row['want']) - len(want)} of the families wanted")
        found = [shown.family for shown in registry.search(row["query"], FIRST)]
        # Where something is wanted and its cards cannot be read, finding nothing is no answer.
        wanted = bool(row["want"])
        good = bool(want.intersection(found)) if wanted else not found and bool(registry.nearest(row["query"]))
        right += good
        if not good:
            missed.append(row["query"])
            print(f"MISSED {row['query']}: wanted {sorted(row['want'])[:4] or 'nothing'}, found {found}")
    print(f"{right} of {len(rows)} right, {right / len(rows):.1%}")
    if options.record:
        results = Path(__file__).parent / "results" / "search_quality.json"
        report = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
        report[options.record] = {"queries": len(rows), "right": right, "missed": missed}
        results.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(right < LEAST * len(rows))


if __name__ == "__main__":
    sys.exit(main())
