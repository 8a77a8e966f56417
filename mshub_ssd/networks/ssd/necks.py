"""Necks: from a backbone's maps to the pyramid of maps the head looks at."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from mshub_ssd.networks.layers import InvertedResidual, batch_norm, conv

__all__ = ["FeaturePyramid", "PyramidExtractor", "StridedBlocks", "extra_residuals"]


def extra_residuals(in_channels: int, extras: Sequence[tuple[int, float]]) -> nn.CellList:
    """Further stride-2 inverted residuals after the last map of a backbone, one (channels, ratio) each.

    The hidden width is ``round(in_channels * ratio)``.
    """
    cells = []
    for channels, ratio in extras:
        hidden = round(in_channels * ratio)
        cells.append(InvertedResidual(in_channels, channels, hidden, 2, residual=False, final_activation=nn.ReLU6))
        in_channels = channels
    return nn.CellList(cells)


def _conv_bn_relu6(channels: int, stride: int) -> nn.SequentialCell:
    return nn.SequentialCell([conv(channels, channels, 3, stride), batch_norm(channels, 1e-5, 0.9), nn.ReLU6()])


class FeaturePyramid(nn.Cell):
    """Feature pyramid network (Lin et al., 2016, https://arxiv.org/abs/1612.03144).

    Args:
        in_channels: Channels of the backbone's maps, finest first.
        channels: Channels of every output map.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral_convs_list = nn.CellList([conv(width, channels, bias=True) for width in in_channels])
        self.fpn_convs_list = nn.CellList([_conv_bn_relu6(channels, 1) for _ in in_channels])
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

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.blocks = nn.CellList([_conv_bn_relu6(channels, 2) for _ in range(count)])

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
    """

    def __init__(self, name: str, backbone: nn.Cell, channels: int, extra_levels: int = 2) -> None:
        super().__init__()
        self.insert_child_to_cell(name, backbone)
        self.backbone_name = name
        self.fpn = FeaturePyramid(backbone.channels, channels)
        self.bottom_up = StridedBlocks(channels, extra_levels)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to the pyramid's maps, finest first."""
        maps: tuple[Tensor, ...] = self.bottom_up(self.fpn(getattr(self, self.backbone_name)(x)))
        return maps
