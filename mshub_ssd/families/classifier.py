"""Classifiers: one tensor of logits, ranked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mshub_ssd.errors import UsageError
from mshub_ssd.families.base import Family, softmax
from mshub_ssd.families.transform import Transform
from mshub_ssd.networks.classification import ClassifierConfig
from mshub_ssd.pictures import RGB, Interpolation
from mshub_ssd.results import Classification, check_count

__all__ = ["ClassificationOptions", "Classifier", "check_top_k"]


@dataclass(frozen=True)
class ClassificationOptions:
    """What to keep of what a classifier says; from `Classifier.options`, which checks it.

    Attributes:
        top_k: So many classes, the most probable ones.
    """

    top_k: int


class Classifier(Family):
    """Networks that return logits [1, C], one per class."""

    config: ClassifierConfig
    kind = "classifier"
    does = "it names a whole picture and finds no objects on it"
    door = "mshub_ssd.classify(model, image), or mshub classify PICTURE --model UID"
    while_training = "dropout makes its answers random"

    def transform(self, image_size: tuple[int, int]) -> Transform:
        """See `Family.transform`: resized as ``config.resize_to`` says, and the centre cut out."""
        config = self.config
        side, inner = config.resize, config.image_size
        # Configurations of other people's networks need not have these.
        how: Interpolation = getattr(config, "interpolation", "bilinear")
        placed = (side, side)
        if getattr(config, "resize_to", "square") == "shorter side":
            height, width = Transform.stretched(image_size, (inner, inner)).image_size
            shorter, longer = sorted((height, width))
            # In float32, as MindSpore's data sets count: of whole numbers some come out one less.
            length = int(np.float32(longer) / np.float32(shorter) * np.float32(side))
            placed = (length, side) if height > width else (side, length)
        top, left = (placed[0] - inner) // 2, (placed[1] - inner) // 2
        return Transform(image_size, (inner, inner), placed, (-top, -left), how)

    def options(self, *, top_k: int = 5) -> ClassificationOptions:
        """What to keep of what a classifier says.

        Args:
            top_k: So many classes, or all if there are fewer.

        Raises:
            UsageError: It is not a positive whole number.
        """
        check_top_k(top_k)
        return ClassificationOptions(top_k)

    def result(
        self, outputs: Any, transform: Transform, options: ClassificationOptions, picture: RGB | None = None
    ) -> Classification:
        """Turn logits [C], an array or the only element of a tuple, into the most probable classes.

        Of equal ones the lower label comes first. See `Family.result`.

        Raises:
            UsageError: The logits do not fit the classifier.
        """
        config = self.config
        count = config.num_classes
        parts = outputs if isinstance(outputs, tuple) else (outputs,)
        if len(parts) != 1 or isinstance(parts[0], tuple):
            raise UsageError(
                f"the classifier {config.name} does not return one tensor of logits",
                expected=f"logits of shape [1, {count}]",
                got=", ".join("a tuple" if isinstance(part, tuple) else str(list(np.shape(part))) for part in parts),
            )
        values = np.asarray(parts[0])
        if values.shape not in ((count,), (1, count)) or values.dtype.kind not in "fiu":
            raise UsageError(
                f"the logits do not fit the classifier {config.name}",
                expected=f"numbers of shape [{count}] or [1, {count}]",
                got=f"{values.dtype} of shape {list(values.shape)}",
                hint="give one picture at a time: logits[i]" if values.ndim == 2 and values.shape[1] == count else None,
            )
        values = values.reshape(count).astype(np.float64)
        if not np.isfinite(values).all():
            raise UsageError(
                "the logits are not all finite, so they have no probabilities",
                got=f"{int((~np.isfinite(values)).sum())} of {count} are NaN or infinite",
                hint=f"check the weights of {config.name}: load it again with mshub_ssd.load",
            )
        labels = np.argsort(-values, kind="stable")[: options.top_k]
        return Classification(
            labels=labels,
            names=tuple(config.class_names[label] for label in labels.tolist()),
            scores=softmax(values)[labels].astype(np.float32),
            image=picture,
            image_size=transform.image_size,
        )


def check_top_k(top_k: int) -> None:
    """Refuse what is no number of classes to show.

    Raises:
        UsageError: It is not a positive whole number.
    """
    check_count("top_k", top_k, "leave it out for the five best classes")
