"""COCO's figures of detections, by pycocotools, and which classes are taken for which."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import UsageError, needing_extra
from mshub_ssd.evaluation.annotations import Annotations, Picture
from mshub_ssd.evaluation.result import Confusion, Curves
from mshub_ssd.networks.ssd.boxes import iou

__all__ = ["CONFUSION_IOU", "CONFUSION_SCORE", "FIGURES", "Scores", "count_confusion", "require_pycocotools", "score"]

FIGURES = (
    *("mAP", "mAP@0.5", "mAP@0.75", "mAP small", "mAP medium", "mAP large"),
    *("AR@1", "AR@10", "AR@100", "AR small", "AR medium", "AR large"),
)
"""The twelve figures, in pycocotools' order."""

CONFUSION_SCORE = 0.3
CONFUSION_IOU = 0.5
# Tables of precision take 97 kB a category.
_MAX_CATEGORIES = 10_000


class Scores(NamedTuple):
    """What pycocotools says of detections; -1 where there is nothing to count.

    Attributes:
        metrics: Name of a figure → its value.
        per_category: Category's id → AP, AP@0.5 and AR@100.
        curves: Precision over recall.
    """

    metrics: dict[str, float]
    per_category: dict[int, tuple[float, float, float]]
    curves: Curves


def require_pycocotools() -> None:
    """Refuse to begin what cannot be ended.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """
    with needing_extra("evaluation of detectors"):
        import pycocotools.cocoeval  # noqa: F401


def score(
    annotations: Annotations, pictures: Sequence[Picture], results: Sequence[Mapping[str, Any]], categories: set[int]
) -> Scores:
    """COCO's figures.

    Args:
        annotations: The data set.
        pictures: Those of its pictures that count.
        results: Detections in COCO's form: ``image_id``, ``category_id``, ``bbox``, ``score``.
        categories: Ids of those that count. One without objects has no figure, so that it changes no other one.

    Raises:
        UsageError: There are too many categories.
    """
    if len(categories) > _MAX_CATEGORIES:
        raise UsageError(
            "so many categories at once cannot be evaluated",
            expected=f"at most {_MAX_CATEGORIES:,} categories with objects",
            got=f"{len(categories):,}",
            hint="evaluate some of them: categories=[...] (--category NAME)",
        )
    with needing_extra("evaluation of detectors"), contextlib.redirect_stdout(io.StringIO()):
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        truth, found = COCO(), COCO()
        truth.dataset = annotations.dataset(pictures)
        # As COCO.loadRes does, which cannot take a file without any detection.
        rows = [
            {**row, "id": number, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
            for number, row in enumerate(results, start=1)
        ]
        found.dataset = {**truth.dataset, "annotations": rows}
        truth.createIndex()
        found.createIndex()
        scoring = COCOeval(truth, found, "bbox")
        chosen = scoring.params.catIds = sorted(categories)
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
        precision, recall = scoring.eval["precision"], scoring.eval["recall"]
    # Of all sizes, with the best 100 detections of a category on a picture.
    precision, recall = precision[:, :, :, 0, -1], recall[:, :, 0, -1]
    return Scores(
        dict(zip(FIGURES, map(float, scoring.stats), strict=True)),
        {
            number: (_mean(precision[:, :, place]), _mean(precision[0, :, place]), _mean(recall[:, place]))
            for place, number in enumerate(chosen)
        },
        Curves(
            recall=np.asarray(scoring.params.recThrs),
            thresholds=tuple(round(float(value), 2) for value in scoring.params.iouThrs),
            names=tuple(annotations.categories[number] for number in chosen),
            precision=np.ascontiguousarray(precision.transpose(2, 0, 1)),
        ),
    )


def _mean(values: NDArray[Any]) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0


def count_confusion(
    annotations: Annotations,
    pictures: Sequence[Picture],
    results: Sequence[Mapping[str, Any]],
    categories: Sequence[int],
    min_score: float = CONFUSION_SCORE,
    min_iou: float = CONFUSION_IOU,
) -> Confusion:
    """What objects were taken for, where they were found at all.

    The best detection first, each takes the free object that it overlaps most, of whatever category. What a crowd
    covers counts neither way.

    Args:
        annotations: The data set.
        pictures: Those of its pictures that count.
        results: Detections in COCO's form.
        categories: Ids of those that count, in the order of the matrix.
        min_score: Detections that score less do not count.
        min_iou: How much of both a detection and its object must have in common.
    """
    place = {number: index for index, number in enumerate(categories)}
    nothing = len(place)
    matrix = np.zeros((nothing + 1, nothing + 1), dtype=np.int64)
    by_picture: dict[int, list[Mapping[str, Any]]] = {}
    for row in results:
        if row["score"] >= min_score and row["category_id"] in place:
            by_picture.setdefault(row["image_id"], []).append(row)
    for picture in pictures:
        rows = sorted(by_picture.get(picture.id, ()), key=lambda row: -row["score"])
        objects = [one for one in annotations.instances.get(picture.id, ()) if one.category in place]
        single = [one for one in objects if not one.crowd]
        boxes = _corners([row["bbox"] for row in rows])
        overlaps = iou(boxes, _corners([one.box for one in single])) if rows and single else np.zeros((len(rows), 0))
        crowded = _covered(boxes, _corners([one.box for one in objects if one.crowd]))
        free = np.ones(len(single), dtype=np.bool_)
        for index, row in enumerate(rows):
            shares = np.where(free, overlaps[index], -1.0)
            best = int(shares.argmax()) if shares.size else -1
            if best >= 0 and shares[best] >= min_iou:
                free[best] = False
                matrix[place[single[best].category], place[row["category_id"]]] += 1
            elif crowded[index] < min_iou:
                matrix[nothing, place[row["category_id"]]] += 1
        for index in np.flatnonzero(free).tolist():
            matrix[place[single[index].category], nothing] += 1
    names = tuple(annotations.categories[number] for number in categories)
    return Confusion(names, matrix, min_score=min_score, min_iou=min_iou)


def _corners(boxes: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    corners: NDArray[np.float32] = np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1, dtype=np.float32)
    return corners


def _covered(boxes: NDArray[np.float32], regions: NDArray[np.float32]) -> NDArray[np.float64]:
    """The largest share of each box that one of the regions covers."""
    if not len(regions) or not len(boxes):
        return np.zeros(len(boxes))
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), np.finfo(np.float32).tiny)
    shares: NDArray[np.float64] = np.asarray((common / area[:, None]).max(axis=1), dtype=np.float64)
    return shares
