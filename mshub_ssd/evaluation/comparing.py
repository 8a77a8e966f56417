"""A card's figures against those that were measured."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mshub_ssd.errors import UsageError
from mshub_ssd.terminal import brief, html_block, html_table, html_text, table

if TYPE_CHECKING:
    from mshub_ssd.cards import Card, Metric
    from mshub_ssd.evaluation.result import Evaluation

__all__ = ["CardComparison", "CardFigure", "compare", "measured_name"]

_AP = r"(?:coco)?(?:b?box)?m?ap"
# What cards call the figures, in small letters, without blanks, dashes and underscores.
_DETECTORS = (
    (rf"(?:{_AP}|acc|accuracy)(?:@?\[?(?:iou=?)?0?\.50?:(?:0?\.05:)?0?\.95\]?|@?50:?95)?", "mAP"),
    (rf"{_AP}@?\[?(?:iou=?)?(?:0?\.50?|50)\]?", "mAP@0.5"),
    (rf"{_AP}@?\[?(?:iou=?)?(?:0?\.75|75)\]?", "mAP@0.75"),
    *((rf"{_AP}@?(?:{size[0]}|{size})", f"mAP {size}") for size in ("small", "medium", "large")),
)
_CLASSIFIERS = (
    (r"(?:val)?(?:top@?1(?:acc|accuracy)?|acc|accuracy|(?:acc|accuracy)@?(?:top)?@?1)", "top-1"),
    (r"(?:val)?(?:top@?5(?:acc|accuracy)?|(?:acc|accuracy)@?(?:top)?@?5)", "top-5"),
)
# Their own benchmarks count in another way than COCO's.
_OTHER_COUNT = re.compile(r"voc|pascal|wider", re.IGNORECASE)


@dataclass(frozen=True)
class CardFigure:
    """A figure of a card, and the same one as it was measured.

    Attributes:
        name: As the card calls it.
        stated: The card's, 0 to 1.
        measured_as: What it is called in the evaluation, None where it is none of its figures.
        measured: What was measured, None where nothing can be compared.
        tolerance: How far they may be apart.
        status: ``reproduced``, ``differs`` or ``not comparable``.
        why: Why it cannot be compared.
    """

    name: str
    stated: float
    measured_as: str | None
    measured: float | None
    tolerance: float
    status: Literal["reproduced", "differs", "not comparable"]
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class CardComparison:
    """A card's figures against those that were measured.

    Attributes:
        card: The card's uid.
        figures: In the card's order.
        notes: What the comparison depends on.
    """

    card: str
    figures: tuple[CardFigure, ...]
    notes: tuple[str, ...] = ()

    @property
    def reproduced(self) -> bool:
        """Whether at least one figure was compared, and each that was came out again."""
        compared = [figure.status for figure in self.figures if figure.status != "not comparable"]
        return bool(compared) and set(compared) == {"reproduced"}

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON."""
        figures = [figure.to_dict() for figure in self.figures]
        return {"card": self.card, "reproduced": self.reproduced, "figures": figures, "notes": list(self.notes)}

    def __str__(self) -> str:
        rows = table(self._rows(), right=(1, 2, 3)) if self.figures else ""
        return "\n".join([self._verdict(), *filter(None, [rows]), *(f"- {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        head, *rows = self._rows()
        notes = "".join(f"<li>{html_text(note)}</li>" for note in self.notes)
        return html_block(f"<p>{html_text(self._verdict())}</p>", html_table(rows, head), f"<ul>{notes}</ul>")

    def _verdict(self) -> str:
        if not self.figures:
            return f"the card of {self.card} states no figure"
        if all(figure.status == "not comparable" for figure in self.figures):
            return f"no figure of the card of {self.card} can be compared"
        return f"the card of {self.card} is {'reproduced' if self.reproduced else 'not reproduced'}"

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("card's figure", "stated", "measured", "tolerance", "")]
        for figure in self.figures:
            measured = "" if figure.measured is None else f"{figure.measured:.4f}"
            told = f"{figure.status}: {figure.why}" if figure.why else figure.status
            rows.append((brief(figure.name, 40), f"{figure.stated:.4f}", measured, f"{figure.tolerance:.4f}", told))
        return rows


def compare(evaluation: Evaluation, tolerance: float) -> CardComparison:
    """See `Evaluation.against_card`.

    Raises:
        UsageError: The model has no card, not all pictures were looked at, or the tolerance is no number.
    """
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
        raise UsageError("the tolerance is a number of 0 to 1", got=repr(tolerance)[:80])
    card, settings = evaluation.card, evaluation.settings
    if card is None:
        raise UsageError("this network has no card to compare with", hint="evaluate a uid, or a network from load")
    for name in ("limit", "categories"):
        if settings.get(name) is not None:
            raise UsageError(
                "a part of the data set cannot tell whether the card's figures are reproduced",
                got=f"{name}={settings[name]!r}"[:80],
                hint=f"leave {name} out",
            )
    figures = tuple(_figure(evaluation, card, metric, tolerance) for metric in card.metrics)
    notes = list(_notes(evaluation, card))
    used, own = (settings.get(name) for name in ("score_threshold", "own_score_threshold"))
    if used != own and any(figure.status == "differs" for figure in figures):
        notes.append(
            f"detections from a score of {used:g} count here; if the card counts those that the network shows, "
            f"score_threshold={own:g} (--score-threshold {own:g})"
        )
    return CardComparison(card.uid, figures, tuple(notes))


def measured_name(name: str, kind: str) -> str | None:
    """What a card's figure is called in an evaluation.

    Args:
        name: As the card calls it.
        kind: ``detector`` or ``classifier``.

    Returns:
        A key of `Evaluation.metrics`, or None.
    """
    plain = re.sub(r"[\s_-]+", "", re.sub(r"(?<=5)-(?=0?\.?95)", ":", name.lower()))
    rows = _CLASSIFIERS if kind == "classifier" else _DETECTORS
    return next((key for pattern, key in rows if re.fullmatch(pattern, plain)), None)


def _figure(evaluation: Evaluation, card: Card, metric: Metric, tolerance: float) -> CardFigure:
    percent = metric.value > 1
    scale = 100 if percent else 1
    stated = metric.value / scale
    # 24 stands for anything from 23.5 to 24.5.
    digits = len(f"{metric.value:.15g}".partition(".")[2])
    allowed = max(tolerance, 0.5 * 10**-digits / scale) + (metric.spread or 0.0) / scale
    name = measured_name(metric.name, evaluation.kind)
    why, measured = "", None if name is None else evaluation.metrics.get(name)
    if name is None or measured is None:
        why = f"no figure of a {evaluation.kind} that is measured here"
    elif not 0 <= stated <= 1:
        why = "no share of anything"
    elif measured < 0:
        why = "there is nothing to count it on"
    elif name.startswith("mAP") and _OTHER_COUNT.search(" ".join(card.datasets)):
        why = f"{', '.join(card.datasets)} counts in another way than COCO"
    if why or measured is None:
        return CardFigure(metric.name, stated, name, None, allowed, "not comparable", why)
    near = abs(measured - stated) <= allowed + 1e-12
    return CardFigure(metric.name, stated, name, measured, allowed, "reproduced" if near else "differs")


def _notes(evaluation: Evaluation, card: Card) -> Iterator[str]:
    if not card.datasets:
        yield "the card does not name the data set of its figures: compare only if this is it"
    places = [place for place in (evaluation.annotations, evaluation.images) if place]
    said = " ".join([evaluation.data_set, *map(os.path.abspath, places)])
    for name in card.datasets:
        if not all(part in said.lower() for part in re.findall(r"[a-z]+|[0-9]+", name.lower())):
            yield f"nothing tells that this is the card's data set, {name}: compare only if it is"
    if evaluation.failures:
        yield "pictures that could not be read count as wrong, and lower what was measured"
