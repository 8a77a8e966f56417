"""How fast the engines are: processes side by side, in turn, so that what else the machine does meets all alike.

    python benchmarks/engine_speed.py [--torch-python PYTHON] [--isa AVX2] [--rounds N] [--only KEY ...] [--out FILE]

For each network, with the golden weights of the tests (the digits: their checkpoint) and one picture: the Cell in graph
mode, the engines as `mshub_ssd.compile` runs them, each engine run bare on the same ONNX file, and PyTorch running the
same graph operation by operation. Each is a process of its own; while one runs, the others are stopped. All outputs
are compared with ONNX Runtime's beforehand. What counts are medians of the ratios of each round.

`--isa AVX2` shows what a CPU without AVX-512 would do, as far as this can be shown on one that has it: oneDNN is
limited in OpenVINO's, MindSpore's and PyTorch's processes, and ATen in PyTorch's. ONNX Runtime knows no such limit.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from speed_workers import CELL, TORCH

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from mshub_ssd import engines  # noqa: E402 - needs the path

KEYS = ("ssd_mobilenetV2", "ssd_ghostnet", "digits", "ssd_vgg16", "ssd_resnet50_fpn")
DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
OURS = ("openvino f32", "onnxruntime f32", "openvino bf16")
CONTESTANTS = (CELL, *(name for own in OURS for name in (own, f"{own}, bare")), TORCH)
F32_LIMIT = 1e-4
PRODUCT = """
import time
import numpy as np
a = np.ones((1024, 1024), np.float32)
best = 1e9
for _ in range(40):
    begun = time.perf_counter()
    a @ a
    best = min(best, time.perf_counter() - begun)
print(round(2 * 1024**3 / best / 1e9, 1))
"""


def prepare(key: str, folder: Path) -> None:
    """Write down what the contestants need."""
    import recordlab

    if key == "digits":
        from mshub_ssd import Hub, loading, settings

        plan = Hub().plan(DIGITS)
        recipe = plan.recipe
        subject = {"key": recipe.key, "arguments": dict(recipe.arguments), "classes": recipe.classes}
        arrays = loading.read(plan.checkpoint, settings=settings.current())
    else:
        subject, arrays = {"key": key, "arguments": {}, "classes": None}, None
    recording = engines.record(subject["key"], subject["arguments"], subject["classes"])
    if arrays is None:
        arrays = recordlab.weights(recording.graph, key)
        batch = recordlab.picture(key)
    else:
        size = recording.config.image_size
        batch = np.random.default_rng(0).uniform(-2, 2, (1, 3, size, size)).astype(np.float32)
    arrays = {name: arrays[name] for name in recording.graph.parameters}
    (folder / "subject.json").write_text(json.dumps(subject))
    (folder / "graph.json").write_text(json.dumps(recording.graph.to_dict()))
    (folder / "model.onnx").write_bytes(engines.onnx_bytes(recording.graph, arrays))
    np.savez(folder / "weights.npz", **arrays)
    np.save(folder / "batch.npy", batch)


class Contestant:
    """A process that runs a network when it is told to, and is stopped in between."""

    def __init__(self, folder: Path, name: str, python: str, isa: str | None) -> None:
        environ = dict(os.environ)
        if isa and not name.startswith("onnxruntime"):
            environ["ONEDNN_MAX_CPU_ISA"] = isa
            if name == TORCH:
                environ["ATEN_CPU_CAPABILITY"] = isa.lower()
        self.name = name
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("speed_workers.py")), str(folder), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        self._answer()
        self._process.send_signal(signal.SIGSTOP)

    def run(self, times: int) -> tuple[float, float]:
        """Wall and processor seconds of one of so many runs."""
        self._process.send_signal(signal.SIGCONT)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{times}\n")
        self._process.stdin.flush()
        wall, work = self._answer()
        self._process.send_signal(signal.SIGSTOP)
        return wall / times, work / times

    def worked(self) -> float:
        """Processor seconds of the process so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the process ended with {self._process.wait()}")
        return json.loads(line)


class Field:
    """All contestants for one network."""

    def __init__(self, key: str, torch_python: str | None, isa: str | None, names: list[str]) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        self.contestants: list[Contestant] = []
        self._start = key, torch_python, isa, names

    def __enter__(self) -> Field:
        key, torch_python, isa, names = self._start
        prepare(key, self.folder)
        for name in names:
            python = torch_python if name == TORCH else sys.executable
            if python is not None:
                self.contestants.append(Contestant(self.folder, name, python, isa))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for contestant in self.contestants:
            contestant.end()
        self._temporary.cleanup()

    def distances(self) -> dict[str, float]:
        """Of each contestant, the largest difference from ONNX Runtime's outputs."""

        def outputs(name: str) -> list[np.ndarray]:
            count = len(list(self.folder.glob(f"{name}.*.npy")))
            return [np.load(self.folder / f"{name}.{number}.npy") for number in range(count)]

        right = outputs("onnxruntime f32, bare")
        found = {}
        for one in self.contestants:
            pairs = zip(outputs(one.name), right, strict=True)
            found[one.name] = float(f"{max(float(np.abs(a - b).max()) for a, b in pairs):.1e}")
            if "bf16" not in one.name and not found[one.name] <= F32_LIMIT:
                raise SystemExit(f"{one.name} is {found[one.name]} away from ONNX Runtime's outputs")
        return found


