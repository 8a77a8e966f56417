"""Urls and a digest in, a verified local file out.

Every path returned here names bytes that were hashed and compared; nothing is ever trusted by its name.

- `fetch`, `fetch_many`: from the caches or the network.
- `cached`: from the caches only.
- `plan`: what `fetch` would do, decided without touching disk or network.
- `verify_local`, `read_verified`: files that lie beside their card.
- `entries`, `caches`: what the caches hold, and where they are.
- `verify`, `prune`, `remove`, `add`: maintenance.
- `find_graph`, `making_graph`, `add_graph`: files made here of verified ones.
- `probe`, `digest_of`: questions about a url, with nothing kept.
- `read_changed`, `read_expected`, `keeping_connections`: small files into memory, if they changed, or of a digest.
- `hash_file`: digest and size of any file; `warn_of_weak_digest`: what eight digits prove.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.store.blobs import hash_file
from mshub_ssd.store.derived import StoredGraph, add_graph, find_graph, making_graph
from mshub_ssd.store.digests import is_digest, warn_of_weak_digest
from mshub_ssd.store.fetching import FileRequest, Plan, cached, fetch, fetch_many, plan
from mshub_ssd.store.local_files import read_verified, verify_local
from mshub_ssd.store.maintenance import (
    CacheInfo,
    Checked,
    Entry,
    Removal,
    add,
    caches,
    entries,
    prune,
    remove,
    verify,
)
from mshub_ssd.store.probing import Probe, digest_of, probe
from mshub_ssd.store.small import Validator, keeping_connections, read_changed, read_expected

if TYPE_CHECKING:
    from mshub_ssd.store.client import Clients as Clients

__all__ = [
    "CacheInfo",
    "Checked",
    "Entry",
    "FileRequest",
    "Plan",
    "Probe",
    "Removal",
    "StoredGraph",
    "Validator",
    "add",
    "add_graph",
    "cached",
    "caches",
    "digest_of",
    "entries",
    "fetch",
    "fetch_many",
    "find_graph",
    "hash_file",
    "is_digest",
    "keeping_connections",
    "making_graph",
    "plan",
    "probe",
    "prune",
    "read_changed",
    "read_expected",
    "read_verified",
    "remove",
    "verify",
    "verify_local",
    "warn_of_weak_digest",
]
