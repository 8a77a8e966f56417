"""`Classification`: the most probable classes of one picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.results import drawing
from mshub_ssd.results.base import Result, check_picture, listing

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ClassScore", "Classification"]

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
class Classification(Result):
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
        check_picture(self.image, self.image.shape[:2], "this is not the picture of a Classification")

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[ClassScore]:
        for row in zip(self.scores.tolist(), self.labels.tolist(), self.names, strict=True):
            yield ClassScore(*row)

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return listing(
            f"{len(self)} {'class' if len(self) == 1 else 'classes'} of a picture of {width} x {height}",
            (f"  {row.score:.3f}  {row.name}" for row in self),
            len(self),
        )

    def draw(self) -> Image.Image:
        """The picture, unchanged, with the names and their probabilities as bars below it.

        A picture narrower than the text is centred above it. At most 20 classes are shown.

        Raises:
            MissingDependencyError: Pillow is not installed.
        """
        rows = slice(_DRAWN)
        return drawing.draw_scores(self.image, self.names[rows], self.scores[rows].tolist(), self.labels[rows])

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, ready for JSON."""
        height, width = self.image.shape[:2]
        rows = [{"name": row.name, "label": row.label, "score": row.score} for row in self]
        return {"image": {"width": width, "height": height}, "classes": rows}
