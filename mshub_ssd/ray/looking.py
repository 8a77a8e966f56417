"""`Detector` and `Classifier`: a model as a class for `map_batches`, loaded by whoever runs it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mshub_ssd import cpu
from mshub_ssd.errors import IntegrityError, UsageError
from mshub_ssd.ray.columns import schema, to_table
from mshub_ssd.ray.needing import needing_ray
from mshub_ssd.settings import package_version

if TYPE_CHECKING:
    import pyarrow as pa

    from mshub_ssd.hub import Predictor

__all__ = ["Classifier", "Detector", "assigned_cpus"]

# The columns that a picture may be in, the first that is there counts.
_PICTURES = ("image", "bytes", "path")


class _Looking:
    """A model that takes batches of pictures; what it is, pickled, and loaded at its first batch."""

    kind = ""

    def __init__(self, model: str, chosen: Mapping[str, Any], cpus: int | None, card: str | None) -> None:
        if not isinstance(model, str):
            raise UsageError(
                "a model that travels to other machines has a name",
                expected="a uid",
                got=type(model).__name__,
                hint="mshub list --loadable",
            )
        self._spec: dict[str, Any] = {"model": model, "chosen": dict(chosen), "cpus": cpus, "card": card}
        self._spec["version"] = package_version()
        self._predictor: Predictor | None = None
        self._lock = threading.Lock()

    def __call__(self, batch: Mapping[str, Any] | pa.Table) -> pa.Table:
        """Look at the pictures of a batch.

        Args:
            batch: Columns as NumPy arrays or a pyarrow Table. The pictures are in ``image`` (arrays [h, w, 3]), in
                ``bytes`` (of files), or are named by ``path``; with one of the first two, ``path`` is their name.

        Returns:
            A row per picture, in order; columns besides these three are kept.

        Raises:
            MshubError: In one of its kinds: the model cannot be loaded, there is no column of pictures. A picture
                that cannot be read is a row with its error.
        """
        with needing_ray(f"mshub.ray.{self.kind.capitalize()}"):
            import pyarrow  # noqa: F401 - what is missing is said before a model is loaded

            columns = _columns(batch)
            own = schema(self.kind).names
            pictures, names = _pictures(columns)
            more = {key: values for key, values in columns.items() if key not in _PICTURES}
            taken = sorted(set(more) & set(own))
            if taken:
                raise UsageError(
                    f"the results would overwrite a column: {', '.join(taken)}",
                    hint=f"rename it first: dataset.rename_columns({{{taken[0]!r}: 'my_{taken[0]}'}})",
                )
            found = to_table(self.rows(pictures, names), self.kind)
            for key, values in more.items():
                found = found.append_column(key, _kept(values))
            return found

    def rows(self, pictures: Iterable[Any], names: Iterable[str | None]) -> Iterable[dict[str, Any]]:
        """What is on pictures, a row each, in order; of a broken one the error.

        Args:
            pictures: What `Hub.read_image` takes.
            names: What to call them.
        """
        from mshub_ssd.results import row_of

        for result, name in zip(self._opened().stream(pictures), names, strict=True):
            yield row_of(result, name)

    def close(self) -> None:
        """Let go of the model; the next batch loads it again."""
        with self._lock:
            predictor, self._predictor = self._predictor, None
        if predictor is not None:
            predictor.close()

    def _opened(self) -> Predictor:
        with self._lock:
            if self._predictor is None:
                self._predictor = self._load()
            return self._predictor

    def _load(self) -> Predictor:
        from mshub_ssd import families, pipeline
        from mshub_ssd.hub import Predictor, default_hub

        spec = self._spec
        if spec["version"] != package_version():
            raise UsageError(
                "this machine has another version of mshub_ssd than the one that sends it work",
                expected=spec["version"],
                got=package_version(),
                hint=f"pip install mshub_ssd=={spec['version']}",
            )
        card = default_hub().info(spec["model"])
        if spec["card"] not in (None, card.digest()):
            raise IntegrityError(
                "the card of this name says something else on this machine than where the work comes from",
                where=card.place,
                hint="see to it that both have the same cards (MSHUB_REGISTRY)",
            )
        cpus = spec["cpus"] or assigned_cpus()
        if cpus is not None:
            cpu.grant(cpus)
            _limit_opencv(cpus)
        predictor = Predictor(spec["model"], **spec["chosen"])
        try:
            pipeline.as_kind(
                predictor.family, {"detector": families.Detector, "classifier": families.Classifier}[self.kind]
            )
        except BaseException:
            predictor.close()
            raise
        return predictor

    @property
    def specification(self) -> dict[str, Any]:
        """What it is: model, options, the card's digest and the version of this library; what it is pickled as."""
        from mshub_ssd.hub import default_hub

        card = self._spec["card"] or default_hub().info(self._spec["model"]).digest()
        return {**self._spec, "card": card}

    def __getstate__(self) -> dict[str, Any]:
        return self.specification

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._spec, self._predictor, self._lock = dict(state), None, threading.Lock()

    def __repr__(self) -> str:
        return f"<{self.kind.capitalize()} of {self._spec['model']}>"


