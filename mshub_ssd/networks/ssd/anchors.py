"""Default boxes: where a detector looks for objects, as centre and size relative to the input.

Two families, both frozen descriptions that `boxes()` turns into an array:

* `LevelAnchors`: each level of the pyramid has its own list of box sizes (the SSD paper's scheme).
* `PyramidAnchors`: one list of aspect ratios and octaves, scaled with each level's step (RetinaNet's scheme).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["AnchorSpec", "LevelAnchors", "PyramidAnchors", "scale_ladder"]

Size = tuple[float, float]


class AnchorSpec(Protocol):
    """What a configuration needs to know of its anchors."""

    def boxes(self) -> NDArray[np.float32]:
        """The anchors [N, 4] as (cy, cx, h, w), relative to the input; a shared, read-only array."""

    @property
    def per_cell(self) -> tuple[int, ...]:
        """Number of anchors per cell, one entry per level."""

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""


@dataclass(frozen=True)
class LevelAnchors:
    """Explicit box sizes per level; order: level, row, column, box. Computed in float64.

    Attributes:
        image_size: Side of the square input in pixels.
        feature_sizes: Side of each level's grid, finest level first.
        steps: Distance of neighbouring centres per level in pixels; cell i has its centre at (i + 0.5) * step.
        sizes: Per level the (width, height) of its boxes, relative to the input.
    """

    image_size: int
    feature_sizes: tuple[int, ...]
    steps: tuple[float, ...]
    sizes: tuple[tuple[Size, ...], ...]

    @property
    def per_cell(self) -> tuple[int, ...]:
        """Number of anchors per cell, one entry per level."""
        return tuple(len(level) for level in self.sizes)

    def boxes(self) -> NDArray[np.float32]:
        """The anchors [N, 4] as (cy, cx, h, w); shared and read-only."""
        return _level_boxes(self)


@dataclass(frozen=True)
class PyramidAnchors:
    """The same aspect ratios and octaves on every level. Computed in float32, as the networks were trained.

    Attributes:
        image_size: Side of the square input in pixels.
        steps: Stride of each level in pixels; a level has ceil(image_size / step) rows and columns.
        scale: Side of the basic box in units of the step.
        aspect_ratios: Width to height ratios (outer order).
        octaves: Factors on the basic box (inner order).
    """

    image_size: int
    steps: tuple[int, ...]
    scale: float = 4.0
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5)
    octaves: tuple[float, ...] = (1.0, math.sqrt(2.0))

    @property
    def feature_sizes(self) -> tuple[int, ...]:
        """Side of each level's grid."""
        return tuple(math.ceil(self.image_size / step) for step in self.steps)

    @property
    def per_cell(self) -> tuple[int, ...]:
        """Number of anchors per cell, one entry per level."""
        return (len(self.aspect_ratios) * len(self.octaves),) * len(self.steps)

    def boxes(self) -> NDArray[np.float32]:
        """The anchors [N, 4] as (cy, cx, h, w); shared and read-only."""
        return _pyramid_boxes(self)


def scale_ladder(
    aspect_ratios: Sequence[Sequence[float]],
    *,
    min_scale: float = 0.2,
    max_scale: float = 0.95,
    small_first_level: bool = True,
) -> tuple[tuple[Size, ...], ...]:
    """Box sizes of the SSD paper: scales rise evenly from level to level.

    Args:
        aspect_ratios: Per level the ratios besides 1; each gives a wide and a tall box.
        min_scale: Scale of the first level, relative to the input.
        max_scale: Scale of the last level.
        small_first_level: Give the first level three boxes only: a square of 0.1 and a wide and a tall
            one of the first ratio, without the square between two scales.

    Returns:
        Per level the (width, height) pairs: the square, the wide and tall ones, and last the square of
        the geometric mean of this and the next level's scale.
    """
    count = len(aspect_ratios)
    scales = [min_scale + (max_scale - min_scale) * k / (count - 1) for k in range(count)] + [1.0]

    def wide_and_tall(scale: float, ratio: float) -> list[Size]:
        root = math.sqrt(ratio)
        return [(scale * root, scale / root), (scale / root, scale * root)]

    levels: list[tuple[Size, ...]] = []
    for k, ratios in enumerate(aspect_ratios):
        if k == 0 and small_first_level:
            levels.append(((0.1, 0.1), *wide_and_tall(scales[0], ratios[0])))
            continue
        between = math.sqrt(scales[k] * scales[k + 1])
        pairs = [size for ratio in ratios for size in wide_and_tall(scales[k], ratio)]
        levels.append(((scales[k], scales[k]), *pairs, (between, between)))
    return tuple(levels)


@lru_cache(maxsize=32)
def _level_boxes(spec: LevelAnchors) -> NDArray[np.float32]:
    levels = []
    for count, step, sizes in zip(spec.feature_sizes, spec.steps, spec.sizes, strict=True):
        centre = (np.arange(count, dtype=np.float64) + 0.5) * step / spec.image_size
        wh = np.asarray(sizes, dtype=np.float64)
        levels.append(_grid(centre, wh[:, 1], wh[:, 0]))
    return _frozen(np.concatenate(levels).astype(np.float32))


@lru_cache(maxsize=32)
def _pyramid_boxes(spec: PyramidAnchors) -> NDArray[np.float32]:
    size = np.float32(spec.image_size)
    half = np.float32(0.5)
    levels = []
    for count, step in zip(spec.feature_sizes, spec.steps, strict=True):
        centre = (np.arange(count, dtype=np.float32) + half) * np.float32(step) / size
        heights, widths = [], []
        for aspect in spec.aspect_ratios:
            root = np.sqrt(np.float32(aspect))
            for octave in spec.octaves:
                side = np.float32(spec.scale) * np.float32(step) * np.float32(octave)
                heights.append(side / root / size)
                widths.append(side * root / size)
        levels.append(_grid(centre, np.asarray(heights, np.float32), np.asarray(widths, np.float32)))
    return _frozen(np.concatenate(levels))


def _grid(centre: NDArray[Any], heights: NDArray[Any], widths: NDArray[Any]) -> NDArray[Any]:
    """Boxes [rows * columns * k, 4] of one square level: every size at every centre."""
    n, k = len(centre), len(heights)
    boxes = np.empty((n, n, k, 4), dtype=centre.dtype)
    boxes[..., 0] = centre[:, None, None]
    boxes[..., 1] = centre[None, :, None]
    boxes[..., 2] = heights
    boxes[..., 3] = widths
    return boxes.reshape(-1, 4)


def _frozen(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    boxes.setflags(write=False)
    return boxes
