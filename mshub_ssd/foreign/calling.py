"""Recipes' calls, carried out: what `mshub_ssd.providers.recipes` describes as data becomes objects, and a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from mshub_ssd import networks
from mshub_ssd.errors import ForeignCodeError, UsageError
from mshub_ssd.foreign.importing import ForeignCode, isolated

if TYPE_CHECKING:
    from mindspore import nn

__all__ = ["Called", "Namespace", "build"]


class Called(Protocol):
    """What a recipe calls; `providers.recipes.Call` is one."""

    @property
    def callable(self) -> str:
        """``module:name``."""

    @property
    def args(self) -> Sequence[Any]:
        """Arguments, as recipes have them."""

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """Arguments by name."""

    @property
    def argv(self) -> Sequence[str]:
        """What stands on the command line."""


def build(folder: Path, call: Called, adapters: Sequence[str] = (), *, initialised: bool = False) -> nn.Cell:
    """Build a network of the code in a folder, in isolation and under the guard.

    Args:
        folder: Where the code is.
        call: What is called with what.
        adapters: Names of the adapters that the code needs.
        initialised: Whether parameters get random values; a checkpoint overwrites them. A network that cannot be built
            without has them anyway.

    Raises:
        UsageError: The recipe makes no sense.
        ForeignCodeError: The code fails.
        TrustError: It tried what it may not do.
    """
    try:
        return _build(folder, call, adapters, initialised)
    except ForeignCodeError:
        if initialised:
            raise
    # Some constructors compute with their parameters' values.
    return _build(folder, call, adapters, initialised=True)


def _build(folder: Path, call: Called, adapters: Sequence[str], initialised: bool) -> nn.Cell:
    with isolated(folder, adapters, call.argv) as code, networks.building(initialised=initialised):
        network = _call(code, {"callable": call.callable, "args": call.args, "kwargs": call.kwargs}, call.callable)
        from mindspore import nn

        if not isinstance(network, nn.Cell):
            raise ForeignCodeError(
                f"{call.callable} gave no network",
                where=str(folder),
                expected="a mindspore.nn.Cell",
                got=repr(type(network)),
                hint="the recipe belongs to another commit of this code",
            )
    return network


class Namespace(SimpleNamespace):
    """What a configuration's attributes become: also its keys, because code reads them either way."""

    def __getitem__(self, name: str) -> Any:
        try:
            return vars(self)[name]
        except KeyError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __contains__(self, name: object) -> bool:
        return name in vars(self)

    def __iter__(self) -> Any:
        return iter(vars(self))

    def __len__(self) -> int:
        return len(vars(self))

    def keys(self) -> Any:
        """The names."""
        return vars(self).keys()

    def values(self) -> Any:
        """What they stand for."""
        return vars(self).values()

    def items(self) -> Any:
        """Both."""
        return vars(self).items()

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dictionary."""
        return vars(self).get(name, default)


def _value(code: ForeignCode, data: Any, where: str) -> Any:
    """What a recipe's argument stands for."""
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list | tuple):  # JSON has lists only, so a tuple is one, too
        return [_value(code, item, f"{where}[{number}]") for number, item in enumerate(data)]
    if isinstance(data, Mapping):
        for key, (needs, may, make) in _KINDS.items():
            if key in data:
                strange = set(data) - {*needs, *may}
                if strange or not needs <= set(data):
                    raise _senseless(
                        where, sorted(map(str, strange or needs)), f"the keys {', '.join(sorted(needs | may))}"
                    )
                return make(code, data, where)
    raise _senseless(where, data, f"a plain value, or an object with one of the keys {', '.join(_KINDS)}")


def _call(code: ForeignCode, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping) or not isinstance(data.get("callable"), str):
        raise _senseless(where, data, "an object with `callable`, `args` and `kwargs`")
    place = data["callable"]
    function = code.resolve(place)
    args = [_value(code, it, f"{where}({number})") for number, it in enumerate(data.get("args", ()))]
    kwargs = {name: _value(code, it, f"{where}({name})") for name, it in data.get("kwargs", {}).items()}
    with code.failing(f"{place} cannot be called"):
        return function(*args, **kwargs)


def _object(code: ForeignCode, data: Mapping[str, Any], where: str) -> Any:
    attributes = {name: _value(code, it, f"{where}.{name}") for name, it in data["object"].items()}
    if data.get("of") is None:
        return Namespace(**attributes)
    kind = code.resolve(data["of"])
    with code.failing(f"no {data['of']} can be made"):
        made = kind.__new__(kind)
        for name, value in attributes.items():
            try:
                setattr(made, name, value)
            except AttributeError:  # a frozen data class, or a property
                vars(made)[name] = value
    return made


def _type(code: ForeignCode, name: str, where: str) -> Any:
    # As the code sees it: an adapter may say that float16 means float32.
    types = code.resolve("mindspore.common.dtype")
    found = getattr(types, name, None)
    if found is None:
        raise _senseless(where, name, "the name of one of MindSpore's types, e.g. float32")
    return found


def _tensor(code: ForeignCode, data: Mapping[str, Any], where: str) -> Any:
    import numpy as np
    from mindspore import Tensor

    tensor = data["tensor"]
    if not isinstance(tensor, Mapping) or set(tensor) - {"shape", "type", "value"} or "shape" not in tensor:
        raise _senseless(where, tensor, "an object with `shape`, `type` and `value`")
    return Tensor(np.full(tensor["shape"], tensor.get("value", 0)), _type(code, tensor.get("type", "float32"), where))


def _items(code: ForeignCode, data: Mapping[str, Any], where: str) -> Any:
    return {
        _hashable(_value(code, key, where)): _value(code, value, f"{where}[{key!r}]") for key, value in data["items"]
    }


def _hashable(key: Any) -> Any:
    return tuple(map(_hashable, key)) if isinstance(key, list) else key


_Make = Callable[[ForeignCode, Mapping[str, Any], str], Any]
# The key that tells what an object stands for → the keys it must and may have, and what makes it.
_KINDS: dict[str, tuple[set[str], set[str], _Make]] = {
    "call": ({"call"}, set(), lambda code, data, where: _call(code, data["call"], where)),
    "name": ({"name"}, set(), lambda code, data, where: code.resolve(data["name"])),
    "object": ({"object"}, {"of"}, _object),
    "tuple": ({"tuple"}, set(), lambda code, data, where: tuple(_value(code, data["tuple"], where))),
    "items": ({"items"}, set(), _items),
    "dict": (
        {"dict"},
        set(),
        lambda code, data, where: {name: _value(code, it, f"{where}[{name!r}]") for name, it in data["dict"].items()},
    ),
    "dtype": ({"dtype"}, set(), lambda code, data, where: _type(code, data["dtype"], where)),
    "tensor": ({"tensor"}, set(), _tensor),
}


def _senseless(where: str, got: Any, expected: str) -> UsageError:
    return UsageError("a recipe's argument makes no sense", where=where, expected=expected, got=repr(got)[:200])
