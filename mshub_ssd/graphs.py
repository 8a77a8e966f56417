"""Models as ONNX files: a card's network recorded, its weights bound, and both kept in the cache. No MindSpore.

What is in a file follows from the network, its arguments and class names, the checkpoint's digest, and the code that
wrote it down. Found by these in the store, a graph costs neither the checkpoint nor a recording.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import checkpoints, engines, loading, networks, store
from mshub_ssd.errors import DiskSpaceError, IntegrityError, TransferError, UsageError, needing_extra
from mshub_ssd.providers import Checkpoint, Plan, Recipe
from mshub_ssd.settings import Settings, package_version

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["GraphShelf", "OnnxModel", "of_arrays", "onnx_for"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnnxModel:
    """A model as an ONNX file.

    Attributes:
        path: The verified file.
        digest: Its SHA-256.
        config: The network's configuration, which its family goes by.
    """

    path: Path
    digest: str
    config: Any


class GraphShelf:
    """The cache as the place where engines keep what they made of a card's graph (`engines.Shelf`).

    Args:
        model: The graph.
        plan: Which network it is of.
        settings: The caches.
    """

    def __init__(self, model: OnnxModel, plan: Plan, settings: Settings) -> None:
        self._graph = model.digest
        self._label = plan.card.uid
        self._checkpoint = None if plan.checkpoint is None else _whole_digest(plan.checkpoint, settings)
        self._settings = settings

    def find(self, key: Mapping[str, Any]) -> engines.Kept | None:
        """See `engines.Shelf.find`."""
        found = store.find_graph({"graph": self._graph, **key}, self._settings)
        return None if found is None else engines.Kept(found.path, found.facts)

    def keep(self, key: Mapping[str, Any], content: bytes | memoryview, facts: Mapping[str, Any]) -> None:
        """See `engines.Shelf.keep`."""
        try:
            store.add_graph(
                {"graph": self._graph, **key},
                [content],
                facts,
                label=self._label,
                checkpoint=self._checkpoint,
                settings=self._settings,
                lasting=True,
            )
        except (DiskSpaceError, TransferError) as error:
            _log.info("%s: what was compiled is not kept: %s", self._label, error.message)


def onnx_for(plan: Plan, settings: Settings, *, force: bool = False) -> OnnxModel:
    """The ONNX file of a card's model: the cached one, or a new one.

    Args:
        plan: Which network and which checkpoint.
        settings: The caches, and how to download.
        force: Make it anew in any case.

    Raises:
        MshubError: In one of its kinds: the checkpoint cannot be had or is another network's, as for
            `mshub_ssd.load`; or the network cannot be recorded.
    """
    checkpoint, recipe, uid = plan.checkpoint, plan.recipe, plan.card.uid
    if checkpoint is None:
        raise UsageError("a graph needs weights, and none were asked for", where=uid, hint="plan it with pretrained")
    key = _key(recipe, _whole_digest(checkpoint, settings))
    if not force and (found := store.find_graph(key, settings)) is not None:
        try:
            return OnnxModel(found.path, found.digest, networks.config_from_dict(found.facts.get("config")))
        except IntegrityError as error:
            _log.warning("%s: the graph in the cache is made anew: %s", uid, error.message)
    for doubt in plan.doubts:
        _log.warning("%s: %s; %s", uid, doubt.message, doubt.hint)
    with needing_extra("making a graph"):
        # The file first: a failing download should not cost the time of a recording.
        arrays = loading.read(checkpoint, settings=settings)
        recording = engines.record(recipe.key, recipe.arguments, recipe.classes)
        values, report = checkpoints.match_parameters(arrays, _types(recording.graph))
        if not report.ok:
            raise loading.mismatch(plan, arrays, report)
        _log.info("%s: written down as a graph for other engines than MindSpore", uid)
        stored = store.add_graph(
            key,
            engines.onnx_chunks(recording.graph, values),
            {"config": networks.config_to_dict(recording.config)},
            label=uid,
            checkpoint=str(key["checkpoint"]),
            settings=settings,
        )
    return OnnxModel(stored.path, stored.digest, recording.config)


def of_arrays(recipe: Recipe, arrays: Mapping[str, NDArray[Any]], config: Any) -> bytes | None:
    """The bytes of an ONNX file of a network with these weights, if the recipe's is this network.

    Args:
        recipe: A network.
        arrays: Values by parameter name; all of the network's and no others.
        config: The configuration that it must have.

    Returns:
        None where the recipe makes another network.

    Raises:
        UsageError: The network cannot be recorded.
    """
    recording = engines.record(recipe.key, recipe.arguments, recipe.classes)
    shapes = {name: tuple(shape) for name, (shape, _) in recording.graph.parameters.items()}
    if recording.config != config or shapes != {name: array.shape for name, array in arrays.items()}:
        return None
    return engines.onnx_bytes(recording.graph, arrays)


def _key(recipe: Recipe, digest: str) -> dict[str, Any]:
    return {
        "network": recipe.key,
        "arguments": dict(recipe.arguments),
        "classes": None if recipe.classes is None else list(recipe.classes),
        "checkpoint": digest,
        "emitter": engines.EMITTER_VERSION,
        "code": _code(recipe.key),
    }


def _whole_digest(checkpoint: Checkpoint, settings: Settings) -> str:
    """All 64 digits; where the card gives fewer, the file tells."""
    if len(checkpoint.sha256) == 64:
        return checkpoint.sha256.lower()
    return store.hash_file(loading.fetch(checkpoint, settings=settings)).hexdigest


@functools.cache
def _code(key: str) -> str:
    """Digest of the code that a graph follows from; an installed version's changes with the version only."""
    told = hashlib.sha256(f"{package_version()}\n{networks.describe(key)}\n".encode())
    home = Path(__file__).parent
    for folder in ("networks", "engines"):
        for path in sorted((home / folder).rglob("*.py")):
            told.update(path.relative_to(home).as_posix().encode() + b"\n" + path.read_bytes())
    return told.hexdigest()


def _types(graph: engines.Graph) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    import numpy as np

    return {name: (tuple(shape), np.dtype(kind)) for name, (shape, kind) in graph.parameters.items()}
