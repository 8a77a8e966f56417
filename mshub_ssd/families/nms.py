"""Greedy non-maximum suppression, class by class. NumPy, float32, bounded in time and memory.

The best candidates of a class are sorted and settled in small windows; the rest is cleared of what they suppress
before any of it is sorted. So the work stops soon after the last box that may be kept, most candidates are
never sorted, and no matrix of all candidates against each other ever exists.

Rules that hold everywhere: equal scores are taken in descending index (an ascending stable sort, reversed);
a box without area overlaps nothing; a NaN score or a box with a coordinate that is not finite is never kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["class_nms"]

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

_SETTLE = 128  # candidates settled among themselves at once
_CELLS = 1 << 16  # pairs of boxes compared at once: their float32 temporaries fit a core's cache
_HEAD = 256  # candidates of a class sorted at once
_FEW = 192  # candidates of all classes settled at once


def class_nms(
    boxes: Floats,
    rows: Indices,
    classes: NDArray[np.integer[Any]],
    scores: Floats,
    iou_threshold: float,
    *,
    max_per_class: int | None = None,
    pixel_offset: float = 1.0,
) -> Indices:
    """Keep the best boxes of every class, dropping those that overlap a kept one of their class too much.

    A candidate is a pair of a box and a class.

    Args:
        boxes: [n, 4], two corners each; (y, x) and (x, y) order give the same result.
        rows: [m], each candidate's box as an index into `boxes`.
        classes: [m], each candidate's class, any integers.
        scores: [m], each candidate's score.
        iou_threshold: A box is dropped when its IoU with a kept one is greater than this, in float32.
        max_per_class: At most so many kept per class, None for no limit.
        pixel_offset: Added to every width and height: 1 where a box spans whole pixels including its last
            one (the MindSpore zoo), 0 for plain geometry.

    Returns:
        Positions of the kept candidates: classes ascending, within a class in descending score.
    """
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    scores = np.asarray(scores, dtype=np.float32)
    positions: Indices = np.arange(len(rows), dtype=np.intp)
    sound, unknown = np.isfinite(boxes), np.isnan(scores)
    if not sound.all() or unknown.any():
        positions = positions[sound.all(axis=1)[rows] & ~unknown]
    if not len(positions):
        return positions
    groups = classes[positions]
    if np.any(groups[1:] < groups[:-1]):
        order = _stable_order(groups)
        positions, groups = positions[order], groups[order]

    offset, limit = np.float32(pixel_offset), np.float32(iou_threshold)
    planes = np.empty((5, len(boxes)), dtype=np.float32)
    planes[:4] = boxes.T
    with np.errstate(over="ignore", invalid="ignore"):
        planes[4] = (planes[2] - planes[0] + offset) * (planes[3] - planes[1] + offset)
    if len(positions) <= _FEW:
        return positions[
            _settle_few(planes[:, rows[positions]], groups, scores[positions], limit, offset, max_per_class)
        ]
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(groups)]
    rows, scores = rows[positions], scores[positions]
    kept = [
        start + _greedy(planes, rows[start:end], scores[start:end], limit, offset, max_per_class)
        for start, end in pairwise(edges)
    ]
    best: Indices = positions[np.concatenate(kept)]
    return best


def _stable_order(classes: NDArray[np.integer[Any]]) -> Indices:
    """The order that sorts classes and keeps equal ones as they are."""
    low = classes.min()
    if classes.max() - low < 1 << 16:  # NumPy sorts 16 bits by counting
        classes = (classes - low).astype(np.uint16)
    return np.argsort(classes, kind="stable")


def _settle_few(
    planes: Floats,
    groups: NDArray[np.integer[Any]],
    scores: Floats,
    limit: np.float32,
    offset: np.float32,
    most: int | None,
) -> Indices:
    """Positions of the kept ones among a few candidates of several classes, which come in ascending order."""
    # Sorted the other way round, for equal scores count in descending order.
    order = np.lexsort((scores, -groups.astype(np.intp)))[::-1]
    own, groups = planes[:, order], groups[order]
    hits = _overlaps(own, own, limit, offset)
    hits &= groups[:, None] == groups
    edges = [] if most is None else (np.flatnonzero(groups[1:] != groups[:-1]) + 1).tolist()
    kept: Indices = order[_settle(hits, len(order) if most is None else most, edges)]
    return kept


def _greedy(
    planes: Floats, rows: Indices, scores: Floats, limit: np.float32, offset: np.float32, most: int | None
) -> Indices:
    """Positions of the kept ones among the candidates of one class."""
    most = len(rows) if most is None else most
    kept: list[int] = []
    kept_planes = np.empty((5, min(most, len(rows))), dtype=np.float32)
    left: Indices = np.arange(len(rows), dtype=np.intp)
    while len(left) and len(kept) < most:
        values = scores[left]
        # All of equal scores are in the head or none, since their order is that of their positions.
        pivot = np.partition(values, -_HEAD)[-_HEAD] if len(values) > 2 * _HEAD else -np.inf
        head, left = left[values >= pivot], left[values < pivot]
        head = head[np.argsort(scores[head], kind="stable")[::-1]]
        known = len(kept)  # what is left has met these
        start = 0
        while start < len(head) and len(kept) < most:
            part = head[start : start + _SETTLE]
            start += len(part)
            own = planes[:, rows[part]]
            free = _free(own, kept_planes[:, known : len(kept)], limit, offset)
            part, own = part[free], own[:, free]
            chosen = _settle(_overlaps(own, own, limit, offset), most - len(kept))
            kept_planes[:, len(kept) : len(kept) + len(chosen)] = own[:, chosen]
            kept += part[chosen].tolist()
        if len(left) and len(kept) < most:
            left = left[_free(planes[:, rows[left]], kept_planes[:, known : len(kept)], limit, offset)]
    return np.asarray(kept, dtype=np.intp)


def _free(boxes: Floats, kept: Floats, limit: np.float32, offset: np.float32) -> Indices:
    """Indices of the boxes that overlap none of the kept ones too much."""
    free: Indices = np.arange(boxes.shape[1], dtype=np.intp)
    start = 0
    while start < kept.shape[1] and len(free):
        end = start + max(1, _CELLS // len(free))
        hit = _overlaps(kept[:, start:end], boxes, limit, offset).any(axis=0)
        if hit.any():
            free, boxes = free[~hit], boxes[:, ~hit]
        start = end
    return free


def _settle(hits: NDArray[np.bool_], most: int, edges: Iterable[int] = ()) -> list[int]:
    """The greedy choice among candidates in descending order, from the table of who suppresses whom.

    Args:
        hits: [n, n].
        most: So many are chosen at most, in each class.
        edges: Where another class begins.
    """
    # A row is one number of many bits: joining two of them takes a tenth of what two small arrays take.
    bits = np.packbits(hits, axis=1, bitorder="little")
    width, data = bits.shape[1], bits.tobytes()
    count, chosen = len(hits), []
    for start, end in pairwise([0, *edges, count]):
        left, alive = most, (1 << end) - (1 << start)
        while alive and left:
            best = (alive & -alive).bit_length() - 1
            chosen.append(best)
            left -= 1
            # Itself as well: a box without area overlaps nothing.
            alive &= ~(int.from_bytes(data[best * width : (best + 1) * width], "little") | 1 << best)
    return chosen


def _overlaps(a: Floats, b: Floats, limit: np.float32, offset: np.float32) -> NDArray[np.bool_]:
    """Which pairs of [5, p] and [5, q] (four coordinates and the area) have an IoU above the limit: [p, q]."""
    zero = np.float32(0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        overlap = _extent(a[0], a[2], b[0], b[2], offset, zero)
        overlap *= _extent(a[1], a[3], b[1], b[3], offset, zero)
        union = a[4][:, None] + b[4]
        union -= overlap
        overlap /= union  # 0/0 of two boxes without area is NaN, and so not above the limit
    return overlap > limit


def _extent(a1: Floats, a2: Floats, b1: Floats, b2: Floats, offset: np.float32, zero: np.float32) -> Floats:
    length = np.minimum(a2[:, None], b2)
    length -= np.maximum(a1[:, None], b1)
    length += offset
    return np.maximum(length, zero, out=length)
