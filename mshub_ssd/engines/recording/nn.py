"""Layers under the names and with the arguments of ``mindspore.nn``."""

from __future__ import annotations

from typing import Any, NoReturn

from mshub_ssd.engines.operations import same_padding
from mshub_ssd.engines.recording.cells import Cell, CellList, Parameter, SequentialCell
from mshub_ssd.engines.recording.tape import Tensor, not_recordable, write

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Cell",
    "CellList",
    "Conv2d",
    "Dense",
    "Dropout",
    "HSigmoid",
    "Identity",
    "MaxPool2d",
    "Pad",
    "ReLU",
    "ReLU6",
    "SequentialCell",
    "Sigmoid",
]

Pair = int | tuple[int, int]


def __getattr__(name: str) -> NoReturn:
    if name.startswith("_"):
        raise AttributeError(name)
    raise not_recordable(f"nn.{name}")


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _pads(
    x: Tensor, mode: str, padding: Any, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Top, left, bottom, right, for an input of this shape: shared layers see several."""
    if mode == "valid":
        return 0, 0, 0, 0
    if mode == "pad":
        top, bottom, left, right = (padding,) * 4 if isinstance(padding, int) else padding
        return top, left, bottom, right
    if mode != "same":
        raise not_recordable(f"the padding {mode!r}")
    height, width = (side or 0 for side in x.sides[2:])
    top, bottom = same_padding(height, kernel[0], stride[0], dilation[0])
    left, right = same_padding(width, kernel[1], stride[1], dilation[1])
    return top, left, bottom, right


class Conv2d(Cell):
    """A 2-D convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        pad_mode: str = "same",
        padding: Any = 0,
        dilation: Pair = 1,
        group: int = 1,
        has_bias: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.group = in_channels, out_channels, group
        self.kernel_size, self.stride, self.dilation = _pair(kernel_size), _pair(stride), _pair(dilation)
        self.pad_mode, self.padding, self.has_bias = pad_mode, padding, has_bias
        if in_channels % group or out_channels % group:
            raise ValueError(f"{in_channels} and {out_channels} channels cannot be parted into {group} groups")
        self.weight = Parameter((out_channels, in_channels // group, *self.kernel_size))
        if has_bias:
            self.bias = Parameter((out_channels,))

    def construct(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the convolved map."""
        return write(
            "conv",
            [x, self.weight, *([self.bias] if self.has_bias else [])],
            strides=self.stride,
            dilations=self.dilation,
            groups=self.group,
            pads=_pads(x, self.pad_mode, self.padding, self.kernel_size, self.stride, self.dilation),
        )


class BatchNorm2d(Cell):
    """Batch normalisation by moving statistics."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.9, gamma_init: Any = "ones") -> None:
        super().__init__()
        self.eps = eps
        # In MindSpore's order.
        self.moving_mean = Parameter((num_features,))
        self.moving_variance = Parameter((num_features,))
        self.gamma = Parameter((num_features,))
        self.beta = Parameter((num_features,))

    def construct(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        values = [x, self.gamma, self.beta, self.moving_mean, self.moving_variance]
        return write("batch_norm", values, epsilon=self.eps)


class Dense(Cell):
    """A dense layer."""

    def __init__(self, in_channels: int, out_channels: int, has_bias: bool = True) -> None:
        super().__init__()
        self.has_bias = has_bias
        self.weight = Parameter((out_channels, in_channels))
        if has_bias:
            self.bias = Parameter((out_channels,))

    def construct(self, x: Tensor) -> Tensor:
        """[B, in_channels] to [B, out_channels]."""
        return write("dense", [x, self.weight, *([self.bias] if self.has_bias else [])])


class _Pool(Cell):
    op = ""

    def __init__(self, kernel_size: Pair = 1, stride: Pair = 1, pad_mode: str = "valid") -> None:
        super().__init__()
        self.kernel_size, self.stride, self.pad_mode = _pair(kernel_size), _pair(stride), pad_mode

    def construct(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the pooled map."""
        pads = _pads(x, self.pad_mode, 0, self.kernel_size, self.stride, (1, 1))
        return write(self.op, [x], kernel=self.kernel_size, strides=self.stride, pads=pads)


class MaxPool2d(_Pool):
    """The greatest value in every window; padding never wins."""

    op = "max_pool"


class AvgPool2d(_Pool):
    """The mean of every window; padding does not count."""

    op = "average_pool"


class Pad(Cell):
    """Zeros around a tensor, a pair (before, after) for each side."""

    def __init__(self, paddings: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.before = tuple(before for before, _ in paddings)
        self.after = tuple(after for _, after in paddings)

    def construct(self, x: Tensor) -> Tensor:
        """Any shape to a larger one."""
        return write("pad", [x], before=self.before, after=self.after)


class ReLU(Cell):
    """max(x, 0)."""

    def construct(self, x: Tensor) -> Tensor:
        """To the same shape."""
        return write("relu", [x])


class ReLU6(Cell):
    """Values limited to 0 to 6."""

    def construct(self, x: Tensor) -> Tensor:
        """To the same shape."""
        return write("clip", [x], low=0.0, high=6.0)


class Sigmoid(Cell):
    """1 / (1 + exp(-x))."""

    def construct(self, x: Tensor) -> Tensor:
        """To the same shape."""
        return write("sigmoid", [x])


class HSigmoid(Cell):
    """x / 6 + 1 / 2, limited to 0 to 1."""

    def construct(self, x: Tensor) -> Tensor:
        """To the same shape."""
        return write("hard_sigmoid", [x])


class Identity(Cell):
    """What comes in."""

    def construct(self, x: Any) -> Any:
        """To itself."""
        return x


class Dropout(Identity):
    """Nothing, in inference."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p
