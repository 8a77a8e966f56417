"""What a caller may choose of what a detector finds."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from mshub_ssd.errors import UsageError
from mshub_ssd.results import check_count

__all__ = ["DetectionOptions", "chosen_options"]


@dataclass(frozen=True)
class DetectionOptions:
    """What to keep of what a detector finds; from `Detector.options`, which checks it.

    Attributes:
        score_threshold: Scores greater than this.
        iou_threshold: Boxes that overlap no better one of their class by more than this; None where the network
            suppresses none.
        labels: Only these 0-based classes, ascending; None for all.
        max_detections: The best so many; None for all.
    """

    score_threshold: float
    iou_threshold: float | None = None
    labels: tuple[int, ...] | None = None
    max_detections: int | None = None


def chosen_options(
    config: Any,
    score_threshold: float | None,
    iou_threshold: float | None,
    classes: str | int | Sequence[str | int] | None,
    max_detections: int | None,
) -> DetectionOptions:
    """Check what the caller chose, and fill in what the network's configuration says. See `Detector.options`."""
    published = getattr(config, "nms_threshold", None)
    if iou_threshold is not None and published is None:
        raise UsageError(
            f"iou_threshold means nothing to {getattr(config, 'name', 'this network')}: it suppresses no boxes",
            got=repr(iou_threshold),
            hint="leave it out",
        )
    if max_detections is None:
        max_detections = getattr(config, "max_detections", None)
    else:
        check_count("max_detections", max_detections, "give None for as many as were published")
        max_detections = int(max_detections)
    return DetectionOptions(
        _fraction("score_threshold", config.score_threshold if score_threshold is None else score_threshold),
        _fraction("iou_threshold", published if iou_threshold is None else iou_threshold)
        if published is not None
        else None,
        None if classes is None else _labels(classes, tuple(config.class_names)),
        max_detections,
    )


def _fraction(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise UsageError(
            f"{name} must be a number of 0 to 1", got=repr(value), hint="leave it out for the network's published value"
        )
    return float(value)


def _labels(classes: object, names: tuple[str, ...]) -> tuple[int, ...]:
    """Labels of classes that are given by name or by label; of two classes of one name both."""
    listed = [classes] if isinstance(classes, str | Integral) else classes
    if not isinstance(listed, Sequence | set | frozenset) or not listed:
        raise UsageError(
            "classes must be names or labels of classes",
            expected=f'e.g. ["{names[0]}"] or [0]' if names else "labels",
            got=repr(classes)[:200],
            hint="leave it out for all classes",
        )
    labels: set[int] = set()
    for item in listed:
        if isinstance(item, str) and item in names:
            labels.update(label for label, name in enumerate(names) if name == item)
        elif isinstance(item, Integral) and not isinstance(item, bool) and 0 <= int(item) < len(names):
            labels.add(int(item))
        else:
            near = difflib.get_close_matches(str(item), names, n=1)
            raise UsageError(
                "the network knows no such class",
                expected=f"a name, or a label of 0 to {len(names) - 1}",
                got=repr(item)[:200],
                hint=f"did you mean {near[0]!r}?" if near else f"some of its classes: {', '.join(names[:5])}",
            )
    return tuple(sorted(labels))
