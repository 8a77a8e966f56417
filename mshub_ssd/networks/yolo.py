"""What one YOLO detector is, apart from its weights: frozen, and free of MindSpore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.ssd.config import named
from mshub_ssd.results import COCO_CLASSES

__all__ = ["YOLOConfig", "class_names"]


@dataclass(frozen=True)
class YOLOConfig:
    """All that preprocessing, decoding and drawing need to know of a detector that decodes its boxes itself.

    Attributes:
        name: Architecture key, e.g. ``mindyolo:yolov8n``.
        num_classes: Number of classes; there is no background.
        class_names: Their names, ``num_classes`` of them.
        image_size: Side of the square input in pixels.
        rows: What a row of the output holds after the box: the scores of the classes, or first that of an object
            being there at all, which they are multiplied by.
        score_threshold: A detection's score must be greater than this.
        nms_threshold: A box that overlaps a better one of its class by more than this (IoU) is dropped.
        mean: Per channel, RGB, subtracted from pixel values of 0 to 255.
        std: Per channel, RGB, that the difference is divided by.
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...]
    image_size: int = 640
    rows: Literal["object and classes", "classes"] = "object and classes"
    score_threshold: float = 0.25
    nms_threshold: float = 0.65
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)


def class_names(num_classes: int, names: Sequence[str] | None = None, *, coco: bool = True) -> tuple[str, ...]:
    """Names of a detector's classes.

    Args:
        num_classes: Number of classes.
        names: The names, if known. Otherwise ``class 0``, ``class 1``, ….
        coco: Where their number fits and no names are given, they are COCO's.

    Raises:
        UsageError: `num_classes` is no number of classes, or there are not so many names.
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise UsageError(
            "a detector needs at least one class",
            where="num_classes",
            expected="a whole number above 0",
            got=repr(num_classes),
        )
    known = coco and num_classes == len(COCO_CLASSES)
    standard = COCO_CLASSES if known else tuple(f"class {i}" for i in range(num_classes))
    return named(standard, names, f"{num_classes} names")
