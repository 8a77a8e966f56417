"""What a family of networks is: how a picture becomes their input, and how their outputs become results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.families.options import DetectionOptions, chosen_options
from mshub_ssd.families.transform import Transform
from mshub_ssd.pictures import RGB, normalize, read_image
from mshub_ssd.results import Detections

__all__ = ["Candidates", "Detector", "Family", "Floats", "pair", "softmax"]

Floats = NDArray[np.float32]
# Boxes [n, 4] as x1, y1, x2, y2 in pixels of the picture, their scores [n], and their 0-based labels [n].
Candidates = tuple[Floats, Floats, NDArray[np.intp]]


@dataclass(frozen=True)
class Family:
    """How networks of one kind see pictures, and what their outputs mean. NumPy only.

    A family of one's own says at least where a picture lies in the input (`transform`), what a caller may choose
    (`options`) and what the outputs for one picture mean (`result`); one of detectors only the first and `decode`.

    Attributes:
        config: The network's; all that the family knows of it.
        kind: What such a network is.
        does: What it does, for whoever asked for something else.
        door: How it is used.
        while_training: What its answers suffer from in training mode.
        fill: Colour of the input where the picture does not cover it.
    """

    config: Any
    kind: ClassVar[str] = "network"
    does: ClassVar[str] = "it has a family of its own"
    door: ClassVar[str] = "see docs/families.md"
    while_training: ClassVar[str] = "its answers are others"
    fill: ClassVar[tuple[int, int, int]] = (0, 0, 0)

    def transform(self, image_size: tuple[int, int]) -> Transform:
        """Where a picture of this (height, width) lies in the network's input.

        Raises:
            UsageError: These are not two positive whole numbers.
        """
        raise NotImplementedError

    def preprocess(self, picture: RGB) -> tuple[Floats, Transform]:
        """Make a network's input of a picture: place it as `transform` says, and normalise it by ``mean`` and ``std``.

        Args:
            picture: RGB uint8 [h, w, 3], e.g. from `mshub_ssd.pictures.read_image`.

        Returns:
            float32 [1, 3, H, W], of the size that the network takes, and where the picture lies in it. Inputs of
            several pictures make a batch by ``np.concatenate``.

        Raises:
            ImageError: It is not an RGB uint8 array.
            MissingDependencyError: OpenCV is not installed.
        """
        pixels = read_image(np.asarray(picture))
        height, width, _ = pixels.shape
        transform = self.transform((height, width))
        return normalize(transform.place(pixels, self.fill), self.config.mean, self.config.std), transform

    def options(self) -> Any:
        """What a caller may choose, by keyword, checked: the options that `postprocess` takes.

        Raises:
            UsageError: A value makes no sense for this network.
        """
        raise NotImplementedError

    def result(self, outputs: Any, transform: Transform, options: Any, picture: RGB | None = None) -> Any:
        """Turn the outputs for one picture into its result.

        Args:
            outputs: Arrays as the network returns them, nested in tuples as there, without the batch axis.
            transform: Where the picture lies in the input.
            options: From `options`.
            picture: The picture itself, RGB uint8, for drawing.

        Raises:
            UsageError: The outputs do not fit the network.
        """
        raise NotImplementedError

    def postprocess(
        self,
        outputs: Any,
        transforms: Sequence[Transform],
        options: Any = None,
        *,
        pictures: Sequence[RGB | None] | None = None,
    ) -> list[Any]:
        """Turn a network's outputs for a batch into one result per picture.

        Args:
            outputs: Any number of arrays [N, ...], however nested in tuples.
            transforms: N, one per picture, from `preprocess`.
            options: From `options`, None for the defaults.
            pictures: The N pictures themselves, RGB uint8, for drawing.

        Raises:
            UsageError: The outputs do not fit the network, or not this number of pictures.
        """
        chosen = self.options() if options is None else options
        count = len(transforms)
        seen = [None] * count if pictures is None else pictures
        if len(seen) != count:
            raise UsageError(
                "there must be one picture per transform", expected=f"{count} pictures", got=f"{len(seen)}"
            )
        return [
            self.result(_picture_of(outputs, index, count), transform, chosen, picture)
            for index, (transform, picture) in enumerate(zip(transforms, seen, strict=True))
        ]


class Detector(Family):
    """A family of networks that find objects; one of its own writes `decode`, and `transform` if it does not stretch.

    The config has ``class_names`` and ``score_threshold``; ``nms_threshold`` where boxes are suppressed, and
    ``max_detections`` where a number was published.
    """

    kind = "detector"
    does = "it finds objects and does not classify pictures"
    door = "mshub_ssd.detect(model, image), or mshub detect PICTURE --model UID"
    while_training = "it returns logits instead of scores"

    def transform(self, image_size: tuple[int, int]) -> Transform:
        """See `Family.transform`: a square of ``config.image_size``, without keeping the aspect ratio."""
        side = self.config.image_size
        return Transform.stretched(image_size, (side, side))

    def options(
        self,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        classes: str | int | Sequence[str | int] | None = None,
        max_detections: int | None = 100,
    ) -> DetectionOptions:
        """What to keep of what a detector finds.

        Args:
            score_threshold: Scores greater than this, 0 to 1; None for the network's published value.
            iou_threshold: Boxes that overlap no better one of their class by more than this (intersection over
                union), 0 to 1; None for the network's published value.
            classes: Only these, by name or by 0-based label.
            max_detections: The best so many of all classes; None for the published number, or all where there is
                none.

        Raises:
            UsageError: A value makes no sense, or the network does not know a class.
        """
        return chosen_options(self.config, score_threshold, iou_threshold, classes, max_detections)

    def result(
        self, outputs: Any, transform: Transform, options: DetectionOptions, picture: RGB | None = None
    ) -> Detections:
        """See `Family.result`; the best comes first."""
        boxes, scores, labels = self.decode(outputs, transform, options)
        if options.labels is not None:
            wanted = np.isin(labels, options.labels)
            boxes, scores, labels = boxes[wanted], scores[wanted], labels[wanted]
        return Detections.ranked(
            boxes,
            scores,
            labels,
            self.config.class_names,
            transform.image_size,
            max_detections=options.max_detections,
            image=picture,
        )

    def decode(self, outputs: Any, transform: Transform, options: DetectionOptions) -> Candidates:
        """Boxes above the threshold that no better box of their class suppresses, in any order.

        Of classes that are not wanted, and of boxes beyond the best ``options.max_detections``, there may be more or
        fewer: they are not shown.

        Args:
            outputs: As for `result`.
            transform: As for `result`.
            options: As for `result`.

        Returns:
            Boxes [n, 4] as x1, y1, x2, y2 in pixels of the picture (`Transform.to_picture`), scores [n], and 0-based
            labels [n]. Of equal scores the first is the better one.

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


def _picture_of(outputs: Any, index: int, count: int) -> Any:
    """The outputs for one picture of a batch."""
    if isinstance(outputs, tuple | list):
        return tuple(_picture_of(part, index, count) for part in outputs)
    array = np.asarray(outputs)
    if not array.ndim or len(array) != count:
        raise UsageError(
            "the outputs are not those of so many pictures",
            expected=f"{count} along the first axis of every array, one per transform",
            got=f"{array.dtype} of shape {list(array.shape)}",
        )
    return array[index]
