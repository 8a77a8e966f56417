"""Heads: from the pyramid's maps to a location and class scores for every anchor.

A head returns ``(pred_loc [B, N, 4], logits [B, N, num_classes])``; N runs over level, row, column and box.
"""

from __future__ import annotations

from collections.abc import Sequence

from mshub_ssd.networks.backend import Tensor, nn, ops
from mshub_ssd.networks.layers import ConvBNAct, batch_norm, conv, depthwise

__all__ = ["MultiBox", "WeightSharedMultiBox"]


def _flatten(prediction: Tensor) -> Tensor:
    """[B, boxes * k, H, W] to [B, H * W * boxes * k]: channels last, so that boxes of a cell are neighbours."""
    return ops.reshape(ops.transpose(prediction, (0, 2, 3, 1)), (ops.shape(prediction)[0], -1))


def _join(predictions: list[Tensor], size: int) -> Tensor:
    """Flattened predictions of all levels to [B, N, size]."""
    joined = ops.concat(predictions, 1) if len(predictions) > 1 else predictions[0]
    return ops.reshape(joined, (ops.shape(joined)[0], -1, size))


class MultiBox(nn.Cell):
    """Separate predictors per level: a 3x3 convolution, batch norm, ReLU6, and a 1x1 convolution.

    Args:
        in_channels: Channels of each map.
        per_cell: Anchors per cell of each map.
        num_classes: Classes with the background.
        depthwise_first: Make the 3x3 convolution depthwise instead of dense.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        per_cell: Sequence[int],
        num_classes: int,
        *,
        depthwise_first: bool,
    ) -> None:
        super().__init__()

        def predictor(channels: int, out_channels: int) -> nn.SequentialCell:
            first = depthwise(channels) if depthwise_first else conv(channels, channels, 3)
            last = conv(channels, out_channels, bias=True)
            return nn.SequentialCell([first, batch_norm(channels), nn.ReLU6(), last])

        levels = list(zip(in_channels, per_cell, strict=True))
        self.multi_loc_layers = nn.CellList([predictor(width, 4 * boxes) for width, boxes in levels])
        self.multi_cls_layers = nn.CellList([predictor(width, num_classes * boxes) for width, boxes in levels])
        self.num_classes = num_classes
        self.levels = len(levels)

    def construct(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Maps [B, C, H, W], finest first, to locations and class logits."""
        locations = [_flatten(self.multi_loc_layers[i](maps[i])) for i in range(self.levels)]
        logits = [_flatten(self.multi_cls_layers[i](maps[i])) for i in range(self.levels)]
        return _join(locations, 4), _join(logits, self.num_classes)


class WeightSharedMultiBox(nn.Cell):
    """One predictor for all levels: its convolutions are shared, its batch norms are each level's own.

    Args:
        levels: Number of maps.
        channels: Channels of every map.
        boxes: Anchors per cell.
        num_classes: Classes with the background.
        depth: Number of 3x3 convolutions before the last one.
    """

    def __init__(self, levels: int, channels: int, boxes: int, num_classes: int, *, depth: int = 4) -> None:
        super().__init__()

        def towers() -> nn.CellList:
            shared = [conv(channels, channels, 3, bias=True) for _ in range(depth)]
            return nn.CellList(
                [nn.SequentialCell([ConvBNAct(convolution) for convolution in shared]) for _ in range(levels)]
            )

        def last(out_channels: int) -> nn.CellList:
            return nn.CellList([conv(channels, out_channels, 3, bias=True)])

        self.addition_layer_loc = towers()
        self.addition_layer_cls = towers()
        self.loc_layers = last(4 * boxes)
        self.cls_layers = last(num_classes * boxes)
        self.num_classes = num_classes
        self.levels = levels

    def construct(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Maps [B, C, H, W], finest first, to locations and class logits."""
        locations = [_flatten(self.loc_layers[0](self.addition_layer_loc[i](maps[i]))) for i in range(self.levels)]
        logits = [_flatten(self.cls_layers[0](self.addition_layer_cls[i](maps[i]))) for i in range(self.levels)]
        return _join(locations, 4), _join(logits, self.num_classes)
