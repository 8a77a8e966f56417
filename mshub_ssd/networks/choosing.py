"""Whose layers the networks of this process are made of: MindSpore's, unless others are chosen before the first one."""

from __future__ import annotations

import sys
from typing import Any

from mshub_ssd.errors import UsageError

__all__ = ["chosen_layers", "use_layers"]

_BACKEND = "mshub_ssd.networks.backend"

_chosen: Any = None


def use_layers(layers: Any) -> None:
    """Make the networks of this process of other layers than MindSpore's.

    Args:
        layers: Has all names that `mshub_ssd.networks.backend` has, among them ``nn`` and ``ops``.

    Raises:
        UsageError: Networks were imported already. Their classes are made of the layers there were then, and a
            process has one kind.
    """
    global _chosen
    if _BACKEND in sys.modules and layers is not _chosen:
        raise UsageError(
            "the networks of this process have their layers already",
            where="networks.use_layers",
            hint="choose in a process of its own, before anything is built",
        )
    _chosen = layers


def chosen_layers() -> Any:
    """What `use_layers` was given, or None."""
    return _chosen
