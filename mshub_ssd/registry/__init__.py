"""Which cards there are: sources of cards, an index of them, listing and searching."""

from __future__ import annotations

from mshub_ssd.registry.folder import Folder
from mshub_ssd.registry.places import default_registry, installed_cards
from mshub_ssd.registry.registry import Registry
from mshub_ssd.registry.rows import Judge, Shown, Verdict
from mshub_ssd.registry.source import Entry, Lost, Source

__all__ = [
    "Entry",
    "Folder",
    "Judge",
    "Lost",
    "Registry",
    "Shown",
    "Source",
    "Verdict",
    "default_registry",
    "installed_cards",
]
