"""Constructions of cells, remembered as they happen, and written as a recipe's calls."""

from __future__ import annotations

import argparse
import functools
import importlib
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
from mindspore import nn

from . import leniency


class UnwritableError(Exception):
    """A value that a recipe has no words for."""


class _Made:
    """A cell and what it was made with."""

    def __init__(self, cell: nn.Cell, args: tuple[Any, ...], kwargs: dict[str, Any], outer: bool):
        self.cell, self.args, self.kwargs = cell, args, kwargs
        self.written: Any = None
        self.outer = outer
        if outer:
            try:
                self.written = _written_call(type(cell), args, kwargs)
            except UnwritableError as error:
                self.written = error


class _Later:
    """A cell within arguments; written out when everything is known."""

    def __init__(self, cell: nn.Cell):
        self.cell = cell


_made: dict[int, _Made] = {}
_functions: dict[int, list[tuple[str, Any]]] = {}
_script = "__main__"
_folder = Path()


def _within_cell() -> bool:
    frame: Any = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "__init__" and isinstance(frame.f_locals.get("self"), nn.Cell):
            return True
        frame = frame.f_back
    return False


def start(folder: Path, script: str) -> None:
    """Remember each cell from now on; classes of the main module belong to the script."""
    global _script, _folder
    _script, _folder = script, folder
    original = nn.Cell.__new__

    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        cell = original(cls, *args, **kwargs)
        _made[id(cell)] = _Made(cell, args, kwargs, not _within_cell())
        return cell

    nn.Cell.__new__ = staticmethod(new)


def watch_functions() -> None:
    """Remember functions of the folder that return cells, too: for networks that are changed after their making."""
    pending: dict[int, Any] = {}
    inside = str(_folder)

    def watch(frame: Any, event: str, value: Any) -> None:
        code = frame.f_code
        if event == "call":
            if code.co_filename.startswith(inside) and not code.co_name.startswith(("_", "<", "construct")):
                names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
                if code.co_flags & 0x0C or (names and names[0] in ("self", "cls")):
                    return
                try:
                    kwargs = {name: _write(frame.f_locals[name]) for name in names if name in frame.f_locals}
                except UnwritableError:
                    return
                module = frame.f_globals.get("__name__", "")
                pending[id(frame)] = (f"{_module(module)}:{code.co_name}", kwargs)
        elif event == "return":
            told = pending.pop(id(frame), None)
            if told is not None and isinstance(value, nn.Cell):
                name, kwargs = told
                _functions.setdefault(id(value), []).append(
                    (name, {"call": {"callable": name, "args": [], "kwargs": kwargs}})
                )

    sys.setprofile(watch)


# --- writing ----------------------------------------------------------------------------------------------------------


def _module(name: str) -> str:
    return _script if name == "__main__" else name


