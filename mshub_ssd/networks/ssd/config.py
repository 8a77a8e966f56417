"""What one detector is, apart from its weights: frozen, and free of MindSpore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.ssd.anchors import AnchorSpec
from mshub_ssd.results import COCO_CLASSES

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "SSDConfig", "class_names", "named"]

# Channel means and deviations of ImageNet in RGB order, on the scale of 0 to 255.
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclass(frozen=True)
class SSDConfig:
    """All that preprocessing, decoding and drawing need to know of a detector.

    Attributes:
        name: Architecture key, e.g. ``ssd_resnet50_fpn``.
        image_size: Side of the square input in pixels.
        num_classes: Number of classes with the background, which is class 0.
        class_names: Names of the classes without the background, ``num_classes - 1`` of them.
        anchor_spec: Description of the default boxes; `anchors` are the boxes themselves.
        prior_scaling: Factors of the centre's and of the size's offsets in box coding.
        activation: What the network applies to its class logits in inference mode; after "none" the sigmoid is
            left to post-processing.
        score_threshold: A detection's probability must be greater than this.
        nms_threshold: A box that overlaps a better one of its class by more than this (IoU) is dropped.
        max_per_class: At most so many boxes are kept per class.
        mean: Per channel, RGB, subtracted from pixel values of 0 to 255.
        std: Per channel, RGB, that the difference is divided by.
    """

    name: str
    image_size: int
    num_classes: int
    class_names: tuple[str, ...]
    anchor_spec: AnchorSpec
    prior_scaling: tuple[float, float] = (0.1, 0.2)
    activation: Literal["sigmoid", "none"] = "sigmoid"
    score_threshold: float = 0.1
    nms_threshold: float = 0.6
    max_per_class: int = 100
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @property
    def anchors(self) -> NDArray[np.float32]:
        """The default boxes [N, 4] as (cy, cx, h, w), relative to the input; read-only."""
        return self.anchor_spec.boxes()


def class_names(num_classes: int, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names of the classes without the background.

    Args:
        num_classes: Number of classes with the background.
        names: The names, if known. By default COCO's where their number fits, else ``class 1``, ``class 2``, ….

    Raises:
        UsageError: There are not ``num_classes - 1`` names.
    """
    count = num_classes - 1
    if count < 1:
        raise UsageError("a detector needs at least one class besides the background", got=str(num_classes))
    standard = COCO_CLASSES if count == len(COCO_CLASSES) else tuple(f"class {i + 1}" for i in range(count))
    return named(standard, names, f"{count} names for num_classes={num_classes} (the background has no name)")


def named(standard: tuple[str, ...], names: Sequence[str] | None, expected: str) -> tuple[str, ...]:
    """The names given, or the standard ones.

    Raises:
        UsageError: There are not as many as expected.
    """
    if names is None:
        return standard
    if len(names) != len(standard):
        raise UsageError(
            "the number of class names does not fit the number of classes",
            expected=expected,
            got=f"{len(names)} names",
            hint="correct `classes:` in the card, or num_classes",
        )
    return tuple(map(str, names))
