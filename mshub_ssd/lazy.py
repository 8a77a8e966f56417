"""What is imported only when it is first asked for: objects named by text, and names of a package (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["exports", "load"]


def load(place: str) -> Any:
    """The object behind ``module:name``.

    Raises:
        ImportError: The module, or what it needs, is not installed.
        AttributeError: It has no such name.
    """
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package.

    Args:
        package: Its name.
        homes: Public name → the module of the package that it lives in.
    """

    def missing(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = load(f"{package}.{homes[name]}:{name}")
        setattr(importlib.import_module(package), name, value)
        return value

    return missing
