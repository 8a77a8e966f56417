"""Which engine runs a network, and why."""

from __future__ import annotations

import functools
import importlib.util
import logging
import sys
from pathlib import Path
from typing import NamedTuple

from mshub_ssd.engines.mindspore import device_target
from mshub_ssd.errors import MissingDependencyError, UsageError, install_hint, is_installed

__all__ = ["ENGINES", "Choice", "choose", "installed"]

_log = logging.getLogger(__name__)

ENGINES = ("openvino", "onnxruntime", "mindspore")
"""The engines, the one that `auto` likes best first."""

# What the system shows where an accelerator is plugged in that MindSpore can use, and its plugin's name.
_ACCELERATORS = {"ascend": ("/dev/davinci_manager",), "gpu": ("/dev/nvidiactl",)}


class Choice(NamedTuple):
    """An engine.

    Attributes:
        name: ``openvino``, ``onnxruntime`` or ``mindspore``.
        reason: Why it, in words.
    """

    name: str
    reason: str


def installed() -> dict[str, str]:
    """Versions of the engines that are installed, in the order of `ENGINES`; none is imported."""
    import importlib.metadata  # which few need, and takes its time

    found = {}
    for name in _there():
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # built from source, or another distribution of it
            found[name] = "of unknown version"
    return found


def choose(engine: str = "auto") -> Choice:
    """Decide which engine runs a model.

    Where MindSpore is installed and a device other than the CPU is there for it, ``auto`` is MindSpore: nobody who has
    such a device wants the CPU. MindSpore is imported to find that out only where the system shows such a device.

    Args:
        engine: ``auto``, or the name of one.

    Raises:
        UsageError: There is no engine of that name.
        MissingDependencyError: It is not installed, or none is.
    """
    if engine not in ("auto", *ENGINES):
        raise UsageError("no such engine", expected=", ".join(("auto", *ENGINES)), got=repr(engine)[:80])
    if engine != "auto":
        if not is_installed(engine):
            there = _there()
            raise MissingDependencyError(
                f"the engine {engine} is not installed",
                got=f"{', '.join(there)} installed" if there else None,
                hint=install_hint(engine),
            )
        return Choice(engine, "it was asked for")
    there = _there()
    if not there:
        raise MissingDependencyError(
            "no engine is installed that could run a network",
            expected=", ".join(ENGINES),
            hint="pip install 'mshub_ssd[openvino]', or [onnxruntime] for the smallest one",
        )
    device = _device() if "mindspore" in there else "CPU"
    if device != "CPU":
        choice = Choice("mindspore", f"MindSpore's device is {device}")
    else:
        name = there[0]
        missing = ENGINES[: ENGINES.index(name)]
        passed = f"; {' and '.join(missing)} not installed" if missing else ", the fastest on a CPU"
        choice = Choice(name, f"{name} is installed{passed}")
    _tell(choice)
    return choice


def _there() -> list[str]:
    return list(filter(is_installed, ENGINES))


@functools.cache
def _tell(choice: Choice) -> None:
    """Say it once per process."""
    _log.info("engine: %s (%s)", choice.name, choice.reason)


def _device() -> str:
    """MindSpore's device; without importing MindSpore where there can be none but the CPU."""
    if "mindspore" in sys.modules:
        return device_target()
    spec = importlib.util.find_spec("mindspore")
    plugins = Path(spec.origin).parent / "lib" / "plugin" if spec and spec.origin else None
    for plugin, signs in _ACCELERATORS.items():
        if plugins and (plugins / plugin).is_dir() and any(map(_exists, signs)):
            return device_target()
    return "CPU"


def _exists(place: str) -> bool:
    return Path(place).exists()
