"""Inception v2 (Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167) with two outputs."""

from __future__ import annotations

from mshub_ssd.networks.backend import Tensor, nn, ops
from mshub_ssd.networks.layers import batch_norm, conv

__all__ = ["InceptionV2"]


class _ConvBN(nn.Cell):
    """Convolution, batch norm, ReLU6, under the published names."""

    def __init__(self, in_channels: int, channels: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = conv(in_channels, channels, kernel, stride)
        self.BatchNorm = batch_norm(channels, 1e-3, 0.9997)
        self.relu = nn.ReLU6()

    def construct(self, x: Tensor) -> Tensor:
        return self.relu(self.BatchNorm(self.conv(x)))


def _chain(in_channels: int, *steps: tuple[int, int, int]) -> nn.SequentialCell:
    """Convolutions (channels, kernel, stride), one after the other."""
    cells = []
    for channels, kernel, stride in steps:
        cells.append(_ConvBN(in_channels, channels, kernel, stride))
        in_channels = channels
    return nn.SequentialCell(cells)


class _Mixed(nn.Cell):
    """Four branches side by side: 1x1; 3x3; two 3x3; average pooling."""

    def __init__(self, in_channels: int, b0: int, b1: tuple[int, int], b2: tuple[int, int], b3: int) -> None:
        super().__init__()
        self.Branch_0 = _ConvBN(in_channels, b0)
        self.Branch_1 = _chain(in_channels, (b1[0], 1, 1), (b1[1], 3, 1))
        self.Branch_2 = _chain(in_channels, (b2[0], 1, 1), (b2[1], 3, 1), (b2[1], 3, 1))
        self.pool = nn.AvgPool2d(3, 1, pad_mode="same")
        self.Branch_3 = _ConvBN(in_channels, b3)
        self.channels = b0 + b1[1] + b2[1] + b3

    def construct(self, x: Tensor) -> Tensor:
        return ops.concat((self.Branch_0(x), self.Branch_1(x), self.Branch_2(x), self.Branch_3(self.pool(x))), 1)


class _Reduction(nn.Cell):
    """Three strided branches side by side: 3x3; two 3x3; maximum pooling."""

    def __init__(self, in_channels: int, b0: tuple[int, int], b1: tuple[int, int]) -> None:
        super().__init__()
        self.Branch_0 = _chain(in_channels, (b0[0], 1, 1), (b0[1], 3, 2))
        self.Branch_1 = _chain(in_channels, (b1[0], 1, 1), (b1[1], 3, 1), (b1[1], 3, 2))
        self.pool = nn.MaxPool2d(3, 2, pad_mode="same")
        self.channels = b0[1] + b1[1] + in_channels

    def construct(self, x: Tensor) -> Tensor:
        return ops.concat((self.Branch_0(x), self.Branch_1(x), self.pool(x)), 1)


class InceptionV2(nn.Cell):
    """The feature extractor.

    Attributes:
        channels: Channels of the two outputs (strides 16 and 32).
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_7x7 = _ConvBN(3, 64, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, pad_mode="same")
        self.Conv2d_2b_1x1 = _ConvBN(64, 64)
        self.Conv2d_2c_3x3 = _ConvBN(64, 192, 3)
        self.Mixed_3b = _Mixed(192, 64, (64, 64), (64, 96), 32)
        self.Mixed_3c = _Mixed(self.Mixed_3b.channels, 64, (64, 96), (64, 96), 64)
        self.Mixed_4a = _Reduction(self.Mixed_3c.channels, (128, 160), (64, 96))
        self.Mixed_4b = _Mixed(self.Mixed_4a.channels, 224, (64, 96), (96, 128), 128)
        self.Mixed_4c = _Mixed(self.Mixed_4b.channels, 192, (96, 128), (96, 128), 128)
        self.Mixed_4d = _Mixed(self.Mixed_4c.channels, 160, (128, 160), (128, 160), 96)
        self.Mixed_4e = _Mixed(self.Mixed_4d.channels, 96, (128, 192), (160, 192), 96)
        self.Mixed_5a = _Reduction(self.Mixed_4e.channels, (128, 192), (192, 256))
        self.Mixed_5b = _Mixed(self.Mixed_5a.channels, 352, (192, 320), (160, 224), 128)
        self.Mixed_5c = _Mixed(self.Mixed_5b.channels, 352, (192, 320), (192, 224), 128)
        self.channels = (self.Mixed_4c.channels, self.Mixed_5c.channels)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to the maps of strides 16 and 32."""
        x = self.pool(self.Conv2d_1a_7x7(x))
        x = self.pool(self.Conv2d_2c_3x3(self.Conv2d_2b_1x1(x)))
        x = self.Mixed_4a(self.Mixed_3c(self.Mixed_3b(x)))
        c4 = self.Mixed_4c(self.Mixed_4b(x))
        x = self.Mixed_5a(self.Mixed_4e(self.Mixed_4d(c4)))
        return c4, self.Mixed_5c(self.Mixed_5b(x))
