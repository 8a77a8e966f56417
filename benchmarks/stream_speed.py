"""How fast many pictures go through `mshub detect`, held against what engine and decoding take by themselves.

    python benchmarks/stream_speed.py [--pictures N] [--side W H] [--rounds N] [--only KEY ...] [--memory] [--out FILE]

For the digits and for an ssd_mobilenetV2 with generated weights, in turn, each in a process of its own that may use the
same processors:

- engine: the network alone on prepared inputs, as many at once as the engine likes;
- decoding: `read_image` alone, by a thread per processor;
- arrays: `Predictor.stream` over decoded pictures, so the network with what belongs to it: resizing, post-processing;
- command: `mshub detect DIR --format jsonl --out FILE`, from its start to its end;
- start: the same over eight pictures, so that command - start is what the others took;
- Cell: a loop of `mshub.detect(network, path)` on the Cell, which MindSpore compiles; beside it the command in bf16,
  where the CPU has it, for in float32 OpenVINO by itself is 2.8 times as fast on ssd_mobilenetV2.

Engine and decoding together can give 1 / (1 / engine + 1 / decoding) pictures a second; what counts are medians, over
the rounds, of the command's speed to that. The same with arrays in the engine's place (`running to overlap`) tells what
is lost by doing both at once. `--memory` compares the memory of 10,000 pictures with that of 1,000.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from cold_start import CARD, environment, picture
from engine_speed import DIGITS, ROOT, engines, machine

MOBILENET = "bench/1.0/ssdmobilenetv2_coco2017"
MODELS = {"digits": DIGITS, "ssd_mobilenetV2": MOBILENET}
FEW = 8
SHARES = {"digits": 1.0, "ssd_mobilenetV2": 0.1}  # of the pictures, or it would take all day
CELLS = {"digits": 150, "ssd_mobilenetV2": 12}
LEAST, LEAST_CELL, MOST_MEMORY = 0.85, 3.0, 50e6

# A process counts as its own what the one that started it had in memory: so it is started by a small one.
LAUNCHER = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""

WORKER = """
import json, os, sys, time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import mshub_ssd as mshub
from mshub_ssd import bulk, pictures

