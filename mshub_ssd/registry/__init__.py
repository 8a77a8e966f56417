"""Which cards there are: sources of cards, an index of them, listing and searching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.lazy import exports
from mshub_ssd.registry.folder import Folder
from mshub_ssd.registry.places import Place, all_places, default_registry, installed_cards, open_source
from mshub_ssd.registry.registry import Registry
from mshub_ssd.registry.rows import Judge, Shown, Verdict
from mshub_ssd.registry.source import Entry, Lost, Source, read_with_text

if TYPE_CHECKING:
    from mshub_ssd.registry.account import Account, accounts
    from mshub_ssd.registry.added import add_registry, remove_registry
    from mshub_ssd.registry.bucket import Bucket
    from mshub_ssd.registry.building import Built, build
    from mshub_ssd.registry.web import Web

__all__ = [
    "Account",
    "Bucket",
    "Built",
    "Entry",
    "Folder",
    "Judge",
    "Lost",
    "Place",
    "Registry",
    "Shown",
    "Source",
    "Verdict",
    "Web",
    "accounts",
    "add_registry",
    "all_places",
    "build",
    "default_registry",
    "installed_cards",
    "open_source",
    "read_with_text",
    "remove_registry",
]

# What few processes need.
__getattr__ = exports(
    __name__,
    {
        "Account": "account",
        "Bucket": "bucket",
        "Built": "building",
        "Web": "web",
        "accounts": "account",
        "add_registry": "added",
        "build": "building",
        "remove_registry": "added",
    },
)
