"""Graphs and weights as ONNX files (opset 17), written without the ``onnx`` package.

The file is a Protocol Buffers message; https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3 gives the numbers of
its fields. Initialisers have the parameters' names. The batch stays free: it is the side ``N``. How the outputs nest
stands in the metadata.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mshub_ssd.engines.graph import Graph, Node, flat
from mshub_ssd.engines.operations import Shape
from mshub_ssd.engines.runners import OUTPUTS_KEY
from mshub_ssd.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EMITTER_VERSION", "onnx_bytes", "onnx_chunks"]

EMITTER_VERSION = 1
"""Grows whenever the same graph becomes another file."""

_OPSET = 17
_IR_VERSION = 8
_FLOAT, _INT64 = 1, 7
# Readers of Protocol Buffers refuse longer messages.
_MAX_BYTES = (1 << 31) - 1
# For the graph itself: a hundred times what the largest one here takes.
_MAX_REST = 16 << 20

_Chunk: TypeAlias = "bytes | memoryview"


def onnx_bytes(graph: Graph, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A graph and its weights as an ONNX file.

    Args:
        graph: The graph.
        arrays: A value for each parameter that the graph uses; others are left out.

    Raises:
        UsageError: A parameter is missing or has another shape, or the file would be larger than ONNX files can be.
    """
    return b"".join(onnx_chunks(graph, arrays))


def onnx_chunks(graph: Graph, arrays: Mapping[str, NDArray[Any]]) -> list[bytes | memoryview]:
    """`onnx_bytes` in pieces, one after the other; the weights are views of the arrays where possible."""
    weight = 4 * sum(math.prod(graph.parameters[name][0]) for name in graph.used)
    if weight > _MAX_BYTES - _MAX_REST:
        raise UsageError(
            "the network is too large for an ONNX file", expected="less than 2 GiB", got=f"weights of {weight:,} bytes"
        )
    emitter = _Emitter(graph)
    for node in graph.nodes:
        _EMIT[node.op](emitter, node)
    body = _Message()
    for message in emitter.nodes:
        body.message(1, message)
    body.text(2, "mshub_ssd")
    for name in graph.used:
        body.message(5, _tensor(name, _FLOAT, *_weights(name, graph.parameters[name][0], arrays)))
    for message in emitter.constants:
        body.message(5, message)
    for name, shape in graph.inputs:
        body.message(11, _described(name, shape))
    for name in flat(graph.outputs):
        body.message(12, _described(name, graph.shapes[name]))
    model = _Message().number(1, _IR_VERSION).text(2, "mshub_ssd").text(3, str(EMITTER_VERSION))
    model.message(7, body).message(8, _Message().text(1, "").number(2, _OPSET))
    model.message(14, _Message().text(1, OUTPUTS_KEY).text(2, json.dumps(graph.outputs)))
    return model.chunks


class _Message:
    """A message of Protocol Buffers, as the pieces of its encoding."""

    def __init__(self) -> None:
        self.chunks: list[_Chunk] = []
        self.size = 0

    def _add(self, chunk: _Chunk) -> None:
        self.chunks.append(chunk)
        self.size += len(chunk)

    def number(self, field: int, value: int) -> _Message:
        self._add(_varint(field << 3) + _varint(value & (1 << 64) - 1))
        return self

    def real(self, field: int, value: float) -> _Message:
        self._add(_varint(field << 3 | 5) + struct.pack("<f", value))
        return self

    def data(self, field: int, content: _Chunk) -> _Message:
        self._add(_varint(field << 3 | 2) + _varint(len(content)))
        self._add(content)
        return self

    def text(self, field: int, value: str) -> _Message:
        return self.data(field, value.encode())

    def message(self, field: int, value: _Message) -> _Message:
        self._add(_varint(field << 3 | 2) + _varint(value.size))
        self.chunks += value.chunks
        self.size += value.size
        return self


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _tensor(name: str, kind: int, shape: Sequence[int], content: _Chunk) -> _Message:
    message = _Message()
    for side in shape:
        message.number(1, side)
    return message.number(2, kind).text(8, name).data(9, content)


def _described(name: str, shape: Shape) -> _Message:
    sides = _Message()
    for side in shape:
        sides.message(1, _Message().text(2, "N") if side is None else _Message().number(1, side))
    return _Message().text(1, name).message(2, _Message().message(1, _Message().number(1, _FLOAT).message(2, sides)))


def _weights(name: str, shape: Sequence[int], arrays: Mapping[str, NDArray[Any]]) -> tuple[Sequence[int], memoryview]:
    import numpy as np

    array = arrays.get(name)
    if array is None or tuple(array.shape) != tuple(shape):
        raise UsageError(
            "the weights do not fit the graph",
            where=name,
            expected=f"shape {list(shape)}",
            got="nothing" if array is None else f"shape {list(array.shape)}",
        )
    plain = np.ascontiguousarray(array, dtype="<f4")
    return shape, plain.reshape(-1).view(np.uint8).data


def _attribute(name: str, value: object) -> _Message:
    message = _Message().text(1, name)
    if isinstance(value, float):
        return message.real(2, value).number(20, 1)
    if isinstance(value, int):
        return message.number(3, value).number(20, 2)
    if isinstance(value, str):
        return message.text(4, value).number(20, 3)
    assert isinstance(value, tuple | list)
    for item in value:
        message.number(8, item)
    return message.number(20, 7)


