"""ResNet (He et al., 2015, https://arxiv.org/abs/1512.03385), the variant with the stride in the 3x3."""

from __future__ import annotations

from collections.abc import Sequence

from mshub_ssd.networks.backend import Tensor, nn
from mshub_ssd.networks.layers import batch_norm, conv

__all__ = ["BasicBlock", "Bottleneck", "ResNet"]


class _Block(nn.Cell):
    """The shortcut, which both kinds of blocks share."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.down_sample_layer = None

    def project(self, in_channels: int, channels: int, stride: int, eps: float, momentum: float) -> None:
        """Give the shortcut a 1x1 convolution where shapes differ; defined last, as in published checkpoints."""
        if stride != 1 or in_channels != channels:
            self.down_sample_layer = nn.SequentialCell(
                [conv(in_channels, channels, 1, stride), batch_norm(channels, eps, momentum)]
            )

    def shortcut(self, x: Tensor) -> Tensor:
        """The input, or its projection."""
        return x if self.down_sample_layer is None else self.down_sample_layer(x)


class Bottleneck(_Block):
    """1x1 to a quarter of the channels, 3x3 with the stride, 1x1 back, and the shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int, eps: float, momentum: float) -> None:
        super().__init__()
        inner = channels // 4
        self.conv1 = conv(in_channels, inner)
        self.bn1 = batch_norm(inner, eps, momentum)
        self.conv2 = conv(inner, inner, 3, stride)
        self.bn2 = batch_norm(inner, eps, momentum)
        self.conv3 = conv(inner, channels)
        # A last gamma of 0 makes a fresh block the identity, which eases training.
        self.bn3 = nn.BatchNorm2d(channels, eps=eps, momentum=momentum, gamma_init=0)
        self.project(in_channels, channels, stride, eps, momentum)

    def construct(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] to [B, channels, H / stride, W / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + self.shortcut(x))


class BasicBlock(_Block):
    """Two 3x3 convolutions, padded by one on every side, and the shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride, padding=1)
        self.bn1 = batch_norm(channels, eps, momentum)
        self.conv2 = conv(channels, channels, 3, padding=1)
        self.bn2 = batch_norm(channels, eps, momentum)
        self.project(in_channels, channels, stride, eps, momentum)

    def construct(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] to [B, channels, H / stride, W / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + self.shortcut(x))


class ResNet(nn.Cell):
    """ResNet without its classifier.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        stages: (blocks, channels, stride of the first) of each stage.
        outputs: Numbers of the stages whose outputs are returned, the first stage being 1.
        stem_padding: Zeros on every side before the 7x7 convolution; None pads ``same``.
        eps: Epsilon of the batch norms.
        momentum: Momentum of the batch norms.

    Attributes:
        channels: Channels of each output.
    """

    def __init__(
        self,
        block: type[Bottleneck] | type[BasicBlock],
        stages: Sequence[tuple[int, int, int]],
        outputs: Sequence[int],
        *,
        stem_padding: int | None = None,
        eps: float = 1e-3,
        momentum: float = 0.997,
    ) -> None:
        super().__init__()
        self.conv1 = conv(3, 64, 7, 2, padding=stem_padding)
        self.bn1 = batch_norm(64, eps, momentum)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, pad_mode="same")
        width = 64
        for number, (count, channels, first_stride) in enumerate(stages, start=1):
            cells = []
            for i in range(count):
                cells.append(block(width, channels, first_stride if i == 0 else 1, eps, momentum))
                width = channels
            self.insert_child_to_cell(f"layer{number}", nn.SequentialCell(cells))
        self.stage_names = tuple(f"layer{number}" for number in range(1, len(stages) + 1))
        self.output_names = tuple(f"layer{number}" for number in outputs)
        self.channels = tuple(stages[number - 1][1] for number in outputs)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to the outputs of the chosen stages, finest first."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs = []
        for name in self.stage_names:
            x = getattr(self, name)(x)
            if name in self.output_names:
                outputs.append(x)
        return tuple(outputs)
