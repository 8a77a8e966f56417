"""The operations that a graph is made of: what each takes, and the shape of what comes out.

A side of a shape is a number, or None where it is the batch: how many pictures come at once is not known while a
graph is written. Pictures and maps are NCHW, everything is float32. Every operation has one output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["COORDINATES", "OPERATIONS", "Attributes", "Operation", "Shape", "same_padding", "shape_of"]

Shape: TypeAlias = tuple[int | None, ...]
Attributes: TypeAlias = Mapping[str, Any]
_Rule: TypeAlias = Callable[[Sequence[Shape], Attributes], Shape]

_MAX_SIDE = 1 << 31
_MAX_REAL = 3.4e38  # what float32 holds


@dataclass(frozen=True)
class Operation:
    """What an operation takes.

    Attributes:
        inputs: The least and the greatest number of inputs.
        attributes: Name of every attribute, and whether a value is one that it may have.
        shape: From the inputs' shapes and the attributes to the output's shape; raises ValueError.
    """

    inputs: tuple[int, int]
    attributes: Mapping[str, Callable[[object], bool]]
    shape: _Rule


def shape_of(name: str, inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    """Shape of an operation's output.

    Raises:
        ValueError: There is no such operation, or it takes none of these inputs or attributes.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise ValueError(f"there is no operation {name[:40]!r}")
    least, most = operation.inputs
    if not least <= len(inputs) <= most:
        raise ValueError(f"{name} has {len(inputs)} inputs")
    if set(attributes) != set(operation.attributes):
        raise ValueError(f"{name} has the attributes {sorted(attributes)}, not {sorted(operation.attributes)}")
    for attribute, accepts in operation.attributes.items():
        if not accepts(attributes[attribute]):
            raise ValueError(f"{name} has {attribute}={str(attributes[attribute])[:80]}")
    shape = operation.shape(inputs, attributes)
    if any(side is not None and not 0 < side < _MAX_SIDE for side in shape):
        raise ValueError(f"{name} leaves the shape {list(shape)}")
    return shape


