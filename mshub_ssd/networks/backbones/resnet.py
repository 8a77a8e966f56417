"""ResNet (He et al., 2015, https://arxiv.org/abs/1512.03385), the variant with the stride in the 3x3."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn

from mshub_ssd.networks.layers import batch_norm, conv

__all__ = ["Bottleneck", "ResNet"]


class Bottleneck(nn.Cell):
    """1x1 to a quarter of the channels, 3x3 with the stride, 1x1 back, and the shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, project: bool, eps: float, momentum: float
    ) -> None:
        super().__init__()
        inner = out_channels // 4
        self.conv1 = conv(in_channels, inner)
        self.bn1 = batch_norm(inner, eps, momentum)
        self.conv2 = conv(inner, inner, 3, stride)
        self.bn2 = batch_norm(inner, eps, momentum)
        self.conv3 = conv(inner, out_channels)
        # A last gamma of 0 makes a fresh block the identity, which eases training.
        self.bn3 = nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum, gamma_init=0)
        self.relu = nn.ReLU()
        self.down_sample_layer = None
        if project:
            self.down_sample_layer = nn.SequentialCell(
                [conv(in_channels, out_channels, 1, stride), batch_norm(out_channels, eps, momentum)]
            )

    def construct(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        shortcut = x if self.down_sample_layer is None else self.down_sample_layer(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + shortcut)


class ResNet(nn.Cell):
    """ResNet without its classifier.

    Args:
        blocks: Number of blocks of each of the four stages, e.g. (3, 4, 6, 3) for ResNet-50.
        eps: Epsilon of the batch norms.
        momentum: Momentum of the batch norms.

    Attributes:
        channels: Channels of the three outputs (stages 2, 3 and 4; strides 8, 16 and 32).
    """

    def __init__(self, blocks: Sequence[int] = (3, 4, 6, 3), *, eps: float = 1e-3, momentum: float = 0.997) -> None:
        super().__init__()
        self.conv1 = conv(3, 64, 7, 2)
        self.bn1 = batch_norm(64, eps, momentum)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, pad_mode="same")
        widths = (64, 256, 512, 1024, 2048)

        def stage(number: int) -> nn.SequentialCell:
            width = widths[number]
            stride = 1 if number == 1 else 2
            cells = [Bottleneck(widths[number - 1], width, stride, True, eps, momentum)]
            cells += [Bottleneck(width, width, 1, False, eps, momentum) for _ in range(blocks[number - 1] - 1)]
            return nn.SequentialCell(cells)

        self.layer1, self.layer2, self.layer3, self.layer4 = (stage(number) for number in (1, 2, 3, 4))
        self.channels = widths[2:]

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to the maps of strides 8, 16 and 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        c3 = self.layer2(self.layer1(x))
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)
