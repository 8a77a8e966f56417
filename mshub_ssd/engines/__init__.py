"""What runs a network on arrays: OpenVINO or ONNX Runtime from an ONNX file, or MindSpore from a Cell.

- `choose`: which engine, and why; `installed`: which there are.
- `runner`: an ONNX file as a `Runner`; `cell_runner`: a Cell as one.
- `call`: a Cell once, in the user's mode.
- `record`: a network as a `Graph`, which a helper process writes down; `onnx_bytes`: that and weights as an ONNX file.
"""

from __future__ import annotations

from pathlib import Path

from mshub_ssd.engines.choosing import ENGINES, Choice, choose, installed
from mshub_ssd.engines.graph import Graph, Node
from mshub_ssd.engines.helper import Recording, record
from mshub_ssd.engines.mindspore import CellRunner, call, cell_runner, device_target, to_arrays, to_tensors
from mshub_ssd.engines.onnx_file import EMITTER_VERSION, onnx_bytes, onnx_chunks
from mshub_ssd.engines.onnxruntime import OnnxRuntimeRunner
from mshub_ssd.engines.openvino import OpenVinoRunner, has_bf16
from mshub_ssd.engines.runners import OUTPUTS_KEY, Flow, Kept, Options, Runner, Running, Shelf, Source
from mshub_ssd.errors import UsageError, is_installed

__all__ = [
    "EMITTER_VERSION",
    "ENGINES",
    "OUTPUTS_KEY",
    "CellRunner",
    "Choice",
    "Flow",
    "Graph",
    "Kept",
    "Node",
    "Recording",
    "Runner",
    "Running",
    "Shelf",
    "call",
    "cell_runner",
    "check_options",
    "choose",
    "device_target",
    "has_bf16",
    "installed",
    "onnx_bytes",
    "onnx_chunks",
    "record",
    "runner",
    "to_arrays",
    "to_tensors",
]


def check_options(precision: str = "f32", threads: int | None = None, streams: int | None = None) -> None:
    """See that what `runner` will be given makes sense, before anything expensive is done for it.

    Raises:
        UsageError: It does not.
    """
    Options(precision, threads, streams)


def runner(
    model: bytes | str | Path,
    engine: str = "auto",
    precision: str = "f32",
    threads: int | None = None,
    streams: int | None = None,
    digest: str | None = None,
    shelf: Shelf | None = None,
) -> Runner:
    """A Runner for an ONNX model.

    Args:
        model: The bytes of an ONNX file, or its path.
        engine: ``openvino``, ``onnxruntime``, or ``auto`` for what `choose` takes of them.
        precision: ``f32``, or ``bf16`` where the CPU has it (OpenVINO only).
        threads: So many threads at most; None for as many as the engine likes, within the container's limits.
        streams: So many batches at once in `Runner.run_many`; they share the threads.
        digest: The file's SHA-256, where it has just been verified; it is then not held in memory.
        shelf: Where OpenVINO may keep the model as it compiled it, which the next process then need not do.

    Raises:
        MissingDependencyError: The engine is not installed.
        UsageError: An argument makes no sense, the file cannot be run, or the CPU has no bf16.
    """
    options = Options(precision, threads, streams)
    if engine == "auto":
        engine = next(filter(is_installed, ENGINES[:2]), "openvino")
    name = choose(engine).name
    if name == "mindspore":
        raise UsageError(
            "MindSpore runs Cells, and no ONNX files",
            expected="openvino or onnxruntime",
            got="engine='mindspore'",
            hint="mshub_ssd.load gives the Cell",
        )
    source = Source(model, digest, shelf)
    return OpenVinoRunner(source, options) if name == "openvino" else OnnxRuntimeRunner(source, options)
