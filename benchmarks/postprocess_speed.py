"""What post-processing costs: 51,150 boxes and 80 classes with random weights, all of them and the best 100.

python benchmarks/postprocess_speed.py [--json FILE] [--outputs FILE.npz]

The made-up outputs are like those of ssd_resnet50_fpn with random weights: smooth over the picture, some classes high
everywhere, 165,000 scores above the published threshold. `--outputs` takes a network's own: arrays `loc` [1, 51150, 4]
and `scores` [1, 51150, 81]. OpenMMLab's SSD512 is measured with random logits, and with a background that wins nearly
everywhere, as in a trained network. Processor time of all threads, medians; the ways take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mshub_ssd import families
from mshub_ssd.networks.ssd.anchors import PyramidAnchors
from mshub_ssd.networks.ssd.config import SSDConfig, class_names
from mshub_ssd.networks.ssd.openmmlab_config import OpenMMLabConfig, StridedAnchors, percent_sizes

SIZE = (480, 640)
WANTED = 165_000
LIMITS = {"ssd, best 100": 10.0, "ssd, all": 40.0}  # milliseconds
PYRAMID = SSDConfig("ssd_resnet50_fpn", 640, 81, class_names(81), PyramidAnchors(640, (8, 16, 32, 64, 128)))
SSD512 = OpenMMLabConfig(
    "openmmlab_ssd512",
    512,
    81,
    class_names(81),
    StridedAnchors(
        512,
        (64, 32, 16, 8, 4, 2, 1),
        (8, 16, 32, 64, 128, 256, 512),
        percent_sizes(512, (4, 10), 10, 7),
        ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    ),
)


def smooth(rng: np.random.Generator, side: int, channels: int) -> np.ndarray:
    """Random maps [side, side, channels] whose neighbours are alike."""
    coarse = rng.normal(0, 1, (side // 4 + 2, side // 4 + 2, channels))
    index = np.arange(side) / 4
    low, part = index.astype(int), (index % 1)[:, None, None]
    rows = coarse[low] * (1 - part) + coarse[low + 1] * part
    part = part.reshape(1, -1, 1)
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part + 0.3 * rng.normal(0, 1, (side, side, channels))


def pyramid_outputs() -> tuple[np.ndarray, np.ndarray]:
    """Offsets [1, 51150, 4] and scores [1, 51150, 81]."""
    rng = np.random.default_rng(0)
    sides = [640 // step for step in (8, 16, 32, 64, 128)]
    offsets = np.concatenate([smooth(rng, side, 24).reshape(-1, 4) for side in sides])
    logits = np.concatenate([smooth(rng, side, 6 * 81).reshape(-1, 81) for side in sides]) * 0.35
    logits += rng.normal(0, 0.4, 81)
    # As many above the threshold as the network's own outputs have.
    threshold = np.log(0.1 / 0.9)
    logits += threshold - np.partition(logits[:, 1:].reshape(-1), -WANTED)[-WANTED]
    return offsets.astype(np.float32)[None], (1 / (1 + np.exp(-logits))).astype(np.float32)[None]


def map_outputs(background: float) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Maps of class logits, whose last class is that much higher, and of deltas."""
    rng = np.random.default_rng(1)
    levels = list(zip(SSD512.anchor_spec.per_cell, SSD512.anchor_spec.feature_sizes, strict=True))
    scores = tuple(rng.normal(0, 1, (1, count * 81, side, side)).astype(np.float32) for count, side in levels)
    for score in scores:
        score[:, 80::81] += background
        if background:  # one cell in fifty sees something
            score[:, :80] += 8 * (rng.random(score[:, :80].shape) < 1 / 50 / 80)
    return scores, tuple(rng.normal(0, 1, (1, count * 4, side, side)).astype(np.float32) for count, side in levels)


def ways(outputs: tuple[np.ndarray, np.ndarray]) -> dict[str, Callable[[], Any]]:
    """What is measured, by name."""
    found: dict[str, Callable[[], Any]] = {}

    def add(name: str, config: Any, raw: Any, most: int | None) -> None:
        family = families.of(config)
        assert family is not None
        options, transforms = family.options(max_detections=most), [family.transform(SIZE)]
        found[name] = lambda: family.postprocess(raw, transforms, options)[0]

    add("ssd, best 100", PYRAMID, outputs, 100)
    add("ssd, all", PYRAMID, outputs, None)
    for name, background in (("random", 0.0), ("trained", 10.0)):
        raw = map_outputs(background)
        add(f"openmmlab {name}, best 100", SSD512, raw, 100)
        add(f"openmmlab {name}, published 200", SSD512, raw, None)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--outputs", type=Path, help="a network's own outputs")
    parser.add_argument("--rounds", type=int, default=31)
    chosen = parser.parse_args()
    if chosen.outputs:
        with np.load(chosen.outputs) as stored:
            outputs = stored["loc"], stored["scores"]
    else:
        outputs = pyramid_outputs()
    taken: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    measured = ways(outputs)
    for _ in range(chosen.rounds):
        for name, way in measured.items():
            start = time.process_time()
            counts[name] = len(way())
            taken.setdefault(name, []).append(1e3 * (time.process_time() - start))
    figures = {
        name: {
            "median_ms": round(statistics.median(values), 2),
            "least_ms": round(min(values), 2),
            "found": counts[name],
        }
        for name, values in taken.items()
    }
    report = {
        "command": "python benchmarks/postprocess_speed.py",
        "outputs": chosen.outputs.name if chosen.outputs else "made up",
        "candidates": int((outputs[1][0, :, 1:] > np.float32(0.1)).sum()),
        "rounds": chosen.rounds,
        "machine": {"cpu": cpu(), "cores": os.cpu_count(), "load": [round(load, 2) for load in os.getloadavg()]},
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processor_time": figures,
        "limits_ms": LIMITS,
    }
    print(json.dumps(report, indent=2))
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return int(any(figures[name]["median_ms"] > limit for name, limit in LIMITS.items()))


def cpu() -> str:
    """The processor's name, and its widest vectors."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    facts = dict(line.split("\t: ", 1) for line in lines if "\t: " in line)
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    widest = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "")
    return f"{facts.get('model name', '').strip()} {widest}".strip()


if __name__ == "__main__":
    sys.exit(main())
