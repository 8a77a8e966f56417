"""`Detections` and `Classification`: what is on one picture, best first."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.results import drawing
from mshub_ssd.results.base import Floats, Result, check_count, check_picture, in_one_line, listing, listing_html
from mshub_ssd.results.coco import CATEGORY_IDS
from mshub_ssd.terminal import counted

if TYPE_CHECKING:
    from typing import Self

    from PIL import Image

__all__ = ["ClassScore", "Classification", "Detection", "Detections"]


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


@dataclass(frozen=True, eq=False, repr=False)
class Detections(Result[Detection]):
    """Detected objects of one picture, best first.

    Iterating gives `Detection` rows, ``len()`` counts them, and ``detections[0]`` is the best one. Slices, masks,
    several positions and `where` give `Detections` again.

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
    image: NDArray[np.uint8] | None = None

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
            check_picture(self.image, self.image_size, "the picture is not the one these detections were made for")
        self._freeze("boxes", "scores", "labels")

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
        if max_detections is not None:
            check_count("max_detections", max_detections, "leave it out to keep every detection")
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

    def __iter__(self) -> Iterator[Detection]:
        rows = zip(self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), self.names, strict=True)
        for (x1, y1, x2, y2), score, label, name in rows:
            yield Detection((x1, y1, x2, y2), score, label, name)

    def __repr__(self) -> str:
        return in_one_line(self._head(), zip(self.names, self.scores.tolist(), strict=True), len(self))

    def __str__(self) -> str:
        pad = max((len(name) for name in self.names[:10]), default=0)
        lines = (f"  {row.score:.3f}  {row.name:{pad}}  {_corners(row.box)}" for row in self)
        return listing(self._head(), lines, len(self))

    def _repr_html_(self) -> str | None:
        """What a notebook shows where the picture is not known: a table. Where it is, the picture tells more."""
        if self.image is not None:
            return None
        rows = ((row.name, f"{row.score:.3f}", _corners(row.box)) for row in self)
        return listing_html(self._head(), ("name", "score", "box"), rows, len(self))

    def _head(self) -> str:
        height, width = self.image_size
        return f"{counted(len(self), 'detection')} in a picture of {width} x {height}"

    def draw(self, image: NDArray[np.uint8] | None = None) -> Image.Image:
        """Draw the labelled boxes.

        Args:
            image: RGB uint8 [h, w, 3] to draw on (a copy of), by default the picture itself.

        Raises:
            UsageError: No picture is known, or one of another size was given.
            MissingDependencyError: Pillow is not installed.
        """
        canvas = (self if image is None else dataclasses.replace(self, image=np.asarray(image))).image
        if canvas is None:
            raise UsageError(
                "there is no picture to draw on: these detections were made from outputs alone",
                hint="give it: detections.draw(image=rgb), with rgb = mshub_ssd.pictures.read_image(path)",
            )
        captions = [f"{name} {score:.2f}" for name, score in zip(self.names, self.scores.tolist(), strict=True)]
        return drawing.draw_boxes(canvas, self.boxes, captions, self.labels)

    def save(self, path: str | os.PathLike[str], image: NDArray[np.uint8] | None = None) -> Path:
        """As `Result.save`.

        Args:
            path: E.g. ``out.png``.
            image: As for `draw`.
        """
        return drawing.write_picture(self.draw(image), path)

    def crops(self) -> list[NDArray[np.uint8]]:
        """What the boxes show: one copied part of the picture per detection.

        Returns:
            RGB uint8 arrays [h, w, 3] of the pixels that a box touches, at least one.

        Raises:
            UsageError: The picture is not known.
        """
        if self.image is None:
            raise UsageError(
                "there is no picture to cut from: these detections were made from outputs alone",
                hint="give it: dataclasses.replace(detections, image=rgb).crops()",
            )
        height, width = self.image_size
        parts = []
        for x1, y1, x2, y2 in self.boxes.tolist():
            (top, bottom), (left, right) = _touched(y1, y2, height), _touched(x1, x2, width)
            parts.append(self.image[top:bottom, left:right].copy())
        return parts

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
        coco = len(self.classes) == len(CATEGORY_IDS) and set(self.classes) == set(CATEGORY_IDS)
        sizes = (self.boxes[:, 2:] - self.boxes[:, :2]).tolist()
        return [
            {
                "image_id": image_id,
                "category_id": CATEGORY_IDS[row.name] if coco else row.label + 1,
                "bbox": [row.box[0], row.box[1], width, height],
                "score": row.score,
            }
            for row, (width, height) in zip(self, sizes, strict=True)
        ]

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows; None, and so the plain text, where the picture is not known."""
        return None if self.image is None else super()._repr_png_()

    def _picked(self, rows: NDArray[np.intp]) -> Self:
        return dataclasses.replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            labels=self.labels[rows],
            names=tuple(self.names[row] for row in rows.tolist()),
        )

    def _columns(self) -> dict[str, Any]:
        sides = dict(zip(("x1", "y1", "x2", "y2"), self.boxes.T, strict=True))
        return {"name": list(self.names), "label": self.labels, "score": self.scores, **sides}

    def _classes(self) -> tuple[str, ...]:
        return self.classes


class ClassScore(NamedTuple):
    """One class and its probability.

    Attributes:
        score: Probability.
        label: 0-based class.
        name: Name of the class.
    """

    score: float
    label: int
    name: str


@dataclass(frozen=True, eq=False, repr=False)
class Classification(Result[ClassScore]):
    """The most probable classes of one picture, best first.

    Iterating gives `ClassScore` rows, ``len()`` counts them, and ``classification[0]`` is the most probable one.
    Slices, masks, several positions and `where` give a `Classification` again.

    Attributes:
        labels: int [k], 0-based classes.
        names: The k names of these classes.
        scores: float32 [k], probabilities among all classes, so that they add up to 1 only if all are here.
        image: The picture, RGB uint8 [h, w, 3], if known.
        image_size: (height, width) of the picture; need not be given with the picture itself.
    """

    labels: NDArray[np.intp]
    names: tuple[str, ...]
    scores: Floats
    image: NDArray[np.uint8] | None = None
    image_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        count = len(self.names)
        if self.labels.shape != (count,) or self.scores.shape != (count,):
            raise UsageError(
                "the parts of a Classification do not belong together",
                expected="labels [k], scores [k] and k names",
                got=f"labels {list(self.labels.shape)}, scores {list(self.scores.shape)}, {count} names",
            )
        if self.image is not None:
            size = self.image_size or self.image.shape[:2]
            check_picture(self.image, size, "this is not the picture of a Classification")
            object.__setattr__(self, "image_size", tuple(size))
        self._freeze("labels", "scores")

    def __iter__(self) -> Iterator[ClassScore]:
        for row in zip(self.scores.tolist(), self.labels.tolist(), self.names, strict=True):
            yield ClassScore(*row)

    def __repr__(self) -> str:
        return in_one_line(self._head(), zip(self.names, self.scores.tolist(), strict=True), len(self))

    def __str__(self) -> str:
        return listing(self._head(), (f"  {row.score:.3f}  {row.name}" for row in self), len(self))

    def _repr_html_(self) -> str | None:
        """What a notebook shows where the picture is not known: a table. Where it is, the picture tells more."""
        if self.image is not None:
            return None
        rows = ((row.name, f"{row.score:.3f}") for row in self)
        return listing_html(self._head(), ("name", "score"), rows, len(self))

    def _head(self) -> str:
        size = "" if self.image_size is None else f" of {self.image_size[1]} x {self.image_size[0]}"
        return f"{counted(len(self), 'class', 'classes')} of a picture{size}"

    def draw(self) -> Image.Image:
        """The picture, unchanged, with the names and their probabilities as bars below it.

        A picture narrower than the text is centred above it. At most 20 classes are shown.

        Raises:
            UsageError: The picture is not known.
            MissingDependencyError: Pillow is not installed.
        """
        if self.image is None:
            raise UsageError(
                "there is no picture to draw on: these classes were made from outputs alone",
                hint="give it: dataclasses.replace(classification, image=rgb)",
            )
        rows = slice(20)  # all thousand below a large picture would take gigabytes
        return drawing.draw_scores(self.image, self.names[rows], self.scores[rows].tolist(), self.labels[rows])

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, ready for JSON."""
        height, width = self.image_size or (None, None)
        rows = [{"name": row.name, "label": row.label, "score": row.score} for row in self]
        return {"image": {"width": width, "height": height}, "classes": rows}

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows; None, and so the plain text, where the picture is not known."""
        return None if self.image is None else super()._repr_png_()

    def _picked(self, rows: NDArray[np.intp]) -> Self:
        names = tuple(self.names[row] for row in rows.tolist())
        return dataclasses.replace(self, labels=self.labels[rows], names=names, scores=self.scores[rows])

    def _columns(self) -> dict[str, Any]:
        return {"name": list(self.names), "label": self.labels, "score": self.scores}


def _corners(box: tuple[float, float, float, float]) -> str:
    return "({:.1f}, {:.1f}) to ({:.1f}, {:.1f})".format(*box)


def _touched(low: float, high: float, size: int) -> tuple[int, int]:
    """The pixels of one side of a picture that a box touches, at least one."""
    low, high = (min(max(end, 0.0), float(size)) if math.isfinite(end) else 0.0 for end in (low, high))
    start = min(math.floor(low), size - 1)
    return start, max(math.ceil(high), start + 1)
