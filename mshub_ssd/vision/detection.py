"""From a detector's raw outputs to `Detections`: decode, threshold, suppress, name."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.ssd.boxes import decode
from mshub_ssd.networks.ssd.config import COCO_CLASSES, SSDConfig
from mshub_ssd.vision.nms import class_nms, pairs_above

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Detection", "Detections", "Selection", "picture_size", "postprocess", "probability", "select"]

Floats = NDArray[np.float32]

# COCO numbers its 80 classes up to 90, leaving out ten.
_COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
_COCO_IDS = dict(zip(COCO_CLASSES, sorted(set(range(1, 91)) - _COCO_GAPS), strict=True))

# A sigmoid may end a rounding error above 1; anything more is a logit.
_ROUNDING = 1e-4


class Detection(NamedTuple):
    """One detected object.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the picture.
        score: Probability.
        label: 0-based class.
        name: Name of the class.
    """

    box: tuple[float, float, float, float]
    score: float
    label: int
    name: str


@dataclass(frozen=True, eq=False)
class Selection:
    """What is left of a detector's outputs: class by class, within a class in descending score.

    Attributes:
        boxes: float32 [n, 4] as ymin, xmin, ymax, xmax in pixels.
        scores: float32 [n].
        classes: [n], 1 .. C-1; 0 would be the background.
        index: [n], the anchor each one comes from.
    """

    boxes: Floats
    scores: Floats
    classes: NDArray[np.intp]
    index: NDArray[np.intp]


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """Detected objects of one picture, best first.

    Iterating gives `Detection` rows; ``len()`` counts them.

    Attributes:
        boxes: float32 [n, 4] as x1, y1, x2, y2 in pixels of the original picture.
        scores: float32 [n], probabilities.
        labels: int [n], 0-based among the classes without the background.
        names: The n names of the detected classes.
        image_size: (height, width) of the picture.
        classes: Names of all classes the detector knows, if known.
        image: The picture, RGB uint8 [h, w, 3], if known.
    """

    boxes: Floats
    scores: Floats
    labels: NDArray[np.intp]
    names: tuple[str, ...]
    image_size: tuple[int, int]
    classes: tuple[str, ...] = ()
    image: NDArray[np.uint8] | None = field(default=None)

    def __post_init__(self) -> None:
        count = len(self.scores)
        shapes = (self.boxes.shape, self.scores.shape, self.labels.shape, len(self.names))
        if shapes != ((count, 4), (count,), (count,), count):
            raise UsageError(
                "the parts of Detections do not belong together",
                expected="boxes [n, 4], scores [n], labels [n] and n names",
                got=f"boxes {list(shapes[0])}, scores {list(shapes[1])}, labels {list(shapes[2])}, {shapes[3]} names",
            )
        if self.image is not None:
            _check_picture(self.image, self.image_size)

    @classmethod
    def ranked(
        cls,
        boxes: Floats,
        scores: Floats,
        labels: NDArray[np.integer[Any]],
        classes: Sequence[str],
        image_size: tuple[int, int],
        *,
        max_detections: int | None = None,
        image: NDArray[np.uint8] | None = None,
    ) -> Detections:
        """Sort by score, keep the best, and name them; equal scores keep their order.

        Args:
            boxes: [n, 4] as x1, y1, x2, y2 in pixels.
            scores: [n].
            labels: [n], 0-based.
            classes: Name of every class, by label.
            image_size: (height, width) of the picture.
            max_detections: Keep so many, None for all.
            image: The picture itself, RGB uint8.

        Raises:
            UsageError: `max_detections` is not a positive number, or the parts do not fit together.
        """
        if max_detections is not None and (
            isinstance(max_detections, bool) or not isinstance(max_detections, Integral) or max_detections < 1
        ):
            raise UsageError(
                "max_detections must be a positive whole number",
                got=repr(max_detections),
                hint="leave it out to keep every detection",
            )
        scores = np.asarray(scores, dtype=np.float32)
        order = np.argsort(-scores, kind="stable")[:max_detections]
        picked = np.asarray(labels, dtype=np.intp)[order]
        return cls(
            boxes=np.asarray(boxes, dtype=np.float32).reshape(-1, 4)[order],
            scores=scores[order],
            labels=picked,
            names=tuple(classes[label] for label in picked.tolist()),
            image_size=image_size,
            classes=tuple(classes),
            image=image,
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        rows = zip(self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), self.names, strict=True)
        for (x1, y1, x2, y2), score, label, name in rows:
            yield Detection((x1, y1, x2, y2), score, label, name)

    def __repr__(self) -> str:
        height, width = self.image_size
        noun = "detection" if len(self) == 1 else "detections"
        lines = [f"<{len(self)} {noun} in a picture of {width} x {height}"]
        shown = [row for _, row in zip(range(10), self, strict=False)]
        pad = max((len(row.name) for row in shown), default=0)
        for row in shown:
            x1, y1, x2, y2 = row.box
            lines.append(f"  {row.score:.3f}  {row.name:{pad}}  ({x1:.1f}, {y1:.1f}) to ({x2:.1f}, {y2:.1f})")
        if len(self) > len(shown):
            lines.append(f"  … and {len(self) - len(shown)} more")
        return "\n".join(lines) + ">"

    def draw(self, image: NDArray[np.uint8] | None = None) -> Image.Image:
        """Draw the labelled boxes.

        Args:
            image: RGB uint8 [h, w, 3] to draw on (a copy of), by default the picture itself.

        Raises:
            UsageError: No picture is known, or one of another size was given.
            MissingDependencyError: Pillow is not installed.
        """
        from mshub_ssd.vision.drawing import draw_boxes

        canvas = self.image if image is None else np.asarray(image)
        if canvas is None:
            raise UsageError(
                "there is no picture to draw on: these detections were made from outputs alone",
                hint="give it: detections.draw(image=rgb), with rgb = mshub_ssd.vision.read_image(path)",
            )
        if image is not None:
            _check_picture(canvas, self.image_size)
        captions = [f"{name} {score:.2f}" for name, score in zip(self.names, self.scores.tolist(), strict=True)]
        return draw_boxes(canvas, self.boxes, captions, self.labels)

    def save(self, path: str | os.PathLike[str], image: NDArray[np.uint8] | None = None) -> Path:
        """Draw, and write the picture; the suffix decides the format.

        Args:
            path: E.g. ``out.png``.
            image: As for `draw`.

        Returns:
            The path.

        Raises:
            UsageError: No picture is known, the suffix is unknown, or the file cannot be written.
        """
        from mshub_ssd.vision.drawing import write_picture

        return write_picture(self.draw(image), path)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, ready for JSON."""
        height, width = self.image_size
        rows = [{"name": row.name, "label": row.label, "score": row.score, "box": list(row.box)} for row in self]
        return {"image": {"width": width, "height": height}, "detections": rows}

    def to_coco(self, image_id: int | str) -> list[dict[str, Any]]:
        """Rows of a COCO results file.

        Args:
            image_id: The picture's id in the data set.

        Returns:
            One dict per detection: ``image_id``, ``category_id``, ``bbox`` (x, y, width, height), ``score``.
            The category is COCO's own id if the detector's classes are COCO's, otherwise label + 1.
        """
        coco = len(self.classes) == len(_COCO_IDS) and set(self.classes) == set(_COCO_IDS)
        sizes = (self.boxes[:, 2:] - self.boxes[:, :2]).tolist()
        return [
            {
                "image_id": image_id,
                "category_id": _COCO_IDS[row.name] if coco else row.label + 1,
                "bbox": [row.box[0], row.box[1], width, height],
                "score": row.score,
            }
            for row, (width, height) in zip(self, sizes, strict=True)
        ]

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows; None, and so the plain text, where the picture is not known."""
        if self.image is None:
            return None
        from mshub_ssd.vision.drawing import notebook_png

        return notebook_png(self.draw())


def postprocess(
    config: SSDConfig,
    pred_loc: ArrayLike,
    scores: ArrayLike,
    image_size: Sequence[int],
    score_threshold: float | None = None,
    max_detections: int | None = None,
    *,
    image: NDArray[np.uint8] | None = None,
) -> Detections:
    """Turn a detector's outputs for one picture into detections.

    Args:
        config: The detector's.
        pred_loc: [N, 4] or [1, N, 4], box offsets.
        scores: [N, C] or [1, N, C], probabilities with the background as class 0.
        image_size: (height, width) of the original picture in pixels.
        score_threshold: Keep scores greater than this, 0 to 1; None for the network's published value.
        max_detections: Keep the best so many of all classes; None for all.
        image: The picture, RGB uint8, for drawing.

    Returns:
        The detections, best first.

    Raises:
        UsageError: A shape or an argument does not fit; the message says what was expected.
    """
    chosen = select(config, pred_loc, scores, image_size, score_threshold)
    return Detections.ranked(
        chosen.boxes[:, [1, 0, 3, 2]],
        chosen.scores,
        chosen.classes - 1,
        config.class_names,
        picture_size(image_size),
        max_detections=max_detections,
        image=image,
    )


def select(
    config: SSDConfig,
    pred_loc: ArrayLike,
    scores: ArrayLike,
    image_size: Sequence[int],
    score_threshold: float | None = None,
) -> Selection:
    """Decode and suppress, with results in the order of the published evaluation: class by class.

    Args and errors are those of `postprocess`.
    """
    anchors = config.anchors
    offsets = _one_picture("pred_loc", pred_loc, (len(anchors), 4), config)
    table = _one_picture("scores", scores, (len(anchors), config.num_classes), config)
    height, width = picture_size(image_size)
    threshold = probability(config.score_threshold if score_threshold is None else score_threshold)
    logits = config.activation == "none"
    if logits:
        # The order and the threshold of probabilities, without their rounding.
        threshold = _logit(threshold)

    rows, classes = pairs_above(table[:, 1:], threshold)
    classes = classes + 1
    values = table[rows, classes]
    if not logits and len(values) and values.max() > 1 + _ROUNDING:
        raise UsageError(
            "these scores are no probabilities: they look like raw logits",
            expected="scores of 0 to 1, as the network gives them in inference mode",
            got=f"a score of {values.max():.4g}",
            hint="call network.set_train(False) before running it",
        )
    # Few anchors have a score that counts, and only those need a box.
    used = np.zeros(len(anchors), dtype=np.bool_)
    used[rows] = True
    picked = np.flatnonzero(used)
    place = np.cumsum(used) - 1
    scale = np.asarray([height, width, height, width], dtype=np.float32)
    boxes = decode(offsets[picked], anchors[picked], config.prior_scaling) * scale
    kept = class_nms(boxes, place[rows], classes, values, config.nms_threshold, max_per_class=config.max_per_class)
    index = rows[kept]
    chosen = _sigmoid(values[kept]) if logits else values[kept]
    return Selection(boxes[place[index]], chosen, classes[kept], index)


def _logit(probability: float) -> float:
    if not 0 < probability < 1:
        return -math.inf if probability <= 0 else math.inf
    return math.log(probability / (1 - probability))


def _sigmoid(logits: Floats) -> Floats:
    # Half of a hyperbolic tangent never overflows.
    half = np.float32(0.5)
    result: Floats = half + half * np.tanh(half * logits)
    return result


def _one_picture(name: str, values: ArrayLike, shape: tuple[int, int], config: SSDConfig) -> Floats:
    """Check an output's shape and take the batch axis off."""
    array = np.asarray(values)
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.shape == shape and array.dtype.kind in "fiu":
        return np.asarray(array, dtype=np.float32)
    rows, columns = shape
    hint = f"{config.name} returns (pred_loc, scores)"
    if array.ndim == 3 and array.shape[1:] == shape:
        hint = f"give one picture at a time: {name}[i]"
    raise UsageError(
        f"{name} does not fit the network {config.name}",
        expected=f"numbers of shape [{rows}, {columns}] or [1, {rows}, {columns}]",
        got=f"{array.dtype} of shape {list(array.shape)}",
        hint=hint,
    )


