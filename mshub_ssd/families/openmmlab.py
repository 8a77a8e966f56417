"""OpenMMLab's detectors: class logits and box deltas as maps, decoded as MMDetection 2.18 and later does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.families.base import Candidates, Detector, Floats, pair, softmax
from mshub_ssd.families.candidates import Pairs, best_pairs, pairs_above
from mshub_ssd.families.nms import class_nms
from mshub_ssd.families.options import DetectionOptions
from mshub_ssd.families.transform import Transform
from mshub_ssd.networks.ssd.openmmlab_config import OpenMMLabConfig, decode

__all__ = ["OpenMMLab", "flatten"]

# Logarithms and exponentials in float32 are off by less.
_LOG_ERROR = 1e-3


class OpenMMLab(Detector):
    """Detectors that return ``(cls_scores, bbox_preds)``: each one map per level, finest first.

    The maps are [anchors * classes, H, W] and [anchors * 4, H, W], or have a batch axis of 1.
    """

    config: OpenMMLabConfig

    def decode(self, outputs: Any, transform: Transform, options: DetectionOptions) -> Candidates:
        """See `Detector.decode`.

        Per level the best pairs of anchor and class are taken (``config.nms_pre``), decoded, scaled to the picture,
        and suppressed class by class. Boxes without area, which lie outside of the picture, are left out.
        """
        config = self.config
        cls_scores, bbox_preds = pair(outputs, "(cls_scores, bbox_preds)")
        logits = self._maps("cls_scores", cls_scores, config.num_classes)
        deltas = self._maps("bbox_preds", bbox_preds, 4)
        parts = []
        start = 0
        for level in logits:
            pairs = self._best_of_level(level, options)
            parts.append((start + pairs.rows, pairs.columns, pairs.scores))
            start += level.size // config.num_classes
        row, label, score = map(np.concatenate, zip(*parts, strict=True))

        moves = np.concatenate([flatten(level, 4) for level in deltas])[row]
        side = config.image_size
        boxes = decode(moves, config.anchors[row], config.delta_stds, image_size=side)
        # Before suppression, so that overlaps are those in the picture; the input's border is the picture's.
        boxes = transform.to_picture(boxes, clip=False)
        real = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, label, score = boxes[real], label[real], score[real]
        assert options.iou_threshold is not None
        for best in best_pairs(score[:, None], -1.0, options.max_detections):
            rows = best.rows
            kept = rows[class_nms(boxes, rows, label[rows], score[rows], options.iou_threshold, pixel_offset=0.0)]
            if options.max_detections is not None and len(kept) >= options.max_detections:
                break
        return boxes[kept], score[kept], label[kept]

    def _best_of_level(self, level: NDArray[Any], options: DetectionOptions) -> Pairs:
        """The pairs of anchor and class that one level contributes."""
        classes, most = self.config.num_classes, self.config.nms_pre
        maps = level.reshape(-1, classes, level.shape[1] * level.shape[2])
        # A class far below an anchor's best has no probability above the threshold, however the others share theirs.
        with np.errstate(divide="ignore", invalid="ignore"):
            lead = maps[:, :-1].max(axis=1)
            hopeful = lead - np.maximum(lead, maps[:, -1]) > np.log(options.score_threshold) - _LOG_ERROR
        anchors = np.flatnonzero(hopeful.T)
        rows = flatten(level, classes) if len(anchors) == hopeful.size else maps.transpose(2, 0, 1)[hopeful.T]
        # The background is the last column.
        pairs = pairs_above(softmax(rows), options.score_threshold, background=classes - 1, best=most)
        surplus = len(pairs.scores) - most
        kept = np.ones(len(pairs.scores), dtype=np.bool_)
        if surplus > 0:  # of equal scores the first ones
            kept[np.flatnonzero(pairs.scores == pairs.scores.min())[-surplus:]] = False
        if options.labels is not None:
            kept &= np.isin(pairs.columns, options.labels)
        return Pairs(anchors[pairs.rows[kept]], pairs.columns[kept], pairs.scores[kept], pairs.bound)

    def _maps(self, name: str, maps: Sequence[ArrayLike], columns: int) -> list[Floats]:
        spec = self.config.anchor_spec
        shapes = [(boxes * columns, side, side) for boxes, side in zip(spec.per_cell, spec.feature_sizes, strict=True)]
        arrays = [np.asarray(item) for item in maps] if isinstance(maps, (tuple, list)) else []
        arrays = [array[0] if array.ndim == 4 and len(array) == 1 else array for array in arrays]
        if [array.shape for array in arrays] != shapes or not all(array.dtype.kind in "fiu" for array in arrays):
            got = [f"{array.dtype} {list(array.shape)}" for array in arrays]
            raise UsageError(
                f"{name} does not fit the network {self.config.name}",
                expected=f"one map of numbers per level: {', '.join(str(list(shape)) for shape in shapes)}",
                got=", ".join(got) or repr(type(maps).__name__),
                hint=f"{self.config.name} returns (cls_scores, bbox_preds); give those of one picture",
            )
        return [np.asarray(array, dtype=np.float32) for array in arrays]


def flatten(array: NDArray[Any], columns: int) -> Floats:
    """A map [anchors * columns, H, W] as rows [H * W * anchors, columns], in the order of the anchors."""
    return np.ascontiguousarray(array.transpose(1, 2, 0), dtype=np.float32).reshape(-1, columns)
