"""How fast the engines are: medians of interleaved runs, so that what else the machine does meets all alike.

    python benchmarks/engine_speed.py [--rounds N] [--only KEY ...] [--out FILE]

For each network, with random weights and one picture: the Cell in graph mode, `mshub_ssd.compile` on each engine, and
each engine run bare on the same ONNX file. Wall and processor time (user and system, all threads) in milliseconds; of
each engine, the ratio to the Cell and to the bare engine, in medians of the ratios of each round.
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
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mshub_ssd import engines, graphs, networks  # noqa: E402 - needs the path
from mshub_ssd.providers import Recipe  # noqa: E402

KEYS = ("ssd_mobilenetV2", "ssd_ghostnet", "digits", "ssd_vgg16", "ssd_resnet50_fpn")
DIGITS = "mshub/1.0/ssdmobilenetv2_digits"


def subject(key: str) -> tuple[Any, bytes]:
    """A Cell, and the same as an ONNX file."""
    if key == "digits":
        import mshub_ssd

        cell = mshub_ssd.load(DIGITS)
        from mshub_ssd import providers

        recipe = providers.choose_network(cell.card)
    else:
        cell, recipe = networks.build(key).set_train(False), Recipe(key, "it was asked for")
    arrays = {parameter.name: parameter.asnumpy() for parameter in cell.get_parameters()}
    model = graphs.of_arrays(recipe, arrays, cell.config)
    assert model is not None
    return cell, model


def bare_openvino(model: bytes, batch: np.ndarray, precision: str) -> Callable[[], object]:
    """What a program does that uses OpenVINO itself."""
    import openvino

    core = openvino.Core()
    read = core.read_model(model)
    read.reshape(openvino.PartialShape(list(batch.shape)))
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda: compiled([batch])


def bare_onnxruntime(model: bytes, batch: np.ndarray) -> Callable[[], object]:
    """What a program does that uses ONNX Runtime itself."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: batch})


def contestants(cell: Any, model: bytes, batch: np.ndarray) -> dict[str, Callable[[], object]]:
    """Name → one run."""
    import mindspore

    def graph_mode() -> object:
        mindspore.set_context(mode=mindspore.GRAPH_MODE)
        try:
            return engines.call(cell, batch)
        finally:
            mindspore.set_context(mode=mindspore.PYNATIVE_MODE)

    def ours(engine: str, precision: str = "f32") -> Callable[[], object]:
        runner = engines.runner(model, engine, precision)
        return lambda: runner.run(batch)

    jitted = engines.cell_runner(cell)
    found = {
        "Cell, graph mode": graph_mode,
        "mindspore": lambda: jitted.run(batch),
        "openvino f32": ours("openvino"),
        "openvino f32, bare": bare_openvino(model, batch, "f32"),
        "onnxruntime f32": ours("onnxruntime"),
        "onnxruntime f32, bare": bare_onnxruntime(model, batch),
    }
    if engines.has_bf16():
        found["openvino bf16"] = ours("openvino", "bf16")
        found["openvino bf16, bare"] = bare_openvino(model, batch, "bf16")
    return found


def measure(runs: dict[str, Callable[[], object]], rounds: int, seconds: float) -> dict[str, Any]:
    """Medians and ratios. A quick run is repeated within a round, so that the clock's grain does not matter."""
    times = {}
    for name, run in runs.items():
        run()
        begun = time.perf_counter()
        run()
        times[name] = max(1, round(seconds / (time.perf_counter() - begun)))
    wall: dict[str, list[float]] = {name: [] for name in runs}
    work: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for number in range(rounds):
        # Each begins a round in turn, and follows another one.
        for name in order[number % len(order) :] + order[: number % len(order)]:
            begun, worked = time.perf_counter(), time.process_time()
            for _ in range(times[name]):
                runs[name]()
            wall[name].append((time.perf_counter() - begun) / times[name])
            work[name].append((time.process_time() - worked) / times[name])

    def ratio(one: list[float], other: list[float]) -> float:
        return round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 3)

    table: dict[str, Any] = {}
    for name in runs:
        table[name] = {
            "wall ms": round(1e3 * statistics.median(wall[name]), 2),
            "processor ms": round(1e3 * statistics.median(work[name]), 2),
            "wall to Cell": ratio(wall[name], wall["Cell, graph mode"]),
            "processor to Cell": ratio(work[name], work["Cell, graph mode"]),
        }
        if f"{name}, bare" in runs:
            table[name]["speed to bare"] = ratio(wall[f"{name}, bare"], wall[name])
            table[name]["processor to bare"] = ratio(work[name], work[f"{name}, bare"])
    return table


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("flags")[2].partition("\n")[0].split()
    sets = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "instruction sets": sets,
        "limited by": {name: os.environ[name] for name in ("ONEDNN_MAX_CPU_ISA",) if name in os.environ},
        "load": [round(value, 1) for value in os.getloadavg()],
        "engines": engines.installed(),
        "python": platform.python_version(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.25, help="least time of a measurement")
    parser.add_argument("--only", action="append", help="a network's key")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "engine_speed.json")
    options = parser.parse_args()
    report: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    report["command"] = "python benchmarks/engine_speed.py"
    for key in options.only or KEYS:
        cell, model = subject(key)
        size = cell.config.image_size
        batch = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
        before = machine()
        found = measure(contestants(cell, model, batch), options.rounds, options.seconds)
        report[key] = {**before, "load after": round(os.getloadavg()[0], 1), "rounds": options.rounds, "figures": found}
        print(json.dumps({key: report[key]}, indent=1), flush=True)
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
