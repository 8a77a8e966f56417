"""Names that MindSpore dropped, moved or gave another signature, and its context, which is not the code's to set."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mshub_ssd.foreign.adapters.packages import stub
from mshub_ssd.foreign.adapters.surroundings import Surroundings, adapter

__all__ = ["context_stays"]

_CONTEXT = (
    "set_context",
    "set_auto_parallel_context",
    "reset_auto_parallel_context",
    "set_ps_context",
    "reset_ps_context",
)
_ALGORITHM = ("set_algo_parameters", "reset_algo_parameters")
# What changes the whole process, by the modules that offer it.
_SETTERS = {
    "mindspore.context": _CONTEXT,
    "mindspore": (*_CONTEXT, *_ALGORITHM, "set_seed", "set_device", "set_deterministic", "set_dump"),
    "mindspore.common": ("set_seed", "set_dump"),
    "mindspore.common.seed": ("set_seed",),
    "mindspore.communication": ("init", "release"),
    "mindspore.communication.management": ("init", "release"),
    "mindspore.dataset.core.config": (
        "set_seed",
        "set_prefetch_size",
        "set_num_parallel_workers",
        "set_enable_shared_mem",
    ),
    "mindspore.parallel": _ALGORITHM,
    "mindspore.parallel.algo_parameter_config": _ALGORITHM,
}


def context_stays(around: Surroundings) -> None:
    """Let the functions that set MindSpore's context, seeds and devices do nothing; holds for all code of others."""
    for module, names in _SETTERS.items():
        around.replace(module, **dict.fromkeys(names, lambda: _nothing))


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    """What a setter of the process's state is for code of others."""


def _as_it_is(function: Any = None, **_options: Any) -> Any:
    """A decorator that changes nothing, with options or without."""
    return _same if function is None else function


def _same(function: Any) -> Any:
    return function


def _found(place: str) -> Callable[[], Any]:
    """The object that a name means now."""

    def find() -> Any:
        from mshub_ssd.lazy import load

        return load(place)

    return find


@adapter("ms_function", "`ms_function`, which is `jit` now: a decorator that changes nothing")
def _ms_function(around: Surroundings) -> None:
    for module in ("mindspore", "mindspore.common", "mindspore.common.api"):
        around.missing(module, ms_function=lambda: _as_it_is)


@adapter("ms_class", "`ms_class`, which is `jit_class` now")
def _ms_class(around: Surroundings) -> None:
    for module in ("mindspore", "mindspore.common", "mindspore.common.api"):
        around.missing(module, ms_class=_found("mindspore:jit_class"))


@adapter("validator", "`Validator` and `Rel` of `mindspore._checkparam`, whose members are functions of the module now")
def _validator(around: Surroundings) -> None:
    def validator() -> type:
        import mindspore._checkparam as checks

        functions = {name: staticmethod(it) for name, it in vars(checks).items() if name.startswith("check_")}
        return type("Validator", (), {"__doc__": "Checks of arguments.", **functions})

    def rel() -> type:
        import mindspore._checkparam as checks

        relations = {name: it for name, it in vars(checks).items() if name.isupper() and isinstance(it, int)}
        return type("Rel", (), {"__doc__": "Relations of numbers.", **relations})

    around.missing(
        "mindspore._checkparam",
        Validator=validator,
        Rel=rel,
        check_int_positive=_found("mindspore._checkparam:check_positive_int"),
    )


@adapter("profiling", "`mindspore.profiler.profiling`, whose Profiler is in `mindspore.profiler` now")
def _profiling(around: Surroundings) -> None:
    around.missing("mindspore.profiler.profiling", Profiler=_found("mindspore.profiler:Profiler"))


@adapter("resize-bilinear", "`ResizeBilinear` of `mindspore.nn` and `mindspore.ops`, made of `ResizeBilinearV2`")
def _resize_bilinear(around: Surroundings) -> None:
    around.missing("mindspore.nn", ResizeBilinear=_resizing_cell)
    around.missing("mindspore.nn.layer", ResizeBilinear=_resizing_cell)
    around.missing("mindspore.nn.layer.basic", ResizeBilinear=_resizing_cell)
    around.missing("mindspore.ops", ResizeBilinear=_resizing_operation)
    around.missing("mindspore.ops.operations", ResizeBilinear=_resizing_operation)
    around.missing("mindspore.ops.operations.nn_ops", ResizeBilinear=_resizing_operation)