def named(thing: Any) -> str:
    """`module:name` of a class or a function."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not module or not name or "<" in name:
        raise UnwritableError(f"{thing!r} has no name")
    if module.partition(".")[0] == "mindspore":
        for short in ("mindspore.nn", "mindspore.ops", "mindspore.common.initializer", "mindspore"):
            if getattr(sys.modules[short], name, None) is thing:
                return f"{short}:{name}"
    elif module == "numpy" or module.startswith("numpy."):
        return f"numpy:{name}"
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not thing and module != "__main__" and not isinstance(thing, types.BuiltinFunctionType):
        raise UnwritableError(f"{module}:{name} is something else")
    return f"{_module(module)}:{name}"


def _written_call(function: Any, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    call: dict[str, Any] = {"callable": named(function), "args": [_write(arg) for arg in args]}
    call["kwargs"] = {name: _write(value) for name, value in kwargs.items()}
    return {"call": call}


_PLAIN_METHODS = {"__init__", "__str__", "__repr__", "__new__", "__module__", "__doc__", "__dict__", "__weakref__"}


def _write(value: Any, depth: int = 0) -> Any:
    if depth > 12:
        raise UnwritableError("nested without end")
    deeper = functools.partial(_write, depth=depth + 1)
    if isinstance(value, float) and not math.isfinite(value):
        return {"call": {"callable": "builtins:float", "args": [str(value)], "kwargs": {}}}
    if isinstance(value, str):
        return str(value).replace(f"{_folder}/", "").replace(str(_folder), ".")
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, leniency.Unknown):
        return int(value)
    if isinstance(value, np.generic):
        return deeper(value.item())
    if isinstance(value, nn.Cell):
        return _Later(value)
    if isinstance(value, np.dtype):
        return {"name": f"numpy:{value.name}"}
    for kind, writer in _WRITERS:
        if isinstance(value, kind):
            return writer(value, deeper)
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        return {"name": named(value)}
    if isinstance(value, types.MethodType) and isinstance(value.__self__, type):
        return {"name": f"{named(value.__self__)}.{value.__name__}"}
    return _write_object(value, deeper)


def _write_dict(value: dict[Any, Any], deeper: Callable[[Any], Any]) -> Any:
    if type(value).__name__ in ("EasyDict", "edict") and type(value).__module__.startswith("easydict"):
        return {"call": {"callable": "easydict:EasyDict", "args": [_plain_dict(value, deeper)], "kwargs": {}}}
    if type(value).__name__ not in ("dict", "OrderedDict", "defaultdict"):
        call = {"callable": named(type(value)), "args": [_plain_dict(value, deeper)], "kwargs": {}}
        return {"call": call}
    return _plain_dict(value, deeper)


def _plain_dict(value: dict[Any, Any], deeper: Callable[[Any], Any]) -> Any:
    if not all(isinstance(key, str) for key in value):
        return {"items": [[deeper(key), deeper(item)] for key, item in value.items()]}
    written = {}
    for key, item in value.items():
        try:
            written[key] = deeper(item)
        except UnwritableError:
            continue  # loggers and the like: building again tells whether they mattered
    return {"dict": written}


def _write_object(value: Any, deeper: Callable[[Any], Any]) -> Any:
    cls = type(value)
    if cls.__name__ == "Stub" or isinstance(value, types.GeneratorType):
        raise UnwritableError("a stub")
    if isinstance(value, types.ModuleType):
        attributes = {key: item for key, item in vars(value).items() if not key.startswith("_")}
        return {"object": _attributes(attributes, deeper)}
    if not hasattr(value, "__dict__"):
        raise UnwritableError(f"{cls.__module__}.{cls.__name__}")
    own = {} if isinstance(value, type) else dict(vars(value))
    bases = [base for base in cls.__mro__ if base is not object]
    behaves = any(
        key not in _PLAIN_METHODS and (callable(item) or isinstance(item, (property, classmethod, staticmethod)))
        for base in bases
        for key, item in vars(base).items()
    )
    if isinstance(value, argparse.Namespace | types.SimpleNamespace):
        return {"object": _attributes(own, deeper)}
    if behaves:
        return {"object": _attributes(own, deeper), "of": named(cls)}
    for base in bases:
        for key, item in vars(base).items():
            if not key.startswith("__"):
                own.setdefault(key, item)
    return {"object": _attributes(own, deeper)}


def _attributes(given: dict[str, Any], deeper: Callable[[Any], Any]) -> dict[str, Any]:
    written = {}
    for key, item in given.items():
        if isinstance(item, types.ModuleType):
            continue
        try:
            written[key] = deeper(item)
        except UnwritableError:
            continue
    return written


def _known_array(value: Any, data: np.ndarray) -> Any:
    """The same array as a module of the folder has it."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not file or not Path(file).is_relative_to(_folder):
            continue
        for key, item in list(vars(module).items()):
            if item is value:
                return {"name": f"{_module(name)}:{key}"}
            if isinstance(item, np.ndarray) and item.shape == data.shape and np.array_equal(item, data):
                found = {"name": f"{_module(name)}:{key}"}
                return found if isinstance(value, np.ndarray) else _call("mindspore:Tensor", found)
    return None


def _call(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"call": {"callable": name, "args": list(args), "kwargs": kwargs}}


def _write_array(value: np.ndarray, deeper: Callable[[Any], Any]) -> Any:
    if value.dtype == object:
        raise UnwritableError("an array of objects")
    if value.dtype.kind not in "biufc":
        return _call("numpy:array", value.tolist())
    kind = {"name": f"numpy:{value.dtype.name}"}
    if value.size and (value == value.flat[0]).all():
        return _call("numpy:full", {"tuple": list(value.shape)}, deeper(value.flat[0]), kind)
    if value.size <= 64:
        return _call("numpy:array", value.tolist(), kind)
    known = _known_array(value, value)
    if known:
        return known
    return _call("numpy:full", {"tuple": list(value.shape)}, deeper(value.flat[0]), kind)


def _write_tensor(value: Any, deeper: Callable[[Any], Any]) -> Any:
    kind = str(value.dtype).rpartition(".")[2].lower()
    data = value.asnumpy()
    if isinstance(value, mindspore.Parameter):
        return _call("mindspore:Parameter", _write_tensor(mindspore.Tensor(data), deeper), name=value.name)
    if data.size and not (data == data.flat[0]).all():
        if data.size <= 64:
            return _call("mindspore:Tensor", data.tolist(), {"dtype": kind})
        known = _known_array(value, data)
        if known:
            return known
    first = data.flat[0].item() if data.size else 0
    return {"tensor": {"shape": list(data.shape), "type": kind, "value": first}}


def _write_dtype(value: Any, deeper: Callable[[Any], Any]) -> Any:
    return {"dtype": str(value).rpartition(".")[2].lower()}


def _write_partial(value: Any, deeper: Callable[[Any], Any]) -> Any:
    kwargs = {name: deeper(item) for name, item in value.keywords.items()}
    return _call("functools:partial", deeper(value.func), *[deeper(arg) for arg in value.args], **kwargs)


def _write_primitive(value: Any, deeper: Callable[[Any], Any]) -> Any:
    given = {key: item for key, item in getattr(value, "init_attrs", {}).items() if key != "name"}
    return _call(named(type(value)), **{key: deeper(item) for key, item in given.items()})