class _Emitter:
    """ONNX nodes, and the constants among their inputs, each value once."""

    def __init__(self, graph: Graph) -> None:
        self.shapes = graph.shapes
        self.nodes: list[_Message] = []
        self.constants: list[_Message] = []
        self._known: set[str] = set()

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: object) -> None:
        message = _Message()
        for name in inputs:
            message.text(1, name)
        message.text(2, output).text(3, output).text(4, kind)
        for name, value in attributes.items():
            message.message(5, _attribute(name, value))
        self.nodes.append(message)

    def integers(self, values: Sequence[int]) -> str:
        """Name of a constant row of integers."""
        name = "/int64/" + ",".join(map(str, values))
        if name not in self._known:
            self._known.add(name)
            self.constants.append(_tensor(name, _INT64, [len(values)], struct.pack(f"<{len(values)}q", *values)))
        return name

    def real(self, value: float) -> str:
        """Name of a constant number."""
        content = struct.pack("<f", value)
        name = f"/float32/{content[::-1].hex()}"
        if name not in self._known:
            self._known.add(name)
            self.constants.append(_tensor(name, _FLOAT, [], content))
        return name


_Emit: TypeAlias = Callable[[_Emitter, Node], None]


def _as(kind: str, **attributes: object) -> _Emit:
    """An operation that ONNX has, with its attributes here."""

    def emit(emitter: _Emitter, node: Node) -> None:
        emitter.node(kind, node.inputs, node.outputs[0], **attributes)

    return emit


def _renamed(kind: str, names: Mapping[str, str], **fixed: object) -> _Emit:
    """An operation that ONNX has, with its attributes under ONNX's names."""

    def emit(emitter: _Emitter, node: Node) -> None:
        attributes = {name: node.attributes[own] for name, own in names.items()}
        emitter.node(kind, node.inputs, node.outputs[0], **attributes, **fixed)

    return emit


def _batch_norm(emitter: _Emitter, node: Node) -> None:
    emitter.node("BatchNormalization", node.inputs, node.outputs[0], epsilon=float(node.attributes["epsilon"]))


def _clip(emitter: _Emitter, node: Node) -> None:
    bounds = [emitter.real(node.attributes["low"]), emitter.real(node.attributes["high"])]
    emitter.node("Clip", [*node.inputs, *bounds], node.outputs[0])


def _reshape(emitter: _Emitter, node: Node) -> None:
    emitter.node("Reshape", [*node.inputs, emitter.integers(node.attributes["shape"])], node.outputs[0])


def _slice(emitter: _Emitter, node: Node) -> None:
    bounds = [emitter.integers([node.attributes[name]]) for name in ("start", "stop", "axis")]
    emitter.node("Slice", [*node.inputs, *bounds], node.outputs[0])


def _pad(emitter: _Emitter, node: Node) -> None:
    pads = emitter.integers([*node.attributes["before"], *node.attributes["after"]])
    emitter.node("Pad", [*node.inputs, pads], node.outputs[0])


def _mean(emitter: _Emitter, node: Node) -> None:
    axes = tuple(node.attributes["axes"])
    emitter.node("ReduceMean", node.inputs, node.outputs[0], axes=axes, keepdims=int(node.attributes["keep"]))


def _sum(emitter: _Emitter, node: Node) -> None:
    axes = emitter.integers(node.attributes["axes"])
    emitter.node("ReduceSum", [*node.inputs, axes], node.outputs[0], keepdims=int(node.attributes["keep"]))


def _resize(emitter: _Emitter, node: Node) -> None:
    source, output, size = node.inputs[0], node.outputs[0], node.attributes["size"]
    # The sizes of all four sides, of which the batch is not known here, are asked of the input.
    emitter.node("Shape", [source], f"{output}/batch", start=0, end=2)
    emitter.node("Concat", [f"{output}/batch", emitter.integers(size)], f"{output}/size", axis=0)
    emitter.node(
        "Resize",
        [source, "", "", f"{output}/size"],
        output,
        mode="linear",
        coordinate_transformation_mode=node.attributes["coordinates"],
    )


def _constant(emitter: _Emitter, node: Node) -> None:
    emitter.node("Identity", [emitter.real(node.attributes["value"])], node.outputs[0])


_POOL = {"kernel_shape": "kernel", "strides": "strides", "pads": "pads"}

_EMIT: Mapping[str, _Emit] = {
    "conv": _renamed("Conv", {name: name for name in ("strides", "dilations", "pads")} | {"group": "groups"}),
    "batch_norm": _batch_norm,
    "max_pool": _renamed("MaxPool", _POOL),
    "average_pool": _renamed("AveragePool", _POOL, count_include_pad=0),
    "relu": _as("Relu"),
    "clip": _clip,
    "sigmoid": _as("Sigmoid"),
    "hard_sigmoid": _as("HardSigmoid", alpha=1 / 6, beta=0.5),
    "sqrt": _as("Sqrt"),
    "identity": _as("Identity"),
    "add": _as("Add"),
    "multiply": _as("Mul"),
    "divide": _as("Div"),
    "dense": _as("Gemm", transB=1),
    "reshape": _reshape,
    "transpose": _renamed("Transpose", {"perm": "order"}),
    "concat": _renamed("Concat", {"axis": "axis"}),
    "slice": _slice,
    "pad": _pad,
    "mean": _mean,
    "sum": _sum,
    "resize": _resize,
    "constant": _constant,
}
