"""What it costs a kept Hub to find one card: with the bundled cards, and with many in a folder beside them.

python benchmarks/registry_speed.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mshub_ssd.hub import Hub, default_hub

UID = "mindspore/1.7/ssdresnet50fpn_coco2017"


def milliseconds(call: Callable[[], object], count: int = 300) -> dict[str, float]:
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        taken.append(1e3 * (time.perf_counter() - start))
    return {"median": round(statistics.median(taken), 3), "p95": round(sorted(taken)[int(count * 0.95)], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", type=int, default=10_000, help="cards in the folder")
    options = parser.parse_args()
    results: dict[str, object] = {}
    bundled = Hub()
    results["bundled: find a card"] = milliseconds(lambda: bundled.info(UID))
    results["bundled: through the module's function"] = milliseconds(lambda: default_hub().info(UID))
    results["bundled: find its path alone"] = milliseconds(lambda: bundled.registry.path(UID))
    text = bundled.registry.path(UID).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number in range(options.cards):
            path = root / "own" / str(number % 100) / f"net{number}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        kept = Hub(registry=root)
        last = f"own/{(options.cards - 1) % 100}/net{options.cards - 1}"
        results[f"{options.cards} cards: find one of them"] = milliseconds(lambda: kept.info(last))
        results[f"{options.cards} cards: find a bundled one"] = milliseconds(lambda: kept.info(UID))
        results[f"{options.cards} cards: list the uids"] = milliseconds(kept.list_models, 5)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