def measure(contestants: list[Contestant], rounds: int, seconds: float) -> dict[str, Any]:
    """Medians and ratios. A quick run is repeated within a round, so that the clock's grain does not matter."""
    times = {one.name: max(1, round(seconds / one.run(1)[0])) for one in contestants}
    wall: dict[str, list[float]] = {one.name: [] for one in contestants}
    work: dict[str, list[float]] = {one.name: [] for one in contestants}
    asleep = 0.0
    for number in range(rounds):
        for one in random.Random(number).sample(contestants, len(contestants)):
            others = sum(other.worked() for other in contestants if other is not one)
            took, worked = one.run(times[one.name])
            wall[one.name].append(took)
            work[one.name].append(worked)
            asleep += sum(other.worked() for other in contestants if other is not one) - others

    def ratio(one: list[float], other: list[float]) -> float:
        return round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 3)

    def quartiles(one: list[float], other: list[float]) -> list[float]:
        return [round(float(q), 3) for q in np.quantile([a / b for a, b in zip(one, other, strict=True)], (0.25, 0.75))]

    best = [min(wall[name][i] for name in wall if "f32" in name) for i in range(rounds)]
    table: dict[str, Any] = {"of those that were stopped": {"processor s": round(asleep, 2)}}
    for name in wall:
        row = table[name] = {
            "wall ms": round(1e3 * statistics.median(wall[name]), 2),
            "processor ms": round(1e3 * statistics.median(work[name]), 2),
            "runs per round": times[name],
        }
        if CELL in wall:
            row["wall to Cell"] = ratio(wall[name], wall[CELL])
            row["processor to Cell"] = ratio(work[name], work[CELL])
            row["processor to Cell, quartiles"] = quartiles(work[name], work[CELL])
        if TORCH in wall:
            row["times as fast as PyTorch"] = ratio(wall[TORCH], wall[name])
        if f"{name}, bare" in wall:
            row["speed to bare"] = ratio(wall[f"{name}, bare"], wall[name])
            row["processor to bare"] = ratio(work[name], work[f"{name}, bare"])
        if "f32" in name:
            row["wall to best float32"] = ratio(wall[name], best)
    return table


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("flags")[2].partition("\n")[0].split()
    sets = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "instruction sets": sets,
        "engines": engines.installed(),
        "python": platform.python_version(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


def matrix_product() -> dict[str, float]:
    """GFLOPS of NumPy's float32 matrix product on one thread, with either instruction set; the best of a few.

    It tells what AVX-512 is worth on this CPU: twice as much as AVX2, or, where 512 bits go through units of 256,
    nothing. The kernels are OpenBLAS's, which takes another CPU's name for an order.
    """
    found = {}
    for name, core in (("AVX2", "Haswell"), ("AVX-512", "SkylakeX")):
        environ = {**os.environ, "OPENBLAS_CORETYPE": core, "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", PRODUCT], env=environ, capture_output=True, text=True, check=True)
        found[name] = float(done.stdout)
    return found


def convolutions(folder: Path) -> float:
    """GFLOP of a network's convolutions for one picture, a multiplication and an addition each."""
    graph = engines.Graph.from_dict(json.loads((folder / "graph.json").read_text(encoding="utf-8")))
    found = 0
    for node in graph.nodes:
        if node.op == "conv":
            weights, made = graph.shapes[node.inputs[1]], graph.shapes[node.outputs[0]]
            found += 2 * math.prod(map(int, weights)) * math.prod(map(int, made[2:]))
    return found / 1e9


def load() -> list[float]:
    return [round(value, 1) for value in os.getloadavg()]


def torch_version(python: str | None) -> str | None:
    """PyTorch's version in an environment; a word to the user where there is none."""
    if python is None:
        print("without PyTorch: no --torch-python", file=sys.stderr)
        return None
    asked = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    if asked.returncode:
        print(f"without PyTorch: {python} has none", file=sys.stderr)
        return None
    return asked.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", help="the Python of an environment that has PyTorch")
    parser.add_argument("--isa", choices=("AVX2",), help="what oneDNN may use at most")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="least time of a measurement")
    parser.add_argument("--only", action="append", choices=KEYS, help="a network")
    parser.add_argument("--contestant", action="append", choices=CONTESTANTS, help="only these")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "engine_speed.json")
    options = parser.parse_args()
    report: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    report["command"] = "python benchmarks/engine_speed.py --torch-python PYTHON, and with --isa AVX2"
    torch = torch_version(options.torch_python)
    names = list(options.contestant or CONTESTANTS)
    if torch is None:
        names = [name for name in names if name != TORCH]
    if options.isa or not engines.has_bf16():
        names = [name for name in names if "bf16" not in name]
    part = report.setdefault(f"limited to {options.isa}" if options.isa else "all instruction sets", {})
    for key in options.only or KEYS:
        before = load()
        with Field(key, options.torch_python, options.isa, names) as field:
            distances = field.distances()
            figures = measure(field.contestants, options.rounds, options.seconds)
            gflop = round(convolutions(field.folder), 3)
        product = matrix_product()
        part[key] = {
            **machine(),
            "PyTorch": torch,
            "load before": before,
            "load after": load(),
            "rounds": options.rounds,
            "distance from ONNX Runtime": distances,
            "GFLOP": gflop,
            "matrix product, GFLOPS of one thread": product,
            "processor ms at the faster of these": round(1e3 * gflop / max(product.values()), 2),
            "figures": figures,
        }
        print(json.dumps({key: part[key]}, indent=1), flush=True)
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
