"""SPPNet (He et al., 2014, https://arxiv.org/abs/1406.4729): ZFNet's convolutions, pooled into a pyramid of bins.

The pyramid makes a vector of one length from maps of different sizes. Figures are the publishers'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.backend import Tensor, nn, ops
from mshub_ssd.networks.classification import ClassifierConfig, class_names
from mshub_ssd.networks.layers import conv

__all__ = ["SPPNet", "sppnet_mult", "sppnet_single", "sppnet_zfnet"]

Names = Sequence[str] | None

# Side of the last map for every side of the input the networks take.
_MAP_SIDES = {224: 13, 180: 10}
_PYRAMID = (6, 3, 2, 1)


def sppnet_zfnet(num_classes: int = 1000, *, classes: Names = None, hidden_units: int = 4096) -> SPPNet:
    """ZFNet itself: one level of 6 x 6 bins instead of a pyramid; ImageNet 2012 top-1 0.6458, top-5 0.8553."""
    return _sppnet("sppnet_zfnet", (6,), (224,), 0.35, num_classes, classes, hidden_units)


def sppnet_single(num_classes: int = 1000, *, classes: Names = None, hidden_units: int = 4096) -> SPPNet:
    """The pyramid network, trained on pictures of one size; ImageNet 2012 top-1 0.6481, top-5 0.8577."""
    return _sppnet("sppnet_single", _PYRAMID, (224, 180), 0.41, num_classes, classes, hidden_units)


def sppnet_mult(num_classes: int = 1000, *, classes: Names = None, hidden_units: int = 4096) -> SPPNet:
    """The pyramid network, trained on 224 and 180 pixels in turn; ImageNet 2012 top-1 0.6482, top-5 0.8566."""
    return _sppnet("sppnet_mult", _PYRAMID, (224, 180), 0.42, num_classes, classes, hidden_units)


class SPPNet(nn.Cell):
    """Five convolutions, a pyramid of bins, three dense layers.

    Called on pictures [B, 3, S, S] it returns logits [B, num_classes] in both modes; in training mode with
    dropout before them.

    Args:
        config: The `ClassifierConfig`; S is one of its ``input_sizes``.
        levels: Bins per side of every level of the pyramid.
        dropout: Probability of leaving out one of the hidden units.
        hidden_units: Width of the two hidden dense layers.

    Raises:
        UsageError: When called on anything but pictures of these sizes, where the call is no part of a graph.
    """

    def __init__(
        self, config: ClassifierConfig, levels: Sequence[int], *, dropout: float, hidden_units: int = 4096
    ) -> None:
        super().__init__()
        self.config = config
        self.conv1 = conv(3, 96, 7, 2, bias=True)
        self.conv2 = conv(96, 256, 5, 2, bias=True)
        self.conv3 = conv(256, 384, 3, bias=True, padding=1)
        self.conv4 = conv(384, 384, 3, bias=True, padding=1)
        self.conv5 = conv(384, 256, 3, bias=True, padding=1)
        self.relu = nn.ReLU()
        self.norm = ChannelNorm()
        self.pool = nn.MaxPool2d(3, 2)
        self.pyramids = nn.CellList([PyramidPool(_MAP_SIDES[size], levels) for size in config.input_sizes])
        bins = sum(count * count for count in levels)
        self.fc1 = nn.Dense(256 * bins, hidden_units)
        self.fc2 = nn.Dense(hidden_units, hidden_units)
        self.fc3 = nn.Dense(hidden_units, config.num_classes)
        self.dropout = nn.Dropout(p=dropout)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network; an input it cannot take is refused before MindSpore's compiler stumbles over it."""
        shape = tuple(getattr(args[0], "shape", ())) if args else ()
        sizes = self.config.input_sizes
        if shape and not (len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3] and shape[2] in sizes):
            raise UsageError(
                f"{self.config.name} does not take an input of this shape",
                expected=" or ".join(f"[B, 3, {size}, {size}]" for size in sizes),
                got=str(list(shape)),
                hint="mshub_ssd.classify(network, picture) brings any picture to the right size",
            )
        return super().__call__(*args, **kwargs)

    def construct(self, x: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] to logits [B, num_classes]."""
        x = self.pool(self.norm(self.relu(self.conv1(x))))
        x = self.pool(self.norm(self.relu(self.conv2(x))))
        x = self.relu(self.conv3(x))
        x = self.relu(self.conv4(x))
        x = self.relu(self.conv5(x))
        for pyramid in self.pyramids:
            if x.shape[2] == pyramid.side:
                x = pyramid(x)
                break
        x = self.dropout(self.relu(self.fc1(x)))
        x = self.dropout(self.relu(self.fc2(x)))
        return self.fc3(x)


class ChannelNorm(nn.Cell):
    """Local response normalisation over channels: x / sqrt(1 + sum of the squares in channels c-5 .. c+5).

    Made of basic operations, because MindSpore's own ``LRN`` is supported neither on Ascend nor in ONNX files.
    """

    def __init__(self, radius: int = 5) -> None:
        super().__init__()
        self.window = 2 * radius + 1
        self.pad = nn.Pad(((0, 0), (radius, radius), (0, 0), (0, 0)))
        self.sqrt = ops.Sqrt()

    def construct(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        channels = x.shape[1]
        squares = self.pad(x * x)
        total = squares[:, :channels]
        for shift in range(1, self.window):
            total = total + squares[:, shift : shift + channels]
        return x / self.sqrt(total + 1.0)


class PyramidPool(nn.Cell):
    """Maxima of a square map in bins, on several levels.

    The bins of a level are ceil(side / count) wide and floor(side / count) apart, so they may overlap.

    Args:
        side: Side of the map.
        levels: Bins per side of every level.

    Attributes:
        side: As above.
    """

    def __init__(self, side: int, levels: Sequence[int]) -> None:
        super().__init__()
        self.side = side
        pools: list[nn.Cell] = []
        for count in levels:
            kernel, stride = _bins(side, count)
            if (side - kernel) // stride + 1 == count:
                pools.append(nn.MaxPool2d(kernel, stride))
            else:
                # These numbers would make more bins. The networks were trained with a frame of zeros around the
                # map, which lose to all that comes out of a ReLU.
                frame = nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1)))
                pools.append(nn.SequentialCell(frame, nn.MaxPool2d(*_bins(side + 2, count))))
        self.pools = nn.CellList(pools)

    def construct(self, x: Tensor) -> Tensor:
        """[B, C, side, side] to [B, C * bins]: level by level, within a level channel by channel."""
        return ops.concat([pool(x).reshape(x.shape[0], -1) for pool in self.pools], 1)


def _bins(side: int, count: int) -> tuple[int, int]:
    return -(-side // count), side // count


def _sppnet(
    name: str,
    levels: Sequence[int],
    input_sizes: tuple[int, ...],
    dropout: float,
    num_classes: int,
    classes: Names,
    hidden_units: int,
) -> SPPNet:
    config = ClassifierConfig(
        name=name,
        num_classes=num_classes,
        class_names=class_names(num_classes, classes),
        input_sizes=input_sizes,
    )
    return SPPNet(config, levels, dropout=dropout, hidden_units=hidden_units)
