"""`finetune`: a detector for one's own classes, trained on one's own pictures."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mshub_ssd import checkpoints, engines, networks
from mshub_ssd.errors import CheckpointError, UsageError, needing_extra
from mshub_ssd.evaluation import evaluate
from mshub_ssd.files import make_folders, replace_file, writing
from mshub_ssd.hub import Hub, default_hub
from mshub_ssd.terminal import counted
from mshub_ssd.training import carding, detectors
from mshub_ssd.training.augmenting import Augmentation
from mshub_ssd.training.batches import Batches
from mshub_ssd.training.data import CocoSamples, Samples, as_annotations, check_classes, coco_samples, split
from mshub_ssd.training.detectors import Detector, Loss
from mshub_ssd.training.reporting import Reporter
from mshub_ssd.training.result import Tuned
from mshub_ssd.training.saving import State, Store, refuse_changes
from mshub_ssd.training.schedule import Pace, frozen_steps, planned_steps
from mshub_ssd.training.stepping import Steps, mindspore_context

__all__ = ["finetune"]

_CARD, _RESULT, _STEM = "card.md", "result.json", "network"
_FORMATS = ("ckpt", "safetensors")
# Losses are read now and then: each reading waits.
_LOOK = 20
_SAVE_SECONDS = 60.0
_EVALUATIONS = 4


def finetune(
    model: str | os.PathLike[str],
    *,
    annotations: str | os.PathLike[str] | Mapping[str, Any] | Samples,
    images: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str],
    val_annotations: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    val_images: str | os.PathLike[str] | None = None,
    val_split: float = 0.1,
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    freeze_epochs: float | None = None,
    flip: bool = False,
    seed: int = 0,
    input_size: int | None = None,
    device: str | None = None,
    evaluate_every: int | None = None,
    save_every: int | None = None,
    resume: bool = False,
    pretrained: bool = True,
    name: str | None = None,
    file_format: str = "ckpt",
    loss: Loss | None = None,
    augmentation: Augmentation | None = None,
    hub: Hub | None = None,
    quiet: bool = False,
) -> Tuned:
    """Train a single-shot detector for the classes of one's own pictures.

    The model's weights are taken as far as they fit: all but the last layers of the class heads, and in those the rows
    of classes with the same name. The backbone is frozen at first. On the way it is measured, and the best weights are
    kept. `out` gets the checkpoint and a card, ``card.md``, that `load` takes.

    Two runs with the same seed, options and data give the same bits on one machine, unless `minutes` shortens them; so
    does a run that was killed and resumed.

    Args:
        model: A uid, or the path of a card.
        annotations: A JSON file in COCO's form, or what is in one; or `Samples`, whatever has pictures and boxes.
        images: The folder that the names in the annotations begin in.
        out: The folder that is written to; it is made.
        val_annotations: What is measured on, in COCO's form; without it, a part of the pictures is held out.
        val_images: The folder of these pictures; by default `images`.
        val_split: The part that is held out where there is no `val_annotations`; 0 measures nothing.
        steps: How many steps; by default 600.
        epochs: Instead, how many times each picture is seen.
        minutes: A limit: where the steps would take longer, there are fewer.
        batch_size: Pictures of a step.
        learning_rate: The highest one.
        freeze_epochs: For so many passes over the pictures the backbone is frozen; by default for a tenth of the steps.
        flip: Mirror half of the pictures. Digits, letters and signs must not be.
        seed: What all chance follows from.
        input_size: Side of the input in pixels, where the network lets one choose.
        device: ``CPU``, ``GPU`` or ``Ascend``; by default the one that MindSpore has.
        evaluate_every: Measure after so many steps; by default four times in all.
        save_every: Remember the state after so many steps; by default once a minute.
        resume: Go on where a run in `out` was interrupted; where there was none, begin.
        pretrained: Begin with the model's weights, and not with random ones.
        name: The new model's name; by default the model's.
        file_format: ``ckpt`` or ``safetensors``.
        loss: What is minimised.
        augmentation: What is done to pictures; `flip` holds in any case.
        hub: The session that finds and loads the model; the default one unless given.
        quiet: Say nothing while it runs.

    Raises:
        AnnotationError: The annotations make no sense, or a picture is missing; told before anything is trained.
        UsageError: An option makes no sense, `out` is in use, or the model cannot be trained here.
        MshubError: In another of its kinds: the model cannot be loaded, a picture cannot be read.
    """
    plan = _Plan(
        steps=steps,
        epochs=epochs,
        minutes=minutes,
        batch_size=batch_size,
        learning_rate=learning_rate,
        freeze_epochs=freeze_epochs,
        seed=seed,
        val_split=val_split,
        evaluate_every=evaluate_every,
        save_every=save_every,
        file_format=file_format,
    )
    session = hub or default_hub()
    with needing_extra("mshub_ssd.finetune"):
        networks.require_mindspore()
        chosen = detectors.choose(session, model, pretrained)
        samples, validation = _data(annotations, images, val_annotations, val_images, val_split, seed)
        if validation is not None:
            import pycocotools.cocoeval  # noqa: F401 - refuse to begin what cannot be ended
        store = _store(Path(out), resume)
        changes = dataclasses.replace(augmentation or Augmentation(), flip=flip)
        with store.alone(), mindspore_context(device, seed):
            finished = _finished(store, resume)
            if finished is not None:
                return finished
            detector = detectors.build(chosen, samples.classes, session, input_size=input_size, seed=seed)
            training = _Training(
                detector, samples, validation, plan, loss or Loss(), changes, store, session, Path(out), name, quiet
            )
            return training.run(resume)


@dataclass(frozen=True)
class _Plan:
    """The options that are numbers, checked."""

    steps: int | None
    epochs: float | None
    minutes: float | None
    batch_size: int
    learning_rate: float
    freeze_epochs: float | None
    seed: int
    val_split: float
    evaluate_every: int | None
    save_every: int | None
    file_format: str

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "evaluate_every", "save_every"):
            value = getattr(self, key)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not whole and not (value is None and key != "batch_size"):
                raise UsageError(f"{key} must be a positive whole number", got=repr(value)[:80])
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 1 << 31:
            raise UsageError("seed must be a whole number of 0 to 2147483647", got=repr(self.seed)[:80])
        for key, least in (("epochs", 0.0), ("minutes", 0.0), ("learning_rate", 0.0), ("freeze_epochs", -1.0)):
            value = getattr(self, key)
            if value is None and key != "learning_rate":
                continue
            real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not real or value <= least or value < 0:
                raise UsageError(f"{key} must be a number above {max(least, 0):g}", got=repr(value)[:80])
        if not isinstance(self.val_split, int | float) or not 0 <= self.val_split <= 0.9:
            raise UsageError("val_split must be a number of 0 to 0.9", got=repr(self.val_split)[:80])
        if self.steps is not None and self.epochs is not None:
            raise UsageError("steps and epochs both say how long it takes", hint="give one of them")
        if self.file_format not in _FORMATS:
            raise UsageError(
                "no such format of checkpoints", expected=" or ".join(_FORMATS), got=repr(self.file_format)
            )


class _Training:
    """One training, from the first step or from where it was interrupted."""

    def __init__(
        self,
        detector: Detector,
        samples: Samples,
        validation: CocoSamples | None,
        plan: _Plan,
        loss: Loss,
        augmentation: Augmentation,
        store: Store,
        hub: Hub,
        out: Path,
        name: str | None,
        quiet: bool,
    ) -> None:
        self._detector, self._samples, self._validation = detector, samples, validation
        self._plan, self._loss, self._store, self._hub = plan, loss, store, hub
        self._out, self._name, self._quiet = out, name, quiet
        self._augmentation = augmentation
        count = len(samples)
        total = planned_steps(count, plan.batch_size, plan.steps, plan.epochs)
        frozen = 0
        if detector.plan.checkpoint is not None and getattr(detector.network, "trunk", None) is not None:
            frozen = frozen_steps(total, count, plan.batch_size, plan.freeze_epochs)
        self._every = plan.evaluate_every or math.ceil(total / _EVALUATIONS)
        limit = None if plan.minutes is None else 60 * plan.minutes
        self._pace = Pace(plan.learning_rate, total, frozen, limit)
        self._points: list[dict[str, Any]] = []
        self._best: int | None = None
        self._measuring = 0.0
        self._began = time.monotonic()

    def run(self, resume: bool) -> Tuned:
        """Train, and write checkpoint and card."""
        stored = self._store.load() if resume else None
        if stored is not None:
            self._restore(stored)
        self._store.tidy(self._best)
        reporter = Reporter(self._pace.total, self._pace.step, self._plan.batch_size, quiet=self._quiet)
        try:
            self._announce(reporter, stored is not None)
            self._train(reporter, stored)
            return self._finish(reporter)
        finally:
            reporter.close()

    def _train(self, reporter: Reporter, stored: State | None) -> None:
        pace, plan = self._pace, self._plan
        if pace.done:
            return
        batches = Batches(self._samples, self._detector.target, plan.batch_size, plan.seed, self._augmentation)
        steps = self._steps(stored)
        saved, first, taken = time.monotonic(), time.monotonic(), 0
        stream = batches.stream(pace.step)
        try:
            while not pace.done:
                frozen = pace.is_frozen
                value = steps.run(next(stream), pace.rate())
                pace.advance()
                if taken == 0:
                    float(value.asnumpy())
                    first = time.monotonic()  # what it took to compile says nothing of the steps to come
                taken += 1
                reporter.step(pace.total)
                if pace.step % _LOOK == 0 or pace.done:
                    reporter.loss(self._checked(float(value.asnumpy())))
                if taken > 1:
                    now = time.monotonic()
                    pace.keep_to_limit(self._seconds(), (now - first) / (taken - 1), 1.2 * self._measuring)
                thawed = frozen and not pace.is_frozen
                measured = pace.step % self._every == 0 or pace.done
                if measured:
                    self._measure(reporter)
                if plan.save_every is None:
                    due = time.monotonic() - saved > _SAVE_SECONDS
                else:
                    due = pace.step % plan.save_every == 0
                if due or thawed or measured:
                    self._save(None if thawed else steps)
                    saved = time.monotonic()
                if thawed and not pace.done:
                    steps = self._steps(None)
                    taken = 0
        finally:
            stream.close()

    def _steps(self, stored: State | None) -> Steps:
        """What takes the next steps."""
        pace = self._pace
        self._detector.network.set_train(True)
        steps = Steps(self._detector, self._loss, frozen=pace.is_frozen, batch_size=self._plan.batch_size)
        count = pace.step - (0 if pace.is_frozen else pace.frozen)
        if stored is not None and count:
            steps.restore(count, stored.first, stored.second)
        return steps

    def _measure(self, reporter: Reporter) -> None:
        """Measure the network as it is, and keep its weights if they are the best so far."""
        step, weights = self._pace.step, self._finite()
        if self._validation is None:
            self._best = step
            return
        began = time.monotonic()
        found = evaluate(
            self._detector.twin(weights),
            images=self._validation.folder,
            annotations=as_annotations(self._validation),
            engine=engines.choose().name if self._detector.key in networks.NETWORKS else "mindspore",
            hub=self._hub,
            quiet=True,
        )
        point = {
            "step": step,
            "metrics": dict(found.metrics),
            "per_class": [dict(row) for row in found.per_class],
            "score_threshold": found.settings["score_threshold"],
        }
        before = max((one["metrics"]["mAP"] for one in self._points), default=-math.inf)
        self._points.append(point)
        if found.metrics["mAP"] > before:
            self._store.save_best(step, weights)
            self._best = step
        self._measuring = time.monotonic() - began
        reporter.say(
            f"step {step}: mAP@0.5 {found.metrics['mAP@0.5']:.4f}, mAP@[.5:.95] {found.metrics['mAP']:.4f} on "
            f"{counted(found.counts['pictures'], 'picture')}"
        )

    def _finite(self) -> detectors.Arrays:
        """The weights, which are numbers."""
        weights = self._detector.arrays()
        if not all(np.isfinite(array).all() for array in weights.values() if array.dtype.kind == "f"):
            self._checked(math.nan)
        return weights

    def _checked(self, loss: float) -> float:
        if not math.isfinite(loss):
            rate = self._plan.learning_rate
            raise UsageError(
                "the training went astray: its loss is no number any more",
                where=f"step {self._pace.step}",
                got=f"learning_rate {rate:g}, batch_size {self._plan.batch_size}",
                hint=f"begin anew with a lower learning rate, e.g. --learning-rate {rate / 4:g}",
            )
        return loss

    def _save(self, steps: Steps | None) -> None:
        """Remember how it stands; of moments nothing where a phase has just ended."""
        first, second = steps.moments() if steps is not None and steps.count else ({}, {})
        self._pace_seconds()
        facts = {"plan": self._facts, "pace": self._pace.to_dict(), "points": self._points, "best": self._best}
        self._store.save(State(facts, self._finite(), first, second))
        self._store.tidy(self._best)

    def _restore(self, stored: State) -> None:
        refuse_changes(stored.facts["plan"], self._facts, self._out)
        self._pace.restore(stored.facts["pace"])
        self._points, self._best = stored.facts["points"], stored.facts["best"]
        networks.fill(self._detector.network, stored.weights)

    def _seconds(self) -> float:
        return self._pace.seconds + time.monotonic() - self._began

    def _pace_seconds(self) -> None:
        """Count what this process took so far among what was taken before."""
        now = time.monotonic()
        self._pace.seconds += now - self._began
        self._began = now

    @functools.cached_property
    def _facts(self) -> dict[str, Any]:
        """What a run that goes on must have in common with the one that began."""
        plan, detector = self._plan, self._detector
        checkpoint = detector.plan.checkpoint
        numbers = {
            key: value
            for key, value in dataclasses.asdict(plan).items()
            if key not in ("minutes", "save_every", "file_format")
        }
        facts = {
            **numbers,
            "model": detector.key,
            "checkpoint": None if checkpoint is None else checkpoint.sha256,
            "network": detector.card_network(),
            "classes": list(detector.classes),
            "loss": dataclasses.asdict(self._loss),
            "augmentation": dataclasses.asdict(self._augmentation),
            "data": _digest(self._samples),
            "validation": None if self._validation is None else _digest(self._validation),
        }
        plain: dict[str, Any] = json.loads(json.dumps(facts))
        return plain

    def _announce(self, reporter: Reporter, resumed: bool) -> None:
        detector, pace, plan = self._detector, self._pace, self._plan
        for line in getattr(self._samples, "notes", ()):
            reporter.say(f"note: {line}")
        kept = f", {len(detector.kept)} of them known before" if detector.kept else ""
        measured = "nothing is measured"
        if self._validation is not None:
            measured = f"measured on {counted(len(self._validation), 'other picture')}"
        begun = f"going on after step {pace.step} of" if resumed else ""
        reporter.say(
            f"{detector.key}, {detector.target.image_size} x {detector.target.image_size}: "
            f"{counted(len(detector.classes), 'class', 'classes')}{kept}; {counted(len(self._samples), 'picture')}, "
            f"{measured}; {begun}{' ' if begun else ''}{counted(pace.total, 'step')} of {plan.batch_size}, the first "
            f"{pace.frozen} with the backbone frozen"
        )

    def _finish(self, reporter: Reporter) -> Tuned:
        """Write the best weights and their card."""
        detector, plan, pace = self._detector, self._plan, self._pace
        assert self._best is not None
        weights = self._store.load_best(self._best) if self._points else self._finite()
        file = self._out / f"{_STEM}.{plan.file_format}"
        checkpoints.write(file, weights, overwrite=True, durable=True)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        point = next((one for one in self._points if one["step"] == self._best), {})
        history = carding.History(
            data=self._samples.name,
            pictures=len(self._samples),
            steps=pace.step,
            batch_size=plan.batch_size,
            best=self._best,
            rate=plan.learning_rate,
            frozen=pace.frozen,
            flip=self._augmentation.flip,
            seed=plan.seed,
            measured_on=self._measured_on(),
            metrics=point.get("metrics"),
            per_class=point.get("per_class", ()),
            score_threshold=point.get("score_threshold"),
        )
        text = carding.write_card(
            detector,
            history,
            file=file.name,
            file_format=plan.file_format,
            sha256=digest,
            size=file.stat().st_size,
            name=self._name,
        )
        self._pace_seconds()
        done = Tuned(
            card=self._out / _CARD,
            checkpoint=file,
            sha256=digest,
            classes=detector.classes,
            kept=detector.kept,
            steps=pace.step,
            best=self._best,
            metrics=point.get("metrics", {}),
            per_class=tuple(point.get("per_class", ())),
            points=tuple((one["step"], one["metrics"]["mAP@0.5"], one["metrics"]["mAP"]) for one in self._points),
            seconds=pace.seconds,
            notes=tuple(getattr(self._samples, "notes", ())),
        )
        with writing(done.card, "the card"):
            replace_file(done.card, text.encode())
            replace_file(self._out / _RESULT, json.dumps(done.to_dict(), indent=1).encode())
        self._store.finish()
        reporter.say(f"wrote {done.card} and {done.checkpoint.name}")
        return done

    def _measured_on(self) -> str:
        if self._validation is None:
            return ""
        apart = "" if self._validation.name != self._samples.name else ", which were not trained on"
        return f"{counted(len(self._validation), 'picture')} of {self._validation.name}{apart}"


def _data(
    annotations: Any, images: Any, val_annotations: Any, val_images: Any, val_split: float, seed: int
) -> tuple[Samples, CocoSamples | None]:
    """What is learnt and what is measured on, checked."""
    validation: CocoSamples | None = None
    if isinstance(annotations, str | os.PathLike | Mapping):
        if images is None:
            raise UsageError("the folder of the pictures is missing", hint="images=DIR (--images DIR) names it")
        samples: Any = coco_samples(annotations, images)
    else:
        samples = annotations
        if not hasattr(samples, "__getitem__") or not hasattr(samples, "classes") or not len(samples):
            raise UsageError(
                "there is nothing to learn from",
                expected="a file of annotations, what is in one, or samples with `classes`, `name` and a length",
                got=repr(type(samples))[:80],
            )
    if val_annotations is not None:
        where = images if val_images is None else val_images
        if where is None:
            raise UsageError("the folder of the pictures to measure on is missing", hint="val_images=DIR names it")
        validation = coco_samples(val_annotations, where)
        check_classes(validation, samples.classes)
    elif val_images is not None:
        raise UsageError("val_images without val_annotations", hint="give both, or neither")
    elif val_split and isinstance(samples, CocoSamples):
        samples, validation = split(samples, val_split, seed)
    return samples, validation


def _store(out: Path, resume: bool) -> Store:
    """The folder that is written to.

    Raises:
        UsageError: It is in use, or cannot be written.
    """
    store = Store(out)
    if not resume and (store.path.exists() or (out / _CARD).exists()):
        raise UsageError(
            "there is a training in this folder already",
            where=str(out),
            got=_CARD if (out / _CARD).exists() else store.path.name,
            hint="go on with it: resume=True (--resume); or choose another folder",
        )
    with writing(out, "the folder"):
        make_folders(out)
    return store


def _finished(store: Store, resume: bool) -> Tuned | None:
    """What a training that has ended had come to."""
    if not resume or store.path.exists() or not (store.folder / _RESULT).exists():
        return None
    try:
        return Tuned.from_dict(json.loads((store.folder / _RESULT).read_text(encoding="utf-8")), store.folder)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            "what the training came to cannot be read",
            where=str(store.folder / _RESULT),
            got=str(error)[:200],
            hint="begin anew in another folder",
        ) from error


def _digest(samples: Samples) -> str:
    """What tells two sets of samples apart, without reading a picture."""
    if isinstance(samples, CocoSamples):
        content: Any = as_annotations(samples)
    else:
        content = [samples.name, len(samples), list(samples.classes)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
