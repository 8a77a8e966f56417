"""Operations under the names and with the arguments of ``mindspore.ops``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from mshub_ssd.engines.recording.tape import Batch, Tensor, not_recordable, write

__all__ = [
    "ReduceSum",
    "ResizeBilinearV2",
    "Sigmoid",
    "Sqrt",
    "concat",
    "mean",
    "reshape",
    "shape",
    "sqrt",
    "transpose",
]


def __getattr__(name: str) -> NoReturn:
    if name.startswith("_"):
        raise AttributeError(name)
    raise not_recordable(f"ops.{name}")


def shape(x: Tensor) -> tuple[int | Batch, ...]:
    """The sides of a tensor."""
    return x.shape


def reshape(x: Tensor, target: Sequence[Any]) -> Tensor:
    """A tensor with other sides."""
    return x.reshape(*target)


def transpose(x: Tensor, order: Sequence[int]) -> Tensor:
    """A tensor with its sides in another order."""
    return write("transpose", [x], order=tuple(order))


def concat(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors joined along one side."""
    return write("concat", list(tensors), axis=axis)


def mean(x: Tensor, axes: Any, keep_dims: bool = False) -> Tensor:
    """The mean along some sides."""
    return _reduced("mean", x, axes, keep_dims)


def sqrt(x: Tensor) -> Tensor:
    """The square root of every value."""
    return write("sqrt", [x])


def Sqrt() -> Callable[[Tensor], Tensor]:  # noqa: N802 - MindSpore's name
    """`sqrt` as an object."""
    return sqrt


def Sigmoid() -> Callable[[Tensor], Tensor]:  # noqa: N802 - MindSpore's name
    """1 / (1 + exp(-x)) as an object."""
    return lambda x: write("sigmoid", [x])


def ReduceSum(keep_dims: bool = False) -> Callable[[Tensor, Any], Tensor]:  # noqa: N802 - MindSpore's name
    """The sum along some sides as an object."""
    return lambda x, axes: _reduced("sum", x, axes, keep_dims)


def ResizeBilinearV2(  # noqa: N802 - MindSpore's name
    align_corners: bool = False, half_pixel_centers: bool = False
) -> Callable[[Tensor, Sequence[int]], Tensor]:
    """Bilinear resizing to (height, width) as an object."""
    coordinates = "align_corners" if align_corners else "half_pixel" if half_pixel_centers else "asymmetric"
    return lambda x, size: write("resize", [x], size=tuple(size), coordinates=coordinates)


def _reduced(op: str, x: Tensor, axes: Any, keep: bool) -> Tensor:
    listed = (axes,) if isinstance(axes, int) else tuple(axes)
    return write(op, [x], axes=tuple(axis % len(x.sides) for axis in listed), keep=keep)
