"""`evaluate`: a model over a data set."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd.errors import UsageError, needing_extra
from mshub_ssd.evaluation.annotations import Annotations, read_annotations
from mshub_ssd.hub import Hub, default_hub
from mshub_ssd.terminal import Bar, brief

if TYPE_CHECKING:
    from mshub_ssd.cards import Card
    from mshub_ssd.evaluation.labelled import Labelled
    from mshub_ssd.evaluation.result import Evaluation
    from mshub_ssd.pipeline import Pipeline
    from mshub_ssd.results import Failure

__all__ = ["Looking", "evaluate"]

_NOW_AND_THEN = 30.0  # seconds between two lines that tell how far it is, where there is no terminal


def evaluate(
    model: Any,
    *,
    images: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    match: str = "name",
    categories: str | Sequence[str] | None = None,
    limit: int | None = None,
    score_threshold: float | None = None,
    iou_threshold: float | None = None,
    max_detections: int | None = 100,
    engine: str = "auto",
    precision: str = "f32",
    threads: int | None = None,
    streams: int | None = None,
    hub: Hub | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Say how good a model is on one's own pictures: COCO's figures of a detector, top-1 and top-5 of a classifier.

    A picture that cannot be read counts as one on which nothing was found, or that was taken for something else; how
    many there are is told in the result.

    Args:
        model: A uid, the path of a card, or a network from `load`.
        images: The folder of pictures. Of a classifier, without annotations, a folder per class: its name is the
            class's name, its WordNet id for ImageNet's classes, or its 0-based label.
        annotations: Of a detector a JSON file in COCO's form, or what is in one; of a classifier a CSV file with the
            columns ``image`` and ``label``.
        match: How classes find each other: by ``name``, or, if there are as many of both, by ``order``.
        categories: Only these, by their names in the annotations; None for all.
        limit: Only so many pictures, the first ones; None for all.
        score_threshold: Detections score higher. None takes the network's own if it is 0.1 or lower, as those are that
            COCO's figures were published with, else 0.05 (YOLO: 0.001), as a curve needs the unlikely ones, too.
        iou_threshold: Boxes that overlap no better one of their class by more than this; None takes the network's own.
        max_detections: The best so many of a picture, as COCO has it; None for as many as were published, or all.
        engine: See `Predictor`.
        precision: See `Predictor`.
        threads: See `Predictor`.
        streams: See `Predictor`.
        hub: The session that finds and loads the model; the default one unless given.
        quiet: Show no progress: neither a bar nor, where there is no terminal, a line now and then, on stderr.

    Raises:
        AnnotationError: The annotations cannot be read, or make no sense.
        UsageError: Classes do not match, or an option makes no sense for the model.
        MshubError: In another of its kinds: the model cannot be loaded.
    """
    session = hub or default_hub()
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise UsageError("limit must be a positive whole number", got=repr(limit)[:80], hint="leave it out for all")
    folder = Path(images)
    if not folder.is_dir():
        raise UsageError(
            "this is no folder of pictures", where=os.fspath(folder), hint="images=DIR (--images DIR) names a folder"
        )
    with needing_extra("mshub_ssd.evaluate"):
        from mshub_ssd import families
        from mshub_ssd.evaluation import classifying, detecting, scoring

        truth = _truth(annotations)
        if isinstance(truth, Annotations):
            scoring.require_pycocotools()
        pipeline = session.open_pipeline(model, engine, precision, threads, streams)
        try:
            looking = Looking(session, model, pipeline, folder, limit, quiet)
            names = [categories] if isinstance(categories, str) else categories
            thresholds = {"score_threshold": score_threshold, "iou_threshold": iou_threshold}
            if isinstance(pipeline.family, families.Classifier):
                _refuse_given(thresholds | {"categories": names})
                if isinstance(truth, Annotations):
                    raise UsageError(
                        "a classifier is evaluated with a class for each picture",
                        expected="a folder per class, or a CSV file with the columns image and label",
                        got=truth.place,
                        hint="leave annotations (--annotations) out if the folders are the classes",
                    )
                return classifying.evaluate_classifier(looking, truth, match)
            if not isinstance(truth, Annotations):
                raise UsageError(
                    "a detector is evaluated with annotations of its objects",
                    expected="annotations=FILE (--annotations FILE), a JSON file in COCO's form",
                    got="none" if truth is None else truth.place,
                )
            return detecting.evaluate_detector(
                looking, truth, match, names, thresholds | {"max_detections": max_detections}
            )
        finally:
            pipeline.close()


