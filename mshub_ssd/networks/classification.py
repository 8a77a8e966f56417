"""What one classifier is, apart from its weights: frozen, and free of MindSpore."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.ssd.config import IMAGENET_MEAN, IMAGENET_STD, named

__all__ = ["ClassifierConfig", "class_names", "imagenet_classes", "imagenet_ids"]

_IMAGENET = 1000


@dataclass(frozen=True)
class ClassifierConfig:
    """All that preprocessing and naming need to know of a classifier.

    Attributes:
        name: Architecture key, e.g. ``sppnet_single``.
        num_classes: Number of classes; there is no background.
        class_names: Their names, ``num_classes`` of them.
        resize: A picture is first resized to so many pixels, see `resize_to`.
        image_size: Side of the square that is then cut out of its centre: the network's input.
        input_sizes: Sides of square inputs the network can take, with `image_size` among them.
        mean: Per channel, RGB, subtracted from pixel values of 0 to 255.
        std: Per channel, RGB, that the difference is divided by.
        resize_to: What has `resize` pixels then: both sides, whatever the aspect ratio, or the shorter one, keeping it.
        interpolation: How it is resized.
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...]
    resize: int = 256
    image_size: int = 224
    input_sizes: tuple[int, ...] = (224,)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    resize_to: Literal["square", "shorter side"] = "square"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


def class_names(num_classes: int, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names of a classifier's classes.

    Args:
        num_classes: Number of classes.
        names: The names, if known. By default ImageNet's for 1000 classes, else ``class 0``, ``class 1``, ….

    Raises:
        UsageError: `num_classes` is no number of classes, or there are not so many names.
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise UsageError(
            "a classifier chooses between classes, two at least",
            where="num_classes",
            expected="a whole number above 1",
            got=repr(num_classes),
        )
    standard = imagenet_classes() if num_classes == _IMAGENET else tuple(f"class {i}" for i in range(num_classes))
    return named(standard, names, f"{num_classes} names")


@functools.cache
def imagenet_classes() -> tuple[str, ...]:
    """The 1000 classes of ImageNet 2012, each with its synonyms, in ascending order of their WordNet ids.

    That order is the one of the data set's folders, so a name's place is its class index.
    """
    return tuple(name for _, name in _imagenet())


def imagenet_ids() -> tuple[str, ...]:
    """The WordNet ids of `imagenet_classes`, such as ``n01440764``, which are the names of the data set's folders."""
    return tuple(identifier for identifier, _ in _imagenet())


@functools.cache
def _imagenet() -> tuple[tuple[str, str], ...]:
    text = (resources.files("mshub_ssd.networks") / "imagenet_classes.txt").read_text(encoding="utf-8")
    lines = (line.partition(" ") for line in text.splitlines())
    return tuple((identifier, name) for identifier, _, name in lines)
