"""From the raw outputs of OpenMMLab's detectors to `Detections`, as MMDetection 2.18 and later does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.ssd.openmmlab_config import OpenMMLabConfig, decode
from mshub_ssd.vision.detection import Detections, picture_size, probability
from mshub_ssd.vision.nms import class_nms

__all__ = ["flatten", "postprocess", "softmax"]

Floats = NDArray[np.float32]


def postprocess(
    config: OpenMMLabConfig,
    cls_scores: Sequence[ArrayLike],
    bbox_preds: Sequence[ArrayLike],
    image_size: Sequence[int],
    score_threshold: float | None = None,
    max_detections: int | None = None,
    *,
    image: NDArray[np.uint8] | None = None,
) -> Detections:
    """Turn a detector's outputs for one picture into detections.

    Per level the best pairs of anchor and class are taken (``config.nms_pre``), decoded, scaled to the picture,
    and suppressed class by class. Boxes without area, which lie outside of the picture, are left out.

    Args:
        config: The detector's.
        cls_scores: Class logits per level, finest first, [anchors * classes, H, W] or with a batch axis of 1.
        bbox_preds: Box deltas per level, [anchors * 4, H, W] or with a batch axis of 1.
        image_size: (height, width) of the original picture in pixels.
        score_threshold: Keep scores greater than this, 0 to 1; None for the network's published value.
        max_detections: Keep the best so many of all classes; None for the published number,
            ``config.max_detections``.
        image: The picture, RGB uint8, for drawing.

    Returns:
        The detections, best first.

    Raises:
        UsageError: A shape or an argument does not fit; the message says what was expected.
    """
    height, width = picture_size(image_size)
    threshold = np.float32(probability(config.score_threshold if score_threshold is None else score_threshold))
    logits = _maps("cls_scores", cls_scores, config.num_classes, config)
    deltas = _maps("bbox_preds", bbox_preds, 4, config)

    rows, labels, scores = [], [], []
    start = 0
    for level in logits:
        # The background is the last column.
        table = softmax(level)[:, :-1]
        above = np.flatnonzero(table > threshold)
        values = table.reshape(-1)[above]
        best = np.argsort(-values, kind="stable")[: config.nms_pre]
        anchors, classes = np.divmod(above[best], table.shape[1])
        rows.append(start + anchors)
        labels.append(classes)
        scores.append(values[best])
        start += len(level)
    row, label, score = np.concatenate(rows), np.concatenate(labels), np.concatenate(scores)

    boxes = decode(np.concatenate(deltas)[row], config.anchors[row], config.delta_stds, image_size=config.image_size)
    scale = np.asarray([config.image_size / width, config.image_size / height] * 2, dtype=np.float32)
    # Before suppression, so that overlaps are those in the picture.
    boxes /= scale
    real = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    boxes, label, score = boxes[real], label[real], score[real]
    kept = class_nms(boxes, np.arange(len(boxes)), label, score, config.nms_threshold, pixel_offset=0.0)
    return Detections.ranked(
        boxes[kept],
        score[kept],
        label[kept],
        config.class_names,
        (height, width),
        max_detections=config.max_detections if max_detections is None else max_detections,
        image=image,
    )


def flatten(array: NDArray[Any], columns: int) -> Floats:
    """A map [anchors * columns, H, W] as rows [H * W * anchors, columns], in the order of the anchors."""
    return np.ascontiguousarray(array.transpose(1, 2, 0), dtype=np.float32).reshape(-1, columns)


def softmax(logits: Floats) -> Floats:
    """Probabilities [n, classes] of logits [n, classes], in float32."""
    # Infinite logits become NaN, which no threshold lets through.
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Floats = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _maps(name: str, maps: Sequence[ArrayLike], columns: int, config: OpenMMLabConfig) -> list[Floats]:
    spec = config.anchor_spec
    shapes = [(boxes * columns, side, side) for boxes, side in zip(spec.per_cell, spec.feature_sizes, strict=True)]
    arrays = [np.asarray(item) for item in maps] if isinstance(maps, (tuple, list)) else []
    arrays = [array[0] if array.ndim == 4 and len(array) == 1 else array for array in arrays]
    if [array.shape for array in arrays] != shapes or not all(array.dtype.kind in "fiu" for array in arrays):
        got = [f"{array.dtype} {list(array.shape)}" for array in arrays]
        raise UsageError(
            f"{name} does not fit the network {config.name}",
            expected=f"one map of numbers per level: {', '.join(str(list(shape)) for shape in shapes)}",
            got=", ".join(got) or repr(type(maps).__name__),
            hint=f"{config.name} returns (cls_scores, bbox_preds); give those of one picture",
        )
    return [flatten(array, columns) for array in arrays]
