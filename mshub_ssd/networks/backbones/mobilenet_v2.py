"""MobileNetV2 (Sandler et al., 2018, https://arxiv.org/abs/1801.04381) with several outputs."""

from __future__ import annotations

from collections.abc import Sequence

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.arguments import MOBILE_TAPS, MOBILENET_V2_BLOCKS
from mshub_ssd.networks.backend import Tensor, nn
from mshub_ssd.networks.layers import ConvBNAct, InvertedResidual, conv

__all__ = ["MobileNetV2"]


class MobileNetV2(nn.Cell):
    """The feature extractor. Layer 0 is the stem, the last layer a 1x1 convolution.

    Args:
        taps: (layer, channels): the output of that layer goes through a 1x1 convolution of its own to so
            many channels and becomes an output, in the order given.
        blocks: Rows of (expansion, channels, repeats, stride of the first block).
        stem_channels: Channels of the 3x3 stride-2 stem.
        last_channels: Channels of the last layer.

    Attributes:
        channels: Channels of each output map.
        strides: Stride of each output map.

    Raises:
        UsageError: A tap names a layer that does not exist, or the taps do not ascend.
    """

    def __init__(
        self,
        taps: Sequence[tuple[int, int]] = MOBILE_TAPS,
        *,
        blocks: Sequence[tuple[int, int, int, int]] = MOBILENET_V2_BLOCKS,
        stem_channels: int = 32,
        last_channels: int = 1280,
    ) -> None:
        super().__init__()
        layers: list[nn.Cell] = [ConvBNAct(conv(3, stem_channels, 3, 2))]
        widths, strides = [stem_channels], [2]
        for expansion, channels, repeats, first_stride in blocks:
            for i in range(repeats):
                stride = first_stride if i == 0 else 1
                hidden = round(widths[-1] * expansion)
                layers.append(InvertedResidual(widths[-1], channels, hidden, stride))
                widths.append(channels)
                strides.append(strides[-1] * stride)
        layers.append(ConvBNAct(conv(widths[-1], last_channels)))
        strides.append(strides[-1])

        tapped = [layer for layer, _ in taps]
        if tapped != sorted(set(tapped)) or not all(0 <= layer < len(layers) - 1 for layer in tapped):
            raise UsageError(
                "the taps of a MobileNetV2 must be ascending layer numbers before the last layer",
                expected=f"numbers from 0 to {len(layers) - 2}",
                got=str(tapped),
            )
        # The published networks define the taps' convolutions before the layers.
        expand_names = [f"expand_layer_conv_{layer}" for layer in tapped]
        for name, (layer, channels) in zip(expand_names, taps, strict=True):
            self.insert_child_to_cell(name, ConvBNAct(conv(widths[layer], channels)))
        bounds = [0, *(layer + 1 for layer in tapped), len(layers)]
        stage_names = [f"features_{i + 1}" for i in range(len(bounds) - 1)]
        for name, start, end in zip(stage_names, bounds, bounds[1:], strict=False):
            self.insert_child_to_cell(name, nn.SequentialCell(layers[start:end]))
        self.stages = tuple(zip(stage_names, [*expand_names, ""], strict=True))
        self.channels = (*(channels for _, channels in taps), last_channels)
        self.strides = tuple(strides[layer] for layer in [*tapped, len(layers) - 1])

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to one map per tap and the last layer's map, finest first."""
        outputs = []
        for stage, expand in self.stages:
            x = getattr(self, stage)(x)
            outputs.append(getattr(self, expand)(x) if expand else x)
        return tuple(outputs)
