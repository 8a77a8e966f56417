"""What the first picture costs: new processes, in turn, until `mshub detect` has answered; and what every picture does.

    python benchmarks/cold_start.py [--around] [--rounds N] [--out FILE]

For the digits and for an ssd_resnet50_fpn with generated weights, each in a cache and a registry of its own: `mshub
detect` on OpenVINO and ONNX Runtime, whose graph is in the cache, and on MindSpore; beside them a Python that imports
NumPy, OpenCV and ONNX Runtime and does nothing. Files are in the system's memory. Processor time is user and system of
the process and all it waits for; what counts are medians of the ratios of each round. It also tells what of MindSpore
the engines import (nothing), and which imports cost most.

`--around` measures what is done around ssd_resnet50_fpn on OpenVINO in a process that has begun: reading, resizing,
normalising and post-processing, as shares of the whole.
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from engine_speed import DIGITS, ROOT, load, machine

LARGE = "bench/1.0/ssdresnet50fpn_coco2017"
ENGINES = ("openvino", "onnxruntime", "mindspore")
BARE = "import numpy, cv2, onnxruntime"
STEPS = ("read", "resize and normalise", "network", "post-process")
FEW = 1000
MOST_AROUND = 0.1
CARD = """# ssd_resnet50_fpn

---

model-name: ssdresnet50fpn

backbone-name: resnet50fpn

module-type: cv-object_detection

model-version: "1.0"

train-dataset: coco2017

user-id: bench

used-for: inference

network: ssd_resnet50_fpn

asset:

-
    file-format: ckpt
    asset-link: ssdresnet50fpn.ckpt
    asset-sha256: "{digest}"

license: Apache-2.0

---
"""
# The most a median may be: of which command, to what.
LIMITS = {
    ("digits, openvino", "digits, mindspore"): 0.2,
    ("ssd_resnet50_fpn, openvino", "ssd_resnet50_fpn, mindspore"): 0.3,
    ("digits, onnxruntime", BARE): 3.0,
}


def prepare(folder: Path) -> dict[str, str]:
    """A registry with the large model, a picture, and the environment of the commands."""
    import cv2
    import networks

    home = folder / "registry" / Path(LARGE).parent
    home.mkdir(parents=True)
    file = networks.save_checkpoint(home / "ssdresnet50fpn.ckpt", networks.weights("ssd_resnet50_fpn"))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (home / f"{Path(LARGE).name}.md").write_text(CARD.format(digest=digest), encoding="utf-8")
    cv2.imwrite(str(folder / "picture.jpg"), picture())
    return environment(folder)


def environment(folder: Path) -> dict[str, str]:
    """What commands run in that have their cache and their registry in a folder."""
    # As an installed package, whose modules are compiled once.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **environ,
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        "PYTHONPATH": str(ROOT),
        "MSHUB_HOME": str(folder / "home"),
        "MSHUB_REGISTRY": str(folder / "registry"),
        "MSHUB_OFFLINE": "1",
    }


def picture(height: int = 480, width: int = 640) -> np.ndarray:
    """Something like a photograph: smooth, with noise and edges."""
    import cv2

    random = np.random.default_rng(0)
    rough = random.uniform(0, 255, (height // 40, width // 40, 3)).astype(np.float32)
    smooth = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    smooth[height // 4 : height // 2, width // 3 : width // 2] = (30, 60, 200)
    return np.clip(smooth + random.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def detecting(folder: Path, uid: str, engine: str) -> list[str]:
    words = ["-m", "mshub_ssd", "detect", str(folder / "picture.jpg"), "--model", uid, "--engine", engine, "--json"]
    return [sys.executable, *words]


def run(command: Sequence[str], environ: Mapping[str, str]) -> tuple[float, float]:
    """Wall and processor seconds of a command."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(command, env=dict(environ), stdout=subprocess.DEVNULL, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            told.seek(0)
            raise SystemExit(f"{' '.join(command)}\n{told.read().decode()}")
    return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime


def around(folder: Path, rounds: int) -> dict[str, Any]:
    """What is done around ssd_resnet50_fpn on OpenVINO, from a JPEG of 640 x 480 to the best 100 detections.

    Random weights, such as the golden ones, have far more scores above the threshold than trained ones: so the biases
    of the classes are moved, down until a thousand are above, and up until nearly all are.
    """
    import cv2
    import recordlab

    from mshub_ssd import engines, families, pictures

    file = folder / "picture.jpg"
    cv2.imwrite(str(file), picture())
    recording = engines.record("ssd_resnet50_fpn")
    golden = recordlab.weights(recording.graph, "ssd_resnet50_fpn")
    family = families.of(recording.config)
    assert family is not None
    options = family.options()

    def moved(by: float) -> engines.Runner:
        weights = {
            name: value + np.float32(by) if name.endswith("bias") and len(value) % 81 == 0 else value
            for name, value in golden.items()
        }
        return engines.runner(engines.onnx_bytes(recording.graph, weights), "openvino")

    scores = moved(0.0).run(family.preprocess(pictures.read_image(file))[0])[1][0, :, 1:]
    last = float(np.partition(scores, -FEW, axis=None)[-FEW])
    limit = options.score_threshold
    down = float(np.log(limit / (1 - limit)) - np.log(last / (1 - last)))
    report: dict[str, Any] = {}
    for name, by in {"a thousand scores above the threshold": down, "golden weights": 0.0, "worst case": 4.0}.items():
        runner = moved(by)
        times = np.zeros((rounds + 2, len(STEPS), 2))
        for row in times:
            clock = [_now()]
            rgb = pictures.read_image(file)
            clock.append(_now())
            batch, transform = family.preprocess(rgb)
            clock.append(_now())
            outputs = runner.run(batch)
            clock.append(_now())
            found = family.postprocess(outputs, [transform], options, pictures=[rgb])[0]
            clock.append(_now())
            row[:] = np.diff(clock, axis=0)
        runner.close()
        times = times[2:]  # the first two warm up
        share = np.median(1 - times[:, STEPS.index("network")] / times.sum(1), axis=0)
        report[name] = {
            "scores above the threshold": int((outputs[1][0, :, 1:] > limit).sum()),
            "found": len(found),
            "wall and processor ms": {
                step: [round(1e3 * float(value), 2) for value in np.median(times[:, number], axis=0)]
                for number, step in enumerate(STEPS)
            },
            "share of all but the network": {"wall": round(float(share[0]), 4), "processor": round(float(share[1]), 4)},
        }
    return report


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def imports(command: Sequence[str], environ: Mapping[str, str], most: int = 12) -> dict[str, Any]:
    """What a command imports: how much of MindSpore, and what takes longest with and without all below it."""
    done = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]], env=dict(environ), capture_output=True, text=True, check=True
    )
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "import time:" in line]
    times = [(int(own), int(all_), name.strip()) for own, all_, name in rows[1:]]
    return {
        "modules": len(times),
        "of MindSpore": sum(name.partition(".")[0] == "mindspore" for _, _, name in times),
        "own ms": {name: round(own / 1000, 1) for own, _, name in sorted(times)[: -most - 1 : -1]},
        "ms with all below": {
            name: round(all_ / 1000, 1) for _, all_, name in sorted(times, key=lambda row: row[1])[: -2 * most : -1]
        },
    }


def measure(commands: Mapping[str, Sequence[str]], environ: Mapping[str, str], rounds: int) -> dict[str, Any]:
    """Medians of interleaved runs, and the ratios that have a limit."""
    walls: dict[str, list[float]] = {name: [] for name in commands}
    works: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():  # graphs are made, files are read
        run(command, environ)
    for _ in range(rounds):
        for name, command in commands.items():
            wall, work = run(command, environ)
            walls[name].append(wall)
            works[name].append(work)
    ratios = {
        f"{one} / {other}": {
            "median": round(statistics.median(a / b for a, b in zip(works[one], works[other], strict=True)), 3),
            "at most": most,
        }
        for (one, other), most in LIMITS.items()
    }
    table = {
        name: {
            "wall s": round(statistics.median(walls[name]), 2),
            "processor s": round(statistics.median(works[name]), 2),
        }
        for name in commands
    }
    return {"figures": table, "ratios of processor time": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--around", action="store_true", help="measure what is done around the network instead")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cold_start.json")
    options = parser.parse_args()
    report: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    report["command"] = "python benchmarks/cold_start.py, and with --around"
    part: dict[str, Any] = {**machine(), "rounds": options.rounds, "load before": load()}
    with tempfile.TemporaryDirectory() as folder:
        if options.around:
            part["figures"] = around(Path(folder), options.rounds)
            missed = [
                f"{name}: {row['share of all but the network']}"
                for name, row in part["figures"].items()
                if max(row["share of all but the network"].values()) > MOST_AROUND
            ]
        else:
            missed = cold(Path(folder), options.rounds, part)
    part["load after"] = load()
    report["around the network" if options.around else "cold start"] = part
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(part, indent=1))
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


def cold(folder: Path, rounds: int, part: dict[str, Any]) -> list[str]:
    """Measure cold starts into a part of the report; what missed its limit."""
    environ = prepare(folder)
    commands: dict[str, Sequence[str]] = {BARE: [sys.executable, "-c", BARE]}
    for name, uid in (("digits", DIGITS), ("ssd_resnet50_fpn", LARGE)):
        commands |= {f"{name}, {engine}": detecting(folder, uid, engine) for engine in ENGINES}
    part |= measure(commands, environ, rounds)
    named = {name: command for name, command in commands.items() if not name.endswith("mindspore")}
    part["imports"] = {name: imports(command, environ) for name, command in named.items()}
    missed = [name for name, row in part["ratios of processor time"].items() if row["median"] > row["at most"]]
    return missed + [f"{name} imports MindSpore" for name, row in part["imports"].items() if row["of MindSpore"]]


if __name__ == "__main__":
    main()
