"""Ray: what becomes of pictures when actors and nodes are lost, and what Ray costs beside the stream of one process.

    python benchmarks/ray_proofs.py [losses] [speed] [--pictures N] [--rounds N] [--out FILE]

`losses`: two nodes of two CPUs on this machine, each with a cache of its own, look at 2,000 generated pictures, some of
them broken. On the way an actor is killed, and then a node with all its processes. Every picture must be one row, equal
to what `Predictor.stream` says in one process; a local server counts the downloads of the checkpoint.

`speed`: the same pictures through `Predictor.stream` and through Ray on one node, in turn, with the same cores: two
threads of one process, and two actors with one each. What counts are medians of the ratios of each round, from when a
quarter of the pictures is done to when all are; what Ray needs to start stands beside them. Processor time is that of
all processes of either, the driver's and Ray's own ones included. `ssd_mobilenetV2` has the random weights of the
tests, which find a hundred objects on each picture; the digits' network is so small that everything around it counts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import raylab  # noqa: E402 - needs the path
from asking import Asked  # noqa: E402
from faultserver import FaultServer  # noqa: E402

import mshub_ssd as mshub  # noqa: E402
from mshub_ssd import engines  # noqa: E402

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
NETWORK = "ssd_mobilenetV2"
OPTIONS = {"engine": "openvino", "score_threshold": 0.3}
MOST_SLOWER = 1.25
PARTS = 8  # of each actor

# The contestant that is one process: a line with names in, a line with times out.
STREAM = """
import json, os, sys, time
import mshub_ssd as mshub
predictor = mshub.Predictor(sys.argv[1], **json.loads(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    names, first = json.loads(line)
    for number, _ in enumerate(predictor.stream(names), 1):
        if number == first:
            begun, worked = time.perf_counter(), time.process_time()
    print(json.dumps([time.perf_counter() - begun, time.process_time() - worked]), flush=True)
"""


def losses(work: Path, count: int) -> dict[str, Any]:
    """Lose an actor and a node on the way."""
    broken = tuple(range(77, count, 200))
    names = raylab.paint(work / "pictures", count, broken=broken)
    cards = work / "cards"
    with FaultServer() as server:
        uid = raylab.write_digits(cards, server)
        os.environ.update(MSHUB_REGISTRY=str(cards), MSHUB_HOME=str(work / "home"))
        lost: dict[str, Any] = {}
        with raylab.two_nodes(cpus=2, MSHUB_REGISTRY=str(cards)) as nodes:

            def told(done: int, _: int) -> None:
                if done >= count // 5 and "actor killed at" not in lost:
                    lost["actors of each node"] = [len(nodes.actors(0)), len(nodes.actors(1))]
                    nodes.kill_actor(1)
                    lost["actor killed at"] = done
                elif done >= count // 2 and "node removed at" not in lost:
                    nodes.remove(1)
                    lost["node removed at"] = done

            begun = time.perf_counter()
            done = mshub.ray.run("detector", uid, names, str(work / "out"), options=OPTIONS, told=told)
            seconds = time.perf_counter() - begun
        downloads = sum(request.method == "GET" for request in server.requests)
        with mshub.Predictor(uid, **OPTIONS) as predictor:
            right = {name: raylab.flat(one, name) for name, one in zip(names, predictor.stream(names), strict=True)}
    found = raylab.rows_of(work / "out")
    seen = [row["image"] for row in found]
    rows = {row["image"]: row for row in found}
    report = {
        "network": "digits",
        "pictures": count,
        "broken": len(broken),
        **lost,
        "rows": len(found),
        "every picture once": sorted(seen) == sorted(names),
        "rows that are errors": done.failures,
        "detections": sum(len(row["boxes"] or ()) for row in found),
        "equal to the single machine": rows == right,
        "rows that differ": sum(rows.get(name) != right[name] for name in names),
        "downloads of the checkpoint, two nodes": downloads,
        "seconds": round(seconds, 1),
    }
    ok = report["every picture once"] and report["equal to the single machine"] and downloads == 2
    return {**report, "ok": bool(ok and done.failures == len(broken))}


class Stream(Asked):
    """One process."""

    def __init__(self, uid: str) -> None:
        super().__init__(STREAM, uid, json.dumps(OPTIONS))

    def run(self, names: list[str], first: int) -> tuple[float, float]:
        """Wall and processor seconds for all pictures but the first ones."""
        wall, work = self.ask([names, first])
        return wall, work


def worked() -> float:
    """Processor seconds of this process and all below it that run now, or ended and were waited for."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[1])
            used[int(entry.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    ours = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in ours} - ours
        if not more:
            return sum(used.get(pid, 0.0) for pid in ours)
        ours |= more


@contextlib.contextmanager
def one_node(cpus: int) -> Iterator[None]:
    """A cluster of one node, kept for all rounds."""
    place = Path(tempfile.mkdtemp(prefix="mr", dir="/tmp"))
    # Ray's own processes let others go first, which the stream's does not.
    os.environ.update(raylab.ENVIRONMENT, RAY_TMPDIR=str(place), RAY_worker_niceness="0")
    import ray

    try:
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(place, ignore_errors=True)


def speed(work: Path, counts: dict[str, int], rounds: int) -> dict[str, Any]:
    """Stream and Ray in turn."""
    cards = work / "cards"
    uids = {"digits": DIGITS, NETWORK: raylab.write_model(cards, NETWORK)}
    os.environ.update(MSHUB_REGISTRY=str(cards), MSHUB_HOME=str(work / "home"))
    cores = len(os.sched_getaffinity(0))
    found: dict[str, Any] = {}
    for key, count in counts.items():
        names = raylab.paint(work / f"pictures-{key}", count, side=480)
        stream = Stream(uids[key])
        try:
            table: dict[str, list[float]] = {}
            with one_node(cores):
                for number in range(rounds + 1):
                    row = compared(stream, uids[key], names, cores, work / f"out-{key}-{number}")
                    # The first one fills caches.
                    for name, value in row.items() if number else ():
                        table.setdefault(name, []).append(value)
                    print(key, number, {name: round(value, 2) for name, value in row.items()}, flush=True)
        finally:
            stream.end()
        ratios = [a / b for a, b in zip(table["ray wall"], table["stream wall"], strict=True)]
        # Others than the actor whose part filled the quarter may have had nearly a whole part done by then.
        measured = count - count // 4
        hidden = (cores - 1) * math.ceil(count / (cores * PARTS))
        most = statistics.median(ratios) * measured / (measured - hidden)
        work_ratios = [a / b for a, b in zip(table["ray processor"], table["stream processor"], strict=True)]
        found[key] = {
            "pictures": count,
            "rounds": rounds,
            "cores": cores,
            **{f"{name}, s": round(statistics.median(values), 2) for name, values in table.items()},
            "wall to stream": round(statistics.median(ratios), 3),
            "wall to stream at most": round(most, 3),
            "wall to stream, all rounds": [round(ratio, 3) for ratio in sorted(ratios)],
            "processor to stream": round(statistics.median(work_ratios), 3),
            "ok": most <= MOST_SLOWER,
        }
    return found


def compared(stream: Stream, uid: str, names: list[str], cores: int, out: Path) -> dict[str, float]:
    """One round: seconds for the same pictures on either way."""
    # All actors are at work once a quarter is done: they start one after the other.
    goals = (0, 1, len(names) // 4, len(names))
    marks: list[tuple[int, float, float]] = []

    def told(done: int, _: int) -> None:
        while len(marks) < len(goals) and done >= goals[len(marks)]:
            marks.append((done, time.perf_counter(), worked()))

    mshub.ray.run("detector", uid, names, str(out), options=OPTIONS, actors=cores, told=told)
    shutil.rmtree(out)
    (_, begun, _), (_, first_part, _), (first, since, before), (_, ended, after) = marks
    wall, work = stream.run(names, first)
    return {
        "stream wall": wall,
        "ray wall": ended - since,
        "stream processor": work,
        "ray processor": after - before,
        "ray until the first part": first_part - begun,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", choices=("losses", "speed", []), help="one of them")
    parser.add_argument("--pictures", type=int, default=2000, help="of losses")
    parser.add_argument("--rounds", type=int, default=7, help="of speed")
    parser.add_argument(
        "--speed-pictures", type=int, default=2400, help="of speed, for the digits; a sixth for the other"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "ray.json")
    options = parser.parse_args()
    report: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    report |= {
        "command": "python benchmarks/ray_proofs.py",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "ray": version("ray"),
        "engines": engines.installed(),
        "python": platform.python_version(),
    }
    today = datetime.now(timezone.utc).date().isoformat()
    ok = True
    with tempfile.TemporaryDirectory() as work:
        for name in options.only or ("losses", "speed"):
            load = round(os.getloadavg()[0], 1)
            if name == "losses":
                part = losses(Path(work) / "losses", options.pictures)
                ok = ok and part["ok"]
            else:
                counts = {"digits": options.speed_pictures, NETWORK: options.speed_pictures // 6}
                part = speed(Path(work) / "speed", counts, options.rounds)
                ok = ok and all(row["ok"] for row in part.values())
            report[name] = {"date": today, "load before": load, **part}
            print(json.dumps({name: report[name]}, indent=1), flush=True)
            options.out.write_text(json.dumps(report, indent=2) + "\n")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
