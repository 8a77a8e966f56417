"""From a picture to a classifier's input, and from its logits to a `Classification`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.classification import ClassifierConfig
from mshub_ssd.vision.images import normalize, read_image, resize

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ClassScore", "Classification", "preprocess", "rank"]

# All thousand rows below a large picture would take gigabytes.
_DRAWN = 20


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
class Classification:
    """The most probable classes of one picture, best first.

    Iterating gives `ClassScore` rows; ``len()`` counts them.

    Attributes:
        labels: int [k], 0-based classes.
        names: The k names of these classes.
        scores: float32 [k], probabilities among all classes, so that they add up to 1 only if all are here.
        image: The picture, RGB uint8 [h, w, 3].
    """

    labels: NDArray[np.intp]
    names: tuple[str, ...]
    scores: NDArray[np.float32]
    image: NDArray[np.uint8]

    def __post_init__(self) -> None:
        count = len(self.names)
        if self.labels.shape != (count,) or self.scores.shape != (count,):
            raise UsageError(
                "the parts of a Classification do not belong together",
                expected="labels [k], scores [k] and k names",
                got=f"labels {list(self.labels.shape)}, scores {list(self.scores.shape)}, {count} names",
            )
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise UsageError(
                "this is not the picture of a Classification",
                expected="RGB uint8 of shape [height, width, 3]",
                got=f"{self.image.dtype} of shape {list(self.image.shape)}",
                hint="give it as mshub_ssd.vision.read_image(path) returns it",
            )

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[ClassScore]:
        for row in zip(self.scores.tolist(), self.labels.tolist(), self.names, strict=True):
            yield ClassScore(*row)

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        noun = "class" if len(self) == 1 else "classes"
        rows = [f"  {row.score:.3f}  {row.name}" for _, row in zip(range(10), self, strict=False)]
        if len(self) > len(rows):
            rows.append(f"  … and {len(self) - len(rows)} more")
        return "\n".join([f"<{len(self)} {noun} of a picture of {width} x {height}", *rows]) + ">"

    def draw(self) -> Image.Image:
        """The picture, unchanged, with the names and their probabilities as bars below it.

        A picture narrower than the text is centred above it. At most 20 classes are shown.

        Raises:
            MissingDependencyError: Pillow is not installed.
        """
        from mshub_ssd.vision.drawing import draw_scores

        rows = slice(_DRAWN)
        return draw_scores(self.image, self.names[rows], self.scores[rows].tolist(), self.labels[rows])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Draw, and write the picture; the suffix decides the format.

        Args:
            path: E.g. ``out.png``.

        Returns:
            The path.

        Raises:
            UsageError: The suffix is unknown, or the file cannot be written.
        """
        from mshub_ssd.vision.drawing import write_picture

        return write_picture(self.draw(), path)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, ready for JSON."""
        height, width = self.image.shape[:2]
        rows = [{"name": row.name, "label": row.label, "score": row.score} for row in self]
        return {"image": {"width": width, "height": height}, "classes": rows}

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        from mshub_ssd.vision.drawing import notebook_png

        return notebook_png(self.draw())


def preprocess(image: NDArray[np.uint8], config: ClassifierConfig) -> NDArray[np.float32]:
    """Make a classifier's input of a picture: resize (the aspect ratio is not kept), cut out the centre, normalise.

    Args:
        image: RGB uint8 [h, w, 3], e.g. from `read_image`.
        config: The classifier's.

    Returns:
        float32 [1, 3, S, S] with S = ``config.image_size``.

    Raises:
        ImageError: It is not an RGB uint8 array.
        MissingDependencyError: OpenCV is not installed.
    """
    resized = resize(read_image(np.asarray(image)), config.resize, config.resize)
    start = (config.resize - config.image_size) // 2
    end = start + config.image_size
    return normalize(resized[start:end, start:end], config.mean, config.std)


def rank(config: ClassifierConfig, logits: ArrayLike, image: NDArray[np.uint8], top_k: int = 5) -> Classification:
    """Turn a classifier's logits for one picture into its most probable classes.

    Args:
        config: The classifier's.
        logits: [C] or [1, C].
        image: The picture, RGB uint8 [h, w, 3].
        top_k: So many classes, or all if there are fewer; equal ones in the order of their labels.

    Raises:
        UsageError: `top_k` is not a positive whole number, or the logits do not fit the classifier.
    """
    check_top_k(top_k)
    values = np.asarray(logits)
    count = config.num_classes
    if values.shape not in ((count,), (1, count)) or values.dtype.kind not in "fiu":
        several = values.ndim == 2 and values.shape[1] == count
        raise UsageError(
            f"the logits do not fit the classifier {config.name}",
            expected=f"numbers of shape [{count}] or [1, {count}]",
            got=f"{values.dtype} of shape {list(values.shape)}",
            hint="give one picture at a time: logits[i]" if several else None,
        )
    values = values.reshape(count).astype(np.float64)
    if not np.isfinite(values).all():
        raise UsageError(
            "the logits are not all finite, so they have no probabilities",
            got=f"{int((~np.isfinite(values)).sum())} of {count} are NaN or infinite",
            hint=f"check the weights of {config.name}: load it again with mshub_ssd.load",
        )
    powers = np.exp(values - values.max())
    labels = np.argsort(-values, kind="stable")[:top_k]
    return Classification(
        labels=labels,
        names=tuple(config.class_names[label] for label in labels.tolist()),
        scores=(powers / powers.sum())[labels].astype(np.float32),
        image=image,
    )


def check_top_k(top_k: int) -> None:
    """Refuse what is no number of classes to show.

    Raises:
        UsageError: It is not a positive whole number.
    """
    if isinstance(top_k, bool) or not isinstance(top_k, Integral) or top_k < 1:
        raise UsageError(
            "top_k must be a positive whole number", got=repr(top_k), hint="leave it out for the five best classes"
        )
