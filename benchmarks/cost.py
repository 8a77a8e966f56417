"""What a million pictures cost: three networks through `Predictor.stream`, from files to detections.

    python benchmarks/cost.py [--rounds N] [--seconds S] [--price P] [--out FILE]

Each network is a process of its own, all are there from the start, and they look at the same generated JPEG files of
640 x 480 in turn, so that what else the machine does meets all alike. Wall time counts where the machine is quiet (the
load stands beside it), processor time (user and system, all threads: reading, decoding, resizing, the network,
post-processing) anywhere. The larger networks have the random weights of the tests, which find a hundred objects on
each picture.

A million pictures cost 10^6 x processor seconds / 3600 processor-hours; `--price` is an example of what one costs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import raylab  # noqa: E402 - needs the path
from asking import Asked  # noqa: E402

from mshub_ssd import engines  # noqa: E402

NETWORKS = ("digits", "ssd_mobilenetV2", "ssd_resnet50_fpn")
FILES = 64

# A line with a number of pictures in, a line with wall and processor seconds out.
WORKER = """
import itertools, json, resource, sys, time
import mshub_ssd as mshub
names = json.loads(sys.argv[2])
predictor = mshub.Predictor(sys.argv[1], engine=sys.argv[3])
list(predictor.stream(names[:8]))
print("ready", flush=True)
for line in sys.stdin:
    begun, worked = time.perf_counter(), time.process_time()
    for _ in predictor.stream(itertools.islice(itertools.cycle(names), int(line))):
        pass
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([time.perf_counter() - begun, time.process_time() - worked, memory]), flush=True)
"""


class Worker(Asked):
    """A process with a network."""

    def __init__(self, uid: str, names: list[str], engine: str) -> None:
        super().__init__(WORKER, uid, json.dumps(names), engine)

    def run(self, count: int) -> tuple[float, float]:
        """Wall and processor seconds of one of so many pictures; `memory` is known afterwards, its most in MB."""
        wall, work, self.memory = self.ask(count)
        return wall / count, work / count


def measure(workers: dict[str, Worker], rounds: int, seconds: float, price: float) -> dict[str, Any]:
    """Medians, and what follows from them."""
    counts = {key: max(8, round(seconds / worker.run(16)[0])) for key, worker in workers.items()}
    wall: dict[str, list[float]] = {key: [] for key in workers}
    work: dict[str, list[float]] = {key: [] for key in workers}
    for number in range(rounds):
        for key in random.Random(number).sample(list(workers), len(workers)):
            took, worked = workers[key].run(counts[key])
            wall[key].append(took)
            work[key].append(worked)
    table = {}
    for key in workers:
        took, worked = statistics.median(wall[key]), statistics.median(work[key])
        hours = 1e6 * worked / 3600
        table[key] = {
            "pictures per round": counts[key],
            "pictures per second": round(1 / took, 1),
            "processor ms per picture": round(1e3 * worked, 2),
            "processor ms per picture, least and most": [round(1e3 * f(work[key]), 2) for f in (min, max)],
            "most memory, MB": round(workers[key].memory),
            "processor-hours per million": round(hours, 2),
            f"money per million at {price:g} an hour": round(hours * price, 2),
        }
    return table


def reading(folder: Path) -> dict[str, float]:
    """Processor milliseconds that reading a file takes, by its size in pixels."""
    from mshub_ssd.pictures import read_image

    found = {}
    for width, height in ((640, 480), (4000, 3000)):
        name = raylab.paint(folder / str(width), 1, side=height, width=width)[0]
        times = []
        for _ in range(9):
            begun = time.process_time()
            read_image(name)
            times.append(time.process_time() - begun)
        found[f"{width} x {height}"] = round(1e3 * statistics.median(times), 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a measurement")
    parser.add_argument("--price", type=float, default=0.05, help="of a processor-hour, in any currency")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cost.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        names = raylab.paint(work / "pictures", FILES, side=480, width=640)
        uids = {"digits": "mshub/1.0/ssdmobilenetv2_digits"}
        uids |= {key: raylab.write_model(work / "cards", key) for key in NETWORKS[1:]}
        os.environ.update(MSHUB_REGISTRY=str(work / "cards"), MSHUB_HOME=str(work / "home"))
        workers: dict[str, Worker] = {}
        try:
            for key in NETWORKS:
                workers[key] = Worker(uids[key], names, options.engine)
            before = [round(value, 1) for value in os.getloadavg()]
            read = reading(work)
            figures = measure(workers, options.rounds, options.seconds, options.price)
        finally:
            for worker in workers.values():
                worker.end()
        size = round(statistics.mean(Path(name).stat().st_size for name in names) / 1e3, 1)
    report = {
        "command": "python benchmarks/cost.py",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "engines": engines.installed(),
        "engine": options.engine,
        "python": platform.python_version(),
        "load before": before,
        "load after": [round(value, 1) for value in os.getloadavg()],
        "pictures": "JPEG files of 640 x 480, quality 85",
        "kB per picture": size,
        "reading a picture, processor ms": read,
        "rounds": options.rounds,
        "networks": figures,
    }
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
