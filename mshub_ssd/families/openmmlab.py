"""OpenMMLab's detectors: class logits and box deltas as maps, decoded as MMDetection 2.18 and later does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.families.base import Candidates, Detector, Floats, pair, softmax
from mshub_ssd.families.nms import class_nms
from mshub_ssd.networks.ssd.openmmlab_config import OpenMMLabConfig, decode

__all__ = ["OpenMMLab", "flatten"]


class OpenMMLab(Detector):
    """Detectors that return ``(cls_scores, bbox_preds)``: each one map per level, finest first.

    The maps are [anchors * classes, H, W] and [anchors * 4, H, W], or have a batch axis of 1.
    """

    config: OpenMMLabConfig

    def decode(self, outputs: Any, image_size: tuple[int, int], threshold: float) -> Candidates:
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
            # The background is the last column.
            table = softmax(level)[:, :-1]
            above = np.flatnonzero(table > np.float32(threshold))
            values = table.reshape(-1)[above]
            best = np.argsort(-values, kind="stable")[: config.nms_pre]
            anchors, classes = np.divmod(above[best], table.shape[1])
            parts.append((start + anchors, classes, values[best]))
            start += len(level)
        row, label, score = map(np.concatenate, zip(*parts, strict=True))

        side = config.image_size
        boxes = decode(np.concatenate(deltas)[row], config.anchors[row], config.delta_stds, image_size=side)
        height, width = image_size
        # Before suppression, so that overlaps are those in the picture.
        boxes /= np.asarray([side / width, side / height] * 2, dtype=np.float32)
        real = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, label, score = boxes[real], label[real], score[real]
        kept = class_nms(boxes, np.arange(len(boxes)), label, score, config.nms_threshold, pixel_offset=0.0)
        return boxes[kept], score[kept], label[kept]

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
        return [flatten(array, columns) for array in arrays]


def flatten(array: NDArray[Any], columns: int) -> Floats:
    """A map [anchors * columns, H, W] as rows [H * W * anchors, columns], in the order of the anchors."""
    return np.ascontiguousarray(array.transpose(1, 2, 0), dtype=np.float32).reshape(-1, columns)
