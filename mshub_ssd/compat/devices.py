"""MindSpore's choice of a device, for scripts written for one that is not there; part of compat and nothing else."""

from __future__ import annotations

import functools
import importlib.abc
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["stand_in"]

# As MindSpore spells them; published snippets also say "ASCEND", which it refuses.
_SPELLINGS = {"ascend": "Ascend", "davinci": "Ascend", "gpu": "GPU", "cpu": "CPU"}
_MARK = "__mshub_ssd_stand_in__"

_guard = threading.Lock()
_told: set[str] = set()


def stand_in() -> None:
    """From now on, scripts that ask MindSpore for a device that is not there get the CPU, and are told once.

    MindSpore is not imported for that: where it has not been, its import is waited for.
    """
    with _guard:
        if "mindspore" in sys.modules:
            _wrap()
        elif not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Waiting())


class _Waiting(importlib.abc.MetaPathFinder):
    """Finds MindSpore as the other finders do, and does its work when that has been imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "mindspore":
            return None
        others = [finder.find_spec for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        spec = next((found for find in others if (found := find(name, path, target)) is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def then_wrap(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _wrap()

        spec.loader.exec_module = then_wrap  # type: ignore[method-assign]  # of this one loader
        return spec


def _wrap() -> None:
    import mindspore
    from mindspore import context, device_manager

    for name, home, wrap in (("set_context", context, _contextual), ("set_device", device_manager, _positional)):
        real = getattr(home, name)
        if getattr(real, _MARK, False):
            continue
        wrapped = wrap(real)
        vars(wrapped)[_MARK] = True
        for module in (home, mindspore):
            setattr(module, name, wrapped)


def _contextual(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def set_context(*args: Any, **kwargs: Any) -> Any:
        asked = _spelt(kwargs.get("device_target"))
        if _is_missing(asked):
            from mindspore import get_context

            kwargs.pop("device_id", None)
            kwargs["device_target"] = "CPU"
            if get_context("device_target") == "CPU":
                del kwargs["device_target"]  # nothing to change, and newer versions warn of the word
        elif asked is not None:
            kwargs["device_target"] = asked
        return real(*args, **kwargs)

    return set_context


def _positional(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def set_device(device_target: Any, *args: Any, **kwargs: Any) -> Any:
        asked = _spelt(device_target)
        return real("CPU") if _is_missing(asked) else real(asked, *args, **kwargs)

    return set_device


def _spelt(asked: Any) -> Any:
    """A device as MindSpore spells it; what is none is for MindSpore to refuse."""
    return _SPELLINGS.get(asked.lower(), asked) if isinstance(asked, str) else asked


def _is_missing(device: Any) -> bool:
    """Whether MindSpore has no such device here; the user is told the first time."""
    if device not in _SPELLINGS.values():
        return False
    from mindspore._c_expression import MSContext

    if MSContext.get_instance().is_pkg_support_device(device):
        return False
    with _guard:
        first = device not in _told
        _told.add(device)
    if first:
        warnings.warn(f"there is no {device} here that MindSpore can use: running on the CPU", stacklevel=3)
    return True
