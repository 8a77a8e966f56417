"""What old code misses under today's MindSpore, provided for a whole process, with an account of what was used.

Only for processes that are thrown away: names, stubs and signatures are patched for everybody. What was used is told
by name, e.g. `moved:mindspore.nn.ResizeBilinear` or `stub:pandas`, so that a recipe can list the adapters it needs.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mindspore
import numpy
from mindspore import nn, ops

from .stand_ins import (
    EasyDict,
    Rel,
    ResizeBilinear,
    ResizeBilinearOperation,
    StubModule,
    Unknown,
    Validator,
    passing,
    stub,
    used,
)

__all__ = ["FOLDER", "Unknown", "begin", "filled", "install", "quick_values", "replace", "used"]

filled: list[str] = []
"""What was added to command lines."""

FOLDER: list[Path] = []
"""The folder whose code is run."""


# Packages that only training and data need; stubs stand for them even where they are installed, for a recipe's sake.
_STUBBED = ("pandas", "sklearn", "matplotlib", "pycocotools", "moxing", "mmcv", "cv2")

_NO_STUBS = ("mindspore", "numpy", "src", "yaml", "scipy", "PIL", "tqdm", "psutil")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The last to be asked: modules that are nowhere."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        top = name.partition(".")[0]
        if name.startswith("mindspore.") and _asked_by_folder():
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        if _local(top):
            return _moved_file(name)
        if top in _NO_STUBS or not _asked_by_folder():
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        top = spec.name.partition(".")[0]
        if spec.name == "easydict":
            used.add("easydict")
            module = types.ModuleType("easydict")
            module.EasyDict = EasyDict  # type: ignore[attr-defined]
            return module
        if top == "mindspore":
            used.add(f"module:{spec.name}")
            module = types.ModuleType(spec.name)
            _answer(module)
            return module
        used.add(f"stub:{top}")
        module = StubModule(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        return None


class _Preferred(_Finder):
    """Asked first: stubs for packages that may be installed or not."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] in _STUBBED and not _local(name.partition(".")[0]) and _asked_by_folder():
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None


def _asked_by_folder() -> bool:
    """Whether code of the folder imports, and not a package that tries what is there."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__ and "importlib" not in file:
            return file.endswith("zoo/recording.py") or any(Path(file).is_relative_to(folder) for folder in FOLDER)
        frame = frame.f_back
    return False


def _moved_file(name: str) -> Any:
    """A module of the folder that is not where it is asked for, but somewhere else in it, once."""
    last = name.rpartition(".")[2]
    found = [file for folder in FOLDER[:1] for file in folder.rglob(f"{last}.py") if ".home" not in file.parts]
    found.sort(key=lambda file: ("model_utils" not in file.parts, len(file.parts)))
    if not found or "." not in name:
        return None
    used.add(f"local:{name}={found[0].relative_to(FOLDER[0]).as_posix()}")
    return importlib.util.spec_from_file_location(name, found[0])


def _local(top: str) -> bool:
    return any((folder / top).is_dir() or (folder / f"{top}.py").is_file() for folder in FOLDER)


# --- names that moved -------------------------------------------------------------------------------------------------

_PLACES = (
    "mindspore",
    "mindspore.nn",
    "mindspore.ops",
    "mindspore.ops.operations",
    "mindspore.ops.functional",
    "mindspore.ops.composite",
    "mindspore.ops.auto_generate",
    "mindspore.ops.operations.nn_ops",
    "mindspore.ops.operations.array_ops",
    "mindspore.ops.operations.math_ops",
    "mindspore.ops.operations._grad_ops",
    "mindspore.ops.operations._inner_ops",
    "mindspore.common.dtype",
    "mindspore.common.initializer",
    "mindspore.dataset.vision",
    "mindspore.dataset.transforms",
    "mindspore.dataset",
    "mindspore.train",
    "mindspore.train.callback",
    "mindspore.nn.layer",
    "mindspore.nn.optim",
    "mindspore.nn.wrap",
    "mindspore.communication",
    "mindspore.parallel",
    "mindspore.context",
)


_MADE: dict[str, Any] = {
    "mindspore.nn.ResizeBilinear": ResizeBilinear,
    "mindspore.nn.layer.ResizeBilinear": ResizeBilinear,
    "mindspore._checkparam.Validator": Validator(),
    "mindspore._checkparam.Rel": Rel,
}

_OTHER_NAMES: dict[str, Any] = {
    "ResizeBilinear": ResizeBilinearOperation,
    "ms_function": passing,
    "ms_class": lambda cls: cls,
    "Validator": Validator(),
    "Rel": Rel,
    "TensorAdd": ops.Add,
}


def _missing(module: types.ModuleType, name: str) -> Any:
    """What stands for a name that a module of MindSpore has no more."""
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(name)
    full = f"{module.__name__}.{name}"
    here = Path(sys._getframe(2).f_code.co_filename)
    if not any(here.is_relative_to(folder) for folder in FOLDER) and "importlib" not in str(here):
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
    if full in _MADE:
        used.add(f"moved:{full}")
        return _MADE[full]
    if name in _OTHER_NAMES:
        used.add(f"moved:{full}")
        return _OTHER_NAMES[name]
    for place in _PLACES:
        found = vars(importlib.import_module(place)).get(name)
        if found is not None:
            used.add(f"moved:{full}")
            return found
    used.add(f"name:{full}")
    return stub(full)


def _answer(module: types.ModuleType) -> None:
    """Let a module answer for names that it has no more."""
    before = module.__dict__.get("__getattr__")
    if getattr(before, "lenient", False):
        return

    def missing(name: str) -> Any:
        if before is not None:
            try:
                return before(name)
            except AttributeError:
                pass
        return _missing(module, name)

    missing.lenient = True  # type: ignore[attr-defined]
    module.__dict__["__getattr__"] = missing


# --- signatures, context, numpy ---------------------------------------------------------------------------------------


def replace(original: Any, new: Any) -> None:
    """Put something in place of what MindSpore's modules know by any name."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "mindspore" and module is not None:
            for key, value in list(vars(module).items()):
                if value is original:
                    setattr(module, key, new)


