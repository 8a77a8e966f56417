"""Architecture keys and the constructors behind them.

Rows are ``module:constructor`` strings, so that knowing which networks exist costs no MindSpore import. Further
networks come from `register_network` or from installed packages through the entry point group
``mshub_ssd.networks`` (name = key, value = ``module:constructor``).
"""

from __future__ import annotations

import difflib
import functools
import importlib
import re
from collections.abc import Callable
from typing import Any, TypeVar

from mshub_ssd.errors import UnknownModelError, UsageError
from mshub_ssd.networks.building import building, parameter_types, require_mindspore

__all__ = [
    "ARCHITECTURES",
    "building",
    "constructor",
    "describe",
    "find",
    "largest_checkpoint",
    "names",
    "normal",
    "parameter_types",
    "register_network",
    "require",
    "require_mindspore",
]

Constructor = TypeVar("Constructor", bound=Callable[..., Any])

ARCHITECTURES: dict[str, str] = {
    "openmmlab_ssd300": "mshub_ssd.networks.ssd.openmmlab:ssd300",
    "openmmlab_ssd512": "mshub_ssd.networks.ssd.openmmlab:ssd512",
    "openmmlab_ssdlite_mobilenetv2": "mshub_ssd.networks.ssd.openmmlab:ssdlite_mobilenet_v2",
    "sppnet_mult": "mshub_ssd.networks.sppnet:sppnet_mult",
    "sppnet_single": "mshub_ssd.networks.sppnet:sppnet_single",
    "sppnet_zfnet": "mshub_ssd.networks.sppnet:sppnet_zfnet",
    "ssd300": "mshub_ssd.networks.ssd.variants:ssd300",
    "ssd_ghostnet": "mshub_ssd.networks.ssd.variants:ssd_ghostnet",
    "ssd_inceptionv2": "mshub_ssd.networks.ssd.variants:ssd_inception_v2",
    "ssd_mobilenet_v1_fpn": "mshub_ssd.networks.ssd.variants:ssd_mobilenet_v1_fpn",
    "ssd_mobilenetV2": "mshub_ssd.networks.ssd.variants:ssd_mobilenet_v2",
    "ssd_mobilenetV2_FPNlite": "mshub_ssd.networks.ssd.variants:ssd_mobilenet_v2_fpnlite",
    "ssd_resnet34": "mshub_ssd.networks.ssd.variants:ssd_resnet34",
    "ssd_resnet50": "mshub_ssd.networks.ssd.variants:ssd_resnet50",
    "ssd_resnet50_fpn": "mshub_ssd.networks.ssd.variants:ssd_resnet50_fpn",
    "ssd_vgg16": "mshub_ssd.networks.ssd.variants:ssd_vgg16",
}

# How many values the parameters of each network have, built without arguments.
_VALUES = {
    "openmmlab_ssd300": 34_305_206,
    "openmmlab_ssd512": 36_038_196,
    "openmmlab_ssdlite_mobilenetv2": 4_277_620,
    "sppnet_mult": 77_037_672,
    "sppnet_single": 77_037_672,
    "sppnet_zfnet": 62_357_608,
    "ssd300": 4_445_365,
    "ssd_ghostnet": 6_788_201,
    "ssd_inceptionv2": 13_747_829,
    "ssd_mobilenet_v1_fpn": 12_579_774,
    "ssd_mobilenetV2": 47_227_189,
    "ssd_mobilenetV2_FPNlite": 2_542_462,
    "ssd_resnet34": 12_721_590,
    "ssd_resnet50": 36_737_462,
    "ssd_resnet50_fpn": 33_370_814,
    "ssd_vgg16": 24_316_853,
}

_registered: dict[str, Callable[..., Any]] = {}
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def register_network(key: str) -> Callable[[Constructor], Constructor]:
    """Decorator that makes a constructor known under an architecture key.

    The constructor takes the card's and the caller's arguments and returns an ``mindspore.nn.Cell``, for
    detectors with an attribute ``config``. Keys are compared without case, ``_`` and ``-``.

    Raises:
        UsageError: The key is taken by another constructor, or is not a name.
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise UsageError(
            "not an architecture key",
            expected="letters, digits, _ and -",
            got=repr(key),
            hint='e.g. "my_ssd"',
        )

    def register(function: Constructor) -> Constructor:
        taken = find(key)
        if taken is not None:
            known = _registered.get(taken)
            # Running a notebook cell again defines the same function anew.
            same = known is not None and _origin(known) == _origin(function)
            if not same:
                raise UsageError(
                    f"the architecture key {key!r} is taken",
                    got=f"{taken!r}, built by {describe(taken)}",
                    hint="choose another key",
                )
            del _registered[taken]
        _registered[key] = function
        return function

    return register


def names() -> list[str]:
    """All architecture keys, sorted."""
    return sorted({*ARCHITECTURES, *_registered, *_plugins()}, key=str.lower)


def find(name: str) -> str | None:
    """The architecture key that `name` spells, or None."""
    wanted = normal(name)
    return next((key for key in names() if normal(key) == wanted), None)


def normal(name: str) -> str:
    """A name as keys are compared: without case, ``_`` and ``-``."""
    return name.lower().replace("_", "").replace("-", "")


def require(name: str) -> str:
    """The architecture key that `name` spells.

    Raises:
        UnknownModelError: No such architecture; the error names the nearest ones.
    """
    key = find(name)
    if key is None:
        near = difflib.get_close_matches(normal(name), [normal(known) for known in names()], n=3, cutoff=0.5)
        candidates = [known for known in names() if normal(known) in near] or names()
        raise UnknownModelError(
            f"no network of the name {name!r}",
            expected=", ".join(candidates),
            got=name,
            hint="correct `network:` in the card, or add the network with mshub_ssd.register_network",
        )
    return key


def constructor(name: str) -> Callable[..., Any]:
    """The constructor of an architecture.

    Args:
        name: An architecture key, in any spelling.

    Raises:
        UnknownModelError: No such architecture; the error names the nearest ones.
    """
    key = require(name)
    if key in _registered:
        return _registered[key]
    reference = ARCHITECTURES.get(key) or _plugins()[key]
    module, _, attribute = reference.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


def largest_checkpoint(key: str) -> int | None:
    """Bytes that no honest checkpoint of a network, built without arguments, exceeds; None where that is not known.

    Room for the weights, two moments of an optimizer and a running average, all of four bytes, and 64 MiB for the rest.
    """
    values = _VALUES.get(key)
    return None if values is None else 4 * 4 * values + (64 << 20)


@functools.cache
def _plugins() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group="mshub_ssd.networks")}


def _origin(function: Callable[..., Any]) -> tuple[str | None, str | None]:
    return getattr(function, "__module__", None), getattr(function, "__qualname__", None)


def describe(key: str) -> str:
    """Where the constructor of a known architecture key lies, for messages; imports nothing."""
    if key in _registered:
        return ".".join(part or "?" for part in _origin(_registered[key]))
    return ARCHITECTURES.get(key) or _plugins().get(key, "?")