_WRITERS: tuple[tuple[Any, Callable[[Any, Callable[[Any], Any]], Any]], ...] = (
    (type(mindspore.float32), _write_dtype),
    (mindspore.Tensor, _write_tensor),
    (np.ndarray, _write_array),
    (functools.partial, _write_partial),
    (mindspore.ops.Primitive, _write_primitive),
    (dict, _write_dict),
    (list, lambda value, deeper: [deeper(item) for item in value]),
    (tuple, lambda value, deeper: {"tuple": [deeper(item) for item in value]}),
    ((set, frozenset, range), lambda value, deeper: [deeper(item) for item in sorted(value)]),
)


def outermost() -> list[nn.Cell]:
    """Cells that were made by themselves and are no part of another, the largest first."""
    parts = {id(part) for made in _made.values() for part in _cells_of(made.cell)}
    cells = [made.cell for made in _made.values() if made.outer and id(made.cell) not in parts]
    sizes = {id(cell): sum(p.size for p in cell.get_parameters()) for cell in cells if _cells_of(cell)}
    return sorted((c for c in cells if sizes.get(id(c))), key=lambda cell: -sizes[id(cell)])


def _cells_of(cell: nn.Cell) -> list[nn.Cell]:
    return [part for part in (getattr(cell, "_cells", None) or {}).values() if part is not None]


def call_of(cell: nn.Cell) -> dict[str, Any]:
    """How a cell was made, as a recipe's `call`.

    Raises:
        UnwritableError: It was made with something that a recipe has no words for.
    """
    return _finished(_Later(cell), [])["call"]


def functions_of(cell: nn.Cell) -> list[dict[str, Any]]:
    """The calls of functions that returned the cell, the innermost first."""
    calls = []
    for _, call in _functions.get(id(cell), []):
        try:
            calls.append(_finished(call, [])["call"])
        except UnwritableError:
            continue
    return calls


def _finished(value: Any, within: list[int]) -> Any:
    if isinstance(value, _Later):
        cell = value.cell
        if id(cell) in within:
            raise UnwritableError("a cell within itself")
        within = [*within, id(cell)]
        if type(cell) in (nn.SequentialCell, nn.CellList):
            parts = [_Later(part) for part in cell._cells.values()]
            return _finished(_call(f"mindspore.nn:{type(cell).__name__}", parts), within)
        made = _made.get(id(cell))
        if made is None:
            raise UnwritableError(f"{type(cell).__name__} of unknown origin")
        if isinstance(made.written, UnwritableError):
            raise made.written
        if made.written is None:
            made.written = _written_call(type(cell), made.args, made.kwargs)
        return _finished(made.written, within)
    if isinstance(value, dict):
        finished = {}
        for key, item in value.items():
            try:
                finished[key] = _finished(item, within)
            except UnwritableError:
                if key in ("callable", "args", "kwargs", "call") or "callable" in value:
                    raise
        return finished
    if isinstance(value, list):
        return [_finished(item, within) for item in value]
    return value


class Namespace(types.SimpleNamespace):
    """Attributes that are also keys."""

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __contains__(self, name: object) -> bool:
        return name in vars(self)

    def __iter__(self) -> Any:
        return iter(vars(self))

    def __len__(self) -> int:
        return len(vars(self))

    def __getattr__(self, name: str) -> Any:
        if name in ("keys", "values", "items", "get"):
            return getattr(vars(self), name)
        raise AttributeError(name)


# --- reading ----------------------------------------------------------------------------------------------------------


def look_up(name: str) -> Any:
    """What `module:name` is."""
    module, _, inner = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in inner.split("."):
        found = getattr(found, part)
    return found


def evaluate(value: Any) -> Any:
    """What an argument of a recipe means."""
    if isinstance(value, list):
        return [evaluate(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "call" in value:
        return make(value["call"])
    if "name" in value:
        return look_up(value["name"])
    if "tuple" in value:
        return tuple(evaluate(item) for item in value["tuple"])
    if "items" in value:
        return {evaluate(key): evaluate(item) for key, item in value["items"]}
    if "dict" in value:
        return {key: evaluate(item) for key, item in value["dict"].items()}
    if "dtype" in value:
        return getattr(mindspore, value["dtype"])
    if "tensor" in value:
        told = value["tensor"]
        kind = getattr(mindspore, told["type"])
        return mindspore.Tensor(np.full(told["shape"], told["value"]), kind)
    cls = look_up(value["of"]) if "of" in value else Namespace
    made = cls.__new__(cls)
    for key, item in value["object"].items():
        try:
            setattr(made, key, evaluate(item))
        except AttributeError:
            made.__dict__[key] = evaluate(item)
    return made


def make(call: dict[str, Any]) -> Any:
    """What a recipe's call returns."""
    function = look_up(call["callable"])
    args = [evaluate(arg) for arg in call["args"]]
    return function(*args, **{name: evaluate(item) for name, item in call["kwargs"].items()})
