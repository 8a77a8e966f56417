"""`Evaluation`: how good a model is, as figures, tables and plots."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import MissingDependencyError, UsageError
from mshub_ssd.results import Failure
from mshub_ssd.terminal import brief, counted, html_block, html_table, html_text, table

if TYPE_CHECKING:
    from mshub_ssd.cards import Card
    from mshub_ssd.evaluation.comparing import CardComparison

__all__ = ["TOLERANCE", "Confusion", "Curves", "Evaluation"]

TOLERANCE = 0.002
"""How far a figure may be from a card's: other decoders of JPEG and other engines move figures by about this."""

_SHOWN = 100  # rows of a table in a terminal
_PLOTS = ("precision-recall", "confusion")
_WIDE = 40  # columns of a name


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision over recall, as pycocotools has it.

    Attributes:
        recall: float64 [101], from 0 to 1.
        thresholds: The ten overlaps from which on a detection is right, 0.5 to 0.95.
        names: The K classes.
        precision: float64 [K, 10, 101]; -1 for classes without objects.
    """

    recall: NDArray[np.float64]
    thresholds: tuple[float, ...]
    names: tuple[str, ...]
    precision: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Confusion:
    """What was taken for what.

    Attributes:
        names: The K classes.
        matrix: int64, truth by row, answer by column. Of detectors [K + 1, K + 1]: in the last column objects that
            were not found, in the last row detections where nothing is. Of classifiers [K, K].
        min_score: Detections that score less do not count; None for classifiers.
        min_iou: How much a detection and its object must have in common; None for classifiers.
    """

    names: tuple[str, ...]
    matrix: NDArray[np.int64]
    min_score: float | None = None
    min_iou: float | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """What rows and columns are called."""
        return self.names if len(self.matrix) == len(self.names) else (*self.names, "nothing")

    def mistakes(self) -> list[dict[str, Any]]:
        """What was taken for something else, the most frequent first: ``truth``, ``found`` and ``count``."""
        wrong = self.matrix * (1 - np.eye(len(self.matrix), dtype=np.int64))
        rows, columns = np.nonzero(wrong)
        labels = self.labels
        cells = zip(rows.tolist(), columns.tolist(), wrong[rows, columns].tolist(), strict=True)
        ranked = sorted(cells, key=lambda cell: (-cell[2], cell[0], cell[1]))
        return [{"truth": labels[row], "found": labels[column], "count": count} for row, column, count in ranked]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """How good a model is on a data set; ``print`` shows it, a notebook too.

    Attributes:
        kind: ``detector`` or ``classifier``.
        model: The card's uid; of a network without one its type.
        metrics: Name → figure, 0 to 1. Of detectors COCO's twelve, ``mAP``, ``mAP@0.5``, …, -1 where there is nothing
            to count, as pycocotools has it; of classifiers ``top-1`` and ``top-5``.
        per_class: A row per class: its ``name``, how many ``objects`` (or ``pictures``) it has, its figures.
        counts: How many ``pictures`` and ``objects`` there are, and ``detections``; how many pictures ``failed``, and
            how many have ``other_size`` than the annotations say.
        settings: What the model was run with, and on how many pictures at most (``limit``).
        failures: Pictures that could not be read.
        notes: What is worth knowing about the figures.
        confusion: What was taken for what.
        curves: Precision over recall; None for classifiers.
        results: Detections in COCO's form, or what a classifier said of each picture.
        annotations: What the truth was read from.
        images: The folder of pictures.
        seconds: How long the model took over the pictures, reading them included.
        data_set: What the annotations say of themselves.
        card: The model's card, if it has one.
    """

    kind: Literal["detector", "classifier"]
    model: str
    metrics: Mapping[str, float]
    per_class: tuple[dict[str, Any], ...]
    counts: Mapping[str, int]
    settings: Mapping[str, Any]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    confusion: Confusion
    curves: Curves | None
    results: tuple[dict[str, Any], ...] = field(repr=False)
    annotations: str | None
    images: str
    seconds: float
    data_set: str = ""
    card: Card | None = None

    def against_card(self, tolerance: float = TOLERANCE) -> CardComparison:
        """Whether the card's figures come out here too.

        Args:
            tolerance: How far a figure may be from the card's, on the scale of 0 to 1. Half of the card's last digit is
                allowed in any case.

        Raises:
            UsageError: The model has no card, or not all pictures were looked at.
        """
        from mshub_ssd.evaluation.comparing import compare

        return compare(self, tolerance)

    def to_dict(self) -> dict[str, Any]:
        """All of it but curves and results, ready for JSON."""
        return {
            "kind": self.kind,
            "model": self.model,
            "annotations": self.annotations,
            "images": self.images,
            "metrics": dict(self.metrics),
            "per_class": [dict(row) for row in self.per_class],
            "counts": dict(self.counts),
            "settings": dict(self.settings),
            "failures": [failure.to_dict() for failure in self.failures],
            "notes": list(self.notes),
            "mistakes": self.confusion.mistakes(),
            "seconds": round(self.seconds, 3),
        }

    def to_pandas(self) -> Any:
        """The table of classes as a ``pandas.DataFrame``.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise MissingDependencyError(f"a table needs pandas: {error}", hint="pip install pandas") from error
        return pandas.DataFrame(list(self.per_class))

    def plot(self, what: str | None = None) -> Any:
        """A plot.

        Args:
            what: ``precision-recall`` or ``confusion``; by default the first that there is.

        Returns:
            A ``matplotlib.figure.Figure``.

        Raises:
            UsageError: There is no such plot.
            MissingDependencyError: matplotlib is not installed.
        """
        from mshub_ssd.evaluation import plots

        chosen = self._plots()[0] if what is None else what
        if chosen not in self._plots():
            raise UsageError(
                f"there is no such plot of a {self.kind}",
                expected=" or ".join(map(repr, self._plots())),
                got=repr(chosen)[:80],
            )
        if chosen == "confusion":
            return plots.confusion(self.confusion, self.model)
        assert self.curves is not None
        return plots.precision_recall(self.curves, self.metrics, self.model)

    def save_plots(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write all plots as PNG.

        Args:
            folder: Where; made if it is missing.

        Returns:
            The files: ``precision-recall.png`` (detectors) and ``confusion.png``.

        Raises:
            MissingDependencyError: matplotlib is not installed.
            MshubError: In one of its kinds: they cannot be written.
        """
        from mshub_ssd.evaluation import plots

        return [plots.write(self.plot(what), Path(folder, f"{what}.png")) for what in self._plots()]

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in list(self.metrics.items())[:2])
        return f"<Evaluation of {self.model} on {counted(self.counts['pictures'], 'picture')}: {figures}>"

    def __str__(self) -> str:
        head, *rows = self._class_table()
        figures = tuple(range(1, len(head)))
        lines = [self._head(), "", table(list(self._metric_rows()), right=(1,)), ""]
        lines.append(table([head, *rows[:_SHOWN]], right=figures))
        if len(rows) > _SHOWN:
            lines.append(f"… and {len(rows) - _SHOWN} more classes")
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([*lines, *(["", *notes] if notes else [])])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        head, *rows = self._class_table()
        more = f"<p>… and {len(rows) - 20} more classes</p>" if len(rows) > 20 else ""
        notes = [f"<li>{html_text(note)}</li>" for note in self.notes]
        return html_block(
            f"<p>{html_text(self._head())}</p>",
            html_table(list(self._metric_rows())),
            html_table(rows[:20], head),
            more,
            f"<ul>{''.join(notes)}</ul>" if notes else "",
        )

    def _plots(self) -> Sequence[str]:
        return _PLOTS if self.curves is not None else _PLOTS[1:]

    def _head(self) -> str:
        looked = self.counts["pictures"] - self.counts["failed"]
        objects = f" with {counted(self.counts['objects'], 'object')}" if "objects" in self.counts else ""
        speed = f", {looked / self.seconds:.1f} pictures/s" if self.seconds > 0 and looked else ""
        failed = f", {self.counts['failed']} not readable" if self.counts["failed"] else ""
        return f"{self.model} on {counted(self.counts['pictures'], 'picture')}{objects}{failed}{speed}"

    def _metric_rows(self) -> Iterator[tuple[str, str]]:
        return ((name, _shown(value)) for name, value in self.metrics.items())

    def _class_table(self) -> list[tuple[str, ...]]:
        if not self.per_class:
            return [("class",)]
        columns = [name for name in self.per_class[0] if name not in ("name", "id", "label")]
        rows = [(brief(row["name"], _WIDE), *(_shown(row[column]) for column in columns)) for row in self.per_class]
        return [("class", *columns), *rows]


def _shown(value: float) -> str:
    """A count as it is, a figure with four digits, and what pycocotools gives where there is nothing to count."""
    return str(value) if isinstance(value, int) else "-1" if value < 0 else f"{value:.4f}"
