"""Which family a network belongs to: by the type of its configuration, or because that names it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from mshub_ssd.errors import MissingDependencyError, UsageError
from mshub_ssd.families.base import Family
from mshub_ssd.families.classifier import Classifier
from mshub_ssd.families.openmmlab import OpenMMLab
from mshub_ssd.families.ssd import SSD
from mshub_ssd.families.yolo import YOLO
from mshub_ssd.lazy import load, plugins
from mshub_ssd.networks.classification import ClassifierConfig
from mshub_ssd.networks.ssd.config import SSDConfig
from mshub_ssd.networks.ssd.openmmlab_config import OpenMMLabConfig
from mshub_ssd.networks.yolo import YOLOConfig

__all__ = ["of", "register"]

Kind = TypeVar("Kind", bound=type[Family])
Key = type | str

# Key or type of a configuration → family. The keys are those of `mshub_ssd.networks.NETWORKS`.
_OWN: dict[Key, type[Family]] = {
    "ssd": SSD,
    "openmmlab": OpenMMLab,
    "classifier": Classifier,
    "yolo": YOLO,
    SSDConfig: SSD,
    OpenMMLabConfig: OpenMMLab,
    ClassifierConfig: Classifier,
    YOLOConfig: YOLO,
}
_registered: dict[Key, type[Family]] = {}


def of(config: object) -> Family | None:
    """The family of the network with this configuration, None if no family knows it.

    What the configuration names by its attribute ``family`` comes first: a family's key, or a class derived from
    `Family`. Else its type and the types that it derives from are looked up: those that were registered, the
    library's own, and those of other packages' entry points.

    Raises:
        UsageError: The configuration names a family that nobody knows, or an entry point is no family.
        MissingDependencyError: The package that has the family cannot be imported.
    """
    named = getattr(config, "family", None)
    if isinstance(named, type) and issubclass(named, Family):
        return named(config)
    if named is not None:
        family = _find(named) if isinstance(named, str) else None
        if family is None:
            keys = sorted(key for key in {*_OWN, *_registered, *_plugins()} if isinstance(key, str) and "." not in key)
            raise UsageError(
                "the network's configuration names a family that nobody knows",
                expected=f"one of {', '.join(keys)}, or a class derived from mshub_ssd.families.Family",
                got=repr(named)[:200],
                hint="make it known with mshub_ssd.families.register; see docs/families.md",
            )
        return family(config)
    if config is None:
        return None
    found = (_find(kind) for kind in type(config).__mro__[:-1])
    known = next((family for family in found if family is not None), None)
    return None if known is None else known(config)


def register(*keys: Key) -> Callable[[Kind], Kind]:
    """Decorator that makes a family known.

    Args:
        keys: Types of configurations whose networks are of this family, and names that configurations may give as
            their ``family``.

    Raises:
        UsageError: A key is neither, or belongs to another family already.
    """
    for key in keys:
        if not (isinstance(key, type) or (isinstance(key, str) and key.isidentifier())):
            raise UsageError(
                "not a key of a family", expected="the type of a configuration, or a name", got=repr(key)[:200]
            )

    def remember(family: Kind) -> Kind:
        for key in keys:
            taken = _OWN.get(key) or _registered.get(key)
            # Running a notebook cell again defines the same class anew.
            if taken is not None and (taken.__module__, taken.__qualname__) != (family.__module__, family.__qualname__):
                raise UsageError(
                    f"{key if isinstance(key, str) else key.__qualname__} has a family already",
                    got=f"{taken.__module__}.{taken.__qualname__}",
                    hint="derive a configuration of your own, or choose another name",
                )
        _registered.update(dict.fromkeys(keys, family))
        return family

    return remember


def _find(key: Key) -> type[Family] | None:
    if (known := _registered.get(key) or _OWN.get(key)) is not None:
        return known
    name = key if isinstance(key, str) else f"{key.__module__}.{key.__qualname__}"
    place = _plugins().get(name)
    if place is None:
        return None
    try:
        family = load(place)
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"the family of {name} cannot be imported: {error}",
            where=f"entry point {name} = {place} of the group mshub_ssd.families",
            hint="install the package that it belongs to anew",
        ) from error
    if not (isinstance(family, type) and issubclass(family, Family)):
        raise UsageError(
            "an entry point is no family",
            where=f"entry point {name} = {place} of the group mshub_ssd.families",
            expected="a class derived from mshub_ssd.families.Family",
            got=repr(family)[:200],
        )
    return family


@functools.cache
def _plugins() -> dict[str, str]:
    """Families of installed packages: ``module.Config`` or a name → ``module:Family``."""
    return plugins("mshub_ssd.families")
