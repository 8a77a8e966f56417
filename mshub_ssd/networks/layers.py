"""Building blocks shared by all networks: convolutions, batch norms, and what is made of them.

Conventions: NCHW, float32. Padding ``same`` gives ceil(n / stride) cells and puts the odd one of the padding
after (bottom, right). Convolutions have no bias unless asked for one.
"""

from __future__ import annotations

from collections.abc import Callable

from mshub_ssd.networks.backend import Tensor, nn

__all__ = ["ConvBNAct", "InvertedResidual", "batch_norm", "conv", "conv_bn_relu6", "depthwise"]

Activation = Callable[[], nn.Cell]


def conv(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    bias: bool = False,
    padding: int | None = None,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Conv2d:
    """A 2-D convolution, padded ``same`` or with `padding` zeros on every side."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride,
        pad_mode="same" if padding is None else "pad",
        padding=padding or 0,
        dilation=dilation,
        group=groups,
        has_bias=bias,
    )


def depthwise(channels: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A depthwise convolution, padded ``same``."""
    return conv(channels, channels, kernel, stride, groups=channels)


def batch_norm(channels: int, eps: float = 1e-3, momentum: float = 0.97) -> nn.BatchNorm2d:
    """Batch normalisation; momentum in MindSpore's sense, new = momentum * old + (1 - momentum) * batch."""
    return nn.BatchNorm2d(channels, eps=eps, momentum=momentum)


def conv_bn_relu6(convolution: nn.Conv2d) -> nn.SequentialCell:
    """A convolution with the usual batch norm of pyramids (1e-5, 0.9) and ReLU6; parameters ``0`` and ``1``."""
    return nn.SequentialCell([convolution, batch_norm(convolution.out_channels, 1e-5, 0.9), nn.ReLU6()])


class ConvBNAct(nn.Cell):
    """Convolution, batch norm, activation; parameters under ``features.0`` and ``features.1``."""

    def __init__(
        self, convolution: nn.Conv2d, norm: nn.BatchNorm2d | None = None, activation: Activation | None = nn.ReLU6
    ) -> None:
        super().__init__()
        norm = norm or batch_norm(convolution.out_channels)
        self.features = nn.SequentialCell([convolution, norm, *([activation()] if activation else [])])

    def construct(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, out_channels, H / stride, W / stride]."""
        return self.features(x)


class InvertedResidual(nn.Cell):
    """MobileNetV2's block: widen, depthwise convolution, linear projection, and the sum where shapes allow.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        hidden: Channels of the depthwise convolution; equal to `in_channels` means no widening 1x1.
        stride: Stride of the depthwise convolution.
        residual: Add the input to the output where the stride is 1 and the channels agree.
        final_activation: Activation after the projection, none by default.
        activation: Activation inside.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        stride: int,
        *,
        residual: bool = True,
        final_activation: Activation | None = None,
        activation: Activation = nn.ReLU6,
    ) -> None:
        super().__init__()
        widen = [] if hidden == in_channels else [ConvBNAct(conv(in_channels, hidden), activation=activation)]
        cells = [
            *widen,
            ConvBNAct(depthwise(hidden, 3, stride), activation=activation),
            conv(hidden, out_channels),
            batch_norm(out_channels),
        ]
        self.conv = nn.SequentialCell(cells)
        self.adds = residual and stride == 1 and in_channels == out_channels
        self.final = final_activation() if final_activation else None

    def construct(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        y = self.conv(x)
        if self.adds:
            y = x + y
        if self.final is not None:
            y = self.final(y)
        return y