def picture_size(image_size: Sequence[int]) -> tuple[int, int]:
    """(height, width), checked."""
    try:
        height, width = image_size
    except (TypeError, ValueError):
        height = width = 0
    for side in (height, width):
        if isinstance(side, bool) or not isinstance(side, Integral) or side < 1:
            raise UsageError(
                "image_size must be the picture's (height, width) in pixels",
                expected="two positive whole numbers",
                got=repr(image_size),
                hint="image_size=rgb.shape[:2] for an array, pil.size[::-1] for a PIL image",
            )
    return int(height), int(width)


def probability(value: float) -> float:
    """A score threshold, checked."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise UsageError(
            "score_threshold must be a probability",
            expected="a number of 0 to 1",
            got=repr(value),
            hint="leave it out for the network's published value",
        )
    return float(value)


def _check_picture(image: NDArray[Any], image_size: tuple[int, int]) -> None:
    height, width = image_size
    if image.dtype != np.uint8 or image.shape != (height, width, 3):
        raise UsageError(
            "the picture is not the one these detections were made for",
            expected=f"RGB uint8 of shape [{height}, {width}, 3]",
            got=f"{image.dtype} of shape {list(image.shape)}",
            hint="give the original picture as mshub_ssd.vision.read_image(path) returns it",
        )
