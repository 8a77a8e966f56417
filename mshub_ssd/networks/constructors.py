"""From an architecture key to the constructor behind it.

`NETWORKS` is the table of this library's own, with ``module:constructor`` strings, so that knowing which networks
exist costs no MindSpore import. Further ones come from `register_network` or from installed packages through the entry
point group ``mshub_ssd.networks`` (name = key, value = ``module:constructor``).
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar

from mshub_ssd.errors import UnknownModelError, UsageError
from mshub_ssd.lazy import load, plugins
from mshub_ssd.networks.table import NETWORKS

__all__ = [
    "constructor",
    "describe",
    "find",
    "find_leading",
    "names",
    "normal",
    "register_network",
    "registered_here",
    "require",
]

Constructor = TypeVar("Constructor", bound=Callable[..., Any])

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


def registered_here(key: str) -> bool:
    """Whether a network was made known by `register_network`: no other process knows it."""
    return key in _registered


def names() -> list[str]:
    """All architecture keys, sorted."""
    return list(_known(tuple(_registered)))


def find(name: str) -> str | None:
    """The architecture key that `name` spells, or None."""
    return _spellings(tuple(_registered)).get(normal(name))


def find_leading(name: str, before: str = "") -> str | None:
    """The architecture key that `before` and the first words of `name`, parted by ``_``, spell; the longest one."""
    spellings = _spellings(tuple(_registered))
    if not normal(before + name).startswith(tuple(spellings)):
        return None
    words = name.split("_")
    for count in range(len(words), 0, -1):
        if (key := spellings.get(normal(before + "".join(words[:count])))) is not None:
            return key
    return None


@functools.lru_cache(maxsize=4096)
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
    function: Callable[..., Any] = load(describe(key))
    return function


@functools.lru_cache(4)
def _known(registered: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*NETWORKS, *registered, *_plugins()}, key=str.lower))


@functools.lru_cache(4)
def _spellings(registered: tuple[str, ...]) -> dict[str, str]:
    """The keys by their normal form; of two that are spelt alike, the first."""
    return {normal(key): key for key in reversed(_known(registered))}


@functools.cache
def _plugins() -> dict[str, str]:
    return plugins("mshub_ssd.networks")


def _origin(function: Callable[..., Any]) -> tuple[str | None, str | None]:
    return getattr(function, "__module__", None), getattr(function, "__qualname__", None)


def describe(key: str) -> str:
    """Where the constructor of a known architecture key lies, for messages; imports nothing."""
    if key in _registered:
        return ".".join(part or "?" for part in _origin(_registered[key]))
    return NETWORKS[key].constructor if key in NETWORKS else _plugins().get(key, "?")
