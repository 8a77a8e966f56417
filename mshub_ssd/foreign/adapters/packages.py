"""Packages that only training, data and evaluation need: stand-ins that can be imported, and cannot compute."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

from mshub_ssd.errors import ForeignCodeError
from mshub_ssd.foreign.adapters.surroundings import Surroundings, adapter

__all__ = ["EasyDict"]


class EasyDict(dict[str, Any]):
    """A dictionary whose keys are attributes, in depth; what the package easydict is for."""

    def __init__(self, d: Any = None, **more: Any) -> None:
        super().__init__()
        self.update(d or {}, **more)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, _easy(value))

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    def update(self, *others: Any, **more: Any) -> None:
        """Take over the items of others."""
        for key, value in dict(*others, **more).items():
            self[key] = value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As of a dictionary."""
        if key not in self:
            self[key] = default
        return self[key]

    def copy(self) -> EasyDict:
        """As of a dictionary."""
        return type(self)(self)


def _easy(value: Any) -> Any:
    if isinstance(value, dict) and not isinstance(value, EasyDict):
        return EasyDict(value)
    if type(value) in (list, tuple):
        return type(value)(map(_easy, value))
    return value


@adapter("easydict", "the package easydict: a dictionary whose keys are attributes")
def _easydict(around: Surroundings) -> None:
    def make(name: str) -> ModuleType:
        module = ModuleType(name)
        vars(module).update(EasyDict=EasyDict)
        return module

    around.packages["easydict"] = make


@adapter("easydict-builtin", "`EasyDict` without an import, for code that lost that line")
def _easydict_builtin(around: Surroundings) -> None:
    around.builtins["EasyDict"] = EasyDict


class _Absent:
    """Something of a package that is not there: it can be named, decorate and be derived from."""

    def __init__(self, path: str) -> None:
        vars(self)["_path"] = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self._path}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and (inspect.isfunction(args[0]) or inspect.isclass(args[0])):
            return args[0]  # a decorator
        return _Result(f"{self._path}(…)")

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (type(self._path.rpartition(".")[2], (), {"__doc__": f"Stands in for {self._path}."}),)

    def __instancecheck__(self, instance: Any) -> bool:
        return False

    def __subclasscheck__(self, subclass: Any) -> bool:
        return False

    def __or__(self, other: Any) -> _Absent:
        return self  # flags, and types in annotations

    __ror__ = __or__

    def _compute(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        package = self._path.partition(".")[0]
        raise ForeignCodeError(
            f"the network needs {self._path}, for which an adapter stands in that cannot compute",
            hint=f"leave the adapter of {package} out of the recipe, and pip install what {package} is part of",
        )

    __array__ = __bytes__ = __contains__ = __enter__ = __exit__ = __float__ = __getitem__ = __index__ = __int__ = (
        _compute
    )
    __iter__ = __len__ = __neg__ = __setitem__ = _compute
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _compute
    __floordiv__ = __rfloordiv__ = __mod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _compute
    __lt__ = __le__ = __gt__ = __ge__ = __and__ = __rand__ = _compute


class _Result(_Absent):
    """What a call gave that was not carried out: it may be kept, or decorate, and nothing else."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._compute()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and (inspect.isfunction(args[0]) or inspect.isclass(args[0])):
            return args[0]
        self._compute()

    def __bool__(self) -> bool:
        self._compute()


class _AbsentModule(ModuleType):
    def __init__(self, name: str, shown: str) -> None:
        super().__init__(name)
        vars(self).update(__path__=[], _path=shown)

    def __getattr__(self, name: str) -> Any:
        if name == "__version__":
            return "0.0.0"
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self._path}.{name}")


def stub(around: Surroundings, package: str) -> None:
    """Let a stand-in be imported in place of a package, or of a module by its full name, and all below."""

    def make(name: str) -> ModuleType:
        return _AbsentModule(name, package + name.partition(package)[2])

    around.packages[package] = make


@adapter("stub:PACKAGE", "a package or module of which nothing is used where a network is built, by its name")
def _any(around: Surroundings, package: str) -> None:
    stub(around, package)


def _named(package: str) -> Callable[[Surroundings], None]:
    return lambda around: stub(around, package)


for _package, _purpose in {
    "absl": "command lines and logging",
    "cv2": "pictures",
    "h5py": "data files",
    "imageio": "pictures",
    "inflect": "text",
    "librosa": "sound",
    "matplotlib": "plots",
    "mmcv": "training",
    "moxing": "cloud storage",
    "networkx": "graphs of data",
    "pandas": "tables of data",
    "pycocotools": "evaluation",
    "sacremoses": "text",
    "skimage": "pictures",
    "sklearn": "evaluation",
    "subword_nmt": "text",
    "unidecode": "text",
}.items():
    adapter(_package, f"a stand-in for the package {_package} ({_purpose}), which cannot compute")(_named(_package))
