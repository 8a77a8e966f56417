"""What results have in common: a picture, rows, and how they show themselves."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import UsageError
from mshub_ssd.results import drawing

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Result", "check_count", "check_picture", "is_count", "listing"]


class Result(ABC):
    """Something found on a picture that can be drawn."""

    @abstractmethod
    def draw(self) -> Image.Image:
        """The picture with what was found."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Draw, and write the picture; the suffix decides the format.

        Args:
            path: E.g. ``out.png``.

        Returns:
            The path.

        Raises:
            UsageError: No picture is known, the suffix is unknown, or the file cannot be written.
            MissingDependencyError: Pillow is not installed.
        """
        return drawing.write_picture(self.draw(), path)

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows."""
        return drawing.notebook_png(self.draw())


def listing(head: str, lines: Iterable[str], count: int) -> str:
    """A result as text: a headline, its first ten lines, and how many more there are."""
    shown = [line for _, line in zip(range(10), lines, strict=False)]
    if count > len(shown):
        shown.append(f"  … and {count - len(shown)} more")
    return "\n".join([f"<{head}", *shown]) + ">"


def is_count(value: object) -> bool:
    """Whether something is a positive whole number."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def check_count(name: str, value: object, hint: str) -> None:
    """Refuse what cannot say how many rows a result may have.

    Raises:
        UsageError: It is not a positive whole number.
    """
    if not is_count(value):
        raise UsageError(f"{name} must be a positive whole number", got=repr(value), hint=hint)


def check_picture(image: NDArray[Any], image_size: Sequence[int], message: str) -> None:
    """Refuse what is not the picture of a result.

    Raises:
        UsageError: It is not RGB uint8 of that (height, width).
    """
    shape = [*image_size, 3]
    if image.dtype != np.uint8 or list(image.shape) != shape:
        raise UsageError(
            message,
            expected=f"RGB uint8 of shape {shape}",
            got=f"{image.dtype} of shape {list(image.shape)}",
            hint="give the original picture as mshub_ssd.pictures.read_image(path) returns it",
        )
