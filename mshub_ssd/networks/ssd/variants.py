"""Constructors of the detectors: each a backbone, a neck, a head and a configuration.

All take ``num_classes`` (with the background) and ``classes`` (names without it). Figures are the publishers'.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.arguments import MOBILE_EXTRAS, MOBILE_TAPS, MOBILENET_V2_BLOCKS
from mshub_ssd.networks.backbones.ghostnet import GhostNet
from mshub_ssd.networks.backbones.inception_v2 import InceptionV2
from mshub_ssd.networks.backbones.mobilenet_v1 import MobileNetV1
from mshub_ssd.networks.backbones.mobilenet_v2 import MobileNetV2
from mshub_ssd.networks.backbones.resnet import BasicBlock, Bottleneck, ResNet
from mshub_ssd.networks.backbones.vgg16 import VGG16
from mshub_ssd.networks.backend import nn
from mshub_ssd.networks.ssd.anchors import AnchorSpec, LevelAnchors, PyramidAnchors, scale_ladder
from mshub_ssd.networks.ssd.config import SSDConfig, class_names
from mshub_ssd.networks.ssd.heads import MultiBox, WeightSharedMultiBox
from mshub_ssd.networks.ssd.model import SSD, VGGSSD, BackboneSSD, ExtractorSSD, InceptionSSD
from mshub_ssd.networks.ssd.necks import (
    ChainExtractor,
    FeatureMapGenerators,
    PyramidExtractor,
    ReducingExtractor,
    extra_residuals,
)

__all__ = [
    "ssd300",
    "ssd_ghostnet",
    "ssd_inception_v2",
    "ssd_mobilenet_v1_fpn",
    "ssd_mobilenet_v2",
    "ssd_mobilenet_v2_fpnlite",
    "ssd_resnet34",
    "ssd_resnet50",
    "ssd_resnet50_fpn",
    "ssd_vgg16",
]

Names = Sequence[str] | None

# Grids and steps that several of the 300 pixel networks share, and the ratios of the paper's ladder of scales.
_MOBILE_GRIDS = (19, 10, 5, 3, 2, 1)
_MOBILE_STEPS = (16, 32, 64, 100, 150, 300)
_RATIOS = ((2.0,), *[(2.0, 3.0)] * 5)


def ssd_resnet50_fpn(num_classes: int = 81, *, classes: Names = None) -> SSD:
    """ResNet-50 with a feature pyramid, 640 x 640, 51,150 anchors; COCO 2017 mAP 0.3756."""
    extractor = PyramidExtractor("resnet", _resnet50(), channels=256)
    return _pyramid_ssd("ssd_resnet50_fpn", extractor, 256, _pyramid(640), num_classes, classes)


def ssd_mobilenet_v1_fpn(num_classes: int = 81, *, classes: Names = None) -> SSD:
    """MobileNetV1 with a feature pyramid, 640 x 640, 51,150 anchors."""
    extractor = PyramidExtractor("mobilenet_v1", MobileNetV1(), channels=256)
    return _pyramid_ssd("ssd_mobilenet_v1_fpn", extractor, 256, _pyramid(640), num_classes, classes)


def ssd_mobilenet_v2_fpnlite(num_classes: int = 81, *, classes: Names = None) -> SSD:
    """MobileNetV2 with a narrow, depthwise feature pyramid, 320 x 320, 12,804 anchors."""
    backbone = MobileNetV2([(6, 32), (13, 96)])
    extractor = PyramidExtractor("mobilenet_v2", backbone, channels=32, depthwise_convs=True)
    # The published last step is 108, not 128.
    anchors = PyramidAnchors(image_size=320, steps=(8, 16, 32, 64, 108))
    return _pyramid_ssd("ssd_mobilenetV2_FPNlite", extractor, 32, anchors, num_classes, classes)


def ssd_resnet50(num_classes: int = 81, *, classes: Names = None) -> SSD:
    """ResNet-50 without a feature pyramid, separate heads per level, 640 x 640, 51,150 anchors."""
    extractor = ReducingExtractor(_resnet50())
    return _extractor_ssd("ssd_resnet50", extractor, _pyramid(640), num_classes, classes)


def ssd_resnet34(num_classes: int = 81, *, classes: Names = None) -> SSD:
    """ResNet-34 up to its third stage and plain extra levels, 300 x 300, 8,732 anchors.

    The published steps of its anchors do not cover the whole picture; the checkpoint was trained with them.
    """
    stages = ((3, 64, 1), (4, 128, 2), (6, 256, 1))
    resnet = ResNet(BasicBlock, stages, outputs=(3,), stem_padding=3, eps=1e-5, momentum=0.9)
    blocks = ((256, 512, 2, 1), (256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0))
    sizes = scale_ladder(((2.0,), *[(2.0, 3.0)] * 3, (2.0,), (2.0,)), small_first_level=False)
    anchors = LevelAnchors(300, (38, 19, 10, 5, 3, 1), (7, 15, 30, 60, 100, 300), sizes)
    return _extractor_ssd("ssd_resnet34", ChainExtractor(resnet, blocks), anchors, num_classes, classes)


def ssd_vgg16(num_classes: int = 81, *, classes: Names = None) -> SSD:
    """VGG-16, 300 x 300, 7,308 anchors."""
    anchors = LevelAnchors(300, (38, 19, 10, 5, 3, 1), (8, 16, 32, 64, 100, 300), scale_ladder(_RATIOS))
    config = _config("ssd_vgg16", anchors, num_classes, classes)
    return VGGSSD(config, VGG16(), _multi_box((512, 1024, 512, 256, 256, 256), config))


def ssd_inception_v2(num_classes: int = 81, *, classes: Names = None) -> SSD:
    """Inception v2, 300 x 300, 1,917 anchors.

    Its scores are logits in inference mode too; post-processing applies the sigmoid. It was published with a
    threshold of 1e-8 on the logits, which is a probability of one half.
    """
    anchors = LevelAnchors(300, _MOBILE_GRIDS, _MOBILE_STEPS, scale_ladder(_RATIOS))
    threshold = 1 / (1 + math.exp(-1e-8))
    config = _config("ssd_inceptionv2", anchors, num_classes, classes, activation="none", score_threshold=threshold)
    backbone = InceptionV2()
    maps = FeatureMapGenerators(backbone.channels, (512, 256, 256, 128))
    return InceptionSSD(config, backbone, maps, _multi_box(maps.channels, config))


def ssd_ghostnet(num_classes: int = 81, *, classes: Names = None) -> SSD:
    """GhostNet of width 1.3, 300 x 300, 1,917 anchors."""
    anchors = LevelAnchors(300, _MOBILE_GRIDS, _MOBILE_STEPS, scale_ladder(_RATIOS))
    config = _config("ssd_ghostnet", anchors, num_classes, classes)
    return _backbone_ssd(config, GhostNet(), MOBILE_EXTRAS, depthwise_head=True, activation=nn.ReLU)


def ssd300(num_classes: int = 81, *, classes: Names = None) -> SSD:
    """MobileNetV2 with depthwise heads, 300 x 300, 1,917 anchors."""
    anchors = LevelAnchors(300, _MOBILE_GRIDS, _MOBILE_STEPS, scale_ladder(_RATIOS))
    config = _config("ssd300", anchors, num_classes, classes)
    return _backbone_ssd(config, MobileNetV2(), MOBILE_EXTRAS, depthwise_head=True)


def ssd_mobilenet_v2(
    num_classes: int = 81,
    *,
    classes: Names = None,
    image_size: int = 320,
    stem_channels: int = 32,
    blocks: Sequence[Sequence[int]] = MOBILENET_V2_BLOCKS,
    last_channels: int = 1280,
    taps: Sequence[Sequence[int]] = MOBILE_TAPS,
    extras: Sequence[Sequence[float]] = MOBILE_EXTRAS,
    box_sizes: Sequence[Sequence[Sequence[float]]] | None = None,
    depthwise_head: bool = False,
    score_threshold: float = 0.1,
    nms_threshold: float = 0.6,
) -> SSD:
    """MobileNetV2 with dense heads, by default 320 x 320 and 2,034 anchors; COCO 2017 mAP 0.2517.

    The other arguments make smaller relatives of it.

    Args:
        num_classes: Classes with the background.
        classes: Names of the classes without the background.
        image_size: Side of the square input in pixels.
        stem_channels: Channels of the first convolution.
        blocks: Backbone rows of (expansion, channels, repeats, stride of the first block).
        last_channels: Channels of the backbone's last 1x1 convolution.
        taps: Further backbone outputs as (layer, channels), see `MobileNetV2`.
        extras: Further levels after the backbone as (channels, hidden width / input width).
        box_sizes: Per level the (width, height) of its anchors, relative to the input; by default the
            SSD paper's ladder of scales.
        depthwise_head: Make the head's 3x3 convolutions depthwise.
        score_threshold: The configuration's default score threshold.
        nms_threshold: The configuration's IoU threshold.

    Raises:
        UsageError: The anchors do not fit the number of levels.
    """
    backbone = MobileNetV2(
        [(int(layer), int(channels)) for layer, channels in taps],
        blocks=[(int(t), int(c), int(n), int(s)) for t, c, n, s in blocks],
        stem_channels=stem_channels,
        last_channels=last_channels,
    )
    extra_levels = [(int(channels), float(ratio)) for channels, ratio in extras]
    grids = [math.ceil(image_size / stride) for stride in backbone.strides]
    for _ in extra_levels:
        grids.append(math.ceil(grids[-1] / 2))
    steps: tuple[float, ...] = tuple(image_size / grid for grid in grids)
    if box_sizes is None:
        sizes = scale_ladder([(2.0,), *[(2.0, 3.0)] * (len(grids) - 1)])
        if image_size == 320 and len(grids) == 6:
            # The published network was trained with 108 where 320 / 3 would be exact.
            steps = (16, 32, 64, 108, 160, 320)
    else:
        sizes = tuple(tuple((float(w), float(h)) for w, h in level) for level in box_sizes)
    if len(sizes) != len(grids):
        raise UsageError(
            "the anchors do not fit the network",
            where="box_sizes",
            expected=f"{len(grids)} levels, for grids of {', '.join(map(str, grids))} cells",
            got=f"{len(sizes)} levels",
        )
    anchors = LevelAnchors(image_size, tuple(grids), steps, sizes)
    config = _config(
        "ssd_mobilenetV2",
        anchors,
        num_classes,
        classes,
        score_threshold=score_threshold,
        nms_threshold=nms_threshold,
    )
    return _backbone_ssd(config, backbone, extra_levels, depthwise_head=depthwise_head)


def _resnet50() -> ResNet:
    return ResNet(Bottleneck, ((3, 256, 1), (4, 512, 2), (6, 1024, 2), (3, 2048, 2)), outputs=(2, 3, 4))


def _pyramid(image_size: int) -> PyramidAnchors:
    return PyramidAnchors(image_size, steps=(8, 16, 32, 64, 128))


def _config(name: str, anchors: AnchorSpec, num_classes: int, classes: Names, **more: Any) -> SSDConfig:
    return SSDConfig(
        name=name,
        image_size=anchors.image_size,
        num_classes=num_classes,
        class_names=class_names(num_classes, classes),
        anchor_spec=anchors,
        **more,
    )


def _multi_box(channels: Sequence[int], config: SSDConfig, *, depthwise_first: bool = True) -> MultiBox:
    return MultiBox(channels, config.anchor_spec.per_cell, config.num_classes, depthwise_first=depthwise_first)


def _pyramid_ssd(
    name: str, extractor: nn.Cell, channels: int, anchors: PyramidAnchors, num_classes: int, classes: Names
) -> SSD:
    head = WeightSharedMultiBox(len(anchors.steps), channels, anchors.per_cell[0], num_classes)
    return ExtractorSSD(_config(name, anchors, num_classes, classes), extractor, head)


def _extractor_ssd(name: str, extractor: nn.Cell, anchors: AnchorSpec, num_classes: int, classes: Names) -> SSD:
    config = _config(name, anchors, num_classes, classes)
    return ExtractorSSD(config, extractor, _multi_box(extractor.channels, config))


def _backbone_ssd(
    config: SSDConfig,
    backbone: nn.Cell,
    extras: Sequence[tuple[int, float]],
    *,
    depthwise_head: bool,
    activation: type[nn.Cell] = nn.ReLU6,
) -> SSD:
    channels = [*backbone.channels, *(channels for channels, _ in extras)]
    head = _multi_box(channels, config, depthwise_first=depthwise_head)
    return BackboneSSD(config, backbone, extra_residuals(backbone.channels[-1], extras, activation), head)
