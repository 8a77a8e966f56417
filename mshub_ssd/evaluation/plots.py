"""Plots of an evaluation, by matplotlib; without its global state, so that no window opens and threads do not meet."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mshub_ssd.errors import needing_extra
from mshub_ssd.evaluation.result import Confusion, Curves
from mshub_ssd.files import replace_file, writing
from mshub_ssd.terminal import brief

__all__ = ["confusion", "precision_recall", "require_matplotlib", "write"]

_NAMED = 12  # classes that a legend has room for
_NUMBERED = 25  # classes of a matrix whose numbers can be read
_TITLE = 70  # columns of a title
_TICKS = 60  # classes of a matrix whose names can be read


def require_matplotlib() -> None:
    """Refuse to begin what cannot be ended.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with needing_extra("a plot"):
        import matplotlib.figure  # noqa: F401


def precision_recall(curves: Curves, metrics: Mapping[str, float], title: str) -> Any:
    """Precision over recall: of every class at an overlap of 0.5, and their mean at three.

    Args:
        curves: What is drawn.
        metrics: With ``mAP``, ``mAP@0.5`` and ``mAP@0.75``.
        title: What stands above it.

    Returns:
        A ``matplotlib.figure.Figure``.
    """
    figure, axes = _axes(6.4, 5.2, "constrained")
    known = curves.precision[(curves.precision >= 0).any(axis=(1, 2))]
    names = [name for name, part in zip(curves.names, curves.precision, strict=True) if (part >= 0).any()]
    named = len(names) <= _NAMED
    for name, part in zip(names, known, strict=True):
        look = {"alpha": 0.8, "label": _text(name)} if named else {"alpha": 0.25, "color": "tab:blue"}
        axes.plot(curves.recall, part[0], linewidth=0.9, **look)
    if len(known):
        rows = [("mAP@0.5", known[:, 0], "-"), ("mAP@0.75", known[:, 5], "--"), ("mAP", known.mean(axis=1), ":")]
        for name, part, style in rows:
            label = f"all: {name} {metrics[name]:.3f}"
            axes.plot(curves.recall, part.mean(axis=0), style, color="black", linewidth=1.8, label=label)
        axes.legend(loc="lower left", fontsize=7, ncols=2 if named and len(names) > 5 else 1)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.grid(alpha=0.3)
    axes.set_title(f"{_text(title, _TITLE)}\nclasses at an overlap of 0.5", fontsize=9)
    return figure


def confusion(counts: Confusion, title: str) -> Any:
    """A confusion matrix: how much of each row's truth was taken for what.

    Args:
        counts: What is drawn.
        title: What stands above it.

    Returns:
        A ``matplotlib.figure.Figure``.
    """
    matrix, labels = counts.matrix, counts.labels
    side = min(12.0, max(4.8, 2.4 + 0.28 * len(labels)))
    figure, axes = _axes(side * 1.1, side, "compressed")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, label="share of the row")
    axes.set(xlabel="found", ylabel="truth")
    if len(labels) <= _TICKS:
        shown = [_text(name) for name in labels]
        small = 8 if len(labels) <= _NUMBERED else 5
        axes.set_xticks(range(len(labels)), shown, rotation=90, fontsize=small)
        axes.set_yticks(range(len(labels)), shown, fontsize=small)
    if len(labels) <= _NUMBERED:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            count = str(matrix[row, column])
            axes.text(column, row, count, ha="center", va="center", fontsize=7, color=colour)
    limits = "" if counts.min_score is None else f"\nscores from {counts.min_score:g}, overlaps from {counts.min_iou:g}"
    axes.set_title(f"{_text(title, _TITLE)}{limits}", fontsize=9)
    return figure


def write(figure: Any, path: Path) -> Path:
    """Write a plot as PNG; its folder is made if it is missing.

    Raises:
        MshubError: In one of its kinds: it cannot be written.
    """
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # its font has no Chinese, which shows
        # Without the version of matplotlib, so that the same plot is the same file.
        figure.savefig(data, format="png", dpi=120, metadata={"Software": None})
    with writing(path, "the plot"):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data.getvalue())
    return path


def _axes(width: float, height: float, layout: Literal["constrained", "compressed"]) -> tuple[Any, Any]:
    with needing_extra("a plot"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    return figure, figure.add_subplot()


def _text(name: str, limit: int = 30) -> str:
    # Between two of them matplotlib takes a name for a formula.
    return brief(name, limit).replace("$", r"\$")
