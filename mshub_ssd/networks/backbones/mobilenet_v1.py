"""MobileNetV1 (Howard et al., 2017, https://arxiv.org/abs/1704.04861) with three outputs."""

from __future__ import annotations

from mshub_ssd.networks.backend import Tensor, nn
from mshub_ssd.networks.layers import conv, conv_bn_relu6, depthwise

__all__ = ["MobileNetV1"]

# (stride of the depthwise convolution, channels of the 1x1) of each pair after the stem.
_PAIRS = (
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    *[(1, 512)] * 5,
    (2, 1024),
    (1, 1024),
)


class MobileNetV1(nn.Cell):
    """The feature extractor: a stem, and 13 pairs of a depthwise and a 1x1 convolution.

    Attributes:
        channels: Channels of the outputs (strides 8, 16 and 32).
    """

    def __init__(self) -> None:
        super().__init__()
        cells = [conv_bn_relu6(conv(3, 32, 3, 2))]
        width = 32
        for stride, channels in _PAIRS:
            cells += [conv_bn_relu6(depthwise(width, 3, stride)), conv_bn_relu6(conv(width, channels))]
            width = channels
        self.network = nn.SequentialCell(cells)
        # The last cell of each stride.
        self.taps = (10, 22, 26)
        self.channels = (256, 512, 1024)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to the maps of strides 8, 16 and 32."""
        outputs = []
        for i, cell in enumerate(self.network):
            x = cell(x)
            if i in self.taps:
                outputs.append(x)
        return tuple(outputs)
