"""The zoo's SSDs: offsets and class scores of every anchor, as the published evaluation decodes them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.families.base import Candidates, Detector, Floats, pair
from mshub_ssd.families.candidates import best_pairs
from mshub_ssd.families.nms import class_nms
from mshub_ssd.families.options import DetectionOptions
from mshub_ssd.families.transform import Transform
from mshub_ssd.networks.ssd.boxes import decode
from mshub_ssd.networks.ssd.config import SSDConfig

__all__ = ["SSD", "Selection"]

# A sigmoid may end a rounding error above 1; anything more is a logit.
_ROUNDING = 1e-4
# Probabilities of logits in float32 are off by less.
_SIGMOID_ERROR = 1e-6
# So many anchors take no time to decode.
_FEW = 256


class Selection(NamedTuple):
    """What is left of a detector's outputs: class by class, within a class in descending score.

    Attributes:
        boxes: float32 [n, 4] as x1, y1, x2, y2 in pixels of the picture.
        scores: float32 [n].
        classes: [n], 1 .. C-1; 0 would be the background.
        anchors: [n], the anchor each one comes from.
    """

    boxes: Floats
    scores: Floats
    classes: NDArray[np.intp]
    anchors: NDArray[np.intp]


class SSD(Detector):
    """Detectors that return ``(pred_loc [1, N, 4], scores [1, N, C])``, with the background as class 0."""

    config: SSDConfig

    def decode(self, outputs: Any, transform: Transform, options: DetectionOptions) -> Candidates:
        """See `Detector.decode`; there may be a batch axis of 1."""
        chosen = self.select(outputs, transform, options)
        return chosen.boxes, chosen.scores, chosen.classes - 1

    def select(self, outputs: Any, transform: Transform, options: DetectionOptions) -> Selection:
        """Decode and suppress, with results in the order of the published evaluation.

        Args and errors are those of `decode`. With a number of detections some that are not among the best may be
        missing.
        """
        config = self.config
        anchors = config.anchors
        pred_loc, scores = pair(outputs, "(pred_loc, scores)")
        offsets = self._one_picture("pred_loc", pred_loc, (len(anchors), 4))
        table = self._one_picture("scores", scores, (len(anchors), config.num_classes))
        wanted = None if options.labels is None else np.asarray(options.labels, dtype=np.intp) + 1
        background = 0 if wanted is None else None
        if wanted is not None:
            table = table[:, wanted]
        logits = config.activation == "none"
        # Of logits the order and the threshold are those of probabilities, without their rounding.
        threshold = _logit(options.score_threshold) if logits else options.score_threshold
        for pairs in best_pairs(table, threshold, options.max_detections, background=background):
            if not logits and len(pairs.scores) and pairs.scores.max() > 1 + _ROUNDING:
                raise UsageError(
                    "these scores are no probabilities: they look like raw logits",
                    expected="scores of 0 to 1, as the network gives them in inference mode",
                    got=f"a score of {pairs.scores.max():.4g}",
                    hint="call network.set_train(False) before running it",
                )
            picked, place = _distinct(pairs.rows, len(anchors))
            relative = decode(offsets[picked], anchors[picked], config.prior_scaling)
            boxes = transform.relative_to_picture(relative[:, [1, 0, 3, 2]])
            classes = pairs.columns if wanted is None else wanted[pairs.columns]
            assert options.iou_threshold is not None
            kept = class_nms(
                boxes, place, classes, pairs.scores, options.iou_threshold, max_per_class=config.max_per_class
            )
            values = pairs.scores[kept]
            chosen = _sigmoid(values) if logits else values
            # What was not looked at scores less. Equal probabilities of unequal logits count as not yet decided.
            bound = float(_sigmoid(np.float32(pairs.bound))) + _SIGMOID_ERROR if logits else pairs.bound
            if options.max_detections is not None and np.count_nonzero(chosen >= bound) >= options.max_detections:
                break
        return Selection(boxes[place[kept]], chosen, classes[kept], pairs.rows[kept])

    def _one_picture(self, name: str, values: ArrayLike, shape: tuple[int, int]) -> Floats:
        """Check an output's shape and take the batch axis off."""
        array = np.asarray(values)
        if array.ndim == 3 and len(array) == 1:
            array = array[0]
        if array.shape == shape and array.dtype.kind in "fiu":
            return np.asarray(array, dtype=np.float32)
        rows, columns = shape
        raise UsageError(
            f"{name} does not fit the network {self.config.name}",
            expected=f"numbers of shape [{rows}, {columns}] or [1, {rows}, {columns}]",
            got=f"{array.dtype} of shape {list(array.shape)}",
            hint=f"give one picture at a time: {name}[i]"
            if array.ndim == 3 and array.shape[1:] == shape
            else f"{self.config.name} returns (pred_loc, scores)",
        )


def _distinct(rows: NDArray[np.intp], count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The anchors that need a box, of so many, and where in these each row finds its own."""
    if len(rows) <= _FEW:  # then it is less work to have some of them twice
        return rows, np.arange(len(rows))
    used = np.zeros(count, dtype=np.bool_)
    used[rows] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[rows]


def _logit(probability: float) -> float:
    inside = 0 < probability < 1
    return math.log(probability / (1 - probability)) if inside else math.copysign(math.inf, probability - 0.5)


def _sigmoid(logits: Floats | np.float32) -> Floats:
    # Half of a hyperbolic tangent never overflows.
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logits), dtype=np.float32)