def _context() -> None:
    from mindspore import context

    def nothing(*args: Any, **kwargs: Any) -> None:
        used.add("context")

    for name in (
        "set_context",
        "set_auto_parallel_context",
        "reset_auto_parallel_context",
        "set_ps_context",
        "set_device",
    ):
        for place in (context, mindspore):
            if hasattr(place, name):
                replace(getattr(place, name), nothing)
    from mindspore.communication import management

    replace(management.init, nothing)
    replace(management.get_rank, lambda *a, **k: 0)
    replace(management.get_group_size, lambda *a, **k: 1)


def _dropping(cls: type, *names: str) -> None:
    """Let a class take arguments that it takes no more."""
    original = cls.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in names:
            if name in kwargs:
                used.add(f"signature:{cls.__name__}.{name}")
                del kwargs[name]
        original(self, *args, **kwargs)

    init.__wrapped__ = original  # type: ignore[attr-defined]
    cls.__init__ = init  # type: ignore[misc]


def _early_cells() -> None:
    """Cells that hold others before their `__init__`, or that never call it."""
    original = nn.Cell.__setattr__

    def set_attribute(self: Any, name: str, value: Any) -> None:
        try:
            original(self, name, value)
        except AttributeError as error:
            if "has no attribute '_" not in str(error) or "_auto_prefix" in vars(self):
                raise
            used.add("early-cell")
            nn.Cell.__init__(self)
            original(self, name, value)

    nn.Cell.__setattr__ = set_attribute


def _unasked() -> None:
    """`EasyDict` for code that lost its import."""

    class Unasked(EasyDict):
        def __init_subclass__(cls) -> None:
            used.add("easydict-builtin")

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            used.add("easydict-builtin")
            super().__init__(*args, **kwargs)

    builtins.EasyDict = Unasked  # type: ignore[attr-defined]


def _signatures() -> None:
    scalar_cast = ops.operations.ScalarCast

    class ScalarCast:
        """Numbers are cast at once."""

        def __call__(self, value: Any, kind: Any) -> Any:
            used.add("signature:ScalarCast")
            return int(value) if "int" in str(kind).lower() else float(value)

    replace(scalar_cast, ScalarCast)
    _dropping(nn.EmbeddingLookup, "vocab_cache_size")
    for name in ("Conv2d", "Dense", "BatchNorm2d", "LSTM"):
        _dropping(getattr(nn, name), "manual_padding")
    set_data = mindspore.Parameter.set_data

    def set_parameter_data(self: Any, *args: Any, **kwargs: Any) -> Any:
        used.add("signature:set_parameter_data")
        return set_data(self, *args, **kwargs)

    if not hasattr(mindspore.Parameter, "set_parameter_data"):
        mindspore.Parameter.set_parameter_data = set_parameter_data
    from mindspore.common.initializer import Initializer

    if not hasattr(Initializer, "to_tensor"):

        def to_tensor(self: Any) -> Any:
            used.add("signature:to_tensor")
            return self.init_data()

        Initializer.to_tensor = to_tensor
        if not hasattr(mindspore.Tensor, "to_tensor"):
            mindspore.Tensor.to_tensor = to_tensor


def _numpy() -> None:
    aliases = {"float": float, "int": int, "bool": bool, "object": object, "str": str, "complex": complex, "long": int}
    before = numpy.__dict__.get("__getattr__")

    def missing(name: str) -> Any:
        if name in aliases:
            used.add("numpy")
            return aliases[name]
        if before is None:
            raise AttributeError(name)
        return before(name)

    numpy.__dict__["__getattr__"] = missing


