"""What code of others finds around itself, and the register of the adapters that change it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mshub_ssd.errors import UsageError

__all__ = ["Surroundings", "adapter", "describe", "helping", "surroundings"]

Factory = Callable[[], Any]
_MISSING, _REPLACED = False, True


class Surroundings:
    """What one folder's code sees otherwise than the rest of the process.

    Attributes:
        names: ``module.name`` → what makes it, and whether also where the module has one.
        builtins: Names that need no import.
        packages: Modules and packages that are made instead of imported, by their names.
        files: Modules whose file is called something else.
        aliases: Modules of the code that it imports by another name.
        folders: Further folders, relative to the code's, where its modules are.
        contexts: What surrounds each import and each call.
    """

    def __init__(self) -> None:
        self.names: dict[str, tuple[Factory, bool]] = {}
        self.builtins: dict[str, Any] = {}
        self.packages: dict[str, Callable[[str], ModuleType]] = {}
        self.files: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self.folders: list[str] = []
        self.contexts: list[Callable[[Path], AbstractContextManager[Any]]] = []

    def missing(self, module: str, **names: Factory) -> None:
        """Names that a module has not in this version; where it has one, that one is taken.

        Args:
            module: The module, e.g. ``mindspore.nn``; it need not exist.
            names: What makes each; called when the module is imported, so it may import MindSpore.
        """
        for name, factory in names.items():
            self.names.setdefault(f"{module}.{name}", (factory, _MISSING))

    def replace(self, module: str, **names: Factory) -> None:
        """Names that mean something else here; as for `missing`."""
        for name, factory in names.items():
            self.names[f"{module}.{name}"] = (factory, _REPLACED)

    def names_of(self, module: str, real: ModuleType | None) -> dict[str, Any]:
        """The names that differ in a module."""
        return {
            full.rpartition(".")[2]: factory()
            for full, (factory, replaced) in self.names.items()
            if full.rpartition(".")[0] == module and (replaced or not hasattr(real, full.rpartition(".")[2]))
        }


@dataclass(frozen=True)
class _Adapter:
    name: str
    description: str
    apply: Callable[..., None]


# What Python puts in quotes: ``module 'numpy' has no attribute 'int'``.
_QUOTED = re.compile(r"'(\w+)'")

_ADAPTERS: dict[str, _Adapter] = {}


def adapter(name: str, description: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Enter a function as an adapter.

    Args:
        name: What recipes call it; ``name:WHAT`` for one that has a parameter, which recipes give after the colon.
        description: One line for docs/adapters.md.
    """

    def enter(apply: Callable[..., None]) -> Callable[..., None]:
        if _key(name) in _ADAPTERS:
            raise ValueError(f"two adapters are called {name}")
        _ADAPTERS[_key(name)] = _Adapter(name, description, apply)
        return apply

    return enter


def describe() -> dict[str, str]:
    """Every adapter's name and what it does, in a line."""
    return {it.name: it.description for _, it in sorted(_ADAPTERS.items())}


def helping(error: BaseException) -> list[str]:
    """Adapters that may help against an error: they give the module or the name that it misses."""
    module = error.name if isinstance(error, ImportError) else None
    missed = set(_QUOTED.findall(str(error)))
    found = []
    for name, it in sorted(_ADAPTERS.items()):
        if name.endswith(":"):
            continue
        around = Surroundings()
        it.apply(around)
        gives = {full.rpartition(".")[2] for full in around.names}
        modules = {*around.packages, *around.files, *(full.rpartition(".")[0] for full in around.names)}
        if gives & missed or (isinstance(error, ModuleNotFoundError) and module in modules):
            found.append(name)
    return found


def _key(name: str) -> str:
    plain, colon, parameter = name.partition(":")
    return plain + colon if parameter else name


def surroundings(names: Sequence[str], always: Sequence[Callable[[Surroundings], None]] = ()) -> Surroundings:
    """What code finds around itself with these adapters.

    Raises:
        UsageError: There is no such adapter.
    """
    around = Surroundings()
    for apply in always:
        apply(around)
    for name in names:
        _, colon, parameter = name.partition(":")
        found = _ADAPTERS.get(_key(name))
        if found is None or (colon and not parameter):
            raise UsageError(
                "there is no such adapter",
                got=repr(name),
                expected=", ".join(describe()),
                hint="the recipe belongs to a newer version of this library: pip install -U mshub_ssd",
            )
        found.apply(around, *([parameter] if parameter else []))
    return around
