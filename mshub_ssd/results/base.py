"""What every result is: rows, best first, that are picked from, tabulated and drawn, and never changed."""

from __future__ import annotations

import difflib
import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import MissingDependencyError, UsageError
from mshub_ssd.results import drawing
from mshub_ssd.terminal import html_block, html_table, html_text, plain

if TYPE_CHECKING:
    from typing import Self

    from PIL import Image

__all__ = ["Floats", "Result", "check_count", "check_picture", "in_one_line", "is_count", "listing", "listing_html"]

Floats = NDArray[np.float32]
Row = TypeVar("Row")


class Result(ABC, Generic[Row]):
    """Rows found on one picture, best first.

    Iterating gives rows, ``len()`` counts them, and ``result[0]`` is the best one. A slice, a mask of booleans or
    several positions give the part of the result that they choose; like every result it is sorted by score, and
    nothing changes the one that it was picked from.
    """

    scores: Floats
    labels: NDArray[np.intp]
    names: tuple[str, ...]

    @abstractmethod
    def draw(self) -> Image.Image:
        """The picture with what was found."""

    @abstractmethod
    def __iter__(self) -> Iterator[Row]: ...

    @abstractmethod
    def _picked(self, rows: NDArray[np.intp]) -> Self:
        """The result that has only these rows."""

    @abstractmethod
    def _columns(self) -> dict[str, Any]:
        """What `to_pandas` shows."""

    def _classes(self) -> tuple[str, ...]:
        """Names of all classes there are, by label; none if they are not known."""
        return ()

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, chosen: int) -> Row: ...
    @overload
    def __getitem__(self, chosen: slice | Sequence[int] | Sequence[bool] | NDArray[Any]) -> Self: ...
    def __getitem__(self, chosen: Any) -> Row | Self:
        count = len(self)
        if isinstance(chosen, Integral) and not isinstance(chosen, bool):
            place = int(chosen)
            if not -count <= place < count:
                raise IndexError(f"row {place} of {count}")
            return next(iter(self._picked(np.asarray([place % count], dtype=np.intp))))
        if isinstance(chosen, slice):
            return self._picked(np.sort(np.arange(count, dtype=np.intp)[chosen]))
        places = np.asarray(chosen)
        if places.dtype == np.bool_ and places.shape == (count,):
            return self._picked(np.flatnonzero(places))
        if places.shape == (0,):
            return self._picked(np.empty(0, dtype=np.intp))
        if places.ndim == 1 and places.dtype.kind in "iu" and -count <= places.min() and places.max() < count:
            return self._picked(np.unique(places.astype(np.intp) % count))
        raise UsageError(
            "this does not pick rows of the result",
            expected=f"a row's number, a slice, a list of numbers below {count}, or a mask of {count} booleans",
            got=repr(chosen)[:200],
            hint="by class and score: result.where(classes=..., min_score=...)",
        )

    def where(self, classes: str | int | Sequence[str | int] | None = None, min_score: float | None = None) -> Self:
        """The rows of some classes, or with high scores.

        Args:
            classes: Names or 0-based labels, None for all.
            min_score: Rows that score at least this, None for all.

        Raises:
            UsageError: There is no such class, or the score is no number.
        """
        wanted = np.ones(len(self), dtype=np.bool_)
        if classes is not None:
            listed = [classes] if isinstance(classes, str | int | np.integer) else list(classes)
            for item in listed:
                self._check_class(item)
            rows = zip(self.labels.tolist(), self.names, strict=True)
            wanted[:] = [label in listed or name in listed for label, name in rows]
        if min_score is not None:
            if isinstance(min_score, bool) or not isinstance(min_score, Real) or min_score != min_score:
                raise UsageError("min_score must be a number", got=repr(min_score)[:200])
            wanted &= self.scores >= np.float32(min_score)
        return self._picked(np.flatnonzero(wanted))

    def to_pandas(self) -> Any:
        """The rows as a ``pandas.DataFrame``, best first.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise MissingDependencyError(f"a table needs pandas: {error}", hint="pip install pandas") from error
        return pandas.DataFrame(self._columns())

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

    def _check_class(self, item: object) -> None:
        """Refuse what is no class; where the classes are not all known, only what can be none."""
        known = self._classes()
        if isinstance(item, str) and (item in known or not known):
            return
        if isinstance(item, Integral) and not isinstance(item, bool) and 0 <= int(item) < (len(known) or np.inf):
            return
        near = difflib.get_close_matches(str(item), known, n=1)
        raise UsageError(
            "there is no such class",
            expected=f"a name, or a label of 0 to {len(known) - 1}" if known else "a name or a label",
            got=repr(item)[:200],
            hint=f"did you mean {near[0]!r}?" if near else None,
        )

    def _freeze(self, *names: str) -> None:
        """Make arrays read-only here; whoever gave them may go on with them."""
        for name in names:
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)


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


def in_one_line(head: str, rows: Iterable[tuple[str, float]], count: int) -> str:
    """A result as one line: a headline, its first three names and scores, and how many more there are."""
    shown = [f"{plain(name, exact=True)} {score:.2f}" for _, (name, score) in zip(range(3), rows, strict=False)]
    if count > len(shown):
        shown.append(f"{count - len(shown)} more")
    return f"<{head}{': ' if shown else ''}{', '.join(shown)}>"


def listing(head: str, lines: Iterable[str], count: int) -> str:
    """A result as text: a headline, its first ten lines, and how many more there are."""
    shown = [plain(line, exact=True) for _, line in zip(range(10), lines, strict=False)]
    if count > len(shown):
        shown.append(f"  … and {count - len(shown)} more")
    return "\n".join([head, *shown])


def listing_html(head: str, columns: Sequence[str], rows: Iterable[Sequence[str]], count: int) -> str:
    """A result for a notebook: a headline, its first twenty rows, and how many more there are."""
    shown = [row for _, row in zip(range(20), rows, strict=False)]
    more = f"<p>… and {count - len(shown)} more</p>" if count > len(shown) else ""
    return html_block(f"<p>{html_text(head)}</p>", html_table(shown, columns) if shown else "", more)


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
