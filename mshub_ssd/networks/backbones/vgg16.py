"""VGG-16 (Simonyan and Zisserman, 2014, https://arxiv.org/abs/1409.1556), convolutions only."""

from __future__ import annotations

from mshub_ssd.networks.backend import Tensor, nn
from mshub_ssd.networks.layers import conv

__all__ = ["BLOCKS", "VGG16"]

# (convolutions, channels) of each block.
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


class VGG16(nn.Cell):
    """The feature extractor; a last pooling of stride 1 instead of 2.

    Attributes:
        channels: Channels of the two outputs: block 4 before its pooling (stride 8), block 5 after it (stride 16).
    """

    def __init__(self) -> None:
        super().__init__()
        width = 3
        for number, (count, channels) in enumerate(BLOCKS, start=1):
            cells: list[nn.Cell] = []
            for _ in range(count):
                cells += [conv(width, channels, 3), nn.ReLU()]
                width = channels
            self.insert_child_to_cell(f"b{number}", nn.SequentialCell(cells))
        self.pool = nn.MaxPool2d(2, 2, pad_mode="same")
        self.last_pool = nn.MaxPool2d(3, 1, pad_mode="same")
        self.channels = (512, 512)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to the two maps."""
        x = self.pool(self.b1(x))
        x = self.pool(self.b2(x))
        x = self.pool(self.b3(x))
        c4 = self.b4(x)
        return c4, self.last_pool(self.b5(self.pool(c4)))
