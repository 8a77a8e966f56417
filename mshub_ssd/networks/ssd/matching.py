"""Box matching: which anchor learns which object. NumPy only.

Boxes are (ymin, xmin, ymax, xmax), anchors (cy, cx, h, w), both relative to the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.ssd.boxes import corners, encode, iou

__all__ = ["Targets", "assign", "match", "match_batch"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Targets:
    """What a detector should predict, for one picture or (with a leading B) for a batch.

    Attributes:
        locations: Offsets [N, 4] as (dy, dx, dh, dw); 0 where an anchor has no object.
        labels: Class of each anchor, int32 [N]: 0 for background, -1 for anchors the loss ignores.
    """

    locations: Floats
    labels: NDArray[np.int32]

    @property
    def positives(self) -> int:
        """Number of anchors with an object."""
        return int((self.labels > 0).sum())


def assign(overlaps: Floats, positive: float = 0.5, ignore: float | None = None) -> NDArray[np.int64]:
    """Choose an object for every anchor.

    An anchor takes the object it overlaps most if that overlap reaches `positive`. Besides, every object
    gets its best anchor whatever the overlap; where two objects share a best anchor, the pair with the
    greater overlap has it and the other object gets its next best.

    Args:
        overlaps: IoU of every anchor with every object, [N, G].
        positive: Least overlap of an anchor with its object.
        ignore: Anchors whose best overlap lies between this and `positive` are neither object nor
            background. By default there are none.

    Returns:
        Number of the object of each anchor [N]; -1 for background, -2 for ignored anchors.

    Raises:
        UsageError: There are more objects than anchors.
    """
    anchors, objects = overlaps.shape
    if objects > anchors:
        raise UsageError(
            "more objects than anchors",
            where="matching",
            expected=f"at most {anchors} objects",
            got=f"{objects} objects",
            hint="use a network with more anchors",
        )
    chosen = np.full(anchors, -1, dtype=np.int64)
    if objects == 0:
        return chosen
    best = overlaps.argmax(axis=1)
    best_overlap = overlaps.max(axis=1)
    chosen[best_overlap >= positive] = best[best_overlap >= positive]
    if ignore is not None:
        chosen[(best_overlap >= ignore) & (best_overlap < positive)] = -2
    remaining = overlaps.astype(np.float64)
    for _ in range(objects):
        anchor, number = np.unravel_index(int(remaining.argmax()), remaining.shape)
        chosen[anchor] = number
        remaining[anchor, :] = -1
        remaining[:, number] = -1
    return chosen


def match(
    boxes: Floats,
    labels: Sequence[int] | NDArray[np.integer[Any]],
    anchors: Floats,
    *,
    positive: float = 0.5,
    ignore: float | None = None,
    prior_scaling: tuple[float, float] = (0.1, 0.2),
) -> Targets:
    """Targets of one picture.

    Args:
        boxes: Objects [G, 4] of positive height and width; G may be 0.
        labels: Their classes [G], from 1 (0 is the background).
        anchors: [N, 4].
        positive: See `assign`.
        ignore: See `assign`.
        prior_scaling: Factors of the centre's and of the size's offsets.

    Raises:
        UsageError: Boxes and labels do not fit together, a box is empty, or a label is below 1.
    """
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    classes = np.asarray(labels, dtype=np.int64).reshape(-1)
    _check(boxes, classes)
    chosen = assign(iou(corners(anchors), boxes), positive, ignore)
    target_labels = np.zeros(len(anchors), dtype=np.int32)
    locations = np.zeros((len(anchors), 4), dtype=np.float32)
    target_labels[chosen == -2] = -1
    taken = chosen >= 0
    target_labels[taken] = classes[chosen[taken]]
    locations[taken] = encode(boxes[chosen[taken]], anchors[taken], prior_scaling)
    return Targets(locations, target_labels)


def match_batch(
    objects: Sequence[tuple[Floats, Sequence[int] | NDArray[np.integer[Any]]]],
    anchors: Floats,
    *,
    positive: float = 0.5,
    ignore: float | None = None,
    prior_scaling: tuple[float, float] = (0.1, 0.2),
) -> Targets:
    """Targets of a batch, [B, N, 4] and [B, N]; `objects` holds (boxes, labels) per picture."""
    each = [
        match(boxes, labels, anchors, positive=positive, ignore=ignore, prior_scaling=prior_scaling)
        for boxes, labels in objects
    ]
    return Targets(np.stack([one.locations for one in each]), np.stack([one.labels for one in each]))


def _check(boxes: Floats, labels: NDArray[np.int64]) -> None:
    if len(boxes) != len(labels):
        raise UsageError(
            "every box needs a label", where="matching", expected=f"{len(boxes)} labels", got=f"{len(labels)}"
        )
    # Written so that NaN fails too.
    sound = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    if not sound.all():
        number = int(np.flatnonzero(~sound)[0])
        raise UsageError(
            "a box to learn is empty or not finite",
            where=f"matching, box {number}",
            expected="ymin < ymax and xmin < xmax",
            got=", ".join(f"{value:g}" for value in boxes[number]),
        )
    if len(labels) and labels.min() < 1:
        raise UsageError(
            "a label to learn is not an object's",
            where=f"matching, box {int(labels.argmin())}",
            expected="1 or more (0 is the background)",
            got=str(int(labels.min())),
        )
