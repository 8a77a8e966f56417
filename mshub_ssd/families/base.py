"""What a family of networks is: how a picture becomes their input, and how their outputs become a result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.pictures import RGB, square_input
from mshub_ssd.results import Detections, is_count

__all__ = ["Candidates", "Detector", "Family", "Floats", "pair", "softmax"]

Floats = NDArray[np.float32]
# Boxes [n, 4] as x1, y1, x2, y2 in pixels of the picture, their scores [n], and their 0-based labels [n].
Candidates = tuple[Floats, Floats, NDArray[np.intp]]


@dataclass(frozen=True)
class Family:
    """How networks of one kind see pictures, and what their outputs mean. NumPy only.

    Attributes:
        config: The network's; all that the family knows of it.
        kind: What such a network is.
        does: What it does, for whoever asked for something else.
        door: How it is used.
        while_training: What its answers suffer from in training mode.
    """

    config: Any
    kind: ClassVar[str]
    does: ClassVar[str]
    door: ClassVar[str]
    while_training: ClassVar[str]

    def preprocess(self, image: RGB) -> Floats:
        """Make a network's input of a picture.

        Args:
            image: RGB uint8 [h, w, 3], e.g. from `mshub_ssd.pictures.read_image`.

        Returns:
            float32 [1, 3, H, W], of the size that the network takes.

        Raises:
            ImageError: It is not an RGB uint8 array.
            MissingDependencyError: OpenCV is not installed.
        """
        raise NotImplementedError


class Detector(Family):
    """A family of networks that find objects."""

    kind = "detector"
    does = "it finds objects and does not classify pictures"
    door = "mshub_ssd.detect(model, image), or mshub detect PICTURE --model UID"
    while_training = "it returns logits instead of scores"

    def preprocess(self, image: RGB) -> Floats:
        """See `Family.preprocess`; resizes to a square without keeping the aspect ratio, unless a family does else."""
        config = self.config
        return square_input(image, config.image_size, config.mean, config.std)

    def postprocess(
        self,
        outputs: Any,
        image_size: Sequence[int],
        score_threshold: float | None = None,
        max_detections: int | None = None,
        *,
        image: RGB | None = None,
    ) -> Detections:
        """Turn a detector's outputs for one picture into detections.

        Args:
            outputs: Arrays, as the network returns them.
            image_size: (height, width) of the original picture in pixels.
            score_threshold: Keep scores greater than this, 0 to 1; None for the network's published value.
            max_detections: Keep the best so many of all classes; None for the network's published number, if it has
                one.
            image: The picture, RGB uint8, for drawing.

        Returns:
            The detections, best first.

        Raises:
            UsageError: A shape or an argument does not fit; the message says what was expected.
        """
        config, size = self.config, picture_size(image_size)
        threshold = probability(config.score_threshold if score_threshold is None else score_threshold)
        boxes, scores, labels = self.decode(outputs, size, threshold)
        if max_detections is None:
            max_detections = getattr(config, "max_detections", None)
        return Detections.ranked(
            boxes, scores, labels, config.class_names, size, max_detections=max_detections, image=image
        )

    def decode(self, outputs: Any, image_size: tuple[int, int], threshold: float) -> Candidates:
        """Boxes above the threshold that no better box of their class suppresses.

        Args:
            outputs: As for `postprocess`.
            image_size: (height, width) of the original picture in pixels.
            threshold: Keep scores greater than this, 0 to 1.

        Raises:
            UsageError: The outputs do not fit the network.
        """
        raise NotImplementedError


def pair(outputs: Any, expected: str) -> tuple[Any, Any]:
    """A detector's two outputs.

    Raises:
        UsageError: These are not two.
    """
    if not isinstance(outputs, tuple | list) or len(outputs) != 2:
        raise UsageError("the outputs of a detector are a pair", expected=expected, got=repr(type(outputs).__name__))
    return outputs[0], outputs[1]


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Probabilities of logits along the last axis, in their own type."""
    # Infinite logits become NaN, which no threshold lets through.
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities: NDArray[Any] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def picture_size(image_size: Sequence[int]) -> tuple[int, int]:
    """(height, width), checked."""
    sides = list(image_size) if isinstance(image_size, Iterable) else []
    if len(sides) != 2 or not all(is_count(side) for side in sides):
        raise UsageError(
            "image_size must be the picture's (height, width) in pixels",
            expected="two positive whole numbers",
            got=repr(image_size),
            hint="image_size=rgb.shape[:2] for an array, pil.size[::-1] for a PIL image",
        )
    return int(sides[0]), int(sides[1])


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