class Detector(_Looking):
    """A detector for `ray.data.Dataset.map_batches`.

    ::

        dataset.map_batches(mshub.ray.Detector, fn_constructor_args=[uid], batch_size=64, concurrency=4, num_cpus=1)

    Each actor loads the model at its first batch, by the settings of its machine; actors of one machine share one
    download and one recording. A broken picture is a row with ``error_code`` and ``error_message``.

    Args:
        model: A uid, the same card on all machines.
        engine: What runs it, as for `Predictor`.
        precision: ``f32``, or ``bf16`` where engine and CPU have it.
        score_threshold: Detections have a higher score; None takes the network's own.
        iou_threshold: Boxes that overlap a better one of their class by more are left out; None takes the network's.
        classes: Only these, by name or label.
        max_detections: At most so many, the best ones; None for all.
        cpus: An actor uses so many; None for those that Ray gave it.
        card: The card's digest, if it shall be checked where it is loaded; pickling an object adds it.

    Raises:
        UsageError: An argument makes no sense.
    """

    kind = "detector"

    def __init__(
        self,
        model: str,
        *,
        engine: str = "auto",
        precision: str = "f32",
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        classes: str | int | Sequence[str | int] | None = None,
        max_detections: int | None = 100,
        cpus: int | None = None,
        card: str | None = None,
    ) -> None:
        chosen = {
            "engine": engine,
            "precision": precision,
            "score_threshold": score_threshold,
            "iou_threshold": iou_threshold,
            "classes": classes,
            "max_detections": max_detections,
        }
        super().__init__(model, chosen, cpus, card)


class Classifier(_Looking):
    """A classifier for `ray.data.Dataset.map_batches`; see `Detector`.

    Args:
        model: A uid, the same card on all machines.
        engine: What runs it, as for `Predictor`.
        precision: ``f32``, or ``bf16`` where engine and CPU have it.
        top_k: So many classes, the best ones.
        cpus: An actor uses so many; None for those that Ray gave it.
        card: The card's digest, if it shall be checked where it is loaded; pickling an object adds it.

    Raises:
        UsageError: An argument makes no sense.
    """

    kind = "classifier"

    def __init__(
        self,
        model: str,
        *,
        engine: str = "auto",
        precision: str = "f32",
        top_k: int = 5,
        cpus: int | None = None,
        card: str | None = None,
    ) -> None:
        super().__init__(model, {"engine": engine, "precision": precision, "top_k": top_k}, cpus, card)


def assigned_cpus() -> int | None:
    """The CPUs that Ray gave the actor or task that this process is, one at least; None elsewhere."""
    import sys

    # Whoever runs under Ray has it imported.
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    if context.get_actor_id() is None and context.get_task_id() is None:
        return None
    return max(1, int(context.get_assigned_resources().get("CPU", 1)))


def _limit_opencv(cpus: int) -> None:
    """OpenCV resizes on a thread per CPU of the machine, whoever else works there."""
    try:
        import cv2
    except ImportError:  # pictures are resized without it
        return
    cv2.setNumThreads(cpus)


def _columns(batch: Any) -> dict[str, Any]:
    if isinstance(batch, Mapping):
        return dict(batch)
    if hasattr(batch, "column_names"):  # a Table
        return {name: batch.column(name) for name in batch.column_names}
    raise UsageError(
        "a batch has columns",
        expected="a dict of NumPy arrays, or a pyarrow Table",
        got=type(batch).__name__,
        hint='leave batch_format out, or give batch_format="pyarrow"',
    )


def _pictures(columns: Mapping[str, Any]) -> tuple[list[Any], list[str | None]]:
    """The pictures of a batch, and what they are called."""
    key = next((name for name in _PICTURES if name in columns), None)
    if key is None:
        raise UsageError(
            "there are no pictures in this batch",
            expected=f"a column {', '.join(_PICTURES[:-1])} or {_PICTURES[-1]}",
            got=", ".join(columns) or "no column",
            hint="ray.data.read_binary_files(folder, include_paths=True) has bytes and path",
        )
    found = _items(columns[key])
    if "path" not in columns:
        return found, [None] * len(found)
    names = [None if name is None else str(name) for name in _items(columns["path"])]
    return (names if key == "path" else found), names


def _items(column: Any) -> list[Any]:
    """The values of a column; rows of an array of arrays stay arrays."""
    import numpy as np

    if isinstance(column, np.ndarray):
        return list(column)
    if hasattr(column, "combine_chunks"):
        whole = column.combine_chunks()
        # Ray's type for arrays; lists of lists would be neither pictures nor quick.
        kept = getattr(column.type, "extension_name", None)
        return list(whole.to_numpy(zero_copy_only=False)) if kept else list(whole.to_pylist())
    return list(column)


def _kept(column: Any) -> Any:
    """A further column as pyarrow has it."""
    import pyarrow as pa

    return column if hasattr(column, "combine_chunks") else pa.array(_items(column))
