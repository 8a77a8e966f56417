"""The contestants of engine_speed.py, each a process of its own that answers over a pipe.

    python benchmarks/speed_workers.py FOLDER CONTESTANT     (started by engine_speed.py)

FOLDER holds `subject.json`, `graph.json`, `model.onnx`, `weights.npz` and `batch.npy`. For each line on the standard
input, a number, the network runs so many times, and a line with wall and processor seconds comes back. The processor
time is that of this process alone, all threads. PyTorch's worker needs PyTorch and NumPy and nothing of this package.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent

CELL = "Cell, graph mode"
TORCH = "PyTorch, eager"


def main(folder: Path, contestant: str) -> None:
    # What the engines print is no part of the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if contestant != TORCH:
        sys.path.insert(0, str(ROOT))
    run = start(folder, contestant)
    outputs = run()
    for _ in range(2):
        run()
    for number, output in enumerate(_flat(outputs)):
        np.save(folder / f"{contestant}.{number}.npy", np.asarray(output))
    answers.write(json.dumps({"ready": contestant}) + "\n")
    for line in sys.stdin:
        run()  # wakes the threads, and brings the weights back
        begun, worked = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            run()
        answers.write(json.dumps([time.perf_counter() - begun, time.process_time() - worked]) + "\n")
    answers.flush()
    os._exit(0)


def start(folder: Path, contestant: str) -> Callable[[], Any]:
    """One run of a contestant."""
    batch = np.load(folder / "batch.npy")
    if contestant == CELL:
        return _cell(folder, batch)
    if contestant == TORCH:
        return _torch(folder, batch)
    model = folder / "model.onnx"
    engine, precision = contestant.partition(",")[0].split()
    if engine == "openvino" and os.environ.get("ONEDNN_MAX_CPU_ISA"):
        # This package keeps the variable from OpenVINO; a simulated CPU must have it, so it is read beforehand.
        import openvino

        openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if contestant.endswith("bare"):
        return _bare_openvino(model, batch, precision) if engine == "openvino" else _bare_onnxruntime(model, batch)
    from mshub_ssd import engines

    # As a uid's network is run: from a file that the store has verified.
    runner = engines.runner(model, engine, precision, digest=hashlib.sha256(model.read_bytes()).hexdigest())
    return lambda: runner.run(batch)


def _bare_openvino(model: Path, batch: np.ndarray, precision: str) -> Callable[[], Any]:
    """What a program does that uses OpenVINO itself."""
    import openvino

    core = openvino.Core()
    read = core.read_model(model)
    read.reshape(openvino.PartialShape(list(batch.shape)))
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda: list(compiled([batch]).values())


def _bare_onnxruntime(model: Path, batch: np.ndarray) -> Callable[[], Any]:
    """What a program does that uses ONNX Runtime itself."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: batch})


def _cell(folder: Path, batch: np.ndarray) -> Callable[[], Any]:
    """The Cell with these weights; the package limits MindSpore's oneDNN where it is slow."""
    import mindspore

    from mshub_ssd import engines, networks

    subject = json.loads((folder / "subject.json").read_text(encoding="utf-8"))
    cell = networks.build(subject["key"], card=subject["arguments"], classes=subject["classes"]).set_train(False)
    with np.load(folder / "weights.npz") as weights:
        for parameter in cell.get_parameters():
            parameter.set_data(mindspore.Tensor(weights[parameter.name]))
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    return lambda: engines.call(cell, batch)


def _flat(outputs: Any) -> list[Any]:
    return [leaf for part in outputs for leaf in _flat(part)] if isinstance(outputs, tuple | list) else [outputs]


def _torch(folder: Path, batch: np.ndarray) -> Callable[[], Any]:
    """The recorded graph, operation by operation in PyTorch, eager; batch norms stay batch norms."""
    import torch

    graph = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
    with np.load(folder / "weights.npz") as weights:
        values = {name: torch.from_numpy(weights[name]) for name in weights.files}
    table = _operations(torch)
    (source, _), *_ = graph["inputs"]
    last = {name: number for number, node in enumerate(graph["nodes"]) for name in node[1]}
    names = _flat(graph["outputs"])
    steps = []
    for number, (op, inputs, (made,), attributes) in enumerate(graph["nodes"]):
        # Let go of what is not read again, as a program's local variables do.
        done = [n for n in set(inputs) if last[n] == number and n not in values and n not in names]
        steps.append((table[op](attributes), inputs, made, done))

    def run() -> list[Any]:
        with torch.inference_mode():
            known = {**values, source: torch.from_numpy(batch)}
            for call, inputs, made, done in steps:
                known[made] = call(*[known[name] for name in inputs])
                for name in done:
                    del known[name]
            return [known[name].numpy() for name in names]

    return run


def _operations(torch: Any) -> dict[str, Callable[[dict[str, Any]], Callable[..., Any]]]:
    """Operation of a graph → from its attributes to a function on tensors."""
    function = torch.nn.functional

    def plain(call: Callable[..., Any]) -> Callable[[dict[str, Any]], Callable[..., Any]]:
        return lambda attributes: call

    def padded(call: Callable[..., Any], pads: list[int], value: float = 0.0) -> Callable[..., Any]:
        """A function with `padding`; where the sides differ, they are padded beforehand."""
        top, left, bottom, right = pads
        if (top, left) == (bottom, right):
            return lambda x, *rest: call(x, *rest, padding=(top, left))
        return lambda x, *rest: call(function.pad(x, (left, right, top, bottom), value=value), *rest, padding=0)

    def conv(attributes: dict[str, Any]) -> Callable[..., Any]:
        stride, dilation, groups = attributes["strides"], attributes["dilations"], attributes["groups"]

        def call(x: Any, weight: Any, bias: Any = None, *, padding: Any) -> Any:
            return function.conv2d(x, weight, bias, stride, padding, dilation, groups)

        return padded(call, attributes["pads"])

    def max_pool(attributes: dict[str, Any]) -> Callable[..., Any]:
        kernel, stride = attributes["kernel"], attributes["strides"]

        def call(x: Any, *, padding: Any) -> Any:
            return function.max_pool2d(x, kernel, stride, padding)

        return padded(call, attributes["pads"], -np.inf)

    def batch_norm(attributes: dict[str, Any]) -> Callable[..., Any]:
        epsilon = attributes["epsilon"]
        return lambda x, scale, bias, mean, variance: function.batch_norm(
            x, mean, variance, scale, bias, False, 0.0, epsilon
        )

    def clip(attributes: dict[str, Any]) -> Callable[..., Any]:
        low, high = attributes["low"], attributes["high"]
        return function.relu6 if (low, high) == (0, 6) else lambda x: torch.clamp(x, low, high)

    def reshape(attributes: dict[str, Any]) -> Callable[..., Any]:
        target = attributes["shape"]
        return lambda x: x.reshape([x.shape[i] if side == 0 else side for i, side in enumerate(target)])

    def resize(attributes: dict[str, Any]) -> Callable[..., Any]:
        size, coordinates = attributes["size"], attributes["coordinates"]
        if coordinates != "asymmetric":
            corners = coordinates == "align_corners"
            return lambda x: function.interpolate(x, size, mode="bilinear", align_corners=corners)

        def asymmetric(x: Any) -> Any:
            # PyTorch has no such grid; a row and a column more, aligned at the corners, have the same one.
            # So many times as large, that is: the networks here double their maps.
            edges = function.pad(x, (0, 1, 0, 1), mode="replicate")
            whole = function.interpolate(edges, [side + 1 for side in size], mode="bilinear", align_corners=True)
            return whole[:, :, : size[0], : size[1]]

        return asymmetric

    def concat(attributes: dict[str, Any]) -> Callable[..., Any]:
        axis = attributes["axis"]
        return lambda *parts: torch.cat(parts, axis)

    def mean(attributes: dict[str, Any]) -> Callable[..., Any]:
        axes, keep = attributes["axes"], attributes["keep"]
        return lambda x: x.mean(axes, keepdim=keep)

    return {
        "add": plain(torch.add),
        "multiply": plain(torch.mul),
        "divide": plain(torch.div),
        "relu": plain(function.relu),
        "sigmoid": plain(torch.sigmoid),
        "hard_sigmoid": plain(function.hardsigmoid),
        "identity": plain(lambda x: x),
        "dense": plain(function.linear),
        "conv": conv,
        "batch_norm": batch_norm,
        "max_pool": max_pool,
        "clip": clip,
        "reshape": reshape,
        "resize": resize,
        "concat": concat,
        "mean": mean,
        "transpose": lambda attributes: lambda x: x.permute(attributes["order"]),
        "constant": lambda attributes: lambda: torch.tensor(attributes["value"]),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
