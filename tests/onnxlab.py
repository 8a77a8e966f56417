"""ONNX files made by hand: a few nodes, written byte by byte, to try engines on graphs of known answers."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FLOAT, INT64 = 1, 7


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, float):
        return _field(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _field(20, 1)
    if isinstance(value, int):
        return _field(1, name) + _field(3, value) + _field(20, 2)
    return _field(1, name) + b"".join(_field(8, item) for item in value) + _field(20, 7)


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sizes = b"".join(_field(1, _field(2 if isinstance(size, str) else 1, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, FLOAT) + _field(2, sizes)))


def model(
    nodes: Sequence[tuple[str, Sequence[str], str, Mapping[str, Any]]],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    weights: Mapping[str, np.ndarray] | None = None,
    nesting: Any = None,
) -> bytes:
    """An ONNX file of opset 17.

    Args:
        nodes: (operator, inputs, output, attributes), in order.
        inputs: Name → shape; a text for a free size.
        outputs: The same.
        weights: Initialisers.
        nesting: How the outputs nest, by name; None to say nothing.
    """
    graph = b""
    for op, sources, target, attributes in nodes:
        node = b"".join(_field(1, name) for name in sources) + _field(2, target) + _field(4, op)
        graph += _field(1, node + b"".join(_field(5, _attribute(*pair)) for pair in attributes.items()))
    graph += _field(2, "lab")
    for name, array in (weights or {}).items():
        kind = FLOAT if array.dtype == np.float32 else INT64
        sizes = b"".join(_field(1, size) for size in array.shape)
        graph += _field(5, sizes + _field(2, kind) + _field(8, name) + _field(9, array.tobytes()))
    graph += b"".join(_field(11, _value(*pair)) for pair in inputs.items())
    graph += b"".join(_field(12, _value(*pair)) for pair in outputs.items())
    whole = _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 17))
    if nesting is not None:
        whole += _field(14, _field(1, "mshub.outputs") + _field(2, json.dumps(nesting)))
    return whole


def small(size: int = 16, channels: int = 8, nesting: Any = (("boxes",), ("scores", "maps"))) -> bytes:
    """A convolution with three outputs: ``boxes``, their sigmoid ``scores``, and their double ``maps``."""
    weight = np.random.default_rng(0).normal(size=(channels, 3, 3, 3)).astype(np.float32)
    shape = ["N", channels, size, size]
    return model(
        [
            ("Conv", ["x", "weight"], "boxes", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
            ("Sigmoid", ["boxes"], "scores", {}),
            ("Add", ["boxes", "boxes"], "maps", {}),
        ],
        {"x": ["N", 3, size, size]},
        {"boxes": shape, "scores": shape, "maps": shape},
        {"weight": weight},
        nesting,
    )


def small_answer(batch: np.ndarray, channels: int = 8) -> Any:
    """What `small` returns, in NumPy."""
    weight = np.random.default_rng(0).normal(size=(channels, 3, 3, 3)).astype(np.float32)
    padded = np.pad(batch, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    boxes = np.einsum("nchwij,ocij->nohw", windows, weight)
    return (boxes,), (1 / (1 + np.exp(-boxes)), boxes * 2)
