"""What results have in common: a picture, rows, and how they show themselves."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd.errors import UsageError
from mshub_ssd.results import drawing

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Result", "check_count", "listing"]


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


def check_count(name: str, value: Any, hint: str) -> None:
    """Refuse what cannot say how many rows a result may have.

    Raises:
        UsageError: It is not a positive whole number.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise UsageError(f"{name} must be a positive whole number", got=repr(value), hint=hint)
