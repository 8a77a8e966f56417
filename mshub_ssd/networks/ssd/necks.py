"""Necks: from a backbone's maps to the pyramid of maps the head looks at."""

from __future__ import annotations

from collections.abc import Sequence

from mshub_ssd.networks.backend import Tensor, nn, ops
from mshub_ssd.networks.layers import Activation, InvertedResidual, batch_norm, conv, conv_bn_relu6, depthwise

__all__ = [
    "ChainExtractor",
    "FeatureMapGenerators",
    "FeaturePyramid",
    "PyramidExtractor",
    "ReducingExtractor",
    "StridedBlocks",
    "extra_residuals",
]


def extra_residuals(
    in_channels: int, extras: Sequence[tuple[int, float]], activation: Activation = nn.ReLU6
) -> nn.CellList:
    """Further stride-2 inverted residuals after the last map of a backbone, one (channels, ratio) each.

    The hidden width is ``round(in_channels * ratio)``. `activation` is the inner one; the last is always ReLU6.
    """
    cells = []
    for channels, ratio in extras:
        hidden = round(in_channels * ratio)
        cells.append(
            InvertedResidual(
                in_channels, channels, hidden, 2, residual=False, final_activation=nn.ReLU6, activation=activation
            )
        )
        in_channels = channels
    return nn.CellList(cells)


def _block(channels: int, stride: int, depthwise_convs: bool = False) -> nn.SequentialCell:
    first = depthwise(channels, 3, stride) if depthwise_convs else conv(channels, channels, 3, stride)
    return conv_bn_relu6(first)


class FeaturePyramid(nn.Cell):
    """Feature pyramid network (Lin et al., 2016, https://arxiv.org/abs/1612.03144).

    Args:
        in_channels: Channels of the backbone's maps, finest first.
        channels: Channels of every output map.
        depthwise_convs: Make the output convolutions depthwise.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, *, depthwise_convs: bool = False) -> None:
        super().__init__()
        self.lateral_convs_list = nn.CellList([conv(width, channels, bias=True) for width in in_channels])
        self.fpn_convs_list = nn.CellList([_block(channels, 1, depthwise_convs) for _ in in_channels])
        # index * in / out without the half-pixel shift, as these networks were trained.
        self.resize = ops.ResizeBilinearV2(align_corners=False, half_pixel_centers=False)
        self.levels = len(in_channels)

    def construct(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps of the backbone, finest first, to as many maps of equal width."""
        last = self.levels - 1
        merged = self.lateral_convs_list[last](maps[last])
        outputs = [self.fpn_convs_list[last](merged)]
        for i in range(last - 1, -1, -1):
            lateral = self.lateral_convs_list[i](maps[i])
            merged = lateral + self.resize(merged, ops.shape(lateral)[2:])
            outputs.append(self.fpn_convs_list[i](merged))
        return tuple(outputs[::-1])