def same_padding(side: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Zeros before and after one side so that ceil(side / stride) cells come out; the odd one goes after."""
    cells = -(-side // stride)
    total = max((cells - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
    return total // 2, total - total // 2


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_SIDE


def _whole_from(low: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and _whole(value) and value >= low


def _wholes(count: int | None, low: int = -_MAX_SIDE) -> Callable[[object], bool]:
    def accepts(value: object) -> bool:
        if not isinstance(value, list | tuple) or (count is not None and len(value) != count):
            return False
        return all(_whole(item) and item >= low for item in value)

    return accepts


def _real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX_REAL


def _map(shape: Shape) -> tuple[int | None, int, int, int]:
    if len(shape) != 4 or None in shape[1:]:
        raise ValueError(f"a map has the shape {list(shape)}")
    return shape  # type: ignore[return-value]


def _known(side: int | None) -> int:
    if side is None:
        raise ValueError("the batch takes part, whose size is not known")
    return side


def _windows(height: int, width: int, kernel: Sequence[int], attributes: Attributes) -> tuple[int, int]:
    """Rows and columns that a window takes on a padded map."""
    top, left, bottom, right = attributes["pads"]
    strides = attributes["strides"]
    dilations = attributes.get("dilations", (1, 1))
    sides = (height + top + bottom, width + left + right)
    reaches = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    if any(reach > side for reach, side in zip(reaches, sides, strict=True)):
        raise ValueError(f"a window of {reaches} is larger than the map of {sides}")
    rows, columns = ((side - reach) // stride + 1 for side, reach, stride in zip(sides, reaches, strides, strict=True))
    return rows, columns


def _conv(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    batch, channels, height, width = _map(inputs[0])
    out, per_group, *kernel = (_known(side) for side in inputs[1])
    groups = attributes["groups"]
    if len(kernel) != 2 or per_group * groups != channels or out % groups:
        raise ValueError(f"weights {list(inputs[1])} in {groups} groups do not fit {channels} channels")
    if len(inputs) == 3 and inputs[2] != (out,):
        raise ValueError(f"a bias {list(inputs[2])} does not fit {out} channels")
    return (batch, out, *_windows(height, width, kernel, attributes))


def _batch_norm(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    channels = _map(inputs[0])[1]
    if any(shape != (channels,) for shape in inputs[1:]):
        raise ValueError(f"a batch norm does not fit {channels} channels")
    return inputs[0]


def _pool(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    batch, channels, height, width = _map(inputs[0])
    kernel = attributes["kernel"]
    if any(pad >= kernel[i % 2] for i, pad in enumerate(attributes["pads"])):
        raise ValueError("a window lies in the padding alone")
    return (batch, channels, *_windows(height, width, kernel, attributes))


def _alike(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    return inputs[0]


def _broadcast(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    rank = max(map(len, inputs))
    one, other = ((1,) * (rank - len(shape)) + tuple(shape) for shape in inputs)
    for a, b in zip(one, other, strict=True):
        if a != b and 1 not in (a, b):
            raise ValueError(f"shapes {list(inputs[0])} and {list(inputs[1])} do not fit")
    return tuple(b if a == 1 else a for a, b in zip(one, other, strict=True))


def _dense(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    if len(inputs[0]) != 2 or len(inputs[1]) != 2 or inputs[0][1] != inputs[1][1]:
        raise ValueError(f"weights {list(inputs[1])} do not fit an input {list(inputs[0])}")
    if len(inputs) == 3 and inputs[2] != (inputs[1][0],):
        raise ValueError(f"a bias {list(inputs[2])} does not fit weights {list(inputs[1])}")
    return (inputs[0][0], inputs[1][0])


def _reshape(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    before, target = inputs[0], list(attributes["shape"])
    if target.count(-1) > 1 or any(side < -1 for side in target):
        raise ValueError(f"{target} is no shape")
    after: list[int | None] = []
    for i, side in enumerate(target):
        if side == 0 and i >= len(before):
            raise ValueError(f"{target} copies a side that {list(before)} does not have")
        after.append(before[i] if side == 0 else side)
    if before.count(None) != after.count(None):
        raise ValueError(f"{list(before)} to {target} folds the batch into other sides")
    size = math.prod(side for side in before if side is not None)
    rest = math.prod(side for side in after if side is not None and side != -1)
    if -1 in after and rest and size % rest == 0:
        after[after.index(-1)] = size // rest
    elif rest != size:
        raise ValueError(f"{list(before)} cannot become {target}")
    return tuple(after)


def _transpose(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    order = attributes["order"]
    if sorted(order) != list(range(len(inputs[0]))):
        raise ValueError(f"{list(order)} does not arrange {len(inputs[0])} sides")
    return tuple(inputs[0][i] for i in order)


def _concat(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    axis, first = attributes["axis"], inputs[0]
    if axis >= len(first):
        raise ValueError(f"{list(first)} has no side {axis}")
    for shape in inputs:
        if (*first[:axis], *first[axis + 1 :]) != (*shape[:axis], *shape[axis + 1 :]):
            raise ValueError(f"{list(first)} and {list(shape)} cannot be joined along side {axis}")
    return (*first[:axis], sum(_known(shape[axis]) for shape in inputs), *first[axis + 1 :])


def _slice(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    shape, axis, start, stop = inputs[0], attributes["axis"], attributes["start"], attributes["stop"]
    if axis >= len(shape) or not start < stop <= _known(shape[axis]):
        raise ValueError(f"{list(shape)} has no {start} to {stop} along side {axis}")
    return (*shape[:axis], stop - start, *shape[axis + 1 :])


def _pad(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    shape, before, after = inputs[0], attributes["before"], attributes["after"]
    if not len(before) == len(after) == len(shape):
        raise ValueError(f"padding for {len(before)} and {len(after)} sides does not fit {list(shape)}")
    sides = zip(shape, before, after, strict=True)
    return tuple(side if a == b == 0 else _known(side) + a + b for side, a, b in sides)


def _reduce(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    shape, axes = inputs[0], attributes["axes"]
    if not axes or len(set(axes)) != len(axes) or any(axis >= len(shape) for axis in axes):
        raise ValueError(f"{list(shape)} cannot be reduced along {list(axes)}")
    for axis in axes:
        _known(shape[axis])
    kept = [1 if i in axes else side for i, side in enumerate(shape)]
    return tuple(kept) if attributes["keep"] else tuple(side for i, side in enumerate(shape) if i not in axes)


def _resize(inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    batch, channels, _, _ = _map(inputs[0])
    return (batch, channels, *attributes["size"])


_TWO, _FOUR = _wholes(2, 1), _wholes(4, 0)
_POOLING = {"kernel": _TWO, "strides": _TWO, "pads": _FOUR}
_REDUCING = {"axes": _wholes(None, 0), "keep": lambda value: isinstance(value, bool)}

COORDINATES = ("asymmetric", "align_corners", "half_pixel")

OPERATIONS: Mapping[str, Operation] = {
    # Input, weights [out, in / groups, h, w], bias; pads are top, left, bottom, right.
    "conv": Operation((2, 3), {"strides": _TWO, "dilations": _TWO, "groups": _whole_from(1), "pads": _FOUR}, _conv),
    # Input, scale, bias, mean, variance.
    "batch_norm": Operation((5, 5), {"epsilon": _real}, _batch_norm),
    "max_pool": Operation((1, 1), _POOLING, _pool),
    # Padding does not count.
    "average_pool": Operation((1, 1), _POOLING, _pool),
    "relu": Operation((1, 1), {}, _alike),
    "clip": Operation((1, 1), {"low": _real, "high": _real}, _alike),
    "sigmoid": Operation((1, 1), {}, _alike),
    # clip(x / 6 + 1 / 2, 0, 1)
    "hard_sigmoid": Operation((1, 1), {}, _alike),
    "sqrt": Operation((1, 1), {}, _alike),
    "identity": Operation((1, 1), {}, _alike),
    "add": Operation((2, 2), {}, _broadcast),
    "multiply": Operation((2, 2), {}, _broadcast),
    "divide": Operation((2, 2), {}, _broadcast),
    # Input [B, in], weights [out, in], bias.
    "dense": Operation((2, 3), {}, _dense),
    # 0 keeps the input's side at the same place, -1 takes what is left.
    "reshape": Operation((1, 1), {"shape": _wholes(None)}, _reshape),
    "transpose": Operation((1, 1), {"order": _wholes(None, 0)}, _transpose),
    "concat": Operation((1, 1000), {"axis": _whole_from(0)}, _concat),
    "slice": Operation((1, 1), {"axis": _whole_from(0), "start": _whole_from(0), "stop": _whole_from(0)}, _slice),
    "pad": Operation((1, 1), {"before": _wholes(None, 0), "after": _wholes(None, 0)}, _pad),
    "mean": Operation((1, 1), _REDUCING, _reduce),
    "sum": Operation((1, 1), _REDUCING, _reduce),
    # Bilinear. The coordinates are those of ONNX.
    "resize": Operation((1, 1), {"size": _TWO, "coordinates": lambda value: value in COORDINATES}, _resize),
    "constant": Operation((0, 0), {"value": _real}, lambda inputs, attributes: ()),
}
