"""Bundles: model cards and their checkpoints in one file, for machines without a network.

A bundle is an uncompressed tar archive. Its first member is a manifest, which names all others in order, each with
size and SHA-256::

    mshub-bundle.json
    cards/<uid>.md          the cards, as they stand
    files/<sha256>          the checkpoints, each once
    graphs/<sha256>         on request: what the networks compute, written down, without their weights
    sources/<sha256>        on request: code of repositories, as `mshub_ssd.foreign` packs it

Every byte of the archive follows from the manifest and the files: times, owners and modes are fixed. So a reader needs
no rules about links, devices and climbing paths: what is not the very header the manifest calls for is refused, and no
name from an archive ever becomes a path. Cards are installed below `mshub_ssd.registry.installed_cards` of the first
cache that can be written; `default_registry` searches that folder after ``MSHUB_REGISTRY`` and before the package's own
cards. A file that lies beside its card goes there, too; all other files go into the store.

A graph tells what `mshub_ssd.graphs` wrote down, and of what. Where this machine would write down the very same, it is
joined with the checkpoint's weights and kept in the cache of graphs; any other is passed over.

Code of repositories is held against its commit by git's hashes, and kept in the cache where a card of the bundle means
that commit here; any other is passed over. No bundle brings consent: that is the user's, on each machine.
"""

from __future__ import annotations

from mshub_ssd.bundles.archive import Bundle, Member, inspect
from mshub_ssd.bundles.installing import Installed, install
from mshub_ssd.bundles.writing import write

__all__ = ["Bundle", "Installed", "Member", "inspect", "install", "write"]
