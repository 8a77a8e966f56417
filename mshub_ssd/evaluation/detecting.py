"""Detectors over a data set in COCO's form."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mshub_ssd import families
from mshub_ssd.errors import UsageError
from mshub_ssd.evaluation.annotations import check_inside
from mshub_ssd.evaluation.matching import listed, match_classes
from mshub_ssd.evaluation.result import Evaluation
from mshub_ssd.evaluation.scoring import count_confusion, score
from mshub_ssd.results import Detections, Failure
from mshub_ssd.terminal import counted

if TYPE_CHECKING:
    from mshub_ssd.evaluation.annotations import Annotations, Picture
    from mshub_ssd.evaluation.running import Looking

__all__ = ["evaluate_detector"]

# Curves need the unlikely detections, too, which many networks leave out because nobody wants to see them drawn. Those
# that were published for COCO have the threshold of their own evaluation, 0.1 or lower, which stays what it is.
_CURVE_THRESHOLD = 0.05
_LOW = 0.1
# Families whose networks were published with another one than they show detections with. YOLO: MindYOLO's evaluation.
_PUBLISHED: dict[type, float] = {families.YOLO: 0.001}


def evaluate_detector(
    looking: Looking, truth: Annotations, match: str, only: Sequence[str] | None, given: Mapping[str, Any]
) -> Evaluation:
    """COCO's figures of a detector.

    Args:
        looking: The detector and its pictures.
        truth: What is on them.
        match: How classes find each other.
        only: Names of the categories that count, None for all.
        given: ``score_threshold``, ``iou_threshold`` and ``max_detections`` as the caller chose them.

    Raises:
        AnnotationError: A picture is said to lie outside of the folder.
        UsageError: Classes do not match, or an option makes no sense.
    """
    pictures = truth.pictures[: looking.limit]
    wanted = _wanted(truth, only)
    used = truth.used() & wanted
    matched = match_classes(looking.classes, truth.categories, used, match)
    ids = {label: number for label, number in matched.categories.items() if number in wanted}
    for picture in pictures:
        check_inside(looking.folder, picture.name, f"{truth.place}: the image with the id {picture.id}")
    options = _options(looking, given)

    tally = _Tally(ids)
    looking.at([one.name for one in pictures], options, lambda place, found: tally.take(pictures[place], found))
    looking.check(tally.failures, len(pictures))
    scores = score(truth, pictures, tally.results, used)
    confusion = count_confusion(truth, pictures, tally.results, sorted(used | set(ids.values())))
    counts = {
        "pictures": len(pictures),
        "objects": sum(len(_counting(truth, picture, wanted)) for picture in pictures),
        "detections": len(tally.results),
        "failed": len(tally.failures),
        "other_size": len(tally.other_size),
    }
    objects = dict.fromkeys(sorted(used | set(ids.values())), 0)
    for picture in pictures:
        for one in _counting(truth, picture, wanted):
            objects[one.category] += not one.crowd
    none = (-1.0, -1.0, -1.0)
    per_class = []
    for number, count in objects.items():
        ap, ap50, ar = scores.per_category.get(number, none)
        name = truth.categories[number]
        per_class.append({"name": name, "id": number, "objects": count, "AP": ap, "AP@0.5": ap50, "AR": ar})
    shown = {name: getattr(options, name, None) for name in ("score_threshold", "iou_threshold", "max_detections")}
    shown["own_score_threshold"] = getattr(looking.pipeline.config, "score_threshold", None)
    return Evaluation(
        kind="detector",
        model=looking.name,
        metrics=scores.metrics,
        per_class=tuple(per_class),
        counts=counts,
        settings=looking.settings(**shown, match=match, categories=None if only is None else list(only)),
        failures=tuple(tally.failures),
        notes=(*truth.notes, *matched.notes, *tally.notes(truth, wanted)),
        confusion=confusion,
        curves=scores.curves,
        results=tuple(tally.results),
        annotations=truth.place,
        images=os.fspath(looking.folder),
        seconds=looking.seconds,
        data_set=truth.description,
        card=looking.card,
    )


class _Tally:
    """What was found, as COCO has it, and what went wrong.

    Args:
        ids: Label of the model → category's id; what is found of other labels does not count.
    """

    def __init__(self, ids: Mapping[int, int]) -> None:
        self._ids = ids
        self.results: list[dict[str, Any]] = []
        self.failures: list[Failure] = []
        self.failed: list[Picture] = []
        self.other_size: list[tuple[Picture, tuple[int, int]]] = []
        self._unsound = 0

    def take(self, picture: Picture, found: Any) -> None:
        if isinstance(found, Failure):
            self.failures.append(found)
            self.failed.append(picture)
            return
        if not isinstance(found, Detections):
            raise UsageError(
                "what the model finds are no Detections", got=type(found).__name__, hint="see docs/families.md"
            )
        if picture.size not in (None, tuple(found.image_size)):
            self.other_size.append((picture, found.image_size))
        sound = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
        for row, label, fine in zip(found.to_coco(picture.id), found.labels.tolist(), sound.tolist(), strict=True):
            if label not in self._ids:
                continue
            self._unsound += not fine
            if fine:
                self.results.append({**row, "category_id": self._ids[label]})

    def notes(self, truth: Annotations, wanted: set[int]) -> list[str]:
        notes = []
        if self.failed:
            lost = sum(len(_counting(truth, picture, wanted)) for picture in self.failed)
            notes.append(
                f"{counted(len(self.failed), 'picture')} could not be read, and "
                f"{counted(lost, 'object')} on {'it' if len(self.failed) == 1 else 'them'} "
                f"{'counts' if lost == 1 else 'count'} as not found: {listed([one.name for one in self.failed])}"
            )
        if self.other_size:
            picture, (height, width) = self.other_size[0]
            assert picture.size is not None
            turned = " (turned by its EXIF data?)" if picture.size == (width, height) else ""
            several = len(self.other_size)
            notes.append(
                f"{counted(several, 'picture')} of another size than the annotations say, whose boxes may not fit: "
                f"{picture.name} has {width} x {height} for {picture.size[1]} x {picture.size[0]}{turned}"
                + (f", and {several - 1} more" if several > 1 else "")
            )
        if self._unsound:
            notes.append(f"{counted(self._unsound, 'detection')} left out, whose numbers are not finite")
        return notes


def _counting(truth: Annotations, picture: Picture, wanted: set[int]) -> list[Any]:
    return [one for one in truth.instances.get(picture.id, ()) if one.category in wanted]


def _wanted(truth: Annotations, only: Sequence[str] | None) -> set[int]:
    """Ids of the categories that count.

    Raises:
        UsageError: There is none of that name.
    """
    if only is None:
        return set(truth.categories)
    known = set(truth.categories.values())
    for name in only:
        if name not in known:
            raise UsageError(
                "the annotations have no such category",
                expected=listed(sorted(known)),
                got=repr(name)[:80],
                hint="names are those of the annotations",
            )
    return {number for number, name in truth.categories.items() if name in set(only)}


def _options(looking: Looking, given: Mapping[str, Any]) -> Any:
    family = looking.pipeline.family
    if not isinstance(family, families.Detector):  # one of another package, which has what options it has
        return family.options(**{name: value for name, value in given.items() if value not in (None, 100)})
    chosen = dict(given)
    if chosen["score_threshold"] is None:
        own = float(looking.pipeline.config.score_threshold)
        published = next((value for kind, value in _PUBLISHED.items() if isinstance(family, kind)), _CURVE_THRESHOLD)
        chosen["score_threshold"] = own if own <= _LOW else published
    return family.options(**chosen)