class StridedBlocks(nn.Cell):
    """Further levels of a pyramid, each half as large as the one before."""

    def __init__(self, channels: int, count: int, *, depthwise_convs: bool = False) -> None:
        super().__init__()
        self.blocks = nn.CellList([_block(channels, 2, depthwise_convs) for _ in range(count)])

    def construct(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The maps given, and `count` coarser ones."""
        for block in self.blocks:
            maps = (*maps, block(maps[-1]))
        return maps


class PyramidExtractor(nn.Cell):
    """Backbone, feature pyramid and coarser levels.

    Args:
        name: The backbone's name in the parameters of published checkpoints, e.g. ``resnet``.
        backbone: Returns maps of strides 8, 16 and 32; has `channels`.
        channels: Channels of every output map.
        extra_levels: Number of levels after the backbone's.
        depthwise_convs: Make the 3x3 convolutions of the neck depthwise.
    """

    def __init__(
        self, name: str, backbone: nn.Cell, channels: int, extra_levels: int = 2, *, depthwise_convs: bool = False
    ) -> None:
        super().__init__()
        self.insert_child_to_cell(name, backbone)
        self.backbone_name = name
        self.fpn = FeaturePyramid(backbone.channels, channels, depthwise_convs=depthwise_convs)
        self.bottom_up = StridedBlocks(channels, extra_levels, depthwise_convs=depthwise_convs)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to the pyramid's maps, finest first."""
        maps: tuple[Tensor, ...] = self.bottom_up(self.fpn(getattr(self, self.backbone_name)(x)))
        return maps


class ReducingExtractor(nn.Cell):
    """A backbone's maps of strides 8 and 16, its last map narrowed, and coarser levels of that.

    Args:
        resnet: The backbone; returns maps of strides 8, 16 and 32.
        channels: Channels of the narrowed map.
        extra_channels: Channels of each coarser level.
        extra_levels: Number of coarser levels.

    Attributes:
        channels: Channels of every map.
    """

    def __init__(self, resnet: nn.Cell, channels: int = 512, extra_channels: int = 256, extra_levels: int = 2) -> None:
        super().__init__()
        self.resnet = resnet
        self.backbone_name = "resnet"
        self.extra = _NarrowedBlocks(channels, extra_channels, extra_levels)
        # The published name.
        self.Channel_cover = conv_bn_relu6(conv(resnet.channels[-1], channels, 3))
        self.channels = (*resnet.channels[:-1], channels, *[extra_channels] * extra_levels)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to the maps, finest first."""
        c3, c4, c5 = self.resnet(x)
        c5 = self.Channel_cover(c5)
        return (c3, c4, c5, *self.extra(c5))


class _NarrowedBlocks(nn.Cell):
    def __init__(self, in_channels: int, channels: int, count: int) -> None:
        super().__init__()
        self.Channel_cover = conv_bn_relu6(conv(in_channels, channels, 3))
        self.blocks = nn.CellList([_block(channels, 2) for _ in range(count)])

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = []
        x = self.Channel_cover(x)
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return tuple(outputs)


class ChainExtractor(nn.Cell):
    """A backbone's one map, and a chain of plain convolution pairs after it.

    Args:
        module: The backbone; returns one map.
        blocks: Per further level (channels of the 1x1, channels of the 3x3, stride of the 3x3, its padding).

    Attributes:
        channels: Channels of every map.
    """

    def __init__(self, module: nn.Cell, blocks: Sequence[tuple[int, int, int, int]]) -> None:
        super().__init__()
        self.module = module
        self.backbone_name = "module"
        cells, widths = [], [module.channels[-1]]
        for inner, channels, stride, padding in blocks:
            first = conv(widths[-1], inner)
            second = conv(inner, channels, 3, stride, padding=padding)
            cells.append(nn.SequentialCell([first, nn.ReLU(), second, nn.ReLU()]))
            widths.append(channels)
        self.additional_blocks = nn.CellList(cells)
        self.channels = tuple(widths)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to the maps, finest first."""
        maps: tuple[Tensor, ...] = self.module(x)
        for block in self.additional_blocks:
            maps = (*maps, block(maps[-1]))
        return maps


class FeatureMapGenerators(nn.Cell):
    """The backbone's maps as they are, and a chain of 1x1 and strided 3x3 convolutions after the last one.

    Attributes:
        channels: Channels of every map.
    """

    def __init__(self, in_channels: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        widths = [in_channels[-1], *channels]
        generators = [_Generator(before, after) for before, after in zip(widths, channels, strict=False)]
        # The published numbering counts the backbone's maps.
        self.feature_generators = nn.CellList([*(nn.Identity() for _ in in_channels), *generators])
        self.given, self.total = len(in_channels), len(in_channels) + len(channels)
        self.channels = (*in_channels, *channels)

    def construct(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The maps given, and one more per generator."""
        for i in range(self.given, self.total):
            maps = (*maps, self.feature_generators[i](maps[-1]))
        return maps


class _Generator(nn.Cell):
    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1x1 = conv(in_channels, channels // 2)
        self.bn_1x1 = batch_norm(channels // 2, 1e-3, 0.9997)
        self.conv = conv(channels // 2, channels, 3, 2)
        self.bn = batch_norm(channels, 1e-3, 0.9997)
        self.relu = nn.ReLU6()

    def construct(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn_1x1(self.conv1x1(x)))
        return self.relu(self.bn(self.conv(x)))
