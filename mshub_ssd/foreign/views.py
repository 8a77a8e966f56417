"""Views: modules as code of others shall see them, with names that are missing or different there, and nowhere else.

A view is a module of its own with the real one's content and some names of its own. What the code writes into it
stays in it. MindSpore's graph compiler asks for a module by its name and looks into its dictionary: therefore a view
has a name that can be imported, and its dictionary is complete.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

__all__ = ["View", "made_up", "real_module"]

# What says where the real module came from: a view came from nowhere.
_OWN = frozenset({"__name__", "__spec__", "__loader__", "__file__", "__path__", "__cached__", "__package__"})


class View(ModuleType):
    """A module with another's content; empty until it is filled.

    Args:
        name: The name it can be imported by.
        real: The other module.
    """

    def __init__(self, name: str, real: ModuleType) -> None:
        super().__init__(name, real.__doc__)
        vars(self)["_mshub_real"] = real

    def _mshub_fill(self, names: Mapping[str, Any], modules: Callable[[str], ModuleType | None], *, live: bool) -> None:
        """Give it its content. It can be imported already, because modules of a package know each other.

        Args:
            names: What differs.
            modules: Views of other real modules, by their names: they take their place in the content.
            live: Names are looked up in the real module each time, as those of `sys` must be.
        """
        content = vars(self)
        if not live:
            for key, value in list(vars(self._mshub_real).items()):
                if key not in _OWN and key not in content:
                    content[key] = (modules(value.__name__) or value) if isinstance(value, ModuleType) else value
        content.update(names)
        if "__all__" in content:
            content["__all__"] = [*content["__all__"], *(it for it in names if it not in content["__all__"])]

    def __getattr__(self, name: str) -> Any:
        # What the real module has, or makes, only later.
        if name in _OWN:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self._mshub_real, name)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *dir(self._mshub_real)})


def made_up(name: str, names: Mapping[str, Any]) -> ModuleType:
    """A module that does not exist."""
    module = ModuleType(name)
    vars(module).update(names)
    # Whatever looks below it asks the importer again.
    vars(module)["__path__"] = []
    return module


def real_module(name: str) -> ModuleType | None:
    """An installed module, or None if there is none of that name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise
