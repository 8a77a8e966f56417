"""Box coding: offsets relative to anchors, and back. NumPy, float32.

Boxes are (ymin, xmin, ymax, xmax), anchors (cy, cx, h, w), both relative to the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["corners", "decode", "encode", "iou"]

Floats = NDArray[np.float32]


def decode(
    offsets: Floats, anchors: Floats, prior_scaling: tuple[float, float] = (0.1, 0.2), *, clip: bool = True
) -> Floats:
    """Turn predicted offsets into boxes.

    Args:
        offsets: [..., N, 4] as (dy, dx, dh, dw), as a network predicts them.
        anchors: [N, 4] as (cy, cx, h, w).
        prior_scaling: Factors of the centre's and of the size's offsets.
        clip: Limit the corners to [0, 1].

    Returns:
        Boxes [..., N, 4].
    """
    offsets = np.asarray(offsets, dtype=np.float32)
    centre_scale, size_scale = np.float32(prior_scaling[0]), np.float32(prior_scaling[1])
    centre = anchors[:, :2] + offsets[..., :2] * centre_scale * anchors[:, 2:]
    # exp of a wild prediction may overflow to infinity; the clip below turns that into the border.
    with np.errstate(over="ignore"):
        size = np.exp(offsets[..., 2:] * size_scale) * anchors[:, 2:]
    half = size / np.float32(2)
    boxes: Floats = np.concatenate([centre - half, centre + half], axis=-1)
    if clip:
        np.clip(boxes, np.float32(0), np.float32(1), out=boxes)
    return boxes


def encode(boxes: Floats, anchors: Floats, prior_scaling: tuple[float, float] = (0.1, 0.2)) -> Floats:
    """The exact inverse of `decode` (without its clip).

    Args:
        boxes: [N, 4], one box for each anchor, of positive height and width.
        anchors: [N, 4] as (cy, cx, h, w).
        prior_scaling: Factors of the centre's and of the size's offsets.

    Returns:
        Offsets [N, 4] as (dy, dx, dh, dw).
    """
    boxes = np.asarray(boxes, dtype=np.float32)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + size / np.float32(2)
    shift = (centre - anchors[:, :2]) / anchors[:, 2:] / np.float32(prior_scaling[0])
    growth = np.log(size / anchors[:, 2:]) / np.float32(prior_scaling[1])
    return np.concatenate([shift, growth], axis=-1)


def corners(anchors: Floats) -> Floats:
    """Anchors (cy, cx, h, w) [N, 4] as (ymin, xmin, ymax, xmax) [N, 4]."""
    half = anchors[:, 2:] / np.float32(2)
    return np.concatenate([anchors[:, :2] - half, anchors[:, :2] + half], axis=-1)


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of every pair: [A, 4] and [B, 4] give [A, B]; empty boxes give 0."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.prod(np.maximum(bottom_right - top_left, np.float32(0)), axis=-1)
    area_a = np.prod(np.maximum(a[:, 2:] - a[:, :2], np.float32(0)), axis=-1)
    area_b = np.prod(np.maximum(b[:, 2:] - b[:, :2], np.float32(0)), axis=-1)
    union = area_a[:, None] + area_b[None, :] - overlap
    result: Floats = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return result
