"""`Predictor`: one model, one engine, and what the user wants to see, for any number of pictures."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mshub_ssd.errors import IntegrityError, UsageError, needing_extra
from mshub_ssd.hub.session import Hub, default_hub

if TYPE_CHECKING:
    from mindspore import nn

    from mshub_ssd.cards import Card
    from mshub_ssd.families import Family
    from mshub_ssd.pipeline import Pipeline

__all__ = ["Predictor"]

# Options of detectors, which classifiers do not have, and the other way round.
_ONLY_DETECTORS: dict[str, Any] = {
    "score_threshold": None,
    "iou_threshold": None,
    "classes": None,
    "max_detections": 100,
}
_ONLY_CLASSIFIERS: dict[str, Any] = {"top_k": 5}


class Predictor:
    """A model ready for pictures: loaded once, called any number of times, by any number of threads.

    ::

        with mshub.Predictor("mshub/1.0/ssdmobilenetv2_digits", score_threshold=0.5) as predict:
            predict("a.png")                    # one picture, one result
            predict(["a.png", "b.png"])         # a list, a list
            for found in predict.stream(camera): ...

    It can be pickled, and so be sent to other processes, as what was asked for: the uid, the card's digest and the
    options. It is loaded anew at its first use there, by the default Hub, if that has the very same card.

    Args:
        model: A uid, the path of a card, or a network from `load`.
        hub: The session that finds and loads it; the default one unless given.
        engine: What runs it: ``openvino``, ``onnxruntime`` or ``mindspore``. ``auto`` is the first of them that is
            installed, or MindSpore where its device is not the CPU; for a Cell it is that Cell, with the weights that
            it has at each call. On another engine a Cell's weights are those of this moment.
        precision: What it computes in: ``f32``, or ``bf16`` where engine and CPU have it.
        score_threshold: Detections have a higher score than this, 0 to 1; None takes the network's own.
        iou_threshold: Boxes that overlap no better one of their class by more than this; None takes the network's own.
        classes: Only these, by name or 0-based label.
        max_detections: At most so many, the best ones; None for as many as were published, or all.
        top_k: So many classes of a classifier.
        threads: The engine's threads; None for as many as are good.
        streams: So many pictures of a list are given to the engine at once; None for one.

    Attributes:
        card: The model's card; None for a Cell without one.

    Raises:
        MshubError: In one of its kinds: the model cannot be loaded, or an option makes no sense for it.
    """

    card: Card | None

    def __init__(
        self,
        model: str | Path | nn.Cell,
        *,
        hub: Hub | None = None,
        engine: str = "auto",
        precision: str = "f32",
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        classes: str | int | Sequence[str | int] | None = None,
        max_detections: int | None = 100,
        top_k: int = 5,
        threads: int | None = None,
        streams: int | None = None,
    ) -> None:
        self._model, self._hub = model, hub
        self._running: dict[str, Any] = {
            "engine": engine,
            "precision": precision,
            "threads": threads,
            "streams": streams,
        }
        self._chosen = {
            "score_threshold": score_threshold,
            "iou_threshold": iou_threshold,
            "classes": classes if classes is None or isinstance(classes, str | int) else tuple(classes),
            "max_detections": max_detections,
            "top_k": top_k,
        }
        self._lock = threading.Lock()
        self._closed = False
        self._opened: tuple[Pipeline, Any] | None = None
        self._expected: str | None = None
        self._open()

    def __call__(self, image: Any) -> Any:
        """Look at a picture, or at several.

        Args:
            image: What `Hub.read_image` takes, or a list, a tuple or a stack [n, h, w, 3] of such.

        Returns:
            `Detections` or a `Classification`; of several pictures a list.

        Raises:
            MshubError: In one of its kinds: a picture cannot be read, the Predictor was closed.
        """
        with needing_extra("mshub_ssd.Predictor"):
            from mshub_ssd import pictures

            pipeline, options = self._open()
            many = pictures.several(image)
            if many is None:
                return pipeline.results([self._session.read_image(image)], options)[0]
            return list(pipeline.stream(many, self._session.read_image, options))

    def stream(self, images: Iterable[Any], *, batch: int | None = None, prefetch: int | None = None) -> Iterator[Any]:
        """Look at pictures one after the other, as they come.

        Threads read the next ones, run the network and look at what it found at the same time. The iterable itself runs
        in the thread that asks for results. Closing the generator (leaving the loop does) ends all of it.

        Args:
            images: Any iterable of what `Hub.read_image` takes, without an end too, and slow or fast. A `Failure` among
                them comes out in its place.
            batch: So many pictures go through the network together. None for one: more gain nothing on CPUs.
            prefetch: So many more are taken before their results are asked for, so that never more than batch +
                prefetch are in memory. None for enough to keep all processors busy. More pay off where pictures are
                slow to come, such as urls: up to 32 are read at once.

        Yields:
            One result per picture, in order: `Detections` or a `Classification`. A `Failure` where a picture cannot be
            read.

        Raises:
            MshubError: In one of its kinds: the Predictor was closed, an argument makes no sense.
        """
        with needing_extra("mshub_ssd.Predictor"):
            from mshub_ssd import pictures

            pipeline, options = self._open()
            several = pictures.several(images)
            one = isinstance(images, str | bytes) or hasattr(images, "shape") or hasattr(images, "read")
            if several is None and (one or not isinstance(images, Iterable)):
                raise UsageError(
                    "a stream takes pictures one after the other, and no single one",
                    expected="any iterable of pictures",
                    got=type(images).__name__,
                    hint="predictor(picture) looks at one; files of a folder: sorted(folder.glob('*.jpg'))",
                )
            things = images if several is None else several
            return pipeline.stream(
                things, self._session.read_image, options, batch=batch, prefetch=prefetch, strict=False
            )

    @property
    def engine(self) -> str:
        """The engine that runs it."""
        return self._open()[0].runner.name

    @property
    def precision(self) -> str:
        """What it computes in."""
        return self._open()[0].runner.precision

    @property
    def config(self) -> Any:
        """The network's configuration."""
        return self._open()[0].config

    @property
    def family(self) -> Family:
        """How the network sees pictures."""
        return self._open()[0].family

    @property
    def options(self) -> Any:
        """What it keeps of what the network finds, with the network's own values where none were given."""
        return self._open()[1]

    def close(self) -> None:
        """Let go of the network; the Predictor cannot be used any more. A Cell stays what it is."""
        with self._lock:
            self._closed = True
            opened, self._opened = self._opened, None
        if opened is not None:
            opened[0].close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        name = self._model if isinstance(self._model, str | Path) else type(self._model).__name__
        return f"<Predictor of {name}{', closed' if self._closed else ''}>"

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self._model, str | Path):
            raise UsageError(
                "a Predictor over a Cell cannot be pickled, for its weights are only here",
                hint="make it of a uid; or save the network, and write a card for it",
            )
        return {
            "model": self._model,
            "running": self._running,
            "chosen": self._chosen,
            "card": self.card and self.card.digest(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._model, self._running, self._chosen = state["model"], state["running"], state["chosen"]
        self._expected = state["card"]
        self._hub, self._opened, self._closed = None, None, False
        self._lock = threading.Lock()

    @property
    def _session(self) -> Hub:
        return self._hub or default_hub()

    def _open(self) -> tuple[Pipeline, Any]:
        """The network and the options it is asked with; loaded here where that has not been done yet."""
        with self._lock:
            if self._closed:
                raise UsageError("this Predictor was closed", hint="make a new one")
            if self._opened is None:
                self._opened = self._load()
            return self._opened

    def _load(self) -> tuple[Pipeline, Any]:
        if isinstance(self._model, str | Path):
            self.card = self._session.info(self._model)
            if self._expected not in (None, self.card.digest()):
                raise IntegrityError(
                    "the card of this name says something else here than where the Predictor was made",
                    where=self.card.place,
                    hint="see to it that both have the same cards (MSHUB_REGISTRY), or make the Predictor here",
                )
        else:
            self.card = getattr(self._model, "card", None)
        pipeline = self._session.open_pipeline(self._model, **self._running)
        try:
            return pipeline, pipeline.family.options(**self._fitting(pipeline))
        except BaseException:
            pipeline.close()
            raise

    def _fitting(self, pipeline: Pipeline) -> dict[str, Any]:
        """The options that networks of this family have; the others must be as they are by themselves."""
        from mshub_ssd import families

        others: dict[type, dict[str, Any]] = {
            families.Detector: _ONLY_CLASSIFIERS,
            families.Classifier: _ONLY_DETECTORS,
        }
        foreign = next((names for kind, names in others.items() if isinstance(pipeline.family, kind)), None)
        if foreign is None:  # a family of another package: what was given, and no more
            defaults = {**_ONLY_DETECTORS, **_ONLY_CLASSIFIERS}
            return {name: value for name, value in self._chosen.items() if value != defaults[name]}
        for name, usual in foreign.items():
            if self._chosen[name] != usual:
                raise UsageError(
                    f"{name} means nothing to a {pipeline.family.kind}",
                    got=f"{name}={self._chosen[name]!r}"[:200],
                    hint="leave it out",
                )
        return {name: value for name, value in self._chosen.items() if name not in foreign}
