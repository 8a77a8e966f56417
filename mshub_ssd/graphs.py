"""Models as ONNX files: a card's network recorded, its weights bound, and both kept in the cache. No MindSpore.

What is in a file follows from the network, its arguments and class names, the checkpoint's digest, and the code that
wrote it down. Found by these in the store, a graph costs neither the checkpoint nor a recording.

What travels to other machines (`written_down`, `take_in`) is the network without weights. These are bound where it
arrives, from the checkpoint that was verified there: nobody can send a card other weights than its own.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
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

__all__ = ["GraphShelf", "OnnxModel", "Portable", "of_arrays", "onnx_for", "read_portable", "take_in", "written_down"]

_log = logging.getLogger(__name__)

_PORTABLE = "mshub_ssd network written down"


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
    found = None if force else store.find_graph(key, settings)
    if (model := _model(found, uid)) is not None:
        return model
    for doubt in plan.doubts:
        _log.warning("%s: %s; %s", uid, doubt.message, doubt.hint)
    with needing_extra("making a graph"), contextlib.ExitStack() as waiting:
        if not force and found is None:
            # Of many processes that start at once, one records.
            found = waiting.enter_context(store.making_graph(key, f"writing {uid} down", settings))
            if (model := _model(found, uid)) is not None:
                return model
        recording, values = _recorded(plan, checkpoint, settings)
        _log.info("%s: written down as a graph for other engines than MindSpore", uid)
        stored = _stored(key, recording, values, uid, settings)
    return OnnxModel(stored.path, stored.digest, recording.config)


def _model(found: store.StoredGraph | None, uid: str) -> OnnxModel | None:
    """What lies in the cache, if it is of use."""
    if found is None:
        return None
    try:
        return OnnxModel(found.path, found.digest, networks.config_from_dict(found.facts.get("config")))
    except IntegrityError as error:
        _log.warning("%s: the graph in the cache is made anew: %s", uid, error.message)
        return None


@dataclass(frozen=True)
class Portable:
    """A network that was written down elsewhere, for a card and a checkpoint that are here.

    Attributes:
        uid: The card's.
        key: What its graph is found by.
        recording: What it computes, and its configuration.
    """

    uid: str
    key: Mapping[str, Any]
    recording: engines.Recording


def written_down(plan: Plan, settings: Settings) -> bytes:
    """A card's network for another machine, without its weights: the same bytes each time.

    Args:
        plan: Which network and which checkpoint; that is read, for a network that it does not fit helps nobody.
        settings: The caches, and how to download.

    Raises:
        MshubError: As for `onnx_for`.
    """
    if plan.checkpoint is None:
        raise UsageError("a graph needs weights, and none were asked for", where=plan.card.uid)
    with needing_extra("writing a network down"):
        recording, _ = _recorded(plan, plan.checkpoint, settings)
    key = _key(plan.recipe, _whole_digest(plan.checkpoint, settings))
    return json.dumps(
        {"format": _PORTABLE, "key": key, **recording.to_dict()},
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    ).encode()


def read_portable(data: bytes, plan: Plan, digest: str) -> Portable | None:
    """What `written_down` wrote, if this machine would write down the very same.

    Args:
        data: Its bytes, from wherever they came.
        plan: Which network and which checkpoint.
        digest: The checkpoint's SHA-256.

    Returns:
        None where it is of another network, other arguments, another checkpoint or another version of the code.

    Raises:
        IntegrityError: It is something else, or damaged.
    """
    where = plan.card.uid
    try:
        content = json.loads(data, parse_constant=_no_number)
        stated = content["key"] if content["format"] == _PORTABLE else None
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _no_portable(where, type(error).__name__) from error
    key = _key(plan.recipe, digest)
    if not isinstance(stated, dict):
        raise _no_portable(where, "another format")
    if stated != json.loads(json.dumps(key)):
        return None
    try:
        recording = engines.Recording.from_dict(content)
    except (ArithmeticError, AttributeError, LookupError, RecursionError) as error:
        raise _no_portable(where, type(error).__name__) from error
    side = getattr(recording.config, "image_size", None)
    if [shape for _, shape in recording.graph.inputs] != [(None, 3, side, side)]:
        raise _no_portable(where, "its input is not its configuration's")
    return Portable(where, key, recording)


def take_in(found: Portable, arrays: Callable[[], Mapping[str, NDArray[Any]]], settings: Settings) -> None:
    """Keep the graph of a network that was written down elsewhere; one that is here already stays.

    Args:
        found: The network.
        arrays: Gives the arrays of its checkpoint, verified.
        settings: The caches.

    Raises:
        IntegrityError: The checkpoint's parameters are not the network's.
        CheckpointError: The checkpoint cannot be read.
        TransferError, DiskSpaceError: The graph cannot be stored, or in no cache that is ours alone to write.
    """
    if store.find_graph(found.key, settings) is None:
        values, report = checkpoints.match_parameters(arrays(), _types(found.recording.graph))
        if not report.ok:
            raise _no_portable(found.uid, f"its parameters are not those of the checkpoint: {report}"[:400])
        _stored(found.key, found.recording, values, found.uid, settings, lasting=True)


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


def _recorded(
    plan: Plan, checkpoint: Checkpoint, settings: Settings
) -> tuple[engines.Recording, dict[str, NDArray[Any]]]:
    """A card's network written down, and the values of its parameters."""
    # The file first: a failing download should not cost the time of a recording.
    arrays, recipe = loading.read(checkpoint, settings=settings), plan.recipe
    recording = engines.record(recipe.key, recipe.arguments, recipe.classes)
    values, report = checkpoints.match_parameters(arrays, _types(recording.graph))
    if not report.ok:
        raise loading.mismatch(plan, arrays, report)
    return recording, values


def _stored(
    key: Mapping[str, Any],
    recording: engines.Recording,
    values: Mapping[str, NDArray[Any]],
    uid: str,
    settings: Settings,
    *,
    lasting: bool = False,
) -> store.StoredGraph:
    return store.add_graph(
        key,
        engines.onnx_chunks(recording.graph, values),
        {"config": networks.config_to_dict(recording.config)},
        label=uid,
        checkpoint=str(key["checkpoint"]),
        settings=settings,
        lasting=lasting,
    )


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _no_portable(uid: str, got: str) -> IntegrityError:
    return IntegrityError(
        "this is no network that mshub_ssd wrote down",
        where=f"the graph of {uid}",
        expected="a graph as `mshub bundle --with-graph` writes it, unchanged",
        got=got,
        hint="make the bundle anew, or leave its graphs out: mshub bundle install FILE --without-graphs",
    )


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