what, uid, count, files = sys.argv[1], sys.argv[2], int(sys.argv[3]), sorted(map(str, Path(sys.argv[4]).iterdir()))
files = (files * (count // len(files) + 1))[:count]
bulk.keep_freed_memory()
cores = len(os.sched_getaffinity(0))
if what == "decoding":
    def read(path):
        pictures.read_image(path)
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(read, files[:16]))
        begun = time.perf_counter()
        list(pool.map(read, files))
elif what == "arrays":
    seen = [pictures.read_image(path) for path in files[:32]]
    with mshub.Predictor(uid) as predictor:
        for _ in predictor.stream(seen):
            pass
        begun = time.perf_counter()
        for _ in predictor.stream(seen[number % len(seen)] for number in range(count)):
            pass
elif what == "engine":
    pipeline, _ = mshub.Predictor(uid)._open()
    inputs = [pipeline.family.preprocess(pictures.read_image(path))[0] for path in files[:32]]
    flow, under_way = pipeline.runner.flow(), deque()
    for turn in range(2):
        begun = time.perf_counter()
        for number in range(count if turn else 16):
            if len(under_way) == flow.depth:
                under_way.popleft().result()
            under_way.append(flow.start(inputs[number % len(inputs)]))
        while under_way:
            under_way.popleft().result()
else:
    network = mshub.load(uid)
    mshub.detect(network, files[0])
    begun = time.perf_counter()
    for path in files:
        mshub.detect(network, path)
print(count / (time.perf_counter() - begun))
"""


def prepare(folder: Path, count: int, side: tuple[int, int]) -> dict[str, str]:
    """Pictures, a registry with the larger model, and the environment of the commands."""
    import cv2
    import networks
    from PIL import Image

    home = folder / "registry" / Path(MOBILENET).parent
    home.mkdir(parents=True)
    file = networks.save_checkpoint(home / "ssdresnet50fpn.ckpt", networks.weights("ssd_mobilenetV2"))
    card = CARD.format(digest=hashlib.sha256(file.read_bytes()).hexdigest())
    card = card.replace("network: ssd_resnet50_fpn", "network: ssd_mobilenetV2")
    (home / f"{Path(MOBILENET).name}.md").write_text(card, encoding="utf-8")
    digits = np.asarray(Image.open(ROOT / "mshub_ssd/cli/demo_digits.png").convert("RGB"))
    base = cv2.resize(digits, side, interpolation=cv2.INTER_CUBIC) // 2 + picture(side[1], side[0]) // 2
    (folder / "pictures").mkdir()
    for number in range(count):
        moved = np.roll(base, (7 * number, 13 * number), (0, 1))
        Image.fromarray(moved).save(folder / f"pictures/{number}.jpg", quality=90)
    return environment(folder)


def linked(folder: Path, name: str, count: int) -> Path:
    """A folder of so many pictures, which are the generated ones under other names."""
    made, files = folder / name, sorted((folder / "pictures").iterdir())
    if not made.exists():
        made.mkdir()
        for number in range(count):
            os.link(files[number % len(files)], made / f"{number:05}.jpg")
    return made


def command(
    folder: Path, uid: str, pictures: Path, environ: dict[str, str], precision: str = "f32"
) -> tuple[float, int]:
    """Seconds that `mshub detect` takes over a folder, and its memory at most."""
    out = folder / "out.jsonl"
    words = ["-q", "--precision", precision, "--model", uid, "--format", "jsonl", "--out", str(out)]
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, sys.executable, "-m", "mshub_ssd", "detect", str(pictures), *words],
        env=environ,
        stdout=subprocess.PIPE,
        check=False,
    )
    took = time.perf_counter() - begun
    rows = out.read_bytes().count(b"\n")
    if done.returncode or rows != len(list(pictures.iterdir())):
        raise SystemExit(f"mshub detect: code {done.returncode}, {rows} rows")
    return took, int(done.stdout) * 1024


def worker(what: str, uid: str, count: int, pictures: Path, environ: dict[str, str]) -> float:
    """Pictures a second of one thing alone."""
    words = [sys.executable, "-c", WORKER, what, uid, str(count), str(pictures)]
    return float(subprocess.run(words, env=environ, check=True, capture_output=True, text=True).stdout.split()[-1])


def speed(key: str, folder: Path, count: int, rounds: int, environ: dict[str, str]) -> dict[str, Any]:
    """All contestants in turn, for one model."""
    uid, count = MODELS[key], max(FEW + 1, round(count * SHARES[key]))
    all_of, few = linked(folder, f"of {count}", count), linked(folder, "few", FEW)
    command(folder, uid, few, environ)  # graphs are made
    seen: list[dict[str, float]] = []
    for number in range(rounds):
        one = {what: worker(what, uid, count, all_of, environ) for what in ("engine", "decoding", "arrays")}
        whole, start = command(folder, uid, all_of, environ)[0], command(folder, uid, few, environ)[0]
        one["Cell"] = worker("Cell", uid, CELLS[key], all_of, environ)
        bound = 1 / (1 / one["engine"] + 1 / one["decoding"])
        one["command"], one["running"], one["start s"] = count / whole, (count - FEW) / (whole - start), start
        one["command to bound"], one["running to bound"] = one["command"] / bound, one["running"] / bound
        one["running to overlap"] = one["running"] * (1 / one["arrays"] + 1 / one["decoding"])
        one["command to Cell"] = one["command"] / one["Cell"]
        if engines.has_bf16():
            one["bf16 to Cell"] = count / command(folder, uid, all_of, environ, "bf16")[0] / one["Cell"]
        seen.append(one)
        print(key, number, {name: round(value, 3) for name, value in one.items()}, flush=True)
    return {
        "pictures": count,
        **{name: round(statistics.median(one[name] for one in seen), 3) for name in seen[0]},
        "rounds": [{name: round(value, 3) for name, value in one.items()} for one in seen],
    }


def memory(folder: Path, environ: dict[str, str]) -> dict[str, float]:
    """What 10,000 pictures take more than 1,000."""
    took = {count: command(folder, DIGITS, linked(folder, f"m {count}", count), environ)[1] for count in (1000, 10_000)}
    return {f"{count} pictures, MB": round(most / 1e6, 1) for count, most in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--side", type=int, nargs=2, default=(1280, 960), metavar=("W", "H"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        environ = prepare(folder, min(arguments.pictures, 200), tuple(arguments.side))
        found: dict[str, Any] = {**machine(), "sides": list(arguments.side), "load before": list(os.getloadavg())}
        for key in arguments.only:
            found[key] = speed(key, folder, arguments.pictures, arguments.rounds, environ)
        if arguments.memory:
            found["memory"] = memory(folder, environ)
    failures = [
        f"{key}: running to bound {found[key]['running to bound']} < {LEAST}"
        for key in arguments.only
        if found[key]["running to bound"] < LEAST
    ]
    for key in arguments.only:
        best = max(found[key]["command to Cell"], found[key].get("bf16 to Cell", 0))
        failures += [f"{key}: to Cell {best} < {LEAST_CELL}"] * (best < LEAST_CELL)
    if arguments.memory:
        few, many = found["memory"].values()
        failures += [f"memory: {many} MB, {few} MB"] * ((many - few) * 1e6 > MOST_MEMORY)
    found["failures"] = failures
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