def _arguments() -> None:
    """Parsers take no offence: what is required is made up, what is unknown left out, and the device is the CPU."""
    parse = argparse.ArgumentParser.parse_known_args

    def lenient(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> Any:
        told = list(sys.argv[1:] if args is None else args)
        for action in self._actions:
            if action.required and action.option_strings and not set(action.option_strings) & set(told):
                used.add("arguments")
                told += [action.option_strings[-1], *_plausible(action)]
                filled.extend(told[-2:])
            elif action.required and not action.option_strings:
                used.add("arguments")
                told += _plausible(action)
        target = next((a for a in self._actions if "--device_target" in a.option_strings), None)
        cpu = target is not None and (target.choices is None or "CPU" in target.choices)
        if target is not None and cpu and "--device_target" not in told:
            used.add("arguments")
            told += ["--device_target", "CPU"]
        return parse(self, told, namespace)

    def exact(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> Any:
        result, rest = lenient(self, args, namespace)
        if rest:
            used.add("arguments")
        return result

    argparse.ArgumentParser.parse_known_args = lenient  # type: ignore[method-assign]
    argparse.ArgumentParser.parse_args = exact  # type: ignore[method-assign]


def _plausible(action: argparse.Action) -> list[str]:
    if action.choices:
        return [str(next(iter(action.choices)))]
    if action.type in (int, float):
        return ["1"]
    if action.type is bool:
        return [""]
    return ["none.ckpt"] * (action.nargs if isinstance(action.nargs, int) else 1)


def _single_precision() -> None:
    """Half precision has few operations on the CPU: layers that ask for it stay as they are."""
    to_float = nn.Cell.to_float

    def staying(self: Any, kind: Any) -> Any:
        if kind in (mindspore.float16, mindspore.bfloat16):
            used.add("float32")
            return self
        return to_float(self, kind)

    nn.Cell.to_float = staying


def _files() -> None:
    """Files of the folder that are not where they are asked for, but somewhere else in it."""
    real = builtins.open

    def opening(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        try:
            return real(file, mode, *args, **kwargs)
        except FileNotFoundError:
            name = Path(str(file)).name
            if FOLDER and name.endswith((".yaml", ".yml", ".json", ".txt", ".cfg")) and "r" in mode:
                found = sorted(FOLDER[0].rglob(name), key=lambda path: len(path.parts))
                if found:
                    used.add(f"file:{name}")
                    return real(found[0], mode, *args, **kwargs)
            raise

    builtins.open = opening  # type: ignore[assignment]


def _folders() -> None:
    """Folders outside are not made: nothing is said about it."""
    mkdir, makedirs = os.mkdir, os.makedirs

    def inside(path: Any) -> bool:
        return not FOLDER or os.path.abspath(os.fspath(path)).startswith(str(FOLDER[0].resolve()))

    os.mkdir = lambda path, *a, **k: mkdir(path, *a, **k) if inside(path) else None  # type: ignore[assignment]
    os.makedirs = lambda path, *a, **k: makedirs(path, *a, **k) if inside(path) else None  # type: ignore[assignment]


def quick_values() -> None:
    """Parameters get values at once, and not random ones: names and shapes are wanted."""
    from mindspore.common import initializer

    def quick(self: Any, array: Any) -> None:
        array[...] = 0.01

    for name in (
        "Normal",
        "TruncatedNormal",
        "Uniform",
        "XavierUniform",
        "XavierNormal",
        "HeUniform",
        "HeNormal",
        "Orthogonal",
        "VarianceScaling",
        "Sparse",
    ):
        getattr(initializer, name)._initialize = quick
    with contextlib.suppress(ImportError):
        from scipy.stats import _distn_infrastructure as distributions

        def rvs(self: Any, size: Any = 1, random_state: Any = None) -> Any:
            return numpy.full(size, 0.01)

        distributions.rv_frozen.rvs = rvs
        distributions.rv_generic.rvs = lambda self, *args, size=1, **kwargs: numpy.full(size, 0.01)
    for name in ("normal", "uniform"):
        setattr(numpy.random, name, _quick(getattr(numpy.random, name)))


def _quick(function: Any) -> Any:
    def quick(*args: Any, **kwargs: Any) -> Any:
        size = kwargs.get("size", args[2] if len(args) > 2 else None)
        big = size is not None and numpy.prod(size) > 1000
        return numpy.full(size, 0.01) if big else function(*args, **kwargs)

    return quick


PARTS: dict[str, Callable[[], None]] = {
    "context": _context,
    "signatures": _signatures,
    "early-cells": _early_cells,
    "unasked": _unasked,
    "numpy": _numpy,
    "arguments": _arguments,
    "float32": _single_precision,
    "files": _files,
    "folders": _folders,
    "values": quick_values,
}


def begin(folders: Iterable[Path]) -> None:
    """Be lenient with the code of some folders from now on."""
    FOLDER[:] = [Path(folder) for folder in folders]
    used.clear()
    filled.clear()


def install() -> None:
    """Make this process lenient, and those that are copied from it."""
    for part in PARTS.values():
        part()
    sys.meta_path.insert(0, _Preferred())
    sys.meta_path.append(_Finder())
    for name in [*_PLACES, "mindspore._checkparam", "mindspore.common.api", "mindspore.train.serialization"]:
        importlib.import_module(name)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "mindspore" and isinstance(module, types.ModuleType):
            _answer(module)
    real = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        result = real(name, *args, **kwargs)
        if name.partition(".")[0] == "mindspore" and isinstance(sys.modules.get(name), types.ModuleType):
            _answer(sys.modules[name])
        return result

    builtins.__import__ = importing