@functools.cache
def _resizing_cell() -> type:
    from mindspore import nn, ops

    class ResizeBilinear(nn.Cell):  # type: ignore[misc] # MindSpore ships no types
        """Resizes pictures [n, c, h, w] to a size, or by a whole factor."""

        def __init__(self, half_pixel_centers: bool = False) -> None:
            super().__init__()
            self.resize = ops.ResizeBilinearV2(False, half_pixel_centers)
            self.resize_aligned = ops.ResizeBilinearV2(True, False)

        def construct(self, x: Any, size: Any = None, scale_factor: Any = None, align_corners: bool = False) -> Any:
            if size is None:
                size = (x.shape[2] * scale_factor, x.shape[3] * scale_factor)
            if align_corners:
                return self.resize_aligned(x, size)
            return self.resize(x, size)

    return ResizeBilinear


@functools.cache
def _resizing_operation() -> Callable[..., Any]:
    from mindspore import ops

    def resize_bilinear(size: Any, align_corners: bool = False, half_pixel_centers: bool = False) -> Any:
        operation = ops.ResizeBilinearV2(align_corners, half_pixel_centers)

        def resize(x: Any) -> Any:
            return operation(x, size)

        return resize

    return resize_bilinear


@adapter("to-tensor", "`initializer(…).to_tensor()`, which is `init_data()` now")
def _to_tensor(around: Surroundings) -> None:
    def make() -> Callable[..., Any]:
        from mindspore.common.initializer import initializer as real

        def initializer(*args: Any, **kwargs: Any) -> Any:
            tensor = real(*args, **kwargs)
            tensor.to_tensor = tensor.init_data
            return tensor

        return initializer

    # Elsewhere the name means this module.
    around.replace("mindspore.common.initializer", initializer=make)


@adapter("scalar-cast", "`ScalarCast` of `mindspore.ops` for the types that it refuses now, with Python's own numbers")
def _scalar_cast(around: Surroundings) -> None:
    for module in ("mindspore.ops", "mindspore.ops.operations"):
        around.replace(module, ScalarCast=lambda: _casting)


def _casting() -> Callable[[Any, Any], Any]:
    """An operation that casts numbers."""

    def cast(value: Any, kind: Any) -> Any:
        return float(value) if "float" in str(kind).lower() else int(value)

    return cast


@adapter("cast-none", "`Cast` of `mindspore.ops` leaves None as it is: for what only training has")
def _cast_none(around: Surroundings) -> None:
    for module in ("mindspore.ops", "mindspore.ops.operations"):
        around.replace(module, Cast=lambda: _casting_what_there_is)


def _casting_what_there_is() -> Callable[[Any, Any], Any]:
    from mindspore import ops

    operation = ops.Cast()

    def cast(value: Any, kind: Any) -> Any:
        if value is None:
            return value
        return operation(value, kind)

    return cast


@adapter("gather-v2", "`GatherV2` of `mindspore.ops`, which is `Gather` now")
def _gather_v2(around: Surroundings) -> None:
    for module in ("mindspore.ops", "mindspore.ops.operations", "mindspore.ops.operations.array_ops"):
        around.replace(module, GatherV2=_found("mindspore.ops:Gather"))


@adapter("resize-nearest", "`ResizeNearestNeighbor` of `mindspore.ops` takes sizes that are floats, such as 640 / 16")
def _resize_nearest(around: Surroundings) -> None:
    for module in ("mindspore.ops", "mindspore.ops.operations"):
        around.replace(module, ResizeNearestNeighbor=lambda: _resizing_nearest)


def _resizing_nearest(size: Any, align_corners: bool = False, half_pixel_centers: bool = False) -> Any:
    from mindspore import ops

    return ops.ResizeNearestNeighbor(tuple(int(side) for side in size), align_corners, half_pixel_centers)


