"""What is imported only when it is first asked for: objects named by text, names of a package (PEP 562), plugins."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import PathFinder
from typing import Any

__all__ = ["exports", "load", "plugins"]


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


def plugins(group: str) -> dict[str, str]:
    """The entry points that installed packages have in a group: name → ``module:name``."""
    if not _may_have(group):
        return {}
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=group)}


def _may_have(group: str) -> bool:
    """Whether any package mentions a group. importlib.metadata takes ten times as long: a fifth of a quick command."""
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return True
    wanted = group.encode()
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - before pathlib is needed
        except (FileNotFoundError, PermissionError):  # nor can anything be imported from there
            continue
        except OSError:  # an archive
            return True
        if folder.endswith((".egg", ".egg/")):
            return True
        for name in names:
            if name.lower().endswith((".dist-info", ".egg-info")):
                with contextlib.suppress(OSError), open(f"{folder or '.'}/{name}/entry_points.txt", "rb") as points:  # noqa: PTH123
                    if wanted in points.read():
                        return True
    return False
