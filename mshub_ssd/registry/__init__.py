"""Which cards there are: from a uid to its card, listing and searching."""

from __future__ import annotations

from mshub_ssd.registry.places import default_registry, installed_cards
from mshub_ssd.registry.registry import Registry

__all__ = ["Registry", "default_registry", "installed_cards"]