@adapter("embedding-lookup", "`nn.EmbeddingLookup(vocab_cache_size=0)`: the argument is gone")
def _embedding_lookup(around: Surroundings) -> None:
    def make() -> type:
        from mindspore import nn

        class EmbeddingLookup(nn.EmbeddingLookup):  # type: ignore[misc]
            """As it was before its last argument but one went away."""

            def __init__(self, *args: Any, vocab_cache_size: int = 0, **kwargs: Any) -> None:
                if len(args) > 8:
                    args, vocab_cache_size = args[:8], args[8]
                if vocab_cache_size:
                    raise ValueError("MindSpore has no caches of embeddings any more: vocab_cache_size must be 0")
                super().__init__(*args, **kwargs)

        return EmbeddingLookup

    around.replace("mindspore.nn", EmbeddingLookup=make)


@adapter(
    "parameter-data",
    "`Parameter.set_parameter_data` of the parameters that `mindspore.nn`'s layers make: `set_data` now",
)
def _parameter_data(around: Surroundings) -> None:
    for name in ("Conv2d", "Conv2dTranspose", "Dense", "BatchNorm1d", "BatchNorm2d", "LayerNorm", "Embedding"):
        around.replace("mindspore.nn", **{name: functools.partial(_old_layer, name)})


@functools.cache
def _old_layer(name: str) -> type:
    """A layer whose parameters have the method that they had."""
    from mindspore import nn

    layer = getattr(nn, name)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        layer.__init__(self, *args, **kwargs)
        for parameter in self.get_parameters(expand=False):
            parameter.set_parameter_data = parameter.set_data

    return type(name, (layer,), {"__doc__": layer.__doc__, "__init__": __init__})


@adapter("early-cell", "`nn.Cell` that holds cells before its `__init__` is called, or if it never is")
def _early_cell(around: Surroundings) -> None:
    for module in ("mindspore.nn", "mindspore.nn.cell"):
        around.replace(module, Cell=_early)


@functools.cache
def _early() -> type:
    from mindspore import nn

    class Kind(type(nn.Cell)):  # type: ignore[misc]
        """All cells are of that class."""

        def __instancecheck__(cls, thing: Any) -> bool:
            return isinstance(thing, nn.Cell) if cls is Cell else bool(super().__instancecheck__(thing))

        def __subclasscheck__(cls, kind: Any) -> bool:
            return issubclass(kind, nn.Cell) if cls is Cell else bool(super().__subclasscheck__(kind))

    class Cell(nn.Cell, metaclass=Kind):  # type: ignore[misc]
        """A cell from its making on."""

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            made = super().__new__(cls)
            nn.Cell.__init__(made)
            return made

    return Cell


@adapter("no-checkpoints", "`load_checkpoint` gives nothing and `load_param_into_net` does nothing: weights come later")
def _no_checkpoints(around: Surroundings) -> None:
    for module in ("mindspore", "mindspore.train", "mindspore.train.serialization"):
        around.replace(module, load_checkpoint=lambda: _no_parameters, load_param_into_net=lambda: _nothing_left_out)


def _no_parameters(*_args: Any, **_kwargs: Any) -> dict[str, Any]:
    return {}


def _nothing_left_out(*_args: Any, **_kwargs: Any) -> tuple[list[str], list[str]]:
    return [], []


@adapter("float32", "`float16` means float32: for CPUs, which cannot run all operations with less")
def _float32(around: Surroundings) -> None:
    def make() -> Any:
        import mindspore

        return mindspore.float32

    for module in ("mindspore", "mindspore.dtype", "mindspore.common", "mindspore.common.dtype"):
        around.replace(module, float16=make, half=make)


@adapter("old-transforms", "`c_transforms` and `py_transforms` of `mindspore.dataset`: stand-ins, which cannot compute")
def _old_transforms(around: Surroundings) -> None:
    for kind in ("transforms", "vision", "text", "audio"):
        for name in ("c_transforms", "py_transforms"):
            stub(around, f"mindspore.dataset.{kind}.{name}")
