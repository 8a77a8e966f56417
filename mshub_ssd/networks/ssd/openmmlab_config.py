"""What OpenMMLab's detectors are, apart from their weights: anchors, box coding and figures. NumPy only.

They differ from the zoo's in every convention: boxes are x1, y1, x2, y2 in pixels, the background is the last
class, class scores are a softmax, and post-processing counts pairs of anchor and class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["OPENMMLAB_MEAN", "OpenMMLabConfig", "StridedAnchors", "decode", "percent_sizes"]

Floats = NDArray[np.float32]

# Channel means in RGB order that all three networks subtract.
OPENMMLAB_MEAN = (123.675, 116.28, 103.53)


@dataclass(frozen=True)
class StridedAnchors:
    """Anchors around the centres of cells whose stride is a table value; order: level, row, column, anchor.

    Per cell there is a square of the level's size, one between this size and the next, and for each ratio first
    the wide and then the tall box.

    Attributes:
        image_size: Side of the square input in pixels.
        feature_sizes: Side of each level's grid, finest level first.
        strides: Distance of neighbouring centres per level in pixels; cell 0 has its centre at half of it.
        sizes: Per level its box size and the next one, in pixels.
        ratios: Per level the ratios of height to width besides 1.
    """

    image_size: int
    feature_sizes: tuple[int, ...]
    strides: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    ratios: tuple[tuple[int, ...], ...]

    @property
    def per_cell(self) -> tuple[int, ...]:
        """Number of anchors per cell, one entry per level."""
        return tuple(2 + 2 * len(level) for level in self.ratios)

    def boxes(self) -> Floats:
        """The anchors [N, 4] as (x1, y1, x2, y2) in pixels, not clipped; shared and read-only."""
        return _strided_boxes(self)


@dataclass(frozen=True)
class OpenMMLabConfig:
    """All that preprocessing, decoding and drawing need to know of a detector.

    Attributes:
        name: Architecture key, e.g. ``openmmlab_ssd300``.
        image_size: Side of the square input in pixels.
        num_classes: Number of classes with the background, which is the last one.
        class_names: Names of the classes without the background, ``num_classes - 1`` of them.
        anchor_spec: Description of the default boxes; `anchors` are the boxes themselves.
        std: Per channel, RGB, that the difference from the mean is divided by.
        mean: Per channel, RGB, subtracted from pixel values of 0 to 255.
        delta_stds: Factors of the four box deltas.
        score_threshold: A detection's probability must be greater than this.
        nms_threshold: A box that overlaps a better one of its class by more than this (IoU) is dropped.
        nms_pre: At most so many pairs of anchor and class are looked at per level.
        max_detections: At most so many detections per picture, unless the caller gives a number.
    """

    name: str
    image_size: int
    num_classes: int
    class_names: tuple[str, ...]
    anchor_spec: StridedAnchors
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mean: tuple[float, float, float] = OPENMMLAB_MEAN
    delta_stds: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    score_threshold: float = 0.02
    nms_threshold: float = 0.45
    nms_pre: int = 1000
    max_detections: int = 200

    @property
    def anchors(self) -> Floats:
        """The default boxes [N, 4] as (x1, y1, x2, y2) in pixels of the input; read-only."""
        return self.anchor_spec.boxes()


# Sizes change by this factor at most.
_MAX_LOG_RATIO = np.float32(abs(math.log(16 / 1000)))


def decode(
    deltas: Floats,
    anchors: Floats,
    stds: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2),
    *,
    image_size: float | None = None,
) -> Floats:
    """Turn predicted deltas into boxes.

    Args:
        deltas: [N, 4] as (dx, dy, dw, dh), as a network predicts them.
        anchors: [N, 4] as (x1, y1, x2, y2).
        stds: Factors of the four deltas; those of the size are limited after they were applied.
        image_size: Limit the coordinates to 0 and this, None for no limit.

    Returns:
        Boxes [N, 4] as (x1, y1, x2, y2).
    """
    half = np.float32(0.5)
    scaled = np.asarray(deltas, dtype=np.float32) * np.asarray(stds, dtype=np.float32)
    sizes = anchors[:, 2:] - anchors[:, :2]
    centres = (anchors[:, :2] + anchors[:, 2:]) * half
    grown = sizes * np.exp(np.clip(scaled[:, 2:], -_MAX_LOG_RATIO, _MAX_LOG_RATIO))
    # A wild prediction may overflow to infinity.
    with np.errstate(over="ignore"):
        moved = centres + sizes * scaled[:, :2]
    boxes: Floats = np.concatenate([moved - grown * half, moved + grown * half], axis=1)
    if image_size is not None:
        np.clip(boxes, np.float32(0), np.float32(image_size), out=boxes)
    return boxes


def percent_sizes(
    image_size: int, first: tuple[int, int], start: int, levels: int, *, end: int = 90
) -> tuple[tuple[int, int], ...]:
    """Box sizes that rise evenly in whole percents of the input, with a level of their own in front.

    Args:
        image_size: Side of the input in pixels.
        first: The first level's size and its next one, in percent.
        start: The second level's size in percent.
        levels: Number of levels.
        end: The last percentage of the even rise.
    """
    step = (end - start) // (levels - 2)
    percents = [first, *((start + i * step, start + (i + 1) * step) for i in range(levels - 1))]
    return tuple((image_size * low // 100, image_size * high // 100) for low, high in percents)


@lru_cache(maxsize=16)
def _strided_boxes(spec: StridedAnchors) -> Floats:
    levels = []
    for count, stride, (small, large), ratios in zip(
        spec.feature_sizes, spec.strides, spec.sizes, spec.ratios, strict=True
    ):
        # Height to width; 1 / ratio is rounded to float32 only afterwards, as it was for the published networks.
        shapes = [1.0, 1.0, *(value for ratio in ratios for value in (1 / ratio, float(ratio)))]
        heights = np.sqrt(np.asarray(shapes, dtype=np.float32))
        sides = np.stack([np.float32(1) / heights, heights], axis=1) * np.float32(small)
        sides[1] *= np.float32(math.sqrt(large / small))
        half_sides = np.float32(0.5) * sides
        middle = np.float32(stride / 2)
        cell = np.concatenate([middle - half_sides, middle + half_sides], axis=1)
        steps = np.arange(count, dtype=np.float32) * np.float32(stride)
        shifts = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 1, 2)
        levels.append((np.concatenate([shifts, shifts], axis=-1) + cell).reshape(-1, 4))
    boxes: Floats = np.concatenate(levels)
    boxes.setflags(write=False)
    return boxes
