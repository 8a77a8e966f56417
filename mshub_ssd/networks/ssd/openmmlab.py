"""OpenMMLab's SSD300, SSD512 and SSDLite (MMDetection 2.14 and later), with the published parameter names.

Each is a backbone with two outputs, a neck that adds smaller maps, and a head with its own convolutions per map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mshub_ssd.networks.arguments import MOBILENET_V2_BLOCKS
from mshub_ssd.networks.backbones import vgg16
from mshub_ssd.networks.backend import Parameter, Tensor, initializer, nn, ops
from mshub_ssd.networks.layers import batch_norm, conv
from mshub_ssd.networks.ssd.config import class_names
from mshub_ssd.networks.ssd.openmmlab_config import OpenMMLabConfig, StridedAnchors, percent_sizes

__all__ = ["OpenMMLabSSD", "ssd300", "ssd512", "ssdlite_mobilenet_v2"]

Names = Sequence[str] | None
Predictor = Callable[[int, int], nn.SequentialCell]


def ssd300(num_classes: int = 81, *, classes: Names = None) -> OpenMMLabSSD:
    """VGG-16, 300 x 300, 8,732 anchors; COCO 2017 box AP 25.5."""
    anchors = StridedAnchors(
        image_size=300,
        feature_sizes=(38, 19, 10, 5, 3, 1),
        strides=(8, 16, 32, 64, 100, 300),
        sizes=percent_sizes(300, (7, 15), 15, 6),
        ratios=((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    )
    # Kernel, stride and padding of each extra level's second convolution.
    extras = ((512, 3, 2, 1), (256, 3, 2, 1), (256, 3, 1, 0), (256, 3, 1, 0))
    return _vgg_ssd("openmmlab_ssd300", anchors, extras, num_classes, classes)


def ssd512(num_classes: int = 81, *, classes: Names = None) -> OpenMMLabSSD:
    """VGG-16, 512 x 512, 24,564 anchors; COCO 2017 box AP 29.5."""
    anchors = StridedAnchors(
        image_size=512,
        feature_sizes=(64, 32, 16, 8, 4, 2, 1),
        strides=(8, 16, 32, 64, 128, 256, 512),
        sizes=percent_sizes(512, (4, 10), 10, 7),
        ratios=((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    )
    extras = ((512, 3, 2, 1), (256, 3, 2, 1), (256, 3, 2, 1), (256, 3, 2, 1), (256, 4, 1, 1))
    return _vgg_ssd("openmmlab_ssd512", anchors, extras, num_classes, classes)


def ssdlite_mobilenet_v2(num_classes: int = 81, *, classes: Names = None) -> OpenMMLabSSD:
    """MobileNetV2 with depthwise extra levels and heads, 320 x 320, 3,234 anchors; COCO 2017 box AP 21.3."""
    anchors = StridedAnchors(
        image_size=320,
        feature_sizes=(20, 10, 5, 3, 2, 1),
        # 107 and 160 are published values, not input / grid.
        strides=(16, 32, 64, 107, 160, 320),
        sizes=((48, 100), (100, 150), (150, 202), (202, 253), (253, 304), (304, 320)),
        ratios=((2, 3),) * 6,
    )
    std = (58.395, 57.12, 57.375)
    config = _config("openmmlab_ssdlite_mobilenetv2", anchors, num_classes, classes, std)
    extras, width = [], 1280
    for channels in (512, 256, 256, 128):
        extras.append(nn.SequentialCell([_module(conv(width, channels // 2)), _Separable(channels // 2, channels)]))
        width = channels
    head = _Head((96, 1280, 512, 256, 256, 128), config, _separable_predictor)
    return OpenMMLabSSD(config, _MobileNetV2(), _Neck(extras), head)


class OpenMMLabSSD(nn.Cell):
    """Single shot detector (Liu et al., 2015, https://arxiv.org/abs/1512.02325) as MMDetection builds it.

    Called on pictures [B, 3, S, S] it returns ``(cls_scores, bbox_preds)``, two tuples with one map per level,
    finest first: class logits [B, anchors * num_classes, H, W], the background last, and box deltas
    [B, anchors * 4, H, W]; in both the anchor is the outer part of the channel number.

    Attributes:
        config: The `OpenMMLabConfig`.
    """

    def __init__(self, config: OpenMMLabConfig, backbone: nn.Cell, neck: nn.Cell, bbox_head: nn.Cell) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.neck = neck
        self.bbox_head = bbox_head

    def construct(self, x: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Pictures [B, 3, S, S] to class logits and box deltas, level by level."""
        scores, deltas = self.bbox_head(self.neck(self.backbone(x)))
        return scores, deltas


class _Module(nn.Cell):
    """Convolution, batch norm if any, activation if any; parameters under ``conv`` and ``bn``."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.Cell | None, activation: nn.Cell | None) -> None:
        super().__init__()
        self.conv = convolution
        self.bn = norm
        self.activate = activation

    def construct(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        if self.activate is not None:
            x = self.activate(x)
        return x


def _module(convolution: nn.Conv2d, *, activate: bool = True) -> _Module:
    return _Module(convolution, batch_norm(convolution.out_channels), nn.ReLU6() if activate else None)


def _depthwise(channels: int, stride: int = 1) -> nn.Conv2d:
    """With one zero on every side, where ``same`` would put none before with stride 2."""
    return conv(channels, channels, 3, stride, padding=1, groups=channels)


class _VGG16(nn.Cell):
    """VGG-16 as one flat list, with its two last fully connected layers as dilated convolutions."""

    def __init__(self) -> None:
        super().__init__()
        cells: list[nn.Cell] = []
        width = 3
        for count, channels in vgg16.BLOCKS:
            for _ in range(count):
                cells += [conv(width, channels, 3, bias=True, padding=1), nn.ReLU()]
                width = channels
            # "same" is ceil mode here: the last window takes what there is.
            cells.append(nn.MaxPool2d(2, 2, pad_mode="same"))
        cells[-1] = nn.MaxPool2d(3, 1, pad_mode="same")
        # Before the pooling after the fourth block.
        self.tap = len(cells) - 9
        cells += [conv(512, 1024, 3, bias=True, dilation=6, padding=6), nn.ReLU()]
        cells += [conv(1024, 1024, bias=True), nn.ReLU()]
        self.features = nn.CellList(cells)
        self.count = len(cells)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Picture [B, 3, H, W] to the maps of strides 8 and 16."""
        outputs: tuple[Tensor, ...] = ()
        for i in range(self.count):
            x = self.features[i](x)
            if i == self.tap:
                outputs = (*outputs, x)
        return (*outputs, x)


class _InvertedResidual(nn.Cell):
    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand_conv = _module(conv(in_channels, hidden)) if expansion != 1 else None
        self.depthwise_conv = _module(_depthwise(hidden, stride))
        self.linear_conv = _module(conv(hidden, out_channels), activate=False)
        self.adds = stride == 1 and in_channels == out_channels

    def construct(self, x: Tensor) -> Tensor:
        y = x if self.expand_conv is None else self.expand_conv(x)
        y = self.linear_conv(self.depthwise_conv(y))
        return x + y if self.adds else y


class _MobileNetV2(nn.Cell):
    """MobileNetV2 with the end of stage 5 and the last 1x1 convolution as outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _module(conv(3, 32, 3, 2, padding=1))
        width = 32
        for number, (expansion, channels, repeats, stride) in enumerate(MOBILENET_V2_BLOCKS, start=1):
            blocks = []
            for i in range(repeats):
                blocks.append(_InvertedResidual(width, channels, expansion, stride if i == 0 else 1))
                width = channels
            self.insert_child_to_cell(f"layer{number}", nn.SequentialCell(blocks))
        self.conv2 = _module(conv(width, 1280))

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Picture [B, 3, H, W] to the maps of strides 16 and 32."""
        x = self.layer2(self.layer1(self.conv1(x)))
        middle = self.layer5(self.layer4(self.layer3(x)))
        return middle, self.conv2(self.layer7(self.layer6(middle)))


class _L2Norm(nn.Cell):
    """Every pixel's channels scaled to unit length, times a learned weight per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = Parameter(initializer(20.0, (channels,)), name="weight")
        self.sum = ops.ReduceSum(keep_dims=True)
        self.channels = channels

    def construct(self, x: Tensor) -> Tensor:
        # The small number is added to the length, not under the root.
        length = ops.sqrt(self.sum(x * x, 1)) + 1e-10
        return ops.reshape(self.weight, (1, self.channels, 1, 1)) * x / length


class _Separable(nn.Cell):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise_conv = _module(_depthwise(in_channels, 2))
        self.pointwise_conv = _module(conv(in_channels, out_channels))

    def construct(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


class _Neck(nn.Cell):
    """The backbone's maps, the first one normalised for the head, and a chain of smaller maps after the last."""

    def __init__(self, extra_layers: Iterable[nn.Cell], normed_channels: int | None = None) -> None:
        super().__init__()
        self.l2_norm = _L2Norm(normed_channels) if normed_channels else None
        self.extra_layers = nn.CellList(list(extra_layers))

    def construct(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, last = maps
        if self.l2_norm is not None:
            first = self.l2_norm(first)
        outputs: tuple[Tensor, ...] = (first, last)
        for layer in self.extra_layers:
            last = layer(last)
            outputs = (*outputs, last)
        return outputs


def _plain_predictor(channels: int, out_channels: int) -> nn.SequentialCell:
    return nn.SequentialCell([conv(channels, out_channels, 3, bias=True, padding=1)])


def _separable_predictor(channels: int, out_channels: int) -> nn.SequentialCell:
    return nn.SequentialCell([_module(_depthwise(channels)), conv(channels, out_channels, bias=True)])


class _Head(nn.Cell):
    def __init__(self, in_channels: Sequence[int], config: OpenMMLabConfig, predictor: Predictor) -> None:
        super().__init__()
        levels = list(zip(in_channels, config.anchor_spec.per_cell, strict=True))
        self.cls_convs = nn.CellList([predictor(width, boxes * config.num_classes) for width, boxes in levels])
        self.reg_convs = nn.CellList([predictor(width, boxes * 4) for width, boxes in levels])
        self.levels = len(levels)

    def construct(self, maps: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        scores: tuple[Tensor, ...] = ()
        deltas: tuple[Tensor, ...] = ()
        for i in range(self.levels):
            scores = (*scores, self.cls_convs[i](maps[i]))
            deltas = (*deltas, self.reg_convs[i](maps[i]))
        return scores, deltas


def _vgg_ssd(
    name: str,
    anchors: StridedAnchors,
    extras: Sequence[tuple[int, int, int, int]],
    num_classes: int,
    classes: Names,
) -> OpenMMLabSSD:
    config = _config(name, anchors, num_classes, classes)
    layers, width = [], 1024
    for channels, kernel, stride, padding in extras:
        convolutions = (
            conv(width, channels // 2, bias=True),
            conv(channels // 2, channels, kernel, stride, bias=True, padding=padding),
        )
        layers.append(nn.SequentialCell([_Module(convolution, None, nn.ReLU()) for convolution in convolutions]))
        width = channels
    head = _Head((512, 1024, *(extra[0] for extra in extras)), config, _plain_predictor)
    return OpenMMLabSSD(config, _VGG16(), _Neck(layers, normed_channels=512), head)


def _config(
    name: str,
    anchors: StridedAnchors,
    num_classes: int,
    classes: Names,
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> OpenMMLabConfig:
    return OpenMMLabConfig(name, anchors.image_size, num_classes, class_names(num_classes, classes), anchors, std)
