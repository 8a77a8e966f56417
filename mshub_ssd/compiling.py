"""Networks made ready for an engine: what runs them, and `Compiled`, which is called like the Cell."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mshub_ssd import engines, graphs, loading, networks, providers
from mshub_ssd.errors import MshubError, UsageError, is_installed
from mshub_ssd.providers import Plan, Recipe
from mshub_ssd.settings import Settings, current

__all__ = ["Compiled", "Ready", "check_for_mindspore", "check_pictures", "configuration", "ready"]

_log = logging.getLogger(__name__)


class Compiled:
    """A network ready to run on an engine; any number of threads may share one.

    Args:
        network: What `ready` made.

    Attributes:
        engine: ``openvino``, ``onnxruntime`` or ``mindspore``.
        precision: What it computes in, ``f32`` or ``bf16``.
        config: The network's configuration.
    """

    def __init__(self, network: Ready) -> None:
        self._runner = network.runner
        self.engine = network.runner.name
        self.precision = network.runner.precision
        self.config = network.config

    def __call__(self, batch: Any) -> Any:
        """Run the network.

        Args:
            batch: float32 [N, 3, H, W], a NumPy array or a MindSpore tensor.

        Returns:
            The outputs, nested as the Cell returns them; arrays for an array, tensors for a tensor.

        Raises:
            UsageError: The batch does not fit the network, or this was closed.
        """
        outputs = self._runner.run(self._taken(batch))
        return engines.to_tensors(outputs) if hasattr(batch, "asnumpy") else outputs

    def map(self, batches: Sequence[Any]) -> list[Any]:
        """Run the network on several batches, as many at once as there are streams; the outputs are in order."""
        done = self._runner.run_many([self._taken(batch) for batch in batches])
        return [
            engines.to_tensors(outputs) if hasattr(batch, "asnumpy") else outputs
            for batch, outputs in zip(batches, done, strict=True)
        ]

    def _taken(self, batch: Any) -> Any:
        """The batch as the runner takes it, if it is of a size that the network has on this engine.

        Graphs are recorded for one size. MindSpore would leave files in the current folder before it refuses another.
        """
        arrays = engines.to_arrays(batch)
        sizes = getattr(self.config, "input_sizes", ())
        here = sizes if self.engine == "mindspore" else (getattr(self.config, "image_size", None),)
        sides = tuple(getattr(arrays, "shape", ())[2:])
        if sizes and len(sides) == 2 and sides not in [(size, size) for size in here]:
            elsewhere = sides in [(size, size) for size in sizes]
            raise UsageError(
                f"{self.config.name} does not take inputs of this size on {self.engine}",
                expected=" or ".join(f"float32 [N, 3, {size}, {size}]" for size in here),
                got=f"{arrays.dtype} {list(arrays.shape)}",
                hint='engine="mindspore" takes it: other engines run a graph, which is recorded for one size'
                if elsewhere
                else "mshub_ssd.classify(model, picture) brings any picture to the right size",
            )
        return arrays

    def close(self) -> None:
        """Let go of the network; this cannot be called any more."""
        self._runner.close()

    def __repr__(self) -> str:
        return f"<{getattr(self.config, 'name', 'network')} on {self.engine}, {self.precision}>"


class Ready(NamedTuple):
    """A network on an engine.

    Attributes:
        runner: What runs it.
        config: Its configuration.
        cell: The Cell that the runner calls, None on other engines than MindSpore.
    """

    runner: engines.Runner
    config: Any
    cell: Any = None


def ready(
    model: Any,
    settings: Settings,
    engine: str = "auto",
    precision: str = "f32",
    threads: int | None = None,
    streams: int | None = None,
) -> Ready:
    """Make a network ready for an engine.

    On OpenVINO and ONNX Runtime, a card's network is recorded once and then taken from the cache, and of a Cell the
    weights count that it has now. On MindSpore it is the Cell itself, compiled, and new weights count.

    Args:
        model: The plan of a card, or a Cell.
        settings: The caches, and how to download.
        engine: ``openvino``, ``onnxruntime``, ``mindspore``; ``auto`` for what `engines.choose` takes. A card's
            network that another package registered is MindSpore's, unless an engine is named.
        precision: ``f32``, or ``bf16`` where the engine and the CPU have it.
        threads: So many threads at most, or None.
        streams: So many batches at once, or None.

    Raises:
        UsageError: An option makes no sense, or the Cell is in training mode or was not built by this library.
        MissingDependencyError: The engine is not installed.
        MshubError: In one of its kinds: the card's network cannot be loaded.
    """
    plan = model if isinstance(model, Plan) else None
    if plan is None:
        _check_cell(model)
    elif engine == "auto" and plan.recipe.key not in networks.NETWORKS:
        # It may be built of anything; only this library's are known to be recorded as they are.
        engine = "mindspore"
    elif engine not in ("auto", "mindspore") and (plan.recipe.code or plan.recipe.provider):
        raise UsageError(
            f"{plan.recipe.key} runs on MindSpore only: it is code of others, which cannot be written down as a graph",
            where=plan.card.uid,
            expected='engine="mindspore" or "auto"',
            got=f"engine={engine!r}"[:80],
        )
    name = engines.choose(engine).name
    engines.check_options(precision, threads, streams)
    if name == "mindspore":
        check_for_mindspore(precision, threads, streams)
        cell = model if plan is None else loading.load(plan, settings=settings)
        return Ready(engines.cell_runner(cell), getattr(cell, "config", None), cell)
    if plan is not None:
        found = graphs.onnx_for(plan, settings)
        shelf = graphs.GraphShelf(found, plan, settings)
        runner = engines.runner(found.path, name, precision, threads, streams, found.digest, shelf)
        return Ready(runner, found.config)
    key, content = _snapshot(model)
    runner = engines.runner(content, name, precision, threads, streams)
    _log.info("%s: compiled with the weights as they are now; later ones do not count", key)
    return Ready(runner, model.config)


def check_pictures(plan: Plan) -> None:
    """See that a card's network can look at pictures, before anything is fetched or built for it.

    Raises:
        UsageError: Nobody has said what it makes of them.
    """
    if any(map(providers.sees, (plan.recipe, *plan.others))):
        return
    raise UsageError(
        f"what {plan.recipe.key} makes of pictures is not known: how they are prepared, and what its outputs mean",
        where=plan.card.uid,
        expected="a network of a known family",
        got=f"code of a {plan.recipe.level}, which states neither in a form that this library reads",
        hint=f"call what mshub_ssd.load({plan.card.uid!r}) gives with arrays of your own; or write its family, see "
        "docs/families.md",
    )


def configuration(recipe: Recipe, where: str) -> Any:
    """What a network is apart from its weights; neither these nor an engine are needed, nor MindSpore.

    Only networks of other packages, which may be built of anything, are built of MindSpore's layers where that is.

    Args:
        recipe: The network.
        where: The card, for messages.

    Raises:
        UsageError: It cannot be built with these arguments.
        MshubError: In one of its kinds: it cannot be built here.
    """
    if recipe.code is not None:
        return providers.config_for(recipe)
    if recipe.provider:
        return getattr(providers.build_network(recipe, settings=current(), initialised=False), "config", None)
    if recipe.key in networks.NETWORKS or not is_installed("mindspore"):
        return engines.record(recipe.key, recipe.arguments, recipe.classes).config
    networks.require_mindspore()
    cell = networks.build(recipe.key, card=recipe.arguments, classes=recipe.classes, initialised=False, where=where)
    return getattr(cell, "config", None)


def check_for_mindspore(precision: str, threads: int | None, streams: int | None) -> None:
    """See that nothing is asked for that MindSpore's Cells do not have.

    Raises:
        UsageError: There is.
    """
    for name, value, only in (("precision", precision, "f32"), ("threads", threads, None), ("streams", streams, None)):
        if value != only:
            raise UsageError(
                f"{name} cannot be chosen for MindSpore",
                expected=f"{name}={only!r}",
                got=f"{name}={value!r}"[:80],
                hint='engine="openvino" takes it',
            )


def _check_cell(cell: Any) -> None:
    if not hasattr(cell, "construct") or not hasattr(cell, "get_parameters"):
        raise UsageError(
            "only networks can be compiled", expected="a uid, or a Cell from mshub_ssd.load", got=repr(type(cell))[:200]
        )
    if cell.training:
        raise UsageError("the network is in training mode", hint="call network.set_train(False) first")


def _snapshot(cell: Any) -> tuple[str, bytes]:
    """Architecture key and ONNX file of a Cell.

    Raises:
        UsageError: It was not built by this library.
    """
    config = getattr(cell, "config", None)
    arrays = {parameter.name: parameter.asnumpy() for parameter in cell.get_parameters()}
    for recipe in _recipes(cell, config):
        try:
            content = graphs.of_arrays(recipe, arrays, config)
        except MshubError as error:
            _log.debug("the Cell is not %s: %s", recipe.key, error)
            continue
        if content is not None:
            return recipe.key, content
    raise UsageError(
        "this Cell cannot be written down for other engines: it was not built by this library, or changed afterwards",
        expected="a Cell as mshub_ssd.load returns it; others would go by way of MindIR, which is not supported yet",
        got=type(cell).__name__,
        hint='engine="mindspore" runs any Cell',
    )


def _recipes(cell: Any, config: Any) -> Iterator[Recipe]:
    """What a Cell may have been built by, the surest first."""
    card, name = getattr(cell, "card", None), getattr(config, "name", None)
    if card is not None:
        yield providers.choose_network(card)
    if name in networks.NETWORKS:
        yield Recipe(name, "its configuration")
        yield Recipe(name, "its configuration", {"num_classes": config.num_classes}, tuple(config.class_names))
