"""The part of a Hub that looks at pictures: which networks it keeps ready, and its doors to them."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from mshub_ssd.errors import UsageError, needing_extra
from mshub_ssd.schemes import is_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mindspore import nn

    from mshub_ssd.cards import Card
    from mshub_ssd.families import Detector, Family
    from mshub_ssd.pictures import RGB, ImageLike
    from mshub_ssd.pipeline import Pipeline
    from mshub_ssd.providers import Plan
    from mshub_ssd.results import Classification, Detections
    from mshub_ssd.settings import Settings

__all__ = ["Seeing"]

_log = logging.getLogger(__name__)

Classes = str | int
# Where a Cell keeps what runs it: nothing else lives exactly as long.
_RUN_BY = "_mshub_pipeline"
_readying = threading.RLock()
# Configurations are small, and some tenths of a second's work.
_MAX_CONFIGS = 32
# The engines that run a Cell itself, and not what its weights are at the moment.
_CELLS_OWN = ("auto", "mindspore")


class Seeing:
    """What `Hub` adds to cards and checkpoints: `detect`, `classify`, `postprocess`, and networks kept for them."""

    info: Callable[..., Card]
    plan: Callable[..., Plan]

    def __init__(self, max_networks: int) -> None:
        if max_networks < 1:
            raise UsageError("a Hub keeps one network at least", expected="max_networks >= 1", got=repr(max_networks))
        self._max_networks = max_networks
        self._slots: OrderedDict[tuple[str, str, str], _Slot] = OrderedDict()
        self._configs: OrderedDict[str, tuple[Card, Any]] = OrderedDict()
        self._configuring = threading.Lock()
        self._lock = threading.Lock()

    @property
    def settings(self) -> Settings:
        """What holds in this session."""
        raise NotImplementedError

    @overload
    def detect(
        self,
        model: str | Path | nn.Cell,
        image: list[Any] | tuple[Any, ...],
        score_threshold: float | None = None,
        max_detections: int | None = 100,
        *,
        iou_threshold: float | None = None,
        classes: Classes | Sequence[Classes] | None = None,
        engine: str = "auto",
        precision: str = "f32",
    ) -> list[Detections]: ...

    @overload
    def detect(
        self,
        model: str | Path | nn.Cell,
        image: ImageLike,
        score_threshold: float | None = None,
        max_detections: int | None = 100,
        *,
        iou_threshold: float | None = None,
        classes: Classes | Sequence[Classes] | None = None,
        engine: str = "auto",
        precision: str = "f32",
    ) -> Detections: ...

    def detect(
        self,
        model: str | Path | nn.Cell,
        image: Any,
        score_threshold: float | None = None,
        max_detections: int | None = 100,
        *,
        iou_threshold: float | None = None,
        classes: Classes | Sequence[Classes] | None = None,
        engine: str = "auto",
        precision: str = "f32",
    ) -> Any:
        """Find objects on a picture, or on several.

        Args:
            model: A uid, the path of a card, or a network from `load`. The networks of the last uids are kept for the
                next call.
            image: What `read_image` takes, or a list, a tuple or a stack [n, h, w, 3] of such.
            score_threshold: Detections have a higher score than this, 0 to 1; None takes the network's own.
            max_detections: At most so many, the best ones; None for as many as were published (OpenMMLab's networks:
                200), or all.
            iou_threshold: Boxes that overlap no better one of their class by more than this, 0 to 1; None takes the
                network's own.
            classes: Only these, by name or 0-based label.
            engine: What runs the network, see `Predictor`.
            precision: What it computes in, see `Predictor`.

        Returns:
            Boxes in pixels of the original picture, best first; of several pictures a list.

        Raises:
            MshubError: In one of its kinds: the model cannot be loaded, the picture cannot be read.
        """
        with needing_extra("mshub_ssd.detect"):
            from mshub_ssd import families

            chosen = {
                "score_threshold": score_threshold,
                "iou_threshold": iou_threshold,
                "classes": classes,
                "max_detections": max_detections,
            }
            return self._see(model, image, families.Detector, chosen, engine, precision)

    @overload
    def classify(
        self,
        model: str | Path | nn.Cell,
        image: list[Any] | tuple[Any, ...],
        top_k: int = 5,
        *,
        engine: str = "auto",
        precision: str = "f32",
    ) -> list[Classification]: ...

    @overload
    def classify(
        self,
        model: str | Path | nn.Cell,
        image: ImageLike,
        top_k: int = 5,
        *,
        engine: str = "auto",
        precision: str = "f32",
    ) -> Classification: ...

    def classify(
        self,
        model: str | Path | nn.Cell,
        image: Any,
        top_k: int = 5,
        *,
        engine: str = "auto",
        precision: str = "f32",
    ) -> Any:
        """Say what is on a picture, or on several.

        Args:
            model: A uid, the path of a card, or a network from `load`. The networks of the last uids are kept for the
                next call.
            image: What `read_image` takes, or a list, a tuple or a stack [n, h, w, 3] of such.
            top_k: So many classes, or all if there are fewer.
            engine: What runs the network, see `Predictor`.
            precision: What it computes in, see `Predictor`.

        Returns:
            The most probable classes, best first; of several pictures a list.

        Raises:
            MshubError: In one of its kinds: the model cannot be loaded, the picture cannot be read.
        """
        with needing_extra("mshub_ssd.classify"):
            from mshub_ssd import families

            families.check_top_k(top_k)
            return self._see(model, image, families.Classifier, {"top_k": top_k}, engine, precision)

    @overload
    def postprocess(
        self,
        model: str | Path | nn.Cell,
        outputs: Any,
        image_size: list[tuple[int, int]],
        score_threshold: float | None = None,
        max_detections: int | None = None,
        *,
        iou_threshold: float | None = None,
        classes: Classes | Sequence[Classes] | None = None,
    ) -> list[Detections]: ...

    @overload
    def postprocess(
        self,
        model: str | Path | nn.Cell,
        outputs: Any,
        image_size: tuple[int, int],
        score_threshold: float | None = None,
        max_detections: int | None = None,
        *,
        iou_threshold: float | None = None,
        classes: Classes | Sequence[Classes] | None = None,
    ) -> Detections: ...

    def postprocess(
        self,
        model: str | Path | nn.Cell,
        outputs: Any,
        image_size: Any,
        score_threshold: float | None = None,
        max_detections: int | None = None,
        *,
        iou_threshold: float | None = None,
        classes: Classes | Sequence[Classes] | None = None,
    ) -> Any:
        """Turn a network's raw outputs, for one picture or a batch, into detections.

        Args:
            model: The network; or its uid, which needs no checkpoint, engine or MindSpore: the configuration is enough.
            outputs: ``(pred_loc [B, N, 4], scores [B, N, classes])``, or OpenMMLab's ``(cls_scores, bbox_preds)``,
                each a tuple of one map per level; arrays or tensors.
            image_size: (height, width) of the original picture in pixels; for a batch a list of B of them.
            score_threshold: As for `detect`.
            max_detections: At most so many, the best ones; None for as many as were published, or all.
            iou_threshold: As for `detect`.
            classes: As for `detect`.

        Returns:
            Boxes in pixels of the original picture, best first; of a list of sizes a list.

        Raises:
            UsageError: The outputs do not fit the network, or not so many pictures.
        """
        with needing_extra("mshub_ssd.postprocess"):
            from mshub_ssd import families
            from mshub_ssd import pipeline as pipelines

            if isinstance(model, str | Path):
                pipeline, known = None, pipelines.family_of(self._configuration(model), os.fspath(model))
            else:
                pipeline = self._ready(model, "auto", "f32")
                known = pipeline.family
            family: Detector = pipelines.as_kind(known, families.Detector)
            options = family.options(
                score_threshold=score_threshold,
                iou_threshold=iou_threshold,
                classes=classes,
                max_detections=max_detections,
            )
            if pipeline is not None:
                return pipeline.postprocess(outputs, image_size, options)
            return pipelines.postprocess(family, outputs, image_size, options)

    def read_image(self, image: ImageLike) -> RGB:
        """Read a picture, by way of the network too.

        Args:
            image: A path or the bytes of a file or an open file (EXIF rotation applied), a url (http, https, or an
                object store's) of at most 64 MiB, a PIL image, or an RGB uint8 array or tensor [height, width, 3]. A
                url is downloaded anew each time; its host may be private, but redirects from public to private ones
                are refused.

        Returns:
            RGB uint8 [h, w, 3].

        Raises:
            ImageError: It is missing, damaged, too large to be decoded safely, or no picture at all.
            TransferError: The url cannot be downloaded.
            OfflineError: It is a url, and the network is forbidden.
        """
        with needing_extra("mshub_ssd.Hub.read_image"):
            from mshub_ssd import pictures

            return pictures.read_image(image, self._download)

    def _download(self, url: str) -> bytes:
        """The bytes of a picture; nothing vouches for them, and nothing is kept."""
        from mshub_ssd import pictures, store

        limit = pictures.MAX_BYTES
        if is_store(url):
            return store.read_file(url, limit, settings=self.settings)
        into = io.BytesIO()
        store.digest_of(url, allow_private=True, max_bytes=limit, quiet=True, settings=self.settings, into=into)
        return into.getvalue()

    def _see(
        self,
        model: str | Path | nn.Cell,
        image: Any,
        wanted: type[Family],
        chosen: dict[str, Any],
        engine: str,
        precision: str,
    ) -> Any:
        from mshub_ssd import pictures

        many = pictures.several(image)
        # Whatever can be refused is refused before a network is loaded.
        picture = self.read_image(image) if many is None else None
        pipeline = self._ready(model, engine, precision)
        options = pipeline.family_as(wanted).options(**chosen)
        if picture is not None:
            return pipeline.results([picture], options)[0]
        return list(pipeline.stream(many or (), self.read_image, options))

    def open_pipeline(
        self,
        model: str | Path | nn.Cell,
        engine: str = "auto",
        precision: str = "f32",
        threads: int | None = None,
        streams: int | None = None,
    ) -> Pipeline:
        """A network of one's own, ready for pictures; `Predictor` is the comfortable way to it.

        Args:
            model: A uid, the path of a card, or a network from `load`.
            engine: See `Predictor`.
            precision: See `Predictor`.
            threads: See `Predictor`.
            streams: See `Predictor`.

        Raises:
            MshubError: In one of its kinds.
        """
        with needing_extra("mshub_ssd.Predictor"):
            from mshub_ssd import compiling
            from mshub_ssd.pipeline import Pipeline

            if isinstance(model, str | Path):
                plan = self.plan(model)
                compiling.check_pictures(plan)
                name, wanted = plan.card.uid, plan
            elif engine in _CELLS_OWN:
                compiling.check_for_mindspore(precision, threads, streams)
                return Pipeline.of_cell(model)
            else:
                name, wanted = type(model).__name__, model
            made = compiling.ready(wanted, self.settings, engine, precision, threads, streams)
            return Pipeline(made.config, made.runner, cell=made.cell, name=name)

    def _ready(self, model: str | Path | nn.Cell, engine: str, precision: str) -> Pipeline:
        """What runs a Cell, or the network of a uid: a kept one if its card says the same."""
        if not isinstance(model, str | Path):
            if engine not in _CELLS_OWN:
                raise UsageError(
                    "a network in your hands is run by MindSpore, for its weights may change",
                    expected='engine="auto" or "mindspore"',
                    got=repr(engine)[:80],
                    hint=f"mshub_ssd.Predictor(network, engine={engine!r}) takes a snapshot"[:200],
                )
            from mshub_ssd import compiling

            compiling.check_for_mindspore(precision, None, None)
            return _pipeline_of(model)
        card, key = self.info(model), (os.fspath(model), engine, precision)
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or slot.card != card:
                # Out with the old ones first: that makes room for the next before it is built.
                self._slots.pop(key, None)
                while len(self._slots) >= self._max_networks:
                    self._slots.popitem(last=False)
                slot = self._slots[key] = _Slot(card)
            self._slots.move_to_end(key)
        with slot.lock:
            if slot.pipeline is None:
                slot.pipeline = self.open_pipeline(model, engine, precision)
            return slot.pipeline

    def _configuration(self, model: str | Path) -> Any:
        """What the network of a card is apart from its weights; the last ones are kept while their cards say the same.

        Raises:
            MshubError: In one of its kinds: there is no such card, or its network cannot be built.
        """
        from mshub_ssd import compiling

        card, key = self.info(model), os.fspath(model)
        with self._configuring:  # one of several threads makes it
            known = self._configs.pop(key, None)
            if known is None or known[0] != card:
                plan = self.plan(model, pretrained=False)
                compiling.check_pictures(plan)
                known = card, compiling.configuration(plan.recipe, card.place)
            self._configs[key] = known
            while len(self._configs) > _MAX_CONFIGS:
                self._configs.popitem(last=False)
            return known[1]

    def _forget(self) -> None:
        """Let go of all networks that are kept."""
        with self._lock:
            self._slots.clear()
        with self._configuring:
            self._configs.clear()


class _Slot:
    """Room for the network of one card; whoever comes first loads it, and the others wait."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.lock = threading.RLock()
        self.pipeline: Pipeline | None = None


def _pipeline_of(cell: nn.Cell) -> Pipeline:
    """What runs a Cell; made once, and gone when the Cell is."""
    from mshub_ssd.pipeline import Pipeline

    with _readying:
        # Past the Cell's own way to set attributes, which looks for parameters.
        attributes: dict[str, Any] = vars(cell) if hasattr(cell, "__dict__") else {}
        kept = attributes.get(_RUN_BY)
        if not isinstance(kept, Pipeline) or not kept.fits(cell):
            kept = attributes[_RUN_BY] = Pipeline.of_cell(cell)
        return kept
