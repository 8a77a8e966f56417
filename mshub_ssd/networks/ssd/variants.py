"""Constructors of the detectors: each a backbone, a neck, a head and a configuration.

All take ``num_classes`` (with the background) and ``classes`` (names without it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.backbones.mobilenet_v2 import BLOCKS, MobileNetV2
from mshub_ssd.networks.backbones.resnet import ResNet
from mshub_ssd.networks.ssd.anchors import LevelAnchors, PyramidAnchors, scale_ladder
from mshub_ssd.networks.ssd.config import SSDConfig, class_names
from mshub_ssd.networks.ssd.heads import MultiBox, WeightSharedMultiBox
from mshub_ssd.networks.ssd.model import SSD, BackboneSSD, ExtractorSSD
from mshub_ssd.networks.ssd.necks import PyramidExtractor, extra_residuals

__all__ = ["ssd_mobilenet_v2", "ssd_resnet50_fpn"]


def ssd_resnet50_fpn(num_classes: int = 81, *, classes: Sequence[str] | None = None) -> SSD:
    """ResNet-50 with a feature pyramid, 640 x 640, 51,150 anchors; COCO 2017 mAP 0.3756 as published.

    Args:
        num_classes: Classes with the background.
        classes: Names of the classes without the background.
    """
    anchors = PyramidAnchors(image_size=640, steps=(8, 16, 32, 64, 128))
    config = SSDConfig(
        name="ssd_resnet50_fpn",
        image_size=640,
        num_classes=num_classes,
        class_names=class_names(num_classes, classes),
        anchor_spec=anchors,
    )
    extractor = PyramidExtractor("resnet", ResNet((3, 4, 6, 3)), channels=256)
    head = WeightSharedMultiBox(len(anchors.steps), 256, anchors.per_cell[0], num_classes)
    return ExtractorSSD(config, extractor, head)


def ssd_mobilenet_v2(
    num_classes: int = 81,
    *,
    classes: Sequence[str] | None = None,
    image_size: int = 320,
    stem_channels: int = 32,
    blocks: Sequence[Sequence[int]] = BLOCKS,
    last_channels: int = 1280,
    taps: Sequence[Sequence[int]] = ((13, 576),),
    extras: Sequence[Sequence[float]] = ((512, 0.2), (256, 0.25), (256, 0.5), (128, 0.25)),
    box_sizes: Sequence[Sequence[Sequence[float]]] | None = None,
    depthwise_head: bool = False,
    score_threshold: float = 0.1,
    nms_threshold: float = 0.6,
) -> SSD:
    """MobileNetV2 with dense heads, by default 320 x 320 and 2,034 anchors; COCO 2017 mAP 0.2517 as published.

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
            SSD paper's ladder of scales, which is made for six levels.
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
    config = SSDConfig(
        name="ssd_mobilenetV2",
        image_size=image_size,
        num_classes=num_classes,
        class_names=class_names(num_classes, classes),
        anchor_spec=anchors,
        score_threshold=score_threshold,
        nms_threshold=nms_threshold,
    )
    channels = [*backbone.channels, *(channels for channels, _ in extra_levels)]
    head = MultiBox(channels, anchors.per_cell, num_classes, depthwise_first=depthwise_head)
    return BackboneSSD(config, backbone, extra_residuals(backbone.channels[-1], extra_levels), head)
