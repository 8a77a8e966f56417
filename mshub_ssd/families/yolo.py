"""YOLO detectors, as MindYOLO evaluates them: boxes in pixels of the input, decoded by the network itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mshub_ssd.errors import UsageError
from mshub_ssd.families.base import Candidates, Detector, Floats
from mshub_ssd.families.candidates import best_pairs
from mshub_ssd.families.nms import class_nms
from mshub_ssd.families.options import DetectionOptions
from mshub_ssd.families.transform import Transform
from mshub_ssd.networks.yolo import YOLOConfig
from mshub_ssd.pictures import RGB

__all__ = ["YOLO"]

# A sigmoid may end a rounding error above 1; anything more is a logit.
_ROUNDING = 1e-4


class _Letterbox(Transform):
    """Boxes go back by the ratio that the longer side has, and half of the rest, before either became whole pixels."""

    @property
    def scale(self) -> tuple[float, float]:
        ratio = min(inner / outer for inner, outer in zip(self.input_size, self.image_size, strict=True))
        return ratio, ratio

    @property
    def origin(self) -> tuple[float, float]:
        (tall, broad), (height, width), (ratio, _) = self.input_size, self.image_size, self.scale
        return (tall - height * ratio) / 2, (broad - width * ratio) / 2


class YOLO(Detector):
    """Detectors that return rows [1, N, 4 + C], or [1, N, 5 + C] with the score of an object: cx, cy, w, h, scores.

    The rows are the output, or the first part of a tuple, whose others count in training only. A box may be there once
    for each of its classes.
    """

    config: YOLOConfig
    fill = (114, 114, 114)

    def transform(self, image_size: tuple[int, int]) -> Transform:
        """See `Family.transform`: the longer side fills the input, shrunk or enlarged; the picture is in the middle."""
        side = self.config.image_size
        height, width = Transform.stretched(image_size, (side, side)).image_size
        ratio = side / max(height, width)
        placed = max(1, int(height * ratio)), max(1, int(width * ratio))
        # The odd pixel of a rest goes below and to the right.
        offset = (side - placed[0]) // 2, (side - placed[1]) // 2
        return _Letterbox((height, width), (side, side), placed, offset, "area" if ratio < 1 else "bilinear")

    def postprocess(
        self,
        outputs: Any,
        transforms: Sequence[Transform],
        options: Any = None,
        *,
        pictures: Sequence[RGB | None] | None = None,
    ) -> list[Any]:
        """See `Family.postprocess`; what follows the rows need not be arrays."""
        return super().postprocess(_first(outputs), transforms, options, pictures=pictures)

    def decode(self, outputs: Any, transform: Transform, options: DetectionOptions) -> Candidates:
        """See `Detector.decode`. The scores of an object and of a class must both be above the threshold."""
        config = self.config
        rows = self._rows(outputs)
        if config.rows == "object and classes":
            rows = rows[rows[:, 4] > options.score_threshold]
            objects, scores = rows[:, 4:5], rows[:, 5:]
            table = objects if config.num_classes == 1 else scores * objects
        else:
            table = scores = rows[:, 4:]
        # A product may hide that its factors are no probabilities.
        highest = max((float(part.max()) for part in (rows[:, 4:5], scores) if part.size), default=0.0)
        if highest > 1 + _ROUNDING:
            raise UsageError(
                "these scores are no probabilities: they look like raw logits",
                expected="scores of 0 to 1, as the network gives them in inference mode",
                got=f"a score of {highest:.4g}",
                hint="call network.set_train(False) before running it",
            )
        wanted = None if options.labels is None else np.asarray(options.labels, dtype=np.intp)
        if wanted is not None:
            table = table[:, wanted]
        half = rows[:, 2:4] / 2
        corners = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)
        assert options.iou_threshold is not None
        for pairs in best_pairs(table, options.score_threshold, options.max_detections):
            classes = pairs.columns if wanted is None else wanted[pairs.columns]
            # Overlaps are those in the input, before boxes are cut at the picture's border.
            kept = class_nms(corners, pairs.rows, classes, pairs.scores, options.iou_threshold, pixel_offset=0.0)
            if options.max_detections is not None and len(kept) >= options.max_detections:
                break
        return transform.to_picture(corners[pairs.rows[kept]]), pairs.scores[kept], classes[kept]

    def _rows(self, outputs: Any) -> Floats:
        """The rows for one picture."""
        config = self.config
        width = config.num_classes + (5 if config.rows == "object and classes" else 4)
        array = np.asarray(_first(outputs))
        if array.ndim == 3 and len(array) == 1:
            array = array[0]
        if array.ndim == 2 and array.shape[1] == width and array.dtype.kind in "fiu":
            return np.asarray(array, dtype=np.float32)
        raise UsageError(
            f"the output does not fit the network {config.name}",
            expected=f"numbers of shape [N, {width}] or [1, N, {width}]",
            got=f"{array.dtype} of shape {list(array.shape)}",
            hint="give one picture at a time: rows[i]"
            if array.ndim == 3 and array.shape[2] == width
            else f"{config.name} returns them in inference mode: call network.set_train(False)",
        )


def _first(outputs: Any) -> Any:
    while isinstance(outputs, tuple | list) and outputs:
        outputs = outputs[0]
    return outputs