class Looking:
    """A model, and the pictures that it looks at.

    Args:
        hub: The session that reads pictures.
        model: What was asked for.
        pipeline: What runs it.
        folder: The folder of pictures.
        limit: So many pictures at most, None for all.
        quiet: Show no progress.

    Attributes:
        name: What the model is called.
        card: Its card, if it has one.
        classes: Names of its classes, by label.
        seconds: How long it took over the pictures.
    """

    def __init__(self, hub: Hub, model: Any, pipeline: Pipeline, folder: Path, limit: int | None, quiet: bool) -> None:
        self._hub, self._quiet = hub, quiet
        self.pipeline, self.folder, self.limit = pipeline, folder, limit
        self.card: Card | None = hub.info(model) if isinstance(model, str | Path) else getattr(model, "card", None)
        self.name = type(model).__name__ if self.card is None else self.card.uid
        self.classes: tuple[str, ...] = tuple(getattr(pipeline.config, "class_names", ()))
        self.seconds = 0.0

    def at(self, names: Sequence[str], options: Any, take: Callable[[int, Any], None]) -> None:
        """Look at pictures.

        Args:
            names: Paths below the folder.
            options: From the family's `options`.
            take: Gets the place of each name and what is on that picture, in order; a `Failure` if it cannot be read.
        """
        from mshub_ssd.results import Failure

        began = time.perf_counter()
        paths = (self.folder / name for name in names)
        stream = self.pipeline.stream(paths, self._hub.read_image, options, strict=False)
        with (
            # Whatever ends this ends the threads that look at the next pictures.
            contextlib.closing(stream),  # type: ignore[type-var] # it is a generator
            Bar("pictures", len(names), unit="picture", shown=not self._quiet, lines=_NOW_AND_THEN) as bar,
        ):
            for place, found in enumerate(stream):
                take(place, Failure(names[place], found.error) if isinstance(found, Failure) else found)
                bar.advance(1)
        self.seconds = time.perf_counter() - began

    def check(self, failures: Sequence[Failure], count: int) -> None:
        """Refuse to say anything of a model that has not seen a single picture.

        Raises:
            UsageError: None could be read.
        """
        if count and len(failures) == count:
            first = failures[0]
            raise UsageError(
                f"none of the {count:,} pictures could be read" if count > 1 else "the picture could not be read",
                where=str(self.folder),
                got=f"{brief(first.image or '', 80)}: {first.error.message}",
                hint="name the folder that the names of the pictures start from: images=DIR (--images DIR)",
            )

    def settings(self, **more: Any) -> dict[str, Any]:
        """What it was run with."""
        runner = self.pipeline.runner
        return {"engine": runner.name, "precision": runner.precision, "limit": self.limit, **more}


def _truth(annotations: str | os.PathLike[str] | Mapping[str, Any] | None) -> Annotations | Labelled | None:
    from mshub_ssd.evaluation.labelled import read_csv

    if annotations is None:
        return None
    if not isinstance(annotations, Mapping) and Path(annotations).suffix.lower() in (".csv", ".tsv"):
        return read_csv(annotations)
    return read_annotations(annotations)


def _refuse_given(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"{name} means nothing to a classifier", got=repr(value)[:80], hint="leave it out")
