"""The card of a trained detector: what it is, what it was made of, and what was measured on what."""

from __future__ import annotations

import datetime
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mshub_ssd.cards import card_text, escaped
from mshub_ssd.terminal import counted

if TYPE_CHECKING:
    from mshub_ssd.training.detectors import Detector

__all__ = ["History", "card_values", "write_card"]

_MOST_NAMES = 20
_FIGURES = {"mAP@0.5": "mAP@0.5", "mAP@[.5:.95]": "mAP"}


@dataclass(frozen=True)
class History:
    """How a detector was trained.

    Attributes:
        data: What the pictures are called.
        pictures: How many there were.
        steps: How many steps were taken.
        batch_size: Pictures of a step.
        best: The step whose weights these are.
        rate: The highest learning rate.
        frozen: Steps with the backbone frozen.
        flip: Whether pictures were mirrored.
        seed: The seed.
        measured_on: What the figures were measured on, in words; empty where nothing was measured.
        metrics: The figures, as `Evaluation.metrics` has them.
        per_class: Name, objects and figures of each class.
        score_threshold: Detections that score higher counted.
    """

    data: str
    pictures: int
    steps: int
    batch_size: int
    best: int
    rate: float
    frozen: int
    flip: bool
    seed: int
    measured_on: str = ""
    metrics: Mapping[str, float] | None = None
    per_class: Sequence[Mapping[str, Any]] = ()
    score_threshold: float | None = None


def write_card(
    detector: Detector, history: History, *, file: str, file_format: str, sha256: str, size: int, name: str | None
) -> str:
    """The text of the card.

    Args:
        detector: What was trained.
        history: How.
        file: The checkpoint's name; it lies beside the card.
        file_format: Key of `mshub_ssd.formats`.
        sha256: Its digest.
        size: Its bytes.
        name: What the model is called; None for what the one is called that it was made of.
    """
    values = card_values(detector, history, name)
    values["asset"] = [{"file-format": file_format, "asset-link": file, "asset-sha256": sha256, "asset-size": size}]
    return card_text(str(values["model-name"]), values, _body(detector, history, values))


def card_values(detector: Detector, history: History, name: str | None) -> dict[str, Any]:
    """The card's fields but for the file."""
    base = detector.plan.card
    figures = history.metrics or {}
    side = detector.target.image_size
    return {
        "model-name": name or base.model_name or detector.key,
        "backbone-name": base.backbone_name or detector.key.removeprefix("ssd_"),
        "module-type": "cv-object_detection",
        "fine-tunable": True,
        "input-shape": [3, side, side],
        "model-version": "1.0",
        "train-dataset": [re.sub(r"[|,]+", " ", history.data)],
        "evaluation": {shown: round(figures[key], 4) for shown, key in _FIGURES.items() if figures.get(key, -1) >= 0},
        "update-time": datetime.date.today(),
        "used-for": "inference",
        "mindspore-version": _mindspore(),
        "network": detector.card_network(),
        "classes": list(detector.classes),
        "license": base.license if detector.plan.checkpoint is not None else None,
        "summary": f"Finds {_names(detector.classes)}, {side} x {side} pixels; "
        + (f"fine-tuned from {base.uid}" if detector.plan.checkpoint is not None else f"the network {detector.key}"),
    }


def _mindspore() -> str | None:
    try:
        return ".".join(importlib.metadata.version("mindspore").split(".")[:2])
    except importlib.metadata.PackageNotFoundError:
        return None


def _names(classes: Sequence[str]) -> str:
    if len(classes) > _MOST_NAMES:
        return counted(len(classes), "class", "classes")
    return " and ".join([", ".join(classes[:-1]), classes[-1]]) if len(classes) > 1 else classes[0]


def _body(detector: Detector, history: History, values: Mapping[str, Any]) -> str:
    base = detector.plan.card
    checkpoint = detector.plan.checkpoint
    tuned = checkpoint is not None
    digest = f", whose checkpoint has the SHA-256 `{checkpoint.sha256}`" if checkpoint is not None else ""
    kept = f" Of these it knew {escaped(_names(detector.kept))} before." if detector.kept else ""
    made = f"It was fine-tuned from `{base.uid}`{digest}" if tuned else "It was trained from random weights"
    mirrored = "" if history.flip else " not"
    sections = [
        (
            "What it is",
            f"A detector, the network `{detector.key}`. It knows "
            f"{counted(len(detector.classes), 'class', 'classes')}: {escaped(_names(detector.classes))}.{kept}",
        ),
        (
            "Use",
            "\n".join(
                [
                    "```python",
                    "import mshub_ssd as mshub",
                    "",
                    'detections = mshub.detect("card.md", "picture.jpg")',
                    "print(detections.names, detections.scores)",
                    "```",
                    "",
                    "with the path of this card in the place of `card.md`.",
                ]
            ),
        ),
        (
            "How it was trained",
            f"{made}, on {counted(history.pictures, 'picture')} of {escaped(history.data)}: "
            f"{counted(history.steps, 'step')} of {history.batch_size} pictures, the first {history.frozen} with the "
            f"backbone frozen; Adam, highest learning rate {history.rate:g}, falling to zero; crops, other sizes and "
            f"colours at random; pictures were{mirrored} mirrored; seed {history.seed}. These are the weights after "
            f"step {history.best}.",
        ),
        ("Metrics", _metrics(history, values)),
        ("Licence", _licence(base.license, base.uid if tuned else None)),
    ]
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections if text)


def _metrics(history: History, values: Mapping[str, Any]) -> str:
    if not values["evaluation"]:
        return ""
    head = (
        f"Measured with pycocotools on {escaped(history.measured_on)}, "
        f"detections with a score above {history.score_threshold:g}. The same pictures chose the step."
    )
    rows = ["| Metric | Value |", "|---|---|"]
    rows += [f"| {escaped(name)} | {value} |" for name, value in values["evaluation"].items()]
    table = ["| Class | Objects | mAP@0.5 | mAP@[.5:.95] |", "|---|---|---|---|"]
    for one in history.per_class:
        cells = [f"{one[key]:.4f}" if one[key] >= 0 else "-" for key in ("AP@0.5", "AP")]
        table.append(f"| {escaped(str(one['name']))} | {one['objects']} | {' | '.join(cells)} |")
    return "\n".join([head, "", *rows, "", *table])


def _licence(licence: str | None, base: str | None) -> str:
    if base is None:
        return "Whoever publishes this checkpoint says under what licence."
    said = f"is under {escaped(licence)}" if licence else "names no licence"
    return (
        f"The checkpoint that this one was made of, that of `{base}`, {said}. What the pictures allow "
        "is for whoever publishes this checkpoint to say."
    )
