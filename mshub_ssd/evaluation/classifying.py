"""Classifiers over pictures with one class each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from mshub_ssd.errors import UsageError
from mshub_ssd.evaluation.annotations import check_inside
from mshub_ssd.evaluation.labelled import Labelled, label_of_each, read_folders
from mshub_ssd.evaluation.matching import listed
from mshub_ssd.evaluation.result import Confusion, Evaluation
from mshub_ssd.families import Classifier
from mshub_ssd.networks.classification import imagenet_classes, imagenet_ids
from mshub_ssd.pipeline import as_kind
from mshub_ssd.results import Classification, Failure
from mshub_ssd.terminal import counted

if TYPE_CHECKING:
    from mshub_ssd.evaluation.running import Looking

__all__ = ["evaluate_classifier"]

_TOP = 5


def evaluate_classifier(looking: Looking, labelled: Labelled | None, match: str) -> Evaluation:
    """Top-1 and top-5 of a classifier.

    Args:
        looking: The classifier and its pictures.
        labelled: Which class each picture has; None where its folder tells.
        match: How classes find each other.

    Raises:
        AnnotationError: There is no folder per class.
        UsageError: Labels do not match the classes.
    """
    truth = read_folders(looking.folder) if labelled is None else labelled
    classes = looking.classes
    identifiers = imagenet_ids() if classes == imagenet_classes() else ()
    ids, notes = label_of_each(truth.labels, classes, identifiers, match, truth.place)
    examples = truth.examples[: looking.limit]
    for example in examples:
        check_inside(looking.folder, example.name, truth.place)
    count = len(classes)
    matrix = np.zeros((count, count), dtype=np.int64)
    pictures, right, among = (np.zeros(count, dtype=np.int64) for _ in range(3))
    failures: list[Failure] = []
    results: list[dict[str, Any]] = []
    options = as_kind(looking.pipeline.family, Classifier).options(top_k=_TOP)

    def take(place: int, found: Any) -> None:
        example = examples[place]
        label = ids[example.label]
        pictures[label] += 1
        if isinstance(found, Failure):
            failures.append(found)
            return
        if not isinstance(found, Classification):
            raise UsageError(
                "what the model says is no Classification", got=type(found).__name__, hint="see docs/families.md"
            )
        best = found.labels.tolist()
        matrix[label, best[0]] += 1
        right[label] += best[0] == label
        among[label] += label in best
        rows = [{"label": one.label, "score": one.score} for one in found]
        results.append({"image": example.name, "truth": label, "classes": rows})

    looking.at([example.name for example in examples], options, take)
    looking.check(failures, len(examples))
    figures = {"top-1": right, "top-5": among} if count > _TOP else {"top-1": right}
    total = int(pictures.sum())
    metrics = {name: int(hits.sum()) / total if total else -1.0 for name, hits in figures.items()}
    per_class = [
        {"name": classes[label], "label": label, "pictures": int(pictures[label])}
        | {name: int(hits[label]) / int(pictures[label]) if pictures[label] else -1.0 for name, hits in figures.items()}
        for label in sorted(set(ids.values()))
    ]
    lost = (
        f"{counted(len(failures), 'picture')} could not be read, and "
        f"{'counts' if len(failures) == 1 else 'count'} as wrong: {listed([one.image or '' for one in failures])}"
    )
    missing = count - len(set(ids.values()))
    without = f"{counted(missing, 'class', 'classes')} of the model without pictures here"
    return Evaluation(
        kind="classifier",
        model=looking.name,
        metrics=metrics,
        per_class=tuple(per_class),
        counts={"pictures": total, "failed": len(failures)},
        settings=looking.settings(match=match),
        failures=tuple(failures),
        notes=(*truth.notes, *notes, *([without] if missing else []), *([lost] if failures else [])),
        confusion=Confusion(classes, matrix),
        curves=None,
        results=tuple(results),
        annotations=None if labelled is None else truth.place,
        images=os.fspath(looking.folder),
        seconds=looking.seconds,
        card=looking.card,
    )
