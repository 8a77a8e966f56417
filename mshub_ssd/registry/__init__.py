"""Which cards there are: sources of cards, an index of them, listing and searching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.lazy import exports
from mshub_ssd.registry.folder import Folder
from mshub_ssd.registry.places import default_registry, installed_cards
from mshub_ssd.registry.registry import Registry
from mshub_ssd.registry.rows import Judge, Shown, Verdict
from mshub_ssd.registry.source import Entry, Lost, Source

if TYPE_CHECKING:
    from mshub_ssd.registry.building import Built, build
    from mshub_ssd.registry.web import Web

__all__ = [
    "Built",
    "Entry",
    "Folder",
    "Judge",
    "Lost",
    "Registry",
    "Shown",
    "Source",
    "Verdict",
    "Web",
    "build",
    "default_registry",
    "installed_cards",
]

# What few processes need.
__getattr__ = exports(__name__, {"Built": "building", "Web": "web", "build": "building"})
