"""Greedy non-maximum suppression, class by class. NumPy, float32, bounded in time and memory.

Candidates are looked at in descending score in small windows: a window is first cleared of what the boxes
kept so far suppress, then settled within itself. So the work stops soon after the last box that may be kept,
and no matrix of all candidates against each other ever exists.

Rules that hold everywhere: equal scores are taken in descending index (an ascending stable sort, reversed);
a box without area overlaps nothing; a NaN score or a box with a coordinate that is not finite is never kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["class_nms", "pairs_above"]

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

_SETTLE = 128  # candidates settled among themselves at once
_CELLS = 1 << 16  # pairs of boxes compared at once: their float32 temporaries fit a core's cache
_WINDOW = 2048  # most candidates looked at at once
_HEAD = 2048  # candidates sorted first; most often the rest is never needed


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
    sound = np.isfinite(boxes).all(axis=1)
    usable = ~np.isnan(scores) if sound.all() else sound[rows] & ~np.isnan(scores)
    if not usable.all():
        positions = positions[usable]
    groups = classes[positions]
    if np.any(groups[1:] < groups[:-1]):
        order = np.argsort(groups, kind="stable")
        positions, groups = positions[order], groups[order]
    if not len(positions):
        return positions

    offset, limit = np.float32(pixel_offset), np.float32(iou_threshold)
    planes = np.empty((5, len(boxes)), dtype=np.float32)
    planes[:4] = boxes.T
    with np.errstate(over="ignore", invalid="ignore"):
        planes[4] = (planes[2] - planes[0] + offset) * (planes[3] - planes[1] + offset)
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(groups)]
    kept = []
    for start, end in pairwise(edges):
        members = positions[start:end]
        best = _greedy(planes, rows[members], scores[members], limit, offset, max_per_class)
        kept.append(members[best])
    return np.concatenate(kept)


def pairs_above(scores: Floats, threshold: float) -> tuple[Indices, Indices]:
    """Every (row, column) whose score is greater than the threshold, compared in float32.

    Args:
        scores: [n, c]; NaN is never above.
        threshold: Strict lower bound.

    Returns:
        Rows and columns, both [m], ordered by column and then by row.
    """
    mask = scores > np.float32(threshold)
    flat = np.flatnonzero(mask)
    if 4 * len(flat) > mask.size:  # many: a transposed copy of the mask is cheaper than sorting
        columns, rows = np.nonzero(np.ascontiguousarray(mask.T))
        return rows, columns
    rows, columns = np.divmod(flat, mask.shape[1])
    order = np.argsort(columns, kind="stable")
    return rows[order], columns[order]


def _greedy(
    planes: Floats, rows: Indices, scores: Floats, limit: np.float32, offset: np.float32, most: int | None
) -> Indices:
    """Positions of the kept ones among the candidates of one class."""
    most = len(rows) if most is None else most
    kept: list[int] = []
    kept_planes = np.empty((5, min(most, len(rows))), dtype=np.float32)
    for order in _descending(scores):
        start, window = 0, _SETTLE
        while start < len(order) and len(kept) < most:
            part = order[start : start + window]
            free = _free(planes[:, rows[part]], kept_planes[:, : len(kept)], limit, offset)
            if len(free) > _SETTLE:
                # Settle the first of them only; the others come again, to meet the boxes kept now.
                free = free[:_SETTLE]
                start += int(free[-1]) + 1
                window = _SETTLE
            else:
                start += len(part)
                window = min(2 * window, _WINDOW)
            survivors = part[free]
            own = planes[:, rows[survivors]]
            for i in _settle(_overlaps(own, own, limit, offset), most - len(kept)):
                kept_planes[:, len(kept)] = own[:, i]
                kept.append(int(survivors[i]))
        if len(kept) >= most:
            break
    return np.asarray(kept, dtype=np.intp)


def _descending(scores: Floats) -> Iterator[Indices]:
    """Positions in descending score, the best ones first and the rest only when asked for."""
    pivot = np.partition(scores, -_HEAD)[-_HEAD] if len(scores) > 4 * _HEAD else -np.inf
    for part in (np.flatnonzero(scores >= pivot), np.flatnonzero(scores < pivot)):
        yield part[np.argsort(scores[part], kind="stable")[::-1]]


def _free(boxes: Floats, kept: Floats, limit: np.float32, offset: np.float32) -> Indices:
    """Indices of the boxes that overlap none of the kept ones too much."""
    free: Indices = np.arange(boxes.shape[1], dtype=np.intp)
    start = 0
    while start < kept.shape[1] and len(free):
        end = start + max(1, _CELLS // len(free))
        hit = _overlaps(boxes[:, free], kept[:, start:end], limit, offset)
        free = free[~hit.any(axis=1)]
        start = end
    return free


def _settle(hits: NDArray[np.bool_], most: int) -> list[int]:
    """The greedy choice among candidates in descending order, from the table of who suppresses whom."""
    alive = np.ones(len(hits), dtype=np.bool_)
    chosen: list[int] = []
    for i, row in enumerate(hits):
        if len(chosen) >= most:
            break
        if alive[i]:
            chosen.append(i)
            alive[row] = False
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
